"""Reading CSV files with checks, and paths that stay in their folder."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from archive_tables import RSNA, cbis, lesion, put
from openpyxl import Workbook

from bac_utils._tables import lost_digits, read_table, relative_path
from bac_utils.archives.cbis_ddsm import read_cbis_ddsm
from bac_utils.archives.rsna import read_rsna


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/b.dcm", "a/b.dcm"), ("./a//b.dcm", "a/b.dcm"), ("a\\b.dcm", "a/b.dcm"), ("a..b/c d.dcm", "a..b/c d.dcm"),
        ("", ""), (".", ""), ("/", ""), ("/etc/passwd", ""), ("//server/x", ""), ("\\\\server\\x", ""), ("..", ""),
        ("../x", ""), ("a/../../x", ""), ("a\\..\\..\\x", ""), ("a/.. /x", ""), ("a/.../x", ""), ("C:/x", ""),
        ("C:x", ""), ("a.dcm:stream", ""), ("a\nb", ""), ("a\0b", ""), ("~/x", "~/x"), ("$HOME/x", "$HOME/x"),
    ],
)  # fmt: skip
def test_relative_path(text, path):
    assert relative_path(text) == path


def test_a_path_in_a_table_cannot_leave_the_folder(tmp_path):
    (tmp_path / "secret.dcm").touch()
    inside = tmp_path / "cbis"
    for path in ("../secret.dcm", str(tmp_path / "secret.dcm"), "Calc-Training_P_1_LEFT_CC/../../secret.dcm"):
        cbis(inside, lesion("P_1", "LEFT", "CC", 1, "VASCULAR", path=path))
        with pytest.raises(
            ValueError, match="train_set.csv row 2, column 'image file path': got .* must be a path inside"
        ):
            read_cbis_ddsm(inside)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "t.csv: got no rows"),
        (b"\n \n", "t.csv: got no rows"),
        (b"a,b\n", "t.csv: got no rows"),
        (b"a b;c\n1;2\n", "t.csv row 1, column 'a': missing, must occur once .*; found: 'a b, c'"),
        (b"a,a,b\n1,2,3\n", "t.csv row 1, column 'a': found 2 times"),
        (b"b\n1\n", "t.csv row 1, column 'a': missing"),
        (b"a,b\n1,2\n3\n", "t.csv row 3: got 1 cells, must have 2 like the first row"),
        (b'a,b\n"1,2\n', "t.csv row 2: got unexpected end of data, must be comma-separated"),
        (b"a,b\n\x81,2\n", "t.csv row 2, column 'a': got \ufffd, must be UTF-8 text"),  # not in Windows-1252
        (b"a,b\n\xc3\xa4\xff,2\n", "t.csv row 2, column 'a': got .*, must be UTF-8 text"),  # UTF-8 and something else
        (b"a,b\n1\x00,2\n", "t.csv row 2, column 'a': got '1.x00', must be UTF-8 text"),
        (b"PK\x03\x04\x14\x00\x06\x00", "t.csv: got a file that openpyxl cannot read .*, must be an .xlsx file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "t.csv: got an .xls file or one with a password, must be a CSV or .xlsx"),
        (b"\xef\xbb\xbf<html><table>", "t.csv: got HTML or XML, must be a CSV or .xlsx file"),
        (b"%PDF-1.7", "t.csv: got a PDF file"),
    ],
)
def test_files_that_are_not_such_a_table(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{words}"):
        read_table(tmp_path / "t.csv", ("a",))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(tmp_path, encoding, delimiter):
    lines = [["a", "b", "Größe"], ["007", "x y", "1"], ["\u00a0008 ", '"q"', "2"]]
    text = "".join(delimiter.join(line) + "\r\n" for line in lines) + delimiter * 2 + "\r\n\r\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    cells = read_table(tmp_path / "t.csv", ("a", "b", "Größe")).cells
    assert cells.to_numpy().tolist() == [["007", "x y", "1"], ["008", "q", "2"]]
    assert cells.index.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", ["1,5", "2,5"]),  # more commas than semicolons
        ("sep=;\na;b\n1,5;2,5\n", ["1,5", "2,5"]),
        ('a,b\n"=""0123""",2\n', ["0123", "2"]),  # how Excel marks text
        ('a;b\n="0123";2\n', ["0123", "2"]),
        ("a;b\n\u200b7\ufeff;2\n", ["7", "2"]),
        ("a,b\r1,2\r", ["1", "2"]),
    ],
)
def test_rows_as_spreadsheets_write_them(tmp_path, text, cells):
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_table(tmp_path / "t.csv", ("a", "b")).cells.iloc[0].tolist() == cells


@pytest.mark.parametrize(
    ("delimiter", "texts", "numbers"),
    [
        (";", ["0,085", "1,234", ""], [0.085, 1.234, None]),
        (";", ["1,234", "2,345"], [1.234, 2.345]),  # a semicolon comes from where commas are decimal
        ("\t", ["12,5", "1,234"], [12.5, 1.234]),
        ("\t", ["1,234", "2,345"], None),  # decimal or thousands
        (";", ["1.234", "1,5"], None),  # one of the two marks thousands
        (";", ["1.234,5"], None),
        (";", ["12. Mai"], None),
    ],
)
def test_decimal_commas(tmp_path, delimiter, texts, numbers):
    (tmp_path / "t.csv").write_text(
        "\n".join(delimiter.join(line) for line in [["a", "b"], *([t, "1"] for t in texts)])
    )
    table = read_table(tmp_path / "t.csv", ("a", "b"))
    if numbers is None:
        with pytest.raises(ValueError, match="row [23], column 'a': got .*, must be a number"):
            table.numbers("a", lambda x: x < 100, "must be a number")
    else:
        found = table.numbers("a", lambda x: x < 100, "must be a number")
        assert [None if x != x else x for x in found] == numbers


