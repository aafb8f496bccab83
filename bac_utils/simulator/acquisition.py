"""From attenuation to grey levels: detector or film, and the display processing.

Digital For Presentation views are edge-enhanced, locally equalised up to the skin and black outside the breast. Films
are soft, grainy and grey towards the skin, with bright borders and labels. An `Acquisition` is drawn from the whole
range between these extremes. Vendors do not publish their processing: the ranges are assumptions, chosen to cover the
appearance of images in archives.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit

from bac_utils.simulator.attenuation import MU_FAT, Projection
from bac_utils.simulator.rasterize import blur

SHOULDER, FILM_SHOULDER = 1.5, 2.0
"""Largest argument of the logistic contrast curve at the 98th percentile of the breast, detector and film. Dense tissue
thus keeps at least 0.6 (film: 0.4) of the steepest contrast, as a reader would set the window. The values are
assumptions."""

SCATTER = 1.6
"""Largest log exposure above that of the densest tissue: scatter of about a fifth of the radiation (assumption) reaches
the detector even behind metal."""


@dataclass(frozen=True)
class Acquisition:
    """Image acquisition and display processing of one mammography system.

    Attributes:
        film: Whether the image is a scanned film rather than from a digital detector.
        blur_mm: Standard deviation of the system blur (0.07 mm corresponds to an MTF of 0.68 at 2 lp/mm, between the
            0.59 and 0.76 of two detectors in Ghetti et al. 2008).
        noise: Standard deviation of the log exposure for a pixel of 0.1 mm behind average tissue, before it is blurred.
        noise_blur_mm: Standard deviation of the blur of the noise: quanta spread in the detector as the signal does.
        grain: Standard deviation of the film grain in grey levels (0 to 1).
        equalise: Fraction of the decrease in thickness towards the skin that is compensated.
        rim: Thickness, as a fraction of the largest, below which nothing more is compensated and the grey level fades
            into the black background: the outermost 0.5 to 2 mm. 0: no fading.
        flatten: Fraction of the smooth background (radius 25 mm) that is removed.
        edges: (radius in mm, gain) of each unsharp mask.
        boost: Exponent applied to structure finer than 5 mm, in units of 3 of its standard deviations; below 1 it
            enhances faint structure, as multi-scale processing does (Vuylsteke & Schoeters, Proc SPIE 2167:551, 1994).
        local: Weight of the locally equalised image (contrast-limited histograms, tiles of about 30 mm).
        centre: Exposure mapped to mid grey, in standard deviations of the breast from its mean.
        slope: Steepness of the contrast curve.
        gamma: Exponent applied to the grey level after the contrast curve.
        label: Whether a view label is printed beside the breast.
        border: Whether bright strips of the film frame are visible.
        collimated: Whether collimator blades cover strips of the field.
    """

    film: bool
    blur_mm: float
    noise: float
    noise_blur_mm: float
    grain: float
    equalise: float
    rim: float
    flatten: float
    edges: tuple[tuple[float, float], ...]
    boost: float
    local: float
    centre: float
    slope: float
    gamma: float
    label: bool
    border: bool
    collimated: bool


def draw_acquisition(rng: np.random.Generator, film_share: float = 0.0) -> Acquisition:
    """Draw the acquisition and processing parameters of a random system.

    Args:
        rng: Source of randomness.
        film_share: Probability of film, 0 to 1.

    Returns:
        The acquisition.
    """
    if rng.random() < film_share:
        edges = ((rng.uniform(0.3, 1.0), rng.uniform(0.0, 0.3)),)
        return Acquisition(
            True, rng.uniform(0.05, 0.16), rng.uniform(0.006, 0.02), 0.0, rng.uniform(0.002, 0.015),
            rng.uniform(0, 0.25), 0.0, rng.uniform(0, 0.2), edges, 1.0, 0.0,
            rng.normal(0.9, 0.35), rng.uniform(0.7, 1.4), rng.uniform(0.8, 1.3),
            True, rng.random() < 0.6, rng.random() < 0.1,
        )  # fmt: skip
    crisp = rng.random()
    edges = (
        (rng.uniform(0.15, 0.45), crisp * rng.uniform(0.1, 1.0)),
        (rng.uniform(0.6, 1.5), crisp * rng.uniform(0.2, 1.5)),
        (rng.uniform(2.5, 7.0), rng.uniform(0.0, 1.0)),
    )
    boost = rng.uniform(0.65, 1.0) if rng.random() < 0.4 else 1.0
    local = rng.uniform(0.1, 0.5) if rng.random() < 0.25 else 0.0
    return Acquisition(
        False, rng.uniform(0.04, 0.10), rng.uniform(0.025, 0.055), rng.uniform(0.03, 0.08), 0.0,
        rng.uniform(0.75, 1.0), rng.uniform(0.2, 0.36), rng.uniform(0.1, 0.6), edges, boost, local,
        rng.normal(0.30, 0.30), rng.uniform(0.50, 0.95), rng.uniform(0.95, 1.5),
        rng.random() < 0.8, False, rng.random() < 0.15,
    )  # fmt: skip


def expose(projection: Projection, acquisition: Acquisition, columns: int, seed: list[int]) -> np.ndarray:
    """Turn the projection of a breast into grey levels.

    Args:
        projection: Projection from `project_breast`.
        acquisition: Acquisition and processing parameters.
        columns: Columns of the detector field.
        seed: Seed of the noise.

    Returns:
        float32 (rows, columns) in [0, 1], bright = dense, chest wall at the left, without label or border.
    """
    rng = np.random.default_rng(seed)
    spacing, mask = projection.spacing_mm, projection.skin_distance > 0
    middle, brightest = map(float, np.percentile(projection.attenuation[mask][::37], [50, 99]))
    exposure = _blur(np.minimum(projection.attenuation, brightest + SCATTER), acquisition.blur_mm, spacing)
    # Poisson noise after the logarithm
    amount = acquisition.noise * (0.1 / spacing) * cv2.exp(np.clip((exposure - middle) / 2, -1.5, 1.5))
    noise = rng.standard_normal(exposure.shape, dtype=np.float32) * amount
    exposure += _blur(noise, acquisition.noise_blur_mm, spacing)
    full = float(projection.thickness.max())
    inner = np.maximum(projection.thickness, np.float32(acquisition.rim * full))
    exposure += acquisition.equalise * MU_FAT * (full - inner)
    weight = mask.astype(np.float32)
    smooth = _masked_blur(exposure * weight, weight, 25.0, spacing)
    detail = exposure - acquisition.flatten * (smooth - float(smooth[mask].mean()))
    plain = detail * weight
    for radius, gain in acquisition.edges:
        detail += gain * (plain - _masked_blur(plain, weight, radius, spacing))
    if acquisition.boost < 1:
        smooth = _masked_blur(detail * weight, weight, 5.0, spacing)
        detail += _boosted(_blur(detail, 0.15, spacing) - smooth, mask, acquisition.boost)  # the noise is not boosted
    inside = detail[mask]
    low, high = map(float, np.percentile(inside[::37], [2, 98]))
    scaled = (detail - (low + high) / 2) / max((high - low) / 4, 1e-3)
    shoulder = FILM_SHOULDER if acquisition.film else SHOULDER
    centre = max(acquisition.centre, 2 - shoulder / acquisition.slope)  # 2 is the 98th percentile
    grey = 1 / (1 + cv2.exp(-acquisition.slope * (scaled - centre)))
    floor = float(expit(-acquisition.slope * (3.2 + centre)))
    grey = cv2.pow(np.clip((grey - floor) / (0.985 - floor), 0, 1), acquisition.gamma)
    if acquisition.local > 0:
        grey += acquisition.local * (_equalised(grey, spacing) - grey)
    grey = np.where(mask, 0.03 + 0.97 * grey, 0).astype(np.float32)
    if acquisition.rim > 0:
        grey *= np.square(projection.thickness / inner)  # linear in depth at a rounded edge
    grey = cv2.copyMakeBorder(grey, 0, 0, 0, columns - grey.shape[1], cv2.BORDER_CONSTANT, value=0)
    if acquisition.film:
        base = rng.uniform(0.0, 0.06)
        grey = np.maximum(grey, np.float32(base))
        grain = rng.standard_normal(grey.shape, dtype=np.float32)
        grey += acquisition.grain * _blur(grain, 0.08, spacing) * max(0.1 / spacing, 0.4)
        _scratch(grey, rng, spacing)
    return np.clip(grey, 0, 1)


def add_label(image: np.ndarray, text: str, spacing_mm: float, rng: np.random.Generator, chest_left: bool) -> None:
    """Print the view's name beside the breast, in place, in letters about 7 mm high."""
    size = rng.uniform(5, 9) / spacing_mm / 22  # the font's capitals are 22 pixels high at scale 1
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, max(int(size * 3), 1))
    row = int(rng.uniform(0.05, 0.16) * image.shape[0]) + height
    margin = int(rng.uniform(2, 8) / spacing_mm)
    column = image.shape[1] - width - margin if chest_left else margin
    level = float(rng.uniform(0.55, 1.0))
    letters = np.zeros(image.shape, np.uint8)
    cv2.putText(letters, text, (column, row), cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(int(size * 3), 1), cv2.LINE_AA)
    np.maximum(image, letters.astype(np.float32) * (level / 255), out=image)


