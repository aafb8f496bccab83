"""Readers in the table."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from bac_utils.methods.readers import read_readings, reader_row, reader_scores, reading_pairs
from bac_utils.methods.table import COLUMNS, methods_table


@pytest.fixture
def views():
    """Twelve women with two views each; the first six have BAC in one of them."""
    rows = [(f"W{k}", view, float(k < 6 and view == "CC")) for k in range(12) for view in ("CC", "MLO")]
    table = pd.DataFrame(rows, columns=["patient_id", "view", "bac"]).assign(exam="", laterality="L")
    return table.assign(bac_length_mm=table["bac"] * (10.0 + np.arange(24)))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_length_by_view_and_a_grade_by_woman(views, tmp_path):
    lines = ["patient_id,laterality,view,reader,scale,value,reading"]
    lines += [f"{r.patient_id},L,{r.view},A,length_mm,{r.bac_length_mm + 1},1" for r in views.itertuples()]
    lines += [f"W{k},,,B,csbi,{2 if k < 5 else 0},1" for k in range(12)]
    readings = read_readings(write(tmp_path / "r.csv", "\n".join(lines)))
    length, grade = reader_scores(readings, views)
    assert (length.name, length.level, len(length.scores)) == ("reader A, length_mm", "view", 24)
    assert (grade.name, grade.level, len(grade.scores)) == ("reader B, csbi", "woman", 12)
    rows = [reader_row(reader, samples=50, seed=1) for reader in (length, grade)]
    table = methods_table(rows, {})
    assert table.columns.tolist() == list(COLUMNS)
    assert table["auc_roc"].tolist() == pytest.approx([1.0, roc_auc_score([1] * 6 + [0] * 6, [2] * 5 + [0] * 7)])
    assert table["views"].tolist() == [24, 12] and table["level"].tolist() == ["view", "woman"]
    lengths = views.groupby("patient_id")["bac_length_mm"].sum()[[f"W{k}" for k in range(6)]]
    assert table["spearman_rho"].tolist() == pytest.approx([1.0, spearmanr(lengths, [2] * 5 + [0]).statistic])
    assert table["dice"].isna().all() and (table["start"] == "reader").all()


def test_pairs_of_readers_and_of_repeated_readings(tmp_path):
    text = "patient_id;reader;scale;value;reading\n"
    text += "".join(f"W{k};{who};bac_ss;{k + plus};{n}\n" for k in range(3) for who, n, plus in
                    (("A", 1, 0), ("A", 2, 1), ("B", 1, 2)))  # fmt: skip
    found = {name: table for name, _, table in reading_pairs(read_readings(write(tmp_path / "r.csv", text)))}
    assert list(found) == ["A, readings 1 and 2", "A and B"]
    assert found["A and B"][["first", "second"]].to_numpy().tolist() == [[0, 2], [1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("W1,A,grade,1", "must be one of length_mm, csbi, twelve_point, bac_ss"),
        ("W1,A,csbi,4", "points: got 4.0, must be a whole number, 0 to 3"),
        ("W1,A,length_mm,-1", "must be a number, 0 or more"),
        ("W1,A,length_mm,", "must be a number, 0 or more"),
        (",A,length_mm,1", "must be text"),
        ("W1,A,length_mm,1\nW1,A,length_mm,2", "row 3: a second value of the same reading"),
    ],
)
def test_bad_readings_are_named(line, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_readings(write(tmp_path / "r.csv", f"patient_id,reader,scale,value\n{line}\n"))


def test_hostile_names_stay_text(views, tmp_path):
    views = views.assign(patient_id=views["patient_id"].replace({"W0": "NA", "W1": "=1+1"}))
    ids = list(dict.fromkeys(views["patient_id"]))
    text = "patient_id,reader,scale,value\n" + "".join(f"{i},=cmd(),twelve_point,{k}\n" for k, i in enumerate(ids))
    (reader,) = reader_scores(read_readings(write(tmp_path / "r.csv", text)), views)
    assert reader.name == "reader =cmd(), twelve_point"  # no cell of the table begins with the sign of a formula
    assert set(reader.scores["patient_id"]) == set(ids)


def test_readings_of_the_reader_study(views, tmp_path):
    lines = ["reader,patient_id,exam,laterality,view,bac,bac_length_mm,csbi,bac_ss,comment"]
    for k, row in enumerate(views.itertuples()):
        length = "" if k == 0 else row.bac_length_mm
        lines.append(f'A,{row.patient_id},,L,{row.view},{row.bac:.0f},{length},{2 if k < 12 else 0},,"=1+1"')
    found = read_readings(write(tmp_path / "A.csv", "\n".join(lines)))
    assert found["scale"].value_counts().to_dict() == {"length_mm": 23, "csbi": 12}
    grade, length = reader_scores(found, views)
    assert (grade.level, length.level) == ("woman", "view")
    assert roc_auc_score(grade.scores["bac"], grade.scores["score"]) == 1 and len(length.scores) == 23
    with pytest.raises(ValueError, match="got no columns 'scale' and 'value', must have both"):
        read_readings(write(tmp_path / "B.csv", "patient_id,reader\nW1,A\n"))
    differ = "patient_id,reader,csbi\nW1,A,1\nW1,A,2\n"  # two grades of one woman
    with pytest.raises(ValueError, match="a second value of the same reading"):
        read_readings(write(tmp_path / "C.csv", differ))
