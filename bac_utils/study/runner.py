"""Run all notebooks in order, without a browser, into one folder.

The folder's `manifest.json` records what the run was asked for and which notebooks are done. A run that stopped is
resumed at its first unfinished notebook when it is asked for again with the same settings.
"""

import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py

from bac_utils._files import (
    file_digest,
    locked,
    read_json,
    write_json,
    written_whole,
)
from bac_utils.cohort import check_cohort
from bac_utils.dataset import INDEX_FILE
from bac_utils.inclusion.corrections import correct_labels, corrections_digest
from bac_utils.inclusion.study import study_flow
from bac_utils.run_folder import results_table, write_summary
from bac_utils.settings import Settings, preset
from bac_utils.study.cross_validation import REPORT, fold_folder, fold_views, pool_folds, write_folds
from bac_utils.study.execution import declared_parameters, execute, kernel_environment
from bac_utils.study.folder import PREPARED, begin, check_saved, claim, read_manifest
from bac_utils.study.parameters import check_others
from bac_utils.views_table import read_views

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
STUDY_NOTEBOOKS = "0[0-6]_*.ipynb"
"""The notebooks of a run; those with higher numbers are run on their own."""
SIMULATOR = "00_simulator"
"""The notebook on the simulator; it is not run for a cohort of your own."""
FOLD_NOTEBOOKS = ("01", "02", "03", "04")
"""Numbers of the notebooks that are run for each fold; the others are interactive."""

WEIGHTS = ("imagenet", "structures", "bundled", "detector", "none")
"""Values of `Settings.weights` that are not paths."""

_Given = str | os.PathLike | None
_BY_OPTION = {"output": "--output", "preset": "--preset", "cohort": "--cohort", "readings": "--readings"}


def check_parameters(
    preset_name: str, parameters: dict[str, Any], notebooks: Path = NOTEBOOKS, simulated: bool = True
) -> Settings:
    """Check the parameters of a run before any work.

    Args:
        preset_name: `demo` or `paper`.
        parameters: Values by name.
        notebooks: Folder of the notebooks `NN_topic.ipynb`.
        simulated: Whether the cohort is simulated, so that the notebook on the simulator is run, too.

    Returns:
        The preset, changed by those parameters that are settings.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: No notebook of the run has such a parameter, a value is out of range, or the preset is unknown.
        FileNotFoundError: There are no notebooks.
    """
    known = set().union(*_declared(notebooks, simulated).values()) - set(_BY_OPTION)
    for name in parameters:
        if name in _BY_OPTION:
            raise ValueError(f"parameter {name!r}: use the option {_BY_OPTION[name]} instead")
        if name not in known:
            raise ValueError(f"parameter {name!r} is unknown, must be one of {', '.join(sorted(known))}")
    changes = {k: v for k, v in parameters.items() if k in Settings.__dataclass_fields__}
    if changes.get("age_limits") == "population":  # a value that notebook 01 replaces by limits
        del changes["age_limits"]
    check_others(parameters)
    return preset(preset_name, **changes)


def run_notebooks(
    output: str | os.PathLike,
    preset_name: str = "demo",
    cohort: str | os.PathLike | None = None,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    notebooks: Path = NOTEBOOKS,
    readings: str | os.PathLike | None = None,
) -> dict:
    """Run every notebook in order and write the summary.

    Args:
        output: The run's folder: new, empty, or with an unfinished run with the same settings, which is resumed.
        preset_name: `demo` or `paper`.
        cohort: A views table; notebook 00, on the simulator, is then not run. Without one, a cohort is simulated.
        parameters: Values for parameters that the notebooks declare; each notebook gets those that it declares.
        overwrite: Start again in a folder that contains a run; files that are not the run's are kept.
        notebooks: Folder of the notebooks `NN_topic.ipynb`.
        readings: Labels and lengths of readers that replace those of the cohort (`corrections.read_corrections`).

    Returns:
        The summary, as in `summary.json`.

    Raises:
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is unknown or out of range, the views table breaks a rule, or the folder contains links.
        ConnectionError: The ImageNet weights cannot be downloaded.
        FileExistsError: The folder contains something other than a run, or a run that is finished, in progress or has
            other settings.
        FileNotFoundError: There are no notebooks, or the cohort does not exist.
        NotebookError: A cell failed; finished notebooks are kept.
    """
    declared = _declared(notebooks, simulated=not cohort)
    folder = claim(output, cohort, overwrite)
    asked = _asked(preset_name, cohort, parameters or {}, notebooks, None, readings)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_saved(folder, overwrite)
        manifest = begin(folder, asked, overwrite)
        return _run(folder, asked, declared, manifest)


