"""Proxies between this machine and the hub: what the environment says of them, and where it would stop the app itself.

Every client of httpx reads ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` when it is made, gradio's own
too, which asks its server on this machine whether it is up.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import without_secrets

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYTHING = "*"
PUBLIC = "https://huggingface.co"


def proxies() -> dict[str, str]:
    """Scheme (``http``, ``https``, ``all``) => the proxy that variables, or Windows' and macOS's settings, give it."""
    found = {scheme: proxy for scheme, proxy in getproxies().items() if scheme in {"http", "https", "all"}}
    return {scheme: proxy if "://" in proxy else f"http://{proxy}" for scheme, proxy in found.items()}


def keep_local(*hosts: str) -> None:
    """Nothing that this machine asks itself goes through a proxy, from now on and in the processes started later.

    Where a proxy is one that no client can be made with, clients are made without any: the app starts, and
    ``trouble`` tells whoever wants to download.
    """
    found = proxies()
    if not found:
        return
    # Where NO_PROXY is set Python looks at variables alone, so what the system is set to becomes variables too.
    for scheme, proxy in found.items():
        if not {f"{scheme}_proxy", f"{scheme}_PROXY".upper()} & os.environ.keys():
            os.environ[f"{scheme}_proxy"] = proxy
    excluded = [host.strip().strip("[]") for host in getproxies().get("no", "").split(",")]
    # httpx lets "*" among others stand for every host, urllib only where it stands alone: ``direct`` still sees
    # what the person excluded.
    extra = [*LOOPBACK, *hosts, *([EVERYTHING] if any(map(_unusable, found.values())) else [])]
    text = ",".join(dict.fromkeys(host for host in (*excluded, *extra) if host))
    if excluded != [EVERYTHING]:
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = text


def proxy_for(url: str) -> str:
    """The proxy that a request to ``url`` goes through; empty where it goes there directly."""
    parts, found = urlsplit(url), proxies()
    if not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    return found.get(parts.scheme) or found.get("all") or ""


def trouble(url: str) -> str:
    """Why the hub at ``url`` cannot be asked at all, and what to do; or nothing."""
    if not re.match(r"https?://[^/]", url):
        return f"HF_ENDPOINT={without_secrets(url)} is not an address: begin it with https://, or leave it out."
    proxy = proxy_for(url)
    return _unusable(proxy) if proxy else ""


def where(url: str) -> str:
    """What stands between this machine and an answer of ``url``, as part of a sentence: a mirror, a proxy, or nothing."""
    proxy, mirror = proxy_for(url), not url.startswith(PUBLIC)
    at = f" at {without_secrets(url)} (HF_ENDPOINT)" if mirror else ""
    return at + (f" through the proxy {without_secrets(proxy)}" if proxy else "")


def _unusable(proxy: str) -> str:
    shown = without_secrets(proxy)
    try:
        parts = urlsplit(proxy)
        understood = bool(parts.hostname) and parts.port != 0
    except ValueError:
        understood = False
    if not understood:
        return f"The proxy {shown} is not an address: correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY."
    if parts.scheme in {"socks5", "socks5h"}:
        if find_spec("socksio") is None:
            return (
                f"The proxy {shown} speaks SOCKS: install what that needs with 'pip install socksio', and start again."
            )
    elif parts.scheme not in {"http", "https"}:
        return f"The proxy {shown} speaks {parts.scheme}, which is not supported: give an http or a socks5 one."
    return ""
