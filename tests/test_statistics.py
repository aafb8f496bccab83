import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.diagnostic import lilliefors

from bac_utils.settings import PUBLISHED
from bac_utils.statistics import (
    METRICS,
    bootstrap_women,
    by_woman,
    choose_threshold,
    cohort_summary,
    correlate,
    counts_metrics,
    describe,
    detection_intervals,
    detection_metrics,
    detection_summary,
    evans,
    mann_whitney,
    prevalence_by_class,
    trend_test,
    wilson,
)


def predictions(women, seed=0, split="test", decimals=2):
    """Four views a woman, a fifth of the women BAC+, views of one woman alike, many tied scores."""
    rng = np.random.default_rng(seed)
    bac = (rng.random(women) < 0.2)[:, None] & (rng.random((women, 4)) < 0.75)
    score = rng.normal(0.35 + 0.3 * bac + 0.1 * rng.normal(size=(women, 1)), 0.12)
    ids = np.repeat([f"{split}{k}" for k in range(women)], 4)
    frame = pd.DataFrame({"patient_id": ids, "bac": bac.ravel().astype(int), "split": split})
    return frame.assign(score=score.ravel().clip(0, 1).round(decimals))


# cohort


def test_describe_a_normal_and_a_skewed_variable():
    rng = np.random.default_rng(1)
    normal = rng.normal(59, 8, 200)
    result = describe(normal)
    assert result["normal"] is True
    assert result["ks_p"] == pytest.approx(lilliefors(normal, pvalmethod="table")[1])
    assert result["text"] == f"{normal.mean():.1f} ± {normal.std(ddof=1):.1f}"
    skewed = rng.exponential(5, 200)
    result = describe(skewed)
    assert (result["normal"], result["ks_p"]) == (False, pytest.approx(0.001))
    assert (result["q1"], result["median"], result["q3"]) == tuple(np.percentile(skewed, [25, 50, 75]))


def test_describe_corrects_the_test_for_estimated_parameters():
    # The plain KS test with mean and SD from the data is far too lenient: here it would call this normal.
    values = np.random.default_rng(3).exponential(size=40)
    assert stats.kstest(values, "norm", (values.mean(), values.std(ddof=1))).pvalue > 0.05
    assert describe(values)["normal"] is False


def test_describe_writes_as_the_paper_does():
    assert describe([45, 52, 52, 59, 68, 68, 2000])["text"] == "59 [52-68]"
    assert describe([60, 70.5, 70.5, 1e6], decimals=0)["text"] == "70 [68-250053]"
    one = describe([3])
    assert (one["text"], one["sd"], one["ks_p"]) == ("3 [3-3]", None, None)
    assert describe([7] * 30)["normal"] is False
    with pytest.raises(ValueError, match="values: got 1 values that are not finite"):
        describe([1, np.nan])
    with pytest.raises(ValueError, match="values: got an array of shape"):
        describe([])


def test_mann_whitney_by_hand():
    # Of the 12 pairs only 4 > 3 falls to a: U = 1. Of the 35 orders two have U <= 1, so p = 4 / 35.
    result = mann_whitney([1, 2, 4], [3, 5, 6, 7])
    assert result == {"u": 1.0, "p": pytest.approx(4 / 35), "superiority": pytest.approx(1 / 12)}
    assert mann_whitney([5, 5], [5, 5, 5]) == {"u": 3.0, "p": 1.0, "superiority": 0.5}
    with pytest.raises(ValueError, match="b: got an array of shape"):
        mann_whitney([1], [])


