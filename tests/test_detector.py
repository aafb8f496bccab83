"""The rule for the measures of a view, and reading and writing of operating points."""

import json
from dataclasses import replace

import numpy as np
import pytest
from finished_run import make_run

from bac_utils._files import file_digest
from bac_utils.detector import (
    OperatingPoint,
    check_point,
    find_detector,
    keep_thresholds,
    kept_heatmap,
    kept_thresholds,
    load_point,
    save_point,
    with_earlier_heatmap,
)
from bac_utils.heatmap_choice import LengthCheck
from bac_utils.statistics import read_spread
from bac_utils.study.folder import OWN_FILES, check_saved
from bac_utils.study.runner import NOTEBOOKS, _asked

POINT = OperatingPoint(0.5, 0.4, "local-logits", 0.5)
CHECK = LengthCheck(38, 10, 12.5, -0.2, 7, 85.0)
SPREAD = {"negative": [0.1] * 101, "positive": [0.9] * 101, "views": [30, 10]}


@pytest.fixture
def artery():
    """A view with a straight calcified artery of 40 mm (pixels of 0.5 mm), and its heatmap (8 x 8 pixels per value)."""
    rng = np.random.default_rng(5)
    pixels = rng.normal(0, 0.3, (192, 96)).astype(np.float32)
    pixels[80:160, 47:50] += 8
    heat = np.zeros((24, 12), np.float32)
    heat[10:20, 5:7] = 0.9
    return pixels, heat


def test_a_view_below_the_threshold_has_no_measures(artery):
    pixels, heat = artery
    found = POINT.measure(0.49, heat, pixels, (0.5, 0.5))
    assert (found.bac, found.length_mm, found.area_mm2, found.width_mm, found.reason) == (0, 0, 0, 0, "")
    assert not found.mask.any()


def test_a_view_at_the_threshold_has_an_artery(artery):
    pixels, heat = artery
    found = POINT.measure(0.5, heat, pixels, (0.5, 0.5))
    assert found.bac == 1 and found.reason == ""
    assert found.length_mm == pytest.approx(40, abs=4)  # drawn: 80 rows of 0.5 mm
    assert found.area_mm2 > 0 and found.mask.any()


def test_a_bac_view_without_a_traceable_artery_has_no_measures(artery):
    pixels, heat = artery
    found = POINT.measure(0.9, heat * 0.1, pixels, (0.5, 0.5))
    assert found.bac == 1 and not found.mask.any()
    assert (found.length_mm, found.area_mm2, found.width_mm) == (None, None, None)
    assert found.reason == "no_artery_traced"


