"""Measures of burden against cases computed by hand."""

import numpy as np
import pandas as pd
import pytest

from bac_utils.burden import (
    ReaderScore,
    aggregate_views,
    csbi_grade,
    guo_metrics,
    mask_area,
    relative_length,
    severity_class,
)


def test_the_papers_area_uses_both_spacings():
    mask = np.zeros((6, 5), bool)
    mask[1:4, 2:4] = True  # 6 pixels
    assert mask_area(mask, (0.2, 0.5)) == pytest.approx(0.6)
    assert mask_area(~mask, (0.2, 0.5)) == pytest.approx(2.4)


def test_guos_five_metrics():
    # Bands 10 columns wide, which a 5 x 5 median does not change: background 0, fat 50, calcium 100 and 200.
    image = np.repeat(np.array([0, 50, 100, 200], np.uint8), 10)[None].repeat(10, axis=0)
    probability = np.zeros((10, 40))
    probability[2, 12:14] = 0.66  # 2 pixels of grey 50
    probability[2, 22:25] = 0.9  # 3 pixels of 100
    probability[2, 32:36] = 1.5  # 4 pixels of 200; their network's output may exceed 1
    probability[5, 32:36] = 0.65  # 4 pixels at the threshold, which do not count
    found = guo_metrics(probability, image, (0.5, 0.2))  # a pixel is 0.1 mm2
    assert found == {
        "probability_sum_mm2": pytest.approx(0.1 * (2 * 0.66 + 3 * 0.9 + 4 * 1.5 + 4 * 0.65)),
        "mask_area_mm2": pytest.approx(0.1 * 9),
        "intensity_sum_mm2": pytest.approx(0.1 * (2 * 50 + 3 * 100 + 4 * 200)),
        "bright_intensity_sum_mm2": pytest.approx(0.1 * (3 * 100 + 4 * 200)),  # I >= 100, not >
        "bright_mask_area_mm2": pytest.approx(0.1 * 7),
        "breast_area_mm2": pytest.approx(0.1 * 300),
    }


def test_guos_image_is_smoothed_by_a_median_first():
    image = np.full((9, 9), 50, np.uint8)
    image[4, 4] = 255  # a single bright pixel is gone
    probability = np.zeros((9, 9))
    probability[4, 4] = 1
    found = guo_metrics(probability, image, (1, 1))
    assert found["intensity_sum_mm2"] == 50
    assert found["bright_mask_area_mm2"] == 0


def test_guos_metrics_refuse_bad_arguments():
    image, probability = np.zeros((9, 9), np.uint8), np.zeros((9, 9))
    with pytest.raises(TypeError, match="image: got dtype float64, must be uint8"):
        guo_metrics(probability, probability, (1, 1))
    with pytest.raises(ValueError, match=r"probability: got shape \(3, 9\), must be \(H, W\) like the image, \(9, 9\)"):
        guo_metrics(probability[:3], image, (1, 1))
    with pytest.raises(ValueError, match="probability: got -1.0 to -1.0, must be finite and 0 or more"):
        guo_metrics(probability - 1, image, (1, 1))
    with pytest.raises(ValueError, match=r"spacing_mm: got \(1, 0\)"):
        guo_metrics(probability, image, (1, 0))


@pytest.mark.parametrize(
    ("punctate", "coarse_vessels", "grade"),
    [(False, 0, 0), (True, 0, 1), (False, 1, 2), (True, 2, 2), (False, 3, 3), (True, 7, 3)],
)
def test_canadian_grades(punctate, coarse_vessels, grade):
    assert csbi_grade(punctate, coarse_vessels) == grade


def test_canadian_grades_count_whole_vessels():
    for wrong in (-1, 1.5, np.nan, True, "2"):
        with pytest.raises(ValueError, match="coarse_vessels: got .*, must be a whole number, 0 or more"):
            csbi_grade(False, wrong)


def test_length_relative_to_the_breast():
    assert relative_length(41, 16400) == pytest.approx(0.25)  # 41 mm in 164 cm2
    assert relative_length(0, 100) == 0
    with pytest.raises(ValueError, match="breast_area_mm2: got 0, must be a positive number"):
        relative_length(41, 0)
    with pytest.raises(ValueError, match="length_mm: got nan"):
        relative_length(np.nan, 100)


@pytest.mark.parametrize(
    ("area", "name"),
    [(0, "zero"), (1e-9, "mild"), (10, "mild"), (10.001, "moderate"), (25, "moderate"), (25.1, "severe")],
)
def test_severity_classes(area, name):
    assert severity_class(area) == name


def test_severity_needs_an_area():
    for wrong in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="area_mm2: got .*, must be a number, 0 or more"):
            severity_class(wrong)


