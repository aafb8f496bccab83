"""The simulator compared with published values, and with itself at another pixel spacing."""

import cv2
import numpy as np
import pydicom
import pytest
from scipy.stats import spearmanr

from bac_utils.settings import PUBLISHED
from bac_utils.simulator import population
from bac_utils.simulator.anatomy import SHORTEST_VISIBLE_MM, calcify, draw_outline, draw_vessel
from bac_utils.simulator.attenuation import project_breast, silhouette
from bac_utils.simulator.calcifications import FINDINGS, draw_findings
from bac_utils.simulator.cohort_files import cohort_table, simulate_cohort, write_views
from bac_utils.simulator.rasterize import Canvas, blur, draw_cylinder, mark_line
from bac_utils.simulator.render import render
from bac_utils.simulator.texture import fit_exponent, power_law_texture, power_spectrum, sample_texture
from bac_utils.views_table import read_views


@pytest.fixture(scope="module")
def bac_woman():
    return next(w for w in population.draw_women(40, 5, prevalence=1.0) if w.length_mm("L", "MLO") > 40)


def test_population_follows_the_published_ages_and_prevalences():
    women = population.draw_women(1493, 2023)
    ages = np.array([w.age for w in women])
    bac = np.array([w.bac for w in women])
    assert np.quantile(ages, [0.25, 0.5, 0.75]) == pytest.approx([52, 59, 68], abs=1)
    assert (ages.min(), ages.max()) == PUBLISHED["age_range"]
    assert bac.mean() == pytest.approx(0.13, abs=0.004)
    classes = np.searchsorted((60, 70, 73), ages)
    for k, share in enumerate(PUBLISHED["prevalence_by_age_class"]):
        assert bac[classes == k].mean() == pytest.approx(share, abs=0.02)
    assert np.quantile(ages[bac], [0.25, 0.5, 0.75]) == pytest.approx([60, 70.5, 73], abs=2)


def test_prevalence_is_a_parameter():
    assert np.mean([w.bac for w in population.draw_women(200, 1, prevalence=0.4)]) == pytest.approx(0.4, abs=0.006)
    assert not any(w.bac for w in population.draw_women(20, 1, prevalence=0))
    assert all(w.bac for w in population.draw_women(20, 1, prevalence=1))


def test_quantification_women_are_bac_women_of_no_cohort():
    women, cohort = population.draw_measured(56, 2023), population.draw_women(500, 2023)
    assert len(women) == len({w.patient_id for w in women}) == 56
    assert all(w.bac for w in women)
    assert not {w.seed for w in women} & {w.seed for w in cohort}
    assert not {w.patient_id for w in women} & {w.patient_id for w in cohort}
    assert 65 <= np.median([w.age for w in women]) <= 75  # the paper's BAC+ women: 70.5
    assert population.draw_measured(0, 1) == []
    with pytest.raises(ValueError, match="number: got -1, must be at least 0"):
        population.draw_measured(-1, 1)


def test_masks_of_a_cohort_without_its_images(tmp_path):
    women = [woman for woman in population.draw_women(40, 3) if woman.bac][:1]
    write_views(women, tmp_path / "both", 1.5, workers=1)
    write_views(women, tmp_path / "masks", 1.5, workers=1, images=False)
    assert not (tmp_path / "masks" / "images").exists()
    masks = sorted((tmp_path / "masks" / "truth").iterdir())
    assert len(masks) == 4
    for mask in masks:
        assert mask.read_bytes() == (tmp_path / "both" / "truth" / mask.name).read_bytes()


def test_only_the_requested_views_are_rendered(tmp_path):
    write_views(population.draw_women(1, 3), tmp_path, 2.0, workers=1, truth=False, views=("MLO",))
    assert sorted(p.stem.split("_", 1)[1] for p in (tmp_path / "images").iterdir()) == ["L_MLO", "R_MLO"]


