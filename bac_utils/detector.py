"""A trained model with its operating point: the only place where views are classified, outlined and measured.

`score`, notebook 04, the DICOM results and the widgets all use `OperatingPoint.measure`, so that a view has the same
outline, length and area everywhere. (A DICOM Segmentation adds a margin of `segmentation.MARGIN_MM`.) The rule:

- A view is BAC+ if its score is at least the detection threshold.
- A BAC- view has no outline, and its lengths and areas are 0.
- In a BAC+ view, arteries are traced where the heatmap exceeds Th. If none can be traced, its lengths and areas are
  unknown (None), not 0.

Operating points and saved thresholds are only read and written here. Importing this module does not load TensorFlow.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from bac_utils._files import file_digest, has_content, read_json, write_json
from bac_utils._tables import SHOWN
from bac_utils._terminal import TENSORFLOW_NOTICES, without_lines
from bac_utils.arteries.centerlines import Vessels
from bac_utils.arteries.masks import grow
from bac_utils.arteries.segmentation import MARGIN_MM, Lines
from bac_utils.burden import guo_metrics, mask_area, relative_length, severity_class
from bac_utils.heatmap_choice import LengthCheck, read_check
from bac_utils.preprocess import Prepared
from bac_utils.quantify import Finding, bac_region, measure_arteries, upsample_map
from bac_utils.settings import HEATMAPS
from bac_utils.statistics import ScoreSpread, read_spread

BUNDLED = Path(__file__).parent / "weights" / "detector.keras"
POINT_FILE, KEPT_FILE = "operating_point.json", "kept_thresholds.json"
CHOOSING_SETS = ("validation", "train")
"""Sets on which a threshold may be chosen; the first is the default."""
MEASURES = ("bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2")


@dataclass(frozen=True)
class OperatingPoint:
    """The two thresholds of a model, and the form of heatmap for the second one.

    Attributes:
        threshold: Scores of at least this are classified as BAC+; in (0, 1].
        heatmap_threshold: Th of the heatmap, in (0, 1).
        heatmap: Form of heatmap, one of `settings.HEATMAPS`; None for the model's default form.
        pixel_mm: Pixel size of the prepared views, mm; None if breasts are stretched to the matrix.
        chosen_on: The set on which the detection threshold was chosen.
        rule: The rule by which it was chosen.
        heatmap_chosen_on: What the form and Th were chosen on.
        sets_seen: Sets whose results were shown while thresholds were chosen by hand.
        lengths_checked: How well lengths were measured on the validation set; None if unchecked.
        prevalence: Share of BAC+ views for which the scores are calibrated, in (0, 1); None if not stated.
        operating_points: Further detection thresholds by name, in (0, 1].
        score_spread: Spread of the scores of held-out BAC- and BAC+ views; None if not stated.

    Raises:
        ValueError: A field is out of range.
    """

    threshold: float
    heatmap_threshold: float
    heatmap: str | None = None
    pixel_mm: float | None = None
    chosen_on: str = ""
    rule: str = ""
    heatmap_chosen_on: str = ""
    sets_seen: tuple[str, ...] = ()
    lengths_checked: LengthCheck | None = None
    prevalence: float | None = None
    operating_points: dict[str, float] = field(default_factory=dict)
    score_spread: ScoreSpread | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        _check("threshold", self.threshold, 1.0)
        _check("heatmap_threshold", self.heatmap_threshold, np.nextafter(1, 0))
        if self.heatmap not in (None, *HEATMAPS):
            raise ValueError(f"heatmap: got {_quoted(self.heatmap)}, must be one of {', '.join(HEATMAPS)}, or null")
        if self.pixel_mm is not None:
            _check("pixel_mm", self.pixel_mm, 10.0, "a positive number of mm, or null")
        for name in ("chosen_on", "rule", "heatmap_chosen_on"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: got {_quoted(getattr(self, name))}, must be text")
        if not isinstance(self.sets_seen, list | tuple) or not all(isinstance(name, str) for name in self.sets_seen):
            raise ValueError(f"sets_seen: got {_quoted(self.sets_seen)}, must be a list of names of sets")
        object.__setattr__(self, "sets_seen", tuple(self.sets_seen))
        object.__setattr__(self, "lengths_checked", read_check(self.lengths_checked))
        if self.prevalence is not None:
            _check("prevalence", self.prevalence, np.nextafter(1, 0))
        if not isinstance(self.operating_points, dict):
            raise ValueError(f"operating_points: got {_quoted(self.operating_points)}, must be thresholds by name")
        for name, threshold in self.operating_points.items():
            _check(f"operating_points.{name}", threshold, 1.0)
        object.__setattr__(self, "score_spread", read_spread(self.score_spread))

    def at(self, threshold: str | float) -> "OperatingPoint":
        """Return the same operating point with another detection threshold.

        Args:
            threshold: A name in `operating_points`, or a number in (0, 1], also as text. Lengths count as unchecked at
                another threshold.

        Raises:
            ValueError: It is neither; the message states the names.
        """
        try:
            value = float(self.operating_points.get(threshold, threshold))
            _check("threshold", value, 1.0)
        except (TypeError, ValueError):
            names = ", ".join(self.operating_points)
            rule = f"one of {names}, or a number in (0, 1]" if names else "a number in (0, 1]: the model has no names"
            raise ValueError(f"operating_point: got {threshold!r}, must be {rule}") from None
        checked = self.lengths_checked if value == self.threshold else None
        return replace(self, threshold=value, lengths_checked=checked)

    def measure(
        self,
        score: float,
        heat: np.ndarray,
        pixels: np.ndarray,
        spacing_mm: tuple[float, float] | None,
        lines: Lines | None = None,
    ) -> "Finding":
        """Classify and measure one view by the rule in the module's docstring.

        Args:
            score: Score of the view, in [0, 1].
            heat: Its heatmap of the form `heatmap`, (h, w) in [0, 1], which covers the whole prepared view.
            pixels: The prepared view, (H, W), 0 outside the breast.
            spacing_mm: (row, column) of the prepared view, or None if unknown.
            lines: Result of `segmentation.find_lines` for the view, if it is measured several times.

        Returns:
            The finding.

        Raises:
            ValueError: The score is not in [0, 1].
        """
        if not 0 <= score <= 1:
            raise ValueError(f"score: got {score}, must be in [0, 1]")
        bac, pixels = int(score >= self.threshold), np.asarray(pixels)
        breast, empty = pixels != 0, np.zeros(pixels.shape, bool)
        if not bac:
            return Finding(score, bac, empty, None if spacing_mm is None else Vessels())
        if spacing_mm is None:
            return Finding(score, bac, bac_region(heat, pixels.shape, self.heatmap_threshold, breast), None)
        mask, vessels = measure_arteries(heat, pixels, self.heatmap_threshold, spacing_mm, breast, lines)
        return Finding(score, bac, mask if vessels.lines else empty, vessels)


class Detector:
    """A trained model with its operating point, which scores, outlines and measures prepared views.

    Attributes:
        path: The model file.
        shape: (rows, columns) of the model's input.
        point: Its operating point; the form of heatmap is not None.
    """

    def __init__(self, model: str | os.PathLike | None = None) -> None:
        """Load a model.

        Args:
            model: A .keras file or a run's folder; the bundled one by default and for `detector`. Its operating point
                is in the same folder, in `NAME.json` or `operating_point.json`.

        Raises:
            FileNotFoundError: The model or its operating point is missing.
            ValueError: The operating point breaks a rule of `OperatingPoint`, or belongs to another model.
        """
        self.path, point = find_detector(model)
        with without_lines(TENSORFLOW_NOTICES):
            from bac_utils.heatmaps import Explainer, default_form
            from bac_utils.model import load_model

            network = load_model(self.path)
        self.shape = tuple(int(n) for n in network.input_shape[1:3])
        self.point = replace(point, heatmap=point.heatmap or default_form(network))
        self._explain = Explainer(network, [self.point.heatmap])
        self._last: tuple = (None, None, None)

    @property
    def pixel_mm(self) -> float | None:
        """Pixel size of the prepared views, mm; None if breasts are stretched to `shape`."""
        return self.point.pixel_mm

    def look(self, prepared: Prepared) -> Finding:
        """Classify and measure one view.

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            The finding; it is cached until the next view.
        """
        if self._last[0] is not prepared:
            logits, heat = self._explain(prepared.pixels[None, :, :, None])
            (map01,) = heat[self.point.heatmap]
            score = float(expit(np.float64(logits[0])))
            self._last = prepared, self.point.measure(score, map01, prepared.pixels, prepared.spacing_mm), map01
        return self._last[1]

    def measure(self, prepared: Prepared) -> dict:
        """Return the row of one view in a table of scores.

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            `score` (sigmoid of the logit), `bac` (0 or 1), the `reason` and the measures of `Finding` (`bac_area_mm2`,
            `bac_length_mm`, `bac_width_mm`), `breast_area_mm2`, None without a pixel spacing, and `saturated_share`. If
            the stated spacing is not used, the reason is `Prepared.spacing_doubt`.
        """
        found = self.look(prepared)
        breast = None if prepared.spacing_mm is None else mask_area(prepared.mask, prepared.spacing_mm)
        values = (found.area_mm2, found.length_mm, found.width_mm, breast)
        row = {"score": found.score, "bac": found.bac, "reason": prepared.spacing_doubt or found.reason}
        return row | dict(zip(MEASURES, values, strict=True)) | {"saturated_share": prepared.saturated_share}

    def quantify(self, prepared: Prepared) -> dict:
        """Return the row of one view in notebook 04: the measures of `measure`, and published measures of burden.

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            `score, bac`. With a pixel spacing also `bac_area_mm2, measured_length_mm, measured_width_mm, segments`,
            `relative_length_mm_per_cm2` and `severity`, None if `Finding` has no measures, and Guo's sums
            (`burden.guo_metrics`, with the prefix `guo_`) of the heatmap, which do not depend on the operating point.
        """
        found, spacing = self.look(prepared), prepared.spacing_mm
        row = {"score": found.score, "bac": found.bac}
        if spacing is None:
            return row
        heat = upsample_map(self.heat(prepared), self.shape)
        grey = np.interp(prepared.pixels, np.quantile(prepared.pixels[prepared.mask], [0, 0.999]), [1, 255])
        grey = np.where(prepared.mask, grey, 0).astype(np.uint8)
        guo = guo_metrics(np.clip(heat, 0, 1), grey, spacing)
        breast, length, area = guo.pop("breast_area_mm2"), found.length_mm, found.area_mm2
        row |= {"bac_area_mm2": area, "measured_length_mm": length, "measured_width_mm": found.width_mm}
        row |= {"segments": found.vessels.pieces if found.traced else None}
        row |= {f"guo_{name}": value for name, value in guo.items()}
        row["relative_length_mm_per_cm2"] = None if length is None else relative_length(length, breast)
        return row | {"severity": None if area is None else severity_class(area)}

    def outline(self, prepared: Prepared) -> np.ndarray:
        """Outline BAC on one view: the mask that `measure` uses, with a margin of `segmentation.MARGIN_MM`.

        Args:
            prepared: A view of `shape` and `pixel_mm`.

        Returns:
            bool, of `shape`; without a pixel spacing, the region of the heatmap above Th.
        """
        mask = self.look(prepared).mask
        if prepared.spacing_mm is None or not mask.any():
            return mask
        return grow(mask, prepared.spacing_mm, MARGIN_MM) & prepared.mask

    def heat(self, prepared: Prepared) -> np.ndarray:
        """Return the heatmap on which BAC is measured, float32 (h, w) in [0, 1]; it covers the whole prepared view."""
        self.look(prepared)
        return self._last[2]


def find_detector(model: str | os.PathLike | None = None) -> tuple[Path, OperatingPoint]:
    """Find a model file and its operating point; arguments and errors as for `Detector`."""
    path = BUNDLED if model is None or os.fspath(model) == "detector" else Path(model)
    path = path / "model.keras" if path.is_dir() else path
    if path.suffix != ".keras" or not path.is_file():
        raise FileNotFoundError(f"model: got {path}, must be a .keras file or a finished run's folder")
    beside = [path.with_suffix(".json"), path.with_name(POINT_FILE)]
    found = next((p for p in beside if p.is_file()), None)
    if found is None:
        names = " or ".join(p.name for p in beside)
        raise FileNotFoundError(f"model: got no operating point beside {path}, must be {names}")
    return path, check_point(found, path)


def load_point(folder: str | os.PathLike) -> OperatingPoint:
    """Return a run's operating point, written by notebook 03, completed by notebook 04, or saved in notebook 05.

    Args:
        folder: The run's folder.

    Returns:
        The operating point.

    Raises:
        FileNotFoundError: Notebook 03 has not been run.
        ValueError: The file breaks a rule of `OperatingPoint`, or belongs to another model.
    """
    path = Path(folder) / POINT_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run notebook 03 first")
    return check_point(path, Path(folder) / "model.keras")


def with_earlier_heatmap(folder: str | os.PathLike, point: OperatingPoint) -> OperatingPoint:
    """Return an operating point with the heatmap and Th that notebook 04 or 05 has chosen for the same model.

    Args:
        folder: The run's folder.
        point: An operating point; it is returned unchanged if its heatmap is chosen already. Lengths count as unchecked
            if its detection threshold differs from the earlier one.
    """
    folder = Path(folder)
    path, model = folder / POINT_FILE, folder / "model.keras"
    if point.heatmap_chosen_on or not has_content(path) or read_json(path).get("model_sha256") != file_digest(model):
        return point
    before = check_point(path)
    if not before.heatmap_chosen_on:
        return point
    chosen = {name: getattr(before, name) for name in ("heatmap", "heatmap_threshold", "heatmap_chosen_on")}
    checked = before.lengths_checked if point.threshold == before.threshold else None
    return replace(point, **chosen, lengths_checked=checked)


def save_point(folder: str | os.PathLike, point: OperatingPoint) -> None:
    """Write a run's operating point, with the digest of `model.keras`."""
    folder = Path(folder)
    write_json(folder / POINT_FILE, asdict(point) | {"model_sha256": file_digest(folder / "model.keras")})


