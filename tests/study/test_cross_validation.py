"""Cross-validation by woman: the folds, the pooled numbers by hand, and a run on tiny notebooks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nbformat import write as write_nb
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner
from view_rows import four_views

from bac_utils import __main__ as cli
from bac_utils.agreement import correlate
from bac_utils.detection import METRICS, detection_intervals
from bac_utils.settings import PAPER
from bac_utils.study import cross_validation, runner
from bac_utils.study.cross_validation import (
    fold_views,
    folds_table,
    mean_over_folds,
    pooled_correlation,
    pooled_detection,
    split_folds,
)
from bac_utils.study.execution import NotebookError
from bac_utils.study.folder import PREPARED
from bac_utils.views_table import check_views, read_views

# the folds


def cohort(by_class, negative):
    """One row per woman: BAC+ women by age (NaN: unknown), and BAC- women."""
    rows = [(age, 1) for age, count in by_class.items() for _ in range(count)] + [(57, 0)] * negative
    table = pd.DataFrame(rows, columns=["age", "bac"], dtype=float)
    table.insert(0, "patient_id", [f"W{k:03d}" for k in range(len(table))])
    return table.astype({"bac": int})


def test_each_woman_is_tested_once_in_equal_folds():
    """10, 5 and 5 BAC+ women of three strata and 50 BAC- women in 5 folds: 2, 1, 1 and 10 of them in each test set."""
    women = cohort({52: 10, 65: 5, np.nan: 5}, 50)
    split = split_folds(women, PAPER, 5)
    assert split.index.tolist() == women["patient_id"].tolist() and split.columns.tolist() == [1, 2, 3, 4, 5]
    assert ((split == "test").sum(axis=1) == 1).all()
    stratum = women.set_index("patient_id")["age"].where(women["bac"].to_numpy() == 1, -1).fillna(0)
    for fold in split:
        assert stratum[split[fold] == "test"].value_counts().to_dict() == {-1: 10, 52: 2, 65: 1, 0: 1}
        # Of the other 16 BAC+ women, 15/85 (2.8) are for validation, of 40 BAC- women 7.06; PAPER's training set has
        # 30 % BAC+ women: 13 with 30 without.
        counts = pd.crosstab(split[fold], women.set_index("patient_id")["bac"])
        assert counts.loc["validation", 1] == 3 and counts.loc["validation", 0] == 7
        assert counts.loc["train"].tolist() == [30, 13] and counts.loc["unused"].tolist() == [3, 0]


def test_small_strata_are_balanced_in_sum():
    """3 + 3 + 2 BAC+ women of three age classes in 4 folds: 2 of them are tested in each fold."""
    women = cohort({52: 3, 65: 3, 80: 2}, 10)
    split = split_folds(women, replace(PAPER, split_fractions=(0.6, 0.2, 0.2)), 4)
    positive = split.loc[women["patient_id"][women["bac"] == 1].to_numpy()]
    assert ((positive == "test").sum() == 2).all()
    assert (split == "test").sum().tolist() in ([5, 5, 4, 4], [4, 4, 5, 5], [5, 4, 5, 4], [4, 5, 4, 5])


def test_folds_are_reproducible():
    women = cohort({52: 10, 65: 10}, 50)
    first = split_folds(women, PAPER, 5)
    pd.testing.assert_frame_equal(split_folds(women, PAPER, 5), first)
    shuffled = split_folds(women.sample(frac=1, random_state=0), PAPER, 5)
    pd.testing.assert_frame_equal(shuffled.loc[first.index], first)
    assert not split_folds(women, replace(PAPER, seed=1), 5).equals(first)


@pytest.mark.parametrize(
    ("folds", "women", "words"),
    [
        (1, cohort({52: 5}, 5), "folds: got 1, must be at least 2"),
        (5, cohort({52: 4}, 9), r"folds: got 5, but the cohort has 4 BAC\+ women, .* must be at most 4"),
        (5, cohort({52: 9}, 4), "folds: got 5, but the cohort has 4 BAC- women, .* must be at most 4"),
        (2, cohort({52: 3}, 9), r"fold \d of 2, without its test set: women: got [12] BAC\+ and [45] BAC- women, "),
        (2, cohort({52: 3}, 0), r"got 3 BAC\+ women of 3"),
    ],
)
def test_cohorts_that_cannot_be_divided_are_refused(folds, women, words):
    with pytest.raises(ValueError, match=words):
        split_folds(women, PAPER, folds)


def test_views_of_a_woman_are_on_one_side():
    rows = [row for k in range(12) for row in four_views(f"W{k:02d}", age=50 + 3 * k, bac=(k % 2,) * 4)]
    rows += four_views("young", age=40) + four_views("three")[:3]
    views = check_views(pd.DataFrame(rows))
    tables = fold_views(views, PAPER, 3)
    assert len(tables) == 3
    for table in tables:
        assert len(table) == 48 and (table.groupby("patient_id")["split"].nunique() == 1).all()
        assert set(table["split"]) <= {"train", "validation", "test", "unused"}
    tested = pd.concat(table[table["split"] == "test"] for table in tables)
    assert sorted(tested["image"]) == sorted(tables[0]["image"])
    by_quartiles = fold_views(views, replace(PAPER, age_limits=(57, 66, 74)), 3)  # of the ages 50, 53, ..., 83
    pd.testing.assert_frame_equal(fold_views(views, PAPER, 3, population_limits=True)[0], by_quartiles[0])
    assert not by_quartiles[0].equals(tables[0])
    with pytest.raises(ValueError, match="column 'split': must be absent, as --folds assigns the sets"):
        fold_views(views.assign(split="train"), PAPER, 3)


# the pooled numbers


def predictions(*folds):
    """Rows of (woman, bac, score) and the threshold for each fold."""
    rows = [(w, bac, score, k, threshold) for k, (threshold, *views) in enumerate(folds, 1) for w, bac, score in views]
    return pd.DataFrame(rows, columns=["patient_id", "bac", "score", "fold", "threshold"])


TWO_FOLDS = predictions(
    (0.5, ("a", 1, 0.9), ("a", 1, 0.4), ("b", 0, 0.6), ("b", 0, 0.1), ("c", 1, 0.8)),
    (0.05, ("d", 1, 0.06), ("e", 0, 0.04), ("e", 0, 0.05)),
)


def test_pooled_detection_by_hand():
    """Fold 1, threshold 0.5: 2 TP, 1 FN, 1 FP, 1 TN; AUC 5/6. Fold 2, threshold 0.05: 1 TP, 1 FP, 1 TN; AUC 1.

    Average precision in fold 1: hits at ranks 1, 2 and 4, (1 + 1 + 3/4) / 3. Weights: 3 and 1 positives.
    """
    found = pooled_detection(TWO_FOLDS, 200, 1)
    assert [found[name] for name in ("tn", "tp", "fn", "fp")] == [2, 3, 1, 2]
    assert found["precision"] == pytest.approx(3 / 5) and found["recall"] == pytest.approx(3 / 4)
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["auc_roc"] == pytest.approx((3 * 5 / 6 + 1) / 4)
    assert found["auc_pr"] == pytest.approx((3 * (1 + 1 + 3 / 4) / 3 + 1) / 4)
    assert found["auc_roc_ci"] == found["auc_pr_ci"] == [None, None]  # fewer than five women per class


def test_intervals_of_one_fold_are_those_of_a_run():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient_id": np.repeat(np.arange(40), 2), "bac": np.repeat(np.arange(40) % 2, 2)})
    table["score"] = (1 / (1 + np.exp(-rng.normal(1.5 * table["bac"])))).round(3)
    found = pooled_detection(table.assign(fold=1, threshold=0.5), 300, 4)
    known = detection_intervals(table, 0.5, 300, 4)
    for name in METRICS:
        assert found[f"{name}_ci"] == pytest.approx(known[name], abs=1e-9)
    half = table.assign(fold=1 + table["patient_id"] % 4 // 2, threshold=0.5)  # two folds of 20 women
    low, high = pooled_detection(half, 300, 4)["auc_roc_ci"]
    assert high - low == pytest.approx(np.diff(known["auc_roc"])[0], rel=0.3)


def test_scores_of_different_folds_are_not_compared():
    """In each fold all BAC+ views have the higher scores, but those of fold 2 are below all others of fold 1."""
    views = [("a", 1, 0.9), ("b", 0, 0.8)], [("c", 1, 0.2), ("d", 0, 0.1)]
    found = pooled_detection(predictions((0.85, *views[0]), (0.15, *views[1])), 50, 1)
    assert (found["auc_roc"], found["auc_pr"], found["f1"]) == (1, 1, 1)


def test_women_are_resampled_within_folds():
    """The mean of a weight that counts views is the size of the fold in every resample if each woman has one view."""
    table = pd.DataFrame({"patient_id": list("abcdefg"), "x": 1.0, "fold": [1] * 5 + [2] * 2})

    def size(x, _):
        return float(len(x)), 1.0

    mean, draws = mean_over_folds(table, ["x", "x"], size, 30, 0)
    assert mean == 3.5 and draws.tolist() == [3.5] * 30


def test_a_fold_in_which_the_statistic_is_undefined_has_no_weight():
    table = pd.DataFrame({"patient_id": list("abc"), "x": [1.0, 3.0, 9.0], "fold": [1, 1, 2]})

    def mean(x, _):
        return (None if len(x) < 2 else x.mean()), float(len(x))

    found, draws = mean_over_folds(table, ["x", "x"], mean, 40, 0)
    assert found == 2 and set(draws) == {1, 2, 3}  # of women a and b, one twice or both
    found, draws = mean_over_folds(table, ["x", "x"], lambda x, y: (None, 1.0), 40, 0)
    assert found is None and np.isnan(draws).all() and draws.shape == (40,)


def test_pooled_correlation_by_hand():
    """Rho is 1 in fold 1 (4 views) and -1 in fold 2 (3 views): (4 - 3) / 7. Fold 2 has its areas in pixels."""
    table = pd.DataFrame(
        {
            "patient_id": list("abcdefg") + ["h"],
            "bac": [1] * 6 + [0, 1],
            "fold": [1] * 4 + [2] * 4,
            "heatmap_area_mm2": [1.0, 2, 3, 4] + [np.nan] * 4,
            "heatmap_area_px": [np.nan] * 4 + [30.0, 20, 10, 99],
            "bac_length_mm": [1.0, 5, 6, 9, 1, 2, 3, np.nan],
        }
    )
    found = pooled_correlation(table, 200, 1)
    assert (found["views"], found["bac_views"]) == (8, 7)
    assert found["spearman_rho"] == pytest.approx(1 / 7) and found["paper_recipe_rho"] is None
    low, high = found["spearman_ci"]
    assert low <= 1 / 7 <= high
    one = table[:7].assign(fold=1, heatmap_area_mm2=[3.0, 1, 2, 5, 4, 7, 6]).drop(columns="heatmap_area_px")
    known = correlate(one["heatmap_area_mm2"], one["bac_length_mm"], one["patient_id"], 200, 1)
    alone = pooled_correlation(one, 200, 1)
    assert alone["spearman_rho"] == pytest.approx(known["spearman_rho"])
    assert alone["spearman_ci"] == pytest.approx(known["spearman_ci"], abs=1e-9)
    unknown = pooled_correlation(table.drop(columns="bac_length_mm"), 50, 1)
    assert unknown["spearman_rho"] is None and unknown["spearman_ci"] is None


# the run

PARAMETERS = 'preset = "demo"\noutput = "."\ncohort = ""\nseed = None\nfail = 0\nbootstrap_samples = None\n'
FIRST = """from pathlib import Path
from bac_utils.run_folder import save_part
from bac_utils.views_table import read_views
run, views = Path(output), read_views(cohort, check_images=True)
views.drop(columns="image_path").to_csv(run / "views.csv", index=False)
counts = dict(women=12, views=48, bac_women=6, bac_views=24, age_median=59.0)
sets = {name: dict(women=4, views=16, bac_views=8) for name in ("train", "validation", "test")}
save_part(run, "cohort", preset=preset, seed=seed or 2023, cohort=counts, splits=sets)
with open(run.parent / "ran.txt", "a") as told:
    told.write(f"{run.name} ")"""
REST = """from pathlib import Path
from bac_utils.detection import detection_summary
from bac_utils.run_folder import save_part
import pandas as pd
run = Path(output)
number = int(run.name[-1])
if number == fail:
    raise ValueError("stop")
