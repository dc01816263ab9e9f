"""A desk with replicas in this process, in place of Ray: what the page's engine talks to in fast tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

from svd_ui.engine import CancelToken, Device
from svd_ui.engine.cluster import Order
from svd_ui.engine.cluster.desk import Sessions
from svd_ui.engine.cluster.replica import Replica, StopSign, in_thread
from svd_ui.errors import Cancelled


class ReplicaDied(Exception):
    """As Ray calls one that was killed."""


class InsideLink:
    """As ``cluster.link.Link``. ``replicas`` take orders in turn; the first ``deaths`` of them die after ``dies_after`` messages."""

    address = "ray://inside:1"

    def __init__(self, *replicas: Replica) -> None:
        self.ships, self.device = False, None
        self.device: Device | None
        self.replicas, self.put_count = list(replicas), 0
        self.dies_after, self.deaths = -1, 1_000
        self.orders: list[Order] = []
        self.stoppings: list[StopSign] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sessions = Sessions(self._stream)

    def ready(self, cancel: CancelToken) -> None:
        if cancel.is_set():
            raise Cancelled()

    def ask(self, method: str, *args: Any) -> Callable[[float], Any]:
        return asyncio.run_coroutine_threadsafe(getattr(self.sessions, method)(*args), self._loop).result

    def put(self, value: Any) -> Any:
        self.put_count += 1
        return value

    def close(self) -> None:
        async def end() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _stream(self, order: Order, parcels: Sequence[Any]) -> AsyncIterator[Any]:
        self.orders.append(order)
        while not self.replicas:
            await asyncio.sleep(0.01)
        replica = self.replicas.pop(0)
        stopping = StopSign()
        self.stoppings.append(stopping)
        watches = [asyncio.create_task(one(order.session, stopping)) for one in (self._watch, self._watch_tiles)]
        messages, thread = in_thread(lambda: replica.make(order, parcels, stopping))
        left = self.dies_after
        try:
            while (message := await messages.get()) is not None:
                if left == 0 and self.deaths:
                    self.deaths -= 1
                    raise ReplicaDied()
                left -= 1
                yield message
        finally:
            stopping.set()
            for watch in watches:
                watch.cancel()
            with suppress(Exception):
                await asyncio.shield(thread)
            self.replicas.append(replica)

    async def _watch_tiles(self, session: str, stopping: StopSign) -> None:
        while not stopping.is_set():
            stopping.without = frozenset(await self.sessions.until_fewer(session, sorted(stopping.without)))

    async def _watch(self, session: str, stopping: StopSign) -> None:
        stopping.hurries = await self.sessions.until_unwanted(session)
        stopping.set()
