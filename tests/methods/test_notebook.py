"""Notebook 07 on a tiny cohort, as `make methods` runs it."""

import nbformat
import pandas as pd
import pytest

from bac_utils.methods import keep
from bac_utils.methods.table import COLUMNS
from bac_utils.study import compared

TINY = {
    "methods": "vgg19,patch-network,scu-net,vesselness", "method_epochs": 1, "patch_side": 64,
    "patch_number": 16, "patch_epochs": 1, "centre_number": 64, "bootstrap_samples": 50, "workers": 1,
}  # fmt: skip


def test_the_table_and_the_page(drawn_run):
    views = pd.read_csv(drawn_run / "views.csv", dtype=str)
    rows = [f"{i},{who},csbi,{k % 4}" for k, i in enumerate(views["patient_id"].unique()) for who in ("A", "<b>B</b>")]
    (drawn_run / "readings.csv").write_text("patient_id,reader,scale,value\n" + "\n".join(rows) + "\n")
    asked = TINY | {"outlines": str(drawn_run / "masks"), "reader_table": str(drawn_run / "readings.csv")}
    path = compared.run_comparison(drawn_run, asked)
    table = pd.read_csv(path)
    assert table.columns.tolist() == list(COLUMNS)
    names = ["vgg16", "vgg19", "patch-network", "scu-net", "vesselness", "reader <b>B</b>, csbi", "reader A, csbi"]
    assert table["method"].tolist() == names
    assert table["supervision"].tolist() == ["image", "image", "pixel", "pixel", "none", "none", "none"]
    assert table["start"].tolist() == ["random", "structures", "random", "random", "none", "reader", "reader"]
    for name in ("auc_roc", "auc_pr", "localisation", "dice"):
        known = table[name].dropna()
        assert known.between(0, 1).all()
    assert table["auc_roc"].notna().all() and table.set_index("method").loc["scu-net", "dice"] >= 0
    for name in ("methods_roc.png", "methods_views.png"):
        assert (drawn_run / "figures" / name).stat().st_size <= 300_000
    page = (drawn_run / "notebooks" / "07_methods_compared.html").read_text(encoding="utf-8")
    assert "<b>B</b>" not in page and "No description has been provided" not in page
    before = {p.parent.name: p.stat().st_mtime_ns for p in (drawn_run / "methods").glob(f"*/{keep.KEPT}")}
    assert len(before) == 5


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"epochs": 3}, ValueError, "parameter 'epochs' is unknown, must be one of .*method_epochs"),
        ({"output": "x"}, ValueError, "parameter 'output' is unknown"),
        ({"patch_side": 50}, ValueError, "patch_side: got 50, must be a multiple of 8, 32 or more"),
        ({"start": "none of these"}, ValueError, "start: got 'none of these', must be structures, imagenet or none"),
        ({"reader_table": "nowhere.csv"}, FileNotFoundError, "reader_table: got .*nowhere.csv, must exist"),
    ],
)
def test_wrong_parameters_are_refused_before_any_work(drawn_run, parameters, error, message):
    with pytest.raises(error, match=message):
        compared.run_comparison(drawn_run, parameters)


def test_only_a_finished_run_is_compared(tmp_path, capsys):
    assert compared.main([str(tmp_path / "none")]) == 1
    assert "must be the folder of a finished run" in capsys.readouterr().err


def test_the_notebook_is_valid():
    nbformat.validate(nbformat.read(compared.NOTEBOOKS / compared.NOTEBOOK, as_version=4))
