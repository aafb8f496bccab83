"""Fitting of the bundled networks to images with local labels: batches, targets, losses and held-out results."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bac_utils.dataset import untuned
from bac_utils.model import mirrored
from bac_utils.pretraining.compositing import SyntheticLesions, add_lesions
from bac_utils.pretraining.patches import augment_pair, coarser

HELD_OUT = 8
"""One woman in eight is held out."""
ARTERY_WEIGHT = 4.0
"""Weight in the loss of a local label with artery, the rarer class."""


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


def batches(
    pixels: np.ndarray, labels: np.ndarray, lesions: SyntheticLesions, size: int, seed: int, levels: tuple[int, ...]
) -> Any:
    """Return shuffled batches of images with lesions added and augmented, with targets and their weights.

    The lesions differ from epoch to epoch.

    Args:
        pixels: (N, H, W).
        labels: Local labels, int8 (N, h, w).
        lesions: Lesions to choose from.
        size: Images in a batch.
        seed: Seed of order and lesions.
        levels: For each pair of outputs, local logits and logit, how often the local labels are made coarser.

    Returns:
        A tf.data.Dataset of images (N, H, W, 1), a tuple of targets, and a tuple of their weights.
    """
    import tensorflow as tf

    rng = np.random.default_rng([seed, 2])

    def image(k: Any) -> tuple:
        x, y = tf.numpy_function(lambda i: add_lesions(pixels[i], labels[i], lesions, rng), [k], (tf.float32, tf.int8))
        return tf.ensure_shape(x, pixels.shape[1:]), tf.ensure_shape(y, labels.shape[1:])

    def all_targets(x: Any, y: Any) -> tuple:
        found = []
        for level in levels:
            local = y
            for _ in range(level):
                shape = [None, local.shape[1] // 2, local.shape[2] // 2]
                local = tf.ensure_shape(tf.numpy_function(coarser, [local], tf.int8), shape)
            found.append(targets(local))
        return x, sum((t for t, _ in found), ()), sum((w for _, w in found), ())

    data = tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed=seed).map(image)
    return untuned(data.map(augment_pair, num_parallel_calls=2).batch(size).map(all_targets).prefetch(2))


def targets(labels: Any) -> tuple[tuple, tuple]:
    """Return the targets of a batch, local and for the whole image, and their weights; undecided ones weigh 0."""
    import tensorflow as tf

    artery = tf.cast(labels == 1, tf.float32)[..., None]
    weight = tf.where(labels == 1, ARTERY_WEIGHT, tf.where(labels == 0, 1.0, 0.0))
    some, none = tf.reduce_any(labels == 1, axis=(1, 2)), tf.reduce_all(labels == 0, axis=(1, 2))
    return (artery, tf.cast(some, tf.float32)[:, None]), (weight, tf.cast(some | none, tf.float32))


def fit(
    model: Any, data: Any, epochs: int, rate: float, checkpoint: Path, local_weight: float = 1.0, anneal: bool = True
) -> None:
    """Fit, by default with cosine annealing; a stopped call resumes after the last finished epoch.

    Args:
        model: Outputs: pairs of local logits and the logit of the image.
        data: From `batches`.
        epochs: Number of epochs.
        rate: Initial learning rate of Adam.
        checkpoint: Folder for the state after each epoch, removed at the end.
        local_weight: Weight of the losses of local logits; that of the image's logit is 1.
        anneal: Whether the learning rate falls to 0.
    """
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(rate, len(data) * epochs) if anneal else rate
    losses = [keras.losses.BinaryCrossentropy(from_logits=True) for _ in model.outputs]
    weights = [local_weight, 1.0] * (len(model.outputs) // 2)
    model.compile(keras.optimizers.Adam(schedule), losses, loss_weights=weights)
    keep = keras.callbacks.BackupAndRestore(checkpoint)

    def say(epoch: int, logs: dict) -> None:
        print(f"epoch {epoch + 1} of {epochs}: loss {logs['loss']:.3f}", flush=True)

    model.fit(data, epochs=epochs, verbose=0, shuffle=False,
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
