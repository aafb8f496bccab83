"""The pectoral muscle of a simulated view, as the glandular fraction that attenuates like it.

In the MLO view the muscle is a triangle at the upper end of the chest wall. It thins towards its border, which is
oblique to the beam, and fades downwards. Some CC views show a crescent of it at the middle of the chest wall. Softness,
brightness and how often the crescent is seen are assumptions.
"""

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline
from bac_utils.simulator.texture import TEXTURE_MM, power_law_texture, sample_texture, smoothstep

CRESCENT_SHARE = 0.3
"""Fraction of the CC views that show the muscle, an assumption."""


def pectoral_muscle(
    rng: np.random.Generator, outline: Outline, shape: tuple[int, int], grid_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the muscle of a view on a grid.

    Args:
        rng: Source of randomness.
        outline: Outline of the breast in the view.
        shape: Rows and columns.
        grid_mm: Spacing of the grid in mm.

    Returns:
        The glandular fraction of the muscle, and the distance inside its border in mm (negative outside), both float32
        (rows, columns).
    """
    x = ((np.arange(shape[1], dtype=np.float32) + 0.5) * grid_mm)[None, :]
    y = ((np.arange(shape[0], dtype=np.float32) + 0.5) * grid_mm)[:, None]
    if outline.view == "CC":
        return _crescent(rng, outline, x, y)
    width, height = outline.muscle
    down = y / height
    bow = outline.muscle_bow + 0.1 * np.sin(np.pi * np.clip(down, 0, 1)) * rng.uniform(-0.3, 1)
    edge = width * (1 - down + bow * np.sin(np.pi * np.clip(down, 0, 1)))
    inside = (edge - x) * np.float32(height / np.hypot(width, height))
    inside += _waves(rng, y, rng.uniform(0.2, 0.7))
    end = np.clip(down, 0, 1.2)
    soft = rng.uniform(4, 10) + rng.uniform(3, 9) * end**2
    share = smoothstep(inside / soft + 0.3)
    full = rng.uniform(0.22, 0.42)
    # thinnest at the border, thicker towards the chest wall and the axilla
    depth = rng.uniform(0.55, 0.8) + 0.4 * smoothstep(inside / rng.uniform(15, 40))
    fade = 1 - rng.uniform(0.35, 0.7) * smoothstep((end - rng.uniform(0.1, 0.4)) / 0.8)
    fibres = _fibres(rng, shape, grid_mm, np.arctan2(height, -width) + rng.normal(0, 0.08))
    tissue = sample_texture(power_law_texture(rng, 3.0, 15, pixels=512), shape, grid_mm)  # in front of the muscle
    thick = full * depth * fade * (1 + rng.uniform(0.04, 0.09) * fibres + rng.uniform(0.03, 0.07) * tissue)
    return (share * thick).astype(np.float32), inside.astype(np.float32)


def _crescent(
    rng: np.random.Generator, outline: Outline, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the muscle of a CC view, often none, and the distance inside its border; see `pectoral_muscle`."""
    if rng.random() >= CRESCENT_SHARE:
        return np.zeros((len(y), x.shape[1]), np.float32), np.broadcast_to(-30 - x, (len(y), x.shape[1]))
    depth, half, middle = rng.uniform(3, 13), rng.uniform(22, 50), outline.nipple_y + rng.normal(0, 10)
    inside = depth * (1 - ((y - middle) / half) ** 2) - x
    share = smoothstep(inside / rng.uniform(3, 8) + 0.3)
    return (share * rng.uniform(0.2, 0.42)).astype(np.float32), inside.astype(np.float32)


def _waves(rng: np.random.Generator, y: np.ndarray, size_mm: float) -> np.ndarray:
    """Return a slight unevenness of the border along y, in mm."""
    lengths, phases = rng.uniform(40, 150, 3), rng.uniform(0, 2 * np.pi, 3)
    waves = [np.sin(2 * np.pi * y / length + phase) for length, phase in zip(lengths, phases, strict=True)]
    return (size_mm * sum(waves)).astype(np.float32)


def _fibres(rng: np.random.Generator, shape: tuple[int, int], grid_mm: float, turn: float) -> np.ndarray:
    """Return a texture of standard deviation 1 drawn out along a direction `turn` (radians from x to y)."""
    field = power_law_texture(rng, 2.6, 14, pixels=512)
    step = grid_mm * len(field) / TEXTURE_MM
    along, across = rng.uniform(0.08, 0.2) * step, rng.uniform(0.7, 1.2) * step
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[along * cos, along * sin, 99.0], [-across * sin, across * cos, 0.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)
