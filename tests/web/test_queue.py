"""The queue over HTTP, for the page and for programs; and on the page itself."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from svd_ui.assets import Assets
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from svd_ui.web.visitor import COOKIE, owner_of
from tests.browser import chromium
from tests.fakes import FakeEngine, picture
from tests.web.conftest import Served, serving
from tests.web.visit import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HEADER = {"X-SVD-UI": "1"}


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    engine = FakeEngine(steps=3, delay=0.02, settings=settings, gate=threading.Event())
    yield from serving(settings, engine)


@pytest.fixture
def ids(served: Served) -> Iterator[list[str]]:
    """A clip that runs, held at its first step, and three that wait."""
    image = Assets.of(served.settings).keep(picture(0.3))
    jobs = [
        served.jobs.submit(GenerationRequest(image=image, seed=seed, num_frames=4), "ann", name=f"boat {seed}")
        for seed in range(4)
    ]
    until(lambda: served.jobs.get(jobs[0].id).state == "conditioning")
    yield [job.id for job in jobs]
    served.jobs.queue.resume()
    served.jobs.queue.stop_all()
    until(lambda: not served.jobs.queue.jobs())


def until(true: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def change(served: Served, **asked: Any) -> dict[str, Any]:
    answer = httpx.post(f"{served.url.rstrip('/')}/svd/queue", json=asked, headers=HEADER)
    return {"code": answer.status_code, **answer.json()}


def seeds(told: dict[str, Any]) -> list[int]:
    return [job["seed"] for job in told["jobs"]]


def test_it_is_looked_at_arranged_and_taken_along(served: Served, ids: list[str]) -> None:
    told = httpx.get(f"{served.url.rstrip('/')}/svd/queue").json()
    assert (told["paused"], told["operator"], seeds(told)) == (False, True, [0, 1, 2, 3])
    assert [job["running"] for job in told["jobs"]] == [True, False, False, False]
    assert seeds(change(served, do="move", id=ids[3], where="first")) == [0, 3, 1, 2]
    assert seeds(change(served, do="move", id=ids[3], where="after", other=ids[1])) == [0, 1, 3, 2]
    assert change(served, do="edit", id=ids[1], request={"seed": 77, "num_frames": 5})["jobs"][1]["seed"] == 77
    assert served.jobs.get(ids[1]).request.num_frames == 5
    change(served, do="stop", id=ids[2])
    assert served.jobs.get(ids[2]).state == "cancelled"
    file = httpx.get(f"{served.url.rstrip('/')}/svd/queue.zip").content
    assert "queue.json" in zipfile.ZipFile(io.BytesIO(file)).namelist()
    change(served, do="skip", id=ids[0])
    until(lambda: served.jobs.get(ids[1]).state != "queued")
    assert change(served, do="pause")["paused"]
    until(lambda: served.jobs.get(ids[1]).state == "queued")
    assert not change(served, do="resume")["paused"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"do": "dance"}, 400),
        ({"do": "move", "id": "x", "where": "first"}, 404),
        ({"do": "edit", "id": "x", "request": {}}, 404),
        ({"do": "skip", "id": ["x"]}, 404),
        ([1], 400),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(served: Served, asked: Any, code: int) -> None:
    answer = httpx.post(f"{served.url.rstrip('/')}/svd/queue", json=asked, headers=HEADER)
    assert answer.status_code == code
    assert answer.json()["error"]["message"]


def test_a_form_of_another_site_changes_nothing(served: Served) -> None:
    address = f"{served.url.rstrip('/')}/svd/queue"
    for content in (b'{"do": "pause"}', b"x" * 200_000):
        assert httpx.post(address, content=content, headers={"Content-Type": "text/plain"}).status_code == 400
    assert httpx.post(address, content=b"x" * 200_000, headers=HEADER).status_code == 400
    assert not served.jobs.queue.paused


def test_visitors_see_and_arrange_their_own(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("public"), host="0.0.0.0", checkpoint="nano")
    for public in serving(settings, FakeEngine(steps=3, gate=threading.Event())):
        address = public.url.replace("0.0.0.0", "127.0.0.1").rstrip("/") + "/svd/queue"
        image = Assets.of(settings).keep(picture(0.3))
        request = GenerationRequest(image=image, seed=1)
        mine, other = (public.jobs.submit(request, owner) for owner in (owner_of("me"), "somebody"))
        cookies = {COOKIE: "me"}
        assert [job["id"] for job in httpx.get(address, cookies=cookies).json()["jobs"]] == [mine.id]
        assert httpx.get(address).json()["jobs"] == []
        for asked in (
            {"do": "pause"},
            {"do": "move", "id": other.id, "where": "first"},
            {"do": "stop", "id": other.id},
        ):
            assert httpx.post(address, json=asked, headers=HEADER, cookies=cookies).status_code == 404
        assert httpx.get(f"{address}.zip").status_code == 404
        httpx.post(address, json={"do": "stop_all"}, headers=HEADER, cookies=cookies)
        assert public.jobs.get(other.id).state != "cancelled"
        public.jobs.queue.stop_all()


@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_the_page_arranges_by_keyboard_pauses_and_shows_what_runs(
    served: Served, ids: list[str], browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(served.url)
    items = page.locator("#queue li")
    items.nth(3).wait_for(timeout=30_000)
    assert [text.split()[1][0] for text in items.locator("b").all_inner_texts()] == list("0123")
    items.nth(3).focus()
    page.keyboard.press("Alt+ArrowUp")
    page.wait_for_function("document.querySelectorAll('#queue li b')[2].textContent === 'boat 3'")
    assert page.evaluate("document.activeElement.dataset.id") == ids[3]
    page.keyboard.press("Alt+Home")
    page.wait_for_function("document.querySelectorAll('#queue li b')[1].textContent === 'boat 3'")
    items.nth(3).drag_to(items.nth(1), target_position={"x": 40, "y": 2})
    page.wait_for_function("document.querySelectorAll('#queue li b')[1].textContent === 'boat 2'")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Queue, paused").wait_for()
    assert served.jobs.queue.paused
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("heading", name="Queue", exact=True).wait_for()
    assert not faults
    page.close()


@pytest.fixture
def page(served: Served, ids: list[str], browser: Browser) -> Iterator[Page]:
    """The page beside a queue of four, one of which runs."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{served.url}?job={ids[0]}")
    page.locator("body[data-opened]").wait_for()
    page.locator("#queue li").nth(3).wait_for()
    yield page
    page.close()
    assert not faults


