"""Frozen models on another cohort: one row per view, with scores, measures and how the image was acquired.

Nothing is fitted here. A view is classified and measured by `detector.Detector`, as in `score` and notebook 04.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bac_utils import __version__
from bac_utils._files import file_digest
from bac_utils.dataset import read_view
from bac_utils.detector import Detector
from bac_utils.evaluation.grey_levels import grey_levels
from bac_utils.intake.mammogram import PASSING, Skip
from bac_utils.intake.vendor import read_vendor
from bac_utils.preprocess import prepare

LOOKED_FILE = "looked.jsonl"
"""Results so far, in the cache folder: one line of JSON per view."""


def look_at_views(
    views: pd.DataFrame, models: Mapping[str, Detector], cache: str | Path
) -> tuple[pd.DataFrame, pd.Series]:
    """Score and measure each view with one or more frozen models.

    Each finished view is kept in the cache folder. After an interruption, the next call goes on; a view is done again
    if its file (path, size or time), its row, a model or the version of the kit has changed.

    Args:
        views: A checked views table with `image_path`.
        models: Models by name; the first one also measures. A name is a suffix of columns.
        cache: Folder for the results so far; created if missing.

    Returns:
        One row per view that can be read, with the index of `views`: `score, call` (0 or 1), `bac_area_mm2`,
        `measured_length_mm` (NaN if nothing was traced or there is no spacing), `breast_area_mm2`, `spacing_mm` (mean
        of row and column spacing of the image, NaN if unknown), `vendor`, `grey_levels.GREY_LEVELS`, `saturated_share`,
        `elapsed_s`; `score_NAME` and `call_NAME` for each further model. And for the other views, the code of the
        reason (`mammogram.REASONS`).
    """
    path = Path(cache) / LOOKED_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"kit": __version__, "models": {name: _identity(model) for name, model in models.items()}}
    done = dict(_read(path, header))
    if not done:
        path.write_text(json.dumps(header) + "\n", encoding="utf-8")
    rows, reasons = {}, {}
    with path.open("a", encoding="utf-8") as file:
        for view in tqdm(list(views.itertuples()), desc="scoring views", unit="view"):
            index, key = view.Index, _key(view)
            found = done.get(key)
            if found is None:
                found = _look(view, models)
                if found.get("reason") not in PASSING:
                    file.write("\n" + json.dumps({"key": key, "found": found}))
                    file.flush()
            if "reason" in found:
                reasons[index] = found["reason"]
            else:
                rows[index] = found
    numbers = pd.DataFrame.from_dict(rows, orient="index").reindex([i for i in views.index if i in rows])
    return numbers, pd.Series(reasons, dtype=object)


def _look(view: Any, models: Mapping[str, Detector]) -> dict:
    """Return the row of one view, or the reason why it is skipped."""
    start = time.perf_counter()
    try:
        mammogram = read_view(view)
        prepared = {shape: prepare(mammogram, *shape) for shape in {(m.shape, m.pixel_mm) for m in models.values()}}
    except Skip as skip:
        return {"reason": skip.code}
    row: dict = {}
    for number, (name, model) in enumerate(models.items()):
        seen = prepared[model.shape, model.pixel_mm]
        if number:
            finding = model.look(seen)
            row |= {f"score_{name}": finding.score, f"call_{name}": finding.bac}
            continue
        measured = model.measure(seen)
        row = {"score": measured["score"], "call": measured["bac"], "bac_area_mm2": measured["bac_area_mm2"]}
        row |= {"measured_length_mm": measured["bac_length_mm"], "breast_area_mm2": measured["breast_area_mm2"]}
        seconds = time.perf_counter() - start
        row |= grey_levels(seen.pixels) | {"saturated_share": measured["saturated_share"]}
    spacing = None if mammogram.spacing_mm is None else float(np.mean(mammogram.spacing_mm))
    return row | {"spacing_mm": spacing, "vendor": read_vendor(view.image_path), "elapsed_s": seconds}


def _identity(model: Detector) -> list:
    """Return what the results of a model depend on."""
    return [file_digest(model.path), model.point.threshold, model.point.heatmap, model.point.heatmap_threshold]


def _key(view: Any) -> str:
    """Return a digest of a row and its file."""
    path = Path(view.image_path).resolve()
    try:
        state = path.stat()
        of_file = [state.st_size, state.st_mtime_ns]
    except OSError:
        of_file = []
    parts = [str(path), *of_file, view.laterality, view.view, str(getattr(view, "pixel_spacing_mm", ""))]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _read(path: Path, header: dict) -> Iterator[tuple[str, dict]]:
    """Yield what was done before with the same models; a line that was only half written is left out."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    try:
        same = json.loads(lines[0]) == header
    except ValueError:
        same = False
    for line in lines[1:] if same else ():
        try:
            done = json.loads(line)
            yield done["key"], done["found"]
        except (ValueError, KeyError, TypeError):
            continue
