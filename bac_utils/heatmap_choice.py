"""Choosing the form of the heatmap and its Th on the validation set, and checking the lengths that result.

Spearman's rho of the heatmap's area and the reference length ignores the scale: a low Th can rank views well and yet
trace arteries of half a metre in a breast without BAC. The rule therefore has two steps:

1. The form is the model's default if its largest rho over the views of BAC+ women is within one standard error of that
   of the best form, else the best one (one-standard-error rule; Breiman et al., Classification and Regression Trees,
   1984). By the same rule, the values of Th are kept whose rho is within one standard error of the form's largest.
2. Of these, the values of Th are kept whose error of the measured length in mm is within one standard error of the
   smallest, and the one closest to 0.5 is chosen. Views without BAC count, and have as much weight as those with BAC.
   Lengths are measured by `OperatingPoint.measure`, as everywhere.

Simulated cohort (demo, Th chosen on 10 of 56 women, 300 random draws; mean over the other women): rho 0.80, with a
standard deviation of 0.03 over the draws. With the smallest error itself, rho was 0.75 and the deviation 0.06, while
the median absolute error differed little (28 instead of 30 mm). In an earlier version of the demo, step 1 alone left
more lengths off by a factor of two (26 instead of 20 %).

With fewer than `MIN_LENGTHS` lengths nothing is chosen: the model's default form and Th are used, and lengths count as
unchecked. Importing this module does not load TensorFlow.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from bac_utils.arteries.segmentation import find_lines
from bac_utils.quantify import common_spacings, heatmap_area
from bac_utils.views_table import exam_keys

MIN_LENGTHS, MIN_WOMEN = 10, 5
"""Number of validation views with BAC of known length, and of their women, that a choice needs (this kit's choice). The
standard error of a rho of 0.8 is 0.43 on Fisher's scale with 10 views, which leaves 0.58 to 0.91."""
THRESHOLDS = tuple(k / 10 for k in range(1, 10))
"""Values of Th to choose from."""
MOST_WITHOUT_BAC = 40
"""Most views without BAC whose lengths are measured; a detector that calls more of them BAC+ would take too long."""
SPACING = ["spacing_row_mm", "spacing_column_mm"]


@dataclass(frozen=True)
class LengthCheck:
    """Comparison of measured lengths with the reference lengths of the validation set.

    An artery that is not found (a view classified as BAC-, or without a traced artery) counts as 0 mm. The views are
    those on which form and Th were chosen, so that the errors are slightly optimistic.

    Attributes:
        views: Views with BAC.
        women: Their women.
        median_absolute_error_mm: Median absolute error in these views.
        bias: Mean error divided by the mean reference length.
        off_by_factor_two: Number of these views measured at less than half or more than twice the reference length.
        bac_minus_mm: Largest length measured in a view without BAC.

    Raises:
        ValueError: A field is not a number, or out of range.
    """

    views: int
    women: int
    median_absolute_error_mm: float
    bias: float
    off_by_factor_two: int
    bac_minus_mm: float

    def __post_init__(self) -> None:
        """Check the fields."""
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            rule = "a finite number" if name == "bias" else "a finite number of 0 or more"
            if not number or (value < 0 and name != "bias"):
                raise ValueError(f"lengths_checked.{name}: got {str(value)[:40]}, must be {rule}")
        for name, low in (("women", 1), ("off_by_factor_two", 0)):
            if not low <= getattr(self, name) <= self.views:
                got = getattr(self, name)
                raise ValueError(f"lengths_checked.{name}: got {got}, must be from {low} to the number of views")


def read_check(values: Any) -> LengthCheck | None:
    """Return the `LengthCheck` of a JSON object, or None for None.

    Args:
        values: The object as a dict; a `LengthCheck` is returned unchanged.

    Raises:
        ValueError: It lacks a field, has an unknown one, or a field is out of range.
    """
    if values is None or isinstance(values, LengthCheck):
        return values
    names = [field.name for field in fields(LengthCheck)]
    if not isinstance(values, dict) or set(values) != set(names):
        raise ValueError(f"lengths_checked: got {str(values)[:40]}, must be null or have the fields {', '.join(names)}")
    return LengthCheck(**values)


@dataclass(frozen=True)
class HeatmapChoice:
    """A form of heatmap and its Th, and how they were chosen.

    Attributes:
        form: One of `heatmaps.FORMS`.
        threshold: Th in (0, 1).
        chosen_on: `given` (both requested), `validation` or `default`.
        too_few: Why there are too few lengths to choose by; empty if there are enough.
        rho: Spearman's rho of area and length, one row per Th and one column per form; -1 where it is undefined. None
            with too few lengths.
        error_mm: Error of the measured length in mm by Th, for the values of Th that step 1 keeps.
        checked: The lengths measured with this pair; None with too few lengths.
    """

    form: str
    threshold: float
    chosen_on: str
    too_few: str = ""
    rho: pd.DataFrame | None = None
    error_mm: pd.Series | None = None
    checked: LengthCheck | None = None

    def applied_to(self, point: Any, kept: Any = None) -> Any:
        """Return an operating point with this choice.

        Args:
            point: A `detector.OperatingPoint`.
            kept: From `detector.kept_thresholds`; if its form and Th were requested, it says what they were chosen on.
        """
        saved = kept is not None and (kept.heatmap, kept.heatmap_threshold) == (self.form, self.threshold)
        chosen_on = kept.heatmap_chosen_on if saved else self.chosen_on
        chosen = replace(point, heatmap=self.form, heatmap_threshold=self.threshold, heatmap_chosen_on=chosen_on)
        return replace(chosen, lengths_checked=self.checked)

    def by_threshold(self) -> pd.DataFrame:
        """Return rho and, for the values of Th that step 1 keeps, the error in mm of the chosen form."""
        return pd.DataFrame({"rho": self.rho[self.form], "error, mm": self.error_mm}).rename_axis("Th")


def choose_heatmap(
    explain: Any,
    pixels: Any,
    table: pd.DataFrame,
    point: Any,
    form: str | None,
    threshold: float | None,
    default: tuple[str, float],
) -> HeatmapChoice:
    """Choose the form of heatmap and its Th by the rule in the module's docstring.

    Args:
        explain: A `heatmaps.Explainer` of all forms to choose from.
        pixels: Prepared views by the table's index, each (H, W).
        table: The validation views, one row per view: `patient_id, bac, score, spacing_row_mm, spacing_column_mm` and,
            if lengths are known, `bac_length_mm` (0 in views without BAC).
        point: The `detector.OperatingPoint`, with its detection threshold.
        form: Requested form, or None.
        threshold: Requested Th, or None. It need not be one of `THRESHOLDS`.
        default: The model's own form and Th. The form is preferred; both are used with too few lengths.

    Returns:
        The choice. Among equals, the first form and the Th closest to 0.5 are taken.

    Raises:
        ValueError: The requested form is not among those of `explain`.
    """
    if form is not None and form not in explain.forms:
        raise ValueError(f"heatmap: got {form!r}, must be one that the model supports: {', '.join(explain.forms)}")
    given = form is not None and threshold is not None
    if words := too_few_lengths(table):
        from bac_utils.heatmaps import default_threshold

        form = form or default[0]
        own = default[1] if form == default[0] else default_threshold(form)
        th = own if threshold is None else threshold
        return HeatmapChoice(form, th, "given" if given else "default", words)
    table = table[table["bac_length_mm"].notna()]
    scores, heats = _explain(explain, pixels, table, point.threshold)
    compared = table[_of_women_with_bac(table)]
    calls = {row: scores[row] >= point.threshold for row in compared.index}
    ths = THRESHOLDS if threshold is None else sorted({*THRESHOLDS, threshold})
    rho = rho_by_threshold(heats, calls, pixels, compared, ths)
    tried = rho.loc[list(THRESHOLDS) if threshold is None else [threshold], [form] if form else list(rho)]
    best = tried.max()
    near = within_one_error(best, compared["patient_id"].nunique())
    form = default[0] if default[0] in near else str(best.idxmax())
    kept = within_one_error(tried[form], len(compared))
    spaced = table[table[SPACING].notna().all(axis=1)]
    points = [replace(point, heatmap=form, heatmap_threshold=th) for th in kept]
    lengths = _measure_lengths(heats, scores, pixels, spaced, points)
    errors = length_errors(lengths, spaced["bac_length_mm"])
    th = min(nearly_least(lengths, spaced["bac_length_mm"]), key=lambda th: abs(th - 0.5))
    checked = check_lengths(lengths[th], spaced["bac_length_mm"], spaced["patient_id"])
    return HeatmapChoice(form, th, "given" if given else "validation", "", rho, errors, checked)


def too_few_lengths(table: pd.DataFrame) -> str:
    """Say how many lengths are known if they are too few to choose by; empty if there are enough.

    Args:
        table: As for `choose_heatmap`.
    """
    known = table.iloc[:0]
    if "bac_length_mm" in table:
        known = table[(table["bac_length_mm"] > 0) & table[SPACING].notna().all(axis=1)]
    views, women = len(known), known["patient_id"].nunique()
    if views >= MIN_LENGTHS and women >= MIN_WOMEN:
        return ""
    return (
        f"validation views with BAC, a known length and a pixel spacing: {views}, women: {women}; "
        f"at least {MIN_LENGTHS} views of {MIN_WOMEN} women are needed"
    )


def rho_by_threshold(
    heats: dict[Any, dict[str, np.ndarray]],
    calls: dict[Any, bool],
    pixels: Any,
    table: pd.DataFrame,
    thresholds: Collection[float] = THRESHOLDS,
) -> pd.DataFrame:
    """Correlate the areas of heatmaps with lengths.

    Args:
        heats: Heatmaps of each form, (h, w) in [0, 1], by the table's index.
        calls: Whether each view is classified as BAC+, by the table's index.
        pixels: Prepared views by the table's index, each (H, W).
        table: One row per view: `bac_length_mm, spacing_row_mm, spacing_column_mm`.
        thresholds: Values of Th, in increasing order.

    Returns:
        Spearman's rho, one row per Th (the index) and one column per form; -1 where it is undefined.
    """
    known = [tuple(pair) if np.isfinite(pair).all() else None for pair in table[SPACING].to_numpy(float)]
    forms, rows = list(heats[table.index[0]]), []
    for i, spacing in zip(table.index, common_spacings(known), strict=True):
        shape, breast = np.shape(pixels[i]), np.asarray(pixels[i]) != 0
        maps = ((heats[i][form], form, th) for form in forms for th in thresholds)
        rows.append([heatmap_area(heat, form, calls[i], shape, th, spacing, breast)[0] for heat, form, th in maps])
    areas = pd.DataFrame(rows, table.index)
    varied = areas.loc[:, areas.nunique() > 1]
    rho = varied.corrwith(table["bac_length_mm"], method="spearman").reindex(areas.columns).fillna(-1.0)
    return pd.DataFrame(rho.to_numpy().reshape(len(forms), -1).T, list(thresholds), forms)


def within_one_error(rho: pd.Series, number: int) -> list:
    """Return the values of Th, or the forms, whose rho is within one standard error of the largest.

    On Fisher's scale, atanh(rho), the standard error is sqrt((1 + rho^2 / 2) / (n - 3)) (Bonett & Wright, Psychometrika
    65:23, 2000). For forms, n is the number of women, as the views of a woman are not independent. For the values of Th
    of one form, whose areas are closely related and differ by less than that, n is the number of views.

    Args:
        rho: By Th or form (the index).
        number: Number of women or views behind each rho; fewer than 4 count as 4.

    Returns:
        Values of the index, in its order.
    """
    best = float(rho.max())
    lowest = np.arctanh(np.clip(best, 1e-9 - 1, 1 - 1e-9)) - np.sqrt((1 + best**2 / 2) / max(number - 3, 1))
    return rho.index[rho >= min(best, np.tanh(lowest))].tolist()


def length_errors(measured: pd.DataFrame, reference: pd.Series) -> pd.Series:
    """Return the error of measured lengths: the mean of the mean absolute errors in views with and without BAC.

    Args:
        measured: Measured lengths, mm, one row per view and one column per Th.
        reference: Reference lengths, mm, with the same index; 0 in views without BAC.

    Returns:
        The error in mm of each column.
    """
    return measured.sub(reference, axis=0).abs().groupby(reference > 0).mean().mean()


def nearly_least(measured: pd.DataFrame, reference: pd.Series) -> list:
    """Return the columns whose error is within one standard error of the smallest.

    Args:
        measured: As for `length_errors`.
        reference: As for `length_errors`.

    Returns:
        Names of columns, in their order. A group of one view has no standard error and counts as if it had one of 0.
    """
    errors = length_errors(measured, reference)
    groups = measured[errors.idxmin()].sub(reference).abs().groupby(reference > 0)
    error = np.sqrt((groups.sem().fillna(0) ** 2).sum()) / groups.ngroups
    return errors.index[errors <= errors.min() + error].tolist()


def check_lengths(measured: pd.Series, reference: pd.Series, women: pd.Series) -> LengthCheck:
    """Compare measured with reference lengths.

    Args:
        measured: Measured lengths, mm, one per view; 0 if no artery was found.
        reference: Reference lengths, mm, with the same index; 0 in views without BAC, above 0 in at least one view.
        women: The woman of each view.

    Returns:
        The comparison.
    """
    from bac_utils.agreement import length_agreement  # loads statsmodels, which reading processes do not need

    bac = reference > 0
    found, true = measured[bac], reference[bac]
    agreement = length_agreement(found, true)
    return LengthCheck(
        views=len(true),
        women=int(women[bac].nunique()),
        median_absolute_error_mm=agreement["median_absolute_error_mm"],
        bias=agreement["bias"],
        off_by_factor_two=int(((found > 2 * true) | (found < true / 2)).sum()),
        bac_minus_mm=float(measured[~bac].max()) if not bac.all() else 0.0,
    )


def length_warning(checked: LengthCheck | None) -> str:
    """Return what to know before measured lengths are used; empty if they were checked and none was wrong.

    Args:
        checked: `OperatingPoint.lengths_checked`.
    """
    if checked is None:
        return (
            "lengths are unchecked at this operating point: too few validation lengths, or thresholds set by hand; "
            "compare measured lengths with a reference before you use them"
        )
    if not checked.off_by_factor_two and not checked.bac_minus_mm:
        return ""
    return (
        f"at this operating point, {checked.off_by_factor_two} of {checked.views} validation lengths are off by more "
        f"than a factor of two (largest length measured in a view without BAC: {checked.bac_minus_mm:.0f} mm)"
    )


def _of_women_with_bac(table: pd.DataFrame) -> pd.Series:
    return (table["bac"] == 1).groupby([table[name] for name in exam_keys(table)]).transform("any")


def _explain(explain: Any, pixels: Any, table: pd.DataFrame, threshold: float) -> tuple[pd.Series, dict]:
    """Return the scores of all views, and the heatmaps of those that are compared or classified as BAC+."""
    scores, heats = table["score"].astype(float), {}
    wanted = table.index[_of_women_with_bac(table) | (scores >= threshold)]
    for i in tqdm(wanted, "choosing a heatmap", unit="view"):
        logits, maps = explain(np.asarray(pixels[i], np.float32)[None, ..., None])
        scores[i], heats[i] = expit(np.float64(logits[0])), {form: maps[form][0] for form in explain.forms}
    return scores, heats


def _measure_lengths(
    heats: dict, scores: pd.Series, pixels: Any, table: pd.DataFrame, points: list[Any]
) -> pd.DataFrame:
    """Return the measured length in mm of each view (row) at the Th of each operating point; 0 if none was found.

    Of the views without BAC that are classified as BAC+, at most `MOST_WITHOUT_BAC`, evenly spaced in the table, are
    measured; the others get their mean.
    """
    lengths = pd.DataFrame(0.0, table.index, [point.heatmap_threshold for point in points])
    called = table[scores[table.index] >= points[0].threshold]
    without = called.index[called["bac_length_mm"] == 0]
    chosen = without[np.linspace(0, len(without) - 1, min(len(without), MOST_WITHOUT_BAC)).round().astype(int)]
    left_out = without.difference(chosen)
    called = called.drop(left_out)
    for i, *spacing in tqdm(called[SPACING].itertuples(), "measuring lengths", len(called), unit="view"):
        view, spacing = np.asarray(pixels[i], np.float32), tuple(spacing)
        lines = find_lines(view, spacing)
        found = (point.measure(scores[i], heats[i][point.heatmap], view, spacing, lines) for point in points)
        lengths.loc[i] = [finding.length_mm or 0.0 for finding in found]
    if len(left_out):
        lengths.loc[left_out] = lengths.loc[chosen].mean().to_numpy()
    return lengths
