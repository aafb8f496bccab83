"""Training data of the bundled weights: patches and whole views of simulated women, of many acquisitions and scales.

The seeds of these women belong to a stream that no cohort uses, and no real image is opened.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.preprocess import prepare
from bac_utils.simulator.population import FOUR_VIEWS, TRAINING, Woman
from bac_utils.simulator.render import render


@dataclass(frozen=True)
class Recipe:
    """How the bundled weights are made; all values are choices of this kit.

    Attributes:
        women: Number of women simulated for the patches.
        heights: Possible numbers of rows of the prepared views, one per woman; the columns are half as many. The rows
            span a field of `FIELD_MM`.
        bac_share: Fraction of BAC+ women.
        film_share: Fraction of women with film views.
        patch: Side of a patch in pixels, a multiple of 16. The network sees about 320 pixels at once.
        patches: Number of patches of each kind (artery, bright spot, anywhere) per view.
        batch: Patches per step.
        lesions: Number of synthetic lesions of each kind (artery, mimic) to choose from, for the patches.
        first_epochs: Epochs over the patches with all layers trainable.
        epochs: Epochs over the patches with all but the first convolutional block trainable: one number per cycle, in
            each of which the learning rate falls to 0.
        view_women: Number of women simulated for the whole views (other women).
        view_shape: Input (rows, columns) of the detector.
        view_lesions: Number of synthetic lesions of each kind, for the whole views.
        view_lesion_pixels: Side of these lesions in pixels of the detector's input.
        view_epochs: Epochs over the whole views.
        policy: Keras's dtype policy while the networks are trained; they are saved with 32 bits. bfloat16 halves the
            time on processors that compute in it (AVX512-BF16, AMX) and on GPUs, and takes longer on others.
        seed: Seed of weights, order and augmentation.
    """

    women: int = 400
    heights: tuple[int, ...] = (1536, 768)
    bac_share: float = 0.4
    film_share: float = 0.4
    patch: int = 112
    patches: int = 5
    batch: int = 32
    lesions: int = 8000
    first_epochs: int = 2
    epochs: tuple[int, ...] = (96,)
    view_women: int = 200
    view_shape: tuple[int, int] = (1536, 768)
    view_lesions: int = 1500
    view_lesion_pixels: int = 384
    view_epochs: int = 8
    policy: str = "mixed_bfloat16"
    seed: int = 1


def training_woman(number: int, recipe: Recipe) -> Woman:
    """Return a woman of the pretraining stream: her seed starts with `TRAINING`, that of a cohort with `COHORT`."""
    rng = np.random.default_rng([TRAINING, number])
    age, bac = int(rng.integers(45, 88)), bool(rng.random() < recipe.bac_share)
    return Woman(f"T-{number:05d}", age, bac, (TRAINING, 0, number), recipe.film_share)


STRIDE = 8
"""Pixels per local label in each direction: the stride of the detector's local logits (`network.add_decoder`)."""
LEAST_ARTERY_MM2 = 0.5
"""Area of the artery mask at or above which a local label is positive: about 0.25 mm of a vessel 2 mm wide."""
FIELD_MM = 240.0
"""Height in mm of the field that the rows of a prepared view span; see `preprocess.USUAL_FIELD_MM`."""
SCALE_SPREAD = 0.2
"""Largest deviation of the scale of a training view, on the log scale; files without a pixel spacing vary likewise."""
FINENESS = ((0.65, (0.8, 1.0)), (0.2, (0.35, 0.8)), (0.15, (1.0, 1.75)))
"""(fraction of the women, range of the rendered pixel spacing in prepared pixels): similar to the prepared pixel, finer
(down to 0.05 mm, as in the finest detectors; slow to render), and coarser (up to 0.27 mm for prepared pixels of
0.156 mm)."""


def pixel_mm(shape: tuple[int, int]) -> float:
    """Return the side of a pixel in mm for a matrix (rows, columns) whose rows span `FIELD_MM`."""
    return FIELD_MM / shape[0]


