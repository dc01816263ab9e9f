"""Requests of every kind: made from the description, forged events of the page's handlers, routes with hostile parts, and noise."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .description import described
from .watch import HANG, Fault, Watch

EVIL = (
    "", " ", "\0", "a\0b", "../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/",
    "<script>alert(1)</script>", "'; DROP TABLE jobs; --", "%00", "%2e%2e%2f", "{0.__class__.__mro__}", "${jndi:ldap://x}", "%s%s%n",
    "\u202eevil", "\ud800", "\U0001f4a5" * 500, "x" * 30_000, "sha256:" + "0" * 64, "sha256:../../x", "NaN", "1e999", "-0", "\u0661\u0662",
    "CON", "\r\nSet-Cookie: a=b", "0" * 32, "A" * 32, "first", "local:../..", "{\"svd_ui\": 1}", "[" * 3000, "\ufeff", "\x7f\x1b[31m",
)  # fmt: skip
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63,
    2**64,
    -(2**63),
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(NUMBERS),
    st.sampled_from(EVIL),
    st.text(max_size=20),
)
HOSTILE = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(EVIL) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = ("described", "events", "noise", "routes")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
HEADERS = (
    "Range", "If-Range", "If-Modified-Since", "If-None-Match", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie",
    "Content-Type", "Content-Length", "Transfer-Encoding", "Host", "Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "X-Forwarded-For",
    "X-Forwarded-Host", "X-Forwarded-Proto", "X-SVD-UI", "Expect", "Upgrade", "Connection", "X-Gradio-User",
)  # fmt: skip
VALUES = (
    b"bytes=0-", b"bytes=5-2", b"bytes=-99999999999", b"bytes=0-0,1-1,2-2", b"bytes=" + b"0-1," * 400, b"Basic Og==", b"Basic !!!", b"Bearer x",
    b"*/*;q=NaN", b"multipart/form-data", b"multipart/form-data; boundary=", b"application/json; charset=utf-7", b"chunked", b"-1", b"99999999999",
    b"evil.example", b"127.0.0.1", b"[::1", b"null", b"https://evil.example", b"cross-site", b"\xff\xfe\xfd", b"svd_ui_visitor=\xc3\xa9", b"a" * 8000,
    b"svd_ui_visitor=" + b"z" * 3000, b"Thu, 99 Foo 9999 99:99:99 GMT", b"100-continue", b"websocket", b"1",
)  # fmt: skip


def many(strategy: st.SearchStrategy[Any], count: int, number: int, act: Callable[[Any], object]) -> None:
    """``act`` on about ``count`` examples; which ones follows from ``number``."""

    @seed(number)
    @settings(
        max_examples=max(1, count),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def every(example: Any) -> None:
        act(example)

    every()


@dataclass
class Fuzzer:
    """Asks a page. ``ids`` and ``refs`` as in ``described``; ``handlers`` are the page's by their number, with what a new page
    sends them.
    """

    watch: Watch
    ids: list[str]
    refs: list[str]
    handlers: dict[int, list[Any]]
    number: int = 1

    def all(self, count: int) -> None:
        """Half of them from the description, a quarter forged events, a quarter routes and noise."""
        self.described(count // 2)
        self.events(count // 4)
        self.noise(count // 50)
        while (
            missing := count - sum(self.watch.asked[kind] for kind in KINDS)
        ) > 0:  # some have less to be wrong about
            self.number += 1000
            self.routes(missing)

    def described(self, count: int) -> None:
        logging.getLogger("schemathesis").setLevel(logging.ERROR)
        schema = schemathesis.openapi.from_dict(described(self.watch.base, self.ids, self.refs))
        operations = [one.ok() for one in schema.get_all_operations()]
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for place, operation in enumerate(operations):
            for mode in modes:
                self._described(operation, mode, _share(count, len(operations) * 2), self.number + place)

    def _described(self, operation: Any, mode: Any, count: int, number: int) -> None:
        def send(case: Any) -> None:
            asked = case.as_transport_kwargs(base_url=self.watch.base)
            known = ("params", "json", "headers", "cookies", "data", "files")
            options = {name: asked[name] for name in known if asked.get(name) is not None}
            if isinstance(options.get("data"), bytes | str):
                options["content"] = options.pop("data")
            if "json" in options:
                options["content"] = json.dumps(options.pop("json"))
            self.watch.ask("described", asked["method"], asked["url"], **options)

        try:
            strategy = operation.as_strategy(generation_mode=mode)
            many(strategy, count, number, send)
        except Exception as error:  # some operations have nothing to be wrong about
            if "Unsatisfiable" not in type(error).__name__ and "skip" not in type(error).__name__.lower():
                print(f"  {operation.label} {mode}: {type(error).__name__} {str(error)[:120]}", flush=True)

    def events(self, count: int) -> None:
        """Handlers of the page, called by their number with what no page would send."""
        told = {
            "at": 0,
            "x": 0.5,
            "y": 0.5,
            "id": self.ids[0],
            "name": "video",
            "files": [],
            "left": [],
            "weight": 0.5,
            "index": 0,
        }
        plausible = st.fixed_dictionaries({name: st.just(value) | HOSTILE for name, value in told.items()})
        for place, (id, usual) in enumerate(self.handlers.items()):
            some = st.tuples(
                *(st.just(value) if index % 3 else st.just(value) | HOSTILE for index, value in enumerate(usual))
            )
            every = st.lists(HOSTILE, min_size=len(usual), max_size=len(usual))
            data = st.just(usual) | some | every | HOSTILE
            sessions = st.sampled_from(("s1", "s2", *EVIL[:4]))
            bodies = st.fixed_dictionaries({"data": data, "event_data": plausible | HOSTILE, "session_hash": sessions})

            def send(body: dict[str, Any], number: int = id) -> None:
                self.post("events", "gradio_api/run/predict", {**body, "fn_index": number})

            many(bodies, _share(count, len(self.handlers)), self.number + place, send)

    def post(self, kind: str, path: str, body: Any) -> None:
        """JSON with numbers that are none, and halves of letters."""
        self.watch.ask(
            kind, "POST", path, content=json.dumps(body), headers={"Content-Type": "application/json", "X-SVD-UI": "1"}
        )

    def routes(self, count: int) -> None:
        text = st.sampled_from(EVIL) | st.text(max_size=12) | st.sampled_from([*self.ids, *self.refs])
        part = text.map(lambda value: quote(value[:2000], safe="", errors="replace"))
        path = st.one_of(
            st.sampled_from(PLAIN),
            st.tuples(st.sampled_from(OPEN), part).map("".join),
            st.lists(part, max_size=4).map("/".join),
        )
        query = st.lists(st.tuples(st.sampled_from(QUERIES), part), max_size=4).map(
            lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
        )
        headers = st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES), max_size=3)
        body = (
            st.none()
            | st.binary(max_size=60)
            | HOSTILE.map(lambda value: json.dumps(value).encode())
            | st.sampled_from(BODIES)
        )

        def send(asked: tuple[str, str, str, dict[str, bytes], bytes | None]) -> None:
            method, where, wanted, named, content = asked
            self.watch.ask("routes", method, f"{where.lstrip('/')}?{wanted}", headers=named.items(), content=content)

        many(st.tuples(st.sampled_from(METHODS), path, query, headers, body), count, self.number, send)

    def noise(self, count: int) -> None:
        """Bytes that are no HTTP, or nearly: whatever happens to that connection, the next one is answered."""
        place = urlsplit(self.watch.base)
        pieces = st.sampled_from(NOISE) | st.binary(max_size=200)

        def send(data: bytes) -> None:
            self.watch.asked["noise"] += 1
            heard = b""
            with (
                suppress(OSError),
                socket.create_connection((place.hostname or "", place.port or 0), timeout=HANG) as line,
            ):
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
                heard = line.recv(100_000)
            text = heard.decode("utf-8", "replace")
            self.watch.faults += [
                Fault(why, "noise", repr(data[:200]), 0, text[:600]) for why in self.watch.judged(200, text)
            ]

        many(st.lists(pieces, max_size=4).map(b"".join), count, self.number, send)


def _share(count: int, of: int) -> int:
    return max(1, round(count / of))


def _paths(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


PLAIN = _paths((
    "", "config", "svd/queue", "svd/queue.zip", "svd/history", "svd/frame", "metrics", "ready", "health", "gradio_api/info", "gradio_api/upload",
    "gradio_api/queue/join", "gradio_api/queue/data", "gradio_api/queue/status", "gradio_api/cancel", "gradio_api/reset", "login", "openapi.json",
    "gradio_api/component_server", "gradio_api/run/predict", "gradio_api/call/generate", "gradio_api/startup-events", "theme.css",
))  # fmt: skip
OPEN = _paths((
    "svd/job/", "svd/status/", "svd/still/", "svd/example/", "svd/sketch/", "svd/run/x/", "gradio_api/file=", "gradio_api/file/", "static/",
    "assets/", "svelte/", "gradio_api/call/", "gradio_api/run/", "gradio_api/api/", "gradio_api/call/submit/", "gradio_api/heartbeat/",
    "gradio_api/call/v2/", "gradio_api/custom_component/", "gradio_api/stream/", "svd/job/x/", "gradio_api/proxy=", "monitoring/",
))  # fmt: skip
QUERIES = (
    "path",
    "at",
    "w",
    "h",
    "x",
    "y",
    "limit",
    "before",
    "download",
    "session_hash",
    "page",
    "deep_link",
    "upload_id",
    "__theme",
)
BODIES = (
    b"[" * 50_000, b'{"data":' + b"[" * 20_000, b'{"a":' * 5000, b'{"data": [1e999999]}', b'{"data": [' + b"9" * 5000 + b"]}", b"\xff\xfe{}",
    b'{"data": null}', b'{"data": {}}', b"null", b"[]", b"0", b'"', b"--x\r\nContent-Disposition: form-data; name=files; filename=\"../a\"\r\n\r\nz\r\n--x--",
    b'{"do": "move", "id": {}, "where": []}', b'{"do": "edit", "id": "", "request": {"post": [{}]}}', b"a=" + b"%00" * 3000,
)  # fmt: skip
NOISE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n", b"ffffffffffffffff\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n", b"X: " + b"b" * 70_000 + b"\r\n", b"\r\n", b"\0" * 50,
)  # fmt: skip
