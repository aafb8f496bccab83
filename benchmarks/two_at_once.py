"""Two calls of `score` into one table, started at once again and again: does a row ever occur twice, or go missing?

Each time, two processes score the same simulated views (1 mm) into one table and one folder of DICOM results, in every
second attempt with two models. One of the two must end with exit code 0 and a complete table; the other one must be
refused, or find everything done. 20 attempts take about three minutes on 2 cores.

    .venv/bin/python benchmarks/two_at_once.py [--attempts 20]
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bac_utils.model import build_model
from bac_utils.settings import preset
from bac_utils.simulator.cohort_files import write_views
from bac_utils.simulator.population import draw_women

SHAPE = (96, 64)
POINT = {"threshold": 0.01, "chosen_on": "fixed", "heatmap_threshold": 0.01, "input_shape": list(SHAPE)}


def prepare(folder: Path) -> list[Path]:
    """Write views into `folder / "images"`; return two models with random weights."""
    write_views(draw_women(3, seed=4, prevalence=1.0), folder, pixel_spacing_mm=1.0, workers=1, truth=False)
    models = []
    for seed in (1, 2):
        model = folder / f"model-{seed}.keras"
        build_model(preset("demo", input_shape=SHAPE, width_divisor=32, weights="none", seed=seed)).save(model)
        model.with_suffix(".json").write_text(json.dumps(POINT))
        models.append(model)
    return models


def attempt(folder: Path, models: list[Path]) -> list[str]:
    """Start two calls at once; return what went wrong."""
    output, results = folder / "scores.csv", folder / "dicom"
    words = [sys.executable, "-m", "bac_utils", "score", folder / "images", "--output", output, "--dicom", results]
    calls = [
        subprocess.Popen([*map(str, words), "--model", str(model)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for model in models
    ]
    ends = [(call.communicate()[1].decode().strip().splitlines()[-1:], call.returncode) for call in calls]
    wrong = [f"{line}" for line, code in ends if code and not any(w in str(line) for w in ("in use", "another model"))]
    if all(code for _, code in ends):
        wrong.append("neither call succeeded")
    with open(output, newline="", encoding="utf-8") as stream:
        files = [row["file"] for row in csv.DictReader(stream)]
    images = sorted(map(str, (folder / "images").iterdir()))
    if sorted(files) != images:
        wrong.append(f"{len(files)} rows, {len(set(files))} different ones, for {len(images)} files")
    with open(results / "index.csv", newline="", encoding="utf-8") as stream:
        named = [row[kind] for row in csv.DictReader(stream) for kind in ("segmentation", "report", "picture")]
    missing = [name for name in named if name and not (results / name).is_file()]
    return wrong + ([f"{len(missing)} of {len(named)} results missing"] if missing else [])


def main() -> None:
    """Print what went wrong in each attempt; the exit code is 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attempts", type=int, default=20)
    attempts, failures = parser.parse_args().attempts, 0
    with tempfile.TemporaryDirectory() as scratch:
        models = prepare(Path(scratch))
        for number in range(attempts):
            wrong = attempt(Path(scratch), [models[0], models[number % 2]])
            failures += bool(wrong)
            print(f"attempt {number + 1}: {'; '.join(wrong) or 'as it should be'}", flush=True)
            shutil.rmtree(Path(scratch, "dicom"))
            for path in Path(scratch).glob("*scores.csv*"):
                path.unlink()
    print(f"{failures} of {attempts} attempts went wrong")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
