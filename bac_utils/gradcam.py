"""Grad-CAM++ maps of the detector's logit.

Chattopadhay et al., "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks",
WACV 2018. Let A be the maps of the last convolution and g = dS/dA the gradient of the logit S. With sums over the
pixels:

    alpha = g^2 / (2 g^2 + sum(A) g^3)        weight_k = sum(alpha relu(g))        map = relu(sum_k weight_k A_k)

The paper derives this for exp(S). The factor exp(S) cancels in alpha and only scales the weights; it is omitted, so
that the maps are finite and can be compared between views.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bac_utils.backbones import CONVOLUTIONS


class GradCamPlusPlus:
    """Grad-CAM++ of one model: split once, then called with batches."""

    def __init__(self, model: keras.Model) -> None:
        """Split a model at its last convolution; the model itself is not changed.

        Args:
            model: Functional or sequential, (N, H, W, C) -> (N, 1) logits; its layers may be models.

        Raises:
            ValueError: The model's output is not one value per view, or it has no convolution.
        """
        if tuple(model.output_shape) != (None, 1):
            raise ValueError(f"model: got output shape {model.output_shape}, must be (None, 1), the logit")
        paths = _convolutions(model)
        if not paths:
            raise ValueError("model: got no convolution, must have one or more")
        self._split = _two_headed(model, paths[-1])
        signature = tf.TensorSpec(model.input_shape, tf.float32)
        self._compute = tf.function(self._explain, input_signature=[signature])

    def __call__(self, views: Any) -> tuple[np.ndarray, np.ndarray]:
        """Explain a batch.

        Args:
            views: (N, H, W, C), of the model's input shape.

        Returns:
            Logits, float32 (N,), and raw maps, float32 (N, h, w), >= 0, on the grid of the convolution. A map covers
            the whole view.
        """
        logits, maps = self._compute(np.asarray(views, np.float32))
        return logits.numpy(), maps.numpy()

    def _explain(self, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(views)  # with frozen weights alone, nothing would be recorded
            maps, logits = self._split(views, training=False)
        gradients = tf.cast(tape.gradient(logits, maps), tf.float32)
        maps = tf.cast(maps, tf.float32)
        # g^2 is cancelled in alpha, so that it cannot underflow: 1 / (2 + sum(A) g). Where g = 0 or the denominator is
        # 0 (which requires g < 0, or A < 0 before an activation), the pixel contributes nothing.
        denominators = 2 + tf.reduce_sum(maps, axis=(1, 2), keepdims=True) * gradients
        weights = tf.reduce_sum(tf.math.divide_no_nan(tf.nn.relu(gradients), denominators), axis=(1, 2))
        return logits[:, 0], tf.nn.relu(tf.einsum("nhwk,nk->nhw", maps, weights))


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """Divide raw maps by their per-image maxima, as the paper does.

    A view without BAC then has values as high as one with BAC; other forms of heatmap (`heatmaps.Explainer`) are better
    for quantification.

    Args:
        maps: Raw maps, float32 (N, h, w), >= 0.

    Returns:
        float32 (N, h, w) in [0, 1]. A map of zeros is not changed.
    """
    largest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(largest > 0, largest, 1)


def _convolutions(model: keras.Model, above: tuple = ()) -> list[tuple]:
    """Return (outer models ..., layer) for every convolution, in order."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _convolutions(layer, (*above, layer))
        elif isinstance(layer, CONVOLUTIONS):
            found.append((*above, layer))
    return found


def _two_headed(model: keras.Model, path: tuple) -> keras.Model:
    """Return a model that shares all layers and has two outputs: the maps of the layer at `path`, and the logit."""
    if len(path) == 1:
        return keras.Model(model.inputs[0], [path[0].output, model.outputs[0]])
    maps = []

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is not path[0]:
            return layer(*args, **kwargs)
        found, output = _two_headed(layer, path[1:])(*args, **kwargs)
        maps.append(found)
        return output

    plain = keras.Model(model.inputs[0], model.outputs[0])
    again = keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(again.inputs[0], [maps[-1], again.outputs[0]])
