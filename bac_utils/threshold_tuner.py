"""The threshold tuner: what the detection threshold and the heatmap threshold change, at once."""

import json
import math
from html import escape

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bac_utils import plots, svg
from bac_utils.operating import (
    CHOOSING_SETS,
    KEPT_FILE,
    MEANINGS,
    RULES,
    keep_thresholds,
    kept_thresholds,
    operating_points,
)
from bac_utils.results import SETS, with_interval
from bac_utils.settings import PAPER
from bac_utils.tuning import TH_GRID, TH_STEP, DetectionTuner, LengthTuner, measure_view, nearest, outline
from bac_utils.view_canvas import Picture, ViewCanvas
from bac_utils.view_store import ViewStore
from bac_utils.widget_base import Panel, button, choice, heading, row, slider

_SHOWN = (("sensitivity (recall)", "recall"), ("specificity", "specificity"), ("precision", "precision"), ("F1", "f1"))


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
        return _figure(self)

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
        self.table = ipywidgets.HTML(self._points_table())
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
        names = [(f"{n}{'' if n == self._chosen_on else ' (to look only)'}", n) for n in sets]
        self.length_set = choice("Lengths of the set", "bac-length-set", names, sets[0] if sets else None)
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
        self._seen.add(self.length_set.value)
        self._show_lengths()
        self._tell()

    def _show_detection(self) -> None:
        name, threshold = self.shown_set.value, self.threshold.value
        found = self._detection.at(name, threshold)
        left, right = self._frames(name)
        marks = []
        for frame, y in ((left, "recall"), (right, "precision")):
            x = 1 - found["specificity"] if frame is left else found["recall"]
            marks.append(frame.replace("<!--mark-->", _mark(x, found[y] if found["tp"] + found["fp"] else math.nan)))
        self.curves.html = "".join(marks)
        caption = f"{name} set, views; called BAC+ from a score of {threshold:.3f} on"
        shown = "".join(f"<tr><th>{t}</th><td class='bac-{k}'>{_share(found[k])}</td></tr>" for t, k in _SHOWN)
        auc = f"<tr><th>AUC-ROC</th><td>{_share(found['auc_roc'])}</td></tr>"
        auc += f"<tr><th>AUC-PR</th><td>{_share(found['auc_pr'])}</td></tr>"
        table = svg.confusion_table(found, caption)
        self.counts.html = f"{table}<table style='margin-top:8px'>{shown}{auc}</table>"

    def _frames(self, name: str) -> tuple[str, str]:
        """Return the ROC and the PR curve of a set, without the mark of the threshold."""
        if name in self._parts:
            return self._parts[name]
        curve = self._detection.curve(name)
        roc = svg.Axes(f"ROC, {name} set", ("false positive rate (1 − specificity)", 0, 1), ("sensitivity", 0, 1))
        roc.line([0, 1], [0, 1], svg.GREY, "3 4", 1)
        roc.line([0, *curve["false_positive_rate"]], [0, *curve["recall"]])
        pr = svg.Axes(f"Precision and recall, {name} set", ("recall (sensitivity)", 0, 1), ("precision", 0, 1))
        pr.line(curve["recall"], curve["precision"])
        for rule, point in self.points.items():
            there = self._detection.at(name, point.threshold)
            label = f"{RULES[rule]}: threshold {point.threshold:.3f}"
            roc.spot(1 - there["specificity"], there["recall"], rule, label)
            if there["tp"] + there["fp"]:
                pr.spot(there["recall"], there["precision"], rule, label)
        self._parts[name] = tuple(f.svg().replace("</svg>", "<!--mark--></svg>") for f in (roc, pr))
        return self._parts[name]

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
            self.rho.html = "no view with a heatmap and a known length: no correlation"
            return
        key = ("rho", self.length_set.value)
        if key not in self._parts:
            axes = svg.Axes(
                "Area against length, over Th", ("heatmap threshold Th", 0, 1), ("Spearman's ρ", 0, 1), (300, 190)
            )
            lines = tuner.table.clip(lower=0)
            axes.band(lines["threshold"], lines["low"], lines["high"])
            axes.line(lines["threshold"], lines["rho"])
            self._parts[key] = axes, axes.svg().replace("</svg>", "<!--mark--></svg>")
        axes, frame = self._parts[key]
        at = tuner.table.iloc[nearest(self._th)]
        place = axes.at(self._th, max(at["rho"], 0))
        words = with_interval(at["rho"], [at["low"], at["high"]])
        self.rho.html = (
            f"ρ = <b class='bac-rho-value'>{escape(words)}</b> over {len(tuner.rows)} MLO views of BAC+ women, "
            f"{escape(self.length_set.value)} set (95 %, bootstrap of women)<br>"
            + frame.replace("<!--mark-->", _cross(*place))
        )

    def _points_table(self) -> str:
        lines = []
        for rule, point in self.points.items():
            cells = [with_interval(point.threshold, point.threshold_ci, 3)]
            names = ("recall", "specificity", "precision", "f1")
            cells += [with_interval(point.metrics[n], point.intervals[n]) for n in names]
            inside = "".join(f"<td style='padding:2px 8px'>{c}</td>" for c in cells)
            lines.append(
                f"<tr title='{escape(MEANINGS[rule])}'><th style='text-align:left'>{RULES[rule]}</th>{inside}</tr>"
            )
        head = "".join(f"<th style='padding:2px 8px'>{t}</th>" for t in ("threshold", *(t for t, _ in _SHOWN)))
        words = f"Operating points on the {self._chosen_on} set [95 % interval, bootstrap of women]"
        caption = f"<caption style='text-align:left'>{words}</caption>"
        return f"<table style='line-height:1.4'>{caption}<tr><th></th>{head}</tr>{''.join(lines)}</table>"

    def _tell(self, words: str = "") -> None:
        """Say what a reader has to know, and whether the thresholds may be kept."""
        shown = {self.shown_set.value, self.length_set.value} - {None}
        others = sorted(shown - {self._chosen_on})
        self.keep.disabled = bool(others)
        if others:
            words = f"To keep thresholds show the {self._chosen_on} set: they are not chosen on {' or '.join(others)}."
        self.status.value = f"<span role='status' aria-live='polite'>{escape(words)}</span>"


