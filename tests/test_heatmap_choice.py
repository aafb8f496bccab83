"""The choice of the heatmap and its Th against curves and lengths made by hand, and the check of the lengths."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bac_utils import heatmap_choice
from bac_utils.detector import OperatingPoint
from bac_utils.heatmap_choice import (
    THRESHOLDS,
    LengthCheck,
    check_lengths,
    choose_heatmap,
    length_errors,
    length_warning,
    nearly_least,
    read_check,
    rho_by_threshold,
    too_few_lengths,
    within_one_error,
)
from bac_utils.heatmaps import LOCAL_LOGITS, PER_IMAGE
from bac_utils.settings import DEFAULT_HEATMAP_THRESHOLD, PAPER_HEATMAP_THRESHOLD

SPACING = {"spacing_row_mm": 0.5, "spacing_column_mm": 0.5}
CHECK = LengthCheck(38, 10, 12.5, -0.2, 7, 85.0)


def test_rho_by_hand():
    """Areas grow with lengths; the per-image maximum counts in views classified as BAC+ only, here views 4 to 6."""
    pixels = np.ones((6, 8, 8))
    maps = [np.where(np.arange(8)[:, None] <= row, 0.75, 0.05) * np.ones((8, 8), np.float32) for row in range(6)]
    heats = {row: {LOCAL_LOGITS: map_, PER_IMAGE: map_} for row, map_ in enumerate(maps)}
    calls = {row: row >= 3 for row in range(6)}
    table = pd.DataFrame({"bac_length_mm": [3.0, 5, 6, 9, 12, 13]}).assign(**SPACING)
    curve = rho_by_threshold(heats, calls, pixels, table)
    assert list(curve.index) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert curve.loc[0.5, LOCAL_LOGITS] == pytest.approx(1)
    # areas 0, 0, 0, 4, 5, 6: ranks 2, 2, 2, 4, 5, 6 against 1 to 6
    assert curve.loc[0.5, PER_IMAGE] == pytest.approx(np.corrcoef([2, 2, 2, 4, 5, 6], range(6))[0, 1])
    assert curve.loc[0.9, LOCAL_LOGITS] == -1  # no area above 0.9: undefined
    # without a spacing in some views, all areas are in pixels, and the ranks stay
    table.loc[[0, 3], list(SPACING)] = np.nan
    assert rho_by_threshold(heats, calls, pixels, table).equals(curve)


def test_one_standard_error_by_hand():
    """With rho = 0.8 and 28 views, tanh(atanh(0.8) - sqrt(1.32 / 25)) = 0.7008."""
    curve = pd.Series([-1.0, 0.7007, 0.7009, 0.8, 0.75], index=[0.1, 0.3, 0.5, 0.7, 0.9])
    assert within_one_error(curve, 28) == [0.5, 0.7, 0.9]
    assert within_one_error(curve, 10**9) == [0.7]


@pytest.mark.parametrize("rho", [1.0, -1.0])
def test_one_standard_error_at_the_ends_of_the_scale(rho):
    assert within_one_error(pd.Series([rho, rho], index=[0.1, 0.5]), 10) == [0.1, 0.5]


def test_views_with_and_without_bac_weigh_the_same():
    reference = pd.Series([10.0, 20, 0, 0, 0, 0])
    measured = pd.DataFrame({0.5: [12.0, 0, 0, 0, 0, 40], 0.9: [10.0, 20, 0, 0, 0, 0]})
    assert length_errors(measured, reference).tolist() == [(11 + 10) / 2, 0]
    assert length_errors(measured[:2], reference[:2]).tolist() == [11, 0]  # no view without BAC


def test_errors_within_one_standard_error_of_the_smallest():
    """Smallest: errors 1 and 3 mm with BAC (2 +- 1), 0 and 2 without (1 +- 1), together 1.5 +- sqrt(2) / 2 mm."""
    reference = pd.Series([10.0, 20.0, 0.0, 0.0])
    best = np.array([9.0, 23.0, 0.0, 2.0])
    more = pd.DataFrame({0.3: best + [0, 1.4, 0, 1.4], 0.5: best, 0.7: best + [0, 1.5, 0, 1.5]})
    assert length_errors(more, reference).tolist() == pytest.approx([2.2, 1.5, 2.25])
    assert nearly_least(more, reference) == [0.3, 0.5]
    assert nearly_least(more[1:3], reference[1:3]) == [0.5]  # one view of each


# 12 views with BAC of 6 women, one view of theirs without BAC, and two views of a woman without BAC. The rank of the
# area above each Th is almost that of the length (10 mm times the row) at Th 0.1 to 0.3, less so up to 0.6, and poor
# above.
SWAPPED = {
    0.35: [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    0.65: [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10],
    0.85: [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5],
}
MEASURED = {0.35: 1.2, 0.65: 0.9, 0.85: 1.0}
"""Measured over reference length up to each Th."""
FALSE_MM = {0.35: 477.0, 0.65: 30.0, 0.85: 0.0}
"""Length measured in a view without BAC that is classified as BAC+."""


def level(th):
    return next((top for top in SWAPPED if th <= top), None)


class Explain:
    """A view's pixels are its row + 1; its heatmap exceeds each Th in a number of rows."""

    forms = ("local-logits", "grad-cam++")

    def __init__(self, scores):
        self.scores, self.rows = scores, []

    def __call__(self, views):
        row = int(views.max()) - 1
        self.rows.append(row)
        heat = np.zeros((48, 16), np.float32)
        for more, (top, ranks) in zip((24, 12, 0), SWAPPED.items(), strict=True):
            heat[: ranks[row] + 1 + more if row < 12 else 0] = top
        score = self.scores[row]
        return np.log([score / (1 - score)]), {"local-logits": heat[None], "grad-cam++": np.zeros((1, 48, 16))}


