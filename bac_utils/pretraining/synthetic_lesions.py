"""Synthetic lesions for the pretraining: calcified arteries in many styles, and structures that mimic them.

A network trained on one style of calcification learns the grain of that style. So the images receive, in addition to
the simulator's arteries, arteries of other styles, from dots to smooth walls, many of them calcified only in part; and
mimics of the same brightness and sharpness (`look_alikes`). All frequencies and sizes are choices of this kit.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.pretraining.lines import between, course, on, sideways, varied, wander
from bac_utils.pretraining.look_alikes import MIMICS, tube
from bac_utils.simulator.anatomy import PATH_STEP_MM, Vessel, VisibleSegment
from bac_utils.simulator.calcifications import render_arterial_calcification, sphere_volume
from bac_utils.simulator.rasterize import Canvas, blur, draw_cylinder, mark_line

STREAM = 4
"""First number of the seeds of synthetic lesions; see `population.COHORT`."""
FAINTEST, BRIGHTEST = 2.0, 4.0
"""Range of a lesion's brightness: from `FAINTEST` standard deviations of the fine structure (at least 0.1 standard
deviations of the breast) to `BRIGHTEST` standard deviations of the breast (or twice the lower limit, if larger)."""
FINE_PIXELS = 9
"""Side in pixels of the averaging window; finer structure counts as fine structure."""
WHOLE_SHARE, UNEVEN_SHARE = 0.5, 0.5
"""Fraction of the arteries that are calcified in all of the drawn vessel, and of lesions with uneven brightness."""
CALCIUM_UNEVENNESS, MIMIC_UNEVENNESS = (0.2, 0.8), (0.1, 0.35)
"""Ranges of the relative standard deviation of their brightness. Soft tissue is less uneven than calcium."""
CALCIUM_GRAIN_MM, MIMIC_GRAIN_MM = (0.1, 1.0), (0.5, 2.0)
"""Ranges of the size of the unevenness, mm. A vessel that is uneven in finer steps would look calcified."""
NEAR_MM = 1.0
"""Parts of a vessel within this distance of calcium are part of the artery mask."""


def draw_lesion(number: int, artery: bool, side: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random calcified artery or a random mimic.

    Args:
        number: Number of the lesion; the same number and kind always give the same lesion.
        artery: Whether to draw an artery rather than a mimic.
        side: Rows and columns.
        pixel_mm: Pixel spacing in mm.

    Returns:
        The intensity to be added to a prepared view, float16 (side, side), about 1 in its bright parts; and the mask of
        the calcified parts of the artery including its walls, bool (side, side), empty for a mimic.
    """
    rng = np.random.default_rng([STREAM, number, artery])
    intensity, mask = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint8)
    if artery:
        intensity = _draw_artery(mask, rng, pixel_mm)
    else:
        kinds, shares = tuple(MIMICS), np.array(tuple(MIMICS.values()))
        for k in rng.choice(len(kinds), rng.integers(1, 4), p=shares / shares.sum()):
            canvas = Canvas(intensity.shape, pixel_mm)
            kinds[k](canvas, rng, side * pixel_mm)
            intensity += _normalised(canvas) * between(rng, 0.3, 1)
        intensity *= _unevenness(rng, intensity.shape, pixel_mm, MIMIC_UNEVENNESS, MIMIC_GRAIN_MM)
    soft_mm = rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.12, 0.3)
    intensity = blur(intensity, max(soft_mm / pixel_mm, 0.35))
    return (intensity / brightness(intensity)).astype(np.float16), mask > 0


