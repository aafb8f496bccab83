"""Random winding lines, in mm, along which the lesions of the pretraining are drawn."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bac_utils.simulator.anatomy import PATH_STEP_MM


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a log-uniform distribution."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def wander(rng: np.random.Generator, n: int, smooth: float, size: float) -> np.ndarray:
    """Return `n` values of smooth noise: mean about 0, standard deviation `size`, smoothed over `smooth` values."""
    noise = gaussian_filter1d(rng.standard_normal(n + int(6 * smooth) + 2), smooth)[int(3 * smooth) :][:n]
    return noise / (noise.std() + 1e-9) * size


def varied(rng: np.random.Generator, n: int, smooth: float, size: float) -> np.ndarray:
    """Return `n` factors that vary smoothly about 1, by at most three times `size`; see `wander`."""
    return 1 + np.clip(wander(rng, n, smooth, size), -3 * size, 3 * size)


def course(rng: np.random.Generator, field: float, length: float, bend: float) -> np.ndarray:
    """Return a tortuous line through the middle part of the field: (n, 2) x, y in mm, one point per `PATH_STEP_MM`.

    `bend` is the standard deviation of its direction in radians.
    """
    n = max(int(length / PATH_STEP_MM), 12)
    angle = rng.uniform(0, 2 * np.pi) + wander(rng, n, rng.uniform(4, 12) / PATH_STEP_MM, bend)
    angle += rng.normal(0, 0.02) * PATH_STEP_MM * np.arange(n)
    line = np.cumsum(np.column_stack([np.cos(angle), np.sin(angle)]), axis=0) * PATH_STEP_MM
    return line - line[rng.integers(n)] + field * rng.uniform(0.2, 0.8, 2)


def sideways(line: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    """Shift each point of a line, (n, 2) in mm, at right angles to the line by an offset, (n,) in mm."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return line + np.broadcast_to(offset, len(line))[:, None] * along[:, ::-1] * (-1, 1)


def on(line: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate a line, (n, 2), at fractional point indices, (m,): (m, 2)."""
    return np.column_stack([np.interp(at, np.arange(len(line)), line[:, k]) for k in (0, 1)])


def taper(n: int) -> np.ndarray:
    """Return `n` factors for the thickness of a thread: 1, decreasing towards both ends."""
    return np.minimum(4 * np.sin(np.pi * np.linspace(0.02, 0.98, n)), 1)
