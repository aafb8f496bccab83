"""An artery of known length drawn in mm on noise, on any pixel grid: test data for segmentation and quantification."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree

FIELD_MM = (96.0, 48.0)
WALL_MM, CALIBRE_MM = 0.5, 2.5
STRENGTH = 3.0
BLUR_MM = 2.5


@dataclass(frozen=True)
class DrawnView:
    """A view and its ground truth.

    Attributes:
        pixels: float32 (H, W), mean 0 and standard deviation 1 inside the breast, 0 outside.
        breast: bool (H, W).
        artery: bool (H, W), between the outer edges of both walls.
        length_mm: Centre-line length of the artery.
        spacing_mm: Pixel spacing (row, column).
    """

    pixels: np.ndarray
    breast: np.ndarray
    artery: np.ndarray
    length_mm: float
    spacing_mm: tuple[float, float]

    def heat(self, hottest: float = 0.9) -> np.ndarray:
        """Return the artery as a heatmap: the blurred mask, float32 (H, W)."""
        return blurred(self.artery, self.spacing_mm, hottest)

    def cells(self, hottest: float = 0.9, cell_mm: float = 4.0) -> np.ndarray:
        """Return this heatmap on the grid of the local logits, float32 (h, w)."""
        rows, columns = (round(mm / cell_mm) for mm in FIELD_MM)
        return np.clip(cv2.resize(self.heat(hottest), (columns, rows), interpolation=cv2.INTER_AREA), 0, 1)


def blurred(mask: np.ndarray, spacing_mm: tuple[float, float], hottest: float = 0.9) -> np.ndarray:
    """Blur a mask by `BLUR_MM` and scale its maximum to `hottest`."""
    row, column = spacing_mm
    heat = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigmaX=BLUR_MM / column, sigmaY=BLUR_MM / row)
    return np.clip(heat * hottest / max(float(heat.max()), 1e-6), 0, 1)


def places(spacing_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, (H, 1), and columns, (1, W), of the pixel centres in mm."""
    rows, columns = (round(mm / step) for mm, step in zip(FIELD_MM, spacing_mm, strict=True))
    return ((np.arange(rows) + 0.5) * spacing_mm[0])[:, None], ((np.arange(columns) + 0.5) * spacing_mm[1])[None]


def noisy_breast(spacing_mm: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return tissue (clouds of 3 mm and detector noise), float32, and the breast mask, bool; both (H, W)."""
    y, x = places(spacing_mm)
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.normal(size=(32, 16)).astype(np.float32), (x.size, y.size), interpolation=cv2.INTER_CUBIC)
    tissue = clouds + 0.25 * rng.normal(size=clouds.shape).astype(np.float32)
    return tissue, np.hypot((y - FIELD_MM[0] / 2) / (FIELD_MM[0] / 2), x / FIELD_MM[1]) < 1


def normalised(tissue: np.ndarray, breast: np.ndarray) -> np.ndarray:
    """Return a prepared view: mean 0 and standard deviation 1 inside the breast, 0 outside."""
    inside = tissue[breast]
    return np.where(breast, (tissue - inside.mean()) / inside.std(), 0).astype(np.float32)


def draw_artery(
    spacing_mm: tuple[float, float] = (0.25, 0.25), span_mm: tuple[float, float] = (20.0, 75.0), seed: int = 0
) -> DrawnView:
    """Draw a tortuous artery down the breast: two walls, each a row of grains with bare parts.

    Args:
        spacing_mm: Pixel spacing (row, column).
        span_mm: First and last row in mm.
        seed: Seed of tissue, noise and grains.

    Returns:
        The view.
    """
    y, x = places(spacing_mm)
    tissue, breast = noisy_breast(spacing_mm, seed)
    t = np.linspace(*span_mm, 4000)
    line = np.stack([t, 18 + 5 * np.sin(t / 9)], axis=1)
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    grid = np.stack(np.broadcast_arrays(y, x), axis=-1)
    away, nearest = KDTree(line).query(grid.reshape(-1, 2))
    away, nearest = away.reshape(grid.shape[:2]), nearest.reshape(grid.shape[:2])
    beside = (nearest > 0) & (nearest < len(line) - 1)
    artery = beside & (away <= CALIBRE_MM / 2)
    left = grid[..., 1] < line[nearest, 1]
    grain = (along[nearest] / 0.8).astype(int) * 2 + left
    bright = np.random.default_rng([seed, 1]).uniform(0.2, 1.0, int(along[-1] / 0.8) * 2 + 4)
    bright[np.random.default_rng([seed, 2]).random(bright.size) < 0.25] = 0
    wall = artery & (away >= CALIBRE_MM / 2 - WALL_MM)
    pixels = normalised(tissue + STRENGTH * bright[grain] * wall, breast)
    return DrawnView(pixels, breast, artery & breast, float(along[-1]), spacing_mm)
