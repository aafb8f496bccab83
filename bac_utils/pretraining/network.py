"""The network of the bundled detector: the convolutions of VGG16 / 8 and a decoder with local logits at stride 8.

The last block of VGG16 sees much of the surroundings at stride 16, the two blocks before it are finer. The decoder adds
all three at stride 8, as in a feature pyramid (Lin et al., CVPR 2017), and looks along the vessels with dilated
convolutions (Yu & Koltun, ICLR 2016). Widths and numbers of layers are choices of this kit.
"""

from typing import Any

import keras
from keras import layers

from bac_utils.model import LOGITS_LAYER, LogSumExpPooling

WIDTH, DILATIONS, SHARPNESS = 96, (1, 2, 4), 4.0
"""Channels of the decoder, dilations of its convolutions, and sharpness of the soft maximum over its local logits."""
SMOOTHED = 3
"""Side of the mean filter of the local logits before the soft maximum: a single high one is not yet an artery."""


def add_decoder(backbone: keras.Model) -> keras.Model:
    """Return a detector with local logits of twice the resolution, which shares the convolutions of another one.

    Args:
        backbone: A model of `model.build_model` with VGG16.

    Returns:
        An uncompiled model, (N, H, W, 1) -> (N, 1) float32 logits. Its layer `cells` has the local logits,
        (N, H // 8, W // 8, 1) for H and W that are multiples of 16.
    """
    finest, fine, deep = (backbone.get_layer(f"block{n}_conv3").output for n in (3, 4, 5))
    finest = layers.AveragePooling2D(2, name="decoder_down")(layers.Conv2D(WIDTH, 1, name="decoder_finest")(finest))
    deep = layers.Conv2D(WIDTH, 1, name="decoder_deep")(deep)
    deep = layers.UpSampling2D(interpolation="bilinear", name="decoder_up")(deep)
    x = layers.Add(name="decoder_sum")([finest, layers.Conv2D(WIDTH, 1, name="decoder_fine")(fine), deep])
    for k in DILATIONS:
        x = layers.Conv2D(WIDTH, 3, padding="same", dilation_rate=k, activation="relu", name=f"decoder_{k}")(x)
    local = layers.Dense(1, dtype="float32", name=LOGITS_LAYER)(x)
    smooth = layers.AveragePooling2D(SMOOTHED, 1, padding="same", dtype="float32", name="smooth")(local)
    pooled = LogSumExpPooling(SHARPNESS, dtype="float32", name="pooling")(smooth)
    logit = layers.Dense(1, kernel_initializer="ones", dtype="float32", name="logit")(pooled)
    return keras.Model(backbone.inputs[0], logit, name="bac_detector")


def with_local_logits(model: Any) -> keras.Model:
    """Return the same network with two outputs: the local logits and the logit of the image."""
    return keras.Model(model.inputs, [model.get_layer(LOGITS_LAYER).output, model.outputs[0]])


def coarse_head(backbone: keras.Model, last: str = "block5_conv3") -> keras.Model:
    """Return the head of a model of `model.build_model`: from the maps of a layer to local logits and logit."""
    names = [layer.name for layer in backbone.layers]
    maps = x = keras.Input(backbone.get_layer(last).output.shape[1:])
    outputs = []
    for layer in backbone.layers[names.index(last) + 1 :]:
        x = layer(x)
        outputs += [x] if layer.name in (LOGITS_LAYER, "logit") else []
    return keras.Model(maps, outputs, name="coarse_head")
