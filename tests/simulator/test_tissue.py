"""Where the simulated tissue lies: gland, muscle, strands and skin of a view."""

import numpy as np
import pytest

from bac_utils.simulator import population
from bac_utils.simulator.anatomy import draw_outline
from bac_utils.simulator.attenuation import project_breast, silhouette, skin_path, uneven_skin
from bac_utils.simulator.gland import GRID_MM, draw_gland
from bac_utils.simulator.muscle import pectoral_muscle
from bac_utils.simulator.strands import Strands, strand_thickness
from bac_utils.simulator.texture import resample


def tissue(view, density, seed):
    rng = np.random.default_rng(seed)
    outline = draw_outline(rng, view, 90, 1.0, 55)
    _, distance = silhouette(outline, GRID_MM)
    muscle, inside = pectoral_muscle(rng, outline, distance.shape, GRID_MM)
    return outline, distance, muscle, inside, draw_gland(rng, outline, distance, inside, density)


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_muscle_and_subcutaneous_fat_are_free_of_gland(view):
    for seed in range(4):
        outline, distance, _, inside, gland = tissue(view, 0.4, seed)
        y, x = np.indices(distance.shape) * GRID_MM
        nipple = np.hypot(x - outline.depth_mm, y - outline.nipple_y) < 30
        assert gland.core[inside > 3].sum() == 0
        assert gland.core[(distance > 0) & (distance < 1.5) & ~nipple].mean() < 0.03
        assert gland.core.max() > 0.5


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_denser_breasts_have_more_gland(view):
    shares = []
    for density in (0.08, 0.25, 0.45, 0.7):
        parts = [tissue(view, density, seed) for seed in range(4)]
        shares.append(np.mean([gland.core[distance > 0].mean() for _, distance, _, _, gland in parts]))
    assert (np.diff(shares) > 0.05).all()


def test_the_muscle_thins_towards_its_border_and_downwards():
    for seed in range(4):
        outline, _, muscle, inside, _ = tissue("MLO", 0.3, seed)
        y = np.indices(muscle.shape)[0] * GRID_MM / outline.muscle[1]
        upper, border = (y < 0.4) & (inside > 12), (y < 0.4) & (inside > 0) & (inside < 2)
        lower = (y > 0.6) & (y < 0.95) & (inside > 4)
        assert muscle[upper].mean() > 1.15 * muscle[border].mean()
        assert muscle[upper].mean() > 1.1 * muscle[lower].mean()
        assert muscle[inside < -12].max() == 0


def test_some_cc_views_show_the_muscle_at_the_chest_wall():
    shown = [tissue("CC", 0.3, seed)[2].max() > 0 for seed in range(12)]
    assert 0 < sum(shown) < 12


def test_both_halves_of_cc_outlines_differ():
    """Distance from the chest wall at equal distances above and below the nipple; equal halves would give 0."""
    gaps = []
    for seed in range(12):
        outline = draw_outline(np.random.default_rng(seed), "CC", 90, 1.0, 55)
        sides = [np.interp(outline.nipple_y + 45 * side, outline.y, outline.edge) for side in (-1, 1)]
        gaps.append((sides[0] - sides[1]) / 90)
    assert np.std(gaps) > 0.03
    assert np.mean(gaps) > 0  # fuller laterally, which is up


def test_a_strand_tapers_and_keeps_its_volume():
    """A straight strand: volume = depth x width x length x mean of the taper, 1 / 1.7."""
    one = np.ones(1)
    strand = Strands(np.array([[5.0, 10.0]]), 0 * one, 0 * one, 0 * one, 0 * one, 20 * one, one, 2 * one, 0.5 * one)
    for spacing in (0.1, 0.25):
        thickness = strand_thickness([strand], (int(20 / spacing), int(30 / spacing)), spacing)
        assert thickness.sum() * spacing**2 == pytest.approx(2 * 1 * 20 / 1.7, rel=0.02)
        along = thickness.sum(axis=0) * spacing
        near_end, middle = (along[int(x / spacing)] for x in (6.0, 15.0))
        assert near_end < 0.4 * middle
    assert strand.lines()[0][[0, -1]] == pytest.approx(np.array([[5, 10], [25, 10]]))


def test_the_path_in_the_skin_is_longest_at_the_rounded_edge():
    """At 1.5 mm from the edge of a rounding of 25 mm a chord is 2 sqrt(25^2 - 23.5^2) mm, all of it skin of 1.5 mm."""
    path = skin_path(np.array([1.5, 25.0, 60.0]), 25.0, 1.5)
    assert path == pytest.approx([2 * np.sqrt(25**2 - 23.5**2), 3, 3])


def test_the_skin_is_uneven_along_the_edge_and_thicker_at_the_areola():
    nipple, elsewhere, changes = [], [], []
    for seed in range(12):
        outline, distance = tissue("CC", 0.3, seed)[:2]
        thickness, contrast = uneven_skin(np.random.default_rng(seed), outline, distance)
        y, x = np.indices(distance.shape) * GRID_MM
        edge, near = (distance > 0) & (distance < 1), np.hypot(x - outline.depth_mm, y - outline.nipple_y) < 6
        nipple.append(thickness[edge & near].mean())
        elsewhere.append(thickness[edge & ~near].mean())
        changes.append([field[edge & ~near].std() / field[edge & ~near].mean() for field in (thickness, contrast)])
        assert thickness.min() >= 0.4
        assert contrast.min() >= 0
    assert 1.0 < np.mean(elsewhere) < 2.2
    assert np.mean(nipple) > np.mean(elsewhere) + 0.3
    assert (np.mean(changes, axis=0) > 0.1).all()


@pytest.mark.parametrize("spacing", [0.1, 0.25, 1.0])
def test_a_resampled_field_stays_in_place(spacing):
    """A ramp keeps its values, in mm, away from the margin."""
    x = (np.arange(200, dtype=np.float32) + 0.5) * 0.25
    shape = (int(20 / spacing), int(50 / spacing))
    ramp = resample(np.tile(x, (80, 1)), 0.25, shape, spacing)
    expected = (np.arange(shape[1]) + 0.5) * spacing
    middle = slice(shape[1] // 5, -shape[1] // 5)
    assert ramp[shape[0] // 2, middle] == pytest.approx(expected[middle], abs=0.02)


def test_the_arteries_stay_visible_above_the_tissue():
    """Calcium adds the same attenuation as in empty tissue: the difference of two projections is its own."""
    woman = next(w for w in population.draw_women(30, 5, prevalence=1.0) if w.length_mm("L", "MLO") > 40)
    breast = woman.breasts["L"]
    given = (list(breast.seed), breast.outlines["MLO"], breast.density, breast.vessels)
    shown = project_breast(*given, breast.visible_segments("MLO"), [], 0.3)
    without = project_breast(*given, [], [], 0.3)
    added = shown.attenuation - without.attenuation
    assert added[shown.artery].mean() > 0.05
    assert added[~shown.artery].max() < 0.5 * added.max()
