"""Areas and lengths against values computed by hand."""

import numpy as np
import pytest
from drawn_arteries import draw_artery

from bac_utils.quantify import (
    bac_area,
    bac_region,
    dense_share,
    measure_arteries,
    upsample_map,
)

EVERYWHERE = np.ones((8, 8), bool)


def test_upsampling_is_bilinear_between_pixel_centres():
    # 2 -> 4 pixels: the centres are at 0.125, 0.375, 0.625, 0.875 of the field, those of the map at 0.25 and 0.75.
    expected = np.outer(np.ones(2), [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(upsample_map(np.array([[0, 1.0]]), (2, 4)), expected)
    np.testing.assert_allclose(upsample_map(np.array([[0], [1.0]]), (4, 2)), expected.reshape(2, 4).T)
    assert upsample_map(np.full((3, 2), 0.5), (96, 32)).dtype == np.float32
    np.testing.assert_array_equal(upsample_map(np.full((3, 2), 0.5), (96, 32)), 0.5)


def test_a_known_area():
    heat = np.zeros((8, 8))
    heat[2:5, 1:5] = 0.7  # 3 rows x 4 columns
    assert bac_area(heat, (8, 8), 0.3, (0.5, 0.2), EVERYWHERE) == (pytest.approx(12 * 0.5 * 0.2), "mm2")
    assert bac_area(heat, (8, 8), 0.3, None, EVERYWHERE) == (12.0, "px")
    assert bac_area(heat, (8, 8), 0.7, None, EVERYWHERE) == (0.0, "px")  # G > Th, not >=


def test_the_area_is_that_of_the_upsampled_map_inside_the_breast():
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


def test_bad_arguments_are_named():
    heat = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"threshold: got 1.5, must lie between 0 and 1"):
        bac_area(heat, (8, 8), 1.5, None, EVERYWHERE)
    with pytest.raises(ValueError, match=r"mask: got shape \(8, 8\), must be \(8, 4\)"):
        bac_area(heat, (8, 4), 0.3, None, EVERYWHERE)
    with pytest.raises(ValueError, match=r"spacing_mm: got \(0.1, 0\)"):
        bac_area(heat, (8, 8), 0.3, (0.1, 0), EVERYWHERE)
    with pytest.raises(ValueError, match=r"map_: got shape \(3,\)"):
        upsample_map(np.zeros(3), (8, 8))


@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.3125, 0.3125), (0.2, 0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_length_and_width_of_a_drawn_artery(spacing, seed):
    view = draw_artery(spacing, seed=seed)
    mask, vessels = measure_arteries(view.heat(), view.pixels, 0.3, spacing, view.breast)
    assert vessels.length_mm == pytest.approx(view.length_mm, rel=0.1)
    assert vessels.arteries <= 2  # on a fine grid, an artery may be cut where it is faint
    assert 2.0 < vessels.width_mm < 3.2  # 2.5 between the outer edges of the walls, before blurring
    assert vessels.area_mm2 == pytest.approx(mask.sum() * spacing[0] * spacing[1], rel=0.07)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_local_logits_of_16_pixels_are_enough(seed):
    view = draw_artery(seed=seed)
    mask, vessels = measure_arteries(view.cells(cell_mm=16 * 0.25), view.pixels, 0.3, view.spacing_mm, view.breast)
    assert vessels.length_mm == pytest.approx(view.length_mm, rel=0.1)


def test_a_fine_heatmap_is_cut_at_a_larger_share():
    """The same heat on cells of 1.25 mm and, shown on those of 2.5 mm, on the side of `LEVEL`."""
    view = draw_artery()
    fine = view.cells(cell_mm=1.25)
    coarse = np.repeat(np.repeat(fine[::2, ::2], 2, axis=0), 2, axis=1)[: fine.shape[0], : fine.shape[1]]
    areas = []
    for heat in (coarse, coarse[::2, ::2]):
        _, vessels = measure_arteries(heat, view.pixels, 0.3, view.spacing_mm, view.breast)
        areas.append(vessels.area_mm2)
    assert 0 < areas[0] < 0.95 * areas[1]


def test_nothing_is_measured_if_the_heatmap_is_below_the_threshold():
    view = draw_artery()
    for heat, breast in ((view.cells(0.29), view.breast), (view.cells(), np.zeros_like(view.breast))):
        mask, vessels = measure_arteries(heat, view.pixels, 0.3, view.spacing_mm, breast)
        assert not mask.any()
        assert (vessels.length_mm, vessels.area_mm2, vessels.width_mm) == (0, 0, 0)


def test_only_the_artery_in_the_heatmap_counts():
    view = draw_artery(span_mm=(20, 75))
    y = np.arange(view.pixels.shape[0]) * 0.25
    heat = np.where(y[:, None] < 45, view.heat(), 0)
    mask, vessels = measure_arteries(heat, view.pixels, 0.3, view.spacing_mm, view.breast)
    assert vessels.length_mm < 0.7 * view.length_mm
    assert not mask[int(50 / 0.25) :].any()
    outside, _ = measure_arteries(view.heat(), view.pixels, 0.3, view.spacing_mm, view.breast & (y < 45)[:, None])
    assert not outside[int(45 / 0.25) :].any()


def test_dense_share():
    pixels = np.zeros((20, 20), np.float32)
    assert dense_share(pixels) == 0
    pixels[:, :10] = -0.5
    assert dense_share(pixels) == 0  # all pixels are equal
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
