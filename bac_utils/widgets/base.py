"""What the widgets share: their style, and the static figure that represents them in headless runs."""

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
"""Environment variable that the command line sets for its kernels: figures in place of widgets."""
WIDE = {"description_width": "200px"}
LINE = {"width": "480px", "max_width": "100%"}


RUN = "BAC_UTILS_RUN"
"""Environment variable with the folder of the run that notebooks 05 and 06 show (`make app RUN=folder`)."""


def chosen_run(output: str, preset: str, seed: int | None) -> dict[str, Any]:
    """Return which run a notebook shows, as arguments of `run_folder.open_run`.

    Args:
        output: The notebook's parameters, as are `preset` and `seed`.
        preset: See above.
        seed: See above.

    Returns:
        `output, preset_name, seed`: those of the run that the environment names (`RUN`), or else the parameters.
    """
    folder = os.environ.get(RUN)
    if not folder:
        return {"output": output, "preset_name": preset, "seed": seed}
    part = load_part(Path(folder), "cohort")
    return {"output": folder, "preset_name": part["preset"], "seed": part["seed"]}


def headless() -> bool:
    """Return whether notebooks run without a user."""
    return os.environ.get(HEADLESS, "") not in ("", "0")


class Panel(ipywidgets.VBox):
    """A group of widgets with a static figure of its first state, which headless runs and stored pages show."""

    def figure(self) -> Figure:
        """Return the figure, drawn from the widgets' present state."""
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
    """Return a button that is as wide as its text, with a class by which a test finds it."""
    made = ipywidgets.Button(description=text, tooltip=tooltip or text, layout={"width": "auto"})
    made.add_class(name)
    made.on_click(lambda _: on_click())
    return made


def slider(text: str, name: str, low: float, high: float, step: float, value: float, form: str) -> Any:
    """Return a slider with a class by which a test finds it."""
    made = ipywidgets.FloatSlider(
        value=value, min=low, max=high, step=step, description=text, readout_format=form, style=WIDE,
        layout=LINE,
    )  # fmt: skip
    made.add_class(name)
    return made


def th_slider(th: float) -> Any:
    """Return the slider of Th, with the steps of `tuning.TH_GRID`; it reaches to a Th beyond them."""
    low, high = min(TH_GRID[0], th), max(TH_GRID[-1], th)
    return slider("Heatmap threshold Th", "bac-th", low, high, TH_STEP, th, ".2f")


def choice(text: str, name: str, options: Any, value: Any) -> ipywidgets.Dropdown:
    """Return a list to choose from, with a class by which a test finds it."""
    made = ipywidgets.Dropdown(options=options, value=value, description=text, style=WIDE, layout=LINE)
    made.add_class(name)
    return made


def row(*children: Any) -> ipywidgets.HBox:
    """Return widgets side by side, on several lines where the window is narrow."""
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "6px"})


def heading(text: str) -> ipywidgets.HTML:
    """Return a heading."""
    return ipywidgets.HTML(f"<h3 style='margin:8px 0 2px'>{text}</h3>")
