"""The worker's log: a few rotating files in the data folder, without secrets."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

MAX_BYTES, KEPT = 1_000_000, 3
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|AUTH|API_?KEY", re.IGNORECASE)
_SECRET_FORM = re.compile(r"hf_[A-Za-z0-9]{16,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?<=Bearer )\S+")


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Values of ``environment`` that must not be written down; a user:password gives its password too."""
    values = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    values |= {value.partition(":")[2] for value in values}
    return {value for value in values if len(value) >= 6 and "/" not in value[:1]}


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret, given or recognised by its form, replaced by ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SECRET_FORM.sub("***", text)


class WorkerLog:
    """Copies a worker's output, line by line, into ``path`` with rotation."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        self.path = path
        self._secrets = secrets_of(os.environ) | set(secrets)
        self._handler: RotatingFileHandler | None = None
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Start a thread that writes ``stream`` down until it ends."""
        thread = threading.Thread(target=self._copy, args=(stream,), name="svd-ui-worker-log", daemon=True)
        thread.start()
        return thread

    def write(self, line: str) -> None:
        record = logging.makeLogRecord({"msg": redact(line.rstrip("\n"), self._secrets)})
        with self._lock:
            if self._handler is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._handler = RotatingFileHandler(
                    self.path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", delay=True
                )
            self._handler.handle(record)

    def close(self) -> None:
        with self._lock:
            if self._handler is not None:
                self._handler.close()
                self._handler = None

    def _copy(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.write(line.decode("utf-8", "replace"))
