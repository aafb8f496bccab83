"""What intake hands over: a `Mammogram`, or a `Skip` with a reason from a closed list; and the limits of reading."""

import re
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

REASONS = MappingProxyType(
    {
        "not_found": "there is no such file",
        "not_an_image": "the file is neither DICOM nor PNG nor TIFF, or is empty",
        "unreadable": "it cannot be opened or read in time, or its header or pixels are broken or of unknown encoding",
        "truncated": "the file or its pixel data end too early",
        "too_large": "more bytes or pixels, stored or claimed, than the limits allow",
        "not_mammography": "another modality or kind of object, a quality-control image, or a mask",
        "multi_frame": "tomosynthesis (volume, slice or projection), or several images in one file",
        "synthetic": "an image computed from tomosynthesis or from a contrast study",
        "colour": "the pixels have colours",
        "localiser": "a localiser, scout or biopsy image",
        "specimen": "a tissue specimen",
        "spot_or_magnification": "a spot compression or a magnification view",
        "implant": "a breast implant is present or displaced",
        "partial_view": "a part of a breast: one of several images of a large one, or a crop",
        "other_view": "a view other than CC and MLO, or both breasts in one image",
        "conflict": "two statements contradict each other: of the side, the view, the intent, or the pixels' layout",
        "unknown_side": "nothing states the side, and the job needs it",
        "unknown_view": "nothing states the view, and the job needs it",
        "no_breast": "no breast was found on the pixels",
        "duplicate": "the same SOP instance with the same pixels was read before",
    }
)
"""Every reason for leaving a file out: code and meaning. The list is closed; `Skip` refuses any other code."""

MAX_PIXELS = 64_000_000
"""Largest rows x columns that is decoded; the largest mammograms have about 30 million pixels."""
MAX_BYTES = 1 << 28
"""Largest file that is decoded, and largest that a deflated data set may unfold to: twice what `MAX_PIXELS` take."""


class Skip(ValueError):
    """A file that is left out, with its reason.

    Attributes:
        code: A key of `REASONS`.
        message: What was found, in words; it quotes nothing identifying.
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


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of its view, without the pixels.

    Attributes:
        spacing_mm: Row and column spacing at the breast, mm, or None where nothing states it.
        spacing_rule: Where the spacing comes from: `calibrated_pixel_spacing`, `imager_over_magnification`,
            `imager_over_distances`, `imager`, `pixel_spacing`, `scanned_pixel_spacing`, `given`, or empty.
        laterality: `L`, `R`, or empty where nothing states it.
        view: `CC`, `MLO`, or empty where nothing states it.
        patient_id: As in the file, empty if it has none.
        age: Years, or None.
        instance: A digest that copies of one SOP instance share, to find duplicates within one reading: of its UID,
            patient, side and view; empty where the file has no UID. It is not for writing down.
    """

    spacing_mm: tuple[float, float] | None = None
    spacing_rule: str = ""
    laterality: str = ""
    view: str = ""
    patient_id: str = ""
    age: float | None = None
    instance: str = ""


@dataclass(frozen=True)
class Mammogram(Description):
    """One view. What is not listed here is that of `Description`.

    Attributes:
        pixels: float32 (rows, columns) in display polarity: higher is denser, calcium is bright. Padding has
            the darkest value.
        instance: A digest that two copies of one SOP instance share, however their pixels are compressed without
            loss, to find duplicates within a batch. It covers the SOP instance UID and the pixels together, so
            that whoever lacks the image cannot compute it from the UID; files that wrongly share a UID differ.
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
    """Raise `Skip` if an image has two values only: archives keep masks of findings beside the mammograms."""
    low, high = values.min(), values.max()
    if low < high and ((values == low) | (values == high)).all():
        raise Skip("not_mammography", "the image has two values only: a mask")


def agree(what: str, statements: list[str]) -> str:
    """Return what the non-empty statements say, empty if there are none.

    Args:
        what: What is stated, for the message.
        statements: `L`, `R`, `CC`, `MLO` or empty, one for each source.

    Raises:
        Skip: `conflict`, since a contradiction is never settled silently.
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
    """Read side and view from the words of a file's name or of a view position.

    Args:
        text: Such as `0012_LEFT_CC`, `a-RMLO`, `L CC SPOT`; words are runs of letters in any case.

    Returns:
        The sides (`L`, `R`), the views (`CC`, `MLO`), the codes of `REASONS` that words such as `SPOT` stand for,
        and the words that mean none of these.
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
