"""Reading one file of any supported format: a `Mammogram`, or a `Skip` with the reason.

The formats are DICOM (`dicom_header`), PNG, TIFF and JPEG (`pictures`). A file that cannot be used ends in `Skip` with
a code from `mammogram.REASONS`, never in another exception. Messages quote nothing that identifies a person.
"""

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from bac_utils.intake.dicom_file import is_dicom
from bac_utils.intake.dicom_header import describe_dicom, read_dicom
from bac_utils.intake.free_text import without_hashes
from bac_utils.intake.mammogram import Description, Mammogram, Skip, agree, check_bytes, may_pass
from bac_utils.intake.pictures import SIGNATURES, read_name, read_picture

_Found = TypeVar("_Found", bound=Description)


def read_mammogram(
    path: str | Path,
    *,
    laterality: str | None = None,
    view: str | None = None,
    pixel_spacing_mm: float | None = None,
) -> Mammogram:
    """Read one mammogram.

    Args:
        path: A DICOM, PNG, TIFF or JPEG file.
        laterality: `L` or `R` as stated by the views table; None to take it from the file alone (pictures: from the
            file name). It must be that of a DICOM header, and outweighs the name of another file.
        view: `CC` or `MLO`, likewise.
        pixel_spacing_mm: Row and column spacing, mm, for a file that states none.

    Returns:
        The view; `dicom_display` describes how its pixels are rendered.

    Raises:
        ValueError: An argument has a value that is not allowed.
        Skip: The file cannot be used, or its header contradicts `laterality` or `view`; see `mammogram.REASONS`.
    """
    for name, value, allowed in (("laterality", laterality, ("L", "R")), ("view", view, ("CC", "MLO"))):
        if value is not None and value not in allowed:
            raise ValueError(f"{name}: got {value!r}, must be {' or '.join(allowed)}, or None")
    if pixel_spacing_mm is not None and not 0 < pixel_spacing_mm < np.inf:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm!r}, must be a number of mm above 0, or None")
    found, is_dicom_file = _guarded(_read, Path(path))
    if found.spacing_mm is None and pixel_spacing_mm is not None:
        found = replace(found, spacing_mm=(float(pixel_spacing_mm),) * 2, spacing_rule="given")
    if not is_dicom_file:  # a name is no header: the table's word counts
        return replace(found, laterality=laterality or found.laterality, view=view or found.view)
    side, position = agree("side", [laterality or "", found.laterality]), agree("view", [view or "", found.view])
    return replace(found, laterality=side, view=position)


def describe_mammogram(path: str | Path) -> Description:
    """Read what one file states about its view, without decoding its pixels: to list an archive quickly.

    Args:
        path: A DICOM, PNG, TIFF or JPEG file; of pictures only the name is read.

    Returns:
        The description.

    Raises:
        Skip: The file cannot be used, as far as this shows without its pixels; see `mammogram.REASONS`.
            `read_mammogram` may still skip a file that passes here.
    """
    return _guarded(_describe, Path(path))


def _guarded(read: Callable[[Path], _Found], path: Path) -> _Found:
    """Call a reader without warnings and logs; any exception that it raises becomes a `Skip`."""
    with quiet():
        try:
            return read(path)
        except Skip:
            raise
        except Exception as error:  # whatever else a broken file leads to
            code = "not_read" if may_pass(error) else "unreadable"
            raise Skip(code, f"reading ended in {type(error).__name__}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and logs of the DICOM packages: they quote unexpected values, which may identify a person."""
    loggers, silent = [logging.getLogger(n) for n in ("pydicom", "openjpeg", "highdicom")], logging.NullHandler()
    before = [logger.propagate for logger in loggers]
    try:
        for logger in loggers:
            logger.addHandler(silent)
            logger.propagate = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(silent)
            logger.propagate = propagate


def _read(path: Path) -> tuple[Mammogram, bool]:
    """Read a file in the format that its first bytes show, and return whether it is a DICOM file."""
    dicom_file = _is_dicom_file(path)
    if dicom_file:
        found, uid = read_dicom(path)
    else:
        found, uid = replace(read_picture(path), **_named(path)), ""
    return replace(found, instance=_digest(uid, found.pixels)), dicom_file


def _named(path: Path) -> dict[str, str]:
    """Return side and view from a file name, without reading any from the digits of a hash."""
    return read_name(Path(f"{without_hashes(path.stem)}.png"))


def _describe(path: Path) -> Description:
    """Read a file's description in the format that its first bytes show."""
    if not _is_dicom_file(path):
        check_bytes(path.stat().st_size)
        return Description(**_named(path))
    found, uid = describe_dicom(path)
    stated = f"{uid} {found.patient_id} {found.laterality} {found.view}"
    digest = hashlib.blake2b(stated.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
    return replace(found, instance=digest if uid else "")


def _is_dicom_file(path: Path) -> bool:
    """Return True for a DICOM file and False for PNG, TIFF or JPEG; raise `Skip` for anything else."""
    if path.is_dir():
        os.listdir(path)  # so that a folder without read permission is reported as such
    if not path.is_file():
        raise Skip("not_found", "no such file")
    with path.open("rb") as file:
        head = file.read(132)
    if is_dicom(head):
        return True
    if not head.startswith(SIGNATURES):
        raise Skip("not_an_image", "the file is neither DICOM nor PNG, TIFF or JPEG" if head else "the file is empty")
    return False


def _digest(uid: str, pixels: np.ndarray) -> str:
    """Return a digest of an instance's UID, the shape of its image, and every fourth row of its pixels."""
    digest = hashlib.blake2b(f"{uid} {pixels.shape} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels[::4]).tobytes())
    return digest.hexdigest()
