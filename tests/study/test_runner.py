"""Headless runs and the command line, on tiny notebooks without a network."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import nbformat
import pandas as pd
import pytest
from page_requests import asked_elsewhere
from tiny_notebooks import COHORT, PARAMETERS, SIMULATOR, write_notebook
from typer.testing import CliRunner
from view_rows import four_views

from bac_utils import __main__ as cli
from bac_utils.inclusion.corrections import corrections_digest
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.run_folder import SUMMARY_KEYS
from bac_utils.study import execution, runner
from bac_utils.study.command_line import parse_value
from bac_utils.study.execution import NotebookError, declared_parameters

ROOT = Path(__file__).resolve().parents[2]


KEPT = json.dumps({"threshold": 0.5, "heatmap_threshold": 0.4, "chosen_on": "validation"})


def test_declared_parameters_are_read_without_running(tmp_path):
    path = write_notebook(tmp_path / "01_x.ipynb", parameters="a = 1  # one\nb = [1, 2]\nc = None\nd = -2.5")
    assert declared_parameters(path) == {"a": 1, "b": [1, 2], "c": None, "d": -2.5}
    path = write_notebook(tmp_path / "02_x.ipynb", parameters="a = 1\nb = a + 1")
    with pytest.raises(ValueError, match="02_x.ipynb, parameters cell: got 'b = a \\+ 1', must be a literal"):
        declared_parameters(path)


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"epochss": 3}, ValueError, "parameter 'epochss' is unknown, must be one of .*epochs"),
        ({"output": "x"}, ValueError, "parameter 'output': use the option --output"),
        ({"cohort": "x"}, ValueError, "parameter 'cohort': use the option --cohort"),
        ({"women": 0}, ValueError, "women: got 0"),
        ({"epochs": "many"}, TypeError, "epochs: got 'many'"),
        ({"age_limits": "terciles"}, TypeError, "age_limits"),
    ],
)
def test_bad_parameters_stop_before_work(tmp_path, parameters, error, words):
    with pytest.raises(error, match=words):
        runner.run_notebooks(tmp_path / "run", "demo", parameters=parameters)
    assert not (tmp_path / "run").exists()


def test_good_parameters():
    settings = runner.check_parameters("demo", {"age_limits": "population", "epochs": 3, "examples": 2, "seed": None})
    assert settings.epochs == 3
    assert settings.age_limits == (60, 70, 73)


def test_a_parameter_of_the_simulator_is_refused_for_a_cohort():
    assert runner.check_parameters("demo", {"sample_women": 2})
    with pytest.raises(ValueError, match="parameter 'sample_women' is unknown, must be one of"):
        runner.check_parameters("demo", {"sample_women": 2}, simulated=False)


def test_bad_cohort_stops_before_work(tmp_path, notebooks):
    table = tmp_path / "views.csv"
    table.write_text("patient_id,age,laterality,view,image\n1,50,L,CC,a.dcm\n")
    with pytest.raises(ValueError, match="column 'bac': missing"):
        runner.run_notebooks(tmp_path / "run", cohort=table, notebooks=notebooks)
    table.write_text("patient_id,age,laterality,view,image,bac\n1,50,L,CC,a.dcm,1\n")
    with pytest.raises(ValueError, match="column 'image'.*must be an existing file"):
        runner.run_notebooks(tmp_path / "run", cohort=table, notebooks=notebooks)
    assert not (tmp_path / "run").exists()


def write_table(path, rows):
    frame = pd.DataFrame(rows)
    for image in frame["image"]:
        (path.parent / image).write_bytes(b"")
    frame.to_csv(path, index=False)
    return path


def test_overwriting_with_a_bad_cohort_or_weights_leaves_the_finished_run(tmp_path, notebooks):
    run = tmp_path / "run"
    runner.run_notebooks(run, notebooks=notebooks)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    table = write_table(tmp_path / "views.csv", [row for k in range(6) for row in four_views(f"W{k}")])
    with pytest.raises(ValueError, match="got 0 BAC\\+ women of 6"):
        runner.run_notebooks(run, cohort=table, overwrite=True, notebooks=notebooks)
    write_notebook(notebooks / "03_third.ipynb", "print(weights)", parameters=PARAMETERS + "weights = None\n")
    (tmp_path / "mine.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="weights: got .*mine.h5, must be imagenet, .*, none, a weights file"):
        parameters = {"weights": str(tmp_path / "mine.h5")}
        runner.run_notebooks(run, parameters=parameters, overwrite=True, notebooks=notebooks)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_weights_are_looked_for_where_the_command_runs(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "mine.h5", "w"):
        pass
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with zipfile.ZipFile(tmp_path / "run" / "model.keras", "w"):
        pass
    for name in ("mine.h5", "run", "run/model.keras"):
        asked = runner._asked("demo", None, {"weights": name}, runner.NOTEBOOKS)
        assert asked["parameters"]["weights"] == str(tmp_path / name)
    assert runner._asked("demo", None, {"weights": "detector"}, runner.NOTEBOOKS)["parameters"] == {
        "weights": "detector"
    }


def test_missing_imagenet_weights_are_noticed_before_any_work(tmp_path, notebooks, monkeypatch):
    def fails(**given):
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.applications.VGG16", fails)
    with pytest.raises(ConnectionError, match=r"ImageNet weights of VGG16 .*-p weights PATH.*-p weights none"):
        runner.run_notebooks(tmp_path / "run", "paper", notebooks=notebooks)
    assert not (tmp_path / "run").exists()


def test_a_changed_table_is_reported_and_prepared_views_are_kept(tmp_path, notebooks):
    """A row is removed from the user's table: the run is refused, and --overwrite keeps the prepared views."""
    rows = [row for k in range(48) for row in four_views(f"W{k:02d}", age=50 + k % 30, bac=(k % 2,) * 4)]
    table, run = write_table(tmp_path / "views.csv", rows), tmp_path / "run"
    runner.run_notebooks(run, cohort=table, notebooks=notebooks)
    (run / "cache" / "other").mkdir(parents=True)
    for name in ("views.npy", "views.json", "quantification.npy", "other/views.npy"):
        (run / "cache" / name).write_text("prepared")
    write_table(table, rows[4:])
    with pytest.raises(FileExistsError, match="views.csv has changed since the run was started"):
        runner.run_notebooks(run, cohort=table, notebooks=notebooks)
    runner.run_notebooks(run, cohort=table, overwrite=True, notebooks=notebooks)
    assert sorted(p.name for p in (run / "cache").iterdir()) == ["views.json", "views.npy"]
    runner.run_notebooks(run, overwrite=True, notebooks=notebooks)  # simulated views are drawn anew
    assert not (run / "cache").exists()


