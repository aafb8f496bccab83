"""Which Th of the heatmap measures lengths best? For development: `pretrain.HEATMAP_THRESHOLD` is chosen with it.

The views are MLO views of simulated BAC+ women (true length: visible calcified arteries), and vessels that are
calcified in part (`partly_calcified.py`). No seed may be one on which the detector is evaluated.

    .venv/bin/python benchmarks/heatmap_threshold.py [--women 24] [--seed 921] [--partly 24] [--model M] [--th 0.8 0.9]
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from partly_calcified import SPACING_MM, partly_calcified
from scipy.stats import spearmanr
from tqdm import tqdm

from bac_utils.agreement import length_agreement
from bac_utils.detector import Detector
from bac_utils.intake.mammogram import Mammogram
from bac_utils.preprocess import find_breast, prepare
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99)


def examples(women: int, partly: int, seed: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the kind, pixels and true length (mm) of each view."""
    for woman in draw_women(women, seed, prevalence=1.0):
        for side in "RL":
            yield "simulated", render(woman, side, "MLO", SPACING_MM)[0], woman.length_mm(side, "MLO")
    for number, woman in enumerate(draw_women(partly, seed + 1, prevalence=0)):
        pixels, _ = render(woman, "L", ("CC", "MLO")[number % 2], SPACING_MM)
        rng = np.random.default_rng([seed, number])
        drawn, length, _ = partly_calcified(pixels, find_breast(pixels), SPACING_MM, rng)
        yield "partly", drawn, length


def main() -> None:
    """Measure all views at each Th, and print how the lengths agree with the true ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--women", type=int, default=24)
    parser.add_argument("--partly", type=int, default=24, help="vessels that are calcified in part")
    parser.add_argument("--seed", type=int, default=921)
    parser.add_argument("--model", default=None, help="by default the bundled detector")
    parser.add_argument("--th", type=float, nargs="+", default=THRESHOLDS)
    given = parser.parse_args()
    detector, rows = Detector(given.model), []
    for kind, pixels, true in tqdm(
        examples(given.women, given.partly, given.seed), total=2 * given.women + given.partly, unit="view"
    ):
        found = prepare(Mammogram(pixels, spacing_mm=(SPACING_MM,) * 2), detector.shape, detector.pixel_mm)
        score, heat = detector.look(found).score, detector.heat(found)
        for th in given.th:
            point = replace(detector.point, heatmap_threshold=th)
            length = point.measure(score, heat, found.pixels, found.spacing_mm).length_mm
            rows.append({"kind": kind, "th": th, "true": true, "length": length, "bac": score >= point.threshold})
    table = pd.DataFrame(rows).astype({"length": float})
    for (kind, th), part in table.groupby(["kind", "th"], sort=False):
        known = part[(part["true"] > 0) & part["bac"] & part["length"].notna()]
        if len(known) < 2:
            print(f"{kind}, Th {th:g}: {len(known)} of {len(part)} measured")
            continue
        agreed = length_agreement(known["length"], known["true"])
        rho = spearmanr(known["length"], known["true"])[0]
        print(f"{kind}, Th {th:g}: rho {rho:.3f}, bias {agreed['bias']:+.1%}, median error "
              f"{agreed['median_absolute_error_mm']:.1f} mm, {len(known)} of {len(part)} measured")  # fmt: skip


if __name__ == "__main__":
    main()
