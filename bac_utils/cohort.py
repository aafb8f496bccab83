"""The cohort: include women, class their ages, split them, count them. All start from a checked views table.

Source of the rules: Mobini et al., European Radiology 33:6746 (2023), "the paper".
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bac_utils.settings import Settings
from bac_utils.views_table import SPLITS


def include_women(views: pd.DataFrame, minimum_age: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the women whom the paper would include, and count the others by reason.

    Each excluded woman counts under the first reason that holds for her.

    Args:
        views: A checked views table.
        minimum_age: Years; a woman of exactly this age stays (paper: 45).

    Returns:
        The included views, with `bac` as int64, and a table `reason, women, views` with one row a reason,
        zeros included: younger than the minimum age; not all four views (R and L, CC and MLO, once each); a
        view whose BAC label is unknown.

    Raises:
        ValueError: No woman is left.
    """
    woman = views.groupby("patient_id")
    distinct = (views["laterality"] + views["view"]).groupby(views["patient_id"])
    four = (distinct.transform("nunique") == 4) & (distinct.transform("size") == 4)
    reasons = {
        f"younger than {minimum_age:g} years": woman["age"].transform("min") < minimum_age,
        "not all four views": ~four,
        "BAC label unknown": views["bac"].isna().groupby(views["patient_id"]).transform("any"),
    }
    kept = pd.Series(True, index=views.index)
    counts = []
    for reason, holds in reasons.items():
        out = views[kept & holds]
        counts.append((reason, out["patient_id"].nunique(), len(out)))
        kept &= ~holds
    exclusions = pd.DataFrame(counts, columns=["reason", "women", "views"])
    if not kept.any():
        text = ", ".join(f"{women} {reason}" for reason, women, _ in counts if women)
        raise ValueError(f"views: got no woman to include ({text}), must hold at least one")
    return views[kept].reset_index(drop=True).astype({"bac": "int64"}), exclusions


def women_table(views: pd.DataFrame) -> pd.DataFrame:
    """Reduce a checked views table to one row a woman.

    Args:
        views: A checked views table.

    Returns:
        `patient_id, age, bac, views, bac_views` and `split` where the views have one, sorted by `patient_id`.
        `bac` is 1 with at least one BAC+ view, as the paper defines a BAC+ woman, else NaN if a label is
        unknown, else 0; int64 where no label is unknown.
    """
    group = views.groupby("patient_id")
    women = group.agg(age=("age", "first"), bac=("bac", "max"), views=("bac", "size"), bac_views=("bac", "sum"))
    unknown = views["bac"].isna().groupby(views["patient_id"]).any()
    women["bac"] = women["bac"].where((women["bac"] == 1) | ~unknown)
    women["bac_views"] = women["bac_views"].astype("int64")
    if women["bac"].notna().all():
        women["bac"] = women["bac"].astype("int64")
    if "split" in views:
        women["split"] = group["split"].first()
    return women.reset_index()


def age_class(age: float | Sequence[float], limits: Sequence[float]) -> np.ndarray:
    """Class of each age: 0 up to the first limit, then 1 up to the second, and so on.

    Args:
        age: Ages in years; completed years count, so 60.9 belongs to a class that ends at 60.
        limits: Upper ends of all classes but the last, years, rising (paper: 60, 70, 73).

    Returns:
        int64 array of the shape of `age`, values 0 to len(limits).

    Raises:
        ValueError: The limits do not rise, or an age is not finite.
    """
    limits = np.asarray(limits, dtype=float)
    if limits.ndim != 1 or limits.size == 0 or not (np.diff(limits) > 0).all():
        raise ValueError(f"limits: got {limits.tolist()}, must be ages in rising order")
    years = np.asarray(age, dtype=float)
    if not np.isfinite(years).all():
        raise ValueError("age: got a value that is not finite, must be years")
    return np.searchsorted(limits, np.floor(years), side="left")


def age_class_labels(ages: Sequence[float], limits: Sequence[int]) -> list[str]:
    """Names of the age classes, such as the paper's `45-60, 61-70, 71-73, 74-87`.

    Args:
        ages: The cohort's ages in years; they give the first and the last number.
        limits: Upper ends of all classes but the last, whole years, rising.

    Returns:
        len(limits) + 1 names.
    """
    years = np.floor(np.asarray(ages, dtype=float))
    starts = [min(int(years.min()), int(limits[0])), *(int(limit) + 1 for limit in limits)]
    ends = [*(int(limit) for limit in limits), max(int(years.max()), int(limits[-1]) + 1)]
    return [f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True)]


