"""The reader study, driven as a browser would, without one: blind, in random order, measured in mm, resumable."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from finished_run import make_run
from mammogram_files import write
from PIL import Image

from bac_utils._files import locked
from bac_utils.readings import reader_file
from bac_utils.readings.lines import length_mm, read_lines
from bac_utils.readings.order import reading_order
from bac_utils.readings.reader_file import ReaderFile
from bac_utils.readings.table import read_folder
from bac_utils.widgets import CohortViews, ReaderStudy, SignIn, open_reader_study, reader_study
from bac_utils.widgets.base import HEADLESS, STUDY, chosen_study
from bac_utils.widgets.hanging import HANGING
from bac_utils.widgets.originals import Originals

NAMES = ["<script>W0", "W$1", "W;2", "NA", "BAC_W4", "007"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Return a views table of six women."""
    folder = make_run(tmp_path_factory.mktemp("cohort") / "run", women=6, shape=(192, 96), subset=False, names=NAMES)
    return folder / "views.csv"


@pytest.fixture
def study(cohort, tmp_path):
    return open_reader_study(CohortViews(cohort), tmp_path / "readings", "Anna", 1)


def saved(study):
    return read_folder(study.file.path.parent).set_index(["patient_id", "laterality", "view"])


def draw(study, index, *lines):
    """Do what the browser does after each change of the ruler; points are those of the view as shown."""
    content = {"type": "lines", "view": study.canvas.views[index]["key"], "index": index, "lines": [*map(list, lines)]}
    study.canvas._answer(None, content, [])


def states(widget):
    """Return the state of a widget and of all of its children, which is what the browser gets."""
    yield {k: v for k, v in widget.get_state().items() if not isinstance(v, bytes)}
    for child in getattr(widget, "children", ()):
        yield from states(child)


def test_blind(study, cohort):
    """No identifier, age, label, length or path of the table reaches the browser, also not by way of keys."""
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    sent = []
    for place in range(len(study.women)):
        study.go(place)
        text = json.dumps([*states(study)], default=lambda value: "" if isinstance(value, memoryview) else repr(value))
        sent.append(text)
        assert set(study.canvas.texts) == {""} and study.canvas.heats == []
        assert study.canvas.outlines == [[], [], [], []]
    for word in {*table["patient_id"], *table["image"], "W0000", ".png", "score", "years"} - {"NA", "007"}:
        assert not any(word in text.replace(reader_study.KEYS_HELP, "") for text in sent), word
    assert not any(key in vars(study._views)["table"] for key in ("bac", "bac_length_mm", "age", "split"))
    assert [view["key"] for view in study.canvas.views] == [f"5.{k}" for k in range(4)]


def test_order_by_reader_and_seed(study, cohort, tmp_path):
    exams = [(name, "") for name in NAMES]
    assert study.women == [woman for woman, _ in reading_order(exams, "Anna", 1)]
    other = open_reader_study(CohortViews(cohort), tmp_path / "readings", "Berta", 1)
    assert sorted(other.women) == sorted(study.women) and other.women != study.women


