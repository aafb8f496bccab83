"""Resuming a table of scores that another program has saved again: it is refused, never half understood."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from bac_utils.scoring.journal import COLUMNS, FileState, Journal, file_name, instance_line, name_digest

ORIGIN = {"model_sha256": "0" * 64}
WOMEN = ("00123", "123456789012", "3-5", "7", "A, B", "A, B")


@pytest.fixture
def table(tmp_path):
    """Return the path of a table of scores, with its note and its file of instances."""
    path, lines = tmp_path / "scores.csv", []
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for number, woman in enumerate(WOMEN):
            row = dict.fromkeys(COLUMNS, "") | {
                "file": f"/archive/Müller {number}.dcm", "patient_id": woman, "laterality": "L", "view": "CC",
                "status": "skipped", "reason": "no_breast", "elapsed_s": "0.8125",
            }  # fmt: skip
            if number != 3:
                measures = {"bac_area_mm2": "80.25", "bac_length_mm": "40.5", "bac_width_mm": "2.5"}
                row |= {"status": "scored", "reason": "", "score": "1.5e-05", "bac": "1"} | measures
                row |= {"breast_area_mm2": "15012.5", "saturated_share": "0.0075"}
            image = f"{number:032x}" if row["status"] == "scored" else ""
            lines.append(instance_line(row, image, FileState.of(Path(row["file"]))))
            writer.writerow(row)
    path.with_name("scores.csv.instances").write_text("".join(lines))
    path.with_name("scores.csv.json").write_text(json.dumps(ORIGIN))
    return path


def finished(table):
    note, seen = (table.with_name(f"{table.name}{ending}") for ending in (".json", ".instances"))
    journal = Journal(seen)
    return journal.read(table, note, ORIGIN), journal.instances


def digests(numbers):
    return {name_digest(f"/archive/Müller {number}.dcm") for number in numbers}


def test_a_table_as_written_is_finished(table):
    done, instances = finished(table)
    assert done == digests(range(6))
    assert instances == {bytes.fromhex(f"{number:032x}") for number in (0, 1, 2, 4, 5)}


def test_rows_may_be_sorted_or_removed(table):
    head, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join([head, *rows[:1:-1]]), encoding="utf-8")
    done, instances = finished(table)
    assert done == digests(range(2, 6)) and len(instances) == 3


def saved(table, change=lambda cell: cell, encoding="utf-8", **form):
    """Return the bytes of the table with changed cells, in another form."""
    rows = list(csv.reader(io.StringIO(table.read_text(encoding="utf-8"))))
    text = io.StringIO()
    csv.writer(text, **form).writerows([rows[0], *([change(cell) for cell in row] for row in rows[1:])])
    return text.getvalue().encode(encoding)


def general(cell):
    """Return a cell as a spreadsheet shows it in the format General."""
    try:
        number = float(cell)
    except ValueError:
        return {"3-5": "05. Mrz"}.get(cell, cell)
    if number >= 1e11:
        return f"{number:.5E}"
    return f"{number:.2E}" if 0 < number < 1e-4 else f"{number:.10g}"


def replaced(cells, **form):
    return lambda table: saved(table, lambda cell: cells.get(cell, cell), lineterminator="\n", **form)


PROGRAMS = {
    "Excel, German": lambda table: saved(table, lambda cell: general(cell).replace(".", ","), "cp1252", delimiter=";"),
    "Excel, German, UTF-8": lambda table: saved(
        table, lambda cell: general(cell).replace(".", ","), "utf-8-sig", delimiter=";"
    ),
    "Excel, English": lambda table: saved(table, general),
    "Excel, Unicode text": lambda table: saved(table, general, "utf-16", delimiter="\t"),
    "Excel, each line one cell": lambda table: "".join(
        f'"{line}"\r\n'.replace('""', '"""') for line in table.read_text(encoding="utf-8").splitlines()
    ).encode(),
    "nothing but line ends": lambda table: saved(table),
    "nothing but a byte order mark": lambda table: saved(table, encoding="utf-8-sig", lineterminator="\n"),
    "nothing but semicolons": replaced({}, delimiter=";"),
    "nothing but quotes": replaced({}, quoting=csv.QUOTE_ALL),
    "sep=;": lambda table: b"sep=;\n" + saved(table, delimiter=";", lineterminator="\n"),
    "another encoding": lambda table: saved(table, encoding="cp1252", lineterminator="\n"),
    "leading zeros dropped": replaced({"00123": "123"}),
    "an identifier rounded": replaced({"123456789012": "1.23457E+11"}),
    "an identifier as a date": replaced({"3-5": "2024-05-03"}),
    "an identifier of a skipped file as a number": replaced({"7": "7.0"}),
    "decimal commas": replaced({"40.5": "40,5"}),
    "scientific notation": replaced({"1.5e-05": "1.50E-05"}),
    "whole numbers as decimals": replaced({"1": "1.0"}),
    "a workbook": lambda table: b"PK\x03\x04" + bytes(100) + b"\n",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_table_saved_by_another_program_is_refused(table, program):
    before = table.read_bytes()
    changed = PROGRAMS[program](table)
    assert changed != before
    table.write_bytes(changed)
    with pytest.raises(ValueError, match="scores.csv row .*a spreadsheet or another program has saved this table"):
        finished(table)
    assert table.read_bytes() == changed
    table.write_bytes(before)
    assert finished(table)[0] == digests(range(6))


