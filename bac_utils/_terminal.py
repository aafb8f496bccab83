"""What reaches the terminal: text from files without control characters, and stderr without notices of libraries."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

TENSORFLOW_NOTICES = re.compile(
    rb"WARNING: All log messages before absl|To enable the following instructions"
    rb"|[IW]\d{4} .*\.cc:\d+\]|E\d{4} .*cuda_platform\.cc:\d+\]"
)
"""Lines that TensorFlow prints at every start, whatever its log level: about oneDNN, and that there is no GPU."""


def shown(text: object) -> str:
    """Return a text without control characters, on which a terminal would act; `?` takes their place.

    Line breaks become `?` too, so that a name cannot look like a message. Paths that are not valid Unicode are shown
    with backslashes.
    """
    line = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(character if character.isprintable() else "?" for character in line)


def say(*lines: object, err: bool = False) -> None:
    """Print lines to stdout or stderr, each as `shown`."""
    print("\n".join(map(shown, lines)), file=sys.stderr if err else sys.stdout, flush=True)


def say_error(error: BaseException) -> None:
    """Print an error to stderr in one line; one that has `lines`, such as `_tables.Lines`, in these."""
    first, *others = getattr(error, "lines", [error])
    say(f"error: {first}", *others, err=True)


@contextmanager
def without_lines(unwanted: re.Pattern[bytes]) -> Iterator[None]:
    """Collect what is written to stderr, and pass it on at the end without unwanted lines.

    Args:
        unwanted: Matches the beginning of each line to drop.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            rest = b"".join(line for line in caught if not unwanted.match(line))
            os.write(2, rest)
