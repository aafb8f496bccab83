"""Patches and stitching."""

import numpy as np
import pytest
from scipy.special import expit

from bac_utils.methods.interface import LabelledViews
from bac_utils.methods.patch_network import FIELD, PatchNetwork
from bac_utils.methods.patches import OVERLAP, draw_patches, stitch, tiles


def test_tiles_cover_a_length_and_overlap():
    assert tiles(50, 64) == [0] and tiles(64, 64) == [0]
    assert tiles(768, 192) == [0, 160, 320, 480, 576]
    for length in range(65, 400, 7):
        starts = tiles(length, 64)
        assert starts[0] == 0 and starts[-1] == length - 64
        assert all(b - a <= 64 - OVERLAP for a, b in zip(starts, starts[1:], strict=False))


def test_a_stitched_prediction_is_the_direct_one_for_a_function_of_each_pixel(line_views):
    pixels = np.asarray(line_views.pixels[1], np.float32)
    for side in (16, 40, 64, 96):
        found = stitch(lambda parts: expit(parts - 1), pixels, side)
        np.testing.assert_allclose(found, np.where(pixels != 0, expit(pixels - 1), 0), rtol=1e-6)


def test_tiles_are_merged_by_their_maximum_and_empty_ones_are_skipped():
    pixels, seen = np.ones((64, 150), np.float32), []
    pixels[:, 70:] = 0

    def predict(parts):
        seen.append(len(parts))
        return np.arange(1.0, len(parts) + 1)[:, None, None, None] * np.ones_like(parts)

    found = stitch(predict, pixels, 64)  # tiles at columns 0, 32, 64 and 86
    assert seen == [3]
    assert (found[:, :32] == 1).all() and (found[:, 32:64] == 2).all() and (found[:, 64:70] == 3).all()
    assert not found[:, 70:].any()
    assert not stitch(predict, np.zeros((32, 32), np.float32), 64).any() and len(seen) == 1


def test_the_whole_view_gives_the_same_as_patch_by_patch():
    method = PatchNetwork()
    method.network = method.build()
    pixels = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    whole, padded = method.probabilities(pixels), np.pad(pixels, FIELD // 2)
    for row, column in ((0, 0), (31, 20), (59, 49)):
        patch = padded[row : row + FIELD, column : column + FIELD]
        alone = method.network.predict_on_batch(patch[None, ..., None])
        assert alone.shape == (1, 1, 1, 1)
        assert whole[row, column] == pytest.approx(float(expit(alone.item())), abs=1e-5)


def test_the_patch_network_has_twelve_layers_with_weights_of_kernels():
    kernels = [layer for layer in PatchNetwork().build().layers if hasattr(layer, "kernel")]
    assert len(kernels) == 12 and FIELD == 45


def test_half_of_the_patches_show_bac_and_equal_seeds_give_equal_patches(line_views):
    pixels, outlines = draw_patches(line_views, 15, 80, np.random.default_rng(5), centred=True)
    assert pixels.shape == outlines.shape == (80, 15, 15) and outlines.dtype == bool
    centres = outlines[:, 7, 7]
    assert centres.sum() == 40 and (pixels[centres, 7, 7] > 1).mean() > 0.9
    again, _ = draw_patches(line_views, 15, 80, np.random.default_rng(5), centred=True)
    np.testing.assert_array_equal(pixels, again)
    assert draw_patches(line_views, 96, 4, np.random.default_rng(5))[0].shape == (4, 96, 96)


def test_without_outlines_there_are_no_patches(line_views):
    bare = LabelledViews(line_views.pixels, line_views.table)
    with pytest.raises(ValueError, match="train: got no outlines with BAC, must have some"):
        draw_patches(bare, 16, 4, np.random.default_rng(0))
