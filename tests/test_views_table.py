"""A views table is read as written, or rejected with row, column, value and rule."""

import warnings

import numpy as np
import pandas as pd
import pytest
from view_rows import four_views

from bac_utils.views_table import SIMULATION_NOTE, are_simulated, check_views, is_compared, label_levels, read_views

HEADER = "patient_id,age,laterality,view,image,bac"
GOOD = [
    "007,59,R,CC,a.dcm,0",
    "007,59,R,MLO,b.dcm,1",
    "007,59,L,CC,c.dcm,",
    "007,59,L,MLO,d.dcm,0",
    "008,45,R,CC,e.dcm,0",
]


def write(folder, *lines, header=HEADER, encoding="utf-8"):
    path = folder / "views.csv"
    path.write_bytes(("\n".join([header, *lines]) + "\n").encode(encoding))
    return path


def test_read_views_gives_types_and_paths(tmp_path):
    path = write(tmp_path, *GOOD)
    views = read_views(path)
    assert views["patient_id"].tolist() == ["007"] * 4 + ["008"]  # leading zeros are kept
    assert views["age"].tolist() == [59.0] * 4 + [45.0]
    assert views["bac"].tolist()[:2] == [0, 1]
    assert np.isnan(views["bac"][2])
    assert views["image_path"][0] == str(tmp_path / "a.dcm")


