"""Figures of an evaluation show the given numbers and do not change the global style."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bac_utils.evaluation import figures
from bac_utils.evaluation.calibration import reliability_curve
from bac_utils.evaluation.decision_curve import decision_curve
from bac_utils.evaluation.subgroups import subgroup_metrics

pytestmark = pytest.mark.usefixtures("no_display_and_no_trace")


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(40), 2)
    bac = (women % 3 == 0).astype(int)
    score = np.clip(rng.normal(0.3 + 0.3 * bac, 0.2), 0, 1)
    vendor = np.where(women < 34, "A", "B")
    return pd.DataFrame({"patient_id": women, "bac": bac, "score": score, "vendor": vendor})


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def test_reliability(views):
    curve = reliability_curve(views["bac"], views["score"], views["patient_id"], bins=4, samples=30)
    figure = figures.reliability(curve, views["bac"], views["score"])
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"][0]
    assert points.get_ydata().tolist() == curve["observed"].tolist()
    assert points.get_xdata().tolist() == curve["mean_score"].tolist()
    assert "BAC+ (n = 28)" in texts(figure) and "BAC- (n = 52)" in texts(figure)
    few = curve.assign(ci_low=np.nan, ci_high=np.nan)
    assert isinstance(figures.reliability(few, views["bac"], views["score"]), Figure)


def test_decision(views):
    table = decision_curve(views["bac"], views["score"], views["patient_id"], (0.1, 0.3, 0.5), samples=30)
    figure = figures.decision({"model A": table, "model B": table.assign(net_benefit=0.1)})
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert lines["model A"] == table["net_benefit"].tolist() and lines["model B"] == [0.1] * 3
    assert lines["treat all"] == table["treat_all"].tolist() and lines["treat none"] == [0, 0, 0]
    with pytest.raises(ValueError, match="curves: got none"):
        figures.decision({})


def test_forest(views):
    metrics = subgroup_metrics(views, ["vendor"], 0.5, samples=30)
    figure = figures.forest(metrics, "recall")
    assert "vendor: A (12 of 34)" in texts(figure) and "too few" in texts(figure)
    assert f"{metrics['recall'][0]:.2f} [{metrics['recall_low'][0]:.2f}, " in texts(figure)
    assert figure.axes[0].get_xlabel() == "sensitivity [95 % interval]"
    uncalled = figures.forest(subgroup_metrics(views, ["vendor"], 1.1, samples=30), "precision")
    shown = [text.get_text() for text in uncalled.axes[0].texts]
    assert shown == ["-", "-", "too few"]
    with pytest.raises(ValueError, match="metric: got 'f1', must be one of prevalence"):
        figures.forest(metrics, "f1")
