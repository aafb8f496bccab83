"""Cross-validation by woman, for cohorts that are too small to be split: the folds, and the pooled results.

Each woman is in the test set of one fold. Each fold trains its own network and chooses its own threshold, so that
scores of different folds are not on one scale. Areas under curves and rank correlations are therefore computed within
the folds and averaged; true and false results are counted over all folds, each view at the threshold of its fold.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.model_selection import StratifiedKFold

from bac_utils._files import plain, read_json, write_json, written_whole
from bac_utils._terminal import say
from bac_utils.cohort import (
    age_class,
    assign_sets,
    check_classes,
    include_women,
    population_age_limits,
    split_counts,
    women_table,
)
from bac_utils.detection import auc_roc_interval, by_woman, detection_intervals, detection_metrics, detection_table
from bac_utils.inclusion.corrections import correct_labels, corrections_text
from bac_utils.inclusion.diagram import inclusion_diagram
from bac_utils.inclusion.flow import STAGES
from bac_utils.inclusion.study import study_flow
from bac_utils.plots import save
from bac_utils.run_folder import read_rows, results_table, versions
from bac_utils.settings import PUBLISHED, Settings
from bac_utils.statistics import (
    LEAST_WOMEN,
    correlation_interval,
    effective_size,
    finite_or_none,
    resample_women,
    share_interval,
    with_interval,
)
from bac_utils.views_table import COLUMNS, SETS, read_views

AREAS = ("auc_roc", "auc_pr")
REPORT = ("report", "report.html")
"""Label and name of the report in closing words, where it has been written."""
MEASURES = {"spearman_rho": "heatmap_area", "paper_recipe_rho": "paper_area"}
"""Columns of `quantification.csv`, without their unit, by the key of their correlation with the reference length."""


def fold_folder(folder: Path, fold: int) -> Path:
    """Return the folder of a fold's run; its views table lies beside it, with the same name and the suffix `.csv`."""
    return folder / f"fold-{fold}"


def split_folds(women: pd.DataFrame, settings: Settings, folds: int) -> pd.DataFrame:
    """Split a cohort by woman: each woman is in the test set of one fold.

    The test sets are equal in size, and in their numbers of BAC- women and of BAC+ women of each age class, as far as
    these numbers divide (scikit-learn's StratifiedKFold). The other women are divided into training and validation set
    as in `cohort.split_women`, in the ratio of its shares for these sets, and the training set is undersampled.

    Args:
        women: One row per woman: `patient_id, age, bac` (0 or 1). The order of the rows does not matter.
        settings: `split_fractions`, `age_limits`, `train_prevalence` and `seed` are used.
        folds: Number of folds.

    Returns:
        One column per fold, 1 to `folds`: train, validation, test or unused; indexed by `patient_id`, in the order of
        `women`.

    Raises:
        ValueError: There are fewer than 2 folds, or more than BAC+ or BAC- women; a set would have no BAC+ or no BAC-
            women; or as `cohort.check_classes`.
    """
    check_classes(women)
    counts = women["bac"].map({1: "BAC+", 0: "BAC-"}).value_counts()
    if folds < 2:
        raise ValueError(f"folds: got {folds}, must be at least 2")
    for name, count in counts.items():
        if folds > count:
            raise ValueError(
                f"folds: got {folds}, but the cohort has {count} {name} women, and each fold must test at least one: "
                f"must be at most {counts.min()}"
            )
    ordered = women.sort_values("patient_id")
    classes = age_class(ordered["age"], settings.age_limits)
    strata = np.where(ordered["bac"] == 1, classes, classes.max() + 1)
    order = np.argsort(strata, kind="stable")  # BAC+ first, so that their sum is balanced, too
    ordered, columns = ordered.iloc[order], {}
    shares = np.array(settings.split_fractions[:2]) / sum(settings.split_fractions[:2])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # an age class may have fewer women than folds
        parts = list(StratifiedKFold(folds, shuffle=True, random_state=settings.seed).split(ordered, strata[order]))
    for fold, (rest, test) in enumerate(parts, 1):
        try:
            rng = np.random.default_rng((settings.seed, fold))
            assigned = assign_sets(ordered.iloc[rest], SETS[:2], shares, settings, rng)
        except ValueError as error:
            raise ValueError(f"fold {fold} of {folds}, without its test set: {error}") from None
        assigned |= dict.fromkeys(ordered["patient_id"].iloc[test], "test")
        columns[fold] = [assigned[woman] for woman in women["patient_id"]]
    return pd.DataFrame(columns, index=pd.Index(women["patient_id"], name="patient_id"))


