"""From a heatmap to the calcified artery: its hot region drawn tighter around what is bright and line-like.

A heatmap shows where the artery is, blurred; the pixels show its edges, and much else that is bright. Both are joined
in one map, and what is near the top of its surroundings there is the artery: a blurred line falls to half its height
where the line ends, however wide the blur and however hot the line. A threshold that is the same everywhere prolongs
hot arteries and loses cool ones.

All sizes are in mm. The constants are this kit's own; `LINE_SHARE`, `LEVEL`, `SURROUNDINGS_MM` and `LEAST_LINE` were
chosen on 27 simulated MLO views (women of `phantom.draw_measured`, seeds 900 to 929) with their truth blurred to 2.5
and 5 mm, in cells of 16 pixels, and in cells with noise and false spots; `LEVEL` was then set to the bundled detector's
cells on 48 views (`draw_measured(24, 901)`).
"""

import cv2
import numpy as np
from skimage.morphology import remove_small_holes

from bac_utils.arteries.masks import check_spacing

GRAIN_MM = 2.0
"""Brighter than all around within this diameter: grains and walls are, ducts and muscle are not."""
BLUR_MM = 0.15
"""Deviation of the blur against noise before that."""
BRIGHTEST = 10.0
"""Contrast counts up to so many times the breast's mean, so that a coarse calcification does not outshine a line."""
GRID_MM = 0.3125
"""Lines are sought on a grid no finer than this."""
LINE_MM, CORE_MM, SIDE_MM = 3.0, 0.8, 2.0
"""Deviations of the line filter: along, across, and of the two bands beside, which count against it."""
DIRECTIONS = 12
LINE_SHARE = 1 / 3
"""Weight of the line filter in the geometric mean; the rest is the heatmap's."""
LEVEL = 0.65
"""The artery is above this share of the top of its surroundings."""
SURROUNDINGS_MM = 4.0
"""Half the side of the square that is searched for that top."""
REACH = 1 / 3
"""Outside the region above Th the artery may go on down to this share of Th."""
LEAST_LINE = 0.6
"""A piece whose strongest line response is weaker is dropped, in units of the breast's mean contrast."""
MOST_ROUND = 0.5
"""A piece whose mean response over all directions is a larger share of the largest is a spot; of a disc it is 1."""


HOLE_MM2 = 10.0
"""Smaller holes are filled, lest a centre line run around them; arteries that cross leave larger ones."""
MARGIN_MM = 1.0
"""An outline drawn around an artery keeps about so far away from its walls (this kit's choice)."""


