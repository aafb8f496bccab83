"""Tables as hospitals write them: which column and which word means what, read from a mapping in YAML.

`archives.column_words` proposes such a mapping, which the user checks.
"""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pandas as pd
import yaml

from bac_utils._tables import Lines, Problems, Table, read_rows, table_format
from bac_utils.intake.exams import DATE, parse_date

FIELDS = {
    "labels": (
        *("image", "patient_id", "laterality", "view", "study_date", "accession", "exam", "bac"),
        *("bac_right", "bac_left", "bac_length_mm", "pixel_spacing_mm"),
    ),
    "ages": ("patient_id", "age", "birth_date"),
}
"""What the columns of a table of labels or ages may mean, by section of the mapping."""
DATES = ("study_date", "birth_date")
BOTH, BOTH_VIEWS, SKIP, OPEN = "R+L", "CC+MLO", "skip", "?"
"""Meanings: both breasts; both views of a breast; a row that is not used; a word on which the user has not decided."""
MEANINGS = {
    "laterality": ("R", "L", BOTH, SKIP),
    "view": ("CC", "MLO", BOTH_VIEWS, "R CC", "R MLO", "L CC", "L MLO", SKIP),
    **dict.fromkeys(("bac", "bac_right", "bac_left"), ("1", "0", "", SKIP)),
}
"""Meanings of words, by field; a view may include its side. An empty meaning is an unknown label."""
MISSING = ("", "-", "--", ".", "nan", "na", "n/a", "n.a.", "#n/a", "#nv", "k.a.", "k. a.", "ka", "null", "none")
"""Words for a missing number, in the form of `plain`."""
_UNITS = {"bac_length_mm": "mm", "pixel_spacing_mm": "mm", "age": r"(?:jahre?|j\.?|years?|y\.?)"}
_DATES = {"": None, "day first": True, "month first": False}


@dataclass(frozen=True)
class Columns:
    """The mapping of one table.

    Attributes:
        columns: The name of the column in the file by field (`FIELDS`).
        words: For the fields of `MEANINGS`: words in the file and their meanings.
        sheet: The sheet of an Excel file that has several.
        header_row: The row of the column names; with 0, the first that is not blank.
        skip_rows: Rows that are not used, such as one of totals.
        id_digits: Patient identifiers that consist of digits get leading zeros up to this number of digits.
        dates: `day first` or `month first`, for dates such as 03/04/2023.
    """

    columns: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sheet: str = ""
    header_row: int = 0
    skip_rows: tuple[int, ...] = ()
    id_digits: int = 0
    dates: str = ""


def plain(text: str) -> str:
    """Return a word without upper case, repeated blanks (also non-breaking ones) and blanks at its ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def read_columns(path: str | os.PathLike) -> dict[str, Columns]:
    """Read a mapping.

    Args:
        path: A YAML file with the sections `labels` and `ages`, or one of them, each with the attributes of `Columns`.

    Returns:
        The mapping of each table.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a mapping; the message lists all errors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"columns: got '{path}', must be an existing file")
    try:
        found = yaml.load(path.read_text(encoding="utf-8-sig"), yaml.BaseLoader)  # all scalars stay text
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name}: got {' '.join(str(error).split())}, must be YAML in UTF-8") from error
    errors: list[str] = []
    if not isinstance(found, dict) or not found or not set(found) <= set(FIELDS):
        raise ValueError(f"{path.name}: must consist of the sections {' and '.join(FIELDS)}")
    read = {section: _section(section, content, errors) for section, content in found.items()}
    if errors:
        raise Lines(f"{path.name}, {error}" for error in errors)
    return read


