"""Resuming, the rules of the interface, the table, and the example of the documentation."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bac_utils._files import read_json
from bac_utils.methods import keep, table
from bac_utils.methods.interface import LabelledViews, Look, Method, check_look, check_method
from bac_utils.methods.registry import NAMES, chosen_names, load_method
from bac_utils.methods.sets import Sets, with_known_outlines

ROOT = Path(__file__).parents[2]


class Counting(Method):
    """The brightest pixel of a view; counts its calls."""

    name = "counting"
    title = "Counting"
    source = "a test"
    supervision = "image"
    start = "random"
    measure = "bright pixels"
    calls: list

    def __init__(self, level=3.0, fail=False):
        self.level, self.fail, self.calls = level, fail, []

    def settings(self):
        return {"level": self.level}

    def fit(self, train, validation, folder):
        self.calls.append("fit")
        self.parameters = 7
        (folder / "half").write_text("saved")
        if self.fail:
            raise FloatingPointError("diverged")

    def load(self, folder):
        self.calls.append("load")
        assert (folder / "half").is_file()

    def scores(self, views):
        self.calls.append("scores")
        return np.asarray(views.pixels, float).max(axis=(1, 2))

    def look(self, pixels, spacing_mm):
        mask = pixels > self.level
        return Look(np.clip(pixels / 8, 0, 1), float(mask.sum()), mask, {"largest": float(pixels.max())})


def part(views, places):
    """Some of the views."""
    rows = views.table.iloc[places].reset_index(drop=True)
    return LabelledViews(views.pixels[places], rows, views.outlines[places])


@pytest.fixture
def four_sets(line_views):
    places = [list(range(*limits)) for limits in ((0, 8), (8, 12), (12, 24), (12, 24))]
    return Sets(*(part(line_views, chosen) for chosen in places))


def test_a_finished_method_is_not_run_again(four_sets, tmp_path):
    first = Counting()
    found = keep.run_method(first, four_sets, tmp_path, shown=[1, 0])
    assert first.calls == ["fit", "scores"]
    again = Counting()
    same = keep.run_method(again, four_sets, tmp_path, shown=[1, 0])
    assert again.calls == [] and same.parameters == 7
    pd.testing.assert_frame_equal(found.scores, same.scores)
    pd.testing.assert_frame_equal(found.looks, same.looks)
    assert len(same.shown) == 2 and same.shown[0].shape == (64, 48)
    other_views = Counting()
    keep.run_method(other_views, replace(four_sets, test=part(four_sets.test, list(range(6)))), tmp_path, [1, 0])
    assert other_views.calls == ["load", "scores"]
    other_settings = Counting(level=2.0)
    keep.run_method(other_settings, four_sets, tmp_path, shown=[1, 0])
    assert other_settings.calls == ["fit", "scores"]
    table_ = four_sets.train.table.assign(bac=1)
    other_labels = Counting(level=2.0)
    new = replace(four_sets, train=LabelledViews(four_sets.train.pixels, table_, four_sets.train.outlines))
    keep.run_method(other_labels, new, tmp_path, shown=[1, 0])
    assert other_labels.calls == ["fit", "scores"]


def test_an_interrupted_fit_finds_what_it_has_saved_and_its_time_counts(four_sets, tmp_path):
    with pytest.raises(FloatingPointError):
        keep.run_method(Counting(fail=True), four_sets, tmp_path)
    own = tmp_path / "counting"
    assert not (own / keep.KEPT).exists() and (own / "half").is_file()
    begun = read_json(own / "begun.json")
    (own / "begun.json").write_text((own / "begun.json").read_text().replace(f"{begun['seconds']}", "600.0"))
    found = keep.run_method(Counting(), four_sets, tmp_path)
    assert 10 <= found.training_minutes < 10.5
    with pytest.raises(FloatingPointError):
        keep.run_method(Counting(level=1.0, fail=True), four_sets, tmp_path)
    assert not (own / keep.SCORES).exists()  # results of another setting never stay


def test_tables_of_a_method(four_sets, tmp_path):
    found = keep.run_method(Counting(), four_sets, tmp_path)
    assert found.scores.columns.tolist() == ["patient_id", "exam", "laterality", "view", "bac", "score"]
    looks = found.looks
    assert (looks["set"] == "test").sum() == 6 and (looks["set"] == "measured").sum() == 12
    known = looks["bac"] == 1
    assert looks.loc[known, ["localisation", "dice"]].notna().all(axis=None)
    assert looks.loc[~known, ["localisation", "dice"]].isna().all(axis=None)
    assert (looks.loc[known, "dice"] > 0.5).all() and (looks["largest"] > 0).all()


def test_hostile_identifiers_come_back_as_they_were(four_sets, tmp_path):
    names = ["NA", "007", "=1+1", "<script>alert(1)</script>", "$x^2$", 'a"b\nc']
    rows = four_sets.test.table.assign(patient_id=np.repeat(names, 2))
    test = LabelledViews(four_sets.test.pixels, rows, four_sets.test.outlines)
    found = keep.run_method(Counting(), replace(four_sets, test=test), tmp_path)
    assert found.scores["patient_id"].tolist() == rows["patient_id"].tolist()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", "../up", r"name: got '\.\./up', must be lower-case letters, digits and hyphens"),
        ("name", "", "name: got '' in Counting, must be text"),
        ("supervision", "much", "supervision: got 'much', must be one of none, image, pixel"),
        ("measure", None, "measure: got None in Counting, must be text"),
    ],
)
def test_a_method_that_breaks_a_rule_is_refused(name, value, message):
    method = Counting()
    setattr(method, name, value)
    with pytest.raises(ValueError, match=message):
        check_method(method)


def test_what_a_method_shows_is_checked():
    with pytest.raises(ValueError, match=r"heat: got shape \(2, 2\) from x, must be"):
        check_look(Look(np.full((2, 2), 1.5), 0.0), (4, 4), "x")
    with pytest.raises(ValueError, match="measure: got -1.0 from x, must be 0 or more, or NaN"):
        check_look(Look(np.zeros((2, 2)), -1.0), (4, 4), "x")
    with pytest.raises(ValueError, match=r"mask: got bool of shape \(2, 2\) from x, must be bool of \(4, 4\)"):
        check_look(Look(np.zeros((2, 2)), 0.0, np.zeros((2, 2), bool)), (4, 4), "x")


def test_views_with_parts_that_do_not_match_are_refused(line_views):
    rows = line_views.table
    with pytest.raises(ValueError, match=r"pixels: got shape \(24, 64, 48\), must be \(N, H, W\) with N = 23"):
        LabelledViews(line_views.pixels, rows.iloc[1:])
    with pytest.raises(ValueError, match="table: got a view without a label"):
        LabelledViews(line_views.pixels, rows.assign(bac=np.nan))
    with pytest.raises(ValueError, match="outlines: got uint8 of shape"):
        LabelledViews(line_views.pixels, rows, line_views.outlines.astype(np.uint8))
    unknown = line_views.outlines.copy()
    unknown[1] = False
    left = with_known_outlines(LabelledViews(line_views.pixels, rows, unknown))
    assert len(left) == 23 and left.labels.sum() == line_views.labels.sum() - 1


def test_rows_of_the_table(four_sets, tmp_path):
    found = keep.run_method(Counting(), four_sets, tmp_path)
    row = table.method_row(found, samples=50, seed=1)
    compared = table.methods_table([row, row | {"method": "other"}], {"other": 0.0004})
    assert compared.columns.tolist() == list(table.COLUMNS)
    first = compared.iloc[0]
    assert first["auc_roc"] == roc_auc_score(found.scores["bac"], found.scores["score"])
    assert first["auc_roc_low"] <= first["auc_roc"] <= first["auc_roc_high"] or np.isnan(first["auc_roc_low"])
    known = found.looks["dice"].dropna()
    assert first["dice"] == pytest.approx(known.mean())
    assert first["dice_low"] <= first["dice"] <= first["dice_high"]
    assert first["parameters"] == 7 and first["views"] == 12 and first["level"] == "view"
    shown = table.readable(compared)
    assert shown.index.tolist() == ["Counting", "Counting"] and shown["p (DeLong)"].tolist() == ["-", "< 0.001"]


def test_names_of_methods():
    assert chosen_names("all") == list(NAMES)
    assert chosen_names("u-net, vgg19") == ["vgg19", "u-net"]
    with pytest.raises(ValueError, match="methods: got 'resnet', must be all, or names from vgg19"):
        chosen_names("resnet")
    with pytest.raises(ValueError, match="methods: got '', must be all"):
        chosen_names("")
    with pytest.raises(ValueError, match="extra: got 'nowhere:Method', must be package.module:Class"):
        load_method("nowhere:Method")


def test_the_example_of_the_documentation(four_sets, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 50
    (tmp_path / "bright_spots.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    method = load_method("bright_spots:BrightSpots")
    found = keep.run_method(method, four_sets, tmp_path / "methods", shown=[0])
    assert roc_auc_score(found.scores["bac"], found.scores["score"]) == 1
    again = keep.run_method(load_method("bright_spots:BrightSpots"), four_sets, tmp_path / "methods", shown=[0])
    assert again.training_minutes == found.training_minutes
    sys.modules.pop("bright_spots")
