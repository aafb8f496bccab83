"""DICOM results: the calcified arteries as a Segmentation, their measurements as a report (TID 1500), and a picture.

The picture is a Secondary Capture with outline and measurements drawn in. All three belong to the study of the image
that was measured, and refer to it. A mammogram is a projection without a frame of reference, and so is its
Segmentation: its pixels correspond to those of the image named in its Derivation Image macro (DICOM PS3.3, A.51). Only
`CARRIED`, the elements that the results require, is copied from the source's header.

highdicom takes one to two seconds to load, so import this module where it is used.
"""

import os
import re
import unicodedata
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom import sc, seg, sr
from pydicom import Dataset, config
from pydicom.charset import STAND_ALONE_ENCODINGS, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.sr.coding import Code
from pydicom.valuerep import DA, PN_DELIMS, TEXT_VR_DELIMS, TM, validate_value

from bac_utils import __version__
from bac_utils._files import written_whole
from bac_utils.intake.dicom_file import is_dicom, number, read_header, text, texts
from bac_utils.intake.dicom_header import MAMMOGRAPHY_CLASSES, OTHER_CLASSES
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import quiet, read_mammogram
from bac_utils.scoring.overlay import draw_overlay

# Each code with the context group in DICOM PS3.16 (2024) that lists it.
VASCULAR_CALCIFICATION = Code("129759000", "SCT", "Vascular calcification")  # CID 6010, of mammography
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150, categories of segments
BREAST = Code("76752008", "SCT", "Breast")  # CID 4013, anatomic regions for mammography
ARTERY = Code("51114001", "SCT", "Artery")  # CID 7166, tissue segmentation property types
SIDES = {"L": Code("7771000", "SCT", "Left"), "R": Code("24028007", "SCT", "Right")}  # CID 244
MAMMOGRAPHY = Code("71651007", "SCT", "Mammography")  # CID 6058, breast procedures
FAMILY = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162, algorithm families
DEVICE = Code("121007", "DCM", "Device")  # CID 270, observer types
MEAN = Code("373098007", "SCT", "Mean")  # CID 7464, measurement modifiers
DERIVED_FROM = Code("121322", "DCM", "Source image for image processing operation")  # CID 7202, purposes of reference

MILLIMETRE, SQUARE_MILLIMETRE = Code("mm", "UCUM", "mm"), Code("mm2", "UCUM", "square millimeter")
PERCENT = Code("%", "UCUM", "Percent")
MEASUREMENTS = {
    "bac_length_mm": (Code("410668003", "SCT", "Length"), MILLIMETRE, 1, None),  # CID 7470
    "bac_width_mm": (Code("103355008", "SCT", "Width"), MILLIMETRE, 1, MEAN),  # CID 7470
    "bac_area_mm2": (Code("42798000", "SCT", "Area"), SQUARE_MILLIMETRE, 1, None),  # CID 7471
    "score": (
        Code("111012", "DCM", "Certainty of Finding"),
        PERCENT,
        100,
        None,
    ),  # CID 6048
}
"""Measurements of a report, by column of the scores: concept, unit, factor to that unit, derivation."""

REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
PERSON = ("PatientID", "PatientName")
CARRIED = (
    *REQUIRED, *PERSON, "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip
"""Elements copied from the source: its identifiers, and types 1 and 2 of the patient and study modules."""

NAME = "bac-utils"
_DEVICE = "2.25.213153159287464948460772354181763844073"  # UID of this software as an observer


class ExportError(ValueError):
    """No DICOM result can be made from a source; the message quotes nothing that identifies a person."""


def write_dicom(
    source: str | os.PathLike,
    mask: np.ndarray,
    measures: Mapping[str, float | None],
    folder: str | os.PathLike,
    name: str,
    laterality: str = "",
    origin: Mapping[str, object] | None = None,
) -> tuple[Path, Path, Path]:
    """Write Segmentation, report and picture of one view: either all three or none.

    Args:
        source: The DICOM file that was measured.
        mask: The calcified arteries, bool (Rows, Columns) of the source (`preprocess.mask_to_original`).
        measures: Values by the names in `MEASUREMENTS`: mm, mm2, the score in [0, 1]. None: not known, not reported.
        folder: Folder for `NAME.seg.dcm`, `NAME.sr.dcm` and `NAME.sc.dcm`; existing files are replaced.
        name: Stem of the file names. Do not take it from the header, which may identify the patient or contain a path.
        laterality: `L`, `R` or empty.
        origin: Describes the method, such as the model's digest and Th; written as the algorithm's parameters.

    Returns:
        The paths of Segmentation, report and picture.

    Raises:
        ExportError: The source is not a DICOM image to which results can refer.
        ValueError: An argument has a value that is not allowed.
        OSError: The files cannot be written.
    """
    with quiet():
        reference = read_reference(source)
        outline = segmentation(reference, mask, laterality, origin)
        document = report(reference, outline, measures, laterality, origin)
        objects = outline, document, picture(reference, _displayed(source), mask, measures, laterality, origin)
        paths = tuple(Path(folder) / f"{name}.{kind}.dcm" for kind in ("seg", "sr", "sc"))
        with ExitStack() as stack:
            parts = [stack.enter_context(written_whole(path)) for path in paths]
            for made, part in zip(objects, parts, strict=True):
                made.save_as(part, enforce_file_format=True)
    return paths


def read_reference(source: str | os.PathLike) -> Dataset:
    """Read the elements that the results copy from their source.

    Invalid values of elements that may be empty, such as PatientSex `FEMALE`, become empty. Text is converted to UTF-8.
    Text whose character set is not stated, or not the one stated, is invalid: it would become another name.
    A frame of reference, which some vendors state without a plane, is not copied.

    Args:
        source: A DICOM file.

    Returns:
        `CARRIED`, PatientOrientation, Rows and Columns.

    Raises:
        ExportError: The file is not a DICOM file, or an identifier is missing or invalid.
    """
    with open(source, "rb") as file:
        if not is_dicom(file.read(132)):
            raise ExportError("the source is not a DICOM file")
    header, _ = read_header(Path(source))
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for keyword in CARRIED:
        readable = _is_readable(header, keyword)  # before the value is decoded
        value = text(header, keyword)
        if value and keyword in PERSON and not readable:
            raise ExportError(f"the character set of the source's {keyword} is not stated, or not the one stated")
        if not (value and readable and _is_valid(keyword, value)):
            if keyword in REQUIRED or (value and keyword in PERSON):
                raise ExportError(f"the source's {keyword} {'is not a valid DICOM value' if value else 'is missing'}")
            value = ""
        setattr(found, keyword, value)
    if found.SOPClassUID not in (*MAMMOGRAPHY_CLASSES, *OTHER_CLASSES):
        raise ExportError("the source's SOPClassUID is not that of a two-dimensional image")
    directions = texts(header, "PatientOrientation")
    found.PatientOrientation = directions if all(re.fullmatch("[ALRPHF]{1,3}", d) for d in directions) else []
    found.Rows, found.Columns = (int(number(header, keyword, 0)) for keyword in ("Rows", "Columns"))
    return found


def _is_valid(keyword: str, value: str) -> bool:
    """Return whether DICOM allows a value for an element."""
    try:
        vr = dictionary_VR(keyword)
        validate_value(vr, value, config.RAISE)
        if vr in ("DA", "TM"):
            {"DA": DA, "TM": TM}[vr](value)  # also rejects dates such as 30 February
    except ValueError:
        return False
    return keyword != "PatientSex" or value in ("M", "F", "O")


def _is_readable(header: Dataset, keyword: str) -> bool:
    """Return whether an element's bytes are text in the SpecificCharacterSet that the header states.

    Bytes of another encoding can often be decoded, but to other letters. They are recognised by what names do not
    contain: control characters and symbols, and by bytes that are UTF-8 although a set of single bytes is stated.
    """
    element = header.get_item(keyword)
    raw = element.value if isinstance(element, RawDataElement) else b""
    if not isinstance(raw, bytes) or (raw.isascii() and b"\x1b" not in raw):
        return True
    terms = [term.strip() for term in texts(header, "SpecificCharacterSet")] or [""]
    if terms == [""] or terms == ["ISO_IR 6"] or not set(terms) <= python_encoding.keys():
        return False
    encodings = [python_encoding[term] for term in terms]
    try:
        with config.strict_reading():
            decoded = decode_bytes(raw, encodings, PN_DELIMS if element.VR == "PN" else TEXT_VR_DELIMS)
    except (UnicodeError, LookupError):
        return False
    if any(unicodedata.category(c) == "Cc" and c not in "\t\n\f\r\0" for c in decoded):
        return False
    if b"\x1b" in raw or terms[0] in STAND_ALONE_ENCODINGS:
        return True
    letters = all(c.isascii() or c == "·" or unicodedata.category(c)[0] in "LMNZ" for c in decoded)
    return letters and not _is_utf8(raw)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeError:
        return False
    return True


def segmentation(
    reference: Dataset, mask: np.ndarray, laterality: str = "", origin: Mapping[str, object] | None = None
) -> seg.Segmentation:
    """Make a binary Segmentation with one segment on the source's pixel grid.

    Args:
        reference: The source (`read_reference`).
        mask: The calcified arteries, bool (Rows, Columns).
        laterality: `L`, `R` or empty.
        origin: As in `write_dicom`.

    Returns:
        The Segmentation, in a new series.

    Raises:
        ValueError: The mask is not bool, has another shape or is empty, or `laterality` is not an allowed value.
    """
    shape = (reference.Rows, reference.Columns)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(f"mask: got {mask.dtype} of shape {mask.shape}, must be bool of shape {shape}")
    if not mask.any():
        raise ValueError("mask: got no pixel, must have at least one")
    side = _side(laterality)
    segment = seg.SegmentDescription(
        segment_number=1,
        segment_label="Breast arterial calcification",
        segmented_property_category=ABNORMAL_STRUCTURE,
        segmented_property_type=VASCULAR_CALCIFICATION,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            NAME, FAMILY, __version__, parameters=_parameters(origin)
        ),
        tracking_uid=hd.UID(),
        tracking_id="BAC",
        anatomic_regions=[BREAST],
        primary_anatomic_structures=[ARTERY],
        display_color=hd.color.CIELabColor.from_rgb(255, 64, 64),
    )
    if side is not None:
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [sr.CodedConcept.from_code(side)]
    made = seg.Segmentation(
        [reference],
        mask.astype(np.uint8),
        "BINARY",
        [segment],
        content_label="BAC",
        content_description="Breast arterial calcification, for research",
        **_identity(9101, "BAC outline, for research", origin),
    )
    made.PatientOrientation = reference.PatientOrientation  # no plane states it
    return made