def edits(page: Page, title: str) -> None:
    """Press Edit in the row of this title."""
    page.locator("#queue li", has_text=title).get_by_role("button", name="Edit").click()
    page.locator(".edit-acts").wait_for()


def seed_of(page: Page) -> Any:
    return page.locator("#dial-seed input").first


@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_a_waiting_clip_is_edited_on_the_page_and_the_form_comes_back(
    served: Served, ids: list[str], page: Page
) -> None:
    seed_of(page).fill("4242")
    edits(page, "boat 2")
    expect(seed_of(page)).to_have_value("2")
    expect(page.locator(".edit-line")).to_contain_text("boat 2, seed 2")
    expect(page.locator("#animate")).to_be_hidden()
    seed_of(page).fill("5000000000")  # what cannot be is said at its field, and nothing is saved
    page.locator("#save-edit").click()
    expect(page.locator("#dial-seed.invalid")).to_be_visible()
    assert served.jobs.get(ids[2]).request.seed == 2
    seed_of(page).fill("77")
    page.reload()  # the browser keeps what is being edited
    expect(page.locator(".edit-line")).to_contain_text("boat 2")
    expect(seed_of(page)).to_have_value("77")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_contain_text("Saved")
    expect(seed_of(page)).to_have_value("4242")
    expect(page.locator("#animate")).to_be_visible()
    waiting = [job for job in served.jobs.queue.jobs() if job.position is not None]
    assert [(job.request.seed, job.name) for job in waiting] == [(1, "boat 1"), (77, "boat 2"), (3, "boat 3")]

    edits(page, "boat 3")
    seed_of(page).fill("9")
    page.keyboard.press("Escape")
    expect(seed_of(page)).to_have_value("4242")
    expect(page.locator(".edit-acts")).to_have_count(0)
    assert served.jobs.get(ids[3]).request.seed == 3
    assert served.jobs.get(ids[0]).state != "cancelled"  # Esc left the edit, and stopped nothing

    # It begins while it is edited: that is said once, and the changes stay.
    edits(page, "boat 1")
    seed_of(page).fill("88")
    served.jobs.cancel(ids[0])
    until(lambda: served.jobs.get(ids[1]).state not in ("queued", "cancelled"))
    expect(page.locator("#notice")).to_contain_text("has begun meanwhile")
    expect(seed_of(page)).to_have_value("88")
    expect(page.locator(".edit-acts")).to_have_count(0)
    assert served.jobs.get(ids[1]).request.seed == 1
    page.locator("#animate").click()
    until(lambda: any(job.request.seed == 88 for job in served.jobs.queue.jobs()))


