"""Rescale, VOI LUTs and windows, polarity, padding, and the rendering of For Processing images."""

import numpy as np
import pydicom
import pytest
from mammogram_files import VALUES, item, reason
from pydicom.pixels.processing import apply_voi_lut, apply_windowing

from bac_utils.intake import dicom_display
from bac_utils.intake.dicom_header import FOR_PROCESSING
from bac_utils.intake.reader import read_mammogram


def test_monochrome1_is_inverted_once(dicom):
    path = dicom(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES.max() - VALUES)


@pytest.fixture
def any_window(monkeypatch):
    """Apply windows and LUTs whatever they do to the tissue, to test their arithmetic."""
    monkeypatch.setattr(dicom_display, "_keeps_grey_levels", lambda *_: True)


def test_monochrome1_is_inverted_after_the_window(dicom, any_window):
    path = dicom(PhotometricInterpretation="MONOCHROME1", WindowCenter="1000", WindowWidth="401")
    found = read_mammogram(path).pixels
    expected = 4095 - apply_windowing(VALUES, pydicom.dcmread(path))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found[0, 0] == 4095 and found[-1, -1] == 0


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [("1000", "401"), ("2047.5", "1"), (["900", "5"], ["3000", "7"])])
def test_windows(dicom, any_window, function, centre, width):
    changes = {} if function is None else {"VOILUTFunction": function}
    path = dicom(WindowCenter=centre, WindowWidth=width, **changes)
    with np.errstate(over="ignore"):
        expected = apply_windowing(VALUES, pydicom.dcmread(path))
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.01)


def test_window_by_hand(dicom, any_window):
    values = np.array([[0, 90, 100, 110, 200]], np.uint16)  # x in (90, 110]: ((x - 99.5) / 20 + 0.5) * 4095
    path = dicom(values, WindowCenter="100", WindowWidth="21")
    expected = [[0, 0.025 * 4095, 0.525 * 4095, 4095, 4095]]
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.01)


@pytest.mark.parametrize("width", ["0", "-5", "0.5"])
def test_an_invalid_window_is_ignored(dicom, width):
    np.testing.assert_array_equal(read_mammogram(dicom(WindowCenter="5", WindowWidth=width)).pixels, VALUES)


@pytest.mark.parametrize("first", [0, 1000])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_lut(dicom, any_window, first, vr):
    table = (65535 * np.sqrt(np.arange(2048) / 2047)).astype(int)
    lut = item(LUTDescriptor=[2048, first, 16])
    lut.add_new("LUTData", vr, table.tolist() if vr == "US" else table.astype("<u2").tobytes())
    path = dicom(VOILUTSequence=[lut], WindowCenter="5", WindowWidth="7")
    expected = table[np.clip(VALUES.astype(int) - first, 0, 2047)]
    np.testing.assert_array_equal(read_mammogram(path).pixels, expected)
    np.testing.assert_array_equal(apply_voi_lut(VALUES, pydicom.dcmread(path)), expected)


def test_voi_lut_of_8_bit_entries_and_signed_values(dicom, any_window):
    lut = item(LUTDescriptor=[512, 0, 8])
    lut.add_new("LUTDescriptor", "SS", [512, -256, 8])
    lut.add_new("LUTData", "OW", (np.arange(512) // 2).astype(np.uint8).tobytes())
    values = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
    found = read_mammogram(dicom(values, VOILUTSequence=[lut])).pixels
    np.testing.assert_array_equal(found, (np.clip(values, -256, 255) + 256) // 2)


def test_an_incomplete_voi_lut_leaves_the_window(dicom, any_window):
    path = dicom(VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])], WindowCenter="1000", WindowWidth="401")
    assert np.ptp(read_mammogram(path).pixels) == 4095


def test_rescale_and_modality_lut(dicom):
    path = dicom(RescaleSlope="2.5", RescaleIntercept="-100")
    np.testing.assert_array_equal(read_mammogram(path).pixels, VALUES * 2.5 - 100)
    lut = item(LUTDescriptor=[4096, 0, 16], LUTData=list(range(4095, -1, -1)))
    lut["LUTData"].VR = "US"
    path = dicom(ModalityLUTSequence=[lut])
    np.testing.assert_array_equal(read_mammogram(path).pixels, 4095 - VALUES.astype(int))


def test_padding_gets_the_lowest_value(dicom):
    values = VALUES // 2 + 100
    values[:, :3], values[:, 3:5] = 4095, 4090
    changes = dict(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=4095)
    found = read_mammogram(dicom(values, **changes, PixelPaddingRangeLimit=4085)).pixels
    valid = values[:, 5:].astype(int)
    assert (found[:, :5] == valid.min()).all()
    np.testing.assert_array_equal(found[:, 5:], valid.min() + valid.max() - valid)


@pytest.mark.parametrize(
    ("dtype", "vr", "written"),
    [
        (np.int16, "SS", -2000),
        (np.int16, "US", 65536 - 2000),
        (np.uint16, "US", 2001),
        (np.uint16, "SS", 2001),
        (np.uint16, "US", 0xF000 + 2001),  # with more bits than the bits stored, as pixels may have
    ],
)
def test_padding_in_either_signedness(dicom, dtype, vr, written):
    values = VALUES[:, :30].astype(dtype) // 4 + dtype(50)
    values[:, :4] = written if dtype == np.int16 and written < 0 else -2000 if dtype == np.int16 else 2001
    path = dicom(values)
    ds = pydicom.dcmread(path)
    ds.add_new("PixelPaddingValue", vr, written)
    ds.save_as(path)
    found = read_mammogram(path).pixels
    assert (found[:, :4] == values[:, 4:].min()).all()
    np.testing.assert_array_equal(found[:, 4:], values[:, 4:])


