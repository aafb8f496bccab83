"""Calibration: whether scores, read as probabilities, agree with the observed shares of BAC+ views.

Terms and levels of calibration follow Van Calster et al., J Clin Epidemiol 74:167 (2016), doi
10.1016/j.jclinepi.2015.12.005. Nothing here changes a score unless `apply_recalibration` is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from bac_utils.evaluation.inputs import check_labels, check_scores, check_women, enough_women, women_by_label
from bac_utils.evaluation.logistic import EDGE, clipped_logit, fit, fit_weighted, has_slope
from bac_utils.evaluation.shares import shares
from bac_utils.statistics import ALPHA, percentile_interval, weights_of_women

BINS = 10
MEASURES = ("difference", "intercept", "slope", "ece", "brier", "scaled_brier")
"""Measures of `calibration_summary` that have an interval."""


def reliability_curve(
    labels: Sequence[int],
    scores: Sequence[float],
    women: Sequence,
    bins: int = BINS,
    samples: int = 2000,
    seed: int = 2023,
) -> pd.DataFrame:
    """Compare the mean score with the observed share of BAC+ views in bins of equal numbers of views.

    Limits of bins are quantiles of the scores, as in scikit-learn's `calibration_curve` with the strategy `quantile`,
    which gives neither numbers of views nor intervals. Equal scores are always in one bin, so that there may be fewer
    bins, and of unequal size.

    Args:
        labels: 0 or 1, one per view.
        scores: In [0, 1].
        women: The woman of each view.
        bins: Number of bins, at least 1.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        One row per bin, from low to high scores: `low, high` (smallest and largest score), `views, women, bac_views`,
        `mean_score`, `observed` (share of BAC+ views), `ci_low, ci_high` (95 %, `shares.shares`; NaN with fewer than
        `LEAST_WOMEN` women).

    Raises:
        ValueError: A value breaks its rule, the numbers of values differ, or `bins` is below 1.
    """
    labels, scores, frame = _checked(labels, scores, women)
    groups = _bins(scores, bins)
    observed, intervals = shares(labels, groups, frame, samples, seed)
    table = pd.DataFrame({"bin": groups, "score": scores, "bac": labels, "patient_id": frame["patient_id"]})
    table = table.groupby("bin").agg(
        low=("score", "min"), high=("score", "max"), views=("score", "size"), women=("patient_id", "nunique"),
        bac_views=("bac", "sum"), mean_score=("score", "mean"),
    )  # fmt: skip
    limits = np.asarray(intervals, float)
    table = table.assign(observed=observed, ci_low=limits[:, 0], ci_high=limits[:, 1])
    return table.astype({"bac_views": "int64"}).reset_index(drop=True)


def calibration_summary(
    labels: Sequence[int],
    scores: Sequence[float],
    women: Sequence,
    bins: int = BINS,
    samples: int = 2000,
    seed: int = 2023,
) -> dict:
    """Summarise the calibration of scores, with 95 % percentile intervals of the bootstrap over women.

    - `difference`: observed share of BAC+ views minus mean score (calibration in the large). 0 is ideal.
    - `intercept`: of the logistic regression of the label with the logit of the score as offset. 0 is ideal; above 0,
      scores are too low on average.
    - `slope`: of the logistic regression of the label on the logit (Cox, Biometrika 45:562, 1958, doi
      10.1093/biomet/45.3-4.562). 1 is ideal; below 1, scores are too extreme.
    - `ece`: expected calibration error, the mean distance of observed share and mean score in the bins of
      `reliability_curve`, weighted by views (Naeini, Cooper & Hauskrecht, AAAI 2015, doi 10.1609/aaai.v29i1.9602). It
      is above 0 by chance alone, and its interval is shifted upwards, since each resample adds chance.
    - `brier`: mean squared difference of score and label (Brier, Mon Weather Rev 78:1, 1950).
    - `scaled_brier`: 1 - Brier score / p (1 - p), for the share p of BAC+ views (Steyerberg et al., Epidemiology
      21:128, 2010, doi 10.1097/EDE.0b013e3181c30fb2). 1 is ideal; 0 is that of the score p for all views.

    Scores closer to 0 or 1 than `EDGE` are clipped to this distance for the intercept and the slope only.

    Args:
        labels: 0 or 1, one per view.
        scores: In [0, 1].
        women: The woman of each view.
        bins: Number of bins of the ECE, at least 1.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        `views, women, bac_views, bac_women`, `clipped` (number of clipped scores), `observed` (share), `expected` (mean
        score), the measures above, `MEASURE_ci` ([low, high]) for each, and `undefined_resamples`, the number of
        resamples without a slope. With one class, intercept, slope and scaled Brier score are None; so is the slope if
        a threshold separates the classes or all scores are equal. Intervals are [None, None] with fewer than
        `LEAST_WOMEN` BAC+ or BAC- women; so is that of the slope if more than 2.5 % of the resamples have none, since
        it grows without limit in these.

    Raises:
        ValueError: As `reliability_curve`.
    """
    labels, scores, frame = _checked(labels, scores, women)
    groups, x = _bins(scores, bins), clipped_logit(scores)
    share, mixed = float(labels.mean()), 0 < labels.mean() < 1
    brier = float(brier_score_loss(labels, scores, pos_label=1))
    inside = (groups[:, None] == np.arange(groups.max() + 1)).astype(float)
    line = fit(labels, x) if has_slope(labels, x) else None
    found = {
        "views": len(labels), "women": int(frame["patient_id"].nunique()), "bac_views": int(labels.sum()),
        "bac_women": women_by_label(labels, frame)[0],
        "clipped": int(((scores < EDGE) | (scores > 1 - EDGE)).sum()),
        "observed": share, "expected": float(scores.mean()),
        "difference": share - float(scores.mean()),
        "intercept": float(fit(labels, offset=x)[0]) if mixed else None,
        "slope": None if line is None else float(line[1]),
        "ece": float(_ece(labels, scores, inside, np.ones((1, len(labels))))[0]),
        "brier": brier,
        "scaled_brier": 1 - brier / (share * (1 - share)) if mixed else None,
    }  # fmt: skip
    intervals: dict[str, list[float | None]] = {f"{name}_ci": [None, None] for name in MEASURES}
    undefined = None
    if enough_women(labels, frame):
        start = (found["intercept"], line)
        parts = [_draws(labels, scores, x, inside, w, start) for w in weights_of_women(frame, samples, seed)]
        draws = np.concatenate(parts)
        undefined = int(np.isnan(draws[:, MEASURES.index("slope")]).sum())
        for name, drawn in zip(MEASURES, draws.T, strict=True):
            if found[name] is not None and (name != "slope" or undefined <= ALPHA / 2 * samples):
                intervals[f"{name}_ci"] = percentile_interval(drawn)
    return found | intervals | {"undefined_resamples": undefined}


@dataclass(frozen=True)
class Recalibration:
    """A logistic recalibration: the new logit is `intercept` + `slope` times the logit of the score.

    Attributes:
        intercept: Finite.
        slope: Finite. Not above 0 if scores are no higher in BAC+ views; then do not apply it.
    """

    intercept: float
    slope: float

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("intercept", "slope"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name}: got {getattr(self, name)}, must be finite")


def recalibrated(labels: Sequence[int], scores: Sequence[float]) -> Recalibration:
    """Fit a logistic recalibration; it changes no score (see `apply_recalibration`).

    This is Platt's sigmoid (Advances in Large Margin Classifiers, 1999) on the logit, without his change of the labels,
    and the recalibration of Cox (1958). Fit and evaluate it on different women, or it looks better than it is.

    Args:
        labels: 0 or 1, one per view; both must occur.
        scores: In [0, 1], clipped to a distance of `EDGE` from 0 and 1.

    Returns:
        Intercept and slope, by maximum likelihood.

    Raises:
        ValueError: A value breaks its rule, there is one class only, a threshold separates the classes, or all scores
            are equal.
    """
    labels = check_labels(labels)
    x = clipped_logit(check_scores(scores, labels.size))
    if not 0 < labels.mean() < 1:
        raise ValueError(f"labels: got {int(labels.sum())} BAC+ of {labels.size} views, must have both classes")
    if not has_slope(labels, x):
        raise ValueError(
            f"scores: got {_span(x)}, must be neither all equal nor separate the classes, which has no finite slope"
        )
    intercept, slope = fit(labels, x)
    return Recalibration(float(intercept), float(slope))


def apply_recalibration(scores: Sequence[float], recalibration: Recalibration) -> np.ndarray:
    """Return recalibrated scores, float64 (N,), in (0, 1).

    A positive slope keeps the order of the scores, and so the AUC. Thresholds chosen before do not hold any more.

    Args:
        scores: In [0, 1], clipped to a distance of `EDGE` from 0 and 1.
        recalibration: From `recalibrated`, fitted on other women.

    Raises:
        ValueError: A score is outside [0, 1].
    """
    x = clipped_logit(check_scores(scores, np.size(scores)))
    return expit(recalibration.intercept + recalibration.slope * x)


def _span(x: np.ndarray) -> str:
    """Return the range of scores as text, given their logits."""
    return f"scores from {expit(x.min()):.3g} to {expit(x.max()):.3g}"


def _checked(labels: Sequence[int], scores: Sequence[float], women: Sequence):
    """Return checked labels and scores, float64 (N,), and the women as a frame."""
    labels = check_labels(labels)
    return labels, check_scores(scores, labels.size), check_women(women, labels.size)


def _bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each score, 0, 1, ..., without empty bins."""
    if bins != int(bins) or bins < 1:
        raise ValueError(f"bins: got {bins}, must be a whole number of 1 or more")
    lower = np.searchsorted(np.sort(scores), scores)  # number of views with a lower score
    return np.unique(lower * int(bins) // len(scores), return_inverse=True)[1]


def _ece(labels: np.ndarray, scores: np.ndarray, inside: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ECE for weights (samples, N), given the bins as (N, k) of 0 and 1."""
    return np.abs((weights * (labels - scores)) @ inside).sum(axis=1) / weights.sum(axis=1)


def _draws(labels, scores, x, inside, weights, start) -> np.ndarray:
    """Return `MEASURES` for each row of weights, float64 (samples, 6), NaN where undefined."""
    total = weights.sum(axis=1)
    share = weights @ labels / total
    mixed = (share > 0) & (share < 1)
    intercept, slope = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    intercept[mixed] = fit_weighted(labels, weights[mixed], [start[0]], offset=x)[:, 0]
    if start[1] is not None:
        fits = mixed & has_slope(labels, x, weights)
        slope[fits] = fit_weighted(labels, weights[fits], start[1], x)[:, 1]
    brier = weights @ (labels - scores) ** 2 / total
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(mixed, 1 - brier / (share * (1 - share)), np.nan)
    ece = _ece(labels, scores, inside, weights)
    return np.stack([share - weights @ scores / total, intercept, slope, ece, brier, scaled], axis=1)
