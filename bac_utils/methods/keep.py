"""Running methods so that an interrupted comparison goes on: what is finished is not done again.

The folder of a method has its weights, `scores.csv`, `looks.csv`, the heatmaps of the shown views (`shown.npz`) and
`kept.json` with digests of all that they depend on: settings, the method's own code, labels, views and outlines. If one
of these changes, the method is fitted, or only applied, again.
"""

import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bac_utils._files import file_digest, read_json, write_json, written_whole
from bac_utils.arteries.centerlines import trace_vessels
from bac_utils.methods.interface import LabelledViews, Method, check_look, check_method
from bac_utils.methods.sets import Sets, digest, with_known_outlines
from bac_utils.methods.shares import dice, share_near
from bac_utils.quantify import upsample_map
from bac_utils.run_folder import KEYS, read_rows

KEPT, SCORES, LOOKS, SHOWN = "kept.json", "scores.csv", "looks.csv", "shown.npz"


@dataclass(frozen=True)
class Outcome:
    """What a method gave.

    Attributes:
        method: The method; its attributes describe it.
        scores: One row per test view: `KEYS`, `bac, score`.
        looks: One row per view that was looked at, those of BAC in the test set and the measured ones: `KEYS, set, bac,
            bac_length_mm, measure, length_mm, localisation, dice, seconds` and further measures; NaN where unknown.
            `length_mm` is the length of the traced mask.
        shown: Heatmaps of the shown views, each (h, w) in [0, 1].
        training_minutes: Duration of the fit.
        parameters: Number of weights.
    """

    method: Method
    scores: pd.DataFrame
    looks: pd.DataFrame
    shown: list[np.ndarray]
    training_minutes: float
    parameters: int


def run_method(method: Method, sets: Sets, folder: Path, shown: Sequence[int] = ()) -> Outcome:
    """Fit a method and apply it, as far as this has not been done before.

    Args:
        method: The method.
        sets: The views.
        folder: Folder of all methods; this one's is `folder / method.name`.
        shown: Places of test views whose heatmaps are kept.

    Returns:
        What it gave.

    Raises:
        ValueError: The method breaks a rule of the interface, or needs outlines that are not known.
    """
    own = folder / check_method(method).name
    kept = _kept(own)
    fitted, applied = _digests(method, sets, shown)
    if kept.get("fitted") != fitted:
        kept = _fit(method, sets, own, fitted)
    elif kept.get("applied") != applied:
        method.load(own)
    if kept.get("applied") != applied:
        _apply(method, sets, own, shown)
        kept |= {"applied": applied}
        write_json(own / KEPT, kept)
    with np.load(own / SHOWN) as saved:
        heats = [saved[name].astype(np.float32) for name in sorted(saved.files)]
    method.parameters = int(kept["parameters"])
    rows = read_rows(own / SCORES), read_rows(own / LOOKS)
    return Outcome(method, *rows, heats, float(kept["training_minutes"]), method.parameters)


def _kept(own: Path) -> dict:
    """Return what is known of the results in a method's folder; nothing if they are not whole."""
    try:
        return read_json(own / KEPT)
    except (FileNotFoundError, ValueError):
        return {}


def _digests(method: Method, sets: Sets, shown: Sequence[int]) -> tuple[str, str]:
    """Return digests of all that the fit depends on, and of all that the results depend on."""
    pixelwise = method.supervision == "pixel"
    what = {"settings": method.settings(), "kind": type(method).__name__, "supervision": method.supervision}
    what["code"] = [file_digest(Path(path)) for path in _sources(method)]
    if method.supervision != "none":
        what["views"] = [digest(sets.train, pixelwise), digest(sets.validation, False)]
    fitted = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    others = [digest(sets.test, True), digest(sets.measured, True), [int(place) for place in shown]]
    others.append(file_digest(Path(__file__)))  # its columns
    return fitted, hashlib.sha256(json.dumps([fitted, *others]).encode()).hexdigest()


def _sources(method: Method) -> list[str]:
    """Return the files of the method's class and of those that it is made from, other than the interface."""
    classes = [kind for kind in type(method).__mro__ if issubclass(kind, Method) and kind is not Method]
    return [path for path in map(inspect.getsourcefile, classes) if path]


