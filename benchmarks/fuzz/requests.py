"""Requests of every kind: made from the description, forged events of the page's handlers, routes with hostile parts, and noise."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .description import described
from .values import BODIES, EVIL, HEADERS, HOSTILE, METHODS, NOISE, OPEN, PLAIN, QUERIES, VALUES
from .watch import HANG, Fault, Watch

KINDS = ("described", "events", "noise", "routes")


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
        import schemathesis  # takes a while to be imported

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
