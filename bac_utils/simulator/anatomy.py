"""The simulated breast as curves in millimetres: its outline in each view, its arteries and their calcified segments.

Nothing here depends on pixels, so a breast is the same at every pixel spacing. Breast coordinates are (u, v, w):
u from the chest wall (0) to the nipple (1), v from medial (-1) to lateral (1), w from inferior (-1) to superior (1).
View coordinates are (x, y) in mm: x away from the chest wall, y downwards from the upper edge of the field.

Published values are given with their source. For values marked "assumption" no source was found (calibre of the
arteries in the breast, depth and width of the breast, pectoral angle, number of vessels per breast); they are choices
of this kit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

PATH_STEP_MM = 0.25
"""Arc length in mm between two points of a vessel's centre line."""
SHORTEST_VISIBLE_MM = 8.0
"""Assumption: shortest total length of calcified artery, in mm, at which a reader classifies a view as BAC+."""
FAINTEST_VISIBLE = 0.36
"""Assumption: lowest strength of calcification (0 to 1) that a reader sees through fatty tissue."""


@dataclass(frozen=True)
class Outline:
    """Outline of a compressed breast in one view, in mm.

    Attributes:
        view: `CC` or `MLO`.
        height_mm: Height of the detector field.
        width_mm: Width of the detector field; the chest wall is at x = 0.
        depth_mm: Distance from the chest wall to the nipple.
        nipple_y: y of the nipple.
        y: (n,) positions at which the edge is given.
        edge: (n,) distance of the skin from the chest wall at `y`; 0 beyond the breast.
        muscle: (x at the upper edge, y at the chest wall) of the pectoral muscle; (0, 0) in CC views.
        muscle_bow: Bulge of the muscle's edge as a fraction of its width.
        thickness_mm: Compressed thickness.
        tilt: Weight of v in the vertical axis of an MLO view.
    """

    view: str
    height_mm: float
    width_mm: float
    depth_mm: float
    nipple_y: float
    y: np.ndarray
    edge: np.ndarray
    muscle: tuple[float, float]
    muscle_bow: float
    thickness_mm: float
    tilt: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project breast coordinates, (n, 3), onto this view: (n, 2) array of x and y in mm."""
        u, v, w = np.clip(points, -1, 1).T
        x = np.clip(u, 0, 1) * 0.97 * self.depth_mm
        levels = np.linspace(0, 0.97 * self.depth_mm, 49)
        centre = np.searchsorted(self.y, self.nipple_y)
        inside = self.edge[None, :] > levels[:, None] + 0.5
        inside[:, min(centre, len(self.y) - 1)] = True
        outside = ~inside
        above = np.where(outside[:, :centre].any(1), centre - outside[:, :centre][:, ::-1].argmax(1), 0)
        below = centre + np.where(outside[:, centre:].any(1), outside[:, centre:].argmax(1), outside.shape[1] - centre)
        top = np.interp(x, levels, self.y[np.clip(above, 0, len(self.y) - 1)])
        if self.view == "MLO":  # a line from the axilla to the nipple keeps the vessels out of the axilla
            top = np.maximum(top, self.nipple_y * (0.12 + 0.83 * np.clip(u, 0, 1)))
        below = np.minimum(below, centre + self.edge[centre:].argmin() + 1)  # not in the abdomen below the fold
        bottom = np.interp(x, levels, self.y[np.clip(below - 1, 0, len(self.y) - 1)])
        # CC: the lateral side is at the top. MLO: superior at the top, lateral above medial.
        height = v if self.view == "CC" else np.clip(np.sqrt(1 - self.tilt**2) * w + self.tilt * v, -1, 1)
        return np.column_stack([x, top + (bottom - top) * (0.5 - 0.46 * height)])

    def in_field(self, points: np.ndarray) -> np.ndarray:
        """Return which breast coordinates, (n, 3), this view shows: (n,) bool.

        The CC view misses tissue at the chest wall and the axillary tail, the MLO view the posterior medial part. These
        are the known blind areas of the two projections; their limits are assumptions.
        """
        u, v, w = points.T
        if self.view == "CC":
            return (u > 0.08) & ~((w > 0.55) & (u < 0.30))
        return (u > 0.03) & ~((v < -0.55) & (u < 0.25))


def _cc_profile(rng: np.random.Generator, t: np.ndarray, power: float, root: float, skew: float) -> np.ndarray:
    """Return the distance of the skin from the chest wall at t, as a fraction of the depth of a breast in the CC view.

    Each half is drawn on its own, from almost conical to flattened under the paddle; the lateral one (t < 0) tends to
    be fuller. The exponents are assumptions.

    Args:
        rng: Source of randomness.
        t: (n,) position along the chest wall: -1 at the lateral end, 1 at the medial one.
        power: Exponent that flattens the front.
        root: Exponent of the whole: 1 for a cone or parabola, 2 for an ellipse.
        skew: Widening of the lateral half.
    """
    size = rng.uniform(0.88, 1.04) if root > 1.4 else rng.uniform(0.98, 1.15)
    edge = np.zeros(len(t))
    for side, width in ((t < 0, 1 + skew), (t >= 0, 1 - skew)):
        own = root + rng.normal(0, 0.08)
        far = np.clip(np.abs(t[side]) / (size * width), 0, 1)
        edge[side] = (1 - far ** (power + rng.normal(0, 0.12))) ** (1 / max(own, 0.95))
        edge[side] += rng.uniform(0, 0.05) * np.sin(np.pi * far) * rng.choice([-1, 1])
    return np.clip(edge, 0, 1)


def draw_outline(rng: np.random.Generator, view: str, depth_mm: float, spread: float, thickness_mm: float) -> Outline:
    """Draw a random outline for one view.

    Args:
        rng: Source of randomness.
        view: `CC` or `MLO`.
        depth_mm: Distance from the chest wall to the nipple.
        spread: Half the height of the breast at the chest wall, divided by its depth.
        thickness_mm: Compressed thickness in the CC view. In the MLO view it is 48/44 of that, the ratio of the means
            in a study of 250 pairs (Breast thickness in routine mammograms).

    Returns:
        The outline.
    """
    half = depth_mm * spread
    large = 2 * half > 205 or depth_mm > 160
    height, width = (300.0, 240.0) if large else (240.0, 180.0)  # the two common detector fields
    y = np.arange(0, height + 0.5, 0.5)
    shape = rng.spawn(1)[0]  # its own stream: other shapes leave the rest of the breast as it is
    if view == "CC":
        depth = min(depth_mm, width - 12)
        middle = height / 2 + rng.normal(0, 8)
        power, root = rng.uniform(1.6, 2.3), rng.uniform(1.0, 1.75)
        edge = depth * _cc_profile(shape, (y - middle) / half, power, root, rng.normal(0.04, 0.06))
        nipple, muscle, thickness = middle + rng.normal(0, 0.05) * half, (0.0, 0.0), thickness_mm
    else:
        depth = min(depth_mm * rng.uniform(0.98, 1.12), width - 12)
        nipple = height * rng.uniform(0.52, 0.66)
        fold = min(nipple + half * rng.uniform(0.75, 0.95), height - rng.uniform(4, 12))
        top = depth * rng.uniform(0.45, 0.75)
        waist = depth * rng.uniform(0.60, 0.82)
        heights = [0, 0.45 * nipple, nipple - 0.32 * half, nipple, nipple + 0.35 * half, fold]
        straight = top + (0.93 * depth - top) * 0.45 * nipple / (nipple - 0.32 * half)  # from the axilla to the nipple
        waist += shape.uniform(0.3, 1.1) * max(straight - waist, 0)
        above, under = shape.uniform(0.88, 0.955), shape.uniform(0.80, 0.94)
        edges = [top, waist, above * depth, depth, under * depth, depth * rng.uniform(0.05, 0.3)]
        heights = np.maximum.accumulate(np.array(heights) + np.arange(6) * 1e-3)
        edge = np.clip(PchipInterpolator(heights, edges, extrapolate=True)(y), 0, depth)
        below = y > fold
        edge[below] = np.maximum(edges[-1] - (y[below] - fold) * rng.uniform(0.0, 2.5), 0)
        if shape.random() < 0.4:  # the fold is shown: below it the abdomen comes forward
            rise = 1 - np.exp(-(((y[below] - fold) / shape.uniform(15, 40)) ** 1.5))
            edge[below] = edges[-1] + depth * shape.uniform(0.05, 0.35) * rise
        muscle = (top * rng.uniform(0.45, 0.95), nipple * rng.uniform(0.55, 1.05))
        thickness = thickness_mm * 48 / 44
    edge = gaussian_filter1d(edge, 4, mode="nearest")
    bump = rng.uniform(1.0, 5.0) * np.exp(-0.5 * ((y - nipple) / rng.uniform(2.5, 4.5)) ** 2)  # the nipple
    if shape.random() < 0.3:
        bump *= 0.15  # not in profile
    return Outline(
        view,
        height,
        width,
        depth,
        float(nipple),
        y,
        np.where(edge > 1, edge + bump, 0),
        muscle,
        rng.uniform(-0.05, 0.15),
        thickness,
        rng.uniform(0.35, 0.6),
    )


@dataclass(frozen=True)
class Vessel:
    """A vessel of one breast.

    Attributes:
        path: (n, 3) centre line in breast coordinates, one point per `PATH_STEP_MM` of nominal arc length.
        radius_mm: (n,) outer radius in mm.
        segments: Disjoint calcified segments: (first point, last point + 1, strength from 0 to 1).
    """

    path: np.ndarray
    radius_mm: np.ndarray
    segments: tuple[tuple[int, int, float], ...] = ()

    @property
    def length_mm(self) -> float:
        """Nominal arc length in mm."""
        return len(self.path) * PATH_STEP_MM


def draw_vessel(rng: np.random.Generator, depth_mm: float, half_mm: float, winding: float) -> Vessel:
    """Draw a random tortuous vessel that runs from the periphery towards the nipple.

    Arteries of the breast arise from the lateral thoracic (upper outer), the internal thoracic (medial) and the
    anterior intercostal arteries (studybuff.com, a weak source). The calibre is an assumption: 1.4 to 2.6 mm at the
    origin, tapering to 45 to 80 % of it.

    Args:
        rng: Source of randomness.
        depth_mm: Distance from the chest wall to the nipple.
        half_mm: Half the height of the breast.
        winding: Amplitude of the meanders in mm.

    Returns:
        The vessel without calcified segments.
    """
    origin = rng.choice(3, p=[0.5, 0.35, 0.15])  # lateral thoracic, internal thoracic, intercostal
    start = [
        (rng.uniform(0.02, 0.35), rng.uniform(0.2, 0.9), rng.uniform(0.0, 0.85)),
        (rng.uniform(0.02, 0.35), rng.uniform(-0.9, -0.3), rng.uniform(-0.5, 0.7)),
        (rng.uniform(0.02, 0.3), rng.uniform(-0.5, 0.5), rng.uniform(-0.8, 0.5)),
    ][origin]
    end = (rng.uniform(0.55, 0.93), rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45))
    scale = np.array([depth_mm, half_mm, half_mm])
    a, b = np.array(start) * scale, np.array(end) * scale
    length = np.linalg.norm(b - a) * 1.1
    n = max(int(length / PATH_STEP_MM), 40)
    t = np.linspace(0, 1, n)[:, None]
    bend = rng.normal(0, 0.16, 3) * length * np.array([0.4, 1, 1])
    path = a + (b - a) * t + 4 * t * (1 - t) * bend
    for wavelength, share in ((30.0, 1.0), (12.0, 0.45), (5.0, 0.12)):  # mm
        noise = gaussian_filter1d(rng.standard_normal((n, 3)), wavelength / 4 / PATH_STEP_MM, axis=0)
        path = path + noise / (noise.std(0) + 1e-9) * winding * share
    step = np.linalg.norm(np.diff(path, axis=0), axis=1)
    arc = np.concatenate([[0], np.cumsum(step)])
    even = np.arange(0, arc[-1], PATH_STEP_MM)
    path = np.column_stack([np.interp(even, arc, path[:, k]) for k in range(3)]) / scale
    radius = 0.5 * rng.uniform(1.4, 2.6) * np.linspace(1, rng.uniform(0.45, 0.8), len(path))
    keep = np.abs(path).max(1) < 0.98
    return Vessel(path[keep], radius[keep])


def calcify(rng: np.random.Generator, vessels: list[Vessel], length_mm: float, strength: float) -> list[Vessel]:
    """Calcify arteries over a total length in interrupted segments, one vessel after the other.

    Args:
        rng: Source of randomness.
        vessels: Arteries of one breast.
        length_mm: Target length of calcified artery in this breast; the result is shorter if the arteries are.
        strength: Mean strength, from 0 (a few faint points) to 1 (dense).

    Returns:
        The same vessels, some of them with calcified segments.
    """
    left, out = length_mm, []
    for vessel in vessels:
        segments, cursor = [], int(rng.uniform(0, 0.35) * len(vessel.path))
        while left > 1 and cursor < len(vessel.path) - 12:
            piece = min(left, rng.lognormal(np.log(22), 0.6), (len(vessel.path) - cursor) * PATH_STEP_MM)
            if piece < min(4.0, left):
                break
            stop = cursor + int(piece / PATH_STEP_MM)
            local = float(np.clip(strength * rng.lognormal(0, 0.25), 0.03, 1))
            segments.append((cursor, stop, local))
            left -= piece
            cursor = stop + int(rng.exponential(5.0) / PATH_STEP_MM) + 4
        out.append(Vessel(vessel.path, vessel.radius_mm, tuple(segments)))
    return out


@dataclass(frozen=True)
class VisibleSegment:
    """A calcified segment of an artery as one view shows it.

    Attributes:
        vessel: Index of the vessel.
        start: First point on the vessel's path.
        stop: Last point + 1.
        strength: Strength of calcification, 0 to 1.
        line: (n, 2) centre line in view coordinates, mm.
    """

    vessel: int
    start: int
    stop: int
    strength: float
    line: np.ndarray

    @property
    def length_mm(self) -> float:
        """Length of the projected centre line in mm."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())


