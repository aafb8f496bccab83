"""The threshold tuner: immediate effects of the detection threshold and the heatmap threshold."""

import math
from dataclasses import replace
from html import escape

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from bac_utils.detection import MEANINGS, RULES, thresholds_by_rule
from bac_utils.detector import CHOOSING_SETS, KEPT_FILE, Finding, OperatingPoint, keep_thresholds
from bac_utils.quantify import PER_IMAGE
from bac_utils.settings import PAPER_HEATMAP_THRESHOLD
from bac_utils.statistics import with_interval
from bac_utils.views_table import SETS
from bac_utils.widgets import svg
from bac_utils.widgets.base import Panel, button, choice, heading, row, slider, th_slider
from bac_utils.widgets.canvas import Picture, ViewCanvas
from bac_utils.widgets.store import ViewStore, measures_text
from bac_utils.widgets.tuner_charts import (
    MARK,
    cross,
    curve_frames,
    marked_curves,
    metrics_table,
    points_table,
    rho_frame,
    tuner_figure,
)
from bac_utils.widgets.tuning import DetectionTuner, LengthTuner, outline

STEP = 0.001
"""Step of the slider of the detection threshold."""


class ThresholdTuner(Panel):
    """Two threshold sliders, the results that depend on them, operating points, and a button to save the thresholds.

    The selected view is outlined and measured by `OperatingPoint.measure`, as in `score`.

    Attributes:
        points: The threshold of each rule, chosen on the set `chosen_on`.
        threshold: Slider of the detection threshold.
        heat_threshold: Slider of the heatmap threshold, Th.
    """

    def __init__(self, store: ViewStore, samples: int = 1000, seed: int = 0, chosen_on: str = CHOOSING_SETS[0]) -> None:
        """Compute the operating points and curves, and show the run's current thresholds.

        Args:
            store: The run's views.
            samples: Number of bootstrap resamples of women for each interval.
            seed: Seed of the bootstrap.
            chosen_on: Set on which thresholds are chosen, one of `detector.CHOOSING_SETS`.

        Raises:
            ValueError: `chosen_on` is not one of these sets, or does not contain both classes.
        """
        if chosen_on not in CHOOSING_SETS:
            raise ValueError(f"chosen_on: got {chosen_on!r}, must be one of {', '.join(CHOOSING_SETS)}")
        self._store, self._samples, self._seed, self._chosen_on = store, samples, seed, chosen_on
        table = store.table[store.table["split"].isin(SETS)]
        self._detection = DetectionTuner(table)
        self.points = thresholds_by_rule(table[table["split"] == chosen_on], samples, seed)
        self._lengths = {}
        self._seen = {chosen_on}
        self._threshold = store.point.threshold
        self._parts = {}
        self._make_detection(self._threshold)
        self._make_heatmap(store.point.heatmap_threshold)
        self._make_keep()
        super().__init__([*self._rows_of_detection(), *self._rows_of_heatmap(), row(self.keep, self.status)])
        self._rule = self._matching_rule()
        self._show_detection()
        self.show_view()
        self._show_lengths()

    def choose_rule(self, rule: str) -> None:
        """Set the detection threshold by a rule; `paper` also sets the paper's Th if heatmaps have the paper's form."""
        self._threshold = self.points[rule].threshold
        self.threshold.value = self._threshold
        self._rule, words = rule, ""
        if rule == "paper" and self._store.point.heatmap == PER_IMAGE:
            self.heat_threshold.value = PAPER_HEATMAP_THRESHOLD
        elif rule == "paper":
            words = f"Th stays: the paper's {PAPER_HEATMAP_THRESHOLD} belongs to Grad-CAM++ over its per-image maximum."
        self._show_detection()
        self._show_measures()
        self._tell(words)

    def keep_now(self) -> None:
        """Save both thresholds in the run's folder."""
        if self.keep.disabled:
            return
        point = self.point
        values = point.threshold, point.heatmap_threshold
        keep_thresholds(self._store.folder, *values, self._chosen_on, self._rule or "by hand", sorted(self._seen))
        self._tell(
            f"saved in {KEPT_FILE}: detection threshold {values[0]:.3f} ({RULES.get(self._rule, 'set by hand')}), "
            f"Th {values[1]:.2f}, chosen on the {self._chosen_on} set; "
            "run notebooks 03 and 04 again to update their tables and to check the lengths"
        )

    @property
    def point(self) -> OperatingPoint:
        """The operating point given by the sliders."""
        thresholds = {"threshold": max(self._threshold, np.nextafter(0, 1)), "heatmap_threshold": self._th}
        return replace(self._store.point, **thresholds)

    def show_view(self) -> None:
        """Show the selected view with the outline of its calcified arteries."""
        index = self.view.value
        if index is None:
            self.canvas.show([])
            self.measured.value, self._outline = "No heatmaps were saved for this set.", []
            return
        what = self._store.table.loc[index]
        self._pixels = self._store.pixels(index)
        shown = {
            "key": str(index),
            "title": f"{what['laterality']} {what['view']}",
            "text": f"score {what['score']:.3f}",
        }
        shown |= {"mirror": what["laterality"] == "R", "pixels": self._pixels, "heat": self._store.heat(index)}
        self.canvas.show([shown | {"spacing_mm": self._store.spacing_mm(index)}])
        self._measure()

    def figure(self) -> Figure:
        """Draw the curves, rho against Th and the selected view in their current state."""
        view = None
        if self.view.value is not None:
            spacing = self._store.spacing_mm(self.view.value) or (1, 1)
            view = {"pixels": self._pixels, "aspect": spacing[0] / spacing[1]}
            view |= {"title": self.view.label.split(",")[0], "outline": self._outline}
        thresholds = self._threshold, self._th
        lengths = self.lengths(), self.length_set.value
        return tuner_figure(self._detection, self.points, self.shown_set.value, thresholds, lengths, view)

    @property
    def _th(self) -> float:
        return round(self.heat_threshold.value, 6)

    def _make_detection(self, threshold: float) -> None:
        names = [(f"{n}{'' if n == self._chosen_on else ' (to look only)'}", n) for n in self._detection.sets]
        self.shown_set = choice("Set shown", "bac-set", names, self._chosen_on)
        self.threshold = slider("Detection threshold (score)", "bac-threshold", 0, 1, STEP, threshold, ".3f")
        self.rules = {
            rule: button(title, f"bac-rule-{rule}", lambda rule=rule: self.choose_rule(rule), MEANINGS[rule])
            for rule, title in RULES.items()
        }
        self.curves = Picture(on_pick=lambda _, key, add: self.choose_rule(key))
        self.counts = Picture()
        self.counts.add_class("bac-counts")
        self.curves.add_class("bac-curves")
        self.table = ipywidgets.HTML(points_table(self.points, self._chosen_on))
        self.table.add_class("bac-points")
        self.shown_set.observe(lambda _: self._change_set(self.shown_set.value), "value")
        self.threshold.observe(lambda _: self._move_threshold(), "value")

    def _make_heatmap(self, th: float) -> None:
        self.heat_threshold = th_slider(th)
        self.view = choice("View", "bac-view-choice", self._view_options(), None)
        self.view.value = self.view.options[0][1] if self.view.options else None
        known = ("validation", "quantification", "test")
        sets = [name for name in known if self._store.measured_rows(name)]
        names = [("none", None), *((f"{n}{'' if n == self._chosen_on else ' (to look only)'}", n) for n in sets)]
        first = self._chosen_on if self._chosen_on in sets else None
        self.length_set = choice("Set with known lengths", "bac-length-set", names, first)
        self.canvas = ViewCanvas(panel_width=330, opacity=0.35, label="The chosen view. Plus and minus zoom, 0 resets.")
        self.canvas.add_class("bac-canvas")
        self.measured = ipywidgets.HTML()
        self.measured.add_class("bac-measured")
        self.rho = Picture()
        self.rho.add_class("bac-rho")
        self.heat_threshold.observe(lambda _: self._show_measures(), "value")
        self.view.observe(lambda _: self.show_view(), "value")
        self.length_set.observe(lambda _: self._change_lengths(), "value")

    def _make_keep(self) -> None:
        words = f"save both thresholds in the run's folder, as chosen on the {self._chosen_on} set"
        self.keep = button("Save", "bac-keep", self.keep_now, words)
        self.keep.button_style = "primary"
        self.status = ipywidgets.HTML()
        self.status.add_class("bac-status")
        self._tell()

    def _rows_of_detection(self) -> list:
        return [
            heading("Detection"), self.shown_set, self.threshold, row(*self.rules.values()),
            row(self.curves, self.counts), self.table,
        ]  # fmt: skip

    def _rows_of_heatmap(self) -> list:
        beside = {"flex": "1 1 0", "min_width": "420px"}  # the rest of the line, beside the view
        right = ipywidgets.VBox([self.measured, self.length_set, self.rho], layout=beside)
        return [heading("Heatmap"), self.heat_threshold, self.view, row(self.canvas, right)]

    def _view_options(self) -> list[tuple[str, int]]:
        table = self._store.table
        part = table[(table["split"] == self.shown_set.value) & table["with_heat"]]
        part = part.sort_values(["bac", "score"], ascending=False)
        return [
            (f"{r.patient_id} {r.laterality} {r.view}, BAC{'+' if r.bac == 1 else '−'}, score {r.score:.3f}", r.Index)
            for r in part.itertuples()
        ]

    def _move_threshold(self) -> None:
        """Follow the slider, unless its value is the current threshold rounded to a step, as the browser returns it."""
        if abs(self.threshold.value - self._threshold) <= STEP / 2:
            return
        self._threshold = self.threshold.value
        self._rule = self._matching_rule()
        self._show_detection()
        self._show_measures()

    def _matching_rule(self) -> str | None:
        """Return the rule that gives the current threshold, or None."""
        return next((rule for rule, point in self.points.items() if point.threshold == self._threshold), None)

    def _show_measures(self) -> None:
        """Show the results that depend on both thresholds: the view's outline and measurements, and rho."""
        if self.view.value is not None:
            self._measure()
        self._show_lengths()
        self._tell()

    def _change_set(self, name: str) -> None:
        self._seen.add(name)
        self.view.options = options = self._view_options()
        self.view.value = options[0][1] if options else None
        self._show_detection()
        self._tell()

    def _change_lengths(self) -> None:
        self._seen |= {self.length_set.value} - {None}
        self._show_lengths()
        self._tell()

    def _show_detection(self) -> None:
        name, threshold = self.shown_set.value, self._threshold
        found = self._detection.at(name, threshold)
        if name not in self._parts:
            self._parts[name] = curve_frames(self._detection, self.points, name)
        self.curves.html = marked_curves(self._parts[name], found)
        caption = f"{name} set, views; BAC+ at scores of {threshold:.3f} or more"
        self.counts.html = svg.confusion_table(found, caption) + metrics_table(found)

    def _measure(self) -> None:
        index = self.view.value
        what, point = self._store.table.loc[index], self.point
        found = self._store.measure(index, point)
        self._outline = [] if found is None else outline(found.mask)
        self.canvas.update([self._outline], [f"score {what['score']:.3f}\n{measures_text(found)}"])
        length = what.get("bac_length_mm", math.nan)
        known = f"; length in the table {length:.1f} mm" if length == length else ""
        name = escape(f"{what['patient_id']} {what['laterality']} {what['view']}")
        words = measures_html(found)
        self.measured.value = f"<b>{name}</b><br>{words}{known}"

    def lengths(self) -> LengthTuner | None:
        """Return the areas and lengths of the selected set, measured at the first call; None if no set is selected."""
        name = self.length_set.value
        if name is None:
            return None
        if name not in self._lengths:
            self._lengths[name] = LengthTuner(self._store, name, min(self._samples, 300), self._seed)
        return self._lengths[name]

    def _show_lengths(self) -> None:
        tuner = self.lengths()
        if tuner is None:
            self.rho.html = "No set with heatmaps and known lengths is chosen."
            return
        axes, frame = rho_frame(tuner.curve(self._threshold))
        rho, low, high = tuner.rho(self._threshold, self._th)
        place = axes.at(self._th, max(rho, 0))
        words = with_interval(rho, [low, high])
        self.rho.html = (
            f"ρ = <b class='bac-rho-value'>{escape(words)}</b> of the heatmap's area above Th and the length, "
            f"{len(tuner.rows)} MLO views of BAC+ women, {escape(self.length_set.value)} set "
            "(95 % interval)<br>" + frame.replace(MARK, cross(*place))
        )

    def _tell(self, words: str = "") -> None:
        """Show a message, and enable saving only if no set other than `chosen_on` is shown."""
        shown = {self.shown_set.value, self.length_set.value} - {None}
        others = sorted(shown - {self._chosen_on})
        self.keep.disabled = bool(others)
        if others:
            words = f"To save thresholds, show the {self._chosen_on} set; they are not chosen on {' or '.join(others)}."
        self.status.value = f"<span role='status' aria-live='polite'>{escape(words)}</span>"


def measures_html(found: Finding | None) -> str:
    """Return the measurements of a view as HTML; the numbers have the classes `bac-length` and `bac-area`."""
    if found is None or not found.traced:
        return measures_text(found)
    if not found.bac:
        return "BAC−: length <b class='bac-length'>0</b> mm, area <b class='bac-area'>0</b> mm²"
    return (
        f"BAC+: centre-line length <b class='bac-length'>{found.length_mm:.1f}</b> mm, area of the arteries "
        f"<b class='bac-area'>{found.area_mm2:.1f}</b> mm²"
    )
