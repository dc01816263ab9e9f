"""Where the page is served: host and port, the address people open, and the certificate of https."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..settings import Settings

PORTS_TRIED = 100
LOOPBACK = "127.0.0.1"
NOT_OURS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, socket.EAI_NONAME}


def host_of(settings: Settings) -> str:
    """A Space is reached from outside its container."""
    return "0.0.0.0" if "SPACE_ID" in os.environ and not settings.is_public else settings.host


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
        if not (trouble := _taken(host, port) or (_taken(LOOPBACK, port) if ":" in host else 0)):
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
