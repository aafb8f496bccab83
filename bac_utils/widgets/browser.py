"""The view browser: the four views of a woman in the hanging protocol, with heatmaps, filters and reader's notes."""

from dataclasses import replace
from html import escape

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bac_utils import plots, view_plots
from bac_utils.detection import OUTCOMES, classify_outcomes
from bac_utils.detector import OperatingPoint
from bac_utils.quantify import bac_area, common_spacings
from bac_utils.run_folder import load_part
from bac_utils.views_table import EXAM
from bac_utils.widgets import svg
from bac_utils.widgets.base import LINE, WIDE, choice, row, slider, th_slider
from bac_utils.widgets.hanging import HANGING, MOUSE, STEP_KEYS, VIEW_KEYS, HangingViews
from bac_utils.widgets.originals import Originals
from bac_utils.widgets.reader_notes import LABELS, NOTES_FILE, Note, ReaderNotes
from bac_utils.widgets.store import ViewStore, measures_text
from bac_utils.widgets.tuning import outline

KEYS_HELP = f"Keys while the views have the focus: {STEP_KEYS}; {VIEW_KEYS}; h heatmap, o outline. {MOUSE}"
_NOTED = ["patient_id", "laterality", "view"]


class ViewBrowser(HangingViews):
    """Shows one exam of a woman at a time, of those who pass the filters; `KEYS_HELP` lists the keys.

    Views are outlined and measured by `OperatingPoint.measure`, as in `score`.
    """

    def __init__(self, store: ViewStore) -> None:
        """Show the first woman of the test set; `store` contains the run's views."""
        self._store, self.notes = store, ReaderNotes(store.folder)
        th = store.point.heatmap_threshold
        self._table = self._with_burden()
        self._exams, self._filling, self._noted = [], False, Note()
        self._make_filters()
        self._make_canvas(th)
        self._make_notes()
        display = ipywidgets.VBox([self.heat_threshold, self.opacity, self.outlined])
        window = ipywidgets.VBox([self.centre, self.width])
        filters = row(ipywidgets.VBox([self.split, self.outcomes]), ipywidgets.VBox([self.ages, self.burden]))
        steps = row(self.previous, self.next, self.actual, self.whole, self.linked, self.where)
        help_ = ipywidgets.HTML(f"<small>{KEYS_HELP}</small>")
        notes = [self.noted, row(self.label, self.note)]
        super().__init__([filters, steps, self.canvas, help_, row(display, window), *notes])
        self.filter()

    def filter(self) -> None:
        """Select the women with at least one view that passes all filters, and show the first."""
        table = self._table
        fits = table["outcome"].isin(OUTCOMES if self.outcomes.value == "all" else [self.outcomes.value])
        fits |= (table["outcome"] == "") & (self.outcomes.value == "all")
        if self.split.value != "all":
            fits &= table["split"] == self.split.value
        if self.ages.value != (self.ages.min, self.ages.max):  # else women without an age are shown, too
            fits &= table["age"].between(*self.ages.value)
        low, high = self.burden.value
        if (low, high) != (self.burden.min, self.burden.max):
            fits &= table["burden"].between(low, high)
        self._exams = sorted(table.loc[fits, EXAM].drop_duplicates().itertuples(index=False, name=None))
        self.women = [woman for woman, _ in self._exams]
        self.go(0)

    def write_note(self) -> None:
        """Write the note and label of the selected view to the file."""
        index = self._rows[self.canvas.selected]
        if index is None or self._filling:
            return
        what, mine = self._table.loc[index], Note(self.label.value, self.note.value)
        try:
            self._noted = self.notes.put(*what[_NOTED], *mine, exam=what["exam"], before=self._noted)
        except (ValueError, OSError) as error:
            self._tell(f"NOT SAVED, will be tried again with the next change ({error})")
            return
        joined = ""
        if self._noted != mine:
            self._fill(self._noted)
            joined = "; another reader had changed this note, so both are kept"
        self._tell(f"saved in {NOTES_FILE}, which holds {len(self.notes)} views{joined}")

    def outcome_counts(self) -> dict[str, dict[str, int]]:
        """Return the number of TP, FP, FN and TN views at the run's threshold, by set."""
        counts = self._table.groupby(["split", "outcome"]).size()
        return {name: {o: int(counts.get((name, o), 0)) for o in OUTCOMES} for name in self._table["split"].unique()}

    def figure(self) -> Figure:
        """Draw the four views in the hanging protocol."""
        return _figure(self)

    def _with_burden(self) -> pd.DataFrame:
        """Return the views with outcome and burden: the length in the table (mm), or else the heatmap area above Th."""
        table, point = self._store.table.copy(), self._store.point
        table["outcome"] = classify_outcomes(table["bac"], table["score"], point.threshold)
        if "bac_length_mm" in table and table["bac_length_mm"].notna().any():
            self._burden_label = "Calcified length per view (mm)"
            return table.assign(burden=table["bac_length_mm"])
        table["burden"] = np.where(table["score"] < point.threshold, 0.0, np.nan)
        rows = table.index[table["with_heat"] & (table["score"] >= point.threshold)]
        spacings = common_spacings([self._store.spacing_mm(index) for index in rows])
        for index, spacing in zip(rows, spacings, strict=True):
            pixels = self._store.pixels(index)
            area = bac_area(self._store.heat(index), pixels.shape, point.heatmap_threshold, spacing, pixels != 0)
            table.loc[index, "burden"] = area[0]
        self._burden_label = f"Heatmap area per view ({'mm²' if all(spacings) else 'pixels'})"
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
        ages = self._table["age"].dropna()
        low, high = (int(np.floor(ages.min())), int(np.ceil(ages.max()))) if len(ages) else (0, 0)
        wide = {"style": WIDE, "layout": LINE}
        self.ages = ipywidgets.IntRangeSlider(
            value=(low, high), min=low, max=high, description="Age (years)", continuous_update=False, **wide
        )
        self.ages.add_class("bac-ages")
        self.ages.layout.display = None if len(ages) else "none"
        most = float(np.ceil(np.nanmax([*self._table["burden"], 1])))
        self.burden = ipywidgets.FloatRangeSlider(
            value=(0, most), min=0, max=most, step=1, readout_format=".0f",
            description=self._burden_label.replace(" per view", ""),
            tooltip=self._burden_label, continuous_update=False, **wide,
        )  # fmt: skip
        self.burden.add_class("bac-burden")
        for widget in (self.split, self.outcomes, self.ages, self.burden):
            widget.observe(lambda _: self.filter(), "value")

    def _make_canvas(self, th: float) -> None:
        originals = Originals(self._store, load_part(self._store.folder, "training").get("view_pixel_mm"))
        self._make_views(originals, f"Four views, R and L back to back. {KEYS_HELP}")
        self.heat_threshold = th_slider(th)
        self.opacity = slider("Opacity of the heatmap", "bac-opacity", 0, 1, 0.05, 0.35, ".2f")
        self.outlined = ipywidgets.Checkbox(value=True, description="Outline of the calcified arteries", indent=False)
        self.outlined.add_class("bac-outlined")
        for widget, name in ((self.opacity, "opacity"), (self.outlined, "show_outline")):
            self._links.append(ipywidgets.jslink((widget, "value"), (self.canvas, name)))
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
        """Show the current woman."""
        woman, exam = self._exams[self.place] if self._exams else (None, "")
        mine = self._table[(self._table["patient_id"] == woman) & (self._table["exam"] == exam)]
        self._rows = [_only(mine, *view) for view in HANGING]
        self.canvas.show(
            [self._shown(index, view) for index, view in zip(self._rows, HANGING, strict=True)], self._first(mine)
        )
        if woman is None:
            self.where.value = "No woman fits these filters."
        else:
            what = mine.iloc[0]
            age = "age unknown" if np.isnan(what["age"]) else f"{what['age']:.0f} years"
            self.where.value = (
                f"<b class='bac-woman'>{escape(woman)}</b>{escape(_of_exam(exam))}, {age}, {what['split']} set: woman "
                f"<b class='bac-place'>{self.place + 1}</b> of <b class='bac-women'>{len(self.women)}</b>"
            )
        self._fill_note()

    def _first(self, mine: pd.DataFrame) -> int:
        """Return the position of the first view that passes the outcome filter, or else of the first available view."""
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
        pixels, (drawn, text) = self._store.pixels(index), self._measured(index)
        found = {"key": str(index), "text": text, "pixels": pixels, "heat": self._store.heat(index), "outline": drawn}
        return empty | found | {"spacing_mm": self._store.spacing_mm(index)}

    def _measured(self, index: int | None) -> tuple[list[np.ndarray], str]:
        """Return the outline of a view at the current Th, and its text."""
        if index is None:
            return [], ""
        what, found = self._table.loc[index], self._store.measure(index, self.point)
        label = {0: "BAC−", 1: "BAC+"}.get(what["bac"], "unknown")
        text = f"label {label}\nscore {what['score']:.3f} {what['outcome']}\n{measures_text(found)}"
        return [] if found is None else outline(found.mask), text

    def _move_th(self) -> None:
        measured = [self._measured(index) for index in self._rows]
        self.canvas.update([drawn for drawn, _ in measured], [text for _, text in measured])

    @property
    def point(self) -> OperatingPoint:
        """The run's operating point with Th from the slider."""
        return replace(self._store.point, heatmap_threshold=self._th)

    @property
    def _th(self) -> float:
        return round(self.heat_threshold.value, 6)

    def _fill_note(self) -> None:
        """Show the note and label of the selected view."""
        index = self._rows[self.canvas.selected] if self.canvas.selected < len(self._rows) else None
        found, words = Note(), ""
        if index is not None:
            what = self._table.loc[index]
            try:
                found = self.notes.get(*what[_NOTED], exam=what["exam"])
            except (ValueError, OSError) as error:
                index, words = None, f"cannot be read ({error})"
        self.label.disabled = self.note.disabled = index is None
        self._noted = found
        self._fill(found)
        self._tell(words or (f"{self.notes.unsaved} notes NOT SAVED yet" if self.notes.unsaved else ""))

    def _fill(self, note: Note) -> None:
        """Show a note in the form, without writing it."""
        self._filling = True
        try:
            self.label.value, self.note.value = note
        finally:
            self._filling = False

    def _tell(self, words: str = "") -> None:
        index = self._rows[self.canvas.selected]
        name = "no view" if index is None else " ".join(self._table.loc[index, _NOTED])
        words = f": {words}" if words else ""
        self.noted.value = (
            f"<span role='status' aria-live='polite'>Reader's note on <b>{escape(name)}</b>{escape(words)}</span>"
        )


