"""Structure, weights and scores of the network."""

import json
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logsumexp, softmax

from bac_utils import backbones
from bac_utils.backbones import (
    CONVOLUTIONS,
    HEAD_ATTRIBUTE,
    INPUT_SCALES,
    LAST_NORM,
    STRUCTURES,
    UNITS_ATTRIBUTE,
    build_backbone,
    check_weights,
    cut,
    save_weights,
    structures_file,
)
from bac_utils.model import LogSumExpPooling, build_model, load_model, predict_scores
from bac_utils.settings import DEMO, PAPER

SMALL = (32, 32)
FULL = replace(PAPER, input_shape=SMALL, weights="none")


@pytest.fixture(scope="module")
def vgg16():
    """The VGG16 of Keras with random weights, in place of the ImageNet weights."""
    keras.utils.set_random_seed(5)
    return keras.applications.VGG16(weights=None, include_top=False)


def test_undivided_vgg16_is_that_of_keras(vgg16):
    theirs = [(layer.name, [w.shape for w in layer.weights]) for layer in vgg16.layers[1:]]
    for head, last in (("flatten", "block5_pool"), ("average", "block5_pool"), ("local", "block5_conv3")):
        backbone = build_backbone(replace(FULL, head=head))
        assert backbone.count_params() == vgg16.count_params() == 14_714_688
        ours = [(layer.name, [w.shape for w in layer.weights]) for layer in backbone.layers]
        ours = [row for row in ours if row[0].startswith("block")]
        assert ours == theirs[: len(ours)] and ours[-1][0] == last


def test_the_layers_of_the_papers_figure_2b():
    """13 convolutions in five blocks with five poolings, then two dense layers of 256 with LeakyReLU and dropout."""
    model = build_model(replace(PAPER, weights="none"))
    blocks = [(1, 2), (2, 2), (3, 3), (4, 3), (5, 3)]
    names = [f"block{block}_{layer}" for block, n in blocks for layer in [*(f"conv{k + 1}" for k in range(n)), "pool"]]
    head = ["flatten", "dense_1", "leaky_1", "dropout_1", "dense_2", "leaky_2", "dropout_2", "logit"]
    assert [layer.name for layer in model.layers] == ["prepared_view", "grey_three_times", *names, *head]
    assert model.input_shape == (None, 1536, 768, 1)
    assert model.get_layer("grey_three_times").output.shape == (None, 1536, 768, 3)
    assert model.get_layer("block5_pool").output.shape == (None, 48, 24, 512)
    units = [model.get_layer(name).units for name in ("dense_1", "dense_2", "logit")]
    slopes = [model.get_layer(f"leaky_{n}").negative_slope for n in (1, 2)]
    rates = [model.get_layer(f"dropout_{n}").rate for n in (1, 2)]
    assert (units, slopes, rates) == ([256, 256, 1], [0.3, 0.3], [0.3, 0.3])
    # 48 x 24 x 512 values, a bias each, 256 x 256, and one logit
    assert model.count_params() == 14_714_688 + (589_824 + 1) * 256 + 257 * 256 + 257
    trained = [layer.name for layer in model.layers if layer.trainable_weights]
    assert trained == [f"block{b}_conv{n}" for b, n in ((4, 2), (4, 3), (5, 1), (5, 2), (5, 3))] + [
        "dense_1", "dense_2", "logit"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "pooled"), [("flatten", lambda x: x.reshape(3, -1)), ("average", lambda x: x.mean((1, 2)))]
)
def test_heads_of_the_whole_map_by_hand(tiny_settings, tiny_views, head, pooled):
    model = build_model(replace(tiny_settings, head=head))
    views = tiny_views[0][:3, ..., None].astype(np.float32)
    maps = keras.Model(model.inputs[0], model.get_layer("block5_pool").output).predict_on_batch(views)
    assert maps.shape == (3, 2, 1, 16)
    x = pooled(maps.astype(float))
    for name in ("dense_1", "dense_2"):
        kernel, bias = model.get_layer(name).get_weights()
        x = x @ kernel + bias
        x = np.where(x > 0, x, 0.3 * x)
    kernel, bias = model.get_layer("logit").get_weights()
    np.testing.assert_allclose(model.predict_on_batch(views), x @ kernel + bias, rtol=1e-4, atol=1e-6)


