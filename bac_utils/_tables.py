"""Tables of text as datasets bring them: the wanted columns alone, checked, and paths that stay in their folder."""

import csv
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SHOWN = 60
"""Characters of a cell that a message quotes at most."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")


@dataclass(frozen=True)
class Table:
    """Some columns of a CSV file.

    Attributes:
        name: The file's name.
        cells: Text without surrounding blanks; the index is the line of the file at which each row begins.
    """

    name: str
    cells: pd.DataFrame

    def refuse(self, bad: Iterable[bool], column: str, rule: str) -> None:
        """Raise for the first bad row.

        Args:
            bad: A truth value for each row.
            column: The column that is bad.
            rule: What it must be, such as `must be L or R`.

        Raises:
            ValueError: A row is bad; the message names file, row, column, value and rule.
        """
        where = np.flatnonzero(np.asarray(bad, dtype=bool))
        if not where.size:
            return
        value, row = self.cells[column].iloc[where[0]], self.cells.index[where[0]]
        shown = value if value.isprintable() and len(value) <= SHOWN else ascii(value[:SHOWN])
        more = f" (rows that break this rule: {where.size})" if where.size > 1 else ""
        raise ValueError(f"{self.name} row {row}, column '{column}': got {shown or 'nothing'}, {rule}{more}")

    def choices(self, column: str, meanings: dict[str, str]) -> pd.Series:
        """Return the meanings of a column's words, which are taken in any case.

        Args:
            column: The column.
            meanings: Each allowed word, in capitals, and what it stands for.

        Raises:
            ValueError: There is another word.
        """
        words = self.cells[column].str.upper()
        allowed = [word or "empty" for word in meanings]
        self.refuse(~words.isin(list(meanings)), column, f"must be {' or '.join(allowed)}")
        return words.map(meanings)

    def identifiers(self, column: str) -> pd.Series:
        """Return a column of identifiers; `12.0`, as spreadsheets write 12, counts as `12`.

        Raises:
            ValueError: A cell is empty, or has other characters than letters, digits, `.`, `_` and `-`, or is a
                number in scientific notation, which may have lost digits.
        """
        rounded = self.cells[column].str.fullmatch(r"\d+(\.\d+)?[eE]\+\d+")
        self.refuse(rounded, column, "must be written with all its digits")
        bad = [_IDENTIFIER.fullmatch(cell) is None for cell in self.cells[column]]
        self.refuse(bad, column, "must be an identifier of letters, digits, '.', '_' and '-'")
        return self.cells[column].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)

    def paths(self, column: str, strip: Sequence[str] = ()) -> pd.Series:
        """Return a column of paths as `relative_path` gives them.

        Args:
            column: The column.
            strip: Beginnings that are cut off, such as the folder of the server on which the table was made.

        Raises:
            ValueError: A path could lead out of its folder.
        """
        texts = self.cells[column]
        for start in strip:
            texts = texts.str.removeprefix(start)
        paths = texts.map(relative_path)
        self.refuse(paths == "", column, "must be a path inside the images' folder: relative, without '..'")
        return paths

    def numbers(self, column: str, is_good: Callable[[pd.Series], pd.Series], rule: str) -> pd.Series:
        """Return a column of numbers, float64, NaN where empty.

        Args:
            column: The column.
            is_good: Tests the numbers.
            rule: What they must be, such as `must be 0 or 1`.

        Raises:
            ValueError: A cell is no number, or the test says no.
        """
        numbers = pd.to_numeric(self.cells[column], errors="coerce").astype("float64")
        self.refuse(~is_good(numbers) & (self.cells[column] != ""), column, rule)
        return numbers


def relative_path(text: str) -> str:
    """Bring a path of a table to the form `folder/file.dcm`.

    Args:
        text: With `/` or, as Windows writes it, with backslashes.

    Returns:
        The path; empty if it is empty or could lead out of the folder from which it starts on any system: absolute,
        with `..`, a drive or a stream (`:`), or characters that are not printed.
    """
    parts = re.split(r"[\\/]", text)
    if parts[0] == "" or not text.isprintable():
        return ""
    kept = [part for part in parts if part not in ("", ".")]
    if any(":" in part or not part.strip(" .") for part in kept):  # Windows ignores blanks and dots at the end
        return ""
    return "/".join(kept)


def check_folder(name: str, folder: str | os.PathLike) -> Path:
    """Return a folder's path.

    Raises:
        FileNotFoundError: It is not there, or is no folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{name}: got '{os.fspath(folder)}', must be an existing folder")
    return Path(folder)


