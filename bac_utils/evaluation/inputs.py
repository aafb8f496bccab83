"""Checks of labels, scores and women that all parts of an evaluation share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.statistics import LEAST_WOMEN


def check_labels(labels: Sequence[int], name: str = "labels") -> np.ndarray:
    """Return labels as float64 (N,), 0 or 1; raise ValueError that names the first other value, or an empty array."""
    array = _as_floats(labels, name, "0 or 1")
    _refuse(array, ~np.isin(array, (0, 1)), name, "0 or 1")
    return array


def check_scores(scores: Sequence[float], number: int, name: str = "scores", probabilities: bool = True) -> np.ndarray:
    """Return scores as float64 (N,).

    Args:
        scores: One per view.
        number: N, the number of labels.
        name: Name in error messages.
        probabilities: Whether scores must lie in [0, 1]; else they must be finite.

    Raises:
        ValueError: Their number differs from `number`, or a score breaks the rule; the message names the first one.
    """
    rule = "between 0 and 1" if probabilities else "finite"
    array = _as_floats(scores, name, rule)
    if array.size != number:
        raise ValueError(f"{name}: got {array.size} values, must be {number}, one per label")
    _refuse(array, ~((array >= 0) & (array <= 1) if probabilities else np.isfinite(array)), name, rule)
    return array


def check_women(women: Sequence, number: int, name: str = "women") -> pd.DataFrame:
    """Return the woman of each view as the column `patient_id`, the form that `statistics.weights_of_women` takes.

    Raises:
        ValueError: Their number differs from `number`, or a woman is missing.
    """
    frame = pd.DataFrame({"patient_id": np.asarray(women)})
    if len(frame) != number:
        raise ValueError(f"{name}: got {len(frame)} values, must be {number}, one per label")
    missing = frame["patient_id"].isna().to_numpy()
    if missing.any():
        raise ValueError(f"{name}: got a missing value at position {int(missing.argmax())}, must be an identifier")
    return frame


def check_share(value: float, name: str, ends: bool = False) -> float:
    """Return a number between 0 and 1 as float, without 0 and 1 unless `ends`; raise ValueError otherwise."""
    value = float(value)
    if not (0 < value < 1 or (ends and value in (0, 1))):
        raise ValueError(f"{name}: got {value:g}, must be {'from 0 to 1' if ends else 'above 0 and below 1'}")
    return value


def check_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise ValueError if a table has no rows or lacks columns; TypeError if it is no DataFrame."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name}: got {type(table).__name__}, must be a pandas.DataFrame")
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{name}: got columns {', '.join(map(str, table))}, must also have {', '.join(missing)}")
    if table.empty:
        raise ValueError(f"{name}: got no rows, must have at least one")


def shown(value: object) -> str:
    """Return a value as error messages show it, without NumPy's type."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def women_by_label(labels: np.ndarray, frame: pd.DataFrame) -> tuple[int, int]:
    """Return the numbers of BAC+ women (at least one BAC+ view) and of the other women."""
    positive = pd.Series(labels).groupby(frame["patient_id"].to_numpy()).max() == 1
    return int(positive.sum()), int((~positive).sum())


def enough_women(labels: np.ndarray, frame: pd.DataFrame) -> bool:
    """Say whether there are at least `LEAST_WOMEN` BAC+ and as many BAC- women, as intervals need."""
    return min(women_by_label(labels, frame)) >= LEAST_WOMEN


def _as_floats(values: Sequence, name: str, rule: str) -> np.ndarray:
    """Return float64 (N,); raise ValueError for other shapes, none, or what is not a number."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got values that are not numbers ({error}), must be {rule}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: got an array of shape {array.shape}, must be one-dimensional and not empty")
    return array


def _refuse(array: np.ndarray, bad: np.ndarray, name: str, rule: str) -> None:
    """Raise ValueError for the first bad value."""
    if bad.any():
        place = int(bad.argmax())
        raise ValueError(f"{name}: got {array[place]:g} at position {place}, must be {rule}")
