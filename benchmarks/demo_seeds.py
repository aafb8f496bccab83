"""What does the demo's own training teach, and how much do its results vary? See docs/evidence.md.

Repeats the demo's cohort, training, detection and quantification, without the notebooks on them, for several seeds (of
women, weights and order) and several starts of the network. All starts of a seed use the same images. Nothing is
selected by the results.

    .venv/bin/python benchmarks/demo_seeds.py OUTPUT [--seeds 5] [--first 2028] [--starts structures ...]

Results are kept in OUTPUT, so that a stopped call can be resumed and other starts added. A seed takes about three
minutes for its images and five for each start on two cores.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bac_utils.agreement import correlate
from bac_utils.dataset import PreparedViews, prepare_views
from bac_utils.detection import choose_threshold, detection_metrics
from bac_utils.detector import OperatingPoint
from bac_utils.heatmap_choice import choose_heatmap
from bac_utils.heatmaps import Explainer, default_heatmap, make_heatmaps, measure_areas, usable_forms
from bac_utils.model import build_model, predict_scores
from bac_utils.run_folder import prepared_sets
from bac_utils.settings import DEMO, Settings
from bac_utils.study.execution import execute, kernel_environment
from bac_utils.study.runner import NOTEBOOKS
from bac_utils.training import fit_model
from bac_utils.views_table import read_views

LEAST_SKILL = 0.3
"""AUC-PR on the validation set below which a network has not learned, so that its heatmaps are not measured."""
STARTS = {
    "structures": {"weights": "structures"},
    "none": {"weights": "none"},
    "bundled, random head": {"weights": "bundled", "pretrained_head": False},
    "bundled": {"weights": "bundled", "pooling_sharpness": 1.0, "epochs": 2, "learning_rate": 3e-5},
}
"""Settings of each start; the first one is the demo's. The last one has a trained head: its sharpness is kept, and it
is trained for less and more slowly, as in an earlier version of the demo."""


def simulate(folder: Path, seed: int) -> None:
    """Run notebook 01, unless the folder has its result."""
    if not (folder / "parts" / "cohort.json").is_file():
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
        parameters = {"preset": "demo", "output": str(folder.resolve()), "seed": seed}
        with kernel_environment(folder / "notebooks" / "kernels.log"):
            execute(NOTEBOOKS / "01_cohort_statistics.ipynb", parameters, folder / "notebooks", f"images, seed {seed}")


def measure(settings: Settings, prepared: PreparedViews, sets: dict, measured: PreparedViews, folder: Path) -> dict:
    """Train from one start and return its results as a row."""
    labels = prepared.table["bac"].to_numpy()
    data = {name: (prepared.pixels[rows], labels[rows]) for name, rows in sets.items()}
    model = build_model(settings)
    views, truth = data["validation"]
    before = detection_metrics(truth, predict_scores(model, views, settings.batch_size), 0.5)["auc_pr"]
    history = fit_model(model, settings, data["train"], data["validation"], folder)
    scores = {name: predict_scores(model, data[name][0], settings.batch_size) for name in ("validation", "test")}
    point = OperatingPoint(choose_threshold(truth, scores["validation"]), 0.5, pixel_mm=settings.view_pixel_mm)
    test = detection_metrics(data["test"][1], scores["test"], point.threshold)
    row = {"before": before, "after": history["val_auc_pr"].max(), "AUC-ROC": test["auc_roc"], "AUC-PR": test["auc_pr"]}
    row |= {"precision": test["precision"], "recall": test["recall"], "F1": test["f1"], "rho": None}
    row |= {"heatmap": "", "Th": None, "minutes": history["seconds"].sum() / 60}
    if row["after"] < LEAST_SKILL:
        return row
    explain = Explainer(model, usable_forms(model))
    table = prepared.table[sets["validation"]].assign(score=scores["validation"])
    choice = choose_heatmap(explain, prepared.pixels, table, point, None, None, default_heatmap(model))
    called = predict_scores(model, measured.pixels, settings.batch_size) >= point.threshold
    heats = make_heatmaps(Explainer(model, [choice.form]), choice.form, measured.pixels, range(len(called)), 2)
    spacings = list(zip(measured.table["spacing_row_mm"], measured.table["spacing_column_mm"], strict=True))
    areas = measure_areas(heats, choice.form, choice.threshold, called, measured.pixels, spacings)
    women = measured.table["patient_id"]
    rho = correlate(areas, measured.table["bac_length_mm"], women, samples=20, seed=settings.seed)["spearman_rho"]
    return row | {"rho": rho, "heatmap": choice.form, "Th": choice.threshold}


def main() -> None:
    """Train for each seed and start, and print the results with mean and range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the results")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first", type=int, default=2028, help="the first seed; the others follow it")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS)[:1], help="starts of the network")
    options = parser.parse_args()
    rows = []
    for seed in range(options.first, options.first + options.seeds):
        folder = options.output / str(seed)
        simulate(folder, seed)
        prepared, sets = prepared_sets(folder, DEMO.input_shape, workers=2, pixel_mm=DEMO.view_pixel_mm)
        views = read_views(folder / "views.csv")
        views = views[views["split"] == "quantification"]
        measured = prepare_views(views, folder / "cache" / "measured", DEMO.input_shape, 2, DEMO.view_pixel_mm)
        for start in options.starts:
            own = folder / start.replace(", ", "-").replace(" ", "-")
            result = own / "result.json"
            if not result.is_file():
                row = measure(replace(DEMO, seed=seed, **STARTS[start]), prepared, sets, measured, own)
                result.write_text(json.dumps(row), encoding="utf-8")
            rows.append({"start": start, "seed": seed} | json.loads(result.read_text(encoding="utf-8")))
            print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False), flush=True)
    table = pd.DataFrame(rows).drop(columns=["seed", "heatmap", "Th"])
    print(table.groupby("start", sort=False).agg(["mean", "min", "max"]).round(3).T.to_string())


if __name__ == "__main__":
    main()
