"""Worker processes that leave with their parent, and do not hang.

A process pool's workers wait for work for ever when their parent is killed; these do not.
"""

import faulthandler
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes; each computes on one core and ends when this process ends.

    Args:
        workers: Number of processes, at least 1.

    Returns:
        The pool, to be used in a `with` block.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that has loaded TensorFlow may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def end_after(seconds: float, function: Callable, *arguments: Any) -> Any:
    """Call a function in a worker; where it has not returned in time, the process ends, and breaks its pool.

    Args:
        seconds: The time, above 0.
        function: To be called; its time counts, not that of waiting in the pool's queue.
        arguments: Its arguments.

    Returns:
        What it returns.
    """
    with open(os.devnull, "w") as nowhere:
        # not a timer: its thread gets no turn while native code keeps the interpreter's lock
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            return function(*arguments)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _start_worker() -> None:
    """Watch the parent, and keep OpenCV to one thread: the processes share the cores already."""
    import cv2

    cv2.setNumThreads(1)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
