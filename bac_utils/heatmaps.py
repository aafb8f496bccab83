"""Heatmaps, which show in [0, 1] where a model sees BAC in a view: their forms, and making them.

| form | definition | scale |
| --- | --- | --- |
| `local-logits` | probability of each local logit; the view's logit is pooled from them | as in training |
| `grad-cam++` | Grad-CAM++ of the last convolution over its per-image maximum, times the score | the view's score |
| `layer-cam` | the same with LayerCAM, also of the last convolution of twice the resolution | the view's score |
| `per-image-maximum` | Grad-CAM++ over its per-image maximum, as in the paper | none: every view reaches 1 |

As the score does (`model.predict_scores`), all forms except the paper's average a view and its mirror image. LayerCAM
(Jiang et al., IEEE Transactions on Image Processing 30:5875, 2021) weights each pixel of a map by its positive
gradient; the maps of several layers are scaled and combined by their maximum.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit
from tqdm import tqdm

from bac_utils.backbones import CONVOLUTIONS
from bac_utils.gradcam import GradCamPlusPlus, scale_maps
from bac_utils.model import LOGITS_LAYER, mirrored
from bac_utils.quantify import common_spacings, heatmap_area
from bac_utils.run_folder import HEATMAP_FILES, KEYS, save_heatmaps, saved_keys
from bac_utils.settings import DEFAULT_HEATMAP_THRESHOLD, HEATMAPS, PAPER_HEATMAP_THRESHOLD

FORMS = LOCAL_LOGITS, GRADCAM, LAYERCAM, PER_IMAGE = HEATMAPS
NAMES = dict(zip(FORMS, ("Local logits", "Grad-CAM++ × score", "LayerCAM × score", "Paper's Grad-CAM++"), strict=True))
"""Names of the forms in figures."""


class Explainer:
    """Scores views and makes heatmaps; built once, then called with batches.

    Attributes:
        forms: Forms of the heatmaps that it makes.
    """

    def __init__(self, model: keras.Model, forms: Collection[str] = (LOCAL_LOGITS,)) -> None:
        """Prepare a model.

        Args:
            model: (N, H, W, 1) -> (N, 1) logits.
            forms: Some of `FORMS`; `local-logits` needs a model of `build_model`, `layer-cam` a model with its
                convolutions on the top level.

        Raises:
            ValueError: A form is unknown, or the model does not support it.
        """
        unknown = sorted(set(forms) - set(FORMS))
        if unknown or not forms:
            raise ValueError(f"forms: got {', '.join(unknown) or 'none'}, must be among {', '.join(FORMS)}")
        self.forms = tuple(forms)
        self._shape = model.input_shape[1:]
        self._gradcam = GradCamPlusPlus(model) if {GRADCAM, PER_IMAGE} & set(forms) else None
        self._local_logits = _local_logits(model) if LOCAL_LOGITS in forms else None
        self._layercam = _LayerCam(model) if LAYERCAM in forms else None

    def __call__(self, views: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Explain a batch.

        Args:
            views: (N, H, W, 1).

        Returns:
            Logits, float32 (N,), as in `model.predict_scores`, and the heatmaps of each form, float32 (N, h, w) in
            [0, 1], on the grid of the last convolution (`layer-cam`: twice its rows and columns). A heatmap covers the
            whole view. Its values are rounded to float16, as they are stored in a run's folder.

        Raises:
            ValueError: The shape of the views is not that of the model's input.
        """
        views = np.asarray(views, np.float32)
        fits = views.ndim == 4 and all(want in (None, n) for n, want in zip(views.shape[1:], self._shape, strict=True))
        if not fits or len(views) == 0:
            raise ValueError(f"views: got shape {views.shape}, must be (N, {', '.join(map(str, self._shape))}), N >= 1")
        logits, heat = None, {}
        if self._local_logits is not None:
            logits, _, heat[LOCAL_LOGITS] = _both_ways(self._local_logits, views)
        if GRADCAM in self.forms:
            logits, heat[PER_IMAGE], mean = _both_ways(self._per_image, views)
            heat[GRADCAM] = mean * expit(logits)[:, None, None]
        elif PER_IMAGE in self.forms:
            logits, heat[PER_IMAGE], _ = _both_ways(self._per_image, views)
        if self._layercam is not None:
            logits, _, mean = _both_ways(self._layercam, views)
            heat[LAYERCAM] = mean * expit(logits)[:, None, None]
        return logits, {form: heat[form].astype(np.float16).astype(np.float32) for form in self.forms}

    def _per_image(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, maps = self._gradcam(views)
        return logits, scale_maps(maps)


def default_form(model: keras.Model) -> str:
    """Return `local-logits` for a model that has them, else `grad-cam++`."""
    return LOCAL_LOGITS if any(layer.name == LOGITS_LAYER for layer in model.layers) else GRADCAM


def usable_forms(model: keras.Model) -> tuple[str, ...]:
    """Return the forms that a model supports, in the order of `FORMS`."""
    local = [LOCAL_LOGITS] if default_form(model) == LOCAL_LOGITS else []
    return (*local, GRADCAM, *([LAYERCAM] if _finer(model) is not None else []), PER_IMAGE)


def _both_ways(look: Any, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean logits of the views and their mirror images, the maps of the views, and the mean of both maps.

    Each view is processed together with its mirror image: TensorFlow distributes a batch over the cores, and a single
    view of 768 x 384 took 2.4 times as long as each of two.
    """
    pairs = [look(np.concatenate([view, mirrored(view)])) for view in views[:, None]]
    logits = np.array([found.mean() for found, _ in pairs], np.float32)
    plain, other = (np.stack([maps[k] for _, maps in pairs]) for k in (0, 1))
    return logits, plain, (plain + mirrored(other)) / 2


def _local_logits(model: keras.Model) -> Any:
    """Return a function that computes the logits of views and the probabilities of their local logits."""
    if default_form(model) != LOCAL_LOGITS:
        raise ValueError(f"forms: got {LOCAL_LOGITS}, must be another form for a model that is not from build_model")
    both = keras.Model(model.inputs[0], [model.outputs[0], model.get_layer(LOGITS_LAYER).output])
    compute = tf.function(lambda x: both(x, training=False), input_signature=[_signature(model)])

    def look(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, local = compute(views)
        return logits.numpy()[:, 0], expit(local.numpy()[..., 0])

    return look


class _LayerCam:
    """LayerCAM of the last convolution and of the last one with twice its resolution, combined by their maximum."""

    def __init__(self, model: keras.Model) -> None:
        maps = _finer(model)
        if maps is None:
            raise ValueError(
                f"forms: got {LAYERCAM}, must be another form for a model without convolutions of two resolutions"
            )
        self._model = keras.Model(model.inputs[0], [*maps, model.outputs[0]])
        self._compute = tf.function(self._maps, input_signature=[_signature(model)])

    def __call__(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, fine, coarse = (found.numpy() for found in self._compute(views))
        fine, coarse = scale_maps(fine), scale_maps(coarse)
        size = fine.shape[:0:-1]
        return logits, np.maximum(fine, [cv2.resize(map_, size, interpolation=cv2.INTER_LINEAR) for map_ in coarse])

    def _maps(self, views: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(views)
            *maps, logits = self._model(views, training=False)
        gradients = tape.gradient(logits, maps)
        joined = (tf.nn.relu(tf.reduce_sum(tf.nn.relu(g) * a, axis=-1)) for g, a in zip(gradients, maps, strict=True))
        return logits[:, 0], *joined


def _finer(model: keras.Model) -> tuple | None:
    """Return the outputs of the last convolution with twice the rows of the last one, and of the last one, or None."""
    outputs = [layer.output for layer in model.layers if isinstance(layer, CONVOLUTIONS)]
    finer = [maps for maps in outputs if maps.shape[1] == 2 * outputs[-1].shape[1]]
    return (finer[-1], outputs[-1]) if finer else None


def _signature(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(model.input_shape, tf.float32)


def default_threshold(form: str) -> float:
    """Return the Th of a form of heatmap if too few lengths are known to choose it by (`heatmap_choice`)."""
    return DEFAULT_HEATMAP_THRESHOLD if form == LOCAL_LOGITS else PAPER_HEATMAP_THRESHOLD


def default_heatmap(model: keras.Model) -> tuple[str, float]:
    """Return the form of heatmap and the Th of a model if too few lengths are known to choose them by."""
    form = default_form(model)
    return form, default_threshold(form)


def make_heatmaps(explain: Explainer, form: str, pixels: Any, rows: Sequence[int], batch_size: int) -> np.ndarray:
    """Make the heatmaps of many views.

    Args:
        explain: Makes heatmaps of the form.
        form: One of `FORMS`.
        pixels: All prepared views, (N, H, W).
        rows: Indices of the views that get a heatmap.
        batch_size: Views per batch.

    Returns:
        float16 (len(rows), h, w).
    """
    rows, found = np.asarray(rows, int), [np.zeros((0, 1, 1), np.float16)]
    for start in tqdm(range(0, len(rows), batch_size), desc="heatmaps", unit="batch"):
        views = np.asarray(pixels[rows[start : start + batch_size]], np.float32)
        found.append(explain(views[..., None])[1][form].astype(np.float16))
    return np.concatenate(found[1:] or found)


def measure_areas(
    heats: Sequence[np.ndarray],
    form: str,
    threshold: float,
    bac: Sequence[int],
    pixels: Sequence[np.ndarray],
    spacings_mm: Sequence[tuple[float, float] | None],
) -> np.ndarray:
    """Measure the areas of heatmaps above Th; see `quantify.heatmap_area`.

    Args:
        heats: Heatmap of each view, (h, w) in [0, 1].
        form: Their form, one of `FORMS`.
        threshold: Th in (0, 1).
        bac: Whether each view is classified as BAC+.
        pixels: The prepared views, each (H, W), 0 outside the breast.
        spacings_mm: (row, column) of each view; if one is None, all areas are in pixels.

    Returns:
        float64 (N,), mm2 or pixels.
    """
    rows = zip(heats, bac, pixels, common_spacings(spacings_mm), strict=True)
    return np.array(
        [heatmap_area(heat, form, called, view.shape, threshold, mm, view != 0)[0] for heat, called, view, mm in rows]
    )


def paper_areas(
    model: keras.Model,
    bac: Sequence[int],
    pixels: Sequence[np.ndarray],
    spacings_mm: Sequence[tuple[float, float] | None],
) -> np.ndarray:
    """Measure areas by the paper's recipe: heatmaps `per-image-maximum` above `PAPER_HEATMAP_THRESHOLD`.

    Args:
        model: (N, H, W, 1) -> (N, 1) logits.
        bac: As for `measure_areas`, as are `pixels` and `spacings_mm`.
        pixels: See there.
        spacings_mm: See there.

    Returns:
        float64 (N,), mm2 or pixels; 0 in BAC- views.
    """
    explain, views = Explainer(model, [PER_IMAGE]), np.stack(pixels)
    heats = make_heatmaps(explain, PER_IMAGE, views, range(len(views)), batch_size=2)
    return measure_areas(heats, PER_IMAGE, PAPER_HEATMAP_THRESHOLD, bac, pixels, spacings_mm)


def remake_heatmaps(folder: Path, explain: Explainer, form: str, prepared: Any, batch_size: int) -> int:
    """Replace the heatmaps saved by notebook 03 with those of another form.

    Args:
        folder: The run's folder.
        explain: Makes heatmaps of the form.
        form: One of `FORMS`.
        prepared: The run's `dataset.PreparedViews`.
        batch_size: Views per batch.

    Returns:
        Number of heatmaps made; 0 if the saved heatmaps already have this form, or none were saved.
    """
    path = folder / HEATMAP_FILES["detection"]
    if not path.is_file():
        return 0
    with np.load(path) as saved:
        if str(saved["form"]) == form:
            return 0
        keys, spacing = saved_keys(saved), saved["spacing_mm"]
    places = prepared.table.reset_index().set_index(KEYS)["index"]
    rows = places.loc[list(keys.itertuples(index=False, name=None))].to_numpy()
    heats = make_heatmaps(explain, form, prepared.pixels, rows, batch_size)
    save_heatmaps(folder, "detection", form, keys, heats, spacing)
    return len(rows)
