"""From a heatmap to measures: the paper's area above a threshold, and the arteries in mm.

Spacings are the (row, column) spacings of the prepared view in mm. If the breast's bounding box is stretched to the
matrix, the two differ, and they vary between breasts. At a fixed scale (`prepare` with `pixel_mm`), they are equal,
apart from rounding to whole pixels; they are larger for a breast that had to be shrunk to fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from bac_utils.arteries.centerlines import Vessels, trace_vessels
from bac_utils.arteries.masks import check_spacing
from bac_utils.arteries.segmentation import FINE_LEVEL, FINE_MM, LEVEL, Lines, refine_mask
from bac_utils.settings import HEATMAPS

PER_IMAGE = HEATMAPS[-1]


@dataclass(frozen=True)
class Finding:
    """Classification and measures of one view at an operating point.

    Attributes:
        score: Score of the view.
        bac: 1 if the score is at least the threshold, else 0.
        mask: The calcified arteries over the full width of the vessel, bool (H, W), on the grid of the prepared view.
            Without a pixel spacing: the pixels of the breast in which the heatmap exceeds Th. Empty in a BAC- view.
        vessels: The traced centre lines; None without a pixel spacing.
    """

    score: float
    bac: int
    mask: np.ndarray
    vessels: Vessels | None

    @property
    def traced(self) -> bool:
        """Whether lengths and areas are known: with a pixel spacing, in a BAC- view or if an artery was traced."""
        return self.vessels is not None and (not self.bac or bool(self.vessels.lines))

    @property
    def reason(self) -> str:
        """Why lengths and areas are unknown: `no_pixel_spacing` or `no_artery_traced`; empty if they are known."""
        if self.traced:
            return ""
        return "no_pixel_spacing" if self.vessels is None else "no_artery_traced"

    @property
    def length_mm(self) -> float | None:
        """Centre-line length of the calcified arteries, with short gaps; 0 in a BAC- view, None if unknown."""
        return self.vessels.length_mm if self.traced else None

    @property
    def area_mm2(self) -> float | None:
        """Area of the calcified arteries, with the lumen; 0 in a BAC- view, None if unknown."""
        return self.vessels.area_mm2 if self.traced else None

    @property
    def width_mm(self) -> float | None:
        """Mean width of the calcified arteries; 0 in a BAC- view, None if unknown."""
        return self.vessels.width_mm if self.traced else None


def upsample_map(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample a map to the grid of its view by bilinear interpolation.

    Both grids cover the same field, so the centre of pixel i of n is at (i + 0.5) / n of the field. Beyond the centres
    of the outermost pixels, the map is constant.

    Args:
        map_: (h, w).
        shape: (rows, columns) of the view.

    Returns:
        float32 of `shape`.

    Raises:
        ValueError: `map_` is not two-dimensional or is empty.
    """
    map_ = np.asarray(map_, np.float32)
    if map_.ndim != 2 or map_.size == 0:
        raise ValueError(f"map_: got shape {map_.shape}, must be (h, w)")
    return cv2.resize(map_, (int(shape[1]), int(shape[0])), interpolation=cv2.INTER_LINEAR)


