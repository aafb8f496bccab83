"""All notebooks, in order, without a browser: papermill over `notebooks/`, into one run's folder.

The folder's `manifest.json` holds what the run was asked for and which notebooks are done. A run that stopped
goes on from its first unfinished notebook when it is asked for again with the same settings.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import h5py

from bac_utils.run_folder import (
    checked_settings,
    file_digest,
    results_table,
    versions,
    write_json,
    write_summary,
)
from bac_utils.settings import Settings
from bac_utils.study.execution import declared_parameters, execute, kernel_environment

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

OWN_FILES = (
    "views.csv",
    "exclusions.csv",
    "table_one.csv",
    "model.keras",
    "history.csv",
    "part-model.keras",
    "part-history.csv",
    "predictions.csv",
    "detection.csv",
    "quantification.csv",
    "quantification_by_breast.csv",
    "quantification_by_woman.csv",
    "operating_point.json",
    "heatmaps.npz",
    "heatmaps_quantification.npz",
    "summary.json",
    "manifest.json",
)
OWN_FOLDERS = ("images", "cache", "training", "figures", "notebooks", "parts")
"""What a run writes at the top of its folder; overwriting removes these and nothing else. What a reader left there
(notes, kept thresholds) stays. With a views table of one's own the prepared views stay, too: `dataset` knows which of
them still hold."""

_OTHER = "choose another --output, or start afresh with --overwrite"
_BY_OPTION = {"output": "--output", "preset": "--preset", "cohort": "--cohort"}


def check_parameters(preset_name: str, parameters: dict[str, Any], notebooks: Path = NOTEBOOKS) -> Settings:
    """Check the parameters of a run before any work.

    Args:
        preset_name: `demo` or `paper`.
        parameters: Values by name.
        notebooks: Where `NN_topic.ipynb` lie.

    Returns:
        The preset with those of the parameters that are settings.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: No notebook knows a name, a value is out of range, or the preset is unknown.
        FileNotFoundError: The notebooks are not there.
    """
    known = set().union(*_declared(notebooks).values()) - set(_BY_OPTION)
    for name in parameters:
        if name in _BY_OPTION:
            raise ValueError(f"parameter {name!r}: give it as {_BY_OPTION[name]}")
        if name not in known:
            raise ValueError(f"parameter {name!r} is unknown, must be one of {', '.join(sorted(known))}")
    changes = {k: v for k, v in parameters.items() if k in Settings.__dataclass_fields__}
    if changes.get("age_limits") == "population":  # notebook 01 takes this word in their place
        del changes["age_limits"]
    return checked_settings(preset_name, **changes)


def run_notebooks(
    output: str | os.PathLike,
    preset_name: str = "demo",
    cohort: str | os.PathLike | None = None,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    notebooks: Path = NOTEBOOKS,
) -> dict:
    """Run every notebook in order and write the summary.

    Args:
        output: The run's folder: new, empty, or an unfinished run with the same settings, which goes on.
        preset_name: `demo` or `paper`.
        cohort: A views table; without one the first notebook simulates a cohort.
        parameters: Values for parameters that the notebooks declare; each notebook gets those it knows.
        overwrite: Start afresh in a folder that holds a run; files that are not the run's stay.
        notebooks: Where `NN_topic.ipynb` lie.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        TypeError: A parameter is of the wrong kind.
        ValueError: An unknown parameter, a value outside its range, or a views table that breaks a rule.
        FileExistsError: The folder holds something else, or a run that is finished, at work or different.
        FileNotFoundError: The notebooks or the cohort are not there.
        NotebookError: A cell failed; what was done stays.
    """
    declared = _declared(notebooks)
    folder = Path(output).resolve()
    _refuse_foreign(folder)
    if cohort and Path(cohort).resolve().is_relative_to(folder):
        raise ValueError(f"cohort: {cohort} lies in {folder}, which the run fills: choose another --output")
    asked = _asked(preset_name, cohort, parameters or {}, notebooks)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        manifest = _begin(folder, asked, overwrite)
        given = asked["parameters"] | {
            "preset": preset_name,
            "output": str(folder),
            "cohort": asked["cohort"],
        }
        (folder / "notebooks").mkdir(exist_ok=True)
        with kernel_environment(folder / "notebooks" / "kernels.log"):
            _run_each(declared, given, folder, manifest)
        summary = write_summary(folder)
        manifest["finished"] = True
        write_json(folder / "manifest.json", manifest)
    return summary


def closing_words(folder: Path, summary: dict) -> str:
    """Return what a finished run tells: its numbers beside the paper's, and where to find the rest."""
    table = results_table(summary).to_string()
    note = "[ ]: 95 % interval, bootstrap of women. Simulated views are far simpler than a real archive."
    if json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["asked"]["cohort"]:
        note = "[ ]: 95 % interval, bootstrap of women."
    places = "\n".join(
        f"{label:<8} {folder / name}"
        for label, name in (("figures", "figures"), ("pages", "notebooks"), ("numbers", "summary.json"))
    )
    return f"{table}\n{note}\n\n{places}"


