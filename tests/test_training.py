"""A training that can be interrupted, resumed and repeated."""

import json
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score

from bac_utils.detector import Detector, OperatingPoint, save_point
from bac_utils.heatmaps import Explainer, default_heatmap, usable_forms
from bac_utils.model import build_model, load_model, predict_scores
from bac_utils.preprocess import Prepared
from bac_utils.settings import HEADS, Augmentation
from bac_utils.training import continue_from
from bac_utils.training import fit as training
from bac_utils.training.fit import CONTINUED, HISTORY, _validator, fit_model

NUMBERS = [name for name in HISTORY if name != "seconds"]


def sets(tiny_views, cut=14):
    pixels, labels = tiny_views
    return (pixels[:cut], labels[:cut]), (pixels[cut:], labels[cut:])


def fit(settings, tiny_views, folder):
    train, validation = sets(tiny_views)
    model = build_model(settings)
    return model, fit_model(model, settings, train, validation, folder)


@pytest.fixture(scope="module")
def finished(tiny_settings, tiny_views, tmp_path_factory):
    """An uninterrupted training: folder, model and history."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, *fit(tiny_settings, tiny_views, folder)


def test_history_and_best_epoch(finished, tiny_settings, tiny_views):
    folder, model, history = finished
    assert list(history) == HISTORY
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    # 14 views, batches of 4: 4 steps per epoch, 16 in all; 0.003 (1 + cos(pi k / 16)) / 2 at steps 0, 4, 8, 12
    np.testing.assert_allclose(
        history["learning_rate"], 0.3 * np.array([0.01, 0.00853553, 0.005, 0.00146447]), rtol=1e-5
    )
    pd.testing.assert_frame_equal(pd.read_csv(folder / "history.csv"), history, rtol=1e-12)
    assert sorted(p.name for p in folder.iterdir()) == ["history.csv", "model.keras", "training"]
    assert [p.name for p in (folder / "training").iterdir()] == ["fit.json"]
    pixels, labels = sets(tiny_views)[1]
    scores = predict_scores(model, pixels, 3)
    best = history.loc[history["val_auc_pr"].idxmax()]
    assert average_precision_score(labels, scores) == pytest.approx(best["val_auc_pr"])
    assert roc_auc_score(labels, scores) == pytest.approx(best["val_auc_roc"])
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    assert (losses[labels == 1].mean() + losses[labels == 0].mean()) / 2 == pytest.approx(best["val_loss"], rel=1e-4)
    loaded = load_model(folder / "model.keras")
    np.testing.assert_allclose(predict_scores(loaded, pixels, 8), scores, rtol=1e-5)
    initial = build_model(tiny_settings)
    for layer in (layer for layer in model.layers if layer.weights):
        pairs = zip(layer.get_weights(), initial.get_layer(layer.name).get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs) != layer.trainable, layer.name


def test_training_learns_a_visible_difference(finished):
    history = finished[2]
    assert history["val_auc_pr"][0] < 0.7
    assert history["val_auc_pr"].max() > 0.8
    assert history["val_loss"][3] < history["val_loss"][0]


def test_a_resumed_training_gives_the_same_numbers(finished, tiny_settings, tiny_views, tmp_path, monkeypatch):
    original, calls = training.average_precision_score, []

    def stops(*given):
        calls.append(given)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(training, "average_precision_score", stops)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_settings, tiny_views, tmp_path)
    monkeypatch.undo()
    assert len(pd.read_csv(tmp_path / "history.csv")) == 3
    keras.utils.set_random_seed(99)  # earlier random numbers in the process do not matter
    model, history = fit(tiny_settings, tiny_views, tmp_path)
    pd.testing.assert_frame_equal(history[NUMBERS], finished[2][NUMBERS], check_exact=True)
    for a, b in zip(model.get_weights(), finished[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_training_returns_at_once(finished, tiny_settings, tiny_views, monkeypatch):
    folder, model, history = finished
    monkeypatch.setattr(training, "training_batches", None)
    again, same = fit(tiny_settings, tiny_views, folder)
    pd.testing.assert_frame_equal(same, history, check_exact=True)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stored_features_of_the_frozen_part_change_no_logit(tiny_settings, tiny_views, monkeypatch):
    model = build_model(tiny_settings)
    expected = logit(predict_scores(model, tiny_views[0], 4))  # of a view and its mirror image
    read = []
    original = training.batches
    monkeypatch.setattr(training, "batches", lambda *given: read.append(given) or original(*given))
    for limit, times in ((2**20, 1), (0, 2)):
        monkeypatch.setattr(training, "FEATURE_BYTES", limit)
        read.clear()
        validate = _validator(model, tiny_views[0], 5)
        for _ in range(2):
            np.testing.assert_allclose(validate(), expected, rtol=1e-5)
        assert len(read) == times


def test_losses_weigh_the_classes_equally(tiny_settings, tiny_views, tmp_path):
    # At a rate of almost 0, without dropout and augmentation, the training loss is that of the initial weights.
    still = Augmentation(0.0, 0.0, 0.0, False, False, 0.0, 0.0)
    settings = replace(tiny_settings, learning_rate=1e-12, dropout=0.0, epochs=1, augmentation=still)
    model, history = fit(settings, tiny_views, tmp_path)
    pixels, labels = sets(tiny_views)[0]
    scores = expit(model.predict_on_batch(pixels[..., None].astype(np.float32))[:, 0])
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    expected = (losses[labels == 1].mean() + losses[labels == 0].mean()) / 2
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_a_folder_of_another_training_is_refused(finished, tiny_settings, tiny_views):
    folder = finished[0]
    with pytest.raises(ValueError, match=r"has a training with learning_rate 0.003, got 0.1; choose another folder"):
        fit(replace(tiny_settings, learning_rate=0.1), tiny_views, folder)
    with pytest.raises(ValueError, match=r"has a training with view_pixel_mm 0.3125, got None; choose another"):
        fit(replace(tiny_settings, view_pixel_mm=None), tiny_views, folder)
    pixels, labels = tiny_views
    with pytest.raises(ValueError, match="has a training with train views"):
        fit(tiny_settings, (pixels[::-1], labels[::-1]), folder)
    assert json.loads((folder / "training" / "fit.json").read_text())["learning_rate"] == 0.003
    # Settings that do not affect the training may differ.
    fit(
        replace(tiny_settings, heatmap="per-image-maximum", heatmap_threshold=0.5, bootstrap_samples=20),
        tiny_views,
        folder,
    )


def test_bad_sets_are_named(tiny_settings, tiny_views, tmp_path):
    model = build_model(tiny_settings)
    train, validation = sets(tiny_views)
    with pytest.raises(ValueError, match=r"validation labels: got the values \[0\], must be 0 and 1"):
        fit_model(model, tiny_settings, train, (validation[0], np.zeros(8, int)), tmp_path / "new")
    with pytest.raises(ValueError, match=r"train labels: got shape \(3,\), must be \(14,\)"):
        fit_model(model, tiny_settings, (train[0], [0, 1, 0]), validation, tmp_path / "new")
    with pytest.raises(ValueError, match=r"train: got views of shape \(14, 32, 32\), must be \(N, 64, 32\)"):
        fit_model(model, tiny_settings, (train[0][:, :32], train[1]), validation, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_divergence_is_an_error(tiny_settings, tiny_views, tmp_path):
    settings = replace(tiny_settings)
    object.__setattr__(settings, "learning_rate", 1e30)  # bypasses the check of the settings
    with pytest.raises(FloatingPointError, match=r"epoch \d: the training has diverged at learning_rate 1e\+30"):
        fit(settings, tiny_views, tmp_path)


@pytest.mark.parametrize("head", HEADS)
def test_each_head_trains_explains_measures_and_loads(head, tiny_settings, tiny_views, tmp_path):
    settings = replace(tiny_settings, head=head, epochs=1)
    model, history = fit(settings, tiny_views, tmp_path)
    assert len(history) == 1 and np.isfinite(history["val_loss"]).all()
    forms = usable_forms(model)
    assert ("local-logits" in forms) == (head == "local") and {"grad-cam++", "layer-cam"} <= set(forms)
    pixels = tiny_views[0][14].astype(np.float32)
    view = Prepared(pixels, (1.0, 1.0), (0, 64, 0, 32), (0, 64, 0, 32), False, (64, 32))
    logits, heats = Explainer(model, forms)(pixels[None, ..., None])
    for form in forms:
        grid = (8, 4) if form == "layer-cam" else (4, 2)  # the last convolution, 1/16 of the rows, and one before
        assert heats[form].shape == (1, *grid) and 0 <= heats[form].min() <= heats[form].max() <= 1
    save_point(tmp_path, OperatingPoint(1e-9, default_heatmap(model)[1]))  # every view is BAC+, so that it is measured
    found = Detector(tmp_path).quantify(view)
    assert found["score"] == pytest.approx(expit(logits[0]), rel=1e-4) and found["bac"] == 1
    assert {"bac_area_mm2", "measured_length_mm", "severity"} <= set(found)
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict_on_batch(pixels[None, ..., None]), model.predict_on_batch(pixels[None, ..., None])
    )


def test_a_detector_goes_on_at_its_own_resolution(finished, tiny_settings, tiny_views, tmp_path):
    path = finished[0] / "model.keras"
    other = replace(tiny_settings, input_shape=(96, 64), view_pixel_mm=1.0, epochs=9)
    settings = continue_from(other, {"epochs": None, "learning_rate": 2e-3, "input_shape": None}, path, 2.5)
    assert (settings.input_shape, settings.view_pixel_mm, settings.weights) == ((64, 32), 2.5, str(path))
    assert (settings.epochs, settings.learning_rate) == (CONTINUED["epochs"], other.learning_rate)
    pixels, labels = sets(tiny_views)[1]
    scores = predict_scores(build_model(settings), pixels, 8)
    np.testing.assert_allclose(scores, predict_scores(load_model(path), pixels, 8), rtol=1e-6)
    _, history = fit(settings, tiny_views, tmp_path)
    assert len(history) == CONTINUED["epochs"] and history["learning_rate"][0] == other.learning_rate
    with pytest.raises(ValueError, match=r"view_pixel_mm: got 1.0, must be 2.5, that of the detector"):
        continue_from(other, {"view_pixel_mm": 1.0}, path, 2.5)
