"""One file to one `Mammogram`, or a stated reason why not.

DICOM as vendors write it (see `dicom`), PNG and TIFF. Whatever cannot be used ends in `Skip` with a code from
`REASONS`, never in another exception. Messages quote nothing identifying.
"""

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from bac_utils.intake.dicom_header import FOR_PROCESSING, MAMMOGRAPHY_CLASSES, describe_dicom, is_dicom, read_dicom
from bac_utils.intake.mammogram import (
    REASONS,
    Description,
    Mammogram,
    Skip,
    agree,
    check_bytes,
    check_grey_levels,
    check_pixels,
    read_words,
)

__all__ = [
    "FOR_PROCESSING", "MAMMOGRAPHY_CLASSES", "REASONS", "Description", "Mammogram", "Skip", "describe_mammogram",
    "read_mammogram",
]  # fmt: skip

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNKNOWN = {"laterality": ("unknown_side", "the side"), "view": ("unknown_view", "the view")}
_Described = TypeVar("_Described", bound=Description)


def read_mammogram(
    path: str | Path,
    *,
    laterality: str | None = None,
    view: str | None = None,
    pixel_spacing_mm: float | None = None,
    apply_voi: bool = True,
    require: Collection[str] = (),
) -> Mammogram:
    """Read one mammogram.

    Args:
        path: A DICOM, PNG or TIFF file.
        laterality: `L` or `R` as the views table states it; None: from the file (for PNG and TIFF its name).
        view: `CC` or `MLO` as the views table states it; None: likewise.
        pixel_spacing_mm: Row and column spacing, mm, for files that state none.
        apply_voi: Apply the VOI LUT or window that a DICOM file carries.
        require: What the job cannot do without, of `laterality` and `view`: where nothing states it, the file is
            left out as `unknown_side` or `unknown_view`.

    Returns:
        The view; `dicom_display` says how its pixels are rendered.

    Raises:
        ValueError: An argument is out of its values.
        Skip: The file cannot be used; see `REASONS`.
    """
    _check_arguments(laterality, view, pixel_spacing_mm, require)
    found = _guarded(_read, Path(path), apply_voi)
    if found.spacing_mm is None and pixel_spacing_mm is not None:
        found = replace(found, spacing_mm=(float(pixel_spacing_mm),) * 2, spacing_rule="given")
    side, position = agree("side", [laterality or "", found.laterality]), agree("view", [view or "", found.view])
    return _required(replace(found, laterality=side, view=position), require)


def describe_mammogram(path: str | Path, *, require: Collection[str] = ()) -> Description:
    """Read what one file says of its view, and leave its pixels alone: to list an archive quickly.

    Args:
        path: A DICOM, PNG or TIFF file; of the latter two only the name is read.
        require: As for `read_mammogram`.

    Returns:
        The description.

    Raises:
        ValueError: `require` is out of its values.
        Skip: The file cannot be used, as far as can be told without its pixels; see `REASONS`. `read_mammogram`
            may still refuse a file that passes here.
    """
    _check_arguments(None, None, None, require)
    return _required(_guarded(_describe, Path(path)), require)


def _guarded(read: Callable[..., _Described], *arguments: Any) -> _Described:
    """Return what a reader returns, without warnings and logs; whatever it raises becomes a `Skip`."""
    with quiet():
        try:
            return read(*arguments)
        except Skip:
            raise
        except Exception as error:  # what nobody foresaw about a broken file is its reason, too
            raise Skip("unreadable", f"reading ended in {type(error).__name__}") from error


def _required(found: _Described, require: Collection[str]) -> _Described:
    """Return what was found; raise `Skip` where it lacks what the job needs."""
    for name in require:
        if not getattr(found, name):
            code, what = _UNKNOWN[name]
            raise Skip(code, f"nothing states {what}")
    return found


