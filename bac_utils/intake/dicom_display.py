"""From the stored values of a DICOM mammogram to display polarity: denser tissue has higher values, calcium is bright.

For Presentation images: modality LUT or rescale, then VOI LUT or window, then polarity. Some files carry a window that
was meant for another rendering, such as 127/255 of an 8-bit copy. So a VOI LUT or window is only applied if the tissue
keeps its grey levels: at most `LARGEST_CLIPPED` of it may become black or white. Otherwise the next one of the file is
tried, and if there is none, no window is applied. Colour images whose channels are equal have no windows.

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

import cv2
import numpy as np
import pydicom
from skimage.filters import threshold_otsu

from bac_utils.intake.dicom_file import items, number, numbers, value, word
from bac_utils.intake.mammogram import Skip

FAINTEST = 1 / 4096
"""Lowest intensity of a For Processing image, as a share of its largest, before the logarithm."""
LARGEST_CLIPPED = 0.25
"""Largest share of the tissue that a VOI LUT or window may make black or white (assumption: windows that vendors write
clip a few per cent, those of another rendering nearly everything)."""
FAT_SHARE, FAT_RISE = 0.2, 0.4
"""When the brighter part of the darker pixels is fat, as in `preprocess`."""


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
    padding = _padding(values, header, _dense_is_high(header, processing))
    values = _rescale(values, header)
    dense_is_high = _dense_is_high(header, processing)
    if processing:
        values = _process(values, header, padding, dense_is_high)
    elif word(header, "PhotometricInterpretation").startswith("MONOCHROME"):
        values = _apply_voi(values, header, padding)
    values = values.astype(np.float32)
    valid = values[~padding] if padding.any() else values
    low, high = valid.min(), valid.max()
    if not np.isfinite([low, high]).all():
        raise Skip("unreadable", "rescale or window give values that are not finite")
    if not dense_is_high:
        values = low + high - values
    values[padding] = low
    return values


def _dense_is_high(header: pydicom.Dataset, processing: bool) -> bool:
    """Return whether denser tissue has higher stored values; for a positive rescale slope, also higher values."""
    sign = number(header, "PixelIntensityRelationshipSign", 0) if processing else 0
    return sign == -1 if sign in (1, -1) else word(header, "PhotometricInterpretation") != "MONOCHROME1"


def _padding(values: np.ndarray, header: pydicom.Dataset, dense_is_high: bool) -> np.ndarray:
    """Return the padding, bool (rows, columns): values equal to PixelPaddingValue, or from it to the range limit.

    Both may be written with another signedness than the pixels, and with more bits than the bits stored. A padding
    value that is no darker than all other pixels also occurs within the breast; only what is connected to the border
    of the image is then padding. If it is the brightest value, calcium and muscle may be saturated at it. Padding is
    then only what is connected to a line of padding along a whole border.
    """
    stored = [numbers(header, k)[:1] for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not stored[0]:
        return np.zeros(values.shape, bool)
    bits, signed = int(number(header, "BitsStored", 16)), _signed(header)
    limits = [int(n) % (1 << bits) for n in stored[0] + stored[1]]
    limits = [n - (1 << bits) if signed and n >= 1 << (bits - 1) else n for n in limits]
    padding = (values >= min(limits)) & (values <= max(limits))
    if padding.all() or not padding.any():
        return np.zeros(values.shape, bool)
    darkest, brightest = values.min(), values.max()
    if not dense_is_high:
        darkest, brightest = brightest, darkest
    if min(limits) <= darkest <= max(limits):
        return padding
    return _at_border(padding, whole_line=min(limits) <= brightest <= max(limits))


def _at_border(padding: np.ndarray, whole_line: bool) -> np.ndarray:
    """Return the parts of a mask that reach a border or, with `whole_line`, cover one from end to end."""
    labels = cv2.connectedComponents(padding.astype(np.uint8), connectivity=4)[1]
    borders = labels[0], labels[-1], labels[:, 0], labels[:, -1]
    kept = np.unique(np.concatenate([line for line in borders if line.all() or not whole_line] or [labels[0, :0]]))
    return np.isin(labels, kept[kept > 0])


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


def _process(values: np.ndarray, header: pydicom.Dataset, padding: np.ndarray, rises: bool) -> np.ndarray:
    """Return a For Processing image on a scale linear in tissue thickness, which rises with it or falls."""
    if rises or word(header, "PixelIntensityRelationship") not in ("", "LIN"):
        return values
    largest = float(values[~padding].max())
    if largest <= 0:
        raise Skip("unreadable", "a For Processing image has no intensity above 0")
    return np.log(np.maximum(values.astype(np.float32), np.float32(largest * FAINTEST)))


def _apply_voi(values: np.ndarray, header: pydicom.Dataset, padding: np.ndarray) -> np.ndarray:
    """Apply the first VOI LUT or, without one, the first window; of several, the first that keeps the grey levels."""
    table = _first_table(header, "VOILUTSequence")
    windows = list(zip(numbers(header, "WindowCenter"), numbers(header, "WindowWidth"), strict=False))
    functions = [lambda v: _look_up(v, *table)] if table else []
    functions += [lambda v, w=window: _window(v, header, *w) for window in windows if _is_valid(header, window[1])]
    if not functions:
        return values
    tissue = _tissue(values, padding, word(header, "PhotometricInterpretation") != "MONOCHROME1")
    limits = (table[0].min(), table[0].max()) if table else None
    for index, function in enumerate(functions):
        scale = limits if table and index == 0 else (0, 2 ** int(number(header, "BitsStored", 16)) - 1)
        if _keeps_grey_levels(tissue, function(tissue), *scale):
            return function(values)
    return values


def _tissue(values: np.ndarray, padding: np.ndarray, dense_is_high: bool) -> np.ndarray:
    """Return a sample of the pixels that are tissue, as a vector: those above Otsu's threshold, as in `preprocess`.

    Pixels at the brightest value are left out: they are saturated already, or a frame.
    """
    step = max(1, min(values.shape) // 200)
    sample, padding = values[::step, ::step], padding[::step, ::step]
    sample = sample[~padding] if not padding.all() else sample.ravel()
    bright = sample.astype(np.float32) * (1 if dense_is_high else -1)
    low, high = np.percentile(bright, [1, 99])
    if not high > low:
        return sample
    grey = np.sqrt(np.clip((bright - low) / (high - low), 0, 1))
    otsu = float(threshold_otsu(grey))
    dark = grey[grey <= otsu]
    if np.ptp(dark) > 0:
        split = float(threshold_otsu(dark))
        fat, level = dark[dark > split], float(np.median(dark[dark <= split]))
        if fat.size > FAT_SHARE * dark.size and fat.mean() - level > FAT_RISE * (otsu - level):
            otsu = split
    tissue = sample[(grey > otsu) & (bright < bright.max())]
    return tissue if tissue.size else sample


def _keeps_grey_levels(tissue: np.ndarray, shown: np.ndarray, low: float, high: float) -> bool:
    """Return whether tissue keeps its grey levels after a VOI LUT or window whose output lies within two limits."""
    if tissue.min() == tissue.max():
        return True  # there is nothing to lose
    margin = 0.005 * (high - low) if np.any((shown > low) & (shown < high)) else 0.0
    clipped = max((shown <= low + margin).mean(), (shown >= high - margin).mean())
    levels = np.unique(shown).size
    return bool(clipped <= LARGEST_CLIPPED and levels >= min(8, np.unique(tissue).size / 2))


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


def _function(header: pydicom.Dataset) -> str:
    function = word(header, "VOILUTFunction").replace("-", "_").replace(" ", "_")
    return function if function in ("SIGMOID", "LINEAR_EXACT") else "LINEAR"


def _is_valid(header: pydicom.Dataset, width: float) -> bool:
    return width >= (1 if _function(header) == "LINEAR" else 1e-6)


def _window(values: np.ndarray, header: pydicom.Dataset, centre: float, width: float) -> np.ndarray:
    """Apply a window (DICOM PS3.3, C.11.2.1), to [0, 2^BitsStored - 1]."""
    offset = values.astype(np.float32) - np.float32(centre)
    if (function := _function(header)) == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * offset / width, -80, 80)))
    elif function == "LINEAR":
        shares = np.clip((offset + 0.5) / max(width - 1, 1e-6) + 0.5, 0, 1)
    else:
        shares = np.clip(offset / width + 0.5, 0, 1)
    return shares * np.float32(2 ** int(number(header, "BitsStored", 16)) - 1)
