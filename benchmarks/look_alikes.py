"""Look-alikes of calcified arteries, and calcified arteries, drawn into mammograms for the benchmarks.

The code below and `real_films.insert_walls` share nothing with the drawing code of the simulator and of the pretraining
(apart from the course of `insert_walls`). Kinds of look-alikes:

- coarse: coarse calcium in chains and heaps (eggshells, popcorn, fat necrosis), or two round ones that touch
- vessels: vessels without calcium: winding, branching, with a knot at a turn, or two veins side by side
- threads: knots where ligaments cross, and fans of threads from one point or from the nipple
- edges: a skin fold with powder, a thick skin line, or a stair-like edge of the breast
- fine: rows of clusters of microcalcifications, secretory rods, clips, or dense ridges of gland

Sizes, shares and brightness were set by eye, beside real views; no detector was run while they were set.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from real_films import insert_walls
from scipy.ndimage import gaussian_filter1d, map_coordinates

LENGTHS_MM, STRENGTHS = (20, 60), (0.4, 0.9)
"""Ranges of the arteries. Fainter ones are hardly visible on digital views, and then the threshold that finds 95 % of
the arteries says nothing."""
FINE_MM, COARSE_MM, STEP_MM = 0.05, 0.5, 0.2
"""Pixel size on which shapes are drawn, pixel size of the map of distances, and step along a line, all in mm."""
FINE_STRUCTURE = 0.08
"""Usual standard deviation of structure of 0.5 to 3 mm, as a share of the breast's range of grey levels: 0.07 to 0.11
on four digital and four simulated views, 0.025 to 0.04 on the films."""
DISPLAY_BLUR_MM = 0.1
"""Standard deviation of the blur of everything drawn, as in `real_films.insert_walls`."""


class Sheet:
    """A layer of brightness over a view, on which shapes are drawn in mm before it is added to the view.

    Points are (x, y) in mm from the corner of the view; values are in [0, 1].
    """

    def __init__(self, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> None:
        """Prepare an empty layer for a breast mask, bool (rows, columns)."""
        self.breast, self.spacing_mm, self.rng = breast, spacing_mm, rng
        self._fine = max(round(spacing_mm / FINE_MM), 1)
        self._per_mm = self._fine / spacing_mm
        self._ink = np.zeros([n * self._fine for n in breast.shape], np.uint8)
        step = max(round(COARSE_MM / spacing_mm), 1)
        self._coarse_mm = step * spacing_mm
        small = np.pad(breast[::step, ::step].astype(np.uint8), 1)
        self._room = cv2.distanceTransform(small, cv2.DIST_L2, 5)[1:-1, 1:-1] * self._coarse_mm
        columns = np.flatnonzero(breast.any(axis=0))
        heights = breast[:, columns[0] : columns[-1] + 1].sum(axis=0)
        tenth = max(len(heights) // 10, 1)
        self.inward = 1.0 if heights[-tenth:].sum() > heights[:tenth].sum() else -1.0
        """Direction from the nipple to the chest wall along x, 1 or -1."""
        tip = columns[0] if self.inward > 0 else columns[-1]
        self.nipple = np.array([tip, np.flatnonzero(breast[:, tip]).mean()]) * spacing_mm
        self._wall = (columns[-1] if self.inward > 0 else columns[0]) * spacing_mm

    def room(self, points: np.ndarray) -> np.ndarray:
        """Return the distance from the edge of the breast in mm, 0 outside, for points (n, 2)."""
        return map_coordinates(self._room, points[:, ::-1].T / self._coarse_mm, order=1, mode="constant")

    def spot(self, margin_mm: float = 8.0) -> np.ndarray:
        """Return a random point that is at least `margin_mm` inside the breast, if there is any."""
        found = np.argwhere(self._room >= min(margin_mm, 0.9 * self._room.max()))
        return found[self.rng.integers(len(found)), ::-1] * self._coarse_mm

    def course(
        self, length_mm: float, bend: float, start: np.ndarray | None = None, heading: float | None = None
    ) -> np.ndarray:
        """Return a winding line (n, 2); it ends early where it would come within 4 mm of the edge of the breast.

        Args:
            length_mm: Its length.
            bend: Standard deviation of its direction, radians.
            start: Its first point; the longest of several random courses by default.
            heading: Its first direction, radians; random by default.
        """
        count, best = int(length_mm / STEP_MM) + 2, np.zeros((0, 2))
        for _ in range(40):
            first = self.spot() if start is None else start
            angle = self.rng.uniform(0, 2 * np.pi) if heading is None else heading
            turn = gaussian_filter1d(self.rng.standard_normal(count), self.rng.uniform(3, 10) / STEP_MM)
            angle = angle + bend * (turn - turn[0]) / max(turn.std(), 1e-6)
            line = first + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), axis=0) * STEP_MM
            inside = self.room(line) > 4
            line = line if inside.all() else line[: max(int(inside.argmin()), 2)]
            best = max(best, line, key=len)
            if len(best) == count:
                break
        return best

    def skin(self, length_mm: float) -> np.ndarray:
        """Return a piece of the skin's outline (n, 2), away from the chest wall and the edges of the image."""
        step = round(self._coarse_mm / self.spacing_mm)
        outlines, _ = cv2.findContours(self.breast[::step, ::step].astype(np.uint8), 0, cv2.CHAIN_APPROX_NONE)
        outline = max(outlines, key=len)[:, 0].astype(float)
        ends = np.array(self._room.shape[::-1]) - 1
        free = ((outline > 2) & (outline < ends - 2)).all(axis=1)
        free &= np.abs(outline[:, 0] * self._coarse_mm - self._wall) > 8
        shift = int(np.argmin(free))
        line, free = np.roll(outline, -shift, axis=0) * self._coarse_mm, np.roll(free, -shift)
        runs = np.split(np.arange(len(line)), np.flatnonzero(np.diff(free)) + 1)
        run = max((run for run in runs if free[run[0]]), key=len, default=np.arange(len(line)))
        line = gaussian_filter1d(line[run], min(6, len(run) / 4), axis=0, mode="nearest")
        count = min(int(length_mm / self._coarse_mm) + 2, len(line))
        first = int(self.rng.integers(len(line) - count + 1))
        return line[first : first + count]

    def stroke(self, line: np.ndarray, width_mm: float, value: float, add: bool = False) -> None:
        """Draw a line; values are combined by their maximum, or with `add` by their sum."""
        points, thick = line * self._per_mm, max(round(width_mm * self._per_mm), 1)
        self._draw(points, thick, lambda part, at: cv2.polylines(
            part, [at], False, round(255 * value), thick, cv2.LINE_AA, shift=4), add)  # fmt: skip

    def dot(self, point: np.ndarray, size_mm: float, value: float) -> None:
        """Draw a slightly elongated grain."""
        long = self.rng.uniform(0, 0.6) * size_mm * unit(self.rng.uniform(0, np.pi))
        self.stroke(np.stack([point - long / 2, point + long / 2]), size_mm, value)

    def area(self, outline: np.ndarray, value: float) -> None:
        """Fill a polygon."""
        self._draw(outline * self._per_mm, 1, lambda part, at: cv2.fillPoly(
            part, [at], round(255 * value), cv2.LINE_AA, shift=4), False)  # fmt: skip

    def tube(self, line: np.ndarray, width_mm: float, value: float, flat: float = 0.3, fade: bool = False) -> None:
        """Draw a tube with the profile of a cylinder and, by the share `flat`, of a flat band with sharp edges.

        With `fade` it varies in brightness, fades at both ends, narrows, and adds to what is drawn already.
        """
        before = self._ink
        if fade:
            self._ink = np.zeros_like(before)
        ends = np.linspace(0, len(line), 25 if fade else 2).astype(int)
        vary = gaussian_filter1d(self.rng.normal(1, 0.3, len(ends)), 2, mode="nearest") if fade else np.ones(2)
        for place, (first, last) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
            part, here = line[max(first - 2, 0) : last + 2], place / len(ends) if fade else 0.5
            bright = value * vary[place] * min(1, (0.1 + here) / 0.3, (1.05 - here) / 0.3)
            for share in (1, 0.95, 0.88, 0.78, 0.65, 0.5, 0.3):
                profile = flat + (1 - flat) * math.sqrt(1 - (0.99 * share) ** 2)
                self.stroke(part, share * width_mm * (1.15 - 0.3 * here), min(bright * profile, 1))
        if fade:
            self._ink = cv2.add(self._ink, before)

    def added(self, pixels: np.ndarray, share: float, grain: float = 0.0, soft: bool = False) -> np.ndarray:
        """Return the view with the layer, blurred, inside the breast and not brighter than its maximum.

        Args:
            pixels: (rows, columns).
            share: Brightness of value 1, as a share of the breast's range from the 1st to the 99th percentile, as in
                `real_films.insert_walls`.
            grain: Relative standard deviation of an uneven brightness.
            soft: Whether soft tissue was drawn, whose brightness follows the fine structure of the view: `share` then
                applies to a view whose fine structure is `FINE_STRUCTURE` of that range, and the brightness is
                proportional to it.
        """
        shape = pixels.shape[::-1]
        layer = cv2.resize(self._ink, shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        layer = cv2.GaussianBlur(layer, (0, 0), DISPLAY_BLUR_MM / self.spacing_mm)
        if grain:
            noise = self.rng.standard_normal([max(int(n * self.spacing_mm / 0.4), 2) for n in pixels.shape])
            layer *= np.maximum(1 + grain * cv2.resize(noise.astype(np.float32), shape), 0)
        values = pixels[self.breast]
        low, high = np.percentile(values, [1, 99])
        scale = min(self._structure(pixels) / FINE_STRUCTURE, high - low) if soft else high - low
        drawn = np.minimum(pixels + layer * np.float32(share * scale), values.max())
        return np.where(self.breast, drawn, pixels).astype(np.float32)

    def _structure(self, pixels: np.ndarray) -> float:
        """Return the standard deviation of structure of 0.5 to 3 mm inside the breast, in grey levels."""
        small = cv2.resize(pixels, self._room.shape[::-1], interpolation=cv2.INTER_AREA)
        small = small - cv2.GaussianBlur(small, (0, 0), 3 / self._coarse_mm)
        low, high = np.percentile(small[self._room > min(6, 0.5 * self._room.max())], [16, 84])
        return float(high - low) / 2

    def _draw(self, points: np.ndarray, margin: int, draw: Callable, add: bool) -> None:
        """Draw on the part of the layer around the points (pixels of the layer) and combine it with the layer."""
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin - 2, 0)
        high = np.ceil(points.max(axis=0)).astype(int) + margin + 3
        part = self._ink[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        if part.size:
            new = np.zeros_like(part)
            draw(new, np.round((points - low) * 16).astype(np.int32))
            part[:] = cv2.add(part, new) if add else np.maximum(part, new)


def unit(angle: float) -> np.ndarray:
    """Return the unit vector (x, y) of a direction."""
    return np.array([math.cos(angle), math.sin(angle)])


def normals(line: np.ndarray) -> np.ndarray:
    """Return unit vectors across a line, (n, 2)."""
    along = np.gradient(line, axis=0)
    return along[:, ::-1] * (1, -1) / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)


