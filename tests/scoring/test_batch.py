"""Scoring of any files: one row per file, whatever the file, and no work done twice."""

import csv
import inspect
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from drawn_arteries import draw_artery
from mammogram_files import write as write_file
from PIL import Image
from pydicom.data import get_testdata_files
from scipy.ndimage import distance_transform_edt
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.arteries.segmentation import MARGIN_MM
from bac_utils.detector import MEASURES, Detector
from bac_utils.intake.mammogram import REASONS, Mammogram
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import Prepared, mask_to_original, prepare
from bac_utils.scoring import batch as scoring
from bac_utils.scoring import reading_pool
from bac_utils.scoring.batch import score_files
from bac_utils.scoring.journal import COLUMNS, drop_cut_line
from bac_utils.scoring.summaries import summarise_scores
from bac_utils.settings import preset
from bac_utils.simulator.cohort_files import write_views
from bac_utils.simulator.population import draw_women

ROOT = Path(__file__).resolve().parents[2]
POINT = {"threshold": 0.5, "chosen_on": "validation", "heatmap_threshold": 0.3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the path of an untrained tiny detector with its operating point."""
    from bac_utils.model import build_model

    folder = tmp_path_factory.mktemp("model")
    settings = preset("demo", input_shape=(96, 64), width_divisor=32, weights="none", seed=1)
    build_model(settings).save(folder / "model.keras")
    (folder / "operating_point.json").write_text(json.dumps(POINT | {"input_shape": [96, 64]}))
    return folder / "model.keras"


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Return a folder with four simulated views."""
    folder = tmp_path_factory.mktemp("views")
    write_views(draw_women(1, seed=4, prevalence=1.0), folder, pixel_spacing_mm=1.0, workers=1, truth=False)
    return folder / "images"


@pytest.fixture
def junk(tmp_path, views):
    """Return a folder of good and bad files."""
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    first, second = sorted(views.iterdir())[:2]
    (folder / "a.dcm").write_bytes(first.read_bytes())
    (folder / "deeper" / "b.dcm").write_bytes(second.read_bytes())
    (folder / "broken.dcm").write_bytes(first.read_bytes()[:3000])
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "notes.txt").write_text("not a mammogram")
    Image.fromarray(np.zeros((80, 60), np.uint8)).save(folder / "black.png")
    return folder


def read(path):
    return pd.read_csv(path, dtype={"patient_id": str})


def test_every_file_gets_a_row(tmp_path, junk, model):
    counts = score_files([junk], tmp_path / "scores.csv", model)
    table = read(tmp_path / "scores.csv")
    assert tuple(table.columns) == COLUMNS
    names = [str(Path(f).relative_to(junk)) for f in table["file"]]
    assert names == ["a.dcm", "black.png", "broken.dcm", os.path.join("deeper", "b.dcm"), "empty.dcm", "notes.txt"]
    scored = table[table["status"] == "scored"]
    assert [Path(f).name for f in scored["file"]] == ["a.dcm", "b.dcm"]
    assert scored["score"].between(0, 1).all() and (scored["bac"] == (scored["score"] >= 0.5)).all()
    assert (scored["breast_area_mm2"] > 0).all()
    assert (scored["elapsed_s"] > 0).all()
    assert scored["patient_id"].tolist() == ["S4-00001"] * 2
    assert set(zip(scored["laterality"], scored["view"], strict=True)) == {("L", "CC"), ("L", "MLO")}
    skipped = table.set_index(table["file"].map(lambda f: Path(f).name)).query("status == 'skipped'")
    assert set(skipped["reason"]) <= set(REASONS)
    assert skipped.loc["notes.txt", "reason"] == "not_an_image"
    assert skipped.loc["black.png", "reason"] == "no_breast"
    assert skipped["score"].isna().all()
    assert sum(counts.values()) == 6 and sum(n for what, n in counts.items() if what.startswith("scored")) == 2


def test_more_workers_give_the_same_rows(tmp_path, junk, model):
    for workers in (0, 2):
        score_files([junk], tmp_path / f"{workers}.csv", model, workers=workers)
    one, two = (read(tmp_path / f"{n}.csv").drop(columns="elapsed_s") for n in (0, 2))
    pd.testing.assert_frame_equal(one, two)


def test_scores_are_those_of_the_model(tmp_path, views, model):
    from bac_utils.model import load_model, predict_scores

    file = sorted(views.iterdir())[0]
    score_files([file], tmp_path / "scores.csv", model)
    prepared = prepare(read_mammogram(file), (96, 64))
    expected = predict_scores(load_model(model), prepared.pixels[None], 1)[0]
    assert read(tmp_path / "scores.csv").loc[0, "score"] == pytest.approx(expected, abs=1e-5)


def write_model(folder, model, **point):
    """Copy the model, with another operating point."""
    folder.mkdir()
    (folder / "model.keras").write_bytes(model.read_bytes())
    (folder / "operating_point.json").write_text(json.dumps(POINT | point))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_views_are_prepared_at_the_scale_of_the_operating_point(tmp_path, views, model, workers):
    from bac_utils.model import load_model, predict_scores

    files = sorted(views.iterdir())[:2]
    scaled = write_model(tmp_path / "scaled", model, pixel_mm=2.5)
    score_files(files, tmp_path / "scores.csv", scaled, workers=workers)
    found = read(tmp_path / "scores.csv")["score"]
    network = load_model(model)
    for pixel_mm, alike in ((2.5, True), (None, False)):
        pixels = np.stack([prepare(read_mammogram(file), (96, 64), pixel_mm).pixels for file in files])
        expected = predict_scores(network, pixels, 1)
        assert np.allclose(found, expected, rtol=0, atol=1e-6) == alike


