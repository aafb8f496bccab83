"""Inclusion, age classes and the split by woman, on small cohorts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from view_rows import four_views

from bac_utils.cohort import (
    UNKNOWN_AGE,
    age_class,
    age_class_labels,
    check_classes,
    check_cohort,
    cohort_summary,
    count_sets,
    include_women,
    population_age_limits,
    prevalence_by_class,
    split_counts,
    split_women,
    table_one,
    with_split,
    women_table,
)
from bac_utils.settings import PAPER, PUBLISHED
from bac_utils.statistics import mann_whitney
from bac_utils.views_table import SPLITS, check_views


def cohort(classes, negative):
    """One row per woman: `classes` BAC+ women in each of the paper's age classes."""
    ages = np.repeat([52, 65, 72, 80], classes)
    table = pd.DataFrame({"age": [*ages, *([57] * negative)]})
    table["bac"] = [1] * len(ages) + [0] * negative
    table.insert(0, "patient_id", [f"W{k:04d}" for k in range(len(table))])
    return table


# inclusion


def test_include_women_counts_the_others_by_reason():
    rows = four_views("kept", 45, (0, 1, 0, 0)) + four_views("young", 44.9) + four_views("three")[:3]
    rows += four_views("unknown", 60, (1, 1, 1, None)) + four_views("young and three", 30)[:3]
    kept, exclusions = include_women(check_views(pd.DataFrame(rows)), 45)
    assert kept["patient_id"].unique().tolist() == ["kept"]
    assert kept["bac"].dtype == "int64"
    assert exclusions.to_dict("list") == {
        "reason": ["younger than 45 years", "not all four views", "BAC label unknown"],
        "women": [2, 1, 1],
        "views": [7, 3, 4],
    }


def test_include_women_keeps_a_whole_cohort_and_refuses_an_empty_one():
    views = check_views(pd.DataFrame(four_views("1")))
    kept, exclusions = include_women(views, 45)
    assert len(kept) == 4
    assert exclusions["women"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"no woman to include \(1 younger than 60 years\)"):
        include_women(views, 60)


def test_who_is_included_without_an_age_or_with_fewer_views():
    rows = four_views("ageless", None) + four_views("three", 50)[:3] + four_views("young", 40)[:1]
    views = check_views(pd.DataFrame(rows))
    kept, exclusions = include_women(views, 45)
    assert kept["patient_id"].unique().tolist() == ["ageless"]
    assert exclusions["women"].tolist() == [1, 1, 0]
    kept, exclusions = include_women(views, 45, all_views=False)
    assert kept["patient_id"].unique().tolist() == ["ageless", "three"] and len(kept) == 7
    assert exclusions.to_dict("list") == {
        "reason": ["younger than 45 years", "not all four views (not applied)", "BAC label unknown"],
        "women": [1, 0, 0],
        "views": [1, 0, 0],
    }


def test_women_table():
    rows = four_views("b", 70, (0, 1, 1, 0)) + four_views("a", 50)
    women = women_table(check_views(pd.DataFrame(rows).assign(split="train")))
    assert women.to_dict("list") == {
        "patient_id": ["a", "b"],
        "age": [50.0, 70.0],
        "bac": [0, 1],
        "views": [4, 4],
        "bac_views": [0, 2],
        "split": ["train", "train"],
    }


def test_women_table_with_unknown_labels():
    rows = four_views("a", 50, (0, None, 0, 0)) + four_views("b", 50, (1, None, 0, 0))
    women = women_table(check_views(pd.DataFrame(rows)))
    assert np.isnan(women["bac"][0])  # the unknown view may be BAC+
    assert women["bac"][1] == 1


# age classes


def test_age_class_and_labels_of_the_paper():
    ages = [45, 60, 60.9, 61, 70, 71, 73, 74, 87]
    assert age_class(ages, (60, 70, 73)).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert age_class_labels(ages, (60, 70, 73)) == ["45-60", "61-70", "71-73", "74-87"]
    assert age_class_labels([62, 64], (60, 70, 71)) == ["60", "61-70", "71", "72"]
    with pytest.raises(ValueError, match=r"limits: got \[60.0, 60.0\], must be ages in increasing order"):
        age_class(ages, (60, 60))
    with pytest.raises(ValueError, match="age: got an infinite value"):
        age_class([np.inf], (60,))


