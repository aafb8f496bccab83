"""From DICOM files and a table of a hospital to a views table, by commands."""

import pytest
from archive_tables import put
from mammogram_files import write as write_dicom
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.views_table import label_levels, read_views

VIEWS = [(side, view) for side in "RL" for view in ("CC", "MLO")]


def call(*words):
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture
def archive(tmp_path):
    """Four views of each of three women whose PatientIDs have leading zeros."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, woman in enumerate(("00012", "00123", "01234")):
        for place, (side, view) in enumerate(VIEWS):
            uid = f"2.25.{1 + 4 * number + place}"
            write_dicom(
                folder / f"{woman}_{side}_{view}.dcm",
                PatientID=woman,
                ImageLaterality=side,
                ViewPosition=view,
                SOPInstanceUID=uid,
                StudyInstanceUID=f"2.25.9{number}",
                StudyDate="20230305",
            )
    return folder


def table(path, *women, form="{}"):
    rows = [f"{form.format(w)},{side},{view},{int(side == 'L')}" for w in women for side, view in VIEWS]
    return put(path, "patient_id,laterality,view,bac", *rows)


@pytest.mark.parametrize(
    ("women", "words"),
    [
        (["12", "123", "1234"], "got 3 of 3 that match the files only without leading zeros (12 for 00012"),
        (["12", "123", "01234"], "set 'id_digits: 5' in the mapping"),
        (["12.0", "123.0", "1234.0"], "only without leading zeros"),
        (["1.2E+01"], "row 2, column 'patient_id': got 1.2E+01, must be written with all its digits"),
        (["99"], "none of 4 labels matches an image"),
    ],
)
def test_labels_that_lost_their_identifiers_are_refused(archive, tmp_path, women, words):
    labels = table(tmp_path / "labels.csv", *women)
    code, text = call("views", "DICOM", archive, "--labels", labels, "--output", tmp_path / "v.csv")
    assert code == 1 and words in text
    assert not (tmp_path / "v.csv").exists()


def test_labels_and_images_without_each_other_are_listed(archive, tmp_path):
    labels = table(tmp_path / "labels.csv", "00012", "00123", "77")
    code, text = call("views", "DICOM", archive, "--labels", labels, "--output", tmp_path / "v.csv")
    assert code == 0
    assert "rows of labels.csv that match no view: 4 (row 10, row 11, row 12, ...)" in text
    assert "images without a label: 4 (01234_L_CC.dcm, 01234_L_MLO.dcm, 01234_R_CC.dcm, ...)" in text
    views = read_views(tmp_path / "v.csv")
    assert views["bac"].isna().sum() == 4 and (views["label_level"] == "view").sum() == 8


def test_a_hospitals_table_takes_two_commands(archive, tmp_path):
    lines = ["Pat-ID;Seite;Datum;Gefäßkalk;Alter", "12;rechts;05.03.2023;ja;65 J.", "12;links;05.03.2023;nein;65"]
    lines += ["123;beidseits;5.3.23;nein;70,5", "1234;re;05.03.2020;ja;71", "Summe;;;2;"]
    labels = tmp_path / "labels.csv"
    labels.write_bytes("\r\n".join(lines).encode("cp1252"))
    mapping = tmp_path / "m.yaml"
    common = [
        "views",
        "DICOM",
        archive,
        "--labels",
        labels,
        "--ages",
        labels,
        "--columns",
        mapping,
        "--labels-by",
        "breast",
    ]
    code, text = call(*common, "--dry-run")
    assert code == 0 and "labels.csv: 5 labels by breast (2 BAC+, 3 BAC-, 0 unknown)" in text, text
    assert "problems" not in text
    code, text = call(*common, "--output", tmp_path / "v.csv")
    assert code == 1 and "set 'id_digits: 5' in the mapping" in text
    mapping.write_text(mapping.read_text("utf-8").replace("  columns:", "  id_digits: 5\n  columns:"), "utf-8")
    code, text = call(*common, "--output", tmp_path / "v.csv", "--keep-ids")
    assert code == 0, text
    assert "rows of labels.csv that match no view: 1 (row 5)" in text  # another exam
    views = read_views(tmp_path / "v.csv").set_index(["patient_id", "laterality"]).sort_index()
    assert views.loc["00012"].loc["R", "bac"].tolist() == [1, 1] and views.loc["00012"].loc["L", "bac"].tolist() == [
        0,
        0,
    ]
    assert views.loc["00123", "bac"].tolist() == [0] * 4 and views.loc["01234", "bac"].isna().all()
    assert views.loc["00123", "age"].tolist() == [70.5] * 4
    assert label_levels(views.reset_index()).to_numpy().tolist() == [["breast", 2, 8, 2]]


def test_ages_that_lost_their_identifiers_are_refused(archive, tmp_path):
    ages = put(tmp_path / "ages.csv", "patient_id,age", "12,60", "123,61")
    code, text = call("views", "DICOM", archive, "--ages", ages, "--output", tmp_path / "v.csv")
    assert code == 1 and "ages.csv, column 'patient_id': got 2 of 2 that match the files only without leading" in text
    ages = put(tmp_path / "ages.csv", "patient_id,age", "00012,60", "77,61")
    code, text = call("views", "DICOM", archive, "--ages", ages, "--output", tmp_path / "v.csv")
    assert code == 0 and "women of ages.csv of whom there is no image: 1" in text


def test_all_problems_of_a_table_at_once(archive, tmp_path):
    labels = put(tmp_path / "l.csv", "patient_id,laterality,view,bac", "00012,R,CC,2", "00012,X,CC,1", "00012,L")
    code, text = call("views", "DICOM", archive, "--labels", labels, "--output", tmp_path / "v.csv")
    assert code == 1 and text.splitlines() == [
        "error: l.csv row 2, column 'bac': got 2, must be 0, 1 or empty (unknown)",
        "l.csv row 3, column 'laterality': got X, must be L or R",
        "l.csv row 4: got 2 cells, must have 4 like the first row",
    ]
