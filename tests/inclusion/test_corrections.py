"""Readers' labels in a views table: what changes, what stays, and what is counted."""

import numpy as np
import pandas as pd
import pytest

from bac_utils._files import file_digest
from bac_utils.inclusion.corrections import correct_labels, corrections_digest, corrections_text, read_corrections
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.views_table import check_views, read_views
from bac_utils.widgets.reader_notes import ReaderNotes

NAN = np.nan
IDS = ["a", "NA", "$c", "d", "e", "f", "g"]


@pytest.fixture
def table(tmp_path):
    rows = [
        (IDS[0], 1, 20.0), (IDS[1], 0, 0.0), (IDS[2], 0, 0.0), (IDS[3], 1, 30.0), (IDS[4], None, None),
        (IDS[5], 1, 7.0), (IDS[6], 1, 9.0),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["patient_id", "bac", "bac_length_mm"])
    frame = frame.assign(laterality="L", view="CC", image=[f"{k}.png" for k in range(len(rows))], label_level="woman")
    frame.to_csv(tmp_path / "views.csv", index=False)
    return tmp_path / "views.csv"


def read(folder, name, *entries):
    mine = ReaderFile(folder, name, 1)
    for woman, bac, length in entries:
        mine.put({ViewKey(woman, "", "L", "CC"): {"bac": bac, "bac_length_mm": length}})


def test_readings_replace_labels_and_lengths(table, tmp_path):
    folder, before = tmp_path / "readings", file_digest(table)
    entries = [
        (IDS[0], 0, 0), (IDS[1], 1, 12.5), (IDS[2], 1, NAN), (IDS[3], 1, NAN), (IDS[4], 1, 4.0), (IDS[5], NAN, NAN),
        ("stranger", 1, 3.0),
    ]  # fmt: skip
    read(folder, "one", *entries)
    found, counts = correct_labels(read_views(table), folder)
    assert found["bac"].tolist() == [0, 1, 1, 1, 1, 1, 1]
    # BAC- is 0 mm; measured; unknown, since the table's 0 belongs to BAC-; kept; measured; undecided; not read
    assert found["bac_length_mm"].tolist() == pytest.approx([0, 12.5, NAN, 30, 4, 7, 9], nan_ok=True)
    assert found["label_level"].tolist() == ["view"] * 5 + ["woman"] * 2
    assert counts == {
        "read": 5, "labels_changed": 3, "labels_added": 1, "lengths_changed": 4, "undecided": 1, "not_in_table": 1,
    }  # fmt: skip
    assert "3 labels changed, 1 added, 4 lengths changed; 1 views undecided" in corrections_text(counts)
    assert file_digest(table) == before
    check_views(found.drop(columns="image_path"))
    read(folder, "two", *[(name, 0, 0) for name in IDS])  # now all differ but the first
    found, counts = correct_labels(read_views(table), folder)
    assert found["bac"].tolist() == pytest.approx([0, 0, 0, 1, NAN, 0, 0], nan_ok=True)
    assert (counts["read"], counts["undecided"]) == (3, 4)
    assert correct_labels(read_views(table), folder / "one.csv")[1]["read"] == 5


def test_notes_of_the_view_browser(table, tmp_path):
    notes = ReaderNotes(tmp_path)
    for name, label in ((IDS[0], "BAC-"), (IDS[1], "BAC+"), (IDS[2], "unsure"), (IDS[3], "BAC+"), (IDS[5], "")):
        notes.put(name, "L", "CC", label, "=note\nof two lines")
    found, counts = correct_labels(read_views(table), notes.path)
    assert found["bac"].tolist() == pytest.approx([0, 1, 0, 1, NAN, 1, 1], nan_ok=True)
    assert found["bac_length_mm"].tolist() == pytest.approx([0, NAN, 0, 30, NAN, 7, 9], nan_ok=True)
    assert (counts["read"], counts["labels_changed"], counts["undecided"]) == (3, 2, 2)


def test_a_views_table_of_the_consensus(table, tmp_path):
    other = pd.read_csv(table, dtype=str, keep_default_na=False)[:3].assign(
        bac=["", "1", "0"], bac_length_mm=["", "8", ""]
    )
    other.to_csv(tmp_path / "consensus.csv", index=False)
    found, counts = correct_labels(read_views(table), tmp_path / "consensus.csv")
    assert found["bac"].tolist()[:3] == [1, 1, 0] and found["bac_length_mm"].tolist()[:3] == [20, 8, 0]
    assert (counts["read"], counts["labels_changed"], counts["lengths_changed"]) == (2, 1, 1)


def test_a_table_without_lengths_gets_them_if_readers_measured(table, tmp_path):
    views = read_views(table).drop(columns="bac_length_mm")
    read(tmp_path / "r", "one", (IDS[0], 0, 0), (IDS[1], 1, NAN))
    found, counts = correct_labels(views, tmp_path / "r")
    assert "bac_length_mm" not in found and counts["lengths_changed"] == 0
    read(tmp_path / "r", "one", (IDS[1], 1, 5.0))
    found, counts = correct_labels(views, tmp_path / "r")
    assert found["bac_length_mm"].tolist() == pytest.approx([0, 5, 0, NAN, NAN, NAN, NAN], nan_ok=True)
    assert counts["lengths_changed"] == 1


def test_exams_are_told_apart(table, tmp_path):
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)[:2].assign(patient_id="a", exam=["1", "2"])
    frame.to_csv(tmp_path / "two.csv", index=False)
    ReaderFile(tmp_path / "r", "one", 1).put({ViewKey("a", "2", "L", "CC"): {"bac": 1}})
    assert correct_labels(read_views(tmp_path / "two.csv"), tmp_path / "r")[0]["bac"].tolist() == [1, 1]


def test_errors(table, tmp_path):
    views = read_views(table)
    with pytest.raises(FileNotFoundError, match="readings: got .*none', must be a folder of readings"):
        correct_labels(views, tmp_path / "none")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="readings: got .* with the columns a, b, must be a folder of readings"):
        correct_labels(views, tmp_path / "x.csv")
    read(tmp_path / "r", "one", ("stranger", 1, 3.0))
    with pytest.raises(ValueError, match="readings: got 1 views in .*, none of which is in the views table"):
        correct_labels(views, tmp_path / "r")
    (tmp_path / "n.csv").write_text("patient_id,laterality,view,corrected_label\na,L,CC,maybe\n")
    with pytest.raises(ValueError, match="n.csv row 2, column 'corrected_label': got maybe, must be"):
        read_corrections(tmp_path / "n.csv")


def test_the_digest_of_a_folder_changes_with_each_reading(tmp_path):
    read(tmp_path, "one", ("a", 1, 3.0))
    first = corrections_digest(tmp_path)
    assert first == corrections_digest(tmp_path)
    read(tmp_path, "two", ("a", 1, 3.0))
    assert corrections_digest(tmp_path) != first
    assert corrections_digest(tmp_path / "one.csv") == file_digest(tmp_path / "one.csv")
