"""Fitting of the bundled networks to images with local labels: split, losses, schedule and held-out results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bac_utils.model import mirrored
from bac_utils.pretraining.batches import Batches, augmented
from bac_utils.pretraining.compositing import SyntheticLesions, add_lesions
from bac_utils.pretraining.patches import coarser

HELD_OUT = 8
"""One woman in eight is held out."""
ARTERY_WEIGHT = 4.0
"""Weight in the loss of a local label with artery, the rarer class."""


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build the networks of a `with` block with a dtype policy of Keras, such as `float32` or `mixed_bfloat16`."""
    import keras

    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def split(found: list, lesions: SyntheticLesions) -> tuple:
    """Split the women's images, with their local labels, and the lesions into a training and a held-out set.

    Args:
        found: One pair per woman: images (n, H, W), and their local labels.
        lesions: Synthetic lesions.

    Returns:
        Images, local labels and lesions for training; the same for the held-out set.

    Raises:
        ValueError: A set lacks images with or without artery.
    """
    kept, held_out = [pair for k, pair in enumerate(found) if k % HELD_OUT], found[::HELD_OUT]
    pixels, labels, plain, plain_labels = (
        np.concatenate([pair[k] for pair in group]) for group in (kept, held_out) for k in (0, 1)
    )
    if not all((part == 1).any() and (part == 0).all(axis=(1, 2)).any() for part in (labels, plain_labels)):
        raise ValueError(f"women: got {len(found)}, must be more: a set lacks one of the two classes")
    few = max(len(lesions.arteries) // HELD_OUT, 1)
    return pixels, labels, lesions.part(few, None), plain, plain_labels, lesions.part(None, few)


def with_lesions(
    pixels: np.ndarray, labels: np.ndarray, lesions: SyntheticLesions, seed: list[int], draws: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return `draws` copies of images with other lesions added to each, float16 (N, H, W), and their local labels."""
    rng = np.random.default_rng(seed)
    pairs = [add_lesions(*pair, lesions, rng) for _ in range(draws) for pair in zip(pixels, labels, strict=True)]
    return np.stack([image.astype(np.float16) for image, _ in pairs]), np.stack([local for _, local in pairs])


def arrays(pixels: np.ndarray, labels: np.ndarray, lesions: SyntheticLesions) -> dict[str, np.ndarray]:
    """Return the arrays from which `example` makes a training example."""
    parts = {"arteries": lesions.arteries, "artery_labels": lesions.labels, "mimics": lesions.mimics}
    return {"pixels": pixels, "labels": labels} | parts


def example(
    stored: Mapping[str, np.ndarray],
    number: int,
    rng: np.random.Generator,
    mean_mimics: float,
    levels: tuple[int, ...],
) -> tuple[np.ndarray, ...]:
    """Add lesions to an image, and augment it.

    Args:
        stored: From `arrays`.
        number: Number of the image.
        rng: Source of randomness.
        mean_mimics: Mean number of mimics added.
        levels: For each pair of outputs, local logits and logit, how often the local labels are made coarser.

    Returns:
        The image, float32 (H, W, 1), the two targets of each pair of outputs, and their weights; see `targets`.
    """
    lesions = SyntheticLesions(stored["arteries"], stored["artery_labels"], stored["mimics"], mean_mimics)
    image, labels = augmented(*add_lesions(stored["pixels"][number], stored["labels"][number], lesions, rng), rng)
    found, weights = [], []
    for level in levels:
        local = labels[None]
        for _ in range(level):
            local = coarser(local)
        for parts, new in zip((found, weights), targets(local[0]), strict=True):
            parts += new
    return image, *found, *weights


def targets(labels: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the two targets of an image, and their weights.

    Args:
        labels: Local labels, int8 (h, w).

    Returns:
        float32 arrays: local targets (h, w, 1) and the target of the image (1,); weights of the local targets (h, w), 0
        for undecided ones, and the weight of the image (), 0 if no local label is positive and one is undecided.
    """
    artery = labels == 1
    weight = np.select([artery, labels == 0], [ARTERY_WEIGHT, 1.0], 0.0)
    pairs = (artery[..., None], [artery.any()]), (weight, artery.any() or not labels.any())
    found, weights = ([np.asarray(part, np.float32) for part in pair] for pair in pairs)
    return found, weights


def fit(
    model: Any,
    batches: Batches,
    epochs: int,
    rate: float,
    checkpoint: Path,
    workers: int = 0,
    local_weight: float = 1.0,
    anneal: bool = True,
) -> None:
    """Fit, by default with cosine annealing; a stopped call resumes after the last finished epoch.

    Args:
        model: Outputs: pairs of local logits and the logit of the image.
        batches: The training images.
        epochs: Number of epochs.
        rate: Initial learning rate of Adam.
        checkpoint: Folder for the state after each epoch, removed at the end.
        workers: Number of processes that make the batches; 0 makes them in this one.
        local_weight: Weight of the losses of local logits; that of the image's logit is 1.
        anneal: Whether the learning rate falls to 0.
    """
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(rate, batches.steps * epochs) if anneal else rate
    losses = [keras.losses.BinaryCrossentropy(from_logits=True) for _ in model.outputs]
    weights = [local_weight, 1.0] * (len(losses) // 2)
    model.compile(keras.optimizers.Adam(schedule), losses, loss_weights=weights)
    keep = keras.callbacks.BackupAndRestore(checkpoint)

    def say(epoch: int, logs: dict) -> None:
        print(f"epoch {epoch + 1} of {epochs}: loss {logs['loss']:.3f}", flush=True)

    first = 1 + len(losses)  # of the weights
    data = ((batch[0], batch[1:first], batch[first:]) for batch in batches.epochs(epochs, workers))
    model.fit(data, epochs=epochs, steps_per_epoch=batches.steps, verbose=0, shuffle=False,
              callbacks=[keep, keras.callbacks.LambdaCallback(on_epoch_end=say)])  # fmt: skip


def held_out_logits(model: Any, pixels: np.ndarray, labels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of held-out images, the mean of an image and its mirror image, and their labels (0 or 1).

    Images with undecided and without positive local labels are left out.
    """
    some = (labels == 1).any(axis=(1, 2))
    sure = np.flatnonzero(some | (labels == 0).all(axis=(1, 2)))
    parts = (pixels[sure[k : k + size], ..., None].astype(np.float32) for k in range(0, len(sure), size))
    logits = [(model.predict_on_batch(part) + model.predict_on_batch(mirrored(part)))[:, 0] / 2 for part in parts]
    return np.concatenate(logits), some[sure].astype(int)


def auc_roc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the AUC-ROC as a Python float."""
    return float(roc_auc_score(labels, logits))
