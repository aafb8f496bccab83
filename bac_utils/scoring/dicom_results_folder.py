"""DICOM results of a batch: one folder, three files a view with BAC, and an index that tells which is whose.

What cannot be written is told in the index and never stops the batch. highdicom is loaded with the first result.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bac_utils.preprocess import Prepared, mask_to_original

COLUMNS = ("file", "segmentation", "report", "picture", "reason")


class ResultFolder:
    """Writes Segmentation, report and picture of views, and `index.csv`: a row a view with `COLUMNS`.

    The files are named by the image's digest (`Mammogram.instance`), not by anything that the header says as it
    stands. A view that comes again, after a batch was stopped, replaces its own files and keeps its row.
    """

    def __init__(self, folder: str | os.PathLike, origin: Mapping[str, object]) -> None:
        """Make the folder and read its index, less a cut-off last line.

        Args:
            folder: Where to write.
            origin: What tells the method apart; see `export.write_dicom`.

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
        """Write the results of one view, or the reason why there are none.

        Args:
            source: The file that was measured.
            name: Its name in the index.
            digest: Its image's digest, the stem of the results' names.
            prepared: The view.
            mask: The calcified artery, bool, on the grid of the prepared view.
            row: Its row of the scores: laterality and measurements, as numbers or text.

        Returns:
            The reason, empty where the results were written.
        """
        from bac_utils.scoring.dicom_results import MEASUREMENTS, ExportError, write_dicom

        found = dict.fromkeys(COLUMNS, "") | {"file": name}
        try:
            if not mask.any():
                raise ExportError("no pixel is outlined")
            measures = {key: float(row[key]) for key in MEASUREMENTS if row.get(key) not in (None, "")}
            side = str(row.get("laterality") or "")
            original = mask_to_original(mask, prepared)
            paths = write_dicom(source, original, measures, self.folder, digest, side, self.origin)
            found |= dict(zip(("segmentation", "report", "picture"), (path.name for path in paths), strict=True))
        except ExportError as error:
            found["reason"] = str(error)
        except Exception as error:  # one view never stops the others; its text may quote the file, so it is left out
            found["reason"] = f"{type(error).__name__} while writing"
        if self._rows.get(name) != found:
            self._rows[name] = found
            self._append(found.values())
        return found["reason"]

    def _append(self, values: Iterable[str]) -> None:
        with open(self.index, "a", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerow(values)
