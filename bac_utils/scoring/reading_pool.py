"""Reading and preparing files in separate processes, so that a broken file affects no other row."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from bac_utils._workers import SPAWN, serve_calls
from bac_utils.detector import Detector
from bac_utils.intake.mammogram import Skip, may_pass
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import Prepared, prepare

FILE_SECONDS = 120.0
"""Default time limit for reading and preparing one file, s; the largest mammograms take a few seconds."""


class FileRead(NamedTuple):
    """A file that was read: values of its header, and the prepared view or the reason why there is none."""

    header: dict
    prepared: Prepared | None
    reason: str
    message: str
    seconds: float
    instance: str = ""


def read_file(file: Path, shape: tuple[int, int], pixel_mm: float | None) -> FileRead:
    """Read and prepare a file; any error becomes its reason for being skipped."""
    start, header, instance = time.perf_counter(), {}, ""
    try:
        mammogram = read_mammogram(file)
        header = {name: getattr(mammogram, name) for name in ("patient_id", "exam", "study_date", "laterality", "view")}
        header["image_rank"] = mammogram.rank
        instance = mammogram.instance
        prepared, reason, message = prepare(mammogram, shape, pixel_mm), "", ""
    except Skip as skip:
        prepared, reason, message = None, skip.code, str(skip)
    except Exception as error:  # a file must not stop the batch; messages may quote the header
        reason = "not_read" if may_pass(error) else "unreadable"
        prepared, message = None, f"{type(error).__name__} while reading"
    return FileRead(header, prepared, reason, message, time.perf_counter() - start, instance)


def read_all(
    files: Iterator[Path], detector: Detector | None, workers: int, file_seconds: float
) -> Iterator[tuple[Path, FileRead]]:
    """Read files in order, a few ahead of the model; those that crash their process or take too long are skipped."""
    if detector is None:
        return
    form = (detector.shape, detector.pixel_mm)
    if workers == 0:
        for file in files:
            yield file, read_file(file, *form)
        return
    readers, threads, ahead = _Readers(file_seconds, form), ThreadPoolExecutor(workers), deque()
    try:
        for file in files:
            ahead.append((file, threads.submit(readers.read, file)))
            if len(ahead) == 2 * workers:
                yield ahead[0][0], ahead.popleft()[1].result()
        while ahead:
            yield ahead[0][0], ahead.popleft()[1].result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        readers.end()
        threads.shutdown()


class _Readers:
    """Reading processes, one per calling thread, each with its own pipe.

    The workers of a process pool share one pipe: a worker that is killed while it sends a view would block all others.
    """

    def __init__(self, file_seconds: float, form: tuple) -> None:
        self._seconds, self._form = file_seconds, form
        self._mine, self._processes, self._ended = threading.local(), {}, False

    def read(self, file: Path) -> FileRead:
        """Read a file in this thread's process; if the process ends, once more in a new one."""
        for _ in range(2):
            pipe = getattr(self._mine, "pipe", None) or self._start()
            start = time.perf_counter()
            try:
                pipe.send((self._seconds, read_file, file, *self._form))
                return pipe.recv()
            except (EOFError, OSError):
                seconds, self._mine.pipe = time.perf_counter() - start, None
                self._drop(pipe)
        what = "ended the process" if seconds < self._seconds else f"took longer than {self._seconds:g} s"
        return FileRead({}, None, "not_read", f"reading it {what}", seconds)

    def end(self) -> None:
        """End all processes, those that are reading included."""
        self._ended = True
        for process in list(self._processes.values()):
            if process.pid is not None:
                process.kill()
                process.join()

    def _start(self) -> Connection:
        pipe, other = SPAWN.Pipe()
        process = self._processes[pipe] = SPAWN.Process(target=serve_calls, args=(other,), daemon=True)
        process.start()
        other.close()  # so that the pipe ends with the process
        if self._ended:
            process.kill()
        try:
            pipe.recv()
        except (EOFError, OSError) as error:  # not the file's fault
            self._drop(pipe)
            raise RuntimeError(
                "workers: the reading processes do not start; use 0, or call this under `if __name__ == '__main__':`"
            ) from error
        self._mine.pipe = pipe
        return pipe

    def _drop(self, pipe: Connection) -> None:
        process = self._processes.pop(pipe)
        process.kill()
        process.join()
        pipe.close()
