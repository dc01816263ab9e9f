"""The log, of our lines and of libraries' alike: text, or JSON lines for a collector; secrets are masked in both, in tracebacks too.

Lines are written by the standard library's loggers; values go along as ``extra``, and what ``bound`` says belongs to every line
within its block. structlog makes lines of them. It is imported when it is first needed: a command that logs nothing does without.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

from .errors import BadInput, without_secrets

LogFormat = Literal["text", "json"]
EventDict = MutableMapping[str, Any]
_JOB = re.compile(r"\b[0-9a-f]{32}\b")
FIRST = ("time", "level", "logger", "message", "job", "request_id")
"""The order of a line; what else there is follows."""
LEFT_OUT = ("owner", "prompt", "color_message")
"""Values that no line shows: whose it is, what they wrote, and a library's colours. Nor what begins with "_": a library's own, as Ray
adds to every line of a process that has it.
"""


def bound(**values: str) -> AbstractContextManager[None]:
    """Within the block every line of this thread or task, a library's too, has these values, such as ``job``."""
    from structlog.contextvars import bound_contextvars

    return bound_contextvars(**values)


def bind(**values: str) -> None:
    """The same until the task, or the request that this thread serves, is over."""
    from structlog.contextvars import bind_contextvars

    bind_contextvars(**values)


def line_formatter(kind: LogFormat) -> logging.Formatter:
    """What makes lines of records."""
    from structlog.contextvars import merge_contextvars
    from structlog.processors import format_exc_info
    from structlog.stdlib import ExtraAdder, ProcessorFormatter

    return ProcessorFormatter(
        foreign_pre_chain=[merge_contextvars, ExtraAdder(), _facts, format_exc_info],
        processors=[ProcessorFormatter.remove_processors_meta, _masked, _as_json if kind == "json" else _as_text],
    )


def set_up(
    kind: LogFormat, level: int = logging.WARNING, file: Path | None = None, megabytes: float = 10, files: int = 5
) -> None:
    """Once per process that works; what is logged below ``level`` is not shown. Raises BadInput where ``file`` cannot be written.

    A collector, and a ``file``, get our own INFO lines as well: each job's life. A full file is put aside at ``megabytes``; so
    many ``files`` that were put aside are kept.
    """
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.NOTSET if kind == "json" else level)
    handlers: list[logging.Handler] = [shown, *([_rotating(file, megabytes, files)] if file else [])]
    formatter = line_formatter(kind)
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=handlers)
    if file is not None or kind == "json":
        logging.getLogger(__package__).setLevel(min(level, logging.INFO))


def _rotating(path: Path, megabytes: float, files: int) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(path, maxBytes=int(megabytes * 1_000_000), backupCount=files, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"SVD_UI_LOG_FILE: {path} cannot be written ({error.strerror}). Name another file.") from error


def _facts(_: Any, __: str, event: EventDict) -> EventDict:
    """What the record itself knows, under our names; ``job`` where the message names one."""
    record: logging.LogRecord = event["_record"]
    message = event.pop("event")
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
    if found := _JOB.search(message):
        event.setdefault("job", found[0])
    return {**event, "time": when, "level": record.levelname, "logger": record.name, "message": message}


def _masked(_: Any, __: str, event: EventDict) -> EventDict:
    kept = {name: value for name, value in event.items() if name not in LEFT_OUT and name[0] != "_"}
    if "exception" in kept:
        kept["trace"] = kept.pop("exception")
    plain = {name: value if isinstance(value, int | float) else str(value) for name, value in kept.items()}
    return {name: without_secrets(value) if isinstance(value, str) else value for name, value in plain.items()}


def _in_order(event: EventDict) -> dict[str, Any]:
    return {name: event[name] for name in (*FIRST, *sorted(event.keys() - set(FIRST))) if name in event}


def _as_json(_: Any, __: str, event: EventDict) -> str:
    """``time level logger message``, ``job request_id`` and other values, ``trace`` of an exception."""
    return json.dumps(_in_order(event), ensure_ascii=False)


def _as_text(_: Any, __: str, event: EventDict) -> str:
    """The same for people: values after the message, unless it holds them, and the trace below."""
    line = _in_order(event)
    trace = line.pop("trace", None)
    head = " ".join(line.pop(name) for name in ("time", "level", "logger", "message"))
    rest = "".join(f" {name}={value}" for name, value in line.items() if str(value) not in head)
    # Once more as a whole: only a line shows what stands before a secret.
    return without_secrets(head + rest) + (f"\n{trace}" if trace else "")
