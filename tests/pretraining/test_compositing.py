"""Compositing of synthetic lesions, and their local labels."""

from dataclasses import replace

import numpy as np
import pytest

from bac_utils.pretraining import compositing
from bac_utils.pretraining.compositing import SyntheticLesions, add_lesions, displayed, draw_pair
from bac_utils.pretraining.patches import local_labels
from bac_utils.pretraining.synthetic_lesions import draw_lesion

SHARES = ("SOFT_SHARE", "NOISE_SHARE", "SHARP_SHARE", "WINDOW_SHARE", "GAMMA_SHARE", "BYTE_SHARE", "RIM_SHARE")


@pytest.fixture
def one():
    """An artery in the second square of the first row, and a dot in the middle as a mimic."""
    artery, mimic = np.zeros((1, 24, 24), np.float16), np.zeros((1, 24, 24), np.float16)
    artery[0, 2:6, 10:14], mimic[0, 11:13, 11:13] = 1, 1
    labels = np.zeros((1, 3, 3), np.int8)
    labels[0, 0, 1] = 1
    return SyntheticLesions(artery, labels, mimic, 0.0)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 1.0)
    for share in SHARES:
        monkeypatch.setattr(compositing, share, 0.0)


def changed(before, after):
    rows, columns = (n // 8 for n in before.shape)
    return (before != after)[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).any(axis=(1, 3))


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


@pytest.mark.parametrize("shape", [(24, 24), (80, 48), (85, 51)])
def test_labels_lie_where_the_artery_was_added(one, always, shape):
    pixels = np.random.default_rng(0).normal(3, 0.1, shape).astype(np.float16)
    empty = np.zeros((shape[0] // 8, shape[1] // 8), np.int8)
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
    pixels = np.full((24, 24), 3, np.float16)
    for old, expected in ((0, [0, 1]), (-1, [-1, 1]), (1, [1, 1])):
        before = np.full((3, 3), old, np.int8)
        _, labels = add_lesions(pixels, before, one, np.random.default_rng(0))
        assert sorted(set(labels.ravel().tolist())) == sorted(set(expected))
        assert (labels == 1).sum() == (9 if old == 1 else 1)


def test_outside_the_breast_there_is_no_artery(one, always):
    pixels = np.zeros((24, 24), np.float16)
    _, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not labels.any()
    pixels[::2] = 3  # half of each square is breast: too little to decide
    _, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert sorted(labels.ravel().tolist()) == [-1] + [0] * 8


def test_a_mimic_changes_the_image_but_no_label(one, always, monkeypatch):
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.1, (24, 24)).astype(np.float16)
    before = np.eye(3, dtype=np.int8)
    result, labels = add_lesions(pixels, before, replace(one, mean_mimics=5.0), np.random.default_rng(0))
    assert changed(pixels.astype(np.float32), result).tolist() == (np.arange(9).reshape(3, 3) == 4).tolist()
    np.testing.assert_array_equal(labels, before)


def test_fractions_of_images_with_an_artery_and_of_blurred_images(one, monkeypatch):
    for share in SHARES[1:]:
        monkeypatch.setattr(compositing, share, 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.5, (24, 24)).astype(np.float16)
    rng, arteries, soft = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        result, labels = add_lesions(pixels, np.zeros((3, 3), np.int8), one, rng)
        arteries += labels.any()
        soft += (result[16:] != pixels[16:].astype(np.float32)).mean() > 0.9
    assert arteries / 1000 == pytest.approx(compositing.ARTERY_SHARE, abs=0.05)
    assert soft / 1000 == pytest.approx(compositing.SOFT_SHARE, abs=0.05)


def test_blurring_keeps_the_background(one, always, monkeypatch):
    monkeypatch.setattr(compositing, "SOFT_SHARE", 1.0)
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 0.0)
    pixels = np.random.default_rng(0).normal(3, 0.5, (24, 24)).astype(np.float16)
    pixels[:, :8] = 0
    result, _ = add_lesions(pixels, np.zeros((3, 3), np.int8), one, np.random.default_rng(0))
    assert not result[:, :8].any()
    inner = np.s_[4:20, 14:20]
    assert result[inner].std() < 0.9 * pixels[inner].astype(float).std()
    assert result[inner].mean() == pytest.approx(pixels[inner].astype(float).mean(), abs=0.1)


def test_parts_of_the_lesions(one):
    both = SyntheticLesions(*(np.concatenate([v, v + 1]) for v in (one.arteries, one.labels, one.mimics)), 2.0)
    head, tail = both.part(None, 1), both.part(1, None)
    np.testing.assert_array_equal(head.arteries, one.arteries)
    np.testing.assert_array_equal(tail.labels, one.labels + 1)
    assert head.mean_mimics == tail.mean_mimics == 2.0


def scene(seed=0):
    """Smooth tissue with a bright line, and background on the left."""
    pixels = np.random.default_rng(seed).normal(0.3, 0.4, (64, 64)).astype(np.float32)
    pixels[30:33] += 3
    pixels[:, :16] = 0
    return pixels


def only(monkeypatch, share):
    for name in SHARES:
        monkeypatch.setattr(compositing, name, float(name == share))


def test_a_display_without_steps_changes_nothing(monkeypatch):
    only(monkeypatch, "")
    np.testing.assert_array_equal(displayed(scene(), np.random.default_rng(0)), scene())


@pytest.mark.parametrize("share", SHARES[1:5])
def test_displayed_images_keep_the_background_and_the_breast(monkeypatch, share):
    only(monkeypatch, share)
    for seed in range(20):
        result = displayed(scene(), np.random.default_rng(seed))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result == 0, scene() == 0)


