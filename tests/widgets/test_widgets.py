"""Each callback of the widgets, called as a browser would, without one."""

import base64
import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from finished_run import make_run
from PIL import Image

from bac_utils.detection import RULES, detection_metrics
from bac_utils.detector import kept_thresholds, load_point, save_point
from bac_utils.settings import PAPER_HEATMAP_THRESHOLD
from bac_utils.statistics import wilson
from bac_utils.views_table import check_views, read_views
from bac_utils.widgets import CohortExplorer, ThresholdTuner, ViewStore, open_browser, open_tuner, originals, svg
from bac_utils.widgets.base import HEADLESS
from bac_utils.widgets.browser import ViewBrowser
from bac_utils.widgets.canvas import STATIC, Picture, ViewCanvas, grey_levels, on_levels
from bac_utils.widgets.explorer import group_summary, women_with_burden
from bac_utils.widgets.hanging import HANGING
from bac_utils.widgets.originals import Originals
from bac_utils.widgets.reader_notes import ReaderNotes
from bac_utils.widgets.tuning import LengthTuner


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def store(run):
    return ViewStore(run)


@pytest.fixture(scope="module")
def tuner(run):
    return open_tuner(run, samples=30)


@pytest.fixture
def browser(run):
    (run / "reader_notes.csv").unlink(missing_ok=True)
    return open_browser(run)


def test_a_move_of_the_detection_threshold(tuner, store):
    part = store.table[store.table["split"] == "validation"]
    for threshold in (0.2, 0.6):
        tuner.threshold.value = threshold
        expected = detection_metrics(part["bac"], part["score"], threshold)
        for name in ("tp", "fp", "fn", "tn"):
            assert f'<b class="bac-{name}">{expected[name]}</b>' in tuner.counts.html
        assert f"<td class='bac-recall'>{expected['recall']:.3f}</td>" in tuner.counts.html
        assert tuner.curves.html.count("bac-mark") == 2


def test_buttons_of_the_operating_points(tuner):
    tuner.heat_threshold.value = 0.8
    for rule in RULES:
        tuner.rules[rule].click()
        assert tuner.threshold.value == tuner.points[rule].threshold
        assert tuner.heat_threshold.value == 0.8  # also after the paper's: its Th belongs to another heatmap
    assert "0.3 belongs to Grad-CAM++ over its per-image maximum" in tuner.status.value
    tuner.curves._answer(None, {"type": "pick", "from": "youden", "to": "youden"}, [])
    assert tuner.threshold.value == tuner.points["youden"].threshold
    assert all(title in tuner.table.value for title in RULES.values())


def test_the_threshold_of_a_rule_is_kept_although_the_slider_rounds_it(tmp_path):
    """A slider in a browser returns a value that Python has set, rounded to its step."""
    run = make_run(tmp_path / "run", women=12, shape=(160, 80))
    tuner = open_tuner(run, samples=10)
    tuner.threshold.value = 0.9
    exact = tuner.points["youden"].threshold
    tuner.choose_rule("youden")
    tuner.threshold.value = round(exact, 3)
    assert tuner.point.threshold == exact != round(exact, 3)
    tuner.keep_now()
    assert (kept_thresholds(run).threshold, kept_thresholds(run).rule) == (exact, "youden")
    tuner.threshold.value = round(exact, 3) + 0.001  # a move by one step
    assert tuner.point.threshold == tuner.threshold.value
    tuner.keep_now()
    assert kept_thresholds(run).rule == "by hand"


def test_the_papers_button_sets_its_th_for_its_own_heatmap(tmp_path):
    run = make_run(tmp_path / "run", women=12, shape=(160, 80), subset=False, form="per-image-maximum")
    tuner = open_tuner(run, samples=10)
    tuner.heat_threshold.value = 0.8
    tuner.rules["paper"].click()
    assert tuner.heat_threshold.value == PAPER_HEATMAP_THRESHOLD
    tuner.keep.click()
    kept = kept_thresholds(run)
    assert (kept.rule, kept.heatmap_threshold, kept.heatmap) == ("paper", 0.3, "per-image-maximum")


