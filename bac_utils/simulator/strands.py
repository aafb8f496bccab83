"""Connective tissue of a simulated view as lines: Cooper's ligaments, fine threads, ducts, skin folds.

A strand is a sheet or cord seen from the side: a curve of uneven width that tapers to nothing. Numbers, lengths and
widths are assumptions.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.simulator.anatomy import Outline
from bac_utils.simulator.gland import GRID_MM, Gland
from bac_utils.simulator.rasterize import Canvas

THREAD_GRID_MM = 0.18
"""Largest spacing, in mm, of the grid on which strands are drawn. They can be thinner than a pixel and are averaged
over the pixels, as a detector element integrates over its area."""
_BLURS_MM = np.array([0.12, 0.3])  # widths that the canvas distinguishes


@dataclass(frozen=True)
class Strands:
    """Curves x(s) = start + s e + (bend/2 s^2 + twist/6 s^3 + wave) n; e is their direction and n its normal.

    The attributes are arrays of (n,) but for the first.

    Attributes:
        start: (n, 2) first points, x and y in mm.
        turn: Direction at the first point, radians from x to y.
        bend: Curvature at the first point, 1/mm.
        twist: Change of the curvature, 1/mm2.
        wave: Amplitude of a meander over the length, in mm.
        length: Length in mm.
        width: Greatest width in mm.
        depth: Tissue along the beam where it is greatest, in mm.
        peak: Where along the length (0 to 1) it is widest.
    """

    start: np.ndarray
    turn: np.ndarray
    bend: np.ndarray
    twist: np.ndarray
    wave: np.ndarray
    length: np.ndarray
    width: np.ndarray
    depth: np.ndarray
    peak: np.ndarray

    def points(self, owner: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return points of the strands `owner` at arc lengths `s` (mm), both (m,): (m, 2) in mm."""
        turn = self.turn[owner]
        aside = s**2 * (self.bend[owner] / 2 + self.twist[owner] / 6 * s)
        aside += self.wave[owner] * np.sin(((5 + 6 * self.peak) / self.length)[owner] * s)
        cos, sin = np.cos(turn), np.sin(turn)
        return self.start[owner] + np.column_stack([s * cos - aside * sin, s * sin + aside * cos])

    def lines(self) -> list[np.ndarray]:
        """Return the strands as lines, each (n, 2) in mm with a point about every 0.5 mm."""
        every = (np.linspace(0, length, max(int(length / 0.5), 2)) for length in self.length)
        return [self.points(np.full(len(s), k), s) for k, s in enumerate(every)]