@dataclass(frozen=True)
class Point:
    """An operating point that measures a known length."""

    threshold: float = 0.5
    heatmap_threshold: float = 0.5
    heatmap: str | None = None

    def measure(self, score, heat, pixels, spacing_mm, lines):
        row, top = int(pixels.max()) - 1, level(self.heatmap_threshold)
        assert spacing_mm == (0.5, 0.5) and score >= self.threshold
        if self.heatmap != "local-logits" or top is None:
            return SimpleNamespace(length_mm=None)
        return SimpleNamespace(length_mm=MEASURED[top] * 10 * (row + 1) if row < 12 else FALSE_MM[top])


@pytest.fixture
def cohort():
    """Return the explainer, the pixels and the table; the last view but one is a false positive."""
    bac = [1] * 12 + [0] * 3
    women = [f"W{k // 2}" for k in range(12)] + ["W0", "W9", "W9"]
    scores = [0.9] * 12 + [0.2, 0.8, 0.1]
    table = pd.DataFrame({"patient_id": women, "bac": bac, "score": scores}).assign(**SPACING)
    table["bac_length_mm"] = [10.0 * (k + 1) for k in range(12)] + [0.0] * 3
    pixels = np.ones((15, 48, 16), np.float32) * np.arange(1, 16)[:, None, None]
    return Explain(scores), pixels, table


def test_a_th_that_invents_arteries_loses(cohort):
    """Th = 0.1 to 0.3 has the largest rho, but measures 477 mm in a view without BAC; 0.7 is exact, with a poor rho."""
    explain, pixels, table = cohort
    choice = choose_heatmap(explain, pixels, table, Point(), None, None, ("grad-cam++", 0.3))
    rho = choice.rho["local-logits"]
    # 13 views, one or two pairs of neighbours swapped: rho = 1 - 6 * sum(d^2) / (n (n^2 - 1))
    assert rho[0.2] == pytest.approx(1 - 6 * 2 / (13 * 168)) and rho[0.5] == pytest.approx(1 - 6 * 4 / (13 * 168))
    assert rho[0.7] < 0.7 and rho[0.9] == -1
    error = choice.error_mm
    assert error[0.2] == pytest.approx((0.2 * 65 + 477 / 3) / 2)  # mean of the lengths 10 to 120 mm: 65 mm
    assert error[0.5] == pytest.approx((0.1 * 65 + 30 / 3) / 2)
    assert list(error.index) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert (choice.form, choice.threshold, choice.chosen_on, choice.too_few) == ("local-logits", 0.5, "validation", "")
    assert (type(choice.form), type(choice.threshold)) == (str, float)
    found = choice.checked
    assert (found.views, found.women, found.off_by_factor_two, found.bac_minus_mm) == (12, 6, 0, 30)
    assert found.median_absolute_error_mm == pytest.approx(6.5) and found.bias == pytest.approx(-0.1)
    assert 14 not in explain.rows  # a BAC- view of a BAC- woman is not measured
    shown = choice.by_threshold().round(2)
    assert shown.loc[0.5].tolist() == [0.99, 8.25] and shown.loc[0.9].isna().tolist() == [False, True]


