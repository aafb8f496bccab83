"""The views table, with one row per mammographic view: reading and checking it.

All later steps take a table that has passed `check_views`.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import Problems, decimal_points, lost_digits, read_rows, table_format
from bac_utils._terminal import shown
from bac_utils.intake.exams import DATE, iso_dates
from bac_utils.intake.free_text import without_hashes
from bac_utils.intake.mammogram import read_words

COLUMNS = ("patient_id", "age", "laterality", "view", "image", "bac")
"""Columns that every checked table has, in this order where it is written; a table may lack `age`."""
REQUIRED = tuple(name for name in COLUMNS if name != "age")
EXAM = ["patient_id", "exam"]
"""Columns that identify an exam; see `exam_keys`."""
VIEWS = ("CC", "MLO")
SETS = ("train", "validation", "test")
SPLITS = (*SETS, "unused", "quantification")
"""`unused`: BAC- women removed from the training set by undersampling, and women who were not included.
`quantification`: women outside the cohort, whose views are measured (the paper: 56 women of an earlier study)."""
AGE_BOUNDS = (18, 110)
"""Ages outside this range, in years, are assumed to be typing errors."""
LABEL_LEVELS = ("view", "breast", "exam", "woman")
"""What a label was given to (`label_level`); the label of a breast, an exam or a woman holds for each of its views."""
MAXIMUM_SPACING_MM = 2.0
"""Pixels of mammograms are far smaller; a larger number is a spacing in micrometres or an image size."""

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
"""Endings of images without a header."""

SIMULATION_NOTE = "simulation.json"
"""What `simulate` leaves in its folder."""
_LEVELS = 5
"""Folders above an image in which the note is looked for; `simulate --as-export` writes nested folders."""
_TEXTS = ("patient_id", "image", "exam", "study_date")
_CHOICES = {"laterality": ("L", "R"), "view": VIEWS, "split": SPLITS, "label_level": (*LABEL_LEVELS, "")}
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
        path: A CSV or Excel file (`_tables.read_rows`) with the columns `patient_id, laterality, view, image, bac` and,
            optionally, `age, exam, study_date, bac_length_mm, pixel_spacing_mm, split, label_level`. Other columns are
            kept as text.
        check_images: Reject a table if one of its image files does not exist.

    Returns:
        The table of `check_views` and a column `image_path`: `image` as an absolute path (str). A relative `image` is
        relative to the folder of the table. Its side and view outweigh the names of PNG and TIFF files; a warning
        states how many names differ.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a table, or the table breaks rules of `check_views`. The message names the rows
            (their lines in the file), the column, the value and the rule.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: got '{path}', must be an existing CSV file")
    frame, rows, problems = _read_table(path)
    views = _checked(frame, rows, problems)
    views["image_path"] = [os.path.abspath(path.parent / image) for image in views["image"]]
    _warn_of_names(views, path.name)
    if check_images:
        missing = ~views["image_path"].map(os.path.isfile).to_numpy(bool)
        problems = Problems(path.name)
        problems.add(missing, rows, "image", views["image"], "must be an existing file")
        problems.check()
    return views


def _warn_of_names(views: pd.DataFrame, name: str) -> None:
    """Warn once if names of files without a header, such as `L_CC.png`, state another side or view than the table."""
    differing = []
    for image, side, view in zip(views["image"], views["laterality"], views["view"], strict=True):
        stem, ending = os.path.splitext(os.path.basename(image))
        if ending.lower() in PICTURES:
            sides, positions, _, _ = read_words(without_hashes(stem))
            if (len(sides) == 1 and side not in sides) or (len(positions) == 1 and view not in positions):
                differing.append(image)
    if differing:
        first = shown(", ".join(differing[:3]))
        warnings.warn(
            f"{shown(name)}: the names of {len(differing)} images state another side or view than the table, which is "
            f"used (first: {first})",
            stacklevel=3,
        )


def exam_keys(table: pd.DataFrame) -> list[str]:
    """Return the columns by which the exams in a table are told apart: `EXAM`, without `exam` if there is none."""
    return [name for name in EXAM if name in table]


def is_compared(views: pd.DataFrame, view: str = "MLO") -> pd.Series:
    """Say for each row whether its measures are compared with lengths: one view of BAC+ women, as in the paper.

    Args:
        views: One row per view: `patient_id, view, split, bac` and, if a woman may have several, `exam`.
        view: `CC` or `MLO`.

    Returns:
        bool, with the table's index. An exam is that of a BAC+ woman if one of its views is BAC+, or in the split
        `quantification`.
    """
    with_bac = (views["bac"] == 1).groupby([views[name] for name in exam_keys(views)]).transform("any")
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


def are_simulated(views: pd.DataFrame) -> bool:
    """Return whether `simulate` has written the first view of a table: its note lies in a folder above the image.

    Args:
        views: One row per view, with `image_path`.
    """
    above = Path(views["image_path"].iloc[0]).parents[:_LEVELS]
    return any((folder / SIMULATION_NOTE).is_file() for folder in above)


def label_levels(views: pd.DataFrame) -> pd.DataFrame:
    """Count the labels by what they were given to.

    Args:
        views: A checked views table. Without a column `label_level`, all labels are those of views.

    Returns:
        `label_level, women, views, bac_views`: one row per level that occurs, in the order of `LABEL_LEVELS`; a label
        of which the level is empty is one of a view. Views without a label are not counted.
    """
    known = views[views["bac"].notna()]
    level = known["label_level"].replace("", "view") if "label_level" in views else "view"
    groups = known.assign(label_level=level).groupby("label_level", sort=False)
    counts = groups.agg(women=("patient_id", "nunique"), views=("bac", "size"), bac_views=("bac", "sum"))
    counts = counts.reindex([level for level in LABEL_LEVELS if level in counts.index]).astype("int64")
    return counts.rename_axis("label_level").reset_index()


def check_views(frame: pd.DataFrame, name: str = "views", rows: Sequence[int] | None = None) -> pd.DataFrame:
    """Check a views table and convert its columns.

    A woman may have several exams if the table tells them apart: `exam` (any text) or `study_date`, which stands for an
    empty `exam`. An age that is stated for one view of an exam holds for all of them. A BAC+ view may have a length of
    0: a reader may see a point without a measurable length. If the table has any lengths, empty lengths of BAC- views
    become 0.

    Args:
        frame: The table, one row per view; text or numbers.
        name: Name of the table in error messages.
        rows: Number of each row in error messages; by default its line in a CSV file with one line per row.

    Returns:
        A copy with a new index: `patient_id`, `exam`, `study_date` (both empty where unknown), `laterality`, `view`,
        `image`, `split`, `label_level` as stripped text; `age`, `bac`, `bac_length_mm`, `pixel_spacing_mm` as float64,
        NaN where empty; `age` is NaN if the table has no such column.

    Raises:
        TypeError: `frame` is not a DataFrame.
        ValueError: A column is missing; the table has no rows; a cell breaks its rule; an identifier has lost digits;
            a view of an exam or an image file occurs twice; age or study date differ between the views of an exam, or
            the split between those of a woman; a BAC- view has a length. The message lists all broken rules, 20 cells
            at most.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame: got {type(frame).__name__}, must be a pandas.DataFrame")
    return _checked(frame, range(2, len(frame) + 2) if rows is None else rows, Problems(name))