def test_without_a_spacing_there_is_a_region_and_no_mm(artery):
    pixels, heat = artery
    found = POINT.measure(0.9, heat, pixels, None)
    assert found.bac == 1 and found.mask.any() and found.length_mm is None and found.reason == "no_pixel_spacing"
    below = POINT.measure(0.1, heat, pixels, None)
    assert below.bac == 0 and not below.mask.any() and below.length_mm is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", float("nan")), ("threshold", float("inf")), ("threshold", None), ("threshold", [0.5]),
        ("threshold", 7), ("threshold", True), ("heatmap_threshold", 1.0), ("heatmap_threshold", "0.3"),
        ("heatmap", "cells"), ("pixel_mm", 0), ("pixel_mm", "stretch"), ("lengths_checked", {"views": 3}),
        ("prevalence", 0), ("prevalence", 1.0), ("prevalence", "0.1"), ("operating_points", [0.5]),
        ("operating_points.high", 0), ("operating_points.high", 1.1), ("operating_points.high", "0.5"),
        ("score_spread", {"negative": [0.0] * 101}), ("score_spread", [0.5]),
        ("score_spread.negative", [0.0] * 100), ("score_spread.negative", [0.0] * 100 + [1.1]),
        ("score_spread.positive", [0.5] + [0.4] * 100), ("score_spread.positive", [-0.1] * 101),
        ("score_spread.positive", 0.5), ("score_spread.positive", ["0"] * 101),
        ("score_spread.views", [3]), ("score_spread.views", [3, 0]), ("score_spread.views", [3.5, 2]),
    ],
)  # fmt: skip
def test_operating_points_are_checked(tmp_path, field, value):
    outer, _, inner = field.partition(".")
    whole = (SPREAD if outer == "score_spread" else {}) | {inner: value} if inner else value
    values = {"threshold": 0.5, "heatmap_threshold": 0.3} | {outer: whole}
    with pytest.raises(ValueError, match=f"{field}: got "):
        OperatingPoint(**values)
    (tmp_path / "model.keras").write_bytes(b"a model")
    (tmp_path / "operating_point.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"operating_point.json: {field}: got "):
        find_detector(tmp_path)


def test_calibration_is_saved(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"a model")
    more = {"prevalence": 0.12, "operating_points": {"high-sensitivity": 0.25, "all": 1}, "score_spread": SPREAD}
    point = replace(POINT, **more)
    save_point(tmp_path, point)
    assert json.loads((tmp_path / "operating_point.json").read_text(encoding="utf-8")).items() >= more.items()
    assert load_point(tmp_path) == find_detector(tmp_path)[1] == point
    assert point.score_spread.views == (30, 10) and len(point.score_spread.positive) == 101


def test_another_threshold():
    point = replace(POINT, operating_points={"high-sensitivity": 0.25, "0.1": 0.9}, lengths_checked=CHECK)
    for given, threshold in (("high-sensitivity", 0.25), ("0.25", 0.25), (0.25, 0.25), ("0.1", 0.9), (1, 1)):
        assert point.at(given) == replace(point, threshold=threshold, lengths_checked=None)
    assert point.at(0.5) == point
    for wrong in ("high", "0", 1.5, "nan", "", None):
        with pytest.raises(
            ValueError, match="operating_point: got .*, must be one of high-sensitivity, 0.1, or a number"
        ):
            point.at(wrong)
    with pytest.raises(ValueError, match=r"must be a number in \(0, 1\]: the model has no names"):
        POINT.at("high-sensitivity")


def test_a_point_of_another_model_is_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"a model")
    save_point(tmp_path, POINT)
    assert load_point(tmp_path) == find_detector(tmp_path)[1] == POINT
    (tmp_path / "model.keras").write_bytes(b"another")
    with pytest.raises(ValueError, match="belongs to another model than .*; run notebook 03 again"):
        load_point(tmp_path)
    with pytest.raises(FileNotFoundError, match="run notebook 03 first"):
        load_point(tmp_path / "elsewhere")


def test_the_check_of_lengths_is_saved(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"a model")
    point = replace(POINT, lengths_checked=CHECK)
    save_point(tmp_path, point)
    path = tmp_path / "operating_point.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["lengths_checked"] == {
        "views": 38, "women": 10, "median_absolute_error_mm": 12.5, "bias": -0.2, "off_by_factor_two": 7,
        "bac_minus_mm": 85.0,
    }  # fmt: skip
    assert load_point(tmp_path) == find_detector(tmp_path)[1] == point
    del values["lengths_checked"]  # a file of an earlier version
    path.write_text(json.dumps(values))
    assert load_point(tmp_path) == POINT and POINT.lengths_checked is None


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", women=12, shape=(160, 80), subset=False)


def test_saved_thresholds_are_used_by_run_and_score(run):
    path = keep_thresholds(run, 0.625, 0.42, "validation", "youden", ["test", "validation"])
    kept = kept_thresholds(run)
    assert (kept.threshold, kept.heatmap_threshold, kept.chosen_on) == (0.625, 0.42, "validation")
    assert (kept.rule, kept.sets_seen) == ("youden", ("test", "validation"))
    assert kept.heatmap == "local-logits"  # the form for which Th was chosen
    assert json.loads(path.read_text(encoding="utf-8"))["model_sha256"] == file_digest(run / "model.keras")
    point = find_detector(run)[1]
    assert (point.threshold, point.heatmap_threshold, point.pixel_mm) == (0.625, 0.42, 0.5)
    assert path.name not in OWN_FILES  # thresholds chosen by hand are kept with --overwrite


