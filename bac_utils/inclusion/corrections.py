"""Labels and lengths that readers corrected, taken over into a views table; the table itself is not changed."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._files import file_digest
from bac_utils._tables import read_rows, read_table
from bac_utils.readings.consensus import join_readings
from bac_utils.readings.table import KEYS, read_file, read_folder, reader_files
from bac_utils.views_table import read_views

NOTE_LABELS = {"": np.nan, "UNSURE": np.nan, "BAC+": 1.0, "BAC-": 0.0}
"""Values of `corrected_label` in `reader_notes.csv`; the first two correct nothing."""
_SHOULD = "a folder of readings, a file of readings, a consensus.csv (a views table) or a reader_notes.csv"


def read_corrections(path: str | os.PathLike) -> pd.DataFrame:
    """Read labels and lengths from any of the files that readers leave behind.

    Args:
        path: A folder of readings or one reader's file (their consensus by `readings.consensus.join_readings`, without
            an adjudicator), a views table such as the `consensus.csv` of notebook 10, or the `reader_notes.csv` of the
            view browser.

    Returns:
        One row per view: `KEYS`, `bac` (NaN where nothing was decided) and `bac_length_mm` (NaN where not measured).

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It is none of these, or breaks its rules; a view occurs twice.
    """
    path = Path(path)
    if path.is_dir():
        found = join_readings(read_folder(path))
    elif path.is_file():
        header = next(read_rows(path), (1, []))[1]
        if "corrected_label" in header:
            found = _read_notes(path)
        elif "read_at" in header:
            found = join_readings(read_file(path))
        elif "image" in header:
            found = read_views(path)
        else:
            raise ValueError(f"readings: got {path} with the columns {', '.join(header)}, must be {_SHOULD}")
    else:
        raise FileNotFoundError(f"readings: got '{path}', must be {_SHOULD}")
    return found.reindex(columns=[*KEYS, "bac", "bac_length_mm"]).reset_index(drop=True)


def correct_labels(views: pd.DataFrame, path: str | os.PathLike) -> tuple[pd.DataFrame, dict[str, int]]:
    """Replace labels and lengths of a views table by those of readers.

    A view about which the readers decided nothing keeps its label. A view that becomes BAC- has a length of 0. A view
    that is BAC+ and was not measured keeps the length of the table if it was BAC+ there, too, or had no label; else its
    length is unknown.

    Args:
        views: A checked views table.
        path: As for `read_corrections`.

    Returns:
        A copy of the table, and the numbers of views: `read` (with a label of the readers), `labels_changed` (0 to 1 or
        back), `labels_added` (of views that had none), `lengths_changed` (also from or to unknown), `undecided` (read,
        without a label) and `not_in_table`.

    Raises:
        FileNotFoundError, ValueError: As `read_corrections`; or none of the views is in the table.
    """
    found = read_corrections(path)
    keys = list(KEYS)
    exams = views if "exam" in views else views.assign(exam="")
    places = pd.MultiIndex.from_frame(found[keys]).get_indexer(pd.MultiIndex.from_frame(exams[keys]))
    known = places >= 0
    if not known.any():
        raise ValueError(f"readings: got {len(found)} views in {path}, none of which is in the views table")
    new = found.iloc[np.where(known, places, 0)].set_axis(views.index).where(pd.Series(known, views.index))
    given = new["bac"].notna()
    old = views["bac"].astype(float)
    bac = new["bac"].astype(float).where(given, old)
    result = views.assign(bac=bac)
    before = views["bac_length_mm"] if "bac_length_mm" in views else pd.Series(np.nan, views.index)
    measured = new["bac_length_mm"].astype(float)
    length = measured.fillna(before.where(old != 0)).where(bac != 0, 0.0).where(given, before)
    if "bac_length_mm" in views or (given & (length > 0)).any():
        result["bac_length_mm"] = length.mask((bac == 0) & length.isna(), 0.0)
    if "label_level" in result:
        result["label_level"] = result["label_level"].mask(given, "view")
    changed = given & ~((length == before) | (length.isna() & before.isna()) | ((bac == 0) & before.isna()))
    inside = pd.MultiIndex.from_frame(found[keys]).isin(pd.MultiIndex.from_frame(exams[keys]))
    counts = {
        "read": int(given.sum()),
        "labels_changed": int((given & old.notna() & (bac != old)).sum()),
        "labels_added": int((given & old.isna()).sum()),
        "lengths_changed": int(changed.sum()),
        "undecided": int((known & ~given).sum()),
        "not_in_table": int((~inside).sum()),
    }
    return result, counts


def corrections_text(counts: dict[str, int]) -> str:
    """Return the counts of `correct_labels` as a sentence."""
    return (
        f"Readings: {counts['read']} views with a label; {counts['labels_changed']} labels changed, "
        f"{counts['labels_added']} added, {counts['lengths_changed']} lengths changed; {counts['undecided']} views "
        f"undecided, which keep their label; {counts['not_in_table']} views not in the table."
    )


def corrections_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 digest of a file, or of the names and files of readers in a folder."""
    if not os.path.isdir(path):
        return file_digest(Path(path))
    lines = [f"{file_digest(file)} {file.name}\n" for file in reader_files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_notes(path: Path) -> pd.DataFrame:
    """Read the labels of a `reader_notes.csv`."""
    names = [name for name in KEYS if name != "exam"]
    table = read_table(path, [*names, "corrected_label"], ["exam"], collect=True)
    table.refuse(table.cells["patient_id"] == "", "patient_id", "must not be empty")
    bac = table.choices("corrected_label", NOTE_LABELS)
    cells = table.cells if "exam" in table.cells else table.cells.assign(exam="")
    table.refuse(cells.duplicated(list(KEYS)), "view", "must occur once for each breast of an exam")
    table.check()
    return cells[list(KEYS)].assign(bac=bac.astype(float))
