"""The woman in a DICOM header: her age, the date of her study, and who she is if PatientID does not say it."""

import re
from datetime import datetime

import pydicom

from bac_utils.intake.dicom_file import text, word
from bac_utils.intake.pseudonyms import names_nobody, tell_apart

AGES = (1, 120)
"""Plausible ages, years; anonymised headers may contain `000Y`."""
YEARS = (1850, 2100)
"""Plausible years of birth and study; anonymised headers may contain `00010101`."""


def told_apart(header: pydicom.Dataset, patient_id: str) -> str:
    """Return an identifier for a woman whose PatientID is shared by others; empty if nothing identifies her.

    Her studies become separate women: nothing states that they belong together.
    """
    stated = {
        name: text(header, name) for name in ("StudyInstanceUID", "AccessionNumber", "PatientBirthDate", "PatientName")
    }
    stated = {name: found for name, found in stated.items() if found and not names_nobody(found)}
    if not stated:
        return ""
    return tell_apart(patient_id, *(stated.get(name, "") for name in sorted(stated)), word(header, "PatientAge"))


def read_age(header: pydicom.Dataset) -> tuple[float | None, bool]:
    """Return the age in years, None if it is not known, and whether it comes from a number without a unit.

    First choice is PatientAge with its unit (such as `059Y`), then birth and study date, then PatientAge as a plain
    number of years (`59`, `059`).
    """
    stated = word(header, "PatientAge")
    match = re.fullmatch(r"(\d{1,4})\s*([YJAMWD])", stated)
    if match:
        age = int(match[1]) / {"M": 12, "W": 52.1775, "D": 365.2425}.get(match[2], 1)  # J, A: Jahre, ans
        if AGES[0] <= age <= AGES[1]:
            return age, False
    birth, taken = read_date(header, "PatientBirthDate"), study_date(header)
    if birth and taken:
        years = taken.year - birth.year - ((taken.month, taken.day) < (birth.month, birth.day))
        if AGES[0] <= years <= AGES[1]:
            return float(years), False
    match = re.fullmatch(r"(\d{2,4})(?:[.,]\d+)?(?:\s*(?:YEARS?|YRS?|JAHRE|ANS))?", stated)
    if match and AGES[0] <= int(match[1]) <= AGES[1]:
        return float(int(match[1])), True
    return None, False


def study_date(header: pydicom.Dataset) -> datetime | None:
    """Return the date of the study; None if none is stated."""
    dates = (read_date(header, k) for k in ("StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate"))
    return next((d for d in dates if d), None)


def read_date(header: pydicom.Dataset, keyword: str) -> datetime | None:
    """Return an element's date (`YYYYMMDD`, before DICOM 3.0 `YYYY.MM.DD`).

    None if it is absent or not a date of `YEARS`.
    """
    try:
        found = datetime.strptime(re.sub(r"(?<=\d)[.-](?=\d)", "", text(header, keyword)), "%Y%m%d")
    except ValueError:
        return None
    return found if YEARS[0] <= found.year <= YEARS[1] else None
