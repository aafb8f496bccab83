"""Transfer learning with other networks, and the detector of a run."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bac_utils.backbones import CONVOLUTIONS, build_backbone
from bac_utils.methods import transfer
from bac_utils.methods.transfer import FAMILIES, RunDetector, TransferLearning, choose_level, recipe
from bac_utils.settings import DEMO, Augmentation


def test_a_network_learns_to_find_a_bright_line_from_labels_alone(line_views, tmp_path):
    base = replace(DEMO, input_shape=(64, 48), batch_size=4, learning_rate=3e-3, seed=1, dense_units=16)
    quiet = Augmentation(rotation_degrees=5, gaussian_noise_sd=0.05)
    method = TransferLearning(recipe("VGG19", "none", 8, replace(base, pooling_sharpness=1.0, augmentation=quiet)))
    assert (method.name, method.start, method.supervision) == ("vgg19", "random", "image")
    method.fit(line_views, line_views, tmp_path)
    scores = method.scores(line_views)
    assert scores.shape == (24,) and (scores >= 0).all() and (scores <= 1).all()
    assert roc_auc_score(line_views.labels, scores) > 0.9
    look = method.look(np.asarray(line_views.pixels[1], np.float32), (0.5, 0.5))
    assert look.heat.shape == (4, 3) and look.mask.shape == (64, 48) and look.measure >= 0
    again = TransferLearning(method._recipe)
    again.load(tmp_path)
    np.testing.assert_allclose(again.scores(line_views), scores, atol=1e-6)
    assert again.look(np.asarray(line_views.pixels[1], np.float32), (0.5, 0.5)).measure == look.measure


@pytest.mark.parametrize("name", ["VGG19", "ResNet50V2", "MobileNet"])
def test_families_state_their_number_of_convolutions(name):
    convolutions = FAMILIES[name]
    network = build_backbone(replace(recipe(name, "none", 1), input_shape=(32, 32)))
    assert sum(isinstance(layer, CONVOLUTIONS) for layer in network.layers) == convolutions
    assert network.output.shape[1:3] == (2, 2)


def test_recipes():
    assert recipe("VGG19", "file.h5", 4).trainable_convolutions == round(16 * 5 / 13) == 6
    assert recipe("VGG19", "none", 4).trainable_convolutions == 16
    assert recipe("VGG19", "imagenet", 4).width_divisor == 1
    assert recipe("VGG19", "imagenet", 4).learning_rate == DEMO.learning_rate == 1e-3
    assert recipe("MobileNet", "structures", 4).learning_rate == pytest.approx(3e-4)
    assert recipe("MobileNet", "structures", 4).width_divisor == 4
    assert TransferLearning(recipe("VGG19", "some/vgg19.weights.h5", 4)).start == "file"
    assert TransferLearning(recipe("VGG19", "imagenet", 4)).start == "imagenet"
    with pytest.raises(ValueError, match="backbone: got 'VGG17', must be one of VGG19"):
        recipe("VGG17", "none", 4)


def test_th_is_the_value_with_the_best_rank_correlation():
    # six women; the area above 0.5 is their length, above 0.3 it is the same in all
    heats = np.zeros((6, 8, 1), np.float32)
    for k in range(6):
        heats[k, : k + 1] = 0.52
        heats[k, k + 1 :] = 0.32
    table = pd.DataFrame({"patient_id": list("abcdef"), "bac_length_mm": np.arange(6.0)})
    pixels, spacings = [np.ones((8, 8), np.float32)] * 6, [(1.0, 1.0)] * 6
    assert choose_level(heats, "local-logits", table, pixels, spacings) in (0.35, 0.4, 0.45, 0.5)
    few = table.iloc[:4]
    assert choose_level(heats[:4], "local-logits", few, pixels[:4], spacings[:4]) == 0.7
    assert choose_level(heats * 0, "local-logits", table, pixels, spacings) == 0.7


def test_the_detector_of_a_run_is_not_trained_again(drawn_run, line_views, tmp_path):
    method = RunDetector(drawn_run)
    assert (method.name, method.start, method.training_minutes) == ("vgg16", "random", 1.5)
    method.fit(line_views, line_views, tmp_path)
    assert not any(tmp_path.iterdir()) and method._level == 0.3 and method.parameters > 0
    look = method.look(np.random.default_rng(0).normal(size=(192, 96)).astype(np.float32), (0.5, 0.5))
    assert look.heat.shape == (12, 6)
    assert set(method.settings()) == {"model", "form", "level"}
    assert transfer.COMPARED not in method.source