def test_unknown_ages_are_a_class_of_their_own():
    ages = [50, np.nan, 75]
    assert age_class(ages, (60, 70, 73)).tolist() == [0, UNKNOWN_AGE, 3]
    assert age_class_labels(ages, (60, 70, 73)) == age_class_labels([50, 75], (60, 70, 73))
    assert population_age_limits([45, 50, np.nan, 52, 55]) == population_age_limits([45, 50, 52, 55])
    for function in (lambda: age_class_labels([np.nan], (60,)), lambda: population_age_limits([np.nan])):
        with pytest.raises(ValueError, match="ages: got no known age"):
            function()


def test_population_age_limits_are_quartiles():
    ages = [45, 50, 52, 55, 59, 60, 68, 70, 80]
    limits = population_age_limits(ages)
    assert limits == (52, 59, 68)
    assert np.bincount(age_class(ages, limits)).tolist() == [3, 2, 2, 2]
    with pytest.raises(ValueError, match=r"ages: got the quartiles \(50, 50, 50\)"):
        population_age_limits([50] * 9)


# split


@pytest.mark.parametrize("classes", [(3, 4, 5, 6), (1, 0, 2, 17), (8, 9, 20, 7), (9, 7, 10, 21), (1, 1, 90, 0)])
@pytest.mark.parametrize("seed", [0, 2023])
def test_split_women(classes, seed):
    women = cohort(classes, 301)
    split = split_women(women, PAPER, seed)
    assert split.index.tolist() == women["patient_id"].tolist()  # each woman once, so in one set only
    assert split.name == "split"
    women["split"] = split.to_numpy()
    positive = women[women["bac"] == 1]
    counts = pd.crosstab(age_class(positive["age"], PAPER.age_limits), positive["split"])
    for k, n in enumerate(classes):
        for name, share in zip(SPLITS, PAPER.split_fractions, strict=False):
            got = counts[name].get(k, 0)
            assert abs(got - share * n) < 1 - 1e-6  # rounded down or up, exact if it is a whole number
    for name, share in zip(SPLITS, PAPER.split_fractions, strict=False):
        assert abs((positive["split"] == name).sum() - share * len(positive)) < 1
    negative = women.loc[women["bac"] == 0, "split"].value_counts()
    assert abs(negative["validation"] - 0.15 * 301) < 1
    assert abs(negative["test"] - 0.15 * 301) < 1
    assert abs(negative["train"] + negative["unused"] - 0.70 * 301) < 1
    train = women[women["split"] == "train"]
    assert abs(train["bac"].mean() - 0.30) < 0.5 / len(train)  # as close as possible
    assert not positive["split"].eq("unused").any()


def test_split_keeps_the_prevalence_of_validation_and_test():
    women = cohort((50, 50, 50, 44), 1299)  # the paper's 194 of 1,493
    women["split"] = split_women(women, PAPER, 1).to_numpy()
    counts = women["split"].value_counts()
    prevalence = women.groupby("split")["bac"].mean()
    assert prevalence["validation"] == pytest.approx(0.13, abs=0.004)
    assert prevalence["test"] == pytest.approx(0.13, abs=0.004)
    assert prevalence["train"] == pytest.approx(0.30, abs=0.001)
    assert counts["train"] + counts["unused"] == pytest.approx(1042, abs=4)
    assert counts["validation"] == pytest.approx(PUBLISHED["splits"]["validation"]["women"], abs=4)


def test_split_is_reproducible_and_uses_its_parameters():
    women = cohort((10, 10, 10, 10), 300)
    first = split_women(women, PAPER, 5)
    pd.testing.assert_series_equal(split_women(women, PAPER, 5), first)
    shuffled = women.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(split_women(shuffled, PAPER, 5)[first.index], first)
    assert (split_women(women, PAPER, 6) != first).sum() > 50
    assert (first[:40] == "train").sum() == 28
    equal = split_women(women, replace(PAPER, train_prevalence=0.5), 5)
    assert (equal == "train").sum() == 56
    whole = split_women(women, replace(PAPER, train_prevalence=0.01), 5)
    assert not (whole == "unused").any()
    halves = split_women(women, replace(PAPER, split_fractions=(0.5, 0.25, 0.25)), 5)
    assert (halves == "test").sum() == 10 + 75


