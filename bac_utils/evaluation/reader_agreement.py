"""Agreement of readers: grades (kappa) and measurements (ICC, Bland-Altman). Their consensus: `readings.consensus`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from bac_utils.agreement import length_agreement
from bac_utils.evaluation.inputs import check_women, shown
from bac_utils.evaluation.shares import shares
from bac_utils.statistics import ALPHA, LEAST_WOMEN, finite_or_none, percentile_interval, resample_women

WEIGHTS = (None, "linear", "quadratic")


def weighted_kappa(
    first: Sequence,
    second: Sequence,
    grades: Sequence,
    weights: str | None = "quadratic",
    women: Sequence | None = None,
    samples: int = 1000,
    seed: int = 2023,
) -> dict:
    """Compute Cohen's kappa of two readers' grades, by scikit-learn's `cohen_kappa_score`.

    Cohen, Educ Psychol Meas 20:37 (1960), doi 10.1177/001316446002000104; with weights, Psychol Bull 70:213 (1968), doi
    10.1037/h0026256. Linear weights count a disagreement by its number of steps, quadratic ones by its square.

    Args:
        first: Grades of the first reader, one per view.
        second: Grades of the second reader for the same views.
        grades: All grades of the scale in order, also those that nobody gave: a step is one place in this list.
        weights: None, `linear` or `quadratic`.
        women: The woman of each view; by default, each view belongs to another woman.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        `n, kappa`, `ci` ([low, high], 95 %, percentiles of the bootstrap over women). `kappa` is None if both readers
        gave one and the same grade only; `ci` is [None, None] then, and with fewer than `LEAST_WOMEN` women.

    Raises:
        ValueError: The numbers of grades differ, there are none, one is not in `grades`, which must be two or more
            different ones, or the weights are unknown.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights: got {weights!r}, must be None, linear or quadratic")
    grades = list(grades)
    if len(set(grades)) != len(grades) or len(grades) < 2:
        raise ValueError(f"grades: got {grades}, must be two or more different grades")
    a, b = _same_length(first, second)
    place = {grade: number for number, grade in enumerate(grades)}
    for values, name in ((a, "first"), (b, "second")):
        for number, value in enumerate(values):
            if value not in place:
                raise ValueError(f"{name}: got {shown(value)} at position {number}, must be one of {grades}")
    codes = [np.array([place[value] for value in values]) for values in (a, b)]
    frame = check_women(range(len(a)) if women is None else women, len(a))

    def kappa(views: np.ndarray | None = None) -> float:
        x, y = codes
        counts = np.ones(len(x)) if views is None else views
        used = counts > 0
        if len(set(x[used]) | set(y[used])) < 2:
            return np.nan
        return cohen_kappa_score(x, y, labels=range(len(grades)), weights=weights, sample_weight=counts)

    found = {"n": len(a), "kappa": finite_or_none(kappa()), "ci": [None, None]}
    if found["kappa"] is None or frame["patient_id"].nunique() < LEAST_WOMEN:
        return found
    return found | {"ci": percentile_interval(resample_women(frame, kappa, samples, seed))}


def percent_agreement(
    first: Sequence, second: Sequence, women: Sequence | None = None, samples: int = 2000, seed: int = 2023
) -> dict:
    """Compute the share of views on which two readers agree. Chance alone gives agreement, too; see kappa.

    Args:
        first: Grades or labels of the first reader, one per view.
        second: Those of the second reader.
        women: The woman of each view; by default, each view belongs to another woman.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        `n, agreement`, `ci` ([low, high], 95 %, `shares.shares`; [None, None] with fewer than `LEAST_WOMEN` women).

    Raises:
        ValueError: The numbers of grades differ, there are none, or one is missing.
    """
    a, b = _same_length(first, second)
    for values, name in ((a, "first"), (b, "second")):
        missing = pd.isna(pd.Series(values, dtype=object)).to_numpy()
        if missing.any():
            raise ValueError(f"{name}: got no grade at position {int(missing.argmax())}, must be one per view")
    frame = check_women(range(len(a)) if women is None else women, len(a))
    hits = [x == y for x, y in zip(a, b, strict=True)]
    share, intervals = shares(hits, np.zeros(len(a), int), frame, samples, seed)
    return {"n": len(a), "agreement": float(share[0]), "ci": intervals[0]}


