"""Score any files: detect BAC and measure it with a trained model, a row a file.

TensorFlow is loaded when scoring starts, not by importing this module: the reading processes do without it.
"""

import csv
import hmac
import json
import os
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from scipy.special import expit
from tqdm import tqdm

from bac_utils._files import walk_files
from bac_utils._workers import end_after, worker_pool
from bac_utils.arteries.masks import grow
from bac_utils.arteries.segmentation import MARGIN_MM
from bac_utils.burden import mask_area
from bac_utils.intake.reader import Skip, read_mammogram
from bac_utils.preprocess import Prepared, prepare
from bac_utils.quantify import Measures, bac_region, measure_arteries
from bac_utils.run_folder import file_digest, write_json
from bac_utils.scoring.dicom_results_folder import ResultFolder

COLUMNS = (
    "file", "patient_id", "laterality", "view", "status", "reason",
    "score", "bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "elapsed_s",
)  # fmt: skip
MEASURES = ("bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2")
BUNDLED = Path(__file__).parents[1] / "weights" / "detector.keras"
FILE_SECONDS = 120.0
"""Longest time for reading and preparing one file; the largest mammograms take a few seconds."""
_POINT = ("threshold", "heatmap_threshold")


class _Read(NamedTuple):
    """A file after reading: what it says of itself, and a prepared view or the reason why there is none."""

    header: dict
    prepared: Prepared | None
    reason: str
    message: str
    seconds: float
    instance: str = ""


class Detector:
    """A trained model with its operating point: scores a prepared view and measures its heatmap.

    Attributes:
        shape: (rows, columns) of the views that the model takes.
        pixel_mm: Side of their pixels, mm; None stretches the breast to `shape`.
        point: `threshold` of the score, `heatmap` (its form, see `heat`) and `heatmap_threshold` (Th).
    """

    def __init__(self, model: str | os.PathLike | None = None) -> None:
        """Load a model.

        Args:
            model: A .keras file, or a run's folder; the bundled model by default. Its operating point lies
                beside the file: `NAME.json` or `operating_point.json`.

        Raises:
            FileNotFoundError: The model or its operating point is not there.
            ValueError: The operating point lacks a number, or its `pixel_mm` is not a positive one.
        """
        self.path, self.point = find_detector(model)
        from bac_utils.heatmaps import Explainer, default_form
        from bac_utils.model import load_model

        network = load_model(self.path)
        self.shape = tuple(int(n) for n in network.input_shape[1:3])
        self.pixel_mm = self.point["pixel_mm"]
        self._explain = Explainer(network, [self.point["heatmap"] or default_form(network)])
        self._last: tuple = (None,) * 4

    def measure(self, prepared: Prepared) -> dict:
        """Detect and quantify BAC on one view.

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            `score` (sigmoid of the logit), `bac` (0 or 1), and of the calcified arteries that the heatmap shows above
            Th and the pixels confirm (`quantify.measure_arteries`) `bac_area_mm2`, `bac_length_mm` and `bac_width_mm`
            (mean; 0 where there is none), and `breast_area_mm2` of the breast that was found on the view. Without a
            pixel spacing the four are None.
        """
        score, found, _ = self._look(prepared)
        row = {"score": score, "bac": int(score >= self.point["threshold"])}
        if found is None:
            return row | dict.fromkeys(MEASURES)
        breast = mask_area(prepared.mask, prepared.spacing_mm)
        values = (found.area_mm2, found.length_mm, found.vessels.width_mm, breast)
        return row | dict(zip(MEASURES, values, strict=True))

    def outline(self, prepared: Prepared) -> np.ndarray:
        """Outline BAC on one view: what `measure` measures, with a margin (`refine.MARGIN_MM`).

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            bool of `shape`; without a pixel spacing the region of the heatmap above Th.
        """
        _, found, map01 = self._look(prepared)
        if found is None:
            return bac_region(map01, self.shape, self.point["heatmap_threshold"], prepared.mask)
        return grow(found.mask, prepared.spacing_mm, MARGIN_MM) & prepared.mask

    def heat(self, prepared: Prepared) -> np.ndarray:
        """Return the heatmap that is measured, float32 (h, w) in [0, 1], over the whole prepared view."""
        return self._look(prepared)[2]

    def _look(self, prepared: Prepared) -> tuple[float, Measures | None, np.ndarray]:
        """Return score, measures and heatmap of a view; those of the last one are kept."""
        if self._last[0] is not prepared:
            logits, heat = self._explain(prepared.pixels[None, :, :, None])
            (map01,) = next(iter(heat.values()))
            found = None
            if prepared.spacing_mm is not None:
                th = self.point["heatmap_threshold"]
                found = measure_arteries(map01, prepared.pixels, th, prepared.spacing_mm, prepared.mask)
            self._last = prepared, float(expit(np.float64(logits[0]))), found, map01
        return self._last[1:]


