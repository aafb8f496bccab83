"""The bundled weights, made from nothing but simulated views: a backbone, and a detector for whole views.

Patches, then whole views, teach the network cell by cell where the simulator drew calcified artery, and whether the
picture has any. Real archives have no such cells: what a user trains is taught by the views' labels alone.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils._workers import worker_pool
from bac_utils.dataset import untuned
from bac_utils.pretraining.compositing import Drawings, decorate, draw_pair
from bac_utils.pretraining.patches import CELL, Recipe, pixel_mm, woman_patches, woman_views
from bac_utils.settings import DEMO

HELD_BACK = 8
"""One woman in so many is held back from training."""
PATCH_NETWORK, PATCH_NOTE = "patches.weights.h5", "patches.json"
"""What the patches taught so far, and with which recipe: kept until all is done; a stopped call goes on from there."""
CELL_WEIGHT = 4.0
"""Of a cell with artery in the loss; it is the rarer kind."""
HEATMAP_THRESHOLD = 0.96
"""Th of the detector's heatmap. Of 0.7 to 0.99, higher ones measured lengths better in 48 development views (simulated,
24 women, seed 921, prevalence 1; MLO): rank correlation 0.96 to 0.99, bias +21 to +7 %; from 0.97 on little changes."""
PATCH_OTHERS, VIEW_OTHERS = 0.8, 3.0
"""How many things that are no arteries are drawn into a patch and into a view, on average."""
VIEW_CELLS = 10.0
"""Of the cells' loss against the view's, in whole views: nearly all their cells are empty and easy, and the mean over
cells alone would hardly count."""


def pretrain(output: Path | str, recipe: Recipe = Recipe(), workers: int = 2) -> dict:  # noqa: B008 (frozen)
    """Make the bundled weights: `output`, to start from, and beside it `detector.keras` with `detector.json`.

    Both have learnt from the same patches and then from whole views, `output` from views at half the matrix (768 x 384,
    the demo's), the detector at the full one. Their logits are scaled on women held back (Platt), so that a score of
    0.5 means even odds where half of the views have BAC. A call that was stopped goes on after the last finished one of
    `recipe.epochs`, with other random numbers.

    Args:
        output: File of the first, `.weights.h5`.
        recipe: Sizes and numbers.
        workers: Processes that simulate.

    Returns:
        What was measured on the women held back, as written to `detector.json`.

    Raises:
        ValueError: `output` does not end in `.weights.h5`.
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
    patch_auc = _learn_from_patches(network, output.parent, recipe, workers)

    last = recipe.women + recipe.view_women
    found = _gather(partial(woman_views, recipe=recipe), range(recipe.women, last), workers, "views")
    measured = {}
    for name, shape in (("coarse", tuple(n // 2 for n in recipe.view_shape)), ("fine", recipe.view_shape)):
        detector = build_model(replace(settings, input_shape=shape, trainable_convolutions=5))
        detector.set_weights(network.get_weights())
        views = found if name == "fine" else [_halve(*pair) for pair in found]
        side = min(recipe.view_drawing_pixels * shape[0] // recipe.view_shape[0], *shape) // CELL * CELL
        drawings = _draw(recipe.view_drawings, side, (pixel_mm(shape),), VIEW_OTHERS, workers)
        logits, labels = _train_views(detector, views, drawings, recipe)
        calibrated = _calibrate(detector, logits, labels)
        measured[name] = float(roc_auc_score(labels, logits))
        if name == "coarse":
            save_weights(detector, output)
        else:
            detector.save(output.with_name("detector.keras"))
    point = {
        "threshold": 0.5,
        "chosen_on": "fixed: the logit is calibrated on simulated women held back" if calibrated else "fixed",
        "heatmap": "cells",
        "heatmap_threshold": HEATMAP_THRESHOLD,
        "input_shape": list(recipe.view_shape),
        "pixel_mm": pixel_mm(recipe.view_shape),
        "made_with": asdict(recipe),
        "held_back": {
            "patch_auc_roc": patch_auc,
            "view_auc_roc": measured["fine"],
            "coarse_view_auc_roc": measured["coarse"],
            "views": len(labels),
        },
    }
    _write_json(output.with_name("detector.json"), point)
    for name in (PATCH_NOTE, PATCH_NETWORK):
        (output.parent / name).unlink()
    return point["held_back"]


def _learn_from_patches(network: Any, folder: Path, recipe: Recipe, workers: int) -> float:
    """Teach the network what patches can teach, or load what they taught before; return the AUC-ROC held back."""
    weights, note = folder / PATCH_NETWORK, folder / PATCH_NOTE
    ours = json.loads(json.dumps({n: v for n, v in asdict(recipe).items() if not n.startswith("view_")}))
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if known.get("made_with") != ours:
        known = {"made_with": ours, "cycles": 0}
    if known["cycles"]:
        network.load_weights(weights)
    if known["cycles"] < len(recipe.epochs):
        found = _gather(partial(woman_patches, recipe=recipe), range(recipe.women), workers, "patches")
        scales = tuple(pixel_mm((height, height // 2)) for height in recipe.heights)
        drawings = _draw(recipe.drawings, recipe.patch, scales, PATCH_OTHERS, workers)
        for cycle, patch_auc in _train_patches(network, found, drawings, recipe, known["cycles"]):
            note.unlink(missing_ok=True)
            network.save_weights(weights)
            known |= {"cycles": cycle + 1, "auc_roc": patch_auc}
            _write_json(note, known)
    return known["auc_roc"]


def _write_json(path: Path, content: dict) -> None:
    """Write a JSON file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def _gather(job: Callable, numbers: range, workers: int, what: str, chunk: int = 1) -> list:
    """Run a job for each number in worker processes, `chunk` at a time, in order, with a progress bar."""
    with worker_pool(workers) as pool:
        return list(tqdm(pool.map(job, numbers, chunksize=chunk), total=len(numbers), desc=what))


def _draw(number: int, side: int, pixels_mm: tuple[float, ...], mean_others: float, workers: int) -> Drawings:
    """Make so many drawings of each kind."""
    pairs = _gather(partial(draw_pair, side=side, pixels_mm=pixels_mm), range(number), workers, "drawings", 32)
    return Drawings(*(np.stack(parts) for parts in zip(*pairs, strict=True)), mean_others)


def _halve(views: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring prepared views and their cells to half the rows and columns, float16 and int8.

    A cell has artery if one of its four has, and no opinion if one of them has none and no other has artery.
    """
    shape = (len(views), views.shape[1] // 2, 2, views.shape[2] // 2, 2)
    breast = (views != 0).reshape(shape).mean(axis=(2, 4)) > 0.5
    small = np.where(breast, views.astype(np.float32).reshape(shape).mean(axis=(2, 4)), 0)
    for view, inside in zip(small, breast, strict=True):
        view[inside] = (view[inside] - view[inside].mean()) / max(float(view[inside].std()), 1e-6)
    quarters = cells.reshape(len(cells), cells.shape[1] // 2, 2, cells.shape[2] // 2, 2)
    artery, unsure = (quarters == 1).any(axis=(2, 4)), (quarters == -1).any(axis=(2, 4))
    return small.astype(np.float16), np.where(artery, 1, np.where(unsure, -1, 0)).astype(np.int8)


def _divide(found: list, drawings: Drawings, seed: int) -> tuple:
    """Join what the women gave.

    Returns:
        Pixels and cells to train on, and the drawings for them; pixels and cells held back, with other drawings in.
    """
    kept = [pair for k, pair in enumerate(found) if k % HELD_BACK]
    divided = tuple(np.concatenate([pair[k] for pair in group]) for group in (kept, found[::HELD_BACK]) for k in (0, 1))
    if not all((cells == 1).any() and (cells == 0).all(axis=(1, 2)).any() for cells in divided[1::2]):
        raise ValueError(f"women: got {len(found)}, must be more: a set lacks one of the two classes")
    few = max(len(drawings.arteries) // HELD_BACK, 1)
    rng, pixels, cells = np.random.default_rng([seed, 1]), [], []
    for pair in zip(*divided[2:], strict=True):
        drawn = decorate(*pair, drawings.part(None, few), rng)
        pixels.append(drawn[0].astype(np.float16))
        cells.append(drawn[1])
    return divided[0], divided[1], drawings.part(few, None), np.stack(pixels), np.stack(cells)


def _vary(pixels: Any, cells: Any) -> tuple:
    """Flip a picture with its cells, change its contrast and brightness, add noise; outside the breast it stays 0."""
    import tensorflow as tf

    pixels = pixels[..., None]
    for axis in (0, 1):
        if tf.random.uniform([]) < 0.5:
            pixels, cells = tf.reverse(pixels, [axis]), tf.reverse(cells, [axis])
    inside = tf.cast(pixels != 0, tf.float32)
    pixels = pixels * tf.exp(tf.random.uniform([], -0.7, 0.4)) + tf.random.uniform([], -0.4, 0.4)  # 0.5 to 1.5
    pixels += tf.random.normal(tf.shape(pixels)) * tf.random.uniform([], 0, 0.12)
    return pixels * inside, cells


def _batches(pixels: np.ndarray, cells: np.ndarray, drawings: Drawings, size: int, seed: int, targets: Callable) -> Any:
    """Return shuffled batches of float16 pictures (N, H, W), drawn into and varied, and what `targets` makes of cells.

    The drawings differ from epoch to epoch.
    """
    import tensorflow as tf

    rng = np.random.default_rng([seed, 2])

    def picture(k: Any) -> tuple:
        x, y = tf.numpy_function(lambda i: decorate(pixels[i], cells[i], drawings, rng), [k], (tf.float32, tf.int8))
        return tf.ensure_shape(x, pixels.shape[1:]), tf.ensure_shape(y, cells.shape[1:])

    data = tf.data.Dataset.range(len(cells)).shuffle(len(cells), seed=seed).map(picture)
    data = data.map(_vary, num_parallel_calls=2)
    return untuned(data.batch(size).map(lambda x, y: (x, *targets(y))).prefetch(2))


def _cell_targets(cells: Any) -> tuple[tuple, tuple]:
    """Return the targets (cells, any cell) of a batch and their weights: no opinion weighs 0, artery four times."""
    import tensorflow as tf

    artery = tf.cast(cells == 1, tf.float32)[..., None]
    weight = tf.where(cells == 1, CELL_WEIGHT, tf.where(cells == 0, 1.0, 0.0))
    some, none = tf.reduce_any(cells == 1, axis=(1, 2)), tf.reduce_all(cells == 0, axis=(1, 2))
    return (artery, tf.cast(some, tf.float32)[:, None]), (weight, tf.cast(some | none, tf.float32))


def _with_cells(model: Any) -> Any:
    """Return the same network with two outputs, each cell's logit and the picture's."""
    import keras

    return keras.Model(model.inputs, [model.get_layer("cells").output, model.outputs[0]])


def _fit(
    model: Any, data: Any, epochs: int, rate: float, check: Callable, cells: float = 1.0, anneal: bool = True
) -> None:
    """Fit, by default with cosine annealing, and print what `check` gives after each epoch.

    `cells` is the weight of the cells' loss; that of the picture's is 1.
    """
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(rate, len(data) * epochs) if anneal else rate
    losses = [keras.losses.BinaryCrossentropy(from_logits=True) for _ in model.outputs]
    model.compile(keras.optimizers.Adam(schedule), losses, loss_weights=[cells, 1.0])
    for epoch in range(epochs):
        loss = model.fit(data, verbose=0, shuffle=False).history["loss"][0]
        print(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}, held back: AUC-ROC {check():.4f}", flush=True)


def _checker(model: Any, held: np.ndarray, cells: np.ndarray, size: int) -> tuple[Callable, Callable, np.ndarray]:
    """Return functions that give the AUC-ROC and the logits of what was held back, and its labels.

    Pictures with a cell of no opinion and none with artery do not count.
    """
    some = (cells == 1).any(axis=(1, 2))
    sure = np.flatnonzero(some | (cells == 0).all(axis=(1, 2)))

    def logits() -> np.ndarray:
        parts = (held[sure[k : k + size], ..., None].astype(np.float32) for k in range(0, len(sure), size))
        return np.concatenate([model.predict_on_batch(part)[1][:, 0] for part in parts])

    return lambda: float(roc_auc_score(some[sure], logits())), logits, some[sure].astype(int)


def _train_patches(network: Any, found: list, drawings: Drawings, recipe: Recipe, cycle: int) -> Iterator[tuple]:
    """Train all layers on patches from a cycle on; after each give its number and the AUC-ROC on those held back.

    The first block, half of the work, learns in the first epochs only.
    """
    pixels, cells, drawings, held, truth = _divide(found, drawings, recipe.seed)
    both = _with_cells(network)
    check, _, _ = _checker(both, held, truth, 64)
    share = (cells == 1).any(axis=(1, 2)).mean()
    print(f"{len(cells)} patches, {share:.0%} with artery; {len(truth)} held back", flush=True)
    for k in range(cycle, len(recipe.epochs)):
        data = _batches(pixels, cells, drawings, 32, recipe.seed + k, _cell_targets)
        if k == 0:
            _fit(both, data, recipe.first_epochs, 1e-3, check, anneal=False)
        for layer in network.layers:
            if layer.name.startswith("block1"):
                layer.trainable = False
        _fit(both, data, recipe.epochs[k], 1e-3, check)
        yield k, check()


def _train_views(detector: Any, found: list, drawings: Drawings, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Fine-tune on whole views. Return logits and labels of the views held back."""
    pixels, cells, drawings, held, truth = _divide(found, drawings, recipe.seed)
    both = _with_cells(detector)
    check, logits, labels = _checker(both, held, truth, 4)
    share = (cells == 1).any(axis=(1, 2)).mean()
    print(f"{len(cells)} views, {share:.0%} BAC+; {len(labels)} held back, before: {check():.4f}", flush=True)
    data = _batches(pixels, cells, drawings, 4, recipe.seed, _cell_targets)
    _fit(both, data, recipe.view_epochs, 3e-4, check, cells=VIEW_CELLS)
    return logits(), labels


def _calibrate(detector: Any, logits: np.ndarray, labels: np.ndarray) -> bool:
    """Scale the last layer so that the logit is the log odds where half of the views have BAC (Platt 1999).

    Return whether it was done: a detector that ranks the views the wrong way round is left as it is.
    """
    fit = LogisticRegression(class_weight="balanced", C=1e3).fit(logits[:, None], labels)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:
        return False
    kernel, bias = detector.get_layer("logit").get_weights()
    detector.get_layer("logit").set_weights([kernel * slope, bias * slope + offset])
    return True
