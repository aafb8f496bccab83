"""The cohort: inclusion of women, age classes, split into sets, and counts, from a checked views table.

The rules are those of Mobini et al., European Radiology 33:6746 (2023), "the paper".
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bac_utils.settings import Settings
from bac_utils.statistics import describe, finite_or_none, mann_whitney, trend_test, wilson
from bac_utils.views_table import SPLITS


def include_women(views: pd.DataFrame, minimum_age: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Include women by the paper's criteria, and count the others by reason.

    Each excluded woman counts under the first reason that applies to her.

    Args:
        views: A checked views table.
        minimum_age: Youngest age that is included, years (paper: 45).

    Returns:
        The included views, with `bac` as int64, and a table `reason, women, views` with one row per reason, including
        zeros: younger than the minimum age; not all four views (R and L, CC and MLO, once each); a view with an unknown
        BAC label.

    Raises:
        ValueError: No woman can be included.
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
        raise ValueError(f"views: got no woman to include ({text}), must have at least one")
    return views[kept].reset_index(drop=True).astype({"bac": "int64"}), exclusions


def women_table(views: pd.DataFrame) -> pd.DataFrame:
    """Reduce a checked views table to one row per woman.

    Args:
        views: A checked views table.

    Returns:
        `patient_id, age, bac, views, bac_views` and, if the views have one, `split`; sorted by `patient_id`. `bac` is 1
        for at least one BAC+ view (the paper's definition of a BAC+ woman), else NaN if a label is unknown, else 0;
        int64 if no woman has NaN.
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
    """Return the class of each age: 0 up to the first limit, 1 up to the second, and so on.

    Args:
        age: Ages in years; only completed years count, so 60.9 belongs to a class that ends at 60.
        limits: Upper limits of all classes except the last, years, increasing (paper: 60, 70, 73).

    Returns:
        int64 array of the shape of `age`, values 0 to len(limits).

    Raises:
        ValueError: The limits do not increase, or an age is not finite.
    """
    limits = np.asarray(limits, dtype=float)
    if limits.ndim != 1 or limits.size == 0 or not (np.diff(limits) > 0).all():
        raise ValueError(f"limits: got {limits.tolist()}, must be ages in increasing order")
    years = np.asarray(age, dtype=float)
    if not np.isfinite(years).all():
        raise ValueError("age: got a value that is not finite, must be a number of years")
    return np.searchsorted(limits, np.floor(years), side="left")


def age_class_labels(ages: Sequence[float], limits: Sequence[int]) -> list[str]:
    """Return the names of the age classes, such as the paper's `45-60, 61-70, 71-73, 74-87`.

    Args:
        ages: Ages of the cohort in years; they determine the first and the last number.
        limits: Upper limits of all classes except the last, whole years, increasing.

    Returns:
        len(limits) + 1 names.
    """
    years = np.floor(np.asarray(ages, dtype=float))
    starts = [min(int(years.min()), int(limits[0])), *(int(limit) + 1 for limit in limits)]
    ends = [*(int(limit) for limit in limits), max(int(years.max()), int(limits[-1]) + 1)]
    return [f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True)]


def population_age_limits(ages: Sequence[float]) -> tuple[int, ...]:
    """Return the quartiles of the ages as class limits, as the paper's text describes.

    The limits that the paper prints, 60, 70 and 73, are the quartiles of its BAC+ women.

    Args:
        ages: Ages of the women in years.

    Returns:
        The three quartiles (linear interpolation), rounded down to completed years.

    Raises:
        ValueError: Quartiles coincide, so that there are fewer than four classes.
    """
    years = np.floor(np.asarray(ages, dtype=float))
    limits = tuple(int(q) for q in np.floor(np.percentile(years, [25, 50, 75])))
    if len(set(limits)) < 3:
        raise ValueError(f"ages: got the quartiles {limits}, must differ to give four classes")
    return limits


