"""The glandular tissue of a simulated view: lobes that fan out from the nipple, indented by lobules of fat.

All fields are computed on a grid of fixed spacing, so they are the same at every pixel spacing. Sizes and contrasts are
assumptions, chosen by eye, except for the exponents of the texture (`texture.PUBLISHED_EXPONENTS`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline
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
"""Spacing of the grid on which lobes and lobules are laid out."""
LAYERS = 2
"""Layers of tissue that lie over each other along the beam, each with its own lobules of fat."""
TYPICAL_DEPTH_MM = 90.0
"""Distance from the chest wall to the nipple for which sizes of lobes are given."""


@dataclass(frozen=True)
class Gland:
    """Glandular tissue of one view on a grid of `GRID_MM`.

    Attributes:
        fraction: Glandular fraction, float32 in [0, 1].
        core: Share of the beam's path that lies in the lobes, float32 in [0, 1], without the texture in them.
        lobules: (n, 6) lobules of fat: x, y, the two radii in mm, the turn in radians, and the depth, 0 to 1.
    """

    fraction: np.ndarray
    core: np.ndarray
    lobules: np.ndarray


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
    fibres = power_law_texture(rng, rng.uniform(2.7, 3.1), longest_mm=rng.uniform(12, 40))
    warp = power_law_texture(rng, 4.7, longest_mm=45, pixels=512)
    fan = _fan(rng, outline, fibres, warp, shape)
    # subcutaneous fat; it is thin behind the nipple
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * GRID_MM - outline.depth_mm
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * GRID_MM - outline.nipple_y
    near_nipple = np.exp(-(x**2 + y**2) / (2 * 13.0**2))
    fat_mm = rng.uniform(1, 9) * (1 - 0.8 * near_nipple) + 1.2 * cloud
    allowed = smoothstep((distance - fat_mm) / (rng.uniform(6, 13) + 3 * cloud).clip(2))
    allowed *= smoothstep((-muscle - rng.uniform(0, 3)) / rng.uniform(5, 14))  # retromammary fat
    if outline.view == "CC":
        behind = rng.uniform(-25, 8)  # mm of retromammary fat that the view shows
        allowed *= smoothstep((x + outline.depth_mm - behind - 2.5 * cloud) / rng.uniform(6, 15))
    lobes = _lobes(rng, outline, shape)
    roughness, fat = rng.uniform(0.06, 0.16), rng.uniform(0.35, 0.75)
    large = _draw_lobules(rng, outline, rng.uniform(5, 9), rng.uniform(0.15, 0.45))
    hollow = _warped(_lobule_field(large, shape), warp, rng.uniform(1.5, 3.5), shape)
    through = lobes - rng.uniform(0.4, 1.0) * hollow
    fields, drawn = [], [large]
    for layer in range(LAYERS):
        lobules = _draw_lobules(rng, outline, rng.uniform(2, 5), rng.uniform(0.15, 0.4))
        warp = np.roll(warp, 97, 1)
        indent = _warped(_lobule_field(lobules, shape), warp, rng.uniform(0.8, 2.0), shape)
        rough = cloud if layer == 0 else sample_texture(np.roll(texture, 211 * layer, 1), shape, GRID_MM)
        hollow = hollow + 0.5 * indent
        fields.append(through + roughness * (rough + 0.4 * fan) - fat * indent)
        drawn.append(lobules)
    wanted = min(max(1 - 1.1 * density, 0.03), 0.97)
    inside = (distance > 0) & (muscle < 0)
    values = np.concatenate([np.where(allowed > 0.5, field, -9)[inside][::29] for field in fields])
    cut = float(np.quantile(values, wanted))
    if cut < -5:  # the skin and the muscle leave less room than wanted
        cut = float(np.quantile(values[values > -5], 0.03)) if (values > -5).any() else 0.0
    width = rng.uniform(0.15, 0.45)
    core = sum(1 / (1 + np.exp((cut - field) / width)) for field in fields) / LAYERS * allowed
    amount = 0.65 + 0.35 * np.tanh(1.5 * (through - cut))  # least tissue at the border of a lobe
    amount *= 1 - rng.uniform(0.1, 0.3) * np.minimum(hollow, 1)
    amount *= rng.uniform(0.42, 0.66) + 0.15 * density
    amount *= 1 + rng.uniform(0.04, 0.12) * fan + rng.uniform(0.08, 0.2) * cloud
    rest = rng.uniform(0.06, 0.14) * (1 + rng.uniform(0.08, 0.2) * cloud + rng.uniform(0.03, 0.09) * fan) * (1 - core)
    fraction = blur(np.clip(core * amount + rest, 0, 1).astype(np.float32), 0.6)  # nothing finer than the grid resolves
    return Gland(fraction, core.astype(np.float32), np.concatenate(drawn))


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
    across = ((angle - np.float32(np.pi)) * np.float32(rng.uniform(50, 100)) + 160) * scale
    across += sample_texture(warp, shape, GRID_MM) * np.float32(rng.uniform(0.5, 2) * scale)  # lines are not straight
    return cv2.remap(texture, along, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _draw_lobules(rng: np.random.Generator, outline: Outline, radius_mm: float, cover: float) -> np.ndarray:
    """Return lobules of fat, see `Gland.lobules`, of a median shorter radius that cover a share of the breast."""
    area = float(outline.edge.sum()) * (outline.y[1] - outline.y[0])
    number = rng.poisson(cover * area / (np.pi * 1.6 * radius_mm**2))
    place = rng.uniform([0, 0], [outline.depth_mm, outline.height_mm], (3 * number + 10, 2))
    place = place[place[:, 0] < np.interp(place[:, 1], outline.y, outline.edge)][:number]
    radius = rng.lognormal(np.log(radius_mm), 0.35, len(place)).clip(1.5, 18)
    turn = np.arctan2(place[:, 1] - outline.nipple_y, place[:, 0] - outline.depth_mm - 20)
    turn = turn + rng.normal(0, 0.5, len(place))
    longer, deep = rng.uniform(1.1, 2.0, len(place)), rng.uniform(0.2, 1, len(place))
    return np.column_stack([place, radius * longer, radius, turn, deep])


def _lobule_field(lobules: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the indentation by lobules of fat, float32 from 0 to 1, on a grid of `LAYOUT_MM` / 2."""
    step = LAYOUT_MM / 2
    rows, columns = (int(np.ceil(n * GRID_MM / step)) for n in shape)
    field = np.zeros((rows, columns), np.float32)
    for x, y, along, across, turn, deep in lobules:
        r0, r1 = (int(np.clip((y + s * along) / step, 0, rows)) for s in (-1, 1))
        c0, c1 = (int(np.clip((x + s * along) / step, 0, columns)) for s in (-1, 1))
        if r0 >= r1 or c0 >= c1:
            continue
        dy = (np.arange(r0, r1, dtype=np.float32) + 0.5)[:, None] * step - y
        dx = (np.arange(c0, c1, dtype=np.float32) + 0.5)[None, :] * step - x
        cos, sin = np.cos(turn), np.sin(turn)
        far = ((dx * cos + dy * sin) / along) ** 2 + ((dy * cos - dx * sin) / across) ** 2
        part = field[r0:r1, c0:c1]
        np.maximum(part, np.float32(deep) * smoothstep(1 - far), out=part)
    return field


def _warped(field: np.ndarray, texture: np.ndarray, shift_mm: float, shape: tuple[int, int]) -> np.ndarray:
    """Sample a field given on a grid of `LAYOUT_MM` / 2 on the grid of the tissue, shifted unevenly by a texture."""
    factor = np.float32(GRID_MM / (LAYOUT_MM / 2))
    shift = np.float32(shift_mm / (LAYOUT_MM / 2))
    columns = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * factor - 0.5
    rows = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * factor - 0.5
    columns = columns + shift * sample_texture(texture, shape, GRID_MM)
    rows = rows + shift * sample_texture(np.roll(texture, 256, 0), shape, GRID_MM)
    return cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