def run_folds(
    output: str | os.PathLike,
    folds: int,
    preset_name: str = "demo",
    cohort: str | os.PathLike | None = None,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    notebooks: Path = NOTEBOOKS,
    readings: str | os.PathLike | None = None,
) -> dict:
    """Cross-validate: run notebooks 01 to 04 for each fold, and pool the results of the test sets.

    Args:
        output: The folder: new, empty, or with an unfinished cross-validation with the same settings, which is resumed;
            folds that are finished are not run again. Each fold is a run in a subfolder `fold-1` and so on.
        folds: Number of folds; each woman is in the test set of one fold (`cross_validation.split_folds`).
        preset_name: `demo` or `paper`.
        cohort: A views table without `split`.
        parameters: As for `run_notebooks`, for each fold.
        overwrite: Start again in a folder that contains a run; files that are not the run's are kept.
        notebooks: Folder of the notebooks `NN_topic.ipynb`.
        readings: As for `run_notebooks`.

    Returns:
        The summary, as in `summary.json` (`cross_validation.pool_folds`).

    Raises:
        TypeError, ValueError, FileExistsError, FileNotFoundError, NotebookError: As `run_notebooks`, or there is no
            table, or it cannot be divided into the folds.
    """
    if not cohort:
        raise ValueError("folds: must have a views table (--cohort); `simulate` writes one of simulated women")
    declared = _declared(notebooks, simulated=False)
    declared = {path: defaults for path, defaults in declared.items() if path.stem[:2] in FOLD_NOTEBOOKS}
    folder = claim(output, cohort, overwrite)
    asked = _asked(preset_name, cohort, parameters or {}, notebooks, folds, readings)
    settings = check_parameters(preset_name, asked["parameters"], notebooks, simulated=False)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_saved(folder, overwrite)
        manifest = begin(folder, asked, overwrite)
        population = asked["parameters"].get("age_limits") == "population"
        tables = write_folds(folder, cohort, settings, folds, population, asked["readings"])
        for fold, table in enumerate(tables, 1):
            of_fold = asked | {"cohort": str(table), "cohort_sha256": file_digest(table), "folds": None}
            of_fold |= {"readings": "", "readings_sha256": ""}  # the tables have them
            print(f"fold {fold} of {folds}", file=sys.stderr)
            _run_fold(fold_folder(folder, fold), of_fold, declared, fold_folder(folder, fold - 1) / "cache")
        summary = pool_folds(folder, folds, settings)
        write_json(folder / "manifest.json", manifest | {"finished": True})
    return summary


def _run_fold(folder: Path, asked: dict, declared: dict[Path, dict], prepared: Path) -> None:
    """Run or resume a fold unless it is finished, with the prepared views of the fold before."""
    before = read_manifest(folder)
    if before is not None and before["finished"] and before["asked"] == json.loads(json.dumps(asked)):
        print("done before", file=sys.stderr)
        return
    folder.mkdir(exist_ok=True)
    with locked(folder):
        manifest = begin(folder, asked, overwrite=False)
        if (prepared / INDEX_FILE).is_file() and not (folder / "cache" / INDEX_FILE).exists():
            for name in PREPARED:
                with written_whole(folder / "cache" / name) as unfinished:
                    shutil.copyfile(prepared / name, unfinished)
        _run(folder, asked, declared, manifest)


def _run(folder: Path, asked: dict, declared: dict[Path, dict], manifest: dict) -> dict:
    """Run the notebooks of a run that `_begin` has started or resumed, and return its summary."""
    given = asked["parameters"] | {"output": str(folder)} | {k: asked[k] for k in ("preset", "cohort", "readings")}
    (folder / "notebooks").mkdir(exist_ok=True)
    with kernel_environment(folder / "notebooks" / "kernels.log"):
        run_each(declared, given, folder, manifest)
    summary = write_summary(folder)
    write_json(folder / "manifest.json", manifest | {"finished": True})
    return summary


def closing_words(folder: Path, summary: dict) -> str:
    """Return a finished run's main results next to those of the paper, and where to find the rest."""
    table = results_table(summary).to_string()
    note = "[ ]: 95 % interval, allowing for several views per woman."
    if not read_json(folder / "manifest.json")["asked"]["cohort"]:
        note += " Simulated views are far simpler than a real archive."
    places = "\n".join(
        f"{label:<8} {folder / name}"
        for label, name in (("figures", "figures"), ("pages", "notebooks"), ("numbers", "summary.json"), REPORT)
        if (label, name) != REPORT or (folder / name).is_file()
    )
    return f"{table}\n{note}\n\n{places}"


