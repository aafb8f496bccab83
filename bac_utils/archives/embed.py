"""EMBED: from its tables to a views table. See `docs/archives.md` for downloads and pitfalls.

Columns, codes and joins follow the README and the legend of the dataset (github.com/Emory-HITI/EMBED_Open_Data).
"""

import os
import re

import numpy as np
import pandas as pd

from bac_utils._tables import Table, read_table
from bac_utils.archives.conversion import NO_FILE, NO_SIDE, NO_VIEW, Archive, Selection, exclude_repeated, finish
from bac_utils.archives.tables import check_folder, find_tables, locate

CLINICAL = ("EMBED_OpenData_clinical.csv", "EMBED_OpenData_clinical_reduced.csv")
METADATA = ("EMBED_OpenData_metadata.csv", "EMBED_OpenData_metadata_reduced.csv")
LEGEND = ("AWS_Open_Data_Clinical_Legend.csv", "clinical_legend.csv")
COLUMNS = (
    "anon_dicom_path", "empi_anon", "acc_anon", "FinalImageType", "ImageLateralityFinal", "ViewPosition", "spot_mag",
    "study_date_anon",
)  # fmt: skip
PREFIXES = ("/mnt/NAS2/mammo/anon_dicom/", "images/")
"""Prefixes of `anon_dicom_path` in releases of the table: a folder on Emory's server, a folder of the bucket."""


def read_embed(
    source: str | os.PathLike,
    *,
    images: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
) -> Archive:
    """Read EMBED, the Emory breast imaging dataset: one exam per woman.

    A view is BAC+ if a finding for its woman, exam and side has a vascular code in `calcfind`; a finding of side B, or
    without a side, counts for both breasts. All other views are unknown: BAC is rarely reported, so an empty `calcfind`
    does not mean BAC-. One exam of each woman is kept: one with a vascular finding if there is any, among these the one
    with the most of the four standard views, among these the earliest.

    Args:
        source: The folder with `tables/`, or with the tables themselves: one of `CLINICAL`, one of `METADATA`, and one
            of `LEGEND`, which explains the codes.
        images: The folder with `images/cohort_1/...` or `cohort_1/...`; by default `source`.
        ages: A table of `patient_id, age`; it overrides `age_at_study`.
        without_age: Keep views without an age.

    Returns:
        The views: 2D, without spot compression and magnification views.

    Raises:
        FileNotFoundError: A folder or a table does not exist.
        ValueError: A table breaks a rule, or no view remains.
    """
    source = check_folder("source", source)
    images = check_folder("images", source if images is None else images)
    legend, clinical, metadata = (
        find_tables(source, names, ("tables", ""))[0] for names in (LEGEND, CLINICAL, METADATA)
    )
    codes = read_table(legend, ("Header in export", "Code", "Meaning"))
    findings = read_table(clinical, ("empi_anon", "acc_anon", "side", "calcfind", "age_at_study"))
    positive, notes = _positive_breasts(codes, findings)
    files = read_table(metadata, COLUMNS, ("SeriesDescription",))
    frame = pd.DataFrame(
        {
            "row": files.cells.index,
            "patient_id": files.identifiers("empi_anon"),
            "exam": files.identifiers("acc_anon"),
            "laterality": files.cells["ImageLateralityFinal"],
            "view": files.cells["ViewPosition"],
            "type": files.cells["FinalImageType"],
            "special": files.numbers("spot_mag", lambda x: x.isin([0, 1]), "must be 0, 1 or empty"),
            "path": files.paths("anon_dicom_path", PREFIXES),
            "date": pd.to_datetime(files.cells["study_date_anon"], errors="coerce", format="mixed"),
            "series": files.cells.get("SeriesDescription", ""),
        }
    )
    frame["study_date"] = frame["date"].dt.strftime("%Y-%m-%d").fillna("")
    frame["age"] = _ages(findings).reindex(pd.MultiIndex.from_frame(frame[["patient_id", "exam"]])).to_numpy()
    breasts = zip(frame["patient_id"], frame["exam"], frame["laterality"], strict=True)
    frame["bac"] = [1.0 if breast in positive else np.nan for breast in breasts]
    selection = Selection(frame)
    selection.exclude("not 2D (C-view, tomosynthesis, screen shot)", selection.frame["type"] != "2D")
    selection.exclude("spot compression or magnification", selection.frame["special"] == 1)
    selection.exclude(NO_SIDE, ~selection.frame["laterality"].isin(["L", "R"]))
    exaggerated = selection.frame["series"].str.upper().str.contains("XCC")  # XCCL, XCCM: their ViewPosition may be CC
    selection.exclude(NO_VIEW, ~selection.frame["view"].isin(["CC", "MLO"]) | exaggerated)
    selection.frame = selection.frame.assign(
        image=[locate(images, ("", "images/"), path) for path in selection.frame["path"]]
    )
    selection.exclude(NO_FILE, selection.frame["image"] == "")
    exclude_repeated(selection, "exam")
    selection.exclude("another exam of the woman", ~_best_exam(selection.frame), "exam")
    kept = set(zip(*(selection.frame[name] for name in ("patient_id", "exam", "laterality")), strict=True))
    lost = len(positive - kept)
    if lost:
        notes.append(f"breasts with a vascular finding but without a view in the table: {lost}")
    return finish("EMBED", selection, images, ages, without_age, notes)


