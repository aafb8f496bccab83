"""Losses of segmentation, on logits: Dice, cross-entropy, and their sum.

The Dice loss is that of Milletari et al. (V-Net, 3DV 2016, doi 10.1109/3DV.2016.79), with sums instead of squares in
the denominator. It is taken over a whole batch: most patches of a mammogram have no BAC, for which Dice alone is
undefined.
"""

from typing import Any

import keras

SMOOTH = 1.0
"""Added above and below, in pixels, so that a batch without BAC has a loss."""


def dice_loss(outlines: Any, logits: Any) -> Any:
    """Return 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1) over a batch, for p = sigmoid(logits)."""
    outlines = keras.ops.cast(outlines, "float32")
    found = keras.ops.sigmoid(keras.ops.cast(logits, "float32"))
    both, total = keras.ops.sum(found * outlines), keras.ops.sum(found) + keras.ops.sum(outlines)
    return 1 - (2 * both + SMOOTH) / (total + SMOOTH)


def cross_entropy(outlines: Any, logits: Any) -> Any:
    """Return the mean binary cross-entropy over all pixels of a batch."""
    return keras.ops.mean(
        keras.losses.binary_crossentropy(keras.ops.cast(outlines, "float32"), logits, from_logits=True)
    )


def dice_and_cross_entropy(outlines: Any, logits: Any) -> Any:
    """Return the sum of both."""
    return dice_loss(outlines, logits) + cross_entropy(outlines, logits)
