"""Figures of a run: each function returns a Matplotlib figure, and `save` writes it.

Colours are from seaborn's colour-blind palette and are never the only distinction; no global style is changed.
"""

import functools
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_curve

from bac_utils.statistics import with_interval
from bac_utils.views_table import SETS

PALETTE = sns.color_palette("colorblind")
SET_COLOURS = {"train": PALETTE[3], "validation": PALETTE[0], "test": PALETTE[2]}  # the paper's red, blue, green
GROUP_COLOURS = {"BAC-": PALETTE[0], "BAC+": PALETTE[1]}
PNG_BYTES = 300_000


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function to draw in the kit's style without changing the global style.

    Texts are drawn as they are: a dollar sign in an identifier does not begin a formula.
    """
    ours = {"font.size": 11, "text.parse_math": False}

    @functools.wraps(draw)
    def wrapper(*args, **kwargs) -> Figure:
        with sns.axes_style("ticks"), sns.plotting_context("notebook"), plt.rc_context(ours):
            figure = draw(*args, **kwargs)
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"):
            for label in axis.get_ticklabels(which="both"):
                label.set_parse_math(True)  # powers of ten
        return figure

    return wrapper


def save(figure: Figure, path: Path) -> Figure:
    """Write a figure as a PNG file and close it; above 300 kB, it is reduced to 256 colours, then in size.

    Args:
        figure: A figure of one of the functions below.
        path: The .png file; its folder is created if missing.

    Returns:
        The figure, so that a notebook displays it as the result of a cell.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    if buffer.tell() > PNG_BYTES:
        image = Image.open(buffer).convert("RGB")
        while True:
            buffer = io.BytesIO()
            image.quantize(256).save(buffer, format="png", optimize=True)
            if buffer.tell() <= PNG_BYTES:
                break
            image = image.resize([max(1, int(0.85 * n)) for n in image.size], Image.Resampling.LANCZOS)
    path.write_bytes(buffer.getvalue())
    return figure


def _groups(women: pd.DataFrame) -> pd.Series:
    """Return `BAC+` or `BAC-` for each row."""
    return women["bac"].map({0: "BAC-", 1: "BAC+"})


def _boxes(axes: Axes, groups: Sequence[pd.Series], places: Sequence[float], colours: Iterable) -> None:
    """Draw box plots: boxes show quartiles, whiskers reach up to 1.5 box lengths, dots lie beyond."""
    boxes = axes.boxplot(
        groups, positions=places, widths=0.35, patch_artist=True, manage_ticks=False,
        medianprops={"color": "black"}, flierprops={"markersize": 2},
    )  # fmt: skip
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set_facecolor(colour)


@styled
def age_distribution(women: pd.DataFrame) -> Figure:
    """Draw the ages of BAC+ and BAC- women: histogram on the left, box plots on the right.

    Args:
        women: One row per woman: `age` in years, `bac` 0 or 1.

    Returns:
        The figure.
    """
    data = women.assign(group=_groups(women))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(2, 1), layout="constrained")
    shown = {"hue": "group", "hue_order": list(GROUP_COLOURS), "palette": GROUP_COLOURS}
    low, high = data["age"].min(), data["age"].max()
    bins = np.arange(low, max(high, low + 1) + 3, 3)  # seaborn's own fail if all women have the same age
    sns.histplot(data, x="age", bins=bins, stat="percent", common_norm=False, element="step", alpha=0.35,
                 ax=left, **shown)  # fmt: skip
    left.set(xlabel="Age (years)", ylabel="Women of the group (%)")
    counts = data["group"].value_counts()
    left.get_legend().set_title(None)
    for text in left.get_legend().get_texts():
        text.set_text(f"{text.get_text()} (n = {counts.get(text.get_text(), 0)})")
    _boxes(right, [data.loc[data["group"] == name, "age"] for name in GROUP_COLOURS], [0, 1], GROUP_COLOURS.values())
    right.set_xticks([0, 1], list(GROUP_COLOURS))
    right.set(xlabel="", ylabel="Age (years)")
    sns.despine(figure)
    return figure


