"""The views table, with one row per mammographic view: reading and checking it.

All later steps take a table that has passed `check_views`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import read_rows

COLUMNS = ("patient_id", "age", "laterality", "view", "image", "bac")
"""Columns that every checked table has, in this order where it is written; a table may lack `age`."""
REQUIRED = tuple(name for name in COLUMNS if name != "age")
VIEWS = ("CC", "MLO")
SETS = ("train", "validation", "test")
SPLITS = (*SETS, "unused", "quantification")
"""`unused`: BAC- women removed from the training set by undersampling, and women who were not included.
`quantification`: women outside the cohort, whose views are measured (the paper: 56 women of an earlier study)."""
AGE_BOUNDS = (18, 110)
"""Ages outside this range, in years, are assumed to be typing errors."""
MAXIMUM_SPACING_MM = 2.0
"""Pixels of mammograms are far smaller; a larger number is a spacing in micrometres or an image size."""

_CHOICES = {"laterality": ("L", "R"), "view": VIEWS, "split": SPLITS}
_NUMBERS = {  # column: (may be empty, test, rule)
    "age": (True, lambda x: x.between(*AGE_BOUNDS), "a number of years from {} to {}, or empty".format(*AGE_BOUNDS)),
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
        path: A UTF-8 CSV file (comma-separated) with the columns `patient_id, laterality, view, image, bac` and,
            optionally, `age, bac_length_mm, pixel_spacing_mm, split`. Other columns are kept as text.
        check_images: Reject a table if one of its image files does not exist.

    Returns:
        The table of `check_views` and a column `image_path`: `image` as an absolute path (str). A relative `image` is
        relative to the folder of the table.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not CSV text, or the table breaks a rule of `check_views`. The message names the row
            (its line in the file), the column, the value and the rule.
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


def is_compared(views: pd.DataFrame, view: str = "MLO") -> pd.Series:
    """Say for each row whether its measures are compared with lengths: one view of BAC+ women, as in the paper.

    Args:
        views: One row per view: `patient_id, view, split, bac`.
        view: `CC` or `MLO`.

    Returns:
        bool, with the table's index; women of the split `quantification` count as BAC+.
    """
    with_bac = views["patient_id"].isin(views.loc[views["bac"] == 1, "patient_id"])
    return (with_bac | (views["split"] == "quantification")) & (views["view"] == view)


def quantification_subset(views: pd.DataFrame, splits: str | None, view: str) -> pd.DataFrame:
    """Select the views whose measures are compared with reference lengths.

    Args:
        views: A checked views table with `split`.
        splits: Names of sets, separated by commas, whose BAC+ women are measured. None selects the women of the split
            `quantification`, or the BAC+ women of the test set if there are none.
        view: `CC` or `MLO`.

    Returns:
        The selected rows, with a new index.

    Raises:
        ValueError: A set or the view is unknown, or no view is selected.
    """
    known = (*SETS, "quantification")
    names = [name.strip() for name in splits.split(",")] if splits else []
    if not set(names) <= set(known) or view not in VIEWS:
        raise ValueError(f"subset: got {splits!r}, {view!r}, must be among {known} and {VIEWS}")
    apart = views["split"] == "quantification"
    names = names or (["quantification"] if apart.any() else ["test"])
    subset = views[is_compared(views, view) & views["split"].isin(names)]
    if subset.empty:
        raise ValueError(f"subset: got no {view} view of a BAC+ woman in {', '.join(names)}, must be one or more")
    return subset.reset_index(drop=True)


def check_views(frame: pd.DataFrame, name: str = "views", rows: Sequence[int] | None = None) -> pd.DataFrame:
    """Check a views table and convert its columns.

    An age that is stated for one view of a woman holds for all of them. A BAC+ view may have a length of 0: a reader
    may see a point without a measurable length. If the table has any lengths, empty lengths of BAC- views become 0.

    Args:
        frame: The table, one row per view; text or numbers.
        name: Name of the table in error messages.
        rows: Number of each row in error messages; by default its line in a CSV file with one line per row.

    Returns:
        A copy with a new index: `patient_id`, `laterality`, `view`, `image`, `split` as stripped text; `age`, `bac`,
        `bac_length_mm`, `pixel_spacing_mm` as float64, NaN where empty; `age` is NaN if the table has no such column.

    Raises:
        TypeError: `frame` is not a DataFrame.
        ValueError: A column is missing; the table has no rows; a cell breaks its rule; a view or an image file occurs
            twice; a woman's age or split differs between her views; a BAC- view has a length.
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
        raise ValueError(f"{name}: got no rows, must have at least one view below the column names")
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
    if "age" not in views:
        views["age"] = np.nan
    _check_across_rows(views, name, rows)
    views["age"] = views.groupby("patient_id")["age"].transform("first")
    if "bac_length_mm" in views and views["bac_length_mm"].notna().any():
        views["bac_length_mm"] = views["bac_length_mm"].mask((views["bac"] == 0) & views["bac_length_mm"].isna(), 0.0)
    return views


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Return all cells of a CSV file as text, and the line at which each row starts."""
    found = list(read_rows(path))
    if not found:
        raise ValueError(f"{path.name}: got an empty file, must start with the column names")
    for row, cells in found:
        if any("\0" in cell or "\ufffd" in cell for cell in cells):
            raise ValueError(f"{path.name} row {row}: got bytes that are not text, must be UTF-8 CSV")
    (first, header), *body = found
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(f"{path.name} row {first}: got columns {header}, must be unique names")
    return pd.DataFrame([cells for _, cells in body], columns=header, dtype=object), [row for row, _ in body]


def _as_text(column: pd.Series) -> pd.Series:
    """Return the cells as stripped text, empty where missing."""
    return pd.Series(["" if pd.isna(cell) else str(cell).strip() for cell in column], index=column.index)


def _check_across_rows(views: pd.DataFrame, name: str, rows: Sequence[int]) -> None:
    """Reject errors across rows: repeated views or files, women with two ages or sets, BAC- views with a length."""
    lines = pd.Series(list(rows), index=views.index)
    once = {
        "view": (["patient_id", "laterality", "view"], "must occur once for each breast of a woman"),
        "image": ([views["image"].map(os.path.normpath)], "must be the file of one view only"),
    }
    for column, (key, rule) in once.items():
        first = lines.groupby([views[k] if isinstance(k, str) else k for k in key]).transform("first")
        bad = first != lines
        _refuse(bad, name, rows, column, views[column], rule + " (also in row {})", first)
    for column in ("age", "split"):
        if column in views:
            stated = views[column].notna()
            known = views.groupby("patient_id")[column].transform("first")
            first = lines.where(stated).groupby(views["patient_id"]).transform("first").fillna(0).astype(int)
            rule = "must be the same in all views of a woman (row {} differs)"
            _refuse(stated & (views[column] != known), name, rows, column, views[column], rule, first)
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
    """Raise an error that names the first bad row; `other` has the row number for the placeholder in the rule."""
    where = np.flatnonzero(np.asarray(bad, dtype=bool))
    if not where.size:
        return
    i = where[0]
    value = values.iloc[i]
    shown = f"{value:g}" if isinstance(value, float) else value if value != "" else "nothing"
    rule = rule if other is None else rule.format(other.iloc[i])
    more = f" (rows that break this rule: {where.size})" if where.size > 1 else ""
    raise ValueError(f"{name} row {rows[i]}, column '{column}': got {shown}, {rule}{more}")
