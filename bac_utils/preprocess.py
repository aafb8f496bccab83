"""From a mammogram to the network's input and back: find the breast, crop, resize and normalise.

The steps are those of Mobini et al. 2023 (Preprocessing): Otsu's threshold, the smallest rectangle around the breast, a
fixed matrix, and normalisation of the pixels of the breast only. The breast is the largest component above Otsu's
threshold. Additions make this work on real archives: a bright frame around a digitised film and blacked-out labels are
removed first (`intake.film_frame`), bright film edges are excluded, thin links to labels and edges are cut, and a
second, lower threshold includes the faint skin zone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from bac_utils.intake.film_frame import fill_blanks, find_film, rim
from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.intake.saturation import is_blank, saturated_share

# Lengths are shares of the longer side of the image. Design assumptions, tested on film and on simulated views.
WORKING_SIZE = 512  # maximum length of the longer side, in pixels, of the copy on which the breast is found
FRAME_SHARE = 0.04  # maximum width of film borders at the top and bottom
GLOW_SHARE = 0.12  # maximum width of film borders and glow at the sides
GLOW_MARGIN = 1.1  # tissue at a glowing side is brighter than the glow by this factor, on the square-root scale
WHITE = 0.85  # a strip at a side is a white film border above this grey level, on the square-root scale
LINK_SHARE = 0.012  # links and spurs thinner than twice this are cut
SKIN_FACTORS = (0.3, 0.6, 1.0)  # lower threshold above the background, as a share of Otsu's
FAT_SHARE = 0.2  # the brighter part of the dark class is fat, not skin or glow, if it is more than this share of it
FAT_RISE = 0.4  # and its mean lies more than this share of the way from the background to Otsu's threshold
LARGEST_EXTENT = 0.92  # a region that fills more of its rectangle is an exposed field, not a breast
SMALLEST_SHARE = 0.015  # smallest share of the image area that is a breast
SMALLEST_CONTRAST = 3.0  # breast minus background, in units of the standard deviation of the fine structure
LARGEST_RIM_SHARE = 0.75  # if more of the image's rim is bright, it is a bright background, not a breast
# So is a region above these shares of the image and of its own rectangle's rim, an inverted film with its frame: 0.78,
# 0.71 and 0.91, 0.69 in two. The second was at most 0.54 in 178 views, 160 of them simulated, and 0.65 in a cut one.
LARGEST_SHARE, LARGEST_OWN_RIM_SHARE = 0.75, 0.62
WALL_SHARE = 0.1  # share of the breast's rectangle, from each of its sides, in which the chest wall is sought
TURNED = 1.5  # the chest wall is at the top or bottom if the breast is longer there, by this factor, than at the sides
# Human limits. The breast's area in a view has a median of 171 cm2 and quartiles of 126 and 225 cm2 (244 women, see
# `scoring.sanity`); if its logarithm is normal, 20 cm2 is 5 standard deviations below. Detectors have up to 737 cm2.
BREAST_CM2 = (20.0, 737.0)
SMALLEST_FIELD_MM = 125.0  # longer side of a whole field; the smallest of full-field mammography is 18 cm x 23 cm
LARGEST_REDUCTION = 3.0  # pixels of a file over those of the network; measured by benchmarks/coarse_pixels.py
CROPPED_SHARE = 0.9  # an image that the breast fills to more than this, both ways, may be cropped to the breast
USUAL_FIELD_MM = 240.0  # longer side of the most common film and detector; for files without a spacing


@dataclass(frozen=True)
class Prepared:
    """A prepared view, the input of the network.

    Attributes:
        pixels: float32 (H, W), rounded to float16 values; the chest wall is on the left; mean 0 and standard deviation
            1 inside the breast, exactly 0 outside (and nowhere inside).
        spacing_mm: (row, column) spacing after resizing, mm, or None if the file states none or an impossible one.
            The two differ if the breast's rectangle is stretched.
        box: (r0, r1, c0, c1), the breast's rectangle on the original grid, end-exclusive.
        inset: (r0, r1, c0, c1), the same rectangle in `pixels`; the whole matrix if stretched.
        flipped: Whether the original has the chest wall on the right.
        original_shape: (rows, columns) of the original.
        turn: (exchanged, reversed): whether rows and columns of the original were exchanged, and whether the rows were
            then reversed, to turn it upright. `flipped` refers to the upright image.
        spacing_doubt: Why the stated spacing is not used: `spacing_impossible_breast`, `spacing_impossible_field`, or a
            contradiction in the header (`Description.spacing_rule`). Empty if it is used, or if there is none.
        saturated_share: Share of the breast's pixels at the ends of its grey levels (`intake.saturation`).
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    box: tuple[int, int, int, int]
    inset: tuple[int, int, int, int]
    flipped: bool
    original_shape: tuple[int, int]
    turn: tuple[bool, bool] = (False, False)
    spacing_doubt: str = ""
    saturated_share: float = 0.0

    @property
    def mask(self) -> np.ndarray:
        """The breast, bool (H, W)."""
        return self.pixels != 0