@styled
def prevalence_by_class(table: pd.DataFrame, published: Sequence[float] | None = None) -> Figure:
    """Draw the share of BAC+ women by age class with Wilson intervals.

    Args:
        table: Rows `age_class, women, bac_women, prevalence, ci_low, ci_high` (shares in [0, 1]).
        published: The paper's shares, one per class; None if the classes are not those of the paper.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    place, share = np.arange(len(table)), 100 * table["prevalence"].to_numpy()
    axes.bar(place, share, width=0.6, color=PALETTE[0], label="this cohort")
    spread = np.abs(100 * table[["ci_low", "ci_high"]].to_numpy().T - share)
    axes.errorbar(place, share, spread, fmt="none", color="black", capsize=4, label="95 % interval (Wilson)")
    if published is not None:
        axes.plot(place, 100 * np.asarray(published), "D", color=PALETTE[1], mec="black", label="paper")
    counts = zip(table["age_class"], table["bac_women"], table["women"], strict=True)
    axes.set_xticks(place, [f"{name}\n{bac} of {women}" for name, bac, women in counts])
    axes.set(xlabel="Age class (years), BAC+ of all women", ylabel="BAC+ women (%)", ylim=(0, None))
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


@styled
def loss_curves(history: pd.DataFrame, start_auc_pr: float | None = None) -> Figure:
    """Draw loss and AUC-PR by epoch; a dotted line marks the epoch whose weights were kept.

    Args:
        history: One row per epoch: `epoch, loss, val_loss, val_auc_pr`.
        start_auc_pr: AUC-PR on the validation set before training; drawn as a dashed line.

    Returns:
        The figure.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    best = history["epoch"].iloc[history["val_auc_pr"].argmax()]
    left_curves = {"train": history["loss"], "validation": history["val_loss"]}
    right_curves = {"validation": history["val_auc_pr"]}
    for axes, curves, label in ((left, left_curves, "Binary cross-entropy"), (right, right_curves, "AUC-PR")):
        for split, values in curves.items():
            axes.plot(history["epoch"], values, "o-", ms=4, color=SET_COLOURS[split], label=split)
        axes.axvline(best, color="grey", linestyle=":", label=f"kept: epoch {best}")
        axes.set(xlabel="Epoch", ylabel=label)
        axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    right.set_ylim(0, 1.02)
    if start_auc_pr is not None:
        right.axhline(start_auc_pr, color=SET_COLOURS["validation"], linestyle="--", label="before training")
        right.legend(frameon=False)
    sns.despine(figure)
    return figure