def _section(section: str, content: object, errors: list[str]) -> Columns:
    """Return one section of a mapping, and add its errors."""
    known = [item.name for item in fields(Columns)]
    if not isinstance(content, dict) or not isinstance(content.get("columns"), dict):
        errors.append(f"{section}: must contain 'columns' with the columns by their meaning")
        return Columns({})
    errors += [f"{section}: got '{key}', must be one of {', '.join(known)}" for key in content if key not in known]
    columns = {key: name for key, name in content["columns"].items() if name not in ("", OPEN)}
    rule = f"must be one of {', '.join(FIELDS[section])}"
    errors += [f"{section}, columns: got '{key}', {rule}" for key in columns if key not in FIELDS[section]]
    errors += [f"{section}, columns, {key}: must be one name" for key, name in columns.items() if name != str(name)]
    words = content.get("words") or {}
    bad = not isinstance(words, dict) or not all(isinstance(of_field, dict) for of_field in words.values())
    if bad:
        errors.append(f"{section}, words: must contain the words and their meanings for each column")
    for key, meanings in {} if bad else words.items():
        if key not in MEANINGS:
            errors.append(f"{section}, words: got '{key}', must be one of {', '.join(MEANINGS)}")
        for word, meaning in meanings.items():
            if key in MEANINGS and meaning not in (*MEANINGS[key], OPEN):
                rule = f"must be one of {', '.join(map(repr, MEANINGS[key]))}"
                errors.append(f"{section}, words, {key}, {word}: got {meaning!r}, {rule}")
    numbers = {"header_row": content.get("header_row") or "0", "id_digits": content.get("id_digits") or "0"}
    rows = content.get("skip_rows") or []
    for key, number in [*numbers.items(), *(("skip_rows", row) for row in rows)]:
        if not (isinstance(number, str) and number.isascii() and number.isdigit() and int(number) < 10**7):
            errors.append(f"{section}, {key}: got {number!r}, must be a whole number")
    dates = content.get("dates") or ""
    if dates not in _DATES:
        errors.append(f"{section}, dates: got {dates!r}, must be 'day first' or 'month first'")
    if errors:
        return Columns({})
    whole = {key: int(number) for key, number in numbers.items()} | {"skip_rows": tuple(map(int, rows))}
    return Columns(columns, words, content.get("sheet") or "", dates=dates, **whole)


