"""Masks in millimetres: check them, widen them, fill in what lies between two walls."""

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

WALL_MM = 2.0
"""Two walls with no more than this between them are one artery (this kit's choice)."""


def grow(mask: np.ndarray, spacing_mm: tuple[float, float], by_mm: float) -> np.ndarray:
    """Widen a mask.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).
        by_mm: Distance between centres of pixels, 0 or more.

    Returns:
        bool (H, W): the pixels no farther than that from the mask.

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    mask = check_mask(mask)
    if not mask.any():
        return mask.copy()
    return depth(~mask, check_spacing(spacing_mm)) <= by_mm


def fill_walls(mask: np.ndarray, spacing_mm: tuple[float, float], wall_mm: float = WALL_MM) -> np.ndarray:
    """Fill in what lies between two walls, and holes, up to a width: closing with a disc.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).
        wall_mm: The width, between edges of the mask.

    Returns:
        bool (H, W).

    Raises:
        ValueError: As `grow`.
    """
    reach = (wall_mm + min(check_spacing(spacing_mm))) / 2  # between centres of pixels
    wide = np.pad(grow(mask, spacing_mm, reach), 1)
    return (depth(wide, spacing_mm) > reach)[1:-1, 1:-1] | mask


def depth(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return each pixel's distance in mm to the nearest pixel outside a mask, 0 outside; float32 or float64 (H, W)."""
    row, column = spacing_mm
    if max(row, column) > 1.01 * min(row, column):
        return distance_transform_edt(mask, sampling=spacing_mm)
    pixels = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # ten times as fast
    return pixels * ((row + column) / 2)


def check_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask as bool (H, W); raise ValueError if it is not two-dimensional or is empty."""
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"mask: got shape {mask.shape}, must be (H, W)")
    return mask


def check_spacing(spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return (row, column) spacing as floats; raise ValueError if they are not two positive numbers."""
    if spacing_mm is None or len(spacing_mm) != 2 or not all(0 < n < np.inf for n in spacing_mm):
        raise ValueError(f"spacing_mm: got {spacing_mm!r}, must be (row, column), two positive numbers in mm")
    return float(spacing_mm[0]), float(spacing_mm[1])


def with_square_pixels(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Bring a mask to pixels as high as wide, the smaller of both; thinning knows no spacing."""
    side = min(spacing)
    rows, columns = (max(round(n * mm / side), 1) for n, mm in zip(mask.shape, spacing, strict=True))
    if (rows, columns) == mask.shape:
        return mask, spacing
    exact = (mask.shape[0] * spacing[0] / rows, mask.shape[1] * spacing[1] / columns)
    return cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR) > 0.5, exact


def crop(mask: np.ndarray, spacing: tuple[float, float], margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask's bounding box with a margin, and the box's upper left corner in mm."""
    margin = int(margin_mm / min(spacing)) + 2
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
    return part, np.array([rows[0] - margin, columns[0] - margin]) * spacing
