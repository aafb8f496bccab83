"""The flow of inclusion: what enters a stage is what it excludes and what remains, from files to the sets."""

import pandas as pd
import pytest
from archive_tables import cbis_example, dicom_example, embed, finding, four, image, inbreast, put, rsna, touch, vindr
from view_rows import four_views

from bac_utils.archives import ARCHIVES
from bac_utils.archives.conversion import NO_AGE, REPEATED, write_views
from bac_utils.archives.dicom_folder import read_dicom_folder
from bac_utils.cohort import include_women
from bac_utils.inclusion.flow import STAGES, Selection, list_path, read_selection
from bac_utils.inclusion.study import APART, UNDERSAMPLED, UNLISTED, UNUSED, study_flow
from bac_utils.settings import preset
from bac_utils.views_table import check_views, read_views

A, B = "6c613a14b80a8591", "5cc91d0f3a2b7cc4"


def embed_example(folder):
    """Write two exams of one woman, of which the first has a repeated view, and a woman without an age."""
    findings = [finding(10, 100, "L", "V"), finding(10, 101, "L", ""), finding(20, 200, "L", "V", age="")]
    views = [*four(10, 100), image(10, 101, "L", "CC"), image(10, 101, "L", "CC", name="b"), *four(20, 200)]
    return embed(folder, findings, [*views, image(20, 200, "L", "CC", "C-view", name="c")])


def inbreast_example(folder):
    """Write two exams, of which the second has a repeated view, and a copy that is a picture."""
    views = [("1", A, "R", "CC", "200801"), ("2", A, "L", "CC", "200801"), ("3", A, "L", "CC", "200901")]
    inbreast(folder, *views, ("4", A, "L", "CC", "200901"), ("5", B, "L", "FB", "200801"), ("6", B, "L", "CC", "2008"))
    touch(folder, f"png/6_{B}_MG_L_CC_ANON.png")
    return folder


def rsna_example(folder):
    """Write an implant, a missing image, another view, a repeated view, and different ages of one woman."""
    return rsna(
        folder,
        ("1", "1", "L", "CC", "61", "1"), ("1", "99", "L", "MLO", "61", "0"), ("1", "3", "R", "AT", "61", "0"),
        ("2", "4", "L", "CC", "61", "0"), ("2", "5", "L", "CC", "61", "0"),
        ("3", "6", "L", "CC", "61", "0"), ("3", "7", "R", "CC", "62", "0"),
    )  # fmt: skip


EXAMPLES = {  # archive: (what writes it, how many images or files it lists)
    "CBIS-DDSM": (cbis_example, 5),
    "EMBED": (embed_example, 11),
    "VinDr-Mammo": (lambda folder: vindr(folder, *((woman, i, "L", "CC") for woman, i in ("a1", "a2", "b3"))), 3),
    "RSNA": (rsna_example, 7),
    "INbreast": (inbreast_example, 7),
    "DICOM": (dicom_example, 11),
}  # fmt: skip


def check(flow):
    """Check a flow against its list, counted anew."""
    listed, order = flow.listed(), ["", *STAGES]
    left = listed
    for stage in flow.stages():
        out = listed[listed["stage"] == stage["stage"]]
        left = left.drop(out.index)
        entered, excluded, remaining = (stage[name] for name in ("entered", "excluded", "remaining"))
        assert entered["views"] == excluded["views"] + remaining["views"]
        assert (excluded["views"], remaining["views"]) == (len(out), len(left))
        assert {why: n["views"] for why, n in stage["reasons"].items()} == out["reason"].value_counts().to_dict()
        assert remaining["women"] == left.loc[left["patient_id"] != "", "patient_id"].nunique()
        if entered["women"] is not None:
            assert entered["women"] == excluded["women"] + remaining["women"]
    for before, after in zip(flow.stages(), flow.stages()[1:], strict=False):
        assert before["remaining"] == after["entered"]
    counts = flow.counts()
    assert (counts["views_left"] == counts["views_left"].iloc[0] - counts["views"].cumsum()).all()
    assert counts["stage"].map(order.index).is_monotonic_increasing


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("without_age", [False, True])
def test_each_archive_adds_up(tmp_path, name, without_age):
    write, number = EXAMPLES[name]
    folder = write(tmp_path / "archive")
    ages = put(tmp_path / "ages.csv", "patient_id,age", *(f"{woman},60" for woman in ("P_00005", "a", A, "Roe 7")))
    archive = ARCHIVES[name](folder, ages=ages, without_age=without_age)
    check(archive.flow)
    listed = archive.flow.listed()
    assert len(listed) == number and list(listed["image"][listed["stage"] == ""]) == list(archive.views["image"])
    assert (listed["image"] != "").all()
    write_views(archive, tmp_path / "tables" / "views.csv")
    again = read_selection(list_path(tmp_path / "tables" / "views.csv"))
    check(again)
    assert again.stages() == archive.flow.stages()
    flow, notes = study_flow(
        read_views(tmp_path / "tables" / "views.csv"), preset("paper"), tmp_path / "tables/views.csv"
    )
    check(flow)
    assert not notes and flow.stages()[0]["entered"]["views"] == number and flow.stages()[-1]["remaining"]["views"] == 0


