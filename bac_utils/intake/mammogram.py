"""What reading a file ends in: a `Mammogram`, or a `Skip` with a reason from a closed list. Also the size limits."""

import errno
import re
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

REASONS = MappingProxyType(
    {
        "not_found": "there is no such file",
        "not_read": "could not be opened or read, or not in time; tried again by the next call",
        "not_an_image": "the file is neither DICOM nor PNG, TIFF or JPEG, or is empty",
        "unreadable": "header or pixels are broken or in an unknown encoding",
        "truncated": "the file or its pixel data end too early",
        "too_large": "more bytes or pixels, stored or declared, than the limits allow",
        "not_mammography": "another modality or kind of object, a quality-control image, or a mask",
        "multi_frame": "tomosynthesis (volume, slice or projection), or several images in one file",
        "synthetic": "an image computed from tomosynthesis or from a contrast study",
        "colour": "a colour image",
        "secondary_capture": "a screen shot, print or text card, or an image with marks or text burned in",
        "localiser": "a localiser, scout or biopsy image",
        "specimen": "a tissue specimen",
        "spot_or_magnification": "a spot compression or a magnification view",
        "implant": "a breast implant is present or displaced",
        "partial_view": "part of a breast: one of several images of a large breast, or a crop",
        "other_view": "a view other than CC and MLO, or both breasts in one image",
        "conflict": "contradictory header values for side, view, presentation intent or pixel format",
        "unknown_side": "the side is not stated, and the task needs it",
        "unknown_view": "the view is not stated, and the task needs it",
        "no_breast": "no breast was found in the image",
        "coarse_pixels": "a reduced copy: its pixels are more than 3 times as large as those of the network",
        "rotated": "the chest wall is at the upper or lower edge or, for a turned image, not where the header puts it",
        "duplicate": "the same SOP instance with the same pixels was read before",
    }
)
"""Every reason for skipping a file: code and meaning. The list is closed; `Skip` accepts no other code."""
PASSING = frozenset({"not_found", "not_read"})
"""Reasons that may pass without a change of the file, such as a drive that was not mounted."""

MAX_PIXELS = 64_000_000
"""Largest number of pixels (rows x columns) that is decoded; the largest mammograms have about 30 million."""
MAX_BYTES = 1 << 28
"""Largest file that is decoded, and largest size of an inflated data set, bytes: twice the size of `MAX_PIXELS` pixels
of 16 bits."""


class Skip(ValueError):
    """A file is skipped; code and message say why.

    Attributes:
        code: A key of `REASONS`.
        message: What was found, in words, without anything that identifies a person.
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


def may_pass(error: BaseException) -> bool:
    """Return whether an error is one of the system, such as a drive that was not mounted, and not of the content.

    Libraries raise OSError about the content too, but without a number, or with that of an impossible position.
    """
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file states about its view, without the pixels.

    Attributes:
        spacing_mm: Row and column spacing at the breast, mm; None if it is not stated.
        spacing_rule: Source of the spacing: `calibrated_pixel_spacing`, `imager_over_magnification`,
            `imager_over_distances`, `imager`, `pixel_spacing`, `scanned_pixel_spacing`, `given`, or empty. Without a
            spacing, the contradiction that rules it out, if there is one (`dicom_geometry.checked_spacing`).
        laterality: `L` or `R`; empty if it is not stated.
        view: `CC` or `MLO`; empty if it is not stated.
        patient_id: As in the file; empty if it has none.
        age: Years, or None.
        exam: What tells the exam from the woman's others (`exams.exam_name`); empty if nothing does.
        study_date: Date of the study or acquisition, YYYY-MM-DD; empty if it is not stated.
        rank: Of several images of one view, the one with the lowest rank is used: For Presentation before For
            Processing, a detector's image before a secondary capture, an original before a derived image.
        turn: How the header says that the image is turned upright: whether rows and columns are exchanged, whether the
            rows are then reversed, and whether the columns are then reversed to have the chest wall at the left.
        instance: Digest of SOP instance UID, patient, side and view, to find copies of one SOP instance within one
            run; empty if the file has no UID. It must not be stored: it can be computed by anyone who knows these.
    """

    spacing_mm: tuple[float, float] | None = None
    spacing_rule: str = ""
    laterality: str = ""
    view: str = ""
    patient_id: str = ""
    age: float | None = None
    exam: str = ""
    study_date: str = ""
    rank: int = 0
    turn: tuple[bool, bool, bool] = (False, False, False)
    instance: str = ""


