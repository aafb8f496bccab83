"""A folder of DICOM files: from their headers and a table of labels to a views table."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bac_utils._files import walk_files
from bac_utils._tables import read_table
from bac_utils.archives.conversion import OPTIONAL, Archive, Selection, finish
from bac_utils.archives.tables import check_folder
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.pseudonyms import pseudonym
from bac_utils.intake.reader import describe_mammogram
from bac_utils.views_table import MAXIMUM_SPACING_MM


def read_dicom_folder(
    source: str | os.PathLike,
    *,
    labels: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
    key: bytes | None = None,
    keep_ids: bool = False,
) -> Archive:
    """Read a folder of DICOM files, with all its subfolders: side, view, patient and age from the headers.

    Pixels are not read. Files that cannot be used according to their header are counted by their code in
    `mammogram.REASONS`. Broken pixels show only when a view is used; `run` then names the file. PatientID may name a
    person, so women are numbered (`W0001`) in the order of their files, unless `key` or `keep_ids` is given.

    Args:
        source: The folder.
        labels: A table of `image, bac` (paths relative to `source`), or of `patient_id, laterality, view, bac`
            (PatientID as in the files); `bac` is 0, 1 or empty. It may also have `bac_length_mm` and
            `pixel_spacing_mm`.
        ages: A table of `patient_id, age` (PatientID as in the files); it overrides the ages in the headers.
        without_age: Keep views without an age.
        key: Replaces each PatientID by the pseudonym that `score` writes with the same key; 16 bytes or more.
        keep_ids: Keep each PatientID as it is, for archives whose identifiers are anonymous already.

    Returns:
        The views; `bac` is unknown where there is no label.

    Raises:
        FileNotFoundError: The folder or a table does not exist.
        ValueError: A table breaks a rule, no view remains, `key` is too short, or both `key` and `keep_ids` are given.
    """
    if key is not None and keep_ids:
        raise ValueError("keep_ids: got True together with a key, must be only one of them")
    if key is not None:
        pseudonym("", key)  # reject a short key before reading the files
    source = check_folder("source", source)
    given = _read_labels(labels) if labels is not None else None
    tables = {os.path.abspath(path) for path in (labels, ages) if path is not None}
    files = [path for path in walk_files([source]) if os.path.abspath(path) not in tables]
    described = [
        {"row": row, "image": file.relative_to(source).as_posix()} | _describe(file)
        for row, file in enumerate(tqdm(files, desc="reading", unit="file", disable=None), 1)
    ]
    columns = ["row", "image", "reason", "patient_id", "age", "laterality", "view", "instance"]
    selection = Selection(pd.DataFrame(described, columns=columns).astype({"age": "float64"}))
    for code in selection.frame["reason"].unique():
        if code:
            selection.exclude(code, selection.frame["reason"] == code)
    instances = selection.frame["instance"]
    selection.exclude("duplicate", instances.duplicated() & (instances != ""))
    selection.exclude("no PatientID", selection.frame["patient_id"] == "")
    bad = [not name.isprintable() or name != name.strip() for name in selection.frame["image"]]
    selection.exclude("path that cannot be written into a table", pd.Series(bad, selection.frame.index, dtype=bool))
    frame, notes = selection.frame.assign(bac=np.nan), []
    if given is not None:
        keys = pd.MultiIndex.from_frame(frame[given.index.names])
        frame[given.columns] = given.reindex(keys).to_numpy()
        unused = (~given.index.isin(keys)).sum()
        if unused:
            notes.append(f"rows of {Path(labels).name} that match no view: {unused}")
    selection.frame = frame
    archive = finish("DICOM", selection, source, ages, without_age, notes)
    if not keep_ids:
        archive.views["patient_id"] = archive.views["patient_id"].map(_pseudonyms(archive.views["patient_id"], key))
    return archive


def _describe(file: Path) -> dict:
    """Return what a file's header states, or the reason why the file cannot be used."""
    try:
        described = describe_mammogram(file)
        if not described.laterality:
            raise Skip("unknown_side", "the header does not state the side")
        if not described.view:
            raise Skip("unknown_view", "the header does not state the view")
    except Skip as skip:
        return {"reason": skip.code, "patient_id": ""}
    names = ("patient_id", "age", "laterality", "view", "instance")
    return {"reason": ""} | {name: getattr(described, name) for name in names}


def _read_labels(path: str | os.PathLike) -> pd.DataFrame:
    """Return `bac` and `OPTIONAL` by file, or by woman, side and view; NaN where empty."""
    by_view = ("patient_id", "laterality", "view")
    table = read_table(path, ("bac",), ("image", *by_view, *OPTIONAL))
    by_file = "image" in table.cells
    missing = [] if by_file else [column for column in by_view if column not in table.cells]
    if missing:
        raise ValueError(
            f"{table.name} row 1, column '{missing[0]}': missing, must have 'image', or {', '.join(by_view)}"
        )
    if by_file:
        index = pd.MultiIndex.from_arrays([table.paths("image")], names=["image"])
    else:
        table.refuse(table.cells["patient_id"] == "", "patient_id", "must not be empty")
        sides = table.choices("laterality", {"L": "L", "R": "R"})
        views = table.choices("view", {"CC": "CC", "MLO": "MLO"})
        index = pd.MultiIndex.from_arrays([table.cells["patient_id"], sides, views], names=by_view)
    table.refuse(index.duplicated(), index.names[-1], "must occur once")
    rules = {
        "bac": (lambda x: x.isin([0, 1]), "must be 0, 1 or empty (unknown)"),
        "bac_length_mm": (lambda x: (x >= 0) & (x < np.inf), "must be a number of mm, 0 or more, or empty"),
        "pixel_spacing_mm": (
            lambda x: (x > 0) & (x <= MAXIMUM_SPACING_MM),
            f"must be a number of mm above 0 and at most {MAXIMUM_SPACING_MM:g}, or empty",
        ),
    }
    there = [column for column in rules if column in table.cells]
    return pd.DataFrame({column: table.numbers(column, *rules[column]).to_numpy() for column in there}, index=index)


def _pseudonyms(patient_ids: pd.Series, key: bytes | None) -> dict[str, str]:
    """Return each woman's pseudonym or, without a key, her number."""
    women = patient_ids.unique()
    if key is None:
        width = max(4, len(str(len(women))))
        return {woman: f"W{number:0{width}d}" for number, woman in enumerate(women, 1)}
    return {woman: pseudonym(woman, key) for woman in women}
