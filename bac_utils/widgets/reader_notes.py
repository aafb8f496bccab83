"""A reader's notes and corrected labels in a CSV file, one row per view, saved after each change."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bac_utils._files import locked, written_whole
from bac_utils.run_folder import KEYS

NOTES_FILE = "reader_notes.csv"
LABELS = ("", "BAC+", "BAC-", "unsure")
COLUMNS = (*KEYS, "corrected_label", "note", "changed")
WAIT_S = 10
"""Time in s to wait while another process writes the file."""
MOST = 20_000
"""Length of the longest note, in characters; a CSV reader refuses fields above 131,072."""


class Note(NamedTuple):
    """A reader's corrected label of a view (one of `LABELS`; empty if none) and a note in free text."""

    corrected_label: str = ""
    note: str = ""

    def merged(self, other: "Note", before: "Note") -> "Note":
        """Return this note joined with another one; both were written in place of `before`.

        Where only one of the two changed the text or the label, that change counts. Two different texts are both kept,
        and so are two different labels: this note's as the label, the other one in the text.
        """
        label = other.corrected_label if self.corrected_label == before.corrected_label else self.corrected_label
        text = other.note if self.note == before.note else self.note
        if other.note not in (before.note, text):
            text = f"{other.note}\n{text}"
        if other.corrected_label not in (before.corrected_label, label):
            text = f"{text}\nanother reader's label: {other.corrected_label or 'as in the table'}".lstrip()
        return Note(label, text)


class ReaderNotes:
    """The notes in a run's folder, for any number of readers at a time.

    The file is reread before it is shown or changed, and locked from then until the change is written. A note that
    cannot be written is kept and written with the next one.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Read the existing notes, if any, from the run's folder.

        Raises:
            ValueError: The file is not one of notes, for example because a column is missing.
        """
        self.path = Path(folder) / NOTES_FILE
        self._rows = self._load()
        self._unsaved: dict[tuple, tuple[Note, Note | None]] = {}  # the new note and the one before it

    def __len__(self) -> int:
        """Return the number of views with a note or a corrected label."""
        return len(self._rows)

    @property
    def unsaved(self) -> int:
        """The number of views whose note could not be written yet."""
        return len(self._unsaved)

    def get(self, patient_id: str, laterality: str, view: str, exam: str = "") -> Note:
        """Return the note on a view, which is empty if there is none.

        Raises:
            ValueError: The file is not one of notes.
            OSError: The file cannot be read.
        """
        key = (patient_id, exam, laterality, view)
        if key in self._unsaved:
            return self._unsaved[key][0]
        self._rows = self._load()
        return self._in_file(key)

    def put(
        self,
        patient_id: str,
        laterality: str,
        view: str,
        corrected_label: str = "",
        note: str = "",
        exam: str = "",
        before: Note | None = None,
    ) -> Note:
        """Write a view's note and corrected label to the file; if both are empty, its row is removed.

        Args:
            patient_id: As in the views table.
            laterality: `L` or `R`.
            view: `CC` or `MLO`.
            corrected_label: One of `LABELS`.
            note: Free text of at most `MOST` characters.
            exam: As in the views table; empty if it has none.
            before: The note that the reader changed. If the file has another one by now, both are kept
                (`Note.merged`). Default: it is replaced.

        Returns:
            The note as written.

        Raises:
            ValueError: The label is not in `LABELS`, the note is too long, or the file is not one of notes.
            FileExistsError: Another process keeps the file locked; the note is written with the next one.
            OSError: The file cannot be read or written; the note is written with the next one.
        """
        if corrected_label not in LABELS:
            raise ValueError(f"corrected_label: got {corrected_label!r}, must be one of {LABELS}")
        if len(note) > MOST:
            raise ValueError(f"note: got {len(note)} characters, must be at most {MOST}")
        key = (patient_id, exam, laterality, view)
        if key in self._unsaved:
            before = self._unsaved[key][1]
        self._unsaved[key] = Note(corrected_label, note), before
        with locked(self.path, WAIT_S):
            self._rows = self._load()
            if any([self._set(other, *unsaved) for other, unsaved in self._unsaved.items()]):
                self._write()
            self._unsaved.clear()
        return self._in_file(key)

    def _set(self, key: tuple, new: Note, before: Note | None) -> bool:
        """Change the row of a view, and return whether it differs now from the one in the file."""
        found = self._in_file(key)
        if before is not None and found not in (before, new):
            new = new.merged(found, before)
        if new == found:
            return False
        self._rows.pop(key, None)
        if any(new):
            changed = datetime.now(UTC).isoformat(timespec="seconds")
            self._rows[key] = dict(zip(COLUMNS, (*key, *new, changed), strict=True))
        return True

    def _write(self) -> None:
        with written_whole(self.path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows[key] for key in sorted(self._rows))

    def _in_file(self, key: tuple) -> Note:
        found = self._rows.get(key)
        return Note(found["corrected_label"], found["note"]) if found else Note()

    def _load(self) -> dict[tuple, dict]:
        if not self.path.is_file():
            return {}
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, restval="")
                if not set(COLUMNS) - {"exam"} <= set(reader.fieldnames or ()):  # notes of version 0.1.0 have none
                    raise ValueError(f"{self.path}: got columns {reader.fieldnames}, must have {', '.join(COLUMNS)}")
                rows = [{"exam": "", **row} for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{self.path}: must be a CSV file in UTF-8 ({error})") from None
        return {tuple(row[k] for k in KEYS): {k: row[k] for k in COLUMNS} for row in rows}