def test_widths_are_divided():
    model = build_model(replace(DEMO, weights="none"))
    widths = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert widths == [8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64]
    # 3 x 3 x 3 x 8 + 8 ... 9 x 64 x 64 + 64; 64 -> 256 -> 256 -> 1 for a local logit; scale and shift
    convolutions = sum(9 * a * b + b for a, b in zip([3, *widths], widths, strict=False))
    assert model.count_params() == convolutions + 65 * 256 + 257 * 256 + 257 + 2
    assert model.output_shape == (None, 1)
    assert model.get_layer("cells").output.shape == (None, 768 // 16, 384 // 16, 1)
    assert model.get_layer("logit").dtype_policy.name == "float32"


HEAD = ("dense_1", "dense_2", "cells", "logit")


def vary_head(model, seed=0):
    """Give the head positive and negative weights and biases."""
    rng = np.random.default_rng(seed)
    for name in HEAD:
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return model


def test_head_by_hand(tiny_settings, tiny_views):
    """Each position of the last map has a local logit; the view's logit is their soft maximum, scaled and shifted."""
    model = vary_head(build_model(replace(tiny_settings, pooling_sharpness=4.0)))
    views = tiny_views[0][:3, ..., None].astype(np.float32)
    names = ("block5_conv3", "cells", "logit")
    read = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])
    maps, cells, logits = read.predict_on_batch(views)
    assert maps.shape == (3, 4, 2, 16)
    expected = np.empty((3, 4, 2))
    for place in np.ndindex(3, 4, 2):
        x = maps[place].astype(float)
        for name in ("dense_1", "dense_2"):
            kernel, bias = model.get_layer(name).get_weights()
            x = x @ kernel + bias
            x = np.where(x > 0, x, 0.3 * x)
        kernel, bias = model.get_layer("cells").get_weights()
        expected[place] = (x @ kernel + bias)[0]
    np.testing.assert_allclose(cells[..., 0], expected, rtol=1e-4, atol=1e-5)
    scale, shift = model.get_layer("logit").get_weights()
    pooled = np.log(np.exp(4 * expected).mean(axis=(1, 2))) / 4
    np.testing.assert_allclose(logits[:, 0], scale[0, 0] * pooled + shift[0], rtol=1e-4, atol=1e-5)


def test_the_initial_logit_is_that_of_the_pooling(tiny_settings, tiny_views):
    model = build_model(tiny_settings)
    views = tiny_views[0][:3, ..., None].astype(np.float32)
    pooled = keras.Model(model.inputs[0], model.get_layer("pooling").output).predict_on_batch(views)
    np.testing.assert_allclose(model.predict_on_batch(views), pooled, rtol=1e-6)


def test_the_head_fits_views_of_every_shape(tiny_settings, tiny_views):
    small = build_model(tiny_settings)
    large = build_model(replace(tiny_settings, input_shape=(128, 96)))
    large.set_weights(small.get_weights())
    view = np.zeros((1, 128, 96, 1), np.float32)
    view[0, 32:96, 32:64, 0] = tiny_views[0][0]
    assert large.get_layer("cells").output.shape == (None, 8, 6, 1)
    assert np.isfinite(large.predict_on_batch(view)).all()


def test_pooling_is_the_log_of_the_mean_exponential():
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 3, (4, 5, 3, 6)).astype(np.float32)
    found = LogSumExpPooling()(maps).numpy()
    assert found.shape == LogSumExpPooling().compute_output_shape((4, 5, 3, 6)) == (4, 6)
    np.testing.assert_allclose(found, logsumexp(maps.astype(float), axis=(1, 2)) - np.log(15), rtol=1e-5, atol=1e-5)
    # It is between the mean and the maximum, and a constant map gives its value.
    assert (found >= maps.mean(axis=(1, 2)) - 1e-5).all() and (found <= maps.max(axis=(1, 2)) + 1e-5).all()
    np.testing.assert_allclose(LogSumExpPooling()(np.full((1, 7, 2, 1), -1.5, np.float32)), [[-1.5]], rtol=1e-6)
    # One position of a large map counts, although it hardly changes the average.
    maps = np.zeros((1, 24, 12, 1), np.float32)
    maps[0, 20, 3] = 12
    np.testing.assert_allclose(LogSumExpPooling()(maps), [[np.log((287 + np.exp(12)) / 288)]], rtol=1e-5)


