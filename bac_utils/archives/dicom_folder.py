"""A folder of DICOM files: from their headers and a table of labels to a views table."""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bac_utils._files import walk_files
from bac_utils.archives.ages import read_ages
from bac_utils.archives.columns import Columns
from bac_utils.archives.conversion import Archive, Selection, exclude_repeated, finish
from bac_utils.archives.exams import check_taken, exams_not_taken, number_exams
from bac_utils.archives.identity import tell_women_apart
from bac_utils.archives.labels import add_labels, read_labels
from bac_utils.archives.tables import check_folder
from bac_utils.intake.exams import separate_exams
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.pseudonyms import exam_pseudonym, pseudonym, shifted_date
from bac_utils.intake.reader import describe_mammogram

RAW_TWIN = "For Processing image of a view that is there For Presentation"
DERIVED_TWIN = "derived image of a view whose original is there"
_NAMES = (
    "patient_id", "age", "exam", "study_date", "accession", "laterality", "view", "instance", "uid", "sources", "study",
    "birth_date", "processing", "rank", "shared_id", "age_without_unit", "spacing_mm", "spacing_rule",
)  # fmt: skip


def read_dicom_folder(
    source: str | os.PathLike,
    *,
    labels: str | os.PathLike | None = None,
    ages: str | os.PathLike | None = None,
    without_age: bool = False,
    key: bytes | None = None,
    keep_ids: bool = False,
    columns: Mapping[str, Columns] | None = None,
    labels_by: str | None = None,
    exam: str = "first",
) -> Archive:
    """Read a folder of DICOM files, with all its subfolders: side, view, patient and age from the headers.

    Pixels are not read. Files that cannot be used according to their header are counted by their code in
    `mammogram.REASONS`. Broken pixels show only when a view is used; `run` then names the file. PatientID may name a
    person, so women are numbered (`W0001`) in the order of their files, unless `key` or `keep_ids` is given. Women who
    share one PatientID are told apart (`identity.tell_women_apart`). Of several images of a view in one exam, the one
    with the lowest `mammogram.Description.rank` is kept: For Presentation before For Processing, originals before
    derived images. One exam of each woman is taken (`exams.exams_not_taken`); the four views of a woman are never those
    of two exams.

    Args:
        source: The folder.
        labels: A table of `image, bac` (paths relative to `source`), or of `patient_id, laterality, view, bac`
            (PatientID as in the files); `bac` is 0, 1 or empty. It may also have `bac_length_mm` and
            `pixel_spacing_mm`.
        ages: A table of `patient_id, age` (PatientID as in the files); it overrides the ages in the headers.
        without_age: Keep views without an age.
        key: Replaces PatientID, exam and study date by what `score` writes with the same key; 16 bytes or more.
        keep_ids: Keep PatientID, exam and study date as they are, for archives that are anonymous already. Without it
            and without a key, the exams of a woman are numbered in their order, and no dates are kept.
        columns: The mappings of `labels` and `ages`, if their columns and words have other names.
        labels_by: What the labels were given to; see `labels.read_labels`.
        exam: The exam that is taken of several complete ones, `first` or `last`; or `all`.

    Returns:
        The views; `bac` is unknown where there is no label.

    Raises:
        FileNotFoundError: The folder or a table does not exist.
        ValueError: A table breaks a rule, no view remains, `key` is too short, both `key` and `keep_ids` are given, or
            `exam` is unknown.
    """
    if key is not None and keep_ids:
        raise ValueError("keep_ids: got True together with a key, must be only one of them")
    if key is not None:
        pseudonym("", key)  # reject a short key before reading the files
    check_taken(exam)
    source = check_folder("source", source)
    mappings = columns or {}
    given = read_labels(labels, mappings.get("labels"), labels_by, source) if labels is not None else None
    stated = read_ages(ages, mappings.get("ages")) if ages is not None else None
    tables = {os.path.abspath(path) for path in (labels, ages) if path is not None}
    files = [path for path in walk_files([source]) if os.path.abspath(path) not in tables]
    described = [
        {"row": row, "image": file.relative_to(source).as_posix()} | _describe(file)
        for row, file in enumerate(tqdm(files, desc="reading", unit="file", disable=None), 1)
    ]
    table = pd.DataFrame(described, columns=["row", "image", "reason", *_NAMES]).astype({"age": "float64"})
    selection = Selection(table)
    for code in selection.frame["reason"].unique():
        if code:
            selection.exclude(code, selection.frame["reason"] == code)
    instances = selection.frame["instance"]
    selection.exclude("duplicate", instances.duplicated() & (instances != ""))
    selection.frame, notes = tell_women_apart(selection.frame)
    selection.exclude("no PatientID", selection.frame["patient_id"] == "")
    bad = [not name.isprintable() or name != name.strip() for name in selection.frame["image"]]
    selection.exclude("path that cannot be written into a table", pd.Series(bad, selection.frame.index, dtype=bool))
    selection.frame = separate_exams(selection.frame)
    selection.frame = selection.frame.assign(number=number_exams(selection.frame))
    selection.exclude(RAW_TWIN, _is_raw_twin(selection.frame), "one_per_view")
    selection.exclude(DERIVED_TWIN, _is_derived_twin(selection.frame), "one_per_view")
    bare = int(selection.frame["age_without_unit"].astype(bool).sum())
    if bare:
        notes.append(f"images whose PatientAge has no unit and was read as years: {bare}")
    notes += _doubted_spacings(selection.frame)
    selection.frame, more = add_labels(selection.frame, given)
    notes += more
    exclude_repeated(selection, "exam")
    why = exams_not_taken(selection.frame, exam)
    for reason in why[why != ""].unique():
        selection.exclude(reason, why.reindex(selection.frame.index) == reason, "exam")
    hidden = {} if keep_ids else _hidden_exams(selection.frame, key)
    archive = finish("DICOM", selection, source, stated, without_age, notes)
    archive.views[list(hidden)] = pd.DataFrame(hidden).reindex(selection.frame.index).to_numpy()
    if not keep_ids:
        women = pd.concat([archive.views["patient_id"], archive.flow.listed()["patient_id"]])
        names = _pseudonyms(women[women != ""], key)
        archive.views["patient_id"] = archive.views["patient_id"].map(names)
        archive.flow.rename_women(names)
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
    return {"reason": ""} | {name: getattr(described, name, None) for name in _NAMES}


