"""External evaluation of a frozen model: which views count, what shifted, and what a recalibration would change."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import file_digest, write_json
from bac_utils.agreement import correlate, length_agreement
from bac_utils.cohort import age_class, age_class_labels
from bac_utils.detection import by_woman
from bac_utils.detector import OperatingPoint, find_detector
from bac_utils.evaluation.calibration import apply_recalibration, calibration_summary, recalibrated
from bac_utils.evaluation.comparison import compare_auc, compare_calls, delong_test
from bac_utils.evaluation.grey_levels import GREY_LEVELS
from bac_utils.evaluation.reference import women_seen
from bac_utils.evaluation.shift import CATEGORICAL, NUMERIC, SIDES, categorical_shift, numeric_shift
from bac_utils.evaluation.subgroups import class_of
from bac_utils.run_folder import versions
from bac_utils.statistics import describe, finite_or_none
from bac_utils.views_table import read_views
from bac_utils.women import women_table

SHIFT_NUMBERS = ("age", "spacing_mm", *GREY_LEVELS, "score")
SHIFT_CATEGORIES = ("bac", "laterality", "view", "vendor")
SUBGROUPS = ("age class", "density", "view", "side", "vendor", "pixel spacing")
DENSITY_LIMITS = (0.2, 0.4)
"""Limits of the dense share (`quantify.dense_share`); choices of this kit, not classes of the BI-RADS atlas."""
SPACING_LIMITS = (0.075, 0.11, 0.16)
"""Limits of the pixel spacing, mm: between the usual detectors of 0.05 to 0.07, 0.085 to 0.1 and 0.14 to 0.15 mm."""


def labelled_views(views: pd.DataFrame, split: str = "") -> pd.DataFrame:
    """Return the views that can be evaluated: those with a label, and of one split if it is stated.

    Args:
        views: A checked views table.
        split: A value of its column `split`; empty for all views.

    Raises:
        ValueError: No view is left, or the table has no such split.
    """
    chosen = views
    if split:
        known = sorted(set(views["split"])) if "split" in views else []
        if split not in known:
            raise ValueError(f"split: got {split!r}, must be one of the table's: {', '.join(known) or 'it has none'}")
        chosen = views[views["split"] == split]
    labelled = chosen[chosen["bac"].notna()]
    if labelled.empty:
        raise ValueError(f"cohort: got {len(chosen)} views without a label, must have views labelled 0 or 1")
    return labelled.astype({"bac": "int64"})


def check_unseen(model: str | os.PathLike | None, women: pd.Series, other_women: bool = False) -> list[str]:
    """Raise an error if women of a cohort were in the training or validation set of a model.

    Args:
        model: A .keras file or a run's folder; None for the bundled one.
        women: Identifiers.
        other_women: Whether equal identifiers are known to be those of other women.

    Returns:
        The identifiers that occur in both.

    Raises:
        ValueError: There are such identifiers, and `other_women` is False.
    """
    both = women_seen(model, women)
    if both and not other_women:
        raise ValueError(
            f"cohort: got {len(both)} women of the model's training and validation sets, such as {both[0]}, must have "
            "none: choose the test set by -p split test, or state -p other_women True if two archives use the same "
            "identifiers for other women"
        )
    return both


def check_before(
    model: str | os.PathLike | None, cohort: str | os.PathLike, split: str = "", other_women: bool = False
) -> None:
    """Raise the errors of `labelled_views` and `check_unseen` for a views table, before any view is scored."""
    views = labelled_views(read_views(cohort, check_images=False), split or "")
    check_unseen(model, views["patient_id"], bool(other_women))


def describe_model(model: str | os.PathLike | None, operating_point: str = "") -> tuple[dict, OperatingPoint]:
    """Return what is reported of a frozen model, and its operating point.

    Args:
        model: A .keras file or a run's folder; `detector`, empty or None for the bundled one.
        operating_point: Name of another threshold of the model, or a number; empty for its own.

    Raises:
        FileNotFoundError, ValueError: As `detector.find_detector` and `OperatingPoint.at`.
    """
    path, point = find_detector(model or None)
    point = point.at(operating_point) if operating_point else point
    found = {"name": "bundled detector" if model in (None, "", "detector") else str(path)}
    found |= {"sha256": file_digest(path), "threshold": point.threshold}
    found |= {"chosen_on": f"operating point {operating_point}" if operating_point else point.chosen_on}
    names = ("heatmap", "heatmap_threshold", "prevalence")
    return found | {name: getattr(point, name) for name in names}, point


def describe_cohort(views: pd.DataFrame, table: str | os.PathLike) -> dict:
    """Describe the evaluated views, and the file of their table.

    Returns:
        `women, views, bac_women, bac_views, women_without_age, age_median, age_iqr` (None if no age is known), `source`
        and `source_sha256`.
    """
    women = women_table(views)
    ages = women["age"].dropna()
    aged = describe(ages) if len(ages) else {}
    return {
        "women": len(women), "views": len(views), "bac_women": int(women["bac"].sum()),
        "bac_views": int(views["bac"].sum()), "women_without_age": int(women["age"].isna().sum()),
        "age_median": aged.get("median"), "age_iqr": aged and [aged["q1"], aged["q3"]] or None,
        "source": str(table), "source_sha256": file_digest(Path(table)),
    }  # fmt: skip


def describe_times(seconds: pd.Series) -> dict:
    """Return `views, elaboration_mean_s, elaboration_sd_s` of the times per view, s."""
    mean, spread = float(seconds.mean()), float(seconds.std())
    return {"views": len(seconds), "elaboration_mean_s": mean, "elaboration_sd_s": finite_or_none(spread)}


def write_summary(folder: Path, summary: dict) -> None:
    """Write `summary.json` of an evaluation, with its kind and the versions of the libraries."""
    write_json(folder / "summary.json", {"kind": "evaluation", "versions": versions()} | summary)


def cohort_shift(
    first: pd.DataFrame | None, second: pd.DataFrame, point: OperatingPoint
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare a cohort with the one on which the model was trained.

    Args:
        first: From `reference.reference_views`; None if the model has no run.
        second: One row per view, with the same columns.
        point: The model's operating point; the spread of its scores stands in for a missing first cohort.

    Returns:
        The results of `shift.numeric_shift`, and of `shift.categorical_shift`, which has no rows without a first
        cohort. Scores are compared by label, too.
    """
    parts, categories = [], pd.DataFrame(columns=CATEGORICAL)
    if first is not None:
        known = [name for name in SHIFT_NUMBERS if name in first]
        parts.append(numeric_shift(first, second, known))
        categories = categorical_shift(first, second, SHIFT_CATEGORIES)
    theirs, mine = (scores_by_label(views, point) for views in (first, second))
    for label, sign in enumerate("−+"):
        sides = [pd.DataFrame({"score": scores[label]}) for scores in (theirs, mine)]
        if sides[0].empty:
            continue
        row = numeric_shift(*sides, ["score"]).assign(column=f"score, BAC{sign} views")
        if first is None:
            row = row.assign(n_first=point.score_spread.views[label])
        parts.append(row)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=NUMERIC), categories


