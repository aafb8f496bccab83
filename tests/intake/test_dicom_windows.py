"""Windows and padding values that belong to another rendering, or to the tissue, are not applied."""

import numpy as np
import pydicom
import pytest
from mammogram_files import item
from pydicom.pixels.processing import apply_voi_lut, apply_windowing

from bac_utils.intake.dicom_header import FOR_PROCESSING
from bac_utils.intake.reader import read_mammogram


def breast(brightest=3000):
    """Return a left breast with calcium at the brightest level, uint16 (256, 192); the background is 20."""
    y, x = np.mgrid[:256, :192]
    depth = 1 - np.hypot((y - 128) / 110, x / 150)
    texture = np.random.default_rng(0).normal(0, 0.02, depth.shape)
    tissue = brightest * np.clip(0.3 + 0.6 * depth + texture, 0.2, 0.95)
    values = np.where(depth > 0, tissue, 20)
    values[100:104, 20:90] = brightest
    return values.astype(np.uint16)


BREAST = breast()


def lut(table):
    made = item(LUTDescriptor=[len(table) % (1 << 16), 0, 16])
    made.add_new("LUTData", "OW", np.asarray(table, "<u2").tobytes())
    return [made]


@pytest.mark.parametrize(
    "changes",
    [
        {"WindowCenter": "127", "WindowWidth": "255"},  # of an 8-bit copy
        {"WindowCenter": "128", "WindowWidth": "256", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "40", "WindowWidth": "400"},  # of CT
        {"WindowCenter": "-600", "WindowWidth": "1500"},
        {"WindowCenter": "8000", "WindowWidth": "200"},  # above all values
        {"WindowCenter": "256", "WindowWidth": "512"},  # of 9 bits
        {"WindowCenter": "3000", "WindowWidth": "400"},  # a tenth of the range
        {"WindowCenter": "40", "WindowWidth": "400", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "9000", "WindowWidth": "800", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": ["127", "40"], "WindowWidth": ["255", "400"]},
        {"WindowCenter": "2000", "WindowWidth": "1"},  # black and white
        {"WindowCenter": "0", "WindowWidth": "1e38"},  # all values alike
        {"VOILUTSequence": lut(np.minimum(np.arange(4096) * 256, 65535))},
        {"VOILUTSequence": lut(np.maximum(np.arange(4096) - 4000, 0))},
        {"VOILUTSequence": lut([7])},
        {"VOILUTSequence": lut(np.minimum(np.arange(4096) * 256, 65535)), "WindowCenter": "40", "WindowWidth": "400"},
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_of_another_rendering_is_not_applied(dicom, changes, photometric):
    values = BREAST if photometric == "MONOCHROME2" else 3100 - BREAST
    found = read_mammogram(dicom(values, PhotometricInterpretation=photometric, **changes)).pixels
    plain = read_mammogram(dicom(values, PhotometricInterpretation=photometric)).pixels
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"WindowCenter": "2048", "WindowWidth": "4096"},
        {"WindowCenter": "1600", "WindowWidth": "2800"},
        {"WindowCenter": "1500", "WindowWidth": "2200", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "1700", "WindowWidth": "2000", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "32768", "WindowWidth": "65536"},  # too wide, but nothing is lost
        {"WindowCenter": ["1600", "127"], "WindowWidth": ["2800", "255"]},
        {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "2200", "WindowWidth": "6000"},
        {"RescaleSlope": "0.25", "RescaleIntercept": "0", "WindowCenter": "400", "WindowWidth": "800"},
    ],
)
def test_a_window_that_suits_is_applied_with_unchanged_numbers(dicom, changes):
    path = dicom(BREAST, **changes)
    rescaled = BREAST * float(changes.get("RescaleSlope", 1)) + float(changes.get("RescaleIntercept", 0))
    header = pydicom.dcmread(path)
    for keyword in ("RescaleSlope", "RescaleIntercept"):  # they would also change the range of pydicom's result
        if keyword in header:
            delattr(header, keyword)
    expected = apply_windowing(rescaled, header)
    np.testing.assert_allclose(read_mammogram(path).pixels, expected, atol=0.05)


