"""Subgroups against the detection metrics of their views, and the rule for too few women."""

import numpy as np
import pandas as pd
import pytest

from bac_utils.detection import detection_intervals, detection_metrics
from bac_utils.evaluation.subgroups import METRICS, class_of, subgroup_metrics, subgroup_table


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(60), 4)
    bac = (women % 4 == 0).astype(int)
    return pd.DataFrame({
        "patient_id": women, "bac": bac, "score": np.clip(rng.normal(0.3 + 0.35 * bac, 0.2), 0, 1),
        "view": np.tile(["CC", "CC", "MLO", "MLO"], 60), "laterality": np.tile(["L", "R"], 120),
        "vendor": np.where(women < 44, "A", np.where(women < 56, "B", "")),
        "spacing": np.where(women < 30, 0.07, 0.1),
    })  # fmt: skip


def test_each_subgroup_is_that_of_detection(views):
    found = subgroup_metrics(views, ["view", "vendor"], 0.5, samples=60).set_index(["column", "value"])
    assert found.index.tolist() == [
        ("", "all views"), ("view", "CC"), ("view", "MLO"), ("vendor", "A"), ("vendor", "B"), ("vendor", "unknown"),
    ]  # fmt: skip
    part = views[views["view"] == "CC"]
    metrics, limits = detection_metrics(part["bac"], part["score"], 0.5), detection_intervals(part, 0.5, 60, 2023)
    row = found.loc[("view", "CC")]
    for name in METRICS.keys() - {"prevalence"}:
        assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx([metrics[name], *limits[name]])
    assert (row["views"], row["women"], row["bac_views"], row["bac_women"]) == (120, 60, 30, 15)
    assert row["prevalence_low"] < row["prevalence"] == 0.25 < row["prevalence_high"]


def test_too_few_instead_of_a_number(views):
    found = subgroup_metrics(views, ["vendor"], 0.5, samples=30)
    few = found.set_index("value").loc["B"]  # 3 BAC+ and 9 BAC- women
    assert np.isnan(few[["recall", "recall_low", "auc_roc", "precision", "npv"]].astype(float)).all()
    assert 0 < few["specificity"] < 1 and few["specificity_low"] < few["specificity"]
    assert few["prevalence"] == 0.25
    text = subgroup_table(found).set_index("value")
    assert text.loc["B", ["AUC-ROC", "sensitivity", "PPV", "NPV"]].tolist() == ["too few"] * 4
    assert text.loc["B", "specificity"].startswith(f"{few['specificity']:.2f} [")
    assert text.loc["unknown", "specificity"] == text.loc["unknown", "prevalence"] == "too few"  # 4 women


def test_many_women_but_too_few_without_bac(views):
    part = views[(views["bac"] == 1) | (views["patient_id"] < 6)]  # 15 BAC+ and 4 BAC- women
    row = subgroup_metrics(part, [], 0.5, samples=30).iloc[0]
    assert (row["women"], row["bac_women"]) == (19, 15)
    assert np.isnan(row["specificity"]) and np.isnan(row["npv"]) and row["recall_low"] > 0


def test_nothing_called_has_no_ppv(views):
    text = subgroup_table(subgroup_metrics(views, ["view"], 1.1, samples=30))
    assert text["PPV"].tolist() == ["-"] * 3
    assert text["sensitivity"].str.startswith("0.00 [0.00, ").all()


def test_one_class_and_one_view(views):
    negatives = subgroup_metrics(views[views["bac"] == 0], ["view"], 0.5, samples=30)
    assert negatives["auc_roc"].isna().all() and negatives["specificity"].notna().all()
    one = subgroup_metrics(views[:1], ["view"], 0.5, samples=30)
    assert one[list(METRICS)].isna().all(axis=None) and one["views"].tolist() == [1, 1]


def test_order_and_duplicated_views_do_not_matter(views):
    first = subgroup_metrics(views, ["laterality"], 0.5, samples=30)
    twice = subgroup_metrics(pd.concat([views, views]), ["laterality"], 0.5, samples=30)
    pd.testing.assert_frame_equal(first[list(METRICS)], twice[list(METRICS)])
    shuffled = subgroup_metrics(views.sample(frac=1, random_state=0), ["laterality"], 0.5, samples=30)
    pd.testing.assert_frame_equal(first[list(METRICS)], shuffled[list(METRICS)])


def test_classes_of_numbers(views):
    classes = class_of([0.05, 0.07, 0.071, 0.1, 0.2, np.nan], (0.07, 0.1), "mm")
    names = ["≤ 0.07 mm", "> 0.07 to 0.1 mm", "> 0.1 mm"]
    assert classes.tolist()[:5] == [names[0], names[0], names[1], names[1], names[2]] and pd.isna(classes[5])
    table = views.assign(size=class_of(views["spacing"], (0.07, 0.1, 0.2), "mm"))
    assert subgroup_metrics(table, ["size"], 0.5, samples=30)["value"].tolist() == ["all views", *names[:2]]
    with pytest.raises(ValueError, match=r"limits: got \[2.0, 1.0\], must be one or more finite numbers in increasing"):
        class_of([1], (2, 1))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bac", np.nan, "bac: got nan at position 0, must be 0 or 1"),
        ("score", np.nan, "score: got nan at position 0, must be finite"),
        ("patient_id", None, "patient_id: got a missing value at position 0"),
    ],
)
def test_bad_input_is_named(views, column, value, message):
    bad = views.astype({column: object if column == "patient_id" else float})
    bad.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        subgroup_metrics(bad, ["view"], 0.5)
    with pytest.raises(ValueError, match="views: got columns .* must also have machine"):
        subgroup_metrics(views, ["machine"], 0.5)
    with pytest.raises(TypeError, match="views: got list, must be a pandas.DataFrame"):
        subgroup_metrics([], ["view"], 0.5)
