"""Tables as hospitals write them: what is recognised, what is left to the user, and what the mapping does."""

from datetime import datetime

import pytest
from archive_tables import put
from openpyxl import Workbook

from bac_utils.archives.column_words import dry_run, propose, write_columns
from bac_utils.archives.columns import Columns, identifier, read_columns
from bac_utils.archives.labels import read_labels
from bac_utils.intake.exams import parse_date

GERMAN = [
    "Mammographien der Klinik, Stand 1.3.2024",
    "Pat-ID;Seite;Aufnahme;Untersuchungsdatum;Gefäßkalk;Länge (mm);Befunder",
    "0012;rechts;cc;05.03.2023;ja;12,5;Ä",
    "0012;li.;MLO;05.03.2023;nein;;Ä",
    "0013;re;kranio-kaudal;5.3.23;k.A.;k.A.;Ö",
    '="0014";R;ML;05.03.2023;+;3 mm;Ö',
    " '0015;Links ;Schräg;2023-03-05 08:15;Nein;;Ü",
    ";;;;;;",
    "Summe;;;;3;15,5;",
]


def german(folder, encoding="cp1252", lines=GERMAN):
    path = folder / "labels.csv"
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
def test_a_german_table_is_understood_without_a_word_of_the_user(tmp_path, encoding):
    path = german(tmp_path, encoding)
    lines = dry_run(tmp_path / "m.yaml", {"labels": path})
    assert lines[1:8] == [
        "  row 9 is not used (totals)",
        "  not used: 'Befunder'",
        "  patient_id: 'Pat-ID', 5 filled, 4 different",
        "  laterality: 'Seite': rechts = R (1), li. = L (1), re = R (1), R = R (1), Links = L (1)",
        "  view: 'Aufnahme': cc = CC (1), MLO = MLO (1), kranio-kaudal = CC (1), ML = skip (1), Schräg = MLO (1)",
        "  study_date: 'Untersuchungsdatum', 5 filled, 3 different",
        "  bac: 'Gefäßkalk': ja = 1 (1), nein = 0 (1), k.A. = unknown (1), + = 1 (1), Nein = 0 (1)",
    ]
    assert lines[-3:] == [
        "labels.csv: 4 labels by view (1 BAC+, 2 BAC-, 1 unknown)",
        "rows of labels.csv that the mapping leaves out: 2 (row 6, row 9)",
        "rows of labels.csv with an unknown label: 1 (row 5)",
    ]
    labels = read_labels(path, read_columns(tmp_path / "m.yaml")["labels"]).frame.fillna(-1)
    assert labels.drop(columns=["row", "level"]).to_numpy().tolist() == [
        ["0012", "R", "CC", "2023-03-05", 1, 12.5],
        ["0012", "L", "MLO", "2023-03-05", 0, -1],
        ["0013", "R", "CC", "2023-03-05", -1, -1],
        ["0015", "L", "MLO", "2023-03-05", 0, -1],
    ]


def test_an_existing_mapping_is_kept(tmp_path):
    path = german(tmp_path)
    mapping = put(tmp_path / "m.yaml", "labels:", "  columns: {patient_id: Pat-ID, bac: Seite}")
    before = mapping.read_bytes()
    lines = dry_run(mapping, {"labels": path})
    assert mapping.read_bytes() == before and not write_columns(mapping, {})
    assert "problems:" in lines and "column 'Pat-ID': missing" in lines[-2]


