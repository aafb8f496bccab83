"""Resuming a stopped batch: which files and images are finished."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from bac_utils._files import read_json, written_whole
from bac_utils.intake.mammogram import PASSING

COLUMNS = (
    "file", "patient_id", "exam", "study_date", "laterality", "view", "image_rank", "status", "reason",
    "score", "bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "saturated_share",
    "elapsed_s",
)  # fmt: skip
"""Between `file` and `status` is what identifies a view; from `score` on, all are numbers."""
HEADER = COLUMNS[1 : COLUMNS.index("status")]
"""Those of the columns that come from the file's header."""
_NUMBERS = COLUMNS[COLUMNS.index("score") :]
_LINE = re.compile(r"(-|=?[0-9a-f]{32}) ([0-9a-f]{32}) ([0-9a-f]{32}) ([0-9a-f]{32}) (-|[0-9a-f]{32})\n")
_CAUSE = (
    "a spreadsheet or another program has saved this table again, which may change identifiers, dates and numbers: "
    "bring back the table that score wrote, or choose another --output"
)


def name_digest(name: str) -> bytes:
    """Return a digest of a file name, 16 bytes; the names themselves would take too much memory."""
    return _digest(name.encode())


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


@dataclass(frozen=True)
class FileState:
    """Which file a row belongs to, and whether that file has changed since.

    Attributes:
        path: Digest of the resolved path.
        state: Digest of size and time of the last change; None if they are unknown.
    """

    path: bytes
    state: bytes | None

    @classmethod
    def of(cls, file: Path) -> "FileState":
        """Look at a file."""
        path = _digest(os.fsencode(os.path.realpath(file)))
        try:
            found = file.stat()
        except OSError:
            return cls(path, None)
        return cls(path, _digest(f"{found.st_size} {found.st_mtime_ns}".encode()))


def file_name(file: Path) -> str:
    r"""Return a path as one line of text that no other path has: line breaks become `\n`, a backslash two of them.

    Bytes that are not UTF-8 become `\udc..`. On Windows, where paths have none of these, backslashes stay single.
    """
    text = str(file) if os.sep == "\\" else str(file).replace("\\", "\\\\")
    return one_line(text.encode("utf-8", "backslashreplace").decode())


def one_line(value: Any) -> Any:
    """Escape line breaks in text, so that each row is one line and an incomplete last row can be recognised."""
    return value.replace("\n", "\\n").replace("\r", "\\r") if isinstance(value, str) else value


def instance_line(row: Mapping, instance: str, file: FileState) -> str:
    """Return a row's line in the file of instances.

    Args:
        row: The row as it will be written.
        instance: Digest of the image, 32 hexadecimal digits; empty if it is unknown.
        file: What the row's file was before it was read.

    Returns:
        Digests of the image (after `=` if the row does not score it), of the row's name, of what identifies its view,
        and of path and state of its file.
    """
    image = f"{'' if row['status'] == 'scored' else '='}{instance}" if instance else "-"
    state = file.state.hex() if file.state else "-"
    return f"{image} {name_digest(row['file']).hex()} {_identity(row).hex()} {file.path.hex()} {state}\n"


