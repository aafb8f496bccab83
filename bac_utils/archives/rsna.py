"""RSNA screening mammography challenge: from its table to a views table. See `docs/archives.md` for downloads."""

import os

import numpy as np
import pandas as pd

from bac_utils._tables import read_table
from bac_utils.archives.conversion import NO_FILE, NO_VIEW, Archive, Selection, finish
from bac_utils.archives.copies import SPACING, ImageFinder, stated_spacing
from bac_utils.archives.tables import check_folder, find_tables
from bac_utils.views_table import VIEWS


def read_rsna(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read the training set of the RSNA screening mammography challenge. It has no BAC labels: all are unknown.

    Args:
        source: The folder with `train.csv`.
        images: The folder with `train_images/PATIENT/IMAGE.dcm` or `PATIENT/IMAGE.dcm`, or with copies as PNG, TIFF or
            JPEG (`copies.ImageFinder`); by default `source`. Copies have no pixel spacing, unless the table has a
            column `pixel_spacing_mm`.
        ages: A table of `patient_id, age`; it overrides the ages of the dataset.
        without_age: Keep views without an age.

    Returns:
        The views of breasts without an implant; of several images of one view, the first.

    Raises:
        FileNotFoundError: A folder or the table does not exist.
        ValueError: The table breaks a rule, or no view remains.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    table = read_table(
        find_tables(source, ("train.csv",))[0],
        ("patient_id", "image_id", "laterality", "view", "age", "implant"),
        (SPACING,),
    )
    women, files = table.identifiers("patient_id"), table.identifiers("image_id")
    table.refuse(table.cells["implant"] == "", "implant", "must be 0 or 1")
    finder = ImageFinder(images, ("train_images/", ""), ".dcm")
    selection = Selection(
        pd.DataFrame(
            {
                "row": table.cells.index,
                "path": women + "/" + files,
                "patient_id": women,
                "age": table.numbers("age", lambda x: x.abs() < np.inf, "must be a number of years or empty"),
                "laterality": table.choices("laterality", {"L": "L", "R": "R"}),
                "view": table.cells["view"].str.upper(),
                "image": [finder.find(woman, image) for woman, image in zip(women, files, strict=True)],
                "bac": np.nan,
                "implant": table.numbers("implant", lambda x: x.isin([0, 1]), "must be 0 or 1"),
            }
            | stated_spacing(table)
        )
    )
    selection.exclude("breast implant", selection.frame["implant"] == 1)
    selection.exclude(NO_VIEW, ~selection.frame["view"].isin(VIEWS))
    selection.exclude(NO_FILE, selection.frame["image"] == "")
    return finish("RSNA", selection, images, ages, without_age, finder.notes())
