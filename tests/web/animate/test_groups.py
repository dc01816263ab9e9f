"""Methods, post steps and the wall in the form: folded for the page, unfolded for the request, without loss."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from pydantic import Field

from svd_ui.plugins import Params, Registry
from svd_ui.post import POST
from svd_ui.request import GenerationRequest
from svd_ui.web import animate
from svd_ui.web.animate import groups
from svd_ui.web.animate.form import EXTRAS, FRESH, default_of, explicit, request_of, values_of
from svd_ui.web.animate.groups import Kinds
from svd_ui.web.controls import CLIP, Controls
from svd_ui.web.page import Page
from tests.web.animate.test_form import ROW, STILL, values


class Camera(Params):
    """Moves the view."""

    zoom: float = Field(1.0, ge=0.5, le=2, title="Zoom", json_schema_extra={"widget": "number"})
    name: str | None = Field(None, title="Name")
    steady: bool = Field(False, title="Steady")


class Plain(Params):
    """Nothing more."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry[Params]:
    made: Registry[Params] = Registry("tests.none", "svd_ui.methods")
    monkeypatch.setattr(made, "_complete", True)
    for kind, cls in {"plain": Plain, "camera": Camera}.items():
        made.register(kind)(cls)
    return made


def test_one_kind_is_chosen_with_its_parameters(registry: Registry[Params]) -> None:
    method = Kinds("method", registry)
    blank = method.blank()
    assert blank == {
        "method": "plain", "method.camera.zoom": 1.0, "method.camera.name": "", "method.camera.steady": False,
    }  # fmt: skip
    assert method.fold(blank) == {}  # plain is what a request holds anyway
    chosen = {**blank, "method": "camera", "method.camera.zoom": 1.5}
    folded = method.fold(chosen)
    assert folded == {"method": {"kind": "camera", "zoom": 1.5, "steady": False}}
    assert method.unfold(folded["method"]) == chosen
    assert method.shown(chosen) == {"method.camera.parameters": True}
    assert method.unfold({"kind": "of a package that is gone"}) == blank


def test_several_kinds_are_switched_on(registry: Registry[Params]) -> None:
    post = Kinds("post", registry, several=True)
    blank = post.blank()
    assert post.fold(blank) == {}
    on = {**blank, "post.plain": True, "post.camera": True, "post.camera.name": "pan"}
    folded = post.fold(on)
    assert folded == {"post": [{"kind": "plain"}, {"kind": "camera", "zoom": 1.0, "name": "pan", "steady": False}]}
    assert post.unfold(folded["post"]) == {**on, "post": "plain,camera"}


def test_the_order_of_a_restored_request_is_kept(registry: Registry[Params]) -> None:
    post = Kinds("post", registry, several=True)
    turned = {"post": [{"kind": "camera", "zoom": 1.0, "steady": False}, {"kind": "plain"}]}
    restored = post.unfold(turned["post"])
    assert post.fold(restored) == turned
    assert post.fold({**restored, "post.camera": False}) == {"post": [{"kind": "plain"}]}


def test_the_post_steps_there_are_pass_through_the_form() -> None:
    kind = next(iter(POST.classes()))
    request = request_of(values(**{f"post.{kind}": True}), ROW, STILL)
    assert [step.kind for step in request.post] == [kind]
    back = values_of(request, ROW, STILL)
    assert back[f"post.{kind}"] is True
    assert explicit({**values(), **back})["post"][0]["kind"] == kind
    assert default_of(f"post.{kind}") is FRESH.get(f"post.{kind}", False)


def test_kinds_become_controls(registry: Registry[Params], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "groups", lambda: (Kinds("method", registry), Kinds("post", registry, several=True)))
    page = Page(remote=False)
    with gr.Blocks():
        animate._kinds(page, "method")
        animate._kinds(page, "post")
    parameters = [f"camera.{name}" for name in ("zoom", "name", "steady")]
    methods = ["method", *(f"method.{name}" for name in parameters)]
    assert list(page.form) == [*methods, "post", "post.plain", "post.camera", *(f"post.{name}" for name in parameters)]
    assert [value for _, value in page["method"].choices] == ["plain", "camera"]
    assert page["method.camera.parameters"].visible is False
    assert page["post.camera"].info == "Moves the view."


def test_a_field_may_ask_for_its_widget() -> None:
    camera: Any = Controls(Camera.model_fields, "dial-method-camera")
    kinds = {name: camera.control(name) for name in ("zoom", "name", "steady")}
    assert [type(control) for control in kinds.values()] == [gr.Number, gr.Textbox, gr.Checkbox]
    assert (kinds["zoom"].elem_id, kinds["zoom"].label) == ("dial-method-camera-zoom", "Zoom")


def test_every_field_of_a_request_has_its_place() -> None:
    """In a control of its own, in a group, or beside the form."""
    beside = {"image", "wall"}
    known = {**EXTRAS, **values()}
    assert {name for name in GenerationRequest.model_fields if name not in known} <= beside | {"method", "post"}
    assert CLIP.fields.keys() == GenerationRequest.model_fields.keys()
