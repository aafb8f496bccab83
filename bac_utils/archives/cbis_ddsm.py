"""CBIS-DDSM: from its calcification tables to a views table. See `docs/archives.md` for downloads and pitfalls."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import read_table
from bac_utils.archives.conversion import NO_FILE, Archive, Selection, finish
from bac_utils.archives.copies import ENDINGS
from bac_utils.archives.tables import check_folder, find_tables, locate

TABLES = ("calc_case_description_train_set.csv", "calc_case_description_test_set.csv")
COLUMNS = (
    "patient_id", "left or right breast", "image view", "abnormality type", "calc type", "image file path",
)  # fmt: skip
CONTRADICTION = "path and row differ in woman, side or view"
_CASE = re.compile(r"^Calc-(?:Training|Test)_(.+)_(LEFT|RIGHT)_(CC|MLO)/")


def read_cbis_ddsm(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read the calcification cases of CBIS-DDSM.

    A view with a lesion whose `calc type` contains VASCULAR is BAC+. All others are unknown, not BAC-: radiologists
    marked what might be cancer, not every calcified artery. The dataset states neither ages nor pixel spacing.

    Args:
        source: The folder with one or both of `TABLES`.
        images: The image folder, laid out as in the tables or as downloaded by the NBIA Data Retriever
            (`Calc-Training_P_00005_RIGHT_CC/...`), with or without a folder `CBIS-DDSM` around it, also as PNG, TIFF or
            JPEG, or with JPEG copies by series (`jpeg/SERIES/1-234.jpg`); by default `source`.
        ages: A table of `patient_id, age`; without it, no woman has an age.
        without_age: Keep views without an age.

    Returns:
        The views, one row per view whatever its number of lesions.

    Raises:
        FileNotFoundError: A folder does not exist, or there is no table.
        ValueError: A table breaks a rule, or no view remains.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    parts = []
    for path in find_tables(source, TABLES, ("", "csv")):
        table = read_table(path, COLUMNS)
        table.choices("abnormality type", {"CALCIFICATION": "calcification"})
        vascular = table.cells["calc type"].str.upper().str.contains(r"(?<![A-Z_])VASCULAR(?![A-Z_])")
        part = pd.DataFrame(
            {
                "row": table.cells.index,
                "patient_id": table.identifiers("patient_id"),
                "laterality": table.choices("left or right breast", {"LEFT": "L", "RIGHT": "R"}),
                "view": table.choices("image view", {"CC": "CC", "MLO": "MLO"}),
                "path": table.paths("image file path"),
                "bac": np.where(vascular, 1.0, np.nan),
            }
        )
        parts.append(part)
    lesions = pd.concat(parts)
    views = lesions.groupby(["patient_id", "laterality", "view", "path"], sort=False, as_index=False)
    frame = views.agg(row=("row", "first"), bac=("bac", "max")).assign(age=np.nan)
    frame["image"] = [_find_image(images, path) for path in frame["path"]]
    selection = Selection(frame)
    stated = selection.frame["path"].str.extract(_CASE)
    stated[1] = stated[1].str[:1]
    agrees = (stated.to_numpy() == selection.frame[["patient_id", "laterality", "view"]].to_numpy()).all(axis=1)
    selection.exclude(CONTRADICTION, pd.Series(~agrees, selection.frame.index))
    selection.exclude(NO_FILE, selection.frame["image"] == "")
    return finish("CBIS-DDSM", selection, images, ages, without_age)


def _find_image(images: Path, path: str) -> str:
    """Return the path of a view's image: the one in the table, or else the only file in the view's folder, or empty.

    JPEG copies are often sorted by series: `jpeg/SERIES/1-234.jpg`.
    """
    roots = ("", "CBIS-DDSM/")
    if found := locate(images, roots, path):
        return found
    parts = path.split("/")
    case, series = parts[0], parts[-2:][0]
    for folder in [images / root / name for root in roots for name in (case, f"jpeg/{series}")]:
        files = [file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()]
        if len(files) == 1:
            return files[0].relative_to(images).as_posix()
    return ""
