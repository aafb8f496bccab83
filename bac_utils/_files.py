"""The files below folders of any depth and size, one by one: what is held in memory does not grow with their number."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def walk_files(paths: Iterable[str | os.PathLike]) -> Iterator[Path]:
    """Go through files, and through folders with all that lies below them.

    Links are followed, each target once: a link to what comes anyway is left out, and so is one that leads back.

    Args:
        paths: Files and folders. One that lies in another is left out.

    Yields:
        Whatever is no folder, spelled as its path was given, in the order of names within each folder: also links to
        nothing, and folders that cannot be opened, so that none is lost silently.

    Raises:
        FileNotFoundError: A path is not there; raised before any file.
    """
    given: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there, must be a file or a folder")
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
            if _covered(real, seen):
                continue
            seen.add(real)
        if folder or link:
            yield from _walk(entry, seen)
        else:
            yield entry


def _covered(real: str, seen: set[str]) -> bool:
    """Say whether a resolved path or a folder above it has been seen."""
    while real not in seen:
        above = os.path.dirname(real)
        if above == real:
            return False
        real = above
    return True
