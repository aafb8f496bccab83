"""Statistics of the cohort against published examples and hand calculations, and the bootstrap over women."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bac_utils.cohort import cohort_summary, prevalence_by_class
from bac_utils.statistics import bootstrap_women, describe, mann_whitney, trend_test, wilson, with_interval


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
    women = women.assign(views=4, bac_views=[0, 0, 0, 2, 3])
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


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.954, [0.91, 0.987], "0.95 [0.91, 0.99]"),
        (0.954, None, "0.95"),
        (0.954, [None, None], "0.95"),
        (None, [0.1, 0.2], "-"),
        (math.nan, None, "-"),
    ],
)
def test_with_interval(value, interval, text):
    assert with_interval(value, interval) == text
