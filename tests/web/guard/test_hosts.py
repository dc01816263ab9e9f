"""Which names the page answers to, and that other sites' scripts may do nothing with it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from PIL import Image
from starlette.datastructures import Headers

from svd_ui.assets import Assets
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web.guard.hosts import answers_to, is_own, names
from svd_ui.web.guard.refusal import refuse
from tests.web.conftest import Served

EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("given", "host", "answers"),
    [
        ({}, "127.0.0.1:7860", True),
        ({}, "localhost:9", True),
        ({}, "LocalHost", True),
        ({}, "[::1]:7860", True),
        ({}, "127.9.9.9", True),
        ({}, "evil.example:7860", False),
        ({}, "localhost.evil.example", False),
        ({}, "127.0.0.1.evil.example", False),
        ({}, "192.168.0.7:7860", False),
        ({}, "", False),
        ({"allowed_hosts": "box.lan, *.example.org"}, "box.lan:7860", True),
        ({"allowed_hosts": "box.lan, *.example.org"}, "svd.example.org", True),
        ({"allowed_hosts": "box.lan, *.example.org"}, "example.org", False),
        ({"allowed_hosts": "box.lan:8080"}, "box.lan:7860", False),
        ({"allowed_hosts": "https://Example.org/"}, "example.org", True),
        ({"root_path": "https://example.org/svd"}, "example.org", True),
        ({"host": "0.0.0.0"}, "anything.example", True),
        ({"host": "0.0.0.0"}, "0.0.0.0:7860", True),
        ({"host": "0.0.0.0", "allowed_hosts": "box.lan"}, "anything.example", False),
        ({"host": "0.0.0.0", "allowed_hosts": "box.lan"}, "192.168.0.7", True),
        ({"public": True, "allowed_hosts": "box.lan"}, "evil.example", False),
    ],
)
def test_the_page_answers_to_its_own_names(given: dict, host: str, answers: bool) -> None:
    settings = Settings(**given)
    assert answers_to(host, settings, names(settings)) is answers


@pytest.mark.parametrize("value", ["*", "a b", "*.*", "[::1"])
def test_what_is_no_name_of_a_host_is_said(value: str) -> None:
    with pytest.raises(ValueError, match="name of a host"):
        Settings(allowed_hosts=value)


@pytest.mark.parametrize(
    ("method", "headers", "own"),
    [
        ("POST", {}, True),  # no browser
        ("POST", {"origin": "http://here:7860"}, True),
        ("POST", {"origin": "http://here:7861"}, False),
        ("POST", {"origin": EVIL}, False),
        ("POST", {"origin": "null"}, False),
        ("GET", {"origin": EVIL}, False),  # gradio lets every origin read a page that is not on localhost
        ("WS", {"origin": EVIL}, False),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),  # a link
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),  # a picture on their page
        ("POST", {"sec-fetch-site": "cross-site"}, False),
        ("POST", {"sec-fetch-site": "same-site", "origin": "http://other.here:7860"}, False),
        ("POST", {"sec-fetch-site": "same-origin", "origin": "https://outside.example"}, True),  # behind a proxy
        ("POST", {"origin": "https://outside.example", "x-forwarded-host": "outside.example"}, True),
        ("POST", {"origin": "https://outside.example:443", "x-forwarded-host": "outside.example"}, True),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "https://friend.example"}, True),
    ],
)
def test_another_site_is_told_by_what_browsers_send(method: str, headers: dict[str, str], own: bool) -> None:
    assert is_own(method, Headers({"host": "here:7860", **headers}), {"friend.example"}) is own


def test_a_name_that_was_pointed_at_this_machine_gets_nothing(local: Served) -> None:
    """DNS rebinding: the attacker's name, with the matching origin."""
    port = httpx.URL(local.url).port
    evil = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}", "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=local.url, headers=evil) as client:
        for path in ("", "config", "svd/history", "gradio_api/info", "gradio_api/call/history", "metrics"):
            refused = client.get(path)
            assert refused.status_code == 421, path
            assert "SVD_UI_ALLOWED_HOSTS=evil.example" in refused.json()["error"]
        assert client.post("gradio_api/call/history", json={"data": [9]}).status_code == 421
    assert httpx.get(f"{local.url}svd/history").status_code == 200


def test_every_route_that_changes_something_refuses_another_site(local: Served) -> None:
    """The real table of routes, gradio's queue, uploads and cancel among them."""
    for path in unsafe_paths(local):
        refused = httpx.post(local.url + path.lstrip("/"), headers={"Origin": EVIL}, content=b"{}")
        assert (refused.status_code, "Another site" in refused.json()["error"]) == (403, True), path
        told = {"Sec-Fetch-Site": "cross-site"}
        assert httpx.post(local.url + path.lstrip("/"), headers=told).status_code == 403, path


def test_nothing_lets_another_site_read(local: Served, shared: Served) -> None:
    for served in (local, shared):
        answer = httpx.get(f"{served.url}svd/history", headers={"Origin": EVIL})
        assert answer.status_code == 403
        assert "history" not in answer.text


def test_a_websocket_is_closed() -> None:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(refuse({"type": "websocket"}, send, 403, "no"))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "no"}]


def test_who_comes_through_a_web_server_is_a_stranger(local: Served) -> None:
    """nginx before a page of this machine, without SVD_UI_PUBLIC."""
    with httpx.Client(base_url=local.url) as client:
        job = local.jobs.submit(request_of(local), "v-somebody")
        assert job.id in [one["id"] for one in client.get("svd/history").json()]
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "X-Forwarded-Host"):
            assert client.get("svd/history", headers={header: "192.0.2.1"}).json() == [], header
        assert job.id in [one["id"] for one in client.get("svd/history").json()]


def unsafe_paths(served: Served) -> list[str]:
    from tests.web.guard.test_routes import table

    return sorted({path for path, methods in table(served) if "POST" in methods})


def request_of(served: Served) -> GenerationRequest:
    return GenerationRequest(image=Assets.of(served.settings).keep(Image.new("RGB", (64, 64))), seed=1)
