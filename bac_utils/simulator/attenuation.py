"""From curves to X-ray attenuation: the breast's tissue, vessels, ligaments and calcium on a pixel grid."""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline, Vessel, VisibleStretch
from bac_utils.simulator.calcifications import Finding, draw_artery_calcium, draw_finding
from bac_utils.simulator.rasterize import TEXTURE_MM, Canvas, paint, power_law, sample, stroke

FAT, GLAND, CALCIUM, METAL = 0.0456, 0.0802, 1.9, 12.0
"""Linear attenuation at 20 keV in 1/mm: fat and gland after Johns & Yaffe 1987 (Phys Med Biol 32:675); hydroxyapatite
and steel of the order that NIST's XCOM tables give."""
THREAD_GRID_MM = 0.13
"""Septa and threads, thinner than a coarse pixel, are drawn on a grid of at most this spacing and averaged over the
pixels, as a detector's elements collect what falls on them."""


@dataclass(frozen=True)
class Tissue:
    """The unprocessed picture of a view.

    Attributes:
        attenuation: float32 (rows, columns), line integral of the attenuation, 0 outside the breast.
        thickness: float32, tissue along the beam in mm.
        skin_distance: float32, distance to the skin in mm, 0 outside.
        artery: bool, calcified artery (its outer walls), the truth.
        spacing_mm: Pixel spacing.
    """

    attenuation: np.ndarray
    thickness: np.ndarray
    skin_distance: np.ndarray
    artery: np.ndarray
    spacing_mm: float


def silhouette(outline: Outline, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the breast's mask and each pixel's distance to the skin.

    Args:
        outline: The view.
        spacing_mm: Pixel spacing.

    Returns:
        bool and float32 (mm) arrays over the field's height and as far from the chest wall as the breast reaches.
    """
    reach = float(outline.edge.max()) + 4
    rows, columns = round(outline.height_mm / spacing_mm), round(reach / spacing_mm)
    y = (np.arange(rows) + 0.5) * spacing_mm
    edge = np.interp(y, outline.y, outline.edge)
    x = (np.arange(columns) + 0.5) * spacing_mm
    mask = x[None, :] < edge[:, None]
    coarse = 0.5  # the distance is smooth: half a mm is fine, and the same at every spacing
    field = np.interp((np.arange(round(outline.height_mm / coarse)) + 0.5) * coarse, outline.y, outline.edge)
    grid = (np.arange(round(reach / coarse)) + 0.5) * coarse < field[:, None]
    padded = cv2.copyMakeBorder(grid.astype(np.uint8), 80, 80, 80, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[80:-80, 80:-1] * coarse
    distance = cv2.resize(cv2.GaussianBlur(distance, (0, 0), 1.0), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return mask, np.where(mask, np.maximum(distance, spacing_mm / 2), 0).astype(np.float32)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _gland_share(
    rng: np.random.Generator, outline: Outline, distance: np.ndarray, density: float, spacing_mm: float
) -> np.ndarray:
    """Glandular share of the tissue, float32 in [0, 1]: lobes under the skin's fat, septa, threads."""
    shape = distance.shape
    finer = max(int(np.ceil(spacing_mm / THREAD_GRID_MM)), 1)
    fine = (shape[0] * finer, shape[1] * finer)
    mean, sd = (3.17, 0.226) if outline.view == "CC" else (3.30, 0.236)  # exponent, Chen et al. 2012
    texture = power_law(rng, rng.normal(mean, sd), longest_mm=rng.uniform(30, 80))
    lobes = sample(texture, shape, spacing_mm)
    smooth = power_law(rng, 5.0, longest_mm=rng.uniform(9, 22), pixels=512)

    def averaged(layer: np.ndarray) -> np.ndarray:
        return cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_AREA)

    def crests(field: np.ndarray, width: float) -> np.ndarray:
        """Thin lines along the zeros of a field on the fine grid, averaged over the pixels."""
        line = np.abs(field)
        line *= np.float32(-1 / width)
        line += 1
        np.maximum(line, 0, out=line)
        line *= line
        return averaged(line)

    septa = crests(sample(smooth, fine, spacing_mm / finer), rng.uniform(0.08, 0.25))
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * spacing_mm - outline.depth_mm
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * spacing_mm - outline.nipple_y
    # textures stretched along the lines that run to the nipple: ducts, lobes, ligaments
    beyond = x - rng.uniform(8, 60)  # they meet behind the nipple
    # cartToPolar: to 0.0002 rad, and in a third of arctan2's time
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
    """Cooper's ligaments and septa of a view, each (n, 2) in mm."""
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
    """Skin folds, at the fold under the breast and the axilla above all, each (n, 2) in mm."""
    lines = []
    for _ in range(rng.poisson(0.5)):
        y = rng.choice([rng.uniform(0.03, 0.3), rng.uniform(0.7, 0.95)]) * outline.height_mm
        start = np.array([rng.uniform(0.0, 0.6) * np.interp(y, outline.y, outline.edge), y])
        t = np.arange(0, rng.uniform(15, 60), 0.5)
        angle = rng.normal(0, 0.6) + rng.normal(0, 0.012) * t
        lines.append(start + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.5, axis=0))
    return lines


