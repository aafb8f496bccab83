"""Differences of cohorts by hand, against scipy, and the counting of women."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bac_utils.evaluation.shift import categorical_shift, numeric_shift


def table(ages, women=None, **columns):
    ids = range(len(ages)) if women is None else women
    return pd.DataFrame({"patient_id": list(ids), "age": ages, **columns})


def test_numbers_by_hand():
    # Means 2 and 4, both variances 1: smd 2. The distributions differ most from 3 on: 3/3 - 1/3.
    row = numeric_shift(table([1, 2, 3]), table([3, 4, 5]), ["age"]).iloc[0]
    assert (row["smd"], row["ks"]) == (2, pytest.approx(2 / 3))
    assert (row["n_first"], row["median_first"], row["q1_first"], row["q3_first"]) == (3, 2, 1.5, 2.5)
    assert (row["counted"], row["median_second"]) == ("women", 4)
    # Unequal variances 2 and 8: root of their mean.
    row = numeric_shift(table([0, 2]), table([0, 4]), ["age"], of_women=()).iloc[0]
    assert (row["smd"], row["counted"]) == (pytest.approx(1 / np.sqrt(5)), "views")


def test_a_woman_counts_once_for_her_age_and_each_view_for_its_score():
    first = table([50, 50, 50, 70], ["a", "a", "a", "b"], score=[0.1, 0.2, 0.3, 0.4])
    second = table([np.nan, 60, 80, 80], ["c", "c", "d", "d"], score=[0.1, 0.2, 0.3, np.nan])
    found = numeric_shift(first, second, ["age", "score"]).set_index("column")
    assert found["n_first"].to_dict() == {"age": 2, "score": 4}
    assert found["median_first"].to_dict() == pytest.approx({"age": 60, "score": 0.25})
    assert (found.loc["age", "n_second"], found.loc["age", "median_second"]) == (2, 70)
    assert found["missing_second"].to_dict() == {"age": 0, "score": 1}


def test_distance_against_scipy_and_no_shift():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=80), rng.normal(0.5, 2, 90)
    row = numeric_shift(table(a), table(b), ["age"]).iloc[0]
    assert row["ks"] == stats.ks_2samp(a, b).statistic
    assert row["smd"] == pytest.approx((b.mean() - a.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    back = numeric_shift(table(b), table(a), ["age"]).iloc[0]
    assert (back["smd"], back["ks"]) == (pytest.approx(-row["smd"]), pytest.approx(row["ks"]))
    same = numeric_shift(table(a), table(a[::-1]), ["age"]).iloc[0]
    assert (same["smd"], same["ks"]) == (pytest.approx(0), 0)
    # More of the same: the sizes stay as they are.
    more = numeric_shift(table(np.tile(a, 5)), table(np.tile(b, 5)), ["age"]).iloc[0]
    assert (more["smd"], more["ks"]) == (pytest.approx(row["smd"], rel=0.01), pytest.approx(row["ks"]))


def test_one_view_constant_and_empty_columns():
    row = numeric_shift(table([1]), table([2.0, 3]), ["age"]).iloc[0]
    assert np.isnan(row["smd"]) and row["ks"] == 1
    constant = numeric_shift(table([1, 1]), table([1, 1]), ["age"]).iloc[0]
    assert (constant["smd"], constant["ks"]) == (0, 0)
    assert np.isnan(numeric_shift(table([1, 1]), table([2, 2]), ["age"]).iloc[0]["smd"])
    empty = numeric_shift(table([np.nan]), table([2, 2]), ["age"]).iloc[0]
    assert empty["n_first"] == 0 and np.isnan(empty["ks"]) and np.isnan(empty["median_first"])


def test_shares_by_hand():
    first = table([1] * 4, view=["CC", "CC", "CC", "MLO"])
    second = table([1] * 5, view=["CC", "MLO", "MLO", "MLO", ""])
    found = categorical_shift(first, second, ["view"]).set_index("value")
    assert found["share_first"].to_dict() == {"CC": 0.75, "MLO": 0.25}
    assert found["n_second"].to_dict() == {"CC": 1, "MLO": 3}
    assert found["difference"].to_dict() == {"CC": -0.5, "MLO": 0.5}
    assert found.loc["MLO", "smd"] == pytest.approx(0.5 / np.sqrt(3 / 16))  # p (1 - p) = 3 / 16 on both sides


def test_values_of_one_side_and_of_women():
    first = table([1] * 3, ["a", "a", "b"], vendor=["x", "x", "y"])
    second = table([1] * 2, ["c", "d"], vendor=["z", "z"])
    by_view = categorical_shift(first, second, ["vendor"]).set_index("value")
    assert by_view["share_first"].to_dict() == pytest.approx({"x": 2 / 3, "y": 1 / 3, "z": 0})
    by_woman = categorical_shift(first, second, ["vendor"], of_women=["vendor"]).set_index("value")
    assert by_woman["share_first"].to_dict() == {"x": 0.5, "y": 0.5, "z": 0}
    assert np.isnan(by_woman.loc["z", "smd"])  # 0 against all: no variance
    numbers = categorical_shift(first.assign(bac=[0, 1, 1]), second.assign(bac=0), ["bac"])
    assert numbers["value"].tolist() == [0, 1]


def test_bad_input_is_named():
    good = table([1, 2])
    with pytest.raises(ValueError, match="second.age: got 'old', must be a finite number or empty"):
        numeric_shift(good, table([1, "old"]), ["age"])
    with pytest.raises(ValueError, match="first.age: got inf, must be a finite number"):
        numeric_shift(table([1, np.inf]), good, ["age"])
    with pytest.raises(ValueError, match="first: got columns patient_id, age, must also have score"):
        numeric_shift(good, good, ["score"])
    with pytest.raises(ValueError, match="second: got no rows"):
        categorical_shift(good, good[:0], ["age"])


def test_rounding_is_no_variance():
    """0.1 + 0.2 and 0.3 differ by rounding only: no number of standard deviations follows from that."""
    first = pd.DataFrame({"spacing_mm": [0.3, 0.1 + 0.2, 0.3]})
    found = numeric_shift(first, pd.DataFrame({"spacing_mm": [0.2, 0.2, 0.2]}), ["spacing_mm"])
    assert np.isnan(found["smd"].iloc[0]) and found["ks"].iloc[0] == 1
    assert numeric_shift(first, first[::-1], ["spacing_mm"])["smd"].iloc[0] == 0
