"""Operations on masks in mm: checks, dilation, distances, filling the lumen between two walls."""

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

WALL_MM = 2.0
"""Widest lumen: two walls with this much or less between them are one artery (this kit's choice)."""


def grow(mask: np.ndarray, spacing_mm: tuple[float, float], by_mm: float) -> np.ndarray:
    """Dilate a mask.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).
        by_mm: Distance, 0 or more.

    Returns:
        bool (H, W): the pixels whose centre is within that distance of the centre of a pixel of the mask.

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    mask = check_mask(mask)
    if not mask.any():
        return mask.copy()
    return depth(~mask, check_spacing(spacing_mm)) <= by_mm


def fill_walls(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Fill holes and gaps between two walls, up to a width of `WALL_MM` between the edges of the mask.

    This is a morphological closing with a disc.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).

    Returns:
        bool (H, W).

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    reach = (WALL_MM + min(check_spacing(spacing_mm))) / 2  # between pixel centres
    wide = np.pad(grow(mask, spacing_mm, reach), 1)
    return (depth(wide, spacing_mm) > reach)[1:-1, 1:-1] | mask


def depth(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the distance in mm of each pixel of a mask to the nearest pixel outside; float32 or float64 (H, W)."""
    row, column = spacing_mm
    if max(row, column) > 1.01 * min(row, column):
        return distance_transform_edt(mask, sampling=spacing_mm)
    pixels = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # ten times faster
    return pixels * ((row + column) / 2)


def check_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask as bool (H, W); raise ValueError if it is not two-dimensional or is empty."""
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"mask: got shape {mask.shape}, must be (H, W)")
    return mask


def check_spacing(spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return the (row, column) spacing as floats; raise ValueError if it is not two positive numbers."""
    if spacing_mm is None or len(spacing_mm) != 2 or not all(0 < n < np.inf for n in spacing_mm):
        raise ValueError(f"spacing_mm: got {spacing_mm!r}, must be (row, column), two positive numbers in mm")
    return float(spacing_mm[0]), float(spacing_mm[1])


def with_square_pixels(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Resample a mask to square pixels, since thinning ignores the spacing.

    Args:
        mask: bool (H, W).
        spacing: (row, column) in mm.

    Returns:
        The mask, with pixels of the smaller of the two spacings, and its exact (row, column) spacing in mm.
    """
    side = min(spacing)
    rows, columns = (max(round(n * mm / side), 1) for n, mm in zip(mask.shape, spacing, strict=True))
    if (rows, columns) == mask.shape:
        return mask, spacing
    exact = (mask.shape[0] * spacing[0] / rows, mask.shape[1] * spacing[1] / columns)
    return cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR) > 0.5, exact


def crop(mask: np.ndarray, spacing: tuple[float, float], margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a mask inside its bounding box plus a margin, and the upper left corner of the box in mm."""
    margin = int(margin_mm / min(spacing)) + 2
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
    return part, np.array([rows[0] - margin, columns[0] - margin]) * spacing
