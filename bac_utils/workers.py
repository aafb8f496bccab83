"""Worker processes that leave with their parent.

A process pool's workers wait for work for ever when their parent is killed; these do not.
"""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes; each computes on one core and ends when this process ends.

    Args:
        workers: Number of processes, at least 1.

    Returns:
        The pool, to be used in a `with` block.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that has loaded TensorFlow may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Watch the parent, and keep OpenCV to one thread: the processes share the cores already."""
    import cv2

    cv2.setNumThreads(1)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
