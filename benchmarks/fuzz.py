"""Read many randomly damaged mammograms and check that each ends in a reason or in a view that agrees with its file.

The mutants are generated as in `tests/intake/test_fuzz.py`: good DICOM files of many transfer syntaxes, PNG and TIFF
files, with elements set, given another VR, moved or removed, and bytes changed, removed or inserted. Each is read as by
`score`. The exit code is 1 if a mutant breaks a rule of `tests/mutations.py`; such files are kept in a folder.
Needs hypothesis.

    .venv/bin/python benchmarks/fuzz.py [--examples 3000] [--seed 1] [--keep fuzz_violations]
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mutations import Mutant, Reader, check, mutants


def main() -> int:
    """Read mutants, print the counts, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_violations"), help="folder for files that break a rule")
    options = parser.parse_args()
    counts, unforeseen, broken, start = Counter(), Counter(), [], time.monotonic()
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(Path(folder, "home"))  # otherwise it creates a folder in the working directory
        reader = Reader(folder)

        @seed(options.seed)
        @settings(
            max_examples=options.examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutants())
        def read_and_count(mutant: Mutant) -> None:
            try:
                read = reader(mutant)
                check(mutant, read)
            except Exception as error:  # a broken rule, or an exception while reading: continue with the others
                broken.append((mutant, f"{type(error).__name__}: {str(error).splitlines()[:1]}"))
                counts["violation"] += 1
                return
            counts[read.reason or "scored"] += 1
            if "reading" in read.message:  # an unexpected exception, or the end of a process
                unforeseen[read.message] += 1

        try:
            read_and_count()
        finally:
            reader.close()
    print(f"{sum(counts.values())} mutants of seed {options.seed}, {time.monotonic() - start:.0f} s")
    for table in (counts, unforeseen):
        print(*(f"{number:6d} {what}" for what, number in table.most_common()), "", sep="\n")
    for number, (mutant, what) in enumerate(broken):
        path = options.keep / f"{number:03d}" / mutant.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutant.data)
        print(f"{path}: {what}\n    {mutant.history}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
