"""The convolutional part of the detector: networks, weights and frozen layers."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

from bac_utils.settings import Settings

keras.config.set_floatx("float32")  # overrides the user's keras.json
keras.config.set_image_data_format("channels_last")

BUNDLED_BACKBONE = Path(__file__).parent / "weights" / "backbone.weights.h5"
BUNDLED_DIVISOR = 8
"""`width_divisor` of the bundled VGG16."""

CAFFE, TF, TORCH = 0.225 * 255, 0.225 * 2, 1.0
"""Standard deviation of the inputs that the ImageNet weights were trained on (0.225 of the range of a channel): BGR in
[0, 255] minus the mean, [-1, 1], or divided by the deviation. Prepared views (deviation 1) are multiplied by it."""
INPUT_SCALES = {
    **dict.fromkeys(("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"), CAFFE),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3", "InceptionResNetV2"), TF),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "Xception", "NASNetMobile", "NASNetLarge"), TF),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), TORCH),
}
SCALE_ATTRIBUTE = "bac_utils_input_scale"
"""Attribute of a weights file of `save_weights` with the scale of the input."""

UNITS_ATTRIBUTE = "bac_utils_dense_units"
"""Attribute with the number of dense units in the head."""

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build_backbone(settings: Settings) -> keras.Model:
    """Build the backbone, load its weights and freeze its first layers.

    Args:
        settings: `input_shape`, `backbone`, `width_divisor`, `weights` and `trainable_convolutions` are used.

    Returns:
        A model (N, H, W, 1) -> (N, h, w, K), with layers named as in `keras.applications`. It copies the grey level to
        three channels, as the paper does, and scales it to the range that the weights were trained on.

    Raises:
        ValueError: A setting is unknown or out of range, or the weights file is missing or does not fit.
        ConnectionError: The ImageNet weights cannot be downloaded.
    """
    scale = _input_scale(settings)
    inputs = keras.Input((*settings.input_shape, 1), name="prepared_view")
    x = layers.Concatenate(name="grey_three_times")([inputs] * 3)
    if scale != 1:
        x = layers.Rescaling(scale, name="input_scale")(x)
    if settings.backbone == "VGG16":
        backbone = keras.Model(inputs, _vgg16(x, settings.width_divisor), name="vgg16")
    else:
        application = getattr(keras.applications, settings.backbone)
        shape = (*settings.input_shape, 3)
        backbone = application(include_top=False, weights=None, input_tensor=x, input_shape=shape)
    _load_weights(backbone, settings)
    _freeze(backbone, settings.trainable_convolutions)
    return backbone


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Save the weights of a model of `build_model`, for `weights=PATH` or as the bundled file.

    Args:
        model: The model.
        path: A file with the suffix `.weights.h5`. It also stores the scale of the input and the number of dense units.
    """
    model.save_weights(path)
    rescaling = [layer.scale for layer in model.layers if layer.name == "input_scale"]
    with h5py.File(path, "a") as file:
        file.attrs[SCALE_ATTRIBUTE] = rescaling[0] if rescaling else 1.0
        file.attrs[UNITS_ATTRIBUTE] = model.get_layer("dense_1").units


def load_head(model: keras.Model, settings: Settings) -> None:
    """Load the head of a new model as well, if the weights file has a head with the same number of dense units.

    Args:
        model: From `build_model`, with the weights of the backbone already loaded.
        settings: `weights`, `dense_units` and `pretrained_head` are used.
    """
    path = _file(settings)
    if path is None or not settings.pretrained_head:
        return
    with h5py.File(path) as file:
        units = file.attrs.get(UNITS_ATTRIBUTE)
    if units == settings.dense_units:
        model.load_weights(path)


def _file(settings: Settings) -> Path | None:
    """Return the weights file, or None if the weights do not come from a file."""
    if settings.weights in ("none", "imagenet"):
        return None
    return BUNDLED_BACKBONE if settings.weights == "bundled" else Path(settings.weights)


