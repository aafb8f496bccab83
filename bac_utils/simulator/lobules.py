"""Cells of fat lobules: they shape the border of the gland, and the septa between them form a net.

A lobule is a cell of a layout in which each point belongs to the centre that is nearest in the centre's own, drawn-out
metric, so borders between cells are curved; the plane is also warped by a random field. The layout is computed on the
grid of the gland and is the same at every pixel spacing. Sizes, contrasts and shares are assumptions, chosen by eye.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline
from bac_utils.simulator.rasterize import blur
from bac_utils.simulator.texture import sample_texture, smoothstep

REACH = 2.4
"""Distance from a centre up to which it competes, in radii of its cell."""
MOST_CELLS = 8192
"""Largest number of cells in a layout."""
WARP_MM = (1.0, 1.9)
"""Range of the standard deviation of the warp in mm. A stronger warp would fold the plane."""


@dataclass(frozen=True)
class Cells:
    """A layout of cells on a grid; maps are arrays of (rows, columns).

    Attributes:
        centres: (n, 2) centres before the warp, x and y in mm.
        radius: (n,) mean radius in mm.
        owner: int32, the cell of each point, -1 where there is none.
        other: int32, the cell across the nearest border, -1 where there is none.
        border: float32, approximate distance to the nearest border between two cells in mm.
        drift: float32, a rough random field of standard deviation 1, by which septa are uneven.
        fading: float32, a smooth one, by which they fade away.
    """

    centres: np.ndarray
    radius: np.ndarray
    owner: np.ndarray
    other: np.ndarray
    border: np.ndarray
    drift: np.ndarray
    fading: np.ndarray


def lay_out_cells(
    rng: np.random.Generator,
    outline: Outline,
    shape: tuple[int, int],
    grid_mm: float,
    size_mm: float,
    textures: tuple[np.ndarray, np.ndarray],
) -> Cells:
    """Lay out cells over a breast.

    Args:
        rng: Source of randomness.
        outline: Outline of the breast in the view.
        shape: Rows and columns of the grid.
        grid_mm: Spacing of the grid in mm.
        size_mm: Mean distance between neighbouring centres in mm.
        textures: A smooth texture, by which the layout is warped, and a rough one.

    Returns:
        The cells, drawn out towards the nipple.
    """
    centres = _jittered_centres(rng, outline, size_mm)
    number = len(centres)
    radius = size_mm / 2 * rng.lognormal(0, 0.18, number)
    longer = rng.lognormal(np.log(1.7), 0.3, number) ** 0.5
    turn = np.arctan2(centres[:, 1] - outline.nipple_y, centres[:, 0] - outline.depth_mm - 25)
    turn = turn + rng.normal(0, 0.4, number)
    warp, rough = (np.roll(texture, rng.integers(len(texture), size=2), (0, 1)) for texture in textures)
    shift = np.float32(rng.uniform(*WARP_MM))
    right, down = sample_texture(warp, shape, grid_mm), sample_texture(np.roll(warp, len(warp) // 2, 0), shape, grid_mm)
    margin = float(shift * max(np.abs(right).max(), np.abs(down).max()))
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * np.float32(grid_mm) + shift * right
    y = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * np.float32(grid_mm) + shift * down
    ellipses = np.column_stack([centres, radius * longer, radius / longer, turn])
    coarse = (np.ascontiguousarray(v[1::2, 1::2]) for v in (x, y))
    pair = compete(ellipses, *coarse, 2 * grid_mm, margin)
    owner, other, gap = refine(ellipses, x, y, *pair)
    size = np.append(radius, radius.mean()).astype(np.float32)  # the last one stands for no cell
    fading = sample_texture(np.roll(warp, len(warp) // 3, 1), shape, grid_mm)
    return Cells(centres, radius, owner, other, gap * size[owner] / 2, sample_texture(rough, shape, grid_mm), fading)


def _jittered_centres(rng: np.random.Generator, outline: Outline, size_mm: float) -> np.ndarray:
    """Return the (n, 2) centres in mm of a hexagonal layout with strong jitter, up to two sizes beyond the breast."""
    x = np.arange(-size_mm, outline.depth_mm + 2 * size_mm, size_mm)
    y = np.arange(-size_mm, outline.height_mm + 2 * size_mm, size_mm * 0.87)
    places = np.stack(np.meshgrid(x, y), -1)
    places[1::2, :, 0] += size_mm / 2
    places = places.reshape(-1, 2)
    places = places + rng.uniform(-0.4, 0.4, places.shape) * size_mm
    edge = np.interp(places[:, 1], outline.y, outline.edge)
    return places[places[:, 0] < edge + 1.5 * size_mm]


def compete(
    ellipses: np.ndarray, x: np.ndarray, y: np.ndarray, grid_mm: float, margin_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find the two ellipses that are nearest to each point of a warped grid, each in its own metric.

    Args:
        ellipses: (n, 5): x, y, the two radii in mm, and the direction of the first in radians.
        x: float32 (rows, columns), x of each point in mm.
        y: float32 (rows, columns), y of each point in mm.
        grid_mm: Spacing of the grid in mm before the warp.
        margin_mm: Largest shift by the warp in mm; beyond it an ellipse may lose some points.

    Returns:
        The nearest and the second nearest ellipse of each point, int32 with -1 for none.

    Raises:
        ValueError: If there are more than `MOST_CELLS` ellipses.
    """
    shape = x.shape
    if len(ellipses) > MOST_CELLS:
        raise ValueError(f"ellipses: got {len(ellipses)}, must be at most {MOST_CELLS}")
    last = 2**31 // MOST_CELLS - 1  # a rank holds the squared distance in its upper bits, the ellipse in the lower ones
    first, second = (np.full(shape, 2**31 - 1, np.int32) for _ in range(2))
    for k, (cx, cy, along, across, turn) in enumerate(ellipses.astype(np.float32)):
        cos, sin = np.cos(turn), np.sin(turn)
        wide, high = (REACH * np.hypot(along * p, across * q) + margin_mm for p, q in ((cos, sin), (sin, cos)))
        r0, r1 = (int(np.clip((cy + s * high) / grid_mm, 0, shape[0])) for s in (-1, 1))
        c0, c1 = (int(np.clip((cx + s * wide) / grid_mm, 0, shape[1])) for s in (-1, 1))
        if r0 >= r1 or c0 >= c1:
            continue
        part = np.s_[r0:r1, c0:c1]
        dx, dy = x[part] - cx, y[part] - cy
        far = (dx * (cos / along) + dy * (sin / along)) ** 2 + (dy * (cos / across) - dx * (sin / across)) ** 2
        rank = np.minimum(far * np.float32(last / REACH**2), np.float32(last)).astype(np.int32) * MOST_CELLS + k
        np.minimum(second[part], np.maximum(first[part], rank), out=second[part])
        np.minimum(first[part], rank, out=first[part])
    return tuple(np.where(rank >= last * MOST_CELLS, -1, rank % MOST_CELLS) for rank in (first, second))


