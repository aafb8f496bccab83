"""What looks odd in a finished table of scores: sizes no breast or artery has, women without all views, equal scores.

A finding is a reason to look at some views, not an error; no row is changed. Limits marked as assumptions are wide
choices of this kit.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.special import logit

from bac_utils._files import read_json, written_whole
from bac_utils._terminal import shown

ENDING = ".report.txt"  # added to the name of the table
USED = ("file", "patient_id", "exam", "laterality", "view", "status", "reason", "score", "bac")
MEASURED = ("bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "saturated_share")
SHOWN = 3  # files that a finding names
ALL_VIEWS = ("LCC", "LMLO", "RCC", "RMLO")

BREAST_CM2 = (20, 600)
"""Breast area of a view. Median 171 cm2, quartiles 126 and 225 cm2 in 244 women (CC; comparison of the threshold and
the SMF method, Cancer Epidemiol Biomarkers Prev, table 1, cebp.aacrjournals.org/highwire/markup/44645). The limits are
the median -5 and +3 SD, if logarithms are normal; the largest detector of Ghetti et al. (Med Phys 2008) has 737 cm2."""
MEDIAN_CM2 = (60, 350)
"""Median breast area of an archive. Assumption: a quarter and four times the median above, which are due to spacings
wrong by a factor of two, are outside."""
LONGEST_MM = 600
"""Summed length in a view. Assumption: five arteries, each calcified along 12 cm. Mobini 2023 calls 41 mm moderate."""
WIDTH_MM = (0.5, 6)
"""Mean width of the arteries including the lumen. Assumption."""
LARGEST_SHARE = 0.1
"""Arteries' share of the breast area. Assumption: 600 mm of 2 mm width in a breast of 120 cm2."""
LARGEST_SATURATED = 0.02
"""Share of a breast's pixels at the ends of its grey levels. It was at most 0.5 % in ten real views (8 digital ones, 2
films) and 0.4 % in 32 simulated ones (six women at 0.1 mm, two at 1 mm). Windows that
cut off tissue gave 0.5 to 11 %, so mild ones are missed."""
BAC_SHARE = (0.01, 0.3)
"""Share of BAC+ views: a tenth and three times the 9.7 % in screening (581 of 5,972 views; Mobini 2023)."""
LEAST_FOR_SHARE, LEAST_FOR_ALL = 100, 20
"""Fewest views for a statement about `BAC_SHARE`, and for other statements about all views (five women)."""
NARROWEST = 0.1
"""Smallest range of the central 90 % of the scores' logits. Assumption: 0.025 for scores near 0.5."""
LOST_SHARE, LEAST_LOST = 0.2, 5
"""More than this share, and at least this number, of files skipped for one reason, or of BAC+ views without a traced
artery. Assumption."""
MANY_IMAGES, IMPOSSIBLE_IMAGES = 8, 40
"""Most images of one `patient_id`: two exams, and ten exams, of four views. Assumption."""


@dataclass(frozen=True)
class Finding:
    """Something odd.

    Attributes:
        kind: What is odd, in a few words.
        count: Number of files, or of women if `kind` says so.
        files: Names of the first `SHOWN` of them (of a woman, her first file), without control characters.
        meaning: What it may mean and what to do.
    """

    kind: str
    count: int
    files: tuple[str, ...]
    meaning: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.kind} ({self.count}): {self.meaning}. First: {', '.join(self.files)}"


def find_oddities(rows: pd.DataFrame, share_was_chosen: bool = False) -> list[Finding]:
    """Return what looks odd in a table of scores.

    Args:
        rows: The columns `USED` and `MEASURED` as text, one row per file, in any order; empty cells are `""`.
        share_was_chosen: Whether the threshold was chosen to give a share of BAC+ views, which then is not odd.
    """
    scored = rows[rows["status"] == "scored"].copy()
    for name in ("score", "bac", *MEASURED):
        scored[name + "_"] = pd.to_numeric(scored[name], errors="coerce")
    found = [*_sizes(scored), *_scores(scored, share_was_chosen), *_files(rows, scored), *_women(scored)]
    parts = ((kind, len(names), tuple(map(shown, names[:SHOWN])), words) for kind, names, words in found)
    return [Finding(*finding) for finding in parts if finding[1]]


