"""DICOM results: read back pixel by pixel and value by value, and checked by an independent validator."""

import shutil
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from mammogram_files import item, plain_dataset, write
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
)

from bac_utils import __version__
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import read_mammogram
from bac_utils.scoring import dicom_results as export
from bac_utils.scoring import overlay
from bac_utils.scoring.dicom_results import CARRIED, MEASUREMENTS, ExportError, read_reference, write_dicom

SHAPE = (48, 40)
VALUES = np.arange(48 * 40, dtype=np.uint16).reshape(SHAPE)
MEASURES = {"bac_length_mm": 40.125, "bac_width_mm": 2.5, "bac_area_mm2": 100.5, "score": 0.9375}
ORIGIN = {"model_sha256": "ab" * 32, "threshold": 0.5, "heatmap_threshold": 0.3}


def whole(path, syntax=ExplicitVRLittleEndian, **changes):
    """Write a left MLO view with identifiers as in a hospital, and return its path."""
    elements = {
        "SOPInstanceUID": "2.25.11", "StudyInstanceUID": "2.25.12", "SeriesInstanceUID": "2.25.13",
        "PatientID": "MRN-4711", "PatientName": "Müller^Änne", "PatientBirthDate": "19600229", "PatientSex": "F",
        "StudyDate": "20240305", "StudyTime": "101112.5", "StudyID": "S1", "AccessionNumber": "A-9",
        "ReferringPhysicianName": "Referrer^R", "SpecificCharacterSet": "ISO_IR 100",
        "PatientOrientation": ["A", "FR"], "ViewPosition": "MLO", "InstitutionName": "Secret Hospital",
        "OperatorsName": "Operator^O", "PatientAddress": "Secret Street 1", "SeriesDescription": "Secret words",
    }  # fmt: skip
    here = plain_dataset()
    return write(path, VALUES, syntax, **{k: v for k, v in (elements | changes).items() if v is not None or k in here})


def drawn():
    """Return a mask that every flip or shift changes."""
    mask = np.zeros(SHAPE, bool)
    mask[5:30, 7:9] = mask[30:33, 7:25] = mask[0, 0] = mask[47, 38] = True
    return mask


@pytest.fixture
def results(tmp_path):
    """Return the paths of a Segmentation, a report and a picture."""
    return write_dicom(whole(tmp_path / "view.dcm"), drawn(), MEASURES, tmp_path, "a", "L", ORIGIN)


def test_the_mask_comes_back_pixel_by_pixel(results):
    outline = hd.seg.segread(results[0])
    np.testing.assert_array_equal(outline.pixel_array.astype(bool), drawn())
    (uids,) = outline.get_source_image_uids()
    assert uids == ("2.25.12", "2.25.13", "2.25.11")
    read = outline.get_pixels_by_source_instance([uids[2]], combine_segments=True)
    np.testing.assert_array_equal(read[0].astype(bool), drawn())
    plain = pydicom.dcmread(results[0]).pixel_array  # as read without highdicom
    np.testing.assert_array_equal(plain.astype(bool), drawn())
    assert (outline.SegmentationType, outline.Rows, outline.Columns, outline.NumberOfFrames) == ("BINARY", 48, 40, 1)


def test_the_segment_states_what_it_is_and_how_it_was_made(results):
    (segment,) = hd.seg.segread(results[0]).SegmentSequence
    assert segment.segmented_property_type == codes.cid6010.VascularCalcificationRadiographicFinding
    assert segment.segmented_property_category == codes.cid7150.MorphologicallyAbnormalStructure
    assert segment.anatomic_regions == [codes.cid4013.Breast]
    assert segment.primary_anatomic_structures == [codes.cid7166.Artery]
    (side,) = segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    algorithm = segment.algorithm_identification
    assert (algorithm.name, algorithm.version) == ("bac-utils", __version__)
    assert algorithm.family == codes.cid7162.ArtificialIntelligence
    assert algorithm.parameters == {name: str(value) for name, value in ORIGIN.items()}


