"""Evaluate a frozen model on another cohort: notebook 08, run without a browser into a folder of its own."""

import os
from pathlib import Path
from typing import Any

from bac_utils._files import file_digest, locked, read_json, write_json
from bac_utils.detector import find_detector
from bac_utils.settings import Settings, preset
from bac_utils.statistics import with_interval
from bac_utils.study.cross_validation import REPORT
from bac_utils.study.execution import declared_parameters, kernel_environment
from bac_utils.study.folder import begin, claim
from bac_utils.study.parameters import check_others
from bac_utils.study.runner import NOTEBOOKS, run_each
from bac_utils.views_table import read_views

NOTEBOOK = "08_external_evaluation.ipynb"
OPTIONS = {"model": "--model", "cohort": "--cohort", "output": "--output", "second_model": "--second-model"}
"""Parameters of the notebook that have an option of their own."""


def check_evaluation(parameters: dict[str, Any], notebooks: Path = NOTEBOOKS) -> dict[str, Any]:
    """Check the parameters of an evaluation before any work, and return the notebook's defaults by name.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: The notebook has no such parameter, or a value is out of range.
        FileNotFoundError: There is no such notebook.
    """
    if not (notebooks / NOTEBOOK).is_file():
        raise FileNotFoundError(f"{notebooks} lacks {NOTEBOOK}: run this from a copy of the repository")
    declared = declared_parameters(notebooks / NOTEBOOK)
    for name in parameters:
        if name in OPTIONS:
            raise ValueError(f"parameter {name!r}: use the option {OPTIONS[name]} instead")
        if name not in declared:
            known = ", ".join(sorted(set(declared) - set(OPTIONS)))
            raise ValueError(f"parameter {name!r} is unknown, must be one of {known}")
    preset("demo", **{name: value for name, value in parameters.items() if name in Settings.__dataclass_fields__})
    check_others(parameters)
    return declared


def run_evaluation(
    output: str | os.PathLike,
    model: str | os.PathLike | None,
    cohort: str | os.PathLike,
    second_model: str | os.PathLike | None = None,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    notebooks: Path = NOTEBOOKS,
) -> dict:
    """Evaluate a frozen model on a views table; nothing is refitted.

    Args:
        output: The folder: new, empty, or with an unfinished evaluation of the same models and views, which is resumed.
        model: A .keras file or a run's folder; None for the bundled one.
        cohort: A views table with labels.
        second_model: A further model to compare on the same views, `detector` for the bundled one.
        parameters: Values for further parameters of the notebook.
        overwrite: Start again in a folder that contains an evaluation; files that are not its own are kept.
        notebooks: Folder of the notebooks.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError: A parameter, the views table or an operating point breaks a rule, or the folder contains links.
        FileExistsError: The folder contains something other than an evaluation, or one that is finished, in progress or
            of other models, views or parameters.
        FileNotFoundError: A model, its operating point, or the cohort does not exist.
        NotebookError: A cell failed; views that were scored are kept.
    """
    parameters = {name: value for name, value in (parameters or {}).items() if value is not None}
    declared = check_evaluation(parameters, notebooks)
    folder = claim(output, cohort, overwrite, "evaluation")
    asked = {"cohort": str(Path(cohort).resolve()), "cohort_sha256": file_digest(Path(cohort))}
    for name, value in (("model", model), ("second_model", second_model)):
        if name == "second_model" and value is None:
            asked |= {name: "", f"{name}_sha256": ""}
            continue
        path, point = find_detector(value)
        if name == "model" and parameters.get("operating_point"):
            point.at(parameters["operating_point"])
        bundled = value is None or str(value) == "detector"
        asked |= {name: "detector" if bundled else str(path.resolve()), f"{name}_sha256": file_digest(path)}
    read_views(cohort, check_images=False)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        manifest = begin(folder, asked | {"parameters": parameters}, overwrite, "evaluation")
        given = parameters | {name: asked[name] for name in ("model", "second_model", "cohort")}
        (folder / "notebooks").mkdir(exist_ok=True)
        with kernel_environment(folder / "notebooks" / "kernels.log"):
            run_each({notebooks / NOTEBOOK: declared}, given | {"output": str(folder)}, folder, manifest)
        write_json(folder / "manifest.json", manifest | {"finished": True})
    return read_json(folder / "summary.json")


def closing_words(folder: Path, summary: dict) -> str:
    """Return the main results of a finished evaluation, and where to find the rest."""
    lines = [f"{summary['cohort']['women']} women, {summary['cohort']['views']} views; nothing was refitted"]
    for level, found in summary["detection"].items():
        shown = {"AUC-ROC": "auc_roc", "sensitivity": "recall", "specificity": "specificity"}
        numbers = ", ".join(f"{title} {with_interval(found[m], found[f'{m}_ci'])}" for title, m in shown.items())
        lines.append(f"by {level[:-1] if level != 'women' else 'woman'}: {numbers}")
    calibration = summary["calibration"]
    slope = with_interval(calibration["slope"], calibration["slope_ci"])
    difference = with_interval(calibration["difference"], calibration["difference_ci"])
    lines.append(f"calibration: slope {slope}, observed minus mean score {difference}")
    places = (("figures", "figures"), ("page", "notebooks"), ("numbers", "summary.json"), REPORT)
    return "\n".join([*lines, "", *(f"{label:<8} {folder / name}" for label, name in places)])
