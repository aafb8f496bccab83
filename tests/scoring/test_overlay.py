"""Pictures for viewers without Segmentations: what is drawn, where, and that nothing else changes."""

import numpy as np
import pytest

from bac_utils.scoring import overlay
from bac_utils.scoring.overlay import COLOUR, draw_overlay

SHAPE = (600, 400)


def view(breast):
    """Return a ramp from 100 to 300 inside the breast, 100 elsewhere."""
    pixels = np.full(SHAPE, 100, np.float32)
    pixels[breast] += np.linspace(1, 200, breast.sum(), dtype=np.float32)
    return pixels


def half(name):
    breast = np.zeros(SHAPE, bool)
    breast[{"left": np.s_[:, :240], "right": np.s_[:, -240:], "top": np.s_[:450], "bottom": np.s_[150:]}[name]] = True
    return breast


def artery(breast):
    mask = np.zeros(SHAPE, bool)
    mask[300:306, 180:220] = True
    return mask & breast


@pytest.mark.parametrize("name", ["left", "right", "top", "bottom"])
def test_outline_around_the_mask_and_text_beside_the_breast(name):
    breast = half(name)
    mask, pixels = artery(breast), view(breast)
    picture = draw_overlay(pixels, mask, {"bac_length_mm": 40.0, "bac_area_mm2": 100.5})
    grey = (pixels.astype(float) - 100) / 200 * 255
    changed = (np.abs(picture - grey[..., None]) > 0.51).any(axis=2)  # half a grey level is rounding
    line = (picture == COLOUR).all(axis=2)
    assert not changed[mask].any()  # the calcium stays visible
    near = np.zeros(SHAPE, bool)
    near[299:307, 179:221] = True
    assert not line[~near].any() and line[299, 180:220].all() and line[300:306, 220].all()
    text = changed & ~line
    assert text.sum() > 300 and not (text & breast).any()
    assert (picture[text] == picture[text][:, :1]).all()  # grey


def test_known_values_are_shown(monkeypatch):
    told = []
    monkeypatch.setattr(overlay, "_write_lines", lambda picture, lines, occupied: told.append(lines))
    breast = half("left")
    for measures in (
        {"score": 0.9, "bac_length_mm": 40.04, "bac_area_mm2": 0.0, "bac_width_mm": 2.5},
        {"score": 0.9, "bac_length_mm": None, "bac_area_mm2": None},
        {},
    ):
        draw_overlay(view(breast), artery(breast), measures)
    assert told[0] == ["Research, not for diagnosis", "BAC length 40.0 mm", "BAC area 0.0 mm2"]
    assert told[1] == told[2] == ["Research, not for diagnosis"]


def test_a_mask_at_the_edge_and_a_view_filled_by_the_breast():
    breast = np.ones(SHAPE, bool)
    mask = np.zeros(SHAPE, bool)
    mask[-40:, :100] = mask[:5] = True  # only the lower right corner is free
    picture = draw_overlay(view(breast), mask, {})
    assert (picture == 255).all(axis=2)[-60:, -140:].any()
    assert draw_overlay(np.full((3, 2), 7.0), np.eye(3, 2, dtype=bool), {}).shape == (3, 2, 3)


def test_other_masks_are_refused():
    with pytest.raises(ValueError, match=r"mask: got bool of shape \(2, 2\), must be bool of shape \(600, 400\)"):
        draw_overlay(np.zeros(SHAPE), np.zeros((2, 2), bool), {})
    with pytest.raises(ValueError, match="mask: got float64"):
        draw_overlay(np.zeros(SHAPE), np.zeros(SHAPE), {})
