"""SCU-Net, the Simple Context U-Net of Guo et al., Med Phys 48:5851 (2021), doi 10.1002/mp.15017.

Rebuilt in Keras from the description of the network in the paper and its official code (github
Emory-HITI/BAC_segmentation at fc95e39, MIT); no weights and no code of theirs are used. Convolution with stride 2 and
two more; two context-guided blocks, which join the neighbourhood and a wider surrounding of each pixel (dilated
convolution) and weight the channels by their mean over the patch; before each, the image itself is added at the
resolution of the block; two steps of bilinear upsampling with the earlier maps.

Different from theirs, and choices of this kit: one channel instead of three equal ones; prepared views instead of 8-bit
images at detector resolution, with patches that cover about as many mm; the sigmoid is applied (their `forward` returns
the raw output); the Dice loss, since loss, optimiser, rate, batch size and augmentation were not found.
"""

import keras
import numpy as np
from keras import layers

from bac_utils.burden import GUO_THRESHOLD, guo_metrics
from bac_utils.methods.interface import Look
from bac_utils.methods.losses import dice_loss
from bac_utils.methods.segmenter import Segmenter

WIDTH = 16
"""Channels at half the resolution; doubled at a quarter, and again at an eighth."""
DROPOUT = 0.5
"""Rate before each context-guided block."""


class SCUNet(Segmenter):
    """SCU-Net with its five metrics."""

    name = "scu-net"
    title = "SCU-Net"
    source = "Guo et al., Med Phys 48:5851 (2021), doi 10.1002/mp.15017"
    measure = "mask area (AM), mm2"
    level = GUO_THRESHOLD
    loss = staticmethod(dice_loss)

    def build(self) -> keras.Model:
        """Return the network for sides that are multiples of 8."""
        return build_scu_net()

    def look(self, pixels: np.ndarray, spacing_mm: tuple[float, float] | None) -> Look:
        """Return the probabilities, the mask above 0.65, its area, and the five metrics."""
        look = super().look(pixels, spacing_mm)
        if spacing_mm is None:
            return look
        others = guo_metrics(look.heat, to_grey(pixels), spacing_mm)
        return Look(look.heat, look.measure, look.mask, others)


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return a prepared view as uint8, 1 to 255 inside the breast (0.1 % of its pixels are at the top), 0 outside."""
    inside = pixels != 0
    if not inside.any():
        return np.zeros(pixels.shape, np.uint8)
    limits = np.quantile(pixels[inside], [0, 0.999])
    if limits[0] == limits[1]:
        return inside.astype(np.uint8)
    return np.where(inside, np.interp(pixels, limits, [1, 255]), 0).astype(np.uint8)


def build_scu_net(width: int = WIDTH) -> keras.Model:
    """Build SCU-Net, (N, h, w, 1) -> (N, h, w, 1) logits, for h and w that are multiples of 8."""
    inputs = x = keras.Input((None, None, 1))
    for stride in (2, 1, 1):
        x = _normalised(layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x))
    half = x
    quarter = _guided(_with_image(half, inputs, 2), 2 * width, dilation=2, reduction=8)
    eighth = _guided(_with_image(quarter, inputs, 4), 4 * width, dilation=4, reduction=16)
    x = eighth
    for earlier, number in ((quarter, 4 * width), (half, 2 * width)):
        x = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), earlier])
        for _ in range(2):
            x = _normalised(layers.Conv2D(number, 3, padding="same", use_bias=False)(x))
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, name="logits")(x), name="scu_net")


def _normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    """Return batch normalisation and PReLU, with one slope per channel."""
    return layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization(momentum=0.9)(x))


def _with_image(maps: keras.KerasTensor, image: keras.KerasTensor, factor: int) -> keras.KerasTensor:
    """Return maps with the image, averaged to their resolution, as a further channel; normalised, with dropout."""
    joined = layers.Concatenate()([maps, layers.AveragePooling2D(factor)(image)])
    return layers.Dropout(DROPOUT)(_normalised(joined))


def _guided(x: keras.KerasTensor, width: int, dilation: int, reduction: int) -> keras.KerasTensor:
    """Return the context-guided block, which halves the resolution."""
    x = _normalised(layers.Conv2D(width, 3, 2, padding="same", use_bias=False)(x))
    near = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    wide = layers.DepthwiseConv2D(3, padding="same", dilation_rate=dilation, use_bias=False)(x)
    x = _normalised(layers.Concatenate()([near, wide]))
    x = layers.Conv2D(width, 1, use_bias=False)(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(width // reduction, activation="relu")(gate)
    return layers.Multiply()([x, layers.Dense(width, activation="sigmoid")(gate)])
