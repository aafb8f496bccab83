"""Statistics of the cohort against published examples and hand calculations, and the bootstrap over women."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bac_utils.cohort import cohort_summary, prevalence_by_class
from bac_utils.statistics import (
    LEAST_P,
    ScoreSpread,
    auc_interval,
    auc_variance,
    bootstrap_women,
    correlation_interval,
    describe,
    effective_size,
    mann_whitney,
    resample_women,
    share_interval,
    trend_test,
    wilson,
    with_interval,
)


def test_describe_a_normal_and_a_skewed_variable():
    rng = np.random.default_rng(1)
    normal = rng.normal(59, 8, 200)
    result = describe(normal)
    assert result["normal"] is True
    assert result["text"] == f"{normal.mean():.1f} ± {normal.std(ddof=1):.1f}"
    skewed = rng.exponential(5, 200)
    result = describe(skewed)
    assert (result["normal"], result["ks_p"]) == (False, pytest.approx(0.001))
    assert (result["q1"], result["median"], result["q3"]) == tuple(np.percentile(skewed, [25, 50, 75]))


def test_describe_corrects_the_test_for_estimated_parameters():
    # The plain KS test with mean and SD from the data is far too lenient: it would accept this as normal.
    values = np.random.default_rng(3).exponential(size=40)
    assert stats.kstest(values, "norm", (values.mean(), values.std(ddof=1))).pvalue > 0.05
    assert describe(values)["normal"] is False


def test_describe_uses_the_format_of_the_paper():
    assert describe([45, 52, 52, 59, 68, 68, 2000])["text"] == "59 [52-68]"
    assert describe([60, 70.5, 70.5, 1e6])["text"] == "70.5 [67.9-250052.9]"
    one = describe([3])
    assert (one["text"], one["ks_p"]) == ("3 [3-3]", None)
    assert describe([7] * 30)["normal"] is False
    with pytest.raises(ValueError, match="values: got 1 values that are not finite"):
        describe([1, np.nan])
    with pytest.raises(ValueError, match="values: got an array of shape"):
        describe([])


def test_mann_whitney_by_hand():
    # In one of the 12 pairs, 4 > 3, the value of a is larger: U = 1. Of the 35 orders, two have U <= 1: p = 4 / 35.
    assert mann_whitney([1, 2, 4], [3, 5, 6, 7]) == {"u": 1.0, "p": pytest.approx(4 / 35)}
    assert mann_whitney([5, 5], [5, 5, 5]) == {"u": 3.0, "p": 1.0}
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
    women = women.assign(patient_id=list("abcde"), views=4, bac_views=[0, 0, 0, 2, 3])
    summary = json.loads(json.dumps(cohort_summary(women, (60, 70, 73)), allow_nan=False))
    assert summary["prevalence_by_age_class"] == [0, 0.5, None, 1]
    assert (summary["women"], summary["views"], summary["bac_women"], summary["bac_views"]) == (5, 20, 2, 5)
    assert (summary["age_median"], summary["age_iqr"]) == (62, [52, 66])
    assert (summary["age_median_bac"], summary["age_median_no_bac"]) == (78, 52)
    assert summary["mann_whitney_p"] == pytest.approx(0.2)  # U = 0, 1 of 10 orders on each side
    with pytest.raises(ValueError, match="got 0 BAC. women of 5"):
        cohort_summary(women.assign(bac=0), (60, 70, 73))


def test_bootstrap_women_keeps_views_together():
    # All views of a woman are equal, so the interval must be that of 50 women, not of 200 views.
    value = np.repeat(np.random.default_rng(0).normal(size=50), 4)
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(50), 4), "value": value})
    low, high = bootstrap_women(frame, lambda w: np.average(frame["value"], weights=w), 2000, 1)
    by_theory = 2 * 1.96 * value[::4].std() / np.sqrt(50)
    assert high - low == pytest.approx(by_theory, rel=0.06)
    assert low < value.mean() < high


def test_an_interval_of_a_minority_of_resamples_is_none():
    frame = pd.DataFrame({"patient_id": np.arange(20)})
    drawn = bootstrap_women(frame, lambda w: 1.0 if w[0] else np.nan, 500, 1)  # 1 - (19/20)^20 = 64 %
    assert drawn == (1.0, 1.0)
    assert bootstrap_women(frame, lambda w: None if w[0] else 1.0, 500, 1) == (None, None)


def weighted_share(hits):
    return lambda w: np.average(hits, weights=w)


def test_effective_size_is_the_number_of_rows_without_clusters():
    hits = np.repeat([0.0, 1.0], 20)
    draws = resample_women(pd.DataFrame({"patient_id": np.arange(40)}), weighted_share(hits), 50, 0)
    assert effective_size(0.25, draws, np.ones(40)) == 40


def test_effective_size_is_the_number_of_women_with_equal_rows():
    hits = np.repeat([0.0, 1.0] * 20, 4)
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(40), 4)})
    draws = resample_women(frame, weighted_share(hits), 4000, 0)
    assert effective_size(0.25, draws, np.full(40, 4)) == pytest.approx(40, rel=0.05)
    assert effective_size(0.0, np.ones(9), np.array([4, 1, 0, 1])) == 2  # no spread: 6^2 / (16 + 1 + 1)


def test_effective_size_follows_from_the_variance_between_women():
    # Rao & Scott 1992, by hand: shares 4/4, 3/4, 1/4, 0/4 twice; p = 1/2, residuals 2, 1, -1, -2, so that the variance
    # is 8/7 * 20 / 32^2 and the size 1/4 / variance = 11.2, of 32 rows of 8 women.
    hits = np.tile([1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0.0], 2)
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(8), 4)})
    draws = resample_women(frame, weighted_share(hits), 4000, 0)
    assert effective_size(0.25, draws, np.full(8, 4)) == pytest.approx(11.2, rel=0.06)


def test_share_interval_is_the_wider_of_wilson_and_jeffreys():
    for share, size in ((0.5, 10), (0.9, 10), (0.25, 37.5)):
        (wilson_low, wilson_high), (jeffreys_low, jeffreys_high) = (
            proportion_confint(share * size, size, method=method) for method in ("wilson", "jeffreys")
        )
        found = share_interval(share, size)
        assert found == pytest.approx([min(wilson_low, jeffreys_low), max(wilson_high, jeffreys_high)])
    assert share_interval(81 / 263, 263, ("wilson",)) == pytest.approx([0.2553, 0.3662], abs=5e-5)  # Newcombe 1998
    # 1 of 5: Jeffreys's lower limit is the lower one, and none of 5 and 5 of 5 end at 0 and 1
    assert share_interval(0.2, 5)[0] == pytest.approx(stats.beta.ppf(0.025, 1.5, 4.5))
    assert share_interval(1, 5) == pytest.approx([5 / (5 + 1.959964**2), 1])
    assert share_interval(0, 5) == pytest.approx([0, 1.959964**2 / (5 + 1.959964**2)])


def test_auc_variance_is_that_of_hanley_and_mcneil_in_equal_groups():
    auc, n = 0.8, 12
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    expected = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / n**2
    assert auc_variance(auc, n, n) == pytest.approx(expected)


@pytest.mark.parametrize(("auc", "positives", "negatives"), [(0.85, 5, 33), (0.5, 12.5, 80), (0.99, 50, 335)])
def test_auc_interval_solves_the_score_equation(auc, positives, negatives):
    for limit in auc_interval(auc, positives, negatives):
        distance = abs(auc - limit) / np.sqrt(auc_variance(limit, positives, negatives))
        assert distance == pytest.approx(1.959964, rel=1e-4)


def test_auc_interval_of_separated_classes_has_a_width():
    # With one positive and one negative, V = A (1 - A), as of a share of 1: Wilson's interval is 1 / (1 + z^2) to 1.
    assert auc_interval(1, 1, 1) == pytest.approx([1 / (1 + 1.959964**2), 1], abs=1e-6)
    low, high = auc_interval(1, 5, 33)
    assert 0.5 < low < 0.9 and high == 1
    assert auc_interval(0, 5, 33) == pytest.approx([0, 1 - low], abs=1e-6)


def test_correlation_interval_without_clusters():
    # n = 30 women with one view each: z = atanh(0.6), variance (1 + 0.18) / 27
    half = 1.959964 * np.sqrt(1.18 / 27)
    found = correlation_interval(0.6, np.linspace(0.4, 0.8, 50), np.ones(30))
    assert found == pytest.approx(list(np.tanh(np.arctanh(0.6) + [-half, half])), abs=1e-6)


def test_correlation_interval_of_equal_views_is_that_of_women():
    spread = np.tanh(np.arctanh(0.6) + np.linspace(-2, 2, 50))  # as wide as for few women: the size is limited to 30
    assert correlation_interval(0.6, spread, np.full(30, 4)) == correlation_interval(0.6, spread, np.ones(30))


def test_correlation_interval_of_one_woman_with_most_views():
    # Kish's size of 10, 1, 1, 1, 1 views is 14^2 / 104 = 1.9, too few for Fisher's z
    low, high = correlation_interval(0.6, np.full(9, 0.6), np.array([10, 1, 1, 1, 1]))
    half = 1.959964 * np.sqrt(1.18)
    assert [low, high] == pytest.approx(list(np.tanh(np.arctanh(0.6) + [-half, half])), abs=1e-6)


def test_correlation_interval_of_a_perfect_order():
    low, high = correlation_interval(1, np.ones(20), np.ones(6))
    assert low < 0.95 and high == 1
    assert correlation_interval(-1, -np.ones(20), np.ones(6)) == [-1, -low]


def test_spread_of_scores_by_label():
    """BAC-: 0 and 1, so that percentile p is p %; BAC+: 0.2, 0.4, 0.8 with the quartiles 0.3, 0.4 and 0.6."""
    found = ScoreSpread.of([1, 0, 1, 0, 1], [0.8, 1, 0.2, 0, 0.4])
    assert found.negative == pytest.approx(np.arange(101) / 100)
    assert [found.positive[p] for p in (0, 25, 50, 75, 100)] == pytest.approx([0.2, 0.3, 0.4, 0.6, 0.8])
    assert found.views == (2, 3)
    assert ScoreSpread.of([0, 0], [0.1, 0.2]) is ScoreSpread.of([1], [0.1]) is None


def test_p_values_are_never_zero():
    far = np.arange(2000.0)
    assert mann_whitney(far, far + 1e6)["p"] >= LEAST_P > 0
    assert trend_test([0, 40000], [40000, 40000])["p"] >= LEAST_P


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.954, [0.91, 0.987], "0.95 [0.91, 0.99]"),
        (0.954, None, "0.95"),
        (0.954, [None, None], "0.95 [too few]"),
        (0.954, [0.9, math.nan], "0.95 [too few]"),
        (None, [None, None], "too few"),
        (None, None, "-"),
        (None, [0.1, 0.2], "-"),
        (math.nan, None, "-"),
    ],
)
def test_with_interval(value, interval, text):
    assert with_interval(value, interval) == text
