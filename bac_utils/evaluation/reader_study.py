"""Results of a reader study: counts and agreement of the readers, their consensus as a views table, and the model.

The statistics are those of `reader_agreement`; the consensus is made by `readings.consensus`.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import written_whole
from bac_utils.agreement import correlate
from bac_utils.evaluation.inputs import check_columns
from bac_utils.evaluation.reader_agreement import icc_agreement, percent_agreement, reader_lengths, weighted_kappa
from bac_utils.evaluation.shares import shares
from bac_utils.readings.consensus import side_by_side
from bac_utils.readings.table import CSBI, KEYS, is_read, readers_in
from bac_utils.statistics import LEAST_WOMEN
from bac_utils.views_table import COLUMNS as VIEW_COLUMNS
from bac_utils.views_table import EXAM

LABELS = (0.0, 1.0)
LEAST_LENGTHS = 2
"""Fewest lengths, or women, for a comparison of lengths."""


def reader_counts(readings: pd.DataFrame) -> pd.DataFrame:
    """Count what each reader read.

    Args:
        readings: A table of `readings.table.read_folder`.

    Returns:
        One row per reader: `views` and `women` read, `bac_views`, `no_bac_views`, `undecided`, `measured` (views with a
        length above 0), `csbi_exams` (exams with a grade), `hours` (sum of the time spent) and `median_seconds` (per
        view).
    """
    rows = {}
    for reader in readers_in(readings):
        mine = readings[(readings["reader"] == reader) & is_read(readings)]
        rows[reader] = {
            "views": len(mine),
            "women": mine["patient_id"].nunique(),
            "bac_views": int((mine["bac"] == 1).sum()),
            "no_bac_views": int((mine["bac"] == 0).sum()),
            "undecided": int(mine["bac"].isna().sum()),
            "measured": int((mine["bac_length_mm"] > 0).sum()),
            "csbi_exams": len(mine.loc[mine["csbi"].notna(), EXAM].drop_duplicates()),
            "hours": mine["seconds"].sum() / 3600,
            "median_seconds": mine["seconds"].median(),
        }
    return pd.DataFrame(rows).T.rename_axis("reader").convert_dtypes()


def agreement_table(
    readings: pd.DataFrame, readers: Sequence[str] | None = None, samples: int = 1000, seed: int = 2023
) -> pd.DataFrame:
    """Compute the agreement of each pair of readers, and the ICC of all of them.

    Labels are compared in views that both decided, CSBI grades in exams that both graded, and lengths in views in which
    both measured one. The ICC needs independent rows, so it is that of the sum of a woman's lengths, over women of whom
    all readers decided all views and measured all BAC+ views, and at least one measured a length.

    Args:
        readings: A table of `readings.table.read_folder`.
        readers: The readers, two or more; all by default.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        One row per result: `what` (`bac`, `csbi`, `bac_ss`, `length`), `first` and `second` reader (of the ICC of more
        than two: all of them in `first`), `measure`, `n` (views; exams for `csbi`; women for the ICC), `value`, `low`
        and `high` (95 % interval; for the mean difference of lengths the limits of agreement). NaN: not defined, or too
        few.

    Raises:
        ValueError: There are fewer than two readers.
    """
    readers = readers_in(readings) if readers is None else list(readers)
    if len(readers) < 2:
        raise ValueError(f"readers: got {', '.join(readers) or 'none'}, must be two or more")
    labels, lengths = (side_by_side(readings, name, readers) for name in ("bac", "bac_length_mm"))
    grades, points = (_by_exam(side_by_side(readings, name, readers)) for name in ("csbi", "bac_ss"))
    rows: list[dict] = []
    for first, second in itertools.combinations(readers, 2):
        pair, about = [first, second], {"first": first, "second": second}
        for what, table, scale, weights in (("bac", labels, LABELS, None), ("csbi", grades, CSBI, "quadratic")):
            both = table[pair].dropna()
            if both.empty:
                continue
            women = both.index.get_level_values("patient_id")
            share = percent_agreement(both[first], both[second], women, samples, seed)
            kappa = weighted_kappa(both[first], both[second], scale, weights, women, samples, seed)
            named = {"percent agreement": ("agreement", share), f"{weights or 'unweighted'} kappa": ("kappa", kappa)}
            rows += [
                _row(what, about, name, found["n"], found[key], found["ci"]) for name, (key, found) in named.items()
            ]
        rows += _length_rows(lengths.where((labels == 1) & (lengths > 0))[pair].dropna(), about, samples, seed)
        rows += _icc_rows(lengths, labels, pair, about) + _points_rows(points[pair], about)
    if len(readers) > 2:
        rows += _icc_rows(lengths, labels, readers, {"first": ", ".join(readers), "second": ""})
    return pd.DataFrame(rows, columns=["what", "first", "second", "measure", "n", "value", "low", "high"])


def length_pairs(readings: pd.DataFrame, readers: Sequence[str] | None = None) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the lengths of each pair of readers, in views in which both measured one.

    Args:
        readings: A table of `readings.table.read_folder`.
        readers: The readers; all by default.

    Returns:
        By (first, second) reader: a column for each of the two, mm; pairs without such a view are left out.
    """
    readers = readers_in(readings) if readers is None else list(readers)
    labels, lengths = (side_by_side(readings, name, readers) for name in ("bac", "bac_length_mm"))
    measured = lengths.where((labels == 1) & (lengths > 0))
    pairs = {pair: measured[list(pair)].dropna() for pair in itertools.combinations(readers, 2)}
    return {pair: table for pair, table in pairs.items() if len(table)}


