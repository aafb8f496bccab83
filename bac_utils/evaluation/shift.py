"""How a second cohort differs from a first one: sizes of differences, not p values.

A large cohort makes any difference significant; the sizes here do not grow with the number of views.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bac_utils.evaluation.inputs import check_columns, shown

SIDES = ("first", "second")
_PER_SIDE = [f"{what}_{side}" for side in SIDES for what in ("n", "missing", "median", "q1", "q3")]
NUMERIC = ("column", "counted", *_PER_SIDE, "smd", "ks")
CATEGORICAL = ("column", "counted", "value", "n_first", "n_second", "share_first", "share_second", "difference", "smd")


def numeric_shift(
    first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str], of_women: Sequence[str] = ("age",)
) -> pd.DataFrame:
    """Compare numbers, such as age, pixel spacing, score or mean grey level, of two cohorts.

    Args:
        first: One row per view, with `patient_id` if a column is one of women.
        second: The same for the second cohort.
        columns: Columns of finite numbers; NaN where unknown.
        of_women: Columns that describe women: each woman counts once, with her first known value.

    Returns:
        One row per column: `column`, `counted` (`women` or `views`), for each side `n, missing, median, q1, q3`
        (`n_first` and so on; quartiles interpolated linearly), `smd` and `ks`.

        - `smd`: standardised mean difference, second minus first, divided by the root of the mean of both variances
          (n - 1 degrees of freedom; Austin, Stat Med 28:3083, 2009, doi 10.1002/sim.3697). NaN with fewer than two
          values on a side, or without variance on both.
        - `ks`: Kolmogorov-Smirnov distance, the largest difference of the cumulative distributions, 0 to 1
          (`scipy.stats.ks_2samp`). NaN without values on a side.

    Raises:
        TypeError: A cohort is not a DataFrame.
        ValueError: A column is missing, or has a value that is neither a finite number nor empty.
    """
    rows = []
    for column in columns:
        counted, sides = _values(first, second, column, column in of_women)
        numbers = [_numbers(values, f"{side}.{column}") for values, side in zip(sides, SIDES, strict=True)]
        row: dict = {"column": column, "counted": counted}
        for side, values in zip(SIDES, numbers, strict=True):
            known = values[~np.isnan(values)]
            q1, median, q3 = np.percentile(known, [25, 50, 75]) if known.size else [np.nan] * 3
            row |= {f"n_{side}": known.size, f"missing_{side}": values.size - known.size}
            row |= {f"median_{side}": median, f"q1_{side}": q1, f"q3_{side}": q3}
        a, b = (values[~np.isnan(values)] for values in numbers)
        row |= {"smd": _mean_difference(a, b), "ks": stats.ks_2samp(a, b).statistic if a.size and b.size else np.nan}
        rows.append(row)
    return pd.DataFrame(rows, columns=NUMERIC)


def categorical_shift(
    first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str], of_women: Sequence[str] = ()
) -> pd.DataFrame:
    """Compare the shares of values, such as view, vendor or label, of two cohorts.

    Args:
        first: One row per view, with `patient_id` if a column is one of women.
        second: The same for the second cohort.
        columns: Columns of any values; empty cells are left out.
        of_women: Columns that describe women: each woman counts once, with her first known value.

    Returns:
        One row per column and value: `column, counted, value`, for each side `n` (with this value) and `share` (of the
        known values), `difference` (share, second minus first) and `smd`, the difference divided by the root of the
        mean of p (1 - p) of both (Austin 2009). NaN without known values on a side; `smd` also without variance.

    Raises:
        TypeError: A cohort is not a DataFrame.
        ValueError: A column is missing.
    """
    rows = []
    for column in columns:
        counted, sides = _values(first, second, column, column in of_women)
        known = [values[values.notna() & (values != "")].astype(object) for values in sides]
        counts = [values.value_counts() for values in known]
        levels = sorted(set(counts[0].index) | set(counts[1].index), key=lambda value: (isinstance(value, str), value))
        for value in levels:
            n = [int(count.get(value, 0)) for count in counts]
            p, q = (number / len(values) if len(values) else np.nan for number, values in zip(n, known, strict=True))
            spread = np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
            rows.append({
                "column": column, "counted": counted, "value": value, "n_first": n[0], "n_second": n[1],
                "share_first": p, "share_second": q, "difference": q - p,
                "smd": (q - p) / spread if spread > 0 else 0.0 if p == q else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=CATEGORICAL)


def _values(first: pd.DataFrame, second: pd.DataFrame, column: str, of_women: bool) -> tuple[str, list[pd.Series]]:
    """Return what is counted, and the values of both sides."""
    sides = []
    for table, side in zip((first, second), SIDES, strict=True):
        check_columns(table, [column, *["patient_id"] * of_women], side)
        values = table[column]
        if of_women:
            values = values.mask(values == "").groupby(table["patient_id"].to_numpy(), sort=False).first()
        sides.append(values)
    return "women" if of_women else "views", sides


def _numbers(values: pd.Series, name: str) -> np.ndarray:
    """Return float64 (n,), NaN where empty; raise ValueError for other text and infinite numbers."""
    found = pd.to_numeric(values, errors="coerce").to_numpy(float)
    bad = (np.isnan(found) & (values.notna() & (values != "")).to_numpy()) | np.isinf(found)
    if bad.any():
        raise ValueError(f"{name}: got {shown(values.iloc[int(bad.argmax())])}, must be a finite number or empty")
    return found


def _mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the standardised mean difference, b minus a."""
    if min(a.size, b.size) < 2:
        return np.nan
    spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    difference = b.mean() - a.mean()
    rounding = 1e-9 * max(np.abs(a).max(), np.abs(b).max())
    if spread <= rounding:  # equal values, but for rounding
        return 0.0 if abs(difference) <= rounding else np.nan
    return float(difference / spread)
