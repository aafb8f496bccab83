"""How well a heatmap or a mask agrees with the outlines of the ground truth."""

import numpy as np

from bac_utils.arteries.masks import check_mask, check_spacing, grow

HOT_MM2 = 10.0
"""Area of the hottest pixels whose place is judged (this kit's choice)."""
NEAR_MM = 2.0
"""Largest distance in mm from the ground truth that counts as near."""


def hottest(heat: np.ndarray, spacing_mm: tuple[float, float], area_mm2: float = HOT_MM2) -> np.ndarray:
    """Return the hottest pixels of a heatmap, which together have a given area.

    Args:
        heat: (H, W), on the grid of the view.
        spacing_mm: (row, column).
        area_mm2: Their area, above 0.

    Returns:
        bool (H, W). At least one pixel; pixels of value 0 are never among them, so that fewer are if few are hot.
    """
    row, column = check_spacing(spacing_mm)
    number = int(np.clip(round(area_mm2 / (row * column)), 1, heat.size))
    places = np.argsort(-heat.ravel(), kind="stable")[:number]
    chosen = np.zeros(heat.size, bool)
    chosen[places] = True
    return chosen.reshape(heat.shape) & (heat > 0)


def share_near(heat: np.ndarray, outline: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """Return the share of the hottest pixels (`HOT_MM2`) that are at most `NEAR_MM` from the ground truth.

    Args:
        heat: (H, W), on the grid of the view.
        outline: The pixels with BAC, bool (H, W), not empty.
        spacing_mm: (row, column).

    Returns:
        0 to 1; 0 if no pixel is hot.

    Raises:
        ValueError: The outline is empty, the shapes differ, or the spacing is not two positive numbers.
    """
    outline = check_mask(outline)
    if not outline.any() or outline.shape != heat.shape:
        raise ValueError(f"outline: got {int(outline.sum())} pixels of {outline.shape}, must be some of {heat.shape}")
    hot = hottest(heat, spacing_mm)
    return float(grow(outline, spacing_mm, NEAR_MM)[hot].mean()) if hot.any() else 0.0


def dice(mask: np.ndarray, outline: np.ndarray) -> float:
    """Return Dice's coefficient of two masks, 2 |A and B| / (|A| + |B|); 1 if both are empty.

    Raises:
        ValueError: A mask is not two-dimensional, or the shapes differ.
    """
    mask, outline = check_mask(mask), check_mask(outline)
    if mask.shape != outline.shape:
        raise ValueError(f"outline: got shape {outline.shape}, must be that of the mask, {mask.shape}")
    total = int(mask.sum()) + int(outline.sum())
    return 2 * int((mask & outline).sum()) / total if total else 1.0


def top_mean(heat: np.ndarray, spacing_mm: tuple[float, float] | None, area_mm2: float = HOT_MM2) -> float:
    """Return the mean of the hottest pixels of a map that have a given area, the score of a method that segments.

    The largest value alone would rest on one pixel, and the mean of all would depend on the size of the breast.

    Args:
        heat: (H, W), on the grid of the view.
        spacing_mm: (row, column); None takes 0.3 mm, so that views without a spacing have a score, too.
        area_mm2: Their area.
    """
    row, column = check_spacing(spacing_mm or (0.3, 0.3))
    number = int(np.clip(round(area_mm2 / (row * column)), 1, heat.size))
    return float(np.partition(heat.ravel(), heat.size - number)[heat.size - number :].mean())
