"""Summaries of a table of scores per view, breast and woman: cases worked out by hand."""

import re

import numpy as np
import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.scoring import batch as scoring
from bac_utils.scoring import summaries
from bac_utils.scoring.summaries import summarise_scores, write_summaries

EXAM = ["patient_id", "exam", "study_date"]
TOTALS = [
    "views", "skipped", "bac", "score_sum", "score_max", "bac_area_mm2_sum", "bac_area_mm2_max", "bac_length_mm_sum",
    "bac_length_mm_max", "breast_area_mm2_sum", "breast_area_mm2_max", "relative_length_mm_per_cm2",
    "relative_length_mm_per_cm2_max", "severity_sum", "severity_max",
]  # fmt: skip


def scored(
    patient_id, laterality, view, score, bac, area="", length="", breast="", reason="", exam="", date="", rank=0
):
    """Return the row of a scored view."""
    header = (patient_id, exam, date, laterality, view, rank)
    return (*header, "scored", reason, score, bac, area, length, "", breast, 0.004, 1.5)


def skipped(patient_id="", laterality="", view="", reason="unreadable", exam="", date=""):
    return (patient_id, exam, date, laterality, view, 0, "skipped", reason, "", "", "", "", "", "", "", 0.1)


WOMAN = [
    scored("007", "L", "CC", 0.875, 1, 8, 20, 10000),
    scored("007", "L", "MLO", 0.75, 1, 12.5, 40, 15000),
    scored("007", "R", "CC", 0.25, 0, 0, 0, 8000),
    scored("007", "R", "MLO", 0.625, 1, 2, 3, 12000),
]


def write(path, rows):
    """Write a table as `score` does, and return its path."""
    frame = pd.DataFrame([(f"{i}.dcm", *row) for i, row in enumerate(rows)], columns=scoring.COLUMNS)
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def summary(tmp_path):
    """Return a function that summarises rows."""
    return lambda rows: summarise_scores(write(tmp_path / "scores.csv", rows))


def test_a_woman_worked_out_by_hand(summary):
    found = summary(WOMAN)
    assert found.views.to_numpy().tolist() == [
        ["007", "", "", "L", "CC", 1, 1, 0.875, 8, 20, 10000, 0.2, "mild"],  # 20 mm in 100 cm2
        ["007", "", "", "L", "MLO", 1, 1, 0.75, 12.5, 40, 15000, pytest.approx(4 / 15), "moderate"],
        ["007", "", "", "R", "CC", 1, 0, 0.25, 0, 0, 8000, 0, "zero"],
        ["007", "", "", "R", "MLO", 1, 1, 0.625, 2, 3, 12000, 0.025, "mild"],
    ]
    left = [2, 0, 1, 1.625, 0.875, 20.5, 12.5, 60, 40, 25000, 15000, 0.24, pytest.approx(4 / 15)]
    right = [2, 0, 1, 0.875, 0.625, 2, 2, 3, 3, 20000, 12000, 0.015, 0.025]
    assert found.breasts.to_numpy().tolist() == [
        ["007", "", "", "L", *left, "moderate", "moderate"],
        ["007", "", "", "R", *right, "mild", "mild"],
    ]
    both = [4, 0, 1, 2.5, 0.875, 22.5, 12.5, 63, 40, 45000, 15000, pytest.approx(0.14), pytest.approx(4 / 15)]
    assert found.exams.to_numpy().tolist() == [["007", "", "", *both, "moderate", "moderate"]]
    assert found.women.to_numpy().tolist() == [["007", "", "", 1, *both, "moderate", "moderate"]]
    assert found.exams.columns.tolist() == [*EXAM, *TOTALS]
    assert found.women.columns.tolist() == [*EXAM, "exams", *TOTALS]
    assert found.breasts.columns.tolist() == [*EXAM, "laterality", *TOTALS]
    assert found.notes == ()


def test_sum_and_largest_may_be_of_different_classes(summary):
    found = summary([scored("1", "L", view, 0.9, 1, area, 5, 1e4) for view, area in (("CC", 10), ("MLO", 15.5))])
    assert found.women[["severity_sum", "severity_max"]].to_numpy().tolist() == [["severe", "moderate"]]
    assert found.views["severity"].tolist() == ["mild", "moderate"]


