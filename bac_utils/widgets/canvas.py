"""Two widgets drawn in the browser: mammograms side by side, and a chart with selectable parts.

Zoom, pan, window and opacity are handled in the browser. Python sends new grey levels, heatmaps and outlines.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import matplotlib
import numpy as np
import traitlets

from bac_utils._files import plain
from bac_utils.readings.lines import check_lines

STATIC = Path(__file__).parent / "static"
GREY_LEVELS = 65535
COLOURS = (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes()
"""Colours of heat 0 to 1: inferno, whose lightness increases monotonically, so that it is also legible in grey."""


class Picture(anywidget.AnyWidget):
    """HTML or SVG text whose parts with a `data-key` are selected by clicking, dragging or pressing a key."""

    _esm = STATIC / "picture.js"
    _css = STATIC / "picture.css"
    html = traitlets.Unicode("").tag(sync=True)

    def __init__(self, html: str = "", on_pick: Callable[[str, str, bool], None] | None = None, **kwargs: Any) -> None:
        """Create a picture.

        Args:
            html: HTML or SVG text to show.
            on_pick: Called with the first and last key of a new selection, and whether to add it to the current one.
            **kwargs: Other traits of the widget.
        """
        super().__init__(html=html, **kwargs)
        self._on_pick = on_pick
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: dict, buffers: Any) -> None:
        if content.get("type") == "pick" and self._on_pick:
            self._on_pick(str(content.get("from")), str(content.get("to")), bool(content.get("add")))


class ViewCanvas(anywidget.AnyWidget):
    """Mammograms in a row; `view_canvas.js` defines the mouse and keyboard actions."""

    _esm = STATIC / "view_canvas.js"
    _css = STATIC / "view_canvas.css"
    views = traitlets.List().tag(sync=True)
    """Views from left to right, as dicts of `key, title, rows, columns, aspect, row_mm, mirror, levels, tile, heat`."""
    tiles = traitlets.List().tag(sync=True)
    heats = traitlets.List().tag(sync=True)
    texts = traitlets.List().tag(sync=True)
    """Text in the upper corner of each view, with lines separated by line breaks."""
    outlines = traitlets.List().tag(sync=True)
    """Polygons of each view as flat lists x, y, x, y, ... in pixels of the view as shown."""
    colours = traitlets.Bytes(COLOURS).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    show_outline = traitlets.Bool(True).tag(sync=True)
    centre = traitlets.Float(1.0).tag(sync=True)
    """Centre of the window, in standard deviations of the breast's grey levels above their mean."""
    width = traitlets.Float(6.0).tag(sync=True)
    """Width of the window, in the same unit."""
    linked = traitlets.Bool(False).tag(sync=True)
    """Whether zoom and pan move all views together."""
    ruler = traitlets.Bool(False).tag(sync=True)
    """Whether clicks add points to the ruler's lines."""
    lines = traitlets.List().tag(sync=True)
    """Lines of the ruler in each view, as flat lists x, y, x, y, ... in pixels of the view as shown."""
    more_keys = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """More keys that Python handles; `m` switches the ruler, if it is among them."""
    panel_width = traitlets.Int(330).tag(sync=True)
    label = traitlets.Unicode("Mammograms").tag(sync=True)

    def __init__(
        self,
        on_key: Callable[[str], None] | None = None,
        on_sharpen: Callable[[dict], None] | None = None,
        on_actual_size: Callable[[int], None] | None = None,
        on_lines: Callable[[int, list[np.ndarray]], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create a canvas without views.

        Args:
            on_key: Called with each key that Python handles (`ArrowLeft`, `n`, ...).
            on_sharpen: Called with a request for pixels of the original: a dict of `view` (its key), `index`, `rect`
                (x0, y0, x1, y1 in pixels of the view as shown) and `size` (rows, columns); reply with `sharpen`.
            on_actual_size: Called with the index of the view to show at 1:1; reply with `actual_size`.
            on_lines: Called after each change of the ruler with the index of the view and all of its lines, (n, 2) in
                pixels of the prepared view.
            **kwargs: Other traits of the widget.
        """
        super().__init__(**kwargs)
        self._on_key, self._on_sharpen, self._on_actual_size = on_key, on_sharpen, on_actual_size
        self._on_lines = on_lines
        self.on_msg(self._answer)

    def show(self, shown: Sequence[dict], selected: int = 0) -> None:
        """Show views.

        Args:
            shown: Dicts of `key, title, text`, `pixels` (prepared view, (H, W), 0 outside the breast; None if the view
                does not exist), `heat` ((h, w) in [0, 1], or None), `spacing_mm` ((row, column) or None), `mirror`
                (whether to show the chest wall on the right), `outline` (polygons, (n, 2)), `lines` (of the ruler, the
                same) and `missing` (what to say of a view without pixels).
            selected: Index of the selected view.
        """
        views, tiles, heats = [], [], []
        for view in shown:
            entry = {name: view[name] for name in ("key", "title", "mirror")}
            pixels, spacing = view["pixels"], view.get("spacing_mm")
            entry |= {"rows": 2, "columns": 1, "aspect": 1.0, "row_mm": None, "levels": [0, 1]}
            entry["missing"] = view.get("missing", "no view")
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
            self.lines = [self._flat(view.get("lines") or [], view, 3) for view in shown]
            self.tiles, self.heats, self.outlines, self.selected = tiles, heats, outlines, selected
            self.texts = [view["text"] for view in shown]
            self.views = views

    def update(self, outlines: Sequence[Sequence[np.ndarray]], texts: Sequence[str]) -> None:
        """Replace outlines and texts.

        Args:
            outlines: Polygons (n, 2) of each view, in pixels of the prepared view.
            texts: Text of each view, with lines separated by line breaks.
        """
        with self.hold_sync():
            self.outlines = [self._flat(polygons, view) for polygons, view in zip(outlines, self.views, strict=True)]
            self.texts = list(texts)

    def sharpen(self, asked: dict, grey: np.ndarray) -> None:
        """Send the pixels requested by `on_sharpen`.

        Args:
            asked: The request; its `rect` is the rectangle that `grey` covers.
            grey: Pixels of the rectangle, uint16 (rows, columns), on the view's levels.
        """
        message = {"type": "sharp", "size": list(grey.shape)} | {k: asked[k] for k in ("view", "index", "rect")}
        self.send(message, [np.ascontiguousarray(grey, "<u2").tobytes()])

    def actual_size(self, index: int, scale: float) -> None:
        """Show a view at 1:1: one screen pixel per pixel of the original.

        Args:
            index: Index of the view.
            scale: Rows of the original per row of the prepared view.
        """
        self.send({"type": "actual", "index": index, "scale": scale})

    def reset(self) -> None:
        """Reset the zoom and window of all views."""
        self.send({"type": "reset"})

    def ask_actual_size(self) -> None:
        """Request the selected view at 1:1, like the key `r`."""
        if self._on_actual_size:
            self._on_actual_size(self.selected)

    def ask_ruler(self, action: str) -> None:
        """Change the ruler's lines in the selected view.

        Args:
            action: `undo` (remove the last point), `finish` (end the line) or `clear` (remove all lines).
        """
        self.send({"type": "ruler", "index": self.selected, "action": action})

    def _flat(self, polygons: Sequence[np.ndarray], view: dict, digits: int = 1) -> list[list[float]]:
        columns = view["columns"] if "columns" in view else view["pixels"].shape[1] if polygons else 0
        flip = np.array([columns, 0]), np.array([-1, 1])
        placed = [flip[0] + flip[1] * polygon if view["mirror"] else polygon for polygon in polygons]
        return [np.asarray(polygon, float).round(digits).ravel().tolist() for polygon in placed]

    def _answer(self, _: Any, content: dict, buffers: Any) -> None:
        if content.get("type") == "key" and self._on_key:
            self._on_key(str(content.get("key")))
        elif content.get("type") == "sharpen" and self._on_sharpen:
            self._on_sharpen(content)
        elif content.get("type") == "actual":
            self.ask_actual_size()
        elif content.get("type") == "lines" and self._on_lines:
            self._take_lines(content)

    def _take_lines(self, content: dict) -> None:
        """Pass on the lines of a view, unless it is no longer shown."""
        index = content.get("index")
        view = self.views[index] if isinstance(index, int) and 0 <= index < len(self.views) else None
        if view is None or view["key"] != content.get("view"):
            return
        found = check_lines(content.get("lines"))
        self.lines = [*self.lines[:index], [line.ravel().tolist() for line in found], *self.lines[index + 1 :]]
        if view["mirror"]:
            found = [line * (-1, 1) + (view["columns"], 0) for line in found]
        self._on_lines(index, found)


def turned(image: np.ndarray, mirror: bool) -> np.ndarray:
    """Return the image, flipped horizontally if `mirror` is true."""
    return image[:, ::-1] if mirror else image


def grey_levels(pixels: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Convert a prepared view to 16 bits.

    Args:
        pixels: (H, W), mean 0 and standard deviation 1 inside the breast, 0 outside.

    Returns:
        The view as uint16 (H, W), black outside the breast, and its levels: the pixel values (in standard deviations)
        that correspond to 0 and 65535.
    """
    inside = pixels != 0
    if not inside.any():
        return np.zeros(pixels.shape, np.uint16), [0.0, 1.0]
    low, high = float(pixels[inside].min()), float(pixels[inside].max())
    high = high if high > low else low + 1
    return on_levels(np.where(inside, pixels, low), [low, high]), [low, high]


def on_levels(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return values, in standard deviations, as uint16 on the levels of `grey_levels`; values outside are clipped."""
    low, high = levels
    return np.clip((values - low) / (high - low) * GREY_LEVELS, 0, GREY_LEVELS).astype("<u2")
