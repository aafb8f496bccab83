"""The consensus of readers against votes counted by hand."""

import numpy as np
import pandas as pd
import pytest

from bac_utils.readings.consensus import join_readings, majority, side_by_side
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.readings.table import read_folder

NOTHING = np.nan


def study(folder, **readers):
    """Write readings: by reader, a list of (bac, length or None) or None, one for each of the women a, b, ..."""
    for name, rows in readers.items():
        mine = ReaderFile(folder, name, 1)
        for woman, row in zip("abcdefgh", rows, strict=False):
            if row is not None:
                length = NOTHING if row[1] is None else row[1]
                mine.put({ViewKey(woman, "", "L", "CC"): {"bac": row[0], "bac_length_mm": length}})
    return read_folder(folder)


def test_majority_and_what_is_left():
    readings = pd.DataFrame(
        [[1, 1, 1], [1, 1, 0], [0, 1, np.nan], [1, np.nan, np.nan], [np.nan] * 3, [2, 1, 0], [0, 0, np.nan]],
        columns=["r1", "r2", "r3"], index=list("abcdefg"),
    )  # fmt: skip
    found = majority(readings)
    assert found["reason"].tolist() == [
        "", "disagreement", "no majority", "one reading", "no reading", "no majority", "",
    ]  # fmt: skip
    assert found["consensus"].tolist() == pytest.approx([1, 1, np.nan, 1, np.nan, np.nan, 0], nan_ok=True)
    assert found["votes"].tolist() == [3, 2, 0, 1, 0, 0, 2]
    assert found[found["reason"] != ""].index.tolist() == list("bcdef")
    pd.testing.assert_frame_equal(found, majority(readings[["r3", "r1", "r2"]]))
    words = majority(pd.DataFrame({"r1": ["mild", ""], "r2": ["mild", "severe"]}))
    assert words["consensus"].tolist() == ["mild", "severe"]
    with pytest.raises(ValueError, match="readings: got no columns"):
        majority(pd.DataFrame(index=[0]))


def test_labels_and_lengths_of_three_readers(tmp_path):
    #        agree          1 of 3 differs  undecided       tie        none measured  far apart  alone
    rows = study(
        tmp_path,
        r1=[(1, 10.0), (1, 20.0), (1, 8.0), (1, 5.0), (1, None), (1, 30.0), (0, 0)],
        r2=[(1, 14.0), (0, 0), (NOTHING, None), (0, 0), (1, None), (1, 41.0), None],
        r3=[(1, 12.0), (1, 23.0), (1, 9.0), None, (1, None), (1, 31.0), None],
    )
    found = join_readings(rows).set_index("patient_id")
    assert found["bac"].tolist() == pytest.approx([1, 1, 1, NOTHING, 1, 1, 0], nan_ok=True)
    lengths = [12, 21.5, 8.5, NOTHING, NOTHING, 31, 0]  # medians; of two, the mean
    assert found["bac_length_mm"].tolist() == pytest.approx(lengths, nan_ok=True)
    assert found["reason"].tolist() == ["", "disagreement", "", "no majority", "", "lengths differ", "one reading"]
    assert found["readings"].tolist() == [3, 3, 2, 2, 3, 3, 1]
    assert found["length_difference_mm"].tolist()[:3] == [4, 3, 1]
    assert join_readings(rows, largest_difference_mm=11).set_index("patient_id").loc["f", "reason"] == ""
    beside = side_by_side(rows, "bac", ["r3", "r1"])
    assert list(beside) == ["r3", "r1"] and len(beside) == 7


def test_the_adjudicators_rows_win(tmp_path):
    rows = study(
        tmp_path,
        r1=[(1, 10.0), (1, 20.0), (0, 0), (1, 10.0)],
        r2=[(0, 0), (1, 40.0), (1, 6.0), (1, 10.0)],
        chief=[(1, 7.0), (1, None), (0, 0), (NOTHING, None)],
    )
    found = join_readings(rows, "chief")
    assert found["bac"].tolist() == [1, 1, 0, 1] and found["bac_length_mm"].tolist() == [7, 30, 0, 10]
    assert found["adjudicated"].tolist() == [True, True, True, False] and set(found["reason"]) == {""}
    assert found["readings"].tolist() == [2, 2, 2, 2]
    with pytest.raises(ValueError, match="adjudicator: got 'nobody', must be one of 'chief', 'r1', 'r2', or empty"):
        join_readings(rows, "nobody")
    with pytest.raises(ValueError, match="largest_difference_mm: got 0, must be"):
        join_readings(rows, largest_difference_mm=0)
    with pytest.raises(ValueError, match="readers: got 'chief' only"):
        join_readings(rows[rows["reader"] == "chief"], "chief")
