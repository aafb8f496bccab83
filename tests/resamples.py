"""Resamples of women the slow way, to hold the weighted ones against."""

import numpy as np
import pandas as pd


def naive_resamples(frame, samples, seed):
    """Copy the views of every drawn woman, as often as she was drawn."""
    ids = frame["patient_id"].unique()
    views = {name: part for name, part in frame.groupby("patient_id")}
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield pd.concat([views[ids[k]] for k in rng.integers(len(ids), size=len(ids))])