def test_missing_views_and_skipped_files_are_counted(summary):
    rows = [
        *WOMAN[:3],
        skipped("007", "R", "MLO", "no_breast"),
        skipped("007", "R", "CC", "duplicate"),  # a copy does not mean a missing view
        skipped("007", "", "", "no_breast"),  # side unknown
        skipped("9", "L", "CC", "no_breast"),
        skipped(),
    ]
    found = summary(rows)
    assert found.women[["patient_id", "views", "skipped"]].to_numpy().tolist() == [["007", 3, 2]]
    assert found.breasts[["laterality", "views", "skipped"]].to_numpy().tolist() == [["L", 2, 0], ["R", 1, 1]]
    assert found.notes == (
        "excluded, skipped by score: 5",
        "women in no table because all their files were skipped: 1",
        "women with fewer than 4 views: 1",
    )


def test_a_repeated_exposure_is_not_added_twice(summary):
    """The largest value of each column: one repeat has no spacing, the other shows less of the breast."""
    again = [
        scored("007", "L", "CC", 0.95, 1, reason="no_pixel_spacing"),
        scored("007", "R", "MLO", 0.5, 1, 4, 2, 9000),
    ]
    found = summary([*WOMAN, *again])
    views = found.views.set_index(["laterality", "view"])
    assert views["images"].tolist() == [2, 1, 1, 2]
    assert views.loc[("L", "CC")].tolist() == ["007", "", "", 2, 1, 0.95, 8, 20, 10000, 0.2, "mild"]
    assert views.loc[("R", "MLO")].tolist() == ["007", "", "", 2, 1, 0.625, 4, 3, 12000, 0.025, "mild"]
    (woman,) = found.women.to_dict("records")
    assert (woman["views"], woman["bac_area_mm2_sum"], woman["bac_length_mm_sum"]) == (4, 24.5, 63)
    assert woman["score_sum"] == pytest.approx(0.95 + 0.75 + 0.25 + 0.625)
    assert found.breasts["bac"].tolist() == [1, 1]
    assert found.notes == ("additional images of a view, of which the largest values are taken: 2",)


@pytest.mark.parametrize("reason", ["no_artery_traced", "no_pixel_spacing"])
def test_a_repeat_that_is_bac_negative_does_not_make_an_unknown_length_0(summary, reason):
    breast = 10000 if reason == "no_artery_traced" else ""
    pair = [scored("1", "L", "CC", 0.25, 0, 0, 0, 10000), scored("1", "L", "CC", 0.75, 1, "", "", breast, reason)]
    for rows in (pair, pair[::-1]):
        found = summary(rows)
        (view,) = found.views.to_dict("records")
        assert (view["images"], view["bac"], view["score"], view["severity"]) == (2, 1, 0.75, "")
        assert np.isnan([view[name] for name in ("bac_area_mm2", "bac_length_mm", "relative_length_mm_per_cm2")]).all()
        assert np.isnan(found.women.loc[0, "bac_length_mm_sum"])
        assert sum(note.startswith(UNKNOWN[reason]) for note in found.notes) == 1


def test_images_without_side_or_view_count_separately(summary):
    """Two images without a side are more likely left and right than repeats."""
    rows = [
        scored("1", "L", "CC", 0.5, 1, 1, 10, 10000),
        scored("1", "L", "", 0.5, 1, 1, 10, 10000),
        scored("1", "L", "", 0.5, 1, 1, 10, 10000),
        scored("1", "", "MLO", 0.5, 1, 1, 10, 10000),
        scored("1", "", "MLO", 0.5, 1, 1, 10, 10000),
        scored("", "L", "CC", 0.5, 1, 99, 99, 10000),
    ]
    found = summary(rows)
    assert found.women[["views", "bac_length_mm_sum"]].to_numpy().tolist() == [[5, 50]]
    assert found.breasts[["laterality", "views", "bac_length_mm_sum"]].to_numpy().tolist() == [["L", 3, 30]]
    assert found.views["images"].tolist() == [1] * 5
    assert found.notes == (
        "excluded, no patient_id: 1",
        "views without a stated side or view, each counted as a separate view: 4",
        "of these, assigned to no breast: 2",
    )


EFFECT = "their breasts and exams have no area and no length"
UNKNOWN = {
    "no_pixel_spacing": f"views without a pixel spacing ({EFFECT})",
    "no_artery_traced": f"BAC+ views in which no artery could be traced ({EFFECT})",
}


