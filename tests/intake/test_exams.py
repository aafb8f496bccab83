"""What tells a woman's exams apart, in headers and tables, and what a key leaves of it."""

import hmac
from datetime import date

import numpy as np
import pandas as pd
import pytest
from mammogram_files import write

from bac_utils.intake.exams import exam_name, iso_dates, separate_exams
from bac_utils.intake.pseudonyms import exam_pseudonym, shifted_date
from bac_utils.intake.reader import describe_mammogram, read_mammogram

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("accession", "study_date", "study", "expected"),
    [
        ("A-31", "2023-03-07", "2.25.1", "A-31"),
        ("", "2023-03-07", "2.25.1", "2023-03-07"),
        ("removed", "2023-03-07", "2.25.1", "2023-03-07"),  # a word for everybody
        ("0", "", "2.25.1", "study-5a885235"),
        ("", "2023-01-01", "2.25.1", "study-5a885235"),  # a year that became a date
        ("", "2023-01-01", "", "2023-01-01"),
        ("", "", "", ""),
    ],
)
def test_the_order_of_what_names_an_exam(accession, study_date, study, expected):
    assert exam_name(accession, study_date, study) == expected


def test_exam_and_date_are_read_from_the_header(tmp_path):
    path = write(tmp_path / "a.dcm", AccessionNumber="A-31", StudyDate="20230307", StudyInstanceUID="2.25.1")
    for found in (read_mammogram(path), describe_mammogram(path)):
        assert (found.exam, found.study_date, found.rank) == ("A-31", "2023-03-07", 0)
    raw = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "PresentationIntentType": "FOR PROCESSING"}
    found = describe_mammogram(write(tmp_path / "b.dcm", AcquisitionDate="20210504", **raw))
    assert (found.exam, found.study_date, found.rank) == ("2021-05-04", "2021-05-04", 16)
    found = describe_mammogram(write(tmp_path / "c.dcm", StudyDate="00010101"))  # no date of this era
    assert (found.exam, found.study_date) == ("", "")


def test_exams_of_a_table():
    """Columns: woman, exam and date as given; the exam and date that result."""
    rows = [
        ("1", "A", "2021-05-04", "A", "2021-05-04"),
        ("1", "A", "", "A", "2021-05-04"),  # that of her exam
        ("1", "", "2023-05-02", "2023-05-02", "2023-05-02"),
        ("1", "", "", "", ""),
        ("2", "A", "2021-05-04", "A 2021-05-04", "2021-05-04"),  # one number, two dates
        ("2", "A", "2023-05-02", "A 2023-05-02", "2023-05-02"),
        ("2", "A", "", "A", ""),
        ("3", "A", "", "A", ""),
    ]
    table = pd.DataFrame(rows, columns=["patient_id", "exam", "study_date", "new_exam", "new_date"], index=range(3, 11))
    found = separate_exams(table)
    assert found["exam"].tolist() == table["new_exam"].tolist()
    assert found["study_date"].tolist() == table["new_date"].tolist()
    bare = separate_exams(table[["patient_id"]])
    assert (bare["exam"] == "").all() and (bare["study_date"] == "").all()
    dated = separate_exams(table[["patient_id"]].assign(study_date=np.nan, exam=table["exam"]))
    assert dated["exam"].tolist() == table["exam"].tolist()


def test_dates():
    """Spreadsheet programs rewrite dates; what may be two dates is none."""
    texts = pd.Series(["2023-03-07", "", "20230307", "07.03.2023", "3/7/2023", "2023-3-7", "2023-02-30"])
    dates, bad = iso_dates(texts)
    assert dates.tolist() == ["2023-03-07", "", "2023-03-07", "2023-03-07", "", "", ""]
    assert bad.tolist() == [False] * 4 + [True] * 3


def test_a_key_hides_the_exam_and_shifts_dates_of_one_woman_alike():
    """Both by the definition: HMAC-SHA256 of what is named, as 16 digits, and as a number of days from 1 to 365."""
    stated = hmac.new(KEY, b"exam\0W-1\0A-31", "sha256").hexdigest()[:16]
    assert exam_pseudonym("W-1", "A-31", KEY) == stated != exam_pseudonym("W-2", "A-31", KEY)
    assert exam_pseudonym("W-1", "", KEY) == ""
    days = 1 + int(hmac.new(KEY, b"days\0W-1", "sha256").hexdigest(), 16) % 365
    first, second = (date.fromisoformat(shifted_date("W-1", day, KEY)) for day in ("2021-05-04", "2023-05-02"))
    assert (date(2021, 5, 4) - first).days == days
    assert (second - first).days == (date(2023, 5, 2) - date(2021, 5, 4)).days == 728
    shifts = {(date(2023, 5, 2) - date.fromisoformat(shifted_date(f"{n}", "2023-05-02", KEY))).days for n in range(999)}
    assert min(shifts) >= 1 and max(shifts) <= 365 and len(shifts) > 300
    assert shifted_date("", "2023-05-02", KEY) == shifted_date("W-1", "", KEY) == ""  # no woman, no date