class Journal:
    """What the tables of a batch contain already; see `read`.

    Attributes:
        names: Digests of the names in the tables.
        instances: Digests of the images that a row scores.
    """

    def __init__(self, seen: Path) -> None:
        """Read the file of instances; an incomplete last line is removed."""
        self.names: set[bytes] = set()
        self.instances: set[bytes] = set()
        self._lines: dict[bytes, tuple] = {}  # the last of each name; see `instance_line`
        self._files: dict[bytes, tuple[bytes, bytes | None]] = {}  # by path: name and state
        self._again: set[bytes] = set()  # names of rows whose reason may pass
        self._copies: dict[bytes, bytes] = {}  # by name: the image that another row scores
        if seen.exists():
            with open(seen, "rb+") as stream:
                drop_cut_line(stream)
            with open(seen, encoding="ascii", errors="replace") as stream:
                for match in filter(None, map(_LINE.fullmatch, stream)):
                    image, name, *rest = match.groups()
                    digests = [None if digest == "-" else bytes.fromhex(digest) for digest in rest]
                    self._lines[bytes.fromhex(name)] = image, *digests

    def read(self, table: Path, note: Path, origin: dict) -> set[bytes]:
        """Read a table of scores; an incomplete last line is removed.

        Args:
            table: The table.
            note: Its `.json`.
            origin: Model, operating point, rule for the threshold, key and choice of DICOM results of this call.

        Returns:
            The digests of the names in it.

        Raises:
            ValueError: The table has other columns or another origin, or is no longer as `score` wrote it.
        """
        names: set[bytes] = set()
        for number, row in _read_table(table, note, origin):
            name = name_digest(row["file"])
            image, identity, path, state = self._lines.get(name, ("-", _identity(row), None, None))
            if identity != _identity(row):
                found = ", ".join(ascii(row[column]) for column in HEADER)
                wanted, rule = ", ".join(HEADER), "must be as score wrote them"
                raise ValueError(f"{table} row {number}: got {found} for {wanted}, {rule}; {_CAUSE}")
            names.add(name)
            if path is not None:
                self._files[path] = name, state
            if row["reason"] in PASSING:
                self._again.add(name)
            if row["status"] == "scored" and image != "-":
                self.instances.add(bytes.fromhex(image))
            elif row["reason"] == "duplicate" and image != "-":
                self._copies[name] = bytes.fromhex(image[1:])
        self.names |= names
        return names

    def outdated(self, files: Callable[[], Iterable[Path]]) -> set[bytes]:
        """Return the names of rows that no longer hold, for `forget`.

        These are rows of files that have changed since, of files that could not be read for a reason that may pass,
        and of copies of an image that no row scores any more.

        Args:
            files: Returns the files of this call; rows of other files are left alone.
        """
        if not self.names:
            return set()
        found, images = set(), set()
        for file in files():
            now, name = FileState.of(file), name_digest(file_name(file))
            if now.path in self._files:
                name, state = self._files[now.path]
                stale = state != now.state or name in self._again
            elif name in self._lines:  # of another file, unless this path has been made to lead to this one
                stale = file.is_absolute()
            else:
                stale = name in self._again
            if stale and name in self.names:
                found.add(name)
                images.add(self._lines.get(name, ("-",))[0])
        lost = {name for name, image in self._copies.items() if image.hex() in images}
        return found | {self.of(file) for file in files()} & lost if lost else found

    def of(self, file: Path) -> bytes | None:
        """Return the digest of the name of a file's row; None if it has none."""
        known = self._files.get(FileState.of(file).path)
        if known is not None and known[0] in self.names:
            return known[0]
        name = name_digest(file_name(file))
        return name if name in self.names and self._lines.get(name) is None else None

    def name_for(self, file: Path) -> str:
        """Return the name for a file's new row: its path as given, or its absolute path if that names another file."""
        name = file_name(file)
        return file_name(file.absolute()) if name_digest(name) in self.names else name

    def add(self, row: Mapping, instance: str, file: FileState) -> str:
        """Take note of a new row, and return its line for the file of instances, with the arguments of `instance_line`.

        The line must be written before the row: if the batch is stopped between the two, the file has no row.
        """
        line = instance_line(row, instance, file)
        image, name, *_ = line.split()
        self.names.add(bytes.fromhex(name))
        self._files[file.path] = bytes.fromhex(name), file.state
        if row["status"] == "scored" and instance:
            self.instances.add(bytes.fromhex(instance))
        return line

    def forget(self, tables: Iterable[Path], names: set[bytes]) -> None:
        """Remove the rows with these names from the tables, each at once, and from what is known."""
        for table in tables if names else ():
            if table.exists():
                with (
                    open(table, newline="", encoding="utf-8") as stream,
                    written_whole(table) as part,
                    open(part, "w", newline="", encoding="utf-8") as rest,
                ):
                    for number, line in enumerate(stream):
                        if not number or name_digest(next(csv.reader([line]))[0]) not in names:
                            rest.write(line)
        for name in names:
            image = self._lines.pop(name, ("-",))[0]
            self.instances.discard(bytes.fromhex(image) if image[0] not in "-=" else b"")
        self.names -= names
        self._files = {path: known for path, known in self._files.items() if known[0] not in names}


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


def _read_table(table: Path, note: Path, origin: dict) -> Iterator[tuple[int, dict]]:
    """Yield the number and the cells of each row; see `Journal.read`."""
    if not table.exists() or not table.stat().st_size:
        return
    with open(table, "rb+") as stream:
        _check_header(stream.readline(1 << 16), table)
        if note.exists():
            differences = _differences(read_json(note), origin)
            if differences:
                raise ValueError(f"{table} was made with {'; '.join(differences)}: choose another --output")
        elif table.stat().st_size > len(",".join(COLUMNS)) + 1:  # the note is written before the first row
            what = f"{note.name} is missing, which states how they were made"
            raise ValueError(f"{table} has rows, but {what}: bring it back, or choose another --output")
        drop_cut_line(stream)
    with open(table, "rb") as stream:
        next(stream, b"")
        for number, line in enumerate(stream, 2):
            row = _read_row(line)
            if row is None:
                raise ValueError(f"{table} row {number}: is not as score writes it; {_CAUSE}")
            yield number, row


def _differences(before: dict, now: dict) -> list[str]:
    """Return in words how the origins of two tables differ."""
    parts = [{**origin, **origin.get("operating_point", {})} for origin in (before, now)]
    names = [name for name in dict.fromkeys([*parts[0], *parts[1]]) if name != "operating_point"]
    pairs = {name: [part.get(name) for part in parts] for name in names}
    words = {"model_sha256": "another model", "key": "another key, or with and without one"}
    words |= {"dicom": "another choice of DICOM results", "threshold_rule": "another rule for the threshold"}
    said = {name: f"{name} {old} instead of {new}" for name, (old, new) in pairs.items()} | words
    return [said[name] for name, (old, new) in pairs.items() if old != new]


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
