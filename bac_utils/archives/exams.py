"""One exam of each woman, by a rule that depends neither on the order of files nor on their names."""

import pandas as pd

TAKEN = ("first", "last", "all")
"""Which exam of a woman is taken."""
FEWER_VIEWS = "another exam of the woman has more of the four views"
NO_LABEL = "another exam of the woman has as many views, and a label"
ORDER = {"first": "an earlier exam of the woman was taken", "last": "a later exam of the woman was taken"}


def check_taken(taken: str) -> None:
    """Raise ValueError unless `taken` is one of `TAKEN`."""
    if taken not in TAKEN:
        raise ValueError(f"exam: got {taken!r}, must be one of {', '.join(TAKEN)}")


def exams_not_taken(frame: pd.DataFrame, taken: str = "first") -> pd.Series:
    """Say which images belong to an exam that is not taken, and why.

    Of several exams of a woman, the one with the most of the four views is taken, which is a complete one if there is
    any; of these, one with a label, if there is any; of these, the first or last by study date (exams without a date
    come last) and then by name.

    Args:
        frame: One row per image: `patient_id, exam, study_date` (YYYY-MM-DD, empty if unknown), `laterality, view` and
            `bac` (NaN where unknown).
        taken: One of `TAKEN`.

    Returns:
        The reason for each image; empty if its exam is taken.
    """
    if taken == "all" or frame.empty:
        return pd.Series("", frame.index, dtype=object)
    table = frame.assign(place=frame["laterality"] + frame["view"], label=frame["bac"].notna())
    exams = table.groupby(["patient_id", "exam"]).agg(
        views=("place", "nunique"), label=("label", "max"), date=("study_date", "max")
    )
    first = taken == "first"
    exams = exams.reset_index().assign(undated=exams["date"].to_numpy() == "")
    exams = exams.sort_values(
        ["patient_id", "views", "label", "undated", "date", "exam"], ascending=[True, False, False, True, first, first]
    )
    best = exams.groupby("patient_id")[["views", "label"]].transform("first")
    why = pd.Series(ORDER[taken], exams.index)
    why = why.mask(exams["label"] < best["label"], NO_LABEL).mask(exams["views"] < best["views"], FEWER_VIEWS)
    return _of_images(frame, exams.assign(found=why.mask(~exams.duplicated("patient_id"), "")))


def number_exams(frame: pd.DataFrame) -> pd.Series:
    """Number the exams of each woman from 1, by study date (those without a date last) and then by name.

    Args:
        frame: One row per image: `patient_id, exam, study_date`.

    Returns:
        The number of each image's exam as text; empty where `exam` is.
    """
    exams = frame.groupby(["patient_id", "exam"])["study_date"].max().rename("date").reset_index()
    exams = exams[exams["exam"] != ""].assign(undated=exams["date"] == "")
    exams = exams.sort_values(["patient_id", "undated", "date", "exam"])
    return _of_images(frame, exams.assign(found=(exams.groupby("patient_id").cumcount() + 1).astype(str)))


def _of_images(frame: pd.DataFrame, exams: pd.DataFrame) -> pd.Series:
    """Return for each image what was `found` for its exam; empty if nothing was."""
    keys = ["patient_id", "exam"]
    joined = frame[keys].merge(exams[[*keys, "found"]], on=keys, how="left")
    return joined["found"].astype(object).set_axis(frame.index).fillna("")
