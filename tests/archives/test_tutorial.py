"""The tutorial's commands lead from a simulated export to the right views table; the page shows what they print."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.archives.dicom_folder import DERIVED_TWIN, RAW_TWIN
from bac_utils.archives.exams import FEWER_VIEWS, NO_LABEL, ORDER
from bac_utils.views_table import read_views

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMAND = ".venv/bin/python -m bac_utils "
COMMANDS = [text for _, text in BLOCKS if text.startswith(COMMAND)]
OUTPUTS = [text for kind, text in BLOCKS if kind == "text"]
(MAPPING,) = (text for kind, text in BLOCKS if kind == "yaml")
UNIT = ["patient_id", "accession"]


def call(command):
    words = shlex.split(command.replace("\\\n", " ").removeprefix(COMMAND))
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """Follow the page up to `run`; return the folder and what each command printed."""
    folder, patch = tmp_path_factory.mktemp("tutorial"), pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        simulate, dry_run, views, run = COMMANDS
        printed = [call(simulate), call(dry_run)]
        (folder / "proposed.yaml").write_bytes((folder / "mapping.yaml").read_bytes())
        (folder / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
        printed.append(call(views))
        assert run.startswith(f"{COMMAND}run --cohort views.csv ")
    finally:
        patch.undo()
    return folder, printed


@pytest.fixture(scope="module")
def truth(tutorial):
    found = pd.read_csv(tutorial[0] / "pacs/ground_truth.csv", dtype={"patient_id": str})
    return found.assign(image="pacs/export/" + found["file"])


@pytest.fixture(scope="module")
def table(tutorial, truth):
    return with_truth(tutorial[0] / "views.csv", truth)


def test_the_page_shows_what_the_commands_print(tutorial):
    assert len(OUTPUTS) == 3
    for shown, printed in zip(OUTPUTS, tutorial[1], strict=True):
        parts = [r"(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in shown.splitlines()]
        assert re.fullmatch("".join(parts), printed), printed


def test_the_page_shows_the_table(tutorial):
    (shown,) = (text for kind, text in BLOCKS if kind == "csv")
    assert (tutorial[0] / "pacs/befunde.csv").read_text(encoding="utf-8-sig").startswith(shown)


def test_two_commands_and_the_decisions_in_the_mapping_are_enough(tutorial):
    verbs = [command.removeprefix(COMMAND).split()[0] for command in COMMANDS]
    assert verbs == ["simulate", "views", "views", "run"]
    proposed = (tutorial[0] / "proposed.yaml").read_text(encoding="utf-8").splitlines()
    lines = [line for line in proposed if not line.startswith("#")]
    decided = [pair for pair in zip(lines, MAPPING.splitlines(), strict=True) if pair[0] != pair[1]]
    assert decided == [("    bac: '?'", "    bac: Verkalkung"), ("      '': '?'", "      '': CC+MLO")]


def exams_of(truth):
    """Return one row per exam: what the export has of it, its number, and whether it is the one to take of its woman.

    The one with most of the four views is taken, of these a labelled one, of these the earliest.
    """
    views = truth[truth["content"] == "view"]
    exams = views.groupby([*UNIT, "study_date"]).agg(
        views=("file", "size"), bac=("bac", "max"), reported=("reported", "first")
    )
    exams = exams.reset_index().assign(labelled=lambda table: table["reported"].isin(["view", "breast"]))
    exams["number"] = exams.groupby("patient_id")["study_date"].rank().astype(int).astype(str)
    order = exams.sort_values(["views", "labelled", "study_date"], ascending=[False, False, True])
    return exams.assign(taken=~order.duplicated("patient_id"))


def check_labels(table):
    """Compare labels, lengths and levels of views with those of the readers."""
    of_breast = table.groupby(["accession", "laterality"])["bac_true"].transform("max")
    for row, breast in zip(table.itertuples(), of_breast, strict=True):
        if row.reported in ("view", "breast"):
            assert row.bac == (row.bac_true if row.reported == "view" else breast)
        else:
            assert pd.isna(row.bac) and row.label_level == ""
        if row.reported == "view" and row.bac_true:
            assert row.bac_length_mm == pytest.approx(row.bac_length_mm_true) and row.label_level == "view"
        else:
            assert pd.isna(row.bac_length_mm) or row.bac_length_mm == row.bac == 0
        if row.reported == "breast":
            assert row.label_level == "breast"


def with_truth(path, truth):
    """Return a views table with the ground truth of each image beside it (`_true`)."""
    views = read_views(path, check_images=True)
    return views.merge(truth, on="image", how="left", suffixes=("", "_true"), validate="one_to_one")


def test_the_right_women_exams_and_views(table, truth):
    exams = exams_of(truth)
    wanted = truth[truth["content"] == "view"].merge(exams[exams["taken"]][UNIT], on=UNIT)
    keys = [*UNIT, "laterality", "view"]
    assert table["content"].isin(["view", "duplicate"]).all()
    found = table.drop(columns="patient_id").rename(columns={"patient_id_true": "patient_id"})
    assert sorted(found[keys].itertuples(index=False)) == sorted(wanted[keys].itertuples(index=False))
    assert (table["laterality"] == table["laterality_true"]).all() and (table["view"] == table["view_true"]).all()
    assert (table["age"] == table["age_true"]).all()
    numbers = found.merge(exams, on=UNIT)
    assert len(numbers) == len(table) and (numbers["exam"] == numbers["number"]).all()
    pairs = table[["patient_id", "patient_id_true"]].drop_duplicates()
    assert pairs["patient_id"].is_unique and pairs["patient_id_true"].is_unique
    assert set(pairs["patient_id"]) == {f"W{number:04d}" for number in range(1, len(pairs) + 1)}


def test_labels_and_lengths_are_those_of_the_readers(table):
    assert set(table["reported"].dropna()) == {"view", "breast", "unknown"}
    assert table["bac"].eq(1).sum() > 15 and table["bac"].eq(0).sum() > 30 and table["bac"].isna().sum() == 8
    check_labels(table)


def test_no_label_lands_on_another_exam(tutorial, table, truth, monkeypatch):
    """With all exams in the table, each keeps its own labels, also where only the later exam has any."""
    exams = exams_of(truth)
    two = exams[exams["patient_id"].duplicated(keep=False)].sort_values(["patient_id", "study_date"])
    histories = two.groupby("patient_id").agg({"bac": tuple, "taken": tuple, "labelled": tuple, "views": tuple})
    assert sorted(histories.itertuples(index=False, name=None)) == [
        ((0, 0), (True, False), (True, True), (4, 4)),
        ((0, 1), (True, False), (True, True), (4, 4)),
        ((1, 1), (False, True), (False, True), (4, 4)),
        ((1, 1), (False, True), (True, True), (2, 4)),
        ((1, 1), (True, False), (True, True), (4, 4)),
    ]
    changed = histories.index[histories["bac"] == (0, 1)]
    assert (table["bac"][table["patient_id_true"].isin(changed)] == 0).all()
    monkeypatch.chdir(tutorial[0])
    call(f"{COMMANDS[2].strip()} --exam all".replace("views.csv", "all.csv"))
    every = with_truth("all.csv", truth)
    assert len(every) == (truth["content"] == "view").sum()
    check_labels(every)


def test_excluded_files_are_listed_with_their_reason(tutorial, table, truth):
    listed = pd.read_csv(tutorial[0] / "views.inclusion.csv", dtype=str, keep_default_na=False)
    assert sorted(listed["image"]) == sorted(truth["image"])
    listed = listed.merge(truth, on="image", suffixes=("", "_true"))
    used = set(table["image"])
    assert set(listed["image"][listed["reason"] == ""]) == used
    reasons = {}
    for row in listed[~listed["image"].isin(used)].itertuples():
        reasons.setdefault(row.content, set()).add(row.reason)
    same = reasons.pop("duplicate", set()) | reasons["view"]
    assert "duplicate" in same
    assert reasons.pop("view") - {"duplicate"} == {FEWER_VIEWS, NO_LABEL, ORDER["first"]}
    assert reasons == {
        "implant": {"implant"},
        "truncated": {"truncated"},
        "spot view": {"spot_or_magnification"},
        "text card": {"secondary_capture"},
        "CT image": {"not_mammography"},
        "dose report": {"not_mammography"},
        "directory": {"not_mammography"},
        "picture": {"unknown_side"},
        "other file": {"not_an_image"},
        "raw twin": {RAW_TWIN},
        "derived copy": {DERIVED_TWIN},
    }


def test_an_excel_file_gives_the_same_views(tutorial, monkeypatch):
    folder, _ = tutorial
    monkeypatch.chdir(folder)
    book = Workbook()
    for line in (folder / "pacs/befunde.csv").read_text(encoding="utf-8-sig").splitlines():
        book.active.append([cell or None for cell in line.split(";")])
    for row in book.active.iter_rows(min_row=3):
        if row[7].value:
            row[7].value = float(row[7].value.replace(",", "."))
    book.save("befunde.xlsx")
    call(COMMANDS[2].replace("pacs/befunde.csv", "befunde.xlsx").replace("views.csv", "excel.csv"))
    assert Path("excel.csv").read_bytes() == Path("views.csv").read_bytes()
