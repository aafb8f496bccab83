"""Net benefit by hand for ten views, against its definition, and at its limits."""

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples

from bac_utils.evaluation.decision_curve import decision_curve
from bac_utils.statistics import percentile_interval

LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.6, 0.2, 0.7, 0.5, 0.3, 0.2, 0.1, 0.0]


def test_ten_views_by_hand():
    table = decision_curve(LABELS, SCORES, range(10), (0.2, 0.5, 0.8)).set_index("threshold")
    # At 0.2: 4 true and 4 false positives, odds 1/4. At 0.5: 3 and 2, odds 1. At 0.8: 2 and 0.
    assert table["net_benefit"].tolist() == pytest.approx([0.4 - 0.4 / 4, 0.3 - 0.2, 0.2])
    assert table["treat_all"].tolist() == pytest.approx([0.4 - 0.6 / 4, 0.4 - 0.6, 0.4 - 0.6 * 4])
    assert table["treat_none"].tolist() == [0, 0, 0]
    assert table["over_default"].tolist() == pytest.approx([0.05, 0.1, 0.2])
    assert table["ci_low"].isna().all()  # 4 BAC+ women


def test_stated_prevalence_by_hand():
    table = decision_curve(LABELS, SCORES, range(10), (0.5,), prevalence=0.1)
    assert table["net_benefit"][0] == pytest.approx(3 / 4 * 0.1 - 2 / 6 * 0.9)
    assert table["treat_all"][0] == pytest.approx(0.1 - 0.9)
    same = decision_curve(LABELS, SCORES, range(10), prevalence=0.4)
    pd.testing.assert_frame_equal(same, decision_curve(LABELS, SCORES, range(10)))


def test_useless_and_perfect_scores():
    labels = np.array([0, 1] * 10)
    points = (0.1, 0.3, 0.6)
    perfect = decision_curve(labels, labels.astype(float), range(20), points, samples=50)
    assert perfect["net_benefit"].tolist() == pytest.approx([0.5] * 3)
    constant = decision_curve(labels, np.full(20, 0.5), range(20), points, samples=50)
    assert constant["net_benefit"].tolist() == pytest.approx([*constant["treat_all"][:2], 0.0])


@pytest.mark.parametrize("prevalence", [None, 0.2])
def test_intervals_against_copied_views(prevalence):
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(20), 2)
    labels = (women % 3 == 0).astype(int)
    scores = np.clip(rng.normal(0.3 + 0.3 * labels, 0.2), 0, 1).round(2)
    found = decision_curve(labels, scores, women, (0.4,), prevalence, samples=40, seed=3).iloc[0]
    frame = pd.DataFrame({"patient_id": women, "bac": labels, "score": scores})
    drawn, over = [], []
    for part in naive_resamples(frame, 40, 3):
        called, bac = part["score"] >= 0.4, part["bac"] == 1
        share = bac.mean() if prevalence is None else prevalence
        odds = 0.4 / 0.6
        drawn.append(called[bac].mean() * share - called[~bac].mean() * (1 - share) * odds)
        over.append(drawn[-1] - max(share - (1 - share) * odds, 0))
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(percentile_interval(np.array(drawn)))
    assert [found["over_low"], found["over_high"]] == pytest.approx(percentile_interval(np.array(over)))


def test_order_and_duplicated_views_do_not_matter():
    order = np.random.default_rng(0).permutation(10)
    first = decision_curve(LABELS, SCORES, range(10))
    again = decision_curve(np.array(LABELS)[order], np.array(SCORES)[order], order)
    twice = decision_curve(LABELS * 2, SCORES * 2, [*range(10), *range(10)])
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, twice)


def test_one_class_and_bad_input():
    table = decision_curve([0, 0], [0.1, 0.6], ["a", "b"], (0.5,))
    assert table["net_benefit"].tolist() == [-0.5] and table["treat_all"].tolist() == [-1]
    with pytest.raises(ValueError, match="labels: got 0 BAC. of 2, must have both for a prevalence"):
        decision_curve([0, 0], [0.1, 0.6], ["a", "b"], (0.5,), prevalence=0.1)
    for points in ((0.0,), (1.0,), (float("nan"),)):
        with pytest.raises(ValueError, match="thresholds: got .*, must be above 0 and below 1"):
            decision_curve(LABELS, SCORES, range(10), points)
    with pytest.raises(ValueError, match="prevalence: got 1, must be above 0 and below 1"):
        decision_curve(LABELS, SCORES, range(10), prevalence=1)
    with pytest.raises(ValueError, match="scores: got 1.5 at position 0, must be between 0 and 1"):
        decision_curve([1], [1.5], ["a"])
