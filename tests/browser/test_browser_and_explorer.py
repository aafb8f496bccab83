"""The view browser and the cohort explorer in JupyterLab and in Voila."""

import csv
import re
import statistics

import pandas as pd
import pytest
from playwright.sync_api import expect
from test_tuner import LIMIT_MS, WATCH

from bac_utils.widgets import ViewStore
from bac_utils.widgets.originals import Originals

BROWSER, EXPLORER = "06_view_browser.ipynb", "01_cohort_statistics.ipynb"


@pytest.fixture(params=["lab", "voila"])
def views(request, page):
    """Return the page with the view browser."""
    if request.param == "lab":
        request.getfixturevalue("open_lab")(BROWSER)
    else:
        page.goto(request.getfixturevalue("voila")(BROWSER))
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    page.kind, page.ending = request.param, "" if request.param == "lab" else f"_{request.param}"
    return page


def woman(page):
    return page.locator(".bac-where .bac-woman")


def cells(page):
    """Return the number of cells in JupyterLab: keys of the views must not reach the notebook."""
    return page.locator(".jp-Notebook .jp-Cell").count()


def test_walk_by_key(views, root, shoot):
    page, cells_before = views, cells(views)
    table = pd.read_csv(root / "runs" / "demo" / "predictions.csv", dtype={"patient_id": str})
    women = sorted(table.loc[table["split"] == "test", "patient_id"].unique())
    expect(woman(page)).to_have_text(women[0])
    expect(page.locator(".bac-where .bac-women")).to_have_text(str(len(women)))
    titles = [page.locator(".bac-views canvas").nth(k).get_attribute("aria-label")[:5] for k in range(4)]
    assert [t.strip(".") for t in titles] == ["R CC.".strip("."), "L CC", "R MLO", "L MLO"]
    page.locator(".bac-views").focus()
    for key, place in (("ArrowRight", 1), ("n", 2), ("ArrowLeft", 1), ("End", len(women) - 1), ("Home", 0)):
        page.keyboard.press(key)
        expect(woman(page)).to_have_text(women[place])
    for key in ("d", "d", "a", "0", "0", "x", "1"):
        page.keyboard.press(key)
    assert cells(page) == cells_before
    assert page.locator(".jp-Dialog").count() == 0


def test_outcome_filter_zoom_and_window(views, shoot):
    page = views
    page.locator(".bac-outcome button", has_text="TP").click()
    expect(page.locator(".bac-view.bac-selected canvas")).to_have_attribute("aria-label", re.compile("TP"))
    shoot(page.locator(".widget-vbox:has(> .bac-canvas)").first, "view_browser" + page.ending)
    canvas = page.locator(".bac-view.bac-selected canvas")
    expect(canvas).to_have_attribute("data-polygons", re.compile("^[1-9]"))
    page.locator(".bac-views").focus()
    for _ in range(4):
        page.keyboard.press("+")
    expect(canvas).to_have_attribute("data-zoom", "5.06")
    expect(canvas).to_have_attribute("data-sharp", "1", timeout=20_000)
    shoot(page.locator(".bac-views"), "view_browser_zoomed" + page.ending)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 260, steps=4)
    page.mouse.up()
    expect(page.locator(".bac-width .widget-readout")).to_have_text("6.00")
    page.keyboard.press("]")
    expect(page.locator(".bac-width .widget-readout")).to_have_text("6.25")
    page.keyboard.press("0")
    expect(canvas).to_have_attribute("data-zoom", "1.00")
    expect(page.locator(".bac-width .widget-readout")).to_have_text("6.00")
    page.keyboard.press("h")
    expect(page.locator(".bac-opacity .widget-readout")).to_have_text("0.00")
    page.keyboard.press("o")
    expect(page.locator(".bac-outlined input")).not_to_be_checked()


def centre(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_right_drag_sets_the_window_and_opens_no_menu(views):
    page = views
    x, y = centre(page.locator(".bac-views canvas").first)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up(button="right")
    expect(page.locator(".bac-width .widget-readout")).to_have_text("7.00")
    page.wait_for_timeout(300)
    assert page.locator(".lm-Menu").count() == 0


def test_double_click_and_button_reset_zoom_and_window(views):
    page = views
    canvas = page.locator(".bac-views canvas").first
    for reset in (lambda: page.mouse.dblclick(*centre(canvas)), lambda: page.locator(".bac-reset").click()):
        page.locator(".bac-views").focus()
        page.keyboard.press("1")
        for key in ("+", "+", "]", "."):
            page.keyboard.press(key)
        expect(canvas).to_have_attribute("data-zoom", "2.25")
        expect(page.locator(".bac-width .widget-readout")).to_have_text("6.25")
        reset()
        expect(canvas).to_have_attribute("data-zoom", "1.00")
        expect(page.locator(".bac-width .widget-readout")).to_have_text("6.00")
        expect(page.locator(".bac-centre .widget-readout")).to_have_text("1.00")


def test_linked_zoom_and_one_to_one(views, root):
    page, store = views, ViewStore(root / "runs" / "demo")
    first, last = page.locator(".bac-views canvas").first, page.locator(".bac-views canvas").last
    page.locator(".bac-views").focus()
    page.keyboard.press("1")
    page.keyboard.press("+")
    expect(first).to_have_attribute("data-zoom", "1.50")
    expect(last).to_have_attribute("data-zoom", "1.00")
    page.keyboard.press("0")
    page.locator(".bac-linked input").check()
    page.locator(".bac-views").focus()
    page.keyboard.press("+")
    expect(first).to_have_attribute("data-zoom", "1.50")
    expect(last).to_have_attribute("data-zoom", "1.50")
    page.locator(".bac-linked input").uncheck()
    page.locator(".bac-reset").click()
    expect(first).to_have_attribute("data-zoom", "1.00")
    page.locator(".bac-views").focus()
    page.keyboard.press("+")
    expect(first).to_have_attribute("data-zoom", "1.50")
    page.locator(".bac-actual").click()
    # pixels of the original over those of the screen, where the view fills its canvas; it is never smaller than that
    scale = Originals(store, store.point.pixel_mm).scale(int(first.get_attribute("data-view")))
    width, height = (int(first.get_attribute(side)) for side in ("width", "height"))
    fit = min(width / store.shape[1], height / store.shape[0])
    expect(first).to_have_attribute("data-zoom", f"{max(1, scale / fit):.2f}", timeout=20_000)
    expect(last).to_have_attribute("data-zoom", "1.00")


def test_the_browser_opens_before_notebook_04(open_lab, page):
    open_lab(BROWSER.replace(".ipynb", "_early.ipynb"))
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)


