"""A JupyterLab and a Voila over a finished run, and a headless Chromium that opens their pages and notes requests."""

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from finished_run import make_run  # noqa: E402
from needs import find_chromium, missing  # noqa: E402

FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WOMEN = 250  # four views each: a run of 1,000 views


def pytest_addoption(parser):
    parser.addoption("--run-folder", help="a finished run to show, such as runs/demo; without one, one is made up")
    parser.addoption("--screenshots", help="folder for the screenshots, such as figures")


@pytest.fixture(scope="session", autouse=True)
def everything_is_there():
    lines = missing()
    if lines:
        pytest.exit("make test-browser lacks: " + "; ".join(lines), returncode=1)


@pytest.fixture(scope="session")
def root(tmp_path_factory, request):
    """Return a folder with the notebooks and, in `runs/demo`, a finished run that may be changed."""
    root = tmp_path_factory.mktemp("lab")
    run = root / "runs" / "demo"
    given = request.config.getoption("--run-folder")
    if given:
        given = (request.config.invocation_params.dir / given).resolve()
        shutil.copytree(given, run, ignore=shutil.ignore_patterns("kept_thresholds.json", "reader_notes.csv"))
    else:
        make_run(run, women=WOMEN, shape=(384, 192), kinds=30)
    early = make_run(root / "runs" / "early", women=24, shape=(192, 96), subset=False)  # before notebook 04
    (root / "notebooks").mkdir()
    part = json.loads((run / "parts" / "cohort.json").read_text(encoding="utf-8"))
    for name in ("01_cohort_statistics", "05_threshold_tuning", "06_view_browser"):
        values = {"seed": part["seed"], "preset": part["preset"]}
        if name.startswith("01"):
            _write_cohort(run)
            values |= {"cohort": "../runs/demo/cohort.csv", "output": "../runs/explored", "workers": 1}
        source = ROOT / "notebooks" / f"{name}.ipynb"
        _write(source, root / "notebooks" / f"{name}.ipynb", values)
        if not name.startswith("01"):
            _write(source, root / "notebooks" / f"{name}_early.ipynb", {"seed": 0, "output": str(early)})
    return root


def _write_cohort(run: Path) -> None:
    """Write a views table of those women whose images are there."""
    views = pd.read_csv(run / "views.csv", dtype={"patient_id": str})
    there = views["image"].map(lambda name: (run / name).is_file()) & (views["split"] != "unused")
    views[there.groupby(views["patient_id"]).transform("all")].to_csv(run / "cohort.csv", index=False)


