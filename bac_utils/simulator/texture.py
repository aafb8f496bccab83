"""Power spectra of breast tissue, and the exponent beta of the law P(f) ~ 1/f^beta that they follow.

The power is averaged over squares inside the breast and over all directions; beta is the slope of a straight line
through the logarithms. It says how coarse a texture is, whatever the unit of its grey levels.
"""

from collections.abc import Iterable
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
from scipy import fft

PUBLISHED_EXPONENTS = MappingProxyType({"CC": (3.17, 0.226), "MLO": (3.30, 0.236)})
"""Mean and deviation of beta over the mammograms of 23 women (Chen et al. 2012, Med Phys 39:1435)."""
BAND_PER_MM = (0.15, 1.2)
"""Assumption: frequencies in 1/mm between which beta is fitted. Below, a square holds too few periods; above, detector
noise, film grain and the blur of the picture take over."""
SQUARE_MM = 25.6
"""Assumption: side of a square."""
SKIN_MM = 8.0
"""Assumption: squares keep this far from the breast's edge, where the tissue thins out."""
_EDGES = np.geomspace(0.09, 6.0, 33)  # of the frequency bins, 1/mm


def tissue_squares(pixels: np.ndarray, mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Cut the squares that lie inside the breast, overlapping by half.

    Args:
        pixels: (rows, columns).
        mask: The breast, bool, the same shape. The edge of the image is no edge of the breast.
        spacing_mm: Pixel spacing, rows and columns alike.

    Returns:
        (squares, n, n); no squares where the breast is too small for one.

    Raises:
        ValueError: The shapes differ.
    """
    if pixels.shape != mask.shape:
        raise ValueError(f"mask: got shape {mask.shape}, must be that of the pixels, {pixels.shape}")
    side = max(round(SQUARE_MM / spacing_mm), 2)
    deep = mask.astype(np.uint8)
    if not mask.all():
        deep = (cv2.distanceTransform(deep, cv2.DIST_L2, 5) * spacing_mm > SKIN_MM).astype(np.uint8)
    sums = cv2.integral(deep)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side] == side * side
    step = max(side // 2, 1)
    places = np.argwhere(inside[::step, ::step]) * step
    return np.array([pixels[r : r + side, c : c + side] for r, c in places], float).reshape(-1, side, side)


def power_spectrum(squares: Iterable[np.ndarray], spacing_mm: float) -> pd.DataFrame:
    """Average the power of squares of one size, over the squares and over all directions.

    Args:
        squares: (n, n) arrays; each is taken relative to its mean and faded out at its edges (Hann).
        spacing_mm: Pixel spacing.

    Returns:
        A row a frequency bin: `frequency` in 1/mm, up to half a period a pixel; `power` in squared units of the
        pixels times mm2.

    Raises:
        ValueError: No squares, or one that is none.
    """
    total, count, window = 0.0, 0, None
    for square in squares:
        if window is None:
            side = len(square)
            window = np.outer(*[np.hanning(side + 2)[1:-1]] * 2)
        if np.shape(square) != (side, side):
            raise ValueError(f"squares: got the shape {np.shape(square)}, must be {(side, side)} for all")
        faded = (square - np.average(square, weights=window)) * window
        total = total + np.abs(fft.rfft2(faded)) ** 2
        count += 1
    if not count:
        raise ValueError("squares: got none, must be at least one")
    power = total / count * spacing_mm**2 / (window**2).sum()
    f = np.hypot(fft.fftfreq(side, spacing_mm)[:, None], fft.rfftfreq(side, spacing_mm))
    rows = []
    for low, high in zip(_EDGES, _EDGES[1:], strict=False):
        ring = (f >= low) & (f < high)
        if ring.any() and high <= 0.5 / spacing_mm:
            rows.append((np.exp(np.log(f[ring]).mean()), power[ring].mean()))
    return pd.DataFrame(rows, columns=["frequency", "power"])


def fit_exponent(spectrum: pd.DataFrame, band_per_mm: tuple[float, float] = BAND_PER_MM) -> float:
    """Fit beta of P(f) ~ 1/f^beta.

    Args:
        spectrum: From `power_spectrum`.
        band_per_mm: Lowest and highest frequency of the fit, 1/mm.

    Returns:
        Beta.

    Raises:
        ValueError: The spectrum does not reach over the band.
    """
    low, high = band_per_mm
    used = spectrum[spectrum["frequency"].between(low, high)]
    if len(used) < 3 or used["frequency"].min() > 1.3 * low or used["frequency"].max() < high / 1.3:
        raise ValueError(f"band_per_mm: got {band_per_mm}, the spectrum does not reach over it")
    return float(-np.polyfit(np.log(used["frequency"]), np.log(used["power"]), 1)[0])
