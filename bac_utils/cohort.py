"""The views table: read and check it, include women, class their ages, split them, count them.

A views table has one row a mammographic view. Everything downstream takes a table that passed `check_views`.
Source of the rules: Mobini et al., European Radiology 33:6746 (2023), "the paper".
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils.settings import Settings

REQUIRED = ("patient_id", "age", "laterality", "view", "image", "bac")
SPLITS = ("train", "validation", "test", "unused", "quantification")
"""`unused`: a BAC- woman left out of training by the undersampling, or a woman who was not included. `quantification`:
a woman outside the cohort whose views are measured alone (the paper's 56 women came from an earlier study)."""
AGE_BOUNDS = (18, 110)
"""Years outside of which an age is taken for a slip of the pen."""
MAXIMUM_SPACING_MM = 2.0
"""A pixel of a mammogram is far smaller; a larger number is a spacing in micrometres or an image size."""

_CHOICES = {"laterality": ("L", "R"), "view": ("CC", "MLO"), "split": SPLITS}
_NUMBERS = {  # column: (may be empty, test, rule)
    "age": (False, lambda x: x.between(*AGE_BOUNDS), "a number of years from {} to {}".format(*AGE_BOUNDS)),
    "bac": (True, lambda x: x.isin([0, 1]), "0, 1 or empty (unknown)"),
    "bac_length_mm": (True, lambda x: (x >= 0) & (x < np.inf), "a number of mm, 0 or more, or empty"),
    "pixel_spacing_mm": (
        True,
        lambda x: (x > 0) & (x <= MAXIMUM_SPACING_MM),
        f"a number of mm above 0 and at most {MAXIMUM_SPACING_MM:g}, or empty",
    ),
}


def read_views(path: str | os.PathLike, check_images: bool = False) -> pd.DataFrame:
    """Read and check a views table.

    Args:
        path: A UTF-8 CSV file (comma-separated) with the columns `patient_id, age, laterality, view, image,
            bac` and, optionally, `bac_length_mm, pixel_spacing_mm, split`. Other columns are kept as text.
        check_images: Refuse a table that names an image file which is not there.

    Returns:
        The table of `check_views` with `image_path` added: `image` as an absolute path (str). A relative
        `image` starts from the folder of the table.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no CSV text, or the table breaks a rule of `check_views`; the message names
            the row (its line in the file), the column, the value and the rule.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: got '{path}', must be an existing CSV file")
    frame, rows = _read_csv(path)
    views = check_views(frame, path.name, rows)
    views["image_path"] = [os.path.abspath(path.parent / image) for image in views["image"]]
    if check_images:
        missing = ~views["image_path"].map(os.path.isfile).to_numpy(bool)
        _refuse(missing, path.name, rows, "image", views["image"], "must be an existing file")
    return views


def check_views(frame: pd.DataFrame, name: str = "views", rows: Sequence[int] | None = None) -> pd.DataFrame:
    """Check a views table and give its columns their types.

    A BAC+ view with a length of 0 is let through: a reader may see a point that has no measurable length.

    Args:
        frame: The table, one row a view; text or numbers.
        name: What to call the table in a message.
        rows: The number of each row in a message; by default its line in a CSV file with one line a row.

    Returns:
        A copy with a fresh index: `patient_id`, `laterality`, `view`, `image`, `split` as stripped text;
        `age`, `bac`, `bac_length_mm`, `pixel_spacing_mm` as float64, NaN where empty.

    Raises:
        TypeError: `frame` is no DataFrame.
        ValueError: A column is missing; the table has no rows; a cell breaks its rule; a view or an image
            file comes twice; a woman's age or split differs between her views; a BAC- view has a length.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame: got {type(frame).__name__}, must be a pandas.DataFrame")
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise ValueError(
            f"{name} row 1, column '{missing[0]}': missing, must be among the columns (separated by commas); "
            f"found: {found}"
        )
    if frame.empty:
        raise ValueError(f"{name}: got no rows, must hold at least one view below the column names")
    rows = range(2, len(frame) + 2) if rows is None else rows
    views = frame.reset_index(drop=True).copy()
    for column in ("patient_id", "image", *_CHOICES):
        if column in views:
            views[column] = _as_text(views[column])
    for column in ("patient_id", "image"):
        _refuse(views[column] == "", name, rows, column, views[column], "must not be empty")
    for column, choices in _CHOICES.items():
        if column in views:
            rule = f"must be one of {', '.join(choices)}"
            _refuse(~views[column].isin(choices), name, rows, column, views[column], rule)
    for column, (optional, is_good, rule) in _NUMBERS.items():
        if column in views:
            text = _as_text(views[column])
            numbers = pd.to_numeric(text, errors="coerce").astype("float64")
            bad = ~is_good(numbers) & ~((text == "") & optional)
            _refuse(bad, name, rows, column, text, f"must be {rule}")
            views[column] = numbers
    _check_across_rows(views, name, rows)
    return views


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


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Return a CSV file's cells as text and the line at which each row begins; blank rows are skipped."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: got bytes that are no text ({error}), must be UTF-8 CSV") from error
    if "\0" in text:
        raise ValueError(f"{path.name}: got zero bytes, which are no text, must be UTF-8 CSV")
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    records, rows, start = [], [], 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append([cell.strip() for cell in record])
                rows.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path.name} row {start}: got {error}, must be comma-separated values") from error
    if not records:
        raise ValueError(f"{path.name}: got an empty file, must begin with the names of the columns")
    header = records[0]
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(f"{path.name} row {rows[0]}: got columns {header}, must be names, each once")
    for record, row in zip(records, rows, strict=True):
        if len(record) != len(header):
            raise ValueError(
                f"{path.name} row {row}: got {len(record)} cells, must have {len(header)} as the first row"
            )
    return pd.DataFrame(records[1:], columns=header, dtype=object), rows[1:]


