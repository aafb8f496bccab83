"""Patches of views with their outlines, for training, and the stitching of patches to a whole view."""

from collections.abc import Callable

import numpy as np

from bac_utils.arteries.segmentation import contrast
from bac_utils.methods.interface import LabelledViews

BRIGHT_SHARE = 0.02
"""Share of the breast that is bright enough to be drawn as a likely mistake."""
BRIGHT_VIEWS = 64
"""Number of views in which bright spots are drawn, other ones in each call; finding them takes long."""
OVERLAP = 32
"""Pixels by which neighbouring tiles overlap (Guo's code: tiles of 512 at a distance of 480)."""


def draw_patches(
    views: LabelledViews, side: int, number: int, rng: np.random.Generator, centred: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Draw patches at random: half around BAC, a quarter around other bright spots, a quarter anywhere in a breast.

    Each patch is turned by a multiple of 90 degrees and mirrored at random.

    Args:
        views: With outlines.
        side: Rows and columns of a patch; the part beyond the edge of a view is 0.
        number: Number of patches.
        rng: Source of randomness.
        centred: Whether the pixel at the centre is the drawn one, for a network that classifies it; else patches are
            shifted by up to a quarter of their side.

    Returns:
        Pixels, float32 (number, side, side), and outlines, bool (number, side, side), in random order.

    Raises:
        ValueError: The views have no outlines, or none shows BAC.
    """
    if views.outlines is None or not views.outlines.any():
        raise ValueError("train: got no outlines with BAC, must have some: this method learns from outlined pixels")
    with_bac, every = np.flatnonzero(views.outlines.any(axis=(1, 2))), np.arange(len(views))
    some, spots = rng.choice(every, min(BRIGHT_VIEWS, len(every)), replace=False), {}
    kinds = rng.permutation(np.arange(number) % 4)
    pixels, outlines = np.zeros((number, side, side), np.float32), np.zeros((number, side, side), bool)
    for k, kind in enumerate(kinds):
        view = int(rng.choice((with_bac, with_bac, some, every)[kind]))
        image, outline = np.asarray(views.pixels[view], np.float32), views.outlines[view]
        if kind == 2:
            if view not in spots:
                spots[view] = _bright_spots(image, outline, views.spacing_mm(view))
            places = spots[view]
        else:
            places = np.flatnonzero(outline if kind < 2 else (image != 0) & ~outline)
        row, column = divmod(int(rng.choice(places)) if len(places) else image.size // 2, image.shape[1])
        if not centred:
            row, column = (int(n + rng.integers(-side // 4, side // 4 + 1)) for n in (row, column))
        turn, mirror = int(rng.integers(4)), bool(rng.integers(2))
        for target, source in ((pixels, image), (outlines, outline)):
            part = np.rot90(_cut(source, row, column, side), turn)
            target[k] = part[:, ::-1] if mirror else part
    return pixels, outlines


def _bright_spots(image: np.ndarray, outline: np.ndarray, spacing: tuple[float, float] | None) -> np.ndarray:
    """Return the places of the brightest pixels of the breast without BAC, in the flattened view."""
    bright = contrast(image, spacing or (0.3, 0.3))
    inside = image != 0
    if not inside.any():
        return np.zeros(0, int)
    return np.flatnonzero(inside & ~outline & (bright >= np.quantile(bright[inside], 1 - BRIGHT_SHARE)))


def _cut(image: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """Return the square around a pixel, 0 beyond the edge of the image; the pixel lies at (side // 2, side // 2)."""
    top, left = row - side // 2, column - side // 2
    part = np.zeros((side, side), image.dtype)
    r0, r1 = max(top, 0), min(top + side, image.shape[0])
    c0, c1 = max(left, 0), min(left + side, image.shape[1])
    if r0 < r1 and c0 < c1:
        part[r0 - top : r1 - top, c0 - left : c1 - left] = image[r0:r1, c0:c1]
    return part


def tiles(length: int, side: int) -> list[int]:
    """Return the first pixels of tiles along one axis: `OVERLAP` pixels in common, the last one flush with the end."""
    if length <= side:
        return [0]
    step = max(side - min(OVERLAP, side // 2), 1)
    return [*range(0, length - side, step), length - side]


def stitch(predict: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, side: int) -> np.ndarray:
    """Predict a view tile by tile, and merge the tiles by their maximum, as Guo's code does.

    Args:
        predict: From tiles (N, side, side, 1) to probabilities (N, side, side, 1).
        pixels: Prepared view, (H, W), 0 outside the breast; smaller views are padded with 0.
        side: Rows and columns of a tile.

    Returns:
        float32 (H, W), 0 outside the breast. Tiles without breast are skipped.
    """
    height, width = pixels.shape
    padded = np.pad(np.asarray(pixels, np.float32), ((0, max(side - height, 0)), (0, max(side - width, 0))))
    places = [(r, c) for r in tiles(padded.shape[0], side) for c in tiles(padded.shape[1], side)]
    places = [(r, c) for r, c in places if padded[r : r + side, c : c + side].any()]
    whole = np.zeros(padded.shape, np.float32)
    if places:
        found = predict(np.stack([padded[r : r + side, c : c + side, None] for r, c in places]))
        for (r, c), tile in zip(places, np.asarray(found)[..., 0], strict=True):
            part = whole[r : r + side, c : c + side]
            np.maximum(part, tile, out=part)
    return np.where(pixels != 0, whole[:height, :width], 0).astype(np.float32)
