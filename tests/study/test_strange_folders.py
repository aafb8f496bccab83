"""Folders with links, or with what a full disk or a power failure has left, as the output of `run` and `simulate`."""

import json
import re

import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils._files import write_json
from bac_utils.run_folder import open_run, versions
from bac_utils.study import runner
from bac_utils.study.execution import NotebookError


def call(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch):
    """Run the cells of the notebooks in this process."""

    def execute(path, parameters, pages, label):
        names = {}
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                try:
                    exec("".join(cell["source"]), names)
                except KeyError as error:
                    raise NotebookError(str(error)) from None
                names |= parameters if cell["metadata"].get("tags") else {}

    monkeypatch.setattr(runner, "execute", execute)


def begun(run):
    """Make the folder of a run that has just been started."""
    asked = {"preset": "demo", "seed": 2023, "cohort": "", "cohort_sha256": "", "parameters": {}, "folds": None}
    empty = {"kit": "bac-utils", "asked": asked, "versions": versions(), "finished": False, "notebooks": {}}
    write_json(run / "manifest.json", empty)


@pytest.mark.parametrize("name", ["predictions.csv", "cache", "fold-1", "figures/new/scores.png", ".lock", "anything"])
@pytest.mark.parametrize("kind", ["symbolic", "broken", "hard"])
def test_a_run_with_links_is_refused_before_work(tmp_path, notebooks, name, kind):
    run, outside = tmp_path / "run", tmp_path / "outside"
    begun(run)
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    link = run / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    if kind == "hard":
        link.hardlink_to(outside / "mine.txt")
    else:
        link.symlink_to(outside / "none" if kind == "broken" else outside)
    for act in (lambda: runner.run_notebooks(run, overwrite=True, notebooks=notebooks), lambda: open_run(run, "demo")):
        with pytest.raises(ValueError, match=f"output: got a folder with {re.escape(str(link))}, .*, must "):
            act()
    assert [path.name for path in outside.iterdir()] == ["mine.txt"] and (outside / "mine.txt").read_text() == "mine"
    assert (run / "manifest.json").is_file()


def test_the_runs_folder_itself_may_be_a_link(tmp_path, notebooks):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert (tmp_path / "disk" / "summary.json").is_file()


LEFT = ("manifest.json", "part-0123abcd-manifest.json", ".lock", "views.csv")


def test_a_run_goes_on_in_a_folder_that_was_begun_on_a_full_disk(tmp_path, notebooks):
    run = tmp_path / "run"
    run.mkdir()
    for name in LEFT:
        (run / name).touch()
    runner.run_notebooks(run, notebooks=notebooks)
    assert json.loads((run / "manifest.json").read_text())["finished"]


def test_a_run_that_has_lost_its_manifest_starts_again_unless_it_was_finished(tmp_path, notebooks):
    run = tmp_path / "run"
    with pytest.raises(NotebookError):
        runner.run_notebooks(run, parameters={"fail": True}, notebooks=notebooks)
    (run / "manifest.json").write_text("")
    runner.run_notebooks(run, notebooks=notebooks)
    (run / "manifest.json").write_text("")
    with pytest.raises(FileExistsError, match="a finished run, of which manifest.json is empty: .*--overwrite"):
        runner.run_notebooks(run, notebooks=notebooks)
    runner.run_notebooks(run, overwrite=True, notebooks=notebooks)
    assert json.loads((run / "manifest.json").read_text())["finished"]


@pytest.mark.parametrize("left", [["simulation.json"], ["part-0123abcd-simulation.json"], ["simulation.json", "a.csv"]])
def test_a_simulation_goes_on_after_a_full_disk_and_refuses_links(monkeypatch, tmp_path, left):
    from bac_utils.simulator import cohort_files

    monkeypatch.setattr(cohort_files, "simulate_cohort", lambda folder, *rest: folder / "views.csv")
    out = tmp_path / "out"
    out.mkdir()
    for name in left:
        (out / name).touch()
    assert call("simulate", out, "--women", 3).exit_code == 0
    assert json.loads((out / "simulation.json").read_text())["women"] == 3
    (tmp_path / "elsewhere").mkdir()
    (out / "truth").symlink_to(tmp_path / "elsewhere")
    done = call("simulate", out, "--women", 3)
    assert done.exit_code == 1 and done.output.startswith(f"error: OUT: got a folder with {out / 'truth'}, a link to ")
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thresholds", 0.5), ("thresholds", 0), ("thresholds", True), ("thresholds", [1]), ("workers", 0),
        ("workers", float("nan")), ("examples", "many"), ("heatmap_sets", "tset"), ("heatmap_sets", 7),
        ("subset_splits", "tests"), ("subset_view", "XX"), ("sample_spacing_mm", float("inf")), ("artery_women", 7),
        ("sweep_trainable_convolutions", 0),
    ],
)  # fmt: skip
def test_parameters_that_only_notebooks_know_are_checked_before_work(name, value):
    with pytest.raises(ValueError, match=rf"{name}: got .*, must be "):
        runner.check_parameters("demo", {name: value})
    assert runner.check_parameters("demo", {name: None})


def full(path, *arguments, **options):
    """Stand for papermill on a full disk: half a notebook, and an error without a name."""
    arguments[0].write_text('{"cells": [')
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_reported_as_such_and_the_next_call_goes_on(tmp_path, notebooks, monkeypatch):
    import papermill

    from bac_utils.study import execution

    quick = runner.execute
    monkeypatch.setattr(runner, "execute", execution.execute)
    monkeypatch.setattr(papermill, "execute_notebook", full)
    page = tmp_path / "run" / "notebooks" / "01_first.ipynb"
    with pytest.raises(OSError, match=re.escape(f"[Errno 28] No space left on device: '{page}'")):
        runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    monkeypatch.setattr(runner, "execute", quick)
    runner.run_notebooks(tmp_path / "run", notebooks=notebooks)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["finished"]
