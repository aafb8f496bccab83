"""Figures of views: how they are prepared, with their heatmaps, and with the outline of arteries."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bac_utils.plots import GROUP_COLOURS, PALETTE, styled


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