def scores_by_label(views: pd.DataFrame | None, point: OperatingPoint) -> dict[int, np.ndarray]:
    """Return the scores of views by label; without views, those of the operating point's spread, which may be empty."""
    if views is not None:
        return {label: views.loc[views["bac"] == label, "score"].to_numpy(float) for label in (0, 1)}
    spread = point.score_spread
    sides = ([], []) if spread is None else (spread.negative, spread.positive)
    return {label: np.asarray(scores, float) for label, scores in enumerate(sides)}


def length_summary(views: pd.DataFrame, samples: int = 2000, seed: int = 2023) -> dict | None:
    """Compare measured with reference lengths.

    Args:
        views: One row per view: `patient_id, bac, measured_length_mm` and, optionally, `bac_length_mm`. Rows without
            one of the lengths are left out.
        samples: Number of resamples of women for the interval.
        seed: Seed of the resamples.

    Returns:
        `views, spearman_rho, spearman_ci` of all these views, and `bac_views, bias, median_absolute_error_mm,
        limits_of_agreement_mm` of those with a reference length above 0 (`agreement.length_agreement`). None without a
        view that has both, or without a reference length above 0.
    """
    columns = ["bac_length_mm", "measured_length_mm"]
    known = views.dropna(subset=columns) if "bac_length_mm" in views else views[:0]
    with_bac = known[known["bac_length_mm"] > 0] if len(known) else known
    if with_bac.empty:
        return None
    found = correlate(known["measured_length_mm"], known["bac_length_mm"], known["patient_id"], samples, seed)
    agreed = length_agreement(with_bac["measured_length_mm"], with_bac["bac_length_mm"])
    names = ("bias", "median_absolute_error_mm", "limits_of_agreement_mm")
    about = {"views": len(known)} | {name: found[name] for name in ("spearman_rho", "spearman_ci")}
    return about | {"bac_views": len(with_bac)} | {name: agreed[name] for name in names}


