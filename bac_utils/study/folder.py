"""The folder of a run or an evaluation: who may write into it, what it writes, and how it is resumed or replaced.

`manifest.json` records what was asked for and which notebooks are done.
"""

import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from bac_utils._files import has_content, is_unfinished, read_json, refuse_links, write_json
from bac_utils.dataset import INDEX_FILE, PIXELS_FILE
from bac_utils.run_folder import versions
from bac_utils.study.cross_validation import fold_folder

KINDS = {"run": "a run", "evaluation": "an evaluation"}
"""What a folder can hold, as in `manifest.json`, and in words."""

REPORT_FILES = ("report.html", "report.docx", "checklists.html", "checklists.docx")
OWN_FILES = (
    "methods.csv",
    "views.csv",
    "exclusions.csv",
    "inclusion.csv",
    "table_one.csv",
    "model.keras",
    "history.csv",
    "sweep.csv",
    "predictions.csv",
    "detection.csv",
    "quantification.csv",
    "quantification_by_breast.csv",
    "quantification_by_woman.csv",
    "operating_point.json",
    "heatmaps.npz",
    "heatmaps_quantification.npz",
    "summary.json",
    *REPORT_FILES,
    "model_card.md",
    "manifest.json",
)
OWN_FOLDERS = ("images", "cache", "training", "figures", "notebooks", "parts")
"""What a run writes into its folder; overwriting removes these, and those of the folds of a cross-validation, and
nothing else. A reader's notes and saved thresholds stay. With a views table of your own the prepared views stay, too:
`dataset` knows which of them are still valid."""
EVALUATION_FILES = (
    "predictions.csv",
    "inclusion.csv",
    "detection.csv",
    "reliability.csv",
    "decision_curve.csv",
    "subgroups.csv",
    "shift_numbers.csv",
    "shift_categories.csv",
    "comparison.csv",
    "summary.json",
    *REPORT_FILES,
    "manifest.json",
)
"""What an evaluation writes into its folder, beside `OWN_FOLDERS`."""
_FILES = {"run": OWN_FILES, "evaluation": EVALUATION_FILES}

KEPT = ("kept_thresholds.json", "reader_notes.csv", "methods")
"""What a reader has saved in it, and the trained methods of notebook 07, which know what they depend on; overwriting
keeps these."""

PREPARED = (PIXELS_FILE, INDEX_FILE)
"""The prepared views in the folder `cache`; without the second, the first is not used."""

OTHER = "choose another --output, or start again with --overwrite"


def read_manifest(folder: Path, kind: str = "run") -> dict | None:
    """Return the manifest of a run or an evaluation, or None if the folder has none of this package and this kind."""
    try:
        manifest = read_json(folder / "manifest.json")
    except (OSError, ValueError):
        return None
    parts = {"asked": dict, "versions": dict, "notebooks": dict, "finished": bool}
    whole = all(isinstance(manifest.get(name), kind) for name, kind in parts.items())
    ours = whole and manifest.get("kit") == "bac-utils" and manifest.get("kind", "run") == kind
    return manifest if ours else None


def _without_manifest(folder: Path, kind: str = "run") -> bool:
    """Return whether a folder has only files of its kind, and an empty manifest, as a power failure may leave it."""
    if not (folder / "manifest.json").is_file() or has_content(folder / "manifest.json"):
        return False
    own, fold = {*_FILES[kind], *OWN_FOLDERS, *KEPT}, re.compile(r"fold-\d+(\.csv)?")
    return all(path.name in own or fold.fullmatch(path.name) or is_unfinished(path) for path in folder.iterdir())


