"""Calcifications of the simulated breast: calcified arteries, and the benign findings that can be mistaken for them.

Amounts are volumes of hydroxyapatite in mm3, drawn on a `Canvas` in view coordinates (x, y in mm). Sizes of the benign
findings follow the BI-RADS definitions (as quoted by the HL7 FHIR breast radiology guide, CalcificationType). How often
each finding occurs is an assumption. So are the amounts of calcium, except for their order of magnitude: 0.05 mm3 per
mm of artery is 6 mg over 40 mm, within the range of densitometry (Molloi et al., a few to tens of mg per breast).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.simulator.anatomy import PATH_STEP_MM, Outline, Vessel, VisibleSegment
from bac_utils.simulator.grains import draw_grain, draw_shell, scatter_grains, wavy
from bac_utils.simulator.rasterize import Canvas, draw_cylinder


def render_arterial_calcification(
    canvas: Canvas, vessel: Vessel, segment: VisibleSegment, seed: list[int], turn: float
) -> None:
    """Render the calcified wall of one arterial segment: patches of particles on a cylinder, seen from the side.

    The particles lie on the vessel wall (medial calcification, Suh & Yun, J Cardiovasc Imaging 26:125). In projection
    they form two dotted, interrupted parallel lines with some grains between them. The same seed gives the same
    particles in every view.

    Args:
        canvas: Canvas for calcium, changed in place.
        vessel: The artery.
        segment: Its visible segment.
        seed: Seed of the artery's particles.
        turn: Angle of this view around the vessel, radians.
    """
    rng = np.random.default_rng([*seed, segment.vessel])
    total = len(vessel.path)
    strength = segment.strength
    volume_per_mm = 0.04 + 0.155 * strength
    plates_per_mm = 2.5 + 14.0 * strength
    count = rng.poisson(plates_per_mm * total * PATH_STEP_MM * 2)
    at, angle = rng.uniform(0, total - 1, count), rng.uniform(0, 2 * np.pi, count)
    size = rng.lognormal(0, 0.55, count)
    # pattern of this artery (assumptions): grains or plates, short or long patches, one wall denser than the other
    grain, patch, side, lean = (
        rng.lognormal(np.log(0.45), 0.45),
        rng.uniform(1.0, 4.0),
        rng.uniform(0, 6.3),
        rng.random(),
    )
    long = rng.lognormal(np.log(grain), 0.5, count) * (0.5 + strength)  # mm along the vessel
    size = size * (1 + 0.8 * lean * np.cos(angle - side))
    # patches: along each of eight strips of the wall, calcified and bare parts alternate
    patches = gaussian_filter1d(rng.standard_normal((8, total)), patch / PATH_STEP_MM, axis=1)
    bare = np.quantile(patches, 0.50 - 0.35 * strength)
    strip = (angle / (2 * np.pi) * 8).astype(int)
    keep = (patches[strip, at.astype(int)] > bare) & (at >= segment.start) & (at < segment.stop - 1)
    at, angle, size, long = at[keep], angle[keep], size[keep], long[keep]
    if not len(at):
        return
    local = at - segment.start
    tangent = np.gradient(segment.line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    index = np.arange(len(segment.line))

    def along(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.column_stack([np.interp(positions, index, values[:, k]) for k in (0, 1)])

    radius = np.interp(at, np.arange(total), vessel.radius_mm) * rng.normal(0.93, 0.04, len(at))
    pieces = 3
    volume = volume_per_mm * len(segment.line) * PATH_STEP_MM * size / size.sum() / pieces
    for k in range(pieces):
        where = np.clip(local + (k - 1) / 2 * long / PATH_STEP_MM, 0, len(index) - 1)
        direction = along(tangent, where)
        normal = np.column_stack([-direction[:, 1], direction[:, 0]])
        points = along(segment.line, where) + normal * (radius * np.cos(angle + turn))[:, None]
        canvas.deposit(points, volume, 0.06)


@dataclass(frozen=True)
class Finding:
    """A benign finding of one breast: its kind, position in breast coordinates, and the seed of its particles."""

    kind: str
    place: np.ndarray
    seed: int


FINDINGS = {
    # kind: (probability per breast, largest number of sites)
    "punctate": (0.65, 5),
    "round": (0.90, 12),
    "coarse": (0.45, 2),
    "skin": (0.45, 4),
    "cluster": (0.35, 2),
    "rods": (0.30, 1),
    "rim": (0.30, 3),
    "milk": (0.12, 2),
    "row": (0.50, 3),
    "linear": (0.06, 1),
    "suture": (0.06, 1),
    "clip": (0.10, 1),
    "marker": (0.08, 1),
    "scar": (0.05, 1),
    "lead": (0.03, 1),
}


def draw_findings(rng: np.random.Generator) -> list[Finding]:
    """Draw random benign findings for one breast, independently of its arteries."""
    findings = []
    for kind, (chance, most) in FINDINGS.items():
        if rng.random() < chance:
            for _ in range(rng.integers(1, most + 1)):
                place = rng.uniform([0.1, -0.8, -0.8], [0.85, 0.8, 0.8])
                findings.append(Finding(kind, place, int(rng.integers(2**31))))
    return findings


def sphere_volume(diameter: np.ndarray | float, density: float = 0.5) -> np.ndarray | float:
    """Return the volume of material in spheres of the given diameter, filled to a fraction `density`."""
    return density * np.pi / 6 * np.asarray(diameter) ** 3


def render_finding(calcium: Canvas, metal: Canvas, finding: Finding, outline: Outline, lines: list[np.ndarray]) -> None:
    """Render one benign finding into a view.

    Args:
        calcium: Canvas for calcium, changed in place.
        metal: Canvas for the steel of clips, markers and wires, changed in place.
        finding: The finding.
        outline: Outline of the breast in the view.
        lines: Ligaments and folds of the view, each (n, 2) in mm, on which dots may be lined up.
    """
    rng = np.random.default_rng([finding.seed, 7])
    centre = outline.project(finding.place[None])[0]
    nipple = np.array([outline.depth_mm, outline.nipple_y])
    deposit = calcium.deposit
    if finding.kind == "punctate":  # < 0.5 mm, scattered, most of them small
        n = rng.integers(2, 14)
        diameter = 0.12 + 0.38 * rng.beta(1.2, 2.5, n)
        points = centre + rng.normal(0, rng.uniform(4, 15), (n, 2))
        scatter_grains(calcium, rng, points, diameter, sphere_volume(diameter, rng.uniform(0.3, 0.9, n)))
    elif finding.kind == "round":  # 0.5 to 1.5 mm, almost round, most of them small
        for _ in range(rng.choice(3, p=(0.35, 0.4, 0.25))):
            d = 0.45 + 1.2 * rng.beta(1.0, 2.5)
            place = centre + rng.normal(0, 6, 2)
            draw_grain(calcium, rng, place, d, sphere_volume(d, 0.05 + 0.45 * rng.beta(1, 2)), rng.uniform(0.06, 0.2))
    elif finding.kind == "coarse":  # popcorn, > 2 to 3 mm, of a fibroadenoma
        _popcorn(calcium, rng, centre, rng.uniform(0.8, 2.2))
    elif finding.kind == "skin":  # lucent centres, tight groups under 5 mm
        for _ in range(rng.integers(1, 6)):
            draw_shell(calcium, rng, centre + rng.normal(0, 1.5, 2), rng.uniform(0.25, 0.7), rng.uniform(0.08, 0.16))
    elif finding.kind == "cluster":  # group of fine particles
        n, spread = rng.integers(6, 35), rng.uniform(1.0, 4.0)
        diameter = rng.lognormal(np.log(0.24), 0.4, n)
        points = centre + rng.normal(0, spread, (n, 2)) * [1, rng.uniform(0.4, 1)]
        scatter_grains(calcium, rng, points, diameter, sphere_volume(diameter, rng.uniform(0.3, 0.8, n)))
    elif finding.kind == "rods":  # secretory: >= 0.5 mm wide, solid or broken, pointing to the nipple
        for _ in range(rng.integers(2, 12)):
            start = centre + rng.normal(0, 12, 2)
            towards = nipple - start
            towards = towards / (np.linalg.norm(towards) + 1e-9)
            side = np.array([-towards[1], towards[0]]) * rng.normal(0, 0.12)
            length, d = rng.uniform(2, 10), rng.uniform(0.4, 0.8)
            t = np.arange(0, length, 0.15)
            if rng.random() < 0.4:
                t = t[np.sin(t * rng.uniform(1.5, 4) + rng.uniform(0, 6)) > -0.4]
            points = start + (towards + side) * t[:, None] + rng.normal(0, 0.1 * d, (len(t), 2))
            uneven = np.exp(gaussian_filter1d(rng.normal(0, 1.5, len(t)), 3)) if len(t) else t
            deposit(points, rng.uniform(0.2, 0.6) * np.pi / 4 * d**2 * 0.15 * uneven, 0.27 * d)
    elif finding.kind == "rim":  # wall under 1 mm, diameter of a few mm to cm
        draw_shell(calcium, rng, centre, rng.lognormal(np.log(2.2), 0.5), rng.uniform(0.1, 0.3))
    elif finding.kind == "milk":  # milk of calcium: smudges in CC, crescents concave upwards in MLO
        for _ in range(rng.integers(3, 10)):
            place = centre + rng.normal(0, 3, 2)
            size, density = rng.uniform(0.6, 1.6), rng.uniform(0.1, 0.3)
            if outline.view == "CC":
                lumps = place + rng.normal(0, 0.28 * size, (9, 2)) * [1, rng.uniform(0.5, 1)]
                deposit(lumps, sphere_volume(0.7 * size, density) / 9 * rng.lognormal(0, 0.5, 9), 0.32)
            else:
                t = np.linspace(-0.5, 0.5, 13) * size
                crescent = place + np.column_stack([t, -rng.uniform(0.8, 1.4) / size * t**2])
                level = (1.1 - (2 * t / size) ** 2) * rng.lognormal(0, 0.3, len(t))  # it thins out at its ends
                deposit(crescent, sphere_volume(0.7 * size, density) * level / level.sum(), 0.12)
    elif finding.kind == "row" and lines:  # dots lined up on a ligament or fold, as in the paper's false positives
        line = lines[rng.integers(len(lines))]
        n = rng.integers(4, 14)
        at = np.sort(rng.uniform(0.05, 0.95, n)) * (len(line) - 1)
        points = line[at.astype(int)] + rng.normal(0, 0.12, (n, 2))
        diameter = rng.lognormal(np.log(0.3), 0.35, n)
        scatter_grains(calcium, rng, points, diameter, sphere_volume(diameter))
    elif finding.kind == "linear":  # fine, branching, broken, in one segment: ductal, not vascular
        turn = rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(3, 12)):
            t = np.arange(0, rng.uniform(1.0, 5.0), 0.1)
            angle = turn + rng.normal(0, 0.5) + np.cumsum(rng.normal(0, 0.12, len(t)))
            course = centre + rng.normal(0, 4, 2) + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.1, 0)
            kept = course[np.sin(t * rng.uniform(3, 9) + rng.uniform(0, 6)) > -0.5]
            deposit(kept, 0.4 * np.pi / 4 * rng.uniform(0.15, 0.35) ** 2 * 0.1, 0.12)
    elif finding.kind == "scar":  # a wire taped to the skin along a scar
        _wire(metal, rng, centre, rng.uniform(10, 45), rng.uniform(0.3, 0.8), 0.02)
    elif finding.kind == "lead":  # pacemaker lead or port catheter, over the muscle, from the upper edge down
        start = np.array([rng.uniform(0.05, 0.5) * max(outline.muscle[0], 20), rng.uniform(0, 30)])
        for _ in range(rng.integers(1, 3)):
            _wire(metal, rng, start + rng.normal(0, 2, 2), rng.uniform(30, 110), rng.uniform(0.8, 2.0), 0.008)
    elif finding.kind == "suture":  # curved threads with knots, at a scar
        t = np.linspace(0, rng.uniform(3, 9), 40)
        bend, turn = rng.normal(0, 0.25), rng.uniform(0, 2 * np.pi)
        thread = centre + np.column_stack([np.cos(turn + bend * t) * t, np.sin(turn + bend * t) * t])
        deposit(thread, 0.5 * np.pi / 4 * 0.35**2 * (t[1] - t[0]), 0.12)
        deposit(thread[[0, -1]], sphere_volume(0.9), 0.32)
    elif finding.kind == "clip":  # biopsy marker, 2 to 4 mm of metal
        t = np.linspace(0, 1, 30)
        shape = [
            np.column_stack([t * 3, 0 * t]),
            np.column_stack([np.cos(5 * t), np.sin(5 * t)]) * 1.2,
            np.column_stack([np.abs(t - 0.5) * 2, t]) * 2.2,
        ][rng.integers(3)]
        turn = rng.uniform(0, 2 * np.pi)
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        metal.deposit(centre + shape @ spin, 0.02, 0.12)
    elif finding.kind == "marker":
        _marker(metal, rng, centre, nipple)


def _wire(
    canvas: Canvas, rng: np.random.Generator, start: np.ndarray, length: float, diameter: float, bend: float
) -> None:
    """Draw a gently curved wire; `bend` is the standard deviation of its turn, in radians per step of 0.2 mm."""
    steps = int(length / 0.2)
    drift = gaussian_filter1d(rng.normal(0, bend * 4, steps), 12, mode="nearest")
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(drift)
    line = start + np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]) * 0.2, axis=0)
    draw_cylinder(canvas, line, diameter, rng.uniform(0.05, 0.4))


def _popcorn(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, radius: float) -> None:
    """Draw the coarse calcification of a fibroadenoma: chunks of unequal size that partly run together."""
    n = rng.integers(5, 22)
    angle = rng.uniform(0, 2 * np.pi, n)
    reach = radius * np.sqrt(rng.random(n)) * wavy(rng, angle, 0.2)
    places = centre + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    density = rng.uniform(0.2, 0.5)
    for place, d in zip(places, np.clip(rng.lognormal(np.log(0.75), 0.45, n), 0.3, 2.0), strict=True):
        draw_grain(canvas, rng, place, float(d), sphere_volume(float(d), density), rng.uniform(0.15, 0.3))


def _marker(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, nipple: np.ndarray) -> None:
    """Draw a skin marker: a pellet at the nipple or on a mole, or a thin ring around a mole. Half of them are off."""
    kind = rng.random()
    if kind < 0.2:
        canvas.deposit((nipple - [rng.uniform(1.5, 5), rng.normal(0, 2)])[None], sphere_volume(1.5, 1.0), 0.32)
    elif kind < 0.35:
        canvas.deposit(centre[None], sphere_volume(rng.uniform(0.8, 1.5), 1.0), 0.32)
    elif kind < 0.5:
        angle = np.linspace(0, 2 * np.pi, 400)
        reach = rng.uniform(5, 9) * wavy(rng, angle, 0.02)
        ring = centre + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        draw_cylinder(canvas, ring, rng.uniform(0.3, 0.5), 0.02)