def _positive_breasts(codes: Table, findings: Table) -> tuple[set[tuple[str, str, str]], list[str]]:
    """Return (woman, exam, side) of each breast with a vascular finding, and a note on codes without explanation."""
    of_column = codes.cells[codes.cells["Header in export"] == "calcfind"]
    vascular = of_column["Meaning"].str.contains(r"\bvascular\b", case=False)
    if not vascular.any():
        raise ValueError(
            f"{codes.name}, column 'Meaning': got no 'Vascular' where 'Header in export' is calcfind, must contain it"
        )
    explained, wanted = set(of_column["Code"].str.upper()), set(of_column["Code"][vascular].str.upper())
    sides = findings.choices("side", {"L": "L", "R": "R", "B": "LR", "": "LR"})
    women, exams = findings.identifiers("empi_anon"), findings.identifiers("acc_anon")
    positive, unexplained = set(), set()
    for woman, exam, side, cell in zip(women, exams, sides, findings.cells["calcfind"], strict=True):
        found = {code for code in re.split(r"[\s,;]+", cell.upper()) if code}
        unexplained |= found - explained
        if found & wanted:
            positive |= {(woman, exam, breast) for breast in side}
    shown = ", ".join(sorted(code if code.isprintable() else ascii(code) for code in unexplained)[:5])
    return positive, [f"codes of calcfind without an explanation in {codes.name}: {shown}"] if unexplained else []


def _ages(findings: Table) -> pd.Series:
    """Return the first age stated for each woman and exam, years."""
    ages = findings.numbers("age_at_study", lambda x: x.abs() < np.inf, "must be a number of years or empty")
    keys = [findings.identifiers("empi_anon"), findings.identifiers("acc_anon")]
    return ages.groupby(keys).first()


def _best_exam(frame: pd.DataFrame) -> pd.Series:
    """Return for each image whether it belongs to the exam that is kept for its woman; see `read_embed`."""
    exams = (
        frame.assign(place=frame["laterality"] + frame["view"])
        .groupby(["patient_id", "exam"], as_index=False)
        .agg(bac=("bac", "max"), places=("place", "nunique"), date=("date", "first"))
        .fillna({"bac": 0})
        .sort_values(["patient_id", "bac", "places", "date", "exam"], ascending=[True, False, False, True, True])
        .drop_duplicates("patient_id")
    )
    return frame["exam"] == frame["patient_id"].map(exams.set_index("patient_id")["exam"])
