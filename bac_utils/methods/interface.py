"""What a method is: it is fitted on labelled views, scores prepared views, and shows where it sees BAC.

A new method is a subclass of `Method` with four functions; `docs/methods.md` has a complete example.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

SUPERVISIONS = ("none", "image", "pixel")
"""What a method is told of its training views: nothing, whether they show BAC, or which pixels do."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class LabelledViews:
    """Prepared views with what is known of them; all parts have one entry per view, in the same order.

    Attributes:
        pixels: float16 or float32 (N, H, W): mean 0 and standard deviation 1 inside the breast, 0 outside.
        table: One row per view: `patient_id, exam, laterality, view, bac` (0 or 1), `spacing_row_mm,
            spacing_column_mm` (NaN if unknown) and, optionally, `bac_length_mm`.
        outlines: bool (N, H, W), the pixels with BAC; None if they are not known.

    Raises:
        ValueError: The numbers of views differ, a label is neither 0 nor 1, or the outlines have another shape.
    """

    pixels: Any
    table: pd.DataFrame
    outlines: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check the parts."""
        if len(self.pixels.shape) != 3 or len(self.pixels) != len(self.table):
            shape = tuple(self.pixels.shape)
            raise ValueError(f"pixels: got shape {shape}, must be (N, H, W) with N = {len(self.table)} rows of table")
        if not self.table["bac"].isin((0, 1)).all():
            raise ValueError("table: got a view without a label in 'bac', must be 0 or 1 in every row")
        if self.outlines is not None and (
            self.outlines.shape != tuple(self.pixels.shape) or self.outlines.dtype != bool
        ):
            got = f"{self.outlines.dtype} of shape {self.outlines.shape}"
            raise ValueError(f"outlines: got {got}, must be bool of shape {tuple(self.pixels.shape)}")

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """Labels, int64 (N,), 1 for BAC+."""
        return self.table["bac"].to_numpy().astype(np.int64)

    def spacing_mm(self, place: int) -> tuple[float, float] | None:
        """Return the (row, column) spacing of a view in mm, None if it is unknown."""
        row, column = self.table.iloc[place][["spacing_row_mm", "spacing_column_mm"]].astype(float)
        return (row, column) if np.isfinite(row) and np.isfinite(column) else None


@dataclass(frozen=True)
class Look:
    """Where a method sees BAC in one view, and how much.

    Attributes:
        heat: float32 (h, w) in [0, 1], higher where BAC is more likely; it covers the whole view.
        measure: The method's own measure of the amount of BAC, 0 or more (`Method.measure` names it); NaN if unknown.
        mask: bool (H, W), the pixels with BAC, for methods that outline it; else None.
        others: Further measures by name.
    """

    heat: np.ndarray
    measure: float
    mask: np.ndarray | None = None
    others: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Method(ABC):
    """A method for BAC. Subclasses set the attributes and write `scores` and `look`; those that learn also `fit`,
    `load` and `settings`.

    Attributes:
        name: Lower-case letters, digits and hyphens; the name of its row and of its folder.
        title: Its name in figures.
        source: Where it was published, with its doi.
        supervision: One of `SUPERVISIONS`.
        start: What its weights start from: `none` (it has none), `random`, `imagenet`, `structures`, or `file`.
        measure: What `Look.measure` is, with its unit.
        parameters: Number of weights, trained and frozen; known after `fit` or `load`. 0 for a method without.
    """  # noqa: D205

    name: str
    title: str
    source: str
    supervision: str = "none"
    start: str = "none"
    measure: str
    parameters: int = 0

    def settings(self) -> dict:
        """Return what the fitted method depends on, beside its data, as JSON values."""
        return {}

    def fit(self, train: LabelledViews, validation: LabelledViews, folder: Path) -> None:  # noqa: B027
        """Learn from the training views, and save what `load` needs in a folder of its own.

        Args:
            train: Views of the training women; with outlines if the supervision is `pixel`.
            validation: Views of other women, to choose an epoch or a threshold. Never those of the test.
            folder: An existing folder. A fit that was interrupted finds here what it has saved.
        """

    def load(self, folder: Path) -> None:  # noqa: B027
        """Restore what `fit` saved in a folder."""

    @abstractmethod
    def scores(self, views: LabelledViews) -> np.ndarray:
        """Score views; labels and outlines must not be used.

        Returns:
            float64 (N,), finite, higher for BAC+.
        """

    @abstractmethod
    def look(self, pixels: np.ndarray, spacing_mm: tuple[float, float] | None) -> Look:
        """Show where BAC is in a prepared view, float32 (H, W), and measure it."""


def check_method(method: Method) -> Method:
    """Return a method whose attributes are as they should be.

    Raises:
        TypeError: It is not a `Method`.
        ValueError: A text is missing, or the name or the supervision breaks its rule.
    """
    if not isinstance(method, Method):
        raise TypeError(f"method: got {type(method).__name__}, must be a bac_utils.methods.interface.Method")
    for name in ("name", "title", "source", "measure", "start"):
        if not (isinstance(getattr(method, name, None), str) and getattr(method, name).strip()):
            raise ValueError(f"{name}: got {getattr(method, name, None)!r} in {type(method).__name__}, must be text")
    if not _NAME.fullmatch(method.name):
        raise ValueError(f"name: got {method.name!r}, must be lower-case letters, digits and hyphens")
    if method.supervision not in SUPERVISIONS:
        raise ValueError(f"supervision: got {method.supervision!r}, must be one of {', '.join(SUPERVISIONS)}")
    return method


def check_look(look: Look, shape: tuple[int, int], name: str) -> Look:
    """Return what a method has shown of a view of a shape; raise ValueError that names it if it breaks a rule."""
    heat = np.asarray(look.heat)
    if heat.ndim != 2 or heat.size == 0 or not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(f"heat: got shape {heat.shape} from {name}, must be (h, w) with values from 0 to 1")
    if look.measure < 0 or np.isinf(look.measure):
        raise ValueError(f"measure: got {look.measure} from {name}, must be 0 or more, or NaN")
    if look.mask is not None and (look.mask.dtype != bool or look.mask.shape != tuple(shape)):
        raise ValueError(f"mask: got {look.mask.dtype} of shape {look.mask.shape} from {name}, must be bool of {shape}")
    return look