def population_age_limits(ages: Sequence[float]) -> tuple[int, ...]:
    """Quartiles of the ages as class limits: what the paper's text says.

    (The limits that the paper prints, 60, 70 and 73, are the quartiles of its BAC+ women.)

    Args:
        ages: Ages of the women in years.

    Returns:
        The three quartiles (linear interpolation) in completed years, which class whole ages in the same way.

    Raises:
        ValueError: Quartiles coincide, so that they bound no four classes.
    """
    years = np.floor(np.asarray(ages, dtype=float))
    limits = tuple(int(q) for q in np.floor(np.percentile(years, [25, 50, 75])))
    if len(set(limits)) < 3:
        raise ValueError(f"ages: got the quartiles {limits}, must differ to bound four classes")
    return limits


def check_classes(women: pd.DataFrame) -> None:
    """Refuse a cohort in which all women are BAC+ or all are BAC-.

    Args:
        women: One row a woman, with `bac` 0 or 1.

    Raises:
        ValueError: A class has no woman, or a label is unknown.
    """
    if not women["bac"].isin([0, 1]).all():
        raise ValueError("women, column 'bac': got an unknown label, must be 0 or 1 (see include_women)")
    positive = int(women["bac"].sum())
    if positive in (0, len(women)):
        raise ValueError(
            f"women, column 'bac': got {positive} BAC+ women of {len(women)}, must hold BAC+ and BAC- women"
        )


def split_women(women: pd.DataFrame, settings: Settings, seed: int) -> pd.Series:
    """Split a cohort by woman, as the paper does (Clinical dataset preparation).

    BAC+ women are shuffled and divided within each age class, BAC- women all together. A class that does not
    divide evenly gives each set its share rounded down or up; which of the two, the sets' totals so far
    decide. Then BAC- women leave the training set, at random, until its share of BAC+ women is as near to
    `settings.train_prevalence` as whole women allow; a training set that has this share already stays whole.
    Validation and test set keep the cohort's prevalence. (At 70/15/15, six women of each class are enough.)

    Args:
        women: One row a woman: `patient_id, age, bac` (0 or 1). The order of the rows does not matter.
        settings: Its `split_fractions`, `age_limits` and `train_prevalence` are used.
        seed: Seed of the shuffles; the same seed gives the same split.

    Returns:
        Series named `split`, indexed by `patient_id`, in the order of `women`: train, validation, test or
        unused (BAC- women whom the undersampling left out).

    Raises:
        ValueError: A woman comes twice; the settings are no shares; a class is missing from the cohort; a set
            would be left without BAC+ or without BAC- women.
    """
    fractions = np.asarray(settings.split_fractions, dtype=float)
    if fractions.shape != (3,) or (fractions <= 0).any() or not np.isclose(fractions.sum(), 1):
        raise ValueError(f"split_fractions: got {settings.split_fractions}, must be 3 shares of sum 1")
    prevalence = settings.train_prevalence
    if not 0 < prevalence < 1:
        raise ValueError(f"train_prevalence: got {prevalence}, must lie between 0 and 1")
    if women["patient_id"].duplicated().any():
        raise ValueError("women, column 'patient_id': got a woman twice, must hold one row a woman")
    check_classes(women)
    rng = np.random.default_rng(seed)
    ordered = women.sort_values("patient_id")
    positive = ordered[ordered["bac"] == 1]
    classes = age_class(positive["age"], settings.age_limits)
    groups = [positive["patient_id"].to_numpy()[classes == k] for k in range(len(settings.age_limits) + 1)]
    sets = _divide(groups, fractions, rng)
    negative = _divide([ordered.loc[ordered["bac"] == 0, "patient_id"].to_numpy()], fractions, rng)
    for split, with_bac, without in zip(SPLITS, sets, negative, strict=False):
        if not with_bac or not without:
            shares = "/".join(f"{100 * share:g}" for share in fractions)
            raise ValueError(
                f"women: got {len(positive)} BAC+ and {len(women) - len(positive)} BAC- women, of whom the "
                f"{split} set would get {len(with_bac)} and {len(without)}; each set of the {shares} split "
                "must get at least one of both: the cohort, or a share, is too small"
            )
    keep = max(1, round(len(sets[0]) * (1 - prevalence) / prevalence))
    negative = [negative[0][:keep], negative[1], negative[2], negative[0][keep:]]
    sets.append([])
    assigned = {woman: SPLITS[k] for k in range(4) for woman in (*sets[k], *negative[k])}
    index = pd.Index(women["patient_id"], name="patient_id")
    return pd.Series([assigned[woman] for woman in index], index=index, name="split")


