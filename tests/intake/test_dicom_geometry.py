"""Spacings that contradict the field, and images that their header describes as turned."""

import numpy as np
import pytest
from mammogram_files import NO_TAGS, item

from bac_utils.intake.dicom_geometry import checked_spacing, turn_upright
from bac_utils.intake.reader import describe_mammogram, read_mammogram

SPACING = (0.1, 0.1)


def header(rows=2400, columns=1800, **changes):
    return item(**{"Rows": rows, "Columns": columns, "ImagerPixelSpacing": [0.1, 0.1], **changes})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, ""),
        ({"FieldOfViewDimensions": ["240", "180"]}, ""),
        ({"FieldOfViewDimensions": ["180", "240"]}, ""),  # vendors disagree about the order
        ({"FieldOfViewDimensions": ["191", "229"], "columns": 1914, "rows": 2294}, ""),
        ({"FieldOfViewDimensions": ["239", "290"], "columns": 2394, "rows": 2850}, ""),
        ({"FieldOfViewDimensions": ["180", "240"], "columns": 900}, ""),  # cropped at the side of the air
        ({"FieldOfViewDimensions": ["240"]}, ""),
        ({"FieldOfViewDimensions": ["0", "0"]}, ""),
        ({"FieldOfViewDimensions": ["24", "18"]}, ""),  # cm, not mm
        ({"FieldOfViewDimensions": ["240", "180"], "rows": 1200, "columns": 900}, "spacing_contradicts_field_of_view"),
        ({"FieldOfViewDimensions": ["240", "180"], "rows": 600, "columns": 450}, "spacing_contradicts_field_of_view"),
        ({"FieldOfViewDimensions": ["240", "180"], "rows": 1024, "columns": 1024}, "spacing_contradicts_field_of_view"),
        ({"FieldOfViewDimensions": ["240", "180"], "rows": 4800, "columns": 3600}, "spacing_contradicts_field_of_view"),
        ({"FieldOfViewDimensions": ["180", "240"], "rows": 1920, "columns": 1440}, "spacing_contradicts_field_of_view"),
        ({"DetectorActiveDimensions": ["240", "180"]}, ""),
        ({"DetectorActiveDimensions": ["300", "240"]}, ""),  # the small field of a large detector
        ({"DetectorActiveDimensions": ["300", "240"], "rows": 1200, "columns": 900}, "spacing_contradicts_detector"),
        ({"DetectorActiveDimensions": ["240", "180"], "rows": 3000, "columns": 2400}, "spacing_contradicts_detector"),
        ({"rows": 4800, "columns": 3600}, "spacing_impossible_field"),
    ],
)
def test_spacing_against_the_stated_field(changes, rule):
    found = checked_spacing(header(**changes), SPACING, "imager")
    assert found == ((None, rule) if rule else (SPACING, "imager"))


@pytest.mark.parametrize(
    ("spacing", "changes", "rule"),
    [
        ((0.093, 0.093), {}, ""),  # at the breast, magnified by 1.075
        ((0.2, 0.2), {}, "spacings_contradict"),  # updated by a converter that left ImagerPixelSpacing
        ((0.05, 0.05), {}, "spacings_contradict"),
        ((0.2, 0.2), {"PixelSpacingCalibrationType": "GEOMETRY", "rows": 1200, "columns": 900}, ""),
        ((0.2, 0.2), {"rows": 1200, "columns": 900, "FieldOfViewDimensions": ["240", "180"]}, ""),
        (
            (0.1, 0.1),
            {"rows": 1200, "columns": 900, "FieldOfViewDimensions": ["240", "180"]},
            "spacing_contradicts_field_of_view",
        ),
    ],
)
def test_pixel_spacing_against_imager_pixel_spacing(spacing, changes, rule):
    found = checked_spacing(header(**changes), spacing, "calibrated_pixel_spacing")
    assert found == ((None, rule) if rule else (spacing, "calibrated_pixel_spacing"))


def test_without_a_spacing_nothing_is_checked():
    assert checked_spacing(header(), None, "") == (None, "")


UPRIGHT = (False, False)


@pytest.mark.parametrize(
    ("orientation", "side", "turn"),
    [
        (["A", "FR"], "L", UPRIGHT),
        (["A", "F"], "L", UPRIGHT),
        (["P", "FL"], "R", UPRIGHT),
        (["A", "R"], "L", UPRIGHT),
        (["P", "L"], "R", UPRIGHT),
        (["P", "L"], "", UPRIGHT),  # no side to tell lateral from medial
        (["P", "R"], "L", UPRIGHT),  # mirrored: the lateral side is up
        (["P", "HL"], "L", (False, True)),  # turned by 180 degrees
        (["A", "HR"], "R", (False, True)),
        (["P", "L"], "L", (False, True)),
        (["A", "HL"], "L", (False, True)),  # upside down
        (["FR", "P"], "L", (True, False)),  # turned by 90 degrees
        (["HL", "A"], "L", (True, True)),
        (["H", "P"], "R", (True, True)),
        (["R", "P"], "L", (True, False)),
        (["L", "A"], "L", (True, True)),
        (["F", "A"], "", (True, False)),
        ("MLO", "L", UPRIGHT),
        (["A", ""], "L", UPRIGHT),
        (["L", "F"], "L", UPRIGHT),  # no direction to the front
        (["A", "P"], "L", UPRIGHT),
    ],
)
def test_turns(orientation, side, turn):
    assert turn_upright(item(PatientOrientation=orientation), side)[:2] == turn


def test_no_orientation():
    assert turn_upright(item(), "L") == (False, False, False)


def directions(view, side, turns, mirrored):
    """Return PatientOrientation of a view that was turned by `turns` quarters counter-clockwise after mirroring."""
    opposite = str.maketrans("APHFLR", "PAFHRL")
    column = {"CC": "R" if side == "L" else "L", "MLO": "FR" if side == "L" else "FL"}[view]
    row = "A" if side == "L" else "P"
    if mirrored:
        row = row.translate(opposite)
    for _ in range(turns):
        row, column = column, row.translate(opposite)
    return [row, column]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_every_turn_leads_back_to_the_upright_image(view, side, turns, mirrored):
    upright = np.arange(12).reshape(4, 3)  # chest wall at the left
    hung = upright if side == "L" else upright[:, ::-1]
    hung = hung[:, ::-1] if mirrored else hung
    image = np.rot90(hung, turns)
    stated = item(PatientOrientation=directions(view, side, turns, mirrored))
    exchanged, reversed_, flipped = turn_upright(stated, side)
    found = image.T if exchanged else image
    found = found[::-1] if reversed_ else found
    np.testing.assert_array_equal(found[:, ::-1] if flipped else found, upright)


def test_header_and_reader_agree(dicom):
    path = dicom(PatientOrientation=["P", "L"], FieldOfViewDimensions=["240", "180"])
    for found in (read_mammogram(path), describe_mammogram(path)):
        assert (found.spacing_mm, found.spacing_rule) == (None, "spacing_contradicts_field_of_view")
        assert found.turn == (False, True, True)
    assert read_mammogram(dicom(**NO_TAGS)).turn == (False, False, False)
