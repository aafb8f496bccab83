"""Figures show the given numbers, are saved as small files, and do not change the global style."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bac_utils import cohort, plots, view_plots
from bac_utils.detection import detection_summary
from bac_utils.settings import PUBLISHED

pytestmark = pytest.mark.usefixtures("no_display_and_no_trace")


@pytest.fixture
def women():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"age": rng.integers(45, 88, 120), "bac": rng.random(120) < 0.2}).astype(int)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(1)
    rows = []
    for name, number in (("train", 80), ("validation", 60), ("test", 60)):
        for i in range(number):
            bac = int(i % 5 == 0)
            score = float(np.clip(rng.normal(0.25 + 0.5 * bac, 0.18), 0, 1))
            rows.append((f"{name}{i}", name, bac, score))
    return pd.DataFrame(rows, columns=["patient_id", "split", "bac", "score"])


@pytest.fixture
def detection(predictions):
    return detection_summary(predictions, 0.5, samples=50, seed=0)


def view(seed=0, shape=(96, 64)):
    pixels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    pixels[:, 40:] = 0
    return pixels


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def test_age_distribution(women):
    figure = plots.age_distribution(women)
    positive = int(women["bac"].sum())
    assert f"BAC+ (n = {positive})" in texts(figure)
    assert figure.axes[0].get_xlabel() == "Age (years)"


def test_prevalence_shows_the_paper_only_for_its_classes(women):
    table = cohort.prevalence_by_class(women, (60, 70, 73))
    figure = plots.prevalence_by_class(table, PUBLISHED["prevalence_by_age_class"])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx(100 * table["prevalence"])
    assert "paper" in texts(figure)
    assert "paper" not in texts(plots.prevalence_by_class(table))


def test_loss_curves_mark_the_kept_epoch():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "loss": [0.7, 0.5, 0.4], "val_loss": [0.7, 0.6, 0.65], "val_auc_pr": [0.2, 0.8, 0.7]}
    )
    figure = plots.loss_curves(history)
    assert "kept: epoch 2" in texts(figure)
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.7, 0.5, 0.4]
    assert "before training" not in texts(figure)
    started = plots.loss_curves(history, 0.6)
    assert "before training" in texts(started)
    assert set(started.axes[1].lines[-1].get_ydata()) == {0.6}


def test_sweep_curve_marks_the_chosen_number():
    table = pd.DataFrame({"trainable_convolutions": [0, 5, 13], "val_auc_pr": [0.5, 0.8, 0.8]})
    figure = plots.sweep_curve(table)
    curve, mark = figure.axes[0].lines
    assert curve.get_xydata().tolist() == [[0, 0.5], [5, 0.8], [13, 0.8]]
    assert set(mark.get_xdata()) == {5}
    assert "chosen: 5" in texts(figure)


def test_roc_pr_curves(predictions, detection):
    figure = plots.roc_pr_curves(predictions, detection, 0.5)
    words = texts(figure)
    low, high = detection["test"]["auc_roc_ci"]
    assert f"test: {detection['test']['auc_roc']:.2f} [{low:.2f}, {high:.2f}]" in words
    roc = figure.axes[0]
    area = np.trapezoid(roc.lines[4].get_ydata(), roc.lines[4].get_xdata())
    assert area == pytest.approx(detection["test"]["auc_roc"])
    curve = figure.axes[1].lines[6]  # three lines per set: curve, dot, prevalence
    recall, precision = curve.get_data()
    assert curve.get_drawstyle() == "steps-post"
    assert -np.diff(recall) @ precision[:-1] == pytest.approx(detection["test"]["auc_pr"])
    dot = roc.lines[5].get_xydata()[0]
    found = detection["test"]
    assert dot == pytest.approx([found["fp"] / (found["fp"] + found["tn"]), found["recall"]])


def test_confusion_matrices(detection):
    figure = plots.confusion_matrices(detection)
    assert [axes.get_title() for axes in figure.axes] == [
        "train (80 views)",
        "validation (60 views)",
        "test (60 views)",
    ]
    for axes, name in zip(figure.axes, detection, strict=True):
        shown = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        assert shown == [detection[name][count] for count in ("tn", "fp", "fn", "tp")]


def test_score_boxes(predictions):
    assert "threshold 0.42" in texts(plots.score_boxes(predictions, 0.42))


def test_gallery_leaves_empty_places_empty():
    heat = np.linspace(0, 1, 96 * 64).reshape(96, 64)
    rows = [("TP (1)", [{"pixels": view(), "heatmaps": {"local logits": heat}, "title": "L MLO"}]), ("FN (0)", [])]
    figure = view_plots.gallery(rows, columns=2)
    assert len(figure.axes) == 8 + 1  # 8 panels and the colour bar of the heatmaps
    assert [len(axes.images) for axes in figure.axes[:8]] == [1, 2, 0, 0, 0, 0, 0, 0]
    assert figure.axes[8].get_xlabel() == "Heatmap"
    assert "FN (0)" in texts(figure)
    with pytest.raises(ValueError, match="rows: got no view"):
        view_plots.gallery([("TP", [])])


def test_gallery_keeps_the_breast_in_shape():
    figure = view_plots.gallery([("prepared", [{"pixels": view(), "aspect": 1.5}])], columns=1)
    assert figure.axes[0].get_aspect() == 1.5
    table = pd.DataFrame({"spacing_row_mm": [0.3, np.nan], "spacing_column_mm": [0.2, np.nan]})
    assert view_plots.view_aspects(table).tolist() == pytest.approx([1.5, 1.0])


def drawn_lines(axes):
    """Return the points of all lines that have any; seaborn adds empty lines for the legend."""
    return [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata())]


def test_measure_against_length():
    table = pd.DataFrame({"bac_length_mm": [0, 10, 40], "bac_area_px": [0, 90, 300], "split": ["test"] * 3})
    axes = plots.measure_against_length(table, "bac_area_px", "rho = 1.00", "Area (px)").axes[0]
    assert (axes.get_ylabel(), axes.get_title()) == ("Area (px)", "rho = 1.00")
    assert axes.get_xlabel().endswith("(mm)")
    assert axes.collections[0].get_offsets().tolist() == [[0, 0], [10, 90], [40, 300]]
    assert not drawn_lines(axes)


def test_a_measured_length_is_drawn_with_the_line_of_equal_lengths():
    table = pd.DataFrame({"bac_length_mm": [0, 10, 40], "measured_length_mm": [3, 9, 52], "split": ["test"] * 3})
    axes = plots.measure_against_length(table, "measured_length_mm", "", "mm").axes[0]
    assert drawn_lines(axes) == [[[0, 0], [52, 52]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["test", "equal"]


def test_bland_altman():
    """Differences 2, -3, 10, -1: mean 2, variance 98 / 3."""
    table = pd.DataFrame({"measured": [12, 17, 50, 79], "true": [10, 20, 40, 80]}, index=[3, 5, 8, 9])
    figure = plots.bland_altman(table, "measured", "true", "length", "mm")
    axes = figure.axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[11, 2], [18.5, -3], [45, 10], [79.5, -1]]
    levels = sorted(float(line.get_ydata()[0]) for line in axes.lines)
    spread = 1.96 * (98 / 3) ** 0.5
    assert levels == pytest.approx([2 - spread, 2, 2 + spread])
    assert axes.get_xlabel() == "Mean of measured and reference length (mm)"
    assert axes.get_ylabel() == "Measured minus reference (mm)"
    labels = {text.get_text() for text in axes.texts}
    assert labels == {"mean difference: 2.0 mm", "-1.96 SD: -9.2 mm", "+1.96 SD: 13.2 mm"}
    low, high = axes.get_ylim()
    assert low < -3 and high > 10  # all points are visible


def test_measure_against_length_shows_every_set():
    splits = ["train", "validation", "test", "quantification"]
    table = pd.DataFrame({"bac_length_mm": [0, 10, 40, 50], "bac_area_mm2": [0, 90, 300, 400], "split": splits})
    axes = plots.measure_against_length(table, "bac_area_mm2", "", "mm2").axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == splits


def test_rho_by_threshold():
    curve = pd.DataFrame({"threshold": [0.1, 0.3], "local-logits": [0.8, 0.9], "per-image-maximum": [0.5, 0.4]})
    words = texts(plots.rho_by_threshold(curve, 0.3, 0.88))
    assert "Th = 0.3" in words and "paper: 0.88" in words and "per-image-maximum" in words


def test_outlined_views():
    region = np.zeros((96, 64), bool)
    region[20:40, 10:30] = True
    views = [{"pixels": view(), "region": r, "title": "41 mm"} for r in (region, ~region & False)]
    figure = view_plots.outlined_views(views)
    assert [len(axes.collections) for axes in figure.axes] == [1, 0]


def test_save_closes_and_keeps_files_small(tmp_path):
    noise = [{"pixels": view(seed, (768, 384))} for seed in range(8)]
    figure = view_plots.gallery([("noise", noise[:4]), ("noise", noise[4:])])
    figure.set_size_inches(2.3 * figure.get_size_inches())
    shown = plots.save(figure, tmp_path / "figures" / "noise.png")
    assert isinstance(shown, Figure)
    assert not plt.get_fignums()
    assert (tmp_path / "figures" / "noise.png").stat().st_size <= plots.PNG_BYTES
    assert min(Image.open(tmp_path / "figures" / "noise.png").size) > 300


def test_preparation_steps():
    mask = np.zeros((80, 60), bool)
    mask[10:70, :40] = True
    step = {"pixels": np.where(mask, 5.0, 0), "mask": mask, "box": (10, 70, 0, 40), "prepared": view()}
    figure = view_plots.preparation_steps([step | {"aspect": 1.0, "title": "L MLO"}])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "L MLO: 80 × 60" and titles[2:] == ["crop: 60 × 40", "network's input: 96 × 64"]
    (box,) = figure.axes[1].patches
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((0, 10), 40, 60)
