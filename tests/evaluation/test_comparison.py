"""Comparison of models against brute force, published examples, and invariances."""

import numpy as np
import pandas as pd
import pytest
from resamples import naive_resamples
from scipy import stats
from sklearn.metrics import roc_auc_score

from bac_utils.evaluation.comparison import (
    compare_auc,
    compare_calls,
    compare_models,
    delong_test,
    holm,
    structural_components,
)
from bac_utils.statistics import percentile_interval


def simulate(women=60, views=2, seed=0, digits=1):
    """Two correlated scores with ties, of which the first is better; labels are those of women."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(women), views)
    labels = (ids % 3 == 0).astype(int)
    shared = rng.normal(size=women)[ids] + labels
    first, second = (np.round(shared + spread * rng.normal(size=ids.size), digits) for spread in (0.6, 1.5))
    return labels, first, second, ids


def brute_force(labels, first, second):
    """DeLong's definitions, pair by pair."""
    components = []
    for scores in (first, second):
        x, y = scores[labels == 1], scores[labels == 0]
        wins = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
    auc = [positive.mean() for positive, _ in components]
    s10 = np.cov([c[0] for c in components])
    s01 = np.cov([c[1] for c in components])
    covariance = s10 / s10_size(labels, 1) + s01 / s10_size(labels, 0)
    contrast = np.array([1, -1])
    return auc, np.sqrt(contrast @ covariance @ contrast), components


def s10_size(labels, label):
    return (labels == label).sum()


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_delong_against_brute_force(digits):
    labels, first, second, _ = simulate(seed=digits, digits=digits)
    auc, se, components = brute_force(labels, first, second)
    found = delong_test(labels, first, second)
    assert (found["auc_first"], found["auc_second"]) == (pytest.approx(auc[0]), pytest.approx(auc[1]))
    assert found["auc_first"] == pytest.approx(roc_auc_score(labels, first))
    assert found["se"] == pytest.approx(se)
    z = (auc[0] - auc[1]) / se
    assert (found["z"], found["p"]) == (pytest.approx(z), pytest.approx(2 * stats.norm.sf(abs(z))))
    half = 1.959964 * se
    assert found["ci"] == pytest.approx([auc[0] - auc[1] - half, auc[0] - auc[1] + half], abs=1e-6)
    by_row = structural_components(labels, np.stack([first, second]))
    for model in range(2):
        for side in range(2):
            assert by_row[side][model] == pytest.approx(components[model][side])


def test_auc_and_its_standard_error_published_example():
    # Ratings 1 to 5 of 58 normal and 51 abnormal CT images (Hanley & McNeil, Radiology 143:29, 1982). Stata's roctab,
    # whose manual has this example, gives 0.8932, DeLong's standard error 0.0307 and the limits 0.83295 and 0.95339.
    normal, abnormal = (np.repeat(range(1, 6), n) for n in ((33, 6, 6, 11, 2), (3, 2, 2, 11, 33)))
    labels = np.repeat([0, 1], [58, 51])
    scores = np.concatenate([normal, abnormal]).astype(float)
    of_positives, of_negatives = structural_components(labels, scores[None])
    area = of_positives.mean()
    assert area == pytest.approx(0.8932, abs=5e-5)
    variance = of_positives.var(ddof=1) / 51 + of_negatives.var(ddof=1) / 58
    assert np.sqrt(variance) == pytest.approx(0.0307, abs=5e-5)
    assert area + 1.959964 * np.sqrt(variance) == pytest.approx(0.95339, abs=5e-6)


def test_delong_by_hand():
    # First: all pairs right. Second: 2 beats 1 and 3 but not 4 of the BAC- rows; 5 beats all: V10 = 1/3, 1.
    labels = [1, 1, 0, 0, 0]
    found = delong_test(labels, [8, 9, 1, 2, 3], [2, 5, 1, 3, 4])
    assert (found["auc_first"], found["auc_second"]) == (1, pytest.approx(4 / 6))
    # Differences: V10 = 2/3, 0 with variance 2/9; V01 = 0, 1/2, 1/2 with variance 1/12.
    assert found["se"] == pytest.approx(np.sqrt(2 / 9 / 2 + 1 / 12 / 3))


