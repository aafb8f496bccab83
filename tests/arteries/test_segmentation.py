"""Segmentation of the calcified artery from a blurred heatmap, on synthetic arteries in noise."""

import numpy as np
import pytest
from drawn_arteries import BLUR_MM, FIELD_MM, blurred, draw_artery, noisy_breast, normalised, places

from bac_utils.arteries.segmentation import BRIGHTEST, contrast, line_response, refine_mask

SPACINGS = [(0.25, 0.25), (0.15, 0.15), (0.2, 0.3), (0.3, 0.2), (0.4, 0.4)]


def overlap(found, true):
    """Return the Dice coefficient."""
    return 2 * (found & true).sum() / (found.sum() + true.sum())


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_artery_is_found_at_every_spacing(spacing):
    view = draw_artery(spacing)
    heat = view.heat()
    found = refine_mask(view.pixels, heat, 0.3, spacing)
    assert (found.dtype, found.shape) == (bool, view.pixels.shape)
    assert overlap(found, view.artery) > 0.7
    assert overlap(found, view.artery) > overlap(heat > 0.3, view.artery) + 0.15
    assert not found[~view.breast].any()


def test_the_area_does_not_depend_on_the_grid():
    areas = [refine_mask(v.pixels, v.heat(), 0.3, s).sum() * s[0] * s[1] for s in SPACINGS for v in [draw_artery(s)]]
    assert np.ptp(areas) / np.mean(areas) < 0.12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_mask_ends_where_the_artery_ends(seed):
    """A fixed threshold would prolong it at each end by more than the standard deviation of the blur."""
    view = draw_artery(span_mm=(35, 60), seed=seed)
    rows = np.flatnonzero(refine_mask(view.pixels, view.heat(), 0.3, view.spacing_mm).any(axis=1)) * 0.25
    assert rows[[0, -1]] == pytest.approx([35, 60], abs=BLUR_MM)


@pytest.mark.parametrize("hottest", [0.35, 0.6, 1.0])
def test_the_mask_hardly_depends_on_the_heat(hottest):
    view = draw_artery()
    usual, found = (refine_mask(view.pixels, view.heat(h), 0.3, view.spacing_mm) for h in (0.9, hottest))
    assert overlap(found, usual) > 0.95


def test_a_view_without_heat_gives_an_empty_mask():
    view = draw_artery()
    for heat in (np.zeros_like(view.pixels), view.heat(0.29), np.where(view.breast, 0, 1)):
        assert not refine_mask(view.pixels, heat, 0.3, view.spacing_mm).any()


def test_a_blank_view_gives_an_empty_mask():
    assert not refine_mask(np.zeros((80, 40)), np.ones((80, 40)), 0.3, (0.5, 0.5)).any()


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("bright", [3, 6])
def test_a_hot_disc_in_uniform_tissue_is_not_an_artery(radius, bright):
    """It is compact and therefore dropped. (In textured tissue, whose lines join it, some discs up to 3 mm remain.)"""
    spacing = (0.25, 0.25)
    y, x = places(spacing)
    _, breast = noisy_breast(spacing)
    noise = np.random.default_rng(0).normal(size=breast.shape).astype(np.float32)
    disc = np.hypot(y - 78, x - 24) < radius
    pixels = np.where(disc, bright, normalised(noise, breast)).astype(np.float32)
    assert not refine_mask(pixels, blurred(disc, spacing), 0.3, spacing).any()


def test_an_artery_without_heat_is_not_segmented():
    view, other = draw_artery(span_mm=(15, 40)), draw_artery(span_mm=(55, 80))
    pixels = np.where(other.artery, other.pixels, view.pixels)
    found = refine_mask(pixels, view.heat(), 0.3, view.spacing_mm)
    assert overlap(found, view.artery) > 0.6
    assert not (found & other.artery).any()


def test_contrast_is_the_rise_above_the_surroundings_in_units_of_the_mean():
    pixels = np.full((60, 60), 1.0, np.float32)
    pixels[:, 40:] = 0  # outside
    pixels[10, 10] = 50.0
    pixels[30:50, 10:30] = 3.0  # a plateau of 5 mm, wider than `GRAIN_MM`
    found = contrast(pixels, (0.25, 0.25))
    assert found.max() == found[10, 10] == BRIGHTEST
    assert (found >= 0).all() and not found[:, 40:].any()
    np.testing.assert_allclose(found[35:45, 15:25], 0, atol=1e-3)
    assert not contrast(np.zeros((8, 8), np.float32), (1, 1)).any()


@pytest.mark.parametrize("pixel_mm", [0.3125, 0.5])
def test_the_response_to_lines_is_isotropic_and_larger_than_to_edges(pixel_mm):
    n = int(40 / pixel_mm)
    y, x = ((np.mgrid[:n, :n] + 0.5) * pixel_mm) - 20
    strongest = []
    for degrees in (0, 15, 30, 70, 90):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        line = (abs(y * c - x * s) < 0.8).astype(np.float32)
        largest, mean = line_response(line, pixel_mm)
        strongest.append(largest[n // 2, n // 2])
        assert mean[n // 2, n // 2] < 0.4 * largest[n // 2, n // 2]
    assert np.ptp(strongest) < 0.15 * np.mean(strongest)
    edge = line_response((x > 0).astype(np.float32), pixel_mm)[0][n // 4 : -n // 4, n // 4 : -n // 4]
    assert edge.max() < 0.6 * np.mean(strongest)
    disc = line_response((np.hypot(y, x) < 1).astype(np.float32), pixel_mm)
    assert disc[1][n // 2, n // 2] > 0.9 * disc[0][n // 2, n // 2]


def test_uniform_brightness_gives_no_response():
    inner = [found[30:-30, 30:-30] for found in line_response(np.ones((120, 120), np.float32), 0.5)]
    np.testing.assert_allclose(inner, 0, atol=1e-5)


def test_invalid_arguments_are_named():
    pixels = np.ones((8, 6), np.float32)
    with pytest.raises(ValueError, match=r"heat: got shape \(8, 5\), must be that of the pixels, \(H, W\) = \(8, 6\)"):
        refine_mask(pixels, np.zeros((8, 5)), 0.3, (1, 1))
    with pytest.raises(ValueError, match=r"heat: got shape \(8,\)"):
        refine_mask(pixels[:, 0], np.zeros(8), 0.3, (1, 1))
    for threshold in (0, 1, 30):
        with pytest.raises(ValueError, match=f"threshold: got {threshold}, must lie between 0 and 1"):
            refine_mask(pixels, np.zeros((8, 6)), threshold, (1, 1))
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"heat: got .*, must lie in \[0, 1\]"):
            refine_mask(pixels, np.full((8, 6), value), 0.3, (1, 1))
    for spacing in (None, (0.1,), (0.1, 0), (0.1, np.inf)):
        with pytest.raises(ValueError, match="spacing_mm: got .*two positive numbers in mm"):
            refine_mask(pixels, np.zeros((8, 6)), 0.3, spacing)


def test_the_synthetic_view_is_normalised():
    view = draw_artery()
    inside = view.pixels[view.breast]
    assert (inside.mean(), inside.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert view.pixels.shape == tuple(int(mm / 0.25) for mm in FIELD_MM)
    assert view.artery.sum() * 0.25**2 / view.length_mm == pytest.approx(2.5, abs=0.05)
