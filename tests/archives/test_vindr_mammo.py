"""VinDr-Mammo to a views table; expected rows are written by hand."""

import pytest
from archive_tables import VINDR, excluded, put, rows, touch, vindr

from bac_utils.archives.conversion import NO_AGE, NO_FILE
from bac_utils.archives.vindr_mammo import read_vindr_mammo


def test_vindr_mammo(tmp_path):
    views = [("a1", "i1", "L", "CC"), ("a1", "i2", "R", "MLO"), ("b2", "i3", "L", "CC"), ("b2", "i4", "R", "CC")]
    folder = vindr(tmp_path, *views, ages=[("i1", "053Y"), ("i2", ""), ("i3", ""), ("i9", "060Y")])
    put(  # a table that is not read: no finding is vascular
        folder / "finding_annotations.csv",
        "study_id,image_id,laterality,view_position,finding_categories",
        "a1,i1,L,CC,\"['Suspicious Calcification']\"",
    )
    archive = read_vindr_mammo(folder)
    assert rows(archive) == [
        ("a1", 53, "L", "CC", "images/a1/i1.dicom", None),
        ("a1", 53, "R", "MLO", "images/a1/i2.dicom", None),  # the age from the other view of the exam
    ]
    assert excluded(archive) == {NO_FILE: (1, 1), NO_AGE: (1, 1)}
    (folder / "metadata.csv").unlink()
    with pytest.raises(ValueError, match="VinDr-Mammo: got no usable view .*3 no age"):
        read_vindr_mammo(folder)
    ages = put(tmp_path / "ages.csv", "patient_id,age", "b2,44")
    assert rows(read_vindr_mammo(folder, ages=ages), "patient_id age") == [("b2", 44)]
    archive = read_vindr_mammo(folder, images=folder / "images", without_age=True)
    assert rows(archive, "image") == [("a1/i1.dicom",), ("a1/i2.dicom",), ("b2/i3.dicom",)]


@pytest.mark.parametrize(
    ("view", "age", "words"),
    [
        (
            ("..", "i1", "L", "CC"),
            "",
            "breast-level_annotations.csv row 2, column 'study_id': got .., must be an ident",
        ),
        (("a1", "../i1", "L", "CC"), "", "column 'image_id': got ../i1, must be an identifier"),
        (("a1", "i1", "B", "CC"), "", "column 'laterality': got B, must be L or R"),
        (("a1", "i1", "L", "CC"), "middle", "metadata.csv row 2, column 'Patient's Age': got middle, must be like"),
    ],
)
def test_broken_tables(tmp_path, view, age, words):
    with pytest.raises(ValueError, match=words):
        read_vindr_mammo(vindr(tmp_path, view, ages=[("i1", age)]))


@pytest.mark.parametrize(
    "files",
    [
        ("images/a1/i1.png", "images/a1/i2.png"),
        ("a1/i1.JPG", "a1/i2.jpeg"),
        ("png/1024/i1.png", "png/1024/i2.png"),
        ("flat/a1_i1.png", "flat/a1_i2.tif"),
        ("flat/a1@i1.png", "a1/i2.dicom.png"),
        ("images/a1/i1.png", "images/a1/i1.jpg", "other/i1.png", "images/a1/i2.png"),
    ],
)
def test_copies_are_found_by_their_names(tmp_path, files):
    line = "a1,s,{},{},CC,3518,2800,BI-RADS 2,DENSITY C,training"
    put(tmp_path / "breast-level_annotations.csv", VINDR, line.format("i1", "L"), line.format("i2", "R"))
    touch(tmp_path, *files)
    archive = read_vindr_mammo(tmp_path, without_age=True)
    assert rows(archive, "laterality image") == [("L", files[0]), ("R", files[-1])]
    assert "copies instead of DICOM files: 2; they state no pixel spacing" in archive.notes[0]
    assert "pixel_spacing_mm" not in archive.views
    put(
        tmp_path / "breast-level_annotations.csv",
        f"{VINDR},pixel_spacing_mm",
        line.format("i1", "L") + ",0.085",
        line.format("i2", "R") + ",",
    )
    archive = read_vindr_mammo(tmp_path, without_age=True)
    assert rows(archive, "pixel_spacing_mm") == [(0.085,), (None,)]


def test_of_several_equal_copies_none_is_chosen(tmp_path):
    folder = vindr(tmp_path, ("a1", "i1", "L", "CC"), ("a1", "i2", "R", "CC"))
    touch(folder, "512/i2.png", "1024/i2.png", "png/i1.png")
    archive = read_vindr_mammo(folder, without_age=True)
    assert rows(archive, "image") == [("images/a1/i1.dicom",)]  # DICOM before its copy
    assert archive.notes == ("images with several copies, of which none was chosen (--images): 1",)
    assert excluded(archive) == {NO_FILE: (1, 1)}
