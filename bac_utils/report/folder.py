"""Write the report of a finished run, cross-validation or evaluation into its folder."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from bac_utils._files import locked, read_json, refuse_links, written_whole
from bac_utils.detection import METRIC_NAMES
from bac_utils.inclusion.flow import STAGES
from bac_utils.report.cards import NAME, run_card, write_card
from bac_utils.report.rendering import render
from bac_utils.report.sources import DEFAULT, Sources, reference
from bac_utils.report.word import write_word
from bac_utils.run_folder import PRODUCTS, check_parts, load_part
from bac_utils.settings import PRESETS, PUBLISHED, Augmentation, Settings

NAMES = ("report.html", "report.docx", "checklists.html", "checklists.docx", NAME)
"""All files of a report; a cross-validation and an evaluation have no model card."""
USED_BY = {
    "cohort": (
        "women", "quantification_women", "pixel_spacing_mm", "minimum_age", "all_views", "age_limits",
        "split_fractions", "train_prevalence",
    ),
    "detection": ("bootstrap_samples",),
    "quantification": ("heatmap", "heatmap_threshold"),
}  # fmt: skip
"""The settings that another notebook than that of the training uses, by the part of the run."""
_OF_SIMULATION = ("women", "quantification_women", "pixel_spacing_mm")


def write_report(folder: str | os.PathLike) -> list[Path]:
    """Write the report of a folder: `NAMES`, of which a cross-validation and an evaluation have no model card.

    Args:
        folder: The folder of a finished run, cross-validation or evaluation; `kind` in its `summary.json` says which,
            and a summary without it is that of a run.

    Returns:
        The paths of the files, each written atomically.

    Raises:
        FileNotFoundError: The folder has no `summary.json`.
        FileExistsError: Another process uses the folder.
        ValueError: A file is not valid, the folder contains links, or its files have changed since the summary was
            written.
    """
    folder = Path(folder).resolve()
    if not (folder / DEFAULT).is_file():
        raise FileNotFoundError(f"{folder / DEFAULT} is missing: a report needs a finished run or evaluation")
    refuse_links(folder)
    with locked(folder):
        found = Sources(folder)
        kind = found.value("kind") or "run"
        if kind not in _KINDS:
            raise ValueError(f"{folder / DEFAULT}, kind: got {kind!r}, must be one of {', '.join(_KINDS)}")
        template, answers, what, about = _KINDS[kind]
        values = about(found)
        pages = {
            "report": render(found, template, **values),
            "checklists": render(found, "checklists.html.j2", answers=answers, what=what, **values),
        }
        cards = {}
        if kind == "run" and not values["folds"]:
            cards[NAME] = run_card(found, **values)
        written = []
        for name, page in pages.items():
            written += _write_page(folder / name, page)
        return written + [write_card(folder / name, text) for name, text in cards.items()]


@contextlib.contextmanager
def report_after(folder: str | os.PathLike) -> Iterator[None]:
    """Write the report of a folder whose results are complete, before the block that tells of them.

    Args:
        folder: The folder.

    Yields:
        Nothing.

    Raises:
        RuntimeError: After the block: the report could not be written, for whatever reason.
    """
    failure = None
    try:
        write_report(folder)
    except Exception as error:  # the results must not be lost
        failure = " ".join(str(error).split()) or type(error).__name__
    yield
    if failure:
        raise RuntimeError(f"results are complete, but not their report ({failure}): `report {folder}` writes it again")


def _write_page(stem: Path, page: str) -> list[Path]:
    """Write a page as HTML and as a Word file."""
    paths = [stem.with_suffix(suffix) for suffix in (".html", ".docx")]
    with written_whole(paths[0]) as part:
        part.write_text(page, encoding="utf-8", newline="")
    with written_whole(paths[1]) as part:
        write_word(page, part)
    return paths


def about_run(found: Sources) -> dict[str, Any]:
    """Return what the templates need to know of a run, besides its values.

    Args:
        found: The run's files.

    Returns:
        By name: `folds`, whether it is a cross-validation; `of`, the folder of its first fold; `simulated`, whether the
        views are; `own_simulation`, whether the run simulated them; `continued`, whether the training of a detector was
        continued; names of stages, and functions for the paper's values and the settings.

    Raises:
        ValueError: Files have changed since the summary was written.
    """
    folds = found.value("folds") is not None
    if not folds:
        _check_summary(found.folder)
    of = "fold-1/" if folds else ""
    source = str(found.value("parts/cohort.json:source") or "")
    manifest = found.value("manifest.json:asked")
    own = not manifest["cohort"] if isinstance(manifest, dict) else source.endswith(" simulated women")
    weights = str(found.value("parts/training.json:settings.weights") or "")
    return {
        "folds": folds,
        "of": of,
        "own_simulation": own,
        "simulated": own or found.value(f"{of}parts/cohort.json:simulated") is True,
        "continued": weights.endswith(".keras"),
        "stage_names": dict(STAGES),
        "published": lambda name, metric: _published(found, name, metric),
        "settings_rows": _settings_rows(found, of, own),
    }


def _check_summary(folder: Path) -> None:
    """Raise an error if the summary is not that of the parts in the folder."""
    there = [name for name in PRODUCTS if (folder / "parts" / f"{name}.json").is_file()] or ["cohort"]
    check_parts(folder, there[-1])
    summary = read_json(folder / DEFAULT)
    for name in there:
        part = load_part(folder, name)
        for key in ("splits", "threshold", "quantification", "timing"):
            if key in part and part[key] != summary.get(key):
                raise ValueError(f"{folder / DEFAULT}, {key}: differs from parts/{name}.json: run notebook 04 again")


def _published(found: Sources, name: str, metric: str) -> str:
    """Return the reference of a metric in the paper; those computed from its counts are in `detection.csv`."""
    if metric in PUBLISHED["detection"][name]:
        return reference("paper", "detection", name, metric)
    measures = [row.get("measure") for row in found.rows("detection.csv")]
    label = METRIC_NAMES[metric]
    row = measures.index(label) if label in measures else len(measures)
    return reference("detection.csv", row, f"{name}, paper")


def _settings_rows(found: Sources, of: str, own: bool) -> list[tuple[str, str, str, bool]]:
    """Return for each setting its name, the references of its value and of the preset's, and whether they differ."""
    if found.value("preset") not in PRESETS:
        return []
    names = [field.name for field in fields(Settings) if field.name not in ("name", "augmentation")]
    names += [f"augmentation.{field.name}" for field in fields(Augmentation)]
    part_of = {name: part for part, used in USED_BY.items() for name in used}
    rows = []
    for name in names:
        part = f"{of}parts/{part_of.get(name, 'training')}.json"
        if not own and name in _OF_SIMULATION or found.value(f"{part}:settings") is None:
            continue
        ours, theirs = f"{part}:settings.{name}", f"preset:{name}"
        if name == "age_limits":  # those used, also where the quartiles of the population were asked for
            ours = f"{part}:{name}"
        values = [list(v) if isinstance(v, tuple) else v for v in map(found.value, (ours, theirs))]
        rows.append((name, ours, theirs, values[0] != values[1]))
    return rows


def about_evaluation(found: Sources) -> dict[str, Any]:
    """Return what the templates need to know of an evaluation, besides its values."""
    del found
    return {"folds": False, "of": "", "stage_names": dict(STAGES)}


_Kind = tuple[str, str, str, Callable[[Sources], dict[str, Any]]]
_KINDS: dict[str, _Kind] = {
    "run": ("run.html.j2", "answers_run.j2", "the run", about_run),
    "evaluation": ("evaluation.html.j2", "answers_evaluation.j2", "the evaluation", about_evaluation),
}
