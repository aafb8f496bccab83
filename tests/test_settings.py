from dataclasses import FrozenInstanceError

import pytest

from bac_utils.settings import (
    DEFAULT_THRESHOLD,
    DEMO,
    HEATMAPS,
    PAPER,
    PAPER_THRESHOLD,
    PRESETS,
    PUBLISHED,
    STRETCH,
    preset,
)


def test_the_paper_s_recipe():
    assert PAPER.women == 1493
    assert PAPER.input_shape == (1536, 768)
    assert (PAPER.backbone, PAPER.width_divisor, PAPER.weights) == ("VGG16", 1, "imagenet")
    assert (PAPER.trainable_convolutions, PAPER.dense_units, PAPER.leaky_slope, PAPER.dropout) == (
        5,
        256,
        0.3,
        0.3,
    )
    assert (PAPER.batch_size, PAPER.epochs, PAPER.learning_rate) == (8, 25, 1e-6)
    assert (PAPER.minimum_age, PAPER.age_limits) == (45, (60, 70, 73))
    assert PAPER.split_fractions == (0.70, 0.15, 0.15)
    assert (PAPER.train_prevalence, PAPER_THRESHOLD) == (0.30, 0.3)
    assert PAPER.view_pixel_mm is None


def test_the_demo_keeps_the_method():
    for name in (
        "backbone",
        "trainable_convolutions",
        "dense_units",
        "age_limits",
        "split_fractions",
        "dropout",
    ):
        assert getattr(DEMO, name) == getattr(PAPER, name)
    assert DEMO.women >= 500


def test_the_heatmap_is_chosen_by_default():
    for settings in (PAPER, DEMO):
        assert (settings.heatmap, settings.heatmap_threshold) == (None, None)
    assert HEATMAPS == ("cells", "grad-cam++", "layer-cam", "own maximum")
    assert PAPER_THRESHOLD < DEFAULT_THRESHOLD < 1
    given = preset("demo", heatmap="own maximum", heatmap_threshold=PAPER_THRESHOLD)
    assert (given.heatmap, given.heatmap_threshold) == ("own maximum", 0.3)


def test_the_demo_s_field_is_240_mm_high():
    assert [n * DEMO.view_pixel_mm for n in DEMO.input_shape] == [240, 120]


def test_none_leaves_the_scale_and_a_word_takes_it_away():
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
    with pytest.raises(ValueError, match="settings: unknown field 'epoch', must be one of age_limits, "):
        preset("demo", epoch=3)


def test_published_counts_agree_with_each_other():
    assert PUBLISHED["views"] == 4 * PUBLISHED["women"]
    # 1,042 women before the undersampling
    assert 1042 + sum(PUBLISHED["splits"][s]["women"] for s in ("validation", "test")) == PUBLISHED["women"]
    assert sum(s["bac_views"] for s in PUBLISHED["splits"].values()) == PUBLISHED["bac_views"]
    for name, split in PUBLISHED["splits"].items():
        row = PUBLISHED["detection"][name]
        assert split["views"] == 4 * split["women"] == row["tn"] + row["tp"] + row["fn"] + row["fp"]
        assert split["bac_views"] == row["tp"] + row["fn"]