def _muscle(rng: np.random.Generator, outline: Outline, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Glandular share that attenuates like the pectoral muscle in the beam, float32 (rows, columns)."""
    width, height = outline.muscle
    if width <= 0:
        return np.zeros(shape, np.float32)
    fibres = sample(power_law(rng, 2.8, 12, pixels=512), shape, spacing_mm)
    y = (np.arange(shape[0]) + 0.5) * spacing_mm / height
    x = (np.arange(shape[1]) + 0.5) * spacing_mm
    edge = width * (1 - y + outline.muscle_bow * np.sin(np.pi * np.clip(y, 0, 1)))
    inside = (edge[:, None] - x[None, :]).astype(np.float32)
    share = _smoothstep(inside / rng.uniform(1.0, 5.0) + 0.5)  # its edge is oblique, hence soft
    thick = rng.uniform(0.35, 0.65) + rng.uniform(0.1, 0.3) * _smoothstep(inside / rng.uniform(15, 50))
    return share * thick * (1 + 0.05 * fibres)


def draw_tissue(
    seed: list[int],
    outline: Outline,
    density: float,
    vessels: list[Vessel],
    stretches: list[VisibleStretch],
    findings: list[Finding],
    spacing_mm: float,
) -> Tissue:
    """Draw one view's attenuation.

    Args:
        seed: Of this breast; the view's own tissue adds the view to it.
        outline: The view.
        density: Glandular share of the breast, 0 to 1.
        vessels: Arteries and veins of the breast.
        stretches: Calcified stretches that this view shows.
        findings: Benign findings of the breast.
        spacing_mm: Pixel spacing.

    Returns:
        The tissue, chest wall at the left.
    """
    rng = np.random.default_rng([*seed, 1 if outline.view == "CC" else 2])
    mask, distance = silhouette(outline, spacing_mm)
    shape = mask.shape
    half = outline.thickness_mm / 2
    roll = np.clip(1 - distance / half, 0, 1)  # the free edge is round
    thickness = np.where(mask, outline.thickness_mm * np.sqrt(1 - roll**2), 0).astype(np.float32)
    gland = _gland_share(rng, outline, distance, density, spacing_mm)
    muscle = _muscle(rng, outline, shape, spacing_mm)
    gland = gland * (1 - muscle) + muscle

    soft, calcium, metal = (Canvas(shape, spacing_mm) for _ in range(3))
    lines = _ligaments(rng, outline)
    strong = rng.uniform(0.5, 2.0)
    for line in lines:  # sheets seen edge-on: more tissue along the beam than a thread has
        stroke(soft, line, rng.uniform(0.25, 0.8), strong * rng.uniform(0.8, 5.0), step_mm=0.15)
    for line in _folds(rng, outline):
        stroke(soft, line, rng.uniform(0.8, 2.5), rng.uniform(0.6, 2.0))
    for vessel in vessels:
        stroke(soft, outline.project(vessel.path), 2 * vessel.radius_mm, rng.uniform(0.5, 1.5))
    for finding in findings:
        draw_finding(calcium, metal, finding, outline, lines)
    turn = 0.0 if outline.view == "CC" else np.pi / 3
    artery = np.zeros(shape, np.uint8)
    for stretch in stretches:
        vessel = vessels[stretch.vessel]
        draw_artery_calcium(calcium, vessel, stretch, seed, turn)
        width = 2 * float(vessel.radius_mm[stretch.start : stretch.stop].mean()) + 0.4
        paint(artery, stretch.line, width, spacing_mm)

    skin = np.exp(-0.5 * ((distance - 0.8) / 0.6) ** 2) * rng.uniform(1.5, 5.0)  # mm of gland-like tissue more
    attenuation = FAT * thickness + (GLAND - FAT) * (gland * thickness + skin + soft.thickness())
    attenuation += CALCIUM * calcium.thickness() + METAL * metal.thickness()
    attenuation = np.where(mask, attenuation, 0).astype(np.float32)
    return Tissue(attenuation, thickness, distance, (artery > 0) & mask, spacing_mm)
