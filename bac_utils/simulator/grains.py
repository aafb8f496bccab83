"""Shapes of benign calcifications: grains and shells with irregular outlines and uneven calcium, on a `Canvas`.

No calcification is a perfect sphere or ring. The sizes of the irregularities are assumptions, chosen by eye.
All lengths are in mm.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.simulator.rasterize import Canvas

LUMPS = 6
"""Number of lumps that form a small grain."""


def wavy(rng: np.random.Generator, angle: np.ndarray, roughness: float) -> np.ndarray:
    """Return the radius of an irregular closed outline, 1 on average.

    Args:
        rng: Source of randomness.
        angle: Directions in radians, any shape.
        roughness: Standard deviation of the radius of the elongation; finer lobes are smaller.

    Returns:
        Radius, at least 0.3, of the shape of `angle`.
    """
    radius = np.ones_like(angle)
    for lobes in (2, 3, 4, 5, 7):
        radius += rng.normal(0, 2 * roughness / lobes) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    return np.maximum(radius, 0.3)


def scatter_grains(
    canvas: Canvas, rng: np.random.Generator, points: np.ndarray, diameter_mm: np.ndarray, volume_mm3: np.ndarray
) -> None:
    """Draw small grains, each of a few lumps along its own random axis.

    Args:
        canvas: Canvas of the material, changed in place.
        rng: Source of randomness.
        points: (n, 2) array of x and y in mm.
        diameter_mm: (n,) array.
        volume_mm3: (n,) array; each grain keeps its volume.
    """
    n = len(points)
    turn = rng.uniform(0, np.pi, (n, 1))
    along, across = rng.standard_normal((2, n, LUMPS)) * diameter_mm[:, None] * 0.2
    across *= rng.uniform(0.3, 1.0, (n, 1))
    x, y = along * np.cos(turn) - across * np.sin(turn), along * np.sin(turn) + across * np.cos(turn)
    share = rng.lognormal(0, 0.6, (n, LUMPS))
    share *= volume_mm3[:, None] / share.sum(axis=1, keepdims=True)
    lumps = points[:, None] + np.stack([x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)], axis=-1)
    for fine, width in ((diameter_mm < 0.35, 0.06), (diameter_mm >= 0.35, 0.12)):
        canvas.deposit(lumps[fine].reshape(-1, 2), share[fine].ravel(), width)


def draw_grain(
    canvas: Canvas,
    rng: np.random.Generator,
    centre: np.ndarray,
    diameter_mm: float,
    volume_mm3: float,
    roughness: float,
) -> None:
    """Draw one larger calcification, slightly out of round and unevenly dense.

    Args:
        canvas: Canvas of the material, changed in place.
        rng: Source of randomness.
        centre: x and y in mm.
        diameter_mm: Mean diameter.
        volume_mm3: Volume of the material, kept.
        roughness: See `wavy`; 0.06 is almost round, 0.25 is lobulated.
    """
    width = 0.12 if diameter_mm < 1.3 else 0.2
    n = int(np.clip(150 * (diameter_mm / 4 / width) ** 2, 12, 300))
    level, angle = rng.random(n), rng.uniform(0, 2 * np.pi, n)
    reach = np.sqrt(level) * max(diameter_mm / 2 - 0.8 * width, 0.4 * width) * wavy(rng, angle, roughness)
    share = np.sqrt(1.05 - level) * rng.lognormal(0, 0.5, n)  # a sphere is thickest in its middle
    share *= 1 + 0.4 * rng.random() * np.cos(angle - rng.uniform(0, 2 * np.pi))
    points = centre + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    canvas.deposit(points, volume_mm3 * share / share.sum(), width)


def draw_shell(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, radius_mm: float, wall_mm: float) -> None:
    """Draw a calcified shell: an irregular rim of uneven thickness, often broken, around a lucent centre.

    Args:
        canvas: Canvas of the material, changed in place.
        rng: Source of randomness.
        centre: x and y in mm.
        radius_mm: Mean radius.
        wall_mm: Thickness of the wall.
    """
    n = max(int(2 * np.pi * radius_mm / 0.05), 24)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    reach = radius_mm * wavy(rng, angle, rng.uniform(0.05, 0.14)) + rng.normal(0, 0.2 * wall_mm, n)
    coarse, fine = (
        gaussian_filter1d(rng.standard_normal(n), size, mode="wrap") * np.sqrt(2 * np.sqrt(np.pi) * size)
        for size in (n / 12, max(0.25 / 0.05, 1))
    )
    amount = np.exp(0.6 * coarse + 0.5 * fine)
    amount[coarse < np.quantile(coarse, rng.uniform(0, 0.5))] *= rng.uniform(0, 0.3)  # missing parts
    depth = 0.6 * np.sqrt(2 * radius_mm * wall_mm)  # chord through the shell at its edge
    volume = 0.35 * depth * wall_mm * 2 * np.pi * radius_mm / n
    points = centre + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    canvas.deposit(points, volume * amount / np.exp(0.3), 0.06 if wall_mm < 0.2 else 0.12)
    inner = np.sqrt(rng.random(n // 2))[:, None] * (points[::2][: n // 2] - centre)  # the wall seen from the front
    canvas.deposit(centre + inner, 0.3 * volume * rng.lognormal(0, 0.5, n // 2), 0.12 if radius_mm < 1 else 0.32)
