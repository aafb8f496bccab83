"""The view browser: a woman's four views as radiologists hang them, with heatmaps, filters and a reader's notes."""

import json
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bac_utils import plots
from bac_utils.detector import kept_thresholds
from bac_utils.intake.reader import Skip
from bac_utils.run_folder import load_part
from bac_utils.settings import PAPER
from bac_utils.widgets import svg
from bac_utils.widgets.base import LINE, WIDE, Panel, button, choice, row, slider
from bac_utils.widgets.canvas import ViewCanvas
from bac_utils.widgets.originals import Originals
from bac_utils.widgets.reader_notes import LABELS, NOTES_FILE, ReaderNotes
from bac_utils.widgets.store import ViewStore
from bac_utils.widgets.tuning import OUTCOMES, TH_GRID, TH_STEP, measure_view, nearest, outcome, outline

HANGING = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
"""Left to right: R and L back to back, chest walls in the middle, as seen facing the woman."""
KEYS_HELP = (
    "Keys while the views have the focus: → or n next woman, ← or p previous, Home first, End last; "
    "1 to 4 select a view; + and − zoom, w a s d pan, 0 whole view; "
    "[ ] narrow and widen the window, comma and point brighten and darken; h heatmap, o outline. "
    "Mouse: wheel zooms, drag pans, right drag (or Alt and drag) sets the window, double click resets."
)


class ViewBrowser(Panel):
    """Women one after the other; see `KEYS_HELP` for keys.

    Attributes:
        women: Identifiers of the women whom the filters leave, in order.
        place: Number of the woman who is shown, from 0.
    """

    def __init__(self, store: ViewStore) -> None:
        """Show the first woman of the test set; `store` holds the run's views.

        Raises:
            FileNotFoundError: The run has no operating point yet.
        """
        self._store, self.notes = store, ReaderNotes(store.folder)
        point = kept_thresholds(store.folder) or _operating_point(store)
        self._threshold = point["threshold"]
        th = float(TH_GRID[nearest(point.get("heatmap_threshold", PAPER.heatmap_threshold))])
        self._originals = Originals(store, load_part(store.folder, "training").get("view_pixel_mm"))
        self._worker = ThreadPoolExecutor(1)
        self._table = self._with_burden(th)
        self.women, self.place, self._rows, self._filling = [], 0, [None] * 4, False
        self._make_filters()
        self._make_canvas(th)
        self._make_notes()
        display = ipywidgets.VBox([self.heat_threshold, self.opacity, self.outlined])
        window = ipywidgets.VBox([self.centre, self.width])
        filters = row(ipywidgets.VBox([self.split, self.outcomes]), ipywidgets.VBox([self.ages, self.burden]))
        steps = row(self.previous, self.next, self.where)
        help_ = ipywidgets.HTML(f"<small>{KEYS_HELP}</small>")
        notes = [self.noted, row(self.label, self.note)]
        super().__init__([filters, steps, self.canvas, help_, row(display, window), *notes])
        self.filter()

    def filter(self) -> None:
        """Take the women who have a view that fits all filters, and show the first."""
        table = self._table
        fits = table["outcome"].isin(OUTCOMES if self.outcomes.value == "all" else [self.outcomes.value])
        fits |= (table["outcome"] == "") & (self.outcomes.value == "all")
        if self.split.value != "all":
            fits &= table["split"] == self.split.value
        fits &= table["age"].between(*self.ages.value)
        low, high = self.burden.value
        if (low, high) != (self.burden.min, self.burden.max):
            fits &= table["burden"].between(low, high)
        self.women = sorted(table.loc[fits, "patient_id"].unique())
        self.go(0)

    def go(self, place: int) -> None:
        """Show the woman of this number; beyond the ends the first or the last."""
        self.place = min(max(place, 0), max(len(self.women) - 1, 0))
        self._show()

    def press(self, key: str) -> None:
        """Answer a key that the views passed on."""
        places = {"ArrowRight": 1, "n": 1, "ArrowLeft": -1, "p": -1, "PageDown": 10, "PageUp": -10}
        if key in places:
            self.go(self.place + places[key])
        elif key in ("Home", "End"):
            self.go(0 if key == "Home" else len(self.women) - 1)

    def write_note(self) -> None:
        """Write the selected view's note and label to the file."""
        index = self._rows[self.canvas.selected]
        if index is None or self._filling:
            return
        what = self._table.loc[index]
        self.notes.put(what["patient_id"], what["laterality"], what["view"], self.label.value, self.note.value)
        self._tell(f"saved in {NOTES_FILE}, which holds {len(self.notes)} views")

    def sharpen(self, asked: dict) -> Any:
        """Read the original of a zoomed view in the background and send what is visible; returns the future."""
        index = int(asked["index"])
        row_ = self._rows[index] if 0 <= index < len(self._rows) else None
        if row_ is None or str(row_) != asked["view"]:
            return None
        view = self.canvas.views[index]
        return self._worker.submit(self._send_sharp, row_, asked, view["mirror"], view["levels"])

    def outcome_counts(self) -> dict[str, dict[str, int]]:
        """Return by set how many views are TP, FP, FN and TN at the run's threshold."""
        counts = self._table.groupby(["split", "outcome"]).size()
        return {name: {o: int(counts.get((name, o), 0)) for o in OUTCOMES} for name in self._table["split"].unique()}

    def figure(self) -> Figure:
        """Draw the four views as they hang."""
        return _figure(self)

    def _send_sharp(self, row_: int, asked: dict, mirror: bool, levels: list) -> None:
        try:
            grey, rect = self._originals.part(row_, asked["rect"], asked["size"], mirror, levels)
        except (Skip, ValueError, OSError):  # the prepared view stays
            return
        self.canvas.sharpen(asked | {"rect": rect}, grey)

    def _with_burden(self, th: float) -> pd.DataFrame:
        """Return the views with their outcome and burden: the stated length in mm, or the heatmap's area."""
        table = self._store.table.copy()
        table["outcome"] = outcome(table["bac"], table["score"], self._threshold)
        if "bac_length_mm" in table and table["bac_length_mm"].notna().any():
            self._burden_label = "Artery's calcified length, a view (mm)"
            return table.assign(burden=table["bac_length_mm"])
        self._burden_label = "Heatmap's area above Th, a view (mm²)"
        table["burden"] = np.nan
        for index in table.index[table["with_heat"]]:
            spacing = self._store.spacing_mm(index)
            table.loc[index, "burden"] = measure_view(self._store.pixels(index), self._store.heat(index), th, spacing)[
                "area"
            ]
        return table

    def _make_filters(self) -> None:
        sets = self._table["split"].unique().tolist()
        self.split = choice("Set", "bac-split", ["all", *sets], "test" if "test" in sets else "all")
        self.outcomes = ipywidgets.ToggleButtons(
            options=["all", *OUTCOMES],
            value="all",
            description="Outcome (views)",
            style=WIDE | {"button_width": "auto"},
        )
        self.outcomes.add_class("bac-outcome")
        ages = self._table["age"]
        low, high = int(np.floor(ages.min())), int(np.ceil(ages.max()))
        wide = {"style": WIDE, "layout": LINE}
        self.ages = ipywidgets.IntRangeSlider(
            value=(low, high), min=low, max=high, description="Age (years)", continuous_update=False, **wide
        )
        self.ages.add_class("bac-ages")
        most = float(np.ceil(np.nanmax([*self._table["burden"], 1])))
        self.burden = ipywidgets.FloatRangeSlider(
            value=(0, most), min=0, max=most, step=1, readout_format=".0f",
            description=self._burden_label.replace(", a view", ""),
            tooltip=self._burden_label, continuous_update=False, **wide,
        )  # fmt: skip
        self.burden.add_class("bac-burden")
        for widget in (self.split, self.outcomes, self.ages, self.burden):
            widget.observe(lambda _: self.filter(), "value")

    def _make_canvas(self, th: float) -> None:
        label = f"Four views, R and L back to back. {KEYS_HELP}"
        self.canvas = ViewCanvas(on_key=self.press, on_sharpen=self.sharpen, label=label)
        self.canvas.add_class("bac-canvas")
        self.previous = button("◀ previous woman", "bac-previous", lambda: self.go(self.place - 1), "key: ← or p")
        self.next = button("next woman ▶", "bac-next", lambda: self.go(self.place + 1), "key: → or n")
        self.where = ipywidgets.HTML()
        self.where.add_class("bac-where")
        self.heat_threshold = slider("Outline above Th", "bac-th", TH_GRID[0], TH_GRID[-1], TH_STEP, th, ".2f")
        self.opacity = slider("Opacity of the heatmap", "bac-opacity", 0, 1, 0.05, 0.35, ".2f")
        self.centre = slider("Window centre (SD)", "bac-centre", -5, 10, 0.05, 1.0, ".2f")
        self.width = slider("Window width (SD)", "bac-width", 0.2, 20, 0.05, 6.0, ".2f")
        self.outlined = ipywidgets.Checkbox(value=True, description="Outline of the region above Th", indent=False)
        self.outlined.add_class("bac-outlined")
        pairs = ((self.opacity, "opacity"), (self.centre, "centre"), (self.width, "width"))
        self._links = [ipywidgets.jslink((w, "value"), (self.canvas, name)) for w, name in pairs]
        self._links.append(ipywidgets.jslink((self.outlined, "value"), (self.canvas, "show_outline")))
        self.canvas.opacity = self.opacity.value
        self.heat_threshold.observe(lambda _: self._move_th(), "value")
        self.canvas.observe(lambda _: self._fill_note(), "selected")

    def _make_notes(self) -> None:
        options = [("as in the table", ""), *((label.replace("-", "−"), label) for label in LABELS[1:])]
        self.label = choice("Corrected label", "bac-label", options, "")
        self.note = ipywidgets.Textarea(description="Note", rows=2, style=WIDE, layout=LINE)
        self.note.add_class("bac-note")
        self.noted = ipywidgets.HTML()
        self.noted.add_class("bac-noted")
        for widget in (self.label, self.note):
            widget.observe(lambda _: self.write_note(), "value")

    def _show(self) -> None:
        """Show the present woman."""
        woman = self.women[self.place] if self.women else None
        mine = self._table[self._table["patient_id"] == woman]
        self._rows = [_only(mine, *view) for view in HANGING]
        self.canvas.show(
            [self._shown(index, view) for index, view in zip(self._rows, HANGING, strict=True)], self._first(mine)
        )
        if woman is None:
            self.where.value = "No woman fits these filters."
        else:
            what = mine.iloc[0]
            self.where.value = (
                f"<b class='bac-woman'>{escape(woman)}</b>, {what['age']:.0f} years, {what['split']} set: woman "
                f"<b class='bac-place'>{self.place + 1}</b> of <b class='bac-women'>{len(self.women)}</b>"
            )
        self._fill_note()

    def _first(self, mine: pd.DataFrame) -> int:
        """Return the first view that the outcome filter asks for, else the first that is there."""
        wanted = [self.outcomes.value] if self.outcomes.value != "all" else []
        for fits in (lambda i: mine.loc[i, "outcome"] in wanted, lambda i: True):
            for number, index in enumerate(self._rows):
                if index is not None and fits(index):
                    return number
        return 0

    def _shown(self, index: int | None, view: tuple[str, str]) -> dict:
        side, position = view
        empty = {"key": f"none {side}{position}", "title": f"{side} {position}", "text": "", "mirror": side == "R"}
        if index is None:
            return empty | {"pixels": None}
        what, pixels, heat = self._table.loc[index], self._store.pixels(index), self._store.heat(index)
        label = {0: "BAC−", 1: "BAC+"}.get(what["bac"], "no label")
        text = f"label {label}\nscore {what['score']:.3f} {what['outcome']}" + (
            "" if heat is not None else "\nno heatmap"
        )
        drawn = [] if heat is None else outline(pixels, heat, self._th)
        found = {"key": str(index), "text": text, "pixels": pixels, "heat": heat, "outline": drawn}
        return empty | found | {"spacing_mm": self._store.spacing_mm(index)}

    def _move_th(self) -> None:
        outlines = []
        for index in self._rows:
            heat = None if index is None else self._store.heat(index)
            outlines.append([] if heat is None else outline(self._store.pixels(index), heat, self._th))
        self.canvas.show_outlines(outlines)

    @property
    def _th(self) -> float:
        return round(self.heat_threshold.value, 2)

    def _fill_note(self) -> None:
        """Show what was said of the selected view."""
        index = self._rows[self.canvas.selected] if self.canvas.selected < len(self._rows) else None
        self._filling = True
        try:
            self.label.disabled = self.note.disabled = index is None
            found = (
                self.notes.get(*self._table.loc[index, ["patient_id", "laterality", "view"]])
                if index is not None
                else ("", "")
            )
            self.label.value, self.note.value = found
        finally:
            self._filling = False
        self._tell()

    def _tell(self, words: str = "") -> None:
        index = self._rows[self.canvas.selected]
        name = "no view" if index is None else " ".join(self._table.loc[index, ["patient_id", "laterality", "view"]])
        words = f": {words}" if words else ""
        self.noted.value = (
            f"<span role='status' aria-live='polite'>Reader's note on <b>{escape(name)}</b>{escape(words)}</span>"
        )


