"""Detection metrics against scikit-learn, hand calculations and the paper; intervals against other formulas."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples
from scipy import stats
from sklearn import metrics

from bac_utils.detection import (
    METRICS,
    RULES,
    ScoreCurve,
    _detection_draws,
    by_woman,
    choose_threshold,
    counts_metrics,
    detection_intervals,
    detection_metrics,
    detection_summary,
    detection_table,
    threshold_by_rule,
    thresholds_by_rule,
)
from bac_utils.settings import PUBLISHED
from bac_utils.statistics import auc_interval, bootstrap_women, share_interval


def predictions(women, seed=0, split="test", decimals=2):
    """Four views per woman, a fifth of the women BAC+, similar views of a woman, many tied scores."""
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


def test_counts_metrics_without_positive_results_or_classes():
    assert counts_metrics(8, 0, 2, 0) == {
        "accuracy": 0.8, "balanced_accuracy": 0.5, "precision": 0.0,
        "npv": 0.8, "recall": 0.0, "specificity": 1.0, "f1": 0.0,
    }  # fmt: skip
    no_positives = counts_metrics(8, 0, 0, 2)
    assert no_positives["recall"] is no_positives["f1"] is no_positives["balanced_accuracy"] is None
    assert (no_positives["precision"], no_positives["specificity"]) == (0, 0.8)
    assert counts_metrics(0, 3, 1, 0)["specificity"] is None
    assert counts_metrics(0, 3, 0, 2)["npv"] is None  # no view is classified as BAC-
    with pytest.raises(ValueError, match="fn: got -1, must be 0 or more"):
        counts_metrics(1, 1, -1, 1)
    with pytest.raises(ValueError, match="got 0 views"):
        counts_metrics(0, 0, 0, 0)


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("threshold", [-1, 0.3, 0.5, 2])
def test_detection_metrics_agree_with_scikit_learn(decimals, threshold):
    frame = predictions(60, seed=4, decimals=decimals)
    y, s = frame["bac"], frame["score"]
    positive = s >= threshold
    result = detection_metrics(y, s, threshold)
    assert list(result) == ["tn", "tp", "fn", "fp", *METRICS]
    tn, fp, fn, tp = metrics.confusion_matrix(y, positive).ravel()
    assert (result["tn"], result["fp"], result["fn"], result["tp"]) == (tn, fp, fn, tp)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(y, positive))
    assert result["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, positive))
    assert result["precision"] == pytest.approx(metrics.precision_score(y, positive, zero_division=0))
    assert result["recall"] == pytest.approx(metrics.recall_score(y, positive))
    assert result["f1"] == pytest.approx(metrics.f1_score(y, positive))
    assert result["auc_roc"] == pytest.approx(metrics.roc_auc_score(y, s))
    assert result["auc_pr"] == pytest.approx(metrics.average_precision_score(y, s))


def test_detection_metrics_by_hand():
    result = detection_metrics([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1], 0.5)
    assert (result["tn"], result["tp"], result["fn"], result["fp"]) == (1, 2, 0, 1)
    assert result["auc_roc"] == pytest.approx(3.5 / 4)  # three of four pairs are in the right order, one is tied
    assert result["auc_pr"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_auc_undefined(label):
    result = detection_metrics([label] * 3, [0.1, 0.6, 0.9], 0.5)
    assert result["auc_roc"] is result["auc_pr"] is None
    assert result["accuracy"] == pytest.approx(2 / 3 if label else 1 / 3)


def test_detection_metrics_refuse_bad_input():
    with pytest.raises(ValueError, match="labels: got 2 for 3 scores"):
        detection_metrics([0, 1], [0.1, 0.2, 0.3], 0.5)
    with pytest.raises(ValueError, match="labels: got other values, must be 0 or 1"):
        detection_metrics([0, np.nan], [0.1, 0.2], 0.5)
    with pytest.raises(ValueError, match="scores: got 1 values that are not finite"):
        detection_metrics([0, 1], [0.1, np.inf], 0.5)
    with pytest.raises(ValueError, match="scores: got an array of shape"):
        detection_metrics([], [], 0.5)


def test_choose_threshold_takes_the_best_f1():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    # F1 is 2/3 at 0.9 (one positive result) and 4/5 at 0.5 (three)
    assert choose_threshold([1, 0, 1, 0], [0.9, 0.7, 0.5, 0.1]) == pytest.approx(0.3)
    # F1 is 2/3 with one and with four positive results; the higher threshold is taken
    assert choose_threshold([1, 0, 0, 1], [0.9, 0.7, 0.5, 0.1]) == pytest.approx(0.8)
    # the lowest score is the lowest threshold; equal scores are not separated
    assert choose_threshold([1, 1, 0], [0.5, 0.5, 0.5]) == 0.5
    for neighbours in ([np.nextafter(0.5, 0), 0.5], [0.5, np.nextafter(0.5, 1)]):  # no number between
        threshold = choose_threshold([0, 1], neighbours)
        assert [s >= threshold for s in neighbours] == [False, True]
    with pytest.raises(ValueError, match="labels: got 0 positives of 2, must have both classes"):
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
    frame = frame.assign(exam=["", "2021", "2023"])  # the highest score and the BAC+ view are of different exams
    assert by_woman(frame)[["patient_id", "exam", "bac", "score"]].to_numpy().tolist() == [
        ["a", "2021", 0, 0.9], ["a", "2023", 1, 0.4], ["b", "", 0, 0.2]
    ]  # fmt: skip


def test_weights_equal_copies():
    frame = predictions(25, seed=2).sample(frac=1, random_state=1)
    draws = [detection_metrics(r["bac"], r["score"], 0.5) for r in naive_resamples(frame, 60, 11)]
    found = _detection_draws(frame, 0.5, 60, 11)
    assert found == pytest.approx(np.array([[d[name] for name in METRICS] for d in draws]))
    one_class = _detection_draws(frame.assign(bac=0), 2, 3, 1)[0]
    undefined = {name for name, value in zip(METRICS, one_class, strict=True) if np.isnan(value)}
    assert undefined == set(METRICS) - {"accuracy", "npv", "specificity"}


def test_intervals_by_woman_are_those_of_independent_rows():
    # Recall is 3 of 5, specificity 7 of 8; of 40 pairs, all but 2 + 1 = 3 are in the right order.
    frame = pd.DataFrame({"patient_id": np.arange(13), "bac": [1] * 5 + [0] * 8})
    frame["score"] = [0.9, 0.8, 0.7, 0.4, 0.35, 0.6, 0.38, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    found = detection_intervals(frame, 0.5, 40, 1)
    assert list(found) == list(METRICS)
    for name, share, rows in (
        ("recall", 3 / 5, 5), ("specificity", 7 / 8, 8), ("accuracy", 10 / 13, 13), ("precision", 3 / 4, 4),
        ("npv", 7 / 9, 9),
    ):  # fmt: skip
        assert found[name] == pytest.approx(share_interval(share, rows))
    assert found["f1"] == pytest.approx([2 * j / (1 + j) for j in share_interval(3 / 6, 6)])  # TP 3, FP 1, FN 2
    assert found["auc_roc"] == pytest.approx(auc_interval(37 / 40, 5, 8))
    precision = metrics.average_precision_score(frame["bac"], frame["score"])
    assert found["auc_pr"] == pytest.approx(share_interval(precision, 5, ("wilson",)))
    (recall, _), (specificity, _) = found["recall"], found["specificity"]
    below = np.hypot(3 / 5 - recall, 7 / 8 - specificity) / 2
    assert found["balanced_accuracy"][0] == pytest.approx((3 / 5 + 7 / 8) / 2 - below)


def test_equal_views_of_a_woman_count_once():
    one = predictions(60, seed=5).groupby("patient_id", as_index=False).agg(bac=("bac", "max"), score=("score", "max"))
    four = one.loc[one.index.repeat(4)]
    few, many = (detection_intervals(frame, 0.5, 2000, 1) for frame in (one, four))
    for name in METRICS[:-1]:  # the AUC-PR may be more precise than a share of the BAC+ women
        assert many[name] == pytest.approx(few[name], abs=0.02)


@pytest.mark.parametrize("auc", [0.7, 0.9])
def test_the_variance_of_an_auc_is_obuchowski_s(auc):
    """The bootstrap over women estimates the variance of Obuchowski (Biometrics 53:567, 1997)."""
    rng = np.random.default_rng(8)
    shared, own = rng.normal(size=(80, 1)), rng.normal(size=(80, 4))
    bac = (np.arange(80) % 2 == 0)[:, None] & (np.arange(4) < 3)
    score = 0.8 * shared + 0.6 * own + np.sqrt(2) * stats.norm.ppf(auc) * bac
    x, y = score[bac], score[~bac]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    place = np.broadcast_to(np.arange(80)[:, None], bac.shape)
    of_bac = np.bincount(place[bac], wins.mean(1) - wins.mean(), 80) / len(x)
    of_others = np.bincount(place[~bac], wins.mean(0) - wins.mean(), 80) / len(y)
    expected = 40 / 39 * of_bac @ of_bac + 80 / 79 * (of_others @ of_others + 2 * of_bac @ of_others)
    frame = pd.DataFrame({"patient_id": place.ravel(), "bac": bac.ravel().astype(int), "score": score.ravel()})
    draws = _detection_draws(frame, 0.5, 4000, 0)[:, METRICS.index("auc_roc")]
    assert draws.var() * 40 / 39 == pytest.approx(expected, rel=0.1)


def test_perfect_separation_leaves_the_intervals_a_width():
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(12), 4), "bac": np.repeat([1] * 5 + [0] * 7, 4)})
    for name, (low, high) in detection_intervals(frame.assign(score=frame["bac"]), 0.5, 30, 1).items():
        assert low < 0.9 and high == 1, name


def test_three_women_are_too_few():
    frame = predictions(40, seed=3)
    women = frame.groupby("patient_id")["bac"].transform("max")
    three = frame["patient_id"].isin(frame.loc[women == 1, "patient_id"].unique()[:3])
    summary = detection_summary(frame[three | (women == 0)], 0.5, 30, 1)
    for name in METRICS:
        assert (summary["test"][f"{name}_ci"][0] is None) == (name != "specificity")
    table = detection_table(summary)
    assert table.loc["AUC-ROC", "test"].endswith(" [too few]")
    assert "too few" not in table.loc["specificity", "test"]
    few_negatives = frame[(women == 1) | frame["patient_id"].isin(frame.loc[women == 0, "patient_id"].unique()[:4])]
    found = detection_intervals(few_negatives, 0.5, 30, 1)
    assert found["recall"][0] is not None
    assert found["specificity"] == found["auc_roc"] == [None, None]


def test_no_view_is_called():
    found = detection_intervals(predictions(60), 2, 30, 1)
    assert found["precision"] == [None, None]
    assert found["recall"][0] == 0 < found["recall"][1]


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
    assert result["auc_roc_ci"] == [None, None]
    one_class = detection_summary(frame.assign(bac=0), 0.5, 50, 3)["test"]
    assert one_class["auc_roc_ci"] == [None, None]
    assert one_class["auc_roc"] is None
    assert one_class["specificity_ci"][0] is not None


def test_detection_summary_of_the_sets():
    frame = pd.concat([predictions(40, k, split) for k, split in enumerate(["train", "validation", "unused"])])
    summary = json.loads(json.dumps(detection_summary(frame, 0.5, 30, 1), allow_nan=False))
    assert list(summary) == ["train", "validation"]  # a set without rows is left out
    part, found = frame[frame["split"] == "validation"], summary["validation"]
    positive = part["score"] >= 0.5
    assert (found["tp"], found["fp"]) == ((positive & (part["bac"] == 1)).sum(), (positive & (part["bac"] == 0)).sum())
    assert found["auc_roc"] == pytest.approx(metrics.roc_auc_score(part["bac"], part["score"]))
    assert {name: found[f"{name}_ci"] for name in METRICS} == detection_intervals(part, 0.5, 30, 1)


def test_bootstrap_is_fast():
    frame = pd.concat([predictions(300, k, split, 9) for k, split in enumerate(["train", "validation", "test"])])
    start = time.process_time()
    detection_summary(frame, 0.5, 1000, 1)
    assert time.process_time() - start < 20


# From the highest score: + + - + - - + - - - (4 BAC+ of 10).
RULE_LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0]
RULE_SCORES = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def by_rule(rule):
    return threshold_by_rule(ScoreCurve(RULE_LABELS, RULE_SCORES), rule)


def test_youden_by_hand():
    # sensitivity + specificity - 1 is 1/2 with two positive results and 3/4 - 1/6 = 0.583, the largest, with four
    assert by_rule("youden") == pytest.approx(0.65)


def test_best_f1_by_hand():
    # with four positive results: 2 * 3 / (4 + 4) = 0.75
    assert by_rule("best_f1") == pytest.approx(0.65)


def test_sensitivity_takes_the_highest_threshold_that_suffices():
    assert by_rule("sensitivity") == pytest.approx(0.35)


def test_specificity_takes_the_lowest_threshold_that_suffices():
    assert by_rule("specificity") == by_rule("paper") == pytest.approx(0.85)


def test_no_view_is_positive_if_the_highest_score_is_a_negative():
    threshold = threshold_by_rule(ScoreCurve([0, 1], [0.9, 0.1]), "specificity")
    assert 0.9 < threshold < 0.9 + 1e-9


def test_weights_are_copies():
    weights = np.array([1, 2, 1, 1, 3, 1, 1, 1, 2, 1])
    copies = ScoreCurve(np.repeat(RULE_LABELS, weights), np.repeat(RULE_SCORES, weights))
    for rule in RULES:
        assert threshold_by_rule(
            ScoreCurve(RULE_LABELS, RULE_SCORES), rule, weights.astype(float)
        ) == threshold_by_rule(copies, rule)


def test_unknown_rule():
    with pytest.raises(ValueError, match="rule: got 'best', must be one of youden"):
        by_rule("best")


def test_choices_and_their_intervals():
    rng = np.random.default_rng(3)
    bac = rng.random(240) < 0.3
    views = pd.DataFrame({"patient_id": np.repeat(np.arange(60), 4), "bac": bac.astype(int)})
    views["score"] = np.clip(rng.normal(0.4 + 0.25 * bac, 0.15), 0, 1)
    choices = thresholds_by_rule(views, 100, 1)
    assert list(choices) == list(RULES)
    assert choices["sensitivity"].metrics["recall"] >= 0.9 and choices["specificity"].metrics["specificity"] >= 0.95
    for choice in choices.values():
        low, high = choice.threshold_ci
        assert low <= choice.threshold <= high
        low, high = choice.intervals["recall"]
        assert low <= choice.metrics["recall"] <= high
    with pytest.raises(ValueError, match="must have both classes"):
        thresholds_by_rule(views[views["bac"] == 1], 10, 1)


def test_table_two_of_the_paper():
    """The paper's NPV and specificity in the test set, from its counts: 803 of 828 and 803 of 822."""
    rows = predictions(30)
    table = detection_table(detection_summary(rows, 0.5, 20, 1), PUBLISHED["detection"])
    positive = rows["score"] >= 0.5
    assert table.loc["TP", "test"] == str(int((positive & (rows["bac"] == 1)).sum()))
    assert list(table) == ["test", "test, paper"]
    assert table.loc["TP", "test, paper"] == "69" and table.loc["AUC-ROC", "test, paper"] == "0.94"
    assert table.loc["NPV", "test, paper"] == f"{803 / 828:.2f}"
    assert table.loc["specificity", "test, paper"] == f"{803 / 822:.2f}"
