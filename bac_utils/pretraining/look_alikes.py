"""Benign structures that resemble calcified arteries: the kinds of the pretext task, and the detector's look-alikes.

Each function draws one kind on a canvas whose square field has a side of `field` mm. All sizes and frequencies are
choices of this kit.
"""

import numpy as np

from bac_utils.pretraining.lines import between, course, on, sideways, taper, varied, wander
from bac_utils.simulator.anatomy import PATH_STEP_MM
from bac_utils.simulator.calcifications import sphere_volume
from bac_utils.simulator.rasterize import Canvas, draw_cylinder


def threads(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw smooth threads in random or similar directions: ligaments, septa, fibres."""
    alike, turn = rng.random() < 0.5, rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 8)):
        line = course(rng, field, rng.uniform(5, field), rng.uniform(0.02, 0.6))
        if alike:
            a = turn + rng.normal(0, 0.3) - np.arctan2(*(line[-1] - line[0])[::-1])
            line = (line - line[0]) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
            line += field * rng.uniform(0.2, 0.8, 2) - line[len(line) // 2]
        draw_cylinder(canvas, line, between(rng, 0.2, 1.0) * taper(len(line)), rng.uniform(0.3, 1), step_mm=0.1)


def bundle(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw smooth threads that run side by side, part and meet: sheets of ligaments seen edge-on."""
    line = course(rng, field, rng.uniform(10, field), rng.uniform(0.02, 0.4))
    u = np.linspace(0, 1, len(line))
    shape = (np.sin(np.pi * u) ** 0.7, 0.15 + 0.85 * u, 0.5 + 0.5 * np.cos(2 * np.pi * u))[rng.integers(3)]
    spread = rng.uniform(0.4, 2.5) * shape
    for place in np.concatenate([[-1, 1], rng.uniform(-1, 1, rng.integers(4))]):
        strand = sideways(line, place * spread + wander(rng, len(line), 16, rng.uniform(0.1, 0.6)))
        strand = strand[int(rng.uniform(0, 0.3) * len(line)) : int(rng.uniform(0.7, 1) * len(line))]
        draw_cylinder(canvas, strand, between(rng, 0.2, 0.8) * taper(len(strand)), rng.uniform(0.3, 1), step_mm=0.1)
    if rng.random() < 0.5:
        draw_cylinder(canvas, line, np.maximum(2 * spread, 0.4), rng.uniform(0.02, 0.15))


def bands(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw vessels without calcification, single or an artery beside its vein."""
    for _ in range(rng.integers(1, 3)):
        line = course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.05, 0.7))
        draw_cylinder(canvas, line, rng.uniform(0.8, 3.5))
        if rng.random() < 0.4:
            beside = rng.uniform(2, 5) + wander(rng, len(line), 40, 0.7)
            draw_cylinder(canvas, sideways(line, beside), rng.uniform(0.8, 3.5))


def row(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw dots lined up on one thread or fold."""
    for _ in range(rng.integers(1, 3)):
        line = course(rng, field, rng.uniform(4, 30), rng.uniform(0.0, 0.25))
        points = line[np.sort(rng.integers(0, len(line), rng.integers(3, 14)))] + rng.normal(0, 0.1, 2)
        canvas.deposit(points, sphere_volume(between(rng, 0.2, 0.6) * rng.lognormal(0, 0.25, len(points)), 1.0), 0.12)
        if rng.random() < 0.6:
            draw_cylinder(canvas, line, between(rng, 0.2, 0.8) * taper(len(line)), rng.uniform(0.05, 0.4), step_mm=0.1)


def dots(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw dots, grouped or scattered."""
    n, spread = rng.integers(2, 40), between(rng, 1.0, 0.5 * field)
    points = field * rng.uniform(0.2, 0.8, 2) + rng.normal(0, spread, (n, 2))
    size = between(rng, 0.15, 1.2)
    canvas.deposit(points, sphere_volume(size * rng.lognormal(0, 0.35, n), 1.0), 0.27 * size)


def rings(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw calcified rims, complete or broken."""
    for _ in range(rng.integers(1, 5)):
        t = np.linspace(0, 2 * np.pi * rng.uniform(0.5, 1), 60) + rng.uniform(0, 2 * np.pi)
        ring = between(rng, 0.4, 6) * np.column_stack([np.cos(t), rng.uniform(0.6, 1) * np.sin(t)])
        draw_cylinder(canvas, field * rng.uniform(0.1, 0.9, 2) + ring, between(rng, 0.15, 0.6), step_mm=0.1)


def rods(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw short thick rods in similar directions: secretory calcifications, wires."""
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 6)):
        angle, length = turn + rng.normal(0, 0.2), between(rng, 2, 12)
        t = np.arange(0, length, 0.2)[:, None]
        rod = field * rng.uniform(0.1, 0.9, 2) + t * (np.cos(angle), np.sin(angle))
        draw_cylinder(canvas, rod, rng.uniform(0.4, 1.2), step_mm=0.1)


def edge(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw an edge, bright along a line and fading to one side: skin folds, the muscle, masses, devices."""
    line = course(rng, field, 3 * field, rng.uniform(0.0, 0.3))
    fade, step = between(rng, 0.5, 8), 0.3
    for k in range(int(min(3 * fade, field) / step)):
        draw_cylinder(canvas, sideways(line, k * step), 0.8, np.exp(-k * step / fade))


def powder(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw many fine grains in a round or oval area: a cluster of microcalcifications."""
    n, spread = rng.integers(15, 250), between(rng, 0.8, 0.2 * field)
    turn, squash = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
    points = rng.normal(0, spread, (n, 2)) * (1, squash)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    size = between(rng, 0.12, 0.35) * rng.lognormal(0, 0.35, n)
    canvas.deposit(field * rng.uniform(0.2, 0.8, 2) + points, sphere_volume(size, 1.0), 0.12)


def popcorn(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw heaps of coarse lumps: fibroadenomas, fat necrosis."""
    for _ in range(rng.integers(1, 3)):
        n, spread = rng.integers(8, 50), between(rng, 0.5, 3.5)
        lumps = sphere_volume(rng.uniform(0.6, 1.8, n), rng.uniform(0.2, 1))
        canvas.deposit(field * rng.uniform(0.1, 0.9, 2) + rng.normal(0, spread, (n, 2)), lumps, rng.uniform(0.2, 0.5))


def crescents(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw crescents or smudges in a group: milk of calcium."""
    centre, turn, depth = field * rng.uniform(0.2, 0.8, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.5)
    for _ in range(rng.integers(3, 12)):
        t = np.linspace(-1, 1, 15) * between(rng, 0.3, 1.2)
        arc = np.column_stack([t, -depth * t**2]) @ np.array(
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        )
        draw_cylinder(canvas, centre + rng.normal(0, 3, 2) + arc, between(rng, 0.2, 0.6), step_mm=0.1)


def dashes(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw short, thin, broken lines in similar directions: linear calcifications of a duct."""
    turn, place = rng.uniform(0, 2 * np.pi), field * rng.uniform(0.2, 0.8, 2)
    for _ in range(rng.integers(2, 9)):
        angle = turn + rng.normal(0, 0.4)
        t = np.arange(0, between(rng, 1.5, 10), 0.1)
        kept = t[np.sin(t * rng.uniform(1.5, 7) + rng.uniform(0, 6)) > rng.uniform(-0.7, 0.3)]
        points = place + rng.normal(0, 4, 2) + kept[:, None] * (np.cos(angle), np.sin(angle))
        canvas.deposit(points, 1.0, 0.27 * between(rng, 0.25, 0.8))


def wires(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw bright smooth wires: scar markers, leads, sutures."""
    line = course(rng, field, rng.uniform(5, 1.5 * field), rng.uniform(0.02, 0.5))
    draw_cylinder(canvas, line, between(rng, 0.3, 1.8), step_mm=0.1)


def clips(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw small, sharp, bright shapes: biopsy clips, ball markers."""
    for _ in range(rng.integers(1, 3)):
        n = int(rng.integers(1, 4))
        corners = rng.normal(0, 1.2, (n + 1, 2)) if rng.random() < 0.7 else np.zeros((2, 2)) + [[0, 0], [0.3, 0]]
        draw_cylinder(canvas, field * rng.uniform(0.1, 0.9, 2) + corners, rng.uniform(0.4, 2.0), step_mm=0.1)


def grains(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw grains that fill a disc or an oval: calcium in a lump, a papilloma."""
    for _ in range(rng.integers(1, 4)):
        radius, n = between(rng, 1, 6), rng.integers(20, 400)
        angle, distance = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.random(n))
        points = oval(rng, angle, distance, rng.uniform(0.5, 1)) + field * rng.uniform(0.1, 0.9, 2)
        canvas.deposit(points, rng.lognormal(0, 0.55, n), float(rng.choice([0.06, 0.12, 0.2])))


def shells(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw grains on the wall of a sphere or an oval: eggshells, oil cysts."""
    for _ in range(rng.integers(1, 4)):
        radius, n = between(rng, 1, 8), rng.integers(20, 300)
        angle = rng.uniform(0, 2 * np.pi, n)
        gap = rng.uniform(0, 2 * np.pi) + np.array([0, rng.uniform(0, np.pi)])
        angle = angle[((angle - gap[0]) % (2 * np.pi)) > gap[1] - gap[0]]
        distance = radius * (1 - rng.uniform(0.05, 0.5) * rng.random(len(angle)) ** 2)
        points = oval(rng, angle, distance, rng.uniform(0.6, 1)) + field * rng.uniform(0.1, 0.9, 2)
        canvas.deposit(points, rng.lognormal(0, 0.55, len(angle)), float(rng.choice([0.06, 0.12, 0.2])))


def oval(rng: np.random.Generator, angle: np.ndarray, distance: np.ndarray, squash: float) -> np.ndarray:
    """Return points at angles and distances from the centre of a turned, squashed disc, (n, 2) in mm."""
    points = distance[:, None] * np.column_stack([np.cos(angle), squash * np.sin(angle)])
    turn = rng.uniform(0, 2 * np.pi)
    return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def powdered_fold(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw many dots along single lines: powder in a skin fold, a calcified ligament."""
    for _ in range(rng.integers(1, 4)):
        line = course(rng, field, rng.uniform(5, field), rng.uniform(0.0, 0.5))
        n = int(len(line) * PATH_STEP_MM * between(rng, 0.5, 6)) + 2
        points = line[rng.integers(0, len(line), n)] + rng.normal(0, rng.uniform(0.05, 0.25), (n, 2))
        size = between(rng, 0.12, 0.5) * rng.lognormal(0, 0.35, n)
        canvas.deposit(points, sphere_volume(size, 1.0), float(rng.choice([0.06, 0.12])))


def catheters(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a smooth tube with bright walls: a catheter or drain."""
    line = course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.02, 0.3))
    radius = rng.uniform(0.5, 1.6)
    for wall in (-1, 1):
        draw_cylinder(canvas, sideways(line, wall * radius), between(rng, 0.15, 0.6), step_mm=0.1)
    draw_cylinder(canvas, line, 2 * radius, rng.uniform(0, 0.2))


def coils(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a wound wire: the lead of a pacemaker, the coil of a hook wire."""
    line = course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.02, 0.3))
    pitch = between(rng, 0.6, 3)
    phase = np.arange(len(line)) * PATH_STEP_MM / pitch * 2 * np.pi
    wound = sideways(line, rng.uniform(0.4, 1.5) * np.sin(phase))
    draw_cylinder(canvas, wound, between(rng, 0.15, 0.6), step_mm=0.1)


def tube(canvas: Canvas, rng: np.random.Generator, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw a tube with sharp edges: bright as the path of the beam through it, or more evenly."""
    step = canvas.spacing_mm / 2
    along = np.arange(0, len(line) - 1, min(step / PATH_STEP_MM, 1))
    steps = max(int(2 * float(radius.max()) / step), 3)
    across = np.repeat((np.arange(steps) + 0.5) / steps * 2 - 1, len(along))
    at = np.tile(along, steps)
    middle, rim = on(line, at), on(sideways(line, radius), at)
    volume = np.interp(at, np.arange(len(line)), radius) * (1 - across**2) ** rng.uniform(0.15, 0.5)
    canvas.deposit(middle + (rim - middle) * across[:, None], volume, 0.06)


def bare_vessels(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw sharp-edged vessels without calcium: winding, branching, side by side, with knots where they turn."""
    line = course(rng, field, rng.uniform(10, 1.5 * field), rng.uniform(0.1, 0.9))
    wide = between(rng, 0.4, 1.8)
    form = rng.integers(4)
    tube(canvas, rng, line, np.full(len(line), wide) * varied(rng, len(line), 30, 0.08))
    if form == 1:
        start, turn = line[rng.integers(len(line))], rng.uniform(0.3, 1.2) * rng.choice([-1, 1])
        branch = line - line[0]
        branch = branch @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + start
        branch = branch[: max(int(len(branch) * rng.uniform(0.3, 1)), 12)]
        tube(canvas, rng, branch, np.linspace(0.8, 0.4, len(branch)) * wide)
    elif form == 2:
        beside = rng.uniform(1.5, 5) * rng.choice([-1, 1]) + wander(rng, len(line), 40, 0.5)
        tube(canvas, rng, sideways(line, beside), np.full(len(line), between(rng, 0.4, 1.8)))
    if rng.random() < 0.5:
        for place in line[rng.integers(len(line), size=rng.integers(1, 7))]:
            knot = sphere_volume(2 * wide * rng.uniform(0.7, 1.3), rng.uniform(0.3, 1))
            canvas.deposit(place + rng.normal(0, 0.3 * wide, (1, 2)), knot, 0.5 * wide)


def fan(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw threads that leave one point in similar directions, and knots where threads cross."""
    centre, turn = field * rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi)
    opening = rng.uniform(0.1, 0.9) if rng.random() < 0.7 else np.pi
    for _ in range(rng.integers(3, 14)):
        line = course(rng, field, rng.uniform(5, field), rng.uniform(0.02, 0.35))
        a = turn + rng.uniform(-opening, opening) - np.arctan2(*(line[-1] - line[0])[::-1])
        line = (line - line[0]) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        line += centre + rng.normal(0, 0.5, 2)
        draw_cylinder(canvas, line, between(rng, 0.2, 1.4) * np.linspace(1, 0.2, len(line)), rng.uniform(0.3, 1))
    if rng.random() < 0.5:
        canvas.deposit(centre[None], sphere_volume(between(rng, 0.8, 3), rng.uniform(0.2, 1)), 0.5)


def septa(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw bright ridges that narrow to their ends, often with one soft side, and fork: Cooper's ligaments, septa."""
    for _ in range(rng.integers(1, 4)):
        line = course(rng, field, rng.uniform(8, 1.2 * field), rng.uniform(0.02, 0.5))
        ridges = [line]
        if rng.random() < 0.5:
            turn, start = rng.uniform(0.2, 1.0) * rng.choice([-1, 1]), line[rng.integers(len(line))]
            arm = (line - line[0])[: max(int(len(line) * rng.uniform(0.2, 0.8)), 12)]
            ridges.append(start + arm @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]))
        share, fade, side = rng.uniform(0.3, 1), between(rng, 0.3, 4), rng.choice([-1, 1])
        for ridge in ridges:
            width = between(rng, 0.4, 2.5) * taper(len(ridge)) * varied(rng, len(ridge), 12, 0.2)
            draw_cylinder(canvas, ridge, width, share, step_mm=0.1)
            if rng.random() < 0.7:
                step = 0.25
                for k in range(1, int(2.5 * fade / step)):
                    beside = sideways(ridge, side * k * step)
                    draw_cylinder(canvas, beside, width, 0.3 * share * np.exp(-k * step / fade))


def knots(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a net of threads that cross, with bright knots at the crossings, single or strung along a thread."""
    line = course(rng, field, rng.uniform(8, field), rng.uniform(0.02, 0.5))
    draw_cylinder(canvas, line, between(rng, 0.2, 0.9), rng.uniform(0.3, 1), step_mm=0.1)
    for place in line[rng.integers(len(line), size=rng.integers(2, 9))]:
        angle, t = rng.uniform(0, np.pi), np.linspace(-1, 1, 20)[:, None] * between(rng, 1.5, 15)
        crossing = place + t * (np.cos(angle), np.sin(angle)) + rng.normal(0, 0.2) * t**2 / 10
        draw_cylinder(canvas, crossing, between(rng, 0.2, 0.8) * taper(20), rng.uniform(0.3, 1), step_mm=0.1)
        if rng.random() < 0.6:
            canvas.deposit(place[None], sphere_volume(between(rng, 0.4, 1.6), rng.uniform(0.3, 1)), 0.2)


def coarse_calcium(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw coarse calcifications of 1 to 20 mm as a chain, a heap, or two that touch: shells, discs and lumps."""
    form, largest = rng.integers(3), float(rng.choice([1.0, 2.0, 5.0, 10.0]))
    if form == 0:
        line = course(rng, field, rng.uniform(8, field), rng.uniform(0.05, 0.5))
        apart = largest * rng.uniform(0.8, 2.5)
        places = line[:: max(int(apart / PATH_STEP_MM), 1)]
    elif form == 1:
        places = field * rng.uniform(0.1, 0.9, 2) + rng.normal(0, largest, (rng.integers(2, 9), 2))
    else:
        places = np.zeros((2, 2))
    radii = largest * rng.uniform(0.3, 1, len(places))
    if form == 2:
        angle = rng.uniform(0, 2 * np.pi)
        places = field * rng.uniform(0.2, 0.8, 2) + np.outer([0, radii.sum()], (np.cos(angle), np.sin(angle)))
    kind = rng.integers(3)
    for place, radius in zip(places, radii, strict=True):
        kind = kind if rng.random() < 0.7 else rng.integers(3)
        t = np.linspace(0, 2 * np.pi, 80)
        outline = radius * varied(rng, 80, 8, rng.uniform(0.01, 0.15))
        turn, squash = rng.uniform(0, np.pi), rng.uniform(0.65, 1)
        ring = outline[:, None] * np.column_stack([np.cos(t), squash * np.sin(t)])
        ring = place + ring @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        if kind == 0:  # a shell, complete or in pieces
            for piece in np.array_split(ring, rng.integers(1, 10)):
                if rng.random() < 0.85 and len(piece) > 2:
                    draw_cylinder(canvas, piece, between(rng, 0.2, 1.0), rng.uniform(0.4, 1), step_mm=0.1)
        else:  # a disc, or a heap of lumps
            n = int(rng.integers(150, 500) if kind == 1 else rng.integers(5, 25))
            points = oval(rng, rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.random(n)), squash) + place
            canvas.deposit(points, 1.0 if kind == 1 else rng.uniform(0.3, 1.5, n), 0.27 * radius * 0.8)


def clusters(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw clusters of microcalcifications in a row, as along a duct."""
    line = course(rng, field, rng.uniform(10, field), rng.uniform(0.05, 0.5))
    for place in line[:: max(int(rng.uniform(3, 12) / PATH_STEP_MM), 1)]:
        n = int(rng.integers(4, 30))
        size = between(rng, 0.12, 0.5) * rng.lognormal(0, 0.4, n)
        canvas.deposit(place + rng.normal(0, rng.uniform(0.4, 2.5), (n, 2)), sphere_volume(size, 1.0), 0.12)


def ridges(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw dense ridges of gland: broad soft bands in similar directions, each fading at both ends."""
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(2, 8)):
        line = course(rng, field, rng.uniform(8, field), rng.uniform(0.05, 0.4))
        a = turn + rng.normal(0, 0.3) - np.arctan2(*(line[-1] - line[0])[::-1])
        line = (line - line[0]) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        line += field * rng.uniform(0, 1, 2)
        draw_cylinder(canvas, line, between(rng, 1, 5) * taper(len(line)), rng.uniform(0.2, 1))


def fold(canvas: Canvas, rng: np.random.Generator, field: float) -> None:
    """Draw a skin fold with powder on it."""
    line = course(rng, field, rng.uniform(15, 2 * field), rng.uniform(0.0, 0.25))
    draw_cylinder(canvas, line, between(rng, 0.6, 4), rng.uniform(0.1, 0.5))
    if rng.random() < 0.6:
        draw_cylinder(canvas, sideways(line, rng.uniform(0.8, 4)), between(rng, 0.3, 2), rng.uniform(0.1, 0.5))
    n = int(len(line) * PATH_STEP_MM * between(rng, 0.3, 5)) + 2
    points = line[rng.integers(0, len(line), n)] + rng.normal(0, rng.uniform(0.1, 1.2), (n, 2))
    canvas.deposit(points, sphere_volume(between(rng, 0.12, 0.5) * rng.lognormal(0, 0.4, n), 1.0), 0.12)


KINDS = {
    "threads": threads,
    "bundle": bundle,
    "vessel": bands,
    "row of dots": row,
    "dots": dots,
    "rings": rings,
    "rods": rods,
    "edge": edge,
    "powder": powder,
    "popcorn": popcorn,
    "crescents": crescents,
    "dashes": dashes,
    "wire": wires,
    "clip": clips,
    "grains": grains,
    "shells": shells,
    "powdered fold": powdered_fold,
    "catheter": catheters,
    "coil": coils,
}
"""Kinds of the pretext task: name and function that draws them on a canvas."""

MIMICS = {
    threads: 2.0, bundle: 2.0, bands: 0.7, row: 1.0, dots: 0.7, rings: 0.4, rods: 0.7, edge: 0.5,
    powder: 0.5, popcorn: 0.5, crescents: 0.3, dashes: 0.6, wires: 0.3, clips: 0.4, grains: 0.4, shells: 0.5,
    powdered_fold: 0.7, coils: 0.1,
    bare_vessels: 2.5, septa: 3.0, fan: 1.2, knots: 1.2, coarse_calcium: 1.8, clusters: 0.7, ridges: 0.6, fold: 0.8,
}  # fmt: skip
"""Look-alikes added to the images of the detector, with their relative frequencies. Catheters are left out: two smooth
walls along a tube cannot be told from a calcified artery in a patch."""
