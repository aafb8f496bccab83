"""The benchmark of reduced copies: what a copy is, and how copies are counted."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from coarse_pixels import FACTORS, copies, summarise  # noqa: E402


def test_a_copy_is_the_mean_of_blocks():
    pixels = np.arange(35, dtype=np.float32).reshape(5, 7)
    found = {round(spacing, 3): copy for spacing, copy in copies(pixels) if copy.size}
    assert len(list(copies(np.zeros((24, 12), np.float32)))) == len(FACTORS)
    np.testing.assert_array_equal(found[0.1], pixels)
    np.testing.assert_array_equal(found[0.2], [[4, 6, 8], [18, 20, 22]])  # such as (0 + 1 + 7 + 8) / 4


def test_counts_of_a_table_made_by_hand():
    columns = ["spacing_mm", "true", "score", "bac", "length"]
    rows = [(0.1, 40, 0.9, 1, 44), (0.1, 20, 0.8, 1, 22), (0.1, 0, 0.1, 0, 0)]
    rows += [(0.8, 40, 0.1, 0, 0), (0.8, 20, 0.6, 1, np.nan), (0.8, 0, 0.5, 1, 3)]
    found = summarise(pd.DataFrame(rows, columns=columns))
    assert found[["n", "found", "traced", "false"]].to_numpy().tolist() == [[2, 2, 2, 0], [2, 1, 0, 1]]
    assert found["AUC-ROC"].tolist() == [1, 0.5]
    assert found.loc[0.1, "bias"] == pytest.approx(0.1) and np.isnan(found.loc[0.8, "bias"])
