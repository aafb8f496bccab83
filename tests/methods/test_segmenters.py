"""The networks that learn from outlined pixels: shapes, ranges, and that each learns to find a bright line."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bac_utils.burden import GUO_THRESHOLD
from bac_utils.methods.patch_network import PatchNetwork
from bac_utils.methods.scu_net import SCUNet, build_scu_net, to_grey
from bac_utils.methods.segmenter import PatchTraining
from bac_utils.methods.shares import dice
from bac_utils.methods.u_net import UNet, build_u_net

QUICK = PatchTraining(patch=32, patches=96, epochs=6, batch_size=8, learning_rate=1e-2, seed=1)
CENTRES = PatchTraining(patches=256, epochs=4, batch_size=32, learning_rate=1e-2, seed=1)


@pytest.mark.parametrize("method", [SCUNet(QUICK), UNet(QUICK), PatchNetwork(CENTRES)], ids=lambda m: m.name)
def test_each_learns_to_find_a_bright_line(method, line_views, tmp_path):
    method.fit(line_views, line_views, tmp_path)
    scores = method.scores(line_views)
    assert scores.shape == (24,) and (scores >= 0).all() and (scores <= 1).all()
    assert roc_auc_score(line_views.labels, scores) > 0.95
    again = type(method)(method.training)
    again.load(tmp_path)
    assert again.parameters == method.parameters > 10_000
    np.testing.assert_allclose(again.scores(line_views), scores, atol=1e-5)
    pixels = np.asarray(line_views.pixels[1], np.float32)
    look = method.look(pixels, (0.5, 0.5))
    assert look.heat.shape == look.mask.shape == (64, 48) and look.mask.dtype == bool
    assert look.measure == pytest.approx(look.mask.sum() * 0.25)
    assert dice(look.mask, line_views.outlines[1]) > 0.3
    assert not look.heat[pixels == 0].any()
    assert np.isnan(method.look(pixels, None).measure)


def test_scu_net_reports_the_five_metrics_of_its_mask(line_views):
    method = SCUNet(QUICK)
    method.network = method.build()
    look = method.look(np.asarray(line_views.pixels[1], np.float32), (0.5, 0.5))
    names = ["probability_sum_mm2", "mask_area_mm2", "intensity_sum_mm2", "bright_intensity_sum_mm2"]
    assert list(look.others) == [*names, "bright_mask_area_mm2", "breast_area_mm2"]
    assert look.others["mask_area_mm2"] == look.measure == (look.heat > GUO_THRESHOLD).sum() * 0.25
    assert look.others["probability_sum_mm2"] == pytest.approx(look.heat.sum() * 0.25, rel=1e-5)


@pytest.mark.parametrize("build", [build_scu_net, build_u_net])
def test_any_side_that_is_a_multiple_of_eight(build):
    network = build()
    assert network.predict_on_batch(np.zeros((2, 24, 40, 1), np.float32)).shape == (2, 24, 40, 1)


def test_both_segmenting_networks_are_of_about_the_same_size():
    sizes = build_scu_net().count_params(), build_u_net().count_params()
    assert max(sizes) < 1.2 * min(sizes)


def test_scu_net_has_its_resolutions_and_channels():
    network = build_scu_net()
    outputs = keras.Model(network.inputs, [layer.output for layer in network.layers])(np.zeros((1, 64, 64, 1)))
    shapes = {tuple(o.shape[1:]) for o in outputs}
    # 16 at 1/2, 19 - 2 at 1/2 (one channel of the image, not three), 32 at 1/4, 33, 64 at 1/8, 96 and 80 joined
    assert {(32, 32, 16), (32, 32, 17), (16, 16, 32), (16, 16, 33), (8, 8, 64), (16, 16, 96), (32, 32, 80)} <= shapes


def test_grey_levels_of_a_prepared_view():
    pixels = np.array([[0, -1.0, 0.5], [0, 2.0, 1.0]], np.float32)
    grey = to_grey(pixels)
    assert grey.dtype == np.uint8 and grey[0, 0] == grey[1, 0] == 0
    assert grey[0, 1] == 1 and grey[1, 1] == 255 and 1 < grey[0, 2] < grey[1, 2] < 255
    assert not to_grey(np.zeros((2, 2), np.float32)).any()
    assert to_grey(np.full((2, 2), 3.0, np.float32)).tolist() == [[1, 1], [1, 1]]
