"""The flow diagram of a study, in the form of STARD and CONSORT: boxes for what remains, side boxes for the others."""

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.textpath import text_to_path

from bac_utils.inclusion.flow import STAGES
from bac_utils.plots import SET_COLOURS, styled

SHOWN = 8
"""Reasons that a side box names; the rarer ones are added up."""
ALWAYS = ("read", "table", "included")
"""Stages whose box is drawn even if they exclude nothing."""
CRITERIA = ("cohort", "aged", "complete", "labelled")
"""Stages between the views table and the included women."""
_POINTS = 10
_LINE, _PAD, _GAP = 0.19, 0.12, 0.3
"""Height of a line, margin within and distance between boxes, inches."""
_MAIN, _SIDE = (0.1, 3.3), (3.9, 8.7)
"""Left and right edge of the boxes in the main column and of the side boxes, inches."""


@styled
def inclusion_diagram(
    stages: Sequence[Mapping], start: str, sets: Mapping[str, Mapping[str, int]] | None = None
) -> Figure:
    """Draw the flow of inclusion.

    Stages that exclude nothing are left out, except for `ALWAYS`. The box of the included women replaces that of the
    last criterion.

    Args:
        stages: As from `flow.Selection.stages`.
        start: What the flow begins with, such as `Images found`.
        sets: Counts of the sets, as from `cohort.split_counts`; drawn as a last row.

    Returns:
        The figure. Boxes are as high as their text, and the figure is as high as its boxes.
    """
    boxes, last = [(_numbered(start, stages[0]["entered"]), [])], ""
    for stage in stages:
        name, drops = stage["stage"], stage["excluded"]["views"]
        if name == "included" and last in CRITERIA:
            del boxes[-1]
        if drops:
            boxes[-1] = boxes[-1][0], _excluded(stage)
        if drops or name in ALWAYS:
            boxes.append((_numbered(STAGES[name], stage["remaining"]), []))
            last = name
    main = [_wrapped(lines, _MAIN) for lines, _ in boxes]
    side = [_wrapped(lines, _SIDE) for _, lines in boxes]
    between = [max(_GAP, _height(lines) + _GAP if lines else 0) for lines in side[:-1]]
    total = sum(map(_height, main)) + sum(between) + (_GAP + _height("   ") if sets else 0) + 2 * _PAD
    figure = plt.figure(figsize=(_SIDE[1] + 0.1, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _SIDE[1] + 0.1), ylim=(total, 0))
    axes.axis("off")
    top, middle = _PAD, sum(_MAIN) / 2
    for number, lines in enumerate(main):
        bottom = top + _height(lines)
        _box(axes, _MAIN, top, lines, centred=True)
        if number < len(between):
            top = bottom + between[number]
            _arrow(axes, (middle, bottom), (middle, top))
            if side[number]:
                centre = (bottom + top) / 2
                _arrow(axes, (middle, centre), (_SIDE[0], centre))
                _box(axes, _SIDE, centre - _height(side[number]) / 2, side[number])
    for number, (name, count) in enumerate((sets or {}).items()):
        width = (_SIDE[1] - _MAIN[0] + 0.2) / len(sets)
        edges = (_MAIN[0] + number * width, _MAIN[0] + (number + 1) * width - 0.2)
        lines = [name, _count(count), f"{count['bac_views']:,} BAC+ views"]
        _box(axes, edges, bottom + _GAP, lines, centred=True, edge=SET_COLOURS.get(name, "black"))
        centre, half = sum(edges) / 2, bottom + _GAP / 2
        axes.plot([middle, middle, centre], [bottom, half, half], color="black", lw=1, zorder=1)
        _arrow(axes, (centre, half), (centre, bottom + _GAP))
    return figure


def _count(numbers: Mapping[str, int | None], unit: str = "view") -> str:
    """Return numbers of views and, where they are known, of women."""
    women, views = numbers["women"], f"{numbers['views']:,} {unit}{'s' if numbers['views'] != 1 else ''}"
    return views if women is None else f"{women:,} {'women' if women != 1 else 'woman'}, {views}"


def _numbered(title: str, numbers: Mapping[str, int | None]) -> list[str]:
    """Return the lines of a box of the main column; images of unknown women are not yet views."""
    return [title, _count(numbers, "image" if numbers["women"] is None else "view")]


def _excluded(stage: Mapping) -> list[str]:
    """Return the lines of a side box: what the stage excluded in all and by reason, the most frequent first.

    Women are named if those of all reasons have no view left.
    """
    reasons = sorted(stage["reasons"].items(), key=lambda item: -item[1]["views"])
    whole = stage["excluded"]["women"] == sum(numbers["women"] for _, numbers in reasons)
    unit = "image" if stage["entered"]["women"] is None else "view"
    rest = sum(numbers["views"] for _, numbers in reasons[SHOWN:])
    several = len(reasons) > 1
    shown = [("Excluded", stage["excluded"])] if several else []
    shown += [(reason if several else f"Excluded, {reason}", numbers) for reason, numbers in reasons[:SHOWN]]
    if rest:
        shown.append((f"{len(reasons) - SHOWN} other reasons", {"views": rest, "women": None}))
    lines = []
    for reason, numbers in shown:
        count = _count(numbers if whole else {**numbers, "women": None}, unit).replace(" ", "\u00a0")
        lines.append(f"{reason.replace('_', ' ')}: {count}")
    return lines


def _wrapped(lines: Sequence[str], edges: tuple[float, float]) -> list[str]:
    """Break lines so that they fit between the edges of a box; continued lines are indented."""
    room, found = edges[1] - edges[0] - 2 * _PAD, []
    for line in lines:
        current = ""
        for word in re.findall("[^ ]{1,40}", line):
            longer = f"{current} {word}" if current else word
            if current and _width(longer) > room:
                found.append(current)
                longer = f"   {word}"
            current = longer
        found.append(current)
    return found


def _width(text: str) -> float:
    """Return the width of a text, inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=_POINTS), ismath=False)
    return width / 72


def _height(lines: Sequence[str]) -> float:
    return len(lines) * _LINE + 2 * _PAD


def _box(
    axes: Axes, edges: tuple[float, float], top: float, lines: Sequence[str], centred: bool = False, edge: str = "black"
) -> None:
    """Draw a box with its lines, of which the first is in bold if they are centred."""
    left, right = edges
    axes.add_patch(Rectangle((left, top), right - left, _height(lines), facecolor="white", edgecolor=edge, zorder=2))
    for number, line in enumerate(lines):
        place = ((left + right) / 2 if centred else left + _PAD, top + _PAD + (number + 0.5) * _LINE)
        weight = "bold" if centred and not number else "normal"
        axes.text(
            *place, line, ha="center" if centred else "left", va="center", size=_POINTS, weight=weight, zorder=3,
            parse_math=False,
        )  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color="black", lw=1, shrinkA=0, shrinkB=0)
    )
