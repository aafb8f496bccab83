"""The notebooks are committed without outputs, and run end to end on a tiny simulated cohort."""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from page_requests import asked_elsewhere

from bac_utils import heatmap_choice
from bac_utils._files import file_digest
from bac_utils.agreement import correlate, length_agreement
from bac_utils.detection import METRICS, counts_metrics
from bac_utils.detector import BUNDLED, Detector, find_detector, keep_thresholds, load_point, save_point
from bac_utils.heatmaps import NAMES, Explainer, make_heatmaps
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import load_model, predict_scores
from bac_utils.preprocess import prepare
from bac_utils.report import write_report
from bac_utils.run_folder import load_part, prepared_sets, save_heatmaps, save_part
from bac_utils.scoring.batch import score_files
from bac_utils.settings import DEFAULT_HEATMAP_THRESHOLD, HEATMAPS, LOWEST_SCORE
from bac_utils.simulator.cohort_files import cohort_table, write_views
from bac_utils.simulator.population import draw_women
from bac_utils.study.execution import declared_parameters
from bac_utils.study.folder import OWN_FILES, OWN_FOLDERS
from bac_utils.study.runner import NOTEBOOKS, STUDY_NOTEBOOKS, run_notebooks
from bac_utils.views_table import SETS, is_compared, read_views
from bac_utils.widgets import ViewStore, open_browser, open_tuner

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
OF_A_RUN = sorted(NOTEBOOKS.glob(STUDY_NOTEBOOKS))
TINY = {
    "women": 60,
    "quantification_women": 5,
    "pixel_spacing_mm": 1.5,
    "workers": 1,
    "input_shape": [96, 64],
    "view_pixel_mm": 2.5,
    "width_divisor": 32,
    "weights": "none",
    "sweep_trainable_convolutions": [5, 0],
    "epochs": 2,
    "learning_rate": 0.01,
    "bootstrap_samples": 50,
    "train_prevalence": 0.5,
    "split_fractions": [0.5, 0.25, 0.25],
    "seed": 3,
    "sample_women": 2,
    "sample_spacing_mm": 0.35,
    "texture_women": 1,
    "artery_women": 8,
}


def cells(path, kind="code"):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == kind:
            yield cell, "".join(cell["source"])


def run_cells(name, **values):
    """Run the code of a notebook in this process, which takes less time than starting a kernel."""
    scope = {"display": lambda *_: None}
    for cell, code in cells(NOTEBOOKS / f"{name}.ipynb"):
        exec(compile(code, name, "exec"), scope)
        if "parameters" in cell["metadata"].get("tags", []):
            scope |= values


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_committed_clean(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert set(metadata) == {"kernelspec", "language_info"}
    for cell, source in cells(path):
        assert not cell["outputs"] and cell["execution_count"] is None
        assert len(source.splitlines()) <= 15 or "parameters" in cell["metadata"].get("tags", [])
        assert max(map(len, source.splitlines())) <= 96  # the HTML page cuts longer lines
        assert "/home/" not in source and ":\\" not in source


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_form(path):
    first = next(source for _, source in cells(path, "markdown"))
    assert first.startswith(f"# {path.stem[:2]} ")
    assert "**Question.**" in first and "**Input**" in first and "**Output**" in first
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell, _ in cells(path)) == 1
    assert ({"preset", "output"} if path in OF_A_RUN else {"output"}) <= set(declared_parameters(path))
    trees = [ast.parse(source) for _, source in cells(path)]
    importing = [any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(tree)) for tree in trees]
    assert importing.count(True) == 1
    assert importing[1]


def test_parameters_mean_the_same_everywhere():
    defaults = {}
    for path in OF_A_RUN:
        for name, value in declared_parameters(path).items():
            assert defaults.setdefault(name, value) == value


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder and the summary of a tiny run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, run_notebooks(folder, "demo", parameters=TINY)


