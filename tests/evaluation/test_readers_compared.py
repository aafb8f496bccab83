"""Results of a reader study against hand counts and the functions that they are made of."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from test_notebooks import run_cells

from bac_utils.detector import OperatingPoint, save_point
from bac_utils.evaluation import figures, reader_study
from bac_utils.evaluation.model_calls import read_calls
from bac_utils.evaluation.reader_agreement import icc_agreement, reader_lengths
from bac_utils.inclusion.corrections import correct_labels
from bac_utils.readings.consensus import join_readings
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.readings.table import read_folder
from bac_utils.views_table import read_views

WOMEN = ["NA", "$b", "c", "d", "e", "f", "g", "h"]
VIEWS = [("R", "CC"), ("L", "CC")]
# by reader and woman: label and length of R CC and of L CC
ANNA = [(1, 10), (1, 22), (0, 0), (0, 0), (1, 35), (1, 8), (0, 0), (0, 0)], [(1, 12), (0, 0)] + [(0, 0)] * 6
BERTA = [(1, 13), (1, 20), (0, 0), (1, 4), (1, 50), (1, 9), (0, 0), (0, 0)], [(1, 12), (0, 0)] + [(0, 0)] * 6
CLARA = [(1, 11), (0, 0), (0, 0), (0, 0), (1, 36), (1, 8), (0, 0), (np.nan, np.nan)], [(1, 14), (0, 0)] + [(0, 0)] * 6


@pytest.fixture
def study(tmp_path):
    """Return the folder of a study of three readers, 8 women and 16 views, with `views.csv` and `readings`."""
    for name, entries in (("Anna", ANNA), ("Berta", BERTA), ("<Clara>", CLARA)):
        mine = ReaderFile(tmp_path / "readings", name, 1)
        for side, column in zip(VIEWS, entries, strict=True):
            for number, (woman, (bac, length)) in enumerate(zip(WOMEN, column, strict=True)):
                grade = {"csbi": number % 4 if name != "Berta" else min(3, number % 4 + 1)}
                grade["bac_ss"] = 2 * number + (name == "Berta")
                changes = {"bac": bac, "bac_length_mm": length, "seconds": 30} | grade
                mine.put({ViewKey(woman, "", *side): changes}, number + 1)
    rows = [
        (woman, 60, *side, f"images/{k}{side[0]}.png", "", "keep") for k, woman in enumerate(WOMEN) for side in VIEWS
    ]
    rows.append(("unread", 60, "R", "CC", "images/x.png", 1, "keep"))
    columns = ["patient_id", "age", "laterality", "view", "image", "bac", "own"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "views.csv", index=False)
    return tmp_path


def test_counts(study):
    found = reader_study.reader_counts(read_folder(study / "readings"))
    assert found.index.tolist() == ["<Clara>", "Anna", "Berta"]
    assert found.loc["<Clara>"].tolist() == [16, 8, 4, 11, 1, 4, 8, pytest.approx(16 * 30 / 3600), 30]
    assert found.loc["Berta", ["bac_views", "no_bac_views", "undecided"]].tolist() == [6, 10, 0]


def test_agreement_by_hand(study):
    table = reader_study.agreement_table(read_folder(study / "readings"), samples=50)
    found = table.set_index(["what", "first", "second", "measure"])
    anna = [bac for bac, _ in ANNA[0] + ANNA[1]]
    berta = [bac for bac, _ in BERTA[0] + BERTA[1]]
    row = found.loc[("bac", "Anna", "Berta", "percent agreement")]
    assert (row["n"], row["value"]) == (16, 15 / 16) and row["low"] < 15 / 16 < row["high"]
    row = found.loc[("bac", "Anna", "Berta", "unweighted kappa")]
    assert row["value"] == pytest.approx(cohen_kappa_score(anna, berta)) and row["low"] < row["value"] <= row["high"]
    assert found.loc[("bac", "<Clara>", "Anna", "percent agreement"), ["n", "value"]].tolist() == [15, 14 / 15]
    grades = [number % 4 for number in range(8)]
    expected = cohen_kappa_score(grades, [min(3, g + 1) for g in grades], weights="quadratic")
    assert found.loc[("csbi", "Anna", "Berta", "quadratic kappa"), "value"] == pytest.approx(expected)
    assert found.loc[("csbi", "Anna", "Berta", "percent agreement"), ["n", "value"]].tolist() == [8, 0.25]
    row = found.loc[("bac_ss", "Anna", "Berta", "ICC(2,1) of the points")]
    points = np.array([[2 * number, 2 * number + 1] for number in range(8)])
    assert row["n"] == 8 and row["value"] == pytest.approx(icc_agreement(points)["icc"])
    hand = reader_lengths([10, 22, 35, 8, 12], [13, 20, 50, 9, 12])
    row = found.loc[("length", "Anna", "Berta", "mean difference, mm")]
    assert [row["n"], row["value"]] == [5, pytest.approx(-17 / 5)] and hand["mean_difference_mm"] == pytest.approx(-3.4)
    assert [row["low"], row["high"]] == pytest.approx(hand["limits_of_agreement_mm"])
    sums = [[22, 25], [22, 20], [0, 4], [35, 50], [8, 9]]  # women with a length by at least one of the two
    row = found.loc[("length", "Anna", "Berta", "ICC(2,1) of the sum by woman")]
    assert [row["n"], row["value"]] == [5, pytest.approx(icc_agreement(sums)["icc"])]
    assert (
        np.isfinite(row["low"]) and found.loc[("length", "<Clara>", "Anna", row.name[3]), ["low", "high"]].isna().all()
    )
    row = found.loc[("length", "<Clara>, Anna, Berta", "", "ICC(2,1) of the sum by woman")]
    three = [[25, 22, 25], [0, 22, 20], [0, 0, 4], [36, 35, 50], [8, 8, 9]]
    assert row["value"] == pytest.approx(icc_agreement(three)["icc"])
    with pytest.raises(ValueError, match="readers: got Anna, must be two or more"):
        reader_study.agreement_table(read_folder(study / "readings"), ["Anna"])


def test_readers_without_a_common_view_or_length_have_no_rows(tmp_path):
    for name, woman in (("a", "W1"), ("b", "W2")):
        ReaderFile(tmp_path, name, 1).put({ViewKey(woman, "", "L", "CC"): {"bac": 1, "bac_length_mm": 3}})
    readings = read_folder(tmp_path)
    assert reader_study.agreement_table(readings, samples=10).empty and reader_study.length_pairs(readings) == {}
    for draw, message in ((figures.length_differences, "pairs: got none"), (figures.kappas, "agreement: got no kappa")):
        given = {} if draw is figures.length_differences else reader_study.agreement_table(readings, samples=10)
        with pytest.raises(ValueError, match=message):
            draw(given)


def test_the_consensus_is_a_views_table(study):
    joined = join_readings(read_folder(study / "readings"))
    views = read_views(study / "views.csv")
    table = reader_study.consensus_views(views, joined, study / "out")
    reader_study.write_table(table, study / "out" / "consensus.csv")
    found = read_views(study / "out" / "consensus.csv").set_index(["patient_id", "laterality"])
    assert len(found) == 16 and "unread" not in found.index.get_level_values(0) and set(found["own"]) == {"keep"}
    assert found.loc[("NA", "R"), "image_path"] == str(study / "images" / "0R.png")
    labels, lengths = found["bac"].unstack(), found["bac_length_mm"].unstack()
    assert labels.loc[WOMEN, "R"].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert lengths.loc[WOMEN, "R"].tolist() == [11, 21, 0, 0, 36, 8, 0, 0]
    assert joined.set_index(["patient_id", "laterality"]).loc[("e", "R"), "reason"] == "lengths differ"
    corrected, counts = correct_labels(views, study / "out" / "consensus.csv")
    assert (counts["read"], counts["labels_added"]) == (16, 16) and corrected["bac"].tolist()[:2] == [1, 1]


def test_what_is_to_be_adjudicated_can_be_read_as_a_cohort(study):
    views, joined = read_views(study / "views.csv"), join_readings(read_folder(study / "readings"))
    table = reader_study.adjudication_views(views, joined, study / "out")
    reader_study.write_table(table, study / "out" / "adjudication.csv")
    found = read_views(study / "out" / "adjudication.csv")
    assert sorted(set(found["patient_id"])) == ["$b", "d", "e"] and len(found) == 6 and found["bac"].isna().all()
    reasons = found.set_index(["patient_id", "laterality"])["reason"]
    assert reasons.loc[[("$b", "R"), ("d", "R"), ("e", "R")]].tolist() == ["disagreement"] * 2 + ["lengths differ"]
    assert found["image_path"].isin(views["image_path"]).all() and "bac_length_mm" not in found


def scores(path, **changes):
    """Write a table of scores in which the model calls R CC of the first five women, and one view was skipped."""
    rows = []
    for k, woman in enumerate(WOMEN):
        for side, view in VIEWS:
            hit = side == "R" and k < 5
            rows.append((woman, "x1", side, view, "scored", 0.9 if hit else 0.2, int(hit), 10.0 + k if hit else 0.0))
    rows.append((WOMEN[0], "x1", "R", "MLO", "skipped", None, None, None))
    columns = ["patient_id", "exam", "laterality", "view", "status", "score", "bac", "bac_length_mm"]
    pd.DataFrame(rows, columns=columns).assign(**changes).to_csv(path, index=False)
    return path


def test_the_model_against_readers_by_hand(study):
    readings = read_folder(study / "readings")
    joined, views = join_readings(readings), read_views(study / "views.csv")
    calls = read_calls(scores(study / "scores.csv"), views=views)  # the views have no exams
    assert len(calls) == 16 and set(calls["exam"]) == {""}
    found = reader_study.model_against_readers(calls, readings, joined, ["Anna", "<Clara>"], samples=50)
    found = found.set_index(["reference", "measure"])
    # Anna: BAC+ in R CC of the women 0, 1, 4, 5 and in L CC of 0; the model calls R CC of 0 to 4
    assert found.loc[("Anna", "sensitivity"), ["n", "value"]].tolist() == [5, 3 / 5]
    assert found.loc[("Anna", "specificity"), ["n", "value"]].tolist() == [11, 9 / 11]
    assert np.isnan(found.loc[("Anna", "sensitivity"), "low"])  # 4 women are too few
    assert found.loc[("Anna", "specificity"), "low"] < 9 / 11
    truth = [bac for bac, _ in ANNA[0] + ANNA[1]]
    expected = cohen_kappa_score(truth, [1.0] * 5 + [0.0] * 11)
    assert found.loc[("Anna", "unweighted kappa"), "value"] == pytest.approx(expected)
    assert found.loc[("<Clara>", "specificity"), "n"] == 11 and found.loc[("consensus", "sensitivity"), "n"] == 5
    lengths = found.loc[("Anna", "Spearman's rho of lengths")]
    model, anna = [10, 11, 14, 0, 0], [10, 22, 35, 8, 12]
    ranks = np.corrcoef(pd.Series(model).rank(), pd.Series(anna).rank())[0, 1]
    assert lengths["n"] == 5 and lengths["value"] == pytest.approx(ranks)


def test_calls_of_a_run_are_those_of_the_test_set_at_its_threshold(study):
    run = study / "run"
    run.mkdir()
    rows = [(WOMEN[k], "R", "CC", "test" if k < 6 else "train", 0, 0.1 * k) for k in range(8)]
    columns = ["patient_id", "laterality", "view", "split", "bac", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(run / "predictions.csv", index=False)
    (run / "model.keras").write_bytes(b"a model")
    save_point(run, OperatingPoint(0.3, 0.3, "local-logits", 0.5, chosen_on="validation"))
    found = read_calls(run)
    assert found["call"].tolist() == [0, 0, 0, 1, 1, 1] and found["length_mm"].isna().all()
    assert read_calls(run / "predictions.csv", threshold=0.45)["call"].tolist() == [0, 0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="without a view in the set 'validation'"):
        read_calls(run, split="validation")
    with pytest.raises(FileNotFoundError, match="model: got .*, must be scores.csv"):
        read_calls(study / "none.csv")
    with pytest.raises(ValueError, match="scores.csv: got 'c .*R CC' twice"):
        read_calls(scores(study / "scores.csv", patient_id="c"))
    with pytest.raises(ValueError, match="threshold: got 2"):
        read_calls(run, threshold=2)


def test_exams_of_the_model_and_of_the_views(study):
    views = read_views(study / "views.csv").assign(exam="e7")
    found = read_calls(scores(study / "scores.csv", exam=""), views=views)
    assert set(found["exam"]) == {"e7"} and len(found) == 16
    two = pd.concat([views, views[:1].assign(exam="e8")])  # of which of the two is the call?
    assert WOMEN[0] not in set(read_calls(study / "scores.csv", views=two)["patient_id"])
    assert set(read_calls(scores(study / "scores.csv"), views=views)["exam"]) == {"x1"}


def test_a_threshold_of_ones_own_drops_lengths_of_other_calls(study):
    found = read_calls(scores(study / "scores.csv"), threshold=0.1)
    assert set(found["call"]) == {1} and found["length_mm"].notna().sum() == 5


def test_notebook_10(study, capsys):
    run_cells(
        "10_reader_agreement", cohort=str(study / "views.csv"), readings=str(study / "readings"),
        output=str(study / "out"), model=str(scores(study / "scores.csv")), bootstrap_samples=30, adjudicator="Berta",
    )  # fmt: skip
    out = study / "out"
    names = {"agreement.csv", "consensus.csv", "adjudication.csv", "model_and_readers.csv"}
    assert {path.name for path in out.iterdir()} == names | {"kappa.png", "length_differences.png"}
    agreement = pd.read_csv(out / "agreement.csv")
    assert set(agreement["second"].dropna()) == {"Anna"}  # the adjudicator is not one of the readers
    found = read_views(out / "consensus.csv").set_index(["patient_id", "laterality"])
    assert found.loc[("e", "R"), "bac_length_mm"] == 50 and found.loc[("d", "R"), "bac"] == 1
    assert pd.read_csv(out / "adjudication.csv").empty
    with pytest.raises(ValueError, match="output: got .*, must not be the folder of the readings"):
        run_cells("10_reader_agreement", readings=str(study / "readings"), output=str(study / "readings"))
    told = capsys.readouterr().out
    assert "<Clara> and Anna: kappa" in told and "model against the consensus, sensitivity" in told
