"""Spectra and exponents of textures whose spectrum is known."""

import numpy as np
import pytest

from bac_utils.simulator.texture import (
    FINE_SCALE,
    TEXTURE_MM,
    fine_texture,
    fit_exponent,
    power_law_texture,
    power_spectrum,
    tissue_squares,
)


def texture(exponent, pixels, seed=2):
    return power_law_texture(np.random.default_rng(seed), exponent, pixels=pixels), TEXTURE_MM / pixels


@pytest.mark.parametrize("pixels", [1024, 2048])  # 0.31 and 0.16 mm
@pytest.mark.parametrize("exponent", [2.0, 3.0, 3.6])
def test_the_exponent_of_a_known_texture_at_two_spacings(exponent, pixels):
    field, spacing = texture(exponent, pixels)
    squares = tissue_squares(field, np.ones(field.shape, bool), spacing)
    assert fit_exponent(power_spectrum(squares, spacing)) == pytest.approx(exponent, abs=0.1)


def test_the_exponent_does_not_depend_on_unit_or_offset():
    field, spacing = texture(3.0, 1024)
    squares = tissue_squares(field, np.ones(field.shape, bool), spacing)
    once, twice = (fit_exponent(power_spectrum(part, spacing)) for part in (squares, 500 - 40 * squares))
    assert once == pytest.approx(twice)


@pytest.mark.parametrize("spacing", [0.1, 0.25])
def test_white_noise_is_flat_and_has_its_variance(spacing):
    """Variance 4 spread evenly over a band of 1/spacing by 1/spacing: 4 times spacing squared at every frequency."""
    noise = np.random.default_rng(0).normal(7, 2, (900, 900))
    squares = tissue_squares(noise, np.ones(noise.shape, bool), spacing)
    spectrum = power_spectrum(squares, spacing)
    assert spectrum["power"].iloc[5:].to_numpy() == pytest.approx(4 * spacing**2, rel=0.2)
    assert fit_exponent(spectrum) == pytest.approx(0, abs=0.08)
    assert spectrum["frequency"].max() <= 0.5 / spacing


def test_the_fine_mesh_repeats_after_80_mm_and_is_averaged_over_coarser_pixels():
    """Its grid has pixels of 320 mm / 1024 / 4; four by four of them make a pixel of 0.3125 mm."""
    fine = TEXTURE_MM / 1024 / FINE_SCALE
    mesh = fine_texture(np.random.default_rng(2), (400, 1424), fine)
    assert abs(mesh.mean()) < 0.1 and mesh.std() == pytest.approx(0.95, abs=0.06)
    np.testing.assert_allclose(mesh[9:-9, 9:391], mesh[9:-9, 1033:1415], atol=1e-4)
    coarse = fine_texture(np.random.default_rng(2), (100, 356), 4 * fine)
    blocks = mesh.reshape(100, 4, 356, 4).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), blocks.ravel())[0, 1] > 0.98
    assert coarse.std() < 0.9 * mesh.std()


def test_a_wave_appears_at_its_frequency():
    x = np.arange(400) * 0.2
    wave = np.sin(2 * np.pi * 0.8 * x)[None, :] * np.ones((400, 1))
    spectrum = power_spectrum(tissue_squares(wave, np.ones(wave.shape, bool), 0.2), 0.2)
    assert spectrum["frequency"][spectrum["power"].argmax()] == pytest.approx(0.8, rel=0.1)


def test_squares_lie_inside_the_breast_away_from_its_edge():
    y, x = np.mgrid[:400, :300] * 0.25
    distance = 60 - np.hypot(x, y - 50)  # a half disc of 60 mm at the chest wall
    pixels = np.where(distance > 8, 1.0, np.nan)
    squares = tissue_squares(pixels, distance > 0, 0.25)
    assert len(squares) >= 4
    assert squares.shape[1:] == (102, 102)
    assert np.isfinite(squares).all()
    assert not len(tissue_squares(pixels, distance > 40, 0.25))


def test_invalid_arguments_are_named():
    square = np.random.default_rng(0).normal(size=(64, 64))
    with pytest.raises(ValueError, match="squares: got none"):
        power_spectrum([], 0.25)
    with pytest.raises(ValueError, match="squares: got shape"):
        power_spectrum([square, square[:50]], 0.25)
    with pytest.raises(ValueError, match="mask: got shape"):
        tissue_squares(square, np.ones((3, 3), bool), 0.25)
    with pytest.raises(ValueError, match="band_per_mm: got .*, must be covered"):
        fit_exponent(power_spectrum([square], 1.5))