def test_summary(finished):
    folder, summary = finished
    assert summary == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    keys = "preset seed versions cohort splits training threshold detection detection_by_woman quantification timing"
    assert list(summary) == [*keys.split(), "inclusion"]
    assert summary["inclusion"][-2] == {"stage": "included", "reasons": {}} | {
        "entered": {"views": 240, "women": 60}, "excluded": {"views": 0, "women": 0},
        "remaining": {"views": 240, "women": 60},
    }  # fmt: skip
    assert summary["inclusion"][-1]["remaining"]["women"] == sum(summary["splits"][name]["women"] for name in SETS)
    assert (summary["preset"], summary["seed"]) == ("demo", 3)
    cohort = "women views bac_women bac_views age_median age_iqr mann_whitney_p prevalence_by_age_class"
    assert list(summary["cohort"]) == cohort.split()
    assert summary["cohort"]["women"] == 60 and summary["cohort"]["views"] == 240
    for name in SETS:
        assert list(summary["splits"][name]) == ["women", "views", "bac_views"]
        metrics = summary["detection"][name]
        assert set(metrics) == {"tn", "tp", "fn", "fp", *METRICS, *(f"{n}_ci" for n in METRICS)}
        assert sum(metrics[k] for k in ("tn", "tp", "fn", "fp")) == summary["splits"][name]["views"]
        assert metrics["tp"] + metrics["fn"] == summary["splits"][name]["bac_views"]
        low, high = metrics["auc_roc_ci"]
        assert low is None or 0 <= low <= metrics["auc_roc"] <= high <= 1  # None: too few women of a class
    assert list(summary["training"]) == ["start", "start_val_auc_pr", "best_val_auc_pr"]
    assert summary["training"]["start"] == "none"
    assert summary["threshold"]["chosen_on"] == "validation"
    quantification = "views bac_views heatmap heatmap_threshold spearman_rho spearman_ci spearman_p"
    assert list(summary["quantification"]) == [*quantification.split(), "paper_recipe_rho", "length_agreement"]
    agreement = "views median_absolute_error_mm median_relative_error bias limits_of_agreement_mm"
    assert list(summary["quantification"]["length_agreement"]) == agreement.split()
    assert list(summary["timing"]) == ["views", "elaboration_mean_s", "elaboration_sd_s"]
    assert summary["timing"]["elaboration_mean_s"] > 0


def test_folder(finished):
    folder, _ = finished
    left = {p.name for p in folder.iterdir()} - {".lock"}
    assert left <= {*OWN_FILES, *OWN_FOLDERS}
    for name in ("views.csv", "model.keras", "history.csv", "predictions.csv", "quantification.csv"):
        assert (folder / name).is_file()
    pages = {p.name for p in (folder / "notebooks").iterdir()}
    assert pages == {"kernels.log", *(p.stem + ending for p in OF_A_RUN for ending in (".ipynb", ".html"))}
    figures = list((folder / "figures").glob("*.png"))
    assert len(figures) >= 12
    drawn = {p.name for p in figures}
    assert {"preparation.png", "heatmaps_compared.png"} <= drawn
    assert {"length_against_reference.png", "area_against_length.png", "bland_altman.png"} <= drawn
    assert max(p.stat().st_size for p in figures) <= 300_000
    for page in (folder / "notebooks").glob("*.html"):
        assert "No description has been provided" not in page.read_text(encoding="utf-8")


def test_the_report_finds_all_values(finished):
    folder, _ = finished
    write_report(folder)
    page = BeautifulSoup((folder / "report.html").read_text(encoding="utf-8"), "lxml")
    assert len(page.select("[data-from]")) > 500
    missing = {span["data-from"] for span in page.select(".missing")}  # too few lengths for a correlation
    assert {name for name in missing if not name.endswith("spearman_rho")} == set()
    assert "All mammograms are simulated" in page.get_text()


def test_tables_agree_with_the_summary(finished):
    folder, summary = finished
    views = read_views(folder / "views.csv")
    used = views[views["split"] != "unused"]
    assert used["image_path"].map(lambda p: Path(p).is_file()).all()
    apart = used["split"] == "quantification"
    assert len(views) == summary["cohort"]["views"] + apart.sum()
    assert apart.sum() == 2 * TINY["quantification_women"]
    used = used[~apart]
    predictions = pd.read_csv(folder / "predictions.csv")
    keys = ["patient_id", "laterality", "view"]
    merged = predictions.merge(used, on=keys, suffixes=("", "_table"))
    assert len(merged) == len(predictions) == len(used)
    assert (merged["bac"] == merged["bac_table"]).all() and (merged["split"] == merged["split_table"]).all()
    test = predictions[predictions["split"] == "test"]
    called = test["score"] >= summary["threshold"]["value"]
    counts = {
        "tn": (~called & (test["bac"] == 0)).sum(), "tp": (called & (test["bac"] == 1)).sum(),
        "fn": (~called & (test["bac"] == 1)).sum(), "fp": (called & (test["bac"] == 0)).sum(),
    }  # fmt: skip
    for name, value in (counts | counts_metrics(**counts)).items():
        assert summary["detection"]["test"][name] == pytest.approx(value)
    assert len(pd.read_csv(folder / "history.csv")) == TINY["epochs"]


