"""Resuming a stopped batch: which files and images are finished."""

import csv
import os
import re
from collections.abc import Container
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from bac_utils._files import read_json

COLUMNS = (
    "file", "patient_id", "exam", "study_date", "laterality", "view", "image_rank", "status", "reason",
    "score", "bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "elapsed_s",
)  # fmt: skip
HEADER = ("patient_id", "exam", "study_date", "laterality", "view", "image_rank")
"""Those of the columns that come from the file's header."""


def name_digest(name: str) -> bytes:
    """Return a digest of a file name, 16 bytes; the names themselves would take too much memory."""
    return blake2b(name.encode(), digest_size=16).digest()


def drop_cut_line(stream: BinaryIO) -> None:
    """Truncate a file after its last line break, or to nothing if it has none."""
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


def finished_files(output: Path, note: Path, origin: dict) -> set[bytes]:
    """Return the digests of the files that have a row.

    Args:
        output: The table of scores; an incomplete last line is removed.
        note: Its `.json`.
        origin: Model, operating point, rule for the threshold, key and choice of DICOM results of this call.

    Raises:
        ValueError: The table has other columns or another origin.
    """
    if not output.exists() or not output.stat().st_size:
        return set()
    with open(output, "rb+") as stream:
        first, expected = stream.readline(1 << 16), ",".join(COLUMNS)
        header = first.decode("utf-8", "replace").strip()
        if header != expected and (first.endswith(b"\n") or not expected.startswith(header)):
            raise ValueError(f"{output} has other columns ({header[:80]}): choose another --output")
        if note.exists() and read_json(note) != origin:
            what = (
                "another model or operating point, another rule for the threshold, another key, or another choice of "
                "DICOM results"
            )
            raise ValueError(f"{output} was made with {what}: choose another --output")
        drop_cut_line(stream)
    with open(output, newline="", encoding="utf-8") as stream:
        return {name_digest(row["file"]) for row in csv.DictReader(stream)}


def known_instances(seen: Path, done: Container[bytes]) -> set[bytes]:
    """Return the digests of the images that have a row; an incomplete last line is removed.

    A digest is written before its row. If the batch stopped between the two, the file has no row and its digest does
    not count.
    """
    if not seen.exists():
        return set()
    with open(seen, "rb+") as stream:
        drop_cut_line(stream)
    with open(seen, encoding="ascii", errors="replace") as stream:
        lines = (re.fullmatch(r"([0-9a-f]{32}) ([0-9a-f]{32})\n", line) for line in stream)
        pairs = (map(bytes.fromhex, line.groups()) for line in lines if line)
        return {instance for instance, file in pairs if file in done}
