"""The run's folder: checked settings, parts, summary, and the table beside the paper."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from bac_utils import run_folder as results
from bac_utils.settings import DEMO, HEATMAPS, PAPER, PUBLISHED

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


def test_presets_pass_unchanged():
    assert results.checked_settings("demo") == DEMO
    assert results.checked_settings("paper", epochs=None) == PAPER


def test_lists_become_tuples():
    settings = results.checked_settings("demo", input_shape=[96, 64], age_limits=[50, 60, 70])
    assert settings.input_shape == (96, 64)
    assert settings.age_limits == (50, 60, 70)


def test_the_scale_is_a_number_or_stretched():
    assert results.checked_settings("paper", view_pixel_mm=0.15).view_pixel_mm == 0.15
    assert results.checked_settings("demo", view_pixel_mm=1).view_pixel_mm == 1
    assert results.checked_settings("demo", view_pixel_mm="stretch").view_pixel_mm is None


def test_heatmap_and_threshold_are_given_or_chosen():
    assert results.checked_settings("demo", heatmap=None, heatmap_threshold=None) == DEMO
    for form in HEATMAPS:
        settings = results.checked_settings("paper", heatmap=form, heatmap_threshold=0.4)
        assert (settings.heatmap, settings.heatmap_threshold) == (form, 0.4)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs: got 0, must be a whole number from 1"),
        ({"epochs": 2.5}, TypeError, "epochs: got 2.5, must be a whole number"),
        ({"epochs": True}, TypeError, "epochs: got True"),
        ({"train_prevalence": 1.2}, ValueError, "train_prevalence: got 1.2"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate: got nan"),
        ({"seed": -1}, ValueError, "seed: got -1"),
        ({"input_shape": [96]}, TypeError, "input_shape: got .*list of 2 numbers"),
        ({"input_shape": [16, 64]}, ValueError, "input_shape: .*32 or more"),
        ({"age_limits": [60, 50, 70]}, ValueError, "age_limits: .*must rise"),
        ({"age_limits": "quartiles"}, TypeError, "age_limits: got 'quartiles'"),
        ({"split_fractions": [0.7, 0.2, 0.2]}, ValueError, "split_fractions: .*sum to 1"),
        ({"weights": 3}, TypeError, "weights: got 3, must be text"),
        ({"view_pixel_mm": 0}, ValueError, "view_pixel_mm: got 0, must be a number from 0.02 to 5.0 or 'stretch'"),
        ({"view_pixel_mm": 5.1}, ValueError, "view_pixel_mm: got 5.1, must be a number from 0.02 to 5.0"),
        ({"view_pixel_mm": math.nan}, ValueError, "view_pixel_mm: got nan"),
        ({"view_pixel_mm": "fit"}, TypeError, "view_pixel_mm: got 'fit', must be a number or 'stretch'"),
        ({"view_pixel_mm": True}, TypeError, "view_pixel_mm: got True"),
        ({"view_pixel_mm": [0.3, 0.3]}, TypeError, r"view_pixel_mm: got \(0.3, 0.3\)"),
        ({"heatmap": "cam"}, ValueError, r"heatmap: got 'cam', must be one of cells, grad-cam\+\+, .*, or None"),
        ({"heatmap_threshold": 1}, ValueError, "heatmap_threshold: got 1, must be a number from 0.01 to 0.99"),
        ({"heatmap_threshold": "0.3"}, TypeError, "heatmap_threshold: got '0.3', must be a number"),
        ({"epoch": 3}, ValueError, "unknown field 'epoch'"),
    ],
)
def test_bad_settings_are_named(changes, error, words):
    with pytest.raises(error, match=words):
        results.checked_settings("demo", **changes)


def test_unknown_preset():
    with pytest.raises(ValueError, match="preset: got 'dmeo'"):
        results.checked_settings("dmeo")


def test_later_notebooks_agree_with_the_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the notebook that makes the cohort part first"):
        results.open_run(tmp_path / "run", "demo")
    assert not (tmp_path / "run").exists()
    folder, settings = results.open_run(tmp_path / "run", "demo", first=True, seed=7)
    results.save_part(folder, "cohort", preset="demo", seed=settings.seed)
    assert results.open_run(tmp_path / "run", "demo", seed=7, epochs=3)[1].epochs == 3
    with pytest.raises(ValueError, match="seed: got 2023, but the cohort in .* was made with 7"):
        results.open_run(tmp_path / "run", "demo")
    with pytest.raises(ValueError, match="preset: got 'paper'"):
        results.open_run(tmp_path / "run", "paper", seed=7)


def test_plain_json():
    values = {"a": np.float64(0.5), "b": np.array([1, 2]), "c": math.nan, "d": (np.int64(3), None), 5: np.bool_(True)}
    assert results.plain(values) == {"a": 0.5, "b": [1, 2], "c": None, "d": [3, None], "5": True}


def test_summary_joins_the_parts(tmp_path):
    results.save_part(tmp_path, "cohort", preset="demo", seed=1, cohort=COHORT | {"age_range": [45, 87]}, splits={})
    results.save_part(tmp_path, "training", best_epoch=4)
    test = {"tn": 1, "tp": 2, "auc_roc": 0.96, "auc_roc_ci": (0.9, math.nan), "undefined_resamples": 0}
    results.save_part(
        tmp_path, "detection", threshold={"value": 0.4, "chosen_on": "validation"}, detection={"test": test}
    )
    summary = results.write_summary(tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert list(summary) == ["preset", "seed", "versions", *results.SUMMARY_KEYS]
    assert summary["cohort"] == COHORT
    assert summary["detection"]["test"] == {"tn": 1, "tp": 2, "auc_roc": 0.96, "auc_roc_ci": [0.9, None]}
    assert summary["quantification"] is None
    assert summary["versions"]["bac-utils"] == results.__version__


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.954, [0.91, 0.987], "0.95 [0.91, 0.99]"),
        (0.954, None, "0.95"),
        (0.954, [None, None], "0.95"),
        (None, [0.1, 0.2], "-"),
        (math.nan, None, "-"),
    ],
)
def test_with_interval(value, interval, text):
    assert results.with_interval(value, interval) == text


def test_table_shows_the_published_numbers():
    paper = {
        "cohort": dict(PUBLISHED),
        "detection": PUBLISHED["detection"],
        "quantification": {"spearman_rho": 0.88, "paper_recipe_rho": 0.88},
        "timing": {"elaboration_mean_s": 0.80, "elaboration_sd_s": 0.07},
    }
    table = results.results_table(paper)
    assert (table["this run"] == table["paper"]).all()
    assert table.loc["test AUC-ROC", "paper"] == "0.94"
    assert table.loc["BAC+ women", "paper"] == "194 (13.0%)"


def test_table_of_an_unfinished_run():
    table = results.results_table({"cohort": COHORT, "detection": None, "quantification": None, "timing": None})
    assert table.loc["test AUC-PR", "this run"] == "-"
    assert table.loc["seconds a view", "this run"] == "-"
    assert table.loc["the same, paper's recipe", "this run"] == "-"


def test_table_has_the_papers_recipe_below_the_measured_length():
    found = {"spearman_rho": 0.913, "spearman_ci": [0.85, 0.95], "paper_recipe_rho": 0.7}
    table = results.results_table({"cohort": COHORT, "detection": None, "quantification": found, "timing": None})
    assert table.index[-3:-1].tolist() == ["Spearman rho, area and length", "the same, paper's recipe"]
    assert table["this run"].iloc[-3:-1].tolist() == ["0.91 [0.85, 0.95]", "0.70"]
    assert table["paper"].iloc[-3:-1].tolist() == ["0.88", "0.88"]


def test_the_sets_are_prepared_at_the_scale_that_is_asked_for(tmp_path, monkeypatch):
    from bac_utils import dataset, views_table

    names = ["test", "unused", "train", "validation", "train"]
    views, asked = pd.DataFrame({"patient_id": list("abcde"), "split": names}), []

    def prepare_views(*given):
        asked.append(given[1:])
        return dataset.PreparedViews(None, given[0])

    monkeypatch.setattr(views_table, "read_views", lambda path: views)
    monkeypatch.setattr(dataset, "prepare_views", prepare_views)
    prepared, sets = results.prepared_sets(tmp_path, (96, 64), workers=2, pixel_mm=2.5)
    assert prepared.table["patient_id"].tolist() == list("ceda")
    assert sets == {"train": slice(0, 2), "validation": slice(2, 3), "test": slice(3, 4)}
    results.prepared_sets(tmp_path, (96, 64))
    assert asked == [(tmp_path / "cache", (96, 64), 2, 2.5), (tmp_path / "cache", (96, 64), 1, None)]
