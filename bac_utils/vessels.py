"""From a mask of calcified artery to millimetres: centre lines, their length, mean width and number of pieces.

A mask comes from `refine`, from a heatmap's region or from a reader. Lengths hold at the true (row, column) spacing, on
whatever grid the mask lies. The constants are this kit's own choice.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.signal import savgol_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from skimage.morphology import skeletonize

WALL_MM = 2.0
"""Two walls with no more than this between them are one artery."""
SPUR_MM = 2.0
"""A branch with a free end is the outline's noise up to this length, or if it hardly leaves the artery (2 radii)."""
GAP_MM = 3.0
"""Widest bare stretch within one interrupted artery."""
GAP_DEGREES = 40.0
"""Largest angle between an end's direction and the bridge that leaves it."""
HEADING_MM = 3.0
"""An end's direction is that of so much of its line."""
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
        return sum(map(_length, self.lines), 0.0)

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
    mask, spacing = _with_square_pixels(mask, spacing)
    mask, corner = _crop(mask, spacing, wall_mm)
    mask = fill_walls(mask, spacing, wall_mm)
    radius = depth(mask, spacing)
    branches = _prune(_branches(skeletonize(mask)), radius, spacing)
    branches = _bridge(branches, radius, spacing, gap_mm)
    labels = cv2.connectedComponents(mask.astype(np.uint8))[1]
    areas = np.bincount(labels.ravel()) * spacing[0] * spacing[1]
    kept, pieces = [], set()
    bridged, arteries = 0.0, 0
    for course in _courses(branches):
        own = {int(n) for branch in course for n in labels[tuple(np.round(branch.points).astype(int).T)]} - {0}
        gaps = sum(branch.bridged for branch in course)
        lines = _lines(course, mask, radius, spacing)
        widest = 2 * max(_at(radius, point) for branch in course for point in branch.points)
        if sum(map(_length, lines)) - gaps < SLENDER * widest:
            continue
        kept += [line + corner for line in lines]
        bridged, arteries, pieces = bridged + gaps, arteries + 1, pieces | own
    return Vessels(tuple(kept), float(bridged), float(areas[list(pieces)].sum()), arteries, len(pieces))


def grow(mask: np.ndarray, spacing_mm: tuple[float, float], by_mm: float) -> np.ndarray:
    """Widen a mask.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).
        by_mm: Distance between centres of pixels, 0 or more.

    Returns:
        bool (H, W): the pixels no farther than that from the mask.

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    mask = check_mask(mask)
    if not mask.any():
        return mask.copy()
    return depth(~mask, check_spacing(spacing_mm)) <= by_mm


def fill_walls(mask: np.ndarray, spacing_mm: tuple[float, float], wall_mm: float = WALL_MM) -> np.ndarray:
    """Fill in what lies between two walls, and holes, up to a width: closing with a disc.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column).
        wall_mm: The width, between edges of the mask.

    Returns:
        bool (H, W).

    Raises:
        ValueError: As `grow`.
    """
    reach = (wall_mm + min(check_spacing(spacing_mm))) / 2  # between centres of pixels
    wide = np.pad(grow(mask, spacing_mm, reach), 1)
    return (depth(wide, spacing_mm) > reach)[1:-1, 1:-1] | mask


def depth(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return each pixel's distance in mm to the nearest pixel outside a mask, 0 outside; float32 or float64 (H, W)."""
    row, column = spacing_mm
    if max(row, column) > 1.01 * min(row, column):
        return distance_transform_edt(mask, sampling=spacing_mm)
    pixels = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # ten times as fast
    return pixels * ((row + column) / 2)


def check_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask as bool (H, W); raise ValueError if it is not two-dimensional or is empty."""
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"mask: got shape {mask.shape}, must be (H, W)")
    return mask


def check_spacing(spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return (row, column) spacing as floats; raise ValueError if they are not two positive numbers."""
    if spacing_mm is None or len(spacing_mm) != 2 or not all(0 < n < np.inf for n in spacing_mm):
        raise ValueError(f"spacing_mm: got {spacing_mm!r}, must be (row, column), two positive numbers in mm")
    return float(spacing_mm[0]), float(spacing_mm[1])


@dataclass(frozen=True)
class _Branch:
    """A course between two nodes (ends or crossings), unbranched; `points` (n, 2) are pixels, `bridged` mm."""

    start: int
    stop: int
    points: np.ndarray
    bridged: float = 0.0

    @property
    def nodes(self) -> tuple[int, int]:
        return self.start, self.stop

    def reversed(self) -> "_Branch":
        return replace(self, start=self.stop, stop=self.start, points=self.points[::-1])