def test_split_gives_an_exact_share_exactly():
    settings = replace(PAPER, split_fractions=(0.5, 0.3, 0.2))
    women = cohort((1, 2, 5, 4), 60)  # the test set is 0.6 women short before the class of 5
    third = split_women(women, settings, 0)[women["patient_id"][3:8]]
    assert (third == "test").sum() == 1


@pytest.mark.parametrize("classes", [(6, 0, 0, 0), (2, 1, 2, 1), (0, 1, 2, 3), (3, 2, 1, 0)])
def test_six_women_of_each_class_can_be_split(classes):
    women = cohort(classes, 6)
    women["split"] = split_women(women, PAPER, 0).to_numpy()
    for name in SPLITS[:3]:
        assert set(women.loc[women["split"] == name, "bac"]) == {0, 1}


def test_split_refuses_what_it_cannot_split():
    rule = "the test set would get 0 and 7; each set of the 70/15/15 split must get at least one of each"
    with pytest.raises(ValueError, match=f"got 3 BAC. and 50 BAC- women, of whom {rule}"):
        split_women(cohort((1, 1, 1, 0), 50), PAPER, 0)
    for women in (cohort((0, 0, 0, 0), 9), cohort((3, 3, 3, 3), 0)):
        with pytest.raises(ValueError, match="column 'bac': got (0|12) BAC. women of .*, must have BAC. and BAC-"):
            split_women(women, PAPER, 0)
    women = cohort((5, 5, 5, 5), 50)
    with pytest.raises(ValueError, match="got a woman twice"):
        split_women(pd.concat([women, women]), PAPER, 0)
    with pytest.raises(ValueError, match="got an unknown label"):
        check_classes(women.assign(bac=np.nan))


def test_women_without_an_age_are_a_stratum():
    """Of 20 BAC+ women without an age, 70, 15 and 15 % are in the sets, whatever the others' ages are."""
    women = cohort((7, 3, 9, 1), 300)
    women = pd.concat([women, cohort((20, 0, 0, 0), 0).assign(age=np.nan, patient_id=[f"X{k}" for k in range(20)])])
    split = split_women(women, PAPER, 0)
    assert split[split.index.str.startswith("X")].value_counts().to_dict() == {"train": 14, "validation": 3, "test": 3}
    ageless = split_women(cohort((20, 0, 0, 0), 300).assign(age=np.nan), PAPER, 0)
    assert (ageless[:20] == "train").sum() == 14


def test_statistics_of_ages_leave_out_the_women_without_one():
    """Of the women with an age, 1 of 2 up to 60 years and 1 of 1 above 73 are BAC+."""
    women = pd.DataFrame({"age": [50, 55, np.nan, 80, np.nan], "bac": [1, 0, 1, 1, 0]})
    women = women.assign(patient_id=list("abcde"), views=4, bac_views=women["bac"])
    classes = prevalence_by_class(women, (60, 70, 73))
    assert classes["women"].tolist() == [2, 0, 0, 1] and classes["bac_women"].tolist() == [1, 0, 0, 1]
    found = cohort_summary(women, (60, 70, 73))
    assert (found["women"], found["bac_women"], found["women_without_age"]) == (5, 3, 2)
    assert (found["age_median"], found["age_median_bac"], found["age_median_no_bac"]) == (55, 65, 55)
    assert found["prevalence_by_age_class"] == [0.5, None, None, 1.0]
    known = women[women["age"].notna()]
    assert found["mann_whitney_p"] == mann_whitney([50, 80], [55])["p"]
    assert found["trend_p"] == cohort_summary(known, (60, 70, 73))["trend_p"]
    found = cohort_summary(women.assign(age=np.nan), (60, 70, 73))
    of_ages = [name for name in found if name not in ("women", "views", "bac_women", "bac_views", "women_without_age")]
    assert len(of_ages) == 10 and all(found[name] is None for name in of_ages)
    found = cohort_summary(women.assign(age=[50, np.nan, 60, 80, np.nan]), (60, 70, 73))  # no BAC- woman with an age
    assert (found["age_median_bac"], found["age_median_no_bac"], found["mann_whitney_p"]) == (60, None, None)