def workbook(path, rows, **sheets):
    """Write an Excel file, and return it for changes; `sheets` are more of them."""
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for name, more in sheets.items():
        sheet = book.create_sheet(name)
        for row in more:
            sheet.append(row)
    book.save(path)
    return book


def test_excel_files(tmp_path):
    path = tmp_path / "t.xlsx"
    rows = [["a", "b", "c"], [123456789012345, 0.1 + 0.2, True], [None], ["007", date(2023, 3, 5), "x"], [12.0, -1, ""]]
    book = workbook(path, rows)
    assert read_table(path, ("a", "b", "c")).cells.to_dict("index") == {
        2: {"a": "123456789012345", "b": "0.3", "c": "TRUE"},
        4: {"a": "007", "b": "2023-03-05", "c": "x"},
        5: {"a": "12", "b": "-1", "c": ""},
    }
    book.active["A5"].number_format = "000000"  # as shown: 000012
    book.active["B5"] = "=1+1"  # without a result: openpyxl does not calculate
    book.save(path)
    assert read_table(path, ("a", "b")).cells.loc[5].tolist() == ["000012", "=1+1"]
    book.active.merge_cells("A2:A3")
    book.save(path)
    with pytest.raises(ValueError, match=r"t.xlsx: got merged cells \(A2:A3\), must have one value in each cell"):
        read_table(path, ("a",))
    workbook(path, rows, More=[["a"], [1]])
    with pytest.raises(ValueError, match="got the sheets 'Sheet', 'More', must have one, or name one of them"):
        read_table(path, ("a",))
    workbook(path, rows, Empty=[])
    assert len(read_table(path, ("a",)).cells) == 3


def test_all_broken_rules_in_one_message(tmp_path):
    lines = ["a,b", *(f"x{i},{i}" for i in range(30)), "1,99", "2", "3,zz"]
    table = read_table(put(tmp_path / "t.csv", *lines), ("a", "b"), collect=True)
    table.refuse(table.cells["a"].str.startswith("x"), "a", "must be a number")
    table.numbers("b", lambda x: x < 50, "must be below 50")
    table.refuse(table.cells["b"] == "zz", "b", "is not named twice")
    with pytest.raises(ValueError) as caught:
        table.check()
    message = str(caught.value).splitlines()
    assert message[0] == "t.csv row 2, column 'a': got x0, must be a number"
    assert message[-4:] == [
        "t.csv row 32, column 'b': got 99, must be below 50",
        "t.csv row 33: got 1 cells, must have 2 like the first row",
        "t.csv row 34, column 'b': got zz, must be below 50",
        "and 24 more (column 'a': 24)",
    ]
    assert len(message) == 10


@pytest.mark.parametrize(
    ("ids", "rounded"),
    [
        (["1.23457E+11", "12"], [0]),
        (["1,23457E+11"], [0]),
        (["1E+15", "1.2e+11", "1.23E11"], [0, 1, 2]),
        (["1234567890123450", "1234567890123460"], [0, 1]),
        (["123456789012345000"], [0]),
        (["1234567890123450"] * 5, [0, 1, 2, 3, 4]),  # more rows than the views of a woman
        (["1234567890123450"] * 4, []),  # one woman; her identifier may end in 0
        (["1234567890123450", "1234567890123456"], []),  # another digit is kept
        (["123456789012340", "12e5", "1E5", "00012", "1.0", "E+11", "S-1E+2"], []),
        (["#####", "#N/A", "#NAME?", "#BEZUG!", "=A1"], [0, 1, 2, 3, 4]),
    ],
)
def test_identifiers_that_a_spreadsheet_changed(ids, rounded):
    found = np.zeros(len(ids), dtype=bool)
    for bad, _, _ in lost_digits(pd.Series(ids, dtype=object)):
        found |= bad
    assert np.flatnonzero(found).tolist() == rounded


def test_tables_as_other_programs_write_them(tmp_path):
    text = '\ufeff,b,a,note\r\n0, x ,"1,5",caf\xe9\r\n,,,\r\n\r\n1,"two\r\nlines",2,\r\n'
    data = text.encode().replace("\xe9".encode(), b"\xe9")  # an invalid byte, in a column that is not read
    (tmp_path / "t.csv").write_bytes(data)
    table = read_table(tmp_path / "t.csv", ("a", "b"), ("c",))
    assert table.cells.to_dict("index") == {2: {"a": "1,5", "b": "x"}, 5: {"a": "2", "b": "two\r\nlines"}}
    with pytest.raises(FileNotFoundError, match="nowhere.csv': must be an existing CSV file"):
        read_table(tmp_path / "nowhere.csv", ("a",))


def test_messages_stay_short(tmp_path):
    put(
        tmp_path / "train.csv",
        RSNA,
        f"2,{'x/' * 5000},1,L,CC,61,0,0,0,,0,,29,False",
        "2,y/,1,L,CC,61,0,0,0,,0,,29,False",
    )
    with pytest.raises(ValueError, match=r"row 2, .*\n.* row 3, ") as caught:
        read_rsna(tmp_path)
    assert len(str(caught.value)) < 400