def keep_thresholds(
    folder: str | os.PathLike,
    threshold: float,
    heatmap_threshold: float,
    chosen_on: str,
    rule: str = "by hand",
    sets_seen: Sequence[str] = (),
) -> Path:
    """Save thresholds chosen by hand, for the next run of notebooks 03 and 04 and for `score`.

    Args:
        folder: The run's folder, with its operating point.
        threshold: Detection threshold of the score, in (0, 1].
        heatmap_threshold: Th of the operating point's form of heatmap, in (0, 1).
        chosen_on: The set on which both were chosen, one of `CHOOSING_SETS`.
        rule: A key of `detection.RULES`, or `by hand`.
        sets_seen: All sets whose results were shown during the choice; those of earlier choices are added.

    Returns:
        Path of `kept_thresholds.json`. The same thresholds are saved in `operating_point.json`, which `score` reads.
        Lengths count as unchecked unless both thresholds are those that were checked.

    Raises:
        FileNotFoundError: The folder has no operating point.
        ValueError: A threshold is out of range, or the set is not one of `CHOOSING_SETS`.
    """
    folder = Path(folder)
    if chosen_on not in CHOOSING_SETS:
        raise ValueError(f"chosen_on: got {chosen_on!r}, must be one of {', '.join(CHOOSING_SETS)}")
    before = load_point(folder)
    same = (before.threshold, before.heatmap_threshold) == (threshold, heatmap_threshold)
    point = replace(
        before,
        threshold=float(threshold),
        heatmap_threshold=float(heatmap_threshold),
        chosen_on=chosen_on,
        rule=rule,
        heatmap_chosen_on=f"{chosen_on} (saved in notebook 05)",
        sets_seen=tuple(sorted({chosen_on, *sets_seen, *before.sets_seen})),
        lengths_checked=before.lengths_checked if same else None,
    )
    save_point(folder, point)
    write_json(folder / KEPT_FILE, read_json(folder / POINT_FILE))
    return folder / KEPT_FILE


