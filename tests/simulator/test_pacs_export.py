"""The simulated export of a hospital's archive: what its files contain, and the reader's table."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pydicom
import pytest

from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import read_mammogram
from bac_utils.simulator import pacs_export
from bac_utils.simulator.exams import LEAST, draw_exams
from bac_utils.simulator.findings_table import findings, write_findings
from bac_utils.simulator.population import FOUR_VIEWS, draw_women

READ = ("view", "duplicate", "derived copy", "raw twin")
SKIPPED = {
    "implant": "implant",
    "truncated": "truncated",
    "spot view": "spot_or_magnification",
    "text card": "secondary_capture",
    "CT image": "not_mammography",
    "dose report": "not_mammography",
    "directory": "not_mammography",
    "other file": "not_an_image",
}


@pytest.fixture(scope="module")
def exams():
    return draw_exams(draw_women(20, 1, 0.4), 1)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pacs")
    pacs_export.simulate_export(folder, 20, 1, 2.0, 0.4)
    return folder


def test_every_file_is_in_the_ground_truth_and_is_what_it_says(export):
    truth = pd.read_csv(export / "ground_truth.csv", dtype=str, keep_default_na=False)
    paths = [path for path in (export / "export").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(export / "export").as_posix() for path in paths) == truth["file"].tolist()
    assert set(truth["content"]) == set(pacs_export.CONTENTS)
    for row in truth.itertuples():
        path = export / "export" / row.file
        if row.content in READ:
            found = read_mammogram(path)
            assert (found.patient_id, found.laterality, found.view) == (row.patient_id, row.laterality, row.view)
            assert found.spacing_mm == (2.0, 2.0) and found.age in (float(row.age), None)
        elif row.content in SKIPPED:
            with pytest.raises(Skip, match=f"^{SKIPPED[row.content]}:"):
                read_mammogram(path)


def test_headers_differ_in_encoding_compression_and_completeness(export):
    truth = pd.read_csv(export / "ground_truth.csv", dtype=str, keep_default_na=False)
    files = truth[truth["content"] == "view"]
    encodings, ages, syntaxes, unstated = set(), set(), set(), 0
    for row in files.itertuples():
        header = pydicom.dcmread(export / "export" / row.file)
        name = header["PatientName"].value.original_string
        encodings.add((b"\xc3\xbc" in name, b"\xfc" in name, header.get("SpecificCharacterSet")))
        ages.add((header.get("PatientAge", "absent")[3:], bool(header.PatientBirthDate)))
        syntaxes.add(header.file_meta.TransferSyntaxUID)
        unstated += "ViewPosition" not in header
        assert (header.AccessionNumber, header.StudyDate) == (row.accession, row.study_date.replace("-", ""))
    assert encodings == {
        (True, False, "ISO_IR 192"), (True, False, None), (False, True, "ISO_IR 100"), (False, True, None),
    }  # fmt: skip
    assert ages == {("Y", True), ("", False), ("ent", True)}
    assert syntaxes == set(pacs_export.SYNTAXES)
    assert unstated >= 8
    assert files["file"].str.endswith(".dcm").nunique() == 2


def test_two_exams_of_a_woman_differ(exams):
    histories = [(a, b) for a, b in pairwise(exams) if a.patient_id == b.patient_id]
    assert len(histories) == 5
    for earlier, later in histories:
        assert earlier.day < later.day and earlier.accession != later.accession
        assert earlier.birth_date == later.birth_date and earlier.woman.seed != later.woman.seed
        years = [(e.day - e.birth_date).days / 365.25 for e in (earlier, later)]
        assert [e.woman.age for e in (earlier, later)] == [int(y) for y in years]
    assert [(a.woman.bac, b.woman.bac) for a, b in histories].count((False, True)) == 1
    assert [len(a.views) for a, _ in histories].count(2) == 1
    women = {exam.patient_id: exam for exam in exams}
    assert len(women) == 20 and all(len(patient) == 8 for patient in women)
    drawn = draw_women(20, 1, 0.4)
    assert [exam.woman for exam in women.values()] == drawn  # the later exam is the woman as she was drawn
    assert [e.length_mm("R", "CC") for e in women.values()] == pytest.approx(
        [woman.length_mm("R", "CC") for woman in drawn], abs=0.05
    )


def test_findings_agree_with_the_ground_truth(exams, tmp_path):
    write_findings(exams, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf") and "Länge mm".encode() in text
    rows = {}
    for patient, _, accession, day, side, view, bac, length, _ in findings(exams):
        rows.setdefault((patient, accession, day), []).append((side, view, bac, length))
    for exam in exams:
        found = rows.pop((exam.patient_id, exam.accession, f"{exam.day:%d.%m.%Y}"), [])
        sides = {"beidseits": "RL", "rechts": "R", "links": "L"}
        views = {"": ("CC", "MLO"), "kranio-kaudal": ("CC",), "schräg": ("MLO",)}
        labels = {(s, v): (bac, mm) for side, view, bac, mm in found for s in sides[side] for v in views[view]}
        lengths = {key: exam.length_mm(*key) for key in exam.views}
        if exam.reported == "view":
            shown = {key: ("ja", f"{mm:.1f}".replace(".", ",")) if mm else ("nein", "") for key, mm in lengths.items()}
            assert labels == shown
        elif exam.reported == "breast":
            assert labels == {
                (s, v): ("ja" if lengths[s, "CC"] or lengths[s, "MLO"] else "nein", "") for s, v in FOUR_VIEWS
            }
        else:
            assert labels == (dict.fromkeys(FOUR_VIEWS, ("k.A.", "")) if exam.reported else {})
    assert not rows


def test_the_same_seed_gives_the_same_files(exams, tmp_path):
    exam = next(exam for exam in exams if "raw twin" in exam.extras)
    exam = replace(exam, views=FOUR_VIEWS[:1], extras=frozenset(pacs_export._EXTRAS))
    for name in "ab":
        rows = pacs_export._write_exam(exam, tmp_path / name, 2.0)
    for row in rows:
        assert (tmp_path / "a" / row["file"]).read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()
    assert len({row["file"] for row in rows}) == 1 + len(pacs_export._EXTRAS)
    other = draw_exams(draw_women(20, 2, 0.4), 2)
    assert not {exam.patient_id for exam in exams} & {exam.patient_id for exam in other}


def test_a_raw_twin_shows_the_same_breast(export):
    truth = pd.read_csv(export / "ground_truth.csv", dtype=str, keep_default_na=False)
    raw = truth[truth["content"] == "raw twin"].iloc[0]
    keys = ["accession", "laterality", "view"]
    (view,) = truth[(truth[keys] == raw[keys]).all(axis=1) & (truth["content"] == "view")]["file"]
    pixels = [read_mammogram(export / "export" / file).pixels for file in (raw["file"], view)]
    assert np.corrcoef(pixels[0].ravel(), pixels[1].ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("number", "spacing", "message"),
    [
        (12, 1.0, rf"women: got 2 BAC\+ and 10 BAC-, must be at least {LEAST[0]} and {LEAST[1]}"),
        (20, 3.0, r"pixel_spacing_mm: got 3.0, must lie in \[0.03, 2\]"),
    ],
)
def test_arguments_are_refused(tmp_path, number, spacing, message):
    with pytest.raises(ValueError, match=message):
        pacs_export.simulate_export(tmp_path / "x", number, 1, spacing)
    assert not (tmp_path / "x").exists()
