"""Readers of public datasets and of a plain DICOM folder: their own tables to the kit's views table.

Column names, codes and traps were taken from the datasets' own descriptions and from public programs that read them;
`docs/archives.md` says for each what to download, what is labelled, and what is not. No reader opens a table's path
outside the folder it was given, and none carries over more than the dataset's own anonymous identifiers.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from bac_utils._tables import check_folder, find_tables, locate, read_table
from bac_utils.archives.conversion import NO_FILE, NO_VIEW, Archive, Selection, finish
from bac_utils.archives.dicom_folder import read_dicom_folder
from bac_utils.archives.embed import read_embed

__all__ = ["ARCHIVES", "read_cbis_ddsm", "read_dicom_folder", "read_embed", "read_rsna", "read_vindr_mammo"]

VIEWS = ("CC", "MLO")

CBIS_TABLES = ("calc_case_description_train_set.csv", "calc_case_description_test_set.csv")
CBIS_COLUMNS = (
    "patient_id", "left or right breast", "image view", "abnormality type", "calc type", "image file path",
)  # fmt: skip
CBIS_CONTRADICTION = "path names another woman, side or view than the row"
_CBIS_CASE = re.compile(r"^Calc-(?:Training|Test)_(.+)_(LEFT|RIGHT)_(CC|MLO)/")

_ROOTS = ("", "images/")


def read_cbis_ddsm(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read the calcification cases of CBIS-DDSM.

    A view with a lesion whose `calc type` names VASCULAR is BAC+. The others are unknown, not BAC-: radiologists
    marked what might be cancer, not every calcified artery. The dataset states no ages and no pixel spacing.

    Args:
        source: The folder with `CBIS_TABLES`, one or both.
        images: The folder with the images, laid out as in the tables or as the NBIA Data Retriever lays them out
            (`Calc-Training_P_00005_RIGHT_CC/...`), perhaps inside `CBIS-DDSM`; by default `source`.
        ages: A table of `patient_id, age`; without one the dataset has no woman with an age.
        without_age: Keep views without an age: to compare with scores, not for `run`.

    Returns:
        The views, one row each, however many lesions they have.

    Raises:
        FileNotFoundError: A folder or all tables are missing.
        ValueError: A table breaks a rule, or no view is left.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    parts = []
    for path in find_tables(source, CBIS_TABLES, ("", "csv")):
        table = read_table(path, CBIS_COLUMNS)
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
    frame["image"] = [_cbis_file(images, path) for path in frame["path"]]
    selection = Selection(frame)
    stated = selection.frame["path"].str.extract(_CBIS_CASE)
    stated[1] = stated[1].str[:1]
    agrees = (stated.to_numpy() == selection.frame[["patient_id", "laterality", "view"]].to_numpy()).all(axis=1)
    selection.leave_out(CBIS_CONTRADICTION, pd.Series(~agrees, selection.frame.index))
    selection.leave_out(NO_FILE, selection.frame["image"] == "")
    return finish("CBIS-DDSM", selection, images, ages, without_age)


def _cbis_file(images: Path, path: str) -> str:
    """Return a view's file: as the table names it, or the only one in the view's folder; else empty."""
    roots = ("", "CBIS-DDSM/")
    found = locate(images, roots, path)
    for root in () if found else roots:
        files = [file for file in (images / root / path.split("/")[0]).rglob("*.dcm") if file.is_file()]
        if len(files) == 1:
            return files[0].relative_to(images).as_posix()
    return found


def read_vindr_mammo(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read VinDr-Mammo. Its findings have no vascular class, so all views are unknown.

    Args:
        source: The folder with `breast-level_annotations.csv` and, for the ages, `metadata.csv`.
        images: The folder with `images/STUDY/IMAGE.dicom` or `STUDY/IMAGE.dicom`; by default `source`.
        ages: A table of `patient_id, age` that counts before `metadata.csv`; `patient_id` is `study_id`.
        without_age: Keep views without an age: to compare with scores, not for `run`.

    Returns:
        The views. `patient_id` is the exam: the tables do not say which exams are of the same woman.

    Raises:
        FileNotFoundError: A folder or the table is missing.
        ValueError: A table breaks a rule, or no view is left.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    table = read_table(
        find_tables(source, ("breast-level_annotations.csv",))[0],
        ("study_id", "image_id", "laterality", "view_position"),
    )
    studies, instances = table.identifiers("study_id"), table.identifiers("image_id")
    stated = source / "metadata.csv"
    selection = Selection(
        pd.DataFrame(
            {
                "row": table.cells.index,
                "patient_id": studies,
                "age": instances.map(_vindr_ages(stated)) if stated.is_file() else np.nan,
                "laterality": table.choices("laterality", {"L": "L", "R": "R"}),
                "view": table.cells["view_position"].str.upper(),
                "image": [locate(images, _ROOTS, f"{a}/{b}.dicom") for a, b in zip(studies, instances, strict=True)],
                "bac": np.nan,
            }
        )
    )
    selection.leave_out(NO_VIEW, ~selection.frame["view"].isin(VIEWS))
    selection.leave_out(NO_FILE, selection.frame["image"] == "")
    return finish("VinDr-Mammo", selection, images, ages, without_age)


def _vindr_ages(path: Path) -> pd.Series:
    """Return the ages, years, by image; NaN where none is stated. The table has them as DICOM does: `053Y`."""
    table = read_table(path, ("SOP Instance UID", "Patient's Age"))
    table.refuse(table.cells["SOP Instance UID"].duplicated(), "SOP Instance UID", "must come once")
    years = table.cells["Patient's Age"].str.upper().str.extract(r"^(\d{1,3})Y?$")[0]
    table.refuse(years.isna() & (table.cells["Patient's Age"] != ""), "Patient's Age", "must be as 053Y, or empty")
    return pd.Series(years.astype("float64").to_numpy(), index=table.cells["SOP Instance UID"].to_numpy())


def read_rsna(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read the training set of the RSNA screening mammography challenge. It has no BAC label: all are unknown.

    Args:
        source: The folder with `train.csv`.
        images: The folder with `train_images/PATIENT/IMAGE.dcm` or `PATIENT/IMAGE.dcm`; by default `source`.
        ages: A table of `patient_id, age` that counts before the dataset's.
        without_age: Keep views without an age: to compare with scores, not for `run`.

    Returns:
        The views of breasts without an implant; of several images of a view the first.

    Raises:
        FileNotFoundError: A folder or the table is missing.
        ValueError: The table breaks a rule, or no view is left.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    table = read_table(
        find_tables(source, ("train.csv",))[0], ("patient_id", "image_id", "laterality", "view", "age", "implant")
    )
    women, files = table.identifiers("patient_id"), table.identifiers("image_id")
    table.refuse(table.cells["implant"] == "", "implant", "must be 0 or 1")
    roots = ("train_images/", "")
    selection = Selection(
        pd.DataFrame(
            {
                "row": table.cells.index,
                "patient_id": women,
                "age": table.numbers("age", lambda x: x.abs() < np.inf, "must be a number of years or empty"),
                "laterality": table.choices("laterality", {"L": "L", "R": "R"}),
                "view": table.cells["view"].str.upper(),
                "image": [locate(images, roots, f"{a}/{b}.dcm") for a, b in zip(women, files, strict=True)],
                "bac": np.nan,
                "implant": table.numbers("implant", lambda x: x.isin([0, 1]), "must be 0 or 1"),
            }
        )
    )
    selection.leave_out("breast implant", selection.frame["implant"] == 1)
    selection.leave_out(NO_VIEW, ~selection.frame["view"].isin(VIEWS))
    selection.leave_out(NO_FILE, selection.frame["image"] == "")
    return finish("RSNA", selection, images, ages, without_age)


ARCHIVES: MappingProxyType[str, Callable[..., Archive]] = MappingProxyType(
    {
        "CBIS-DDSM": read_cbis_ddsm,
        "EMBED": read_embed,
        "VinDr-Mammo": read_vindr_mammo,
        "RSNA": read_rsna,
        "DICOM": read_dicom_folder,
    }
)
"""The readers by the name of their archive. All take `source` and by keyword `ages` and `without_age`; the datasets
`images`, the plain folder `labels`, `key` and `keep_ids`."""
