"""From a mask of calcified artery to millimetres: centre lines, their length, mean width and number of pieces.

A mask comes from `refine`, from a heatmap's region or from a reader. Lengths hold at the true (row, column) spacing, on
whatever grid the mask lies. The constants are this kit's own choice.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.signal import savgol_filter
from skimage.morphology import skeletonize

from bac_utils.arteries.masks import WALL_MM, check_mask, check_spacing, crop, depth, fill_walls, with_square_pixels
from bac_utils.arteries.skeleton import (
    GAP_MM,
    HEADING_MM,
    Branch,
    bridge,
    courses,
    degrees,
    find_branches,
    heading_of,
    line_length,
    prune,
    value_at,
)

SMOOTH_MM = 2.5
"""Span of the parabola that is fitted around each point of a centre line."""
SLENDER = 1.6
"""Least length of an artery in units of its largest width; what is shorter is a blob (a square's diagonal is 1.4)."""


@dataclass(frozen=True)
class Vessels:
    """The calcified arteries of one view.

    Attributes:
        lines: Centre lines, each float64 (n, 2): row and column in mm from the upper left corner of the view. A line
            ends at a free end or at a branching; bridges are part of it.
        bridged_mm: Length of all bridges, between edges of the mask.
        area_mm2: Area of the mask's pieces that have a line, with the lumen between their walls.
        arteries: Number of connected courses, gaps bridged.
        pieces: Number of the mask's pieces that they run through.
    """

    lines: tuple[np.ndarray, ...] = ()
    bridged_mm: float = 0.0
    area_mm2: float = 0.0
    arteries: int = 0
    pieces: int = 0

    @property
    def length_mm(self) -> float:
        """Length of all centre lines, bridges included."""
        return sum(map(line_length, self.lines), 0.0)

    @property
    def width_mm(self) -> float:
        """Mean width: area over length without bridges; 0 where there is no artery."""
        return self.area_mm2 / (self.length_mm - self.bridged_mm) if self.lines else 0.0


def trace_vessels(
    mask: np.ndarray,
    spacing_mm: tuple[float, float],
    gap_mm: float = GAP_MM,
    wall_mm: float = WALL_MM,
) -> Vessels:
    """Trace the centre lines of a mask.

    Walls that face each other are filled in, so that a tram-track counts once. The skeleton (Zhang and Suen's thinning)
    loses short spurs; ends of an interrupted artery are joined, nearest first, where both point along the bridge. Each
    line is smoothed by local parabolas (Savitzky and Golay): the steps of a skeleton add up to 8 % more than a straight
    line is long. Thinning stops short of an artery's end, or bends into a corner of it, so free ends are cut by half
    the width and go straight on to the mask's edge. What is shorter than `SLENDER` times its width is left out.

    Args:
        mask: Calcified artery, bool (H, W).
        spacing_mm: (row, column).
        gap_mm: Widest gap that is bridged, between edges of the mask; 0 bridges none.
        wall_mm: Widest lumen, between edges of the mask, that is filled in.

    Returns:
        The arteries: none in an empty mask or a blob.

    Raises:
        ValueError: `mask` is not two-dimensional, the spacing is not two positive numbers, or a length is below 0.
    """
    mask, spacing = check_mask(mask), check_spacing(spacing_mm)
    for name, value in (("gap_mm", gap_mm), ("wall_mm", wall_mm)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name}: got {value!r}, must be a number of mm, 0 or more")
    if not mask.any():
        return Vessels()
    mask, spacing = with_square_pixels(mask, spacing)
    mask, corner = crop(mask, spacing, wall_mm)
    mask = fill_walls(mask, spacing, wall_mm)
    radius = depth(mask, spacing)
    branches = prune(find_branches(skeletonize(mask)), radius, spacing)
    branches = bridge(branches, radius, spacing, gap_mm)
    labels = cv2.connectedComponents(mask.astype(np.uint8))[1]
    areas = np.bincount(labels.ravel()) * spacing[0] * spacing[1]
    kept, pieces = [], set()
    bridged, arteries = 0.0, 0
    for course in courses(branches):
        own = {int(n) for branch in course for n in labels[tuple(np.round(branch.points).astype(int).T)]} - {0}
        gaps = sum(branch.bridged for branch in course)
        lines = _lines(course, mask, radius, spacing)
        widest = 2 * max(value_at(radius, point) for branch in course for point in branch.points)
        if sum(map(line_length, lines)) - gaps < SLENDER * widest:
            continue
        kept += [line + corner for line in lines]
        bridged, arteries, pieces = bridged + gaps, arteries + 1, pieces | own
    return Vessels(tuple(kept), float(bridged), float(areas[list(pieces)].sum()), arteries, len(pieces))


def _lines(
    course: list[Branch], mask: np.ndarray, radius: np.ndarray, spacing: tuple[float, float]
) -> list[np.ndarray]:
    """Return a course's smooth lines, (n, 2) in mm, its free ends prolonged to the mask's edge."""
    degree, lines = degrees(course), []
    for branch in course:
        closed = branch.start == branch.stop
        line = _smooth((branch.points + 0.5) * spacing, SMOOTH_MM / min(spacing), closed)
        trim = float(np.median([value_at(radius, point) for point in branch.points]))
        for node in branch.nodes:
            line = line[::-1]  # first the start comes last, then the stop
            if degree[node] == 1:
                line = _to_edge(line, trim, mask, spacing)
        lines.append(line)
    return lines


def _to_edge(line: np.ndarray, trim: float, mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Cut off the last `trim` mm of a line, which thinning bends into a corner, and go straight on to the edge."""
    away = np.linalg.norm(line - line[-1], axis=1)
    if (away >= 2 * trim + min(spacing)).any():
        line = line[: np.flatnonzero(away >= trim)[-1] + 1]
    heading = heading_of(line, HEADING_MM, 0)
    if heading is None:
        return line
    beyond = line[-1] + np.arange(0, 4 * trim + 2 * min(spacing), min(spacing) / 4)[:, None] * heading
    row, column = np.clip(beyond // spacing, 0, np.array(mask.shape) - 1).astype(int).T
    inside = np.logical_and.accumulate(mask[row, column])
    return np.vstack([line, beyond[inside][-1:]])


def _smooth(points: np.ndarray, span: float, closed: bool) -> np.ndarray:
    """Fit a parabola around each point of a course (n, 2), over `span` points; what is shorter becomes straight."""
    if closed:
        window = min(int(span) // 2 * 2 + 1, (len(points) - 2) // 2 * 2 + 1)
        ring = savgol_filter(points[:-1], window, 2, axis=0, mode="wrap") if window > 2 else points[:-1]
        return np.vstack([ring, ring[:1]])
    window = min(int(span) // 2 * 2 + 1, (len(points) - 1) // 2 * 2 + 1)
    return savgol_filter(points, window, 2, axis=0) if window > 4 else points[[0, -1]]
