"""What looks odd in a table of scores: hand-made tables, each limit on both sides."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.scoring.journal import COLUMNS
from bac_utils.scoring.sanity import MEASURED, USED, find_oddities, write_report

VIEWS = [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]


def plain(women=30, positive=3):
    """Return the rows of women with four views each; the views of the first `positive` women are BAC+."""
    scores = np.linspace(0.001, 0.4, 4 * women)
    rows = [
        {
            "file": f"{woman:02}_{side}_{view}.dcm", "patient_id": f"W{woman}", "laterality": side, "view": view,
            "status": "scored", "reason": "", "score": f"{scores[4 * woman + i]:.6g}", "bac": "0",
            "bac_area_mm2": "0", "bac_length_mm": "0", "bac_width_mm": "0",
            "breast_area_mm2": f"{15000 + 10 * woman + i}", "saturated_share": "0.004", "elapsed_s": "1.5",
        }
        for woman in range(women)
        for i, (side, view) in enumerate(VIEWS)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=str).fillna("")
    table.loc[: 4 * positive - 1, ["bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm"]] = ["1", "80", "40", "2"]
    return table


def change(table, rows, **cells):
    """Return a table with other cells in some rows (labels)."""
    table = table.copy()
    table.loc[rows, list(cells)] = list(cells.values())
    return table


def skipped(number, reason="conflict", start=0):
    """Return rows of skipped files."""
    rows = [{"file": f"s{start + i}.dcm", "status": "skipped", "reason": reason} for i in range(number)]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str).fillna("")


def kinds(table, **options):
    """Return the count of each kind."""
    return {finding.kind: finding.count for finding in find_oddities(table, **options)}


def test_nothing_odd():
    assert find_oddities(plain()) == []
    assert find_oddities(plain()[:0]) == []


@pytest.mark.parametrize(
    ("kind", "column", "good", "odd"),
    [
        ("breast size", "breast_area_mm2", "2000", "1999"),  # 20 cm2
        ("breast size", "breast_area_mm2", "60000", "60001"),
        ("length", "bac_length_mm", "600", "600.1"),
        ("width", "bac_width_mm", "0.5", "0.49"),
        ("width", "bac_width_mm", "6", "6.01"),
        ("area", "bac_area_mm2", "1500", "1500.1"),  # of 15,000 mm2
        ("no pixel spacing", "breast_area_mm2", "15000.5", ""),
        ("saturated grey levels", "saturated_share", "0.02", "0.0201"),
    ],
)
def test_sizes(kind, column, good, odd):
    table = plain().assign(bac_area_mm2=lambda t: t["bac_area_mm2"].replace("80", "20"))
    assert kinds(change(table, 0, **{column: good})) == {}
    assert kinds(change(table, 0, **{column: odd})) == {kind: 1}


def test_a_view_without_measures_has_only_no_spacing():
    unknown = dict.fromkeys(MEASURED, "") | {"reason": "no_pixel_spacing"}
    assert kinds(change(plain(), [0, 5, 119], **unknown)) == {"no pixel spacing": 3}


def test_reasons_for_a_spacing_that_is_not_used_are_listed_one_by_one():
    unknown = dict.fromkeys(MEASURED, "")
    table = change(plain(), [0, 5], **unknown, reason="spacing_contradicts_field_of_view")
    table = change(table, [119], **unknown, reason="spacing_impossible_breast")
    found = {finding.kind: str(finding) for finding in find_oddities(table)}
    assert list(found) == ["spacing contradicts field of view", "spacing impossible breast"]
    assert found["spacing contradicts field of view"] == (
        "spacing contradicts field of view (2): the stated pixel spacing is not used, and nothing is given in mm "
        "(docs/facts.md, Sizes in mm). First: 00_L_CC.dcm, 01_L_MLO.dcm"
    )


@pytest.mark.parametrize(("cm2", "odd"), [(59.9, True), (60, False), (350, False), (350.1, True)])
def test_median_breast_area_needs_20_views(cm2, odd):
    table = plain(5).assign(breast_area_mm2=[f"{100 * cm2 + share:.9g}" for share in np.linspace(-1, 1, 20)])
    assert kinds(table) == ({"breast size of the archive": 20} if odd else {})
    assert kinds(table[:19]) == {"women without all four views": 1}


def test_spacing_wrong_by_a_factor_of_two_in_the_whole_archive():
    for factor in (0.25, 4):
        areas = plain()["breast_area_mm2"].astype(float) * 1.14 * factor  # 171 cm2, the published median
        assert kinds(plain().assign(breast_area_mm2=areas.map("{:g}".format)))["breast size of the archive"] == 120


@pytest.mark.parametrize(
    ("positive", "untraced", "odd"),
    [(25, 5, False), (25, 6, True), (24, 5, True), (10, 4, False), (10, 5, True)],  # above 20 %, 5 or more
)
def test_arteries_not_traced(positive, untraced, odd):
    table = change(plain(positive=0), range(positive), bac="1", bac_area_mm2="20", bac_length_mm="10", bac_width_mm="2")
    empty = {"bac_area_mm2": "", "bac_length_mm": "", "bac_width_mm": ""}
    table = change(table, range(untraced), reason="no_artery_traced", **empty)
    assert kinds(table) == ({"no artery traced": untraced} if odd else {})


@pytest.mark.parametrize(("positive", "odd"), [(0, True), (1, False), (30, False), (31, True)])
def test_share_of_positive_views(positive, odd):
    table = change(plain(25, 0), range(positive), bac="1", bac_area_mm2="20", bac_length_mm="10", bac_width_mm="2")
    assert kinds(table) == ({"share of BAC+": 100} if odd else {})
    assert kinds(table, share_was_chosen=True) == {}
    few = change(plain(24, 0), range(positive), bac="1", bac_area_mm2="20", bac_length_mm="10", bac_width_mm="2")
    assert kinds(few) == {}


def test_share_is_stated():
    [finding] = find_oddities(plain(25, 10))
    assert str(finding) == (
        "share of BAC+ (100): 40.0% of the views are BAC+, in screening 9.7%; unless the women were selected, check "
        "the threshold. First: 00_L_CC.dcm, 00_L_MLO.dcm, 00_R_CC.dcm"
    )


@pytest.mark.parametrize(
    ("low", "high", "odd"),
    # logits of p and 1 - p differ by 2 ln((1 - p) / p); the quantiles of evenly spread logits span 0.9 of the range
    [(0.0, 0.0, True), (0.0, 0.11, True), (0.0, 0.112, False), (9.0, 9.11, True), (-9.0, -8.5, False)],
)
def test_scores_that_are_nearly_equal(low, high, odd):
    scores = 1 / (1 + np.exp(-np.linspace(low, high, 120)))
    table = plain().assign(score=[f"{score:.9g}" for score in scores])
    assert kinds(table) == ({"equal scores": 120} if odd else {})
    assert "equal scores" not in kinds(table[:19])


@pytest.mark.parametrize("score", ["0", "1"])
def test_scores_at_the_end_of_the_scale_are_equal(score):
    assert kinds(plain().assign(score=score)) == {"equal scores": 120}


def test_copies_under_other_names():
    table = plain()
    copy = {name: table.loc[7, name] for name in ("score", "breast_area_mm2")}
    [finding] = find_oddities(change(table, [50, 90], **copy))
    assert (finding.kind, finding.count) == ("repeated scores", 3)
    assert finding.files == ("01_R_MLO.dcm", "12_R_CC.dcm", "22_R_CC.dcm")
    two = change(change(table, 100, **copy), 8, **{name: table.loc[6, name] for name in copy})
    [finding] = find_oddities(two)  # images are named one after the other
    assert finding.count == 4 and finding.files == ("01_R_CC.dcm", "02_L_CC.dcm", "01_R_MLO.dcm")
    assert kinds(change(table, 50, score=table.loc[7, "score"])) == {}  # another breast area
    assert kinds(change(table, 50, breast_area_mm2=table.loc[7, "breast_area_mm2"])) == {}


@pytest.mark.parametrize(
    ("score", "odd"), [("0.25", True), ("0.989999", True), ("0.99", False), ("1", False), ("0", False)]
)
def test_copies_without_a_spacing(score, odd):
    table = change(plain(), [3, 4], score=score, breast_area_mm2="", bac_length_mm="", bac_area_mm2="", bac_width_mm="")
    assert kinds(table) == {"no pixel spacing": 2} | ({"repeated scores": 2} if odd else {})


@pytest.mark.parametrize(("women", "number", "odd"), [(4, 4, False), (4, 5, True), (5, 5, False), (5, 6, True)])
def test_many_files_skipped_for_one_reason(women, number, odd):
    # 4 of 20: no; 5 of 21: yes; 5 of 25: no; 6 of 26: yes
    table = pd.concat([plain(women, 0), skipped(number)], ignore_index=True)
    found = find_oddities(table)
    assert [(f.kind, f.count) for f in found] == ([("skipped as conflict", number)] if odd else [])
    if odd:
        assert found[0].files == ("s0.dcm", "s1.dcm", "s2.dcm")
        assert found[0].meaning.startswith(f"{number / (4 * women + number):.0%} of the files were skipped")


def test_reasons_are_counted_one_by_one():
    table = pd.concat([plain(4, 0), skipped(4), skipped(4, "no_breast", 4)], ignore_index=True)
    assert kinds(table) == {}
    table = pd.concat([plain(4, 0), skipped(6), skipped(7, "no_breast", 6)], ignore_index=True)
    assert kinds(table) == {"skipped as conflict": 6, "skipped as no breast": 7}


def test_nothing_scored():
    assert kinds(skipped(2)) == {"nothing scored": 2}


def test_one_side_or_view_only():
    table = plain(10, 0)
    left = table[table["laterality"] == "L"]
    assert kinds(left) == {"one side only": 20, "women without all four views": 10}
    assert kinds(left[:19]) == {"women without all four views": 10}
    other = pd.concat([left, table[table["laterality"] == "R"][:1]])
    assert kinds(other) == {"women without all four views": 10}
    mlo = find_oddities(table[table["view"] == "MLO"])
    assert mlo[0].kind == "one view only" and mlo[0].meaning.startswith("all views that state a view are MLO;")


def test_what_is_not_stated():
    table = change(change(change(plain(), 0, patient_id=""), 9, laterality=""), 10, view="")
    [unstated, missing] = find_oddities(table)
    assert (unstated.kind, unstated.count) == ("not stated", 3)
    assert unstated.files == ("00_L_CC.dcm", "02_L_MLO.dcm", "02_R_CC.dcm")
    # the woman of views 9 and 10 may have all views
    assert (missing.kind, missing.count, missing.files) == ("women without all four views", 1, ("00_L_MLO.dcm",))


def test_women_without_all_views():
    table = plain(3, 0).drop([0, 5, 6])
    [finding] = find_oddities(table)
    assert (finding.kind, finding.count, finding.files) == (
        "women without all four views", 2, ("00_L_MLO.dcm", "01_L_CC.dcm"),
    )  # fmt: skip
    assert kinds(plain(1, 0)[:1]) == {}  # one woman
    assert kinds(change(plain(3, 0), [1, 2], view="CC")) == {"women without all four views": 1}  # repeats are no views
    two = change(change(plain(3, 0), [0, 1], exam="A"), [2, 3], exam="B")  # two views of each of two exams
    assert kinds(two) == {"women without all four views": 1}
    again = change(plain(3, 0), 3, status="skipped", reason="no_breast")
    assert kinds(again) == {"women without all four views": 1}


def test_many_images_of_one_patient_id():
    def shared(images):
        return kinds(change(plain(30, 3), range(40, 40 + images), patient_id="X"))

    assert shared(8) == {}
    assert shared(12) == {"women with more than 8 images": 1}  # three women become one
    assert shared(40) == {"women with more than 8 images": 1}
    assert shared(44) == {"women with more than 40 images": 1}
    assert kinds(change(plain(), range(120), patient_id="ANONYMOUS")) == {"women with more than 40 images": 1}
    assert kinds(change(plain(3, 0), range(12), patient_id="X")) == {"women with more than 8 images": 1}


def test_rows_in_any_order_and_slow_files_are_not_odd():
    table = change(plain(), 4, elapsed_s="900").sample(frac=1, random_state=1)
    assert find_oddities(table) == []


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table with its note and a report, and returns the lines and the report."""

    def write(table, cut="", spread=(), **note):
        path = tmp_path / "scores.csv"
        path.write_text(table.to_csv(index=False, lineterminator="\n") + cut, encoding="utf-8")
        (tmp_path / "scores.csv.json").write_text(json.dumps({"model_sha256": "", "operating_point": {}} | note))
        lines = write_report(path, spread)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.csv", "scores.csv.json", "scores.csv.report.txt"]
        return lines, (tmp_path / "scores.csv.report.txt").read_text(encoding="utf-8")

    return write


