"""The log on stderr: text, or JSON lines for a collector; secrets are masked in both, in tracebacks too."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Literal

from .errors import without_secrets

LogFormat = Literal["text", "json"]
_JOB = re.compile(r"\b[0-9a-f]{32}\b")
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Masked(logging.Formatter):
    """A line of text."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class JsonLine(logging.Formatter):
    """An object a line: ``time level logger message``, ``job`` where the message names one, ``trace`` of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(message),
        }
        if job := _JOB.search(message):
            line["job"] = job[0]
        if record.exc_info:
            line["trace"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up(kind: LogFormat, level: int = logging.WARNING) -> None:
    """Once per process that works; what is logged below ``level`` is not shown."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine() if kind == "json" else Masked(TEXT))
    logging.basicConfig(level=level, handlers=[handler])