def report(
    reference: Dataset,
    outline: seg.Segmentation,
    measures: Mapping[str, float | None],
    laterality: str = "",
    origin: Mapping[str, object] | None = None,
) -> sr.ComprehensiveSR:
    """Make a measurement report (TID 1500) with one planar region (TID 1410): the segment of a Segmentation.

    Values are rounded to six significant digits, as in the table of scores. The report is flagged complete, preliminary
    and unverified.

    Args:
        reference: The source (`read_reference`).
        outline: The Segmentation.
        measures: As in `write_dicom`.
        laterality: `L`, `R` or empty.
        origin: As in `write_dicom`.

    Returns:
        The report, in a new series.

    Raises:
        ValueError: `measures` has an unknown name or no value, a value is negative or not finite, or `laterality` is
            not an allowed value.
    """
    segment = outline.SegmentSequence[0]
    image = sr.SourceImageForSegmentation(reference.SOPClassUID, reference.SOPInstanceUID)
    region = sr.ReferencedSegmentationFrame(outline.SOPClassUID, outline.SOPInstanceUID, 1, 1, image)
    del region[0].ReferencedSOPSequence[0].ReferencedFrameNumber  # not allowed with a segment number: PS3.3, C.17.3
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=region,
        finding_type=VASCULAR_CALCIFICATION,
        finding_sites=[sr.FindingSite(BREAST, laterality=_side(laterality))],
        algorithm_id=sr.AlgorithmIdentification(
            NAME, __version__, [f"{k}: {v}" for k, v in _parameters(origin).items()], FAMILY
        ),
        measurements=_measurements(measures),
    )
    observer = sr.DeviceObserverIdentifyingAttributes(_DEVICE, name=NAME, manufacturer_name=NAME, model_name="score")
    context = sr.ObservationContext(observer_device_context=sr.ObserverContext(DEVICE, observer))
    content = sr.MeasurementReport(context, MAMMOGRAPHY, [group])
    return sr.ComprehensiveSR(
        [reference, outline], content, is_complete=True, **_identity(9102, "BAC measurements, for research", origin)
    )


