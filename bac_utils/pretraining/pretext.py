"""Training of the bundled weights `structures`, from which the demo starts; see `structures`."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bac_utils._files import write_json, written_whole
from bac_utils._workers import run_jobs
from bac_utils.dataset import untuned
from bac_utils.pretraining.look_alikes import KINDS
from bac_utils.pretraining.patches import Recipe, augment_pair, pixel_mm, woman_patches
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
    """

    women: int = 160
    rows: int = 768
    patch: int = 112
    patches: int = 7
    structures: int = 9500
    first_epochs: int = 5
    epochs: int = 45
    seed: int = 1


def pretrain_structures(output: Path, recipe: PretextRecipe = PretextRecipe(), workers: int = 2) -> dict:  # noqa: B008
    """Train VGG16 with one eighth of its widths to tell which benign structures lie in each cell of a patch.

    Args:
        output: File for the backbone's weights, ending in `.weights.h5`; a `.json` beside it gets recipe and results.
        recipe: Sizes and numbers.
        workers: Number of processes for the simulation.

    Returns:
        AUC-ROC of each kind of structure over the cells of held-out patches; None for a kind that they lack.
    """
    import keras

    from bac_utils.backbones import build_backbone, save_weights

    backgrounds, structures = _backgrounds(recipe, workers), _structures(recipe, workers)
    held = max(len(backgrounds) // 10, 1)
    keras.utils.set_random_seed(recipe.seed)
    shape = (recipe.patch, recipe.patch)
    backbone = build_backbone(replace(DEMO, input_shape=shape, weights="none", trainable_convolutions=13))
    x = keras.layers.Dense(128, activation="relu", name="hidden")(backbone.output)
    network = keras.Model(backbone.inputs[0], keras.layers.Dense(len(KINDS), name="kinds")(x))
    rng = np.random.default_rng([recipe.seed, 3])
    test = [add_structures(patch, structures, rng) for patch in backgrounds[:held]]
    data = _batches(backgrounds[held:], structures, recipe.seed)
    _fit(network, data, recipe.first_epochs, RATE)
    for layer in backbone.layers:  # the first block is half of the computation
        if layer.name.startswith("block1"):
            layer.trainable = False
    _fit(network, data, recipe.epochs, keras.optimizers.schedules.CosineDecay(RATE, len(data) * recipe.epochs))
    logits = network.predict(np.stack([pixels for pixels, _ in test])[..., None], verbose=0)
    present = np.stack([labels for _, labels in test])
    found = {kind: _auc(present[..., k], logits[..., k]) for k, kind in enumerate(KINDS)}
    with written_whole(output) as part:
        save_weights(backbone, part)
    write_json(output.with_suffix("").with_suffix(".json"), {"made_with": asdict(recipe), "held_out_auc_roc": found})
    return found


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


def _batches(backgrounds: np.ndarray, structures: Structures, seed: int) -> Any:
    """Return shuffled batches of patches with structures, augmented, and the kinds in each of their cells."""
    import tensorflow as tf

    rng = np.random.default_rng([seed, 2])

    def image(k: Any) -> tuple:
        def add(i: int) -> tuple:
            return add_structures(backgrounds[i], structures, rng)

        pixels, labels = tf.numpy_function(add, [k], (tf.float32, tf.int8))
        cells = backgrounds.shape[1] // CELL
        return tf.ensure_shape(pixels, backgrounds.shape[1:]), tf.ensure_shape(labels, (cells, cells, len(KINDS)))

    data = tf.data.Dataset.range(len(backgrounds)).shuffle(len(backgrounds), seed=seed).map(image)
    return untuned(data.map(augment_pair, num_parallel_calls=2).batch(32).prefetch(2))


def _fit(network: Any, data: Any, epochs: int, rate: Any) -> None:
    """Train with Adam, and print the loss after each epoch."""
    import keras

    network.compile(keras.optimizers.Adam(rate), _loss)
    for epoch in range(epochs):
        loss = network.fit(data, verbose=0, shuffle=False).history["loss"][0]
        print(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}", flush=True)


def _auc(present: np.ndarray, logits: np.ndarray) -> float | None:
    """Return the AUC-ROC over all cells, None if only one class is present."""
    return float(roc_auc_score(present.ravel(), logits.ravel())) if 0 < present.mean() < 1 else None


def _loss(present: Any, logits: Any) -> Any:
    """Return the weighted binary cross-entropy over cells and kinds."""
    import tensorflow as tf

    present = tf.cast(present, tf.float32)
    return LOSS_SCALE * tf.reduce_mean(tf.nn.weighted_cross_entropy_with_logits(present, logits, PRESENT_WEIGHT))
