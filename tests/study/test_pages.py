"""The pages of executed notebooks ask no other host for anything."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from page_requests import asked_elsewhere

from bac_utils.study.execution import _write_page

HOST = "https://unpkg.com/x"


@pytest.mark.parametrize(
    "part",
    [
        f'<script src="{HOST}"></script>',
        f"<script>element.src = '{HOST}'</script>",
        f'<script type="module">import x from "{HOST}"</script>',
        f"<script type='text/javascript'>import('{HOST}')</script>",
        f"<link rel=stylesheet href={HOST}>",
        f"<img src='{HOST}'>",
        f"<img srcset='a.png 1x, {HOST} 2x'>",
        f"<svg><image xlink:href='{HOST}'></svg>",
        f"<style>@import '{HOST}';</style>",
        f"<style>p {{ background: url({HOST}) }}</style>",
        f"<p style=\"background: url('{HOST}')\">",
        f"<iframe src='{HOST}'></iframe>",
        f'<iframe srcdoc="<img src={HOST}>"></iframe>',
        f"<object data='{HOST}'></object>",
        f"<meta http-equiv=refresh content='0; url={HOST}'>",
        f"<p onclick=\"fetch('{HOST}')\">",
        "<script src=//unpkg.com/x></script>",
    ],
)
def test_what_a_browser_would_load(part):
    assert asked_elsewhere(f"<html><body>{part}</body></html>") == [HOST if HOST in part else "//unpkg.com/x"]


@pytest.mark.parametrize(
    "part",
    [
        f"<a href='{HOST}'>a link</a>",
        f"<p>see {HOST} and @import '{HOST}'</p>",
        "<img src='data:image/png;base64,iVBO//Rw0KGgo='>",
        "<style>p { background: url(data:image/svg+xml;base64,PHN2//Zy) }</style>",
        f"<script type='application/json'>['{HOST}']</script>",
        "<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    ],
)
def test_what_a_browser_would_not_load(part):
    assert asked_elsewhere(f"<html><body>{part}</body></html>") == []


def test_a_page_has_no_script_and_a_policy(tmp_path):
    """Even with widget views, formulas and diagrams, for which nbconvert would load scripts from other hosts."""
    view = {"application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0, "model_id": "a"}}
    state = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "version_minor": 0, "state": {}}}
    figure = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cells = [
        new_markdown_cell("Area $x^2$ of [a link](https://example.org)\n\n```mermaid\ngraph TD; A-->B\n```"),
        new_code_cell("1", outputs=[new_output("display_data", {**view, "text/plain": "a slider"}), figure]),
    ]
    path = tmp_path / "01_x.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": state}), path)
    _write_page(path)
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert asked_elsewhere(page) == []
    assert "default-src 'none'" in page.split("<style")[0]
    assert '<img alt="figure"' in page and 'href="https://example.org"' in page
    assert "<script" not in page.replace('<script type="application/vnd.jupyter.widget-view+json">', "")
    assert "widgets" not in nbformat.read(path, as_version=4).metadata