def test_a_move_of_the_heatmap_threshold(tuner, store):
    row = tuner.view.value
    tuner.threshold.value = 0.4
    shown = []
    for th in (0.2, 0.5):
        tuner.heat_threshold.value = th
        found = store.measure(row, replace(store.point, threshold=0.4, heatmap_threshold=th))
        assert f"<b class='bac-area'>{found.area_mm2:.1f}</b> mm²" in tuner.measured.value
        assert f"<b class='bac-length'>{found.length_mm:.1f}</b> mm" in tuner.measured.value
        assert f"{LengthTuner(store, 'validation', 5).rho(0.4, th)[0]:.2f}" in tuner.rho.html
        assert f"{found.length_mm:.1f} mm" in tuner.canvas.texts[0]
        shown.append(tuner.canvas.outlines[0])
    assert shown[0] and shown[1]
    tuner.heat_threshold.value = 0.98
    assert tuner.canvas.outlines == [[]] and "no artery could be traced" in tuner.measured.value
    tuner.threshold.value, tuner.heat_threshold.value = 1.0, 0.2
    assert tuner.canvas.outlines == [[]] and "BAC−" in tuner.measured.value  # nothing is measured below the threshold


def test_keep_writes_what_the_sliders_say(tuner, run):
    tuner.threshold.value, tuner.heat_threshold.value = 0.612, 0.44
    tuner.keep.click()
    kept = kept_thresholds(run)
    assert (kept.threshold, kept.heatmap_threshold, kept.rule) == (0.612, 0.44, "by hand")
    assert kept.heatmap == "local-logits"
    assert "saved in kept_thresholds.json" in tuner.status.value
    tuner.rules["youden"].click()
    tuner.keep.click()
    assert kept_thresholds(run).rule == "youden"
    again = ThresholdTuner(ViewStore(run), samples=20)  # it begins with them
    assert (again.threshold.value, again.heat_threshold.value) == (tuner.threshold.value, 0.44)


def test_nothing_is_kept_while_a_held_out_set_is_shown(tuner, run):
    before = (run / "kept_thresholds.json").read_bytes() if (run / "kept_thresholds.json").is_file() else None
    tuner.shown_set.value = "test"
    assert tuner.keep.disabled and "not chosen on test" in tuner.status.value
    tuner.keep_now()
    tuner.shown_set.value = "validation"
    tuner.length_set.value = "quantification"
    assert tuner.keep.disabled and "6 MLO views" in tuner.rho.html
    tuner.length_set.value = "validation"
    assert not tuner.keep.disabled
    after = (run / "kept_thresholds.json").read_bytes() if (run / "kept_thresholds.json").is_file() else None
    assert after == before
    tuner.keep.click()
    assert {"quantification", "test"} <= set(kept_thresholds(run).sets_seen)


def test_the_test_set_is_no_choosing_set(store):
    with pytest.raises(ValueError, match="chosen_on: got 'test', must be one of validation, train"):
        ThresholdTuner(store, 10, chosen_on="test")


