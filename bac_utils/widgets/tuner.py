"""The threshold tuner: what the detection threshold and the heatmap threshold change, at once."""

import json
import math
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from bac_utils.detector import (
    CHOOSING_SETS,
    KEPT_FILE,
    MEANINGS,
    RULES,
    keep_thresholds,
    kept_thresholds,
    operating_points,
)
from bac_utils.run_folder import SETS, with_interval
from bac_utils.settings import PAPER
from bac_utils.widgets import svg
from bac_utils.widgets.base import Panel, button, choice, heading, row, slider
from bac_utils.widgets.canvas import Picture, ViewCanvas
from bac_utils.widgets.store import ViewStore
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
from bac_utils.widgets.tuning import TH_GRID, TH_STEP, DetectionTuner, LengthTuner, measure_view, nearest, outline


class ThresholdTuner(Panel):
    """Two sliders and what hangs on them, operating points, and a button that keeps the thresholds.

    Attributes:
        points: The operating points by rule, chosen on the set `chosen_on`.
        threshold: Slider of the detection threshold.
        heat_threshold: Slider of the heatmap threshold, Th.
    """

    def __init__(self, store: ViewStore, samples: int = 1000, seed: int = 0, chosen_on: str = CHOOSING_SETS[0]) -> None:
        """Compute what the sliders need, and show the thresholds that the run has now.

        Args:
            store: The run's views.
            samples: Resamples of women behind each interval.
            seed: Seed of the draws.
            chosen_on: The set to choose on, one of `operating.CHOOSING_SETS`.

        Raises:
            ValueError: `chosen_on` is another set, or does not hold both classes.
        """
        if chosen_on not in CHOOSING_SETS:
            raise ValueError(f"chosen_on: got {chosen_on!r}, must be one of {', '.join(CHOOSING_SETS)}")
        self._store, self._samples, self._seed, self._chosen_on = store, samples, seed, chosen_on
        table = store.table[store.table["split"].isin(SETS)]
        self._detection = DetectionTuner(table)
        self.points = operating_points(table[table["split"] == chosen_on], samples, seed)
        self._lengths = {}
        self._seen = {chosen_on}
        self._rule = None
        self._parts = {}
        point = self._present()
        self._make_detection(point["threshold"])
        self._make_heatmap(point["heatmap_threshold"])
        self._make_keep()
        super().__init__([*self._rows_of_detection(), *self._rows_of_heatmap(), row(self.keep, self.status)])
        self._show_detection()
        self.show_view()
        self._show_lengths()

    def choose_rule(self, rule: str) -> None:
        """Set the sliders to an operating point; the paper's sets Th, too."""
        self.threshold.value = self.points[rule].threshold
        self._rule = rule
        if rule == "paper":
            self.heat_threshold.value = PAPER.heatmap_threshold
        self._tell()

    def keep_now(self) -> None:
        """Write both thresholds into the run's folder."""
        if self.keep.disabled:
            return
        values = self.threshold.value, round(self.heat_threshold.value, 2)
        keep_thresholds(self._store.folder, *values, self._chosen_on, self._rule or "by hand", sorted(self._seen))
        self._tell(
            f"kept in {KEPT_FILE}: detection threshold {values[0]:.3f}, Th {values[1]:.2f}, "
            f"chosen on the {self._chosen_on} set ({RULES.get(self._rule, 'by hand')})"
        )

    def show_view(self) -> None:
        """Show the chosen view with the outline of its region."""
        index = self.view.value
        if index is None:
            return
        what = self._store.table.loc[index]
        self._pixels, self._heat = self._store.pixels(index), self._store.heat(index)
        name = f"{what['laterality']} {what['view']}"
        shown = {
            "key": str(index),
            "title": name,
            "text": f"score {what['score']:.3f}",
            "mirror": what["laterality"] == "R",
        }
        shown |= {"pixels": self._pixels, "heat": self._heat, "spacing_mm": self._store.spacing_mm(index)}
        self.canvas.show([shown | {"outline": outline(self._pixels, self._heat, self._th)}])
        self._measure()

    def figure(self) -> Figure:
        """Draw curves, rho over Th and the chosen view as they stand."""
        view = None
        if self.view.value is not None:
            spacing = self._store.spacing_mm(self.view.value) or (1, 1)
            view = {"pixels": self._pixels, "heat": self._heat, "aspect": spacing[0] / spacing[1]}
            view["title"] = self.view.label.split(",")[0]
        thresholds = self.threshold.value, self._th
        lengths = self.lengths(), self.length_set.value
        return tuner_figure(self._detection, self.points, self.shown_set.value, thresholds, lengths, view)

    @property
    def _th(self) -> float:
        return round(self.heat_threshold.value, 2)

    def _present(self) -> dict:
        """Return the thresholds that the run has now: kept ones, else the operating point's, else best F1 and 0.3."""
        found = kept_thresholds(self._store.folder)
        path = self._store.folder / "operating_point.json"
        if found is None and path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        return found or {
            "threshold": self.points["best_f1"].threshold, "heatmap_threshold": PAPER.heatmap_threshold
        }  # fmt: skip

    def _make_detection(self, threshold: float) -> None:
        names = [(f"{n}{'' if n == self._chosen_on else ' (to look only)'}", n) for n in self._detection.sets]
        self.shown_set = choice("Set shown", "bac-set", names, self._chosen_on)
        self.threshold = slider("Detection threshold (score)", "bac-threshold", 0, 1, 0.001, threshold, ".3f")
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
        th = float(TH_GRID[nearest(th)])
        self.heat_threshold = slider("Heatmap threshold Th", "bac-th", TH_GRID[0], TH_GRID[-1], TH_STEP, th, ".2f")
        self.view = choice("View", "bac-view-choice", self._view_options(), None)
        self.view.value = self.view.options[0][1] if self.view.options else None
        known = ("validation", "quantification", "test")
        sets = [name for name in known if self._store.measured_rows(name)]
        names = [("none", None), *((f"{n}{'' if n == self._chosen_on else ' (to look only)'}", n) for n in sets)]
        first = self._chosen_on if self._chosen_on in sets else None
        self.length_set = choice("Lengths of the set", "bac-length-set", names, first)
        self.canvas = ViewCanvas(panel_width=330, opacity=0.35, label="The chosen view. Plus and minus zoom, 0 resets.")
        self.canvas.add_class("bac-canvas")
        self.measured = ipywidgets.HTML()
        self.measured.add_class("bac-measured")
        self.rho = Picture()
        self.rho.add_class("bac-rho")
        self.heat_threshold.observe(lambda _: self._move_th(), "value")
        self.view.observe(lambda _: self.show_view(), "value")
        self.length_set.observe(lambda _: self._change_lengths(), "value")

    def _make_keep(self) -> None:
        words = f"write both thresholds into the run's folder, as chosen on the {self._chosen_on} set"
        self.keep = button("Keep both thresholds", "bac-keep", self.keep_now, words)
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
        right = ipywidgets.VBox([self.measured, self.length_set, self.rho])
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
        same = [rule for rule, point in self.points.items() if point.threshold == self.threshold.value]
        self._rule = same[0] if same else None
        self._show_detection()
        self._tell()

    def _move_th(self) -> None:
        if self.view.value is not None:
            self.canvas.show_outlines([outline(self._pixels, self._heat, self._th)])
            self._measure()
        self._show_lengths()
        self._tell()

    def _change_set(self, name: str) -> None:
        self._seen.add(name)
        self.view.options = self._view_options()
        self._show_detection()
        self._tell()

    def _change_lengths(self) -> None:
        self._seen |= {self.length_set.value} - {None}
        self._show_lengths()
        self._tell()

    def _show_detection(self) -> None:
        name, threshold = self.shown_set.value, self.threshold.value
        found = self._detection.at(name, threshold)
        if name not in self._parts:
            self._parts[name] = curve_frames(self._detection, self.points, name)
        self.curves.html = marked_curves(self._parts[name], found)
        caption = f"{name} set, views; called BAC+ from a score of {threshold:.3f} on"
        self.counts.html = svg.confusion_table(found, caption) + metrics_table(found)

    def _measure(self) -> None:
        index = self.view.value
        what = self._store.table.loc[index]
        found = measure_view(self._pixels, self._heat, self._th, self._store.spacing_mm(index))
        unit = found["area_unit"].replace("mm2", "mm²")
        length = what.get("bac_length_mm", math.nan)
        known = f"; length in the table {length:.0f} mm" if length == length else ""
        self.measured.value = (
            f"<b>{escape(str(what['patient_id']))} {what['laterality']} {what['view']}</b><br>area above Th "
            f"<b class='bac-area'>{found['area']:.0f}</b> {unit}, length along its middle "
            f"<b class='bac-length'>{found['length']:.0f}</b> {found['length_unit']}{known}"
        )

    def lengths(self) -> LengthTuner | None:
        """Return the areas and lengths of the chosen set, measured at the first call."""
        name = self.length_set.value
        if name is None:
            return None
        if name not in self._lengths:
            self._lengths[name] = LengthTuner(self._store, name, min(self._samples, 300), self._seed)
        return self._lengths[name]

    def _show_lengths(self) -> None:
        tuner = self.lengths()
        if tuner is None:
            self.rho.html = "no set chosen with heatmaps and known lengths: no correlation"
            return
        key = ("rho", self.length_set.value)
        if key not in self._parts:
            self._parts[key] = rho_frame(tuner)
        axes, frame = self._parts[key]
        at = tuner.table.iloc[nearest(self._th)]
        place = axes.at(self._th, max(at["rho"], 0))
        words = with_interval(at["rho"], [at["low"], at["high"]])
        self.rho.html = (
            f"ρ = <b class='bac-rho-value'>{escape(words)}</b> over {len(tuner.rows)} MLO views of BAC+ women, "
            f"{escape(self.length_set.value)} set (95 %, bootstrap of women)<br>" + frame.replace(MARK, cross(*place))
        )

    def _tell(self, words: str = "") -> None:
        """Say what a reader has to know, and whether the thresholds may be kept."""
        shown = {self.shown_set.value, self.length_set.value} - {None}
        others = sorted(shown - {self._chosen_on})
        self.keep.disabled = bool(others)
        if others:
            words = f"To keep thresholds show the {self._chosen_on} set: they are not chosen on {' or '.join(others)}."
        self.status.value = f"<span role='status' aria-live='polite'>{escape(words)}</span>"
