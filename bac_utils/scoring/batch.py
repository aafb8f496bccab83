"""Scoring of any files: views are classified and measured by a trained model, with one row per file.

TensorFlow is loaded when scoring starts, not when this module is imported: the reading processes do not need it.
"""

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bac_utils._files import file_digest, is_temporary, locked, read_json, walk_files, write_json
from bac_utils._terminal import shown
from bac_utils.detector import BUNDLED, MEASURES, Detector, find_detector
from bac_utils.heatmap_choice import length_warning
from bac_utils.intake.pseudonyms import exam_pseudonym, pseudonym, shifted_date
from bac_utils.scoring.chosen_threshold import SPECIFICITY, ThresholdRule, read_rule
from bac_utils.scoring.dicom_results_folder import ResultFolder, claim
from bac_utils.scoring.journal import COLUMNS, HEADER, FileState, Journal, name_digest, one_line
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

    A file has a row if its resolved path has one and neither its size nor the time of its last change differs. Rows of
    files that have changed, or that could not be read for a reason that may pass (`mammogram.PASSING`), are replaced.
    The table and the folder of DICOM results are locked; no other call can write them meanwhile.

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
            is `not_read`. With 0 workers there is no limit.
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
        FileExistsError: Another process writes the table or the folder of DICOM results.
        FileNotFoundError: A path, the model, its operating point or the list of negatives does not exist.
        ValueError: The CSV file has other columns, or was made with another model, threshold or rule for it, key or
            choice of `dicom`, or its `.json` is missing; there is no file to score; `dicom` contains one, or results
            of another table; `workers` is below 0; `file_seconds` is not above 0, or
            exceeds a day; `key` and `dicom`, or several of `operating_point`, `alarm_share` and `negatives` are given;
            the model has no such operating point; a share is not in (0, 1); a listed file is not among those to score;
            there are too few negatives;
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
    paths, results = list(paths), None if dicom is None else Path(dicom)
    if results is not None:
        within = [path for path in paths if Path(path).resolve().is_relative_to(results.resolve())]
        if within:
            raise ValueError(f"dicom: got {results}, must not contain the files to score ({within[0]})")
    with ExitStack() as locks:
        locks.enter_context(locked(output_csv))
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
            locks.enter_context(locked(results))
            claim(results, output_csv)
        options = (operating_point, rule, key, results)
        return _score(paths, Path(output_csv), model, workers, file_seconds, *options)


