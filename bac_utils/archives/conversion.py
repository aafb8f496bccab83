"""From a dataset's images to its views table: what is left out and counted, ages, the checks, the files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bac_utils._tables import read_table
from bac_utils.views_table import AGE_BOUNDS, REQUIRED, check_views

OPTIONAL = ("bac_length_mm", "pixel_spacing_mm")
NO_SIDE = "side other than L and R"
NO_VIEW = "view other than CC and MLO"
NO_FILE = "image file not there"
NO_AGE = "no age from {} to {} years, or not one age in all views of the woman".format(*AGE_BOUNDS)
REPEATED = "further image of the same view"


@dataclass(frozen=True)
class Archive:
    """A dataset's views in the kit's form.

    Attributes:
        views: One row a view, as `views_table.check_views` gives it: `patient_id, age, laterality, view, image, bac`
            and, where labels state them, `bac_length_mm, pixel_spacing_mm`. `bac` is NaN where unknown. `age` is NaN
            only where that was asked for.
        exclusions: `reason, women, views`: what was left out, each view under the first reason that holds; women as
            far as they are known.
        images: The folder from which `image` starts.
        notes: Sentences on what else the user should know.
    """

    views: pd.DataFrame
    exclusions: pd.DataFrame
    images: Path
    notes: tuple[str, ...] = ()


class Selection:
    """Views on their way into the table, and what was left out so far."""

    def __init__(self, frame: pd.DataFrame):
        """Begin with all rows.

        Args:
            frame: One row an image: `patient_id` (empty where unknown) and whatever decides.
        """
        self.frame = frame.reset_index(drop=True)
        self.counts: list[tuple[str, int, int]] = []

    def leave_out(self, reason: str, bad: pd.Series) -> None:
        """Leave out the rows of `frame` for which `bad` is true, and count them under the reason."""
        out = self.frame[bad]
        women = out["patient_id"][out["patient_id"] != ""].nunique()
        self.counts.append((reason, women, len(out)))
        self.frame = self.frame[~bad]

    @property
    def exclusions(self) -> pd.DataFrame:
        """What was left out: `reason, women, views`, in the order of the reasons."""
        return pd.DataFrame(self.counts, columns=["reason", "women", "views"])


def read_ages(path: str | os.PathLike) -> pd.Series:
    """Read ages that an archive lacks.

    Args:
        path: A CSV file with the columns `patient_id` (the archive's own) and `age` (years).

    Returns:
        Ages by `patient_id`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A cell breaks its rule, or a woman comes twice.
    """
    table = read_table(path, ("patient_id", "age"))
    table.refuse(table.cells["patient_id"] == "", "patient_id", "must not be empty")
    table.refuse(table.cells["patient_id"].duplicated(), "patient_id", "must come once")
    rule = "must be a number of years from {} to {}".format(*AGE_BOUNDS)
    table.refuse(table.cells["age"] == "", "age", rule)
    ages = table.numbers("age", lambda x: x.between(*AGE_BOUNDS), rule)
    return pd.Series(ages.to_numpy(), index=table.cells["patient_id"].to_numpy())


def finish(
    name: str,
    selection: Selection,
    images: Path,
    ages: str | os.PathLike | None,
    without_age: bool,
    notes: Sequence[str] = (),
) -> Archive:
    """Leave out repeated views and women without an age, and check what is left.

    Args:
        name: What to call the archive in a message.
        selection: Rows with `row` (where it stands in its table), `patient_id`, `age` (NaN where unknown),
            `laterality`, `view`, `image`, `bac` and perhaps `OPTIONAL`.
        images: The folder from which `image` starts.
        ages: A table for `read_ages`; for a woman in it, it counts before the archive's own age.
        without_age: Keep the women without an age.
        notes: See `Archive`.

    Raises:
        ValueError: No view is left, or the table breaks another rule of `views_table.check_views`.
    """
    selection.leave_out(REPEATED, selection.frame.duplicated(["patient_id", "laterality", "view"]))
    selection.frame = selection.frame.assign(age=_one_age(selection.frame, ages))
    if not without_age:
        selection.leave_out(NO_AGE, selection.frame["age"].isna())
    frame = selection.frame
    if frame.empty:
        told = ", ".join(f"{views} {reason}" for reason, _, views in selection.counts if views) or "no images"
        more = "; ages may be given in a table, or the views kept without them" if NO_AGE in told else ""
        raise ValueError(f"{name}: got no view to keep ({told}), must hold at least one{more}")
    columns = [*REQUIRED, *(column for column in OPTIONAL if column in frame)]
    unknown = frame["age"].isna().to_numpy()
    filled = frame[columns].assign(age=frame["age"].fillna(AGE_BOUNDS[0]))  # so that all other rules are checked
    views = check_views(filled, name, frame["row"].tolist())
    views["age"] = views["age"].mask(unknown)
    return Archive(views, selection.exclusions, images, tuple(notes))


def _one_age(frame: pd.DataFrame, ages: str | os.PathLike | None) -> pd.Series:
    """Return each woman's age in all her rows, NaN where it is unknown or there are several."""
    stated = frame["age"].where(frame["age"].between(*AGE_BOUNDS)).groupby(frame["patient_id"])
    one = stated.transform("first").where(stated.transform("nunique") == 1)
    return one if ages is None else frame["patient_id"].map(read_ages(ages)).astype("float64").fillna(one)


def check_output(output: str | os.PathLike, overwrite: bool) -> tuple[Path, Path]:
    """Return the paths of a views table and of the table of what was left out, `NAME.excluded.csv`.

    Args:
        output: The views table.
        overwrite: They may be there.

    Raises:
        FileExistsError: One of them is there and must not be.
    """
    output = Path(output)
    paths = output, output.with_suffix(".excluded.csv")
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is there already: choose another file, or overwrite it")
    return paths


def write_views(archive: Archive, output: str | os.PathLike, overwrite: bool = False) -> None:
    """Write a views table, and beside it what was left out.

    Args:
        archive: What a reader of `archives` returned.
        output: The CSV file, such as `views.csv`; images are named by their paths from its folder. What was left out
            goes into `views.excluded.csv`.
        overwrite: Replace files that are there.

    Raises:
        FileExistsError: One of the files is there.
    """
    output, excluded = check_output(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    here, images = os.path.abspath(output.parent), os.path.abspath(archive.images)
    views = archive.views.copy()
    views["image"] = [_from_folder(os.path.join(images, image), here) for image in views["image"]]
    views.to_csv(output, index=False, float_format="%g", lineterminator="\n")
    archive.exclusions.to_csv(excluded, index=False, lineterminator="\n")


def _from_folder(path: str, folder: str) -> str:
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # Windows, another drive
        return path


def closing_words(archive: Archive, output: str | os.PathLike) -> str:
    """Tell what was written, what was left out, and what else there is to know.

    Args:
        archive: What was written.
        output: The views table.

    Returns:
        Lines.
    """
    views = archive.views
    counts = f"{int((views['bac'] == 1).sum())} BAC+, {int((views['bac'] == 0).sum())} BAC-, "
    counts += f"{int(views['bac'].isna().sum())} unknown"
    lines = [f"{views['patient_id'].nunique()} women, {len(views)} views ({counts}): {output}"]
    lines += [
        f"left out, {reason}: {number}" for reason, _, number in archive.exclusions.itertuples(index=False) if number
    ]
    return "\n".join([*lines, *archive.notes])
