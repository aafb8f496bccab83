"""VinDr-Mammo: from its tables to a views table. See `docs/archives.md` for downloads and pitfalls."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import read_table
from bac_utils.archives.conversion import NO_FILE, NO_VIEW, Archive, Selection, finish
from bac_utils.archives.copies import SPACING, ImageFinder, stated_spacing
from bac_utils.archives.tables import check_folder, find_tables
from bac_utils.views_table import VIEWS

_ROOTS = ("", "images/")


def read_vindr_mammo(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read VinDr-Mammo. Its findings have no vascular class, so the label of all views is unknown.

    Args:
        source: The folder with `breast-level_annotations.csv` and, for the ages, `metadata.csv`.
        images: The folder with `images/STUDY/IMAGE.dicom` or `STUDY/IMAGE.dicom`, or with copies as PNG, TIFF or JPEG
            (`copies.ImageFinder`); by default `source`. Copies have no pixel spacing, unless the table of the breasts
            has a column `pixel_spacing_mm`.
        ages: A table of `patient_id, age`, with `study_id` as `patient_id`; it overrides `metadata.csv`.
        without_age: Keep views without an age.

    Returns:
        The views. `patient_id` is the exam: the tables do not state which exams belong to the same woman.

    Raises:
        FileNotFoundError: A folder or the table does not exist.
        ValueError: A table breaks a rule, or no view remains.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    table = read_table(
        find_tables(source, ("breast-level_annotations.csv",))[0],
        ("study_id", "image_id", "laterality", "view_position"),
        (SPACING,),
    )
    finder = ImageFinder(images, _ROOTS, ".dicom")
    studies, instances = table.identifiers("study_id"), table.identifiers("image_id")
    stated = source / "metadata.csv"
    selection = Selection(
        pd.DataFrame(
            {
                "row": table.cells.index,
                "path": studies + "/" + instances,
                "patient_id": studies,
                "age": instances.map(_read_ages(stated)) if stated.is_file() else np.nan,
                "laterality": table.choices("laterality", {"L": "L", "R": "R"}),
                "view": table.cells["view_position"].str.upper(),
                "image": [finder.find(study, image) for study, image in zip(studies, instances, strict=True)],
                "bac": np.nan,
            }
            | stated_spacing(table)
        )
    )
    selection.exclude(NO_VIEW, ~selection.frame["view"].isin(VIEWS))
    selection.exclude(NO_FILE, selection.frame["image"] == "")
    return finish("VinDr-Mammo", selection, images, ages, without_age, finder.notes())


def _read_ages(path: Path) -> pd.Series:
    """Return the ages by image, years; NaN if not stated. The table writes them as DICOM does: `053Y`."""
    table = read_table(path, ("SOP Instance UID", "Patient's Age"))
    table.refuse(table.cells["SOP Instance UID"].duplicated(), "SOP Instance UID", "must occur once")
    years = table.cells["Patient's Age"].str.upper().str.extract(r"^(\d{1,3})Y?$")[0]
    table.refuse(years.isna() & (table.cells["Patient's Age"] != ""), "Patient's Age", "must be like 053Y, or empty")
    return pd.Series(years.astype("float64").to_numpy(), index=table.cells["SOP Instance UID"].to_numpy())
