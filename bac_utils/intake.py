"""One file to one `Mammogram`, or a stated reason why not.

DICOM as vendors write it (uncompressed, deflated, RLE and the JPEG family), PNG and TIFF. Whatever cannot be
used ends in `Skip` with a code from `REASONS`, never in another exception. Messages quote nothing identifying.
"""

import re
import warnings
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

REASONS = (
    "not_found",  # no such file
    "not_an_image",  # neither DICOM nor PNG nor TIFF
    "unreadable",  # broken header or pixel data
    "truncated",  # the file ends too early
    "too_large",  # more pixels or bytes than MAX_PIXELS, MAX_BYTES
    "not_mammography",  # DICOM of another kind
    "multi_frame",  # tomosynthesis, or several images in a file
    "colour",  # colour pixels
    "localiser",  # localiser, scout or biopsy image
    "specimen",  # tissue specimen
    "spot_or_magnification",  # not the whole breast
    "implant",  # breast implant, or implant displaced
    "other_view",  # a view other than CC and MLO
    "conflict",  # two statements of the side or of the view contradict each other
    "no_breast",  # no breast found on the pixels
)

MAX_PIXELS = 64_000_000
"""Largest rows x columns that is decoded; the largest mammograms have about 30 million pixels."""
MAX_BYTES = 1 << 30
"""Largest file that is read, and largest data set that a deflated one may unfold to."""

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
MAMMOGRAPHY_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.2", FOR_PROCESSING)
TOMOSYNTHESIS_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.13.1.{n}" for n in (3, 4, 5))
# Code values, SNOMED CT and the older SRT (DICOM PS3.16, CID 4014, 4015, 244).
VIEW_CODES = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}
SIDE_CODES = {"7771000": "L", "G-A101": "L", "24028007": "R", "G-A100": "R"}
REFUSED_CODES = {
    "127457009": "specimen", "G-8310": "specimen",
    "399163009": "spot_or_magnification", "R-102D6": "spot_or_magnification",
    "399055006": "spot_or_magnification", "R-102D7": "spot_or_magnification",
    "399209000": "implant", "R-102D5": "implant",
    **dict.fromkeys((  # ML, LM, LMO, XCCL, XCCM, SIO, ISO, FB; cleavage, tangential, axillary tail
        "399260004", "R-10224", "399352003", "R-10228", "399099002", "R-10230", "399192008", "R-1024A",
        "399101009", "R-1024B", "399188001", "R-102D0", "441555000", "R-40AAA", "399196006", "R-10244",
        "399161006", "R-102D2", "399110001", "R-102C2", "399011000", "R-102D1"), "other_view"),
}  # fmt: skip
REFUSED_IMAGE_TYPES = {"LOCALIZER": "localiser", "SCOUT": "localiser", "STEREO": "localiser",
                       "BIOPSY": "localiser", "SPECIMEN": "specimen"}  # fmt: skip


