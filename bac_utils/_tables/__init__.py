"""Reading tables: selected columns, all broken rules in one message, and paths that cannot leave their folder."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bac_utils._tables.problems import SHOWN, Lines, Problems, decimal_points, lost_digits
from bac_utils._tables.rows import read_rows, table_format

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")


@dataclass(frozen=True)
class Table:
    """Some columns of a table.

    Attributes:
        name: The file's name.
        cells: Text without leading and trailing blanks. The index is the line of the file (in Excel, the row) on which
            each row begins.
        problems: Collects the cells that `refuse` finds, until `check`; with None, `refuse` raises at once.
        titles: Names of columns in the file, where they differ from those of `cells`.
        written: The cells as in the file, where they differ from `cells`; for messages.
        decimal_commas: Commas in numbers are known to be decimal: the file's delimiter is a semicolon.
    """

    name: str
    cells: pd.DataFrame
    problems: Problems | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    written: pd.DataFrame | None = None
    decimal_commas: bool = False

    def refuse(self, bad: Iterable[bool], column: str, rule: str, hint: str = "") -> None:
        """Raise for the rows that break a rule, or collect them.

        Args:
            bad: For each row, whether it breaks the rule.
            column: The column to which the rule applies.
            rule: The rule, such as `must be L or R`.
            hint: The likely cause and a remedy.

        Raises:
            ValueError: A row breaks the rule; the message names file, row, column, value and rule.
        """
        problems = Problems(self.name) if self.problems is None else self.problems
        values = self.cells[column] if self.written is None else self.written[column]
        problems.add(bad, self.cells.index, self.titles.get(column, column), values, rule, hint)
        if self.problems is None:
            problems.check()

    def check(self) -> None:
        """Raise for all cells collected so far.

        Raises:
            ValueError: As `Problems.check`.
        """
        if self.problems is not None:
            self.problems.check()

    def choices(self, column: str, meanings: dict[str, str]) -> pd.Series:
        """Return the meanings of the words in a column; upper and lower case are equal.

        Args:
            column: The column.
            meanings: Each allowed word, in upper case, and its meaning.

        Raises:
            ValueError: A cell contains another word.
        """
        words = self.cells[column].str.upper()
        allowed = [word or "empty" for word in meanings]
        self.refuse(~words.isin(list(meanings)), column, f"must be {' or '.join(allowed)}")
        return words.map(meanings)

    def identifiers(self, column: str) -> pd.Series:
        """Return a column of identifiers; `12.0`, which some programs write for 12, is read as `12`.

        Raises:
            ValueError: A cell is empty, has characters other than letters, digits, `.`, `_` and `-`, or has lost digits
                (`lost_digits`).
        """
        self.refuse_lost_digits(column)
        bad = [_IDENTIFIER.fullmatch(cell) is None for cell in self.cells[column]]
        self.refuse(bad, column, "must be an identifier of letters, digits, '.', '_' and '-'")
        return self.cells[column].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)

    def refuse_lost_digits(self, column: str, ours: bool = False) -> None:
        """Refuse the identifiers of a column that a spreadsheet program has changed: see `lost_digits`."""
        for bad, rule, hint in lost_digits(self.cells[column], ours):
            self.refuse(bad, column, rule, hint)

    def paths(self, column: str, strip: Sequence[str] = (), folder: str | os.PathLike | None = None) -> pd.Series:
        """Return a column of paths in the form of `relative_path`.

        Args:
            column: The column.
            strip: Prefixes to remove, such as the folder of the server on which the table was made.
            folder: The image folder, for a table of the user: paths may then be absolute or contain `..`, if they lead
                to a file inside it.

        Raises:
            ValueError: A path is empty or could lead out of its folder.
        """
        texts, rule = self.cells[column], "relative, without '..'"
        for start in strip:
            texts = texts.str.removeprefix(start)
        if folder is not None:
            texts, rule = texts.map(lambda text: _inside(folder, text)), "relative to it, or absolute"
        paths = texts.map(relative_path)
        self.refuse(paths == "", column, f"must be a path inside the image folder: {rule}")
        return paths

    def numbers(self, column: str, is_good: Callable[[pd.Series], pd.Series], rule: str) -> pd.Series:
        """Return a column of numbers, float64, NaN where empty; see `decimal_points`.

        Args:
            column: The column.
            is_good: Returns which numbers are allowed.
            rule: The rule, such as `must be 0 or 1`.

        Raises:
            ValueError: A cell is not a number, or not an allowed one.
        """
        texts = decimal_points(self.cells[column], self.decimal_commas)
        numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
        self.refuse(~is_good(numbers) & (self.cells[column] != ""), column, rule)
        return numbers


def read_table(
    path: str | os.PathLike,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    free: Sequence[str] = (),
    collect: bool = False,
) -> Table:
    """Read selected columns of a table; the others are dropped, so that large tables fit into memory.

    Args:
        path: A table for `read_rows`; its first row contains the column names.
        columns: Required columns.
        optional: Columns that are read if present.
        free: Those of the columns in which bytes that are not text are allowed; they become U+FFFD.
        collect: Collect broken rules until the table's `check`, which the caller must call.

    Returns:
        The table; blank rows are skipped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not such a table, lacks a required column, has a column twice, or has no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"'{path}': must be an existing CSV file")
    rows, records, places = [], [], None
    problems, form = Problems(path.name), table_format(path)
    # Bytes that are not text do no harm in columns that are dropped; in the others they are found below.
    for row, cells in read_rows(path, problems if collect else None, form=form):
        if places is None:
            places = _places(path.name, row, cells, columns, optional)
        else:
            rows.append(row)
            records.append([cells[place] for place in places.values()])
    if not records:
        problems.check()
        raise ValueError(f"{path.name}: got no rows, must have at least one below the column names")
    frame = pd.DataFrame(records, columns=list(places), index=rows, dtype=object)
    table = Table(path.name, frame, problems if collect else None, decimal_commas=form.delimiter == ";")
    for column in [column for column in places if column not in free]:
        table.refuse(table.cells[column].str.contains("[\0\ufffd]"), column, "must be UTF-8 text")
    return table


