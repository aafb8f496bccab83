"""From the views table to batches: a cache of prepared views on disk, and a tf.data pipeline with augmentation.

TensorFlow is only imported where batches are made, since the worker processes of `prepare_views` import this module too
and should not spend the time and memory.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from tqdm import tqdm

from bac_utils._files import written_whole
from bac_utils._tables import Lines
from bac_utils._workers import worker_pool
from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import prepare
from bac_utils.settings import Augmentation

PIXELS_FILE = "views.npy"
INDEX_FILE = "views.json"
COLUMNS = ("keys", "spacing", "doubt")
"""What the index keeps of each view: its key, its spacing, and why a stated spacing is not used."""
ROWS_PER_SAVE = 32
LISTED_FAILURES = 20


@dataclass(frozen=True)
class PreparedViews:
    """Prepared views and their rows of the views table, in the same order."""

    pixels: np.memmap
    """float16 (N, H, W), chest wall on the left, mean 0 and standard deviation 1 inside the breast, 0 outside."""
    table: pd.DataFrame
    """The views table with `spacing_row_mm` and `spacing_column_mm` of the prepared views (NaN if unknown), and
    `spacing_doubt`, why a stated spacing is not used (`preprocess.Prepared`; else empty)."""


def read_view(row: Any) -> Mammogram:
    """Read the image of a row of a views table.

    Args:
        row: Has the attributes `image_path, laterality, view` and, optionally, `pixel_spacing_mm`, like the rows of
            `DataFrame.itertuples`.

    Returns:
        The mammogram, with laterality, view and spacing as in the table.

    Raises:
        Skip: The file cannot be used.
    """
    spacing = getattr(row, "pixel_spacing_mm", None)
    spacing = float(spacing) if spacing is not None and spacing > 0 else None
    return read_mammogram(row.image_path, laterality=row.laterality, view=row.view, pixel_spacing_mm=spacing)


def prepare_views(
    views: pd.DataFrame,
    folder: str | Path,
    shape: tuple[int, int],
    workers: int = 1,
    pixel_mm: float | None = None,
) -> PreparedViews:
    """Read and prepare every view of the table once, and keep the results in a cache folder.

    After an interruption, the next call resumes. Views already in the cache are reused. A view is prepared again if its
    file (path, size or time), laterality, view, spacing, shape or `pixel_mm` has changed, or the code that reads and
    prepares images.

    Args:
        views: Views table with absolute paths in `image_path` (or in `image`), `laterality`, `view` and, optionally,
            `pixel_spacing_mm`.
        folder: Cache folder; created if missing. Needs 2 bytes per pixel of each prepared view.
        shape: (rows, columns) of the prepared views.
        workers: Number of processes; with 1, views are prepared in this process.
        pixel_mm: Pixel size of the prepared views, mm; None stretches every breast to `shape` (`preprocess.prepare`).

    Returns:
        The views in the order of the table; the pixels stay on disk (`np.memmap`, read-only).

    Raises:
        ValueError: An argument is out of range, or some views cannot be used. In this case, the message lists the files
            with their reasons; the other views stay in the cache.
    """
    shape = _check_shape(shape)
    if not isinstance(workers, int | np.integer) or workers < 1:
        raise ValueError(f"workers: got {workers!r}, must be an integer >= 1")
    if pixel_mm is not None and not 0 < pixel_mm < np.inf:
        raise ValueError(f"pixel_mm: got {pixel_mm!r}, must be a positive number of mm, or None")
    jobs = _jobs(views, shape, None if pixel_mm is None else float(pixel_mm))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keys = _cache_keys(jobs)
    pixels, index = _open_cache(folder, keys, shape)
    todo = [job for job in jobs if index["keys"][job[0]] is None]
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="preparing views", unit="view")
    failures = []
    try:
        for count, (row, view, spacing, doubt, reason) in enumerate(_run(todo, workers), 1):
            bar.update()
            if view is None:
                failures.append(f"{jobs[row][1]}: {reason}")
                continue
            pixels[row] = view
            index["keys"][row], index["spacing"][row], index["doubt"][row] = keys[row], spacing, doubt
            if count % ROWS_PER_SAVE == 0:
                _save_index(folder, pixels, index)
    finally:
        bar.close()
        _save_index(folder, pixels, index)
    if failures:
        more = [f"... and {len(failures) - LISTED_FAILURES} more"] if len(failures) > LISTED_FAILURES else []
        raise Lines([f"views: {len(failures)} of {len(jobs)} cannot be used", *failures[:LISTED_FAILURES], *more])
    table = views.reset_index(drop=True).copy()
    spacings = [spacing or (np.nan, np.nan) for spacing in index["spacing"]]
    table["spacing_row_mm"], table["spacing_column_mm"] = np.array(spacings, float).reshape(-1, 2).T
    table["spacing_doubt"] = index["doubt"]
    return PreparedViews(open_memmap(folder / PIXELS_FILE, mode="r"), table)


def augment(image: np.ndarray, seed_pair: Sequence[int], augmentation: Augmentation) -> np.ndarray:
    """Augment one view at random; the same seed gives the same result.

    Rotation, shifts, zoom and flips are one affine transform about the centre of the view (bilinear, 0 outside the
    frame). Gaussian noise and salt and pepper (the largest and smallest value of the view) are then added to breast
    pixels only, so that pixels outside the breast stay exactly 0.

    Args:
        image: (H, W), 0 outside the breast.
        seed_pair: Two integers >= 0.
        augmentation: Ranges of the changes.

    Returns:
        float32 (H, W).
    """
    rng = np.random.default_rng(list(seed_pair))
    height, width = image.shape
    angle, down, right, zoom = rng.uniform(-1, 1, 4)
    angle = np.deg2rad(angle * augmentation.rotation_degrees)
    centre = np.array([width - 1, height - 1]) / 2
    shift = np.array([right * width, down * height]) * augmentation.shift_fraction
    mirrors = np.where(rng.random(2) < 0.5, [augmentation.flip_horizontal, augmentation.flip_vertical], False)
    # The matrix maps an output pixel (x, y) to the input pixel that it shows.
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.where(mirrors, -1, 1)[:, None] * turn / (1 + zoom * augmentation.zoom_fraction)
    matrix = np.column_stack([matrix, centre - matrix @ (centre + shift)])
    image = np.ascontiguousarray(image, np.float32)
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = image != 0
    low, high = image.min(), image.max()
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(rng.uniform(0, augmentation.gaussian_noise_sd))
    noise *= inside
    image += noise
    hits = rng.integers(image.size, size=int(rng.uniform(0, augmentation.salt_pepper_fraction) * image.size))
    hits = hits[inside.ravel()[hits]]
    image.ravel()[hits] = np.where(np.arange(len(hits)) % 2, low, high)
    return image


def training_batches(
    pixels: Any, labels: Any, batch_size: int, augmentation: Augmentation | None, seed: int, epoch: int
) -> Any:
    """Return one epoch of shuffled, augmented batches; order and augmentation depend only on seed and epoch.

    Args:
        pixels: Prepared views (N, H, W), an array or a memmap; one view is read at a time.
        labels: N labels, 0 or 1.
        batch_size: Views per batch; the last batch may be smaller.
        augmentation: Ranges of the augmentation; None applies none.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.

    Returns:
        `tf.data.Dataset` of ((B, H, W, 1) float32, (B, 1) float32).

    Raises:
        ValueError: The shapes of pixels and labels do not match, or the batch size is below 1.
    """
    _check_batches(pixels, batch_size)
    labels = np.asarray(labels, np.float32)
    if labels.shape != (len(pixels),):
        raise ValueError(f"labels: got shape {labels.shape}, must be ({len(pixels)},), one per view")
    order = np.random.default_rng([seed, epoch]).permutation(len(pixels))

    def read(place: np.int64) -> tuple[np.ndarray, np.ndarray]:
        view = np.asarray(pixels[place], np.float32)
        if augmentation is not None:
            view = augment(view, (seed, epoch * 2**32 + int(place)), augmentation)
        return view[..., None], labels[place, None]

    return _batched(order, read, [(*pixels.shape[1:], 1), (1,)], batch_size)


def batches(pixels: Any, batch_size: int) -> Any:
    """Return batches of the views in their order, for prediction.

    Args:
        pixels: Prepared views (N, H, W), an array or a memmap; one view is read at a time.
        batch_size: Views per batch; the last batch may be smaller.

    Returns:
        `tf.data.Dataset` of (B, H, W, 1) float32.

    Raises:
        ValueError: `pixels` is not (N, H, W), or the batch size is below 1.
    """
    _check_batches(pixels, batch_size)

    def read(place: np.int64) -> tuple[np.ndarray]:
        return (np.asarray(pixels[place], np.float32)[..., None],)

    return _batched(np.arange(len(pixels)), read, [(*pixels.shape[1:], 1)], batch_size).map(lambda views: views)


def _batched(places: np.ndarray, read: Callable, shapes: list[tuple], batch_size: int) -> Any:
    """Return batches of the float32 arrays that `read` returns for each place, in order."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def load(place: Any) -> tuple:
        arrays = tf.numpy_function(read, [place], [tf.float32] * len(shapes))
        return tuple(map(tf.ensure_shape, arrays, shapes))

    return _untuned(tf.data.Dataset.from_tensor_slices(places).map(load).batch(batch_size).prefetch(1))