@pytest.mark.parametrize("reason", list(UNKNOWN))
def test_a_view_without_measures_makes_the_sums_unknown(summary, reason):
    """A sum over the other views would be too small. The breast's area is known without an artery."""
    breast = 12000 if reason == "no_artery_traced" else ""
    found = summary([*WOMAN[:3], scored("007", "R", "MLO", 0.75, 1, "", "", breast, reason)])
    (woman,) = found.women.to_dict("records")
    assert (woman["views"], woman["bac"], woman["score_sum"]) == (4, 1, 2.625)
    unknown = [name for name in TOTALS[5:13] if not (breast and name.startswith("breast"))]
    assert np.isnan([woman[name] for name in unknown]).all()
    if breast:
        assert (woman["breast_area_mm2_sum"], woman["breast_area_mm2_max"]) == (45000, 15000)
    assert woman["severity_sum"] == woman["severity_max"] == ""
    left, right = found.breasts.to_dict("records")
    assert left["bac_length_mm_sum"] == 60 and np.isnan(right["bac_length_mm_sum"])
    assert found.notes == (f"{UNKNOWN[reason]}: 1",)


def test_both_kinds_of_views_without_measures_are_counted_apart(summary):
    rows = [scored("1", "L", view, 0.75, 1, reason="no_pixel_spacing") for view in ("CC", "MLO")]
    found = summary([*rows, scored("2", "L", "CC", 0.75, 1, "", "", 9000, "no_artery_traced")])
    counts = (f"{UNKNOWN['no_pixel_spacing']}: 2", f"{UNKNOWN['no_artery_traced']}: 1")
    assert found.notes == (*counts, "women with fewer than 4 views: 2")


def test_views_without_a_side_belong_to_a_woman_and_no_breast(summary):
    found = summary([scored("1", "", "CC", 0.5, 1, 1, 10, 10000)])
    assert len(found.women) == 1 and found.breasts.columns.tolist() == [*EXAM, "laterality", *TOTALS]
    assert found.breasts.empty


MARCH, SEPTEMBER = {"exam": "A-31", "date": "2023-03-07"}, {"exam": "A-94", "date": "2023-09-12"}


def test_a_march_view_and_a_september_view_are_two_exams(summary):
    """L CC of March has 20 mm; R CC and L CC of September have 3 and 50 mm: never 23 mm, and never one breast of 70."""
    rows = [
        scored("007", "R", "CC", 0.625, 1, 2, 3, 12000, **SEPTEMBER),
        scored("007", "L", "CC", 0.875, 1, 8, 20, 10000, **MARCH),
        scored("007", "L", "CC", 0.75, 1, 30, 50, 10000, **SEPTEMBER),
        skipped("007", "R", "CC", "no_breast", **MARCH),
        scored("008", "L", "CC", 0.25, 0, 0, 0, 9000, **MARCH),  # another woman's exam of the same name
    ]
    for ordered in (rows, rows[::-1]):
        found = summary(ordered)
        assert found.views[[*EXAM, "laterality", "bac_length_mm"]].to_numpy().tolist() == [
            ["007", "A-31", "2023-03-07", "L", 20],
            ["007", "A-94", "2023-09-12", "L", 50],
            ["007", "A-94", "2023-09-12", "R", 3],
            ["008", "A-31", "2023-03-07", "L", 0],
        ]
        assert found.breasts[
            ["patient_id", "exam", "laterality", "skipped", "bac_length_mm_sum"]
        ].to_numpy().tolist() == [
            ["007", "A-31", "L", 0, 20],
            ["007", "A-94", "L", 0, 50],
            ["007", "A-94", "R", 0, 3],
            ["008", "A-31", "L", 0, 0],
        ]
        totals = ["views", "skipped", "bac_length_mm_sum", "bac_area_mm2_max", "severity_sum"]
        assert found.exams[[*EXAM, *totals]].to_numpy().tolist() == [
            ["007", "A-31", "2023-03-07", 1, 1, 20, 8, "mild"],
            ["007", "A-94", "2023-09-12", 2, 0, 53, 30, "severe"],
            ["008", "A-31", "2023-03-07", 1, 0, 0, 0, "zero"],
        ]
        women = found.women[["patient_id", "exam", "exams", "views", "bac_length_mm_sum"]]
        assert women.to_numpy().tolist() == [["007", "A-94", 2, 2, 53], ["008", "A-31", 1, 1, 0]]  # most views
        assert found.notes == (
            "excluded, skipped by score: 1",
            "women with several exams, of which by_woman.csv has one: 1",
            "women with fewer than 4 views: 2",
        )


