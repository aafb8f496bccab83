"""A plain U-Net with Dice and cross-entropy, as recent work on BAC has it.

U-Net: Ronneberger, Fischer & Brox, MICCAI 2015, doi 10.1007/978-3-319-24574-4_28. For BAC, Molloi's group trained a
modified one with Hausdorff, Dice and cross-entropy losses on 369 women (Academic Radiology, 2025: Dice 0.90 in training
and 0.89 in validation), and Singh et al. one with a ResNet-18 encoder and two tasks on 202,006 women (medRxiv 2026, doi
10.64898/2026.06.16.26355800). Of both only the abstracts were read. Neither the Hausdorff loss nor the encoder is
rebuilt here: this is the plain network, of about the size of SCU-Net.
"""

import keras
from keras import layers

from bac_utils.methods.losses import dice_and_cross_entropy
from bac_utils.methods.segmenter import Segmenter

WIDTH, DEPTH = 10, 3
"""Channels of the first level, doubled at each one below, and number of times that the resolution is halved."""


class UNet(Segmenter):
    """U-Net with batch normalisation."""

    name = "u-net"
    title = "U-Net"
    source = "Ronneberger et al., MICCAI 2015, doi 10.1007/978-3-319-24574-4_28"
    measure = "area above 0.5, mm2"
    loss = staticmethod(dice_and_cross_entropy)

    def build(self) -> keras.Model:
        """Return the network for sides that are multiples of 8."""
        return build_u_net()


def build_u_net(width: int = WIDTH, depth: int = DEPTH) -> keras.Model:
    """Build a U-Net, (N, h, w, 1) -> (N, h, w, 1) logits, for h and w that are multiples of 2 ** depth."""
    inputs = x = keras.Input((None, None, 1))
    kept = []
    for level in range(depth):
        x = _twice(x, width * 2**level)
        kept.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _twice(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), kept[level]])
        x = _twice(x, width * 2**level)
    return keras.Model(inputs, layers.Conv2D(1, 1, name="logits")(x), name="u_net")


def _twice(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return two 3 x 3 convolutions, each normalised and rectified."""
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return x
