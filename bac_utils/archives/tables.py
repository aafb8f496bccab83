"""Finding the folders, tables and image files of a dataset."""

import os
from collections.abc import Sequence
from pathlib import Path


def check_folder(name: str, folder: str | os.PathLike) -> Path:
    """Return the path of a folder.

    Args:
        name: Name of the argument, for the message.
        folder: The folder.

    Raises:
        FileNotFoundError: It does not exist, or is not a folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{name}: got '{os.fspath(folder)}', must be an existing folder")
    return Path(folder)


def find_tables(source: Path, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> list[Path]:
    """Find the tables of a dataset.

    Args:
        source: The folder of the dataset.
        names: File names of the tables.
        subfolders: Subfolders to search; only the first one that contains any of the tables is used.

    Returns:
        The existing tables, in the order of `names`.

    Raises:
        FileNotFoundError: There is none of them.
    """
    for subfolder in subfolders:
        found = [source / subfolder / name for name in names if (source / subfolder / name).is_file()]
        if found:
            return found
    where = " or ".join(f"'{source / subfolder}'" for subfolder in subfolders)
    raise FileNotFoundError(f"{where}: must contain {' or '.join(names)}")


def locate(images: Path, roots: Sequence[str], path: str) -> str:
    """Find an image file that a table names.

    Args:
        images: The image folder.
        roots: Prefixes to try before the path, such as `images/` or none (empty).
        path: A relative path in the form of `_tables.relative_path`.

    Returns:
        The path relative to `images`; empty if there is no such file.
    """
    return next((root + path for root in roots if os.path.isfile(images / (root + path))), "")