class Skip(ValueError):
    """A file that is left out, with its reason.

    Attributes:
        code: One of `REASONS`.
        message: What was found, in words.
    """

    def __init__(self, code: str, message: str):
        """Store code and message."""
        if code not in REASONS:
            raise ValueError(f"code: got {code!r}, must be one of {', '.join(REASONS)}")
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        """Return `code: message`."""
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class Mammogram:
    """One view.

    Attributes:
        pixels: float32 (rows, columns) in display polarity: higher is denser, calcium is bright. Padding has
            the darkest value.
        spacing_mm: Row and column spacing at the breast, mm, or None where nothing states it.
        spacing_rule: Where the spacing comes from: `calibrated_pixel_spacing`, `imager_over_magnification`,
            `imager_over_distances`, `imager`, `pixel_spacing`, `scanned_pixel_spacing`, `given`, or empty.
        laterality: `L`, `R`, or empty where nothing states it.
        view: `CC`, `MLO`, or empty where nothing states it.
        patient_id: As in the file, empty if it has none.
        age: Years, or None.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None = None
    spacing_rule: str = ""
    laterality: str = ""
    view: str = ""
    patient_id: str = ""
    age: float | None = None


def read_mammogram(
    path: str | Path,
    *,
    laterality: str | None = None,
    view: str | None = None,
    pixel_spacing_mm: float | None = None,
    apply_voi: bool = True,
) -> Mammogram:
    """Read one mammogram.

    Args:
        path: A DICOM, PNG or TIFF file.
        laterality: `L` or `R` as the views table states it; None: from the file (for PNG and TIFF its name).
        view: `CC` or `MLO` as the views table states it; None: likewise.
        pixel_spacing_mm: Row and column spacing, mm, for files that state none.
        apply_voi: Apply the VOI LUT or window that a DICOM file carries.

    Returns:
        The view. For-Presentation images go through rescale, VOI and polarity; For-Processing images through
        rescale, a logarithm where their values are linear in the beam's intensity (so that they follow the
        thickness of tissue), and polarity.

    Raises:
        ValueError: An argument is out of its values.
        Skip: The file cannot be used; see `REASONS`.
    """
    for name, value, allowed in (("laterality", laterality, ("L", "R")), ("view", view, ("CC", "MLO"))):
        if value is not None and value not in allowed:
            raise ValueError(f"{name}: got {value!r}, must be {' or '.join(allowed)}, or None")
    if pixel_spacing_mm is not None and not 0 < pixel_spacing_mm < np.inf:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm!r}, must be above 0")
    path = Path(path)
    if not path.is_file():
        raise Skip("not_found", "no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise Skip("unreadable", f"the file cannot be opened ({type(error).__name__})") from error
    if size > MAX_BYTES:
        raise Skip("too_large", f"{size} bytes, the limit is {MAX_BYTES}")
    # pydicom and Pillow warn about each odd value and quote it; what matters of it becomes a reason.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if head[128:] == b"DICM" or head[:2] in (b"\x02\0", b"\x08\0", b"\0\x08"):
            found = _read_dicom(path, apply_voi)
        elif head[:8] == b"\x89PNG\r\n\x1a\n" or head[:4] in (b"II*\0", b"MM\0*"):
            found = _read_picture(path)
        else:
            raise Skip("not_an_image", "neither DICOM nor PNG nor TIFF" if size else "the file is empty")
    spacing, rule = found.spacing_mm, found.spacing_rule
    if spacing is None and pixel_spacing_mm is not None:
        spacing, rule = (float(pixel_spacing_mm),) * 2, "given"
    return Mammogram(
        pixels=found.pixels,
        spacing_mm=spacing,
        spacing_rule=rule,
        laterality=_agree("side", [laterality or "", found.laterality]),
        view=_agree("view", [view or "", found.view]),
        patient_id=found.patient_id,
        age=found.age,
    )


def _agree(what: str, statements: list[str]) -> str:
    """Return what the non-empty statements say; a contradiction is never settled silently."""
    stated = sorted({s for s in statements if s})
    if len(stated) > 1:
        raise Skip("conflict", f"the {what} is stated as {' and as '.join(stated)}")
    return stated[0] if stated else ""


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        raise Skip("too_large", f"{rows} x {columns} pixels, the limit is {MAX_PIXELS}")


def _read_picture(path: Path) -> Mammogram:
    """Read a PNG or TIFF; side and view from words of the file's name, such as `0012_LEFT_CC` or `a-RMLO`."""
    try:
        with Image.open(path, formats=("PNG", "TIFF")) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise Skip("multi_frame", f"{image.n_frames} images in one file")
            _check_size(image.height, image.width)
            # Pillow turns white-is-zero pictures round at 8 bits only.
            inverted = image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(262) == 0
            pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA", "CMYK", "YCbCr") else image)
    except Skip:
        raise
    except Image.DecompressionBombError as error:
        raise Skip("too_large", f"the limit is {MAX_PIXELS} pixels") from error
    except Exception as error:
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise Skip(code, f"the picture cannot be decoded ({type(error).__name__})") from error
    if pixels.ndim == 3:  # grey or RGB, perhaps with an opacity channel
        colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1]
        if (colours != colours[..., :1]).any():
            raise Skip("colour", "the picture has colours")
        pixels = colours[..., 0]
    pixels = pixels.astype(np.float32)
    if inverted:
        pixels = pixels.min() + pixels.max() - pixels
    words = re.split(r"[^A-Z]+", path.stem.upper())
    named = [m.groups("") for m in map(re.compile("(L|R|LEFT|RIGHT)?(CC|MLO)?").fullmatch, words) if m]
    side, view = ({n[i] for n in named if n[i]} for i in (0, 1))
    side = {n[0] for n in side}
    return Mammogram(pixels, laterality=_only(side), view=_only(view))


