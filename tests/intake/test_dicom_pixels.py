"""Stored values are those that were written, in every transfer syntax of mammography."""

from io import BytesIO

import cv2
import numpy as np
import pydicom
import pytest
from jpeg_streams import jpeg_dct_flat, jpeg_lossless, jpeg_ls
from mammogram_files import LOSSLESS, NATIVE, VALUES, frame_of, reason
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bac_utils.intake.reader import MAMMOGRAPHY_CLASSES, read_mammogram


def test_a_plain_view(dicom):
    found = read_mammogram(dicom())
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, VALUES)
    assert (found.laterality, found.view, found.patient_id, found.age) == ("L", "CC", "W-1", 59)
    assert (found.spacing_mm, found.spacing_rule) == ((0.1, 0.1), "imager")


FULL = np.random.default_rng(0).integers(0, 1 << 16, (33, 35)).astype(np.uint16)  # an odd number of pixels
SIGNED = [(np.int8, 8), (np.int16, 10), (np.int16, 12), (np.int16, 16)]
BITS = [(np.uint8, 8), (np.uint16, 9), (np.uint16, 10), (np.uint16, 12), (np.uint16, 14), (np.uint16, 16)]


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda s: s.name)
@pytest.mark.parametrize(("dtype", "bits"), [*BITS, *SIGNED])
def test_lossless_transfer_syntaxes(dicom, syntax, dtype, bits):
    values = (FULL >> (16 - bits)).astype(np.int32)
    if np.dtype(dtype).kind == "i":
        values = values - (1 << (bits - 1))
    values = values.astype(dtype)
    path = dicom(values, syntax, bits)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_predictors_of_jpeg_lossless(dicom, predictor):
    path = dicom(FULL, JPEGLossless, 16, pixels=jpeg_lossless(FULL, 16, predictor))
    np.testing.assert_array_equal(read_mammogram(path).pixels, FULL)


@pytest.mark.parametrize("near", [1, 3])
def test_near_lossless_jpeg_ls(dicom, near):
    stream, decoded = jpeg_ls(VALUES, 12, near)
    assert 0 < np.abs(decoded - VALUES.astype(int)).max() <= near
    np.testing.assert_array_equal(read_mammogram(dicom(syntax=JPEGLSNearLossless, pixels=stream)).pixels, decoded)


@pytest.mark.parametrize(
    ("syntax", "dtype", "bits"), [(JPEGBaseline8Bit, np.uint8, 8), (JPEGExtended12Bit, np.uint16, 12)]
)
def test_flat_blocks_of_dct_syntaxes(dicom, syntax, dtype, bits):
    blocks = (FULL[:3, :5] >> (16 - bits)).astype(dtype)
    values = np.kron(blocks, np.ones((8, 8), dtype))
    np.testing.assert_array_equal(read_mammogram(dicom(values, syntax, bits)).pixels, values)


def test_jpeg_baseline_against_another_decoder(dicom):
    grey = (VALUES // 16).astype(np.uint8)
    stream = cv2.imencode(".jpg", grey)[1].tobytes()
    found = read_mammogram(dicom(grey, JPEGBaseline8Bit, pixels=stream)).pixels
    np.testing.assert_allclose(found, cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE), atol=1)
    # The same stream under a header that allocates 16 bits.
    wide = read_mammogram(dicom(grey.astype(np.uint16), JPEGBaseline8Bit, 8, pixels=stream)).pixels
    np.testing.assert_array_equal(found, wide)


def test_lossy_jpeg_2000_against_another_decoder(dicom):
    y, x = np.mgrid[:64, :96]
    values = (2000 + 1900 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint16)
    path = dicom(values, JPEG2000)
    stream = frame_of(path)
    found = read_mammogram(path).pixels
    assert 0 < np.abs(found - values).max() < 200
    np.testing.assert_allclose(found, np.asarray(Image.open(BytesIO(stream))) / 16, atol=1)  # of 16 bits


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
        ("J2K_pixelrep_mismatch.dcm", None),
        ("JPGExtended.dcm", None),
        ("JPEGLSNearLossless_08.dcm", None),
        ("JPEGLSNearLossless_16.dcm", None),
    ],
)
def test_files_of_pydicom(tmp_path, name, reference):
    ds = pydicom.dcmread(get_testdata_file(name, download=False))
    ds.Modality, ds.SOPClassUID = "MG", MAMMOGRAPHY_CLASSES[0]
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


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_bits_above_the_bits_stored(dicom, dtype):
    values = VALUES.astype(int) - (2048 if dtype == np.int16 else 0)
    np.testing.assert_array_equal(read_mammogram(dicom((values & 0x0FFF).astype(dtype), bits=12)).pixels, values)
    littered = (values & 0x0FFF) | (np.arange(VALUES.size).reshape(VALUES.shape) % 16 << 12)
    littered = littered.astype(np.uint16).view(dtype)
    path = dicom(littered)
    assert reason(path) == "conflict"
    ds = pydicom.dcmread(path)
    ds.add_new(0x60000102, "US", 12)  # old files keep overlays there
    ds.save_as(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)


