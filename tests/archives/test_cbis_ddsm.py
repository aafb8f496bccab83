"""CBIS-DDSM to a views table; expected rows are written by hand."""

import pytest
from archive_tables import CBIS, NBIA_FILE, UID, cbis, cbis_example, excluded, lesion, put, rows, touch

from bac_utils.archives.cbis_ddsm import CONTRADICTION, read_cbis_ddsm
from bac_utils.archives.conversion import NO_AGE, NO_FILE, REPEATED, write_views
from bac_utils.views_table import read_views


def test_cbis_ddsm(tmp_path):
    ages = put(tmp_path / "ages.csv", "patient_id,age", "P_00005,61", "P_00038,70.5", "P_99999,50")
    archive = read_cbis_ddsm(cbis_example(tmp_path / "cbis"), ages=ages)
    assert rows(archive) == [
        ("P_00005", 61, "R", "CC", f"Calc-Training_P_00005_RIGHT_CC/{UID}/{UID}.2/000000.dcm", 1),
        ("P_00005", 61, "R", "MLO", f"CBIS-DDSM/Calc-Training_P_00005_RIGHT_MLO/{NBIA_FILE}", None),  # not BAC-
        ("P_00038", 70.5, "L", "MLO", f"CBIS-DDSM/Calc-Test_P_00038_LEFT_MLO/{NBIA_FILE}", 1),
    ]
    assert excluded(archive) == {NO_FILE: (2, 2)}
    assert archive.exclusions["reason"].tolist() == [CONTRADICTION, NO_FILE, REPEATED, NO_AGE]  # also without views


def test_cbis_ddsm_has_no_ages(tmp_path):
    cbis_folder = cbis_example(tmp_path / "cbis")
    with pytest.raises(ValueError, match=r"^CBIS-DDSM: got no usable view .*3 no age .*; give a table of ages"):
        read_cbis_ddsm(cbis_folder)
    ages = put(tmp_path / "ages.csv", "patient_id,age", "P_00005,61")
    assert excluded(read_cbis_ddsm(cbis_folder, ages=ages)) == {NO_FILE: (2, 2), NO_AGE: (1, 1)}
    archive = read_cbis_ddsm(cbis_folder, without_age=True)
    assert [row[1] for row in rows(archive)] == [None] * 3
    write_views(archive, tmp_path / "views.csv")
    assert read_views(tmp_path / "views.csv")["age"].isna().all()


@pytest.mark.parametrize(
    ("kind", "bac"),
    [("VASCULAR", 1), ("vascular", 1), ("SKIN-VASCULAR", 1), ("COARSE", None), ("N/A", None), ("NON_VASCULAR", None)],
)
def test_calcification_types(tmp_path, kind, bac):
    cbis(tmp_path, lesion("P_1", "LEFT", "CC", 1, kind))
    touch(tmp_path, f"Calc-Training_P_1_LEFT_CC/{UID}/{UID}.2/000000.dcm")
    assert rows(read_cbis_ddsm(tmp_path, without_age=True), "bac") == [(bac,)]


@pytest.mark.parametrize(
    "file",
    [
        f"Calc-Training_P_1_LEFT_CC/{UID}/{UID}.2/000000.png",
        "CBIS-DDSM/Calc-Training_P_1_LEFT_CC/1-1.JPG",
        f"jpeg/{UID}.2/1-234.jpg",
        f"CBIS-DDSM/jpeg/{UID}.2/1-234.jpg",
    ],
)
def test_copies_are_found(tmp_path, file):
    cbis(tmp_path, lesion("P_1", "LEFT", "CC", 1, "VASCULAR"))
    touch(tmp_path, file, f"jpeg/{UID}.3/1-1.jpg")
    assert rows(read_cbis_ddsm(tmp_path, without_age=True), "image") == [(file,)]


def test_a_row_with_the_path_of_another_view_is_excluded(tmp_path):
    mixed = [
        lesion("P_1", "LEFT", "CC", 1, "VASCULAR"),
        lesion("P_1", "LEFT", "MLO", 1, "VASCULAR", path="Calc-Training_P_1_RIGHT_MLO/a/b/1.dcm"),
        lesion("P_2", "LEFT", "MLO", 1, "VASCULAR", path="Calc-Training_P_3_LEFT_MLO/a/b/1.dcm"),
    ]
    cbis(tmp_path, *mixed)
    touch(tmp_path, f"Calc-Training_P_1_LEFT_CC/{UID}/{UID}.2/000000.dcm", "Calc-Training_P_1_RIGHT_MLO/a/b/1.dcm")
    archive = read_cbis_ddsm(tmp_path, without_age=True)
    assert rows(archive, "patient_id laterality view") == [("P_1", "L", "CC")]
    assert excluded(archive) == {CONTRADICTION: (2, 2)}


def test_a_mass_table_is_refused(tmp_path):
    """Mass tables have other columns, and `breast_density` with an underscore."""
    header = CBIS.replace("breast density", "breast_density").replace("calc type", "mass shape")
    put(tmp_path / "calc_case_description_train_set.csv", header, lesion("P_1", "LEFT", "CC", 1, "OVAL"))
    with pytest.raises(ValueError, match="train_set.csv row 1, column 'calc type': missing"):
        read_cbis_ddsm(tmp_path)
    cbis(tmp_path, lesion("P_1", "LEFT", "CC", 1, "OVAL").replace(",calcification,", ",mass,"))
    with pytest.raises(ValueError, match="row 2, column 'abnormality type': got mass, must be CALCIFICATION"):
        read_cbis_ddsm(tmp_path)