def fold_views(
    views: pd.DataFrame, settings: Settings, folds: int, population_limits: bool = False
) -> list[pd.DataFrame]:
    """Make the views table of each fold.

    Args:
        views: A checked views table without `split`.
        settings: As for `split_folds`, and `minimum_age, all_views`.
        folds: Number of folds.
        population_limits: Whether the age classes are the quartiles of the cohort.

    Returns:
        The included views with the `split` of each fold.

    Raises:
        ValueError: The table has a `split`, or as `split_folds` and `cohort.include_women`.
    """
    if "split" in views:
        raise ValueError("views, column 'split': must be absent, as --folds assigns the sets: remove the column")
    included, _ = include_women(views, settings.minimum_age, settings.all_views)
    women = women_table(included)
    limits = population_age_limits(women["age"]) if population_limits else settings.age_limits
    split = split_folds(women, replace(settings, age_limits=tuple(limits)), folds)
    return [included.assign(split=included["patient_id"].map(split[fold])) for fold in split]


def write_folds(
    folder: Path,
    cohort: str | os.PathLike,
    settings: Settings,
    folds: int,
    population_limits: bool = False,
    readings: str | os.PathLike = "",
) -> list[Path]:
    """Write the flow of inclusion and the views table of each fold into a cross-validation's folder.

    Args:
        folder: The folder.
        cohort: The user's views table.
        settings: As for `fold_views`.
        folds: Number of folds.
        population_limits: As for `fold_views`.
        readings: Labels and lengths of readers that replace those of the table (`corrections`); empty: none.

    Returns:
        The tables `fold-1.csv` and so on, with image paths relative to the folder.

    Raises:
        ValueError: As `fold_views`.
    """
    views = read_views(cohort)
    if readings:
        views, counts = correct_labels(views, readings)
        say(corrections_text(counts), err=True)
    tables = fold_views(views, settings, folds, population_limits)
    flow, _ = study_flow(views, settings, cohort)
    flow.write(folder / "inclusion.csv", Path(cohort).parent)
    flow.counts().to_csv(folder / "exclusions.csv", index=False)
    save(inclusion_diagram(flow.stages(), STAGES[flow.start]), folder / "figures" / "inclusion.png")
    write_json(folder / "parts" / "inclusion.json", {"inclusion": flow.stages()})
    paths = []
    for fold, table in enumerate(tables, 1):
        table["image"] = [os.path.relpath(path, folder).replace(os.sep, "/") for path in table["image_path"]]
        names = [*COLUMNS, *(name for name in ("bac_length_mm", "pixel_spacing_mm") if name in table), "split"]
        paths.append(fold_folder(folder, fold).with_suffix(".csv"))
        with written_whole(paths[-1]) as unfinished:
            table[names].to_csv(unfinished, index=False, lineterminator="\n")
    return paths


def pool_folds(folder: Path, folds: int, settings: Settings) -> dict:
    """Write the pooled results of all folds: `predictions.csv`, `quantification.csv`, `detection.csv`, `summary.json`.

    Args:
        folder: The cross-validation's folder, with the finished runs of the folds.
        folds: Number of folds.
        settings: `bootstrap_samples` and `seed` are used.

    Returns:
        The summary. It has the keys of that of a run (`run_folder.write_summary`), with the pooled results as those of
        the test set, and `folds`, the results of each fold.
    """
    runs = {fold: fold_folder(folder, fold) for fold in range(1, folds + 1)}
    summaries = {fold: read_json(run / "summary.json") for fold, run in runs.items()}
    predictions, quantified = (_read_test_views(runs, f"{name}.csv") for name in ("predictions", "quantification"))
    thresholds = {fold: summary["threshold"]["value"] for fold, summary in summaries.items()}
    predictions["threshold"] = predictions["fold"].map(thresholds)
    predictions["bac_predicted"] = (predictions["score"] >= predictions["threshold"]).astype(int)
    predictions.to_csv(folder / "predictions.csv", index=False)
    quantified.to_csv(folder / "quantification.csv", index=False)
    options = settings.bootstrap_samples, settings.seed
    women = [by_woman(part).assign(fold=fold) for fold, part in predictions.groupby("fold")]
    women = pd.concat(women, ignore_index=True)
    women["threshold"] = women["fold"].map(thresholds)
    detection = {"test": pooled_detection(predictions, *options)}
    detection_table(detection, PUBLISHED["detection"]).to_csv(folder / "detection.csv", index_label="measure")
    seconds = quantified["elapsed_s"] if "elapsed_s" in quantified else pd.Series(dtype=float)
    summary = {"preset": settings.name, "seed": settings.seed, "versions": versions()}
    summary |= {"cohort": summaries[1]["cohort"], "splits": {"test": split_counts(predictions)["test"]}}
    summary |= {"threshold": None, "detection": detection}
    summary |= {"detection_by_woman": {"test": pooled_detection(women, *options)}}
    summary |= {"quantification": pooled_correlation(quantified, *options)}
    summary |= {
        "timing": {"views": len(seconds), "elaboration_mean_s": seconds.mean(), "elaboration_sd_s": seconds.std()}
    }
    summary |= read_json(folder / "parts" / "inclusion.json")
    summary["folds"] = [
        {"fold": fold, "splits": found["splits"], "threshold": found["threshold"]}
        | {"detection": found["detection"]["test"], "quantification": found["quantification"]}
        for fold, found in summaries.items()
    ]
    summary = plain(summary)
    write_json(folder / "summary.json", summary)
    return summary


