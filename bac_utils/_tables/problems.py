"""The checks of a table: all cells that break rules in one message, and identifiers that spreadsheets have changed."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

SHOWN = 60
"""Largest number of characters of a cell that a message quotes."""
SHOWN_CELLS = 20
"""Largest number of cells that a message lists; the others are counted."""
EXACT_DIGITS = 15
"""Significant digits of a number in a spreadsheet; the digits after them become zeros (IEEE 754 double)."""

_ROUNDED = r"\d+[eE]\+\d+|\d+[.,]\d+[eE]\+?\d+"  # 1E+11, 1.23457E+11, 1,23457E+11, 1.23E11
_NOT_A_VALUE = r"#+|#[\w/]+[!?]?|=.*"  # a column that is too narrow, #N/A, #REF!, a formula
_ROUNDED_BY = (
    "A spreadsheet program has probably rounded these identifiers: get the table again from its source, and import the "
    "column as text"
)


class Lines(ValueError):
    """An error with several lines, such as one for each broken cell of a table; `lines` are those that the kit made."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take the lines; a line break inside one is from data."""
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))

    def __reduce__(self) -> tuple:
        """Keep the lines when another process has raised the error."""
        return type(self), (self.lines,)


class Problems:
    """Cells of a table that break rules, collected so that one message can list them."""

    def __init__(self, name: str):
        """Start with none.

        Args:
            name: Name of the table.
        """
        self.name = name
        self.found: dict[tuple[int, str], tuple[str, str]] = {}  # by row and column; the first broken rule counts
        self.hints: dict[str, None] = {}

    def add(
        self,
        bad: Iterable[bool],
        rows: Sequence[int],
        column: str,
        values: Sequence,
        rules: str | Sequence[str],
        hint: str = "",
    ) -> None:
        """Add the cells of a column that break a rule.

        Args:
            bad: For each row, whether it breaks the rule.
            rows: Number of each row.
            column: The column.
            values: Its cells: text, numbers or None.
            rules: The rule, such as `must be L or R`, or one for each row.
            hint: The likely cause and a remedy, stated once at the end of the message.
        """
        where = np.flatnonzero(np.asarray(bad, dtype=bool))
        for i in where:
            value = values.iloc[i] if isinstance(values, pd.Series) else values[i]
            rule = rules if isinstance(rules, str) else rules[i]
            self.found.setdefault((int(rows[i]), column), (f"got {quoted(value)}", rule))
        if hint and where.size:
            self.hints[hint] = None

    def add_row(self, row: int, problem: str) -> None:
        """Add a row that breaks a rule as a whole."""
        self.found.setdefault((row, ""), ("", problem))

    def check(self) -> None:
        """Raise for all cells that were added.

        Raises:
            ValueError: There are some. The message has one line for each: table, row, column, value and rule. It lists
                `SHOWN_CELLS` at most, some of each column, and counts the others.
        """
        if not self.found:
            return
        columns = Counter(column for _, column in self.found)
        share, listed, hidden = max(1, SHOWN_CELLS // len(columns)), Counter(), Counter()
        lines = []
        for (row, column), (got, rule) in sorted(self.found.items()):
            if listed[column] < share and len(lines) < SHOWN_CELLS:
                listed[column] += 1
                where = f"{self.name} row {row}, column '{column}': {got}, " if column else f"{self.name} row {row}: "
                lines.append(where + rule)
            else:
                hidden[column] += 1
        if hidden:
            counts = ", ".join(f"{f'column {c!r}' if c else 'whole rows'}: {n}" for c, n in hidden.items())
            lines.append(f"and {hidden.total()} more ({counts})")
        raise Lines([*lines, *self.hints])


def quoted(value: object) -> str:
    """Return a cell as a message quotes it."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value == "":
        return "nothing"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if text.isprintable() and len(text) <= SHOWN else ascii(text[:SHOWN])


def lost_digits(ids: pd.Series, ours: bool = False) -> list[tuple[np.ndarray, str, str]]:
    """Find identifiers that a spreadsheet program has changed, so that different women may have become one.

    An identifier of 16 digits ends in a zero by chance once in ten. Zeros in the place of all digits after the 15th
    are therefore a loss only if no other long identifier has another digit there, and if there are at least two such
    zeros, or more rows of one identifier than the four views of a woman.

    Args:
        ids: Identifiers, text.
        ours: The kit wrote the table, so that `=1+1` is an identifier from an image file.

    Returns:
        For each rule: which identifiers break it (bool), the rule, and the likely cause with a remedy.
    """
    long = ids[ids.str.fullmatch(rf"\d{{{EXACT_DIGITS + 1},}}").astype(bool)]
    cut = np.zeros(len(ids), dtype=bool)
    if len(long) and long.str.slice(EXACT_DIGITS).str.fullmatch("0+").all():
        counts = long.value_counts()
        if sum(len(name) - EXACT_DIGITS for name in counts.index) >= 2 or counts.max() > 4:
            cut = ids.isin(counts.index).to_numpy()
    broken = "These cells are errors or formulas of a spreadsheet: get the table again from its source"
    lost = ids.str.fullmatch(_NOT_A_VALUE) & ~(ids.str.startswith("=") & ours)
    return [
        (ids.str.fullmatch(_ROUNDED).to_numpy(bool), "must be written with all its digits", _ROUNDED_BY),
        (cut, f"must not, like all long numbers here, end in zeros after {EXACT_DIGITS} digits", _ROUNDED_BY),
        (lost.to_numpy(bool), "must be an identifier", broken),
    ]


def decimal_points(texts: pd.Series, known: bool = False) -> pd.Series:
    """Write decimal commas as points, unless a cell of the column has a point: one of the two then marks thousands.

    Args:
        texts: Cells of a column.
        known: Commas are known to be decimal. Otherwise, if the column has no other commas than those before exactly
            three digits (`1,234`), they stay: they may mark thousands.
    """
    commas = texts.str.fullmatch(r"[-+]?\d+,\d+")
    if not commas.any() or texts.str.contains(".", regex=False).any():
        return texts
    unclear = texts.str.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}")
    if not known and unclear[commas].all():
        return texts
    return texts.where(~commas, texts.str.replace(",", "."))
