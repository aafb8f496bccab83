"""Frozen models on another cohort: views, levels, unseen women, shift, recalibration, two models."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import make_run
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from bac_utils.detector import BUNDLED, OperatingPoint, find_detector
from bac_utils.evaluation import external, frozen
from bac_utils.evaluation.comparison import compare_auc
from bac_utils.evaluation.frozen import LOOKED_FILE, look_at_views
from bac_utils.evaluation.grey_levels import grey_levels
from bac_utils.evaluation.levels import by_breast, detection_by_level
from bac_utils.evaluation.reference import reference_views, women_seen
from bac_utils.inclusion.study import evaluation_flow
from bac_utils.intake.vendor import read_vendor
from bac_utils.quantify import Finding
from bac_utils.views_table import read_views

SHAPE = (192, 96)


@dataclass
class Stub:
    """A model whose score is the share of bright pixels; it counts the views that it looks at."""

    path: object
    shape: tuple = SHAPE
    pixel_mm: float = 0.5
    point: OperatingPoint = OperatingPoint(0.01, 0.3, "local-logits")
    looked: list = field(default_factory=list)

    def look(self, prepared):
        self.looked.append(1)
        score = float((prepared.pixels > 2.5).mean())
        return Finding(score, int(score >= self.point.threshold), prepared.mask & False, None)

    def measure(self, prepared):
        found = self.look(prepared)
        row = {"score": found.score, "bac": found.bac, "reason": "", "saturated_share": prepared.saturated_share}
        return row | {"bac_area_mm2": 2.0, "bac_length_mm": 7.5, "bac_width_mm": 1.0, "breast_area_mm2": 900.0}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", women=8, kinds=7)


def stub(run, **changes):
    return replace(Stub(run / "model.keras"), looked=[], **changes)


def test_each_view_is_done_once_and_goes_on_after_an_interruption(run, tmp_path, monkeypatch):
    views = read_views(run / "views.csv").iloc[:6]
    model, read = stub(run), frozen.read_view

    def interrupted(view):
        if view.Index == 4:
            raise KeyboardInterrupt
        return read(view)

    monkeypatch.setattr(frozen, "read_view", interrupted)
    with pytest.raises(KeyboardInterrupt):
        look_at_views(views, {"first": model}, tmp_path / "cache")
    assert len(model.looked) == 4
    monkeypatch.setattr(frozen, "read_view", read)
    with (tmp_path / "cache" / LOOKED_FILE).open("a") as file:
        file.write('\n{"key": "half')  # as a power failure may leave it
    found, skipped = look_at_views(views, {"first": model}, tmp_path / "cache")
    assert len(model.looked) == 6 and list(found.index) == list(views.index) and skipped.empty
    again, _ = look_at_views(views, {"first": model}, tmp_path / "cache")
    assert len(model.looked) == 6
    pd.testing.assert_frame_equal(found, again)
    assert (found["measured_length_mm"] == 7.5).all() and (found["spacing_mm"] == 0.5).all()
    assert (found["vendor"] == "").all()  # PNG files state none


def test_a_replaced_file_another_threshold_and_a_second_model_are_done_again(run, tmp_path):
    views = read_views(run / "views.csv").iloc[:3]
    model = stub(run)
    look_at_views(views, {"first": model}, tmp_path / "cache")
    path = Path(views["image_path"].iloc[0])
    path.write_bytes(path.read_bytes() + b"\0")  # another size, the same pixels
    look_at_views(views, {"first": model}, tmp_path / "cache")
    assert len(model.looked) == 4
    other = stub(run, point=OperatingPoint(0.5, 0.3, "local-logits"))
    found, _ = look_at_views(views, {"first": model, "second": other}, tmp_path / "cache")
    assert len(model.looked) == 7 and len(other.looked) == 3
    assert (found["score"] == found["score_second"]).all() and (found["call_second"] == 0).all()


def test_an_image_that_cannot_be_used_is_left_out_with_its_reason(run, tmp_path):
    views = read_views(run / "views.csv").iloc[:4]
    broken, read_later = map(Path, views["image_path"].iloc[1:3])
    broken.write_bytes(b"no image")
    content = read_later.read_bytes()
    read_later.unlink()
    model = stub(run)
    found, skipped = look_at_views(views, {"first": model}, tmp_path / "cache")
    assert skipped.to_dict() == {1: "not_an_image", 2: "not_found"} and list(found.index) == [0, 3]
    read_later.write_bytes(content)  # the drive is mounted again
    found, skipped = look_at_views(views, {"first": model}, tmp_path / "cache")
    assert skipped.to_dict() == {1: "not_an_image"} and list(found.index) == [0, 2, 3]
    flow, _ = evaluation_flow(views, run / "views.csv", "", skipped)
    (last,) = [stage for stage in flow.stages() if stage["stage"] == "included"]
    assert last["reasons"] == {"image: not_an_image": {"views": 1, "women": 1}} and last["remaining"]["views"] == 3


def test_grey_levels_by_hand():
    pixels = np.zeros((30, 30), np.float32)
    pixels[5:25, 5:25] = 1.0
    pixels[5:25, 5:10] = 3.0  # a quarter of the breast
    found = grey_levels(pixels)
    assert found["dense_share"] == pytest.approx(0.25)
    assert found["skewness"] == pytest.approx((1 - 2 * 0.25) / np.sqrt(0.25 * 0.75))  # of two values, Bernoulli
    flat = np.where(pixels > 0, 1.0, 0).astype(np.float32)
    assert grey_levels(flat + np.indices(flat.shape).sum(0) * 1e-6 * (flat > 0))["fine_structure"] < 1e-5


def test_the_vendor_is_that_of_the_header(tmp_path):
    import pydicom
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm")
    assert read_vendor(path) == pydicom.dcmread(path).Manufacturer == "GE MEDICAL SYSTEMS"
    assert read_vendor(tmp_path / "none.dcm") == ""
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    assert read_vendor(tmp_path / "broken.dcm") == ""


def test_levels_by_hand():
    rows = [
        ("A", "L", 1, 0.2), ("A", "L", 0, 0.9), ("A", "R", 0, 0.1), ("A", "R", 0, 0.6),
        ("B", "L", 0, 0.7), ("B", "R", 0, 0.3),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["patient_id", "laterality", "bac", "score"])
    breasts = by_breast(table)
    assert breasts[["patient_id", "laterality", "bac", "score", "views"]].to_numpy().tolist() == [
        ["A", "L", 1, 0.9, 2], ["A", "R", 0, 0.6, 2], ["B", "L", 0, 0.7, 1], ["B", "R", 0, 0.3, 1],
    ]  # fmt: skip
    found = detection_by_level(table, 0.65, samples=20)
    counts = {level: [found[level][name] for name in ("tp", "fp", "fn", "tn")] for level in found}
    assert counts == {"views": [0, 2, 1, 3], "breasts": [1, 1, 0, 2], "women": [1, 1, 0, 0]}
    assert found["breasts"]["auc_roc"] == 1.0 and found["views"]["auc_roc_ci"] == [None, None]
    assert detection_by_level(table, 0.99, samples=20)["views"]["precision"] is None


def test_women_of_training_and_validation_are_refused(run):
    views = read_views(run / "views.csv")
    seen = sorted(set(views.loc[views["split"].isin(["train", "validation"]), "patient_id"]))
    assert women_seen(run, views["patient_id"]) == seen and len(seen) == 6
    with pytest.raises(ValueError, match=f"got 6 women .* such as {seen[0]}, must have none"):
        external.check_unseen(run, views["patient_id"])
    assert external.check_unseen(run, views["patient_id"], other_women=True) == seen
    test = external.labelled_views(views, "test")
    assert external.check_unseen(run, test["patient_id"]) == []
    assert external.check_unseen(None, views["patient_id"]) == []  # the bundled detector has seen no women


def test_views_without_a_label_are_not_evaluated(run):
    views = read_views(run / "views.csv")
    views.loc[:9, "bac"] = np.nan
    assert len(external.labelled_views(views)) == len(views) - 10
    with pytest.raises(ValueError, match="split: got 'other', must be one of the table's: quantification, test"):
        external.labelled_views(views, "other")
    with pytest.raises(ValueError, match="cohort: got .* views without a label"):
        external.labelled_views(views.assign(bac=np.nan))


def test_shift_to_the_test_views_of_a_run(run):
    first = reference_views(run)
    assert len(first) == 8 and (first["spacing_mm"].isna()).all()  # PNG files state no spacing
    cached = np.load(run / "cache" / "views.npy")
    place = pd.read_csv(run / "predictions.csv").query("split == 'test'").index[3]
    assert first["skewness"].iloc[3] == grey_levels(cached[place])["skewness"]
    second = first.assign(age=first["age"] + 10, score=np.clip(first["score"] + 0.2, 0, 1), vendor="A")
    numbers, categories = external.cohort_shift(first, second, OperatingPoint(0.5, 0.3))
    by_column = numbers.set_index("column")
    assert by_column.loc["age", "median_second"] - by_column.loc["age", "median_first"] == 10
    assert by_column.loc["dense_share", ["smd", "ks"]].tolist() == [0.0, 0.0]
    assert by_column.loc["score, BAC+ views", "n_first"] == first["bac"].sum()
    assert categories.query("column == 'vendor'")["n_second"].tolist() == [8]
    assert external.shift_table(numbers).loc["spacing_mm", "training"] == "unknown"
    (run / "cache" / "views.npy").unlink()
    assert "skewness" not in reference_views(run)


def test_shift_from_the_spread_of_the_scores_alone():
    _, point = find_detector(None)
    assert reference_views(None) is None
    spread = point.score_spread
    rows = [(0, s) for s in spread.negative] + [(1, s) for s in spread.positive]
    views = pd.DataFrame(rows, columns=["bac", "score"])
    numbers, categories = external.cohort_shift(None, views, point)
    assert numbers["n_first"].tolist() == list(spread.views) and categories.empty
    assert numbers["ks"].tolist() == [0.0, 0.0] and np.allclose(numbers["smd"], 0)
    bare = replace(point, score_spread=None)
    none, categories = external.cohort_shift(None, views, bare)
    assert none.empty and "smd" in none and "share_first" in categories and external.shift_table(none).empty


def test_recalibration_undoes_a_known_distortion():
    rng = np.random.default_rng(5)
    women = np.repeat(np.arange(3000), 2)
    true = np.repeat(rng.normal(-0.5, 1.5, 3000), 2)
    labels = (rng.random(len(true)) < expit(true)).astype(int)
    table = pd.DataFrame({"patient_id": women.astype(str), "bac": labels, "score": expit(2 * true + 1)})
    found, other = external.recalibration_by_halves(table, 0.7, samples=50)
    assert found["slope"] == pytest.approx(0.5, abs=0.05) and found["intercept"] == pytest.approx(-0.5, abs=0.1)
    assert found["before"]["slope"] == pytest.approx(0.5, abs=0.06)
    assert found["after"]["slope"] == pytest.approx(1, abs=0.1) and abs(found["after"]["difference"]) < 0.03
    assert found["fitted_on"] + found["evaluated_on"] == 3000 and abs(found["fitted_on"] - 1500) <= 1
    assert other["patient_id"].nunique() == found["evaluated_on"]
    calls = [(other[c] >= t).sum() for c, t in (("score", 0.7), ("recalibrated", found["threshold"]))]
    assert calls[0] == calls[1]
    assert found["threshold"] == pytest.approx(expit(found["intercept"] + found["slope"] * logit(0.7)))
    with pytest.raises(ValueError, match="slope of .*must be above 0"):
        external.recalibration_by_halves(table.assign(score=1 - table["score"]), 0.5, samples=50)


def test_two_models_on_the_same_views():
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.integers(0, 2, 40), 2)
    table = pd.DataFrame({"patient_id": np.repeat(np.arange(40), 2).astype(str), "bac": labels})
    table["score"] = expit(labels + rng.normal(size=80))
    table["score_second"] = expit(rng.normal(size=80))
    tested, calls = external.compare_two(table, "score_second", (0.5, 0.5), samples=200)
    expected = compare_auc(labels, table["score"], table["score_second"], table["patient_id"], samples=200)
    assert tested["auc_difference"] == expected["difference"] and tested["p_bootstrap"] == expected["p"]
    assert tested["auc_difference_ci"] == expected["ci"]
    by_woman = table.groupby("patient_id").max()
    auc = [roc_auc_score(by_woman["bac"], by_woman[name]) for name in ("score", "score_second")]
    assert tested["auc_difference_women"] == pytest.approx(auc[0] - auc[1])
    assert calls["n"].tolist() == [by_woman["bac"].sum(), 40 - by_woman["bac"].sum(), 40]


def test_subgroups_of_unknown_values():
    table = pd.DataFrame(
        {"age": [50.0, np.nan, 90.0], "dense_share": [0.1, 0.3, 0.9], "laterality": ["L", "R", "L"],
         "view": ["CC", "MLO", "CC"], "vendor": ["", "A", "A"], "spacing_mm": [0.07, np.nan, 0.1]}
    )  # fmt: skip
    found = external.with_subgroups(table, (60, 70, 73))
    assert found["age class"].astype(object).fillna("").tolist() == ["50-60", "", "74-90"]
    assert found["pixel spacing"].astype(object).fillna("").tolist() == ["≤ 0.075 mm", "", "> 0.075 to 0.11 mm"]
    assert found["density"].tolist() == ["≤ 0.2", "> 0.2 to 0.4", "> 0.4"]
    assert external.with_subgroups(table.assign(age=np.nan), (60, 70, 73))["age class"].isna().all()


def test_lengths():
    table = pd.DataFrame(
        {"patient_id": list("AABBCD"), "bac": [1, 1, 1, 0, 0, 1], "bac_length_mm": [10, 20, 30, 0, 0, np.nan],
         "measured_length_mm": [11, 22, 33, 0, 5, 3]}
    )  # fmt: skip
    found = external.length_summary(table, samples=20)
    assert found["views"] == 5 and found["bac_views"] == 3 and found["bias"] == pytest.approx(0.1)
    assert found["median_absolute_error_mm"] == pytest.approx(2)
    assert external.length_summary(table.drop(columns="bac_length_mm")) is None
    assert external.length_summary(table.assign(measured_length_mm=np.nan)) is None


def test_what_is_reported_of_a_model():
    about, point = external.describe_model("detector", "high-sensitivity")
    stated = json.loads(BUNDLED.with_suffix(".json").read_text())
    assert about["name"] == "bundled detector" and about["sha256"] == stated["model_sha256"]
    assert about["threshold"] == point.threshold == stated["operating_points"]["high-sensitivity"]
    assert about["chosen_on"] == "operating point high-sensitivity"
    with pytest.raises(ValueError, match="operating_point: got 'no'"):
        external.describe_model(None, "no")
