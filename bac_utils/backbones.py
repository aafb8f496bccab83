"""The convolutional part of the detector: networks, weights and frozen layers.

| `Settings.weights` | origin |
| --- | --- |
| `imagenet` | natural images, as in the paper; downloaded by Keras |
| `structures` | bundled, for each network of `STRUCTURES`; trained to tell benign structures apart, never saw BAC |
| `bundled` | bundled VGG16 / 8 with a head, trained on simulated views **with** the positions of calcified arteries |
| `detector` | the bundled detector, or a `.keras` file or a run's folder: training is continued (`model.build_model`) |
| `none` | random |
| a path | HDF5 file of `save_weights`, or a `notop` file as Keras distributes it |
"""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

from bac_utils.settings import Settings

keras.config.set_floatx("float32")  # overrides the user's keras.json
keras.config.set_image_data_format("channels_last")

WEIGHTS = Path(__file__).parent / "weights"
BUNDLED = {"structures": WEIGHTS / "structures.weights.h5", "bundled": WEIGHTS / "backbone.weights.h5"}
"""Files of the bundled weights, by their names in the settings."""
BUNDLED_DIVISOR = 8
"""`width_divisor` of the bundled VGG16."""
STRUCTURES = MappingProxyType(
    {
        "VGG16": BUNDLED_DIVISOR, "VGG19": 8, "Xception": 8, "ResNet50": 8, "ResNet50V2": 8, "MobileNet": 4,
        "MobileNetV2": 4, "DenseNet121": 4, "ConvNeXtTiny": 8,
    }
)  # fmt: skip
"""Networks with bundled weights `structures`, for the head `local`, and their `width_divisor`, with which each has 0.05
to 0.32 million weights before its head."""

CAFFE, TF, TORCH = 0.225 * 255, 0.225 * 2, 1.0
"""Standard deviation of the inputs that the ImageNet weights were trained on (0.225 of the range of a channel): BGR in
[0, 255] minus the mean, [-1, 1], or divided by the deviation. Prepared views (deviation 1) are multiplied by it."""
INPUT_SCALES = {
    **dict.fromkeys(("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"), CAFFE),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3", "InceptionResNetV2"), TF),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "Xception", "NASNetMobile", "NASNetLarge"), TF),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201", "ConvNeXtTiny"), TORCH),
}
SCALE_ATTRIBUTE = "bac_utils_input_scale"
"""Attribute of a weights file of `save_weights` with the scale of the input."""

UNITS_ATTRIBUTE = "bac_utils_dense_units"
"""Attribute with the number of dense units in the head."""

HEAD_ATTRIBUTE, INPUTS_ATTRIBUTE = "bac_utils_head", "bac_utils_dense_inputs"
"""Attributes with the kind of head, one of `settings.HEADS` (`local` if missing), and the number of inputs of its first
dense layer, which for `flatten` depends on the input's shape."""