def test_read_views_reads_tables_from_spreadsheets(tmp_path):
    text = "\ufeff" + HEADER + ",bac_length_mm,pixel_spacing_mm,note\r\n"
    text += ' "S,1", 59.0,R,CC,sub/a.dcm,1.0,41,0.085,"two\r\nlines"\r\n,,,,,,,,\r\n\r\n2,60,L,MLO,b.dcm,0,,,\r\n'
    (tmp_path / "views.csv").write_bytes(text.encode())
    views = read_views(str(tmp_path / "views.csv"))
    assert views["patient_id"].tolist() == ["S,1", "2"]
    assert views["bac_length_mm"][0] == 41
    assert views["pixel_spacing_mm"].isna().tolist() == [False, True]
    assert views["note"].tolist() == ["two\r\nlines", ""]
    text = text.replace(",60,", ",590,")
    (tmp_path / "views.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match="row 6, column 'age': got 590"):  # its line in the file, including blank lines
        read_views(tmp_path / "views.csv")


def test_a_written_table_reads_back_the_same(tmp_path):
    views = read_views(write(tmp_path, *GOOD))
    views.drop(columns="image_path").to_csv(tmp_path / "again.csv", index=False)
    pd.testing.assert_frame_equal(read_views(tmp_path / "again.csv"), views)


BROKEN = {
    "age 590": (2, "007,590,L,CC,c.dcm,", "row 4, column 'age': got 590, must be a number of years"),
    "age 17.9": (2, "007,17.9,L,CC,c.dcm,", "row 4, column 'age': got 17.9"),
    "DICOM age": (2, "007,059Y,L,CC,c.dcm,", "row 4, column 'age': got 059Y"),
    "age inf": (2, "007,inf,L,CC,c.dcm,", "row 4, column 'age': got inf"),
    "age nan": (2, "007,nan,L,CC,c.dcm,", "row 4, column 'age': got nan, must be a number of years .*, or empty"),
    "two ages": (2, "007,60,L,CC,c.dcm,", r"row 4, column 'age': got 60, must be .* \(row 2 differs\)"),
    "side": (2, "007,59,left,CC,c.dcm,", "row 4, column 'laterality': got left, must be one of L, R"),
    "view": (2, "007,59,L,ML,c.dcm,", "row 4, column 'view': got ML, must be one of CC, MLO"),
    "doubled": (2, "007,59,R,MLO,c.dcm,", r"row 4, column 'view': got MLO, .* \(also in row 3\)"),
    "doubled file": (2, "007,59,L,CC,./b.dcm,", r"row 4, column 'image': got ./b.dcm, .* \(also in row 3\)"),
    "no id": (2, " ,59,L,CC,c.dcm,", "row 4, column 'patient_id': got nothing, must not be empty"),
    "no image": (2, "007,59,L,CC,,", "row 4, column 'image': got nothing, must not be empty"),
    "bac 2": (2, "007,59,L,CC,c.dcm,2", r"row 4, column 'bac': got 2, must be 0, 1 or empty"),
    "bac yes": (2, "007,59,L,CC,c.dcm,yes", "row 4, column 'bac': got yes"),
    "bac nan": (2, "007,59,L,CC,c.dcm,nan", "row 4, column 'bac': got nan"),
    "cells": (2, "007,59,L,CC,c.dcm", "row 4: got 5 cells, must have 6 like the first row"),
    "quote": (4, '"007,59,L,CC,c.dcm,', "row 6: got unexpected end of data, must be comma-sep"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_refused_by_name(tmp_path, name):
    index, line, message = BROKEN[name]
    lines = [*GOOD]
    lines[index] = line
    with pytest.raises(ValueError, match="^views.csv " + message):
        read_views(write(tmp_path, *lines))


def test_ages_may_be_missing(tmp_path):
    """An age stated for one view holds for the woman; without the column, no age is known."""
    lines = [GOOD[0].replace(",59,", ",,"), *GOOD[1:4], GOOD[4].replace(",45,", ",,")]
    views = read_views(write(tmp_path, *lines))
    assert views["age"][:4].tolist() == [59.0] * 4 and np.isnan(views["age"][4])
    lines[3] = lines[3].replace(",59,", ",61,")
    with pytest.raises(ValueError, match=r"row 5, column 'age': got 61, must be the same .* \(row 3 differs\)"):
        read_views(write(tmp_path, *lines))
    without = [line.replace(",59,", ",").replace(",45,", ",") for line in GOOD]
    views = read_views(write(tmp_path, *without, header=HEADER.replace(",age", "")))
    assert views["age"].isna().all() and views["age"].dtype == "float64"


@pytest.mark.parametrize(
    ("column", "cell", "bac", "message"),
    [
        ("bac_length_mm", "-3", "1", "'bac_length_mm': got -3, must be a number of mm, 0 or more, or empty"),
        ("bac_length_mm", "inf", "1", "'bac_length_mm': got inf"),
        ("bac_length_mm", "12.5", "0", "'bac_length_mm': got 12.5, must be 0 or empty where bac is 0"),
        (
            "pixel_spacing_mm",
            "0",
            "1",
            "'pixel_spacing_mm': got 0, must be a number of mm above 0 and at most 2",
        ),
        ("pixel_spacing_mm", "70", "1", "'pixel_spacing_mm': got 70"),  # micrometres
        ("split", "", "1", "'split': got nothing, must be one of train, validation, test, unused, quantification"),
    ],
)
def test_a_broken_optional_cell_is_refused(tmp_path, column, cell, bac, message):
    path = write(tmp_path, f"1,59,R,CC,a.dcm,{bac},{cell}", header=f"{HEADER},{column}")
    with pytest.raises(ValueError, match=f"views.csv row 2, column {message}"):
        read_views(path)


def test_several_broken_rows_are_counted(tmp_path):
    path = write(tmp_path, *(line.replace(",59,", ",590,") for line in GOOD))
    with pytest.raises(ValueError) as caught:
        read_views(path)
    assert [line.split(",")[0] for line in str(caught.value).splitlines()] == [
        f"views.csv row {n}" for n in (2, 3, 4, 5)
    ]


def test_all_broken_rules_are_named_at_once(tmp_path):
    lines = ["007,590,R,CC,a.dcm,0", "007,59,R,XX,b.dcm,1", "007,59,L,CC,c.dcm,3", "007,59,L,MLO", *GOOD[4:]]
    lines += ["009,60,R,CC,f.dcm,0", "009,61,R,CC,f.dcm,0", "1.23457E+11,61,R,CC,g.dcm,0"]
    with pytest.raises(ValueError) as caught:
        read_views(write(tmp_path, *lines))
    assert str(caught.value).splitlines() == [
        "views.csv row 2, column 'age': got 590, must be a number of years from 18 to 110, or empty",
        "views.csv row 3, column 'view': got XX, must be one of CC, MLO",
        "views.csv row 4, column 'bac': got 3, must be 0, 1 or empty (unknown)",
        "views.csv row 5: got 4 cells, must have 6 like the first row",
        "views.csv row 8, column 'age': got 61, must be the same in all views of a woman (row 7 differs)",
        "views.csv row 8, column 'image': got f.dcm, must be the file of one view only (also in row 7)",
        "views.csv row 8, column 'view': got CC, must occur once for each breast of a woman (also in row 7)",
        "views.csv row 9, column 'patient_id': got 1.23457E+11, must be written with all its digits",
        "A spreadsheet program has probably rounded these identifiers: get the table again from its source, and import "
        "the column as text",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_table_saved_by_a_german_spreadsheet_program(tmp_path, encoding):
    header = HEADER.replace(",", ";") + ";bac_length_mm;pixel_spacing_mm;Befund;"
    path = write(tmp_path, "007;59,5;R;CC;ä.dcm;1;41,512;0,085;ü;", header=header, encoding=encoding)
    views = read_views(path)
    assert views.loc[0, ["patient_id", "age", "image", "bac_length_mm", "pixel_spacing_mm"]].tolist() == [
        "007",
        59.5,
        "ä.dcm",
        41.512,
        0.085,
    ]


def test_two_exams_of_a_woman(tmp_path):
    """The same view twice, and two ages, if the exams differ; by name, or by date where there is no name."""
    lines = ["1,59,R,CC,a.dcm,0,A-1,2021-03-02", "1,61,R,CC,b.dcm,1,B-2,", "1,,R,MLO,c.dcm,1,B-2,07.03.2023"]
    lines += ["1,62,R,CC,d.dcm,0,,2024-03-05"]
    views = read_views(write(tmp_path, *lines, header=f"{HEADER},exam,study_date"))
    assert views["exam"].tolist() == ["A-1", "B-2", "B-2", "2024-03-05"]
    assert views["age"].tolist() == [59, 61, 61, 62]
    assert views["study_date"].tolist() == ["2021-03-02", "2023-03-07", "2023-03-07", "2024-03-05"]
    assert is_compared(views.assign(split="test"), "CC").tolist() == [
        False,
        True,
        False,
        False,
    ]  # not the CC view of another exam
    bare = read_views(write(tmp_path, *GOOD))
    assert (bare["exam"] == "").all() and (bare["study_date"] == "").all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,59,R,CC,b.dcm,1,A-1,", r"'view': got CC, must occur once for each breast of an exam \(also in row 2\)"),
        ("1,61,L,CC,b.dcm,1,A-1,", r"'age': got 61, must be the same in all views of an exam \(row 2 differs\)"),
        ("1,59,L,CC,b.dcm,1,A-1,2021-03-03", r"'study_date': got 2021-03-03, must be the same in all views of an exam"),
        ("1,59,L,CC,b.dcm,1,B-2,02/03/2021", "'study_date': got 02/03/2021, must be a date such as 2023-03-05, "),
        ("1,59,L,CC,b.dcm,1,1.23457E+11,", r"'exam': got 1.23457E\+11, must be written with all its digits"),
    ],
)
def test_exams_that_contradict_themselves(tmp_path, line, message):
    path = write(tmp_path, "1,59,R,CC,a.dcm,0,A-1,2021-03-02", line, header=f"{HEADER},exam,study_date")
    with pytest.raises(ValueError, match=f"views.csv row 3, column {message}"):
        read_views(path)


def test_levels_of_labels_are_kept_and_counted():
    frame = pd.DataFrame([*four_views("1", bac=(0, 1, None, 0)), *four_views("2"), *four_views("3", bac=(1, 1, 1, 1))])
    frame["label_level"] = ["view", "", "", "view"] + ["breast"] * 4 + ["woman"] * 4
    views = check_views(frame)
    assert views["label_level"].tolist() == frame["label_level"].tolist()
    assert label_levels(views).to_numpy().tolist() == [["view", 1, 3, 1], ["breast", 1, 4, 0], ["woman", 1, 4, 4]]
    assert label_levels(views.drop(columns="label_level")).to_numpy().tolist() == [["view", 3, 11, 5]]
    frame.loc[:, "label_level"] = "lesion"
    with pytest.raises(ValueError, match="'label_level': got lesion, must be one of view, breast, exam, woman, empty"):
        check_views(frame)


@pytest.mark.parametrize(("bac", "length"), [("1", "0"), ("1", ""), ("", "3"), ("0", "0"), ("0", "")])
def test_lengths_that_agree_with_the_label(tmp_path, bac, length):
    path = write(tmp_path, f"1,59,R,CC,a.dcm,{bac},{length}", header=f"{HEADER},bac_length_mm")
    assert len(read_views(path)) == 1


def test_a_woman_is_in_one_set():
    frame = pd.DataFrame(four_views("1")).assign(split=["train", "train", "test", "train"])
    with pytest.raises(ValueError, match=r"views row 4, column 'split': got test, must be the same .*row 2"):
        check_views(frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"\n , \n", "got an empty file"),
        (HEADER.encode(), "got no rows"),
        (b"PK\x03\x04\xff\xfe\x80", "got a file that openpyxl cannot read"),
        (HEADER.encode() + b"\n1,59,R,CC,\xc3\xa4\xff.dcm,0", "row 2: got bytes that are not text"),
        (HEADER.encode() + b"\n1,59,R,CC,a\x00.dcm,0", "row 2: got bytes that are not text"),
        (b"patient_id,age,laterality\n1,59,R", "row 1, columns 'view', 'image', 'bac': missing, must be among"),
        (HEADER.replace("view", "position").encode() + b"\n1,59,R,CC,a.dcm,0", "row 1, column 'view': missing"),
        (HEADER.replace("age", "bac").encode() + b"\n1,59,R,CC,a.dcm,0", "row 1: got columns .* must be unique names"),
    ],
)
def test_a_file_that_is_not_a_views_table(tmp_path, content, message):
    (tmp_path / "views.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^views.csv.*{message}"):
        read_views(tmp_path / "views.csv")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv', must be an existing CSV file"):
        read_views(tmp_path / "nowhere.csv")
    path = write(tmp_path, *GOOD)
    for name in "abde":
        (tmp_path / f"{name}.dcm").touch()
    with pytest.raises(ValueError, match="views.csv row 4, column 'image': got c.dcm, must be an existing file"):
        read_views(path, check_images=True)
    (tmp_path / "c.dcm").touch()
    assert len(read_views(path, check_images=True)) == 5


