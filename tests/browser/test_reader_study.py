"""A reader study in JupyterLab and Voila: two readers, a ruler, a killed kernel, and the agreement of notebook 10."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ROOT, _write
from playwright.sync_api import expect

from bac_utils.readings.order import reading_order
from bac_utils.readings.table import read_folder
from bac_utils.simulator.cohort_files import cohort_table, write_views
from bac_utils.simulator.population import draw_women
from bac_utils.views_table import read_views
from bac_utils.widgets import CohortViews

WOMEN = 5  # four views each
SEED = 7
KEYS = ["patient_id", "laterality", "view"]
PANELS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))


@pytest.fixture(scope="module")
def study(root):
    """Return the folder of a study of simulated women, whose table is in `root/study`, and its notebooks."""
    folder = root / "study"
    women = draw_women(WOMEN, 3)
    write_views(women, folder, 0.35, workers=2, truth=False)
    cohort_table(women, 0.35).to_csv(folder / "views.csv", index=False)
    values = {"cohort": "../study/views.csv", "output": "../study/readings", "seed": SEED}
    for reader in ("Anna", "Berta <b>"):
        target = root / "notebooks" / f"09_{reader[:5]}.ipynb"
        _write(ROOT / "notebooks" / "09_reader_study.ipynb", target, values | {"reader": reader})
    _write(ROOT / "notebooks" / "09_reader_study.ipynb", root / "notebooks" / "09_reader_study.ipynb", values)
    return folder


def opened(page):
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    page.locator(".bac-views").focus()
    return page


def canvas(page, index):
    return page.locator(".bac-views canvas").nth(index)


def click(page, index, points, ruler=True):
    """Click points, given as shares of the width and height of a canvas."""
    box = canvas(page, index).bounding_box()
    for x, y in points:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(350)  # two clicks in a row must not be a double click


def length_by_hand(page, views, row, index, points):
    """Compute the length of clicked points from what is known of the screen: size, zoom and centre of the view."""
    prepared = views.originals.prepared(row)
    rows, columns = prepared.pixels.shape
    spacing = prepared.spacing_mm
    box = canvas(page, index).bounding_box()
    zoom = float(canvas(page, index).get_attribute("data-zoom"))
    scale = min(box["width"] / columns, box["height"] / (rows * spacing[0] / spacing[1])) * zoom
    steps = np.diff(np.array(points) * (box["width"], box["height"]), axis=0) / scale * spacing[1]
    return float(np.hypot(*steps.T).sum())


def read_woman(page, views, place, exam, pattern, shoot=None):
    """Label the four views of a woman by key, measuring in BAC+ views; return the lengths by hand."""
    expect(page.locator(".bac-where .bac-place")).to_have_text(str(place + 1))
    lengths = []
    for index, (row, bac) in enumerate(zip(views.rows(exam), pattern, strict=True)):
        page.locator(".bac-views").focus()
        page.keyboard.press(str(index + 1))
        expect(page.locator(".bac-told .bac-view-name")).to_have_text(" ".join(PANELS[index]))
        if not bac:
            page.keyboard.press("x")
            expect(page.locator(".bac-told")).to_contain_text("saved in")
            expect(canvas(page, index)).to_have_attribute("aria-label", re.compile("BAC−"))
            lengths.append(0.0)
            continue
        if index == 3:  # zoomed
            page.keyboard.press("+")
            page.keyboard.press("+")
            expect(canvas(page, index)).to_have_attribute("data-zoom", "2.25")
        page.keyboard.press("m")
        first, second = [(0.4, 0.4), (0.6, 0.45), (0.55, 0.6)], [(0.45, 0.7), (0.5, 0.75)]
        click(page, index, first)
        page.keyboard.press("Enter")
        click(page, index, second)
        expect(canvas(page, index)).to_have_attribute("data-lines", "2")
        if shoot and index == 3:
            shoot(page.locator(".widget-vbox:has(> .bac-canvas)").first, "reader_study")
        page.keyboard.press("Enter")
        page.keyboard.press("m")
        expected = sum(length_by_hand(page, views, row, index, line) for line in (first, second))
        shown = float(canvas(page, index).get_attribute("data-mm"))
        assert shown == pytest.approx(expected, rel=0.01)
        expect(page.locator(".bac-told .bac-mm")).to_have_text(f"{shown:.1f}")
        lengths.append(expected)
        page.keyboard.press("0")
    return lengths


def saved(study, reader):
    table = read_folder(study / "readings")
    return table[table["reader"] == reader].set_index(KEYS)


def test_two_readers_label_20_views_and_one_kernel_is_killed(study, open_lab, lab, page, shoot, homes, record):
    views = CohortViews(study / "views.csv")
    patterns = {
        "Anna": [(1, 0, 1, 0), (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0), (1, 1, 0, 0)],
        "Berta <b>": [(0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 0), (0, 1, 0, 1)],
    }
    truth = {}
    for reader, pattern in patterns.items():
        order = reading_order(views.exams, reader, SEED)
        open_lab(f"09_{reader[:5]}.ipynb")
        opened(page)
        expect(page.locator(".bac-where .bac-reader")).to_have_text(reader)
        for place, exam in enumerate(order):
            if reader == "Anna" and place == 3:  # the kernel is killed in the middle of a woman
                expect(page.locator(".bac-where .bac-place")).to_have_text("4")
                page.locator(".bac-views").focus()
                page.keyboard.press("x")
                expect(page.locator(".bac-where .bac-read-views")).to_have_text("13")
                kernel = page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.id")
                (process,) = (p for p in psutil.process_iter() if f"kernel-{kernel}.json" in " ".join(p.cmdline()))
                process.kill()
                assert len(saved(study, reader)) == 13 and (saved(study, reader)["read_at"] != "").sum() == 13
                page.goto("about:blank")
                open_lab(f"09_{reader[:5]}.ipynb")
                opened(page)
                expect(page.locator(".bac-where .bac-place")).to_have_text("4")
                expect(canvas(page, 0)).to_have_attribute("aria-label", re.compile("BAC−"))
            lengths = read_woman(page, views, place, exam, pattern[place], shoot if place == 2 else None)
            for (side, view), bac, length in zip(PANELS, pattern[place], lengths, strict=True):
                truth[reader, exam[0], side, view] = bac, length
            page.locator(".bac-csbi button").nth(1 + max(pattern[place])).click()
            expect(page.locator(".bac-told")).to_contain_text("saved in")
            page.locator(".bac-views").focus()
            page.keyboard.press("n")
        expect(page.locator(".bac-where .bac-read-views")).to_have_text("20")
    for reader in patterns:
        found = saved(study, reader)
        assert len(found) == 20 and (found["read_at"] != "").all()
        for key, row in found.iterrows():
            bac, length = truth[(reader, *key)]
            assert row["bac"] == bac and row["bac_length_mm"] == pytest.approx(length, rel=0.01)
    out = study / "agreement"
    values = {"cohort": study / "views.csv", "readings": study / "readings", "output": out, "bootstrap_samples": 50}
    source = study / "10.ipynb"
    _write(
        ROOT / "notebooks" / "10_reader_agreement.ipynb",
        source,
        {k: v if k[0] == "b" else str(v) for k, v in values.items()},
    )
    command = [sys.executable, "-m", "papermill", str(source), str(study / "10-done.ipynb"), "--no-progress-bar"]
    subprocess.run(command, env=homes, check=True, capture_output=True)
    agreement = pd.read_csv(out / "agreement.csv").set_index(["what", "measure"])
    labels = [(truth["Anna", *key][0], truth["Berta <b>", *key][0]) for key in found.index]
    same = np.mean([a == b for a, b in labels])
    assert agreement.loc[("bac", "percent agreement"), "value"] == pytest.approx(same) and same < 1
    consensus = read_views(out / "consensus.csv").set_index(KEYS)
    assert len(consensus) == 20
    for key, (a, b) in zip(found.index, labels, strict=True):
        assert consensus.loc[key, "bac"] == a if a == b else np.isnan(consensus.loc[key, "bac"])


def test_blind_in_the_browser(study, open_lab, page):
    """What the page shows and what it keeps has no identifier, age or length of the table."""
    open_lab("09_Anna.ipynb")
    opened(page)
    page.keyboard.press("h")
    page.keyboard.press("o")
    table = pd.read_csv(study / "views.csv", dtype=str)
    text = page.content() + json.dumps(
        page.evaluate("""async () => {
        const manager = jupyterapp.shell.currentWidget.content; return manager.widgets.map(w => w.node.innerText); }""")
    )
    shown = [canvas(page, k).get_attribute("aria-label") for k in range(4)]
    words = set(table["patient_id"]) | set(table["image"])
    assert not any(word in text for word in words)
    assert all(re.fullmatch(r"(R|L) (CC|MLO)\. (BAC[+−]|undecided)?(\nruler [0-9.]+ mm)?", label) for label in shown), (
        shown
    )


def test_ruler_by_keyboard_and_buttons(study, open_lab, page):
    open_lab("09_Berta.ipynb")
    opened(page)
    page.locator(".bac-views").focus()
    page.keyboard.press("Home")
    page.keyboard.press("1")
    page.locator(".bac-clear").click()
    expect(canvas(page, 0)).to_have_attribute("data-lines", "0")
    page.locator(".bac-ruler input").check()
    page.locator(".bac-views").focus()
    page.keyboard.press("Space")
    for _ in range(10):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Space")
    expect(canvas(page, 0)).to_have_attribute("data-lines", "1")
    expect(page.locator(".bac-told .bac-mm")).to_have_text(re.compile(r"[1-9]\d*\.\d"))
    box, mm = canvas(page, 0).bounding_box(), float(canvas(page, 0).get_attribute("data-mm"))
    assert mm == pytest.approx(50 / box["height"] * 240, rel=0.02)  # the canvas shows 240 mm; ten steps of 5 pixels
    page.locator(".bac-finish").click()
    page.locator(".bac-undo").click()
    expect(canvas(page, 0)).to_have_attribute("data-mm", "0.000")
    page.locator(".bac-views").focus()
    page.keyboard.press("Backspace")
    expect(canvas(page, 0)).to_have_attribute("data-lines", "0")
    page.keyboard.press("x")
    expect(page.locator(".bac-told")).to_contain_text("saved in")


def test_an_app_asks_for_the_readers_name(study, page, voila, shoot):
    page.goto(voila("09_reader_study.ipynb", BAC_UTILS_READINGS=str(study / "others")))
    page.locator(".bac-name input").fill("Clara $x$")
    shoot(page.locator(".bac-name").first, "reader_study_name")
    page.locator(".bac-start").click()
    opened(page)
    expect(page.locator(".bac-where .bac-reader")).to_have_text("Clara $x$")
    page.keyboard.press("X")
    expect(page.locator(".bac-where .bac-read-views")).to_have_text("4")
    assert len(read_folder(study / "others")) == 4
    shoot(page.locator(".widget-vbox:has(> .bac-canvas)").first, "reader_study_voila")