def kept_thresholds(folder: str | os.PathLike, file: str | os.PathLike = "") -> OperatingPoint | None:
    """Return the thresholds saved in notebook 05, for the other notebooks.

    Args:
        folder: The run's folder; thresholds saved in it are valid as long as its `model.keras` is the same.
        file: A `kept_thresholds.json` of any run to use instead.

    Returns:
        An operating point with the form of heatmap for its Th, or None if nothing was saved for this model.

    Raises:
        FileNotFoundError: `file` does not exist.
        ValueError: The file lacks a threshold, or its set is not one of `CHOOSING_SETS`.
    """
    path = Path(file) if file else Path(folder) / KEPT_FILE
    if not path.is_file():
        if file:
            raise FileNotFoundError(f"thresholds: got {path}, must be an existing {KEPT_FILE} or empty")
        return None
    point = check_point(path)
    if point.chosen_on not in CHOOSING_SETS:
        raise ValueError(f"{path}: chosen_on: got {point.chosen_on!r}, must be one of {', '.join(CHOOSING_SETS)}")
    model = Path(folder) / "model.keras"
    if model.is_file() and file_digest(model) == read_json(path).get("model_sha256"):
        return point
    other = {"lengths_checked": None, "prevalence": None, "operating_points": {}, "score_spread": None}
    return replace(point, **other) if file else None


