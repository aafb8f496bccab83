"""`evaluate`: notebook 08 on a cohort that `run` refuses, with a tiny model; nothing is refitted."""

import json
import os
import shutil

import pandas as pd
import pytest
from finished_run import SPACING_MM, make_run
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils._files import file_digest
from bac_utils.dataset import read_view
from bac_utils.detector import Detector, OperatingPoint, save_point
from bac_utils.preprocess import prepare
from bac_utils.settings import preset
from bac_utils.study import external
from bac_utils.study.folder import EVALUATION_FILES
from bac_utils.views_table import read_views


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Return a views table of 14 women, all of the split `test`, one without a label and one without an image."""
    run = make_run(tmp_path_factory.mktemp("other") / "run", women=14, kinds=7, subset=False)
    folder = tmp_path_factory.mktemp("cohort")
    shutil.copytree(run / "images", folder / "images")
    table = pd.read_csv(run / "views.csv", dtype=str, keep_default_na=False).assign(split="test")
    table.loc[1, "bac"] = ""
    table["patient_id"] = "$O$" + table["patient_id"]
    table.to_csv(folder / "views.csv", index=False)
    (folder / table["image"].iloc[2]).write_bytes(b"no image")
    return folder / "views.csv"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of an untrained tiny detector."""
    from bac_utils.model import build_model

    folder = tmp_path_factory.mktemp("model")
    build_model(preset("demo", input_shape=(96, 64), width_divisor=32, weights="none", seed=1)).save(
        folder / "model.keras"
    )
    save_point(folder, OperatingPoint(0.5, 0.3, "local-logits", 2 * SPACING_MM, chosen_on="validation"))
    return folder


def test_evaluating_a_frozen_model(cohort, model, tmp_path):
    before = {path.name: file_digest(path) for path in model.iterdir()}
    folder = tmp_path / "evaluation"
    asked = ["evaluate", "--model", str(model), "--cohort", str(cohort), "--output", str(folder), "--recalibrate"]
    asked += ["--second-model", str(model / "model.keras"), "-p", "bootstrap_samples", "40"]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 0, result.output
    assert {path.name: file_digest(path) for path in model.iterdir()} == before
    summary = json.loads((folder / "summary.json").read_text())
    rows = pd.read_csv(folder / "predictions.csv")
    assert summary["cohort"]["views"] == len(rows) == 14 * 4 - 2 and summary["cohort"]["excluded_views"] == 2
    detector, views = Detector(model), read_views(cohort).iloc[[0]]
    expected = detector.measure(prepare(read_view(next(views.itertuples())), detector.shape, detector.pixel_mm))
    assert rows["score"].iloc[0] == pytest.approx(expected["score"], abs=1e-5)
    found = summary["detection"]
    assert sum(found["views"][name] for name in ("tp", "fp", "tn", "fn")) == len(rows)
    assert sum(found["breasts"][name] for name in ("tp", "fp", "tn", "fn")) == 28
    assert sum(found["women"][name] for name in ("tp", "fp", "tn", "fn")) == 14
    assert summary["model"]["threshold"] == 0.5 and summary["model"]["sha256"] == before["model.keras"]
    assert summary["comparison"]["auc_difference"] == 0 and summary["comparison"]["p_delong_women"] == 1
    reasons = {name for stage in summary["inclusion"] for name in stage["reasons"]}
    assert reasons == {"BAC label unknown", "image: not_an_image"}
    written = {path.name for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert written <= set(EVALUATION_FILES)
    for name in ("inclusion", "score_shift", "roc_pr", "reliability", "decision_curve", "subgroups", "failures"):
        assert (folder / "figures" / f"{name}.png").is_file()
    assert "by woman: AUC-ROC" in result.output and (folder / "report.docx").is_file()
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert 'data-from="summary.json:detection.breasts.auc_roc"' in report and "image: not_an_image" in report
    again = CliRunner().invoke(cli.app, asked)
    assert again.exit_code == 1 and "contains a finished evaluation" in again.output
    other = CliRunner().invoke(cli.app, ["run", "--cohort", str(cohort), "--output", str(folder), "--overwrite"])
    assert other.exit_code == 1 and (folder / "predictions.csv").is_file()


def test_a_cohort_without_bac_has_a_specificity_and_no_curves(cohort, model, tmp_path):
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False).query("bac == '0.0'")
    table.assign(bac="0").to_csv(cohort.parent / "negatives.csv", index=False)
    parameters = {"bootstrap_samples": 40}
    summary = external.run_evaluation(tmp_path / "e", model, cohort.parent / "negatives.csv", parameters=parameters)
    found = summary["detection"]["views"]
    assert found["auc_roc"] is None and found["tp"] == found["fn"] == 0 and found["specificity"] is not None
    assert summary["calibration"]["slope"] is None and summary["lengths"] is None
    assert not (tmp_path / "e" / "figures" / "roc_pr.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "epochs", "3"], "parameter 'epochs' is unknown"),
        (["-p", "split", "other"], "split: got 'other', must be one of"),
        (["-p", "recalibrate", "maybe"], "recalibrate: got 'maybe', must be True or False"),
        (["-p", "cohort", "x"], "use the option --cohort"),
        (["-p", "bootstrap_samples", "1"], "bootstrap_samples: got 1"),
    ],
)
def test_wrong_parameters_are_refused_before_work(cohort, model, tmp_path, arguments, words):
    asked = ["evaluate", "--model", str(model), "--cohort", str(cohort), "--output", str(tmp_path / "e"), *arguments]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 2 and words in " ".join(result.output.split())
    assert not (tmp_path / "e").exists()


def test_the_name_of_the_bundled_detector(cohort, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(external, "run_each", lambda declared, parameters, *_: given.append(parameters))
    words = ["evaluate", "--cohort", str(cohort), "--output", str(tmp_path / "e"), "--second-model", "detector"]
    assert CliRunner().invoke(cli.app, words).exit_code == 1  # the stub writes no summary
    assert (given[0]["model"], given[0]["second_model"]) == ("detector", "detector")


def test_relative_paths_are_those_of_the_working_folder(cohort, model, tmp_path, monkeypatch):
    """The notebook runs in another folder."""
    given = []
    monkeypatch.setattr(external, "run_each", lambda declared, parameters, *_: given.append(parameters))
    monkeypatch.chdir(model.parent)
    words = ["evaluate", "--model", model.name, "--cohort", os.path.relpath(cohort), "--output", str(tmp_path / "e")]
    CliRunner().invoke(cli.app, [*words, "--second-model", f"{model.name}/model.keras"])
    expected = str(model / "model.keras")
    assert (given[0]["model"], given[0]["second_model"], given[0]["cohort"]) == (expected, expected, str(cohort))


def test_wrong_models_and_folders_are_refused_before_work(cohort, model, tmp_path):
    with pytest.raises(FileNotFoundError, match="model: got .*none"):
        external.run_evaluation(tmp_path / "e", tmp_path / "none", cohort)
    with pytest.raises(ValueError, match="operating_point: got 'best'"):
        external.run_evaluation(tmp_path / "e", model, cohort, parameters={"operating_point": "best"})
    run = make_run(tmp_path / "run", women=8, kinds=7, subset=False)
    with pytest.raises(FileExistsError, match="something other than an evaluation"):
        external.run_evaluation(run, model, cohort)
    asked = ["evaluate", "--model", str(run), "--cohort", str(run / "views.csv"), "--output", str(tmp_path / "e")]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 1 and "women of the model's training" in " ".join(result.output.split())
    assert not (tmp_path / "e").exists()
