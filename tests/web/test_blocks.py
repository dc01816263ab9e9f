"""A few quick handlers at a time, and none of them behind one that lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from svd_ui.web.blocks import AT_ONCE, Turns
from svd_ui.web.crowd import Lanes


class Watched:
    """How many calls are under way, and the most there were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def call(self) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        return "done"


def page(watched: Watched, *, queue: bool) -> Turns:
    with Turns() as demo:
        text = gr.Textbox()
        demo.load(watched.call, None, text, queue=queue)
    return demo


def crowd(demo: Turns, count: int) -> list[dict[str, Any]]:
    async def all_at_once() -> list[dict[str, Any]]:
        return await asyncio.gather(*(demo.process_api(0, []) for _ in range(count)))

    return asyncio.run(all_at_once())


def test_quick_handlers_take_turns_and_all_are_answered() -> None:
    watched = Watched()
    answers = crowd(page(watched, queue=False), 40)
    assert [answer["data"] for answer in answers] == [["done"]] * 40
    assert watched.most == AT_ONCE


def test_a_turn_ends_soon_and_a_lane_with_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts gives its turn away; who has as much under way as one may have waits before taking one."""
    monkeypatch.setattr("svd_ui.web.blocks.TURN_SECONDS", 0.001)
    watched, lanes = Watched(), Lanes(3)
    demo = page(watched, queue=False)
    demo.lane = lanes.of

    async def all_at_once(askers: list[str]) -> None:
        await asyncio.gather(*(demo.process_api(0, [], request=asker) for asker in askers))

    asyncio.run(all_at_once(["a"] * 20))
    assert watched.most == 3
    del demo._waiting
    asyncio.run(all_at_once(["a"] * 20 + ["b"] * 20))
    assert watched.most == 6


def test_what_lasts_waits_for_nobody() -> None:
    watched = Watched()
    crowd(page(watched, queue=True), 40)
    assert watched.most == 40


def test_a_handler_that_lasts_holds_up_nobody() -> None:
    """Two that decode a huge picture, say, and a quick one behind them."""
    ended: list[str] = []

    async def call(name: str) -> str:
        await asyncio.sleep(5 if name == "slow" else 0)
        ended.append(name)
        return name

    with Turns() as demo:
        text = gr.Textbox()
        demo.load(call, text, text, queue=False)

    async def play() -> None:
        slow = [asyncio.create_task(demo.process_api(0, ["slow"])) for _ in range(4)]
        quick = await asyncio.wait_for(demo.process_api(0, ["quick"]), 4)
        assert quick["data"] == ["quick"]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(play())
    assert ended == ["quick"], "who is cancelled ends"