def test_the_sharpness_leads_from_the_mean_to_the_maximum(tmp_path):
    maps = np.random.default_rng(0).normal(0, 3, (4, 5, 3, 6)).astype(np.float32)
    found = LogSumExpPooling(4.0)(maps)
    expected = logsumexp(4 * maps.astype(float), axis=(1, 2)) / 4 - np.log(15) / 4
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(LogSumExpPooling(1e-3)(maps), maps.mean(axis=(1, 2)), atol=0.02)
    np.testing.assert_allclose(LogSumExpPooling(100.0)(maps), maps.max(axis=(1, 2)), atol=0.03)


def test_pooling_of_extreme_maps_is_finite_with_its_gradient():
    maps = tf.constant(np.stack([np.full((4, 4, 2), v) for v in (200.0, -200.0)]), tf.float32)
    mixed = tf.tensor_scatter_nd_update(maps, [[0, 0, 0, 0], [1, 2, 2, 1]], [-200.0, 200.0])
    for values in (maps, mixed):
        with tf.GradientTape() as tape:
            tape.watch(values)
            pooled = LogSumExpPooling()(values)
        expected = logsumexp(values.numpy().astype(float), axis=(1, 2)) - np.log(16)
        np.testing.assert_allclose(pooled, expected, rtol=1e-5)
        gradient = tape.gradient(pooled, values).numpy()
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(gradient, softmax(values.numpy().astype(float), axis=(1, 2)), atol=1e-6)


def test_equal_local_logits_share_the_gradient_of_the_pooling():
    maps = np.zeros((1, 6, 4, 1), np.float32)
    maps[0, 1:5, 2] = 8  # an artery of four positions
    values = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(values)
        pooled = LogSumExpPooling()(values)
    gradient = tape.gradient(pooled, values).numpy()
    share = np.exp(8) / (4 * np.exp(8) + 20)
    np.testing.assert_allclose(gradient[0, 1:5, 2, 0], share, rtol=1e-5)
    assert gradient.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(gradient[maps == 0], share * np.exp(-8), rtol=1e-4)


def test_pooling_is_saved_and_loaded_in_safe_mode(tiny_settings, tiny_views, tmp_path):
    model = build_model(replace(tiny_settings, pooling_sharpness=4.0))
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.get_layer("pooling").sharpness == 4
    views = tiny_views[0][:3, ..., None].astype(np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(views), model.predict_on_batch(views))


def test_the_grey_level_is_copied_to_three_channels(tiny_settings, tiny_views):
    model = build_model(tiny_settings)
    views = tiny_views[0][:2, ..., None].astype(np.float32)
    kernel, bias = model.get_layer("block1_conv1").get_weights()
    found = keras.Model(model.inputs[0], model.get_layer("block1_conv1").output).predict_on_batch(views)
    row, column = 30, 8
    patch = views[0, row - 1 : row + 2, column - 1 : column + 2, 0]
    expected = np.maximum(np.einsum("rc,rcio->o", patch, kernel) + bias, 0)
    np.testing.assert_allclose(found[0, row, column], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("number", "first"), [(0, "dense_1"), (3, "block5_conv1"), (5, "block4_conv2"), (13, "block1_conv1")]
)
def test_the_last_convolutions_are_trained(tiny_settings, number, first):
    model = build_model(replace(tiny_settings, trainable_convolutions=number))
    trained = [layer.name for layer in model.layers if layer.trainable_weights]
    assert trained[0] == first
    assert trained[number:] == list(HEAD)


