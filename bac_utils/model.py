"""The detector: a VGG16 (or another backbone) with two dense layers and one logit; its training and its scores.

Input: prepared views (N, H, W, 1), float32, mean 0 and deviation 1 inside the breast. Output: one logit a view;
the score is its sigmoid.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from bac_utils.backbones import build_backbone, load_head
from bac_utils.dataset import batches, training_batches
from bac_utils.settings import Settings

HISTORY = ["epoch", "loss", "val_loss", "val_auc_pr", "val_auc_roc", "learning_rate", "seconds"]
FIT_SETTINGS = (
    "seed", "input_shape", "view_pixel_mm", "backbone", "width_divisor", "weights", "pretrained_head",
    "trainable_convolutions", "dense_units", "leaky_slope", "dropout", "batch_size", "epochs", "learning_rate",
    "augmentation",
)  # fmt: skip
FEATURE_BYTES = 512 * 2**20
"""The frozen part's output for the validation views is kept in memory up to this size."""


@keras.saving.register_keras_serializable("bac_utils")
class LogSumExpPooling(layers.Layer):
    """A map's soft maximum: log(mean(exp(x))) over rows and columns, (N, h, w, K) -> (N, K).

    Pinheiro & Collobert, "From image-level to pixel-level labeling with convolutional networks", CVPR 2015. A global
    maximum passes gradient to one pixel a map, so that a network learns, and Grad-CAM++ credits, one point of an
    artery; an average lets a large background outvote a short artery. Here all of an artery's cells share the gradient.
    """

    def call(self, maps: Any) -> Any:
        """Pool."""
        cells = keras.ops.cast(keras.ops.shape(maps)[1] * keras.ops.shape(maps)[2], maps.dtype)
        return keras.ops.logsumexp(maps, axis=(1, 2)) - keras.ops.log(cells)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return (N, K)."""
        return (input_shape[0], input_shape[-1])


def build_model(settings: Settings) -> keras.Model:
    """Build the network of the paper (its Fig. 2b), with the weights and the frozen part that the settings name.

    The grey level enters three times. Two dense layers with LeakyReLU and dropout look at each cell of the backbone's
    last map, and give it a logit of its own (layer `cells`); the view's logit is the cells' soft maximum
    (`LogSumExpPooling`), scaled and shifted. So one short calcified artery on a large view counts, the head fits every
    input shape, and where the network sees BAC stands in `cells`, on one scale for all views. The last
    `trainable_convolutions` convolutions and what comes after them are trained; layers before them are frozen, batch
    normalisation among them then works in inference mode.

    Sets the global seeds of Python, NumPy and Keras to `settings.seed`, so that equal settings give equal weights.

    Args:
        settings: Uses `input_shape`, `backbone`, `width_divisor`, `weights`, `trainable_convolutions`,
            `pretrained_head`, `dense_units`, `leaky_slope`, `dropout`, `seed`.

    Returns:
        An uncompiled model, (N, H, W, 1) -> (N, 1) float32 logits, the layers of the backbone on its top level
        under their names in `keras.applications`, then `dense_1` ... `cells`, `pooling`, `logit`. A weights file that
        `save_weights` wrote (the bundled one, too) fills the head as well, if that has as many dense units and
        `pretrained_head` is set; else it starts at random.

    Raises:
        ValueError: A setting is unknown or out of range, or the weights file is not there or does not fit.
        ConnectionError: The ImageNet weights cannot be downloaded.
    """
    keras.utils.set_random_seed(settings.seed)
    backbone = build_backbone(settings)
    x = backbone.output
    for n in (1, 2):
        x = layers.Dense(settings.dense_units, name=f"dense_{n}")(x)
        x = layers.LeakyReLU(negative_slope=settings.leaky_slope, name=f"leaky_{n}")(x)
        x = layers.Dropout(settings.dropout, name=f"dropout_{n}")(x)
    cells = layers.Dense(1, dtype="float32", name="cells")(x)
    pooled = LogSumExpPooling(dtype="float32", name="pooling")(cells)
    logit = layers.Dense(1, kernel_initializer="ones", dtype="float32", name="logit")(pooled)
    model = keras.Model(backbone.inputs[0], logit, name="bac_detector")
    load_head(model, settings)
    return model


def load_model(path: str | Path) -> keras.Model:
    """Load a saved detector, in Keras' safe mode (no code from the file runs).

    Args:
        path: A `.keras` file.

    Returns:
        The model, not compiled: (N, H, W, 1) -> (N, 1) logits.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is no Keras model, or its input or output has another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model: {path} is not there, must be a .keras file")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, BadZipFile) as error:
        raise ValueError(f"model: {path} cannot be loaded as a Keras model: {error}") from error
    if len(model.input_shape) != 4 or model.input_shape[-1] != 1 or model.output_shape != (None, 1):
        shapes = f"{model.input_shape} -> {model.output_shape}"
        raise ValueError(f"model: {path} maps {shapes}, must map (N, H, W, 1) to (N, 1) logits")
    return model


