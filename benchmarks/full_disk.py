"""Commands on a disk that is really full: does each end in one line, and does the next call finish the work?

FOLDER is an empty file system of its own, made for this and small, as by

    mount -t tmpfs -o size=60m tmpfs FOLDER

A ballast file leaves a little space, a command runs until the disk is full, the ballast is removed, and the same
command runs again. The first call must fail with exit code 1, without a traceback, and name what is missing; the second
must end with exit code 0 and a complete result. About four minutes on 2 cores (--without-run: one).

    .venv/bin/python benchmarks/full_disk.py FOLDER [--without-run]
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from bac_utils.model import build_model
from bac_utils.settings import preset
from bac_utils.simulator.cohort_files import simulate_cohort

SHAPE = (96, 64)
POINT = {"threshold": 0.01, "chosen_on": "fixed", "heatmap_threshold": 0.01, "input_shape": list(SHAPE)}
WOMEN = 2


@dataclass(frozen=True)
class Case:
    """A command, what it must have written in the end, and how much space (bytes) it finds at first."""

    name: str
    words: list
    complete: Callable[[], bool]
    spaces: tuple[int, ...]


def cases(small: Path, scratch: Path, with_run: bool) -> list[Case]:
    """Prepare a model and views in `scratch`, and return the commands that write into `small`."""
    model = scratch / "model.keras"
    build_model(preset("demo", input_shape=SHAPE, width_divisor=32, weights="none", seed=1)).save(model)
    model.with_suffix(".json").write_text(json.dumps(POINT))
    simulate_cohort(scratch / "archive", WOMEN, 4, 1.0, 1.0, 1)
    images, out = scratch / "archive" / "images", small / "out"
    score = ["score", images, "--model", model, "--output", out / "scores.csv"]
    simulate = ["simulate", out, "--women", WOMEN, "--spacing", 1.0, "--workers", 1]
    evaluate = ["evaluate", "--model", model, "--cohort", scratch / "archive" / "views.csv", "--output", out]
    found = [
        Case("simulate", simulate, lambda: _readable(out / "images", 4 * WOMEN), (0, 20_000, 150_000)),
        Case("score", score, lambda: _rows(out / "scores.csv") == 4 * WOMEN, (0, 4096)),
        Case("score --dicom", [*score, "--dicom", out / "dicom"], lambda: _results(out / "dicom"), (0, 4096, 20_000)),
        Case(
            "evaluate",
            [*evaluate, "-p", "bootstrap_samples", 40],
            lambda: (out / "summary.json").is_file(),
            (0, 80_000),
        ),
    ]
    if with_run:
        small_run = {
            "women": 60, "quantification_women": 4, "pixel_spacing_mm": 1.5, "input_shape": [96, 64],
            "view_pixel_mm": 2.5, "width_divisor": 32, "weights": "none", "epochs": 1, "train_prevalence": 0.5,
            "split_fractions": [0.5, 0.25, 0.25], "seed": 3, "bootstrap_samples": 50, "sample_women": 1,
            "texture_women": 1, "artery_women": 8,
        }  # fmt: skip
        run = ["run", "--output", out]
        for name, value in small_run.items():
            run += ["-p", name, value]
        found.append(Case("run", run, lambda: (out / "summary.json").is_file(), (0, 2_000_000)))
    return found


def attempt(case: Case, small: Path, space: int) -> list[str]:
    """Run a command on the full disk and again with room; return what went wrong."""
    (small / "out").mkdir()
    free = shutil.disk_usage(small).free
    ballast = small / "ballast"
    ballast.write_bytes(bytes(max(free - space, 0)))
    first = _call(case)
    ballast.unlink()
    second = _call(case)
    wrong = []
    if first.returncode != 1 or "Traceback" in first.stderr:
        wrong.append(f"full disk: exit code {first.returncode}, {_last(first)}")
    if "space" not in _last(first).lower() and "not written" not in _last(first):
        wrong.append(f"full disk: the last line does not say so: {_last(first)}")
    if second.returncode or not case.complete():
        wrong.append(f"with room: exit code {second.returncode}, {_last(second)}")
    shutil.rmtree(small / "out")
    return wrong


def _call(case: Case) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "bac_utils", *map(str, case.words)]
    return subprocess.run(words, capture_output=True, text=True)


def _last(call: subprocess.CompletedProcess) -> str:
    return (call.stderr.strip().splitlines() or [""])[-1]


def _rows(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as stream:
        return sum(row["status"] == "scored" for row in csv.DictReader(stream))


def _readable(folder: Path, number: int) -> bool:
    files = list(folder.glob("*.dcm"))
    return len(files) == number and all(pydicom.dcmread(path).pixel_array.size for path in files)


def _results(folder: Path) -> bool:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        named = [row[kind] for row in csv.DictReader(stream) for kind in ("segmentation", "report", "picture")]
    return bool(named) and all(pydicom.dcmread(folder / name) for name in named if name)


def main() -> None:
    """Print what went wrong in each attempt; the exit code is 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an empty, small file system")
    parser.add_argument("--without-run", action="store_true", help="leave out `run`, the slowest command")
    asked, failures, attempts = parser.parse_args(), 0, 0
    small = asked.folder.resolve()
    if not small.is_mount() or any(small.iterdir()) or shutil.disk_usage(small).total > 1 << 30:
        sys.exit(f"folder: got {small}, must be an empty file system of its own, of at most 1 GiB")
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases(small, Path(scratch), not asked.without_run):
            for space in case.spaces:
                wrong = attempt(case, small, space)
                attempts, failures = attempts + 1, failures + bool(wrong)
                told = "; ".join(wrong) or "as it should be"
                print(f"{case.name}, {space:,} bytes free: {told}", flush=True)
    print(f"{failures} of {attempts} attempts went wrong")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
