"""Statistics of the cohort with 95 % intervals, and the bootstrap over women that all intervals of views come from.

The tests are those of the paper (Mobini et al., European Radiology 33:6746, 2023); the intervals, the trend
test and the Lilliefors correction are added. All results are Python numbers, ready for JSON.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.diagnostic import lilliefors
from statsmodels.stats.proportion import proportion_confint

from bac_utils.cohort import age_class, age_class_labels, check_classes

ALPHA = 0.05
"""Significance level of the paper; intervals cover 1 - ALPHA."""


def describe(values: Sequence[float]) -> dict:
    """Describe a variable as the paper does: mean ± SD where normal, median [IQR] where not.

    Normality is the Kolmogorov-Smirnov test with the Lilliefors correction (mean and SD come from the data).

    Args:
        values: Finite numbers, at least one.

    Returns:
        `n, normal, ks_p, text, median, q1, q3, mean, sd`. Quartiles by linear interpolation, SD with n - 1.
        Fewer than 4 values, or equal ones, cannot be tested: `normal` is False and `ks_p` None. `ks_p` comes
        from tables that end at 0.001.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    values = check_numbers(values, "values")
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if values.size > 1 else None
    p = _lilliefors_p(values)
    normal = p is not None and p >= ALPHA

    def show(number: float) -> str:
        return np.format_float_positional(round(number, 1), trim="-")

    text = f"{show(mean)} ± {show(sd)}" if normal else f"{show(median)} [{show(q1)}-{show(q3)}]"
    return {
        "n": int(values.size), "normal": normal, "ks_p": p, "text": text,
        "median": median, "q1": q1, "q3": q3, "mean": mean, "sd": sd,
    }  # fmt: skip


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> dict:
    """Compare two groups, such as the ages of BAC+ and BAC- women, by the two-sided Mann-Whitney U test.

    Args:
        a: Finite numbers of the first group, at least one.
        b: Those of the second.

    Returns:
        `u` (pairs in which the value of `a` is the larger, ties half), `p` (exact for a group of at most 8
        without ties, else the normal approximation corrected for ties and continuity) and `superiority`,
        U as a share of the pairs.

    Raises:
        ValueError: A group is empty, or a value is not finite.
    """
    a, b = check_numbers(a, "a"), check_numbers(b, "b")
    result = stats.mannwhitneyu(a, b, alternative="two-sided")
    u = float(result.statistic)
    return {"u": u, "p": float(result.pvalue), "superiority": u / (a.size * b.size)}


