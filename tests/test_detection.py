"""Detection metrics against scikit-learn, numbers made by hand and the paper's; their intervals against copied rows."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples
from sklearn import metrics

from bac_utils.detection import (
    METRICS,
    by_woman,
    choose_threshold,
    counts_metrics,
    detection_intervals,
    detection_metrics,
    detection_summary,
)
from bac_utils.settings import PUBLISHED
from bac_utils.statistics import bootstrap_women


def predictions(women, seed=0, split="test", decimals=2):
    """Four views a woman, a fifth of the women BAC+, views of one woman alike, many tied scores."""
    rng = np.random.default_rng(seed)
    bac = (rng.random(women) < 0.2)[:, None] & (rng.random((women, 4)) < 0.75)
    score = rng.normal(0.35 + 0.3 * bac + 0.1 * rng.normal(size=(women, 1)), 0.12)
    ids = np.repeat([f"{split}{k}" for k in range(women)], 4)
    frame = pd.DataFrame({"patient_id": ids, "bac": bac.ravel().astype(int), "split": split})
    return frame.assign(score=score.ravel().clip(0, 1).round(decimals))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_paper_s_table_2_follows_from_its_counts(split):
    row = PUBLISHED["detection"][split]
    result = counts_metrics(row["tn"], row["tp"], row["fn"], row["fp"])
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1"):
        if (split, name) == ("train", "accuracy"):
            assert result[name] == pytest.approx(0.935, abs=5e-4)  # printed as 0.93
        else:
            assert round(result[name], 2) == row[name]


def test_counts_metrics_without_calls_or_classes():
    assert counts_metrics(8, 0, 2, 0) == {
        "accuracy": 0.8, "balanced_accuracy": 0.5, "precision": 0.0,
        "recall": 0.0, "specificity": 1.0, "f1": 0.0,
    }  # fmt: skip
    no_positives = counts_metrics(8, 0, 0, 2)
    assert no_positives["recall"] is no_positives["f1"] is no_positives["balanced_accuracy"] is None
    assert (no_positives["precision"], no_positives["specificity"]) == (0, 0.8)
    assert counts_metrics(0, 3, 1, 0)["specificity"] is None
    with pytest.raises(ValueError, match="fn: got -1, must be 0 or more"):
        counts_metrics(1, 1, -1, 1)
    with pytest.raises(ValueError, match="got 0 views"):
        counts_metrics(0, 0, 0, 0)


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("threshold", [-1, 0.3, 0.5, 2])
def test_detection_metrics_agree_with_scikit_learn(decimals, threshold):
    frame = predictions(60, seed=4, decimals=decimals)
    y, s = frame["bac"], frame["score"]
    called = s >= threshold
    result = detection_metrics(y, s, threshold)
    assert list(result) == ["tn", "tp", "fn", "fp", *METRICS]
    tn, fp, fn, tp = metrics.confusion_matrix(y, called).ravel()
    assert (result["tn"], result["fp"], result["fn"], result["tp"]) == (tn, fp, fn, tp)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(y, called))
    assert result["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, called))
    assert result["precision"] == pytest.approx(metrics.precision_score(y, called, zero_division=0))
    assert result["recall"] == pytest.approx(metrics.recall_score(y, called))
    assert result["f1"] == pytest.approx(metrics.f1_score(y, called))
    assert result["auc_roc"] == pytest.approx(metrics.roc_auc_score(y, s))
    assert result["auc_pr"] == pytest.approx(metrics.average_precision_score(y, s))


def test_detection_metrics_by_hand():
    result = detection_metrics([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1], 0.5)
    assert (result["tn"], result["tp"], result["fn"], result["fp"]) == (1, 2, 0, 1)
    assert result["auc_roc"] == pytest.approx(3.5 / 4)  # of four pairs three are right and one is tied
    assert result["auc_pr"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_auc_undefined(label):
    result = detection_metrics([label] * 3, [0.1, 0.6, 0.9], 0.5)
    assert result["auc_roc"] is result["auc_pr"] is None
    assert result["accuracy"] == pytest.approx(2 / 3 if label else 1 / 3)


def test_detection_metrics_refuse_bad_input():
    with pytest.raises(ValueError, match="labels: got 2 for 3 scores"):
        detection_metrics([0, 1], [0.1, 0.2, 0.3], 0.5)
    with pytest.raises(ValueError, match="labels: got a value other than 0 and 1"):
        detection_metrics([0, np.nan], [0.1, 0.2], 0.5)
    with pytest.raises(ValueError, match="scores: got 1 values that are not finite"):
        detection_metrics([0, 1], [0.1, np.inf], 0.5)
    with pytest.raises(ValueError, match="scores: got an array of shape"):
        detection_metrics([], [], 0.5)


def test_choose_threshold_takes_the_best_f1():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    # F1 is 2/3 at 0.9 (one call) and 4/5 at 0.5 (three calls)
    assert choose_threshold([1, 0, 1, 0], [0.9, 0.7, 0.5, 0.1]) == pytest.approx(0.3)
    # ties: 2/3 with one call, and with four; the higher threshold wins
    assert choose_threshold([1, 0, 0, 1], [0.9, 0.7, 0.5, 0.1]) == pytest.approx(0.8)
    # nothing lies below the lowest score; ties in score are never divided
    assert choose_threshold([1, 1, 0], [0.5, 0.5, 0.5]) == 0.5
    for neighbours in ([np.nextafter(0.5, 0), 0.5], [0.5, np.nextafter(0.5, 1)]):  # no number between
        threshold = choose_threshold([0, 1], neighbours)
        assert [s >= threshold for s in neighbours] == [False, True]
    with pytest.raises(ValueError, match="labels: got 0 positives of 2, must hold both classes"):
        choose_threshold([0, 0], [0.1, 0.2])


def test_choose_threshold_is_the_best_of_all():
    frame = predictions(80, seed=7)
    chosen = choose_threshold(frame["bac"], frame["score"])
    best = max(metrics.f1_score(frame["bac"], frame["score"] >= t) for t in frame["score"].unique())
    assert metrics.f1_score(frame["bac"], frame["score"] >= chosen) == pytest.approx(best)


def test_by_woman_takes_the_highest_view():
    frame = pd.DataFrame({"patient_id": ["b", "a", "a"], "bac": [0, 0, 1], "score": [0.2, 0.9, 0.4], "split": "test"})
    assert by_woman(frame).to_dict("list") == {
        "patient_id": ["a", "b"], "split": ["test"] * 2, "bac": [1, 0], "score": [0.9, 0.2], "views": [2, 1],
    }  # fmt: skip
    assert "split" not in by_woman(frame.drop(columns="split"))


def test_weights_equal_copies():
    frame = predictions(25, seed=2).sample(frac=1, random_state=1)
    draws = [detection_metrics(r["bac"], r["score"], 0.5) for r in naive_resamples(frame, 60, 11)]
    auc = [metrics.roc_auc_score(r["bac"], r["score"]) for r in naive_resamples(frame, 60, 11)]
    intervals = detection_intervals(frame, 0.5, 60, 11)
    assert list(intervals) == list(METRICS)
    for name in METRICS:
        expected = np.percentile([d[name] for d in draws], [2.5, 97.5])
        assert intervals[name] == pytest.approx(expected.tolist())
    assert intervals["auc_roc"] == pytest.approx(np.percentile(auc, [2.5, 97.5]).tolist())


def test_bootstrap_is_seeded_and_checks_its_input():
    frame = predictions(20)
    assert detection_intervals(frame, 0.5, 20, 1) == detection_intervals(frame, 0.5, 20, 1)
    assert detection_intervals(frame, 0.5, 20, 1) != detection_intervals(frame, 0.5, 20, 2)
    with pytest.raises(ValueError, match="samples: got 0, must be at least 1"):
        detection_intervals(frame, 0.5, 0, 1)
    with pytest.raises(ValueError, match="frame: got no rows"):
        bootstrap_women(frame[:0], lambda w: 0.0, 10, 1)


def test_undefined_resamples_are_dropped_and_counted():
    # One BAC+ woman of six: (5/6)^6 = 33 % of the resamples miss her.
    frame = pd.DataFrame({"patient_id": list("abcdef"), "bac": [1, 0, 0, 0, 0, 0], "split": "test"})
    frame["score"] = [0.9, 0.1, 0.2, 0.95, 0.3, 0.4]
    result = detection_summary(frame, 0.5, 500, 3)["test"]
    assert result["undefined_resamples"] == pytest.approx(500 * (5 / 6) ** 6, rel=0.15)
    assert 0 <= result["auc_roc_ci"][0] <= result["auc_roc"] <= result["auc_roc_ci"][1] <= 1
    one_class = detection_summary(frame.assign(bac=0), 0.5, 50, 3)["test"]
    assert one_class["auc_roc_ci"] == [None, None]
    assert one_class["auc_roc"] is None
    assert one_class["accuracy_ci"][0] is not None


def test_detection_summary_of_the_sets():
    frame = pd.concat([predictions(40, k, split) for k, split in enumerate(["train", "validation", "unused"])])
    summary = json.loads(json.dumps(detection_summary(frame, 0.5, 30, 1), allow_nan=False))
    assert list(summary) == ["train", "validation"]  # a set without rows is left out
    part = frame[frame["split"] == "validation"]
    for name, value in detection_metrics(part["bac"], part["score"], 0.5).items():
        assert summary["validation"][name] == value
    for name, interval in detection_intervals(part, 0.5, 30, 1).items():
        assert summary["validation"][f"{name}_ci"] == interval


def test_bootstrap_is_fast():
    frame = pd.concat([predictions(300, k, split, 9) for k, split in enumerate(["train", "validation", "test"])])
    start = time.process_time()
    detection_summary(frame, 0.5, 1000, 1)
    assert time.process_time() - start < 20
