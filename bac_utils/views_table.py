"""The views table: one row a mammographic view, read and checked.

Everything downstream takes a table that passed `check_views`.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

REQUIRED = ("patient_id", "age", "laterality", "view", "image", "bac")
SPLITS = ("train", "validation", "test", "unused", "quantification")
"""`unused`: a BAC- woman left out of training by the undersampling, or a woman who was not included. `quantification`:
a woman outside the cohort whose views are measured alone (the paper's 56 women came from an earlier study)."""
AGE_BOUNDS = (18, 110)
"""Years outside of which an age is taken for a slip of the pen."""
MAXIMUM_SPACING_MM = 2.0
"""A pixel of a mammogram is far smaller; a larger number is a spacing in micrometres or an image size."""

_CHOICES = {"laterality": ("L", "R"), "view": ("CC", "MLO"), "split": SPLITS}
_NUMBERS = {  # column: (may be empty, test, rule)
    "age": (False, lambda x: x.between(*AGE_BOUNDS), "a number of years from {} to {}".format(*AGE_BOUNDS)),
    "bac": (True, lambda x: x.isin([0, 1]), "0, 1 or empty (unknown)"),
    "bac_length_mm": (True, lambda x: (x >= 0) & (x < np.inf), "a number of mm, 0 or more, or empty"),
    "pixel_spacing_mm": (
        True,
        lambda x: (x > 0) & (x <= MAXIMUM_SPACING_MM),
        f"a number of mm above 0 and at most {MAXIMUM_SPACING_MM:g}, or empty",
    ),
}


def read_views(path: str | os.PathLike, check_images: bool = False) -> pd.DataFrame:
    """Read and check a views table.

    Args:
        path: A UTF-8 CSV file (comma-separated) with the columns `patient_id, age, laterality, view, image,
            bac` and, optionally, `bac_length_mm, pixel_spacing_mm, split`. Other columns are kept as text.
        check_images: Refuse a table that names an image file which is not there.

    Returns:
        The table of `check_views` with `image_path` added: `image` as an absolute path (str). A relative
        `image` starts from the folder of the table.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no CSV text, or the table breaks a rule of `check_views`; the message names
            the row (its line in the file), the column, the value and the rule.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: got '{path}', must be an existing CSV file")
    frame, rows = _read_csv(path)
    views = check_views(frame, path.name, rows)
    views["image_path"] = [os.path.abspath(path.parent / image) for image in views["image"]]
    if check_images:
        missing = ~views["image_path"].map(os.path.isfile).to_numpy(bool)
        _refuse(missing, path.name, rows, "image", views["image"], "must be an existing file")
    return views


def check_views(frame: pd.DataFrame, name: str = "views", rows: Sequence[int] | None = None) -> pd.DataFrame:
    """Check a views table and give its columns their types.

    A BAC+ view with a length of 0 is let through: a reader may see a point that has no measurable length. In a table
    with lengths those of BAC- views, which need not be filled in, become 0.

    Args:
        frame: The table, one row a view; text or numbers.
        name: What to call the table in a message.
        rows: The number of each row in a message; by default its line in a CSV file with one line a row.

    Returns:
        A copy with a fresh index: `patient_id`, `laterality`, `view`, `image`, `split` as stripped text;
        `age`, `bac`, `bac_length_mm`, `pixel_spacing_mm` as float64, NaN where empty.

    Raises:
        TypeError: `frame` is no DataFrame.
        ValueError: A column is missing; the table has no rows; a cell breaks its rule; a view or an image
            file comes twice; a woman's age or split differs between her views; a BAC- view has a length.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame: got {type(frame).__name__}, must be a pandas.DataFrame")
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise ValueError(
            f"{name} row 1, column '{missing[0]}': missing, must be among the columns (separated by commas); "
            f"found: {found}"
        )
    if frame.empty:
        raise ValueError(f"{name}: got no rows, must hold at least one view below the column names")
    rows = range(2, len(frame) + 2) if rows is None else rows
    views = frame.reset_index(drop=True).copy()
    for column in ("patient_id", "image", *_CHOICES):
        if column in views:
            views[column] = _as_text(views[column])
    for column in ("patient_id", "image"):
        _refuse(views[column] == "", name, rows, column, views[column], "must not be empty")
    for column, choices in _CHOICES.items():
        if column in views:
            rule = f"must be one of {', '.join(choices)}"
            _refuse(~views[column].isin(choices), name, rows, column, views[column], rule)
    for column, (optional, is_good, rule) in _NUMBERS.items():
        if column in views:
            text = _as_text(views[column])
            numbers = pd.to_numeric(text, errors="coerce").astype("float64")
            bad = ~is_good(numbers) & ~((text == "") & optional)
            _refuse(bad, name, rows, column, text, f"must be {rule}")
            views[column] = numbers
    _check_across_rows(views, name, rows)
    if "bac_length_mm" in views and views["bac_length_mm"].notna().any():
        views["bac_length_mm"] = views["bac_length_mm"].mask((views["bac"] == 0) & views["bac_length_mm"].isna(), 0.0)
    return views


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Return a CSV file's cells as text and the line at which each row begins; blank rows are skipped."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: got bytes that are no text ({error}), must be UTF-8 CSV") from error
    if "\0" in text:
        raise ValueError(f"{path.name}: got zero bytes, which are no text, must be UTF-8 CSV")
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    records, rows, start = [], [], 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append([cell.strip() for cell in record])
                rows.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path.name} row {start}: got {error}, must be comma-separated values") from error
    if not records:
        raise ValueError(f"{path.name}: got an empty file, must begin with the names of the columns")
    header = records[0]
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(f"{path.name} row {rows[0]}: got columns {header}, must be names, each once")
    for record, row in zip(records, rows, strict=True):
        if len(record) != len(header):
            raise ValueError(
                f"{path.name} row {row}: got {len(record)} cells, must have {len(header)} as the first row"
            )
    return pd.DataFrame(records[1:], columns=header, dtype=object), rows[1:]


