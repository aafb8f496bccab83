"""Worker processes that end with their parent and within a time limit.

The workers of an ordinary process pool wait forever if their parent is killed.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process that has loaded TensorFlow may hang

AHEAD = 2
"""Results per worker that `in_order` computes ahead."""


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of new processes; each computes on one core and ends when this process ends.

    Args:
        workers: Number of processes, at least 1.

    Returns:
        The pool, for use in a `with` block.
    """
    return ProcessPoolExecutor(workers, mp_context=SPAWN, initializer=_start_worker)


def run_jobs(job: Callable, numbers: range, workers: int, what: str, chunk: int = 1) -> list:
    """Run a job for each number in worker processes, with a progress bar.

    Args:
        job: A function of one number that can be pickled.
        numbers: The numbers.
        workers: Number of processes; 0 runs the jobs in this one.
        what: Label of the progress bar.
        chunk: Number of jobs that a process fetches at once.

    Returns:
        The results, in the order of the numbers.
    """
    if workers == 0:
        return list(map(job, tqdm(numbers, what)))
    with worker_pool(workers) as pool:
        return list(tqdm(pool.map(job, numbers, chunksize=chunk), total=len(numbers), desc=what))


def in_order(job: Callable, numbers: range, workers: int) -> Iterator:
    """Yield the results of a job for each number, in order, while the next ones are computed in worker processes.

    Args:
        job: A function of one number that can be pickled.
        numbers: The numbers.
        workers: Number of processes, at least 1.
    """
    with worker_pool(workers) as pool:
        waiting = deque()
        for number in numbers:
            waiting.append(pool.submit(job, number))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def end_after(seconds: float, function: Callable, *arguments: Any) -> Any:
    """Call a function in a worker; if it does not return in time, the process ends, which breaks its pool.

    Args:
        seconds: Time limit, above 0. Waiting in the pool's queue does not count.
        function: The function.
        arguments: Its arguments.

    Returns:
        The function's result.
    """
    with open(os.devnull, "w") as nowhere:
        # not a timer: its thread cannot run while native code holds the interpreter lock
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            return function(*arguments)
        finally:
            faulthandler.cancel_dump_traceback_later()


def serve_calls(pipe: Connection) -> None:
    """Report through a pipe that this process has started, then the result of each call that it is sent.

    Args:
        pipe: Delivers the arguments of `end_after`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    _start_worker()
    pipe.send(None)
    while True:
        pipe.send(end_after(*pipe.recv()))


def _start_worker() -> None:
    """Watch the parent, and limit OpenCV to one thread, since the processes already share the cores."""
    import cv2

    cv2.setNumThreads(1)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
