"""Labels reach the right images, or the user is told: nothing is lost and nothing is guessed."""

import numpy as np
import pandas as pd
import pytest
from archive_tables import put

from bac_utils.archives.columns import Columns
from bac_utils.archives.labels import read_labels

VIEWS = [(side, view) for side in "LR" for view in ("CC", "MLO")]


def images(*women, **more):
    """Return the four views of each woman."""
    rows = [(f"{w}/{side}_{view}.dcm", w, side, view) for w in women for side, view in VIEWS]
    frame = pd.DataFrame(rows, columns=["image", "patient_id", "laterality", "view"], index=range(5, 5 + len(rows)))
    return frame.assign(bac=np.nan, **more)


def give(path, frame, columns=None, by=None):
    """Return bac by image (None if unknown), the levels and the notes."""
    found, notes = read_labels(path, columns, by).give(frame)
    assert found.index.equals(frame.index) and found["image"].equals(frame["image"])
    bac = [None if np.isnan(x) else int(x) for x in found["bac"]]
    return bac, found["label_level"].tolist(), notes


def by_view(path, *women):
    return put(
        path, "patient_id,laterality,view,bac", *(f"{w},{s},{v},{int(s == 'L')}" for w in women for s, v in VIEWS)
    )


@pytest.mark.parametrize(
    ("given", "there", "words"),
    [
        (
            ["1", "22"],
            ["001", "022"],
            r"got 2 of 2 that match the files only without leading zeros \(1 for 001, 22 for 0",
        ),
        (
            ["7"],
            ["0007"],
            r"without leading zeros \(7 for 0007\); a spreadsheet .* or set 'id_digits: 4' in the mapping",
        ),
        (["1", "2", "300"], ["001", "002", "300"], r"got 2 of 3 that match the files only without leading zeros"),
        (["001", "002"], ["1", "2"], "got 2 of 2 that match the files only without leading zeros"),
        (["11.0", "12.0"], ["11", "12"], r"only without '.0' \(11.0 for 11"),
        (["11.0", "12.0"], ["0011", "0012"], r"only without leading zeros"),
        (["s5-1", "s5-2"], ["S5-1", "S5-2"], "only in other letter case, blanks or punctuation"),
        (["A 1", "A 2"], ["A-1", "A-2"], "only in other letter case, blanks or punctuation"),
        (["1234567890123450", "9"], ["1234567890123456", "8"], "only in their first 15 digits"),
        (
            ["x", "y"],
            ["a", "b"],
            r"none of 8 labels matches an image; labels are by patient_id.* 'x' 'L' 'CC'.*'a' 'L' 'CC'",
        ),
        (
            ["1.23E+11", "1.24E+11"],
            ["123456789012"],
            "row 2, column 'patient_id': got 1.23E.11, must be written with all",
        ),
    ],
)
def test_identifiers_that_match_only_in_another_spelling(tmp_path, given, there, words):
    with pytest.raises(ValueError, match=words):
        give(by_view(tmp_path / "l.csv", *given), images(*there))


def test_one_identifier_of_another_spelling_is_listed_and_not_given(tmp_path):
    path = by_view(tmp_path / "l.csv", "001", "002", "3")
    bac, levels, notes = give(path, images("001", "002", "003"))
    assert bac == [1, 1, 0, 0] * 2 + [None] * 4 and levels == ["view"] * 8 + [""] * 4
    assert notes == [
        "rows of l.csv that match no view: 4 (row 10, row 11, row 12, ...)",
        "images without a label: 4 (003/L_CC.dcm, 003/L_MLO.dcm, 003/R_CC.dcm, ...)",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["A/l_cc.dcm", "a/l_MLO.dcm"], "only in other letter case"),
        (["export/L_CC.dcm", "L_MLO.dcm"], "only without their folders"),
        (["L_CC.png", "x/L_MLO"], "only without their ending"),
    ],
)
def test_paths_that_match_only_in_another_spelling(tmp_path, names, words):
    with pytest.raises(ValueError, match=f"column 'image': got 2 of 2 that match the files {words}"):
        give(put(tmp_path / "l.csv", "image,bac", *(f"{name},1" for name in names)), images("a"))