def _vgg16(x: Any, divisor: int) -> Any:
    """Return the output of the convolutions of VGG16 with divided widths (Simonyan and Zisserman 2014, model D).

    The pooling layer after the last convolution is omitted: the head pools the whole map, and the map keeps twice the
    resolution.
    """
    for block, (width, number) in enumerate(VGG16_BLOCKS, 1):
        for n in range(1, number + 1):
            name = f"block{block}_conv{n}"
            # He initialisation: 13 rectified layers without normalisation do not learn with Glorot's
            x = layers.Conv2D(
                width // divisor, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name=name
            )(x)
        if block < len(VGG16_BLOCKS):
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def _input_scale(settings: Settings) -> float:
    """Check the settings of the backbone and return the scale of its input; 1 if the weights are this kit's."""
    if settings.backbone not in INPUT_SCALES:
        raise ValueError(f"backbone: got {settings.backbone!r}, must be one of {', '.join(sorted(INPUT_SCALES))}")
    divisor, weights = settings.width_divisor, str(settings.weights)
    if divisor != 1 and settings.backbone != "VGG16":
        raise ValueError(f"width_divisor: got {divisor}, must be 1 with backbone {settings.backbone}")
    if divisor < 1 or VGG16_BLOCKS[0][0] % divisor:
        raise ValueError(f"width_divisor: got {divisor}, must divide {VGG16_BLOCKS[0][0]}")
    if weights == "none":
        return 1.0
    if weights == "bundled":
        if (settings.backbone, divisor) != ("VGG16", BUNDLED_DIVISOR):
            what = f"VGG16 with width_divisor {BUNDLED_DIVISOR}"
            raise ValueError(f"weights: got 'bundled' for {settings.backbone} with {divisor}, must be used for {what}")
        return 1.0
    if weights == "imagenet":
        if divisor != 1:
            raise ValueError(f"weights: got 'imagenet' with width_divisor {divisor}, must be used with width_divisor 1")
        return INPUT_SCALES[settings.backbone]
    if not h5py.is_hdf5(weights):
        raise ValueError(f"weights: got {weights!r}, must be imagenet, bundled, none or a weights file (HDF5)")
    with h5py.File(weights) as file:
        return float(file.attrs.get(SCALE_ATTRIBUTE, INPUT_SCALES[settings.backbone]))


def _load_weights(backbone: keras.Model, settings: Settings) -> None:
    """Load the weights given in the settings."""
    if settings.weights == "none":
        return
    if settings.weights == "imagenet":
        try:
            source = getattr(keras.applications, settings.backbone)(include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises a plain Exception if a download fails
            raise ConnectionError(
                f"weights: the ImageNet weights of {settings.backbone} could not be downloaded ({error}). "
                "Download the 'notop' file of keras.applications on another machine and pass it: weights=PATH"
            ) from error
        backbone.set_weights(source.get_weights())
        return
    path = _file(settings)
    backbone.set_weights([np.full(w.shape, np.nan) for w in backbone.weights])  # to detect weights that are not loaded
    try:
        backbone.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        what = f"{settings.backbone} without top, width_divisor {settings.width_divisor}"
        raise ValueError(f"weights: got {path}, must fit {what}: {error}") from error
    empty = [w.path for w in backbone.weights if not np.isfinite(w.numpy()).all()]
    if empty:
        raise ValueError(f"weights: got {path}, must have finite values for {', '.join(empty)}")


def _freeze(backbone: keras.Model, trainable_convolutions: int) -> None:
    """Freeze all layers before the last `trainable_convolutions` convolutions."""
    places = [i for i, layer in enumerate(backbone.layers) if isinstance(layer, CONVOLUTIONS)]
    if not 0 <= trainable_convolutions <= len(places):
        raise ValueError(
            f"trainable_convolutions: got {trainable_convolutions}, must be 0 to {len(places)} ({backbone.name})"
        )
    first = [*places, len(backbone.layers)][len(places) - trainable_convolutions]
    if trainable_convolutions < len(places):
        for layer in backbone.layers[:first]:
            layer.trainable = False
