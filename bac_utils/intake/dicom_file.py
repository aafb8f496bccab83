"""Opening DICOM files that may be broken or hostile, and reading values from their headers.

Values are read as text or numbers whatever their value representation (VR); one that cannot be read counts as absent.
"""

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bac_utils.intake.mammogram import Skip, check_bytes, may_pass

_EXPLICIT_META = b"\x02\0\x10\0UI\x14\0" + b"1.2.840.10008.1.2.1\0"
_DEFER = 1 << 20  # bytes; larger values of a header are not loaded


def is_dicom(head: bytes) -> bool:
    """Return whether a file with these first 132 bytes may be DICOM, with or without its preamble."""
    return head[128:] == b"DICM" or head[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def read_header(path: Path) -> tuple[pydicom.Dataset, Path | BytesIO]:
    """Read the header: everything before the pixel data.

    Args:
        path: A DICOM file of any size.

    Returns:
        The header, and the source that `read_whole` takes.

    Raises:
        Skip: `unreadable`; for a deflated data set also `truncated`, or `too_large` if it inflates beyond the limit.
    """
    try:
        source = _source(path)
        header = pydicom.dcmread(
            source, stop_before_pixels=True, force=True, defer_size=_DEFER if source is path else None
        )
    except Skip:
        raise
    except Exception as error:
        if may_pass(error):
            raise
        raise Skip("unreadable", f"the DICOM header is broken ({type(error).__name__})") from error
    return header, source


def read_whole(source: Path | BytesIO) -> pydicom.Dataset:
    """Read header and pixel data.

    Args:
        source: As returned by `read_header`.

    Raises:
        Skip: `too_large`.
    """
    if isinstance(source, BytesIO):
        source.seek(0)
    else:
        check_bytes(source.stat().st_size)
    return pydicom.dcmread(source, force=True)


def _source(path: Path) -> Path | BytesIO:
    """Return the path or, for a deflated file, its inflated content: pydicom would inflate it without a limit."""
    with path.open("rb") as file:
        read_preamble(file, force=True)
        start = file.tell()
        for implicit in (False, True):  # as pydicom does for meta headers without VRs
            file.seek(start)
            meta = read_dataset(file, implicit, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
            if text(meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return BytesIO(bytes(128) + b"DICM" + _EXPLICIT_META + _inflate(file))
    return path


def _inflate(file: BinaryIO) -> bytes:
    """Inflate the rest of a file, up to the size limit."""
    inflater, parts, size = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    while not inflater.eof and (block := file.read(1 << 16)):  # a block inflates to 66 MB at most
        parts.append(inflater.decompress(block))
        size += len(parts[-1])
        check_bytes(size)
    if not inflater.eof:
        raise Skip("truncated", "the deflated data set has no end")
    return b"".join(parts)


def value(dataset: pydicom.Dataset, keyword: str) -> Any:
    """Return an element's value; None if it is absent or cannot be read."""
    try:
        return dataset.get(keyword)
    except Exception:
        return None


def texts(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    """Return an element's values as text, without leading and trailing blanks."""
    found = value(dataset, keyword)
    found = found if isinstance(found, pydicom.multival.MultiValue | list) else [found]
    decoded = [v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in found if v is not None]
    return [_utf8(v).strip(" \0") for v in decoded]


def _utf8(text: str) -> str:
    """Return a text that was stored in UTF-8 but decoded as Latin-1, as without SpecificCharacterSet."""
    try:
        return text if text.isascii() else text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def text(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return an element's first value as text; empty if there is none."""
    return next(iter(texts(dataset, keyword)), "")


def word(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return an element's first value as text in upper case; empty if there is none."""
    return text(dataset, keyword).upper()


def numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """Return an element's values as numbers; an empty list if one of them is not a finite number."""
    try:
        found = [float(t) for t in texts(dataset, keyword)]
    except ValueError:
        return []
    return found if np.isfinite(found).all() else []


def number(dataset: pydicom.Dataset, keyword: str, default: float) -> float:
    """Return an element's first value as a number; `default` if there is none."""
    return (numbers(dataset, keyword) or [default])[0]


def items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """Return the items of a sequence; an empty list if there is none."""
    found = value(dataset, keyword)
    return list(found) if isinstance(found, pydicom.Sequence) else []