def test_of_two_complete_exams_the_first_stands_for_the_woman(summary):
    late, early = ([(row[0], exam, date, *row[3:]) for row in WOMAN]
                   for exam, date in (("1", "2023-09-12"), ("2", "2023-03-07")))  # fmt: skip
    undated = [(row[0], "0", "", *row[3:]) for row in WOMAN]
    (woman,) = summary([*undated, *late, *early]).women.to_dict("records")
    assert [woman[name] for name in (*EXAM, "exams", "views", "bac_length_mm_sum")] == [
        "007", "2", "2023-03-07", 3, 4, 63
    ]  # fmt: skip


def test_one_accession_number_with_two_dates_is_two_exams(summary):
    """A tool has written one number for all. A row without a date may belong to either, and stays apart."""
    rows = [
        scored("1", "L", "CC", 0.5, 1, 1, 10, 10000, exam="X9", date=date) for date in ("2021-05-04", "2023-05-02", "")
    ]
    found = summary(rows)
    assert found.exams["exam"].tolist() == ["X9", "X9 2021-05-04", "X9 2023-05-02"]
    found = summary([rows[0], scored("1", "L", "MLO", 0.5, 1, 1, 7, 10000, exam="X9")])  # one date: it is hers
    assert found.exams[["exam", "study_date", "bac_length_mm_sum"]].to_numpy().tolist() == [["X9", "2021-05-04", 17]]
    found = summary([scored("1", "L", "CC", 0.5, 1, 1, 10, 10000, date=date) for date in ("2021-05-04", "2023-05-02")])
    assert found.exams["exam"].tolist() == ["2021-05-04", "2023-05-02"]


def test_images_without_an_exam_are_not_added_to_one(summary):
    found = summary(
        [scored("1", "L", "CC", 0.5, 1, 1, 10, 10000, **MARCH), scored("1", "L", "CC", 0.5, 1, 1, 9, 10000)]
    )
    assert found.exams[["exam", "bac_length_mm_sum"]].to_numpy().tolist() == [["", 9], ["A-31", 10]]
    note = "of these, with images that state no exam, which count as an exam of their own: 1"
    assert note in found.notes


@pytest.mark.parametrize("order", [1, -1])
def test_for_presentation_wins_over_its_raw_twin(summary, order):
    """The raw twins (rank 16) and a derived one (4) have larger values, and do not count; a raw view alone does."""
    twins = [
        scored("007", "L", "CC", 0.95, 1, 99, 99, 11000, rank=16),
        scored("007", "R", "CC", 0.95, 1, 99, 99, 11000, rank=4),
        scored("007", "R", "CC", 0.95, 1, 99, 99, 11000, rank=16),
        scored("007", "L", "CC", 0.95, 1, 99, 99, 11000, rank=16, **MARCH),  # another exam, without a twin
    ]
    found = summary([*WOMAN, *twins][::order])
    assert found.views.groupby("exam")["bac_length_mm"].agg(list).to_dict() == {"": [20, 40, 0, 3], "A-31": [99]}
    assert found.views["images"].tolist() == [1] * 5
    assert found.notes[0] == "not used, raw or derived image of a view with a better one: 3"


def test_a_table_without_exams_is_read_with_a_note(tmp_path, summary):
    whole = summary(WOMAN)
    old = pd.read_csv(tmp_path / "scores.csv", dtype=str, keep_default_na=False).drop(columns=list(summaries.OPTIONAL))
    old.to_csv(tmp_path / "old.csv", index=False)
    found = summarise_scores(tmp_path / "old.csv")
    pd.testing.assert_frame_equal(found.women, whole.women)
    (note,) = found.notes
    assert note.startswith("the table states no exams (columns exam, study_date)")


@pytest.mark.parametrize("date", ["3/7/2023", "2023-02-30", "2023-3-7"])
def test_a_date_that_may_be_another_is_refused(summary, date):
    with pytest.raises(ValueError, match=rf"row 2, column 'study_date': got {date}, must be a date such as 2023-03-05"):
        summary([scored("1", "L", "CC", 0.5, 1, 1, 10, 10000, date=date)])