def loop(rng: np.random.Generator, centre: np.ndarray, radius_mm: float, rough: float) -> np.ndarray:
    """Return a closed outline (n, 2) around a point: an ellipse with relative deviations `rough`."""
    angle = np.linspace(0, 2 * np.pi, 121)
    noise = gaussian_filter1d(rng.standard_normal(120), 7, mode="wrap")
    radius = radius_mm * (1 + rough * np.append(noise, noise[0]) / max(noise.std(), 1e-9))
    flat, turn = rng.uniform(0.7, 1), rng.uniform(0, np.pi)
    turned = np.column_stack([np.cos(angle), flat * np.sin(angle)]) @ np.array([unit(turn), unit(turn + np.pi / 2)])
    return centre + radius[:, None] * turned


def _lesion(sheet: Sheet, centre: np.ndarray, radius_mm: float, form: str) -> None:
    """Draw one coarse calcification: `shell`, `popcorn`, `necrosis` or `ball`."""
    rng = sheet.rng
    if form == "shell":
        outline = loop(rng, centre, radius_mm, 0.02)
        sheet.area(outline, rng.uniform(0.1, 0.35))
        for piece in np.array_split(outline, 6):
            sheet.stroke(piece, rng.uniform(0.25, 0.8), rng.uniform(0.6, 1))
    elif form == "popcorn":
        for _ in range(int(rng.integers(6, 16))):
            point = centre + 0.6 * radius_mm * rng.uniform(0, 1) * unit(rng.uniform(0, 2 * np.pi))
            sheet.area(loop(rng, point, radius_mm * rng.uniform(0.2, 0.5), 0.12), rng.uniform(0.5, 1))
    elif form == "necrosis":
        outline = loop(rng, centre, radius_mm, 0.12)
        sheet.area(outline, rng.uniform(0.02, 0.12))
        for piece in np.array_split(outline, 14):
            if rng.random() < 0.75:
                sheet.stroke(piece, rng.uniform(0.25, 1.2), rng.uniform(0.4, 1))
    else:
        for share in (1, 0.9, 0.75, 0.55, 0.3):
            sheet.area(loop(rng, centre, share * radius_mm, 0.01), 0.3 + 0.7 * math.sqrt(1 - (0.98 * share) ** 2))