def consensus_views(views: pd.DataFrame, joined: pd.DataFrame, folder: str | os.PathLike) -> pd.DataFrame:
    """Make a views table with the labels and lengths of the consensus.

    Args:
        views: The views table that was read (`views_table.read_views`).
        joined: From `readings.consensus.join_readings`.
        folder: Where the table will lie; image paths are relative to it.

    Returns:
        The rows of all exams of which at least one view was read, with the columns of `views` and `bac_length_mm`.
        `bac` is empty where there is no consensus, and where a view was not read.
    """
    check_columns(joined, [*KEYS, "bac", "bac_length_mm"], "joined")
    keys = pd.MultiIndex.from_frame(views[list(KEYS)])
    found = joined.set_index(list(KEYS))[["bac", "bac_length_mm"]].reindex(keys)
    read = joined[EXAM].drop_duplicates()
    inside = pd.MultiIndex.from_frame(views[EXAM]).isin(pd.MultiIndex.from_frame(read))
    table = views.assign(bac=found["bac"].to_numpy(float), bac_length_mm=found["bac_length_mm"].to_numpy(float))
    table["image"] = [os.path.relpath(path, folder).replace(os.sep, "/") for path in table["image_path"]]
    if "label_level" in table:
        table["label_level"] = np.where(table["bac"].notna(), "view", "")
    names = [*VIEW_COLUMNS, "bac_length_mm"]
    others = [name for name in table if name not in (*names, "image_path") and (table[name] != "").any()]
    return table.loc[inside, [*names, *others]].astype({"bac": "Int64"}).reset_index(drop=True)


def adjudication_views(views: pd.DataFrame, joined: pd.DataFrame, folder: str | os.PathLike) -> pd.DataFrame:
    """Make a views table of what is to be adjudicated, which the adjudicator can read in notebook 09.

    Args:
        views: The views table that was read (`views_table.read_views`).
        joined: From `readings.consensus.join_readings`.
        folder: Where the table will lie; image paths are relative to it.

    Returns:
        All views of the exams with at least one view that has a `reason`, without labels and lengths; and `reason`,
        `readings`, `votes` and `length_difference_mm` of the consensus.
    """
    table = consensus_views(views, joined, folder).drop(columns="bac_length_mm").assign(bac=pd.NA)
    keys = [name for name in KEYS if name in table]
    about = joined[[*keys, "reason", "readings", "votes", "length_difference_mm"]]
    table = table.merge(about, on=keys, how="left", validate="one_to_one")
    exams = [table[name] for name in EXAM if name in table]
    return table[(table["reason"].fillna("") != "").groupby(exams).transform("any")].reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    with written_whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def _row(what: str, about: dict, measure: str, n: int, value: float | None, limits: Sequence[float | None]) -> dict:
    low, high = (np.nan if limit is None else limit for limit in limits)
    value = np.nan if value is None else value
    return {"what": what, **about, "measure": measure, "n": n, "value": value, "low": low, "high": high}


def _by_exam(grades: pd.DataFrame) -> pd.DataFrame:
    """Return one row per exam; a reader's grade is the same in all views of an exam."""
    return grades.groupby(level=EXAM).first()


