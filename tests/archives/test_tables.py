"""Reading CSV files with checks, and paths that stay in their folder."""

import pytest
from archive_tables import RSNA, cbis, lesion, put

from bac_utils._tables import read_table, relative_path
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
        (b"a;b\n1;2\n", "t.csv row 1, column 'a': missing, must occur once .*; found: 'a;b'"),
        (b"a,a,b\n1,2,3\n", "t.csv row 1, column 'a': found 2 times"),
        (b"b\n1\n", "t.csv row 1, column 'a': missing"),
        (b"a,b\n1,2\n3\n", "t.csv row 3: got 1 cells, must have 2 like the first row"),
        (b'a,b\n"1,2\n', "t.csv row 2: got unexpected end of data, must be comma-separated"),
        (b"a,b\n\xe9,2\n", "t.csv row 2, column 'a': got .*, must be UTF-8 text"),
        (b"a,b\n1\x00,2\n", "t.csv row 2, column 'a': got '1.x00', must be UTF-8 text"),
        (b"PK\x03\x04\x14\x00\x06\x00", "t.csv row 1, column 'a': missing"),
        ("a,b\n1,2\n".encode("utf-16"), "t.csv row 1, column 'a': missing"),
    ],
)
def test_files_that_are_not_such_a_table(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{words}"):
        read_table(tmp_path / "t.csv", ("a",))


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
    with pytest.raises(ValueError, match=r"\(rows that break this rule: 2\)$") as caught:
        read_rsna(tmp_path)
    assert len(str(caught.value)) < 250