@pytest.mark.parametrize(
    ("by", "lines", "bac"),
    [
        ("woman", ["patient_id,bac", "a,1", "b,0"], [1] * 4 + [0] * 4),
        ("woman", ["patient_id,bac", "a,", "b,0"], [None] * 4 + [0] * 4),
        ("breast", ["patient_id,laterality,bac", "a,R,1", "a,L,0"], [0, 0, 1, 1] + [None] * 4),
        ("breast", ["patient_id,laterality,view,bac", "a,R,CC,1", "a,R,MLO,1"], [None, None, 1, 1] + [None] * 4),
        ("exam", ["patient_id,study_date,bac", "a,20230305,1", "b,20200101,0"], [1] * 4 + [None] * 4),
    ],
)
def test_labels_of_breasts_exams_and_women_are_given_to_their_views(tmp_path, by, lines, bac):
    frame = images("a", "b", study_date="2023-03-05")
    found, levels, _ = give(put(tmp_path / "l.csv", *lines), frame, by=by)
    assert found == bac
    assert levels == ["" if label is None else by for label in bac]


def test_rows_for_both_views_are_labels_of_breasts(tmp_path):
    rows = ["a,R,CC,1,12.5", "a,R,MLO,0,0", "a,L,,0,0", "b,R+L,,0,", "c,R+L,CC,1,"]
    path = put(tmp_path / "l.csv", "ID,Side,View,BAC,Length", *rows)
    names = {"patient_id": "ID", "laterality": "Side", "view": "View", "bac": "BAC", "bac_length_mm": "Length"}
    columns = Columns(names, {"view": {"": "CC+MLO"}})
    labels = read_labels(path, columns)
    found, _ = labels.give(images("a", "b", "c"))
    assert found["bac"].fillna(-1).tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 1, -1, 1, -1]
    assert found["bac_length_mm"].fillna(-1).tolist() == [0, 0, 12.5, 0, *[-1] * 8]
    levels = ["breast", "breast", "view", "view", *["breast"] * 4, "view", "", "view", ""]
    assert found["label_level"].tolist() == levels


def test_a_row_counts_once_and_per_breast(tmp_path):
    path = put(tmp_path / "l.csv", "ID,Side,View,BAC", "a,R+L,,1", "b,R+L,,", "x,R+L,,1")
    names = {"patient_id": "ID", "laterality": "Side", "view": "View", "bac": "BAC"}
    labels = read_labels(path, Columns(names, {"view": {"": "CC+MLO"}}))
    frame = images("a", "b")
    _, notes = labels.give(frame[frame["view"] == "CC"])
    assert notes == [
        "rows of l.csv with an unknown label: 1 (row 3)",
        "rows of l.csv that match no view: 1 (row 4)",
    ]
    _, notes = labels.give(frame[(frame["laterality"] == "R") | (frame["patient_id"] == "b")])
    assert notes[1] == "rows of l.csv that match no view: 2 (row 2, row 4)"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,L,,1,30", "row 3, column 'Length': got 30, must be empty or 0 in a row for several views"),
        ("a,R+L,MLO,1,0.5", "row 3, column 'Length': got 0.5, must be empty or 0 in a row for several views"),
        ("a,R,,0,", "row 3, column 'View': got nothing, must occur once"),
    ],
)
def test_rows_for_several_views_that_are_refused(tmp_path, row, words):
    path = put(tmp_path / "l.csv", "ID,Side,View,BAC,Length", "a,R,CC,1,12.5", row)
    names = {"patient_id": "ID", "laterality": "Side", "view": "View", "bac": "BAC", "bac_length_mm": "Length"}
    with pytest.raises(ValueError, match=words):
        read_labels(path, Columns(names, {"view": {"": "CC+MLO"}}))