def test_labels_lines_and_comments_are_saved_at_once(study):
    woman = study.women[0]
    study.press("y")
    assert study.label.value == "y" and saved(study).loc[(woman, "R", "CC"), "bac"] == 1
    study.canvas.selected = 1
    assert study.label.value == ""
    study.label.value = "x"
    study.canvas.selected = 2
    study.press("u")
    study.comment.value = "<b>ring</b>"
    study.csbi.value = 2
    study.points.value = "7"
    study.points.value = "many"
    assert "must be a whole number" in study.told.value
    rows = saved(study).loc[woman]
    assert rows["bac"].tolist() == pytest.approx([0, np.nan, 1, np.nan], nan_ok=True)  # L CC, L MLO, R CC, R MLO
    assert rows["bac_length_mm"].tolist() == pytest.approx([0, np.nan, np.nan, np.nan], nan_ok=True)
    assert set(rows["bac_ss"]) == {7}
    assert set(rows["csbi"]) == {2} and rows.loc[("R", "MLO"), "comment"] == "<b>ring</b>"
    assert (rows["read_at"] != "").tolist() == [True, False, True, True] and set(rows["position"]) == {1}
    assert study.canvas.texts == ["BAC+", "BAC−", "undecided", ""]
    assert study.progress() == {"exams": 6, "read_exams": 0, "views": 24, "read_views": 3}
    study.press("X")
    assert saved(study).loc[(woman, "L", "MLO"), "bac"] == 0 and study.progress()["read_exams"] == 1
    assert saved(study).loc[(woman, "R", "MLO"), "read_at"] == rows.loc[("R", "MLO"), "read_at"]  # not read again
    study.label.value = ""  # a view that was read stays read
    assert study.label.value == "u"


def test_resumes_at_the_first_unread_woman(study, cohort):
    for _ in range(2):
        study.press("X")
        study.press("n")
    study.press("y")
    study.canvas.selected = 3
    again = open_reader_study(CohortViews(cohort), study.file.path.parent, "Anna", 1)
    assert again.place == 2 and again.canvas.texts == ["BAC+", "", "", ""] and again.canvas.selected == 1
    again.press("p")
    assert again.place == 1 and again.canvas.texts == ["BAC−"] * 4
    again.go_to_unread()
    assert again.place == 2
    for place in range(2, 6):
        again.go(place)
        again.press("X")
    again.go_to_unread()
    assert again.place == 5 and "all women have been read" in again.told.value
    assert again.progress() == {"exams": 6, "read_exams": 6, "views": 24, "read_views": 24}


@pytest.mark.parametrize("index", range(4))
def test_length_by_hand_also_on_mirrored_views(study, index):
    row, column = study._views.spacing_mm(study._rows[index])
    columns = study.canvas.views[index]["columns"]
    draw(study, index, [10, 100, 40, 100, 40, 140], [50, 200, 53, 204], [9, 9])
    expected = 30 * column + 40 * row + np.hypot(3 * column, 4 * row)
    side, view = HANGING[index]
    found = saved(study).loc[(study.women[0], side, view)]
    assert found["bac_length_mm"] == pytest.approx(expected, abs=0.006) and found["bac"] == 1
    # In the file: pixels of 0.5 mm; the chest wall of a right breast is on the right, as on the screen.
    lines = read_lines(found["lines"])
    assert length_mm(lines, (0.5, 0.5)) == pytest.approx(expected, abs=0.05)
    direction = lines[0][1] - lines[0][0]
    assert direction[0] > 0 and direction[1] == pytest.approx(0, abs=1e-6)  # to the right on the screen and in the file
    study.go(1)
    study.go(0)
    drawn = [[10, 100, 40, 100, 40, 140], [50, 200, 53, 204], [9, 9]]
    for line, expected_line in zip(study.canvas.lines[index], drawn, strict=True):
        assert line == pytest.approx(expected_line, abs=0.05)
    assert columns == study.canvas.views[index]["columns"]


def test_row_and_column_spacing_may_differ(tmp_path):
    pixels = np.full((240, 100), 40, np.uint16)
    y, x = np.mgrid[:240, :100]
    pixels[np.hypot((y - 120) / 100, x / 80) < 1] = 1500 + (x + y)[np.hypot((y - 120) / 100, x / 80) < 1]
    write(tmp_path / "a.dcm", pixels, ImagerPixelSpacing=[0.8, 0.4])
    pd.DataFrame([["a", "L", "CC", "a.dcm", ""]], columns=["patient_id", "laterality", "view", "image", "bac"]).to_csv(
        tmp_path / "views.csv", index=False
    )
    study = open_reader_study(CohortViews(tmp_path / "views.csv"), tmp_path / "r", "a", 1)
    assert study._rows == [None, 0, None, None]
    prepared = study._originals.prepared(0)
    corners = study._originals.to_view(0, np.array([[10, 50], [40, 50], [40, 90]]))
    draw(study, 1, corners.ravel())
    found = saved(study).iloc[0]
    assert found["bac_length_mm"] == pytest.approx(30 * 0.4 + 40 * 0.8, abs=0.01)  # columns, then rows, of the file
    assert found["lines"] == "[[[10.0,50.0],[40.0,50.0],[40.0,90.0]]]"
    assert prepared.spacing_mm[0] != prepared.spacing_mm[1]


