"""Summaries of a table of scores: one row per view, breast, exam and woman."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import has_content, locked, written_whole
from bac_utils._tables import Table, read_table
from bac_utils.burden import LEVELS, aggregate_views, relative_length, severity_class
from bac_utils.intake.exams import DATE, iso_dates, separate_exams

KEY = ["patient_id", "exam", "laterality", "view"]
MEASURED = ["score", "bac_area_mm2", "bac_length_mm", "breast_area_mm2"]
READ = ("patient_id", "laterality", "view", "status", "reason", "bac", *MEASURED)
OPTIONAL = ("exam", "study_date", "image_rank")
"""Columns that are read from a table of scores; tables of version 0.1.0 lack the optional ones."""
RELATIVE = "relative_length_mm_per_cm2"
USUAL_VIEWS = 4
"""CC and MLO of both breasts."""


@dataclass(frozen=True)
class Summaries:
    """Tables of views, breasts, exams and women, each sorted by its first columns.

    Attributes:
        views: `patient_id, exam, study_date, laterality, view` (all but the first may be empty), `images` (number of
            images of that view), `bac, score, bac_area_mm2, bac_length_mm, breast_area_mm2`,
            `relative_length_mm_per_cm2` and `severity`.
        breasts: `patient_id, exam, study_date, laterality, views, skipped, bac`; `_sum` and `_max` of score, area,
            length and breast area; `relative_length_mm_per_cm2` of the sums, and `_max`, the largest of the views;
            `severity_sum` and `severity_max`, the classes of the summed and of the largest area.
        exams: The same without `laterality`.
        women: The row of `exams` with most of the four views, of these the first by study date (then those without
            one, and by name), and `exams`, the number of her exams.
        notes: Numbers of excluded files and other remarks for the user, one line each.
    """

    views: pd.DataFrame
    breasts: pd.DataFrame
    exams: pd.DataFrame
    women: pd.DataFrame
    notes: tuple[str, ...]


def summarise_scores(scores_csv: str | os.PathLike) -> Summaries:
    """Summarise a table of scores per view, breast, exam and woman.

    Files that were scored and have a `patient_id` are used. Two exams of a woman are never mixed
    (`exams.separate_exams`). Of several images of a view in one exam, those with the lowest `image_rank` are used: For
    Presentation before For Processing, an original before images derived from it. If there are still several (a repeat
    exposure), the largest value of each column is taken, so that no artery is counted twice. If side or view is not
    stated, an image may or may not repeat another; it counts as a separate view, and without a side it belongs to no
    breast.

    If area and length of a view are not known (no pixel spacing, or BAC+ without a traceable artery), those of its
    breast and its exam are not known either: a sum over the other views would be too small.

    Args:
        scores_csv: A table written by `batch.score_files`; only the columns `READ` and `OPTIONAL` are read. Without
            `exam` and `study_date`, all images of a woman are taken as one exam.

    Returns:
        The tables.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not such a table, cells break rules (the message names row, column, value and rule of
            each), a `patient_id` has lost digits in a spreadsheet program, or no row can be used.
    """
    table = read_table(scores_csv, READ, OPTIONAL, free=("patient_id", "exam", "reason"), collect=True)
    rows = _checked(table)
    scored, known = rows["status"] == "scored", rows["patient_id"] != ""
    images = rows[scored & known]
    excluded = [("skipped by score", (~scored).sum()), ("no patient_id", (scored & ~known).sum())]
    if images.empty:
        name, counts = os.path.basename(scores_csv), ", ".join(f"{number} {why}" for why, number in excluded if number)
        raise ValueError(f"{name}: got no usable row ({counts}), must have one that is scored and has a patient_id")
    twins = _is_twin(images)
    views = _views(images[~twins])
    untraced = views.pop("untraced")
    unmeasured = views["bac_area_mm2"].isna()
    skipped = rows[~scored & known & (rows["reason"] != "duplicate")]  # a skipped copy does not mean a missing view
    exams = _totals(views, skipped, "woman")
    women = _one_exam(exams, views)
    sided = views["laterality"] != ""
    breasts = _totals(views[sided], skipped, "breast")
    unstated = (views[["laterality", "view"]] == "").any(axis=1)
    no_exam = (exams["exam"] == "") & exams.duplicated("patient_id", keep=False)
    effect = "their breasts and exams have no area and no length"
    counts = [(f"excluded, {why}", number) for why, number in excluded] + [
        ("women in no table because all their files were skipped", _number_missing(skipped, women)),
        ("not used, raw or derived image of a view with a better one", twins.sum()),
        ("additional images of a view, of which the largest values are taken", (~twins).sum() - len(views)),
        ("women with several exams, of which by_woman.csv has one", (women["exams"] > 1).sum()),
        ("of these, with images that state no exam, which count as an exam of their own", no_exam.sum()),
        ("views without a stated side or view, each counted as a separate view", unstated.sum()),
        ("of these, assigned to no breast", (~sided).sum()),
        (f"views without a pixel spacing ({effect})", (unmeasured & ~untraced).sum()),
        (f"BAC+ views in which no artery could be traced ({effect})", (unmeasured & untraced).sum()),
        (f"women with fewer than {USUAL_VIEWS} views", (women["views"] < USUAL_VIEWS).sum()),
    ]
    notes = [f"{what}: {number}" for what, number in counts if number]
    if not {"exam", "study_date"} & set(table.cells):
        notes.append("the table states no exams (columns exam, study_date): each woman's images are taken as one exam")
    return Summaries(views, breasts, exams, women, tuple(notes))


def write_summaries(scores_csv: str | os.PathLike, folder: str | os.PathLike, overwrite: bool = False) -> Summaries:
    """Write `by_view.csv`, `by_breast.csv`, `by_exam.csv` and `by_woman.csv` from a table of scores.

    Args:
        scores_csv: As for `summarise_scores`.
        folder: Where to write; it is made if it does not exist.
        overwrite: Replace existing tables.

    Returns:
        The tables.

    Raises:
        FileExistsError: One of the tables exists and `overwrite` is False, or another process writes the folder.
        FileNotFoundError, ValueError: As for `summarise_scores`; nothing is written.
    """
    paths = [Path(folder) / f"by_{what}.csv" for what in ("view", "breast", "exam", "woman")]
    _refuse_tables(paths, overwrite)
    found = summarise_scores(scores_csv)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _refuse_tables(paths, overwrite)
        for path, table in zip(paths, (found.views, found.breasts, found.exams, found.women), strict=True):
            with written_whole(path) as part:
                table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    return found


def _refuse_tables(paths: list[Path], overwrite: bool) -> None:
    """Raise FileExistsError if one of the tables exists and may not be replaced."""
    for path in paths:
        if has_content(path) and not overwrite:
            raise FileExistsError(f"{path} already exists: choose another folder, or overwrite it")


def _checked(table: Table) -> pd.DataFrame:
    """Return the columns `READ` and `OPTIONAL`, checked and converted; unknown measures are NaN."""
    for name in ("patient_id", *({"exam"} & set(table.cells))):
        table.refuse_lost_digits(name, ours=True)
    rows = table.cells[[name for name in ("patient_id", "exam", "study_date", "reason") if name in table.cells]].copy()
    if "study_date" in rows:
        rows["study_date"], bad = iso_dates(rows["study_date"])
        table.refuse(bad, "study_date", f"must be {DATE}, or empty")
    rows["image_rank"] = 0
    if "image_rank" in table.cells:
        rank = table.numbers("image_rank", lambda x: (x >= 0) & (x % 1 == 0), "must be a whole number, 0 or more")
        rows["image_rank"] = rank.fillna(0)
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
    return separate_exams(rows)


def _is_twin(images: pd.DataFrame) -> pd.Series:
    """Return for each image whether its exam has a better one of the same view; see `summarise_scores`."""
    best = images.groupby(KEY)["image_rank"].transform("min")
    return (images["image_rank"] > best) & (images[["laterality", "view"]] != "").all(axis=1)


def _one_exam(exams: pd.DataFrame, views: pd.DataFrame) -> pd.DataFrame:
    """Return one exam of each woman; see `Summaries`."""
    usual = views[(views[["laterality", "view"]] != "").all(axis=1)].groupby(["patient_id", "exam"]).size()
    places = usual.reindex(pd.MultiIndex.from_frame(exams[["patient_id", "exam"]]), fill_value=0).to_numpy()
    number = exams.groupby("patient_id")["exam"].transform("size")
    ordered = exams.assign(exams=number, places=places, undated=exams["study_date"] == "").sort_values(
        ["patient_id", "places", "undated", "study_date", "exam"], ascending=[True, False, True, True, True]
    )
    ordered = ordered.drop_duplicates("patient_id").reset_index(drop=True)
    return ordered[[*exams.columns[:3], "exams", *exams.columns[3:]]]


def _views(images: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view with the largest value of each column, and `untraced`.

    Where one image is BAC+ without measures and the others are BAC-, the view is BAC+ and its measures are unknown, not
    0.
    """
    stated = (images[["laterality", "view"]] != "").all(axis=1)
    own = pd.Series(np.where(stated, -1, np.arange(len(images))), images.index, name="own")
    images = images.assign(untraced=images["reason"] == "no_artery_traced")
    groups = images.groupby(["patient_id", "exam", "study_date", "laterality", "view", own])
    views = groups.size().rename("images").to_frame().join(groups[["bac", *MEASURED, "untraced"]].max())
    views = views.reset_index().drop(columns="own").astype({"bac": int})
    for name in ("bac_area_mm2", "bac_length_mm"):
        views[name] = views[name].mask((views["bac"] == 1) & (views[name] == 0))
    views[RELATIVE] = _relative(views["bac_length_mm"], views["breast_area_mm2"])
    return views.assign(severity=_severity(views["bac_area_mm2"]))


