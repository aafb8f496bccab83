"""Shared fixtures: a tiny recipe, views on which it learns, and a writer of mammograms."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from bac_utils.settings import DEMO, Augmentation, Settings

TINY_SHAPE = (64, 32)


@pytest.fixture(scope="session")
def tiny_settings() -> Settings:
    """VGG16 with widths 2, 4, 8, 16, 16 on views of 64 x 32."""
    return replace(
        DEMO, seed=1, input_shape=TINY_SHAPE, width_divisor=32, weights="none", trainable_convolutions=5, dense_units=8,
        batch_size=4, pooling_sharpness=1.0, epochs=4, learning_rate=3e-3,
        augmentation=Augmentation(rotation_degrees=5.0),
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_views() -> tuple[np.ndarray, np.ndarray]:
    """22 prepared views, float16 (22, 64, 32), breast at the left, and labels; a bright column where the label is 1."""
    rng = np.random.default_rng(0)
    labels = (np.arange(22) % 3 == 0).astype(int)
    pixels = rng.normal(size=(22, *TINY_SHAPE))
    pixels[labels == 1, 20:44, 10] += 6
    y, x = np.mgrid[:64, :32]
    pixels[:, np.hypot((y - 32) / 32, x / 30) > 1] = 0
    return pixels.astype(np.float16), labels


@pytest.fixture
def dicom(tmp_path):
    """Return `mammogram_files.write` without its first argument: each call writes the same file anew."""
    from mammogram_files import write

    return partial(write, tmp_path / "view.dcm")


@pytest.fixture
def no_display_and_no_trace():
    """Draw without a display; a figure must not change Matplotlib's settings."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        plt.switch_backend("agg")
        before = dict(mpl.rcParams)
        yield
        assert dict(mpl.rcParams) == before
        plt.close("all")
