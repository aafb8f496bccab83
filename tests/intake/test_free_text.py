"""Words of descriptions and file names in several languages; expected meanings are written by hand."""

import random

import pytest

from bac_utils.intake.free_text import names_capture, names_synthetic, names_tomosynthesis, read_text, without_hashes
from bac_utils.intake.mammogram import REASONS, read_words


@pytest.mark.parametrize(
    ("text", "sides", "views", "codes"),
    [
        ("R CC", "R", "CC", ""),
        ("Aufnahme der linken Brust, schräg", "L", "MLO", ""),
        ("Mamma re. kraniokaudal", "R", "CC", ""),
        ("SEIN GAUCHE FACE", "L", "CC", ""),
        ("incidence de l'oblique, sein droit", "R", "MLO", ""),
        ("mama derecha oblicua medio-lateral", "R", "MLO", ""),
        ("oblicua mediolateral izq", "L", "MLO", ""),
        ("seno sinistro cranio caudale", "L", "CC", ""),
        ("höger MLO", "R", "MLO", ""),
        ("venstre bryst CC", "L", "CC", ""),
        ("prawa MLO", "R", "MLO", ""),
        ("右 CC", "R", "CC", ""),
        ("правая CC", "R", "CC", ""),
        ("CC_LT", "L", "CC", ""),
        ("MLO bds.", "LR", "MLO", ""),
        ("ML oblique L", "L", "MLO", ""),
        ("R2 CAD", "", "", ""),
        ("L. Smith at the hospital", "", "", ""),
        ("Smith, left", "L", "", ""),
        ("LMO right", "R", "", "other_view"),
        ("XCCL L", "L", "", "other_view"),
        ("caudo-cranial R", "R", "", "other_view"),
        ("R MMLO", "R", "MLO", "spot_or_magnification"),
        ("L MLO vergrößert", "L", "MLO", "spot_or_magnification"),
        ("L CC Implantat", "L", "CC", "implant"),
        ("Präparat L", "L", "", "specimen"),
        ("", "", "", ""),
    ],
)
def test_side_and_view_in_words(text, sides, views, codes):
    found = read_text(text)
    assert "".join(sorted(found.sides)) == sides and "".join(sorted(found.views)) == views
    assert "".join(sorted(found.codes)) == codes and found.codes <= set(REASONS)


@pytest.mark.parametrize(
    ("text", "synthetic"),
    [
        ("L CC C-View", True), ("CVIEW", True), ("S-View", True), ("Intelligent 2D", True), ("Insight2D", True),
        ("V-Preview", True), ("SyntheticView", True), ("Mx 2D sintetica", True), ("synth", True),
        ("CC View", False), ("Breast tomosynthesis", False), ("Tomosynthese R CC", False), ("no C-View", False),
        ("2D from tomosynthesis", True), ("GEN2D", True), ("High Energy L CC", True),
        ("Patient's view", False), ("R CC 2D", False), ("Low Energy L CC", False), ("2D and tomo", False),
    ],
)  # fmt: skip
def test_names_of_synthetic_views(text, synthetic):
    assert names_synthetic(text) is synthetic


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("R CC Tomosynthesis Projection", True), ("L MLO Tomosynthesis Reconstruction", True), ("DBT slices", True),
        ("Tomo-Schichten", True), ("SmartSlices", True), ("Slab 3 of tomo", True),
        ("R CC", False), ("L CC tomo combo", False), ("Screening with tomosynthesis", False), ("CC plane", False),
    ],
)  # fmt: skip
def test_names_of_parts_of_a_tomosynthesis(text, part):
    assert names_tomosynthesis(text) is part


@pytest.mark.parametrize(
    ("text", "capture"),
    [
        ("CAD", True), ("CAD marks", True), ("iCAD", True), ("MG CAD", True), ("Secondary Capture", True),
        ("Screenshot", True), ("Text", True), ("Bildschirmkopie", True), ("Dosisbericht", True), ("Key Images", True),
        ("MG screening bilateral with CAD", False), ("full mammogram images", False), ("texture", False), ("", False),
    ],
)  # fmt: skip
def test_names_of_screen_shots_and_cards(text, capture):
    assert names_capture(text) is capture


def test_random_hashes_name_no_view():
    digits = random.Random(1)
    for length, most in ((8, 2), (16, 0), (32, 0), (40, 0)):  # 8 digits: a number and CC, as in 20586908CC
        names = ["".join(digits.choices("0123456789abcdef", k=length)) for _ in range(2000)]
        assert sum(any(read_words(name)[1]) for name in names) > most  # as the name stands
        assert sum(any(read_words(without_hashes(name))[1]) for name in names) <= most
