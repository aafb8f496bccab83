"""Losses of segmentation, on logits: Dice, cross-entropy, and their sum, by Keras.

The Dice loss (Milletari et al., V-Net, 3DV 2016, doi 10.1109/3DV.2016.79) is taken over a whole batch: most patches of
a mammogram have no BAC, and alone they would have no Dice coefficient.
"""

from typing import Any

import keras


def dice_loss(outlines: Any, logits: Any) -> Any:
    """Return 1 - 2 sum(p y) / (sum(p) + sum(y)) over a batch, for p = sigmoid(logits)."""
    outlines, logits = (keras.ops.cast(values, "float32") for values in (outlines, logits))
    return keras.losses.dice(outlines, keras.ops.sigmoid(logits))


def cross_entropy(outlines: Any, logits: Any) -> Any:
    """Return the mean binary cross-entropy over all pixels of a batch."""
    outlines = keras.ops.cast(outlines, "float32")
    return keras.ops.mean(keras.losses.binary_crossentropy(outlines, logits, from_logits=True))


def dice_and_cross_entropy(outlines: Any, logits: Any) -> Any:
    """Return the sum of both."""
    return dice_loss(outlines, logits) + cross_entropy(outlines, logits)
