"""Grad-CAM++ against the formula in NumPy, value by value."""

import keras
import numpy as np
import pytest
from keras import layers

from bac_utils.gradcam import GradCamPlusPlus, scale_maps
from bac_utils.model import build_model


def by_hand(maps, gradients):
    """Return the map of one view from (h, w, K) activations and gradients: Chattopadhay et al. 2018, without exp."""
    result = np.zeros(maps.shape[:2])
    for k in range(maps.shape[2]):
        a, weight = maps[..., k].astype(np.float64), 0.0
        for g in gradients[..., k].astype(np.float64).ravel():
            denominator = 2 * g**2 + a.sum() * g**3
            alpha = g**2 / denominator if denominator != 0 else 0.0
            weight += alpha * max(g, 0.0)
        result += weight * a
    return np.maximum(result, 0)


def convolve(views, kernel, bias):
    """Return relu(valid 3 x 3 convolution), (N, H - 2, W - 2, K)."""
    n, h, w, _ = views.shape
    out = np.zeros((n, h - 2, w - 2, kernel.shape[3]))
    for r in range(3):
        for c in range(3):
            out += views[:, r : r + h - 2, c : c + w - 2] @ kernel[r, c]
    return np.maximum(out + bias, 0)


@pytest.fixture(scope="module")
def network():
    """Two convolutions and a hidden layer, with positive and negative weights."""
    keras.utils.set_random_seed(3)
    start = keras.initializers.RandomNormal(stddev=0.4)
    inputs = keras.Input((9, 8, 1))
    x = layers.Conv2D(3, 3, activation="relu", kernel_initializer=start, name="first")(inputs)
    x = layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, bias_initializer=start, name="second")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.LeakyReLU(negative_slope=0.3)(layers.Dense(5, kernel_initializer=start, name="hidden")(x))
    return keras.Model(inputs, layers.Dense(1, kernel_initializer=start, name="logit")(x))


@pytest.fixture(scope="module")
def views():
    return np.random.default_rng(1).normal(size=(5, 9, 8, 1)).astype(np.float32)


def test_one_map_by_hand():
    inputs = keras.Input((2, 2, 1))
    maps = layers.Conv2D(1, 1, activation="relu", name="conv")(inputs)
    logit = layers.Dense(1, name="logit")(layers.Flatten()(maps))
    model = keras.Model(inputs, logit)
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), np.array([[1], [2], [-1], [0.5]]), np.array([0.25])])
    logits, found = GradCamPlusPlus(model)(np.array([[[[1.0], [0]], [[-3], [2]]]]))
    # A = [[1, 0], [0, 2]], sum(A) = 3; alpha = 1 / (2 + 3 g) = 1/5, 1/8, (g < 0), 2/7
    weight = 1 / 5 + 2 / 8 + 0.5 * 2 / 7
    np.testing.assert_allclose(logits, [1 + 0.5 * 2 + 0.25], rtol=1e-6)
    np.testing.assert_allclose(found, [[[weight, 0], [0, 2 * weight]]], rtol=1e-6)


