"""The folder of a run: what each notebook passes on to the next, checks of consistency, and the summary.

Each notebook saves its part of the summary in `parts/NAME.json`, together with the digests of the files that it was
made from. `write_summary` joins the parts. The summary is therefore the same whether the notebooks are run by the
command line or by hand, and parts of different studies are never mixed.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bac_utils import __version__
from bac_utils._files import file_digest, read_json, refuse_links, write_json, written_whole
from bac_utils.detection import COUNTS, METRIC_NAMES
from bac_utils.settings import PUBLISHED, Settings, preset
from bac_utils.statistics import with_interval
from bac_utils.views_table import EXAM, SETS, read_views

PRODUCTS = {
    "cohort": ("01", "views.csv"),
    "training": ("02", "model.keras"),
    "detection": ("03", "predictions.csv"),
    "quantification": ("04", "quantification.csv"),
}
"""The parts of a run in order, each with its notebook and the file that later notebooks read."""
SUMMARY_KEYS = (
    "cohort", "splits", "training", "threshold", "detection", "detection_by_woman", "quantification", "timing",
    "inclusion",
)  # fmt: skip
_COHORT = (
    "women", "views", "bac_women", "bac_views", "age_median", "age_iqr", "mann_whitney_p", "prevalence_by_age_class",
    "readings",
)  # fmt: skip
KEYS = [*EXAM, "laterality", "view"]
"""Columns that identify a view."""
HEATMAP_FILES = {"detection": "heatmaps.npz", "quantification": "heatmaps_quantification.npz"}
SUBSET_PIXELS = "quantification.npy"
_LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "tensorflow", "keras", "pydicom")


def open_run(
    output: str | os.PathLike, preset_name: str, *, after: str | None = None, **changes: Any
) -> tuple[Path, Settings]:
    """Open a run's folder in a notebook, with settings from the notebook's parameters.

    Args:
        output: The folder; created if missing.
        preset_name: `demo` or `paper`.
        after: The part that the notebook starts from, one of `PRODUCTS`; None for the first notebook.
        **changes: Changes of the preset, as for `settings.preset`.

    Returns:
        The absolute path of the folder, and the checked settings.

    Raises:
        TypeError: A setting has the wrong type.
        ValueError: A setting is out of range, the folder contains links, or belongs to a run with another preset or
            seed, or its files belong to different cohorts, splits or models.
        FileNotFoundError: An earlier notebook has not been run in this folder.
    """
    settings = preset(preset_name, **changes)
    folder = Path(output).resolve()
    refuse_links(folder)
    if after is not None:
        check_parts(folder, after)
        begun = load_part(folder, "cohort")
        for name, value in (("preset", settings.name), ("seed", settings.seed)):
            if begun[name] != value:
                raise ValueError(f"{name}: got {value!r}, but the cohort in {folder} was made with {begun[name]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder, settings


def save_part(folder: Path, name: str, settings: Settings | None = None, **values: Any) -> None:
    """Save the results of a notebook, with the digests of the files that they were made from.

    Args:
        folder: The run's folder.
        name: One of `PRODUCTS`.
        settings: The settings with which the notebook ran, for the report.
        **values: The results; those named in `SUMMARY_KEYS` are included in the summary.
    """
    if settings is not None:
        values["settings"] = asdict(settings)
    made_from = list(PRODUCTS)[: list(PRODUCTS).index(name) + 1]
    digests = {PRODUCTS[part][1]: file_digest(folder / PRODUCTS[part][1]) for part in made_from}
    write_json(folder / "parts" / f"{name}.json", values | {"digests": digests})


def load_part(folder: Path, name: str) -> dict:
    """Load the results that `save_part` saved.

    Args:
        folder: The run's folder.
        name: One of `PRODUCTS`.

    Returns:
        The values by name.

    Raises:
        FileNotFoundError: The notebook that writes this part has not been run.
    """
    path = folder / "parts" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run notebook {PRODUCTS[name][0]} first")
    return read_json(path)


def check_parts(folder: Path, last: str) -> None:
    """Raise an error if the parts in a folder come from different cohorts, splits or models.

    Args:
        folder: The run's folder.
        last: The last part that is needed, one of `PRODUCTS`.

    Raises:
        FileNotFoundError: A part or its file is missing.
        ValueError: A file has changed since a later part was made from it.
    """
    names = list(PRODUCTS)[: list(PRODUCTS).index(last) + 1]
    parts = {name: load_part(folder, name)["digests"] for name in names}
    for name in names:
        maker, product = PRODUCTS[name]
        if not (folder / product).is_file():
            raise FileNotFoundError(f"{folder / product} is missing: run notebook {maker} first")
        digest = file_digest(folder / product)
        for later in names[names.index(name) :]:
            if parts[later].get(product) != digest:
                changed = f"{product} in {folder} has changed since notebook {PRODUCTS[later][0]} ran"
                raise ValueError(f"output: {changed}; choose another output, or run the notebooks again in order")


def refuse_other_cohort(folder: Path, views: str) -> None:
    """Raise an error if the views of a run with a trained model would be replaced by others.

    Args:
        folder: The run's folder.
        views: The new content of `views.csv`.

    Raises:
        ValueError: The folder has a trained model, and the content of its `views.csv` differs.
    """
    path = folder / PRODUCTS["cohort"][1]
    trained = (folder / PRODUCTS["training"][1]).is_file()
    if trained and path.is_file() and path.read_bytes() != views.encode("utf-8"):
        raise ValueError(f"output: {folder} has a model that was trained on another cohort; choose another output")


def versions() -> dict[str, str]:
    """Return the versions of Python, the kit and the libraries on which its results depend."""
    found = {"python": platform.python_version(), "bac-utils": __version__}
    return found | {name: metadata.version(name) for name in _LIBRARIES}


def prepared_sets(
    folder: Path, shape: tuple[int, int], workers: int = 1, pixel_mm: float | None = None
) -> tuple[Any, dict[str, slice]]:
    """Return the prepared views of the three sets; after the first call, they come from the run's cache.

    Args:
        folder: The run's folder, with `views.csv`.
        shape: (rows, columns) of the prepared views.
        workers: Number of processes.
        pixel_mm: Pixel size of the prepared views, mm; None stretches.

    Returns:
        The `dataset.PreparedViews`, in the order training, validation and test set, and the rows of each set.
    """
    from bac_utils.dataset import prepare_views

    views = read_views(folder / "views.csv")
    ordered = pd.concat([views[views["split"] == name] for name in SETS], ignore_index=True)
    prepared = prepare_views(ordered, folder / "cache", shape, workers, pixel_mm)
    ends = [0, *np.cumsum([(prepared.table["split"] == name).sum() for name in SETS]).tolist()]
    return prepared, {name: slice(*ends[k : k + 2]) for k, name in enumerate(SETS)}


def write_summary(folder: Path) -> dict:
    """Join the parts of all notebooks and write `summary.json`.

    Args:
        folder: The run's folder.

    Returns:
        The summary; missing results are None.

    Raises:
        FileNotFoundError: The first notebook has not been run.
        ValueError: The parts come from different cohorts, splits or models.
    """
    there = [name for name in PRODUCTS if (folder / "parts" / f"{name}.json").is_file()] or ["cohort"]
    check_parts(folder, there[-1])
    joined: dict = {}
    for name in there:
        joined |= load_part(folder, name)
    summary = {"preset": joined["preset"], "seed": joined["seed"], "versions": versions()}
    summary |= {key: joined.get(key) for key in SUMMARY_KEYS}
    summary["cohort"] = _only(_COHORT, joined["cohort"])
    shown = (*COUNTS, *METRIC_NAMES, *(f"{name}_ci" for name in METRIC_NAMES))
    for key in ("detection", "detection_by_woman"):
        if summary[key]:
            summary[key] = {name: _only(shown, metrics) for name, metrics in joined[key].items()}
    write_json(folder / "summary.json", summary)
    return summary


def _only(names: tuple[str, ...], values: dict) -> dict:
    """Return the values with the given names that exist, in the order of the names."""
    return {name: values[name] for name in names if name in values}


def results_table(summary: dict) -> pd.DataFrame:
    """Compare the main results of a run with the published ones.

    Args:
        summary: Result of `write_summary`.

    Returns:
        Text columns `this run` and `paper`, one row per result; intervals are 95 %.
    """
    cohort, published = summary["cohort"], PUBLISHED
    with_bac, paper_bac = (f"{c['bac_women']} ({c['bac_women'] / c['women']:.1%})" for c in (cohort, published))
    age = cohort["age_median"]
    rows = [
        ("Women", str(cohort["women"]), str(published["women"])),
        ("BAC+ women", with_bac, paper_bac),
        ("Median age (years)", "-" if age is None else f"{age:g}", f"{published['age_median']:g}"),
    ]
    paper_test = published["detection"]["test"]
    for key, unit, names in (
        ("detection", "views", ("auc_roc", "auc_pr", "precision", "recall", "specificity", "f1")),
        ("detection_by_woman", "women", ("auc_roc", "auc_pr", "recall", "specificity")),
    ):
        test = (summary[key] or {}).get("test", {})
        for name in names:
            paper = f"{paper_test[name]:.2f}" if unit == "views" and name in paper_test else "-"
            row = with_interval(test.get(name), test.get(f"{name}_ci"))
            rows.append((f"Test {unit}: {METRIC_NAMES[name]}", row, paper))
    quantified, timing = summary["quantification"] or {}, summary["timing"] or {}
    rho = with_interval(quantified.get("spearman_rho"), quantified.get("spearman_ci"))
    rows.append(("Spearman's rho of area and length", rho, f"{published['spearman_rho']:.2f}"))
    recipe = with_interval(quantified.get("paper_recipe_rho"), None)
    rows.append(("Spearman's rho, the paper's recipe", recipe, f"{published['spearman_rho']:.2f}"))
    seconds = "{:.2f} ± {:.2f}"
    mean, sd = timing.get("elaboration_mean_s"), timing.get("elaboration_sd_s")
    paper_time = seconds.format(published["elaboration_mean_s"], published["elaboration_sd_s"])
    rows.append(("Seconds per view", "-" if mean is None else seconds.format(mean, sd or 0), paper_time))
    return pd.DataFrame(rows, columns=["measure", "this run", "paper"]).set_index("measure")


def view_keys(table: pd.DataFrame) -> list[str]:
    """Return the columns that identify the views of a table: `KEYS`, without `exam` if it is empty throughout."""
    return [name for name in KEYS if name != "exam" or (table[name] != "").any()]


def read_rows(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table of a run, such as `predictions.csv`.

    Args:
        path: A CSV file with one row per view.

    Returns:
        The table; `KEYS` are text as written (`NA`, `007`), and `exam` is empty where it is unknown.
    """
    names = pd.read_csv(path, nrows=0).columns
    unknown = {name: [""] for name in names if name not in KEYS}  # by default, pandas takes an id such as NA for none
    table = pd.read_csv(path, dtype=dict.fromkeys(KEYS, str), keep_default_na=False, na_values=unknown)
    return table if "exam" in table else table.assign(exam="")