HEAD_LAYERS = (layers.Dense, layers.Flatten, layers.GlobalAveragePooling2D)
"""One of these is the first layer of a head."""
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
WIDTHS = ("filters", "units", "projection_dim")
"""Names of the numbers of channels in the configurations of layers."""
MOMENTUM = 0.9
"""Of the moving statistics of a network that `narrow` makes; with the usual 0.99, those of an epoch of 70 steps are
still half of what they were before the training."""
LOCAL_STRIDE = 16
"""Stride of the last map for the head `local`: that of VGG16's `block5_conv3`. At the usual 32, a position covers 10 mm
of the demo's views, several times the width of an artery."""
LAST_NORM = "last_normalisation"
"""Name of the layer that `cut` adds to some networks."""
VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build_backbone(settings: Settings) -> keras.Model:
    """Build the backbone, load its weights and freeze its first layers.

    Args:
        settings: `input_shape`, `backbone`, `width_divisor`, `head`, `weights` and `trainable_convolutions` are used.

    Returns:
        A model (N, H, W, 1) -> (N, h, w, K), with layers named as in `keras.applications`. It copies the grey level to
        three channels, as the paper does, and scales it to the range that the weights were trained on. For the head
        `local`, which needs a finer map, it is cut at `LOCAL_STRIDE` (`cut`): VGG16 ends with `block5_conv3`.

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
        maps = _vgg16(x, settings.width_divisor)
        backbone = keras.Model(inputs, maps, name="vgg16")
    else:
        application = getattr(keras.applications, settings.backbone)
        options = {"include_preprocessing": False} if settings.backbone.startswith("ConvNeXt") else {}
        shape = (*settings.input_shape, 3)
        backbone = application(include_top=False, weights=None, input_tensor=x, input_shape=shape, **options)
        if settings.width_divisor > 1:
            backbone = narrow(backbone, settings.width_divisor)
    whole = backbone
    if settings.head == "local":
        backbone = cut(backbone)
    _load_weights(backbone if _of_this_kit(settings) else whole, settings)
    freeze(backbone, settings.trainable_convolutions)
    return backbone


def save_weights(model: keras.Model, path: str | Path, half: bool = False) -> None:
    """Save the weights of a model of `build_model`, for `weights=PATH` or as the bundled file.

    Args:
        model: The model.
        path: A file with the suffix `.weights.h5`. It also stores the scale of the input, the kind of head and the
            number of its dense units; a backbone alone has no head.
        half: Whether to store 16 bits per weight in place of 32.

    Raises:
        ValueError: A weight is too large for 16 bits.
    """
    model.save_weights(path)
    if half:
        _halve(Path(path))
    by_name = {layer.name: layer for layer in model.layers}
    with h5py.File(path, "a") as file:
        file.attrs[SCALE_ATTRIBUTE] = by_name["input_scale"].scale if "input_scale" in by_name else 1.0
        if "dense_1" in by_name:
            file.attrs[INPUTS_ATTRIBUTE], file.attrs[UNITS_ATTRIBUTE] = by_name["dense_1"].kernel.shape
            file.attrs[HEAD_ATTRIBUTE] = next((name for name in ("flatten", "average") if name in by_name), "local")


def _halve(path: Path) -> None:
    """Write a file of weights again, with 16 bits per weight; HDF5 does not free the space of replaced arrays."""
    with h5py.File(path) as file:
        found: list[tuple[str, Any]] = []
        file.visititems(lambda name, item: found.append((name, item)))
        groups = [(name, dict(item.attrs)) for name, item in found if isinstance(item, h5py.Group)]
        arrays = {name: item[()].astype(np.float16) for name, item in found if isinstance(item, h5py.Dataset)}
        attributes = dict(file.attrs)
    large = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if large:
        raise ValueError(f"half: got weights beyond 65504 in {large[0]}, must be smaller for 16 bits")
    with h5py.File(path, "w", libver="latest") as file:  # less space for names and shapes
        file.attrs.update(attributes)
        for name, values in groups:
            file.require_group(name).attrs.update(values)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def load_head(model: keras.Model, settings: Settings) -> None:
    """Load the head of a new model as well, if the weights file has a head of the same kind and size.

    Args:
        model: From `build_model`, with the weights of the backbone already loaded.
        settings: `weights`, `head`, `dense_units` and `pretrained_head` are used.
    """
    path = weights_file(settings)
    if path is None or not settings.pretrained_head:
        return
    inputs = model.get_layer("dense_1").kernel.shape[0]
    with h5py.File(path) as file:
        names = {HEAD_ATTRIBUTE: "local", UNITS_ATTRIBUTE: None, INPUTS_ATTRIBUTE: inputs}
        found = tuple(file.attrs.get(name, default) for name, default in names.items())
    if found == (settings.head, settings.dense_units, inputs):
        model.load_weights(path)


def is_detector(weights: str) -> bool:
    """Return whether `Settings.weights` names a trained detector: `detector`, a `.keras` file or a run's folder."""
    return weights == "detector" or weights.endswith(".keras") or Path(weights).is_dir()


def check_weights(settings: Settings) -> None:
    """Raise the errors of `build_backbone` about weights before any view is prepared.

    Args:
        settings: As for `build_backbone`; ImageNet weights are downloaded, unless Keras has them already.

    Raises:
        ValueError: As in `build_backbone`.
        ConnectionError: As in `build_backbone`.
    """
    _input_scale(settings)
    if settings.weights == "imagenet":
        _imagenet(settings.backbone)


