"""Comparison of models on the same views: AUC-ROC by DeLong's test and by a bootstrap over women, calls by McNemar."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bac_utils.detection import METRICS, ScoreCurve, by_woman
from bac_utils.evaluation.inputs import check_columns, check_labels, check_scores, check_women, enough_women
from bac_utils.statistics import LEAST_P, Z, percentile_interval, weights_of_women

PARTS = ("sensitivity", "specificity", "accuracy")
_AUC = METRICS.index("auc_roc")


def delong_test(labels: Sequence[int], first: Sequence[float], second: Sequence[float]) -> dict:
    """Compare the AUC-ROC of two models by DeLong's test for correlated curves.

    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988), doi 10.2307/2531595, computed from midranks (Sun & Xu,
    IEEE Signal Process Lett 21:1389, 2014, doi 10.1109/LSP.2014.2337313). It takes the rows to be independent: use it
    with one row per woman, and `compare_auc` with several views per woman.

    Args:
        labels: 0 or 1, one per row.
        first: Scores of the first model, finite.
        second: Scores of the second model for the same rows.

    Returns:
        `auc_first, auc_second`, `difference` (first minus second), `ci` ([low, high], 95 %, normal approximation),
        `se` (standard error of the difference), `z` and the two-sided `p`. Without both classes all are None; `se` and
        what follows from it need two rows of each. If the difference does not vary, `z` is None, and `p` is 1 for a
        difference of 0, else None.

    Raises:
        ValueError: A value breaks its rule, or the numbers of values differ.
    """
    labels = check_labels(labels)
    scores = np.stack([check_scores(s, labels.size, n, False) for s, n in ((first, "first"), (second, "second"))])
    found = dict.fromkeys(("auc_first", "auc_second", "difference"), None) | {"ci": [None, None]}
    found |= dict.fromkeys(("se", "z", "p"), None)
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if not positives or not negatives:
        return found
    of_positives, of_negatives = structural_components(labels, scores)
    auc = of_positives.mean(axis=1)
    difference = float(auc[0] - auc[1])
    found |= {"auc_first": float(auc[0]), "auc_second": float(auc[1]), "difference": difference}
    if min(positives, negatives) < 2:
        return found
    parts = [(parts[0] - parts[1]).var(ddof=1) / parts.shape[1] for parts in (of_positives, of_negatives)]
    se = float(np.sqrt(sum(parts)))
    if se < 1e-12:  # not exactly 0 for equal models, by rounding
        return found | {"ci": [difference] * 2, "se": 0.0, "p": 1.0 if abs(difference) < 1e-12 else None}
    z = difference / se
    p = max(float(2 * stats.norm.sf(abs(z))), LEAST_P)
    return found | {"ci": [difference - Z * se, difference + Z * se], "se": se, "z": z, "p": p}


def structural_components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return DeLong's structural components of each model.

    Args:
        labels: (N,), 0 or 1; both occur.
        scores: float64 (models, N).

    Returns:
        For each positive row, the share of negative rows with a lower score (ties count half), float64 (models,
        positives); for each negative row, the share of positive rows with a higher score, (models, negatives). The mean
        of each is the AUC-ROC.
    """
    positive = labels == 1
    m, n = positive.sum(), (~positive).sum()
    every = stats.rankdata(scores, axis=1)
    of_positives = (every[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n
    of_negatives = 1 - (every[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m
    return of_positives, of_negatives


def compare_auc(
    labels: Sequence[int],
    first: Sequence[float],
    second: Sequence[float],
    women: Sequence,
    samples: int = 2000,
    seed: int = 2023,
) -> dict:
    """Compare the AUC-ROC of two models by a bootstrap over women, which allows for several views per woman.

    Args:
        labels: 0 or 1, one per view.
        first: Scores of the first model, finite.
        second: Scores of the second model for the same views.
        women: The woman of each view.
        samples: Number of resamples of women; each is used for both models.
        seed: Seed of the resamples.

    Returns:
        `auc_first, auc_second`, `difference` (first minus second), `ci` ([low, high], 95 %, percentiles) and the
        two-sided `p`: twice the smaller share of resamples with a difference of at most, or at least, 0, with 1 added
        to both counts (Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 4.2.3), so that it is
        at least 2 / (samples + 1). Interval and p are None with fewer than `LEAST_WOMEN` BAC+ or BAC- women, all with
        one class.

    Raises:
        ValueError: A value breaks its rule, or the numbers of values differ.
    """
    labels = check_labels(labels)
    scores = [check_scores(s, labels.size, n, False) for s, n in ((first, "first"), (second, "second"))]
    frame = check_women(women, labels.size)
    curves = [ScoreCurve(labels, values) for values in scores]
    auc = [curve.metrics(np.ones(labels.size), 0.0)["auc_roc"] for curve in curves]
    found = {"auc_first": auc[0], "auc_second": auc[1], "difference": None, "ci": [None, None], "p": None}
    if auc[0] is None:
        return found
    found["difference"] = auc[0] - auc[1]
    if not enough_women(labels, frame):
        return found
    draws = np.concatenate([_auc_difference(curves, w) for w in weights_of_women(frame, samples, seed)])
    draws = np.where(np.abs(draws) < 1e-12, 0.0, draws)
    low, high = percentile_interval(draws)
    if low is None:
        return found
    defined = draws[np.isfinite(draws)]
    sides = [(1 + int(part.sum())) / (1 + defined.size) for part in (defined <= 0, defined >= 0)]
    return found | {"ci": [low, high], "p": min(1.0, 2 * min(sides))}


def compare_models(
    labels: Sequence[int],
    models: Mapping[str, Sequence[float]],
    women: Sequence,
    samples: int = 2000,
    seed: int = 2023,
) -> pd.DataFrame:
    """Compare the AUC-ROC of each pair of models by `compare_auc`, with Holm's correction for the number of pairs.

    Args:
        labels: 0 or 1, one per view.
        models: Scores of the same views by the model's name, two models or more.
        women: The woman of each view.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        One row per pair: `first, second, auc_first, auc_second, difference, ci_low, ci_high, p, p_holm`.

    Raises:
        ValueError: There are fewer than two models, or as `compare_auc`.
    """
    if len(models) < 2:
        raise ValueError(f"models: got {len(models)}, must be two or more")
    rows = []
    for first, second in itertools.combinations(models, 2):
        found = compare_auc(labels, models[first], models[second], women, samples, seed)
        low, high = found.pop("ci")
        rows.append({"first": first, "second": second, **found, "ci_low": low, "ci_high": high})
    table = pd.DataFrame(rows)
    table["p_holm"] = holm([row["p"] for row in rows])
    numbers = ["auc_first", "auc_second", "difference", "ci_low", "ci_high", "p", "p_holm"]
    return table[["first", "second", *numbers]].astype(dict.fromkeys(numbers, float))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number (Holm, Scand J Stat 6:65, 1979), by statsmodels.

    Args:
        p_values: In [0, 1]; None is not counted and stays None.

    Returns:
        Corrected p values in the same order.

    Raises:
        ValueError: A p value is outside [0, 1].
    """
    known = [p for p in p_values if p is not None]
    for p in known:
        if not 0 <= p <= 1:
            raise ValueError(f"p_values: got {p}, must be between 0 and 1 or None")
    corrected = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return [None if p is None else next(corrected) for p in p_values]


def compare_calls(
    views: pd.DataFrame, first: str, second: str, thresholds: tuple[float, float], level: str = "woman"
) -> pd.DataFrame:
    """Compare the calls of two models at their thresholds by McNemar's test (Psychometrika 12:153, 1947).

    The test takes the rows to be independent. Views of a woman are not: at the level `view`, p is usually too small.

    Args:
        views: One row per view: `patient_id, bac` (0 or 1), the two columns of scores and, optionally, `exam`.
        first: Column with the scores of the first model.
        second: Column with the scores of the second model.
        thresholds: Those of the first and the second model; scores of at least this are BAC+.
        level: `woman`, by `detection.by_woman` (the highest score and label of each exam), or `view`.

    Returns:
        Rows for the parts `sensitivity` (BAC+ only), `specificity` (BAC- only) and `accuracy` (all): `n`, the shares
        `first, second` of right calls, `only_first, only_second` (numbers that only one model called right), `p_exact`
        (binomial), `chi2` and `p_chi2` (with continuity correction; Edwards, Psychometrika 13:185, 1948). Shares are
        NaN without rows; both p are 1 and `chi2` 0 if the models are right on the same rows.

    Raises:
        ValueError: A column is missing, a value breaks its rule, or the level is unknown.
    """
    check_columns(views, ["patient_id", "bac", first, second], "views")
    if level not in ("view", "woman"):
        raise ValueError(f"level: got {level!r}, must be view or woman")
    labels = check_labels(views["bac"], "bac")
    check_women(views["patient_id"], labels.size, "patient_id")
    if "exam" in views:
        views = views.assign(exam=views["exam"].fillna(""))  # `by_woman` would drop rows without an exam
    right = []
    for column, threshold in zip((first, second), thresholds, strict=True):
        scores = check_scores(views[column], labels.size, column, False)
        rows = views.assign(bac=labels, score=scores)
        rows = rows if level == "view" else by_woman(rows.drop(columns="split", errors="ignore"))
        right.append((rows["score"].to_numpy() >= threshold) == (rows["bac"].to_numpy() == 1))
    known = rows["bac"].to_numpy()
    chosen = {"sensitivity": known == 1, "specificity": known == 0, "accuracy": known >= 0}
    return pd.DataFrame([{"part": part, **_mcnemar(*(r[chosen[part]] for r in right))} for part in PARTS])


def _mcnemar(first: np.ndarray, second: np.ndarray) -> dict:
    """Return the results of one part, given which calls are right."""
    table = np.array([[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), 0]])
    table[1, 1] = first.size - table.sum()
    found = {
        "n": first.size, "first": first.mean() if first.size else np.nan,
        "second": second.mean() if first.size else np.nan,
        "only_first": int(table[0, 1]), "only_second": int(table[1, 0]), "p_exact": 1.0, "chi2": 0.0, "p_chi2": 1.0,
    }  # fmt: skip
    if table[0, 1] + table[1, 0] == 0:
        return found
    exact, approximate = mcnemar(table, exact=True), mcnemar(table, exact=False, correction=True)
    return found | {
        "p_exact": max(float(exact.pvalue), LEAST_P),
        "chi2": float(approximate.statistic),
        "p_chi2": max(float(approximate.pvalue), LEAST_P),
    }


def _auc_difference(curves: Sequence[ScoreCurve], weights: np.ndarray) -> np.ndarray:
    """Return the difference of the AUC-ROC of two curves for weights (samples, N), NaN where undefined."""
    first, second = (curve.metrics_of_resamples(weights, 0.0)[:, _AUC] for curve in curves)
    return first - second