def _declared(notebooks: Path) -> dict[Path, dict]:
    """Return the notebooks in order, each with its parameters."""
    paths = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no notebooks in {notebooks}: run from a copy of the repository")
    return {path: declared_parameters(path) for path in paths}


def _asked(preset_name: str, cohort: str | os.PathLike | None, parameters: dict, notebooks: Path) -> dict:
    """Check what the run is asked for, and return it in the form that the manifest keeps."""
    settings = check_parameters(preset_name, parameters, notebooks)
    if parameters.get("weights") not in (None, "imagenet", "bundled", "none"):
        weights = Path(settings.weights).resolve()  # the notebooks run in a folder of their own
        if not h5py.is_hdf5(weights):
            raise ValueError(f"weights: got {weights}, must be imagenet, bundled, none or a weights file (HDF5)")
        parameters = parameters | {"weights": str(weights)}
    if parameters.get("thresholds"):
        from bac_utils.detector import kept_thresholds

        parameters = parameters | {"thresholds": str(Path(parameters["thresholds"]).resolve())}
        kept_thresholds("", parameters["thresholds"])
    path, digest = "", ""
    if cohort:
        from bac_utils.cohort import check_cohort
        from bac_utils.views_table import read_views

        check_cohort(read_views(cohort, check_images=True), settings, parameters.get("age_limits") == "population")
        path, digest = str(Path(cohort).resolve()), file_digest(Path(cohort))
    return {
        "preset": preset_name,
        "seed": settings.seed,
        "cohort": path,
        "cohort_sha256": digest,
        "parameters": parameters,
    }


def _read_manifest(folder: Path) -> dict | None:
    """Return a run's manifest, or None where there is none of this kit."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kit") == "bac-utils" else None


def _refuse_foreign(folder: Path) -> None:
    """Raise when the folder holds anything but a run."""
    if folder.is_dir():
        if _read_manifest(folder) is None and any(p.name != ".lock" for p in folder.iterdir()):
            raise FileExistsError(f"{folder} holds something else than a run: choose another --output")
    elif folder.exists():
        raise FileExistsError(f"{folder} is a file: choose another --output")


def _begin(folder: Path, asked: dict, overwrite: bool) -> dict:
    """Return the manifest to go on with, after clearing or refusing what is there."""
    from bac_utils.dataset import INDEX_FILE, PIXELS_FILE

    manifest = _read_manifest(folder)
    if manifest is not None and overwrite:
        for name in OWN_FOLDERS:
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                _clear(folder / name, keep=(INDEX_FILE, PIXELS_FILE) if name == "cache" and asked["cohort"] else ())
        for name in OWN_FILES:  # the manifest last: what a stopped clearing leaves is still known as a run
            (folder / name).unlink(missing_ok=True)
        manifest = None
    if manifest is None:
        manifest = {
            "kit": "bac-utils",
            "asked": asked,
            "versions": versions(),
            "finished": False,
            "notebooks": {},
        }
        write_json(folder / "manifest.json", manifest)
        return manifest
    for key, value in json.loads(json.dumps(asked)).items():
        before = manifest["asked"].get(key)
        if before != value and key == "cohort_sha256":
            raise FileExistsError(f"{folder} was begun with another content of {asked['cohort']}: {_OTHER}")
        if before != value:
            raise FileExistsError(f"{folder} holds a run with {key} {before!r}, not {value!r}: {_OTHER}")
    if manifest["finished"]:
        raise FileExistsError(f"{folder} holds a finished run: {_OTHER}")
    if manifest["versions"] != versions():
        raise FileExistsError(f"{folder} was begun with other library versions: {_OTHER}")
    return manifest


def _clear(folder: Path, keep: Collection[str]) -> None:
    """Empty a folder but for the named files, and remove it if it is empty then."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in keep:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _run_each(declared: dict[Path, dict], given: dict, folder: Path, manifest: dict) -> None:
    """Run the notebooks that are not done; once one runs, all that follow run too."""
    done, going_on = manifest["notebooks"], True
    for number, (path, defaults) in enumerate(declared.items(), 1):
        digest = file_digest(path)
        label = f"[{number}/{len(declared)}] {path.stem}"
        going_on = going_on and done.get(path.stem, {}).get("sha256") == digest
        if going_on:
            print(f"{label}: done before", file=sys.stderr)
            continue
        for later in list(declared)[number - 1 :]:
            done.pop(later.stem, None)
        start = time.monotonic()
        execute(path, {k: v for k, v in given.items() if k in defaults}, folder / "notebooks", label)
        done[path.stem] = {"sha256": digest, "seconds": round(time.monotonic() - start, 1)}
        write_json(folder / "manifest.json", manifest)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go when the process ends, however it ends."""
    with open(folder / ".lock", "a") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileExistsError(f"{folder} is being filled by another run") from None
        yield
