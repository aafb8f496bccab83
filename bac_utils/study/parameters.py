"""Rules for the parameters that only the notebooks know, so that a wrong one is refused before any work.

Those that are settings are checked by `settings.preset`.
"""

from collections.abc import Callable
from typing import Any

from bac_utils.views_table import SETS, SPLITS, VIEWS

_Rule = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: int) -> _Rule:
    return lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}"


def _number(low: float, high: float) -> _Rule:
    return lambda value: type(value) in (int, float) and low <= value <= high, f"a number from {low:g} to {high:g}"


def _names(*known: str) -> _Rule:
    def fits(value: Any) -> bool:
        return isinstance(value, str) and (not value or {name.strip() for name in value.split(",")} <= set(known))

    return fits, f"names from {', '.join(known)}, separated by commas, or empty"


_YES_OR_NO: _Rule = (lambda value: isinstance(value, bool), "True or False")
_SPLIT: _Rule = (lambda value: value in ("", *SPLITS), f"one of {', '.join(SPLITS)}, or empty")

RULES: dict[str, _Rule] = {
    "workers": _whole(1, 1024),
    "examples": _whole(1, 20),
    "heatmap_sets": _names(*SETS),
    "subset_splits": _names(*SETS, "quantification"),
    "subset_view": (lambda value: value in VIEWS, f"one of {', '.join(VIEWS)}"),
    "thresholds": (lambda value: isinstance(value, str), "the path of a kept_thresholds.json, or empty"),
    "sample_women": _whole(1, 1000),
    "sample_spacing_mm": _number(0.05, 0.35),
    "texture_women": _whole(1, 1000),
    "artery_women": _whole(8, 10_000),
    "start": (lambda value: value in ("structures", "imagenet", "none"), "structures, imagenet or none"),
    **dict.fromkeys(("method_epochs", "patch_epochs"), _whole(1, 10_000)),
    "patch_side": (lambda value: type(value) is int and value >= 32 and value % 8 == 0, "a multiple of 8, 32 or more"),
    **dict.fromkeys(("patch_number", "centre_number"), _whole(4, 10_000_000)),
    **dict.fromkeys(
        ("methods", "extra", "outlines", "reader_table"), (lambda value: isinstance(value, str), "text, or empty")
    ),
    "split": _SPLIT,
    "other_women": _YES_OR_NO,
    "recalibrate": _YES_OR_NO,
}
"""By parameter: a test, and the rule in words."""


def check_others(parameters: dict[str, Any]) -> None:
    """Raise an error if a parameter that is no setting breaks its rule.

    Args:
        parameters: Values by name; None stands for the notebook's default, and names without a rule are not checked.

    Raises:
        ValueError: A value breaks its rule.
    """
    for name, value in parameters.items():
        fits, rule = RULES.get(name, (None, ""))
        if fits is not None and value is not None and not fits(value):
            raise ValueError(f"{name}: got {value!r}, must be {rule}")
    if parameters.get("sweep_trainable_convolutions") is not None:
        from bac_utils.training.sweep import check_numbers  # it imports TensorFlow

        check_numbers(parameters["sweep_trainable_convolutions"])