def read_mapped(
    path: str | os.PathLike, mapping: Columns | None, section: str, required: Sequence[str] = ()
) -> tuple[Table, list[int]]:
    """Read a table by its mapping.

    Args:
        path: A CSV or Excel file (`_tables.read_rows`).
        mapping: Which column and word means what. Without one, columns have the names of `FIELDS`, and their cells are
            not translated.
        section: `labels` or `ages`.
        required: Fields that must be there.

    Returns:
        The table with the fields as columns, and all broken rules found so far; the caller must call its `check`.
        Words are replaced by their meanings, units and words for missing numbers are removed, both only with a mapping.
        Dates become YYYY-MM-DD. And the rows that the mapping leaves out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no table, lacks a column, has one twice, or has no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"'{path}': must be an existing CSV or .xlsx file")
    problems, form, used = Problems(path.name), table_format(path), mapping or Columns({})
    found = read_rows(path, problems, used.sheet, used.header_row, form)
    row, header = next(found, (1, []))
    names = used.columns if mapping else {name: name for name in FIELDS[section] if name in header}
    _check_header(path.name, row, header, names, required, mapping is None)
    places = {name: [plain(cell) for cell in header].index(plain(title)) for name, title in names.items()}
    body = [(row, [cells[place] for place in places.values()]) for row, cells in found if row not in used.skip_rows]
    if not body:
        problems.check()
        raise ValueError(f"{path.name}: got no rows, must have at least one below the column names")
    index = [row for row, _ in body]
    written = pd.DataFrame([cells for _, cells in body], columns=list(places), index=index, dtype=object)
    table = Table(path.name, written, problems, names, written, form.delimiter == ";")
    for column in places:
        table.refuse(written[column].str.contains("[\0\ufffd]"), column, "must be UTF-8 text")
    if mapping is None:
        if "study_date" in table.cells:
            table = replace(table, cells=table.cells.assign(study_date=_dates(table, "study_date", None)))
        return table, []
    translated = _translated(table, mapping)
    return translated, sorted({*mapping.skip_rows, *table.cells.index.difference(translated.cells.index)})


def _check_header(
    name: str, row: int, header: list[str], columns: Mapping[str, str], required: Sequence[str], strict: bool
) -> None:
    """Refuse a header that lacks a column or has one twice."""
    titles = [plain(cell) for cell in header]
    counts = {title: titles.count(plain(title)) for title in columns.values()}
    if strict:
        counts |= {key: titles.count(key) for key in required}
    lines = [
        f"{name} row {row}, column '{title}': {f'found {n} times' if n else 'missing'}, must occur once"
        for title, n in counts.items()
        if n != 1
    ]
    if not strict:
        lines += [f"columns: must contain '{key}'" for key in required if key not in columns]
    if lines:
        remedy = "; --columns MAPPING reads a table with other names" if strict else ""
        found = ascii(", ".join(header)[:300])
        raise Lines([*lines[:-1], f"{lines[-1]}; found: {found}{remedy}"])


def _translated(table: Table, mapping: Columns) -> Table:
    """Return a table with the meanings of its words, and without the rows to skip."""
    cells, unknown = table.cells.copy(), {}
    for name in cells:
        if name in MEANINGS:
            words = {plain(meaning): meaning for meaning in MEANINGS[name]}
            words |= {plain(word): meaning for word, meaning in mapping.words.get(name, {}).items()}
            meanings = cells[name].map(word_of).map(words)
            unknown[name] = meanings.isna() | (meanings == OPEN)
            cells[name] = meanings.fillna("")
        elif name == "patient_id":
            cells[name] = cells[name].map(identifier).map(lambda text: _padded(text, mapping.id_digits))
        elif name in ("accession", "exam"):
            cells[name] = cells[name].map(identifier)
        elif name in _UNITS:
            texts = cells[name].map(plain).str.replace(rf"(?<=\d)\s*{_UNITS[name]}$", "", regex=True)
            cells[name] = texts.mask(texts.isin(MISSING), "")
    keep = ~cells[list(unknown)].eq(SKIP).any(axis=1)
    table = replace(table, cells=cells[keep].copy(), written=table.written[keep])
    for name, bad in unknown.items():
        table.refuse(bad[keep], name, f"must be a word that the mapping explains (words, {name})")
    for name in [name for name in DATES if name in cells]:
        table.cells[name] = _dates(table, name, _DATES[mapping.dates])
    return table


def word_of(cell: str) -> str:
    """Return a cell in the form in which words are compared: as `plain`, and `1.0` or `1,0` as 1."""
    return re.sub(r"^(\d)[.,]0+$", r"\1", plain(cell))


def identifier(text: str) -> str:
    """Return an identifier without non-breaking blanks, quotes around it, or the apostrophe that marks text in Excel.

    Args:
        text: A cell.
    """
    text = re.sub(r"[\u00a0\u2007\u202f]", " ", text).strip()
    text = text[1:-1].strip() if re.fullmatch('"[^"]*"', text) else text
    return re.sub(r"^'(?=\w)", "", text)


def _padded(text: str, digits: int) -> str:
    """Return an identifier with its leading zeros; `12.0` is 12."""
    number = re.fullmatch(r"(\d+)(?:\.0+)?", text)
    return number[1].zfill(digits) if number and digits else text


def _dates(table: Table, name: str, day_first: bool | None) -> pd.Series:
    """Return the dates of a column as YYYY-MM-DD, empty where missing."""
    texts = table.cells[name].map(plain)
    texts = texts.mask(texts.isin(MISSING), "")
    dates = texts.map(lambda text: parse_date(text, day_first))
    rule = f"must be {DATE}"
    slashes = texts.str.fullmatch(r"\d{1,2}[/-]\d{1,2}[/-](\d{2}|\d{4})")
    if day_first is None:
        table.refuse(slashes, name, f"{rule}; a mapping (--columns) must state 'dates: day first' or 'month first'")
    bad = (dates == "") | (texts.str.fullmatch(r"\D*\d+\D+\d+\D+\d\d") & (name == "birth_date"))
    table.refuse(bad & (texts != ""), name, rule)
    return dates
