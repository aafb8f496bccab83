"""Do measured lengths end where the calcium ends? Vessels that are calcified in part, drawn into simulated negatives.

A vessel of 60 to 110 mm is visible all along. One to three stretches of it, 10 to 30 mm long and at least 10 mm apart,
are calcified: dotted, or with smooth walls. The true length is that of the stretches. The drawing code is that of
`look_alikes.py`, which the training does not use.

    .venv/bin/python benchmarks/partly_calcified.py [--views 40] [--seed 61] [--model A B ...] [--output rows.csv]
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from look_alikes import STEP_MM, Sheet, dot_walls, normals
from scipy.stats import spearmanr
from tqdm import tqdm

from bac_utils.detector import Detector
from bac_utils.intake.mammogram import Mammogram
from bac_utils.preprocess import find_breast, prepare
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render

SPACING_MM = 0.15
VESSEL_MM, STRETCH_MM, APART_MM = (60, 110), (10, 30), 10


def calcified_stretches(rng: np.random.Generator, points: int) -> list[slice]:
    """Return one to three parts of a line of `points` points, in order, at least `APART_MM` apart."""
    parts, first = [], int(rng.uniform(0, 15) / STEP_MM)
    for _ in range(int(rng.integers(1, 4))):
        last = first + int(rng.uniform(*STRETCH_MM) / STEP_MM)
        if last > points:
            break
        parts.append(slice(first, last))
        first = last + int(rng.uniform(APART_MM, 2 * APART_MM) / STEP_MM)
    return parts


def smooth_walls(sheet: Sheet, line: np.ndarray, radius: np.ndarray) -> None:
    """Draw two interrupted smooth walls."""
    rng, width = sheet.rng, sheet.rng.uniform(0.25, 0.6)
    for side in (-1, 1):
        wall, first = line + side * radius[:, None] * normals(line), int(rng.uniform(0, 2) / STEP_MM)
        while first < len(wall) - 2:
            last = first + max(int(rng.uniform(1, 12) / STEP_MM), 2)
            sheet.stroke(wall[first:last], width, rng.uniform(0.5, 1))
            first = last + int(rng.uniform(0.5, 3) / STEP_MM)


def partly_calcified(
    pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, float, str]:
    """Draw a vessel that is calcified in part.

    Args:
        pixels: float32 (rows, columns).
        breast: Breast mask, bool (rows, columns).
        spacing_mm: Pixel spacing in mm, the same for rows and columns.
        rng: Source of randomness.

    Returns:
        The pixels with the vessel, the length of its calcified stretches in mm, and their style.
    """
    sheet = Sheet(breast, spacing_mm, rng)
    parts = []
    while not parts:
        line = sheet.course(rng.uniform(*VESSEL_MM), rng.uniform(0.2, 0.7))
        parts = calcified_stretches(rng, len(line))
    radius = rng.uniform(0.8, 1.6) * np.linspace(1, rng.uniform(0.7, 1), len(line))
    sheet.tube(line, 2 * radius.mean(), rng.uniform(0.1, 0.3), 0.5)
    style = str(rng.choice(["dotted", "walls"]))
    for part in parts:
        (dot_walls if style == "dotted" else smooth_walls)(sheet, line[part], radius[part])
    strength = rng.uniform(0.6, 1)
    share = (1.5 if style == "dotted" else 1) * (0.05 + 0.3 * strength)
    return sheet.added(pixels, share), sum(part.stop - part.start for part in parts) * STEP_MM, style


def views(number: int, seed: int) -> list[tuple[Mammogram, float, str]]:
    """Return views of women without BAC, each with a vessel that is calcified in part."""
    found = []
    for count, woman in enumerate(tqdm(draw_women(number, seed, prevalence=0), "drawing", unit="view")):
        side, view = "LR"[count % 2], ("CC", "MLO")[count // 2 % 2]
        pixels, _ = render(woman, side, view, SPACING_MM)
        rng = np.random.default_rng([seed, count])
        drawn, length, style = partly_calcified(pixels, find_breast(pixels), SPACING_MM, rng)
        found.append((Mammogram(
            pixels=drawn, spacing_mm=(SPACING_MM, SPACING_MM), spacing_rule="simulated", laterality=side, view=view,
            patient_id=woman.patient_id, age=float(woman.age)), length, style))  # fmt: skip
    return found


def measure(drawn: list[tuple[Mammogram, float, str]], model: str | None) -> pd.DataFrame:
    """Return one row per view: `style`, `true` and `measured` length in mm (NaN where none was traced), `score`, `bac`.

    All views are measured, also those below the detection threshold: this is about lengths.
    """
    detector, rows = Detector(model), []
    threshold = detector.point.threshold
    detector.point = replace(detector.point, threshold=np.nextafter(0, 1))
    for mammogram, length, style in tqdm(drawn, "measuring", unit="view"):
        found = detector.look(prepare(mammogram, detector.shape, detector.pixel_mm))
        row = {"style": style, "true": length, "measured": found.length_mm, "score": found.score}
        rows.append(row | {"bac": found.score >= threshold})
    return pd.DataFrame(rows).astype({"measured": float})


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per style, for all and for BAC+ views: views, those traced, their bias and rank correlation."""
    groups, table = [*rows.groupby("style"), ("all", rows), ("BAC+", rows[rows["bac"]])], {}
    for name, part in groups:
        found = part.dropna(subset="measured")
        ratio = found["measured"] / found["true"]
        table[name] = {"views": len(part), "traced": len(found), "true mm": part["true"].mean(),
                       "bias": found["measured"].sum() / max(found["true"].sum(), 1e-9) - 1,
                       "median ratio": ratio.median(),
                       "rho": spearmanr(found["measured"], found["true"])[0]}  # fmt: skip
    return pd.DataFrame(table).T


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=40)
    parser.add_argument("--seed", type=int, default=61)
    parser.add_argument("--model", nargs="+", default=[None], help="by default the bundled detector")
    parser.add_argument("--output", type=Path, default=None, help="CSV file for the rows")
    given = parser.parse_args()
    drawn, tables = views(given.views, given.seed), []
    for model in given.model:
        rows = measure(drawn, model)
        print(f"\n{model or 'bundled detector'}\n{summarise(rows).round(3).to_string()}")
        tables.append(rows.assign(model=model or "bundled"))
    if given.output:
        pd.concat(tables).to_csv(given.output, index=False)


if __name__ == "__main__":
    main()
