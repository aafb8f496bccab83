"""The views on which methods are trained and compared: those of a run, with outlines where they are known."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bac_utils.dataset import prepare_views
from bac_utils.methods.interface import LabelledViews
from bac_utils.methods.outlines import read_outlines
from bac_utils.run_folder import KEYS, prepared_sets
from bac_utils.views_table import quantification_subset, read_views


@dataclass(frozen=True)
class Sets:
    """The sets of a comparison; no woman is in two of them, except that `measured` may be part of `test`.

    Attributes:
        train: Training views; methods with supervision `pixel` get outlines.
        validation: Views for the choice of an epoch or a threshold.
        test: Views that are scored.
        measured: MLO views of BAC+ women whose measures are compared with lengths, as in the paper.
    """

    train: LabelledViews
    validation: LabelledViews
    test: LabelledViews
    measured: LabelledViews


def load_sets(run: Path, shape: tuple[int, int], pixel_mm: float | None, outlines: Path, workers: int = 1) -> Sets:
    """Load the views of a run.

    Args:
        run: The run's folder, after notebook 02.
        shape: (rows, columns) of the prepared views.
        pixel_mm: Their pixel size, mm; None stretches.
        outlines: Folder of masks (`outlines.read_outlines`); views with BAC but without a mask have an empty outline in
            `test` and `measured`, and are left out of the training of methods that learn from pixels.
        workers: Number of processes that prepare views.

    Returns:
        The sets. `train.outlines` is None if no view with BAC has a mask.
    """
    prepared, rows = prepared_sets(run, shape, workers, pixel_mm)
    subset = quantification_subset(read_views(run / "views.csv"), None, "MLO")
    measured = prepare_views(subset, run / "methods" / "cache", shape, workers, pixel_mm)
    found = {}
    for name in ("train", "validation", "test"):
        found[name] = prepared.pixels[rows[name]], prepared.table.iloc[rows[name]].reset_index(drop=True)
    found["measured"] = measured.pixels, measured.table[measured.table["bac"].notna()].reset_index(drop=True)
    sets = {}
    for name, (pixels, table) in found.items():
        drawn = None
        if name != "validation" and outlines.is_dir():
            drawn, known = read_outlines(table, outlines, shape, pixel_mm)
            if not known[(table["bac"] == 1).to_numpy()].any():
                drawn = None
        sets[name] = LabelledViews(pixels, table, drawn)
    return Sets(**sets)


def with_known_outlines(views: LabelledViews) -> LabelledViews:
    """Return the views whose outline is known: those without BAC, and those with BAC and an outline."""
    if views.outlines is None:
        raise ValueError("train: got no outlines, must have some: this method learns from outlined pixels")
    known = (views.labels == 0) | views.outlines.any(axis=(1, 2))
    if known.all():
        return views
    return LabelledViews(views.pixels[known], views.table[known].reset_index(drop=True), views.outlines[known])


def digest(views: LabelledViews, outlined: bool) -> str:
    """Return a digest of views: identifiers, labels, lengths, the middle row of the pixels and, if asked, outlines."""
    columns = [name for name in (*KEYS, "bac", "bac_length_mm", "spacing_row_mm") if name in views.table]
    text = pd.util.hash_pandas_object(views.table[columns], index=False).to_numpy().tobytes()
    middle = np.ascontiguousarray(views.pixels[:, views.pixels.shape[1] // 2])
    found = hashlib.sha256(text + middle.tobytes())
    if outlined and views.outlines is not None:
        found.update(np.packbits(views.outlines).tobytes())
    return found.hexdigest()