def check_classes(women: pd.DataFrame) -> None:
    """Raise an error unless the cohort has both BAC+ and BAC- women.

    Args:
        women: One row per woman, with `bac` 0 or 1.

    Raises:
        ValueError: There are no BAC+ or no BAC- women, or a label is unknown.
    """
    if not women["bac"].isin([0, 1]).all():
        raise ValueError("women, column 'bac': got an unknown label, must be 0 or 1 (see include_women)")
    positive = int(women["bac"].sum())
    if positive in (0, len(women)):
        raise ValueError(
            f"women, column 'bac': got {positive} BAC+ women of {len(women)}, must have BAC+ and BAC- women"
        )


def split_women(women: pd.DataFrame, settings: Settings, seed: int) -> pd.Series:
    """Split a cohort by woman, as the paper does (Clinical dataset preparation).

    BAC+ women are shuffled and divided within each age class, BAC- women all together. Where a class does not divide
    evenly, the share of each set is rounded down or up, so that the totals of the sets stay close to the fractions.
    BAC- women are then removed at random from the training set (undersampling), until its share of BAC+ women is as
    close to `settings.train_prevalence` as possible. No woman is removed if the share is already larger. The validation
    and test sets keep the prevalence of the cohort. With fractions of 70/15/15, six BAC+ and six BAC- women are enough.

    Args:
        women: One row per woman: `patient_id, age, bac` (0 or 1). The order of the rows does not matter.
        settings: `split_fractions`, `age_limits` and `train_prevalence` are used.
        seed: Seed of the shuffles; the same seed gives the same split.

    Returns:
        Series `split`, indexed by `patient_id`, in the order of `women`: train, validation, test or unused (BAC- women
        removed by undersampling).

    Raises:
        ValueError: A woman occurs twice; the cohort has no BAC+ or no BAC- women; a set would have no BAC+ or no BAC-
            women.
    """
    fractions = np.asarray(settings.split_fractions, dtype=float)
    prevalence = settings.train_prevalence
    if women["patient_id"].duplicated().any():
        raise ValueError("women, column 'patient_id': got a woman twice, must have one row per woman")
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
                "must get at least one of each: the cohort or a share is too small"
            )
    keep = max(1, round(len(sets[0]) * (1 - prevalence) / prevalence))
    negative = [negative[0][:keep], negative[1], negative[2], negative[0][keep:]]
    sets.append([])
    assigned = {woman: SPLITS[k] for k in range(4) for woman in (*sets[k], *negative[k])}
    index = pd.Index(women["patient_id"], name="patient_id")
    return pd.Series([assigned[woman] for woman in index], index=index, name="split")


