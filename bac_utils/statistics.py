"""Statistics of the cohort with 95 % intervals, and the bootstrap over women for all intervals of views.

The tests are those of the paper (Mobini et al., European Radiology 33:6746, 2023); the intervals, the trend test and
the Lilliefors correction are additions. All results are Python numbers, ready for JSON.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.diagnostic import lilliefors
from statsmodels.stats.proportion import proportion_confint

ALPHA = 0.05
"""Significance level of the paper; intervals cover 1 - ALPHA."""


def describe(values: Sequence[float]) -> dict:
    """Describe a variable as the paper does: mean ± SD if it is normally distributed, else median [IQR].

    Normality is tested by the Kolmogorov-Smirnov test with the Lilliefors correction, since mean and SD are estimated
    from the data.

    Args:
        values: Finite numbers, at least one.

    Returns:
        `n, normal, ks_p, text, median, q1, q3`. Quartiles are interpolated linearly; the SD in `text` has n - 1 degrees
        of freedom. Fewer than 4 values, or equal values, cannot be tested: `normal` is False and `ks_p` None. `ks_p`
        comes from tables that end at 0.001.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    values = check_numbers(values, "values")
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    p = _lilliefors_p(values)
    normal = p is not None and p >= ALPHA

    def show(number: float) -> str:
        return np.format_float_positional(round(number, 1), trim="-")

    text = f"{show(median)} [{show(q1)}-{show(q3)}]"
    if normal:
        text = f"{show(values.mean())} ± {show(values.std(ddof=1))}"
    return {
        "n": int(values.size), "normal": normal, "ks_p": p, "text": text,
        "median": median, "q1": q1, "q3": q3,
    }  # fmt: skip


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> dict:
    """Compare two groups, such as the ages of BAC+ and BAC- women, by the two-sided Mann-Whitney U test.

    Args:
        a: Finite numbers of the first group, at least one.
        b: Finite numbers of the second group, at least one.

    Returns:
        `u` (number of pairs in which the value of `a` is larger; ties count half) and `p` (exact if a group has at most
        8 values and there are no ties, else the normal approximation corrected for ties and continuity).

    Raises:
        ValueError: A group is empty, or a value is not finite.
    """
    a, b = check_numbers(a, "a"), check_numbers(b, "b")
    result = stats.mannwhitneyu(a, b, alternative="two-sided")
    return {"u": float(result.statistic), "p": float(result.pvalue)}


def wilson(positives: int, total: int) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a proportion (Newcombe, Stat Med 17:857, 1998, method 3).

    Args:
        positives: 0 to `total`.
        total: At least 1.

    Returns:
        Lower and upper limit, shares.

    Raises:
        ValueError: The counts are out of range.
    """
    if total < 1 or not 0 <= positives <= total:
        raise ValueError(f"positives: got {positives} of {total}, must be 0 to a total of at least 1")
    low, high = proportion_confint(positives, total, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def trend_test(positives: Sequence[int], totals: Sequence[int]) -> dict:
    """Test for a trend of a proportion over ordered classes, scored 0, 1, 2, ... (Cochran-Armitage).

    The variance is that of permutations, with N - 1 (statsmodels). Armitage's has N, so that his z is sqrt(N / (N - 1))
    times as large.

    Args:
        positives: Number of BAC+ women in each class.
        totals: Number of women in each class.

    Returns:
        `z` (above 0 for a rising proportion) and the two-sided `p`; both None if all women are in one class, all are
        BAC+ or all are BAC-.

    Raises:
        ValueError: The counts differ in shape, or a count is negative or above its total.
    """
    positives, totals = np.asarray(positives), np.asarray(totals)
    if positives.shape != totals.shape or (positives > totals).any() or (positives < 0).any():
        raise ValueError(f"positives: got {positives.tolist()} of {totals.tolist()}, must be 0 to the totals")
    if positives.sum() in (0, totals.sum()) or (totals > 0).sum() < 2:
        return {"z": None, "p": None}
    table = Table(np.column_stack([totals - positives, positives]), shift_zeros=False)
    result = table.test_ordinal_association()
    return {"z": float(result.zscore), "p": float(result.pvalue)}


def bootstrap_women(
    frame: pd.DataFrame, statistic: Callable[[np.ndarray], float], samples: int, seed: int
) -> tuple[float | None, float | None]:
    """Compute the 95 % percentile interval of a statistic from a bootstrap over women.

    Each resample draws as many women as there are, with replacement and with all their views, since the views of a
    woman are not independent. A woman drawn twice is not copied; her views get a weight of 2. Resamples in which the
    statistic is undefined are dropped. If at least half of them are, the interval is undefined too.

    Args:
        frame: One row per view, with `patient_id`.
        statistic: Function of the weights of the frame's rows (float64 array of whole numbers). It returns a number, or
            NaN or None if undefined.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Lower and upper limit, or None, None.

    Raises:
        ValueError: `samples` is below 1, or the frame is empty.
    """
    low, high = percentile_interval(resample_women(frame, statistic, samples, seed))
    return low, high


def resample_women(frame: pd.DataFrame, statistic: Callable, samples: int, seed: int) -> np.ndarray:
    """Return the statistic of each resample of women, float64 (samples,) or (samples, k), NaN where undefined."""
    if samples < 1:
        raise ValueError(f"samples: got {samples}, must be at least 1")
    if frame.empty:
        raise ValueError("frame: got no rows, must have at least one")
    codes, ids = pd.factorize(frame["patient_id"])
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(samples):
        drawn = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids)).astype(float)
        draws.append(statistic(drawn[codes]))
    return np.asarray(draws, dtype=float)


def percentile_interval(draws: np.ndarray) -> list[float | None]:
    """Return the [2.5, 97.5] percentiles of the defined draws, or [None, None] if at least half are undefined."""
    defined = draws[np.isfinite(draws)]
    if 2 * defined.size <= draws.size:
        return [None, None]
    return [float(q) for q in np.percentile(defined, [50 * ALPHA, 100 - 50 * ALPHA])]


def check_numbers(values: Sequence[float], name: str) -> np.ndarray:
    """Return values as a float64 array (n,); raise ValueError unless all are finite and n is at least 1."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: got an array of shape {array.shape}, must be one-dimensional and not empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


def _lilliefors_p(values: np.ndarray) -> float | None:
    """Return the p value of the Lilliefors test, or None where it is undefined."""
    if values.size < 4 or np.ptp(values) == 0:
        return None
    return float(lilliefors(values, dist="norm", pvalmethod="table")[1])


def finite_or_none(value: float) -> float | None:
    """Return a float, or None for NaN, ready for JSON."""
    return float(value) if np.isfinite(value) else None


def with_interval(value: float | None, interval: list | None, digits: int = 2) -> str:
    """Format a value as `0.95 [0.91, 0.98]`; without brackets if the interval is undefined, `-` if the value is."""
    if value is None or not math.isfinite(value):
        return "-"
    if not interval or any(v is None or not math.isfinite(v) for v in interval):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