def _totals(views: pd.DataFrame, skipped: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one row per breast or per woman and exam; see `Summaries`."""
    key = list(LEVELS[level])
    totals = aggregate_views(views, [*MEASURED, RELATIVE], level).rename(columns={f"{RELATIVE}_sum": RELATIVE})
    totals[RELATIVE] = _relative(totals["bac_length_mm_sum"], totals["breast_area_mm2_sum"])
    for name in ("sum", "max"):
        totals[f"severity_{name}"] = _severity(totals[f"bac_area_mm2_{name}"])
    more = views.groupby(key)["bac"].max().to_frame().assign(skipped=skipped.groupby(key).size())
    more = more.fillna(0).astype(int)[["skipped", "bac"]].reset_index()
    found = totals[[*key, "views"]].merge(more, on=key).merge(totals.drop(columns="views"), on=key)
    dates = views.groupby(key[:2])["study_date"].first().rename("study_date")
    found = found.join(dates, on=key[:2]) if len(found) else found.assign(study_date="")
    return found[[*key[:2], "study_date", *(name for name in found if name not in (*key[:2], "study_date"))]]


def _number_missing(skipped: pd.DataFrame, women: pd.DataFrame) -> int:
    return len(set(skipped["patient_id"]) - set(women["patient_id"]))


def _relative(lengths_mm: Sequence[float], breasts_mm2: Sequence[float]) -> list[float]:
    pairs = zip(lengths_mm, breasts_mm2, strict=True)  # NaN: not known
    return [relative_length(a, b) if a == a and b == b else np.nan for a, b in pairs]


def _severity(areas_mm2: Sequence[float]) -> list[str]:
    return [severity_class(area) if area == area else "" for area in areas_mm2]