table = pd.read_csv(run / "views.csv")
table = table[table["split"] != "unused"].assign(score=(0.2 + 0.6 * table["bac"]) / number)
(run / "model.keras").write_bytes(b"a model")
save_part(run, "training")
names = ["patient_id", "laterality", "view", "split", "bac"]
table[[*names, "score"]].to_csv(run / "predictions.csv", index=False)
found = detection_summary(table, 0.5 / number, 20, 1)
save_part(run, "detection", threshold=dict(value=0.5 / number), detection=found)
table = table[table["split"] == "test"].assign(heatmap_area_mm2=table["score"], elapsed_s=0.5)
table[[*names, "heatmap_area_mm2", "elapsed_s"]].to_csv(run / "quantification.csv", index=False)
save_part(run, "quantification", quantification=dict(views=len(table), spearman_rho=None))"""


@pytest.fixture
def study(tmp_path):
    """Return folders: of notebooks, and of a cohort of 12 women, of whom 6 have BAC and two no age."""
    notebooks, archive = tmp_path / "notebooks", tmp_path / "archive"
    notebooks.mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for name, code in (("01_first", FIRST), ("04_rest", REST), ("05_tuner", "raise ValueError('interactive')")):
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(code)]
        write_nb(new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebooks / f"{name}.ipynb")
    archive.mkdir()
    ages = [None, *range(50, 80, 3), None]
    rows = [row for k in range(12) for row in four_views(f"W{k:02d}", age=ages[k], bac=(k % 2,) * 4)]
    for row in rows:
        (archive / row["image"]).write_bytes(b"")
    pd.DataFrame(rows).to_csv(archive / "views.csv", index=False)
    return notebooks, archive / "views.csv"


def test_run_resume_pool_refuse_overwrite(tmp_path, study, capsys):
    notebooks, table = study
    output = tmp_path / "run"
    given = dict(cohort=table, notebooks=notebooks, parameters={"fail": 3, "bootstrap_samples": 50})
    with pytest.raises(NotebookError, match="stop"):
        runner.run_folds(output, 3, **given)
    assert not (output / "summary.json").exists() and not (output / "predictions.csv").exists()
    with pytest.raises(FileExistsError, match="contains a run with folds 3, not 2"):
        runner.run_folds(output, 2, **given)
    with pytest.raises(FileExistsError, match="contains a run with folds 3, not None"):
        runner.run_notebooks(output, **given)
    rest = json.loads((notebooks / "04_rest.ipynb").read_text())
    (notebooks / "04_rest.ipynb").write_text(json.dumps(rest).replace("== fail", "== -fail"))
    summary = runner.run_folds(output, 3, **given)
    assert (output / "ran.txt").read_text() == "fold-1 fold-2 fold-3 "  # the finished folds were not run again

    assert summary == json.loads((output / "summary.json").read_text())
    tested = pd.read_csv(output / "predictions.csv")
    assert len(tested) == 48 and sorted(tested["patient_id"].unique()) == [f"W{k:02d}" for k in range(12)]
    assert (tested["threshold"] == 0.5 / tested["fold"]).all() and (tested["bac_predicted"] == tested["bac"]).all()
    women = [set(tested.loc[tested["fold"] == fold, "patient_id"]) for fold in (1, 2, 3)]
    for fold in (1, 2, 3):
        views = read_views(output / f"fold-{fold}.csv", check_images=True)
        assert set(views.loc[views["split"] == "test", "patient_id"]) == women[fold - 1]
        assert views["age"].isna().sum() == 8
    found = summary["detection"]["test"]
    assert [found[name] for name in ("tn", "tp", "fn", "fp", "auc_roc")] == [24, 24, 0, 0, 1]
    assert summary["detection_by_woman"]["test"]["tp"] == 6
    assert summary["splits"]["test"] == {"women": 12, "views": 48, "bac_views": 24}
    assert summary["inclusion"][-1]["remaining"] == {"views": 48, "women": 12}
    listed, counted = (pd.read_csv(output / f"{name}.csv") for name in ("inclusion", "exclusions"))
    assert len(listed) == 48 and listed["stage"].isna().all() and counted["views_left"].iloc[-1] == 48
    assert (output / "figures" / "inclusion.png").is_file()
    assert [fold["threshold"]["value"] for fold in summary["folds"]] == [0.5, 0.25, 0.5 / 3]
    assert summary["timing"]["elaboration_mean_s"] == 0.5 and summary["quantification"]["views"] == 48
    assert folds_table(summary).loc[2, "threshold"] == "0.250"
    words = cross_validation.closing_words(output, summary)
    assert "0.250" in words and "AUC-ROC" in words and str(output / "fold-1") in words

    with pytest.raises(FileExistsError, match="contains a finished run"):
        runner.run_folds(output, 3, **given)
    (output / "fold-1" / "reader_notes.csv").write_text("mine")
    (output / "fold-1" / "cache").mkdir()
    for name in PREPARED:
        (output / "fold-1" / "cache" / name).write_text("prepared")
    runner.run_folds(output, 2, overwrite=True, **given)
    assert (output / "ran.txt").read_text().split()[3:] == ["fold-1", "fold-2"]
    assert (output / "fold-1" / "reader_notes.csv").read_text() == "mine"
    assert (output / "fold-2" / "cache" / "views.npy").read_text() == "prepared"  # passed on to the next fold
    assert not (output / "fold-3").exists() and not (output / "fold-3.csv").exists()


@pytest.mark.parametrize(
    ("women", "folds", "words"),
    [
        (12, 1, "folds: got 1, must be at least 2"),
        (12, 7, r"folds: got 7, but the cohort has 6 BAC[+-] women"),
        (4, 2, r"fold 1 of 2, without its test set: women: got 1 BAC\+ and 1 BAC- women"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_work(tmp_path, study, women, folds, words):
    notebooks, table = study
    pd.read_csv(table)[: 4 * women].to_csv(table, index=False)
    with pytest.raises(ValueError, match=words):
        runner.run_folds(tmp_path / "run", folds, cohort=table, notebooks=notebooks)
    assert not (tmp_path / "run").exists()


def test_the_command(tmp_path, study, monkeypatch):
    call = CliRunner().invoke
    done = call(cli.app, ["run", "--folds", "5", "--output", str(tmp_path / "run")])
    assert done.exit_code == 2 and "--folds: needs --cohort" in " ".join(done.output.split())
    done = call(cli.app, ["run", "--folds", "1", "--cohort", str(study[1])])
    assert done.exit_code == 2 and "--folds" in done.output
    seen = []
    monkeypatch.setattr(
        runner, "run_folds", lambda *arguments, readings: seen.extend([*arguments, readings]) or "summary"
    )
    monkeypatch.setattr(cross_validation, "closing_words", lambda *_: "the end")
    monkeypatch.setattr("bac_utils.report.folder.write_report", lambda _: [])
    words = ["run", "--folds", "5", "--cohort", str(study[1]), "--output", str(tmp_path / "run"), "-p", "epochs", "3"]
    done = call(cli.app, words)
    assert (done.exit_code, done.output) == (0, "the end\n")
    assert seen == [tmp_path / "run", 5, "demo", study[1], {"epochs": 3}, False, None]
