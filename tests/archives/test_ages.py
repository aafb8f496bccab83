"""Ages from a table: as stated, or from the date of birth and the date of each study."""

import pandas as pd
import pytest
from archive_tables import put

from bac_utils.archives.ages import read_ages
from bac_utils.archives.column_words import dry_run, propose
from bac_utils.archives.columns import Columns, read_columns


def test_ages(tmp_path):
    path = put(tmp_path / "a.csv", "Pat-ID;Alter", "7;65 J.", "7;65", "8;k.A.", "9;70,5", "10;071Y")
    mapping, _ = propose(path, "ages")
    ages = read_ages(path, Columns(mapping.columns, id_digits=3))
    assert ages.years.to_dict() == {"007": 65, "009": 70.5, "010": 71}
    path = put(tmp_path / "a.csv", "Pat-ID;Alter", "7;65", "7;66", "8;650", ";60")
    with pytest.raises(ValueError) as caught:
        read_ages(path, mapping)
    assert [line.split(", must")[0] for line in str(caught.value).splitlines()] == [
        "a.csv row 3, column 'Alter': got 66",
        "a.csv row 4, column 'Alter': got 650",
        "a.csv row 5, column 'Pat-ID': got nothing",
    ]


def test_ages_from_dates_of_birth(tmp_path):
    rows = ["7;05.03.1950", "7;5.3.1950", "8;k.A.", "9;29.02.1960", "10;01.01.2020"]
    path = put(tmp_path / "a.csv", "Pat-ID;Geburtsdatum", *rows)
    lines = dry_run(tmp_path / "m.yaml", {"ages": path})
    assert lines[-1] == "a.csv: 0 ages, 3 dates of birth"
    ages = read_ages(path, read_columns(tmp_path / "m.yaml")["ages"])
    assert ages.births.to_dict() == {"7": "1950-03-05", "9": "1960-02-29", "10": "2020-01-01"} and ages.women == {
        "7",
        "9",
        "10",
    }
    asked = [
        ("7", "20230304", 72), ("7", "2023-03-05", 73), ("7", "", -1), ("8", "20230304", -1), ("9", "20230228", 62),
        ("9", "20230301", 63), ("10", "20230304", -1), ("11", "20230304", -1),
    ]  # fmt: skip
    frame = pd.DataFrame(asked, columns=["patient_id", "date", "age"], index=range(3, 11))
    found = ages.at(frame["patient_id"], frame["date"])
    assert found.index.equals(frame.index) and found.dtype == "float64"
    assert found.fillna(-1).tolist() == frame["age"].tolist()


def test_a_stated_age_is_used_where_the_date_of_the_study_is_unknown(tmp_path):
    path = put(tmp_path / "a.csv", "Pat-ID;Alter;Geburtsdatum", "7;70;05.03.1950", "8;60;")
    ages = read_ages(path, propose(path, "ages")[0])
    found = ages.at(pd.Series(["7", "7", "8"]), pd.Series(["20230304", "", "20230304"]))
    assert found.tolist() == [72, 70, 60] and str(ages) == "a.csv: 2 ages, 1 dates of birth"


def test_dates_of_birth_that_are_refused(tmp_path):
    path = put(tmp_path / "a.csv", "Pat-ID;Geburtsdatum", "7;05.03.50", "8;03.1950", "9;01.02.1950", "9;02.01.1950")
    with pytest.raises(ValueError) as caught:
        read_ages(path, Columns({"patient_id": "Pat-ID", "birth_date": "Geburtsdatum"}))
    assert [line.split(", must")[0] for line in str(caught.value).splitlines()] == [
        "a.csv row 2, column 'Geburtsdatum': got 05.03.50",
        "a.csv row 3, column 'Geburtsdatum': got 03.1950",
        "a.csv row 5, column 'Geburtsdatum': got 02.01.1950",
    ]
    with pytest.raises(ValueError, match="columns: must contain 'age'"):
        read_ages(path, Columns({"patient_id": "Pat-ID"}))