def test_a_readers_entry_is_kept_as_entered():
    entry = ReaderScore("W1", "twelve_point", 12.0, "Dr A", "L", "2026-02-03")
    assert (entry.points, type(entry.points)) == (12, int)
    assert ReaderScore("W1", "bac_ss", 99, "Dr A").laterality == ""  # its range was not found
    assert ReaderScore("W1", "csbi", np.int64(3), "Dr A").points == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 13}, "points: got 13, must be a whole number, 0 to 12"),
        ({"points": 2.5}, "points: got 2.5, must be a whole number, 0 to 12"),
        ({"points": 4, "scale": "csbi"}, "points: got 4, must be a whole number, 0 to 3"),
        ({"points": -1, "scale": "bac_ss"}, "points: got -1, must be a whole number, 0 or more"),
        ({"scale": "agatston"}, "scale: got 'agatston', must be one of csbi, twelve_point, bac_ss"),
        ({"reader": " "}, "reader: got ' ', must be text"),
        ({"patient_id": ""}, "patient_id: got '', must be text"),
        ({"laterality": "R+L"}, r"laterality: got 'R\+L', must be L, R or empty"),
        ({"read_on": "3.2.26"}, "read_on: got '3.2.26', must be a date, YYYY-MM-DD"),
    ],
)
def test_a_readers_entry_is_checked(change, message):
    fields = {"patient_id": "W1", "scale": "twelve_point", "points": 5, "reader": "Dr A"}
    with pytest.raises(ValueError, match=message):
        ReaderScore(**fields | change)


VIEWS = pd.DataFrame(
    [
        ("W2", "L", "CC", 4.0, 10.0),
        ("W2", "L", "MLO", 6.0, 12.0),
        ("W2", "R", "CC", 0.0, 0.0),
        ("W2", "R", "MLO", 1.5, np.nan),
        ("W1", "L", "CC", 2.0, 5.0),
    ],
    columns=["patient_id", "laterality", "view", "area_mm2", "length_mm"],
)


def test_views_are_aggregated_by_breast_and_by_woman():
    woman = aggregate_views(VIEWS, ["area_mm2", "length_mm"], "woman")
    expected = pd.DataFrame(
        {
            "patient_id": ["W1", "W2"],
            "views": [1, 4],
            "area_mm2_sum": [2.0, 11.5],
            "area_mm2_max": [2.0, 6.0],
            "length_mm_sum": [5.0, np.nan],  # missing, since one view was not measured
            "length_mm_max": [5.0, np.nan],
        }
    )
    pd.testing.assert_frame_equal(woman, expected)
    breast = aggregate_views(VIEWS, ["area_mm2"], "breast")
    assert breast.to_numpy().tolist() == [["W1", "L", 1, 2.0, 2.0], ["W2", "L", 2, 10.0, 6.0], ["W2", "R", 2, 1.5, 1.5]]
    assert aggregate_views(VIEWS.dropna(), ["length_mm"], "woman")["length_mm_sum"].tolist() == [5.0, 22.0]


def test_two_exams_of_a_woman_are_not_added_up():
    """March: L CC; September: L CC and R CC. The same view in both is no error, and no sum has both."""
    rows = [("W", "2", "L", "CC", 30.0), ("W", "1", "L", "CC", 8.0), ("W", "2", "R", "CC", 2.0)]
    views = pd.DataFrame(rows, columns=["patient_id", "exam", "laterality", "view", "area_mm2"])
    woman = aggregate_views(views, ["area_mm2"], "woman")
    assert woman.columns.tolist() == ["patient_id", "exam", "views", "area_mm2_sum", "area_mm2_max"]
    assert woman.to_numpy().tolist() == [["W", "1", 1, 8, 8], ["W", "2", 2, 32, 30]]
    breast = aggregate_views(views, ["area_mm2"], "breast")
    assert breast.to_numpy().tolist() == [
        ["W", "1", "L", 1, 8, 8],
        ["W", "2", "L", 1, 30, 30],
        ["W", "2", "R", 1, 2, 2],
    ]
    with pytest.raises(ValueError, match="got W 1 L CC twice"):
        aggregate_views(views.assign(exam="1"), ["area_mm2"], "woman")


def test_aggregation_refuses_bad_tables():
    with pytest.raises(ValueError, match="level: got 'view', must be one of breast, woman"):
        aggregate_views(VIEWS, ["area_mm2"], "view")
    with pytest.raises(ValueError, match="views, column 'mass': missing, must be one of the columns"):
        aggregate_views(VIEWS, ["mass"], "woman")
    with pytest.raises(ValueError, match="views: got W2 L CC twice, must have each view once"):
        aggregate_views(pd.concat([VIEWS, VIEWS[:1]]), ["area_mm2"], "woman")
    with pytest.raises(ValueError, match="views, column 'area_mm2': got -4, must be 0 or more"):
        aggregate_views(VIEWS.assign(area_mm2=-VIEWS["area_mm2"] + 2), ["area_mm2"], "woman")
    with pytest.raises(ValueError, match="views, column 'view': got no numbers"):
        aggregate_views(VIEWS, ["view"], "woman")


def test_views_without_laterality_or_view_count_separately():
    views = VIEWS[:2].assign(view="")
    assert aggregate_views(views, ["area_mm2"], "breast").to_numpy().tolist() == [["W2", "L", 2, 10.0, 6.0]]
