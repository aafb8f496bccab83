"""Losses and shares against sums by hand."""

import numpy as np
import pytest
from scipy.special import expit

from bac_utils.methods.losses import cross_entropy, dice_and_cross_entropy, dice_loss
from bac_utils.methods.shares import dice, hottest, share_near, top_mean


def test_dice_and_cross_entropy_by_hand():
    # probabilities 0.5, 0.5, 0.9, 0.1 and outlines 1, 0, 1, 0
    logits = np.array([0.0, 0.0, np.log(9), -np.log(9)], np.float32).reshape(1, 2, 2, 1)
    outlines = np.array([1.0, 0, 1, 0], np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(expit(logits).ravel(), [0.5, 0.5, 0.9, 0.1], atol=1e-6)
    by_hand = 1 - 2 * (0.5 + 0.9) / (2.0 + 2.0)
    entropy = -(2 * np.log(0.5) + 2 * np.log(0.9)) / 4
    assert float(dice_loss(outlines, logits)) == pytest.approx(by_hand, abs=1e-6)
    assert float(cross_entropy(outlines, logits)) == pytest.approx(entropy, abs=1e-6)
    assert float(dice_and_cross_entropy(outlines, logits)) == pytest.approx(by_hand + entropy, abs=1e-6)


def test_a_batch_without_bac_has_a_finite_loss():
    empty = np.zeros((2, 4, 4, 1), np.float32)
    assert float(dice_loss(empty, np.full_like(empty, -3))) == pytest.approx(1, abs=1e-5)
    assert float(dice_loss(empty, np.full_like(empty, 30))) == pytest.approx(1, abs=1e-5)


def test_dice_of_masks():
    a, b = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert dice(a, b) == 1
    a[0, :2], b[0, 1:3] = True, True
    assert dice(a, b) == 0.5
    with pytest.raises(ValueError, match=r"outline: got shape \(1, 4\), must be that of the mask, \(2, 4\)"):
        dice(a, b[:1])


def test_share_of_the_hottest_pixels_near_the_ground_truth():
    heat, outline = np.zeros((40, 40), np.float32), np.zeros((40, 40), bool)
    outline[20, 10:30] = True
    # 10 mm2 are 40 pixels of 0.25 mm2: 20 on the line and 20 far away
    heat[20, 10:30], heat[2, 10:30] = 1.0, 0.9
    assert hottest(heat, (0.5, 0.5)).sum() == 40
    assert share_near(heat, outline, (0.5, 0.5)) == 0.5
    heat[2] = 0
    heat[24, 10:30] = 0.9  # 4 rows are exactly 2 mm
    assert share_near(heat, outline, (0.5, 0.5)) == 1
    assert share_near(heat, outline, (0.51, 0.5)) == pytest.approx(20 / 39)  # 39 pixels, and now beyond 2 mm
    assert share_near(np.zeros_like(heat), outline, (0.5, 0.5)) == 0
    with pytest.raises(ValueError, match="outline: got 0 pixels"):
        share_near(heat, np.zeros_like(outline), (0.5, 0.5))


def test_mean_of_the_hottest_area():
    heat = np.arange(100.0).reshape(10, 10)
    assert top_mean(heat, (1.0, 1.0)) == np.arange(90, 100).mean()
    assert top_mean(heat, (10.0, 10.0)) == 99
    assert top_mean(heat, None, 0.09 * 2) == 98.5