def test_no_scale_and_null_mean_stretched(tmp_path, model):
    assert Detector(model).pixel_mm is None
    assert Detector(write_model(tmp_path / "null", model, pixel_mm=None)).pixel_mm is None
    assert Detector(write_model(tmp_path / "number", model, pixel_mm=2)).pixel_mm == 2


def test_a_table_with_another_scale_is_not_resumed(tmp_path, junk, model):
    score_files([junk / "notes.txt"], tmp_path / "scores.csv", model)
    null, number = (write_model(tmp_path / str(value), model, pixel_mm=value) for value in (None, 2.5))
    assert score_files([junk / "notes.txt"], tmp_path / "scores.csv", null) == {"done before": 1}
    with pytest.raises(ValueError, match="made with pixel_mm None instead of 2.5: choose another --output"):
        score_files([junk / "notes.txt"], tmp_path / "scores.csv", number)


COLD = np.zeros((24, 12), np.float32)
LOGIT = {"above": 2.0, "below": -2.0}  # sigmoid: 0.881 and 0.119; the threshold is 0.5


@pytest.fixture(scope="module")
def fine_model(tmp_path_factory):
    """Return the path of a tiny detector of 384 x 192 pixels, on which the drawn artery can be traced."""
    from bac_utils.model import build_model

    folder = tmp_path_factory.mktemp("fine")
    build_model(preset("demo", input_shape=(384, 192), width_divisor=32, weights="none")).save(folder / "model.keras")
    (folder / "operating_point.json").write_text(json.dumps(POINT))
    return folder


@pytest.fixture
def score_drawn(tmp_path, fine_model, monkeypatch):
    """Return a function that scores copies of a drawn artery, with given logits and heatmaps instead of the network's.

    It takes (name, logit, heatmap, changes of the DICOM elements) per view, and returns the table by name.
    """
    from bac_utils.heatmaps import Explainer

    drawn = draw_artery()
    values = np.where(drawn.breast, 1000 + 150 * drawn.pixels, 0).clip(0, 4095).astype(np.uint16)

    def score(*views, **options):
        (tmp_path / "in").mkdir()
        for number, (name, _, _, changes) in enumerate(views):
            identity = {"SOPInstanceUID": f"2.25.{number + 1}", "ImagerPixelSpacing": list(drawn.spacing_mm)}
            identity |= {"StudyInstanceUID": "2.25.98", "SeriesInstanceUID": "2.25.99"}
            write_file(tmp_path / "in" / name, values, **identity | changes)
        answers = iter(views)

        def explain(self, pixels):
            _, logit, heat, _ = next(answers)
            return np.array([logit]), {"local-logits": heat[None]}

        monkeypatch.setattr(Explainer, "__call__", explain)
        files = [tmp_path / "in" / name for name, *_ in views]
        counts = score_files(files, tmp_path / "scores.csv", fine_model, workers=0, **options)
        table = pd.read_csv(tmp_path / "scores.csv", dtype=str, keep_default_na=False)
        return counts, table.set_index(table["file"].map(lambda f: Path(f).name)), drawn

    return score


