"""Training of the bundled weights on simulated views only: a backbone, and a detector for whole views.

The network is trained on patches and then on whole views, with two targets: the local labels, which state where
calcified arteries lie, and whether the image shows any. Real archives have no local labels: a user's own model is
trained on the labels of the views alone.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from bac_utils._files import file_digest, has_content, is_unfinished, read_json, refuse_links, write_json, written_whole
from bac_utils._workers import run_jobs
from bac_utils.detection import ScoreCurve, threshold_by_rule
from bac_utils.pretraining.batches import stored_batches
from bac_utils.pretraining.compositing import SyntheticLesions, draw_pair
from bac_utils.pretraining.fitting import arrays, auc_roc, example, fit, held_out_logits, precision, split, with_lesions
from bac_utils.pretraining.patches import Recipe, coarser, pixel_mm, woman_patches, woman_views
from bac_utils.settings import DEMO
from bac_utils.statistics import ScoreSpread

CHECKPOINTS = "pretraining"
"""Folder of the checkpoints, beside the output, kept until all is done; a stopped call resumes from them."""
HEATMAP_THRESHOLD = 0.85
"""Th of the detector's heatmap, chosen with `benchmarks/heatmap_threshold.py --women 96 --partly 144` on 192 simulated
views (MLO, seed 921) and 144 vessels calcified in part."""
PATCH_MIMICS, VIEW_MIMICS = 1.2, 4.0
"""Mean number of mimics added to a patch and to a view."""
PATCH_RATE, VIEW_RATE = 1e-3, 3e-4
"""Initial learning rates of Adam."""
LOCAL_LOSS_WEIGHT = 10.0
"""Weight of the loss of the local logits relative to that of the view's logit, in whole views. Nearly all local labels
of a view are negative and easy, so that their mean loss would otherwise hardly count."""
PREVALENCE = 0.12
"""Share of views with BAC for which the scores are calibrated: about that of women in screening (Hendriks et al.,
Atherosclerosis 239:11, 2015: around 12.7 %)."""
CALIBRATION_DRAWS = 4
"""Each held-out view is scored this many times for the calibration, with other lesions."""
SENSITIVITY, SPECIFICITY = 0.95, 0.95
"""Shares of held-out views that the operating points `high-sensitivity` and `specificity-95` classify correctly."""


def pretrain(output: Path | str, recipe: Recipe = Recipe(), workers: int = 2) -> dict:  # noqa: B008 (frozen)
    """Train the bundled weights: the backbone `output` and, in the same folder, `detector.keras` with `detector.json`.

    Both share their convolutions, start from `structures.weights.h5` in the same folder, and are trained together on
    patches. Then each is trained on whole views: the backbone at half the rows and columns (768 x 384, as in the demo),
    the detector at full size. Their logits are calibrated on held-out women (Platt scaling) for a prevalence of
    `PREVALENCE`: a score of 0.5 means even odds at that prevalence. At the detection threshold, `SPECIFICITY` of the
    held-out BAC- views, which contain many look-alikes, are classified correctly. A stopped call resumes after the last
    finished epoch, with different random numbers.

    Args:
        output: File for the backbone's weights, ending in `.weights.h5`.
        recipe: Sizes and numbers.
        workers: Number of processes for the simulation and for the batches; 0 computes in this one.

    Returns:
        The results on the held-out women, as written to `detector.json`.

    Raises:
        ValueError: If `output` does not end in `.weights.h5`, or the women are too few for both sets to have both
            classes.
        FileNotFoundError: `structures.weights.h5` is missing.
    """
    output = Path(output)
    if not output.name.endswith(".weights.h5"):
        raise ValueError(f"output: got {output.name}, must end in .weights.h5")
    structures = output.with_name("structures.weights.h5")
    if not structures.is_file():
        raise FileNotFoundError(f"output: got {output}, must lie beside structures.weights.h5, which is missing")
    from bac_utils.backbones import save_weights
    from bac_utils.model import build_model
    from bac_utils.pretraining.network import add_decoder

    kept = _checkpoints(output.parent / CHECKPOINTS, recipe, structures)
    settings = replace(
        DEMO, seed=recipe.seed, input_shape=(recipe.patch, recipe.patch), weights=str(structures),
        pretrained_head=False, trainable_convolutions=13,
    )  # fmt: skip
    with precision(recipe.policy):
        backbone = build_model(settings)
        detector = add_decoder(backbone)
        patch_auc = _train_on_patches(backbone, detector, kept, recipe, workers)

    last = recipe.women + recipe.view_women
    views = run_jobs(partial(woman_views, recipe=recipe), range(recipe.women, last), workers, "views")
    lesions = _draw_lesions(recipe.view_lesions, recipe.view_lesion_pixels, recipe.view_shape[:1], VIEW_MIMICS, workers)
    whole = replace(settings, input_shape=recipe.view_shape)
    fine, *found = _train_on_views(
        lambda: add_decoder(build_model(whole)), detector, views, lesions, recipe, kept / "detector", workers
    )
    _calibrate(fine, *found)
    _save(fine.save, output.with_name("detector.keras"))

    half = tuple(n // 2 for n in recipe.view_shape)
    halved = [_halve(*pair) for pair in views]
    lesions = _draw_lesions(recipe.view_lesions, recipe.view_lesion_pixels // 2, half[:1], VIEW_MIMICS, workers)
    small = replace(settings, input_shape=half)
    coarse, *coarse_found = _train_on_views(
        lambda: build_model(small), backbone, halved, lesions, recipe, kept / "backbone", workers, 1
    )
    _calibrate(coarse, *coarse_found)
    _save(partial(save_weights, coarse), output)

    measured = {
        "patch_auc_roc": patch_auc,
        "view_auc_roc": auc_roc(*found),
        "coarse_view_auc_roc": auc_roc(*coarse_found),
        "views": len(found[0]),
    }
    point = _operating_point(*found) | {
        "input_shape": list(recipe.view_shape),
        "pixel_mm": pixel_mm(recipe.view_shape),
        "model_sha256": file_digest(output.with_name("detector.keras")),
        "made_with": asdict(recipe),
        "held_back": measured,
    }
    write_json(output.with_name("detector.json"), point)
    shutil.rmtree(kept)
    return measured


def _checkpoints(folder: Path, recipe: Recipe, structures: Path) -> Path:
    """Return the folder of the checkpoints; those of another recipe or another start are removed.

    Raises:
        FileExistsError: The folder contains something other than checkpoints.
        ValueError: It contains links.
    """
    refuse_links(folder)
    note = folder / "recipe.json"
    ours = json.loads(json.dumps(asdict(recipe) | {"structures_sha256": file_digest(structures)}))
    if not note.is_file() and folder.exists() and not (folder.is_dir() and all(map(is_unfinished, folder.iterdir()))):
        raise FileExistsError(f"output: got a folder with {folder}, must not contain this name: choose another folder")
    if not has_content(note) or read_json(note) != ours:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        write_json(note, ours)
    return folder


def _save(save: Callable[[Path], Any], path: Path) -> None:
    """Write a file of weights atomically."""
    with written_whole(path) as part:
        save(part)


def _train_on_patches(backbone: Any, detector: Any, kept: Path, recipe: Recipe, workers: int) -> float:
    """Train both networks on patches; return the detector's AUC-ROC on held-out patches.

    The first block, half of the computation, is trained in the first epochs only.
    """
    import keras

    from bac_utils.pretraining.network import coarse_head, with_local_logits

    deepest = backbone.get_layer("block5_conv3").output
    fine = with_local_logits(detector).outputs
    both = keras.Model(backbone.inputs[0], [*fine, *coarse_head(backbone)(deepest)])
    note, last = kept / "patches.json", kept / f"patches-{len(recipe.epochs)}.weights.h5"
    if has_content(note):
        both.load_weights(last)
        return read_json(note)["auc_roc"]
    found = run_jobs(partial(woman_patches, recipe=recipe), range(recipe.women), workers, "patches")
    lesions = _draw_lesions(recipe.lesions, recipe.patch, recipe.heights, PATCH_MIMICS, workers)
    *ours, held, held_labels, others = split(found, lesions)
    share = (ours[1] == 1).any(axis=(1, 2)).mean()
    print(f"{len(ours[1])} patches, {share:.0%} with artery; {len(held)} held out", flush=True)
    make, first = partial(example, mean_mimics=PATCH_MIMICS, levels=(0, 1)), kept / "patches-0.weights.h5"
    if not has_content(first):
        with stored_batches(kept, arrays(*ours), make, recipe.batch, recipe.seed) as data:
            fit(both, data, recipe.first_epochs, PATCH_RATE, kept / "patches-0", workers, anneal=False)
        _save(both.save_weights, first)
    both.load_weights(first)
    for layer in both.layers:
        if layer.name.startswith("block1"):
            layer.trainable = False
    for cycle, epochs in enumerate(recipe.epochs, 1):
        done = kept / f"patches-{cycle}.weights.h5"
        if not has_content(done):
            with stored_batches(kept, arrays(*ours), make, recipe.batch, recipe.seed + cycle) as data:
                fit(both, data, epochs, PATCH_RATE, kept / f"patches-{cycle}", workers)
            _save(both.save_weights, done)
        both.load_weights(done)
    logits = held_out_logits(detector, *with_lesions(held, held_labels, others, [recipe.seed, 1]), 16)
    write_json(note, {"auc_roc": auc_roc(*logits)})
    return auc_roc(*logits)


def _train_on_views(
    build: Callable[[], Any],
    start: Any,
    views: list,
    lesions: SyntheticLesions,
    recipe: Recipe,
    kept: Path,
    workers: int,
    level: int = 0,
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Fine-tune the last blocks on whole views.

    Args:
        build: Builds the network for whole views.
        start: A network of the same layers, whose weights are the start.
        views: One pair per woman: views and their local labels.
        lesions: Synthetic lesions.
        recipe: Sizes and numbers.
        kept: Name of the checkpoints, without suffix.
        workers: Number of processes that make the batches.
        level: How often the local labels are made coarser.

    Returns:
        The network, in float32, and the logits and labels of held-out views with lesions.
    """
    from bac_utils.pretraining.network import with_local_logits

    *ours, held, held_labels, others = split(views, lesions)
    weights = kept.with_suffix(".weights.h5")
    if not has_content(weights):
        share = (ours[1] == 1).any(axis=(1, 2)).mean()
        print(f"{len(ours[1])} views, {share:.0%} BAC+; {len(held)} held out", flush=True)
        with precision(recipe.policy):
            trained = build()
        trained.set_weights(start.get_weights())
        for layer in trained.layers:
            if layer.name.startswith(("block1", "block2", "block3")):
                layer.trainable = False
        make, both = partial(example, mean_mimics=VIEW_MIMICS, levels=(level,)), with_local_logits(trained)
        with stored_batches(kept.parent, arrays(*ours), make, 4, recipe.seed) as data:
            fit(both, data, recipe.view_epochs, VIEW_RATE, kept, workers, local_weight=LOCAL_LOSS_WEIGHT)
        _save(trained.save_weights, weights)
    model = build()
    model.load_weights(weights)
    held, held_labels = with_lesions(held, held_labels, others, [recipe.seed, 1], CALIBRATION_DRAWS)
    found = held_out_logits(model, held, held_labels, 2)
    print(f"held-out AUC-ROC {auc_roc(*found):.4f}", flush=True)
    return model, *found