@pytest.mark.parametrize(
    ("positives", "total", "low", "high"),
    [  # Newcombe 1998, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published_examples(positives, total, low, high):
    assert wilson(positives, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_refuses_nonsense():
    for positives, total in ((1, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match=f"positives: got {positives} of {total}"):
            wilson(positives, total)


def test_prevalence_by_class():
    women = pd.DataFrame({"age": [45, 60, 61, 61, 61, 80], "bac": [0, 0, 1, 0, 0, 1]})
    table = prevalence_by_class(women, (60, 70, 73))
    assert table["age_class"].tolist() == ["45-60", "61-70", "71-73", "74-80"]
    assert table["women"].tolist() == [2, 3, 0, 1]
    assert table["bac_women"].tolist() == [0, 1, 0, 1]
    assert table["prevalence"].tolist() == pytest.approx([0, 1 / 3, np.nan, 1], nan_ok=True)
    # z = 1.96, n = 1, p = 1: low = 1 / (1 + z^2)
    assert table.loc[3, ["ci_low", "ci_high"]].tolist() == pytest.approx([1 / (1 + 1.959964**2), 1])
    assert table.loc[2, ["ci_low", "ci_high"]].isna().all()


def test_trend_by_hand():
    # Armitage: T = sum x (r - n R / N), V = p q (sum n x^2 - (sum n x)^2 / N); here with a zero cell.
    positives, totals, x = np.array([0, 6, 10, 13]), np.array([30, 30, 30, 30]), np.arange(4)
    n, p = 120, 29 / 120
    t = (x * (positives - totals * p)).sum()
    v = p * (1 - p) * ((totals * x**2).sum() - (totals * x).sum() ** 2 / n)
    assert t == pytest.approx(65 - 43.5)  # 6 + 20 + 39 less 29 * 1.5
    result = trend_test(positives, totals)
    assert result["z"] == pytest.approx(t / np.sqrt(v * n / (n - 1)))
    assert result["p"] == pytest.approx(2 * stats.norm.sf(result["z"]))
    assert trend_test(positives[::-1], totals)["z"] == pytest.approx(-result["z"])


def test_trend_without_contrast():
    assert trend_test([0, 0], [5, 5]) == {"z": None, "p": None}
    assert trend_test([3, 0], [5, 0]) == {"z": None, "p": None}
    with pytest.raises(ValueError, match=r"positives: got \[6\] of \[5\]"):
        trend_test([6], [5])


def test_cohort_summary_is_ready_for_json():
    women = pd.DataFrame({"age": [50.0, 52, 62, 66, 90], "bac": [0, 0, 0, 1, 1]})
    women = women.assign(views=4, bac_views=[0, 0, 0, 2, 3])
    summary = json.loads(json.dumps(cohort_summary(women, (60, 70, 73)), allow_nan=False))
    assert summary["prevalence_by_age_class"] == [0, 0.5, None, 1]
    assert (summary["women"], summary["views"], summary["bac_women"], summary["bac_views"]) == (5, 20, 2, 5)
    assert (summary["age_median"], summary["age_iqr"]) == (62, [52, 66])
    assert (summary["age_median_bac"], summary["age_median_no_bac"]) == (78, 52)
    assert summary["mann_whitney_p"] == pytest.approx(0.2)  # U = 0, 1 of 10 orders a side
    with pytest.raises(ValueError, match="got 0 BAC. women of 5"):
        cohort_summary(women.assign(bac=0), (60, 70, 73))


# detection


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


# bootstrap


def naive_resamples(frame, samples, seed):
    """Copy the views of every drawn woman, as often as she was drawn."""
    ids = frame["patient_id"].unique()
    views = {name: part for name, part in frame.groupby("patient_id")}
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield pd.concat([views[ids[k]] for k in rng.integers(len(ids), size=len(ids))])


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


def test_bootstrap_women_keeps_views_together():
    # All views of a woman are equal: the interval must be that of 50 women, not that of 200 views.
    value = np.repeat(np.random.default_rng(0).normal(size=50), 4)
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(50), 4), "value": value})
    low, high = bootstrap_women(frame, lambda f, w: np.average(f["value"], weights=w), 2000, 1)
    by_theory = 2 * 1.96 * value[::4].std() / np.sqrt(50)
    assert high - low == pytest.approx(by_theory, rel=0.06)
    assert low < value.mean() < high


def test_bootstrap_is_seeded_and_checks_its_input():
    frame = predictions(20)
    assert detection_intervals(frame, 0.5, 20, 1) == detection_intervals(frame, 0.5, 20, 1)
    assert detection_intervals(frame, 0.5, 20, 1) != detection_intervals(frame, 0.5, 20, 2)
    with pytest.raises(ValueError, match="samples: got 0, must be at least 1"):
        detection_intervals(frame, 0.5, 0, 1)
    with pytest.raises(ValueError, match="frame: got no rows"):
        bootstrap_women(frame[:0], lambda f, w: 0.0, 10, 1)


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


def test_an_interval_of_a_minority_of_resamples_is_none():
    frame = pd.DataFrame({"patient_id": np.arange(20)})
    drawn = bootstrap_women(frame, lambda f, w: 1.0 if w[0] else np.nan, 500, 1)  # 1 - (19/20)^20 = 64 %
    assert drawn == (1.0, 1.0)
    assert bootstrap_women(frame, lambda f, w: None if w[0] else 1.0, 500, 1) == (None, None)


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


# correlation


def test_correlate_picks_the_method_by_normality():
    rng = np.random.default_rng(5)
    length = rng.normal(40, 8, 100)
    area = 2 * length + rng.normal(0, 5, 100)
    result = correlate(area, length, samples=50)
    assert result["method"] == "pearson"
    assert (result["coefficient"], result["p"]) == pytest.approx(tuple(stats.pearsonr(area, length)))
    skewed = correlate(np.exp(area / 10), length, samples=50)
    assert skewed["method"] == "spearman"
    assert skewed["coefficient"] == skewed["spearman_rho"] == result["spearman_rho"]  # ranks alone count
    assert (skewed["spearman_rho"], skewed["spearman_p"]) == pytest.approx(tuple(stats.spearmanr(area, length)))
    assert skewed["evans"] == "very strong"
    json.dumps(skewed, allow_nan=False)


def test_correlate_resamples_women():
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(15), 2)
    length = rng.exponential(20, 30).round()
    length[:8] = 0  # ties, as the views without BAC
    area = length + rng.normal(0, 10, 30)
    frame = pd.DataFrame({"patient_id": groups, "area": area, "length": length})
    rho = [stats.spearmanr(r["area"], r["length"])[0] for r in naive_resamples(frame, 80, 9)]
    result = correlate(area, length, groups, 80, 9)
    assert result["spearman_ci"] == pytest.approx(np.percentile(rho, [2.5, 97.5]).tolist())
    assert (result["n"], result["spearman_rho"]) == (30, pytest.approx(stats.spearmanr(area, length)[0]))


def test_correlate_what_has_no_correlation():
    for area, length in (([1, 2], [3, 4]), ([1, 1, 1, 1], [1, 2, 3, 4])):
        result = correlate(area, length, samples=10)
        assert result["spearman_rho"] is result["spearman_p"] is result["evans"] is None
        assert result["spearman_ci"] == [None, None]
    with pytest.raises(ValueError, match="length: got 2 values and 3 groups, must be 3 each"):
        correlate([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="area: got 1 values that are not finite"):
        correlate([1, 2, np.nan], [1, 2, 3])


@pytest.mark.parametrize(
    ("r", "word"),
    [(0, "very weak"), (0.19, "very weak"), (-0.2, "weak"), (0.4, "moderate"), (0.79, "strong"),
     (0.8, "very strong"), (PUBLISHED["spearman_rho"], "very strong"), (-1, "very strong")],
)  # fmt: skip
def test_evans(r, word):
    assert evans(r) == word


def test_evans_refuses_nonsense():
    for r in (1.1, np.nan):
        with pytest.raises(ValueError, match="r: got .*, must lie between -1 and 1"):
            evans(r)
