from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bac_utils.cohort import (
    SPLITS,
    age_class,
    age_class_labels,
    check_classes,
    check_views,
    include_women,
    population_age_limits,
    read_views,
    split_counts,
    split_women,
    table_one,
    women_table,
)
from bac_utils.settings import PAPER, PUBLISHED

HEADER = "patient_id,age,laterality,view,image,bac"
GOOD = [
    "007,59,R,CC,a.dcm,0",
    "007,59,R,MLO,b.dcm,1",
    "007,59,L,CC,c.dcm,",
    "007,59,L,MLO,d.dcm,0",
    "008,45,R,CC,e.dcm,0",
]


def write(folder, *lines, header=HEADER, encoding="utf-8"):
    path = folder / "views.csv"
    path.write_bytes(("\n".join([header, *lines]) + "\n").encode(encoding))
    return path


def four_views(patient_id, age=59, bac=(0, 0, 0, 0)):
    sides = [("R", "CC"), ("R", "MLO"), ("L", "CC"), ("L", "MLO")]
    return [
        {"patient_id": patient_id, "age": age, "laterality": side, "view": view, "bac": label,
         "image": f"{patient_id}_{side}_{view}.dcm"}
        for (side, view), label in zip(sides, bac, strict=True)
    ]  # fmt: skip


def cohort(classes, negative):
    """One row a woman: `classes` BAC+ women in each of the paper's age classes."""
    ages = np.repeat([52, 65, 72, 80], classes)
    table = pd.DataFrame({"age": [*ages, *([57] * negative)]})
    table["bac"] = [1] * len(ages) + [0] * negative
    table.insert(0, "patient_id", [f"W{k:04d}" for k in range(len(table))])
    return table


# reading and checking


def test_read_views_gives_types_and_paths(tmp_path):
    path = write(tmp_path, *GOOD)
    views = read_views(path)
    assert views["patient_id"].tolist() == ["007"] * 4 + ["008"]  # leading zeros stay
    assert views["age"].tolist() == [59.0] * 4 + [45.0]
    assert views["bac"].tolist()[:2] == [0, 1]
    assert np.isnan(views["bac"][2])
    assert views["image_path"][0] == str(tmp_path / "a.dcm")


