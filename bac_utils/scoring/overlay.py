"""The view with outline and measurements drawn in, for viewers that show neither Segmentations nor reports."""

from collections.abc import Mapping

import cv2
import numpy as np

COLOUR = (255, 64, 64)
"""Red, green and blue of the outline; the Segmentation's segment has the same colour."""
NOTICE = "Research, not for diagnosis"
LINE_SHARE = 1 / 1500  # thickness of the outline, as a share of the image's longer side
TEXT_SHARE = 0.3  # width of the text, as a share of the image's width
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(pixels: np.ndarray, mask: np.ndarray, measures: Mapping[str, float | None]) -> np.ndarray:
    """Draw outline and measurements into a view.

    Grey levels run from black, the view's lowest value, to white, its highest. The outline runs around the mask; pixels
    inside it are unchanged. The text is in the darkest corner, away from the breast.

    Args:
        pixels: The view as displayed, (rows, columns); higher values are brighter (`Mammogram.pixels`).
        mask: The calcified arteries, bool of the same shape.
        measures: `bac_length_mm` in mm and `bac_area_mm2` in mm2, if they are known; other values are not shown.

    Returns:
        uint8 (rows, columns, 3): red, green and blue.

    Raises:
        ValueError: The mask is not bool or has another shape.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != pixels.shape:
        raise ValueError(f"mask: got {mask.dtype} of shape {mask.shape}, must be bool of shape {pixels.shape}")
    low, high = float(pixels.min()), float(pixels.max())
    grey = np.rint((pixels - np.float32(low)) * np.float32(255 / ((high - low) or 1))).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    reach = max(1, round(max(mask.shape) * LINE_SHARE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    line = cv2.dilate(mask.astype(np.uint8), disc).astype(bool) & ~mask
    lines = [NOTICE]
    shown = (("BAC length", "bac_length_mm", "mm"), ("BAC area", "bac_area_mm2", "mm2"))
    lines += [f"{what} {measures[key]:.1f} {unit}" for what, key, unit in shown if measures.get(key) is not None]
    _write_lines(picture, lines, grey + 255.0 * (line | mask))
    picture[line] = COLOUR
    return picture


def _write_lines(picture: np.ndarray, lines: list[str], occupied: np.ndarray) -> None:
    """Write white lines of text with a dark rim into the corner with the lowest mean of `occupied`."""
    rows, columns = occupied.shape
    (width, height), _ = cv2.getTextSize(max(lines, key=len), FONT, 1, 2)
    scale = TEXT_SHARE * columns / width
    step, margin = int(np.ceil(1.8 * height * scale)), int(np.ceil(height * scale))
    tall, wide = min(rows, len(lines) * step + margin), min(columns, round(width * scale) + 2 * margin)
    corners = [(top, left) for top in (rows - tall, 0) for left in (0, columns - wide)]
    top, left = min(corners, key=lambda corner: occupied[corner[0] :, corner[1] :][:tall, :wide].mean())
    place = np.ascontiguousarray(picture[top : top + tall, left : left + wide])
    for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        for number, words in enumerate(lines, 1):
            start, thick = (margin, number * step), max(1, round(thickness * scale))
            cv2.putText(place, words, start, FONT, scale, colour, thick, cv2.LINE_AA)
    picture[top : top + tall, left : left + wide] = place
