"""Shapes given in millimetres drawn on a pixel grid: the thickness of a material along the beam, and masks."""

import cv2
import numpy as np

_BLURS_MM = np.array([0.0, 0.06, 0.12, 0.2, 0.32, 0.5, 0.8, 1.3, 2.1])


class Canvas:
    """Thickness of one material along the beam, in mm, on a pixel grid."""

    def __init__(self, shape: tuple[int, int], spacing_mm: float) -> None:
        """Start with no material.

        Args:
            shape: Rows and columns.
            spacing_mm: Pixel spacing in mm, the same for rows and columns.
        """
        self.shape = shape
        self.spacing_mm = spacing_mm
        self._deposits: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in _BLURS_MM]

    def deposit(self, points: np.ndarray, volume_mm3: np.ndarray | float, blur_mm: float) -> None:
        """Add volumes of material around points; anything outside the grid is lost.

        Args:
            points: (n, 2) array of x and y in mm from the corner of the grid.
            volume_mm3: (n,) array or one number.
            blur_mm: Standard deviation of the Gaussian over which each volume is spread, rounded to the nearest of a
                few fixed values.
        """
        if len(points):
            level = int(np.argmin(np.abs(_BLURS_MM - blur_mm)))
            self._deposits[level].append((points, np.broadcast_to(volume_mm3, len(points))))

    def thickness(self) -> np.ndarray:
        """Return the thickness map in mm, float32 (rows, columns)."""
        total = np.zeros(self.shape, np.float32)
        rows, columns = self.shape
        for width, deposits in zip(_BLURS_MM, self._deposits, strict=True):
            if not deposits:
                continue
            x, y = (np.concatenate([d[0] for d in deposits]).T / self.spacing_mm) - 0.5
            volume = np.concatenate([d[1] for d in deposits]) / self.spacing_mm**2
            column, row = np.floor(x).astype(int), np.floor(y).astype(int)
            ok = (column >= 0) & (row >= 0) & (column < columns - 1) & (row < rows - 1)
            fx, fy = (x - column)[ok], (y - row)[ok]
            column, row, volume = column[ok], row[ok], volume[ok]
            corner = row * columns + column
            index = np.concatenate([corner, corner + 1, corner + columns, corner + columns + 1])
            shares = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
            layer = np.bincount(index, shares * np.tile(volume, 4), rows * columns)
            layer = layer.reshape(self.shape).astype(np.float32)
            # Bilinear sharing among four pixels adds a variance of 1/6 pixel^2 on average; a pixel's aperture has 1/12.
            total += blur(layer, max((width / self.spacing_mm) ** 2 + 1 / 12 - 1 / 6, 0) ** 0.5)
        return total


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Apply a Gaussian blur.

    A Gaussian too narrow to be sampled is replaced by a kernel of three weights with the same variance.

    Args:
        image: float32 (rows, columns).
        sigma: Standard deviation in pixels.

    Returns:
        float32 array of the same shape.
    """
    if sigma >= 0.7:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    weights = np.array([sigma**2 / 2, 1 - sigma**2, sigma**2 / 2])
    return cv2.sepFilter2D(image, -1, weights, weights)


def draw_cylinder(
    canvas: Canvas, line: np.ndarray, diameter_mm: np.ndarray | float, share: float = 1.0, step_mm: float = 0.2
) -> None:
    """Draw a solid cylinder along a line.

    Args:
        canvas: Canvas of the material, changed in place.
        line: (n, 2) array of x and y in mm.
        diameter_mm: (n,) array or one number.
        share: Fraction of the cylinder filled with the material.
        step_mm: Largest distance between the points deposited along the line. It is limited to half a pixel, so that
            a line does not become a row of beads.
    """
    step_mm = min(step_mm, canvas.spacing_mm / 2)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    if arc[-1] < step_mm:
        return
    at = np.arange(0, arc[-1], step_mm)
    points = np.column_stack([np.interp(at, arc, line[:, k]) for k in (0, 1)])
    diameter = np.interp(at, arc, np.broadcast_to(diameter_mm, len(line)))
    volume = share * np.pi / 4 * diameter**2 * step_mm
    canvas.deposit(points, volume, float(np.mean(diameter)) * 0.27)


def mark_line(mask: np.ndarray, line: np.ndarray, width_mm: float, spacing_mm: float) -> None:
    """Set the pixels within half a width of a line to 1, in place.

    Args:
        mask: uint8 (rows, columns).
        line: (n, 2) array of x and y in mm from the corner of the grid.
        width_mm: Full width.
        spacing_mm: Pixel spacing in mm.
    """
    finer = int(np.ceil(spacing_mm / 0.1))  # drawn on a grid of 0.1 mm or finer
    at = line / spacing_mm - 0.5
    margin = int(np.ceil(width_mm / 2 / spacing_mm)) + 2
    low = np.clip(np.floor(at.min(axis=0)).astype(int) - margin, 0, None)
    high = np.minimum(np.ceil(at.max(axis=0)).astype(int) + margin + 1, mask.shape[::-1])
    if (high <= low).any():
        return
    size = tuple(int(n) for n in high - low)
    part = np.ones((size[1] * finer, size[0] * finer), np.uint8)
    points = np.round(((at - low + 0.5) * finer - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(part, [points], False, 0, 1, shift=4)
    reach = max(width_mm / 2 / spacing_mm * finer - 0.5, 0)  # the drawn line is a pixel wide itself
    near = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
    near = cv2.resize(near.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    mask[low[1] : high[1], low[0] : high[0]][near] = 1