@pytest.mark.parametrize(
    ("number", "seed", "prevalence", "rule"),
    [(0, 1, None, "number: got 0"), (3, -1, None, "seed: got -1"), (3, 1, 1.2, "prevalence: got 1.2")],
)
def test_bad_arguments_are_named(number, seed, prevalence, rule):
    with pytest.raises(ValueError, match=rule):
        population.draw_women(number, seed, prevalence)
    with pytest.raises(ValueError, match="pixel_spacing_mm: got 5"):
        write_views([], "unused", 5)


def test_views_of_bac_women_agree_as_published():
    """3 of 4 views positive, 70 % on both sides (the paper); CC and MLO agree with a slope of 0.8 (Molloi et al.)."""
    table = cohort_table(population.draw_women(150, 77, prevalence=1.0), 0.25)
    lengths = table.pivot_table(index="patient_id", columns=["laterality", "view"], values="bac_length_mm")
    seen = lengths > 0
    assert seen.sum(axis=1).min() >= 1
    assert seen.sum(axis=1).mean() == pytest.approx(3.0, abs=0.35)
    both = seen["L"].any(axis=1) & seen["R"].any(axis=1)
    assert both.mean() == pytest.approx(0.70, abs=0.10)
    cc = np.concatenate([lengths["L", "CC"], lengths["R", "CC"]])
    mlo = np.concatenate([lengths["L", "MLO"], lengths["R", "MLO"]])
    assert np.corrcoef(cc, mlo)[0, 1] > 0.88
    assert spearmanr(cc, mlo)[0] > 0.8
    assert np.polyfit(mlo, cc, 1)[0] == pytest.approx(0.82, abs=0.15)
    positive = table.bac_length_mm[table.bac == 1]
    assert positive.min() >= SHORTEST_VISIBLE_MM
    assert 25 < positive.median() < 65  # 41 mm in the published example of a moderate burden


@pytest.mark.parametrize("spacing", [0.05, 0.1, 0.25])
def test_marked_lines_have_the_requested_width(spacing):
    """A straight line of 30 mm, 2.4 mm wide, with round ends: 72 + pi 1.2^2 mm2, along the grid and oblique."""
    for angle in (0.0, 0.3, np.pi / 4):
        t = np.linspace(0, 30, 121)[:, None]
        mask = np.zeros((int(50 / spacing), int(50 / spacing)), np.uint8)
        mark_line(mask, 8 + t * [[np.cos(angle), np.sin(angle)]], 2.4, spacing)
        assert mask.sum() * spacing**2 == pytest.approx(72 + np.pi * 1.2**2, rel=0.07)
    mark_line(mask, np.array([[-9.0, -9.0], [-5.0, -7.0]]), 1.0, spacing)  # outside the grid: no error


def test_same_seed_same_view_other_seed_other_view():
    def view(seed):
        return render(population.draw_women(3, seed)[0], "L", "CC", 0.6)[0]

    np.testing.assert_array_equal(view(4), view(4))
    assert not np.array_equal(view(4), view(5))


def test_another_spacing_is_the_same_breast(bac_woman):
    fine, mask_fine = render(bac_woman, "L", "MLO", 0.2)
    coarse, mask_coarse = render(bac_woman, "L", "MLO", 0.4)
    assert fine.shape == (coarse.shape[0] * 2, coarse.shape[1] * 2)
    small = cv2.resize(fine, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
    inside = coarse > 0.05
    assert np.corrcoef(small[inside], coarse[inside])[0, 1] > 0.95
    assert mask_fine.sum() * 0.2**2 == pytest.approx(mask_coarse.sum() * 0.4**2, rel=0.1)


def test_a_coarse_image_is_as_sharp_as_an_averaged_fine_one():
    """A detector element integrates over its area: thin lines must not be sharper on a coarse grid.

    Without calcium, whose grains are far smaller than these pixels and would outweigh the lines.
    """
    ratios = []
    for woman in population.draw_women(4, 33, prevalence=1):
        breast = woman.breasts["L"]
        given = (list(breast.seed), breast.outlines["MLO"], breast.density, breast.vessels, [], [])
        coarse, fine = (project_breast(*given, spacing) for spacing in (0.25, 0.125))
        rows, columns = coarse.attenuation.shape[0], fine.attenuation.shape[1] // 2
        small = fine.attenuation[:, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
        columns = min(columns, coarse.attenuation.shape[1])
        deep = coarse.skin_distance[:, 1:columns] > 4
        steps = [np.diff(a[:, :columns], axis=1)[deep].std() for a in (coarse.attenuation, small)]
        ratios.append(steps[0] / steps[1])
    assert ratios == pytest.approx([1] * 4, abs=0.02)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6, 0.8, 2.0])
