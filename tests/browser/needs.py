"""Say what the browser tests lack on this machine; nothing is installed."""

import importlib.util
import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_chromium() -> str | None:
    """Return the browser's file: that of the variable CHROMIUM, else one on the path."""
    given = os.environ.get("CHROMIUM")
    found = (shutil.which(name) for name in ([given] if given else NAMES))
    return next((path for path in found if path), next((p for p in _PLACES if not given and os.path.exists(p)), None))


def missing() -> list[str]:
    """Return a line for each thing that is not there."""
    lines = [
        f"the Python package {name}: run `make setup`"
        for name in ("playwright", "jupyterlab", "voila", "anywidget")
        if importlib.util.find_spec(name) is None
    ]
    if not find_chromium():
        lines.append("a Chromium: on Debian and Ubuntu `apt-get install chromium`; or CHROMIUM=/path/to/it")
    return lines


if __name__ == "__main__":
    lines = missing()
    if lines:
        print("make test-browser lacks:", *lines, sep="\n  ", file=sys.stderr)
    sys.exit(bool(lines))