def test_edge_enhancement_raises_a_bright_line(monkeypatch):
    """By the amount times its difference from the blurred image: more than 0.3 times a third of its height."""
    only(monkeypatch, "SHARP_SHARE")
    for seed in range(10):
        rise = displayed(scene(), np.random.default_rng(seed))[31, 20:60] - scene()[31, 20:60]
        assert 0.1 < rise.mean() < 2.0 * 3


def test_a_window_saturates_at_most_its_tails(monkeypatch):
    only(monkeypatch, "WINDOW_SHARE")
    for seed in range(10):
        result, breast = displayed(scene(), np.random.default_rng(seed)), scene() != 0
        for end, tail in ((result[breast].min(), 0.02), (result[breast].max(), 0.015)):
            assert (result[breast] == end).mean() <= tail + 0.002


def test_eight_bits_are_at_most_256_levels(monkeypatch):
    only(monkeypatch, "BYTE_SHARE")
    monkeypatch.setattr(compositing, "JPEG_SHARE", 0.0)
    result = displayed(scene(), np.random.default_rng(0))
    breast = scene() != 0
    assert len(np.unique(result[breast])) <= 256
    step = np.ptp(scene()[breast]) / 255
    assert np.abs(result - scene())[breast].max() <= step / 2 + 1e-3


def test_stairs_cut_the_breast_and_a_skin_line_follows_its_edge(monkeypatch):
    only(monkeypatch, "RIM_SHARE")
    for seed in range(20):
        result = compositing._with_rim(scene(), np.random.default_rng(seed))
        breast = result != 0
        assert not (breast & (scene() == 0)).any()  # never larger
        rise = np.where(breast, result - scene(), 0)
        assert rise.min() >= -1e-6
        assert rise.mean(axis=0).argmax() < 16 + 16 + 17  # near the edge of the breast, behind the stairs


def test_without_an_edge_in_sight_nothing_is_drawn(monkeypatch):
    only(monkeypatch, "RIM_SHARE")
    for plain in (np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)):
        assert compositing._with_rim(plain, np.random.default_rng(0)) is plain


def test_noise_lies_in_the_breast_and_has_the_stated_deviation(one, always, monkeypatch):
    monkeypatch.setattr(compositing, "ARTERY_SHARE", 0.0)
    monkeypatch.setattr(compositing, "NOISE_SHARE", 1.0)
    pixels = np.zeros((96, 96), np.float32)
    pixels[:, :64] = np.random.default_rng(0).normal(0, 1, (96, 64))
    low, high = compositing.NOISE_AMOUNT
    deviations = []
    for seed in range(40):
        result, _ = add_lesions(pixels, np.zeros((12, 12), np.int8), one, np.random.default_rng(seed))
        assert not result[:, 64:].any()
        deviations.append(float((result - pixels)[:, :64].std()))
    assert 0.8 * low < min(deviations) < 2 * low and 0.5 * high < max(deviations) < 1.2 * high
