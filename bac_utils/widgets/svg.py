"""Charts of the widgets as SVG and HTML text, which takes about a millisecond to write and so keeps up with a slider.

Colours are from seaborn's colour-blind palette. Shapes or words repeat the information that colours convey.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

BLUE, ORANGE, GREY = "#0173b2", "#de8f05", "#6b6b6b"
SIZE, MARGIN = 230, (52, 12, 44, 26)  # pixels: side of the plot area; left, right, bottom and top margins


class Axes:
    """A chart with linear axes."""

    def __init__(
        self,
        title: str,
        x: tuple[str, float, float],
        y: tuple[str, float, float],
        size: tuple[int, int] = (SIZE, SIZE),
        ticks: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None),
    ) -> None:
        """Draw the empty axes.

        Args:
            title: Title of the chart; also its label for screen readers.
            x: Label with unit, lower limit and upper limit of the horizontal axis.
            y: The same for the vertical axis.
            size: Width and height of the plot area, pixels.
            ticks: Tick values of the two axes; None for six evenly spaced ticks.
        """
        self._x, self._y, self._size = x, y, size
        left, right, bottom, top = MARGIN
        width, height = size[0] + left + right, size[1] + bottom + top
        self._parts = [
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
            f'aria-label="{escape(title)}"><text x="{left}" y="16" font-weight="600">{escape(title)}</text>'
        ]
        self._frame(ticks)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the position (x, y) of a point in pixels."""
        (_, x0, x1), (_, y0, y1), (width, height) = self._x, self._y, self._size
        return MARGIN[0] + (x - x0) / (x1 - x0) * width, MARGIN[3] + height - (y - y0) / (y1 - y0) * height

    def line(
        self, x: Sequence[float], y: Sequence[float], colour: str = BLUE, dash: str = "", width: float = 2
    ) -> None:
        """Add a line, interrupted where a value is not finite."""
        pieces, pen = [], "M"
        for place in zip(x, y, strict=True):
            if not np.isfinite(place).all():
                pen = "M"
                continue
            pieces.append("{}{:.1f} {:.1f}".format(pen, *self.at(*place)))
            pen = "L"
        style = f' stroke-dasharray="{dash}"' if dash else ""
        path = "".join(pieces)
        self._parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{style}/>')

    def spot(self, x: float, y: float, key: str, label: str) -> None:
        """Add a small selectable square."""
        px, py = self.at(x, y)
        self._parts.append(
            f'<g data-key="{escape(key)}" tabindex="0" role="button" aria-label="{escape(label)}">'
            f"<title>{escape(label)}</title>"
            f'<rect x="{px - 5:.1f}" y="{py - 5:.1f}" width="10" height="10" fill="#fff" stroke="{BLUE}" '
            'stroke-width="2"/></g>'
        )

    def bar(self, x0: float, x1: float, y: float, colour: str, low: float = 0, pattern: str = "") -> None:
        """Add a bar from `low` to `y`, hatched if `pattern` names a hatching (see `define`)."""
        left, top = self.at(x0, y)
        right, bottom = self.at(x1, low)
        shape = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{max(bottom - top, 0):.1f}"'
        self._parts.append(f'<rect {shape} fill="{colour}"/>')
        if pattern:
            self._parts.append(f'<rect {shape} fill="url(#{pattern})"/>')

    def region(self, x0: float, x1: float, key: str, label: str, picked: bool) -> None:
        """Add a selectable region over the full height, with a frame if it is selected."""
        left, top = self.at(x0, self._y[2])
        right, bottom = self.at(x1, self._y[1])
        frame = f'stroke="#000" stroke-width="2" fill="{ORANGE}" fill-opacity="0.10"' if picked else 'fill-opacity="0"'
        self._parts.append(
            f'<rect data-key="{escape(key)}" tabindex="0" role="button" aria-pressed="{str(picked).lower()}" '
            f'aria-label="{escape(label)}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}" {frame}><title>{escape(label)}</title></rect>'
        )

    def whisker(self, x: float, low: float, high: float) -> None:
        """Add an error bar; nothing is added if an end is not finite."""
        if np.isfinite([low, high]).all():
            (px, bottom), (_, top) = self.at(x, low), self.at(x, high)
            self._parts.append(
                f'<path d="M{px:.1f} {bottom:.1f}V{top:.1f}M{px - 5:.1f} {bottom:.1f}h10M{px - 5:.1f} {top:.1f}h10" '
                'stroke="#000" stroke-width="1.5" fill="none"/>'
            )

    def text(self, x: float, y: float, words: str, below: float = 0) -> None:
        """Add centred text at a point, moved down by `below` pixels."""
        px, py = self.at(x, y)
        self._parts.append(f'<text x="{px:.1f}" y="{py + below:.1f}" text-anchor="middle">{escape(words)}</text>')

    def define(self, pattern: str) -> None:
        """Define a hatching pattern under a name."""
        self._parts.append(
            f'<defs><pattern id="{pattern}" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path d="M0 0v6" stroke="#000" stroke-width="1.4"/></pattern></defs>'
        )

    def svg(self) -> str:
        """Return the chart as SVG text."""
        return "".join(self._parts) + "</svg>"

    def _frame(self, ticks: tuple) -> None:
        (xlabel, x0, x1), (ylabel, y0, y1), (width, height) = self._x, self._y, self._size
        left, _, _, top = MARGIN
        base = top + height
        parts = [f'<path d="M{left} {top}V{base}H{left + width}" fill="none" stroke="#000"/>']
        for value in np.linspace(x0, x1, 6) if ticks[0] is None else ticks[0]:
            px, _ = self.at(value, y0)
            parts.append(f'<path d="M{px:.1f} {base}v4" stroke="#000"/>')
            parts.append(f'<text x="{px:.1f}" y="{base + 17}" text-anchor="middle">{value:g}</text>')
        for value in np.linspace(y0, y1, 6) if ticks[1] is None else ticks[1]:
            _, py = self.at(x0, value)
            parts.append(f'<path d="M{left - 4} {py:.1f}h4" stroke="#000"/>')
            parts.append(f'<text x="{left - 7}" y="{py + 4:.1f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="{left + width / 2}" y="{base + 36}" text-anchor="middle">{escape(xlabel)}</text>')
        middle = top + height / 2
        parts.append(
            f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(ylabel)}</text>'
        )
        self._parts += parts


def confusion_table(counts: dict, caption: str) -> str:
    """Return a confusion matrix as an HTML table whose cells have the classes `bac-tp`, `bac-fn`, ...

    Args:
        counts: Numbers `tp, fp, fn, tn`.
        caption: Caption of the table.
    """
    positive, negative = counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]

    def cell(name: str, total: int) -> str:
        share = counts[name] / total if total else 0
        shade = f"rgba(1,115,178,{0.08 + 0.45 * share:.2f})"
        inside = f'<b class="bac-{name}">{counts[name]}</b> {name.upper()}<br>{share:.1%}'
        return f'<td style="background:{shade}">{inside}</td>'

    return (
        f"<table><caption>{escape(caption)}</caption><tr><th>label</th><th>classified BAC+</th>"
        "<th>classified BAC−</th></tr>"
        f"<tr><th>BAC+ ({positive})</th>{cell('tp', positive)}{cell('fn', positive)}</tr>"
        f"<tr><th>BAC− ({negative})</th>{cell('fp', negative)}{cell('tn', negative)}</tr></table>"
    )
