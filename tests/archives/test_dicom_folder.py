"""A folder of DICOM files to a views table; expected rows are written by hand."""

import pytest
from archive_tables import dicom_example, excluded, put, rows
from mammogram_files import item
from mammogram_files import write as write_dicom
from pydicom.uid import JPEGLosslessSV1

from bac_utils.archives.conversion import NO_AGE, REPEATED, write_views
from bac_utils.archives.dicom_folder import DERIVED_TWIN, RAW_TWIN, read_dicom_folder
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
        text = "".join(output.with_suffix(f"{part}.csv").read_text() for part in ("", ".excluded", ".inclusion"))
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
    assert archive.notes == (
        "rows of labels.csv with an unknown label: 1 (row 4)",
        "rows of labels.csv that match no view: 1 (row 5)",
        "images without a label: 1 (c.dcm)",
    )
    assert archive.views["label_level"].tolist() == ["", "view", "view"]
    assert excluded(archive)["not_an_image"] == (0, 1)  # the table of labels is not counted


def test_labels_by_view(dicom_folder, tmp_path):
    labels = put(tmp_path / "l.csv", "patient_id,laterality,view,bac", "Doe^Jane,L,MLO,1", "Roe 7,R,CC,0")
    archive = read_dicom_folder(dicom_folder, labels=labels, without_age=True)
    assert rows(archive, "patient_id view bac") == [("W0001", "CC", 0), ("W0002", "CC", None), ("W0002", "MLO", 1)]
    assert archive.notes == ("images without a label: 2 (b/1.dcm, c.dcm)",)


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


def series(folder, *files):
    """Write files of one name, woman, study and other elements each."""
    folder.mkdir(exist_ok=True)
    for number, (name, woman, study, changes) in enumerate(files, 1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        elements = {"PatientID": woman, "StudyInstanceUID": study, "SOPInstanceUID": f"2.25.7{number}"} | changes
        write_dicom(folder / name, **{key: value for key, value in elements.items() if value != ""})
    return folder


RAW = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "PresentationIntentType": "FOR PROCESSING"}


@pytest.mark.parametrize("names", [("a.dcm", "z.dcm"), ("z.dcm", "a.dcm"), ("raw/1.dcm", "processed/1.dcm")])
def test_for_presentation_wins_over_its_raw_twin(tmp_path, names):
    folder = series(
        tmp_path / "a",
        (names[0], "W", "2.25.1", RAW),
        (names[1], "W", "2.25.1", {}),
        ("m.dcm", "W", "2.25.1", RAW | {"ViewPosition": "MLO"}),  # without a twin
    )
    archive = read_dicom_folder(folder)
    assert sorted(rows(archive, "view image")) == [("CC", names[1]), ("MLO", "m.dcm")]
    assert excluded(archive) == {RAW_TWIN: (1, 1)}


