"""Irregular benign calcifications: conserved calcium, outlines, and the same shapes at every pixel spacing."""

import cv2
import numpy as np
import pytest

from bac_utils.simulator.anatomy import draw_outline
from bac_utils.simulator.calcifications import FINDINGS, Finding, render_finding
from bac_utils.simulator.grains import draw_grain, draw_shell, scatter_grains, wavy
from bac_utils.simulator.rasterize import Canvas

MIDDLE = np.array([10.0, 10.0])


def drawn(draw, spacing, seed=1):
    """Thickness map of 20 mm x 20 mm."""
    canvas = Canvas((round(20 / spacing),) * 2, spacing)
    draw(canvas, np.random.default_rng(seed))
    return canvas.thickness()


@pytest.mark.parametrize("spacing", [0.1, 0.25])
def test_grains_keep_their_volume(spacing):
    volumes = np.array([0.02, 0.05, 0.01])
    places, diameters = MIDDLE + np.array([[0, 0], [3, 1], [-2, 2]]), np.array([0.2, 0.5, 0.3])
    small = drawn(lambda c, rng: scatter_grains(c, rng, places, diameters, volumes), spacing)
    assert small.sum() * spacing**2 == pytest.approx(volumes.sum(), rel=1e-3)
    large = drawn(lambda c, rng: draw_grain(c, rng, MIDDLE, 1.2, 0.4, 0.1), spacing)
    assert large.sum() * spacing**2 == pytest.approx(0.4, rel=1e-3)


def test_a_wavy_outline_is_a_circle_on_average_and_rough_as_asked():
    angle = np.linspace(0, 2 * np.pi, 200)
    rough, smooth = (
        np.array([wavy(np.random.default_rng(seed), angle, roughness) for seed in range(50)])
        for roughness in (0.15, 0.02)
    )
    assert rough.mean() == pytest.approx(1, abs=0.02)
    assert rough.std() > 5 * smooth.std() > 0


def test_grains_are_out_of_round_and_each_differs():
    """Ratio of the standard deviations along the principal axes; 1 for a disc."""
    ratios = []
    for seed in range(12):
        map_mm = drawn(lambda c, rng: draw_grain(c, rng, MIDDLE, 1.5, 0.4, 0.15), 0.1, seed)
        y, x = np.nonzero(map_mm > 0.2 * map_mm.max())
        spread = np.linalg.eigvalsh(np.cov(x, y))
        ratios.append(np.sqrt(spread[1] / spread[0]))
    assert 1.05 < np.mean(ratios) < 1.6
    assert np.std(ratios) > 0.03


def test_a_shell_has_a_lucent_centre_and_an_uneven_rim():
    y, x = (np.indices((200, 200)) + 0.5) * 0.1 - 10
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    for seed in range(5):
        shell = drawn(lambda c, rng: draw_shell(c, rng, MIDDLE, 3.0, 0.2), 0.1, seed)
        rim = [shell[(np.abs(angle - a) < 0.1) & (distance < 6)].max() for a in np.linspace(-3, 3, 30)]
        assert shell[distance < 1].mean() < 0.2 * np.mean(rim)
        assert max(rim) > 2 * min(rim)


@pytest.mark.parametrize("kind", FINDINGS)
def test_a_finding_is_the_same_at_every_spacing(kind):
    """The map at 0.1 mm, averaged over 2 x 2 pixels, is the map at 0.2 mm; both blurred by 0.2 mm."""
    outline = draw_outline(np.random.default_rng(3), "MLO", 90, 1.0, 55)
    line = np.column_stack([np.linspace(20, 50, 80), np.linspace(60, 80, 80)])
    maps = {}
    for spacing in (0.1, 0.2):
        shape = round(outline.height_mm / spacing / 2) * 2, round(100 / spacing)
        calcium, metal = Canvas(shape, spacing), Canvas(shape, spacing)
        for seed in range(4):
            render_finding(calcium, metal, Finding(kind, np.array([0.4, 0.1, 0.0]), seed), outline, [line])
        blurred = cv2.GaussianBlur(calcium.thickness() + metal.thickness(), (0, 0), 0.2 / spacing)
        maps[spacing] = blurred if spacing == 0.2 else cv2.resize(blurred, None, fx=0.5, fy=0.5, interpolation=3)
    shape = np.minimum(maps[0.1].shape, maps[0.2].shape)
    one, two = (m[: shape[0], : shape[1]].ravel() for m in maps.values())
    assert one.max() > 0
    assert np.corrcoef(one, two)[0, 1] > 0.98
    assert one.sum() == pytest.approx(two.sum(), rel=0.02)