def predict_scores(model: keras.Model, pixels: Any, batch_size: int) -> np.ndarray:
    """Score prepared views.

    Args:
        model: A detector.
        pixels: Prepared views (N, H, W), an array or a memmap.
        batch_size: Views at a time.

    Returns:
        float64 (N,), sigmoid of the logit, in the order of the views.

    Raises:
        ValueError: The views have another shape than the model's input.
    """
    _check_views("pixels", pixels, model)
    data = tqdm(batches(pixels, batch_size), "scoring", unit="batch")
    logits = np.concatenate([model.predict_on_batch(views)[:, 0] for views in data])
    return expit(logits.astype(np.float64))


def fit_model(
    model: keras.Model, settings: Settings, train: tuple, validation: tuple, folder: str | Path
) -> pd.DataFrame:
    """Train the detector, or go on with an interrupted training, and keep the best epoch.

    Adam, binary cross-entropy of the logit with balanced class weights, cosine annealing from
    `learning_rate` to 0 over all steps; the best epoch is the first with the highest AUC-PR on the validation
    views (average precision), as in the paper. Order, augmentation and dropout follow from seed and epoch, and
    TensorFlow's deterministic operations are switched on (for the whole process, with the global seeds set), so
    that the same call gives the same numbers, interrupted or not. XLA stays off: it excludes those operations.

    Files, each written whole: `history.csv` after every epoch, `model.keras` after every best one, and in
    `training/` what a resumed call needs.

    Args:
        model: From `build_model`. On return it has the weights of the best epoch.
        settings: Uses the fields in `FIT_SETTINGS`.
        train: (pixels (N, H, W), labels (N,)), labels 0 or 1.
        validation: The same, of other women.
        folder: Of the run. If it holds an unfinished training of the same settings and data, that is
            continued; if it holds a finished one, nothing is trained.

    Returns:
        One row an epoch: `epoch` (from 1), `loss` (of the augmented training views, dropout on), `val_loss`,
        `val_auc_pr`, `val_auc_roc`, `learning_rate` (of the epoch's first step), `seconds`. Both losses weigh the
        classes equally: the mean of the two classes' mean cross-entropies.

    Raises:
        ValueError: Views or labels have a wrong shape, a set lacks a class, or the folder holds a training of
            other settings or data.
        FloatingPointError: The training has diverged.
    """
    for name, (pixels, labels) in (("train", train), ("validation", validation)):
        _check_views(name, pixels, model)
        _check_labels(name, pixels, labels)
    folder, state = Path(folder), Path(folder) / "training"
    state.mkdir(parents=True, exist_ok=True)
    _claim(state / "fit.json", settings, train, validation)
    history = _read_history(folder)
    done = len(history)
    if done < settings.epochs:
        keras.utils.set_random_seed(settings.seed)
        tf.config.experimental.enable_op_determinism()
        labels, truth = np.asarray(train[1], np.float32), np.asarray(validation[1], np.float64)
        steps = -(-len(labels) // settings.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(schedule), loss, jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        if done:
            model.load_weights(_checkpoint(state, done))
        weights = {k: len(labels) / (2 * np.sum(labels == k)) for k in (0, 1)}
        validate = _validator(model, validation[0], settings.batch_size)
        with tqdm(total=steps * settings.epochs, initial=steps * done, desc="training", unit="step") as bar:
            step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())
            for epoch in range(done, settings.epochs):
                start = time.perf_counter()
                _seed_dropout(model, settings.seed, epoch)
                data = training_batches(
                    train[0], labels, settings.batch_size, settings.augmentation, settings.seed, epoch
                )
                fitted = model.fit(data, class_weight=weights, callbacks=[step], shuffle=False, verbose=0)
                logits = validate()
                if not np.isfinite(logits).all():
                    rate = settings.learning_rate
                    raise FloatingPointError(f"epoch {epoch + 1}: the training has diverged at learning_rate {rate:g}")
                row = {
                    "epoch": epoch + 1,
                    "loss": fitted.history["loss"][-1],
                    "val_loss": _balanced_loss(logits, truth),
                    "val_auc_pr": average_precision_score(truth, logits),
                    "val_auc_roc": roc_auc_score(truth, logits),
                    "learning_rate": settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2,
                    "seconds": time.perf_counter() - start,
                }
                if not row["val_auc_pr"] <= history["val_auc_pr"].max():  # NaN before the first epoch
                    _write(folder / "model.keras", model.save)
                _write(_checkpoint(state, epoch + 1), model.save_weights)
                history = pd.DataFrame([*history.to_dict("records"), row], columns=HISTORY)
                _write(folder / "history.csv", lambda path, frame=history: frame.to_csv(path, index=False))
                _checkpoint(state, epoch).unlink(missing_ok=True)
                bar.set_postfix(loss=f"{row['loss']:.3f}", val_auc_pr=f"{row['val_auc_pr']:.3f}")
        _checkpoint(state, settings.epochs).unlink(missing_ok=True)
    model.set_weights(load_model(folder / "model.keras").get_weights())
    return history