def wilson(positives: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Newcombe, Stat Med 17:857, 1998, method 3).

    Args:
        positives: 0 to `total`.
        total: At least 1.

    Returns:
        Low and high end, shares.

    Raises:
        ValueError: The counts are none.
    """
    if total < 1 or not 0 <= positives <= total:
        raise ValueError(f"positives: got {positives} of {total}, must be 0 to a total of at least 1")
    low, high = proportion_confint(positives, total, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def prevalence_by_class(women: pd.DataFrame, limits: Sequence[int]) -> pd.DataFrame:
    """BAC prevalence of each age class.

    Args:
        women: One row a woman: `age` in years and `bac` (0 or 1).
        limits: Upper ends of all age classes but the last, years.

    Returns:
        One row a class: `age_class` (text), `women`, `bac_women`, `prevalence`, `ci_low`, `ci_high` (Wilson,
        shares); the last three are NaN in a class without women.
    """
    classes = age_class(women["age"], limits)
    rows = []
    for k, label in enumerate(age_class_labels(women["age"], limits)):
        bac = women["bac"].to_numpy()[classes == k]
        n, positives = len(bac), int(bac.sum())
        numbers = (positives / n, *wilson(positives, n)) if n else (np.nan, np.nan, np.nan)
        rows.append((label, n, positives, *numbers))
    return pd.DataFrame(rows, columns=["age_class", "women", "bac_women", "prevalence", "ci_low", "ci_high"])


def trend_test(positives: Sequence[int], totals: Sequence[int]) -> dict:
    """Cochran-Armitage test for a trend of a proportion over ordered classes, scored 0, 1, 2, ...

    The variance is the permutation one, with N - 1 (statsmodels); Armitage's has N, so that his z is
    sqrt(N / (N - 1)) times this.

    Args:
        positives: BAC+ women of each class.
        totals: Women of each class.

    Returns:
        `z` (above 0: rising) and the two-sided `p`; both None where all women are in one class or alike.

    Raises:
        ValueError: The counts do not pair up.
    """
    positives, totals = np.asarray(positives), np.asarray(totals)
    if positives.shape != totals.shape or (positives > totals).any() or (positives < 0).any():
        raise ValueError(f"positives: got {positives.tolist()} of {totals.tolist()}, must be 0 to the totals")
    if positives.sum() in (0, totals.sum()) or (totals > 0).sum() < 2:
        return {"z": None, "p": None}
    table = Table(np.column_stack([totals - positives, positives]), shift_zeros=False)
    result = table.test_ordinal_association()
    return {"z": float(result.zscore), "p": float(result.pvalue)}


def cohort_summary(women: pd.DataFrame, limits: Sequence[int]) -> dict:
    """Numbers of the paper's first Results paragraph, under the names of `settings.PUBLISHED`.

    Args:
        women: The table of `cohort.women_table`: `age, bac, views, bac_views`, BAC+ and BAC- women.
        limits: Upper ends of all age classes but the last, years.

    Returns:
        `women, views, bac_women, bac_views, age_median, age_iqr`, the same two with `_bac` and `_no_bac`,
        `age_range`, `mann_whitney_p`, `prevalence_by_age_class` (None for an empty class), `trend_p`.

    Raises:
        ValueError: All women are BAC+ or all are BAC-.
    """
    check_classes(women)
    table = prevalence_by_class(women, limits)
    has_bac = women["bac"] == 1
    ages = {"": women["age"], "_bac": women.loc[has_bac, "age"], "_no_bac": women.loc[~has_bac, "age"]}
    summary = {
        "women": len(women),
        "views": int(women["views"].sum()),
        "bac_women": int(has_bac.sum()),
        "bac_views": int(women["bac_views"].sum()),
        "mann_whitney_p": mann_whitney(ages["_bac"], ages["_no_bac"])["p"],
        "age_range": [float(women["age"].min()), float(women["age"].max())],
        "prevalence_by_age_class": [_number(share) for share in table["prevalence"]],
        "trend_p": trend_test(table["bac_women"], table["women"])["p"],
    }
    for name, group in ages.items():
        described = describe(group)
        summary[f"age_median{name}"] = described["median"]
        summary[f"age_iqr{name}"] = [described["q1"], described["q3"]]
    return summary


def bootstrap_women(
    frame: pd.DataFrame, statistic: Callable[[np.ndarray], float], samples: int, seed: int
) -> tuple[float | None, float | None]:
    """Percentile 95 % interval of a statistic from a bootstrap over women.

    As many women as there are get drawn with replacement, all their views with them: views of a woman are not
    independent, women are. A woman drawn twice is not copied: her views weigh 2. Resamples in which the
    statistic is undefined are dropped; where they are the majority, so is the interval.

    Args:
        frame: One row a view, with `patient_id`.
        statistic: Called with the weights of the frame's rows (float64 array of whole numbers); returns a number, NaN
            or None where the resample leaves it undefined.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Low and high end, or None, None.

    Raises:
        ValueError: `samples` is below 1, or the frame is empty.
    """
    low, high = percentile_interval(resample_women(frame, statistic, samples, seed))
    return low, high


def resample_women(frame: pd.DataFrame, statistic: Callable, samples: int, seed: int) -> np.ndarray:
    """Return the statistic of each resample of women, (samples,) or (samples, k), NaN where undefined."""
    if samples < 1:
        raise ValueError(f"samples: got {samples}, must be at least 1")
    if frame.empty:
        raise ValueError("frame: got no rows, must hold at least one")
    codes, ids = pd.factorize(frame["patient_id"])
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(samples):
        drawn = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids)).astype(float)
        draws.append(statistic(drawn[codes]))
    return np.asarray(draws, dtype=float)


def percentile_interval(draws: np.ndarray) -> list[float | None]:
    """Return the [2.5, 97.5] percentiles of the defined draws, or None where most are undefined."""
    defined = draws[np.isfinite(draws)]
    if 2 * defined.size <= draws.size:
        return [None, None]
    return [float(q) for q in np.percentile(defined, [50 * ALPHA, 100 - 50 * ALPHA])]


def check_numbers(values: Sequence[float], name: str) -> np.ndarray:
    """Return values as a float64 array; raise ValueError if they are no row of finite numbers, at least one."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: got an array of shape {array.shape}, must be one row of at least one number")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


def _lilliefors_p(values: np.ndarray) -> float | None:
    """Return the p value of the Lilliefors test, None where it is undefined."""
    if values.size < 4 or np.ptp(values) == 0:
        return None
    return float(lilliefors(values, dist="norm", pvalmethod="table")[1])


def _number(value: float) -> float | None:
    """Return a float for JSON, None for NaN."""
    return float(value) if np.isfinite(value) else None