# the paper's Table 1


def test_table_one_is_the_paper_s():
    parts = []
    for name, counts in PUBLISHED["splits"].items():
        ids = np.repeat([f"{name}{k}" for k in range(counts["women"])], 4)
        bac = np.arange(counts["views"]) < counts["bac_views"]
        parts.append(pd.DataFrame({"patient_id": ids, "bac": bac.astype(int), "split": name}))
    parts.append(pd.DataFrame({"patient_id": ["out"] * 4, "bac": 0, "split": "unused"}))
    views = pd.concat(parts)
    assert split_counts(views) == PUBLISHED["splits"]
    assert table_one(views).to_dict("list") == {
        "Training set": ["398 (24.27)", "1242 (75.73)", "1640"],
        "Validation set": ["89 (10.02)", "799 (89.98)", "888"],
        "Test set": ["94 (10.26)", "822 (89.74)", "916"],
    }
    assert table_one(views[views["split"] == "train"])["Test set"].tolist() == ["0", "0", "0"]
    with pytest.raises(ValueError, match="column 'split': missing"):
        split_counts(views.drop(columns="split"))


def test_a_set_without_bac_is_refused():
    views = pd.DataFrame(
        [(f"w{i}", bac, name) for i, name in enumerate(SPLITS[:3]) for bac in (0, 1)] + [("w9", 0, "unused")],
        columns=["patient_id", "bac", "split"],
    )
    assert count_sets(views)["test"] == {"women": 1, "views": 2, "bac_views": 1}
    without = views[(views["split"] != "test") | (views["bac"] == 0)]
    with pytest.raises(ValueError, match="split: test has 0 BAC\\+ views of 1"):
        count_sets(without)
    assert count_sets(without, needed=["train", "validation"])["test"]["bac_views"] == 0
    with pytest.raises(ValueError, match="^split: got no women in train; notebook 02 needs them to train"):
        count_sets(views[views["split"] == "test"])
    assert count_sets(views[views["split"] == "test"], needed=["test"])["train"]["women"] == 0


def test_a_cohort_is_checked_before_work():
    """As in notebook 01: views set apart are ignored; one class, too few women and equal quartiles are refused."""
    rows = [row for k in range(48) for row in four_views(f"W{k:02d}", age=50 + k % 30, bac=(k % 2,) * 4)]
    views = check_views(pd.DataFrame(rows))
    check_cohort(views, PAPER)
    check_cohort(views, PAPER, population_limits=True)
    with pytest.raises(ValueError, match="got 0 BAC\\+ women of 24"):
        check_cohort(views[views["bac"] == 0], PAPER)
    apart = views.assign(split=np.where(views["bac"] == 1, "quantification", "train"))
    with pytest.raises(ValueError, match="got 0 BAC\\+ women of 24"):
        check_cohort(apart, PAPER)
    with pytest.raises(ValueError, match="the cohort or a share is too small"):
        check_cohort(views[views["patient_id"] < "W04"], PAPER)
    with pytest.raises(ValueError, match="must differ to give four classes"):
        check_cohort(views.assign(age=60.0), PAPER, population_limits=True)
    with pytest.raises(ValueError, match="split: got no women in validation; notebook 02 needs them to choose"):
        check_cohort(views.assign(split="train"), PAPER)
    check_cohort(views.assign(split="test"), PAPER, needed=["test"])
    check_cohort(views.assign(age=np.nan), PAPER)
    with pytest.raises(ValueError, match="ages: got no known age"):
        check_cohort(views.assign(age=np.nan), PAPER, population_limits=True)
    with pytest.raises(ValueError, match="no woman to include"):
        check_cohort(views[views["view"] == "MLO"], PAPER)
    check_cohort(views[views["view"] == "MLO"], replace(PAPER, all_views=False))