def icc_agreement(readings: Sequence[Sequence[float]]) -> dict:
    """Compute the ICC(2,1): absolute agreement of single readings, two-way random effects.

    Shrout & Fleiss, Psychol Bull 86:420 (1979), doi 10.1037/0033-2909.86.2.420; interval of McGraw & Wong, Psychol
    Methods 1:30 (1996), doi 10.1037/1082-989X.1.1.30, ICC(A,1), by F distributions. statsmodels and scikit-learn have
    no ICC. Rows are taken to be independent: give one row per woman, such as the sum of her views.

    Args:
        readings: float64 (n, k), n women or views, k readers; both at least 2.

    Returns:
        `n, readers, icc, ci` ([low, high], 95 %). `icc` is None if all readings are equal, `ci` is [None, None] if the
        readers agree exactly. An ICC below 0 means that readings of one row differ more than rows do.

    Raises:
        ValueError: The shape is another, or a reading is not finite.
    """
    table = np.asarray(readings, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"readings: got an array of shape {table.shape}, must be two or more rows and readers")
    if not np.isfinite(table).all():
        row, reader = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"readings: got {table[row, reader]:g} in row {row}, reader {reader}, must be finite")
    n, k = table.shape
    found = {"n": n, "readers": k, "icc": None, "ci": [None, None]}
    centred = table - table.mean()
    if np.ptp(table) == 0:
        return found
    of_rows, of_readers = centred.mean(axis=1), centred.mean(axis=0)
    rest = centred - of_rows[:, None] - of_readers
    rows, readers = k * (of_rows**2).sum() / (n - 1), n * (of_readers**2).sum() / (k - 1)
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    icc = (rows - error) / (rows + (k - 1) * error + k * (readers - error) / n)
    found["icc"] = float(icc)
    if readers + error <= 1e-12 * rows:
        return found
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    degrees = (a * readers + b * error) ** 2 / ((a * readers) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    below, above = stats.f.isf(ALPHA / 2, n - 1, degrees), stats.f.isf(ALPHA / 2, degrees, n - 1)
    noise = k * readers + (k * n - k - n) * error
    low = n * (rows - below * error) / (below * noise + n * rows)
    high = n * (above * rows - error) / (noise + n * above * rows)
    return found | {"ci": [float(low), float(high)]}


def reader_lengths(first: Sequence[float], second: Sequence[float]) -> dict:
    """Compare the lengths of two readers by `agreement.length_agreement` (Bland & Altman, Lancet 1986).

    Args:
        first: Lengths of the first reader, mm, above 0, one per view.
        second: Lengths of the second reader, mm. Leave out views in which a reader found nothing: that is a
            disagreement about the presence of BAC, not about its length.

    Returns:
        `views, mean_difference_mm` (first minus second), `median_absolute_difference_mm` and `limits_of_agreement_mm`
        (mean -+ 1.96 standard deviations).

    Raises:
        ValueError: The numbers of lengths differ, there are none, or one is not above 0 and finite.
    """
    a, b = (np.asarray(values, dtype=float) for values in _same_length(first, second))
    for values, name in ((a, "first"), (b, "second")):
        good = (values > 0) & np.isfinite(values)
        if not good.all():
            raise ValueError(
                f"{name}: got {values[~good][0]:g} mm at position {int((~good).argmax())}, must be above 0"
            )
    found = length_agreement(a, b)
    limits = found["limits_of_agreement_mm"]
    return {
        "views": found["views"],
        "mean_difference_mm": sum(limits) / 2,
        "median_absolute_difference_mm": found["median_absolute_error_mm"],
        "limits_of_agreement_mm": limits,
    }


def _same_length(first: Sequence, second: Sequence) -> tuple[list, list]:
    """Return both as lists; raise ValueError if they are empty or differ in length."""
    a, b = list(first), list(second)
    if not a:
        raise ValueError("first: got no values, must be one or more")
    if len(a) != len(b):
        raise ValueError(f"second: got {len(b)} values, must be {len(a)}, as many as first")
    return a, b
