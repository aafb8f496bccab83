"""From a heatmap to the calcified artery: its hot region is narrowed to what is bright and line-shaped in the pixels.

A heatmap shows a blurred artery. The pixels show its edges, but also much else that is bright. Both are combined into
one map, and the artery is where this map is close to its local maximum: at the end of a line, a blurred line falls to
half its height, whatever the width of the blur and the heat of the line. A global threshold would prolong hot arteries
and miss faint ones.

All sizes are in mm. The constants are this kit's own. `LINE_SHARE`, `LEVEL`, `SURROUNDINGS_MM` and `LEAST_LINE` were
chosen on 27 simulated MLO views (women of `population.draw_measured`, seeds 900 to 929). Their ground truth served as
the heatmap: blurred by 2.5 and 5 mm, on a grid of 16 pixels, and on that grid with noise and false spots. `LEVEL` was
then adjusted to the local logits of an earlier bundled detector on 48 views (`draw_measured(24, 901)`), `FINE_LEVEL` to
those of the present one, together with its Th, on 192 others and on 144 vessels calcified in part (0.60, 0.64, 0.68,
0.72 and 0.76 were tried; `benchmarks/heatmap_threshold.py`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.morphology import remove_small_holes

from bac_utils.arteries.masks import check_spacing

GRAIN_MM = 2.0
"""Diameter within which a structure must stand out on all sides: calcified grains and walls do, ducts and muscle do
not."""
BLUR_MM = 0.15
"""Standard deviation of the Gaussian that suppresses noise before that."""
BRIGHTEST = 10.0
"""Limit of the contrast, in units of the breast's mean, so that a coarse calcification does not outshine a line."""
GRID_MM = 0.3125
"""Smallest pixel size of the grid on which lines are detected."""
LINE_MM, CORE_MM, SIDE_MM = 3.0, 0.8, 2.0
"""Standard deviations of the line filter: along the line, across it, and across the bands beside it, which count
negatively."""
DIRECTIONS = 12
"""Number of directions of the line filter, over 180 degrees."""
LINE_SHARE = 1 / 3
"""Weight of the line filter in the geometric mean; the heatmap has the rest."""
LEVEL, FINE_LEVEL, FINE_MM = 0.65, 0.68, 2.0
"""The artery is above this share of the local maximum; the second number holds for heatmaps with positions closer than
the third one, in mm."""
SURROUNDINGS_MM = 4.0
"""Half the side of the square in which the local maximum is taken."""
REACH = 1 / 3
"""Outside the region above Th, the artery may extend to where the heat falls to this share of Th."""
LEAST_LINE = 0.6
"""A piece whose largest line response is below this is dropped; in units of the breast's mean contrast."""
MOST_ROUND = 0.5
"""A piece is a spot, and dropped, if its mean response over all directions exceeds this share of its largest response;
for a disc the share is 1."""
HOLE_MM2 = 10.0
"""Smaller holes are filled, so that no centre line runs around them; crossing arteries enclose larger ones."""
MARGIN_MM = 1.0
"""Distance between the walls of an artery and the outline drawn around it (this kit's choice)."""


@dataclass(frozen=True)
class Lines:
    """Bright line-like structure of a view, which does not depend on its heatmap.

    Attributes:
        largest: Largest response of the line filter over all directions, float32, on a grid of square pixels.
        mean: Mean response, float32, on the same grid.
        side_mm: Side of the grid's pixels.
    """

    largest: np.ndarray
    mean: np.ndarray
    side_mm: float


def find_lines(pixels: np.ndarray, spacing_mm: tuple[float, float]) -> Lines:
    """Filter a view for bright line-like structure; this takes most of the time of `refine_mask`.

    Args:
        pixels: The prepared view, float32 (H, W): mean 0 and deviation 1 inside the breast, 0 outside.
        spacing_mm: (row, column) of the prepared view.

    Returns:
        The responses, in units of the breast's mean contrast.
    """
    spacing = check_spacing(spacing_mm)
    pixels = np.asarray(pixels, np.float32)
    shape, side = _grid(pixels.shape, spacing)
    return Lines(*line_response(_resize(contrast(pixels, spacing), shape), side), side)


