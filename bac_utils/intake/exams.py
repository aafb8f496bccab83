"""A woman's exams: what tells them apart, in a header and in tables."""

from datetime import date
from hashlib import blake2b

import pandas as pd

from bac_utils.intake.pseudonyms import names_nobody

ISO_DATE = "a date such as 2023-03-05, or empty"
"""The rule for `study_date`."""


def exam_name(accession: str, study_date: str, study: str) -> str:
    """Return the text that tells an exam from the woman's others.

    The accession number comes first; then the date of the study; then a digest of its UID, which itself must not be
    written. An accession number that tools write for everybody (`pseudonyms.names_nobody`) does not count. A date on 1
    January is what de-identification leaves of a year, so that the UID comes before it.

    Args:
        accession: AccessionNumber.
        study_date: YYYY-MM-DD.
        study: StudyInstanceUID.

    Returns:
        The text; empty if none of the three is stated.
    """
    if accession and not names_nobody(accession):
        return accession
    digest = f"study-{blake2b(study.encode('utf-8', 'backslashreplace'), digest_size=4).hexdigest()}" if study else ""
    return (digest or study_date) if study_date.endswith("-01-01") else (study_date or digest)


def separate_exams(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which `exam` alone tells the exams of each woman apart.

    Where `exam` is empty, it becomes the study date. Where a woman's rows of one exam have different dates (an
    accession number that was overwritten), they are different exams: the date is added to the name, and rows without a
    date are one more exam. Otherwise, rows without a date get that of their exam.

    Args:
        frame: One row per image or view: `patient_id` and, optionally, `exam` and `study_date`, text.

    Returns:
        The table with both columns; empty where unknown. Rows that state neither are one exam of the woman.
    """
    exam, dates = (
        frame[name].astype(object).where(frame[name].notna(), "").astype(str)
        if name in frame
        else pd.Series("", frame.index, dtype=str)
        for name in ("exam", "study_date")
    )
    exam = exam.mask(exam == "", dates)
    stated = dates.mask(dates == "").groupby([frame["patient_id"], exam])
    several = stated.transform("nunique") > 1
    dates = dates.mask(~several & (exam != ""), stated.transform("first").fillna(""))
    return frame.assign(exam=exam.mask(several, (exam + " " + dates).str.strip()), study_date=dates)


def is_iso_date(texts: pd.Series) -> pd.Series:
    """Return for each text whether it follows `ISO_DATE`."""
    return texts.map(_is_iso_date).astype(bool)


def _is_iso_date(text: str) -> bool:
    try:
        return text == "" or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