def table_one(views: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the composition of the three sets in the form of the paper's Table 1.

    Args:
        views: Included views with `bac` (0 or 1) and `split`; unused views are ignored.

    Returns:
        Text, rows `BAC+, n (%)`, `BAC-, n (%)`, `Total images`; columns `Training set`, `Validation set`, `Test set`.
        Percentages refer to the views of the set.
    """
    columns = {}
    titles = ("Training set", "Validation set", "Test set")
    for title, counts in zip(titles, split_counts(views).values(), strict=True):
        total, positive = counts["views"], counts["bac_views"]
        cells = [f"{n} ({100 * n / total:.2f})" if total else "0" for n in (positive, total - positive)]
        columns[title] = [*cells, str(total)]
    return pd.DataFrame(columns, index=["BAC+, n (%)", "BAC-, n (%)", "Total images"])


def split_counts(views: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count women, views and BAC+ views of the training, validation and test sets.

    Args:
        views: Included views with `bac` (0 or 1) and `split`.

    Returns:
        `{"train": {"women", "views", "bac_views"}, "validation": ..., "test": ...}`, ready for JSON.

    Raises:
        ValueError: The views have no `split`.
    """
    if "split" not in views:
        raise ValueError("views, column 'split': missing, must have the set of each view")
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
    """Count like `split_counts`, and raise an error if a set has no BAC+ or no BAC- views.

    Args:
        views: Included views with `bac` (0 or 1) and `split`.

    Returns:
        As `split_counts`.

    Raises:
        ValueError: A set has no BAC+ or no BAC- views, or the views have no `split`.
    """
    counts = split_counts(views)
    for name, count in counts.items():
        found = f"{count['bac_views']} BAC+ views of {count['views']}"
        if count["bac_views"] in (0, count["views"]):
            raise ValueError(f"split: {name} has {found}, must have BAC+ and BAC- views")
    return counts


def set_apart(views: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the views of the cohort, and those only measured in notebook 04 (split `quantification`)."""
    apart = views["split"] == "quantification" if "split" in views else pd.Series(False, views.index)
    return views[~apart], views[apart]


def with_split(
    views: pd.DataFrame, women: pd.DataFrame, settings: Settings, age_limits: Sequence[float]
) -> pd.DataFrame:
    """Assign each view to the set of its woman: as in the user's table if it has a `split`, else by `split_women`.

    Args:
        views: Included views.
        women: Their `women_table`.
        settings: `split_fractions`, `train_prevalence` and `seed` are used.
        age_limits: Upper limits of the first three age classes, years.

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
    """Raise the errors that notebook 01 would raise for a user's views, before any work starts.

    Args:
        views: A checked views table.
        settings: `minimum_age`, `age_limits`, `split_fractions`, `train_prevalence` and `seed` are used.
        population_limits: Whether the age classes are the quartiles of the cohort.

    Raises:
        ValueError: As `include_women`, `check_classes`, `population_age_limits`, `split_women`, `count_sets`.
    """
    included, _ = include_women(set_apart(views)[0], settings.minimum_age)
    women = women_table(included)
    check_classes(women)
    limits = population_age_limits(women["age"]) if population_limits else settings.age_limits
    count_sets(with_split(included, women, settings, limits))


def _divide(groups: list[np.ndarray], fractions: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """Divide each group by the fractions; shares are rounded down or up so that the totals follow the fractions too."""
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


def prevalence_by_class(women: pd.DataFrame, limits: Sequence[int]) -> pd.DataFrame:
    """Compute the BAC prevalence in each age class.

    Args:
        women: One row per woman: `age` in years and `bac` (0 or 1).
        limits: Upper limits of all age classes except the last, years.

    Returns:
        One row per class: `age_class` (text), `women`, `bac_women`, `prevalence`, `ci_low`, `ci_high` (Wilson's
        interval, shares); the last three are NaN in a class without women.
    """
    classes = age_class(women["age"], limits)
    rows = []
    for k, label in enumerate(age_class_labels(women["age"], limits)):
        bac = women["bac"].to_numpy()[classes == k]
        n, positives = len(bac), int(bac.sum())
        numbers = (positives / n, *wilson(positives, n)) if n else (np.nan, np.nan, np.nan)
        rows.append((label, n, positives, *numbers))
    return pd.DataFrame(rows, columns=["age_class", "women", "bac_women", "prevalence", "ci_low", "ci_high"])


def cohort_summary(women: pd.DataFrame, limits: Sequence[int]) -> dict:
    """Compute the numbers in the first paragraph of the paper's Results, with the keys of `settings.PUBLISHED`.

    Args:
        women: The table of `women_table`: `age, bac, views, bac_views`, with BAC+ and BAC- women.
        limits: Upper limits of all age classes except the last, years.

    Returns:
        `women, views, bac_women, bac_views, age_median, age_iqr`, the last two also with `_bac` and `_no_bac`,
        `age_range`, `mann_whitney_p`, `prevalence_by_age_class` (None for an empty class), `trend_p`.

    Raises:
        ValueError: All women are BAC+ or all are BAC-.
    """
    check_classes(women)
    table = prevalence_by_class(women, limits)
    has_bac = women["bac"] == 1
    ages = {"": women["age"], "_bac": women.loc[has_bac, "age"], "_no_bac": women.loc[~has_bac, "age"]}
    summary = {
        "women": len(women),
        "views": int(women["views"].sum()),
        "bac_women": int(has_bac.sum()),
        "bac_views": int(women["bac_views"].sum()),
        "mann_whitney_p": mann_whitney(ages["_bac"], ages["_no_bac"])["p"],
        "age_range": [float(women["age"].min()), float(women["age"].max())],
        "prevalence_by_age_class": [finite_or_none(share) for share in table["prevalence"]],
        "trend_p": trend_test(table["bac_women"], table["women"])["p"],
    }
    for name, group in ages.items():
        described = describe(group)
        summary[f"age_median{name}"] = described["median"]
        summary[f"age_iqr{name}"] = [described["q1"], described["q3"]]
    return summary
