"""DICOM results of a batch: a folder with three files per BAC+ view and an index.

Results that cannot be written are reported in the index and never stop the batch. highdicom is loaded with the first
result.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bac_utils.preprocess import Prepared, mask_to_original

COLUMNS = ("file", "segmentation", "report", "picture", "reason")


class ResultFolder:
    """Writes Segmentation, report and picture of views, and `index.csv` with one row per view (`COLUMNS`).

    Files are named after the image's digest (`Mammogram.instance`), never after a value in the header. A view that is
    repeated after a batch was stopped replaces its own files and keeps its row.
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
        self, source: Path, name: str, digest: str, prepared: Prepared, mask: np.ndarray, row: Mapping[str, object]
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
            found |= dict(zip(("segmentation", "report", "picture"), (path.name for path in paths), strict=True))
        except ExportError as error:
            found["reason"] = str(error)
        except Exception as error:  # a view must not stop the batch; messages may quote the header
            found["reason"] = f"{type(error).__name__} while writing"
        if self._rows.get(name) != found:
            self._rows[name] = found
            self._append(found.values())
        return found["reason"]

    def _append(self, values: Iterable[str]) -> None:
        with open(self.index, "a", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerow(values)
