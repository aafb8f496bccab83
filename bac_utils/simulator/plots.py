"""Figures that compare the simulator with real mammograms and published values; `plots.save` writes them."""

from collections.abc import Mapping, Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, ScalarFormatter

from bac_utils.plots import PALETTE, styled

SOURCES = {
    "simulated attenuation": {"color": "0.45", "linestyle": ":"},
    "simulated digital": {"color": PALETTE[0], "linestyle": "--"},
    "simulated film": {"color": PALETTE[1], "linestyle": "-."},
    "real film": {"color": "black", "linestyle": "-"},
}
"""Source of the pixels and its line style. The attenuation is the log exposure before acquisition and processing."""
VIEW_COLOURS = {"CC": PALETTE[2], "MLO": PALETTE[4]}
_VIEW_MARKERS = {"CC": "o", "MLO": "^"}
_ROWS = 360  # largest number of rows in which a view is displayed


def _show(axes: Axes, view: Mapping) -> None:
    """Show a view in grey on axes in mm, windowed from its 0.5th to its 99.9th percentile."""
    pixels, spacing = np.asarray(view["pixels"], np.float32), view["spacing_mm"]
    extent = (0, pixels.shape[1] * spacing, pixels.shape[0] * spacing, 0)
    shrink = min(_ROWS / len(pixels), 1)
    pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(pixels, (0.5, 99.9))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent, interpolation="antialiased")
    axes.set_title(view.get("title", ""), fontsize=8, loc="left")


@styled
def side_by_side(rows: Mapping[str, Sequence[Mapping]], note: str = "") -> Figure:
    """Draw whole views in rows, all at the same scale.

    Args:
        rows: The views of each row by row name: `pixels` (float, (rows, columns)), `spacing_mm` and an optional
            `title`.
        note: Text below the figure, such as the credit for the images.

    Returns:
        The figure.
    """
    columns = max(len(row) for row in rows.values())
    sizes = np.array([np.shape(view["pixels"]) * np.array(view["spacing_mm"]) for row in rows.values() for view in row])
    (height, width), inch = sizes.max(axis=0), 9.0 / columns / sizes[:, 1].max()
    size = (9.4, (inch * height + 0.3) * len(rows) + 0.3)
    figure, grid = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="compressed")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        sns.despine(ax=axes, left=True, bottom=True)
    for line, (name, row) in zip(grid, rows.items(), strict=True):
        for axes, view in zip(line, row, strict=False):
            _show(axes, view)
        for axes in line:
            axes.set(xlim=(0, width), ylim=(height, 0))
        line[0].set_ylabel(name)
    grid[-1, 0].plot([5, 55], [height - 4] * 2, color=PALETTE[8], lw=3)
    figure.supxlabel(f"scale bar: 50 mm. {note}".strip(), fontsize=8, color="dimgrey")
    return figure


@styled
def close_ups(views: Sequence[Mapping]) -> Figure:
    """Draw sections of views and, below each, the same section with the outline of the calcified artery.

    Args:
        views: `pixels` (float, (rows, columns)), `artery` (bool, the same shape), `spacing_mm`, `title`.

    Returns:
        The figure.
    """
    size = (2.5 * len(views), 5.4)
    figure, grid = plt.subplots(2, len(views), figsize=size, squeeze=False, layout="constrained")
    for (plain, outlined), view in zip(grid.T, views, strict=True):
        for axes in (plain, outlined):
            _show(axes, view)
            axes.set(xticks=[], yticks=[])
        outlined.set_title("", loc="left")
        spacing = view["spacing_mm"]
        if view["artery"].any():
            x, y = ((np.arange(n) + 0.5) * spacing for n in view["artery"].shape[::-1])
            outlined.contour(x, y, view["artery"].astype(float), [0.5], colors=[PALETTE[1]], linewidths=0.8)
    grid[1, 0].plot([2, 12], [len(views[0]["pixels"]) * views[0]["spacing_mm"] - 3] * 2, color=PALETTE[8], lw=3)
    figure.supxlabel(
        "scale bar: 10 mm; bottom row: with the outline of the calcified artery", fontsize=9, color="dimgrey"
    )
    return figure