@styled
def sweep_curve(table: pd.DataFrame) -> Figure:
    """Draw the AUC-PR by the number of fine-tuned convolutions; a dotted line marks the number that was chosen.

    Args:
        table: One row per number, in ascending order: `trainable_convolutions, val_auc_pr`; the first row with the
            highest AUC-PR is the chosen one.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    numbers, areas = table["trainable_convolutions"], table["val_auc_pr"]
    axes.plot(numbers, areas, "o-", color=SET_COLOURS["validation"], label="validation")
    best = numbers.iloc[areas.argmax()]
    axes.axvline(best, color="grey", linestyle=":", label=f"chosen: {best}")
    axes.set(xlabel="Fine-tuned convolutions, counted from the last", ylabel="AUC-PR, best epoch", ylim=(0, 1.02))
    axes.set_xticks(numbers)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


@styled
def roc_pr_curves(predictions: pd.DataFrame, detection: dict[str, dict], threshold: float) -> Figure:
    """Draw the ROC and precision-recall curves of sets, as in the paper's figure 3.

    Args:
        predictions: One row per view: `split`, `bac` 0 or 1 (both occur in each set), `score` in [0, 1].
        detection: By set, in the order of the legend: `auc_roc`, `auc_pr`, `auc_roc_ci`, `auc_pr_ci`.
        threshold: Operating threshold; a dot marks it on every curve.

    Returns:
        The figure.
    """
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    for number, (name, metrics) in enumerate(detection.items()):
        rows, colour = predictions[predictions["split"] == name], SET_COLOURS.get(name, PALETTE[number])
        labels, scores = rows["bac"].to_numpy(), rows["score"].to_numpy()
        positive = scores >= threshold
        recall = positive[labels == 1].mean()
        false_alarm = positive[labels == 0].mean()
        x, y, _ = roc_curve(labels, scores)
        roc.plot(x, y, color=colour, label=f"{name}: {with_interval(metrics['auc_roc'], metrics['auc_roc_ci'])}")
        roc.plot(false_alarm, recall, "o", color=colour, mec="black", ms=6)
        y, x, _ = precision_recall_curve(labels, scores)
        area = with_interval(metrics["auc_pr"], metrics["auc_pr_ci"])
        pr.step(x, y, where="post", color=colour, label=f"{name}: {area}")
        if positive.any():
            pr.plot(recall, labels[positive].mean(), "o", color=colour, mec="black", ms=6)
        pr.axhline(labels.mean(), color=colour, linestyle=":", lw=1)
    roc.plot([0, 1], [0, 1], ":", color="grey", lw=1)
    roc.set(xlabel="False positive rate", ylabel="Recall (true positive rate)")
    pr.set(xlabel="Recall", ylabel="Precision")
    for axes, title in ((roc, "AUC-ROC [95 % interval]"), (pr, "AUC-PR [95 % interval]")):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(title=title, loc="lower right" if axes is roc else "lower left", fontsize=9)
    figure.supxlabel("dot: detection threshold; dotted: no-skill baseline", fontsize=9, color="dimgrey")
    sns.despine(figure)
    return figure


@styled
def confusion_matrices(detection: dict[str, dict]) -> Figure:
    """Draw one confusion matrix per set, shaded by the share of the true class.

    Args:
        detection: By set: `tn`, `fp`, `fn`, `tp`.

    Returns:
        The figure.
    """
    figure, row = plt.subplots(1, len(SETS), figsize=(10.5, 3.4), layout="constrained")
    for axes, name in zip(row, SETS, strict=True):
        counts = np.array([[detection[name][k] for k in pair] for pair in (("tn", "fp"), ("fn", "tp"))])
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shown = np.array([f"{n}\n{s:.1%}" for n, s in zip(counts.flat, share.flat, strict=True)]).reshape(2, 2)
        names = list(GROUP_COLOURS)
        sns.heatmap(share, annot=shown, fmt="", cmap="Blues", vmin=0, vmax=1, square=True, cbar=False,
                    xticklabels=names, yticklabels=names, linewidths=1, ax=axes)  # fmt: skip
        axes.set(title=f"{name} ({counts.sum()} views)", xlabel="predicted", ylabel="label")
    return figure


@styled
def score_boxes(predictions: pd.DataFrame, threshold: float) -> Figure:
    """Draw the scores of BAC+ and BAC- views in the three sets as box plots, with the detection threshold.

    Args:
        predictions: One row per view: `split`, `bac` 0 or 1, `score` in [0, 1].
        threshold: Operating threshold.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    place = np.arange(len(SETS))
    for label, (name, colour) in enumerate(GROUP_COLOURS.items()):
        rows = predictions[predictions["bac"] == label]
        scores = [rows.loc[rows["split"] == split, "score"] for split in SETS]
        _boxes(axes, scores, place + 0.4 * label - 0.2, [colour] * len(SETS))
        axes.plot([], [], "s", color=colour, label=name)
    axes.set_xticks(place, SETS)
    axes.axhline(threshold, color="black", linestyle="--", lw=1, label=f"threshold {threshold:.2f}")
    axes.set(xlabel="", ylabel="Score", ylim=(-0.02, 1.02))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure


@styled
def measure_against_length(table: pd.DataFrame, measure: str, note: str, label: str) -> Figure:
    """Draw a measure against the reference length of the calcified arteries, as in the paper's figure 6b.

    Args:
        table: One row per view: `bac_length_mm`, `split` and the column `measure`.
        measure: Name of the column. If it ends in `length_mm`, the line of equal lengths is drawn.
        note: Title, with the correlation.
        label: Label of the axis of the measure, with its unit.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(6.5, 4.8), layout="constrained")
    used = [name for name in (*SETS, "quantification") if (table["split"] == name).any()]
    colours = SET_COLOURS | {"quantification": PALETTE[4]}
    sns.scatterplot(table, x="bac_length_mm", y=measure, hue="split", style="split", hue_order=used,
                    style_order=used, palette=colours, s=45, alpha=0.85, ax=axes)  # fmt: skip
    if measure.endswith("length_mm"):
        top = float(table[["bac_length_mm", measure]].max().max())
        axes.plot([0, top], [0, top], ":", color="grey", lw=1, label="equal")
    axes.set(xlabel="Reference length of calcified artery (mm)", ylabel=label)
    axes.set_title(note, fontsize=10)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


@styled
def bland_altman(table: pd.DataFrame, measured: str, true: str, quantity: str, unit: str) -> Figure:
    """Draw the difference of two measurements over their mean (Bland & Altman, Lancet 1986).

    Args:
        table: One row per view, with two columns of numbers.
        measured: Column of the measurement.
        true: Column of the reference.
        quantity: Name of the quantity.
        unit: Unit of both columns.

    Returns:
        The figure: differences, their mean, and the mean -+ 1.96 standard deviations (n - 1 degrees of freedom).
    """
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    difference = table[measured] - table[true]
    axes.scatter((table[measured] + table[true]) / 2, difference, color=PALETTE[0], alpha=0.8, s=30)
    mean, spread = difference.mean(), 1.96 * difference.std() if len(difference) > 1 else 0.0
    levels = {"mean difference": mean, "-1.96 SD": mean - spread, "+1.96 SD": mean + spread}
    for name, level in levels.items():
        axes.axhline(level, color="grey", linewidth=1, linestyle="--" if level == mean else ":")
        place = {"xy": (1.0, level), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(f"{name}: {level:.1f} {unit}", **place, fontsize=9)
    axes.set_xlabel(f"Mean of measured and reference {quantity} ({unit})", fontsize=10)
    axes.set_ylabel(f"Measured minus reference ({unit})", fontsize=10)
    axes.tick_params(labelsize=9)
    sns.despine(figure)
    return figure


@styled
def rho_by_threshold(curve: pd.DataFrame, threshold: float, published: float) -> Figure:
    """Draw Spearman's rho of area and length over the threshold of the heatmap.

    Args:
        curve: Column `threshold` and one column of rho for each form of heatmap, named as in the legend.
        threshold: The Th in use, shown as a line.
        published: The paper's rho, shown as a line.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    forms = curve.columns.drop("threshold")
    for form, colour, style in zip(forms, PALETTE, ("-", "--", "-.", ":"), strict=False):
        axes.plot(curve["threshold"], curve[form], style, color=colour, label=form)
    axes.axvline(threshold, color="black", lw=1, linestyle=":", label=f"Th = {threshold:g}")
    axes.axhline(published, color="grey", lw=1, linestyle=":", label=f"paper: {published:.2f}")
    axes.set(xlabel="Heatmap threshold Th", ylabel="Spearman's ρ of area and length", xlim=(0, 1), ylim=(None, 1))
    axes.legend(frameon=False, fontsize=9)
    sns.despine(figure)
    return figure