def test_labels_of_breasts_are_only_spread_when_asked(tmp_path):
    path = put(tmp_path / "l.csv", "patient_id,laterality,bac,bac_length_mm", "a,R,1,40", "a,R,0,")
    with pytest.raises(ValueError, match="column 'view': missing, .*--labels-by breast, exam or woman"):
        read_labels(path)
    with pytest.raises(ValueError, match="row 3, column 'bac': got 0, must be the same in all rows of a breast"):
        read_labels(path, by="breast")
    with pytest.raises(ValueError, match="column 'study_date or accession or exam': missing"):
        read_labels(path, by="exam")
    with pytest.raises(ValueError, match="labels_by: got 'lesion', must be one of view, breast, exam, woman"):
        read_labels(path, by="lesion")
    labels = read_labels(put(path, "patient_id,laterality,bac,bac_length_mm", "a,R,1,40"), by="breast")
    assert labels.notes == ("bac_length_mm in l.csv is not used: it is one of views, labels are by breast",)
    assert "bac_length_mm" not in labels.give(images("a"))[0]


def test_a_row_per_woman_with_a_column_for_each_breast(tmp_path):
    path = put(tmp_path / "l.csv", "ID;BAC rechts;BAC links", "a;ja;nein", "b;;ja")
    words = {side: {"ja": "1", "nein": "0"} for side in ("bac_right", "bac_left")}
    columns = Columns({"patient_id": "ID", "bac_right": "BAC rechts", "bac_left": "BAC links"}, words)
    assert give(path, images("a", "b"), columns, "breast")[0] == [0, 0, 1, 1, 1, 1, None, None]
    with pytest.raises(ValueError, match="must be the same in all rows of a woman"):
        read_labels(path, columns, "woman")


def test_a_row_for_both_breasts_and_views_that_state_the_side(tmp_path):
    path = put(tmp_path / "l.csv", "ID,Seite,BAC", "a,bds,1", "b,R,0")
    columns = Columns({"patient_id": "ID", "laterality": "Seite", "bac": "BAC"}, {"laterality": {"bds": "R+L"}})
    assert give(path, images("a", "b"), columns, "breast")[0] == [1, 1, 1, 1, None, None, 0, 0]
    path = put(tmp_path / "l.csv", "ID,View,BAC", "a,RCC,1", "a,LMLO,0")
    columns = Columns({"patient_id": "ID", "view": "View", "bac": "BAC"}, {"view": {"RCC": "R CC", "LMLO": "L MLO"}})
    assert give(path, images("a"), columns)[0] == [None, 0, 1, None]
    path = put(tmp_path / "l.csv", "ID,Seite,View,BAC", "a,L,RCC,1")
    columns = Columns({**columns.columns, "laterality": "Seite"}, columns.words)
    with pytest.raises(ValueError, match="row 2, column 'View': got RCC, must agree with the side of its row"):
        read_labels(path, columns)


def test_a_label_of_one_exam_does_not_land_on_another(tmp_path):
    frame = images("a", "a", "b").assign(exam=["1"] * 4 + ["2"] * 4 + ["3"] * 4, accession=["A1"] * 4 + ["A2"] * 8)
    frame = frame.assign(study_date=["2021-03-01"] * 4 + ["2023-03-05"] * 8)
    bac, _, notes = give(by_view(tmp_path / "l.csv", "a", "b"), frame)
    assert bac == [None] * 8 + [1, 1, 0, 0]
    assert notes == [
        "images of 1 women with several exams without one, as the labels state no study_date or accession or exam: "
        "8 (a/L_CC.dcm, a/L_MLO.dcm, a/R_CC.dcm, ...)"
    ]
    for name, this, other in (
        ("accession", "A2", "A1"), ("exam", "2", "1"), ("study_date", "20230305", "20200101"),
        ("study_date", "05.03.2023", "2020-01-01"),
    ):  # fmt: skip
        path = put(
            tmp_path / "l.csv", f"patient_id,laterality,view,{name},bac", f"a,L,CC,{this},1", f"b,L,CC,{other},1"
        )
        bac, _, notes = give(path, frame)
        assert bac == [None] * 4 + [1] + [None] * 7
        assert notes[0] == "rows of l.csv that match no view: 1 (row 3)"
    with pytest.raises(ValueError, match="labels are by study_date, which the files do not state"):
        give(path, images("a"))
    one = frame.assign(exam="1", study_date="")
    assert give(by_view(tmp_path / "l.csv", "a", "b"), one)[0] == [1, 1, 0, 0] * 3


