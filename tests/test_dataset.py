"""The cache of prepared views, and batches that depend only on seed and epoch."""

import errno
import os
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from bac_utils import dataset
from bac_utils.dataset import augment, batches, prepare_views, training_batches
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import prepare
from bac_utils.settings import Augmentation

SHAPE = (48, 24)
STILL = Augmentation(0.0, 0.0, 0.0, False, False, 0.0, 0.0)


def write_view(path, seed, side="L"):
    """Write a 16-bit image with a bright half disc at one side."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :200]
    image = np.where(np.hypot((y - 150) / 110, x / 130) < 1, 20000 + 3000 * rng.normal(size=(300, 200)), 300)
    image = image if side == "L" else image[:, ::-1]
    assert cv2.imwrite(str(path), image.clip(0, 65535).astype(np.uint16))


@pytest.fixture
def table(tmp_path):
    """Four views on disk; the second has no spacing."""
    rows = []
    for n, (side, view) in enumerate([("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO")]):
        path = tmp_path / f"{n}.png"
        write_view(path, n, side)
        rows.append({"patient_id": "A", "laterality": side, "view": view, "image_path": str(path)})
    return pd.DataFrame(rows).assign(pixel_spacing_mm=[0.6, np.nan, 0.6, 0.5])


@pytest.fixture
def prepared_rows(monkeypatch):
    """Names of the files that were prepared."""
    rows, original = [], dataset._prepare_one

    def spy(job):
        rows.append(job[1].rsplit("/", 1)[-1])
        return original(job)

    monkeypatch.setattr(dataset, "_prepare_one", spy)
    return rows


def test_views_are_prepared_in_the_tables_order(table, tmp_path):
    prepared = prepare_views(table.iloc[::-1], tmp_path / "cache", SHAPE)
    assert prepared.pixels.shape == (4, *SHAPE)
    assert isinstance(prepared.pixels, np.memmap)
    assert prepared.pixels.dtype == np.float16
    assert prepared.table["image_path"].tolist() == table["image_path"].tolist()[::-1]
    for row, pixels in zip(prepared.table.itertuples(), prepared.pixels, strict=True):
        spacing = None if np.isnan(row.pixel_spacing_mm) else row.pixel_spacing_mm
        mammogram = read_mammogram(row.image_path, laterality=row.laterality, view=row.view, pixel_spacing_mm=spacing)
        expected = prepare(mammogram, SHAPE)
        np.testing.assert_array_equal(pixels, expected.pixels.astype(np.float16))
        found = (row.spacing_row_mm, row.spacing_column_mm)
        np.testing.assert_array_equal(found, expected.spacing_mm or (np.nan, np.nan))
    assert prepared.table["spacing_row_mm"].isna().tolist() == [False, False, True, False]
    # 220 rows of breast on 48, 130 columns on 24
    assert prepared.table["spacing_row_mm"][3] == pytest.approx(0.6 * 220 / 48, rel=0.05)
    assert prepared.table["spacing_column_mm"][3] == pytest.approx(0.6 * 130 / 24, rel=0.05)


def test_a_spacing_that_is_not_used_is_kept_with_its_reason(table, tmp_path):
    table = table.assign(pixel_spacing_mm=[0.5, np.nan, 0.02, 0.5])
    for _ in range(2):  # prepared, and from the cache
        found = prepare_views(table, tmp_path / "cache", SHAPE).table
        assert found["spacing_doubt"].tolist() == ["", "", "spacing_impossible_breast", ""]
        assert found["spacing_row_mm"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("pixel_mm", [None, 5.0])
def test_worker_processes_give_the_same_result(table, tmp_path, pixel_mm):
    alone = prepare_views(table, tmp_path / "one", SHAPE, pixel_mm=pixel_mm)
    together = prepare_views(table, tmp_path / "two", SHAPE, workers=2, pixel_mm=pixel_mm)
    np.testing.assert_array_equal(alone.pixels, together.pixels)
    pd.testing.assert_frame_equal(alone.table, together.table)


def test_a_second_call_prepares_nothing_again(table, tmp_path, prepared_rows):
    first = prepare_views(table, tmp_path / "cache", SHAPE)
    before = np.array(first.pixels)
    prepared_rows.clear()
    again = prepare_views(table, tmp_path / "cache", SHAPE)
    assert prepared_rows == []
    np.testing.assert_array_equal(again.pixels, before)
    pd.testing.assert_frame_equal(again.table, first.table)
    fewer = prepare_views(table.iloc[[2, 0]], tmp_path / "cache", SHAPE)
    assert prepared_rows == []
    np.testing.assert_array_equal(fewer.pixels, before[[2, 0]])


def test_changed_views_are_prepared_again(table, tmp_path, prepared_rows):
    cache = tmp_path / "cache"
    before = np.array(prepare_views(table, cache, SHAPE).pixels)
    prepared_rows.clear()
    write_view(tmp_path / "2.png", 99)
    after = prepare_views(table, cache, SHAPE).pixels
    assert prepared_rows == ["2.png"]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, True]
    prepared_rows.clear()
    assert prepare_views(table, cache, (24, 24)).pixels.shape == (4, 24, 24)
    assert len(prepared_rows) == 4
    prepared_rows.clear()
    (cache / "views.npy").write_bytes(b"not an array")
    assert prepare_views(table, cache, (24, 24)).pixels.shape == (4, 24, 24)
    assert len(prepared_rows) == 4


def test_another_scale_is_prepared_again(table, tmp_path, prepared_rows):
    cache, shape = tmp_path / "cache", (96, 64)  # 240 mm x 160 mm at 2.5 mm; a breast has 220 x 130 pixels
    stretched = np.array(prepare_views(table, cache, shape).pixels)
    prepared_rows.clear()
    scaled = prepare_views(table, cache, shape, pixel_mm=2.5)
    assert len(prepared_rows) == 4
    pixels = np.array(scaled.pixels)
    for row, view in zip(scaled.table.itertuples(), pixels, strict=True):
        spacing = None if np.isnan(row.pixel_spacing_mm) else row.pixel_spacing_mm
        mammogram = read_mammogram(row.image_path, laterality=row.laterality, view=row.view, pixel_spacing_mm=spacing)
        np.testing.assert_array_equal(view, prepare(mammogram, shape, 2.5).pixels.astype(np.float16))
    # Rows of breast: at 0.6 mm, at 0.5 mm, and without a spacing 240 mm / 300 pixels.
    extents = [int(np.ptp(np.flatnonzero(view.any(axis=1)))) + 1 for view in pixels]
    assert extents == pytest.approx([52.8, 70.4, 52.8, 44], rel=0.08)
    spacings = scaled.table[["spacing_row_mm", "spacing_column_mm"]].to_numpy()
    np.testing.assert_allclose(spacings[[0, 2, 3]], 2.5, rtol=0.05)
    assert np.isnan(spacings[1]).all()
    prepared_rows.clear()
    again = prepare_views(table, cache, shape, pixel_mm=np.float64(2.5))  # the same number
    assert prepared_rows == []
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(prepare_views(table, cache, shape).pixels, stretched)
    assert len(prepared_rows) == 4


def test_an_interrupted_call_resumes(table, tmp_path, prepared_rows, monkeypatch):
    counting = dataset._prepare_one

    def stops(job):
        if job[0] == 2:
            raise KeyboardInterrupt
        return counting(job)

    monkeypatch.setattr(dataset, "_prepare_one", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare_views(table, tmp_path / "cache", SHAPE)
    monkeypatch.setattr(dataset, "_prepare_one", counting)
    prepared = prepare_views(table, tmp_path / "cache", SHAPE)
    assert prepared_rows == ["0.png", "1.png", "2.png", "3.png"]
    np.testing.assert_array_equal(prepared.pixels, prepare_views(table, tmp_path / "new", SHAPE).pixels)


def test_unusable_views_are_listed_and_the_others_kept(table, tmp_path, prepared_rows):
    (tmp_path / "0.png").write_bytes(b"not an image")
    (tmp_path / "3.png").unlink()
    expected = r"views: 2 of 4 cannot be used\n.*0\.png: not_an_image.*\n.*3\.png: not_found"
    with pytest.raises(ValueError, match=expected):
        prepare_views(table, tmp_path / "cache", SHAPE)
    write_view(tmp_path / "0.png", 0)
    write_view(tmp_path / "3.png", 3, "R")
    prepared_rows.clear()
    prepare_views(table, tmp_path / "cache", SHAPE)
    assert prepared_rows == ["0.png", "3.png"]


def test_bad_arguments_are_named(table, tmp_path):
    with pytest.raises(ValueError, match=r"shape: got \(48, 0\)"):
        prepare_views(table, tmp_path, (48, 0))
    with pytest.raises(ValueError, match="workers: got 0"):
        prepare_views(table, tmp_path, SHAPE, workers=0)
    for pixel_mm in (0, -0.3, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"pixel_mm: got {pixel_mm!r}, must be a positive number of mm, or None"):
            prepare_views(table, tmp_path / "cache", SHAPE, pixel_mm=pixel_mm)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match="no column 'view'"):
        prepare_views(table.drop(columns="view"), tmp_path, SHAPE)
    with pytest.raises(ValueError, match="empty table"):
        prepare_views(table[:0], tmp_path, SHAPE)
    pixels = np.zeros((3, 4, 4), np.float16)
    with pytest.raises(ValueError, match=r"labels: got shape \(2,\), must be \(3,\)"):
        training_batches(pixels, [0, 1], 2, None, 0, 0)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        batches(pixels, 0)
    with pytest.raises(ValueError, match=r"pixels: got shape \(4, 4\)"):
        batches(pixels[0], 2)


def test_batches_keep_the_order(tiny_views):
    pixels, _ = tiny_views
    found = [batch.numpy() for batch in batches(pixels, 8)]
    assert [len(batch) for batch in found] == [8, 8, 6]
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(found), pixels[..., None].astype(np.float32))


def epoch(views, augmentation, seed=1, number=0):
    pixels, labels = views
    found = list(training_batches(pixels, labels, 8, augmentation, seed, number))
    return tuple(np.concatenate([part.numpy() for part in parts]) for parts in zip(*found, strict=True))


def test_an_epoch_is_a_permutation_with_its_labels(tiny_views):
    pixels, labels = tiny_views
    for augmentation in (None, STILL):
        views, classes = epoch(tiny_views, augmentation)
        assert views.shape == (22, 64, 32, 1)
        assert classes.shape == (22, 1)
        sums = pixels.sum(axis=(1, 2), dtype=float)
        order = [int(np.argmin(np.abs(sums - view.sum(dtype=float)))) for view in views]
        assert sorted(order) == list(range(22))
        assert order != list(range(22))
        np.testing.assert_array_equal(classes[:, 0], labels[order])
        np.testing.assert_array_equal(views[..., 0], pixels[order])


def test_an_epoch_depends_on_seed_and_number(tiny_views):
    views, labels = epoch(tiny_views, Augmentation())
    again = epoch(tiny_views, Augmentation())
    np.testing.assert_array_equal(views, again[0])
    np.testing.assert_array_equal(labels, again[1])
    for other in (epoch(tiny_views, Augmentation(), seed=2), epoch(tiny_views, Augmentation(), number=1)):
        assert not np.array_equal(views, other[0])


def test_flips_are_exact_and_all_four_kinds_occur(tiny_views):
    image = tiny_views[0][0].astype(np.float32)
    kinds = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    augmentation = replace(STILL, flip_horizontal=True, flip_vertical=True)
    found = [augment(image, (1, n), augmentation) for n in range(40)]
    hits = np.array([[np.array_equal(view, kind) for kind in kinds] for view in found])
    assert (hits.sum(axis=1) == 1).all()
    assert (hits.sum(axis=0) > 3).all()


def test_rotation_zoom_and_shift_move_a_square_as_drawn():
    image = np.zeros((101, 101), np.float32)
    image[45:56, 65:76] = 1  # centre 20 columns right of the middle
    y, x = np.mgrid[:101, :101]

    def polar(view):
        assert view.sum() > 0
        row, column = (view * (y - 50)).sum() / view.sum(), (view * (x - 50)).sum() / view.sum()
        return np.hypot(row, column), np.degrees(np.arctan2(row, column))

    turned = [polar(augment(image, (1, n), replace(STILL, rotation_degrees=30.0))) for n in range(60)]
    assert all(radius == pytest.approx(20, abs=0.3) for radius, _ in turned)
    angles = [angle for _, angle in turned]
    assert -30.5 < min(angles) < -20
    assert 20 < max(angles) < 30.5
    zoomed = [augment(image, (2, n), replace(STILL, zoom_fraction=0.5)) for n in range(60)]
    for view in zoomed:
        scale = polar(view)[0] / 20
        assert 0.49 < scale < 1.51
        assert view.sum() == pytest.approx(121 * scale**2, rel=0.15)
    shifted = [augment(image, (3, n), replace(STILL, shift_fraction=0.2)) for n in range(60)]
    moves = np.array([[(v * (y - 50)).sum() / 121, (v * (x - 70)).sum() / 121] for v in shifted])
    assert (np.abs(moves) < 20.3).all()
    assert (moves.min(axis=0) < -15).all()
    assert (moves.max(axis=0) > 15).all()


def test_noise_stays_inside_the_breast(tiny_views):
    image = tiny_views[0][0].astype(np.float32)
    outside = image == 0
    for n in range(10):
        noisy = augment(image, (4, n), replace(STILL, gaussian_noise_sd=0.5, salt_pepper_fraction=0.5))
        np.testing.assert_array_equal(noisy[outside], 0)
        assert not np.array_equal(noisy, image)
    shown = augment(image, (5, 0), Augmentation(gaussian_noise_sd=0.5, salt_pepper_fraction=0.5))
    still = augment(image, (5, 0), Augmentation(gaussian_noise_sd=0, salt_pepper_fraction=0))
    np.testing.assert_array_equal(shown == 0, still == 0)
    assert 0.2 < (still == 0).mean() < 0.6


def test_noise_has_the_stated_strength():
    image = np.ones((200, 200), np.float32)
    image[0, :2] = -3, 5
    noise = [(augment(image, (6, n), replace(STILL, gaussian_noise_sd=0.2)) - image).std() for n in range(60)]
    assert max(noise) < 0.205
    assert np.mean(noise) == pytest.approx(0.1, rel=0.25)  # the deviation is uniform between 0 and 0.2
    shares = []
    for n in range(60):
        changed = augment(image, (7, n), replace(STILL, salt_pepper_fraction=0.02))
        assert set(np.unique(changed)) <= {-3.0, 1.0, 5.0}
        shares.append([(changed == -3).mean(), (changed == 5).mean()])
    assert np.max(shares) < 0.0105
    np.testing.assert_allclose(np.mean(shares, axis=0), 0.005, rtol=0.3)


def test_an_epoch_does_not_wait_for_a_tuner():
    """TensorFlow's pipeline tuner sleeps for longer and longer, and the end of an epoch waits for it."""
    pixels = np.zeros((3, 8, 4), np.float16)
    for data in (training_batches(pixels, [0, 1, 0], 2, None, 0, 0), batches(pixels, 2)):
        assert data.options().autotune.enabled is False


def test_a_full_disk_is_an_error_before_views_are_written(table, tmp_path, monkeypatch):
    """Writing to a mapped file without space would kill the process instead."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left on device") as caught:
        prepare_views(table, tmp_path / "cache", SHAPE)
    assert caught.value.filename == str(tmp_path / "cache" / "views.npy")
    assert list((tmp_path / "cache").iterdir()) == []
