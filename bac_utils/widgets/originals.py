"""Original pixels for part of a prepared view, for zooming beyond the resolution of the network's matrix."""

from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np

from bac_utils.dataset import read_view
from bac_utils.preprocess import prepare
from bac_utils.widgets.canvas import on_levels
from bac_utils.widgets.store import ViewStore

KEPT = 8
"""Number of originals kept in memory."""


class Originals:
    """Reads the image files of a run's views; the most recently used stay in memory."""

    def __init__(self, store: ViewStore, pixel_mm: float | None) -> None:
        """Store the arguments; files are read on request.

        Args:
            store: The run's views.
            pixel_mm: Pixel size of the prepared views, mm; None if breasts are stretched to the matrix.
        """
        self._store, self._pixel_mm, self._read = store, pixel_mm, OrderedDict()

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
        pixels, box, inset, gain = self._original(row)
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
        _, box, inset, _ = self._original(row)
        return (box[1] - box[0]) / (inset[1] - inset[0])

    def _original(self, row: int) -> tuple[np.ndarray, tuple, tuple, tuple[float, float]]:
        """Return pixels (upright, chest wall left), the breast's rectangles there and in the matrix, gain, offset."""
        if row in self._read:
            self._read.move_to_end(row)
            return self._read[row]
        mammogram = read_view(self._store.table.loc[row])
        prepared = prepare(mammogram, self._store.shape, self._pixel_mm)
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
        self._read[row] = pixels, (r0, r1, c0, c1), prepared.inset, (float(gain), float(offset))
        while len(self._read) > KEPT:
            self._read.popitem(last=False)
        return self._read[row]
