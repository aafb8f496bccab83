"""A woman's exams: what tells them apart, in a header and in tables."""

import re
from datetime import date
from hashlib import blake2b

import pandas as pd

from bac_utils.intake.pseudonyms import names_nobody

DATE = "a date such as 2023-03-05, 20230305 or 05.03.2023"
"""The rule for `study_date`, where it is not empty."""


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


def iso_dates(texts: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return dates as YYYY-MM-DD, empty where there is none, and which texts are neither empty nor a date."""
    dates = texts.map(parse_date).astype(object)
    return dates, (dates == "") & (texts != "")


def parse_date(text: str, day_first: bool | None = None) -> str:
    """Return a date as YYYY-MM-DD.

    Args:
        text: 2023-03-05, 20230305, 05.03.2023, 5.3.23 or, if `day_first` is given, 05/03/2023 or 05-03-2023; a time of
            day after it is ignored. Two digits of a year belong to 1970 to 2069.
        day_first: Whether the day is before the month in dates with slashes or hyphens.

    Returns:
        The date; empty if the text is not a date of 1900 to 2100.
    """
    text = re.sub(r"[ t]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$", "", text)
    if match := re.fullmatch(r"(\d{4})([-/.]?)(\d{2})\2(\d{2})", text):
        year, month, day = match[1], match[3], match[4]
    elif match := re.fullmatch(r"(\d{1,2})([./-])\s?(\d{1,2})\2\s?(\d{4}|\d{2})", text):
        if match[2] != "." and day_first is None:
            return ""
        day, month = (match[1], match[3]) if match[2] == "." or day_first else (match[3], match[1])
        year = match[4] if len(match[4]) == 4 else f"{'19' if int(match[4]) >= 70 else '20'}{match[4]}"
    else:
        return ""
    try:
        parsed = date(int(year), int(month), int(day))
    except ValueError:
        return ""
    return parsed.isoformat() if 1900 <= parsed.year <= 2100 else ""
