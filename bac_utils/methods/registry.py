"""The methods that notebook 07 compares, by name, and methods of your own."""

import importlib
from collections.abc import Callable

from bac_utils.methods.interface import Method, check_method
from bac_utils.methods.patch_network import PatchNetwork
from bac_utils.methods.scu_net import SCUNet
from bac_utils.methods.segmenter import PatchTraining
from bac_utils.methods.transfer import FAMILIES, TransferLearning, recipe
from bac_utils.methods.u_net import UNet
from bac_utils.methods.vesselness import Vesselness
from bac_utils.settings import Settings

NETWORKS = {name.lower(): name for name in FAMILIES}
"""Names of the networks of transfer learning, and in `keras.applications`."""
OTHERS = ("patch-network", "scu-net", "u-net", "vesselness", "vesselness-frangi")
NAMES = (*NETWORKS, *OTHERS)
ALL = "all"


def chosen_names(names: str) -> list[str]:
    """Return the names in a text, separated by commas, in the order of `NAMES`; `all` stands for all of them.

    Raises:
        ValueError: A name is unknown, or there is none.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted == [ALL]:
        return list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        rule = f"must be {ALL}, or names from {', '.join(NAMES)}, separated by commas"
        raise ValueError(f"methods: got {unknown[0] if unknown else names!r}, {rule}")
    return [name for name in NAMES if name in wanted]


def make_method(name: str, base: Settings, start: str, epochs: int, training: PatchTraining, centres: int) -> Method:
    """Return a method that is not yet fitted.

    Args:
        name: One of `NAMES`.
        base: Recipe of the paper's method in this run, for transfer learning.
        start: Weights from which the networks start; see `transfer.recipe`.
        epochs: Epochs of transfer learning.
        training: Patches of the methods that segment.
        centres: Number of patches per epoch of the patch network, which are smaller.

    Raises:
        ValueError: The name is unknown.
    """
    if name in NETWORKS:
        return TransferLearning(recipe(NETWORKS[name], start, epochs, base))
    patch = PatchTraining(patches=centres, epochs=training.epochs, batch_size=64, seed=training.seed)
    makers: dict[str, Callable[[], Method]] = {
        "patch-network": lambda: PatchNetwork(patch),
        "scu-net": lambda: SCUNet(training),
        "u-net": lambda: UNet(training),
        "vesselness": Vesselness,
        "vesselness-frangi": lambda: Vesselness("frangi"),
    }
    if name not in makers:
        raise ValueError(f"name: got {name!r}, must be one of {', '.join(NAMES)}")
    return makers[name]()


def load_method(place: str) -> Method:
    """Return a method of your own.

    Args:
        place: `package.module:Class`; the module must be importable, and the class needs no arguments. Its code is
            executed.

    Returns:
        The checked method.

    Raises:
        ValueError: The place has another form, or there is no such module or class; or as `interface.check_method`.
        TypeError: The class is no `Method`.
    """
    module, _, name = place.partition(":")
    try:
        return check_method(getattr(importlib.import_module(module), name)())
    except (ImportError, AttributeError) as error:
        raise ValueError(f"extra: got {place!r}, must be package.module:Class ({error})") from None
