"""Heatmaps: where a model sees BAC in a view, in [0, 1], in several forms.

| form | is | scale |
| --- | --- | --- |
| `cells` | each cell's own probability, pooled for the view's logit | the model's: that of training |
| `grad-cam++` | Grad-CAM++ at the last convolution over its own maximum, times the view's score | the view's score |
| `layer-cam` | the same with LayerCAM, also at the last convolution of twice that resolution | the view's score |
| `own maximum` | Grad-CAM++ over its own maximum, as in the paper | none: every view has a 1 |

All but the paper's form are averaged with those of the view's mirror image, upside down. LayerCAM: Jiang et al., IEEE
Transactions on Image Processing 30:5875 (2021): the pixels of each map are weighted by their own positive gradient;
maps of several layers are scaled and joined by their maximum.
"""

from collections.abc import Collection
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit

from bac_utils.backbones import CONVOLUTIONS
from bac_utils.gradcam import GradCamPlusPlus, scale_maps
from bac_utils.settings import HEATMAPS

FORMS = CELLS, GRADCAM, LAYERCAM, OWN = HEATMAPS


class Explainer:
    """Scores views and shows where the model sees BAC; built once, then called with batches.

    Attributes:
        forms: Which heatmaps it makes.
    """

    def __init__(self, model: keras.Model, forms: Collection[str] = (CELLS,)) -> None:
        """Choose a model and forms.

        Args:
            model: (N, H, W, 1) -> (N, 1) logits.
            forms: Of `FORMS`; `cells` needs a model with a layer of that name (`build_model`), `layer-cam` one whose
                convolutions are on its top level.

        Raises:
            ValueError: A form is unknown, or the model lacks what it needs.
        """
        unknown = sorted(set(forms) - set(FORMS))
        if unknown or not forms:
            raise ValueError(f"forms: got {', '.join(unknown) or 'none'}, must be among {', '.join(FORMS)}")
        self.forms = tuple(forms)
        self._shape = model.input_shape[1:]
        self._gradcam = GradCamPlusPlus(model) if {GRADCAM, OWN} & set(forms) else None
        self._cells = _cells(model) if CELLS in forms else None
        self._layercam = _LayerCam(model) if LAYERCAM in forms else None

    def __call__(self, views: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Explain a batch.

        Args:
            views: (N, H, W, 1).

        Returns:
            Logits, float32 (N,), of the views as they are; and each form's heatmaps, float32 (N, h, w) in [0, 1], on
            the grid of the last convolution (`layer-cam`: of twice its rows and columns). A heatmap covers the whole
            view.

        Raises:
            ValueError: The views have another shape than the model's input.
        """
        views = np.asarray(views, np.float32)
        fits = views.ndim == 4 and all(want in (None, n) for n, want in zip(views.shape[1:], self._shape, strict=True))
        if not fits or len(views) == 0:
            raise ValueError(f"views: got shape {views.shape}, must be (N, {', '.join(map(str, self._shape))}), N >= 1")
        logits, heat = None, {}
        if self._cells is not None:
            logits, _, heat[CELLS] = _both_ways(self._cells, views)
        if GRADCAM in self.forms:
            logits, heat[OWN], mean = _both_ways(self._own_maximum, views)
            heat[GRADCAM] = mean * expit(logits)[:, None, None]
        elif OWN in self.forms:
            logits, heat[OWN] = self._own_maximum(views)
        if self._layercam is not None:
            logits, _, mean = _both_ways(self._layercam, views)
            heat[LAYERCAM] = mean * expit(logits)[:, None, None]
        return logits, {form: heat[form] for form in self.forms}

    def _own_maximum(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, maps = self._gradcam(views)
        return logits, scale_maps(maps)


def default_form(model: keras.Model) -> str:
    """Return `cells` for a model that has them, else `grad-cam++`."""
    return CELLS if any(layer.name == CELLS for layer in model.layers) else GRADCAM


def usable_forms(model: keras.Model) -> tuple[str, ...]:
    """Return the forms that a model can give, in the order of `FORMS`."""
    cells = [CELLS] if default_form(model) == CELLS else []
    return (*cells, GRADCAM, *([LAYERCAM] if _finer(model) is not None else []), OWN)


def _both_ways(look: Any, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logits of the views, their maps, and the mean of these and of the mirror images' maps.

    A view goes in with its mirror image: TensorFlow shares a batch among the processor's cores, and one view of
    768 x 384 alone took 2.4 times as long as each of two.
    """
    pairs = [look(np.stack([view, view[::-1]])) for view in views]
    logits = np.array([found[0] for found, _ in pairs], np.float32)
    plain, mirrored = (np.stack([maps[k] for _, maps in pairs]) for k in (0, 1))
    return logits, plain, (plain + mirrored[:, ::-1]) / 2


def _cells(model: keras.Model) -> Any:
    """Return a function: views to logits and each cell's probability."""
    if default_form(model) != CELLS:
        raise ValueError("forms: the model has no layer 'cells'; use another form, or a model of build_model")
    both = keras.Model(model.inputs[0], [model.outputs[0], model.get_layer(CELLS).output])
    compute = tf.function(lambda x: both(x, training=False), input_signature=[_signature(model)])

    def look(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, cells = compute(views)
        return logits.numpy()[:, 0], expit(cells.numpy()[..., 0])

    return look


class _LayerCam:
    """LayerCAM of the last convolution and of the last one of twice its resolution, joined by their maximum."""

    def __init__(self, model: keras.Model) -> None:
        maps = _finer(model)
        if maps is None:
            raise ValueError("forms: layer-cam needs convolutions of two resolutions on the model's top level")
        self._model = keras.Model(model.inputs[0], [*maps, model.outputs[0]])
        self._compute = tf.function(self._maps, input_signature=[_signature(model)])

    def __call__(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, fine, coarse = (found.numpy() for found in self._compute(views))
        fine, coarse = scale_maps(fine), scale_maps(coarse)
        size = fine.shape[:0:-1]
        return logits, np.maximum(fine, [cv2.resize(map_, size, interpolation=cv2.INTER_LINEAR) for map_ in coarse])

    def _maps(self, views: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(views)
            *maps, logits = self._model(views, training=False)
        gradients = tape.gradient(logits, maps)
        joined = (tf.nn.relu(tf.reduce_sum(tf.nn.relu(g) * a, axis=-1)) for g, a in zip(gradients, maps, strict=True))
        return logits[:, 0], *joined


def _finer(model: keras.Model) -> tuple | None:
    """Return the outputs of the last convolution of twice the last one's rows, and of the last one; None without."""
    outputs = [layer.output for layer in model.layers if isinstance(layer, CONVOLUTIONS)]
    finer = [maps for maps in outputs if maps.shape[1] == 2 * outputs[-1].shape[1]]
    return (finer[-1], outputs[-1]) if finer else None


def _signature(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(model.input_shape, tf.float32)
