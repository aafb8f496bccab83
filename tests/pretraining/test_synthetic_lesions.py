"""Synthetic arteries and mimics."""

import cv2
import numpy as np
import pytest

from bac_utils.pretraining import look_alikes
from bac_utils.pretraining import synthetic_lesions as lesions
from bac_utils.simulator.anatomy import PATH_STEP_MM
from bac_utils.simulator.population import COHORT, MEASURED, TRAINING
from bac_utils.simulator.rasterize import Canvas

PIXEL = 0.15


def straight(length_mm=30.0, y_mm=12.0):
    x = 4 + np.arange(int(length_mm / PATH_STEP_MM)) * PATH_STEP_MM
    return np.column_stack([x, np.full(len(x), y_mm)])


def drawn(style, seed, radius=1.2):
    """Draw a style along a straight line at 12 mm; return its thickness and the distance of each row in mm."""
    canvas = Canvas((160, 256), PIXEL)
    line = straight()
    style(canvas, np.random.default_rng(seed), line, np.full(len(line), radius))
    return canvas.thickness(), (np.arange(160) + 0.5) * PIXEL - 12


@pytest.mark.parametrize("artery", [True, False])
def test_a_lesion_is_reproducible(artery):
    intensity, mask = lesions.draw_lesion(5, artery, 96, PIXEL)
    again, mask_again = lesions.draw_lesion(5, artery, 96, PIXEL)
    np.testing.assert_array_equal(intensity, again)
    np.testing.assert_array_equal(mask, mask_again)
    assert not np.array_equal(intensity, lesions.draw_lesion(6, artery, 96, PIXEL)[0])
    assert (intensity.dtype, intensity.shape, mask.dtype, mask.shape) == (np.float16, (96, 96), bool, (96, 96))


def test_lesions_have_their_own_stream_of_seeds():
    assert lesions.STREAM not in (COHORT, TRAINING, 2, MEASURED)


def test_only_arteries_have_a_mask_and_it_covers_them():
    """The mask ends 0.2 mm beyond the walls, blur and jitter extend further; the bright parts lie within 1 mm of it.

    Except for some of a bare vessel that is itself almost as bright.
    """
    covered = []
    for number in range(40):
        intensity, mask = lesions.draw_lesion(number, True, 160, PIXEL)
        assert mask.any()
        near = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        bright = intensity > 0.7
        covered.append((bright & near).sum() / bright.sum())
        other, none = lesions.draw_lesion(number, False, 160, PIXEL)
        assert not none.any()
        assert np.isfinite(other).all()
        assert other.min() >= 0
    assert min(covered) > 0.8 and np.mean(covered) > 0.97


def test_bright_parts_are_about_one():
    """Of 0 ... 100, values above 10 count; three quarters of 11 ... 100 lie below 77.75."""
    assert lesions.brightness(np.arange(101.0)) == 77.75
    assert lesions.brightness(np.zeros(4)) == 1
    for number in range(20):
        for artery in (True, False):
            intensity = lesions.draw_lesion(number, artery, 112, PIXEL)[0].astype(float)
            assert not intensity.any() or lesions.brightness(intensity) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("style", lesions.ARTERY_STYLES)
def test_calcifications_lie_on_the_wall(style):
    """On the walls, 1.2 mm from the centre line, or between them; beyond them only because of jitter and blur."""
    total = np.zeros(160)
    for seed in range(30):
        intensity, away = drawn(style, seed)
        assert intensity.any()
        assert intensity[np.abs(away) > 1.2 + 1.3].sum() < 0.01 * intensity.sum()
        total += intensity.sum(axis=1) / intensity.sum()
    mean = (total * np.abs(away)).sum() / total.sum()
    # a filled band would have 0.6; a tube seen from the side has 1.2 * 2 / pi = 0.76
    assert 0.7 < mean < 1.35
    assert (total * away).sum() / total.sum() == pytest.approx(0, abs=0.25)  # symmetric


def test_walls_are_two_interrupted_lines():
    gaps = []
    for seed in range(30):
        intensity, away = drawn(lesions._walls, seed)
        assert intensity[np.abs(away) < 0.4].sum() < 0.05 * intensity.sum()  # nothing between them
        for side in (away > 0, away < 0):
            along = intensity[side].sum(axis=0)[40:210]  # 6 to 31 mm; the line spans 4 to 34 mm
            gaps.append((along < 0.05 * along.max()).mean())
    assert 0.1 < np.mean(gaps) < 0.7
    assert np.mean(np.array(gaps) == 0) < 0.2


