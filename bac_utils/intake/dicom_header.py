"""Headers of DICOM mammograms as vendors write them: kind of image, side and view, pixel spacing, age.

The header is checked first; only then are the pixels decoded (`dicom_pixels`) and rendered (`dicom_display`).
"""

import re
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.uid import UID_dictionary

from bac_utils.intake.dicom_display import display
from bac_utils.intake.dicom_file import items, number, numbers, read_header, text, texts, word
from bac_utils.intake.dicom_pixels import check_layout, check_storage, stored_values
from bac_utils.intake.mammogram import Description, Mammogram, Skip, agree, check_grey_levels, read_words

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
MAMMOGRAPHY_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.2", FOR_PROCESSING)
"""SOP classes of digital mammography: For Presentation, For Processing."""
TOMOSYNTHESIS_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.13.1.{n}" for n in (3, 4, 5))
OTHER_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3"))
"""Other SOP classes in which mammograms are stored: computed and digital radiography, secondary capture."""

# Code values of SNOMED CT and of the older SRT (DICOM PS3.16, CID 4014, 4015, 244).
VIEW_CODES = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}
SIDE_CODES = {"7771000": "L", "G-A101": "L", "24028007": "R", "G-A100": "R"}
REFUSED_CODES = {
    "127457009": "specimen", "G-8310": "specimen",
    "399163009": "spot_or_magnification", "R-102D6": "spot_or_magnification",
    "399055006": "spot_or_magnification", "R-102D7": "spot_or_magnification",
    "399209000": "implant", "R-102D5": "implant",
    **dict.fromkeys((  # ML, LM, LMO, XCCL, XCCM, SIO, ISO, FB; cleavage, tangential, axillary tail and tissue
        "399260004", "R-10224", "399352003", "R-10228", "399099002", "R-10230", "399192008", "R-1024A",
        "399101009", "R-1024B", "399188001", "R-102D0", "441555000", "R-40AAA", "399196006", "R-10244",
        "399161006", "R-102D2", "399110001", "R-102C2", "399011000", "R-102D1", "442580003", "R-40AB2",
        # rolled medially, laterally, superiorly, inferiorly
        "399226006", "R-102D4", "399197002", "R-102D3", "415670009", "R-102C9", "414493004", "R-102CA"), "other_view"),
}  # fmt: skip
# Words within ImageType (DICOM PS3.3, C.8.11.7.1.4, and vendors' own); the first match counts.
REFUSED_IMAGE_TYPES = {
    **dict.fromkeys(("LOCALIZER", "SCOUT", "STEREO", "BIOPSY", "PREFIRE", "POSTFIRE", "POSTMARKER"), "localiser"),
    "SPECIMEN": "specimen",
    **dict.fromkeys(("TOMO_2D", "GENERATED_2D", "SUBTRACTION", "ADDITION", "RECOMBINED", "HIGH_ENERGY"), "synthetic"),
    "TOMO": "multi_frame",
}
MAGNIFIED = 1.4
"""Views with this magnification or more are magnification views; in a contact view, the middle of a thick breast is
magnified by less than 1.25."""
AGES = (1, 120)
"""Plausible ages, years; anonymised headers may contain `000Y`."""
SPACINGS_MM = (0.005, 2.0)
"""Plausible pixel spacings, mm: mammograms have 0.02 to 0.2, downsampled copies more. Other values count as absent."""


def read_dicom(path: Path) -> tuple[Mammogram, str]:
    """Read one DICOM file.

    Args:
        path: The file.

    Returns:
        The view, without its digest, and its SOP instance UID.

    Raises:
        Skip: The file cannot be used.
    """
    header, source = read_header(path)
    described, processing = _describe(header)
    values = stored_values(source)
    check_grey_levels(values)
    pixels = display(values, header, processing)
    return Mammogram(pixels, **vars(described)), text(header, "SOPInstanceUID")


def describe_dicom(path: Path) -> tuple[Description, str]:
    """Read the header of one DICOM file, without its pixels.

    Args:
        path: The file.

    Returns:
        The description, without its digest, and the SOP instance UID.

    Raises:
        Skip: The file cannot be used, as far as its header and its size show.
    """
    header, source = read_header(path)
    described, _ = _describe(header)
    check_storage(header, source)
    return described, text(header, "SOPInstanceUID")


def _describe(header: pydicom.Dataset) -> tuple[Description, bool]:
    """Return the description in a header, and whether the image is For Processing."""
    _check_kind(header)
    check_layout(header)
    _check_image_type(header)
    _check_view(header)
    processing = _for_processing(header)
    side, view = _side_and_view(header)
    spacing, rule = _spacing(header)
    described = Description(
        spacing_mm=spacing,
        spacing_rule=rule,
        laterality=side,
        view=view,
        patient_id=text(header, "PatientID"),
        age=_age(header),
    )
    return described, processing