@dataclass
class _End:
    """A free end that a bridge may leave: its node, place and radius in mm, direction (None: any), opposite end."""

    node: int
    place: np.ndarray
    radius: float
    heading: np.ndarray | None
    twin: int


def _with_square_pixels(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Bring a mask to pixels as high as wide, the smaller of both; thinning knows no spacing."""
    side = min(spacing)
    rows, columns = (max(round(n * mm / side), 1) for n, mm in zip(mask.shape, spacing, strict=True))
    if (rows, columns) == mask.shape:
        return mask, spacing
    exact = (mask.shape[0] * spacing[0] / rows, mask.shape[1] * spacing[1] / columns)
    return cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR) > 0.5, exact


def _crop(mask: np.ndarray, spacing: tuple[float, float], margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask's bounding box with a margin, and the box's upper left corner in mm."""
    margin = int(margin_mm / min(spacing)) + 2
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
    return part, np.array([rows[0] - margin, columns[0] - margin]) * spacing


def _branches(skeleton: np.ndarray) -> list[_Branch]:
    """Take a skeleton apart at its crossings: pixels with more than two neighbours, touching ones together."""
    points = np.argwhere(skeleton)
    pairs = KDTree(points).query_pairs(1.5, output_type="ndarray")
    near: list[list[int]] = [[] for _ in points]
    for a, b in pairs.tolist():
        near[a].append(b)
        near[b].append(a)
    crossing = np.array([len(n) > 2 for n in near])
    touching = pairs[crossing[pairs].all(axis=1)]
    label = _components(touching, len(points))
    centre = {int(k): points[crossing & (label == k)].mean(axis=0) for k in np.unique(label[crossing])}
    beside = [any(crossing[k] for k in n) for n in near]
    order = sorted(np.flatnonzero(~crossing).tolist(), key=lambda i: (not beside[i], len(near[i])))
    branches, seen = [], set()
    for first in order:  # from crossings, then from free ends, then around rings
        if first in seen:
            continue
        chain = [first]
        seen.add(first)
        while following := [k for k in near[chain[-1]] if not crossing[k] and k not in seen]:
            chain.append(following[0])
            seen.add(following[0])
        course = points[chain].astype(float)
        heads = [int(label[k]) for k in near[first] if crossing[k]]
        tails = [int(label[k]) for k in near[chain[-1]] if crossing[k]]
        if len(chain) == 1:
            heads, tails = heads[:1], heads[1:]
        if not heads and len(chain) > 2 and first in near[chain[-1]]:
            branches.append(_Branch(-2 * first - 1, -2 * first - 1, np.vstack([course, course[:1]])))
            continue
        if heads and heads == tails and len(chain) < 4:
            continue  # a bump of a crossing
        start = heads[0] if heads else -2 * first - 1
        stop = tails[0] if tails else -2 * chain[-1] - 2
        ends = [[centre[k]] if k in centre else np.empty((0, 2)) for k in (start, stop)]
        branches.append(_Branch(start, stop, np.vstack([ends[0], course, ends[1]])))
    return branches


def _components(pairs: np.ndarray, number: int) -> np.ndarray:
    """Label `number` nodes by the connected component that the pairs (n, 2) put them in."""
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    return connected_components(coo_array((np.ones(len(pairs)), pairs.T), shape=(number, number)), directed=False)[1]


def _degrees(branches: list[_Branch]) -> Counter:
    return Counter(node for branch in branches for node in branch.nodes)


def _prune(branches: list[_Branch], radius: np.ndarray, spacing: tuple[float, float]) -> list[_Branch]:
    """Drop short branches with a free end, the shortest of each crossing first, and join what then goes straight on."""
    while True:
        branches = _join(branches)
        degree = _degrees(branches)
        shortest: dict[int, tuple[float, int]] = {}
        for k, branch in enumerate(branches):
            branch = branch if degree[branch.stop] == 1 else branch.reversed()
            if degree[branch.stop] > 1 or degree[branch.start] == 1:
                continue
            length = _length(branch.points * spacing)
            if length < max(SPUR_MM, 2 * _at(radius, branch.points[0])):
                shortest[branch.start] = min(shortest.get(branch.start, (np.inf, 0)), (length, k))
        if not shortest:
            return branches
        gone = {k for _, k in shortest.values()}
        branches = [branch for k, branch in enumerate(branches) if k not in gone]


def _join(branches: list[_Branch]) -> list[_Branch]:
    """Make one branch of two that meet at a node where no third does."""
    known = dict(enumerate(branches))
    at: dict[int, list[int]] = {}
    for k, branch in known.items():
        for node in branch.nodes:
            at.setdefault(node, []).append(k)
    for node in list(at):
        if len(at[node]) != 2 or at[node][0] == at[node][1]:
            continue
        one, other = at.pop(node)
        a, b = known.pop(one), known[other]
        a = a if a.stop == node else a.reversed()
        b = b if b.start == node else b.reversed()
        known[other] = _Branch(a.start, b.stop, np.vstack([a.points, b.points[1:]]), a.bridged + b.bridged)
        at[a.start] = [other if k == one else k for k in at[a.start]]
    return list(known.values())


def _bridge(branches: list[_Branch], radius: np.ndarray, spacing: tuple[float, float], gap_mm: float) -> list[_Branch]:
    """Join free ends that face each other over a gap, nearest first."""
    ends = _free_ends(branches, radius, spacing)
    if gap_mm == 0 or len(ends) < 2:
        return branches
    reach = gap_mm + 2 * max(end.radius for end in ends)
    pairs = KDTree([end.place for end in ends]).query_pairs(reach)
    gaps = sorted(
        (np.linalg.norm(ends[a].place - ends[b].place) - ends[a].radius - ends[b].radius, a, b) for a, b in pairs
    )
    by_node, used, bridges = {end.node: end for end in ends}, set(), []
    for gap, a, b in gaps:
        one, other = ends[a], ends[b]
        across = other.place - one.place
        width = np.linalg.norm(across)
        same_dot = one.heading is None and one.twin == other.node
        if gap > gap_mm or width == 0 or same_dot or {one.node, other.node} & used:
            continue
        across /= width
        if not (_faces(one.heading, across) and _faces(other.heading, -across)):
            continue
        used |= {one.node, other.node}
        for end, way in ((one, across), (other, -across)):
            if end.twin in by_node and by_node[end.twin].heading is None:
                by_node[end.twin].heading = -way
        steps = max(int(round(width / min(spacing))), 1) + 1
        points = np.linspace(one.place, other.place, steps) / spacing
        bridges.append(_Branch(one.node, other.node, points, max(gap, 0.0)))
    return _join(branches + bridges)


def _free_ends(branches: list[_Branch], radius: np.ndarray, spacing: tuple[float, float]) -> list[_End]:
    """List the free ends of all branches; a branch too short to have a direction has none at either end."""
    degree, ends = _degrees(branches), []
    for branch in branches:
        widest = 2 * max(_at(radius, point) for point in branch.points)
        for way in (branch, branch.reversed()):
            if degree[way.stop] == 1:
                points = way.points * spacing
                heading = _heading(points, HEADING_MM, widest)
                ends.append(_End(way.stop, points[-1], _at(radius, way.points[-1]), heading, way.start))
    return ends


def _faces(heading: np.ndarray | None, way: np.ndarray) -> bool:
    """Tell whether an end points along a way (unit vectors); one without a direction does."""
    return heading is None or float(heading @ way) >= np.cos(np.radians(GAP_DEGREES))


def _heading(points: np.ndarray, reach: float, least: float) -> np.ndarray | None:
    """Return the direction (unit vector) in which a line ends, from its last `reach` mm; None if it is too short."""
    away = np.linalg.norm(points - points[-1], axis=1)
    far = np.flatnonzero(away >= min(reach, away.max()))
    chord = points[-1] - points[far[-1]]
    length = np.linalg.norm(chord)
    return chord / length if length > least else None


def _courses(branches: list[_Branch]) -> Iterator[list[_Branch]]:
    """Group the branches that hang together."""
    if not branches:
        return
    nodes, index = np.unique([branch.nodes for branch in branches], return_inverse=True)
    label = _components(index, len(nodes))[index.reshape(-1, 2)[:, 0]]
    for k in range(label.max() + 1):
        yield [branch for branch, own in zip(branches, label, strict=True) if own == k]


def _lines(
    course: list[_Branch], mask: np.ndarray, radius: np.ndarray, spacing: tuple[float, float]
) -> list[np.ndarray]:
    """Return a course's smooth lines, (n, 2) in mm, its free ends prolonged to the mask's edge."""
    degree, lines = _degrees(course), []
    for branch in course:
        closed = branch.start == branch.stop
        line = _smooth((branch.points + 0.5) * spacing, SMOOTH_MM / min(spacing), closed)
        trim = float(np.median([_at(radius, point) for point in branch.points]))
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
    heading = _heading(line, HEADING_MM, 0)
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


def _at(image: np.ndarray, point: np.ndarray) -> float:
    """Return an image's value at the pixel nearest to a point (row, column)."""
    row, column = np.round(point).astype(int)
    return float(image[row, column])


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