def refine_mask(
    pixels: np.ndarray,
    heat: np.ndarray,
    threshold: float,
    spacing_mm: tuple[float, float],
    lines: Lines | None = None,
    level: float = LEVEL,
) -> np.ndarray:
    """Segment the calcified artery in the hot region of a heatmap.

    Let R be the response of a line filter to small bright structures, and H the heatmap. The artery is where
    E = R^(1/3) H^(2/3) exceeds `level` times the largest E within `SURROUNDINGS_MM`. A connected piece is kept if it
    touches the region H > threshold, contains a clear line, and is not a compact spot.

    Args:
        pixels: The prepared view, float32 (H, W): mean 0 and deviation 1 inside the breast, 0 outside.
        heat: Its heatmap in [0, 1], upsampled to (H, W) (`quantify.upsample_map`).
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view.
        lines: `find_lines` of the view, where the same view is segmented several times.
        level: Share of the local maximum, in (0, 1).

    Returns:
        bool (H, W), about as wide as the artery and only inside the breast. All False if no pixel is above the
        threshold, or if there is no line among those that are.

    Raises:
        ValueError: The shapes differ, the threshold is not between 0 and 1, the heat is not in [0, 1], or the spacing
            is not two positive numbers.
    """
    pixels, heat = np.asarray(pixels, np.float32), np.asarray(heat, np.float32)
    spacing = check_spacing(spacing_mm)
    if pixels.ndim != 2 or heat.shape != pixels.shape:
        raise ValueError(f"heat: got shape {heat.shape}, must be that of the pixels, (H, W) = {pixels.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: got {threshold!r}, must lie between 0 and 1")
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(f"heat: got {heat.min():g} to {heat.max():g}, must lie in [0, 1]")
    breast = pixels != 0
    if not ((heat > threshold) & breast).any():
        return np.zeros(pixels.shape, bool)
    found = find_lines(pixels, spacing) if lines is None else lines
    hot = _resize(np.where(breast, heat, 0), found.largest.shape)
    joint = found.largest**LINE_SHARE * hot ** (1 - LINE_SHARE)
    near = (joint > level * _top(joint, found.side_mm)) & (hot > REACH * threshold)
    number, label = cv2.connectedComponents(near.astype(np.uint8))
    inside = label > 0
    flat, strength = label[inside], found.largest[inside]
    hottest, strongest = np.zeros(number), np.zeros(number)
    np.maximum.at(hottest, flat, hot[inside])
    np.maximum.at(strongest, flat, strength)
    round_ = np.bincount(flat, found.mean[inside], number) > MOST_ROUND * np.bincount(flat, strength, number)
    kept = (hottest > threshold) & (strongest > LEAST_LINE) & ~round_
    kept[0] = False
    artery = remove_small_holes(kept[label], max_size=round(HOLE_MM2 / found.side_mm**2))
    return (_resize(artery.astype(np.float32), pixels.shape) > 0.5) & breast


def contrast(pixels: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Measure how much brighter each pixel is than its surroundings (white top-hat transform).

    Args:
        pixels: The prepared view, float32 (H, W), 0 outside the breast.
        spacing_mm: (row, column).

    Returns:
        float32 (H, W) in units of its mean in the breast, 0 to `BRIGHTEST`; 0 outside the breast.
    """
    row, column = spacing_mm
    breast = pixels != 0
    size = tuple(2 * max(round(GRAIN_MM / mm / 2), 1) + 1 for mm in (column, row))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size)
    smooth = cv2.GaussianBlur(pixels, (0, 0), sigmaX=BLUR_MM / column, sigmaY=BLUR_MM / row)
    rise = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, disc)
    usual = float(rise[breast].mean()) if breast.any() else 0.0
    return np.where(breast, np.minimum(rise / max(usual, 1e-6), BRIGHTEST), 0).astype(np.float32)


def line_response(bright: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Filter an image with a bright line between two dark bands, in `DIRECTIONS` directions.

    Args:
        bright: float32 (H, W), with square pixels.
        pixel_mm: Their side.

    Returns:
        The largest and the mean response over the directions, both float32 (H, W), in units of `bright`; negative
        responses are set to 0.
    """
    responses = [
        cv2.filter2D(bright, -1, _line_kernel(np.pi * k / DIRECTIONS, pixel_mm), borderType=cv2.BORDER_CONSTANT)
        for k in range(DIRECTIONS)
    ]
    return np.maximum(np.max(responses, axis=0), 0), np.maximum(np.mean(responses, axis=0), 0)


def _line_kernel(angle: float, pixel_mm: float) -> np.ndarray:
    """Return the line filter for one direction (radians), float32 (n, n), with sum 0."""
    reach = int(np.ceil(2 * LINE_MM / pixel_mm))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * pixel_mm
    along = np.exp(-0.5 * ((x * np.cos(angle) + y * np.sin(angle)) / LINE_MM) ** 2)
    across = y * np.cos(angle) - x * np.sin(angle)
    core, band = (along * np.exp(-0.5 * (across / width) ** 2) for width in (CORE_MM, SIDE_MM))
    return (core / core.sum() - band / band.sum()).astype(np.float32)


def _grid(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[tuple[int, int], float]:
    """Return the shape of the grid on which lines are detected, and the side of its square pixels in mm."""
    side = max(GRID_MM, *spacing_mm)
    return tuple(max(round(n * mm / side), 1) for n, mm in zip(shape, spacing_mm, strict=True)), side


def _resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize to `shape` (rows, columns): area averages if there are fewer rows, else linear interpolation."""
    way = cv2.INTER_AREA if shape[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image.astype(np.float32), (shape[1], shape[0]), interpolation=way)


def _top(image: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Return the local maximum around each pixel, smoothed over half the width of the square."""
    side = 2 * round(SURROUNDINGS_MM / pixel_mm) + 1
    smooth = side // 4 * 2 + 1
    return cv2.blur(cv2.dilate(image, np.ones((side, side), np.uint8)), (smooth, smooth))