def test_threads_have_no_gaps():
    """A thread is one line, a wall is interrupted: there are no more pieces than threads, at most 7."""
    most = {}
    for style in (look_alikes.threads, lesions._walls):
        most[style] = 0
        for seed in range(20):
            canvas = Canvas((160, 256), PIXEL)
            line = straight()
            rest = (24.0,) if style is look_alikes.threads else (line, np.full(len(line), 1.2))
            style(canvas, np.random.default_rng(seed), *rest)
            parts = cv2.connectedComponents((canvas.thickness() > 0).astype(np.uint8))[0] - 1
            most[style] = max(most[style], parts)
    assert 1 <= most[look_alikes.threads] <= 7 < most[lesions._walls]


@pytest.mark.parametrize("mimic", tuple(look_alikes.MIMICS))
def test_every_mimic_draws_something(mimic):
    all_drawn = []
    for seed in range(5):
        canvas = Canvas((112, 112), PIXEL)
        mimic(canvas, np.random.default_rng(seed), 112 * PIXEL)
        all_drawn.append(canvas.thickness())
        assert np.isfinite(all_drawn[-1]).all()
    assert sum(intensity.any() for intensity in all_drawn) >= 4  # a short one may miss the field


def test_every_style_has_a_frequency():
    assert len(lesions.ARTERY_STYLES) == len(lesions.ARTERY_STYLE_SHARES)
    assert sum(lesions.ARTERY_STYLE_SHARES) == pytest.approx(1)
    assert min(look_alikes.MIMICS.values()) > 0
    assert look_alikes.catheters not in look_alikes.MIMICS  # two smooth walls along a tube


def test_calcified_parts_are_all_or_some_of_the_line():
    """Half of the lines as a whole; else one to three parts of 4 to 30 mm, cut at the length of the line."""
    rng, n = np.random.default_rng(0), int(60 / PATH_STEP_MM)
    found = [lesions._calcified_parts(rng, n) for _ in range(400)]
    whole = [parts == [slice(0, n)] for parts in found]
    assert np.mean(whole) == pytest.approx(0.5, abs=0.08)
    for parts in (parts for parts, all_of_it in zip(found, whole, strict=True) if not all_of_it):
        assert 1 <= len(parts) <= 3
        for part in parts:
            assert part.start >= 0 and part.stop <= n
            assert 3.8 <= (part.stop - part.start) * PATH_STEP_MM <= 30


def test_a_bare_part_of_a_vessel_is_not_in_the_mask(monkeypatch):
    """Calcium in the first 10 mm of a line: the mask ends within 2 mm of it, though the tube goes on."""
    monkeypatch.setattr(lesions, "_calcified_parts", lambda rng, n: [slice(0, int(10 / PATH_STEP_MM))])
    monkeypatch.setattr(lesions, "course", lambda *_: straight())
    bare = 0
    for seed in range(20):
        mask = np.zeros((256, 256), np.uint8)
        intensity = lesions._draw_artery(mask, np.random.default_rng(seed), PIXEL)
        columns = (np.flatnonzero(mask.any(axis=0)) + 0.5) * PIXEL
        assert columns.min() < 4 + 3 and 4 + 4 < columns.max() < 4 + 10 + 2
        bare += intensity[:, int(20 / PIXEL) :].any()
    assert 5 <= bare <= 18  # the vessel itself is often visible


def test_lesions_are_added_inside_the_breast_and_stay_below_white():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 0.2, (64, 64)).astype(np.float32)
    pixels[:, :20] = 0
    intensity = np.zeros((64, 64), np.float16)
    intensity[:, 10:40] = 1
    intensity[30] = 100
    top = pixels.max()
    for seed in range(20):
        result = lesions.add_lesion(pixels, intensity, np.random.default_rng(seed))
        assert not result[:, :20].any()
        np.testing.assert_array_equal(result[:30, 40:], pixels[:30, 40:])
        assert (result[:30, 20:40] > pixels[:30, 20:40]).all()
        assert top + 0.2 - 1e-4 <= result.max() <= top + 2.0 + 1e-4


def test_brightness_scales_with_the_fine_structure():
    """Far from white, at least FAINTEST times the standard deviation is added, and at most BRIGHTEST."""
    intensity = np.ones((96, 96), np.float16)
    for deviation in (0.05, 0.5):
        pixels = np.random.default_rng(1).normal(0, deviation, (96, 96)).astype(np.float32)
        pixels[0, 0] = 1e3  # white is far away, so nothing saturates
        added = [
            np.median(lesions.add_lesion(pixels, intensity, np.random.default_rng(seed)) - pixels)
            for seed in range(200)
        ]
        assert min(added) == pytest.approx(lesions.FAINTEST * deviation, rel=0.15)
        assert max(added) == pytest.approx(lesions.BRIGHTEST, rel=0.1)


def test_without_a_breast_nothing_is_added():
    empty = np.zeros((32, 32), np.float32)
    assert lesions.add_lesion(empty, np.ones((32, 32), np.float16), np.random.default_rng(0)) is empty
