"""DICOM results of a batch: a folder with three files per BAC+ view and an index.

Results that cannot be written are reported in the index and never stop the batch. If the reason may pass, such as a
full disk, the next call writes them. highdicom is loaded with the first result.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bac_utils._files import read_json, write_json, written_whole
from bac_utils.intake.mammogram import may_pass
from bac_utils.preprocess import Prepared, mask_to_original

FILES = ("segmentation", "report", "picture")
COLUMNS = ("file", *FILES, "reason")
NOT_WRITTEN = "not written: "
"""Beginning of reasons that may pass."""


def claim(folder: Path, table: str | os.PathLike) -> None:
    """Record in `index.json` of a folder that it holds the results of a table, by its path from the folder.

    Args:
        folder: The folder of results.
        table: The table of scores.

    Raises:
        ValueError: It holds results of another table, which may have rows for files of the same names.
    """
    try:
        name = Path(os.path.relpath(os.path.realpath(table), os.path.realpath(folder))).as_posix()
    except ValueError:  # another drive (Windows)
        name = Path(os.path.realpath(table)).as_posix()
    note, index = folder / "index.json", folder / "index.csv"
    known = read_json(note).get("table") if note.exists() else None
    if known == name:
        return
    if index.exists() and index.stat().st_size > len(",".join(COLUMNS)) + 1:
        rule = f"must be a folder for the results of {table} alone"
        raise ValueError(f"dicom: got {folder}, with results of {known or 'an unknown table'}, {rule}: choose another")
    write_json(note, {"table": name})


class ResultFolder:
    """Writes Segmentation, report and picture of views, and `index.csv` with one row per view (`COLUMNS`).

    Files are named after the image's digest (`Mammogram.instance`), never after a value in the header. A view that is
    repeated after a batch was stopped, or because its file has changed, replaces its own files and its row.
    """

    def __init__(self, folder: str | os.PathLike, origin: Mapping[str, object]) -> None:
        """Make the folder and read its index; an incomplete last line is removed.

        Args:
            folder: Where to write.
            origin: Describes the method; see `dicom_results.write_dicom`.

        Raises:
            OSError: The folder cannot be written to.
            ValueError: Its `index.csv` has other columns.
        """
        self.folder, self.origin = Path(folder), dict(origin)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.index = self.folder / "index.csv"
        with open(self.index, "ab+") as stream:
            stream.seek(0)
            text, header = stream.read(), (",".join(COLUMNS) + "\n").encode()
            if not (text.startswith(header) or header.startswith(text)):
                raise ValueError(f"{self.index} has other columns: choose another folder")
            if not text.endswith(b"\n"):
                stream.truncate(text.rfind(b"\n") + 1)
        if not text.startswith(header):
            self._append(COLUMNS)
        with open(self.index, newline="", encoding="utf-8") as stream:
            self._rows = {row["file"]: row for row in csv.DictReader(stream)}

    def add(
        self,
        source: Path,
        name: str,
        digest: str,
        prepared: Prepared,
        mask: np.ndarray,
        row: Mapping[str, object],
    ) -> str:
        """Write the results of one BAC+ view, or the reason why there are none.

        Args:
            source: The file that was measured.
            name: Its name in the index.
            digest: The image's digest, used as the stem of the file names.
            prepared: The view.
            mask: The calcified arteries, bool, on the grid of the prepared view.
            row: The view's row of the scores: laterality and measurements, as numbers or text.

        Returns:
            The reason; empty if the results were written.
        """
        from bac_utils.scoring.dicom_results import MEASUREMENTS, ExportError, write_dicom

        found = dict.fromkeys(COLUMNS, "") | {"file": name}
        try:
            if not mask.any():
                raise ExportError("no artery could be traced" if prepared.spacing_mm else "no heat above Th")
            measures = {key: float(row[key]) for key in MEASUREMENTS if row.get(key) not in (None, "")}
            side = str(row.get("laterality") or "")
            original = mask_to_original(mask, prepared)
            paths = write_dicom(source, original, measures, self.folder, digest, side, self.origin)
            found |= dict(zip(FILES, (path.name for path in paths), strict=True))
        except ExportError as error:
            found["reason"] = str(error)
        except Exception as error:  # a view must not stop the batch; messages may quote the header
            kind, number = type(error).__name__, getattr(error, "errno", None)
            cause = os.strerror(number) if number else kind
            found["reason"] = f"{NOT_WRITTEN}{cause}" if may_pass(error) else f"{kind} while writing"
        return self._note(found)

    def postpone(self, name: str, reason: str) -> str:
        """Note that the results of a view cannot be written now, and return what is noted."""
        return self._note(dict.fromkeys(COLUMNS, "") | {"file": name, "reason": f"{NOT_WRITTEN}{reason}"})

    def lacks(self, name: str) -> bool:
        """Return whether a view has no results although they can be written, or could be by another attempt."""
        row = self._rows.get(name)
        if row is None or row["reason"].startswith(NOT_WRITTEN):
            return True
        return not row["reason"] and not all((self.folder / row[kind]).is_file() for kind in FILES)

    def _note(self, found: dict[str, str]) -> str:
        """Write a view's row of the index, remove the files that it replaces, and return its reason."""
        before = self._rows.get(found["file"])
        self._rows[found["file"]] = found
        if before is None:
            self._append(found.values())
        elif before != found:
            self._write_index()
            self._unlink(before)
        return found["reason"]

    def remove(self, name: str) -> None:
        """Remove the results of a view, if there are any, because it is no longer BAC+."""
        before = self._rows.pop(name, None)
        if before is not None:
            self._write_index()
            self._unlink(before)

    def _unlink(self, row: Mapping[str, str]) -> None:
        """Remove the files of a former row of the index, unless another row has them."""
        used = {other[kind] for other in self._rows.values() for kind in FILES}
        for name in {row[kind] for kind in FILES} - used:
            if name and Path(name).name == name:
                (self.folder / name).unlink(missing_ok=True)

    def _write_index(self) -> None:
        with written_whole(self.index) as part, open(part, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *(row.values() for row in self._rows.values())])

    def _append(self, values: Iterable[str]) -> None:
        with open(self.index, "a", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerow(values)


def missing_results(folder: str | os.PathLike) -> list[str]:
    """Return the reasons of a folder's results that were not written, but may be by the next call."""
    with open(Path(folder) / "index.csv", newline="", encoding="utf-8") as stream:
        reasons = [row["reason"] for row in csv.DictReader(stream)]
    return [reason.removeprefix(NOT_WRITTEN) for reason in reasons if reason.startswith(NOT_WRITTEN)]