class TwoForms(Explain):
    """The order of the areas of `grad-cam++` is closer to that of the lengths than the order of `local-logits`."""

    def __call__(self, views):
        logits, heats = super().__call__(views)
        heat = heats["local-logits"]
        return logits, {"local-logits": np.where(heat > 0.35, heat, 0), "grad-cam++": heat}


@pytest.mark.parametrize("default", ["local-logits", "grad-cam++"])
def test_the_default_form_is_preferred_within_one_standard_error(cohort, default):
    explain, pixels, table = cohort
    choice = choose_heatmap(TwoForms(explain.scores), pixels, table, Point(), None, None, (default, 0.5))
    assert choice.rho["grad-cam++"].max() > choice.rho["local-logits"].max()
    assert choice.form == default


def test_within_one_error_of_the_best_by_hand():
    rho = pd.Series({"a": 0.5, "b": 0.8, "c": 0.62, "d": 0.61})
    # atanh(0.8) - sqrt((1 + 0.8^2 / 2) / (12 - 3)) = 1.0986 - 0.3830 = 0.7156 = atanh(0.6142)
    assert within_one_error(rho, 12) == ["b", "c"]
    assert within_one_error(rho, 4) == ["a", "b", "c", "d"]  # atanh(-0.05)


@pytest.mark.parametrize(
    ("form", "threshold", "expected"),
    [
        ("local-logits", None, ("local-logits", 0.5, "validation")),
        (None, 0.25, ("local-logits", 0.25, "validation")),
        (None, 0.7, ("local-logits", 0.7, "validation")),
        ("grad-cam++", None, ("grad-cam++", 0.5, "validation")),  # nothing is found at any Th
        ("local-logits", 0.25, ("local-logits", 0.25, "given")),
    ],
)
def test_requested_values_are_kept_and_the_others_chosen(cohort, form, threshold, expected):
    explain, pixels, table = cohort
    choice = choose_heatmap(explain, pixels, table, Point(), form, threshold, ("grad-cam++", 0.3))
    assert (choice.form, choice.threshold, choice.chosen_on) == expected
    assert choice.checked.views == 12
    if threshold is not None:
        assert threshold in choice.rho.index and choice.error_mm.index.tolist() == [threshold]


def test_an_artery_that_is_not_found_is_a_length_of_0(cohort):
    """Views 0 to 5 are classified as BAC-, so that their lengths are missed at every Th."""
    explain, pixels, table = cohort
    explain.scores[:6] = [0.1] * 6
    found = choose_heatmap(explain, pixels, table, Point(), "local-logits", 0.7, ("grad-cam++", 0.3))
    assert found.checked.off_by_factor_two == 6
    assert found.checked.bias == pytest.approx(-(10 + 20 + 30 + 40 + 50 + 60) / 780)
    assert found.error_mm[0.7] == pytest.approx((210 / 12) / 2)


