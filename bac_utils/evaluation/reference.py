"""The cohort on which a model was trained, as far as its folder keeps it: for the shift to another cohort.

A run's folder has the women, the scores of its test set and the prepared views. A model file alone has at most the
spread of its scores, in its operating point.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from bac_utils._files import read_json
from bac_utils.dataset import INDEX_FILE, PIXELS_FILE
from bac_utils.detector import find_detector
from bac_utils.evaluation.grey_levels import grey_levels
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import describe_mammogram
from bac_utils.intake.vendor import read_vendor
from bac_utils.run_folder import KEYS, read_rows
from bac_utils.views_table import read_views

LEARNED = ("train", "validation")
"""Sets whose women a model has seen: for its weights, and for its thresholds."""


def run_of(model: str | os.PathLike | None) -> Path | None:
    """Return the folder of the run that trained a model, or None if it is not beside the model file."""
    folder = find_detector(model)[0].parent
    return folder if (folder / "views.csv").is_file() and (folder / "predictions.csv").is_file() else None


def women_seen(model: str | os.PathLike | None, women: pd.Series) -> list[str]:
    """Return the women of a cohort who were in the training or validation set of a model, as far as its run says.

    Args:
        model: A .keras file or a run's folder; None for the bundled one, which has seen no women.
        women: Identifiers.

    Returns:
        Identifiers that occur in both, sorted. Two archives may use the same identifier for two women.
    """
    run = run_of(model)
    if run is None:
        return []
    seen = read_rows(run / "predictions.csv")
    return sorted(set(seen.loc[seen["split"].isin(LEARNED), "patient_id"]) & set(women))


def reference_views(model: str | os.PathLike | None) -> pd.DataFrame | None:
    """Return the test views of the run that trained a model, with what the shift to another cohort compares.

    Args:
        model: A .keras file or a run's folder; None for the bundled one.

    Returns:
        One row per view: `KEYS, bac, score, age, spacing_mm, vendor`, `GREY_LEVELS`. What the
        run does not keep is NaN or empty, such as the spacing of images that are no longer there. None without a run.
    """
    run = run_of(model)
    if run is None:
        return None
    predictions = read_rows(run / "predictions.csv")
    test = predictions[predictions["split"] == "test"]
    views = read_views(run / "views.csv")[[*KEYS, "age", "image_path"]]
    table = test.reset_index(names="place").merge(views, on=KEYS, how="left")
    stated = [_stated(path) for path in table["image_path"]]
    table[["spacing_mm", "vendor"]] = pd.DataFrame(stated, columns=["spacing_mm", "vendor"])
    return table.join(_cached(run, len(predictions), table["place"])).drop(columns=["place", "image_path", "split"])


def _stated(path: str) -> tuple[float, str]:
    """Return the pixel spacing and the vendor that a file states, NaN and empty if they are unknown."""
    try:
        spacing = describe_mammogram(path).spacing_mm
    except Skip:
        return np.nan, ""
    return np.nan if spacing is None else float(np.mean(spacing)), read_vendor(path)


def _cached(run: Path, views: int, places: pd.Series) -> pd.DataFrame:
    """Return the grey levels of the views at some places of a run's cache, empty if the cache does not fit."""
    pixels, index = run / "cache" / PIXELS_FILE, run / "cache" / INDEX_FILE
    if not (pixels.is_file() and index.is_file()):
        return pd.DataFrame(index=places.index)
    memory = open_memmap(pixels, mode="r")
    if len(memory) != views or len(read_json(index)["spacing"]) != views:
        return pd.DataFrame(index=places.index)
    return pd.DataFrame([grey_levels(memory[place]) for place in places], index=places.index)
