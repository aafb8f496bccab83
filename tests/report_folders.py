"""Folders of a finished run and of an evaluation for the tests of reports, made in seconds."""

import json
import zipfile
from pathlib import Path

import pandas as pd
from finished_run import make_run
from PIL import Image

from bac_utils import agreement, detection
from bac_utils._files import plain
from bac_utils.cohort import cohort_summary, split_counts, table_one, women_table
from bac_utils.evaluation.calibration import calibration_summary, reliability_curve
from bac_utils.evaluation.shift import categorical_shift, numeric_shift
from bac_utils.evaluation.subgroups import subgroup_metrics
from bac_utils.inclusion.flow import Selection
from bac_utils.inclusion.study import study_flow
from bac_utils.run_folder import read_rows, save_part, versions, write_summary
from bac_utils.settings import PUBLISHED, preset
from bac_utils.views_table import read_views

HOSTILE = '<script>alert("1")</script> $x_1$ =1+1 | `a` {{ n("seed") }}'
SAMPLES = 20


def draw_figures(folder: Path, names) -> None:
    (folder / "figures").mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (600, 400), "white").save(folder / "figures" / f"{name}.png")


def report_run(folder: Path, cohort: str = "", **settings) -> Path:
    """Fill a folder as a finished run leaves it; with `cohort`, it is a run on a views table of that path."""
    make_run(folder)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        layers = [{"config": {"batch_shape": [None, 192, 96, 1]}}]
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    chosen = preset("demo", bootstrap_samples=SAMPLES, seed=0, epochs=7, **settings)
    views, predictions = read_views(folder / "views.csv"), read_rows(folder / "predictions.csv")
    of_cohort = views[views["split"] != "quantification"]
    flow, _ = study_flow(of_cohort, chosen, None, of_cohort)
    source = cohort or "24 simulated women"
    save_part(
        folder, "cohort", chosen, preset="demo", seed=0, source=source, simulated=not cohort, given_split=False,
        age_limits=chosen.age_limits,
        cohort=cohort_summary(women_table(of_cohort), chosen.age_limits), splits=split_counts(of_cohort),
        inclusion=flow.stages(),
    )  # fmt: skip
    table_one(of_cohort).to_csv(folder / "table_one.csv")
    training = {"start": "structures", "start_val_auc_pr": 0.125, "best_val_auc_pr": 0.9375}
    save_part(
        folder, "training", chosen, training=training, best_epoch=5, epochs=7, trained_weights=12345,
        trainable_convolutions=5, view_pixel_mm=0.5,
    )  # fmt: skip
    of_views, of_women = (
        detection.detection_summary(rows, 0.5, SAMPLES, 0) for rows in (predictions, detection.by_woman(predictions))
    )
    table = detection.detection_table(of_views, PUBLISHED["detection"])
    table.to_csv(folder / "detection.csv", index_label="measure")
    about = {"value": 0.5, "chosen_on": "validation"}
    save_part(folder, "detection", chosen, threshold=about, detection=of_views, detection_by_woman=of_women)
    measured = pd.read_csv(folder / "quantification.csv").assign(area=[12.5, 30.0, 8.0, 22.0, 41.0, 17.5])
    found = agreement.correlate_measures(measured, {"area of the heatmap": "area"}, SAMPLES, 0)
    quantification = {
        "views": 6, "bac_views": 6, "heatmap": "local-logits", "heatmap_threshold": 0.3,
        **{key: found["area of the heatmap"][key] for key in ("spearman_rho", "spearman_ci", "spearman_p")},
        "paper_recipe_rho": None,
        "length_agreement": agreement.length_agreement(measured["area"], measured["bac_length_mm"]),
    }  # fmt: skip
    timing = {"views": 6, "elaboration_mean_s": 0.123, "elaboration_sd_s": 0.045}
    save_part(folder, "quantification", chosen, quantification=quantification, timing=timing, correlations=found)
    write_summary(folder)
    draw_figures(folder, ("inclusion", "roc_pr_curves", "heatmaps", "area_against_length"))
    asked = {"preset": "demo", "seed": 0, "cohort": cohort, "cohort_sha256": "12ab" if cohort else ""}
    asked |= {"parameters": {"epochs": 7}, "folds": None}
    notebooks = {"02_training": {"sha256": "34cd", "thresholds_sha256": None, "seconds": 61.25}}
    manifest = {"kit": "bac-utils", "asked": asked, "versions": versions(), "finished": True, "notebooks": notebooks}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def evaluation_stages(reason: str) -> list[dict]:
    """Return the flow of 195 views of which three are left out for a reason."""
    rows = [{"patient_id": f"W{k // 4}", "image": f"{k}.png", "laterality": "L", "view": "CC"} for k in range(195)]
    flow = Selection(pd.DataFrame(rows), "table")
    flow.exclude(reason, pd.Series([k >= 192 for k in range(195)]), "labelled")
    return flow.stages()


