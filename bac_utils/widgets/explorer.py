"""The cohort explorer: age, prevalence and burden of BAC by group, with selection by mouse or keyboard."""

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bac_utils import plots
from bac_utils.cohort import age_class, age_class_labels
from bac_utils.statistics import describe, finite_or_none, wilson
from bac_utils.views_table import exam_keys
from bac_utils.widgets import svg
from bac_utils.widgets.base import LINE, WIDE, Panel, button, choice, row
from bac_utils.widgets.canvas import Picture
from bac_utils.women import women_table

BIN_YEARS = 5
BURDEN = "length of calcified artery per woman (mm)"


def women_with_burden(views: pd.DataFrame) -> pd.DataFrame:
    """Reduce a views table to one row per woman, with her burden.

    Args:
        views: A checked views table with BAC+ and BAC- views.

    Returns:
        The columns of `women.women_table`, and `burden_mm`, the sum of `bac_length_mm` over the views of the exam that
        describes her; NaN if the length of any of them is unknown.
    """
    women = women_table(views)
    if "bac_length_mm" not in views:
        return women.assign(burden_mm=np.nan)
    keys = exam_keys(women)
    sums = views.groupby(keys)["bac_length_mm"].agg(lambda lengths: lengths.sum(skipna=False))
    return women.join(sums.rename("burden_mm"), on=keys)


def group_summary(women: pd.DataFrame) -> dict:
    """Summarise a group of women.

    Args:
        women: One row per woman: `age` (years), `bac` (0 or 1), `burden_mm`; ages and burdens are NaN where unknown.

    Returns:
        The numbers `women, bac_women`; `prevalence, prevalence_ci` (proportions, Wilson interval) and `age_median`
        (years, of the women with an age; None if there are none); and for BAC+ women with a known burden their number
        `burden_women` and `burden_median, burden_iqr` (mm). Statistics of an empty group are None.
    """
    total, with_bac = len(women), women[women["bac"] == 1]
    found = {"women": total, "bac_women": len(with_bac), "prevalence": None, "prevalence_ci": None, "age_median": None}
    if total:
        found |= {"prevalence": len(with_bac) / total, "prevalence_ci": wilson(len(with_bac), total)}
        found["age_median"] = finite_or_none(women["age"].median())
    burden = with_bac["burden_mm"].dropna()
    found |= {"burden_women": len(burden), "burden_median": None, "burden_iqr": None}
    if len(burden):
        numbers = describe(burden)
        found |= {"burden_median": numbers["median"], "burden_iqr": (numbers["q1"], numbers["q3"])}
    return found


