"""How much may come in, and that what came in goes again."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from svd_ui.settings import Settings
from svd_ui.web import FILES, SESSIONS, launch_options, open_more_files
from svd_ui.web.copies import forget_copies, handed_out, sweep
from svd_ui.web.guard.limits import JSON_BYTES, Limits, Window
from tests.web.conftest import Served


def test_a_window_counts_what_was_taken_lately() -> None:
    now = [0.0]
    window = Window(10, 60, lambda: now[0])
    assert [window.take("a", 4) for _ in range(3)] == [True, True, False]
    assert window.take("b", 10)
    assert window.take("a", 14, times=3)
    now[0] = 61
    assert window.take("a", 10)
    assert not window.take("a")


def test_a_body_that_is_no_upload_is_short(local: Served) -> None:
    big = b'{"data": ["' + b"x" * JSON_BYTES + b'"]}'
    told = httpx.post(f"{local.url}gradio_api/call/history", content=big)
    assert (told.status_code, "at most 8.0 MB" in told.json()["error"]) == (413, True)


def test_bytes_are_counted_where_no_length_is_told(local: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(12):
            yield b"x" * 1_000_000

    try:
        told = httpx.post(
            f"{local.url}gradio_api/call/history", content=chunks(), headers={"Content-Type": "application/json"}
        )
    except httpx.WriteError:  # the server hung up, which is an answer too
        return
    assert told.status_code == 413


class TestUploads:
    """Over a stand-in for gradio's route: what is let through."""

    class Context:
        settings = Settings(max_upload_mb=1, max_visitor_uploads=3, max_visitor_upload_mb=2)

        def __init__(self, operates: bool) -> None:
            self.operates = operates

        def who(self, request: object) -> object:
            from svd_ui.web.visitor import Visitor

            return Visitor("v-new-each-time" + os.urandom(4).hex(), self.operates, address="192.0.2.1")

    def ask(self, limits: Limits, length: int | None, path: str = "/gradio_api/upload") -> int:
        sent: list[dict] = []

        async def send(message: dict) -> None:
            sent.append(message)

        async def receive() -> dict:
            return {"type": "http.request", "body": b"x" * 10}

        app = type("App", (), {"cookie_id": "x", "tokens": {}})()
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": headers,
            "app": app,
            "client": ("192.0.2.1", 9),
        }
        limits.next_sweep = float("inf")
        asyncio.run(limits(scope, receive, send))  # type: ignore[arg-type]
        return int(sent[0]["status"])

    @pytest.fixture
    def limits(self, request: pytest.FixtureRequest) -> Limits:
        async def app(scope: dict, receive: object, send: object) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]

        return Limits(app, self.Context(operates=getattr(request, "param", False)))  # type: ignore[arg-type]

    def test_a_new_cookie_for_each_upload_is_still_one_address(self, limits: Limits) -> None:
        codes = [self.ask(limits, 1000) for _ in range(12)]
        assert codes == [200] * 9 + [429] * 3  # three visitors' share of an address

    def test_bytes_of_an_hour_are_counted(self, limits: Limits) -> None:
        assert [self.ask(limits, 1_500_000) for _ in range(6)] == [200] * 4 + [429] * 2

    def test_a_visitor_sends_a_few_files_at_once(self, limits: Limits) -> None:
        assert self.ask(limits, 9_000_000) == 413
        assert self.ask(limits, None) == 429  # of unknown length

    @pytest.mark.parametrize("limits", [True], indirect=True)
    def test_the_operator_s_clips_are_free(self, limits: Limits) -> None:
        assert [self.ask(limits, 900_000_000) for _ in range(20)] == [200] * 20

    def test_requests_under_way_of_an_address_are_counted(
        self, limits: Limits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Streams that are never read to their end, each under another cookie."""
        monkeypatch.setattr("svd_ui.web.guard.limits.AT_ONCE", 3)
        sent: list[dict] = []

        async def together() -> None:
            closed = asyncio.Event()

            async def stream(scope: dict, receive: object, send: object) -> None:
                await closed.wait()

            limits.app = stream

            async def send(message: dict) -> None:
                sent.append(message)

            app = type("App", (), {"cookie_id": "x", "tokens": {}})()
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/x",
                "headers": [],
                "app": app,
                "client": ("192.0.2.1", 9),
            }
            asks = [asyncio.create_task(limits(scope, send, send)) for _ in range(5)]  # type: ignore[arg-type]
            await asyncio.sleep(0)
            asks[0].cancel()
            closed.set()
            await asyncio.gather(*asks, return_exceptions=True)

        asyncio.run(together())
        refused = [message["status"] for message in sent if "status" in message]
        assert (refused, not limits.under_way) == ([429] * 2, True)
        assert b"close some of its pages" in sent[1]["body"]

    def test_requests_of_an_address_are_counted(self, limits: Limits) -> None:
        limits.requests = Window(5, 60)
        assert [self.ask(limits, 2, "/gradio_api/call/status") for _ in range(7)] == [200] * 5 + [429] * 2


def test_what_came_in_is_swept_after_a_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    for name, age in (("old", 2e5), ("new", 60.0)):
        path = tmp_path / "uploads" / name / "picture.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        for place in (path, path.parent):
            os.utime(place, (time.time() - age,) * 2)
    assert sweep(time.time() - 86400) == 1
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["new"]
    (tmp_path / "uploads" / "old").mkdir()  # a request that is being received
    assert sweep(time.time() - 86400) == 0
    assert (tmp_path / "uploads" / "old").is_dir()


def test_what_was_handed_out_goes_with_its_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"first")
    place = handed_out("a" * 32, clip)
    assert place is not None and place.read_bytes() == b"first"
    assert place.samefile(clip)  # no second copy on the disk
    clip.unlink()
    clip.write_bytes(b"anew")
    assert handed_out("a" * 32, clip).read_bytes() == b"anew"  # type: ignore[union-attr]
    forget_copies("a" * 32)
    assert not place.exists()
    assert handed_out("a" * 32, tmp_path / "gone.mp4") is None


def test_a_deleted_clip_is_no_longer_served(local: Served) -> None:
    from .test_hosts import request_of

    job = local.jobs.wait(local.jobs.submit(request_of(local), "v-me").id, 60)
    with httpx.Client(base_url=local.url) as client:
        place = handed_out(job.id, local.jobs.file(job, "video"))  # type: ignore[arg-type]
        assert client.get(f"gradio_api/file={place}").status_code == 200
        handlers = client.get("config").json()["dependencies"]
        remove = next(one for one in handlers if [event for _, event in one["targets"]] == ["remove"])
        body = {"data": [None, None, 24], "fn_index": remove["id"], "session_hash": "s", "event_data": {"id": job.id}}
        assert client.post("gradio_api/run/predict", json=body).status_code == 200
        assert client.get(f"gradio_api/file={place}").status_code == 403


def test_frames_that_take_long_hold_nobody_up(local: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for all that is served."""
    done = threading.Event()
    monkeypatch.setattr("svd_ui.web.routes._frame_bytes", lambda *_: done.wait(20) and b"frame")
    (path,) = httpx.post(f"{local.url}gradio_api/upload", files={"files": ("a.mp4", b"x")}).json()

    def ask(at: int) -> int:
        return httpx.get(f"{local.url}svd/frame", params={"path": path, "at": at}, timeout=30).status_code

    with ThreadPoolExecutor(45) as pool:
        answers = pool.map(ask, range(45))
        try:
            time.sleep(0.3)
            assert [httpx.get(local.url + name, timeout=5).status_code for name in ("", "config", "ready")] == [200] * 3
        finally:
            done.set()
        assert list(answers) == [200] * 45


def test_frames_of_one_address_are_looked_for_one_at_a_time(
    people: dict[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most, lock = set[float](), list[int](), threading.Lock()

    def frame(_: object, path: Path, at: float) -> bytes:
        with lock:
            now.add(at)
            most.append(len(now))
        time.sleep(0.05)
        now.discard(at)
        return b"frame"

    monkeypatch.setattr("svd_ui.web.routes._frame_bytes", frame)
    (path,) = people["ann"].post("gradio_api/upload", files={"files": ("a.mp4", b"x")}).json()

    def most_at_once(*addresses: str) -> int:
        most.clear()

        def ask(at: int) -> int:
            told = {"X-Forwarded-For": addresses[at % len(addresses)]}
            return people["ann"].get("svd/frame", params={"path": path, "at": at}, headers=told).status_code

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, range(6))) == [200] * 6
        return max(most)

    assert most_at_once("198.51.100.30") == 1
    assert most_at_once("198.51.100.31", "198.51.100.32", "198.51.100.33") == 2


def test_the_page_may_open_as_many_files_as_the_system_gives_it() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(512, before[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
        open_more_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(FILES, before[1]), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_sessions_are_forgotten(local: Served) -> None:
    """Each call of gradio's API makes one, and it kept ten thousand of them."""
    assert launch_options(local.settings)["state_session_capacity"] == SESSIONS <= 500


def test_status_and_history_make_no_session(local: Served) -> None:
    from .test_hosts import request_of
    from .test_routes import app_of

    job = local.jobs.submit(request_of(local), "v-me")
    sessions = app_of(local).state_holder.session_data
    with httpx.Client(base_url=local.url) as client:
        client.get("")
        before = set(sessions)
        for _ in range(5):
            assert client.get(f"svd/status/{job.id}").json()["id"] == job.id
            assert job.id in [one["id"] for one in client.get("svd/history?limit=100").json()]
        assert set(sessions) == before
