"""Figures of a comparison: the ROC curves of all methods, and the same views as each method sees them."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from bac_utils.methods.interface import LabelledViews
from bac_utils.plots import GROUP_COLOURS, PALETTE, styled
from bac_utils.quantify import upsample_map
from bac_utils.statistics import with_interval
from bac_utils.view_plots import show_view, view_aspects

COLOURS = {"image": PALETTE[0], "pixel": PALETTE[1], "none": PALETTE[2]}
"""One colour per supervision; methods of one supervision differ in the line."""
LINES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (7, 2, 2, 2)), (0, (9, 3)))


@styled
def roc_curves(table: pd.DataFrame, scores: Sequence[pd.DataFrame]) -> Figure:
    """Draw the ROC curves of all methods.

    Args:
        table: Of `table.methods_table`.
        scores: `bac, score` of each row of the table, in its order.

    Returns:
        The figure; the first method, the paper's, has the thickest line.
    """
    figure, axes = plt.subplots(figsize=(9.5, 5.4), layout="constrained")
    lines = {name: cycle(LINES) for name in COLOURS}
    for number, (row, found) in enumerate(zip(table.itertuples(), scores, strict=True)):
        if found["bac"].nunique() < 2:
            continue
        fpr, tpr, _ = roc_curve(found["bac"], found["score"])
        auc = with_interval(row.auc_roc, [row.auc_roc_low, row.auc_roc_high])
        style = {"color": COLOURS[row.supervision], "linestyle": next(lines[row.supervision])}
        axes.plot(fpr, tpr, lw=1.5 if number else 3, label=f"{row.title} ({row.supervision}): {auc}", **style)
    axes.plot([0, 1], [0, 1], color="0.7", lw=1, zorder=0)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    title = "Method (supervision): AUC-ROC [95 %]"
    axes.legend(title=title, fontsize=8, title_fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return figure


@styled
def same_views(
    views: LabelledViews, places: Sequence[int], titles: Sequence[str], heats: Sequence[Sequence[np.ndarray]]
) -> Figure:
    """Draw the same views as each method sees them: one row per view, one column per method.

    Args:
        views: The test views.
        places: Places of the shown views.
        titles: Titles of the methods.
        heats: For each method the heatmaps of the shown views, (h, w) in [0, 1].

    Returns:
        The figure. The first column shows the view and, where it is known, the outline of the ground truth.
    """
    columns, aspects = 1 + len(titles), view_aspects(views.table)
    height, width = views.pixels.shape[1:]
    size = (1.15 * columns, len(places) * 1.15 * height / width * float(aspects.median()) + 0.9)
    figure, grid = plt.subplots(len(places), columns, figsize=size, squeeze=False, layout="compressed")
    for line, axes_of_view in enumerate(grid):
        place = places[line]
        pixels, row = np.asarray(views.pixels[place], np.float32), views.table.iloc[place]
        for column, axes in enumerate(axes_of_view):
            heat = upsample_map(heats[column - 1][line], pixels.shape) if column else None
            show_view(axes, pixels, aspects.iloc[place], heat)
            if line == 0:
                axes.set_title(titles[column - 1] if column else "view", fontsize=7, rotation=30, loc="left")
        first = axes_of_view[0]
        if views.outlines is not None and views.outlines[place].any():
            first.contour(views.outlines[place].astype(float), [0.5], colors=[GROUP_COLOURS["BAC+"]], linewidths=0.7)
        first.set_ylabel(f"BAC{'+' if row['bac'] else '−'}, {row['view']}", fontsize=8)
    return figure


def shown_places(views: LabelledViews) -> list[int]:
    """Choose three views: of the BAC+ ones that of the median and that of the shortest length, and the first BAC- one.

    Without lengths, the first BAC+ views are taken. With fewer views there are fewer places.
    """
    table = views.table.reset_index(drop=True)
    with_bac = table[table["bac"] == 1]
    if "bac_length_mm" in table:
        with_bac = with_bac.sort_values("bac_length_mm", kind="stable", na_position="last")
    chosen = list(dict.fromkeys(with_bac.index[[len(with_bac) // 2, 0]])) if len(with_bac) else []
    return [int(place) for place in [*chosen, *table.index[table["bac"] == 0][:1]]]
