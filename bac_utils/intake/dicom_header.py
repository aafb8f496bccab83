"""Headers of DICOM mammograms as vendors write them: kind of image, side and view, pixel spacing, age, identity.

The header is checked first; only then are the pixels decoded (`dicom_pixels`) and rendered (`dicom_display`).
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path

import pydicom
from pydicom.uid import UID_dictionary

from bac_utils.intake.dicom_display import display
from bac_utils.intake.dicom_file import items, number, numbers, read_header, text, texts, word
from bac_utils.intake.dicom_geometry import checked_spacing, turn_upright
from bac_utils.intake.dicom_person import read_age, read_date, study_date, told_apart
from bac_utils.intake.dicom_pixels import check_fragments, check_layout, check_storage, stored_values
from bac_utils.intake.exams import exam_name
from bac_utils.intake.free_text import (
    SIDES,
    Words,
    names_capture,
    names_synthetic,
    names_tomosynthesis,
    plain,
    read_text,
)
from bac_utils.intake.mammogram import Description, Mammogram, Skip, agree, check_grey_levels
from bac_utils.intake.pseudonyms import names_nobody

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
MAMMOGRAPHY_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.2", FOR_PROCESSING)
"""SOP classes of digital mammography: For Presentation, For Processing."""
TOMOSYNTHESIS_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.13.1.{n}" for n in (3, 4, 5))
OTHER_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3"))
"""Other SOP classes in which mammograms are stored: computed and digital radiography, secondary capture."""

SECONDARY_CAPTURE_CLASSES = tuple(c for c in OTHER_CLASSES if c.startswith("1.2.840.10008.5.1.4.1.1.7"))

# Code values of SNOMED CT and of the older SRT (DICOM PS3.16, CID 4014, 4015, 244).
VIEW_CODES = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}
SIDE_CODES = {"7771000": "L", "G-A101": "L", "24028007": "R", "G-A100": "R"}
BREAST_CODES = (
    "76752008", "T-04000", "80248007", "T-04030", "73056007", "T-04020", "63762007", "T-04080",
)  # fmt: skip
"""The breast, the left and the right one, both (DICOM PS3.16, CID 4013 and 4)."""
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
FILM_CONVERSIONS = ("DF", "SI")
"""ConversionType of digitised film and scanned images (DICOM PS3.3, C.8.6.1)."""
CAPTURE_CONVERSIONS = ("DV", "SD", "DRW", "SYN")
"""Digitised video, scanned documents, drawings and synthetic images."""
MAGNIFIED = 1.4
"""Views with this magnification or more are magnification views; in a contact view, the middle of a thick breast is
magnified by less than 1.25."""
BREAST_WORDS = re.compile(
    r"BREAST|BRST|MAMM|MAMA|BRUST|\bSEINS?\b|SENO|SEIO|BORST|BRYST|BROST|PIERS|RINTA|"
    r"\bPRSA?\b|\bEMLO\b|\bMEME\b|DOJKA|乳"
)
"""Words for the breast in BodyPartExamined."""
OTHER_PARTS = re.compile(
    r"CHEST|THORAX|LUNG|ABDO|PELVI|BECKEN|SKULL|SCHADEL|HEAD|KOPF|NECK|HALS|SPINE|WIRBEL|HAND|FOOT|FUSS|KNEE|KNIE|HIP|"
    r"HUFTE|SHOULDER|SCHULTER|ARM|LEG|BEIN|WRIST|ANKLE|ELBOW|HEART|RIB|TEETH|JAW|FINGER|TOE|FEMUR|TIBIA|SPECIMEN"
)
"""Words for other parts of the body, which a view code alone does not outweigh."""
DESCRIPTIONS = (
    "SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription", "AcquisitionProtocolDescription",
    "ImageComments",
)  # fmt: skip
"""Elements with free text, from which side and view are read if no coded element states them."""
KINDS = ("SeriesDescription", "AcquisitionDeviceProcessingDescription", "DerivationDescription", "ImageComments")
"""Elements whose free text may name the kind of image."""
SPACINGS_MM = (0.005, 2.0)
"""Plausible pixel spacings, mm: mammograms have 0.02 to 0.2, downsampled copies more. Other values count as absent."""


@dataclass(frozen=True, kw_only=True)
class Header(Description):
    """What a DICOM header states, beyond `Description`; UIDs must not be written to a table.

    Attributes:
        uid: SOPInstanceUID.
        sources: SOPInstanceUIDs of the images from which this one was made.
        study: StudyInstanceUID; empty if it is not stated.
        accession: AccessionNumber; empty if it is not stated.
        birth_date: PatientBirthDate, `YYYYMMDD`; empty if it is not stated.
        processing: The image is For Processing.
        shared_id: PatientID is a word that tools write for everybody; `patient_id` is made up from what differs
            (`pseudonyms.tell_apart`), or empty if nothing does.
        age_without_unit: PatientAge is a number without its unit, read as years.
    """

    uid: str = ""
    sources: tuple[str, ...] = ()
    study: str = ""
    accession: str = ""
    birth_date: str = ""
    processing: bool = False
    shared_id: bool = False
    age_without_unit: bool = False


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
    described = _describe(header)
    check_fragments(header, source)
    values = stored_values(source)
    check_grey_levels(values)
    pixels = display(values, header, described.processing)
    stated = {field.name: getattr(described, field.name) for field in fields(Description)}
    return Mammogram(pixels, **stated), described.uid


def describe_dicom(path: Path) -> tuple[Header, str]:
    """Read the header of one DICOM file, without its pixels.

    Args:
        path: The file.

    Returns:
        The description, without its digest, and the SOP instance UID.

    Raises:
        Skip: The file cannot be used, as far as its header and its size show.
    """
    header, source = read_header(path)
    described = _describe(header)
    check_storage(header, source)
    check_fragments(header, source)
    return described, described.uid


def _describe(header: pydicom.Dataset) -> Header:
    """Return what a header states."""
    _check_kind(header)
    check_layout(header)
    _check_image_type(header)
    _check_capture(header)
    _check_view(header)
    processing = _for_processing(header)
    side, view = _side_and_view(header)
    spacing, rule = checked_spacing(header, *_spacing(header))
    age, bare = read_age(header)
    study, accession = text(header, "StudyInstanceUID"), text(header, "AccessionNumber")
    patient_id = text(header, "PatientID")
    shared = names_nobody(patient_id)
    birth, taken = read_date(header, "PatientBirthDate"), study_date(header)
    date = taken.date().isoformat() if taken else ""
    return Header(
        spacing_mm=spacing,
        spacing_rule=rule,
        laterality=side,
        view=view,
        patient_id=told_apart(header, patient_id) if shared else patient_id,
        age=age,
        turn=turn_upright(header, side),
        uid=text(header, "SOPInstanceUID"),
        sources=tuple(text(item, "ReferencedSOPInstanceUID") for item in items(header, "SourceImageSequence")),
        study=study,
        accession=accession,
        exam=exam_name(accession, date, study),
        study_date=date,
        birth_date=f"{birth:%Y%m%d}" if birth else "",
        processing=processing,
        rank=_rank(header, processing),
        shared_id=shared,
        age_without_unit=bare,
    )


def _rank(header: pydicom.Dataset, processing: bool) -> int:
    """Return the rank of an image among those of its exposure; see `Header`."""
    derived = "DERIVED" in [t.upper() for t in texts(header, "ImageType")[:1]]
    stated = bool(text(header, "DerivationDescription") or items(header, "DerivationCodeSequence"))
    lossy = word(header, "LossyImageCompression") == "01"
    return 16 * processing + 8 * (_sop_class(header) in SECONDARY_CAPTURE_CLASSES) + 4 * derived + 2 * stated + lossy


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
    breast = _is_breast(header)
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
    described = [text(header, keyword) for keyword in KINDS]
    if any(map(names_synthetic, described)):
        raise Skip("synthetic", "a description names synthetic views")
    if any(map(names_tomosynthesis, described)):
        raise Skip("multi_frame", "a description names a part of a tomosynthesis acquisition")
    if re.search(r"\bCROPPED\b", word(header, "SeriesDescription")):
        raise Skip("partial_view", "the series description names cropped images")


def _check_capture(header: pydicom.Dataset) -> None:
    """Raise `Skip` for screen shots, text cards, reports, and images with marks or text burned in.

    Digitised films are secondary captures as well; they pass unless the header says that something was burned in.
    """
    if word(header, "BurnedInAnnotation") == "YES":
        raise Skip("secondary_capture", "the header says that annotations are burned in")
    kinds, conversion = [t.upper() for t in texts(header, "ImageType")], word(header, "ConversionType")
    if "SECONDARY" in kinds[:2] and conversion not in FILM_CONVERSIONS:
        raise Skip("secondary_capture", "the image type is SECONDARY")
    if conversion in CAPTURE_CONVERSIONS:
        raise Skip("secondary_capture", f"the conversion type is {conversion}")
    described = [text(header, keyword) for keyword in KINDS]
    if any(map(names_capture, [*described, " ".join(kinds).replace("_", " ")])):
        raise Skip("secondary_capture", "a description names screen shots, annotations or reports")


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


def _is_breast(header: pydicom.Dataset) -> bool:
    """Return whether body part, anatomic region or view code says that the breast was imaged."""
    part = plain(text(header, "BodyPartExamined"))
    if BREAST_WORDS.search(part) or word(header, "OrganExposed") == "BREAST":
        return True
    regions = items(header, "AnatomicRegionSequence")
    if any(text(r, "CodeValue") in BREAST_CODES or BREAST_WORDS.search(plain(text(r, "CodeMeaning"))) for r in regions):
        return True
    views = {text(item, "CodeValue") for item in items(header, "ViewCodeSequence")}
    mammographic = views & VIEW_CODES.keys() or word(header, "PositionerType") == "MAMMOGRAPHIC"
    return bool(mammographic) and not regions and not OTHER_PARTS.search(part)


def _side_and_view(header: pydicom.Dataset) -> tuple[str, str]:
    """Return side and view; empty if not stated.

    Tags and codes must agree with each other. What they leave open is taken from descriptions and PatientOrientation,
    which must agree with each other, and descriptions also with the tags.
    """
    stated = [plain(text(header, k)) for k in ("ImageLaterality", "Laterality")]
    if "B" in stated:
        raise Skip("other_view", "the image shows both breasts")
    sides = [SIDES.get(s, "") for s in stated]
    for region in items(header, "AnatomicRegionSequence"):
        for item in items(region, "AnatomicRegionModifierSequence"):
            sides.append(SIDE_CODES.get(text(item, "CodeValue"), ""))
    views = [VIEW_CODES.get(text(item, "CodeValue"), "") for item in items(header, "ViewCodeSequence")]
    more_sides, more_views = _view_position(header)
    side, view = agree("side", [*sides, *more_sides]), agree("view", [*views, *more_views])
    described = _descriptions(header)
    _check_descriptions(described, side, view)
    oriented = _orientation([t.upper() for t in texts(header, "PatientOrientation")])
    if not (side and view):
        told = [("".join(d.sides) if len(d.sides) == 1 else "", "".join(d.views) if len(d.views) == 1 else "")
                for d in described]  # fmt: skip
        told_side = agree("side", [side, *(t[0] for t in told), "" if side else oriented[0]])
        told_view = agree("view", [view, *(t[1] for t in told), "" if view else oriented[1]])
        side, view = side or told_side, view or told_view
    return side, view


def _descriptions(header: pydicom.Dataset) -> list[Words]:
    """Return what the free texts of a header state: `DESCRIPTIONS`, and meanings of unknown codes."""
    found = [text(header, keyword) for keyword in DESCRIPTIONS]
    found += [t for t in texts(header, "ImageType")[2:] if t.upper() in ("LEFT", "RIGHT")]
    for item in items(header, "ViewCodeSequence"):
        if text(item, "CodeValue") not in VIEW_CODES:
            found.append(text(item, "CodeMeaning"))
    for region in items(header, "AnatomicRegionSequence"):
        for item in (region, *items(region, "AnatomicRegionModifierSequence")):
            found.append(text(item, "CodeMeaning"))
    return [read_text(t) for t in found if t]


def _check_descriptions(described: list[Words], side: str, view: str) -> None:
    """Raise `Skip` if a text that describes this image names an unsuitable kind of view.

    A text describes this image if it names its side and view. If no tag states the view, any text counts.
    """
    for words in described:
        names_it = words.sides == {side} and words.views == {view}
        if words.codes and (not view or (names_it and words.codes != {"other_view"})):
            raise Skip(sorted(words.codes)[0], "a description says so")


def _view_position(header: pydicom.Dataset) -> tuple[set[str], set[str]]:
    """Return the sides and views in ViewPosition, which may be `CC`, `L MLO`, `RCC` or free text."""
    position = word(header, "ViewPosition")
    words = read_text(position)
    if words.codes:
        raise Skip(sorted(words.codes)[0], "the view position says so")
    if position and (words.others or not words.views | words.sides):
        shown = position if position.isalpha() and len(position) <= 5 else "not a known view"
        raise Skip("other_view", f"the view position is {shown}")
    return words.sides, words.views


_OPPOSITE = dict(zip("APHFLR", "PAFHRL", strict=True))


def _orientation(directions: list[str]) -> tuple[str, str]:
    """Return side and view from PatientOrientation, [direction of the rows, direction of the columns].

    Rows towards anterior (A) and columns towards the right (R) mean a left breast with its lateral side up; P and L
    mean a right breast. Columns that also point to the feet (F) mean MLO; so does an image that shows this after a
    rotation. A rotated CC view cannot be told from one of the other breast. Film archives store the view itself here.
    """
    if len(directions) == 1 and directions[0] in ("CC", "MLO"):
        return "", directions[0]
    if len(directions) != 2 or set("".join(directions)) - set(_OPPOSITE):
        return "", ""
    if set("".join(directions)) & set("FH"):
        for _ in range(4):
            if directions[0] in ("A", "P") and "F" in directions[1]:
                break
            directions = ["".join(map(_OPPOSITE.get, directions[1])), directions[0]]  # rotated by 90 degrees
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
