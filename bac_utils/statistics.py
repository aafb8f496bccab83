"""Statistics of the cohort, and 95 % intervals that allow for the views of one woman not being independent.

The tests are those of the paper (Mobini et al., European Radiology 33:6746, 2023); the intervals, the trend test and
the Lilliefors correction are additions. All results are Python numbers, ready for JSON.

Intervals of shares, AUC and correlations use the formulas for independent observations with an effective sample size,
the number of independent views that would give the variance of a bootstrap over women (Rao & Scott, Stat Med 11:1377,
1992). They remain wide if all views are classified correctly, where a percentile bootstrap has no width.
`benchmarks/interval_coverage.py` measures their coverage.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.diagnostic import lilliefors
from statsmodels.stats.proportion import proportion_confint

ALPHA = 0.05
"""Significance level of the paper; intervals cover 1 - ALPHA."""
LEAST_WOMEN = 5
"""Fewest BAC+ women, and fewest BAC- women, for an interval; fewest women and different lengths for a correlation."""
LEAST_P = float(np.finfo(float).tiny)
"""Smallest p value that is reported (2e-308, the smallest normal double), so that none is 0."""
TOO_FEW = "too few"
"""Text in tables for what is not computed from so few women."""
Z = float(stats.norm.isf(ALPHA / 2))


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
    return {"u": float(result.statistic), "p": max(float(result.pvalue), LEAST_P)}


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
    return {"z": float(result.zscore), "p": max(float(result.pvalue), LEAST_P)}


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
    draws = [statistic(weights) for part in weights_of_women(frame, samples, seed) for weights in part]
    return np.asarray(draws, dtype=float)


def weights_of_women(frame: pd.DataFrame, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the weights of the frame's rows in resamples of women, float64 (up to 100 samples, rows) at a time.

    Raises:
        ValueError: `samples` is below 1, or the frame is empty.
    """
    if samples < 1:
        raise ValueError(f"samples: got {samples}, must be at least 1")
    if frame.empty:
        raise ValueError("frame: got no rows, must have at least one")
    codes, ids = pd.factorize(frame["patient_id"])
    rng = np.random.default_rng(seed)
    for start in range(0, samples, 100):
        draws = [rng.integers(len(ids), size=len(ids)) for _ in range(min(100, samples - start))]
        drawn = np.stack([np.bincount(draw, minlength=len(ids)) for draw in draws])
        yield drawn[:, codes].astype(float)


def percentile_interval(draws: np.ndarray) -> list[float | None]:
    """Return the [2.5, 97.5] percentiles of the defined draws, or [None, None] if at least half are undefined."""
    defined = draws[np.isfinite(draws)]
    if 2 * defined.size <= draws.size:
        return [None, None]
    return [float(q) for q in np.percentile(defined, [50 * ALPHA, 100 - 50 * ALPHA])]


def effective_size(information: float, draws: np.ndarray, rows: np.ndarray, lost: float = 0) -> float:
    """Estimate how many independent rows carry the same information as the rows of these women.

    Args:
        information: Variance of the estimate times (number of rows - `lost`) if rows were independent; p (1 - p) for a
            share.
        draws: Estimates from resamples of women, NaN where undefined.
        rows: Number of rows of each woman in the estimate's denominator; at least one is not 0.
        lost: 0, or 3 for Fisher's z.

    Returns:
        `information` / (variance of the draws times m / (m - 1) for m women) + `lost`. It is at most the number of
        rows and at least Kish's size, (sum of rows)^2 / (sum of squares), which holds if a woman's rows are all
        equal. Kish's size is also taken if the draws do not vary.
    """
    rows = rows[rows > 0]
    least, most = float(rows.sum() ** 2 / (rows**2).sum()), float(rows.sum())
    draws = draws[np.isfinite(draws)]
    variance = draws.var() * len(rows) / max(len(rows) - 1, 1) if draws.size else 0.0
    if not (variance > 0 and information > 0):
        return least
    return float(np.clip(information / variance + lost, least, most))


def share_interval(share: float, size: float, methods: Sequence[str] = ("wilson", "jeffreys")) -> list[float]:
    """Compute the 95 % interval of a share: on each side, the wider one of Wilson's and Jeffreys's intervals.

    Brown, Cai & DasGupta (Stat Sci 16:101, 2001) recommend both for small samples. Wilson's covers too rarely close to
    0 and 1, where Jeffreys's does not.

    Args:
        share: 0 to 1.
        size: Effective number of observations, above 0.
        methods: Methods of `statsmodels.stats.proportion.proportion_confint`.

    Returns:
        Lower and upper limit, [0, 1].
    """
    limits = [proportion_confint(share * size, size, alpha=ALPHA, method=method) for method in methods]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return [float(min(low, share)) if share > 0 else 0.0, float(max(high, share)) if share < 1 else 1.0]


def auc_variance(auc: float, positives: float, negatives: float) -> float:
    """Return the variance of an AUC-ROC of independent observations (Newcombe, Stat Med 25:559, 2006, method 5).

    It is Hanley & McNeil's (Radiology 143:29, 1982) with both group sizes replaced by their mean in the numerator.
    """
    mean = (positives + negatives) / 2
    shared = (1 - auc) / (2 - auc) + auc / (1 + auc)
    return auc * (1 - auc) * (1 + (mean - 1) * shared) / (positives * negatives)