def weights_file(settings: Settings) -> Path | None:
    """Return the weights file, or None if the weights do not come from a file."""
    if settings.weights in ("none", "imagenet"):
        return None
    if settings.weights == "structures":
        return structures_file(settings.backbone)
    return BUNDLED.get(settings.weights, Path(settings.weights))


def structures_file(backbone: str) -> Path:
    """Return the bundled weights `structures` of a network of `STRUCTURES`; a `.json` beside it tells their making."""
    bundled = BUNDLED["structures"]
    return bundled if backbone == "VGG16" else bundled.with_name(f"structures-{backbone.lower()}.weights.h5")


def _vgg16(x: Any, divisor: int) -> Any:
    """Return the maps of VGG16 with divided widths (Simonyan and Zisserman 2014, model D)."""
    for block, (width, number) in enumerate(VGG16_BLOCKS, 1):
        for n in range(1, number + 1):
            name = f"block{block}_conv{n}"
            # He initialisation: 13 rectified layers without normalisation do not learn with Glorot's
            x = layers.Conv2D(
                width // divisor, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name=name
            )(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def cut(network: keras.Model, stride: int = LOCAL_STRIDE) -> keras.Model:
    """Return a network up to its last map of about a stride through which every path to the output leads.

    No branch is cut: of a residual block, the whole is kept or nothing. A sum of branches that is neither normalised
    nor rectified (ResNetV2, Xception, ConvNeXt) is normalised, as these networks themselves do before their head.

    Args:
        network: From `keras.applications`, without top, or of `narrow`.
        stride: Rows of the input per row of the map; a network without such a map stays whole.

    Returns:
        A network with the same input and layers.
    """
    rows = network.inputs[0].shape[1] / stride
    for layer in reversed(network.operations):  # ConvNeXt adds without a layer
        maps = layer.output
        if isinstance(layer, layers.ZeroPadding2D) or not rows / 1.5 < maps.shape[1] < rows * 1.5:
            continue
        try:
            keras.Model(maps, network.output)
        except ValueError:
            continue  # another path passes by
        if type(layer).__name__ == "Add":  # a layer, or the operation
            maps = layers.BatchNormalization(momentum=MOMENTUM, name=LAST_NORM)(maps)
        return keras.Model(network.inputs[0], maps, name=network.name)
    return network


def narrow(network: keras.Model, divisor: int) -> keras.Model:
    """Return a new network of the same layers, with all widths divided and random weights.

    Args:
        network: From `keras.applications`, without top.
        divisor: Divides the number of channels of every layer.

    Returns:
        A network with the same input and the same names of layers, and with `MOMENTUM`. Convolutions that are rectified
        themselves (VGG, without normalisation) are initialised by He's rule, as in `build_backbone`.

    Raises:
        ValueError: The divisor does not divide all widths.
    """

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Sequential):  # the stem and the downsampling of ConvNeXt
            return keras.Sequential([copied(part) for part in layer.layers], name=layer.name)
        config = layer.get_config()
        for name in WIDTHS:
            width = config.get(name)
            if type(width) is not int:
                continue
            if width % divisor:
                what = f"{width}, the width of {layer.name} in {network.name}"
                raise ValueError(f"width_divisor: got {divisor}, must divide {what}")
            config[name] = width // divisor
        if isinstance(layer, layers.Conv2D) and layer.groups > 1:  # depthwise in ConvNeXt; very slow on CPUs
            kept = ("name", "kernel_size", "strides", "padding", "use_bias")
            return layers.DepthwiseConv2D(**{name: config[name] for name in kept})
        if isinstance(layer, layers.Conv2D) and config.get("activation") == "relu":
            config["kernel_initializer"] = "he_uniform"
        if isinstance(layer, layers.BatchNormalization):
            config["momentum"] = MOMENTUM
        return type(layer).from_config(config)

    return keras.models.clone_model(network, clone_function=copied)