def test_maps_equal_the_formula_with_gradients_by_hand(network, views):
    k1, b1, k2, b2, hidden, hidden_bias, out, out_bias = network.get_weights()
    maps = convolve(convolve(views, k1, b1), k2, b2)
    before = maps.reshape(5, -1) @ hidden + hidden_bias
    logits = np.where(before > 0, before, 0.3 * before) @ out + out_bias
    slopes = np.where(before > 0, 1, 0.3) * out[:, 0]
    gradients = (slopes @ hidden.T).reshape(maps.shape)
    expected = [by_hand(a, g) for a, g in zip(maps, gradients, strict=True)]
    found_logits, found = GradCamPlusPlus(network)(views)
    assert found.shape == (5, 5, 4)
    assert found.dtype == found_logits.dtype == np.float32
    assert (np.array(expected).max(axis=(1, 2)) > 0).all()
    np.testing.assert_allclose(found_logits, logits[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_global_maximum_passes_the_gradient_to_one_pixel_per_channel():
    inputs = keras.Input((4, 4, 2))
    maps = layers.Conv2D(2, 1, activation="relu", use_bias=False)(inputs)
    model = keras.Model(inputs, layers.Dense(1, use_bias=False)(layers.GlobalMaxPooling2D()(maps)))
    model.set_weights([np.eye(2)[None, None], np.array([[0.5], [-1.0]])])
    view = np.arange(32, dtype=np.float32).reshape(1, 4, 4, 2)
    gradients = np.zeros((4, 4, 2))
    gradients[3, 3] = 0.5, -1.0
    np.testing.assert_allclose(GradCamPlusPlus(model)(view)[1][0], by_hand(view[0], gradients), rtol=1e-6)


def test_a_batch_gives_the_same_as_single_views(network, views):
    explain = GradCamPlusPlus(network)
    logits, maps = explain(views)
    for n in range(len(views)):
        logit, single = explain(views[n : n + 1])
        np.testing.assert_allclose(logit, logits[n : n + 1], rtol=1e-4)
        np.testing.assert_allclose(single[0], maps[n], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [-200.0, 200.0])
def test_maps_stay_finite_and_do_not_depend_on_the_logits_offset(network, views, value):
    expected = GradCamPlusPlus(network)(views)[1]
    shifted = keras.models.clone_model(network)
    weights = network.get_weights()
    shifted.set_weights([*weights[:-1], np.array([value])])
    logits, maps = GradCamPlusPlus(shifted)(views)
    assert (np.abs(logits - value) < 20).all()
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-25, 1e5])
def test_maps_stay_finite_for_tiny_and_huge_gradients(network, views, factor):
    scaled = keras.models.clone_model(network)
    weights = network.get_weights()
    scaled.set_weights([*weights[:-2], weights[-2] * factor, weights[-1]])
    maps = GradCamPlusPlus(scaled)(views)[1]
    assert np.isfinite(maps).all()
    assert (maps.max(axis=(1, 2)) > 0).all()  # in float32, g^2 would underflow or g^3 overflow


def test_a_view_without_activation_gives_zeros(network):
    dead = keras.models.clone_model(network)
    weights = network.get_weights()
    dead.set_weights([*weights[:3], np.full(4, -1e3), *weights[4:]])
    np.testing.assert_array_equal(GradCamPlusPlus(dead)(np.ones((2, 9, 8, 1)))[1], 0)


def test_nested_and_sequential_models_give_the_flat_models_maps(network, views):
    expected = GradCamPlusPlus(network)(views)
    inner = keras.Model(network.inputs, network.get_layer("second").output, name="inner")
    middle = keras.Sequential([keras.Input((9, 8, 1)), inner, network.get_layer("flat")], name="middle")
    inputs = keras.Input((9, 8, 1))
    x = layers.LeakyReLU(negative_slope=0.3)(network.get_layer("hidden")(middle(inputs)))
    nested = keras.Model(inputs, network.get_layer("logit")(x))
    sequential = keras.Sequential([keras.Input((9, 8, 1)), middle, *network.layers[-3:]])
    for model in (nested, sequential):
        for found, wanted in zip(GradCamPlusPlus(model)(views), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_frozen_model_is_explained_and_not_changed(network, views):
    model = keras.models.clone_model(network)
    model.set_weights(network.get_weights())
    model.trainable = False
    before = model.predict_on_batch(views)
    logits, maps = GradCamPlusPlus(model)(views)
    np.testing.assert_array_equal(model.predict_on_batch(views), before)
    assert not model.trainable
    np.testing.assert_allclose(logits, before[:, 0], rtol=1e-5)
    np.testing.assert_allclose(maps, GradCamPlusPlus(network)(views)[1], rtol=1e-4, atol=1e-6)


def test_the_detector_is_explained_on_its_coarsest_grid(tiny_settings, tiny_views):
    assert GradCamPlusPlus(build_model(tiny_settings))(tiny_views[0][:2, ..., None])[1].shape == (2, 4, 2)


def test_bad_arguments_are_named(network):
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="model: got no convolution, must have one or more"):
        GradCamPlusPlus(dense)
    two = keras.Model(network.inputs, network.get_layer("hidden").output)
    with pytest.raises(ValueError, match=r"output shape \(None, 5\), must be \(None, 1\)"):
        GradCamPlusPlus(two)


def test_scales():
    maps = np.array([[[0, 2.0]], [[1, 4]], [[0, 0]]])
    np.testing.assert_array_equal(scale_maps(maps), [[[0, 1]], [[0.25, 1]], [[0, 0]]])
