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
from statsmodels.graphics.agreement import mean_diff_plot

from bac_utils.statistics import with_interval
from bac_utils.views_table import SETS

PALETTE = sns.color_palette("colorblind")
SET_COLOURS = {"train": PALETTE[3], "validation": PALETTE[0], "test": PALETTE[2]}  # the paper's red, blue, green
GROUP_COLOURS = {"BAC-": PALETTE[0], "BAC+": PALETTE[1]}
PNG_BYTES = 300_000


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function to draw in the kit's style without changing the global style."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs) -> Figure:
        with sns.axes_style("ticks"), sns.plotting_context("notebook"), plt.rc_context({"font.size": 11}):
            return draw(*args, **kwargs)

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
    sns.histplot(data, x="age", binwidth=3, stat="percent", common_norm=False, element="step", alpha=0.35,
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
def roc_pr_curves(predictions: pd.DataFrame, detection: dict[str, dict], threshold: float) -> Figure:
    """Draw the ROC and precision-recall curves of the three sets, as in the paper's figure 3.

    Args:
        predictions: One row per view: `split`, `bac` 0 or 1, `score` in [0, 1].
        detection: By set: `auc_roc`, `auc_pr`, `auc_roc_ci`, `auc_pr_ci`.
        threshold: Operating threshold; a dot marks it on every curve.

    Returns:
        The figure.
    """
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    for name in SETS:
        rows, colour = predictions[predictions["split"] == name], SET_COLOURS[name]
        labels, scores, metrics = rows["bac"].to_numpy(), rows["score"].to_numpy(), detection[name]
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
    figure.supxlabel("dot: operating threshold; dotted: no-skill baseline", fontsize=9, color="dimgrey")
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
    """Draw the scores of BAC+ and BAC- views in the three sets as box plots, with the operating threshold.

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


def show_view(axes: Axes, pixels: np.ndarray, aspect: float, heatmap: np.ndarray | None = None) -> None:
    """Show a prepared view in grey levels on black, with an overlaid heatmap whose opacity increases with its values.

    Args:
        axes: Axes to draw in.
        pixels: (H, W), 0 outside the breast.
        aspect: Height of a pixel divided by its width.
        heatmap: (H, W) in [0, 1]; None draws no heatmap.
    """
    inside = pixels != 0
    low, high = np.percentile(pixels[inside], (1, 99.8)) if inside.any() else (0, 1)
    grey = np.where(inside, pixels, low).astype(np.float32)
    axes.imshow(grey, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="antialiased")
    if heatmap is not None:
        shown = np.where(inside, np.clip(heatmap, 0, 1), 0)
        axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, aspect=aspect, alpha=0.75 * shown**0.5)
    axes.set(xticks=[], yticks=[])


def view_aspects(table: pd.DataFrame) -> pd.Series:
    """Return the ratio of row to column spacing of prepared views, used to display breasts without distortion.

    Args:
        table: One row per view: `spacing_row_mm`, `spacing_column_mm`, NaN where unknown.

    Returns:
        The ratio, 1 where unknown, with the table's index.
    """
    return (table["spacing_row_mm"] / table["spacing_column_mm"]).fillna(1.0)


@styled
def gallery(rows: Sequence[tuple[str, Sequence[dict]]], columns: int = 4) -> Figure:
    """Draw prepared views in rows, each followed by its heatmaps.

    Args:
        rows: Name and views of each row. A view is a dict of `pixels` (float, (H, W), 0 outside the breast) and,
            optionally, `heatmaps` (by name, each (H, W) in [0, 1]; the same number in all views), `title`, and `aspect`
            (row spacing divided by column spacing).
        columns: Views per row; missing views leave an empty place.

    Returns:
        The figure; a colour bar shows the common scale of the heatmaps.

    Raises:
        ValueError: There are no views.
    """
    views = [view for _, row in rows for view in row]
    if not views:
        raise ValueError("rows: got no view, must have at least one")
    names = list(views[0].get("heatmaps", {}))
    height, width = views[0]["pixels"].shape
    shape = np.median([v.get("aspect", 1.0) for v in views]) * height / width
    each = 1 + len(names)
    panels = columns * each
    size = (1.35 * panels, len(rows) * (1.35 * shape + 0.4))
    figure, grid = plt.subplots(len(rows), panels, figsize=size, squeeze=False, layout="compressed")
    for line, (name, row) in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for k, view in enumerate(row[:columns]):
            spots = line[each * k : each * (k + 1)]
            for axes, heatmap in zip(spots, (None, *view.get("heatmaps", {}).values()), strict=True):
                show_view(axes, np.asarray(view["pixels"], np.float32), view.get("aspect", 1.0), heatmap)
            spots[0].set_title(view.get("title", ""), fontsize=7, loc="left")
            for axes, title in zip(spots[1:], names if len(names) > 1 else (), strict=False):
                axes.set_title(title, fontsize=7)
        line[0].text(-0.08, 0.5, name, rotation=90, va="center", ha="right", transform=line[0].transAxes)
    if names:
        scale = plt.cm.ScalarMappable(plt.Normalize(0, 1), "inferno")
        bar = figure.colorbar(scale, ax=grid, location="bottom", shrink=0.4, aspect=40, pad=0.01)
        bar.set_label("Heatmap", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


@styled
def preparation_steps(views: Sequence[dict]) -> Figure:
    """Draw the preparation of views: original, mask and bounding box of the breast, crop, and input of the network.

    Args:
        views: Dicts of `pixels` (float, (rows, columns)), `mask` (bool, the same shape), `box` (r0, r1, c0, c1,
            end-exclusive), `prepared` (float, (H, W), 0 outside the breast), `aspect` (row spacing divided by column
            spacing of `prepared`) and `title`.

    Returns:
        The figure, one row per view.
    """
    figure, grid = plt.subplots(len(views), 4, figsize=(10, 3.6 * len(views)), squeeze=False, layout="constrained")
    for line, view in zip(grid, views, strict=True):
        step = max(1, max(view["pixels"].shape) // 600)
        pixels, mask = view["pixels"][::step, ::step], view["mask"][::step, ::step]
        r0, r1, c0, c1 = view["box"]
        grey = {"cmap": "gray", "vmin": np.percentile(pixels, 1), "vmax": np.percentile(pixels, 99.9)}
        line[0].imshow(pixels, **grey)
        line[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        line[1].add_patch(
            plt.Rectangle((c0 / step, r0 / step), (c1 - c0) / step, (r1 - r0) / step, fill=False, ec=PALETTE[1], lw=2)
        )
        line[2].imshow(view["pixels"][r0:r1:step, c0:c1:step], **grey)
        show_view(line[3], np.asarray(view["prepared"], np.float32), view["aspect"])
        rows, columns = view["pixels"].shape
        height, width = view["prepared"].shape
        titles = (
            f"{view['title']}: {rows} × {columns}", "mask and bounding box",
            f"crop: {r1 - r0} × {c1 - c0}", f"network's input: {height} × {width}",
        )  # fmt: skip
        for axes, title in zip(line, titles, strict=True):
            axes.set_title(title, fontsize=9)
            axes.set(xticks=[], yticks=[])
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
        The figure: differences, their mean, and the mean -+ 1.96 standard deviations (statsmodels: divided by n).
    """
    figure, axes = plt.subplots(figsize=(6.5, 4.2))  # mean_diff_plot lays it out
    style = {"color": PALETTE[0], "alpha": 0.8, "s": 30}
    mean_diff_plot(table[measured].to_numpy(), table[true].to_numpy(), ax=axes, scatter_kwds=style)
    for text in axes.texts:
        text.set(text=f"{text.get_text()} {unit}".replace("\n", " "), fontsize=9)
    low, high = axes.get_ylim()
    difference = table[measured] - table[true]
    margin = 0.05 * (difference.max() - difference.min())
    axes.set_ylim(min(low, difference.min() - margin), max(high, difference.max() + margin))
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


@styled
def outlined_views(views: Sequence[dict]) -> Figure:
    """Draw mammograms with the outline of a region, as in the paper's figure 6a.

    Args:
        views: Dicts of `pixels` (float, (rows, columns)), `region` (bool, the same shape) and `title`.

    Returns:
        The figure.
    """
    figure, row = plt.subplots(1, len(views), figsize=(3.3 * len(views), 4.4), squeeze=False, layout="constrained")
    for axes, view in zip(row[0], views, strict=True):
        step = max(1, max(view["pixels"].shape) // 900)
        pixels, region = view["pixels"][::step, ::step], view["region"][::step, ::step]
        axes.imshow(pixels, cmap="gray", vmin=np.percentile(pixels, 1), vmax=np.percentile(pixels, 99.9))
        if region.any():
            axes.contour(region.astype(float), [0.5], colors=[GROUP_COLOURS["BAC+"]], linewidths=1)
        axes.set_title(view["title"], fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure
