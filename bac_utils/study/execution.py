"""Executing one notebook without a browser: papermill runs it, nbconvert writes its page."""

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from bac_utils._files import written_whole
from bac_utils._stopping import helpers_end_with

# nbconvert's template without scripts, some of which it would load from other hosts; the policy forbids both, whatever
# a cell shows. Figures get `alt` from the metadata of their cell as a description.
_PAGE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
{%- endblock html_head_js -%}
{%- block jupyter_widgets -%}{%- endblock jupyter_widgets -%}
{%- block html_head_js_mathjax -%}{%- endblock html_head_js_mathjax -%}
{%- block html_head_js_mermaidjs -%}{%- endblock html_head_js_mermaidjs -%}
{% block data_png scoped %}
{%- set alt = (cell | get_metadata('alt') or 'figure') | escape_html -%}
{{ super() | replace('<img ', '<img alt="' ~ alt ~ '" ') }}
{% endblock data_png %}
"""


_KERNEL_CONFIG = """
c = get_config()
c.IPKernelApp.log_level = "ERROR"  # no notice on every start that the loopback is not encrypted
c.IPKernelApp.capture_fd_output = False
"""
_STARTUP = """
import os
os.dup2(os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
open(os.path.join({pids!r}, str(os.getpid())), "w").close()
del os
"""


_PROGRESS = re.compile(r"\d+%\|.*\| *[\d.]+\w?/[\d.]+\w? \[|\d+\w* ?\w+ \[[\d:]+, |^\s*\x1b\[A\s*$")
"""Lines of tqdm: bars with a total, counters without one, and cleared bars."""


class NotebookError(RuntimeError):
    """A cell failed; the message names the notebook, the cell and the error."""


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Read a notebook's parameters and their defaults without running it.

    Args:
        notebook: An .ipynb file with one code cell tagged `parameters` that contains only literals.

    Returns:
        Defaults by name; empty if no cell is tagged.

    Raises:
        ValueError: A default is not a literal.
    """
    import papermill

    found = {}
    for name, parameter in papermill.inspect_notebook(str(notebook)).items():
        try:
            found[name] = ast.literal_eval(parameter["default"])
        except (ValueError, SyntaxError):
            line = f"{name} = {parameter['default']}"
            raise ValueError(f"{notebook.name}, parameters cell: got {line!r}, must be a literal") from None
    return found


def execute(path: Path, parameters: dict[str, Any], pages: Path, label: str) -> None:
    """Execute a notebook; its executed copy and its page are written even if a cell fails.

    Args:
        path: The notebook; its folder is the kernel's working folder.
        parameters: Values for its parameters cell.
        pages: Folder for the executed .ipynb and the .html.
        label: Label of the progress bar.

    Raises:
        NotebookError: A cell or the kernel failed.
        OSError: The copy or the page cannot be written, such as on a full disk.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    pages.mkdir(exist_ok=True)
    executed, failed = pages / path.name, True
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
        failed = False
    except PapermillExecutionError as error:
        line = error.source.strip().splitlines()[0]
        reason = " ".join(f"{error.ename}: {error.evalue}".split())
        where = f"{path.name}, cell [{error.exec_count}] ({line})"
        raise NotebookError(f"{where}: {reason}; see {executed}") from None
    except OSError as error:
        raise _of_file(error, executed) from None
    except Exception as error:  # the kernel died or did not start
        raise NotebookError(f"{path.name}, {_cell_at_work(executed)}: {error}; see {executed}") from error
    finally:
        if executed.is_file():
            try:
                _write_page(executed)
            except (OSError, ValueError) as error:  # ValueError: the copy is only half written
                if not failed:
                    raise (_of_file(error, executed) if isinstance(error, OSError) else error) from None


def _of_file(error: OSError, path: Path) -> OSError:
    """Return an error that names the file, as those of `write` do not."""
    error.filename = error.filename or str(path)
    return error


def _cell_at_work(executed: Path) -> str:
    """Return which cell was started last, according to papermill's saved copy."""
    begun = "before its first cell"
    with contextlib.suppress(OSError, ValueError):  # there is no copy, or half of one
        for number, cell in enumerate(json.loads(executed.read_text(encoding="utf-8"))["cells"], 1):
            source = "".join(cell["source"]).strip()
            started = cell["metadata"].get("papermill", {}).get("start_time")
            if cell["cell_type"] == "code" and source and started:
                begun = f"cell {number} of the page ({source.splitlines()[0]})"
    return begun


def _write_page(executed: Path) -> None:
    """Write the HTML page of an executed notebook.

    The page loads nothing from other hosts and runs no script. Widget state, for which other programs would load one,
    is removed from the notebook. Progress bars are removed as well: the page would show them in red, like errors.
    """
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _without_progress(output))]
    with written_whole(executed) as part:
        nbformat.write(notebook, part)
    html, _ = HTMLExporter(raw_template=_PAGE).from_notebook_node(notebook)
    with written_whole(executed.with_suffix(".html")) as part:
        part.write_text(html, encoding="utf-8")


def _without_progress(output: Any) -> Any:
    """Return a cell's output without progress bars, or None if nothing remains."""
    if output.get("name") != "stderr":
        return output
    lines = re.split(r"[\r\n]+", output.text)
    kept = [line for line in lines if line.strip() and not _PROGRESS.search(line)]
    output.text = "".join(f"{line}\n" for line in kept)
    return output if kept else None


@contextlib.contextmanager
def kernel_environment(log: Path) -> Iterator[None]:
    """Start kernels with this interpreter and this package, without files in the user's home folder.

    Args:
        log: File for messages that native libraries write to stderr, such as TensorFlow's when it starts without a GPU.
            What Python code writes to stderr stays in the notebook.
    """
    with tempfile.TemporaryDirectory(prefix="bac-utils-") as scratch:
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        homes = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        changes = {name: str(Path(scratch, name)) for name in homes}
        changes |= {
            "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel python3 of this environment, not the user's
            "TMPDIR": scratch,  # so that files of a killed kernel are removed
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "BAC_UTILS_HEADLESS": "1",  # figures instead of widgets (`widgets.base`)
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
            "TQDM_MININTERVAL": os.environ.get("TQDM_MININTERVAL", "1"),
        }
        pids = Path(scratch, "kernels")
        pids.mkdir()
        profile = Path(changes["IPYTHONDIR"], "profile_default")
        (profile / "startup").mkdir(parents=True)
        (profile / "ipython_kernel_config.py").write_text(_KERNEL_CONFIG, encoding="utf-8")
        startup = _STARTUP.format(path=str(log.resolve()), pids=str(pids))
        (profile / "startup" / "00.py").write_text(startup, encoding="utf-8")
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            with helpers_end_with(partial(_end_kernels, pids)):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _end_kernels(pids: Path, last: bool) -> None:
    """Kill the kernels of this process; at last, remove their scratch folder, which contains the folder `pids`."""
    with contextlib.suppress(OSError):
        for pid in [int(path.name) for path in pids.iterdir()]:
            with contextlib.suppress(ChildProcessError):  # it has ended, and may be another process by now
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
    if last:
        shutil.rmtree(pids.parent, ignore_errors=True)
