"""The network of the bundled detector."""

from dataclasses import replace

import keras
import numpy as np

from bac_utils.model import build_model, load_model
from bac_utils.pretraining.network import add_decoder, coarse_head, with_local_logits
from bac_utils.settings import DEMO

SMALL = replace(DEMO, weights="none", width_divisor=32, dense_units=4, input_shape=(64, 32))


def view(number=2):
    return np.random.default_rng(0).normal(size=(number, 64, 32, 1)).astype(np.float32)


def test_the_two_outputs_are_the_local_logits_at_stride_8_and_the_logit():
    model = add_decoder(build_model(SMALL))
    both = with_local_logits(model)
    local_logits, logits = both.predict_on_batch(view())
    assert local_logits.shape == (2, 8, 4, 1)
    np.testing.assert_allclose(logits, model.predict_on_batch(view()), rtol=1e-6)
    assert both.get_layer("cells") is model.get_layer("cells")  # shared weights


def test_the_logit_is_the_soft_maximum_of_smoothed_local_logits():
    """log(mean(exp(4 x))) / 4 of the means of 3 x 3 local logits, as a fresh last layer passes it on."""
    local_logits, logits = with_local_logits(add_decoder(build_model(SMALL))).predict_on_batch(view(1))
    maps = local_logits[0, ..., 0].astype(float)
    means = [
        [maps[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].mean() for c in range(maps.shape[1])]
        for r in range(maps.shape[0])
    ]
    expected = np.log(np.mean(np.exp(4 * np.array(means)))) / 4
    np.testing.assert_allclose(logits[0, 0], expected, rtol=1e-4)


def test_both_heads_share_the_convolutions():
    backbone = build_model(SMALL)
    detector = add_decoder(backbone)
    head = coarse_head(backbone)
    both = keras.Model(backbone.inputs[0], head(backbone.get_layer("block5_conv3").output))
    local_logits, logit = both.predict_on_batch(view())
    assert local_logits.shape == (2, 4, 2, 1)
    np.testing.assert_allclose(logit, backbone.predict_on_batch(view()), rtol=1e-6)
    before = detector.predict_on_batch(view())
    backbone.get_layer("block4_conv3").set_weights([w * 0 for w in backbone.get_layer("block4_conv3").get_weights()])
    assert not np.allclose(detector.predict_on_batch(view()), before)


def test_a_saved_detector_is_the_same(tmp_path):
    model = add_decoder(build_model(SMALL))
    model.save(tmp_path / "detector.keras")
    np.testing.assert_array_equal(
        load_model(tmp_path / "detector.keras").predict_on_batch(view()), model.predict_on_batch(view())
    )