def test_understated_bits_of_a_stream(dicom):
    assert reason(dicom(VALUES, JPEGLosslessSV1, 10, pixels=jpeg_lossless(VALUES, 12))) == "conflict"
    values = VALUES // 4
    found = read_mammogram(dicom(values, JPEGLosslessSV1, 10, pixels=jpeg_lossless(values, 12))).pixels
    np.testing.assert_array_equal(found, values)


def test_deflated_with_a_group_length_that_lies(dicom):
    path = dicom(syntax=DeflatedExplicitVRLittleEndian)
    whole = bytearray(path.read_bytes())
    whole[140:144] = b"\xff\xff\xff\x00"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)
    path.write_bytes(whole[132:])  # and without its preamble
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)


def sized(stream, rows, columns, place):
    """Return a stream whose frame header at `place` claims another size (rows, columns of 16 bits)."""
    claim = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return stream[:place] + claim + stream[place + 4 :]


@pytest.mark.parametrize(("rows", "columns", "expected"), [(65535, 65535, "too_large"), (40, 32, "conflict")])
def test_streams_that_claim_another_size(dicom, rows, columns, expected):
    for syntax, stream in ((JPEGLosslessSV1, jpeg_lossless(VALUES, 12)), (JPEGLSLossless, jpeg_ls(VALUES, 12)[0])):
        assert reason(dicom(syntax=syntax, pixels=sized(stream, rows, columns, 7))) == expected
    stream = frame_of(dicom(syntax=JPEG2000Lossless))
    claim = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    assert reason(dicom(syntax=JPEG2000Lossless, pixels=stream[:8] + claim + stream[16:])) == expected


def test_streams_of_another_form(dicom):
    grey = (VALUES // 16).astype(np.uint8)
    colour = cv2.imencode(".jpg", np.dstack([grey, grey, grey // 2]))[1].tobytes()
    assert reason(dicom(grey, JPEGBaseline8Bit, pixels=colour)) == "colour"
    assert reason(dicom(grey, JPEGLossless, pixels=jpeg_lossless(VALUES, 12))) == "conflict"  # 12 bits in 8
    assert reason(dicom(syntax=JPEGLossless, pixels=b"\xff\xd8" + bytes(50) + b"\xff\xd9")) == "unreadable"
    assert reason(dicom(syntax=JPEG2000, pixels=jpeg_lossless(VALUES, 12))) == "unreadable"
    assert reason(dicom(syntax=JPEG2000, pixels=b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60) + b"\xff\xd9")) == "unreadable"
    assert reason(dicom(syntax=RLELossless, pixels=bytes(200))) == "conflict"
    frame = jpeg_lossless(VALUES, 12)
    assert reason(dicom(syntax=JPEGLossless, pixels=[frame, frame])) == "multi_frame"
    assert reason(dicom(syntax=pydicom.uid.MPEG2MPML, pixels=frame)) == "unreadable"


def test_native_and_encapsulated_pixels_are_not_confused(dicom):
    for native, written in ((True, JPEGLossless), (False, ExplicitVRLittleEndian)):
        ds = pydicom.dcmread(dicom(np.tile(VALUES, (4, 1)) if not native else VALUES, written))
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if native else JPEGLossless
        path = dicom()
        with open(path, "wb") as file:
            pydicom.filewriter.write_file_meta_info(file, ds.file_meta, enforce_standard=False)
            body = pydicom.filebase.DicomFileLike(file)
            body.is_implicit_VR, body.is_little_endian = False, True
            pydicom.filewriter.write_dataset(body, ds)
        assert reason(path) == "unreadable"


def test_run_lengths_that_unfold_beyond_the_image(dicom):
    bomb = np.array([2, 64, 64 + 40000, *[0] * 13], "<u4").tobytes() + b"\x81\0" * 40000
    assert reason(dicom(syntax=RLELossless, pixels=bomb)) == "unreadable"


def test_truncated_files(tmp_path, dicom):
    cut = tmp_path / "cut.dcm"
    for syntax in (*NATIVE, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        whole = dicom(syntax=syntax).read_bytes()
        for length in range(132, len(whole) - 40, max(1, len(whole) // 40)):
            cut.write_bytes(whole[:length])
            found = reason(cut)
            # A header may end within the modality or the class.
            early = ("not_mammography",) if length < 800 else ()
            assert found in ("truncated", "unreadable", *early), (syntax, length)
        cut.write_bytes(whole[: int(0.8 * len(whole))])
        assert reason(cut) == "truncated"
    cut.write_bytes(dicom().read_bytes()[:-2])
    assert reason(cut) == "truncated"


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=lambda s: s.name)
def test_compressed_pixels_without_end_are_truncated(dicom, syntax):
    frame = frame_of(dicom(syntax=syntax))
    assert reason(dicom(syntax=syntax, pixels=frame[: len(frame) // 2])) == "truncated"


def test_flat_block_encoder_needs_no_rounding():
    stream = jpeg_dct_flat(np.array([[0, 255], [128, 7]]), 8)
    found = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(found[::8, ::8], [[0, 255], [128, 7]])
