"""How this machine is reached (host, port, certificate), and how it reaches the hub (proxies, a mirror).

Every client of httpx reads ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` when it is made, gradio's own
too, which asks its server on this machine whether it is up.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .errors import BadInput, without_secrets
from .hosting import on_space
from .settings import Settings

PORTS_TRIED = 100
NOT_OURS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, socket.EAI_NONAME}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYTHING = "*"
PUBLIC = "https://huggingface.co"


def host_of(settings: Settings) -> str:
    """A Space is reached from outside its container."""
    return "0.0.0.0" if on_space() and not settings.is_public else settings.host


def bracketed(host: str) -> str:
    """As an address holds it: ``[::1]``."""
    return f"[{host}]" if ":" in host else host


def shown(url: str) -> str:
    """gradio's address of itself as one that can be opened: ``::`` is where to listen, not where to go."""
    return url.replace("//[::]", "//[::1]")


def free_port(host: str, first: int) -> int:
    """The first port from ``first`` on that nobody listens on. Raises OSError after a hundred, or why ``host`` cannot be."""
    refused = 0
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        # gradio looks at the usual loopback address too, whatever it is told to listen on.
        if not (trouble := _taken(host, port) or (_taken("127.0.0.1", port) if ":" in host else 0)):
            return port
        if trouble in NOT_OURS:
            raise OSError(f"{host} is not an address of this machine: correct SVD_UI_HOST, or leave it out.")
        refused += trouble == errno.EACCES
    if refused:
        raise OSError(f"Ports from {first} on are not open to this user: set SVD_UI_PORT to 1024 or more.")
    raise OSError(f"No free port from {first} on: set SVD_UI_PORT.")


def _taken(host: str, port: int) -> int:
    """The number of the error that listening there gives, or 0."""
    try:
        with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return 0


def tls(settings: Settings) -> dict[str, Any]:
    """What ``launch`` is given for https; empty without a certificate. Raises BadInput where it could not be used."""
    certificate, key = settings.ssl_certfile, settings.ssl_keyfile
    if certificate is None:
        if key is not None:
            raise BadInput("SVD_UI_SSL_KEYFILE is set and SVD_UI_SSL_CERTFILE is not: https needs both, or neither.")
        return {}
    password = settings.ssl_keyfile_password.get_secret_value()
    _check("SVD_UI_SSL_CERTFILE", certificate)
    _check("SVD_UI_SSL_KEYFILE", key or certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except (ssl.SSLError, ValueError):
        raise BadInput(f"SVD_UI_SSL_CERTFILE: {certificate} holds no certificate in PEM format.") from None
    try:
        context.load_cert_chain(certificate, key or certificate, lambda: password)
    except (ssl.SSLError, ValueError) as error:
        raise BadInput(_why(error, certificate, key, password)) from None
    return {
        "ssl_certfile": str(certificate),
        "ssl_keyfile": str(key or certificate),
        "ssl_keyfile_password": password or None,
        "ssl_verify": False,  # of gradio's own look at itself: the certificate is for a name, not for 127.0.0.1
    }


def _check(variable: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise BadInput(f"{variable}: {path} cannot be read ({error.strerror}).") from None


def _why(error: Exception, certificate: Path, key: Path | None, password: str) -> str:
    if "MISMATCH" in (getattr(error, "reason", "") or ""):
        return f"{key or certificate} is not the key of the certificate in {certificate}: give the two that were made together."
    text = (key or certificate).read_text("latin-1")
    if "PRIVATE KEY-----" not in text:
        where = f"SVD_UI_SSL_KEYFILE: {key}" if key else f"{certificate}"
        return f"{where} holds no private key in PEM format: set SVD_UI_SSL_KEYFILE to the file that does."
    if "ENCRYPTED" in text:
        wrong = "is wrong" if password else "is missing: set SVD_UI_SSL_KEYFILE_PASSWORD"
        return f"The key in {key or certificate} is locked, and its password {wrong}."
    return f"The certificate in {certificate} and its key cannot be used ({error})."


# Proxies


def proxies() -> dict[str, str]:
    """Scheme (``http``, ``https``, ``all``) => the proxy that variables, or Windows' and macOS's settings, give it."""
    found = {scheme: proxy for scheme, proxy in getproxies().items() if scheme in {"http", "https", "all"}}
    return {scheme: proxy if "://" in proxy else f"http://{proxy}" for scheme, proxy in found.items()}


def keep_local(*hosts: str) -> None:
    """Nothing that this machine asks itself goes through a proxy, from now on and in the processes started later.

    Where a proxy is one that no client can be made with, clients are made without any: the app starts, and
    ``why_unreachable`` tells whoever wants to download.
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


def why_unreachable(url: str) -> str:
    """Why the hub at ``url`` cannot be asked at all, and what to do; or nothing."""
    if not re.match(r"https?://[^/]", url):
        return f"HF_ENDPOINT={without_secrets(url)} is not an address: begin it with https://, or leave it out."
    proxy = proxy_for(url)
    return _unusable(proxy) if proxy else ""


def way_to(url: str) -> str:
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
