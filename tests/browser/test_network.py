"""No page asks another host for anything; the servers give pages only with the token, and only under a local name."""

import contextlib
import http.client
import json
import re
import time
import urllib.request
from urllib.parse import urlsplit

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect
from test_notebooks import OF_A_RUN, TINY

from bac_utils.report import write_report
from bac_utils.study.runner import run_notebooks

BROWSER, TUNER = "06_view_browser.ipynb", "05_threshold_tuning.ipynb"
NAMES = [path.stem for path in OF_A_RUN]
PAGES = [*(f"notebooks/{name}.html" for name in NAMES), "report.html", "checklists.html"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory, request, root):
    """Return the folder of all executed notebooks of a run and their pages, inside the folder that JupyterLab shows."""
    given = request.config.getoption("--run-folder")
    run = request.config.invocation_params.dir / given if given else tmp_path_factory.mktemp("runs") / "tiny"
    if not given:
        run_notebooks(run, "demo", parameters=TINY)
        write_report(run)
    (root / "executed").symlink_to((run / "notebooks").resolve(), target_is_directory=True)
    return run / "notebooks"


def ask(address, path=None, **headers):
    """Return the status and the text of an answer; redirections are not followed."""
    parts = urlsplit(address)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)) as connection:
        connection.request("GET", path or f"{parts.path}?{parts.query}", headers=headers)
        answer = connection.getresponse()
        status = answer.status
        return status, "" if status == 101 else answer.read().decode("utf-8", "replace")


def kernel_of(text):
    """Return the kernel's identifier in a page of Voila."""
    return re.search(r'"kernelId": "([\w-]+)"', text)[1]


