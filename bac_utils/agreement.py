"""Which heatmap to measure on, and how well measured lengths agree with true ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.settings import DEFAULT_THRESHOLD, PAPER_THRESHOLD


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
    if (
        measured.size != true.size
        or not measured.size
        or not (np.isfinite(measured).all() and ((true > 0) & (true < np.inf)).all())
    ):
        raise ValueError(f"true: got {true.size} lengths, must be {measured.size}, above 0")
    error = measured - true
    spread = 1.96 * float(error.std(ddof=1)) if error.size > 1 else 0.0
    return {
        "views": int(true.size),
        "median_absolute_error_mm": float(np.median(np.abs(error))),
        "median_relative_error": float(np.median(np.abs(error) / true)),
        "bias": float(error.mean() / true.mean()),
        "limits_of_agreement_mm": [float(error.mean()) - spread, float(error.mean()) + spread],
    }
