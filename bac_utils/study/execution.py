"""One notebook, executed without a browser: papermill runs it, nbconvert makes the page."""

import ast
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# nbconvert's own page, with the `alt` of a cell's metadata as the description of its figure
_PAGE = """{%- extends 'lab/index.html.j2' -%}
{% block data_png scoped %}
{%- set alt = (cell | get_metadata('alt') or 'figure') | escape_html -%}
{{ super() | replace('<img ', '<img alt="' ~ alt ~ '" ') }}
{% endblock data_png %}
"""


_KERNEL_CONFIG = """
c = get_config()
c.IPKernelApp.log_level = "ERROR"  # not the notice, on every start, that the loopback is not encrypted
c.IPKernelApp.capture_fd_output = False
"""
_STARTUP = """
import os
os.dup2(os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
del os
"""


class NotebookError(RuntimeError):
    """A cell failed; the message names the notebook, the cell and the error."""


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Read a notebook's parameters and their defaults, without running it.

    Args:
        notebook: An .ipynb file with one code cell tagged `parameters` that holds literals only.

    Returns:
        Default by name; empty when no cell is tagged.

    Raises:
        ValueError: The cell holds something else than `name = literal`.
    """
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" not in cell["metadata"].get("tags", []):
            continue
        for node in ast.parse("".join(cell["source"])).body:
            try:
                (target,) = node.targets
                found[target.id] = ast.literal_eval(node.value)
            except (AttributeError, ValueError) as error:
                raise ValueError(f"{notebook.name}, parameters cell: {ast.unparse(node)!r} is no literal") from error
    return found


def execute(path: Path, parameters: dict[str, Any], pages: Path, label: str) -> None:
    """Execute a notebook; leave its executed copy and its page, also when a cell fails.

    Args:
        path: The notebook; its folder is the kernel's working folder.
        parameters: Values for its parameters cell.
        pages: Folder for the .ipynb as executed and the .html.
        label: Of the progress bar.

    Raises:
        NotebookError: A cell failed, or the kernel did.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    pages.mkdir(exist_ok=True)
    executed = pages / path.name
    try:
        papermill.execute_notebook(
            path,
            executed,
            parameters=parameters,
            kernel_name="python3",
            cwd=path.parent,
            progress_bar={"desc": label},
            stderr_file=sys.stderr,
            coalesce_streams=True,
        )
    except PapermillExecutionError as error:
        line = error.source.strip().splitlines()[0]
        reason = f"{error.ename}: {error.evalue}"
        where = f"{path.name}, cell [{error.exec_count}] ({line})"
        raise NotebookError(f"{where}: {reason}; see {executed}") from None
    except Exception as error:  # the kernel died or never came up
        raise NotebookError(f"{path.name}, {_cell_at_work(executed)}: {error}; see {executed}") from error
    finally:
        if executed.is_file():
            _write_page(executed)


def _cell_at_work(executed: Path) -> str:
    """Name the cell that papermill's saved copy marks as the last one begun."""
    begun = "before its first cell"
    if executed.is_file():
        for number, cell in enumerate(json.loads(executed.read_text(encoding="utf-8"))["cells"], 1):
            source = "".join(cell["source"]).strip()
            started = cell["metadata"].get("papermill", {}).get("start_time")
            if cell["cell_type"] == "code" and source and started:
                begun = f"cell {number} of the page ({source.splitlines()[0]})"
    return begun


def _write_page(executed: Path) -> None:
    """Write the HTML of an executed notebook beside it; the page asks no other host for anything."""
    from nbconvert import HTMLExporter

    hosts = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "mermaid_layout_elk_js_url")
    exporter = HTMLExporter(raw_template=_PAGE, **dict.fromkeys(hosts, ""))
    html, _ = exporter.from_filename(str(executed))
    executed.with_suffix(".html").write_text(html, encoding="utf-8")


@contextlib.contextmanager
def kernel_environment(log: Path) -> Iterator[None]:
    """Give the kernels this interpreter and kit, and keep Jupyter's files out of the user's home.

    Args:
        log: File for what libraries below Python write to stderr, such as TensorFlow on starting without a GPU;
            what Python writes there stays in the notebook.
    """
    with tempfile.TemporaryDirectory(prefix="bac-utils-") as scratch:
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        homes = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        changes = {name: str(Path(scratch, name)) for name in homes}
        changes |= {
            "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel python3 of this environment, not one of the user's
            "TMPDIR": scratch,  # what a killed kernel leaves goes with it
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "BAC_UTILS_HEADLESS": "1",  # figures in place of widgets (widget_base)
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
            "TQDM_MININTERVAL": os.environ.get("TQDM_MININTERVAL", "1"),
        }
        profile = Path(changes["IPYTHONDIR"], "profile_default")
        (profile / "startup").mkdir(parents=True)
        (profile / "ipython_kernel_config.py").write_text(_KERNEL_CONFIG, encoding="utf-8")
        (profile / "startup" / "00.py").write_text(_STARTUP.format(path=str(log.resolve())), encoding="utf-8")
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