def test_readings_replace_labels_and_are_part_of_what_was_asked(tmp_path, notebooks):
    rows = [row for k in range(48) for row in four_views(f"W{k:02d}", age=50 + k % 30, bac=(k % 2,) * 4)]
    table, run, folder = write_table(tmp_path / "views.csv", rows), tmp_path / "run", tmp_path / "readings"
    mine = ReaderFile(folder, "Anna", 1)
    mine.put({ViewKey("W00", "", "L", "CC"): {"bac": 1}})
    parameters = PARAMETERS + 'readings = ""\n'
    write_notebook(notebooks / "01_first.ipynb", COHORT + "\nprint('got', readings)", parameters=parameters)
    runner.run_notebooks(run, cohort=table, notebooks=notebooks, readings=folder)
    asked = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["asked"]
    assert (asked["readings"], asked["readings_sha256"]) == (str(folder), corrections_digest(folder))
    assert f"got {folder}" in (run / "notebooks" / "01_first.html").read_text(encoding="utf-8")
    mine.put({ViewKey("W02", "", "L", "CC"): {"bac": 1}})
    with pytest.raises(FileExistsError, match="readings has changed since the run was started"):
        runner.run_notebooks(run, cohort=table, notebooks=notebooks, readings=folder)
    with pytest.raises(FileExistsError, match="a run with readings .*, not ''"):
        runner.run_notebooks(run, cohort=table, notebooks=notebooks)
    with pytest.raises(ValueError, match="readings: got .*, must be given with a views table"):
        runner.run_notebooks(tmp_path / "other", notebooks=notebooks, readings=folder)
    (folder / "b.csv").write_text("reader\n")
    with pytest.raises(ValueError, match="b.csv"):
        runner.run_notebooks(tmp_path / "other", cohort=table, notebooks=notebooks, readings=folder)
    assert not (tmp_path / "other").exists()
    done = call("run", "--output", tmp_path / "other", "--readings", folder)
    assert done.exit_code == 2 and "--readings: needs --cohort" in done.output
    with pytest.raises(ValueError, match="parameter 'readings': use the option --readings instead"):
        runner.check_parameters("demo", {"readings": "x"}, simulated=False)