def _input_scale(settings: Settings) -> float:
    """Check the settings of the backbone and return the scale of its input; 1 if the weights are this kit's."""
    if settings.backbone not in INPUT_SCALES:
        raise ValueError(f"backbone: got {settings.backbone!r}, must be one of {', '.join(sorted(INPUT_SCALES))}")
    divisor, weights = settings.width_divisor, str(settings.weights)
    if settings.backbone == "VGG16" and VGG16_BLOCKS[0][0] % divisor:
        raise ValueError(f"width_divisor: got {divisor}, must divide {VGG16_BLOCKS[0][0]}")
    if weights == "none":
        return 1.0
    if weights in BUNDLED:
        divisors = STRUCTURES if weights == "structures" else {"VGG16": BUNDLED_DIVISOR}
        if divisors.get(settings.backbone) != divisor:
            got = f"{weights!r} for {settings.backbone} with width_divisor {divisor}"
            rule = ", ".join(f"{name} with {n}" for name, n in divisors.items())
            raise ValueError(f"weights: got {got}, must be used for {rule}")
        if settings.backbone != "VGG16" and settings.head != "local":
            raise ValueError(f"weights: got {weights!r} for {settings.backbone}, must be used with the head 'local'")
        return 1.0
    if weights == "imagenet":
        if divisor != 1:
            raise ValueError(f"weights: got 'imagenet' with width_divisor {divisor}, must be used with width_divisor 1")
        return INPUT_SCALES[settings.backbone]
    if not h5py.is_hdf5(weights):
        names = ", ".join(("imagenet", *BUNDLED, "detector", "none"))
        raise ValueError(f"weights: got {weights!r}, must be {names}, a weights file (HDF5), a .keras file or a run")
    with h5py.File(weights) as file:
        return float(file.attrs.get(SCALE_ATTRIBUTE, INPUT_SCALES[settings.backbone]))


def _of_this_kit(settings: Settings) -> bool:
    """Return whether the weights come from a file of `save_weights`; others have the layers of the whole network."""
    path = weights_file(settings)
    if path is None:
        return False
    with h5py.File(path) as file:
        return SCALE_ATTRIBUTE in file.attrs


def _load_weights(backbone: keras.Model, settings: Settings) -> None:
    """Load the weights given in the settings."""
    if settings.weights == "none":
        return
    if settings.weights == "imagenet":
        backbone.set_weights(_imagenet(settings.backbone).get_weights())
        return
    path = weights_file(settings)
    backbone.set_weights([np.full(w.shape, np.nan) for w in backbone.weights])  # to detect weights that are not loaded
    try:
        backbone.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        what = f"{settings.backbone} without top, width_divisor {settings.width_divisor}"
        raise ValueError(f"weights: got {path}, must fit {what}: {error}") from error
    empty = [w.path for w in backbone.weights if not np.isfinite(w.numpy()).all()]
    if empty:
        raise ValueError(f"weights: got {path}, must have finite values for {', '.join(empty)}")


def _imagenet(name: str) -> keras.Model:
    """Return the network of Keras with its ImageNet weights, which Keras downloads once."""
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a plain Exception if a download fails
        raise ConnectionError(
            f"weights: the ImageNet weights of {name} could not be downloaded ({error}). Download the 'notop' file "
            "named there on another machine and give its path (-p weights PATH), or start from random weights "
            "(-p weights none)"
        ) from error


def freeze(network: keras.Model, trainable_convolutions: int) -> None:
    """Freeze all layers before the last `trainable_convolutions` convolutions; those of a head are never frozen.

    Args:
        network: A backbone, or a detector with the layers of its backbone on the top level.
        trainable_convolutions: Number of convolutions to train; with the number that there are, nothing is frozen.

    Raises:
        ValueError: The number is out of range.
    """
    layers_ = network.layers
    places = [i for i, layer in enumerate(layers_) if isinstance(layer, CONVOLUTIONS)]
    if not 0 <= trainable_convolutions <= len(places):
        raise ValueError(
            f"trainable_convolutions: got {trainable_convolutions}, must be 0 to {len(places)} ({network.name})"
        )
    head = next((i for i, layer in enumerate(layers_) if isinstance(layer, HEAD_LAYERS)), len(layers_))
    first = [*places, head][len(places) - trainable_convolutions]
    for layer in layers_[: first if trainable_convolutions < len(places) else 0]:
        layer.trainable = False
