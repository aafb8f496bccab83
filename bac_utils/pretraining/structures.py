"""Pretext task: which benign structures lie in a patch of a mammogram without calcified arteries.

The demo's backbone is trained on this task, as the paper's was on ImageNet: its features know edges, dots, threads,
rings and tubes, but no label ever told it of an artery, and no patch shows a calcified one. Frequencies and sizes are
choices of this kit.
"""

from dataclasses import dataclass

import numpy as np

from bac_utils.pretraining import synthetic_lesions as lesions
from bac_utils.pretraining.patches import SCALE_SPREAD, STRIDE
from bac_utils.simulator.anatomy import PATH_STEP_MM
from bac_utils.simulator.calcifications import sphere_volume
from bac_utils.simulator.rasterize import Canvas, blur, draw_cylinder

STREAM = 5
"""First number of the seeds of the structures; see `population.COHORT`."""
MEAN_STRUCTURES = 4.0
"""Mean number of structures added to a patch."""
LEAST_SHARE, LEAST_PIXELS = 0.15, 6
"""A cell of 16 x 16 pixels contains a structure if this many of its pixels exceed this share of full brightness."""


def _powder(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw many fine grains in a round or oval area: a cluster of microcalcifications."""
    n, spread = rng.integers(15, 250), lesions.between(rng, 0.8, 0.2 * field)
    turn, squash = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
    points = rng.normal(0, spread, (n, 2)) * (1, squash)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    size = lesions.between(rng, 0.12, 0.35) * rng.lognormal(0, 0.35, n)
    canvas.deposit(field * rng.uniform(0.2, 0.8, 2) + points, sphere_volume(size, 1.0), 0.12)


def _popcorn(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw heaps of coarse lumps: fibroadenomas, fat necrosis."""
    for _ in range(rng.integers(1, 3)):
        n, spread = rng.integers(8, 50), lesions.between(rng, 0.5, 3.5)
        lumps = sphere_volume(rng.uniform(0.6, 1.8, n), rng.uniform(0.2, 1))
        canvas.deposit(field * rng.uniform(0.1, 0.9, 2) + rng.normal(0, spread, (n, 2)), lumps, rng.uniform(0.2, 0.5))


def _crescents(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw crescents or smudges in a group: milk of calcium."""
    centre, turn, depth = field * rng.uniform(0.2, 0.8, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.5)
    for _ in range(rng.integers(3, 12)):
        t = np.linspace(-1, 1, 15) * lesions.between(rng, 0.3, 1.2)
        arc = np.column_stack([t, -depth * t**2]) @ np.array(
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        )
        draw_cylinder(canvas, centre + rng.normal(0, 3, 2) + arc, lesions.between(rng, 0.2, 0.6), step_mm=0.1)


def _dashes(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw short, thin, broken lines in similar directions: linear calcifications of a duct."""
    turn, place = rng.uniform(0, 2 * np.pi), field * rng.uniform(0.2, 0.8, 2)
    for _ in range(rng.integers(2, 9)):
        angle = turn + rng.normal(0, 0.4)
        t = np.arange(0, lesions.between(rng, 1.5, 10), 0.1)
        kept = t[np.sin(t * rng.uniform(1.5, 7) + rng.uniform(0, 6)) > rng.uniform(-0.7, 0.3)]
        points = place + rng.normal(0, 4, 2) + kept[:, None] * (np.cos(angle), np.sin(angle))
        canvas.deposit(points, 1.0, 0.27 * lesions.between(rng, 0.25, 0.8))


def _wires(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw bright smooth wires: scar markers, leads, sutures."""
    line = lesions.course(rng, field, rng.uniform(5, 1.5 * field), rng.uniform(0.02, 0.5))
    draw_cylinder(canvas, line, lesions.between(rng, 0.3, 1.8), step_mm=0.1)


def _clips(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw small, sharp, bright shapes: biopsy clips, ball markers."""
    for _ in range(rng.integers(1, 3)):
        n = int(rng.integers(1, 4))
        corners = rng.normal(0, 1.2, (n + 1, 2)) if rng.random() < 0.7 else np.zeros((2, 2)) + [[0, 0], [0.3, 0]]
        draw_cylinder(canvas, field * rng.uniform(0.1, 0.9, 2) + corners, rng.uniform(0.4, 2.0), step_mm=0.1)


def _grains(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw grains that fill a disc or an oval: calcium in a lump, a papilloma."""
    for _ in range(rng.integers(1, 4)):
        radius, n = lesions.between(rng, 1, 6), rng.integers(20, 400)
        angle, distance = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.random(n))
        points = _oval(rng, angle, distance, rng.uniform(0.5, 1)) + field * rng.uniform(0.1, 0.9, 2)
        canvas.deposit(points, rng.lognormal(0, 0.55, n), float(rng.choice([0.06, 0.12, 0.2])))


def _shells(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw grains on the wall of a sphere or an oval: eggshells, oil cysts."""
    for _ in range(rng.integers(1, 4)):
        radius, n = lesions.between(rng, 1, 8), rng.integers(20, 300)
        angle = rng.uniform(0, 2 * np.pi, n)
        gap = rng.uniform(0, 2 * np.pi) + np.array([0, rng.uniform(0, np.pi)])
        angle = angle[((angle - gap[0]) % (2 * np.pi)) > gap[1] - gap[0]]
        distance = radius * (1 - rng.uniform(0.05, 0.5) * rng.random(len(angle)) ** 2)
        points = _oval(rng, angle, distance, rng.uniform(0.6, 1)) + field * rng.uniform(0.1, 0.9, 2)
        canvas.deposit(points, rng.lognormal(0, 0.55, len(angle)), float(rng.choice([0.06, 0.12, 0.2])))


def _oval(rng: np.random.Generator, angle: np.ndarray, distance: np.ndarray, squash: float) -> np.ndarray:
    """Return points at angles and distances from the centre of a turned, squashed disc, (n, 2) in mm."""
    points = distance[:, None] * np.column_stack([np.cos(angle), squash * np.sin(angle)])
    turn = rng.uniform(0, 2 * np.pi)
    return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _powdered_fold(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw many dots along single lines: powder in a skin fold, a calcified ligament."""
    for _ in range(rng.integers(1, 4)):
        line = lesions.course(rng, field, rng.uniform(5, field), rng.uniform(0.0, 0.5))
        n = int(len(line) * PATH_STEP_MM * lesions.between(rng, 0.5, 6)) + 2
        points = line[rng.integers(0, len(line), n)] + rng.normal(0, rng.uniform(0.05, 0.25), (n, 2))
        size = lesions.between(rng, 0.12, 0.5) * rng.lognormal(0, 0.35, n)
        canvas.deposit(points, sphere_volume(size, 1.0), float(rng.choice([0.06, 0.12])))


def _catheters(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a smooth tube with bright walls: a catheter or drain."""
    line = lesions.course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.02, 0.3))
    radius = rng.uniform(0.5, 1.6)
    for wall in (-1, 1):
        draw_cylinder(canvas, lesions.sideways(line, wall * radius), lesions.between(rng, 0.15, 0.6), step_mm=0.1)
    draw_cylinder(canvas, line, 2 * radius, rng.uniform(0, 0.2))


def _coils(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a wound wire: the lead of a pacemaker, the coil of a hook wire."""
    line = lesions.course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.02, 0.3))
    pitch = lesions.between(rng, 0.6, 3)
    phase = np.arange(len(line)) * PATH_STEP_MM / pitch * 2 * np.pi
    wound = lesions.sideways(line, rng.uniform(0.4, 1.5) * np.sin(phase))
    draw_cylinder(canvas, wound, lesions.between(rng, 0.15, 0.6), step_mm=0.1)


KINDS = {
    "threads": lesions.threads,
    "bundle": lesions.bundle,
    "vessel": lesions.bands,
    "row of dots": lesions.row,
    "dots": lesions.dots,
    "rings": lesions.rings,
    "rods": lesions.rods,
    "edge": lesions.edge,
    "powder": _powder,
    "popcorn": _popcorn,
    "crescents": _crescents,
    "dashes": _dashes,
    "wire": _wires,
    "clip": _clips,
    "grains": _grains,
    "shells": _shells,
    "powdered fold": _powdered_fold,
    "catheter": _catheters,
    "coil": _coils,
}
"""Benign structures: name and function that draws them on a canvas."""


@dataclass(frozen=True)
class Structures:
    """A set of benign structures to choose from.

    Attributes:
        intensity: float16 (n, side, side), about 1 in the bright parts.
        kinds: Index in `KINDS`, int (n,).
    """

    intensity: np.ndarray
    kinds: np.ndarray


def draw_structure(number: int, side: int, pixel_mm: float) -> tuple[np.ndarray, int]:
    """Draw a benign structure.

    Args:
        number: Number of the structure; the same number always gives the same structure.
        side: Rows and columns.
        pixel_mm: Pixel spacing in mm; it is varied by up to `SCALE_SPREAD`.

    Returns:
        Intensity to be added to a patch, float16 (side, side), about 1 in its bright parts; index of its kind.
    """
    rng = np.random.default_rng([STREAM, number])
    kind = number % len(KINDS)
    pixel_mm *= float(np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))
    canvas = Canvas((side, side), pixel_mm)
    tuple(KINDS.values())[kind](canvas, rng, side * pixel_mm)
    soft_mm = rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.12, 0.3)
    intensity = blur(canvas.thickness(), max(soft_mm / pixel_mm, 0.35))
    return (intensity / lesions.brightness(intensity)).astype(np.float16), kind


def add_structures(
    patch: np.ndarray, structures: Structures, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Add a random number of structures to a patch.

    Args:
        patch: Patch of a prepared view, (side, side).
        structures: Structures of the same side.
        rng: Source of randomness.

    Returns:
        New pixels, float32, and which kinds each cell of 16 x 16 pixels contains, int8 (side // 16, side // 16, K).
    """
    pixels, cells = patch.astype(np.float32), len(patch) // STRIDE
    labels = np.zeros((cells, cells, len(KINDS)), np.int8)
    for k in rng.integers(len(structures.kinds), size=rng.poisson(MEAN_STRUCTURES)):
        turn = rng.integers(8)
        intensity = lesions.turned(structures.intensity[k], turn)
        pixels = lesions.add_lesion(pixels, intensity, rng)
        bright = ((intensity > LEAST_SHARE) & (pixels != 0))[: cells * STRIDE, : cells * STRIDE]
        count = bright.reshape(cells, STRIDE, cells, STRIDE).sum(axis=(1, 3))
        labels[..., structures.kinds[k]] |= (count >= LEAST_PIXELS).astype(np.int8)
    return pixels, labels
