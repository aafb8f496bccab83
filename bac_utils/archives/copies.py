"""Finding images of a dataset that were downloaded as DICOM, or converted to PNG, TIFF or JPEG."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bac_utils._tables import Table
from bac_utils.archives.tables import locate
from bac_utils.views_table import MAXIMUM_SPACING_MM, PICTURES

ENDINGS = (".dicom", ".dcm", *PICTURES)
"""Endings of image files, the preferred ones first."""
SPACING = "pixel_spacing_mm"


class ImageFinder:
    """Finds the file of each image: the original, or else a copy with its name and another ending.

    A copy may lie in any subfolder, and may be named `IMAGE`, `FOLDER_IMAGE` or `FOLDER@IMAGE`, also with the original
    ending before its own. One in a folder named as in the dataset
    comes first, then DICOM before PNG, TIFF and JPEG. If several files are equally good, none is chosen.
    """

    def __init__(self, images: Path, roots: Sequence[str], ending: str):
        """Prepare for a dataset.

        Args:
            images: The image folder.
            roots: Prefixes of the original paths, such as `images/`.
            ending: Ending of the original files.
        """
        self._images, self._roots, self._ending = images, roots, ending
        self._files: dict[str, list[str]] | None = None
        self.copies = self.ambiguous = 0

    def find(self, folder: str, name: str) -> str:
        """Return the path of an image relative to the image folder; empty if there is none.

        Args:
            folder: The folder of the image in the dataset.
            name: The name of its file, without ending.
        """
        original = locate(self._images, self._roots, f"{folder}/{name}{self._ending}")
        if original:
            return original
        found: dict[tuple[bool, int], list[str]] = {}
        for stem in (name, *(f"{folder}{mark}{name}" for mark in "_-@")):
            for path in self._index().get(stem.lower(), ()):
                parts = path.split("/")
                rank = (folder not in parts[:-1], ENDINGS.index(os.path.splitext(path)[1].lower()))
                found.setdefault(rank, []).append(path)
        best = found[min(found)] if found else []
        self.copies += len(best) == 1 and best[0].lower().endswith(PICTURES)
        self.ambiguous += len(best) > 1
        return best[0] if len(best) == 1 else ""

    def notes(self) -> list[str]:
        """Return remarks on the images found so far."""
        notes = []
        if self.copies:
            notes.append(
                f"PNG, TIFF or JPEG copies instead of DICOM files: {self.copies}; they state no pixel spacing, so "
                f"nothing is measured in mm unless the table has a column {SPACING}"
            )
        if self.ambiguous:
            notes.append(f"images with several copies, of which none was chosen (--images): {self.ambiguous}")
        return notes

    def _index(self) -> dict[str, list[str]]:
        """Return the paths of all image files, by name without ending in lower case."""
        if self._files is None:
            self._files = {}
            for top, folders, files in os.walk(self._images):
                folders.sort()
                for file in sorted(files):
                    stem, ending = os.path.splitext(file)
                    if ending.lower() in ENDINGS:
                        stem = re.sub(r"\.(dcm|dicom)$", "", stem, flags=re.IGNORECASE)
                        path = Path(top, file).relative_to(self._images).as_posix()
                        self._files.setdefault(stem.lower(), []).append(path)
        return self._files


def stated_spacing(table: Table) -> dict[str, pd.Series]:
    """Return the column `pixel_spacing_mm` of a table that has one: for copies that state no spacing themselves."""
    if SPACING not in table.cells:
        return {}
    rule = f"must be a number of mm above 0 and at most {MAXIMUM_SPACING_MM:g}, or empty"
    return {SPACING: table.numbers(SPACING, lambda x: (x > 0) & (x <= MAXIMUM_SPACING_MM), rule)}
