"""What a browser would ask other hosts for when it opens a page."""

import re
from html.parser import HTMLParser

_FETCHED = {"src", "href", "xlink:href", "srcset", "poster", "data", "background", "manifest", "imagesrcset", "srcdoc"}
_CLICKED = {"a", "area"}  # their addresses are asked for only when the user clicks
_ELSEWHERE = r"(?:https?:|wss?:|ftp:)?//[^\s\"'`)<>,;]+"
_IN_STYLE = re.compile(rf"(?:url\(\s*|@import\s+)[\"']?({_ELSEWHERE})", re.IGNORECASE)
_IN_SCRIPT = re.compile(rf"[\"'`]({_ELSEWHERE})", re.IGNORECASE)
_DATA = re.compile(r"[\w.-]+/(?!javascript|ecmascript)", re.IGNORECASE)  # script types that are not executed


def asked_elsewhere(page: str) -> list[str]:
    """Return the addresses on other hosts that a page would load; any that a script holds counts."""
    found = _Found()
    found.feed(page)
    found.close()
    return found.addresses


class _Found(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses, self._inside = [], None

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        kind = values.get("type", "").strip()
        self._inside = {"style": _IN_STYLE, "script": None if _DATA.match(kind) else _IN_SCRIPT}.get(tag)
        self._search(_IN_STYLE, values.get("style", ""))
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self._search(re.compile(rf"url\s*=\s*[\"']?({_ELSEWHERE})", re.IGNORECASE), values.get("content", ""))
        for name in _FETCHED & set(values) if tag not in _CLICKED else ():
            self._search(re.compile(rf"(?:^|,)\s*({_ELSEWHERE})"), values[name])
        for name, value in values.items():
            if name.startswith("on"):
                self._search(_IN_SCRIPT, value)
        if "srcdoc" in values:
            self.addresses += asked_elsewhere(values["srcdoc"])

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, text):
        if self._inside is not None:
            self._search(self._inside, text)

    def _search(self, pattern, text):
        self.addresses += pattern.findall(text)
