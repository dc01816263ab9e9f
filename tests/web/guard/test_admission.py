"""What a visitor may ask for: one stranger does not take the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.engine import Estimate
from svd_ui.errors import BadInput, NotAllowed, QueueFull
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from svd_ui.web.animate.actions import Actions
from svd_ui.web.animate.offers import offer
from svd_ui.web.context import Context
from svd_ui.web.visitor import COOKIE, Visitor
from tests.fakes import FakeEngine


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(data_dir=tmp_path, host="0.0.0.0", checkpoint="nano", max_visitor_jobs=3)
    with JobService(settings, FakeEngine(settings=settings), slots=False) as jobs:
        yield Context(jobs, settings)


@pytest.fixture
def request_(context: Context) -> GenerationRequest:
    still = Assets.of(context.settings).keep(Image.new("RGB", (64, 64)))
    return GenerationRequest(image=still, checkpoint="nano", seed=1)


def asking(cookie: str, address: str = "192.0.2.1") -> Any:
    return SimpleNamespace(cookies={COOKIE: cookie}, client=SimpleNamespace(host=address), headers={})


def submit(context: Context, wanted: list[GenerationRequest], request: Any) -> None:
    Actions(context, ())._admitted(wanted, context.who(request))


def test_a_visitor_has_so_many_unfinished_clips(context: Context, request_: GenerationRequest) -> None:
    for _ in range(3):
        submit(context, [request_], asking("ann"))
    with pytest.raises(QueueFull, match="You have 3 clips waiting"):
        submit(context, [request_], asking("ann"))
    submit(context, [request_], asking("bob"))
    context.jobs.cancel(context.jobs.history(limit=9)[1].id)
    submit(context, [request_], asking("ann"))


def test_of_too_many_at_once_none_is_submitted(context: Context, request_: GenerationRequest) -> None:
    with pytest.raises(QueueFull, match="choose fewer pictures"):
        submit(context, [request_] * 4, asking("ann"))
    assert context.jobs.unfinished() == 0


def test_a_new_token_for_each_clip_is_still_one_address(context: Context, request_: GenerationRequest) -> None:
    """The attack: 65 jobs, a new token a time, and everybody else is told that the queue is full."""
    for number in range(9):
        submit(context, [request_], asking(f"token {number}", "2001:db8::1" if number % 2 else "2001:db8::2"))
    with pytest.raises(QueueFull, match="from your network"):
        submit(context, [request_], asking("another", "2001:db8::3"))
    submit(context, [request_], asking("another", "2001:db8:1::1"))
    assert context.jobs.unfinished() == 10


def test_many_at_the_same_moment_are_counted_one_after_the_other(context: Context, request_: GenerationRequest) -> None:
    refused = []

    def ask() -> None:
        try:
            submit(context, [request_], asking("ann"))
        except QueueFull:
            refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (context.jobs.unfinished(), len(refused)) == (3, 5)


@pytest.mark.parametrize("seconds", [None, 1.6e6])
def test_what_could_not_end_in_its_time_is_refused_at_once(
    context: Context, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """Whether the time is known, or nothing but pixels, frames and steps."""
    monkeypatch.setattr(context.jobs, "estimate", lambda request: Estimate(seconds=seconds))
    large = request_.model_copy(update={"width": 2048, "height": 2048, "num_frames": 64, "num_inference_steps": 100})
    with pytest.raises(BadInput, match="too long here.*fewer steps"):
        submit(context, [large], asking("ann"))
    wall = request_.model_copy(
        update={"width": 1024, "height": 1024, "wall": Wall(seeds=6, motion_bucket_ids=(1, 2, 3, 4))}
    )
    with pytest.raises(BadInput, match="too long here"):
        submit(context, [wall.model_copy(update={"num_frames": 25, "num_inference_steps": 50})], asking("ann"))
    if seconds is None:
        submit(context, [request_], asking("ann"))
    operator = Visitor("v-olga", operates=True)
    with context.admission.of(operator, [large]):  # it is the operator's machine
        pass


def test_weights_that_are_not_here_are_the_operator_s_to_fetch(context: Context, request_: GenerationRequest) -> None:
    for wanted in (
        request_.model_copy(update={"checkpoint": "svd-xt"}),
        GenerationRequest(prompt="a fox", checkpoint="nano"),
    ):
        with pytest.raises(NotAllowed, match="Only the operator of this page may download"):
            submit(context, [wanted], asking("ann"))
    with pytest.raises(NotAllowed):
        Actions(context, ()).fetch("svd-xt", asking("ann"))
    assert not context.may_operate
    assert "SVD_UI_AUTH=user:password" in context.not_allowed("train").message
    shown = offer(context, context.rows()["svd-xt"], Estimate())
    assert "Only the operator of this page may download it" in shown
    assert 'data-act="fetch"' not in shown


def test_on_one_s_own_machine_nothing_is_counted(tmp_path: Path, request_: GenerationRequest) -> None:
    settings = Settings(data_dir=tmp_path, checkpoint="nano", max_visitor_jobs=1)
    with JobService(settings, FakeEngine(settings=settings), slots=False) as jobs:
        context = Context(jobs, settings)
        submit(context, [request_] * 5, asking("me", "127.0.0.1"))
        assert jobs.unfinished() == 5
        through = SimpleNamespace(**{**vars(asking("ann")), "headers": {"x-forwarded-for": "192.0.2.9"}})
        with pytest.raises(QueueFull):
            submit(context, [request_] * 2, through)
