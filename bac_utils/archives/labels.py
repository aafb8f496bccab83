"""Labels from a table: reading them, and giving them to the images of an archive without losing any unnoticed."""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils._tables import Table
from bac_utils._tables.problems import quoted
from bac_utils.archives.columns import BOTH, BOTH_VIEWS, Columns, read_mapped
from bac_utils.intake.exams import separate_exams
from bac_utils.views_table import LABEL_LEVELS, MAXIMUM_SPACING_MM

MEASURES = ("bac_length_mm", "pixel_spacing_mm")
EXAM = ("study_date", "accession", "exam")
"""Columns that name an exam; `exam` as in a views table or a table of scores."""
_KEYS = {
    "view": ("patient_id", "laterality", "view"),
    "breast": ("patient_id", "laterality"),
    "exam": ("patient_id",),
    "woman": ("patient_id",),
}
_RULES = {
    "bac": (lambda x: x.isin([0, 1]), "must be 0, 1 or empty (unknown)"),
    "bac_length_mm": (lambda x: (x >= 0) & (x < np.inf), "must be a number of mm, 0 or more, or empty"),
    "pixel_spacing_mm": (
        lambda x: (x > 0) & (x <= MAXIMUM_SPACING_MM),
        f"must be a number of mm above 0 and at most {MAXIMUM_SPACING_MM:g}, or empty",
    ),
}
_SEVERAL = 2
"""From this number of identifiers that match only in another spelling, the labels are refused."""
_LISTED = 3