def visible_segments(
    vessels: list[Vessel], outline: Outline, density: float, visibility: float
) -> list[VisibleSegment]:
    """List the calcified segments that a reader sees in one view.

    Segments outside the field or hidden by dense tissue are left out of both the image and the ground truth, so that
    label, length and image agree.

    Args:
        vessels: Arteries of the breast.
        outline: Outline of the breast in the view.
        density: Glandular fraction, 0 to 1; dense tissue hides faint calcifications (paper, Fig. 5c).
        visibility: Factor on the strength in this view (positioning, exposure); about 1.

    Returns:
        The segments; an empty list if their total length is below `SHORTEST_VISIBLE_MM`.
    """
    seen = []
    needed = FAINTEST_VISIBLE * (1 + density)
    for number, vessel in enumerate(vessels):
        shown = outline.in_field(vessel.path) if vessel.segments else None
        line = outline.project(vessel.path) if vessel.segments else None
        for start, stop, strength in vessel.segments:
            if strength * visibility < needed:
                continue
            runs = np.flatnonzero(np.diff(np.concatenate([[0], shown[start:stop].astype(int), [0]])))
            for a, b in runs.reshape(-1, 2) + start:
                if b - a > 8:
                    seen.append(VisibleSegment(number, a, b, min(strength * visibility, 1.0), line[a:b]))
    return seen if sum(s.length_mm for s in seen) >= SHORTEST_VISIBLE_MM else []