def _mark(x: float, y: float) -> str:
    """Return the mark of the threshold in a square frame."""
    if not np.isfinite([x, y]).all():
        return ""
    left, _, _, top = svg.MARGIN
    return _cross(left + x * svg.SIZE, top + svg.SIZE - y * svg.SIZE)


def _cross(x: float, y: float) -> str:
    if not np.isfinite([x, y]).all():
        return ""
    return (
        f'<g class="bac-mark" data-x="{x:.1f}" data-y="{y:.1f}" pointer-events="none">'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{svg.ORANGE}" stroke="#000"/>'
        f'<path d="M{x - 4:.1f} {y:.1f}h8M{x:.1f} {y - 4:.1f}v8" stroke="#000" stroke-width="1.5"/></g>'
    )


def _share(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


@plots.styled
def _figure(tuner: ThresholdTuner) -> Figure:
    figure, (roc, pr, rho, view) = plt.subplots(
        1, 4, figsize=(15, 4.2), layout="constrained", width_ratios=(3, 3, 3, 2)
    )
    name, threshold, th = tuner.shown_set.value, tuner.threshold.value, tuner._th
    curve, at = tuner._detection.curve(name), tuner._detection.at(name, threshold)
    roc.step([0, *curve["false_positive_rate"]], [0, *curve["recall"]], where="post", color=svg.BLUE)
    pr.plot(curve["recall"], curve["precision"], color=svg.BLUE)
    for marker, (rule, point) in zip("s^vD*", tuner.points.items(), strict=True):
        there = tuner._detection.at(name, point.threshold)
        label = f"{RULES[rule]}: {point.threshold:.3f}"
        roc.plot(1 - there["specificity"], there["recall"], marker, color="white", mec="black", ms=8, label=label)
        if there["tp"] + there["fp"]:
            pr.plot(there["recall"], there["precision"], marker, color="white", mec="black", ms=8)
    roc.plot(1 - at["specificity"], at["recall"], "o", color=svg.ORANGE, mec="black", label=f"now: {threshold:.3f}")
    roc.set(xlabel="False positive rate", ylabel="Sensitivity", title=f"{name} set, thresholds", xlim=(-0.02, 1.02))
    pr.set(xlabel="Recall", ylabel="Precision", title="TP {tp}, FN {fn}, FP {fp}, TN {tn} views".format(**at))
    if at["tp"] + at["fp"]:
        pr.plot(at["recall"], at["precision"], "o", color=svg.ORANGE, mec="black")
    roc.legend(loc="lower right", fontsize=8)
    lengths = tuner.lengths()
    rho.set(xlabel="Heatmap threshold Th", ylabel="Spearman's ρ, area and length", xlim=(0, 1), ylim=(0, 1.02))
    if lengths is not None:
        rho.fill_between(*(lengths.table[k] for k in ("threshold", "low", "high")), color=svg.BLUE, alpha=0.2)
        rho.plot(lengths.table["threshold"], lengths.table["rho"], color=svg.BLUE)
        rho.set_title(f"{len(lengths.rows)} views, {tuner.length_set.value} set")
    rho.axvline(th, color="black", linestyle=":", label=f"Th = {th:.2f}")
    rho.legend(loc="lower right", fontsize=9)
    view.set_axis_off()
    if tuner.view.value is not None:
        aspect = tuner._store.spacing_mm(tuner.view.value) or (1, 1)
        plots._show_view(view, tuner._pixels, aspect[0] / aspect[1])
        for polygon in outline(tuner._pixels, tuner._heat, th):
            view.plot(*np.vstack([polygon, polygon[:1]]).T - 0.5, color=svg.ORANGE, lw=1)
        view.set_title(tuner.view.label.split(",")[0], fontsize=9)
    return figure
