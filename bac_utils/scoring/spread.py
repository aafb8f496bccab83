"""How the scores of an archive are spread, beside those on which the model was calibrated.

The two differ if the archive has other acquisitions, other women or more BAC than the calibration views. More or less
BAC is expected in an archive and no reason for a warning: the archive's scores are compared with the closest mixture of
the BAC- and the BAC+ calibration views.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from bac_utils._files import read_json
from bac_utils.detector import find_detector
from bac_utils.statistics import ScoreSpread

LEAST_VIEWS = 30
"""Fewest scored views for a comparison."""
PERCENTS = (50, 90, 99)
LARGEST_PREVALENCE = 0.5
LARGEST_DISTANCE = 0.2
"""Kolmogorov-Smirnov distance up to which scores count as alike: at no threshold does the share of BAC+ views differ by
more than 20 percentage points."""
BAND = 1.36
"""Divided by the root of n: 95 % critical value of the Kolmogorov-Smirnov distance of n independent values (Smirnov,
Annals of Mathematical Statistics 19:279, 1948). Views of one woman are not independent, which the fixed part of the
limit has to cover."""


@dataclass(frozen=True)
class Comparison:
    """Scores of an archive compared with those of the calibration views.

    Attributes:
        views: Number of scores.
        prevalence: Share of BAC+ views in the mixture of calibration views.
        shares: Share of views with a score of at least the threshold: in the archive, and in the mixture.
        percentiles: The `PERCENTS` of the scores: in the archive, and in the mixture.
        distance: Kolmogorov-Smirnov distance to the closest mixture with at most `LARGEST_PREVALENCE` BAC+ views.
        limit: `LARGEST_DISTANCE` + `BAND` / sqrt(`views`).
        higher: Whether their mean is higher than in the mixture with `prevalence`.
    """

    views: int
    prevalence: float
    shares: tuple[float, float]
    percentiles: tuple[np.ndarray, np.ndarray]
    distance: float
    limit: float
    higher: bool


def compare_scores(
    scores: np.ndarray, threshold: float, spread: ScoreSpread, prevalence: float | None = None
) -> Comparison:
    """Compare scores with those of the calibration views.

    Args:
        scores: (n,), in [0, 1].
        threshold: Detection threshold.
        spread: Spread of the scores of the calibration views.
        prevalence: Share of BAC+ views in the mixture that is expected; by default that of the calibration views.
    """
    scores = np.sort(np.asarray(scores, float))
    if prevalence is None:
        prevalence = spread.views[1] / sum(spread.views)
    values, counts = np.unique(scores, return_counts=True)
    up_to = np.cumsum(counts) / len(scores)
    found = np.concatenate([up_to - counts / len(scores), up_to])
    classes = [np.concatenate(_shares(of, values)) for of in (spread.negative, spread.positive)]

    def largest_difference(share: float) -> float:  # convex, as the largest of affine functions
        return np.abs((1 - share) * classes[0] + share * classes[1] - found).max()

    closest = minimize_scalar(largest_difference, bounds=(0, LARGEST_PREVALENCE), method="bounded")
    means = [np.trapezoid(of) / (len(of) - 1) for of in (spread.negative, spread.positive)]
    knots = np.unique([*spread.negative, *spread.positive])
    negative, positive = (np.ravel(_shares(of, knots), order="F") for of in (spread.negative, spread.positive))
    mixture = (1 - prevalence) * negative + prevalence * positive
    below = [float(_shares(of, np.array([threshold]))[0][0]) for of in (spread.negative, spread.positive)]
    return Comparison(
        len(scores),
        prevalence,
        (float((scores >= threshold).mean()), prevalence * (1 - below[1]) + (1 - prevalence) * (1 - below[0])),
        (np.percentile(scores, PERCENTS), np.interp(np.array(PERCENTS) / 100, mixture, np.repeat(knots, 2))),
        float(closest.fun),
        float(LARGEST_DISTANCE + BAND / np.sqrt(len(scores))),
        bool(scores.mean() > (1 - prevalence) * means[0] + prevalence * means[1]),
    )


def describe_spread(scores_csv: str | os.PathLike, model: str | os.PathLike | None = None) -> tuple[list[str], str]:
    """Describe the scores of a table by `batch.score_files` beside those of the model's calibration views.

    Args:
        scores_csv: The table, with its `.json`.
        model: As for `score_files`.

    Returns:
        Lines for the user, none with fewer than `LEAST_VIEWS` scored views, and a warning, empty if the two are alike.
    """
    table = pd.read_csv(scores_csv, usecols=["status", "score"])
    scores = table.loc[table["status"] == "scored", "score"].to_numpy(float)
    if len(scores) < LEAST_VIEWS:
        return [], ""
    _, point = find_detector(model)
    if point.score_spread is None:
        return ["scores are not compared with calibration: the model does not carry the spread of its scores"], ""
    threshold = read_json(Path(f"{os.fspath(scores_csv)}.json"))["operating_point"]["threshold"]
    found = compare_scores(scores, threshold, point.score_spread, point.prevalence)
    (share, expected), percentiles = found.shares, zip(PERCENTS, *found.percentiles, strict=True)
    lines = [
        f"scores of {found.views} views (in brackets: calibration, with {found.prevalence:.0%} BAC+ views)",
        f"at or above the threshold of {threshold:g}: {share:.1%} ({expected:.1%})",
        "percentiles: " + ", ".join(f"{percent}th {own:.3f} ({other:.3f})" for percent, own, other in percentiles),
    ]
    if found.distance <= found.limit:
        return lines, ""
    word, effect = ("higher", "expect more false alarms") if found.higher else ("lower", "arteries may be missed")
    return lines, (
        f"scores are {word} than in calibration (distance {found.distance:.2f}, limit {found.limit:.2f}): {effect}; "
        "look at some views, and choose the threshold on this archive (docs/scoring.md, The detection threshold)"
    )


def _shares(percentiles: tuple[float, ...], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of scores below, and of at most, each value; scores are spread evenly between percentiles."""
    of, shares = np.asarray(percentiles, float), np.linspace(0, 1, len(percentiles))
    # where percentiles are equal, `interp` returns the last of their shares
    up_to = np.interp(values, of, shares, left=0, right=1)
    return 1 - np.interp(-values, -of[::-1], shares, left=0, right=1), up_to
