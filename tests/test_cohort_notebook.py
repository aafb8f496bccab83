"""Notebook 01 on views tables as archives have them: without ages, with missing views, or with only a test set."""

import json

import numpy as np
import pandas as pd
import pytest
from view_rows import four_views

from bac_utils.inclusion.flow import Selection, list_path
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.run_folder import load_part, results_table, write_summary
from bac_utils.settings import PAPER
from bac_utils.study.cross_validation import write_folds
from bac_utils.study.runner import NOTEBOOKS, run_notebooks
from bac_utils.views_table import SETS, read_views
from bac_utils.widgets.hanging import HANGING


def run_notebook(**values):
    """Run the code of the notebook in this process, which takes less time than starting a kernel."""
    scope = {"display": lambda *_: None}
    path = NOTEBOOKS / "01_cohort_statistics.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), scope)
            if "parameters" in cell["metadata"].get("tags", []):
                scope |= values


def write_cohort(folder, **columns):
    """Write a views table of 48 women aged 50 to 79, of whom every second has BAC, and empty images."""
    rows = [row for k in range(48) for row in four_views(f"W{k:02d}", age=50 + k % 30, bac=(k % 2,) * 4)]
    for row in rows:
        (folder / row["image"]).write_bytes(b"")
    pd.DataFrame(rows).assign(**columns).dropna(axis=1, how="all").to_csv(folder / "views.csv", index=False)
    return str(folder / "views.csv")


@pytest.mark.parametrize("known", [0, 2, 40, 48])
def test_ages_may_be_missing(tmp_path, capsys, known):
    ages = [50.0 + k % 30 if k < known else np.nan for k in range(48)]
    run_notebook(cohort=write_cohort(tmp_path, age=np.repeat(ages, 4)), output=str(tmp_path / "run"))
    words = f"{48 - known} of 48 women have no age; sections 3 and 4 leave them out."
    assert (words in capsys.readouterr().out) == (known < 48)
    found = load_part(tmp_path / "run", "cohort")["cohort"]
    assert found["women_without_age"] == 48 - known
    assert found["age_median"] == (np.nanmedian(ages) if known else None)
    views = read_views(tmp_path / "run" / "views.csv")
    assert views["age"].isna().sum() == 4 * (48 - known) and set(views["split"]) >= set(SETS)
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert drawn == {"inclusion.png"} | ({"ages.png", "prevalence_by_age.png"} if known else set())
    results = results_table(
        {"cohort": found}
        | dict.fromkeys(("detection", "detection_by_woman"), {})
        | dict.fromkeys(("quantification", "timing"))
    )
    assert results.loc["Median age (years)", "this run"] == ("-" if not known else f"{np.nanmedian(ages):g}")


def test_two_exams_of_a_woman(tmp_path):
    """W01, BAC+ in exam A at 51, has another exam at 54, BAC-: one woman, 8 views, in one set."""
    table = write_cohort(tmp_path, exam="A", study_date="2021-03-02")
    again = pd.DataFrame(four_views("W01", 54)).assign(exam="B", study_date="2024-03-05")
    again["image"] = "again_" + again["image"]
    for name in again["image"]:
        (tmp_path / name).write_bytes(b"")
    pd.concat([pd.read_csv(table), again]).to_csv(table, index=False)
    run_notebook(cohort=table, output=str(tmp_path / "run"))
    found = load_part(tmp_path / "run", "cohort")
    counts = [found["cohort"][name] for name in ("women", "views", "bac_women", "bac_views", "age_median")]
    assert counts == [48, 196, 24, 96, np.median([50 + k % 30 for k in range(48)])]
    views = read_views(tmp_path / "run" / "views.csv")
    hers = views[views["patient_id"] == "W01"]
    assert hers[["exam", "study_date", "age"]].drop_duplicates().to_numpy().tolist() == [
        ["A", "2021-03-02", 51], ["B", "2024-03-05", 54]
    ]  # fmt: skip
    assert len(hers) == 8 and hers["split"].nunique() == 1


def test_a_cohort_without_a_training_set(tmp_path, capsys):
    """Its statistics are computed, but `run` refuses the table before any work."""
    table = write_cohort(tmp_path, split="test")
    run_notebook(cohort=table, output=str(tmp_path / "run"))
    counts = load_part(tmp_path / "run", "cohort")["splits"]
    assert counts["train"] == {"women": 0, "views": 0, "bac_views": 0} and counts["test"]["bac_views"] == 96
    assert "train: 0 BAC+ of 0 views" in capsys.readouterr().out
    with pytest.raises(ValueError, match="split: got no women in train; notebook 02 needs them to train the network"):
        run_notebooks(tmp_path / "other", cohort=table)
    assert not (tmp_path / "other").exists()