def test_points_move_to_the_file_and_back(tmp_path):
    """The bright pixel under a point of the prepared view is the one in the file, for turned and mirrored images."""
    y, x = np.mgrid[:300, :200]
    breast = np.hypot((y - 150) / 120, x / 150) < 1
    pixels = (40 + breast * (900 + x + y)).astype(np.uint16)
    pixels[100:104, 60:64] = 4000
    for name, image in {"a": pixels, "b": pixels[:, ::-1]}.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    rows = [[name, side, "CC", f"{name}.png", 0.5] for name, side in (("a", "L"), ("b", "R"))]
    table = pd.DataFrame(rows, columns=["patient_id", "laterality", "view", "image_path", "pixel_spacing_mm"])
    table["image_path"] = [str(tmp_path / path) for path in table["image_path"]]
    store = type("Store", (), {"table": table, "shape": (480, 240)})()
    for pixel_mm in (0.4, None):
        originals = Originals(store, pixel_mm)
        for row, centre in enumerate(([62, 102], [138, 102])):
            view = originals.prepared(row).pixels
            bright = np.argwhere(view > 0.9 * view.max()).mean(axis=0)[::-1] + 0.5
            assert originals.to_file(row, bright[None])[0] == pytest.approx(centre, abs=0.6)
            points = np.array([[3.0, 7.0], [100.0, 250.0]])
            assert originals.to_view(row, originals.to_file(row, points)) == pytest.approx(points)


def test_a_length_makes_a_view_positive_and_must_be_removed_first(study):
    study.press("x")
    draw(study, 0, [10, 10, 20, 10])
    assert study.label.value == "y"
    study.press("x")
    assert (
        study.label.value == "y" and "NOT CHANGED" in study.told.value and "remove the lines first" in study.told.value
    )
    study.press("X")  # the others
    draw(study, 0)
    study.press("x")
    rows = saved(study).loc[study.women[0]]
    assert set(rows["bac"]) == {0} and set(rows["lines"]) == {""} and set(rows["bac_length_mm"]) == {0}
    study.press("u")
    draw(study, 0, [10, 10, 20, 10])  # a doubtful artery may have a length
    found = saved(study).loc[(study.women[0], "R", "CC")]
    assert np.isnan(found["bac"]) and found["bac_length_mm"] > 0
    draw(study, 0, [10, 10])
    found = saved(study).loc[(study.women[0], "R", "CC")]
    assert np.isnan(found["bac_length_mm"])


def test_a_message_about_another_view_or_of_nonsense_is_ignored(study):
    study.canvas._answer(None, {"type": "lines", "view": "9.0", "index": 0, "lines": [[1, 1, 5, 5]]}, [])
    study.canvas._answer(None, {"type": "lines", "view": "0.0", "index": "0", "lines": [[1, 1, 5, 5]]}, [])
    with pytest.raises(ValueError, match="lines: got"):
        draw(study, 0, [1, "x"])
    assert not study.file.path.exists()


