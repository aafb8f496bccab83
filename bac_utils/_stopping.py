"""Ending on SIGTERM: this process, and others that it has started, whatever a library does with the exception."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE_S = 10.0
"""Time for cleaning up after SIGTERM, s; then the process ends, even if a library has swallowed the exception."""

_helpers: list[Callable[[bool], None]] = []


@contextlib.contextmanager
def ended_on_sigterm() -> Iterator[None]:
    """End with exit code 143 if SIGTERM arrives in this block, after the processes of `helpers_end_with` have ended."""
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        if not stopped:
            stopped.append(128 + number)
            _end_helpers(last=False)
            threading.Thread(target=_end_at_last, args=stopped, daemon=True).start()
        sys.exit(stopped[0])

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if stopped:  # also if another error has followed from the stop, or none
            _end(stopped[0])
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def helpers_end_with(end: Callable[[bool], None]) -> Iterator[None]:
    """Name a function that ends the processes started in this block.

    Args:
        end: It is called on SIGTERM, several times, with False, and with True right before this process ends without
            cleaning up. It must not raise.
    """
    _helpers.append(end)
    try:
        yield
    finally:
        _helpers.remove(end)


def _end_helpers(last: bool) -> None:
    for end in tuple(_helpers):
        end(last)


def _end_at_last(code: int) -> None:
    """End this process when its time for cleaning up is over."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        time.sleep(0.2)
        _end_helpers(last=False)  # those that have only now started
    _end(code)


def _end(code: int) -> None:
    """End this process without the interpreter's own cleaning up, in which sockets to a killed kernel may hang."""
    _end_helpers(last=True)
    os._exit(code)
