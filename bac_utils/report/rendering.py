"""Fill the templates: each value with its source, each figure as part of the page.

In HTML a value is `<span data-from="EXPRESSION" data-as="FORM">TEXT</span>`, in Markdown the text alone. `sources` says
what an expression is; a form is a format of Python, `p` for a p value, `key` for a key of
the object, or empty for text. A value that is unknown is
shown as `not available`, never as a number.
"""

import base64
import functools
import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image, UnidentifiedImageError

from bac_utils.report import sources
from bac_utils.report.sources import Sources, as_number

MISSING = "not available"
_MARKS = re.compile(r"([\\`*_\[\]|#])")
"""Characters with a meaning in Markdown."""


def shown(value: Any, form: str = "") -> str | None:
    """Return a value as text.

    Args:
        value: A number, text, a truth value, a list or None.
        form: A format of Python, in which a percentage gets a space before its sign, and `pp` instead of the type is
            that of percentage points; `p`; or empty.

    Returns:
        The text, with a true minus sign in formatted numbers; None if the value is unknown, or no number although the
        form needs one.
    """
    if value is None or value == [] or isinstance(value, dict):
        return None
    if not form:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list | tuple):
            return ", ".join(shown(part) or MISSING for part in value)
        return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    number = as_number(value)
    if number is None:
        return None
    if form == "p":
        return "< 0.001" if number < 0.001 else f"{number:.3f}"
    if form.endswith("pp"):
        return format(100 * number, f"{form[:-2]}f").replace("-", "−") + "\u00a0pp"
    text = format(number, form).replace("-", "−")
    return f"{text[:-1]}\u00a0%" if text.endswith("%") else text


class Page:
    """The values and figures of one page, as the templates ask for them.

    Attributes:
        sources: The folder's files.
        plain: Whether values are text for Markdown instead of HTML.
    """

    def __init__(self, found: Sources, plain: bool = False) -> None:
        """Start a page without figures."""
        self.sources, self.plain, self._figures = found, plain, 0

    def number(self, expression: str, form: str = ".2f") -> Markup:
        """Return a value with its source; see the module's docstring."""
        text = shown(self.sources.value(expression), form)
        if self.plain:
            return Markup(_MARKS.sub(r"\\\1", str(escape(MISSING if text is None else text))))
        full = "".join(
            part if part in (sources.MINUS, sources.OVER) else ":".join(self.sources.split(part))
            for part in re.split(f"({sources.MINUS}|{sources.OVER})", expression)
        )
        missing = Markup(' class="missing"') if text is None else Markup("")
        span = Markup('<span{} data-from="{}" data-as="{}">{}</span>')
        return span.format(missing, full, form, MISSING if text is None else text)

    def text(self, expression: str) -> Markup:
        """Return a value as text."""
        return self.number(expression, "")

    def count(self, expression: str) -> Markup:
        """Return a whole number."""
        return self.number(expression, ",.0f")

    def interval(self, expression: str, form: str = ".2f") -> Markup:
        """Return a value with its 95 % interval, which has the same key with `_ci`."""
        value, limits = self.number(expression, form), f"{expression}_ci"
        if self.sources.value(f"{limits}.0") is None:
            known = self.has(expression) and self.sources.value(limits) is not None
            return value + (Markup(" [too few]") if known else Markup(""))
        return Markup("{} [{}, {}]").format(value, self.number(f"{limits}.0", form), self.number(f"{limits}.1", form))

    def range(self, expression: str, form: str = "g") -> Markup:
        """Return the two numbers of a list, as `52 to 68`."""
        return Markup("{} to {}").format(self.number(f"{expression}.0", form), self.number(f"{expression}.1", form))

    def key(self, parent: str, key: str) -> Markup:
        """Return a key of an object as text; it is given as `keys` returns it."""
        text = sources.meant_key(key)
        if self.plain:
            return Markup(_MARKS.sub(r"\\\1", str(escape(text))))
        full = ":".join(self.sources.split(parent))
        return Markup('<span data-from="{}" data-as="key">{}</span>').format(full, text)

    def setting(self, expression: str) -> Markup:
        """Return a setting; one that is None on purpose is `not set`."""
        return self.text(expression) if self.has(expression) else Markup("not set")

    def has(self, expression: str) -> bool:
        """Return whether a value is known."""
        return self.sources.value(expression) not in (None, [], {})

    def keys(self, expression: str) -> list[str]:
        """Return the keys of an object, or the numbers of the entries of a list, as they are written in a reference."""
        found = self.sources.value(expression)
        if isinstance(found, dict):
            return list(map(sources.escaped_key, found))
        return list(map(str, range(len(found)))) if isinstance(found, list | tuple) else []

    def figure(self, name: str, alt: str, caller: Callable[[], Markup]) -> Markup:
        """Return a figure of the folder with its caption; nothing if the folder has none that can be read."""
        path = self.sources.folder / "figures" / name
        try:
            with Image.open(path) as image:
                if image.format != "PNG":
                    return Markup("")
                size = image.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            return Markup("")
        self._figures += 1
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        return Markup(
            '<figure><img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">'
            "<figcaption>Figure {}. {}</figcaption></figure>"
        ).format(data, *size, alt, self._figures, caller())


def render(found: Sources, template: str, plain: bool = False, **values: Any) -> str:
    """Fill a template of the folder `templates`.

    Args:
        found: The folder's files.
        template: Its file.
        plain: Whether it is Markdown instead of HTML.
        **values: Further names for the template.

    Returns:
        The page.
    """
    page = Page(found, plain)
    values |= {
        "n": page.number, "t": page.text, "count": page.count, "ci": page.interval, "span": page.range,
        "has": page.has, "keys": page.keys, "key": page.key, "setting": page.setting, "figure": page.figure,
        "raw": found.value, "ref": sources.reference, "rows": found.rows, "there": found.has,
    }  # fmt: skip
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    """Return the environment of the templates; it is kept, so that each is compiled once."""
    return Environment(
        loader=PackageLoader("bac_utils.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