def strand_thickness(strands: list[Strands], shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Return the thickness of the tissue of strands along the beam in mm, float32 (rows, columns)."""
    finer = max(int(np.ceil(spacing_mm / THREAD_GRID_MM)), 1)
    canvas = Canvas((shape[0] * finer, shape[1] * finer), spacing_mm / finer)
    for some in strands:
        _deposit(canvas, some)
    fine = canvas.thickness()
    return fine if finer == 1 else cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA)


def _deposit(canvas: Canvas, strands: Strands) -> None:
    level = np.abs(_BLURS_MM[None, :] - 0.3 * strands.width[:, None]).argmin(1)
    for k, blur_mm in enumerate(_BLURS_MM):
        chosen = np.flatnonzero(level == k)
        step = max(min(0.2, canvas.spacing_mm / 2), 0.8 * float(blur_mm))  # mm; no beads after the blur
        count = np.ceil(strands.length[chosen] / step).astype(int)
        owner = np.repeat(chosen, count)
        s = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5) * step
        t, peak = s / strands.length[owner], strands.peak[owner]
        taper = np.where(t < peak, t / peak, (1 - t) / (1 - peak)).clip(0) ** 0.7
        volume = strands.depth[owner] * strands.width[owner] * taper * step
        canvas.deposit(strands.points(owner, s), volume, float(blur_mm))


def fine_strands(
    rng: np.random.Generator, outline: Outline, gland: Gland, distance: np.ndarray, fading: np.ndarray
) -> Strands:
    """Draw the fine strands of the stroma: many in the gland, few in the fat, most of them towards the nipple.

    Below the skin most of them run along it.

    Args:
        rng: Source of randomness.
        outline: Outline of the breast.
        gland: Its glandular tissue.
        distance: Distance to the skin in mm on the grid of the gland.
        fading: Factor on the chance of a strand, from 0 to 1, on the grid of the gland.
    """
    area = float(outline.edge.sum()) * (outline.y[1] - outline.y[0])
    number = int(area * rng.uniform(0.2, 0.45))
    bunch = 6  # strands that lie together
    place = np.repeat(rng.uniform([0, 0], [outline.depth_mm, outline.height_mm], (4 * number // bunch, 2)), bunch, 0)
    common = np.repeat(rng.standard_t(3, 4 * number // bunch), bunch)
    place += rng.normal(0, 1, place.shape) * rng.uniform(1.0, 6.0, (len(place), 1))
    row, column = _at(place, gland.core.shape)
    dense = gland.core[row, column]
    chance = (rng.uniform(0.03, 0.15) + dense) * fading[row, column]
    chosen = np.flatnonzero(rng.random(len(place)) < chance)[:number]
    start = place[chosen]
    n = len(start)
    towards = np.array([outline.depth_mm + rng.uniform(-15, 25), outline.nipple_y]) - start
    turn = np.arctan2(towards[:, 1], towards[:, 0])
    row, column = row[chosen], column[chosen]
    down, right = np.gradient(distance[::4, ::4])
    at = np.minimum(row // 4, len(down) - 1), np.minimum(column // 4, down.shape[1] - 1)
    along_skin = np.arctan2(right[at], -down[at])
    along_skin += np.pi * (np.cos(along_skin - turn) < 0)  # the nearer of its two directions
    turn = np.where(rng.random(n) < np.exp(-distance[row, column] / 9), along_skin, turn)
    turn += rng.uniform(0.25, 0.6) * (common[chosen] + 0.45 * rng.normal(0, 1, n))
    length = rng.lognormal(np.log(rng.uniform(2.5, 5)), 0.65, n).clip(1, 30)
    width = rng.lognormal(np.log(0.4), 0.5, n).clip(0.15, 1.5)
    depth = rng.uniform(0.5, 1.3) * rng.lognormal(0, 0.5, n) * (0.5 / width) ** 0.2
    fatty = 1 - dense[chosen]  # in fat strands are long, thin and faint
    length, width, depth = length * (1 + 0.8 * fatty), width * (1 - 0.3 * fatty), depth * (1.15 - 0.55 * fatty)
    return Strands(start, turn, *_curving(rng, length), length, width, depth, rng.uniform(0.2, 0.8, n))


def ligaments(rng: np.random.Generator, outline: Outline, gland: Gland, distance: np.ndarray) -> Strands:
    """Draw Cooper's ligaments: from where septa meet the border of the gland to the skin, thinning towards it.

    Args:
        rng: Source of randomness.
        outline: Outline of the breast.
        gland: Its glandular tissue.
        distance: Distance to the skin in mm on the grid of the gland.
    """
    step = 4  # a coarser grid suffices to find borders and directions
    core, far = gland.core[::step, ::step], distance[::step, ::step]
    on_septum = gland.border[::step, ::step] < 0.4
    border = np.argwhere((np.abs(core - 0.35) < 0.25) & (far > 4) & (far < 45) & on_septum)
    number = min(int(rng.integers(10, 32)), len(border))
    row, column = border[rng.choice(len(border), number, replace=False)].T if number else np.zeros((2, 0), int)
    down, right = np.gradient(far)
    start = (np.column_stack([column, row]) + 0.5) * step * GRID_MM
    outwards = np.arctan2(-down[row, column], -right[row, column])
    nipple = np.arctan2(outline.nipple_y - start[:, 1], outline.depth_mm - start[:, 0])
    mixed = np.exp(1j * outwards) + rng.uniform(0.2, 1.4, number) * np.exp(1j * nipple)
    turn = np.angle(mixed) + rng.normal(0, 0.5, number)
    length = (far[row, column] * rng.uniform(0.5, 1.3, number)).clip(4, 25)
    width = rng.lognormal(np.log(0.55), 0.4, number)
    depth = rng.uniform(0.7, 2.2) * rng.lognormal(0, 0.5, number)
    return Strands(start, turn, *_curving(rng, length), length, width, depth, rng.uniform(0.02, 0.3, number))


def ducts(rng: np.random.Generator, outline: Outline) -> Strands:
    """Draw the ducts behind the nipple, a fan that narrows towards it."""
    number = int(rng.integers(6, 15))
    turn = np.pi + rng.normal(0, 0.45, number)
    back = rng.uniform(2, 6, number)
    start = np.column_stack([outline.depth_mm - back, outline.nipple_y + rng.normal(0, 1.5, number)])
    length = rng.uniform(10, 45, number)
    width = rng.uniform(0.6, 1.5, number)
    depth = rng.uniform(0.5, 1.8) * rng.uniform(0.5, 1.3, number)
    return Strands(start, turn, *_curving(rng, length), length, width, depth, rng.uniform(0.1, 0.4, number))


def folds(rng: np.random.Generator, outline: Outline) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return skin folds: lines, each (n, 2) in mm, and their widths, (n,) in mm, that taper to both ends.

    Most lie at the inframammary fold and the axilla.
    """
    lines = []
    for _ in range(rng.poisson(0.5)):
        y = rng.choice([rng.uniform(0.03, 0.3), rng.uniform(0.7, 0.95)]) * outline.height_mm
        start = np.array([rng.uniform(0.0, 0.6) * np.interp(y, outline.y, outline.edge), y])
        t = np.arange(0, rng.uniform(15, 60), 0.5)
        angle = rng.normal(0, 0.6) + rng.normal(0, 0.02) * t
        line = start + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.5, axis=0)
        lines.append((line, rng.uniform(0.8, 2.5) * np.sin(np.pi * np.linspace(0, 1, len(t))) ** 0.7))
    return lines


def _curving(rng: np.random.Generator, length: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw curvature, its change and the meander of strands of the given lengths."""
    bend, twist, wave = rng.normal(0, 1, (3, len(length)))
    return 1.0 * bend / length, 3.0 * twist / length**2, 0.025 * wave * length


def _at(place: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column, on the grid of the gland, of points (n, 2) in mm."""
    column, row = np.floor(place / GRID_MM).astype(int).T
    return row.clip(0, shape[0] - 1), column.clip(0, shape[1] - 1)