def test_rows_never_contradict_themselves(tmp_path, score_drawn):
    """BAC- means no length; BAC+ a length that was traced, or none with the reason."""
    heat = draw_artery().cells()
    views = [
        ("below.dcm", LOGIT["below"], heat, {"ViewPosition": "CC"}),
        ("above.dcm", LOGIT["above"], heat, {"ViewPosition": "MLO"}),
        ("cold.dcm", LOGIT["above"], COLD, {"ViewPosition": "CC", "ImageLaterality": "R"}),
    ]
    counts, rows, drawn = score_drawn(*views, dicom=tmp_path / "dicom")
    measures = ["bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "reason"]
    assert rows.loc["below.dcm", measures].tolist() == ["0", "0", "0", "0", ""]
    assert rows.loc["cold.dcm", measures].tolist() == ["1", "", "", "", "no_artery_traced"]
    assert rows.loc["above.dcm", ["bac", "reason"]].tolist() == ["1", ""]
    assert float(rows.loc["above.dcm", "bac_length_mm"]) == pytest.approx(drawn.length_mm, rel=0.1)
    assert (rows["breast_area_mm2"].astype(float) > 0).all()
    assert counts == {"scored": 2, "scored without measures (no artery traced)": 1}

    index = pd.read_csv(tmp_path / "dicom" / "index.csv", keep_default_na=False)
    assert index["file"].map(lambda f: Path(f).name).tolist() == ["above.dcm", "cold.dcm"]
    assert index["reason"].tolist() == ["", "no artery could be traced"]
    kinds = ("segmentation", "report", "picture")
    assert index.loc[1, list(kinds)].tolist() == [""] * 3
    written = {path.name for path in (tmp_path / "dicom").iterdir()}
    assert written == {".lock", "index.csv", "index.json", *index.loc[0, list(kinds)]}

    found = summarise_scores(tmp_path / "scores.csv")
    assert found.notes[0] == (
        "BAC+ views in which no artery could be traced (their breasts and exams have no area and no length): 1"
    )
    (woman,), (left, right) = found.women.to_dict("records"), found.breasts.to_dict("records")
    assert (woman["bac"], woman["views"]) == (1, 3)
    for row in (woman, right):
        assert np.isnan([row["bac_length_mm_sum"], row["bac_length_mm_max"], row["bac_area_mm2_sum"]]).all()
        assert row["severity_sum"] == ""
    assert left["bac_length_mm_sum"] == pytest.approx(drawn.length_mm, rel=0.1)


def test_without_a_pixel_spacing_there_are_no_measures(tmp_path, score_drawn):
    views = [
        (f"{name}.dcm", logit, heat, {"ImagerPixelSpacing": None})
        for name, logit, heat in (
            ("below", LOGIT["below"], draw_artery().cells()),
            ("above", LOGIT["above"], draw_artery().cells()),
            ("cold", LOGIT["above"], COLD),
        )
    ]
    counts, rows, _ = score_drawn(*views, dicom=tmp_path / "dicom")
    assert rows["bac"].tolist() == ["0", "1", "1"] and (rows["reason"] == "no_pixel_spacing").all()
    assert (rows[list(MEASURES)] == "").all(axis=None)
    assert counts == {"scored without measures (no pixel spacing)": 3}
    index = pd.read_csv(tmp_path / "dicom" / "index.csv", keep_default_na=False)
    assert index["reason"].tolist() == ["", "no heat above Th"]  # of above.dcm the heatmap's region is written


def test_a_spacing_that_is_not_used_is_the_reason(score_drawn):
    spacing = draw_artery().spacing_mm[0]
    sides = [round(n * spacing * factor) for n in draw_artery().pixels.shape for factor in (1, 2)]
    views = [
        ("stale.dcm", LOGIT["above"], COLD, {"FieldOfViewDimensions": [sides[1], sides[3]]}),
        ("below.dcm", LOGIT["below"], COLD, {"FieldOfViewDimensions": [sides[1], sides[3]]}),
        ("true.dcm", LOGIT["below"], COLD, {"FieldOfViewDimensions": [sides[0], sides[2]]}),
    ]
    counts, rows, _ = score_drawn(*views)
    assert rows["reason"].tolist() == ["spacing_contradicts_field_of_view"] * 2 + [""]
    assert (rows.loc[["stale.dcm", "below.dcm"], list(MEASURES)] == "").all(axis=None)
    assert rows.loc["true.dcm", "bac_length_mm"] == "0"
    assert counts == {"scored without measures (spacing contradicts field of view)": 2, "scored": 1}


MLO_TURNS = {  # PatientOrientation (rows, columns) after 0 to 3 quarter turns counter-clockwise
    "L": (["A", "FR"], ["FR", "P"], ["P", "HL"], ["HL", "A"]),
    "R": (["P", "FL"], ["FL", "A"], ["A", "HR"], ["HR", "P"]),
}


def test_turned_mlo_views_have_the_lengths_of_the_upright_one(tmp_path, score_drawn):
    """The chest wall of the prepared view is at the left, and in the original where the turn has brought it."""
    drawn = draw_artery()
    values = np.where(drawn.breast, 1000 + 150 * drawn.pixels, 0).clip(0, 4095).astype(np.uint16)
    views, walls = [], {}
    for side, directions in MLO_TURNS.items():
        for turns, stated in enumerate(directions):
            image = np.ascontiguousarray(np.rot90(values if side == "L" else values[:, ::-1], turns))
            changes = {"Rows": image.shape[0], "Columns": image.shape[1], "PixelData": image.tobytes()}
            changes |= {"ImageLaterality": side, "ViewPosition": "MLO", "PatientOrientation": stated}
            views.append((f"{side}{turns}.dcm", LOGIT["above"], drawn.cells(), changes))
            wall = np.zeros(values.shape, bool)
            wall[:, :2] = drawn.breast[:, :2]
            walls[views[-1][0]] = np.rot90(wall if side == "L" else wall[:, ::-1], turns)
    _, rows, _ = score_drawn(*views)
    assert (rows["status"] == "scored").all() and (rows["reason"] == "").all()
    assert float(rows.loc["L0.dcm", "bac_length_mm"]) == pytest.approx(drawn.length_mm, rel=0.1)
    for measure in MEASURES:
        assert rows[measure].nunique() == 1, rows[measure]
    for name, wall in walls.items():
        prepared = prepare(read_mammogram(tmp_path / "in" / name), values.shape)
        strip = np.zeros(values.shape, bool)
        strip[:, :2] = prepared.mask[:, :2]
        assert prepared.mask[:, 0].sum() == prepared.mask.sum(axis=0).max()
        found = mask_to_original(strip, prepared)
        assert (found & wall).sum() > 0.95 * wall.sum() and found.sum() < 1.05 * wall.sum()


def test_the_share_of_saturated_pixels_is_written(score_drawn):
    clipped = {"WindowCenter": "600", "WindowWidth": "1100"}  # up to 1150: one standard deviation above the mean
    _, rows, _ = score_drawn(("whole.dcm", LOGIT["below"], COLD, {}), ("clipped.dcm", LOGIT["below"], COLD, clipped))
    shares = rows["saturated_share"].astype(float)
    assert shares["whole.dcm"] < 0.02 and shares["clipped.dcm"] == pytest.approx(0.16, abs=0.02)


@pytest.fixture
def artery(model, monkeypatch):
    """Return a detector that finds a drawn artery, the drawing, and its prepared view."""
    view = draw_artery()
    corner = (0, view.pixels.shape[0], 0, view.pixels.shape[1])
    prepared = Prepared(view.pixels, view.spacing_mm, corner, corner, False, view.pixels.shape)
    detector = Detector(model)
    monkeypatch.setattr(detector, "_explain", lambda views: (np.array([2.0]), {"local-logits": view.cells()[None]}))
    return detector, view, prepared


def test_an_artery_is_measured_and_outlined_with_a_margin(artery):
    detector, view, prepared = artery
    found = detector.measure(prepared)
    names = ["bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2"]
    assert list(found) == ["score", "bac", "reason", *names, "saturated_share"] and found["reason"] == ""
    assert found["breast_area_mm2"] == pytest.approx(view.breast.sum() * np.prod(view.spacing_mm))
    assert (found["score"], found["bac"]) == (pytest.approx(1 / (1 + np.exp(-2))), 1)
    assert found["bac_length_mm"] == pytest.approx(view.length_mm, rel=0.1)
    assert found["bac_width_mm"] == pytest.approx(found["bac_area_mm2"] / found["bac_length_mm"], rel=0.05)
    np.testing.assert_array_equal(detector.heat(prepared), view.cells())
    outline = detector.outline(prepared)
    away_mm = distance_transform_edt(~view.artery, sampling=view.spacing_mm)
    assert outline[view.artery].mean() > 0.95 and outline[(away_mm < 0.5 * MARGIN_MM) & view.breast].mean() > 0.9
    assert np.percentile(away_mm[outline], 95) < MARGIN_MM + 1 and not outline[~view.breast].any()


def test_the_area_of_the_breast_does_not_depend_on_the_preparation(model):
    """A film of 240 x 160 mm with a breast of 120 x 80 mm: 9,600 mm2, stretched or at scale; else unknown."""
    pixels = np.full((120, 80), 10, np.float32)
    pixels[30:90, :40] = np.random.default_rng(0).normal(200, 3, (60, 40))
    for pixel_mm in (None, 4.0):
        prepared = prepare(Mammogram(pixels, spacing_mm=(2.0, 2.0)), (96, 64), pixel_mm)
        # the outline is smoothed at its two corners, and its rim is half a pixel thick
        assert Detector(model).measure(prepared)["breast_area_mm2"] == pytest.approx(9600, rel=0.03)
    unknown = prepare(Mammogram(pixels), (96, 64))
    assert Detector(model).measure(unknown)["breast_area_mm2"] is None


def test_the_operating_point_names_the_heatmap(tmp_path, views, model):
    from bac_utils.heatmaps import FORMS, Explainer
    from bac_utils.model import load_model

    prepared = prepare(read_mammogram(sorted(views.iterdir())[0]), (96, 64))
    _, heats = Explainer(load_model(model), FORMS)(prepared.pixels[None, ..., None])
    for form, expected in (
        (None, "local-logits"),
        ("per-image-maximum", "per-image-maximum"),
        ("layer-cam", "layer-cam"),
    ):
        detector = Detector(write_model(tmp_path / str(form), model, heatmap=form))
        np.testing.assert_allclose(detector.heat(prepared), heats[expected][0], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="operating_point.json: heatmap: got 'cam', must be one of local-logits"):
        Detector(write_model(tmp_path / "unknown", model, heatmap="cam"))


def test_a_folder_without_files_is_refused(tmp_path, model):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="paths: got .*empty, must contain at least one file to score"):
        score_files([tmp_path / "empty"], tmp_path / "scores.csv", model)
    assert not (tmp_path / "scores.csv").exists()


