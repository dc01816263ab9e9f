"""What every answer carries, and that an error is a sentence without a path."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import httpx
import pytest

from svd_ui.errors import NotFound
from svd_ui.settings import Settings
from svd_ui.web.errors_of_gradio import payload
from svd_ui.web.guard.answers import BROKEN, policy, told_of
from tests.web.conftest import Served

from .conftest import call


def test_every_answer_tells_a_browser_what_the_page_may_do(local: Served) -> None:
    for path in ("", "config", "svd/history", "no/such/route", "gradio_api/file=/etc/passwd", "theme.css"):
        headers = httpx.get(local.url + path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert rules["object-src"] == "'none'"
        assert rules["frame-ancestors"] == "'self'"
        assert rules["default-src"] == "'self'"
        assert "http" not in rules["script-src"]


def test_a_space_may_be_shown_where_spaces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ann/svd")
    found = policy(Settings())
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in found["Content-Security-Policy"]
    assert "X-Frame-Options" not in found


@pytest.mark.parametrize(
    "data",
    [
        [9, {"a": 1}, None], [9, ["x"], None], [9, None, {"t": 1}], [9, None, 7], [{"n": 1}, None, None], ["many", None, None],
        [1e400, None, None], [9, "x" * 5000, None], [9, "no-such-id", None], [], [1, 2, 3, 4, 5, 6],
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_a_sentence_without_a_path(local: Served, data: list) -> None:
    with httpx.Client(base_url=local.url, timeout=30) as client:
        event, told = call(client, "history", *data) if 1e400 not in data else ("error", '{"error": "x"}')
    if event == "error":
        assert json.loads(told)["error"], told
        for secret in (str(local.settings.data_dir), "Traceback", "sqlite", "/home", "site-packages"):
            assert secret not in told


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([9, {"a": 1}, None], "before is a text"),
        ([9, None, {"t": 1}], "token is a text"),
        (["many", None, None], "limit is"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(local: Served, data: list, said: str) -> None:
    with httpx.Client(base_url=local.url, timeout=30) as client:
        event, told = call(client, "history", *data)
    assert (event, said in told) == ("error", True), told


@pytest.mark.parametrize("name", ["submit", "status", "cancel", "schema", "history", "no-such-call"])
@pytest.mark.parametrize("body", [{"data": None}, {"data": {}}, {"data": [[[]]]}, {"data": "x"}, {}, []])
def test_whatever_is_sent_is_answered_with_words(local: Served, name: str, body: object) -> None:
    with httpx.Client(base_url=local.url, timeout=30) as client:
        made = client.post(f"gradio_api/call/{name}", json=body)
        text = made.text
        if made.status_code == 200:
            text += client.get(f"gradio_api/call/{name}/{made.json()['event_id']}").text
    assert '"error": null' not in text.replace('":null', '": null')
    assert "Traceback" not in text
    assert made.status_code != 500 or json.loads(made.text)["error"]


def test_what_breaks_inside_is_said_and_shows_nothing(local: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("/srv/private/place")

    monkeypatch.setattr(local.jobs, "history", broken)
    answer = httpx.get(f"{local.url}svd/history")
    assert answer.status_code == 500
    assert "server" in answer.json()["error"]
    with httpx.Client(base_url=local.url) as client:
        _, told = call(client, "history", 3, None, None)
    assert "unexpected" in told
    assert "private" not in answer.text + told


def test_gradio_s_own_errors_become_sentences() -> None:
    for error in (None, KeyError("x"), ValueError("/srv/x")):
        assert (
            payload(error, show_error=True)["error"]
            == "Something unexpected went wrong. The server's log has the details."
        )
    assert (
        payload(NotFound(what="job"), show_error=False)["error"]
        == "There is no job here, or it belongs to somebody else."
    )


def test_a_range_is_not_answered_with_the_request_s_cookies(local: Served, uploads: None, tmp_path: Path) -> None:
    with httpx.Client(base_url=local.url) as client:
        up = client.post("gradio_api/upload", files={"files": ("a.mp4", b"0123456789")}).json()[0]
        asked = {"Range": "bytes=2-5", "Cookie": "secret=1", "Authorization": "Bearer abc"}
        part = client.get(f"gradio_api/file={up}", headers=asked)
    assert (part.status_code, part.content) == (206, b"2345")
    assert "bytes 2-5/10" in part.headers["content-range"]
    assert not {"cookie", "authorization", "host", "user-agent"} & set(part.headers)


def test_a_size_that_is_half_given_is_no_error_of_the_server(local: Served) -> None:
    for query in ("w=1", "w=x&h=1", "w=1&h=1&x=nan", "w=0&h=0", "w=9999&h=9"):
        assert httpx.get(f"{local.url}svd/still/{'0' * 64}?{query}").status_code == 404


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), 507, "cannot be written to"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/data/x"), 507, "cannot be written to"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), 404, "nothing here"),
        (OSError(errno.EIO, "Input/output error"), 500, BROKEN),
        (KeyError("x"), 500, BROKEN),
    ],
)
def test_what_nobody_caught_is_said_as_far_as_it_is_known(error: Exception, status: int, said: str) -> None:
    found = told_of(error)
    assert (found[0], said in found[1], "/srv" in found[1]) == (status, True, False)
    known = payload(error, show_error=True)["error"]
    assert (said in str(known)) == (status == 507)


@pytest.mark.parametrize("text", ['{"data": [], "fn_index": {"a": NaN}}', '{"data": "\\ud800", "fn_index": "x"}'])
def test_numbers_and_letters_that_cannot_be_echoed_are_no_fault_of_the_server(local: Served, text: str) -> None:
    answer = httpx.post(
        f"{local.url}gradio_api/run/predict", content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert "cannot be" in answer.json()["error"]


@pytest.mark.parametrize("place", ["static/", "assets/"])
def test_a_name_that_is_too_long_names_nothing(local: Served, place: str) -> None:
    assert httpx.get(f"{local.url}{place}{'x' * 3000}").status_code == 404


def test_a_stream_of_nothing_ends_in_words(local: Served) -> None:
    told = httpx.get(f"{local.url}gradio_api/call/history/no-such-event", timeout=30)
    assert told.status_code == 404 or "There is nothing here." in told.text


def test_words_without_a_list_leave_nothing_out(local: Served) -> None:
    with httpx.Client(base_url=local.url, timeout=30) as client:
        for without in (7, "x", {"a": 1}, None):
            assert call(client, "words", "slow push-in", without, "")[0] == "complete"


def test_what_a_handler_refuses_is_no_trace_in_the_log(local: Served, caplog: pytest.LogCaptureFixture) -> None:
    config = httpx.get(f"{local.url}config").json()
    ids = {one["id"]: str(one["props"].get("elem_id", "")) for one in config["components"]}
    handlers = [one for one in config["dependencies"] if one["backend_fn"]]
    for event in ("aim", "seek"):
        (handler,) = [
            one for one in handlers if ("finder", event) in [(ids.get(id), name) for id, name in one["targets"]]
        ]
        for stills in ([], {"items": 7}, {"items": [{"ref": "../x"}], "at": "x"}, "x", None):
            data = [stills, *[None] * (len(handler["inputs"]) - 1)]
            body = {"data": data, "fn_index": handler["id"], "session_hash": "s", "event_data": {"at": "no number"}}
            told = httpx.post(f"{local.url}gradio_api/run/predict", json=body, timeout=30)
            assert "reload it" in told.text or told.status_code == 200, told.text
    assert "Traceback" not in caplog.text
