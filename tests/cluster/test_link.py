"""Reaching a cluster: what is wrong is said in one sentence, with what to do."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from svd_ui import __version__
from svd_ui.engine.cluster import link as linking
from svd_ui.engine.cluster.link import Link, connect
from svd_ui.errors import Cancelled, ClusterMismatch, ClusterUnusable, RayMissing, from_dict
from svd_ui.settings import Settings


class Reply:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout_s: float) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class FakeDesk:
    """Answers with ``hello``."""

    def __init__(self, hello: Any) -> None:
        self.answer = hello
        self.hello = self

    def remote(self) -> Reply:
        return Reply(self.answer)


class FakeRay:
    shutdowns = 0

    def shutdown(self) -> None:
        self.shutdowns += 1


HELLO = {"release": __version__, "most": 3, "replicas": {}}


def linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hello: Any, wait: int = 5) -> tuple[Link, FakeRay]:
    ray = FakeRay()
    monkeypatch.setattr(linking, "connect", lambda address: ray)
    link = Link(Settings(_env_file=None, data_dir=tmp_path, cluster="ray://there:1", cluster_wait=wait))
    link._desk = FakeDesk(hello)
    return link, ray


def test_no_ray_here_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayMissing, match=r"python -m pip install -e '\.\[cluster\]'"):
        connect("ray://there:10001")


def test_a_machine_that_does_not_answer_is_said_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterUnusable, match="nobody answers there"):
            connect(address)
        assert time.monotonic() - began < 20, "Ray itself waits for more than a minute"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("Version mismatch: The cluster was started with: Ray: 2.59.0, Python: 3.12.1", ClusterMismatch, "2.59.0"),
        ("Python minor versions differ between client and server", ClusterMismatch, "same releases"),
        ("RPC error: InvalidAuthToken: Authentication token is missing", ClusterUnusable, "RAY_AUTH_TOKEN"),
        ("ray client connection timeout", ClusterUnusable, "Start it"),
        ("", ClusterUnusable, "ConnectionError"),
    ],
)
def test_what_ray_says_becomes_a_sentence(text: str, kind: type[Exception], said: str) -> None:
    outer = RuntimeError("Failed to connect")
    outer.__cause__ = ConnectionError(text)
    found = linking._said(outer if "Auth" in text else ConnectionError(text), "ray://there:10001")
    assert type(found) is kind
    assert said in found.message
    assert "\n" not in found.message
    assert from_dict(found.to_dict()).message == found.message


def test_a_page_has_a_slot_for_every_replica_there_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link, _ = linked(monkeypatch, tmp_path, HELLO)
    link.check()
    assert link.most == 3


def test_another_release_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link, _ = linked(monkeypatch, tmp_path, HELLO | {"release": "9.9.9"})
    with pytest.raises(ClusterMismatch, match=r"9\.9\.9 there and .* here.*cluster deploy"):
        link.check()


def test_a_desk_that_does_not_answer_is_looked_for_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link, ray = linked(monkeypatch, tmp_path, TimeoutError())
    with pytest.raises(ClusterUnusable):
        link.check()
    assert ray.shutdowns == 1
    link._desk = FakeDesk(HELLO)
    link.check()


def test_a_clip_that_waits_for_the_cluster_can_be_cancelled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link, _ = linked(monkeypatch, tmp_path, HELLO | {"release": "9.9.9"}, wait=600)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        link.ready(cancel)
