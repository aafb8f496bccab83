"""Areas and lengths against values counted by hand."""

import numpy as np
import pytest
from drawn_arteries import draw_artery

from bac_utils.arteries.centerlines import trace_vessels
from bac_utils.arteries.segmentation import refine_mask
from bac_utils.quantify import (
    bac_area,
    bac_length,
    bac_region,
    dense_share,
    measure,
    measure_arteries,
    upsample_map,
)

EVERYWHERE = np.ones((8, 8), bool)


def test_upsampling_is_bilinear_between_pixel_centres():
    # 2 -> 4 pixels: centres at 0.125, 0.375, 0.625, 0.875 of the field, the map's at 0.25 and 0.75.
    expected = np.outer(np.ones(2), [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(upsample_map(np.array([[0, 1.0]]), (2, 4)), expected)
    np.testing.assert_allclose(upsample_map(np.array([[0], [1.0]]), (4, 2)), expected.reshape(2, 4).T)
    assert upsample_map(np.full((3, 2), 0.5), (96, 32)).dtype == np.float32
    np.testing.assert_array_equal(upsample_map(np.full((3, 2), 0.5), (96, 32)), 0.5)


def test_known_area_in_same_area_out():
    heat = np.zeros((8, 8))
    heat[2:5, 1:5] = 0.7  # 3 rows x 4 columns
    assert bac_area(heat, (8, 8), 0.3, (0.5, 0.2), EVERYWHERE) == (pytest.approx(12 * 0.5 * 0.2), "mm2")
    assert bac_area(heat, (8, 8), 0.3, None, EVERYWHERE) == (12.0, "px")
    assert bac_area(heat, (8, 8), 0.7, None, EVERYWHERE) == (0.0, "px")  # G > Th, not >=


def test_area_counts_the_upsampled_map_inside_the_breast_only():
    heat = np.array([[0.0, 1.0]])  # over 8 columns: 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1
    assert bac_area(heat, (8, 8), 0.3, (1, 1), EVERYWHERE) == (40.0, "mm2")
    mask = EVERYWHERE.copy()
    mask[:, 6:] = False
    mask[:4] = False
    assert bac_area(heat, (8, 8), 0.3, (1, 1), mask) == (12.0, "mm2")
    assert bac_region(heat, (8, 8), 0.3, mask).sum() == 12
    assert bac_area(heat, (8, 8), 0.3, (1, 1), np.zeros((8, 8), bool)) == (0.0, "mm2")


def test_area_in_mm2_does_not_depend_on_the_grid():
    y, x = np.mgrid[:64, :64] / 64 + 1 / 128
    heat = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.02)  # above 0.3 within a radius of sqrt(-0.02 ln 0.3)
    true = np.pi * 0.02 * -np.log(0.3) * 100 * 50
    for shape in ((256, 256), (512, 128)):
        area, _ = bac_area(heat, shape, 0.3, (100 / shape[0], 50 / shape[1]), np.ones(shape, bool))
        assert area == pytest.approx(true, rel=0.01)


def drawn(*pixels, shape=(12, 12)):
    binary = np.zeros(shape, bool)
    for row, column in pixels:
        binary[row, column] = True
    return binary


@pytest.mark.parametrize(
    ("binary", "expected"),
    [
        (drawn(), 0.0),
        (drawn((5, 5)), 0.0),
        (drawn(*[(5, c) for c in range(2, 10)]), 7 * 0.2),  # across: column spacing
        (drawn(*[(r, 5) for r in range(2, 10)]), 7 * 0.5),  # down: row spacing
        (drawn(*[(k, k) for k in range(2, 10)]), 7 * np.hypot(0.5, 0.2)),
        (drawn(*[(k, 11 - k) for k in range(2, 10)]), 7 * np.hypot(0.5, 0.2)),
        (drawn(*[(2, c) for c in range(1, 4)], *[(8, c) for c in range(3, 9)]), 2 * 0.2 + 5 * 0.2),  # two pieces
    ],
    ids=["empty", "one pixel", "across", "down", "falling", "rising", "two pieces"],
)
def test_length_of_thin_lines(binary, expected):
    assert bac_length(binary, (0.5, 0.2)) == pytest.approx(expected)


def test_length_of_an_l_has_no_double_count_at_its_corner():
    # Down 5 pixels and across 5 from the corner; thinning takes the corner pixel and leaves a diagonal there.
    shape = drawn(*[(r, 2) for r in range(2, 8)], *[(7, c) for c in range(3, 8)])
    assert bac_length(shape, None) == pytest.approx(4 + 4 + np.sqrt(2))
    assert bac_length(shape, (0.5, 0.2)) == pytest.approx(4 * 0.5 + 4 * 0.2 + np.hypot(0.5, 0.2))


def test_length_of_a_band_is_that_of_its_middle():
    band = np.zeros((40, 120), bool)
    band[15:24, 10:110] = True  # 100 long, 9 wide
    assert bac_length(band, (0.1, 0.1)) == pytest.approx(10.0, abs=1.0)


def test_measure_joins_both_with_their_units():
    heat = np.zeros((8, 8))
    heat[3, 1:7] = 1
    mm = {"area": pytest.approx(6 * 0.5 * 0.2), "area_unit": "mm2", "length": pytest.approx(1.0), "length_unit": "mm"}
    assert measure(heat, (8, 8), 0.3, (0.5, 0.2), EVERYWHERE) == mm
    px = {"area": 6.0, "area_unit": "px", "length": 5.0, "length_unit": "px"}
    assert measure(heat, (8, 8), 0.3, None, EVERYWHERE) == px


def test_bad_arguments_are_named():
    heat = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"threshold: got 1.5, must lie between 0 and 1"):
        bac_area(heat, (8, 8), 1.5, None, EVERYWHERE)
    with pytest.raises(ValueError, match=r"mask: got shape \(8, 8\), must be \(8, 4\)"):
        bac_area(heat, (8, 4), 0.3, None, EVERYWHERE)
    with pytest.raises(ValueError, match=r"spacing: got \(0.1, 0\)"):
        bac_area(heat, (8, 8), 0.3, (0.1, 0), EVERYWHERE)
    with pytest.raises(ValueError, match=r"map_: got shape \(3,\)"):
        upsample_map(np.zeros(3), (8, 8))
    with pytest.raises(ValueError, match=r"binary: got shape \(3,\)"):
        bac_length(np.zeros(3), None)


