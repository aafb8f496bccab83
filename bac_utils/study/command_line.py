"""Parameters of notebooks on the command line: `-p NAME VALUE`."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand


class PairsCommand(TyperCommand):
    """A command whose option `-p` takes two words, like that of papermill."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Join `-p NAME VALUE` into one word before the options are parsed."""
        joined, rest = [], iter(args)
        for word in rest:
            joined.append(word)
            if word in ("-p", "--parameter"):
                pair = [next(rest, None), next(rest, None)]
                if None in pair or not pair[0].isidentifier():
                    raise typer.BadParameter("must have the form -p NAME VALUE", ctx=ctx, param_hint="'-p'")
                joined.append("=".join(pair))
        return super().parse_args(ctx, joined)


def parse_value(text: str) -> Any:
    """Parse a parameter's value: JSON, Python's `True`, `False` or `None`, or text.

    Args:
        text: As typed, such as `7`, `1e-3`, `[60, 70, 73]`, `None`, `bundled`.

    Returns:
        The value.
    """
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_parameters(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of parameters by name.

    Args:
        pairs: Words `NAME=VALUE`, as `PairsCommand` joins them; None for none.
    """
    return {name: parse_value(value) for name, _, value in (pair.partition("=") for pair in pairs or [])}
