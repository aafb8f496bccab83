"""Batches for the pretraining, made in worker processes from images that they share.

They are made with NumPy alone, so that the networks can be trained with any backend of Keras.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bac_utils._workers import in_order

CONTRAST, BRIGHTNESS, NOISE = (-0.7, 0.4), (-0.4, 0.4), 0.12
"""Augmentation: ranges of the logarithm of a factor on the pixels (0.5 to 1.5) and of an offset, and the largest
standard deviation of the noise, in standard deviations of the breast."""

Example = Callable[[Mapping[str, np.ndarray], int, np.random.Generator], tuple[np.ndarray, ...]]
"""Makes a training example, a tuple of arrays, from stored arrays, an image's number and a source of randomness."""


class Batches:
    """Shuffled batches of one size, other examples in each epoch.

    Attributes:
        steps: Number of batches in an epoch. Images that do not fill a batch are left out, others in each epoch.
    """

    def __init__(self, folder: Path, arrays: Mapping[str, np.ndarray], make: Example, size: int, seed: int) -> None:
        """Store the arrays in files, which the worker processes share.

        Args:
            folder: A folder for the files.
            arrays: Arrays by name; the first one has an image per row.
            make: Makes an example; it must be possible to pickle it.
            size: Examples in a batch; at most as many as there are images.
            seed: Seed of order and examples.
        """
        self._folder = folder
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        number = len(next(iter(arrays.values())))
        size = min(size, number)
        self.steps = number // size
        self._make = partial(make_batch, folder=folder, names=tuple(arrays), make=make, size=size, seed=seed)

    def epochs(self, number: int, workers: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of some epochs: the arrays of the examples, stacked.

        Args:
            number: Number of epochs.
            workers: Number of processes that make them; 0 makes them in this one.
        """
        steps = range(number * self.steps)
        if workers == 0:
            yield from map(self._make, steps)
            return
        for path in in_order(partial(_written, make=self._make, folder=self._folder), steps, workers):
            with path.open("rb") as file:
                batch = pickle.load(file)
            path.unlink()
            yield batch


@contextmanager
def stored_batches(
    parent: Path | None, arrays: Mapping[str, np.ndarray], make: Example, size: int, seed: int
) -> Iterator[Batches]:
    """Give `Batches` with files in a new folder in `parent`, or in that of temporary files; removed at the end."""
    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:  # a worker may still write, if stopped
        yield Batches(Path(folder), arrays, make, size, seed)


def make_batch(
    step: int, folder: Path, names: tuple[str, ...], make: Example, size: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Make a batch; the same step always gives the same one.

    Args:
        step: Number of the batch, counted over all epochs.
        folder: Folder of the stored arrays.
        names: Their names.
        make: Makes an example.
        size: Examples in a batch.
        seed: Seed of order and examples.
    """
    arrays = _stored(folder, names)
    number = len(arrays[names[0]])
    epoch, place = divmod(step, number // size)
    chosen = np.random.default_rng([seed, 2, epoch]).permutation(number)[place * size : (place + 1) * size]
    rng = np.random.default_rng([seed, 3, step])
    return tuple(np.stack(part) for part in zip(*(make(arrays, int(k), rng) for k in chosen), strict=True))


def augmented(pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip an image and its local labels, vary contrast and brightness, add noise; 0 outside the breast is kept.

    Args:
        pixels: (H, W).
        labels: (h, w) or (h, w, K).
        rng: Source of randomness.

    Returns:
        New pixels, float32 (H, W, 1), and labels.
    """
    rows, columns = (slice(None, None, int(rng.choice((1, -1)))) for _ in range(2))
    pixels, labels = pixels[rows, columns], labels[rows, columns]
    changed = pixels * np.exp(rng.uniform(*CONTRAST)) + rng.uniform(*BRIGHTNESS)
    changed += rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, NOISE)
    return np.where(pixels != 0, changed, 0).astype(np.float32)[..., None], labels


def _written(step: int, make: Callable[[int], tuple[np.ndarray, ...]], folder: Path) -> Path:
    """Make a batch and write it to a file, which is faster than the pipe from a worker process."""
    path = folder / f"{step}.batch"
    with path.open("wb") as file:
        pickle.dump(make(step), file, protocol=5)
    return path


@lru_cache(1)
def _stored(folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Open the stored arrays without reading them into memory."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