def test_read_views_takes_what_spreadsheets_write(tmp_path):
    text = "\ufeff" + HEADER + ",bac_length_mm,pixel_spacing_mm,note\r\n"
    text += ' "S,1", 59.0,R,CC,sub/a.dcm,1.0,41,0.085,"two\r\nlines"\r\n,,,,,,,,\r\n\r\n2,60,L,MLO,b.dcm,0,,,\r\n'
    (tmp_path / "views.csv").write_bytes(text.encode())
    views = read_views(str(tmp_path / "views.csv"))
    assert views["patient_id"].tolist() == ["S,1", "2"]
    assert views["bac_length_mm"][0] == 41
    assert views["pixel_spacing_mm"].isna().tolist() == [False, True]
    assert views["note"].tolist() == ["two\r\nlines", ""]
    text = text.replace(",60,", ",590,")
    (tmp_path / "views.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match="row 6, column 'age': got 590"):  # its line, blank ones counted
        read_views(tmp_path / "views.csv")


def test_a_written_table_reads_back_the_same(tmp_path):
    views = read_views(write(tmp_path, *GOOD))
    views.drop(columns="image_path").to_csv(tmp_path / "again.csv", index=False)
    pd.testing.assert_frame_equal(read_views(tmp_path / "again.csv"), views)


BROKEN = {
    "age 590": (2, "007,590,L,CC,c.dcm,", "row 4, column 'age': got 590, must be a number of years"),
    "age 17.9": (2, "007,17.9,L,CC,c.dcm,", "row 4, column 'age': got 17.9"),
    "DICOM age": (2, "007,059Y,L,CC,c.dcm,", "row 4, column 'age': got 059Y"),
    "age inf": (2, "007,inf,L,CC,c.dcm,", "row 4, column 'age': got inf"),
    "no age": (2, "007,,L,CC,c.dcm,", "row 4, column 'age': got nothing"),
    "two ages": (2, "007,60,L,CC,c.dcm,", r"row 4, column 'age': got 60, must be .* \(row 2 differs\)"),
    "side": (2, "007,59,left,CC,c.dcm,", "row 4, column 'laterality': got left, must be one of L, R"),
    "view": (2, "007,59,L,ML,c.dcm,", "row 4, column 'view': got ML, must be one of CC, MLO"),
    "doubled": (2, "007,59,R,MLO,c.dcm,", r"row 4, column 'view': got MLO, .* \(also in row 3\)"),
    "doubled file": (2, "007,59,L,CC,./b.dcm,", r"row 4, column 'image': got ./b.dcm, .* \(also in row 3\)"),
    "no id": (2, " ,59,L,CC,c.dcm,", "row 4, column 'patient_id': got nothing, must not be empty"),
    "no image": (2, "007,59,L,CC,,", "row 4, column 'image': got nothing, must not be empty"),
    "bac 2": (2, "007,59,L,CC,c.dcm,2", r"row 4, column 'bac': got 2, must be 0, 1 or empty"),
    "bac yes": (2, "007,59,L,CC,c.dcm,yes", "row 4, column 'bac': got yes"),
    "bac nan": (2, "007,59,L,CC,c.dcm,nan", "row 4, column 'bac': got nan"),
    "cells": (2, "007,59,L,CC,c.dcm", "row 4: got 5 cells, must have 6 as the first row"),
    "quote": (4, '"007,59,L,CC,c.dcm,', "row 6: got unexpected end of data, must be comma-sep"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_refused_by_name(tmp_path, name):
    index, line, message = BROKEN[name]
    lines = [*GOOD]
    lines[index] = line
    with pytest.raises(ValueError, match="^views.csv " + message):
        read_views(write(tmp_path, *lines))


@pytest.mark.parametrize(
    ("column", "cell", "bac", "message"),
    [
        ("bac_length_mm", "-3", "1", "'bac_length_mm': got -3, must be a number of mm, 0 or more, or empty"),
        ("bac_length_mm", "inf", "1", "'bac_length_mm': got inf"),
        ("bac_length_mm", "12.5", "0", "'bac_length_mm': got 12.5, must be 0 or empty where bac is 0"),
        (
            "pixel_spacing_mm",
            "0",
            "1",
            "'pixel_spacing_mm': got 0, must be a number of mm above 0 and at most 2",
        ),
        ("pixel_spacing_mm", "70", "1", "'pixel_spacing_mm': got 70"),  # micrometres
        ("split", "", "1", "'split': got nothing, must be one of train, validation, test, unused, quantification"),
    ],
)
def test_a_broken_optional_cell_is_refused(tmp_path, column, cell, bac, message):
    path = write(tmp_path, f"1,59,R,CC,a.dcm,{bac},{cell}", header=f"{HEADER},{column}")
    with pytest.raises(ValueError, match=f"views.csv row 2, column {message}"):
        read_views(path)


def test_several_broken_rows_are_counted(tmp_path):
    path = write(tmp_path, *(line.replace(",59,", ",590,") for line in GOOD))
    with pytest.raises(ValueError, match=r"row 2, .* \(rows that break this rule: 4\)"):
        read_views(path)


@pytest.mark.parametrize(("bac", "length"), [("1", "0"), ("1", ""), ("", "3"), ("0", "0"), ("0", "")])
def test_lengths_that_agree_with_the_label(tmp_path, bac, length):
    path = write(tmp_path, f"1,59,R,CC,a.dcm,{bac},{length}", header=f"{HEADER},bac_length_mm")
    assert len(read_views(path)) == 1


def test_a_woman_lies_in_one_set():
    frame = pd.DataFrame(four_views("1")).assign(split=["train", "train", "test", "train"])
    with pytest.raises(ValueError, match=r"views row 4, column 'split': got test, must be the same .*row 2"):
        check_views(frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"\n , \n", "got an empty file"),
        (HEADER.encode(), "got no rows"),
        (b"PK\x03\x04\xff\xfe\x80", "got bytes that are no text"),
        (b"PK\x03\x04\x00\x00", "got zero bytes"),
        ((HEADER + "\n1,59,R,CC,a.dcm,0").encode("utf-16"), "got bytes that are no text"),
        (HEADER.replace(",", ";").encode() + b"\n1;59;R;CC;a.dcm;0", "separated by commas"),
        (HEADER.replace("age", "years").encode() + b"\n1,59,R,CC,a.dcm,0", "row 1, column 'age': missing"),
        (HEADER.replace("age", "bac").encode() + b"\n1,59,R,CC,a.dcm,0", "row 1: got columns .* each once"),
    ],
)
def test_a_file_that_is_no_views_table(tmp_path, content, message):
    (tmp_path / "views.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^views.csv.*{message}"):
        read_views(tmp_path / "views.csv")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv', must be an existing CSV file"):
        read_views(tmp_path / "nowhere.csv")
    path = write(tmp_path, *GOOD)
    for name in "abde":
        (tmp_path / f"{name}.dcm").touch()
    with pytest.raises(ValueError, match="views.csv row 4, column 'image': got c.dcm, must be an existing file"):
        read_views(path, check_images=True)
    (tmp_path / "c.dcm").touch()
    assert len(read_views(path, check_images=True)) == 5


def test_check_views_takes_a_frame_and_leaves_it_alone():
    frame = pd.DataFrame(four_views(12, bac=(0, 1, None, 0)), index=[9, 8, 7, 6])
    before = frame.copy()
    views = check_views(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert views["patient_id"].tolist() == ["12"] * 4
    assert views.index.tolist() == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="frame: got list, must be a pandas.DataFrame"):
        check_views([1])


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
    assert np.isnan(women["bac"][0])  # her unknown view might be BAC+
    assert women["bac"][1] == 1


# age classes


def test_age_class_and_labels_of_the_paper():
    ages = [45, 60, 60.9, 61, 70, 71, 73, 74, 87]
    assert age_class(ages, (60, 70, 73)).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert age_class_labels(ages, (60, 70, 73)) == ["45-60", "61-70", "71-73", "74-87"]
    assert age_class_labels([62, 64], (60, 70, 71)) == ["60", "61-70", "71", "72"]
    with pytest.raises(ValueError, match=r"limits: got \[60.0, 60.0\], must be ages in rising order"):
        age_class(ages, (60, 60))
    with pytest.raises(ValueError, match="age: got a value that is not finite"):
        age_class([np.nan], (60,))


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
    assert split.index.tolist() == women["patient_id"].tolist()  # each woman once, so on one side only
    assert split.name == "split"
    women["split"] = split.to_numpy()
    positive = women[women["bac"] == 1]
    counts = pd.crosstab(age_class(positive["age"], PAPER.age_limits), positive["split"])
    for k, n in enumerate(classes):
        for name, share in zip(SPLITS, PAPER.split_fractions, strict=False):
            got = counts[name].get(k, 0)
            assert abs(got - share * n) < 1 - 1e-6  # rounded down or up, exact where that is whole
    for name, share in zip(SPLITS, PAPER.split_fractions, strict=False):
        assert abs((positive["split"] == name).sum() - share * len(positive)) < 1
    negative = women.loc[women["bac"] == 0, "split"].value_counts()
    assert abs(negative["validation"] - 0.15 * 301) < 1
    assert abs(negative["test"] - 0.15 * 301) < 1
    assert abs(negative["train"] + negative["unused"] - 0.70 * 301) < 1
    train = women[women["split"] == "train"]
    assert abs(train["bac"].mean() - 0.30) < 0.5 / len(train)  # nothing nearer with whole women
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


def test_split_is_reproducible_and_takes_its_parameters():
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
    women = cohort((1, 2, 5, 4), 60)  # the test set is 0.6 women short when the class of 5 comes
    third = split_women(women, settings, 0)[women["patient_id"][3:8]]
    assert (third == "test").sum() == 1


@pytest.mark.parametrize("classes", [(6, 0, 0, 0), (2, 1, 2, 1), (0, 1, 2, 3), (3, 2, 1, 0)])
def test_six_women_of_each_class_can_be_split(classes):
    women = cohort(classes, 6)
    women["split"] = split_women(women, PAPER, 0).to_numpy()
    for name in SPLITS[:3]:
        assert set(women.loc[women["split"] == name, "bac"]) == {0, 1}


def test_split_refuses_what_it_cannot_split():
    rule = "the test set would get 0 and 7; each set of the 70/15/15 split must get at least one of both"
    with pytest.raises(ValueError, match=f"got 3 BAC. and 50 BAC- women, of whom {rule}"):
        split_women(cohort((1, 1, 1, 0), 50), PAPER, 0)
    for women in (cohort((0, 0, 0, 0), 9), cohort((3, 3, 3, 3), 0)):
        with pytest.raises(ValueError, match="column 'bac': got (0|12) BAC. women of .*, must hold BAC. and BAC-"):
            split_women(women, PAPER, 0)
    women = cohort((5, 5, 5, 5), 50)
    with pytest.raises(ValueError, match="split_fractions: got .* must be 3 shares of sum 1"):
        split_women(women, replace(PAPER, split_fractions=(0.7, 0.2, 0.2)), 0)
    with pytest.raises(ValueError, match="train_prevalence: got 30, must lie between 0 and 1"):
        split_women(women, replace(PAPER, train_prevalence=30), 0)
    with pytest.raises(ValueError, match="got a woman twice"):
        split_women(pd.concat([women, women]), PAPER, 0)
    with pytest.raises(ValueError, match="got an unknown label"):
        check_classes(women.assign(bac=np.nan))


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