def _as_text(column: pd.Series) -> pd.Series:
    """Return the cells as stripped text, empty where missing."""
    return pd.Series(["" if pd.isna(cell) else str(cell).strip() for cell in column], index=column.index)


def _check_across_rows(views: pd.DataFrame, name: str, rows: Sequence[int]) -> None:
    """Refuse what no single cell shows: doubled views or files, two ages or sets of a woman, lengths at 0."""
    lines = pd.Series(list(rows), index=views.index)
    once = {
        "view": (["patient_id", "laterality", "view"], "must come once for each side of a woman"),
        "image": ([views["image"].map(os.path.normpath)], "must be the file of one view only"),
    }
    for column, (key, rule) in once.items():
        first = lines.groupby([views[k] if isinstance(k, str) else k for k in key]).transform("first")
        bad = first != lines
        _refuse(bad, name, rows, column, views[column], rule + " (also in row {})", first)
    for column in ("age", "split"):
        if column in views:
            known = views.groupby("patient_id")[column].transform("first")
            first = lines.groupby(views["patient_id"]).transform("first")
            rule = "must be the same in all views of a woman (row {} differs)"
            _refuse(views[column] != known, name, rows, column, views[column], rule, first)
    if "bac_length_mm" in views:
        bad = (views["bac"] == 0) & (views["bac_length_mm"] > 0)
        _refuse(bad, name, rows, "bac_length_mm", views["bac_length_mm"], "must be 0 or empty where bac is 0")


def _refuse(
    bad: Sequence[bool],
    name: str,
    rows: Sequence[int],
    column: str,
    values: pd.Series,
    rule: str,
    other: pd.Series | None = None,
) -> None:
    """Raise for the first bad row, in words that name it; `other` fills the row number into the rule."""
    where = np.flatnonzero(np.asarray(bad, dtype=bool))
    if not where.size:
        return
    i = where[0]
    value = values.iloc[i]
    shown = f"{value:g}" if isinstance(value, float) else value if value != "" else "nothing"
    rule = rule if other is None else rule.format(other.iloc[i])
    more = f" (rows that break this rule: {where.size})" if where.size > 1 else ""
    raise ValueError(f"{name} row {rows[i]}, column '{column}': got {shown}, {rule}{more}")


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
