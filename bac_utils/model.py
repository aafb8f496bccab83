"""The detector network: a VGG16 (or another backbone), two dense layers and one logit; building, loading, scoring.

Input: prepared views (N, H, W, 1), float32, mean 0 and standard deviation 1 inside the breast. Output: one logit per
view; the score is its sigmoid.
"""

import json
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from scipy.special import expit
from tqdm import tqdm

from bac_utils.backbones import build_backbone, freeze, load_head
from bac_utils.dataset import batches
from bac_utils.settings import Settings

LOGITS_LAYER = "cells"
"""Name of the layer with the local logits of `build_model`, also in saved models."""
LARGEST_SIDE = 16_384
"""Largest number of rows and of columns of a model's input; detectors have fewer than 6,000."""


@keras.saving.register_keras_serializable("bac_utils")
class LogSumExpPooling(layers.Layer):
    """Soft maximum of a map: log(mean(exp(r x))) / r over rows and columns, (N, h, w, K) -> (N, K).

    Pinheiro & Collobert, "From image-level to pixel-level labeling with convolutional networks", CVPR 2015. A global
    maximum passes the gradient to only one pixel of a map, so that the network learns only one point of an artery, and
    Grad-CAM++ shows only that. With an average, a large background outweighs a short artery. The soft maximum shares
    the gradient among all pixels of an artery. It approaches the maximum with a large sharpness r and the average with
    a small one.
    """

    def __init__(self, sharpness: float = 1.0, **options: Any) -> None:
        """Set the sharpness r, above 0; models saved without one have 1."""
        super().__init__(**options)
        self.sharpness = sharpness

    def get_config(self) -> dict:
        """Return the arguments."""
        return super().get_config() | {"sharpness": self.sharpness}

    def call(self, maps: Any) -> Any:
        """Pool."""
        number = keras.ops.cast(keras.ops.shape(maps)[1] * keras.ops.shape(maps)[2], maps.dtype)
        pooled = keras.ops.logsumexp(self.sharpness * maps, axis=(1, 2)) - keras.ops.log(number)
        return pooled / self.sharpness

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return (N, K)."""
        return (input_shape[0], input_shape[-1])


def build_model(settings: Settings) -> keras.Model:
    """Build the network, with weights and frozen layers as in the settings.

    The grey level is copied to three channels for the backbone. Its last map is followed by two dense layers with
    LeakyReLU and dropout and by one logit, in one of three ways (`settings.head`):

    - `flatten`: the last pooling (`block5_pool` of VGG16), flattened, then the dense layers. This is our reading of the
      paper's Fig. 2b; the weights of `dense_1` fit only one input shape.
    - `average`: the last pooling and a global average pooling in place of the flattening.
    - `local`: the dense layers are applied to each position of the last map, which is not pooled, and give a local
      logit (layer `LOGITS_LAYER`). The logit of the view is their soft maximum (`LogSumExpPooling`), scaled and
      shifted. A short calcified artery on a large view therefore counts, and the local logits show where the network
      sees BAC, on the same scale for all views.

    The last `trainable_convolutions` convolutions and all later layers are trained. Earlier layers are frozen, with
    batch normalisation in inference mode. The global seeds of Python, NumPy and Keras are set to `settings.seed`, so
    that equal settings give equal weights.

    If `settings.weights` is a `.keras` file, its training is continued: its layers are kept as they are, and of the
    settings only `trainable_convolutions`, `dropout` and `seed` are used.

    Args:
        settings: `input_shape`, `backbone`, `width_divisor`, `head`, `pooling_sharpness`, `weights`,
            `trainable_convolutions`, `pretrained_head`, `dense_units`, `leaky_slope`, `dropout` and `seed` are used.

    Returns:
        An uncompiled model, (N, H, W, 1) -> (N, 1) float32 logits. The layers of the backbone are on its top level with
        their names in `keras.applications`, followed by those of the head, whose last one is `logit`. Weights that
        include a head of the same kind and size also provide the head, if `pretrained_head` is set; else the head is
        initialised at random.

    Raises:
        ValueError: A setting is unknown or out of range, or the weights file is missing or does not fit.
        FileNotFoundError: `weights` is a `.keras` file that does not exist.
        ConnectionError: The ImageNet weights cannot be downloaded.
    """
    keras.utils.set_random_seed(settings.seed)
    if str(settings.weights).endswith(".keras"):
        return _continued(settings)
    backbone = build_backbone(settings)
    x = backbone.output
    if settings.head == "flatten":
        x = layers.Flatten(name="flatten")(x)
    elif settings.head == "average":
        x = layers.GlobalAveragePooling2D(name="average")(x)
    for n in (1, 2):
        x = layers.Dense(settings.dense_units, name=f"dense_{n}")(x)
        x = layers.LeakyReLU(negative_slope=settings.leaky_slope, name=f"leaky_{n}")(x)
        x = layers.Dropout(settings.dropout, name=f"dropout_{n}")(x)
    if settings.head == "local":
        cells = layers.Dense(1, dtype="float32", name=LOGITS_LAYER)(x)
        pooled = LogSumExpPooling(settings.pooling_sharpness, dtype="float32", name="pooling")(cells)
        logit = layers.Dense(1, kernel_initializer="ones", dtype="float32", name="logit")(pooled)
    else:
        logit = layers.Dense(1, dtype="float32", name="logit")(x)
    model = keras.Model(backbone.inputs[0], logit, name="bac_detector")
    load_head(model, settings)
    return model


def _continued(settings: Settings) -> keras.Model:
    """Return a saved detector whose training is continued, with the dropout and the frozen layers of the settings."""
    model = load_model(settings.weights)
    if tuple(model.input_shape[1:3]) != tuple(settings.input_shape):
        shape = model.input_shape[1:3]
        raise ValueError(f"input_shape: got {settings.input_shape}, must be {shape}, that of {settings.weights}")
    for layer in model.layers:
        layer.trainable = True
        if isinstance(layer, layers.Dropout):
            layer.rate = settings.dropout
    freeze(model, settings.trainable_convolutions)
    return model


def load_model(path: str | Path) -> keras.Model:
    """Load a saved detector, in the safe mode of Keras (no code from the file is executed).

    Args:
        path: A `.keras` file.

    Returns:
        The uncompiled model, (N, H, W, 1) -> (N, 1) logits.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a Keras model, or its input or output has another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model: got {path}, must be an existing .keras file")
    try:
        check_size(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        taken, given = model.input_shape, model.output_shape
    except Exception as error:  # Keras raises many kinds, also for a damaged file
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise ValueError(f"model: got {path}, must be a Keras model ({reason})") from error
    if len(taken) != 4 or taken[-1] != 1 or given != (None, 1):
        raise ValueError(f"model: got {path} with {taken} -> {given}, must map (N, H, W, 1) to (N, 1) logits")
    if not all(type(n) is int and 1 <= n <= LARGEST_SIDE for n in taken[1:3]):
        raise ValueError(
            f"model: got {path} for views of {taken[1:3]}, must be at most {LARGEST_SIDE} rows and columns"
        )
    return model


def check_size(path: Path) -> None:
    """Raise an error if the layers of a saved model need more weights than its file has, before they are allocated.

    Args:
        path: A `.keras` file.

    Raises:
        ValueError: The file has too few weights, or no description of the layers.
        BadZipFile, KeyError: It is not such a file.
    """
    with zipfile.ZipFile(path) as parts:
        stored = sum(part.file_size for part in parts.infolist() if part.filename.endswith(".h5"))
        needed = max((_least_weights(layer) for layer in _described(json.loads(parts.read("config.json")))), default=0)
    if needed > stored:  # a weight has at least a byte
        raise ValueError(f"a layer needs {needed:,} weights or more, the file has {stored:,} bytes of weights")


def _described(config: Any) -> Iterator[dict]:
    """Yield everything in a model's description that may be a layer."""
    if isinstance(config, dict):
        yield config
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _described(part)


def _least_weights(layer: dict) -> int:
    """Return the number of weights that a layer has at least."""
    config, built = layer.get("config"), layer.get("build_config")
    config, built = (part if isinstance(part, dict) else {} for part in (config, built))
    sizes = [config.get(name) for name in ("units", "filters", "output_dim", "input_dim")]
    kernel, shape = config.get("kernel_size"), built.get("input_shape")
    sizes += kernel if isinstance(kernel, list) and config.get("filters") else []
    if isinstance(shape, list) and shape and config.get("groups", 1) == 1:
        sizes += shape[-1:]
    sizes = [size for size in sizes if type(size) is int and size > 0]
    return prod(sizes) if any(config.get(name) for name in ("units", "filters", "output_dim")) else 0


def predict_scores(model: keras.Model, pixels: Any, batch_size: int) -> np.ndarray:
    """Score prepared views: the sigmoid of the mean of the logits of a view and of its mirror image.

    The mirror image shows the breast upside down, as augmentation does in training. Its logit should be the same; where
    it is not, the mean is the steadier score (Simonyan & Zisserman, ICLR 2015, section 3.2, average the probabilities).

    Args:
        model: A detector.
        pixels: Prepared views (N, H, W), an array or a memmap.
        batch_size: Views at a time.

    Returns:
        Scores, float64 (N,), in the order of the views.

    Raises:
        ValueError: The shape of the views is not that of the model's input.
    """
    check_pixels("pixels", pixels, model)
    data = tqdm(batches(pixels, batch_size), "scoring", unit="batch")
    pairs = ((model.predict_on_batch(views), model.predict_on_batch(mirrored(views))) for views in data)
    return expit(np.concatenate([(plain[:, 0] + other[:, 0]) / 2 for plain, other in pairs]).astype(np.float64))


def mirrored(maps: np.ndarray) -> np.ndarray:
    """Return mirror images of views or maps, (N, rows, ...): upside down, with the chest wall still on the left."""
    return maps[:, ::-1]


def check_pixels(name: str, pixels: Any, model: keras.Model) -> None:
    """Raise ValueError unless `pixels` has one or more views of the model's input shape."""
    if tuple(pixels.shape[1:]) != tuple(model.input_shape[1:3]) or len(pixels) == 0:
        height, width = model.input_shape[1:3]
        raise ValueError(f"{name}: got views of shape {tuple(pixels.shape)}, must be (N, {height}, {width}), N >= 1")
