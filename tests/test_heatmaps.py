"""Heatmaps of every form against the same numbers computed in NumPy, and their areas."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit

from bac_utils import heatmaps as heat_module
from bac_utils.gradcam import GradCamPlusPlus
from bac_utils.heatmaps import (
    FORMS,
    GRADCAM,
    LAYERCAM,
    LOCAL_LOGITS,
    PER_IMAGE,
    Explainer,
    default_form,
    measure_areas,
    usable_forms,
)
from bac_utils.model import build_model

ROUNDING = 2**-11  # heatmaps are rounded to float16


@pytest.fixture(scope="module")
def detector(tiny_settings):
    """A detector with different local logits."""
    model = build_model(tiny_settings)
    rng = np.random.default_rng(0)
    for name in ("dense_1", "dense_2", "cells", "logit"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def network():
    """Two convolutions, the second at half the resolution, and no local logits."""
    keras.utils.set_random_seed(3)
    start = keras.initializers.RandomNormal(stddev=0.4)
    inputs = keras.Input((8, 6, 1))
    given = {"padding": "same", "activation": "relu", "kernel_initializer": start, "bias_initializer": start}
    x = layers.Conv2D(3, 3, name="fine", **given)(inputs)
    x = layers.Conv2D(4, 3, name="coarse", **given)(layers.MaxPooling2D(2)(x))
    return keras.Model(inputs, layers.Dense(1, kernel_initializer=start, name="logit")(layers.Flatten()(x)))


@pytest.fixture(scope="module")
def views():
    return np.random.default_rng(1).normal(size=(3, 8, 6, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def prepared(tiny_views):
    return tiny_views[0][:3, ..., None].astype(np.float32)


def upside_down(batch):
    return batch[:, ::-1]


def mean_logits(model, batch):
    """Mean of the logits of views and their mirror images."""
    return (model.predict_on_batch(batch)[:, 0] + model.predict_on_batch(upside_down(batch))[:, 0]) / 2


def test_local_logits_are_probabilities_averaged_with_the_mirror(detector, prepared):
    read = keras.Model(detector.inputs[0], detector.get_layer("cells").output)
    own, mirrored = (expit(read.predict_on_batch(batch)[..., 0]) for batch in (prepared, upside_down(prepared)))
    logits, heats = Explainer(detector)(prepared)
    assert list(heats) == [LOCAL_LOGITS]
    assert heats[LOCAL_LOGITS].shape == (3, 4, 2)
    assert heats[LOCAL_LOGITS].dtype == logits.dtype == np.float32
    assert np.ptp(heats[LOCAL_LOGITS]) > 0.01
    np.testing.assert_allclose(heats[LOCAL_LOGITS], (own + upside_down(mirrored)) / 2, rtol=ROUNDING, atol=1e-6)
    np.testing.assert_allclose(logits, mean_logits(detector, prepared), rtol=1e-5)


def test_local_logits_by_hand():
    """A network whose local logits are its pixels."""
    inputs = keras.Input((2, 2, 1))
    cells = layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="cells")(inputs)
    model = keras.Model(inputs, layers.Dense(1, use_bias=False, kernel_initializer="ones")(layers.Flatten()(cells)))
    logits, heats = Explainer(model)(np.array([[[[0.0], [2]], [[-1], [100]]]]))
    assert logits == [101]
    p = 1 / (1 + np.exp([0, -2, 1, -100.0]))
    # the mirror image gives the same local logits for the same pixels, so the mean is the map itself
    np.testing.assert_allclose(heats[LOCAL_LOGITS][0], p.reshape(2, 2), rtol=ROUNDING, atol=1e-6)


def test_gradcam_is_the_mean_of_a_view_and_its_mirror_on_the_scale_of_the_score(monkeypatch):
    """With a fake explainer whose map is the view weighted by row, and whose logit is the mean of the view."""

    def explain(views):
        maps = (
            views[..., 0] * np.array([1.0, 2.0, 4.0])[None, :, None]
        )  # depends on the row, so the mirror image differs
        return views.mean(axis=(1, 2, 3)), maps

    monkeypatch.setattr(heat_module, "GradCamPlusPlus", lambda model: explain)
    views = np.array([[[1.0, 0], [0, 1], [0, 1]]])[..., None]
    model = SimpleNamespace(input_shape=(None, 3, 2, 1))
    logits, heats = Explainer(model, [GRADCAM, PER_IMAGE])(views)
    own = np.array([[1, 0], [0, 2], [0, 4]]) / 4
    mirrored = np.array([[0, 1], [0, 2], [4, 0]])[::-1] / 4
    assert logits == [0.5]
    np.testing.assert_allclose(heats[PER_IMAGE][0], own, rtol=ROUNDING)
    np.testing.assert_allclose(heats[GRADCAM][0], (own + mirrored) / 2 / (1 + np.exp(-0.5)), rtol=ROUNDING, atol=1e-6)


def test_gradcam_forms_of_a_model(network, views):
    _, maps = GradCamPlusPlus(network)(views)
    logits, heats = Explainer(network, [GRADCAM, PER_IMAGE])(views)
    np.testing.assert_allclose(logits, mean_logits(network, views), rtol=1e-5)
    np.testing.assert_allclose(heats[PER_IMAGE], maps / maps.max(axis=(1, 2), keepdims=True), rtol=ROUNDING, atol=1e-6)
    assert heats[PER_IMAGE].max(axis=(1, 2)).tolist() == [1, 1, 1]
    assert (heats[GRADCAM] >= 0).all()
    assert (heats[GRADCAM].max(axis=(1, 2)) <= expit(logits) + 1e-6).all()


def convolve(maps, kernel, bias):
    """Return the 3 x 3 convolution of (h, w, C), with edges padded by 0: (h, w, K)."""
    h, w, _ = maps.shape
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    return sum(padded[r : r + h, c : c + w] @ kernel[r, c] for r in range(3) for c in range(3)) + bias


def layer_cam(view, weights):
    """Return the logit of a view (8, 6, 1) and the maps of both layers, with gradients computed by hand."""
    k1, b1, k2, b2, out, out_bias = (w.astype(float) for w in weights)
    fine = np.maximum(convolve(view, k1, b1), 0)
    blocks = fine.reshape(4, 2, 3, 2, 3)
    pooled = blocks.max(axis=(1, 3))
    before = convolve(pooled, k2, b2)
    coarse = np.maximum(before, 0)
    to_coarse = out[:, 0].reshape(coarse.shape)
    to_before = np.pad(to_coarse * (before > 0), ((1, 1), (1, 1), (0, 0)))
    # backpropagation: convolution with the kernel rotated by 180 degrees
    to_pooled = sum(to_before[2 - r : 6 - r, 2 - c : 5 - c] @ k2[r, c].T for r in range(3) for c in range(3))
    first = blocks == pooled[:, None, :, None]
    to_fine = (first * to_pooled[:, None, :, None]).reshape(fine.shape)
    maps = [np.maximum((np.maximum(g, 0) * a).sum(axis=-1), 0) for g, a in ((to_fine, fine), (to_coarse, coarse))]
    return coarse.ravel() @ out[:, 0] + out_bias[0], *maps


def doubled(line):
    """Resize n to 2 n values, linearly between the centres of the pixels."""
    n = len(line)
    places = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
    return np.interp(places, np.arange(n), line)


def test_layer_cam_by_hand(network, views):
    def joint(view):
        logit, fine, coarse = layer_cam(view, network.get_weights())
        assert fine.max() > 0 and coarse.max() > 0
        coarse = np.apply_along_axis(doubled, 1, np.apply_along_axis(doubled, 0, coarse / coarse.max()))
        return logit, np.maximum(fine / fine.max(), coarse)

    logits, heats = Explainer(network, [LAYERCAM])(views)
    assert heats[LAYERCAM].shape == (3, 8, 6)
    for view, logit, found in zip(views.astype(float), logits, heats[LAYERCAM], strict=True):
        own, mirrored = joint(view), joint(view[::-1])
        assert logit == pytest.approx((own[0] + mirrored[0]) / 2, rel=1e-4)
        np.testing.assert_allclose(found, (own[1] + mirrored[1][::-1]) / 2 * expit(logit), rtol=ROUNDING, atol=1e-6)


def test_all_forms_at_once_are_those_alone(detector, prepared):
    logits, together = Explainer(detector, FORMS[::-1])(prepared)
    assert tuple(together) == FORMS[::-1]
    assert together[LAYERCAM].shape == (3, 8, 4)  # twice the rows and columns
    for form in FORMS:
        alone_logits, alone = Explainer(detector, [form])(prepared)
        np.testing.assert_allclose(alone_logits, logits, rtol=1e-4)
        np.testing.assert_allclose(alone[form], together[form], rtol=ROUNDING, atol=1e-6)
        assert (together[form] >= 0).all() and (together[form] <= 1).all()


@pytest.mark.parametrize("form", [LOCAL_LOGITS, GRADCAM, LAYERCAM])
def test_a_mirrored_view_has_the_same_score_and_the_mirrored_heatmap(detector, prepared, form):
    explain = Explainer(detector, [form])
    logits, heats = explain(prepared)
    mirrored_logits, mirrored = explain(upside_down(prepared))
    np.testing.assert_allclose(mirrored_logits, logits, rtol=1e-5)
    np.testing.assert_allclose(heats[form], upside_down(mirrored[form]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_gives_what_its_views_give_alone(detector, prepared, form):
    explain = Explainer(detector, [form])
    logits, heats = explain(prepared)
    for n in range(len(prepared)):
        logit, alone = explain(prepared[n : n + 1])
        np.testing.assert_allclose(logit, logits[n : n + 1], rtol=1e-4)
        np.testing.assert_allclose(alone[form][0], heats[form][n], rtol=ROUNDING, atol=1e-6)


@pytest.mark.parametrize("form", [GRADCAM, LAYERCAM, PER_IMAGE])
def test_a_view_without_activation_gives_zeros(network, form):
    dead = keras.models.clone_model(network)
    weights = network.get_weights()
    dead.set_weights([weights[0], np.full(3, -1e3), weights[2], np.full(4, -1e3), *weights[4:]])
    np.testing.assert_array_equal(Explainer(dead, [form])(np.ones((2, 8, 6, 1)))[1][form], 0)


def test_usable_forms_of_a_model(detector, network):
    assert usable_forms(detector) == FORMS
    assert default_form(detector) == LOCAL_LOGITS
    assert usable_forms(network) == (GRADCAM, LAYERCAM, PER_IMAGE)
    assert default_form(network) == GRADCAM
    inputs = keras.Input((8, 6, 1))
    nested = keras.Model(inputs, network(inputs))  # no convolution on the top level
    assert usable_forms(nested) == (GRADCAM, PER_IMAGE)
    single = keras.Sequential([inputs, layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1)])
    assert usable_forms(single) == (GRADCAM, PER_IMAGE)


def test_every_usable_form_is_made(detector, network, prepared, views):
    for model, batch in ((detector, prepared), (network, views)):
        forms = usable_forms(model)
        assert tuple(Explainer(model, forms)(batch)[1]) == forms


def test_bad_arguments_are_named(detector, network):
    with pytest.raises(
        ValueError, match=r"forms: got cam, must be among local-logits, grad-cam\+\+, layer-cam, per-image-maximum"
    ):
        Explainer(detector, [LOCAL_LOGITS, "cam"])
    with pytest.raises(ValueError, match="forms: got none, must be among"):
        Explainer(detector, [])
    with pytest.raises(ValueError, match="forms: got local-logits, must be another form for a model that is not"):
        Explainer(network)
    single = keras.Sequential([keras.Input((8, 6, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="forms: got layer-cam, must be another form for a model without"):
        Explainer(single, [LAYERCAM])
    for form in FORMS:
        with pytest.raises(ValueError, match=r"views: got shape \(1, 64, 30, 1\), must be \(N, 64, 32, 1\)"):
            Explainer(detector, [form])(np.zeros((1, 64, 30, 1)))
        with pytest.raises(ValueError, match=r"views: got shape \(0, 64, 32, 1\)"):
            Explainer(detector, [form])(np.zeros((0, 64, 32, 1)))


def test_areas_have_one_unit():
    pixels, heats = np.ones((2, 8, 8)), np.full((2, 4, 4), 0.6)
    values = (heats, LOCAL_LOGITS, 0.5, [1, 0], pixels)
    assert measure_areas(*values, [(0.5, 0.25)] * 2).tolist() == [8, 8]  # 64 pixels of 0.125 mm2
    assert measure_areas(*values, [(0.5, 0.25), None]).tolist() == [64, 64]
    assert measure_areas(heats, PER_IMAGE, *values[2:], [None] * 2).tolist() == [64, 0]  # BAC- counts as 0
