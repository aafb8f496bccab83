"""How the grey levels of a breast are distributed: numbers that differ between devices and kinds of processing."""

import cv2
import numpy as np
from scipy import stats

from bac_utils.quantify import dense_share

GREY_LEVELS = ("dense_share", "skewness", "fine_structure")
FINE_PIXELS = 9
"""Side in pixels of the averaging window; what is finer counts as fine structure."""


def grey_levels(pixels: np.ndarray) -> dict[str, float]:
    """Describe the grey levels of a prepared view.

    Args:
        pixels: (H, W), mean 0 and standard deviation 1 inside the breast, 0 outside; at least one pixel is not 0.

    Returns:
        `dense_share` (`quantify.dense_share`), `skewness` (`scipy.stats.skew`), and `fine_structure`: robust standard
        deviation of the difference to the mean of 9 x 9 pixels, in standard deviations of the breast, which grows with
        noise and sharpness.
    """
    pixels = np.ascontiguousarray(pixels, np.float32)
    breast, window = pixels != 0, (FINE_PIXELS, FINE_PIXELS)
    core = cv2.erode(breast.astype(np.uint8), np.ones(window, np.uint8)) > 0
    fine = np.abs(pixels - cv2.blur(pixels, window))[core if core.any() else breast]
    return {
        "dense_share": dense_share(pixels),
        "skewness": float(stats.skew(pixels[breast].astype(float))),
        "fine_structure": 1.4826 * float(np.median(fine)),  # the factor is that of a normal distribution
    }
