"""Compositing of synthetic lesions into the simulated views and patches of the pretraining, anew in each epoch."""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.pretraining.lines import between
from bac_utils.pretraining.patches import SCALE_SPREAD, STRIDE, local_labels
from bac_utils.pretraining.synthetic_lesions import add_lesion, draw_lesion, turned

ARTERY_SHARE = 0.45
"""Fraction of the images that receive a synthetic artery, whether or not they show one of the simulator's."""
SOFT_SHARE, SOFT_PIXELS = 0.3, (0.4, 1.5)
"""Fraction of the images that are blurred first, and the range of the standard deviation of the blur in pixels."""
NOISE_SHARE, NOISE_PIXELS, NOISE_AMOUNT = 0.5, (0.3, 2.0), (0.03, 0.35)
"""Fraction of the images with additional noise, such as film grain or that of a low dose, and the ranges of its blur in
pixels and of its standard deviation in standard deviations of the breast."""
SHARP_SHARE, SHARP_PIXELS, SHARP_AMOUNT = 0.3, (0.8, 8.0), (0.3, 2.0)
"""Fraction of the images with edge enhancement, and the ranges of its blur in pixels and of its amount."""
WINDOW_SHARE, WINDOW_TAILS = 0.3, (0.02, 0.015)
"""Fraction of the windowed images, and the largest fractions of the breast that become black and white."""
GAMMA_SHARE, GAMMA = 0.3, (0.6, 1.7)
"""Fraction of the images with a curved grey scale, and the range of its exponent."""
BYTE_SHARE, JPEG_SHARE, JPEG_QUALITY = 0.5, 0.6, (40, 95)
"""Fraction of the images with 8 bits, the fraction of these that are compressed, and the range of their quality."""
RIM_SHARE = 0.3
"""Fraction of the images with a bright skin line, and of those with a stair-like edge of the breast."""


@dataclass(frozen=True)
class SyntheticLesions:
    """A set of synthetic lesions to choose from.

    Attributes:
        arteries: Intensity of arteries, float16 (n, side, side); see `synthetic_lesions.draw_lesion`.
        labels: Local labels of the arteries, int8 (n, side // 8, side // 8); see `patches.local_labels`.
        mimics: Intensity of mimics, float16 (n, side, side).
        mean_mimics: Mean number of mimics added to an image.
    """

    arteries: np.ndarray
    labels: np.ndarray
    mimics: np.ndarray
    mean_mimics: float

    def part(self, start: int | None, stop: int | None) -> "SyntheticLesions":
        """Return the lesions from index `start` up to, not including, `stop`."""
        part = slice(start, stop)
        return SyntheticLesions(self.arteries[part], self.labels[part], self.mimics[part], self.mean_mimics)


