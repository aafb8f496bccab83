"""Two widgets that are drawn in the browser: mammograms side by side, and a chart whose parts can be picked.

Zoom, pan, window and opacity need no answer from Python. Python sends what is new: grey levels, heat, outlines.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import matplotlib
import numpy as np
import traitlets

from bac_utils._files import plain

STATIC = Path(__file__).parent / "static"
GREY_LEVELS = 65535
COLOURS = (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes()
"""Of heat 0 to 1: inferno, whose lightness rises all along, so that it reads without colours too."""


class Picture(anywidget.AnyWidget):
    """HTML or SVG text; parts with a `data-key` can be picked by mouse, also from one to another, and by key."""

    _esm = STATIC / "picture.js"
    _css = STATIC / "picture.css"
    html = traitlets.Unicode("").tag(sync=True)

    def __init__(self, html: str = "", on_pick: Callable[[str, str, bool], None] | None = None, **kwargs: Any) -> None:
        """Make a picture.

        Args:
            html: What is shown.
            on_pick: Called with the first and the last key of a pick, and whether it adds to what is picked.
            **kwargs: Further traits.
        """
        super().__init__(html=html, **kwargs)
        self._on_pick = on_pick
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: dict, buffers: Any) -> None:
        if content.get("type") == "pick" and self._on_pick:
            self._on_pick(str(content.get("from")), str(content.get("to")), bool(content.get("add")))


class ViewCanvas(anywidget.AnyWidget):
    """Mammograms in a row; see `view_canvas.js` for mouse and keys."""

    _esm = STATIC / "view_canvas.js"
    _css = STATIC / "view_canvas.css"
    views = traitlets.List().tag(sync=True)
    """What is shown, left to right: `key, title, rows, columns, aspect, row_mm, mirror, levels, tile, heat`."""
    tiles = traitlets.List().tag(sync=True)
    heats = traitlets.List().tag(sync=True)
    texts = traitlets.List().tag(sync=True)
    """For each view the lines of text in its upper corner, separated by line ends."""
    outlines = traitlets.List().tag(sync=True)
    """For each view polygons as flat lists x, y, x, y, ... in pixels of the view as shown."""
    colours = traitlets.Bytes(COLOURS).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    show_outline = traitlets.Bool(True).tag(sync=True)
    centre = traitlets.Float(1.0).tag(sync=True)
    """Centre of the window, in deviations of the breast's grey levels above their mean."""
    width = traitlets.Float(6.0).tag(sync=True)
    """Width of the window, in the same unit."""
    linked = traitlets.Bool(False).tag(sync=True)
    """Whether zoom and pan move all views together."""
    panel_width = traitlets.Int(330).tag(sync=True)
    label = traitlets.Unicode("Mammograms").tag(sync=True)

    def __init__(
        self,
        on_key: Callable[[str], None] | None = None,
        on_sharpen: Callable[[dict], None] | None = None,
        on_actual_size: Callable[[int], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make an empty row.

        Args:
            on_key: Called with a key that Python is to answer (`ArrowLeft`, `n`, ...).
            on_sharpen: Called with `view` (its key), `index`, `rect` (x0, y0, x1, y1 in pixels of the view as shown)
                and `size` (rows, columns) when the original's pixels are wanted; answer by `sharpen`.
            on_actual_size: Called with the number of a view that is wanted 1:1; answer by `actual_size`.
            **kwargs: Further traits.
        """
        super().__init__(**kwargs)
        self._on_key, self._on_sharpen, self._on_actual_size = on_key, on_sharpen, on_actual_size
        self.on_msg(self._answer)

    def show(self, shown: Sequence[dict], selected: int = 0) -> None:
        """Show views.

        Args:
            shown: Dicts of `key, title, text`, `pixels` (prepared view, (H, W), 0 outside; None: a place without a
                view), `heat` ((h, w) in [0, 1], or None), `spacing_mm` ((row, column) or None), `mirror` (chest wall
                at the right) and `outline` (polygons, (n, 2)).
            selected: Number of the selected view.
        """
        views, tiles, heats = [], [], []
        for view in shown:
            entry = {name: view[name] for name in ("key", "title", "mirror")}
            pixels, spacing = view["pixels"], view.get("spacing_mm")
            entry |= {"rows": 2, "columns": 1, "aspect": 1.0, "row_mm": None, "missing": "no view", "levels": [0, 1]}
            if pixels is not None:
                grey, levels = grey_levels(pixels)
                rows, columns = pixels.shape
                entry |= {"rows": rows, "columns": columns, "levels": levels, "missing": ""}
                entry["tile"] = {"place": len(tiles), "rows": rows, "columns": columns}
                tiles.append(turned(grey, view["mirror"]).tobytes())
                if spacing:
                    entry |= {"aspect": spacing[0] / spacing[1], "row_mm": spacing[0]}
            if view.get("heat") is not None:
                heat = np.round(np.clip(turned(view["heat"], view["mirror"]), 0, 1) * 255).astype(np.uint8)
                entry["heat"] = {"place": len(heats), "rows": heat.shape[0], "columns": heat.shape[1]}
                heats.append(heat.tobytes())
            views.append(plain(entry))
        outlines = [self._flat(view.get("outline") or [], view) for view in shown]
        with self.hold_sync():
            self.tiles, self.heats, self.outlines, self.selected = tiles, heats, outlines, selected
            self.texts = [view["text"] for view in shown]
            self.views = views

    def update(self, outlines: Sequence[Sequence[np.ndarray]], texts: Sequence[str]) -> None:
        """Replace outlines and texts.

        Args:
            outlines: For each view polygons (n, 2), in pixels of the prepared view.
            texts: For each view its lines of text.
        """
        with self.hold_sync():
            self.outlines = [self._flat(polygons, view) for polygons, view in zip(outlines, self.views, strict=True)]
            self.texts = list(texts)

    def sharpen(self, asked: dict, grey: np.ndarray) -> None:
        """Answer `on_sharpen`.

        Args:
            asked: What it was called with.
            grey: uint16 (rows, columns) of the rectangle, on the view's levels.
        """
        message = {"type": "sharp", "size": list(grey.shape)} | {k: asked[k] for k in ("view", "index", "rect")}
        self.send(message, [np.ascontiguousarray(grey, "<u2").tobytes()])

    def actual_size(self, index: int, scale: float) -> None:
        """Show a view 1:1: one pixel of the screen per pixel of the original.

        Args:
            index: Number of the view.
            scale: Rows of the original per row of the prepared view.
        """
        self.send({"type": "actual", "index": index, "scale": scale})

    def reset(self) -> None:
        """Show all views whole, with the initial window."""
        self.send({"type": "reset"})

    def ask_actual_size(self) -> None:
        """Ask for the selected view 1:1, as its key does."""
        if self._on_actual_size:
            self._on_actual_size(self.selected)

    def _flat(self, polygons: Sequence[np.ndarray], view: dict) -> list[list[float]]:
        columns = view["columns"] if "columns" in view else view["pixels"].shape[1] if polygons else 0
        flip = np.array([columns, 0]), np.array([-1, 1])
        placed = [flip[0] + flip[1] * polygon if view["mirror"] else polygon for polygon in polygons]
        return [np.asarray(polygon, float).round(1).ravel().tolist() for polygon in placed]

    def _answer(self, _: Any, content: dict, buffers: Any) -> None:
        if content.get("type") == "key" and self._on_key:
            self._on_key(str(content.get("key")))
        elif content.get("type") == "sharpen" and self._on_sharpen:
            self._on_sharpen(content)
        elif content.get("type") == "actual":
            self.ask_actual_size()


def turned(image: np.ndarray, mirror: bool) -> np.ndarray:
    """Return the image, left and right exchanged where it is to be shown as a mirror image."""
    return image[:, ::-1] if mirror else image


def grey_levels(pixels: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Bring a prepared view to 16 bit.

    Args:
        pixels: (H, W), mean 0 and deviation 1 inside the breast, 0 outside.

    Returns:
        uint16 (H, W), black outside, and the values of 0 and of 65535, in deviations.
    """
    inside = pixels != 0
    if not inside.any():
        return np.zeros(pixels.shape, np.uint16), [0.0, 1.0]
    low, high = float(pixels[inside].min()), float(pixels[inside].max())
    high = high if high > low else low + 1
    return on_levels(np.where(inside, pixels, low), [low, high]), [low, high]


def on_levels(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return values, in deviations, as uint16 of these levels; what lies outside gets the nearest."""
    low, high = levels
    return np.clip((values - low) / (high - low) * GREY_LEVELS, 0, GREY_LEVELS).astype("<u2")