def pooled_detection(predictions: pd.DataFrame, samples: int, seed: int) -> dict:
    """Compute the detection performance over all folds.

    Args:
        predictions: One row per view (or per woman) of the test sets: `patient_id, bac, score, fold, threshold`.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        The keys of `detection.detection_metrics`, and `METRIC_ci` ([low, high]) for each metric. Counts and shares are
        those of all views, each at the threshold of its fold. The areas are means over the folds, weighted by the
        numbers of positives. Their intervals are those of `detection_intervals`, with the effective number of views
        from a bootstrap of women within the folds.
    """
    above = predictions.assign(score=predictions["score"] - predictions["threshold"])  # 0 or more: BAC+
    found = detection_metrics(above["bac"], above["score"], 0.0)
    found |= {f"{name}_ci": ci for name, ci in detection_intervals(above, 0.0, samples, seed).items()}
    codes, _ = pd.factorize(above["patient_id"])
    positives, negatives = (np.bincount(codes, above["bac"] == label) for label in (1, 0))
    for name in AREAS:

        def area(bac: np.ndarray, score: np.ndarray, name: str = name) -> tuple[float | None, float]:
            return detection_metrics(bac, score, 0.0)[name], bac.sum()

        found[name], draws = mean_over_folds(predictions, ["bac", "score"], area, samples, seed)
        found[f"{name}_ci"] = [None, None]
        if found[name] is not None and min((positives > 0).sum(), (positives == 0).sum()) >= LEAST_WOMEN:
            found[f"{name}_ci"] = _area_interval(name, found[name], draws, positives, negatives)
    return found