def test_a_table_with_another_heatmap_is_not_resumed(tmp_path, junk, model):
    score_files([junk / "notes.txt"], tmp_path / "scores.csv", model)
    assert json.loads((tmp_path / "scores.csv.json").read_text())["operating_point"]["heatmap"] is None
    other = write_model(tmp_path / "other", model, heatmap="per-image-maximum")
    with pytest.raises(ValueError, match="made with heatmap None instead of per-image-maximum"):
        score_files([junk / "notes.txt"], tmp_path / "scores.csv", other)


CHECK = {"views": 38, "women": 10, "median_absolute_error_mm": 12.5, "bias": -0.2}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "warning: lengths are unchecked at this operating point"),
        (
            (7, 85.0),
            "warning: at this operating point, 7 of 38 validation lengths are off by more than a factor of two",
        ),
        ((0, 0.0), None),
    ],
)
def test_a_warning_about_lengths_comes_once(tmp_path, views, model, capsys, wrong, words):
    own = tmp_path / "model.keras"
    shutil.copy(model, own)
    check = None if wrong is None else CHECK | dict(zip(("off_by_factor_two", "bac_minus_mm"), wrong, strict=True))
    (tmp_path / "operating_point.json").write_text(json.dumps(POINT | {"lengths_checked": check}))
    score_files([views], tmp_path / "scores.csv", own)
    lines = [line for line in re.split("[\r\n]+", capsys.readouterr().err) if "warning" in line]
    assert len(lines) == (words is not None) and all(line.startswith(words) for line in lines)
    score_files([views], tmp_path / "scores.csv", own)
    assert "warning" not in capsys.readouterr().err  # nothing is scored


