"""Presets, their checks, and the consistency of the published numbers."""

import math
from dataclasses import FrozenInstanceError

import pytest

from bac_utils.settings import DEMO, PAPER, PRESETS, PUBLISHED, STRETCH, preset


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs: got 0, must be greater than or equal to 1"),
        ({"epochs": 2.5}, TypeError, "epochs: got 2.5, must be a valid integer"),
        ({"epochs": True}, TypeError, "epochs: got True"),
        ({"train_prevalence": 1.2}, ValueError, "train_prevalence: got 1.2"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate: got nan"),
        ({"seed": -1}, ValueError, "seed: got -1"),
        ({"input_shape": [96]}, TypeError, r"input_shape: got \(96,\), must have as many numbers as \(768, 384\)"),
        ({"input_shape": [16, 64]}, ValueError, "input_shape: .*greater than or equal to 32"),
        ({"age_limits": [60, 50, 70]}, ValueError, "age_limits: .*must increase"),
        ({"age_limits": "quartiles"}, TypeError, "age_limits: got 'quartiles'"),
        ({"split_fractions": [0.7, 0.2, 0.2]}, ValueError, "split_fractions: .*sum to 1"),
        ({"weights": 3}, TypeError, "weights: got 3, must be a valid string"),
        ({"view_pixel_mm": 0}, ValueError, "view_pixel_mm: got 0, must be greater than or equal to 0.02, or 'stretch'"),
        ({"view_pixel_mm": 5.1}, ValueError, "view_pixel_mm: got 5.1, must be less than or equal to 5"),
        ({"view_pixel_mm": "fit"}, TypeError, "view_pixel_mm: got 'fit', must be a valid number, or 'stretch'"),
        ({"view_pixel_mm": [0.3, 0.3]}, TypeError, r"view_pixel_mm: got \(0.3, 0.3\)"),
        ({"heatmap": "cam"}, ValueError, r"heatmap: got 'cam', must be 'local-logits', 'grad-cam\+\+', "),
        ({"heatmap_threshold": 1}, ValueError, "heatmap_threshold: got 1, must be less than or equal to 0.99"),
        ({"heatmap_threshold": "0.3"}, TypeError, "heatmap_threshold: got '0.3', must be a valid number"),
        ({"epoch": 3}, ValueError, "unknown field 'epoch', must be one of age_limits, "),
    ],
)
def test_bad_settings_are_named(changes, error, words):
    with pytest.raises(error, match=words):
        preset("demo", **changes)


def test_lists_become_tuples():
    settings = preset("demo", input_shape=[96, 64], age_limits=[50, 60, 70])
    assert (settings.input_shape, settings.age_limits) == ((96, 64), (50, 60, 70))


def test_none_keeps_the_scale_and_stretch_removes_it():
    assert preset("demo", view_pixel_mm=None).view_pixel_mm == DEMO.view_pixel_mm
    assert preset("demo", view_pixel_mm=0.5).view_pixel_mm == 0.5
    assert preset("demo", view_pixel_mm=STRETCH).view_pixel_mm is None
    assert preset("paper", view_pixel_mm=STRETCH) == PAPER


def test_preset_changes_a_copy():
    changed = preset("demo", seed=7, women=None)
    assert (changed.seed, changed.women) == (7, DEMO.women)
    assert DEMO.seed == PRESETS["demo"].seed == 2023
    with pytest.raises(FrozenInstanceError):
        DEMO.seed = 1
    with pytest.raises(TypeError):
        PUBLISHED["women"] = 1


def test_preset_refuses_unknown_names():
    with pytest.raises(ValueError, match="preset: got 'quick', must be one of demo, paper"):
        preset("quick")


def test_published_counts_agree_with_each_other():
    assert PUBLISHED["views"] == 4 * PUBLISHED["women"]
    # 1,042 women in the training set before undersampling
    assert 1042 + sum(PUBLISHED["splits"][s]["women"] for s in ("validation", "test")) == PUBLISHED["women"]
    assert sum(s["bac_views"] for s in PUBLISHED["splits"].values()) == PUBLISHED["bac_views"]
    for name, split in PUBLISHED["splits"].items():
        row = PUBLISHED["detection"][name]
        assert split["views"] == 4 * split["women"] == row["tn"] + row["tp"] + row["fn"] + row["fp"]
        assert split["bac_views"] == row["tp"] + row["fn"]
