"""The table of a comparison: one row per method, with 95 % intervals that allow for several views per woman."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bac_utils.agreement import correlate
from bac_utils.detection import detection_intervals, detection_metrics
from bac_utils.methods.keep import Outcome
from bac_utils.statistics import LEAST_WOMEN, bootstrap_women, with_interval

MEASURES = ("auc_roc", "auc_pr", "spearman_rho", "length_rho", "localisation", "dice")
"""Results with an interval: each has the columns `NAME, NAME_low, NAME_high`."""
COLUMNS = (
    "method", "supervision", "start", "parameters", "training_minutes", "seconds_per_view",
    *(column for name in MEASURES for column in (name, f"{name}_low", f"{name}_high")),
    "length_error_mm", "p_delong", "level", "views", "measure", "title", "source",
)  # fmt: skip
"""Columns of `methods.csv`. `spearman_rho` is that of the method's own measure, `length_rho` that of the length of its
traced mask, and `length_error_mm` the mean absolute error of this length. `p_delong` compares with the paper's method
by woman (DeLong, Holm-corrected); `level` is that of the AUC, `view` or `woman`, and `views` the number of views or
women behind it."""
SHOWN = {
    "title": "method", "supervision": "supervision", "start": "start", "auc_roc": "AUC-ROC", "auc_pr": "AUC-PR",
    "spearman_rho": "rho", "length_rho": "rho of length", "length_error_mm": "error, mm",
    "localisation": "localisation", "dice": "Dice", "p_delong": "p (DeLong)",
    "parameters": "weights", "training_minutes": "minutes", "seconds_per_view": "s per view",
}  # fmt: skip


def method_row(outcome: Outcome, samples: int, seed: int) -> dict:
    """Summarise what a method gave.

    Args:
        outcome: Of `keep.run_method`.
        samples: Number of resamples of women for each interval.
        seed: Seed of the resamples.

    Returns:
        The columns of `COLUMNS` without `p_delong`; NaN where a result is not defined or rests on too few women.
    """
    method, looks = outcome.method, outcome.looks
    row = {"method": method.name, "supervision": method.supervision, "start": method.start}
    row |= {"parameters": outcome.parameters, "training_minutes": outcome.training_minutes}
    row |= {"seconds_per_view": float(looks["seconds"].mean()) if len(looks) else np.nan}
    row |= detection(outcome.scores, samples, seed) | {"level": "view", "views": len(outcome.scores)}
    measured = looks[(looks["set"] == "measured") & looks["bac_length_mm"].notna()]
    row |= correlation(measured, samples, seed)
    row |= correlation(measured, samples, seed, "length_rho", "length_mm")
    row["length_error_mm"] = float((measured["length_mm"] - measured["bac_length_mm"]).abs().mean())
    for name in ("localisation", "dice"):
        known = looks[looks[name].notna()]
        values = known[name].to_numpy(float)
        limits = None
        if known["patient_id"].nunique() >= LEAST_WOMEN:
            limits = bootstrap_women(known, lambda w, v=values: _mean(v, w), samples, seed)
        row |= _with_limits(name, float(values.mean()) if len(known) else None, limits)
    return row | {"measure": method.measure, "title": method.title, "source": method.source}


def detection(scores: pd.DataFrame, samples: int, seed: int) -> dict:
    """Return AUC-ROC and AUC-PR with their intervals (`detection.detection_intervals`).

    Args:
        scores: One row per view or woman: `patient_id, bac, score`.
        samples: Number of resamples of women.
        seed: Seed of the resamples.
    """
    threshold = float(scores["score"].max())  # the areas do not depend on it
    found = detection_metrics(scores["bac"], scores["score"], threshold)
    limits = detection_intervals(scores, threshold, samples, seed)
    names = ("auc_roc", "auc_pr")
    return {column: value for name in names for column, value in _with_limits(name, found[name], limits[name]).items()}


def correlation(
    measured: pd.DataFrame, samples: int, seed: int, name: str = "spearman_rho", column: str = "measure"
) -> dict:
    """Return Spearman's rho of a measure and the length with its interval (`agreement.correlate`).

    Args:
        measured: One row per view or woman: `patient_id, bac_length_mm` and the measure; rows without it do not count.
        samples: Number of resamples of women.
        seed: Seed of the resamples.
        name: Name of the result.
        column: Column of the measure.
    """
    measured = measured[measured[column].notna()]
    if measured.empty:
        return _with_limits(name, None, None)
    found = correlate(measured[column], measured["bac_length_mm"], measured["patient_id"], samples, seed)
    return _with_limits(name, found["spearman_rho"], found["spearman_ci"])


def methods_table(rows: Sequence[Mapping], p_values: Mapping[str, float | None]) -> pd.DataFrame:
    """Join the rows of the methods.

    Args:
        rows: Of `method_row` or `readers.reader_row`.
        p_values: Corrected p values of DeLong's test by method; methods that are missing have none.

    Returns:
        One row per method with `COLUMNS`, in the order of the rows.
    """
    known = [{"p_delong": p_values.get(row["method"])} | dict(row) for row in rows]
    table = pd.DataFrame(known).reindex(columns=list(COLUMNS))
    return table.astype({name: float for name in table if name.startswith(MEASURES) or name == "p_delong"})


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `methods_table` as text, with each interval beside its value."""
    shown = {}
    for column, title in SHOWN.items():
        if column in MEASURES:
            limits = table[[f"{column}_low", f"{column}_high"]].to_numpy()
            shown[title] = [
                "-" if np.isnan(value) else with_interval(value, pair)
                for value, pair in zip(table[column], limits, strict=True)
            ]
        elif column == "p_delong":
            shown[title] = ["-" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in table[column]]
        elif table[column].dtype.kind == "f":
            shown[title] = ["-" if np.isnan(value) else f"{value:.2f}" for value in table[column]]
        else:
            shown[title] = table[column].map(lambda v: f"{v:,}" if isinstance(v, int | np.integer) else v)
    return pd.DataFrame(shown, index=table.index).set_index("method")


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if weights.sum() > 0 else np.nan


def _with_limits(name: str, value: float | None, limits: Sequence[float | None] | None) -> dict:
    """Return a value with its limits as the columns of the table."""
    low, high = limits or (None, None)
    found = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {column: np.nan if number is None else float(number) for column, number in found.items()}
