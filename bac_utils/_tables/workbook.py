"""Writing tables for spreadsheet programs, in which an identifier such as `=1+1` or `007` stays text."""

import math
import os
from collections.abc import Mapping

import pandas as pd


def write_workbook(path: str | os.PathLike, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as the sheets of an .xlsx file.

    Cells with text are text, never formulas; characters that .xlsx cannot hold become U+FFFD. Numbers are numbers, and
    cells without a value are empty.

    Args:
        path: The file.
        tables: Tables by the names of their sheets.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    for name, table in tables.items():
        sheet = book.create_sheet(name)
        for row in [table.columns, *table.itertuples(index=False, name=None)]:
            cells = []
            for value in row:
                value = value.item() if hasattr(value, "item") else value
                if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
                    cells.append(None)
                    continue
                text = isinstance(value, str)
                cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value) if text else value)
                if text:
                    cell.data_type, cell.number_format, cell.quotePrefix = "s", "@", True
                cells.append(cell)
            sheet.append(cells)
    book.save(path)
