"""Does it help to continue the training of the bundled detector on an archive's own labels? See docs/evidence.md.

The archive is simulated, but it differs from what the detector was trained on: each view has one to three look-alikes
of `look_alikes.py`, and the arteries are drawn by that file as well. Each woman has two MLO views; half of the women
have an artery in each. The training gets the labels of the views alone, with the settings that `-p weights detector`
chooses; these were chosen on archive 1.

    .venv/bin/python benchmarks/fine_tuning.py [--seeds 3] [--first 2] [--women 120]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from look_alikes import ARTERIES, LOOKALIKES
from tqdm import tqdm

from bac_utils.detection import detection_metrics
from bac_utils.detector import find_detector
from bac_utils.intake.mammogram import Mammogram
from bac_utils.model import build_model, load_model, predict_scores
from bac_utils.preprocess import find_breast, prepare
from bac_utils.settings import preset
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render
from bac_utils.training import continue_from, fit_model

SPACING_MM = 0.15
SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}
"""Shares of the women."""
MEASURES = {"auc_roc": "AUC-ROC", "auc_pr": "AUC-PR", "recall": "recall", "specificity": "specificity"}
"""Measures of the test views; recall and specificity at the threshold of the bundled detector."""


def archive(seed: int, women: int, shape: tuple[int, int], pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return prepared MLO views, float16 (2 women, H, W), and their labels; every other woman has BAC."""
    pixels, labels = [], []
    for number, woman in enumerate(tqdm(draw_women(women, seed, prevalence=0), desc=f"archive {seed}", unit="woman")):
        for side in "LR":
            rng = np.random.default_rng([30, seed, number, side == "R"])
            view, _ = render(woman, side, "MLO", SPACING_MM)
            view, bac = view.astype(np.float32), number % 2 == 0
            breast = find_breast(view)
            drawn = [*rng.choice(list(LOOKALIKES.values()), rng.integers(1, 4))]
            drawn += [rng.choice(list(ARTERIES.values()))] if bac else []
            for draw in drawn:
                view = draw(view, breast, SPACING_MM, rng)
            mammogram = Mammogram(
                pixels=view, spacing_mm=(SPACING_MM, SPACING_MM), spacing_rule="simulated", laterality=side, view="MLO",
                patient_id=woman.patient_id, age=float(woman.age),
            )  # fmt: skip
            pixels.append(prepare(mammogram, shape, pixel_mm).pixels.astype(np.float16))
            labels.append(int(bac))
    return np.stack(pixels), np.array(labels)


def main() -> None:
    """Print AUC-ROC and AUC-PR of test views before and after the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of archives")
    parser.add_argument("--first", type=int, default=2, help="the first archive; the others follow it")
    parser.add_argument("--women", type=int, default=120, help="women per archive")
    options = parser.parse_args()
    path, point = find_detector("detector")
    rows = []
    for seed in range(options.first, options.first + options.seeds):
        settings = continue_from(preset("demo", seed=seed), {}, path, point.pixel_mm)
        pixels, labels = archive(seed, options.women, settings.input_shape, point.pixel_mm)
        ends = 2 * np.floor(np.cumsum([0, *SHARES.values()]) * options.women + 1e-6).astype(int)
        parts = zip(SHARES, ends[:-1], ends[1:], strict=True)
        data = {name: (pixels[start:end], labels[start:end]) for name, start, end in parts}
        views, truth = data["test"]
        model = build_model(settings)
        with tempfile.TemporaryDirectory() as folder:
            history = fit_model(model, settings, data["train"], data["validation"], Path(folder))
        row = {"archive": seed, "test views": len(truth), "minutes": history["seconds"].sum() / 60}
        for name, network in (("before", load_model(path)), ("after", model)):
            found = detection_metrics(truth, predict_scores(network, views, 2), point.threshold)
            row |= {f"{words} {name}": found[key] for key, words in MEASURES.items()}
        rows.append(row)
        print(pd.DataFrame([row]).round(3).to_string(index=False), flush=True)
    print(pd.DataFrame(rows).drop(columns="archive").mean().round(3).to_string())


if __name__ == "__main__":
    main()