def bac_region(map01: np.ndarray, shape: tuple[int, int], threshold: float, mask: np.ndarray) -> np.ndarray:
    """Return the pixels of the breast in which the heatmap exceeds the threshold.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1).
        mask: The breast, bool of `shape`.

    Returns:
        bool of `shape`.

    Raises:
        ValueError: The threshold is not between 0 and 1, or the mask has the wrong shape.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: got {threshold!r}, must lie between 0 and 1")
    mask = np.asarray(mask, bool)
    if mask.shape != tuple(shape):
        raise ValueError(f"mask: got shape {mask.shape}, must be {tuple(shape)}")
    return (upsample_map(map01, shape) > threshold) & mask


def bac_area(
    map01: np.ndarray,
    shape: tuple[int, int],
    threshold: float,
    spacing_mm: tuple[float, float] | None,
    mask: np.ndarray,
) -> tuple[float, str]:
    """Measure the area inside the breast in which the heatmap exceeds the threshold.

    This is the paper's BAC_area = P * sum(G > Th), where P is the area of a pixel: row spacing times column spacing.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1); 0.3 in the paper.
        spacing_mm: (row, column) of the prepared view, or None.
        mask: The breast, bool of `shape`.

    Returns:
        The area and its unit: `mm2`, or `px` (number of pixels) without a spacing.

    Raises:
        ValueError: The threshold or the spacing is out of range, or the mask has the wrong shape.
    """
    row, column = (1.0, 1.0) if spacing_mm is None else check_spacing(spacing_mm)
    pixels = int(bac_region(map01, shape, threshold, mask).sum())
    return pixels * row * column, "px" if spacing_mm is None else "mm2"


def common_spacings(spacings_mm: Sequence[tuple[float, float] | None]) -> list[tuple[float, float] | None]:
    """Return the spacings of views whose areas are compared: all None if one is, so that no pixels mix with mm2."""
    return list(spacings_mm) if all(spacings_mm) else [None] * len(spacings_mm)


def heatmap_area(
    map01: np.ndarray,
    form: str,
    bac: bool,
    shape: tuple[int, int],
    threshold: float,
    spacing_mm: tuple[float, float] | None,
    mask: np.ndarray,
) -> tuple[float, str]:
    """Measure the area of a heatmap as `bac_area` does, except for the per-image maximum in a BAC- view.

    The area is a property of the heatmap, as in the paper, and does not depend on the detection threshold. But a
    heatmap of the form `per-image-maximum` reaches 1 in every view, so its area counts only in views classified as
    BAC+.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        form: Its form, one of `settings.HEATMAPS`.
        bac: Whether the view is classified as BAC+.
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view, or `None`.
        mask: The breast, bool of `shape`.

    Returns:
        The area and its unit, as `bac_area`.
    """
    area, unit = bac_area(map01, shape, threshold, spacing_mm, mask)
    return area * (bool(bac) or form != PER_IMAGE), unit


def measure_arteries(
    map01: np.ndarray,
    pixels: np.ndarray,
    threshold: float,
    spacing_mm: tuple[float, float],
    mask: np.ndarray,
    lines: Lines | None = None,
) -> tuple[np.ndarray, Vessels]:
    """Segment and trace the calcified arteries of one view, located by the heatmap and delineated in the pixels.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        pixels: The prepared view, float32 (H, W).
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view.
        mask: The breast, bool (H, W).
        lines: Result of `segmentation.find_lines` for the view, if it is measured several times.

    Returns:
        Mask of the arteries over the full width of the vessel, bool (H, W) (`segmentation.refine_mask`), and their
        centre lines (`centerlines.trace_vessels`); both are empty if the heatmap nowhere exceeds Th.

    Raises:
        ValueError: The threshold or the spacing is out of range, or a shape is wrong.
    """
    spacing = check_spacing(spacing_mm)
    pixels, mask = np.asarray(pixels, np.float32), np.asarray(mask, bool)
    if mask.shape != pixels.shape:
        raise ValueError(f"mask: got shape {mask.shape}, must be {pixels.shape}")
    heat = np.clip(upsample_map(map01, pixels.shape), 0, 1)
    apart = max(mm * n / cells for mm, n, cells in zip(spacing, pixels.shape, np.shape(map01), strict=True))
    level = FINE_LEVEL if apart < FINE_MM else LEVEL
    artery = refine_mask(np.where(mask, pixels, 0), heat, threshold, spacing, lines, level)
    return artery, trace_vessels(artery, spacing)


def dense_share(pixels: np.ndarray) -> float:
    """Return the share of the breast above Otsu's threshold of its pixels, a rough measure of density.

    Args:
        pixels: The prepared view, 0 outside the breast.

    Returns:
        0 to 1; 0 if there is no breast, or all its pixels are equal.
    """
    inside = np.asarray(pixels)[np.asarray(pixels) != 0]
    return float((inside > threshold_otsu(inside)).mean()) if inside.size and np.ptp(inside) > 0 else 0.0