def test_check_views_does_not_change_its_argument():
    frame = pd.DataFrame(four_views(12, bac=(0, 1, None, 0)), index=[9, 8, 7, 6])
    before = frame.copy()
    views = check_views(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert views["patient_id"].tolist() == ["12"] * 4
    assert views.index.tolist() == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="frame: got list, must be a pandas.DataFrame"):
        check_views([1])


def test_names_of_images_that_differ_from_the_table_are_said_once(tmp_path):
    lines = ["1,59,R,CC,LCC.png,0", "1,59,L,MLO,0b6f3a9d41e27c85d2a14cc7f9013be6.png,0", "1,59,R,MLO,R_MLO.tif,0"]
    with pytest.warns(UserWarning, match=r"the names of 1 images state another side .* \(first: LCC.png\)") as caught:
        views = read_views(write(tmp_path, *lines))
    assert len(caught) == 1 and views["laterality"].tolist() == ["R", "L", "R"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_views(write(tmp_path, *lines[1:]))


def test_views_that_simulate_has_written(tmp_path):
    views = pd.DataFrame({"image_path": [str(tmp_path / "images" / "a.dcm")]})
    assert not are_simulated(views) and not are_simulated(pd.DataFrame({"image_path": ["a.dcm"]}))
    (tmp_path / SIMULATION_NOTE).write_text("{}")
    assert are_simulated(views)
    assert are_simulated(pd.DataFrame({"image_path": [str(tmp_path / "export" / "1" / "2" / "a.dcm")]}))