def find_breast(pixels: np.ndarray) -> np.ndarray:
    """Segment the breast on a mammogram, without film borders, labels and background.

    Otsu's threshold (on a square-root grey scale, so that dense tissue does not hide fat) and the largest component, as
    in Mobini et al. 2023, with the additions described in the module. The pectoral muscle is included.

    Args:
        pixels: (rows, columns), any real dtype; higher is denser. NaN and infinite pixels count as background.

    Returns:
        Mask of the breast, bool (rows, columns).

    Raises:
        TypeError: `pixels` is not an array of real numbers.
        ValueError: `pixels` is not two-dimensional or is empty.
        Skip: `no_breast`.
    """
    mask, flipped, _ = _segment(_clean(pixels))
    return np.ascontiguousarray(mask[:, ::-1]) if flipped else mask


def prepare(
    mammogram: Mammogram, shape: tuple[int, int], pixel_mm: float | None = None, any_pixels: bool = False
) -> Prepared:
    """Crop a view to the breast, resize it to the network's matrix and normalise it.

    The smallest rectangle around the breast is resized, by area averaging if it shrinks and linear interpolation if it
    grows. The pixels of the breast are then normalised to mean 0 and standard deviation 1. Mobini et al. 2023 stretch
    the rectangle to the matrix, so that scale and aspect ratio differ between breasts. With `pixel_mm`, every breast
    keeps its size instead, and an artery has the same width in pixels in small and large breasts. The rectangle is then
    placed at the left edge of the matrix, vertically centred; if it is too large for the matrix, it is shrunk to fit. A
    view and its mirror image give the same result.

    An image that its header describes as turned is first turned upright. A spacing with which the breast or the field
    would have an impossible size is not used.

    Args:
        mammogram: The view.
        shape: (rows, columns) of the result.
        pixel_mm: Pixel size of the result in mm; None stretches. For a file without a spacing, the longer side of the
            image is assumed to be `USUAL_FIELD_MM`.
        any_pixels: Whether a reduced copy is accepted, as for a reader; a network finds less in it.

    Returns:
        The prepared view, with its box and spacing.

    Raises:
        ValueError: `shape` is not two positive whole numbers, or `pixel_mm` is not a positive number.
        Skip: `no_breast` or `rotated`; with `pixel_mm` also `coarse_pixels`.
    """
    if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"shape: got {shape!r}, must be two positive whole numbers (rows, columns)")
    if pixel_mm is not None and not (np.isfinite(pixel_mm) and pixel_mm > 0):
        raise ValueError(f"pixel_mm: got {pixel_mm!r}, must be a positive number of mm, or None")
    mask, flipped, pixels, turn = _segment_upright(mammogram)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    r0, r1, c0, c1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    spacing = mammogram.spacing_mm
    doubt = "" if spacing or mammogram.spacing_rule in ("", "given") else mammogram.spacing_rule
    if spacing is not None:
        spacing = spacing[::-1] if turn[0] else spacing
        doubt = _doubt(mask, (r1 - r0, c1 - c0), spacing, mammogram.spacing_rule not in ("", "given"))
        spacing = None if doubt else spacing
    size = tuple(int(n) for n in shape)
    if pixel_mm is not None:
        nominal = np.array(spacing or (USUAL_FIELD_MM / max(mask.shape),) * 2)
        if nominal.max() > LARGEST_REDUCTION * pixel_mm and not any_pixels:
            about = "" if spacing else f" (without a spacing, the longer side is taken to be {USUAL_FIELD_MM:g} mm)"
            rule = f"must be at most {LARGEST_REDUCTION * pixel_mm:.2f} mm for a network of {pixel_mm:.2f} mm"
            raise Skip("coarse_pixels", f"got pixels of {nominal.max():.2f} mm{about}, {rule}")
        wanted = np.array([r1 - r0, c1 - c0]) * nominal / pixel_mm
        wanted *= min(1.0, *(np.array(shape) / wanted))
        size = tuple(int(n) for n in np.clip(np.round(wanted), 1, shape))
    top = (shape[0] - size[0]) // 2
    inset = (top, top + size[0], 0, size[1])
    inside = _resize(mask[r0:r1, c0:c1] * np.uint8(255), size) > 127
    values = _resize(pixels[r0:r1, c0:c1], size)
    breast = values[inside].astype(np.float64)
    deviation = breast.std() if breast.size else 0.0
    if not deviation > 0 or is_blank(pixels, mask):
        raise Skip("no_breast", "all pixels of the breast are equal, or almost all")
    result = np.zeros(shape, np.float32)
    # Rounded to float16, as in a run's cache, so that a view has the same values from its file and from there.
    normal = ((breast - breast.mean()) / deviation).astype(np.float16).astype(np.float32)
    # No pixel inside is exactly 0, since 0 means outside; 1e-4 can be represented in float16.
    normal[np.abs(normal) < 1e-4] = np.float16(1e-4)
    result[top : top + size[0], : size[1]][inside] = normal
    if spacing is not None:
        spacing = (spacing[0] * (r1 - r0) / size[0], spacing[1] * (c1 - c0) / size[1])
    width = mask.shape[1]
    box = (r0, r1, width - c1, width - c0) if flipped else (r0, r1, c0, c1)
    return Prepared(
        pixels=result,
        spacing_mm=spacing,
        box=_turn_box_back(box, mask.shape, turn),
        inset=inset,
        flipped=flipped,
        original_shape=mammogram.pixels.shape,
        turn=turn,
        spacing_doubt=doubt,
        saturated_share=saturated_share(pixels, mask),
    )