def test_a_row_names_its_exam_by_accession_number_or_date(tmp_path):
    """Exams of 2020 (A1) and 2023 (A2) of one woman: one row states the number, the other one the date."""
    frame = images("a", "a").assign(
        exam=["A1"] * 4 + ["A2"] * 4,
        accession=["A1"] * 4 + ["A2"] * 4,
        study_date=["2020-01-01"] * 4 + ["2023-03-05"] * 4,
    )
    head = "patient_id,laterality,accession,study_date,bac"
    rows = ["a,L,A1,,0", "a,R,,2020-01-01,1", "a,L,,2023-03-05,1", "a,R,A2,2023-03-05,0"]
    bac, levels, notes = give(put(tmp_path / "l.csv", head, *rows), frame, by="breast")
    assert (bac, set(levels), notes) == ([0, 0, 1, 1, 1, 1, 0, 0], {"breast"}, [])
    with pytest.raises(ValueError, match=r"l\.csv rows 2 and 3: give one image different labels, must be the same"):
        give(put(tmp_path / "l.csv", head, "a,L,A1,,0", "a,L,,2020-01-01,1"), frame, by="breast")
    with pytest.raises(ValueError, match="row 3, column 'study_date': .* study_date or accession must not be empty"):
        give(put(tmp_path / "l.csv", head, "a,L,A1,,0", "a,R,,,1"), frame, by="breast")


def test_accession_numbers_without_their_leading_zeros(tmp_path):
    frame = images("a", "b").assign(accession=["0031"] * 4 + ["0094"] * 4)
    path = put(tmp_path / "l.csv", "patient_id,laterality,view,accession,bac", "a,L,CC,31,1", "b,L,CC,94,1")
    with pytest.raises(ValueError, match=r"column 'accession': got 2 of 2 .* without leading zeros \(31 for 0031, 94"):
        give(path, frame)


def test_all_broken_rules_at_once(tmp_path):
    lines = [
        "patient_id,laterality,view,bac",
        "1,L,CC,2",
        "1,X,CC,1",
        "1,R",
        ",L,CC,1",
        "2,L,ML,x",
        "3,L,CC,1",
        "3,L,CC,0",
    ]
    with pytest.raises(ValueError) as caught:
        read_labels(put(tmp_path / "l.csv", *lines))
    assert [line.split(", must")[0].removeprefix("l.csv ") for line in str(caught.value).splitlines()] == [
        "row 2, column 'bac': got 2",
        "row 3, column 'laterality': got X",
        "row 4: got 2 cells",
        "row 5, column 'patient_id': got nothing",
        "row 6, column 'bac': got x",
        "row 6, column 'view': got ML",
        "row 8, column 'view': got CC",
    ]


def test_large_tables(tmp_path):
    women = [f"{k:06d}" for k in range(10_000)]
    bac, _, notes = give(by_view(tmp_path / "l.csv", *women), images(*women))
    assert bac == [1, 1, 0, 0] * 10_000 and notes == []


@pytest.mark.parametrize("text", ["a/1.dcm", "{}/a/1.dcm", "a/../a/1.dcm", "../images/a/1.dcm", "./a//1.dcm"])
def test_a_users_table_may_name_files_in_any_way_inside_the_image_folder(tmp_path, text):
    images = tmp_path / "images"
    path = put(tmp_path / "labels.csv", "image,bac", f"{text.format(images)},1")
    assert read_labels(path, images=images).frame["image"].tolist() == ["a/1.dcm"]


@pytest.mark.parametrize("text", ["../a.dcm", "/etc/passwd", "{}/../a.dcm", "C:/a.dcm", "{}2/a.dcm"])
def test_a_path_that_leads_out_of_the_image_folder_is_refused(tmp_path, text):
    images = tmp_path / "images"
    path = put(tmp_path / "labels.csv", "image,bac", f"{text.format(images)},1")
    with pytest.raises(ValueError, match="must be a path inside the image folder: relative to it, or absolute"):
        read_labels(path, images=images)