def _check_arguments(
    laterality: str | None, view: str | None, pixel_spacing_mm: float | None, require: Collection[str]
) -> None:
    for name, value, allowed in (("laterality", laterality, ("L", "R")), ("view", view, ("CC", "MLO"))):
        if value is not None and value not in allowed:
            raise ValueError(f"{name}: got {value!r}, must be {' or '.join(allowed)}, or None")
    if pixel_spacing_mm is not None and not 0 < pixel_spacing_mm < np.inf:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm!r}, must be above 0")
    if isinstance(require, str) or not set(require) <= set(_UNKNOWN):
        raise ValueError(f"require: got {require!r}, must be a collection of {' and '.join(_UNKNOWN)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the packages for DICOM from warning of and logging odd values, which they quote."""
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


def _read(path: Path, apply_voi: bool) -> Mammogram:
    """Read a file by the kind that its first bytes show."""
    if _holds_dicom(path):
        found, uid = read_dicom(path, apply_voi)
    else:
        found, uid = _read_picture(path), ""
    return replace(found, instance=_digest(uid, found.pixels))


def _describe(path: Path) -> Description:
    """Read what a file says by the kind that its first bytes show."""
    if not _holds_dicom(path):
        check_bytes(path.stat().st_size)
        return Description(**_read_name(path))
    found, uid = describe_dicom(path)
    stated = f"{uid} {found.patient_id} {found.laterality} {found.view}"
    digest = hashlib.blake2b(stated.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
    return replace(found, instance=digest if uid else "")


def _holds_dicom(path: Path) -> bool:
    """Say whether a file is DICOM, or else a picture; raise `Skip` for any other."""
    try:
        if path.is_dir():
            os.listdir(path)  # a folder that cannot be opened is told as such
        if not path.is_file():
            raise Skip("not_found", "no such file")
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise Skip("unreadable", f"the file cannot be opened ({type(error).__name__})") from error
    if is_dicom(head):
        return True
    if not head.startswith(_PICTURES):
        raise Skip("not_an_image", "neither DICOM nor PNG nor TIFF" if head else "the file is empty")
    return False


def _digest(uid: str, pixels: np.ndarray) -> str:
    """Return a digest of an instance's UID, its size and every fourth row of its pixels."""
    digest = hashlib.blake2b(f"{uid} {pixels.shape} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels[::4]).tobytes())
    return digest.hexdigest()


def _read_picture(path: Path) -> Mammogram:
    """Read a PNG or TIFF."""
    check_bytes(path.stat().st_size)
    stated = _read_name(path)
    try:
        pixels = _decode_picture(path)
    except Skip:
        raise
    except Image.DecompressionBombError as error:
        raise Skip("too_large", "the picture claims too many pixels") from error
    except Exception as error:
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise Skip(code, f"the picture cannot be decoded ({type(error).__name__})") from error
    return Mammogram(pixels, **stated)


def _read_name(path: Path) -> dict[str, str]:
    """Return side and view from words of a picture's name, such as `0012_LEFT_CC` or `a-RMLO`; empty if unclear."""
    sides, views, codes, _ = read_words(path.stem)
    if codes:
        raise Skip(sorted(codes)[0], "the file's name says so")
    return {"laterality": _only(sides), "view": _only(views)}


def _decode_picture(path: Path) -> np.ndarray:
    """Return the grey values of a PNG or TIFF, float32 (rows, columns), higher is brighter."""
    with Image.open(path, formats=("PNG", "TIFF")) as image:
        if getattr(image, "is_animated", False):  # not n_frames: counting a million of them takes hours
            raise Skip("multi_frame", "several images in one file")
        check_pixels(image.height, image.width)
        # Pillow turns white-is-zero pictures round at 8 bits only.
        inverted = image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(262) == 0
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA", "CMYK", "YCbCr") else image)
    if pixels.ndim == 3:  # grey or RGB, perhaps with an opacity channel
        colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1]
        if (colours != colours[..., :1]).any():
            raise Skip("colour", "the picture has colours")
        pixels = colours[..., 0]
    check_grey_levels(pixels)
    pixels = pixels.astype(np.float32)
    return pixels.min() + pixels.max() - pixels if inverted else pixels


def _only(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ""
