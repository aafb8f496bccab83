"""A model's calls and lengths, from a run's `predictions.csv` or from `scores.csv`, by view."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils.detector import load_point
from bac_utils.evaluation.inputs import check_columns, check_share
from bac_utils.readings.table import KEYS
from bac_utils.run_folder import read_rows

_QUANTIFIED = "quantification.csv"


def read_calls(
    path: str | os.PathLike, threshold: float | None = None, split: str = "test", views: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Read whether a model finds BAC in each view, and the length that it measured.

    Args:
        path: `scores.csv` of `score`, or `predictions.csv` of a run, or the run's folder.
        threshold: A score of at least this is a call; by default, that of the run's operating point, and for
            `scores.csv` the calls of the table.
        split: Of a run, the set to use: the model has seen the others.
        views: A table with `KEYS`. If it has no exams, those of the model are ignored; if the model's table has none,
            its views are those of the only exam of the woman.

    Returns:
        One row per view: `KEYS`, `call` (0 or 1), `score`, and `length_mm` (NaN where unknown).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is another table, a view occurs twice, or the set has no views.
    """
    path = Path(path)
    path = path / "predictions.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"model: got '{path}', must be scores.csv, predictions.csv or the folder of a run")
    table = read_rows(path)
    check_columns(table, ["patient_id", "laterality", "view", "score"], path.name)
    if threshold is not None:
        threshold = check_share(threshold, "threshold", ends=True)
    if "status" in table:
        table = table[table["status"] == "scored"]
        call = table["bac"] if threshold is None else table["score"] >= threshold
        found = table.assign(call=call, length_mm=table["bac_length_mm"])
        if threshold is not None:  # lengths were measured at the table's own threshold
            found["length_mm"] = found["length_mm"].where(call.astype(float) == table["bac"].astype(float))
    else:
        check_columns(table, ["split"], path.name)
        table = table[table["split"] == split]
        limit = load_point(path.parent).threshold if threshold is None else threshold
        found = _with_lengths(table.assign(call=table["score"] >= limit), path.parent / _QUANTIFIED)
    if found.empty:
        raise ValueError(f"model: got {path} without a view in the set {split!r}, must have at least one")
    if views is not None and not (views["exam"] != "").any():
        found = found.assign(exam="")
    elif views is not None and not (found["exam"] != "").any():
        found = _with_exams(found, views)
    twice = found.duplicated(list(KEYS))
    if twice.any():
        view = " ".join(found.loc[twice, list(KEYS)].iloc[0]).strip()
        raise ValueError(f"{path.name}: got {ascii(view)} twice, must have each view once")
    found = found.astype({"call": float, "score": float})
    return found[[*KEYS, "call", "score", "length_mm"]].reset_index(drop=True)


def _with_lengths(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the lengths that notebook 04 measured; none if it has not run."""
    if not path.is_file():
        return table.assign(length_mm=np.nan)
    lengths = read_rows(path)
    if "measured_length_mm" not in lengths:
        return table.assign(length_mm=np.nan)
    lengths = lengths[[*KEYS, "measured_length_mm"]].rename(columns={"measured_length_mm": "length_mm"})
    return table.merge(lengths, on=list(KEYS), how="left", validate="one_to_one")


def _with_exams(found: pd.DataFrame, views: pd.DataFrame) -> pd.DataFrame:
    """Give calls without an exam that of the woman's only one in the views; those of other women are left out."""
    one = views.groupby("patient_id")["exam"].agg(["nunique", "first"])
    one = one.loc[one["nunique"] == 1, "first"]
    return found[found["patient_id"].isin(one.index)].assign(exam=lambda table: table["patient_id"].map(one))
