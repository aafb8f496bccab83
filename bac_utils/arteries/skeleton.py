"""The graph of a skeleton: branches between crossings and free ends, pruning of spurs, bridging of gaps.

Points are in pixels (row, column), lengths in mm. The constants are this kit's own choice.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

SPUR_MM = 2.0
"""A branch with a free end is a spur, caused by an uneven outline, if it is shorter than this or than twice the radius
of the artery at its crossing."""
GAP_MM = 3.0
"""Largest gap, between edges of the mask, that is bridged within one interrupted artery."""
GAP_DEGREES = 40.0
"""Largest angle between the direction of an end and the bridge that leaves it."""
HEADING_MM = 3.0
"""Length of line from which the direction of its end is taken."""


@dataclass(frozen=True)
class Branch:
    """An unbranched line between two nodes, which are free ends or crossings.

    Attributes:
        start: Node at the first point.
        stop: Node at the last point.
        points: (n, 2), row and column in pixels.
        bridged: Length of the gaps that it bridges, mm.
    """

    start: int
    stop: int
    points: np.ndarray
    bridged: float = 0.0

    @property
    def nodes(self) -> tuple[int, int]:
        """Both nodes."""
        return self.start, self.stop

    def reversed(self) -> "Branch":
        """Return the same branch in the opposite direction."""
        return replace(self, start=self.stop, stop=self.start, points=self.points[::-1])


@dataclass
class _End:
    """A free end from which a bridge may start.

    Attributes:
        node: Its node.
        place: Row and column in mm.
        radius: Radius of the artery there, mm.
        heading: Direction (unit vector); None if the branch is too short to have one, and any will do.
        twin: Node at the other end of its branch.
    """

    node: int
    place: np.ndarray
    radius: float
    heading: np.ndarray | None
    twin: int


def find_branches(skeleton: np.ndarray) -> list[Branch]:
    """Split a skeleton at its crossings; adjacent pixels with more than two neighbours form one crossing.

    Args:
        skeleton: bool (H, W).

    Returns:
        The branches.
    """
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
    for first in order:  # starting at crossings, then at free ends, then on rings
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
            branches.append(Branch(-2 * first - 1, -2 * first - 1, np.vstack([course, course[:1]])))
            continue
        if heads and heads == tails and len(chain) < 4:
            continue  # a loop of a few pixels at a crossing
        start = heads[0] if heads else -2 * first - 1
        stop = tails[0] if tails else -2 * chain[-1] - 2
        ends = [[centre[k]] if k in centre else np.empty((0, 2)) for k in (start, stop)]
        branches.append(Branch(start, stop, np.vstack([ends[0], course, ends[1]])))
    return branches


def _components(pairs: np.ndarray, number: int) -> np.ndarray:
    """Label each of `number` nodes by its connected component; `pairs` (n, 2) are the edges."""
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    return connected_components(coo_array((np.ones(len(pairs)), pairs.T), shape=(number, number)), directed=False)[1]


def degrees(branches: list[Branch]) -> Counter:
    """Count the branches that meet at each node; a free end has one."""
    return Counter(node for branch in branches for node in branch.nodes)


def prune(branches: list[Branch], radius: np.ndarray, spacing: tuple[float, float]) -> list[Branch]:
    """Remove spurs, the shortest at each crossing first, and join the two branches that then remain at a crossing.

    Args:
        branches: All branches of a skeleton.
        radius: Distance of each pixel of the mask to its edge, mm, (H, W).
        spacing: (row, column) in mm.

    Returns:
        The remaining branches.
    """
    while True:
        branches = _join(branches)
        degree = degrees(branches)
        shortest: dict[int, tuple[float, int]] = {}
        for k, branch in enumerate(branches):
            branch = branch if degree[branch.stop] == 1 else branch.reversed()
            if degree[branch.stop] > 1 or degree[branch.start] == 1:
                continue
            length = line_length(branch.points * spacing)
            if length < max(SPUR_MM, 2 * value_at(radius, branch.points[0])):
                shortest[branch.start] = min(shortest.get(branch.start, (np.inf, 0)), (length, k))
        if not shortest:
            return branches
        gone = {k for _, k in shortest.values()}
        branches = [branch for k, branch in enumerate(branches) if k not in gone]


def _join(branches: list[Branch]) -> list[Branch]:
    """Merge two branches that meet at a node without a third one."""
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
        known[other] = Branch(a.start, b.stop, np.vstack([a.points, b.points[1:]]), a.bridged + b.bridged)
        at[a.start] = [other if k == one else k for k in at[a.start]]
    return list(known.values())


def bridge(branches: list[Branch], radius: np.ndarray, spacing: tuple[float, float]) -> list[Branch]:
    """Join free ends that face each other across a gap of up to `GAP_MM`, nearest first.

    Args:
        branches: The branches.
        radius: Distance of each pixel of the mask to its edge, mm, (H, W).
        spacing: (row, column) in mm.

    Returns:
        The branches, those on both sides of a gap joined.
    """
    ends = _free_ends(branches, radius, spacing)
    if len(ends) < 2:
        return branches
    reach = GAP_MM + 2 * max(end.radius for end in ends)
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
        if gap > GAP_MM or width == 0 or same_dot or {one.node, other.node} & used:
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
        bridges.append(Branch(one.node, other.node, points, max(gap, 0.0)))
    return _join(branches + bridges)


def _free_ends(branches: list[Branch], radius: np.ndarray, spacing: tuple[float, float]) -> list[_End]:
    """List the free ends of all branches. The ends of a branch that is too short have no direction."""
    degree, ends = degrees(branches), []
    for branch in branches:
        widest = 2 * max(value_at(radius, point) for point in branch.points)
        for way in (branch, branch.reversed()):
            if degree[way.stop] == 1:
                points = way.points * spacing
                heading = heading_of(points, HEADING_MM, widest)
                ends.append(_End(way.stop, points[-1], value_at(radius, way.points[-1]), heading, way.start))
    return ends


def _faces(heading: np.ndarray | None, way: np.ndarray) -> bool:
    """Return whether an end points along `way` (both unit vectors); an end without a direction always does."""
    return heading is None or float(heading @ way) >= np.cos(np.radians(GAP_DEGREES))


def heading_of(points: np.ndarray, reach: float, least: float) -> np.ndarray | None:
    """Return the direction in which a line ends, a unit vector.

    Args:
        points: The line (n, 2), mm.
        reach: Distance from the end at which the direction is taken, mm.
        least: Length that the chord must exceed, mm.

    Returns:
        The direction; None if the line is too short.
    """
    away = np.linalg.norm(points - points[-1], axis=1)
    far = np.flatnonzero(away >= min(reach, away.max()))
    chord = points[-1] - points[far[-1]]
    length = np.linalg.norm(chord)
    return chord / length if length > least else None


def courses(branches: list[Branch]) -> Iterator[list[Branch]]:
    """Yield groups of connected branches: one group per artery."""
    if not branches:
        return
    nodes, index = np.unique([branch.nodes for branch in branches], return_inverse=True)
    label = _components(index, len(nodes))[index.reshape(-1, 2)[:, 0]]
    for k in range(label.max() + 1):
        yield [branch for branch, own in zip(branches, label, strict=True) if own == k]


def value_at(image: np.ndarray, point: np.ndarray) -> float:
    """Return the value of an image at the pixel nearest to a point (row, column)."""
    row, column = np.round(point).astype(int)
    return float(image[row, column])


def line_length(line: np.ndarray) -> float:
    """Return the length of a line (n, 2), in its own unit."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