def test_women_with_fewer_views(tmp_path, capsys):
    table = write_cohort(tmp_path)
    pd.read_csv(table)[1:].to_csv(table, index=False)
    for all_views, women, words in ((None, 47, "Excluded women: 1."), (False, 48, "1 have fewer than four views.")):
        run = tmp_path / f"run {women}"
        run_notebook(cohort=table, output=str(run), all_views=all_views)
        assert words in capsys.readouterr().out
        assert load_part(run, "cohort")["cohort"]["women"] == women
    assert "not all four views (not applied),0,0" in (run / "exclusions.csv").read_text()


def test_the_flow_of_inclusion_is_kept_with_the_run(tmp_path, capsys):
    """Two files were not used, one woman is too young; labels of half of the women are by breast."""
    levels = ["breast" if k < 96 else "view" for k in range(192)]
    table = write_cohort(tmp_path, label_level=levels)
    rows = pd.read_csv(table)
    rows.loc[rows["patient_id"] == "W00", "age"] = 40
    rows.to_csv(table, index=False)
    files = pd.DataFrame({"patient_id": "", "image": ["notes.txt", "plan.pdf"]})
    flow = Selection(pd.concat([rows, files], ignore_index=True))
    flow.exclude("not_an_image", flow.frame["patient_id"] == "")
    flow.write(list_path(table), tmp_path)
    run = tmp_path / "run"
    run_notebook(cohort=table, output=str(run))
    words = "Labels: 96 views by view (24 women, 48 BAC+ views); 96 views by breast (24 women, 48 BAC+ views); without"
    assert words in capsys.readouterr().out
    stages = {stage["stage"]: stage for stage in load_part(run, "cohort")["inclusion"]}
    assert stages["read"]["reasons"] == {"not_an_image": {"views": 2, "women": 0}}
    assert stages["read"]["entered"]["views"] == 194 and stages["included"]["remaining"]["women"] == 47
    views, listed = pd.read_csv(run / "views.csv"), pd.read_csv(run / "inclusion.csv")
    remaining = listed[listed["stage"].isna()]
    assert sorted(remaining["image"]) == sorted(views.loc[views["split"] != "unused", "image"])
    assert stages["split"]["remaining"]["views"] == len(remaining)
    assert dict(listed.loc[listed["reason"] == "younger than 45 years", "stage"].value_counts()) == {"aged": 4}
    assert (run / "figures" / "inclusion.png").stat().st_size > 10_000
    list_path(table).write_text("image\n")
    with pytest.raises(ValueError, match="views.inclusion.csv row 1, column 'patient_id'"):
        run_notebooks(tmp_path / "other", cohort=table)
    assert not (tmp_path / "other").exists()


def test_labels_of_readers_replace_those_of_the_table(tmp_path, capsys):
    """W00 (BAC-) and W01 (BAC+) change sides; the folds of a cross-validation get the same labels."""
    table, folder = write_cohort(tmp_path), tmp_path / "readings"
    before, mine = (tmp_path / "views.csv").read_bytes(), ReaderFile(folder, "Anna", 1)
    changes = {0: {"bac": 1, "bac_length_mm": 12.5}, 1: {"bac": 0, "bac_length_mm": 0}}
    for number, change in changes.items():
        for side, view in HANGING:
            mine.put({ViewKey(f"W{number:02d}", "", side, view): change})
    run_notebook(cohort=table, readings=str(folder), output=str(tmp_path / "run"))
    told = "8 views with a label; 8 labels changed, 0 added, 4 lengths changed"
    assert told in capsys.readouterr().out and (tmp_path / "views.csv").read_bytes() == before
    views = read_views(tmp_path / "run" / "views.csv").set_index("patient_id")
    assert set(views.loc["W00", "bac"]) == {1} and set(views.loc["W00", "bac_length_mm"]) == {12.5}
    assert set(views.loc["W01", "bac"]) == {0} and views.loc["W03", "bac_length_mm"].isna().all()
    found = load_part(tmp_path / "run", "cohort")["cohort"]
    assert found["readings"]["labels_changed"] == 8 and found["bac_women"] == 24
    summary = write_summary(tmp_path / "run")
    assert summary["cohort"]["readings"] == found["readings"]
    (tmp_path / "folds").mkdir()
    paths = write_folds(tmp_path / "folds", table, PAPER, 3, readings=folder)
    assert told in capsys.readouterr().err
    for path in paths:
        fold = read_views(path).set_index("patient_id")
        assert set(fold.loc["W00", "bac"]) == {1} and set(fold.loc["W01", "bac"]) == {0}