@dataclass(frozen=True)
class Labels:
    """Labels by file, view, breast, exam or woman.

    Attributes:
        path: The table.
        level: One of `views_table.LABEL_LEVELS`: what each label was given to.
        frame: One row per label: the columns of its key (`image`; or `patient_id`, `laterality`, `view` and `EXAM`, as
            far as the level and the table have them), `row` (its line in the table), `level` (`breast` where one label
            was given to both views), `bac` and, of views, `MEASURES`; NaN where empty.
        keys: The columns of the key.
        notes: Remarks for the user.
    """

    path: Path
    level: str
    frame: pd.DataFrame
    keys: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def give(self, images: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Give each image its label.

        A label that names an exam by `EXAM` is given to that exam only. A label that names none is not given to a woman
        with several exams: it may belong to another one.

        Args:
            images: One row per image: `image`, `patient_id`, `laterality`, `view` and, where known, `exam`, which tells
                a woman's exams apart, `study_date` (YYYY-MM-DD) and `accession`.

        Returns:
            The images with `bac`, `label_level` and the measures of the labels (NaN, or empty, without a label), and
            notes: how many labels match no image, how many images have no label, and the first of them.

        Raises:
            ValueError: No label matches; identifiers or paths match only in another spelling, such as without their
                leading zeros; or the images lack a column of the key.
        """
        missing = [key for key in self.keys if key not in images]
        if missing:
            raise ValueError(f"{self.path.name}: labels are by {missing[0]}, which the files do not state")
        key = self.keys[0]
        for name in (key, *({"accession", "exam"} & set(self.keys))):
            there = set(images[name].fillna("").astype(str)) - {""}
            check_spelling(self.path.name, name, set(self.frame[name].astype(str)) - {""}, there)
        place = self._places(images)
        used = np.isin(np.arange(len(self.frame)), place)
        if len(images) and not used.any():
            stated, there = (
                _shown(pd.MultiIndex.from_frame(table[list(self.keys)].fillna("").astype(str)))
                for table in (self.frame, images)
            )
            raise ValueError(
                f"{self.path.name}: none of {len(self.frame)} labels matches an image; labels are by "
                f"{', '.join(self.keys)}, such as {stated}; in the files {there}"
            )
        unclear = self._of_several_exams(images) & (place >= 0)
        place = np.where(unclear, -1, place)
        columns = [column for column in _RULES if column in self.frame]
        given = self.frame[columns].iloc[place].set_index(images.index)
        given.loc[place < 0, :] = np.nan
        given["label_level"] = np.where(given["bac"].notna(), self.frame["level"].iloc[place], "")
        breasts = [key for key in ("row", "laterality") if key == "row" or key in self.keys]
        lost = ~pd.Series(used).groupby([self.frame[name] for name in breasts]).transform("any")
        rows = self.frame["row"][lost].unique()
        unlabelled = images["image"][(place < 0) & ~unclear].tolist()
        women = images["patient_id"][unclear].nunique()
        several, why = f"images of {women} women with several exams", f"the labels state no {' or '.join(EXAM)}"
        notes = [
            _counted(f"rows of {self.path.name} that match no view", [f"row {row}" for row in rows]),
            _counted("images without a label", unlabelled),
            _counted(f"{several} without one, as {why}", images["image"][unclear].tolist()),
        ]
        return images.drop(columns=given.columns, errors="ignore").join(given), [*self.notes, *filter(None, notes)]

    def _places(self, images: pd.DataFrame) -> np.ndarray:
        """Return the place in `frame` of each image's label, -1 without one.

        A label matches by those of the columns `EXAM` that its row fills.

        Raises:
            ValueError: Rows that name an exam by different columns give an image different labels.
        """
        exam = [key for key in self.keys if key in EXAM]
        texts, wanted = (table[list(self.keys)].fillna("").astype(str) for table in (self.frame, images))
        place = np.full(len(images), -1)
        stated = (texts[exam] != "").to_numpy()
        for filled in np.unique(stated, axis=0) if exam else [()]:
            names = [key for key in self.keys if key not in exam or filled[exam.index(key)]]
            rows = texts[(stated == filled).all(axis=1)] if exam else texts
            found = pd.MultiIndex.from_frame(rows[names]).get_indexer(pd.MultiIndex.from_frame(wanted[names]))
            found = np.where(found >= 0, rows.index.to_numpy()[found], -1)
            both = np.flatnonzero((found >= 0) & (place >= 0))
            one, other = (self.frame.iloc[at[both]].reset_index(drop=True) for at in (place, found))
            differs = np.flatnonzero(one["bac"].fillna(-1) != other["bac"].fillna(-1))
            if len(differs):
                lines = f"{one['row'][differs[0]]} and {other['row'][differs[0]]}"
                raise ValueError(f"{self.path.name} rows {lines}: give one image different labels, must be the same")
            place = np.where(place < 0, found, place)
        return place

    def _of_several_exams(self, images: pd.DataFrame) -> np.ndarray:
        """Return for each image whether its woman has several exams of which the labels name none."""
        several = separate_exams(images)["exam"].groupby(images["patient_id"]).transform("nunique") > 1
        named = "image" in self.keys or bool(set(EXAM) & set(self.keys))
        return several.to_numpy(bool) & (not named)


_ZEROS = "without leading zeros"
_AS_TEXT = "a spreadsheet program has probably changed them: get the table again and import this column as text"
_Spelling = tuple[str, str, Callable[[str], str]]


def _digits(text: str) -> str:
    """Return an identifier without leading zeros and without `.0`."""
    return re.sub(r"^0+(?=\d)", "", re.sub(r"^(\d+)[.,]0+$", r"\1", text))


def _letters(text: str) -> str:
    """Return the letters and digits of a text without accents and case."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if c.isalnum())


def _first_digits(text: str) -> str:
    """Return a long number as a spreadsheet keeps it, with 15 digits."""
    return text[:15].ljust(len(text), "0") if re.fullmatch(r"\d{16,}", text) else text


def _name(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


_SPELLINGS: dict[bool, list[_Spelling]] = {
    False: [
        ("without '.0'", _AS_TEXT, lambda text: re.sub(r"^(\d+)[.,]0+$", r"\1", text)),
        (_ZEROS, _AS_TEXT, _digits),
        ("in their first 15 digits", _AS_TEXT, _first_digits),
        ("in other letter case, blanks or punctuation", "write them as in the files", _letters),
    ],
    True: [
        ("in other letter case", "write them as in the folder", str.casefold),
        ("without their folders", "write paths relative to the folder", _name),
        ("without their ending", "write names with it", lambda path: _name(path).partition(".")[0]),
    ],
}  # fmt: skip
"""Other spellings, by whether labels are by image: how they match, the remedy, and a function to a common spelling."""


def add_labels(images: pd.DataFrame, labels: Labels | None) -> tuple[pd.DataFrame, list[str]]:
    """Return images with their labels and notes, as `Labels.give`; without labels, `bac` is NaN."""
    return (images.assign(bac=np.nan), []) if labels is None else labels.give(images)


def check_spelling(name: str, column: str, given: set[str], there: set[str]) -> None:
    """Refuse identifiers or paths of which several match those in the files only in another spelling.

    One of them may be a coincidence; it is refused only if no other matches as it is.

    Args:
        name: The table.
        column: Its column; `image` has paths, others have identifiers.
        given: What the table has.
        there: What the files have.

    Raises:
        ValueError: The message states the likely cause and a remedy.
    """
    left, free = given - there, there - given
    for cause, remedy, spell in _SPELLINGS[column == "image"]:
        forms: dict[str, str] = {}
        for text in sorted(free):
            forms.setdefault(spell(text), text)
        pairs = [(text, forms[spell(text)]) for text in sorted(left) if spell(text) in forms]
        if len(pairs) >= _SEVERAL or (pairs and not given & there):
            few = ", ".join(f"{quoted(text)} for {quoted(other)}" for text, other in pairs[:_LISTED])
            digits = {len(text) for text in there if text.isdigit()}
            if cause == _ZEROS and len(digits) == 1 and all(len(text) < len(other) for text, other in pairs):
                remedy += f", or set 'id_digits: {digits.pop()}' in the mapping"
            found = f"got {len(pairs)} of {len(given)} that match the files only {cause} ({few})"
            raise ValueError(f"{name}, column '{column}': {found}; {remedy}")


def read_labels(
    path: str | os.PathLike,
    columns: Columns | None = None,
    by: str | None = None,
    images: str | os.PathLike | None = None,
) -> Labels:
    """Read a table of labels.

    Args:
        path: A CSV or Excel file with `bac` and either `image` (paths relative to the folder), or `patient_id`,
            `laterality` and `view`; optionally `EXAM` and `MEASURES`.
        columns: Its mapping, if columns and words have other names. `bac_right` and `bac_left` are labels of breasts in
            one row per woman.
        by: What the labels were given to: `view` (default), `breast`, `exam` or `woman`; the last three need no `view`.
            Lengths and spacings are only read from labels of views.
        images: The image folder; given it, paths may be absolute, or contain `..`, if they lead into it.

    Returns:
        The labels.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The table breaks rules, which are all listed, or `by` is unknown.
    """
    if by not in (*LABEL_LEVELS, None):
        raise ValueError(f"labels_by: got {by!r}, must be one of {', '.join(LABEL_LEVELS)}")
    named = columns.columns if columns else {}
    wide = [side for side in ("bac_right", "bac_left") if side in named]
    table, skipped = read_mapped(path, columns, "labels", [] if wide else ["bac"])
    if wide:
        table = _breasts(table, wide)
    elif "view" in table.cells and table.cells["view"].str.contains(" ").any():
        table = _sides_from_views(table)
    level, keys = _level(table, by)
    table = _each_breast_and_view(table, keys) if "image" not in keys else table
    notes = [_counted(f"rows of {table.name} that the mapping leaves out", [f"row {row}" for row in skipped])]
    return _read(table, Path(path), level, keys, notes if skipped else [], images)


def _level(table: Table, by: str | None) -> tuple[str, tuple[str, ...]]:
    """Return what the labels of a table were given to, and the columns of their key."""
    cells = table.cells
    if "image" in cells and by in (None, "view"):
        return "view", ("image",)
    exam = tuple(name for name in EXAM if name in cells)
    level = by or "view"
    missing = [name for name in _KEYS[level] if name not in cells]
    if level == "exam" and not exam:
        missing.append(" or ".join(EXAM))
    if missing:
        more = "" if by else "; --labels-by breast, exam or woman gives the views the label of what they belong to"
        file = "" if by else "'image', or "
        raise ValueError(
            f"{table.name} row 1, column '{missing[0]}': missing, must have {file}{', '.join(_KEYS[level])}{more}"
        )
    return level, (*_KEYS[level], *(() if level == "woman" else exam))


def _read(
    table: Table,
    path: Path,
    level: str,
    keys: tuple[str, ...],
    notes: list[str],
    images: str | os.PathLike | None,
) -> Labels:
    """Check the cells of a table, and return its labels."""
    frame = pd.DataFrame({"row": table.cells.index}, index=table.cells.index)
    frame["level"] = table.cells.get("level", level)
    for key in keys:
        if key == "image":
            frame[key] = table.paths(key, folder=images)
        elif key == "laterality":
            frame[key] = table.choices(key, {"L": "L", "R": "R"})
        elif key == "view":
            frame[key] = table.choices(key, {"CC": "CC", "MLO": "MLO"})
        else:
            frame[key] = table.cells[key]
    exam = [key for key in keys if key in EXAM]
    if "patient_id" in keys:
        table.refuse(frame["patient_id"] == "", "patient_id", "must not be empty")
    if exam:
        rule = "must not be empty" if len(exam) == 1 else f"{' or '.join(exam)} must not be empty"
        table.refuse((frame[exam] == "").all(axis=1), exam[0], rule)
    for key in {"patient_id", "accession", "exam"} & set(keys):
        table.refuse_lost_digits(key)
    for name, (is_good, rule) in _RULES.items():
        if name in table.cells and (name == "bac" or level == "view"):
            frame[name] = table.numbers(name, is_good, rule)
        elif name in table.cells:
            notes.append(f"{name} in {path.name} is not used: it is one of views, labels are by {level}")
    groups = frame.groupby(list(keys), dropna=False)
    if level == "view":
        table.refuse(frame.duplicated(list(keys)), keys[-1] if "view" not in keys else "view", "must occur once")
    else:
        differs = frame["bac"].fillna(-1).ne(groups["bac"].transform(lambda bac: bac.fillna(-1).iloc[0]))
        table.refuse(differs, "bac", f"must be the same in all rows of a {level}")
    table.check()
    empty = frame["row"][frame["bac"].isna()].unique()
    if len(empty):
        notes.append(_counted(f"rows of {path.name} with an unknown label", [f"row {row}" for row in empty]))
    return Labels(path, level, frame.drop_duplicates(list(keys)).reset_index(drop=True), keys, tuple(notes))


def _with_cells(table: Table, cells: pd.DataFrame, written: pd.DataFrame) -> Table:
    return Table(table.name, cells, table.problems, table.titles, written, table.decimal_commas)


def _breasts(table: Table, wide: Sequence[str]) -> Table:
    """Return a table with one row per breast from one with a column for each side."""
    cells, written = [], []
    for name in wide:
        side = {"bac_right": "R", "bac_left": "L"}[name]
        cells.append(table.cells.rename(columns={name: "bac"}).assign(laterality=side))
        written.append(table.written.rename(columns={name: "bac"}).assign(laterality=side))
    names = [name for name in cells[0] if name not in wide]
    return _with_cells(table, pd.concat(cells)[names], pd.concat(written)[names])


def _sides_from_views(table: Table) -> Table:
    """Return a table with the sides that its views state, such as `R CC`."""
    cells, written = table.cells.copy(), table.written.copy()
    sides = cells["view"].str.extract("^([RL]) ")[0]
    cells["view"] = cells["view"].str.replace("^[RL] ", "", regex=True)
    if "laterality" in cells:
        table.refuse(sides.notna() & (sides != cells["laterality"]), "view", "must agree with the side of its row")
    else:
        cells["laterality"], written["laterality"] = sides.fillna(""), table.written["view"]
    return _with_cells(table, cells, written)


def _each_breast_and_view(table: Table, keys: Sequence[str]) -> Table:
    """Return a table in which a row for both breasts has become two, and one for both views as well.

    The column `level` contains `breast` for rows of both views.
    """
    cells, written = table.cells, table.written
    if "view" in keys:
        cells = cells.assign(level=np.where(cells["view"] == BOTH_VIEWS, "breast", "view"))
    several = pd.Series(False, cells.index)
    for name, both in (("laterality", BOTH), ("view", BOTH_VIEWS)):
        if name in keys:
            several |= cells[name] == both
    for name in [name for name in MEASURES[:1] if name in cells and "view" in keys]:
        given = ~cells[name].str.fullmatch("[0.,]*")
        table.refuse(several & given, name, "must be empty or 0 in a row for several views: it is a length of one")
    for name, both in (("laterality", BOTH), ("view", BOTH_VIEWS)):
        if name in keys:
            words = [both.split("+") if word == both else [word] for word in cells[name]]
            numbers = np.repeat(np.arange(len(cells)), [len(found) for found in words])
            cells, written = cells.assign(**{name: words}).explode(name), written.iloc[numbers]
    return _with_cells(table, cells, written)


def _counted(what: str, names: Sequence[str]) -> str:
    """Return a count with the first names; empty if there are none."""
    if not len(names):
        return ""
    return f"{what}: {len(names)} ({', '.join(names[:_LISTED])}{', ...' if len(names) > _LISTED else ''})"


def _shown(index: pd.MultiIndex) -> str:
    return " and ".join(" ".join(map(ascii, key)) for key in sorted(set(index))[:2]) or "none"
