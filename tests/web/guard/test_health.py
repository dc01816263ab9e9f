"""What whoever watches the app is told, and who is told."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.requests import Request

from svd_ui.accounts import Accounts
from svd_ui.engine import Device
from svd_ui.jobs.rotation import DeviceState
from svd_ui.settings import Settings
from svd_ui.web.health import may_watch
from svd_ui.web.visitor import who
from tests.web.conftest import Served

from .conftest import PASSWORDS


def test_health_and_readiness_need_no_login(shared: Served) -> None:
    alive = httpx.get(f"{shared.url}health")
    assert (alive.status_code, alive.json()["status"]) == (200, "ok")
    ready = httpx.get(f"{shared.url}ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "missing": [], "devices": [{"name": "cpu", "doing": "free"}]},
    )


def test_without_a_device_the_app_is_not_ready(local: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.jobs, "devices", lambda: ())
    answer = httpx.get(f"{local.url}ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["device"])


def test_without_its_folder_or_its_history_the_app_is_not_ready(local: Served) -> None:
    folder = local.jobs.settings.data_dir
    history, away = local.jobs.settings.history_file, folder.with_name("away")
    for moved, missing in ((folder, "data folder"), (history, "history")):
        moved.rename(away)
        try:
            answer = httpx.get(f"{local.url}ready")
            assert (answer.status_code, answer.json()["missing"]) == (503, [missing])
        finally:
            away.rename(moved)
        assert httpx.get(f"{local.url}ready").status_code == 200


def test_where_every_device_rests_the_app_is_not_ready_and_says_why_at_the_machine_itself(
    local: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    resting = DeviceState(name="cuda:0", doing="resting", device=Device(kind="cuda", name="L4"), why="GPU is lost")
    monkeypatch.setattr(local.jobs, "devices", lambda: (resting,))
    answer = httpx.get(f"{local.url}ready")
    assert answer.status_code == 503
    assert (answer.json()["devices"][0]["why"], answer.json()["devices"][0]["device"]) == ("GPU is lost", "L4")
    assert httpx.get(f"{local.url}svd/devices").json()[0]["why"] == "GPU is lost"
    monkeypatch.setattr(local.jobs, "devices", lambda: (resting, resting.model_copy(update={"doing": "working"})))
    assert httpx.get(f"{local.url}ready").status_code == 200


def test_metrics_are_prometheus_text(local: Served) -> None:
    answer = httpx.get(f"{local.url}metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    sample = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? -?[0-9.e+]+')
    assert all(line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line) for line in lines)
    assert {"svd_ui_jobs_unfinished 0.0", "svd_ui_device_known 1.0", "svd_ui_queue_paused 0.0"} <= set(lines)


def test_metrics_are_the_operator_s(shared: Served, people: dict[str, httpx.Client]) -> None:
    assert people["olga"].get("metrics").status_code == 200
    assert people["ann"].get("metrics").status_code == 404
    assert people["nobody"].get("metrics").status_code == 401
    url = f"{shared.url}metrics"
    assert httpx.get(url, auth=("olga", PASSWORDS["olga"])).status_code == 200
    for auth in (("olga", "wrong"), ("ann", PASSWORDS["ann"])):
        assert httpx.get(url, auth=auth).status_code == 401


@pytest.mark.parametrize(
    ("given", "watches"),
    [({}, True), ({"host": "0.0.0.0"}, True), ({"public": True}, False), ({"share": True}, False)],
)
def test_whoever_comes_from_this_machine_watches_unless_a_web_server_does(
    given: dict, watches: bool, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, **given)
    context = SimpleNamespace(settings=settings, who=lambda asked: who(settings, Accounts(tmp_path / "none"), asked))
    app = SimpleNamespace(cookie_id="x", tokens={})
    scope = {"type": "http", "headers": [], "client": ("127.0.0.1", 9), "app": app}
    assert may_watch(context, Request(scope)) is watches  # type: ignore[arg-type]