# several exams of one woman


def two_exams(woman="W", first=(0, 0, 0, 0), second=(0, 0, 1, 0), ages=(59, 61)):
    """Return the four views of a woman's exams of 2021 and 2023, the later one first."""
    exams = [("A-1", "2023-03-07", ages[1], second), ("B-2", "2021-03-02", ages[0], first)]
    rows = [
        row | {"exam": exam, "study_date": date, "image": f"{exam}{row['image']}"}
        for exam, date, age, bac in exams
        for row in four_views(woman, age, bac)
    ]
    return check_views(pd.DataFrame(rows))


def test_a_woman_is_described_by_one_of_her_exams():
    """BAC- at 59 and BAC+ at 61: the woman is BAC+ at 61, in one row."""
    (woman,) = women_table(two_exams()).to_dict("records")
    assert woman == {"patient_id": "W", "age": 61, "bac": 1, "views": 8, "bac_views": 1, "exam": "A-1"}
    (woman,) = women_table(two_exams(second=(0, 0, 0, 0))).to_dict("records")
    assert (woman["age"], woman["bac"], woman["exam"]) == (59, 0, "B-2")  # the first by date, not by name
    (woman,) = women_table(two_exams(first=(1, 1, 1, 1))).to_dict("records")
    assert (woman["age"], woman["bac"], woman["bac_views"]) == (59, 1, 5)
    (woman,) = women_table(two_exams(second=(0, None, 0, 0))).to_dict("records")
    assert np.isnan(woman["bac"]) and woman["age"] == 59


def test_exams_are_included_one_by_one():
    """Three views of 2021 and one of 2023 are not four; an exam that is left out does not take the other with it."""
    views = two_exams()
    parts = views.drop([1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"no woman to include \(1 not all four views\)"):
        include_women(parts, 45)
    kept, exclusions = include_women(views.drop(5), 45)
    assert kept["exam"].tolist() == ["A-1"] * 4
    assert exclusions[["women", "views"]].to_numpy().tolist() == [[0, 0], [0, 3], [0, 0]]  # no woman is left out
    young = pd.concat([two_exams(ages=(44, 46)), two_exams("V", second=(1, 0, 0, None), ages=(40, 42))])
    kept, exclusions = include_women(young.reset_index(drop=True), 45)
    assert kept[["patient_id", "exam"]].drop_duplicates().to_numpy().tolist() == [["W", "A-1"]]
    assert exclusions[["women", "views"]].to_numpy().tolist() == [[1, 12], [0, 0], [0, 0]]
    late = two_exams("V", second=(1, 0, 0, None), ages=(44, 46))
    _, exclusions = include_women(pd.concat([two_exams(), late], ignore_index=True), 45)
    assert exclusions[["women", "views"]].to_numpy().tolist() == [[0, 4], [0, 0], [1, 4]]  # the last reason is hers


def test_both_exams_of_a_woman_are_in_one_set():
    women = [four_views(f"P{n}", 59, (1, 0, 0, 0)) for n in range(12)] + [four_views(f"N{n}") for n in range(12)]
    views = pd.concat([two_exams(), check_views(pd.DataFrame([row for rows in women for row in rows]))])
    split = with_split(views, women_table(views), PAPER, PAPER.age_limits)
    assert split.groupby("patient_id")["split"].nunique().max() == 1
    assert split["patient_id"].nunique() == 25


def test_without_different_ages_there_is_no_test_but_a_figure(no_display_and_no_trace):
    from bac_utils import plots

    women = pd.DataFrame({"age": [60.0] * 6, "bac": [1, 0, 1, 0, 0, 0]})
    women = women.assign(patient_id=list("abcdef"), views=4, bac_views=women["bac"])
    found = cohort_summary(women, (60, 70, 73))
    assert (found["mann_whitney_p"], found["trend_p"], found["age_median"]) == (None, None, 60)
    for figure in (plots.age_distribution(women), plots.prevalence_by_class(prevalence_by_class(women, (60, 70, 73)))):
        figure.draw_without_rendering()
