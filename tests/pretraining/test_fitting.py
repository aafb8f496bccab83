"""Fitting of the bundled networks, on tiny images."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from bac_utils.model import build_model
from bac_utils.pretraining import fitting
from bac_utils.pretraining.batches import stored_batches
from bac_utils.pretraining.compositing import ARTERY_SHARE, SyntheticLesions
from bac_utils.pretraining.network import add_decoder
from bac_utils.settings import DEMO


def lesions(number=9, side=32):
    """Bright squares as arteries, and empty mimics."""
    light, labels = np.zeros((number, side, side), np.float16), np.zeros((number, side // 8, side // 8), np.int8)
    light[:, :8, :8], labels[:, 0, 0] = 1, 1
    return SyntheticLesions(light, labels, np.zeros_like(light), 0.0)


def test_targets_and_their_weights():
    """Weights: artery 4, none 1, undecided 0; an image counts if a label is positive or all are negative."""
    labels = np.array([[[1, 0], [-1, 0]], [[0, 0], [0, 0]], [[-1, 0], [0, 0]]], np.int8)
    (artery, some), (weight, sure) = fitting.targets(labels[0])
    np.testing.assert_array_equal(artery[..., 0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(weight, [[4, 1], [0, 1]])
    assert {part.dtype for part in (artery, some, weight, sure)} == {np.dtype(np.float32)}
    found = [fitting.targets(one) for one in labels]
    assert [float(some[0]) for (_, some), _ in found] == [1, 0, 0]
    assert [float(sure) for _, (_, sure) in found] == [1, 1, 0]


def test_precision_lasts_for_the_block_also_if_it_fails():
    with pytest.raises(ZeroDivisionError), fitting.precision("mixed_bfloat16"):
        layer = keras.layers.Dense(1)
        raise ZeroDivisionError
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    assert keras.layers.Dense(1).compute_dtype == "float32"


class Ones:
    """One batch per epoch, for a model with some pairs of outputs."""

    steps = 1

    def __init__(self, pairs=1):
        one, some = np.ones((2, 4, 4, 1), np.float32), np.ones((2, 1), np.float32)
        self._batch = one, *((one, some) * pairs), *((one[..., 0], some[:, 0]) * pairs)

    def epochs(self, number, workers):
        yield from [self._batch] * number


def test_loss_of_local_logits_and_logit(tmp_path, capsys):
    """At a logit of 0 each loss is log 2: 10 + 1 times 0.693 = 7.625; the second pair counts the same again."""
    inputs = keras.Input((4, 4, 1))
    zero = keras.layers.Dense(1, kernel_initializer="zeros")(inputs)
    pooled = keras.layers.GlobalMaxPooling2D()(zero)
    for pairs, loss in ((1, "7.625"), (2, "15.249")):
        model = keras.Model(inputs, [zero, pooled] * pairs)
        fitting.fit(model, Ones(pairs), 1, 0.0, tmp_path / "kept", local_weight=10.0, anneal=False)
        assert f"epoch 1 of 1: loss {loss}" in capsys.readouterr().out
        assert not list(tmp_path.glob("kept/*"))


def test_a_stopped_fit_resumes_after_the_last_finished_epoch(tmp_path, monkeypatch):
    inputs = keras.Input((4, 4, 1))
    local = keras.layers.Dense(1)(inputs)
    model = keras.Model(inputs, [local, keras.layers.GlobalMaxPooling2D()(local)])
    said = []

    def stop(words, flush):
        said.append(words.split(":")[0])
        if len(said) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", stop)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(model, Ones(), 4, 1e-2, tmp_path / "kept")
    steps = int(model.optimizer.iterations)
    fitting.fit(model, Ones(), 4, 1e-2, tmp_path / "kept")
    assert said == [f"epoch {n} of 4" for n in (1, 2, 3, 4)]
    assert (steps, int(model.optimizer.iterations)) == (3, 4)  # the learning rate goes on falling


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


def test_lesions_differ_from_epoch_to_epoch_and_labels_suit_each_pair_of_outputs(tmp_path):
    """A third of the images without an artery receive one, others in each epoch."""
    images = np.full((300, 32, 32), 2, np.float16), np.zeros((300, 4, 4), np.int8), lesions()
    make = partial(fitting.example, mean_mimics=0.0, levels=(0, 1))
    with stored_batches(tmp_path, fitting.arrays(*images), make, 300, 5) as batches:
        found = list(batches.epochs(2, 0))
    for image, fine, some, coarse, again, weight, sure, coarse_weight, _ in found:
        assert image.shape == (300, 32, 32, 1) and sure.shape == (300,)
        assert fine.shape[1:] == (4, 4, 1) and coarse.shape[1:] == (2, 2, 1)
        assert weight.shape[1:] == (4, 4) and coarse_weight.shape[1:] == (2, 2)
        np.testing.assert_array_equal(some, again)
        np.testing.assert_array_equal(fine.reshape(-1, 2, 2, 2, 2).max(axis=(2, 4)), coarse[..., 0])
    first, second = (batch[2][:, 0] for batch in found)
    assert first.mean() == pytest.approx(ARTERY_SHARE, abs=0.1)
    assert not np.array_equal(first, second)


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