def draw_pair(number: int, side: int, pixels_mm: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an artery and a mimic.

    Args:
        number: Number of the pair; the same number always gives the same pair.
        side: Rows and columns, a multiple of 8.
        pixels_mm: Pixel spacings in mm; one is chosen and varied by up to `SCALE_SPREAD`.

    Returns:
        Intensity of the artery (side, side), its local labels (side // 8, side // 8), and intensity of the mimic
        (side, side).
    """
    rng = np.random.default_rng([number, 17])
    pixel = float(rng.choice(pixels_mm) * np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))
    intensity, artery = draw_lesion(number, True, side, pixel)
    return intensity, local_labels(artery, pixel**2), draw_lesion(number, False, side, pixel)[0]


def add_lesions(
    pixels: np.ndarray, labels: np.ndarray, lesions: SyntheticLesions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blur an image or not, add noise, mimics and an artery or not, and display it (`displayed`).

    Args:
        pixels: A prepared view or a patch of one, (H, W), 0 outside the breast.
        labels: Local labels, int8 (H // 8, W // 8); see `patches.local_labels`.
        lesions: Lesions to choose from; their side is at most H and W.
        rng: Source of randomness.

    Returns:
        New pixels, float32, and new local labels, int8. Where labels meet, 1 takes precedence over -1 (undecided), and
        -1 over 0.
    """
    pixels, labels = pixels.astype(np.float32), labels.copy()
    if rng.random() < SOFT_SHARE:
        pixels = np.where(pixels != 0, cv2.GaussianBlur(pixels, (0, 0), np.exp(rng.uniform(*np.log(SOFT_PIXELS)))), 0)
    if rng.random() < NOISE_SHARE:
        grain = cv2.GaussianBlur(rng.standard_normal(pixels.shape, np.float32), (0, 0), between(rng, *NOISE_PIXELS))
        pixels = np.where(pixels != 0, pixels + between(rng, *NOISE_AMOUNT) / grain.std() * grain, 0)
    for _ in range(rng.poisson(lesions.mean_mimics)):
        intensity = turned(lesions.mimics[rng.integers(len(lesions.mimics))], rng.integers(8))
        _add_anywhere(pixels, intensity, rng)
    if rng.random() < ARTERY_SHARE:
        k, turn = rng.integers(len(lesions.arteries)), rng.integers(8)
        row, column = _add_anywhere(pixels, turned(lesions.arteries[k], turn), rng)
        new = turned(lesions.labels[k], turn)
        part = np.s_[row : row + new.shape[0], column : column + new.shape[1]]
        breast = pixels[: labels.shape[0] * STRIDE, : labels.shape[1] * STRIDE] != 0
        inside = breast.reshape(labels.shape[0], STRIDE, labels.shape[1], STRIDE).mean(axis=(1, 3))[part]
        new = np.where((new == 1) & (inside < 0.7), np.where(inside > 0, -1, 0), new)
        old = labels[part]
        labels[part] = np.where((old == 1) | (new == 1), 1, np.minimum(old, new))
    return displayed(_with_rim(pixels, rng), rng), labels


def displayed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Process an image as mammography systems and archives do, or not: edges, window, grey scale, 8 bits, JPEG.

    Args:
        pixels: A prepared view or a patch of one with its lesions, float32 (H, W), 0 outside the breast.
        rng: Source of randomness.

    Returns:
        float32 array of the same shape, 0 outside the breast, on the grey scale of the given pixels.
    """
    breast = pixels != 0
    if not breast.any():
        return pixels
    if rng.random() < SHARP_SHARE:
        smooth = cv2.GaussianBlur(pixels, (0, 0), between(rng, *SHARP_PIXELS))
        pixels = pixels + between(rng, *SHARP_AMOUNT) * (pixels - smooth)
    if rng.random() < WINDOW_SHARE:
        some = pixels[breast]
        low, high = rng.uniform(0, WINDOW_TAILS[0]), 1 - rng.uniform(0, WINDOW_TAILS[1])
        pixels = np.clip(pixels, *np.quantile(some[:: max(len(some) // 20_000, 1)], (low, high)))
    low, high = float(pixels[breast].min()), float(pixels[breast].max())
    width = max(high - low, 1e-6)
    if rng.random() < GAMMA_SHARE:
        pixels = low + width * np.clip((pixels - low) / width, 0, 1) ** between(rng, *GAMMA)
    if rng.random() < BYTE_SHARE:
        grey = np.where(breast, np.round(np.clip((pixels - low) / width, 0, 1) * 255), 0).astype(np.uint8)
        if rng.random() < JPEG_SHARE:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*JPEG_QUALITY))]
            grey = cv2.imdecode(cv2.imencode(".jpg", grey, quality)[1], cv2.IMREAD_GRAYSCALE)
        pixels = low + width * grey.astype(np.float32) / 255
    pixels = np.where(pixels == 0, np.float32(1e-4), pixels)
    return np.where(breast, pixels, 0).astype(np.float32)


def _with_rim(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut the breast along stairs, and draw a bright skin line along its edge, each or not."""
    breast = (pixels != 0).astype(np.uint8)
    if breast.all() or not breast.any():
        return pixels
    if rng.random() < RIM_SHARE:
        step = int(rng.integers(3, 17))
        small = cv2.resize(breast, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        breast &= cv2.resize(small, breast.shape[::-1], interpolation=cv2.INTER_NEAREST)
        pixels = np.where(breast > 0, pixels, 0).astype(np.float32)
    if rng.random() < RIM_SHARE and breast.any():
        away = cv2.distanceTransform(breast, cv2.DIST_L2, 5)
        place, width = rng.uniform(0, 15), between(rng, 0.8, 6)
        pixels = add_lesion(pixels, np.exp(-((away - place) ** 2) / (2 * width**2)).astype(np.float32), rng)
    return pixels


def _add_anywhere(pixels: np.ndarray, intensity: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Add a lesion at a random position in the breast, in place; return the row and column of its first local label."""
    rows, columns = (n // STRIDE for n in pixels.shape)
    side = len(intensity) // STRIDE
    middle = np.argwhere(pixels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE][:rows, :columns])
    if rows == columns == side or not len(middle):
        row = column = 0
    else:
        row, column = np.clip(middle[rng.integers(len(middle))] - side // 2, 0, (rows - side, columns - side))
    part = np.s_[row * STRIDE : (row + side) * STRIDE, column * STRIDE : (column + side) * STRIDE]
    pixels[part] = add_lesion(pixels[part], intensity, rng)
    return int(row), int(column)
