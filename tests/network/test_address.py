"""Where the page is served: IPv6, https with a certificate made here, and one sentence for what cannot be."""

from __future__ import annotations

import errno
import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.errors import BadInput
from svd_ui.network import bracketed, free_port, shown, tls
from svd_ui.settings import Settings, is_loopback
from svd_ui.web import launch_options
from svd_ui.web.visitor import COOKIE
from tests.browser import required
from tests.fakes import FakeEngine
from tests.web.conftest import serving


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


OPENSSL = shutil.which("openssl")
if OPENSSL is None and required("NGINX"):
    raise RuntimeError("There is no openssl, and CI forbids to skip the tests of https.")
ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
https = pytest.mark.skipif(OPENSSL is None, reason="no openssl to make a certificate with")


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::", False),
        ("0.0.0.0", False),
        ("::ffff:192.0.2.7", False),
        ("192.0.2.7", False),
        ("example.org", False),
        ("localhost.example.org", False),
    ],
)
def test_who_can_reach_the_page_is_told_from_the_address(host: str, alone: bool) -> None:
    settings = Settings(host=host)
    assert settings.is_public is not alone
    assert is_loopback(settings.host) is alone


def test_an_ipv4_address_in_ipv6s_clothes_is_listened_on_as_what_it_is() -> None:
    assert Settings(host="::ffff:127.0.0.1").host == "127.0.0.1"
    assert free_port(Settings(host="[::ffff:127.0.0.1]").host, 7860)


def test_an_address_is_printed_so_that_it_can_be_opened() -> None:
    assert (bracketed("::1"), bracketed("127.0.0.1"), bracketed("example.org")) == ("[::1]", "127.0.0.1", "example.org")
    assert shown("https://[::]:7860/") == "https://[::1]:7860/"
    assert launch_options(Settings(host="::1"))["server_name"] == "[::1]"


def test_what_cannot_be_listened_on_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("203.0.113.9", "2001:db8::9", "no such host"):
        with pytest.raises(OSError, match="is not an address of this machine"):
            free_port(host, 7860)

    def not_allowed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", not_allowed)
    with pytest.raises(OSError, match="1024 or more"):
        free_port("127.0.0.1", 80)


@ipv6
def test_a_port_that_is_taken_on_either_address_is_passed_over() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("::1", port) > port
    with socket.socket() as taken:  # where gradio looks too
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("::1", port) > port


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem, both.pem, a locked.pem of another certificate (password: abcd), and a text."""
    folder = tmp_path_factory.mktemp("certificates ü")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    for options, key, certificate in (
        (["-nodes"], "key.pem", "cert.pem"),
        (["-passout", "pass:abcd"], "locked.pem", "other.pem"),
    ):
        command = [OPENSSL or "", "req", "-x509", *curve, *names, *options, "-keyout", key, "-out", certificate]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    (folder / "text.pem").write_text("not a certificate", "utf-8")
    return folder


@https
@pytest.mark.parametrize(
    ("certificate", "key", "password", "said"),
    [
        ("nowhere.pem", "key.pem", "", "SVD_UI_SSL_CERTFILE: {folder}/nowhere.pem cannot be read"),
        ("cert.pem", "nowhere.pem", "", "SVD_UI_SSL_KEYFILE: {folder}/nowhere.pem cannot be read"),
        ("", "key.pem", "", "SVD_UI_SSL_CERTFILE is not"),
        ("text.pem", "key.pem", "", "holds no certificate"),
        ("key.pem", "key.pem", "", "holds no certificate"),
        ("cert.pem", None, "", "set SVD_UI_SSL_KEYFILE"),
        ("cert.pem", "text.pem", "", "holds no private key"),
        ("other.pem", "key.pem", "", "is not the key of the certificate"),
        ("other.pem", "locked.pem", "", "set SVD_UI_SSL_KEYFILE_PASSWORD"),
        ("other.pem", "locked.pem", "abce", "its password is wrong"),
        (".", "key.pem", "", "cannot be read"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_sentence(
    made: Path, certificate: str, key: str | None, password: str, said: str
) -> None:
    settings = Settings(
        ssl_certfile=made / certificate if certificate else None,
        ssl_keyfile=made / key if key else None,
        ssl_keyfile_password=password,  # type: ignore[arg-type]
    )
    with pytest.raises(BadInput) as caught:
        tls(settings)
    assert said.format(folder=made) in caught.value.message
    assert "abce" not in caught.value.message


@https
def test_certificate_and_key_may_be_one_file_and_a_key_may_be_locked(made: Path) -> None:
    assert tls(Settings()) == {}
    assert tls(Settings(ssl_certfile=made / "both.pem"))["ssl_keyfile"] == str(made / "both.pem")
    locked = Settings(
        ssl_certfile=made / "other.pem",
        ssl_keyfile=made / "locked.pem",
        ssl_keyfile_password="abcd",  # type: ignore[arg-type]
    )
    assert tls(locked)["ssl_keyfile_password"] == "abcd"
    assert "abcd" not in repr(locked)


@pytest.fixture(scope="module")
def page(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, served over https, on IPv6 where there is any."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        host="::1" if has_ipv6() else "127.0.0.1",
        ssl_certfile=made / "cert.pem",
        ssl_keyfile=made / "key.pem",
    )
    for served in serving(settings, FakeEngine(settings=settings)):
        yield served.url


@https
def test_the_page_is_there_over_https_and_its_cookie_stays_there(page: str, made: Path) -> None:
    assert page.startswith("https://[::1]:" if has_ipv6() else "https://127.0.0.1:")
    host, _, port = page.removeprefix("https://").rstrip("/").rpartition(":")
    context = ssl.create_default_context(cafile=made / "cert.pem")
    session = http.client.HTTPSConnection(host.strip("[]"), int(port), context=context, timeout=30)
    session.request("GET", "/")
    answer = session.getresponse()
    assert answer.status == 200
    cookie = answer.getheader("set-cookie") or ""
    assert cookie.startswith(f"{COOKIE}=")
    assert "; Secure" in cookie
    assert b"http://" + host.encode() not in answer.read()
    session.request("GET", "/config")
    assert f'"root":"{page.rstrip("/")}"'.encode() in session.getresponse().read()