def _only(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ""


def _read_dicom(path: Path, apply_voi: bool) -> Mammogram:
    try:
        _check_deflated(path)
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Skip:
        raise
    except Exception as error:
        raise Skip("unreadable", f"the DICOM header is broken ({type(error).__name__})") from error
    _check_kind(header)
    side, view = _side_and_view(header)
    spacing, rule = _spacing(header)
    return Mammogram(
        pixels=_display(_decode(path), header, apply_voi),
        spacing_mm=spacing,
        spacing_rule=rule,
        laterality=side,
        view=view,
        patient_id=_text(header, "PatientID"),
        age=_age(header),
    )


def _check_deflated(path: Path) -> None:
    """Refuse a deflated file that unfolds beyond the limit, before pydicom unfolds it in one piece."""
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(1024):
            return
        file.seek(144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength)
        unfolder, data, size = zlib.decompressobj(-zlib.MAX_WBITS), file.read(), 0
    while data:
        size += len(unfolder.decompress(data, 1 << 20))
        data = unfolder.unconsumed_tail
        if size > MAX_BYTES:
            raise Skip("too_large", f"the deflated data set exceeds {MAX_BYTES} bytes")


def _value(dataset: pydicom.Dataset, keyword: str) -> Any:
    """Return an element's value; one that cannot be read counts as absent."""
    try:
        return dataset.get(keyword)
    except Exception:
        return None


def _texts(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    value = _value(dataset, keyword)
    values = value if isinstance(value, pydicom.multival.MultiValue | list) else [value]
    return [str(v).strip() for v in values if v is not None]


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    return next(iter(_texts(dataset, keyword)), "")


def _numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    try:
        numbers = [float(t) for t in _texts(dataset, keyword)]
    except ValueError:
        return []
    return numbers if np.isfinite(numbers).all() else []


def _items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    value = _value(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _check_kind(header: pydicom.Dataset) -> None:
    """Raise `Skip` for what is not one whole grey mammogram."""
    meta = getattr(header, "file_meta", None) or pydicom.Dataset()
    sop_class = _text(header, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")
    modality = _text(header, "Modality").upper()
    size = [_numbers(header, k)[:1] for k in ("Rows", "Columns")]
    if not (sop_class or modality or all(size)):
        raise Skip("truncated", "the header ends before it says what the file holds")
    if sop_class in TOMOSYNTHESIS_CLASSES:
        raise Skip("multi_frame", "breast tomosynthesis")
    breast = _text(header, "BodyPartExamined").upper() == "BREAST"
    if not (
        modality == "MG"
        or (modality == "" and sop_class in MAMMOGRAPHY_CLASSES)
        or (modality in ("", "CR", "DX", "OT") and breast)
    ):
        raise Skip("not_mammography", "neither the modality nor the class is mammography")
    if (_numbers(header, "NumberOfFrames") or [1])[0] > 1:
        raise Skip("multi_frame", "several frames in one file")
    if not all(size):
        raise Skip("truncated", "the header states no matrix size")
    _check_size(int(size[0][0]), int(size[1][0]))
    photometric = _text(header, "PhotometricInterpretation")
    if (_numbers(header, "SamplesPerPixel") or [1])[0] != 1:
        raise Skip("colour", "several samples a pixel")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        code = "colour" if photometric else "unreadable"
        raise Skip(code, "the photometric interpretation is neither MONOCHROME1 nor MONOCHROME2")
    for image_type in _texts(header, "ImageType"):
        for word, code in REFUSED_IMAGE_TYPES.items():
            if word in image_type.upper():
                raise Skip(code, f"the image type names {word}")
    if _text(header, "BreastImplantPresent").upper() == "YES":
        raise Skip("implant", "a breast implant is present")
    views = _items(header, "ViewCodeSequence")
    for item in [*views, *(m for d in (header, *views) for m in _items(d, "ViewModifierCodeSequence"))]:
        if _text(item, "CodeValue") in REFUSED_CODES:
            raise Skip(REFUSED_CODES[_text(item, "CodeValue")], f"view code {_text(item, 'CodeValue')}")


def _side_and_view(header: pydicom.Dataset) -> tuple[str, str]:
    """Return side and view from tags and codes, else from PatientOrientation; empty where nothing is stated.

    PatientOrientation is [direction of the rows, of the columns]: A and R mean a left breast with its lateral
    side up, P and L a right one; a column direction towards the feet as well is the oblique view. Film
    archives write the view itself there.
    """
    sides = [_text(header, k).upper() for k in ("ImageLaterality", "Laterality")]
    for region in _items(header, "AnatomicRegionSequence"):
        for item in _items(region, "AnatomicRegionModifierSequence"):
            sides.append(SIDE_CODES.get(_text(item, "CodeValue"), ""))
    position = _text(header, "ViewPosition").upper()
    if position not in ("", "CC", "MLO"):
        shown = position if position.isalpha() and len(position) <= 5 else "not a known view"
        raise Skip("other_view", f"the view position is {shown}")
    views = [VIEW_CODES.get(_text(item, "CodeValue"), "") for item in _items(header, "ViewCodeSequence")]
    side = _agree("side", [s for s in sides if s in ("L", "R")])
    view = _agree("view", [position, *views])
    orientation = [t.upper() for t in _texts(header, "PatientOrientation")]
    if len(orientation) == 1 and orientation[0] in ("CC", "MLO"):
        view = view or orientation[0]
    elif len(orientation) == 2:
        row, column = orientation[0][:1], "".join(sorted(orientation[1]))
        side = side or {"A": "L" if "R" in column else "", "P": "R" if "L" in column else ""}.get(row, "")
        view = view or {"L": "CC", "R": "CC", "FL": "MLO", "FR": "MLO"}.get(column, "")
    return side, view


def _spacing(header: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """Return (row, column) spacing in mm and the rule that gave it; see `Mammogram.spacing_rule`.

    A calibrated PixelSpacing comes first (stated so, or unlike ImagerPixelSpacing: DICOM PS3.3, 10.7.1.3),
    then ImagerPixelSpacing over the magnification: the estimated factor, else detector over patient distance.
    """
    pixel, imager, scanned = (
        tuple(n) if len(n := _numbers(header, k)) == 2 and all(0 < v < 10 for v in n) else None
        for k in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    calibrated = _text(header, "PixelSpacingCalibrationType").upper() in ("GEOMETRY", "FIDUCIAL")
    if pixel and (calibrated or (imager and pixel != imager)):
        return pixel, "calibrated_pixel_spacing"
    if imager:
        factor = (_numbers(header, "EstimatedRadiographicMagnificationFactor") or [0.0])[0]
        detector, patient = (
            (_numbers(header, k) or [0.0])[0] for k in ("DistanceSourceToDetector", "DistanceSourceToPatient")
        )
        distances = detector / patient if patient > 0 else 0.0
        for value, rule in ((factor, "imager_over_magnification"), (distances, "imager_over_distances")):
            if 1 <= value <= 3:
                return (imager[0] / value, imager[1] / value), rule
        return imager, "imager"
    if pixel:
        return pixel, "pixel_spacing"
    return (scanned, "scanned_pixel_spacing") if scanned else (None, "")


def _age(header: pydicom.Dataset) -> float | None:
    """Return the age in years from PatientAge (such as `059Y`), else from birth and study date, else None."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", _text(header, "PatientAge").upper())
    if match:
        age = int(match[1]) / {"Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}[match[2]]
        return age if age <= 120 else None
    try:
        birth, study = (datetime.strptime(_text(header, k), "%Y%m%d") for k in ("PatientBirthDate", "StudyDate"))
    except ValueError:
        return None
    age = study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))
    return float(age) if 0 <= age <= 120 else None


def _decode(path: Path) -> np.ndarray:
    """Return the stored values (rows, columns)."""
    try:
        dataset = pydicom.dcmread(path, force=True)
        data = dataset.get("PixelData")
        if data is None:
            raise Skip("truncated", "the file ends before or within its pixel data")
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax is None:  # files without a meta header: what pydicom took them for
            implicit, little = dataset.original_encoding
            syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = syntax if little else ExplicitVRBigEndian
        if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
            if len(data) < dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8:
                raise Skip("truncated", f"{len(data)} bytes of pixel data are too few")
        elif syntax != RLELossless and b"\xff\xd9" not in data[-32:]:
            raise Skip("truncated", "the compressed pixels have no end marker")
        values = pixel_array(dataset, raw=True)
    except (Skip, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a decoder in Rust panics past Exception
        raise Skip("unreadable", f"the pixels cannot be decoded ({type(error).__name__})") from error
    if values.shape != (dataset.Rows, dataset.Columns):
        raise Skip("unreadable", f"the pixels have the shape {values.shape}")
    return values


def _display(values: np.ndarray, header: pydicom.Dataset, apply_voi: bool) -> np.ndarray:
    """Return stored values as float32 in display polarity; see `read_mammogram`."""
    padding = np.zeros(values.shape, bool)
    limits = _numbers(header, "PixelPaddingValue")[:1] + _numbers(header, "PixelPaddingRangeLimit")[:1]
    if limits:
        padding = (values >= min(limits)) & (values <= max(limits))
        padding &= not padding.all()
    little = header.original_encoding[1] is not False
    signed = _numbers(header, "PixelRepresentation") == [1]
    tables = [_lookup_table(i, little, signed) for i in _items(header, "ModalityLUTSequence")[:1]]
    slope, intercept = _numbers(header, "RescaleSlope"), _numbers(header, "RescaleIntercept")
    if any(tables):
        values = _look_up(values, *tables[0])
    elif slope and intercept and slope[0] != 0 and (slope[0], intercept[0]) != (1, 0):
        values = values.astype(np.float32) * np.float32(slope[0]) + np.float32(intercept[0])
    dense_is_high = _text(header, "PhotometricInterpretation") == "MONOCHROME2"
    intent = _text(header, "PresentationIntentType").upper()
    if _text(header, "SOPClassUID") == FOR_PROCESSING or intent == "FOR PROCESSING":
        sign = _numbers(header, "PixelIntensityRelationshipSign")
        dense_is_high = sign == [-1] if sign in ([1], [-1]) else dense_is_high
        if not dense_is_high and _text(header, "PixelIntensityRelationship").upper() in ("", "LIN"):
            values = np.log(np.maximum(values, 1).astype(np.float32))
    elif apply_voi:
        tables = [_lookup_table(i, little, signed) for i in _items(header, "VOILUTSequence")[:1]]
        values = _look_up(values, *tables[0]) if any(tables) else _window(values, header)
    values = values.astype(np.float32)
    valid = values[~padding] if padding.any() else values
    low, high = valid.min(), valid.max()
    if not dense_is_high:
        values = low + high - values
    values[padding] = low
    return values


def _lookup_table(item: pydicom.Dataset, little: bool, signed: bool) -> tuple[np.ndarray, int] | None:
    """Return a LUT item's values and first mapped value (DICOM PS3.3, C.11.1.1), None if it is incomplete."""
    descriptor, data = _numbers(item, "LUTDescriptor"), _value(item, "LUTData")
    if len(descriptor) != 3 or not data:
        return None
    number, first = int(descriptor[0]) or 1 << 16, int(descriptor[1])
    if isinstance(data, bytes):
        wide = len(data) >= 2 * number
        data = np.frombuffer(data[: len(data) // 2 * 2], ("<u2" if little else ">u2") if wide else np.uint8)
    table = np.asarray(data, np.float32)[:number]
    return table, first - (1 << 16) if signed and first > 32767 else first


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _window(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Apply the first window (DICOM PS3.3, C.11.2.1) onto [0, 2^BitsStored - 1]; leave out an invalid one."""
    centre, width = _numbers(header, "WindowCenter")[:1], _numbers(header, "WindowWidth")[:1]
    function = _text(header, "VOILUTFunction").upper() or "LINEAR"
    if not centre or not width or width[0] < 1e-6 or (function == "LINEAR" and width[0] < 1):
        return values
    offset = values.astype(np.float32) - np.float32(centre[0])
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * offset / width[0], -80, 80)))
    elif function == "LINEAR":
        shares = np.clip((offset + 0.5) / max(width[0] - 1, 1e-6) + 0.5, 0, 1)
    else:  # LINEAR_EXACT
        shares = np.clip(offset / width[0] + 0.5, 0, 1)
    return shares * np.float32(2 ** int((_numbers(header, "BitsStored") or [16])[0]) - 1)
