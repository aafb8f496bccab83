"""The image files behind prepared views: their pixels, for zooming beyond the network's matrix, and their grid."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import pandas as pd

from bac_utils.dataset import read_view
from bac_utils.preprocess import Prepared, prepare
from bac_utils.widgets.canvas import on_levels

KEPT = 8
"""Number of originals kept in memory."""


class Views(Protocol):
    """Views whose files can be read, such as those of `ViewStore`.

    Attributes:
        table: One row per view, with what `dataset.read_view` needs.
        shape: (rows, columns) of the prepared views.
    """

    table: pd.DataFrame
    shape: tuple[int, int]


class _Original(NamedTuple):
    """An original, upright and with the chest wall on the left, and how the prepared view was made from it."""

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    """The breast's rectangle in `pixels`."""
    inset: tuple[int, int, int, int]
    """The same rectangle in the prepared view."""
    gain: tuple[float, float]
    """Factor and offset from grey levels of the original to those of the prepared view."""
    prepared: Prepared


class Originals:
    """Reads the image files of views; the most recently used stay in memory. Threads may share it."""

    def __init__(self, store: Views, pixel_mm: float | None, kept: int = KEPT) -> None:
        """Store the arguments; files are read on request.

        Args:
            store: The views, of a run or of a views table.
            pixel_mm: Pixel size of the prepared views, mm; None if breasts are stretched to the matrix.
            kept: Number of originals kept in memory.
        """
        self._store, self._pixel_mm, self._kept = store, pixel_mm, kept
        self._read: OrderedDict[int, _Original] = OrderedDict()
        self._lock = threading.Lock()

    def part(
        self, row: int, rect: Sequence[float], size: Sequence[int], mirror: bool, levels: Sequence[float]
    ) -> tuple[np.ndarray, list[float]]:
        """Crop a rectangle from the original.

        Args:
            row: The view's row in the store.
            rect: x0, y0, x1, y1 in pixels of the prepared view as shown.
            size: Rows and columns of the rectangle on the screen; an upper limit for the size of the result, which is
                never larger than the rectangle in the original.
            mirror: Whether the view is shown as a mirror image of the prepared view.
            levels: Values that correspond to 0 and 65535, in standard deviations (`canvas.grey_levels`).

        Returns:
            The pixels, uint16 (rows, columns), and the rectangle that they cover: `rect` clipped to the original and
            extended to whole pixels of it.

        Raises:
            Skip: The file can no longer be used.
            ValueError: The rectangle does not overlap the original.
        """
        pixels, box, inset, gain, _ = self._original(row)
        columns = self._store.shape[1]
        x0, y0, x1, y1 = rect
        if mirror:
            x0, x1 = columns - x1, columns - x0
        down, across = ((box[k + 1] - box[k]) / (inset[k + 1] - inset[k]) for k in (0, 2))
        tall, wide = ((np.array(p) - inset[k]) * s + box[k] for p, k, s in (((y0, y1), 0, down), ((x0, x1), 2, across)))
        r0, r1 = np.clip([np.floor(tall[0]), np.ceil(tall[1])], 0, pixels.shape[0]).astype(int)
        c0, c1 = np.clip([np.floor(wide[0]), np.ceil(wide[1])], 0, pixels.shape[1]).astype(int)
        if r1 <= r0 or c1 <= c0:
            raise ValueError(f"rect: got {list(rect)}, must overlap the image")
        part = pixels[r0:r1, c0:c1]
        shape = min(int(size[0]), r1 - r0), min(int(size[1]), c1 - c0)
        part = cv2.resize(part, (max(shape[1], 1), max(shape[0], 1)), interpolation=cv2.INTER_AREA)
        grey = on_levels(gain[0] * part + gain[1], levels)
        y0, y1 = ((n - box[0]) / down + inset[0] for n in (r0, r1))
        x0, x1 = ((n - box[2]) / across + inset[2] for n in (c0, c1))
        if mirror:
            x0, x1, grey = columns - x1, columns - x0, grey[:, ::-1]
        return grey, [float(n) for n in (x0, y0, x1, y1)]

    def scale(self, row: int) -> float:
        """Return the number of rows of the original per row of the prepared view; errors as in `part`."""
        _, box, inset, _, _ = self._original(row)
        return (box[1] - box[0]) / (inset[1] - inset[0])

    def prepared(self, row: int) -> Prepared:
        """Return the prepared view of a file.

        Raises:
            Skip: The file cannot be used.
        """
        return self._original(row).prepared

    def to_file(self, row: int, points: np.ndarray) -> np.ndarray:
        """Move points from the prepared view to the image file.

        Args:
            row: The view's row in the store.
            points: float (n, 2), x and y in pixels of the prepared view, from the corner of its first pixel.

        Returns:
            float64 (n, 2), x and y in pixels of the file, from the corner of its first pixel.

        Raises:
            Skip: The file can no longer be used.
        """
        pixels, box, inset, _, prepared = self._original(row)
        x, y = _moved(np.asarray(points, float), inset, box).T
        (rows, columns), (exchanged, reversed_) = pixels.shape, prepared.turn
        x = columns - x if prepared.flipped else x
        y = rows - y if reversed_ else y
        return np.column_stack([y, x] if exchanged else [x, y])

    def to_view(self, row: int, points: np.ndarray) -> np.ndarray:
        """Move points from the image file to the prepared view, the inverse of `to_file`."""
        pixels, box, inset, _, prepared = self._original(row)
        (rows, columns), (exchanged, reversed_) = pixels.shape, prepared.turn
        x, y = np.asarray(points, float).T[::-1] if exchanged else np.asarray(points, float).T
        y = rows - y if reversed_ else y
        x = columns - x if prepared.flipped else x
        return _moved(np.column_stack([x, y]), box, inset)

    def _original(self, row: int) -> _Original:
        """Return an original, from memory or from its file."""
        with self._lock:
            if row in self._read:
                self._read.move_to_end(row)
                return self._read[row]
        found = self._open(row)
        with self._lock:
            self._read[row] = found
            while len(self._read) > self._kept:
                self._read.popitem(last=False)
        return found

    def _open(self, row: int) -> _Original:
        mammogram = read_view(self._store.table.loc[row])
        prepared = prepare(mammogram, self._store.shape, self._pixel_mm, any_pixels=True)
        r0, r1, c0, c1 = prepared.box
        pixels = np.asarray(mammogram.pixels, np.float32)
        exchanged, upside_down = prepared.turn
        if exchanged:
            pixels, (r0, r1, c0, c1) = pixels.T, (c0, c1, r0, r1)
        if upside_down:
            pixels, r0, r1 = pixels[::-1], pixels.shape[0] - r1, pixels.shape[0] - r0
        if prepared.flipped:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            c0, c1 = pixels.shape[1] - c1, pixels.shape[1] - c0
        top, bottom, left, right = prepared.inset
        shown = prepared.pixels[top:bottom, left:right]
        small = cv2.resize(pixels[r0:r1, c0:c1], shown.shape[::-1], interpolation=cv2.INTER_AREA)
        gain, offset = np.polyfit(small[shown != 0].astype(float), shown[shown != 0].astype(float), 1)
        return _Original(pixels, (r0, r1, c0, c1), prepared.inset, (float(gain), float(offset)), prepared)


def _moved(points: np.ndarray, old: Sequence[float], new: Sequence[float]) -> np.ndarray:
    """Move points (x, y) from a rectangle (r0, r1, c0, c1) to another one."""
    start, end = np.array([old[2], old[0]]), np.array([new[2], new[0]])
    factor = np.array([new[3] - new[2], new[1] - new[0]]) / np.array([old[3] - old[2], old[1] - old[0]])
    return (points - start) * factor + end
