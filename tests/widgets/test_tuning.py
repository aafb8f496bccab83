"""What a slider's move computes, against the functions that the notebooks use."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from finished_run import make_run
from scipy import stats

from bac_utils.dataset import INDEX_FILE
from bac_utils.detection import classify_outcomes, detection_metrics
from bac_utils.detector import save_point
from bac_utils.quantify import bac_area, heatmap_area
from bac_utils.run_folder import save_heatmaps
from bac_utils.settings import LOWEST_SCORE, PAPER_HEATMAP_THRESHOLD
from bac_utils.views_table import is_compared
from bac_utils.widgets.store import ViewStore
from bac_utils.widgets.tuning import TH_GRID, DetectionTuner, LengthTuner, areas_by_threshold, nearest, outline


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ViewStore(make_run(tmp_path_factory.mktemp("runs") / "run"))


def test_outcomes():
    found = classify_outcomes([1, 0, 1, 0, np.nan], [0.9, 0.9, 0.1, 0.1, 0.9], 0.5)
    assert found.tolist() == ["TP", "FP", "FN", "TN", ""]
    assert classify_outcomes([1], [0.5], 0.5).tolist() == ["TP"]  # at least the threshold


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


def test_the_outline_encloses_the_mask():
    mask = np.zeros((60, 40), bool)
    mask[20:33, 8:19] = True
    (polygon,) = outline(mask)
    drawn = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [(polygon - 0.5).astype(np.int32)], 1)
    assert (drawn.astype(bool) == mask).all()
    assert outline(mask & False) == []


def test_areas_are_those_of_quantify(store):
    row = next(row for row in store.measured_rows("validation") if store.heat(row) is not None)
    pixels, heat, spacing = store.pixels(row), store.heat(row), store.spacing_mm(row)
    areas = areas_by_threshold(pixels, heat, spacing)
    assert areas.shape == TH_GRID.shape and (np.diff(areas) <= 0).all()
    assert areas[nearest(0.3)] == bac_area(heat, pixels.shape, TH_GRID[nearest(0.3)], spacing, pixels != 0)[0]


def test_the_papers_th_is_on_the_slider():
    assert TH_GRID[nearest(PAPER_HEATMAP_THRESHOLD)] == PAPER_HEATMAP_THRESHOLD and TH_GRID[-1] < 1


@pytest.mark.parametrize("form", ["local-logits", "per-image-maximum"])
@pytest.mark.parametrize("threshold", [0.2, 0.7])
@pytest.mark.parametrize("th", [0.3, 0.333])
def test_rho_is_that_of_notebook_04(store, threshold, th, form):
    """A map over its per-image maximum counts only at or above the detection threshold; any Th is measured."""
    point = store.point
    store.point = replace(point, heatmap=form)
    tuner = LengthTuner(store, "validation", samples=20)
    store.point = point
    assert len(tuner.rows) == len(tuner.lengths) == 4
    areas = []
    for row in tuner.rows:
        pixels, heat, bac = store.pixels(row), store.heat(row), store.table.loc[row, "score"] >= threshold
        areas.append(heatmap_area(heat, form, bac, pixels.shape, th, store.spacing_mm(row), pixels != 0)[0])
    expected = stats.spearmanr(areas, tuner.lengths).statistic if np.ptp(areas) else np.nan
    assert tuner.rho(threshold, th)[0] == pytest.approx(expected, nan_ok=True)
    if th in TH_GRID:
        assert tuner.curve(threshold)[nearest(th)] == pytest.approx(expected, nan_ok=True)
    assert len(LengthTuner(store, "quantification", samples=20).rows) == 6


def test_no_lengths_no_rho(store):
    assert np.isnan(LengthTuner(store, "train", samples=20).rho(0.5, 0.3)[0])  # no heatmaps of the training set
    assert store.measured_rows("train") == []


def test_the_store_reads_what_was_saved(store):
    table = store.table
    saved = (table["score"] >= LOWEST_SCORE) | is_compared(table)
    with_heat = (table["split"] == "quantification") | ((table["split"] != "train") & saved)
    assert (table["with_heat"] == with_heat).all() and store.shape == (192, 96)
    row = table.index[table["split"] == "quantification"][0]
    twin = table.index[("Q" + table["patient_id"] == table.loc[row, "patient_id"]) & (table["view"] == "MLO")]
    twin = next(i for i in twin if table.loc[i, "laterality"] == table.loc[row, "laterality"])
    assert (store.pixels(row) == store.pixels(twin)).all() and store.spacing_mm(row) == store.spacing_mm(twin)
    for row in table.index[table["with_heat"]][:5]:
        assert store.heat(row).max() <= table.loc[row, "score"] + 1e-3


def test_a_view_is_measured_at_any_operating_point(store):
    row = store.measured_rows("validation")[0]
    score = store.table.loc[row, "score"]
    point = replace(store.point, threshold=score, heatmap_threshold=0.25)
    expected = point.measure(score, store.heat(row), store.pixels(row), store.spacing_mm(row))
    assert store.measure(row, point).length_mm == expected.length_mm > 0
    assert store.measure(row, replace(point, threshold=score + 1e-6)).length_mm == 0
    train = store.table.index[(store.table["split"] == "train") & (store.table["score"] > 0.5)][0]
    assert store.measure(train, replace(point, threshold=0.5)) is None  # no heatmap was saved
    assert store.measure(train, replace(point, threshold=0.999)).length_mm == 0


def test_heatmaps_of_another_form_are_refused(tmp_path):
    run = make_run(tmp_path / "run", women=12, shape=(160, 80), subset=False)
    save_point(run, replace(ViewStore(run).point, heatmap="layer-cam"))
    with pytest.raises(ValueError, match="heatmaps.npz has heatmaps of the form local-logits, must be layer-cam"):
        ViewStore(run)


@pytest.mark.parametrize("change", ["stopped", "outdated", "another form"])
def test_views_of_an_unfinished_notebook_04_are_left_out(tmp_path, change):
    run = make_run(tmp_path / "run", women=12, shape=(160, 80))
    assert "quantification" in set(ViewStore(run).table["split"])
    if change == "stopped":
        (run / "parts" / "quantification.json").unlink()
    elif change == "outdated":
        (run / "quantification.csv").write_text((run / "quantification.csv").read_text() + "\n")
    else:
        with np.load(run / "heatmaps_quantification.npz") as saved:
            np.savez(run / "heatmaps_quantification.npz", **(dict(saved) | {"form": "layer-cam"}))
    assert set(ViewStore(run).table["split"]) == {"train", "validation", "test"}


def test_a_cache_of_another_pixel_size_is_refused(tmp_path):
    run = make_run(tmp_path / "run", women=12)
    index = run / "cache" / INDEX_FILE
    index.write_text(index.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match="views were prepared again after notebook 03: run notebooks 02-04 again"):
        ViewStore(run)


def test_heatmaps_that_do_not_pair_up(tmp_path):
    table = pd.DataFrame({"patient_id": ["a"], "laterality": ["L"], "view": ["CC"]})
    with pytest.raises(ValueError, match="heats: got 2, must be 1"):
        save_heatmaps(tmp_path, "detection", "layer-cam", table, np.zeros((2, 3, 2)), [None])
    with pytest.raises(ValueError, match="part: got 'other'"):
        save_heatmaps(tmp_path, "other", "layer-cam", table, np.zeros((1, 3, 2)), [None])
    save_heatmaps(tmp_path, "detection", "layer-cam", table, np.zeros((1, 3, 2)), [None])
    assert [p.name for p in tmp_path.iterdir()] == ["heatmaps.npz"]
    with pytest.raises(FileNotFoundError, match="run notebook 01 first"):
        ViewStore(tmp_path)
