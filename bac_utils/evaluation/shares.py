"""Shares of views with intervals that allow for several views per woman."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.statistics import LEAST_WOMEN, effective_size, share_interval, weights_of_women


def shares(
    hits: Sequence[float], groups: Sequence[int], frame: pd.DataFrame, samples: int, seed: int
) -> tuple[np.ndarray, list[list[float | None]]]:
    """Compute the share of hits in each group of views, and its 95 % interval.

    The interval is `statistics.share_interval` with the effective number of views (`statistics.effective_size`) from a
    bootstrap over women.

    Args:
        hits: (N,), 0 or 1.
        groups: int (N,), the group of each view, 0, 1, ..., k - 1; each group has a view.
        frame: One row per view: `patient_id`.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The shares, float64 (k,), and [low, high] of each; [None, None] for a group of fewer than `LEAST_WOMEN` women.
    """
    hits, groups = np.asarray(hits, float), np.asarray(groups)
    inside = (groups[:, None] == np.arange(groups.max() + 1)).astype(float)
    found = hits @ inside / inside.sum(axis=0)
    codes, _ = pd.factorize(frame["patient_id"])
    with np.errstate(invalid="ignore"):
        draws = np.concatenate(
            [(weights * hits) @ inside / (weights @ inside) for weights in weights_of_women(frame, samples, seed)]
        )
    intervals: list[list[float | None]] = []
    for share, drawn, members in zip(found, draws.T, inside.T, strict=True):
        rows = np.bincount(codes, members)
        if (rows > 0).sum() < LEAST_WOMEN:
            intervals.append([None, None])
            continue
        intervals.append(share_interval(share, effective_size(share * (1 - share), drawn, rows)))
    return found, intervals