def test_the_message_names_row_and_identifiers(table):
    table.write_bytes(PROGRAMS["leading zeros dropped"](table))
    with pytest.raises(ValueError, match=r"row 2: got '123', '', '', 'L', 'CC', '' for patient_id, exam, study_date"):
        finished(table)


def test_other_columns_are_other_columns(table):
    table.write_text("file;score\n1.dcm;0.5\n")
    with pytest.raises(ValueError, match=r"has other columns \(file;score\): choose another --output"):
        finished(table)


def noted(tmp_path, *files, reason="", image=""):
    """Return a journal with a row for each file, and the paths of its table and its file of instances."""
    table, seen = tmp_path / "scores.csv", tmp_path / "scores.csv.instances"
    journal = Journal(seen)
    with open(table, "a", newline="", encoding="utf-8") as stream, open(seen, "a") as lines:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for file in files:
            row = dict.fromkeys(COLUMNS, "") | {"file": journal.name_for(file), "elapsed_s": "1"}
            row |= {"status": "skipped", "reason": reason} if reason else {"status": "scored", "score": "0.5"}
            lines.write(journal.add(row, image, FileState.of(file)))
            writer.writerow(row)
    return table, seen


def read_again(table, seen):
    journal = Journal(seen)
    note = table.with_name("scores.csv.json")
    note.write_text(json.dumps(ORIGIN))
    return journal, journal.read(table, note, ORIGIN)


def test_rows_without_their_note_are_refused(table):
    """It is written before the first row; without it, rows of other thresholds or keys would be continued."""
    text = table.read_bytes()
    table.with_name("scores.csv.json").unlink()
    with pytest.raises(ValueError, match=r"scores.csv has rows, but scores.csv.json is missing, .* bring it back"):
        finished(table)
    assert table.read_bytes() == text
    table.write_bytes(text.splitlines(keepends=True)[0])
    assert finished(table)[0] == set()


def test_what_differs_is_named(table):
    note = table.with_name("scores.csv.json")
    for other, words in (
        (
            {"key": "1", "operating_point": {"threshold": 0.4}},
            "another key.*; threshold 0.4 instead of None; another mo",
        ),
        (ORIGIN | {"dicom": True}, "made with another choice of DICOM results: choose"),
    ):
        note.write_text(json.dumps(other))
        with pytest.raises(ValueError, match=words):
            finished(table)