def _untuned(data: Any) -> Any:
    """Return the same tf.data.Dataset without TensorFlow's tuning of buffers and threads.

    The tuner sleeps for 10 ms, 20 ms, 40 ms and so on, and the end of an epoch waits for it (observed with TensorFlow
    2.21): an epoch of 41 s could take 82 s. The buffers are fixed, so there is nothing to tune.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def _check_batches(pixels: Any, batch_size: int) -> None:
    if len(pixels.shape) != 3 or pixels.shape[0] == 0:
        raise ValueError(f"pixels: got shape {tuple(pixels.shape)}, must be (N, H, W) with N >= 1")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, must be >= 1")


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) != 2 or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
        raise ValueError(f"shape: got {shape!r}, must be (rows, columns), two integers >= 1")
    return int(shape[0]), int(shape[1])


def _jobs(views: pd.DataFrame, shape: tuple[int, int], pixel_mm: float | None) -> list[tuple]:
    """Return (row, path, laterality, view, spacing or None, shape, pixel_mm) for every row of the table."""
    missing = [name for name in ("laterality", "view") if name not in views]
    column = "image_path" if "image_path" in views else "image"
    if missing or column not in views:
        raise ValueError(f"views: got no column {(missing or ['image_path'])[0]!r}, must be a views table")
    if len(views) == 0:
        raise ValueError("views: got an empty table, must have at least one row")
    spacings = views["pixel_spacing_mm"] if "pixel_spacing_mm" in views else [None] * len(views)
    rows = zip(views[column], views["laterality"], views["view"], spacings, strict=True)
    return [
        (row, str(path), side, view, None if spacing is None or pd.isna(spacing) else float(spacing), shape, pixel_mm)
        for row, (path, side, view, spacing) in enumerate(rows)
    ]


def _prepare_one(job: tuple) -> tuple[int, np.ndarray | None, tuple | None, str, str]:
    """Return (row, float16 view or None, spacing, doubt about it, reason); called in worker processes."""
    row, path, laterality, view, spacing, shape, pixel_mm = job
    try:
        mammogram = read_mammogram(path, laterality=laterality, view=view, pixel_spacing_mm=spacing)
        prepared = prepare(mammogram, shape, pixel_mm)
    except Skip as skip:
        return row, None, None, "", str(skip)
    return row, prepared.pixels.astype(np.float16), prepared.spacing_mm, prepared.spacing_doubt, ""


def _run(jobs: list[tuple], workers: int) -> Iterator[tuple]:
    """Yield the result of every job, in order."""
    if workers == 1 or len(jobs) < 2:
        yield from map(_prepare_one, jobs)
        return
    with worker_pool(min(workers, len(jobs))) as pool:
        yield from pool.map(_prepare_one, jobs)


def _cache_keys(jobs: list[tuple]) -> list[str]:
    """Return a hash for each view of everything that determines its prepared pixels."""
    package = Path(__file__).parent
    sources = [*sorted((package / "intake").glob("*.py")), package / "preprocess.py"]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    keys = []
    for _, path, *how in jobs:
        state = Path(path).stat() if Path(path).is_file() else None
        text = repr((code, path, how, state and (state.st_size, state.st_mtime_ns)))
        keys.append(hashlib.sha256(text.encode()).hexdigest()[:32])
    return keys


def _open_cache(folder: Path, keys: list[str], shape: tuple[int, int]) -> tuple[np.memmap, dict]:
    """Return the pixels, open for writing, and the index of `COLUMNS`, with None for rows still to be prepared."""
    path = folder / PIXELS_FILE
    try:
        known = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        old = open_memmap(path, mode="r+")
        if old.dtype != np.float16 or old.shape != (len(known["keys"]), *shape):
            raise ValueError("another shape or dtype")
        if not set(COLUMNS) <= set(known):
            raise ValueError("an index of an earlier version")
        if len(known["keys"]) == len(keys) and all(
            k in (None, key) for k, key in zip(known["keys"], keys, strict=True)
        ):
            return old, known
    except (OSError, ValueError, KeyError, TypeError):
        old, known = None, {name: [] for name in COLUMNS}  # no usable cache
    index = {name: [None] * len(keys) for name in COLUMNS}
    places = {key: row for row, key in enumerate(known["keys"]) if key is not None}
    with written_whole(path) as part:
        new = open_memmap(part, "w+", np.float16, (len(keys), *shape))
        _reserve(part)
        for row, key in enumerate(keys):
            if key in places:
                new[row] = old[places[key]]
                for name in COLUMNS:
                    index[name][row] = known[name][places[key]]
        new.flush()
        del old, new
        (folder / INDEX_FILE).unlink(missing_ok=True)
    pixels = open_memmap(path, mode="r+")
    _save_index(folder, pixels, index)
    return pixels, index


def _reserve(path: Path) -> None:
    """Reserve a file's space, so that a full disk is an error here; in a mapped file it would end the process."""
    if hasattr(os, "posix_fallocate"):  # Linux
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _save_index(folder: Path, pixels: np.memmap, index: dict) -> None:
    """Write the pixels, then atomically the index that refers to them."""
    pixels.flush()
    with written_whole(folder / INDEX_FILE) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
