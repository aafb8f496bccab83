"""Statistics of the cohort, of detection and of quantification, with 95 % intervals.

The tests are those of the paper (Mobini et al., European Radiology 33:6746, 2023); the intervals, the trend
test and the Lilliefors correction are added. What the data leave undefined (an AUC of one class) is None, not
an error, so that one poor set does not cost the table. All results are Python numbers, ready for JSON.
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
METRICS = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "auc_roc", "auc_pr",
)  # fmt: skip
"""What `detection_metrics` reports besides the four counts, in its order."""
_EVANS = ((0.2, "very weak"), (0.4, "weak"), (0.6, "moderate"), (0.8, "strong"))


def describe(values: Sequence[float], decimals: int = 1) -> dict:
    """Describe a variable as the paper does: mean ± SD where normal, median [IQR] where not.

    Normality is the Kolmogorov-Smirnov test with the Lilliefors correction (mean and SD come from the data).

    Args:
        values: Finite numbers, at least one.
        decimals: Decimals in the text.

    Returns:
        `n, normal, ks_p, text, median, q1, q3, mean, sd`. Quartiles by linear interpolation, SD with n - 1.
        Fewer than 4 values, or equal ones, cannot be tested: `normal` is False and `ks_p` None. `ks_p` comes
        from tables that end at 0.001.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    values = _finite(values, "values")
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if values.size > 1 else None
    p = _lilliefors_p(values)
    normal = p is not None and p >= ALPHA

    def show(number: float) -> str:
        return np.format_float_positional(round(number, decimals), trim="-")

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
    a, b = _finite(a, "a"), _finite(b, "b")
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


def counts_metrics(tn: float, tp: float, fn: float, fp: float) -> dict:
    """Metrics of a confusion table, in the order of the paper's Table 2.

    Args:
        tn: True negatives.
        tp: True positives.
        fn: False negatives.
        fp: False positives.

    Returns:
        `accuracy, balanced_accuracy, precision, recall, specificity, f1`, shares. Without a positive call,
        precision is 0. What needs a class that has no view is None: recall and F1 without positives,
        specificity without negatives, balanced accuracy without either.

    Raises:
        ValueError: A count is negative, or all are 0.
    """
    counts = {"tn": tn, "tp": tp, "fn": fn, "fp": fp}
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name}: got {count}, must be 0 or more")
    total = tn + tp + fn + fp
    if total == 0:
        raise ValueError("tn, tp, fn, fp: got 0 views, must count at least one")
    recall = tp / (tp + fn) if tp + fn else None
    specificity = tn / (tn + fp) if tn + fp else None
    return {
        "accuracy": (tn + tp) / total,
        "balanced_accuracy": None if recall is None or specificity is None else (recall + specificity) / 2,
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": recall,
        "specificity": specificity,
        "f1": None if recall is None else 2 * tp / (2 * tp + fp + fn),
    }


def detection_metrics(labels: Sequence[int], scores: Sequence[float], threshold: float) -> dict:
    """Performance of scores against labels.

    Args:
        labels: 0 or 1, one a view (or a woman).
        scores: Finite numbers, higher for BAC+.
        threshold: A score of at least this is called BAC+.

    Returns:
        `tn, tp, fn, fp` (int), the shares of `counts_metrics`, `auc_roc` (ties count half) and `auc_pr`
        (average precision: the sum of precision times step in recall, not interpolated). Both are None where
        a class has no view.

    Raises:
        ValueError: Labels and scores do not pair up, are empty, or hold other values.
    """
    curve = ScoreCurve(labels, scores)
    tn, tp, fn, fp = (int(n) for n in curve.counts(np.ones(len(curve.labels)), threshold))
    return {"tn": tn, "tp": tp, "fn": fn, "fp": fp, **curve.metrics(np.ones(len(curve.labels)), threshold)}