@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_one_tile_of_a_wall_is_cancelled_on_the_page(served: Served, ids: list[str], page: Page) -> None:
    request = served.jobs.get(ids[0]).request
    wall = Wall(seeds=2, motion_bucket_ids=(40, 200))
    job = served.jobs.submit(request.model_copy(update={"wall": wall, "speed": "draft"}), "ann", name="many")
    page.goto(f"{served.url}?job={job.id}")
    page.get_by_role("button", name="Cancel seed 1, motion").nth(0).click()
    expect(page.locator(".tile.gone")).to_have_count(1)
    until(lambda: served.jobs.get(job.id).request.wall == wall.model_copy(update={"without": (2,)}))
    assert served.jobs.get(job.id).state == "queued"


def test_clips_asked_for_together_say_which_one_each_is(served: Served, ids: list[str]) -> None:
    request = served.jobs.get(ids[0]).request
    jobs = [served.jobs.submit(request, "ann", batch="b" * 32) for _ in range(3)]
    served.jobs.cancel(jobs[0].id)
    told = httpx.get(f"{served.url.rstrip('/')}/svd/queue").json()["jobs"]
    assert [job["of"] for job in told] == ["", "", "", "", "2 of 3", "3 of 3"]


def edit(address: str, id: str, **values: Any) -> int:
    """The code that one visitor's change is answered with."""
    asked = {"do": "edit", "id": id, "request": values}
    return httpx.post(address, json=asked, headers=HEADER, cookies={COOKIE: "me"}).status_code


def test_a_visitor_edits_their_own_also_with_as_many_jobs_as_they_may_have(
    uploads: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("full")
    settings = Settings(data_dir=data, host="0.0.0.0", checkpoint="nano", max_visitor_jobs=2)
    for public in serving(settings, FakeEngine(steps=3, gate=threading.Event())):
        address = public.url.replace("0.0.0.0", "127.0.0.1").rstrip("/") + "/svd/queue"
        request = GenerationRequest(image=Assets.of(settings).keep(picture(0.3)), seed=1)
        _, mine, other = (public.jobs.submit(request, owner) for owner in (owner_of("me"), owner_of("me"), "somebody"))

        assert edit(address, mine.id, seed=5) == 200
        assert edit(address, other.id, seed=5) == 404
        assert edit(address, mine.id, num_inference_steps=100, num_frames=125, width=1280, height=1280) == 400
        assert [public.jobs.get(job.id).request.seed for job in (mine, other)] == [5, 1]
        public.jobs.queue.stop_all()