def _of_exam(exam: str) -> str:
    return f", exam {exam}" if exam else ""


def _only(mine: pd.DataFrame, side: str, position: str) -> int | None:
    """Return the row of the given view of a woman, or None if she has no such view."""
    found = mine.index[(mine["laterality"] == side) & (mine["view"] == position)]
    return int(found[0]) if len(found) else None


@plots.styled
def _figure(browser: ViewBrowser) -> Figure:
    figure, row_ = plt.subplots(1, 4, figsize=(11, 6), layout="constrained")
    for axes, index, (side, position) in zip(row_, browser._rows, HANGING, strict=True):
        axes.set_axis_off()
        if index is None:
            axes.set_title(f"{side} {position}: no view", fontsize=9)
            continue
        pixels = browser._store.pixels(index)
        spacing = browser._store.spacing_mm(index) or (1, 1)
        view_plots.show_view(axes, pixels, spacing[0] / spacing[1])
        for polygon in browser._measured(index)[0]:
            axes.plot(*np.vstack([polygon, polygon[:1]]).T - 0.5, color=svg.ORANGE, lw=1)
        if side == "R":
            axes.invert_xaxis()
        what = browser._table.loc[index]
        axes.set_title(f"{side} {position}, score {what['score']:.2f} {what['outcome']}", fontsize=9)
    if browser.women:
        woman, exam = browser._exams[browser.place]
        title = f"Woman {woman}{_of_exam(exam)}, arteries outlined at Th = {browser._th:.2f}"
        figure.suptitle(title, fontsize=10)
    return figure