@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.3125, 0.3125), (0.2, 0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_artery_has_its_length_and_about_its_width(spacing, seed):
    view = draw_artery(spacing, seed=seed)
    found = measure_arteries(view.heat(), view.pixels, 0.3, spacing, view.breast)
    assert found.length_mm == pytest.approx(view.length_mm, rel=0.05)
    assert found.vessels.arteries == 1
    assert 2.5 < found.vessels.width_mm < 4.5  # 2.5 between the walls' outer edges, blurred
    assert found.area_mm2 == pytest.approx(found.mask.sum() * spacing[0] * spacing[1], rel=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cells_of_16_pixels_are_enough(seed):
    view = draw_artery(seed=seed)
    found = measure_arteries(view.cells(cell_mm=16 * 0.25), view.pixels, 0.3, view.spacing_mm, view.breast)
    assert found.length_mm == pytest.approx(view.length_mm, rel=0.1)


def test_what_is_measured_is_the_refined_mask_and_its_centre_lines():
    view = draw_artery()
    found = measure_arteries(view.cells(), view.pixels, 0.3, view.spacing_mm, view.breast)
    mask = refine_mask(view.pixels, upsample_map(view.cells(), view.pixels.shape), 0.3, view.spacing_mm)
    np.testing.assert_array_equal(found.mask, mask)
    lines = trace_vessels(mask, view.spacing_mm)
    assert (found.length_mm, found.area_mm2) == (lines.length_mm, lines.area_mm2)


def test_nothing_is_measured_where_the_heat_stays_below_the_threshold():
    view = draw_artery()
    for heat, breast in ((view.cells(0.29), view.breast), (view.cells(), np.zeros_like(view.breast))):
        found = measure_arteries(heat, view.pixels, 0.3, view.spacing_mm, breast)
        assert not found.mask.any()
        assert (found.length_mm, found.area_mm2, found.vessels.width_mm) == (0, 0, 0)


def test_only_the_artery_that_is_hot_counts():
    view = draw_artery(span_mm=(20, 75))
    y = np.arange(view.pixels.shape[0]) * 0.25
    heat = np.where(y[:, None] < 45, view.heat(), 0)
    found = measure_arteries(heat, view.pixels, 0.3, view.spacing_mm, view.breast)
    assert found.length_mm < 0.7 * view.length_mm
    assert not found.mask[int(50 / 0.25) :].any()
    outside = measure_arteries(view.heat(), view.pixels, 0.3, view.spacing_mm, view.breast & (y < 45)[:, None])
    assert not outside.mask[int(45 / 0.25) :].any()


def test_dense_share():
    pixels = np.zeros((20, 20), np.float32)
    assert dense_share(pixels) == 0
    pixels[:, :10] = -0.5
    assert dense_share(pixels) == 0  # all alike
    pixels[:5, :10] = 1.5  # 50 of 200
    assert dense_share(pixels) == 0.25


def test_bad_arguments_of_the_arteries_are_named():
    pixels, breast = np.ones((8, 8), np.float32), np.ones((8, 8), bool)
    with pytest.raises(ValueError, match=r"mask: got shape \(8, 4\), must be \(8, 8\)"):
        measure_arteries(np.zeros((2, 2)), pixels, 0.3, (1, 1), breast[:, :4])
    with pytest.raises(ValueError, match="threshold: got 30, must lie between 0 and 1"):
        measure_arteries(np.zeros((2, 2)), pixels, 30, (1, 1), breast)
    with pytest.raises(ValueError, match=r"spacing_mm: got \(0.1, -1\)"):
        measure_arteries(np.zeros((2, 2)), pixels, 0.3, (0.1, -1), breast)
    with pytest.raises(ValueError, match=r"map_: got shape \(3,\)"):
        measure_arteries(np.zeros(3), pixels, 0.3, (1, 1), breast)