def test_no_spacing_no_mm(cohort, tmp_path):
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False).drop(columns="pixel_spacing_mm")
    table["image"] = [str(cohort.parent / image) for image in table["image"]]
    table.to_csv(tmp_path / "views.csv", index=False)
    study = open_reader_study(CohortViews(tmp_path / "views.csv"), tmp_path / "r", "a", 1)
    draw(study, 0, [10, 100, 40, 100])
    found = saved(study).iloc[0]
    assert np.isnan(found["bac_length_mm"]) and found["bac"] == 1 and found["lines"]
    assert study.canvas.views[0]["row_mm"] is None and "no pixel spacing: no mm" in study.told.value


def test_a_file_that_cannot_be_read_is_undecided(cohort, tmp_path):
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    table["image"] = [str(cohort.parent / image) for image in table["image"]]
    (tmp_path / "a.png").write_bytes(b"no image")
    table.loc[0, "image"] = "a.png"
    table.loc[4, "image"] = "gone.png"
    table.to_csv(tmp_path / "views.csv", index=False)
    views = CohortViews(tmp_path / "views.csv")
    assert views.left_out == 1 and len(views.exams) == 5
    study = open_reader_study(views, tmp_path / "r", "a", 1)
    study.go(study.women.index(NAMES[0]))
    assert study.canvas.views[0]["missing"].startswith("the image cannot be read (")
    study.press("X")
    assert study.progress()["read_exams"] == 1
    found = saved(study).loc[(NAMES[0], "R", "CC")]
    assert np.isnan(found["bac"]) and found["comment"].startswith("the image cannot be read (")


def test_time_is_that_of_the_selected_view(study, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    study.go(0)
    for action, seconds in ((lambda: study.press("y"), 7), (lambda: setattr(study.canvas, "selected", 2), 4),
                            (lambda: study.press("x"), 5), (lambda: study.press("n"), 500)):  # fmt: skip
        now[0] += seconds
        action()
    rows = saved(study).loc[study.women[0]]
    assert rows.loc[("R", "CC"), "seconds"] == 11 and rows.loc[("R", "MLO"), "seconds"] == 5 + reader_study.PAUSE_S


def test_a_reading_that_cannot_be_saved(study, monkeypatch):
    monkeypatch.setattr(reader_file, "WAIT_S", 0.05)
    study.press("y")
    with locked(study.file.path):
        study.press("x")
    assert "NOT SAVED, will be tried again" in study.told.value
    study.canvas.selected = 1
    study.press("x")
    assert "saved in" in study.told.value and set(saved(study)["bac"]) == {0}


def test_sign_in(cohort, tmp_path, monkeypatch):
    shown = open_reader_study(CohortViews(cohort), tmp_path / "r", " ", 1)
    assert isinstance(shown, SignIn)
    shown.start.click()
    assert "reader: got" in shown.told.value and "role='alert'" in shown.told.value
    shown.name.value = "<b>Ännä</b>"
    shown.start.click()
    (study,) = shown.children
    assert (
        isinstance(study, ReaderStudy) and "&lt;b&gt;Ännä" in study.where.value and "<b>Ännä" not in study.where.value
    )
    ReaderFile(tmp_path / "r", "c", 1).put({study._views.key(0): {"bac": 1}})
    other = open_reader_study(CohortViews(cohort), tmp_path / "r", "", 2)
    other.name.value = "c"
    other.start.click()
    assert "got the seed 1, must be 2" in other.told.value
    monkeypatch.setenv(HEADLESS, "1")
    for panel in (shown, study):
        assert set(panel._repr_mimebundle_()) == {"image/png", "text/plain"}


def test_chosen_study(monkeypatch):
    assert chosen_study("a", "b", "c") == ("a", "b", "c")
    monkeypatch.setenv(STUDY["reader"], "Anna")
    assert chosen_study("a", "b", "c") == ("a", "b", "Anna")


def test_a_table_without_any_image_is_refused(cohort, tmp_path):
    (tmp_path / "views.csv").write_text(cohort.read_text())
    with pytest.raises(FileNotFoundError, match="cohort: got .*, must have the image files of at least one exam"):
        CohortViews(tmp_path / "views.csv")