def write_report(scores_csv: str | os.PathLike, spread: Iterable[str] = ()) -> list[str]:
    """Write what looks odd in a table by `batch.score_files` to the table's name + `ENDING`, replacing the file.

    Args:
        scores_csv: The table, with its `.json`.
        spread: Lines by `spread.describe_spread`, which are repeated in the file.

    Returns:
        Lines for the user; none if nothing looks odd.
    """
    path, note = Path(f"{os.fspath(scores_csv)}{ENDING}"), read_json(Path(f"{os.fspath(scores_csv)}.json"))
    rows = _read(Path(scores_csv))
    found = find_oddities(rows, "alarm_share" in note.get("threshold_rule", {}))
    head = f"{Path(scores_csv).name}: {len(rows)} files, {(rows['status'] == 'scored').sum()} scored"
    lines = [f"- {finding}" for finding in found]
    with written_whole(path) as part:
        text = "\n".join([shown(head), *spread, "looks odd:" if found else "nothing looks odd", *lines])
        part.write_text(text + "\n", encoding="utf-8")
    return [f"looks odd (also in {shown(path)}, see docs/scoring.md):", *lines] if found else []


def _read(table: Path) -> pd.DataFrame:
    """Return the complete rows of a table of scores; the last row of a stopped batch may be cut."""
    with open(table, newline="", encoding="utf-8") as stream:
        lines = (line for line in stream if line.endswith("\n"))
        cells = [[row[name] or "" for name in (*USED, *MEASURED)] for row in csv.DictReader(lines)]
    return pd.DataFrame(cells, columns=[*USED, *MEASURED], dtype=str)


def _sizes(scored: pd.DataFrame) -> Iterator[tuple]:
    """Yield kind, names and meaning for sizes; what is not known (NaN) is only counted as such."""
    file, breast, bac = scored["file"], scored["breast_area_mm2_"] / 100, scored["bac_"] == 1
    low, high = BREAST_CM2
    words = f"breast area outside {low} to {high} cm2; the spacing or the outline is wrong, do not use values in mm"
    yield "breast size", file[(breast < low) | (breast > high)], words
    median, (low, high) = breast.median(), MEDIAN_CM2
    odd = breast.count() >= LEAST_FOR_ALL and not low <= median <= high
    words = f"the median breast area is {median:.0f} cm2, outside {low} to {high} cm2; check the pixel spacing of all"
    yield "breast size of the archive", file[breast.notna() & odd], words
    look = "look at the outlined arteries, and check the pixel spacing"
    yield "length", file[scored["bac_length_mm_"] > LONGEST_MM], f"arteries longer than {LONGEST_MM} mm; {look}"
    share = scored["bac_area_mm2_"] / 100 / breast
    yield "area", file[share > LARGEST_SHARE], f"arteries fill more than {LARGEST_SHARE:.0%} of the breast; {look}"
    width, (low, high) = scored["bac_width_mm_"], WIDTH_MM
    odd = bac & ((width < low) | (width > high))
    yield "width", file[odd], f"mean width of the arteries outside {low:g} to {high:g} mm; {look}"
    for reason, names in file[breast.isna()].groupby(scored["reason"], sort=False):
        words = "no pixel spacing, and nothing is given in mm (docs/scoring.md, Files without a pixel spacing)"
        if reason.startswith("spacing"):
            words = "the stated pixel spacing is not used, and nothing is given in mm (docs/facts.md, Sizes in mm)"
        yield (reason or "no_pixel_spacing").replace("_", " "), names, words
    words = f"more than {LARGEST_SATURATED:.0%} of the breast is black or white; calcium may be lost, check the export"
    yield "saturated grey levels", file[scored["saturated_share_"] > LARGEST_SATURATED], words
    untraced = bac & (scored["reason"] == "no_artery_traced")
    words = "BAC+ without an artery that can be traced; scores or heatmaps do not fit these views, look at some"
    yield "no artery traced", file[untraced & _many(untraced.sum(), bac.sum())], words


