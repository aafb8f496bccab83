"""Figures of an evaluation, in the style of `bac_utils.plots`: each function returns a Matplotlib figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bac_utils.evaluation.subgroups import METRICS, metric_texts
from bac_utils.plots import GROUP_COLOURS, PALETTE, styled


@styled
def reliability(curve: pd.DataFrame, labels: Sequence[int], scores: Sequence[float]) -> Figure:
    """Draw a reliability curve with 95 % intervals, and below it the distribution of the scores by label.

    Args:
        curve: From `calibration.reliability_curve`.
        labels: 0 or 1, one per view.
        scores: In [0, 1].

    Returns:
        The figure.
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(5.5, 6.2), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    top.plot([0, 1], [0, 1], ":", color="grey", lw=1, label="ideal")
    limits = curve[["ci_low", "ci_high"]].to_numpy(float).T
    top.errorbar(curve["mean_score"], curve["observed"], np.abs(limits - curve["observed"].to_numpy()), fmt="o-",
                 color=PALETTE[0], capsize=3, ms=5, label="observed [95 % interval]")  # fmt: skip
    top.set(ylabel="Share of BAC+ views", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    top.legend(frameon=False, loc="upper left")
    labels, edges = np.asarray(labels), np.linspace(0, 1, 21)
    for label, (name, colour) in enumerate(GROUP_COLOURS.items()):
        chosen = np.asarray(scores, float)[labels == label]
        hatch = "//" if label else None
        bottom.hist(chosen, edges, color=colour, alpha=0.5, hatch=hatch, ec=colour, label=f"{name} (n = {chosen.size})")
    bottom.set(xlabel="Score (mean of the bin)", ylabel="Views")
    bottom.legend(frameon=False, fontsize=9)
    sns.despine(figure)
    return figure


@styled
def decision(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the net benefit of one or more models, of treating all and of treating none.

    Args:
        curves: From `decision_curve.decision_curve` by the model's name, with the same thresholds and views.

    Returns:
        The figure. The axis ends just below 0 and above the largest net benefit, so that treat-all leaves it.

    Raises:
        ValueError: There is no curve.
    """
    if not curves:
        raise ValueError("curves: got none, must be one or more")
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    styles = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1)))
    for number, (name, table) in enumerate(curves.items()):
        colour, style = PALETTE[number % len(PALETTE)], styles[number % len(styles)]
        axes.plot(table["threshold"], table["net_benefit"], color=colour, linestyle=style, label=name)
        axes.fill_between(table["threshold"], table["ci_low"], table["ci_high"], color=colour, alpha=0.15, lw=0)
    axes.plot(table["threshold"], table["treat_all"], color="black", lw=1, label="treat all")
    axes.plot(table["threshold"], table["treat_none"], color="grey", lw=1, linestyle=":", label="treat none")
    highest = max(float(t[["net_benefit", "treat_all", "ci_high"]].max().max()) for t in curves.values())
    top = max(highest, 0.01)
    axes.set(xlabel="Threshold probability", ylabel="Net benefit", ylim=(-0.2 * top, 1.05 * top))
    axes.legend(frameon=False, fontsize=9)
    sns.despine(figure)
    return figure


@styled
def forest(metrics: pd.DataFrame, metric: str) -> Figure:
    """Draw a metric with its interval for each subgroup, with a line at its value for all views.

    Args:
        metrics: From `subgroups.subgroup_metrics`.
        metric: A key of `subgroups.METRICS`.

    Returns:
        The figure, with numbers on the right, `too few` where there are not enough women.

    Raises:
        ValueError: The metric is unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: got {metric!r}, must be one of {', '.join(METRICS)}")
    figure, axes = plt.subplots(figsize=(7.5, 1.2 + 0.34 * len(metrics)), layout="constrained")
    place = np.arange(len(metrics))
    values = metrics[metric].to_numpy(float)
    limits = metrics[[f"{metric}_low", f"{metric}_high"]].to_numpy(float)
    axes.errorbar(values, place, xerr=np.abs(limits.T - values), fmt="s", color=PALETTE[0], capsize=3, ms=5)
    if np.isfinite(values[0]):
        axes.axvline(values[0], color="grey", linestyle=":", lw=1)
    for y, text in zip(place, metric_texts(metrics, metric), strict=True):
        axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    names = [f"{c}: {v}" if c else str(v) for c, v in zip(metrics["column"], metrics["value"], strict=True)]
    counts = zip(names, metrics["bac_women"], metrics["women"], strict=True)
    axes.set_yticks(place, [f"{name} ({bac} of {women})" for name, bac, women in counts], fontsize=9)
    axes.set(xlabel=f"{METRICS[metric]} [95 % interval]", ylim=(len(metrics) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("Subgroup (BAC+ of all women)", fontsize=10)
    sns.despine(figure)
    return figure


@styled
def score_shift(
    first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray], name_of_first: str = "training"
) -> Figure:
    """Draw the cumulative distributions of the scores in two cohorts, by label.

    Args:
        first: Scores of the first cohort by label, 0 and 1; empty arrays are not drawn.
        second: The same for the second cohort.
        name_of_first: What the legend calls the first cohort.

    Returns:
        The figure: the first cohort is dashed.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for scores, style, cohort in ((first, "--", name_of_first), (second, "-", "this cohort")):
        for label, (name, colour) in enumerate(GROUP_COLOURS.items()):
            if len(scores[label]):
                axes.ecdf(scores[label], color=colour, linestyle=style, label=f"{name}, {cohort}")
    axes.set(xlabel="Score", ylabel="Share of views with at most this score", xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(frameon=False, fontsize=9, loc="outside right upper")
    sns.despine(figure)
    return figure


@styled
def length_differences(pairs: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """Draw the difference of two readers' lengths over their mean, for each pair (Bland & Altman, Lancet 1986).

    Args:
        pairs: From `reader_study.length_pairs`.

    Returns:
        The figure, three pairs a row: differences, their mean (dashed) and the limits of agreement (dotted; mean -+
        1.96 standard deviations).

    Raises:
        ValueError: There is no pair.
    """
    if not pairs:
        raise ValueError("pairs: got none, must be one or more pairs of readers who measured the same views")
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.4 * columns, 3.6 * rows), layout="constrained", squeeze=False)
    for axes, ((first, second), table) in zip(grid.flat, pairs.items(), strict=False):
        difference = table[first] - table[second]
        mean, spread = difference.mean(), 1.96 * difference.std() if len(table) > 1 else 0.0
        axes.scatter(table.mean(axis=1), difference, color=PALETTE[0], alpha=0.8, s=28)
        for level, style in ((mean, "--"), (mean - spread, ":"), (mean + spread, ":")):
            axes.axhline(level, color="grey", lw=1, ls=style)
        limits = f"{mean:.1f} mm, limits {mean - spread:.1f} to {mean + spread:.1f}"
        axes.set_title(f"{first[:30]} minus {second[:30]}\n{len(table)} views: mean {limits}", fontsize=9)
        axes.set(xlabel="Mean of both lengths (mm)", ylabel="Difference (mm)")
    for axes in list(grid.flat)[len(pairs) :]:
        axes.set_axis_off()
    sns.despine(figure)
    return figure


@styled
def kappas(agreement: pd.DataFrame) -> Figure:
    """Draw the kappa of each pair of readers with its 95 % interval.

    Args:
        agreement: From `reader_study.agreement_table`.

    Returns:
        The figure: circles for labels, squares for CSBI grades. Those with too few women have no interval.

    Raises:
        ValueError: No kappa is defined.
    """
    shown = agreement[agreement["measure"].str.endswith("kappa") & agreement["value"].notna()].reset_index(drop=True)
    if shown.empty:
        raise ValueError("agreement: got no kappa, must have at least one")
    figure, axes = plt.subplots(figsize=(6.5, 1.2 + 0.45 * len(shown)), layout="constrained")
    for place, row in shown.iterrows():
        mark, colour = ("o", PALETTE[0]) if row["what"] == "bac" else ("s", PALETTE[1])
        if np.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [place] * 2, color=colour, lw=1.5)
        axes.plot(row["value"], place, mark, color=colour, ms=7)
    words = {"bac": "label", "csbi": "CSBI grade"}
    names = [f"{words[row['what']]}: {row['first'][:24]}, {row['second'][:24]}" for _, row in shown.iterrows()]
    axes.set_yticks(range(len(shown)), names)
    axes.set(xlabel="Kappa [95 % interval]", xlim=(min(0, shown[["value", "low"]].min().min()) - 0.05, 1.05))
    axes.invert_yaxis()
    sns.despine(figure)
    return figure