def test_a_row_belongs_to_a_file_by_its_resolved_path(tmp_path, monkeypatch):
    """The same relative path in another working directory is another file, another path to a file is the same one."""
    for folder in ("one", "two"):
        (tmp_path / folder / "arch").mkdir(parents=True)
        (tmp_path / folder / "arch" / "a.dcm").write_text(folder)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")
    table, seen = noted(tmp_path, Path("arch/a.dcm"))
    journal, _ = read_again(table, seen)
    assert (
        journal.of(Path("arch/a.dcm")) == journal.of(tmp_path / "link" / "arch" / "a.dcm") == name_digest("arch/a.dcm")
    )
    monkeypatch.chdir(tmp_path / "two")
    assert journal.of(Path("arch/a.dcm")) is None
    assert journal.name_for(Path("arch/a.dcm")) == str(tmp_path / "two" / "arch" / "a.dcm")
    assert journal.outdated(lambda: [Path("arch/a.dcm")]) == set()


def test_a_link_that_leads_elsewhere_is_another_file(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    table, seen = noted(tmp_path, tmp_path / "link")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "two")
    journal, names = read_again(table, seen)
    assert journal.of(tmp_path / "link") is None
    assert journal.outdated(lambda: [tmp_path / "link"]) == names


def test_names_are_told_apart(tmp_path):
    broken, spelled, raw, escaped = "a\nb", "a\\nb", os.fsdecode(b"\xff"), "\\udcff"
    names = [file_name(Path(name)) for name in (broken, spelled, raw, escaped)]
    assert names == [r"a\nb", r"a\\nb", r"\udcff", r"\\udcff"]


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_file_that_was_replaced_is_outdated(tmp_path, change):
    file, other = tmp_path / "a.dcm", tmp_path / "b.dcm"
    for path in (file, other):
        path.write_text("one")
        os.utime(path, (10, 10))
    table, seen = noted(tmp_path, file, other, image="0" * 32)
    if change == "content":
        file.write_text("another")
    os.utime(file, (10, 10) if change == "content" else (11, 11))
    journal, names = read_again(table, seen)
    assert journal.outdated(lambda: [other]) == set()
    found = journal.outdated(lambda: [other, file])
    assert found == {name_digest(str(file))} and len(names) == 2
    journal.forget([table, tmp_path / "missing.csv"], found)
    assert journal.of(file) is None and journal.of(other) is not None
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["file"] for row in rows] == [str(other)]
    assert read_again(table, seen)[1] == names - found


@pytest.mark.parametrize(("reason", "again"), [("not_read", True), ("not_found", True), ("unreadable", False)])
def test_reasons_that_may_pass(tmp_path, reason, again):
    file = tmp_path / "a.dcm"
    file.touch()
    journal, names = read_again(*noted(tmp_path, file, reason=reason))
    assert journal.outdated(lambda: [file]) == (names if again else set())


def test_a_copy_counts_again_if_its_image_has_no_row_any_more(tmp_path):
    original, copy = tmp_path / "a.dcm", tmp_path / "b.dcm"
    for path in (original, copy):
        path.touch()
    table, seen = noted(tmp_path, original, image="7" * 32)
    (tmp_path / "other").mkdir()
    rest, _ = noted(tmp_path / "other", copy, reason="duplicate", image="7" * 32)
    with open(table, "a") as stream, open(seen, "a") as lines:
        stream.write(rest.read_text().splitlines(keepends=True)[1])
        lines.write(rest.with_name("scores.csv.instances").read_text())
    journal, names = read_again(table, seen)
    assert journal.instances == {bytes.fromhex("7" * 32)}
    assert journal.outdated(lambda: [original, copy]) == set()
    original.write_text("another image")
    found = journal.outdated(lambda: [original, copy])
    assert found == names
    journal.forget([table], found)
    assert journal.instances == set()
