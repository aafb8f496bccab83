"""Insertion of arteries of known length into views."""

import numpy as np
import pytest

from bac_utils.preprocess import find_breast
from bac_utils.simulator.insertion import insert_artery
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render

SPACING = 0.2


@pytest.fixture(scope="module")
def negative():
    """Return the pixels and the breast mask of a view without BAC."""
    pixels, _ = render(draw_women(1, 12, prevalence=0)[0], "L", "MLO", SPACING)
    return pixels, find_breast(pixels)


def test_artery_has_the_requested_length_and_lies_in_the_breast(negative):
    pixels, breast = negative
    result, mask = insert_artery(pixels, breast, SPACING, 4, length_mm=40, strength=0.6)
    assert (result.dtype, result.shape, mask.dtype, mask.shape) == (np.float32, pixels.shape, bool, pixels.shape)
    width = mask.sum() * SPACING**2 / 40
    assert 1.5 < width < 3.5
    assert breast[mask].all()
    changed = np.abs(result - pixels) > 0.02
    assert changed[mask].mean() > 0.2
    assert not (result < pixels).any()
    far = np.ones_like(mask)
    rows, columns = np.nonzero(mask)
    far[rows.min() - 8 : rows.max() + 9, columns.min() - 8 : columns.max() + 9] = False
    np.testing.assert_array_equal(result[far], pixels[far])


def test_the_input_is_not_changed(negative):
    pixels, breast = negative
    before = pixels.copy(), breast.copy()
    insert_artery(pixels, breast, SPACING, 1, 20, 0.5)
    np.testing.assert_array_equal(before[0], pixels)
    np.testing.assert_array_equal(before[1], breast)


def test_the_seed_determines_the_artery_and_the_strength_its_brightness(negative):
    faint, mask = insert_artery(*negative, SPACING, 2, 30, 0.2)
    again, _ = insert_artery(*negative, SPACING, 2, 30, 0.2)
    dense, same = insert_artery(*negative, SPACING, 2, 30, 0.9)
    np.testing.assert_array_equal(faint, again)
    np.testing.assert_array_equal(mask, same)
    assert dense[mask].mean() > faint[mask].mean() > negative[0][mask].mean()


def test_brightness_scales_with_the_contrast_of_the_view(negative):
    """Twice the grey levels, twice the artery."""
    pixels, breast = negative
    one, mask = insert_artery(pixels, breast, SPACING, 3, 30, 0.3)
    two, _ = insert_artery(pixels * 2, breast, SPACING, 3, 30, 0.3)
    np.testing.assert_allclose(two[mask], 2 * one[mask], rtol=1e-3, atol=1e-3)


def test_an_offset_of_the_grey_levels_changes_nothing_else(negative):
    pixels, breast = negative
    one, mask = insert_artery(pixels, breast, SPACING, 3, 30, 0.5)
    two, same = insert_artery(pixels + 3, breast, SPACING, 3, 30, 0.5)
    np.testing.assert_array_equal(mask, same)
    np.testing.assert_allclose(two - 3, one, atol=2e-3)


def test_arguments_out_of_range_are_named(negative):
    with pytest.raises(ValueError, match="seed: got -1, must be at least 0"):
        insert_artery(*negative, SPACING, -1, 30, 0.5)
    with pytest.raises(ValueError, match="length_mm: got 2, must be at least 5"):
        insert_artery(*negative, SPACING, 1, 2, 0.5)
    with pytest.raises(ValueError, match="length_mm: got inf, must be at least 5 and finite"):
        insert_artery(*negative, SPACING, 1, float("inf"), 0.5)
    with pytest.raises(ValueError, match=r"strength: got 1\.5"):
        insert_artery(*negative, SPACING, 1, 20, 1.5)
    with pytest.raises(ValueError, match="length_mm: got 3000, must fit in the breast, 10 mm from the skin"):
        insert_artery(*negative, SPACING, 1, 3000, 0.5)
    for spacing in (-0.1, float("nan"), float("inf"), 0.0):
        with pytest.raises(ValueError, match="spacing_mm: got .*, must be a positive number of mm"):
            insert_artery(*negative, spacing, 1, 20, 0.5)


def test_views_without_a_breast_or_contrast_are_refused(negative):
    pixels, breast = negative
    broken = pixels.copy()
    broken[10, 10] = np.inf
    with pytest.raises(ValueError, match="pixels: got values that are not finite"):
        insert_artery(broken, breast, SPACING, 1, 20, 0.5)
    with pytest.raises(ValueError, match=r"breast: got shape \(9, 9\), must be the shape of pixels"):
        insert_artery(pixels, np.ones((9, 9), bool), SPACING, 1, 20, 0.5)
    with pytest.raises(ValueError, match="breast: got an empty mask"):
        insert_artery(pixels, np.zeros_like(breast), SPACING, 1, 20, 0.5)
    flat = np.where(breast, 0.5, 0).astype(np.float32)
    flat[flat.shape[0] // 2, 50] = 0.6
    with pytest.raises(ValueError, match=r"pixels: got one grey level in the breast \(0\.6\), must have contrast"):
        insert_artery(flat, breast, SPACING, 1, 20, 0.5)


def test_it_stays_below_the_brightest_grey_level_and_out_of_an_implant(negative):
    plain, breast = negative
    rows, columns = np.nonzero(breast)
    y, x = np.mgrid[: breast.shape[0], : breast.shape[1]]
    disc = np.hypot(y - np.median(rows), x - np.median(columns)) < 25 / SPACING
    bright = np.where(disc & breast, plain.max() * 1.2, plain)
    for pixels in (plain, bright):
        for seed in range(4):
            result, mask = insert_artery(pixels, find_breast(pixels), SPACING, seed, 25, 0.9)
            assert result.max() <= pixels.max() * (1 + 1e-5)
            assert not (mask & disc).any() or pixels is plain
