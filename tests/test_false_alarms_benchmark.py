"""The development benchmark for false alarms: what it draws, and how it counts."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from false_alarms import (  # noqa: E402
    ARTERIES,
    LOOKALIKES,
    UNCHANGED,
    View,
    _files,
    examples,
    plain,
    reduced,
    sensitive_threshold,
    sharpened,
    summarise,
    windowed,
)

SPACING_MM = 0.25
DRAWN = LOOKALIKES | ARTERIES


@pytest.fixture(scope="module")
def view():
    """A breast of 120 x 70 mm, brighter than the background, with a smooth texture."""
    rows, columns = np.mgrid[:560, :360] * SPACING_MM
    breast = ((rows - 70) / 60) ** 2 + (columns / 70) ** 2 < 1
    texture = np.random.default_rng(3).normal(0, 20, breast.shape)
    return np.where(breast, 500 + texture, 10).astype(np.float32), breast


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("seed", range(6))
def test_a_kind_is_drawn_inside_the_breast_only_and_within_its_range(view, kind, seed):
    pixels, breast = view
    drawn = DRAWN[kind](pixels, breast, SPACING_MM, np.random.default_rng([9, seed]))
    assert drawn.dtype == np.float32 and drawn.shape == pixels.shape
    changed = drawn != pixels
    assert changed.sum() * SPACING_MM**2 > 1  # mm2
    assert not changed[~breast].any()
    assert pixels[breast].min() <= drawn[breast].min() and drawn[breast].max() <= pixels[breast].max()


@pytest.mark.parametrize("kind", DRAWN)
def test_a_seed_gives_the_same_drawing_and_another_seed_another_one(view, kind):
    first, second, other = (DRAWN[kind](*view, SPACING_MM, np.random.default_rng([9, n])) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("kind", sorted(set(DRAWN) - {"edges"}))
def test_all_but_the_stairs_only_brighten(view, kind):
    pixels, breast = view
    assert (DRAWN[kind](pixels, breast, SPACING_MM, np.random.default_rng(4)) >= pixels).all()


def test_the_draws_are_divided_among_the_views(view):
    views = [View("films", str(n), view[0], SPACING_MM, plain) for n in range(3)]
    kinds = [[kind for kind, _ in examples(one, number, 3, 4)] for number, one in enumerate(views)]
    assert [one.count(UNCHANGED) for one in kinds] == [1, 1, 1]
    assert {kind: [one.count(kind) for one in kinds] for kind in DRAWN} == {kind: [2, 1, 1] for kind in DRAWN}


def test_counts_of_a_table_made_by_hand():
    # 20 arteries with scores 0.05 to 1: 95 % are 19 of them, found at 0.1.
    scores = [("walls" if n % 2 else "dotted", n / 20) for n in range(1, 21)]
    scores += [("coarse", 0.02), ("coarse", 0.1), ("coarse", 0.7), ("fine", 0.5), (UNCHANGED, 0.07)]
    table = pd.DataFrame(scores, columns=["kind", "score"]).assign(source="films")
    found = summarise(table, 0.5)
    assert list(found.index) == ["coarse", "fine", "all look-alikes", UNCHANGED]
    assert found["n"].tolist() == [3, 1, 4, 1]
    assert found["own"].tolist() == [1, 1, 2, 0]
    assert found["95%"].tolist() == [2, 1, 3, 0]
    assert found["50%"].tolist() == [1, 0, 1, 0]  # 10 arteries score 0.55 or more
    # Pairs in which the artery has the higher score, ties as a half: 20, 18.5 and 6.5 of 20; 10.5; and 19.
    assert found["AUC-ROC"].tolist() == pytest.approx([45 / 60, 10.5 / 20, 55.5 / 80, 19 / 20])


def test_auc_by_view_compares_with_the_arteries_of_the_same_kind_of_view():
    scores = [("films", "walls", 0.3), ("films", "coarse", 0.2), ("films", "coarse", 0.4), ("plain", "coarse", 0.9)]
    scores += [("views", "dotted", 0.6), ("views", "fine", 0.5)]
    found = summarise(pd.DataFrame(scores, columns=["source", "kind", "score"]), 0.5, "source")
    assert found["n"].tolist() == [2, 1, 1, 4, 0]
    assert found["own"].tolist() == [0, 1, 1, 2, 0]
    # By hand: 1 of 2 pairs; no arteries; 1 of 1 pair; of all, 0.3 exceeds 1 and 0.6 exceeds 3 of 4.
    assert found["AUC-ROC"].tolist() == pytest.approx([0.5, np.nan, 1, 0.5, np.nan], nan_ok=True)


@pytest.mark.parametrize("sensitivity, threshold", [(0.95, 1), (0.9, 2), (0.91, 1), (0.5, 6), (1, 1)])
def test_the_threshold_of_a_sensitivity_is_the_highest_that_reaches_it(sensitivity, threshold):
    assert sensitive_threshold(np.arange(1, 11.0), sensitivity) == threshold


def test_files_with_bac_in_their_names_and_other_files_are_left_out(tmp_path):
    for name in ("b.png", "a.DCM", "c_BAC.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in _files(tmp_path)] == ["a.DCM", "b.png"]
    assert _files(None) == []


def test_processing_keeps_the_range(view):
    pixels, breast = view
    sharp = sharpened(pixels, breast, SPACING_MM)
    assert sharp.min() >= pixels.min() and sharp.max() <= pixels.max() and sharp[breast].std() > pixels[breast].std()
    eight = windowed(pixels, breast, SPACING_MM)
    assert (eight == np.round(eight)).all() and (eight.min(), eight.max()) == (0, 255)


def test_a_fine_view_is_reduced_to_a_tenth_of_a_millimetre(view):
    small, spacing = reduced(view[0], 0.05)
    assert (small.shape, spacing) == ((280, 180), 0.1)
    same, spacing = reduced(view[0], 0.15)
    assert same is view[0] and spacing == 0.15