def picture(
    reference: Dataset,
    pixels: np.ndarray,
    mask: np.ndarray,
    measures: Mapping[str, float | None],
    laterality: str = "",
    origin: Mapping[str, object] | None = None,
) -> sc.SCImage:
    """Make a Secondary Capture of the view with outline and measurements drawn in (`overlay.draw_overlay`).

    It has no pixel spacing: distances are to be measured on the source. BurnedInAnnotation is YES, although the
    annotation does not identify anybody.

    Args:
        reference: The source (`read_reference`).
        pixels: The view as displayed, (Rows, Columns).
        mask: The calcified arteries, bool (Rows, Columns).
        measures: As in `write_dicom`.
        laterality: `L`, `R` or empty.
        origin: As in `write_dicom`.

    Returns:
        The picture in RGB, in a new series.

    Raises:
        ValueError: `mask` is not bool or differs in shape from the pixels, or `laterality` is not an allowed value.
    """
    person = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
    _side(laterality)
    study = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")
    made = sc.SCImage(
        draw_overlay(pixels, mask, measures),
        "RGB",
        8,
        "PATIENT",
        study_instance_uid=reference.StudyInstanceUID,
        patient_orientation=("A", "F"),  # replaced below, as it may be unknown
        **_identity(9103, "BAC picture, for research", origin),
    )
    for keyword in (*person, *study):
        setattr(made, keyword, reference[keyword].value)
    made.SpecificCharacterSet = reference.SpecificCharacterSet
    made.Laterality, made.PatientOrientation = laterality, reference.PatientOrientation
    made.BurnedInAnnotation = "YES"
    made.ConversionType = "WSD"  # workstation
    made.DerivationDescription = "BAC outline and measures drawn in, for research, not for diagnosis"
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = reference.SOPClassUID, reference.SOPInstanceUID
    source.PurposeOfReferenceCodeSequence = [sr.CodedConcept.from_code(DERIVED_FROM)]
    made.SourceImageSequence = [source]
    return made


def _displayed(source: str | os.PathLike) -> np.ndarray:
    """Return a source's pixels as displayed, (Rows, Columns); higher values are brighter."""
    try:
        return read_mammogram(source).pixels
    except Skip as skip:
        raise ExportError(f"the source's pixels cannot be displayed: {skip.code}") from None


def _measurements(measures: Mapping[str, float | None]) -> list[sr.Measurement]:
    unknown = sorted(set(measures) - set(MEASUREMENTS))
    if unknown:
        raise ValueError(f"measures: got {unknown[0]!r}, must be one of {', '.join(MEASUREMENTS)}")
    made = []
    for name, (concept, unit, factor, derivation) in MEASUREMENTS.items():
        value = measures.get(name)
        if value is None:
            continue
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"measures: got {value!r} for {name}, must be a finite number, 0 or more")
        made.append(sr.Measurement(concept, float(f"{factor * value:.6g}"), unit, derivation=derivation))
    if not made:
        raise ValueError(f"measures: got no value, must have at least one of {', '.join(MEASUREMENTS)}")
    return made


def _side(laterality: str) -> Code | None:
    if laterality not in ("L", "R", ""):
        raise ValueError(f"laterality: got {laterality!r}, must be L, R or empty")
    return SIDES.get(laterality)


def _parameters(origin: Mapping[str, object] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (origin or {}).items() if value is not None}


def _identity(series_number: int, description: str, origin: Mapping[str, object] | None) -> dict:
    """Return the identifiers of a new object; the model's digest serves as the device's serial number."""
    return {
        "series_instance_uid": hd.UID(),
        "series_number": series_number,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": NAME,
        "manufacturer_model_name": "score",
        "software_versions": __version__,
        "device_serial_number": str((origin or {}).get("model_sha256", "unknown"))[:16],
        "series_description": description,
    }
