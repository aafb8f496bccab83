"""Summaries of a table of scores: one row per view, per breast and per woman."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import Table, read_table
from bac_utils.burden import LEVELS, aggregate_views, relative_length, severity_class

KEY = ["patient_id", "laterality", "view"]
MEASURED = ["score", "bac_area_mm2", "bac_length_mm", "breast_area_mm2"]
READ = (*KEY, "status", "reason", "bac", *MEASURED)
"""Columns that are read from a table of scores."""
RELATIVE = "relative_length_mm_per_cm2"
USUAL_VIEWS = 4
"""CC and MLO of both breasts."""


@dataclass(frozen=True)
class Summaries:
    """Tables of views, breasts and women, each sorted by its first columns.

    Attributes:
        views: `patient_id, laterality, view` (the latter two may be empty), `images` (number of images of that view),
            `bac, score, bac_area_mm2, bac_length_mm, breast_area_mm2`, `relative_length_mm_per_cm2` and `severity`.
        breasts: `patient_id, laterality, views, skipped, bac`; `_sum` and `_max` of score, area, length and breast
            area; `relative_length_mm_per_cm2` of the sums, and `_max`, the largest of the views; `severity_sum` and
            `severity_max`, the classes of the summed and of the largest area.
        women: The same without `laterality`.
        notes: Numbers of excluded files and other remarks for the user, one line each.
    """

    views: pd.DataFrame
    breasts: pd.DataFrame
    women: pd.DataFrame
    notes: tuple[str, ...]


def summarise_scores(scores_csv: str | os.PathLike) -> Summaries:
    """Summarise a table of scores per view, per breast and per woman.

    Files that were scored and have a `patient_id` are used. If there are several images of a view (a repeat exposure),
    the largest value of each column is taken, so that no artery is counted twice. If side or view is not stated, an
    image may or may not repeat another; it counts as a separate view, and without a side it belongs to no breast.

    If area and length of a view are not known (no pixel spacing, or BAC+ without a traceable artery), those of its
    breast and its woman are not known either: a sum over the other views would be too small.

    Args:
        scores_csv: A table written by `batch.score_files`; only the columns `READ` are read.

    Returns:
        The tables.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not such a table, cells break rules (the message names row, column, value and rule of
            each), a `patient_id` has lost digits in a spreadsheet program, or no row can be used.
    """
    rows = _checked(read_table(scores_csv, READ, free=("patient_id", "reason"), collect=True))
    scored, known = rows["status"] == "scored", rows["patient_id"] != ""
    images = rows[scored & known]
    excluded = [("skipped by score", (~scored).sum()), ("no patient_id", (scored & ~known).sum())]
    if images.empty:
        name, counts = os.path.basename(scores_csv), ", ".join(f"{number} {why}" for why, number in excluded if number)
        raise ValueError(f"{name}: got no usable row ({counts}), must have one that is scored and has a patient_id")
    views = _views(images)
    untraced = views.pop("untraced")
    unmeasured = views["bac_area_mm2"].isna()
    skipped = rows[~scored & known & (rows["reason"] != "duplicate")]  # a skipped copy does not mean a missing view
    women = _totals(views, skipped, "woman")
    sided = views["laterality"] != ""
    breasts = _totals(views[sided], skipped, "breast")
    unstated = (views[["laterality", "view"]] == "").any(axis=1)
    effect = "their breasts and women have no area and no length"
    counts = [(f"excluded, {why}", number) for why, number in excluded] + [
        ("women in no table because all their files were skipped", _number_missing(skipped, women)),
        ("additional images of a view, of which the largest values are taken", len(images) - len(views)),
        ("views without a stated side or view, each counted as a separate view", unstated.sum()),
        ("of these, assigned to no breast", (~sided).sum()),
        (f"views without a pixel spacing ({effect})", (unmeasured & ~untraced).sum()),
        (f"BAC+ views in which no artery could be traced ({effect})", (unmeasured & untraced).sum()),
        (f"women with fewer than {USUAL_VIEWS} views", (women["views"] < USUAL_VIEWS).sum()),
    ]
    return Summaries(views, breasts, women, tuple(f"{what}: {number}" for what, number in counts if number))


def write_summaries(scores_csv: str | os.PathLike, folder: str | os.PathLike, overwrite: bool = False) -> Summaries:
    """Write `by_view.csv`, `by_breast.csv` and `by_woman.csv` from a table of scores.

    Args:
        scores_csv: As for `summarise_scores`.
        folder: Where to write; it is made if it does not exist.
        overwrite: Replace existing tables.

    Returns:
        The tables.

    Raises:
        FileExistsError: One of the tables exists and `overwrite` is False.
        FileNotFoundError, ValueError: As for `summarise_scores`; nothing is written.
    """
    paths = [Path(folder) / f"by_{what}.csv" for what in ("view", "breast", "woman")]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} already exists: choose another folder, or overwrite it")
    found = summarise_scores(scores_csv)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, table in zip(paths, (found.views, found.breasts, found.women), strict=True):
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return found


def _checked(table: Table) -> pd.DataFrame:
    """Return the columns `READ`, checked and converted; unknown measures are NaN."""
    table.refuse_lost_digits("patient_id")
    rows = table.cells[["patient_id", "reason"]].copy()
    rows["status"] = table.choices("status", {"SCORED": "scored", "SKIPPED": "skipped"})
    rows["laterality"] = table.choices("laterality", {"L": "L", "R": "R", "": ""})
    rows["view"] = table.choices("view", {"CC": "CC", "MLO": "MLO", "": ""})
    rows["bac"] = table.numbers("bac", lambda x: x.isin([0, 1]), "must be 0 or 1")
    rows["score"] = table.numbers("score", lambda x: x.between(0, 1), "must be a number from 0 to 1")
    for name in ("bac_area_mm2", "bac_length_mm"):
        rows[name] = table.numbers(name, lambda x: (x >= 0) & (x < np.inf), "must be a number, 0 or more, or empty")
    positive = "must be a positive number or empty"
    rows["breast_area_mm2"] = table.numbers("breast_area_mm2", lambda x: (x > 0) & (x < np.inf), positive)
    for name in ("bac", "score"):
        table.refuse((rows["status"] == "scored") & rows[name].isna(), name, "must not be empty in a scored row")
    for name in ("bac_area_mm2", "bac_length_mm"):
        table.refuse((rows["bac"] == 0) & (rows[name] > 0), name, "must be 0 or empty where bac is 0")
        table.refuse((rows["bac"] == 1) & (rows[name] == 0), name, "must be above 0 or empty where bac is 1")
    table.check()
    return rows


def _views(images: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view with the largest value of each column, and `untraced`.

    Where one image is BAC+ without measures and the others are BAC-, the view is BAC+ and its measures are unknown, not
    0.
    """
    stated = (images[["laterality", "view"]] != "").all(axis=1)
    own = pd.Series(np.where(stated, -1, np.arange(len(images))), images.index, name="own")
    images = images.assign(untraced=images["reason"] == "no_artery_traced")
    groups = images.groupby([*KEY, own])
    views = groups.size().rename("images").to_frame().join(groups[["bac", *MEASURED, "untraced"]].max())
    views = views.reset_index().drop(columns="own").astype({"bac": int})
    for name in ("bac_area_mm2", "bac_length_mm"):
        views[name] = views[name].mask((views["bac"] == 1) & (views[name] == 0))
    views[RELATIVE] = _relative(views["bac_length_mm"], views["breast_area_mm2"])
    return views.assign(severity=_severity(views["bac_area_mm2"]))


