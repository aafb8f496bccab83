"""A folder of DICOM files to a views table; expected rows are written by hand."""

import pytest
from archive_tables import dicom_example, excluded, put, rows
from mammogram_files import write as write_dicom
from pydicom.uid import JPEGLosslessSV1

from bac_utils.archives.conversion import NO_AGE, REPEATED, write_views
from bac_utils.archives.dicom_folder import read_dicom_folder
from bac_utils.intake.pseudonyms import pseudonym


@pytest.fixture
def dicom_folder(tmp_path):
    return dicom_example(tmp_path / "archive")


def test_dicom_folder(dicom_folder, tmp_path):
    ages = put(tmp_path / "ages.csv", "patient_id,age", "Roe 7,66")
    archive = read_dicom_folder(dicom_folder, ages=ages)
    assert rows(archive) == [
        ("W0001", 66, "R", "CC", "a.dcm", None),
        ("W0002", 59, "L", "CC", "b/1.dcm", None),
        ("W0002", 59, "L", "MLO", "b/2", None),
    ]
    assert excluded(archive) == {
        "implant": (0, 1),
        "unknown_side": (0, 1),
        "unknown_view": (0, 1),
        "not_mammography": (0, 1),
        "not_an_image": (0, 1),
        "duplicate": (1, 1),
        "no PatientID": (0, 1),
        REPEATED: (1, 1),
    }
    without = read_dicom_folder(dicom_folder)
    assert rows(without, "patient_id image") == [("W0001", "b/1.dcm"), ("W0001", "b/2")]
    assert excluded(without)[NO_AGE] == (1, 1)


