"""File helpers: walk folders of any size, write files atomically, lock them, read and write JSON, compute digests."""

import glob
import hashlib
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_UNFINISHED = re.compile(r"part-[0-9a-f]{8}-.+")
_LOCK = re.compile(r"\.(.+\.)?lock")
_LEFT_S = 3600
"""Age in s from which an unfinished file counts as left by a killed process; no file takes that long to write."""


def walk_files(paths: Iterable[str | os.PathLike]) -> Iterator[Path]:
    """Iterate over files, and over folders with everything below them.

    Links are followed, but each target is visited once: a link into a folder that is visited anyway is skipped, so
    there are no loops.

    Args:
        paths: Files and folders. A path inside another one is skipped.

    Yields:
        Everything that is not a folder, with the path spelled as given, sorted by name within each folder. Broken links
        and folders that cannot be opened are included, so that nothing is lost silently.

    Raises:
        FileNotFoundError: A path does not exist; raised before the first file.
    """
    given: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"paths: got {path}, must be an existing file or folder")
        given.setdefault(os.path.realpath(path), path)
    seen = set(given)  # the files and folders given, and later the targets of links
    for real, path in given.items():
        above = os.path.dirname(real)
        if above == real or not _covered(above, seen):
            yield from _walk(path, seen)


def _walk(path: Path, seen: set[str]) -> Iterator[Path]:
    if not os.path.isdir(path):
        yield path
        return
    try:
        with os.scandir(path) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in found)
    except OSError:
        yield path
        return
    for name, folder, link in entries:
        entry = path / name
        if link:
            real = os.path.realpath(entry)
            if os.path.exists(real) and _covered(real, seen):
                continue
            seen.add(real)
        if folder or link:
            yield from _walk(entry, seen)
        else:
            yield entry


def _covered(real: str, seen: set[str]) -> bool:
    """Return whether a resolved path or a folder above it has been seen."""
    while real not in seen:
        above = os.path.dirname(real)
        if above == real:
            return False
        real = above
    return True


def plain(value: Any) -> Any:
    """Convert a value to JSON types: NumPy scalars and arrays are unpacked, NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file atomically, so that no reader finds half of it.

    Args:
        path: The file; its folder is created if missing.

    Yields:
        The path to write to, in the same folder and with the same suffix; no other process has it. It replaces the file
        at the end of the block, and is removed if the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{secrets.token_hex(4)}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            cause = error.__cause__ or error.__context__
            if error.errno is None and isinstance(cause, OSError) and cause.errno:  # pydicom quotes its traceback
                raise OSError(cause.errno, os.strerror(cause.errno), os.fspath(path)) from error
            if error.errno and error.filename is None:
                error.filename = os.fspath(path)  # a full disk is reported without a name
        raise


def is_unfinished(path: Path) -> bool:
    """Return whether a path is no result: a temporary file (`is_temporary`) or an empty one."""
    return is_temporary(path) or (path.is_file() and not has_content(path))


def is_temporary(path: Path) -> bool:
    """Return whether a file has the name of one that `written_whole` has not finished, or of a lock."""
    return bool(_UNFINISHED.fullmatch(path.name) or _LOCK.fullmatch(path.name))


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty; a full disk or a power failure may leave empty files."""
    return path.is_file() and path.stat().st_size > 0


def refuse_links(folder: str | os.PathLike, what: str = "output") -> None:
    """Raise an error if a folder contains links, through which files elsewhere would be written or removed.

    Args:
        folder: The folder, which may be missing; the path itself may contain links.
        what: The argument that named it, for the message.

    Raises:
        ValueError: Something in the folder, at any depth, is neither a folder nor a file with only this name: a
            symbolic link, a file with hard links, a pipe or a device. The message names it.
    """
    folders = [os.fspath(folder)] if os.path.isdir(folder) else []
    while folders:
        with os.scandir(folders.pop()) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                try:
                    about = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process has just finished it
                    continue
                if stat.S_ISDIR(about.st_mode):
                    folders.append(entry.path)
                elif entry.is_symlink():
                    told = f"a link to {os.readlink(entry.path)}"
                    raise ValueError(f"{what}: got a folder with {entry.path}, {told}, must not contain links")
                elif not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                    told = "a hard link" if stat.S_ISREG(about.st_mode) else "neither a file nor a folder"
                    raise ValueError(f"{what}: got a folder with {entry.path}, {told}, must contain plain files only")


@contextmanager
def locked(target: str | os.PathLike, wait_s: float = 0) -> Iterator[None]:
    """Lock a folder, or a file that is to be written, for this process.

    The operating system releases the lock when the process ends in any way. Unfinished files that a killed process has
    left are removed.

    Args:
        target: An existing folder, in which a file `.lock` is created; or a file, beside which `.NAME.lock` is created,
            with its folder if that is missing.
        wait_s: Time to wait for another process, s.

    Raises:
        FileExistsError: Another process has locked it.
        OSError: The file system does not support file locks.
    """
    path = Path(os.path.realpath(target))
    folder = path.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / ".lock" if folder else path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=wait_s, poll_interval=0.005)  # rarer, a busy writer would keep the others out
    except Timeout:
        raise FileExistsError(f"{target} is in use by another process") from None
    except (NotImplementedError, OSError) as error:
        raise OSError(f"{target}: cannot be locked ({error}); choose a folder on a local file system") from None
    try:
        for left in path.rglob("part-*") if folder else path.parent.glob(f"part-????????-{glob.escape(path.name)}*"):
            if _UNFINISHED.fullmatch(left.name) and left.is_file() and time.time() - left.stat().st_mtime > _LEFT_S:
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_json(path: Path, values: dict) -> None:
    """Write a JSON file atomically; see `written_whole`.

    Args:
        path: The file.
        values: Anything that `plain` can convert to JSON types.
    """
    text = json.dumps(plain(values), indent=2, allow_nan=False, ensure_ascii=False)
    with written_whole(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())  # or a power failure might leave it empty


def read_json(path: Path) -> dict:
    """Read the object in a JSON file.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not valid JSON, or does not contain an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: must be valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got {type(found).__name__}, must be a JSON object")
    return found


def file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file as hexadecimal text."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
