"""Does a batch survive being killed? Scores many views, ends the process with SIGKILL at three random moments, goes on.

Every file must have one row in the end, none two, and the memory at its peak must not grow with the number of files.
The network is a tiny untrained one: the batch is what is measured. Needs a system with SIGKILL (no Windows).

    .venv/bin/python benchmarks/killed_batch.py [--views 2000] [--seed 1]
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
from pydicom import dcmread
from pydicom.uid import generate_uid

from bac_utils.phantom import draw_women, write_views
from bac_utils.settings import DEMO


def make_views(folder: Path, number: int) -> Path:
    """Write views into folders of 100: a few simulated ones, each copy with an identity of its own."""
    write_views(draw_women(5, seed=1, prevalence=0.5), folder / "drawn", 0.8, truth=False)
    drawn = [dcmread(path) for path in sorted((folder / "drawn" / "images").iterdir())]
    for k in range(number):
        view = drawn[k % len(drawn)]
        view.SOPInstanceUID = view.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(k)])
        path = folder / f"{number}" / f"{k // 100:03d}" / f"{k:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        view.save_as(path)
    return folder / f"{number}"


def make_model(folder: Path) -> Path:
    """Save a tiny untrained detector with its operating point."""
    from bac_utils.model import build_model

    build_model(replace(DEMO, input_shape=(96, 64), width_divisor=32, weights="none")).save(folder / "model.keras")
    (folder / "model.json").write_text(json.dumps({"threshold": 0.5, "heatmap_threshold": 0.3, "pixel_mm": 2.5}))
    return folder / "model.keras"


def score(views: Path, model: Path, output: Path, end_after_s: float | None = None) -> int:
    """Run `score`; return the peak of its and its workers' resident memory in bytes. May kill it (SIGKILL)."""
    command = [sys.executable, "-m", "bac_utils", "score", str(views), "--output", str(output), "--model", str(model)]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    tree, peak, start = psutil.Process(process.pid), 0, time.monotonic()
    while process.poll() is None:
        if end_after_s is not None and time.monotonic() - start > end_after_s:
            workers = tree.children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for worker in workers:
                if worker.is_running():
                    worker.kill()
            break
        with suppress(psutil.Error):  # a process may end while it is looked at
            peak = max(peak, sum(p.memory_info().rss for p in (tree, *tree.children(recursive=True))))
        time.sleep(0.1)
    return peak


def main() -> None:
    """Kill, go on, and print what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, views, few = (
            make_model(folder),
            make_views(folder, options.views),
            make_views(folder, options.views // 10),
        )
        small = score(few, model, folder / "few.csv")
        start = time.monotonic()
        peaks = [score(views, model, folder / "all.csv")]
        seconds = time.monotonic() - start
        output = folder / "killed.csv"
        for _ in range(3):
            peaks.append(score(views, model, output, end_after_s=moments.uniform(0.1, 0.35) * seconds))
            rows = len(output.read_text().splitlines()) if output.exists() else 0
            print(f"killed with {max(rows - 1, 0)} rows")
        peaks.append(score(views, model, output))
        table = pd.read_csv(output)
        print(
            f"{len(table)} rows for {options.views} files, {table['file'].nunique()} different, {seconds:.0f} s whole"
        )
        print(f"scored: {(table['status'] == 'scored').sum()}")
        print(f"peak memory: {small / 2**20:.0f} MiB for a tenth, {max(peaks) / 2**20:.0f} MiB for all")
        assert len(table) == table["file"].nunique() == options.views


if __name__ == "__main__":
    main()
