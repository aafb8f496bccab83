"""From the stored values of a DICOM mammogram to display polarity: denser tissue has higher values, calcium is bright.

For Presentation images: modality LUT or rescale, then VOI LUT or window, then polarity.

For Processing images have not been through the vendor's processing, and their windows are not meant for display. They
are rendered by physics alone:

1. Modality LUT or rescale.
2. If the values are proportional to the intensity of the beam (PixelIntensityRelationship LIN, or not stated) and rise
   with it: the natural logarithm. Values below 1/4096 of the largest are first raised to it, so that lead markers and
   dead pixels do not take up the range. The result falls linearly with the thickness and density of the tissue.
3. Inversion if the values rise with the intensity of the beam: PixelIntensityRelationshipSign 1 or, if no sign is
   stated, MONOCHROME1. Dense tissue becomes bright and the background dark.

Unlike a vendor's rendering, this one neither equalises the thinner periphery of the breast nor sharpens the image. A
threshold chosen on For Presentation images need not suit it.
"""

import numpy as np
import pydicom

from bac_utils.intake.dicom_file import items, number, numbers, value, word
from bac_utils.intake.mammogram import Skip

FAINTEST = 1 / 4096
"""Lowest intensity of a For Processing image, as a share of its largest, before the logarithm."""


def display(values: np.ndarray, header: pydicom.Dataset, processing: bool) -> np.ndarray:
    """Render stored values as described at the top of this module.

    Args:
        values: Stored values, integers (rows, columns).
        header: The header of their file.
        processing: True for a For Processing image.

    Returns:
        float32 (rows, columns); denser tissue has higher values, padding has the lowest.

    Raises:
        Skip: `unreadable`, if rescale or window give values that are not finite.
    """
    padding = _padding(values, header)
    values = _rescale(values, header)
    if processing:
        values, dense_is_high = _process(values, header, padding)
    else:
        values = _apply_voi(values, header)
        dense_is_high = word(header, "PhotometricInterpretation") == "MONOCHROME2"
    values = values.astype(np.float32)
    valid = values[~padding] if padding.any() else values
    low, high = valid.min(), valid.max()
    if not np.isfinite([low, high]).all():
        raise Skip("unreadable", "rescale or window give values that are not finite")
    if not dense_is_high:
        values = low + high - values
    values[padding] = low
    return values


def _padding(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return the padding, bool (rows, columns): values equal to PixelPaddingValue, or from it to the range limit.

    Both may be written with another signedness than the pixels, and with more bits than the bits stored.
    """
    stored = [numbers(header, k)[:1] for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not stored[0]:
        return np.zeros(values.shape, bool)
    bits, signed = int(number(header, "BitsStored", 16)), _signed(header)
    limits = [int(n) % (1 << bits) for n in stored[0] + stored[1]]
    limits = [n - (1 << bits) if signed and n >= 1 << (bits - 1) else n for n in limits]
    padding = (values >= min(limits)) & (values <= max(limits))
    return padding & (not padding.all())


def _signed(header: pydicom.Dataset) -> bool:
    return number(header, "PixelRepresentation", 0) == 1


def _rescale(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Apply the modality LUT or, without one, rescale slope and intercept."""
    table = _first_table(header, "ModalityLUTSequence")
    if table:
        return _look_up(values, *table)
    slope, intercept = number(header, "RescaleSlope", 1), number(header, "RescaleIntercept", 0)
    if slope == 0 or (slope, intercept) == (1, 0):
        return values
    return values.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _process(values: np.ndarray, header: pydicom.Dataset, padding: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return a For Processing image on a scale linear in tissue thickness, and whether its values rise with it."""
    sign = number(header, "PixelIntensityRelationshipSign", 0)
    rises = sign == -1 if sign in (1, -1) else word(header, "PhotometricInterpretation") == "MONOCHROME2"
    if rises or word(header, "PixelIntensityRelationship") not in ("", "LIN"):
        return values, rises
    largest = float(values[~padding].max())
    if largest <= 0:
        raise Skip("unreadable", "a For Processing image has no intensity above 0")
    return np.log(np.maximum(values.astype(np.float32), np.float32(largest * FAINTEST))), rises


def _apply_voi(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Apply the first VOI LUT or, without one, the first window."""
    table = _first_table(header, "VOILUTSequence")
    return _look_up(values, *table) if table else _window(values, header)


def _first_table(header: pydicom.Dataset, keyword: str) -> tuple[np.ndarray, int] | None:
    """Return a LUT's entries and first mapped value (DICOM PS3.3, C.11.1.1); None if it is absent or incomplete."""
    for item in items(header, keyword)[:1]:
        descriptor, data = numbers(item, "LUTDescriptor"), value(item, "LUTData")
        if len(descriptor) != 3 or not data or not -32768 <= descriptor[1] <= 65535:
            return None
        entries, first = int(descriptor[0]) % (1 << 16) or 1 << 16, int(descriptor[1])
        if isinstance(data, bytes):
            order = ">" if header.original_encoding[1] is False else "<"
            wide = len(data) >= 2 * entries
            data = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2" if wide else np.uint8)
        table = np.ravel(np.asarray(data, np.float32))[:entries]
        return (table, first - (1 << 16) if _signed(header) and first > 32767 else first) if table.size else None
    return None


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Map values by a LUT; values beyond its ends get its first or last entry."""
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _window(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Apply the first window (DICOM PS3.3, C.11.2.1), to [0, 2^BitsStored - 1]; ignore an invalid one."""
    centre, width = numbers(header, "WindowCenter")[:1], numbers(header, "WindowWidth")[:1]
    function = word(header, "VOILUTFunction").replace("-", "_").replace(" ", "_")
    function = function if function in ("SIGMOID", "LINEAR_EXACT") else "LINEAR"
    if not centre or not width or width[0] < (1 if function == "LINEAR" else 1e-6):
        return values
    offset = values.astype(np.float32) - np.float32(centre[0])
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * offset / width[0], -80, 80)))
    elif function == "LINEAR":
        shares = np.clip((offset + 0.5) / max(width[0] - 1, 1e-6) + 0.5, 0, 1)
    else:
        shares = np.clip(offset / width[0] + 0.5, 0, 1)
    return shares * np.float32(2 ** int(number(header, "BitsStored", 16)) - 1)