def test_equal_settings_give_equal_weights(tiny_settings):
    first, again = build_model(tiny_settings), build_model(tiny_settings)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = build_model(replace(tiny_settings, seed=2))
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def published_file(model, path):
    """Write weights in the layout of `vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`, as Keras distributes it.

    HDF5 with one group per layer, pooling included; `block1_conv1` has `block1_conv1_W_1:0` of shape (3, 3, 3, 64) and
    `block1_conv1_b_1:0` of shape (64,).
    """
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}_1:0".encode() for kind in "Wb"][: len(layer.weights)]
            group.attrs["weight_names"] = names
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name.decode()] = value


def check_imagenet_scale(vgg16, backbone):
    """Assert that a backbone with the weights of `vgg16` scales views to the range of ImageNet inputs."""
    views = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    last = keras.Model(vgg16.inputs[0], vgg16.get_layer(backbone.layers[-1].name).output)
    expected = last.predict_on_batch(np.repeat(views, 3, axis=-1) * 0.225 * 255)
    assert expected.max() > 0
    np.testing.assert_allclose(backbone.predict_on_batch(views), expected, rtol=1e-4, atol=1e-5)


def test_files_with_imagenet_weights(vgg16, tmp_path):
    vgg16.save_weights(tmp_path / "vgg16_notop.weights.h5")
    published = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    published_file(vgg16, tmp_path / published)
    with h5py.File(tmp_path / published) as file:
        assert file["block1_conv1/block1_conv1_W_1:0"].shape == (3, 3, 3, 64)
        assert file["block5_conv3/block5_conv3_b_1:0"].shape == (512,)
    for name in ("vgg16_notop.weights.h5", published):
        for head in ("flatten", "local"):
            check_imagenet_scale(vgg16, build_backbone(replace(FULL, weights=str(tmp_path / name), head=head)))


def test_downloaded_imagenet_weights(vgg16, monkeypatch):
    asked = []
    monkeypatch.setattr(keras.applications, "VGG16", lambda **given: asked.append(given) or vgg16)
    check_imagenet_scale(vgg16, build_backbone(replace(FULL, weights="imagenet")))
    assert asked == [{"include_top": False, "weights": "imagenet"}]


def test_the_local_head_takes_the_first_layers_of_a_whole_network(monkeypatch):
    whole = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 32, 3))
    monkeypatch.setattr(backbones, "_imagenet", lambda name: whole)
    options = {"backbone": "MobileNet", "weights": "imagenet", "input_shape": (64, 32)}
    backbone = build_backbone(replace(FULL, head="local", **options))
    assert backbone.layers[-1].name == "conv_pw_11_relu" and backbone.output.shape[1:3] == (4, 2)
    for layer in backbone.layers:
        if layer.weights:
            np.testing.assert_array_equal(layer.get_weights()[0], whole.get_layer(layer.name).get_weights()[0])
    assert build_backbone(replace(FULL, head="flatten", **options)).output.shape[1:3] == (2, 1)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("ResNet50", ["conv4_block6_out"]),
        ("ResNet50V2", ["conv4_block5_out", LAST_NORM]),  # a sum, not normalised
        ("Xception", ["add_10", LAST_NORM]),
        ("InceptionV3", ["mixed7"]),
    ],
)
def test_networks_are_cut_where_no_branch_passes_by(name, last):
    keras.backend.clear_session()  # Xception numbers its sums
    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(160, 96, 3))
    assert [layer.name for layer in cut(network).layers[-len(last) :]] == last


def test_a_failed_download_says_how_to_pass_a_file(monkeypatch):
    def fails(**given):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG16", fails)
    for function in (build_model, check_weights):
        with pytest.raises(ConnectionError, match=r"VGG16 could not be downloaded .*-p weights PATH.*-p weights none"):
            function(replace(FULL, weights="imagenet"))


@pytest.fixture(scope="module")
def saved(tiny_settings, tmp_path_factory):
    """A network with random weights, and its weights file."""
    model = vary_head(build_model(replace(tiny_settings, seed=7)))
    path = tmp_path_factory.mktemp("weights") / "own.weights.h5"
    save_weights(model, path)
    return model, path


def same_weights(found, expected, layers=None):
    for layer in layers or [layer.name for layer in expected.layers]:
        pairs = zip(found.get_layer(layer).get_weights(), expected.get_layer(layer).get_weights(), strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a, b, err_msg=layer)