@pytest.mark.parametrize(
    ("title", "field"),
    [
        ("PATIENTEN-NR.", "patient_id"), ("Patient ID", "patient_id"), ("patient_id", "patient_id"),
        ("Pat.\u00a0Nr", "patient_id"), ("Körperseite", None), ("Seite", "laterality"), ("Côté", "laterality"),
        ("Latéralité", "laterality"), ("Projektion", "view"), ("View Position", "view"), ("Gefaesskalk", "bac"),
        ("GEFÄSSKALK", "bac"), ("Gefäßverkalkung", "bac"), ("BAC", "bac"), ("Kalkar", None),
        ("Zugangsnummer", "accession"), ("Ansicht", "view"), ("Fallnummer", None),
        ("Länge", None), ("Länge (cm)", None), ("Laenge [mm]", "bac_length_mm"), ("Datum", "study_date"),
        ("Accession Number", "accession"), ("Datei", "image"), ("BAC rechts", "bac_right"), ("BAC li.", "bac_left"),
        ("R/L", "laterality"), ("Seite (R/L)", "laterality"), ("CC/MLO", "view"), ("BAC ja/nein", "bac"),
        ("N° patient", "patient_id"), ("Date d'examen", "study_date"), ("10", None),
    ],
)  # fmt: skip
def test_names_of_columns(tmp_path, title, field):
    mapping, lines = propose(put(tmp_path / "t.csv", f"x,{title}", "1,2"), "labels")
    assert mapping.columns == ({field: title} if field else {})
    assert any("not used: 'x'" in line for line in lines)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("Seite", {"rechts": "R", "LI": "L", "Right": "R", "beidseits": "R+L", "D": "?", "": "?"}),
        (
            "View",
            {"R-CC": "R CC", "LMLO": "L MLO", "cc r": "R CC", "links schräg": "L MLO", "XCCL": "skip", "45°": "?"},
        ),
        ("BAC", {"ja": "1", "Nein": "0", "-": "", "unbekannt": "", "leicht": "?", "2": "?", "fraglich": "?"}),
        ("BAC", {"+": "1", "-": "0"}),
        ("BAC", {"x": "1", "-": "?"}),
        ("BAC", {"WAHR": "1", "FALSCH": "0", "#NV": ""}),
    ],
)
def test_words_of_columns(tmp_path, field, words):
    path = put(tmp_path / "t.csv", f"a,{field}", *(f"1,{word}" for word in words))
    mapping, _ = propose(path, "labels")
    (found,) = mapping.words.values()
    assert {word: meaning for word, meaning in found.items() if word} == {k: v for k, v in words.items() if k}


def test_what_could_mean_two_things_is_left_to_the_user(tmp_path):
    path = put(tmp_path / "t.csv", "ID,Pat-ID,Seite,View,BAC,Datum", "1,7,D,CC,2,03/04/2023", "2,8,R,CC,ja,01/02/2023")
    lines = dry_run(tmp_path / "m.yaml", {"labels": path})
    assert "  patient_id: several columns fit ('ID', 'Pat-ID'), choose one" in lines
    assert "  dates: state 'dates: day first' or 'dates: month first'; both fit all dates" in lines
    mapping = (tmp_path / "m.yaml").read_text()
    assert "patient_id: '?'" in mapping and "D: '?'" in mapping and "'2': '?'" in mapping
    (tmp_path / "m.yaml").write_text(mapping.replace("patient_id: '?'", "patient_id: Pat-ID"))
    with pytest.raises(ValueError) as caught:
        read_labels(path, read_columns(tmp_path / "m.yaml")["labels"])
    problems = str(caught.value).splitlines()
    assert [line.split(", must")[0] for line in problems] == [
        "t.csv row 2, column 'BAC': got 2",
        "t.csv row 2, column 'Datum': got 03/04/2023",
        "t.csv row 2, column 'Seite': got D",
        "t.csv row 3, column 'Datum': got 01/02/2023",
    ]
    assert propose(put(tmp_path / "u.csv", "Datum", "03/04/2023", "13/04/2023"), "labels")[0].dates == "day first"
    assert propose(put(tmp_path / "u.csv", "Datum", "03/04/2023", "03/14/2023"), "labels")[0].dates == "month first"


@pytest.mark.parametrize(
    ("text", "day_first", "date"),
    [
        ("2023-03-05", None, "2023-03-05"), ("20230305", None, "2023-03-05"), ("05.03.2023", None, "2023-03-05"),
        ("5.3.23", None, "2023-03-05"), ("5. 3. 1998", None, "1998-03-05"), ("05.03.98", None, "1998-03-05"),
        ("03/04/2023", None, ""), ("03/04/2023", True, "2023-04-03"), ("03/04/2023", False, "2023-03-04"),
        ("2023-03-05 08:15:00", None, "2023-03-05"), ("31.02.2023", None, ""), ("45000", None, ""), ("", None, ""),
        ("März 2023", None, ""), ("2023-3", None, ""), ("00010101", None, ""),
    ],
)  # fmt: skip
def test_dates(text, day_first, date):
    assert parse_date(text, day_first) == date


@pytest.mark.parametrize(
    ("cell", "text"),
    [("'0123", "0123"), ('"0123"', "0123"), ("\u00a0Doe\u00a0Jane", "Doe Jane"), ("O'Hara", "O'Hara"), ('x"y', 'x"y')],
)
def test_identifiers_without_marks_of_spreadsheets(cell, text):
    assert identifier(cell) == text


