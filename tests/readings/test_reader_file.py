"""A reader's file: round trips of any text, two windows at once, kills, and errors that name the cell."""

import csv
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from bac_utils._files import locked
from bac_utils.readings import reader_file
from bac_utils.readings.lines import check_lines, length_mm, lines_text, read_lines
from bac_utils.readings.order import reading_order
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.readings.table import COLUMNS, file_name, read_file, read_folder

HOSTILE = ["<script>alert(1)</script>", "=1+1", "NA", "007", "a$b", "Ä;ö", "con", "../up", "x" * 190]
WRITER = """
import sys, time
from pathlib import Path
from bac_utils.readings.reader_file import ReaderFile, ViewKey
folder, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
mine = ReaderFile(folder / "study", "Anna", 1)
(folder / (name + ".ready")).touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.001)
for k in range(number):
    mine.put({ViewKey(f"{name}{k}", "", "L", "CC"): {"bac": 1, "bac_length_mm": k + 0.5}})
    mine.put({ViewKey("both", "", "L", "CC"): {"comment": name} if name == "a" else {"csbi": 2}})
    print(k, flush=True)
"""


def key(woman="W1", side="L", view="CC", exam=""):
    return ViewKey(woman, exam, side, view)


def test_file_names_are_safe_and_unique():
    names = [file_name(name) for name in (*HOSTILE, "anna", "Anna", "ANNA", "anna ", "é", "e")]
    assert len({name.lower() for name in names}) == len(names) - 1  # "anna " is anna
    assert file_name("anna") == "anna.csv" and file_name("con") != "con.csv"
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") and len(name) < 60
    for bad in ("", "  ", "a\nb", "x" * 201, None):
        with pytest.raises(ValueError, match="reader: got .* printable characters"):
            file_name(bad)


@pytest.mark.parametrize("name", HOSTILE)
def test_round_trip_of_any_text(tmp_path, name):
    where, text = ViewKey(name, name, "R", "MLO"), f'{name}\n"quoted", and more\n=2+3'
    mine = ReaderFile(tmp_path, name, 7)
    lines = lines_text(check_lines([[[1.234, 2], [3, 4]]]))
    mine.put({where: {"bac": 1, "bac_length_mm": 12.34, "csbi": 2, "comment": text, "lines": lines, "seconds": 3}}, 5)
    mine.put({where: {"seconds": 4}, key("other"): {"bac": np.nan}}, 6)
    found = ReaderFile(tmp_path, name, 7)
    row = found.get(where)
    assert (row["bac"], row["bac_length_mm"], row["csbi"], row["seconds"]) == (1, 12.34, 2, 7)
    assert (row["comment"], row["lines"], row["position"], row["reader"]) == (text, "[[[1.23,2.0],[3.0,4.0]]]", 5, name)
    assert found.is_read(key("other")) and math.isnan(found.get(key("other"))["bac"])  # undecided
    assert not found.is_read(key("new")) and len(found) == 2
    assert list(read_folder(tmp_path)["patient_id"]) == [name, "other"]


def test_a_partly_read_view_is_not_read(tmp_path):
    mine = ReaderFile(tmp_path, "a", 1)
    mine.put({key(): {"seconds": 2, "comment": "faint"}})
    assert not mine.is_read(key()) and len(mine) == 0
    mine.put({key(): {"bac": 0, "bac_length_mm": 0}})
    assert mine.is_read(key()) and mine.get(key())["comment"] == "faint"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bac": 2}, "bac: got 2.0, must be 0, 1 or missing"),
        ({"bac_length_mm": -1}, "bac_length_mm: got -1.0, must be 0 or more"),
        ({"bac": 0, "bac_length_mm": 3}, "bac_length_mm: got 3.0, must be 0 or missing where bac is 0"),
        ({"csbi": 4}, "csbi: got 4.0, must be 0, 1, 2, 3"),
        ({"bac_ss": 1.5}, "bac_ss: got 1.5, must be a whole number, 0 or more"),
        ({"comment": "x" * 20_001}, "comment: got 20001 characters"),
        ({"lines": "[[1]]"}, r"lines: got '\[\[1\]\]', must be lines of points"),
        ({"seed": 3}, "changes: got seed, must be among"),
    ],
)
def test_a_wrong_value_changes_nothing(tmp_path, change, message):
    mine = ReaderFile(tmp_path, "a", 1)
    mine.put({key(): {"bac": 1}})
    before = mine.path.read_bytes()
    with pytest.raises(ValueError, match=message):
        mine.put({key(): change})
    assert mine.path.read_bytes() == before and mine.unsaved == 0


