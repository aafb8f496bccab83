"""Identifiers that pandas, Matplotlib, spreadsheets or web pages could take for something else."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from finished_run import make_run

from bac_utils import plots, view_plots
from bac_utils.run_folder import KEYS, read_rows
from bac_utils.views_table import read_views

NAMES = [
    "None", "N/A", "null", "<NA>", "NaN", "n/a", "-nan", "1.#IND", "TRUE", "1,2", '"q"', "007", "_u_", "1e5", "+1",
    "@x;y", "NULL", "nan", "\U0001f600", "\u202eRTL", "<b>x</b>", "NA", "a$b", r"$x_{",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run", women=len(NAMES), shape=(160, 80), names=NAMES)


def test_all_tables_of_a_run_keep_them(run):
    assert list(read_rows(run / "predictions.csv")["patient_id"].unique()) == NAMES
    assert list(read_views(run / "views.csv")["patient_id"].unique())[: len(NAMES)] == NAMES
    quantified = read_rows(run / "quantification.csv")
    assert set(quantified["patient_id"]) <= {f"Q{name}" for name in NAMES}
    assert quantified["score"].dtype == float and (quantified["exam"] == "").all()


def test_unknown_numbers_stay_unknown(tmp_path):
    table = pd.DataFrame(
        {"patient_id": ["NA", "1"], "exam": ["", "nan"], "laterality": "L", "view": "CC", "length": [None, 0.1 + 0.2]}
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read_rows(tmp_path / "a.csv")
    assert found["exam"].tolist() == ["", "nan"]
    assert found["length"].isna().tolist() == [True, False] and found["length"][1] == 0.1 + 0.2


def test_tuner_and_browser_show_them(run, monkeypatch, no_display_and_no_trace):
    from bac_utils.widgets import open_browser, open_tuner

    monkeypatch.setenv("BAC_UTILS_HEADLESS", "1")
    assert open_tuner(run, 20, 1).figure()
    browser = open_browser(run)
    shown = {}
    for place, name in enumerate(browser.women):
        if name in ("NA", "a$b", r"$x_{"):
            browser.go(place)
            figure = browser.figure()
            figure.draw_without_rendering()
            shown[name] = figure.get_suptitle().split(",")[0]
            plt.close(figure)
    assert shown == {name: f"Woman {name}" for name in ("NA", "a$b", r"$x_{")}


@pytest.mark.parametrize("name", ["a$b", r"$x_{", "<b>x</b>", "\U0001f600"])
def test_figures_draw_them_as_they_are(name, no_display_and_no_trace):
    pixels = (pd.DataFrame(range(64)).to_numpy() + range(32)).astype(float)
    figure = view_plots.gallery([(name, [{"pixels": pixels, "title": name}])], columns=1)
    other = view_plots.outlined_views([{"pixels": pixels, "region": pixels > 90, "title": name}])
    for drawn in (figure, other):
        drawn.draw_without_rendering()
        assert any(axes.get_title("left") == name or axes.get_title() == name for axes in drawn.axes)


def test_powers_of_ten_are_still_formulas(no_display_and_no_trace):
    @plots.styled
    def draw():
        figure, axes = plt.subplots()
        axes.loglog([0.1, 10], [1e-5, 1])
        return figure

    figure = draw()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [label for label in axes.get_xticklabels() + axes.get_yticklabels() if "$" in label.get_text()]
    assert len(labels) > 4 and all(label.get_parse_math() for label in labels)


def test_columns_that_identify_a_view():
    assert KEYS == ["patient_id", "exam", "laterality", "view"]
