"""Compositing of synthetic lesions, and their local labels."""

from dataclasses import replace

import numpy as np
import pytest

from bac_utils.pretraining import compositing
from bac_utils.pretraining.compositing import SyntheticLesions, add_lesions, draw_pair
from bac_utils.pretraining.patches import local_labels
from bac_utils.pretraining.synthetic_lesions import draw_lesion


@pytest.fixture
def one():
    """An artery in the second square of the first row, and a dot in the middle as a mimic."""
    artery, mimic = np.zeros((1, 48, 48), np.float16), np.zeros((1, 48, 48), np.float16)
    artery[0, 4:12, 20:28], mimic[0, 23:25, 23:25] = 1, 1
    labels = np.zeros((1, 3, 3), np.int8)
    labels[0, 0, 1] = 1
    return SyntheticLesions(artery, labels, mimic, 0.0)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 1.0)
    monkeypatch.setattr(compositing, "SOFT_SHARE", 0.0)


def changed(before, after):
    rows, columns = (n // 16 for n in before.shape)
    return (before != after)[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).any(axis=(1, 3))


def test_pair_is_an_artery_with_its_labels_and_a_mimic():
    intensity, labels, mimic = draw_pair(3, 112, (0.15, 0.3))
    for first, again in zip((intensity, labels, mimic), draw_pair(3, 112, (0.15, 0.3)), strict=True):
        np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng([3, 17])  # the spacing as documented
    pixel = float(rng.choice((0.15, 0.3)) * np.exp(rng.uniform(-0.2, 0.2)))
    expected, artery = draw_lesion(3, True, 112, pixel)
    np.testing.assert_array_equal(intensity, expected)
    np.testing.assert_array_equal(labels, local_labels(artery, pixel**2))
    assert (labels == 1).any()
    assert mimic.any()


@pytest.mark.parametrize("shape", [(48, 48), (160, 96), (165, 99)])
def test_labels_lie_where_the_artery_was_added(one, always, shape):
    pixels = np.random.default_rng(0).normal(3, 0.1, shape).astype(np.float16)
    empty = np.zeros((shape[0] // 16, shape[1] // 16), np.int8)
    places = set()
    for seed in range(30):
        result, labels = add_lesions(pixels, empty, one, np.random.default_rng(seed))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(changed(pixels.astype(np.float32), result), labels == 1)
        assert (labels == 1).sum() == 1
        places.add(int(labels.argmax()))
    assert len(places) >= 4  # rotated and mirrored, and moved in a larger image
    assert not empty.any()


def test_artery_takes_precedence_over_undecided_and_that_over_none(one, always):
    pixels = np.full((48, 48), 3, np.float16)
    for old, expected in ((0, [0, 1]), (-1, [-1, 1]), (1, [1, 1])):
        before = np.full((3, 3), old, np.int8)
        _, labels = add_lesions(pixels, before, one, np.random.default_rng(0))
        assert sorted(set(labels.ravel().tolist())) == sorted(set(expected))
        assert (labels == 1).sum() == (9 if old == 1 else 1)


def test_outside_the_breast_there_is_no_artery(one, always):
    pixels = np.zeros((48, 48), np.float16)
    _, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not labels.any()
    pixels[::2] = 3  # half of each square is breast: too little to decide
    _, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert sorted(labels.ravel().tolist()) == [-1] + [0] * 8


def test_a_mimic_changes_the_image_but_no_label(one, monkeypatch):
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 0.0)
    monkeypatch.setattr(compositing, "SOFT_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.1, (48, 48)).astype(np.float16)
    before = np.eye(3, dtype=np.int8)
    result, labels = add_lesions(pixels, before, replace(one, mean_mimics=5.0), np.random.default_rng(0))
    assert changed(pixels.astype(np.float32), result).tolist() == (np.arange(9).reshape(3, 3) == 4).tolist()
    np.testing.assert_array_equal(labels, before)


def test_fractions_of_images_with_an_artery_and_of_blurred_images(one):
    pixels = np.random.default_rng(0).normal(3, 0.5, (48, 48)).astype(np.float16)
    rng, arteries, soft = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        result, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, rng)
        arteries += labels.any()
        soft += (result[32:] != pixels[32:].astype(np.float32)).mean() > 0.9
    assert arteries / 1000 == pytest.approx(compositing.ARTERY_SHARE, abs=0.05)
    assert soft / 1000 == pytest.approx(compositing.SOFT_SHARE, abs=0.05)


def test_blurring_keeps_the_background(one, monkeypatch):
    monkeypatch.setattr(compositing, "SOFT_SHARE", 1.0)
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.5, (48, 48)).astype(np.float16)
    pixels[:, :16] = 0
    result, _ = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not result[:, :16].any()
    inner = np.s_[8:40, 28:40]
    assert result[inner].std() < 0.9 * pixels[inner].astype(float).std()
    assert result[inner].mean() == pytest.approx(pixels[inner].astype(float).mean(), abs=0.05)


def test_parts_of_the_lesions(one):
    both = SyntheticLesions(*(np.concatenate([v, v + 1]) for v in (one.arteries, one.labels, one.mimics)), 2.0)
    head, tail = both.part(None, 1), both.part(1, None)
    np.testing.assert_array_equal(head.arteries, one.arteries)
    np.testing.assert_array_equal(tail.labels, one.labels + 1)
    assert head.mean_mimics == tail.mean_mimics == 2.0
