"""Steps shared by all archives: excluding views with a count, ages, checks, and writing the views table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bac_utils._files import has_content, locked, written_whole
from bac_utils.archives.ages import Ages, read_ages
from bac_utils.archives.labels import check_spelling
from bac_utils.inclusion.flow import Selection, list_path, rebase
from bac_utils.views_table import AGE_BOUNDS, COLUMNS, check_views

OPTIONAL = ("exam", "study_date", "bac_length_mm", "pixel_spacing_mm", "label_level")
NO_SIDE = "side other than L and R"
NO_VIEW = "view other than CC and MLO"
NO_FILE = "image file missing"
NO_AGE = "no age from {} to {} years, or different ages in the views of one woman".format(*AGE_BOUNDS)
REPEATED = "another image of the same view"


@dataclass(frozen=True)
class Archive:
    """The views of an archive, ready to be written as a views table.

    Attributes:
        views: One row per view, as returned by `views_table.check_views`: `patient_id, age, laterality, view, image,
            bac, exam, study_date` and, if the labels state them, `bac_length_mm, pixel_spacing_mm`. `bac` is NaN where
            unknown. `age` is NaN where unknown, if such views were to be kept.
        flow: The list of all images, with the stage and the reason of those that were excluded. Each counts under the
            first reason that applies.
        images: The folder to which `image` is relative.
        notes: Further remarks for the user.
    """

    views: pd.DataFrame
    flow: Selection
    images: Path
    notes: tuple[str, ...] = ()

    @property
    def exclusions(self) -> pd.DataFrame:
        """The numbers excluded, by stage and reason: `Selection.counts`."""
        return self.flow.counts()[1:]


def finish(
    name: str,
    selection: Selection,
    images: Path,
    ages: str | os.PathLike | Ages | None,
    without_age: bool,
    notes: Sequence[str] = (),
) -> Archive:
    """Exclude repeated views and women without an age, and check the remaining views.

    Args:
        name: Name of the archive, for messages.
        selection: Rows with `row` (its line in the table), `patient_id`, `age` (NaN where unknown), `laterality`,
            `view`, `image`, `bac` and optionally `OPTIONAL`.
        images: The folder to which `image` is relative.
        ages: A table for `ages.read_ages`, or what that returned; for the women in it, it overrides the archive's
            own age.
        without_age: Keep the women without an age.
        notes: See `Archive`.

    Returns:
        The views.

    Raises:
        ValueError: No view remains, or the table breaks another rule of `views_table.check_views`.
    """
    exclude_repeated(selection, *({"exam"} & set(selection.frame)))
    stated = read_ages(ages) if ages is not None and not isinstance(ages, Ages) else ages
    notes = [*notes, *_unused_ages(selection.frame, stated)]
    selection.frame = selection.frame.assign(age=_one_age(selection.frame, stated))
    if not without_age:
        selection.exclude(NO_AGE, selection.frame["age"].isna(), "table")
    frame = selection.frame
    if frame.empty:
        left_out = selection.counts()[1:]
        counts = [
            f"{views} {reason}" for reason, views in zip(left_out["reason"], left_out["views"], strict=True) if views
        ]
        more = (
            "; give a table of ages, or keep the views without ages"
            if left_out["views"][left_out["reason"] == NO_AGE].any()
            else ""
        )
        shown = ", ".join(counts) or "no images"
        raise ValueError(f"{name}: got no usable view ({shown}), must have at least one{more}")
    columns = [*COLUMNS, *(column for column in OPTIONAL if column in frame)]
    views = check_views(frame[columns], name, frame["row"].tolist())
    return Archive(views, selection, images, tuple(notes))


def exclude_repeated(selection: Selection, *exam: str) -> None:
    """Exclude all but the first image of each view of a woman or, given the columns of an exam, of her exam."""
    keys = ["patient_id", *exam, "laterality", "view"]
    selection.exclude(REPEATED, selection.frame.duplicated(keys), "one_per_view")


def _one_age(frame: pd.DataFrame, ages: Ages | None) -> pd.Series:
    """Return the age of each row's woman at her exam; NaN if it is unknown or its rows state different ages."""
    age = frame["age"].where(frame["age"].between(*AGE_BOUNDS))
    if ages is not None:
        dates = frame["study_date"] if "study_date" in frame else pd.Series("", index=frame.index, dtype=object)
        age = ages.at(frame["patient_id"], dates).fillna(age)
    stated = age.groupby([frame[name] for name in ("patient_id", "exam") if name in frame])
    return stated.transform("first").where(stated.transform("nunique") == 1)


def _unused_ages(frame: pd.DataFrame, ages: Ages | None) -> list[str]:
    """Refuse ages that match women only in another spelling of their identifiers, and count those that match none."""
    if ages is None:
        return []
    given, women = ages.women, set(frame["patient_id"])
    check_spelling(ages.name, "patient_id", given, women)
    unused = len(given - women)
    return [f"women of {ages.name} of whom there is no image: {unused}"] if unused else []


def check_output(output: str | os.PathLike, overwrite: bool) -> tuple[Path, Path, Path]:
    """Return the paths of a views table, of its numbers of exclusions, `NAME.excluded.csv`, and of its list of images.

    Args:
        output: The views table.
        overwrite: Existing files may be replaced.

    Raises:
        FileExistsError: One of them exists and may not be replaced.
    """
    output = Path(output)
    paths = output, output.with_suffix(".excluded.csv"), list_path(output)
    for path in paths:
        if not overwrite and (has_content(path) or (path.exists() and not path.is_file())):
            raise FileExistsError(f"{path} already exists: choose another file, or overwrite it")
    return paths


def write_views(archive: Archive, output: str | os.PathLike, overwrite: bool = False) -> None:
    """Write a views table, and its exclusions as numbers and as a list.

    Args:
        archive: The views returned by a reader of `archives`.
        output: The CSV file, such as `views.csv`, in which image paths are relative to its folder. The numbers of
            exclusions are written to `views.excluded.csv`, the list of all images to `views.inclusion.csv`.
        overwrite: Replace existing files.

    Raises:
        FileExistsError: One of the files exists and `overwrite` is False, or another process writes them.
    """
    with locked(output):
        output, excluded, listed = check_output(output, overwrite)
        views = archive.views.copy()
        views["image"] = rebase(views["image"], archive.images, output.parent)
        views = views.drop(columns=[name for name in ("exam", "study_date") if (views[name] == "").all()])
        archive.flow.write(listed, archive.images)
        with written_whole(excluded) as part:
            archive.flow.counts().to_csv(part, index=False, lineterminator="\n")
        with written_whole(output) as part:
            views.to_csv(part, index=False, float_format="%g", lineterminator="\n")


def closing_words(archive: Archive, output: str | os.PathLike) -> list[str]:
    """Summarise for the user what was written and what was excluded.

    Args:
        archive: The views that were written.
        output: The views table.

    Returns:
        The lines of the summary.
    """
    views = archive.views
    counts = f"{int((views['bac'] == 1).sum())} BAC+, {int((views['bac'] == 0).sum())} BAC-, "
    counts += f"{int(views['bac'].isna().sum())} unknown"
    lines = [f"women: {views['patient_id'].nunique()}, views: {len(views)} ({counts}), written to {output}"]
    lines += [f"excluded, {row.reason}: {row.views}" for row in archive.exclusions.itertuples() if row.views]
    return [*lines, *archive.notes]