def auc_interval(auc: float, positives: float, negatives: float) -> list[float]:
    """Compute the 95 % score interval of an AUC-ROC (Newcombe, Stat Med 25:559, 2006, method 5).

    Its limits are the values whose distance from the estimate is 1.96 standard errors, with the standard error at the
    limit and not at the estimate. So it has a width even if the classes are perfectly separated.

    Args:
        auc: 0 to 1.
        positives: Effective number of positives, above 0.
        negatives: Effective number of negatives, above 0.

    Returns:
        Lower and upper limit, [0, 1].
    """

    def beyond(limit: float) -> float:
        return (auc - limit) ** 2 - Z**2 * auc_variance(limit, positives, negatives)

    # The limits 0 and 1 have no variance and are roots themselves if the estimate is 0 or 1.
    inside = 1e-9
    low = optimize.brentq(beyond, 0, min(auc, 1 - inside)) if auc > inside else 0.0
    high = optimize.brentq(beyond, max(auc, inside), 1) if auc < 1 - inside else 1.0
    return [float(low), float(high)]


def correlation_interval(rho: float, draws: np.ndarray, rows: np.ndarray) -> list[float]:
    """Compute the 95 % interval of Spearman's rho from Fisher's z.

    The variance of z is (1 + rho^2 / 2) / (n - 3) (Bonett & Wright, Psychometrika 65:23, 2000); here, n is the
    effective size, between the number of women and that of views, and at least 4. Since z is infinite at 1, values are
    limited to 1 - 6 / (N^3 - N) for N views, halfway to the largest rho of an imperfect order.

    Args:
        rho: -1 to 1.
        draws: Values from resamples of women, NaN where undefined.
        rows: Number of views of each woman.

    Returns:
        Lower and upper limit, [-1, 1]; they include `rho`.
    """
    views = float(rows.sum())
    limit = 1 - 6 / (views**3 - views)
    z, z_draws = (np.arctanh(np.clip(value, -limit, limit)) for value in (rho, draws))
    information = 1 + min(abs(rho), limit) ** 2 / 2
    size = max(effective_size(information, z_draws, rows, lost=3), 4)
    half = Z * math.sqrt(information / (size - 3))
    return [float(min(np.tanh(z - half), rho)), float(max(np.tanh(z + half), rho))]


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


def with_interval(value: float | None, interval: Sequence | None, digits: int = 2) -> str:
    """Format a value as `0.95 [0.91, 0.98]`.

    Without an interval (None), the value stands alone, or `-` if it is undefined. If the limits are undefined, the text
    is `0.95 [too few]`, or `too few` if the value is undefined as well.
    """
    known = value is not None and math.isfinite(value)
    if interval is None or len(interval) == 0:
        return f"{value:.{digits}f}" if known else "-"
    limits = all(v is not None and math.isfinite(v) for v in interval)
    if not known:
        return "-" if limits else TOO_FEW
    return f"{value:.{digits}f} [" + (", ".join(f"{v:.{digits}f}" for v in interval) if limits else TOO_FEW) + "]"


@dataclass(frozen=True)
class ScoreSpread:
    """How the scores of labelled views are spread.

    Attributes:
        negative: Percentiles 0 to 100 of the scores of the BAC- views: 101 non-decreasing numbers in [0, 1].
        positive: The same for the BAC+ views.
        views: Numbers of BAC- and of BAC+ views.

    Raises:
        ValueError: A field breaks its rule.
    """

    negative: tuple[float, ...]
    positive: tuple[float, ...]
    views: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the fields."""
        rules = {name: "101 non-decreasing numbers in [0, 1]" for name in ("negative", "positive")}
        for name, rule in (rules | {"views": "two numbers of views, 1 or more"}).items():
            values = getattr(self, name)
            numbers = isinstance(values, list | tuple) and all(
                isinstance(v, int | float) and not isinstance(v, bool) for v in values
            )
            if not numbers or not (_is_spread(values) if name in rules else _are_counts(values)):
                raise ValueError(f"score_spread.{name}: got {str(values)[:40]}, must be {rule}")
            object.__setattr__(self, name, tuple(values))

    @classmethod
    def of(cls, labels: Sequence[int], scores: Sequence[float]) -> "ScoreSpread | None":
        """Return the spread of scores by label (0 or 1, equal length); None without views of both classes."""
        labels, scores = np.asarray(labels), np.asarray(scores, float)
        classes = [scores[labels == label] for label in (0, 1)]
        if not all(map(len, classes)):
            return None
        return cls(*(np.percentile(found, range(101)).tolist() for found in classes), tuple(map(len, classes)))


def read_spread(values: Any) -> ScoreSpread | None:
    """Return the `ScoreSpread` of a JSON object, or None for None.

    Args:
        values: The object as a dict; a `ScoreSpread` is returned unchanged.

    Raises:
        ValueError: It does not have exactly the fields of `ScoreSpread`, or a field breaks its rule.
    """
    if values is None or isinstance(values, ScoreSpread):
        return values
    if not isinstance(values, dict) or set(values) != {"negative", "positive", "views"}:
        raise ValueError(f"score_spread: got {str(values)[:40]}, must have the fields negative, positive and views")
    return ScoreSpread(**values)


def _is_spread(values: Sequence[float]) -> bool:
    return len(values) == 101 and values[0] >= 0 and values[-1] <= 1 and bool(np.all(np.diff(values) >= 0))


def _are_counts(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(type(v) is int and v >= 1 for v in values)
