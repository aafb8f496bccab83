"""Batches of the pretraining."""

import numpy as np
import pytest

from bac_utils.pretraining.batches import augmented, stored_batches


def numbered(stored, number, rng):
    """The number of the image, and a random number."""
    return np.array([stored["images"][number, 0], number]), rng.random(1)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_each_image_once_and_the_seed_determines_the_rest(tmp_path, workers):
    images = {"images": np.arange(10)[:, None] * 7, "others": np.zeros(3)}
    with stored_batches(tmp_path, images, numbered, 5, 1) as batches:
        assert batches.steps == 2
        found = list(batches.epochs(2, workers))
        again = list(batches.epochs(2, 0))
    assert not list(tmp_path.iterdir())
    for (places, values), (same, equal) in zip(found, again, strict=True):
        np.testing.assert_array_equal(places, same)
        np.testing.assert_array_equal(values, equal)
        np.testing.assert_array_equal(places[:, 0], 7 * places[:, 1])
    orders = [np.concatenate([places[:, 1] for places, _ in found[k : k + 2]]).tolist() for k in (0, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert len({float(value[0]) for _, values in found for value in values}) == 20


def test_batches_are_full_and_a_small_set_is_one_batch(tmp_path):
    images = {"images": np.arange(7)[:, None]}
    with stored_batches(tmp_path, images, numbered, 3, 1) as batches:
        assert [len(places) for places, _ in batches.epochs(1, 0)] == [3, 3]
    with stored_batches(tmp_path, images, numbered, 32, 1) as batches:
        assert [len(places) for places, _ in batches.epochs(1, 0)] == [7]


def test_image_and_labels_are_flipped_together():
    pixels = np.zeros((32, 32), np.float32)
    pixels[:16, :16] = 5
    rng, seen = np.random.default_rng(0), set()
    for _ in range(12):
        varied, labels = augmented(pixels, np.array([[1, 0], [0, 0]], np.int8), rng)
        assert varied.shape == (32, 32, 1) and varied.dtype == np.float32
        bright = varied[..., 0].reshape(2, 16, 2, 16).mean(axis=(1, 3))
        np.testing.assert_array_equal(labels == 1, bright == bright.max())
        seen.add(int(labels.argmax()))
        assert 5 * np.exp(-0.7) - 0.5 < bright.max() < 5 * np.exp(0.4) + 0.5  # factor, offset, little noise
        assert (varied == 0).sum() == 3 * 16 * 16  # outside the breast
    assert len(seen) > 1
