"""INbreast to a views table; expected rows are written by hand."""

import pytest
from archive_tables import excluded, inbreast, put, rows, touch

from bac_utils.archives.conversion import NO_VIEW
from bac_utils.archives.inbreast import ANOTHER_EXAM, CONTRADICTION, read_inbreast

A, B = "6c613a14b80a8591", "5cc91d0f3a2b7cc4"
FOUR = [
    ("20586908", A, "R", "CC", "200801"),
    ("20586934", A, "L", "CC", "200801"),
    ("20586960", A, "R", "MLO", "200801"),
    ("20586986", A, "L", "MLO", "200801"),
]


def test_inbreast(tmp_path):
    folder = inbreast(tmp_path / "a", *FOUR, ("22678622", B, "L", "MLO", "200802"))
    archive = read_inbreast(folder, without_age=True)
    assert rows(archive, "patient_id laterality view image bac") == [
        (A, "R", "CC", f"AllDICOMs/20586908_{A}_MG_R_CC_ANON.dcm", None),
        (A, "L", "CC", f"AllDICOMs/20586934_{A}_MG_L_CC_ANON.dcm", None),
        (A, "R", "MLO", f"AllDICOMs/20586960_{A}_MG_R_ML_ANON.dcm", None),
        (A, "L", "MLO", f"AllDICOMs/20586986_{A}_MG_L_ML_ANON.dcm", None),
        (B, "L", "MLO", f"AllDICOMs/22678622_{B}_MG_L_ML_ANON.dcm", None),
    ]
    assert excluded(archive) == {} and archive.notes == ()
    with pytest.raises(ValueError, match="INbreast: got no usable view .*5 no age"):
        read_inbreast(folder)
    ages = put(tmp_path / "ages.csv", "patient_id,age", f"{B},44")
    assert rows(read_inbreast(folder, ages=ages), "patient_id age") == [(B, 44)]


def test_one_exam_per_woman_and_contradictions(tmp_path):
    views = [
        ("1", A, "R", "CC", "200901"),
        ("2", A, "R", "CC", "200801"),
        ("3", A, "L", "CC", "200801"),
        ("4", B, "L", "CC", "200801"),
        ("5", B, "L", "FB", "200801"),
    ]
    lines = [f"removed;removed;{side};{view};{date};{number};4;1" for number, _, side, view, date in views]
    lines[3] = lines[3].replace(";L;", ";R;")
    archive = read_inbreast(inbreast(tmp_path, *views, lines=lines), without_age=True)
    assert rows(archive, "laterality image") == [
        ("R", f"AllDICOMs/2_{A}_MG_R_CC_ANON.dcm"),
        ("L", f"AllDICOMs/3_{A}_MG_L_CC_ANON.dcm"),
    ]
    assert excluded(archive) == {NO_VIEW: (1, 1), CONTRADICTION: (1, 1), ANOTHER_EXAM: (1, 1)}


def test_labels_copies_and_a_folder_without_a_table(tmp_path):
    folder = inbreast(tmp_path / "a", *FOUR)
    labels = put(tmp_path / "l.csv", "patient_id,laterality,view,bac", f"{A},R,MLO,1", "z,L,CC,0")
    archive = read_inbreast(folder, labels=labels, without_age=True)
    assert rows(archive, "laterality view bac")[2] == ("R", "MLO", 1)
    assert archive.notes[0] == "rows of l.csv that match no view: 1 (row 3)"
    assert archive.notes[1].startswith("images without a label: 3 (AllDICOMs/20586908_")
    touch(tmp_path / "b", f"png/20586908_{A}_MG_R_CC_ANON.PNG", "png/other.png")
    archive = read_inbreast(tmp_path / "b", without_age=True)
    assert rows(archive, "patient_id image") == [(A, f"png/20586908_{A}_MG_R_CC_ANON.PNG")]
    assert "exams of a woman cannot be told apart" in archive.notes[0]


def test_broken_table(tmp_path):
    with pytest.raises(ValueError, match="INbreast.csv row 2, column 'Laterality': got B, must be L or R"):
        read_inbreast(inbreast(tmp_path, ("1", A, "L", "CC", "1"), lines=["x;x;B;CC;200801;1;4;1"]), without_age=True)
