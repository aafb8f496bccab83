"""Performance in subgroups of views, with "too few" in place of numbers that rest on a handful of women."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.detection import detection_intervals, detection_metrics
from bac_utils.evaluation.inputs import check_columns, check_labels, check_scores, check_women, women_by_label
from bac_utils.evaluation.shares import shares
from bac_utils.statistics import LEAST_WOMEN, with_interval

METRICS = {
    "prevalence": "prevalence", "auc_roc": "AUC-ROC", "recall": "sensitivity", "specificity": "specificity",
    "precision": "PPV", "npv": "NPV",
}  # fmt: skip
"""Metrics of `subgroup_metrics`, with their names in `subgroup_table`."""
UNKNOWN = "unknown"
"""The value of views without a value."""
ALL = "all views"


def subgroup_metrics(
    views: pd.DataFrame, columns: Sequence[str], threshold: float, samples: int = 2000, seed: int = 2023
) -> pd.DataFrame:
    """Compute the performance of scores for each value of some columns.

    A number needs at least `LEAST_WOMEN` women: sensitivity that many BAC+ women in the subgroup, specificity that many
    BAC- women, AUC-ROC, PPV and NPV both, prevalence women of any label. Else it is NaN, with its interval. PPV and NPV
    hold for the prevalence of the subgroup.

    Args:
        views: One row per view: `patient_id`, `bac` (0 or 1), `score` (finite) and the columns. Put numbers into
            classes before (`class_of`).
        columns: Columns by which views are grouped; an empty cell is the value `unknown`.
        threshold: Scores of at least this are classified as BAC+.
        samples: Number of resamples of women for each interval.
        seed: Seed of the resamples.

    Returns:
        First a row of all views, then one per column and value, in the order of the values (of categories, theirs):
        `column, value, views, women, bac_views, bac_women`, and for each of `METRICS` the number, `METRIC_low` and
        `METRIC_high` (95 %; `detection.detection_intervals`, `shares.shares`).

    Raises:
        TypeError: `views` is not a DataFrame.
        ValueError: A column is missing, or a label, a score or a woman breaks its rule.
    """
    check_columns(views, ["patient_id", "bac", "score", *columns], "views")
    check_scores(views["score"], len(check_labels(views["bac"], "bac")), "score", False)
    check_women(views["patient_id"], len(views), "patient_id")
    rows = [{"column": "", "value": ALL, **_of_group(views, threshold, samples, seed)}]
    for column in columns:
        values = views[column].astype(object).where(views[column].notna() & (views[column] != ""), UNKNOWN)
        for value in _order(views[column], values):
            part = views[(values == value).to_numpy()]
            rows.append({"column": column, "value": value, **_of_group(part, threshold, samples, seed)})
    return pd.DataFrame(rows)


def subgroup_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Format the result of `subgroup_metrics` as text, one column per metric (`metric_texts`)."""
    table = metrics[["column", "value", "views", "women", "bac_views", "bac_women"]].astype(str)
    return table.assign(**{title: metric_texts(metrics, name) for name, title in METRICS.items()})


def metric_texts(metrics: pd.DataFrame, name: str) -> list[str]:
    """Format a metric of each subgroup as `0.95 [0.91, 0.98]`, or `too few`.

    A metric that is undefined although there are enough women, such as the PPV if no view is called, is `-`.

    Args:
        metrics: From `subgroup_metrics`.
        name: A key of `METRICS`.
    """
    texts = []
    for row in metrics.to_dict("records"):
        undefined = np.isnan(row[name]) and _enough(name, row["women"], row["bac_women"])
        texts.append("-" if undefined else with_interval(row[name], [row[f"{name}_low"], row[f"{name}_high"]]))
    return texts


def class_of(values: Sequence[float], limits: Sequence[float], unit: str = "") -> pd.Series:
    """Put numbers into classes, such as the pixel spacing or the dense share: up to the first limit, and so on.

    For ages in completed years, see `cohort.age_class`.

    Args:
        values: Numbers, NaN where unknown; a Series keeps its index.
        limits: Upper limits, inclusive, of all classes except the last, increasing.
        unit: Written behind the limits.

    Returns:
        An ordered categorical Series: `≤ 0.07 mm`, `> 0.07 to 0.1 mm`, `> 0.1 mm`; NaN where unknown.

    Raises:
        ValueError: There is no limit, or they do not increase.
    """
    limits = [float(limit) for limit in limits]
    if not limits or not all(a < b for a, b in zip(limits, limits[1:], strict=False)) or not np.isfinite(limits).all():
        raise ValueError(f"limits: got {limits}, must be one or more finite numbers in increasing order")
    end = f" {unit}" if unit else ""
    names = [f"≤ {limits[0]:g}{end}"]
    names += [f"> {a:g} to {b:g}{end}" for a, b in zip(limits, limits[1:], strict=False)] + [f"> {limits[-1]:g}{end}"]
    return pd.cut(pd.Series(values, dtype=float), [-np.inf, *limits, np.inf], labels=names)


def _enough(name: str, women: int, bac_women: int) -> bool:
    """Say whether a subgroup has enough women for a metric."""
    needed = {"prevalence": women, "recall": bac_women, "specificity": women - bac_women}
    return needed.get(name, min(bac_women, women - bac_women)) >= LEAST_WOMEN


def _of_group(part: pd.DataFrame, threshold: float, samples: int, seed: int) -> dict:
    """Return counts and metrics of some views."""
    labels, frame = part["bac"].to_numpy(float), part[["patient_id"]].reset_index(drop=True)
    bac_women, others = women_by_label(labels, frame)
    women = bac_women + others
    found = detection_metrics(labels, part["score"], threshold)
    limits = detection_intervals(part.assign(bac=labels), threshold, samples, seed)
    share, interval = shares(labels, np.zeros(len(part), int), frame, samples, seed)
    found["prevalence"], limits["prevalence"] = float(share[0]), interval[0]
    if found["tp"] + found["fp"] == 0:
        found["precision"] = None  # `detection_metrics` has the paper's 0
    row = {"views": len(part), "women": women, "bac_views": int(labels.sum()), "bac_women": bac_women}
    for name in METRICS:
        good = _enough(name, women, bac_women) and found[name] is not None
        low, high = limits[name] if good and limits[name][0] is not None else (np.nan, np.nan)
        row |= {name: found[name] if good else np.nan, f"{name}_low": low, f"{name}_high": high}
    return row


def _order(column: pd.Series, values: pd.Series) -> list:
    """Return the values that occur: categories in their order, others sorted, `unknown` last."""
    found = [value for value in values.unique() if value != UNKNOWN]
    if isinstance(column.dtype, pd.CategoricalDtype):
        found = [value for value in column.cat.categories if value in found]
    else:
        found = sorted(found, key=lambda value: (isinstance(value, str), value))
    return found + [UNKNOWN] * bool((values == UNKNOWN).any())
