"""Which heatmap to measure on, and how well measured areas and lengths follow true lengths."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bac_utils.settings import DEFAULT_THRESHOLD, PAPER_THRESHOLD
from bac_utils.statistics import bootstrap_women, check_numbers, describe

_EVANS = ((0.2, "very weak"), (0.4, "weak"), (0.6, "moderate"), (0.8, "strong"))


def choose_heatmap(
    curve: pd.DataFrame | None, form: str | None, threshold: float | None, default: str
) -> tuple[str, float, str]:
    """Choose the form of the heatmap and its Th: the pair with the largest rho.

    Args:
        curve: Spearman's rho of area and length on the validation set, a row a Th (the index), a column a form; None
            where lengths are not known.
        form: Wanted form, or None.
        threshold: Wanted Th, or None. It need not be among the curve's.
        default: Form without a curve; Th is then `DEFAULT_THRESHOLD` for `cells`, else `PAPER_THRESHOLD`.

    Returns:
        Form, Th, and what they were chosen on: `given`, `validation` or `default`. Of equal pairs the first form, and
        the Th nearest the middle.

    Raises:
        ValueError: The wanted form is not in the curve.
    """
    if form is not None and curve is not None and form not in curve:
        raise ValueError(f"heatmap: got {form!r}, must be one that the model can give: {', '.join(curve)}")
    if form is not None and threshold is not None:
        return form, threshold, "given"
    if curve is None:
        form = form or default
        usual = DEFAULT_THRESHOLD if form == "cells" else PAPER_THRESHOLD
        return form, usual if threshold is None else threshold, "default"
    part = curve[[form]] if form else curve
    if threshold is not None:
        nearest = min(part.index, key=lambda th: abs(th - threshold))
        return str(part.loc[nearest].idxmax()), threshold, "validation"
    best = float(part.max().max())
    form = next(name for name in part if part[name].max() == best)
    equal = part.index[part[form] == best]
    return str(form), float(min(equal, key=lambda th: abs(th - 0.5))), "validation"


def correlate(
    area: Sequence[float],
    length: Sequence[float],
    groups: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 2023,
) -> dict:
    """Correlate the estimated BAC area with the measured length, as the paper does.

    Pearson's r where both variables are normal (Lilliefors), else Spearman's rho. The p values take the views
    for independent; the interval does not.

    Args:
        area: Finite numbers, one a view.
        length: The same of the length.
        groups: The woman of each view, for the bootstrap; by default each view is a woman of her own.
        samples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        `n, method` (`pearson` or `spearman`), `coefficient, p` of that method, `evans` (its wording),
        `spearman_rho, spearman_ci` ([low, high], bootstrap over women), `spearman_p`. With fewer than 3
        views, or a variable of one value, the method is spearman and the numbers are None.

    Raises:
        ValueError: The variables do not pair up, are empty, or hold a value that is not finite.
    """
    area, length = check_numbers(area, "area"), check_numbers(length, "length")
    groups = np.arange(area.size) if groups is None else np.asarray(groups)
    if not area.size == length.size == groups.size:
        raise ValueError(f"length: got {length.size} values and {groups.size} groups, must be {area.size} each")
    rho = p = None
    interval = [None, None]
    if area.size >= 3 and np.ptp(area) > 0 and np.ptp(length) > 0:
        rho, p = (float(x) for x in stats.spearmanr(area, length))
        ranks = [np.unique(x, return_inverse=True)[1] for x in (area, length)]
        frame = pd.DataFrame({"patient_id": groups})
        interval = list(bootstrap_women(frame, lambda w: _weighted_spearman(*ranks, w), samples, seed))
    result = {"n": int(area.size), "method": "spearman", "coefficient": rho, "p": p}
    if rho is not None and all(describe(x)["normal"] for x in (area, length)):
        r, p_pearson = (float(x) for x in stats.pearsonr(area, length))
        result |= {"method": "pearson", "coefficient": r, "p": p_pearson}
    evans_text = None if rho is None else evans(result["coefficient"])
    return result | {"evans": evans_text, "spearman_rho": rho, "spearman_ci": interval, "spearman_p": p}


def evans(r: float) -> str:
    """Evans's (1996) wording of a correlation, sign left out.

    Args:
        r: -1 to 1.

    Returns:
        very weak (below 0.2), weak (0.4), moderate (0.6), strong (0.8) or very strong.

    Raises:
        ValueError: `r` is no correlation.
    """
    if not abs(r) <= 1 + 1e-9:
        raise ValueError(f"r: got {r}, must lie between -1 and 1")
    return next((word for limit, word in _EVANS if abs(r) < limit), "very strong")


def length_agreement(measured: Sequence[float], true: Sequence[float]) -> dict:
    """Compare measured lengths with true ones, in mm and not only in rank.

    Args:
        measured: mm, one a view.
        true: mm, above 0.

    Returns:
        `views`; `median_absolute_error_mm`; `median_relative_error` (of the true length); `bias`, the mean difference
        over the mean true length; `limits_of_agreement_mm`, mean difference -+ 1.96 deviations (Bland & Altman 1986).

    Raises:
        ValueError: They do not pair up, are empty or not finite, or a true length is not above 0.
    """
    measured, true = np.asarray(measured, float), np.asarray(true, float)
    if measured.size != true.size or not measured.size:
        raise ValueError(f"true: got {true.size} lengths for {measured.size} measured ones, must be as many, 1 or more")
    for name, values, good in (
        ("measured", measured, np.isfinite(measured)),
        ("true", true, (true > 0) & (true < np.inf)),
    ):
        if not good.all():
            rule = "above 0" if name == "true" else "finite"
            raise ValueError(f"{name}: got a length of {values[~good][0]:g} mm, must be {rule}")
    error = measured - true
    spread = 1.96 * float(error.std(ddof=1)) if error.size > 1 else 0.0
    return {
        "views": int(true.size),
        "median_absolute_error_mm": float(np.median(np.abs(error))),
        "median_relative_error": float(np.median(np.abs(error) / true)),
        "bias": float(error.mean() / true.mean()),
        "limits_of_agreement_mm": [float(error.mean()) - spread, float(error.mean()) + spread],
    }


def _weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return Spearman's rho of rows that count `weights` times; x and y are dense ranks, 0, 1, ..."""

    def centred(codes: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes, weights)
        mid = (np.cumsum(counts) - (counts - 1) / 2)[codes]
        return mid - np.average(mid, weights=weights)

    a, b = centred(x), centred(y)
    norm = np.sqrt((weights @ a**2) * (weights @ b**2))
    return float(weights @ (a * b) / norm) if norm > 0 else np.nan
