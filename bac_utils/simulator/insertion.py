"""A calcified artery of known length drawn into any mammogram: an honest test on real tissue.

For users with negatives of their own, and for measuring whether a detector that was taught on simulated views finds
arteries in real ones.
"""

from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.intake.reader import Mammogram
from bac_utils.preprocess import find_breast
from bac_utils.simulator.anatomy import PATH_STEP_MM, Vessel, VisibleStretch
from bac_utils.simulator.attenuation import CALCIUM
from bac_utils.simulator.calcifications import draw_artery_calcium
from bac_utils.simulator.rasterize import Canvas, paint

TEXTURE_MM = 10.0
"""Structure finer than this is the yardstick of a view's contrast."""
TEXTURE_EXPOSURE = 0.21
"""Its deviation in log exposure on simulated views (median of 20 views at 0.25 mm)."""
SKIN_MARGIN_MM = 10.0
"""The artery keeps so far from the skin."""
BLUR_MM = 0.08
"""Of the system that took the view; see `looks.Look.blur_mm`."""


def insert_artery(
    mammogram: Mammogram,
    seed: int,
    length_mm: float,
    strength: float,
    pixel_spacing_mm: float | None = None,
) -> tuple[Mammogram, np.ndarray]:
    """Draw a calcified artery into a view.

    Its place, course and calcium follow from the seed. The calcium's brightness is set by the view's own contrast: fine
    structure has a known deviation in log exposure on simulated views, so its deviation in grey levels tells how
    many grey levels a unit of log exposure is. It nears the brightest grey of the breast and does not exceed it; the
    artery keeps away from larger areas that have this grey already (an implant). The view's edge enhancement is not
    applied to the calcium, which so is fainter than in a simulated view of the same strength.

    Args:
        mammogram: A view without BAC; it stays as it is.
        seed: Integer >= 0.
        length_mm: Of the calcified centre line, at least 5.
        strength: Density of the calcium, 0 (a few faint points) to 1 (dense).
        pixel_spacing_mm: For a view that carries none.

    Returns:
        The view with the artery, and the artery's mask, bool (rows, columns).

    Raises:
        ValueError: A number is out of range, no spacing is known or rows and columns differ in it, the view holds
            values that are not finite or no contrast, or the artery finds no room in the breast.
    """
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be >= 0")
    if not 5 <= length_mm < np.inf:
        raise ValueError(f"length_mm: got {length_mm}, must be at least 5 and finite")
    if not 0 < strength <= 1:
        raise ValueError(f"strength: got {strength}, must lie in (0, 1]")
    pixels, spacing = mammogram.pixels.astype(np.float32), _spacing(mammogram, pixel_spacing_mm)
    if not np.isfinite(pixels).all():
        raise ValueError("mammogram: got pixels that are not finite, must be numbers")
    breast = find_breast(pixels)
    top = float(pixels[breast].max())
    if not np.ptp(np.percentile(pixels[breast][::7], [5, 95])) > 0:
        raise ValueError(f"mammogram: got a breast of one grey level ({top:g}), must have contrast")
    full = (breast & (pixels >= top)).astype(np.uint8)
    full = cv2.morphologyEx(full, cv2.MORPH_OPEN, np.ones((2 * int(1 / spacing) + 1,) * 2, np.uint8)) > 0
    rng = np.random.default_rng([2, seed])
    line = find_course(rng, breast & ~full, length_mm, spacing)
    vessel = Vessel(
        np.zeros((len(line), 3)), np.linspace(1.0, rng.uniform(0.5, 0.9), len(line)) * rng.uniform(0.7, 1.3)
    )
    stretch = VisibleStretch(0, 0, len(line), strength, line)
    canvas = Canvas(pixels.shape, spacing)
    draw_artery_calcium(canvas, vessel, stretch, [2, seed], 0.0)
    exposure = CALCIUM * cv2.GaussianBlur(canvas.thickness(), (0, 0), max(BLUR_MM / spacing, 0.3))

    fine = pixels - _blurred(pixels * breast, spacing) / np.maximum(_blurred(breast.astype(np.float32), spacing), 1e-3)
    inner = cv2.erode(breast.astype(np.uint8), np.ones((9, 9), np.uint8), iterations=4) > 0
    low, high = np.percentile(fine[inner][::31], [16, 84])
    added = exposure * float(high - low) / 2 / TEXTURE_EXPOSURE
    room = np.maximum(top - pixels, 1e-6 * (high - low))
    result = np.where(added > 0, pixels + room * (1 - np.exp(-added / room)), pixels).astype(np.float32)

    mask = np.zeros(pixels.shape, np.uint8)
    paint(mask, line, 2 * float(vessel.radius_mm.mean()) + 0.4, spacing)
    return replace(mammogram, pixels=result), mask > 0


def _spacing(mammogram: Mammogram, given: float | None) -> float:
    """Return the view's pixel spacing in mm, or the given one where it carries none."""
    if not mammogram.spacing_mm:
        if given is None:
            raise ValueError("pixel_spacing_mm: got None, must be given, since the view carries no spacing")
        if not 0 < given < np.inf:
            raise ValueError(f"pixel_spacing_mm: got {given}, must be a positive number of mm")
        return float(given)
    rows, columns = mammogram.spacing_mm
    if not abs(rows - columns) <= 0.01 * rows:
        raise ValueError(
            f"mammogram: got a spacing of {rows:g} and {columns:g} mm, must be the same in both directions"
        )
    return float(rows)


def _blurred(image: np.ndarray, spacing: float) -> np.ndarray:
    factor = max(int(1.0 / spacing), 1)
    small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), TEXTURE_MM / spacing / factor)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def find_course(rng: np.random.Generator, breast: np.ndarray, length_mm: float, spacing: float) -> np.ndarray:
    """Find a winding line inside the breast.

    Args:
        rng: Source of randomness.
        breast: bool (rows, columns), where it may run.
        length_mm: Of the line.
        spacing: Pixel spacing, mm.

    Returns:
        (n, 2) x, y in mm from the corner of the view, a point every `anatomy.PATH_STEP_MM`.

    Raises:
        ValueError: There is no room.
    """
    factor = max(int(0.5 / spacing), 1)
    small = cv2.resize(
        cv2.copyMakeBorder(breast.astype(np.uint8), 1, 1, 0, 0, cv2.BORDER_CONSTANT)[1:-1],
        None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_NEAREST,
    )  # fmt: skip
    step = spacing * factor
    room = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5)
    room = room[1:-1, 1:-1] * step
    starts = np.argwhere(room > SKIN_MARGIN_MM)
    n = int(length_mm / PATH_STEP_MM) + 1
    for _ in range(2000 if len(starts) else 0):
        row, column = starts[rng.integers(len(starts))]
        turn = gaussian_filter1d(rng.standard_normal(n + 80), 16)[40 : 40 + n]
        angle = rng.uniform(0, 2 * np.pi) + turn / (turn.std() + 1e-9) * rng.uniform(0.2, 0.6)
        line = (
            np.array([column, row]) * step
            + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), 0) * PATH_STEP_MM
        )
        at = np.round(line / step).astype(int)
        inside = (at >= 0).all() and (at[:, 1] < room.shape[0]).all() and (at[:, 0] < room.shape[1]).all()
        if inside and (room[at[:, 1], at[:, 0]] > SKIN_MARGIN_MM).all():
            return line
    raise ValueError(f"length_mm: got {length_mm}, finds no room {SKIN_MARGIN_MM:g} mm inside the breast")