def test_a_stopped_batch_is_resumed(tmp_path, junk, model, monkeypatch):
    output = tmp_path / "scores.csv"
    score_files([junk], output, model)
    whole = output.read_text(encoding="utf-8")
    lines = whole.splitlines(keepends=True)
    output.write_text("".join(lines[:3]) + lines[3][:20], encoding="utf-8")  # killed while writing a row
    seen = []
    reads = reading_pool.read_file
    monkeypatch.setattr(reading_pool, "read_file", lambda file, *form: (seen.append(file.name), reads(file, *form))[1])
    counts = score_files([junk], output, model)
    assert seen == ["broken.dcm", "b.dcm", "empty.dcm", "notes.txt"]
    assert counts["done before"] == 2
    assert [row["file"] for row in csv.DictReader(output.open())] == [
        row["file"] for row in csv.DictReader(whole.splitlines())
    ]
    output.write_text(lines[0][:10], encoding="utf-8")  # killed while writing the header
    assert score_files([junk], output, model)["done before"] == 0


def test_nothing_to_do_loads_no_model(tmp_path, junk, model, monkeypatch):
    score_files([junk / "notes.txt"], tmp_path / "scores.csv", model)
    monkeypatch.setattr(scoring, "Detector", None)
    assert score_files([junk / "notes.txt"], tmp_path / "scores.csv", model) == {"done before": 1}


def test_foreign_outputs_are_refused(tmp_path, junk, model):
    output = tmp_path / "mine.csv"
    output.write_text("name,age\nx,5\n")
    with pytest.raises(ValueError, match=r"mine.csv has other columns \(name,age\)"):
        score_files([junk], output, model)
    assert output.read_text() == "name,age\nx,5\n"
    old = ",".join(name for name in COLUMNS if name != "breast_area_mm2") + "\n"  # of an earlier version
    for text in (old, old + "x,,,,skipped,not_found,,,,,,0.1\n"):
        output.write_text(text)
        with pytest.raises(ValueError, match=r"mine.csv has other columns \(file,patient_id.*choose another --output"):
            score_files([junk], output, model)
        assert output.read_text() == text
    score_files([junk / "notes.txt"], tmp_path / "scores.csv", model)
    (model.parent / "other.keras").write_bytes(model.read_bytes())
    (model.parent / "other.json").write_text(json.dumps(POINT | {"threshold": 0.4}))
    with pytest.raises(ValueError, match="made with threshold .* instead of 0.4"):
        score_files([junk], tmp_path / "scores.csv", model.parent / "other.keras")


def test_output_inside_the_input_is_not_scored(junk, model):
    for _ in range(2):
        score_files([junk], junk / "scores.csv", model)
    assert len(read(junk / "scores.csv")) == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_kills_its_reader_is_one_row(tmp_path, junk, model, monkeypatch, workers):
    monkeypatch.setattr(reading_pool, "read_file", _read_or_die)
    score_files([junk / "broken.dcm", junk / "a.dcm"], tmp_path / "scores.csv", model, workers=workers)
    table = read(tmp_path / "scores.csv")
    assert table["status"].tolist() == ["skipped", "scored"]
    assert table.loc[0, "reason"] == "not_read"


def _read_or_die(file, *form, read=reading_pool.read_file):
    if file.name == "broken.dcm":
        os._exit(1)
    return read(file, *form)


@pytest.mark.skipif(os.name == "nt", reason="Windows has pipes of another kind")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_ends_while_it_sends_a_view_stops_no_other(tmp_path, junk, model, monkeypatch, workers):
    """Half a view is left in the pipe. Only this file is read again."""
    monkeypatch.setattr(reading_pool, "read_file", _read_and_send_half)
    files = [junk / name for name in ("a.dcm", "broken.dcm", "notes.txt", "black.png", "empty.dcm")]
    score_files(files, tmp_path / "scores.csv", model, workers=workers)
    table = read(tmp_path / "scores.csv")
    assert table["file"].tolist() == list(map(str, files))
    assert table.loc[1, "reason"] == "not_read" and table.loc[0, "status"] == "scored"
    assert sorted((junk / "reads").read_text().split()) == sorted(["broken.dcm", *(file.name for file in files)])
    assert not multiprocessing.active_children()


