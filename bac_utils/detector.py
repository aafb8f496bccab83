"""Operating points: usual rules for the detection threshold, and the thresholds that a reader keeps.

A threshold is chosen on the validation set (or the training set), never on views that a result is reported for.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils.detection import ScoreCurve, detection_intervals, detection_metrics
from bac_utils.run_folder import file_digest, write_json
from bac_utils.settings import PUBLISHED
from bac_utils.statistics import bootstrap_women

KEPT_FILE = "kept_thresholds.json"
CHOOSING_SETS = ("validation", "train")
"""Sets that a threshold may be chosen on; the first is the default."""
LEAST_SENSITIVITY, LEAST_SPECIFICITY = 0.90, 0.95
_PAPER = PUBLISHED["detection"]["validation"]
PAPER_SPECIFICITY = _PAPER["tn"] / (_PAPER["tn"] + _PAPER["fp"])
"""Of the paper's validation set (Table 2: 787 of 799). The paper does not state its threshold."""
RULES = {
    "youden": "Youden",
    "best_f1": "best F1",
    "sensitivity": f"sensitivity ≥ {LEAST_SENSITIVITY:.2f}",
    "specificity": f"specificity ≥ {LEAST_SPECIFICITY:.2f}",
    "paper": "the paper's",
}
MEANINGS = {
    "youden": "largest sensitivity + specificity − 1",
    "best_f1": "largest F1: the rule of notebook 03",
    "sensitivity": f"highest threshold that finds at least {LEAST_SENSITIVITY:.0%} of the BAC+ views",
    "specificity": f"lowest threshold that leaves at least {LEAST_SPECIFICITY:.0%} of the BAC− views alone",
    "paper": f"lowest threshold with the specificity of the paper's validation set, {PAPER_SPECIFICITY:.3f} "
    "(the paper does not state its threshold), and the paper's Th",
}


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold by a rule, with what it gives on the set that it was chosen on.

    Attributes:
        rule: A key of `RULES`.
        threshold: A score of at least this is called BAC+.
        threshold_ci: [low, high], 95 %, the rule applied to resamples of women; None where undefined.
        metrics: As `detection.detection_metrics`.
        intervals: `{metric: [low, high]}`, 95 %, the threshold held, from resamples of women.
    """

    rule: str
    threshold: float
    threshold_ci: list[float | None]
    metrics: dict
    intervals: dict[str, list[float | None]]


def threshold_by_rule(curve: ScoreCurve, rule: str, weights: np.ndarray | None = None) -> float:
    """Choose a threshold by a rule; between two neighbouring scores it lies midway.

    Args:
        curve: Of the set's views.
        rule: A key of `RULES`.
        weights: float64 (N,), how often each view counts, in the order of the labels that made the curve.

    Returns:
        The threshold; NaN where a class has no view. Above the highest score where no view may be called.

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
    middle = high - (high - curve.cuts[place + 1]) / 2
    return float(middle if middle > curve.cuts[place + 1] else high)


def operating_points(views: pd.DataFrame, samples: int, seed: int) -> dict[str, OperatingPoint]:
    """Choose a threshold by each rule, with 95 % intervals from a bootstrap over women.

    Args:
        views: One row a view of the choosing set: `patient_id, bac, score`.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        A point for each of `RULES`.

    Raises:
        ValueError: A class has no view, or as `detection.detection_metrics`.
    """
    curve = ScoreCurve(views["bac"], views["score"])
    if not 0 < curve.labels.sum() < len(curve.labels):
        raise ValueError(
            f"bac: got {int(curve.labels.sum())} BAC+ of {len(curve.labels)} views, must hold both classes"
        )
    points = {}
    for rule in RULES:
        threshold = threshold_by_rule(curve, rule)
        drawn = bootstrap_women(views, lambda w, rule=rule: threshold_by_rule(curve, rule, w), samples, seed)
        metrics = detection_metrics(views["bac"], views["score"], threshold)
        points[rule] = OperatingPoint(
            rule, threshold, list(drawn), metrics, detection_intervals(views, threshold, samples, seed)
        )
    return points


def keep_thresholds(
    folder: str | os.PathLike,
    threshold: float,
    heatmap_threshold: float,
    chosen_on: str,
    rule: str = "by hand",
    sets_seen: Sequence[str] = (),
) -> Path:
    """Write the chosen thresholds into a run's folder, for `run` and for `score`.

    Args:
        folder: The run's folder, with `model.keras`.
        threshold: Of the score, in (0, 1].
        heatmap_threshold: Th of the heatmap, in (0, 1).
        chosen_on: The set on which both were chosen, one of `CHOOSING_SETS`.
        rule: A key of `RULES`, or `by hand`.
        sets_seen: All sets whose results were shown while choosing.

    Returns:
        `kept_thresholds.json`; `operating_point.json`, which `score` reads, gets the same thresholds if it is there.

    Raises:
        FileNotFoundError: The folder has no model.
        ValueError: A threshold is out of range, or the set is none to choose on.
    """
    folder = Path(folder)
    if chosen_on not in CHOOSING_SETS:
        raise ValueError(f"chosen_on: got {chosen_on!r}, must be one of {', '.join(CHOOSING_SETS)}")
    _check("threshold", threshold, 1.0)
    _check("heatmap_threshold", heatmap_threshold, np.nextafter(1, 0))
    model = folder / "model.keras"
    if not model.is_file():
        raise FileNotFoundError(f"{model} is not there: thresholds belong to a model")
    kept = {"threshold": float(threshold), "chosen_on": chosen_on, "rule": rule}
    kept |= {"heatmap_threshold": float(heatmap_threshold), "sets_seen": sorted({chosen_on, *sets_seen})}
    write_json(folder / KEPT_FILE, kept | {"model_sha256": file_digest(model)})
    point = folder / "operating_point.json"
    if point.is_file():
        before = json.loads(point.read_text(encoding="utf-8"))
        write_json(point, before | kept)
    return folder / KEPT_FILE


def kept_thresholds(folder: str | os.PathLike, file: str | os.PathLike = "") -> dict | None:
    """Return the thresholds that somebody kept, for the notebooks.

    Args:
        folder: The run's folder; what was kept there counts as long as its `model.keras` is the same.
        file: A `kept_thresholds.json` to take instead, of whichever run.

    Returns:
        `threshold, chosen_on, rule, heatmap_threshold, sets_seen`, or None where nothing was kept for this model.

    Raises:
        FileNotFoundError: `file` is not there.
        ValueError: The file lacks a threshold, or states no set that a threshold may be chosen on.
    """
    folder, path = Path(folder), Path(file) if file else Path(folder) / KEPT_FILE
    if not path.is_file():
        if file:
            raise FileNotFoundError(f"thresholds: {path} is not there, must be a {KEPT_FILE} or empty")
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        _check("threshold", kept["threshold"], 1.0)
        _check("heatmap_threshold", kept["heatmap_threshold"], np.nextafter(1, 0))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: holds no thresholds that were kept ({error})") from error
    if kept.get("chosen_on") not in CHOOSING_SETS:
        raise ValueError(f"{path}: chosen_on is {kept.get('chosen_on')!r}, must be one of {', '.join(CHOOSING_SETS)}")
    model = folder / "model.keras"
    if not file and (not model.is_file() or file_digest(model) != kept.get("model_sha256")):
        return None
    return kept


def _check(name: str, value: float, high: float) -> None:
    """Raise unless a threshold lies above 0 and at most at `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value <= high:
        raise ValueError(f"{name}: got {value!r}, must lie between 0 and 1")