def test_the_layers_are_chosen_on_the_validation_set(finished):
    folder, summary = finished
    table, part = pd.read_csv(folder / "sweep.csv"), load_part(folder, "training")
    assert table["trainable_convolutions"].tolist() == [0, 5]
    best = table.loc[table["val_auc_pr"].idxmax()]
    assert part["trainable_convolutions"] == best["trainable_convolutions"]
    assert part["best_epoch"] == best["epoch"]
    assert summary["training"]["best_val_auc_pr"] == pytest.approx(best["val_auc_pr"])
    training = folder / "training" / f"sweep-{best['trainable_convolutions']:02.0f}"
    assert file_digest(folder / "model.keras") == file_digest(training / "model.keras")
    page = (folder / "notebooks" / "02_training.ipynb").read_text(encoding="utf-8")
    assert "Device: " in page and "mixed precision: off" in page


def test_quantification_is_the_papers_subset(finished):
    """MLO views of BAC+ women who are not in the training, validation or test set."""
    folder, summary = finished
    table, views = pd.read_csv(folder / "quantification.csv"), read_views(folder / "views.csv")
    assert set(table["view"]) == {"MLO"} and set(table["split"]) == {"quantification"}
    women = set(table["patient_id"])
    assert len(women) == TINY["quantification_women"]
    assert not women & set(views.loc[views["split"] != "quantification", "patient_id"])
    assert table.groupby("patient_id")["bac"].max().mean() > 0.5  # a few have BAC only in CC views
    assert len(table) == 2 * len(women) == summary["quantification"]["views"] == summary["timing"]["views"]
    measures = ["bac_area_mm2", "measured_length_mm", "measured_width_mm"]
    positive, above = table["bac_predicted"] == 1, table["score"] - summary["threshold"]["value"]
    assert (positive == (above >= 0))[above.abs() > 1e-4].all()  # scores in the table are rounded
    assert (table.loc[~positive, [*measures, "paper_area_mm2"]] == 0).all(axis=None)
    found = table.loc[positive, measures]
    assert (found.isna().all(axis=1) | (found > 0).all(axis=1)).all()  # a traced artery, or no measures
    assert set(table.loc[~positive, "severity"]) <= {"zero"}


def test_the_summary_of_the_measures_is_that_of_the_table(finished):
    folder, summary = finished
    table, found = pd.read_csv(folder / "quantification.csv"), summary["quantification"]
    for key, column in (("spearman_rho", "heatmap_area_mm2"), ("paper_recipe_rho", "paper_area_mm2")):
        again = correlate(table[column], table["bac_length_mm"], groups=table["patient_id"], samples=50, seed=3)
        assert found[key] == pytest.approx(again["spearman_rho"])
    with_bac = table[(table["bac"] == 1) & table["measured_length_mm"].notna()]
    again = length_agreement(with_bac["measured_length_mm"], with_bac["bac_length_mm"])
    assert again.pop("limits_of_agreement_mm") == pytest.approx(found["length_agreement"]["limits_of_agreement_mm"])
    assert again == pytest.approx({key: found["length_agreement"][key] for key in again}, rel=1e-4)


def test_few_lengths_choose_nothing(finished):
    """The validation set has too few BAC+ women: the model's own form and Th are used, and notebook 04 says why."""
    folder, summary = finished
    found = summary["quantification"]
    assert (found["heatmap"], found["heatmap_threshold"]) == ("local-logits", DEFAULT_HEATMAP_THRESHOLD)
    page = (folder / "notebooks" / "04_quantification.ipynb").read_text(encoding="utf-8")
    assert f"Heatmap: {NAMES['local-logits']}, Th = {DEFAULT_HEATMAP_THRESHOLD:g} (default)" in page
    assert "at least 10 views of 5 women are needed" in page and "lengths are unchecked" in page
    assert not (folder / "figures" / "rho_by_threshold.png").exists()


