"""The threshold tuner in JupyterLab and in Voila: sliders, operating points, what is kept, and how fast it answers."""

import json
import re
import statistics
from dataclasses import replace

import pandas as pd
import pytest
from playwright.sync_api import expect

from bac_utils.detection import thresholds_by_rule
from bac_utils.widgets import ViewStore

NOTEBOOK = "05_threshold_tuning.ipynb"
LIMIT_MS = 100  # a move must show in this time

# Time from a key to the frame after the last change that it brought about, for each key.
WATCH = """([key, ...watched]) => {
  window.moves = [];
  let start = null;
  addEventListener("keydown", () => { start = performance.now(); window.moves.push(null); }, true);
  const changed = () => requestAnimationFrame(() => {
    if (start !== null) window.moves[window.moves.length - 1] = performance.now() - start;
  });
  const options = { subtree: true, childList: true, characterData: true, attributes: true };
  for (const name of watched) new MutationObserver(changed).observe(document.querySelector(name), options);
}"""


def views(root, split):
    table = pd.read_csv(root / "runs" / "demo" / "predictions.csv")
    return table[table["split"] == split]


def counts(table, threshold):
    called = table["score"] >= threshold
    return {
        "tp": int((called & (table["bac"] == 1)).sum()), "fn": int((~called & (table["bac"] == 1)).sum()),
        "fp": int((called & (table["bac"] == 0)).sum()), "tn": int((~called & (table["bac"] == 0)).sum()),
    }  # fmt: skip


def shown(page):
    return {name: int(page.locator(f".bac-counts .bac-{name}").inner_text()) for name in ("tp", "fn", "fp", "tn")}


def set_slider(page, name, text):
    readout = page.locator(f".{name} .widget-readout")
    readout.fill(text)
    readout.press("Enter")
    expect(readout).to_have_text(text)


@pytest.fixture(params=["lab", "voila"])
def tuner(request, page):
    """Return the page with the tuner, in JupyterLab and in Voila."""
    if request.param == "lab":
        request.getfixturevalue("open_lab")(NOTEBOOK)
    else:
        page.goto(request.getfixturevalue("voila")(NOTEBOOK))
    expect(page.locator(".bac-counts .bac-tp")).to_be_visible(timeout=90_000)
    page.kind, page.ending = request.param, "" if request.param == "lab" else f"_{request.param}"
    return page


def test_sliders_and_keep(tuner, root, shoot):
    page, run, validation = tuner, root / "runs" / "demo", views(root, "validation")
    set_slider(page, "bac-threshold", "0.600")
    expect(page.locator(".bac-counts caption")).to_contain_text("0.600")
    assert shown(page) == counts(validation, 0.6)
    handle = page.locator(".bac-threshold .noUi-handle")
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    expect(page.locator(".bac-counts caption")).to_contain_text("0.605")
    assert shown(page) == counts(validation, 0.605)
    mark = page.locator(".bac-curves .bac-mark").first.get_attribute("data-x")

    page.locator(".bac-rule-sensitivity").click()
    expect(page.locator(".bac-counts caption")).not_to_contain_text("0.605")
    page.wait_for_function("x => document.querySelector('.bac-curves .bac-mark').dataset.x !== x", arg=mark)
    found = shown(page)
    assert found["tp"] / (found["tp"] + found["fn"]) >= 0.9

    # outline and length are those of `score`, at any Th
    store = ViewStore(run)
    index = int(page.locator(".bac-canvas canvas").get_attribute("data-view"))
    threshold = float(page.locator(".bac-threshold .widget-readout").inner_text())
    assert store.table.loc[index, "score"] > threshold + 0.001
    for th in ("0.20", "0.40"):
        set_slider(page, "bac-th", th)
        length = store.measure(index, replace(store.point, threshold=threshold, heatmap_threshold=float(th))).length_mm
        expect(page.locator(".bac-length")).to_have_text(f"{length:.1f}")
        expect(page.locator(".bac-canvas canvas")).to_have_attribute("aria-label", re.compile(f"{length:.1f} mm"))
    expect(page.locator(".bac-canvas canvas")).to_have_attribute("data-polygons", re.compile("[1-9]"))
    expect(page.locator(".bac-rho-value")).to_contain_text("[")
    page.locator(".bac-threshold").scroll_into_view_if_needed()
    shoot(page.locator(".widget-vbox:has(> .bac-threshold)").first, "threshold_tuner" + page.ending)

    (run / "kept_thresholds.json").unlink(missing_ok=True)
    page.locator(".bac-keep").click()
    expect(page.locator(".bac-status")).to_contain_text("saved in kept_thresholds.json")
    kept = json.loads((run / "kept_thresholds.json").read_text(encoding="utf-8"))
    point = json.loads((run / "operating_point.json").read_text(encoding="utf-8"))
    assert (kept["chosen_on"], kept["rule"], kept["heatmap_threshold"]) == ("validation", "sensitivity", 0.4)
    assert kept["threshold"] == pytest.approx(point["threshold"]) and point["heatmap_threshold"] == 0.4
    assert counts(validation, kept["threshold"]) == found