def test_requests_to_other_hosts_are_noted(record, tmp_path):
    """The check can fail: for scripts, styles, images, frames, imports, fetches and sockets."""
    page, asked = record()
    parts = {
        "script": "<script src='https://a.example/script'></script>",
        "style": "<link rel=stylesheet href='https://a.example/style'>",
        "image": "<img src='http://a.example/image'>",
        "background": "<style>body { background: url(https://a.example/background) }</style>",
        "import": "<script type=module>import('https://a.example/import')</script>",
        "fetch": "<script>fetch('https://a.example/fetch')</script>",
        "frame": "<iframe srcdoc=\"<img src='https://a.example/frame'>\"></iframe>",
        "socket": "<script>new WebSocket('wss://a.example/socket')</script>",
    }
    path = tmp_path / "page.html"
    path.write_text("".join(parts.values()), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_timeout(500)
    assert {address.rpartition("/")[2] for address in asked} == set(parts)


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_a_run_ask_no_other_host(page, executed, name):
    page.goto((executed.parent / name).as_uri())
    expect(page.locator("h1").first).to_be_visible()
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.wait_for_timeout(300)


def test_executed_notebooks_in_jupyterlab_ask_no_other_host(page, lab, executed):
    url, token = lab
    for name in NAMES:
        page.goto(f"{url}/lab/tree/executed/{name}.ipynb?reset&token={token}")
        page.locator(".jp-Notebook .jp-OutputArea-output img").first.wait_for(timeout=90_000)
        page.wait_for_timeout(500)


@pytest.mark.parametrize("name, shown", [(BROWSER, ".bac-views canvas"), (TUNER, ".bac-counts .bac-tp")])
def test_apps_ask_no_other_host(page, voila, name, shown):
    page.goto(voila(name))
    expect(page.locator(shown).first).to_be_visible(timeout=90_000)
    page.wait_for_load_state("networkidle")


def test_the_browser_refuses_scripts_from_elsewhere(record, voila, lab):
    """Even a page that a cell has changed."""
    url, token = lab
    for address in (voila(BROWSER), f"{url}/lab?reset&token={token}"):
        page, _ = record()
        page.goto(address)
        refused = """new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.blockedURI));
            const script = document.createElement("script");
            script.src = "https://a.example/script";
            document.head.append(script);
        })"""
        assert page.evaluate(refused) == "https://a.example/script"


def test_an_app_needs_its_token_and_a_local_name(voila, root):
    address = voila(BROWSER)
    token, host = urlsplit(address).query, urlsplit(address).netloc
    women = set(pd.read_csv(root / "runs" / "demo" / "predictions.csv", dtype=str)["patient_id"])
    Image.new("L", (4, 4)).save(root / "notebooks" / "view.png")
    for path in (
        "/",
        "/?token=wrong",
        f"/notebooks/{BROWSER}",
        "/api/kernels",
        "/api/contents",
        "/voila/render/x.ipynb",
    ):
        status, text = ask(address, path)
        assert (status, text) == (302, ""), path  # to the login page
    assert ask(address, "/voila/files/view.png")[0] == 403
    for name in ("a.example", "a.example:80", "192.0.2.1", f"localhost.a.example:{urlsplit(address).port}"):
        status, text = ask(address, Host=name)
        assert status == 403 and not any(woman in text for woman in women)
    for path in ("/api/contents", "/api/terminals", "/api/kernels", "/files/06_view_browser.ipynb", "/tree", "/lab"):
        assert ask(address, f"{path}?{token}")[0] in (302, 403, 404)  # not served at all

    status, text = ask(address)
    assert status == 200
    kernel = f"/api/kernels/{kernel_of(text)}"
    socket = f"{kernel}/channels"
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    here = {"Origin": f"http://{host}"}
    assert ask(address, f"{socket}?{token}", **upgrade, **here)[0] == 101
    assert ask(address, socket, **upgrade, **here)[0] == 403
    assert ask(address, f"{socket}?token=wrong", **upgrade, **here)[0] == 403
    assert ask(address, f"{socket}?{token}", **upgrade, Host="a.example", Origin="http://a.example")[0] == 403
    with urllib.request.urlopen(f"http://{host}{kernel}?{token}") as answer:
        cookie = {"Cookie": "; ".join(given.partition(";")[0] for given in answer.headers.get_all("Set-Cookie"))}
    assert ask(address, socket, **upgrade, **here, **cookie)[0] == 101
    assert ask(address, socket, **upgrade, **cookie, Origin="http://a.example")[0] == 403  # the browser adds cookies


def test_the_token_is_kept_in_a_cookie(record, voila):
    page, _ = record()
    address = voila(BROWSER)
    page.goto(address)
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    page.goto(address.partition("?")[0])
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    stranger, _ = record()
    stranger.goto(address.partition("?")[0])
    expect(stranger.locator("#password_input")).to_be_visible()
    assert address != voila(TUNER)


def test_idle_kernels_are_stopped(record, voila):
    address = voila(BROWSER, "--MappingKernelManager.cull_idle_timeout=3", "--MappingKernelManager.cull_interval=1")
    token = urlsplit(address).query

    def runs(kernel):
        return ask(address, f"/api/kernels/{kernel}?{token}")[0] == 200

    def stopped(kernel):
        end = time.monotonic() + 30
        while runs(kernel) and time.monotonic() < end:
            time.sleep(0.5)
        return not runs(kernel)

    page, _ = record()
    page.goto(address)
    expect(page.locator(".bac-views canvas")).to_have_count(4, timeout=90_000)
    open_one = kernel_of(page.content())
    left = kernel_of(ask(address)[1])  # no page was opened for it
    assert runs(left)
    assert stopped(left) and runs(open_one)
    page.close()
    assert stopped(open_one)


def test_jupyterlab_needs_its_token_and_a_local_name(lab, root):
    url, token = lab
    Image.new("L", (4, 4)).save(root / "view.png")
    assert ask(url, f"/files/view.png?token={token}")[0] == 200
    for path in (
        "/files/view.png",
        "/voila/files/view.png",
        "/api/contents",
        "/lab",
        f"/voila/render/notebooks/{TUNER}",
    ):
        assert ask(url, path)[0] in (302, 403), path
        assert ask(url, f"{path}?token={token}", Host="a.example")[0] == 403, path
    assert json.loads(ask(url, f"/api/contents?content=0&token={token}")[1])["type"] == "directory"
