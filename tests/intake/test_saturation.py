"""The share of a breast's pixels that are black or white: arrays with known shares."""

import numpy as np
import pytest

from bac_utils.intake.saturation import saturated_share

ROWS, COLUMNS = np.mgrid[:800, :600]
MASK = COLUMNS < 400


def breast(black=0.0, white=0.0, rim=0):
    """Return grey levels that are spread evenly in the breast, with shares cut off, and a dark rim of some pixels."""
    levels = np.random.default_rng(1).permutation(MASK.sum()) / MASK.sum()
    image = np.zeros(MASK.shape, np.float32)
    image[MASK] = 1000 + 2000 * np.clip((levels - black) / (1 - black - white), 0, 1)
    image[(400 - rim <= COLUMNS) & MASK] = 1000
    return image


@pytest.mark.parametrize(("black", "white"), [(0, 0), (0.05, 0), (0, 0.1), (0.05, 0.1)])
def test_the_share_that_is_cut_off(black, white):
    """Of the others, 1 % lie by chance within half a percent of the ends."""
    expected = black + white + 0.01 * (1 - black - white)
    for image in (breast(black, white), 5 - 7 * breast(black, white)):
        assert saturated_share(image, MASK) == pytest.approx(expected, abs=0.003)
    small = breast(black, white)[::8, ::8], MASK[::8, ::8]
    assert saturated_share(*small) == pytest.approx(expected, abs=0.015)


def test_a_dark_rim_is_no_saturation():
    assert saturated_share(breast(rim=5), MASK) == pytest.approx(0.01, abs=0.003)
    assert saturated_share(breast(rim=100), MASK) > 0.2


def test_a_thin_or_even_breast():
    thin = np.zeros((50, 40), bool)
    thin[20, :4] = True
    assert saturated_share(np.arange(2000.0).reshape(50, 40), thin) == 0.5  # the first and the last of four
    assert saturated_share(np.full((50, 40), 3.0), thin) == 1