def _read_and_send_half(file, *form, read=reading_pool.read_file):
    def send_half(self, data):
        os.write(self.fileno(), data[: len(data) // 2])
        os._exit(1)

    with open(file.parent / "reads", "a") as stream:
        stream.write(f"{file.name}\n")
    if file.name == "broken.dcm":
        Connection._send = send_half
    return read(file, *form)


@pytest.mark.parametrize(("workers", "hanging"), [(1, {"2.dcm"}), (2, {"2.dcm", "3.dcm"})])
def test_a_file_that_never_returns_is_one_row(tmp_path, junk, model, monkeypatch, capsys, workers, hanging):
    """The time of the model does not count, and no process is left."""
    measure = Detector.measure
    monkeypatch.setattr(reading_pool, "read_file", _read_or_hang)
    monkeypatch.setattr(Detector, "measure", lambda *words: (time.sleep(4), measure(*words))[1])
    files = [junk / name for name in ("1.dcm", "2.dcm", "3.dcm", "4.dcm")]
    for file in files:
        text = b"hang" if file.name in hanging else b"not a mammogram"
        file.write_bytes((junk / "a.dcm").read_bytes() if file.name == "1.dcm" else text)
    output = tmp_path / "scores.csv"
    score_files(files, output, model, workers=workers, file_seconds=3)
    table, told = read(output), capsys.readouterr().err
    assert table["file"].tolist() == list(map(str, files))
    reasons = ["not_read" if file.name in hanging else "not_an_image" for file in files[1:]]
    assert table["status"].tolist() == ["scored"] + ["skipped"] * 3
    assert table["reason"].tolist()[1:] == reasons
    assert {file.name for file in files if f"{file}: reading it took longer than 3 s" in told} == hanging
    assert (table.loc[table["reason"] == "not_read", "elapsed_s"] >= 3).all()
    assert not multiprocessing.active_children()


def _read_or_hang(file, *form, read=reading_pool.read_file):
    """Hang like native code: an endless match keeps the interpreter's lock, so no other thread runs."""
    if file.read_bytes() == b"hang":
        re.match("(a+)+$", "a" * 99 + "b")
    return read(file, *form)


def test_time_in_the_queue_does_not_count(tmp_path, junk, model, monkeypatch):
    monkeypatch.setattr(reading_pool, "read_file", _read_slowly)
    for k in range(4):
        (junk / f"{k}.txt").write_text("not a mammogram")
    counts = score_files(sorted(junk.glob("*.txt")), tmp_path / "scores.csv", model, workers=1, file_seconds=3)
    assert counts == {"not_an_image": 5}


def _read_slowly(file, *form, read=reading_pool.read_file):
    time.sleep(1)
    return read(file, *form)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 86401])
def test_bad_time_limits(tmp_path, model, value):
    with pytest.raises(ValueError, match=f"file_seconds: got {value}, must be above 0 and at most 86400"):
        score_files([], tmp_path / "scores.csv", model, file_seconds=value)
    assert not (tmp_path / "scores.csv").exists()


def test_any_error_of_a_file_is_its_reason(tmp_path, junk, model, monkeypatch):
    def explode(path):
        raise MemoryError("no room")

    monkeypatch.setattr(reading_pool, "read_mammogram", explode)
    score_files([junk / "a.dcm"], tmp_path / "scores.csv", model)
    assert read(tmp_path / "scores.csv").loc[0, "reason"] == "not_read"


def test_an_error_is_reported_without_its_text(tmp_path, junk, model, monkeypatch, capsys):
    """The message of an unexpected error may quote patient data."""

    def explode(path):
        raise RuntimeError("PatientName Doe^Jane")

    monkeypatch.setattr(reading_pool, "read_mammogram", explode)
    score_files([junk / "a.dcm"], tmp_path / "scores.csv", model)
    told = capsys.readouterr()
    assert "RuntimeError while reading" in told.err
    assert "Doe" not in told.err + told.out + (tmp_path / "scores.csv").read_text()


def test_a_copy_is_not_scored_twice(tmp_path, junk, model):
    """Not even if the batch was stopped between the two copies, or between a digest and its row."""
    for name in ("copy.dcm", "z.dcm"):
        (junk / name).write_bytes((junk / "a.dcm").read_bytes())
    output, journal = tmp_path / "scores.csv", tmp_path / "scores.csv.instances"
    score_files([junk / "a.dcm", junk / "copy.dcm"], output, model)
    assert read(output)["status"].tolist() == ["scored", "skipped"]
    assert read(output).loc[1, "reason"] == "duplicate"
    score_files([junk / "z.dcm"], output, model)
    assert read(output).loc[2, "reason"] == "duplicate"
    lines = output.read_text().splitlines(keepends=True)
    output.write_text(lines[0])  # the digest of a.dcm is there, its row is not
    journal.write_text(journal.read_text() + "cut o")
    counts = score_files([junk / "a.dcm", junk / "copy.dcm"], output, model)
    assert counts == {"scored": 1, "duplicate": 1}
    assert read(output)["status"].tolist() == ["scored", "skipped"]


def test_pseudonyms(tmp_path, junk, model):
    """The digest is RFC 4231's first test case; no identifier is left in any file."""
    assert scoring.pseudonym("Hi There", b"\x0b" * 20) == "b0344c61d8db3853"
    with pytest.raises(ValueError, match="key: got 5 bytes, must be 16 or more"):
        scoring.pseudonym("x", b"short")
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    options = ["score", str(junk / "a.dcm"), "--output", str(tmp_path / "scores.csv"), "--model", str(model)]
    done = CliRunner().invoke(cli.app, [*options, "--key-file", str(key)])
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "scores.csv").loc[0, "patient_id"] == scoring.pseudonym("S4-00001", key.read_bytes())
    for path in tmp_path.glob("scores*"):
        assert "S4-00001" not in path.read_text()
    with pytest.raises(ValueError, match="made with another key, or with and without one"):
        score_files([junk], tmp_path / "scores.csv", model)