def _score(
    paths: list,
    output: Path,
    model: str | os.PathLike | None,
    workers: int,
    file_seconds: float,
    operating_point: str | float | None,
    rule: ThresholdRule | None,
    key: bytes | None,
    dicom: Path | None,
) -> Counter:
    """Score files into a locked table; see `score_files`."""
    endings = (".json", ".instances", ".first", ".first.json", ".report.txt")
    note, seen, first, first_note, report = (output.with_name(f"{output.name}{ending}") for ending in endings)
    own = {path.resolve() for path in (output, note, seen, first, first_note, report)}
    names = {path.name for path in own}

    def in_results(file: Path) -> bool:
        return dicom is not None and dicom.resolve() in file.resolve().parents

    def files() -> Iterator[Path]:
        found = (f for f in walk_files(paths) if not (is_temporary(f) or in_results(f)))
        return (f for f in found if not (f.name in names and f.resolve() in own))

    number = sum(1 for _ in files())
    path, point = find_detector(model)
    if not number:
        raise ValueError(f"paths: got {', '.join(map(str, paths)) or 'none'}, must contain at least one file to score")
    if operating_point is not None:
        point = point.at(operating_point)
    used = {name: getattr(point, name) for name in ("threshold", "heatmap_threshold", "heatmap", "pixel_mm")}
    origin = {"model_sha256": file_digest(path), "operating_point": used}
    if key is not None:
        origin["key"] = pseudonym("", key)
    final = origin | ({} if dicom is None else {"dicom": True})
    if rule is not None:
        rule.check_files(files())
        known = read_json(note).get("operating_point", {}).get("threshold") if note.exists() else None
        final |= {"threshold_rule": rule.record, "operating_point": used | {"threshold": known}}
    journal = Journal(seen)
    done = journal.read(output, note, final)
    if rule is not None and done and known is None:
        raise ValueError(f"{note}: must contain the threshold of {output}: choose another --output")
    if rule is not None:
        journal.read(first, first_note, origin)
    outdated = journal.outdated(files)
    journal.forget((output, first), outdated)
    done -= outdated
    before, scored_before = (
        sum(journal.of(f) in rows for f in files()) if rows else 0 for rows in (done, journal.names)
    )

    scorer = _Scorer(model, workers, file_seconds, key, journal)
    if scored_before < number:
        scorer.load(point.threshold)
        words = length_warning(None if rule else point.lengths_checked)
        if words and path.resolve() != BUNDLED.resolve():  # lengths of the bundled detector: docs/evidence.md
            tqdm.write(f"warning: {words}", file=sys.stderr)
    todo = (f for f in files() if journal.of(f) is None)
    if rule is None:
        write_json(note, final)
        scorer.open_results(dicom, final)
        counts = _append(output, scorer.score(todo, seen), number - before)
    else:
        write_json(first_note, origin)
        _append(first, scorer.score(todo, seen), number - scored_before)
        if not done:  # else the threshold is recorded
            listed = {journal.of(f) for f in files() if rule.lists(f)}
            final["operating_point"]["threshold"] = rule.choose(first, listed)
        write_json(note, final)
        scorer.open_results(dicom, final)
        rows = scorer.bring(first, done, final["operating_point"]["threshold"], files)
        counts = _append(output, rows, number - before)
        first.unlink()
        first_note.unlink()
    if dicom is not None:
        scorer.complete_results(output, files)
    return Counter({"done before": before} if before else {}) + counts


