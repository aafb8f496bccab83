"""Detection by view, by breast and by woman."""

import pandas as pd

from bac_utils.detection import by_woman, detection_intervals, detection_metrics
from bac_utils.views_table import exam_keys

LEVELS = ("views", "breasts", "women")


def by_breast(predictions: pd.DataFrame) -> pd.DataFrame:
    """Reduce predictions to one row per breast, and per exam: BAC+ if any view is, with the highest score of its views.

    Args:
        predictions: One row per view: `patient_id, laterality, bac, score` and, optionally, `exam`.

    Returns:
        `patient_id, laterality`, `exam` if there are any, `bac, score, views`.
    """
    keys = [*exam_keys(predictions), "laterality"]
    columns = {"bac": ("bac", "max"), "score": ("score", "max"), "views": ("score", "size")}
    return predictions.groupby(keys).agg(**columns).reset_index()


def detection_by_level(
    predictions: pd.DataFrame, threshold: float, samples: int = 2000, seed: int = 2023
) -> dict[str, dict]:
    """Summarise the detection performance of each of `LEVELS`.

    Args:
        predictions: One row per view: `patient_id, laterality, bac` (0 or 1), `score` and, optionally, `exam`.
        threshold: Scores of at least this are classified as BAC+. A breast or a woman has the highest score of
            its views.
        samples: Number of resamples of women for each interval.
        seed: Seed of the resamples.

    Returns:
        By level: the keys of `detection.detection_metrics`, and `METRIC_ci` ([low, high], 95 %). PPV is None if
        nothing is called.
    """
    found = {}
    for level, rows in rows_by_level(predictions).items():
        metrics = detection_metrics(rows["bac"], rows["score"], threshold)
        if metrics["tp"] + metrics["fp"] == 0:
            metrics["precision"] = None  # `detection_metrics` has the paper's 0
        limits = detection_intervals(rows, threshold, samples, seed)
        found[level] = metrics | {f"{name}_ci": limit for name, limit in limits.items()}
    return found


def rows_by_level(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each of `LEVELS`; see `detection_by_level`."""
    women = by_woman(predictions.drop(columns="split", errors="ignore"))
    return dict(zip(LEVELS, (predictions, by_breast(predictions), women), strict=True))
