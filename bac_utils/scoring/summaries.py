"""From a table of scores, a row a file, to a row a view, a breast and a woman."""

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
"""What is read of a table of scores."""
RELATIVE = "relative_length_mm_per_cm2"
USUAL_VIEWS = 4
"""CC and MLO of both breasts."""


@dataclass(frozen=True)
class Summaries:
    """Tables of views, breasts and women, each sorted by its first columns.

    Attributes:
        views: `patient_id, laterality, view` (the latter two may be empty), `images` (number of files of that view),
            `bac, score, bac_area_mm2, bac_length_mm, breast_area_mm2`, `relative_length_mm_per_cm2` and `severity`.
        breasts: `patient_id, laterality, views, skipped, bac`; `_sum` and `_max` of score, area, length and breast
            area; `relative_length_mm_per_cm2` of the sums and its largest of the views, `_max`; `severity_sum` and
            `severity_max`, the classes of the summed and of the largest area.
        women: The same without `laterality`.
        notes: Lines that tell what was left out, and what else there is to know.
    """

    views: pd.DataFrame
    breasts: pd.DataFrame
    women: pd.DataFrame
    notes: tuple[str, ...]


def summarise_scores(scores_csv: str | os.PathLike) -> Summaries:
    """Bring a table of scores to a row a view, a breast and a woman.

    Files that were scored and have a `patient_id` count. Of several images of one view (a repeat exposure) each
    column's largest value counts, so that no artery is added twice. Where side or view is not stated, nothing tells
    whether the image repeats another, and it counts as a view of its own; without a side it is in no breast. Where a
    view has no measure in mm, its breast and its woman have none either.

    Args:
        scores_csv: A table as `scoring.score_files` writes it; other columns than `READ` are not read.

    Returns:
        The tables.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such table, a cell breaks its rule (the message names row, column, value and rule),
            or no row counts.
    """
    rows = _checked(read_table(scores_csv, READ, free=("patient_id", "reason")))
    scored, known = rows["status"] == "scored", rows["patient_id"] != ""
    images = rows[scored & known]
    left_out = [("skipped by score", (~scored).sum()), ("no patient_id", (scored & ~known).sum())]
    told = ", ".join(f"{number} {reason}" for reason, number in left_out if number)
    if images.empty:
        name = os.path.basename(scores_csv)
        raise ValueError(f"{name}: got no row that counts ({told}), must have one that is scored, with a patient_id")
    views = _views(images)
    skipped = rows[~scored & known & (rows["reason"] != "duplicate")]  # a copy takes no view away
    women = _totals(views, skipped, "woman")
    sided = views["laterality"] != ""
    breasts = _totals(views[sided], skipped, "breast")
    unstated = (views[["laterality", "view"]] == "").any(axis=1)
    counts = [(f"left out, {reason}", number) for reason, number in left_out] + [
        ("women in no table, all whose files were skipped", len(set(skipped["patient_id"]) - set(women["patient_id"]))),
        ("further images of a view, of all of which the largest values count", len(images) - len(views)),
        ("views whose side or view is not stated, each counted as one of its own", unstated.sum()),
        ("of these, in no breast", (~sided).sum()),
        ("views without measures in mm, so that their women have none", views["bac_area_mm2"].isna().sum()),
        (f"women with fewer than {USUAL_VIEWS} views", (women["views"] < USUAL_VIEWS).sum()),
    ]
    return Summaries(views, breasts, women, tuple(f"{what}: {number}" for what, number in counts if number))


def write_summaries(scores_csv: str | os.PathLike, folder: str | os.PathLike, overwrite: bool = False) -> Summaries:
    """Write `by_view.csv`, `by_breast.csv` and `by_woman.csv` from a table of scores.

    Args:
        scores_csv: As for `summarise_scores`.
        folder: Where to write; it is made.
        overwrite: Replace tables that are there.

    Returns:
        What was written.

    Raises:
        FileExistsError: One of the tables is there.
        FileNotFoundError, ValueError: As `summarise_scores`; then nothing is written.
    """
    paths = [Path(folder) / f"by_{what}.csv" for what in ("view", "breast", "woman")]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is there already: choose another folder, or overwrite it")
    found = summarise_scores(scores_csv)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, table in zip(paths, (found.views, found.breasts, found.women), strict=True):
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return found


def _checked(table: Table) -> pd.DataFrame:
    """Return the columns `READ` with their types, each cell checked; measures that are not known are NaN."""
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
        table.refuse((rows["status"] == "scored") & rows[name].isna(), name, "must be there in a row that is scored")
    return rows


def _views(images: pd.DataFrame) -> pd.DataFrame:
    """Return one row a view: of several images of one each column's largest value."""
    stated = (images[["laterality", "view"]] != "").all(axis=1)
    own = pd.Series(np.where(stated, -1, np.arange(len(images))), images.index, name="own")
    groups = images.groupby([*KEY, own])
    views = groups.size().rename("images").to_frame().join(groups[["bac", *MEASURED]].max())
    views = views.reset_index().drop(columns="own").astype({"bac": int})
    views[RELATIVE] = _relative(views["bac_length_mm"], views["breast_area_mm2"])
    return views.assign(severity=_severity(views["bac_area_mm2"]))


def _totals(views: pd.DataFrame, skipped: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one row a breast or a woman; see `Summaries`."""
    key = list(LEVELS[level])
    totals = aggregate_views(views, [*MEASURED, RELATIVE], level).rename(columns={f"{RELATIVE}_sum": RELATIVE})
    totals[RELATIVE] = _relative(totals["bac_length_mm_sum"], totals["breast_area_mm2_sum"])
    for name in ("sum", "max"):
        totals[f"severity_{name}"] = _severity(totals[f"bac_area_mm2_{name}"])
    more = views.groupby(key)["bac"].max().to_frame().assign(skipped=skipped.groupby(key).size())
    more = more.fillna(0).astype(int)[["skipped", "bac"]].reset_index()
    return totals[[*key, "views"]].merge(more, on=key).merge(totals.drop(columns="views"), on=key)


def _relative(lengths_mm: Sequence[float], breasts_mm2: Sequence[float]) -> list[float]:
    pairs = zip(lengths_mm, breasts_mm2, strict=True)  # of which those that are not known are NaN
    return [relative_length(a, b) if a == a and b == b else np.nan for a, b in pairs]


def _severity(areas_mm2: Sequence[float]) -> list[str]:
    return [severity_class(area) if area == area else "" for area in areas_mm2]
