"""Fitting of the bundled networks, on tiny images."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from bac_utils.model import build_model
from bac_utils.pretraining import fitting
from bac_utils.pretraining.compositing import ARTERY_SHARE, SyntheticLesions
from bac_utils.pretraining.network import add_decoder
from bac_utils.pretraining.patches import augment_pair
from bac_utils.settings import DEMO


def lesions(number=9, side=32):
    """Bright squares as arteries, and empty mimics."""
    light, labels = np.zeros((number, side, side), np.float16), np.zeros((number, side // 8, side // 8), np.int8)
    light[:, :8, :8], labels[:, 0, 0] = 1, 1
    return SyntheticLesions(light, labels, np.zeros_like(light), 0.0)


def test_targets_and_their_weights():
    """Weights: artery 4, none 1, undecided 0; a patch counts if a label is positive or all are negative."""
    labels = np.array([[[1, 0], [-1, 0]], [[0, 0], [0, 0]], [[-1, 0], [0, 0]]], np.int8)
    (artery, some), (weight, sure) = fitting.targets(keras.ops.convert_to_tensor(labels))
    np.testing.assert_array_equal(np.array(artery)[0, ..., 0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(np.array(weight)[0], [[4, 1], [0, 1]])
    np.testing.assert_array_equal(np.array(some)[:, 0], [1, 0, 0])
    np.testing.assert_array_equal(np.array(sure), [1, 1, 0])


def test_loss_of_local_logits_and_logit(tmp_path, capsys):
    """At a logit of 0 each loss is log 2: 10 + 1 times 0.693 = 7.625; the second pair counts the same again."""
    inputs = keras.Input((4, 4, 1))
    zero = keras.layers.Dense(1, kernel_initializer="zeros")(inputs)
    pooled = keras.layers.GlobalMaxPooling2D()(zero)
    one, some = np.ones((2, 4, 4, 1), np.float32), np.ones((2, 1), np.float32)
    for pairs, loss in ((1, "7.625"), (2, "15.249")):
        model = keras.Model(inputs, [zero, pooled] * pairs)
        data = tf.data.Dataset.from_tensors((one, (one, some) * pairs))
        fitting.fit(model, data, 1, 0.0, tmp_path / "kept", local_weight=10.0, anneal=False)
        assert f"epoch 1 of 1: loss {loss}" in capsys.readouterr().out
        assert not list(tmp_path.glob("kept/*"))


def test_a_stopped_fit_resumes_after_the_last_finished_epoch(tmp_path, monkeypatch):
    inputs = keras.Input((4, 4, 1))
    local = keras.layers.Dense(1)(inputs)
    one, some = np.ones((2, 4, 4, 1), np.float32), np.ones((2, 1), np.float32)
    data = tf.data.Dataset.from_tensors((one, (one, some)))
    model = keras.Model(inputs, [local, keras.layers.GlobalMaxPooling2D()(local)])
    said = []

    def stop(words, flush):
        said.append(words.split(":")[0])
        if len(said) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", stop)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(model, data, 4, 1e-2, tmp_path / "kept")
    steps = int(model.optimizer.iterations)
    fitting.fit(model, data, 4, 1e-2, tmp_path / "kept")
    assert said == [f"epoch {n} of 4" for n in (1, 2, 3, 4)]
    assert (steps, int(model.optimizer.iterations)) == (3, 4)  # the learning rate goes on falling


def test_image_and_labels_are_flipped_together():
    pixels = np.zeros((32, 32), np.float32)
    pixels[:16, :16] = 5
    keras.utils.set_random_seed(0)
    seen = set()
    for _ in range(12):
        varied, labels = augment_pair(pixels, keras.ops.convert_to_tensor(np.array([[1, 0], [0, 0]], np.int8)))
        bright = np.array(varied)[..., 0].reshape(2, 16, 2, 16).mean(axis=(1, 3))
        np.testing.assert_array_equal(np.array(labels) == 1, bright == bright.max())
        seen.add(int(np.array(labels).argmax()))
    assert len(seen) > 1
    assert (np.array(varied)[..., 0] == 0).sum() == 3 * 16 * 16  # outside the breast


def test_too_few_women_are_refused():
    labels = (np.arange(8)[:, None, None] % 2 * np.eye(4)).astype(np.int8)
    found = [(np.ones((8, 32, 32), np.float16), labels), (np.zeros((1, 32, 32)), np.zeros((1, 4, 4), np.int8))]
    with pytest.raises(ValueError, match="women: got 2, must be more"):
        fitting.split(found, lesions())


def test_every_eighth_woman_is_held_out():
    """And one in eight lesions."""
    labels = np.array([[[0]], [[1]]], np.int8)
    found = [(np.full((2, 8, 8), k, np.float16), labels) for k in range(16)]
    numbered = SyntheticLesions(np.arange(24.0)[:, None, None], np.arange(24), np.arange(24), 0.0)
    pixels, kept, ours, held, held_labels, others = fitting.split(found, numbered)
    assert sorted({int(v) for v in held.ravel()}) == [0, 8]
    assert not {0.0, 8.0} & set(pixels.ravel().tolist())
    assert len(kept) == 28
    assert held_labels.ravel().tolist() == [0, 1, 0, 1]
    assert others.labels.tolist() == [0, 1, 2]
    assert ours.labels.tolist() == list(range(3, 24))


def test_copies_of_an_image_get_different_lesions():
    pixels, labels = np.full((5, 32, 32), 2, np.float16), np.zeros((5, 4, 4), np.int8)
    images, found = fitting.with_lesions(pixels, labels, lesions(), [1, 1], 40)
    assert images.shape == (200, 32, 32) and images.dtype == np.float16
    assert found.any(axis=(1, 2)).mean() == pytest.approx(ARTERY_SHARE, abs=0.12)
    again, _ = fitting.with_lesions(pixels, labels, lesions(), [1, 1], 40)
    np.testing.assert_array_equal(images, again)


def test_lesions_differ_from_epoch_to_epoch_and_labels_suit_each_pair_of_outputs():
    """A third of the images without an artery receive one, others in each epoch; the seed determines which."""
    pixels, labels = np.full((300, 32, 32), 2, np.float16), np.zeros((300, 4, 4), np.int8)

    def epochs():
        data = fitting.batches(pixels, labels, lesions(), 300, 5, (0, 1))
        found = [y for _ in range(2) for _, y, _ in data]
        for fine, some, coarse, again in found:
            assert fine.shape[1:] == (4, 4, 1) and coarse.shape[1:] == (2, 2, 1)
            np.testing.assert_array_equal(some, again)
            wide = np.array(fine).reshape(-1, 2, 2, 2, 2).max(axis=(2, 4))
            np.testing.assert_array_equal(wide, np.array(coarse)[..., 0])
        return [np.array(some)[:, 0] for _, some, _, _ in found]

    first, second = epochs()
    assert first.mean() == pytest.approx(ARTERY_SHARE, abs=0.1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(epochs()[0], first)


def test_held_out_logits_are_those_of_both_mirror_images():
    settings = replace(DEMO, weights="none", width_divisor=32, dense_units=4, input_shape=(64, 32))
    model = add_decoder(build_model(settings))
    views = np.random.default_rng(0).normal(size=(3, 64, 32)).astype(np.float32)
    labels = np.zeros((3, 8, 4), np.int8)
    labels[0, 0, 0], labels[1, 0, 0] = 1, -1  # the second is undecided
    logits, found = fitting.held_out_logits(model, views, labels, 2)
    plain = model.predict_on_batch(views[[0, 2], ..., None])[:, 0]
    turned = model.predict_on_batch(views[[0, 2], ::-1, :, None])[:, 0]
    np.testing.assert_allclose(logits, (plain + turned) / 2, atol=1e-5)
    assert found.tolist() == [1, 0]
