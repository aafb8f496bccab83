"""A classical baseline that learns nothing: bright ridges of a top-hat transform that continue as lines.

Vesselness is the Hessian-based filter of Sato et al. (Med Image Anal 2:143, 1998, doi 10.1016/s1361-8415(98)80009-1)
or of Frangi et al. (MICCAI 1998, doi 10.1007/BFb0056195), by scikit-image. That only long, thin pieces count, all sizes
and all levels are choices of this kit. The levels and the least length were chosen on 80 training views of the demo's
cohort, by AUC-ROC and rank correlation with the length; so the method is told as little as possible, but not nothing.
"""

import cv2
import numpy as np
from skimage.filters import apply_hysteresis_threshold, frangi, sato

from bac_utils.arteries.centerlines import trace_vessels
from bac_utils.arteries.masks import depth
from bac_utils.arteries.segmentation import contrast
from bac_utils.methods.interface import LabelledViews, Look, Method
from bac_utils.methods.shares import top_mean

FILTERS = ("sato", "frangi")
WIDTHS_MM = (0.4, 0.7, 1.0)
"""Standard deviations of the Gaussians of the Hessian; a ridge is about twice as wide."""
RIM_MM = 5.0
"""Ridges closer to the edge of the breast belong to the skin."""
LEAST_MM = 16.0
"""A line is at least this long (diagonal of its bounding box)."""
LEVELS = {"sato": (1.3, 2.6), "frangi": (0.3, 0.45)}
"""Low and high level of the ridges' hysteresis threshold; a line is above the low one, and somewhere above the high."""
SCALES = {"sato": 4.0, "frangi": 1.0}
"""Responses that are shown as 1; the strongest ridges of a view with BAC reach about this."""
FRANGI_SCALE = 1.0
"""Norm of the Hessian at half of Frangi's response to contrast, in units of the breast's mean contrast. By default,
scikit-image takes it from each image, so that a view without lines would look like one with them."""
USUAL_MM = 0.3
"""Pixel size that is assumed for a view without a spacing."""


class Vesselness(Method):
    """Lines of ridges: no training, no weights."""

    name = "vesselness"
    title = "Vesselness"
    source = "Sato et al., Med Image Anal 2:143 (1998), doi 10.1016/s1361-8415(98)80009-1"
    measure = "length of the lines, mm"

    def __init__(self, ridges: str = "sato") -> None:
        """Choose the filter.

        Args:
            ridges: One of `FILTERS`.

        Raises:
            ValueError: There is no such filter.
        """
        if ridges not in FILTERS:
            raise ValueError(f"ridges: got {ridges!r}, must be one of {', '.join(FILTERS)}")
        self._ridges = ridges
        if ridges == "frangi":
            self.name, self.title = "vesselness-frangi", "Vesselness (Frangi)"
            self.source = "Frangi et al., MICCAI 1998, doi 10.1007/BFb0056195"

    def settings(self) -> dict:
        """Return the filter with its levels."""
        return {"ridges": self._ridges, "levels": list(LEVELS[self._ridges]), "widths_mm": list(WIDTHS_MM)}

    def scores(self, views: LabelledViews) -> np.ndarray:
        """Score each view by the mean of its strongest 10 mm2 of lines; 0 without lines."""
        spacings = [views.spacing_mm(place) for place in range(len(views))]
        lines = (find_lines(view, mm, self._ridges)[0] for view, mm in zip(views.pixels, spacings, strict=True))
        return np.array([top_mean(heat, mm) for heat, mm in zip(lines, spacings, strict=True)])

    def look(self, pixels: np.ndarray, spacing_mm: tuple[float, float] | None) -> Look:
        """Show the lines, outline and measure them."""
        heat, mask = find_lines(pixels, spacing_mm, self._ridges)
        length = np.nan if spacing_mm is None else trace_vessels(mask, spacing_mm).length_mm
        return Look(heat, length, mask)


def vesselness(pixels: np.ndarray, spacing_mm: tuple[float, float] | None, ridges: str = "sato") -> np.ndarray:
    """Filter the top-hat of a view for bright ridges.

    Args:
        pixels: Prepared view, (H, W), 0 outside the breast.
        spacing_mm: (row, column); None assumes `USUAL_MM`.
        ridges: One of `FILTERS`.

    Returns:
        float32 (H, W), 0 or more; 0 outside the breast and near its edge. Sato's response is in units of the breast's
        mean contrast, Frangi's lies in [0, 1].
    """
    spacing = spacing_mm or (USUAL_MM, USUAL_MM)
    pixels = np.asarray(pixels, np.float32)
    bright = contrast(pixels, spacing)
    sigmas = [max(mm / np.sqrt(spacing[0] * spacing[1]), 0.5) for mm in WIDTHS_MM]
    if ridges == "frangi":
        response = frangi(bright, sigmas, black_ridges=False, gamma=FRANGI_SCALE)
    else:
        response = sato(bright, sigmas, black_ridges=False)
    inside = depth(np.pad(pixels != 0, ((0, 0), (1, 0)), mode="edge"), spacing)[:, 1:] > RIM_MM
    return np.where(inside, response, 0).astype(np.float32)


def find_lines(
    pixels: np.ndarray, spacing_mm: tuple[float, float] | None, ridges: str = "sato"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ridges that continue as lines: their strength, float32 (H, W) in [0, 1], and their mask, bool (H, W).

    The strength is the response over `SCALES`, at most 1.
    """
    low, high = LEVELS[ridges]
    response = vesselness(pixels, spacing_mm, ridges)
    mask = apply_hysteresis_threshold(response, low, high)
    number, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    row, column = spacing_mm or (USUAL_MM, USUAL_MM)
    long = np.hypot(stats[:, cv2.CC_STAT_HEIGHT] * row, stats[:, cv2.CC_STAT_WIDTH] * column) >= LEAST_MM
    long[0] = False
    mask = long[label]
    scale = SCALES[ridges]
    return np.where(mask, np.minimum(response / scale, 1), 0).astype(np.float32), mask
