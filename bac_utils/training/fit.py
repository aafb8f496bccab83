"""Training from image-level labels: class-weighted cross-entropy, cosine annealing, best epoch by AUC-PR."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from bac_utils._files import write_json, written_whole
from bac_utils.dataset import batches, training_batches
from bac_utils.model import check_pixels, load_model, mirrored
from bac_utils.settings import Settings
from bac_utils.training.step import InParts, in_mixed_precision, plan_step

HISTORY = ["epoch", "loss", "val_loss", "val_auc_pr", "val_auc_roc", "learning_rate", "seconds"]
"""Columns of `history.csv`."""
FIT_SETTINGS = (
    "seed", "input_shape", "view_pixel_mm", "backbone", "width_divisor", "head", "pooling_sharpness", "weights",
    "pretrained_head", "trainable_convolutions", "dense_units", "leaky_slope", "dropout", "batch_size",
    "mixed_precision", "epochs", "learning_rate", "augmentation",
)  # fmt: skip
"""Settings that a training depends on."""
CONTINUED = {"epochs": 4, "learning_rate": 1e-3}
"""Settings of a training that is continued from a detector, unless others are given; chosen on archive 1 of
`benchmarks/fine_tuning.py`. Three epochs at 1e-4 changed almost nothing."""
FEATURE_BYTES = 2**30
"""Maximum size of the output of the frozen layers for the validation views that is kept in memory."""


def continue_from(settings: Settings, given: dict[str, Any], path: Path, pixel_mm: float | None) -> Settings:
    """Return settings to continue the training of a detector at its own resolution.

    Args:
        settings: The settings of the run.
        given: Settings that the user has given, None for those that were not; they take precedence over `CONTINUED`.
        path: The detector, a `.keras` file.
        pixel_mm: Pixel size of its prepared views, mm; None if breasts are stretched.

    Returns:
        The settings, with `weights`, `input_shape` and `view_pixel_mm` of the detector.

    Raises:
        ValueError: The given `input_shape` or `view_pixel_mm` is not the detector's, or the file is not a detector.
    """
    shape = tuple(int(n) for n in load_model(path).input_shape[1:3])
    own = {"input_shape": shape, "view_pixel_mm": pixel_mm}
    for name, value in own.items():
        wanted = getattr(settings, name)
        if given.get(name) is not None and wanted != value:
            raise ValueError(f"{name}: got {wanted}, must be {value}, that of the detector {path}")
    few = {name: value for name, value in CONTINUED.items() if given.get(name) is None}
    return replace(settings, weights=str(path), **own, **few)


def fit_model(
    model: keras.Model, settings: Settings, train: tuple, validation: tuple, folder: str | Path
) -> pd.DataFrame:
    """Train the detector, or resume an interrupted training, and keep the best epoch.

    Adam, binary cross-entropy of the logit with balanced class weights, and cosine annealing from `learning_rate` to 0
    over all steps. The best epoch is the first with the highest AUC-PR (average precision) on the validation views, as
    in the paper. Order, augmentation and dropout depend only on seed and epoch, and TensorFlow's deterministic
    operations are switched on (for the whole process; the global seeds are set too), so that the same call gives the
    same numbers even after an interruption. XLA is off, since it does not support deterministic operations.

    A batch that does not fit in memory is computed in parts (`step.plan_step`). Their size is kept in the folder, so
    that a resumed training uses the same. With `mixed_precision`, a copy that computes in float16 is trained
    (`step.in_mixed_precision`); validation and saved model are in full precision.

    Files, all written atomically: `history.csv` after every epoch, `model.keras` after every new best epoch, and in
    `training/` the state needed to resume.

    Args:
        model: From `build_model`. On return, it has the weights of the best epoch.
        settings: The fields in `FIT_SETTINGS` are used.
        train: (pixels (N, H, W), labels (N,)), labels 0 or 1.
        validation: The same for the validation set, of other women.
        folder: The run's folder. An unfinished training with the same settings and data is resumed; after a finished
            one, nothing is trained.

    Returns:
        One row per epoch: `epoch` (from 1), `loss` (on the augmented training views, with dropout), `val_loss`,
        `val_auc_pr`, `val_auc_roc`, `learning_rate` (of the first step of the epoch), `seconds`. Both losses are the
        mean of the mean cross-entropies of the two classes.

    Raises:
        ValueError: Views or labels have the wrong shape, a set lacks a class, or the folder has a training with other
            settings or data.
        FloatingPointError: The training has diverged.
    """
    for name, (pixels, labels) in (("train", train), ("validation", validation)):
        check_pixels(name, pixels, model)
        _check_labels(name, pixels, labels)
    folder, state = Path(folder), Path(folder) / "training"
    state.mkdir(parents=True, exist_ok=True)
    views_at_once = _claim(state / "fit.json", model, settings, train, validation)
    history = _read_history(folder)
    done = len(history)
    if done < settings.epochs:
        keras.utils.set_random_seed(settings.seed)
        tf.config.experimental.enable_op_determinism()
        labels, truth = np.asarray(train[1], np.float32), np.asarray(validation[1], np.float64)
        steps = -(-len(labels) // settings.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        fitted = _compiled(model, keras.optimizers.Adam(schedule), settings, views_at_once)
        if done:
            fitted.load_weights(_checkpoint(state, done))
        weights = {k: len(labels) / (2 * np.sum(labels == k)) for k in (0, 1)}
        validate = _validator(model, validation[0], views_at_once)
        with tqdm(total=steps * settings.epochs, initial=steps * done, desc="training", unit="step") as bar:
            step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())
            for epoch in range(done, settings.epochs):
                start = time.perf_counter()
                _seed_dropout(fitted, settings.seed, epoch)
                data = training_batches(
                    train[0], labels, settings.batch_size, settings.augmentation, settings.seed, epoch
                )
                logs = fitted.fit(data, class_weight=weights, callbacks=[step], shuffle=False, verbose=0).history
                if settings.mixed_precision:
                    model.set_weights(fitted.get_weights())
                logits = validate()
                if not np.isfinite(logits).all():
                    rate = settings.learning_rate
                    raise FloatingPointError(f"epoch {epoch + 1}: the training has diverged at learning_rate {rate:g}")
                row = {
                    "epoch": epoch + 1,
                    "loss": logs["loss"][-1],
                    "val_loss": _balanced_loss(logits, truth),
                    "val_auc_pr": average_precision_score(truth, logits),
                    "val_auc_roc": roc_auc_score(truth, logits),
                    "learning_rate": settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2,
                    "seconds": time.perf_counter() - start,
                }
                if not row["val_auc_pr"] <= history["val_auc_pr"].max():  # NaN before the first epoch
                    with written_whole(folder / "model.keras") as part:
                        model.save(part)
                with written_whole(_checkpoint(state, epoch + 1)) as part:
                    fitted.save_weights(part)
                history = pd.DataFrame([*history.to_dict("records"), row], columns=HISTORY)
                with written_whole(folder / "history.csv") as part:
                    history.to_csv(part, index=False)
                _checkpoint(state, epoch).unlink(missing_ok=True)
                bar.set_postfix(loss=f"{row['loss']:.3f}", val_auc_pr=f"{row['val_auc_pr']:.3f}")
        _checkpoint(state, settings.epochs).unlink(missing_ok=True)
    model.set_weights(load_model(folder / "model.keras").get_weights())
    return history


def _compiled(model: keras.Model, optimizer: Any, settings: Settings, views_at_once: int) -> keras.Model:
    """Return the compiled model to fit: this one, one that shares its weights, or a copy in mixed precision."""
    fitted = model
    if settings.mixed_precision:
        fitted, optimizer = in_mixed_precision(model), keras.optimizers.LossScaleOptimizer(optimizer)
    if views_at_once < settings.batch_size:
        fitted = InParts(fitted.inputs, fitted.outputs)
        fitted.views_at_once = views_at_once
    fitted.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    fitted.optimizer.build(fitted.trainable_variables)
    return fitted


def _check_labels(name: str, pixels: Any, labels: Any) -> None:
    labels = np.asarray(labels)
    if labels.shape != (len(pixels),):
        raise ValueError(f"{name} labels: got shape {labels.shape}, must be ({len(pixels)},), one per view")
    found = sorted(set(labels.tolist()))
    if found != [0, 1]:
        raise ValueError(f"{name} labels: got the values {found}, must be 0 and 1, with both present")


def _claim(path: Path, model: keras.Model, settings: Settings, train: tuple, validation: tuple) -> int:
    """Record which training the folder contains; raise an error if it contains another one.

    Returns:
        Number of views that are computed at once, as when the training was started.
    """
    chosen = asdict(settings)
    ours = {name: chosen[name] for name in FIT_SETTINGS}
    for name, (pixels, labels) in (("train", train), ("validation", validation)):
        middle = np.ascontiguousarray(pixels[:, pixels.shape[1] // 2])
        digest = hashlib.sha256(middle.tobytes() + np.asarray(labels, np.int8).tobytes())
        ours[f"{name} views"] = digest.hexdigest()
    ours = json.loads(json.dumps(ours, default=str))
    if not path.is_file():
        write_json(path, ours | {"views_at_once": plan_step(model, settings).views_at_once})
    theirs = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name in ours if ours[name] != theirs.get(name)]
    if other:
        name = other[0]
        raise ValueError(
            f"folder: {path.parent.parent} has a training with {name} {theirs.get(name)}, got {ours[name]}; "
            "choose another folder"
        )
    return theirs["views_at_once"]


def _read_history(folder: Path) -> pd.DataFrame:
    """Return the finished epochs; none if files needed to resume are missing."""
    path, epochs = folder / "history.csv", 0
    if path.is_file() and (folder / "model.keras").is_file():
        history = pd.read_csv(path, dtype=str).astype(float).astype({"epoch": int})  # exact, to the last digit
        epochs = json.loads((folder / "training" / "fit.json").read_text(encoding="utf-8"))["epochs"]
        if len(history) == epochs or _checkpoint(folder / "training", len(history)).is_file():
            return history
    return pd.DataFrame(columns=HISTORY, dtype=float)


def _checkpoint(state: Path, epoch: int) -> Path:
    return state / f"epoch-{epoch:03d}.weights.h5"


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout masks of an epoch depend only on seed and epoch."""
    for n, layer in enumerate(model.layers):
        if getattr(layer, "seed_generator", None) is not None:
            layer.seed_generator.state.assign(np.random.SeedSequence([seed, epoch, n]).generate_state(2))