def test_the_run_of_a_views_table_has_no_part_on_the_simulator(tmp_path, notebooks):
    write_notebook(notebooks / "00_simulator.ipynb", SIMULATOR)
    rows = [row for k in range(48) for row in four_views(f"W{k:02d}", age=50 + k % 30, bac=(k % 2,) * 4)]
    table = write_table(tmp_path / "views.csv", rows)
    for name, cohort in (("own", table), ("simulated", None)):
        runner.run_notebooks(tmp_path / name, cohort=cohort, notebooks=notebooks)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text(encoding="utf-8"))
        pages = {page.stem for page in (tmp_path / name / "notebooks").glob("*.html")}
        ran = {"01_first", "02_second"} | (set() if cohort else {"00_simulator"})
        assert pages == set(manifest["notebooks"]) == ran
        assert (tmp_path / name / "figures" / "simulator_spectra.png").exists() == (cohort is None)


def test_the_cohort_may_not_lie_in_the_runs_folder(tmp_path, notebooks):
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.dcm").write_bytes(b"")
    (run / "views.csv").write_text("patient_id,age,laterality,view,image,bac\n1,50,L,CC,a.dcm,1\n")
    manifest = {"kit": "bac-utils", "asked": {}, "versions": {}, "notebooks": {}, "finished": False}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="cohort: got .*, must not lie in the run's folder"):
        runner.run_notebooks(run, cohort=run / "views.csv", overwrite=True, notebooks=notebooks)
    assert (run / "views.csv").exists()


@pytest.mark.parametrize("manifest", [None, "{}", '{"kit": "other"}', "not json", "[]"])
def test_other_folders_are_not_touched(tmp_path, notebooks, manifest):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "views.csv").write_text("mine")
    if manifest:
        (folder / "manifest.json").write_text(manifest)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(FileExistsError, match="contains something other than a run"):
        runner.run_notebooks(folder, overwrite=True, notebooks=notebooks)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_file_cannot_be_the_output(tmp_path, notebooks):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        runner.run_notebooks(tmp_path / "run", overwrite=True, notebooks=notebooks)


def test_notebooks_run_again_when_the_saved_thresholds_change(tmp_path, notebooks, monkeypatch):
    """A run stops in notebook 03; then thresholds are saved in notebook 05, on which 02 here depends."""
    write_notebook(notebooks / "02_second.ipynb", "", parameters=PARAMETERS + 'thresholds = ""\n')
    write_notebook(notebooks / "03_third.ipynb", "")
    executed = []

    def stop_in_the_third(path, *_):
        executed.append(path.stem)
        if path.stem == "03_third":
            raise NotebookError("stop")

    monkeypatch.setattr(runner, "execute", stop_in_the_third)
    for thresholds in (None, KEPT, KEPT):
        if thresholds:
            (tmp_path / "run" / "kept_thresholds.json").write_text(thresholds)
        with pytest.raises(NotebookError):
            runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert executed == ["01_first", "02_second", "03_third", "02_second", "03_third", "03_third"]