def test_delong_is_antisymmetric_and_does_not_depend_on_order_or_scale():
    labels, first, second, _ = simulate()
    a, b = delong_test(labels, first, second), delong_test(labels, second, first)
    assert (a["difference"], a["z"], a["p"]) == pytest.approx((-b["difference"], -b["z"], b["p"]))
    order = np.random.default_rng(1).permutation(len(labels))
    again = delong_test(labels[order], np.exp(first[order]), second[order])
    assert (again["se"], again["p"]) == pytest.approx((a["se"], a["p"]))


def test_delong_without_variance_or_classes():
    labels, first, _, _ = simulate()
    same = delong_test(labels, first, first)
    assert (same["difference"], same["se"], same["z"], same["p"], same["ci"]) == (0, 0, None, 1.0, [0, 0])
    assert delong_test([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])["p"] is None
    assert delong_test([0, 0], [1, 2], [2, 1])["auc_first"] is None
    one = delong_test([0, 1], [1, 2], [2, 1])
    assert (one["difference"], one["se"], one["p"]) == (1, None, None)


def test_bootstrap_against_copied_views():
    labels, first, second, women = simulate(30)
    found = compare_auc(labels, first, second, women, samples=60, seed=4)
    frame = pd.DataFrame({"patient_id": women, "bac": labels, "a": first, "b": second})
    drawn = np.array(
        [roc_auc_score(p["bac"], p["a"]) - roc_auc_score(p["bac"], p["b"]) for p in naive_resamples(frame, 60, 4)]
    )
    assert found["ci"] == pytest.approx(percentile_interval(drawn))
    below, above = (drawn <= 0).sum() + 1, (drawn >= 0).sum() + 1
    assert found["p"] == pytest.approx(min(1, 2 * min(below, above) / 61))


def test_bootstrap_agrees_with_delong_for_one_view_per_woman_and_not_for_copies():
    labels, first, second, women = simulate(150, 1, seed=2)
    found, theory = compare_auc(labels, first, second, women), delong_test(labels, first, second)
    assert np.ptp(found["ci"]) == pytest.approx(np.ptp(theory["ci"]), rel=0.1)
    assert found["difference"] == pytest.approx(theory["difference"])
    copies = [np.repeat(values, 4) for values in (labels, first, second, women)]
    assert compare_auc(*copies)["ci"] == pytest.approx(found["ci"])
    assert delong_test(*copies[:3])["se"] < 0.6 * theory["se"]  # what the views of one woman would feign


def test_equal_models_and_few_women():
    labels, first, second, women = simulate()
    same = compare_auc(labels, first, first, women, samples=50)
    assert (same["difference"], same["ci"], same["p"]) == (0, [0, 0], 1.0)
    few = compare_auc(labels[:20], first[:20], second[:20], women[:20], samples=50)  # 4 BAC+ women
    assert few["difference"] is not None and few["ci"] == [None, None] and few["p"] is None
    assert compare_auc([0, 0], [1, 2], [2, 1], ["a", "b"])["auc_first"] is None