def choose_threshold(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Choose the operating threshold with the best F1 on a set, which must be the validation set.

    (The paper does not state its threshold.) Candidates lie midway between neighbouring scores, and at the
    lowest score. Of equally good ones the highest is taken: like the paper's results, it favours precision.

    Args:
        labels: 0 or 1; both must occur.
        scores: Finite numbers, higher for BAC+.

    Returns:
        The threshold, for `score >= threshold`.

    Raises:
        ValueError: As `detection_metrics`; a class has no view.
    """
    curve = ScoreCurve(labels, scores)
    positives = int(curve.labels.sum())
    if positives in (0, len(curve.labels)):
        raise ValueError(f"labels: got {positives} positives of {len(curve.labels)}, must hold both classes")
    tp, fp = curve.cumulate(np.ones(len(curve.labels)))
    best = int(np.argmax(2 * tp / (tp + fp + positives)))  # 2 tp / (2 tp + fp + fn); the first is the highest
    high = curve.cuts[best]
    if best == len(curve.cuts) - 1:
        return float(high)
    low = curve.cuts[best + 1]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def by_woman(predictions: pd.DataFrame) -> pd.DataFrame:
    """Reduce predictions to one row a woman: BAC+ if any view is, scored as her highest view.

    Args:
        predictions: One row a view: `patient_id, bac, score` and, optionally, `split`.

    Returns:
        `patient_id, split, bac, score, views`, sorted by `patient_id`; fit for `detection_summary`.
    """
    known = {"split": ("split", "first")} if "split" in predictions else {}
    columns = {**known, "bac": ("bac", "max"), "score": ("score", "max"), "views": ("score", "size")}
    return predictions.groupby("patient_id").agg(**columns).reset_index()


def bootstrap_women(
    frame: pd.DataFrame, statistic: Callable[[pd.DataFrame, np.ndarray], float], samples: int, seed: int
) -> tuple[float | None, float | None]:
    """Percentile 95 % interval of a statistic from a bootstrap over women.

    As many women as there are get drawn with replacement, all their views with them: views of a woman are not
    independent, women are. A woman drawn twice is not copied: her views weigh 2. Resamples in which the
    statistic is undefined are dropped; where they are the majority, so is the interval.

    Args:
        frame: One row a view, with `patient_id`.
        statistic: Called with `frame` and the weights of its rows (float64 array of whole numbers); returns a
            number, NaN or None where the resample leaves it undefined.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Low and high end, or None, None.

    Raises:
        ValueError: `samples` is below 1, or the frame is empty.
    """
    low, high = _percentile_interval(_resample(frame, statistic, samples, seed))
    return low, high


def detection_intervals(
    predictions: pd.DataFrame, threshold: float, samples: int, seed: int
) -> dict[str, list[float | None]]:
    """95 % intervals of all detection metrics of one set from a bootstrap over women.

    Args:
        predictions: One row a view of one set: `patient_id, bac, score`.
        threshold: A score of at least this is called BAC+.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        `{metric: [low, high]}` for each of `METRICS`; [None, None] where most resamples leave it undefined.
    """
    draws = _detection_draws(predictions, threshold, samples, seed)
    return {name: _percentile_interval(draws[:, k]) for k, name in enumerate(METRICS)}


def detection_summary(predictions: pd.DataFrame, threshold: float, samples: int, seed: int) -> dict[str, dict]:
    """Detection of the three sets: the paper's Table 2 with intervals.

    Args:
        predictions: One row a view (or a woman, see `by_woman`): `patient_id, split, bac, score`.
        threshold: A score of at least this is called BAC+; chosen on the validation set.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        For `train`, `validation` and `test`, where it has rows: the keys of `detection_metrics`, `METRIC_ci`
        ([low, high]) for each of `METRICS`, and `undefined_resamples`, the number of resamples that drew one
        class only and so left the AUC out.
    """
    summary = {}
    for split in ("train", "validation", "test"):
        part = predictions[predictions["split"] == split]
        if part.empty:
            continue
        draws = _detection_draws(part, threshold, samples, seed)
        summary[split] = detection_metrics(part["bac"], part["score"], threshold)
        summary[split] |= {f"{name}_ci": _percentile_interval(draws[:, k]) for k, name in enumerate(METRICS)}
        summary[split]["undefined_resamples"] = int(np.isnan(draws[:, METRICS.index("auc_roc")]).sum())
    return summary


def correlate(
    area: Sequence[float],
    length: Sequence[float],
    groups: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 2023,
) -> dict:
    """Correlate the estimated BAC area with the measured length, as the paper does.

    Pearson's r where both variables are normal (Lilliefors), else Spearman's rho. The p values take the views
    for independent; the interval does not.

    Args:
        area: Finite numbers, one a view.
        length: The same of the length.
        groups: The woman of each view, for the bootstrap; by default each view is a woman of her own.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        `n, method` (`pearson` or `spearman`), `coefficient, p` of that method, `evans` (its wording),
        `spearman_rho, spearman_ci` ([low, high], bootstrap over women), `spearman_p`. With fewer than 3
        views, or a variable of one value, the method is spearman and the numbers are None.

    Raises:
        ValueError: The variables do not pair up, are empty, or hold a value that is not finite.
    """
    area, length = _finite(area, "area"), _finite(length, "length")
    groups = np.arange(area.size) if groups is None else np.asarray(groups)
    if not area.size == length.size == groups.size:
        raise ValueError(f"length: got {length.size} values and {groups.size} groups, must be {area.size} each")
    rho = p = None
    interval = [None, None]
    if area.size >= 3 and np.ptp(area) > 0 and np.ptp(length) > 0:
        rho, p = (float(x) for x in stats.spearmanr(area, length))
        ranks = [np.unique(x, return_inverse=True)[1] for x in (area, length)]
        frame = pd.DataFrame({"patient_id": groups})
        interval = list(bootstrap_women(frame, lambda _, w: _weighted_spearman(*ranks, w), samples, seed))
    result = {"n": int(area.size), "method": "spearman", "coefficient": rho, "p": p}
    if rho is not None and all(describe(x)["normal"] for x in (area, length)):
        r, p_pearson = (float(x) for x in stats.pearsonr(area, length))
        result |= {"method": "pearson", "coefficient": r, "p": p_pearson}
    evans_text = None if rho is None else evans(result["coefficient"])
    return result | {"evans": evans_text, "spearman_rho": rho, "spearman_ci": interval, "spearman_p": p}


def evans(r: float) -> str:
    """Evans's (1996) wording of a correlation, sign left out.

    Args:
        r: -1 to 1.

    Returns:
        very weak (below 0.2), weak (0.4), moderate (0.6), strong (0.8) or very strong.

    Raises:
        ValueError: `r` is no correlation.
    """
    if not abs(r) <= 1 + 1e-9:
        raise ValueError(f"r: got {r}, must lie between -1 and 1")
    return next((word for limit, word in _EVANS if abs(r) < limit), "very strong")


class ScoreCurve:
    """Counts at every threshold for weighted views, sorted once so that a resample costs two sums.

    Attributes:
        labels: float64 (N,), 0 or 1, from the highest score to the lowest.
        cuts: float64 (k,), the distinct scores, falling.
    """

    def __init__(self, labels: Sequence[int], scores: Sequence[float]) -> None:
        """Sort the views; `labels` and `scores` as `detection_metrics` takes them."""
        labels, scores = np.asarray(labels, dtype=float), _finite(scores, "scores")
        if labels.shape != scores.shape:
            raise ValueError(f"labels: got {labels.size} for {scores.size} scores, must be one each")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("labels: got a value other than 0 and 1, must be 0 or 1")
        self.order = np.argsort(-scores, kind="stable")
        self.labels = labels[self.order]
        falling = scores[self.order]
        self.ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
        self.cuts = falling[self.ends]

    def cumulate(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return true and false positives, (k,), at each distinct score as the threshold, falling."""
        weights = weights[self.order]
        return np.cumsum(weights * self.labels)[self.ends], np.cumsum(weights * (1 - self.labels))[self.ends]

    def counts(self, weights: np.ndarray, threshold: float) -> tuple[float, float, float, float]:
        """Return TN, TP, FN, FP where a score of at least `threshold` is positive."""
        tps, fps = self.cumulate(weights)
        called = int(np.searchsorted(-self.cuts, -threshold, side="right"))
        tp, fp = (tps[called - 1], fps[called - 1]) if called else (0.0, 0.0)
        return float(fps[-1] - fp), float(tp), float(tps[-1] - tp), float(fp)

    def metrics(self, weights: np.ndarray, threshold: float) -> dict:
        """Return all of METRICS."""
        tps, fps = self.cumulate(weights)
        result = counts_metrics(*self.counts(weights, threshold)) | {"auc_roc": None, "auc_pr": None}
        if tps[-1] and fps[-1]:
            steps = np.diff(tps, prepend=0)
            below = np.diff(fps, prepend=0) @ (tps - steps / 2)
            result["auc_roc"] = float(below / (tps[-1] * fps[-1]))
            result["auc_pr"] = float(steps @ (tps / np.maximum(tps + fps, 1)) / tps[-1])
        return result


def _detection_draws(predictions: pd.DataFrame, threshold: float, samples: int, seed: int) -> np.ndarray:
    """Return the METRICS, (samples, 8), of the resamples."""
    curve = ScoreCurve(predictions["bac"], predictions["score"])

    def statistic(_: pd.DataFrame, weights: np.ndarray) -> list[float | None]:
        metrics = curve.metrics(weights, threshold)
        return [metrics[name] for name in METRICS]

    return _resample(predictions, statistic, samples, seed)


def _resample(frame: pd.DataFrame, statistic: Callable, samples: int, seed: int) -> np.ndarray:
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
        draws.append(statistic(frame, drawn[codes]))
    return np.asarray(draws, dtype=float)


def _percentile_interval(draws: np.ndarray) -> list[float | None]:
    """Return the [2.5, 97.5] percentiles of the defined draws, or None where most are undefined."""
    defined = draws[np.isfinite(draws)]
    if 2 * defined.size <= draws.size:
        return [None, None]
    return [float(q) for q in np.percentile(defined, [50 * ALPHA, 100 - 50 * ALPHA])]


def _weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return Spearman's rho of rows that count `weights` times; x and y are dense ranks, 0, 1, ..."""

    def centred(codes: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes, weights)
        mid = (np.cumsum(counts) - (counts - 1) / 2)[codes]
        return mid - np.average(mid, weights=weights)

    a, b = centred(x), centred(y)
    norm = np.sqrt((weights @ a**2) * (weights @ b**2))
    return float(weights @ (a * b) / norm) if norm > 0 else np.nan


def _lilliefors_p(values: np.ndarray) -> float | None:
    """Return the p value of the Lilliefors test, None where it is undefined."""
    if values.size < 4 or np.ptp(values) == 0:
        return None
    return float(lilliefors(values, dist="norm", pvalmethod="table")[1])


def _finite(values: Sequence[float], name: str) -> np.ndarray:
    """Return the values as a float64 array, or refuse them."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: got an array of shape {array.shape}, must be one row of at least one number")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


def _number(value: float) -> float | None:
    """Return a float for JSON, None for NaN."""
    return float(value) if np.isfinite(value) else None
