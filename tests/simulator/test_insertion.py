"""Arteries of known length drawn into views."""

import numpy as np
import pytest

from bac_utils.intake.reader import Mammogram
from bac_utils.preprocess import find_breast
from bac_utils.simulator.insertion import insert_artery
from bac_utils.simulator.population import draw_women, render

SPACING = 0.2


@pytest.fixture(scope="module")
def negative():
    pixels, _ = render(draw_women(1, 12, prevalence=0)[0], "L", "MLO", SPACING)
    return Mammogram(pixels, spacing_mm=(SPACING, SPACING), laterality="L", view="MLO")


def test_artery_has_the_asked_length_and_lies_in_the_breast(negative):
    view, mask = insert_artery(negative, 4, length_mm=40, strength=0.6)
    width = mask.sum() * SPACING**2 / 40
    assert 1.5 < width < 3.5
    breast = find_breast(negative.pixels)
    assert breast[mask].all()
    changed = np.abs(view.pixels - negative.pixels) > 0.02
    assert changed[mask].mean() > 0.2
    assert not (view.pixels < negative.pixels).any()
    far = np.ones_like(mask)
    rows, columns = np.nonzero(mask)
    far[rows.min() - 8 : rows.max() + 9, columns.min() - 8 : columns.max() + 9] = False
    np.testing.assert_array_equal(view.pixels[far], negative.pixels[far])


def test_the_view_itself_stays(negative):
    before = negative.pixels.copy()
    insert_artery(negative, 1, 20, 0.5)
    np.testing.assert_array_equal(before, negative.pixels)


def test_same_seed_same_artery_denser_is_brighter(negative):
    faint, mask = insert_artery(negative, 2, 30, 0.2)
    again, _ = insert_artery(negative, 2, 30, 0.2)
    dense, same = insert_artery(negative, 2, 30, 0.9)
    np.testing.assert_array_equal(faint.pixels, again.pixels)
    np.testing.assert_array_equal(mask, same)
    assert dense.pixels[mask].mean() > faint.pixels[mask].mean() > negative.pixels[mask].mean()


def test_brightness_follows_the_views_own_contrast(negative):
    """Twice the grey levels, twice the artery."""
    double = Mammogram(negative.pixels * 2, spacing_mm=negative.spacing_mm)
    one, mask = insert_artery(negative, 3, 30, 0.3)
    two, _ = insert_artery(double, 3, 30, 0.3)
    np.testing.assert_allclose(two.pixels[mask], 2 * one.pixels[mask], rtol=1e-3, atol=1e-3)


def test_bad_arguments_are_named(negative):
    with pytest.raises(ValueError, match="seed: got -1"):
        insert_artery(negative, -1, 30, 0.5)
    with pytest.raises(ValueError, match="length_mm: got 2, must be at least 5"):
        insert_artery(negative, 1, 2, 0.5)
    with pytest.raises(ValueError, match=r"strength: got 1\.5"):
        insert_artery(negative, 1, 20, 1.5)
    with pytest.raises(ValueError, match="finds no room"):
        insert_artery(negative, 1, 3000, 0.5)
    bare = Mammogram(negative.pixels)
    with pytest.raises(ValueError, match="pixel_spacing_mm: got None"):
        insert_artery(bare, 1, 20, 0.5)
    assert insert_artery(bare, 1, 20, 0.5, pixel_spacing_mm=SPACING)[1].any()


def test_views_that_cannot_be_drawn_into_are_refused(negative):
    for spacing in (-0.1, float("nan"), float("inf"), 0.0):
        with pytest.raises(ValueError, match="pixel_spacing_mm: got .*, must be a positive number of mm"):
            insert_artery(Mammogram(negative.pixels), 1, 20, 0.5, pixel_spacing_mm=spacing)
    with pytest.raises(ValueError, match="length_mm: got inf, must be at least 5 and finite"):
        insert_artery(negative, 1, float("inf"), 0.5)
    with pytest.raises(ValueError, match=r"spacing of 0\.1 and 0\.2 mm, must be the same"):
        insert_artery(Mammogram(negative.pixels, spacing_mm=(0.1, 0.2)), 1, 20, 0.5)
    pixels = negative.pixels.copy()
    pixels[10, 10] = np.inf
    with pytest.raises(ValueError, match="pixels that are not finite"):
        insert_artery(Mammogram(pixels, spacing_mm=negative.spacing_mm), 1, 20, 0.5)
    flat = np.where(find_breast(negative.pixels), 0.5, 0).astype(np.float32)
    flat[flat.shape[0] // 2, 50] = 0.6
    with pytest.raises(ValueError, match=r"one grey level \(0\.6\), must have contrast"):
        insert_artery(Mammogram(flat, spacing_mm=negative.spacing_mm), 1, 20, 0.5)


def test_it_stays_below_the_brightest_grey_and_out_of_an_implant(negative):
    breast = find_breast(negative.pixels)
    rows, columns = np.nonzero(breast)
    y, x = np.mgrid[: breast.shape[0], : breast.shape[1]]
    disc = np.hypot(y - np.median(rows), x - np.median(columns)) < 25 / SPACING
    bright = np.where(disc & breast, negative.pixels.max() * 1.2, negative.pixels)
    for pixels in (negative.pixels, bright):
        for seed in range(4):
            view, mask = insert_artery(Mammogram(pixels, spacing_mm=negative.spacing_mm), seed, 25, 0.9)
            assert view.pixels.max() <= pixels.max() * (1 + 1e-5)
            assert not (mask & disc).any() or pixels is negative.pixels


def test_an_offset_of_the_grey_levels_changes_nothing_else(negative):
    moved = Mammogram(negative.pixels + 3, spacing_mm=negative.spacing_mm)
    one, mask = insert_artery(negative, 3, 30, 0.5)
    two, same = insert_artery(moved, 3, 30, 0.5)
    np.testing.assert_array_equal(mask, same)
    np.testing.assert_allclose(two.pixels - 3, one.pixels, atol=2e-3)
