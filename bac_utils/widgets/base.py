"""What the widgets share: how they look, and the figure that stands for them where nothing answers."""

import base64
import io
import os
from collections.abc import Callable
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

HEADLESS = "BAC_UTILS_HEADLESS"
"""Environment variable that the command line sets for its kernels: figures in place of widgets."""
WIDE = {"description_width": "200px"}
LINE = {"width": "500px", "max_width": "100%"}


def headless() -> bool:
    """Return whether notebooks run without anybody who could move a slider."""
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