def _as_text(column: pd.Series) -> pd.Series:
    """Return the cells as stripped text, empty where missing."""
    return pd.Series(["" if pd.isna(cell) else str(cell).strip() for cell in column], index=column.index)


def _check_across_rows(views: pd.DataFrame, name: str, rows: Sequence[int]) -> None:
    """Refuse what no single cell shows: doubled views or files, two ages or sets of a woman, lengths at 0."""
    lines = pd.Series(list(rows), index=views.index)
    once = {
        "view": (["patient_id", "laterality", "view"], "must come once for each side of a woman"),
        "image": ([views["image"].map(os.path.normpath)], "must be the file of one view only"),
    }
    for column, (key, rule) in once.items():
        first = lines.groupby([views[k] if isinstance(k, str) else k for k in key]).transform("first")
        bad = first != lines
        _refuse(bad, name, rows, column, views[column], rule + " (also in row {})", first)
    for column in ("age", "split"):
        if column in views:
            known = views.groupby("patient_id")[column].transform("first")
            first = lines.groupby(views["patient_id"]).transform("first")
            rule = "must be the same in all views of a woman (row {} differs)"
            _refuse(views[column] != known, name, rows, column, views[column], rule, first)
    if "bac_length_mm" in views:
        bad = (views["bac"] == 0) & (views["bac_length_mm"] > 0)
        _refuse(bad, name, rows, "bac_length_mm", views["bac_length_mm"], "must be 0 or empty where bac is 0")


def _refuse(
    bad: Sequence[bool],
    name: str,
    rows: Sequence[int],
    column: str,
    values: pd.Series,
    rule: str,
    other: pd.Series | None = None,
) -> None:
    """Raise for the first bad row, in words that name it; `other` fills the row number into the rule."""
    where = np.flatnonzero(np.asarray(bad, dtype=bool))
    if not where.size:
        return
    i = where[0]
    value = values.iloc[i]
    shown = f"{value:g}" if isinstance(value, float) else value if value != "" else "nothing"
    rule = rule if other is None else rule.format(other.iloc[i])
    more = f" (rows that break this rule: {where.size})" if where.size > 1 else ""
    raise ValueError(f"{name} row {rows[i]}, column '{column}': got {shown}, {rule}{more}")
