"""How many women an evaluation needs for 95 % intervals of a wanted half-width."""

import math
from collections.abc import Sequence

import pandas as pd
from statsmodels.stats.proportion import samplesize_confint_proportion

from bac_utils.evaluation.inputs import check_share
from bac_utils.statistics import ALPHA, Z


def design_effect(views_per_woman: float, correlation: float) -> float:
    """Return the factor by which the variance of a share grows if a woman has several views.

    1 + (m - 1) rho, for m views per woman and the correlation rho of the calls of a woman's views (Kish, Survey
    Sampling, 1965, section 5.4). It is 1 for one view per woman, and m if a woman's views always agree.

    Args:
        views_per_woman: 1 or more, of the label concerned.
        correlation: 0 to 1.

    Raises:
        ValueError: A number breaks its rule.
    """
    if not 1 <= views_per_woman < math.inf:
        raise ValueError(f"views_per_woman: got {views_per_woman:g}, must be 1 or more and finite")
    return 1 + (views_per_woman - 1) * check_share(correlation, "correlation", ends=True)


def women_for_share(share: float, half_width: float, views_per_woman: float = 1, correlation: float = 1.0) -> int:
    """Return how many women of one label the interval of sensitivity (BAC+) or specificity (BAC-) needs.

    z^2 p (1 - p) / d^2 views (normal approximation: statsmodels' `samplesize_confint_proportion`; for sensitivity and
    specificity Buderer, Acad Emerg Med 3:895, 1996, doi 10.1111/j.1553-2712.1996.tb03538.x) times the design effect,
    divided by the views per woman. With the default correlation, views beyond the first add nothing. Above about 0.95,
    the intervals of `statistics.share_interval` are wider than planned here on the side of lower values.

    Args:
        share: Expected sensitivity or specificity, above 0 and below 1.
        half_width: Wanted half-width of the interval, above 0 and below 1.
        views_per_woman: Views of this label per woman, 1 or more.
        correlation: Of the calls of a woman's views, 0 to 1.

    Raises:
        ValueError: A number breaks its rule.
    """
    share, half_width = check_share(share, "share"), check_share(half_width, "half_width")
    views = float(samplesize_confint_proportion(share, half_width, alpha=ALPHA)) * design_effect(
        views_per_woman, correlation
    )
    return _up(views / views_per_woman)


def women_for_auc(
    auc: float, half_width: float, prevalence: float, views_per_woman: float = 1, correlation: float = 1.0
) -> tuple[int, int]:
    """Return how many BAC+ and BAC- women the interval of the AUC-ROC needs at a prevalence.

    Smallest numbers, in the ratio of the prevalence, for which z times Hanley & McNeil's standard error (Radiology
    143:29, 1982, doi 10.1148/radiology.143.1.7063747) is at most the half-width, times the design effect and divided by
    the views per woman.

    Args:
        auc: Expected AUC-ROC, above 0 and below 1.
        half_width: Wanted half-width of the interval, above 0 and below 1.
        prevalence: Share of BAC+ women, above 0 and below 1.
        views_per_woman: Views per woman, 1 or more.
        correlation: Of a woman's views, 0 to 1; a simplification, as for a share.

    Raises:
        ValueError: A number breaks its rule.
    """
    auc, half_width = check_share(auc, "auc"), check_share(half_width, "half_width")
    ratio = (1 - check_share(prevalence, "prevalence")) / prevalence
    factor = design_effect(views_per_woman, correlation) / views_per_woman
    # With n positives and ratio * n negatives: variance * ratio * n^2 = base + (n - 1) a + (ratio n - 1) b.
    a, b = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    base = auc * (1 - auc)
    wanted = ratio * (half_width / Z) ** 2
    linear = a + ratio * b
    n = (linear + math.sqrt(linear**2 + 4 * wanted * (base - a - b))) / (2 * wanted)
    return _up(n * factor), _up(n * ratio * factor)


def hanley_mcneil_se(auc: float, positives: float, negatives: float) -> float:
    """Return Hanley & McNeil's standard error of an AUC-ROC (1982), for independent observations.

    Args:
        auc: 0 to 1.
        positives: Number of positives, above 0.
        negatives: Number of negatives, above 0.

    Raises:
        ValueError: A number breaks its rule.
    """
    auc = check_share(auc, "auc", ends=True)
    for name, number in (("positives", positives), ("negatives", negatives)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name}: got {number:g}, must be above 0 and finite")
    a, b = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    return math.sqrt((auc * (1 - auc) + (positives - 1) * a + (negatives - 1) * b) / (positives * negatives))


def sample_size_table(
    prevalence: float,
    values: Sequence[float] = (0.8, 0.85, 0.9, 0.95),
    half_widths: Sequence[float] = (0.03, 0.05, 0.1),
    views_per_woman: float = 1,
    correlation: float = 1.0,
) -> pd.DataFrame:
    """Tabulate the women that are needed for usual values of sensitivity, specificity and AUC-ROC.

    Args:
        prevalence: Share of BAC+ women, above 0 and below 1.
        values: Expected values.
        half_widths: Wanted half-widths of the 95 % intervals.
        views_per_woman: Views per woman of the label concerned, 1 or more.
        correlation: Of the calls of a woman's views, 0 to 1.

    Returns:
        One row per metric, value and half-width: `metric, value, half_width, bac_women, women`. `women` is the number
        of all women among whom that many BAC+ (for specificity: BAC-) women are expected; `bac_women` those among
        them with BAC.

    Raises:
        ValueError: A number breaks its rule.
    """
    prevalence = check_share(prevalence, "prevalence")
    rows = []
    for metric in ("sensitivity", "specificity", "AUC-ROC"):
        for value in values:
            for half_width in half_widths:
                if metric == "AUC-ROC":
                    bac, others = women_for_auc(value, half_width, prevalence, views_per_woman, correlation)
                    women = bac + others
                else:
                    needed = women_for_share(value, half_width, views_per_woman, correlation)
                    women = _up(needed / (prevalence if metric == "sensitivity" else 1 - prevalence))
                    bac = needed if metric == "sensitivity" else women - needed
                rows.append((metric, value, half_width, bac, women))
    return pd.DataFrame(rows, columns=["metric", "value", "half_width", "bac_women", "women"])


def _up(number: float) -> int:
    """Return the next whole number, without being misled by rounding errors."""
    return max(1, math.ceil(number - 1e-9))
