"""A browser's tab as the server sees it, without a browser: what a page asks when it opens, while it waits and when it is used.

The client shares its processors with the page that it measures, so it is sockets and little else.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 60.0
COOKIE = re.compile(r"set-cookie: ([^;]+)", re.IGNORECASE)


class Answer:
    """Status, headers as text, body."""

    def __init__(self, status: int, headers: str, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Seen:
    """What all tabs saw: seconds by kind of request, what went wrong, what was refused in words."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)


class Line:
    """One kept connection, one request at a time; opened again where the server closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._lock = asyncio.Lock()

    async def ask(self, head: str, body: bytes = b"") -> Answer:
        async with self._lock:
            for fresh in (False, True):
                try:
                    return await self._asked(head, body)
                except (ConnectionError, asyncio.IncompleteReadError):
                    self.close()
                    if fresh:
                        raise
        raise AssertionError

    async def _asked(self, head: str, body: bytes) -> Answer:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=2**22)
        assert self._reader is not None
        self._writer.write(head.encode() + body)
        headers = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        low = headers.lower()
        if "transfer-encoding: chunked" in low:
            content = await _chunks(self._reader)
        else:
            found = re.search(r"content-length: (\d+)", low)
            content = await self._reader.readexactly(int(found[1])) if found else b""
        if "connection: close" in low:
            self.close()
        return Answer(int(headers.split(" ", 2)[1]), headers, content)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)


class Plan:
    """The page's configuration: which event is which call, and what components are worth at first. Read once for all tabs."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.parts = {part["id"]: part for part in config["components"]}
        self.calls = config["dependencies"]
        self.by_name = {part["props"].get("elem_id"): id for id, part in self.parts.items()}
        self.first = {id: part["props"].get("value") for id, part in self.parts.items()}
        self.of_event = {
            (target, event): call for call in reversed(self.calls) for target, event in map(tuple, call["targets"])
        }

    def call(self, event: str, elem_id: str) -> dict[str, Any]:
        """The call of an event of a component."""
        return dict(self.of_event[self.by_name[elem_id], event])

    def timer(self, always: bool) -> dict[str, Any]:
        """The call of the timer that always runs, or of the one that follows a clip."""
        timers = [id for id, part in self.parts.items() if part["type"] == "timer" and (id, "tick") in self.of_event]
        found = [id for id in timers if bool(self.parts[id]["props"].get("active", True)) == always]
        return dict(self.of_event[found[0], "tick"])

    def by_storage(self, key: str) -> int:
        """The component whose value the browser keeps under ``key``."""
        return next(id for id, part in self.parts.items() if part["props"].get("storage_key") == key)

    def loading(self) -> list[dict[str, Any]]:
        """What a page calls when it opens."""
        return [
            call for call in self.calls if any(event == "load" for _, event in call["targets"]) and call["backend_fn"]
        ]


class Tab:
    """One visitor with one page open. ``seen`` takes what it met."""

    def __init__(self, host: str, port: int, seen: Seen) -> None:
        self.session, self.seen = secrets.token_hex(6), seen
        self._host, self._port = host, port
        self._lines = [Line(host, port) for _ in range(3)]  # a browser holds several
        self._turn = 0
        self._beat: asyncio.Task[None] | None = None
        self.cookie = ""
        self.values: dict[int, Any] = {}
        self._props: dict[tuple[int, str], Any] = {}
        self.plan: Plan | None = None

    async def ask(self, kind: str, method: str, path: str, data: Any = None) -> Answer | None:
        """One request, timed and counted; None where it failed."""
        body = b"" if data is None else json.dumps(data).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{self.cookie}"
        if data is not None:
            head += f"Content-Type: application/json\r\nX-SVD-UI: 1\r\nContent-Length: {len(body)}\r\n"
        self._turn += 1
        began = time.perf_counter()
        try:
            line = self._lines[self._turn % len(self._lines)]
            answer = await asyncio.wait_for(line.ask(head + "\r\n", body), PATIENCE)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self.seen.errors[f"{kind}: {type(error).__name__}"] += 1
            return None
        self.seen.seconds[kind].append(time.perf_counter() - began)
        return self._judged(kind, answer)

    def _judged(self, kind: str, answer: Answer) -> Answer | None:
        """Refusals are sentences; everything else that is no success is an error."""
        if answer.status < 400:
            return answer
        try:
            error = answer.json().get("error")
            said = error.get("message") if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            said = None
        if said and (answer.status in (400, 404, 429) or "wait" in said):
            self.seen.refusals[said] += 1
        else:
            self.seen.errors[f"{kind}: {answer.status} {said or ''}".strip()] += 1
        return None

    async def open(self, plan: Plan | None = None) -> Plan | None:
        """The page and its first events, as a browser asks for them."""
        page = await self.ask("page", "GET", "/")
        if page is None:
            return None
        found = COOKIE.search(page.headers)
        self.cookie = f"Cookie: {found[1]}\r\n" if found else self.cookie
        self.plan = plan or Plan(_config(page.body.decode()))
        self.values = dict(self.plan.first)
        self._beat = asyncio.create_task(self._heartbeat())
        for call in self.plan.loading():
            await self.run("load", call)
        return self.plan

    async def run(self, kind: str, call: dict[str, Any], event: Any = None) -> dict[int, Any] | None:
        """Call a handler with what the page holds; what it changes, by component."""
        data = [None if self._is_state(id) else self.values.get(id) for id in call["inputs"]]
        body = {
            "data": data,
            "fn_index": call["id"],
            "event_data": event,
            "trigger_id": call["targets"][0][0],
            "session_hash": self.session,
        }
        answer = await self.ask(kind, "POST", "/gradio_api/run/predict", body)
        if answer is None:
            return None
        changed = dict(zip(call["outputs"], answer.json()["data"], strict=True))
        for id, value in changed.items():
            if isinstance(value, dict) and value.get("__type__") == "update":
                self._props |= {(id, name): prop for name, prop in value.items()}
                if "value" in value:
                    self.values[id] = value["value"]
            else:
                self.values[id] = value
        return changed

    def prop(self, id: int, name: str) -> Any:
        """A property of a component as it was set last."""
        assert self.plan is not None
        return self._props.get((id, name), self.plan.parts[id]["props"].get(name))

    def said(self) -> str:
        """What the page's notices say, without their tags."""
        assert self.plan is not None
        ids = (id for name, id in self.plan.by_name.items() if name and name.endswith("notice"))
        return " ".join(re.sub(r"<[^>]*>", "", str(self.values.get(id) or "")) for id in ids).strip()

    def _is_state(self, id: int) -> bool:
        assert self.plan is not None
        return bool(self.plan.parts[id]["type"] == "state")

    async def _heartbeat(self) -> None:
        """The stream that a page keeps open."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                path = f"/gradio_api/heartbeat/{self.session}"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{self.cookie}\r\n".encode())
                try:
                    while await reader.read(4096):
                        pass
                finally:
                    writer.close()
            await asyncio.sleep(1.0)

    def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        for line in self._lines:
            line.close()


def _config(page: str) -> dict[str, Any]:
    """What gradio writes into the page for its scripts."""
    start = page.index("window.gradio_config = ") + len("window.gradio_config = ")
    config: dict[str, Any] = json.JSONDecoder().raw_decode(page[start:])[0]
    return config