def _places(name: str, row: int, header: list[str], columns: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Return the position of each selected column in the header."""
    wrong = {column: header.count(column) for column in (*columns, *optional)}
    wrong = {column: n for column, n in wrong.items() if n > 1 or (n == 0 and column in columns)}
    if wrong:
        found = ascii(", ".join(header)[: 5 * SHOWN])
        lines = [
            f"{name} row {row}, column '{column}': {f'found {n} times' if n else 'missing'}, must occur once among the "
            f"columns; found: {found}"
            for column, n in wrong.items()
        ]
        raise Lines(lines)
    return {column: header.index(column) for column in (*columns, *optional) if column in header}


def _inside(folder: str | os.PathLike, text: str) -> str:
    """Return a path that leads into a folder relative to it; other texts are returned unchanged."""
    if relative_path(text) or not text.isprintable() or not text:
        return text
    root, path = os.path.abspath(folder), os.path.normpath(os.path.join(os.path.abspath(folder), text))
    try:
        found = os.path.relpath(path, root)
    except ValueError:  # another drive
        return text
    return text if found.startswith(os.pardir) else found


def relative_path(text: str) -> str:
    """Bring a path to the form `folder/file.dcm`.

    Args:
        text: A path with `/` or, as on Windows, with backslashes.

    Returns:
        The path. It is empty if `text` is empty or could, on any operating system, lead out of the folder to which it
        is relative: absolute, with `..`, with a drive or a stream (`:`), or with characters that cannot be printed.
    """
    parts = re.split(r"[\\/]", text)
    if parts[0] == "" or not text.isprintable():
        return ""
    kept = [part for part in parts if part not in ("", ".")]
    if any(":" in part or not part.strip(" .") for part in kept):  # Windows ignores trailing blanks and dots
        return ""
    return "/".join(kept)