def find_detector(model: str | os.PathLike | None = None) -> tuple[Path, dict]:
    """Find a model's file and its operating point; see `Detector`."""
    path = BUNDLED if model is None else Path(model)
    path = path / "model.keras" if path.is_dir() else path
    if path.suffix != ".keras" or not path.is_file():
        raise FileNotFoundError(f"model: {path} is not there, must be a .keras file or a finished run's folder")
    beside = [path.with_suffix(".json"), path.with_name("operating_point.json")]
    found = next((p for p in beside if p.is_file()), None)
    if found is None:
        names = " or ".join(p.name for p in beside)
        raise FileNotFoundError(f"model: no operating point beside {path}, must be {names}")
    try:
        point = json.loads(found.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{found} is no JSON: {error}") from error
    for name in _POINT:
        if not isinstance(point.get(name), int | float):
            raise ValueError(f"{found}: {name} is {point.get(name)!r}, must be a number")
    point.setdefault("heatmap", None)  # absent or null: the model's default
    pixel_mm = point.setdefault("pixel_mm", None)  # absent or null: stretched
    if pixel_mm is not None and not (isinstance(pixel_mm, int | float) and 0 < pixel_mm < np.inf):
        raise ValueError(f"{found}: pixel_mm is {pixel_mm!r}, must be a positive number or null")
    return path, point


def score_files(
    paths: Iterable[str | os.PathLike],
    output_csv: str | os.PathLike,
    model: str | os.PathLike | None = None,
    workers: int = 0,
    key: bytes | None = None,
    dicom: str | os.PathLike | None = None,
    file_seconds: float = FILE_SECONDS,
) -> Counter:
    """Score files and folders into a CSV file, row by row, so that a stopped call can go on.

    Copies of one image (the same SOP instance with the same pixels) are scored once; the later ones are skipped as
    `duplicate`.

    Args:
        paths: Files and folders of mammograms, as `listing.walk_files` goes through them; what is none becomes a row
            with status `skipped` and a reason.
        output_csv: Gets `COLUMNS`; files that have a row keep it. `output_csv` + `.json` tells their model, and
            `output_csv` + `.instances` lists digests of the images scored.
        model: A .keras file or a run's folder; the bundled model by default.
        workers: Processes that read and prepare; the model works in this one. 0 reads in this process too: then a
            file that crashes its decoder ends the batch, and one on which it hangs stops it.
        key: Replaces each `patient_id` by a keyed hash (`pseudonym`); the same key gives the same pseudonyms.
        dicom: A folder for the DICOM results of views with BAC (`export_folder`); nothing in it is scored. They belong
            to the patient's study and name her, which a key is to prevent: the two exclude each other.
        file_seconds: Longest time for reading and preparing one file, s, from when a process begins with it. Then the
            process ends; the file gets one more try in a process of its own, and is `unreadable`. There is no limit
            with 0 workers.

    Returns:
        Number of rows written: `scored`, `scored, no pixel spacing: no area`, by reason of skipping, and the number
        of rows `done before`.

    Raises:
        FileNotFoundError: A path, the model or its operating point is not there.
        ValueError: The CSV file has other columns, or comes from another model, key or choice of `dicom`; workers is
            below 0; `file_seconds` is not above 0, or is more than a day; both `key` and `dicom` are given.
    """
    if workers < 0:
        raise ValueError(f"workers: got {workers}, must be 0 or more")
    if not 0 < file_seconds <= 86400:
        raise ValueError(f"file_seconds: got {file_seconds}, must be above 0 and at most 86400 (a day)")
    if dicom is not None and key is not None:
        raise ValueError("dicom: got a folder and a key, must be one of the two: DICOM results name the patient")
    output, note, seen = (Path(f"{os.fspath(output_csv)}{ending}") for ending in ("", ".json", ".instances"))
    paths, own = list(paths), {path.resolve() for path in (output, note, seen)}
    names = {path.name for path in own}

    def in_results(file: Path) -> bool:
        return dicom is not None and Path(dicom).resolve() in file.resolve().parents

    def files() -> Iterator[Path]:
        return (f for f in walk_files(paths) if not (f.name in names and f.resolve() in own or in_results(f)))

    number = sum(1 for _ in files())
    path, point = find_detector(model)
    used = {name: point[name] for name in (*_POINT, "heatmap", "pixel_mm")}
    origin = {"model_sha256": file_digest(path), "operating_point": used}
    if key is not None:
        origin["key"] = pseudonym("", key)
    if dicom is not None:
        origin["dicom"] = True
    done = _finished(output, note, origin)
    before = sum(_digest(_name(f)) in done for f in files()) if done else 0
    todo = (f for f in files() if _digest(_name(f)) not in done)
    counts = Counter({"done before": before} if before else {})
    detector = Detector(model) if before < number else None
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, origin)
    results = None if dicom is None else ResultFolder(dicom, {"model_sha256": origin["model_sha256"]} | used)
    instances = _known_instances(seen, done)
    with open(output, "a", newline="", encoding="utf-8") as stream, open(seen, "a", encoding="utf-8") as journal:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if not output.stat().st_size:
            writer.writeheader()
            stream.flush()
        reads = _read_all(todo, detector, workers, file_seconds)
        for file, read in tqdm(reads, total=number - before, desc="scoring", unit="file"):
            instance = bytes.fromhex(read.instance)
            if instance in instances:
                read = read._replace(prepared=None, reason="duplicate", message="the same image has a row already")
            elif read.prepared is not None and instance:
                instances.add(instance)
                # before the row: see `_known_instances`
                journal.write(f"{read.instance} {_digest(_name(file)).hex()}\n")
                journal.flush()
            row = _row(file, read, detector, key)
            if results is not None and row.get("bac") == 1:  # before the row: a stopped batch does it again
                mask = detector.outline(read.prepared)
                if reason := results.add(file, _name(file), read.instance, read.prepared, mask, row):
                    tqdm.write(f"no DICOM results of {file}: {reason}", file=sys.stderr)
            writer.writerow(row)
            stream.flush()
            without = row["status"] == "scored" and row["bac_area_mm2"] is None
            counts[row["reason"] or row["status"] + ", no pixel spacing: no area" * without] += 1
    return counts