def test_enough_lengths_choose_the_heatmap(finished, tmp_path, monkeypatch, capsys):
    """The same run, with as few lengths as it has; values saved in notebook 05 take precedence, and are checked."""
    monkeypatch.setattr(heatmap_choice, "MIN_LENGTHS", 1)
    monkeypatch.setattr(heatmap_choice, "MIN_WOMEN", 1)
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("notebooks"))
    values = {"output": str(folder), "seed": TINY["seed"], "bootstrap_samples": 20}
    run_cells("04_quantification", **values)
    found, point = (
        json.loads((folder / "summary.json").read_text(encoding="utf-8"))["quantification"],
        load_point(folder),
    )
    assert (point.heatmap, point.heatmap_threshold) == (found["heatmap"], found["heatmap_threshold"])
    assert point.heatmap in HEATMAPS and point.heatmap_threshold in heatmap_choice.THRESHOLDS
    assert point.heatmap_chosen_on == "validation"
    views = read_views(folder / "views.csv")
    with_bac = views[(views["split"] == "validation") & (views["bac_length_mm"] > 0)]
    checked = point.lengths_checked
    assert (checked.views, checked.women) == (len(with_bac), with_bac["patient_id"].nunique())
    assert (folder / "figures" / "rho_by_threshold.png").is_file()
    printed = capsys.readouterr().out
    assert f"Heatmap: {NAMES[point.heatmap]}, Th = {point.heatmap_threshold:g} (validation)" in printed
    assert heatmap_choice.length_warning(checked) in printed
    keep_thresholds(folder, point.threshold, 0.44, "validation", point.rule)
    run_cells("04_quantification", **values)
    again = load_point(folder)
    assert (again.heatmap_threshold, again.heatmap_chosen_on) == (0.44, "validation (saved in notebook 05)")
    assert again.lengths_checked.views == checked.views


def test_measures_of_breasts_and_women(finished):
    table = pd.read_csv(finished[0] / "quantification.csv")
    for level, keys in (("breast", ["patient_id", "laterality"]), ("woman", ["patient_id"])):
        totals = pd.read_csv(finished[0] / f"quantification_by_{level}.csv").set_index(keys)
        assert set(totals) == {
            "views",
            *(f"{m}_{k}" for m in ("measured_length_mm", "bac_area_mm2") for k in ("sum", "max")),
        }
        groups = table.groupby(keys)
        assert (totals["views"] == groups.size()).all()
        for kind in ("sum", "max"):
            expected = groups["measured_length_mm"].agg(lambda v, kind=kind: getattr(v, kind)(skipna=False))
            np.testing.assert_allclose(totals[f"measured_length_mm_{kind}"], expected, atol=0.01)


def test_operating_point(finished):
    folder, summary = finished
    point = json.loads((folder / "operating_point.json").read_text(encoding="utf-8"))
    for name in ("heatmap", "heatmap_threshold"):
        assert point[name] == summary["quantification"][name]
    assert point["threshold"] == summary["threshold"]["value"]
    assert (point["chosen_on"], point["rule"], point["heatmap_chosen_on"]) == ("validation", "best_f1", "default")
    assert point["lengths_checked"] is None
    assert point["model_sha256"] == file_digest(folder / "model.keras")
    assert point["pixel_mm"] == TINY["view_pixel_mm"]


