"""The pretext task: benign structures in patches without calcified arteries."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from bac_utils.backbones import SCALE_ATTRIBUTE, STRUCTURES, UNITS_ATTRIBUTE, build_backbone
from bac_utils.pretraining import pretext
from bac_utils.pretraining.patches import Recipe, woman_patches
from bac_utils.pretraining.pretext import PretextRecipe, pretrain_structures
from bac_utils.pretraining.structures import KINDS, Structures, add_structures, draw_structure
from bac_utils.settings import DEMO

SIDE = 48


def test_each_structure_is_of_its_kind_and_about_one_in_its_bright_parts():
    for number in range(2 * len(KINDS)):
        intensity, kind = draw_structure(number, 112, 0.3)
        assert kind == number % len(KINDS)
        assert intensity.shape == (112, 112) and intensity.dtype == np.float16
        again, _ = draw_structure(number, 112, 0.3)
        np.testing.assert_array_equal(intensity, again)
        lit = intensity[intensity > 0.1 * intensity.max()].astype(float)
        assert not lit.size or np.percentile(lit, 75) == pytest.approx(1, abs=0.01)


def square(kind):
    """One structure: a bright square of 10 x 10 pixels in the cell of row 0, column 1."""
    intensity = np.zeros((1, SIDE, SIDE), np.float16)
    intensity[0, 3:13, 19:29] = 1
    return Structures(intensity, np.array([kind]))


def test_labels_are_the_cells_of_the_structure_as_it_was_turned():
    patch = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float16)
    patch[patch == 0] = 0.1
    seen = set()
    for seed in range(40):
        pixels, labels = add_structures(patch, square(3), np.random.default_rng(seed))
        assert labels.shape == (3, 3, len(KINDS)) and labels.dtype == np.int8
        assert not np.delete(labels, 3, axis=2).any()
        changed = np.abs(pixels - patch.astype(np.float32)) > 1e-6
        cells = changed.reshape(3, 16, 3, 16).sum(axis=(1, 3))
        np.testing.assert_array_equal(labels[..., 3], cells > 0)
        seen |= {tuple(place) for place in np.argwhere(labels[..., 3])}
    assert seen == {(0, 1), (1, 0), (1, 2), (2, 1)}  # the middles of the four edges


def test_a_structure_outside_the_breast_leaves_neither_pixels_nor_labels():
    pixels, labels = add_structures(np.zeros((SIDE, SIDE), np.float16), square(0), np.random.default_rng(1))
    assert not pixels.any() and not labels.any()


def test_no_patch_shows_a_calcified_artery():
    recipe = Recipe(bac_share=0.0, heights=(384,), patch=SIDE, patches=2)
    for number in (pretext.FIRST_WOMAN, pretext.FIRST_WOMAN + 1):
        patches, labels = woman_patches(number, recipe)
        assert len(patches) and not labels.any()


def test_the_weights_have_no_head_and_their_recipe_lies_beside_them(monkeypatch, tmp_path):
    monkeypatch.setattr(pretext, "run_jobs", lambda job, numbers, *_: [job(number) for number in numbers])
    recipe = PretextRecipe(women=2, rows=384, patch=SIDE, patches=4, structures=4 * len(KINDS), epochs=1)
    output = tmp_path / "structures.weights.h5"
    found = pretrain_structures(output, recipe)
    assert list(found) == list(KINDS)
    with h5py.File(output) as file:
        assert file.attrs[SCALE_ATTRIBUTE] == 1 and UNITS_ATTRIBUTE not in file.attrs
    note = json.loads((tmp_path / "structures.json").read_text(encoding="utf-8"))
    assert note["made_with"]["women"] == 2 and note["held_out_auc_roc"].keys() == KINDS.keys()


def test_another_backbone_is_told_the_kinds_in_each_position_of_its_map_of_stride_16(tmp_path):
    rng = np.random.default_rng(0)
    backgrounds = rng.normal(size=(4, 64, 64)).astype(np.float16)
    bright = np.zeros((2, 64, 64), np.float16)
    bright[0, 3:13, 19:29], bright[1, 40:50, 40:50] = 1, 1
    data = backgrounds, Structures(bright, np.array([0, 1]))
    small = {"backbone": "MobileNet", "width_divisor": 16}
    recipe = PretextRecipe(patch=64, first_epochs=1, epochs=1, batch_size=2, policy="float32", half=True, **small)
    stored = {"patches": backgrounds, "intensity": bright, "kinds": data[1].kinds}
    patch, labels = pretext.example(stored, 0, rng)
    assert patch.shape == (64, 64, 1) and labels.shape == (4, 4, len(KINDS))
    pretrain_structures(tmp_path / "mobilenet.weights.h5", recipe, data=data)
    with h5py.File(tmp_path / "mobilenet.weights.h5") as file:
        kernel = file["layers/conv2d/vars/0"]
        assert kernel.dtype == np.float16 and kernel.shape == (3, 3, 3, 2)
    settings = replace(DEMO, **small, weights=str(tmp_path / "mobilenet.weights.h5"))
    assert build_backbone(replace(settings, input_shape=(64, 32))).output.shape[1:3] == (4, 2)
    with pytest.raises(ValueError, match="patch: got 40, must be a multiple of 16 for MobileNet, whose map has 2 rows"):
        pretrain_structures(tmp_path / "no.weights.h5", replace(recipe, patch=40), data=data)


def test_all_networks_learn_from_the_same_patches(monkeypatch, tmp_path):
    made = {}
    monkeypatch.setattr(pretext, "pretext_data", lambda recipe, workers: ("patches of seed", recipe.seed))
    monkeypatch.setattr(
        pretext, "pretrain_structures", lambda path, recipe, _, data: made.update({path: (recipe, data)})
    )
    pretext.pretrain_networks(tmp_path, seed=3)
    assert [path.name for path in made][:2] == ["structures.weights.h5", "structures-vgg19.weights.h5"]
    assert {path.parent for path in made} == {tmp_path} and len(made) == len(STRUCTURES)
    for recipe, data in made.values():
        assert data == ("patches of seed", 3) and recipe.width_divisor == STRUCTURES[recipe.backbone]
        assert recipe.half == (recipe.backbone != "VGG16")
