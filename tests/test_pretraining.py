"""The making of the bundled weights, on tiny pictures."""

import json

import h5py
import keras
import numpy as np
import pytest

from bac_utils import pretraining
from bac_utils.training_views import Recipe

TINY = Recipe(
    women=2,
    heights=(192,),
    patch=32,
    patches=1,
    first_epochs=1,
    epochs=1,
    view_women=2,
    view_shape=(64, 64),
    view_epochs=1,
)


def fake_patches(number, recipe):
    """Bright diagonal or none: learnable, and both classes in every set."""
    rng = np.random.default_rng(number)
    labels = np.arange(8) % 2
    patches = rng.normal(0, 0.1, (8, recipe.patch, recipe.patch)) + 0.01
    patches += labels[:, None, None] * 2 * np.eye(recipe.patch)
    return patches.astype(np.float16), labels[:, None, None] * np.eye(2, dtype=np.int8)


def fake_views(number, recipe):
    labels = np.arange(4) % 2
    views = np.random.default_rng(number).normal(0, 0.1, (4, *recipe.view_shape)) + 0.01
    views += labels[:, None, None] * 2 * np.eye(64)
    return views.astype(np.float16), labels[:, None, None] * np.eye(4, dtype=np.int8)


def test_pretrain_writes_backbone_detector_and_operating_point(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pretraining, "_gather", lambda job, numbers, workers, what: [job(number=n) for n in [0, 1, *numbers]]
    )
    monkeypatch.setattr(pretraining, "woman_patches", fake_patches)
    monkeypatch.setattr(pretraining, "woman_views", fake_views)
    measured = pretraining.pretrain(tmp_path / "b.weights.h5", TINY, workers=1)
    assert set(measured) == {"patch_auc_roc", "view_auc_roc", "views"}
    point = json.loads((tmp_path / "detector.json").read_text())
    assert point["threshold"] == 0.5
    assert point["heatmap_threshold"] == 0.3
    assert point["held_back"] == measured
    assert point["made_with"]["patch"] == 32
    detector = keras.models.load_model(tmp_path / "detector.keras")
    assert detector.input_shape == (None, 64, 64, 1)
    assert point["pixel_mm"] == 240 / 64
    with h5py.File(tmp_path / "b.weights.h5") as file:
        assert file.attrs["bac_utils_input_scale"] == 1.0


def test_cell_targets_and_their_weights():
    """Artery weighs four, none one, no opinion nothing; a patch counts where a cell has artery or all have none."""
    cells = np.array([[[1, 0], [-1, 0]], [[0, 0], [0, 0]], [[-1, 0], [0, 0]]], np.int8)
    (artery, some), (weight, sure) = pretraining._cell_targets(keras.ops.convert_to_tensor(cells))
    np.testing.assert_array_equal(np.array(artery)[0, ..., 0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(np.array(weight)[0], [[4, 1], [0, 1]])
    np.testing.assert_array_equal(np.array(some)[:, 0], [1, 0, 0])
    np.testing.assert_array_equal(np.array(sure), [1, 1, 0])


def test_flips_turn_picture_and_cells_together():
    pixels = np.zeros((32, 32), np.float16)
    pixels[:16, :16] = 5
    keras.utils.set_random_seed(0)
    seen = set()
    for _ in range(12):
        varied, cells = pretraining._vary(pixels, keras.ops.convert_to_tensor(np.array([[1, 0], [0, 0]], np.int8)))
        bright = np.array(varied)[..., 0].reshape(2, 16, 2, 16).mean(axis=(1, 3))
        np.testing.assert_array_equal(np.array(cells) == 1, bright == bright.max())
        seen.add(int(np.array(cells).argmax()))
    assert len(seen) > 1
    assert (np.array(varied)[..., 0] == 0).sum() == 3 * 16 * 16  # outside the breast


def test_output_must_be_a_weights_file(tmp_path):
    with pytest.raises(ValueError, match=r"output: got b\.keras, must end in \.weights\.h5"):
        pretraining.pretrain(tmp_path / "b.keras", TINY)


def test_too_few_women_are_refused():
    found = [fake_patches(0, TINY), (np.zeros((1, 32, 32), np.float16), np.zeros((1, 2, 2), np.int8))]
    with pytest.raises(ValueError, match="women: got 2, must be more"):
        pretraining._divide(found)


def test_every_eighth_woman_is_held_back():
    cells = np.array([[[0]], [[1]]], np.int8)
    found = [(np.full((2, 16, 16), k, np.float16), cells) for k in range(16)]
    pixels, kept, held, truth = pretraining._divide(found)
    assert sorted({int(v) for v in held.ravel()}) == [0, 8]
    assert not {0.0, 8.0} & set(pixels.ravel().tolist())
    assert len(kept) == 28
    assert truth.ravel().tolist() == [0, 1, 0, 1]


def test_calibration_makes_the_logit_the_log_odds():
    """Scores drawn from N(+-1, 1) have log odds 2 x; given as 5 x + 3 the layer must undo that."""
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