def refine(
    ellipses: np.ndarray, x: np.ndarray, y: np.ndarray, owner: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the two nearest ellipses, known on a grid of twice the spacing, on the full grid.

    Args:
        ellipses: (n, 5), see `compete`.
        x: float32 (rows, columns), x of each point in mm.
        y: float32 (rows, columns), y of each point in mm.
        owner: int32, nearest ellipse on the coarser grid, whose points are the odd rows and columns of `x`.
        other: int32, second nearest ellipse.

    Returns:
        The nearest and the second nearest ellipse, int32 with -1 for none, and the difference of their distances in
        radii, float32.
    """
    shape = x.shape
    one, two = (_doubled(pair, shape) for pair in (owner, other))
    near, far = (_distance(ellipses, k, x, y) for k in (one, two))
    swap = far < near
    gap = np.abs(far - near)
    gap += 10 * np.maximum(np.maximum(near, far) - np.float32(REACH - 0.3), 0)  # no border where none else is near
    return np.where(swap, two, one), np.where(swap, one, two), gap


def _doubled(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Repeat every label in both directions, and the last ones up to a shape."""
    grown = np.repeat(np.repeat(labels, 2, 0), 2, 1)
    return np.pad(grown, [(0, n - m) for n, m in zip(shape, grown.shape, strict=True)], "edge")


def _distance(ellipses: np.ndarray, which: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance in radii of each point from one ellipse, at most `REACH`, which stands for none too."""
    cx, cy, along, across, turn = ellipses.T.astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    index = np.maximum(which, 0).astype(np.intp)
    dx, dy = x - cx.take(index), y - cy.take(index)
    p = dx * (cos / along).take(index) + dy * (sin / along).take(index)
    q = dy * (cos / across).take(index) - dx * (sin / across).take(index)
    return np.where(which < 0, np.float32(REACH), np.minimum(cv2.magnitude(p, q), np.float32(REACH)))


def hollows(rng: np.random.Generator, cells: Cells, filled: float) -> np.ndarray:
    """Return how much fat indents the gland: 0 on the borders of the cells, rising within a few mm to a cell's value.

    Args:
        rng: Source of randomness.
        cells: Layout of the cells.
        filled: Share of the cells that gland fills, which have values near 0.

    Returns:
        float32 (rows, columns), about 0 to 1.3.
    """
    number = len(cells.radius)
    value = np.where(rng.random(number) < filled, rng.uniform(0, 0.25, number), rng.uniform(0.35, 1.3, number))
    value = np.append(value, 0).astype(np.float32)
    rim = np.append(cells.radius * rng.uniform(0.45, 0.9, number), 1).astype(np.float32)
    return blur(value[cells.owner] * smoothstep(cells.border / rim[cells.owner] - 0.05), 1.0)


def shades(rng: np.random.Generator, cells: Cells) -> np.ndarray:
    """Return a slight difference between the cells, float32 (rows, columns) of standard deviation about 0.8."""
    value = np.append(rng.normal(0, 1, len(cells.radius)), 0).astype(np.float32)
    return value[cells.owner] * smoothstep(cells.border / 1.2)


def net(cells: Cells, near: np.ndarray, width_mm: float) -> np.ndarray:
    """Draw the septa between the cells: thin sheets seen on edge, uneven, some of them missing.

    Args:
        cells: Layout of the cells.
        near: Nearness of gland, 0 to 1: there septa are wider and denser.
        width_mm: Half the width of a septum away from gland, in mm.

    Returns:
        Tissue along the beam in units of that of a typical septum, float32 (rows, columns).
    """
    wide = np.float32(width_mm) * (1 + 0.6 * near) * np.exp(np.float32(0.3) * cells.drift)
    present = smoothstep(0.65 + 0.4 * cells.fading)  # a septum leaves the plane of the view and tapers
    strength = present * np.exp(np.float32(0.25) * (cells.drift + cells.fading)) * (1.1 + 0.2 * near)
    profile = blur(np.exp(-((cells.border / wide) ** 2)), 0.5)
    sheet = cv2.GaussianBlur(profile, (0, 0), 4.0)
    # parts of a sheet are oblique to the beam; where cells barely differ, the distance to the border means little
    return strength * (profile / (1 + (sheet / 0.35) ** 2) + 0.5 * np.minimum(sheet, 0.3))
