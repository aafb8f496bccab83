"""The ruler's lines: their length in mm, and their text in a table."""

import json
import math
from collections.abc import Sequence

import numpy as np

MOST_POINTS = 10_000
"""Largest number of points of all lines of a view."""
RULE = f"lines of points [[[x, y], ...], ...] as JSON, at most {MOST_POINTS} points, or empty"


def length_mm(lines: Sequence[np.ndarray], spacing_mm: tuple[float, float]) -> float:
    """Add up the lengths of lines.

    Args:
        lines: Each (n, 2), x and y of its points in pixels. A line of one point has no length.
        spacing_mm: (row, column) spacing of the pixels; the two may differ.

    Returns:
        The sum of all lines, mm.

    Raises:
        ValueError: A spacing is not a positive number.
    """
    row, column = spacing_mm
    if not (0 < row < math.inf and 0 < column < math.inf):
        raise ValueError(f"spacing_mm: got {spacing_mm}, must be two positive numbers")
    steps = (np.diff(np.asarray(line, float).reshape(-1, 2), axis=0) * (column, row) for line in lines)
    return float(sum(np.hypot(*step.T).sum() for step in steps))


def check_lines(lines: object) -> list[np.ndarray]:
    """Return lines as arrays (n, 2), without those that have no point.

    Raises:
        ValueError: They are not lines of finite points, or have too many.
    """
    try:
        if not isinstance(lines, list):
            raise TypeError
        found = [np.array(line, float).reshape(-1, 2) for line in lines if len(line)]
    except (TypeError, ValueError):
        raise ValueError(f"lines: got {str(lines)[:60]}, must be {RULE}") from None
    if sum(map(len, found)) > MOST_POINTS or not all(np.isfinite(line).all() for line in found):
        raise ValueError(f"lines: got {sum(map(len, found))} points, must be {RULE}")
    return found


def lines_text(lines: Sequence[np.ndarray]) -> str:
    """Return lines as JSON, in pixels to two digits; empty if there are none."""
    return json.dumps([np.round(line, 2).tolist() for line in lines], separators=(",", ":")) if len(lines) else ""


def read_lines(text: str) -> list[np.ndarray]:
    """Return the lines in a text of `lines_text`.

    Raises:
        ValueError: It is no such text.
    """
    try:
        return check_lines(json.loads(text)) if text else []
    except ValueError:
        raise ValueError(f"lines: got {text[:60]!r}, must be {RULE}") from None