def _doubted_spacings(frame: pd.DataFrame) -> list[str]:
    """Return a note for each reason why stated pixel spacings are not used."""
    doubted = frame[frame["spacing_mm"].isna() & (frame["spacing_rule"] != "")]
    return [
        f"images without values in mm unless a table gives pixel_spacing_mm, {doubt.replace('_', ' ')}: {len(images)} "
        f"(first: {images.iloc[0]})"
        for doubt, images in doubted.groupby("spacing_rule", sort=False)["image"]
    ]


def _exposures(frame: pd.DataFrame) -> list[pd.Series]:
    """Return the keys of images that show the same view in the same exam."""
    return [frame[name] for name in ("patient_id", "exam", "laterality", "view")]


def _is_raw_twin(frame: pd.DataFrame) -> pd.Series:
    """Return for each image whether it is For Processing, and its exam has the view For Presentation."""
    processing = frame["processing"].astype(bool)
    return processing & ~processing.groupby(_exposures(frame)).transform("min").astype(bool)


def _is_derived_twin(frame: pd.DataFrame) -> pd.Series:
    """Return for each image whether its exam has a view of lower rank, or the very image from which it was made."""
    rank = frame["rank"].astype(float)
    made_from = [bool(set(sources) & uids) for sources, uids in zip(frame["sources"], _uids(frame), strict=True)]
    return (rank > rank.groupby(_exposures(frame)).transform("min")) | pd.Series(made_from, frame.index, dtype=bool)


def _uids(frame: pd.DataFrame) -> list[set[str]]:
    """Return for each image the UIDs of the other images of its view and exam."""
    groups = frame["uid"].groupby(_exposures(frame)).agg(set) if len(frame) else {}
    keys = zip(*_exposures(frame), strict=True)
    return [groups[key] - {uid, ""} for key, uid in zip(keys, frame["uid"], strict=True)]


def _hidden_exams(frame: pd.DataFrame, key: bytes | None) -> dict[str, pd.Series]:
    """Return exam and study date of each image with the key or, without one, the number of the exam and no date."""
    if key is None:
        return {"exam": frame["number"], "study_date": pd.Series("", frame.index, dtype=object)}
    exams, dates = (
        [hide(woman, cell, key) for woman, cell in zip(frame["patient_id"], frame[name], strict=True)]
        for name, hide in (("exam", exam_pseudonym), ("study_date", shifted_date))
    )
    return {"exam": pd.Series(exams, frame.index), "study_date": pd.Series(dates, frame.index)}


def _pseudonyms(patient_ids: pd.Series, key: bytes | None) -> dict[str, str]:
    """Return each woman's pseudonym or, without a key, her number."""
    women = patient_ids.unique()
    if key is None:
        width = max(4, len(str(len(women))))
        return {woman: f"W{number:0{width}d}" for number, woman in enumerate(women, 1)}
    return {woman: pseudonym(woman, key) for woman in women}
