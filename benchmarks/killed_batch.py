"""Test whether a batch survives being killed, and whether its memory is independent of the number of files.

1. A tenth of the views and then all views are scored without interruption. This gives the peak memory of both, and
   reference scores.
2. All views are scored again. The whole process group, including the workers, gets SIGKILL at three random times: once
   in each third of the run, after a random number of rows and a delay of up to 0.2 s, so that a row may be cut off. The
   batch is resumed each time, finally to the end.

In the end, each file must have exactly one row, finished rows must be unchanged, and all scores must equal those of the
uninterrupted run. Memory is the sum of the resident set sizes (RSS) of all processes of the batch, sampled 20 times per
second; shared pages count once per process. (Proportional set sizes would depend on other processes of the machine.) A
process that is being started shares its parent's pages for a moment; therefore, of each two consecutive samples the
smaller counts.
Not for Windows, which has no SIGKILL.

    .venv/bin/python benchmarks/killed_batch.py [--views 2000] [--seed 1] [--spacing 0.5] [--workers 2] [--model M]

Without `--model`, a small untrained network of 384 x 192 pixels is used, as the subject is the batch.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
from pydicom import dcmread
from pydicom.uid import generate_uid

from bac_utils.settings import DEMO
from bac_utils.simulator.cohort_files import write_views
from bac_utils.simulator.population import draw_women

SHAPE, PIXEL_MM = (384, 192), 0.625
KILLS = 3


class Part(NamedTuple):
    """One call of `score`: its peak memory in bytes and its duration in seconds."""

    peak: int
    seconds: float


def make_views(folder: Path, number: int, spacing_mm: float) -> Path:
    """Write views into folders of 100: copies of a few simulated views, each with its own SOP instance UID."""
    drawn = folder / "drawn"
    if not drawn.exists():
        write_views(draw_women(5, seed=1, prevalence=0.5), drawn, spacing_mm, truth=False)
    originals = [dcmread(path) for path in sorted((drawn / "images").iterdir())]
    for k in range(number):
        view = originals[k % len(originals)]
        view.SOPInstanceUID = view.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(k)])
        path = folder / f"{number}" / f"{k // 100:03d}" / f"{k:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        view.save_as(path)
    return folder / f"{number}"


def make_model(folder: Path) -> Path:
    """Save a small untrained detector with its operating point."""
    from bac_utils.model import build_model

    settings = replace(DEMO, input_shape=SHAPE, width_divisor=32, weights="none")
    build_model(settings).save(folder / "model.keras")
    point = {"threshold": 0.5, "heatmap_threshold": 0.3, "pixel_mm": PIXEL_MM}
    (folder / "model.json").write_text(json.dumps(point))
    return folder / "model.keras"


def memory(tree: psutil.Process) -> int:
    """Return the sum of the resident set sizes of a process and its descendants, in bytes."""
    total = 0
    with suppress(psutil.Error):  # a process may end meanwhile
        for process in (tree, *tree.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def finished_rows(output: Path) -> bytes:
    """Return the finished lines of a table, including the header."""
    text = output.read_bytes() if output.exists() else b""
    return text[: text.rfind(b"\n") + 1]


def score(views: Path, output: Path, model: Path | None, workers: int, kill: tuple[int, float] | None = None) -> Part:
    """Run `score` once.

    Args:
        views: Folder of the views.
        output: The table.
        model: For `--model`; None for the bundled model.
        workers: For `--workers`.
        kill: Number of rows, and seconds after the last of them, at which the process group gets SIGKILL; None: never.

    Returns:
        Peak memory and duration.
    """
    command = [sys.executable, "-m", "bac_utils", "score", str(views), "--output", str(output)]
    command += ["--workers", str(workers), *(["--model", str(model)] if model else [])]
    start, peak, last, sampled = time.monotonic(), 0, 0, 0.0
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )  # a new session is a new process group
    tree = psutil.Process(process.pid)
    try:
        while process.poll() is None:
            if kill and finished_rows(output).count(b"\n") > kill[0]:
                time.sleep(kill[1])
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Part(peak, time.monotonic() - start)
            if time.monotonic() - sampled > 0.05:
                now, sampled = memory(tree), time.monotonic()
                peak, last = max(peak, min(now, last)), now
            time.sleep(0.005)
    finally:
        if process.poll() is None:  # the benchmark itself is being stopped
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise RuntimeError(f"score: got exit code {process.returncode}, must be 0")
    return Part(peak, time.monotonic() - start)


def main() -> None:
    """Run the test and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spacing", type=float, default=0.5, help="pixel spacing of the simulated views, mm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", help="a .keras file, a run's folder or `bundled`; default: small, untrained")
    options = parser.parse_args()
    if options.views < 30:
        parser.error(f"--views: got {options.views}, must be 30 or more")
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = None if options.model == "bundled" else Path(options.model) if options.model else make_model(folder)
        whole, tenth = (make_views(folder, n, options.spacing) for n in (options.views, options.views // 10))
        print(f"{options.views} views of {options.spacing} mm, {options.workers} workers")
        print(f"model: {options.model or f'small, untrained, {SHAPE[0]} x {SHAPE[1]} pixels of {PIXEL_MM} mm'}")

        def run(views: Path, table: str, kill: tuple[int, float] | None = None) -> Part:
            return score(views, folder / table, model, options.workers, kill)

        few = run(tenth, "few.csv")
        print(f"{options.views // 10} views, uninterrupted: {few.peak / 2**20:.0f} MiB, {few.seconds:.0f} s")
        parts = [run(whole, "all.csv")]
        print(f"{options.views} views, uninterrupted: {parts[0].peak / 2**20:.0f} MiB, {parts[0].seconds:.0f} s")

        output, rows = folder / "killed.csv", b""
        for k in range(KILLS):
            at = dice.randrange(k * options.views // KILLS + 1, (k + 1) * options.views // KILLS)
            parts.append(run(whole, "killed.csv", (at, dice.uniform(0, 0.2))))
            assert finished_rows(output).startswith(rows), "a finished row has changed"
            rows = finished_rows(output)
            cut = output.stat().st_size - len(rows)
            print(f"killed at {rows.count(bytes([10])) - 1} rows and {cut} bytes: {parts[-1].peak / 2**20:.0f} MiB")
        parts.append(run(whole, "killed.csv"))
        assert finished_rows(output).startswith(rows), "a finished row has changed"
        print(f"resumed to the end: {parts[-1].peak / 2**20:.0f} MiB, {parts[-1].seconds:.0f} s")

        table, reference = pd.read_csv(output), pd.read_csv(folder / "all.csv")
        print(f"{len(table)} rows, {table['file'].nunique()} files, {(table['status'] == 'scored').sum()} scored")
        assert len(table) == table["file"].nunique() == options.views
        columns = [column for column in table if column != "elapsed_s"]
        pd.testing.assert_frame_equal(table[columns], reference[columns], rtol=1e-4)
        highest = max(part.peak for part in parts)
        print(f"highest peak: {highest / 2**20:.0f} MiB, {highest / few.peak - 1:+.1%} relative to a tenth")
        assert highest < 1.1 * few.peak, "memory grows with the number of files"


if __name__ == "__main__":
    main()
