"""Resuming a stopped batch: which files and images are finished."""

import csv
import io
import os
import re
from collections.abc import Container, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from bac_utils._files import read_json

COLUMNS = (
    "file", "patient_id", "exam", "study_date", "laterality", "view", "image_rank", "status", "reason",
    "score", "bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "saturated_share",
    "elapsed_s",
)  # fmt: skip
"""Between `file` and `status` is what identifies a view; from `score` on, all are numbers."""
HEADER = COLUMNS[1 : COLUMNS.index("status")]
"""Those of the columns that come from the file's header."""
_NUMBERS = COLUMNS[COLUMNS.index("score") :]
_LINE = re.compile(r"([0-9a-f]{32}|-) ([0-9a-f]{32}) ([0-9a-f]{32})\n")
_CAUSE = (
    "a spreadsheet or another program has saved this table again, which may change identifiers, dates and numbers: "
    "bring back the table that score wrote, or choose another --output"
)


def name_digest(name: str) -> bytes:
    """Return a digest of a file name, 16 bytes; the names themselves would take too much memory."""
    return blake2b(name.encode(), digest_size=16).digest()


def instance_line(row: Mapping, instance: str) -> str:
    """Return a row's line in the file of instances: digests of its image, its name, and what identifies its view.

    Args:
        row: The row as it will be written.
        instance: Digest of the image, 32 hexadecimal digits; empty if the row does not score it.
    """
    return f"{instance or '-'} {name_digest(row['file']).hex()} {_identity(row).hex()}\n"


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


def finished_files(output: Path, note: Path, origin: dict, seen: Path) -> set[bytes]:
    """Return the digests of the files that have a row.

    Args:
        output: The table of scores; an incomplete last line is removed.
        note: Its `.json`.
        origin: Model, operating point, rule for the threshold, key and choice of DICOM results of this call.
        seen: Its file of instances, which shows whether identifiers have changed.

    Raises:
        ValueError: The table has other columns or another origin, or is no longer as `score` wrote it.
    """
    if not output.exists() or not output.stat().st_size:
        return set()
    with open(output, "rb+") as stream:
        _check_header(stream.readline(1 << 16), output)
        if note.exists() and read_json(note) != origin:
            what = (
                "another model or operating point, another rule for the threshold, another key, or another choice of "
                "DICOM results"
            )
            raise ValueError(f"{output} was made with {what}: choose another --output")
        drop_cut_line(stream)
    identities = {bytes.fromhex(name): bytes.fromhex(identity) for _, name, identity in _lines(seen)}
    done = set()
    with open(output, "rb") as stream:
        next(stream, b"")
        for number, line in enumerate(stream, 2):
            row = _read_row(line)
            if row is None:
                raise ValueError(f"{output} row {number}: is not as score writes it; {_CAUSE}")
            name = name_digest(row["file"])
            if identities.get(name, _identity(row)) != _identity(row):
                found = ", ".join(ascii(row[column]) for column in HEADER)
                names, rule = ", ".join(HEADER), "must be as score wrote them"
                raise ValueError(f"{output} row {number}: got {found} for {names}, {rule}; {_CAUSE}")
            done.add(name)
    return done


def known_instances(seen: Path, done: Container[bytes]) -> set[bytes]:
    """Return the digests of the images that have a row; an incomplete last line is removed.

    A digest is written before its row. If the batch stopped between the two, the file has no row and its digest does
    not count.
    """
    if not seen.exists():
        return set()
    with open(seen, "rb+") as stream:
        drop_cut_line(stream)
    pairs = ((instance, bytes.fromhex(name)) for instance, name, _ in _lines(seen))
    return {bytes.fromhex(instance) for instance, name in pairs if instance != "-" and name in done}


def _lines(seen: Path) -> list[tuple[str, str, str]]:
    """Return the complete lines of a file of instances; see `instance_line`."""
    if not seen.exists():
        return []
    with open(seen, encoding="ascii", errors="replace") as stream:
        return [match.groups() for match in map(_LINE.fullmatch, stream) if match]


def _identity(row: Mapping) -> bytes:
    return name_digest("\n".join(str(row.get(column, "")) for column in HEADER))


def _check_header(first: bytes, output: Path) -> None:
    """Refuse a table whose first line is not that of `score`, or the beginning of it."""
    header, expected = first.decode("utf-8", "replace"), ",".join(COLUMNS)
    if header == expected + "\n" or (expected.startswith(header) and not first.endswith(b"\n")):
        return
    letters = re.sub("[^a-z0-9_,]", "", re.sub("[;\t|]", ",", header.replace("\0", ""))).rstrip(",")
    if letters in (expected, "sep") or first.startswith(b"PK"):
        raise ValueError(f"{output} row 1: is not as score writes it; {_CAUSE}")
    raise ValueError(f"{output} has other columns ({header.strip()[:80]}): choose another --output")


def _read_row(line: bytes) -> dict[str, str] | None:
    """Return a row, or None if `score` would write it with other delimiters, quotes, numbers or line ends."""
    try:
        text = line.decode()
        [cells] = csv.reader([text], strict=True)
        row, again = dict(zip(COLUMNS, cells, strict=True)), io.StringIO()
        numbers = [row[column] for column in _NUMBERS]
        as_written = all(number == "" or number == f"{float(number):.6g}" for number in numbers)
    except (ValueError, csv.Error):
        return None
    csv.writer(again, lineterminator="\n").writerow(cells)
    return row if as_written and again.getvalue() == text else None