def test_without_heatmaps(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", women=12, shape=(160, 80), subset=False)
    (run / "heatmaps.npz").unlink()
    tuner, browser = open_tuner(run, samples=10), open_browser(run)
    assert tuner.view.value is None and "No set with heatmaps and known lengths" in tuner.rho.html
    browser.split.value, browser.outcomes.value = "all", "TP"
    assert "no heatmap was saved" in browser.canvas.texts[browser.canvas.selected]
    assert browser.canvas.outlines == [[]] * 4
    tuner.heat_threshold.value = browser.heat_threshold.value = 0.5
    monkeypatch.setenv(HEADLESS, "1")
    assert all("image/png" in widget._repr_mimebundle_() for widget in (tuner, browser))


def test_a_set_without_heatmaps_shows_no_view(run):
    tuner = open_tuner(run, samples=10)
    assert tuner.canvas.views and tuner.measured.value
    tuner.shown_set.value = "train"
    assert tuner.view.value is None and tuner.canvas.views == [] and "No heatmaps" in tuner.measured.value
    tuner.threshold.value = 0.3  # the view of the set before does not come back
    assert tuner.canvas.views == []
    tuner.shown_set.value = "validation"
    assert tuner.canvas.views


def test_moving_th_alone_leaves_the_rule_of_the_detection_threshold(tmp_path):
    run = make_run(tmp_path / "run", women=12, shape=(160, 80))
    save_point(run, replace(load_point(run), threshold=open_tuner(run, samples=10).points["youden"].threshold))
    tuner = open_tuner(run, samples=10)
    tuner.heat_threshold.value = 0.5
    tuner.keep_now()
    assert kept_thresholds(run).rule == "youden"


def test_the_view_of_the_tuner(tuner):
    label, row = tuner.view.options[-1]
    tuner.view.value = row
    assert tuner.canvas.views[0]["key"] == str(row) and label.startswith(tuner._store.table.loc[row, "patient_id"])


def test_hanging(browser, store):
    assert [view["title"] for view in browser.canvas.views] == ["R CC", "L CC", "R MLO", "L MLO"]
    assert [view["mirror"] for view in browser.canvas.views] == [True, False, True, False]
    for index, view, tile, (side, _) in zip(
        browser._rows, browser.canvas.views, browser.canvas.tiles, HANGING, strict=True
    ):
        grey = np.frombuffer(tile, "<u2").reshape(view["rows"], view["columns"])
        inside = store.pixels(index) != 0
        assert ((grey > 0) <= (inside[:, ::-1] if side == "R" else inside)).all()
        wall = grey[:, -5:] if side == "R" else grey[:, :5]  # chest walls meet in the middle
        assert wall.mean() > grey.mean()


def test_next_and_previous(browser):
    assert browser.women == sorted(browser.women) and browser.place == 0
    browser.next.click()
    assert browser.place == 1
    for key, place in (
        ("ArrowRight", 2),
        ("p", 1),
        ("End", len(browser.women) - 1),
        ("n", len(browser.women) - 1),
        ("Home", 0),
    ):
        browser.canvas._answer(None, {"type": "key", "key": key}, [])
        assert browser.place == place
    assert f"<b class='bac-woman'>{browser.women[0]}</b>" in browser.where.value
    browser.previous.click()
    assert browser.place == 0


def test_filters(browser):
    table = browser._table
    browser.split.value = "all"
    for name in ("TP", "FP", "FN", "TN"):
        browser.outcomes.value = name
        assert browser.women == sorted(table.loc[table["outcome"] == name, "patient_id"].unique())
        for place in range(len(browser.women)):
            browser.go(place)
            assert table.loc[browser._rows[browser.canvas.selected], "outcome"] == name
    browser.outcomes.value = "all"
    browser.ages.value = (60, 70)
    assert set(browser.women) == set(table.loc[table["age"].between(60, 70), "patient_id"])
    browser.ages.value = (browser.ages.min, browser.ages.max)
    browser.burden.value = (5, browser.burden.max)
    assert set(browser.women) == set(table.loc[table["burden"] >= 5, "patient_id"])
    browser.outcomes.value, browser.burden.value = "TN", (browser.burden.max, browser.burden.max)
    assert browser.women == [] and "No woman fits" in browser.where.value and browser.label.disabled


def test_each_exam_of_a_woman_is_shown_on_its_own(run):
    """CC views of one exam and MLO views of another are two sets of two views, with their own notes."""
    store = ViewStore(run)
    hers = store.table["patient_id"] == "W0000"
    store.table.loc[hers, "exam"] = np.where(store.table.loc[hers, "view"] == "CC", "A", "B")
    browser = ViewBrowser(store)
    browser.split.value = "all"
    first = browser.women.index("W0000")
    assert browser.women[first : first + 3].count("W0000") == 2
    for place, exam, shown in ((first, "A", [True, True, False, False]), (first + 1, "B", [False, False, True, True])):
        browser.go(place)
        assert [index is not None for index in browser._rows] == shown
        assert f"W0000</b>, exam {exam}, " in browser.where.value
        browser.canvas.selected = shown.index(True)
        browser.note.value = f"note {exam}"
    notes = ReaderNotes(run)
    assert notes.get("W0000", "R", "CC", "A").note == "note A" and notes.get("W0000", "R", "MLO", "B").note == "note B"
    assert notes.get("W0000", "R", "CC").note == ""


@pytest.mark.parametrize("known", [False, True])
def test_browser_with_unknown_ages(run, known):
    store = ViewStore(run)
    store.table["age"] = store.table["age"].mask(
        store.table["patient_id"] == "W0000" if known else store.table["age"] > 0
    )
    browser = ViewBrowser(store)
    browser.split.value = "all"
    assert "W0000" in browser.women and browser.ages.layout.display == (None if known else "none")
    browser.go(browser.women.index("W0000"))
    assert "</b>, age unknown, " in browser.where.value
    if known:
        browser.ages.value = (browser.ages.min, browser.ages.max - 1)
        assert browser.women and "W0000" not in browser.women


def test_outline_and_length_follow_th(browser, store):
    browser.split.value, browser.outcomes.value = "test", "TP"
    place = browser.canvas.selected
    row = browser._rows[place]
    for th in (0.2, 0.4):
        browser.heat_threshold.value = th
        found = store.measure(row, replace(store.point, heatmap_threshold=th))
        assert f"{found.length_mm:.1f} mm, {found.area_mm2:.1f} mm²" in browser.canvas.texts[place]
        assert browser.canvas.outlines[place]
    browser.heat_threshold.value = 0.98
    assert browser.canvas.outlines == [[]] * 4


@pytest.mark.parametrize("th", [0.05, 0.333, 0.99])
def test_a_th_beyond_or_between_the_steps_of_the_slider_is_kept(tmp_path, th):
    """Tuner and browser open at the run's own operating point, so that they show the lengths of its tables."""
    run = make_run(tmp_path / "run", women=12, shape=(160, 80))
    save_point(run, replace(load_point(run), threshold=0.4321, heatmap_threshold=th))
    tuner, browser = open_tuner(run, samples=10), open_browser(run)
    assert tuner.point == browser.point == load_point(run)


def test_one_to_one_is_one_pixel_of_the_original(browser, store):
    sent = []
    browser.canvas.send = lambda message, buffers=None: sent.append(message)
    browser.actual.click()
    browser._worker.submit(lambda: None).result(10)
    (message,) = sent
    assert (message["type"], message["index"]) == ("actual", browser.canvas.selected)
    # the run's images have pixels of 0.5 mm, and so have its prepared views
    assert message["scale"] == pytest.approx(1, abs=0.02)
    browser.whole.click()
    assert sent[-1] == {"type": "reset"}


def test_notes_go_to_the_file_at_once(browser, run):
    browser.split.value = "test"
    browser.canvas.selected = 2
    browser.note.value = 'fold, "not" BAC\nsecond line'
    browser.label.value = "BAC-"
    with open(run / "reader_notes.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["laterality"], row["view"], row["corrected_label"]) == ("R", "MLO", "BAC-")
    assert row["note"] == 'fold, "not" BAC\nsecond line' and row["changed"].endswith("+00:00")
    browser.go(1)
    assert browser.note.value == "" and browser.label.value == ""
    browser.go(0)
    browser.canvas.selected = 2
    assert (browser.label.value, browser.note.value) == ("BAC-", 'fold, "not" BAC\nsecond line')
    assert ReaderNotes(run).get(row["patient_id"], "R", "MLO").corrected_label == "BAC-"


@pytest.mark.parametrize(
    ("turned", "turn"),
    [(np.transpose, (True, False, False)), (lambda image: image[::-1, ::-1], (False, True, True))],
)
def test_the_original_of_a_turned_image_is_upright(store, monkeypatch, turned, turn):
    mammogram = originals.read_view(store.table.loc[0])
    upright = Originals(store, 0.5).part(0, (10, 60, 40, 120), (600, 300), False, (-2, 4))
    turn = (*turn[:2], turn[2] != (mammogram.laterality == "R"))  # the chest wall of a right view is on the right
    view = replace(mammogram, pixels=np.ascontiguousarray(turned(mammogram.pixels)), turn=turn)
    monkeypatch.setattr(originals, "read_view", lambda row: view)
    found = Originals(store, 0.5).part(0, (10, 60, 40, 120), (600, 300), False, (-2, 4))
    np.testing.assert_array_equal(found[0], upright[0])
    assert found[1] == upright[1]


def test_sharpening_sends_the_original(browser, store):
    sent = []
    browser.canvas.send = lambda message, buffers: sent.append((message, buffers[0]))
    for index, view in enumerate(browser.canvas.views):
        asked = {
            "type": "sharpen",
            "view": view["key"],
            "index": index,
            "rect": [10.0, 60.0, 40.0, 120.0],
            "size": [600, 300],
        }
        browser.sharpen(asked).result(10)
        message, buffer = sent.pop()
        grey = np.frombuffer(buffer, "<u2").reshape(message["size"])
        x0, y0, x1, y1 = (round(n) for n in message["rect"])
        assert x0 <= 10 and y0 <= 60 and x1 >= 40 and y1 >= 120
        tile = np.frombuffer(browser.canvas.tiles[index], "<u2").reshape(view["rows"], view["columns"])[y0:y1, x0:x1]
        inside = tile > 0
        assert grey.shape == tile.shape and inside.sum() > 100  # the same spacing here, so the same pixels
        assert np.corrcoef(grey[inside], tile[inside])[0, 1] > 0.9
    assert browser.sharpen({"view": "another", "index": 0, "rect": [0, 0, 1, 1], "size": [1, 1]}) is None
    with pytest.raises(ValueError, match="rect: got"):
        Originals(store, 0.5).part(0, (-900, -900, -800, -800), (10, 10), False, (0, 1))


def test_outcome_counts(browser, store):
    counts = browser.outcome_counts()
    assert sum(sum(found.values()) for found in counts.values()) == len(store.table)


def test_levels():
    pixels = np.array([[0, -2.0], [1.0, 3.0]])
    grey, levels = grey_levels(pixels)
    assert levels == [-2.0, 3.0] and grey.tolist() == [[0, 0], [39321, 65535]]
    assert on_levels(np.array([-9.0, 9.0]), levels).tolist() == [0, 65535]
    assert grey_levels(np.zeros((2, 2)))[0].max() == 0


def test_mirrored_outlines():
    canvas = ViewCanvas()
    view = {"key": "1", "title": "R CC", "text": "", "pixels": np.ones((4, 10)), "heat": None, "spacing_mm": (2.0, 1.0)}
    square = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 2.0]])
    canvas.show([view | {"mirror": True, "outline": [square]}])
    assert canvas.outlines == [[[9.0, 1.0, 7.0, 1.0, 7.0, 2.0]]]
    assert (canvas.views[0]["aspect"], canvas.views[0]["row_mm"]) == (2.0, 2.0)
    canvas.update([[square + 1]], ["12 mm"])
    assert canvas.outlines == [[[8.0, 2.0, 6.0, 2.0, 6.0, 3.0]]] and canvas.texts == ["12 mm"]