def _mean_curve(part: pd.DataFrame, band_per_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Average spectra on a common frequency grid, each relative to its own mean over the band."""
    grid = np.geomspace(part["frequency"].min(), part["frequency"].max(), 60)
    curves = []
    for _, one in part.groupby("image"):
        f = np.log(one["frequency"].to_numpy())
        curve = np.interp(np.log(grid), f, np.log(one["power"].to_numpy()), left=np.nan, right=np.nan)
        within = (grid >= band_per_mm[0]) & (grid <= band_per_mm[1])
        curves.append(curve - np.nanmean(curve[within]))
    reached = np.isfinite(curves).all(axis=0)
    return grid[reached], np.exp(np.mean(curves, axis=0)[reached])


@styled
def power_spectra(
    spectra: pd.DataFrame, published: Mapping[str, tuple[float, float]], band_per_mm: tuple[float, float]
) -> Figure:
    """Draw mean power spectra by source, separately for CC and MLO views, with the published slope.

    Args:
        spectra: One row per view and frequency: `source` (a key of `SOURCES`), `view` (`CC`, `MLO`), `image` (any
            name), `frequency` in 1/mm and `power` in any unit. Each view is divided by its mean over the band.
        published: Mean and standard deviation of beta by view.
        band_per_mm: Range of frequencies in 1/mm over which beta is fitted; it is shaded.

    Returns:
        The figure.
    """
    figure, row = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    for axes, (view, (beta, _)) in zip(row, published.items(), strict=True):
        axes.axvspan(*band_per_mm, color="0.93", zorder=0)
        for name, style in SOURCES.items():
            part = spectra[(spectra["source"] == name) & (spectra["view"] == view)]
            if len(part):
                axes.plot(*_mean_curve(part, band_per_mm), style["linestyle"], color=style["color"], lw=2, label=name)
        f = np.array(band_per_mm)
        law = (f / np.sqrt(f.prod())) ** -beta
        axes.plot(f, 8 * law, color=PALETTE[3], lw=1.5, label=f"published slope, β = {beta:.2f}")
        axes.set(xscale="log", yscale="log", xlabel="Spatial frequency (1/mm)", title=f"{view} views")
        axes.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5]))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    row[0].set_ylabel("Power, relative to the shaded band")
    sns.despine(figure)
    return figure


@styled
def exponents_by_source(exponents: pd.DataFrame, published: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw the exponent of every view and their means by source, with the published mean and standard deviation.

    Args:
        exponents: One row per view: `source` (a key of `SOURCES`), `view` (`CC`, `MLO`), `beta`.
        published: Mean and standard deviation of beta by view.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    names = [name for name in SOURCES if (exponents["source"] == name).any()]
    for shift, (view, (mean, deviation)) in zip((-0.17, 0.17), published.items(), strict=True):
        colour, marker = VIEW_COLOURS[view], _VIEW_MARKERS[view]
        axes.axhspan(mean - deviation, mean + deviation, color=colour, alpha=0.13, lw=0)
        axes.axhline(mean, color=colour, lw=1, linestyle="--", label=f"published {view}: {mean:.2f} ± {deviation:.2f}")
        for place, name in enumerate(names):
            part = exponents.loc[(exponents["source"] == name) & (exponents["view"] == view), "beta"]
            if part.empty:
                continue
            spread = np.linspace(-0.09, 0.09, len(part)) if len(part) > 1 else np.zeros(1)
            axes.plot(place + shift + spread, part, marker, color=colour, ms=5, alpha=0.8)
            axes.plot([place + shift - 0.13, place + shift + 0.13], [part.mean()] * 2, color="black", lw=2)
        axes.plot([], [], marker, color=colour, ms=5, alpha=0.8, label=f"{view}, single view")
    axes.plot([], [], color="black", lw=2, label="mean")
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    axes.set(ylabel="Exponent β of the power spectrum", xlim=(-0.5, len(names) - 0.5))
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure


@styled
def grey_levels(levels: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw histograms of normalised grey levels by source: one thin line per view, a thick line for the mean.

    Args:
        levels: By source (a key of `SOURCES`), the normalised grey levels inside the breast of each view: mean 0,
            standard deviation 1.

    Returns:
        The figure; the mean of the last source is repeated in every panel.
    """
    figure, row = plt.subplots(1, len(levels), figsize=(3.4 * len(levels), 3.6), sharey=True, squeeze=False,
                               layout="constrained")  # fmt: skip
    edges = np.linspace(-4, 4, 81)
    middle = (edges[:-1] + edges[1:]) / 2
    shares = {
        name: [np.histogram(np.clip(one, -4, 4), edges)[0] / len(one) / np.diff(edges) for one in views]
        for name, views in levels.items()
    }
    last = list(shares)[-1]
    for axes, (name, curves) in zip(row[0], shares.items(), strict=True):
        style = SOURCES[name]
        for curve in curves:
            axes.plot(middle, curve, color=style["color"], lw=0.7, alpha=0.35)
        axes.plot(middle, np.mean(curves, axis=0), style["linestyle"], color=style["color"], lw=2.2, label="mean")
        if name != last:
            other = SOURCES[last]
            axes.plot(middle, np.mean(shares[last], axis=0), other["linestyle"], color=other["color"], lw=1.2,
                      label=f"mean, {last}")  # fmt: skip
        axes.set(title=f"{name}, {len(curves)} views", xlim=(-4, 4))
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    highest = max(np.mean(curves, axis=0).max() for curves in shares.values())
    row[0, 0].set(ylabel="Probability density", ylim=(0, 2 * highest))
    figure.supxlabel("Grey level inside the breast (standard deviations from the mean)")
    sns.despine(figure)
    return figure


@styled
def artery_distributions(views: pd.DataFrame, segments: pd.DataFrame, moderate_mm: float) -> Figure:
    """Draw the distributions of length, calibre and strength of the calcified arteries.

    Args:
        views: One row per view with BAC: `view` (`CC`, `MLO`), `length_mm`.
        segments: One row per calcified segment in a view: `view`, `length_mm`, `calibre_mm`, `strength` (0 to 1).
            Segments are weighted by length.
        moderate_mm: Length in the one published view with a moderate burden; it is marked.

    Returns:
        The figure.
    """
    figure, (length, calibre, strength) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    style = {"hue": "view", "hue_order": list(VIEW_COLOURS), "palette": VIEW_COLOURS, "common_norm": False,
             "element": "step", "stat": "percent", "alpha": 0.3}  # fmt: skip
    sns.histplot(views, x="length_mm", binwidth=10, binrange=(0, 10 * np.ceil(views["length_mm"].max() / 10)),
                 ax=length, **style)  # fmt: skip
    length.axvline(moderate_mm, color="black", linestyle=":", lw=1.5)
    example = f"published example,\n“moderate”: {moderate_mm:g} mm"
    length.annotate(example, (moderate_mm, 0.9), (20, 0), fontsize=9, xycoords=("data", "axes fraction"),
                    textcoords="offset points")  # fmt: skip
    length.set(xlabel="Length of calcified artery per view (mm)", ylabel="Views with BAC (%)")
    for axes, column, width, label in (
        (calibre, "calibre_mm", 0.1, "Calibre of the artery (mm)"),
        (strength, "strength", 0.05, "Strength of calcification (0 to 1)"),
    ):
        sns.histplot(segments, x=column, weights="length_mm", binwidth=width, legend=False, ax=axes, **style)
        axes.set(xlabel=label, ylabel="Calcified length (%)")
    sns.move_legend(length, "center right", title=None, frameon=False)
    sns.despine(figure)
    return figure


@styled
def artery_agreement(
    pairs: Mapping[str, tuple[pd.Series, pd.Series]], published: Mapping[str, tuple[float, float]], seen: pd.Series,
    published_seen: float,
) -> Figure:  # fmt: skip
    """Draw the agreement between a woman's views: lengths against each other, and the number of views with BAC.

    Args:
        pairs: By name `"Y on X"`, the lengths in mm on the x axis and on the y axis.
        published: By the same names, the published slope and correlation for calcium mass.
        seen: Number of views with BAC of each BAC+ woman.
        published_seen: Published mean of that number.

    Returns:
        The figure.
    """
    figure, row = plt.subplots(1, len(pairs) + 1, figsize=(3.8 * (len(pairs) + 1), 3.9), layout="constrained")
    for axes, (name, (x, y)) in zip(row, pairs.items(), strict=False):
        slope, offset = np.polyfit(x, y, 1)
        other, correlation = published[name]
        end = np.array([0, max(x.max(), y.max())])
        axes.plot(x, y, "o", ms=3.5, alpha=0.4, color=PALETTE[0])
        fit = f"slope {slope:.2f}, r = {np.corrcoef(x, y)[0, 1]:.2f}"
        axes.plot(end, offset + slope * end, color="black", label=fit)
        label = f"published (mass): slope {other:.2f}, r = {correlation:.2f}"
        axes.plot(end, other * end, "--", color=PALETTE[1], label=label)
        y_name, x_name = name.split(" on ")
        limits = (-3, end[1] * 1.03)
        axes.set(
            xlabel=f"Length, {x_name} (mm)", ylabel=f"Length, {y_name} (mm)", xlim=limits, ylim=limits, box_aspect=1
        )
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    counts = seen.value_counts().reindex(range(1, 5), fill_value=0)
    row[-1].bar(counts.index, 100 * counts / len(seen), width=0.6, color=PALETTE[0])
    row[-1].set_xticks(counts.index, [f"{k}\nn = {n}" for k, n in counts.items()])
    row[-1].set(xlabel="Views with BAC, out of four", ylabel="BAC+ women (%)")
    row[-1].set_title(f"mean {seen.mean():.2f}, published {published_seen:.2f}", fontsize=10)
    sns.despine(figure)
    return figure
