"""How often a page may ask, so that the server keeps up with many; and how much of what lasts one of them may have under way."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SHARE = 0.12
"""Of a processor, for what all pages ask by themselves; what people do and programs ask comes first."""
SILENT = 3.0
"""Times its pace that a page may say nothing until it counts no more: it is closed, or in the background."""
STEP = 0.5
"""Seconds to which a pace is rounded up: a timer that changes begins anew."""


class Crowd:
    """Pages that ask the same thing again and again, every ``usual`` seconds where there are few.

    ``cost`` is what asking once takes of a processor, in seconds; ``clock`` in seconds. Thread-safe.
    """

    def __init__(self, usual: float, cost: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.usual, self.cost, self._clock = usual, cost, clock
        self._lock = threading.Lock()
        self._last: OrderedDict[str, float] = OrderedDict()
        self._pace = usual

    def pace(self, page: str) -> float:
        """Note that ``page`` goes on asking; the seconds until it should ask again."""
        now = self._clock()
        with self._lock:
            self._last[page] = now
            self._last.move_to_end(page)
            while now - next(iter(self._last.values())) > SILENT * self._pace:
                self._last.popitem(last=False)
            wanted = len(self._last) * self.cost / SHARE
            self._pace = self.usual if wanted <= self.usual else math.ceil(wanted / STEP) * STEP
            return self._pace

    def leave(self, page: str) -> None:
        """``page`` asks no more."""
        with self._lock:
            self._last.pop(page, None)


class Lanes:
    """At most ``each`` calls under way for whoever asks, in the order they came; the next one waits, and no thread with it. Of one
    event loop.
    """

    def __init__(self, each: int) -> None:
        self.each = each
        self._of: dict[str, tuple[asyncio.Semaphore, int]] = {}
        """Who asks => their lane, and how many are in it or wait for it."""

    @asynccontextmanager
    async def of(self, asker: str) -> AsyncIterator[None]:
        """A blank ``asker`` never waits."""
        if not asker:
            yield
            return
        lane, count = self._of.get(asker) or (asyncio.Semaphore(self.each), 0)
        self._of[asker] = lane, count + 1
        try:
            async with lane:
                yield
        finally:
            _, count = self._of.pop(asker)
            if count > 1:
                self._of[asker] = lane, count - 1
