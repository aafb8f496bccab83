"""Logistic regressions of labels on the logits of scores: one by statsmodels, many weighted ones at once by Newton."""

import numpy as np
from scipy.special import expit, logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

EDGE = 1e-6
"""Scores closer to 0 or 1 than this are moved to this distance before their logit is taken (logits of -+13.8)."""
_STEPS, _CLOSE = 50, 1e-5  # the error after a step is about its square


def clipped_logit(scores: np.ndarray) -> np.ndarray:
    """Return the logits of scores in [0, 1], clipped to [`EDGE`, 1 - `EDGE`]."""
    return logit(np.clip(scores, EDGE, 1 - EDGE))


def has_slope(labels: np.ndarray, x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Say whether the logistic regression of labels on x and a constant has finite maximum likelihood estimates.

    It has none if one value of x separates the classes (Albert & Anderson, Biometrika 71:1, 1984, doi
    10.1093/biomet/71.1.1), or if x is constant.

    Args:
        labels: (N,), 0 or 1.
        x: float64 (N,).
        weights: float64 (..., N), how often each view counts; by default once.

    Returns:
        bool (...).
    """
    used = np.ones(len(x), bool) if weights is None else weights > 0
    ends = []
    for label in (0, 1):
        members = used & (labels == label)
        ends.append((np.where(members, x, np.inf).min(axis=-1), np.where(members, x, -np.inf).max(axis=-1)))
    (low0, high0), (low1, high1) = ends
    return (low1 < high0) & (low0 < high1)


def fit(labels: np.ndarray, x: np.ndarray | None = None, offset: np.ndarray | None = None) -> np.ndarray:
    """Fit a logistic regression by statsmodels' GLM.

    Args:
        labels: (N,), 0 or 1.
        x: float64 (N,); without it, only the intercept is estimated.
        offset: float64 (N,), a term with the slope 1.

    Returns:
        The intercept and, with `x`, the slope; float64 (1,) or (2,).
    """
    design = _design(len(labels), x)
    return np.asarray(GLM(labels, design, family=Binomial(), offset=offset).fit(tol=1e-10).params)


def fit_weighted(
    labels: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
    x: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> np.ndarray:
    """Fit the model of `fit` to many sets of weights at once, by Newton's method.

    statsmodels fits one set at a time, in about 2 ms; an interval takes thousands.

    Args:
        labels: (N,), 0 or 1.
        weights: float64 (samples, N), how often each view counts.
        start: The coefficients to start from, (1,) or (2,).
        x: As in `fit`.
        offset: As in `fit`.

    Returns:
        Coefficients, float64 (samples, 1) or (samples, 2), NaN where the fit did not converge.
    """
    design = _design(len(labels), x)
    size = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    found = np.tile(np.asarray(start, float), (len(weights), 1))
    left = np.arange(len(weights))
    shift = 0.0 if offset is None else offset
    for _ in range(_STEPS):
        chance = expit(found[left] @ design.T + shift)
        slope = (weights[left] * (labels - chance)) @ design
        curve = ((weights[left] * chance * (1 - chance)) @ products).reshape(-1, size, size)
        step = np.linalg.solve(curve + 1e-12 * np.eye(size), slope[..., None])[..., 0]
        found[left] += step
        left = left[np.abs(step).max(axis=1) > _CLOSE]
        if not len(left):
            break
    found[left] = np.nan
    return found


def _design(number: int, x: np.ndarray | None) -> np.ndarray:
    """Return a column of ones and, if given, x; float64 (N, 1) or (N, 2)."""
    return np.ones((number, 1)) if x is None else np.column_stack([np.ones(number), x])
