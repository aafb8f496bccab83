"""Saturated grey levels: how much of a breast has been cut off to black or white."""

import cv2
import numpy as np

ENDS = 0.005
"""Share of the range of grey levels that counts as its end; lossy compression spreads saturated pixels over as much."""
RIM = 0.01
"""Width of the rim that is left out, as a share of the longer side: the outline of a breast includes background."""
SAMPLED = 512
"""Largest side of the sample of pixels that is examined."""

BLANK_PERCENTILES = (0.5, 99.5)
"""If these percentiles of the breast's grey levels are equal, the breast shows nothing."""


def saturated_share(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a breast's pixels within `ENDS` of its darkest or brightest grey level, without its rim.

    Args:
        pixels: Grey levels as displayed (rows, columns), real and finite.
        mask: The breast, bool of the same shape, with at least one pixel.

    Returns:
        0 to 1. It is small unless the detector, a window or a conversion has cut off grey levels.
    """
    low, high = float(pixels[mask].min()), float(pixels[mask].max())
    margin, breast = ENDS * (high - low), _inside(pixels, mask)
    return float(((breast <= low + margin) | (breast >= high - margin)).mean())


def is_blank(pixels: np.ndarray, mask: np.ndarray) -> bool:
    """Return whether the inside of a breast shows nothing: its pixels, except for 1 %, have the same grey level.

    Args:
        pixels: As for `saturated_share`.
        mask: As for `saturated_share`.
    """
    low, high = np.percentile(_inside(pixels, mask), BLANK_PERCENTILES)
    return bool(low == high)


def _inside(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a sample of a breast's pixels, without its rim."""
    step = -(-max(pixels.shape) // SAMPLED)
    pixels, mask = pixels[::step, ::step], mask[::step, ::step].astype(np.uint8)
    width = 2 * max(1, round(RIM * max(mask.shape))) + 1
    inside = cv2.erode(np.ascontiguousarray(mask), np.ones((width, width), np.uint8), borderValue=1) > 0
    return pixels[inside if inside.any() else mask > 0]
