"""The film in a digitised image: inside its bright frame, and without blacked-out labels.

All functions take a small copy of an image, float32 (rows, columns). Lengths are shares of its longer side. The numbers
are design assumptions, tested on films and on simulated views.
"""

import cv2
import numpy as np
from scipy.stats import theilslopes
from skimage.filters import threshold_otsu

from bac_utils.intake.mammogram import Skip

BORDER_SHARE = 0.12  # maximum width of one side of a frame around the film
BORDER_RIM = 0.85  # a side of the image has a frame if more of its outermost line is bright
BORDER_FIT = 0.6  # and if more of the widths measured along it lie on a straight line
BLANK_SHARE = (0.005, 0.05)  # share of the image area that is a blacked-out label
BLANK_LEVEL = 0.01  # grey level below which it is black, as a share of the image's range
WHITE_SHARE = 0.85  # grey level of a frame beside tissue, as a share of the frame's on the other sides
NARROW_SHARE = 0.02  # maximum width of a frame that need not be told apart from tissue


def find_film(image: np.ndarray) -> np.ndarray | None:
    """Return the film inside a bright frame on at least three sides of the small copy, as a bool mask; None without.

    On the lines perpendicular to a side, the first dark pixel ends the frame. Lines that are still bright at the
    maximum width cross the breast. A straight line is fitted to the widths, so that the frame may be rotated; notches
    and labels are outliers. The outline of a breast on a bright background is curved and gives no frame.

    Raises:
        Skip: `no_breast`, if the breast and the frame cannot be separated along one side.
    """
    low, high = np.percentile(image, [1, 99])
    if not high > low:
        return None
    grey = np.sqrt(np.clip((image - low) / (high - low), 0, 1))
    cut = float(threshold_otsu(grey))
    sides = (grey, grey[::-1], grey.T, grey.T[::-1])
    if sum((lines[0] > cut).mean() >= BORDER_RIM for lines in sides) < 3:
        return None
    slopes = [
        sign * _slope(*_widths(lines, cut), lines.shape[1]) for sign, lines in zip((1, -1, -1, 1), sides, strict=True)
    ]
    if np.isnan(slopes).all():
        return None
    slopes = [sign * np.nanmedian(slopes) for sign in (1, -1, -1, 1)]  # one rotation for all sides
    found = [_border(lines, cut, slope) for lines, slope in zip(sides, slopes, strict=True)]
    framed = [border is not None and np.median(border) >= 1 for border in found]
    if sum(framed) < 3:
        return None
    bare = framed.index(False) if not all(framed) else None
    if bare is not None and found[bare] is None and (sides[bare][0] > cut).mean() > BORDER_RIM:
        level = WHITE_SHARE * np.median([np.median(lines[0]) for lines, has in zip(sides, framed, strict=True) if has])
        if np.median(sides[bare][0]) > level:  # frame or tissue
            white = [_border(lines, level, slope, BORDER_FIT) for lines, slope in zip(sides, slopes, strict=True)]
            # A grey step within the frame may be tissue at this side.
            if any(
                w is None or (f is not None and abs(np.median(w - f)) > 2) for w, f in zip(white, found, strict=True)
            ):
                if max(np.median(f) for f in found if f is not None) <= NARROW_SHARE * max(grey.shape):
                    return None  # narrow borders are excluded later, by `preprocess`
                raise Skip("no_breast", "the breast cannot be separated from a bright frame around the film")
            found[bare] = white[bare]
    film = np.ones(grey.shape, bool)
    for view, border in zip((film, film[::-1], film.T, film.T[::-1]), found, strict=True):
        if border is not None and np.median(border) >= 1:
            view &= np.arange(len(view))[:, None] > border  # without the mixed pixels at the edge
    return film if film.any() else None


def fill_blanks(image: np.ndarray) -> np.ndarray:
    """Fill blacked-out labels with the median of the pixels around them.

    They are darker than the film, and would be taken for the background. A digital background is as dark but reaches
    the rim of the image; the image is then returned unchanged.
    """
    low, high = image.min(), np.percentile(image, 99)
    blank = (image <= low + BLANK_LEVEL * (high - low)).astype(np.uint8)
    if rim(blank).any() or not BLANK_SHARE[0] <= blank.mean() <= BLANK_SHARE[1]:
        return image
    blank = cv2.dilate(blank, np.ones((5, 5), np.uint8)) > 0  # with the mixed pixels of its outline
    around = cv2.dilate(blank.astype(np.uint8), np.ones((5, 5), np.uint8)) > blank
    return np.where(blank, np.median(image[around]), image)


def rim(image: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of an image as a vector."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _widths(lines: np.ndarray, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of `lines` in which a frame brighter than `cut` ends, and its width there."""
    dark = lines[: max(2, round(BORDER_SHARE * max(lines.shape)))] <= cut
    places = np.flatnonzero(dark.any(axis=0))
    return places, dark[:, places].argmax(axis=0)


def _slope(places: np.ndarray, widths: np.ndarray, columns: int) -> float:
    """Return the slope of the frame's edge; NaN if it is seen on less than half of the side."""
    return theilslopes(widths, places)[0] if len(places) > 1 and np.ptp(places) >= columns / 2 else np.nan


def _border(lines: np.ndarray, cut: float, slope: float, least: float = 0.05) -> np.ndarray | None:
    """Return the width of the frame along the first row of `lines`, a straight line, float (columns,), or None.

    At least a share of the columns, `least`, must show where the frame ends.
    """
    places, widths = _widths(lines, cut)
    if (lines[0] > cut).mean() < BORDER_RIM or len(places) < max(2, least * lines.shape[1]):
        return None
    fitted = slope * np.arange(lines.shape[1])
    fitted += np.median(widths - fitted[places])
    near = np.abs(widths - fitted[places]) <= max(1.5, 0.004 * max(lines.shape))
    return fitted if near.mean() > BORDER_FIT else None
