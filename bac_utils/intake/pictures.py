"""PNG, TIFF and JPEG mammograms: grey levels from the pixels, side and view from the file name."""

from pathlib import Path

import numpy as np
from PIL import Image

from bac_utils.intake.mammogram import (
    Mammogram,
    Skip,
    check_bytes,
    check_grey_levels,
    check_pixels,
    may_pass,
    read_words,
)

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of PNG, JPEG, TIFF and BigTIFF files."""


def read_picture(path: Path) -> Mammogram:
    """Read a PNG, TIFF or JPEG file.

    Args:
        path: The file.

    Returns:
        The view, without its digest. The file states neither spacing, patient nor age.

    Raises:
        Skip: The file cannot be used.
    """
    check_bytes(path.stat().st_size)
    stated = read_name(path)
    try:
        pixels = _decode(path)
    except Skip:
        raise
    except Image.DecompressionBombError as error:
        raise Skip("too_large", "the image declares too many pixels") from error
    except Exception as error:
        if may_pass(error):
            raise
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise Skip(code, f"the image cannot be decoded ({type(error).__name__})") from error
    return Mammogram(pixels, **stated)


def read_name(path: Path) -> dict[str, str]:
    """Return `laterality` and `view` from a file name such as `0012_LEFT_CC` or `a-RMLO`; empty if unclear.

    Raises:
        Skip: The name contains a word such as `SPOT` or `IMPLANT`.
    """
    sides, views, codes, _ = read_words(path.stem)
    if codes:
        raise Skip(sorted(codes)[0], "the file name says so")
    return {"laterality": _only(sides), "view": _only(views)}


def _decode(path: Path) -> np.ndarray:
    """Return the grey levels, float32 (rows, columns); higher is brighter."""
    with Image.open(path, formats=("PNG", "TIFF", "JPEG")) as image:
        if getattr(image, "is_animated", False):  # not n_frames: counting a million frames takes hours
            raise Skip("multi_frame", "several images in one file")
        check_pixels(image.height, image.width)
        # Pillow inverts white-is-zero images of 8 bits only.
        inverted = image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(262) == 0
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA", "CMYK", "YCbCr") else image)
    if pixels.ndim == 3:  # grey or RGB, with or without an opacity channel
        colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1]
        if (colours != colours[..., :1]).any():
            raise Skip("colour", "the image has colours")
        pixels = colours[..., 0]
    check_grey_levels(pixels)
    pixels = pixels.astype(np.float32)
    return pixels.min() + pixels.max() - pixels if inverted else pixels


def _only(values: set[str]) -> str:
    """Return the single value of a set; empty if there are none or several."""
    return next(iter(values)) if len(values) == 1 else ""