def add_border(image: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> None:
    """Draw the bright strips that a film frame leaves along the edges of a scan, in place."""
    for edge in range(4):
        if rng.random() < 0.5:
            strip = int(rng.uniform(0.3, 3.0) / spacing_mm) + 1
            level = float(rng.uniform(0.5, 1.0))
            view = (image[:strip], image[-strip:], image[:, :strip], image[:, -strip:])[edge]
            view[...] = level


def add_collimation(image: np.ndarray, spacing_mm: float, rng: np.random.Generator, film: bool) -> None:
    """Cover strips at the upper and lower edge as a collimator does, in place: black if digital, bright on film."""
    level = float(image.max()) if film else 0.0
    for strip in (image, image[::-1]):
        if rng.random() < 0.6:
            strip[: int(rng.uniform(1, 8) / spacing_mm) + 1] = level


def _boosted(fine: np.ndarray, mask: np.ndarray, exponent: float) -> np.ndarray:
    """Return the change from x to sign(x) |x|^exponent, with x in units of 3 of its standard deviations."""
    unit = 3 * float(fine[mask][::37].std()) + 1e-6
    share = np.abs(fine) / unit
    return np.where(mask, np.sign(fine) * unit * share**exponent - fine, 0).astype(np.float32)


def _equalised(grey: np.ndarray, spacing: float) -> np.ndarray:
    """Apply contrast-limited adaptive histogram equalisation to grey levels in [0, 1], with tiles of about 30 mm."""
    tiles = tuple(max(round(n * spacing / 30), 1) for n in grey.shape[::-1])
    levels = cv2.createCLAHE(2.0, tiles).apply(np.round(grey * 65535).astype(np.uint16))
    return levels.astype(np.float32) / 65535


def _scratch(grey: np.ndarray, rng: np.random.Generator, spacing: float) -> None:
    """Draw the dust (bright specks) and scratches of a film, in place."""
    rows, columns = grey.shape
    for _ in range(rng.poisson(6)):
        place = (int(rng.integers(columns)), int(rng.integers(rows)))
        cv2.circle(
            grey, place, max(int(rng.uniform(0.05, 0.2) / spacing), 0), float(rng.uniform(0.5, 1)), -1, cv2.LINE_AA
        )
    for _ in range(rng.poisson(0.7)):
        a = rng.uniform(0, 1, 2) * (columns, rows)
        b = a + rng.normal(0, 12, 2) / spacing
        cv2.line(grey, tuple(map(int, a)), tuple(map(int, b)), float(rng.uniform(0.3, 0.9)), 1, cv2.LINE_AA)


def _blur(image: np.ndarray, sigma_mm: float, spacing: float) -> np.ndarray:
    """Apply a Gaussian blur; a wide one on a coarser grid, which is faster and loses no detail."""
    sigma = sigma_mm / spacing
    factor = int(max(1, sigma // 3))
    if factor == 1:
        return blur(image, sigma)
    size = (max(image.shape[1] // factor, 1), max(image.shape[0] // factor, 1))
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / factor)
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


def _masked_blur(image: np.ndarray, weight: np.ndarray, sigma_mm: float, spacing: float) -> np.ndarray:
    """Apply a Gaussian blur inside a mask only; `image` is 0 outside, `weight` is 1 inside and 0 outside."""
    return _blur(image, sigma_mm, spacing) / np.maximum(_blur(weight, sigma_mm, spacing), 1e-3)
