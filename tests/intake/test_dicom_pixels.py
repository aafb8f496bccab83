"""Stored values are read as they were written, in every transfer syntax of mammography."""

from hashlib import sha256
from io import BytesIO

import cv2
import numpy as np
import pydicom
import pytest
from jpeg_streams import frame_header, jpeg_dct_flat, jpeg_lossless, jpeg_ls
from mammogram_files import LOSSLESS, NATIVE, VALUES, frame_of, reason, remove_voi
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

from bac_utils.intake import dicom_pixels
from bac_utils.intake.dicom_header import MAMMOGRAPHY_CLASSES
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import describe_mammogram, read_mammogram


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
    np.testing.assert_allclose(found, np.asarray(Image.open(BytesIO(stream))) / 16, atol=1)  # Pillow scales to 16 bits


def pixels_of_pydicom_file(folder, name):
    ds = pydicom.dcmread(get_testdata_file(name, download=False))
    ds.Modality, ds.SOPClassUID, ds.ImageType = "MG", MAMMOGRAPHY_CLASSES[0], ["ORIGINAL", "PRIMARY"]
    remove_voi(ds)
    ds.save_as(folder / "view.dcm")
    return read_mammogram(folder / "view.dcm").pixels


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
    ],
)
def test_files_of_pydicom(tmp_path, name, reference):
    found = pixels_of_pydicom_file(tmp_path, name)
    expected = pydicom.dcmread(get_testdata_file(reference or name, download=False))
    values = expected.pixel_array * float(expected.get("RescaleSlope", 1))
    values = values + float(expected.get("RescaleIntercept", 0))
    if "PixelPaddingValue" in expected:
        values = np.where(expected.pixel_array == expected.PixelPaddingValue, found.min(), values)
    np.testing.assert_array_equal(found, values)


# What pylibjpeg-libjpeg 2.5.0 made of these files, once: it is under the GPL, so the tests do without it.
@pytest.mark.parametrize(
    ("name", "digest"),
    [("JPEGLSNearLossless_08.dcm", "9eb46aa86c342094"), ("JPEGLSNearLossless_16.dcm", "f929318278115ce9")],
)
def test_near_lossless_files_of_pydicom(tmp_path, name, digest):
    found = pixels_of_pydicom_file(tmp_path, name)
    stored = found.astype(np.uint8 if "08" in name else "<u2")
    np.testing.assert_array_equal(stored, found)
    assert sha256(stored.tobytes()).hexdigest()[:16] == digest


JPG_EXTENDED = [
    [1, 1, 1, 1, 1, 1, 1, 1], [1, 2, 13, 25, 67, 18, 49, 1], [25, 1, 29, 27, 70, 42, 22, 26],
    [1, 6, 25, 51, 72, 48, 27, 30], [1, 1, 36, 15, 8, 42, 1, 1], [1, 1, 24, 1, 1, 20, 1, 1],
    [1, 1, 27, 1, 20, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1],
]  # fmt: skip
"""By pylibjpeg-libjpeg 2.5.0 too: every 128th row from 64 and every 32nd column from 16; their inverse DCTs may round
differently."""


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])  # the same picture
def test_files_of_pydicom_with_12_bits(tmp_path, name):
    found = pixels_of_pydicom_file(tmp_path, name)
    assert found.shape == (1024, 256) and abs(found.sum(dtype=float) - 3770427) < 0.02 * found.size
    np.testing.assert_allclose(found[64::128, 16::32], JPG_EXTENDED, atol=1)


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
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)  # DICOM PS3.5, 8.1.1: they have no meaning
    ds = pydicom.dcmread(path)
    ds.add_new(0x60000102, "US", 12)  # where old files store overlays
    ds.save_as(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)


def test_a_header_that_understates_the_bits_of_a_stream(dicom):
    assert reason(dicom(VALUES, JPEGLosslessSV1, 10, pixels=jpeg_lossless(VALUES, 12))) == "conflict"
    values = VALUES // 4
    found = read_mammogram(dicom(values, JPEGLosslessSV1, 10, pixels=jpeg_lossless(values, 12))).pixels
    np.testing.assert_array_equal(found, values)


