"""Pretext task: which benign structures lie in a patch of a mammogram without calcified arteries.

The demo's backbone is trained on this task, as the paper's was on ImageNet: its features know edges, dots, threads,
rings and tubes, but no label ever told it of an artery, and no patch shows a calcified one. Frequencies and sizes are
choices of this kit.
"""

from dataclasses import dataclass

import numpy as np

from bac_utils.pretraining import synthetic_lesions as lesions
from bac_utils.pretraining.look_alikes import KINDS
from bac_utils.pretraining.patches import SCALE_SPREAD
from bac_utils.simulator.rasterize import Canvas, blur

STREAM = 5
"""First number of the seeds of the structures; see `population.COHORT`."""
CELL = 16
"""Side in pixels of a cell, for which the kinds are stated: the stride of the backbone."""
MEAN_STRUCTURES = 4.0
"""Mean number of structures added to a patch."""
LEAST_SHARE, LEAST_PIXELS = 0.15, 6
"""A cell of 16 x 16 pixels contains a structure if this many of its pixels exceed this share of full brightness."""


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
    pixels, cells = patch.astype(np.float32), len(patch) // CELL
    labels = np.zeros((cells, cells, len(KINDS)), np.int8)
    for k in rng.integers(len(structures.kinds), size=rng.poisson(MEAN_STRUCTURES)):
        turn = rng.integers(8)
        intensity = lesions.turned(structures.intensity[k], turn)
        pixels = lesions.add_lesion(pixels, intensity, rng)
        bright = ((intensity > LEAST_SHARE) & (pixels != 0))[: cells * CELL, : cells * CELL]
        count = bright.reshape(cells, CELL, cells, CELL).sum(axis=(1, 3))
        labels[..., structures.kinds[k]] |= (count >= LEAST_PIXELS).astype(np.int8)
    return pixels, labels
