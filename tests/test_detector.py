"""Operating points by their rules, and the thresholds that a reader keeps."""

import json

import numpy as np
import pandas as pd
import pytest
from finished_run import make_run

from bac_utils.detection import ScoreCurve, choose_threshold
from bac_utils.detector import (
    CHOOSING_SETS,
    PAPER_SPECIFICITY,
    RULES,
    keep_thresholds,
    kept_thresholds,
    operating_points,
    threshold_by_rule,
)
from bac_utils.run_folder import file_digest
from bac_utils.scoring.batch import find_detector
from bac_utils.study.runner import NOTEBOOKS, OWN_FILES, _asked, check_parameters

# From the highest score: + + - + - - + - - - (4 BAC+ of 10).
LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0]
SCORES = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def by_rule(rule):
    return threshold_by_rule(ScoreCurve(LABELS, SCORES), rule)


def test_youden_by_hand():
    # sensitivity + specificity - 1 is 1/2 after two calls, 3/4 - 1/6 = 0.583 after four: the largest
    assert by_rule("youden") == pytest.approx(0.65)


def test_best_f1_is_that_of_notebook_03():
    # after four calls: 2 * 3 / (4 + 4) = 0.75
    assert by_rule("best_f1") == pytest.approx(0.65)
    assert by_rule("best_f1") == choose_threshold(LABELS, SCORES)


def test_sensitivity_takes_the_highest_threshold_that_suffices():
    assert by_rule("sensitivity") == pytest.approx(0.35)


def test_specificity_takes_the_lowest_threshold_that_suffices():
    assert by_rule("specificity") == by_rule("paper") == pytest.approx(0.85)
    assert pytest.approx(787 / 799) == PAPER_SPECIFICITY


def test_nothing_is_called_where_the_highest_score_is_a_negative():
    threshold = threshold_by_rule(ScoreCurve([0, 1], [0.9, 0.1]), "specificity")
    assert 0.9 < threshold < 0.9 + 1e-9


def test_weights_are_copies():
    weights = np.array([1, 2, 1, 1, 3, 1, 1, 1, 2, 1])
    copies = ScoreCurve(np.repeat(LABELS, weights), np.repeat(SCORES, weights))
    for rule in RULES:
        assert threshold_by_rule(ScoreCurve(LABELS, SCORES), rule, weights.astype(float)) == threshold_by_rule(
            copies, rule
        )


def test_unknown_rule():
    with pytest.raises(ValueError, match="rule: got 'best', must be one of youden"):
        by_rule("best")


def test_points_and_their_intervals():
    rng = np.random.default_rng(3)
    bac = rng.random(240) < 0.3
    views = pd.DataFrame({"patient_id": np.repeat(np.arange(60), 4), "bac": bac.astype(int)})
    views["score"] = np.clip(rng.normal(0.4 + 0.25 * bac, 0.15), 0, 1)
    points = operating_points(views, 100, 1)
    assert list(points) == list(RULES)
    assert points["sensitivity"].metrics["recall"] >= 0.9 and points["specificity"].metrics["specificity"] >= 0.95
    for point in points.values():
        low, high = point.threshold_ci
        assert low <= point.threshold <= high
        low, high = point.intervals["recall"]
        assert low <= point.metrics["recall"] <= high
    with pytest.raises(ValueError, match="must hold both classes"):
        operating_points(views[views["bac"] == 1], 10, 1)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", women=12, shape=(64, 32), subset=False)


def test_kept_thresholds_reach_run_and_score(run):
    path = keep_thresholds(run, 0.625, 0.42, "validation", "youden", ["test", "validation"])
    kept = kept_thresholds(run)
    assert kept == json.loads(path.read_text(encoding="utf-8"))
    assert (kept["threshold"], kept["heatmap_threshold"], kept["chosen_on"]) == (0.625, 0.42, "validation")
    assert (kept["rule"], kept["sets_seen"]) == ("youden", ["test", "validation"])
    assert kept["model_sha256"] == file_digest(run / "model.keras")
    point = find_detector(run)[1]
    assert (point["threshold"], point["heatmap_threshold"], point["pixel_mm"]) == (0.625, 0.42, 0.5)
    assert set(OWN_FILES) >= {"heatmaps.npz", "heatmaps_quantification.npz"}
    assert "kept_thresholds.json" not in OWN_FILES  # a reader's choice outlives --overwrite


def test_kept_thresholds_belong_to_their_model(run, tmp_path):
    path = keep_thresholds(run, 0.625, 0.42, "train")
    (run / "model.keras").write_bytes(b"another model")
    assert kept_thresholds(run) is None
    assert kept_thresholds(run, path)["threshold"] == 0.625  # asked for by name
    assert kept_thresholds(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="thresholds: .* must be a kept_thresholds.json"):
        kept_thresholds(run, tmp_path / "none.json")


@pytest.mark.parametrize("name", ["test", "quantification", "all"])
def test_nothing_is_chosen_on_a_held_out_set(run, name):
    before = (run / "operating_point.json").read_bytes()
    with pytest.raises(ValueError, match=f"chosen_on: got '{name}', must be one of validation, train"):
        keep_thresholds(run, 0.5, 0.3, name)
    assert (run / "operating_point.json").read_bytes() == before
    assert next(iter(CHOOSING_SETS)) == "validation"
    path = keep_thresholds(run, 0.5, 0.3, "validation")
    path.write_text(path.read_text(encoding="utf-8").replace('"validation",\n  "rule"', f'"{name}",\n  "rule"'))
    with pytest.raises(ValueError, match=f"chosen_on is '{name}'"):
        kept_thresholds(run)


@pytest.mark.parametrize("values", [(0.0, 0.3), (1.5, 0.3), (0.5, 1.0), (0.5, float("nan")), (True, 0.3)])
def test_thresholds_out_of_range(run, values):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        keep_thresholds(run, *values, "validation")


def test_a_file_without_thresholds(run):
    (run / "kept_thresholds.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no thresholds that were kept"):
        kept_thresholds(run)
    (run / "model.keras").unlink()
    with pytest.raises(FileNotFoundError, match="thresholds belong to a model"):
        keep_thresholds(run, 0.5, 0.3, "validation")


def test_run_knows_the_parameter():
    assert check_parameters("demo", {"thresholds": "kept_thresholds.json", "heatmap_sets": ""}).name == "demo"


def test_a_run_takes_kept_thresholds_by_a_path_from_here(run, tmp_path, monkeypatch):
    path = keep_thresholds(run, 0.625, 0.42, "validation")
    monkeypatch.chdir(tmp_path)
    asked = _asked("demo", None, {"thresholds": str(path.relative_to(tmp_path))}, NOTEBOOKS)
    assert asked["parameters"]["thresholds"] == str(path.resolve())  # the notebooks run in another folder
    with pytest.raises(FileNotFoundError, match="thresholds: .*none.json is not there"):
        _asked("demo", None, {"thresholds": "none.json"}, NOTEBOOKS)