def test_fail_resume_finish_refuse_overwrite(tmp_path, notebooks):
    run, environment = tmp_path / "run", dict(os.environ)
    with pytest.raises(NotebookError, match="02_second.ipynb, cell \\[3\\] \\(number = 6\\): KeyError: 'no such view'"):
        runner.run_notebooks(run, parameters={"fail": True}, notebooks=notebooks)
    assert dict(os.environ) == environment
    pages = sorted(p.name for p in (run / "notebooks").iterdir())
    assert pages == ["01_first.html", "01_first.ipynb", "02_second.html", "02_second.ipynb", "kernels.log"]
    assert "no such view" in (run / "notebooks" / "02_second.html").read_text(encoding="utf-8")
    with pytest.raises(FileExistsError, match="contains a run with parameters {'fail': True}, not {}"):
        runner.run_notebooks(run, notebooks=notebooks)

    write_notebook(notebooks / "02_second.ipynb", "print('repaired')")
    summary = runner.run_notebooks(run, parameters={"fail": True}, notebooks=notebooks)
    assert summary["cohort"]["women"] == 4
    assert (run / "views.csv").read_text() == "one run\n"  # the first notebook was not run again
    assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["finished"]
    with pytest.raises(FileExistsError, match="contains a finished run"):
        runner.run_notebooks(run, parameters={"fail": True}, notebooks=notebooks)

    (run / "my_notes.txt").write_text("mine")
    (run / "figures").mkdir()
    (run / "figures" / "old.png").write_text("")
    (run / "kept_thresholds.json").write_text(KEPT)
    runner.run_notebooks(run, overwrite=True, notebooks=notebooks)
    assert (run / "kept_thresholds.json").exists()
    assert (run / "my_notes.txt").read_text() == "mine"
    assert not (run / "figures" / "old.png").exists()
    assert (run / "views.csv").read_text() == "one run\n"


def test_a_changed_notebook_is_run_again(monkeypatch, tmp_path, notebooks):
    ran = []
    monkeypatch.setattr(runner, "execute", lambda path, *rest: ran.append(path.stem))
    monkeypatch.setattr(runner, "write_summary", lambda folder: (_ for _ in ()).throw(OSError("disk full")))
    for _ in range(2):  # all done, yet not finished
        with pytest.raises(OSError, match="disk full"):
            runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert ran == ["01_first", "02_second"]
    write_notebook(notebooks / "01_first.ipynb", COHORT + "\n")
    with pytest.raises(OSError, match="disk full"):
        runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert ran == ["01_first", "02_second"] * 2


HOLD = """import sys
from pathlib import Path
from bac_utils._files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()"""


def test_one_run_at_a_time(tmp_path, notebooks):
    run = tmp_path / "run"
    run.mkdir()
    words = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(FileExistsError, match=f"^{re.escape(str(run))} is in use by another process$"):
            runner.run_notebooks(run, notebooks=notebooks)
        holder.kill()
    assert [path.name for path in run.iterdir()] == [".lock"]
    assert runner.run_notebooks(run, notebooks=notebooks)["cohort"]["women"] == 4  # released with its process


@pytest.mark.skipif(os.name == "nt", reason="flock")
@pytest.mark.parametrize(
    ("where", "error", "cause"),
    [
        ("fcntl.flock", OSError(errno.ENOLCK, "No locks available"), "No locks available"),
        ("fcntl.flock", OSError(errno.EIO, "Input/output error"), "Input/output error"),
        ("filelock.FileLock.acquire", NotImplementedError("no flock here"), "no flock here"),
    ],
)
def test_a_file_system_without_locks_is_reported_as_such(tmp_path, notebooks, monkeypatch, where, error, cause):
    def refuse(*words, **options):
        raise error

    monkeypatch.setattr(where, refuse)
    with pytest.raises(OSError, match=f"cannot be locked .*{cause}") as caught:
        runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert "another process" not in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert str(tmp_path / "run") in str(caught.value)


