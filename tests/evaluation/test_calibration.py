"""Calibration against hand calculations, scikit-learn, other fits of the same model, and simulated miscalibration."""

import json

import numpy as np
import pytest
from resamples import naive_resamples
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from bac_utils.evaluation.calibration import (
    MEASURES,
    Recalibration,
    apply_recalibration,
    calibration_summary,
    recalibrated,
    reliability_curve,
)
from bac_utils.evaluation.inputs import check_women
from bac_utils.evaluation.logistic import EDGE, fit_weighted
from bac_utils.statistics import percentile_interval


def simulate(women, views=4, intercept=0.0, slope=1.0, seed=0):
    """Labels of which the logit is intercept + slope times that of the score, independent given the scores."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1.5, 1.5, women * views)
    labels = (rng.random(x.size) < expit(intercept + slope * x)).astype(int)
    return labels, expit(x), np.repeat(np.arange(women), views)


def test_summary_by_hand():
    # Two bins of two views: |0.5 - 0.2| and |1 - 0.7|; Brier (0.01 + 0.49 + 0.16 + 0.04) / 4; p (1 - p) = 3 / 16.
    found = calibration_summary([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8], list("abcd"), bins=2)
    assert found["difference"] == pytest.approx(0.75 - 0.45)
    assert found["ece"] == pytest.approx(0.3)
    assert found["brier"] == pytest.approx(0.175)
    assert found["scaled_brier"] == pytest.approx(1 - 0.175 / (3 / 16))
    assert (found["views"], found["women"], found["bac_views"], found["bac_women"]) == (4, 4, 3, 3)
    assert found["slope"] is None  # 0.2 separates the classes
    assert all(found[f"{name}_ci"] == [None, None] for name in MEASURES)


def test_intercept_by_hand_for_equal_scores():
    # Equal scores of 0.2 and 6 of 10 views with BAC: the intercept is the difference of the logits.
    found = calibration_summary([1] * 6 + [0] * 4, [0.2] * 10, range(10))
    assert found["intercept"] == pytest.approx(np.log(6 / 4) - np.log(0.2 / 0.8))
    assert found["slope"] is None


def test_intercept_and_slope_against_other_fits():
    labels, scores, women = simulate(150, intercept=-0.6, slope=0.7)
    found = calibration_summary(labels, scores, women, samples=20)
    line = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(scores)[:, None], labels)
    assert found["slope"] == pytest.approx(line.coef_[0, 0], abs=1e-4)
    assert recalibrated(labels, scores).intercept == pytest.approx(line.intercept_[0], abs=1e-4)
    # The intercept with the logit as offset makes the mean recalibrated score equal to the observed share.
    assert expit(logit(scores) + found["intercept"]).mean() == pytest.approx(labels.mean(), abs=1e-9)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.5, 0.6), (-0.5, 1.5)])
def test_simulated_miscalibration_is_found(intercept, slope):
    labels, scores, women = simulate(6000, 1, intercept, slope)
    found = recalibrated(labels, scores)
    assert found.slope == pytest.approx(slope, abs=0.1)
    assert found.intercept == pytest.approx(intercept, abs=0.12)
    better = apply_recalibration(scores, found)
    after = recalibrated(labels, better)
    assert (after.intercept, after.slope) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    if slope != 1:
        assert ((better - labels) ** 2).mean() < ((scores - labels) ** 2).mean()


def test_intervals_cover_the_truth_and_widen_with_equal_views():
    labels, scores, women = simulate(200, 1, 0.4, 0.8, seed=3)
    once = calibration_summary(labels, scores, women, samples=300)
    low, high = once["slope_ci"]
    assert low < 0.8 < high and low < once["slope"] < high
    # Four equal views of each woman tell no more than one.
    four = calibration_summary(np.repeat(labels, 4), np.repeat(scores, 4), np.repeat(women, 4), samples=300)
    for name in MEASURES:
        assert four[name] == pytest.approx(once[name], abs=1e-6), name
        assert four[f"{name}_ci"] == pytest.approx(once[f"{name}_ci"], abs=1e-6), name


def test_resamples_against_copied_views():
    labels, scores, women = simulate(40, 2, 0.3, 0.9, seed=5)
    found = calibration_summary(labels, scores, women, samples=25, seed=7)
    frame = check_women(women, len(women)).assign(bac=labels, score=scores)
    drawn = []
    for part in naive_resamples(frame, 25, 7):
        design = np.column_stack([np.ones(len(part)), logit(part["score"])])
        drawn.append(GLM(part["bac"].to_numpy(), design, family=Binomial()).fit().params[1])
    assert found["slope_ci"] == pytest.approx(percentile_interval(np.asarray(drawn)), abs=1e-6)


def test_weighted_fits_against_statsmodels():
    labels, scores, _ = simulate(60, 2, seed=8)
    weights = np.random.default_rng(0).integers(0, 4, (5, labels.size)).astype(float)
    found = fit_weighted(labels, weights, [0.0, 1.0], x=logit(scores))
    for row, line in zip(weights, found, strict=True):
        design = np.column_stack([np.ones(labels.size), logit(scores)])
        expected = GLM(labels, design, family=Binomial(), freq_weights=row).fit(tol=1e-12).params
        assert line == pytest.approx(expected, abs=1e-8)


def test_separated_classes_have_no_slope():
    # 0.5 separates the classes but for ties: the likelihood still grows with the slope.
    assert calibration_summary([0, 0, 1, 1], [0.2, 0.5, 0.5, 0.8], list("abcd"))["slope"] is None
    assert calibration_summary([0, 0, 1, 1], [0.8, 0.5, 0.5, 0.2], list("abcd"))["slope"] is None
    assert calibration_summary([0, 1, 0, 1], [0.2, 0.4, 0.5, 0.8], list("abcd"))["slope"] > 0


def test_an_interval_of_the_slope_needs_resamples_that_overlap():
    # Only the two women with scores of 0.6 (BAC-) and 0.4 (BAC+) make the classes overlap.
    labels = np.array([0] * 8 + [1] * 8)
    scores = np.array([0.1, 0.15, 0.2, 0.2, 0.25, 0.3, 0.3, 0.6, 0.4, 0.7, 0.7, 0.75, 0.8, 0.8, 0.85, 0.9])
    found = calibration_summary(labels, scores, range(16), samples=80, seed=1)
    frame = check_women(range(16), 16).assign(bac=labels, score=scores)
    parts = [part.groupby("bac")["score"].agg(["min", "max"]) for part in naive_resamples(frame, 80, 1)]
    separated = sum(len(part) < 2 or part.loc[1, "min"] >= part.loc[0, "max"] for part in parts)
    assert found["undefined_resamples"] == separated > 20
    assert found["slope"] > 0 and found["slope_ci"] == [None, None]
    assert found["intercept_ci"][0] < found["intercept"] < found["intercept_ci"][1]


def test_bins_allow_for_equal_views_of_a_woman():
    labels, scores, women = simulate(100, 1, seed=9)
    once = reliability_curve(labels, scores, women, bins=2, samples=300)
    four = reliability_curve(np.repeat(labels, 4), np.repeat(scores, 4), np.repeat(women, 4), bins=2, samples=300)
    assert four["observed"].tolist() == pytest.approx(once["observed"].tolist())
    widths = [(table["ci_high"] - table["ci_low"]).to_numpy() for table in (once, four)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)  # half as wide if views were independent


def test_curve_against_scikit_learn():
    labels, scores, women = simulate(100, seed=2)
    table = reliability_curve(labels, scores, women, bins=10, samples=100)
    observed, mean = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    assert table["observed"].tolist() == pytest.approx(observed.tolist())
    assert table["mean_score"].tolist() == pytest.approx(mean.tolist())
    assert table["views"].tolist() == [40] * 10
    assert ((table["ci_low"] <= table["observed"]) & (table["observed"] <= table["ci_high"])).all()
    assert (table["bac_views"] / table["views"]).tolist() == pytest.approx(observed.tolist())


def test_equal_scores_stay_in_one_bin():
    table = reliability_curve([0, 1] * 20, [0.5] * 30 + [0.9] * 10, range(40), bins=5, samples=20)
    assert table["views"].tolist() == [30, 10]
    assert reliability_curve([0, 1] * 5, [0.5] * 10, range(10), samples=20)["views"].tolist() == [10]


def test_few_women_have_no_interval():
    table = reliability_curve([0, 1] * 8, np.linspace(0.1, 0.9, 16), np.repeat(range(4), 4), bins=2, samples=20)
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


def test_order_does_not_matter():
    labels, scores, women = simulate(50, seed=4)
    order = np.random.default_rng(0).permutation(labels.size)
    a = calibration_summary(labels, scores, women, samples=20)
    b = calibration_summary(labels[order], scores[order], women[order], samples=20)
    assert {k: b[k] for k in MEASURES} == pytest.approx({k: a[k] for k in MEASURES}, abs=1e-8)


def test_scores_of_0_and_1_are_clipped_for_the_logit_only():
    labels, scores, women = simulate(80, 1, seed=6)
    scores[:2], labels[:2] = [0, 1], [0, 1]
    found = calibration_summary(labels, scores, women, samples=20)
    moved = np.clip(scores, EDGE, 1 - EDGE)
    assert found["clipped"] == 2
    assert found["slope"] == calibration_summary(labels, moved, women, samples=20)["slope"]
    assert found["brier"] == pytest.approx(((labels - scores) ** 2).mean(), abs=1e-15)
    assert ((x := apply_recalibration([0.0, 1.0], Recalibration(0, 1))) > 0).all() and (x < 1).all()


def test_one_class_and_one_view():
    found = calibration_summary([0, 0], [0.1, 0.2], ["a", "b"])
    assert (found["intercept"], found["slope"], found["scaled_brier"]) == (None, None, None)
    assert found["brier"] == pytest.approx(0.025)
    json.dumps(calibration_summary([1], [0.7], ["a"]), allow_nan=False)
    with pytest.raises(ValueError, match="labels: got 0 BAC. of 2 views, must have both classes"):
        recalibrated([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="scores: got scores from 0.1 to 0.8, must be neither all equal nor separate"):
        recalibrated([0, 1], [0.1, 0.8])


@pytest.mark.parametrize(
    ("labels", "scores", "women", "message"),
    [
        ([0, np.nan], [0.1, 0.2], "ab", "labels: got nan at position 1, must be 0 or 1"),
        ([0, 2], [0.1, 0.2], "ab", "labels: got 2 at position 1, must be 0 or 1"),
        ([0, 1], [0.1, np.nan], "ab", "scores: got nan at position 1, must be between 0 and 1"),
        ([0, 1], [0.1, 1.2], "ab", "scores: got 1.2 at position 1, must be between 0 and 1"),
        ([0, 1], [0.1], "ab", "scores: got 1 values, must be 2"),
        ([0, 1], [0.1, 0.2], "a", "women: got 1 values, must be 2"),
        ([0, 1], [0.1, 0.2], ["a", None], "women: got a missing value at position 1"),
        ([], [], [], "labels: got an array of shape"),
        (["x"], [0.1], "a", "labels: got values that are not numbers"),
    ],
)
def test_bad_input_is_named(labels, scores, women, message):
    for function in (calibration_summary, reliability_curve):
        with pytest.raises(ValueError, match=message):
            function(labels, scores, list(women))


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="bins: got 0, must be a whole number of 1 or more"):
        reliability_curve([0, 1], [0.1, 0.2], list("ab"), bins=0)
    with pytest.raises(ValueError, match="slope: got nan, must be finite"):
        Recalibration(0, float("nan"))
