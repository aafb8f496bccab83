"""Arteries and what is mistaken for them, drawn in many styles into the pictures that the bundled weights learn from.

A network that is taught on one drawing of calcium learns that drawing's grain. So, beside the simulator's own arteries,
the pictures get others, from dots to smooth walls, and as often threads, bundles, bands, rows of dots, rings and edges
of the same brightness and sharpness, which are no arteries. All shares and sizes are this kit's own choice.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.simulator.anatomy import PATH_STEP_MM, Vessel, VisibleStretch
from bac_utils.simulator.calcifications import draw_artery_calcium
from bac_utils.simulator.rasterize import Canvas, blur, paint, stroke

STREAM = 4
"""First number of the drawings' seeds; see `phantom.COHORT`."""
LEAST, MOST = 2.0, 4.0
"""A drawing is at least so many deviations of the fine structure bright (and at least 0.1 of the breast's), and at most
so many of the breast's (or twice the least, if that is more)."""
FINE_PIXELS = 9
"""Structure finer than this window counts as fine."""


def draw(number: int, artery: bool, side: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a calcified artery, or something that is mistaken for one.

    Args:
        number: Of the drawing; the same number and kind give the same drawing.
        artery: Which kind.
        side: Rows and columns.
        pixel_mm: Pixel spacing.

    Returns:
        What is to be added to a prepared view, float16 (side, side), its bright parts at about 1; and the artery, walls
        and all, bool (side, side), empty for what is none.
    """
    rng = np.random.default_rng([STREAM, number, artery])
    light, mask = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint8)
    if artery:
        light = _artery(mask, rng, pixel_mm)
    else:
        for k in rng.choice(len(LOOK_ALIKES), rng.integers(1, 4), p=LOOK_ALIKE_SHARES):
            canvas = Canvas(light.shape, pixel_mm)
            LOOK_ALIKES[k](canvas, rng, side * pixel_mm)
            light += _evened(canvas) * _between(rng, 0.3, 1)
    soft_mm = rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.12, 0.3)
    light = blur(light, max(soft_mm / pixel_mm, 0.35))
    return (light / _bright(light)).astype(np.float16), mask > 0


def add(pixels: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a drawing's light to a part of a prepared view; outside the breast it stays 0.

    Args:
        pixels: float32 (rows, columns), mean 0 and deviation 1 over the whole breast.
        light: Of the same shape.
        rng: Source of its brightness, and of the white that it nears and does not exceed.

    Returns:
        float32, the same shape.
    """
    breast = pixels != 0
    if not breast.any():
        return pixels
    fine = np.abs(pixels - cv2.blur(pixels, (FINE_PIXELS, FINE_PIXELS)))[breast]
    # of normal values the deviation is 1.48 times the median magnitude
    least = max(LEAST * 1.48 * float(np.median(fine[:: max(len(fine) // 5000, 1)])), 0.1)
    bright = _between(rng, least, max(MOST, 2 * least))
    room = float(pixels.max()) + rng.uniform(0.2, 2.0) - pixels
    return np.where(breast, pixels + room * (1 - np.exp(-bright * light.astype(np.float32) / room)), 0)


def _bright(light: np.ndarray) -> float:
    """Return the brightness of a drawing's bright parts."""
    lit = light[light > 0.1 * light.max()]
    return max(float(np.percentile(lit, 75)), 1e-9) if len(lit) else 1.0


def _evened(canvas: Canvas) -> np.ndarray:
    """Return a canvas' light, its bright parts at about 1."""
    light = canvas.thickness()
    return light / _bright(light)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a range, evenly on the log scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _wander(rng: np.random.Generator, n: int, smooth: float, size: float) -> np.ndarray:
    """Return a smooth random walk about 0: `n` values of deviation `size`, alike over `smooth` of them."""
    noise = gaussian_filter1d(rng.standard_normal(n + int(6 * smooth) + 2), smooth)[int(3 * smooth) :][:n]
    return noise / (noise.std() + 1e-9) * size


def _course(rng: np.random.Generator, field: float, length: float, bend: float) -> np.ndarray:
    """Return a winding line through the middle part of the field: (n, 2) x, y in mm, a point every `PATH_STEP_MM`.

    `bend` is the deviation of its direction, radians.
    """
    n = max(int(length / PATH_STEP_MM), 12)
    angle = rng.uniform(0, 2 * np.pi) + _wander(rng, n, rng.uniform(4, 12) / PATH_STEP_MM, bend)
    angle += rng.normal(0, 0.02) * PATH_STEP_MM * np.arange(n)
    line = np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), axis=0) * PATH_STEP_MM
    return line - line[rng.integers(n)] + field * rng.uniform(0.2, 0.8, 2)


def _sideways(line: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    """Shift each point of a line, (n, 2) in mm, across it by its offset, (n,) in mm."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return line + np.broadcast_to(offset, len(line))[:, None] * along[:, ::-1] * (-1, 1)


def _on(line: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the points of a line, (n, 2), at positions between its points, (m,): (m, 2)."""
    return np.column_stack([np.interp(at, np.arange(len(line)), line[:, k]) for k in (0, 1)])


def _sphere(diameter: np.ndarray | float) -> np.ndarray:
    """Return a sphere's volume."""
    return np.pi / 6 * np.asarray(diameter) ** 3


def _artery(mask: np.ndarray, rng: np.random.Generator, pixel_mm: float) -> np.ndarray:
    """Draw an artery: one or two of grains, rows of dots, walls and plates on a tube, and often the tube itself."""
    field = mask.shape[0] * pixel_mm
    line = _course(rng, field, rng.uniform(10, max(0.9 * field, 14)), rng.uniform(0.05, 0.7))
    n = len(line)
    radius = rng.uniform(0.55, 1.6) * np.linspace(1, rng.uniform(0.6, 1), n) * (1 + _wander(rng, n, 40, 0.05))
    light = np.zeros(mask.shape, np.float32)
    for k in rng.choice(len(CALCIUM), 1 + (rng.random() < 0.25), p=CALCIUM_SHARES, replace=False):
        canvas = Canvas(mask.shape, pixel_mm)
        CALCIUM[k](canvas, rng, line, radius)
        light += _evened(canvas) * rng.uniform(0.4, 1)
    if rng.random() < 0.5:
        tube = Canvas(mask.shape, pixel_mm)
        stroke(tube, line, 2 * radius)
        light += _evened(tube) * rng.uniform(0.03, 0.4)
    paint(mask, line, 2 * float(radius.mean()) + 0.4, pixel_mm)
    return light


def _grains(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """The simulator's own."""
    vessel = Vessel(np.zeros((len(line), 3)), radius)
    stretch = VisibleStretch(0, 0, len(line), rng.uniform(0.1, 1.0), line)
    draw_artery_calcium(canvas, vessel, stretch, [STREAM, int(rng.integers(2**31))], 0.0)


def _two_rows(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Dots along two walls, or all around the tube; each wall has bare stretches."""
    apart, jitter, around = _between(rng, 0.25, 1.6), rng.uniform(0.03, 0.25), rng.random() < 0.4
    biggest, spread = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.6)
    for wall in (-1, 1):
        at = np.cumsum(rng.exponential(apart, int(2 * len(line) * PATH_STEP_MM / apart) + 4) * 0.8 + 0.2 * apart)
        at = at[at < (len(line) - 1) * PATH_STEP_MM] / PATH_STEP_MM
        bare = _wander(rng, len(line), rng.uniform(1, 8) / PATH_STEP_MM, 1.0) > rng.uniform(0.3, 2.5)
        at = at[~bare[at.astype(int)]]
        if len(at):
            offset = np.cos(rng.uniform(0, np.pi, len(at))) if around else np.full(len(at), wall)
            middle, rim = _on(line, at), _on(_sideways(line, radius), at)
            points = middle + (rim - middle) * offset[:, None] + rng.normal(0, jitter, (len(at), 2))
            diameter = biggest * np.exp(-spread * rng.exponential(1.0, len(at)))
            for size in np.unique(np.round(diameter, 1)):
                some = np.round(diameter, 1) == size
                canvas.deposit(points[some], _sphere(np.maximum(diameter[some], 0.1)), 0.27 * max(size, 0.1))


def _walls(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Two smooth, interrupted lines."""
    piece, gap, width = _between(rng, 0.6, 8), _between(rng, 0.4, 3), _between(rng, 0.15, 0.7)
    weaker = rng.choice([-1, 1])
    faint = rng.uniform(0.25, 1.0)
    uneven = rng.uniform(0, 0.6)
    for wall in (-1, 1):
        course = _sideways(line, wall * radius + _wander(rng, len(line), 8, rng.uniform(0, 0.15)))
        at = rng.uniform(0, gap)
        while at < (len(line) - 2) * PATH_STEP_MM:
            until = at + piece * rng.lognormal(0, 0.6)
            part = course[int(at / PATH_STEP_MM) : int(until / PATH_STEP_MM) + 2]
            share = (faint if wall == weaker else 1.0) * (1 - uneven * rng.random())
            stroke(canvas, part, width * rng.uniform(0.8, 1.2), share, step_mm=0.1)
            at = until + gap * rng.lognormal(0, 0.5)


def _plates(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Smooth plates on the tube, seen through it: from small islands to a sheath with gaps."""
    strips, around = int(rng.integers(5, 14)), 24
    field = rng.standard_normal((strips, len(line)))
    field = gaussian_filter1d(field, rng.lognormal(np.log(1.2), 0.7) / PATH_STEP_MM, axis=1, mode="nearest")
    field = cv2.resize(field, (2 * len(line), around), interpolation=cv2.INTER_LINEAR)
    field = field - np.quantile(field, rng.uniform(0.25, 0.85))
    row, at = np.nonzero(field > 0)
    angle = (row + rng.uniform(0, 1, len(row))) / around * 2 * np.pi
    at = np.minimum(at / 2 + rng.uniform(0, 0.5, len(at)), len(line) - 1)
    middle, rim = _on(line, at), _on(_sideways(line, radius), at)
    volume = field[field > 0] ** rng.uniform(0.3, 1.0)
    canvas.deposit(middle + (rim - middle) * np.cos(angle)[:, None], volume, float(rng.choice([0.06, 0.12])))


def _taper(n: int) -> np.ndarray:
    """Return `n` factors of a thread's thickness: 1, and less towards its ends."""
    return np.minimum(4 * np.sin(np.pi * np.linspace(0.02, 0.98, n)), 1)


def _threads(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Smooth threads, all ways or much the same way: ligaments, septa, fibres."""
    alike, turn = rng.random() < 0.5, rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 8)):
        line = _course(rng, field, rng.uniform(5, field), rng.uniform(0.02, 0.6))
        if alike:
            a = turn + rng.normal(0, 0.3) - np.arctan2(*(line[-1] - line[0])[::-1])
            line = (line - line[0]) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
            line += field * rng.uniform(0.2, 0.8, 2) - line[len(line) // 2]
        stroke(canvas, line, _between(rng, 0.2, 1.0) * _taper(len(line)), rng.uniform(0.3, 1), step_mm=0.1)


def _bundle(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Smooth threads side by side that part and meet: sheets of ligaments seen edge-on."""
    line = _course(rng, field, rng.uniform(10, field), rng.uniform(0.02, 0.4))
    u = np.linspace(0, 1, len(line))
    shape = (np.sin(np.pi * u) ** 0.7, 0.15 + 0.85 * u, 0.5 + 0.5 * np.cos(2 * np.pi * u))[rng.integers(3)]
    spread = rng.uniform(0.4, 2.5) * shape
    for place in np.concatenate([[-1, 1], rng.uniform(-1, 1, rng.integers(4))]):
        strand = _sideways(line, place * spread + _wander(rng, len(line), 16, rng.uniform(0.1, 0.6)))
        strand = strand[int(rng.uniform(0, 0.3) * len(line)) : int(rng.uniform(0.7, 1) * len(line))]
        stroke(canvas, strand, _between(rng, 0.2, 0.8) * _taper(len(strand)), rng.uniform(0.3, 1), step_mm=0.1)
    if rng.random() < 0.5:
        stroke(canvas, line, np.maximum(2 * spread, 0.4), rng.uniform(0.02, 0.15))


def _bands(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Vessels without calcium, alone or an artery beside its vein."""
    for _ in range(rng.integers(1, 3)):
        line = _course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.05, 0.7))
        stroke(canvas, line, rng.uniform(0.8, 3.5))
        if rng.random() < 0.4:
            beside = rng.uniform(2, 5) + _wander(rng, len(line), 40, 0.7)
            stroke(canvas, _sideways(line, beside), rng.uniform(0.8, 3.5))


def _row(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Dots lined up on one thread or fold."""
    for _ in range(rng.integers(1, 3)):
        line = _course(rng, field, rng.uniform(4, 30), rng.uniform(0.0, 0.25))
        points = line[np.sort(rng.integers(0, len(line), rng.integers(3, 14)))] + rng.normal(0, 0.1, 2)
        canvas.deposit(points, _sphere(_between(rng, 0.2, 0.6) * rng.lognormal(0, 0.25, len(points))), 0.12)
        if rng.random() < 0.6:
            stroke(canvas, line, _between(rng, 0.2, 0.8) * _taper(len(line)), rng.uniform(0.05, 0.4), step_mm=0.1)


def _dots(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Dots in a group, or scattered."""
    n, spread = rng.integers(2, 40), _between(rng, 1.0, 0.5 * field)
    points = field * rng.uniform(0.2, 0.8, 2) + rng.normal(0, spread, (n, 2))
    size = _between(rng, 0.15, 1.2)
    canvas.deposit(points, _sphere(size * rng.lognormal(0, 0.35, n)), 0.27 * size)


def _rings(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Calcified rims, whole or broken."""
    for _ in range(rng.integers(1, 5)):
        t = np.linspace(0, 2 * np.pi * rng.uniform(0.5, 1), 60) + rng.uniform(0, 2 * np.pi)
        ring = _between(rng, 0.4, 6) * np.column_stack([np.cos(t), rng.uniform(0.6, 1) * np.sin(t)])
        stroke(canvas, field * rng.uniform(0.1, 0.9, 2) + ring, _between(rng, 0.15, 0.6), step_mm=0.1)


def _rods(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Thick short rods that aim the same way, and wires."""
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 6)):
        angle, length = turn + rng.normal(0, 0.2), _between(rng, 2, 12)
        t = np.arange(0, length, 0.2)[:, None]
        rod = field * rng.uniform(0.1, 0.9, 2) + t * (np.cos(angle), np.sin(angle))
        stroke(canvas, rod, rng.uniform(0.4, 1.2), step_mm=0.1)


def _edge(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """One side of a line is brighter and fades away from it: skin folds, the muscle, masses, devices."""
    line = _course(rng, field, 3 * field, rng.uniform(0.0, 0.3))
    fade, step = _between(rng, 0.5, 8), 0.3
    for k in range(int(min(3 * fade, field) / step)):
        stroke(canvas, _sideways(line, k * step), 0.8, np.exp(-k * step / fade))


CALCIUM, CALCIUM_SHARES = (_grains, _two_rows, _walls, _plates), (0.3, 0.2, 0.25, 0.25)
LOOK_ALIKES = (_threads, _bundle, _bands, _row, _dots, _rings, _rods, _edge)
LOOK_ALIKE_SHARES = (0.25, 0.23, 0.1, 0.12, 0.12, 0.06, 0.06, 0.06)