def test_a_blur_keeps_the_sum_and_has_its_variance(sigma):
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    row = blur(point, sigma).sum(axis=0)
    assert row.sum() == pytest.approx(1, abs=1e-5)
    assert row @ (np.arange(41) - 20) ** 2 == pytest.approx(sigma**2, rel=0.02)


def test_mask_agrees_with_the_length(bac_woman):
    """The area of the mask is that of a ribbon of the stated length and of the arteries' width."""
    segments = bac_woman.breasts["L"].visible_segments("MLO")
    _, mask = render(bac_woman, "L", "MLO", 0.1)
    expected = 0.0
    for s in segments:
        radius = bac_woman.breasts["L"].vessels[s.vessel].radius_mm[s.start : s.stop].mean()
        expected += s.length_mm * (2 * radius + 0.4)
    assert mask.sum() * 0.01 == pytest.approx(expected, rel=0.25)
    assert bac_woman.length_mm("L", "MLO") == pytest.approx(sum(s.length_mm for s in segments))


def test_a_view_without_bac_has_an_empty_mask():
    woman = population.draw_women(2, 9, prevalence=0)[0]
    assert not render(woman, "R", "CC", 0.6)[1].any()
    assert woman.length_mm("R", "CC") == 0


def test_right_breasts_lie_right_and_mlo_shows_the_muscle():
    woman = population.draw_women(1, 3)[0]
    for side in "RL":
        image, _ = render(woman, side, "MLO", 0.5)
        half = image.shape[1] // 2
        left, right = (image[:, :half] > 0.05).mean(), (image[:, half:] > 0.05).mean()
        assert (left > right) == (side == "L")
        corner = image[:20, :10] if side == "L" else image[:20, -10:]
        assert corner.mean() > np.median(image[image > 0.05])


def test_arteries_are_calcified_over_the_requested_length():
    rng = np.random.default_rng(0)
    vessels = calcify(rng, [draw_vessel(rng, 90, 90, 2.0) for _ in range(6)], 60, 0.5)
    total = sum((b - a) * 0.25 for v in vessels for a, b, _ in v.segments)
    assert total == pytest.approx(60, abs=2)


def test_outline_projects_into_the_breast():
    rng = np.random.default_rng(1)
    for view in ("CC", "MLO"):
        outline = draw_outline(rng, view, 90, 1.0, 55)
        points = outline.project(rng.uniform([0.05, -0.9, -0.9], [0.95, 0.9, 0.9], (300, 3)))
        edge = np.interp(points[:, 1], outline.y, outline.edge)
        assert (points[:, 0] <= edge + 1.0).mean() > 0.97
        mask, distance = silhouette(outline, 0.5)
        assert mask.any()
        assert (distance[mask] > 0).all()
        assert (distance[~mask] == 0).all()


def test_canvas_keeps_the_volume():
    """100 mm of a cylinder of 2 mm: pi * 1 * 1 * 100 mm3 at every spacing."""
    for spacing in (0.1, 0.5):
        canvas = Canvas((int(150 / spacing), int(60 / spacing)), spacing)
        draw_cylinder(canvas, np.array([[30.0, 20.0], [30.0, 120.0]]), 2.0)
        assert canvas.thickness().sum() * spacing**2 == pytest.approx(np.pi * 100, rel=0.01)


