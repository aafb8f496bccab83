"""X-ray attenuation of a simulated breast in one view: tissue, vessels, ligaments, calcifications on a pixel grid."""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline, Vessel, VisibleSegment
from bac_utils.simulator.calcifications import Finding, render_arterial_calcification, render_finding
from bac_utils.simulator.rasterize import Canvas, draw_cylinder, mark_line
from bac_utils.simulator.texture import PUBLISHED_EXPONENTS, TEXTURE_MM, power_law_texture, sample_texture

MU_FAT, MU_GLAND, MU_HYDROXYAPATITE, MU_STEEL = 0.0456, 0.0802, 1.9, 12.0
"""Linear attenuation coefficients at 20 keV in 1/mm: fat and gland from Johns & Yaffe 1987 (Phys Med Biol 32:675);
hydroxyapatite and steel of the order of magnitude in NIST's XCOM tables."""
THREAD_GRID_MM = 0.13
"""Largest spacing, in mm, of the grid on which septa and threads are drawn. They can be thinner than a pixel and are
averaged over the pixels, as a detector element integrates over its area."""


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


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _glandular_fraction(
    rng: np.random.Generator, outline: Outline, distance: np.ndarray, density: float, spacing_mm: float
) -> np.ndarray:
    """Return the glandular fraction, float32 in [0, 1]: lobes below the subcutaneous fat, septa and threads."""
    shape = distance.shape
    finer = max(int(np.ceil(spacing_mm / THREAD_GRID_MM)), 1)
    fine = (shape[0] * finer, shape[1] * finer)
    texture = power_law_texture(rng, rng.normal(*PUBLISHED_EXPONENTS[outline.view]), longest_mm=rng.uniform(30, 80))
    lobes = sample_texture(texture, shape, spacing_mm)
    smooth = power_law_texture(rng, 5.0, longest_mm=rng.uniform(9, 22), pixels=512)

    def averaged(layer: np.ndarray) -> np.ndarray:
        return cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_AREA)

    def crests(field: np.ndarray, width: float) -> np.ndarray:
        """Return thin lines along the zeros of a field on the fine grid, averaged over the pixels."""
        line = np.abs(field)
        line *= np.float32(-1 / width)
        line += 1
        np.maximum(line, 0, out=line)
        line *= line
        return averaged(line)

    septa = crests(sample_texture(smooth, fine, spacing_mm / finer), rng.uniform(0.08, 0.25))
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * spacing_mm - outline.depth_mm
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * spacing_mm - outline.nipple_y
    # Textures stretched along lines that converge behind the nipple: ducts, lobes, ligaments.
    beyond = x - rng.uniform(8, 60)
    # cartToPolar is accurate to 0.0002 rad and takes a third of the time of arctan2
    reach, angle = cv2.cartToPolar(*(np.ascontiguousarray(np.broadcast_to(v, shape)) for v in (beyond, -y)))
    angle -= np.float32(np.pi)

    def radial(field: np.ndarray, pull: float, turns: float) -> np.ndarray:
        scale = np.float32(len(field) / TEXTURE_MM)
        along, across = reach * (np.float32(pull) * scale), (angle * np.float32(turns) + 160) * scale
        along, across = (cv2.resize(at, fine[::-1], interpolation=cv2.INTER_LINEAR) for at in (along, across))
        return cv2.remap(field, along, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    inner = averaged(radial(np.roll(texture, 397, 0), rng.uniform(0.3, 0.9), rng.uniform(50, 100)))
    strand = radial(smooth, rng.uniform(0.12, 0.4), rng.uniform(60, 140))
    threads = crests(strand, rng.uniform(0.06, 0.2))
    depth = outline.depth_mm
    disc = 1 - ((x / depth + rng.uniform(0.3, 0.55)) / 0.75) ** 2 - (y / depth / rng.uniform(0.6, 0.95)) ** 2
    under_skin = _smoothstep((distance - rng.uniform(1, 7)) / rng.uniform(8, 18))
    field = rng.uniform(0.6, 1.2) * disc + rng.uniform(0.1, 0.35) * lobes + rng.uniform(0.15, 0.45) * inner
    cut = float(np.quantile(field[distance > 0][::37], min(max(1 - 1.2 * density, 0.02), 0.98)))
    core = 1 / (1 + np.exp(-(field - cut) / rng.uniform(0.4, 0.9))) * under_skin
    gland = core * rng.uniform(0.4, 0.75) * (1 + rng.uniform(0.12, 0.35) * inner)
    gland += under_skin * (rng.uniform(0.03, 0.18) * septa + rng.uniform(0.03, 0.20) * threads)
    gland += 0.07 * (1 + rng.uniform(0.3, 0.7) * lobes) * (1 - core)
    return np.clip(gland, 0, 1).astype(np.float32)


def _ligaments(rng: np.random.Generator, outline: Outline) -> list[np.ndarray]:
    """Return Cooper's ligaments and septa of a view as lines, each (n, 2) in mm."""
    lines = []
    for _ in range(rng.integers(12, 45)):
        y = rng.uniform(0.05, 0.95) * outline.height_mm
        edge = np.interp(y, outline.y, outline.edge)
        if edge < 12:
            continue
        start = np.array([edge * rng.uniform(0.15, 0.97), y])
        aim = np.array([outline.depth_mm * 0.55, outline.nipple_y]) - start
        turn = np.arctan2(aim[1], aim[0]) + rng.normal(0, 0.7)
        t = np.arange(0, rng.uniform(8, 55), 0.5)
        angle = turn + np.cumsum(rng.normal(0, 0.03, len(t))) + rng.normal(0, 0.008) * t
        lines.append(start + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.5, axis=0))
    return lines