def _checked(frame: pd.DataFrame, rows: Sequence[int], problems: Problems) -> pd.DataFrame:
    """Return the table of `check_views`, or raise for all problems."""
    name = problems.name
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        found, names = ", ".join(map(str, frame.columns)) or "none", ", ".join(f"'{column}'" for column in missing)
        lacks = f"column{'s' if missing[1:] else ''} {names}: missing"
        raise ValueError(f"{name} row 1, {lacks}, must be among the columns; found: {found}")
    if frame.empty:
        problems.check()
        raise ValueError(f"{name}: got no rows, must have at least one view below the column names")
    views = frame.reset_index(drop=True).copy()
    for column in (*_TEXTS, *_CHOICES):
        if column in views:
            views[column] = _as_text(views[column])
    for column in ("patient_id", "image"):
        problems.add(views[column] == "", rows, column, views[column], "must not be empty")
    for column in [column for column in ("patient_id", "exam") if column in views]:
        for bad, rule, hint in lost_digits(views[column]):
            problems.add(bad, rows, column, views[column], rule, hint)
    if "study_date" in views:
        dates, bad = iso_dates(views["study_date"])
        problems.add(bad, rows, "study_date", views["study_date"], f"must be {DATE}, or empty")
        views["study_date"] = dates
    views = _with_exams(views)
    for column, choices in _CHOICES.items():
        if column in views:
            rule = f"must be one of {', '.join(choice or 'empty' for choice in choices)}"
            problems.add(~views[column].isin(choices), rows, column, views[column], rule)
    for column, (optional, is_good, rule) in _NUMBERS.items():
        if column in views:
            text = _as_text(views[column])
            numbers = pd.to_numeric(text, errors="coerce").astype("float64")
            bad = ~is_good(numbers) & ~((text == "") & optional)
            problems.add(bad, rows, column, text, f"must be {rule}")
            views[column] = numbers.mask(bad)
    if "age" not in views:
        views["age"] = np.nan
    broken = {row for row, _ in problems.found}
    _check_across_rows(views[[row not in broken for row in rows]], problems, rows)
    problems.check()
    views["age"] = views.groupby(EXAM)["age"].transform("first")
    stated = views["study_date"].mask(views["study_date"] == "")
    views["study_date"] = stated.groupby([views[name] for name in EXAM]).transform("first").fillna("").astype(object)
    if "bac_length_mm" in views and views["bac_length_mm"].notna().any():
        views["bac_length_mm"] = views["bac_length_mm"].mask((views["bac"] == 0) & views["bac_length_mm"].isna(), 0.0)
    return views


