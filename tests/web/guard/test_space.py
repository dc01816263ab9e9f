"""The page where a Space would show it: in a frame of another site, behind a proxy, under several names, to people who signed in."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from svd_ui.accounts import Accounts
from svd_ui.assets import Assets
from svd_ui.engine.zero_gpu import ZeroGpuEngine
from svd_ui.hosting import OAUTH
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web import serve
from svd_ui.web.visitor import COOKIE, owner_of, who
from tests.browser import chromium
from tests.engine.test_zero_gpu import Lender
from tests.fakes import FakeEngine, picture
from tests.web.conftest import Served, some_port

from .conftest import call

SPACE = {
    "SPACE_ID": "olga/svd",
    "SPACE_AUTHOR_NAME": "olga",
    "SPACE_HOST": "olga-svd.hf.space,svd.example.org",
    "SYSTEM": "spaces",
}
NAMES = ("olga-svd.hf.space", "svd.example.org")


@pytest.fixture(scope="module")
def space(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A ZeroGPU Space without a GPU: jobs run in the events that ask for them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SPACE.items():
            patch.setenv(name, value)
        patch.setattr(
            "spaces.reloading.start_reload_server", lambda *_, **__: None
        )  # one port for all programs of a machine
        folder = tmp_path_factory.mktemp("space")
        settings = Settings(data_dir=folder, checkpoint="nano", port=some_port(), allowed_hosts="other.example.org")
        engine = FakeEngine(steps=2, delay=0, settings=settings)
        with JobService(settings, ZeroGpuEngine(settings, Asking(), engine), inline=True) as jobs:
            jobs.start()
            demo, url = serve(jobs, settings)
            yield Served(url.replace("0.0.0.0", "127.0.0.1"), jobs, engine, settings)
            demo.close(verbose=False)


class Asking(Lender):
    """Notes on whose behalf a GPU is asked for, where ``spaces`` looks for it."""

    behalf: list[str] = []

    def __call__(self, task: Any, *, duration: Any) -> Any:
        from gradio.context import LocalContext

        lent = super().__call__(task, duration=duration)

        def asking(*given: Any) -> Any:
            request = LocalContext.request.get(None)
            self.behalf.append(request.headers.get("x-ip-token", "") if request is not None else "nobody")
            return lent(*given)

        return asking


def proxied(host: str, **more: str) -> dict[str, str]:
    """Headers of a request that came through the platform's proxy."""
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-For": "198.51.100.7, 10.0.0.1"}
    return {"Host": host, **forwarded, **more}


@pytest.mark.parametrize("host", NAMES)
def test_the_page_answers_to_every_name_of_the_space_in_its_frame(space: Served, host: str) -> None:
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    page = httpx.get(f"{space.url}?__theme=light", headers=proxied(host, **framed))
    assert page.status_code == 200
    assert "x-frame-options" not in page.headers
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert "https://huggingface.co" in rules["frame-ancestors"].split()
    cookie = next(one for one in page.headers.get_list("set-cookie") if one.startswith("svd_ui_visitor"))
    assert {"SameSite=None", "Secure", "Partitioned", "HttpOnly"} <= set(cookie.split("; "))


def test_a_cookie_for_a_frame_needs_no_header_of_the_proxy(space: Served) -> None:
    page = httpx.get(space.url, headers={"Host": NAMES[0]})
    assert any("SameSite=None; Secure; Partitioned" in one for one in page.headers.get_list("set-cookie"))


@pytest.mark.parametrize("host", NAMES)
def test_the_page_in_the_frame_may_ask_and_the_site_around_it_may_not(space: Served, host: str) -> None:
    own = httpx.post(
        f"{space.url}gradio_api/call/history",
        json={"data": [1, None, None]},
        headers=proxied(host, Origin=f"https://{host}"),
    )
    assert own.status_code == 200
    for origin in ("https://huggingface.co", "https://evil.hf.space", "https://evil.example.org"):
        other = proxied(host, Origin=origin, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})
        assert httpx.post(f"{space.url}gradio_api/call/history", json={"data": []}, headers=other).status_code == 403


def test_a_name_that_is_not_the_space_s_gets_nothing(space: Served) -> None:
    assert httpx.get(space.url, headers=proxied("evil.example.org")).status_code == 421


def test_who_comes_back_from_signing_in_is_let_in(space: Served) -> None:
    """A link from the hub's page: another site's, and a navigation. Nothing answers there without OAuth, but the guards let it by."""
    came = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{space.url}login/callback?code=1", headers=proxied(NAMES[0], **came)).status_code not in {
        401,
        403,
        421,
    }