@pytest.mark.parametrize(
    ("form", "threshold", "default", "expected"),
    [
        (None, None, ("local-logits", 0.96), ("local-logits", 0.96, "default")),  # the detector's own
        (None, None, ("grad-cam++", 0.3), ("grad-cam++", 0.3, "default")),
        ("local-logits", None, ("grad-cam++", 0.3), ("local-logits", DEFAULT_HEATMAP_THRESHOLD, "default")),
        ("grad-cam++", None, ("local-logits", 0.96), ("grad-cam++", PAPER_HEATMAP_THRESHOLD, "default")),
        (None, 0.4, ("local-logits", 0.96), ("local-logits", 0.4, "default")),
        ("local-logits", 0.4, ("grad-cam++", 0.3), ("local-logits", 0.4, "given")),
    ],
)
def test_three_lengths_are_too_few(cohort, form, threshold, default, expected):
    explain, pixels, table = cohort
    table.loc[3:11, "bac_length_mm"] = np.nan
    choice = choose_heatmap(explain, pixels, table, Point(), form, threshold, default)
    assert (choice.form, choice.threshold, choice.chosen_on) == expected
    assert choice.too_few == (
        "validation views with BAC, a known length and a pixel spacing: 3, women: 2; "
        "at least 10 views of 5 women are needed"
    )
    assert choice.rho is choice.error_mm is choice.checked is None and not explain.rows


def test_what_counts_as_a_length(cohort):
    table = cohort[2]
    assert too_few_lengths(table[:10]) == ""
    assert "10, women: 4;" in too_few_lengths(table[:10].assign(patient_id=list("AAABBBCCDD")))
    assert "9, women: 5;" in too_few_lengths(table[:9])
    assert "0, women: 0;" in too_few_lengths(table.drop(columns="bac_length_mm"))
    assert "0, women: 0;" in too_few_lengths(table.assign(bac_length_mm=0.0))
    assert "0, women: 0;" in too_few_lengths(table.assign(spacing_row_mm=np.nan))


def test_of_equal_values_the_first_form_and_the_middle_threshold_win(cohort):
    """No form finds anything: every rho is undefined, and every error the same."""
    explain, pixels, table = cohort
    explain.scores[:] = [0.1] * 15
    explain.forms = ("grad-cam++",)
    choice = choose_heatmap(explain, pixels, table, Point(), None, None, ("local-logits", 0.3))
    assert (choice.form, choice.threshold) == ("grad-cam++", 0.5)


def test_a_form_that_the_model_does_not_support_is_named(cohort):
    with pytest.raises(ValueError, match=r"heatmap: got 'layer-cam', must be one .* supports: local-logits, grad-cam"):
        choose_heatmap(*cohort, Point(), "layer-cam", None, ("local-logits", 0.3))


def test_lengths_are_those_of_the_operating_point(monkeypatch):
    """One view with an artery of 40 mm, one in which no artery can be traced, and one below the threshold."""
    monkeypatch.setattr(heatmap_choice, "MIN_LENGTHS", 3)
    monkeypatch.setattr(heatmap_choice, "MIN_WOMEN", 3)
    rng = np.random.default_rng(5)
    pixels = rng.normal(0, 0.3, (4, 192, 96)).astype(np.float32)
    pixels[[0, 2], 80:160, 47:50] += 8
    heat = np.zeros((24, 12), np.float32)
    heat[10:20, 5:7] = 0.9
    logits = [2.0, 2.0, -2.0, -2.0]
    scale = [1, 0.9, 0.8, 0]

    class Heatmaps:
        forms = ("local-logits",)

        def __call__(self, views):
            row = next(i for i in range(4) if (pixels[i] == views[0, ..., 0]).all())
            return np.array([logits[row]]), {"local-logits": scale[row] * heat[None]}

    scores = 1 / (1 + np.exp(-np.array(logits)))
    table = pd.DataFrame({"patient_id": list("ABCC"), "bac": [1, 1, 1, 0], "score": scores}).assign(**SPACING)
    table["bac_length_mm"] = [40.0, 30, 20, 0]
    point = OperatingPoint(0.5, 0.1, "grad-cam++")
    choice = choose_heatmap(Heatmaps(), pixels, table, point, "local-logits", 0.5, ("local-logits", 0.3))
    expected = OperatingPoint(0.5, 0.5, "local-logits").measure(scores[0], heat, pixels[0], (0.5, 0.5)).length_mm
    assert expected == pytest.approx(40, abs=4)
    error = (abs(expected - 40) + 30 + 20) / 3
    assert choice.error_mm[0.5] == pytest.approx(error / 2)
    assert choice.checked.off_by_factor_two == 2 and choice.checked.bac_minus_mm == 0
    done = choice.applied_to(point)
    assert (done.threshold, done.heatmap, done.heatmap_threshold) == (0.5, "local-logits", 0.5)
    assert (done.heatmap_chosen_on, done.lengths_checked) == ("given", choice.checked)
    kept = replace(done, heatmap_chosen_on="validation (saved in notebook 05)")
    assert choice.applied_to(point, kept).heatmap_chosen_on == "validation (saved in notebook 05)"
    assert choice.applied_to(point, replace(kept, heatmap_threshold=0.6)).heatmap_chosen_on == "given"