def _area_interval(
    name: str, area: float, draws: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> list[float]:
    """Return the interval of an area, given draws and the numbers of BAC+ and BAC- views of each woman."""
    if name == "auc_pr":
        return share_interval(area, effective_size(area * (1 - area), draws, positives), ("wilson",))
    return auc_roc_interval(area, draws, positives, negatives)


def pooled_correlation(quantified: pd.DataFrame, samples: int, seed: int) -> dict:
    """Compute Spearman's correlation of areas and reference lengths over all folds.

    Args:
        quantified: One row per quantified view of the test sets: `patient_id, bac, fold`, the areas of `MEASURES` in
            mm2 or pixels and, if lengths are known, `bac_length_mm`.
        samples: Number of resamples of women.
        seed: Seed of the resamples.

    Returns:
        `views, bac_views` and, by the keys of `MEASURES`, the mean coefficients of the folds, weighted by the number of
        views; None if lengths are not known. `spearman_ci` is the interval of `agreement.correlate`, with the effective
        number of views from a bootstrap of women within the folds; [None, None] for fewer than `LEAST_WOMEN` women
        or different lengths.
    """
    result = {"views": len(quantified), "bac_views": int(quantified["bac"].sum())}
    result |= {"spearman_rho": None, "spearman_ci": None, "paper_recipe_rho": None}
    known = quantified.dropna(subset=["bac_length_mm"]) if "bac_length_mm" in quantified else quantified[:0]
    for name, measure in MEASURES.items():
        columns = [column for column in (f"{measure}_mm2", f"{measure}_px") if column in known]
        area = known[columns].bfill(axis=1).iloc[:, 0] if columns else pd.Series(np.nan, known.index)
        table = known.assign(area=area).dropna(subset=["area"])
        if len(table):
            result[name], draws = mean_over_folds(table, ["area", "bac_length_mm"], _spearman, samples, seed)
            if name == "spearman_rho":
                rows = table["patient_id"].value_counts().to_numpy()
                enough = result[name] is not None and min(len(rows), table["bac_length_mm"].nunique()) >= LEAST_WOMEN
                result["spearman_ci"] = correlation_interval(result[name], draws, rows) if enough else [None, None]
    return result


def mean_over_folds(
    table: pd.DataFrame,
    columns: Sequence[str],
    statistic: Callable[[np.ndarray, np.ndarray], tuple[float | None, float]],
    samples: int,
    seed: int,
) -> tuple[float | None, np.ndarray]:
    """Average a statistic over folds.

    Args:
        table: One row per view: `patient_id, fold` and the columns.
        columns: Names of the two columns that the statistic takes, float64 (n,) each.
        statistic: Function that returns the statistic of views of one fold, None or NaN if undefined, and its weight.
        samples: Number of resamples. In each, the women of every fold are resampled.
        seed: Seed of the resamples.

    Returns:
        The weighted mean over the folds in which the statistic is defined (None if there are none), and that of each
        resample, float64 (samples,), NaN where undefined.
    """
    points, draws = [], []
    for number, (_, part) in enumerate(table.groupby("fold")):
        x, y = (part[column].to_numpy(float) for column in columns)

        def drawn(weights: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> tuple[float | None, float]:
            rows = np.repeat(np.arange(len(x)), weights.astype(int))
            return statistic(x[rows], y[rows])

        points.append([drawn(np.ones(len(x)))])
        draws.append(resample_women(part, drawn, samples, seed + number))
    mean = _weighted_mean(np.asarray(points, dtype=float))[0]
    return finite_or_none(mean), _weighted_mean(np.asarray(draws))


def _weighted_mean(found: np.ndarray) -> np.ndarray:
    """Return the mean over folds, (n,), of values and weights, (folds, n, 2); NaN where no fold has a value."""
    values, weights = found[..., 0], np.where(np.isnan(found[..., 0]), 0, found[..., 1])
    total = weights.sum(0)
    return np.divide((np.nan_to_num(values) * weights).sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)


def _spearman(area: np.ndarray, length: np.ndarray) -> tuple[float | None, float]:
    """Return Spearman's rho, None for fewer than 3 views or a constant variable, and the number of views."""
    if len(area) < 3 or np.ptp(area) == 0 or np.ptp(length) == 0:
        return None, len(area)
    return float(stats.spearmanr(area, length).statistic), len(area)


def _read_test_views(runs: dict[int, Path], name: str) -> pd.DataFrame:
    """Read a table of each fold's run, and return the rows of the test sets with their `fold`."""
    tables = [read_rows(run / name).assign(fold=fold) for fold, run in runs.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[table["split"] == "test"].reset_index(drop=True)


def folds_table(summary: dict) -> pd.DataFrame:
    """Format the results of each fold on its test set as text.

    Args:
        summary: From `pool_folds`.

    Returns:
        One row per fold.
    """
    rows = {}
    for found in summary["folds"]:
        detection, counts = found["detection"], found["splits"]["test"]
        rows[found["fold"]] = {
            "women": str(counts["women"]),
            "BAC+ of all views": f"{counts['bac_views']} of {counts['views']}",
            "threshold": with_interval(found["threshold"]["value"], None, 3),
            "AUC-ROC": with_interval(detection["auc_roc"], None),
            "AUC-PR": with_interval(detection["auc_pr"], None),
            "precision": with_interval(detection["precision"], None),
            "recall": with_interval(detection["recall"], None),
            "rho": with_interval((found["quantification"] or {}).get("spearman_rho"), None),
        }
    return pd.DataFrame(rows).T.rename_axis("fold")


def closing_words(folder: Path, summary: dict) -> str:
    """Return the main results of a finished cross-validation next to those of the paper, and where to find the rest.

    Args:
        folder: The cross-validation's folder.
        summary: From `pool_folds`.

    Returns:
        The text.
    """
    note = (
        "[ ]: 95 % interval, allowing for several views per woman. AUC and rho are means over the folds,\n"
        "weighted by the numbers of positives and of views; the other rows count all test views,\n"
        "each at the threshold of its fold."
    )
    last = fold_folder(folder, len(summary["folds"])).name
    places = f"folds    {fold_folder(folder, 1)} to {last}\nnumbers  {folder / 'summary.json'}"
    places += f"\nreport   {folder / REPORT[1]}" if (folder / REPORT[1]).is_file() else ""
    return f"{results_table(summary).to_string()}\n{note}\n\n{folds_table(summary).to_string()}\n\n{places}"