def test_stages_by_hand(tmp_path):
    """In the order of the stages: 7 files cannot be used, one view is repeated, one woman has no age."""
    archive = read_dicom_folder(dicom_example(tmp_path / "archive"))
    assert archive.flow.listed().iloc[:, 1:].to_numpy().tolist() == [
        ["W0002", "R", "CC", "table", NO_AGE],
        ["W0001", "L", "CC", "", ""],
        ["W0001", "L", "MLO", "", ""],
        ["W0001", "L", "CC", "one_per_view", REPEATED],
        ["W0001", "L", "CC", "read", "duplicate"],
        ["", "", "", "read", "implant"],
        ["", "", "", "read", "unknown_side"],
        ["", "L", "CC", "read", "no PatientID"],
        ["", "", "", "read", "not_mammography"],
        ["", "", "", "read", "unknown_view"],
        ["", "", "", "read", "not_an_image"],
    ]
    read, one, exam, table = archive.flow.stages()[:4]
    assert read["entered"] == {"views": 11, "women": None} and read["excluded"] == {"views": 7, "women": None}
    assert read["remaining"] == {"views": 4, "women": 2} and read["reasons"]["duplicate"] == {"views": 1, "women": 1}
    assert one["excluded"] == {"views": 1, "women": 0} and one["reasons"] == {REPEATED: {"views": 1, "women": 1}}
    assert exam["excluded"] == {"views": 0, "women": 0} and exam["reasons"] == {}
    assert table["excluded"] == {"views": 1, "women": 1} and table["remaining"] == {"views": 2, "women": 1}


def write_archive(folder, women, **given):
    """Write a views table with the list of an archive in which a file of each woman was not used."""
    rows = pd.DataFrame([row for woman in women for row in woman]).assign(**given)
    bad = pd.DataFrame({"patient_id": "", "image": [f"{woman}.txt" for woman in rows["patient_id"].unique()]})
    flow = Selection(pd.concat([rows, bad], ignore_index=True))
    flow.exclude("not_an_image", flow.frame["image"].str.endswith(".txt"))
    rows.to_csv(folder / "views.csv", index=False)
    flow.write(folder / "views.inclusion.csv", folder)
    return folder / "views.csv"


def test_a_study_continues_the_flow_of_its_archive(tmp_path):
    women = [
        four_views("kept"),
        four_views("young", 44),
        four_views("three")[:3],
        four_views("gone"),
        four_views("also"),
    ]
    women += [four_views("unknown", 60, (1, 1, 1, None)), four_views("young and three", 30)[:3]]
    table = write_archive(tmp_path, women)
    edited = pd.read_csv(table)
    edited = edited[edited["patient_id"] != "gone"].iloc[::-1]
    edited["patient_id"] = "X " + edited["patient_id"]  # renamed by hand
    edited.to_csv(table, index=False)
    views = read_views(table)
    settings = preset("paper")
    included, exclusions = include_women(views, settings.minimum_age)
    split = included.assign(split=included["patient_id"].map({"X kept": "train", "X also": "unused"}))
    flow, notes = study_flow(views, settings, table, split)
    check(flow)
    assert notes == []
    counted = {(row.stage, row.reason): (row.women, row.views) for row in flow.counts().itertuples()}
    assert counted == {
        ("found", ""): (0, 0),
        ("read", "not_an_image"): (0, 7),
        ("table", UNLISTED): (1, 4),
        ("aged", "younger than 45 years"): (2, 7),
        ("complete", "not all four views"): (1, 3),
        ("labelled", "BAC label unknown"): (1, 4),
        ("split", UNDERSAMPLED): (1, 4),
    }
    assert list(counted.values())[3:6] == list(zip(exclusions["women"], exclusions["views"], strict=True))
    assert flow.counts()["women_left"].tolist()[1:] == [7, 6, 4, 3, 2, 1]
    assert flow.frame["patient_id"].unique().tolist() == ["X kept"]
    flow.write(tmp_path / "run" / "inclusion.csv", tmp_path)
    written = pd.read_csv(tmp_path / "run" / "inclusion.csv")
    assert written["image"].iloc[0] == "../kept_R_CC.dcm" and len(written) == 33


