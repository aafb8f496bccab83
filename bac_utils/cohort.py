"""The cohort: inclusion of women, age classes, split into sets, and counts, from a checked views table.

The rules are those of Mobini et al., European Radiology 33:6746 (2023), "the paper".
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bac_utils.settings import Settings
from bac_utils.statistics import describe, finite_or_none, mann_whitney, trend_test, wilson
from bac_utils.views_table import SETS, exam_keys
from bac_utils.women import women_table

NEEDED_BY = {
    "train": "notebook 02 needs them to train the network",
    "validation": "notebook 02 needs them to choose the epoch, notebook 03 the threshold",
    "test": "notebook 03 needs them to test the network",
}
UNKNOWN_AGE = -1
"""The age class of women without an age."""


def exclusion_reasons(views: pd.DataFrame, minimum_age: float, all_views: bool = True) -> dict[str, pd.Series]:
    """Say of each view by which of the paper's criteria its exam is excluded; without an age she is not too young.

    Args:
        views: A checked views table.
        minimum_age: Youngest age that is included, years (paper: 45).
        all_views: Whether a woman must have all four views (paper); else one is enough.

    Returns:
        By reason, bool with the table's index: younger than the minimum age; not all four views of one exam (R and L,
        CC and MLO, once each; "not applied" and False if `all_views` is False); a view with an unknown BAC label.
    """
    exam = [views[name] for name in exam_keys(views)]
    distinct = (views["laterality"] + views["view"]).groupby(exam)
    four = (distinct.transform("nunique") == 4) & (distinct.transform("size") == 4)
    return {
        f"younger than {minimum_age:g} years": views["age"].groupby(exam).transform("min") < minimum_age,
        "not all four views" if all_views else "not all four views (not applied)": ~four & all_views,
        "BAC label unknown": views["bac"].isna().groupby(exam).transform("any"),
    }


def include_women(views: pd.DataFrame, minimum_age: float, all_views: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Include women by the paper's criteria, with the arguments of `exclusion_reasons`, and count the others by reason.

    Returns:
        The included views, with `bac` as int64, and `reason, women, views` of the others, also for reasons that exclude
        nobody. An excluded exam counts under the first reason that applies to it, an excluded woman under the reason
        that leaves none of her exams.

    Raises:
        ValueError: No woman can be included.
    """
    reasons = exclusion_reasons(views, minimum_age, all_views)
    first = pd.Series(np.select(list(reasons.values()), range(len(reasons)), len(reasons)), views.index)
    last = first.groupby(views["patient_id"]).transform("max")
    counts = [
        (why, views["patient_id"][last == number].nunique(), int((first == number).sum()))
        for number, why in enumerate(reasons)
    ]
    kept = first == len(reasons)
    if not kept.any():
        text = ", ".join(f"{women} {reason}" for reason, women, _ in counts if women)
        raise ValueError(f"views: got no woman to include ({text}), must have at least one")
    included = views[kept].reset_index(drop=True).astype({"bac": "int64"})
    return included, pd.DataFrame(counts, columns=["reason", "women", "views"])


def age_class(age: float | Sequence[float], limits: Sequence[float]) -> np.ndarray:
    """Return the class of each age: 0 up to the first limit, 1 up to the second, and so on.

    Args:
        age: Ages in years, NaN where unknown; only completed years count, so 60.9 belongs to a class that ends at 60.
        limits: Upper limits of all classes except the last, years, increasing (paper: 60, 70, 73).

    Returns:
        int64 array of the shape of `age`, values 0 to len(limits), and `UNKNOWN_AGE` for NaN.

    Raises:
        ValueError: The limits do not increase, or an age is infinite.
    """
    limits = np.asarray(limits, dtype=float)
    if limits.ndim != 1 or limits.size == 0 or not (np.diff(limits) > 0).all():
        raise ValueError(f"limits: got {limits.tolist()}, must be ages in increasing order")
    years = np.asarray(age, dtype=float)
    if np.isinf(years).any():
        raise ValueError("age: got an infinite value, must be a number of years, or NaN")
    return np.where(np.isnan(years), UNKNOWN_AGE, np.searchsorted(limits, np.floor(years), side="left"))


def age_class_labels(ages: Sequence[float], limits: Sequence[int]) -> list[str]:
    """Return the names of the age classes, such as the paper's `45-60, 61-70, 71-73, 74-87`.

    Args:
        ages: Ages of the cohort in years; those that are known determine the first and the last number.
        limits: Upper limits of all classes except the last, whole years, increasing.

    Returns:
        len(limits) + 1 names.

    Raises:
        ValueError: No age is known.
    """
    years = _completed_years(ages)
    starts = [min(int(years.min()), int(limits[0])), *(int(limit) + 1 for limit in limits)]
    ends = [*(int(limit) for limit in limits), max(int(years.max()), int(limits[-1]) + 1)]
    return [f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True)]


