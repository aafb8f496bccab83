"""A mammogram to the network's input: breast found, cropped, brought to scale, normalised, and the way back.

The steps are those of Mobini et al. 2023 (Preprocessing): Otsu's threshold, the smallest rectangle around the
breast, a fixed matrix, normalisation of the breast's pixels only. The breast is the largest component after
Otsu; three additions make that hold on real archives: bright film edges are left out, thin links to labels
and edges are cut, and a second, lower threshold takes in the faint skin zone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from bac_utils.intake.reader import Mammogram, Skip

# Shares of lengths are of the image's longer side. Design assumptions, tried on film and on simulated views.
WORKING_SIZE = 512  # the breast is found on a copy whose longer side has at most so many pixels
FRAME_SHARE = 0.04  # film borders at top and bottom reach no further into the image than this
GLOW_SHARE = 0.12  # film borders and glow at the sides reach no further than this
GLOW_MARGIN = 1.1  # tissue at a glowing side is brighter than the glow by this factor, on the square-root scale
WHITE = 0.85  # a strip at a side from here on, on the square-root scale, is a white film border
LINK_SHARE = 0.012  # links and spurs thinner than twice this are cut
SKIN_FACTORS = (0.3, 0.6, 1.0)  # lower threshold as a share of Otsu's, above the background
FAT_SHARE = 0.2  # of the darker class: so much of it, and
FAT_RISE = 0.4  # so far up from the background to Otsu's threshold, is fat and not skin or glow
LARGEST_EXTENT = 0.92  # a region that fills more of its rectangle is an exposed field, not a breast
SMALLEST_SHARE = 0.015  # a breast's share of the image's area
SMALLEST_CONTRAST = 3.0  # breast minus background in units of the fine structure's deviation
LARGEST_RIM_SHARE = 0.75  # of the image's rim: more is a bright background, not a breast
USUAL_FIELD_MM = 240.0  # longer side of the commonest film and detector field; for files that state no spacing


@dataclass(frozen=True)
class Prepared:
    """A view as the network takes it.

    Attributes:
        pixels: float32 (H, W); the chest wall is at the left, mean 0 and deviation 1 inside the breast,
            exactly 0 outside (and nowhere inside).
        spacing_mm: Row and column spacing after the resize, mm, or None when the file gave none. The two
            differ where the breast's rectangle is stretched.
        box: (r0, r1, c0, c1), the breast's rectangle in the original grid, ends exclusive.
        inset: (r0, r1, c0, c1), the same rectangle in `pixels`; the whole matrix where it is stretched.
        flipped: The original has the chest wall at the right.
        original_shape: (rows, columns) of the original.
        side_disagrees: The stated laterality does not fit the side on which the tissue lies (a left breast lies
            at the left by display convention). The pixels win; some archives mirror their images.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    box: tuple[int, int, int, int]
    inset: tuple[int, int, int, int]
    flipped: bool
    original_shape: tuple[int, int]
    side_disagrees: bool = False

    @property
    def mask(self) -> np.ndarray:
        """The breast, bool (H, W)."""
        return self.pixels != 0


def find_breast(pixels: np.ndarray) -> np.ndarray:
    """Find the breast on a mammogram, film borders, labels and background left out.

    Otsu's threshold (on a square-root grey scale, so that a dense gland does not hide the fat) and the
    largest component, as in Mobini et al. 2023, with the additions that the module names. The pectoral muscle
    stays in.

    Args:
        pixels: (rows, columns), any real dtype, higher = denser. NaN and infinite pixels count as background.

    Returns:
        The breast's mask, bool (rows, columns).

    Raises:
        TypeError: `pixels` is not an array of real numbers.
        ValueError: `pixels` is not two-dimensional or is empty.
        Skip: `no_breast`.
    """
    mask, flipped, _ = _segment(_clean(pixels))
    return np.ascontiguousarray(mask[:, ::-1]) if flipped else mask


