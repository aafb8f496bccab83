"""INbreast: from its file names and its table to a views table. See `docs/archives.md`."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import walk_files
from bac_utils._tables import read_table
from bac_utils.archives.conversion import NO_VIEW, Archive, Selection, exclude_repeated, finish
from bac_utils.archives.copies import ENDINGS
from bac_utils.archives.exams import exams_not_taken
from bac_utils.archives.labels import add_labels, read_labels
from bac_utils.archives.tables import check_folder
from bac_utils.views_table import AGE_BOUNDS, VIEWS

TABLES = ("INbreast.csv", "INbreast.xlsx")
CONTRADICTION = "name and table differ in side or view"
ANOTHER_EXAM = "another exam of the woman"
_NAME = re.compile(r"(\d+)_([0-9a-f]{8,})_MG_([LR])_([A-Z]+)_ANON", re.IGNORECASE)
"""Number of the image, woman, side and view."""
_NAMED_VIEWS = {"ML": "MLO"}
"""INbreast's names call its MLO views ML (Moreira et al., Acad Radiol 19:236, 2012: only CC and MLO were taken)."""


def read_inbreast(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read INbreast. It has no BAC labels of its own, and its PatientID is `removed` in all files.

    Woman, side and view are those in the file names (`20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm`); `patient_id` is the
    second part. The table, if there is one, must agree in side and view, and gives the date of the exam and the ages,
    if any. One exam of each woman is kept (`exams.exams_not_taken`): the one with the most of the four standard views,
    among these one with a label, among these the earliest.

    Args:
        source: The folder with `INbreast.csv` (semicolons or commas) or `INbreast.xlsx`; the old `.xls` is not read.
        images: The folder with `AllDICOMs/` or the files themselves, in any subfolder; by default `source`.
        labels: As for `dicom_folder.read_dicom_folder`, with paths relative to `images`.
        ages: A table of `patient_id, age`.
        without_age: Keep views without an age.

    Returns:
        The views.

    Raises:
        FileNotFoundError: A folder or a table does not exist.
        ValueError: A table breaks a rule, or no view remains.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    given = read_labels(labels, images=images) if labels is not None else None
    rows = _named_files(images)
    stated, notes = _read_table(source)
    frame = pd.DataFrame(rows, columns=["row", "number", "patient_id", "laterality", "view", "image"])
    frame = frame.join(stated, on="number")
    selection = Selection(frame)
    selection.exclude(NO_VIEW, ~selection.frame["view"].isin(VIEWS))
    selection.exclude(CONTRADICTION, _differs(selection.frame))
    selection.exclude("another file of the same image", selection.frame.duplicated("number"), "one_per_view")
    selection.frame = selection.frame.assign(exam=selection.frame["date"].fillna(""), study_date="")
    exclude_repeated(selection, "exam")
    selection.frame, more = add_labels(selection.frame, given)
    selection.exclude(ANOTHER_EXAM, exams_not_taken(selection.frame) != "", "exam")
    return finish("INbreast", selection, images, ages, without_age, [*notes, *more])


def _named_files(images: Path) -> list[tuple]:
    """Return row, number, woman, side, view and path of each file that is named as in INbreast; DICOM files first."""
    found = []
    for path in walk_files([images]):
        match = _NAME.fullmatch(path.stem)
        if match and path.suffix.lower() in ENDINGS:
            view = match[4].upper()
            place = path.relative_to(images).as_posix()
            woman = match[2].lower()
            found.append((match[1], woman, match[3].upper(), _NAMED_VIEWS.get(view, view), place, path.suffix.lower()))
    found.sort(key=lambda row: (ENDINGS.index(row[5]), row[4]))
    return [(number, *row[:5]) for number, row in enumerate(found, 1)]


def _read_table(source: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return side, view, date and age by number of the image, and a note if there is no table."""
    columns = ["stated_side", "stated_view", "date", "age"]
    path = next((source / name for name in TABLES if (source / name).is_file()), None)
    if path is None:
        nothing = pd.DataFrame({name: pd.Series(dtype="object") for name in columns}).astype({"age": "float64"})
        return nothing, [f"without {' or '.join(TABLES)}: exams of a woman cannot be told apart"]
    table = read_table(path, ("Laterality", "View", "Acquisition date", "File Name"), ("Patient age",))
    numbers = table.identifiers("File Name")
    table.refuse(numbers.duplicated(), "File Name", "must occur once")
    ages = pd.to_numeric(table.cells.get("Patient age", pd.Series("", table.cells.index)), errors="coerce")
    found = pd.DataFrame(
        {
            "stated_side": table.choices("Laterality", {"L": "L", "R": "R"}),
            "stated_view": table.cells["View"].str.upper().replace(_NAMED_VIEWS),
            "date": table.cells["Acquisition date"],
            "age": ages.where(ages.between(*AGE_BOUNDS)).astype("float64"),
        }
    )
    return found.set_index(numbers.str.extract(r"^(\d+)")[0].fillna(numbers)), []


def _differs(frame: pd.DataFrame) -> pd.Series:
    """Return for each image whether the table states another side or view than its name."""
    pairs = (("stated_side", "laterality"), ("stated_view", "view"))
    return pd.Series(
        np.any([frame[a].notna() & (frame[a] != "") & (frame[a] != frame[b]) for a, b in pairs], axis=0),
        frame.index,
        dtype=bool,
    )
