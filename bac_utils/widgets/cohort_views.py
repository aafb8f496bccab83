"""The views of a views table for a reader who must not know more: images alone, prepared when they are shown."""

import os
from collections.abc import Sequence

import numpy as np

from bac_utils.intake.mammogram import Skip
from bac_utils.readings.reader_file import ViewKey
from bac_utils.views_table import EXAM, read_views
from bac_utils.widgets.hanging import HANGING
from bac_utils.widgets.originals import Originals

SHAPE, PIXEL_MM = (960, 480), 0.25
"""Matrix and pixel size of the views on the screen: 240 mm x 120 mm; larger breasts are shrunk to fit. All breasts have
the same scale. Zoomed views show the pixels of the file."""
KEPT = 12
"""Number of originals in memory: those of the woman shown, of the one before and of the next."""


class CohortViews:
    """The views of a table; labels, lengths, ages and sets are dropped when it is read.

    Attributes:
        table: One row per view: `patient_id, exam, laterality, view, image_path, pixel_spacing_mm`.
        shape: (rows, columns) of the prepared views.
        exams: (patient_id, exam) of all exams whose files exist, sorted.
        left_out: Number of exams of which a file does not exist.
        originals: The image files.
    """

    def __init__(self, cohort: str | os.PathLike) -> None:
        """Read a views table.

        Args:
            cohort: The table; its labels are not used, so `bac` may be empty throughout.

        Raises:
            FileNotFoundError: The table does not exist, or of no exam all files exist.
            ValueError: The table breaks a rule (`views_table.read_views`).
        """
        views = read_views(cohort)
        names = [*EXAM, "laterality", "view", "image_path"]
        names += ["pixel_spacing_mm"] if "pixel_spacing_mm" in views else []
        there = views["image_path"].map(os.path.isfile).groupby([views[name] for name in EXAM]).transform("all")
        self.table, self.shape = views.loc[there, names].reset_index(drop=True), SHAPE
        self.exams = sorted(self.table[EXAM].drop_duplicates().itertuples(index=False, name=None))
        self.left_out = len(views.loc[~there, EXAM].drop_duplicates())
        if not self.exams:
            raise FileNotFoundError(f"cohort: got '{cohort}', must have the image files of at least one exam")
        self._keys = [ViewKey(*row) for row in self.table[list(ViewKey._fields)].itertuples(index=False)]
        self._places = {key: row for row, key in enumerate(self._keys)}
        self.originals = Originals(self, PIXEL_MM, KEPT)

    def rows(self, exam: tuple[str, str]) -> list[int | None]:
        """Return the rows of an exam's views in the hanging protocol, None where there is none."""
        return [self._places.get(ViewKey(*exam, *view)) for view in HANGING]

    def key(self, row: int) -> ViewKey:
        """Return what identifies a view in the table of readings."""
        return self._keys[row]

    def spacing_mm(self, row: int) -> tuple[float, float] | None:
        """Return the (row, column) spacing of a prepared view, or None if it is unknown."""
        return self.originals.prepared(row).spacing_mm

    def shown(self, row: int | None, lines: Sequence[np.ndarray] = ()) -> dict:
        """Return a view for the canvas.

        Args:
            row: The view's row; None if there is none.
            lines: Lines of the ruler, in pixels of the file.

        Returns:
            `pixels` (None if the file cannot be used), `spacing_mm`, `lines` and `missing`, as in `ViewCanvas.show`.
        """
        if row is None:
            return {"pixels": None}
        try:
            prepared = self.originals.prepared(row)
        except Skip as skip:
            return {"pixels": None, "missing": f"the image cannot be read ({skip.code})"}
        moved = [self.originals.to_view(row, line) for line in lines]
        return {"pixels": prepared.pixels, "spacing_mm": prepared.spacing_mm, "lines": moved}

    def load(self, rows: Sequence[int | None]) -> None:
        """Read the files of some views, so that they can be shown at once; those that cannot be used are skipped."""
        for row in rows:
            self.shown(row)
