"""Reading CSV files: selected columns, checked row by row, and relative paths that cannot leave their folder."""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SHOWN = 60
"""Largest number of characters of a cell that a message quotes."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")


@dataclass(frozen=True)
class Table:
    """Some columns of a CSV file.

    Attributes:
        name: The file's name.
        cells: Text without leading and trailing blanks. The index is the line of the file on which each row begins.
    """

    name: str
    cells: pd.DataFrame

    def refuse(self, bad: Iterable[bool], column: str, rule: str) -> None:
        """Raise for the first row that breaks a rule.

        Args:
            bad: For each row, whether it breaks the rule.
            column: The column to which the rule applies.
            rule: The rule, such as `must be L or R`.

        Raises:
            ValueError: A row breaks the rule; the message names file, row, column, value and rule.
        """
        where = np.flatnonzero(np.asarray(bad, dtype=bool))
        if not where.size:
            return
        value, row = self.cells[column].iloc[where[0]], self.cells.index[where[0]]
        shown = value if value.isprintable() and len(value) <= SHOWN else ascii(value[:SHOWN])
        more = f" (rows that break this rule: {where.size})" if where.size > 1 else ""
        raise ValueError(f"{self.name} row {row}, column '{column}': got {shown or 'nothing'}, {rule}{more}")

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
            ValueError: A cell is empty, has characters other than letters, digits, `.`, `_` and `-`, or is a number in
                scientific notation, which may have lost digits.
        """
        rounded = self.cells[column].str.fullmatch(r"\d+(\.\d+)?[eE]\+\d+")
        self.refuse(rounded, column, "must be written with all its digits")
        bad = [_IDENTIFIER.fullmatch(cell) is None for cell in self.cells[column]]
        self.refuse(bad, column, "must be an identifier of letters, digits, '.', '_' and '-'")
        return self.cells[column].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)

    def paths(self, column: str, strip: Sequence[str] = ()) -> pd.Series:
        """Return a column of paths in the form of `relative_path`.

        Args:
            column: The column.
            strip: Prefixes to remove, such as the folder of the server on which the table was made.

        Raises:
            ValueError: A path is empty or could lead out of its folder.
        """
        texts = self.cells[column]
        for start in strip:
            texts = texts.str.removeprefix(start)
        paths = texts.map(relative_path)
        self.refuse(paths == "", column, "must be a path inside the image folder: relative, without '..'")
        return paths

    def numbers(self, column: str, is_good: Callable[[pd.Series], pd.Series], rule: str) -> pd.Series:
        """Return a column of numbers, float64, NaN where empty.

        Args:
            column: The column.
            is_good: Returns which numbers are allowed.
            rule: The rule, such as `must be 0 or 1`.

        Raises:
            ValueError: A cell is not a number, or not an allowed one.
        """
        numbers = pd.to_numeric(self.cells[column], errors="coerce").astype("float64")
        self.refuse(~is_good(numbers) & (self.cells[column] != ""), column, rule)
        return numbers


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file row by row.

    Args:
        path: A comma-separated file; bytes that are not UTF-8 become U+FFFD.

    Yields:
        The line on which the row begins, and its cells without leading and trailing blanks. The column names come
        first; blank rows are skipped.

    Raises:
        ValueError: A row is not comma-separated text, or the number of its cells differs from that of the first row.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader, start, width = csv.reader(stream, strict=True, skipinitialspace=True), 1, None
        try:
            for record in reader:
                if any(cell.strip() for cell in record):
                    width = width or len(record)
                    if len(record) != width:
                        problem = f"got {len(record)} cells, must have {width} like the first row"
                        raise ValueError(f"{path.name} row {start}: {problem}")
                    yield start, [cell.strip() for cell in record]
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path.name} row {start}: got {error}, must be comma-separated values") from error


def read_table(
    path: str | os.PathLike, columns: Sequence[str], optional: Sequence[str] = (), free: Sequence[str] = ()
) -> Table:
    """Read selected columns of a CSV file; the others are dropped, so that large tables fit into memory.

    Args:
        path: A UTF-8 file, comma-separated; its first row contains the column names.
        columns: Required columns.
        optional: Columns that are read if present.
        free: Those of the columns in which bytes that are not UTF-8 are allowed; they become U+FFFD.

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
    # Bytes that are not UTF-8 do no harm in columns that are dropped; in the others they are found below.
    for row, cells in read_rows(path):
        if places is None:
            places = _places(path.name, row, cells, columns, optional)
        else:
            rows.append(row)
            records.append([cells[place] for place in places.values()])
    if not records:
        raise ValueError(f"{path.name}: got no rows, must have at least one below the column names")
    table = Table(path.name, pd.DataFrame(records, columns=list(places), index=rows, dtype=object))
    for column in places.keys() - set(free):
        table.refuse(table.cells[column].str.contains("[\0\ufffd]"), column, "must be UTF-8 text")
    return table


def _places(name: str, row: int, header: list[str], columns: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Return the position of each selected column in the header."""
    for column in (*columns, *optional):
        count = header.count(column)
        if count > 1 or (count == 0 and column in columns):
            problem = "missing" if count == 0 else f"found {count} times"
            found = ascii(", ".join(header)[: 5 * SHOWN])
            raise ValueError(
                f"{name} row {row}, column '{column}': {problem}, must occur once among the columns (comma-separated); "
                f"found: {found}"
            )
    return {column: header.index(column) for column in (*columns, *optional) if column in header}


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