def prepare(mammogram: Mammogram, shape: tuple[int, int], pixel_mm: float | None = None) -> Prepared:
    """Crop a view to the breast, bring it to the network's matrix and normalise it.

    The smallest rectangle around the breast is resized by area averaging where it shrinks and linearly where it grows;
    then x -> (x - mean) / deviation over the breast. Mobini et al. 2023 stretch the rectangle to the matrix, so that
    scale and aspect differ from breast to breast. With `pixel_mm` every breast keeps its size instead: an artery is as
    many pixels wide in a small breast as in a large one. The rectangle then lies at the matrix's left edge, half way
    down; one that is too large for the matrix is shrunk until it fits. A view and its mirror image give the same
    result.

    Args:
        mammogram: The view.
        shape: (rows, columns) of the result.
        pixel_mm: Side of a pixel of the result in mm; None stretches. For a file that states no spacing, the image's
            longer side is taken for `USUAL_FIELD_MM`.

    Returns:
        The prepared view, with the crop box and the spacings.

    Raises:
        ValueError: `shape` is not two positive whole numbers, or `pixel_mm` is not a positive number.
        Skip: `no_breast`.
    """
    if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"shape: got {shape!r}, must be two positive whole numbers (rows, columns)")
    if pixel_mm is not None and not (np.isfinite(pixel_mm) and pixel_mm > 0):
        raise ValueError(f"pixel_mm: got {pixel_mm!r}, must be a positive number of mm, or None")
    mask, flipped, pixels = _segment(_clean(mammogram.pixels))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    r0, r1, c0, c1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    spacing = mammogram.spacing_mm
    size = tuple(int(n) for n in shape)
    if pixel_mm is not None:
        nominal = np.array(spacing or (USUAL_FIELD_MM / max(mask.shape),) * 2)
        wanted = np.array([r1 - r0, c1 - c0]) * nominal / pixel_mm
        wanted *= min(1.0, *(np.array(shape) / wanted))
        size = tuple(int(n) for n in np.clip(np.round(wanted), 1, shape))
    top = (shape[0] - size[0]) // 2
    inset = (top, top + size[0], 0, size[1])
    inside = _resize(mask[r0:r1, c0:c1] * np.uint8(255), size) > 127
    values = _resize(pixels[r0:r1, c0:c1], size)
    breast = values[inside].astype(np.float64)
    deviation = breast.std() if breast.size else 0.0
    if not deviation > 0:
        raise Skip("no_breast", "the breast has no structure: all its pixels are equal")
    result = np.zeros(shape, np.float32)
    normal = ((breast - breast.mean()) / deviation).astype(np.float32)
    # No pixel inside is exactly 0, so that zero means outside; 1e-4 also survives float16.
    result[top : top + size[0], : size[1]][inside] = np.where(np.abs(normal) < 1e-4, np.float32(1e-4), normal)
    if spacing is not None:
        spacing = (spacing[0] * (r1 - r0) / size[0], spacing[1] * (c1 - c0) / size[1])
    width = mask.shape[1]
    return Prepared(
        pixels=result,
        spacing_mm=spacing,
        box=(r0, r1, width - c1, width - c0) if flipped else (r0, r1, c0, c1),
        inset=inset,
        flipped=flipped,
        original_shape=mask.shape,
        side_disagrees=mammogram.laterality in ("L", "R") and (mammogram.laterality == "R") != flipped,
    )


def to_original(map_: np.ndarray, prepared: Prepared, order: int = 1) -> np.ndarray:
    """Lay a map of the prepared view, such as a heatmap, back onto the original pixels.

    Args:
        map_: (h, w) of any size; it covers the whole prepared view.
        prepared: The view that the map belongs to.
        order: 1 interpolates linearly (areas are averaged where the map shrinks), 0 takes the nearest value,
            for masks.

    Returns:
        An array of the original's shape, zero outside the breast's rectangle: float32, or with `order` 0 of
        the map's dtype.

    Raises:
        ValueError: `map_` is not two-dimensional or is empty, or `order` is neither 0 nor 1.
    """
    map_ = np.asarray(map_)
    if map_.ndim != 2 or map_.size == 0:
        raise ValueError(f"map_: got shape {map_.shape}, must be (rows, columns)")
    if order not in (0, 1):
        raise ValueError(f"order: got {order!r}, must be 0 or 1")
    r0, r1, c0, c1 = prepared.box
    top, bottom, left, right = prepared.inset
    matrix = prepared.pixels.shape
    if (top, bottom, left, right) != (0, matrix[0], 0, matrix[1]):
        map_ = _resample(map_, matrix, order)[top:bottom, left:right]
    part = _resample(map_, (r1 - r0, c1 - c0), order)
    result = np.zeros(prepared.original_shape, part.dtype)
    result[r0:r1, c0:c1] = part[:, ::-1] if prepared.flipped else part
    return result