def test_saved_weights_are_loaded_with_their_scale(saved, tiny_settings, tiny_views, monkeypatch):
    model, path = saved
    with h5py.File(path) as file:
        assert (file.attrs["bac_utils_input_scale"], file.attrs[UNITS_ATTRIBUTE]) == (1.0, 8)
    views = tiny_views[0][:2, ..., None].astype(np.float32)
    expected = keras.Model(model.inputs[0], model.get_layer("block5_conv3").output).predict_on_batch(views)
    found = build_backbone(replace(tiny_settings, weights=str(path), input_shape=(64, 32)))
    np.testing.assert_array_equal(found.predict_on_batch(views), expected)
    monkeypatch.setitem(backbones.BUNDLED, "bundled", path)
    monkeypatch.setattr(backbones, "BUNDLED_DIVISOR", 32)
    bundled = replace(tiny_settings, weights="bundled")
    same_weights(build_model(bundled), model)
    start = build_model(replace(bundled, pretrained_head=False))
    same_weights(start, model, [layer.name for layer in model.layers if layer.name.startswith("block")])
    same_weights(start, build_model(tiny_settings), HEAD)  # not pretrained


def test_weights_of_16_bits_are_those_rounded(saved, tiny_settings, tmp_path):
    model, path = saved
    short = tmp_path / "short.weights.h5"
    save_weights(model, short, half=True)
    assert short.stat().st_size < 0.7 * path.stat().st_size
    found = build_model(replace(tiny_settings, weights=str(short)))
    for ours, theirs in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float16).astype(np.float32))
    found.get_layer("logit").bias.assign([1e5])
    with pytest.raises(ValueError, match="half: got weights beyond 65504 in .*, must be smaller for 16 bits"):
        save_weights(found, short, half=True)


@pytest.mark.parametrize("name", STRUCTURES)
def test_bundled_structures_of_every_network(tiny_settings, name):
    settings = replace(tiny_settings, backbone=name, width_divisor=STRUCTURES[name], weights="structures")
    network = build_backbone(replace(settings, input_shape=(96, 80)))
    assert network.output.shape[1:3] == (6, 5)
    maps = network.predict_on_batch(np.random.default_rng(0).normal(size=(2, 96, 80, 1)).astype(np.float32))
    assert np.isfinite(maps).all() and maps.std() > 0
    note = structures_file(name).with_suffix("").with_suffix(".json")
    assert json.loads(note.read_text())["made_with"].get("backbone", "VGG16") == name


def test_saved_weights_include_the_head(saved, tiny_settings, tiny_views):
    model, path = saved
    again = build_model(replace(tiny_settings, seed=2, weights=str(path), trainable_convolutions=3))
    same_weights(again, model)
    views = tiny_views[0][:4, ..., None].astype(np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(views), model.predict_on_batch(views))
    trained = [layer.name for layer in again.layers if layer.trainable_weights]
    assert trained[:3] == ["block5_conv1", "block5_conv2", "block5_conv3"]
    other = build_model(replace(tiny_settings, weights=str(path), input_shape=(96, 64)))  # another input shape
    same_weights(other, model)


@pytest.mark.parametrize("units", [4, 16])
def test_a_head_of_another_size_starts_at_random(saved, tiny_settings, units):
    model, path = saved
    settings = replace(tiny_settings, dense_units=units)
    found = build_model(replace(settings, weights=str(path)))
    same_weights(found, model, [layer.name for layer in model.layers if layer.name.startswith("block")])
    same_weights(found, build_model(settings), HEAD)


def test_a_file_without_the_number_of_units_fills_only_the_backbone(saved, tiny_settings, tmp_path):
    model, path = saved
    (tmp_path / "old.weights.h5").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "old.weights.h5", "a") as file:
        del file.attrs[UNITS_ATTRIBUTE]
    found = build_model(replace(tiny_settings, weights=str(tmp_path / "old.weights.h5")))
    same_weights(found, model, [layer.name for layer in model.layers if layer.name.startswith("block")])
    same_weights(found, build_model(tiny_settings), HEAD)


