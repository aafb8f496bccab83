"""Insertion of a synthetic calcified artery of known length into any mammogram.

Inserted into real negative views, it tests a detector that was trained on simulated views only.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.simulator.anatomy import PATH_STEP_MM, Vessel, VisibleSegment
from bac_utils.simulator.attenuation import MU_HYDROXYAPATITE
from bac_utils.simulator.calcifications import render_arterial_calcification
from bac_utils.simulator.rasterize import Canvas, mark_line

FINE_STRUCTURE_MM = 10.0
"""The contrast of a view is measured on structure finer than this, in mm."""
FINE_STRUCTURE_EXPOSURE = 0.21
"""Standard deviation of the fine structure in log exposure on simulated views (median of 20 views at 0.25 mm,
measured with the simulator's former look)."""
SKIN_MARGIN_MM = 10.0
"""Smallest distance of the artery from the skin in mm."""
BLUR_MM = 0.08
"""Standard deviation of the system blur in mm; see `acquisition.Acquisition.blur_mm`."""


def insert_artery(
    pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, seed: int, length_mm: float, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Insert a calcified artery into a view.

    The seed determines its position, course and calcifications. Their brightness is scaled to the contrast of the view:
    the standard deviation of fine structure in log exposure is known from simulated views, so its standard deviation in
    grey levels gives the number of grey levels per unit of log exposure. The brightness approaches the brightest grey
    level of the breast but does not exceed it, and the artery avoids larger areas that already have this grey level (an
    implant). The edge enhancement of the view is not applied to the calcifications, so they are fainter than in a
    simulated view of the same strength.

    Args:
        pixels: float (rows, columns), a view without BAC, higher = denser; not changed.
        breast: Breast mask, bool (rows, columns).
        spacing_mm: Pixel spacing in mm, the same for rows and columns.
        seed: Integer >= 0.
        length_mm: Length of the calcified centre line, at least 5.
        strength: Strength of the calcification, from 0 (a few faint points) to 1 (dense).

    Returns:
        The pixels with the artery, float32, and the mask of the artery, bool; both (rows, columns).

    Raises:
        ValueError: If a number is out of range, the mask is empty or differs in shape, the pixels are not finite or
            have no contrast, or the artery does not fit in the breast.
    """
    if not 0 < spacing_mm < np.inf:
        raise ValueError(f"spacing_mm: got {spacing_mm}, must be a positive number of mm")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be at least 0")
    if not 5 <= length_mm < np.inf:
        raise ValueError(f"length_mm: got {length_mm}, must be at least 5 and finite")
    if not 0 < strength <= 1:
        raise ValueError(f"strength: got {strength}, must lie in (0, 1]")
    pixels, breast = np.asarray(pixels, np.float32), np.asarray(breast, bool)
    if not np.isfinite(pixels).all():
        raise ValueError("pixels: got values that are not finite, must be finite")
    if breast.shape != pixels.shape:
        raise ValueError(f"breast: got shape {breast.shape}, must be the shape of pixels, {pixels.shape}")
    if not breast.any():
        raise ValueError("breast: got an empty mask, must contain the breast")
    top = float(pixels[breast].max())
    if not np.ptp(np.percentile(pixels[breast][::7], [5, 95])) > 0:
        raise ValueError(f"pixels: got one grey level in the breast ({top:g}), must have contrast")
    full = (breast & (pixels >= top)).astype(np.uint8)
    full = cv2.morphologyEx(full, cv2.MORPH_OPEN, np.ones((2 * int(1 / spacing_mm) + 1,) * 2, np.uint8)) > 0
    rng = np.random.default_rng([2, seed])
    line = find_course(rng, breast & ~full, length_mm, spacing_mm)
    radius_mm = np.linspace(1.0, rng.uniform(0.5, 0.9), len(line)) * rng.uniform(0.7, 1.3)
    vessel = Vessel(np.zeros((len(line), 3)), radius_mm)
    segment = VisibleSegment(0, 0, len(line), strength, line)
    canvas = Canvas(pixels.shape, spacing_mm)
    render_arterial_calcification(canvas, vessel, segment, [2, seed], 0.0)
    exposure = MU_HYDROXYAPATITE * cv2.GaussianBlur(canvas.thickness(), (0, 0), max(BLUR_MM / spacing_mm, 0.3))

    weight = np.maximum(_blurred(breast.astype(np.float32), spacing_mm), 1e-3)
    fine = pixels - _blurred(pixels * breast, spacing_mm) / weight
    inner = cv2.erode(breast.astype(np.uint8), np.ones((9, 9), np.uint8), iterations=4) > 0
    low, high = np.percentile(fine[inner][::31], [16, 84])
    added = exposure * float(high - low) / 2 / FINE_STRUCTURE_EXPOSURE
    room = np.maximum(top - pixels, 1e-6 * (high - low))
    result = np.where(added > 0, pixels + room * (1 - np.exp(-added / room)), pixels).astype(np.float32)

    mask = np.zeros(pixels.shape, np.uint8)
    mark_line(mask, line, 2 * float(vessel.radius_mm.mean()) + 0.4, spacing_mm)
    return result, mask > 0


def _blurred(image: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Blur by `FINE_STRUCTURE_MM` on a grid of about 1 mm."""
    factor = max(int(1.0 / spacing_mm), 1)
    small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), FINE_STRUCTURE_MM / spacing_mm / factor)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def find_course(rng: np.random.Generator, breast: np.ndarray, length_mm: float, spacing_mm: float) -> np.ndarray:
    """Find a tortuous line inside the breast.

    Args:
        rng: Source of randomness.
        breast: Mask of the allowed area, bool (rows, columns).
        length_mm: Length of the line in mm.
        spacing_mm: Pixel spacing in mm.

    Returns:
        (n, 2) array of x and y in mm from the corner of the view, one point per `anatomy.PATH_STEP_MM`.

    Raises:
        ValueError: If the line does not fit.
    """
    factor = max(int(0.5 / spacing_mm), 1)
    small = breast.astype(np.uint8)
    small = cv2.resize(small, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_NEAREST)
    step = spacing_mm * factor
    room = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5)
    room = room[1:-1, 1:-1] * step
    starts = np.argwhere(room > SKIN_MARGIN_MM)
    n = int(length_mm / PATH_STEP_MM) + 1
    for _ in range(2000 if len(starts) else 0):
        row, column = starts[rng.integers(len(starts))]
        turn = gaussian_filter1d(rng.standard_normal(n + 80), 16)[40 : 40 + n]
        angle = rng.uniform(0, 2 * np.pi) + turn / (turn.std() + 1e-9) * rng.uniform(0.2, 0.6)
        course = np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), 0) * PATH_STEP_MM
        line = np.array([column, row]) * step + course
        at = np.round(line / step).astype(int)
        inside = (at >= 0).all() and (at[:, 1] < room.shape[0]).all() and (at[:, 0] < room.shape[1]).all()
        if inside and (room[at[:, 1], at[:, 0]] > SKIN_MARGIN_MM).all():
            return line
    raise ValueError(f"length_mm: got {length_mm}, must fit in the breast, {SKIN_MARGIN_MM:g} mm from the skin")