def _fit(method: Method, sets: Sets, own: Path, fitted: str) -> dict:
    """Fit a method in its folder; one with another fit, finished or not, is emptied first."""
    begun = own / "begun.json"
    same = begun.is_file() and read_json(begun).get("fitted") == fitted
    if own.is_dir() and not same:
        shutil.rmtree(own)
    own.mkdir(parents=True, exist_ok=True)
    before = float(read_json(begun).get("seconds", 0)) if same else 0.0
    write_json(begun, {"fitted": fitted, "seconds": before})
    train = with_known_outlines(sets.train) if method.supervision == "pixel" else sets.train
    start = time.perf_counter()
    try:
        method.fit(train, sets.validation, own)
    finally:
        seconds = before + time.perf_counter() - start
        write_json(begun, {"fitted": fitted, "seconds": seconds})
    learned = 0.0 if method.supervision == "none" else seconds / 60
    minutes = getattr(method, "training_minutes", learned)
    kept = {"fitted": fitted, "training_minutes": minutes, "parameters": method.parameters}
    write_json(own / KEPT, kept)
    return kept


def _apply(method: Method, sets: Sets, own: Path, shown: Sequence[int]) -> None:
    """Score the test views, look at those with BAC and at the measured ones, and write the tables."""
    scores = np.asarray(method.scores(sets.test), float)
    if scores.shape != (len(sets.test),) or not np.isfinite(scores).all():
        raise ValueError(f"scores: got shape {scores.shape} from {method.name}, must be ({len(sets.test)},), finite")
    known = [name for name in KEYS if name in sets.test.table]
    _write(sets.test.table[[*known, "bac"]].assign(score=scores), own / SCORES)
    places = [("test", sets.test, place) for place in np.flatnonzero(_outlined(sets.test))]
    places += [("measured", sets.measured, place) for place in range(len(sets.measured))]
    if places:  # the first call is slower
        _, views, place = places[0]
        method.look(np.asarray(views.pixels[place], np.float32), views.spacing_mm(place))
    rows = [_look(method, name, views, int(place)) for name, views, place in tqdm(places, f"looking, {method.name}")]
    columns = [*KEYS, "set", "bac", "bac_length_mm", "measure", "length_mm", "localisation", "dice", "seconds"]
    table = pd.DataFrame(rows)
    _write(table.reindex(columns=[*columns, *(n for n in table if n not in columns)]), own / LOOKS)
    heats = {}
    for number, place in enumerate(shown):
        pixels = np.asarray(sets.test.pixels[place], np.float32)
        look = check_look(method.look(pixels, sets.test.spacing_mm(place)), pixels.shape, method.name)
        heats[f"view{number:03d}"] = np.asarray(look.heat, np.float16)
    with written_whole(own / SHOWN) as part:
        np.savez_compressed(part, **heats)


def _outlined(views: LabelledViews) -> np.ndarray:
    """Return which views show BAC whose outline is known, bool (N,)."""
    none = np.zeros(len(views), bool)
    return none if views.outlines is None else views.outlines.any(axis=(1, 2)) & (views.labels == 1)


def _look(method: Method, name: str, views: LabelledViews, place: int) -> dict:
    """Return the row of one view."""
    row, pixels = views.table.iloc[place], np.asarray(views.pixels[place], np.float32)
    spacing, start = views.spacing_mm(place), time.perf_counter()
    look = method.look(pixels, spacing)
    seconds = time.perf_counter() - start
    look = check_look(look, pixels.shape, method.name)
    known = {key: row.get(key, "") for key in KEYS} | {"set": name, "bac": row["bac"]}
    found = {"bac_length_mm": row.get("bac_length_mm", np.nan), "measure": look.measure, "seconds": seconds}
    if look.mask is not None and spacing is not None:
        found["length_mm"] = trace_vessels(look.mask, spacing).length_mm
    if _outlined(views)[place]:
        outline = views.outlines[place]
        if spacing is not None:
            found["localisation"] = share_near(upsample_map(look.heat, pixels.shape), outline, spacing)
        if look.mask is not None:
            found["dice"] = dice(look.mask, outline)
    return known | found | {key: float(value) for key, value in look.others.items()}


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically."""
    with written_whole(path) as part:
        table.to_csv(part, index=False)
