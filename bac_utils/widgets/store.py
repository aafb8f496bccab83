"""A run's views for the widgets: scores, heatmaps and prepared pixels, read from its folder, never made again.

The notebooks save heatmaps as they go: notebook 03 those of the validation and the test set, whose prepared pixels lie
in the run's cache; notebook 04 those of its subset, with their pixels.
"""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from tqdm import tqdm

from bac_utils.dataset import INDEX_FILE, PIXELS_FILE
from bac_utils.run_folder import SETS
from bac_utils.views_table import read_views

KEYS = ["patient_id", "laterality", "view"]
FILES = {"detection": "heatmaps.npz", "quantification": "heatmaps_quantification.npz"}
SUBSET_PIXELS = "quantification.npy"
_EMPTY = pd.MultiIndex.from_arrays([[]] * (len(KEYS) + 1))
COLDEST = 0.10
"""Views with a lower score get no heatmap; the sliders of Th begin here."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader never meets half of it.

    Args:
        path: The file; its folder is made when it is not there.
        content: All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def make_heatmaps(
    explain: Callable[[np.ndarray], np.ndarray],
    pixels: np.ndarray,
    rows: Sequence[int],
    scores: Sequence[float],
    batch_size: int,
) -> np.ndarray:
    """Make the heatmaps of many views, but of those that stay cold.

    A heatmap is at most as hot as its view's score. Where the score is below `COLDEST`, which no slider goes below,
    nothing can be outlined: the map is left at zero, and the time saved.

    Args:
        explain: Takes (B, H, W, 1) and returns heatmaps (B, h, w) in [0, score].
        pixels: All prepared views, (N, H, W).
        rows: The views that get a heatmap.
        scores: Scores of all views, by row.
        batch_size: Views a batch.

    Returns:
        float16 (len(rows), h, w); (len(rows), 1, 1) where all views are cold.
    """
    rows, scores = np.asarray(rows, int), np.asarray(scores, float)
    hot = np.flatnonzero(scores[rows] >= COLDEST)
    found = None
    for start in tqdm(range(0, len(hot), batch_size), desc="heatmaps", unit="batch"):
        places = hot[start : start + batch_size]
        maps = explain(np.asarray(pixels[rows[places]], np.float32)[..., None])
        if found is None:
            found = np.zeros((len(rows), *maps.shape[1:]), np.float16)
        found[places] = maps
    return np.zeros((len(rows), 1, 1), np.float16) if found is None else found


def save_heatmaps(
    folder: Path,
    part: str,
    table: pd.DataFrame,
    heats: np.ndarray,
    spacing_mm: Sequence[tuple[float, float] | None],
    pixels: Sequence[np.ndarray] | None = None,
) -> Path:
    """Save heatmaps into a run's folder.

    Args:
        folder: The run's folder.
        part: `detection` (views whose pixels lie in the run's cache) or `quantification`.
        table: One row a view: `patient_id, laterality, view`.
        heats: (N, h, w) in [0, 1], on the convolution's grid; kept as float16.
        spacing_mm: (row, column) of each prepared view; None or NaN where unknown.
        pixels: The N prepared views, (H, W), where no cache has them; kept as float16.

    Returns:
        The file.

    Raises:
        ValueError: The part is unknown, or the arrays do not pair up with the table.
    """
    if part not in FILES:
        raise ValueError(f"part: got {part!r}, must be one of {', '.join(FILES)}")
    heats = np.asarray(heats, np.float16)
    lengths = {"heats": len(heats), "spacing_mm": len(spacing_mm)} | ({} if pixels is None else {"pixels": len(pixels)})
    for name, length in lengths.items():
        if length != len(table):
            raise ValueError(f"{name}: got {length}, must be {len(table)}, one a row of the table")
    if heats.ndim != 3:
        raise ValueError(f"heats: got shape {heats.shape}, must be (N, h, w)")
    if pixels is not None:
        buffer = io.BytesIO()
        np.save(buffer, np.stack([np.asarray(p, np.float16) for p in pixels]))
        write_bytes(folder / "cache" / SUBSET_PIXELS, buffer.getvalue())
    spacing = np.array([(np.nan, np.nan) if s is None else s for s in spacing_mm], float).reshape(-1, 2)
    buffer = io.BytesIO()
    keys = {name: table[name].astype(str).to_numpy(str) for name in KEYS}
    np.savez_compressed(buffer, heat=heats, spacing_mm=spacing, **keys)
    path = folder / FILES[part]
    write_bytes(path, buffer.getvalue())
    return path


class ViewStore:
    """All views of a run that a widget may show, by row number.

    Attributes:
        folder: The run's folder.
        table: One row a view: `patient_id, laterality, view, split, bac` (0, 1 or NaN), `score`, `age` (years),
            `bac_length_mm` (where `views.csv` has it), `image_path`, `pixel_spacing_mm` (of the file, NaN where it
            states its own), `with_heat`.
        shape: (rows, columns) of the prepared views.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Open a run's folder.

        Args:
            folder: Holds `views.csv`, `predictions.csv` and `cache/`; heatmaps and `quantification.csv` where they are.

        Raises:
            FileNotFoundError: One of the first three is not there.
            ValueError: The cache and the predictions do not pair up.
        """
        self.folder = Path(folder).resolve()
        cache = self.folder / "cache"
        for path in (self.folder / "predictions.csv", cache / PIXELS_FILE, cache / INDEX_FILE):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is not there: run notebooks 01 to 03 first")
        predictions = pd.read_csv(self.folder / "predictions.csv", dtype={"patient_id": str})
        self._pixels = [open_memmap(cache / PIXELS_FILE, mode="r")]
        spacing = json.loads((cache / INDEX_FILE).read_text(encoding="utf-8"))["spacing"]
        spacing = np.array([s or (np.nan, np.nan) for s in spacing], float).reshape(-1, 2)
        if not len(predictions) == len(self._pixels[0]) == len(spacing):
            counts = f"{len(predictions)} rows, {len(self._pixels[0])} prepared views"
            raise ValueError(f"predictions.csv: got {counts}, must be as many: run notebook 03 again")
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
        """Return a prepared view, float32 (H, W): chest wall at the left, 0 outside the breast."""
        source, place = self.table.loc[row, ["source", "place"]]
        return np.asarray(self._pixels[int(source)][int(place)], np.float32)

    def spacing_mm(self, row: int) -> tuple[float, float] | None:
        """Return (row, column) spacing of a prepared view, or None where nothing states it."""
        found = self._spacing[row]
        return None if np.isnan(found).any() else (float(found[0]), float(found[1]))

    def heat(self, row: int) -> np.ndarray | None:
        """Return a view's heatmap, float32 (h, w) in [0, 1], or None where none was saved."""
        place = self._heat_place[row]
        return None if np.isnan(place) else self._heats[int(place)].astype(np.float32)

    def measured_rows(self, split: str) -> list[int]:
        """Return the rows whose areas are laid against lengths: MLO views of the set's BAC+ women.

        Args:
            split: A set, or `quantification`.

        Returns:
            Rows with a heatmap and a known length; empty where there is none.
        """
        table = self.table
        if "bac_length_mm" not in table:
            return []
        with_bac = table["patient_id"].isin(table.loc[table["bac"] == 1, "patient_id"])
        wanted = with_bac | (table["split"] == "quantification")
        wanted &= (table["split"] == split) & (table["view"] == "MLO")
        return table.index[wanted & table["with_heat"] & table["bac_length_mm"].notna()].tolist()

    def _subset(self) -> tuple[pd.DataFrame, np.ndarray] | None:
        """Return notebook 04's views that are in none of the sets, and their spacings, once it has saved them."""
        table, pixels = self.folder / "quantification.csv", self.folder / "cache" / SUBSET_PIXELS
        heats = self.folder / FILES["quantification"]
        if not (table.is_file() and pixels.is_file() and heats.is_file()):
            return None
        found = pd.read_csv(table, dtype={"patient_id": str})[[*KEYS, "split", "bac", "score"]]
        with np.load(heats) as saved:
            spacing, names = saved["spacing_mm"], saved["patient_id"]
        memory = open_memmap(pixels, mode="r")
        if found["split"].isin(SETS).any() or not len(memory) == len(found) == len(names):
            return None
        self._pixels.append(memory)
        return found, spacing

    def _with_views(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add what `views.csv` says of each view."""
        views = read_views(self.folder / "views.csv")
        known = ["age", "image_path", *(n for n in ("bac_length_mm", "pixel_spacing_mm") if n in views)]
        joined = table.merge(views[[*KEYS, *known]], on=KEYS, how="left", validate="many_to_one")
        missing = joined["image_path"].isna()
        if missing.any():
            raise ValueError(f"predictions.csv: {int(missing.sum())} views are not in views.csv: run notebook 03 again")
        return joined if "pixel_spacing_mm" in joined else joined.assign(pixel_spacing_mm=np.nan)

    def _read_heats(self) -> tuple[list[np.ndarray], pd.Series]:
        """Return the saved heatmaps, and their places by key and source."""
        heats, keys = [], []
        for source, name in enumerate(FILES.values()):
            path = self.folder / name
            if not path.is_file() or source >= len(self._pixels):
                continue
            with np.load(path) as saved:
                heats += list(saved["heat"])
                keys += [(*key, source) for key in zip(*(saved[k].tolist() for k in KEYS), strict=True)]
        index = pd.MultiIndex.from_tuples(keys, names=[*KEYS, "source"]) if keys else _EMPTY
        return heats, pd.Series(np.arange(len(heats), dtype=float), index)