def test_lengths_are_those_of_the_operating_point(views, root):
    page, store = views, ViewStore(root / "runs" / "demo")
    page.locator(".bac-outcome button", has_text="TP").click()
    canvas = page.locator(".bac-view.bac-selected canvas")
    expect(canvas).to_have_attribute("aria-label", re.compile("TP"))
    index = int(canvas.get_attribute("data-view"))
    found = store.measure(index, store.point)
    assert found.length_mm > 0
    expect(canvas).to_have_attribute("aria-label", re.compile(f"{found.length_mm:.1f} mm, {found.area_mm2:.1f} mm²"))


def test_the_app_shows_the_run_that_it_is_given(page, voila, root):
    page.goto(voila(BROWSER, BAC_UTILS_RUN=str(root / "runs" / "early")))
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    expect(page.locator(".bac-where .bac-women")).to_have_text("6")  # women of the test set of the small run


def test_notes_are_in_the_file_at_once(views, root):
    page, path = views, root / "runs" / "demo" / "reader_notes.csv"
    path.unlink(missing_ok=True)
    page.locator(".bac-views").focus()
    page.keyboard.press("Home")
    page.keyboard.press("3")
    expect(page.locator(".bac-noted b")).to_contain_text("R MLO")
    note = f"ring, not an artery ({page.kind})"
    page.locator(".bac-note textarea").fill(note)
    expect(page.locator(".bac-noted")).to_contain_text("saved in reader_notes.csv")
    page.locator(".bac-label select").select_option(label="unsure")
    page.wait_for_timeout(500)
    with open(path, newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    found = row["patient_id"], row["laterality"], row["view"], row["corrected_label"], row["note"]
    assert found == (woman(page).inner_text(), "R", "MLO", "unsure", note)


def test_the_next_woman_shows_in_time(views, capsys):
    page = views
    page.locator(".bac-views").focus()
    page.evaluate(WATCH, ["", ".bac-where", ".bac-views"])
    for _ in range(15):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(500)
    times = [t for t in page.evaluate("window.moves") if t is not None][2:]
    with capsys.disabled():
        print(f"\n{page.kind}, next woman: median {statistics.median(times):.0f} ms, largest {max(times):.0f} ms")
    assert statistics.median(times) <= 10 * LIMIT_MS  # four views travel


def test_cohort_explorer(open_lab, root, shoot):
    page = open_lab(EXPLORER)
    table = pd.read_csv(root / "runs" / "demo" / "cohort.csv")
    women = table[table["split"] != "quantification"].groupby("patient_id").agg({"age": "first", "bac": "max"})
    count = page.locator(".bac-told .bac-women")
    expect(count).to_have_text(str(len(women)))
    page.locator(".bac-group select").select_option(label="set")
    expect(page.locator(".bac-groups [data-key=validation]").first).to_be_visible()
    page.locator(".bac-group select").select_option(label="age class")
    bars = page.locator(".bac-histogram [data-key]")
    first, last = page.locator(".bac-histogram [data-key='60']"), page.locator(".bac-histogram [data-key='65']")
    assert bars.count() >= 7
    start, end = first.bounding_box(), last.bounding_box()
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + 40)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + 60, steps=5)
    page.mouse.up()
    picked = women[women["age"].between(60, 69)]
    expect(count).to_have_text(str(len(picked)))
    expect(page.locator(".bac-told .bac-bac-women")).to_have_text(str(int(picked["bac"].sum())))
    shoot(page.locator(".widget-vbox:has(> .bac-told)").first, "cohort_explorer")
    bars.first.focus()
    page.keyboard.press("Enter")
    low = int(bars.first.get_attribute("data-key"))
    expect(count).to_have_text(str(int(women["age"].between(low, low + 4).sum())))
    page.locator(".bac-clear").click()
    expect(count).to_have_text(str(len(women)))
