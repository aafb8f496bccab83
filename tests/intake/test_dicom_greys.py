"""Pixels that are read although their form is unusual: grey colour images, unused bits, streams without an end."""

import cv2
import numpy as np
import pydicom
import pytest
from jpeg_streams import jpeg_dct_flat, jpeg_lossless, jpeg_ls
from mammogram_files import VALUES, frame_of, reason
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bac_utils.intake.reader import read_mammogram

GREY = (VALUES // 16).astype(np.uint8)


def saved(path, samples, photometric="RGB", syntax=None, stream=None, planar=0, **changes):
    """Write samples, (rows, columns, 3) or (rows, columns), into a mammogram of another form."""
    ds = pydicom.dcmread(path)
    wide = samples.dtype.itemsize == 2
    ds.BitsAllocated = ds.BitsStored = 16 if wide else 8
    ds.HighBit = ds.BitsStored - 1
    ds.Rows, ds.Columns = samples.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = samples.shape[2] if samples.ndim == 3 else 1, photometric
    if samples.ndim == 3:
        ds.PlanarConfiguration = planar
    ds.PixelData = (np.moveaxis(samples, 2, 0) if planar else samples).tobytes()
    ds["PixelData"].VR = "OW"
    if stream is not None:
        ds.file_meta.TransferSyntaxUID, ds.PixelData = syntax, encapsulate([stream])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    elif syntax is not None:
        ds.compress(syntax, generate_instance_uid=False)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
        ds[keyword].VR = "US" if keyword.endswith("Descriptor") else "OW"
    ds.save_as(path)
    return path


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("values", [GREY, VALUES * 16], ids=["8 bits", "16 bits"])
def test_rgb_with_equal_channels(dicom, values, planar):
    path = saved(dicom(), np.dstack([values] * 3), planar=planar)
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)
    coloured = np.dstack([values] * 3)
    coloured[3, 4, 1] ^= 1
    assert reason(saved(dicom(), coloured, planar=planar)) == "colour"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_rgb_with_equal_channels(dicom, syntax):
    path = saved(dicom(), np.dstack([GREY] * 3), "RGB" if syntax == RLELossless else "YBR_RCT", syntax=syntax)
    np.testing.assert_array_equal(read_mammogram(path).pixels, GREY)
    path = saved(dicom(), np.dstack([GREY, GREY, GREY // 2]), "RGB", syntax=RLELossless)
    assert reason(path) == "colour"


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_of_three_components(dicom, photometric):
    grey = cv2.imencode(".jpg", np.dstack([GREY] * 3))[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_GRAYSCALE)
    path = saved(dicom(), np.dstack([GREY] * 3), photometric, JPEGBaseline8Bit, grey)
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=1)
    colour = cv2.imencode(".jpg", np.dstack([GREY, GREY, GREY // 2]))[1].tobytes()
    assert reason(saved(dicom(), np.dstack([GREY] * 3), photometric, JPEGBaseline8Bit, colour)) == "colour"


def test_neutral_chroma(dicom):
    chroma = np.full_like(GREY, 128)
    path = saved(dicom(), np.dstack([GREY, chroma, chroma]), "YBR_FULL")
    np.testing.assert_array_equal(read_mammogram(path).pixels, GREY)
    assert reason(saved(dicom(), np.dstack([GREY, chroma, chroma + 9]), "YBR_FULL")) == "colour"
    assert reason(saved(dicom(), np.dstack([GREY, chroma, chroma]), "RGB")) == "colour"  # green and blue at 128


def palette(tables):
    found = {}
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        found[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        found[f"{name}PaletteColorLookupTableData"] = np.asarray(table, "<u2").tobytes()
    return found


def test_palette_of_greys(dicom):
    table = (np.arange(256) * 257)[::-1]
    path = saved(dicom(), GREY, "PALETTE COLOR", **palette([table] * 3))
    np.testing.assert_array_equal(read_mammogram(path).pixels, table[GREY])
    assert reason(saved(dicom(), GREY, "PALETTE COLOR", **palette([table, table, table // 2]))) == "colour"
    assert reason(saved(dicom(), GREY, "PALETTE COLOR")) == "colour"  # no palette


def test_windows_do_not_apply_to_colour_images(dicom):
    path = saved(dicom(WindowCenter="100", WindowWidth="150"), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(read_mammogram(path).pixels, GREY)


def smooth(dtype):
    """Return smooth values of 14 bits, with their sign if the type is signed."""
    y, x = np.mgrid[:64, :48]
    values = 8000 + 7000 * np.sin(x / 15) * np.cos(y / 20)
    return (values - (8192 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)


JUNK = {
    "ones": lambda v: np.full(v.shape, 0xC000),
    "one bit": lambda v: np.full(v.shape, 0x8000),
    "other": lambda v: np.full(v.shape, 0x4000),
    "background alone": lambda v: np.where(v.astype(int) % 16384 < 5000, 0xC000, 0),
    "overlay without a header": lambda v: np.where(np.add.outer(np.arange(64), np.arange(48)) % 20 < 3, 0x8000, 0),
    "random": lambda v: np.random.default_rng(0).integers(0, 4, v.shape) << 14,
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_unused_bits_are_ignored(dicom, dtype, junk):
    values = smooth(dtype)
    words = (values.astype(int) & 0x3FFF) | JUNK[junk](values)
    path = dicom(words.astype(np.uint16).view(dtype), bits=14)
    np.testing.assert_array_equal(read_mammogram(path).pixels, values)


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 13])
def test_bits_that_belong_to_the_values_are_not_cut_off(dicom, bits):
    assert reason(dicom(smooth(np.uint16), bits=bits)) == "conflict"


STREAMS = {
    JPEG2000Lossless: lambda dicom: frame_of(dicom(syntax=JPEG2000Lossless)),
    JPEGLosslessSV1: lambda _: jpeg_lossless(VALUES, 12),
    JPEGLSLossless: lambda _: jpeg_ls(VALUES, 12)[0],
    RLELossless: lambda dicom: frame_of(dicom(syntax=RLELossless)),
}


@pytest.mark.parametrize("tail", [bytes(2), bytes(64), bytes(5000), b"\xff" * 40, b" " * 99, b"\x55\xaa" * 200])
@pytest.mark.parametrize("syntax", STREAMS, ids=lambda s: s.name)
def test_padding_behind_a_stream(dicom, syntax, tail):
    path = dicom(syntax=syntax, pixels=STREAMS[syntax](dicom) + tail)
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES)


@pytest.mark.parametrize("tail", [b"", bytes(64)])
@pytest.mark.parametrize("syntax", [s for s in STREAMS if s != RLELossless], ids=lambda s: s.name)
def test_complete_streams_without_an_end_marker(dicom, syntax, tail):
    stream = STREAMS[syntax](dicom)
    stream = stream[: stream.rindex(b"\xff\xd9")]
    np.testing.assert_array_equal(read_mammogram(dicom(syntax=syntax, pixels=stream + tail)).pixels, VALUES)
    for missing in (3, 9, len(stream) // 2):
        assert reason(dicom(syntax=syntax, pixels=stream[:-missing] + tail)) == "truncated"


def test_a_dct_stream_without_an_end_marker(dicom):
    blocks = np.random.default_rng(0).integers(0, 4096, (4, 5)).astype(np.uint16)
    stream, values = jpeg_dct_flat(blocks, 12), np.kron(blocks, np.ones((8, 8), np.uint16))
    np.testing.assert_array_equal(read_mammogram(dicom(values, JPEGExtended12Bit, pixels=stream[:-2])).pixels, values)
    assert reason(dicom(values, JPEGExtended12Bit, pixels=stream[: len(stream) - 12])) == "truncated"


def test_a_jpeg_2000_tile_that_is_missing_is_noticed(dicom):
    stream = bytearray(frame_of(dicom(syntax=JPEG2000)))
    stream = stream[: stream.rindex(b"\xff\xd9")]
    stream[stream.index(b"\xff\x90") + 11] = 2  # the second part of the tile is not there
    assert reason(dicom(syntax=JPEG2000, pixels=bytes(stream))) == "truncated"
