"""The scores of an archive beside those of the calibration views."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from bac_utils.scoring.journal import COLUMNS
from bac_utils.scoring.spread import LEAST_VIEWS, _shares, compare_scores, describe_spread
from bac_utils.statistics import ScoreSpread

HALVES = ScoreSpread(tuple(np.linspace(0, 0.5, 101)), tuple(np.linspace(0.5, 1, 101)), (75, 25))
"""BAC- scores are spread evenly from 0 to 0.5, BAC+ scores from 0.5 to 1."""


def evenly(low, high, number):
    return low + (high - low) * (np.arange(number) + 0.5) / number


def test_shares_of_repeated_scores():
    """Half of the scores are 0, the others spread from 0 to 1; or half are 1; or all are 0.3."""
    below, up_to = _shares((*[0.0] * 50, *np.linspace(0, 1, 51)), np.array([0, 0.5, 1]))
    assert below == pytest.approx([0, 0.75, 1]) and up_to == pytest.approx([0.5, 0.75, 1])
    below, up_to = _shares((*np.linspace(0, 1, 51), *[1.0] * 50), np.array([0, 0.5, 1]))
    assert below == pytest.approx([0, 0.25, 0.5]) and up_to == pytest.approx([0, 0.25, 1])
    below, up_to = _shares((0.3,) * 101, np.array([0.2, 0.3, 0.4]))
    assert below == pytest.approx([0, 0, 1]) and up_to == pytest.approx([0, 1, 1])


def test_what_calibration_expects():
    """At 0.75: sensitivity 0.5, specificity 1. At 0.25: sensitivity 1, specificity 0.5."""
    scores = evenly(0, 1, 40)
    found = compare_scores(scores, 0.75, HALVES, 0.12)
    assert found.shares == pytest.approx((0.25, 0.12 * 0.5))
    assert compare_scores(scores, 0.25, HALVES, 0.12).shares == pytest.approx((0.75, 0.12 + 0.88 * 0.5))
    # median: 0.5 of all are 0.5/0.88 of the BAC-; 90th: 0.02/0.12 of the BAC+ are below, 99th: 0.11/0.12
    assert found.percentiles[1] == pytest.approx([0.25 / 0.88, 0.5 + 0.01 / 0.12, 0.5 + 0.055 / 0.12])
    assert found.percentiles[0] == pytest.approx(np.percentile(scores, (50, 90, 99)))
    assert compare_scores(scores, 0.75, HALVES).prevalence == 0.25  # that of the calibration views


@pytest.mark.parametrize("prevalence", [0.02, 0.12, 0.4])
def test_more_or_less_bac_is_no_difference(prevalence):
    positive = round(500 * prevalence)
    scores = np.concatenate([evenly(0, 0.5, 500 - positive), evenly(0.5, 1, positive)])
    found = compare_scores(scores, 0.5, HALVES, 0.12)
    assert found.distance == pytest.approx(0, abs=2e-3)  # 1 / 500
    assert found.limit == pytest.approx(0.2 + 1.36 / np.sqrt(500))


@pytest.mark.parametrize(
    ("scores", "distance", "higher"),
    [
        (evenly(0.5, 1, 400), 0.5, True),  # all look like BAC+, more than half
        (evenly(0.25, 0.5, 400), 1 / 3, True),  # with a share s of BAC+: (1 - s) / 2 at 0.25, s at 0.5
        (evenly(0, 0.1, 400), 0.8, False),  # BAC- scores up to 0.1
        (np.zeros(400), 1.0, False),
        (np.ones(400), 1.0, True),
        (np.full(400, 0.3), 0.5, False),  # 0.6 (1 - s) below 0.3, 1 - 0.6 (1 - s) at 0.3; mean with 12 %: 0.31
    ],
)
def test_distance_to_the_closest_mixture(scores, distance, higher):
    found = compare_scores(scores, 0.5, HALVES, 0.12)
    assert found.distance == pytest.approx(distance, abs=3e-3) and found.higher == higher
    assert found.distance > found.limit


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table with given scores and a model with a spread, and returns both paths."""

    def write(scores, **point):
        rows = pd.DataFrame({"file": "x", "status": "scored", "score": scores}).reindex(columns=COLUMNS)
        rows = pd.concat([rows, pd.DataFrame([{"file": "y", "status": "skipped", "reason": "no_breast"}])])
        rows.to_csv(tmp_path / "scores.csv", index=False)
        note = {"model_sha256": "", "operating_point": {"threshold": 0.75}}
        (tmp_path / "scores.csv.json").write_text(json.dumps(note))
        (tmp_path / "model.keras").write_bytes(b"a model")
        (tmp_path / "model.json").write_text(json.dumps({"threshold": 0.5, "heatmap_threshold": 0.3} | point))
        return tmp_path / "scores.csv", tmp_path / "model.keras"

    return write


def test_lines_for_the_user(write):
    point = {"score_spread": asdict(HALVES), "prevalence": 0.12}
    alike = np.concatenate([evenly(0, 0.5, 88), evenly(0.5, 1, 12)])
    assert describe_spread(*write(alike, **point)) == (
        [
            "scores of 100 views (in brackets: calibration, with 12% BAC+ views)",
            "at or above the threshold of 0.75: 6.0% (6.0%)",
            "percentiles: 50th 0.284 (0.284), 90th 0.567 (0.583), 99th 0.938 (0.958)",
        ],
        "",
    )
    lines, warning = describe_spread(*write(evenly(0.5, 1, 100), **point))
    assert lines[1] == "at or above the threshold of 0.75: 50.0% (6.0%)"
    assert warning.startswith(
        "scores are higher than in calibration (distance 0.50, limit 0.34): expect more false alarms; look at some"
    )
    _, warning = describe_spread(*write(evenly(0, 0.1, 100), **point))
    assert warning.startswith(
        "scores are lower than in calibration (distance 0.80, limit 0.34): arteries may be missed"
    )


def test_few_views_and_models_without_a_spread(write):
    assert describe_spread(*write(evenly(0, 1, LEAST_VIEWS))) == (
        ["scores are not compared with calibration: the model does not carry the spread of its scores"],
        "",
    )
    few = write(evenly(0, 1, LEAST_VIEWS - 1), score_spread=asdict(HALVES))
    assert describe_spread(*few) == ([], "")
