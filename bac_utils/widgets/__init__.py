"""Widgets for JupyterLab and Voila: `open_tuner` and `open_browser` for a run's folder, and `CohortExplorer`."""

import os

from bac_utils.widgets.base import chosen_run, headless
from bac_utils.widgets.browser import ViewBrowser
from bac_utils.widgets.explorer import CohortExplorer
from bac_utils.widgets.store import ViewStore
from bac_utils.widgets.tuner import ThresholdTuner

__all__ = [
    "CohortExplorer",
    "ThresholdTuner",
    "ViewBrowser",
    "ViewStore",
    "chosen_run",
    "headless",
    "open_browser",
    "open_tuner",
]


def open_tuner(folder: str | os.PathLike, samples: int = 1000, seed: int = 0) -> ThresholdTuner:
    """Return the threshold tuner for a run's folder; arguments and errors as in `ViewStore` and `ThresholdTuner`."""
    return ThresholdTuner(ViewStore(folder), samples, seed)


def open_browser(folder: str | os.PathLike) -> ViewBrowser:
    """Return the view browser for a run's folder; arguments and errors as in `ViewStore` and `ViewBrowser`."""
    return ViewBrowser(ViewStore(folder))
