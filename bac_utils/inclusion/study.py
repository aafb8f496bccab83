"""The flow of inclusion through a study: from a views table to the included women and the three sets."""

import os
from pathlib import Path

import pandas as pd

from bac_utils.cohort import exclusion_reasons, set_apart
from bac_utils.inclusion.flow import Selection, list_path, read_selection
from bac_utils.settings import Settings

CRITERIA = ("aged", "complete", "labelled")
"""The stages of `cohort.exclusion_reasons`, in its order."""
UNLISTED = "removed from the views table after it was written"
APART = "only measured in notebook 04 (split quantification)"
UNDERSAMPLED = "removed from the training set by undersampling"
UNUSED = "in no set according to the views table (split unused)"


def study_flow(
    views: pd.DataFrame, settings: Settings, table: str | os.PathLike = "", split: pd.DataFrame | None = None
) -> tuple[Selection, list[str]]:
    """Follow the views of a cohort to the sets of a study.

    The flow begins with the files of the archive if their list (`flow.list_path`) lies beside the views table and has
    every view of it, and else with the table.

    Args:
        views: A checked views table; a `split` in it is the user's own.
        settings: `minimum_age` and `all_views` are used.
        table: The file of the views table; empty for a simulated cohort.
        split: The included views with their sets, as from `cohort.with_split`; None to stop at the stage `included`.

    Returns:
        The flow, whose paths are relative to the folder of the table, and notes for the user.

    Raises:
        ValueError: The list beside the table is broken.
    """
    flow, notes = _until_table(views, Path(table)) if table else (Selection(views, "table"), [])
    cohort, apart = set_apart(views)
    if len(apart):
        flow.exclude(APART, _are_in(flow.frame, apart), "cohort")
    reasons = exclusion_reasons(cohort, settings.minimum_age, settings.all_views)
    for stage, (reason, holds) in zip(CRITERIA, reasons.items(), strict=True):
        flow.exclude(reason, _are_in(flow.frame, cohort[holds]), stage)
    if split is not None:
        unused = split[split["split"] == "unused"]
        flow.exclude(UNUSED if "split" in views else UNDERSAMPLED, _are_in(flow.frame, unused), "split")
    return flow, notes


def evaluation_flow(
    views: pd.DataFrame, table: str | os.PathLike, split: str, skipped: pd.Series
) -> tuple[Selection, list[str]]:
    """Follow the views of a cohort to those on which a frozen model is evaluated.

    Args:
        views: A checked views table.
        table: Its file.
        split: The split that is evaluated; empty for all views.
        skipped: The reasons of the views that cannot be read, with the index of `views`.

    Returns:
        The flow, whose paths are relative to the folder of the table, and notes for the user.

    Raises:
        ValueError: The list beside the table is broken.
    """
    flow, notes = _until_table(views, Path(table))
    if split:
        flow.exclude(f"not of the split {split}", _are_in(flow.frame, views[views["split"] != split]), "cohort")
    flow.exclude("BAC label unknown", _are_in(flow.frame, views[views["bac"].isna()]), "labelled")
    for reason in sorted(set(skipped)):
        unread = views.loc[skipped.index[skipped == reason]]
        flow.exclude(f"image: {reason}", _are_in(flow.frame, unread), "included")
    return flow, notes


def _until_table(views: pd.DataFrame, table: Path) -> tuple[Selection, list[str]]:
    """Return the flow up to a views table, from its list if that has all of its views; and notes."""
    path = list_path(table)
    if not path.is_file():
        return Selection(views, "table"), []
    flow = read_selection(path)
    missing = ~_are_in(views, flow.frame)
    if missing.any():
        return Selection(views, "table"), [
            f"{path.name} lacks {missing.sum()} of {len(views)} views of {table.name}, such as "
            f"{views['image'][missing].iloc[0]}: the flow of inclusion begins with {table.name}"
        ]
    flow.exclude(UNLISTED, ~_are_in(flow.frame, views), "table")
    names = ["patient_id", "laterality", "view"]  # as they are in the table now
    stated = views.set_index(_paths(views))[names].loc[_paths(flow.frame)]
    flow.frame = flow.frame.assign(**{name: stated[name].to_numpy() for name in names})
    return flow, []


def _paths(images: pd.DataFrame) -> pd.Series:
    return images["image"].map(os.path.normpath)


def _are_in(images: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Return for each image whether it is among the others."""
    return _paths(images).isin(_paths(others))