def refine_mask(pixels: np.ndarray, heat: np.ndarray, threshold: float, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Outline the calcified artery inside a heatmap's region.

    With R the response of a line filter to small bright structure and H the heatmap, the artery is where
    E = R^(1/3) H^(2/3) exceeds `LEVEL` times the largest E within `SURROUNDINGS_MM`. Of what hangs together there, a
    piece is kept if it touches the region H > threshold, holds a clear line, and is no compact spot.

    Args:
        pixels: The prepared view, float32 (H, W): mean 0 and deviation 1 inside the breast, 0 outside.
        heat: Its heatmap in [0, 1], brought to (H, W) (`quantify.upsample_map`).
        threshold: Th in (0, 1).
        spacing_mm: (row, column) of the prepared view.

    Returns:
        bool (H, W), about as wide as the vessel; inside the breast only. Without a pixel above the threshold, or a
        line among them, all False.

    Raises:
        ValueError: The shapes differ, the threshold is not between 0 and 1, the heat is not in [0, 1], or the spacing
            is not two positive numbers.
    """
    pixels, heat = np.asarray(pixels, np.float32), np.asarray(heat, np.float32)
    spacing = check_spacing(spacing_mm)
    if pixels.ndim != 2 or heat.shape != pixels.shape:
        raise ValueError(f"heat: got shape {heat.shape}, must be (H, W) as the pixels, {pixels.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: got {threshold!r}, must lie between 0 and 1")
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(f"heat: got {heat.min():g} to {heat.max():g}, must lie in [0, 1]")
    breast = pixels != 0
    empty = np.zeros(pixels.shape, bool)
    if not ((heat > threshold) & breast).any():
        return empty
    shape, side = _grid(pixels.shape, spacing)
    hot = _resize(np.where(breast, heat, 0), shape)
    largest, mean = line_response(_resize(contrast(pixels, spacing), shape), side)
    joint = largest**LINE_SHARE * hot ** (1 - LINE_SHARE)
    near = (joint > LEVEL * _top(joint, side)) & (hot > REACH * threshold)
    number, label = cv2.connectedComponents(near.astype(np.uint8))
    inside = label > 0
    flat, lines = label[inside], largest[inside]
    hottest, strongest = np.zeros(number), np.zeros(number)
    np.maximum.at(hottest, flat, hot[inside])
    np.maximum.at(strongest, flat, lines)
    round_ = np.bincount(flat, mean[inside], number) > MOST_ROUND * np.bincount(flat, lines, number)
    kept = (hottest > threshold) & (strongest > LEAST_LINE) & ~round_
    kept[0] = False
    artery = remove_small_holes(kept[label], max_size=round(HOLE_MM2 / side**2))
    return (_resize(artery.astype(np.float32), pixels.shape) > 0.5) & breast


def contrast(pixels: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Measure how far each pixel rises above its surroundings: a white top-hat.

    Args:
        pixels: The prepared view, float32 (H, W), 0 outside the breast.
        spacing_mm: (row, column).

    Returns:
        float32 (H, W) in units of the breast's mean, 0 to `BRIGHTEST`, 0 outside the breast.
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
    """Filter with a bright line between two dark bands, in all directions.

    Args:
        bright: float32 (H, W), pixels as high as wide.
        pixel_mm: Their side.

    Returns:
        The largest response over `DIRECTIONS`, and the mean, float32 (H, W), in units of `bright`; no less than 0.
    """
    responses = [
        cv2.filter2D(bright, -1, _line_kernel(np.pi * k / DIRECTIONS, pixel_mm), borderType=cv2.BORDER_CONSTANT)
        for k in range(DIRECTIONS)
    ]
    return np.maximum(np.max(responses, axis=0), 0), np.maximum(np.mean(responses, axis=0), 0)


def _line_kernel(angle: float, pixel_mm: float) -> np.ndarray:
    """Return the line filter of one direction, float32 (n, n), sum 0."""
    reach = int(np.ceil(2 * LINE_MM / pixel_mm))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * pixel_mm
    along = np.exp(-0.5 * ((x * np.cos(angle) + y * np.sin(angle)) / LINE_MM) ** 2)
    across = y * np.cos(angle) - x * np.sin(angle)
    core, band = (along * np.exp(-0.5 * (across / width) ** 2) for width in (CORE_MM, SIDE_MM))
    return (core / core.sum() - band / band.sum()).astype(np.float32)


def _grid(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[tuple[int, int], float]:
    """Return the shape of the grid for lines, and the side of its square pixels in mm."""
    side = max(GRID_MM, *spacing_mm)
    return tuple(max(round(n * mm / side), 1) for n, mm in zip(shape, spacing_mm, strict=True)), side


def _resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (rows, columns): area averages where it shrinks, linear where it grows."""
    way = cv2.INTER_AREA if shape[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image.astype(np.float32), (shape[1], shape[0]), interpolation=way)


def _top(image: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Return the largest value in each pixel's surroundings, smoothed over half their width."""
    side = 2 * round(SURROUNDINGS_MM / pixel_mm) + 1
    smooth = side // 4 * 2 + 1
    return cv2.blur(cv2.dilate(image, np.ones((side, side), np.uint8)), (smooth, smooth))
