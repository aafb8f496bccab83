"""Training of the bundled weights `structures`, from which the demo starts; see `structures`.

Other networks are trained in the same way, for a comparison of networks with the same start.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bac_utils._files import write_json, written_whole
from bac_utils._workers import run_jobs
from bac_utils.pretraining.batches import Batches, augmented, stored_batches
from bac_utils.pretraining.fitting import precision
from bac_utils.pretraining.look_alikes import KINDS
from bac_utils.pretraining.patches import Recipe, pixel_mm, woman_patches
from bac_utils.pretraining.structures import CELL, Structures, add_structures, draw_structure
from bac_utils.settings import DEMO

FIRST_WOMAN = 100_000
"""Number of the first woman in the stream of `patches.training_woman`; the other trainings use smaller ones."""
RATE = 1e-3
"""Initial learning rate of Adam."""
PRESENT_WEIGHT, LOSS_SCALE = 4.0, 10.0
"""Weight in the loss of a structure that is present, and a factor on the loss."""


@dataclass(frozen=True)
class PretextRecipe:
    """How the weights `structures` are made; all values are choices of this kit.

    Attributes:
        women: Number of BAC- women simulated for the patches; one in ten is held out.
        rows: Rows of their prepared views, which span `patches.FIELD_MM`; half as many columns.
        patch: Side of a patch in pixels, a multiple of 16.
        patches: Number of patches of each kind (bright spot, anywhere) per view.
        structures: Number of structures to choose from.
        first_epochs: Epochs over the patches with all layers trainable.
        epochs: Epochs with all but the first convolutional block trainable, in which the learning rate falls to 0.
        seed: Seed of weights, order and augmentation.
        backbone: A name from `keras.applications`, with a map of stride 16 (`backbones.cut`).
        width_divisor: Divides all widths of the backbone.
        batch_size: Patches per step.
        policy: Keras's dtype policy while the network is trained; see `patches.Recipe`.
        half: Whether the weights are stored with 16 bits.
    """

    women: int = 160
    rows: int = 768
    patch: int = 112
    patches: int = 7
    structures: int = 9500
    first_epochs: int = 5
    epochs: int = 45
    seed: int = 1
    backbone: str = "VGG16"
    width_divisor: int = 8
    batch_size: int = 32
    policy: str = "mixed_bfloat16"
    half: bool = False


def pretext_data(recipe: PretextRecipe, workers: int = 2) -> tuple[np.ndarray, Structures]:
    """Simulate the patches without calcified arteries, float16 (N, patch, patch), and draw the structures.

    Args:
        recipe: Sizes and numbers; backbone and epochs do not matter.
        workers: Number of processes.
    """
    return _backgrounds(recipe, workers), _structures(recipe, workers)


def pretrain_structures(
    output: Path,
    recipe: PretextRecipe = PretextRecipe(),  # noqa: B008
    workers: int = 2,
    data: tuple[np.ndarray, Structures] | None = None,
) -> dict:
    """Train a backbone to tell which benign structures lie in each cell of a patch.

    Args:
        output: File for the backbone's weights, ending in `.weights.h5`; a `.json` beside it gets recipe and results.
        recipe: Sizes and numbers.
        workers: Number of processes for the simulation and for the batches; 0 computes in this one.
        data: `pretext_data` of the recipe, if several networks are trained.

    Returns:
        AUC-ROC of each kind of structure over the cells of held-out patches; None for a kind that they lack.

    Raises:
        ValueError: The backbone is unknown, its widths cannot be divided, or its map has another stride.
    """
    import keras

    from bac_utils.backbones import build_backbone, save_weights

    keras.utils.set_random_seed(recipe.seed)
    network = {"backbone": recipe.backbone, "width_divisor": recipe.width_divisor, "weights": "none"}
    shape = (recipe.patch, recipe.patch)
    with precision(recipe.policy):
        backbone = build_backbone(replace(DEMO, input_shape=shape, trainable_convolutions=0, **network))
        x = keras.layers.Dense(128, activation="relu", name="hidden")(backbone.output)
    kinds = keras.layers.Dense(len(KINDS), dtype="float32", name="kinds")(x)
    network = keras.Model(backbone.inputs[0], kinds)
    for layer in backbone.layers:
        layer.trainable = True
    cells = backbone.output.shape[1]
    if recipe.patch != cells * CELL:
        map_ = f"for {recipe.backbone}, whose map has {cells} rows"
        raise ValueError(f"patch: got {recipe.patch}, must be a multiple of {CELL} {map_}")
    backgrounds, structures = pretext_data(recipe, workers) if data is None else data
    held = max(len(backgrounds) // 10, 1)
    rng = np.random.default_rng([recipe.seed, 3])
    test = [add_structures(patch, structures, rng) for patch in backgrounds[:held]]
    arrays = {"patches": backgrounds[held:], "intensity": structures.intensity, "kinds": structures.kinds}
    with stored_batches(None, arrays, example, recipe.batch_size, recipe.seed) as batches:
        _fit(network, batches, recipe.first_epochs, RATE, workers)
        for layer in backbone.layers:  # the first block is half of the computation
            if layer.name.startswith("block1_"):
                layer.trainable = False
        falling = keras.optimizers.schedules.CosineDecay(RATE, batches.steps * recipe.epochs)
        _fit(network, batches, recipe.epochs, falling, workers)
    logits = network.predict(np.stack([pixels for pixels, _ in test])[..., None], verbose=0)
    present = np.stack([labels for _, labels in test])
    found = {kind: _auc(present[..., k], logits[..., k]) for k, kind in enumerate(KINDS)}
    with written_whole(output) as part:
        save_weights(backbone, part, recipe.half)
    write_json(output.with_suffix("").with_suffix(".json"), {"made_with": asdict(recipe), "held_out_auc_roc": found})
    return found


def pretrain_networks(folder: Path, seed: int = 1, workers: int = 2) -> None:
    """Make the bundled weights `structures` of all networks, on the same patches.

    VGG16, from which the demo starts, is trained for 50 epochs, the others, for the comparison of methods, for 12.

    Args:
        folder: Gets the files, named as by `backbones.structures_file`.
        seed: Seed of weights, order and augmentation.
        workers: Number of processes.
    """
    from bac_utils.backbones import STRUCTURES, structures_file

    data = pretext_data(PretextRecipe(seed=seed), workers)
    for backbone, divisor in STRUCTURES.items():
        recipe = PretextRecipe(seed=seed, backbone=backbone, width_divisor=divisor)
        if backbone != "VGG16":
            recipe = replace(recipe, first_epochs=2, epochs=10, policy="float32", half=True)  # most gain no time
        pretrain_structures(folder / structures_file(backbone).name, recipe, workers, data)


def _backgrounds(recipe: PretextRecipe, workers: int) -> np.ndarray:
    """Return patches of views without calcified arteries, float16 (N, patch, patch)."""
    plain = replace(
        Recipe(), bac_share=0.0, heights=(recipe.rows,), patch=recipe.patch, patches=recipe.patches, seed=recipe.seed
    )
    numbers = range(FIRST_WOMAN, FIRST_WOMAN + recipe.women)
    found = run_jobs(partial(woman_patches, recipe=plain), numbers, workers, "patches")
    if any((labels != 0).any() for _, labels in found):
        raise AssertionError("a BAC- woman has a calcified artery")
    return np.concatenate([patches for patches, _ in found])


def _structures(recipe: PretextRecipe, workers: int) -> Structures:
    """Draw the structures to choose from."""
    pixel = pixel_mm((recipe.rows, recipe.rows // 2))
    draw = partial(draw_structure, side=recipe.patch, pixel_mm=pixel)
    intensity, kinds = zip(*run_jobs(draw, range(recipe.structures), workers, "structures", 32), strict=True)
    return Structures(np.stack(intensity), np.array(kinds))


def example(stored: Mapping[str, np.ndarray], number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Add structures to a patch, and augment it.

    Args:
        stored: `patches` (N, patch, patch), and the attributes of `Structures`.
        number: Number of the patch.
        rng: Source of randomness.

    Returns:
        The patch, float32 (patch, patch, 1), and the kinds in each of its cells, int8 (h, w, K); see `add_structures`.
    """
    structures = Structures(stored["intensity"], stored["kinds"])
    return augmented(*add_structures(stored["patches"][number], structures, rng), rng)


def _fit(network: Any, batches: Batches, epochs: int, rate: Any, workers: int) -> None:
    """Train with Adam, and print the loss after each epoch."""
    import keras

    def say(epoch: int, logs: dict) -> None:
        print(f"epoch {epoch + 1} of {epochs}: loss {logs['loss']:.3f}", flush=True)

    network.compile(keras.optimizers.Adam(rate), _loss)
    network.fit(batches.epochs(epochs, workers), epochs=epochs, steps_per_epoch=batches.steps, verbose=0, shuffle=False,
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=say)])  # fmt: skip


def _auc(present: np.ndarray, logits: np.ndarray) -> float | None:
    """Return the AUC-ROC over all cells, None if only one class is present."""
    return float(roc_auc_score(present.ravel(), logits.ravel())) if 0 < present.mean() < 1 else None


def _loss(present: Any, logits: Any) -> Any:
    """Return the binary cross-entropy over cells and kinds, in which those that are present weigh more."""
    from keras import ops

    present = ops.cast(present, logits.dtype)
    weighted = (1 - present) * ops.softplus(logits) + PRESENT_WEIGHT * present * ops.softplus(-logits)
    return LOSS_SCALE * ops.mean(weighted)
