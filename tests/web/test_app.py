"""Serving: ports, whose jobs one sees, the visitor's cookie, the warning."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.routing import Route

from svd_ui.accounts import Accounts
from svd_ui.network import free_port, host_of
from svd_ui.settings import Settings
from svd_ui.web import launch_options
from svd_ui.web.animate.stage import stage
from svd_ui.web.visitor import COOKIE, RootPath, VisitorCookie, is_public, owner_of, who
from tests.web.animate.test_form import job

NOBODY = Accounts(Path("there-is-no-such-file.json"))


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port


@pytest.mark.parametrize(
    ("host", "share", "public"), [("127.0.0.1", False, False), ("0.0.0.0", False, True), ("localhost", True, True)]
)
def test_strangers_see_their_own_jobs_only(host: str, share: bool, public: bool) -> None:
    settings = Settings(host=host, share=share)
    assert is_public(settings) is public
    asked = SimpleNamespace(cookies={COOKIE: "me"})
    assert who(settings, NOBODY, asked).reads == (owner_of("me") if public else None)


def test_a_space_listens_to_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ann/svd")
    assert host_of(Settings()) == "0.0.0.0"
    assert is_public(Settings())


def test_an_owner_is_a_digest_of_the_token() -> None:
    assert owner_of("secret") == owner_of("secret") != owner_of("other")
    assert "secret" not in owner_of("secret")
    request = SimpleNamespace(cookies={COOKIE: "secret"}, session_hash="x")
    assert who(Settings(), NOBODY, request).owner == owner_of("secret")  # type: ignore[arg-type]
    other = SimpleNamespace(cookies={}, session_hash="x")
    assert who(Settings(), NOBODY, other).owner != owner_of("secret")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "cookie", "expected"),
    [("http", b"", b"SameSite=Lax"), ("https", b"", b"SameSite=None; Secure"), ("http", b"a=1", b"HttpOnly")],
)
def test_a_new_visitor_gets_a_cookie(scheme: str, cookie: bytes, expected: bytes) -> None:
    assert expected in _cookies(scheme, cookie)


def test_a_known_visitor_keeps_theirs() -> None:
    assert _cookies("http", f"{COOKIE}=abc".encode()) == b""


def _cookies(scheme: str, cookie: bytes) -> bytes:
    sent: list[dict] = []

    async def app(scope: dict, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "scheme": scheme, "headers": [(b"cookie", cookie)]}
    asyncio.run(VisitorCookie(app)(scope, None, send))  # type: ignore[arg-type]
    return b"; ".join(value for key, value in sent[0]["headers"] if key == b"set-cookie")


@pytest.mark.parametrize(
    ("root", "path", "inner"),
    [
        ("/svd", "/", "/"),  # the web server took the path off
        ("/svd", "/svd/", "/"),  # or left it on
        ("/svd", "/theme.css", "/theme.css"),
        ("/svd", "/svd/theme.css", "/theme.css"),
        ("/svd", "/svd/still/ab", "/svd/still/ab"),  # a picture of ours, not /still/ab under /svd
        ("/svd", "/svd/svd/still/ab", "/svd/still/ab"),
        ("/svd", "/svdx/theme.css", "/svdx/theme.css"),
        ("/a/b", "/a/b/svd/still/ab", "/svd/still/ab"),
        ("/a/b", "/svd/still/ab", "/svd/still/ab"),
        ("https://example.org/svd", "/svd/config", "/config"),
        ("https://example.org", "/svd/still/ab", "/svd/still/ab"),
        ("", "/svd/still/ab", "/svd/still/ab"),
    ],
)
def test_a_sub_path_is_taken_off_once(root: str, path: str, inner: str) -> None:
    asked: list[dict] = []

    async def app(scope: dict, receive: object, send: object) -> None:
        asked.append(scope)

    own = [Route("/svd/still/{digest}", lambda request: None)]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "root_path": root}
    asyncio.run(RootPath(app, root, own)(scope, None, None))  # type: ignore[arg-type]
    assert asked[0]["path"] == asked[0]["root_path"] + inner
    assert asked[0]["root_path"] in {"/svd", "/a/b", ""}  # never a host: cookies are made of it


def test_the_folder_of_the_page_is_where_its_addresses_start() -> None:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/svd", "query_string": b"job=1", "headers": [], "root_path": ""}
    asyncio.run(RootPath(None, "/svd", [])(scope, None, send))  # type: ignore[arg-type]
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"location"]) == (308, b"/svd/?job=1")


def test_limits_and_login_reach_the_server() -> None:
    options = launch_options(Settings(max_upload_mb=7, auth="ann:secret"))
    assert options["max_file_size"] == 7_000_000
    assert options["auth"] == ("ann", "secret")
    assert "allowed_paths" not in options


def test_a_finished_download_says_what_to_do_next() -> None:
    html = stage(job(kind="download", state="finished"), lambda *_: None)
    assert "Download complete" in html
    assert "Run it again to resume" in stage(job(kind="download", state="cancelled"), lambda *_: None)
