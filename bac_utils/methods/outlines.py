"""Outlines of calcified arteries on the grid of prepared views, from masks on the grid of the original images."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from bac_utils.dataset import read_view
from bac_utils.preprocess import Prepared, prepare

LEAST_COVER = 0.3
"""Share of a pixel of the prepared view that BAC must cover; an artery narrower than two pixels stays connected."""


def outline_on_grid(mask: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Resample a mask of the original image to the grid of the prepared view; the inverse of `mask_to_original`.

    Args:
        mask: bool, of `prepared.original_shape`.
        prepared: The view.

    Returns:
        bool (H, W), only inside the breast.

    Raises:
        ValueError: The mask has another shape than the original image.
    """
    if mask.shape != tuple(prepared.original_shape):
        raise ValueError(f"mask: got shape {mask.shape}, must be that of the image, {tuple(prepared.original_shape)}")
    r0, r1, c0, c1 = prepared.box
    top, bottom, left, right = prepared.inset
    exchanged, reversed_ = prepared.turn
    part = mask[r0:r1, c0:c1].astype(np.float32)
    part = part.T if exchanged else part
    part = part[::-1] if reversed_ else part
    part = np.ascontiguousarray(part[:, ::-1] if prepared.flipped else part)
    result = np.zeros(prepared.pixels.shape, bool)
    size = (right - left, bottom - top)
    result[top:bottom, left:right] = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > LEAST_COVER
    return result & prepared.mask


def outline_path(row: Any, folder: Path) -> Path:
    """Return where the mask of a view is kept: the name of its image, with the ending `.png`."""
    return folder / f"{Path(row.image_path).stem}.png"


def read_outlines(
    table: pd.DataFrame, folder: Path, shape: tuple[int, int], pixel_mm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the outlines of views from a folder of masks.

    A view without BAC needs no file: its outline is empty.

    Args:
        table: Rows of a views table, with absolute paths in `image_path`.
        folder: Masks as PNG files on the grid of the images, named like these; white where there is BAC.
        shape: (rows, columns) of the prepared views.
        pixel_mm: Their pixel size, as for `preprocess.prepare`.

    Returns:
        Outlines, bool (N, H, W), and whether each view has one, bool (N,): False for a BAC+ view without a file.

    Raises:
        ValueError: A file is no picture or has another shape than its image, or two images with BAC have one name.
    """
    stems = table.loc[table["bac"] == 1, "image_path"].map(lambda path: Path(path).stem)
    if stems.duplicated().any() and folder.is_dir():
        twice = stems[stems.duplicated()].iloc[0]
        raise ValueError(f"outlines: got two images with the name {twice!r}, must have different names")
    outlines = np.zeros((len(table), *shape), bool)
    known = (table["bac"] == 0).to_numpy().copy()
    for place, row in enumerate(table.itertuples()):
        path = outline_path(row, folder)
        if row.bac == 0 or not path.is_file():
            continue
        mask = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError(f"outlines: got {path}, must be a PNG picture")
        try:
            outlines[place] = outline_on_grid(mask > 127, prepare(read_view(row), shape, pixel_mm))
        except ValueError as error:
            raise ValueError(f"outlines: got {path}: {error}") from None
        known[place] = True
    return outlines, known
