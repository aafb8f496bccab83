"""Scoring of any files: views are classified and measured by a trained model, with one row per file.

TensorFlow is loaded when scoring starts, not when this module is imported: the reading processes do not need it.
"""

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bac_utils._files import file_digest, read_json, walk_files, write_json
from bac_utils.detector import BUNDLED, MEASURES, Detector, find_detector
from bac_utils.heatmap_choice import length_warning
from bac_utils.intake.pseudonyms import exam_pseudonym, pseudonym, shifted_date
from bac_utils.scoring.chosen_threshold import SPECIFICITY, read_rule
from bac_utils.scoring.dicom_results_folder import ResultFolder
from bac_utils.scoring.journal import COLUMNS, HEADER, finished_files, instance_line, known_instances, name_digest
from bac_utils.scoring.reading_pool import FILE_SECONDS, FileRead, read_all


def score_files(
    paths: Iterable[str | os.PathLike],
    output_csv: str | os.PathLike,
    model: str | os.PathLike | None = None,
    workers: int = 0,
    key: bytes | None = None,
    dicom: str | os.PathLike | None = None,
    file_seconds: float = FILE_SECONDS,
    operating_point: str | float | None = None,
    alarm_share: float | None = None,
    negatives: str | os.PathLike | None = None,
    specificity: float = SPECIFICITY,
) -> Counter:
    """Score files and folders into a CSV file, one row per file; a stopped call can be resumed.

    Copies of an image (the same SOP instance with the same pixels) are scored once; later copies are skipped as
    `duplicate`. A line on stderr warns if lengths are unchecked, or wrong in the model's validation set; see
    `heatmap_choice`.

    The threshold of `alarm_share` or `negatives` is only known when all files are scored. Until then, rows are written
    to `output_csv` + `.first`, at the model's own threshold. They are then brought to the chosen threshold and written
    to `output_csv`; views that become BAC+ are read again and measured. The chosen threshold is recorded, and also
    holds for files that are added later.

    Args:
        paths: Files and folders of mammograms, read in the order of `_files.walk_files`. A file that cannot be used
            gets a row with the status `skipped` and a reason.
        output_csv: The table, with the columns `COLUMNS`; existing rows are kept. `output_csv` + `.json` records the
            model and its thresholds, `output_csv` + `.instances` digests of the images scored,
            and of what identifies each row.
        model: A .keras file or a run's folder; the bundled model by default.
        workers: Processes that read and prepare files; the model runs in this process. With 0, this process also
            reads: a file that crashes its decoder then ends the batch, and one on which the decoder hangs stops it.
        key: Replaces each `patient_id` and `exam` by a keyed hash (`pseudonyms`), and makes all dates of a woman
            earlier by the same number of days; the same key gives the same pseudonyms and dates.
        dicom: Folder for the DICOM results of BAC+ views (`dicom_results_folder`); files in it are not scored. The
            results belong to the patient's study and name the patient, which a key is meant to prevent. `dicom` and
            `key` therefore exclude each other.
        file_seconds: Time limit for reading and preparing one file, in s, counted from when a process starts on it.
            The process is then ended and the file is tried once more in its own process; if that fails too, the file
            is `unreadable`. With 0 workers there is no limit.
        operating_point: Detection threshold instead of the model's own: a number in (0, 1], or a name in the model's
            `operating_points`.
        alarm_share: Choose the lowest threshold at which at most this share of the scored views is BAC+; in (0, 1).
        negatives: Choose the lowest threshold at which at least a share `specificity` of the listed views is BAC-. A
            CSV file with a column `file`, or one path per line; all must be among the files to score.
        specificity: In (0, 1); used with `negatives`.

    Returns:
        Numbers of rows written (`scored`, `scored without measures (REASON)`, or the reason for skipping) and of rows
        `done before`.

    Raises:
        FileNotFoundError: A path, the model, its operating point or the list of negatives does not exist.
        ValueError: The CSV file has other columns, or was made with another model, threshold or rule for it, key or
            choice of `dicom`; `workers` is below 0; `file_seconds` is not above 0, or exceeds a day; `key` and `dicom`,
            or several of `operating_point`, `alarm_share` and `negatives` are given; the model has no such operating
            point; a share is not in (0, 1); a listed file is not among those to score; there are too few negatives;
            no threshold up to 1 follows the rule.
    """
    if workers < 0:
        raise ValueError(f"workers: got {workers}, must be 0 or more")
    if not 0 < file_seconds <= 86400:
        raise ValueError(f"file_seconds: got {file_seconds}, must be above 0 and at most 86400 (a day)")
    if dicom is not None and key is not None:
        raise ValueError("dicom: got a folder and a key, must be only one of them: DICOM results name the patient")
    rule = read_rule(alarm_share, negatives, specificity)
    if rule is not None and operating_point is not None:
        raise ValueError("operating_point: got a threshold and a rule for choosing it, must be only one of them")
    endings = ("", ".json", ".instances", ".first", ".first.json", ".report.txt")
    output, note, seen, first, first_note, _ = tables = [Path(f"{os.fspath(output_csv)}{ending}") for ending in endings]
    paths, own = list(paths), {path.resolve() for path in tables}
    names = {path.name for path in own}

    def in_results(file: Path) -> bool:
        return dicom is not None and Path(dicom).resolve() in file.resolve().parents

    def files() -> Iterator[Path]:
        return (f for f in walk_files(paths) if not (f.name in names and f.resolve() in own or in_results(f)))

    def number_in(rows: set[bytes]) -> int:
        return sum(name_digest(_name(f)) in rows for f in files()) if rows else 0

    number = sum(1 for _ in files())
    path, point = find_detector(model)
    if operating_point is not None:
        point = point.at(operating_point)
    used = {name: getattr(point, name) for name in ("threshold", "heatmap_threshold", "heatmap", "pixel_mm")}
    origin = {"model_sha256": file_digest(path), "operating_point": used}
    if key is not None:
        origin["key"] = pseudonym("", key)
    final = origin | ({} if dicom is None else {"dicom": True})
    if rule is not None:
        rule.check_files(map(_name, files()))
        known = read_json(note).get("operating_point", {}).get("threshold") if note.exists() else None
        final |= {"threshold_rule": rule.record, "operating_point": used | {"threshold": known}}
    done = finished_files(output, note, final, seen)
    if rule is not None and done and known is None:
        raise ValueError(f"{note}: must contain the threshold of {output}: choose another --output")
    scored = done if rule is None else done | finished_files(first, first_note, origin, seen)
    before, scored_before = number_in(done), number_in(scored)

    scorer = _Scorer(model, workers, file_seconds, key)
    if scored_before < number:
        scorer.load(point.threshold)
        words = length_warning(None if rule else point.lengths_checked)
        if words and path.resolve() != BUNDLED.resolve():  # lengths of the bundled detector: docs/evidence.md
            tqdm.write(f"warning: {words}", file=sys.stderr)
    output.parent.mkdir(parents=True, exist_ok=True)
    todo = (f for f in files() if name_digest(_name(f)) not in scored)
    instances = known_instances(seen, scored)
    if rule is None:
        write_json(note, final)
        scorer.open_results(dicom, final)
        counts = _append(output, scorer.score(todo, seen, instances), number - before)
    else:
        write_json(first_note, origin)
        _append(first, scorer.score(todo, seen, instances), number - scored_before)
        if not done:  # else the threshold is recorded
            final["operating_point"]["threshold"] = rule.choose(first)
        write_json(note, final)
        scorer.open_results(dicom, final)
        odd = {_name(f): f for f in files() if _name(f) != str(f)}
        rows = scorer.bring(first, done, final["operating_point"]["threshold"], odd)
        counts = _append(output, rows, number - before)
        first.unlink()
        first_note.unlink()
    return Counter({"done before": before} if before else {}) + counts


