"""Numbers of women by hand, against published values, and in the interval that they are planned for."""

import math
from pathlib import Path

import numpy as np
import pytest

from bac_utils.evaluation.sample_size import (
    design_effect,
    hanley_mcneil_se,
    sample_size_table,
    women_for_auc,
    women_for_share,
)
from bac_utils.statistics import share_interval


def test_shares_by_hand():
    # 1.96^2 * 0.9 * 0.1 / 0.05^2 = 138.3
    assert women_for_share(0.9, 0.05) == 139
    # 4 views with a correlation of 0.5 have a design effect of 2.5: 138.3 * 2.5 / 4 = 86.4
    assert women_for_share(0.9, 0.05, 4, 0.5) == 87
    assert women_for_share(0.9, 0.05, 4, 1.0) == 139
    assert women_for_share(0.9, 0.05, 4, 0.0) == math.ceil(138.3 / 4)


def test_design_effect():
    assert [design_effect(4, rho) for rho in (0, 0.5, 1)] == [1, 2.5, 4]
    assert design_effect(1, 0.7) == 1


def test_the_planned_interval_has_the_wanted_width():
    n = women_for_share(0.85, 0.05)
    assert np.ptp(share_interval(0.85, n)) / 2 == pytest.approx(0.05, rel=0.03)


def test_standard_error_published_example():
    # Ratings of 51 abnormal and 58 normal CT images in Hanley & McNeil 1982: area 0.893, standard error 0.032 from the
    # ratings themselves, which the approximation by the area alone should come close to.
    assert hanley_mcneil_se(0.893, 51, 58) == pytest.approx(0.032, abs=1e-3)


def test_standard_error_by_hand():
    # A = 0.8: Q1 = 0.8 / 1.2, Q2 = 1.28 / 1.8; (0.16 + 9 (Q1 - 0.64) + 19 (Q2 - 0.64)) / 200
    variance = (0.16 + 9 * (2 / 3 - 0.64) + 19 * (1.28 / 1.8 - 0.64)) / 200
    assert hanley_mcneil_se(0.8, 10, 20) == pytest.approx(math.sqrt(variance))
    assert hanley_mcneil_se(0.9, 20, 20) == pytest.approx(hanley_mcneil_se(0.9, 20, 20.0))
    assert hanley_mcneil_se(1.0, 5, 5) == 0


@pytest.mark.parametrize("auc", [0.55, 0.8, 0.95])
@pytest.mark.parametrize("prevalence", [0.1, 0.3, 0.5])
def test_auc_is_the_smallest_number(auc, prevalence):
    bac, others = women_for_auc(auc, 0.05, prevalence)
    assert 1.959964 * hanley_mcneil_se(auc, bac, others) <= 0.05
    fewer = bac - 1
    assert 1.959964 * hanley_mcneil_se(auc, fewer, fewer * (1 - prevalence) / prevalence) > 0.05
    assert others == pytest.approx(bac * (1 - prevalence) / prevalence, abs=(1 - prevalence) / prevalence)


def test_table():
    table = sample_size_table(0.25, (0.9,), (0.05,)).set_index("metric")
    assert table.loc["sensitivity", ["bac_women", "women"]].tolist() == [139, 4 * 139]
    assert table.loc["specificity", ["bac_women", "women"]].tolist() == [186 - 139, 186]  # 139 / 0.75 = 185.3
    assert table.loc["AUC-ROC", "women"] == sum(women_for_auc(0.9, 0.05, 0.25))
    assert len(sample_size_table(0.1)) == 3 * 4 * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: women_for_share(1.0, 0.05), "share: got 1, must be above 0 and below 1"),
        (lambda: women_for_share(float("nan"), 0.05), "share: got nan, must be above 0 and below 1"),
        (lambda: women_for_share(0.9, 0), "half_width: got 0, must be above 0 and below 1"),
        (lambda: women_for_share(0.9, 0.1, 0.5), "views_per_woman: got 0.5, must be 1 or more"),
        (lambda: women_for_share(0.9, 0.1, 2, 1.5), "correlation: got 1.5, must be from 0 to 1"),
        (lambda: women_for_auc(0.9, 0.1, 0), "prevalence: got 0, must be above 0 and below 1"),
        (lambda: hanley_mcneil_se(0.9, 0, 5), "positives: got 0, must be above 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_table_in_the_documentation():
    found = sample_size_table(0.12, (0.8, 0.9, 0.95), (0.05, 0.1))
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for value, rows in found.groupby("value"):
        cells = " | ".join(f"{row.women:,} ({row.bac_women})" for row in rows.itertuples())
        assert f"| {value:.2f} | {cells} |" in page
