"""Volumes of material drawn into an image in physical units, and the random textures of tissue."""

from functools import lru_cache

import cv2
import numpy as np
from scipy import fft

TEXTURE_MM = 320.0
"""Side of the texture's period; larger than any detector field."""
_BLURS_MM = np.array([0.0, 0.06, 0.12, 0.2, 0.32, 0.5, 0.8, 1.3, 2.1])


class Canvas:
    """Thickness of one material along the beam, in mm, on a pixel grid."""

    def __init__(self, shape: tuple[int, int], spacing_mm: float) -> None:
        """Make an empty canvas.

        Args:
            shape: Rows and columns.
            spacing_mm: Pixel spacing, the same in both directions.
        """
        self.shape = shape
        self.spacing_mm = spacing_mm
        self._deposits: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in _BLURS_MM]

    def deposit(self, points: np.ndarray, volume_mm3: np.ndarray | float, blur_mm: float) -> None:
        """Add volumes of material around points; what falls outside the grid is lost.

        Args:
            points: (n, 2) x and y in mm from the grid's corner.
            volume_mm3: (n,) or one number.
            blur_mm: Standard deviation of the Gaussian that each volume is spread over (taken to the next class).
        """
        if len(points):
            level = int(np.argmin(np.abs(_BLURS_MM - blur_mm)))
            self._deposits[level].append((points, np.broadcast_to(volume_mm3, len(points))))

    def thickness(self) -> np.ndarray:
        """Return the thickness map in mm, float32 (rows, columns)."""
        total = np.zeros(self.shape, np.float32)
        rows, columns = self.shape
        for width, deposits in zip(_BLURS_MM, self._deposits, strict=True):
            if not deposits:
                continue
            x, y = (np.concatenate([d[0] for d in deposits]).T / self.spacing_mm) - 0.5
            volume = np.concatenate([d[1] for d in deposits]) / self.spacing_mm**2
            column, row = np.floor(x).astype(int), np.floor(y).astype(int)
            ok = (column >= 0) & (row >= 0) & (column < columns - 1) & (row < rows - 1)
            fx, fy = (x - column)[ok], (y - row)[ok]
            column, row, volume = column[ok], row[ok], volume[ok]
            corner = row * columns + column
            index = np.concatenate([corner, corner + 1, corner + columns, corner + columns + 1])
            shares = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
            layer = np.bincount(index, shares * np.tile(volume, 4), rows * columns)
            layer = layer.reshape(self.shape).astype(np.float32)
            # sharing a point among four pixels has a variance of 1/6, on average over the places; a pixel's aperture
            # has 1/12
            total += blur(layer, max((width / self.spacing_mm) ** 2 + 1 / 12 - 1 / 6, 0) ** 0.5)
        return total


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian; a narrow one, which its samples would miss, by three weights of the same variance.

    Args:
        image: float32 (rows, columns).
        sigma: Standard deviation in pixels.

    Returns:
        float32, the same shape.
    """
    if sigma >= 0.7:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    weights = np.array([sigma**2 / 2, 1 - sigma**2, sigma**2 / 2])
    return cv2.sepFilter2D(image, -1, weights, weights)


def stroke(
    canvas: Canvas, line: np.ndarray, diameter_mm: np.ndarray | float, share: float = 1.0, step_mm: float = 0.2
) -> None:
    """Draw a solid cylinder along a line.

    Args:
        canvas: Where to.
        line: (n, 2) x, y in mm.
        diameter_mm: (n,) or one number.
        share: Share of the cylinder that is of the material.
        step_mm: Largest distance of the points that make it up; at least two lie in each pixel, lest a line on a
            coarse grid become a row of beads.
    """
    step_mm = min(step_mm, canvas.spacing_mm / 2)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    if arc[-1] < step_mm:
        return
    at = np.arange(0, arc[-1], step_mm)
    points = np.column_stack([np.interp(at, arc, line[:, k]) for k in (0, 1)])
    diameter = np.interp(at, arc, np.broadcast_to(diameter_mm, len(line)))
    volume = share * np.pi / 4 * diameter**2 * step_mm
    canvas.deposit(points, volume, float(np.mean(diameter)) * 0.27)


def paint(mask: np.ndarray, line: np.ndarray, width_mm: float, spacing_mm: float) -> None:
    """Set the pixels within half a width of a line, in place.

    Args:
        mask: uint8 (rows, columns).
        line: (n, 2) x, y in mm from the grid's corner.
        width_mm: Full width.
        spacing_mm: Pixel spacing.
    """
    finer = int(np.ceil(spacing_mm / 0.1))  # drawn on a grid of at most 0.1 mm
    at = line / spacing_mm - 0.5
    margin = int(np.ceil(width_mm / 2 / spacing_mm)) + 2
    low = np.clip(np.floor(at.min(axis=0)).astype(int) - margin, 0, None)
    high = np.minimum(np.ceil(at.max(axis=0)).astype(int) + margin + 1, mask.shape[::-1])
    if (high <= low).any():
        return
    size = tuple(int(n) for n in high - low)
    part = np.ones((size[1] * finer, size[0] * finer), np.uint8)
    points = np.round(((at - low + 0.5) * finer - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(part, [points], False, 0, 1, shift=4)
    reach = max(width_mm / 2 / spacing_mm * finer - 0.5, 0)  # the drawn line is a pixel wide itself
    near = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
    near = cv2.resize(near.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    mask[low[1] : high[1], low[0] : high[0]][near] = 1


@lru_cache(maxsize=4)
def _log_frequency(pixels: int) -> np.ndarray:
    """Logarithm of the spatial frequency in 1/mm of each element of a real FFT; the zero frequency is left at 0."""
    f = np.hypot(fft.fftfreq(pixels)[:, None], fft.rfftfreq(pixels)[None, :]) * pixels / TEXTURE_MM
    f[0, 0] = 1
    return np.log(f).astype(np.float32)


def power_law(
    rng: np.random.Generator, exponent: float, longest_mm: float = TEXTURE_MM, pixels: int = 1024
) -> np.ndarray:
    """Draw a Gaussian texture whose power spectrum falls as 1/f^exponent.

    Mammograms have an exponent of about 3 (Burgess; Chen et al., Med Phys 39:1435: CC 3.17, MLO 3.30).

    Args:
        rng: Source of randomness.
        exponent: Of the power (not amplitude) spectrum.
        longest_mm: Wavelength above which the spectrum is flat.
        pixels: Side of the grid; the texture has no detail finer than two of its pixels.

    Returns:
        float32 (pixels, pixels) over 320 mm x 320 mm, mean 0, deviation 1; it continues at its opposite edge.
    """
    log_f = _log_frequency(pixels)
    amplitude = np.exp(np.float32(-exponent / 2) * np.maximum(log_f, np.float32(-np.log(longest_mm))))
    amplitude[0, 0] = 0
    noise = rng.standard_normal((*log_f.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise *= amplitude
    field = fft.irfft2(noise, s=(pixels, pixels), overwrite_x=True)
    field /= field.std()
    return field


def sample(field: np.ndarray, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Sample a texture (from `power_law`) on a pixel grid by linear interpolation, float32 (rows, columns)."""
    step = spacing_mm * len(field) / TEXTURE_MM
    matrix = np.array([[step, 0, 0.5 * step - 0.5], [0, step, 0.5 * step - 0.5]])
    return cv2.warpAffine(
        field, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )
