"""Widgets for JupyterLab and Voila, which show a run's folder or a views table."""

import os

from bac_utils.readings.reader_file import ReaderFile
from bac_utils.widgets.base import chosen_run, chosen_study, headless
from bac_utils.widgets.browser import ViewBrowser
from bac_utils.widgets.cohort_views import CohortViews
from bac_utils.widgets.explorer import CohortExplorer
from bac_utils.widgets.reader_study import ReaderStudy, SignIn
from bac_utils.widgets.store import ViewStore
from bac_utils.widgets.tuner import ThresholdTuner

__all__ = [
    "CohortExplorer",
    "CohortViews",
    "ReaderStudy",
    "SignIn",
    "ThresholdTuner",
    "ViewBrowser",
    "ViewStore",
    "chosen_run",
    "chosen_study",
    "headless",
    "open_browser",
    "open_reader_study",
    "open_tuner",
]


def open_tuner(folder: str | os.PathLike, samples: int = 1000, seed: int = 0) -> ThresholdTuner:
    """Return the threshold tuner for a run's folder; arguments and errors as in `ViewStore` and `ThresholdTuner`."""
    return ThresholdTuner(ViewStore(folder), samples, seed)


def open_browser(folder: str | os.PathLike) -> ViewBrowser:
    """Return the view browser for a run's folder; arguments and errors as in `ViewStore` and `ViewBrowser`."""
    return ViewBrowser(ViewStore(folder))


def open_reader_study(views: CohortViews, folder: str | os.PathLike, reader: str, seed: int) -> ReaderStudy | SignIn:
    """Return the reader study, or a form for the reader's name if it is empty.

    Args:
        views: The views to read.
        folder: Folder of the readings, one file per reader.
        reader: Name of the reader, or empty.
        seed: Seed of the order, the same at each session.

    Raises:
        ValueError: As `ReaderFile`.
    """
    return ReaderStudy(views, ReaderFile(folder, reader, seed)) if reader.strip() else SignIn(views, folder, seed)