def _draw_lesions(number: int, side: int, rows: tuple[int, ...], mean_mimics: float, workers: int) -> SyntheticLesions:
    """Draw the given number of lesions of each kind for views of (one of) the given numbers of rows."""
    pixels_mm = tuple(pixel_mm((n, n // 2)) for n in rows)
    pairs = run_jobs(partial(draw_pair, side=side, pixels_mm=pixels_mm), range(number), workers, "lesions", 32)
    return SyntheticLesions(*(np.stack(parts) for parts in zip(*pairs, strict=True)), mean_mimics)


def _halve(views: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce prepared views and their local labels to half the rows and columns, float16 and int8."""
    shape = (len(views), views.shape[1] // 2, 2, views.shape[2] // 2, 2)
    breast = (views != 0).reshape(shape).mean(axis=(2, 4)) > 0.5
    small = np.where(breast, views.astype(np.float32).reshape(shape).mean(axis=(2, 4)), 0)
    for view, inside in zip(small, breast, strict=True):
        view[inside] = (view[inside] - view[inside].mean()) / max(float(view[inside].std()), 1e-6)
    return small.astype(np.float16), coarser(labels)


def _calibrate(model: Any, logits: np.ndarray, labels: np.ndarray) -> None:
    """Scale the last layer so that the logit is the log odds at `PREVALENCE` (Platt 1999).

    Raises:
        ValueError: The model ranks the views in the wrong order.
    """
    slope, offset = _platt(logits, labels)
    kernel, bias = model.get_layer("logit").get_weights()
    model.get_layer("logit").set_weights([kernel * slope, bias * slope + offset])


def _platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the slope and offset with which logits become log odds at `PREVALENCE`."""
    fitted = LogisticRegression(class_weight="balanced", C=1e3).fit(logits[:, None], labels)
    slope = float(fitted.coef_[0, 0])
    if slope <= 0:
        raise ValueError("women: a network ranks the held-out views in the wrong order: more women or epochs needed")
    return slope, float(fitted.intercept_[0] + logit(PREVALENCE))


def _operating_point(logits: np.ndarray, labels: np.ndarray) -> dict:
    """Return thresholds, prevalence and spread of the scores, from uncalibrated logits of held-out views."""
    slope, offset = _platt(logits, labels)
    scores = expit(slope * logits + offset)
    spread = ScoreSpread.of(labels, scores)
    named = {
        "high-sensitivity": float(np.quantile(scores[labels == 1], 1 - SENSITIVITY)),
        "specificity-95": float(np.quantile(scores[labels == 0], SPECIFICITY)),
        "best-f1": best_threshold(spread),
    }
    return {
        "threshold": named["specificity-95"],
        "chosen_on": f"specificity {SPECIFICITY:.0%} on simulated women held back",
        "heatmap": "local-logits",
        "heatmap_threshold": HEATMAP_THRESHOLD,
        "prevalence": PREVALENCE,
        "operating_points": named,
        "score_spread": asdict(spread),
    }


def best_threshold(spread: ScoreSpread) -> float:
    """Return the threshold with the best F1, the paper's rule, where `PREVALENCE` of the views have BAC."""
    negative, positive = len(spread.negative), len(spread.positive)
    curve = ScoreCurve([0] * negative + [1] * positive, [*spread.negative, *spread.positive])
    weights = np.repeat([(1 - PREVALENCE) / negative, PREVALENCE / positive], [negative, positive])
    return threshold_by_rule(curve, "best_f1", weights)
