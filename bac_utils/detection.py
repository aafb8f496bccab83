"""Detection performance of scores: metrics at a threshold, choice of a threshold, 95 % intervals over women.

An undefined metric (such as the AUC of a single class) is None rather than an error, so that the other results remain
available. All results are Python numbers, ready for JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bac_utils.settings import PUBLISHED
from bac_utils.statistics import (
    LEAST_WOMEN,
    auc_interval,
    auc_variance,
    bootstrap_women,
    check_numbers,
    effective_size,
    share_interval,
    weights_of_women,
    with_interval,
)
from bac_utils.views_table import exam_keys

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
        precision: the sum of precision times the step in recall, not interpolated), both None if a class is empty.

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
    """Reduce predictions to one row per woman, and per exam: BAC+ if any view is, with the highest score of its views.

    Args:
        predictions: One row per view: `patient_id, bac, score` and, optionally, `exam` and `split`.

    Returns:
        `patient_id, exam, split, bac, score, views`, sorted by the first two; input for `detection_summary`.
    """
    columns = {"split": ("split", "first")} if "split" in predictions else {}
    columns |= {"bac": ("bac", "max"), "score": ("score", "max"), "views": ("score", "size")}
    return predictions.groupby(exam_keys(predictions)).agg(**columns).reset_index()


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
    """Compute 95 % intervals of all detection metrics of one set.

    The views of a woman are not independent. Each interval is that of independent views, with the effective number of
    views (`statistics.effective_size`) from a bootstrap over women:

    - accuracy, precision, NPV, recall and specificity: `share_interval`;
    - F1 = 2 J / (1 + J): the limits of the share J = TP / (TP + FP + FN), transformed;
    - balanced accuracy: from the limits of recall and specificity (MOVER; Zou & Donner, Stat Med 27:1693, 2008), as if
      these were independent;
    - AUC-ROC: `auc_interval`;
    - AUC-PR: Wilson's interval of a share of the BAC+ views. Boyd, Eng & Page (ECML PKDD 2013) also treat it as a share
      of the positives, with the logit interval.

    Args:
        predictions: One row per view (or per woman) of one set: `patient_id, bac, score`.
        threshold: Scores of at least this are classified as BAC+.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        `{metric: [low, high]}` for each of `METRICS`. [None, None] with fewer than `LEAST_WOMEN` BAC+ or BAC- women
        (recall: BAC+, specificity: BAC-), or if the metric is undefined.
    """
    return _intervals(predictions, threshold, _detection_draws(predictions, threshold, samples, seed))


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
        summary[split] |= {f"{name}_ci": ci for name, ci in _intervals(part, threshold, draws).items()}
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
        """Return true and false positives, (..., k), with each distinct score as threshold, for weights (..., N)."""
        weights = weights[..., self.order]
        tps, fps = (np.cumsum(weights * labels, axis=-1) for labels in (self.labels, 1 - self.labels))
        return tps[..., self.ends], fps[..., self.ends]

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

    def metrics_of_resamples(self, weights: np.ndarray, threshold: float) -> np.ndarray:
        """Return `METRICS` for each row of weights, (samples, N), as float64 (samples, 9), NaN where undefined."""
        tps, fps = self.cumulate(weights)
        called = self.cuts >= threshold
        tp, fp = (counts[:, called].max(axis=1, initial=0) for counts in (tps, fps))
        bac, others = tps[:, -1], fps[:, -1]
        steps, below = np.diff(tps, prepend=0), np.diff(fps, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy, npv = (tp + others - fp) / (bac + others), (others - fp) / (bac + others - tp - fp)
            precision, recall, specificity = tp / (tp + fp), tp / bac, 1 - fp / others
            f1 = np.where(bac > 0, 2 * tp / (tp + fp + bac), np.nan)
            auc_roc = (below * (tps - steps / 2)).sum(axis=1) / (bac * others)
            auc_pr = (steps * tps / np.maximum(tps + fps, 1)).sum(axis=1) / np.where(others > 0, bac, np.nan)
            balanced = (recall + specificity) / 2
        return np.stack([accuracy, balanced, precision, npv, recall, specificity, f1, auc_roc, auc_pr], axis=1)


def _detection_draws(predictions: pd.DataFrame, threshold: float, samples: int, seed: int) -> np.ndarray:
    """Return `METRICS` for each resample, (samples, 9), NaN where undefined (also precision, if no view is called)."""
    curve = ScoreCurve(predictions["bac"], predictions["score"])
    parts = weights_of_women(predictions, samples, seed)
    return np.concatenate([curve.metrics_of_resamples(weights, threshold) for weights in parts])


def _intervals(predictions: pd.DataFrame, threshold: float, draws: np.ndarray) -> dict[str, list[float | None]]:
    """Return the intervals of `detection_intervals`, given the metrics of resamples, (samples, 9)."""
    codes, _ = pd.factorize(predictions["patient_id"])
    bac, called = predictions["bac"].to_numpy() == 1, predictions["score"].to_numpy() >= threshold
    denominators = {
        "accuracy": bac | ~bac, "precision": called, "npv": ~called, "recall": bac, "specificity": ~bac,
        "f1": bac | called, "auc_roc": bac, "auc_pr": bac,
    }  # fmt: skip
    rows = {name: np.bincount(codes, views) for name, views in denominators.items()}
    women = {"recall": int((rows["recall"] > 0).sum()), "specificity": int((rows["recall"] == 0).sum())}
    values = detection_metrics(bac, predictions["score"], threshold)
    found: dict[str, list[float | None]] = {name: [None, None] for name in METRICS}
    for name in denominators:
        needed = [women[name]] if name in women else women.values()
        if min(needed) < LEAST_WOMEN or not rows[name].any():
            continue
        value, drawn = values[name], draws[:, METRICS.index(name)]
        if name == "auc_roc":
            found[name] = auc_roc_interval(value, drawn, rows["recall"], rows["specificity"])
            continue
        if name == "f1":
            value, drawn = value / (2 - value), drawn / (2 - drawn)
        size = effective_size(value * (1 - value), drawn, rows[name])
        limits = share_interval(value, size, ("wilson",)) if name == "auc_pr" else share_interval(value, size)
        found[name] = [2 * limit / (1 + limit) for limit in limits] if name == "f1" else limits
    if min(women.values()) >= LEAST_WOMEN:
        errors = np.array([np.subtract(found[name], values[name]) for name in ("recall", "specificity")])
        low, high = values["balanced_accuracy"] + np.hypot(*errors) / 2 * [-1, 1]
        found["balanced_accuracy"] = [float(low), float(high)]
    return found


def auc_roc_interval(auc: float, draws: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> list[float]:
    """Return the interval of the AUC-ROC, given draws and the numbers of BAC+ and BAC- views of each woman.

    The effective number of BAC+ views follows from the variance for independent views, that of BAC- views from the same
    design effect, but at least Kish's size.
    """
    bac, others = positives.sum(), negatives.sum()
    size = effective_size(auc_variance(auc, bac, others) * bac, draws, positives)
    least = others**2 / (negatives**2).sum()
    return auc_interval(auc, size, max(others * size / bac, least))


@dataclass(frozen=True)
class ThresholdChoice:
    """A detection threshold chosen by a rule, with its performance on the set on which it was chosen.

    Attributes:
        rule: A key of `RULES`.
        threshold: Scores of at least this are classified as BAC+.
        threshold_ci: [low, high], 95 %, from applying the rule to resamples of women; None if undefined.
        metrics: Result of `detection_metrics`.
        intervals: Result of `detection_intervals`, at the fixed threshold.
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