def test_signed_jpeg_ls_of_fewer_bits_than_stored(dicom):
    values = (VALUES // 4).astype(np.int16) - 512
    found = read_mammogram(dicom(values, JPEGLSLossless, 12, pixels=jpeg_ls(values % 1024, 10)[0])).pixels
    np.testing.assert_array_equal(found, values)


def test_deflated_with_a_wrong_group_length(dicom):
    path = dicom(syntax=DeflatedExplicitVRLittleEndian)
    whole = bytearray(path.read_bytes())
    whole[140:144] = b"\xff\xff\xff\x00"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)
    path.write_bytes(whole[132:])  # also without its preamble
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)


def sized(stream, rows, columns, place):
    """Return a stream whose frame header declares another size, at `place`: rows and columns, 16 bits each."""
    claim = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return stream[:place] + claim + stream[place + 4 :]


@pytest.mark.parametrize(("rows", "columns", "expected"), [(65535, 65535, "too_large"), (40, 32, "conflict")])
def test_streams_that_declare_another_size(dicom, rows, columns, expected):
    for syntax, stream in ((JPEGLosslessSV1, jpeg_lossless(VALUES, 12)), (JPEGLSLossless, jpeg_ls(VALUES, 12)[0])):
        assert reason(dicom(syntax=syntax, pixels=sized(stream, rows, columns, 7))) == expected
    stream = frame_of(dicom(syntax=JPEG2000Lossless))
    claim = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    assert reason(dicom(syntax=JPEG2000Lossless, pixels=stream[:8] + claim + stream[16:])) == expected


def test_streams_of_another_format(dicom):
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


@pytest.mark.parametrize("marker", [b"\xff\x00", b"\xff\x01", b"\xff\xd0"])
def test_frame_header_behind_a_marker_without_a_segment(marker):
    """A decoder goes on right behind such a marker: it would meet the large header first, and make room for it."""
    frame, large = jpeg_lossless(VALUES, 12), frame_header(0xC2, np.broadcast_to(0, (65500, 65500)), 8)
    with pytest.raises(Skip, match="no JPEG frame header"):
        dicom_pixels._jpeg_size(frame[:2] + marker + (len(large) + 2).to_bytes(2, "big") + large + frame[2:])


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


def test_run_lengths_that_exceed_the_image(dicom):
    bomb = np.array([2, 64, 64 + 40000, *[0] * 13], "<u4").tobytes() + b"\x81\0" * 40000
    assert reason(dicom(syntax=RLELossless, pixels=bomb)) == "unreadable"


def test_truncated_files(tmp_path, dicom):
    cut = tmp_path / "cut.dcm"
    for syntax in (*NATIVE, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        whole = dicom(syntax=syntax).read_bytes()
        for length in range(132, len(whole) - 40, max(1, len(whole) // 40)):
            cut.write_bytes(whole[:length])
            found = reason(cut)
            # The header may end within the modality or the SOP class.
            early = ("not_mammography",) if length < 800 else ()
            assert found in ("truncated", "unreadable", *early), (syntax, length)
        cut.write_bytes(whole[: int(0.8 * len(whole))])
        assert reason(cut) == "truncated"
    cut.write_bytes(dicom().read_bytes()[:-2])
    assert reason(cut) == "truncated"


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=lambda s: s.name)
def test_a_truncated_fragment_shows_without_decoding(tmp_path, dicom, syntax):
    whole, cut = dicom(syntax=syntax).read_bytes(), tmp_path / "cut.dcm"
    describe_mammogram(dicom(syntax=syntax))
    for missing in (20, len(whole) // 5):
        cut.write_bytes(whole[:-missing])
        with pytest.raises(Skip, match="^truncated"):
            describe_mammogram(cut)
    cut.write_bytes(whole[:-8])  # without the end of the sequence the pixels are complete
    assert describe_mammogram(cut).view == "CC"


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=lambda s: s.name)
def test_compressed_pixels_without_an_end_marker_are_truncated(dicom, syntax):
    frame = frame_of(dicom(syntax=syntax))
    assert reason(dicom(syntax=syntax, pixels=frame[: len(frame) // 2])) == "truncated"


def test_the_flat_block_encoder_is_lossless():
    stream = jpeg_dct_flat(np.array([[0, 255], [128, 7]]), 8)
    found = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(found[::8, ::8], [[0, 255], [128, 7]])