@pytest.mark.parametrize(
    ("code", "concept"),
    [
        (export.VASCULAR_CALCIFICATION, codes.cid6010.VascularCalcificationRadiographicFinding),
        (export.ABNORMAL_STRUCTURE, codes.cid7150.MorphologicallyAbnormalStructure),
        (export.BREAST, codes.cid4013.Breast),
        (export.ARTERY, codes.cid7166.Artery),
        (export.SIDES["L"], codes.cid244.Left),
        (export.SIDES["R"], codes.cid244.Right),
        (export.MAMMOGRAPHY, codes.cid6058.Mammography),
        (export.FAMILY, codes.cid7162.ArtificialIntelligence),
        (export.DEVICE, codes.cid270.Device),
        (export.MEAN, codes.cid7464.Mean),
        (export.DERIVED_FROM, codes.cid7202.SourceImageForImageProcessingOperation),
        (MEASUREMENTS["bac_length_mm"][0], codes.cid7470.Length),
        (MEASUREMENTS["bac_width_mm"][0], codes.cid7470.Width),
        (MEASUREMENTS["bac_area_mm2"][0], codes.cid7471.Area),
        (MEASUREMENTS["score"][0], codes.cid6048.CertaintyOfFinding),
        (export.MILLIMETRE, codes.UCUM.Millimeter),
        (export.SQUARE_MILLIMETRE, codes.UCUM.SquareMillimeter),
        (export.PERCENT, codes.UCUM.Percent),
    ],
)
def test_codes_are_those_of_the_standard(code, concept):
    """pydicom's tables are made from DICOM PS3.16."""
    assert (code.value, code.scheme_designator, code.meaning) == (concept.value, *concept[1:3])