def shift_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """Format the result of `shift.numeric_shift` as text: `median [quartiles]` of both cohorts, SMD and KS."""
    rows = {}
    for row in numbers.to_dict("records"):
        sides = {}
        for side, title in zip(SIDES, ("training", "this cohort"), strict=True):
            median, low, high = (row[f"{name}_{side}"] for name in ("median", "q1", "q3"))
            known = f"{median:.3g} [{low:.3g}, {high:.3g}], {row[f'n_{side}']} {row['counted']}"
            sides[title] = known if row[f"n_{side}"] else "unknown"
        values = {"SMD": row["smd"], "KS": row["ks"]}
        rows[row["column"]] = sides | {name: "-" if np.isnan(v) else f"{v:.2f}" for name, v in values.items()}
    return pd.DataFrame(rows).T


def with_subgroups(views: pd.DataFrame, age_limits: Sequence[float]) -> pd.DataFrame:
    """Add the columns `SUBGROUPS` to a table of views.

    Args:
        views: One row per view: `age, dense_share, view, laterality, vendor, spacing_mm`.
        age_limits: Upper limits of all age classes except the last, years.
    """
    codes = age_class(views["age"], age_limits)  # -1, that of a missing category, for unknown ages
    labels = age_class_labels(views["age"], age_limits) if (codes >= 0).any() else ["-"]
    return views.assign(
        **{
            "age class": pd.Categorical.from_codes(codes, labels, ordered=True),
            "density": class_of(views["dense_share"], DENSITY_LIMITS),
            "side": views["laterality"],
            "pixel spacing": class_of(views["spacing_mm"].astype(float), SPACING_LIMITS, "mm"),
        }
    )


def recalibration_by_halves(
    views: pd.DataFrame, threshold: float, samples: int = 2000, seed: int = 2023
) -> tuple[dict, pd.DataFrame]:
    """Fit a logistic recalibration on half of the women, and show what it changes on the other half.

    Args:
        views: One row per view: `patient_id, bac, score`.
        threshold: The model's detection threshold.
        samples: Number of resamples of women for each interval.
        seed: Seed of the halves, which are drawn from BAC+ and BAC- women apart, and of the resamples.

    Returns:
        `intercept, slope, fitted_on` (women), `evaluated_on` (women), `threshold` (the same calls with recalibrated
        scores), `before` and `after` (`calibration.calibration_summary` on the other half); and the views of the other
        half with `recalibrated`.

    Raises:
        ValueError: The slope is not above 0, so that the scores do not tell BAC+ from BAC- views; or as
            `calibration.recalibrated`.
    """
    women = views.groupby("patient_id")["bac"].max()
    rng, fitting = np.random.default_rng([seed, 8]), []
    for label in (0, 1):
        of_label = women.index[women == label].to_numpy()
        fitting.extend(rng.permutation(of_label)[: len(of_label) // 2])
    first = views["patient_id"].isin(fitting)
    fitted = recalibrated(views.loc[first, "bac"], views.loc[first, "score"])
    if fitted.slope <= 0:
        raise ValueError(f"score: got a slope of {fitted.slope:.2f} in the recalibration, must be above 0 to be used")
    other = views[~first]
    other = other.assign(recalibrated=apply_recalibration(other["score"], fitted))
    summaries = {
        name: calibration_summary(other["bac"], other[column], other["patient_id"], samples=samples, seed=seed)
        for name, column in (("before", "score"), ("after", "recalibrated"))
    }
    about = {"intercept": fitted.intercept, "slope": fitted.slope, "fitted_on": len(fitting)}
    about |= {"evaluated_on": len(women) - len(fitting)}
    return about | {"threshold": float(apply_recalibration([threshold], fitted)[0])} | summaries, other


def compare_two(
    views: pd.DataFrame, second: str, thresholds: tuple[float, float], samples: int = 2000, seed: int = 2023
) -> tuple[dict, pd.DataFrame]:
    """Compare two frozen models on the same views.

    Args:
        views: One row per view: `patient_id, bac, score` and the second model's scores.
        second: Column of these scores.
        thresholds: Detection thresholds of the first and the second model.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        `auc_difference` (first minus second, by view), `auc_difference_ci` and `p_bootstrap`, from
        `comparison.compare_auc`; `auc_difference_women` and `p_delong_women` from `comparison.delong_test`, one row per
        woman; and the table of McNemar's test by woman (`comparison.compare_calls`).
    """
    labels, scores = views["bac"], (views["score"], views[second])
    bootstrap = compare_auc(labels, *scores, views["patient_id"], samples, seed)
    by_model = [by_woman(views.assign(score=score).drop(columns="split", errors="ignore")) for score in scores]
    delong = delong_test(by_model[0]["bac"], *(women["score"] for women in by_model))
    found = {"auc_difference": bootstrap["difference"], "auc_difference_ci": bootstrap["ci"]}
    found |= {
        "p_bootstrap": bootstrap["p"],
        "auc_difference_women": delong["difference"],
        "p_delong_women": delong["p"],
    }
    return found, compare_calls(views, "score", second, thresholds)