def test_a_dead_kernel_is_named(tmp_path, notebooks):
    write_notebook(notebooks / "01_first.ipynb", "x = 1", "import os\nos._exit(9)")
    with pytest.raises(NotebookError, match=r"01_first.ipynb, cell .*\(import os\): .*died"):
        runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert (tmp_path / "run" / "notebooks" / "01_first.html").exists()


def test_no_notebooks(tmp_path):
    with pytest.raises(FileNotFoundError, match="contains no notebooks"):
        runner.run_notebooks(tmp_path / "run", notebooks=tmp_path)


SLEEP = """import os, subprocess, sys, time
from pathlib import Path
from bac_utils._workers import worker_pool
pool = worker_pool(1)
worker = pool.submit(os.getpid).result()
Path(output, "pids").write_text(f"{os.getpid()} {worker}")
time.sleep(120)"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_no_process(tmp_path, notebooks, number):
    write_notebook(notebooks / "01_first.ipynb", SLEEP)
    code = f"""from pathlib import Path
from bac_utils import __main__ as cli
from bac_utils.inclusion.corrections import corrections_digest
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.study import runner
with cli._one_line_errors():
    runner.run_notebooks({str(tmp_path / "run")!r}, notebooks=Path({str(notebooks)!r}))"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            pids = tmp_path / "run" / "pids"
            wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
            process.send_signal(number)
            wait_for(lambda: process.poll() is not None)
        finally:
            process.kill()
    assert process.returncode != 0
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not is_running(pid))


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def call(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.mark.parametrize("verb", ["simulate", "run", "score", "summarise", "pretrain"])
def test_help(verb):
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert "--help" in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["simulate", "{}", "--women", "0"], "--women"),
        (["simulate", "{}", "--women", "2", "--prevalence", "1.5"], "--prevalence"),
        (["simulate", "{}"], "--women"),
        (["run", "--preset", "dmeo"], "preset: got 'dmeo'"),
        (["run", "-p", "epochs"], "-p NAME VALUE"),
        (["run", "-p", "7", "epochs"], "-p NAME VALUE"),
        (["run", "-p", "epochss", "7"], "'epochss' is unknown"),
        (["run", "-p", "epochs", "0"], "epochs: got 0"),
        (["run", "--cohort", "{}/nowhere.csv"], "nowhere.csv"),
        (["score", "{}/nowhere", "--output", "{}/x.csv"], "nowhere"),
        (["score", "{}"], "--output"),
        (["dance"], "dance"),
    ],
)
def test_wrong_arguments(tmp_path, words, told):
    done = call(*(word.replace("{}", str(tmp_path)) for word in words))
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


def test_failures_are_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for words in (["run", "--output", tmp_path], ["simulate", tmp_path, "--women", "1"]):
        done = call(*words)
        assert done.exit_code == 1
        assert done.output.startswith("error: ") and "contains something other than a" in done.output
        assert len(done.output.splitlines()) == 1


def test_parameters_reach_the_run(monkeypatch, tmp_path):
    seen = {}

    def run_notebooks(*arguments, readings):
        seen["arguments"] = (*arguments, readings)
        return "summary"

    monkeypatch.setattr(runner, "run_notebooks", run_notebooks)
    monkeypatch.setattr(runner, "closing_words", lambda *_: "the end")
    monkeypatch.setattr("bac_utils.report.folder.write_report", lambda _: [])
    words = "-p epochs 12 --preset paper -p age_limits [50,60,70] -p weights none -p seed None --overwrite"
    done = call("run", "--output", tmp_path, *words.split())
    assert done.output == "the end\n"
    parameters = {"epochs": 12, "age_limits": [50, 60, 70], "weights": "none", "seed": None}
    assert seen["arguments"] == (tmp_path, "paper", None, parameters, True, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("1e-3", 1e-3), ("[1, 2]", [1, 2]), ("None", None), ("null", None), ("True", True), ("VGG16", "VGG16")],
)
def test_parse_value(text, value):
    assert parse_value(text) == value


