"""Model cards (Markdown) of a trained detector and of the bundled one."""

from pathlib import Path
from typing import Any

from bac_utils._files import written_whole
from bac_utils.report.rendering import render
from bac_utils.report.sources import Sources

NAME = "model_card.md"


def run_card(found: Sources, **values: Any) -> str:
    """Return the card of the model of a run.

    Args:
        found: The run's files.
        **values: What `folder.about_run` says of the run.
    """
    return render(found, "model_card_run.md.j2", plain=True, **values)


def bundled_card(weights: Path) -> str:
    """Return the card of the bundled detector.

    Args:
        weights: The folder with `detector.json`.
    """
    return render(Sources(weights), "model_card_bundled.md.j2", plain=True)


def write_card(path: Path, text: str) -> Path:
    """Write a card and return its path."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
    return path
