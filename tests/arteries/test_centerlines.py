"""Centre lines of synthetic shapes: length, width and number of pieces, compared with the known dimensions."""

import numpy as np
import pytest
from skimage.morphology import skeletonize

from bac_utils.arteries import skeleton
from bac_utils.arteries.centerlines import Vessels, trace_vessels
from bac_utils.arteries.masks import fill_walls, grow

FIELD_MM = 50.0
SPACINGS = [(0.15, 0.15), (0.3, 0.3), (0.1, 0.2), (0.3, 0.18)]


def raster(inside, spacing):
    """Rasterise a field of 50 x 50 mm: a pixel belongs to the shape if more than half of it does."""
    fine = 4
    rows, columns = (int(FIELD_MM / mm) for mm in spacing)
    y = ((np.arange(rows * fine) + 0.5) * spacing[0] / fine)[:, None]
    x = ((np.arange(columns * fine) + 0.5) * spacing[1] / fine)[None]
    return inside(y, x).reshape(rows, fine, columns, fine).mean(axis=(1, 3)) > 0.5


def bar(y0, x0, length, width, degrees):
    """Return a rectangle centred on (y0, x0); its long side is rotated by an angle from the row direction."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))

    def inside(y, x):
        return (abs((x - x0) * c + (y - y0) * s) <= length / 2) & (abs((y - y0) * c - (x - x0) * s) <= width / 2)

    return inside


def any_of(*shapes):
    return lambda y, x: np.any([shape(y, x) for shape in shapes], axis=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("width", [0.6, 1.5, 3.0])
def test_straight_lines_have_their_length_at_every_angle_and_spacing(spacing, width):
    for degrees in (0, 22.5, 45, 67.5, 90, 130):
        found = trace_vessels(raster(bar(25, 25, 40, width, degrees), spacing), spacing)
        assert found.length_mm == pytest.approx(40, rel=0.015), degrees
        assert found.width_mm == pytest.approx(width, abs=1.05 * max(spacing)), degrees  # half a pixel at each edge
        assert (found.arteries, found.pieces, found.bridged_mm, len(found.lines)) == (1, 1, 0, 1)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [5, 10, 20])
def test_circles_and_arcs_have_their_length(spacing, radius):
    ring = raster(lambda y, x: abs(np.hypot(y - 25, x - 25) - radius) <= 0.75, spacing)
    found = trace_vessels(ring, spacing)
    assert found.length_mm == pytest.approx(2 * np.pi * radius, rel=0.01)
    assert found.width_mm == pytest.approx(1.5, abs=0.1)
    ring[: int(25 / spacing[0])] = False
    assert trace_vessels(ring, spacing).length_mm == pytest.approx(np.pi * radius, abs=0.45)


def staircase(mask, spacing):
    """Add up the steps between the pixels of a skeleton; a diagonal around a corner pixel is not counted twice."""
    s = skeletonize(mask)
    down, across = (s[1:] & s[:-1]).sum(), (s[:, 1:] & s[:, :-1]).sum()
    falling = (s[:-1, :-1] & s[1:, 1:] & ~s[:-1, 1:] & ~s[1:, :-1]).sum()
    rising = (s[:-1, 1:] & s[1:, :-1] & ~s[:-1, :-1] & ~s[1:, 1:]).sum()
    return down * spacing[0] + across * spacing[1] + (falling + rising) * np.hypot(*spacing)


def test_smoothed_lines_avoid_the_8_percent_error_of_counting_skeleton_steps():
    spacing, width = (0.15, 0.15), 0.45
    for degrees, expected in ((0, 1.0), (22.5, 1.08), (45, 1.0)):  # cos 22.5 + (sqrt 2 - 1) sin 22.5 = 1.082
        line = raster(bar(25, 25, 40, width, degrees), spacing)
        assert staircase(line, spacing) / (40 - width) == pytest.approx(expected, abs=0.01)
        assert trace_vessels(line, spacing).length_mm / 40 == pytest.approx(1, abs=0.005)
    circle = raster(lambda y, x: abs(np.hypot(y - 25, x - 25) - 20) <= width / 2, spacing)
    true = 2 * np.pi * 20  # over all angles the steps add 8 (sqrt 2 - 1) / pi - 1 = 5.5 %
    assert staircase(circle, spacing) / true == pytest.approx(1.055, abs=0.01)
    assert trace_vessels(circle, spacing).length_mm / true == pytest.approx(1, abs=0.005)


def test_a_line_has_the_right_position():
    spacing = (0.2, 0.1)
    (line,) = trace_vessels(raster(bar(20, 30, 30, 1.5, 0), spacing), spacing).lines
    assert line[:, 0] == pytest.approx(20, abs=0.11)
    assert sorted(line[[0, -1], 1]) == pytest.approx([15, 45], abs=0.2)


@pytest.mark.parametrize(("gap", "arteries", "bridged"), [(2.5, 1, 2.5), (4.0, 2, 0.0)])
def test_gaps_are_bridged_up_to_a_distance(gap, arteries, bridged):
    spacing = (0.2, 0.15)
    mask = raster(any_of(bar(25, 15 - gap / 2, 16, 1.5, 0), bar(25, 31 + gap / 2, 16, 1.5, 0)), spacing)
    found = trace_vessels(mask, spacing)
    assert (found.arteries, found.pieces) == (arteries, 2)
    assert found.bridged_mm == pytest.approx(bridged, abs=0.3)
    assert found.length_mm == pytest.approx(32 + bridged, abs=0.4)
    assert found.width_mm == pytest.approx(1.5, abs=0.2)


@pytest.mark.parametrize(
    "second",
    [
        bar(23.2, 35, 20, 1, 0),  # parallel, beginning below the end of the first
        bar(30.3, 27, 16, 1, 90),  # at a right angle
    ],
)
def test_ends_that_do_not_face_each_other_are_not_joined(second, monkeypatch):
    spacing = (0.15, 0.15)
    mask = raster(any_of(bar(20, 15, 20, 1, 0), second), spacing)
    assert trace_vessels(mask, spacing).arteries == 2
    monkeypatch.setattr(skeleton, "GAP_DEGREES", 180)  # the gap is short enough: only the angle keeps them apart
    assert trace_vessels(mask, spacing).arteries == 1


def test_beads_on_a_string_are_one_artery():
    spacing = (0.2, 0.15)

    def beads(y, x):
        return np.any([np.hypot(x - k, y - 25 - 0.004 * (k - 25) ** 2) < 0.4 for k in np.arange(5, 43, 2.5)], axis=0)

    found = trace_vessels(raster(beads, spacing), spacing)
    assert (found.arteries, found.pieces) == (1, 16)
    assert found.length_mm == pytest.approx(38.4, abs=0.8)  # 37.5 mm along the curve, plus half a bead at each end


def test_a_fork_is_one_artery_of_three_lines():
    spacing = (0.15, 0.15)
    mask = raster(any_of(bar(25, 15, 20, 1.5, 0), bar(30, 33.66, 20, 1.5, 30), bar(20, 33.66, 20, 1.5, -30)), spacing)
    found = trace_vessels(mask, spacing)
    assert (found.arteries, found.pieces, len(found.lines)) == (1, 1, 3)
    assert found.length_mm == pytest.approx(60, abs=1.0)


def test_spurs_are_pruned():
    spacing = (0.15, 0.15)
    mask = raster(any_of(bar(25, 25, 40, 1.5, 0), *(bar(25.8, x, 0.6, 2.4, 0) for x in (10, 20, 33))), spacing)
    found = trace_vessels(mask, spacing)
    assert len(found.lines) == 1
    assert found.length_mm == pytest.approx(40, rel=0.01)


@pytest.mark.parametrize("degrees", [0, 30])
def test_a_tram_track_counts_once_up_to_a_lumen_of_2_mm(degrees):
    spacing = (0.2, 0.15)

    def walls(lumen):
        wide, hollow = bar(25, 25, 30, lumen + 1, degrees), bar(25, 25, 31, lumen, degrees)
        return raster(lambda y, x: wide(y, x) & ~hollow(y, x), spacing)

    track = trace_vessels(walls(1.6), spacing)
    assert (track.arteries, track.pieces) == (1, 1)
    assert track.length_mm == pytest.approx(30, abs=1)
    assert track.width_mm == pytest.approx(2.6, abs=0.4)  # half a pixel at each of four edges
    apart = trace_vessels(walls(3), spacing)
    assert (apart.arteries, apart.pieces) == (2, 2)
    assert apart.length_mm == pytest.approx(60, abs=1)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_blobs_dots_and_empty_masks_have_no_length(spacing):
    for shape in (
        lambda y, x: np.hypot(y - 25, x - 25) < 4,
        lambda y, x: (abs(y - 25) < 4) & (abs(x - 25) < 4),
        lambda y, x: np.hypot(y - 25, x - 25) < 0.3,
        lambda y, x: y + x < 0,
        lambda y, x: y + x > 0,
    ):
        found = trace_vessels(raster(shape, spacing), spacing)
        assert found == Vessels()
        assert (found.length_mm, found.width_mm) == (0, 0)
    assert trace_vessels(np.ones((1, 1)), spacing) == Vessels()


def test_an_artery_may_touch_the_edge_of_the_view():
    mask = np.zeros((40, 100), bool)
    mask[:5] = True
    found = trace_vessels(mask, (0.2, 0.2))
    assert found.length_mm == pytest.approx(20, rel=0.01)
    assert found.width_mm == pytest.approx(1, rel=0.02)


def test_dilation_and_filling_use_the_spacing():
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    grown = grow(mask, (0.5, 1.0), 2.0)
    assert grown[:, 10].sum() == 9  # 4 steps of 0.5 mm up and down
    assert grown[10].sum() == 5
    np.testing.assert_array_equal(grow(mask, (0.5, 1.0), 0), mask)
    assert not grow(~mask & mask, (1, 1), 5).any()
    walls = np.zeros((30, 60), bool)
    walls[[5, 9]] = True  # 3 rows between them
    assert fill_walls(walls, (0.6, 0.6))[5:10, 10:50].all()  # 1.8 mm
    np.testing.assert_array_equal(fill_walls(walls, (0.8, 0.8)), walls)  # 2.4 mm


def test_invalid_arguments_are_named():
    mask = np.ones((8, 8), bool)
    with pytest.raises(ValueError, match=r"mask: got shape \(8,\), must be \(H, W\)"):
        trace_vessels(mask[0], (1, 1))
    with pytest.raises(ValueError, match=r"spacing_mm: got \(0.1, 0\), must be \(row, column\), two positive numbers"):
        trace_vessels(mask, (0.1, 0))
    with pytest.raises(ValueError, match="spacing_mm: got None"):
        grow(mask, None, 1)