class CohortExplorer(Panel):
    """Three charts of a cohort; the age chart selects an age range, and the other two select groups.

    Women without an age are selected as long as the age range is not narrowed; they are a separate group, `unknown`,
    among the age classes. If no age is known, the age chart and the slider are left out.

    Attributes:
        ages: Slider of the age range, years, both ends included.
        group: Dropdown list of the grouping variable.
        picked: Names of the selected groups; all groups if empty.
    """

    def __init__(self, views: pd.DataFrame, limits: Sequence[int]) -> None:
        """Show the whole cohort.

        Args:
            views: A checked views table in which all labels are known.
            limits: Upper limits of all age classes except the last, years.
        """
        self._women = women_with_burden(views)
        ages = self._women["age"].dropna()
        self._unknown = len(self._women) - len(ages)
        self._groupings = {}
        if len(ages):
            names = np.array([*age_class_labels(ages, limits), "unknown"])  # UNKNOWN_AGE is the last
            self._groupings["age class"] = names[age_class(self._women["age"], limits)]
        if "split" in self._women:
            self._groupings["set"] = self._women["split"].astype(str).to_numpy()
        self._groupings["laterality of BAC"] = _sides(views, self._women)
        self.picked: set[str] = set()
        low, high = (int(np.floor(ages.min())), int(np.ceil(ages.max()))) if len(ages) else (0, 0)
        self.ages = ipywidgets.IntRangeSlider(
            value=(low, high), min=low, max=high, description="Age (years)", style=WIDE,
            layout=LINE,
        )  # fmt: skip
        self.ages.add_class("bac-ages")
        self.group = choice("Group by", "bac-group", list(self._groupings), next(iter(self._groupings)))
        self.histogram = Picture(on_pick=self.pick_ages)
        self.histogram.add_class("bac-histogram")
        self.groups = Picture(on_pick=self.pick_group)
        self.groups.add_class("bac-groups")
        self.told = ipywidgets.HTML()
        self.told.add_class("bac-told")
        self.ages.observe(lambda _: self._show(), "value")
        self.group.observe(lambda _: self._regroup(), "value")
        everything = button("Whole cohort", "bac-clear", self.clear)
        words = "Drag over the ages or click a bar to select; Shift adds. By keyboard: Tab to a bar, then Enter."
        by_age = [self.ages], [self.histogram], [ipywidgets.HTML(f"<small>{words}</small>")]
        sliders, charts, helped = by_age if len(ages) else ([], [], [])
        super().__init__(
            [row(*sliders, self.group, everything), row(*charts, self.groups), self.told, *helped]
        )  # fmt: skip
        self._show()

    def chosen(self) -> pd.DataFrame:
        """Return the selected women."""
        fits = self._in_range()
        if self.picked:
            fits &= np.isin(self._groupings[self.group.value], list(self.picked))
        return self._women[fits]

    def pick_ages(self, first: str, last: str, add: bool) -> None:
        """Select the ages between two bars of the histogram, both included; `add` extends the current range."""
        low, high = sorted((int(first), int(last)))
        high += BIN_YEARS - 1
        if add:
            low, high = min(low, self.ages.value[0]), max(high, self.ages.value[1])
        self.ages.value = (max(low, self.ages.min), min(high, self.ages.max))

    def pick_group(self, first: str, last: str, add: bool) -> None:
        """Select a group, or deselect it if it is selected; `add` keeps the other selected groups."""
        self.picked = (self.picked if add else self.picked & {last}) ^ {last}
        self._show()

    def clear(self) -> None:
        """Select the whole cohort."""
        self.picked = set()
        self.ages.value = (self.ages.min, self.ages.max)
        self._show()

    def _in_range(self) -> pd.Series:
        """Return for each woman whether she is in the selected age range; the whole range includes unknown ages."""
        whole = self.ages.value == (self.ages.min, self.ages.max)
        return self._women["age"].between(*self.ages.value) | (self._women["age"].isna() & whole)

    def figure(self) -> Figure:
        """Draw the three charts in their current state."""
        return _figure(self)

    def by_group(self) -> dict[str, dict]:
        """Return the summary of each group, for the women in the selected age range."""
        names, inside = self._groupings[self.group.value], self._in_range()
        order = dict.fromkeys(sorted(names, key=_rank))
        return {name: group_summary(self._women[(names == name) & inside]) for name in order}

    def _regroup(self) -> None:
        self.picked = set()
        self._show()

    def _show(self) -> None:
        aged = self._unknown < len(self._women)
        self.histogram.html = self._draw_ages() if aged else ""
        self.groups.html = self._draw_groups()
        found = group_summary(self.chosen())
        low, high = self.ages.value
        picked = f", {self.group.value} {' or '.join(sorted(self.picked, key=_rank))}" if self.picked else ""
        selected = f"ages {low} to {high} years" if aged else "all women"
        words = [f"Selected: {selected}{escape(picked)}: <b class='bac-women'>{found['women']}</b> women"]
        unknown = int(self.chosen()["age"].isna().sum())
        if unknown:
            words.append(f"age unknown: {unknown}")
        if found["age_median"] is not None:
            words.append(f"median age {found['age_median']:g} years")
        if found["women"]:
            ends = " to ".join(f"{100 * p:.1f}" for p in found["prevalence_ci"])
            words.append(
                f"<b class='bac-bac-women'>{found['bac_women']}</b> BAC+, <b class='bac-prevalence'>"
                f"{found['prevalence']:.1%}</b> [95 % interval {ends} %]"
            )
        if found["burden_median"] is not None:
            low, high = found["burden_iqr"]
            words.append(
                f"{BURDEN} of {found['burden_women']} BAC+: median {found['burden_median']:.0f} [{low:.0f}–{high:.0f}]"
            )
        self.told.value = f"<span role='status' aria-live='polite'>{'; '.join(words)}</span>"

    def _bins(self) -> list[tuple[int, int, int]]:
        """Return the lowest age and the numbers of BAC- and BAC+ women for each bar."""
        start = BIN_YEARS * (self.ages.min // BIN_YEARS)
        bins = []
        for low in range(start, self.ages.max + 1, BIN_YEARS):
            here = self._women[self._women["age"].between(low, low + BIN_YEARS, inclusive="left")]
            bins.append((low, int((here["bac"] == 0).sum()), int((here["bac"] == 1).sum())))
        return bins

    def _draw_ages(self) -> str:
        bins = self._bins()
        start, end = bins[0][0], bins[-1][0] + BIN_YEARS
        most = _round_up(max(sum(counts) for _, *counts in bins))
        ticks = np.arange(start, end + 1, BIN_YEARS), None
        axes = svg.Axes("Ages", ("age (years)", start, end), ("women", 0, most), (320, 210), ticks)
        axes.define("bac-hatch")
        for low, without, with_ in bins:
            axes.bar(low + 0.2, low + BIN_YEARS - 0.2, without, svg.BLUE)
            axes.bar(low + 0.2, low + BIN_YEARS - 0.2, without + with_, svg.ORANGE, without, "bac-hatch")
        for low, without, with_ in bins:
            words = f"{low} to {low + BIN_YEARS - 1} years: {without + with_} women, {with_} BAC+"
            inside = self.ages.value[0] < low + BIN_YEARS and self.ages.value[1] >= low
            axes.region(
                low, low + BIN_YEARS, str(low), words, inside and self.ages.value != (self.ages.min, self.ages.max)
            )
        marks = ((svg.BLUE, "■", "BAC−"), (svg.ORANGE, "▨", "BAC+"))
        legend = " &nbsp; ".join(f"<span style='color:{c}'>{mark}</span> {name} women" for c, mark, name in marks)
        return f"{axes.svg()}<br>{legend}"

    def _draw_groups(self) -> str:
        found = self.by_group()
        count = max(len(found), 1)
        shares = [100 * f["prevalence_ci"][1] for f in found.values() if f["women"]]
        ticks = [], None
        size = (max(55 * count, 200), 210)
        left = svg.Axes(
            "Prevalence [95 %]", (f"{self.group.value}; BAC+ of all women", 0, count),
            ("BAC+ women (%)", 0, _round_up(max(shares, default=1))), size, ticks,
        )  # fmt: skip
        known = [f["burden_iqr"][1] for f in found.values() if f["burden_median"] is not None]
        right = svg.Axes(
            "Burden, median [quartiles]", (f"{self.group.value}; BAC+ women", 0, count),
            ("length of calcified artery (mm)", 0, _round_up(max(known, default=1))), size, ticks,
        )  # fmt: skip
        for place, (name, numbers) in enumerate(found.items()):
            label = f"{name}: {numbers['bac_women']} of {numbers['women']} women BAC+"
            if numbers["women"]:
                left.bar(place + 0.2, place + 0.8, 100 * numbers["prevalence"], svg.BLUE)
                left.whisker(place + 0.5, *(100 * p for p in numbers["prevalence_ci"]))
            if numbers["burden_median"] is not None:
                right.bar(place + 0.2, place + 0.8, numbers["burden_median"], svg.ORANGE)
                right.whisker(place + 0.5, *numbers["burden_iqr"])
            for axes in (left, right):
                axes.text(place + 0.5, 0, name, below=14)
                axes.region(place + 0.05, place + 0.95, name, label, name in self.picked)
        return left.svg() + (right.svg() if known else "")


def _sides(views: pd.DataFrame, women: pd.DataFrame) -> np.ndarray:
    """Return the laterality of BAC of each woman: `none`, `left`, `right` or `both`."""
    keys = exam_keys(women)
    found = views[views["bac"] == 1].groupby(keys)["laterality"].agg(lambda sides: "".join(sorted(set(sides))))
    words = {"L": "left", "R": "right", "LR": "both"}
    return women[keys].join(found, on=keys)["laterality"].map(words).fillna("none").to_numpy(str)


def _rank(name: str) -> tuple:
    """Return a sort key for group names: numbers by value, sets and lateralities in their usual order."""
    known = ["train", "validation", "test", "unused", "none", "left", "right", "both", "unknown"]
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return (known.index(name) if name in known else -1, int(digits[0]) if digits else 0, name)


def _round_up(value: float) -> float:
    """Round an axis limit up so that the axis divides into five round steps."""
    value = max(float(value), 1e-9)
    power = 10.0 ** np.floor(np.log10(value / 5))
    return float(next(5 * s * power for s in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if 5 * s * power >= value * 0.999))


@plots.styled
def _figure(explorer: CohortExplorer) -> Figure:
    figure, (ages, prevalence, burden) = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
    groups = explorer.by_group()
    if explorer._unknown < len(explorer._women):
        start, without, with_ = np.array(explorer._bins()).T
        options: dict[str, Any] = {"width": BIN_YEARS - 0.4, "align": "edge"}
        ages.bar(start + 0.2, without, color=svg.BLUE, label="BAC−", **options)
        ages.bar(start + 0.2, with_, bottom=without, color=svg.ORANGE, hatch="//", label="BAC+", **options)
        ages.set(xlabel="Age (years)", ylabel="Women")
        ages.legend(frameon=False)
    else:
        ages.remove()
    names = list(groups)
    for axes, key, spread, scale in (
        (prevalence, "prevalence", "prevalence_ci", 100), (burden, "burden_median", "burden_iqr", 1)
    ):  # fmt: skip
        for place, numbers in enumerate(groups.values()):
            if numbers[key] is not None:
                value, (low, high) = scale * numbers[key], (scale * n for n in numbers[spread])
                axes.bar(place, value, width=0.6, color=svg.BLUE if scale == 100 else svg.ORANGE)
                axes.errorbar(place, value, [[max(value - low, 0)], [max(high - value, 0)]], color="black", capsize=4)
        axes.set_xticks(range(len(names)), [f"{n}\n{groups[n]['bac_women']} of {groups[n]['women']}" for n in names])
        axes.set_xlabel(f"{explorer.group.value.capitalize()}, BAC+ of all women")
    prevalence.set_ylabel("BAC+ women (%) [95 %]")
    burden.set_ylabel("Length of calcified artery (mm)")
    burden.set_title("BAC+ women: median and quartiles", fontsize=10)
    return figure