@dataclass(frozen=True)
class Mammogram(Description):
    """One view: what its file states (see `Description`), and its pixels.

    Attributes:
        pixels: float32 (rows, columns) in display polarity: denser tissue has higher values, calcium is bright. Padding
            has the lowest value.
        instance: Digest of SOP instance UID and pixels, to find duplicates within a batch. Copies of one SOP instance
            share it, whichever lossless compression they use. It cannot be computed from the UID without the image,
            and files that share a UID by mistake differ.
    """

    pixels: np.ndarray


def check_bytes(size: int) -> None:
    """Raise `Skip` if a file or data set of `size` bytes exceeds `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise Skip("too_large", f"more than {MAX_BYTES} bytes")


def check_pixels(rows: int, columns: int) -> None:
    """Raise `Skip` if rows x columns exceeds `MAX_PIXELS`."""
    if rows * columns > MAX_PIXELS:
        raise Skip("too_large", f"{rows} x {columns} pixels, the limit is {MAX_PIXELS}")


def check_grey_levels(values: np.ndarray) -> None:
    """Raise `Skip` if an image has only two values: some archives keep masks of findings beside the mammograms."""
    low, high = values.min(), values.max()
    if low < high and ((values == low) | (values == high)).all():
        raise Skip("not_mammography", "the image has only two values, as a mask has")


def agree(what: str, statements: list[str]) -> str:
    """Return the value on which all non-empty statements agree; empty if there are none.

    Args:
        what: The name of the statement (`side`, `view`), for the message.
        statements: `L`, `R`, `CC`, `MLO` or empty, one per source.

    Raises:
        Skip: `conflict` if two of them differ; a contradiction is never resolved silently.
    """
    stated = sorted({s for s in statements if s})
    if len(stated) > 1:
        raise Skip("conflict", f"the {what} is stated as {' and as '.join(stated)}")
    return stated[0] if stated else ""


_SIDE_AND_VIEW = re.compile(r"(LEFT|RIGHT|L|R)?(?:(M)?(CC|MLO)(ID|MAG|SPOT)?)?")
_AFFIXES = {
    **dict.fromkeys(("M", "MAG", "SPOT"), "spot_or_magnification"),
    "ID": "implant",
}
_WORDS = {
    **dict.fromkeys(("MAG", "MAGNIFICATION", "SPOT"), "spot_or_magnification"),
    **dict.fromkeys(("XCCL", "XCCM"), "other_view"),
    "IMPLANT": "implant",
    "SPECIMEN": "specimen",
}


def read_words(text: str) -> tuple[set[str], set[str], set[str], set[str]]:
    """Read side and view from the words of a file name or of a view position.

    Args:
        text: Such as `0012_LEFT_CC`, `a-RMLO`, `L CC SPOT`; words are runs of letters in any case.

    Returns:
        The sides (`L`, `R`), the views (`CC`, `MLO`), the codes of `REASONS` that words such as `SPOT` stand for, and
        all other words.
    """
    sides, views, codes, others = set(), set(), set(), set()
    for word in re.findall("[A-Z]+", text.upper()):
        match = _SIDE_AND_VIEW.fullmatch(word)
        if match:
            side, magnified, view, suffix = match.groups("")
            sides |= {side[:1]} - {""}
            views |= {view} - {""}
            codes |= {_AFFIXES[affix] for affix in (magnified, suffix) if affix}
        elif word in _WORDS:
            codes.add(_WORDS[word])
        else:
            others.add(word)
    return sides, views, codes, others