def test_a_lut_that_suits_is_applied(dicom):
    path = dicom(BREAST, VOILUTSequence=lut(65535 * np.sqrt(np.arange(4096) / 4095)))
    np.testing.assert_array_equal(read_mammogram(path).pixels, apply_voi_lut(BREAST, pydicom.dcmread(path)))


def test_a_window_in_units_of_stored_values_is_not_applied_after_the_rescale(dicom):
    changes = dict(RescaleSlope="0.01", RescaleIntercept="0", WindowCenter="2048", WindowWidth="4096")
    found = read_mammogram(dicom(BREAST, **changes)).pixels
    tissue = BREAST > 500
    assert np.corrcoef(found[tissue], BREAST[tissue])[0, 1] > 0.9999  # a shallow window loses nothing either
    changes |= dict(RescaleSlope="100")
    np.testing.assert_allclose(read_mammogram(dicom(BREAST, **changes)).pixels, BREAST * 100.0)


def test_the_next_window_or_lut_is_tried(dicom):
    several = dict(WindowCenter=["127", "1600"], WindowWidth=["255", "2800"])
    one = read_mammogram(dicom(BREAST, WindowCenter="1600", WindowWidth="2800")).pixels
    np.testing.assert_array_equal(read_mammogram(dicom(BREAST, **several)).pixels, one)
    with_lut = dict(VOILUTSequence=lut(np.minimum(np.arange(4096) * 256, 65535)), **several)
    np.testing.assert_array_equal(read_mammogram(dicom(BREAST, **with_lut)).pixels, one)


@pytest.mark.parametrize("limit", [{}, {"PixelPaddingRangeLimit": 2990}])
def test_a_padding_value_equal_to_white_leaves_calcium_white(dicom, limit):
    found = read_mammogram(dicom(BREAST, PixelPaddingValue=3000, **limit)).pixels
    np.testing.assert_array_equal(found, BREAST)
    inverse = dict(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=1095)
    found = read_mammogram(dicom(4095 - BREAST, **inverse)).pixels
    np.testing.assert_array_equal(found - found.min(), BREAST - BREAST.min())


def test_a_padding_value_equal_to_white_leaves_saturated_muscle_white(dicom):
    values = BREAST.copy()
    values[:90, :60] = 3000  # touches two borders, neither from end to end
    np.testing.assert_array_equal(read_mammogram(dicom(values, PixelPaddingValue=3000)).pixels, values)


def test_white_padding_along_a_border_is_removed_and_calcium_is_not(dicom):
    values = BREAST.copy()
    values[:, -10:] = 3000
    found = read_mammogram(dicom(values, PixelPaddingValue=3000)).pixels
    np.testing.assert_array_equal(found[:, :-10], values[:, :-10])
    assert (found[:, -10:] == values[:, :-10].min()).all()


def test_a_padding_value_within_the_tissue_spares_the_tissue(dicom):
    values = BREAST.copy()
    values[:, -10:] = 1500
    found = read_mammogram(dicom(values, PixelPaddingValue=1500)).pixels
    assert (found[:, -10:] == 20).all() and (values[:, :-10] == 1500).any()
    inside = values[50:200, 5:100]
    np.testing.assert_array_equal(found[50:200, 5:100], inside)


def test_windows_of_for_processing_images_are_ignored(dicom):
    stated = dict(SOPClassUID=FOR_PROCESSING, PresentationIntentType="FOR PROCESSING", PixelIntensityRelationship="LOG")
    found = read_mammogram(dicom(BREAST, WindowCenter="127", WindowWidth="255", **stated)).pixels
    np.testing.assert_array_equal(found, BREAST)