def test_exams_of_the_headers(tmp_path, junk, model):
    """As in the files; with a key, as pseudonyms, with the interval of 189 days from March to September."""
    exams = (("a.dcm", "A-31", "20230307"), ("deeper/b.dcm", "A-94", "20230912"))
    for name, accession, study_date in exams:
        ds = pydicom.dcmread(junk / name)
        ds.AccessionNumber, ds.StudyDate = accession, study_date
        ds.save_as(junk / name)
    files, key = [junk / name for name, _, _ in exams], bytes(range(32))
    score_files(files, tmp_path / "plain.csv", model)
    found = read(tmp_path / "plain.csv")
    assert found[["exam", "study_date"]].to_numpy().tolist() == [["A-31", "2023-03-07"], ["A-94", "2023-09-12"]]
    assert found["image_rank"].tolist() == [4, 4]  # their ImageType is DERIVED
    score_files(files, tmp_path / "keyed.csv", model, key=key)
    keyed = read(tmp_path / "keyed.csv")
    assert keyed["exam"].tolist() == [scoring.exam_pseudonym("S4-00001", exam, key) for _, exam, _ in exams]
    first, second = pd.to_datetime(keyed["study_date"])
    assert (second - first).days == 189 and 1 <= (pd.Timestamp("2023-03-07") - first).days <= 365
    assert len(summarise_scores(tmp_path / "keyed.csv").exams) == 2
    for path in tmp_path.glob("keyed*"):
        assert not any(word in path.read_text() for word in ("A-31", "A-94", "2023-03-07", "20230307"))


def test_nothing_else_that_identifies_is_written(tmp_path, junk, model, capsys):
    values = {
        "PatientName": "Doe^Jane", "PatientBirthDate": "19510203", "PatientID": "H-4711", "AccessionNumber": "A-4712",
        "StudyInstanceUID": "1.2.99.1", "SeriesInstanceUID": "1.2.99.2", "SOPInstanceUID": "1.2.99.3",
        "StudyDate": "20190405", "InstitutionName": "St. Elsewhere", "ReferringPhysicianName": "Roe^Rita",
        "OtherPatientIDs": "H-4713", "PatientAddress": "Elm Street", "StudyDescription": "for Jane",
    }  # fmt: skip
    for name in ("a.dcm", "broken.dcm", "unfit.dcm"):
        ds = pydicom.dcmread(junk / "a.dcm")
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        with pydicom.config.disable_value_validation():
            ds.ViewPosition = "Doe^Jane" if name == "unfit.dcm" else ds.ViewPosition
            ds.save_as(junk / name)
    whole = (junk / "broken.dcm").read_bytes()
    (junk / "broken.dcm").write_bytes(whole[: len(whole) // 2])
    score_files([junk], tmp_path / "scores.csv", model, key=bytes(16))
    told = capsys.readouterr()
    text = told.err + told.out + "".join(path.read_text() for path in tmp_path.glob("scores*"))
    words = {word for value in values.values() for word in value.split("^")}
    assert not any(word in text for word in words), text


def test_odd_names_and_values_stay_one_line(tmp_path, junk, model, capsys):
    """A line break or a quote within a row would spoil the table of a batch that was killed while writing it."""
    odd = junk / 'a\n"b\x1b[31m,\r.dcm'
    ds = pydicom.dcmread(junk / "a.dcm")
    with pydicom.config.disable_value_validation():
        ds.PatientID, ds.SOPInstanceUID = "W\n1", "2.25.7"
        ds.save_as(odd)
    (junk / "c\nd").write_text("not a mammogram")
    (junk / "\udcff").write_text("not a mammogram")  # a name that is not UTF-8
    output = tmp_path / "scores.csv"
    score_files([junk], output, model)
    text = output.read_bytes()
    assert text.count(b"\n") == 10 and b"\r" not in text
    rows = read(output).set_index("file")
    assert rows.loc[str(odd).replace("\n", "\\n").replace("\r", "\\r"), "patient_id"] == "W\\n1"
    assert "\x1b" not in capsys.readouterr().err
    for cut in range(text.index(b"b\x1b") - 6, text.index(b"b\x1b") + 30, 12):
        output.write_bytes(text[:cut])
        score_files([junk], output, model)
        again = read(output).drop(columns="elapsed_s")
        pd.testing.assert_frame_equal(again, rows.reset_index().drop(columns="elapsed_s"))


@pytest.mark.parametrize("kept", [b"", b"a,b\n", b"a\n" * 40_000])
@pytest.mark.parametrize("cut", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_cut_off_line_is_dropped(tmp_path, kept, cut):
    (tmp_path / "x").write_bytes(kept + b"z" * cut)
    with open(tmp_path / "x", "rb+") as stream:
        drop_cut_line(stream)
    assert (tmp_path / "x").read_bytes() == kept


def test_every_file_of_pydicom_gets_a_row(tmp_path, model):
    """Its test files are of all kinds except mammograms."""
    files = sorted({file for file in map(Path, get_testdata_files()) if file.is_file()})
    assert len(files) > 150
    counts = score_files(files, tmp_path / "scores.csv", model, workers=0)
    assert sum(counts.values()) == len(files) and set(counts) <= set(REASONS)
    assert len(read(tmp_path / "scores.csv")) == len(files)


def test_a_folder_that_cannot_be_opened_is_a_row(tmp_path, junk, model, monkeypatch):
    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse_deeper(getattr(os, name)))
    assert score_files([junk], tmp_path / "scores.csv", model, workers=0)["scored"] == 1
    rows = read(tmp_path / "scores.csv").set_index("file")
    assert rows.loc[str(junk / "deeper"), "reason"] == "unreadable"


def refuse_deeper(function):
    def refuse(path="."):
        if os.path.basename(path) == "deeper":
            raise PermissionError("no")
        return function(path)

    return refuse


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: (f / "model.keras").unlink(), FileNotFoundError, "must be a .keras file or a finished run's"),
        (lambda f: (f / "operating_point.json").unlink(), FileNotFoundError, "no operating point beside"),
        (
            lambda f: (f / "operating_point.json").write_text("{}"),
            ValueError,
            "threshold and heatmap_threshold must be",
        ),
        (lambda f: (f / "operating_point.json").write_text("?"), ValueError, "operating_point.json: .*JSON"),
        (
            lambda f: (f / "operating_point.json").write_text(json.dumps(POINT | {"pixel_mm": 0})),
            ValueError,
            "pixel_mm: got 0, must be a positive number",
        ),
        (
            lambda f: (f / "operating_point.json").write_text(json.dumps(POINT | {"pixel_mm": "stretch"})),
            ValueError,
            "pixel_mm: got 'stretch', must be a positive number",
        ),
    ],
)
def test_incomplete_models_are_named(tmp_path, model, change, error, words):
    (tmp_path / "model.keras").write_bytes(model.read_bytes())
    (tmp_path / "operating_point.json").write_text(json.dumps(POINT))
    change(tmp_path)
    with pytest.raises(error, match=words):
        score_files([], tmp_path / "scores.csv", tmp_path)
    assert not (tmp_path / "scores.csv").exists()