def test_another_seed_or_reader_is_refused(tmp_path):
    ReaderFile(tmp_path, "a", 1).put({key(): {"bac": 1}})
    with pytest.raises(ValueError, match="a.csv: got the seed 1, must be 2 in all rows"):
        ReaderFile(tmp_path, "a", 2)
    os.replace(tmp_path / "a.csv", tmp_path / "b.csv")
    with pytest.raises(ValueError, match="b.csv: got the reader 'a', must be 'b' in all rows"):
        ReaderFile(tmp_path, "b", 1)
    with pytest.raises(ValueError, match="seed: got 1.5, must be a whole number"):
        ReaderFile(tmp_path, "c", 1.5)


def test_two_windows_of_a_reader_lose_nothing(tmp_path):
    number = 60
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, n, str(number)], stdout=subprocess.DEVNULL) for n in ("a", "b")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    mine = ReaderFile(tmp_path / "study", "Anna", 1)
    for name in ("a", "b"):
        assert [mine.get(key(f"{name}{k}"))["bac_length_mm"] for k in range(number)] == [k + 0.5 for k in range(number)]
    both = mine.get(key("both"))
    assert (both["comment"], both["csbi"]) == ("a", 2)  # each window's own cell


def test_a_kill_loses_nothing_that_was_saved(tmp_path):
    (tmp_path / "b.ready").touch()
    command = [sys.executable, "-c", WRITER, str(tmp_path), "a", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout:
            if int(line) == 20:
                writer.send_signal(signal.SIGKILL)
                break
        said = int(([line] + writer.stdout.readlines())[-1])
    mine = ReaderFile(tmp_path / "study", "Anna", 1)
    assert len(mine) >= said + 1
    mine.put({key("after"): {"bac": 0}})


def test_a_change_that_cannot_be_saved_is_saved_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_file, "WAIT_S", 0.05)
    mine = ReaderFile(tmp_path, "a", 1)
    with locked(mine.path), pytest.raises(FileExistsError):
        mine.put({key(): {"bac": 1, "seconds": 3}}, 1)
    assert mine.unsaved == 1 and mine.get(key())["bac"] == 1 and mine.is_read(key())
    mine.put({key(): {"seconds": 2}, key("W2"): {"bac": 0}}, 2)
    assert mine.unsaved == 0
    assert read_file(mine.path)[["patient_id", "seconds", "position"]].to_numpy().tolist() == [
        ["W1", 5, 1],
        ["W2", 0, 2],
    ]