def find_tables(source: Path, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> list[Path]:
    """Find a dataset's tables.

    Args:
        source: The dataset's folder.
        names: Names of the tables, each wanted once.
        subfolders: Where they may lie; the first subfolder that has one of them counts.

    Returns:
        Those that are there, in the order of `names`.

    Raises:
        FileNotFoundError: There is none.
    """
    for subfolder in subfolders:
        found = [source / subfolder / name for name in names if (source / subfolder / name).is_file()]
        if found:
            return found
    where = " or ".join(f"'{source / subfolder}'" for subfolder in subfolders)
    raise FileNotFoundError(f"{where}: must hold {' or '.join(names)}")


def read_table(
    path: str | os.PathLike, columns: Sequence[str], optional: Sequence[str] = (), free: Sequence[str] = ()
) -> Table:
    """Read some columns of a CSV file; the others are not kept, so that large tables fit into memory.

    Args:
        path: A UTF-8 file, comma-separated, whose first row has the names of the columns.
        columns: Columns that must be there.
        optional: Columns that may be there.
        free: Columns of these that may hold odd bytes, too; what is not UTF-8 becomes U+FFFD.

    Returns:
        The table; blank rows are skipped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such table, lacks a column or has it twice, or has no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"'{path}': must be an existing CSV file")
    rows, records = [], []
    # Odd bytes in columns that nobody reads do no harm; those in the columns wanted are found below.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader, start, places = csv.reader(stream, strict=True), 1, None
        try:
            for record in reader:
                if any(cell.strip() for cell in record):
                    if places is None:
                        header = [cell.strip() for cell in record]
                        places = _places(path.name, start, header, columns, optional)
                    elif len(record) != len(header):
                        told = f"got {len(record)} cells, must have {len(header)} as the first row"
                        raise ValueError(f"{path.name} row {start}: {told}")
                    else:
                        rows.append(start)
                        records.append([record[place].strip() for place in places.values()])
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path.name} row {start}: got {error}, must be comma-separated values") from error
    if not records:
        raise ValueError(f"{path.name}: got no rows, must hold at least one below the column names")
    table = Table(path.name, pd.DataFrame(records, columns=list(places), index=rows, dtype=object))
    for column in places.keys() - set(free):
        table.refuse(table.cells[column].str.contains("[\0\ufffd]"), column, "must be UTF-8 text")
    return table


def _places(name: str, row: int, header: list[str], columns: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Return where each wanted column stands."""
    for column in (*columns, *optional):
        count = header.count(column)
        if count > 1 or (count == 0 and column in columns):
            told = "missing" if count == 0 else f"found {count} times"
            found = ascii(", ".join(header)[: 5 * SHOWN])
            raise ValueError(
                f"{name} row {row}, column '{column}': {told}, must come once among the columns (separated by commas); "
                f"found: {found}"
            )
    return {column: header.index(column) for column in (*columns, *optional) if column in header}


def locate(images: Path, roots: Sequence[str], path: str) -> str:
    """Find a file of a table on the disk.

    Args:
        images: The images' folder.
        roots: Beginnings such as `images/` that the folder may have before the path, or not (empty).
        path: As `relative_path` gives it.

    Returns:
        The path from `images`, or empty if there is no such file.
    """
    return next((root + path for root in roots if os.path.isfile(images / (root + path))), "")
