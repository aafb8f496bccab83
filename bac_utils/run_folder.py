"""A run's folder: the settings behind it, what its notebooks hand on, and the summary beside the paper.

Each notebook leaves its share of the summary in `parts/NAME.json`; `write_summary` joins the shares. So the
summary is the same whether the notebooks ran headless or by hand.
"""

import hashlib
import json
import math
import os
import platform
from importlib import metadata
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bac_utils import __version__
from bac_utils.settings import HEATMAPS, PUBLISHED, STRETCH, Settings, preset

SETS = ("train", "validation", "test")
SUMMARY_KEYS = ("cohort", "splits", "threshold", "detection", "quantification", "timing")
_COUNTS = ("tn", "tp", "fn", "fp")
_METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc_roc", "auc_pr")
_COHORT = (
    "women", "views", "bac_women", "bac_views", "age_median", "age_iqr", "mann_whitney_p", "prevalence_by_age_class",
)  # fmt: skip

_LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "tensorflow", "keras", "pydicom")

_RANGES: dict[str, tuple[type, float, float]] = {
    "women": (Integral, 1, 1_000_000),
    "quantification_women": (Integral, 0, 100_000),
    "seed": (Integral, 0, 2**32 - 1),
    "pixel_spacing_mm": (Real, 0.02, 2.0),
    "view_pixel_mm": (Real, 0.02, 5.0),
    "minimum_age": (Integral, 0, 120),
    "train_prevalence": (Real, 0.01, 0.99),
    "width_divisor": (Integral, 1, 64),
    "trainable_convolutions": (Integral, 0, 1000),
    "dense_units": (Integral, 1, 65_536),
    "leaky_slope": (Real, 0, 1),
    "dropout": (Real, 0, 0.99),
    "batch_size": (Integral, 1, 4096),
    "epochs": (Integral, 1, 100_000),
    "learning_rate": (Real, 1e-12, 10),
    "heatmap_threshold": (Real, 0.01, 0.99),
    "bootstrap_samples": (Integral, 20, 1_000_000),
}


def checked_settings(preset_name: str, **changes: Any) -> Settings:
    """Return a preset with changes, every number checked before work starts.

    Args:
        preset_name: `demo` or `paper`.
        **changes: Fields of `Settings`; `None` leaves the preset's value, lists become tuples. `view_pixel_mm` may
            be `"stretch"`: `None` in the settings.

    Returns:
        The frozen settings.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: A value lies outside its range, or a name is unknown.
    """
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    settings = preset(preset_name, **changes)
    for name, (kind, low, high) in _RANGES.items():
        value = getattr(settings, name)
        if name in ("view_pixel_mm", "heatmap_threshold") and value is None:  # stretched; chosen on the validation set
            continue
        word = "a whole number" if kind is Integral else "a number"
        other = f" or {STRETCH!r}" if name == "view_pixel_mm" else ""
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"{name}: got {value!r}, must be {word}{other}")
        if not low <= value <= high:
            raise ValueError(f"{name}: got {value!r}, must be {word} from {low} to {high}{other}")
    if settings.heatmap not in (None, *HEATMAPS):
        raise ValueError(f"heatmap: got {settings.heatmap!r}, must be one of {', '.join(HEATMAPS)}, or None")
    if not isinstance(settings.pretrained_head, bool):
        raise TypeError(f"pretrained_head: got {settings.pretrained_head!r}, must be True or False")
    for name in ("backbone", "weights"):
        if not isinstance(getattr(settings, name), str):
            raise TypeError(f"{name}: got {getattr(settings, name)!r}, must be text")
    rows_columns = _numbers(settings, "input_shape", Integral, 2)
    if min(rows_columns) < 32:
        raise ValueError(f"input_shape: got {rows_columns}, rows and columns must be 32 or more")
    limits = _numbers(settings, "age_limits", Real, 3)
    if any(a >= b for a, b in zip(limits, limits[1:], strict=False)):
        raise ValueError(f"age_limits: got {limits}, must rise")
    shares = _numbers(settings, "split_fractions", Real, 3)
    if min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"split_fractions: got {shares}, must be above 0 and sum to 1")
    return settings


def _numbers(settings: Settings, name: str, kind: type, count: int) -> tuple:
    """Return a field that must be `count` numbers."""
    value = getattr(settings, name)
    if not isinstance(value, tuple) or len(value) != count or not all(isinstance(v, kind) for v in value):
        raise TypeError(f"{name}: got {value!r}, must be a list of {count} numbers")
    return value


def open_run(
    output: str | os.PathLike, preset_name: str, *, first: bool = False, **changes: Any
) -> tuple[Path, Settings]:
    """Open a run's folder from a notebook, with the settings that the notebook's parameters ask for.

    Args:
        output: The folder; made when it is not there.
        preset_name: `demo` or `paper`.
        first: Whether this notebook starts the run; the others must agree with it on preset and seed.
        **changes: As `checked_settings` takes them.

    Returns:
        The folder, absolute, and the checked settings.

    Raises:
        TypeError: A setting is of the wrong kind.
        ValueError: A setting is out of range, or the folder belongs to a run with another preset or seed.
        FileNotFoundError: The first notebook has not run in this folder.
    """
    settings = checked_settings(preset_name, **changes)
    folder = Path(output).resolve()
    if not first:
        begun = load_part(folder, "cohort")
        for name, value in (("preset", settings.name), ("seed", settings.seed)):
            if begun[name] != value:
                raise ValueError(f"{name}: got {value!r}, but the cohort in {folder} was made with {begun[name]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder, settings


def plain(value: Any) -> Any:
    """Return a value as plain JSON types: NumPy scalars and arrays unpacked, NaN and infinities as `None`."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, values: dict) -> None:
    """Write a JSON file in one step, so that a reader never meets half of it.

    Args:
        path: The file; its folder is made when it is not there.
        values: What `plain` can turn into JSON types.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(values), indent=2, allow_nan=False, ensure_ascii=False)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_part(folder: Path, name: str, **values: Any) -> None:
    """Hand a notebook's results on; those named by one of `SUMMARY_KEYS` go into the summary, too."""
    write_json(folder / "parts" / f"{name}.json", values)