def table_one(views: pd.DataFrame) -> pd.DataFrame:
    """Composition of the three sets in the form of the paper's Table 1.

    Args:
        views: Included views with `bac` (0 or 1) and `split`; unused ones are left out.

    Returns:
        Text, rows `BAC+, n (%)`, `BAC-, n (%)`, `Total images`; columns `Training set`, `Validation set`,
        `Test set`. Percentages are of the set's views.
    """
    columns = {}
    titles = ("Training set", "Validation set", "Test set")
    for title, counts in zip(titles, split_counts(views).values(), strict=True):
        total, positive = counts["views"], counts["bac_views"]
        cells = [f"{n} ({100 * n / total:.2f})" if total else "0" for n in (positive, total - positive)]
        columns[title] = [*cells, str(total)]
    return pd.DataFrame(columns, index=["BAC+, n (%)", "BAC-, n (%)", "Total images"])


def split_counts(views: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Women, views and BAC+ views of the training, validation and test set.

    Args:
        views: Included views with `bac` (0 or 1) and `split`.

    Returns:
        `{"train": {"women", "views", "bac_views"}, "validation": ..., "test": ...}`, ready for JSON.

    Raises:
        ValueError: The views have no `split`.
    """
    if "split" not in views:
        raise ValueError("views, column 'split': missing, must hold the set of each view")
    counts = {}
    for split in SPLITS[:3]:
        part = views[views["split"] == split]
        counts[split] = {
            "women": int(part["patient_id"].nunique()),
            "views": len(part),
            "bac_views": int(part["bac"].sum()),
        }
    return counts


def count_sets(views: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count as `split_counts`, and refuse a set without BAC+ or without BAC- views.

    Args:
        views: Included views with `bac` (0 or 1) and `split`.

    Returns:
        As `split_counts`.

    Raises:
        ValueError: A set has no BAC+ or no BAC- view, or the views have no `split`.
    """
    counts = split_counts(views)
    for name, count in counts.items():
        found = f"{count['bac_views']} BAC+ views of {count['views']}"
        if count["bac_views"] in (0, count["views"]):
            raise ValueError(f"split: {name} has {found}, must hold BAC+ and BAC- views")
    return counts


def set_apart(views: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part a checked views table: the cohort's views, and those kept for notebook 04 alone (split `quantification`)."""
    apart = views["split"] == "quantification" if "split" in views else pd.Series(False, views.index)
    return views[~apart], views[apart]


def with_split(
    views: pd.DataFrame, women: pd.DataFrame, settings: Settings, age_limits: Sequence[float]
) -> pd.DataFrame:
    """Give each view its woman's set: as the user's table says, where it does, else by `split_women`.

    Args:
        views: Included views.
        women: Their `women_table`.
        settings: Uses `split_fractions`, `train_prevalence` and `seed`.
        age_limits: Upper ends of the first three age classes, years.

    Returns:
        The views with a column `split`.

    Raises:
        ValueError: As `split_women`.
    """
    if "split" in views:
        return views
    split = split_women(women, replace(settings, age_limits=tuple(age_limits)), settings.seed)
    return views.assign(split=views["patient_id"].map(split))


def check_cohort(views: pd.DataFrame, settings: Settings, population_limits: bool = False) -> None:
    """Raise where notebook 01 would stop at a user's views, before any work.

    Args:
        views: A checked views table.
        settings: Uses `minimum_age`, `age_limits`, `split_fractions`, `train_prevalence`, `seed`.
        population_limits: Whether the age classes are the cohort's own quartiles.

    Raises:
        ValueError: As `include_women`, `check_classes`, `population_age_limits`, `split_women`, `count_sets`.
    """
    included, _ = include_women(set_apart(views)[0], settings.minimum_age)
    women = women_table(included)
    check_classes(women)
    limits = population_age_limits(women["age"]) if population_limits else settings.age_limits
    count_sets(with_split(included, women, settings, limits))


def _divide(groups: list[np.ndarray], fractions: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """Divide each group by the fractions, rounding shares down or up so that the totals keep to them too."""
    sets: list[list[str]] = [[] for _ in fractions]
    due = np.zeros(len(fractions))
    for group in groups:
        shuffled = rng.permutation(group)
        ideal = np.round(len(group) * fractions, 9)
        sizes = np.floor(ideal).astype(int)
        due += ideal
        behind = due - [len(s) for s in sets] - sizes
        behind[ideal == sizes] = -np.inf  # an exact share stays exact
        sizes[np.argsort(-behind, kind="stable")[: len(group) - sizes.sum()]] += 1
        for members, part in zip(sets, np.split(shuffled, np.cumsum(sizes)[:-1]), strict=True):
            members.extend(part.tolist())
    return sets