def _write(source: Path, target: Path, values: dict) -> None:
    """Copy a notebook with other parameters."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    (cell,) = (c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = "".join(cell["source"]) + "".join(f"\n{name} = {value!r}" for name, value in values.items())
    target.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """Return an environment that keeps Jupyter out of the user's home, with news and autosaving off."""
    tmp = tmp_path_factory.mktemp("homes")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    names += ("JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    env = dict(os.environ) | {name: str(tmp / name) for name in names} | {"JUPYTER_PREFER_ENV_PATH": "1"}
    env["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), env.get("PYTHONPATH", "")) if p)
    env.pop("BAC_UTILS_HEADLESS", None)
    settings = Path(env["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab")
    for name, values in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
        "notebook-extension/tracker": {"windowingMode": "none"},
        "docmanager-extension/plugin": {"autosave": False},
    }.items():
        path = settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    return env


@pytest.fixture(scope="session")
def lab(root, homes):
    """Return the address of a JupyterLab over `root`, and its token."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "bac_utils.widgets.serve", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += ["--port=0"]
    command += [
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={root}",
    ]
    with _served(command, homes) as process:
        folder, end = Path(homes["JUPYTER_RUNTIME_DIR"]), time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            for path in folder.glob("jpserver-*.json"):
                url = f"http://127.0.0.1:{json.loads(path.read_text(encoding='utf-8'))['port']}"
                if _answers(f"{url}/api/status?token={token}"):
                    yield url, token
                    return
            time.sleep(0.2)
        raise RuntimeError("JupyterLab did not start within 60 s")


@pytest.fixture
def voila(root, homes, tmp_path):
    """Return a function that serves a notebook as `make app` does, and returns the address that it prints."""
    with contextlib.ExitStack() as stack:

        def serve(name, *arguments, **environment):
            log = tmp_path / f"{name}.log"
            command = [
                sys.executable,
                "-m",
                "bac_utils.widgets.serve",
                "app",
                str(root / "notebooks" / name),
                "--no-browser",
            ]
            process = stack.enter_context(_served([*command, *arguments], homes | environment, log))
            end = time.monotonic() + 60
            while time.monotonic() < end and process.poll() is None:
                found = re.search(r"http://localhost:\d+/\?token=\w+\n", log.read_text(encoding="utf-8"))
                if found:
                    return found[0].strip()
                time.sleep(0.2)
            raise RuntimeError(f"Voila did not start within 60 s: {log.read_text(encoding='utf-8')}")

        yield serve


class _served:  # noqa: N801
    """A server process that is gone, kernels and all, when the block ends."""

    def __init__(self, command, env, log=os.devnull):
        self._command, self._env, self._log = command, env, log

    def __enter__(self):
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
            )
        return self._process

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": find_chromium(), "chromium_sandbox": os.name == "posix" and os.geteuid() != 0}
        browser = playwright.chromium.launch(args=list(FLAGS), **options)
        yield browser
        browser.close()


def is_local(address: str) -> bool:
    """Return whether an address is on this machine: a local host, a file, or data within the page."""
    return urlsplit(address).hostname in (None, "localhost", "127.0.0.1")


@pytest.fixture
def record(browser):
    """Return a function that opens a page which reaches this machine alone, and the list of what it asks elsewhere."""
    contexts = []

    def opened():
        context = browser.new_context(viewport={"width": 1440, "height": 1900})
        contexts.append(context)
        page, asked = context.new_page(), []
        session = context.new_cdp_session(page)
        session.send("Network.enable")

        def note(address):
            if not is_local(address):
                asked.append(address)

        session.on("Network.requestWillBeSent", lambda event: note(event["request"]["url"]))
        session.on("Network.webSocketCreated", lambda event: note(event["url"]))
        context.on("request", lambda request: note(request.url))  # of all frames and workers
        context.route(lambda address: not is_local(address), lambda route: route.abort())
        page.set_default_timeout(60_000)
        page.set_default_navigation_timeout(180_000)  # Voila runs the notebook before it answers
        return page, asked

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(record):
    """Return a page that reaches this machine alone; the test fails if it asks another host for anything."""
    page, asked = record()
    yield page
    assert asked == []


@pytest.fixture
def open_lab(page, lab):
    """Return a function that opens a notebook in JupyterLab, runs it from the menu and checks that no cell failed."""
    url, token = lab

    def opened(name):
        page.goto(f"{url}/lab/tree/notebooks/{name}?reset&token={token}")
        page.locator("#jp-main-statusbar .jp-StatusBar-TextItem", has_text="| Idle").wait_for(timeout=90_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu").get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(_DONE, timeout=180_000)
        assert page.evaluate(_ERRORS) == []
        return page

    return opened


_CELLS = "jupyterapp.shell.currentWidget.model.toJSON().cells.filter(c => c.cell_type === 'code')"
_ERRORS = f"{_CELLS}.flatMap(c => (c.outputs || []).filter(o => o.output_type === 'error').map(o => o.evalue))"
_DONE = f"(() => {{ const c = {_CELLS}; return c.every(x => x.execution_count) || {_ERRORS}.length > 0 }})()"


@pytest.fixture
def shoot(request):
    """Return a function that writes a screenshot of a part of a page."""
    folder = request.config.getoption("--screenshots")

    def shot(locator, name):
        if folder:
            target = request.config.invocation_params.dir / folder / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            image = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
            image.quantize(200, dither=Image.Dither.NONE).save(target, optimize=True)

    return shot