def test_simulate_keeps_to_its_folder(monkeypatch, tmp_path):
    from bac_utils.simulator import cohort_files

    monkeypatch.setattr(cohort_files, "simulate_cohort", lambda folder, *rest: folder / "views.csv")
    words = ["simulate", tmp_path / "out", "--women", 3, "--seed", 5]
    assert call(*words).exit_code == 0
    assert call(*words).exit_code == 0  # the same command resumes
    done = call(*words, "--spacing", 0.1)
    assert done.exit_code == 1
    assert "contains another simulation" in done.output


def test_closing_words(tmp_path):
    (tmp_path / "manifest.json").write_text('{"asked": {"cohort": ""}}')
    cohort = {"women": 4, "bac_women": 1, "age_median": 59.0}
    summary = dict.fromkeys(SUMMARY_KEYS) | {"cohort": cohort}
    words = runner.closing_words(tmp_path, summary)
    assert "Spearman" in words and "0.88" in words  # the paper's
    assert "1 (25.0%)" in words and "194 (13.0%)" in words  # BAC+ women of this run and of the paper
    assert str(tmp_path / "figures") in words
    assert "Simulated views" in words
    (tmp_path / "manifest.json").write_text('{"asked": {"cohort": "views.csv"}}')
    assert "Simulated views" not in runner.closing_words(tmp_path, summary)


OUTPUTS = """import sys, time, warnings
import ipywidgets
from IPython.display import display
from tqdm import tqdm, trange
for _ in tqdm(range(3), desc="rendering", unit="woman"):
    time.sleep(0.01)
for _ in tqdm(iter("abc"), desc="reading", unit=" file", mininterval=0):
    time.sleep(0.01)
with tqdm(total=5e6, unit_scale=True, desc="loading", unit="B") as bar:
    bar.update(2.5e6)
for _ in trange(2, desc="outer"):
    for _ in trange(2, desc="inner", leave=False):
        time.sleep(0.01)
warnings.warn("the scale was guessed at 50%| 1/2")
print("a plain line", file=sys.stderr)
display(ipywidgets.IntSlider(description="slide"))"""


def test_executed_notebooks_and_pages_are_clean(tmp_path):
    """Without widget state, progress bars and anything from other hosts; real warnings stay."""
    path = write_notebook(tmp_path / "01_x.ipynb", OUTPUTS, "print('with $x^2$')")
    with execution.kernel_environment(tmp_path / "kernels.log"):
        execution.execute(path, {}, tmp_path / "pages", "01_x")
    executed = nbformat.read(tmp_path / "pages" / "01_x.ipynb", as_version=4)
    page = (tmp_path / "pages" / "01_x.html").read_text(encoding="utf-8")
    assert "widgets" not in executed.metadata and "application/vnd.jupyter.widget-state+json" not in page
    text = "".join(o.text for cell in executed.cells for o in cell.get("outputs", []) if o.get("name") == "stderr")
    lines = text.splitlines()
    assert len(lines) == 3 and lines[0].endswith("UserWarning: the scale was guessed at 50%| 1/2")
    assert lines[1].strip().startswith("warnings.warn(") and lines[2] == "a plain line"
    for word in ("rendering", "reading", "loading", "outer", "inner"):
        assert not re.search(rf"{word}: +\d", page)
    assert "the scale was guessed" in page
    assert asked_elsewhere(page) == []
