"""What a slider's move computes, against the functions that the notebooks use."""

import numpy as np
import pandas as pd
import pytest
from finished_run import make_run
from scipy import stats

from bac_utils.detection import detection_metrics
from bac_utils.quantify import bac_area, bac_region, measure
from bac_utils.widgets.store import COLDEST, ViewStore, make_heatmaps, save_heatmaps
from bac_utils.widgets.tuning import (
    TH_GRID,
    DetectionTuner,
    LengthTuner,
    areas_by_threshold,
    measure_view,
    nearest,
    outcome,
    outline,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ViewStore(make_run(tmp_path_factory.mktemp("runs") / "run"))


def test_outcomes():
    found = outcome([1, 0, 1, 0, np.nan], [0.9, 0.9, 0.1, 0.1, 0.9], 0.5)
    assert found.tolist() == ["TP", "FP", "FN", "TN", ""]
    assert outcome([1], [0.5], 0.5).tolist() == ["TP"]  # at least the threshold


def test_detection_is_that_of_its_module(store):
    table = store.table[store.table["split"] != "quantification"]
    tuner = DetectionTuner(table)
    assert tuner.sets == ("train", "validation", "test")
    part = table[table["split"] == "validation"]
    for threshold in (0, 0.3, 0.5, float(part["score"].iloc[0]), 1):
        assert tuner.at("validation", threshold) == detection_metrics(part["bac"], part["score"], threshold)
    curve = tuner.curve("validation")
    for k in (0, 5, -1):
        there = detection_metrics(part["bac"], part["score"], curve["threshold"][k])
        assert curve["recall"][k] == there["recall"] and curve["precision"][k] == there["precision"]
        assert curve["false_positive_rate"][k] == pytest.approx(1 - there["specificity"])


def test_a_set_of_one_class_is_left_out():
    table = pd.DataFrame(
        {"split": ["validation"] * 3 + ["test"] * 2, "bac": [0, 1, 1, 0, 0], "score": [0.1, 0.4, 0.3, 0, 1]}
    )
    assert DetectionTuner(table).sets == ("validation",)


def test_the_outline_is_that_of_the_region():
    import cv2

    pixels, heat = np.ones((60, 40), np.float32), np.zeros((6, 4), np.float32)
    heat[2, 1] = 0.9
    region = bac_region(heat, pixels.shape, 0.3, pixels != 0)
    (polygon,) = outline(pixels, heat, 0.3)
    drawn = cv2.fillPoly(np.zeros(pixels.shape, np.uint8), [(polygon - 0.5).astype(np.int32)], 1)
    assert (drawn.astype(bool) == region).all()
    assert outline(pixels, heat, 0.95) == []


def test_measured_as_quantify_does(store):
    row = store.measured_rows("validation")[0]
    pixels, heat, spacing = store.pixels(row), store.heat(row), store.spacing_mm(row)
    assert measure_view(pixels, heat, 0.3, spacing) == measure(heat, pixels.shape, 0.3, spacing, pixels != 0)
    cold = measure_view(pixels, heat * 0, 0.3, None)
    assert cold == {"area": 0.0, "area_unit": "px", "length": 0.0, "length_unit": "px"}
    areas = areas_by_threshold(pixels, heat, spacing)
    assert areas.shape == TH_GRID.shape and (np.diff(areas) <= 0).all()
    assert areas[nearest(0.3)] == bac_area(heat, pixels.shape, TH_GRID[nearest(0.3)], spacing, pixels != 0)[0]


def test_the_papers_th_is_on_the_slider():
    assert TH_GRID[nearest(0.3)] == 0.3 and TH_GRID[0] == COLDEST and TH_GRID[-1] < 1


def test_rho_is_spearmans(store):
    tuner = LengthTuner(store, "validation", samples=20)
    assert len(tuner.rows) == len(tuner.lengths) == 4
    expected = stats.spearmanr(tuner.areas[:, nearest(0.3)], tuner.lengths).statistic
    assert tuner.rho(0.3) == pytest.approx(expected)
    assert len(LengthTuner(store, "quantification", samples=20).rows) == 6


def test_no_lengths_no_rho(store):
    assert np.isnan(LengthTuner(store, "train", samples=20).rho(0.3))  # no heatmaps of the training set
    assert store.measured_rows("train") == []


def test_the_store_reads_what_was_saved(store):
    table = store.table
    assert table["with_heat"].sum() == (table["split"] != "train").sum() and store.shape == (192, 96)
    row = table.index[table["split"] == "quantification"][0]
    twin = table.index[("Q" + table["patient_id"] == table.loc[row, "patient_id"]) & (table["view"] == "MLO")]
    twin = next(i for i in twin if table.loc[i, "laterality"] == table.loc[row, "laterality"])
    assert (store.pixels(row) == store.pixels(twin)).all() and store.spacing_mm(row) == store.spacing_mm(twin)
    for row in table.index[table["with_heat"]][:5]:
        assert store.heat(row).max() <= table.loc[row, "score"] + 1e-3


def test_cold_views_are_not_explained():
    asked = []

    def explain(views):
        asked.append(len(views))
        return np.full((len(views), 2, 1), 0.5)

    pixels, scores = np.ones((6, 4, 2), np.float16), [0.9, 0.01, 0.5, 0.099, 0.1, 0.8]
    found = make_heatmaps(explain, pixels, [0, 1, 3, 4, 5], scores, 2)
    assert asked == [2, 1] and found.shape == (5, 2, 1)
    assert found[:, 0, 0].tolist() == [0.5, 0, 0, 0.5, 0.5]
    assert make_heatmaps(explain, pixels, [1], scores, 2).shape == (1, 1, 1)


def test_heatmaps_that_do_not_pair_up(tmp_path):
    table = pd.DataFrame({"patient_id": ["a"], "laterality": ["L"], "view": ["CC"]})
    with pytest.raises(ValueError, match="heats: got 2, must be 1"):
        save_heatmaps(tmp_path, "detection", table, np.zeros((2, 3, 2)), [None])
    with pytest.raises(ValueError, match="part: got 'other'"):
        save_heatmaps(tmp_path, "other", table, np.zeros((1, 3, 2)), [None])
    save_heatmaps(tmp_path, "detection", table, np.zeros((1, 3, 2)), [None])
    assert [p.name for p in tmp_path.iterdir()] == ["heatmaps.npz"]
    with pytest.raises(FileNotFoundError, match="run notebooks 01 to 03 first"):
        ViewStore(tmp_path)