@pytest.mark.parametrize(
    "derived",
    [
        {"ImageType": ["DERIVED", "PRIMARY"]},
        {"ImageType": ["ORIGINAL", "PRIMARY"], "DerivationDescription": "contrast enhanced"},
        {"ImageType": ["ORIGINAL", "PRIMARY"], "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"ImageType": ["ORIGINAL", "PRIMARY"], "LossyImageCompression": "01"},
        {"ImageType": ["ORIGINAL", "PRIMARY"], "SourceImageSequence": [item(ReferencedSOPInstanceUID="2.25.72")]},
    ],
    ids=range(5),
)
def test_an_original_wins_over_images_derived_from_it(tmp_path, derived):
    original = {"ImageType": ["ORIGINAL", "PRIMARY"]}
    folder = series(tmp_path / "a", ("a.dcm", "W", "2.25.1", derived), ("z.dcm", "W", "2.25.1", original))
    archive = read_dicom_folder(folder)
    assert rows(archive, "image") == [("z.dcm",)]
    assert excluded(archive) == {DERIVED_TWIN: (1, 1)}


def test_a_spacing_that_contradicts_its_header_is_said(tmp_path):
    for name, view in (("a.dcm", "CC"), ("b.dcm", "MLO")):
        stale = {"FieldOfViewDimensions": ["240", "180"]} if name == "b.dcm" else {}
        write_dicom(tmp_path / name, ViewPosition=view, SOPInstanceUID=f"2.25.{ord(name[0])}", **stale)
    assert read_dicom_folder(tmp_path).notes == (
        "images without values in mm unless a table gives pixel_spacing_mm, spacing contradicts field of view: 1 "
        "(first: b.dcm)",
    )


def test_an_age_without_a_unit_is_said_once(tmp_path):
    ages = ("42", "059", "059Y")
    folder = series(tmp_path / "a", *((f"{n}.dcm", f"W{n}", "", {"PatientAge": age}) for n, age in enumerate(ages)))
    archive = read_dicom_folder(folder)
    assert rows(archive, "age") == [(42,), (59,), (59,)]
    assert archive.notes == ("images whose PatientAge has no unit and was read as years: 2",)


@pytest.mark.parametrize("shared", ["removed", "ANON", "0", "anonymous", "INBREAST-STUDY"])
def test_women_who_share_a_patient_id_are_not_merged(tmp_path, shared):
    """The last word is one that no tool writes for everybody: the ages contradict each other."""
    files = [
        (f"{woman}{view}.dcm", shared, f"2.25.{woman}", {"PatientAge": age, "ViewPosition": view})
        for woman, age in ((1, "046Y"), (2, "056Y"), (3, "066Y"))
        for view in ("CC", "MLO")
    ]
    archive = read_dicom_folder(series(tmp_path / "a", *files), keep_ids=True)
    found = rows(archive, "patient_id age view")
    assert [row[1:] for row in found] == [(age, view) for age in (46, 56, 66) for view in ("CC", "MLO")]
    assert len({row[0] for row in found}) == 3 and all(row[0].startswith(shared) for row in found)
    assert "stud" in archive.notes[0] and "PatientID" in archive.notes[0] and "3" in archive.notes[0]
    numbers = rows(read_dicom_folder(tmp_path / "a"), "patient_id")
    assert numbers == [(f"W000{woman}",) for woman in (1, 1, 2, 2, 3, 3)]


def test_different_dates_of_birth_are_different_women(tmp_path):
    births = ("19600101", "19700101")
    files = [(f"{n}.dcm", "A7", f"2.25.{n}", {"PatientBirthDate": b}) for n, b in enumerate(births)]
    archive = read_dicom_folder(series(tmp_path / "a", *files, ("c.dcm", "B2", "2.25.9", {})))
    assert len(rows(archive)) == 3
    assert "different dates of birth: taken as 2 women" in archive.notes[0]
    assert "A7" not in " ".join(archive.notes)


def test_two_exams_of_one_woman_stay_together(tmp_path):
    exams = [("1.dcm", "20200301", "060Y", "CC"), ("2.dcm", "20220301", "062Y", "MLO")]
    files = [
        (name, "A7", f"2.25.{n}", {"StudyDate": date, "PatientAge": age, "ViewPosition": view})
        for n, (name, date, age, view) in enumerate(exams)
    ]
    archive = read_dicom_folder(series(tmp_path / "a", *files, ("3.dcm", "B2", "2.25.9", {})), without_age=True)
    assert len({row[0] for row in rows(archive, "patient_id")}) == 2 and archive.notes == ()


def test_without_a_study_women_are_told_apart_by_folder_or_not_at_all(tmp_path):
    files = [(f"{woman}/{view}.dcm", "removed", "", {"ViewPosition": view, "PatientName": "removed"})
             for woman in "ab" for view in ("CC", "MLO")]  # fmt: skip
    archive = read_dicom_folder(series(tmp_path / "a", *files))
    assert rows(archive, "patient_id") == [("W0001",), ("W0001",), ("W0002",), ("W0002",)]
    flat = [(name.replace("/", "_"), *rest) for name, *rest in files]
    with pytest.raises(ValueError, match="4 no PatientID"):
        read_dicom_folder(series(tmp_path / "b", *flat))
    same = [(name, "removed", "2.25.5", changes) for name, _, _, changes in files]  # the UID is shared, too
    assert len({row[0] for row in rows(read_dicom_folder(series(tmp_path / "c", *same)), "patient_id")}) == 2
