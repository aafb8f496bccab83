"""Shared parts of the widgets: their style, and the static figure that replaces them in headless runs."""

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bac_utils.run_folder import load_part
from bac_utils.widgets.tuning import TH_GRID, TH_STEP

HEADLESS = "BAC_UTILS_HEADLESS"
"""Environment variable that the command line sets for its kernels, so that they show figures instead of widgets."""
WIDE = {"description_width": "200px"}
LINE = {"width": "480px", "max_width": "100%"}

RUN = "BAC_UTILS_RUN"
"""Environment variable with the folder of the run shown by notebooks 05 and 06 (`make app RUN=folder`)."""
STUDY = {"cohort": "BAC_UTILS_COHORT", "output": "BAC_UTILS_READINGS", "reader": "BAC_UTILS_READER"}
"""Environment variables with the parameters of notebook 09 (`make app COHORT=table READINGS=folder READER=name`)."""


def chosen_run(output: str, preset: str, seed: int | None) -> dict[str, Any]:
    """Return the run that a notebook shows, as arguments of `run_folder.open_run`.

    Args:
        output: Folder of the run in the notebook's parameters.
        preset: Name of the preset in the notebook's parameters.
        seed: Seed in the notebook's parameters.

    Returns:
        `output, preset_name, seed` of the run named by the variable `BAC_UTILS_RUN`; without it, the notebook's
        parameters.
    """
    folder = os.environ.get(RUN)
    if not folder:
        return {"output": output, "preset_name": preset, "seed": seed}
    part = load_part(Path(folder), "cohort")
    return {"output": folder, "preset_name": part["preset"], "seed": part["seed"]}


def chosen_study(cohort: str, output: str, reader: str) -> tuple[str, str, str]:
    """Return the reader study that a notebook shows.

    Args:
        cohort: The views table in the notebook's parameters.
        output: Folder of the readings in the notebook's parameters.
        reader: Name of the reader in the notebook's parameters.

    Returns:
        The three; each one that a variable of `STUDY` states is replaced by it.
    """
    given = {"cohort": cohort, "output": output, "reader": reader}
    cohort, output, reader = (os.environ.get(STUDY[name]) or value for name, value in given.items())
    return cohort, output, reader


def headless() -> bool:
    """Return whether notebooks run headless, that is, without a user."""
    return os.environ.get(HEADLESS, "") not in ("", "0")


class Panel(ipywidgets.VBox):
    """A group of widgets with a static figure of its initial state, which headless runs and stored pages show."""

    def figure(self) -> Figure:
        """Return a figure of the widgets' current state."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        figure = self.figure()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        plt.close(figure)
        picture = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": type(self).__name__}
        if headless():
            return picture
        found = super()._repr_mimebundle_(**kwargs)
        return picture | (found[0] if isinstance(found, tuple) else found)


def button(text: str, name: str, on_click: Callable[[], None], tooltip: str = "") -> ipywidgets.Button:
    """Return a button as wide as its text, with a class name for the tests."""
    made = ipywidgets.Button(description=text, tooltip=tooltip or text, layout={"width": "auto"})
    made.add_class(name)
    made.on_click(lambda _: on_click())
    return made


def slider(text: str, name: str, low: float, high: float, step: float, value: float, form: str) -> Any:
    """Return a slider with a class name for the tests."""
    made = ipywidgets.FloatSlider(
        value=value, min=low, max=high, step=step, description=text, readout_format=form, style=WIDE,
        layout=LINE,
    )  # fmt: skip
    made.add_class(name)
    return made


def th_slider(th: float) -> Any:
    """Return the slider of Th, with the steps of `tuning.TH_GRID`; its range is extended to a Th outside the grid."""
    low, high = min(TH_GRID[0], th), max(TH_GRID[-1], th)
    return slider("Heatmap threshold Th", "bac-th", low, high, TH_STEP, th, ".2f")


def choice(text: str, name: str, options: Any, value: Any) -> ipywidgets.Dropdown:
    """Return a dropdown list with a class name for the tests."""
    made = ipywidgets.Dropdown(options=options, value=value, description=text, style=WIDE, layout=LINE)
    made.add_class(name)
    return made


def row(*children: Any) -> ipywidgets.HBox:
    """Return widgets side by side; they wrap onto several lines in a narrow window."""
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "6px"})


def heading(text: str) -> ipywidgets.HTML:
    """Return a heading."""
    return ipywidgets.HTML(f"<h3 style='margin:8px 0 2px'>{text}</h3>")