def _totals(views: pd.DataFrame, skipped: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one row per breast or per woman; see `Summaries`."""
    key = list(LEVELS[level])
    totals = aggregate_views(views, [*MEASURED, RELATIVE], level).rename(columns={f"{RELATIVE}_sum": RELATIVE})
    totals[RELATIVE] = _relative(totals["bac_length_mm_sum"], totals["breast_area_mm2_sum"])
    for name in ("sum", "max"):
        totals[f"severity_{name}"] = _severity(totals[f"bac_area_mm2_{name}"])
    more = views.groupby(key)["bac"].max().to_frame().assign(skipped=skipped.groupby(key).size())
    more = more.fillna(0).astype(int)[["skipped", "bac"]].reset_index()
    return totals[[*key, "views"]].merge(more, on=key).merge(totals.drop(columns="views"), on=key)


def _number_missing(skipped: pd.DataFrame, women: pd.DataFrame) -> int:
    return len(set(skipped["patient_id"]) - set(women["patient_id"]))


def _relative(lengths_mm: Sequence[float], breasts_mm2: Sequence[float]) -> list[float]:
    pairs = zip(lengths_mm, breasts_mm2, strict=True)  # NaN: not known
    return [relative_length(a, b) if a == a and b == b else np.nan for a, b in pairs]


def _severity(areas_mm2: Sequence[float]) -> list[str]:
    return [severity_class(area) if area == area else "" for area in areas_mm2]