def kept_heatmap(
    kept: OperatingPoint | None, form: str | None = None, threshold: float | None = None
) -> tuple[str | None, float | None]:
    """Return the form of heatmap and Th to use: the requested ones, and saved ones in place of those not requested.

    Args:
        kept: From `kept_thresholds`.
        form: Requested form, or None.
        threshold: Requested Th, or None.

    Returns:
        Form and Th, None where neither requested nor saved. A saved Th counts only for the form it was saved with.
    """
    form = form or (kept.heatmap if kept else None)
    if threshold is None and kept and kept.heatmap == form:
        threshold = kept.heatmap_threshold
    return form, threshold


def check_point(path: Path, model: Path | None = None) -> OperatingPoint:
    """Read an operating point; the rules are those of `OperatingPoint`, and it must be that of a given `model`."""
    values = read_json(path)
    if model is not None and values.get("model_sha256") not in (None, file_digest(model)):
        raise ValueError(f"{path}: belongs to another model than {model}; run notebook 03 again")
    known = {entry.name for entry in fields(OperatingPoint)}
    if lacking := [name for name in ("threshold", "heatmap_threshold") if name not in values]:
        raise ValueError(f"{path}: threshold and heatmap_threshold must be present; missing: {', '.join(lacking)}")
    shape = values.get("input_shape", [0, 0])
    if not isinstance(shape, list) or [type(n) for n in shape] != [int, int]:
        raise ValueError(f"{path}: input_shape: got {_quoted(shape)}, must be two whole numbers, rows and columns")
    try:
        return OperatingPoint(**{name: value for name, value in values.items() if name in known})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check(name: str, value: float, high: float, rule: str = "a number between 0 and 1") -> None:
    """Raise ValueError unless a value is a number above 0 and at most `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value <= float(high):
        raise ValueError(f"{name}: got {_quoted(value)}, must be {rule}")


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
