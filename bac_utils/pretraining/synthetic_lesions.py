"""Synthetic lesions for the pretraining: calcified arteries in many styles, and structures that mimic them.

A network trained on one style of calcification learns the grain of that style. So the images receive, in addition to
the simulator's arteries, arteries of other styles, from dots to smooth walls, and about as many mimics of the same
brightness and sharpness: threads, bundles, bands, rows of dots, rings and edges. All frequencies and sizes are choices
of this kit.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

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


def draw_lesion(number: int, artery: bool, side: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random calcified artery or a random mimic.

    Args:
        number: Number of the lesion; the same number and kind always give the same lesion.
        artery: Whether to draw an artery rather than a mimic.
        side: Rows and columns.
        pixel_mm: Pixel spacing in mm.

    Returns:
        The intensity to be added to a prepared view, float16 (side, side), about 1 in its bright parts; and the mask of
        the artery including its walls, bool (side, side), empty for a mimic.
    """
    rng = np.random.default_rng([STREAM, number, artery])
    intensity, mask = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint8)
    if artery:
        intensity = _draw_artery(mask, rng, pixel_mm)
    else:
        for k in rng.choice(len(MIMICS), rng.integers(1, 4), p=MIMIC_SHARES):
            canvas = Canvas(intensity.shape, pixel_mm)
            MIMICS[k](canvas, rng, side * pixel_mm)
            intensity += _normalised(canvas) * between(rng, 0.3, 1)
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


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a log-uniform distribution."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _wander(rng: np.random.Generator, n: int, smooth: float, size: float) -> np.ndarray:
    """Return `n` values of smooth noise: mean about 0, standard deviation `size`, smoothed over `smooth` values."""
    noise = gaussian_filter1d(rng.standard_normal(n + int(6 * smooth) + 2), smooth)[int(3 * smooth) :][:n]
    return noise / (noise.std() + 1e-9) * size


def course(rng: np.random.Generator, field: float, length: float, bend: float) -> np.ndarray:
    """Return a tortuous line through the middle part of the field: (n, 2) x, y in mm, one point per `PATH_STEP_MM`.

    `bend` is the standard deviation of its direction in radians.
    """
    n = max(int(length / PATH_STEP_MM), 12)
    angle = rng.uniform(0, 2 * np.pi) + _wander(rng, n, rng.uniform(4, 12) / PATH_STEP_MM, bend)
    angle += rng.normal(0, 0.02) * PATH_STEP_MM * np.arange(n)
    line = np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), axis=0) * PATH_STEP_MM
    return line - line[rng.integers(n)] + field * rng.uniform(0.2, 0.8, 2)


