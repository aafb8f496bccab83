"""Drawings in the pictures of the pretraining, and their cells."""

import numpy as np
import pytest

from bac_utils.pretraining import compositing as training_drawings
from bac_utils.pretraining.compositing import Drawings, decorate, draw_pair
from bac_utils.pretraining.patches import artery_cells
from bac_utils.pretraining.synthetic_lesions import draw


@pytest.fixture
def one():
    """An artery that fills the second cell of the first row, and a dot in the middle that is none."""
    light, other = np.zeros((1, 48, 48), np.float16), np.zeros((1, 48, 48), np.float16)
    light[0, 4:12, 20:28], other[0, 23:25, 23:25] = 1, 1
    cells = np.zeros((1, 3, 3), np.int8)
    cells[0, 0, 1] = 1
    return Drawings(light, cells, other, 0.0)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(training_drawings, "ARTERY_SHARE", 1.0)
    monkeypatch.setattr(training_drawings, "SOFT_SHARE", 0.0)


def changed(before, after):
    rows, columns = (n // 16 for n in before.shape)
    return (before != after)[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).any(axis=(1, 3))


def test_pair_is_an_artery_with_its_cells_and_another_thing():
    light, cells, other = draw_pair(3, 112, (0.15, 0.3))
    for first, again in zip((light, cells, other), draw_pair(3, 112, (0.15, 0.3)), strict=True):
        np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng([3, 17])  # the spacing, drawn as documented
    pixel = float(rng.choice((0.15, 0.3)) * np.exp(rng.uniform(-0.2, 0.2)))
    expected, artery = draw(3, True, 112, pixel)
    np.testing.assert_array_equal(light, expected)
    np.testing.assert_array_equal(cells, artery_cells(artery, pixel**2))
    assert (cells == 1).any()
    assert other.any()


@pytest.mark.parametrize("shape", [(48, 48), (160, 96), (165, 99)])
def test_cells_lie_where_the_artery_was_drawn(one, always, shape):
    pixels = np.random.default_rng(0).normal(3, 0.1, shape).astype(np.float16)
    empty = np.zeros((shape[0] // 16, shape[1] // 16), np.int8)
    places = set()
    for seed in range(30):
        drawn, cells = decorate(pixels, empty, one, np.random.default_rng(seed))
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(changed(pixels.astype(np.float32), drawn), cells == 1)
        assert (cells == 1).sum() == 1
        places.add(int(cells.argmax()))
    assert len(places) >= 4  # turned and mirrored, in a larger picture moved too
    assert not empty.any()


def test_artery_wins_over_no_opinion_and_that_over_none(one, always):
    pixels = np.full((48, 48), 3, np.float16)
    for old, expected in ((0, [0, 1]), (-1, [-1, 1]), (1, [1, 1])):
        before = np.full((3, 3), old, np.int8)
        _, cells = decorate(pixels, before, one, np.random.default_rng(0))
        assert sorted(set(cells.ravel().tolist())) == sorted(set(expected))
        assert (cells == 1).sum() == (9 if old == 1 else 1)


def test_outside_the_breast_there_is_no_artery(one, always):
    pixels = np.zeros((48, 48), np.float16)
    _, cells = decorate(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not cells.any()
    pixels[::2] = 3  # half of each cell is breast: too little for an opinion
    _, cells = decorate(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert sorted(cells.ravel().tolist()) == [-1] + [0] * 8


def test_what_is_no_artery_changes_the_picture_and_no_cell(one, monkeypatch):
    monkeypatch.setattr(training_drawings, "ARTERY_SHARE", 0.0)
    monkeypatch.setattr(training_drawings, "SOFT_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.1, (48, 48)).astype(np.float16)
    truth = np.eye(3, dtype=np.int8)
    drawn, cells = decorate(pixels, truth, Drawings(one.arteries, one.cells, one.others, 5.0), np.random.default_rng(0))
    assert changed(pixels.astype(np.float32), drawn).tolist() == (np.arange(9).reshape(3, 3) == 4).tolist()
    np.testing.assert_array_equal(cells, truth)


def test_shares_of_drawn_arteries_and_of_softened_pictures(one):
    pixels = np.random.default_rng(0).normal(3, 0.5, (48, 48)).astype(np.float16)
    rng, arteries, soft = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        drawn, cells = decorate(pixels, np.zeros((3, 3), np.int8), one, rng)
        arteries += cells.any()
        soft += (drawn[32:] != pixels[32:].astype(np.float32)).mean() > 0.9
    assert arteries / 1000 == pytest.approx(training_drawings.ARTERY_SHARE, abs=0.05)
    assert soft / 1000 == pytest.approx(training_drawings.SOFT_SHARE, abs=0.05)


def test_softening_keeps_the_background(one, monkeypatch):
    monkeypatch.setattr(training_drawings, "SOFT_SHARE", 1.0)
    monkeypatch.setattr(training_drawings, "ARTERY_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.5, (48, 48)).astype(np.float16)
    pixels[:, :16] = 0
    drawn, _ = decorate(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not drawn[:, :16].any()
    inner = np.s_[8:40, 28:40]
    assert drawn[inner].std() < 0.9 * pixels[inner].astype(float).std()
    assert drawn[inner].mean() == pytest.approx(pixels[inner].astype(float).mean(), abs=0.05)


def test_parts_of_the_drawings(one):
    both = Drawings(*(np.concatenate([v, v + 1]) for v in (one.arteries, one.cells, one.others)), 2.0)
    head, tail = both.part(None, 1), both.part(1, None)
    np.testing.assert_array_equal(head.arteries, one.arteries)
    np.testing.assert_array_equal(tail.cells, one.cells + 1)
    assert head.mean_others == tail.mean_others == 2.0