def population_age_limits(ages: Sequence[float]) -> tuple[int, ...]:
    """Return the quartiles of the ages as class limits, as the paper's text describes.

    The limits that the paper prints, 60, 70 and 73, are the quartiles of its BAC+ women.

    Args:
        ages: Ages of the women in years, NaN where unknown.

    Returns:
        The three quartiles (linear interpolation) of the known ages, rounded down to completed years.

    Raises:
        ValueError: No age is known, or quartiles coincide, so that there are fewer than four classes.
    """
    years = _completed_years(ages)
    limits = tuple(int(q) for q in np.floor(np.percentile(years, [25, 50, 75])))
    if len(set(limits)) < 3:
        raise ValueError(f"ages: got the quartiles {limits}, must differ to give four classes")
    return limits


def _completed_years(ages: Sequence[float]) -> np.ndarray:
    """Return the known ages, float64, rounded down; raise ValueError if there are none."""
    years = np.floor(np.asarray(ages, dtype=float))
    years = years[~np.isnan(years)]
    if not years.size:
        raise ValueError("ages: got no known age, must have at least one to make age classes")
    return years


def check_classes(women: pd.DataFrame) -> None:
    """Raise an error unless the cohort has both BAC+ and BAC- women, each once.

    Args:
        women: One row per woman: `patient_id` and `bac` (0 or 1).

    Raises:
        ValueError: A woman occurs twice, there are no BAC+ or no BAC- women, or a label is unknown.
    """
    if women["patient_id"].duplicated().any():
        raise ValueError("women, column 'patient_id': got a woman twice, must have one row per woman")
    if not women["bac"].isin([0, 1]).all():
        raise ValueError("women, column 'bac': got an unknown label, must be 0 or 1 (see include_women)")
    positive = int(women["bac"].sum())
    if positive in (0, len(women)):
        raise ValueError(
            f"women, column 'bac': got {positive} BAC+ women of {len(women)}, must have BAC+ and BAC- women"
        )


def split_women(women: pd.DataFrame, settings: Settings, seed: int) -> pd.Series:
    """Split a cohort by woman, as the paper does (Clinical dataset preparation).

    BAC+ women are shuffled and divided within each age class, of which those without an age are one, BAC- women all
    together. Where a class does not divide evenly, each share is rounded down or up, so that the totals of the sets
    stay close to the fractions. BAC- women are then removed at random from the training set (undersampling), until its
    share of BAC+ women is as close to `settings.train_prevalence` as possible. No woman is removed if it is already
    larger. The other sets keep the prevalence of the cohort. With 70/15/15, six BAC+ and six BAC- women are enough.

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
    check_classes(women)
    assigned = assign_sets(women, SETS, settings.split_fractions, settings, np.random.default_rng(seed))
    index = pd.Index(women["patient_id"], name="patient_id")
    return pd.Series([assigned[woman] for woman in index], index=index, name="split")


def assign_sets(
    women: pd.DataFrame, names: Sequence[str], shares: Sequence[float], settings: Settings, rng: np.random.Generator
) -> dict[str, str]:
    """Divide women by the rules of `split_women` into any number of sets, of which the first is undersampled.

    Args:
        women: One row per woman: `patient_id, age, bac` (0 or 1).
        names: Names of the sets.
        shares: Shares of the sets, which sum to 1.
        settings: `age_limits` and `train_prevalence` are used.
        rng: Generator of the shuffles.

    Returns:
        The set of each woman by `patient_id`; `unused` for women removed by undersampling.

    Raises:
        ValueError: A set would have no BAC+ or no BAC- women.
    """
    shares, ordered = np.asarray(shares, dtype=float), women.sort_values("patient_id")
    positive, negative = (ordered[ordered["bac"] == label] for label in (1, 0))
    classes = age_class(positive["age"], settings.age_limits)
    known = range(len(settings.age_limits) + 1)
    with_bac = _divide([positive["patient_id"].to_numpy()[classes == k] for k in (*known, UNKNOWN_AGE)], shares, rng)
    without = _divide([negative["patient_id"].to_numpy()], shares, rng)
    for name, some, others in zip(names, with_bac, without, strict=True):
        if not some or not others:
            split = "/".join(f"{100 * share:.3g}" for share in shares)
            raise ValueError(
                f"women: got {len(positive)} BAC+ and {len(negative)} BAC- women, of whom the "
                f"{name} set would get {len(some)} and {len(others)}; each set of the {split} split "
                "must get at least one of each: the cohort or a share is too small"
            )
    prevalence = settings.train_prevalence
    keep = max(1, round(len(with_bac[0]) * (1 - prevalence) / prevalence))
    assigned = dict.fromkeys(without[0][keep:], "unused")
    without[0] = without[0][:keep]
    for name, some, others in zip(names, with_bac, without, strict=True):
        assigned |= dict.fromkeys([*some, *others], name)
    return assigned


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
    for split in SETS:
        part = views[views["split"] == split]
        women, positive = int(part["patient_id"].nunique()), int(part["bac"].sum())
        counts[split] = {"women": women, "views": len(part), "bac_views": positive}
    return counts


def count_sets(views: pd.DataFrame, needed: Collection[str] = SETS) -> dict[str, dict[str, int]]:
    """Count like `split_counts`, and raise an error if a set that is needed has no BAC+ or no BAC- views.

    Args:
        views: Included views with `bac` (0 or 1) and `split`.
        needed: Names of sets.

    Returns:
        As `split_counts`.

    Raises:
        ValueError: A needed set has no women, no BAC+ views or no BAC- views, or the views have no `split`.
    """
    counts = split_counts(views)
    for name in needed:
        count = counts[name]
        if not count["women"]:
            raise ValueError(f"split: got no women in {name}; {NEEDED_BY[name]}")
        if count["bac_views"] in (0, count["views"]):
            found = f"{count['bac_views']} BAC+ views of {count['views']}"
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


def check_cohort(
    views: pd.DataFrame, settings: Settings, population_limits: bool = False, needed: Collection[str] = SETS
) -> None:
    """Raise the errors that the notebooks would raise for a user's views, before any work starts.

    Args:
        views: A checked views table.
        settings: `minimum_age`, `all_views`, `age_limits`, `split_fractions`, `train_prevalence` and `seed` are used.
        population_limits: Whether the age classes are the quartiles of the cohort.
        needed: Names of the sets that later notebooks need.

    Raises:
        ValueError: As `include_women`, `check_classes`, `population_age_limits`, `split_women`, `count_sets`.
    """
    included, _ = include_women(set_apart(views)[0], settings.minimum_age, settings.all_views)
    women = women_table(included)
    check_classes(women)
    limits = population_age_limits(women["age"]) if population_limits else settings.age_limits
    count_sets(with_split(included, women, settings, limits), needed)


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
        women: One row per woman: `age` in years and `bac` (0 or 1); women without an age (NaN) are left out.
        limits: Upper limits of all age classes except the last, years.

    Returns:
        One row per class, none if no age is known: `age_class` (text), `women`, `bac_women`, `prevalence`, `ci_low`,
        `ci_high` (Wilson's interval, shares); the last three are NaN in a class without women.
    """
    classes = age_class(women["age"], limits)
    rows = []
    for k, label in enumerate(age_class_labels(women["age"], limits) if women["age"].notna().any() else ()):
        bac = women["bac"].to_numpy()[classes == k]
        n, positives = len(bac), int(bac.sum())
        numbers = (positives / n, *wilson(positives, n)) if n else (np.nan, np.nan, np.nan)
        rows.append((label, n, positives, *numbers))
    return pd.DataFrame(rows, columns=["age_class", "women", "bac_women", "prevalence", "ci_low", "ci_high"])


