"""A reader's notes and corrected labels in a CSV file, one row per view, saved after each change."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bac_utils._files import written_whole
from bac_utils.run_folder import KEYS

NOTES_FILE = "reader_notes.csv"
LABELS = ("", "BAC+", "BAC-", "unsure")
COLUMNS = (*KEYS, "corrected_label", "note", "changed")


class Note(NamedTuple):
    """A reader's corrected label of a view (one of `LABELS`; empty if none) and a note in free text."""

    corrected_label: str = ""
    note: str = ""


class ReaderNotes:
    """The notes in a run's folder; the file is reread before each change, so that two readers can use it."""

    def __init__(self, folder: str | os.PathLike) -> None:
        """Read the existing notes, if any, from the run's folder.

        Raises:
            ValueError: A column is missing in the file.
        """
        self.path = Path(folder) / NOTES_FILE
        self._rows = self._load()

    def __len__(self) -> int:
        """Return the number of views with a note or a corrected label."""
        return len(self._rows)

    def get(self, patient_id: str, laterality: str, view: str, exam: str = "") -> Note:
        """Return the note on a view, which is empty if there is none."""
        found = self._rows.get((patient_id, exam, laterality, view))
        return Note(found["corrected_label"], found["note"]) if found else Note()

    def put(
        self, patient_id: str, laterality: str, view: str, corrected_label: str = "", note: str = "", exam: str = ""
    ) -> None:
        """Write a view's note and corrected label to the file; if both are empty, its row is removed.

        Args:
            patient_id: As in the views table.
            laterality: `L` or `R`.
            view: `CC` or `MLO`.
            corrected_label: One of `LABELS`.
            note: Free text.
            exam: As in the views table; empty if it has none.

        Raises:
            ValueError: The label is not in `LABELS`, or a column is missing in the file.
        """
        if corrected_label not in LABELS:
            raise ValueError(f"corrected_label: got {corrected_label!r}, must be one of {LABELS}")
        key = (patient_id, exam, laterality, view)
        if self.get(patient_id, laterality, view, exam) == (corrected_label, note):
            return
        self._rows = self._load()
        self._rows.pop(key, None)
        if corrected_label or note:
            changed = datetime.now(UTC).isoformat(timespec="seconds")
            self._rows[key] = dict(zip(COLUMNS, (*key, corrected_label, note, changed), strict=True))
        with written_whole(self.path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows[key] for key in sorted(self._rows))

    def _load(self) -> dict[tuple, dict]:
        if not self.path.is_file():
            return {}
        with open(self.path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(COLUMNS) - {"exam"} <= set(reader.fieldnames or ()):  # notes of version 0.1.0 have none
                raise ValueError(f"{self.path}: got columns {reader.fieldnames}, must have {', '.join(COLUMNS)}")
            rows = [{"exam": "", **row} for row in reader]
        return {tuple(row[k] for k in KEYS): {k: row[k] for k in COLUMNS} for row in rows}
