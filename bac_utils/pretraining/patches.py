"""What the bundled weights are taught from: patches and whole views of simulated women, of many looks and scales.

The women's seeds belong to a stream that no cohort uses, and no real picture is opened.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.intake.reader import Mammogram, Skip
from bac_utils.preprocess import prepare
from bac_utils.simulator.population import TRAINING, VIEWS, Woman, render


@dataclass(frozen=True)
class Recipe:
    """How the bundled weights are made; all numbers are this kit's own choice.

    Attributes:
        women: Simulated for the patches.
        heights: Rows that a view is prepared to, and half as many columns; a woman gets one of them. The matrix
            spans a field of `FIELD_MM`.
        bac_share: Share of BAC+ women.
        film_share: Share of women with film views.
        patch: Side of a patch, pixels, a multiple of 16.
        patches: Of each kind (artery, bright spot, anywhere) a view.
        drawings: Of each kind (artery or not) to choose from, for the patches.
        first_epochs: Over the patches, all layers.
        epochs: Over the patches, all but the first block of convolutions: cycles, each with a rate that falls to 0.
        view_women: Simulated for the whole views (other women).
        view_shape: Input of the detector.
        view_drawings: Of each kind, for whole views.
        view_drawing_pixels: Their side in the detector's input.
        view_epochs: Over the whole views.
        seed: Of weights, order and augmentation.
    """

    women: int = 480
    heights: tuple[int, ...] = (1536, 768)
    bac_share: float = 0.6
    film_share: float = 0.4
    patch: int = 112
    patches: int = 5
    drawings: int = 8000
    first_epochs: int = 4
    epochs: tuple[int, ...] = (11, 15)
    view_women: int = 200
    view_shape: tuple[int, int] = (1536, 768)
    view_drawings: int = 1500
    view_drawing_pixels: int = 384
    view_epochs: int = 7
    seed: int = 1


def training_woman(number: int, recipe: Recipe) -> Woman:
    """Return a woman of the pretraining stream; her seed starts with `TRAINING`, a cohort's with `COHORT`."""
    rng = np.random.default_rng([TRAINING, number])
    age, bac = int(rng.integers(45, 88)), bool(rng.random() < recipe.bac_share)
    return Woman(f"T-{number:05d}", age, bac, (TRAINING, 0, number), recipe.film_share)


CELL = 16
"""Side of a cell in pixels: the stride of the network's last convolution."""
LEAST_ARTERY_MM2 = 2.0
"""A cell has BAC from so much of the artery's mask on: about 1 mm of a vessel 2 mm wide."""
FIELD_MM = 240.0
"""Height of the field that a prepared matrix spans; see `preprocess.USUAL_FIELD_MM`."""
SCALE_SPREAD = 0.2
"""A training view is up to so much larger or smaller, on the log scale, as files without a stated spacing are."""
FINENESS = ((0.65, (0.8, 1.0)), (0.2, (0.35, 0.8)), (0.15, (1.0, 1.75)))
"""Shares of the women whose views are rendered at such a part of the prepared pixel: about its size, finer ones (from
0.05 mm, the finest detectors; these take long), and coarser ones (up to 0.27 mm for 0.156 mm a prepared pixel)."""


def pixel_mm(shape: tuple[int, int]) -> float:
    """Return the side of a pixel, in mm, of a matrix (rows, columns) that spans the usual field."""
    return FIELD_MM / shape[0]


def prepared_view(
    woman: Woman, side: str, view: str, shape: tuple[int, int], zoom: float = 1.0, fineness: float = 1.0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Render a view at the spacing that `shape` needs and prepare it as any other mammogram.

    Args:
        woman: Whose.
        side: `L` or `R`.
        view: `CC` or `MLO`.
        shape: (rows, columns).
        zoom: Size of the breast in the matrix, 1 for `FIELD_MM`.
        fineness: Spacing of the rendered view in prepared pixels.

    Returns:
        The prepared pixels, float32; the artery's mask on the same grid, bool; a pixel's area in mm2.

    Raises:
        Skip: No breast was found.
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


def artery_cells(artery: np.ndarray, pixel_mm2: float) -> np.ndarray:
    """Tell which cells of the network's last map have artery.

    Args:
        artery: bool (H, W).
        pixel_mm2: Area of a pixel.

    Returns:
        int8 (H // 16, W // 16): 1 where `LEAST_ARTERY_MM2` of artery lie in the cell, 0 where none does, -1 in
        between (no opinion).
    """
    rows, columns = artery.shape[0] // CELL, artery.shape[1] // CELL
    whole = artery[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    area = whole.sum(axis=(1, 3)) * pixel_mm2
    return np.where(area >= LEAST_ARTERY_MM2, 1, np.where(area > 0, -1, 0)).astype(np.int8)


def view_patches(
    pixels: np.ndarray, artery: np.ndarray, pixel_mm2: float, recipe: Recipe, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut patches out of a prepared view: around arteries, around bright spots, anywhere.

    Args:
        pixels: float32 (H, W).
        artery: bool (H, W).
        pixel_mm2: Area of a pixel.
        recipe: Sizes and numbers.
        rng: Source of randomness.

    Returns:
        Patches, float16 (patch, patch), and their cells, int8 (patch / 16, patch / 16), see `artery_cells`.
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
    padded, truth = np.pad(pixels, half), np.pad(artery, half)
    for row, column in np.clip(np.round(centres).astype(int), 0, np.array(pixels.shape) - 1):
        patch = padded[row : row + side, column : column + side]
        if np.count_nonzero(patch) > 0.3 * patch.size:
            patches.append(patch.astype(np.float16))
            labels.append(artery_cells(truth[row : row + side, column : column + side], pixel_mm2))
    return patches, labels


def woman_patches(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return all patches of one woman's four views and their cells; see `view_patches`."""
    rng = np.random.default_rng([TRAINING, number, 1])
    height = int(rng.choice(recipe.heights))
    patches, labels = [], []
    for pixels, artery, area in _views(number, (height, height // 2), recipe, rng):
        more, truth = view_patches(pixels, artery, area, recipe, rng)
        patches += more
        labels += truth
    cells = recipe.patch // CELL
    return (
        np.array(patches, np.float16).reshape(-1, recipe.patch, recipe.patch),
        np.array(labels, np.int8).reshape(-1, cells, cells),
    )


def woman_views(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return one woman's prepared views, float16 (n, H, W), and their cells, int8 (n, H // 16, W // 16)."""
    rng = np.random.default_rng([TRAINING, number, 2])
    found = list(_views(number, recipe.view_shape, recipe, rng))
    views = np.array([pixels for pixels, _, _ in found], np.float16).reshape(-1, *recipe.view_shape)
    cells = np.array([artery_cells(artery, area) for _, artery, area in found], np.int8)
    return views, cells.reshape(-1, *(n // CELL for n in recipe.view_shape))


def _views(number: int, shape: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple]:
    """Render and prepare a woman's views, at sizes and sharpnesses that vary; one without a breast is left out."""
    woman = training_woman(number, recipe)
    shares, ranges = zip(*FINENESS, strict=True)
    fineness = rng.uniform(*ranges[rng.choice(len(ranges), p=shares)])
    for side, view in VIEWS:
        zoom = float(np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))
        with suppress(Skip):
            yield prepared_view(woman, side, view, shape, zoom, fineness)
