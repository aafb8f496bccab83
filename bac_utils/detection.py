"""How well scores find BAC: metrics at a threshold, the choice of a threshold, 95 % intervals over women.

What the data leave undefined (an AUC of one class) is None, not an error, so that one poor set does not cost the table.
All results are Python numbers, ready for JSON.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.statistics import check_numbers, percentile_interval, resample_women

METRICS = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "auc_roc", "auc_pr",
)  # fmt: skip
"""What `detection_metrics` reports besides the four counts, in its order."""


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
    return {name: percentile_interval(draws[:, k]) for k, name in enumerate(METRICS)}


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
        summary[split] |= {f"{name}_ci": percentile_interval(draws[:, k]) for k, name in enumerate(METRICS)}
        summary[split]["undefined_resamples"] = int(np.isnan(draws[:, METRICS.index("auc_roc")]).sum())
    return summary


class ScoreCurve:
    """Counts at every threshold for weighted views, sorted once so that a resample costs two sums.

    Attributes:
        labels: float64 (N,), 0 or 1, from the highest score to the lowest.
        cuts: float64 (k,), the distinct scores, falling.
    """

    def __init__(self, labels: Sequence[int], scores: Sequence[float]) -> None:
        """Sort the views; `labels` and `scores` as `detection_metrics` takes them."""
        labels, scores = np.asarray(labels, dtype=float), check_numbers(scores, "scores")
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

    def statistic(weights: np.ndarray) -> list[float | None]:
        metrics = curve.metrics(weights, threshold)
        return [metrics[name] for name in METRICS]

    return resample_women(predictions, statistic, samples, seed)
