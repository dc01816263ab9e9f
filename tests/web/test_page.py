"""Components by name: what handlers read and change, how errors are said, what the browser keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from svd_ui.catalog import registry
from svd_ui.errors import BadInput, NotFound
from svd_ui.request import SCHEMA_VERSION
from svd_ui.settings import Settings
from svd_ui.web.page import Changes, Given, Page, stored_values
from svd_ui.web.page import Clicked as Told


class Clicked:
    """An event of gradio: keeps what it is given, and calls it as a browser would."""

    def __call__(self, call: Any, ins: list[Any], outs: list[Any], **options: Any) -> Clicked:
        self.call, self.ins, self.outs, self.options = call, ins, outs, options
        return self

    def run(self, *values: Any) -> Any:
        return self.call(gr.Request(), gr.EventData(None, {"id": "x"}), *values)


@pytest.fixture
def page() -> Page:
    page = Page(remote=False)
    page.notice("notice", "notice")
    page.notice("elsewhere", "elsewhere")
    page.control("fps", gr.Number(7, info="help", elem_classes=["dial"]))
    page.control("speed", gr.Radio(["exact", "fast"]))
    page.control("hidden", gr.Textbox(""), checked=False)
    return page


def wired(page: Page, handler: Any, **options: Any) -> Clicked:
    clicked = Clicked()
    page.on(clicked, handler, page.form, ("notice", "speed"), **options)
    return clicked


def test_a_handler_reads_and_changes_by_name(page: Page) -> None:
    def handler(given: Given) -> Changes:
        assert (given["fps"], given.event.text("id"), dict(given.form)) == (
            9,
            "x",
            {"fps": 9, "speed": "exact", "hidden": ""},
        )
        return {"speed": "fast"}

    clicked = wired(page, handler)
    assert clicked.run(9, "exact", "") == {page["notice"]: "", page["elsewhere"]: "", page["speed"]: "fast"}
    assert clicked.options["queue"] is False
    assert clicked.options["api_visibility"] == "private"


def test_an_error_is_said_once_on_its_control(page: Page) -> None:
    def handler(given: Given) -> Changes:
        raise BadInput("Too many.", field="fps")

    said = wired(page, handler, fields=True).run(99, "exact", "")
    assert said[page["notice"]] == ""
    assert said[page["fps"]]["info"] == "Too many."
    assert "invalid" in said[page["fps"]]["elem_classes"]
    assert "Too many." in wired(page, handler).run(99, "exact", "")[page["notice"]]  # no control to say it on


def test_what_is_said_stands_beside_what_was_clicked_and_nowhere_else(page: Page) -> None:
    def fails(given: Given) -> Changes:
        raise NotFound(what="clip")

    said = wired(page, fails, says="elsewhere").run(7, "exact", "")
    assert "clip" in said[page["elsewhere"]]
    assert said[page["notice"]] == ""
    said = wired(page, lambda given: {"notice": "Done."}, says="elsewhere").run(7, "exact", "")
    assert (said[page["elsewhere"]], said[page["notice"]]) == ("Done.", "")


def test_a_good_answer_clears_what_was_said(page: Page) -> None:
    said = wired(page, lambda given: {}, fields=True).run(7, "exact", "")
    assert said[page["notice"]] == ""
    assert (said[page["fps"]]["info"], said[page["fps"]]["elem_classes"]) == ("help", ["dial"])
    assert page.checked == ["fps"]


def test_an_error_that_nothing_can_show_is_raised(page: Page) -> None:
    def handler(given: Given) -> Changes:
        raise NotFound(what="job")

    clicked = Clicked()
    page.on(clicked, handler, (), ("speed",))
    with pytest.raises(gr.Error, match="There is no job here"):
        clicked.run()


def test_a_press_looks_at_the_places_for_models_once(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, looks, discover = Settings(data_dir=tmp_path), list[int](), registry.discover
    monkeypatch.setattr(registry, "discover", lambda settings: looks.append(1) or discover(settings))

    def handler(given: Given) -> Changes:
        for _ in range(3):
            registry.find_checkpoint(settings, "nano")
        return {}

    clicked = wired(page, handler)
    clicked.run(9, "exact", "")
    assert len(looks) == 1
    clicked.run(9, "exact", "")
    assert len(looks) == 2, "a folder may have been dropped in"
    registry.find_checkpoint(settings, "nano")
    registry.find_checkpoint(settings, "nano")
    assert len(looks) == 4, "nothing is remembered where nobody says for how long"


def test_names_are_given_once(page: Page) -> None:
    with pytest.raises(ValueError, match="speed"):
        page.add("speed", gr.HTML(""))


def test_the_browser_keeps_a_version_and_old_values_are_read(page: Page) -> None:
    page.add("kept", gr.BrowserState(None, storage_key="x", secret="x"))
    assert f"version: {SCHEMA_VERSION}, values:" in page.keeping()["js"]
    assert stored_values({"version": 1, "values": {"fps": 9}}) == {"fps": 9}
    assert stored_values({"fps": 9}) == {"fps": 9}  # of a release that kept no version
    for broken in (None, 3, "x", {"version": 1}, {"version": 1, "values": [1]}):
        assert stored_values(broken) == {}


@pytest.mark.parametrize(
    "told", [None, 7, "x", [], {"at": None}, {"at": []}, {"at": "x"}, {"at": float("nan")}, {"at": 10**400}]
)
def test_an_event_that_no_page_sends_is_refused_in_words(told: Any) -> None:
    event = Told(gr.EventData(None, told))
    with pytest.raises(BadInput, match="reload it"):
        event.whole("at")
    assert (event.text("id"), event.files(), event.several("left")) == ("", [], [])


def test_an_event_tells_numbers_texts_and_files() -> None:
    event = Told(gr.EventData(None, {"at": "3", "x": 0.5, "id": "a", "files": [{"path": "p"}, 7], "name": {}}))
    assert (event.whole("at"), event.number("x"), event.text("id"), event.files()) == (3, 0.5, "a", [{"path": "p"}])
    with pytest.raises(BadInput, match="reload it"):
        event.text("name")