def test_canvas_drops_material_outside_the_grid():
    canvas = Canvas((10, 10), 1.0)
    canvas.deposit(np.array([[50.0, 5.0], [-3.0, 5.0]]), 1.0, 0.0)
    assert canvas.thickness().sum() == 0


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_texture_has_the_requested_spectrum(exponent):
    field = power_law_texture(np.random.default_rng(2), exponent)
    assert (field.mean(), field.std()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, rel=1e-3))
    assert fit_exponent(power_spectrum([field], 320 / 1024)) == pytest.approx(exponent, abs=0.1)
    assert sample_texture(field, (50, 40), 0.5).shape == (50, 40)


def test_tissue_has_the_published_texture_exponent():
    """Log exposure of normal structure falls as 1/f^3: CC 3.17, MLO 3.30 (Chen et al. 2012); 2.8 to 3.5 is accepted."""
    slopes = []
    for woman in population.draw_women(32, 21, prevalence=0):
        breast = woman.breasts["L"]
        outline = breast.outlines["CC"]
        projection = project_breast(list(breast.seed), outline, breast.density, breast.vessels, [], [], 0.25)
        row, column = int(outline.nipple_y / 0.25), int(0.45 * outline.depth_mm / 0.25)
        roi = projection.attenuation[row - 64 : row + 64, max(column - 64, 0) : column + 64]
        slopes.append(fit_exponent(power_spectrum([roi], 0.25)))
    assert 2.8 <= np.mean(slopes) <= 3.5


def test_benign_findings_do_not_depend_on_bac():
    kinds = [f.kind for seed in range(300) for f in draw_findings(np.random.default_rng(seed))]
    assert set(kinds) == set(FINDINGS)

    def share(prevalence):
        women = population.draw_women(60, 8, prevalence=prevalence)
        return np.mean([len(b.findings) for w in women for b in w.breasts.values()])

    assert share(0) == pytest.approx(share(1), rel=0.2)


def test_women_of_a_cohort_are_not_those_of_the_pretraining():
    assert population.TRAINING != population.COHORT
    assert all(w.seed[0] == population.COHORT for w in population.draw_women(5, population.TRAINING))


def test_simulated_cohort_on_disk(tmp_path):
    path = simulate_cohort(tmp_path, 3, 6, 0.8, prevalence=0.5, workers=1)
    views = read_views(path, check_images=True)
    assert len(views) == 12
    assert len(list((tmp_path / "truth").glob("*.png"))) == 12
    for row in views.itertuples():
        mask = cv2.imread(str(tmp_path / "truth" / f"{row.patient_id}_{row.laterality}_{row.view}.png"), 0)
        dicom = pydicom.dcmread(row.image_path)
        assert mask.shape == dicom.pixel_array.shape
        assert bool(mask.any()) == bool(row.bac) == (row.bac_length_mm > 0)
        assert dicom.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"  # Digital Mammography X-Ray, for presentation
        assert dicom.PresentationIntentType == "FOR PRESENTATION"
        assert (dicom.BitsStored, dicom.HighBit, dicom.BitsAllocated) == (12, 11, 16)
        assert [float(v) for v in dicom.ImagerPixelSpacing] == [0.8, 0.8]
        assert (dicom.ImageLaterality, dicom.ViewPosition) == (row.laterality, row.view)
        assert dicom.PatientAge == f"{int(row.age):03d}Y"
        assert dicom.pixel_array.max() <= 4095


def test_an_interrupted_simulation_is_resumed(tmp_path):
    women = population.draw_women(2, 6)
    write_views(women[:1], tmp_path, 0.8, workers=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "images").glob("*.dcm")}
    write_views(women, tmp_path, 0.8, workers=1)
    assert len(list((tmp_path / "images").glob("*.dcm"))) == 8
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    assert not list((tmp_path / "images").glob("part-*"))


def test_uids_are_unique_and_valid(tmp_path):
    write_views(population.draw_women(2, 6), tmp_path, 0.8, workers=1, truth=False)
    uids = [pydicom.dcmread(p).SOPInstanceUID for p in (tmp_path / "images").glob("*.dcm")]
    assert len(set(uids)) == 8
    assert all(uid.is_valid for uid in uids)
    assert not (tmp_path / "truth").exists()
