"""Every route of the served app, ours and gradio's: without a login nothing, with another's login nothing of the first's."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import httpx
import pytest
from gradio.routes import App
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.jobs import Job
from svd_ui.request import GenerationRequest
from svd_ui.web.guard.login import UNUSED, is_open
from svd_ui.web.visitor import owner_named
from tests.web.conftest import Served

from .conftest import call

PROMPT = "what only ann knows"
HARMLESS = {
    "id": "0" * 32, "name": "video", "digest": "0" * 64, "path": "x", "path_or_url": "x", "url_path": "x", "api_name": "history",
    "event_id": "x", "session_hash": "x", "run": "0", "component_id": "0", "segment_id": "x", "ext": "ts", "key": "x",
    "size": "9", "environment": "x", "type": "x", "file_name": "x", "step": "1",
}  # fmt: skip


def table(served: Served) -> list[tuple[str, frozenset[str]]]:
    """(path, methods) of every route; parameters filled with what names nothing."""
    return list(dict.fromkeys(_routes(app_of(served).routes)))


def app_of(served: Served) -> App:
    apps = [app for app in gc.get_objects() if isinstance(app, App) and app.blocks is not None]
    (app,) = [app for app in apps if (getattr(app.blocks, "local_url", "") or "").startswith(served.url.rstrip("/"))]
    return app


def _routes(routes: list) -> Iterator[tuple[str, frozenset[str]]]:
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if not hasattr(route, "path"):
            yield from _routes(getattr(inner, "routes", []))
            continue
        path = route.path
        for name, value in HARMLESS.items():
            path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
        assert "{" not in path, f"what to ask {path} for?"
        yield path, frozenset(route.methods or ())


@pytest.fixture(scope="module")
def of_ann(shared: Served, people: dict[str, httpx.Client]) -> Job:
    """A finished job of ann's."""
    return shared.jobs.wait(shared.jobs.submit(_of(shared), owner_named("account", "ann"), name=PROMPT).id, 60)


def test_the_table_is_the_whole_app(shared: Served) -> None:
    paths = {path for path, _ in table(shared)}
    assert len(paths) > 60
    assert {"/config", "/gradio_api/cancel", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/queue/data",
            "/openapi.json", "/svd/history", "/metrics", "/gradio_api/reset", "/gradio_api/token"} <= paths  # fmt: skip


def test_without_a_login_no_route_answers(shared: Served, people: dict[str, httpx.Client], of_ann: Job) -> None:
    nobody = people["nobody"]
    for path, methods in table(shared):
        for method in methods & {"GET", "POST"}:
            answer = nobody.request(method, path.lstrip("/"), content=b"{}" if method == "POST" else None)
            if path.startswith(UNUSED):
                assert answer.status_code == 404, path
            elif not is_open(path):
                assert answer.status_code == 401, (method, path, answer.status_code)
            assert of_ann.id not in answer.text
            assert PROMPT not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=http://127.0.0.1:9/x", "gradio_api/file=https://x.test/x", "gradio_api/file/http://127.0.0.1:9/x",
        "gradio_api/file/etc/hostname", "gradio_api/custom_component/x%0aFORGED/client/x/y",
    ],
)  # fmt: skip
def test_nobody_is_fetched_from_and_nobody_writes_into_the_log(
    local: Served, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for method in ("GET", "HEAD"):
        assert httpx.request(method, local.url + path, headers={"Range": "bytes=0-1"}).status_code == 404
    told = capfd.readouterr()
    assert "FORGED" not in told.out + told.err


def test_what_is_open_shows_a_login_and_no_page(people: dict[str, httpx.Client]) -> None:
    page = people["nobody"].get("").text
    assert '"auth_required":true' in page.replace(" ", "")
    assert '"components":[]' in page.replace(" ", "")


def test_another_visitor_finds_nothing_of_the_first(
    shared: Served, people: dict[str, httpx.Client], of_ann: Job
) -> None:
    bob = people["bob"]
    for path, methods in table(shared):
        if path.startswith(UNUSED) or path in {"/logout", "/gradio_api/heartbeat/x", "/gradio_api/dev/reload"}:
            continue
        if "GET" in methods:
            with bob.stream("GET", path.lstrip("/")) as answer:
                text = (
                    ""
                    if "event-stream" in answer.headers.get("content-type", "")
                    else answer.read().decode("utf-8", "replace")
                )
            assert answer.status_code != 500, path
            assert of_ann.id not in text, path
            assert PROMPT not in text, path


def test_another_visitor_changes_nothing_of_the_first(
    shared: Served, people: dict[str, httpx.Client], of_ann: Job
) -> None:
    event, said = call(people["bob"], "cancel", of_ann.id, None)
    assert (event, "belongs to somebody else" in said) == ("error", True)
    for token in (None, "a" * 22, "account:ann"):
        assert json.loads(call(people["bob"], "history", 9, None, token)[1]) == [[]]
    assert people["bob"].get("svd/history").json() == []


def test_an_account_finds_its_own_again_and_the_operator_finds_all(
    shared: Served, people: dict[str, httpx.Client], of_ann: Job
) -> None:
    for name in ("ann", "olga"):
        assert of_ann.id in [job["id"] for job in people[name].get("svd/history").json()]
        assert of_ann.id in call(people[name], "history", 9, None, None)[1]


def test_private_handlers_refuse_what_only_the_operator_may(shared: Served, people: dict[str, httpx.Client]) -> None:
    """Free memory, downloads, and all of the Train tab: by the numbers of the handlers, as the page calls them."""
    config = people["olga"].get("config").json()
    ids = {one["id"]: str(one["props"].get("elem_id", "")) for one in config["components"]}
    asked = 0
    for handler in config["dependencies"]:
        targets = [(ids.get(id, ""), event) for id, event in handler["targets"]]
        closed = any(event in {"release", "fetch"} or place in TRAIN for place, event in targets)
        if not closed or not handler["backend_fn"]:
            continue
        asked += 1
        assert "Only the operator of this page may" in _run(people["ann"], handler), targets
        assert "Log in" in _run(people["nobody"], handler)
    assert asked > 8
    before = shared.engine.released
    (release,) = [one for one in config["dependencies"] if "release" in [event for _, event in one["targets"]]]
    _run(people["olga"], release)
    assert shared.jobs.wait(shared.jobs.submit(_of(shared), "v-x").id, 60).state == "finished"
    assert shared.engine.released > before


def test_who_may_not_train_is_not_shown_the_way(people: dict[str, httpx.Client]) -> None:
    config = people["olga"].get("config").json()
    (tabs,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "tabs"]
    (handler,) = [one for one in config["dependencies"] if one["outputs"] == [tabs]]
    assert '"visible":false' in _run(people["ann"], handler).replace(" ", "")
    assert '"visible":true' in _run(people["olga"], handler).replace(" ", "")


TRAIN = {"train-start", "train-look", "train-earlier", "clips-door", "runs", "train-collection"}


def _run(client: httpx.Client, handler: dict) -> str:
    body = {"data": [None] * len(handler["inputs"]), "fn_index": handler["id"], "session_hash": "s1"}
    return client.post("gradio_api/run/predict", json={**body, "event_data": {"id": "svd"}}).text


def _of(served: Served) -> GenerationRequest:
    return GenerationRequest(image=Assets.of(served.settings).keep(Image.new("RGB", (64, 64), "navy")), seed=3)
