"""A real nginx in front of the page, with the lines of docs/serving.md."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from svd_ui.settings import REPOSITORY
from tests.browser import required

MAIN = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


@cache
def nginx() -> str | None:
    """The program, or None where there is none: its tests are skipped then. Raises where it must not be missing."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None and required("NGINX"):
        raise RuntimeError("There is no nginx, and CI or SVD_UI_REQUIRE_NGINX forbids to skip its tests.")
    return found


def documented() -> str:
    """The ``location`` that docs/serving.md tells people to write."""
    text = (REPOSITORY / "docs" / "serving.md").read_text("utf-8")
    (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    return str(block)


@contextmanager
def in_front(folder: Path, port: int, location: str) -> Iterator[str]:
    """nginx with ``location`` at ``port``; its address without a path. Raises RuntimeError with what nginx complains of."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(MAIN.format(folder=folder, port=port, location=location), "utf-8")
    with subprocess.Popen([nginx() or "", "-e", "stderr", "-c", str(config)], stderr=subprocess.PIPE) as process:
        try:
            while not _listens(port):
                if process.poll() is not None:
                    assert process.stderr is not None
                    raise RuntimeError(process.stderr.read().decode())
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
