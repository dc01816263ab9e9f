"""Signing in at a Space in earnest: gradio's own OAuth routes against a provider that answers as Hugging Face does.

Needs ``gradio[oauth]``, which a Space brings and the app does without elsewhere.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

pytest.importorskip("authlib")
pytest.importorskip("itsdangerous")

from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web import serve
from svd_ui.web.visitor import COOKIE, owner_named, owner_of
from tests.fakes import FakeEngine, picture
from tests.web.conftest import Served, some_port

HOST = "olga-svd.hf.space"


class Provider(ThreadingHTTPServer):
    """Signs in whoever ``person`` names."""

    def __init__(self) -> None:
        from authlib.jose import JsonWebKey

        self.key = JsonWebKey.generate_key("RSA", 2048, is_private=True, options={"kid": "one"})
        self.person, self.nonces = "", dict[str, str]()
        super().__init__(("127.0.0.1", 0), Provided)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Provided(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/oauth/authorize":
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.server.nonces["code"] = asked["nonce"]
            self.send_response(302)
            self.send_header(
                "Location", f"{asked['redirect_uri']}&{urlencode({'code': 'code', 'state': asked['state']})}"
            )
            self.end_headers()
        elif url.path == "/jwks":
            self._json({"keys": [self.server.key.as_dict(is_private=False)]})
        else:
            where = self.server.url
            told = {"authorization_endpoint": "/oauth/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
            self._json(
                {"issuer": where, "id_token_signing_alg_values_supported": ["RS256"]}
                | {k: where + v for k, v in told.items()}
            )

    def do_POST(self) -> None:
        from authlib.jose import jwt

        self.rfile.read(int(self.headers["Content-Length"]))
        now = int(time.time())
        claims = {"iss": self.server.url, "aud": "client", "sub": "1", "iat": now, "exp": now + 600}
        claims |= {
            "nonce": self.server.nonces["code"],
            "preferred_username": self.server.person,
            "name": self.server.person,
        }
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.server.key).decode()
        self._json({"access_token": "a", "token_type": "bearer", "expires_in": 600, "id_token": token})

    def _json(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    server = Provider()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def space(provider: Provider, uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import gradio.oauth

    said = {"SPACE_ID": "olga/svd", "SPACE_AUTHOR_NAME": "olga", "SPACE_HOST": HOST, "SYSTEM": "spaces"}
    oauth = {"OAUTH_CLIENT_ID": "client", "OAUTH_CLIENT_SECRET": "secret", "OAUTH_SCOPES": "openid profile"}
    oauth["OPENID_PROVIDER_URL"] = provider.url
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (said | oauth).items():
            patch.setenv(name, value)
        if find_spec("spaces"):
            patch.setattr(
                "spaces.reloading.start_reload_server", lambda *_, **__: None
            )  # one port for all programs of a machine
        for name, value in oauth.items():  # read when gradio was imported
            patch.setattr(gradio.oauth, name, value)
        settings = Settings(data_dir=tmp_path_factory.mktemp("space"), checkpoint="nano", port=some_port())
        engine = FakeEngine(steps=1, delay=0, settings=settings)
        with JobService(settings, engine) as jobs:
            jobs.start()
            demo, url = serve(jobs, settings)
            yield Served(url, jobs, engine, settings)
            demo.close(verbose=False)


class Browser:
    """Keeps cookies as a browser does over https, though here it is http; ``https://HOST`` is where the page is."""

    def __init__(self, space: Served) -> None:
        self.client, self.cookies = httpx.Client(follow_redirects=False, timeout=30), dict[str, str]()
        self.here = space.url.rstrip("/")

    def get(self, url: str) -> httpx.Response:
        mine = url.startswith(("/", f"https://{HOST}/"))
        where = self.here + url.removeprefix(f"https://{HOST}") if mine else url
        headers = {
            "Host": HOST,
            "X-Forwarded-Proto": "https",
            "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()),
        }
        site = "same-origin" if url == "/logout" else "cross-site"  # the page's own button, or a link
        headers |= {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        answer = self.client.get(where, headers=headers if mine else {})
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return self.get(answer.headers["location"]) if answer.is_redirect else answer

    def history(self) -> list[str]:
        return [one["id"] for one in self.get("/svd/history").json()]


def signed_in(space: Served, provider: Provider, name: str) -> Browser:
    provider.person = name
    browser = Browser(space)
    browser.get("/")
    assert browser.get("/login/huggingface").status_code == 200
    return browser


def test_clips_follow_the_account_and_the_author_runs_the_space(space: Served, provider: Provider) -> None:
    from svd_ui.assets import Assets

    image = Assets.of(space.settings).keep(picture(0.3))
    before = Browser(space)
    before.get("/")
    anonymous = space.jobs.submit(GenerationRequest(image=image), owner_of(before.cookies[COOKIE])).id
    assert before.history() == [anonymous]
    job = space.jobs.submit(GenerationRequest(image=image), owner_named("hub", "ann")).id
    first, second, other = (signed_in(space, provider, name) for name in ("ann", "ann", "bob"))
    assert first.cookies[COOKIE] != second.cookies[COOKIE]
    assert first.history() == second.history() == [job]
    assert other.history() == []
    assert set(signed_in(space, provider, "olga").history()) == {job, anonymous}, "the author sees everybody's"
    first.get("/logout")
    assert first.history() == []


def test_the_page_has_the_button(space: Served) -> None:
    assert "sign-in" in Browser(space).get("/config").text


def test_a_session_that_somebody_made_up_is_none(space: Served) -> None:
    import base64
    import hashlib

    from itsdangerous import TimestampSigner

    session = base64.b64encode(json.dumps({"oauth_info": {"userinfo": {"preferred_username": "olga"}}}).encode())
    known = hashlib.sha256(b"-v4").hexdigest()  # what gradio signs with where a Space has no secret
    browser = Browser(space)
    browser.cookies["session"] = TimestampSigner(known).sign(session).decode()
    assert browser.history() == []


def test_the_provider_is_asked_for_a_name_and_no_more(space: Served, provider: Provider, tmp_path: Path) -> None:
    answer = httpx.get(f"{space.url}login/huggingface", headers={"Host": HOST}, follow_redirects=False)
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["scope"] == ["openid profile"]
    assert asked["redirect_uri"][0].startswith(f"https://{HOST}/login/callback?")