def _read_table(path: Path) -> tuple[pd.DataFrame, list[int], Problems]:
    """Return all cells of a table as text, the line at which each row starts, and rows that are not text or too long.

    Decimal commas become points.
    """
    problems, form = Problems(path.name), table_format(path)
    found = list(read_rows(path, problems, form=form))
    if not found:
        raise ValueError(f"{path.name}: got an empty file, must start with the column names")
    for row, cells in found:
        if any("\0" in cell or "\ufffd" in cell for cell in cells):
            problems.add_row(row, "got bytes that are not text, must be UTF-8 CSV")
    (first, header), *body = found
    frame = pd.DataFrame([cells for _, cells in body], columns=header, dtype=object)
    frame = frame.loc[:, [bool(column) or frame.iloc[:, i].any() for i, column in enumerate(header)]]
    if not frame.columns.is_unique or "" in frame.columns:
        raise ValueError(f"{path.name} row {first}: got columns {header}, must be unique names")
    for column in [column for column in _NUMBERS if column in frame]:
        frame[column] = decimal_points(frame[column], form.delimiter == ";")
    return frame, [row for row, _ in body], problems


def _with_exams(views: pd.DataFrame) -> pd.DataFrame:
    """Return a table with `exam` and `study_date`; a date stands for an empty exam."""
    found = views.assign(**{name: "" for name in ("exam", "study_date") if name not in views})
    return found.assign(exam=found["exam"].mask(found["exam"] == "", found["study_date"]))


def _as_text(column: pd.Series) -> pd.Series:
    """Return the cells as stripped text, empty where missing."""
    return pd.Series(["" if pd.isna(cell) else str(cell).strip() for cell in column], index=column.index)


def _check_across_rows(views: pd.DataFrame, problems: Problems, rows: Sequence[int]) -> None:
    """Add errors across rows: repeated views or files, two ages, dates or sets, BAC- views with a length."""
    lines = pd.Series([rows[i] for i in views.index], index=views.index, dtype="int64")
    exam = "an exam" if (views["exam"] != "").any() else "a woman"
    once = {
        "view": ([*EXAM, "laterality", "view"], f"must occur once for each breast of {exam}"),
        "image": ([views["image"].map(os.path.normpath)], "must be the file of one view only"),
    }
    for column, (key, rule) in once.items():
        first = lines.groupby([views[k] if isinstance(k, str) else k for k in key]).transform("first")
        rules = [f"{rule} (also in row {row})" for row in first]
        problems.add(first != lines, lines.tolist(), column, views[column], rules)
    for column, keys, whole in (("age", EXAM, exam), ("study_date", EXAM, exam), ("split", ["patient_id"], "a woman")):
        if column in views:
            stated = views[column].notna() & (views[column] != "")
            groups = [views[name] for name in keys]
            known = views[column].where(stated).groupby(groups).transform("first")
            first = lines.where(stated).groupby(groups).transform("first").fillna(0).astype(int)
            rules = [f"must be the same in all views of {whole} (row {row} differs)" for row in first]
            problems.add(stated & (views[column] != known), lines.tolist(), column, views[column], rules)
    if "bac_length_mm" in views:
        bad, rule = (views["bac"] == 0) & (views["bac_length_mm"] > 0), "must be 0 or empty where bac is 0"
        problems.add(bad, lines.tolist(), "bac_length_mm", views["bac_length_mm"], rule)
