"""Correlation and agreement of measures with reference lengths, on small examples and random numbers."""

import json

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples
from scipy import stats

from bac_utils.agreement import (
    correlate,
    correlate_measures,
    correlation_table,
    error_by_class,
    evans,
    length_agreement,
)
from bac_utils.settings import PUBLISHED
from bac_utils.statistics import correlation_interval


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
    length[:8] = 0  # ties, like the views without BAC
    area = length + rng.normal(0, 10, 30)
    frame = pd.DataFrame({"patient_id": groups, "area": area, "length": length})
    rho = np.array([stats.spearmanr(r["area"], r["length"])[0] for r in naive_resamples(frame, 80, 9)])
    result = correlate(area, length, groups, 80, 9)
    assert result["spearman_ci"] == pytest.approx(correlation_interval(result["spearman_rho"], rho, np.full(15, 2)))
    assert (result["n"], result["spearman_rho"]) == (30, pytest.approx(stats.spearmanr(area, length)[0]))


def test_correlate_what_has_no_correlation():
    for area, length in (([1, 2], [3, 4]), ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5])):
        result = correlate(area, length, samples=10)
        assert result["spearman_rho"] is result["spearman_p"] is result["evans"] is None
        assert result["spearman_ci"] == [None, None]
    with pytest.raises(ValueError, match="length: got 2 values and 3 groups, must be 3 each"):
        correlate([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="area: got 1 values that are not finite"):
        correlate([1, 2, np.nan], [1, 2, 3])


@pytest.mark.parametrize(
    ("length", "women"),
    [([0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 3]), ([0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5])],
    ids=["four women", "four different lengths"],
)
def test_a_correlation_of_too_few(length, women):
    result = correlate(np.arange(6), length, women, samples=10)
    assert result["spearman_rho"] == pytest.approx(stats.spearmanr(np.arange(6), length)[0])
    assert result["p"] is result["spearman_p"] is result["evans"] is None
    assert result["spearman_ci"] == [None, None]
    row = correlation_table({"area": result}).loc["area"]
    assert row["Spearman's rho [95 %]"] == f"{result['spearman_rho']:.2f} [too few]"
    assert row["p"] == row["Evans"] == "too few"


def test_a_perfect_order_has_an_interval_and_a_p_value_above_zero():
    result = correlate(np.arange(6), np.arange(6.0) ** 2, samples=20)
    assert result["spearman_rho"] == pytest.approx(1)
    low, high = result["spearman_ci"]
    assert low < 0.95 and high == pytest.approx(1)
    assert result["spearman_p"] == pytest.approx(2 / 720)  # two of the 6! orders of women are perfect
    many = correlate(np.arange(400), np.arange(400), samples=20)
    assert 0 < many["spearman_p"] < 1e-300
    assert correlation_table({"area": many}).loc["area", "p"] == "< 0.001"


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


def test_agreement_by_hand():
    # errors 2, -3, 10, -1: mean 2, deviations 0, -5, 8, -3, variance 98 / 3
    found = length_agreement([12, 17, 50, 79], [10, 20, 40, 80])
    spread = 1.96 * np.sqrt(98 / 3)
    assert found == {
        "views": 4,
        "median_absolute_error_mm": 2.5,
        "median_relative_error": pytest.approx((0.2 + 0.15) / 2),  # 0.2, 0.15, 0.25, 0.0125
        "bias": pytest.approx(2 / 37.5),
        "limits_of_agreement_mm": pytest.approx([2 - spread, 2 + spread]),
    }


def test_equal_lengths_agree_and_one_view_has_no_spread():
    same = length_agreement(pd.Series([10.0, 30.0], index=[5, 7]), pd.Series([10.0, 30.0], index=[1, 2]))
    assert (same["median_absolute_error_mm"], same["bias"], same["limits_of_agreement_mm"]) == (0, 0, [0, 0])
    assert length_agreement([0], [20])["limits_of_agreement_mm"] == [-20, -20]
    assert length_agreement([0], [20])["median_relative_error"] == 1


@pytest.mark.parametrize(
    ("measured", "true", "words"),
    [
        ([], [], "true: got no lengths, must be one or more"),
        ([1, 2], [1], "true: got 1 lengths, must be 2, one per measured length"),
        ([1, np.nan], [1, 2], "measured: got a length of nan mm, must be finite"),
        ([1], [0], "true: got a length of 0 mm, must be above 0"),
        ([1], [-2], "true: got a length of -2 mm"),
        ([1], [np.nan], "true: got a length of nan mm"),
    ],
)
def test_lengths_that_cannot_be_compared_are_refused(measured, true, words):
    with pytest.raises(ValueError, match=words):
        length_agreement(measured, true)


def test_measures_are_correlated_over_all_views_and_those_with_bac():
    table = pd.DataFrame({"patient_id": list("aabcdefg"), "bac": [0, 1, 1, 1, 1, 1, 1, 0]})
    table["bac_length_mm"] = [0, 10, 20, 30, 40, 50, 60, np.nan]  # the last view has no length
    table["area"] = [50, 1, 2, np.nan, 3, 4, 5, 4]
    found = correlate_measures(table, {"area": "area", "width": "width_mm"}, samples=20, seed=0)
    assert {name: result["n"] for name, result in found.items()} == {"area": 6, "area, views with BAC": 5}
    assert found["area"]["spearman_rho"] == pytest.approx(1 - 6 * 30 / 210)  # ranks 6, 1, ..., 5: d = 5, -1, ..., -1
    assert found["area, views with BAC"]["spearman_rho"] == pytest.approx(1)
    assert correlate_measures(table.drop(columns="bac_length_mm"), {"area": "area"}, 20, 0) == {}


def test_error_by_class_by_hand():
    reference, measured = pd.Series([10.0, 25, 26, 120]), pd.Series([12.0, 21, 30, 120])
    table = error_by_class(measured, reference, pd.Series([0.1, 0.2, 0.3, 0.4]))
    names = ["views", "median error, mm", "median absolute error, mm"]
    assert table.loc[("length", "up to 25 mm"), names].tolist() == [2, -1, 3]  # errors 2 and -4
    assert table.loc[("length", "25 to 50 mm"), names].tolist() == [1, 4, 4]
    assert table.loc[("density", "upper half"), names].tolist() == [2, 2, 2]  # errors 4 and 0