class _Scorer:
    """Reads, scores and measures files, and returns their rows."""

    def __init__(
        self, model: str | os.PathLike | None, workers: int, file_seconds: float, key: bytes | None, journal: Journal
    ) -> None:
        """Take the arguments of `score_files`, and what the tables contain already."""
        self._model, self._options, self._key = model, (workers, file_seconds), key
        self._journal = journal
        self._detector: Detector | None = None
        self._results: ResultFolder | None = None

    def load(self, threshold: float) -> None:
        """Load the model, unless it is loaded, and set its detection threshold."""
        self._detector = self._detector or Detector(self._model)
        self._detector.point = replace(self._detector.point, threshold=threshold)

    def open_results(self, folder: Path | None, origin: dict) -> None:
        """Open the folder for DICOM results, if there is one."""
        if folder is not None:
            method = {"model_sha256": origin["model_sha256"]} | origin["operating_point"]
            self._results = ResultFolder(folder, method)

    def score(self, files: Iterator[Path], seen: Path) -> Iterator[dict]:
        """Return the rows of files; their lines are added to the file `seen` of the journal."""
        states: dict[Path, FileState] = {}

        def looked_at() -> Iterator[Path]:
            for file in files:
                states[file] = FileState.of(file)  # before it is read
                yield file

        with open(seen, "a", encoding="utf-8") as stream:
            for file, read in read_all(looked_at(), self._detector, *self._options):
                if bytes.fromhex(read.instance) in self._journal.instances:
                    read = read._replace(
                        prepared=None, reason="duplicate", message="a copy of this image already has a row"
                    )
                known = read.instance if read.prepared is not None or read.reason == "duplicate" else ""
                row = self._row(file, self._journal.name_for(file), read)
                stream.write(self._journal.add(row, known, states.pop(file)))
                stream.flush()
                yield row

    def bring(
        self, first: Path, done: set[bytes], threshold: float, files: Callable[[], Iterable[Path]]
    ) -> Iterator[dict]:
        """Return the rows of another table at a threshold.

        Args:
            first: The table.
            done: Digests of the files whose rows are left out.
            threshold: Scores of at least this, as written in the table, are BAC+. These views are read again if they
                were BAC- or if there are DICOM results.
            files: Returns the files of this call.
        """

        def rows() -> Iterator[dict]:
            with open(first, newline="", encoding="utf-8") as stream:
                yield from (row for row in csv.DictReader(stream) if name_digest(row["file"]) not in done)

        def again(row: dict) -> bool:
            above = row["status"] == "scored" and float(row["score"]) >= threshold
            return above and (row["bac"] == "0" or self._results is not None)

        names = [row["file"] for row in rows() if again(row)]
        if names:
            self.load(np.nextafter(0, 1))  # all of them are measured, even if a score differs in its last digits
        places = self._places(names, files)
        reads = read_all((places.get(name, Path(name)) for name in names), self._detector, *self._options)
        for row in rows():
            if again(row):
                file, read = next(reads)
                yield self._row(file, row["file"], read, row)
            elif row["status"] == "scored" and float(row["score"]) < threshold:
                measurable = row["reason"] in ("", "no_artery_traced")
                yield row | {"bac": "0"} | (dict.fromkeys(MEASURES[:3], "0") | {"reason": ""} if measurable else {})
            else:
                yield row

    def complete_results(self, output: Path, files: Callable[[], Iterable[Path]]) -> None:
        """Write the DICOM results that earlier calls could not write, and remove those of views that became BAC-."""
        lacking = {}
        with open(output, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["bac"] != "1":
                    self._results.remove(row["file"])
                elif self._results.lacks(row["file"]):
                    lacking[row["file"]] = row
        places = self._places(lacking, files)
        if places:
            self.load(np.nextafter(0, 1))
            names = {place: name for name, place in places.items()}
            for file, read in read_all(iter(names), self._detector, *self._options):
                self._write_results(file, read, lacking[names[file]])

    def _places(self, names: Iterable[str], files: Callable[[], Iterable[Path]]) -> dict[str, Path]:
        """Return the files of this call that have rows with these names, by name."""
        wanted = {name_digest(name): name for name in names}
        found = ((wanted.get(self._journal.of(file)), file) for file in (files() if wanted else ()))
        return {name: file for name, file in found if name is not None}

    def _row(self, file: Path, name: str, read: FileRead, before: Mapping[str, str] | None = None) -> dict:
        """Return a file's row, with the measures of its view if the file could be read.

        Args:
            file: The file.
            name: Its name in the table.
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
            header = {column: before[column] for column in HEADER}
        found: dict = {"file": name, "status": "skipped", "reason": read.reason} | header
        if read.prepared is not None:
            found |= {"status": "scored"} | self._detector.measure(read.prepared)
        else:
            tqdm.write(f"skipped {shown(name)}: {read.message}", file=sys.stderr)
        found["elapsed_s"] = read.seconds + time.perf_counter() - start
        row = {k: f"{v:.6g}" if isinstance(v, float) else one_line(v) for k, v in found.items()}
        if before is not None and row["status"] == "scored":
            row["score"] = before["score"]
        if row.get("bac") == 1:  # before the row, so that a stopped batch repeats it
            self._write_results(file, read, row)
        return row

    def _write_results(self, file: Path, read: FileRead, row: Mapping) -> None:
        """Write the DICOM results of a row, if there is a folder for them."""
        if self._results is None:
            return
        if read.prepared is None:
            reason = self._results.postpone(row["file"], "the file can no longer be read")
        else:
            mask = self._detector.outline(read.prepared)
            reason = self._results.add(file, row["file"], read.instance, read.prepared, mask, row)
        if reason:
            tqdm.write(f"no DICOM results of {shown(row['file'])}: {reason}", file=sys.stderr)


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