def test_workers(tmp_path, model):
    with pytest.raises(ValueError, match="workers: got -1"):
        score_files([], tmp_path / "scores.csv", model, workers=-1)


def test_command(tmp_path, junk, model):
    words = ["score", junk / "a.dcm", junk / "notes.txt", "--output", tmp_path / "scores.csv", "--model", model]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0
    assert f"files: 2 (1 scored, 1 not an image), written to {tmp_path / 'scores.csv'}" in done.output
    again = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert "files: 2 (2 done before), written to" in again.output
    wrong = CliRunner().invoke(cli.app, [*(str(word) for word in words), "--file-seconds", "0"])
    assert wrong.exit_code == 2 and "--file-seconds" in wrong.output
    assert inspect.signature(cli.score).parameters["file_seconds"].default == scoring.FILE_SECONDS


def test_processes_that_cannot_start_are_not_blamed_on_the_files(tmp_path, junk, model):
    call = f"score_files([{str(junk)!r}], 'out.csv', {str(model)!r}, workers=2)"
    code = f"from bac_utils.scoring.batch import score_files\n{call}"
    (tmp_path / "unguarded.py").write_text(code)
    words = [sys.executable, "unguarded.py"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1
    assert "workers: the reading processes do not start" in done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1


def test_the_command_line_prints_its_own_lines_only(tmp_path):
    """With the bundled detector and any Keras backend set by the user, without TensorFlow's notices."""
    output = tmp_path / "scores.csv"
    write_views(draw_women(1, seed=4), tmp_path, pixel_spacing_mm=0.4, workers=1, truth=False)
    view = sorted((tmp_path / "images").iterdir())[0]
    words = [sys.executable, "-m", "bac_utils", "score", str(view), "--output", str(output)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_CPP", "TF_ENABLE"))}
    environment |= {"KERAS_BACKEND": "torch"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"files: 1 \(1 scored.*\), written to {re.escape(str(output))}\n", done.stdout)
    lines = [line for line in re.split("[\r\n]+", done.stderr) if line]
    assert lines and all(re.fullmatch(r"scoring: +\d+%\|.*file(/s)?\]|scoring: .*file/s\]", line) for line in lines), (
        lines
    )


def test_two_calls_at_once(tmp_path, junk, model):
    """One of them scores, the other one is refused; no row is doubled or mixed with those of another model."""
    words = [sys.executable, "-m", "bac_utils", "score", junk, "--output", tmp_path / "scores.csv", "--model", model]
    first, second = (subprocess.Popen(list(map(str, words)), cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2))
    told = [call.communicate()[1].decode() for call in (first, second)]
    assert 0 in (first.returncode, second.returncode)
    for call, text in zip((first, second), told, strict=True):
        assert call.returncode == 0 or f"{tmp_path / 'scores.csv'} is in use by another process" in text
    files = read(tmp_path / "scores.csv")["file"]
    assert sorted(files) == sorted(str(path) for path in junk.rglob("*.*") if path.is_file())
