"""Training of the bundled weights on simulated views only: a backbone, and a detector for whole views.

The network is trained on patches and then on whole views, with two targets: the local labels, which state where the
simulator placed calcified arteries, and whether the image shows any. Real archives have no local labels: a user's own
model is trained on the labels of the views alone.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bac_utils._files import file_digest, write_json
from bac_utils._workers import run_jobs
from bac_utils.dataset import untuned
from bac_utils.pretraining.compositing import SyntheticLesions, add_lesions, draw_pair
from bac_utils.pretraining.patches import STRIDE, Recipe, augment_pair, pixel_mm, woman_patches, woman_views
from bac_utils.settings import DEMO

HELD_OUT = 8
"""One woman in eight is held out."""
PATCH_NETWORK, PATCH_NOTE = "patches.weights.h5", "patches.json"
"""Checkpoint of the training on patches and its recipe, kept until all is done; a stopped call resumes from it."""
ARTERY_WEIGHT = 4.0
"""Weight in the loss of a local label with artery, the rarer class."""
HEATMAP_THRESHOLD = 0.96
"""Th of the detector's heatmap. Between 0.7 and 0.99, higher values gave better lengths in 48 development views
(simulated, MLO, 24 women, seed 921, prevalence 1): rank correlation 0.96 to 0.99, bias +21 to +7 %; at 0.97 and above
there was little change."""
PATCH_MIMICS, VIEW_MIMICS = 0.8, 3.0
"""Mean number of mimics added to a patch and to a view."""
LOCAL_LOSS_WEIGHT = 10.0
"""Weight of the loss of the local logits relative to that of the view's logit, in whole views. Nearly all local labels
of a view are negative and easy, so that their mean loss would otherwise hardly count."""


def pretrain(output: Path | str, recipe: Recipe = Recipe(), workers: int = 2) -> dict:  # noqa: B008 (frozen)
    """Train the bundled weights: the backbone `output` and, in the same folder, `detector.keras` with `detector.json`.

    Both are trained on the same patches and then on whole views: the backbone at half the rows and columns (768 x 384,
    as in the demo), the detector at full size. Their logits are calibrated on held-out women (Platt scaling), so that a
    score of 0.5 means even odds if half of the views have BAC. A stopped call resumes after the last finished cycle of
    `recipe.epochs`, with different random numbers.

    Args:
        output: File for the backbone's weights, ending in `.weights.h5`.
        recipe: Sizes and numbers.
        workers: Number of processes for the simulation.

    Returns:
        The results on the held-out women, as written to `detector.json`.

    Raises:
        ValueError: If `output` does not end in `.weights.h5`, or the women are too few for both sets to have both
            classes.
    """
    output = Path(output)
    if not output.name.endswith(".weights.h5"):
        raise ValueError(f"output: got {output.name}, must end in .weights.h5")
    output.parent.mkdir(parents=True, exist_ok=True)
    from bac_utils.backbones import save_weights
    from bac_utils.model import build_model

    settings = replace(
        DEMO, seed=recipe.seed, input_shape=(recipe.patch, recipe.patch), weights="none", trainable_convolutions=13
    )
    network = build_model(settings)
    patch_auc = _train_on_patches(network, output.parent, recipe, workers)

    last = recipe.women + recipe.view_women
    found = run_jobs(partial(woman_views, recipe=recipe), range(recipe.women, last), workers, "views")
    measured = {}
    for name, shape in (("coarse", tuple(n // 2 for n in recipe.view_shape)), ("fine", recipe.view_shape)):
        detector = build_model(replace(settings, input_shape=shape, trainable_convolutions=5))
        detector.set_weights(network.get_weights())
        views = found if name == "fine" else [_halve(*pair) for pair in found]
        side = min(recipe.view_lesion_pixels * shape[0] // recipe.view_shape[0], *shape) // STRIDE * STRIDE
        lesions = _draw_lesions(recipe.view_lesions, side, (pixel_mm(shape),), VIEW_MIMICS, workers)
        logits, labels = _train_views(detector, views, lesions, recipe)
        calibrated = _calibrate(detector, logits, labels)
        measured[name] = float(roc_auc_score(labels, logits))
        if name == "coarse":
            save_weights(detector, output)
        else:
            detector.save(output.with_name("detector.keras"))
    point = {
        "threshold": 0.5,
        "chosen_on": "fixed: the logit is calibrated on simulated women held back" if calibrated else "fixed",
        "heatmap": "local-logits",
        "heatmap_threshold": HEATMAP_THRESHOLD,
        "input_shape": list(recipe.view_shape),
        "pixel_mm": pixel_mm(recipe.view_shape),
        "model_sha256": file_digest(output.with_name("detector.keras")),
        "made_with": asdict(recipe),
        "held_back": {
            "patch_auc_roc": patch_auc,
            "view_auc_roc": measured["fine"],
            "coarse_view_auc_roc": measured["coarse"],
            "views": len(labels),
        },
    }
    write_json(output.with_name("detector.json"), point)
    for name in (PATCH_NOTE, PATCH_NETWORK):
        (output.parent / name).unlink()
    return point["held_back"]


def _train_on_patches(network: Any, folder: Path, recipe: Recipe, workers: int) -> float:
    """Train the network on patches, starting from the checkpoint if there is one; return the held-out AUC-ROC."""
    weights, note = folder / PATCH_NETWORK, folder / PATCH_NOTE
    ours = json.loads(json.dumps({n: v for n, v in asdict(recipe).items() if not n.startswith("view_")}))
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if known.get("made_with") != ours:
        known = {"made_with": ours, "cycles": 0}
    if known["cycles"]:
        network.load_weights(weights)
    if known["cycles"] < len(recipe.epochs):
        found = run_jobs(partial(woman_patches, recipe=recipe), range(recipe.women), workers, "patches")
        scales = tuple(pixel_mm((height, height // 2)) for height in recipe.heights)
        lesions = _draw_lesions(recipe.lesions, recipe.patch, scales, PATCH_MIMICS, workers)
        for cycle, patch_auc in _train_patches(network, found, lesions, recipe, known["cycles"]):
            note.unlink(missing_ok=True)
            network.save_weights(weights)
            known |= {"cycles": cycle + 1, "auc_roc": patch_auc}
            write_json(note, known)
    return known["auc_roc"]


def _draw_lesions(
    number: int, side: int, pixels_mm: tuple[float, ...], mean_mimics: float, workers: int
) -> SyntheticLesions:
    """Draw the given number of lesions of each kind."""
    pairs = run_jobs(partial(draw_pair, side=side, pixels_mm=pixels_mm), range(number), workers, "lesions", 32)
    return SyntheticLesions(*(np.stack(parts) for parts in zip(*pairs, strict=True)), mean_mimics)


def _halve(views: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce prepared views and their local labels to half the rows and columns, float16 and int8.

    A label is positive if one of its four is positive; otherwise it is undecided if one of them is undecided.
    """
    shape = (len(views), views.shape[1] // 2, 2, views.shape[2] // 2, 2)
    breast = (views != 0).reshape(shape).mean(axis=(2, 4)) > 0.5
    small = np.where(breast, views.astype(np.float32).reshape(shape).mean(axis=(2, 4)), 0)
    for view, inside in zip(small, breast, strict=True):
        view[inside] = (view[inside] - view[inside].mean()) / max(float(view[inside].std()), 1e-6)
    quarters = labels.reshape(len(labels), labels.shape[1] // 2, 2, labels.shape[2] // 2, 2)
    artery, undecided = (quarters == 1).any(axis=(2, 4)), (quarters == -1).any(axis=(2, 4))
    return small.astype(np.float16), np.where(artery, 1, np.where(undecided, -1, 0)).astype(np.int8)


def _split(found: list, lesions: SyntheticLesions, seed: int) -> tuple:
    """Split the women's images, with their local labels, and the lesions into a training and a held-out set.

    Returns:
        Pixels, local labels and lesions for training; held-out pixels and local labels, with other lesions added.
    """
    kept, held_out = [pair for k, pair in enumerate(found) if k % HELD_OUT], found[::HELD_OUT]
    pixels, labels, plain, plain_labels = (
        np.concatenate([pair[k] for pair in group]) for group in (kept, held_out) for k in (0, 1)
    )
    if not all((part == 1).any() and (part == 0).all(axis=(1, 2)).any() for part in (labels, plain_labels)):
        raise ValueError(f"women: got {len(found)}, must be more: a set lacks one of the two classes")
    few = max(len(lesions.arteries) // HELD_OUT, 1)
    rng = np.random.default_rng([seed, 1])
    held = [add_lesions(*pair, lesions.part(None, few), rng) for pair in zip(plain, plain_labels, strict=True)]
    held_pixels = np.stack([image.astype(np.float16) for image, _ in held])
    return pixels, labels, lesions.part(few, None), held_pixels, np.stack([local for _, local in held])


def _batches(
    pixels: np.ndarray, labels: np.ndarray, lesions: SyntheticLesions, size: int, seed: int, targets: Callable
) -> Any:
    """Return shuffled batches of images (N, H, W) with lesions added and augmented, and `targets` of their labels.

    The lesions differ from epoch to epoch.
    """
    import tensorflow as tf

    rng = np.random.default_rng([seed, 2])

    def image(k: Any) -> tuple:
        x, y = tf.numpy_function(lambda i: add_lesions(pixels[i], labels[i], lesions, rng), [k], (tf.float32, tf.int8))
        return tf.ensure_shape(x, pixels.shape[1:]), tf.ensure_shape(y, labels.shape[1:])

    data = tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed=seed).map(image)
    data = data.map(augment_pair, num_parallel_calls=2)
    return untuned(data.batch(size).map(lambda x, y: (x, *targets(y))).prefetch(2))


def _targets(labels: Any) -> tuple[tuple, tuple]:
    """Return the targets of a batch, local and for the whole image, and their weights; undecided ones weigh 0."""
    import tensorflow as tf

    artery = tf.cast(labels == 1, tf.float32)[..., None]
    weight = tf.where(labels == 1, ARTERY_WEIGHT, tf.where(labels == 0, 1.0, 0.0))
    some, none = tf.reduce_any(labels == 1, axis=(1, 2)), tf.reduce_all(labels == 0, axis=(1, 2))
    return (artery, tf.cast(some, tf.float32)[:, None]), (weight, tf.cast(some | none, tf.float32))


def _with_local_logits(model: Any) -> Any:
    """Return the same network with two outputs: the local logits and the logit of the image."""
    import keras

    return keras.Model(model.inputs, [model.get_layer("cells").output, model.outputs[0]])


def _fit(
    model: Any, data: Any, epochs: int, rate: float, check: Callable, local_weight: float = 1.0, anneal: bool = True
) -> None:
    """Fit, by default with cosine annealing, and print the AUC-ROC returned by `check` after each epoch.

    `local_weight` is the weight of the loss of the local logits; that of the image's logit is 1.
    """
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(rate, len(data) * epochs) if anneal else rate
    losses = [keras.losses.BinaryCrossentropy(from_logits=True) for _ in model.outputs]
    model.compile(keras.optimizers.Adam(schedule), losses, loss_weights=[local_weight, 1.0])
    for epoch in range(epochs):
        loss = model.fit(data, verbose=0, shuffle=False).history["loss"][0]
        print(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}, held-out AUC-ROC {check():.4f}", flush=True)


def _checker(model: Any, held: np.ndarray, local: np.ndarray, size: int) -> tuple[Callable, Callable, np.ndarray]:
    """Return a function for the AUC-ROC of held-out images, one for their logits, and their labels (0 or 1).

    Images with undecided and without positive local labels are left out.
    """
    some = (local == 1).any(axis=(1, 2))
    sure = np.flatnonzero(some | (local == 0).all(axis=(1, 2)))

    def logits() -> np.ndarray:
        parts = (held[sure[k : k + size], ..., None].astype(np.float32) for k in range(0, len(sure), size))
        return np.concatenate([model.predict_on_batch(part)[1][:, 0] for part in parts])

    return lambda: float(roc_auc_score(some[sure], logits())), logits, some[sure].astype(int)


def _train_patches(network: Any, found: list, lesions: SyntheticLesions, recipe: Recipe, cycle: int) -> Iterator[tuple]:
    """Train on patches, starting with the given cycle; yield the number and held-out AUC-ROC of each finished cycle.

    The first block, half of the computation, is trained in the first epochs only.
    """
    pixels, labels, lesions, held, held_labels = _split(found, lesions, recipe.seed)
    both = _with_local_logits(network)
    check, _, _ = _checker(both, held, held_labels, 64)
    share = (labels == 1).any(axis=(1, 2)).mean()
    print(f"{len(labels)} patches, {share:.0%} with artery; {len(held_labels)} held out", flush=True)
    for k in range(cycle, len(recipe.epochs)):
        data = _batches(pixels, labels, lesions, 32, recipe.seed + k, _targets)
        if k == 0:
            _fit(both, data, recipe.first_epochs, 1e-3, check, anneal=False)
        for layer in network.layers:
            if layer.name.startswith("block1"):
                layer.trainable = False
        _fit(both, data, recipe.epochs[k], 1e-3, check)
        yield k, check()


def _train_views(
    detector: Any, found: list, lesions: SyntheticLesions, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """Fine-tune on whole views; return the logits and labels of the held-out views."""
    pixels, local, lesions, held, held_local = _split(found, lesions, recipe.seed)
    both = _with_local_logits(detector)
    check, logits, labels = _checker(both, held, held_local, 4)
    share = (local == 1).any(axis=(1, 2)).mean()
    print(f"{len(local)} views, {share:.0%} BAC+; {len(labels)} held out, AUC-ROC before: {check():.4f}", flush=True)
    data = _batches(pixels, local, lesions, 4, recipe.seed, _targets)
    _fit(both, data, recipe.view_epochs, 3e-4, check, local_weight=LOCAL_LOSS_WEIGHT)
    return logits(), labels


def _calibrate(detector: Any, logits: np.ndarray, labels: np.ndarray) -> bool:
    """Scale the last layer so that the logit is the log odds if half of the views have BAC (Platt 1999).

    Returns whether it was done: a detector that ranks the views in the wrong order is left unchanged.
    """
    fit = LogisticRegression(class_weight="balanced", C=1e3).fit(logits[:, None], labels)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:
        return False
    kernel, bias = detector.get_layer("logit").get_weights()
    detector.get_layer("logit").set_weights([kernel * slope, bias * slope + offset])
    return True
