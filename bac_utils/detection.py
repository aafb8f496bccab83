"""Detection performance of scores: metrics at a threshold, choice of a threshold, 95 % intervals over women.

An undefined metric (such as the AUC of a single class) is None rather than an error, so that the other results remain
available. All results are Python numbers, ready for JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bac_utils.settings import PUBLISHED
from bac_utils.statistics import bootstrap_women, check_numbers, percentile_interval, resample_women, with_interval

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
    "auc_roc": "AUC-ROC",
    "auc_pr": "AUC-PR",
}
"""Metrics of `detection_metrics` after the four counts, in its order, with their names in tables."""
METRICS = tuple(METRIC_NAMES)
OUTCOMES = ("TP", "FP", "FN", "TN")
COUNTS = ("tn", "tp", "fn", "fp")
LEAST_SENSITIVITY, LEAST_SPECIFICITY = 0.90, 0.95
_PAPER = PUBLISHED["detection"]["validation"]
PAPER_SPECIFICITY = _PAPER["tn"] / (_PAPER["tn"] + _PAPER["fp"])
"""Specificity on the paper's validation set (Table 2: 787 of 799). The paper does not state its threshold."""
RULES = {
    "youden": "Youden",
    "best_f1": "best F1",
    "sensitivity": f"sensitivity ≥ {LEAST_SENSITIVITY:.2f}",
    "specificity": f"specificity ≥ {LEAST_SPECIFICITY:.2f}",
    "paper": "the paper's specificity",
}
MEANINGS = {
    "youden": "largest sensitivity + specificity − 1",
    "best_f1": "largest F1, the rule of notebook 03",
    "sensitivity": f"highest threshold with a sensitivity of at least {LEAST_SENSITIVITY:.0%}",
    "specificity": f"lowest threshold with a specificity of at least {LEAST_SPECIFICITY:.0%}",
    "paper": f"lowest threshold with the specificity of the paper's validation set, {PAPER_SPECIFICITY:.3f} "
    "(the paper does not state its threshold)",
}


def counts_metrics(tn: float, tp: float, fn: float, fp: float) -> dict:
    """Compute the metrics of a confusion matrix, in the order of the paper's Table 2.

    Args:
        tn: True negatives.
        tp: True positives.
        fn: False negatives.
        fp: False positives.

    Returns:
        `accuracy, balanced_accuracy, precision, npv, recall, specificity, f1`, shares. If no view is classified as
        BAC+, precision is 0; if none is classified as BAC-, NPV is None. Recall and F1 are None without positives,
        specificity without negatives, and balanced accuracy without either.

    Raises:
        ValueError: A count is negative, or all are 0.
    """
    counts = {"tn": tn, "tp": tp, "fn": fn, "fp": fp}
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name}: got {count}, must be 0 or more")
    total = tn + tp + fn + fp
    if total == 0:
        raise ValueError("tn, tp, fn, fp: got 0 views, must be at least one")
    recall = tp / (tp + fn) if tp + fn else None
    specificity = tn / (tn + fp) if tn + fp else None
    return {
        "accuracy": (tn + tp) / total,
        "balanced_accuracy": None if recall is None or specificity is None else (recall + specificity) / 2,
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "npv": tn / (tn + fn) if tn + fn else None,
        "recall": recall,
        "specificity": specificity,
        "f1": None if recall is None else 2 * tp / (2 * tp + fp + fn),
    }


def detection_metrics(labels: Sequence[int], scores: Sequence[float], threshold: float) -> dict:
    """Compute the performance of scores against labels.

    Args:
        labels: 0 or 1, one per view (or per woman).
        scores: Finite numbers, higher for BAC+.
        threshold: Scores of at least this are classified as BAC+.

    Returns:
        `tn, tp, fn, fp` (int), the shares of `counts_metrics`, `auc_roc` (ties count half) and `auc_pr` (average
        precision: the sum of precision times the step in recall, not interpolated). Both are None if a class has no
        views.

    Raises:
        ValueError: Labels and scores differ in length, are empty, or contain invalid values.
    """
    curve = ScoreCurve(labels, scores)
    tn, tp, fn, fp = (int(n) for n in curve.counts(np.ones(len(curve.labels)), threshold))
    return {"tn": tn, "tp": tp, "fn": fn, "fp": fp, **curve.metrics(np.ones(len(curve.labels)), threshold)}