def test_no_pixels_are_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pixels were read")

    for target in (
        "bac_utils.intake.dicom_header.stored_values",
        "bac_utils.intake.dicom_pixels.pixel_array",
        "PIL.Image.open",
    ):
        monkeypatch.setattr(target, refuse)
    write_dicom(tmp_path / "a.dcm", PatientID="1")
    broken = b"\xff\xd8" + bytes(200) + b"\xff\xd9"  # not a JPEG stream, with a valid header
    write_dicom(tmp_path / "b.dcm", syntax=JPEGLosslessSV1, pixels=broken, PatientID="2", SOPInstanceUID="2.25.2")
    write_dicom(tmp_path / "c.dcm", PatientID="3", SOPInstanceUID="2.25.3")
    (tmp_path / "c.dcm").write_bytes((tmp_path / "c.dcm").read_bytes()[:-2000])  # of 2560 bytes of pixels
    write_dicom(tmp_path / "d.dcm", syntax=JPEGLosslessSV1, PatientID="4", SOPInstanceUID="2.25.4")
    whole = (tmp_path / "d.dcm").read_bytes()
    (tmp_path / "d.dcm").write_bytes(whole.replace(JPEGLosslessSV1.encode(), b"1.2.840.10008.1.2.4.99"))  # unknown
    write_dicom(tmp_path / "e.dcm", PatientID="5", SOPInstanceUID="")
    write_dicom(tmp_path / "f.dcm", PatientID="5", SOPInstanceUID="", ViewPosition="MLO")
    (tmp_path / "L_CC.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    archive = read_dicom_folder(tmp_path)
    assert rows(archive, "patient_id image") == [
        ("W0001", "a.dcm"),
        ("W0002", "b.dcm"),
        ("W0003", "e.dcm"),
        ("W0003", "f.dcm"),
    ]
    assert excluded(archive) == {"truncated": (0, 1), "unreadable": (0, 1), "no PatientID": (0, 1)}


def test_the_table_identifies_nobody(dicom_folder, tmp_path):
    key = bytes(range(16))
    for given in ({}, {"key": key}):
        output = tmp_path / f"{len(given)}.csv"
        write_views(read_dicom_folder(dicom_folder, without_age=True, **given), output)
        text = output.read_text() + output.with_suffix(".excluded.csv").read_text()
        assert not any(word in text for word in ("Doe", "Jane", "Roe", "Secret", "2.25."))
    ids = [row[0] for row in rows(read_dicom_folder(dicom_folder, key=key, without_age=True))]
    assert ids == [pseudonym("Roe 7", key)] + [pseudonym("Doe^Jane", key)] * 2  # those that `score` writes
    kept = read_dicom_folder(dicom_folder, keep_ids=True, without_age=True)
    assert rows(kept, "patient_id") == [("Roe 7",), ("Doe^Jane",), ("Doe^Jane",)]
    with pytest.raises(ValueError, match="key: got 3 bytes, must be 16 or more"):
        read_dicom_folder(dicom_folder, key=b"abc")
    with pytest.raises(ValueError, match="keep_ids: got True together with a key"):
        read_dicom_folder(dicom_folder, key=key, keep_ids=True)


def test_labels_by_file(dicom_folder):
    labels = put(
        dicom_folder / "labels.csv",
        "image,bac,bac_length_mm,pixel_spacing_mm,reader",
        "b\\1.dcm,1,41.5,0.085,x",
        "./b/2,0,,,y",
        "a.dcm,,,,",
        "z.dcm,1,,,",
    )
    archive = read_dicom_folder(dicom_folder, labels=labels, without_age=True)
    assert rows(archive, "image bac bac_length_mm pixel_spacing_mm") == [
        ("a.dcm", None, None, None),
        ("b/1.dcm", 1, 41.5, 0.085),
        ("b/2", 0, 0, None),
    ]
    assert archive.notes == ("rows of labels.csv that match no view: 1",)
    assert excluded(archive)["not_an_image"] == (0, 1)  # the table of labels is not counted


def test_labels_by_view(dicom_folder, tmp_path):
    labels = put(tmp_path / "l.csv", "patient_id,laterality,view,bac", "Doe^Jane,L,MLO,1", "Roe 7,R,CC,0")
    archive = read_dicom_folder(dicom_folder, labels=labels, without_age=True)
    assert rows(archive, "patient_id view bac") == [("W0001", "CC", 0), ("W0002", "CC", None), ("W0002", "MLO", 1)]
    assert archive.notes == ()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["image", "a.dcm"], "l.csv row 1, column 'bac': missing, must occur once"),
        (
            ["patient_id,view,bac", "1,CC,1"],
            "l.csv row 1, column 'laterality': missing, must have 'image', or patient_id",
        ),
        (["image,bac", "a.dcm,2"], "l.csv row 2, column 'bac': got 2, must be 0, 1 or empty"),
        (["image,bac", "a.dcm,1", "./a.dcm,1"], "l.csv row 3, column 'image': got ./a.dcm, must occur once"),
        (["image,bac", "../a.dcm,1"], "l.csv row 2, column 'image': got ../a.dcm, must be a path inside"),
        (["image,bac,bac_length_mm", "a.dcm,1,-3"], "column 'bac_length_mm': got -3, must be a number of mm"),
        (["image,bac,pixel_spacing_mm", "a.dcm,1,70"], "column 'pixel_spacing_mm': got 70, must be a number of mm"),
        (["patient_id,laterality,view,bac", "1,L,ML,1"], "column 'view': got ML, must be CC or MLO"),
        (["patient_id,laterality,view,bac", ",L,CC,1"], "column 'patient_id': got nothing, must not be empty"),
        (["patient_id,laterality,view,bac", "1,L,CC,1", "1,L,CC,0"], "row 3, column 'view': got CC, must occur once"),
    ],
)
def test_broken_labels(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_dicom_folder(tmp_path, labels=put(tmp_path / "l.csv", *lines))


def test_a_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"DICOM: got no usable view \(no images\), must have at least one$"):
        read_dicom_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="source: got '.*nowhere', must be an existing folder"):
        read_dicom_folder(tmp_path / "nowhere")
