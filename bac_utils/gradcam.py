"""Grad-CAM++ heatmaps of the detector's logit.

Chattopadhay et al., "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks",
WACV 2018. With A the maps of a convolution, g = dS/dA the gradient of the logit S, and sums over the pixels:

    alpha = g^2 / (2 g^2 + sum(A) g^3)        weight_k = sum(alpha relu(g))        map = relu(sum_k weight_k A_k)

The paper derives this for exp(S); its factor exp(S) cancels in alpha and only scales the weights. It is left out,
so that the maps stay finite and comparable between views.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from bac_utils.backbones import CONVOLUTIONS


class GradCamPlusPlus:
    """Grad-CAM++ of one model: split once, then called with batches.

    Attributes:
        layer: Name of the convolution that is explained.
    """

    def __init__(self, model: keras.Model, layer: str | None = None) -> None:
        """Split a model at a convolution; the model itself stays as it is.

        Args:
            model: Functional or sequential, (N, H, W, C) -> (N, 1) logits; may hold models as layers.
            layer: Name of a layer whose output is (N, h, w, K); by default the last convolution.

        Raises:
            ValueError: The model's output is not one value a view, or it has no such layer.
        """
        if tuple(model.output_shape) != (None, 1):
            raise ValueError(f"model: got output shape {model.output_shape}, must be (None, 1), the logit")
        path = _find_layer(model, layer)
        self.layer = path[-1].name
        self._split = _two_headed(model, path)
        signature = tf.TensorSpec(model.input_shape, tf.float32)
        self._compute = tf.function(self._explain, input_signature=[signature])

    def __call__(self, views: Any) -> tuple[np.ndarray, np.ndarray]:
        """Explain a batch.

        Args:
            views: (N, H, W, C), real numbers.

        Returns:
            Logits, float32 (N,), and raw maps, float32 (N, h, w), >= 0, on the convolution's grid. A map covers
            the whole view.

        Raises:
            ValueError: The views have another shape than the model's input.
        """
        views = np.asarray(views, np.float32)
        expected = self._split.input_shape[1:]
        fits = views.ndim == 4 and all(want in (None, n) for n, want in zip(views.shape[1:], expected, strict=True))
        if not fits or len(views) == 0:
            raise ValueError(f"views: got shape {views.shape}, must be (N, {', '.join(map(str, expected))}), N >= 1")
        logits, maps = self._compute(views)
        return logits.numpy(), maps.numpy()

    def _explain(self, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(views)  # frozen weights alone would not be recorded
            maps, logits = self._split(views, training=False)
        gradients = tf.cast(tape.gradient(logits, maps), tf.float32)
        maps = tf.cast(maps, tf.float32)
        # alpha with g^2 cancelled, which cannot underflow: 1 / (2 + sum(A) g). Where g = 0, or the denominator
        # is 0 (then g < 0, or A < 0 before an activation), the pixel adds nothing.
        denominators = 2 + tf.reduce_sum(maps, axis=(1, 2), keepdims=True) * gradients
        weights = tf.reduce_sum(tf.math.divide_no_nan(tf.nn.relu(gradients), denominators), axis=(1, 2))
        return logits[:, 0], tf.nn.relu(tf.einsum("nhwk,nk->nhw", maps, weights))


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """Divide raw maps by their own maxima, as the paper does.

    A view without BAC then looks as hot as one with it: to quantify, take another form (`heat.Explainer`).

    Args:
        maps: Raw maps (N, h, w), >= 0.

    Returns:
        float32 (N, h, w) in [0, 1]. A map of zeros stays zero.

    Raises:
        ValueError: `maps` is not (N, h, w).
    """
    maps = _check_maps(maps)
    largest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(largest > 0, largest, 1)


def _check_maps(maps: np.ndarray) -> np.ndarray:
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 3 or maps.size == 0:
        raise ValueError(f"maps: got shape {maps.shape}, must be (N, h, w)")
    return maps


def _paths(model: keras.Model, above: tuple = ()) -> list[tuple]:
    """Return (outer models ..., layer) for every layer whose output is a map, in order."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _paths(layer, (*above, layer))
        elif not isinstance(layer, layers.InputLayer) and len(getattr(layer.output, "shape", ())) == 4:
            found.append((*above, layer))
    return found


def _find_layer(model: keras.Model, name: str | None) -> tuple:
    """Return the path of the named layer, or of the last convolution."""
    paths = _paths(model)
    fitting = [p for p in paths if (isinstance(p[-1], CONVOLUTIONS) if name is None else p[-1].name == name)]
    if not fitting:
        names = ", ".join(p[-1].name for p in paths) or "none at all"
        wanted = "convolution" if name is None else f"layer {name!r}"
        raise ValueError(f"layer: the model has no {wanted}; layers whose output is a map: {names}")
    return fitting[-1]


def _two_headed(model: keras.Model, path: tuple) -> keras.Model:
    """Return a model, sharing all layers, whose outputs are the map of `path`'s layer and the logit."""
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