def _check_views(name: str, pixels: Any, model: keras.Model) -> None:
    if tuple(pixels.shape[1:]) != tuple(model.input_shape[1:3]) or len(pixels) == 0:
        height, width = model.input_shape[1:3]
        raise ValueError(f"{name}: got views of shape {tuple(pixels.shape)}, must be (N, {height}, {width}), N >= 1")


def _check_labels(name: str, pixels: Any, labels: Any) -> None:
    labels = np.asarray(labels)
    if labels.shape != (len(pixels),):
        raise ValueError(f"{name} labels: got shape {labels.shape}, must be ({len(pixels)},), one a view")
    found = sorted(set(labels.tolist()))
    if found != [0, 1]:
        raise ValueError(f"{name} labels: got the values {found}, must be 0 and 1, both of them")


def _claim(path: Path, settings: Settings, train: tuple, validation: tuple) -> None:
    """Note which training the folder holds; refuse one that holds another."""
    chosen = asdict(settings)
    ours = {name: chosen[name] for name in FIT_SETTINGS}
    for name, (pixels, labels) in (("train", train), ("validation", validation)):
        middle = np.ascontiguousarray(pixels[:, pixels.shape[1] // 2])
        digest = hashlib.sha256(middle.tobytes() + np.asarray(labels, np.int8).tobytes())
        ours[f"{name} views"] = digest.hexdigest()
    ours = json.loads(json.dumps(ours, default=str))
    if not path.is_file():
        _write(path, lambda p: p.write_text(json.dumps(ours, indent=1), encoding="utf-8"))
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name in ours if ours[name] != theirs.get(name)]
    if other:
        name = other[0]
        raise ValueError(
            f"folder: {path.parent.parent} holds a training with {name} {theirs.get(name)}, got {ours[name]}; "
            "choose another folder"
        )


def _read_history(folder: Path) -> pd.DataFrame:
    """Return the finished epochs, none where the files to go on from are missing."""
    path, epochs = folder / "history.csv", 0
    if path.is_file() and (folder / "model.keras").is_file():
        history = pd.read_csv(path, dtype=str).astype(float).astype({"epoch": int})  # exact, to the last digit
        epochs = json.loads((folder / "training" / "fit.json").read_text(encoding="utf-8"))["epochs"]
        if len(history) == epochs or _checkpoint(folder / "training", len(history)).is_file():
            return history
    return pd.DataFrame(columns=HISTORY, dtype=float)


def _checkpoint(state: Path, epoch: int) -> Path:
    return state / f"epoch-{epoch:03d}.weights.h5"


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"part-{path.name}")
    write(part)
    os.replace(part, path)


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Let the dropout masks of an epoch follow from seed and epoch."""
    for n, layer in enumerate(model.layers):
        if getattr(layer, "seed_generator", None) is not None:
            layer.seed_generator.state.assign(np.random.SeedSequence([seed, epoch, n]).generate_state(2))


def _balanced_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the two classes' mean binary cross-entropies."""
    losses = np.logaddexp(0, logits) - labels * logits
    return float((losses[labels == 0].mean() + losses[labels == 1].mean()) / 2)


def _validator(model: keras.Model, pixels: Any, batch_size: int) -> Callable[[], np.ndarray]:
    """Return a function that gives the views' logits, float64 (N,).

    Validation views are not augmented, so what the frozen layers make of them is computed once, if it fits.
    """
    first = next(i for i, layer in enumerate(model.layers) if layer.trainable_weights)
    cut = model.layers[first - 1].output
    frozen = any(layer.weights for layer in model.layers[:first])
    back, stored = model, None
    if frozen and 4 * np.prod(cut.shape[1:]) * len(pixels) <= FEATURE_BYTES:
        try:
            front, back = keras.Model(model.inputs[0], cut), keras.Model(cut, model.outputs[0])
        except ValueError:
            pass  # a skip connection passes the cut: no part of it alone
        else:
            stored = [front.predict_on_batch(views) for views in batches(pixels, batch_size)]

    def logits() -> np.ndarray:
        data = batches(pixels, batch_size) if stored is None else stored
        return np.concatenate([back.predict_on_batch(views)[:, 0] for views in data]).astype(np.float64)

    return logits