def test_files_contain_the_tables(tmp_path):
    found = write_summaries(write(tmp_path / "scores.csv", WOMAN), tmp_path / "new" / "out")
    for name in ("view", "breast", "exam", "woman"):
        table = getattr(found, {"woman": "women"}.get(name, f"{name}s"))
        texts = dict.fromkeys(EXAM, str)
        read = pd.read_csv(tmp_path / "new" / "out" / f"by_{name}.csv", dtype=texts).fillna(dict.fromkeys(EXAM, ""))
        pd.testing.assert_frame_equal(read, table, check_dtype=False, rtol=1e-5)
    assert (tmp_path / "new" / "out" / "by_woman.csv").read_text().splitlines()[1] == (
        "007,,,1,4,0,1,2.5,0.875,22.5,12.5,63,40,45000,15000,0.14,0.266667,moderate,moderate"
    )


def test_existing_tables_are_kept(tmp_path):
    source, out = write(tmp_path / "scores.csv", WOMAN), tmp_path / "out"
    out.mkdir()
    (out / "by_woman.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"by_woman.csv already exists: choose another folder"):
        write_summaries(source, out)
    assert [path.name for path in out.iterdir()] == ["by_woman.csv"]
    write_summaries(source, out, overwrite=True)
    assert (out / "by_woman.csv").read_text().startswith("patient_id,exam,study_date,exams,views")


def test_odd_identifiers_are_kept(tmp_path, summary):
    """As `score` writes them: a line break as two characters, and undecodable bytes as U+FFFD."""
    for name in ("00012", "NA", "a\\nb", 'x,"y"', "\ufffd?", "Ä b"):
        assert summary([(name, *row[1:]) for row in WOMAN]).women["patient_id"].tolist() == [name]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((*WOMAN[0][:6], "done", *WOMAN[0][7:]), r"row 3, column 'status': got done, must be SCORED or SKIPPED"),
        (scored("1", "B", "CC", 0.5, 1), r"row 3, column 'laterality': got B, must be L or R or empty"),
        (scored("1", "L", "LM", 0.5, 1), r"row 3, column 'view': got LM, must be CC or MLO or empty"),
        (scored("1", "L", "CC", 1.5, 1), r"row 3, column 'score': got 1.5, must be a number from 0 to 1"),
        (scored("1", "L", "CC", "", 1), r"row 3, column 'score': got nothing, must not be empty in a scored row"),
        (scored("1", "L", "CC", 0.5, ""), r"row 3, column 'bac': got nothing, must not be empty in a scored row"),
        (scored("1", "L", "CC", 0.5, 2), r"row 3, column 'bac': got 2, must be 0 or 1"),
        (scored("1", "L", "CC", 0.5, 1, -1), r"column 'bac_area_mm2': got -1, must be a number, 0 or more, or empty"),
        (scored("1", "L", "CC", 0.5, 1, 1, "inf"), r"column 'bac_length_mm': got inf, must be a number, 0 or more"),
        (scored("1", "L", "CC", 0.1, 0, 2, 0), r"column 'bac_area_mm2': got 2, must be 0 or empty where bac is 0"),
        (scored("1", "L", "CC", 0.1, 0, 0, 3), r"column 'bac_length_mm': got 3, must be 0 or empty where bac is 0"),
        (scored("1", "L", "CC", 0.9, 1, 8, 0), r"'bac_length_mm': got 0, must be above 0 or empty where bac is 1"),
        (scored("1", "L", "CC", 0.5, 1, 1, 1, 0), r"column 'breast_area_mm2': got 0, must be a positive number or"),
    ],
)
def test_a_cell_that_breaks_its_rule_is_named(summary, row, words):
    with pytest.raises(ValueError, match=r"scores.csv .*" + words):
        summary([WOMAN[0], row])


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["1.23457E+11"] * 3, "must be written with all its digits"),
        (["1,23457E+11", "12"], "must be written with all its digits"),
        (["1.2e+15"], "must be written with all its digits"),
        (["1234567890123450"] * 3, "must not, like all long numbers here, end in zeros after 15 digits"),
        (["20230000000012000", "20230000000013000"], "must not, like all long numbers here, end in zeros"),
        (["########"], "must be an identifier"),
    ],
)
def test_identifiers_that_a_spreadsheet_rounded_are_refused(summary, ids, words):
    """Three women would otherwise become one."""
    rows = [(name, *row[1:]) for name in ids for row in WOMAN]
    with pytest.raises(ValueError, match=rf"scores.csv row 2, column 'patient_id': got {re.escape(ids[0])}, {words}"):
        summary(rows)