def test_sets_seen_add_up(run):
    keep_thresholds(run, 0.625, 0.42, "validation", sets_seen=["test", "validation"])
    keep_thresholds(run, 0.5, 0.42, "validation", sets_seen=["validation"])
    assert load_point(run).sets_seen == ("test", "validation")  # the test set has been looked at


def test_a_second_run_of_notebook_03_leaves_the_choice_of_notebook_04(run):
    fresh = OperatingPoint(0.6, 0.7, "local-logits")
    assert with_earlier_heatmap(run, fresh) == fresh  # nothing has been chosen yet
    save_point(run, OperatingPoint(0.6, 0.9, "grad-cam++", heatmap_chosen_on="validation"))
    assert with_earlier_heatmap(run, fresh) == load_point(run)
    chosen = OperatingPoint(0.6, 0.8, "layer-cam", heatmap_chosen_on="validation (saved in notebook 05)")
    assert with_earlier_heatmap(run, chosen) == chosen
    (run / "model.keras").write_bytes(b"another model")
    assert with_earlier_heatmap(run, fresh) == fresh


def test_the_check_of_lengths_counts_for_the_thresholds_that_were_checked(run, tmp_path):
    save_point(run, replace(load_point(run), lengths_checked=CHECK, heatmap_chosen_on="validation"))
    fresh = OperatingPoint(0.5, 0.7, "local-logits")
    assert with_earlier_heatmap(run, fresh).lengths_checked == CHECK
    assert with_earlier_heatmap(run, replace(fresh, threshold=0.6)).lengths_checked is None
    path = keep_thresholds(run, 0.5, 0.3, "validation")  # unchanged
    assert kept_thresholds(run).lengths_checked == load_point(run).lengths_checked == CHECK
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.keras").write_bytes(b"another model")
    assert kept_thresholds(tmp_path / "other", path).lengths_checked is None
    calibration = {"prevalence": 0.12, "operating_points": {"high": 0.2}, "score_spread": read_spread(SPREAD)}
    save_point(run, replace(load_point(run), **calibration))
    path = keep_thresholds(run, 0.5, 0.3, "validation")
    assert kept_thresholds(run) == load_point(run) and load_point(run).operating_points == {"high": 0.2}
    other = kept_thresholds(tmp_path / "other", path)
    assert (other.prevalence, other.operating_points, other.score_spread) == (None, {}, None)
    keep_thresholds(run, 0.5, 0.32, "validation")
    assert kept_thresholds(run).lengths_checked is load_point(run).lengths_checked is None
    save_point(run, replace(load_point(run), lengths_checked=CHECK))
    keep_thresholds(run, 0.4, 0.32, "validation")
    assert load_point(run).lengths_checked is None


@pytest.mark.parametrize("score", [np.nan, -0.1, 1.1])
def test_a_score_that_is_none_is_refused(artery, score):
    with pytest.raises(ValueError, match=f"score: got {score}, must be in"):
        POINT.measure(score, artery[1], artery[0], (0.5, 0.5))


@pytest.mark.parametrize(
    ("form", "threshold", "used"),
    [
        (None, None, ("local-logits", 0.8)),
        ("local-logits", None, ("local-logits", 0.8)),
        ("grad-cam++", None, ("grad-cam++", None)),  # a Th of 0.8 for local logits means nothing for Grad-CAM++
        (None, 0.5, ("local-logits", 0.5)),
        ("grad-cam++", 0.5, ("grad-cam++", 0.5)),
    ],
)
def test_a_saved_th_counts_only_for_its_form(form, threshold, used):
    saved = OperatingPoint(0.7, 0.8, "local-logits")
    assert kept_heatmap(saved, form, threshold) == used
    assert kept_heatmap(None, form, threshold) == (form, threshold)


def test_saved_thresholds_belong_to_their_model(run, tmp_path):
    path = keep_thresholds(run, 0.625, 0.42, "train")
    (run / "model.keras").write_bytes(b"another model")
    assert kept_thresholds(run) is None
    assert kept_thresholds(run, path).threshold == 0.625  # requested by its path
    assert kept_thresholds(tmp_path) is None
    with pytest.raises(
        FileNotFoundError, match="thresholds: got .*, must be an existing kept_thresholds.json or empty"
    ):
        kept_thresholds(run, tmp_path / "none.json")


