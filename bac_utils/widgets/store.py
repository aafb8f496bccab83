"""A run's views for the widgets: scores, heatmaps and prepared pixels, read from its folder and never recomputed.

The notebooks save the heatmaps: notebook 03 saves those of the validation and test sets, whose prepared pixels are in
the run's cache; notebook 04 saves those of its subset, together with the prepared pixels.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from bac_utils._files import read_json
from bac_utils.arteries.segmentation import Lines, find_lines
from bac_utils.dataset import INDEX_FILE, PIXELS_FILE
from bac_utils.detector import Finding, OperatingPoint, load_point
from bac_utils.run_folder import HEATMAP_FILES, KEYS, SUBSET_PIXELS, check_parts, read_rows, saved_keys
from bac_utils.views_table import SETS, is_compared, read_views

KEPT_LINES = 8
"""Number of views whose lines are kept in memory."""
_EMPTY = pd.MultiIndex.from_arrays([[]] * (len(KEYS) + 1))


class ViewStore:
    """All views of a run that the widgets can show, by row number.

    Attributes:
        folder: The run's folder.
        table: One row per view: `patient_id, exam, laterality, view, split, bac` (0, 1 or NaN), `score`, `age` (years),
            `bac_length_mm` (if `views.csv` has it), `image_path`, `pixel_spacing_mm` (from `views.csv`; NaN if the
            spacing stated by the image file applies), `with_heat` (whether a heatmap was saved).
        shape: (rows, columns) of the prepared views.
        point: The run's operating point.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Open a run's folder.

        Args:
            folder: Folder of a run in which notebooks 01 to 03 have been run. The results of notebook 04 are included
                if they exist.

        Raises:
            FileNotFoundError: One of notebooks 01 to 03 has not been run.
            ValueError: The folder's files belong to different cohorts or models, or the form of the saved heatmaps
                differs from that of the operating point.
        """
        self.folder = Path(folder).resolve()
        cache = self.folder / "cache"
        check_parts(self.folder, "detection")
        for path in (cache / PIXELS_FILE, cache / INDEX_FILE):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: run notebook 02 first")
        self.point = load_point(self.folder)
        self._known_lines: dict[int, Lines] = {}
        predictions = read_rows(self.folder / "predictions.csv")
        self._pixels = [open_memmap(cache / PIXELS_FILE, mode="r")]
        spacing = read_json(cache / INDEX_FILE)["spacing"]
        spacing = np.array([s or (np.nan, np.nan) for s in spacing], float).reshape(-1, 2)
        if not len(predictions) == len(self._pixels[0]) == len(spacing):
            counts = f"{len(predictions)} rows, {len(self._pixels[0])} prepared views"
            raise ValueError(f"predictions.csv: got {counts}; the numbers must be equal: run notebook 03 again")
        tables, spacings = [predictions.assign(source=0, place=np.arange(len(predictions)))], [spacing]
        subset = self._subset()
        if subset is not None:
            tables.append(subset[0].assign(source=1, place=np.arange(len(subset[0]))))
            spacings.append(subset[1])
        self.table = self._with_views(pd.concat(tables, ignore_index=True))
        self.shape = tuple(int(n) for n in self._pixels[0].shape[1:])
        self._spacing = np.concatenate(spacings)
        self._heats, places = self._read_heats()
        keys = pd.MultiIndex.from_frame(self.table[[*KEYS, "source"]].astype({"source": int}))
        self._heat_place = places.reindex(keys).to_numpy()
        self.table["with_heat"] = ~np.isnan(self._heat_place)

    def pixels(self, row: int) -> np.ndarray:
        """Return a prepared view, float32 (H, W): chest wall on the left, 0 outside the breast."""
        source, place = self.table.loc[row, ["source", "place"]]
        return np.asarray(self._pixels[int(source)][int(place)], np.float32)

    def spacing_mm(self, row: int) -> tuple[float, float] | None:
        """Return the (row, column) spacing of a prepared view in mm, or None if it is unknown."""
        found = self._spacing[row]
        return None if np.isnan(found).any() else (float(found[0]), float(found[1]))

    def heat(self, row: int) -> np.ndarray | None:
        """Return a view's heatmap, float32 (h, w) in [0, 1], or None if none was saved."""
        place = self._heat_place[row]
        return None if np.isnan(place) else self._heats[int(place)].astype(np.float32)

    def measure(self, row: int, point: OperatingPoint) -> Finding | None:
        """Classify and measure a view as in `score`.

        Args:
            row: The view's row.
            point: An operating point for the form of the saved heatmaps.

        Returns:
            The finding, or None if the score is at or above the threshold and no heatmap was saved.
        """
        score, heat = float(self.table.loc[row, "score"]), self.heat(row)
        pixels, spacing, lines = self.pixels(row), self.spacing_mm(row), None
        if score >= point.threshold:
            if heat is None:
                return None
            lines = self._lines(row) if spacing else None
        return point.measure(score, heat, pixels, spacing, lines)

    def _lines(self, row: int) -> Lines:
        """Return the lines of a view, which do not depend on Th; the most recent ones stay in memory."""
        if row not in self._known_lines:
            self._known_lines[row] = find_lines(self.pixels(row), self.spacing_mm(row))
            if len(self._known_lines) > KEPT_LINES:
                del self._known_lines[next(iter(self._known_lines))]
        return self._known_lines[row]

    def measured_rows(self, split: str) -> list[int]:
        """Return the rows whose area is compared with the length: MLO views of the BAC+ women in a set.

        Args:
            split: Name of a set, or `quantification`.

        Returns:
            Those rows with a known length; empty if no heatmaps were saved for the set.
        """
        table = self.table
        if "bac_length_mm" not in table or not table.loc[table["split"] == split, "with_heat"].any():
            return []
        wanted = is_compared(table) & (table["split"] == split)
        return table.index[wanted & table["bac_length_mm"].notna()].tolist()

    def _subset(self) -> tuple[pd.DataFrame, np.ndarray] | None:
        """Return the views of notebook 04, which are in none of the sets, and their spacings.

        Returns:
            The views and spacings, or None if notebook 04 has not finished or must be run again.
        """
        table, pixels = self.folder / "quantification.csv", self.folder / "cache" / SUBSET_PIXELS
        heats = self.folder / HEATMAP_FILES["quantification"]
        if not (table.is_file() and pixels.is_file() and heats.is_file()):
            return None
        try:
            check_parts(self.folder, "quantification")
        except (FileNotFoundError, ValueError):  # notebook 04 is unfinished, or an earlier one was run again since
            return None
        found = read_rows(table)[[*KEYS, "split", "bac", "score"]]
        with np.load(heats) as saved:
            spacing, names, form = saved["spacing_mm"], saved["patient_id"], str(saved["form"])
        memory = open_memmap(pixels, mode="r")
        fits = form == self.point.heatmap and len(memory) == len(found) == len(names)
        if found["split"].isin(SETS).any() or not fits:
            return None
        self._pixels.append(memory)
        return found, spacing

    def _with_views(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the columns of `views.csv` to each view."""
        views = read_views(self.folder / "views.csv")
        known = ["age", "image_path", *(n for n in ("bac_length_mm", "pixel_spacing_mm") if n in views)]
        joined = table.merge(views[[*KEYS, *known]], on=KEYS, how="left", validate="many_to_one")
        missing = joined["image_path"].isna()
        if missing.any():
            raise ValueError(f"predictions.csv: {int(missing.sum())} views are not in views.csv: run notebook 03 again")
        return joined if "pixel_spacing_mm" in joined else joined.assign(pixel_spacing_mm=np.nan)

    def _read_heats(self) -> tuple[list[np.ndarray], pd.Series]:
        """Return the saved heatmaps, and their indices by key and source."""
        heats, keys = [], []
        for source, name in enumerate(HEATMAP_FILES.values()):
            path = self.folder / name
            if not path.is_file() or source >= len(self._pixels):
                continue
            with np.load(path) as saved:
                if source == 0:
                    self._check_spacing(saved)
                if str(saved["form"]) != self.point.heatmap:
                    told = f"{name} has heatmaps of the form {saved['form']}, must be {self.point.heatmap}"
                    raise ValueError(f"{self.folder}: {told} as in the operating point; run notebooks 03 and 04 again")
                heats += list(saved["heat"])
                keys += [(*key, source) for key in saved_keys(saved).itertuples(index=False, name=None)]
        index = pd.MultiIndex.from_tuples(keys, names=[*KEYS, "source"]) if keys else _EMPTY
        return heats, pd.Series(np.arange(len(heats), dtype=float), index)

    def _check_spacing(self, saved: Any) -> None:
        """Raise an error if the views were prepared again, with another pixel size, after the heatmaps were saved."""
        keys = pd.MultiIndex.from_frame(saved_keys(saved))
        places = pd.MultiIndex.from_frame(self.table[KEYS][: len(self._pixels[0])]).get_indexer(keys)
        if not np.allclose(self._spacing[places], saved["spacing_mm"].astype(float), rtol=1e-3, equal_nan=True):
            raise ValueError(f"{self.folder}: views were prepared again after notebook 03: run notebooks 02-04 again")


def measures_text(found: Finding | None) -> str:
    """Return the measurements of a view as text."""
    if found is None:
        return "not measured: no heatmap was saved"
    if not found.bac:
        return "BAC−: nothing is measured"
    if found.vessels is None:
        return "not measured: no pixel spacing"
    if not found.traced:
        return "not measured: no artery could be traced"
    return f"{found.length_mm:.1f} mm, {found.area_mm2:.1f} mm²"
