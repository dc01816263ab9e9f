"""The desk of a cluster: it takes orders of pages, has replicas make them, and keeps what they say until the page has it.

A page asks for news all the time: one that does not ask any more is gone, and what was made for it is given up. A replica waits
here to hear that its clip is no longer wanted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

from ...errors import Cancelled, Displaced, SvdUiError, WorkerStopped
from . import Began, Ended, Order, Told, Unshared

VANISHED_SECONDS = 15.0
"""A page that asked for no news for so long is gone."""
GRACE_SECONDS = 20.0
"""A replica that was told to stop and said nothing for so long is given up."""
LOOK_SECONDS = 0.5
FORGET_SECONDS = 60.0
REPORT_SECONDS = 5.0
MOST_MESSAGES = 100
Stream = Callable[[Order, Sequence[Any]], AsyncIterator[Any]]
"""(order, what was brought) => the messages of whichever replica takes it."""


class Ticket:
    """One order: ``messages`` that the page has not confirmed, the first of them with number ``first``."""

    def __init__(self, order: Order, now: float) -> None:
        self.order, self.seen, self.created = order, now, now
        self.messages: deque[Any] = deque()
        self.first = 1
        self.news, self.unwanted, self.fewer = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.without = frozenset[int]()
        self.hurries = False
        self.replica = self.checkpoint = ""
        self.ended: float | None = None
        self.pump: asyncio.Task[None] | None = None
        self.guard: asyncio.Task[None] | None = None

    def say(self, message: Any, now: float) -> None:
        if self.ended is not None:
            return
        self.messages.append(message)
        if isinstance(message, Ended | Unshared):
            self.ended = now
        self.news.set()


class Sessions:
    """``stream`` reaches the replicas. All in one event loop."""

    def __init__(self, stream: Stream, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._sessions: dict[str, Ticket] = {}
        self._replicas: dict[str, tuple[float, dict[str, Any]]] = {}
        self._releases: dict[str, str] = {}

    # Pages

    async def begin(self, order: Order, parcels: Sequence[Any]) -> None:
        """Have it made. The same order given twice is made once."""
        if order.session in self._sessions:
            return
        for other in self._sessions.values():  # of a page that was killed and is back: two would write into one folder
            if (
                other.ended is None
                and order.place
                and (other.order.page, other.order.place) == (order.page, order.place)
            ):
                self._stop(other, True)
        session = self._sessions[order.session] = Ticket(order, self._clock())
        session.pump = asyncio.create_task(self._pump(session, parcels))
        session.guard = asyncio.create_task(self._guard(session))

    async def next(self, id: str, after: int, wait: float) -> list[tuple[int, Any]] | None:
        """(number, message) of what followed message number ``after``; waits up to ``wait`` seconds for news.

        None for a session that this desk does not know, or not any more.
        """
        session = self._sessions.get(id)
        if session is None:
            return None
        session.seen = self._clock()
        while session.messages and session.first <= after:
            session.messages.popleft()
            session.first += 1
        if not session.messages:
            session.news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(session.news.wait(), wait)
        session.seen = self._clock()
        return list(enumerate(list(session.messages)[:MOST_MESSAGES], session.first))

    async def cancel(self, id: str, hurries: bool = False) -> None:
        session = self._sessions.get(id)
        if session is not None:
            self._stop(session, hurries)

    async def leave_out(self, id: str, tiles: Sequence[int]) -> None:
        """These tiles of a wall are no longer wanted; the others go on."""
        session = self._sessions.get(id)
        if session is not None:
            session.without |= frozenset(tiles)
            session.fewer.set()

    async def release(self, page: str) -> None:
        """Replicas that work for that page free their memory with their next report, unless they work."""
        self._releases |= dict.fromkeys(self._replicas, page)

    async def stop_all(self) -> int:
        """Everything that is being made goes back to its page; returns how much that was."""
        running = [one for one in self._sessions.values() if one.ended is None]
        for session in running:
            error = Displaced(reason="the cluster was taken down")
            session.say(Ended(error.to_dict()), self._clock())
            self._stop(session, True)
        return len(running)

    # Replicas

    async def until_unwanted(self, id: str) -> bool:
        """Returns when the clip of this session is no longer wanted: whether the device is wanted back at once."""
        session = self._sessions.get(id)
        if session is None:
            return True
        await session.unwanted.wait()
        return session.hurries

    async def until_fewer(self, id: str, known: Sequence[int]) -> list[int]:
        """Returns when more tiles than ``known`` are no longer wanted: all of these."""
        session = self._sessions.get(id)
        while session is not None and session.ended is None and session.without <= frozenset(known):
            session.fewer.clear()
            await session.fewer.wait()
        return sorted(session.without) if session is not None else list(known)

    async def report(self, replica: str, about: dict[str, Any]) -> str | None:
        """What a replica is and does now; returns the page whose work no longer needs its memory, None for nothing."""
        self._replicas[replica] = (self._clock(), about)
        return self._releases.pop(replica, None)

    async def state(self) -> dict[str, Any]:
        """For people: replicas that reported lately, and sessions that have not ended."""
        now = self._clock()
        self._replicas = {name: one for name, one in self._replicas.items() if now - one[0] < REPORT_SECONDS}
        open_ = [one for one in self._sessions.values() if one.ended is None]
        working = {one.replica: one.order.session for one in open_}
        return {
            "replicas": {
                name: {**about, "session": working.get(name, "")} for name, (_, about) in self._replicas.items()
            },
            "running": sum(bool(one.replica) for one in open_),
            "waiting": sum(not one.replica for one in open_),
        }

    # Inside

    async def _pump(self, session: Ticket, parcels: Sequence[Any]) -> None:
        """Hand on what the replica says. However it ends, the page hears so."""
        error: SvdUiError | None = None
        reason = "its replica ended without a word"
        try:
            async for message in self._stream(session.order, parcels):
                if isinstance(message, Began):
                    session.replica = message.replica
                elif isinstance(message, Told) and message.kind == "Loading":
                    session.checkpoint = str(message.values.get("checkpoint") or "")
                session.say(message, self._clock())
        except asyncio.CancelledError:
            error = Cancelled()
        except Exception as failure:  # whatever Ray raises for a replica that is no more
            reason = reason_of(failure)
            self._replicas.pop(session.replica, None)  # it reports again if it is still there
        # A replica that never began, because it is only coming up say, ended for no fault of this clip.
        error = error or (WorkerStopped if session.replica else Displaced)(reason=reason)
        session.say(Ended(error.to_dict()), self._clock())

    async def _guard(self, session: Ticket) -> None:
        """Give up what nobody waits for, and forget it when it is over."""
        while session.ended is None:
            if not session.unwanted.is_set() and self._clock() - session.seen > VANISHED_SECONDS:
                self._stop(session, False)
            await asyncio.sleep(LOOK_SECONDS)
        session.unwanted.set()
        session.fewer.set()
        await asyncio.sleep(FORGET_SECONDS)
        self._sessions.pop(session.order.session, None)

    def _stop(self, session: Ticket, hurries: bool) -> None:
        session.hurries = hurries
        session.unwanted.set()
        if not session.replica:  # it waits for one: nobody has to be asked
            self._give_up(session)
        else:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._give_up, session)

    def _give_up(self, session: Ticket) -> None:
        session.say(Ended(Cancelled().to_dict()), self._clock())
        if session.pump is not None:
            session.pump.cancel()


def reason_of(failure: Exception) -> str:
    """Why a replica went, for people; what Ray says about it is long and for the log."""
    name = type(failure).__name__
    if "Died" in name or "Unavailable" in name:
        return "its replica was killed or lost"
    return f"its replica failed with {name}"