def _sop_class(header: pydicom.Dataset) -> str:
    """Return the SOP class of the data set or, without one, of the meta header."""
    meta = getattr(header, "file_meta", None) or pydicom.Dataset()
    return text(header, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")


def _check_kind(header: pydicom.Dataset) -> None:
    """Raise `Skip` for another modality, another kind of object, or several images in one file."""
    sop_class, modality = _sop_class(header), word(header, "Modality")
    if not (sop_class or modality or (numbers(header, "Rows") and numbers(header, "Columns"))):
        raise Skip("truncated", "the header states neither SOP class, modality nor matrix size")
    if sop_class in TOMOSYNTHESIS_CLASSES:
        raise Skip("multi_frame", "breast tomosynthesis")
    breast = word(header, "BodyPartExamined") == "BREAST"
    if not (
        modality == "MG"
        or (modality in ("", "OT") and sop_class in MAMMOGRAPHY_CLASSES)
        or (modality in ("", "CR", "DX", "OT", "RG") and breast)
    ):
        raise Skip("not_mammography", "neither the modality nor the SOP class is mammography")
    if sop_class in UID_dictionary and sop_class not in (*MAMMOGRAPHY_CLASSES, *OTHER_CLASSES):
        raise Skip("not_mammography", "the SOP class is that of another kind of object")
    if word(header, "QualityControlImage") == "YES":
        raise Skip("not_mammography", "a quality-control image")
    if number(header, "NumberOfFrames", 1) > 1 or len(items(header, "PerFrameFunctionalGroupsSequence")) > 1:
        raise Skip("multi_frame", "several frames in one file")
    if word(header, "VolumetricProperties") in ("VOLUME", "SAMPLED", "DISTORTED", "MIXED"):
        raise Skip("multi_frame", "a slice of a volume")


def _check_image_type(header: pydicom.Dataset) -> None:
    """Raise `Skip` for localisers, biopsies, specimens, tomosynthesis, synthetic views and cropped images."""
    types = " ".join(texts(header, "ImageType")).upper()
    for name, code in REFUSED_IMAGE_TYPES.items():
        if name in types:
            raise Skip(code, f"the image type contains {name}")
    series = word(header, "SeriesDescription")
    if re.search(r"\b[CS]-VIEW\b", series):
        raise Skip("synthetic", "the series description names synthetic views")
    if re.search(r"\bCROPPED\b", series):
        raise Skip("partial_view", "the series description names cropped images")


def _check_view(header: pydicom.Dataset) -> None:
    """Raise `Skip` for implants, and for anything that is not a contact view of one whole breast."""
    if word(header, "BreastImplantPresent") == "YES":
        raise Skip("implant", "a breast implant is present")
    if word(header, "PartialView") == "YES":
        raise Skip("partial_view", "the header calls the view partial")
    views = items(header, "ViewCodeSequence")
    for item in [*views, *(m for d in (header, *views) for m in items(d, "ViewModifierCodeSequence"))]:
        code = text(item, "CodeValue")
        if code in REFUSED_CODES:
            raise Skip(REFUSED_CODES[code], f"view code {code}")
    if re.search("SPOT|SPT|MAG", word(header, "PaddleDescription")):
        raise Skip("spot_or_magnification", "the paddle is for spot or magnification views")
    if max((factor for factor, _ in _magnifications(header)), default=1) >= MAGNIFIED:
        raise Skip("spot_or_magnification", f"the magnification is {MAGNIFIED} or more")


def _for_processing(header: pydicom.Dataset) -> bool:
    """Return whether the image is For Processing; raise `Skip` if SOP class and intent contradict each other."""
    intent, sop_class = word(header, "PresentationIntentType"), _sop_class(header)
    stated = {"FOR PROCESSING": True, "FOR PRESENTATION": False}.get(intent)
    by_class = sop_class == FOR_PROCESSING if sop_class in MAMMOGRAPHY_CLASSES else None
    if stated is not None and by_class is not None and stated != by_class:
        raise Skip("conflict", "SOP class and intent disagree: For Presentation or For Processing")
    return bool(by_class if stated is None else stated)


def _side_and_view(header: pydicom.Dataset) -> tuple[str, str]:
    """Return side and view from tags and codes, or else from PatientOrientation; empty if not stated."""
    stated = [word(header, k) for k in ("ImageLaterality", "Laterality")]
    if "B" in stated:
        raise Skip("other_view", "the image shows both breasts")
    sides = [{"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}.get(s, "") for s in stated]
    for region in items(header, "AnatomicRegionSequence"):
        for item in items(region, "AnatomicRegionModifierSequence"):
            sides.append(SIDE_CODES.get(text(item, "CodeValue"), ""))
    views = [VIEW_CODES.get(text(item, "CodeValue"), "") for item in items(header, "ViewCodeSequence")]
    more_sides, more_views = _view_position(header)
    side, view = agree("side", [*sides, *more_sides]), agree("view", [*views, *more_views])
    oriented = _orientation([t.upper() for t in texts(header, "PatientOrientation")])
    return side or oriented[0], view or oriented[1]


def _view_position(header: pydicom.Dataset) -> tuple[set[str], set[str]]:
    """Return the sides and views in ViewPosition, which may be `CC`, `L MLO` or `RCC`."""
    position = word(header, "ViewPosition")
    sides, views, codes, others = read_words(position)
    if "ID" in others:
        codes.add("implant")
    if codes:
        raise Skip(sorted(codes)[0], "the view position says so")
    if position and (others or not views):
        shown = position if position.isalpha() and len(position) <= 5 else "not a known view"
        raise Skip("other_view", f"the view position is {shown}")
    return sides, views


def _orientation(directions: list[str]) -> tuple[str, str]:
    """Return side and view from PatientOrientation, [direction of the rows, direction of the columns].

    Rows towards anterior (A) and columns towards the right (R) mean a left breast with its lateral side up; P and L
    mean a right breast. Columns that also point to the feet (F) mean MLO. Film archives store the view itself here.
    """
    if len(directions) == 1 and directions[0] in ("CC", "MLO"):
        return "", directions[0]
    if len(directions) != 2:
        return "", ""
    row, column = directions[0][:1], "".join(sorted(directions[1]))
    side = {"A": "L" if "R" in column else "", "P": "R" if "L" in column else ""}.get(row, "")
    return side, {"L": "CC", "R": "CC", "FL": "MLO", "FR": "MLO"}.get(column, "")


def _magnifications(header: pydicom.Dataset) -> list[tuple[float, str]]:
    """Return the magnifications stated in the header, each with the rule that gives it; the most reliable first."""
    detector, patient = (number(header, k, 0) for k in ("DistanceSourceToDetector", "DistanceSourceToPatient"))
    stated = (
        (number(header, "EstimatedRadiographicMagnificationFactor", 0), "imager_over_magnification"),
        (detector / patient if patient > 0 else 0.0, "imager_over_distances"),
    )
    return [(factor, rule) for factor, rule in stated if 1 <= factor <= 5]


def _spacing(header: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """Return (row, column) spacing in mm and the rule that gave it; see `Description.spacing_rule`.

    First choice is a calibrated PixelSpacing: declared as such, or different from ImagerPixelSpacing (DICOM PS3.3,
    10.7.1.3). Then comes ImagerPixelSpacing divided by the magnification, which is the estimated factor or else
    DistanceSourceToDetector over DistanceSourceToPatient.
    """
    low, high = SPACINGS_MM
    pixel, imager, scanned = (
        tuple(n) if len(n := numbers(header, k)) == 2 and all(low <= v <= high for v in n) else None
        for k in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    calibrated = word(header, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if pixel and (calibrated or (imager and pixel != imager)):
        return pixel, "calibrated_pixel_spacing"
    if imager:
        for factor, rule in _magnifications(header):
            return (imager[0] / factor, imager[1] / factor), rule
        return imager, "imager"
    if pixel:
        return pixel, "pixel_spacing"
    return (scanned, "scanned_pixel_spacing") if scanned else (None, "")


def _age(header: pydicom.Dataset) -> float | None:
    """Return the age in years from PatientAge (such as `059Y`), or else from birth and study date; None without."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", word(header, "PatientAge"))
    if match:
        age = int(match[1]) / {"Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}[match[2]]
        if AGES[0] <= age <= AGES[1]:
            return age
    birth = _date(header, "PatientBirthDate")
    taken = (_date(header, k) for k in ("StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate"))
    study = next((d for d in taken if d), None)
    if birth is None or study is None:
        return None
    years = study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))
    return float(years) if AGES[0] <= years <= AGES[1] else None


def _date(header: pydicom.Dataset, keyword: str) -> datetime | None:
    """Return an element's date; None if it is absent or not a date."""
    try:
        return datetime.strptime(text(header, keyword), "%Y%m%d")
    except ValueError:
        return None
