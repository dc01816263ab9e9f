"""A control as a handler changed it: answered as gradio answers it, kept once for all pages, and nobody else's."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from svd_ui.web.blocks import Variants
from svd_ui.web.sessions import LightSession


def page(kind: type[gr.Blocks]) -> gr.Blocks:
    """Controls of every sort, and a handler that says what ``answer`` holds."""
    with kind() as demo:
        with gr.Column(visible=False) as column:
            controls: list[Any] = [
                gr.Textbox("a", label="Text"),
                gr.Slider(0, 10, 5, label="Slider"),
                gr.Dropdown(["x", "y"], value="x", label="Choice"),
                gr.Radio(["x", "y"], value="x", label="One"),
                gr.HTML("<p>html</p>"),
                gr.State(1),
            ]
        demo.load(lambda: None, None, [column, *controls], queue=False)
    return demo


@pytest.fixture(scope="module")
def pages() -> dict[str, gr.Blocks]:
    return {"ours": page(Variants), "gradio": page(gr.Blocks)}


def answered(demo: gr.Blocks, said: Any, session: SessionState) -> list[Any]:
    return asyncio.run(demo.postprocess_data(demo.fns[0], said, session))


SAID = {
    "nothing changes": [gr.skip()] * 7,
    "one skip for all": gr.skip(),
    "values": [gr.update(), "b", 7, "y", "y", "<b>", 2],
    "values as updates": [gr.update(visible=True), *(gr.update(value=v) for v in ("b", 7, "y", "y", "<b>", 2))],
    "shapes": [
        gr.update(visible=True),
        gr.update(placeholder="new", lines=3),
        gr.update(maximum=20, value=15),
        gr.update(choices=["p", ("q", "Q")], value="p"),
        gr.update(choices=["p", "q"], value=None),
        gr.update(visible=False),
        gr.skip(),
    ],
}


@pytest.mark.parametrize("what", SAID)
def test_the_answer_is_gradios(pages: dict[str, gr.Blocks], what: str) -> None:
    sessions = {name: LightSession(demo) for name, demo in pages.items()}
    for _ in range(2):  # the second time over what the first left
        ours, theirs = (answered(demo, _copy(SAID[what]), sessions[name]) for name, demo in pages.items())
        assert json.loads(json.dumps(ours)) == json.loads(json.dumps(theirs))  # as a page gets them


def _copy(said: Any) -> Any:
    """gradio deletes from what a handler returned."""
    return dict(said) if isinstance(said, dict) else [dict(one) if isinstance(one, dict) else one for one in said]


def test_what_a_handler_returned_stays_as_it_was(pages: dict[str, gr.Blocks]) -> None:
    demo, said = pages["ours"], {"__type__": "update", "label": None, "placeholder": "p"}
    answered(demo, [gr.skip(), said, *[gr.skip()] * 5], LightSession(demo))
    assert said == {"__type__": "update", "label": None, "placeholder": "p"}


def test_answers_by_control_and_of_a_single_one() -> None:
    for kind in (Variants, gr.Blocks):
        with kind() as demo:
            first, second = gr.Textbox("a"), gr.Number(1)
            demo.load(lambda: None, None, [first, second])
            demo.load(lambda: None, None, first)
        session = LightSession(demo)
        by_control = asyncio.run(demo.postprocess_data(demo.fns[0], {second: gr.update(minimum=3)}, session))
        assert by_control == [{"__type__": "update"}, {"__type__": "update", "minimum": 3}]
        single = asyncio.run(demo.postprocess_data(demo.fns[1], gr.update(value="b", lines=2), session))
        assert single == [{"__type__": "update", "lines": 2, "value": "b"}]


def test_a_page_keeps_what_it_was_told_and_no_other_does(pages: dict[str, gr.Blocks]) -> None:
    demo = pages["ours"]
    one, other = LightSession(demo), LightSession(demo)
    answered(demo, _copy(SAID["shapes"]), one)
    choice = next(part for part in demo.fns[0].outputs if isinstance(part, gr.Dropdown))
    assert one[choice._id].choices == [("p", "p"), ("q", "Q")]
    assert other[choice._id].choices == choice.choices == [("x", "x"), ("y", "y")]
    answered(demo, [gr.skip()] * 3 + [gr.update(label="L")] + [gr.skip()] * 3, one)
    assert one[choice._id].choices == [("p", "p"), ("q", "Q")] and one[choice._id].label == "L"


def test_pages_that_look_alike_keep_one_of_each_control(pages: dict[str, gr.Blocks]) -> None:
    demo = pages["ours"]
    sessions = [LightSession(demo) for _ in range(20)]

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, gr.components.Component) for thing in gc.get_objects())

    answered(demo, _copy(SAID["shapes"]), sessions[0])
    before = alive()
    for session in sessions:
        answered(demo, _copy(SAID["shapes"]), session)
    assert alive() == before
    del sessions, session
    assert alive() < before
