"""Scoring of any files: views are classified and measured by a trained model, with one row per file.

TensorFlow is loaded when scoring starts, not when this module is imported: the reading processes do not need it.
"""

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bac_utils._files import file_digest, walk_files, write_json
from bac_utils.detector import BUNDLED, Detector, find_detector
from bac_utils.heatmap_choice import length_warning
from bac_utils.intake.pseudonyms import pseudonym
from bac_utils.scoring.dicom_results_folder import ResultFolder
from bac_utils.scoring.journal import COLUMNS, finished_files, known_instances, name_digest
from bac_utils.scoring.reading_pool import FILE_SECONDS, FileRead, read_all


def score_files(
    paths: Iterable[str | os.PathLike],
    output_csv: str | os.PathLike,
    model: str | os.PathLike | None = None,
    workers: int = 0,
    key: bytes | None = None,
    dicom: str | os.PathLike | None = None,
    file_seconds: float = FILE_SECONDS,
) -> Counter:
    """Score files and folders into a CSV file, one row per file; a stopped call can be resumed.

    Copies of an image (the same SOP instance with the same pixels) are scored once; later copies are skipped as
    `duplicate`. A line on stderr warns if lengths are unchecked, or wrong in the model's validation set; see
    `heatmap_choice`.

    Args:
        paths: Files and folders of mammograms, read in the order of `_files.walk_files`. A file that cannot be used
            gets a row with the status `skipped` and a reason.
        output_csv: The table, with the columns `COLUMNS`; existing rows are kept. `output_csv` + `.json` records the
            model, `output_csv` + `.instances` the digests of the images scored.
        model: A .keras file or a run's folder; the bundled model by default.
        workers: Processes that read and prepare files; the model runs in this process. With 0, this process also
            reads: a file that crashes its decoder then ends the batch, and one on which the decoder hangs stops it.
        key: Replaces each `patient_id` by a keyed hash (`pseudonyms.pseudonym`); the same key gives the same
            pseudonyms.
        dicom: Folder for the DICOM results of BAC+ views (`dicom_results_folder`); files in it are not scored. The
            results belong to the patient's study and name the patient, which a key is meant to prevent. `dicom` and
            `key` therefore exclude each other.
        file_seconds: Time limit for reading and preparing one file, in s, counted from when a process starts on it.
            The process is then ended and the file is tried once more in its own process; if that fails too, the file
            is `unreadable`. With 0 workers there is no limit.

    Returns:
        Numbers of rows written (`scored`, `scored without measures (REASON)`, or the reason for skipping) and of rows
        `done before`.

    Raises:
        FileNotFoundError: A path, the model or its operating point does not exist.
        ValueError: The CSV file has other columns, or was made with another model, key or choice of `dicom`; `workers`
            is below 0; `file_seconds` is not above 0, or exceeds a day; both `key` and `dicom` are given.
    """
    if workers < 0:
        raise ValueError(f"workers: got {workers}, must be 0 or more")
    if not 0 < file_seconds <= 86400:
        raise ValueError(f"file_seconds: got {file_seconds}, must be above 0 and at most 86400 (a day)")
    if dicom is not None and key is not None:
        raise ValueError("dicom: got a folder and a key, must be only one of them: DICOM results name the patient")
    output, note, seen = (Path(f"{os.fspath(output_csv)}{ending}") for ending in ("", ".json", ".instances"))
    paths, own = list(paths), {path.resolve() for path in (output, note, seen)}
    names = {path.name for path in own}

    def in_results(file: Path) -> bool:
        return dicom is not None and Path(dicom).resolve() in file.resolve().parents

    def files() -> Iterator[Path]:
        return (f for f in walk_files(paths) if not (f.name in names and f.resolve() in own or in_results(f)))

    number = sum(1 for _ in files())
    path, point = find_detector(model)
    used = {name: getattr(point, name) for name in ("threshold", "heatmap_threshold", "heatmap", "pixel_mm")}
    origin = {"model_sha256": file_digest(path), "operating_point": used}
    if key is not None:
        origin["key"] = pseudonym("", key)
    if dicom is not None:
        origin["dicom"] = True
    done = finished_files(output, note, origin)
    before = sum(name_digest(_name(f)) in done for f in files()) if done else 0
    todo = (f for f in files() if name_digest(_name(f)) not in done)
    counts = Counter({"done before": before} if before else {})
    detector = Detector(model) if before < number else None
    if before < number and path.resolve() != BUNDLED.resolve() and (words := length_warning(point.lengths_checked)):
        tqdm.write(f"warning: {words}", file=sys.stderr)  # lengths of the bundled detector: docs/evidence.md
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, origin)
    results = None if dicom is None else ResultFolder(dicom, {"model_sha256": origin["model_sha256"]} | used)
    instances = known_instances(seen, done)
    with open(output, "a", newline="", encoding="utf-8") as stream, open(seen, "a", encoding="utf-8") as journal:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if not output.stat().st_size:
            writer.writeheader()
            stream.flush()
        reads = read_all(todo, detector, workers, file_seconds)
        for file, read in tqdm(reads, total=number - before, desc="scoring", unit="file"):
            instance = bytes.fromhex(read.instance)
            if instance in instances:
                read = read._replace(
                    prepared=None, reason="duplicate", message="a copy of this image already has a row"
                )
            elif read.prepared is not None and instance:
                instances.add(instance)
                # written before the row; see `known_instances`
                journal.write(f"{read.instance} {name_digest(_name(file)).hex()}\n")
                journal.flush()
            row = _row(file, read, detector, key)
            if results is not None and row.get("bac") == 1:  # before the row, so that a stopped batch repeats it
                mask = detector.outline(read.prepared)
                if reason := results.add(file, _name(file), read.instance, read.prepared, mask, row):
                    tqdm.write(f"no DICOM results of {_shown(file)}: {reason}", file=sys.stderr)
            writer.writerow(row)
            stream.flush()
            why = f" without measures ({row['reason'].replace('_', ' ')})" if row["reason"] else ""
            counts[row["reason"] if row["status"] == "skipped" else f"scored{why}"] += 1
    return counts


def _row(file: Path, read: FileRead, detector: Detector, key: bytes | None) -> dict:
    """Return a file's row, with the measures of its view if the file could be read."""
    start = time.perf_counter()
    header = dict(read.header)
    if key is not None and header.get("patient_id"):
        header["patient_id"] = pseudonym(header["patient_id"], key)
    found: dict = {"file": _name(file), "status": "skipped", "reason": read.reason} | header
    if read.prepared is not None:
        found |= {"status": "scored"} | detector.measure(read.prepared)
    else:
        tqdm.write(f"skipped {_shown(file)}: {read.message}", file=sys.stderr)
    found["elapsed_s"] = read.seconds + time.perf_counter() - start
    return {k: f"{v:.6g}" if isinstance(v, float) else _line(v) for k, v in found.items()}


def _name(file: Path) -> str:
    """Return a path as a single line of UTF-8 text."""
    return _line(str(file).encode("utf-8", "backslashreplace").decode())


def _shown(file: Path) -> str:
    """Return a path without control characters, on which a terminal would act."""
    return "".join(c if c.isprintable() else "?" for c in _name(file))


def _line(value: Any) -> Any:
    """Escape line breaks in text, so that each row is one line and an incomplete last row can be recognised."""
    return value.replace("\n", "\\n").replace("\r", "\\r") if isinstance(value, str) else value