def _balanced_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the mean binary cross-entropies of the two classes."""
    losses = np.logaddexp(0, logits) - labels * logits
    return float((losses[labels == 0].mean() + losses[labels == 1].mean()) / 2)


def _validator(model: keras.Model, pixels: Any, views_at_once: int) -> Callable[[], np.ndarray]:
    """Return a function that computes the logits of the views, float64 (N,).

    As for the score (`model.predict_scores`), a logit is the mean of those of the view and its mirror image. Validation
    views are not augmented, so the output of the frozen layers is computed only once, if it fits in memory.
    """
    first = next(i for i, layer in enumerate(model.layers) if layer.trainable_weights)
    cut = model.layers[first - 1].output
    frozen = any(layer.weights for layer in model.layers[:first])
    back, stored = model, None
    if frozen and 2 * 4 * np.prod(cut.shape[1:]) * len(pixels) <= FEATURE_BYTES:
        try:
            front, back = keras.Model(model.inputs[0], cut), keras.Model(cut, model.outputs[0])
        except ValueError:
            pass  # a skip connection crosses the cut
        else:
            stored = [[front.predict_on_batch(part) for part in pair] for pair in _pairs(pixels, views_at_once)]

    def logits() -> np.ndarray:
        pairs = _pairs(pixels, views_at_once) if stored is None else stored
        found = [[back.predict_on_batch(part)[:, 0] for part in pair] for pair in pairs]
        return np.concatenate([(plain + other) / 2 for plain, other in found]).astype(np.float64)

    return logits


def _pairs(pixels: Any, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of views, each with the mirror images of the same views."""
    return ((views, mirrored(views)) for views in batches(pixels, number))