def _folds(rng: np.random.Generator, outline: Outline) -> list[np.ndarray]:
    """Return skin folds as lines, each (n, 2) in mm; most lie at the inframammary fold and the axilla."""
    lines = []
    for _ in range(rng.poisson(0.5)):
        y = rng.choice([rng.uniform(0.03, 0.3), rng.uniform(0.7, 0.95)]) * outline.height_mm
        start = np.array([rng.uniform(0.0, 0.6) * np.interp(y, outline.y, outline.edge), y])
        t = np.arange(0, rng.uniform(15, 60), 0.5)
        angle = rng.normal(0, 0.6) + rng.normal(0, 0.012) * t
        lines.append(start + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.5, axis=0))
    return lines


def _muscle(rng: np.random.Generator, outline: Outline, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Return the glandular fraction that attenuates like the pectoral muscle in the beam, float32 (rows, columns)."""
    width, height = outline.muscle
    if width <= 0:
        return np.zeros(shape, np.float32)
    fibres = sample_texture(power_law_texture(rng, 2.8, 12, pixels=512), shape, spacing_mm)
    y = (np.arange(shape[0]) + 0.5) * spacing_mm / height
    x = (np.arange(shape[1]) + 0.5) * spacing_mm
    edge = width * (1 - y + outline.muscle_bow * np.sin(np.pi * np.clip(y, 0, 1)))
    inside = (edge[:, None] - x[None, :]).astype(np.float32)
    share = _smoothstep(inside / rng.uniform(1.0, 5.0) + 0.5)  # the edge is oblique to the beam, hence soft
    thick = rng.uniform(0.35, 0.65) + rng.uniform(0.1, 0.3) * _smoothstep(inside / rng.uniform(15, 50))
    return share * thick * (1 + 0.05 * fibres)


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
    gland = _glandular_fraction(rng, outline, distance, density, spacing_mm)
    muscle = _muscle(rng, outline, shape, spacing_mm)
    gland = gland * (1 - muscle) + muscle

    soft, calcium, metal = (Canvas(shape, spacing_mm) for _ in range(3))
    lines = _ligaments(rng, outline)
    strong = rng.uniform(0.5, 2.0)
    for line in lines:  # sheets seen edge-on: more tissue along the beam than in a thread
        draw_cylinder(soft, line, rng.uniform(0.25, 0.8), strong * rng.uniform(0.8, 5.0), step_mm=0.15)
    for line in _folds(rng, outline):
        draw_cylinder(soft, line, rng.uniform(0.8, 2.5), rng.uniform(0.6, 2.0))
    for vessel in vessels:
        draw_cylinder(soft, outline.project(vessel.path), 2 * vessel.radius_mm, rng.uniform(0.5, 1.5))
    for finding in findings:
        render_finding(calcium, metal, finding, outline, lines)
    turn = 0.0 if outline.view == "CC" else np.pi / 3
    artery = np.zeros(shape, np.uint8)
    for segment in segments:
        vessel = vessels[segment.vessel]
        render_arterial_calcification(calcium, vessel, segment, seed, turn)
        width = 2 * float(vessel.radius_mm[segment.start : segment.stop].mean()) + 0.4
        mark_line(artery, segment.line, width, spacing_mm)

    skin = np.exp(-0.5 * ((distance - 0.8) / 0.6) ** 2) * rng.uniform(1.5, 5.0)  # additional gland-like tissue, mm
    attenuation = MU_FAT * thickness + (MU_GLAND - MU_FAT) * (gland * thickness + skin + soft.thickness())
    attenuation += MU_HYDROXYAPATITE * calcium.thickness() + MU_STEEL * metal.thickness()
    attenuation = np.where(mask, attenuation, 0).astype(np.float32)
    return Projection(attenuation, thickness, distance, (artery > 0) & mask, spacing_mm)
