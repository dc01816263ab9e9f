"""What runs inside Ray Serve: the replicas, each with a supervised worker of its own, and the desk. No route leads to either.

Which replica gets a clip is Serve's own choice among those with the checkpoint (its "multiplexed models", one to a replica): that is
a stable interface, where a router of one's own is not, and it waits a second for a busy replica with the right weights before
it takes another.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import serve

from ... import __version__
from ...settings import usable
from .. import Timed
from ..worker import WorkerEngine
from ..worker_handle import EngineFactory
from . import APP, CLIPS, DESK, DESK_APP, Order, Told
from .desk import Sessions
from .replica import Message, Replica, StopSign, in_thread

log = logging.getLogger(__name__)
BEAT_SECONDS = 1.0


class Clips:
    """One replica."""

    def __init__(self, data_dir: str, factory: EngineFactory) -> None:
        """``data_dir`` '' is what the settings of its machine say."""
        settings, faults = usable(**({"data_dir": Path(data_dir)} if data_dir else {}))
        if faults:
            raise RuntimeError(f"settings of this machine: {faults}")
        settings = settings.model_copy(update={"cluster": ""})
        self._settings = settings
        self._name = serve.get_replica_context().replica_id.unique_id
        self._engine = WorkerEngine(settings, None, factory, replica=f"replica-{self._name}")
        self._engine.start()
        self._replica = Replica(settings, self._engine, self._name)
        self._desk = serve.get_deployment_handle(DESK, DESK_APP)
        threading.Thread(target=self._report, name="svd-ui-replica", daemon=True).start()

    @serve.multiplexed(max_num_models_per_replica=1)  # type: ignore[untyped-decorator]
    async def _has(self, checkpoint: str) -> str:
        """Tells Serve what this replica has loaded; loading it is the worker's."""
        return checkpoint

    async def make(self, order: Order, parcels: Sequence[Any]) -> AsyncIterator[Message]:
        """``parcels`` are references to what was brought."""
        await self._has(serve.get_multiplexed_model_id())
        stopping = StopSign()
        watches = [asyncio.create_task(self._watch(order.session, stopping))]
        if order.request.get("wall"):
            watches.append(asyncio.create_task(self._watch_tiles(order.session, stopping)))
        messages, thread = in_thread(lambda: self._replica.make(order, map(ray.get, parcels), stopping))
        try:
            while (message := await messages.get()) is not None:
                if isinstance(message, Told) and message.kind == "Loading":
                    await self._has(str(message.values["checkpoint"]))
                yield message
        finally:  # also where the call was cancelled: this replica is free when its worker is
            stopping.set()
            for watch in watches:
                watch.cancel()
            await asyncio.shield(thread)

    async def prepare(self, checkpoint: str | None) -> None:
        await self._has(serve.get_multiplexed_model_id())
        await asyncio.to_thread(self._engine.prepare, checkpoint)

    async def benchmark(self) -> list[Timed]:
        return await asyncio.to_thread(self._engine.benchmark)

    async def _watch(self, session: str, stopping: StopSign) -> None:
        """Stop when nobody wants it any more, or the desk is gone, with which all pages lost it."""
        try:
            stopping.hurries = bool(await self._desk.until_unwanted.remote(session))
        except Exception as error:
            log.warning("the desk does not answer: %r", error)
        stopping.set()

    async def _watch_tiles(self, session: str, stopping: StopSign) -> None:
        """Hear which tiles are no longer wanted."""
        with suppress(Exception):  # without the desk ``_watch`` stops it all
            while not stopping.is_set():
                known = sorted(stopping.without)
                stopping.without = frozenset(await self._desk.until_fewer.remote(session, known))

    def _report(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            device = self._engine.describe()
            about = {
                "device": None if device is None else device.model_dump(),
                "trouble": self._engine.trouble,
                "node": ray.util.get_node_ip_address(),
                "pid": self._engine.pid,
            }
            try:
                page = self._desk.report.remote(self._name, about).result(timeout_s=10)
                if page is not None:
                    self._replica.release(page)
                if self._settings.idle_seconds:
                    self._replica.release(idle_seconds=self._settings.idle_seconds)
            except Exception as error:  # the desk is being replaced, say
                log.warning("no report: %r", error)


class Desk(Sessions):
    """The one desk. ``most`` is how many replicas there may be."""

    def __init__(self, most: int) -> None:
        super().__init__(self._from_replicas)
        self._most = most
        self._names: dict[str, str] = {}

    async def hello(self) -> dict[str, Any]:
        """Who this is, and ``state``."""
        return {"release": __version__, "most": self._most, **await self.state()}

    async def set_most(self, most: int) -> None:
        self._most = most

    async def prepare(self, checkpoint: str) -> None:
        await _clips(checkpoint).prepare.remote(checkpoint)

    async def benchmark(self) -> list[Timed]:
        rows: list[Timed] = await _clips("").benchmark.remote()
        return rows

    async def _from_replicas(self, order: Order, parcels: Sequence[Any]) -> AsyncIterator[Any]:
        asked = str(order.request.get("checkpoint") or "")
        clips = _clips(self._names.get(asked, asked)).options(stream=True)
        async for message in clips.make.remote(order, list(parcels)):
            if isinstance(message, Told) and message.kind == "Loading":  # a replica says what ``auto`` means
                self._names[asked] = str(message.values["checkpoint"])
            yield message


def _clips(checkpoint: str) -> Any:
    return serve.get_deployment_handle(CLIPS, APP).options(multiplexed_model_id=checkpoint)