def known_ages(women: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the known ages of all women, of BAC+ and of BAC- women, by the endings of the keys of `cohort_summary`.

    Args:
        women: One row per woman: `age` in years (NaN where unknown) and `bac` (0 or 1).

    Returns:
        Ages in years by `""`, `"_bac"` and `"_no_bac"`.
    """
    aged = women[women["age"].notna()]
    return {"": aged["age"], "_bac": aged.loc[aged["bac"] == 1, "age"], "_no_bac": aged.loc[aged["bac"] == 0, "age"]}


def cohort_summary(women: pd.DataFrame, limits: Sequence[int]) -> dict:
    """Compute the numbers in the first paragraph of the paper's Results, with the keys of `settings.PUBLISHED`.

    Args:
        women: The table of `women_table`: `age, bac, views, bac_views`, with BAC+ and BAC- women.
        limits: Upper limits of all age classes except the last, years.

    Returns:
        `women, views, bac_women, bac_views, women_without_age` and, over the women with an age, `age_median, age_iqr`,
        both also with `_bac` and `_no_bac`, `age_range`, `mann_whitney_p`, `prevalence_by_age_class` (None for an empty
        class), `trend_p`. Statistics of ages are None where no age is known; `mann_whitney_p` is None, too, if all
        ages are equal.

    Raises:
        ValueError: All women are BAC+ or all are BAC-.
    """
    check_classes(women)
    table, ages = prevalence_by_class(women, limits), known_ages(women)
    compared = len(ages["_bac"]) and len(ages["_no_bac"]) and ages[""].nunique() > 1
    summary = {
        "women": len(women),
        "views": int(women["views"].sum()),
        "bac_women": int(women["bac"].sum()),
        "bac_views": int(women["bac_views"].sum()),
        "women_without_age": int(women["age"].isna().sum()),
        "mann_whitney_p": mann_whitney(ages["_bac"], ages["_no_bac"])["p"] if compared else None,
        "age_range": [float(ages[""].min()), float(ages[""].max())] if len(ages[""]) else None,
        "prevalence_by_age_class": [finite_or_none(share) for share in table["prevalence"]] or None,
        "trend_p": trend_test(table["bac_women"], table["women"])["p"],
    }
    for name, group in ages.items():
        described = describe(group) if len(group) else None
        summary[f"age_median{name}"] = described and described["median"]
        summary[f"age_iqr{name}"] = described and [described["q1"], described["q3"]]
    return summary