def mask_to_original(mask: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Lay a mask of the prepared view back onto the original pixels.

    Where it is enlarged its outline is interpolated, which rounds the corners of its pixels; where it shrinks, an
    original pixel is in if half of it is, so that the area stays.

    Args:
        mask: bool (H, W), on the grid of `prepared.pixels`.
        prepared: The view that the mask belongs to.

    Returns:
        bool of the original's shape.

    Raises:
        ValueError: The mask is not bool or not of the prepared view's shape.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != prepared.pixels.shape:
        raise ValueError(f"mask: got {mask.dtype} of shape {mask.shape}, must be bool of {prepared.pixels.shape}")
    return to_original(mask.astype(np.float32), prepared) >= 0.5


def _clean(pixels: np.ndarray) -> np.ndarray:
    """Return finite float32 pixels; what is not finite becomes the smallest finite value."""
    pixels = np.asarray(pixels)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"pixels: got dtype {pixels.dtype}, must be real numbers")
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(f"pixels: got shape {pixels.shape}, must be (rows, columns)")
    pixels = np.ascontiguousarray(pixels, np.float32)
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels
    if not finite.any():
        raise Skip("no_breast", "the image has no finite pixel")
    return np.where(finite, pixels, pixels[finite].min())


def _resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (rows, columns), float32 or uint8, to `shape`: area averages where it shrinks, linear where it grows."""
    rows, columns = min(image.shape[0], shape[0]), min(image.shape[1], shape[1])
    image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _resample(map_: np.ndarray, shape: tuple[int, int], order: int) -> np.ndarray:
    """Resize a map to `shape`: as `_resize` with `order` 1, the nearest value with 0."""
    if order == 1:
        return _resize(np.ascontiguousarray(map_, np.float32), shape)
    centres = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, map_.shape, strict=True)]
    return map_[np.ix_(*centres)]


def _segment(pixels: np.ndarray) -> tuple[np.ndarray, bool, np.ndarray]:
    """Return the breast's mask with the chest wall at the left, whether that took a flip, and the image so turned.

    The image is turned before the work, not after it, so that mirror images take bit by bit the same way.
    """
    coarse = pixels[:: max(1, pixels.shape[0] // 128), :: max(1, pixels.shape[1] // 128)]
    coarse = np.minimum(coarse, np.percentile(coarse, 90)).mean(axis=0)
    flipped = bool(coarse[: len(coarse) // 2].sum() < coarse[(len(coarse) + 1) // 2 :].sum())
    turned = cv2.flip(pixels, 1) if flipped else pixels
    mask = _find(turned)
    heights = mask.sum(axis=0)
    heights = heights[np.flatnonzero(heights)[0] : np.flatnonzero(heights)[-1] + 1]
    ends = max(1, len(heights) // 10)
    if heights[:ends].sum() < heights[-ends:].sum():  # the breast is highest at the chest wall
        flipped = not flipped
        turned = cv2.flip(pixels, 1) if flipped else pixels
        mask = _find(turned)
    return mask, flipped, turned


def _find(pixels: np.ndarray) -> np.ndarray:
    """Find the breast on finite float32 pixels; see `find_breast`."""
    step = min(-(-max(pixels.shape) // WORKING_SIZE), *pixels.shape)
    rows, columns = (n // step for n in pixels.shape)
    sharp = cv2.resize(pixels[: rows * step, : columns * step], (columns, rows), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(sharp, [1, 99])
    if not high > low:
        raise Skip("no_breast", "the image has no contrast")
    sharp = np.sqrt(np.clip((sharp - low) / (high - low), 0, 1))
    grey = cv2.GaussianBlur(sharp, (0, 0), 1.0)
    otsu = float(threshold_otsu(grey))
    tissue = grey > otsu
    if not tissue.any():
        raise Skip("no_breast", "the image has no contrast")
    contrast = grey[tissue].mean() - grey[~tissue].mean()
    if not contrast > SMALLEST_CONTRAST * (sharp - grey)[tissue].std():
        raise Skip("no_breast", "bright and dark pixels are mixed: noise, not a breast")

    # A bright muscle can draw the threshold above the fat: then the darker class is two, background and fat.
    dark = grey[~tissue]
    split = float(threshold_otsu(dark))
    background, fat = dark[dark <= split], dark[dark > split]
    level = float(np.median(background))
    if fat.size > FAT_SHARE * dark.size and fat.mean() - level > FAT_RISE * (otsu - level):
        otsu = split
    noise = 1.4826 * float(np.median(np.abs(background - level)))
    for factor in SKIN_FACTORS:
        threshold = min(level + max(factor * (otsu - level), 5 * noise), otsu)
        breast = _component(grey, threshold, otsu)
        extent = breast.sum() / max(1, breast.any(axis=1).sum() * breast.any(axis=0).sum())
        if extent <= LARGEST_EXTENT:
            break
    rim = np.concatenate([breast[0], breast[-1], breast[:, 0], breast[:, -1]])
    if breast.mean() < SMALLEST_SHARE:
        raise Skip("no_breast", f"the largest bright region covers {breast.mean():.1%} of the image")
    if rim.mean() > LARGEST_RIM_SHARE:
        raise Skip("no_breast", "a bright region fills the image's rim: background, or the polarity is wrong")
    size = (columns * step, rows * step)
    whole = cv2.resize(breast * np.uint8(255), size, interpolation=cv2.INTER_LINEAR)
    rest = (pixels.shape[0] - size[1], pixels.shape[1] - size[0])
    return cv2.copyMakeBorder(whole, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE) > 127


def _component(grey: np.ndarray, threshold: float, otsu: float) -> np.ndarray:
    """Return the heaviest component above a threshold, film edges and thin links cut, holes filled; bool."""
    field = _edge_threshold(grey, threshold, otsu)
    mask = (grey > field).astype(np.uint8)
    radius = max(1, round(LINK_SHARE * max(grey.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Zeros around the image, so that strips along its edges are as thin as they look.
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    labels = cv2.connectedComponents(opened)[1]
    weights = np.bincount(labels.ravel(), grey.ravel())
    if len(weights) < 2:
        return np.zeros(grey.shape, bool)
    core = (labels == 1 + np.argmax(weights[1:])).astype(np.uint8)
    grown = cv2.dilate(core, disc) & mask  # what the opening took from the outline, the nipple above all
    grown = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, disc) * np.isfinite(field)
    outline = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return cv2.drawContours(grown, outline, -1, 1, cv2.FILLED).astype(bool)


def _edge_threshold(grey: np.ndarray, threshold: float, otsu: float) -> np.ndarray:
    """Raise a threshold along those edges of the image that shine without a breast: film borders and glow.

    Along each edge the lines that are dark further in show the film alone. Where most of them are bright at the
    edge, the strip is cut off at top and bottom. At the sides, where the chest wall may lie, only a white strip
    is; against glow these lines alone get a higher threshold, which the tips of a breast still outshine.
    """
    field = np.full(grey.shape, threshold, np.float32)
    frame, glow = (max(1, round(share * max(grey.shape))) for share in (FRAME_SHARE, GLOW_SHARE))
    for lines, view, side in (
        (grey, field, False), (grey[::-1], field[::-1], False),
        (grey.T, field.T, True), (grey.T[::-1], field.T[::-1], True),
    ):  # fmt: skip
        depth = glow if side else frame
        dark = lines[frame : 2 * depth].max(axis=0, initial=0) < otsu
        film = lines[:depth, dark]
        if dark.mean() < 0.05 or np.median(film[0]) <= threshold:
            continue
        if side:
            view[:depth, dark] = np.maximum(threshold, GLOW_MARGIN * np.median(film, axis=1))[:, None]
            bright = np.percentile(film[:frame], 10, axis=1) > WHITE
        else:
            bright = np.percentile(film, 90, axis=1) > threshold
        width = int(np.logical_and.accumulate(bright).sum())
        view[: width + 1 if width else 0] = np.inf
    return field
