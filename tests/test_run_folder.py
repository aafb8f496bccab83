"""The run's folder: checked settings, parts, summary, and the comparison with the paper."""

import json
import math

import pandas as pd
import pytest

from bac_utils import run_folder
from bac_utils.settings import PUBLISHED

COHORT = {
    "women": 520,
    "views": 2080,
    "bac_women": 68,
    "bac_views": 200,
    "age_median": 59.0,
    "age_iqr": [52.0, 68.0],
    "mann_whitney_p": 1e-9,
    "prevalence_by_age_class": [0.06, 0.12, 0.34, 0.38],
}


def write_products(folder, upto="quantification"):
    """Write the files of the parts and the parts, as the notebooks do."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, product) in run_folder.PRODUCTS.items():
        (folder / product).write_text(name)
        values = {"preset": "demo", "seed": 7} if name == "cohort" else {}
        run_folder.save_part(folder, name, **values)
        if name == upto:
            return


def test_later_notebooks_agree_with_the_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 01 first"):
        run_folder.open_run(tmp_path / "run", "demo", after="cohort")
    assert not (tmp_path / "run").exists()
    folder, settings = run_folder.open_run(tmp_path / "run", "demo", seed=7)
    write_products(folder, "cohort")
    assert run_folder.open_run(folder, "demo", after="cohort", seed=7, epochs=3)[1].epochs == 3
    with pytest.raises(ValueError, match="seed: got 2023, but the cohort in .* was made with 7"):
        run_folder.open_run(folder, "demo", after="cohort")
    with pytest.raises(ValueError, match="preset: got 'paper'"):
        run_folder.open_run(folder, "paper", after="cohort", seed=7)
    with pytest.raises(FileNotFoundError, match="run notebook 02 first"):
        run_folder.open_run(folder, "demo", after="training", seed=7)


@pytest.mark.parametrize(
    ("product", "last", "words"),
    [
        ("views.csv", "training", "views.csv in .* has changed since notebook 01 ran"),
        ("model.keras", "detection", "model.keras in .* has changed since notebook 02 ran"),
        ("predictions.csv", "quantification", "predictions.csv in .* has changed since notebook 03 ran"),
    ],
)
def test_files_of_another_study_are_refused(tmp_path, product, last, words):
    write_products(tmp_path)
    run_folder.check_parts(tmp_path, "quantification")
    (tmp_path / product).write_text("of another study")
    with pytest.raises(ValueError, match=words):
        run_folder.check_parts(tmp_path, last)


def test_a_new_cohort_with_an_old_model_is_refused(tmp_path):
    """If only notebook 01 is run again, on other women, its part matches its table, but not the model."""
    write_products(tmp_path)
    (tmp_path / "views.csv").write_text("other women")
    run_folder.save_part(tmp_path, "cohort", preset="demo", seed=7)
    assert run_folder.open_run(tmp_path, "demo", after="cohort", seed=7)
    for name in ("training", "detection", "quantification"):
        with pytest.raises(
            ValueError, match="views.csv in .* has changed since notebook 02 ran; choose another output"
        ):
            run_folder.open_run(tmp_path, "demo", after=name, seed=7)
    with pytest.raises(ValueError, match="has changed since notebook 02 ran"):
        run_folder.write_summary(tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_the_views_of_a_trained_run_are_not_replaced(tmp_path):
    run_folder.refuse_other_cohort(tmp_path, "anything")  # an empty folder
    write_products(tmp_path, "cohort")
    run_folder.refuse_other_cohort(tmp_path, "anything")  # nothing was trained on them
    write_products(tmp_path, "training")
    run_folder.refuse_other_cohort(tmp_path, "cohort")  # the same content
    with pytest.raises(ValueError, match="has a model that was trained on another cohort; choose another output"):
        run_folder.refuse_other_cohort(tmp_path, "other women")


def test_summary_joins_the_parts(tmp_path):
    write_products(tmp_path, "detection")
    run_folder.save_part(tmp_path, "cohort", preset="demo", seed=1, cohort=COHORT | {"age_range": [45, 87]}, splits={})
    run_folder.save_part(tmp_path, "training", best_epoch=4)
    test = {"tn": 1, "tp": 2, "auc_roc": 0.96, "auc_roc_ci": (0.9, math.nan), "undefined_resamples": 0}
    run_folder.save_part(
        tmp_path, "detection", threshold={"value": 0.4, "chosen_on": "validation"}, detection={"test": test}
    )
    summary = run_folder.write_summary(tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert list(summary) == ["preset", "seed", "versions", *run_folder.SUMMARY_KEYS]
    assert summary["cohort"] == COHORT
    assert summary["detection"]["test"] == {"tn": 1, "tp": 2, "auc_roc": 0.96, "auc_roc_ci": [0.9, None]}
    assert summary["quantification"] is None
    assert summary["versions"]["bac-utils"] == run_folder.__version__


def summary_of(**parts):
    return {"cohort": COHORT} | dict.fromkeys(run_folder.SUMMARY_KEYS[2:]) | parts


def test_table_shows_the_published_numbers():
    paper = summary_of(
        cohort=dict(PUBLISHED),
        detection=PUBLISHED["detection"],
        quantification={"spearman_rho": 0.88, "paper_recipe_rho": 0.88},
        timing={"elaboration_mean_s": 0.80, "elaboration_sd_s": 0.07},
    )
    table = run_folder.results_table(paper)
    assert (table["this run"] == table["paper"]).all()
    assert table.loc["Test views: AUC-ROC", "paper"] == "0.94"
    assert table.loc["BAC+ women", "paper"] == "194 (13.0%)"


def test_table_of_an_unfinished_run():
    table = run_folder.results_table(summary_of())
    for name in ("Test views: AUC-PR", "Test women: AUC-ROC", "Seconds per view", "Spearman's rho, the paper's recipe"):
        assert table.loc[name, "this run"] == "-"


def test_table_has_results_by_woman_and_the_papers_recipe():
    found = {"spearman_rho": 0.913, "spearman_ci": [0.85, 0.95], "paper_recipe_rho": 0.7}
    women = {"test": {"auc_roc": 0.951, "auc_roc_ci": [0.9, 0.99]}}
    table = run_folder.results_table(summary_of(quantification=found, detection_by_woman=women))
    assert table.loc["Test women: AUC-ROC"].tolist() == ["0.95 [0.90, 0.99]", "-"]
    assert table.loc["Spearman's rho of area and length"].tolist() == ["0.91 [0.85, 0.95]", "0.88"]
    assert table.loc["Spearman's rho, the paper's recipe"].tolist() == ["0.70", "0.88"]


def test_the_sets_are_prepared_at_the_requested_scale(tmp_path, monkeypatch):
    from bac_utils import dataset

    names = ["test", "unused", "train", "validation", "train"]
    views, asked = pd.DataFrame({"patient_id": list("abcde"), "split": names}), []

    def prepare_views(*given):
        asked.append(given[1:])
        return dataset.PreparedViews(None, given[0])

    monkeypatch.setattr(run_folder, "read_views", lambda path: views)
    monkeypatch.setattr(dataset, "prepare_views", prepare_views)
    prepared, sets = run_folder.prepared_sets(tmp_path, (96, 64), workers=2, pixel_mm=2.5)
    assert prepared.table["patient_id"].tolist() == list("ceda")
    assert sets == {"train": slice(0, 2), "validation": slice(2, 3), "test": slice(3, 4)}
    run_folder.prepared_sets(tmp_path, (96, 64))
    assert asked == [(tmp_path / "cache", (96, 64), 2, 2.5), (tmp_path / "cache", (96, 64), 1, None)]