def test_widgets_are_figures_and_read_what_was_saved(finished):
    folder, _ = finished
    for name in ("01_cohort_statistics", "05_threshold_tuning", "06_view_browser"):
        executed = json.loads((folder / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
        shown = [output.get("data", {}) for output in outputs]
        assert any("image/png" in data for data in shown)
        assert not any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    store = ViewStore(folder)
    tables = [pd.read_csv(folder / f"{name}.csv") for name in ("predictions", "quantification")]
    assert len(store.table) == sum(map(len, tables))
    apart = store.table["split"] == "quantification"
    held_out = store.table["split"].isin(["validation", "test"])
    saved = (store.table["score"] >= LOWEST_SCORE) | is_compared(store.table)
    assert (store.table["with_heat"] == (apart | (held_out & saved))).all()
    views = read_views(folder / "views.csv").set_index(["patient_id", "laterality", "view"])
    for row in [store.table.index[0], store.table.index[-1]]:
        what = store.table.loc[row]
        mammogram = read_mammogram(views.loc[(what["patient_id"], what["laterality"], what["view"]), "image_path"])
        expected = prepare(mammogram, TINY["input_shape"], TINY["view_pixel_mm"])
        np.testing.assert_array_equal(store.pixels(row), expected.pixels)
        assert store.spacing_mm(row) == pytest.approx(expected.spacing_mm)


@pytest.mark.parametrize("path", OF_A_RUN, ids=lambda p: p.stem)
def test_pages_ask_no_other_host(finished, path):
    page = finished[0] / "notebooks" / f"{path.stem}.html"
    assert asked_elsewhere(page.read_text(encoding="utf-8")) == []


def test_views_have_the_scale_of_the_run_in_every_notebook(finished):
    folder, _ = finished
    prepared = json.loads((folder / "cache" / "views.json").read_text(encoding="utf-8"))
    row, column = np.array(prepared["spacing"]).T  # of notebook 03, which must use the cache
    np.testing.assert_allclose(row / column, 1, rtol=0.1)
    assert np.median(row) == pytest.approx(TINY["view_pixel_mm"], rel=0.01)  # breasts that are too large are shrunk
    table = pd.read_csv(folder / "quantification.csv")
    views = read_views(folder / "views.csv").merge(table, on=["patient_id", "laterality", "view"])
    model = load_model(folder / "model.keras")
    pixels = [
        prepare(read_mammogram(path), TINY["input_shape"], TINY["view_pixel_mm"]).pixels for path in views.image_path
    ]
    # If notebook 04 had stretched the views, the scores would differ by 0.01.
    np.testing.assert_allclose(predict_scores(model, np.stack(pixels), 8), views["score"], atol=5e-4)


def test_without_lengths_and_spacing(finished, tmp_path):
    """Your own cohort may lack both: areas are then in pixels, and there is no correlation."""
    from PIL import Image
    from pydicom import dcmread

    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("cache", "images", "notebooks"))
    views = read_views(finished[0] / "views.csv").drop(columns=["bac_length_mm", "pixel_spacing_mm"])
    views = views[(views["split"] == "test") & (views["view"] == "MLO")]
    for row in views.itertuples():
        pixels = dcmread(row.image_path).pixel_array
        Image.fromarray((pixels * 16).astype(np.uint16)).save(folder / f"{row.patient_id}_{row.laterality}.png")
    views["image"] = views["patient_id"] + "_" + views["laterality"] + ".png"
    views.drop(columns="image_path").to_csv(folder / "views.csv", index=False)
    values = {"output": str(folder), "seed": TINY["seed"], "bootstrap_samples": 50}
    with pytest.raises(ValueError, match="views.csv in .* has changed"):
        run_cells("04_quantification", **values)

    def accept_table():
        """Make the parts of notebooks 01 to 03 look as if they had been run on the present table."""
        for name in ("cohort", "training", "detection"):
            part = load_part(folder, name)
            save_part(folder, name, **{key: value for key, value in part.items() if key not in ("digests", "settings")})

    accept_table()
    keep_thresholds(folder, 0.45, 0.4, "validation", "youden")
    form = load_point(folder).heatmap
    with pytest.raises(ValueError, match="run notebook 03 again first"):
        run_cells("04_quantification", **values)
    part = load_part(folder, "detection") | {"threshold": {"value": 0.45, "chosen_on": "validation"}}
    save_part(folder, "detection", **{key: value for key, value in part.items() if key not in ("digests", "settings")})
    run_cells("04_quantification", **values)
    table = pd.read_csv(folder / "quantification.csv")
    assert {"heatmap_area_px", "paper_area_px"} <= set(table)
    assert not [name for name in table if name.endswith(("_mm", "_mm2", "_cm2"))]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found = summary["quantification"]
    assert found["spearman_rho"] is found["paper_recipe_rho"] is found["length_agreement"] is None
    assert (found["heatmap"], found["heatmap_threshold"]) == (form, 0.4)
    point = json.loads((folder / "operating_point.json").read_text(encoding="utf-8"))
    assert (point["threshold"], point["heatmap_threshold"], point["rule"]) == (0.45, 0.4, "youden")  # as saved
    assert summary["quantification"]["views"] == len(table)

    # One view of known spacing has measures in mm; areas stay in pixels, so that they can be compared.
    known = views["patient_id"].isin(table["patient_id"][:1]) & (views["laterality"] == table["laterality"][0])
    views.drop(columns="image_path").assign(pixel_spacing_mm=np.where(known, 1.5, np.nan)).to_csv(
        folder / "views.csv", index=False
    )
    accept_table()
    run_cells("04_quantification", **values)
    mixed = pd.read_csv(folder / "quantification.csv")
    areas = ["heatmap_area_px", "paper_area_px"]
    assert "heatmap_area_mm2" not in mixed and mixed[areas].notna().all(axis=None)
    pd.testing.assert_frame_equal(mixed[areas][1:], table[areas][1:])  # the first view is prepared at its own scale
    assert mixed.index[mixed["guo_mask_area_mm2"].notna()].tolist() == [0]


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory):
    """Return a run of four women with the bundled detector as its model, up to notebook 04."""
    folder = tmp_path_factory.mktemp("runs") / "measured"
    women = [*draw_women(3, 11, prevalence=1.0), *draw_women(1, 12, prevalence=0.0)]
    write_views(women, folder, 0.3, workers=1, truth=False, views=("MLO",))
    sets = dict(zip([woman.patient_id for woman in women], ["test", "test", "validation", "validation"], strict=True))
    table = cohort_table(women, 0.3).query("view == 'MLO'")
    table.assign(split=table["patient_id"].map(sets)).to_csv(folder / "views.csv", index=False)
    shutil.copy(BUNDLED, folder / "model.keras")
    point = replace(find_detector()[1], threshold=0.5, heatmap_threshold=0.9, chosen_on="validation", rule="best_f1")
    save_point(folder, point)
    detector = Detector(folder)
    prepared, _ = prepared_sets(folder, detector.shape, pixel_mm=detector.pixel_mm)
    rows = prepared.table[["patient_id", "laterality", "view", "split", "bac"]].astype({"bac": int})
    model = load_model(folder / "model.keras")
    rows.assign(score=predict_scores(model, prepared.pixels, 2)).to_csv(folder / "predictions.csv", index=False)
    explain = Explainer(model, [point.heatmap])
    heats = make_heatmaps(explain, point.heatmap, prepared.pixels, rows.index, 2)
    spacing = prepared.table[["spacing_row_mm", "spacing_column_mm"]].to_numpy()
    save_heatmaps(folder, "detection", point.heatmap, rows, heats, spacing)
    save_part(folder, "cohort", preset="demo", seed=2023, cohort={"women": 4, "bac_women": 3, "age_median": 60})
    save_part(folder, "training", view_pixel_mm=point.pixel_mm)
    save_part(folder, "detection", threshold={"value": 0.5, "chosen_on": "validation"})
    values = {"output": str(folder), "subset_splits": "test", "heatmap": point.heatmap, "heatmap_threshold": 0.9}
    run_cells("04_quantification", **values, bootstrap_samples=20)
    return folder


