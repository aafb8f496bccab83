"""What the view browser and the reader study share: four views in the hanging protocol, with zoom, window and steps."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets

from bac_utils.intake.mammogram import Skip
from bac_utils.widgets.base import Panel, button, slider
from bac_utils.widgets.canvas import ViewCanvas
from bac_utils.widgets.originals import Originals

HANGING = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
"""The hanging protocol, from left to right: R and L back to back, with the chest walls in the middle."""
STEP_KEYS = "→ or n next woman, ← or p previous, Home first, End last"
VIEW_KEYS = (
    "1 to 4 select a view; + and − zoom, w a s d pan, r shows 1:1, l links zoom and pan, 0 resets zoom and window; "
    "[ ] narrow and widen the window, comma and full stop brighten and darken"
)
MOUSE = "Mouse: wheel zooms, drag pans, right drag (or Alt and drag) sets the window, double click resets."


class HangingViews(Panel):
    """Shows the views of one exam at a time. Subclasses show them in `_show`, with the exam at `place`.

    Attributes:
        women: Identifiers of the women, once for each exam.
        place: Index in `women` of the woman shown, from 0.
    """

    women: list[str]
    place: int

    def _make_views(self, originals: Originals, label: str, **options: Any) -> None:
        """Make the canvas, the buttons of steps and zoom, and the sliders of the window.

        Args:
            originals: The image files.
            label: What a screen reader says of the canvas.
            **options: More arguments of `ViewCanvas`.
        """
        self._originals, self._worker = originals, ThreadPoolExecutor(1)
        self._rows: list[int | None] = [None] * len(HANGING)
        self.women, self.place = [], 0
        self.canvas = ViewCanvas(
            on_key=self.press, on_sharpen=self.sharpen, on_actual_size=self.show_actual_size, label=label, **options
        )
        self.canvas.add_class("bac-canvas")
        self.previous = button("◀ Previous woman", "bac-previous", lambda: self.go(self.place - 1), "key: ← or p")
        self.next = button("Next woman ▶", "bac-next", lambda: self.go(self.place + 1), "key: → or n")
        self.actual = button("1:1", "bac-actual", self.canvas.ask_actual_size, "one pixel per original pixel; key: r")
        self.whole = button("Reset zoom and window", "bac-reset", self.canvas.reset, "key: 0, or double click")
        self.linked = ipywidgets.Checkbox(
            value=False, description="Linked zoom", indent=False, layout={"width": "auto"}
        )
        self.linked.add_class("bac-linked")
        self.where = ipywidgets.HTML()
        self.where.add_class("bac-where")
        self.centre = slider("Window centre (SD)", "bac-centre", -5, 10, 0.05, 1.0, ".2f")
        self.width = slider("Window width (SD)", "bac-width", 0.2, 20, 0.05, 6.0, ".2f")
        pairs = ((self.centre, "centre"), (self.width, "width"), (self.linked, "linked"))
        self._links = [ipywidgets.jslink((widget, "value"), (self.canvas, name)) for widget, name in pairs]

    def go(self, place: int) -> None:
        """Show the woman with this index; an index out of range is clipped to the first or last woman."""
        self.place = min(max(place, 0), max(len(self.women) - 1, 0))
        self._show()

    def press(self, key: str) -> None:
        """Handle a key press forwarded by the views."""
        places = {"ArrowRight": 1, "n": 1, "ArrowLeft": -1, "p": -1, "PageDown": 10, "PageUp": -10}
        if key in places:
            self.go(self.place + places[key])
        elif key in ("Home", "End"):
            self.go(0 if key == "Home" else len(self.women) - 1)

    def sharpen(self, asked: dict) -> Any:
        """Read the original of a zoomed view in the background and send its visible part; return a future or None."""
        index = int(asked["index"])
        row_ = self._row_of(index)
        if row_ is None or self.canvas.views[index]["key"] != asked["view"]:
            return None
        view = self.canvas.views[index]
        return self._worker.submit(self._send_sharp, row_, asked, view["mirror"], view["levels"])

    def show_actual_size(self, index: int) -> None:
        """Show a view with one screen pixel per pixel of the original."""
        row_ = self._row_of(index)
        if row_ is not None:
            self._worker.submit(self._send_actual_size, index, row_)

    def _row_of(self, index: int) -> int | None:
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def _send_sharp(self, row_: int, asked: dict, mirror: bool, levels: list) -> None:
        try:
            grey, rect = self._originals.part(row_, asked["rect"], asked["size"], mirror, levels)
        except (Skip, ValueError, OSError):  # keep showing the prepared view
            return
        self.canvas.sharpen(asked | {"rect": rect}, grey)

    def _send_actual_size(self, index: int, row_: int) -> None:
        try:
            self.canvas.actual_size(index, self._originals.scale(row_))
        except (Skip, ValueError, OSError):  # the original cannot be read: the view does not change
            return

    def _show(self) -> None:
        raise NotImplementedError