def to_original(map_: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Resample a map of the prepared view, such as a heatmap, to the grid of the original image, linearly.

    Where the map shrinks, areas are averaged.

    Args:
        map_: (h, w) of any size; it covers the whole prepared view.
        prepared: The view that the map belongs to.

    Returns:
        float32, of the original's shape, 0 outside the breast's rectangle.

    Raises:
        ValueError: `map_` is not two-dimensional or is empty.
    """
    map_ = np.ascontiguousarray(map_, np.float32)
    if map_.ndim != 2 or map_.size == 0:
        raise ValueError(f"map_: got shape {map_.shape}, must be (rows, columns)")
    r0, r1, c0, c1 = prepared.box
    top, bottom, left, right = prepared.inset
    matrix = prepared.pixels.shape
    if (top, bottom, left, right) != (0, matrix[0], 0, matrix[1]):
        map_ = np.ascontiguousarray(_resize(map_, matrix)[top:bottom, left:right])
    exchanged, reversed_ = prepared.turn
    part = _resize(map_, (c1 - c0, r1 - r0) if exchanged else (r1 - r0, c1 - c0))
    part = part[:, ::-1] if prepared.flipped else part
    part = part[::-1] if reversed_ else part
    result = np.zeros(prepared.original_shape, part.dtype)
    result[r0:r1, c0:c1] = part.T if exchanged else part
    return result


def mask_to_original(mask: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Resample a mask of the prepared view to the grid of the original image.

    If it is enlarged, its outline is interpolated, which rounds the corners of pixels. If it shrinks, an original pixel
    is included if at least half of it is covered, which preserves the area.

    Args:
        mask: bool (H, W), on the grid of `prepared.pixels`.
        prepared: The view that the mask belongs to.

    Returns:
        bool, of the original's shape.

    Raises:
        ValueError: The mask is not bool, or its shape is not that of the prepared view.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != prepared.pixels.shape:
        raise ValueError(f"mask: got {mask.dtype} of shape {mask.shape}, must be bool of {prepared.pixels.shape}")
    return to_original(mask.astype(np.float32), prepared) >= 0.5


def _clean(pixels: np.ndarray) -> np.ndarray:
    """Return float32 pixels; those that are not finite are set to the smallest finite value."""
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
    """Resize a float32 or uint8 image to `shape` (rows, columns): area averages if it shrinks, linear if it grows."""
    rows, columns = min(image.shape[0], shape[0]), min(image.shape[1], shape[1])
    image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _segment(pixels: np.ndarray) -> tuple[np.ndarray, bool, np.ndarray]:
    """Return the breast's mask with the chest wall on the left, whether the image was flipped, and the flipped image.

    The image is flipped before the segmentation, so that mirror images give identical results.
    """
    coarse = pixels[:: max(1, pixels.shape[0] // 128), :: max(1, pixels.shape[1] // 128)]
    coarse = np.minimum(coarse, np.percentile(coarse, 90)).mean(axis=0)
    flipped = bool(coarse[: len(coarse) // 2].sum() < coarse[(len(coarse) + 1) // 2 :].sum())
    turned = cv2.flip(pixels, 1) if flipped else pixels
    mask = _find(turned)
    heights = mask.sum(axis=0)
    heights = heights[np.flatnonzero(heights)[0] : np.flatnonzero(heights)[-1] + 1]
    ends = max(1, len(heights) // 10)
    if heights[:ends].sum() < heights[-ends:].sum():  # the breast is tallest at the chest wall
        flipped = not flipped
        turned = cv2.flip(pixels, 1) if flipped else pixels
        mask = _find(turned)
    return mask, flipped, turned


def _segment_upright(mammogram: Mammogram) -> tuple[np.ndarray, bool, np.ndarray, tuple[bool, bool]]:
    """Turn a view upright as its header says and segment it; return mask, `flipped`, pixels and turn.

    The header's word is compared with the place of the chest wall in the image. If the header only reverses an image,
    and the image has the chest wall on the other side, the header was not turned with the image and is not followed.

    Raises:
        Skip: `no_breast`; `rotated` if the chest wall is at the upper or lower edge, or if the header exchanges rows
            and columns, and the chest wall is opposite to where it should then be.
    """
    pixels = _clean(mammogram.pixels)
    exchanged, reversed_, mirrored = mammogram.turn
    upright = pixels.T if exchanged else pixels
    upright = np.ascontiguousarray(upright[::-1] if reversed_ else upright)
    mask, flipped, turned = _segment(upright)
    if _wall_is_across(mask):
        raise Skip("rotated", "the chest wall is at the upper or lower edge")
    if (exchanged or reversed_) and flipped != mirrored:
        if exchanged:
            raise Skip("rotated", "the chest wall is not where PatientOrientation puts it")
        return *_segment(pixels), (False, False)
    return mask, flipped, turned, (exchanged, reversed_)


def _wall_is_across(mask: np.ndarray) -> bool:
    """Return whether a breast has its chest wall at the top or bottom: it is longest along the chest wall."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return bool(_longest_at_ends(box.sum(axis=1)) > TURNED * _longest_at_ends(box.sum(axis=0)))


def _longest_at_ends(lengths: np.ndarray) -> float:
    """Return the largest of the lengths within `WALL_SHARE` of either end."""
    near = max(1, round(WALL_SHARE * len(lengths)))
    return float(max(lengths[:near].max(), lengths[-near:].max()))


def _doubt(mask: np.ndarray, box: tuple[int, int], spacing: tuple[float, float], from_file: bool) -> str:
    """Return why a spacing, (row, column) in mm, is impossible for a breast and its image; empty if it is possible.

    The field is only judged if the spacing is that of the file, and so of the whole field.
    """
    area = mask.sum() * spacing[0] * spacing[1] / 100
    if not BREAST_CM2[0] <= area <= BREAST_CM2[1]:
        return "spacing_impossible_breast"
    whole = min(a / b for a, b in zip(box, mask.shape, strict=True)) < CROPPED_SHARE
    field = max(n * s for n, s in zip(mask.shape, spacing, strict=True))
    return "spacing_impossible_field" if from_file and whole and field < SMALLEST_FIELD_MM else ""


def _turn_box_back(
    box: tuple[int, int, int, int], shape: tuple[int, int], turn: tuple[bool, bool]
) -> tuple[int, int, int, int]:
    """Return a rectangle on an upright image of a shape as one on the original."""
    r0, r1, c0, c1 = box
    if turn[1]:
        r0, r1 = shape[0] - r1, shape[0] - r0
    return (c0, c1, r0, r1) if turn[0] else (r0, r1, c0, c1)


def _find(pixels: np.ndarray) -> np.ndarray:
    """Find the breast on finite float32 pixels; see `find_breast`."""
    step = min(-(-max(pixels.shape) // WORKING_SIZE), *pixels.shape)
    rows, columns = (n // step for n in pixels.shape)
    sharp = cv2.resize(pixels[: rows * step, : columns * step], (columns, rows), interpolation=cv2.INTER_AREA)
    if (film := find_film(sharp)) is not None:
        return _find_inside(pixels, film, step)
    sharp = fill_blanks(sharp)
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

    # A bright muscle can raise the threshold above the fat; the darker class then contains both background and fat.
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
    if breast.mean() < SMALLEST_SHARE:
        raise Skip("no_breast", f"the largest bright region covers {breast.mean():.1%} of the image")
    own = rim(breast[np.ix_(breast.any(axis=1), breast.any(axis=0))]).mean()
    if rim(breast).mean() > LARGEST_RIM_SHARE or (own > LARGEST_OWN_RIM_SHARE and breast.mean() > LARGEST_SHARE):
        raise Skip("no_breast", "a bright region fills the image's rim: background, or the polarity is wrong")
    size = (columns * step, rows * step)
    whole = cv2.resize(breast * np.uint8(255), size, interpolation=cv2.INTER_LINEAR)
    rest = (pixels.shape[0] - size[1], pixels.shape[1] - size[0])
    return cv2.copyMakeBorder(whole, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE) > 127


def _find_inside(pixels: np.ndarray, film: np.ndarray, step: int) -> np.ndarray:
    """Find the breast on the film, a mask that is coarser by `step`: crop, make the frame dark, and paste back."""
    rows, columns = np.flatnonzero(film.any(axis=1)), np.flatnonzero(film.any(axis=0))
    part = slice(rows[0] * step, (rows[-1] + 1) * step), slice(columns[0] * step, (columns[-1] + 1) * step)
    film = film[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].repeat(step, axis=0).repeat(step, axis=1)
    inside = pixels[part]
    mask = np.zeros(pixels.shape, bool)
    mask[part] = _find(np.where(film, inside, np.percentile(inside[film], 5))) & film
    return mask


def _component(grey: np.ndarray, threshold: float, otsu: float) -> np.ndarray:
    """Return the component with the largest sum of grey levels above a threshold, as a bool mask.

    Film edges and thin links are cut, and holes are filled.
    """
    field = _edge_threshold(grey, threshold, otsu)
    mask = (grey > field).astype(np.uint8)
    radius = max(1, round(LINK_SHARE * max(grey.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # The image is padded with zeros, so that strips along its edges count as thin.
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    labels = cv2.connectedComponents(opened)[1]
    weights = np.bincount(labels.ravel(), grey.ravel())
    if len(weights) < 2:
        return np.zeros(grey.shape, bool)
    core = (labels == 1 + np.argmax(weights[1:])).astype(np.uint8)
    grown = cv2.dilate(core, disc) & mask  # restores what the opening removed from the outline, mainly the nipple
    grown = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, disc) * np.isfinite(field)
    outline = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return cv2.drawContours(grown, outline, -1, 1, cv2.FILLED).astype(bool)


def _edge_threshold(grey: np.ndarray, threshold: float, otsu: float) -> np.ndarray:
    """Raise the threshold along edges of the image that are bright without a breast: film borders and glow.

    Lines perpendicular to an edge that are dark further inside show only film. If most of them are bright at the edge,
    the strip is excluded at the top and bottom. At the sides, where the chest wall may be, only a white strip is
    excluded; against glow, these lines get a higher threshold, and the upper and lower ends of a breast are still
    brighter.
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
