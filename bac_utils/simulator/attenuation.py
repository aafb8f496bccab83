"""X-ray attenuation of a simulated breast in one view: tissue, vessels, ligaments, calcifications on a pixel grid."""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline, Vessel, VisibleSegment
from bac_utils.simulator.calcifications import Finding, render_arterial_calcification, render_finding
from bac_utils.simulator.gland import GRID_MM, draw_gland
from bac_utils.simulator.muscle import pectoral_muscle
from bac_utils.simulator.rasterize import Canvas, draw_cylinder, mark_line
from bac_utils.simulator.strands import ducts, fine_strands, folds, ligaments, strand_thickness
from bac_utils.simulator.texture import fine_texture, resample, smoothstep

MU_FAT, MU_GLAND, MU_HYDROXYAPATITE, MU_STEEL = 0.0456, 0.0802, 1.9, 12.0
"""Linear attenuation coefficients at 20 keV in 1/mm: fat and gland from Johns & Yaffe 1987 (Phys Med Biol 32:675);
hydroxyapatite and steel of the order of magnitude in NIST's XCOM tables."""

MESH_MM = (0.7, 2.2)
"""Assumption: range of the standard deviation of the fine mesh of stroma, in mm of tissue along the beam, where a
breast of `TYPICAL_MM` is all gland."""
TYPICAL_MM = 50.0


@dataclass(frozen=True)
class Projection:
    """Projection of a breast onto one view, before exposure and image processing; arrays of (rows, columns).

    Attributes:
        attenuation: float32, line integral of the attenuation, 0 outside the breast.
        thickness: float32, thickness of tissue along the beam in mm.
        skin_distance: float32, distance to the skin in mm, 0 outside the breast.
        artery: bool, calcified arteries including their walls: the ground truth.
        spacing_mm: Pixel spacing in mm.
    """

    attenuation: np.ndarray
    thickness: np.ndarray
    skin_distance: np.ndarray
    artery: np.ndarray
    spacing_mm: float


