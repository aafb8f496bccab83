"""Servers for the notebooks: `app` shows one without its code (Voila), `lab` opens them all (JupyterLab).

Run as `python -m bac_utils.widgets.serve app NOTEBOOK` or `... lab`; further arguments go to Voila or JupyterLab. Their
pages show patients. So a page is given only to who has the token, which is new at each start, and only under a name of
this machine: a page from elsewhere whose host name leads here is refused. The browser is told to load nothing from
other hosts.
"""

import contextlib
import os
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

IDLE_S = 3600
"""Time in s after which the kernel of an app without an open page is stopped."""
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
"""Content-Security-Policy of all pages: widgets need inline scripts and `eval`, but nothing from other hosts."""
LAB = (
    "--LabApp.default_url=/lab/tree/notebooks",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",  # the other one asks a package index
    "--VoilaConfiguration.file_denylist=.*",  # Voila, loaded beside JupyterLab, would serve images without the token
    f"--ServerApp.tornado_settings={ {'headers': {'Content-Security-Policy': POLICY}} }",
)


def app(arguments: list[str]) -> None:
    """Serve a notebook as an app until interrupted.

    Args:
        arguments: The notebook, and arguments of Voila.

    Raises:
        ValueError: The notebook does not exist.
    """
    from traitlets import default
    from traitlets.config import Config
    from voila.app import Voila

    class App(Voila):
        @default("auto_token")
        def _token(self) -> bool:
            return True

        def init_settings(self) -> dict[str, Any]:
            return super().init_settings() | {
                "allow_remote_access": False,  # refuse requests whose header Host names another machine
                "headers": {"Content-Security-Policy": POLICY},
            }

        def launch_browser(self) -> None:
            """Open the page with its token, through a file: other users can see the arguments of a browser."""
            with tempfile.NamedTemporaryFile("w", suffix=".html", dir=self.connection_dir, delete=False) as file:
                address = f"{self.connection_url}?token={self.identity_provider.token}"
                file.write(f'<meta http-equiv="refresh" content="0;url={address}">')
            with contextlib.suppress(webbrowser.Error):
                browser = webbrowser.get(self.browser or None)
                threading.Thread(target=browser.open, args=(Path(file.name).as_uri(),), daemon=True).start()

    share = str(Path(__file__).parent / "share")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(p for p in (share, os.environ.get("JUPYTER_PATH")) if p)
    config = Config()
    config.VoilaConfiguration.template = "offline"
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.file_allowlist = []  # Voila serves files to anyone
    config.VoilaConfiguration.show_tracebacks = True
    config.MappingKernelManager.cull_idle_timeout = IDLE_S
    App.launch_instance(arguments, config=config)


def lab(arguments: list[str]) -> None:
    """Open JupyterLab until interrupted; `arguments` are JupyterLab's."""
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance([*LAB, *arguments])


if __name__ == "__main__":
    servers = {"app": app, "lab": lab}
    if len(sys.argv) < 2 or sys.argv[1] not in servers:
        sys.exit(f"server: got {' '.join(sys.argv[1:2]) or 'nothing'}, must be app or lab")
    servers[sys.argv[1]](sys.argv[2:])