def claim(output: str | os.PathLike, cohort: str | os.PathLike | None, overwrite: bool, kind: str = "run") -> Path:
    """Return the absolute path of the folder; reject one with anything else than this kind, links, or the cohort."""
    folder = Path(output).resolve()
    refuse_links(folder)
    if folder.is_dir():
        if read_manifest(folder, kind) is None and not all(map(is_unfinished, folder.iterdir())):
            if not _without_manifest(folder, kind):
                raise FileExistsError(f"{folder} contains something other than {KINDS[kind]}: choose another --output")
            if (folder / "summary.json").exists() and not overwrite:
                raise FileExistsError(f"{folder} contains a finished {kind}, of which manifest.json is empty: {OTHER}")
    elif folder.exists():
        raise FileExistsError(f"{folder} is a file: choose another --output")
    if cohort and Path(cohort).resolve().is_relative_to(folder):
        raise ValueError(f"cohort: got {cohort}, must not lie in the {kind}'s folder {folder}: choose another --output")
    return folder


def check_saved(folder: Path, overwrite: bool) -> None:
    """Raise the errors that the notebooks would raise for thresholds in the folder; `overwrite` keeps a reader's."""
    from bac_utils.detector import KEPT_FILE, POINT_FILE, check_point

    for run in (folder, *folder.glob("fold-*/")):
        for name in (KEPT_FILE,) if overwrite else (KEPT_FILE, POINT_FILE):
            if (run / name).exists() and (name == KEPT_FILE or has_content(run / name)):
                check_point(run / name)


def begin(folder: Path, asked: dict, overwrite: bool, kind: str = "run") -> dict:
    """Return the manifest of what is to be started or resumed, after clearing or rejecting what the folder contains."""
    manifest = read_manifest(folder, kind)
    if overwrite and (manifest is not None or _without_manifest(folder, kind)):
        before = (manifest["asked"].get("folds") or 0) if manifest else sum(1 for _ in folder.glob("fold-*/"))
        keep = (asked["folds"] or 0) if kind == "run" and asked["cohort"] else -1
        _clear_run(folder, before, keep, kind)
        manifest = None
    if manifest is None:
        manifest = {
            "kit": "bac-utils",
            "kind": kind,
            "asked": asked,
            "versions": versions(),
            "finished": False,
            "notebooks": {},
        }
        write_json(folder / "manifest.json", manifest)
        return manifest
    for key, value in json.loads(json.dumps(asked)).items():
        before = manifest["asked"].get(key, "" if key.startswith("readings") else None)
        if before != value and key.endswith("_sha256"):
            changed = asked[key.removesuffix("_sha256")]
            raise FileExistsError(f"{folder}: {changed} has changed since the {kind} was started: {OTHER}")
        if before != value:
            raise FileExistsError(f"{folder} contains {KINDS[kind]} with {key} {before!r}, not {value!r}: {OTHER}")
    if manifest["finished"]:
        raise FileExistsError(f"{folder} contains a finished {kind}: {OTHER}")
    if manifest["versions"] != versions():
        raise FileExistsError(f"{folder}: the {kind} was started with other library versions: {OTHER}")
    return manifest


def _clear_run(folder: Path, folds: int, keep_prepared: int, kind: str = "run") -> None:
    """Remove the files of a run and of its folds, or of an evaluation.

    Args:
        folder: The run's folder.
        folds: Number of its folds.
        keep_prepared: Prepared views stay in the folder and its first `keep_prepared` folds; -1: they are removed.
        kind: One of `KINDS`.
    """
    for number in range(1, folds + 1):
        fold = fold_folder(folder, number)
        fold.with_suffix(".csv").unlink(missing_ok=True)
        if fold.is_dir() and not fold.is_symlink():
            _clear_run(fold, 0, 0 if number <= keep_prepared else -1)
            (fold / ".lock").unlink(missing_ok=True)
            if not any(fold.iterdir()):
                fold.rmdir()
    for name in OWN_FOLDERS:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            _clear(folder / name, keep=PREPARED if name == "cache" and keep_prepared >= 0 else ())
    for name in _FILES[kind]:  # the manifest last, so that a partly cleared folder is still recognised as a run
        (folder / name).unlink(missing_ok=True)


def _clear(folder: Path, keep: Collection[str]) -> None:
    """Empty a folder except for the named files, and remove it if nothing remains."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in keep:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