def test_report_is_rewritten_at_each_call(write, tmp_path):
    table = change(plain(), 1, bac_length_mm="700", file="b\x1b[31m\u202ey.dcm")
    lines, report = write(table, spread=["scores of 120 views"])
    finding = (
        "- length (1): arteries longer than 600 mm; look at the outlined arteries, and check the pixel spacing. "
        "First: b?[31m?y.dcm"
    )
    assert lines == [f"looks odd (also in {tmp_path}/scores.csv.report.txt, see docs/scoring.md):", finding]
    assert report == f"scores.csv: 120 files, 120 scored\nscores of 120 views\nlooks odd:\n{finding}\n"
    assert write(plain()) == ([], "scores.csv: 120 files, 120 scored\nnothing looks odd\n")
    assert write(plain()[:0]) == ([], "scores.csv: 0 files, 0 scored\nnothing looks odd\n")


def test_an_incomplete_last_row_is_not_read(write):
    assert write(plain(), cut="z.dcm,W9,L,CC,scored,,0.9")[1].startswith("scores.csv: 120 files, 120 scored\nnothing")
    assert write(plain(), cut="z.dcm,W9,L,CC,scored,,0.9,1,1,9999,9,1500")[0] == []


def test_names_and_ids_are_read_as_text(write):
    table = change(plain(), range(4), patient_id="007")
    table = change(table, range(4, 8), patient_id="7")
    table = change(table, range(8, 12), patient_id="NA")
    assert write(change(table, 0, file='a, "b".dcm')) == ([], "scores.csv: 120 files, 120 scored\nnothing looks odd\n")


def test_a_chosen_share_is_not_odd(write):
    assert write(plain(30, 20))[0][1].startswith("- share of BAC+ (120): 66.7%")
    assert write(plain(30, 20), threshold_rule={"alarm_share": 0.7})[0] == []
    assert write(plain(30, 20), threshold_rule={"specificity": 0.95})[0][1].startswith("- share of BAC+")


def test_command_reports_and_does_not_score_its_report(tmp_path):
    (tmp_path / "notes.txt").write_text("not a mammogram")
    words = ["score", str(tmp_path), "--output", str(tmp_path / "scores.csv")]
    for counts in ("1 not an image", "1 done before"):
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code == 0, done.output
        assert f"files: 1 ({counts})" in done.stdout
        finding = (
            f"- nothing scored (1): no file could be used; read the reasons in the table. First: {tmp_path}/notes.txt"
        )
        assert done.stdout.splitlines()[-1] == finding
        report = (tmp_path / "scores.csv.report.txt").read_text()
        assert report == f"scores.csv: 1 files, 0 scored\nlooks odd:\n{finding}\n"


def test_columns_are_those_of_a_table_of_scores():
    assert set(USED) | set(MEASURED) == set(COLUMNS) - {"study_date", "image_rank", "elapsed_s"}
