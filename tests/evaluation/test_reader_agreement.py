"""Agreement of readers against published examples, statsmodels and hand calculations."""

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from bac_utils.evaluation.reader_agreement import (
    icc_agreement,
    percent_agreement,
    reader_lengths,
    weighted_kappa,
)
from bac_utils.statistics import percentile_interval, share_interval

# Shrout & Fleiss 1979, Table 2: six targets, four judges.
TARGETS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def pairs(table):
    """The two readers' grades, given how often each pair of grades occurs."""
    found = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [list(side) for side in zip(*found, strict=True)]


def test_icc_published_example():
    found = icc_agreement(TARGETS)
    assert found["icc"] == pytest.approx(0.29, abs=0.005)
    # R's psych::ICC gives 0.019 to 0.76 for the same table.
    assert found["ci"] == pytest.approx([0.019, 0.76], abs=0.002)
    assert (found["n"], found["readers"]) == (6, 4)


def test_icc_from_published_mean_squares():
    # Shrout & Fleiss 1979, Table 3: between targets 11.24, between judges 32.49, residual 1.02.
    expected = (11.24 - 1.02) / (11.24 + 3 * 1.02 + 4 * (32.49 - 1.02) / 6)
    assert icc_agreement(TARGETS)["icc"] == pytest.approx(expected, abs=0.001)


def test_icc_invariances():
    table = np.array(TARGETS, float)
    rng = np.random.default_rng(0)
    shuffled = table[rng.permutation(6)][:, rng.permutation(4)]
    for other in (shuffled, 2.5 * table - 7):
        found = icc_agreement(other)
        assert found["icc"] == pytest.approx(icc_agreement(table)["icc"])
        assert found["ci"] == pytest.approx(icc_agreement(table)["ci"])


def test_icc_covers_a_known_value():
    # Variances 4 between rows, 1 between readers and 1 within: ICC = 4 / 6.
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        readings = 2 * rng.normal(size=(40, 1)) + rng.normal(size=(1, 6)) + rng.normal(size=(40, 6))
        low, high = icc_agreement(readings)["ci"]
        hits += low <= 4 / 6 <= high
    assert hits >= stats.binom.ppf(0.001, 200, 0.95)


def test_icc_limits():
    assert icc_agreement([[1, 1], [1, 1]])["icc"] is None
    exact = icc_agreement([[1, 1], [2, 2], [5, 5]])
    assert (exact["icc"], exact["ci"]) == (pytest.approx(1), [None, None])
    assert icc_agreement([[1, 2], [2, 1], [1, 2], [2, 1.5]])["icc"] < 0
    with pytest.raises(ValueError, match=r"readings: got an array of shape \(1, 2\), must be two or more rows"):
        icc_agreement([[1, 2]])
    with pytest.raises(ValueError, match="readings: got nan in row 1, reader 0, must be finite"):
        icc_agreement([[1, 2], [np.nan, 1]])


def test_kappa_by_hand():
    # 50 views, both yes 20, both no 15: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5, so kappa 0.4.
    first, second = pairs([[20, 5], [10, 15]])
    assert weighted_kappa(first, second, (0, 1), None, samples=20)["kappa"] == pytest.approx(0.4)
    assert percent_agreement(first, second, samples=20)["agreement"] == pytest.approx(0.7)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_against_statsmodels(weights):
    table = [[11, 3, 1, 0], [1, 9, 4, 0], [0, 3, 10, 2], [1, 0, 2, 3]]
    found = weighted_kappa(*pairs(table), (0, 1, 2, 3), weights, samples=20)
    expected = cohens_kappa(table, wt=weights, return_results=False)
    assert found["kappa"] == pytest.approx(expected)
    assert weighted_kappa(*pairs(table)[::-1], (0, 1, 2, 3), weights, samples=20)["kappa"] == pytest.approx(expected)


def test_a_grade_that_nobody_gave_keeps_its_step():
    first, second = [0, 0, 1, 3, 3], [0, 1, 1, 3, 0]
    found = weighted_kappa(first, second, (0, 1, 2, 3), "linear", samples=20)["kappa"]
    # Observed 1 and 3 steps; expected by chance: sum over grades of shares times steps.
    p, q = np.array([0.4, 0.2, 0, 0.4]), np.array([0.4, 0.4, 0, 0.2])
    steps = np.abs(np.subtract.outer(range(4), range(4)))
    assert found == pytest.approx(1 - (4 / 5) / (p @ steps @ q))
    assert found != pytest.approx(cohen_kappa_score(first, second, weights="linear"))


def test_kappa_interval_against_copied_views():
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(20), 2)
    first = rng.integers(0, 3, 40)
    second = np.clip(first + rng.integers(-1, 2, 40), 0, 2)
    found = weighted_kappa(first, second, (0, 1, 2), "linear", women, samples=30, seed=5)
    frame = pd.DataFrame({"patient_id": women, "a": first, "b": second})
    drawn = [cohen_kappa_score(p["a"], p["b"], weights="linear") for p in naive_resamples(frame, 30, 5)]
    assert found["ci"] == pytest.approx(percentile_interval(np.array(drawn)))


def test_kappa_and_agreement_at_their_limits():
    assert weighted_kappa([1, 1], [1, 1], (0, 1)) == {"n": 2, "kappa": None, "ci": [None, None]}
    same = weighted_kappa(["no", "yes"] * 4, ["no", "yes"] * 4, ("no", "yes"), samples=20)
    assert (same["kappa"], same["ci"]) == (1, [1, 1])
    all_agree = percent_agreement([0, 1] * 10, [0, 1] * 10, samples=20)
    assert all_agree["ci"] == pytest.approx(share_interval(1.0, 20))
    few = percent_agreement([0, 1, 1, 0], [0, 1, 1, 1], ["a", "a", "b", "b"], samples=20)
    assert (few["agreement"], few["ci"]) == (0.75, [None, None])


def test_lengths_by_hand():
    found = reader_lengths([10, 20, 33], [12, 20, 30])
    mean, spread = 1 / 3, 1.96 * np.std([-2, 0, 3], ddof=1)
    assert found["mean_difference_mm"] == pytest.approx(mean)
    assert found["limits_of_agreement_mm"] == pytest.approx([mean - spread, mean + spread])
    assert (found["views"], found["median_absolute_difference_mm"]) == (3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighted_kappa([0], [4], (0, 1)), "second: got 4 at position 0, must be one of"),
        (lambda: weighted_kappa([float("nan")], [0], (0, 1)), "first: got nan at position 0"),
        (lambda: weighted_kappa([0], [0, 1], (0, 1)), "second: got 2 values, must be 1"),
        (lambda: weighted_kappa([0], [0], (0, 0)), "grades: got .*, must be two or more different grades"),
        (lambda: weighted_kappa([0], [0], (0, 1), "cubic"), "weights: got 'cubic', must be None, linear or quadratic"),
        (lambda: percent_agreement([], []), "first: got no values, must be one or more"),
        (lambda: percent_agreement([None], [1]), "first: got no grade at position 0"),
        (lambda: reader_lengths([0.0], [1.0]), "first: got 0 mm at position 0, must be above 0"),
        (lambda: reader_lengths([1.0], [np.nan]), "second: got nan mm at position 0, must be above 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