def test_long_identifiers_with_all_their_digits(summary):
    ids = ["1234567890123450", "1234567890123451", "1234567890123452"]
    assert summary([(name, *row[1:]) for name in ids for row in WOMAN]).women["patient_id"].tolist() == ids
    assert len(summary([("1234567890123450", *row[1:]) for row in WOMAN]).women) == 1


def test_a_table_saved_by_a_german_spreadsheet_program(tmp_path, summary):
    found = summary(WOMAN)
    frame = pd.read_csv(tmp_path / "scores.csv", dtype=str, keep_default_na=False)
    german = frame.apply(
        lambda cells: cells.str.replace(".", ",") if cells.name not in ("file", "patient_id") else cells
    )
    german.to_csv(tmp_path / "de.csv", sep=";", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    pd.testing.assert_frame_equal(summarise_scores(tmp_path / "de.csv").women, found.women)


def test_all_broken_cells_are_named_at_once(summary):
    rows = [WOMAN[0], scored("1", "B", "LM", 1.5, 1), scored("1E+05", "L", "CC", "", 2)]
    with pytest.raises(ValueError) as caught:
        summary(rows)
    places = [line.split(":")[0].removeprefix("scores.csv ") for line in str(caught.value).splitlines()[:-1]]
    assert places == [
        *(f"row 3, column '{name}'" for name in ("laterality", "score", "view")),
        *(f"row 4, column '{name}'" for name in ("bac", "patient_id", "score")),
    ]


def test_tables_that_cannot_be_summarised(tmp_path, summary):
    with pytest.raises(FileNotFoundError, match="must be an existing CSV file"):
        summarise_scores(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"got no usable row \(1 skipped by score, 1 no patient_id\), must have"):
        summary([skipped("1"), scored("", "L", "CC", 0.5, 1)])
    path = write(tmp_path / "scores.csv", WOMAN)
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("12000") - 3])  # as left by a batch that was stopped while writing a row
    with pytest.raises(ValueError, match=r"row 5: got 13 cells, must have 17 like the first row"):
        summarise_scores(path)
    pd.read_csv(path, nrows=2).drop(columns="breast_area_mm2").to_csv(path, index=False)
    with pytest.raises(ValueError, match="column 'breast_area_mm2': missing, must occur once"):
        summarise_scores(path)
    path.write_text(",".join(scoring.COLUMNS) + "\n")
    with pytest.raises(ValueError, match="got no rows"):
        summarise_scores(path)


def test_only_columns_of_scores_are_read():
    assert {*summaries.READ, *summaries.OPTIONAL} < set(scoring.COLUMNS)


def test_command(tmp_path):
    words = ["summarise", write(tmp_path / "scores.csv", [*WOMAN[:3], skipped()]), "--output", tmp_path / "out"]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == f"women: 1, exams: 1, breasts: 2, views: 3, written to {tmp_path / 'out'}"
    assert lines[1:] == ["excluded, skipped by score: 1", "women with fewer than 4 views: 1"]
    again = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert again.exit_code == 1 and "already exists" in again.output
    assert CliRunner().invoke(cli.app, [str(word) for word in [*words, "--overwrite"]]).exit_code == 0


def test_a_workbook_for_spreadsheets_on_request(tmp_path):
    woman = [("=1+1", *row[1:]) for row in WOMAN]
    words = ["summarise", write(tmp_path / "scores.csv", woman), "--output", tmp_path / "out"]
    result = CliRunner().invoke(cli.app, [*map(str, words), "--spreadsheet"])
    assert result.exit_code == 0, result.output
    book = openpyxl.load_workbook(tmp_path / "out" / "summaries.xlsx")
    assert book.sheetnames == ["by_view", "by_breast", "by_exam", "by_woman"]
    cell = book["by_woman"]["A2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")
    again = CliRunner().invoke(cli.app, [*map(str, words), "--spreadsheet"])
    assert again.exit_code == 1 and "already exists" in again.output