def _only(mine: pd.DataFrame, side: str, position: str) -> int | None:
    """Return the row of a woman's view, or None."""
    found = mine.index[(mine["laterality"] == side) & (mine["view"] == position)]
    return int(found[0]) if len(found) else None


def _operating_point(store: ViewStore) -> dict:
    """Return the run's operating point, or at least the threshold of notebook 03."""
    path = store.folder / "operating_point.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"threshold": load_part(store.folder, "detection")["threshold"]["value"]}


@plots.styled
def _figure(browser: ViewBrowser) -> Figure:
    figure, row_ = plt.subplots(1, 4, figsize=(11, 6), layout="constrained")
    for axes, index, (side, position) in zip(row_, browser._rows, HANGING, strict=True):
        axes.set_axis_off()
        if index is None:
            axes.set_title(f"{side} {position}: no view", fontsize=9)
            continue
        pixels, heat = browser._store.pixels(index), browser._store.heat(index)
        spacing = browser._store.spacing_mm(index) or (1, 1)
        plots.show_view(axes, pixels, spacing[0] / spacing[1])
        for polygon in [] if heat is None else outline(pixels, heat, browser._th):
            axes.plot(*np.vstack([polygon, polygon[:1]]).T - 0.5, color=svg.ORANGE, lw=1)
        if side == "R":
            axes.invert_xaxis()
        what = browser._table.loc[index]
        axes.set_title(f"{side} {position}, score {what['score']:.2f} {what['outcome']}", fontsize=9)
    if browser.women:
        figure.suptitle(f"{browser.women[browser.place]}: outlined above Th = {browser._th:.2f}", fontsize=10)
    return figure
