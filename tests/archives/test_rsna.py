"""RSNA to a views table; expected rows are written by hand."""

import pytest
from archive_tables import RSNA, excluded, put, rows, rsna, touch

from bac_utils.archives.conversion import NO_AGE, NO_FILE, NO_VIEW, REPEATED
from bac_utils.archives.rsna import read_rsna


def test_rsna(tmp_path):
    folder = rsna(
        tmp_path,
        ("10006", "1", "L", "CC", "61.0", "0"),
        ("10006", "2", "L", "MLO", "61.0", "0"),
        ("10006", "3", "L", "MLO", "61.0", "0"),  # a repeated exposure
        ("10006", "4", "R", "LMO", "61.0", "0"),
        ("10006", "99", "R", "MLO", "61.0", "0"),
        ("10011", "5", "R", "CC", "55", "1"),
        ("10025", "6", "R", "CC", "", "0"),
        ("10038", "7", "R", "CC", "50", "0"),
        ("10038", "8", "R", "MLO", "52", "0"),  # two exams?
    )
    archive = read_rsna(folder)
    assert rows(archive) == [
        ("10006", 61, "L", "CC", "train_images/10006/1.dcm", None),  # cancer is not a BAC label
        ("10006", 61, "L", "MLO", "train_images/10006/2.dcm", None),
    ]
    assert excluded(archive) == {
        "breast implant": (1, 1),
        NO_VIEW: (1, 1),
        NO_FILE: (1, 1),
        REPEATED: (1, 1),
        NO_AGE: (2, 3),
    }
    assert len(read_rsna(folder, without_age=True).views) == 5
    assert len(read_rsna(folder, images=folder / "train_images").views) == 2


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (("1", "1", "L", "CC", "61", ""), "train.csv row 2, column 'implant': got nothing, must be 0 or 1"),
        (("1", "1", "L", "CC", "61", "yes"), "train.csv row 2, column 'implant': got yes, must be 0 or 1"),
        (("1", "1", "l?", "CC", "61", "0"), "column 'laterality': got l\\?, must be L or R"),
        (("1", "1", "L", "CC", "nan", "0"), "column 'age': got nan, must be a number of years or empty"),
        (("../1", "1", "L", "CC", "61", "0"), "column 'patient_id': got ../1, must be an identifier"),
        (("1", "a/b", "L", "CC", "61", "0"), "column 'image_id': got a/b, must be an identifier"),
    ],
)
def test_broken_tables(tmp_path, view, words):
    put(tmp_path / "train.csv", RSNA, "2,{},{},{},{},{},0,0,0,,{},,29,False".format(*view))
    with pytest.raises(ValueError, match=words):
        read_rsna(tmp_path)


def test_one_image_in_two_views_is_refused(tmp_path):
    rsna(tmp_path, ("1", "1", "L", "CC", "61", "0"), ("1", "1", "L", "MLO", "61", "0"))
    with pytest.raises(
        ValueError, match=r"RSNA row 3, column 'image': got .*, must be the file of one view only .*row 2"
    ):
        read_rsna(tmp_path)


@pytest.mark.parametrize(
    "path", ["train_images/5/100.png", "5/100.jpg", "png/5_100.png", "all/100.PNG", "1024/5/100.tiff", "a/b/5-100.jpeg"]
)
def test_copies_are_found_by_their_names(tmp_path, path):
    put(tmp_path / "train.csv", f"{RSNA},pixel_spacing_mm", "1,5,100,L,CC,61.0,0,0,0,,0,,49,False,0.07")
    touch(tmp_path, path, "train_images/6/1000.png")
    archive = read_rsna(tmp_path)
    assert rows(archive, "image pixel_spacing_mm") == [(path, 0.07)]
    assert "copies instead of DICOM files: 1" in archive.notes[0]