def test_the_documentation_names_every_code_and_element():
    text = " ".join((Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8").split())
    for word in (*MEASUREMENTS, *(code.value for code, *_ in MEASUREMENTS.values())):
        assert word in text
    named = ("VASCULAR_CALCIFICATION", "ABNORMAL_STRUCTURE", "BREAST", "ARTERY", "FAMILY", "DERIVED_FROM")
    for code in (getattr(export, name) for name in named):
        assert f"{code.value} {code.scheme_designator} {code.meaning}" in text
    for keyword in set(CARRIED) - set(export.REQUIRED):
        assert f"`{keyword}`" in text


def test_the_report_contains_the_values_and_refers_to_image_and_segment(results):
    outline, document = pydicom.dcmread(results[0]), hd.sr.srread(results[1])
    (group,) = document.content.get_planar_roi_measurement_groups()
    found = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
    assert found == {
        "Length": (40.125, "mm"), "Width": (2.5, "mm"), "Area": (100.5, "mm2"), "Certainty of Finding": (93.75, "%")
    }  # fmt: skip
    (width,) = group.get_measurements(name=codes.cid7470.Width)
    assert width.derivation == codes.cid7464.Mean
    assert group.finding_type == codes.cid6010.VascularCalcificationRadiographicFinding
    (site,) = group.finding_sites
    assert (site.value, site.laterality) == (codes.cid4013.Breast, codes.cid244.Left)
    assert group.tracking_uid == outline.SegmentSequence[0].TrackingUID
    region, image = group.referenced_segmentation_frame
    segment = region.ReferencedSOPSequence[0]
    assert (segment.ReferencedSOPInstanceUID, segment.ReferencedSegmentNumber) == (outline.SOPInstanceUID, 1)
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.11"
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    series = {s.SeriesInstanceUID: [i.ReferencedSOPInstanceUID for i in s.ReferencedSOPSequence] for s in study[
        "ReferencedSeriesSequence"]}  # fmt: skip
    assert series == {"2.25.13": ["2.25.11"], outline.SeriesInstanceUID: [outline.SOPInstanceUID]}
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_the_picture_shows_the_view_as_it_is_displayed_with_outline_and_text(tmp_path):
    """A window from 100 to 1800 on stored values from 0 to 1919: the 8-bit value is (value - 100) / 1700 * 255."""
    window = {"WindowCenter": 950, "WindowWidth": 1700, "VOILUTFunction": "LINEAR_EXACT"}
    for name, changes in (("a", {}), ("b", {"PhotometricInterpretation": "MONOCHROME1"})):
        *_, path = write_dicom(whole(tmp_path / f"{name}.dcm", **window, **changes), drawn(), MEASURES, tmp_path, name)
        picture = pydicom.dcmread(path)
        assert picture.pixel_array.shape == (*SHAPE, 3)
        expected = np.clip((VALUES.astype(float) - 100) / 1700, 0, 1) * 255
        expected = 255 - expected if changes else expected
        drawing = (np.abs(picture.pixel_array - expected[..., None]) > 0.51).any(
            axis=2
        )  # half a grey level is rounding
        ring = np.zeros(SHAPE, bool)  # the mask's neighbours above, below, left and right
        ring[1:] |= drawn()[:-1]
        ring[:-1] |= drawn()[1:]
        ring[:, 1:] |= drawn()[:, :-1]
        ring[:, :-1] |= drawn()[:, 1:]
        ring &= ~drawn()
        assert (picture.pixel_array[ring] == overlay.COLOUR).all()
        text = np.zeros(SHAPE, bool)  # in a corner, 0.3 of the columns wide, with margins
        text[:8, -16:] = text[:8, :16] = text[-8:, -16:] = text[-8:, :16] = True
        assert not (drawing & ~ring & ~text).any() and (drawing & ~ring).any()


def test_the_picture_states_what_it_is(results):
    picture = pydicom.dcmread(results[2])
    assert picture.SOPClassUID == SecondaryCaptureImageStorage
    assert (picture.PhotometricInterpretation, picture.BitsStored, picture.SamplesPerPixel) == ("RGB", 8, 3)
    assert (picture.BurnedInAnnotation, picture.Modality) == ("YES", "OT")
    assert "not for diagnosis" in picture.DerivationDescription and "for research" in picture.SeriesDescription
    (source,) = picture.SourceImageSequence
    assert (source.ReferencedSOPInstanceUID, picture.StudyInstanceUID) == ("2.25.11", "2.25.12")
    assert "PixelSpacing" not in picture and "ImagerPixelSpacing" not in picture


def test_a_picture_is_not_scored(results):
    for changes in ({}, {"BodyPartExamined": "BREAST"}, {"Modality": "MG"}):
        picture = pydicom.dcmread(results[2])
        for keyword, value in changes.items():
            setattr(picture, keyword, value)
        picture.save_as(results[2])
        with pytest.raises(Skip, match="secondary_capture" if changes else "not_mammography"):
            read_mammogram(results[2])


def test_a_source_whose_pixels_cannot_be_displayed(tmp_path):
    source = whole(tmp_path / "view.dcm")
    source.write_bytes(source.read_bytes()[:-2000])
    with pytest.raises(ExportError, match="the source's pixels cannot be displayed: truncated"):
        write_dicom(source, drawn(), MEASURES, tmp_path, "a")
    assert [p.name for p in tmp_path.iterdir()] == ["view.dcm"]


def test_results_belong_to_the_patients_study_and_copy_nothing_else(results, tmp_path):
    source = pydicom.dcmread(tmp_path / "view.dcm")
    for path in results:
        found = pydicom.dcmread(path)
        for keyword in set(CARRIED) - {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"}:
            assert str(found[keyword].value) == str(source[keyword].value), keyword
        assert str(found.PatientName) == "Müller^Änne"
        assert found.SeriesInstanceUID != source.SeriesInstanceUID and found.SOPInstanceUID != source.SOPInstanceUID
        for word in (b"Secret", b"Operator"):
            assert word not in path.read_bytes()
    outline, document, picture = map(pydicom.dcmread, results)
    assert list(outline.PatientOrientation) == list(picture.PatientOrientation) == ["A", "FR"]
    assert len({found.SeriesInstanceUID for found in (outline, document, picture)}) == 3


def test_no_frame_of_reference_is_invented_or_copied(tmp_path):
    """Some vendors state one without a plane; a Segmentation with a frame of reference would need the plane."""
    source = whole(tmp_path / "view.dcm", FrameOfReferenceUID="2.25.99", PositionReferenceIndicator="")
    for path in write_dicom(source, drawn(), MEASURES, tmp_path, "a"):
        found = pydicom.dcmread(path)
        assert "FrameOfReferenceUID" not in found and b"2.25.99" not in path.read_bytes()


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless],
    ids=lambda syntax: syntax.name,
)
def test_any_transfer_syntax_of_the_source(tmp_path, syntax):
    paths = write_dicom(whole(tmp_path / "view.dcm", syntax), drawn(), MEASURES, tmp_path, "a")
    np.testing.assert_array_equal(pydicom.dcmread(paths[0]).pixel_array.astype(bool), drawn())
    assert [str(pydicom.dcmread(path).PatientName) for path in paths] == ["Müller^Änne"] * 3


def test_an_unknown_value_is_not_reported(tmp_path):
    measures = {"score": 0.123456789, "bac_length_mm": None, "bac_area_mm2": None}
    _, path, _ = write_dicom(whole(tmp_path / "view.dcm"), drawn(), measures, tmp_path, "a")
    (group,) = hd.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert [(m.name.meaning, m.value) for m in group.get_measurements()] == [("Certainty of Finding", 12.3457)]
    assert group.finding_sites[0].laterality is None


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"PatientSex": "FEMALE"}, "PatientSex"),
        ({"PatientBirthDate": "19600230"}, "PatientBirthDate"),
        ({"StudyDate": None}, "StudyDate"),
        ({"StudyTime": "25:99"}, "StudyTime"),
        ({"AccessionNumber": "A" * 40}, "AccessionNumber"),
        ({"PatientID": None}, "PatientID"),
        ({"PatientName": None}, "PatientName"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*value:UserWarning")
def test_invalid_values_that_may_be_empty_become_empty(tmp_path, changes, keyword):
    for path in write_dicom(whole(tmp_path / "view.dcm", **changes), drawn(), MEASURES, tmp_path, "a"):
        assert not pydicom.dcmread(path)[keyword].value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"StudyInstanceUID": None}, "the source's StudyInstanceUID is missing"),
        ({"SeriesInstanceUID": "2.25.013"}, "the source's SeriesInstanceUID is not a valid DICOM value"),
        ({"SOPInstanceUID": ""}, "the source's SOPInstanceUID is missing"),
        ({"PatientID": "M" * 65}, "the source's PatientID is not a valid DICOM value"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
            "the source's SOPClassUID is not that of a two-dimensional image",
        ),
        ({"SOPClassUID": "1.2.3.4"}, "the source's SOPClassUID is not that of a two-dimensional image"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*value:UserWarning")
def test_a_source_that_cannot_be_referred_to(tmp_path, changes, words):
    source = whole(tmp_path / "view.dcm", **changes)
    with pytest.raises(ExportError, match=words):
        write_dicom(source, drawn(), MEASURES, tmp_path, "a")
    assert [p.name for p in tmp_path.iterdir()] == ["view.dcm"]


def with_name(path, raw, *terms):
    """Write a view with the bytes of a name, and the terms of its character set or none."""
    source = whole(path, PatientName="A" * len(raw), SpecificCharacterSet=None)
    header = pydicom.dcmread(source)
    if terms:
        header.SpecificCharacterSet = list(terms)
    header.save_as(source)
    source.write_bytes(source.read_bytes().replace(b"A" * len(raw), raw))
    return source


WITHOUT_CHARSET = {
    "GBK": "王^小明".encode("gbk"),
    "Shift-JIS": "山田^太郎".encode("shift-jis"),
    "Windows-1251": "Иванова^Анна".encode("cp1251"),
    "Latin-1": "Müller^Änne".encode("latin-1"),
    "UTF-8": "Müller^Änne".encode(),
    "EUC-KR": "김희중".encode("euc-kr"),
}


@pytest.mark.parametrize("name", WITHOUT_CHARSET)
def test_a_name_in_an_unstated_character_set_is_not_carried(tmp_path, name):
    raw = WITHOUT_CHARSET[name]
    for terms in ((), ("ISO_IR 6",)):
        with pytest.raises(ExportError, match="the character set of the source's PatientName is not stated"):
            read_reference(with_name(tmp_path / "view.dcm", raw + b" " * (len(raw) % 2), *terms))


@pytest.mark.parametrize(
    ("raw", "terms"),
    [
        ("Müller^Änne ".encode("latin-1"), ("ISO_IR 192",)),  # not UTF-8
        ("Müller^Änne".encode() + b" ", ("ISO_IR 100",)),  # UTF-8, not Latin-1
        ("王^小明".encode("gbk") + b" ", ("ISO_IR 100",)),  # Í õ ^ Ð ¡ Ã ÷
        ("山田^太郎".encode("shift-jis") + b" ", ("ISO_IR 100",)),  # control characters
        ("Müller^Änne ".encode("latin-1"), ("ISO_IR 999",)),  # an unknown set
        ("Müller^Änne ".encode("latin-1"), ("ISO_IR 166",)),  # bytes without a letter in Thai
    ],
    ids=range(6),
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_name_in_another_character_set_than_stated_is_not_carried(tmp_path, raw, terms):
    with pytest.raises(ExportError, match="the character set of the source's PatientName"):
        read_reference(with_name(tmp_path / "view.dcm", raw + b" " * (len(raw) % 2), *terms))


@pytest.mark.parametrize(
    ("name", "encoding", "terms"),
    [
        ("Müller^Änne", "latin-1", ("ISO_IR 100",)),
        ("Иванова^Анна", "iso8859-5", ("ISO_IR 144",)),
        ("Nováková^Jiřina", "iso8859-2", ("ISO_IR 101",)),
        ("王^小明", "gb18030", ("GB18030",)),
        ("王^小明", "utf-8", ("ISO_IR 192",)),
        ("Müller^Änne", "latin-1", ("", "ISO 2022 IR 100")),
    ],
    ids=range(6),
)
def test_a_name_in_its_character_set_stays_the_same_name(tmp_path, name, encoding, terms):
    raw = name.encode(encoding)
    if terms[0] == "":
        raw = b"\x1b-A" + raw.replace(b"^", b"^\x1b-A")
    source = with_name(tmp_path / "view.dcm", raw + b" " * (len(raw) % 2), *terms)
    for path in write_dicom(source, drawn(), MEASURES, tmp_path, "a"):
        assert str(pydicom.dcmread(path).PatientName) == name


def test_other_text_in_an_unstated_character_set_becomes_empty(tmp_path):
    source = whole(tmp_path / "view.dcm", AccessionNumber="AAAA", PatientName="A^B", SpecificCharacterSet=None)
    source.write_bytes(source.read_bytes().replace(b"AAAA", "A-ü ".encode("latin-1")))
    assert read_reference(source).AccessionNumber == ""


def test_png_files_cannot_be_a_source(tmp_path):
    (tmp_path / "view.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(ExportError, match="the source is not a DICOM file"):
        read_reference(tmp_path / "view.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mask": np.zeros((48, 40), bool)}, "mask: got no pixel, must have at least one"),
        ({"mask": np.ones((48, 40))}, r"mask: got float64 of shape \(48, 40\), must be bool"),
        ({"mask": np.ones((40, 48), bool)}, r"must be bool of shape \(48, 40\)"),
        ({"laterality": "LEFT"}, "laterality: got 'LEFT', must be L, R or empty"),
        ({"measures": {"length": 3.0}}, "measures: got 'length', must be one of bac_length_mm"),
        ({"measures": {"score": None}}, "measures: got no value, must have at least one of bac_length_mm"),
        (
            {"measures": {"bac_area_mm2": -1.0}},
            "measures: got -1.0 for bac_area_mm2, must be a finite number, 0 or more",
        ),
        ({"measures": {"score": np.nan}}, "measures: got nan for score, must be a finite number"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, arguments, words):
    arguments = {"mask": drawn(), "measures": MEASURES, "folder": tmp_path, "name": "a"} | arguments
    with pytest.raises(ValueError, match=words):
        write_dicom(whole(tmp_path / "view.dcm"), **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["view.dcm"]


def test_all_files_are_written_or_none(tmp_path, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError("no space left")

    source = whole(tmp_path / "view.dcm")
    monkeypatch.setattr(hd.sc.SCImage, "save_as", full)
    with pytest.raises(OSError, match="no space left"):
        write_dicom(source, drawn(), MEASURES, tmp_path, "a")
    assert [p.name for p in tmp_path.iterdir()] == ["view.dcm"]


def test_no_message_names_the_patient(tmp_path, capfd, recwarn):
    """highdicom warns of names such as this one and quotes them."""
    write_dicom(whole(tmp_path / "view.dcm", PatientName="Mueller Anne"), drawn(), MEASURES, tmp_path, "a")
    told = capfd.readouterr()
    assert "Mueller" not in told.out + told.err + "".join(str(w.message) for w in recwarn.list)


def test_highdicom_is_not_loaded_until_something_is_written():
    code = "import sys, bac_utils.scoring.batch, bac_utils.__main__; sys.exit('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"PatientOrientation": None, "StudyDate": None, "PatientName": None, "SpecificCharacterSet": None},
        {"FrameOfReferenceUID": "2.25.99", "PositionReferenceIndicator": ""},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT", "BodyPartExamined": "BREAST"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "PresentationIntentType": "FOR PROCESSING"},
        {"PatientOrientation": ["x", "y"], "ViewCodeSequence": [item(CodeValue="399368009")]},
    ],
    ids=["whole", "bare", "frame of reference", "secondary capture", "for processing", "odd orientation"],
)
@pytest.mark.filterwarnings("ignore:.*value:UserWarning")
def test_dciodvfy_finds_no_error(tmp_path, changes):
    source = whole(tmp_path / "view.dcm", **changes)
    for path, kind in zip(
        write_dicom(source, drawn(), MEASURES, tmp_path, "a", "L", ORIGIN),
        ("Segmentation", "ComprehensiveSR", "SCImage"),
        strict=True,
    ):
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        told = (done.stdout + done.stderr).splitlines()
        assert kind in told
        assert [line for line in told if line.startswith("Error")] == []