def _scores(scored: pd.DataFrame, share_was_chosen: bool) -> Iterator[tuple]:
    """Yield kind, names and meaning for scores."""
    file, score, number = scored["file"], scored["score_"], len(scored)
    share, (low, high) = (scored["bac_"] == 1).mean(), BAC_SHARE
    odd = number >= LEAST_FOR_SHARE and not share_was_chosen and not low <= share <= high
    words = f"{share:.1%} of the views are BAC+, in screening 9.7%; unless the women were selected, check the threshold"
    yield "share of BAC+", file if odd else [], words
    quantiles = logit(score.clip(1e-7, 1 - 1e-7)).quantile([0.05, 0.95])
    odd = number >= LEAST_FOR_ALL and quantiles.iloc[1] - quantiles.iloc[0] < NARROWEST
    words = "scores are nearly the same in all views; the model, or the grey levels of the files, cannot be used"
    yield "equal scores", file if odd else [], words
    # the six digits of a score alone are equal by chance too often if it is close to 1
    compared = scored[scored["breast_area_mm2_"].notna() | (score > 0) & (score < 0.99)]
    groups = compared.groupby(["score", "breast_area_mm2"], sort=False)
    order = groups.ngroup().sort_values(kind="stable").index
    same = compared.loc[order, "file"][groups["file"].transform("size").loc[order] > 1]
    words = "score and breast area are those of another file; probably copies of one image, remove them"
    yield "repeated scores", same, words


def _files(rows: pd.DataFrame, scored: pd.DataFrame) -> Iterator[tuple]:
    """Yield kind, names and meaning for skipped files, and for views of which the table does not say what they show."""
    skipped = rows[rows["status"] == "skipped"]
    if scored.empty:
        yield "nothing scored", skipped["file"], "no file could be used; read the reasons in the table"
    for reason, names in skipped.groupby("reason", sort=False)["file"]:
        words = f"{len(names) / len(rows):.0%} of the files were skipped for this reason; check that this is expected"
        yield f"skipped as {reason.replace('_', ' ')}", names if _many(len(names), len(rows)) else [], words
    for column, what in (("laterality", "side"), ("view", "view")):
        stated = scored[scored[column] != ""]
        odd = len(stated) >= LEAST_FOR_ALL and stated[column].nunique() == 1
        words = f"all views that state a {what} are {stated[column].max()}; check whether others were exported and read"
        yield f"one {what} only", stated["file"] if odd else [], words
    unstated = (scored[["patient_id", "laterality", "view"]] == "").any(axis=1)
    words = "patient, side or view is not stated; they are not assigned to a woman, or not to a breast or view"
    yield "not stated", scored["file"][unstated], words


def _women(scored: pd.DataFrame) -> Iterator[tuple]:
    """Yield kind, first files and meaning for women; one with a view that is not stated may have all views."""
    views = scored[scored["patient_id"] != ""]
    what = views["laterality"] + views["view"]
    women = views.assign(what=what, unstated=~what.isin(ALL_VIEWS)).groupby("patient_id", sort=False)
    first, images = women["file"].first(), women.size()
    of_exams = views.assign(what=what).groupby(["patient_id", "exam"], sort=False, dropna=False)["what"].nunique()
    most = of_exams.groupby(level=0, sort=False).max()
    missing = (most < len(ALL_VIEWS)) & (women["unstated"].sum() == 0)
    words = "no exam of which all four views were scored; their sums are not comparable with those of other women"
    yield "women without all four views", first[missing & (len(first) > 1)], words  # one woman is no archive
    many, impossible = images > MANY_IMAGES, images > IMPOSSIBLE_IMAGES
    words = "several exams, or several women under one patient_id; check patient_id"
    yield f"women with more than {MANY_IMAGES} images", first[many & ~impossible], words
    words = "patient_id is probably the same word for several women; do not summarise per woman"
    yield f"women with more than {IMPOSSIBLE_IMAGES} images", first[impossible], words


def _many(number: int, of: int) -> bool:
    return number >= LEAST_LOST and number > LOST_SHARE * of