def report_evaluation(folder: Path, text: str = "site A", second: bool = True) -> Path:
    """Fill a folder as an evaluation leaves it; `text` is written wherever the user's text may stand."""
    folder.mkdir(parents=True)
    make_run(folder / "made", women=48)
    predictions = read_rows(folder / "made" / "predictions.csv").assign(site=text, age=60.0)
    predictions = predictions.assign(split="test")
    women = detection.by_woman(predictions)
    predictions.to_csv(folder / "predictions.csv", index=False)
    labels = predictions["bac"], predictions["score"], predictions["patient_id"]
    reliability_curve(*labels, samples=SAMPLES).to_csv(folder / "reliability.csv", index=False)
    subgroup_metrics(predictions, ["view", "site"], 0.5, SAMPLES).to_csv(folder / "subgroups.csv", index=False)
    sides = predictions, predictions.assign(score=predictions["score"] * 0.9)
    numeric_shift(*sides, ["age", "score"]).to_csv(folder / "shift_numbers.csv", index=False)
    categorical_shift(*sides, ["site"]).to_csv(folder / "shift_categories.csv", index=False)
    (folder / "decision_curve.csv").write_text("threshold,net_benefit\n0.1,0.05\n")
    one = {"name": text, "sha256": "56ef", "threshold": 0.5, "chosen_on": "validation", "heatmap": "local-logits"}
    one |= {"heatmap_threshold": 0.3, "prevalence": 0.12}
    summary = {
        "kind": "evaluation", "seed": 7, "versions": versions(), "model": one,
        "cohort": {
            "source": text, "source_sha256": "78ab", "women": 48, "views": 192, "bac_women": 16, "bac_views": 64,
            "age_median": 60.0, "age_iqr": [60.0, 60.0], "excluded_views": 3,
            "identifiers_in_training": 0,
        },
        "detection": {
            level: detection.detection_summary(rows, 0.5, SAMPLES, 0)["test"]
            for level, rows in (("views", predictions), ("breasts", predictions), ("women", women))
        },
        "calibration": calibration_summary(*labels, samples=SAMPLES),
        "recalibration": None, "comparison": None, "lengths": None,
        "timing": {"views": 192, "elaboration_mean_s": 0.2, "elaboration_sd_s": 0.1},
        "inclusion": evaluation_stages(text),
    }  # fmt: skip
    if second:
        halves = {"fitted_on": 24, "evaluated_on": 24, "threshold": 0.4375}
        summary["recalibration"] = {"intercept": -0.25, "slope": 1.125, **halves}
        summary["recalibration"] |= dict.fromkeys(("before", "after"), summary["calibration"])
        compared = {"auc_difference": 0.031, "auc_difference_ci": [-0.01, 0.07], "p_bootstrap": 0.2}
        summary["comparison"] = {"second": one, **compared, "p_delong_women": 0.0004}
        summary["lengths"] = {"views": 12, "spearman_rho": 0.75, "spearman_ci": [0.5, 0.9], "bias": -0.0625}
        summary["lengths"]["median_absolute_error_mm"] = 3.25
        calls = "part,n,first,second,only_first,only_second,p_exact\nsensitivity,16,0.9,0.8,3,1,0.625\n"
        (folder / "comparison.csv").write_text(calls)
    (folder / "summary.json").write_text(json.dumps(plain(summary)))
    (folder / "manifest.json").write_text(json.dumps({"kind": "evaluation", "notebooks": {}}))
    draw_figures(folder, ("roc_pr", "reliability", "decision_curve", "failures"))
    return folder