def load_part(folder: Path, name: str) -> dict:
    """Return what `save_part` wrote.

    Args:
        folder: The run's folder.
        name: `cohort`, `training`, `detection` or `quantification`.

    Returns:
        The values by name.

    Raises:
        FileNotFoundError: The notebook that writes this part has not run.
    """
    path = folder / "parts" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run the notebook that makes the {name} part first")
    return json.loads(path.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Return the versions of Python, the kit and the libraries that its numbers depend on."""
    found = {"python": platform.python_version(), "bac-utils": __version__}
    return found | {name: metadata.version(name) for name in _LIBRARIES}


def prepared_sets(
    folder: Path, shape: tuple[int, int], workers: int = 1, pixel_mm: float | None = None
) -> tuple[Any, dict[str, slice]]:
    """Return the prepared views of the three sets; from the second call on, from the run's cache.

    Args:
        folder: The run's folder, with `views.csv`.
        shape: (rows, columns) of the prepared views.
        workers: Processes that prepare.
        pixel_mm: Side of a pixel of the prepared views, mm; None stretches.

    Returns:
        The `dataset.PreparedViews`, training set first, then validation and test; and each set's rows.
    """
    from bac_utils.dataset import prepare_views
    from bac_utils.views_table import read_views

    views = read_views(folder / "views.csv")
    ordered = pd.concat([views[views["split"] == name] for name in SETS], ignore_index=True)
    prepared = prepare_views(ordered, folder / "cache", shape, workers, pixel_mm)
    ends = [0, *np.cumsum([(prepared.table["split"] == name).sum() for name in SETS]).tolist()]
    return prepared, {name: slice(*ends[k : k + 2]) for k, name in enumerate(SETS)}


def write_summary(folder: Path) -> dict:
    """Join the notebooks' parts into `summary.json`.

    Args:
        folder: The run's folder.

    Returns:
        The summary; what no notebook has reported is `None`.

    Raises:
        FileNotFoundError: Not even the first notebook has run.
    """
    joined = load_part(folder, "cohort")
    for path in sorted((folder / "parts").glob("*.json")):
        joined |= json.loads(path.read_text(encoding="utf-8"))
    summary = {"preset": joined["preset"], "seed": joined["seed"], "versions": versions()}
    summary |= {key: joined.get(key) for key in SUMMARY_KEYS}
    summary["cohort"] = _only(_COHORT, joined["cohort"])
    shown = (*_COUNTS, *_METRICS, *(f"{name}_ci" for name in _METRICS))
    if summary["detection"]:
        summary["detection"] = {name: _only(shown, metrics) for name, metrics in joined["detection"].items()}
    write_json(folder / "summary.json", summary)
    return summary


def _only(names: tuple[str, ...], values: dict) -> dict:
    """Return the named values, in the order of the names, as far as they are there."""
    return {name: values[name] for name in names if name in values}


def with_interval(value: float | None, interval: list | None, digits: int = 2) -> str:
    """Return `0.95 [0.91, 0.98]`; no bracket where there is no interval, `-` where there is no value."""
    if value is None or not math.isfinite(value):
        return "-"
    if not interval or any(v is None or not math.isfinite(v) for v in interval):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def results_table(summary: dict) -> pd.DataFrame:
    """Lay a run's main numbers beside the published ones.

    Args:
        summary: What `write_summary` returned.

    Returns:
        Text columns `this run` and `paper`, one row a measure; intervals are 95 %, from a bootstrap of women.
    """
    cohort, published = summary["cohort"], PUBLISHED
    with_bac, paper_bac = (f"{c['bac_women']} ({c['bac_women'] / c['women']:.1%})" for c in (cohort, published))
    rows = [
        ("women", str(cohort["women"]), str(published["women"])),
        ("BAC+ women", with_bac, paper_bac),
        ("age, median", f"{cohort['age_median']:g}", f"{published['age_median']:g}"),
    ]
    test, paper_test = (summary["detection"] or {}).get("test", {}), published["detection"]["test"]
    for key in ("auc_roc", "auc_pr", "accuracy", "precision", "recall", "f1"):
        row = with_interval(test.get(key), test.get(f"{key}_ci"))
        label = key.replace("_", "-").upper() if key.startswith("auc") else key
        rows.append((f"test {label}", row, f"{paper_test[key]:.2f}"))
    quantified, timing = summary["quantification"] or {}, summary["timing"] or {}
    rho = with_interval(quantified.get("spearman_rho"), quantified.get("spearman_ci"))
    rows.append(("Spearman rho, area and length", rho, f"{published['spearman_rho']:.2f}"))
    recipe = with_interval(quantified.get("paper_recipe_rho"), None)
    rows.append(("the same, paper's recipe", recipe, f"{published['spearman_rho']:.2f}"))
    seconds = "{:.2f} ± {:.2f}"
    mean, sd = timing.get("elaboration_mean_s"), timing.get("elaboration_sd_s")
    paper_time = seconds.format(published["elaboration_mean_s"], published["elaboration_sd_s"])
    rows.append(("seconds a view", "-" if mean is None else seconds.format(mean, sd or 0), paper_time))
    return pd.DataFrame(rows, columns=["measure", "this run", "paper"]).set_index("measure")