@pytest.fixture
def explorer(run):
    views = read_views(run / "views.csv")
    return CohortExplorer(views[views["split"] != "quantification"], (60, 70, 73))


def test_explorer_counts_who_is_picked(explorer):
    women = explorer._women
    explorer.pick_ages("60", "65", False)
    picked = women[women["age"].between(60, 69)]
    assert f"<b class='bac-women'>{len(picked)}</b>" in explorer.told.value
    assert f"<b class='bac-bac-women'>{int(picked['bac'].sum())}</b> BAC+" in explorer.told.value
    explorer.pick_ages("75", "75", True)
    assert explorer.ages.value == (60, 79)
    explorer.group.value = "set"
    explorer.groups._answer(None, {"type": "pick", "from": "test", "to": "test", "add": False}, [])
    assert explorer.picked == {"test"} and (explorer.chosen()["split"] == "test").all()
    explorer.pick_group("train", "train", True)
    assert explorer.picked == {"test", "train"}
    explorer.pick_group("train", "train", True)
    explorer.clear()
    assert len(explorer.chosen()) == len(women) and explorer.picked == set()
    explorer.histogram._answer(None, {"type": "pick", "from": "85", "to": "80"}, [])
    assert explorer.ages.value == (80, min(89, explorer.ages.max))


