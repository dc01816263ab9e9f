"""Time in one clip: how long each stage took, and when it has taken too long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Cancelled, SvdUiError, TookTooLong
from . import CancelToken


class StageTimer:
    """Seconds by stage; a stage entered twice adds up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds, with the ``total`` since the beginning."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in {**self._seconds, "total": total}.items()}


class Deadline:
    """A cancel token that time sets too."""

    def __init__(self, cancel: CancelToken, max_seconds: float) -> None:
        self._cancel, self._max_seconds = cancel, max_seconds
        self._until = time.monotonic() + max_seconds

    def is_set(self) -> bool:
        return self._cancel.is_set() or time.monotonic() > self._until

    def check(self) -> None:
        """Raises Cancelled when set."""
        if self.is_set():
            raise Cancelled()

    def reason(self) -> SvdUiError:
        """Who set it: somebody, or time."""
        return Cancelled() if self._cancel.is_set() else TookTooLong(seconds=int(self._max_seconds))