def test_the_papers_button_leaves_th(tuner, root):
    """The paper's Th belongs to another heatmap: the button must not move it, nor save another value than is shown."""
    page, run = tuner, root / "runs" / "demo"
    set_slider(page, "bac-threshold", "0.900")
    set_slider(page, "bac-th", "0.80")
    page.locator(".bac-rule-paper").click()
    expect(page.locator(".bac-status")).to_contain_text("Th stays")
    expect(page.locator(".bac-th .widget-readout")).to_have_text("0.80")
    page.locator(".bac-keep").click()
    expect(page.locator(".bac-status")).to_contain_text("saved in kept_thresholds.json")
    kept = json.loads((run / "kept_thresholds.json").read_text(encoding="utf-8"))
    form = json.loads((run / "operating_point.json").read_text(encoding="utf-8"))["heatmap"]
    assert (kept["rule"], kept["heatmap_threshold"], kept["heatmap"]) == ("paper", 0.8, form)
    exact = thresholds_by_rule(views(root, "validation"), 10, 0)["paper"].threshold
    assert kept["threshold"] == exact  # and not rounded to a step of the slider


def test_the_tuner_opens_before_notebook_04(open_lab, page):
    open_lab(NOTEBOOK.replace(".ipynb", "_early.ipynb"))
    expect(page.locator(".bac-counts .bac-tp")).to_be_visible(timeout=90_000)
    expect(page.locator(".bac-th .widget-readout")).to_have_text("0.30")


def test_no_empty_half(tuner):
    """At 1440 pixels the charts use the width that the page gives them, also beside the view."""
    page = tuner
    view, rho = (page.locator(name).first.bounding_box() for name in (".bac-canvas canvas", ".bac-rho svg"))
    assert rho["x"] > view["x"] + view["width"] and rho["y"] < view["y"] + view["height"]
    panel = page.locator(".widget-vbox:has(> .bac-threshold)").first.bounding_box()
    right = max(page.locator(name).first.bounding_box()["x"] + page.locator(name).first.bounding_box()["width"]
                for name in (".bac-counts table", ".bac-rho svg"))  # fmt: skip
    assert right - panel["x"] > 0.6 * min(panel["width"], 1100)


def test_the_test_set_is_for_looking_only(tuner):
    page = tuner
    page.locator(".bac-set select").select_option(label="test (to look only)")
    expect(page.locator(".bac-counts caption")).to_contain_text("test set")
    expect(page.locator(".bac-keep")).to_be_disabled()
    page.locator(".bac-set select").select_option(label="validation")
    expect(page.locator(".bac-keep")).to_be_enabled()


@pytest.mark.parametrize(
    "slider, watched",
    [("bac-threshold", (".bac-counts", ".bac-curves")), ("bac-th", (".bac-measured", ".bac-rho", ".bac-canvas"))],
)
def test_a_move_shows_in_time(tuner, slider, watched, record_property, capsys):
    page = tuner
    set_slider(page, slider, {"bac-threshold": "0.600", "bac-th": "0.40"}[slider])  # there is room for 15 steps
    handle = page.locator(f".{slider} .noUi-handle")
    handle.focus()
    page.evaluate(WATCH, [slider, *watched])
    for k in range(30):
        handle.press("ArrowRight" if k < 15 else "ArrowLeft")
        page.wait_for_timeout(250)
    times = [t for t in page.evaluate("window.moves") if t is not None][2:]
    assert len(times) >= 25, f"{len(times)} of 28 moves showed"
    median, worst = statistics.median(times), max(times)
    record_property("median_ms", median)
    with capsys.disabled():
        print(f"\n{page.kind}, {slider}: median {median:.0f} ms, largest {worst:.0f} ms of {len(times)} moves")
    assert median <= LIMIT_MS