def silhouette(outline: Outline, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the breast mask and the distance of each pixel to the skin.

    Args:
        outline: Outline of the breast in the view.
        spacing_mm: Pixel spacing in mm.

    Returns:
        Mask (bool) and distance in mm (float32), (rows, columns). They cover the full height of the field and extend
        from the chest wall to just beyond the breast.
    """
    reach = float(outline.edge.max()) + 4
    rows, columns = round(outline.height_mm / spacing_mm), round(reach / spacing_mm)
    y = (np.arange(rows) + 0.5) * spacing_mm
    edge = np.interp(y, outline.y, outline.edge)
    x = (np.arange(columns) + 0.5) * spacing_mm
    mask = x[None, :] < edge[:, None]
    coarse = 0.5  # mm; the distance is smooth, and a fixed grid makes it the same at every spacing
    field = np.interp((np.arange(round(outline.height_mm / coarse)) + 0.5) * coarse, outline.y, outline.edge)
    grid = (np.arange(round(reach / coarse)) + 0.5) * coarse < field[:, None]
    padded = cv2.copyMakeBorder(grid.astype(np.uint8), 80, 80, 80, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[80:-80, 80:-1] * coarse
    distance = cv2.resize(cv2.GaussianBlur(distance, (0, 0), 1.0), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return mask, np.where(mask, np.maximum(distance, spacing_mm / 2), 0).astype(np.float32)


def skin_path(distance: np.ndarray, half_mm: float, skin_mm: np.ndarray | float) -> np.ndarray:
    """Return the path of the beam in the skin in mm: it is longest where the rounded free edge is met tangentially.

    Args:
        distance: Distance to the skin in mm.
        half_mm: Radius of the rounded edge in mm: half the thickness of the breast.
        skin_mm: Thickness of the skin in mm.
    """
    outer = np.square(np.maximum(half_mm - distance, 0))  # square of the distance from the centre of the rounding
    inner = np.maximum(np.square(half_mm - skin_mm) - outer, 0)
    return 2 * (np.sqrt(np.maximum(half_mm**2 - outer, 0)) - np.sqrt(inner))


def uneven_skin(
    rng: np.random.Generator, outline: Outline, coarse_distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the thickness of the skin in mm and its contrast (1: dense as gland), both on the grid of `GRID_MM`.

    Along the edge both wax and wane, and at the areola the skin is thicker; far from the edge they are constant. The
    sizes are assumptions: skin of about 1 to 3 mm that is faint in some views.
    """
    y, x = (np.indices(coarse_distance.shape, dtype=np.float32) + 0.5) * GRID_MM
    angle = np.arctan2(y - outline.nipple_y, x)
    edge = np.exp(-coarse_distance / 4)
    fields = []
    for mean, change in ((rng.uniform(1.1, 2.8), 0.25), (rng.uniform(0.5, 1.2), 0.3)):
        waves = np.arange(1, 120)
        spectrum = (rng.standard_normal(119) + 1j * rng.standard_normal(119)) * waves**-1.1
        course = np.fft.irfft(np.concatenate([[0], spectrum]), 720)
        wave = np.interp(angle, np.linspace(-np.pi, np.pi, 720), course / course.std())
        fields.append(mean * np.exp(change * edge * wave))
    to_nipple = np.hypot(x - outline.depth_mm, y - outline.nipple_y)
    areola = rng.uniform(0.3, 1.5) * np.exp(-((to_nipple / rng.uniform(9, 16)) ** 2))
    return np.clip(fields[0] + edge * areola, 0.4, 4.0), np.clip(fields[1], 0, 1.3)


def _skin(
    rng: np.random.Generator, outline: Outline, distance: np.ndarray, coarse_distance: np.ndarray, spacing_mm: float
) -> np.ndarray:
    """Return the path in the skin in mm, uneven along the edge; `coarse_distance` is on the grid of `GRID_MM`."""
    fields = uneven_skin(rng, outline, coarse_distance)
    thickness, contrast = (resample(field.astype(np.float32), GRID_MM, distance.shape, spacing_mm) for field in fields)
    return contrast * skin_path(distance, outline.thickness_mm / 2, thickness)


def _chest_wall_skin(rng: np.random.Generator, distance: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return skin that is pulled in where the outline meets the chest wall, in mm: the bright corners of a view."""
    most, long, deep = rng.uniform(0, 22), rng.uniform(5, 16), rng.uniform(2, 7)
    columns = min(round(8 * long / spacing_mm), distance.shape[1])  # beyond, nothing is left
    x = (np.arange(columns, dtype=np.float32) + 0.5) * spacing_mm
    skin = np.zeros_like(distance)
    skin[:, :columns] = np.exp(np.log(max(most, 1e-6)) - x / long - distance[:, :columns] / deep)
    return skin


def project_breast(
    seed: list[int],
    outline: Outline,
    density: float,
    vessels: list[Vessel],
    segments: list[VisibleSegment],
    findings: list[Finding],
    spacing_mm: float,
) -> Projection:
    """Project a breast onto one view.

    Args:
        seed: Seed of the breast; the tissue of a view is drawn from this seed and the view.
        outline: Outline of the breast in the view.
        density: Glandular fraction of the breast, 0 to 1.
        vessels: Arteries and veins of the breast.
        segments: Calcified segments that this view shows.
        findings: Benign findings of the breast.
        spacing_mm: Pixel spacing in mm.

    Returns:
        The projection, chest wall at the left.
    """
    rng = np.random.default_rng([*seed, 1 if outline.view == "CC" else 2])
    mask, distance = silhouette(outline, spacing_mm)
    shape = mask.shape
    half = outline.thickness_mm / 2
    roll = np.clip(1 - distance / half, 0, 1)  # rounded free edge
    thickness = np.where(mask, outline.thickness_mm * np.sqrt(1 - roll**2), 0).astype(np.float32)

    _, coarse_distance = silhouette(outline, GRID_MM)
    muscle, inside_muscle = pectoral_muscle(rng, outline, coarse_distance.shape, GRID_MM)
    tissue = draw_gland(rng, outline, coarse_distance, inside_muscle, density)
    covered = smoothstep(inside_muscle / 6 + 0.3)  # by the muscle
    fading = (1 - 0.5 * covered) * smoothstep((coarse_distance - 0.5) / 2)
    share = tissue.fraction * (1 - covered) + muscle + tissue.net * fading / outline.thickness_mm
    gland = resample(share.astype(np.float32), GRID_MM, shape, spacing_mm)

    soft, calcium, metal = (Canvas(shape, spacing_mm) for _ in range(3))
    cooper = ligaments(rng, outline, tissue, coarse_distance)
    fine = fine_strands(rng, outline, tissue, coarse_distance, fading)
    strands = [cooper, fine, ducts(rng, outline)]
    lines = cooper.lines()
    for line, width in folds(rng, outline):
        draw_cylinder(soft, line, width, rng.uniform(0.6, 2.0))
    for vessel in vessels:
        line, diameter = outline.project(vessel.path), 2 * vessel.radius_mm
        if not vessel.segments:  # it comes up gradually from deeper tissue
            diameter = diameter * smoothstep(np.arange(len(line)) / 60 + 0.1)
        draw_cylinder(soft, line, diameter, rng.uniform(0.5, 1.5))
    for finding in findings:
        render_finding(calcium, metal, finding, outline, lines)
    turn = 0.0 if outline.view == "CC" else np.pi / 3
    artery = np.zeros(shape, np.uint8)
    for segment in segments:
        vessel = vessels[segment.vessel]
        render_arterial_calcification(calcium, vessel, segment, seed, turn)
        width = 2 * float(vessel.radius_mm[segment.start : segment.stop].mean()) + 0.4
        mark_line(artery, segment.line, width, spacing_mm)

    skin = _skin(rng, outline, distance, coarse_distance, spacing_mm) + _chest_wall_skin(rng, distance, spacing_mm)
    mesh_rng = np.random.default_rng([*seed, 16 if outline.view == "CC" else 17])
    mesh = fine_texture(mesh_rng, shape, spacing_mm) * np.sqrt(gland + 0.1) * (thickness / TYPICAL_MM)
    tissue_mm = gland * thickness + skin + strand_thickness(strands, shape, spacing_mm)
    tissue_mm += mesh_rng.uniform(*MESH_MM) * mesh
    attenuation = MU_FAT * thickness + (MU_GLAND - MU_FAT) * (tissue_mm + soft.thickness())
    attenuation += MU_HYDROXYAPATITE * calcium.thickness() + MU_STEEL * metal.thickness()
    attenuation = np.where(mask, attenuation, 0).astype(np.float32)
    return Projection(attenuation, thickness, distance, (artery > 0) & mask, spacing_mm)