def test_a_flow_without_files_begins_with_the_table(tmp_path):
    rows = [*four_views("W0"), *four_views("W1", 30), *four_views("apart")]
    views = check_views(pd.DataFrame(rows).assign(split=["test"] * 4 + ["unused"] * 4 + ["quantification"] * 4))
    views.to_csv(tmp_path / "views.csv", index=False)
    split = views[views["patient_id"] == "W0"]
    for table in ("", tmp_path / "views.csv"):
        flow, notes = study_flow(views, preset("paper"), table, split)
        check(flow)
        assert notes == [] and flow.start == "table"
        stages = {stage["stage"]: stage for stage in flow.stages()}
        assert list(stages) == ["cohort", "aged", "complete", "labelled", "included", "split"]
        assert stages["cohort"]["reasons"] == {APART: {"views": 4, "women": 1}}
        assert stages["included"]["remaining"] == {"views": 4, "women": 1}
    unused, _ = study_flow(
        views, preset("paper", minimum_age=20), "", views.assign(split=["test"] * 4 + ["unused"] * 8)
    )
    assert unused.stages()[-1]["reasons"] == {UNUSED: {"views": 4, "women": 1}}


def test_a_list_of_another_table_is_not_used(tmp_path):
    table = write_archive(tmp_path, [four_views("a")])
    more = pd.DataFrame([*four_views("a"), *four_views("b")])
    more.to_csv(table, index=False)
    flow, notes = study_flow(read_views(table), preset("paper"), table)
    assert flow.start == "table" and flow.stages()[0]["entered"] == {"views": 8, "women": 2}
    assert notes == [
        "views.inclusion.csv lacks 4 of 8 views of views.csv, such as b_R_CC.dcm: the flow of inclusion begins with "
        "views.csv"
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "read,not_an_image",
            "red,not_an_image",
            "row 6, column 'stage': got red, must be empty or one of read, one_per",
        ),
        ("read,not_an_image", ",not_an_image", "row 6, column 'reason': got not_an_image, must be stated with a stage"),
        ("read,not_an_image", "read,", "row 6, column 'reason': got nothing, must be stated with a stage"),
        ("stage,reason", "stage,why", "column 'reason': missing"),
    ],
)
def test_a_broken_list_is_refused(tmp_path, old, new, words):
    path = list_path(write_archive(tmp_path, [four_views("a")]))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=f"views.inclusion.csv row .*{words.split(',')[-1]}") as error:
        read_selection(path)
    assert words in str(error.value)


def test_stages_are_those_of_the_list():
    flow = Selection(pd.DataFrame(four_views("a")), "table")
    for stage in ("found", "read", "table", "nowhere"):
        with pytest.raises(
            ValueError, match=f"stage: got '{stage}', must be one of cohort, aged, complete, labelled, inc"
        ):
            flow.exclude("x", flow.frame["view"] == "CC", stage)


def test_names_that_are_not_text_can_be_written(tmp_path):
    flow = Selection(pd.DataFrame({"patient_id": "", "image": ["a\nb.txt", "\udcff.txt", "ü.txt"]}))
    flow.exclude("not_an_image", flow.frame["image"] != "")
    flow.write(tmp_path / "x.csv", tmp_path)
    assert [row.split(",")[0] for row in (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[1:]] == [
        "a\\nb.txt", "\\udcff.txt", "ü.txt",
    ]  # fmt: skip
