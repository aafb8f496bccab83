"""Compare the methods on the cohort of a run: notebook 07, run without a browser in the run's folder."""

import argparse
import sys
from pathlib import Path
from typing import Any

from bac_utils._files import locked, refuse_links
from bac_utils._terminal import say, say_error
from bac_utils.settings import Settings, preset
from bac_utils.study.command_line import parse_value
from bac_utils.study.execution import NotebookError, declared_parameters, execute, kernel_environment
from bac_utils.study.folder import read_manifest
from bac_utils.study.parameters import check_others
from bac_utils.study.runner import NOTEBOOKS

NOTEBOOK = "07_methods_compared.ipynb"
TABLE = "methods.csv"


def run_comparison(run: str | Path, parameters: dict[str, Any], notebooks: Path = NOTEBOOKS) -> Path:
    """Train and compare the methods on a finished run's cohort; what is finished is not done again.

    Args:
        run: The run's folder. The parameters that it was made with hold here, too, where the notebook has them.
        parameters: Values for parameters of the notebook.
        notebooks: Folder of the notebooks.

    Returns:
        The path of `methods.csv` in the run's folder.

    Raises:
        FileNotFoundError: There is no run, or no notebook.
        FileExistsError: Another process uses the folder.
        ValueError: The notebook has no such parameter, a value is out of range, or the folder contains links.
        TypeError: A value has the wrong type.
        NotebookError: A cell failed; methods that are finished are kept.
    """
    folder, path = Path(run).resolve(), notebooks / NOTEBOOK
    if not path.is_file():
        raise FileNotFoundError(f"{notebooks} lacks {NOTEBOOK}: run this from a copy of the repository")
    refuse_links(folder)
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None or not manifest["finished"]:
        raise FileNotFoundError(f"run: got {run}, must be the folder of a finished run")
    declared, asked = declared_parameters(path), manifest["asked"]
    for name in parameters:
        if name not in declared or name == "output":
            known = ", ".join(sorted(set(declared) - {"output"}))
            raise ValueError(f"parameter {name!r} is unknown, must be one of {known}")
    given = {k: v for k, v in asked["parameters"].items() if k in declared} | parameters
    given |= {"preset": asked["preset"], "seed": asked["seed"]}
    preset(given["preset"], **{k: v for k, v in given.items() if k in Settings.__dataclass_fields__})
    check_others(given)
    for name in ("outlines", "reader_table"):
        if given.get(name):
            given[name] = str(Path(given[name]).resolve())  # the notebook runs in another folder
            if not Path(given[name]).exists():
                raise FileNotFoundError(f"{name}: got {given[name]}, must exist")
    with locked(folder), kernel_environment(folder / "notebooks" / "kernels.log"):
        execute(path, given | {"output": str(folder)}, folder / "notebooks", path.stem)
    return folder / TABLE


def main(arguments: list[str]) -> int:
    """Run the comparison from the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bac_utils.study.compared", description=__doc__)
    parser.add_argument("run", help="folder of a finished run, such as runs/demo")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    asked = parser.parse_args(arguments)
    try:
        table = run_comparison(asked.run, {name: parse_value(text) for name, text in asked.p})
    except (OSError, ValueError, TypeError, NotebookError) as error:
        say_error(error)
        return 1
    say(f"table   {table}", f"page    {table.parent / 'notebooks' / NOTEBOOK.replace('.ipynb', '.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
