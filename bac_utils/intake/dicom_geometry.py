"""Size and orientation of a DICOM mammogram: what its header states twice, and whether the statements agree.

Converters that reduce or enlarge an image often leave its pixel spacing as it was. All lengths are then wrong, by a
factor that nobody sees. So the field that spacing and matrix give is compared with whatever else the header states
about it, and the spacing is not used if they disagree.
"""

import pydicom

from bac_utils.intake.dicom_file import number, numbers, texts, word

TOLERANCE = 0.1
"""Largest relative difference between two statements of the size of the field. It includes rounding to whole mm, and
spacings given in the plane of the breast rather than of the detector (magnification up to about 1.1)."""
SMALLEST_DETECTOR_SHARE = 0.7
"""A field smaller than this share of the detector, in both directions, is not one of the fields of full-field
mammography: 18 cm x 24 cm is 0.75 and 0.8 of the largest detectors, 24 cm x 30 cm."""
LARGEST_MAGNIFICATION = 1.4
"""Largest ratio of ImagerPixelSpacing to PixelSpacing in a contact view, as for magnification views."""
LARGEST_FIELD_MM = 450.0
"""Longest side of a mammogram: twice that of the smallest field, 18 cm x 23 cm, and longer than any film."""


def checked_spacing(
    header: pydicom.Dataset, spacing: tuple[float, float] | None, rule: str
) -> tuple[tuple[float, float] | None, str]:
    """Return spacing and rule as given, or no spacing and the rule that it breaks.

    Four things contradict a spacing. FieldOfViewDimensions, in either order, differ from the field by more than
    `TOLERANCE`, unless one side agrees and the other is shorter: images are cropped at the side of the air. The field
    is larger than DetectorActiveDimensions, or much smaller (`SMALLEST_DETECTOR_SHARE`). PixelSpacing, not calibrated,
    and ImagerPixelSpacing differ by more than a contact view magnifies. The field is longer than `LARGEST_FIELD_MM`.

    Args:
        header: A header whose matrix size is valid.
        spacing: (row, column) spacing at the breast, mm, or None.
        rule: The rule that gave it, as in `Description.spacing_rule`.

    Returns:
        Both as given, or None with `spacing_contradicts_field_of_view`, `spacing_contradicts_detector`,
        `spacings_contradict` or `spacing_impossible_field`.
    """
    if spacing is None:
        return spacing, rule
    imager = numbers(header, "ImagerPixelSpacing")
    stated = imager if rule.startswith("imager") else spacing
    field = sorted(number(header, k, 0) * s for k, s in zip(("Rows", "Columns"), stated, strict=True))
    view = _sides(header, "FieldOfViewDimensions")
    if view and _contradicts_view([a / b for a, b in zip(field, view, strict=True)]):
        return None, "spacing_contradicts_field_of_view"
    detector = _sides(header, "DetectorActiveDimensions")
    shares = [a / b for a, b in zip(field, detector, strict=True)] if detector else [1.0]
    if max(shares) > 1 + TOLERANCE or max(shares) < SMALLEST_DETECTOR_SHARE:
        return None, "spacing_contradicts_detector"
    calibrated = word(header, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if rule == "calibrated_pixel_spacing" and len(imager) == 2 and not (calibrated or view):
        ratios = [i / p for i, p in zip(imager, spacing, strict=True)]
        if min(ratios) < 1 / 1.02 or max(ratios) > LARGEST_MAGNIFICATION:
            return None, "spacings_contradict"
    if field[1] > LARGEST_FIELD_MM:
        return None, "spacing_impossible_field"
    return spacing, rule


def _sides(header: pydicom.Dataset, keyword: str) -> list[float]:
    """Return two stated sides in mm, the shorter one first; empty if they are absent or cannot be sides of a field.

    Vendors disagree about which one comes first.
    """
    sides = sorted(numbers(header, keyword))
    return sides if len(sides) == 2 and 50 <= sides[0] <= sides[1] <= 500 else []


def _contradicts_view(shares: list[float]) -> bool:
    """Return whether the field's sides, as shares of the stated field of view, contradict it."""
    return max(shares) > 1 + TOLERANCE or max(shares) < 1 - TOLERANCE


def turn_upright(header: pydicom.Dataset, side: str) -> tuple[bool, bool, bool]:
    """Return how PatientOrientation says that an image is turned upright; see `Description.turn`.

    Upright means that the head (MLO) or the lateral side (CC) is up, and that the chest wall is at the left. A breast
    shows three directions: to the front, and to the feet in an MLO or to the medial side in a CC.

    Args:
        header: The header.
        side: `L`, `R` or empty; needed for CC views, to know which direction is medial.

    Returns:
        Whether rows and columns are exchanged, then the rows reversed, then the columns reversed.
    """
    directions = [t.upper() for t in texts(header, "PatientOrientation")]
    if len(directions) != 2 or not all(directions) or set("".join(directions)) - set("APHFLR"):
        return False, False, False
    exchanged = directions[1][0] in "AP" and directions[0][0] not in "AP"
    row, column = directions[::-1] if exchanged else directions
    if row[0] not in "AP":
        return False, False, False
    upside_down = "H" in column or (side != "" and side in column and "F" not in column)  # the lateral side is `side`
    return exchanged, upside_down, row[0] == "P"
