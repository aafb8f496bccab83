"""Two exams of a woman in a folder of DICOM files: one is taken, by the rule, and labels stay with theirs."""

import itertools

import pandas as pd
import pytest
from archive_tables import excluded, put, rows
from mammogram_files import write as write_dicom
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.archives.conversion import REPEATED, write_views
from bac_utils.archives.dicom_folder import RAW_TWIN, read_dicom_folder
from bac_utils.archives.exams import FEWER_VIEWS, NO_LABEL, ORDER, exams_not_taken, number_exams
from bac_utils.intake.pseudonyms import exam_pseudonym, pseudonym, shifted_date
from bac_utils.views_table import read_views

PLACES = [(side, view) for side in "LR" for view in ("CC", "MLO")]
KEY = bytes(range(16))


def archive(folder, *exams):
    """Write exams: woman, name of the exam's folder, elements of its headers, and the places it has."""
    numbers = itertools.count(1)
    for woman, name, elements, *places in exams:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for side, view in places[0] if places else PLACES:
            changes = {"ImageLaterality": side, "ViewPosition": view, "SOPInstanceUID": f"2.25.9{next(numbers)}"}
            changes |= {"PatientID": woman} | elements
            write_dicom(folder / name / f"{side}_{view}{changes['SOPInstanceUID'][-2:]}.dcm", **changes)
    return folder


def dated(day, **more):
    return {"StudyDate": day, "StudyInstanceUID": f"2.25.{day}"} | more


def folders(found):
    """Return the folders of the images that were taken."""
    return sorted({image.split("/")[0] for (image,) in rows(found, "image")})


MARCH, SEPTEMBER = dated("20210301", AccessionNumber="B-1"), dated("20230905", AccessionNumber="A-2")


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])  # the earlier one in the first or the last folder
@pytest.mark.parametrize(("exam", "taken"), [(None, 0), ("first", 0), ("last", 1)])
def test_the_first_complete_exam_is_taken_whatever_its_name(tmp_path, names, exam, taken):
    folder = archive(tmp_path / "in", ("W", names[0], MARCH), ("W", names[1], SEPTEMBER), ("V", "c", SEPTEMBER))
    found = read_dicom_folder(folder, keep_ids=True, **({"exam": exam} if exam else {}))
    assert folders(found) == sorted([names[taken], "c"])
    exams = found.views.groupby("patient_id")[["exam", "study_date"]].first().to_numpy().tolist()
    assert exams == [["A-2", "2023-09-05"], [["B-1", "2021-03-01"], ["A-2", "2023-09-05"]][taken]]
    assert excluded(found) == {ORDER[exam or "first"]: (1, 4)}
    listed = found.flow.listed()
    left_out = listed[listed["reason"] == ORDER[exam or "first"]]
    assert {image.split("/")[0] for image in left_out["image"]} == {names[1 - taken]}


def test_all_exams_are_kept_apart(tmp_path):
    folder = archive(tmp_path / "in", ("W", "a", MARCH), ("W", "b", SEPTEMBER | {"PatientAge": "061Y"}))
    found = read_dicom_folder(folder, exam="all")
    assert [(row[0], row[1], row[3]) for row in rows(found, "patient_id exam study_date age")][::4] == [
        ("W0001", "1", 59), ("W0001", "2", 61)
    ]  # fmt: skip
    write_views(found, tmp_path / "views.csv")
    read = read_views(tmp_path / "views.csv", check_images=True)
    assert read["exam"].tolist() == ["1"] * 4 + ["2"] * 4
    with pytest.raises(ValueError, match="exam: got 'best', must be one of first, last, all"):
        read_dicom_folder(folder, exam="best")


def test_views_of_two_incomplete_exams_never_make_one_complete_set(tmp_path):
    """The exam with most of the four views is taken: three of September rather than one of March."""
    folder = archive(tmp_path / "in", ("W", "a", MARCH, PLACES[:1]), ("W", "b", SEPTEMBER, PLACES[1:]))
    found = read_dicom_folder(folder, keep_ids=True)
    assert rows(found, "laterality view exam") == [(side, view, "A-2") for side, view in PLACES[1:]]
    assert excluded(found) == {FEWER_VIEWS: (1, 1)}
    parts = ("W", "a", MARCH, PLACES[:1]), ("W", "b", SEPTEMBER, PLACES[1:]), ("W", "c", dated("20240105"))
    assert folders(read_dicom_folder(archive(tmp_path / "more", *parts))) == ["c"]


def test_exams_are_told_apart_by_the_first_fact_that_is_stated(tmp_path):
    """Accession number, date, UID of the study; words for everybody and dates of a year alone do not count."""
    cases = [
        ({"AccessionNumber": "1", "StudyDate": ""}, {"AccessionNumber": "2", "StudyDate": ""}),
        tuple({"StudyDate": day, "AccessionNumber": "removed"} for day in ("20210301", "20230301")),
        ({"StudyInstanceUID": "2.25.1"}, {"StudyInstanceUID": "2.25.2"}),
        tuple({"StudyInstanceUID": uid, "StudyDate": "20210101"} for uid in ("2.25.1", "2.25.2")),
        tuple({"AccessionNumber": "7", "StudyDate": day} for day in ("20210301", "20230301")),
    ]
    for number, (one, two) in enumerate(cases):
        folder = archive(tmp_path / str(number), ("W", "a", one, PLACES[:2]), ("W", "b", two, PLACES))
        assert folders(read_dicom_folder(folder)) == ["b"], cases[number]
    same_day = {"StudyDate": "20210301"}
    parts = [({"StudyInstanceUID": f"2.25.{n}"} | same_day, PLACES[2 * n : 2 * n + 2]) for n in range(2)]
    folder = archive(tmp_path / "day", *(("W", f"{n}", *part) for n, part in enumerate(parts)))
    assert folders(read_dicom_folder(folder)) == ["0", "1"]  # one visit in two studies