def test_models_in_pairs_with_holm():
    labels, first, second, women = simulate()
    noise = np.random.default_rng(9).normal(size=labels.size)
    table = compare_models(labels, {"a": first, "b": second, "c": noise}, women, samples=100)
    assert table[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert (table["p_holm"] >= table["p"]).all()
    with pytest.raises(ValueError, match="models: got 1, must be two or more"):
        compare_models(labels, {"a": first}, women)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03: 3 * 0.01 = 0.03, 2 * 0.02 = 0.04, then max(0.04, 0.03).
    assert holm([0.03, None, 0.01, 0.02]) == [pytest.approx(0.04), None, pytest.approx(0.03), pytest.approx(0.04)]
    assert holm([None]) == [None]
    with pytest.raises(ValueError, match="p_values: got 1.5"):
        holm([1.5])


def calls(both, only_first, only_second, neither):
    """Views of one woman each with the label 1; a score of 1 is a right call."""
    pairs = [(1, 1)] * both + [(1, 0)] * only_first + [(0, 1)] * only_second + [(0, 0)] * neither
    views = pd.DataFrame(pairs, columns=["a", "b"], dtype=float)
    return views.assign(patient_id=[f"w{i}" for i in range(len(views))], bac=1)


@pytest.mark.parametrize("level", ["view", "woman"])
def test_mcnemar_published_example(level):
    # Approval of the president in two surveys (Agresti, Categorical Data Analysis, 1990, p. 350), the example of R's
    # mcnemar.test, which gives chi2 = 16.818 and p = 4.115e-05 with continuity correction.
    table = compare_calls(calls(794, 150, 86, 570), "a", "b", (0.5, 0.5), level).set_index("part")
    row = table.loc["sensitivity"]
    assert row["chi2"] == pytest.approx(16.818, abs=5e-4)
    assert row["p_chi2"] == pytest.approx(4.115e-5, rel=2e-4)
    assert (row["n"], row["only_first"], row["only_second"]) == (1600, 150, 86)
    assert (row["first"], row["second"]) == (pytest.approx(944 / 1600), pytest.approx(880 / 1600))


def test_mcnemar_exact_by_hand():
    # 1 and 5 discordant pairs: p = 2 (C(6,0) + C(6,1)) / 2^6 = 14 / 64.
    table = compare_calls(calls(3, 1, 5, 2), "a", "b", (0.5, 0.5), "view").set_index("part")
    assert table.loc["sensitivity", "p_exact"] == pytest.approx(14 / 64)
    assert table.loc["accuracy", "p_exact"] == pytest.approx(14 / 64)
    assert table.loc["specificity", "n"] == 0 and np.isnan(table.loc["specificity", "first"])
    agreed = compare_calls(calls(3, 0, 0, 2), "a", "b", (0.5, 0.5)).set_index("part").loc["sensitivity"]
    assert (agreed["p_exact"], agreed["chi2"], agreed["p_chi2"]) == (1, 0, 1)


def test_calls_by_woman_use_her_highest_score():
    views = pd.DataFrame({
        "patient_id": ["x", "x", "y", "y"], "bac": [0, 1, 0, 0], "split": "test",
        "a": [0.9, 0.1, 0.2, 0.3], "b": [0.1, 0.2, 0.8, 0.1],
    })  # fmt: skip
    table = compare_calls(views, "a", "b", (0.5, 0.5)).set_index("part")
    assert table["n"].to_dict() == {"sensitivity": 1, "specificity": 1, "accuracy": 2}
    assert table["first"].tolist() == [1, 1, 1] and table["second"].tolist() == [0, 0, 0]
    by_view = compare_calls(views, "a", "b", (0.5, 0.5), "view").set_index("part")
    assert by_view["n"].to_dict() == {"sensitivity": 1, "specificity": 3, "accuracy": 4}


def test_a_woman_without_an_exam_counts():
    views = calls(3, 1, 5, 2).assign(exam=[np.nan] * 5 + ["2"] * 6)
    assert compare_calls(views, "a", "b", (0.5, 0.5)).set_index("part").loc["accuracy", "n"] == 11


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="second: got nan at position 1, must be finite"):
        delong_test([0, 1], [1, 2], [1, np.nan])
    with pytest.raises(ValueError, match="first: got 1 values, must be 2"):
        compare_auc([0, 1], [1], [1, 2], ["a", "b"])
    views = calls(1, 1, 1, 1)
    with pytest.raises(ValueError, match="level: got 'breast', must be view or woman"):
        compare_calls(views, "a", "b", (0.5, 0.5), "breast")
    with pytest.raises(ValueError, match="views: got columns .* must also have c"):
        compare_calls(views, "a", "c", (0.5, 0.5))
    with pytest.raises(ValueError, match="patient_id: got a missing value at position 0"):
        compare_calls(views.assign(patient_id=None), "a", "b", (0.5, 0.5))
    with pytest.raises(ValueError, match="bac: got nan at position 0, must be 0 or 1"):
        compare_calls(views.assign(bac=np.nan), "a", "b", (0.5, 0.5))
