"""Telling women apart who share one PatientID, as in archives that were de-identified with one word for everybody."""

import pandas as pd

from bac_utils.intake.pseudonyms import tell_apart

YEARS = 2
"""Largest difference, in years, between the ages of one woman and what the dates of her studies explain."""
SPREAD = 15
"""Largest difference, in years, between ages of one woman whose studies have no dates, and between the dates of studies
that all state the same age."""


def tell_women_apart(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Give women who share one PatientID separate identifiers, or none.

    Three cases:

    - PatientID is a word that tools write for everybody (`shared_id`). Each study is a woman
      (`dicom_person.told_apart`). Images without anything that identifies a study are taken by folder, if each folder
      has at most one image of each view and one age, and if the folder is not that of the archive; otherwise they have
      no PatientID.
    - Any other PatientID whose studies contradict each other: different dates of birth, or ages that the dates of the
      studies do not explain. Each study is a woman.
    - All others stay as they are.

    Args:
        frame: One row per image, with the fields of `dicom_header.Header` and `image`, its path in the archive.

    Returns:
        The frame with changed `patient_id`, and notes for the user.
    """
    frame, notes = frame.copy(), []
    shared = frame["shared_id"].astype(bool)
    nameless = shared & (frame["patient_id"] == "")
    if nameless.any():
        frame.loc[nameless, "patient_id"] = _by_folder(frame[nameless])
        left = int((frame.loc[nameless, "patient_id"] == "").sum())
        if left:
            notes.append(
                f"images whose PatientID is the same word for all women, and with nothing to tell them apart: {left}"
            )
    named = shared & ~nameless
    if frame.loc[named, "study"].nunique() == 1:  # the UID may be the same for everybody, too
        folders = _by_folder(frame[named])
        pairs = zip(frame.loc[named, "patient_id"], folders, strict=True)
        frame.loc[named, "patient_id"] = [tell_apart(woman, folder) if folder else woman for woman, folder in pairs]
    several = frame.loc[shared & (frame["patient_id"] != ""), "patient_id"].nunique()
    if several:
        notes.append(
            f"PatientID is a word for everybody (such as 'removed'): each study of such a patient counts as one woman, "
            f"{several} in all"
        )
    others = frame[~shared & (frame["patient_id"] != "")]
    for patient, images in others.groupby("patient_id", sort=False):
        alone, studies = others["patient_id"].nunique() == 1 and not shared.any(), images["study"].nunique()
        why = _contradiction(images, alone)
        if why:
            facts = zip(images["study"], images["birth_date"], images["age"].astype(str), strict=True)
            frame.loc[images.index, "patient_id"] = [tell_apart(patient, *fact) for fact in facts]
            women = frame.loc[images.index, "patient_id"].nunique()
            notes.append(f"one PatientID with {studies} studies of {why}: taken as {women} women, one per study")
        elif alone and studies > 1:
            notes.append(f"all images have the same PatientID, in {studies} studies: taken as studies of one woman")
    return frame, notes


def _by_folder(images: pd.DataFrame) -> list[str]:
    """Return an identifier for each image from its folder; empty if folders do not separate women."""
    folders = images["image"].map(lambda path: path.rpartition("/")[0])
    repeated = images.assign(folder=folders).duplicated(["folder", "laterality", "view", "processing"]).any()
    ages = images["age"].groupby(folders).nunique().max()
    if repeated or ages > 1 or (folders == "").any():
        return [""] * len(images)
    return [tell_apart("folder", folder) for folder in folders]


def _contradiction(images: pd.DataFrame, alone: bool) -> str:
    """Return what shows that images with one PatientID are of several women; empty if nothing does.

    Args:
        images: Those with one PatientID.
        alone: It is the only PatientID of the archive.
    """
    births = sorted(set(images["birth_date"]) - {""})
    if len(births) > 1:
        return "different dates of birth"
    known = images.dropna(subset=["age"])
    dates = pd.to_datetime(known["study_date"], format="%Y-%m-%d", errors="coerce")
    ages, years = known["age"], dates.dt.year + dates.dt.day_of_year / 365.25
    shown = f"ages {', '.join(f'{age:g}' for age in sorted(set(ages))[:5])}"
    dated = years.notna()
    born = (years - ages)[dated]
    limit = YEARS if ages[dated].nunique() > 1 else SPREAD  # one age in all studies is that of the first
    if len(born) and born.max() - born.min() > limit:
        return shown
    undated = ages[~dated]
    if len(undated) and undated.max() - undated.min() > (YEARS if alone else SPREAD):
        return shown
    return ""