def _declared(notebooks: Path, simulated: bool) -> dict[Path, dict]:
    """Return the notebooks in order, each with its parameters; `simulated` includes the one on the simulator."""
    paths = sorted(path for path in notebooks.glob(STUDY_NOTEBOOKS) if simulated or path.stem != SIMULATOR)
    if not paths:
        raise FileNotFoundError(f"{notebooks} contains no notebooks: run this from a copy of the repository")
    return {path: declared_parameters(path) for path in paths}


def _asked(
    name: str, cohort: _Given, parameters: dict, notebooks: Path, folds: int | None = None, readings: _Given = None
) -> dict:
    """Check the settings of the run, and return them as stored in the manifest."""
    settings = check_parameters(name, parameters, notebooks, simulated=not cohort)
    if settings.weights == "imagenet":
        from bac_utils.backbones import check_weights

        check_weights(settings)
    if parameters.get("weights") not in (None, *WEIGHTS):
        weights = Path(settings.weights).resolve()  # the notebooks run in another folder
        models = (weights, weights / "model.keras")
        if not (weights.is_file() and h5py.is_hdf5(weights)) and not any(map(zipfile.is_zipfile, models)):
            raise ValueError(
                f"weights: got {weights}, must be {', '.join(WEIGHTS)}, a weights file (HDF5), a .keras file or the "
                "folder of a run"
            )
        parameters = parameters | {"weights": str(weights)}
    if parameters.get("thresholds"):
        from bac_utils.detector import kept_thresholds

        parameters = parameters | {"thresholds": str(Path(parameters["thresholds"]).resolve())}
        kept_thresholds("", parameters["thresholds"])
    found = {"cohort": ("", ""), "readings": ("", "")}
    if readings and not cohort:
        raise ValueError(f"readings: got {readings}, must be given with a views table (--cohort)")
    if cohort:
        _check_views(cohort, settings, parameters.get("age_limits") == "population", folds, readings)
        found["cohort"] = str(Path(cohort).resolve()), file_digest(Path(cohort))
    if readings:
        found["readings"] = str(Path(readings).resolve()), corrections_digest(readings)
    return {
        "preset": name,
        "seed": settings.seed,
        **{f"{key}{end}": value[k] for key, value in found.items() for k, end in enumerate(("", "_sha256"))},
        "parameters": parameters,
        "folds": folds,
    }


def _check_views(cohort: _Given, settings: Settings, population: bool, folds: int | None, readings: _Given) -> None:
    """Raise the errors that the notebooks would raise for a views table and readings."""
    views = read_views(cohort, check_images=True)
    if readings:
        views, _ = correct_labels(views, readings)
    study_flow(views, settings, cohort)
    if folds is None:
        check_cohort(views, settings, population)
    else:
        fold_views(views, settings, folds, population)


def run_each(declared: dict[Path, dict], given: dict, folder: Path, manifest: dict) -> None:
    """Run the notebooks that are not finished; once one runs, all later ones run too."""
    done, resuming = manifest["notebooks"], True
    for number, (path, defaults) in enumerate(declared.items(), 1):
        digest, thresholds = file_digest(path), _thresholds_digest(folder, given) if "thresholds" in defaults else None
        label = f"[{number}/{len(declared)}] {path.stem}"
        before = done.get(path.stem, {})
        resuming = resuming and (before.get("sha256"), before.get("thresholds_sha256")) == (digest, thresholds)
        if resuming:
            print(f"{label}: done before", file=sys.stderr)
            continue
        for later in list(declared)[number - 1 :]:
            done.pop(later.stem, None)
        start = time.monotonic()
        execute(path, {k: v for k, v in given.items() if k in defaults and v is not None}, folder / "notebooks", label)
        seconds = round(time.monotonic() - start, 1)
        done[path.stem] = {"sha256": digest, "thresholds_sha256": thresholds, "seconds": seconds}
        write_json(folder / "manifest.json", manifest)


def _thresholds_digest(folder: Path, given: dict) -> str | None:
    """Return the digest of the saved thresholds that notebooks 03 and 04 use; if it changes, they run again."""
    from bac_utils.detector import KEPT_FILE

    path = Path(given.get("thresholds") or folder / KEPT_FILE)
    return file_digest(path) if path.is_file() else None