def test_check_by_hand():
    reference = pd.Series([10.0, 20, 40, 80, 0, 0])
    measured = pd.Series([20.0, 9, 0, 90, 0, 12])  # twice is not off by more than a factor of two; 9 and 0 are
    found = check_lengths(measured, reference, pd.Series(list("AABBCC")))
    assert (found.views, found.women, found.off_by_factor_two, found.bac_minus_mm) == (4, 2, 2, 12)
    assert found.median_absolute_error_mm == 10.5  # 10, 11, 40, 10
    assert found.bias == pytest.approx((119 - 150) / 150)
    assert check_lengths(measured[:4], reference[:4], pd.Series(list("AABB"))).bac_minus_mm == 0


def test_warnings():
    assert "lengths are unchecked at this operating point" in length_warning(None)
    assert length_warning(CHECK) == (
        "at this operating point, 7 of 38 validation lengths are off by more than a factor of two "
        "(largest length measured in a view without BAC: 85 mm)"
    )
    assert "0 of 38" in length_warning(replace(CHECK, off_by_factor_two=0))  # an artery in a view without BAC
    assert "0 mm" in length_warning(replace(CHECK, bac_minus_mm=0.0))
    assert length_warning(replace(CHECK, off_by_factor_two=0, bac_minus_mm=0.0)) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("views", 0), ("women", 39), ("off_by_factor_two", 39), ("off_by_factor_two", -1), ("women", True),
        ("bac_minus_mm", float("nan")), ("bias", None), ("median_absolute_error_mm", "12"),
    ],
)  # fmt: skip
def test_bad_checks_are_named(name, value):
    with pytest.raises(ValueError, match="lengths_checked.*: got "):
        read_check(CHECK.__dict__ | {name: value})


def test_a_check_is_complete_or_null():
    assert read_check(None) is None and read_check(CHECK.__dict__) == read_check(CHECK) == CHECK
    for values in ({"views": 3}, CHECK.__dict__ | {"other": 1}, "yes", [1]):
        with pytest.raises(ValueError, match="lengths_checked: got .*, must be null or have the fields views, women"):
            read_check(values)


def test_the_paper_th_can_be_chosen():
    assert PAPER_HEATMAP_THRESHOLD in THRESHOLDS and DEFAULT_HEATMAP_THRESHOLD in THRESHOLDS


def test_of_many_false_positives_some_are_measured(monkeypatch):
    monkeypatch.setattr(heatmap_choice, "MOST_WITHOUT_BAC", 2)
    measured = []
    monkeypatch.setattr(heatmap_choice, "find_lines", lambda view, spacing: measured.append(view[0]))
    table = pd.DataFrame({"bac_length_mm": [0.0] * 5 + [7.0], **SPACING}, index=list("abcdef"))
    heats = {row: {"form": 10.0 * k} for k, row in enumerate(table.index)}
    pixels, scores = {row: [k] for k, row in enumerate(table.index)}, pd.Series(1.0, table.index)
    point = SimpleNamespace(heatmap="form", heatmap_threshold=0.5, threshold=0.5)
    point.measure = lambda score, heat, *others: SimpleNamespace(length_mm=heat)
    found = heatmap_choice._measure_lengths(heats, scores, pixels, table, [point])
    assert measured == [0, 4, 5]  # the first and the last without BAC, and the one with BAC
    assert found[0.5].tolist() == [0, 20, 20, 20, 40, 50]  # (0 + 40) / 2 for those left out
