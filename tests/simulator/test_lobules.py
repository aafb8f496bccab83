"""Cells of fat lobules: their areas and borders, the same at every spacing, and the septa on the borders."""

import numpy as np
import pytest

from bac_utils.simulator.anatomy import draw_outline
from bac_utils.simulator.lobules import REACH, compete, hollows, lay_out_cells, net, refine
from bac_utils.simulator.texture import power_law_texture


def layout(seed, size_mm=10.0, grid_mm=0.25):
    rng = np.random.default_rng(seed)
    outline = draw_outline(rng, "CC", 90, 1.0, 55)
    textures = tuple(power_law_texture(rng, exponent, 22, pixels=512) for exponent in (4.6, 3.0))
    shape = int(outline.height_mm / grid_mm), int(outline.depth_mm / grid_mm)
    return outline, lay_out_cells(rng, outline, shape, grid_mm, size_mm, textures)


def plane(shape, grid_mm):
    y, x = (np.indices(shape, dtype=np.float32) + np.float32(0.5)) * np.float32(grid_mm)
    return x, y


def nearest_pair(ellipses, shape, grid_mm):
    x, y = plane(shape, grid_mm)
    pair = compete(ellipses, x[1::2, 1::2], y[1::2, 1::2], 2 * grid_mm, 0.0)
    return refine(ellipses, x, y, *pair)


def test_two_circles_share_their_border_in_the_middle():
    """Centres 8 mm apart with radii of 4 mm: x - 6 = 14 - x at 10 mm, and the gap is twice the distance, in radii."""
    circles = np.array([[6.0, 10, 4, 4, 0], [14.0, 10, 4, 4, 0]])
    owner, other, gap = nearest_pair(circles, (80, 80), 0.25)
    x = plane((80, 80), 0.25)[0][40]
    between = (x > 6) & (x < 14)
    assert (owner[40, between] == (x[between] > 10)).all()
    assert (other[40, between] == (x[between] < 10)).all()
    assert gap[40, between] == pytest.approx(2 * np.abs(x[between] - 10) / 4, abs=0.02)


def test_a_cell_of_twice_the_radius_borders_on_a_circle():
    """Points twice as far from one centre as from another lie on a circle (Apollonius), here of radius 8 mm at 4/3."""
    circles = np.array([[18.0, 20, 8, 8, 0], [30.0, 20, 4, 4, 0]])
    owner, _, _ = nearest_pair(circles, (160, 200), 0.25)
    x, y = plane((160, 200), 0.25)
    inside = np.hypot(x - (30 + 12 / 3), y - 20) < 12 * 2 / 3
    reached = (np.hypot(x - 30, y - 20) < 4 * REACH) & (np.hypot(x - 18, y - 20) < 8 * REACH)
    assert ((owner == 1) == inside)[reached].mean() > 0.995


def test_no_ellipse_is_near_a_distant_point():
    owner, other, gap = nearest_pair(np.array([[5.0, 5, 2, 2, 0]]), (100, 100), 0.25)
    assert owner[20, 20] == 0
    assert owner[80, 80] == -1
    assert (other == -1).all()
    assert gap.min() > 0


@pytest.mark.parametrize("size_mm", [6.0, 12.0])
def test_cells_have_the_area_of_the_layout(size_mm):
    """A hexagonal layout has an area of 0.87 size^2 for each cell."""
    outline, cells = layout(3, size_mm)
    count = np.bincount(cells.owner[cells.owner >= 0], minlength=len(cells.radius))
    margin = 1.5 * size_mm
    x, y = cells.centres.T
    edge = np.interp(y, outline.y, outline.edge)
    whole = (x > margin) & (x < np.minimum(edge, outline.depth_mm) - margin)
    whole &= (y > margin) & (y < outline.height_mm - margin)
    assert count[whole].mean() * 0.25**2 == pytest.approx(0.87 * size_mm**2, rel=0.12)
    assert count[whole].std() > 0.2 * count[whole].mean()


def test_a_seed_gives_the_same_cells_and_another_seed_others():
    first, again, others = (layout(seed)[1] for seed in (1, 1, 2))
    assert (first.border == again.border).all()
    assert first.owner.shape != others.owner.shape or (first.owner != others.owner).any()


def test_a_layout_is_the_same_on_a_finer_grid():
    cells, finer = layout(4, grid_mm=0.5)[1], layout(4, grid_mm=0.25)[1]
    rows, columns = cells.owner.shape
    part = finer.owner[: 2 * rows : 2, : 2 * columns : 2]
    assert (part == cells.owner).mean() > 0.93  # the points are 0.18 mm apart
    assert np.corrcoef(finer.border[: 2 * rows : 2, : 2 * columns : 2].ravel(), cells.border.ravel())[0, 1] > 0.95


def test_septa_lie_on_the_borders_and_hollows_between_them():
    for seed in range(3):
        _, cells = layout(seed)
        inside = cells.other >= 0
        septa = net(cells, np.zeros(cells.border.shape, np.float32), 0.3)
        hollow = hollows(np.random.default_rng(seed), cells, 0.2)
        border, middle = inside & (cells.border < 0.1), inside & (cells.border > 2.0)
        assert septa[border].mean() > 5 * septa[middle].mean()
        assert hollow[border].mean() < 0.1 * hollow[middle].mean()
        assert np.isfinite(septa).all()
        assert septa.min() >= 0


def test_more_cells_than_can_be_numbered_are_refused():
    with pytest.raises(ValueError, match="ellipses: got 8193"):
        compete(np.ones((8193, 5)), *plane((4, 4), 0.5), 0.5, 0.0)