def coarse_calcium(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Draw coarse calcium of 1.5 to 20 mm: a chain, a heap, or two round ones that touch."""
    sheet, layout = Sheet(breast, spacing_mm, rng), rng.choice(["chain", "heap", "pair"])
    forms = ["shell", "popcorn", "necrosis", "ball"]
    if layout == "pair":
        form, radii, first = rng.choice(["ball", "shell"]), rng.uniform(1.2, 4, 2), sheet.spot(10)
        for centre, radius in zip((first, first + radii.sum() * unit(rng.uniform(0, 6.3))), radii, strict=True):
            _lesion(sheet, centre, radius, form)
    elif layout == "chain":
        line, at, form = sheet.course(rng.uniform(20, 55), 0.3), 0.0, rng.choice(forms)
        while at < len(line):
            radius = rng.uniform(0.7, 2.5)
            _lesion(
                sheet, line[int(at)] + rng.normal(0, 0.5, 2), radius, form if rng.random() < 0.6 else rng.choice(forms)
            )
            at += (2 * radius + rng.uniform(0, 3)) / STEP_MM
    else:
        first, largest = sheet.spot(12), rng.choice([2.0, 4.0, 10.0])
        for _ in range(int(rng.integers(2, 7))):
            radius = rng.uniform(0.6, largest)
            _lesion(sheet, first + rng.normal(0, largest, 2), radius, rng.choice(forms[:3] if radius > 3 else forms))
    return sheet.added(pixels, rng.uniform(0.15, 0.7), 0.2)


def bare_vessels(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Draw vessels without calcium, 1 to 3.5 mm wide: winding, branching, with knots, or two side by side."""
    sheet, layout = Sheet(breast, spacing_mm, rng), rng.choice(["winding", "branching", "knots", "pair"])
    width, flat = rng.uniform(1, 3.5), rng.uniform(0.1, 0.7)
    line = sheet.course(rng.uniform(30, 90), rng.uniform(0.6, 1.1) if layout == "winding" else rng.uniform(0.2, 0.6))
    if layout == "pair":
        width, apart = min(width, 2.2), gaussian_filter1d(rng.standard_normal(len(line)), 60, mode="nearest")
        apart = width * (rng.uniform(1.1, 2) + 0.15 * apart / max(apart.std(), 1e-9))
        for side, narrow in ((-0.5, 1), (0.5, rng.uniform(0.7, 1))):
            sheet.tube(line + side * normals(line) * apart[:, None], width * narrow, 0.75 * narrow, flat, fade=True)
    else:
        sheet.tube(line, width, 0.75, flat, fade=True)
    if layout == "branching":
        for at in rng.integers(len(line) // 5, max(len(line) * 4 // 5, len(line) // 5 + 1), int(rng.integers(1, 4))):
            way = line[min(at + 1, len(line) - 1)] - line[at - 1]
            angle = math.atan2(way[1], way[0]) + rng.choice([-1, 1]) * rng.uniform(0.4, 0.9)
            branch = sheet.course(rng.uniform(10, 40), 0.4, line[at], angle)
            sheet.tube(branch, width * rng.uniform(0.5, 0.8), 0.7, flat, fade=True)
    if layout == "knots":
        for at in rng.integers(len(line), size=int(rng.integers(1, 4))):
            for share in (1, 0.9, 0.75, 0.5):
                value = 0.35 + 0.65 * math.sqrt(1 - (0.98 * share) ** 2)
                sheet.area(loop(rng, line[at], share * width * rng.uniform(0.5, 0.6), 0.02), value)
                sheet.stroke(line[at : at + 2], share * width, value)
    return sheet.added(pixels, rng.uniform(0.1, 0.45), 0.12, soft=True)


def threads(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Draw threads of 0.2 to 1 mm: ligaments that cross in knots, or a fan from one point or from the nipple."""
    sheet, layout = Sheet(breast, spacing_mm, rng), rng.choice(["knots", "fan", "nipple"])
    if layout == "knots":
        knots = sheet.course(rng.uniform(15, 50), 0.4)[:: int(rng.uniform(4, 9) / STEP_MM)]
        for knot in knots:
            for _ in range(int(rng.integers(2, 5))):
                angle = rng.uniform(0, 2 * np.pi)
                for way in (angle, angle + np.pi + rng.normal(0, 0.3)):
                    line = sheet.course(rng.uniform(4, 18), 0.25, knot + rng.normal(0, 0.2, 2), way)
                    _taper(sheet, line, rng.uniform(0.3, 1), rng.uniform(0.3, 0.6))
    else:
        centre = sheet.spot(12)
        angle, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
        if layout == "nipple":
            centre = sheet.nipple + (sheet.inward * rng.uniform(5, 9), 0)
            angle, spread = (0 if sheet.inward > 0 else np.pi), rng.uniform(0.3, 0.6)
        for _ in range(int(rng.integers(7, 20))):
            line = sheet.course(rng.uniform(12, 55), 0.2, centre + rng.normal(0, 1.5, 2), angle + rng.normal(0, spread))
            _taper(sheet, line, rng.uniform(0.4, 1.2), rng.uniform(0.25, 0.5))
    return sheet.added(pixels, rng.uniform(0.15, 0.5), 0.12, soft=True)


def _taper(sheet: Sheet, line: np.ndarray, width_mm: float, value: float) -> None:
    """Draw a thread that becomes narrower and fainter."""
    for share, piece in zip((1, 0.75, 0.5, 0.3), np.array_split(np.arange(len(line)), 4), strict=True):
        if len(piece):
            sheet.stroke(
                line[piece[0] : piece[-1] + 2], max(share * width_mm, 0.15), value * (0.4 + 0.6 * share), add=True
            )


def edges(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a skin fold with powder, a thick skin line with pores, or cut the edge of the breast into stairs."""
    layout = rng.choice(["fold", "skin", "stairs"])
    if layout == "stairs":
        block = max(round(rng.uniform(0.8, 2.5) / spacing_mm), 2)
        shape = [-(-n // block) for n in breast.shape]
        padded = np.pad(
            breast.astype(np.float32), [(0, m * block - n) for n, m in zip(breast.shape, shape, strict=True)]
        )
        whole = padded.reshape(shape[0], block, shape[1], block).mean(axis=(1, 3)) > 0.95
        stairs = whole.repeat(block, 0).repeat(block, 1)[: breast.shape[0], : breast.shape[1]]
        return np.where(breast & ~stairs, pixels[breast].min(), pixels).astype(np.float32)
    sheet = Sheet(breast, spacing_mm, rng)
    line = sheet.skin(rng.uniform(25, 80))
    across = normals(line)
    if (sheet.room(line + 2 * across) < sheet.room(line - 2 * across)).mean() > 0.5:
        across = -across
    if layout == "skin":
        width = rng.uniform(1, 2.5)
        sheet.tube(line + across * width * 0.6, width, 0.7, 0.6, fade=True)
        for _ in range(int(rng.integers(0, 40))):
            at = rng.integers(len(line))
            sheet.dot(line[at] + across[at] * rng.uniform(0.3, 3), rng.uniform(0.15, 0.4), rng.uniform(0.5, 1))
        return sheet.added(pixels, rng.uniform(0.2, 0.7), 0.2, soft=True)
    depth = np.linspace(rng.uniform(1, 4), rng.uniform(4, 18), len(line))
    depth += 1.5 * np.sin(np.linspace(0, rng.uniform(2, 8), len(line)))
    fold, width = line + across * np.maximum(depth, 1)[:, None], rng.uniform(2, 6)
    ends = np.linspace(0, len(fold), 17).astype(int)
    for share in np.linspace(1, 0.1, 10):  # one edge is sharp, the other one is soft
        edge = fold + across * (1 - share) * width / 2
        for place, (first, last) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
            bright = (0.15 + 0.45 * (1 - share)) * min(1, (place + 1) / 5, (16 - place) / 5)
            sheet.stroke(edge[max(first - 2, 0) : last + 2], share * width, bright)
    offset = rng.uniform(-0.5, 0.5) * width
    for _ in range(int(rng.integers(30, 250))):
        at = rng.integers(len(fold))
        place = fold[at] + across[at] * (offset + rng.normal(0, rng.choice([0.3, 1.2])))
        sheet.dot(place, min(rng.lognormal(-1.2, 0.4), 0.7), rng.uniform(0.5, 1))
    return sheet.added(pixels, rng.uniform(0.25, 0.8), soft=True)


def fine_calcium(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Draw clusters of microcalcifications in a row, secretory rods, clips, or dense ridges of gland."""
    sheet, layout = Sheet(breast, spacing_mm, rng), rng.choice(["clusters", "rods", "clips", "ridges"])
    if layout == "clusters":
        line = sheet.course(rng.uniform(20, 60), 0.4)
        for centre in line[:: int(rng.uniform(6, 14) / STEP_MM)]:
            spread = rng.uniform(1, 3.5)
            for _ in range(int(rng.integers(5, 31))):
                sheet.dot(centre + rng.normal(0, spread, 2), min(rng.lognormal(-1.2, 0.4), 0.8), rng.uniform(0.4, 1))
        return sheet.added(pixels, rng.uniform(0.15, 0.6))
    if layout == "rods":
        centre, spread = sheet.spot(10), rng.uniform(5, 20)
        for _ in range(int(rng.integers(8, 40))):
            start = centre + rng.normal(0, spread, 2)
            way = start - sheet.nipple
            width, angle = rng.uniform(0.4, 1), math.atan2(way[1], way[0]) + rng.normal(0, 0.25)
            rod = start + np.linspace(0, rng.uniform(2, 9), 8)[:, None] * unit(angle)
            rod = rod + normals(rod) * np.linspace(-1, 1, 8)[:, None] ** 2 * rng.uniform(-0.4, 0.4)
            if width > 0.7 and rng.random() < 0.4:  # a rod with a lucent centre
                for side in (-0.5, 0.5):
                    sheet.stroke(rod + side * width * normals(rod), 0.25, rng.uniform(0.6, 1))
            else:
                sheet.tube(rod, width, rng.uniform(0.5, 1), 0.5)
        return sheet.added(pixels, rng.uniform(0.15, 0.5), 0.15)
    if layout == "clips":
        line = sheet.course(rng.uniform(10, 50), 0.4)
        for centre in line[:: int(rng.uniform(5, 15) / STEP_MM)][:8]:
            angle, opening, long = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5), rng.uniform(3, 6)
            place = centre + rng.normal(0, 2, 2)
            clip = [place + long * unit(angle + opening), place, place + long * unit(angle - opening)]
            sheet.stroke(np.stack(clip), rng.uniform(0.3, 0.7), 1)
        return sheet.added(pixels, rng.uniform(0.4, 1.2))
    line, heading = sheet.course(rng.uniform(15, 40), 0.3), rng.uniform(0, 2 * np.pi)
    for start in line[:: int(rng.uniform(3, 8) / STEP_MM)][:9]:
        ridge = sheet.course(rng.uniform(15, 50), 0.35, start, heading + rng.normal(0, 0.2))
        sheet.tube(ridge, rng.uniform(1.5, 5), rng.uniform(0.3, 0.6), 0.1, fade=True)
    return sheet.added(pixels, rng.uniform(0.2, 0.6), 0.15, soft=True)


def dot_walls(sheet: Sheet, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw dotted plaques on a vessel: uneven grains in both walls, gaps, dense stretches, and ladders.

    Args:
        sheet: The layer.
        line: Centre line, (n, 2) in mm, one point per `STEP_MM`.
        radius: Its radius in mm, (n,).
    """
    rng, across, mm = sheet.rng, normals(line), 1 / STEP_MM
    for side in (-1, 1):
        start = rng.uniform(0, 3) * mm
        while start < len(line):
            stop, at = start + rng.uniform(2, 18) * mm, start
            size, every = rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.6)
            while at < min(stop, len(line)):
                n = int(at)
                place = line[n] + across[n] * side * radius[n] * rng.normal(1, 0.08)
                sheet.dot(place, np.clip(size * rng.lognormal(0, 0.4), 0.15, 0.9), rng.uniform(0.4, 1))
                at += every * rng.lognormal(0, 0.4) * mm
            start = stop + rng.uniform(1, 7) * mm
    start = rng.uniform(0, 15) * mm
    while start < len(line):
        stop = min(start + rng.uniform(3, 12) * mm, len(line))
        ladder, at = rng.random() < 0.5, start
        rungs = rng.uniform(0.8, 1.6) if ladder else rng.uniform(0.15, 0.35)
        while at < stop:
            n = int(at)
            for share in (
                np.linspace(-0.8, 0.8, max(int(2 * radius[n] / 0.4), 2)) if ladder else rng.uniform(-0.9, 0.9, 2)
            ):
                place = line[n] + across[n] * share * radius[n] + rng.normal(0, 0.08, 2)
                sheet.dot(place, rng.uniform(0.2, 0.5), rng.uniform(0.4, 1))
            at += rungs * mm
        start = stop + rng.uniform(6, 30) * mm


def insert_dotted(
    pixels: np.ndarray,
    breast: np.ndarray,
    spacing_mm: float,
    rng: np.random.Generator,
    length_mm: float,
    strength: float,
) -> np.ndarray:
    """Insert a calcified artery of dotted plaques: uneven grains in both walls, gaps, dense stretches, and ladders.

    The artery is 1.2 to 3.5 mm wide and narrows. After the blur, its grains are about as bright as the plaques of
    `real_films.insert_walls`.

    Args:
        pixels: float32 (rows, columns).
        breast: Breast mask, bool (rows, columns).
        spacing_mm: Pixel spacing in mm, the same for rows and columns.
        rng: Source of randomness.
        length_mm: Length of the artery; shorter if it does not fit.
        strength: From 0 to 1.

    Returns:
        The pixels with the artery, float32 (rows, columns).
    """
    sheet = Sheet(breast, spacing_mm, rng)
    line = sheet.course(length_mm, rng.uniform(0.2, 0.7))
    radius = rng.uniform(0.6, 1.75) * np.linspace(1, rng.uniform(0.6, 1), len(line))
    sheet.tube(line, 2 * radius.mean(), 0.12, 0.5)
    dot_walls(sheet, line, radius)
    return sheet.added(pixels, 1.5 * (0.05 + 0.3 * strength))  # the blur takes about a third of a grain's brightness


def dotted_artery(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Insert an artery of `insert_dotted`, of random length and strength."""
    return insert_dotted(pixels, breast, spacing_mm, rng, rng.uniform(*LENGTHS_MM), rng.uniform(*STRENGTHS))


def walled_artery(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Insert an artery of `real_films.insert_walls`, of random length and strength, shorter if it does not fit."""
    length, strength, seed = rng.uniform(*LENGTHS_MM), rng.uniform(*STRENGTHS), int(rng.integers(2**31))
    while True:
        try:
            drawn, _ = insert_walls(pixels, breast, spacing_mm, seed, length, strength)
            return np.where(breast, drawn, pixels).astype(np.float32)
        except ValueError:
            if length < 5:
                raise
            length *= 0.7


LOOKALIKES = {
    "coarse": coarse_calcium,
    "vessels": bare_vessels,
    "threads": threads,
    "edges": edges,
    "fine": fine_calcium,
}
ARTERIES = {"walls": walled_artery, "dotted": dotted_artery}
