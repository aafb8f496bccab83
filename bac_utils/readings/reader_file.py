"""The file of one reader, saved whole after each change."""

import csv
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bac_utils._files import locked, written_whole
from bac_utils.readings.lines import read_lines
from bac_utils.readings.table import (
    COLUMNS,
    CSBI,
    ENTRIES,
    KEYS,
    MOST,
    OF_EXAM,
    as_text,
    check_reader,
    file_name,
    read_file,
)

LARGEST_SEED = 10**15 - 1
WAIT_S = 10
"""Time in s to wait while another process writes the file."""


class ViewKey(NamedTuple):
    """What identifies a view, as in the views table."""

    patient_id: str
    exam: str
    laterality: str
    view: str


class ReaderFile:
    """The readings of one reader, which several windows may change at a time.

    Each change is written at once: the file is locked, read again if another process has changed it, and replaced. Only
    the changed cells of the changed rows are replaced, so that two windows of one reader do not undo each other's work.
    A change that cannot be written is kept, and written with the next one.

    Attributes:
        reader: The name.
        seed: Seed of the order.
        path: The file.
    """

    def __init__(self, folder: str | os.PathLike, reader: str, seed: int) -> None:
        """Read the reader's earlier readings, if any.

        Args:
            folder: Folder of the study; created with the first change.
            reader: Name of the reader, any printable text.
            seed: Seed of the order; the same as in earlier readings.

        Raises:
            ValueError: The name or the seed breaks its rule, the file has readings of another reader or with another
                seed, or breaks a rule of the table (`table.read_file`).
        """
        self.reader = check_reader(reader)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or abs(int(seed)) > LARGEST_SEED:
            raise ValueError(f"seed: got {seed!r}, must be a whole number of at most 15 digits")
        self.seed, self.path = int(seed), Path(folder) / file_name(reader)
        self._rows: dict[ViewKey, dict[str, Any]] = {}
        self._state: tuple | None = None
        self._unsaved: dict[ViewKey, dict[str, Any]] = {}
        self._load()

    def __len__(self) -> int:
        """Return the number of views that have been read."""
        return sum(bool(row["read_at"]) for row in self._rows.values())

    @property
    def unsaved(self) -> int:
        """The number of views with a change that could not be written yet."""
        return len(self._unsaved)

    def get(self, key: ViewKey) -> dict[str, Any]:
        """Return the row of a view as a dict of `COLUMNS`: NaN for missing numbers; defaults if there is none.

        If the file can no longer be read, this is what was known of it; `put` then raises.
        """
        with suppress(ValueError, OSError):
            self._load()
        return self._row(key) | self._unsaved.get(key, {})

    def is_read(self, key: ViewKey) -> bool:
        """Return whether the reader has chosen a label for a view, or `undecided`, as far as this process knows."""
        return bool((self._rows.get(key, {}) | self._unsaved.get(key, {})).get("read_at"))

    def put(self, changes: dict[ViewKey, dict[str, Any]], position: int | None = None) -> None:
        """Write changes to the file.

        Args:
            changes: By view, new values of some of `ENTRIES`: `bac` (0, 1 or NaN), `bac_length_mm` (0 or more, or NaN),
                `csbi` (0 to 3 or NaN) and `bac_ss` (whole number, or NaN; give both to all views of an exam), `comment`
                (text), `lines` (text of `lines.lines_text`), `seconds` (time to add, s), `read_at` (True: now). A new
                label sets `read_at`, too.
            position: Place of the exam in the reader's order, from 1; kept from the first reading of a view.

        Raises:
            ValueError: A value breaks its rule; nothing is changed. Or the file breaks a rule of the table.
            FileExistsError: Another process keeps the file locked; the change is written with the next one.
            OSError: The file cannot be read or written; the change is written with the next one.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fresh = {key: self._checked(key, values, now, position) for key, values in changes.items()}
        for key, values in fresh.items():
            waiting = self._unsaved.get(key, {})
            values["seconds"] = values.get("seconds", 0.0) + waiting.get("seconds", 0.0)
            first = {"position": waiting["position"]} if "position" in waiting else {}
            self._unsaved[key] = waiting | values | first
        with locked(self.path, WAIT_S):
            self._load()
            for key, values in self._unsaved.items():
                row = self._row(key)
                known = row["seconds"] if row["seconds"] == row["seconds"] else 0.0
                kept = {"position": row["position"]} if row["position"] == row["position"] else {}
                self._rows[key] = row | values | kept | {"seconds": round(known + values["seconds"], 1)}
            self._write()
            self._unsaved.clear()

    def _checked(self, key: ViewKey, values: dict[str, Any], now: str, position: int | None) -> dict[str, Any]:
        """Return new values of a row, complete and checked against what is known of it."""
        unknown = set(values) - set(ENTRIES)
        if unknown:
            raise ValueError(f"changes: got {', '.join(sorted(unknown))}, must be among {', '.join(ENTRIES)}")
        found = dict(values)
        for name in ("bac", "bac_length_mm", *OF_EXAM, "seconds"):
            if name in found:
                found[name] = float(found[name])
        if "bac" in found or found.get("read_at"):
            found["read_at"] = now
        row = self._row(key) | self._unsaved.get(key, {}) | found
        bac, length = row["bac"], row["bac_length_mm"]
        for name, good, rule in (
            ("bac", bac in (0, 1) or bac != bac, "0, 1 or missing"),
            ("bac_length_mm", length != length or 0 <= length < np.inf, "0 or more, or missing"),
            ("bac_length_mm", not (bac == 0 and length > 0), "0 or missing where bac is 0: delete the lines first"),
            ("csbi", row["csbi"] in CSBI or row["csbi"] != row["csbi"], "0, 1, 2, 3 or missing"),
            ("bac_ss", row["bac_ss"] != row["bac_ss"] or row["bac_ss"] in range(1000), "a whole number, 0 or more"),
            ("seconds", 0 <= found.get("seconds", 0) < np.inf, "a number of seconds, 0 or more"),
            ("comment", len(row["comment"]) <= MOST, f"at most {MOST} characters"),
        ):
            if not good:
                value = f"{len(row[name])} characters" if name == "comment" else row[name]
                raise ValueError(f"{name}: got {value}, must be {rule}")
        read_lines(row["lines"])
        return found | ({} if position is None else {"position": float(position)})

    def _row(self, key: ViewKey) -> dict[str, Any]:
        """Return the known row of a view, or a new one."""
        texts = dict.fromkeys(("comment", "lines", "read_at"), "")
        empty = dict.fromkeys(("bac", "bac_length_mm", *OF_EXAM, "seconds", "position"), np.nan)
        first = {"reader": self.reader, "seed": float(self.seed)} | dict(zip(KEYS, key, strict=True))
        return {name: (first | texts | empty | self._rows.get(key, {}))[name] for name in COLUMNS}

    def _load(self) -> None:
        """Read the file if it has changed since it was last read or written."""
        state = self._current()
        if state == self._state:
            return
        if state is None:
            self._rows, self._state = {}, None
            return
        table = read_file(self.path)
        for name, expected in (("reader", self.reader), ("seed", float(self.seed))):
            other = table[name].ne(expected) & table[name].notna()
            if other.any():
                found, rule = table.loc[other, name].iloc[0], f"must be {ascii(getattr(self, name))} in all rows"
                found = f"{found:g}" if isinstance(found, float) else ascii(found)
                raise ValueError(f"{self.path.name}: got the {name} {found}, {rule}; choose another folder or {name}")
        rows = table.to_dict("records")
        self._rows, self._state = {ViewKey(*(row[name] for name in KEYS)): row for row in rows}, state

    def _write(self) -> None:
        with written_whole(self.path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(as_text(list(row.values())) for row in self._rows.values())
            stream.flush()
            os.fsync(stream.fileno())
        self._state = self._current()

    def _current(self) -> tuple | None:
        """Return what changes when the file is replaced; None if there is none."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino
