"""The classical baseline on drawn lines."""

import cv2
import numpy as np
import pytest

from bac_utils.methods.vesselness import FILTERS, LEAST_MM, Vesselness, find_lines, vesselness

MM = (0.3, 0.3)


@pytest.fixture(scope="module")
def views():
    """A breast of noise with a line of 36 mm, and the same with a dot and a short line instead."""
    y, x = np.mgrid[:240, :160]
    breast = np.hypot((y - 120) / 118, x / 150) < 1
    noise = np.random.default_rng(1).normal(scale=0.3, size=(240, 160)).astype(np.float32)
    long, short = np.zeros((240, 160), np.float32), np.zeros((240, 160), np.float32)
    cv2.line(long, (20, 120), (120, 110), 4.0, 3)
    cv2.circle(short, (60, 120), 4, 4.0, -1)
    cv2.line(short, (40, 60), (50, 64), 4.0, 3)
    return [np.where(breast, noise + part + 1e-3, 0).astype(np.float32) for part in (long, short)], long > 0


@pytest.mark.parametrize("ridges", FILTERS)
def test_a_drawn_line_is_found_and_a_dot_is_not(views, ridges):
    (with_line, without), line = views
    response = vesselness(with_line, MM, ridges)
    assert response.shape == with_line.shape and response.dtype == np.float32 and (response >= 0).all()
    middle = response[100:130, 60]
    assert abs(int(middle.argmax()) + 100 - 116) <= 1  # the line's row at this column
    heat, mask = find_lines(with_line, MM, ridges)
    assert mask[line].mean() > 0.6 and (heat >= 0).all() and heat.max() <= 1
    assert not find_lines(without, MM, ridges)[1].any()


def test_the_length_of_the_line_is_measured(views):
    (with_line, without), _ = views
    method = Vesselness()
    assert method.look(with_line, MM).measure == pytest.approx(0.3 * np.hypot(100, 10), rel=0.1)
    assert method.look(without, MM).measure == 0
    assert np.isnan(method.look(with_line, None).measure)
    assert 0.3 * np.hypot(10, 4) < LEAST_MM < 30


def test_the_edge_of_the_breast_is_no_line(views):
    (with_line, _), _ = views
    bright_rim = with_line.copy()
    edge = cv2.morphologyEx((with_line != 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    bright_rim[edge & (with_line != 0)] = 6
    np.testing.assert_array_equal(vesselness(bright_rim, MM)[:, 150:], 0)


def test_unknown_filter():
    with pytest.raises(ValueError, match="ridges: got 'gabor', must be one of sato, frangi"):
        Vesselness("gabor")