def _length_rows(both: pd.DataFrame, about: dict, samples: int, seed: int) -> list[dict]:
    """Return the rows of Bland and Altman, and Spearman's rho, of two columns of lengths."""
    if len(both) < LEAST_LENGTHS:
        return []
    a, b = (both[name] for name in both)
    found = reader_lengths(a, b)
    rho = correlate(a, b, both.index.get_level_values("patient_id"), samples, seed)
    absolute = found["median_absolute_difference_mm"]
    return [
        _row(
            "length",
            about,
            "mean difference, mm",
            len(both),
            found["mean_difference_mm"],
            found["limits_of_agreement_mm"],
        ),
        _row("length", about, "median absolute difference, mm", len(both), absolute, [None, None]),
        _row("length", about, "Spearman's rho", len(both), rho["spearman_rho"], rho["spearman_ci"]),
    ]


def _icc_rows(lengths: pd.DataFrame, labels: pd.DataFrame, readers: Sequence[str], about: dict) -> list[dict]:
    """Return the row of the ICC of the sum of each woman's lengths."""
    known = labels[list(readers)].notna() & lengths[list(readers)].notna()
    whole = known.all(axis=1).groupby(level="patient_id").all()
    sums = lengths[list(readers)].groupby(level="patient_id").sum()[whole]
    sums = sums[(sums > 0).any(axis=1)]
    if len(sums) < LEAST_LENGTHS:
        return []
    found = icc_agreement(sums.to_numpy())
    found["ci"] = found["ci"] if len(sums) >= LEAST_WOMEN else [None, None]
    return [_row("length", about, "ICC(2,1) of the sum by woman", found["n"], found["icc"], found["ci"])]


def _points_rows(points: pd.DataFrame, about: dict) -> list[dict]:
    """Return the row of the ICC of the BAC-SS points of exams that both readers gave; one exam per woman counts."""
    both = points.dropna().groupby(level="patient_id").first()
    if len(both) < LEAST_LENGTHS:
        return []
    found = icc_agreement(both.to_numpy())
    limits = found["ci"] if len(both) >= LEAST_WOMEN else [None, None]
    return [_row("bac_ss", about, "ICC(2,1) of the points", found["n"], found["icc"], limits)]


def model_against_readers(
    calls: pd.DataFrame,
    readings: pd.DataFrame,
    joined: pd.DataFrame,
    readers: Sequence[str],
    samples: int = 1000,
    seed: int = 2023,
) -> pd.DataFrame:
    """Compare a model with each reader and with the consensus.

    Args:
        calls: From `model_calls.read_calls`: `KEYS`, `call` (0 or 1) and `length_mm`.
        readings: A table of `readings.table.read_folder`.
        joined: From `readings.consensus.join_readings`.
        readers: The readers.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        One row per reference (reader, and `consensus`) and `measure`: `sensitivity`, `specificity`, `unweighted kappa`
        and `Spearman's rho of lengths` (of views with BAC by the reference, of which both lengths are known). `n`
        views, `women`, `value`, `low` and `high`; NaN: not defined, or too few.
    """
    known = {name: readings[(readings["reader"] == name) & is_read(readings)] for name in readers}
    rows = []
    for name, table in (known | {"consensus": joined}).items():
        both = calls.merge(table[[*KEYS, "bac", "bac_length_mm"]].dropna(subset="bac"), on=list(KEYS))
        for measure, label in (("sensitivity", 1), ("specificity", 0)):
            part = both[both["bac"] == label].reset_index(drop=True)
            value, limits = np.nan, [None, None]
            if len(part):
                share, (limits,) = shares(part["call"] == label, np.zeros(len(part), int), part, samples, seed)
                value = float(share[0])
            rows.append(_model_row(name, measure, part, value, limits))
        if len(both):
            women = both["patient_id"]
            found = weighted_kappa(both["call"], both["bac"], LABELS, None, women, samples, seed)
            rows.append(_model_row(name, "unweighted kappa", both, found["kappa"], found["ci"]))
        part = both[both["bac"] == 1].dropna(subset=["length_mm", "bac_length_mm"])
        if len(part):
            found = correlate(part["length_mm"], part["bac_length_mm"], part["patient_id"], samples, seed)
            rows.append(
                _model_row(name, "Spearman's rho of lengths", part, found["spearman_rho"], found["spearman_ci"])
            )
    return pd.DataFrame(rows, columns=["reference", "measure", "n", "women", "value", "low", "high"])


def _model_row(
    name: str, measure: str, part: pd.DataFrame, value: float | None, limits: Sequence[float | None]
) -> dict:
    row = _row("", {}, measure, len(part), value, limits)
    return {"reference": name, "women": part["patient_id"].nunique()} | row
