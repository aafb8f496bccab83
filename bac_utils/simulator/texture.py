"""Breast texture: random fields with a power-law spectrum P(f) ~ 1/f^beta, and beta measured on images.

The spectrum is averaged over squares inside the breast and over all directions; -beta is the slope of a straight line
fitted in log-log coordinates. It describes how coarse a texture is and does not depend on the unit of the grey levels.
"""

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
from scipy import fft

from bac_utils.simulator.rasterize import blur

PUBLISHED_EXPONENTS = MappingProxyType({"CC": (3.17, 0.226), "MLO": (3.30, 0.236)})
"""Mean and standard deviation of beta over the mammograms of 23 women (Chen et al. 2012, Med Phys 39:1435)."""
TEXTURE_MM = 320.0
"""Period of the random fields in mm; larger than any detector field."""
BAND_PER_MM = (0.15, 1.2)
"""Assumption: range of frequencies in 1/mm over which beta is fitted. Below it a square holds too few periods; above it
detector noise, film grain and image blur dominate."""
SQUARE_MM = 25.6
"""Assumption: side of a square in mm."""
SKIN_MM = 8.0
"""Assumption: distance in mm that squares keep from the edge of the breast, where the tissue thins out."""
FINE_SCALE = 4
"""The fine texture is drawn on a grid that is finer than that of the others by this factor."""
_EDGES = np.geomspace(0.09, 6.0, 33)  # edges of the frequency bins, 1/mm


@lru_cache(maxsize=4)
def _log_frequency(pixels: int) -> np.ndarray:
    """Return the log of the spatial frequency (1/mm) of each element of a real FFT, and 0 for the zero frequency."""
    f = np.hypot(fft.fftfreq(pixels)[:, None], fft.rfftfreq(pixels)[None, :]) * pixels / TEXTURE_MM
    f[0, 0] = 1
    return np.log(f).astype(np.float32)


def power_law_texture(
    rng: np.random.Generator, exponent: float, longest_mm: float = TEXTURE_MM, pixels: int = 1024
) -> np.ndarray:
    """Draw a Gaussian random field whose power spectrum falls as 1/f^exponent.

    Mammograms have an exponent of about 3 (Burgess; Chen et al., Med Phys 39:1435: CC 3.17, MLO 3.30).

    Args:
        rng: Source of randomness.
        exponent: Exponent of the power (not amplitude) spectrum.
        longest_mm: Wavelength in mm above which the spectrum is flat.
        pixels: Side of the grid; the texture has no detail finer than two of these pixels.

    Returns:
        float32 (pixels, pixels) over 320 mm x 320 mm, mean 0, standard deviation 1, periodic in both directions.
    """
    log_f = _log_frequency(pixels)
    amplitude = np.exp(np.float32(-exponent / 2) * np.maximum(log_f, np.float32(-np.log(longest_mm))))
    amplitude[0, 0] = 0
    noise = rng.standard_normal((*log_f.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise *= amplitude
    field = fft.irfft2(noise, s=(pixels, pixels), overwrite_x=True)
    field /= field.std()
    return field


def sample_texture(field: np.ndarray, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Sample a texture from `power_law_texture` on a pixel grid by linear interpolation: float32 (rows, columns)."""
    step = spacing_mm * len(field) / TEXTURE_MM
    matrix = np.array([[step, 0, 0.5 * step - 0.5], [0, step, 0.5 * step - 0.5]])
    return cv2.warpAffine(
        field, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )


def fine_texture(rng: np.random.Generator, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Draw the fine mesh of fibres of stroma: structure of 0.16 to about 3 mm, which repeats after 80 mm.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        spacing_mm: Pixel spacing in mm; the mesh is averaged over the pixels.

    Returns:
        float32 (rows, columns), mean 0; its standard deviation before the averaging is 1.
    """
    field = power_law_texture(rng, rng.uniform(2.0, 2.8), FINE_SCALE * rng.uniform(1.5, 4.0))
    pixels = spacing_mm * FINE_SCALE * len(field) / TEXTURE_MM
    return sample_texture(blur(field, pixels / 12**0.5), shape, spacing_mm * FINE_SCALE)


def resample(field: np.ndarray, grid_mm: float, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Sample a field given on one pixel grid on another one with the same corner.

    Args:
        field: float32 (rows, columns) at a spacing of `grid_mm`.
        grid_mm: Spacing of the field in mm.
        shape: Rows and columns of the result; beyond the field its margin continues.
        spacing_mm: Spacing of the result in mm. The field is averaged over these pixels.

    Returns:
        float32 (rows, columns).
    """
    field = blur(field, spacing_mm / grid_mm / 12**0.5)  # a pixel's aperture has a variance of 1/12 pixel^2
    step = spacing_mm / grid_mm
    matrix = np.array([[step, 0, 0.5 * step - 0.5], [0, step, 0.5 * step - 0.5]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth transition between them."""
    x = np.minimum(np.maximum(x, 0), 1)
    return x * x * (3 - 2 * x)


def tissue_squares(pixels: np.ndarray, mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Cut out the squares that lie inside the breast; neighbours overlap by half.

    Args:
        pixels: (rows, columns).
        mask: Breast mask, bool, the same shape. The edge of the image does not count as an edge of the breast.
        spacing_mm: Pixel spacing in mm, the same for rows and columns.

    Returns:
        (squares, n, n) array; it is empty if the breast is too small for a square.

    Raises:
        ValueError: If the shapes differ.
    """
    if pixels.shape != mask.shape:
        raise ValueError(f"mask: got shape {mask.shape}, must be the shape of pixels, {pixels.shape}")
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
    """Average the power spectra of squares of one size over the squares and over all directions.

    Args:
        squares: (n, n) arrays. The mean of each is subtracted and a Hann window is applied.
        spacing_mm: Pixel spacing in mm.

    Returns:
        One row per frequency bin: `frequency` in 1/mm, up to the Nyquist frequency, and `power` in squared pixel units
        times mm2.

    Raises:
        ValueError: If there are no squares, or if one is not square or differs in size.
    """
    total, count, window = 0.0, 0, None
    for square in squares:
        if window is None:
            side = len(square)
            window = np.outer(*[np.hanning(side + 2)[1:-1]] * 2)
        if np.shape(square) != (side, side):
            raise ValueError(f"squares: got shape {np.shape(square)}, must be {(side, side)} for all")
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
        spectrum: Spectrum from `power_spectrum`.
        band_per_mm: Lowest and highest frequency of the fit, 1/mm.

    Returns:
        Beta.

    Raises:
        ValueError: If the spectrum does not cover the band.
    """
    low, high = band_per_mm
    used = spectrum[spectrum["frequency"].between(low, high)]
    if len(used) < 3 or used["frequency"].min() > 1.3 * low or used["frequency"].max() < high / 1.3:
        raise ValueError(f"band_per_mm: got {band_per_mm}, must be covered by the spectrum")
    return float(-np.polyfit(np.log(used["frequency"]), np.log(used["power"]), 1)[0])