def test_an_excel_file_with_several_sheets(tmp_path):
    book = Workbook()
    book.active.append(["Pat-ID", "Seite", "Aufnahme", "Datum", "BAC"])
    book.active.append([12, "rechts", "CC", datetime(2023, 3, 5), "ja"])
    book.create_sheet("Legende").append(["ja", "Gefäßkalk vorhanden"])
    book.save(tmp_path / "l.xlsx")
    lines = dry_run(tmp_path / "m.yaml", {"labels": tmp_path / "l.xlsx"})
    assert "  sheet: 'Sheet', of 'Sheet', 'Legende'" in lines
    text = (tmp_path / "m.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text + "  id_digits: 4\n")
    labels = read_labels(tmp_path / "l.xlsx", read_columns(tmp_path / "m.yaml")["labels"])
    assert labels.frame.to_numpy().tolist() == [[2, "view", "0012", "R", "CC", "2023-03-05", 1.0]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a: ["], "m.yaml: got .*, must be YAML"),
        (["[1]"], "m.yaml: must consist of the sections labels and ages"),
        (["label: {}"], "m.yaml: must consist of the sections labels and ages"),
        (["labels: {}"], "m.yaml, labels: must contain 'columns'"),
        (["labels: {columns: {sex: M}}"], "labels, columns: got 'sex', must be one of image, patient_id"),
        (["labels: {columns: {bac: [a]}}"], "labels, columns, bac: must be one name"),
        (["labels: {columns: {}, word: {}}"], "labels: got 'word', must be one of columns, words"),
        (["labels: {columns: {}, words: [a]}"], "labels, words: must contain"),
        (
            ["labels: {columns: {}, words: {bac: {ja: 2}}}"],
            "words, bac, ja: got '2', must be one of '1', '0', '', 'skip'",
        ),
        (["labels: {columns: {}, skip_rows: [x]}"], "labels, skip_rows: got 'x', must be a whole number"),
        (["labels: {columns: {}, dates: dmy}"], "labels, dates: got 'dmy', must be 'day first'"),
    ],
)
def test_broken_mappings(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_columns(put(tmp_path / "m.yaml", *lines))


def test_words_of_yaml_stay_words(tmp_path):
    """`yes`, `no` and 010 are truth values and a number to YAML."""
    lines = ["labels:", "  columns: {bac: 010}", "  words: {bac: {yes: 1, no: 0, n/a: ''}}"]
    found = read_columns(put(tmp_path / "m.yaml", *lines))["labels"]
    assert found == Columns({"bac": "010"}, {"bac": {"yes": "1", "no": "0", "n/a": ""}})
    with pytest.raises(ValueError, match="labels.*\n.*ages, dates"):
        read_columns(put(tmp_path / "m.yaml", "labels: {}", "ages: {columns: {}, dates: x}"))


@pytest.mark.parametrize("title", ["Verkalkung", "Kalk (ja/nein)", "Calcifications"])
def test_calcifications_need_a_decision_of_the_user(tmp_path, title):
    path = put(tmp_path / "t.csv", f"Pat-ID;Seite;Ansicht;{title}", "1;links;;ja", "1;rechts;cc;nein")
    lines = dry_run(tmp_path / "m.yaml", {"labels": path})
    assert f"  bac: '{title}', if it is about calcified arteries" in lines
    assert f"  bac: '{title}': ja = 1 (1), nein = 0 (1)" in lines
    assert "  view: 'Ansicht': empty = ? (1), cc = CC (1)" in lines
    assert lines[-1].startswith("  columns: must contain 'bac'")
    assert "    view:\n      '': '?'\n" in (tmp_path / "m.yaml").read_text(encoding="utf-8")
    found = read_columns(tmp_path / "m.yaml")["labels"]
    assert "bac" not in found.columns and found.words["bac"] == {"ja": "1", "nein": "0"}
    assert found.words["view"] == {"": "?"}


def test_calcifications_beside_labels_of_arteries_are_not_used(tmp_path):
    mapping, lines = propose(put(tmp_path / "t.csv", "BAC,Verkalkung", "1,ja"), "labels")
    assert mapping.columns == {"bac": "BAC"} and "  not used: 'Verkalkung'" in lines
    mapping, lines = propose(put(tmp_path / "t.csv", "Kalk,Verkalkung", "1,ja"), "labels")
    assert mapping.columns == {"bac": "?"} and not mapping.words
    assert "  bac: 'Kalk' or 'Verkalkung', if it is about calcified arteries" in lines