def write(path, **cells):
    row = {"reader": "a", "patient_id": "W1", "laterality": "L", "view": "CC", "seed": 1, "position": 1} | cells
    row = {name: row.get(name, "") for name in COLUMNS}
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"reader": ""}, "row 2, column 'reader': got nothing, must not be empty"),
        ({"view": "LCC"}, "row 2, column 'view': got LCC, must be CC or MLO"),
        ({"bac": "yes"}, "row 2, column 'bac': got yes, must be 0, 1 or empty"),
        ({"bac": 0, "bac_length_mm": 4, "read_at": "2024-01-01T00:00:00+00:00"}, "column 'bac_length_mm': got 4, must"),
        ({"bac": 1}, "row 2, column 'read_at': got nothing, must not be empty where bac is 0 or 1"),
        ({"read_at": "yesterday"}, "row 2, column 'read_at': got yesterday, must be a time with its zone"),
        ({"read_at": "2024-01-01T00:00:00"}, "must be a time with its zone"),
        ({"csbi": 5}, "row 2, column 'csbi': got 5, must be 0, 1, 2, 3 or empty"),
        ({"bac_ss": -1}, "row 2, column 'bac_ss': got -1, must be a whole number, 0 or more, or empty"),
        ({"lines": "[["}, r"row 2, column 'lines': got \[\[, must be lines of points"),
        ({"position": 0}, "row 2, column 'position': got 0, must be a whole number, 1 or more"),
    ],
)
def test_errors_name_row_column_value_and_rule(tmp_path, cells, message):
    write(tmp_path / "a.csv", **cells)
    with pytest.raises(ValueError, match=message):
        read_file(tmp_path / "a.csv")


def test_errors_across_rows_and_files(tmp_path):
    write(tmp_path / "a.csv", csbi=1)
    write(tmp_path / "a.csv", csbi=2, view="MLO")
    write(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="row 3, column 'csbi': got 2, must be the same") as error:
        read_file(tmp_path / "a.csv")
    assert "row 4, column 'view': got CC, must occur once" in str(error.value)
    folder = tmp_path / "two"
    folder.mkdir()
    write(folder / "a.csv")
    write(folder / "b.csv")
    with pytest.raises(ValueError, match="b.csv: got rows of the reader 'a', who is also in a.csv"):
        read_folder(folder)
    with pytest.raises(FileNotFoundError, match="readings: got .*, must be a folder with the files of readers"):
        read_folder(tmp_path / "none")


def test_a_table_saved_by_a_spreadsheet_program_is_read(tmp_path):
    (tmp_path / "a.csv").write_text(
        "reader;patient_id;exam;laterality;view;bac;bac_length_mm;csbi;read_at\n"
        "a;007;;L;CC;1;12,5;2;2024-05-06T10:00:00+00:00\n"
    )
    row = read_file(tmp_path / "a.csv").iloc[0]
    assert (row["patient_id"], row["bac_length_mm"], row["csbi"]) == ("007", 12.5, 2)


def test_order_is_random_stable_and_each_readers_own():
    exams = [(f"W{k}", "") for k in range(200)]
    order = reading_order(exams, "a", 1)
    assert order == reading_order(reversed(exams), "a", 1) and sorted(order) == sorted(exams)
    assert len({tuple(order), tuple(reading_order(exams, "b", 1)), tuple(reading_order(exams, "a", 2))}) == 3
    assert [exam for exam in order if exam in exams[:50]] == reading_order(exams[:50], "a", 1)
    places = [order.index(exam) for exam in exams]
    assert abs(np.corrcoef(places, np.arange(200))[0, 1]) < 0.2


def test_length_by_hand():
    # 3 columns of 0.2 mm and 2 rows of 0.4 mm: sqrt(0.6² + 0.8²) = 1 mm; then 10 rows: 4 mm.
    assert length_mm([np.array([[5, 5], [8, 7], [8, 17]])], (0.4, 0.2)) == pytest.approx(5.0)
    assert length_mm([np.array([[0, 0], [3, 4]]), np.array([[0, 0]]), np.array([[1, 1], [1, 2]])], (1, 1)) == 6
    assert length_mm([], (1, 1)) == 0 and read_lines("") == [] and lines_text([]) == ""
    with pytest.raises(ValueError, match="spacing_mm: got"):
        length_mm([], (1, 0))
    for bad in ("{}", "[[[1,null]]]", '[["a"]]', "1", "[[[1,2,3]]]", "[[[NaN,1]]]"):
        with pytest.raises(ValueError, match="lines: got"):
            read_lines(bad)
