"""From a mask of calcified arteries to their centre lines, with length, mean width and number of pieces.

The mask may come from `segmentation`, from thresholding a heatmap, or from a reader. Lengths are in mm at the (row,
column) spacing of the mask. The constants are this kit's own choice.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.signal import savgol_filter
from skimage.morphology import skeletonize

from bac_utils.arteries.masks import WALL_MM, check_mask, check_spacing, crop, depth, fill_walls, with_square_pixels
from bac_utils.arteries.skeleton import (
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
"""Length of the window in which a parabola is fitted around each point of a centre line."""
SLENDER = 1.6
"""Smallest ratio of an artery's length to its largest width; below it is a blob (the diagonal of a square: 1.4)."""


@dataclass(frozen=True)
class Vessels:
    """The calcified arteries of one view.

    Attributes:
        lines: Centre lines, each float64 (n, 2): row and column in mm from the upper left corner of the view. A line
            ends at a free end or at a branching point; bridged gaps are part of it.
        bridged_mm: Total length of the bridged gaps, between the edges of the mask.
        area_mm2: Area of the pieces of the mask that have a centre line, with the lumen between their walls.
        arteries: Number of connected arteries, after gaps are bridged.
        pieces: Number of pieces of the mask through which they run.
    """

    lines: tuple[np.ndarray, ...] = ()
    bridged_mm: float = 0.0
    area_mm2: float = 0.0
    arteries: int = 0
    pieces: int = 0

    @property
    def length_mm(self) -> float:
        """Length of all centre lines, with the bridged gaps."""
        return sum(map(line_length, self.lines), 0.0)

    @property
    def width_mm(self) -> float:
        """Mean width: area over the length without bridged gaps; 0 if there is no artery."""
        return self.area_mm2 / (self.length_mm - self.bridged_mm) if self.lines else 0.0


def trace_vessels(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Vessels:
    """Trace the centre lines of a mask.

    1. The lumen between two walls is filled, so that a tram-track calcification counts once.
    2. The mask is thinned to a skeleton (Zhang and Suen) and short spurs are pruned.
    3. The ends of an interrupted artery are joined, nearest first, if both point along the gap.
    4. Each line is smoothed by local parabolas (Savitzky and Golay): the steps of a skeleton add up to as much as 8 %
       more than the length of a straight line.
    5. Thinning stops short of the end of an artery or bends into one of its corners. Free ends are therefore cut by
       half the width and extended straight to the edge of the mask.
    6. Anything shorter than `SLENDER` times its largest width is dropped.

    Args:
        mask: Calcified arteries, bool (H, W).
        spacing_mm: (row, column).

    Returns:
        The arteries; an empty mask or a blob has none.

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    mask, spacing = check_mask(mask), check_spacing(spacing_mm)
    if not mask.any():
        return Vessels()
    mask, spacing = with_square_pixels(mask, spacing)
    mask, corner = crop(mask, spacing, WALL_MM)
    mask = fill_walls(mask, spacing)
    radius = depth(mask, spacing)
    branches = prune(find_branches(skeletonize(mask)), radius, spacing)
    branches = bridge(branches, radius, spacing)
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
    """Return the smoothed lines of one artery, each (n, 2) in mm, with free ends extended to the edge of the mask."""
    degree, lines = degrees(course), []
    for branch in course:
        closed = branch.start == branch.stop
        line = _smooth((branch.points + 0.5) * spacing, SMOOTH_MM / min(spacing), closed)
        trim = float(np.median([value_at(radius, point) for point in branch.points]))
        for node in branch.nodes:
            line = line[::-1]  # the first pass ends at the start, the second at the stop
            if degree[node] == 1:
                line = _to_edge(line, trim, mask, spacing)
        lines.append(line)
    return lines


def _to_edge(line: np.ndarray, trim: float, mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Cut off the last `trim` mm of a line, which may bend into a corner, and extend it straight to the mask's edge."""
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
    """Smooth a line (n, 2) by a parabola over `span` points around each point; a shorter line becomes straight."""
    if closed:
        window = min(int(span) // 2 * 2 + 1, (len(points) - 2) // 2 * 2 + 1)
        ring = savgol_filter(points[:-1], window, 2, axis=0, mode="wrap") if window > 2 else points[:-1]
        return np.vstack([ring, ring[:1]])
    window = min(int(span) // 2 * 2 + 1, (len(points) - 1) // 2 * 2 + 1)
    return savgol_filter(points, window, 2, axis=0) if window > 4 else points[[0, -1]]
