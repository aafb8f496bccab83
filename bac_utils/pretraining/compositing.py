"""What the pictures of the pretraining get drawn into them, on top of the simulator: other drawings in each epoch."""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.pretraining.patches import CELL, SCALE_SPREAD, artery_cells
from bac_utils.pretraining.synthetic_lesions import add, draw

ARTERY_SHARE = 0.35
"""Share of the pictures that get a drawn artery, whether or not they have one of the simulator's."""
SOFT_SHARE, SOFT_PIXELS = 0.3, (0.4, 1.5)
"""Share of the pictures that are blurred before, and the range of the blur's deviation."""


@dataclass(frozen=True)
class Drawings:
    """Drawings to choose from.

    Attributes:
        arteries: Light of arteries, float16 (n, side, side); see `drawings.draw`.
        cells: Where they are, int8 (n, side // 16, side // 16); see `training_views.artery_cells`.
        others: Light of what is no artery, float16 (n, side, side).
        mean_others: How many of these a picture gets, on average.
    """

    arteries: np.ndarray
    cells: np.ndarray
    others: np.ndarray
    mean_others: float

    def part(self, start: int | None, stop: int | None) -> "Drawings":
        """Return the drawings from one number up to another."""
        part = slice(start, stop)
        return Drawings(self.arteries[part], self.cells[part], self.others[part], self.mean_others)


def draw_pair(number: int, side: int, pixels_mm: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an artery and something that is none.

    Args:
        number: Of the pair; the same number gives the same pair.
        side: Rows and columns, a multiple of 16.
        pixels_mm: One of these is the pixel spacing, but for up to `SCALE_SPREAD`.

    Returns:
        The artery's light (side, side) and cells (side // 16, side // 16), and the other's light (side, side).
    """
    rng = np.random.default_rng([number, 17])
    pixel = float(rng.choice(pixels_mm) * np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))
    light, artery = draw(number, True, side, pixel)
    return light, artery_cells(artery, pixel**2), draw(number, False, side, pixel)[0]


def decorate(
    pixels: np.ndarray, cells: np.ndarray, drawings: Drawings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Soften a picture or not, and draw things that are no arteries and an artery into it, or not.

    Args:
        pixels: A prepared view or a patch of one, (H, W), 0 outside the breast.
        cells: int8 (H // 16, W // 16), see `training_views.artery_cells`.
        drawings: To choose from; their side is at most H and W.
        rng: Source of randomness.

    Returns:
        New pixels, float32, and cells, int8; 1 wins over -1 (no opinion), and that over 0.
    """
    pixels, cells = pixels.astype(np.float32), cells.copy()
    if rng.random() < SOFT_SHARE:
        pixels = np.where(pixels != 0, cv2.GaussianBlur(pixels, (0, 0), np.exp(rng.uniform(*np.log(SOFT_PIXELS)))), 0)
    for _ in range(rng.poisson(drawings.mean_others)):
        light = _turned(drawings.others[rng.integers(len(drawings.others))], rng.integers(8))
        _draw_into(pixels, light, rng)
    if rng.random() < ARTERY_SHARE:
        k, turn = rng.integers(len(drawings.arteries)), rng.integers(8)
        row, column = _draw_into(pixels, _turned(drawings.arteries[k], turn), rng)
        new = _turned(drawings.cells[k], turn)
        part = np.s_[row : row + new.shape[0], column : column + new.shape[1]]
        breast = pixels[: cells.shape[0] * CELL, : cells.shape[1] * CELL] != 0
        inside = breast.reshape(cells.shape[0], CELL, cells.shape[1], CELL).mean(axis=(1, 3))[part]
        new = np.where((new == 1) & (inside < 0.7), np.where(inside > 0, -1, 0), new)
        old = cells[part]
        cells[part] = np.where((old == 1) | (new == 1), 1, np.minimum(old, new))
    return pixels, cells


def _turned(picture: np.ndarray, turn: int) -> np.ndarray:
    """Return one of the eight turned and mirrored copies."""
    return np.rot90(picture[:, ::-1] if turn >= 4 else picture, turn % 4)


def _draw_into(pixels: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Draw at a random place in the breast, in place, and return the place's first cell: (row, column)."""
    rows, columns = (n // CELL for n in pixels.shape)
    side = len(light) // CELL
    middle = np.argwhere(pixels[CELL // 2 :: CELL, CELL // 2 :: CELL][:rows, :columns])
    if rows == columns == side or not len(middle):
        row = column = 0
    else:
        row, column = np.clip(middle[rng.integers(len(middle))] - side // 2, 0, (rows - side, columns - side))
    part = np.s_[row * CELL : (row + side) * CELL, column * CELL : (column + side) * CELL]
    pixels[part] = add(pixels[part], light, rng)
    return int(row), int(column)