def sideways(line: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    """Shift each point of a line, (n, 2) in mm, at right angles to the line by an offset, (n,) in mm."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return line + np.broadcast_to(offset, len(line))[:, None] * along[:, ::-1] * (-1, 1)


def _on(line: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate a line, (n, 2), at fractional point indices, (m,): (m, 2)."""
    return np.column_stack([np.interp(at, np.arange(len(line)), line[:, k]) for k in (0, 1)])


def _draw_artery(mask: np.ndarray, rng: np.random.Generator, pixel_mm: float) -> np.ndarray:
    """Draw an artery and its mask: one or two styles of calcification on a tube, and often the tube itself."""
    field = mask.shape[0] * pixel_mm
    line = course(rng, field, rng.uniform(10, max(0.9 * field, 14)), rng.uniform(0.05, 0.7))
    n = len(line)
    radius = rng.uniform(0.55, 1.6) * np.linspace(1, rng.uniform(0.6, 1), n) * (1 + _wander(rng, n, 40, 0.05))
    intensity = np.zeros(mask.shape, np.float32)
    for k in rng.choice(len(ARTERY_STYLES), 1 + (rng.random() < 0.25), p=ARTERY_STYLE_SHARES, replace=False):
        canvas = Canvas(mask.shape, pixel_mm)
        ARTERY_STYLES[k](canvas, rng, line, radius)
        intensity += _normalised(canvas) * rng.uniform(0.4, 1)
    if rng.random() < 0.5:
        tube = Canvas(mask.shape, pixel_mm)
        draw_cylinder(tube, line, 2 * radius)
        intensity += _normalised(tube) * rng.uniform(0.03, 0.4)
    mark_line(mask, line, 2 * float(radius.mean()) + 0.4, pixel_mm)
    return intensity


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
        bare = _wander(rng, len(line), rng.uniform(1, 8) / PATH_STEP_MM, 1.0) > rng.uniform(0.3, 2.5)
        at = at[~bare[at.astype(int)]]
        if len(at):
            offset = np.cos(rng.uniform(0, np.pi, len(at))) if around else np.full(len(at), wall)
            middle, rim = _on(line, at), _on(sideways(line, radius), at)
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
        course = sideways(line, wall * radius + _wander(rng, len(line), 8, rng.uniform(0, 0.15)))
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
    middle, rim = _on(line, at), _on(sideways(line, radius), at)
    volume = field[field > 0] ** rng.uniform(0.3, 1.0)
    canvas.deposit(middle + (rim - middle) * np.cos(angle)[:, None], volume, float(rng.choice([0.06, 0.12])))


def _taper(n: int) -> np.ndarray:
    """Return `n` factors for the thickness of a thread: 1, decreasing towards both ends."""
    return np.minimum(4 * np.sin(np.pi * np.linspace(0.02, 0.98, n)), 1)


def threads(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw smooth threads in random or similar directions: ligaments, septa, fibres."""
    alike, turn = rng.random() < 0.5, rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 8)):
        line = course(rng, field, rng.uniform(5, field), rng.uniform(0.02, 0.6))
        if alike:
            a = turn + rng.normal(0, 0.3) - np.arctan2(*(line[-1] - line[0])[::-1])
            line = (line - line[0]) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
            line += field * rng.uniform(0.2, 0.8, 2) - line[len(line) // 2]
        draw_cylinder(canvas, line, between(rng, 0.2, 1.0) * _taper(len(line)), rng.uniform(0.3, 1), step_mm=0.1)


def bundle(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw smooth threads that run side by side, part and meet: sheets of ligaments seen edge-on."""
    line = course(rng, field, rng.uniform(10, field), rng.uniform(0.02, 0.4))
    u = np.linspace(0, 1, len(line))
    shape = (np.sin(np.pi * u) ** 0.7, 0.15 + 0.85 * u, 0.5 + 0.5 * np.cos(2 * np.pi * u))[rng.integers(3)]
    spread = rng.uniform(0.4, 2.5) * shape
    for place in np.concatenate([[-1, 1], rng.uniform(-1, 1, rng.integers(4))]):
        strand = sideways(line, place * spread + _wander(rng, len(line), 16, rng.uniform(0.1, 0.6)))
        strand = strand[int(rng.uniform(0, 0.3) * len(line)) : int(rng.uniform(0.7, 1) * len(line))]
        draw_cylinder(canvas, strand, between(rng, 0.2, 0.8) * _taper(len(strand)), rng.uniform(0.3, 1), step_mm=0.1)
    if rng.random() < 0.5:
        draw_cylinder(canvas, line, np.maximum(2 * spread, 0.4), rng.uniform(0.02, 0.15))


def bands(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw vessels without calcification, single or an artery beside its vein."""
    for _ in range(rng.integers(1, 3)):
        line = course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.05, 0.7))
        draw_cylinder(canvas, line, rng.uniform(0.8, 3.5))
        if rng.random() < 0.4:
            beside = rng.uniform(2, 5) + _wander(rng, len(line), 40, 0.7)
            draw_cylinder(canvas, sideways(line, beside), rng.uniform(0.8, 3.5))


def row(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw dots lined up on one thread or fold."""
    for _ in range(rng.integers(1, 3)):
        line = course(rng, field, rng.uniform(4, 30), rng.uniform(0.0, 0.25))
        points = line[np.sort(rng.integers(0, len(line), rng.integers(3, 14)))] + rng.normal(0, 0.1, 2)
        canvas.deposit(points, sphere_volume(between(rng, 0.2, 0.6) * rng.lognormal(0, 0.25, len(points)), 1.0), 0.12)
        if rng.random() < 0.6:
            draw_cylinder(canvas, line, between(rng, 0.2, 0.8) * _taper(len(line)), rng.uniform(0.05, 0.4), step_mm=0.1)


def dots(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw dots, grouped or scattered."""
    n, spread = rng.integers(2, 40), between(rng, 1.0, 0.5 * field)
    points = field * rng.uniform(0.2, 0.8, 2) + rng.normal(0, spread, (n, 2))
    size = between(rng, 0.15, 1.2)
    canvas.deposit(points, sphere_volume(size * rng.lognormal(0, 0.35, n), 1.0), 0.27 * size)


def rings(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw calcified rims, complete or broken."""
    for _ in range(rng.integers(1, 5)):
        t = np.linspace(0, 2 * np.pi * rng.uniform(0.5, 1), 60) + rng.uniform(0, 2 * np.pi)
        ring = between(rng, 0.4, 6) * np.column_stack([np.cos(t), rng.uniform(0.6, 1) * np.sin(t)])
        draw_cylinder(canvas, field * rng.uniform(0.1, 0.9, 2) + ring, between(rng, 0.15, 0.6), step_mm=0.1)


def rods(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw short thick rods in similar directions: secretory calcifications, wires."""
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 6)):
        angle, length = turn + rng.normal(0, 0.2), between(rng, 2, 12)
        t = np.arange(0, length, 0.2)[:, None]
        rod = field * rng.uniform(0.1, 0.9, 2) + t * (np.cos(angle), np.sin(angle))
        draw_cylinder(canvas, rod, rng.uniform(0.4, 1.2), step_mm=0.1)


def edge(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw an edge, bright along a line and fading to one side: skin folds, the muscle, masses, devices."""
    line = course(rng, field, 3 * field, rng.uniform(0.0, 0.3))
    fade, step = between(rng, 0.5, 8), 0.3
    for k in range(int(min(3 * fade, field) / step)):
        draw_cylinder(canvas, sideways(line, k * step), 0.8, np.exp(-k * step / fade))


ARTERY_STYLES, ARTERY_STYLE_SHARES = (_grains, _two_rows, _walls, _plates), (0.3, 0.2, 0.25, 0.25)
MIMICS = (threads, bundle, bands, row, dots, rings, rods, edge)
MIMIC_SHARES = (0.25, 0.23, 0.1, 0.12, 0.12, 0.06, 0.06, 0.06)