def pseudonym(patient_id: str, key: bytes) -> str:
    """Return a patient's pseudonym: the first 16 hexadecimal digits of HMAC-SHA256 (RFC 2104) of the identifier.

    Args:
        patient_id: As in the file.
        key: The secret; who has it can tell which identifier a pseudonym stands for.

    Returns:
        The pseudonym.

    Raises:
        ValueError: The key is shorter than 16 bytes.
    """
    if len(key) < 16:
        raise ValueError(f"key: got {len(key)} bytes, must be 16 or more")
    return hmac.new(key, patient_id.encode("utf-8", "backslashreplace"), "sha256").hexdigest()[:16]


def _row(file: Path, read: _Read, detector: Detector, key: bytes | None) -> dict:
    """Measure a view that could be read, and return the row of its file."""
    start = time.perf_counter()
    header = dict(read.header)
    if key is not None and header.get("patient_id"):
        header["patient_id"] = pseudonym(header["patient_id"], key)
    found: dict = {"file": _name(file), "status": "skipped", "reason": read.reason} | header
    if read.prepared is not None:
        found |= {"status": "scored"} | detector.measure(read.prepared)
    else:
        shown = "".join(c if c.isprintable() else "?" for c in _name(file))  # a terminal obeys some of them
        tqdm.write(f"skipped {shown}: {read.message}", file=sys.stderr)
    found["elapsed_s"] = read.seconds + time.perf_counter() - start
    return {k: f"{v:.6g}" if isinstance(v, float) else _line(v) for k, v in found.items()}


def _read(file: Path, shape: tuple[int, int], pixel_mm: float | None) -> _Read:
    """Read and prepare a file; whatever goes wrong is this file's reason."""
    start, header, instance = time.perf_counter(), {}, ""
    try:
        mammogram = read_mammogram(file)
        header = {name: getattr(mammogram, name) for name in ("patient_id", "laterality", "view")}
        instance = mammogram.instance
        prepared, reason, message = prepare(mammogram, shape, pixel_mm), "", ""
    except Skip as skip:
        prepared, reason, message = None, skip.code, str(skip)
    except Exception as error:  # one file never stops the others; its text may quote the file, so it is left out
        prepared, reason, message = None, "unreadable", f"{type(error).__name__} while reading"
    return _Read(header, prepared, reason, message, time.perf_counter() - start, instance)


