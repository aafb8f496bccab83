"""The table of readings: its columns, its checks, and the files of a study's folder.

A reader's file is `NAME.csv` in the folder of the study, with one row per view. A row exists as soon as something was
entered, or the view was looked at; `read_at` is empty until the reader has chosen a label (or `undecided`).
"""

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import is_temporary
from bac_utils._tables import Table, read_table
from bac_utils.readings.lines import RULE, read_lines

KEYS = ("patient_id", "exam", "laterality", "view")
"""Columns that identify a view."""
COLUMNS = (
    "reader",
    *KEYS,
    "bac",
    "bac_length_mm",
    "csbi",
    "bac_ss",
    "comment",
    "lines",
    "seconds",
    "read_at",
    "seed",
    "position",
)
"""All columns of a reader's file, in this order."""
ENTRIES = ("bac", "bac_length_mm", "csbi", "bac_ss", "comment", "lines", "seconds", "read_at")
"""Columns that change while a reader reads."""
CSBI = (0, 1, 2, 3)
"""Grades of the Canadian Society of Breast Imaging (position statement on BAC reporting); see `burden.csbi_grade`."""
OF_EXAM = ("csbi", "bac_ss")
"""Grades of a woman, the same in all views of an exam. `bac_ss`: points of the BAC-SS (Trimboli et al., Quant Imaging
Med Surg 11:2019, 2021) by the reader's own reckoning; the kit has no rule for them."""
MOST = 20_000
"""Length of the longest comment, in characters; a CSV reader refuses fields above 131,072."""
_OPTIONAL = ("bac_ss", "comment", "lines", "seconds", "seed", "position")
"""Columns that a file may lack."""
_SHORT = 40
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")

_NUMBERS = {
    "bac": (lambda x: x.isin([0, 1]), "must be 0, 1 or empty (undecided)"),
    "bac_length_mm": (lambda x: (x >= 0) & (x < np.inf), "must be a number of mm, 0 or more, or empty"),
    "csbi": (lambda x: x.isin(CSBI), "must be 0, 1, 2, 3 or empty"),
    "bac_ss": (lambda x: (x >= 0) & (x < np.inf) & (x == x.round()), "must be a whole number, 0 or more, or empty"),
    "seconds": (lambda x: (x >= 0) & (x < np.inf), "must be a number of seconds, 0 or more, or empty"),
    "seed": (lambda x: x == x.round(), "must be a whole number"),
    "position": (lambda x: (x >= 1) & (x == x.round()), "must be a whole number, 1 or more, or empty"),
}


def check_reader(name: str) -> str:
    """Return a reader's name without leading and trailing blanks.

    Raises:
        ValueError: It is empty, longer than 200 characters, or has characters that cannot be printed.
    """
    found = name.strip() if isinstance(name, str) else ""
    if not (0 < len(found) <= 200 and found.isprintable()):
        raise ValueError(f"reader: got {ascii(name)[:60]}, must be text of 1 to 200 printable characters")
    return found


def file_name(reader: str) -> str:
    """Return the name of a reader's file.

    A name of small letters, digits, `_` and `-` is kept. Of any other, these characters are kept and a digest is added,
    so that no two readers share a file, also where `A` and `a` are equal.

    Raises:
        ValueError: As `check_reader`.
    """
    reader = check_reader(reader)
    if re.fullmatch(rf"[a-z0-9_-]{{1,{_SHORT}}}", reader) and not _RESERVED.fullmatch(reader):
        return f"{reader}.csv"
    short = re.sub(r"[^A-Za-z0-9_-]+", "-", reader)[:_SHORT].strip("-") or "reader"
    return f"{short}-{hashlib.sha256(reader.encode()).hexdigest()[:8]}.csv"


