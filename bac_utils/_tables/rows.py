"""Rows of text from tables as programs write them: CSV in its usual variants, and Excel."""

import csv
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bac_utils._tables.problems import EXACT_DIGITS, Problems, quoted

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

_SAMPLE_ROWS = 20
_LARGEST_WORKBOOK = 1 << 29  # bytes, unpacked
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


@dataclass(frozen=True)
class TableFormat:
    """How a table is written.

    Attributes:
        encoding: Python's name of the encoding; empty for Excel.
        delimiter: What separates the cells; empty for Excel.
    """

    encoding: str = ""
    delimiter: str = ""


def table_format(path: Path) -> TableFormat:
    """Recognise how a table is written.

    Encoding: UTF-16 and UTF-8 by their byte order mark or their bytes; otherwise Windows-1252, unless a file contains
    both UTF-8 and other bytes. Delimiter: the one of comma, semicolon, tab and `|` that gives most rows the same number
    of cells, or that of a first line `sep=;`.

    Raises:
        ValueError: It is another kind of file.
    """
    with path.open("rb") as stream:
        start = stream.read(4096)
    if start.startswith(b"PK\x03\x04"):
        return TableFormat()
    kinds = {b"\xd0\xcf\x11\xe0": "an .xls file or one with a password", b"%PDF": "a PDF file", b"<": "HTML or XML"}
    for magic, kind in kinds.items():
        if start.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(magic):
            raise ValueError(f"{path.name}: got {kind}, must be a CSV or .xlsx file: save it as one")
    encoding = _encoding(path, start)
    with path.open(encoding=encoding, errors="replace", newline="") as stream:
        sample = stream.read(1 << 16)
    said = re.match(r'\ufeff?"?sep=(.)"?\r?\n', sample)
    return TableFormat(encoding, said[1] if said else _delimiter(sample))


def _encoding(path: Path, start: bytes) -> str:
    """Return the encoding of a text file."""
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(zeros) > 1 and zeros.count(0) > 0.5 * len(zeros):
            return encoding
    for errors in ("strict", "replace"):
        try:
            with path.open(encoding="utf-8", errors=errors) as stream:
                blocks = iter(lambda: stream.read(1 << 20), "")  # noqa: B023
                accents = sum(not block.replace("\ufffd", "").isascii() for block in blocks)
        except UnicodeDecodeError:
            continue
        if errors == "strict" or accents:
            return "utf-8"
    return "cp1252"


def _delimiter(sample: str) -> str:
    """Return the delimiter of the first rows of a text file; a comma if there is none."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths: list[int] = []
        try:
            for record in csv.reader(sample.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True):
                if any(cell.strip() for cell in record):
                    widths.append(len(record))
                if len(widths) == _SAMPLE_ROWS:
                    break
        except csv.Error:
            pass
        return max(((n, w) for w, n in Counter(widths).items() if w > 1), default=(0, 0))

    return max(",;\t|", key=fit)  # of equals, the first


def _workbook(path: Path, data_only: bool) -> "Workbook":
    """Open an Excel file with openpyxl; cells with a formula contain its last result with `data_only`."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > _LARGEST_WORKBOOK:
            raise ValueError(f"{size >> 20} MiB unpacked")
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about charts and the like
            return load_workbook(stream, data_only=data_only)
    except Exception as error:  # openpyxl raises many kinds
        problem = f"got a file that openpyxl cannot read ({type(error).__name__}: {quoted(str(error))})"
        raise ValueError(f"{path.name}: {problem}, must be an .xlsx file of at most 512 MiB, or CSV") from error


def _sheets(path: Path) -> "dict[str, Worksheet]":
    """Return the visible sheets that have content, with their formulas."""
    return {
        sheet.title: sheet
        for sheet in _workbook(path, data_only=False).worksheets
        if sheet.sheet_state == "visible" and any(cell.value is not None for row in sheet.iter_rows() for cell in row)
    }


def sheet_names(path: Path) -> tuple[str, ...]:
    """Return the names of the visible sheets with content of an Excel file."""
    return tuple(_sheets(path))


