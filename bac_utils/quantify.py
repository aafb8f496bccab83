"""From a heatmap to numbers: the paper's area above a threshold, and the arteries themselves in mm.

Spacings are (row, column) in mm of the prepared view. Where the breast's rectangle is stretched to the matrix they
differ, from each other and from breast to breast; at a fixed scale (`prepare` with `pixel_mm`) they are equal but for
the rounding to whole pixels, and larger in a breast that had to be shrunk.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu
from skimage.morphology import skeletonize

from bac_utils.arteries.centerlines import Vessels, trace_vessels
from bac_utils.arteries.masks import check_spacing
from bac_utils.arteries.segmentation import refine_mask


def upsample_map(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring a map to the grid of its view, bilinearly.

    Both grids cover the same field, so pixel i of n lies at (i + 0.5) / n of it; beyond the outermost map pixels'
    centres the map is constant.

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
    """Outline BAC: the breast's pixels whose heat is above the threshold.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1).
        mask: The breast, bool of `shape`.

    Returns:
        bool of `shape`.

    Raises:
        ValueError: The threshold is not between 0 and 1, or the mask has another shape.
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
    """Measure the area of the region above the threshold, inside the breast.

    The paper's BAC_area = P * sum(G > Th), with P the area of a pixel: row spacing times column spacing.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1); the paper's is 0.3.
        spacing_mm: (row, column) of the prepared view, or `None`.
        mask: The breast, bool of `shape`.

    Returns:
        The area and its unit: `mm2`, or `px` (number of pixels) without a spacing.

    Raises:
        ValueError: The threshold, the spacing or the mask's shape is out of range.
    """
    row, column = _check_spacing(spacing_mm)
    pixels = int(bac_region(map01, shape, threshold, mask).sum())
    return pixels * row * column, "px" if spacing_mm is None else "mm2"


def bac_length(binary: np.ndarray, spacing: tuple[float, float] | None) -> float:
    """Measure the length along the middle of a region: all branches of its skeleton (Zhang and Suen's thinning).

    Neighbouring skeleton pixels count with the distance of their centres: row spacing, column spacing, or the
    diagonal of both. A diagonal pair that is also linked around a corner pixel is not counted twice. A single
    pixel has no length; a region is shortened by about half its width at each end.

    Args:
        binary: bool (H, W).
        spacing: (row, column) in mm, or `None`.

    Returns:
        The length in mm; without a spacing in pixels.

    Raises:
        ValueError: `binary` is not two-dimensional, or the spacing is not positive.
    """
    row, column = _check_spacing(spacing)
    binary = np.asarray(binary, bool)
    if binary.ndim != 2:
        raise ValueError(f"binary: got shape {binary.shape}, must be (H, W)")
    x, y, width, height = cv2.boundingRect(binary.astype(np.uint8))
    s = skeletonize(binary[y : y + height, x : x + width])
    down = (s[1:] & s[:-1]).sum()
    across = (s[:, 1:] & s[:, :-1]).sum()
    falling = (s[:-1, :-1] & s[1:, 1:] & ~s[:-1, 1:] & ~s[1:, :-1]).sum()
    rising = (s[:-1, 1:] & s[1:, :-1] & ~s[:-1, :-1] & ~s[1:, 1:]).sum()
    return float(down * row + across * column + (falling + rising) * np.hypot(row, column))


def measure(
    map01: np.ndarray,
    shape: tuple[int, int],
    threshold: float,
    spacing_mm: tuple[float, float] | None,
    mask: np.ndarray,
) -> dict[str, float | str]:
    """Measure the region of one heatmap above Th, as it is: area, and length along its middle. Fast, and coarse.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        shape: (rows, columns) of the prepared view.
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view, or `None`.
        mask: The breast, bool of `shape`.

    Returns:
        `area`, `area_unit` (`mm2` or `px`), `length`, `length_unit` (`mm` or `px`).

    Raises:
        ValueError: As `bac_area`.
    """
    area, unit = bac_area(map01, shape, threshold, spacing_mm, mask)
    length = bac_length(bac_region(map01, shape, threshold, mask), spacing_mm)
    return {"area": area, "area_unit": unit, "length": length, "length_unit": "mm" if unit == "mm2" else "px"}


@dataclass(frozen=True)
class Measures:
    """What is measured on one view.

    Attributes:
        mask: The calcified artery, as wide as the vessel, bool on the grid of the prepared view (`refine.refine_mask`).
        vessels: Its centre lines (`vessels.trace_vessels`).
    """

    mask: np.ndarray
    vessels: Vessels

    @property
    def area_mm2(self) -> float:
        """Area of the arteries, lumen included."""
        return self.vessels.area_mm2

    @property
    def length_mm(self) -> float:
        """Length of their centre lines, short gaps included."""
        return self.vessels.length_mm


def measure_arteries(
    map01: np.ndarray, pixels: np.ndarray, threshold: float, spacing_mm: tuple[float, float], mask: np.ndarray
) -> Measures:
    """Measure the calcified arteries of one view: the heatmap says where, the pixels say how far they reach.

    Args:
        map01: Heatmap (h, w) in [0, 1].
        pixels: The prepared view, float32 (H, W).
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view.
        mask: The breast, bool (H, W).

    Returns:
        The arteries; none where the heatmap stays below Th.

    Raises:
        ValueError: The threshold, the spacing or a shape is out of range.
    """
    spacing = check_spacing(spacing_mm)
    pixels, mask = np.asarray(pixels, np.float32), np.asarray(mask, bool)
    if mask.shape != pixels.shape:
        raise ValueError(f"mask: got shape {mask.shape}, must be {pixels.shape}")
    heat = np.clip(upsample_map(map01, pixels.shape), 0, 1)
    artery = refine_mask(np.where(mask, pixels, 0), heat, threshold, spacing)
    return Measures(artery, trace_vessels(artery, spacing))


def dense_share(pixels: np.ndarray) -> float:
    """Return the share of the breast above Otsu's threshold of its own pixels, a rough measure of density.

    Args:
        pixels: The prepared view, 0 outside the breast.

    Returns:
        0 to 1; 0 without a breast.
    """
    inside = np.asarray(pixels)[np.asarray(pixels) != 0]
    return float((inside > threshold_otsu(inside)).mean()) if inside.size and np.ptp(inside) > 0 else 0.0


def _check_spacing(spacing: tuple[float, float] | None) -> tuple[float, float]:
    """Return (row, column) as floats; (1, 1), pixels, without a spacing."""
    if spacing is None:
        return 1.0, 1.0
    if len(spacing) != 2 or not all(np.isfinite(n) and n > 0 for n in spacing):
        raise ValueError(f"spacing: got {spacing!r}, must be (row, column), two positive numbers in mm, or None")
    return float(spacing[0]), float(spacing[1])
