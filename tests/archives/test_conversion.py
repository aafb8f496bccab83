"""Steps that all archives share: ages, and writing the views table."""

import numpy as np
import pandas as pd
import pytest
from archive_tables import put, rsna

from bac_utils.archives.conversion import NO_AGE, NO_FILE, NO_VIEW, REPEATED, write_views
from bac_utils.archives.rsna import read_rsna
from bac_utils.views_table import read_views


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["patient_id,age", "1,590"],
            "ages.csv row 2, column 'age': got 590, must be a number of years from 18 to 110",
        ),
        (["patient_id,age", "1,"], "ages.csv row 2, column 'age': got nothing, must be a number"),
        (["patient_id,age", "1,50", "1,51"], "ages.csv row 3, column 'patient_id': got 1, must occur once"),
        (["patient_id,age", ",50"], "ages.csv row 2, column 'patient_id': got nothing"),
        (["patient_id,years", "1,50"], "ages.csv row 1, column 'age': missing"),
    ],
)
def test_broken_ages(tmp_path, lines, words):
    rsna(tmp_path, ("1", "1", "L", "CC", "61", "0"))
    with pytest.raises(ValueError, match=words):
        read_rsna(tmp_path, ages=put(tmp_path / "ages.csv", *lines))


def test_unknown_ages_stay_empty(tmp_path):
    folder = rsna(tmp_path, ("1", "1", "L", "CC", "", "0"), ("2", "2", "L", "CC", "61", "0"))
    ages = read_rsna(folder, without_age=True).views["age"]
    assert np.isnan(ages[0]) and ages[1] == 61


def test_a_written_table_is_a_views_table(tmp_path):
    folder = rsna(tmp_path / "data/rsna", ("1", "1", "L", "CC", "61.0", "0"), ("2", "2", "R", "MLO", "49.5", "0"))
    output = tmp_path / "tables/here/views.csv"
    write_views(read_rsna(folder), output)
    assert output.read_text().splitlines() == [
        "patient_id,age,laterality,view,image,bac",
        "1,61,L,CC,../../data/rsna/train_images/1/1.dcm,",
        "2,49.5,R,MLO,../../data/rsna/train_images/2/2.dcm,",
    ]
    views = read_views(output, check_images=True)
    assert views["image_path"].tolist() == [str(folder / f"train_images/{k}/{k}.dcm") for k in (1, 2)]
    excluded = pd.read_csv(tmp_path / "tables/here/views.excluded.csv")
    assert excluded.fillna("").to_dict("list") == {
        "stage": ["found", "read", "read", "read", "one_per_view", "table"],
        "reason": ["", "breast implant", NO_VIEW, NO_FILE, REPEATED, NO_AGE],
        "women": [0] * 6,
        "views": [0] * 6,
        "women_left": ["", *[2] * 5],
        "views_left": [2] * 6,
    }
    assert (tmp_path / "tables/here/views.inclusion.csv").read_text().splitlines() == [
        "image,patient_id,laterality,view,stage,reason",
        "../../data/rsna/train_images/1/1.dcm,1,L,CC,,",
        "../../data/rsna/train_images/2/2.dcm,2,R,MLO,,",
    ]
    output.unlink()
    with pytest.raises(FileExistsError, match="views.excluded.csv already exists"):
        write_views(read_rsna(folder), output)
    write_views(read_rsna(folder), output, overwrite=True)
    assert output.is_file()
