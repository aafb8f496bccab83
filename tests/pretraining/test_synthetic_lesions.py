"""What is drawn into the pictures of the pretraining."""

import cv2
import numpy as np
import pytest

from bac_utils.pretraining import synthetic_lesions as drawings
from bac_utils.simulator import population as phantom
from bac_utils.simulator.anatomy import PATH_STEP_MM
from bac_utils.simulator.rasterize import Canvas

PIXEL = 0.15


def straight(length_mm=30.0, y_mm=12.0):
    x = 4 + np.arange(int(length_mm / PATH_STEP_MM)) * PATH_STEP_MM
    return np.column_stack([x, np.full(len(x), y_mm)])


def drawn(style, seed, radius=1.2):
    """Draw a style along a straight line at 12 mm; return its light and each row's distance from the line, mm."""
    canvas = Canvas((160, 256), PIXEL)
    line = straight()
    style(canvas, np.random.default_rng(seed), line, np.full(len(line), radius))
    return canvas.thickness(), (np.arange(160) + 0.5) * PIXEL - 12


@pytest.mark.parametrize("artery", [True, False])
def test_a_number_gives_the_same_drawing_again(artery):
    light, mask = drawings.draw(5, artery, 96, PIXEL)
    again, mask_again = drawings.draw(5, artery, 96, PIXEL)
    np.testing.assert_array_equal(light, again)
    np.testing.assert_array_equal(mask, mask_again)
    assert not np.array_equal(light, drawings.draw(6, artery, 96, PIXEL)[0])
    assert (light.dtype, light.shape, mask.dtype, mask.shape) == (np.float16, (96, 96), bool, (96, 96))


def test_the_stream_of_the_drawings_is_their_own():
    assert drawings.STREAM not in (phantom.COHORT, phantom.TRAINING, 2, phantom.MEASURED)


def test_only_arteries_have_a_mask_and_their_light_lies_in_it():
    """The mask reaches 0.2 mm beyond the walls, blur and jitter go further; 1 mm around it nearly all light lies."""
    for number in range(40):
        light, mask = drawings.draw(number, True, 160, PIXEL)
        assert mask.any()
        near = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        assert light[near].sum() > 0.97 * light.sum(dtype=float)
        other, none = drawings.draw(number, False, 160, PIXEL)
        assert not none.any()
        assert np.isfinite(other).all()
        assert other.min() >= 0


def test_bright_parts_are_at_one():
    """Of 0 ... 100 those above 10 are lit; three quarters of 11 ... 100 lie below 77.75."""
    assert drawings._bright(np.arange(101.0)) == 77.75
    assert drawings._bright(np.zeros(4)) == 1
    for number in range(20):
        for artery in (True, False):
            light = drawings.draw(number, artery, 112, PIXEL)[0].astype(float)
            assert not light.any() or drawings._bright(light) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("style", drawings.CALCIUM)
def test_calcium_lies_on_the_wall(style):
    """On the walls, 1.2 mm from the middle line, or between them; outside of them only what jitter and blur bring."""
    total = np.zeros(160)
    for seed in range(30):
        light, away = drawn(style, seed)
        assert light.any()
        assert light[np.abs(away) > 1.2 + 1.3].sum() < 0.01 * light.sum()
        total += light.sum(axis=1) / light.sum()
    mean = (total * np.abs(away)).sum() / total.sum()
    # half-way (0.6) were a filled band; a tube seen from the side has its mean at 1.2 * 2 / pi = 0.76
    assert 0.7 < mean < 1.35
    assert (total * away).sum() / total.sum() == pytest.approx(0, abs=0.25)  # both sides alike


def test_walls_are_two_interrupted_lines():
    gaps = []
    for seed in range(30):
        light, away = drawn(drawings._walls, seed)
        assert light[np.abs(away) < 0.4].sum() < 0.05 * light.sum()  # bare between them
        for side in (away > 0, away < 0):
            along = light[side].sum(axis=0)[40:210]  # 6 to 31 mm, the line being at 4 to 34
            gaps.append((along < 0.05 * along.max()).mean())
    assert 0.1 < np.mean(gaps) < 0.7
    assert np.mean(np.array(gaps) == 0) < 0.2


def test_threads_go_on_without_a_gap():
    """A thread is a whole line, where a wall breaks off: no more pieces than threads, of which there are 7 at most."""
    most = {}
    for style in (drawings._threads, drawings._walls):
        most[style] = 0
        for seed in range(20):
            canvas = Canvas((160, 256), PIXEL)
            line = straight()
            rest = (24.0,) if style is drawings._threads else (line, np.full(len(line), 1.2))
            style(canvas, np.random.default_rng(seed), *rest)
            parts = cv2.connectedComponents((canvas.thickness() > 0).astype(np.uint8))[0] - 1
            most[style] = max(most[style], parts)
    assert 1 <= most[drawings._threads] <= 7 < most[drawings._walls]


@pytest.mark.parametrize("look_alike", drawings.LOOK_ALIKES)
def test_every_look_alike_draws_something(look_alike):
    lights = []
    for seed in range(5):
        canvas = Canvas((112, 112), PIXEL)
        look_alike(canvas, np.random.default_rng(seed), 112 * PIXEL)
        lights.append(canvas.thickness())
        assert np.isfinite(lights[-1]).all()
    assert sum(light.any() for light in lights) >= 4  # a short one may miss the field


def test_shares_are_those_of_all_kinds():
    assert len(drawings.CALCIUM) == len(drawings.CALCIUM_SHARES)
    assert len(drawings.LOOK_ALIKES) == len(drawings.LOOK_ALIKE_SHARES)
    assert sum(drawings.CALCIUM_SHARES) == pytest.approx(1)
    assert sum(drawings.LOOK_ALIKE_SHARES) == pytest.approx(1)


def test_light_is_added_inside_the_breast_and_nears_white():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 0.2, (64, 64)).astype(np.float32)
    pixels[:, :20] = 0
    light = np.zeros((64, 64), np.float16)
    light[:, 10:40] = 1
    light[30] = 100
    top = pixels.max()
    for seed in range(20):
        result = drawings.add(pixels, light, np.random.default_rng(seed))
        assert not result[:, :20].any()
        np.testing.assert_array_equal(result[:30, 40:], pixels[:30, 40:])
        assert (result[:30, 20:40] > pixels[:30, 20:40]).all()
        assert top + 0.2 - 1e-4 <= result.max() <= top + 2.0 + 1e-4


def test_brightness_goes_with_the_fine_structure():
    """Fine deviation s: no less than LEAST * s is added to what is far from white, and no more than MOST."""
    light = np.ones((96, 96), np.float16)
    for deviation in (0.05, 0.5):
        pixels = np.random.default_rng(1).normal(0, deviation, (96, 96)).astype(np.float32)
        pixels[0, 0] = 1e3  # so white is far away, and nothing saturates
        added = [np.median(drawings.add(pixels, light, np.random.default_rng(seed)) - pixels) for seed in range(200)]
        assert min(added) == pytest.approx(drawings.LEAST * deviation, rel=0.15)
        assert max(added) == pytest.approx(drawings.MOST, rel=0.1)


def test_without_a_breast_nothing_is_added():
    empty = np.zeros((32, 32), np.float32)
    assert drawings.add(empty, np.ones((32, 32), np.float16), np.random.default_rng(0)) is empty