@pytest.mark.parametrize("name", ["test", "quantification", "all"])
def test_nothing_is_chosen_on_a_held_out_set(run, name):
    before = (run / "operating_point.json").read_bytes()
    with pytest.raises(ValueError, match=f"chosen_on: got '{name}', must be one of validation, train"):
        keep_thresholds(run, 0.5, 0.3, name)
    assert (run / "operating_point.json").read_bytes() == before
    path = keep_thresholds(run, 0.5, 0.3, "validation")
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"chosen_on": name}))
    with pytest.raises(ValueError, match=f"chosen_on: got '{name}', must be one of"):
        kept_thresholds(run)


@pytest.mark.parametrize("values", [(0.0, 0.3), (1.5, 0.3), (0.5, 1.0), (0.5, float("nan"))])
def test_thresholds_out_of_range(run, values):
    with pytest.raises(ValueError, match="must be a number between 0 and 1"):
        keep_thresholds(run, *values, "validation")


def test_a_file_without_thresholds(run):
    (run / "kept_thresholds.json").write_text("{}")
    with pytest.raises(ValueError, match="kept_thresholds.json: threshold and heatmap_threshold must be present"):
        kept_thresholds(run)
    (run / "operating_point.json").unlink()
    with pytest.raises(FileNotFoundError, match="run notebook 03 first"):
        keep_thresholds(run, 0.5, 0.3, "validation")


def test_a_run_takes_saved_thresholds_by_a_relative_path(run, tmp_path, monkeypatch):
    path = keep_thresholds(run, 0.625, 0.42, "validation")
    monkeypatch.chdir(tmp_path)
    asked = _asked("demo", None, {"thresholds": str(path.relative_to(tmp_path))}, NOTEBOOKS)
    assert asked["parameters"]["thresholds"] == str(path.resolve())  # since the notebooks run in another folder
    with pytest.raises(FileNotFoundError, match="thresholds: got .*none.json, must be an existing"):
        _asked("demo", None, {"thresholds": "none.json"}, NOTEBOOKS)


@pytest.mark.parametrize("name", ["operating_point.json", "kept_thresholds.json"])
@pytest.mark.parametrize("field", ["threshold", "heatmap_threshold", "prevalence", "pixel_mm", "operating_points"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "[0.5]", '"0.5"', "true", "-1", "1" + "0" * 400, "null"])
def test_a_broken_point_in_the_runs_folder_is_refused_before_work(tmp_path, name, field, value):
    if value == "null" and field in ("prevalence", "pixel_mm"):
        value = "[]"  # null is allowed
    good = {"threshold": 0.5, "heatmap_threshold": 0.4, "chosen_on": "validation"}
    (tmp_path / name).write_text(json.dumps(good | {field: "VALUE"}).replace('"VALUE"', value))
    with pytest.raises(ValueError, match=rf"{name}: {field}: got .*, must be ") as caught:
        check_saved(tmp_path, overwrite=False)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400
    if name == "operating_point.json":
        check_saved(tmp_path, overwrite=True)  # it is going to be replaced


@pytest.mark.parametrize("field", ["threshold", "heatmap_threshold"])
def test_a_missing_threshold_is_named(tmp_path, field):
    values = {"threshold": 0.5, "heatmap_threshold": 0.4}
    del values[field]
    (tmp_path / "operating_point.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"operating_point.json: threshold and .* must be present; missing: {field}"):
        check_point(tmp_path / "operating_point.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [("chosen_on", 5), ("rule", None), ("sets_seen", "test"), ("sets_seen", [1]), ("input_shape", [1.5, 2])],
)
def test_other_fields_of_a_point_are_checked(tmp_path, field, value):
    (tmp_path / "operating_point.json").write_text(
        json.dumps({"threshold": 0.5, "heatmap_threshold": 0.4, field: value})
    )
    with pytest.raises(ValueError, match=f"operating_point.json: {field}: got .*, must be "):
        check_point(tmp_path / "operating_point.json")