def test_explorer_with_unknown_ages(run, monkeypatch):
    """Women without an age are shown until an age range is selected, and are a group of their own."""
    views = read_views(run / "views.csv")
    views = views[views["split"] != "quantification"]
    ageless = views["patient_id"].isin(["W0000", "W0001", "W0002"])  # BAC+, BAC+ and BAC-
    explorer = CohortExplorer(views.assign(age=views["age"].mask(ageless)), (60, 70, 73))
    everyone = views["patient_id"].nunique()
    assert len(explorer.chosen()) == everyone and "age unknown: 3" in explorer.told.value
    groups = explorer.by_group()
    assert list(groups)[-1] == "unknown" and sum(group["women"] for group in groups.values()) == everyone
    assert (groups["unknown"]["women"], groups["unknown"]["bac_women"]) == (3, 2)
    assert groups["unknown"]["age_median"] is None
    explorer.pick_group("unknown", "unknown", False)
    assert set(explorer.chosen()["patient_id"]) == {"W0000", "W0001", "W0002"}
    explorer.clear()
    explorer.pick_ages(str(explorer.ages.min // 5 * 5), "75", False)
    assert explorer.ages.value[1] < explorer.ages.max and explorer.chosen()["age"].notna().all()
    monkeypatch.setenv(HEADLESS, "1")
    explorer._repr_mimebundle_()


def test_explorer_without_ages(run, monkeypatch):
    views = read_views(run / "views.csv").assign(age=np.nan)
    explorer = CohortExplorer(views[views["split"] != "quantification"], (60, 70, 73))
    assert "age class" not in explorer.group.options and explorer.group.value == "set"
    assert explorer.histogram.html == "" and "nan" not in explorer.told.value + explorer.groups.html
    assert len(explorer.chosen()) == 24 and "all women" in explorer.told.value
    explorer.pick_group("test", "test", False)
    assert len(explorer.chosen()) == 6
    monkeypatch.setenv(HEADLESS, "1")
    assert "image/png" in explorer._repr_mimebundle_()
    assert len(explorer.figure().axes) == 2


def test_group_summary_by_hand():
    women = pd.DataFrame({"age": [50, 60, 70, 80], "bac": [0, 1, 1, 1], "burden_mm": [0, 10.0, 30.0, np.nan]})
    found = group_summary(women)
    assert (found["women"], found["bac_women"], found["prevalence"]) == (4, 3, 0.75)
    assert found["prevalence_ci"] == wilson(3, 4) and found["age_median"] == 65
    assert (found["burden_women"], found["burden_median"], found["burden_iqr"]) == (2, 20, (15, 25))
    assert group_summary(women[:0])["prevalence"] is None


def test_burden_is_the_sum_of_a_womans_views(run):
    views = read_views(run / "views.csv")
    women = women_with_burden(views).set_index("patient_id")["burden_mm"]
    sums = views.groupby("patient_id")["bac_length_mm"].sum()
    assert women["W0000"] == pytest.approx(sums["W0000"])
    assert women_with_burden(check_views(views.drop(columns=["bac_length_mm", "image_path"])))["burden_mm"].isna().all()


def test_headless_is_a_figure(tuner, browser, explorer, monkeypatch):
    monkeypatch.setenv(HEADLESS, "1")
    for widget in (tuner, browser, explorer):
        bundle = widget._repr_mimebundle_()
        assert set(bundle) == {"image/png", "text/plain"}
        image = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
        assert image.width > 600
    monkeypatch.delenv(HEADLESS)
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "image/png" in bundle


def test_pictures_escape_their_words():
    axes = svg.Axes("a < b", ("x", 0, 1), ("y", 0, 1))
    axes.spot(0.5, 0.5, "k&", '"quoted"')
    axes.line([0, np.nan, 1], [0, 0, 1])
    text = axes.svg()
    assert "a &lt; b" in text and "k&amp;" in text and "&quot;quoted&quot;" in text and "nan" not in text
    assert Picture(html=text).html == text


def test_the_scripts_come_with_the_package():
    assert {p.name for p in STATIC.iterdir()} == {"picture.js", "picture.css", "view_canvas.js", "view_canvas.css"}
    for path in STATIC.iterdir():
        assert "http" not in path.read_text(encoding="utf-8")  # nothing is fetched


def test_nothing_identifying_but_the_identifier(browser):
    shown = json.dumps([browser.canvas.views, browser.canvas.texts]) + browser.where.value + browser.noted.value
    assert "images/" not in shown and ".png" not in shown
