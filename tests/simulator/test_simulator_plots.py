"""Figures of the simulator: the numbers and scales shown, and no effect on the global style."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from bac_utils.simulator import plots as simulator_plots
from bac_utils.simulator.texture import BAND_PER_MM, PUBLISHED_EXPONENTS

pytestmark = pytest.mark.usefixtures("no_display_and_no_trace")


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def image(rows, columns, spacing, title=""):
    pixels = np.random.default_rng(rows).random((rows, columns)).astype(np.float32)
    return {"pixels": pixels, "spacing_mm": spacing, "title": title}


def test_whole_views_have_the_same_scale():
    rows = {"digital": [image(960, 720, 0.25, "L CC")], "film": [image(1200, 600, 0.1), image(1100, 700, 0.1)]}
    figure = simulator_plots.side_by_side(rows, "credit")
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.images]
    assert len(boxes) == 3
    assert np.ptp([box.width for box in boxes]) < 1 and np.ptp([box.height for box in boxes]) < 1
    assert all(axes.get_xlim() == (0, 180) and axes.get_ylim() == (240, 0) for axes in figure.axes)
    assert figure.axes[0].images[0].get_extent() == [0, 180, 240, 0]
    assert figure.axes[2].images[0].get_extent() == pytest.approx([0, 60, 120, 0])
    assert "credit" in texts(figure) and "L CC" in texts(figure)


def test_close_ups_outline_the_artery():
    artery = np.zeros((200, 200), bool)
    artery[90:110, 20:180] = True
    figure = simulator_plots.close_ups([image(200, 200, 0.2) | {"artery": artery}])
    plain, outlined = figure.axes
    assert not plain.collections
    (contour,) = outlined.collections
    corners = np.concatenate([path.vertices for path in contour.get_paths()])
    assert corners.min(axis=0) == pytest.approx([4, 18], abs=0.2)
    assert corners.max(axis=0) == pytest.approx([36, 22], abs=0.2)


def test_spectra_keep_their_slope_and_lose_their_unit():
    f = np.geomspace(0.1, 2, 30)
    parts = [
        pd.DataFrame({"frequency": f, "power": scale * f**-3.0}).assign(source="real film", view=view, image=str(scale))
        for view in PUBLISHED_EXPONENTS
        for scale in (1, 5000)
    ]
    figure = simulator_plots.power_spectra(pd.concat(parts), PUBLISHED_EXPONENTS, BAND_PER_MM)
    for axes, (beta, _) in zip(figure.axes, PUBLISHED_EXPONENTS.values(), strict=True):
        curve, law = axes.lines
        assert -np.polyfit(*np.log(curve.get_data()), 1)[0] == pytest.approx(3)
        assert -np.polyfit(*np.log(law.get_data()), 1)[0] == pytest.approx(beta)
        within = (curve.get_xdata() >= BAND_PER_MM[0]) & (curve.get_xdata() <= BAND_PER_MM[1])
        assert np.log(curve.get_ydata()[within]).mean() == pytest.approx(0, abs=1e-6)


def test_exponents_show_every_view_and_the_published_ones():
    table = pd.DataFrame(
        [
            ("real film", "CC", 3.1),
            ("real film", "CC", 3.3),
            ("real film", "MLO", 3.0),
            ("simulated attenuation", "CC", 3.2),
        ],
        columns=["source", "view", "beta"],
    )
    figure = simulator_plots.exponents_by_source(table, PUBLISHED_EXPONENTS)
    drawn = [y for line in figure.axes[0].lines if line.get_marker() in "o^" for y in line.get_ydata()]
    assert sorted(drawn) == [3.0, 3.1, 3.2, 3.3]
    assert "published CC: 3.17 ± 0.23" in texts(figure)
    assert "simulated\nattenuation" in texts(figure) and "digital" not in texts(figure)


def test_grey_levels_are_shares():
    levels = np.random.default_rng(0).normal(size=50_000)
    figure = simulator_plots.grey_levels({"simulated film": [levels, levels[:100]], "real film": [levels]})
    x, y = figure.axes[1].lines[-1].get_data()
    assert (y * np.diff(x).mean()).sum() == pytest.approx(1)
    assert y[len(y) // 2] == pytest.approx(0.4, abs=0.03)
    assert "simulated film, 2 views" in texts(figure) and "mean, real film" in texts(figure)


def test_artery_sizes():
    views = pd.DataFrame({"view": ["CC", "MLO"] * 20, "length_mm": np.linspace(8, 120, 40)})
    segments = views.assign(calibre_mm=np.linspace(1, 2, 40), strength=np.linspace(0.4, 1, 40))
    figure = simulator_plots.artery_distributions(views, segments, 41)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "Length of calcified artery per view (mm)",
        "Calibre of the artery (mm)",
        "Strength of calcification (0 to 1)",
    ]
    assert "41 mm" in texts(figure)


def test_artery_agreement_states_slope_and_correlation():
    x = pd.Series(np.linspace(0, 100, 30))
    seen = pd.Series([1, 2, 4, 4])
    figure = simulator_plots.artery_agreement({"CC on MLO": (x, 0.8 * x + 3)}, {"CC on MLO": (0.82, 0.97)}, seen, 2.99)
    assert "slope 0.80, r = 1.00" in texts(figure)
    assert "published (mass): slope 0.82, r = 0.97" in texts(figure)
    assert figure.axes[0].get_xlabel() == "Length, MLO (mm)" and figure.axes[0].get_ylabel() == "Length, CC (mm)"
    assert [bar.get_height() for bar in figure.axes[1].patches] == [25, 25, 0, 50]
    assert "mean 2.75, published 2.99" in texts(figure)
