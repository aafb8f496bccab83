"""The stages of inclusion in their order, and the list of what each of them leaves out, with the reason."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from bac_utils._files import written_whole
from bac_utils._tables import read_table

STAGES = MappingProxyType(
    {
        "found": "Images found",
        "read": "Usable CC and MLO views",
        "one_per_view": "One image per view",
        "exam": "One exam per woman",
        "table": "Views table",
        "cohort": "Cohort",
        "aged": "Of the age studied",
        "complete": "All four views",
        "labelled": "All views labelled",
        "included": "Included",
        "split": "In the three sets",
    }
)
"""The stages in their order, each with the name of what remains after it. The first five are those of `archives`."""
COLUMNS = ("image", "patient_id", "laterality", "view", "stage", "reason")
"""Columns of a list; `stage` and `reason` are empty for images that remain."""
_IMAGE = COLUMNS[:4]
_PARTS = ("entered", "excluded", "remaining")


class Selection:
    """The images still selected, and a list of those that were excluded.

    Attributes:
        frame: The images still selected.
        start: The stage at which the flow begins: `found`, or `table` for a views table of unknown origin.
    """

    def __init__(self, frame: pd.DataFrame, start: str = "found"):
        """Start with all rows.

        Args:
            frame: One row per image: `patient_id` (empty if unknown), the columns on which the selection depends and,
                as far as they are known, `image`, `laterality` and `view`. `path` names an image without a file.
            start: One of `STAGES`.
        """
        self.frame, self.start = frame.reset_index(drop=True), start
        self._steps: dict[tuple[str, str], None] = {}
        self._excluded: list[pd.DataFrame] = []

    def exclude(self, reason: str, bad: pd.Series, stage: str = "read") -> None:
        """Exclude the rows of `frame` for which `bad` is true.

        Args:
            reason: Why they are excluded; the count of this reason is kept even if there are none.
            bad: bool, with the index of `frame`.
            stage: The stage that excludes them, one of `STAGES` after `start`.

        Raises:
            ValueError: There is no such stage, or it is not after `start`.
        """
        if stage not in self.names()[1:]:
            raise ValueError(f"stage: got {stage!r}, must be one of {', '.join(self.names()[1:])}")
        self._steps.setdefault((stage, reason))
        self._excluded.append(_described(self.frame[bad]).assign(stage=stage, reason=reason))
        self.frame = self.frame[~bad]

    def names(self) -> list[str]:
        """Return the names of the stages from `start` on."""
        return list(STAGES)[list(STAGES).index(self.start) :]

    def listed(self) -> pd.DataFrame:
        """Return all images with the columns `COLUMNS`, in their first order."""
        parts = [*self._excluded, _described(self.frame).assign(stage="", reason="")]
        return pd.concat(parts).sort_index(kind="stable")

    def rename_women(self, names: Mapping[str, str]) -> None:
        """Replace the identifiers of women; empty ones stay empty."""
        self.frame, *self._excluded = (
            part.assign(patient_id=part["patient_id"].map({"": "", **names})) for part in (self.frame, *self._excluded)
        )

    def counts(self) -> pd.DataFrame:
        """Count what was excluded, by stage and reason.

        Returns:
            `stage, reason, women, views, women_left, views_left`: the first row is that of `start`, the others are in
            the order of the stages. Before the stage `read`, views are files, and `women_left` is empty, as files that
            cannot be used may not state the woman. `women` are those of the excluded views; they may have others left.
        """
        images, order = self.listed(), self.names()
        rows = [(self.start, "", 0, 0, None if self.start == "found" else _women(images), len(images))]
        for stage, reason in sorted(self._steps, key=lambda step: order.index(step[0])):
            out = (images["stage"] == stage) & (images["reason"] == reason)
            excluded, images = images[out], images[~out]
            rows.append((stage, reason, _women(excluded), len(excluded), _women(images), len(images)))
        table = pd.DataFrame(rows, columns=["stage", "reason", "women", "views", "women_left", "views_left"])
        return table.astype({"women_left": "Int64"})

    def stages(self) -> list[dict]:
        """Count what enters and leaves each stage.

        Returns:
            By stage after `start`, in their order: `stage`; `entered`, `excluded` and `remaining`, each with `views`
            and `women`; `reasons`, with `views` and `women` of each reason. Excluded women are those of whom no view
            remains, so that entered = excluded + remaining. The women who enter the stage `read` are None: see
            `counts`.
        """
        images, order = self.listed(), self.names()
        place = images["stage"].map({name: number for number, name in enumerate(order)} | {"": len(order)})
        found = []
        for number, stage in enumerate(order[1:], 1):
            parts = images[place >= number], images[place == number], images[place > number]
            counts = [{"views": len(part), "women": _women(part)} for part in parts]
            counts[1]["women"] = len(_names(parts[0]) - _names(parts[2]))
            if order[number - 1] == "found":
                counts[0]["women"] = counts[1]["women"] = None
            why = [reason for step, reason in self._steps if step == stage]
            out = {reason: parts[1][parts[1]["reason"] == reason] for reason in why}
            reasons = {reason: {"views": len(part), "women": _women(part)} for reason, part in out.items() if len(part)}
            found.append({"stage": stage, **dict(zip(_PARTS, counts, strict=True)), "reasons": reasons})
        return found

    def write(self, path: str | os.PathLike, images: str | os.PathLike) -> None:
        """Write the list; paths in it become relative to its folder.

        Args:
            path: The CSV file.
            images: The folder to which `image` is relative.
        """
        listed = self.listed()
        listed["image"] = rebase(listed["image"], images, Path(path).parent)
        with written_whole(path) as unfinished:
            listed.to_csv(unfinished, index=False, lineterminator="\n")


def list_path(table: str | os.PathLike) -> Path:
    """Return the path of the list of a views table: `views.inclusion.csv` beside `views.csv`."""
    return Path(table).with_suffix(".inclusion.csv")


def read_selection(path: str | os.PathLike) -> Selection:
    """Read a list that begins with files.

    Args:
        path: A table with the columns `COLUMNS`.

    Returns:
        The flow; `frame` has the images that remain.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not such a list.
    """
    table = read_table(path, COLUMNS)
    stages = list(STAGES)[1:]
    table.refuse(~table.cells["stage"].isin(["", *stages]), "stage", f"must be empty or one of {', '.join(stages)}")
    table.refuse((table.cells["stage"] == "") != (table.cells["reason"] == ""), "reason", "must be stated with a stage")
    selection = Selection(table.cells[list(COLUMNS)])
    for stage in stages:
        of_stage = selection.frame["reason"][selection.frame["stage"] == stage]
        for reason in of_stage.unique():
            here = (selection.frame["stage"] == stage) & (selection.frame["reason"] == reason)
            selection.exclude(reason, here, stage)
    selection.frame = selection.frame[list(_IMAGE)]
    return selection


def rebase(paths: Iterable[str], old: str | os.PathLike, new: str | os.PathLike) -> list[str]:
    """Make paths that are relative to one folder relative to another; empty ones stay empty."""
    old, new = os.path.abspath(old), os.path.abspath(new)
    return [_from_folder(os.path.join(old, path), new) if path else "" for path in paths]


def _from_folder(path: str, folder: str) -> str:
    """Return a path relative to a folder."""
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # on another drive of Windows
        return path


def _described(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of images that a list has, as text that can be written into a table."""
    found = frame.reindex(columns=_IMAGE).astype(object)
    found = found.where(found.notna(), "").astype(str)
    if "path" in frame:
        found["image"] = found["image"].where(found["image"] != "", frame["path"])
    found["image"] = [
        image if image.isprintable() else image.encode("unicode_escape").decode() for image in found["image"]
    ]
    return found


def _women(images: pd.DataFrame) -> int:
    """Return the number of women whose identifier is known."""
    return len(_names(images))


def _names(images: pd.DataFrame) -> set[str]:
    """Return the identifiers of the women of images, as far as they are known."""
    return set(images["patient_id"]) - {""}