def _sheet_rows(path: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Return the rows of a sheet as text; a formula without a result stays a formula."""
    sheets = _sheets(path)
    if name not in sheets and (name or len(sheets) > 1):
        found = ", ".join(map(repr, sheets))
        raise ValueError(f"{path.name}: got the sheets {found}, must have one, or name one of them in the mapping")
    if not sheets:
        return
    sheet = sheets[name] if name else next(iter(sheets.values()))
    if sheet.merged_cells.ranges:
        places = ", ".join(sorted(map(str, sheet.merged_cells.ranges))[:3])
        raise ValueError(f"{path.name}: got merged cells ({places}), must have one value in each cell")
    records = [list(row) for row in sheet.iter_rows()]
    if any(cell.data_type == "f" for record in records for cell in record):
        results = _workbook(path, data_only=True)[sheet.title].iter_rows()
        pairs = zip(records, results, strict=True)
        records = [[b if b.value is not None else a for a, b in zip(x, y, strict=True)] for x, y in pairs]
    texts = [[_cell_text(cell) for cell in record] for record in records]
    width = max(i + 1 for record in texts for i, text in enumerate(record) if text)
    yield from ((row, record[:width]) for row, record in enumerate(texts, sheet.min_row))


def _cell_text(cell: "Cell") -> str:
    """Return a cell of Excel as text: dates as YYYY-MM-DD, whole numbers with all digits and, as shown, with zeros."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        text = format(Decimal(f"{value:.{EXACT_DIGITS}g}"), "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        zeros = re.fullmatch("0{2,}", cell.number_format or "")
        return text.zfill(len(zeros[0])) if zeros else text
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return str(value)


def _text_rows(path: Path, form: TableFormat) -> Iterator[tuple[int, list[str]]]:
    """Return the rows of a text file."""
    with path.open(encoding=form.encoding, errors="replace", newline="") as stream:
        reader, start = csv.reader(stream, strict=True, skipinitialspace=True, delimiter=form.delimiter), 1
        try:
            for record in reader:
                if start > 1 or not re.fullmatch("\ufeff?sep=.?", form.delimiter.join(record).rstrip()):
                    yield start, record
                start = reader.line_num + 1
        except csv.Error as error:
            kind = "comma-separated values" if form.delimiter == "," else f"values separated by {form.delimiter!r}"
            raise ValueError(f"{path.name} row {start}: got {error}, must be {kind}") from error


def raw_rows(path: Path, form: TableFormat, sheet: str = "") -> Iterator[tuple[int, list[str]]]:
    """Read a table row by row, whatever the number of cells.

    Args:
        path: The table.
        form: Its `table_format`.
        sheet: The sheet of an Excel file that has several.

    Yields:
        The line on which the row begins, and its cells without leading and trailing blanks; `="0123"`, which Excel
        takes for text, is 0123. Blank rows are skipped.

    Raises:
        ValueError: The file is not a table.
    """
    records = _text_rows(path, form) if form.encoding else _sheet_rows(path, sheet)
    for row, record in records:
        cells = [_stripped(cell) for cell in record]
        if any(cells):
            yield row, cells


def read_rows(
    path: Path,
    problems: Problems | None = None,
    sheet: str = "",
    first_row: int = 1,
    form: TableFormat | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """Read a table row by row, with the same number of cells in each.

    Args:
        path: A text file (see `table_format`; bytes that are not text become U+FFFD) or an Excel file.
        problems: Collects the rows that have another number of cells than the first one; they are left out.
        sheet: The sheet of an Excel file that has several.
        first_row: The row of the column names; those above it are not read.
        form: The file's `table_format`, if it is known already.

    Yields:
        As `raw_rows`; the column names come first.

    Raises:
        ValueError: The file is not a table; without `problems`, the number of cells in a row differs from that of the
            first row.
    """
    width = None
    for row, cells in raw_rows(path, form or table_format(path), sheet):
        if row < first_row:
            continue
        width = width or len(cells)
        if len(cells) == width:
            yield row, cells
        else:
            problem = f"got {len(cells)} cells, must have {width} like the first row"
            if problems is None:
                raise ValueError(f"{path.name} row {row}: {problem}")
            problems.add_row(row, problem)


def _stripped(cell: str) -> str:
    """Return a cell without blanks, invisible characters and Excel's mark of text at its ends."""
    cell = cell.strip()
    if not cell.isascii():
        cell = cell.strip(_INVISIBLE).strip()
    return cell[2:-1] if cell[:2] == '="' and cell[-1] == '"' and cell.count('"') == 2 else cell
