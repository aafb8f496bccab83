"""Outlines on the grid of prepared views."""

import numpy as np
import pytest
from finished_run import SPACING_MM

from bac_utils.dataset import read_view
from bac_utils.methods.outlines import outline_on_grid, outline_path, read_outlines
from bac_utils.methods.sets import load_sets
from bac_utils.preprocess import mask_to_original, prepare
from bac_utils.views_table import read_views


def test_a_mask_and_its_outline_are_each_others_inverse(drawn_run):
    views = read_views(drawn_run / "views.csv")
    for row in views.groupby("laterality").head(1).itertuples():
        prepared = prepare(read_view(row), (96, 48), 1.0)
        mask = np.zeros((96, 48), bool)
        mask[40:60, 8:20] = True
        mask &= prepared.mask
        back = outline_on_grid(mask_to_original(mask, prepared), prepared)
        assert mask.any() and (back ^ mask).sum() <= 0.1 * mask.sum()
    with pytest.raises(ValueError, match=r"mask: got shape \(3, 3\), must be that of the image"):
        outline_on_grid(np.zeros((3, 3), bool), prepared)


def test_outlines_lie_on_the_bright_arteries(drawn_run):
    sets = load_sets(drawn_run, (192, 96), SPACING_MM, drawn_run / "masks")
    for views in (sets.train, sets.test, sets.measured):
        for k in np.flatnonzero(views.labels):
            pixels, outline = np.asarray(views.pixels[k], float), views.outlines[k]
            breast = (pixels != 0) & ~outline
            assert outline.sum() > 10 and pixels[outline].mean() > pixels[breast].mean() + 1
        assert not views.outlines[views.labels == 0].any()
    assert sets.validation.outlines is None
    assert load_sets(drawn_run, (192, 96), SPACING_MM, drawn_run / "nothing").train.outlines is None


def test_missing_and_damaged_masks(drawn_run, tmp_path):
    views = read_views(drawn_run / "views.csv")
    row = views[views["bac"] == 1].iloc[:1]
    outlines, known = read_outlines(row, tmp_path, (192, 96), SPACING_MM)
    assert not known.any() and not outlines.any()
    outline_path(next(row.itertuples()), tmp_path).write_bytes(b"no picture")
    with pytest.raises(ValueError, match="must be a PNG picture"):
        read_outlines(row, tmp_path, (192, 96), SPACING_MM)
    twice = views[views["bac"] == 1].iloc[[0, 0]]
    with pytest.raises(ValueError, match="outlines: got two images with the name"):
        read_outlines(twice, tmp_path, (192, 96), SPACING_MM)