def test_one_view_has_one_length(measured_run, tmp_path):
    """It is the same in notebook 04, the table of `score`, the tuner and the browser."""
    keys = ["patient_id", "laterality", "view"]
    quantified = pd.read_csv(measured_run / "quantification.csv").set_index(keys)
    score_files([measured_run / "images"], tmp_path / "scores.csv", measured_run)
    scored = pd.read_csv(tmp_path / "scores.csv").set_index(keys).loc[quantified.index]
    assert (scored["bac"] == 1).sum() >= 2 and (scored["bac_length_mm"] > 10).sum() >= 2
    np.testing.assert_allclose(quantified["measured_length_mm"], scored["bac_length_mm"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(quantified["bac_area_mm2"], scored["bac_area_mm2"], rtol=1e-5, atol=1e-4)
    tuner, browser = open_tuner(measured_run, samples=20), open_browser(measured_run)
    tuner.shown_set.value = "test"
    shown = {}
    for _, index in tuner.view.options:
        tuner.view.value = index
        shown[tuple(tuner._store.table.loc[index, keys])] = tuner.canvas.texts[0]
    browser.split.value, browsed = "test", {}
    for place in range(len(browser.women)):
        browser.go(place)
        panels = zip(browser._rows, browser.canvas.texts, strict=True)
        browsed |= {tuple(browser._table.loc[i, keys]): text for i, text in panels if i is not None}
    with_length = scored[scored["bac_length_mm"] > 0]
    assert set(browsed) == set(shown) >= set(with_length.index)
    for key, text in browsed.items():
        assert text.splitlines()[-1] == shown[key].splitlines()[-1]
    for key, row in with_length.iterrows():
        expected = f"{row['bac_length_mm']:.1f} mm, {row['bac_area_mm2']:.1f} mm²"
        assert shown[key].splitlines()[-1] == expected