def choose_threshold(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Choose the detection threshold with the largest F1 on a set, which must be the validation set.

    The paper does not state its threshold. Candidates are the midpoints between neighbouring scores, and the lowest
    score. Among equally good ones, the highest is taken; like the paper's results, it favours precision.

    Args:
        labels: 0 or 1; both must occur.
        scores: Finite numbers, higher for BAC+.

    Returns:
        The threshold, for `score >= threshold`.

    Raises:
        ValueError: As `detection_metrics`, or a class has no views.
    """
    curve = ScoreCurve(labels, scores)
    positives = int(curve.labels.sum())
    if positives in (0, len(curve.labels)):
        raise ValueError(f"labels: got {positives} positives of {len(curve.labels)}, must have both classes")
    return threshold_by_rule(curve, "best_f1")


def by_woman(predictions: pd.DataFrame) -> pd.DataFrame:
    """Reduce predictions to one row per woman: BAC+ if any view is, with the highest score of her views.

    Args:
        predictions: One row per view: `patient_id, bac, score` and, optionally, `split`.

    Returns:
        `patient_id, split, bac, score, views`, sorted by `patient_id`; input for `detection_summary`.
    """
    known = {"split": ("split", "first")} if "split" in predictions else {}
    columns = {**known, "bac": ("bac", "max"), "score": ("score", "max"), "views": ("score", "size")}
    return predictions.groupby("patient_id").agg(**columns).reset_index()


def classify_outcomes(bac: Sequence[float], score: Sequence[float], threshold: float) -> np.ndarray:
    """Return the outcome of each view.

    Args:
        bac: 0, 1 or NaN (unknown).
        score: In [0, 1].
        threshold: Scores of at least this are BAC+.

    Returns:
        `TP`, `FP`, `FN`, `TN`, or an empty string if the label is unknown; object (N,).
    """
    bac, positive = np.asarray(bac, float), np.asarray(score, float) >= threshold
    found = np.where(positive, np.where(bac == 1, "TP", "FP"), np.where(bac == 1, "FN", "TN")).astype(object)
    found[np.isnan(bac)] = ""
    return found


def detection_intervals(
    predictions: pd.DataFrame, threshold: float, samples: int, seed: int
) -> dict[str, list[float | None]]:
    """Compute 95 % intervals of all detection metrics of one set from a bootstrap over women.

    Args:
        predictions: One row per view of one set: `patient_id, bac, score`.
        threshold: Scores of at least this are classified as BAC+.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        `{metric: [low, high]}` for each of `METRICS`; [None, None] if it is undefined in at least half of the
        resamples.
    """
    draws = _detection_draws(predictions, threshold, samples, seed)
    return {name: percentile_interval(draws[:, k]) for k, name in enumerate(METRICS)}


def detection_summary(predictions: pd.DataFrame, threshold: float, samples: int, seed: int) -> dict[str, dict]:
    """Summarise the detection performance in the three sets: the paper's Table 2 with intervals.

    Args:
        predictions: One row per view (or per woman, see `by_woman`): `patient_id, split, bac, score`.
        threshold: Scores of at least this are classified as BAC+; chosen on the validation set.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        For each of `train`, `validation` and `test` that has rows: the keys of `detection_metrics`, `METRIC_ci` ([low,
        high]) for each of `METRICS`, and `undefined_resamples`, the number of resamples with only one class, in which
        the AUC is undefined.
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


def detection_table(detection: dict[str, dict], published: dict[str, dict] | None = None) -> pd.DataFrame:
    """Format the metrics of the sets as a table in the form of the paper's Table 2.

    Args:
        detection: From `detection_summary`.
        published: The paper's counts and metrics by set; NPV and specificity are computed from its counts.

    Returns:
        Text, one row per count or metric, one column per set, each followed by that of the paper if published.
    """
    columns = {}
    for name, ours in detection.items():
        paper = published and published.get(name)
        sides = {name: ours} | ({f"{name}, paper": counts_metrics(*map(paper.get, COUNTS)) | paper} if paper else {})
        for title, found in sides.items():
            columns[title] = {count.upper(): str(found[count]) for count in COUNTS}
            columns[title] |= {
                label: with_interval(found[metric], found.get(f"{metric}_ci")) for metric, label in METRIC_NAMES.items()
            }
    return pd.DataFrame(columns)


class ScoreCurve:
    """Counts at every threshold for weighted views; sorted only once, so that resamples are fast.

    Attributes:
        labels: float64 (N,), 0 or 1, sorted from the highest to the lowest score.
        cuts: float64 (k,), the distinct scores in decreasing order.
    """

    def __init__(self, labels: Sequence[int], scores: Sequence[float]) -> None:
        """Sort the views; `labels` and `scores` as `detection_metrics` takes them."""
        labels, scores = np.asarray(labels, dtype=float), check_numbers(scores, "scores")
        if labels.shape != scores.shape:
            raise ValueError(f"labels: got {labels.size} for {scores.size} scores, must be one per score")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("labels: got other values, must be 0 or 1")
        self.order = np.argsort(-scores, kind="stable")
        self.labels = labels[self.order]
        falling = scores[self.order]
        self.ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
        self.cuts = falling[self.ends]

    def cumulate(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and false positives, (k,), with each distinct score as the threshold, in decreasing order."""
        weights = weights[self.order]
        return np.cumsum(weights * self.labels)[self.ends], np.cumsum(weights * (1 - self.labels))[self.ends]

    def counts(self, weights: np.ndarray, threshold: float) -> tuple[float, float, float, float]:
        """Return TN, TP, FN, FP if scores of at least `threshold` are positive."""
        tps, fps = self.cumulate(weights)
        positive = int(np.searchsorted(-self.cuts, -threshold, side="right"))
        tp, fp = (tps[positive - 1], fps[positive - 1]) if positive else (0.0, 0.0)
        return float(fps[-1] - fp), float(tp), float(tps[-1] - tp), float(fp)

    def metrics(self, weights: np.ndarray, threshold: float) -> dict:
        """Return all of `METRICS`."""
        tps, fps = self.cumulate(weights)
        result = counts_metrics(*self.counts(weights, threshold)) | {"auc_roc": None, "auc_pr": None}
        if tps[-1] and fps[-1]:
            steps = np.diff(tps, prepend=0)
            below = np.diff(fps, prepend=0) @ (tps - steps / 2)
            result["auc_roc"] = float(below / (tps[-1] * fps[-1]))
            result["auc_pr"] = float(steps @ (tps / np.maximum(tps + fps, 1)) / tps[-1])
        return result


def _detection_draws(predictions: pd.DataFrame, threshold: float, samples: int, seed: int) -> np.ndarray:
    """Return `METRICS` for each resample, float64 (samples, 9), NaN where undefined."""
    curve = ScoreCurve(predictions["bac"], predictions["score"])

    def statistic(weights: np.ndarray) -> list[float | None]:
        metrics = curve.metrics(weights, threshold)
        return [metrics[name] for name in METRICS]

    return resample_women(predictions, statistic, samples, seed)


@dataclass(frozen=True)
class ThresholdChoice:
    """A detection threshold chosen by a rule, with its performance on the set on which it was chosen.

    Attributes:
        rule: A key of `RULES`.
        threshold: Scores of at least this are classified as BAC+.
        threshold_ci: [low, high], 95 %, from applying the rule to resamples of women; None if undefined.
        metrics: Result of `detection_metrics`.
        intervals: `{metric: [low, high]}`, 95 %, at the fixed threshold, from resamples of women.
    """

    rule: str
    threshold: float
    threshold_ci: list[float | None]
    metrics: dict
    intervals: dict[str, list[float | None]]


def threshold_by_rule(curve: ScoreCurve, rule: str, weights: np.ndarray | None = None) -> float:
    """Choose a threshold by a rule; it is the midpoint between two neighbouring scores.

    Args:
        curve: Curve of the views of the set.
        rule: A key of `RULES`.
        weights: float64 (N,), how often each view counts, in the order of the labels given to `curve`.

    Returns:
        The threshold; NaN if a class has no views. It is just above the highest score if no view may be classified as
        BAC+, and equals the lowest score if all are.

    Raises:
        ValueError: The rule is unknown.
    """
    if rule not in RULES:
        raise ValueError(f"rule: got {rule!r}, must be one of {', '.join(RULES)}")
    tp, fp = curve.cumulate(np.ones(len(curve.labels)) if weights is None else weights)
    if not (tp[-1] and fp[-1]):
        return float("nan")
    recall, specificity = tp / tp[-1], 1 - fp / fp[-1]
    if rule == "youden":
        place = int(np.argmax(recall + specificity))
    elif rule == "best_f1":
        place = int(np.argmax(2 * tp / (tp + fp + tp[-1])))
    elif rule == "sensitivity":
        place = int(np.argmax(recall >= LEAST_SENSITIVITY - 1e-12))
    else:
        least = LEAST_SPECIFICITY if rule == "specificity" else PAPER_SPECIFICITY
        place = int((specificity >= least - 1e-12).sum()) - 1
    if place < 0:
        return float(np.nextafter(curve.cuts[0], np.inf))
    high = curve.cuts[place]
    if place == len(curve.cuts) - 1:
        return float(high)
    low = curve.cuts[place + 1]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def thresholds_by_rule(views: pd.DataFrame, samples: int, seed: int) -> dict[str, ThresholdChoice]:
    """Choose a threshold by each rule, with 95 % intervals from a bootstrap over women.

    Args:
        views: One row per view of the set on which thresholds are chosen: `patient_id, bac, score`.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The choice of each rule, by the keys of `RULES`.

    Raises:
        ValueError: A class has no views, or as `detection_metrics`.
    """
    curve = ScoreCurve(views["bac"], views["score"])
    if not 0 < curve.labels.sum() < len(curve.labels):
        raise ValueError(
            f"bac: got {int(curve.labels.sum())} BAC+ of {len(curve.labels)} views, must have both classes"
        )
    choices = {}
    for rule in RULES:
        threshold = threshold_by_rule(curve, rule)
        drawn = bootstrap_women(views, lambda w, rule=rule: threshold_by_rule(curve, rule, w), samples, seed)
        metrics = detection_metrics(views["bac"], views["score"], threshold)
        choices[rule] = ThresholdChoice(
            rule, threshold, list(drawn), metrics, detection_intervals(views, threshold, samples, seed)
        )
    return choices
