"""Charts of the threshold tuner: curves, tables and its static figure, from computed results."""

import math
from html import escape

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bac_utils import plots, view_plots
from bac_utils.detection import MEANINGS, RULES, ThresholdChoice
from bac_utils.statistics import with_interval
from bac_utils.widgets import svg
from bac_utils.widgets.tuning import TH_GRID, DetectionTuner, LengthTuner

MARK = "<!--mark-->"
"""Placeholder in a chart for the mark of the current threshold."""
_SHOWN = (("sensitivity (recall)", "recall"), ("specificity", "specificity"), ("precision", "precision"), ("F1", "f1"))


def curve_frames(detection: DetectionTuner, points: dict[str, ThresholdChoice], name: str) -> tuple[str, str]:
    """Return the ROC and precision-recall curves of a set with the operating points, as SVG text with a `MARK`."""
    curve = detection.curve(name)
    roc = svg.Axes(f"ROC, {name} set", ("false positive rate (1 − specificity)", 0, 1), ("sensitivity", 0, 1))
    roc.line([0, 1], [0, 1], svg.GREY, "3 4", 1)
    roc.line([0, *curve["false_positive_rate"]], [0, *curve["recall"]])
    pr = svg.Axes(f"Precision and recall, {name} set", ("recall (sensitivity)", 0, 1), ("precision", 0, 1))
    pr.line(curve["recall"], curve["precision"])
    for rule, point in points.items():
        there = detection.at(name, point.threshold)
        label = f"{RULES[rule]}: threshold {point.threshold:.3f}"
        roc.spot(1 - there["specificity"], there["recall"], rule, label)
        if there["tp"] + there["fp"]:
            pr.spot(there["recall"], there["precision"], rule, label)
    return tuple(f.svg().replace("</svg>", f"{MARK}</svg>") for f in (roc, pr))


def marked_curves(frames: tuple[str, str], found: dict) -> str:
    """Return both curves with the mark of a threshold; `found` contains its metrics (`DetectionTuner.at`)."""
    precision = found["precision"] if found["tp"] + found["fp"] else math.nan
    places = (1 - found["specificity"], found["recall"]), (found["recall"], precision)
    left, _, _, top = svg.MARGIN
    marks = (cross(left + x * svg.SIZE, top + svg.SIZE - y * svg.SIZE) for x, y in places)
    return "".join(frame.replace(MARK, mark) for frame, mark in zip(frames, marks, strict=True))


def rho_frame(rho: np.ndarray) -> tuple[svg.Axes, str]:
    """Return the axes and the SVG text, with a `MARK`, of rho against `TH_GRID`; rho below 0 is drawn at 0."""
    axes = svg.Axes("ρ of area and length over Th", ("heatmap threshold Th", 0, 1), ("Spearman's ρ", 0, 1), (300, 190))
    axes.line(TH_GRID, np.clip(rho, 0, 1))
    return axes, axes.svg().replace("</svg>", f"{MARK}</svg>")


def metrics_table(found: dict) -> str:
    """Return the metrics at a threshold as an HTML table whose cells have the classes `bac-recall`, ..."""
    rows = (*_SHOWN, ("AUC-ROC", "auc_roc"), ("AUC-PR", "auc_pr"))
    inside = "".join(f"<tr><th>{title}</th><td class='bac-{key}'>{_share(found[key])}</td></tr>" for title, key in rows)
    return f"<table style='margin-top:8px'>{inside}</table>"


def points_table(points: dict[str, ThresholdChoice], chosen_on: str) -> str:
    """Return the operating points with their intervals as an HTML table."""
    lines = []
    for rule, point in points.items():
        cells = [with_interval(point.threshold, point.threshold_ci, 3)]
        names = ("recall", "specificity", "precision", "f1")
        cells += [with_interval(point.metrics[n], point.intervals[n]) for n in names]
        inside = "".join(f"<td style='padding:2px 8px'>{c}</td>" for c in cells)
        lines.append(
            f"<tr title='{escape(MEANINGS[rule])}'><th style='text-align:left'>{RULES[rule]}</th>{inside}</tr>"
        )
    head = "".join(f"<th style='padding:2px 8px'>{t}</th>" for t in ("threshold", *(t for t, _ in _SHOWN)))
    words = f"Operating points on the {chosen_on} set [95 % interval]"
    caption = f"<caption style='text-align:left'>{words}</caption>"
    return f"<table style='line-height:1.4'>{caption}<tr><th></th>{head}</tr>{''.join(lines)}</table>"


def cross(x: float, y: float) -> str:
    """Return the mark of the current threshold at a position in pixels; empty if a coordinate is not finite."""
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
def tuner_figure(
    detection: DetectionTuner,
    points: dict[str, ThresholdChoice],
    name: str,
    thresholds: tuple[float, float],
    lengths: tuple[LengthTuner | None, str | None],
    view: dict | None,
) -> Figure:
    """Draw the static figure of the tuner.

    Args:
        detection: Curves of the sets.
        points: The operating points by rule.
        name: The set shown.
        thresholds: Detection threshold and Th.
        lengths: Areas and lengths, and the name of their set; both None if no set is selected.
        view: `pixels`, `outline` (polygons), `aspect` (row spacing over column spacing) and `title` of a view, or None.

    Returns:
        The figure.
    """
    figure, (roc, pr, rho, shown) = plt.subplots(
        1, 4, figsize=(15, 4.2), layout="constrained", width_ratios=(3, 3, 3, 2)
    )
    (threshold, th), (tuner, lengths_of) = thresholds, lengths
    curve, at = detection.curve(name), detection.at(name, threshold)
    roc.step([0, *curve["false_positive_rate"]], [0, *curve["recall"]], where="post", color=svg.BLUE)
    pr.plot(curve["recall"], curve["precision"], color=svg.BLUE)
    for marker, (rule, point) in zip("s^vD*", points.items(), strict=True):
        there = detection.at(name, point.threshold)
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
    rho.set(xlabel="Heatmap threshold Th", ylabel="Spearman's ρ, area and length", xlim=(0, 1), ylim=(0, 1.02))
    if tuner is not None:
        rho.plot(TH_GRID, np.clip(tuner.curve(threshold), 0, 1), color=svg.BLUE)
        rho.set_title(f"{len(tuner.rows)} views, {lengths_of} set")
    rho.axvline(th, color="black", linestyle=":", label=f"Th = {th:.2f}")
    rho.legend(loc="lower right", fontsize=9)
    shown.set_axis_off()
    if view is not None:
        view_plots.show_view(shown, view["pixels"], view["aspect"])
        for polygon in view["outline"]:
            shown.plot(*np.vstack([polygon, polygon[:1]]).T - 0.5, color=svg.ORANGE, lw=1)
        shown.set_title(view["title"], fontsize=9)
    return figure