@pytest.mark.parametrize("head", ["flatten", "average"])
def test_a_saved_head_is_loaded_only_by_a_model_with_the_same_head(saved, tiny_settings, head, tmp_path):
    settings = replace(tiny_settings, head=head)
    model, path = build_model(replace(settings, seed=7)), tmp_path / "own.weights.h5"
    save_weights(model, path)
    with h5py.File(path) as file:
        assert file.attrs[HEAD_ATTRIBUTE] == head
    same_weights(build_model(replace(settings, weights=str(path))), model)
    names = ("dense_1", "dense_2", "logit")
    other = build_model(replace(settings, weights=str(saved[1])))  # of a `local` head
    same_weights(other, saved[0], [layer.name for layer in model.layers if "conv" in layer.name])
    same_weights(other, build_model(settings), names)
    large = replace(settings, input_shape=(96, 64))  # a flattened map of another size
    found = build_model(replace(large, weights=str(path)))
    same_weights(found, build_model(large) if head == "flatten" else model, names)


def test_training_is_continued_from_a_saved_detector(tiny_settings, tiny_views, tmp_path):
    model = vary_head(build_model(replace(tiny_settings, seed=7)))
    model.save(tmp_path / "model.keras")
    settings = replace(tiny_settings, weights=str(tmp_path / "model.keras"), trainable_convolutions=2, dropout=0.1)
    found = build_model(settings)
    same_weights(found, model)
    trained = [layer.name for layer in found.layers if layer.trainable_weights]
    assert trained == ["block5_conv2", "block5_conv3", *HEAD]
    assert found.get_layer("dropout_2").rate == 0.1
    everything = build_model(replace(settings, trainable_convolutions=13))
    assert not any(layer.non_trainable_weights for layer in everything.layers if "dropout" not in layer.name)
    with pytest.raises(ValueError, match=r"input_shape: got \(96, 64\), must be \(64, 32\), that of .*model.keras"):
        build_model(replace(settings, input_shape=(96, 64)))
    with pytest.raises(FileNotFoundError, match="nothing.keras"):
        build_model(replace(settings, weights=str(tmp_path / "nothing.keras")))


@pytest.mark.parametrize("name", ["VGG19", "MobileNet", "DenseNet121", "ResNet50V2", "Xception"])
def test_other_backbones_are_built(name):
    model = build_model(replace(FULL, backbone=name, input_shape=(96, 71), trainable_convolutions=2))
    assert model.input_shape == (None, 96, 71, 1)
    assert model.output_shape == (None, 1)
    convolutions = [layer for layer in model.layers if isinstance(layer, backbones.CONVOLUTIONS)]
    trained = [layer for layer in convolutions if layer.trainable_weights]
    assert trained == convolutions[-2:]


def test_every_listed_backbone_is_in_keras():
    assert [name for name in INPUT_SCALES if not hasattr(keras.applications, name)] == []


def test_frozen_batch_normalisation_stays_in_inference_mode():
    model = build_model(replace(FULL, backbone="MobileNet", trainable_convolutions=1))
    views = np.random.default_rng(0).normal(5, 3, size=(4, 32, 32, 1)).astype(np.float32)
    front = keras.Model(model.inputs[0], model.get_layer("conv_dw_13_relu").output)
    before = front.predict_on_batch(views)
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
    model.train_on_batch(views, np.array([[0.0], [1], [0], [1]]))
    np.testing.assert_array_equal(front(views, training=True).numpy(), before)
    assert (
        model.get_layer("conv_pw_13_bn").moving_mean.numpy().any()
    )  # the trained part uses the statistics of the batch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "VGG17"}, "backbone: got 'VGG17', must be one of ConvNeXtTiny, DenseNet121"),
        ({"width_divisor": 3}, "width_divisor: got 3, must divide 64"),
        (
            {"backbone": "MobileNet", "width_divisor": 5},
            "width_divisor: got 5, must divide 32, the width of conv1 in mobilenet",
        ),
        (
            {"weights": "bundled", "width_divisor": 4},
            "'bundled' for VGG16 with width_divisor 4, must be used for VGG16 with 8",
        ),
        (
            {"weights": "structures", "backbone": "InceptionV3", "width_divisor": 8},
            "'structures' for InceptionV3 with width_divisor 8, must be used for VGG16 with 8, VGG19 with 8, Xception",
        ),
        (
            {"weights": "structures", "backbone": "MobileNet", "width_divisor": 4, "head": "average"},
            "'structures' for MobileNet, must be used with the head 'local'",
        ),
        (
            {"weights": "imagenet", "width_divisor": 2},
            "'imagenet' with width_divisor 2, must be used with width_divisor 1",
        ),
        (
            {"weights": "nowhere.h5"},
            "weights: got 'nowhere.h5', must be imagenet, structures, bundled, detector, none, a",
        ),
        ({"trainable_convolutions": 14}, "trainable_convolutions: got 14, must be 0 to 13"),
    ],
)
def test_bad_settings_are_named(tiny_settings, changes, message):
    with pytest.raises(ValueError, match=message):
        build_model(replace(tiny_settings, **changes))