def prepared_view(
    woman: Woman, side: str, view: str, shape: tuple[int, int], zoom: float = 1.0, fineness: float = 1.0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Render a view at a pixel spacing that suits `shape`, and prepare it like any other mammogram.

    Args:
        woman: The woman.
        side: Laterality, `L` or `R`.
        view: `CC` or `MLO`.
        shape: (rows, columns) of the prepared view.
        zoom: Magnification of the breast; 1 if the rows span `FIELD_MM`.
        fineness: Pixel spacing of the rendered view in prepared pixels.

    Returns:
        The prepared pixels, float32, and the artery mask, bool, both of `shape`; and the area of a pixel in mm2.

    Raises:
        Skip: If no breast is found.
    """
    pixel = pixel_mm(shape) / zoom
    spacing = float(np.clip(pixel * fineness, 0.05, 0.3))
    image, artery = render(woman, side, view, spacing)
    mammogram = Mammogram(
        pixels=image, spacing_mm=(spacing, spacing), spacing_rule="simulated", laterality=side, view=view,
        patient_id=woman.patient_id, age=float(woman.age),
    )  # fmt: skip
    prepared = prepare(mammogram, shape, pixel)
    r0, r1, c0, c1 = prepared.box
    top, bottom, left, right = prepared.inset
    part = artery[r0:r1, c0:c1].astype(np.float32)
    part = np.ascontiguousarray(part[:, ::-1] if prepared.flipped else part)
    mask = np.zeros(shape, bool)
    size = (right - left, bottom - top)
    mask[top:bottom, left:right] = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 0.3
    return prepared.pixels, mask, prepared.spacing_mm[0] * prepared.spacing_mm[1]


def local_labels(artery: np.ndarray, pixel_mm2: float) -> np.ndarray:
    """Return the targets of the local logits, one per square of 8 x 8 pixels.

    Args:
        artery: Artery mask, bool (H, W).
        pixel_mm2: Area of a pixel in mm2.

    Returns:
        int8 (H // 8, W // 8): 1 where the square contains at least `LEAST_ARTERY_MM2` of artery, 0 where it contains
        none, -1 in between (undecided).
    """
    rows, columns = artery.shape[0] // STRIDE, artery.shape[1] // STRIDE
    whole = artery[: rows * STRIDE, : columns * STRIDE].reshape(rows, STRIDE, columns, STRIDE)
    area = whole.sum(axis=(1, 3)) * pixel_mm2
    return np.where(area >= LEAST_ARTERY_MM2, 1, np.where(area > 0, -1, 0)).astype(np.int8)


def coarser(labels: np.ndarray) -> np.ndarray:
    """Return the local labels for squares of twice the side, (N, rows, columns) -> (N, rows // 2, columns // 2), int8.

    A label is positive if one of its four is positive; otherwise it is undecided if one of them is undecided.
    """
    rows, columns = labels.shape[1] // 2, labels.shape[2] // 2
    four = labels[:, : 2 * rows, : 2 * columns].reshape(len(labels), rows, 2, columns, 2)
    artery, undecided = (four == 1).any(axis=(2, 4)), (four == -1).any(axis=(2, 4))
    return np.where(artery, 1, np.where(undecided, -1, 0)).astype(np.int8)


def view_patches(
    pixels: np.ndarray, artery: np.ndarray, pixel_mm2: float, recipe: Recipe, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut patches out of a prepared view: around arteries, around bright spots, and anywhere in the breast.

    Args:
        pixels: Prepared view, float32 (H, W).
        artery: Artery mask, bool (H, W).
        pixel_mm2: Area of a pixel in mm2.
        recipe: Sizes and numbers of the patches.
        rng: Source of randomness.

    Returns:
        Patches, float16 (patch, patch), and their local labels, int8 (patch // 8, patch // 8); see `local_labels`.
    """
    side = recipe.patch
    half = side // 2
    tophat = cv2.morphologyEx(pixels, cv2.MORPH_TOPHAT, np.ones((9, 9), np.uint8))
    breast = cv2.erode((pixels != 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    bright = np.argwhere(breast & (tophat > np.quantile(tophat[breast][::7], 0.998)))
    centres = []
    for points, spread in ((np.argwhere(artery), side * 0.3), (bright, side * 0.3), (np.argwhere(breast), 0.0)):
        if len(points):
            chosen = points[rng.integers(len(points), size=recipe.patches)]
            centres.extend(chosen + rng.normal(0, spread, chosen.shape) if spread else chosen)
    patches, labels = [], []
    padded, padded_artery = np.pad(pixels, half), np.pad(artery, half)
    for row, column in np.clip(np.round(centres).astype(int), 0, np.array(pixels.shape) - 1):
        patch = padded[row : row + side, column : column + side]
        if np.count_nonzero(patch) > 0.3 * patch.size:
            patches.append(patch.astype(np.float16))
            labels.append(local_labels(padded_artery[row : row + side, column : column + side], pixel_mm2))
    return patches, labels


def woman_patches(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return all patches of one woman's four views, float16, and their local labels, int8; see `view_patches`."""
    rng = np.random.default_rng([TRAINING, number, 1])
    height = int(rng.choice(recipe.heights))
    patches, labels = [], []
    for pixels, artery, area in _views(number, (height, height // 2), recipe, rng):
        new_patches, new_labels = view_patches(pixels, artery, area, recipe, rng)
        patches += new_patches
        labels += new_labels
    side = recipe.patch // STRIDE
    return (
        np.array(patches, np.float16).reshape(-1, recipe.patch, recipe.patch),
        np.array(labels, np.int8).reshape(-1, side, side),
    )


def woman_views(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return one woman's prepared views, float16 (n, H, W), and their local labels, int8 (n, H // 8, W // 8)."""
    rng = np.random.default_rng([TRAINING, number, 2])
    found = list(_views(number, recipe.view_shape, recipe, rng))
    views = np.array([pixels for pixels, _, _ in found], np.float16).reshape(-1, *recipe.view_shape)
    labels = np.array([local_labels(artery, area) for _, artery, area in found], np.int8)
    return views, labels.reshape(-1, *(n // STRIDE for n in recipe.view_shape))


def _views(number: int, shape: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple]:
    """Render and prepare a woman's views with random scale and sharpness; skip views in which no breast is found."""
    woman = training_woman(number, recipe)
    shares, ranges = zip(*FINENESS, strict=True)
    fineness = rng.uniform(*ranges[rng.choice(len(ranges), p=shares)])
    for side, view in FOUR_VIEWS:
        zoom = float(np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))
        with suppress(Skip):
            yield prepared_view(woman, side, view, shape, zoom, fineness)