def test_a_clip_is_made_while_its_caller_waits(space: Served) -> None:
    """By a program: ``generate`` runs it in its own event; ``submit`` would leave it to nobody."""
    mine = proxied(NAMES[0], **{"X-IP-Token": "a program's"})
    with httpx.Client(base_url=space.url, headers=mine, timeout=60) as client:
        image = client.post("gradio_api/upload", files={"files": ("a.jpg", jpeg(), "image/jpeg")}).json()[0]
        given = {
            "image": {"path": image, "meta": {"_type": "gradio.FileData"}},
            "seed": 7,
            "num_frames": 4,
            "token": "t" * 20,
        }
        parameters = client.get("gradio_api/info").json()["named_endpoints"]["/generate"]["parameters"]
        values = [given.get(one["parameter_name"]) for one in parameters]
        before = space.jobs.counted()
        event, told = call(client, "submit", *values)
        assert (event, "call generate, not submit" in told) == ("error", True), told
        assert space.jobs.counted() == before
        event, told = call(client, "generate", *values)
        assert event == "complete", told
        assert json.loads(told)[0]["state"] == "finished"
        assert Asking.behalf[-1] == "a program's"


def test_a_page_s_own_event_makes_what_its_visitor_asked_for(space: Served) -> None:
    """Through gradio's queue, which hands on on whose behalf; a page that is opened again goes on with what waits."""
    mine = proxied(NAMES[0], **{"X-IP-Token": "ann's"})
    with httpx.Client(base_url=space.url, headers=mine, cookies={COOKIE: "ann"}, timeout=60) as client:
        parts = client.get("config").json()["dependencies"]
        works = [one for one in parts if one["queue"] and one["api_visibility"] == "private"]
        assert len(works) > 5, "starting, trying again, a tile in full, opening the page"
        image = Assets.of(space.settings).keep(picture(0.4))
        jobs = [space.jobs.submit(GenerationRequest(image=image, seed=3), owner_of(who)) for who in ("ann", "bob")]
        asked = {"data": [], "fn_index": works[0]["id"], "session_hash": "s1", "trigger_id": None}
        assert client.post("gradio_api/queue/join", json=asked).status_code == 200
        end = time.monotonic() + 30
        while space.jobs.get(jobs[0].id).state != "finished":
            assert time.monotonic() < end
            time.sleep(0.05)
        assert Asking.behalf[-1] == "ann's"
        assert space.jobs.get(jobs[1].id).state == "queued", "somebody else's was made in this visitor's name"


def jpeg() -> bytes:
    data = io.BytesIO()
    picture(0.2).save(data, "JPEG")
    return data.getvalue()


def test_the_author_and_who_is_named_run_the_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, value in {**SPACE, **dict.fromkeys(OAUTH, "x")}.items():
        monkeypatch.setenv(name, value)
    settings = Settings(data_dir=tmp_path_factory.mktemp("who"), operators="ann, bob")
    nobody = Accounts(settings.data_dir / "none.json")

    def asked(name: str, **info: Any) -> SimpleNamespace:
        session = {"oauth_info": {"userinfo": {"preferred_username": name}, **info}}
        return SimpleNamespace(request=SimpleNamespace(scope={"session": session}), cookies={"svd_ui_visitor": "c"})

    operates = {name: who(settings, nobody, asked(name)).operates for name in ("olga", "ann", "bob", "eve", "ann, bob")}
    assert operates == {"olga": True, "ann": True, "bob": True, "eve": False, "ann, bob": False}
    assert who(settings, nobody, asked("olga", expires_at=time.time() + 60)).operates
    assert not who(settings, nobody, asked("olga", expires_at=time.time() - 60)).operates
    monkeypatch.delenv("OAUTH_CLIENT_SECRET")  # sessions are then signed with what everybody knows
    assert not who(settings, nobody, asked("olga")).operates


def test_no_answer_names_a_folder_of_the_space(space: Served) -> None:
    page = httpx.get(space.url, headers=proxied(NAMES[0])).text
    assert not re.search(re.escape(str(space.settings.data_dir)), page)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_animate_on_the_page_works_in_its_event_and_a_reload_loses_nothing(
    space: Served, photo: Path, browser: Any
) -> None:
    from tests.web.visit import Visit

    space.engine.delay = 0.4
    visit = Visit(browser, space)  # not as a block: on a Space gradio's own header asks the hub
    visit.choose(photo)
    visit.animate()
    visit.page.locator("#stage [data-act=stop]").wait_for()
    visit.open()
    visit.finished()
    visit.context.close()
    space.engine.delay = 0
