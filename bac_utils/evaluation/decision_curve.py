"""Decision curves: the net benefit of acting on a score, against acting on all women or on none.

Vickers & Elkin, Med Decis Making 26:565 (2006), doi 10.1177/0272989X06295361.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.detection import ScoreCurve
from bac_utils.evaluation.inputs import check_labels, check_scores, check_share, check_women, enough_women
from bac_utils.statistics import percentile_interval, weights_of_women

THRESHOLDS = tuple(round(0.01 * k, 2) for k in range(1, 100))


def decision_curve(
    labels: Sequence[int],
    scores: Sequence[float],
    women: Sequence,
    thresholds: Sequence[float] = THRESHOLDS,
    prevalence: float | None = None,
    samples: int = 2000,
    seed: int = 2023,
) -> pd.DataFrame:
    """Compute the net benefit of a model over threshold probabilities.

    The net benefit is TP / n - FP / n * pt / (1 - pt). The threshold probability pt states that one missed case is as
    bad as (1 - pt) / pt needless actions. A score of at least pt is a call, so scores must be probabilities: check
    their calibration first. With a stated prevalence, it is sensitivity * prevalence - (1 - specificity) * (1 -
    prevalence) * pt / (1 - pt), for a sample in which the share of BAC+ views is not that of the women concerned.

    Args:
        labels: 0 or 1, one per view (or per woman, which is the usual unit of an action).
        scores: In [0, 1].
        women: The woman of each view.
        thresholds: Threshold probabilities, above 0 and below 1.
        prevalence: Above 0 and below 1; by default the share of the labels.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        One row per threshold: `threshold, net_benefit, ci_low, ci_high` (95 %, percentiles), `treat_all`,
        `treat_none` (0), `over_default` (net benefit minus that of the better default), `over_low, over_high` (95 %;
        the better default is chosen anew in each resample). A net benefit of 0.05 equals 5 more true positives of 100
        without a false positive. Intervals are NaN with fewer than `LEAST_WOMEN` BAC+ or BAC- women.

    Raises:
        ValueError: A value breaks its rule, the numbers of values differ, or a prevalence is stated for one class.
    """
    labels = check_labels(labels)
    scores, frame = check_scores(scores, labels.size), check_women(women, labels.size)
    points = np.array([check_share(pt, "thresholds") for pt in np.atleast_1d(thresholds)])
    if prevalence is not None:
        prevalence = check_share(prevalence, "prevalence")
        if not 0 < labels.mean() < 1:
            raise ValueError(f"labels: got {int(labels.sum())} BAC+ of {labels.size}, must have both for a prevalence")
    curve = ScoreCurve(labels, scores)
    benefit, treat_all = (values[0] for values in _benefits(curve, np.ones((1, labels.size)), points, prevalence))
    table = pd.DataFrame({"threshold": points, "net_benefit": benefit, "ci_low": np.nan, "ci_high": np.nan})
    table = table.assign(treat_all=treat_all, treat_none=0.0, over_default=benefit - np.maximum(treat_all, 0))
    table = table.assign(over_low=np.nan, over_high=np.nan)
    if enough_women(labels, frame):
        parts = [_benefits(curve, weights, points, prevalence) for weights in weights_of_women(frame, samples, seed)]
        drawn, drawn_all = (np.concatenate(part) for part in zip(*parts, strict=True))
        table[["ci_low", "ci_high"]] = _limits(drawn)
        table[["over_low", "over_high"]] = _limits(drawn - np.maximum(drawn_all, 0))
    return table


def _benefits(
    curve: ScoreCurve, weights: np.ndarray, points: np.ndarray, prevalence: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the net benefits of the model and of treating all for weights (samples, N), each (samples, thresholds)."""
    tps, fps = curve.cumulate(weights)
    called = np.searchsorted(-curve.cuts, -points, side="right")
    start = np.zeros((len(weights), 1))
    tp, fp = (np.concatenate([start, counts], axis=1)[:, called] for counts in (tps, fps))
    bac, others = tps[:, -1:], fps[:, -1:]
    odds = points / (1 - points)
    if prevalence is None:
        total = bac + others
        return (tp - fp * odds) / total, (bac - others * odds) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        benefit = tp / bac * prevalence - fp / others * (1 - prevalence) * odds
    return benefit, np.broadcast_to(prevalence - (1 - prevalence) * odds, benefit.shape)


def _limits(draws: np.ndarray) -> np.ndarray:
    """Return the percentile interval of each column, float64 (k, 2), NaN where undefined."""
    return np.array([percentile_interval(column) for column in draws.T], dtype=float)