class _Scorer:
    """Reads, scores and measures files, and returns their rows."""

    def __init__(self, model: str | os.PathLike | None, workers: int, file_seconds: float, key: bytes | None) -> None:
        """Take the arguments of `score_files`."""
        self._model, self._options, self._key = model, (workers, file_seconds), key
        self._detector: Detector | None = None
        self._results: ResultFolder | None = None

    def load(self, threshold: float) -> None:
        """Load the model, unless it is loaded, and set its detection threshold."""
        self._detector = self._detector or Detector(self._model)
        self._detector.point = replace(self._detector.point, threshold=threshold)

    def open_results(self, folder: str | os.PathLike | None, origin: dict) -> None:
        """Open the folder for DICOM results, if there is one."""
        if folder is not None:
            method = {"model_sha256": origin["model_sha256"]} | origin["operating_point"]
            self._results = ResultFolder(folder, method)

    def score(self, files: Iterator[Path], seen: Path, instances: set[bytes]) -> Iterator[dict]:
        """Return the rows of files; digests of new images are added to the file `seen` and to `instances`."""
        with open(seen, "a", encoding="utf-8") as journal:
            for file, read in read_all(files, self._detector, *self._options):
                instance, new = bytes.fromhex(read.instance), ""
                if instance in instances:
                    read = read._replace(
                        prepared=None, reason="duplicate", message="a copy of this image already has a row"
                    )
                elif read.prepared is not None and instance:
                    instances.add(instance)
                    new = read.instance
                row = self._row(file, read)
                journal.write(instance_line(row, new))  # before the row; see `known_instances`
                journal.flush()
                yield row

    def bring(self, first: Path, done: set[bytes], threshold: float, odd: dict[str, Path]) -> Iterator[dict]:
        """Return the rows of another table at a threshold.

        Args:
            first: The table.
            done: Digests of the files whose rows are left out.
            threshold: Scores of at least this, as written in the table, are BAC+. These views are read again if they
                were BAC- or if there are DICOM results.
            odd: Files whose names in the table differ from their paths.
        """

        def rows() -> Iterator[dict]:
            with open(first, newline="", encoding="utf-8") as stream:
                yield from (row for row in csv.DictReader(stream) if name_digest(row["file"]) not in done)

        def again(row: dict) -> bool:
            above = row["status"] == "scored" and float(row["score"]) >= threshold
            return above and (row["bac"] == "0" or self._results is not None)

        if any(map(again, rows())):
            self.load(np.nextafter(0, 1))  # all of them are measured, even if a score differs in its last digits
        todo = (odd.get(row["file"], Path(row["file"])) for row in rows() if again(row))
        reads = read_all(todo, self._detector, *self._options)
        for row in rows():
            if again(row):
                yield self._row(*next(reads), row)
            elif row["status"] == "scored" and float(row["score"]) < threshold:
                measurable = row["reason"] in ("", "no_artery_traced")
                yield row | {"bac": "0"} | (dict.fromkeys(MEASURES[:3], "0") | {"reason": ""} if measurable else {})
            else:
                yield row

    def _row(self, file: Path, read: FileRead, before: Mapping[str, str] | None = None) -> dict:
        """Return a file's row, with the measures of its view if the file could be read.

        Args:
            file: The file.
            read: What was read.
            before: The row of an earlier reading, which keeps its score.
        """
        start = time.perf_counter()
        header = dict(read.header)
        if self._key is not None and header:
            woman = header["patient_id"]
            header["exam"] = exam_pseudonym(woman, header["exam"], self._key)
            header["study_date"] = shifted_date(woman, header["study_date"], self._key)
            header["patient_id"] = pseudonym(woman, self._key) if woman else ""
        if before is not None:  # the header is unknown if the file can no longer be read
            header = {name: before[name] for name in HEADER}
        found: dict = {"file": _name(file), "status": "skipped", "reason": read.reason} | header
        if read.prepared is not None:
            found |= {"status": "scored"} | self._detector.measure(read.prepared)
        else:
            tqdm.write(f"skipped {_shown(file)}: {read.message}", file=sys.stderr)
        found["elapsed_s"] = read.seconds + time.perf_counter() - start
        row = {k: f"{v:.6g}" if isinstance(v, float) else _line(v) for k, v in found.items()}
        if before is not None and row["status"] == "scored":
            row["score"] = before["score"]
        if self._results is not None and row.get("bac") == 1:  # before the row, so that a stopped batch repeats it
            mask = self._detector.outline(read.prepared)
            if reason := self._results.add(file, _name(file), read.instance, read.prepared, mask, row):
                tqdm.write(f"no DICOM results of {_shown(file)}: {reason}", file=sys.stderr)
        return row


def _append(table: Path, rows: Iterable[dict], number: int) -> Counter:
    """Append rows to a table of scores, each as soon as it is known; return their numbers by result."""
    counts = Counter()
    with open(table, "a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if not table.stat().st_size:
            writer.writeheader()
            stream.flush()
        for row in tqdm(rows, total=number, desc="scoring", unit="file"):
            writer.writerow(row)
            stream.flush()
            why = f" without measures ({row['reason'].replace('_', ' ')})" if row["reason"] else ""
            counts[row["reason"] if row["status"] == "skipped" else f"scored{why}"] += 1
    return counts


def _name(file: Path) -> str:
    """Return a path as a single line of UTF-8 text."""
    return _line(str(file).encode("utf-8", "backslashreplace").decode())


def _shown(file: Path) -> str:
    """Return a path without control characters, on which a terminal would act."""
    return "".join(c if c.isprintable() else "?" for c in _name(file))


def _line(value: Any) -> Any:
    """Escape line breaks in text, so that each row is one line and an incomplete last row can be recognised."""
    return value.replace("\n", "\\n").replace("\r", "\\r") if isinstance(value, str) else value
