"""Asks a page, and judges every answer: words without a traceback or a folder of the server, within ten seconds."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

HANG = 10.0
"""Seconds that an answer may take."""
MOST_READ = 4_000_000
ENDLESS = re.compile(r"/heartbeat/|/queue/data|/upload_progress")
"""Streams that stay open while a page does."""
TRACE = re.compile(r"Traceback \(most recent call last\)|  File \"[^\"]+\", line \d+|site-packages|\.py\", line")
BROKEN = ("Something unexpected went wrong", "could not make sense of this request")


@dataclass(frozen=True)
class Fault:
    """What is wrong with an answer (``why``), and what was asked."""

    why: str
    kind: str
    asked: str
    status: int
    text: str


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    seconds: float
    headers: httpx.Headers

    def json(self) -> Any:
        """The body, or None."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.text)
        return None


@dataclass
class Watch:
    """``places`` are folders that no answer may name; what lies in ``handed_out`` is what gradio serves by its path."""

    base: str
    places: tuple[str, ...] = ()
    handed_out: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    unsent: int = 0

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=8, max_keepalive_connections=8)
        self.client = httpx.Client(base_url=self.base, timeout=HANG + 10, limits=limits)

    def ask(self, kind: str, method: str, path: str, **options: Any) -> Answer | None:
        """One request; None where nothing came back, or httpx itself refused to send such a thing."""
        begun = time.monotonic()
        try:
            with self.client.stream(method, path, **options) as got:
                endless = ENDLESS.search(path) is not None and got.status_code == 200
                body = b"" if endless else _body(got, begun)
                status, headers = got.status_code, got.headers
        except httpx.TimeoutException:
            self._counted(kind, f"{method} {path}", time.monotonic() - begun, 0, "")
            return None
        except httpx.TransportError as error:
            self.asked[kind] += 1
            if not isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
                self.faults.append(Fault("no answer", kind, f"{method} {path}"[:300], 0, repr(error)))
            return None
        except Exception:  # of a client that does not send such a thing: as many kinds as there are layers in it
            self.unsent += 1
            return None
        text, seconds = body.decode("utf-8", "replace"), time.monotonic() - begun
        self._counted(kind, f"{method} {path}", seconds, status, text)
        return Answer(status, text, seconds, headers)

    def _counted(self, kind: str, asked: str, seconds: float, status: int, text: str) -> None:
        self.asked[kind] += 1
        self.statuses[status] += 1
        if any(said in text for said in BROKEN):
            self.unexpected[f"{kind} {asked}"[:120]] += 1
        self.slowest = max(self.slowest, (seconds, asked[:200]))
        found = ["took too long"] if seconds > HANG else []
        found += self.judged(status, text)
        self.faults += [Fault(why, kind, asked[:300], status, text[:600]) for why in found]

    def judged(self, status: int, text: str) -> list[str]:
        """What is wrong with an answer."""
        found = ["traceback"] if TRACE.search(text) else []
        rest = text.replace(self.handed_out, "") if self.handed_out else text
        if any(place in rest for place in self.places):
            found.append("folder of the server")
        if _says_null(text):
            found.append("error without words")
        if status >= 500 and not _words(text):
            found.append("bare error of the server")
        return found

    def told(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "asked": dict(self.asked),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "unexpected": dict(self.unexpected.most_common(50)),
            "slowest": list(self.slowest),
            "faults": [asdict(fault) for fault in self.faults[:200]],
        }


def _body(got: httpx.Response, begun: float) -> bytes:
    data = bytearray()
    for part in got.iter_bytes():
        data += part
        if len(data) > MOST_READ or time.monotonic() - begun > HANG + 5:
            break
    return bytes(data)


def _says_null(text: str) -> bool:
    """gradio's ``{"error": null}``, plain or as an event; the field of a job without an error is none."""
    bodies = [text] if text.startswith("{") else re.findall(r"event: error\s+data: (.*)", text)
    for body in bodies:
        with suppress(ValueError, RecursionError):
            told = json.loads(body)
            if told is None or (
                isinstance(told, dict) and "error" in told and told["error"] is None and "id" not in told
            ):
                return True
    return False


def _words(text: str) -> bool:
    """Whether an error of the server says something to a person."""
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
        if isinstance(told, dict):
            said = told.get("error") or told.get("detail") or told.get("missing")
            said = said.get("message") if isinstance(said, dict) else said
            return bool(said) and len(str(said)) > 5
    return False


def errors_in(log: Path) -> Counter[str]:
    """Where tracebacks in the log of a page end: our own line and the error's name => how often."""
    found: Counter[str] = Counter()
    text = log.read_text("utf-8", "replace")
    for block in re.split(r"Traceback \(most recent call last\):\n", text)[1:]:
        body = re.match(r"(?:[ \t].*\n|\n)*(.*)", block)
        ours = re.findall(r'File "[^"]*/(svd_ui/[^"]+)", line (\d+)', block[: body.end() if body else None])
        last = re.findall(r'File "([^"]+)", line (\d+)', block[: body.end() if body else None])
        where = ":".join(ours[-1]) if ours else "/".join(last[-1][0].split("/")[-2:]) if last else "?"
        inner = bool(ours and last and last[-1][0].endswith(ours[-1][0]))
        found[f"{'ours' if inner else 'below'} {where} {(body[1] if body else '')[:100]}"] += 1
    return found
