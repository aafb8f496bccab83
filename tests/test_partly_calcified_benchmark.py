"""The benchmark of vessels that are calcified in part: what it draws, and its table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from look_alikes import STEP_MM  # noqa: E402
from partly_calcified import APART_MM, STRETCH_MM, calcified_stretches, partly_calcified, summarise  # noqa: E402

SPACING_MM = 0.25


def test_stretches_lie_apart_on_the_line():
    points, numbers = int(90 / STEP_MM), []
    for seed in range(200):
        parts = calcified_stretches(np.random.default_rng(seed), points)
        numbers.append(len(parts))
        for part in parts:
            assert STRETCH_MM[0] - STEP_MM <= (part.stop - part.start) * STEP_MM <= STRETCH_MM[1]
            assert part.start >= 0 and part.stop <= points
        for one, other in zip(parts, parts[1:], strict=False):
            assert (other.start - one.stop) * STEP_MM >= APART_MM - STEP_MM
    assert set(numbers) == {1, 2, 3}
    assert calcified_stretches(np.random.default_rng(0), 20) == []  # a line too short for any


def test_the_true_length_is_that_of_the_calcified_stretches(monkeypatch):
    """Two stretches of 10 and 25 mm; where nothing is calcified, only the pale tube is added."""
    import partly_calcified as module

    parts = [slice(int(5 / STEP_MM), int(15 / STEP_MM)), slice(int(30 / STEP_MM), int(55 / STEP_MM))]
    monkeypatch.setattr(module, "calcified_stretches", lambda rng, points: parts)
    rows, columns = np.mgrid[:560, :360] * SPACING_MM
    breast = ((rows - 70) / 60) ** 2 + (columns / 70) ** 2 < 1
    pixels = np.where(breast, 500 + np.random.default_rng(3).normal(0, 20, breast.shape), 10).astype(np.float32)
    styles = set()
    for seed in range(6):
        drawn, length, style = partly_calcified(pixels, breast, SPACING_MM, np.random.default_rng(seed))
        styles.add(style)
        assert length == pytest.approx(35, abs=2 * STEP_MM)
        assert not (drawn != pixels)[~breast].any()
        added = drawn - pixels
        assert added.min() >= -1e-3 and added.max() > 10
    assert styles == {"dotted", "walls"}


def test_the_table_counts_the_views_traced():
    """20 of 20, 33 of 30, and one of 40 mm not traced: bias 53 / 50 - 1 = 6 %, median ratio of 1 and 1.1."""
    rows = pd.DataFrame(
        {
            "style": ["dotted", "walls", "walls"],
            "true": [20.0, 30.0, 40.0],
            "measured": [20.0, 33.0, np.nan],
            "bac": [False, True, True],
        }
    )
    table = summarise(rows)
    assert table.loc["all", ["views", "traced"]].tolist() == [3, 2]
    assert table.loc["BAC+", ["views", "traced"]].tolist() == [2, 1]
    assert table.loc["all", "bias"] == pytest.approx(0.06)
    assert table.loc["all", "median ratio"] == pytest.approx(1.05)
    assert table.loc["walls", "bias"] == pytest.approx(0.1)