def saved_keys(saved: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the columns `KEYS` of heatmaps that `save_heatmaps` saved; runs of version 0.1.0 have no exams."""
    views = len(saved["patient_id"])
    return pd.DataFrame({name: saved[name] if name in saved else [""] * views for name in KEYS})


def save_heatmaps(
    folder: Path,
    part: str,
    form: str,
    table: pd.DataFrame,
    heats: np.ndarray,
    spacing_mm: Sequence[tuple[float, float] | None],
    pixels: Sequence[np.ndarray] | None = None,
) -> Path:
    """Save heatmaps in a run's folder.

    Args:
        folder: The run's folder.
        part: `detection` (views whose pixels are in the run's cache) or `quantification`.
        form: Form of the heatmaps, one of `settings.HEATMAPS`.
        table: One row per view: `KEYS`; without `exam`, each woman has one.
        heats: (N, h, w) in [0, 1], on the grid of the convolution; stored as float16.
        spacing_mm: (row, column) of each prepared view; None or NaN if unknown.
        pixels: The N prepared views, (H, W), if they are not in the cache; stored as float16.

    Returns:
        Path of the file.

    Raises:
        ValueError: The part is unknown, or the arrays do not match the table.
    """
    if part not in HEATMAP_FILES:
        raise ValueError(f"part: got {part!r}, must be one of {', '.join(HEATMAP_FILES)}")
    heats = np.asarray(heats, np.float16)
    lengths = {"heats": len(heats), "spacing_mm": len(spacing_mm)} | ({} if pixels is None else {"pixels": len(pixels)})
    for name, length in lengths.items():
        if length != len(table):
            raise ValueError(f"{name}: got {length}, must be {len(table)}, one per row of the table")
    if heats.ndim != 3:
        raise ValueError(f"heats: got shape {heats.shape}, must be (N, h, w)")
    if pixels is not None:
        with written_whole(folder / "cache" / SUBSET_PIXELS) as unfinished:
            np.save(unfinished, np.stack([np.asarray(p, np.float16) for p in pixels]))
    spacing = np.array([(np.nan, np.nan) if s is None else s for s in spacing_mm], float).reshape(-1, 2)
    keys = {name: table[name].astype(str).to_numpy(str) for name in KEYS if name in table}
    path = folder / HEATMAP_FILES[part]
    with written_whole(path) as unfinished:
        np.savez_compressed(unfinished, heat=heats, spacing_mm=spacing, form=np.array(form), **keys)
    return path
