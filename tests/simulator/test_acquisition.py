"""From attenuation to grey levels: noise, metal, the fading skin and the tone of digital views."""

from dataclasses import replace

import numpy as np
import pytest

from bac_utils.simulator.acquisition import SCATTER, Acquisition, expose
from bac_utils.simulator.attenuation import Projection
from bac_utils.simulator.population import FOUR_VIEWS, draw_women
from bac_utils.simulator.render import render

PLAIN = Acquisition(
    film=False, blur_mm=0.0, noise=0.0, noise_blur_mm=0.0, grain=0.0, equalise=0.0, rim=0.0, flatten=0.0, edges=(),
    boost=1.0, local=0.0, centre=0.0, slope=0.5, gamma=1.0, label=False, border=False, collimated=False,
)  # fmt: skip
"""A system without blur, noise or processing other than the contrast curve."""


def slab(attenuation, thickness, spacing):
    """A projection without any skin."""
    return Projection(
        attenuation.astype(np.float32), thickness.astype(np.float32), np.full(attenuation.shape, 50, np.float32),
        np.zeros(attenuation.shape, bool), spacing,
    )  # fmt: skip


@pytest.mark.parametrize("spacing", [0.05, 0.1])
def test_noise_is_correlated_over_a_distance_in_mm(spacing):
    """White noise blurred by a Gaussian of s mm has the autocorrelation exp(-h^2 / 4 s^2) at h mm."""
    flat = np.full((400, 400), 2.0)
    acquisition = replace(PLAIN, noise=0.03, noise_blur_mm=0.08, slope=0.3)
    grey = expose(slab(flat, flat, spacing), acquisition, 400, [1])
    grey = grey[20:-20, 20:-20] - grey[20:-20, 20:-20].mean()
    lag = round(0.1 / spacing)
    found = (grey[:, lag:] * grey[:, :-lag]).mean() / grey.var()
    assert found == pytest.approx(np.exp(-(0.1**2) / (4 * 0.08**2)), abs=0.03)


def test_metal_of_any_thickness_has_the_grey_level_of_the_scatter():
    views = []
    for metal in (SCATTER + 1, SCATTER + 30):
        attenuation = np.tile(np.linspace(1, 2, 200), (200, 1))
        attenuation[90:100, 90:100] += metal
        views.append(expose(slab(attenuation, np.full((200, 200), 50.0), 0.1), PLAIN, 200, [1]))
    assert views[0] == pytest.approx(views[1])


def test_the_view_fades_where_the_breast_is_thinner_than_the_rim():
    """The grey level is multiplied by the square of thickness / rim."""
    thickness = np.tile(np.linspace(1, 50, 200), (200, 1))
    faded, plain = (
        expose(slab(thickness * 0.05, thickness, 0.1), replace(PLAIN, rim=rim), 200, [1]) for rim in (0.4, 0.0)
    )
    share = np.minimum(thickness / (0.4 * 50), 1) ** 2
    assert faded == pytest.approx(plain * share, abs=1e-5)


def test_fat_is_dark_in_digital_views_and_little_is_clipped():
    """Percentiles 10, 50 and 98 of real digital views: about 0.11, 0.27 and 0.73."""
    levels = []
    for k, woman in enumerate(draw_women(12, 4)):
        image, _ = render(woman, *FOUR_VIEWS[k % 4], 0.4)
        levels.append([*np.percentile(image[image > 0.02], [10, 50, 98]), (image > 0.99).mean()])
    low, middle, high, clipped = np.median(levels, axis=0)
    assert 0.05 < low < 0.2
    assert 0.15 < middle < 0.4
    assert 0.6 < high < 0.88
    assert clipped < 0.01