def test_labels_stay_with_their_exam_which_is_then_taken(tmp_path):
    folder = archive(tmp_path / "in", ("W", "a", MARCH), ("W", "b", SEPTEMBER), ("V", "c", MARCH))
    for column, value in (("accession", "A-2"), ("study_date", "05.09.2023"), ("exam", "A-2")):
        labels = put(
            tmp_path / "labels.csv", f"patient_id,{column},laterality,view,bac",
            *(f"W,{value},{side},{view},1" for side, view in PLACES),
        )  # fmt: skip
        found = read_dicom_folder(folder, labels=labels, keep_ids=True)
        taken = found.views.set_index("image")["bac"]
        assert taken[taken == 1].index.str.startswith("b/").sum() == 4 and taken.isna().sum() == 4  # V has none
        assert not taken.index.str.startswith("a/").any()
        assert excluded(found) == {NO_LABEL: (1, 4)}
    every = read_dicom_folder(folder, labels=labels, keep_ids=True, exam="all").views.set_index("image")["bac"]
    assert every[every.index.str.startswith("a/")].isna().all() and every.sum() == 4
    without = put(tmp_path / "w.csv", "patient_id,laterality,view,bac", "W,L,CC,1", "V,L,CC,0")
    found = read_dicom_folder(folder, labels=without, keep_ids=True)
    assert found.views["bac"].tolist().count(0) == 1 and not (found.views["bac"] == 1).any()
    assert "images of 1 women with several exams without one" in " ".join(found.notes)
    by_woman = put(tmp_path / "v.csv", "patient_id,bac", "W,1", "V,0")
    found = read_dicom_folder(folder, labels=by_woman, keep_ids=True, labels_by="woman")
    assert not (found.views["bac"] == 1).any() and (found.views["bac"] == 0).sum() == 4


def test_the_table_hides_exams(tmp_path):
    folder = archive(tmp_path / "in", ("W", "a", MARCH), ("W", "b", SEPTEMBER))
    keyed = read_dicom_folder(folder, key=KEY, exam="all")
    stated = keyed.views.drop_duplicates("exam")[["patient_id", "exam", "study_date"]].to_numpy().tolist()
    assert stated == [
        [pseudonym("W", KEY), exam_pseudonym("W", name, KEY), shifted_date("W", day, KEY)]
        for name, day in (("B-1", "2021-03-01"), ("A-2", "2023-09-05"))
    ]  # as `score` writes them
    for number, given in enumerate(({}, {"key": KEY})):
        output = tmp_path / f"{number}.csv"
        write_views(read_dicom_folder(folder, exam="all", **given), output)
        texts = [path.read_text() for path in tmp_path.glob(f"{number}*.csv")]
        assert not any(word in text for text in texts for word in ("B-1", "A-2", "2021-03", "2023-09", "2.25."))
    assert "study_date" not in pd.read_csv(tmp_path / "0.csv")  # numbered women have no dates


def test_twins_and_repeats_are_those_of_one_exam(tmp_path):
    raw = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "PresentationIntentType": "FOR PROCESSING"}
    folder = archive(
        tmp_path / "in",
        ("W", "a", MARCH | raw),  # no twin: the images For Presentation are those of September
        ("W", "b", SEPTEMBER),
        ("W", "b", SEPTEMBER | raw, PLACES[:1]),
        ("W", "c", SEPTEMBER | {"StudyInstanceUID": "2.25.5"}, PLACES[:1]),
    )
    found = read_dicom_folder(folder, exam="all")
    assert excluded(found) == {RAW_TWIN: (1, 1), REPEATED: (1, 1)}
    assert len(found.views) == 8 and folders(found) == ["a", "b"]


def test_the_rule_by_hand():
    """Exams of one woman each: number of views, label, date; the better one first."""
    pairs = [
        ((4, None, ""), (3, 1, "2021-01-02"), FEWER_VIEWS),
        ((4, 0, "2023-01-02"), (4, None, "2021-01-02"), NO_LABEL),
        ((4, 0, "2021-01-02"), (4, 1, "2023-01-02"), ORDER["first"]),  # not the value of the label
        ((2, None, "2023-01-02"), (2, None, ""), ORDER["first"]),
    ]
    for first, second, why in pairs:
        for names in ("xy", "yx"):
            table = pd.DataFrame(
                [("W", name, date, *place, bac)
                 for name, (views, bac, date) in zip(names, (first, second), strict=True) for place in PLACES[:views]],
                columns=["patient_id", "exam", "study_date", "laterality", "view", "bac"],
            ).astype({"bac": float}).sample(frac=1, random_state=1)  # fmt: skip
            found = exams_not_taken(table).groupby(table["exam"]).unique().map(list).to_dict()
            assert found == {names[0]: [""], names[1]: [why]}
    table = pd.DataFrame({"patient_id": list("WWWVV"), "exam": ["b", "a", "c", "a", ""], "study_date": ""})
    table.loc[2, "study_date"] = "2023-01-02"
    assert number_exams(table).tolist() == ["3", "2", "1", "1", ""]


def test_command(tmp_path):
    folder = archive(tmp_path / "in", ("W", "a", MARCH), ("W", "b", SEPTEMBER))
    words = ["views", "DICOM", folder, "--exam", "last", "--output", tmp_path / "v.csv"]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert f"excluded, {ORDER['last']}: 4" in done.output.splitlines()
    assert pd.read_csv(tmp_path / "v.csv")["image"].str.startswith("in/b/").all()
