"""Look up the values of a report in the files of a folder, by references that the page states beside each value.

A reference is `FILE:KEY.KEY...`. Keys of a CSV file are the number of the row, from 0, and the column. Some names stand
for no file of the folder: `paper` for the published results (`settings.PUBLISHED`), `preset` for the settings of the
preset that `summary.json` names, and `kit/NAME` for a file of this wing. Of `model.keras`, `rows` and `columns` of the
input are known. In a key, `~1` stands for a point and `~0` for a tilde, as in JSON Pointer (RFC 6901); `escaped_key`
writes them.

An expression is one reference, or a sum of quotients: `a ÷ b − c ÷ d`. It is computed from left to right, the quotients
first, and is unknown if a value is unknown or a divisor 0.
"""

import csv
import functools
import json
import math
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bac_utils._files import read_json
from bac_utils.settings import PRESETS, PUBLISHED

MINUS, OVER = " − ", " ÷ "
DEFAULT = "summary.json"
"""The file of a reference without one."""
HERE = Path(__file__).parent
_LARGEST_CONFIG = 50_000_000


def escaped_key(key: object) -> str:
    """Return a key of a JSON object or a column as it is written in a reference."""
    return str(key).replace("~", "~0").replace(".", "~1").replace("−", "~2").replace("÷", "~3").replace(":", "~4")


def reference(file: str, *keys: object) -> str:
    """Return the reference of a value, given its file and keys."""
    return f"{file}:{'.'.join(map(escaped_key, keys))}"


def meant_key(key: str) -> str:
    """Return the key that `escaped_key` has written."""
    for written, meant in (("~4", ":"), ("~3", "÷"), ("~2", "−"), ("~1", "."), ("~0", "~")):
        key = key.replace(written, meant)
    return key


class Sources:
    """The files of a folder, read when they are first asked for.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder; nothing is read yet."""
        self.folder = folder
        self._read = functools.cache(self._load)

    def value(self, expression: str) -> Any:
        """Return the value of an expression.

        Args:
            expression: As in the module's docstring; a reference without a file means `summary.json`.

        Returns:
            The value: a number, text, a truth value, a list or an object; None if it is unknown: the file or a key
            does not exist, the cell is empty, or the number is not finite.

        Raises:
            ValueError: A file is not valid.
        """
        if MINUS not in expression and OVER not in expression:
            return self.get(expression)
        total = 0.0
        for number, term in enumerate(expression.split(MINUS)):
            values = [as_number(self.get(name)) for name in term.split(OVER)]
            if None in values or 0 in values[1:]:
                return None
            value = functools.reduce(lambda a, b: a / b, values)
            total = value if number == 0 else total - value
        return total

    def get(self, name: str) -> Any:
        """Return the value of a reference; see `value`."""
        file, path = self.split(name)
        found = self._read(file)
        for key in map(meant_key, path.split(".")) if path else ():
            if isinstance(found, dict):
                found = found.get(key)
            elif isinstance(found, list | tuple) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return None if found == "" or (isinstance(found, float) and not math.isfinite(found)) else found

    def split(self, name: str) -> tuple[str, str]:
        """Return the file and the path of keys of a reference."""
        file, colon, path = name.partition(":")
        return (file, path) if colon else (DEFAULT, name)

    def has(self, file: str) -> bool:
        """Return whether the folder has a file."""
        return (self.folder / file).is_file()

    def rows(self, file: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file as text; none if it does not exist."""
        return self._read(file) or []

    def _load(self, file: str) -> Any:
        if file == "paper":
            return dict(PUBLISHED)
        if file == "preset":
            name = self.get("preset")
            return asdict(PRESETS[name]) if name in PRESETS else None
        if file == "model.keras":
            return _model_config(self.folder / file)
        path = HERE / file.removeprefix("kit/") if file.startswith("kit/") else self.folder / file
        if not path.is_file():
            return None
        if path.suffix == ".json":
            return read_json(path)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))


def as_number(value: Any) -> float | int | None:
    """Return a value as a number, also from the text of a CSV file; None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _model_config(path: Path) -> dict | None:
    """Return what a .keras file states about its network, without loading it: the shape of its input."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                return None
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        shape = layers[0]["config"]["batch_shape"]
        return {"rows": int(shape[1]), "columns": int(shape[2])}
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile):
        return None