def _read_all(
    files: Iterator[Path], detector: Detector | None, workers: int, file_seconds: float
) -> Iterator[tuple[Path, _Read]]:
    """Read the files in order, a few ahead of the model; one that kills its process or takes too long is skipped."""
    if detector is None:
        return
    form = (detector.shape, detector.pixel_mm)
    if workers == 0:
        for file in files:
            yield file, _read(file, *form)
        return
    queue = deque(islice(files, 1))  # the next file, if there is one
    while queue:
        ahead: deque = deque()
        try:
            with worker_pool(workers) as pool:
                _check_pool(pool)
                while queue or ahead:
                    while queue and len(ahead) < 2 * workers:
                        ahead.append((queue[0], pool.submit(end_after, file_seconds, _read, queue[0], *form)))
                        queue.popleft()
                        queue.extend(islice(files, 1))
                    read = ahead[0][1].result()
                    yield ahead.popleft()[0], read
        except BrokenProcessPool:  # one of those ahead did it: each gets a process of its own
            for file, _ in ahead:
                yield file, _read_alone(file, file_seconds, *form)


def _check_pool(pool: ProcessPoolExecutor) -> None:
    """Raise when processes cannot start at all, lest every file be taken for a broken one."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "workers: the reading processes do not start; use 0, or call from below `if __name__ == '__main__':`"
        ) from error


def _read_alone(file: Path, file_seconds: float, *form: Any) -> _Read:
    """Read one file in a process of its own."""
    start = time.perf_counter()
    try:
        with worker_pool(1) as pool:
            return pool.submit(end_after, file_seconds, _read, file, *form).result()
    except BrokenProcessPool:
        seconds = time.perf_counter() - start
        what = "ended the process" if seconds < file_seconds else f"takes longer than {file_seconds:g} s"
        return _Read({}, None, "unreadable", f"reading it {what}", seconds)


def _digest(name: str) -> bytes:
    """Return 16 bytes that stand for a file's name: millions of names would fill the memory."""
    return blake2b(name.encode(), digest_size=16).digest()


def _drop_cut_line(stream: BinaryIO) -> None:
    """Cut a file after its last line's end; nothing is left of a file without one."""
    end = stream.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        stream.seek(start)
        place = stream.read(end - start).rfind(b"\n")
        if place >= 0:
            stream.truncate(start + place + 1)
            return
        end = start
    stream.truncate(0)


def _finished(output: Path, note: Path, origin: dict) -> set[bytes]:
    """Return digests of the files that have a row, after dropping a cut-off last line; refuse a foreign file."""
    if not output.exists() or not output.stat().st_size:
        return set()
    with open(output, "rb+") as stream:
        first, expected = stream.readline(1 << 16), ",".join(COLUMNS)
        header = first.decode("utf-8", "replace").strip()
        if header != expected and (first.endswith(b"\n") or not expected.startswith(header)):
            raise ValueError(f"{output} has other columns ({header[:80]}): choose another --output")
        if note.exists() and json.loads(note.read_text(encoding="utf-8")) != origin:
            what = "another model or operating point, another key, or another choice of DICOM results"
            raise ValueError(f"{output} was made with {what}: choose another --output")
        _drop_cut_line(stream)
    with open(output, newline="", encoding="utf-8") as stream:
        return {_digest(row["file"]) for row in csv.DictReader(stream)}


def _known_instances(seen: Path, done: Container[bytes]) -> set[bytes]:
    """Return the digests of images that have a row, after dropping a cut-off last line.

    A digest is written before its row. Where the batch ended between the two, the file has no row yet and its digest
    does not count.
    """
    if not seen.exists():
        return set()
    with open(seen, "rb+") as stream:
        _drop_cut_line(stream)
    with open(seen, encoding="ascii", errors="replace") as stream:
        lines = (re.fullmatch(r"([0-9a-f]{32}) ([0-9a-f]{32})\n", line) for line in stream)
        pairs = (map(bytes.fromhex, line.groups()) for line in lines if line)
        return {instance for instance, file in pairs if file in done}


def _name(file: Path) -> str:
    """Return a path as a line of UTF-8 can hold it."""
    return _line(str(file).encode("utf-8", "backslashreplace").decode())


def _line(value: Any) -> Any:
    """Return a value, text without line ends: a row is a line, so that a cut-off one is known."""
    return value.replace("\n", "\\n").replace("\r", "\\r") if isinstance(value, str) else value
