"""What the bundled weights are taught from: patches and whole views of simulated women, of many looks and scales.

The women's seeds belong to a stream that no cohort uses, and no real picture is opened.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from bac_utils.intake import Mammogram, Skip
from bac_utils.phantom import TRAINING, VIEWS, Woman, render
from bac_utils.preprocess import prepare


@dataclass(frozen=True)
class Recipe:
    """How the bundled weights are made; all numbers are this kit's own choice.

    Attributes:
        women: Simulated for the patches.
        heights: Rows that a view is prepared to; a woman gets one of them, and half as many columns.
        bac_share: Share of BAC+ women.
        film_share: Share of women with film views.
        patch: Side of a patch, pixels, a multiple of 16.
        patches: Of each kind (artery, bright spot, anywhere) a view.
        first_epochs: Over the patches, all layers.
        epochs: Over the patches, all but the first block of convolutions.
        view_women: Simulated for the whole views (other women).
        view_shape: Input of the detector.
        view_epochs: Over the whole views.
        seed: Of weights, order and augmentation.
    """

    women: int = 300
    heights: tuple[int, ...] = (768,)
    bac_share: float = 0.6
    film_share: float = 0.4
    patch: int = 112
    patches: int = 4
    first_epochs: int = 4
    epochs: int = 9
    view_women: int = 120
    view_shape: tuple[int, int] = (768, 384)
    view_epochs: int = 3
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


def prepared_view(woman: Woman, side: str, view: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Render a view at the spacing that `shape` needs and prepare it as any other mammogram.

    Args:
        woman: Whose.
        side: `L` or `R`.
        view: `CC` or `MLO`.
        shape: (rows, columns).

    Returns:
        The prepared pixels, float32; the artery's mask on the same grid, bool; a pixel's area in mm2.

    Raises:
        Skip: No breast was found.
    """
    spacing = float(np.clip(190 / shape[0], 0.05, 0.3))  # a breast of 190 mm fills the rows
    image, artery = render(woman, side, view, spacing)
    mammogram = Mammogram(
        pixels=image, spacing_mm=(spacing, spacing), spacing_rule="simulated", laterality=side, view=view,
        patient_id=woman.patient_id, age=float(woman.age),
    )  # fmt: skip
    prepared = prepare(mammogram, shape)
    r0, r1, c0, c1 = prepared.box
    mask = artery[r0:r1, c0:c1].astype(np.float32)
    mask = mask[:, ::-1] if prepared.flipped else mask
    mask = cv2.resize(np.ascontiguousarray(mask), (shape[1], shape[0]), interpolation=cv2.INTER_AREA) > 0.3
    return prepared.pixels, mask, prepared.spacing_mm[0] * prepared.spacing_mm[1]


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
        Patches, float16 (patch, patch), and their cells, int8 (patch / 16, patch / 16): 1 where `LEAST_ARTERY_MM2` of
        artery lie in the cell, 0 where none does, -1 in between (no opinion).
    """
    side = recipe.patch
    half, cells = side // 2, side // CELL
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
            inside = truth[row : row + side, column : column + side].reshape(cells, CELL, cells, CELL)
            area = inside.sum(axis=(1, 3)) * pixel_mm2
            patches.append(patch.astype(np.float16))
            labels.append(np.where(area >= LEAST_ARTERY_MM2, 1, np.where(area > 0, -1, 0)).astype(np.int8))
    return patches, labels


def woman_patches(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return all patches of one woman's four views and their cells; see `view_patches`."""
    woman = training_woman(number, recipe)
    rng = np.random.default_rng([TRAINING, number, 1])
    height = int(rng.choice(recipe.heights))
    patches, labels = [], []
    for side, view in VIEWS:
        try:
            pixels, artery, area = prepared_view(woman, side, view, (height, height // 2))
        except Skip:
            continue
        more, truth = view_patches(pixels, artery, area, recipe, rng)
        patches += more
        labels += truth
    cells = recipe.patch // CELL
    return (
        np.array(patches, np.float16).reshape(-1, recipe.patch, recipe.patch),
        np.array(labels, np.int8).reshape(-1, cells, cells),
    )


def woman_views(number: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return one woman's prepared views (n, H, W) float16 and labels (n,) for the detector's training."""
    woman = training_woman(number, recipe)
    views, labels = [], []
    for side, view in VIEWS:
        try:
            pixels, _, _ = prepared_view(woman, side, view, recipe.view_shape)
        except Skip:
            continue
        views.append(pixels.astype(np.float16))
        labels.append(int(woman.bac and woman.length_mm(side, view) > 0))
    return np.array(views, np.float16).reshape(-1, *recipe.view_shape), np.array(labels, np.int8)
