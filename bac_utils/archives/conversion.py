"""Steps shared by all archives: excluding views with a count, ages, checks, and writing the views table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bac_utils.archives.columns import read_ages
from bac_utils.archives.labels import check_spelling
from bac_utils.views_table import AGE_BOUNDS, COLUMNS, check_views

OPTIONAL = ("bac_length_mm", "pixel_spacing_mm", "label_level")
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
            bac` and, if the labels state them, `bac_length_mm, pixel_spacing_mm`. `bac` is NaN where unknown. `age` is
            NaN where unknown, if such views were to be kept.
        exclusions: `reason, women, views`: numbers of women and views that were excluded. Each view counts under the
            first reason that applies; women count only if their identifier is known.
        images: The folder to which `image` is relative.
        notes: Further remarks for the user.
    """

    views: pd.DataFrame
    exclusions: pd.DataFrame
    images: Path
    notes: tuple[str, ...] = ()


class Selection:
    """The views still selected, and a count of those excluded so far."""

    def __init__(self, frame: pd.DataFrame):
        """Start with all rows.

        Args:
            frame: One row per image: `patient_id` (empty if unknown) and the columns on which the selection depends.
        """
        self.frame = frame.reset_index(drop=True)
        self.counts: list[tuple[str, int, int]] = []

    def exclude(self, reason: str, bad: pd.Series) -> None:
        """Exclude the rows of `frame` for which `bad` is true, and count them under the reason."""
        out = self.frame[bad]
        women = out["patient_id"][out["patient_id"] != ""].nunique()
        self.counts.append((reason, women, len(out)))
        self.frame = self.frame[~bad]

    @property
    def exclusions(self) -> pd.DataFrame:
        """The numbers excluded: `reason, women, views`, in the order of the exclusions."""
        return pd.DataFrame(self.counts, columns=["reason", "women", "views"])


def finish(
    name: str,
    selection: Selection,
    images: Path,
    ages: str | os.PathLike | pd.Series | None,
    without_age: bool,
    notes: Sequence[str] = (),
) -> Archive:
    """Exclude repeated views and women without an age, and check the remaining views.

    Args:
        name: Name of the archive, for messages.
        selection: Rows with `row` (its line in the table), `patient_id`, `age` (NaN where unknown), `laterality`,
            `view`, `image`, `bac` and optionally `OPTIONAL`.
        images: The folder to which `image` is relative.
        ages: A table for `columns.read_ages`, or what that returned; for the women in it, it overrides the archive's
            own age.
        without_age: Keep the women without an age.
        notes: See `Archive`.

    Returns:
        The views.

    Raises:
        ValueError: No view remains, or the table breaks another rule of `views_table.check_views`.
    """
    selection.exclude(REPEATED, selection.frame.duplicated(["patient_id", "laterality", "view"]))
    stated = read_ages(ages) if ages is not None and not isinstance(ages, pd.Series) else ages
    notes = [*notes, *_unused_ages(selection.frame, stated)]
    selection.frame = selection.frame.assign(age=_one_age(selection.frame, stated))
    if not without_age:
        selection.exclude(NO_AGE, selection.frame["age"].isna())
    frame = selection.frame
    if frame.empty:
        counts = ", ".join(f"{views} {reason}" for reason, _, views in selection.counts if views) or "no images"
        more = "; give a table of ages, or keep the views without ages" if NO_AGE in counts else ""
        raise ValueError(f"{name}: got no usable view ({counts}), must have at least one{more}")
    columns = [*COLUMNS, *(column for column in OPTIONAL if column in frame)]
    views = check_views(frame[columns], name, frame["row"].tolist())
    return Archive(views, selection.exclusions, images, tuple(notes))


def _one_age(frame: pd.DataFrame, ages: pd.Series | None) -> pd.Series:
    """Return the age of each row's woman; NaN if it is unknown or her rows state different ages."""
    stated = frame["age"].where(frame["age"].between(*AGE_BOUNDS)).groupby(frame["patient_id"])
    one = stated.transform("first").where(stated.transform("nunique") == 1)
    return one if ages is None else frame["patient_id"].map(ages).astype("float64").fillna(one)


def _unused_ages(frame: pd.DataFrame, ages: pd.Series | None) -> list[str]:
    """Refuse ages that match women only in another spelling of their identifiers, and count those that match none."""
    if ages is None:
        return []
    given, women = set(ages.index), set(frame["patient_id"])
    check_spelling(str(ages.name), "patient_id", given, women)
    unused = len(given - women)
    return [f"women of {ages.name} of whom there is no image: {unused}"] if unused else []


def check_output(output: str | os.PathLike, overwrite: bool) -> tuple[Path, Path]:
    """Return the paths of a views table and of its table of exclusions, `NAME.excluded.csv`.

    Args:
        output: The views table.
        overwrite: Existing files may be replaced.

    Raises:
        FileExistsError: One of them exists and may not be replaced.
    """
    output = Path(output)
    paths = output, output.with_suffix(".excluded.csv")
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} already exists: choose another file, or overwrite it")
    return paths


def write_views(archive: Archive, output: str | os.PathLike, overwrite: bool = False) -> None:
    """Write a views table and its table of exclusions.

    Args:
        archive: The views returned by a reader of `archives`.
        output: The CSV file, such as `views.csv`, in which image paths are relative to its folder. The exclusions are
            written to `views.excluded.csv`.
        overwrite: Replace existing files.

    Raises:
        FileExistsError: One of the files exists and `overwrite` is False.
    """
    output, excluded = check_output(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    here, images = os.path.abspath(output.parent), os.path.abspath(archive.images)
    views = archive.views.copy()
    views["image"] = [_from_folder(os.path.join(images, image), here) for image in views["image"]]
    views.to_csv(output, index=False, float_format="%g", lineterminator="\n")
    archive.exclusions.to_csv(excluded, index=False, lineterminator="\n")


def _from_folder(path: str, folder: str) -> str:
    """Return a path relative to a folder."""
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # on another drive of Windows
        return path


def closing_words(archive: Archive, output: str | os.PathLike) -> str:
    """Summarise for the user what was written and what was excluded.

    Args:
        archive: The views that were written.
        output: The views table.

    Returns:
        The summary, several lines.
    """
    views = archive.views
    counts = f"{int((views['bac'] == 1).sum())} BAC+, {int((views['bac'] == 0).sum())} BAC-, "
    counts += f"{int(views['bac'].isna().sum())} unknown"
    lines = [f"women: {views['patient_id'].nunique()}, views: {len(views)} ({counts}), written to {output}"]
    lines += [
        f"excluded, {reason}: {number}" for reason, _, number in archive.exclusions.itertuples(index=False) if number
    ]
    return "\n".join([*lines, *archive.notes])