def read_file(path: str | os.PathLike) -> pd.DataFrame:
    """Read and check a file of readings, which may hold several readers.

    Args:
        path: The file.

    Returns:
        The columns of `COLUMNS`: numbers as float64, NaN where empty; the others as text. Sorted by reader, position
        and view.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing or a cell breaks its rule. The message names the row, the column, the value and
            the rule of each.
    """
    needed = [name for name in COLUMNS if name not in _OPTIONAL]
    table = read_table(path, needed, [name for name in COLUMNS if name not in needed], free=("comment",), collect=True)
    cells, found = table.cells, {}
    for name in ("reader", "patient_id"):
        table.refuse(cells[name] == "", name, "must not be empty")
    table.refuse(~cells["laterality"].isin(["L", "R"]), "laterality", "must be L or R")
    table.refuse(~cells["view"].isin(["CC", "MLO"]), "view", "must be CC or MLO")
    for name, (is_good, rule) in _NUMBERS.items():
        found[name] = table.numbers(name, is_good, rule) if name in cells else pd.Series(np.nan, cells.index)
    table.refuse((found["bac"] == 0) & (found["bac_length_mm"] > 0), "bac_length_mm", "must be 0 or empty if bac is 0")
    if "lines" in cells:
        table.refuse([not _is_good(read_lines, text) for text in cells["lines"]], "lines", f"must be {RULE}")
    if "comment" in cells:
        table.refuse(cells["comment"].str.len() > MOST, "comment", f"must have at most {MOST} characters")
    stamps = [not text or _is_good(_moment, text) for text in cells["read_at"]]
    table.refuse(
        ~np.array(stamps, bool), "read_at", "must be a time with its zone, YYYY-MM-DDThh:mm:ss+00:00, or empty"
    )
    table.refuse((cells["read_at"] == "") & found["bac"].notna(), "read_at", "must not be empty where bac is 0 or 1")
    for name in [name for name in OF_EXAM if name in cells]:
        _check_across_rows(table, name, found[name])
    table.check()
    texts = {name: cells.get(name, pd.Series("", cells.index)) for name in COLUMNS if name not in found}
    frame = pd.DataFrame(texts | found)[list(COLUMNS)]
    return frame.sort_values(["reader", "position", *KEYS], kind="stable", ignore_index=True)


def read_folder(folder: str | os.PathLike) -> pd.DataFrame:
    """Read the readings of all readers of a study.

    Args:
        folder: The folder with the readers' files.

    Returns:
        As `read_file`, for all files `*.csv`.

    Raises:
        FileNotFoundError: There is no such folder, or no file in it.
        ValueError: As `read_file`, or two files have rows of one reader.
    """
    paths = reader_files(folder)
    if not paths:
        raise FileNotFoundError(f"readings: got '{folder}', must be a folder with the files of readers (*.csv)")
    tables, seen = [], {}
    for path in paths:
        tables.append(read_file(path))
        for reader in tables[-1]["reader"].unique():
            if reader in seen:
                raise ValueError(
                    f"{path.name}: got rows of the reader {ascii(reader)}, who is also in {seen[reader]}, must be in "
                    "one file"
                )
            seen[reader] = path.name
    return pd.concat(tables, ignore_index=True)


def reader_files(folder: str | os.PathLike) -> list[Path]:
    """Return the files of readers in a folder, by name; empty if there is no such folder."""
    return sorted(path for path in Path(folder).glob("*.csv") if path.is_file() and not is_temporary(path))


def readers_in(readings: pd.DataFrame) -> list[str]:
    """Return the names of the readers of a table, sorted."""
    return sorted(readings["reader"].unique())


def is_read(readings: pd.DataFrame) -> pd.Series:
    """Return for each row whether the reader has read the view: chosen a label, or `undecided`."""
    return readings["read_at"] != ""


def _is_good(read: object, text: str) -> bool:
    try:
        read(text)  # type: ignore[operator]
    except ValueError:
        return False
    return True


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("no zone")
    return found


def _check_across_rows(table: Table, name: str, grades: pd.Series) -> None:
    """Refuse views that a reader has twice, and different grades of one exam."""
    cells, first = table.cells, ["reader", *KEYS]
    table.refuse(cells.duplicated(first), "view", "must occur once for each reader and breast of an exam")
    exam = [cells[column] for column in ("reader", "patient_id", "exam")]
    known = grades.groupby(exam).transform("first")
    table.refuse(grades.notna() & (grades != known), name, "must be the same in all views of an exam")


def as_text(row: Sequence) -> list[str]:
    """Return the cells of a row as they are written: empty for NaN and None, whole numbers without a point."""
    return ["" if cell is None or cell != cell else _number(cell) if isinstance(cell, float) else cell for cell in row]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
