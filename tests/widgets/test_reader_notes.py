"""Notes of several readers in one file: none is lost, and a reader is told when one cannot be saved."""

import csv
import subprocess
import sys

import pytest
from finished_run import make_run

from bac_utils._files import locked
from bac_utils.widgets import open_browser, reader_notes
from bac_utils.widgets.reader_notes import LABELS, MOST, Note, ReaderNotes

WRITER = """
import sys, time
from pathlib import Path
from bac_utils.widgets.reader_notes import ReaderNotes
folder, name, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
notes = ReaderNotes(folder)
Path(folder, name + ".ready").touch()
while len(list(Path(folder).glob("*.ready"))) < 2:
    time.sleep(0.001)
for k in range(number):
    notes.put(f"{name}{k}", "L", "CC", "BAC+", f"note {k}")
    if k % 10 == 0:
        notes.put("both", "L", "CC", "", f"{name}{k}", before=notes.get("both", "L", "CC"))
"""


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", women=8)


@pytest.fixture
def no_wait(monkeypatch):
    monkeypatch.setattr(reader_notes, "WAIT_S", 0.05)


@pytest.mark.parametrize("repeat", range(2))
def test_two_processes_lose_no_note(tmp_path, repeat):
    number = 150
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name, str(number)]) for name in ("a", "b")]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    notes = ReaderNotes(tmp_path)
    assert len(notes) == 2 * number + 1
    for name in ("a", "b"):
        found = [notes.get(f"{name}{k}", "L", "CC") for k in range(number)]
        assert found == [("BAC+", f"note {k}") for k in range(number)]
    assert {"a140", "b140"} & set(notes.get("both", "L", "CC").note.splitlines())


def test_two_readers(tmp_path):
    one, two = ReaderNotes(tmp_path), ReaderNotes(tmp_path)
    one.put("a", "L", "CC", "BAC+", "")
    assert two.get("a", "L", "CC") == ("BAC+", "")  # seen before two has written anything
    two.put("b", "R", "MLO", "", "faint")
    assert len(ReaderNotes(tmp_path)) == 2
    one.put("a", "L", "CC")
    assert len(ReaderNotes(tmp_path)) == 1
    two.put("b", "R", "MLO", "", "bright")
    one.put("b", "R", "MLO", "", "faint")
    assert two.get("b", "R", "MLO").note == "faint"


@pytest.mark.parametrize(
    ("mine", "other", "before", "expected"),
    [
        (("", "mine"), ("", "other"), ("", ""), ("", "other\nmine")),
        (("", "mine"), ("BAC+", ""), ("", ""), ("BAC+", "mine")),
        (("BAC-", "old"), ("", "other"), ("", "old"), ("BAC-", "other")),
        (("BAC-", ""), ("BAC+", ""), ("", ""), ("BAC-", "another reader's label: BAC+")),
        (("BAC-", "x"), ("", "x"), ("BAC+", "x"), ("BAC-", "x\nanother reader's label: as in the table")),
        (("", ""), ("", "other"), ("", "old"), ("", "other\n")),
        (("BAC+", "same"), ("BAC+", "same"), ("", ""), ("BAC+", "same")),
    ],
)
def test_notes_on_the_same_view_are_joined(tmp_path, mine, other, before, expected):
    assert Note(*mine).merged(Note(*other), Note(*before)) == expected
    one, two = ReaderNotes(tmp_path), ReaderNotes(tmp_path)
    one.put("a", "L", "CC", *before)
    two.put("a", "L", "CC", *other)
    assert one.put("a", "L", "CC", *mine, before=Note(*before)) == expected == two.get("a", "L", "CC")


def test_a_note_that_cannot_be_written_is_kept(tmp_path, no_wait):
    notes = ReaderNotes(tmp_path)
    notes.put("a", "L", "CC", "", "old")
    with locked(notes.path), pytest.raises(FileExistsError, match="reader_notes.csv is in use by another process"):
        notes.put("a", "L", "CC", "", "new", before=Note("", "old"))
    assert notes.unsaved == 1 and notes.get("a", "L", "CC").note == "new"
    assert ReaderNotes(tmp_path).get("a", "L", "CC").note == "old"
    ReaderNotes(tmp_path).put("a", "L", "CC", "", "other")
    notes.put("b", "L", "CC", "unsure")
    assert notes.unsaved == 0
    found = ReaderNotes(tmp_path)
    assert found.get("a", "L", "CC").note == "other\nnew" and found.get("b", "L", "CC").corrected_label == "unsure"


def test_a_failure_while_writing_keeps_the_note(tmp_path, monkeypatch):
    notes = ReaderNotes(tmp_path)
    notes.put("a", "L", "CC", "", "old")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            notes.put("a", "L", "CC", "", "new")
    assert ReaderNotes(tmp_path).get("a", "L", "CC").note == "old"
    notes.put("a", "L", "CC", "", "new")
    assert ReaderNotes(tmp_path).get("a", "L", "CC").note == "new"


def test_errors(tmp_path):
    notes = ReaderNotes(tmp_path)
    with pytest.raises(ValueError, match="corrected_label: got 'maybe'"):
        notes.put("a", "L", "CC", "maybe")
    with pytest.raises(ValueError, match=f"note: got {MOST + 1} characters, must be at most {MOST}"):
        notes.put("a", "L", "CC", "", "x" * (MOST + 1))
    assert notes.unsaved == 0 and not notes.path.exists()
    assert set(LABELS) == {"", "BAC+", "BAC-", "unsure"}
    notes.path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must have patient_id"):
        ReaderNotes(tmp_path)
    notes.path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="must be a CSV file in UTF-8"):
        notes.get("a", "L", "CC")


def test_the_form_tells_what_was_not_saved(run, no_wait):
    browser = open_browser(run)
    browser.split.value = "all"
    with locked(browser.notes.path):
        browser.note.value = "kept"
        assert "NOT SAVED" in browser.noted.value and "in use by another process" in browser.noted.value
        browser.go(1)
        assert browser.note.value == "" and "1 notes NOT SAVED yet" in browser.noted.value
        browser.go(0)
        assert browser.note.value == "kept"
    assert not browser.notes.path.exists()
    browser.label.value = "unsure"
    assert "NOT SAVED" not in browser.noted.value and "saved in reader_notes.csv" in browser.noted.value
    with open(browser.notes.path, newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["corrected_label"], row["note"]) == ("unsure", "kept")


def test_the_form_shows_what_another_reader_wrote(run):
    one, two = open_browser(run), open_browser(run)
    two.note.value = "theirs"
    one.note.value = "mine"
    assert one.note.value == "theirs\nmine" and "another reader had changed this note" in one.noted.value
    one.note.value = "theirs and mine"
    assert "another reader" not in one.noted.value
    two.go(1)
    two.go(0)
    assert two.note.value == "theirs and mine"


def test_the_form_is_closed_while_the_file_cannot_be_read(run):
    browser = open_browser(run)
    browser.note.value = "mine"
    text = browser.notes.path.read_text(encoding="utf-8")
    browser.notes.path.write_text("a,b\n1,2\n")
    browser.go(1)
    assert browser.note.disabled and "cannot be read" in browser.noted.value and browser.note.value == ""
    browser.notes.path.write_text(text, encoding="utf-8")
    browser.go(0)
    assert not browser.note.disabled and browser.note.value == "mine"
