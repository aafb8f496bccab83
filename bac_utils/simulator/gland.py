"""The glandular tissue of a simulated view: lobes that fan out from the nipple, indented by lobules of fat.

All fields are computed on a grid of fixed spacing, so they are the same at every pixel spacing. Sizes and contrasts are
assumptions, chosen by eye, except for the exponents of the texture (`texture.PUBLISHED_EXPONENTS`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline
from bac_utils.simulator.lobules import hollows, lay_out_cells, net, shades
from bac_utils.simulator.rasterize import blur
from bac_utils.simulator.texture import (
    PUBLISHED_EXPONENTS,
    TEXTURE_MM,
    power_law_texture,
    resample,
    sample_texture,
    smoothstep,
)

GRID_MM = 0.25
"""Spacing of the grid on which the tissue is computed; the thinner strands are drawn on the pixels."""
LAYOUT_MM = 1.0
"""Spacing of the grid on which lobes are laid out."""
LOBULES = (1.2, 0.8, 0.55)
"""Relative sizes of the lobules of fat in layers of tissue that lie over each other along the beam."""
TYPICAL_DEPTH_MM = 90.0
"""Distance from the chest wall to the nipple for which sizes of lobes are given."""


@dataclass(frozen=True)
class Gland:
    """Glandular tissue of one view on a grid of `GRID_MM`.

    Attributes:
        fraction: Glandular fraction, float32 in [0, 1].
        core: Share of the beam's path that lies in the lobes, float32 in [0, 1], without the texture in them.
        net: Tissue of the septa between lobules along the beam in mm, float32.
        border: Distance to the nearest border between two lobules in mm, float32.
    """

    fraction: np.ndarray
    core: np.ndarray
    net: np.ndarray
    border: np.ndarray


def draw_gland(
    rng: np.random.Generator, outline: Outline, distance: np.ndarray, muscle: np.ndarray, density: float
) -> Gland:
    """Draw the glandular tissue of one view.

    Args:
        rng: Source of randomness.
        outline: Outline of the breast in the view.
        distance: Distance to the skin in mm, 0 outside the breast, on a grid of `GRID_MM`.
        muscle: Distance inside the border of the pectoral muscle in mm (negative outside), on the same grid.
        density: Glandular fraction of the breast, 0 to 1.

    Returns:
        The tissue.
    """
    shape = distance.shape
    texture = power_law_texture(rng, rng.normal(*PUBLISHED_EXPONENTS[outline.view]), longest_mm=rng.uniform(50, 150))
    cloud = sample_texture(texture, shape, GRID_MM)
    fibres = power_law_texture(rng, rng.uniform(2.3, 2.7), longest_mm=rng.uniform(8, 20))
    warp = power_law_texture(rng, 4.6, longest_mm=22, pixels=512)
    fan = _fan(rng, outline, fibres, warp, shape)
    # subcutaneous fat; it is thin behind the nipple
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * GRID_MM - outline.depth_mm
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * GRID_MM - outline.nipple_y
    near_nipple = np.exp(-(x**2 + y**2) / (2 * 13.0**2))
    fat_mm = np.maximum(rng.uniform(1, 9) * (1 - 0.8 * near_nipple) + 1.2 * cloud, 1.3 - near_nipple)
    allowed = smoothstep((distance - fat_mm) / (rng.uniform(2, 8) + 2 * cloud).clip(1))
    allowed *= smoothstep((-muscle - rng.uniform(0, 3)) / rng.uniform(2, 9))  # retromammary fat
    if outline.view == "CC":
        behind = rng.uniform(-25, 8)  # mm of retromammary fat that the view shows
        allowed *= smoothstep((x + outline.depth_mm - behind - 2.5 * cloud) / rng.uniform(3, 12))
    lobes = (rng.uniform(0.4, 0.9) + 0.6 * density) * _lobes(rng, outline, shape)
    lobes = np.maximum(lobes, rng.uniform(0.15, 0.5) * lobes - 0.1)  # some gland is scattered beyond the lobes
    size = rng.uniform(10, 17) * (1.1 - 0.3 * density)  # mm; lobules are larger in fatty breasts
    layers = [lay_out_cells(rng, outline, shape, GRID_MM, size * share, (warp, fibres)) for share in LOBULES]
    roughness, fat = rng.uniform(0.15, 0.35) * (1 - 0.8 * density), rng.uniform(0.6, 1.4) * (1 - 0.7 * density)
    filled = rng.uniform(0.1, 0.6) + 0.25 * density
    indents = [hollows(rng, cells, filled) for cells in layers]
    fields = []
    for layer, indent in enumerate(indents):
        rough = cloud if layer == 0 else sample_texture(np.roll(texture, 211 * layer, 1), shape, GRID_MM)
        shared = 0.2 * indents[layer - 1]
        fields.append(lobes + roughness * (rough + 0.15 * fan) - fat * (indent + shared))
    cut = _cut(fields, allowed, (distance > 0) & (muscle < 0), density)
    width = rng.uniform(0.06, 0.22) * (1 + 1.5 * density)
    core = sum(1 / (1 + np.exp((cut - field) / width)) for field in fields) / len(LOBULES) * allowed
    amount = 0.7 + 0.3 * np.tanh(0.9 * (sum(fields) / len(LOBULES) - cut))  # least tissue at the border of a lobe
    amount *= 1 - rng.uniform(0.25, 0.5) * (1 - 0.5 * density) * np.minimum(sum(indents) / len(LOBULES), 1)
    amount *= rng.uniform(0.42, 0.66) + 0.15 * density
    amount *= 1 + (1 - 0.5 * density) * (rng.uniform(0.05, 0.15) * fan + rng.uniform(0.12, 0.3) * cloud)
    uneven = rng.uniform(0.35, 0.65) * cloud + rng.uniform(0.05, 0.2) * fan
    uneven += rng.uniform(0.15, 0.35) * sum(shades(rng, cells) for cells in layers)
    rest = rng.uniform(0.03, 0.075) * np.exp(uneven) * (1 - core)  # connective tissue in the fat
    fraction = blur(np.clip(core * amount + rest, 0, 1).astype(np.float32), 0.6)  # nothing finer than the grid resolves
    core = core.astype(np.float32)
    near = np.minimum(1.6 * _spread(core, 3.0), 1)
    threads, between = np.zeros(shape, np.float32), rng.uniform(1.3, 3.5)
    for cells, deep, wide in zip(layers, (1.0, 0.8, 0.6), (0.25, 0.22, 0.2), strict=True):
        threads += (between * deep * net(cells, near, wide)).astype(np.float32)
    threads *= (1 - 0.6 * core) * (1 + 0.8 * np.exp(-distance / 12))  # little contrast in gland, most below the skin
    return Gland(fraction, core, threads, np.minimum.reduce([cells.border for cells in layers]))


def _spread(field: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Blur a field on the grid of the tissue widely, on a grid of `LAYOUT_MM`."""
    size = tuple(int(np.ceil(n * GRID_MM / LAYOUT_MM)) for n in field.shape[::-1])
    small = cv2.GaussianBlur(cv2.resize(field, size, interpolation=cv2.INTER_AREA), (0, 0), sigma_mm / LAYOUT_MM)
    return cv2.resize(small, field.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _cut(fields: list[np.ndarray], allowed: np.ndarray, inside: np.ndarray, density: float) -> float:
    """Return the level above which the fields are gland, so that gland fills the wanted share of the breast."""
    wanted = min(max(1 - 1.1 * density, 0.03), 0.97)
    values = np.concatenate([np.where(allowed > 0.5, field, -9)[inside][::29] for field in fields])
    cut = float(np.quantile(values, wanted))
    if cut < -5:  # the skin and the muscle leave less room than wanted
        cut = float(np.quantile(values[values > -5], 0.03)) if (values > -5).any() else 0.0
    return cut


def _lobes(rng: np.random.Generator, outline: Outline, shape: tuple[int, int]) -> np.ndarray:
    """Return a smooth field that is positive in the lobes: patches fanned out from the nipple, most of them upwards.

    Upwards is lateral in the CC view and upper outer in the MLO view.
    """
    size = outline.depth_mm / TYPICAL_DEPTH_MM
    rows, columns = (int(np.ceil(n * GRID_MM / LAYOUT_MM)) for n in shape)
    x = (np.arange(columns) + 0.5)[None, :] * LAYOUT_MM - outline.depth_mm
    y = (np.arange(rows) + 0.5)[:, None] * LAYOUT_MM - outline.nipple_y
    total = np.zeros((rows, columns))
    sharp = 2.5
    lean = rng.uniform(0.05, 0.45)  # radians by which the tissue leans upwards
    for _ in range(rng.integers(10, 20)):
        turn = rng.normal(lean, 0.55)
        reach = rng.uniform(0.12, 0.8) * outline.depth_mm
        along, across = rng.uniform(12, 30) * size, rng.uniform(7, 16) * size
        cx, cy = -reach * np.cos(turn), -reach * np.sin(turn)
        cos, sin = np.cos(turn), np.sin(turn)
        p, q = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        height = rng.uniform(0.6, 1.0) - ((p / along) ** 2 + (q / across) ** 2) ** 0.75
        total += np.exp(sharp * np.maximum(height, -6))
    behind = np.maximum(-x, 0.5)  # the cone of ducts behind the nipple
    cone = 0.9 - (np.abs(y) / (3 + 0.35 * behind)) ** 1.5 - behind / (45 * size) - 5 * np.maximum(x, 0)
    total += np.exp(sharp * np.maximum(cone, -6))
    return resample((np.log(total) / sharp).astype(np.float32), LAYOUT_MM, shape, GRID_MM)


def _fan(
    rng: np.random.Generator, outline: Outline, texture: np.ndarray, warp: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return a texture stretched along lines that converge behind the nipple, as ducts and ligaments do.

    `warp` is a smooth texture by which the lines are bent.
    """
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * GRID_MM - outline.depth_mm - rng.uniform(8, 60)
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * GRID_MM - outline.nipple_y
    # cartToPolar is accurate to 0.0002 rad and takes a third of the time of arctan2
    reach, angle = cv2.cartToPolar(*(np.ascontiguousarray(np.broadcast_to(v, shape)) for v in (x, -y)))
    scale = np.float32(len(texture) / TEXTURE_MM)
    along = reach * (np.float32(rng.uniform(0.35, 0.9)) * scale)
    across = ((angle - np.float32(np.pi)) * np.float32(rng.uniform(90, 160)) + 160) * scale
    across += sample_texture(warp, shape, GRID_MM) * np.float32(rng.uniform(0.3, 1.0) * scale)  # lines are not straight
    return cv2.remap(texture, along, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
