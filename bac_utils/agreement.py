"""Agreement of measured areas and lengths with reference lengths."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bac_utils.statistics import (
    LEAST_WOMEN,
    TOO_FEW,
    check_numbers,
    correlation_interval,
    describe,
    resample_women,
    with_interval,
)

_EVANS = ((0.2, "very weak"), (0.4, "weak"), (0.6, "moderate"), (0.8, "strong"))


def correlate(
    area: Sequence[float],
    length: Sequence[float],
    groups: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 2023,
) -> dict:
    """Correlate the estimated BAC area (or another measure) with the reference length, as the paper does.

    The coefficient is Pearson's r if both variables are normally distributed (Lilliefors), else Spearman's rho. The p
    values assume that views are independent; the interval (`statistics.correlation_interval`) does not.

    Args:
        area: Finite numbers, one per view.
        length: Finite numbers, one per view.
        groups: The woman of each view; by default, each view belongs to another woman.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        `n, method` (`pearson` or `spearman`), `coefficient, p` of this method, `evans` (its wording), `spearman_rho,
        spearman_ci` ([low, high]), `spearman_p`. With fewer than `LEAST_WOMEN` women or different lengths, there are
        too few for the p values, the wording and the interval, which are None. With fewer than 3 views, or a constant
        variable, the method is spearman and all numbers are None. p values are at least 2 / m! for m women (at most
        170, for float64), the smallest p of a two-sided permutation test of women.

    Raises:
        ValueError: The variables differ in length, are empty, or contain a value that is not finite.
    """
    area, length = check_numbers(area, "area"), check_numbers(length, "length")
    groups = np.arange(area.size) if groups is None else np.asarray(groups)
    if not area.size == length.size == groups.size:
        raise ValueError(f"length: got {length.size} values and {groups.size} groups, must be {area.size} each")
    numbers = {"coefficient": None, "p": None, "evans": None, "spearman_rho": None, "spearman_ci": [None, None]}
    result = {"n": int(area.size), "method": "spearman"} | numbers | {"spearman_p": None}
    if area.size < 3 or not (np.ptp(area) > 0 and np.ptp(length) > 0):
        return result
    rho, p = (float(x) for x in stats.spearmanr(area, length))
    result |= {"coefficient": rho, "p": p, "spearman_rho": rho, "spearman_p": p}
    if all(describe(x)["normal"] for x in (area, length)):
        r, p_pearson = (float(x) for x in stats.pearsonr(area, length))
        result |= {"method": "pearson", "coefficient": r, "p": p_pearson}
    women, group = np.unique(groups, return_inverse=True)
    if min(len(women), len(np.unique(length))) < LEAST_WOMEN:
        return result | {"p": None, "spearman_p": None}
    least_p = 2 / math.factorial(min(len(women), 170))
    ranks = [np.unique(x, return_inverse=True)[1] for x in (area, length)]
    frame = pd.DataFrame({"patient_id": groups})
    draws = resample_women(frame, lambda w: _weighted_spearman(*ranks, w), samples, seed)
    return result | {
        "p": max(result["p"], least_p), "evans": evans(result["coefficient"]),
        "spearman_ci": correlation_interval(rho, draws, np.bincount(group)), "spearman_p": max(p, least_p),
    }  # fmt: skip


def correlate_measures(table: pd.DataFrame, measures: dict[str, str], samples: int, seed: int) -> dict[str, dict]:
    """Correlate measures with the reference length, for all views and for those with BAC.

    Args:
        table: One row per view: `patient_id, bac`, the columns of the measures and, if lengths are known,
            `bac_length_mm`. Rows without a length or a measure are ignored.
        measures: Column by name; columns that are not in the table are ignored.
        samples: Number of resamples of women for each interval.
        seed: Seed of the resamples.

    Returns:
        Results of `correlate` by name: `NAME`, then `NAME, views with BAC`; empty without lengths.
    """
    found: dict[str, dict] = {}
    if "bac_length_mm" not in table:
        return found
    for name, column in measures.items():
        for words, wanted in ((name, True), (f"{name}, views with BAC", table["bac"] == 1)):
            part = table[wanted & table["bac_length_mm"].notna()] if column in table else table[:0]
            part = part.dropna(subset=[column]) if len(part) else part
            if len(part):
                found[words] = correlate(part[column], part["bac_length_mm"], part["patient_id"], samples, seed)
    return found


def correlation_table(correlations: dict[str, dict]) -> pd.DataFrame:
    """Format the results of `correlate_measures` as a table of text, one row per result."""
    rows = {}
    for name, found in correlations.items():
        p = TOO_FEW if found["p"] is None else "< 0.001" if found["p"] < 0.001 else f"{found['p']:.3f}"
        rows[name] = {
            "views": str(found["n"]),
            "Spearman's rho [95 %]": with_interval(found["spearman_rho"], found["spearman_ci"]),
            "method": found["method"],
            "coefficient": with_interval(found["coefficient"], None),
            "p": p,
            "Evans": found["evans"] or TOO_FEW,
        }
    return pd.DataFrame(rows).T


def evans(r: float) -> str:
    """Return Evans's (1996) wording for the absolute value of a correlation.

    Args:
        r: -1 to 1.

    Returns:
        very weak (below 0.2), weak (below 0.4), moderate (below 0.6), strong (below 0.8) or very strong.

    Raises:
        ValueError: `r` is not between -1 and 1.
    """
    if not abs(r) <= 1 + 1e-9:
        raise ValueError(f"r: got {r}, must lie between -1 and 1")
    return next((word for limit, word in _EVANS if abs(r) < limit), "very strong")


def length_agreement(measured: Sequence[float], true: Sequence[float]) -> dict:
    """Compare measured lengths with reference lengths in mm, not only by rank.

    Args:
        measured: Measured lengths, mm, one per view.
        true: Reference lengths, mm, above 0.

    Returns:
        `views`; `median_absolute_error_mm`; `median_relative_error` (relative to the reference length); `bias`, the
        mean difference divided by the mean reference length; `limits_of_agreement_mm`, the mean difference -+ 1.96
        standard deviations (n - 1 degrees of freedom; Bland & Altman 1986).

    Raises:
        ValueError: The numbers of lengths differ, there are none, one is not finite, or a reference length is <= 0.
    """
    measured, true = np.asarray(measured, float), np.asarray(true, float)
    if measured.size != true.size:
        raise ValueError(f"true: got {true.size} lengths, must be {measured.size}, one per measured length")
    if not true.size:
        raise ValueError("true: got no lengths, must be one or more")
    for name, values, good in (
        ("measured", measured, np.isfinite(measured)),
        ("true", true, (true > 0) & (true < np.inf)),
    ):
        if not good.all():
            rule = "above 0" if name == "true" else "finite"
            raise ValueError(f"{name}: got a length of {values[~good][0]:g} mm, must be {rule}")
    error = measured - true
    spread = 1.96 * float(error.std(ddof=1)) if error.size > 1 else 0.0
    return {
        "views": int(true.size),
        "median_absolute_error_mm": float(np.median(np.abs(error))),
        "median_relative_error": float(np.median(np.abs(error) / true)),
        "bias": float(error.mean() / true.mean()),
        "limits_of_agreement_mm": [float(error.mean()) - spread, float(error.mean()) + spread],
    }


def error_by_class(measured: pd.Series, reference: pd.Series, dense: pd.Series) -> pd.DataFrame:
    """Tabulate the error of measured lengths by reference length and by breast density.

    Args:
        measured: Measured lengths, mm, one per view.
        reference: Reference lengths, mm, above 0, with the same index.
        dense: Share of the breast above Otsu's threshold (`quantify.dense_share`), with the same index.

    Returns:
        Number of views, median error and median absolute error in mm, one row per class.
    """
    names = ["up to 25 mm", "25 to 50 mm", "50 to 100 mm", "above 100 mm"]
    halves = np.where(dense >= dense.median(), "upper half", "lower half")
    classes = {"length": pd.cut(reference, [0, 25, 50, 100, np.inf], labels=names)}
    classes["density"] = pd.Series(halves, dense.index)
    error = measured - reference
    parts = {}
    for name, groups in classes.items():
        grouped = error.groupby(groups, observed=True)
        columns = {"views": grouped.size(), "median error, mm": grouped.median()}
        parts[name] = pd.DataFrame(
            columns | {"median absolute error, mm": error.abs().groupby(groups, observed=True).median()}
        )
    return pd.concat(parts).round(1)


def _weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return Spearman's rho of rows that each count `weights` times; x and y are dense ranks, 0, 1, ..."""

    def centred(codes: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes, weights)
        mid = (np.cumsum(counts) - (counts - 1) / 2)[codes]
        return mid - np.average(mid, weights=weights)

    a, b = centred(x), centred(y)
    norm = np.sqrt((weights @ a**2) * (weights @ b**2))
    return float(weights @ (a * b) / norm) if norm > 0 else np.nan