def test_weights_of_another_width_are_refused(tiny_settings, tmp_path):
    path = tmp_path / "narrow.weights.h5"
    save_weights(build_model(tiny_settings), path)
    with pytest.raises(ValueError, match=r"narrow.weights.h5, must fit VGG16 without top, width_divisor 16"):
        build_model(replace(tiny_settings, weights=str(path), width_divisor=16))


def test_scores_are_the_sigmoid_of_the_mean_logit_of_view_and_mirror_image_in_order(tiny_settings, tiny_views):
    model = build_model(tiny_settings)
    views = tiny_views[0][..., None].astype(np.float32)
    plain, upside_down = (model.predict_on_batch(batch)[:, 0] for batch in (views, views[:, ::-1]))
    logits = (plain + upside_down) / 2
    assert np.abs(plain - upside_down).max() > 1e-3
    for batch_size in (1, 5, 22):
        scores = predict_scores(model, tiny_views[0], batch_size)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, expit(logits), rtol=1e-5)
    np.testing.assert_allclose(predict_scores(model, tiny_views[0][:, ::-1], 22), expit(logits), rtol=1e-5)
    with pytest.raises(ValueError, match=r"pixels: got views of shape \(22, 32, 64\), must be \(N, 64, 32\)"):
        predict_scores(model, tiny_views[0].transpose(0, 2, 1), 4)


def test_files_that_are_not_a_detector_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.keras, must be an existing .keras file"):
        load_model(tmp_path / "nothing.keras")
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"broken.keras, must be a Keras model"):
        load_model(broken)
    code = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x[:, 0, 0])])
    code.save(tmp_path / "code.keras")  # contains Python code that would be executed on loading
    with pytest.raises(ValueError, match=r"code.keras, must be a Keras model"):
        load_model(tmp_path / "code.keras")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalMaxPooling2D()]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"got .* with \(None, 8, 8, 3\) -> \(None, 3\), must map"):
        load_model(tmp_path / "other.keras")


@pytest.mark.parametrize(
    ("name", "divisor", "convolutions"), [("VGG19", 8, 16), ("MobileNet", 4, 23), ("ConvNeXtTiny", 8, 15)]
)
def test_other_backbones_with_divided_widths(tiny_settings, name, divisor, convolutions):
    settings = replace(tiny_settings, backbone=name, width_divisor=divisor, trainable_convolutions=2)
    model = build_model(settings)
    application, shape = getattr(keras.applications, name), (*settings.input_shape, 3)
    options = {"include_preprocessing": False} if name == "ConvNeXtTiny" else {}
    full = application(include_top=False, weights=None, input_shape=shape, **options)
    layers_ = {layer.name: layer for layer in model.layers}
    found = [layer for layer in model.layers if isinstance(layer, CONVOLUTIONS)]
    assert len(found) == convolutions
    for layer in full.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.groups == 1 and layer.name in layers_:
            assert layers_[layer.name].filters * divisor == layer.filters
    trained = [layer for layer in found if layer.trainable_weights]
    assert trained == found[-2:]
    rows = settings.input_shape[0] // 16
    assert model.get_layer("cells").output.shape[1] == rows
    logits = model.predict(np.random.default_rng(0).normal(size=(2, *settings.input_shape, 1)), verbose=0)
    assert logits.shape == (2, 1) and np.isfinite(logits).all()