def add_lesion(pixels: np.ndarray, intensity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a lesion to a part of a prepared view; pixels outside the breast remain 0.

    Args:
        pixels: float32 (rows, columns), mean 0 and standard deviation 1 over the whole breast.
        intensity: Intensity of the lesion, of the same shape.
        rng: Source of the lesion's brightness and of the white level, which it approaches but does not exceed.

    Returns:
        float32 array of the same shape.
    """
    breast = pixels != 0
    if not breast.any():
        return pixels
    fine = np.abs(pixels - cv2.blur(pixels, (FINE_PIXELS, FINE_PIXELS)))[breast]
    # for a normal distribution the standard deviation is 1.48 times the median magnitude
    least = max(FAINTEST * 1.48 * float(np.median(fine[:: max(len(fine) // 5000, 1)])), 0.1)
    bright = between(rng, least, max(BRIGHTEST, 2 * least))
    room = float(pixels.max()) + rng.uniform(0.2, 2.0) - pixels
    return np.where(breast, pixels + room * (1 - np.exp(-bright * intensity.astype(np.float32) / room)), 0)


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """Return one of the eight rotated and mirrored copies."""
    return np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4)


def brightness(intensity: np.ndarray) -> float:
    """Return the brightness of the bright parts: the upper quartile of the pixels above 10 % of the maximum."""
    lit = intensity[intensity > 0.1 * intensity.max()]
    return max(float(np.percentile(lit, 75)), 1e-9) if len(lit) else 1.0


def _normalised(canvas: Canvas) -> np.ndarray:
    """Return the thickness on a canvas, scaled to about 1 in its bright parts."""
    intensity = canvas.thickness()
    return intensity / brightness(intensity)


def _draw_artery(mask: np.ndarray, rng: np.random.Generator, pixel_mm: float) -> np.ndarray:
    """Draw an artery, calcified in all or some of its parts, and mark the calcified parts in the mask.

    One or two styles of calcification lie on the vessel, which is often visible itself, also where it is bare.
    """
    field = mask.shape[0] * pixel_mm
    line = course(rng, field, rng.uniform(10, max(0.9 * field, 14)), rng.uniform(0.05, 0.7))
    n = len(line)
    radius = between(rng, 0.5, 2.3) * np.linspace(1, rng.uniform(0.6, 1), n) * varied(rng, n, 40, 0.05)
    calcium = np.zeros(mask.shape, np.float32)
    for part in _calcified_parts(rng, n):
        for k in rng.choice(len(ARTERY_STYLES), 1 + (rng.random() < 0.25), p=ARTERY_STYLE_SHARES, replace=False):
            canvas = Canvas(mask.shape, pixel_mm)
            ARTERY_STYLES[k](canvas, rng, line[part], radius[part])
            calcium += _normalised(canvas) * rng.uniform(0.4, 1)
    calcium *= _unevenness(rng, mask.shape, pixel_mm, CALCIUM_UNEVENNESS, CALCIUM_GRAIN_MM)
    vessel = np.zeros_like(mask)
    mark_line(vessel, line, 2 * float(radius.mean()) + 0.4, pixel_mm)
    reach = max(int(round(NEAR_MM / pixel_mm)), 1)
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    mask |= vessel & cv2.dilate((calcium > 0.15 * brightness(calcium)).astype(np.uint8), near)
    if rng.random() < 0.6:
        canvas = Canvas(mask.shape, pixel_mm)
        if rng.random() < 0.5:
            draw_cylinder(canvas, line, 2 * radius)
        else:
            tube(canvas, rng, line, radius)
        calcium += _normalised(canvas) * between(rng, 0.03, 0.6)
    return calcium


def _unevenness(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pixel_mm: float,
    deviation: tuple[float, float],
    grain_mm: tuple[float, float],
) -> np.ndarray:
    """Return factors of at least 0 by which the brightness varies, float32 of `shape`; 1 for an even lesion."""
    if rng.random() >= UNEVEN_SHARE:
        return np.ones(shape, np.float32)
    noise = blur(rng.standard_normal(shape).astype(np.float32), between(rng, *grain_mm) / pixel_mm)
    return np.maximum(1 + rng.uniform(*deviation) * noise / max(float(noise.std()), 1e-6), 0)


def _calcified_parts(rng: np.random.Generator, n: int) -> list[slice]:
    """Choose the calcified parts of a line of `n` points: all of it, or one to three parts of 4 to 30 mm."""
    if rng.random() < WHOLE_SHARE:
        return [slice(0, n)]
    parts = []
    for _ in range(rng.integers(1, 4)):
        length = min(int(between(rng, 4, 30) / PATH_STEP_MM), n)
        first = int(rng.integers(n - length + 1))
        parts.append(slice(first, first + length))
    return parts


def _grains(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw the calcification of the simulator."""
    vessel = Vessel(np.zeros((len(line), 3)), radius)
    segment = VisibleSegment(0, 0, len(line), rng.uniform(0.1, 1.0), line)
    render_arterial_calcification(canvas, vessel, segment, [STREAM, int(rng.integers(2**31))], 0.0)


def _two_rows(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw dots along two walls or all around the tube, with bare parts on each wall."""
    apart, jitter, around = between(rng, 0.25, 1.6), rng.uniform(0.03, 0.25), rng.random() < 0.4
    biggest, spread = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.6)
    for wall in (-1, 1):
        at = np.cumsum(rng.exponential(apart, int(2 * len(line) * PATH_STEP_MM / apart) + 4) * 0.8 + 0.2 * apart)
        at = at[at < (len(line) - 1) * PATH_STEP_MM] / PATH_STEP_MM
        bare = wander(rng, len(line), rng.uniform(1, 8) / PATH_STEP_MM, 1.0) > rng.uniform(0.3, 2.5)
        at = at[~bare[at.astype(int)]]
        if len(at):
            offset = np.cos(rng.uniform(0, np.pi, len(at))) if around else np.full(len(at), wall)
            middle, rim = on(line, at), on(sideways(line, radius), at)
            points = middle + (rim - middle) * offset[:, None] + rng.normal(0, jitter, (len(at), 2))
            diameter = biggest * np.exp(-spread * rng.exponential(1.0, len(at)))
            for size in np.unique(np.round(diameter, 1)):
                some = np.round(diameter, 1) == size
                canvas.deposit(points[some], sphere_volume(np.maximum(diameter[some], 0.1), 1.0), 0.27 * max(size, 0.1))


def _walls(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw two smooth, interrupted lines."""
    piece, gap, width = between(rng, 0.6, 8), between(rng, 0.4, 3), between(rng, 0.15, 0.7)
    weaker = rng.choice([-1, 1])
    faint = rng.uniform(0.25, 1.0)
    uneven = rng.uniform(0, 0.6)
    for wall in (-1, 1):
        course = sideways(line, wall * radius + wander(rng, len(line), 8, rng.uniform(0, 0.15)))
        at = rng.uniform(0, gap)
        while at < (len(line) - 2) * PATH_STEP_MM:
            until = at + piece * rng.lognormal(0, 0.6)
            part = course[int(at / PATH_STEP_MM) : int(until / PATH_STEP_MM) + 2]
            share = (faint if wall == weaker else 1.0) * (1 - uneven * rng.random())
            draw_cylinder(canvas, part, width * rng.uniform(0.8, 1.2), share, step_mm=0.1)
            at = until + gap * rng.lognormal(0, 0.5)


def _plates(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw smooth plates on the tube in projection, from small islands to a sheath with gaps."""
    strips, around = int(rng.integers(5, 14)), 24
    field = rng.standard_normal((strips, len(line)))
    field = gaussian_filter1d(field, rng.lognormal(np.log(1.2), 0.7) / PATH_STEP_MM, axis=1, mode="nearest")
    field = cv2.resize(field, (2 * len(line), around), interpolation=cv2.INTER_LINEAR)
    field = field - np.quantile(field, rng.uniform(0.25, 0.85))
    row, at = np.nonzero(field > 0)
    angle = (row + rng.uniform(0, 1, len(row))) / around * 2 * np.pi
    at = np.minimum(at / 2 + rng.uniform(0, 0.5, len(at)), len(line) - 1)
    middle, rim = on(line, at), on(sideways(line, radius), at)
    volume = field[field > 0] ** rng.uniform(0.3, 1.0)
    canvas.deposit(middle + (rim - middle) * np.cos(angle)[:, None], volume, float(rng.choice([0.06, 0.12])))


ARTERY_STYLES, ARTERY_STYLE_SHARES = (_grains, _two_rows, _walls, _plates), (0.1, 0.25, 0.35, 0.3)
