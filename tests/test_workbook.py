"""Tables for spreadsheet programs."""

import numpy as np
import openpyxl
import pandas as pd

from bac_utils._tables import read_rows
from bac_utils._tables.workbook import write_workbook

NAMES = ['=HYPERLINK("http://x","y")', "+1", "-2", "@SUM(A1)", "007", "1e5", "\tx", "a\x1bb", "NA", "\U0001f600"]


def test_text_is_never_a_formula_and_numbers_are_numbers(tmp_path):
    table = pd.DataFrame({"patient_id": NAMES, "score": np.linspace(0, 0.9, len(NAMES)), "bac": np.arange(len(NAMES))})
    table.loc[0, "score"] = np.nan
    write_workbook(tmp_path / "a.xlsx", {"by_view": table, "by_woman": table[:1]})
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert book.sheetnames == ["by_view", "by_woman"]
    header, *rows = book["by_view"].iter_rows()
    assert [cell.value for cell in header] == ["patient_id", "score", "bac"]
    assert [row[0].value for row in rows] == [name.replace("\x1b", "\ufffd") for name in NAMES]
    assert {row[0].data_type for row in rows} == {"s"}
    assert rows[0][1].value is None and rows[9][1].value == 0.9 and rows[9][2].value == 9
    found = [cells[0] for _, cells in read_rows(tmp_path / "a.xlsx", sheet="by_view")]
    assert found[1:6] == NAMES[:5]  # as the kit reads it