def test_an_image_of_padding_alone_is_kept(dicom):
    assert np.ptp(read_mammogram(dicom(np.zeros((4, 4), np.uint16), PixelPaddingValue=0)).pixels) == 0


PROCESSING = dict(SOPClassUID=FOR_PROCESSING, PresentationIntentType="FOR PROCESSING")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_for_processing_is_linear_in_thickness(dicom, photometric):
    thickness = np.linspace(0, 5, 64).reshape(8, 8)
    beam = np.round(16000 * np.exp(-thickness)).astype(np.uint16)
    sign = {} if photometric == "MONOCHROME1" else {"PixelIntensityRelationshipSign": 1}
    changes = dict(PhotometricInterpretation=photometric, WindowCenter="1", WindowWidth="1", **sign)
    found = read_mammogram(dicom(beam, bits=16, **PROCESSING, **changes)).pixels
    np.testing.assert_allclose(found - found[0, 0], thickness, atol=0.01)
    # The unit of intensity does not matter, and dead pixels and lead markers do not take up the range.
    scaled = read_mammogram(dicom(beam, bits=16, RescaleSlope="0.0001", RescaleIntercept="0", **PROCESSING, **changes))
    np.testing.assert_allclose(np.diff(scaled.pixels), np.diff(found), atol=1e-5)
    beam[3, 3] = 0
    dead = read_mammogram(dicom(beam, bits=16, **PROCESSING, **changes)).pixels
    assert np.ptp(dead) == pytest.approx(np.log(4096))


def test_for_processing_on_a_logarithmic_scale(dicom):
    for sign, expected in ((-1, VALUES), (1, VALUES.max() - VALUES)):
        relation = dict(PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=sign)
        path = dicom(**PROCESSING, **relation, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(read_mammogram(path).pixels, expected)


def test_for_processing_without_intensity(dicom):
    path = dicom(np.zeros((8, 8), np.uint16), PhotometricInterpretation="MONOCHROME1", **PROCESSING)
    assert reason(path) == "unreadable"


@pytest.mark.parametrize("slope", ["1e300", "-1e39"])
def test_rescale_to_values_that_are_not_finite(dicom, slope):
    assert reason(dicom(RescaleSlope=slope, RescaleIntercept="0")) == "unreadable"


def test_rescale_precedes_the_window(dicom, any_window):
    path = dicom(RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="1000", WindowWidth="2001")
    expected = np.clip((VALUES * 2.0 - 1000 - 999.5) / 2000 + 0.5, 0, 1) * 4095
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.01)


def test_windows_by_hand(dicom, any_window):
    values = np.array([[80, 100, 120]], np.uint16)
    window = dict(WindowCenter="100", WindowWidth="80")
    found = read_mammogram(dicom(values, VOILUTFunction="LINEAR_EXACT", **window)).pixels
    np.testing.assert_allclose(found, [[0.25 * 4095, 0.5 * 4095, 0.75 * 4095]], atol=0.01)
    found = read_mammogram(dicom(values, VOILUTFunction="SIGMOID", **window)).pixels
    np.testing.assert_allclose(found, [[4095 / (1 + np.e), 4095 / 2, 4095 / (1 + 1 / np.e)]], atol=0.01)
    with pydicom.config.disable_value_validation():
        path = dicom(values, VOILUTFunction="linear-exact", **window)
    np.testing.assert_allclose(read_mammogram(path).pixels[0, 0], 0.25 * 4095, atol=0.01)
    unknown = read_mammogram(dicom(values, VOILUTFunction="CUBIC", **window)).pixels
    np.testing.assert_array_equal(unknown, read_mammogram(dicom(values, **window)).pixels)


def test_window_of_signed_values_by_hand(dicom, any_window):
    values = np.array([[-120, -100, -80, 50]], np.int16)
    window = dict(WindowCenter="-100", WindowWidth="80", VOILUTFunction="LINEAR_EXACT")
    found = read_mammogram(dicom(values, **window)).pixels
    np.testing.assert_allclose(found, [[0.25 * 4095, 0.5 * 4095, 0.75 * 4095, 4095]], atol=0.01)


@pytest.mark.parametrize(
    "lut",
    [
        item(LUTDescriptor=[8, 0, 16]),
        item(LUTDescriptor=[8, 0], LUTData=[1] * 8),
        item(LUTData=[1] * 8),
    ],
)
def test_incomplete_luts_count_as_absent(dicom, lut):
    if "LUTData" in lut:
        lut["LUTData"].VR = "US"
    found = read_mammogram(dicom(VOILUTSequence=[lut], ModalityLUTSequence=[lut])).pixels
    np.testing.assert_array_equal(found, VALUES)


def test_luts_of_one_and_of_65536_entries(dicom, any_window):
    one = item(LUTDescriptor=[1, 0, 16], LUTData=7)
    one["LUTData"].VR = "US"
    assert (read_mammogram(dicom(VOILUTSequence=[one])).pixels == 7).all()
    table = np.arange(65536, dtype="<u2")[::-1]
    full = item(LUTDescriptor=[0, 0, 16])
    full.add_new("LUTData", "OW", table.tobytes())
    np.testing.assert_array_equal(read_mammogram(dicom(VOILUTSequence=[full])).pixels, table[VALUES])
