"""The replica's side of a clip: an order comes in, messages go out, files cross where the page's folder is not seen here."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import __version__
from ...assets import Assets
from ...errors import ClusterMismatch, SvdUiError, Unexpected
from ...events import Event, Finished, Result, StillMade
from ...request import GenerationRequest
from ...settings import Settings
from .. import CancelToken, Device, Engine, telemetry
from ..progress import KEPT
from . import Began, Ended, OnDevice, Order, Told, Unshared
from .transport import Parcel, Storage, Unpacker, pack

log = logging.getLogger(__name__)
MARK = "cluster-mark"
"""The file that tells whether two processes see one data folder."""
PLACE = re.compile(r"jobs/[\w-]{1,64}", re.ASCII)
PICTURES_SECONDS = 24 * 3600.0
Message = Began | Unshared | OnDevice | Told | Parcel | Ended


class StopSign(threading.Event):
    """A CancelToken; ``hurries`` as the runner of jobs has it: the device is wanted back at once."""

    hurries = False

    def __init__(self) -> None:
        super().__init__()
        self.without = frozenset[int]()

    def left_out(self) -> frozenset[int]:
        """The tiles of a wall that were cancelled."""
        return self.without


class Replica:
    """Makes one clip at a time with ``engine``; ``settings`` are those of its machine."""

    def __init__(self, settings: Settings, engine: Engine, name: str) -> None:
        self._settings, self._engine, self.name = settings, engine, name
        self._assets = Assets.of(settings)
        self._busy = threading.Lock()
        self._last_page, self._idle_since = "", time.monotonic()

    def make(self, order: Order, parcels: Iterable[Parcel], cancel: CancelToken) -> Iterator[Message]:
        """Ends in ``Ended``, or in ``Unshared``; raises nothing."""
        with self._busy:
            self._last_page = order.page
            try:
                yield from self._make(order, parcels, cancel)
            except SvdUiError as error:
                yield Ended(error.to_dict())
            except Exception as error:
                log.exception("order %s", order.session)
                yield Ended(Unexpected(detail=type(error).__name__).to_dict())
            finally:
                self._idle_since = time.monotonic()

    def release(self, page: str = "", idle_seconds: float = 0.0) -> None:
        """Free the device's memory unless a clip is being made, or nothing was for ``page``, or it is too soon."""
        mine = self._last_page and page in ("", self._last_page)
        if not mine or time.monotonic() - self._idle_since < idle_seconds or not self._busy.acquire(blocking=False):
            return
        try:
            self._last_page = ""
            self._engine.release()
        finally:
            self._busy.release()

    def _make(self, order: Order, parcels: Iterable[Parcel], cancel: CancelToken) -> Iterator[Message]:
        if order.release != __version__:
            reason = f"svd-ui is {__version__} there and {order.release} here"
            raise ClusterMismatch(address="the page", reason=reason, remedy="Run one release on both.")
        shared = self._shares(order)
        if not (shared or order.brings):
            yield Unshared()
            return
        yield Began(self.name, shared)
        request = GenerationRequest.model_validate(order.request)
        self._engine.expect(order.waiting)
        make = self._engine.make_still if order.method == "make_still" else self._engine.generate
        if shared:
            folder = self._settings.data_dir / order.place
            telemetry.remember(folder.name, order.trace)
            yield from self._told(make(request, folder, cancel))
        else:
            telemetry.remember(order.session, order.trace)
            with self._crossing(order, parcels) as crossing:
                yield from self._told(make(request, crossing.folder, cancel), crossing)
        yield Ended()

    def _told(self, events: Iterator[Event], crossing: Crossing | None = None) -> Iterator[Message]:
        """The events, each after the files that it speaks of; what the device is whenever that changes."""
        device: Device | None = None
        for event in events:
            if (now := self._engine.describe()) is not None and now != device:
                device = now
                yield OnDevice(device.model_dump())
            if crossing is not None:
                yield from crossing.out(event)
            yield Told.of(event)

    def _shares(self, order: Order) -> bool:
        try:
            return (
                bool(PLACE.fullmatch(order.place)) and (self._settings.data_dir / MARK).read_text("utf-8") == order.page
            )
        except (OSError, UnicodeError):
            return False

    @contextmanager
    def _crossing(self, order: Order, parcels: Iterable[Parcel]) -> Iterator[Crossing]:
        """A folder of this clip's own, with all that was brought; gone afterwards."""
        folder = self._settings.data_dir / "cluster" / order.session
        storage = Storage(order.storage, order.session) if order.storage else None
        unpacker = Unpacker(folder, self._assets, storage)
        try:
            for parcel in parcels:
                unpacker.take(parcel)
            yield Crossing(folder, self._assets, storage)
        finally:
            unpacker.close()
            shutil.rmtree(folder, ignore_errors=True)
            self._sweep()

    def _sweep(self) -> None:
        """Pictures that were brought and used by nobody lately; a folder that is a page's own is swept by that page."""
        if (self._settings.data_dir / MARK).exists() or self._settings.history_file.exists():
            return
        for _, path in self._assets.last_used(0.0, time.time() - PICTURES_SECONDS):
            path.unlink(missing_ok=True)


class Crossing:
    """What of ``folder`` has to reach the page: what is kept as soon as it is, the results with the event that tells of them."""

    def __init__(self, folder: Path, assets: Assets, storage: Storage | None) -> None:
        self.folder = folder
        self._assets, self._storage = assets, storage
        self._sent = dict(self._kept())

    def out(self, event: Event) -> Iterator[Parcel]:
        if isinstance(event, StillMade):
            yield from self._picture(event.image)
        if isinstance(event, Finished):
            yield from self._result(event.result)
            return
        for name, state in self._kept():
            if self._sent.get(name) != state:
                self._sent[name] = state
                yield from pack(self.folder / KEPT / name, f"{KEPT}/{name}", self._storage)

    def _result(self, result: Result) -> Iterator[Parcel]:
        for ref in {result.image, result.last_frame} - {None, ""}:
            yield from self._picture(str(ref))
        for name in files_of(result):
            yield from pack(self.folder / name, name, self._storage)

    def _picture(self, ref: str) -> Iterator[Parcel]:
        yield from pack(self._assets.path(ref), ref, self._storage)

    def _kept(self) -> Iterator[tuple[str, Any]]:
        for path in sorted((self.folder / KEPT).glob("[!.]*")):
            try:
                facts = path.stat()
            except FileNotFoundError:  # replaced or removed this moment
                continue
            yield path.name, (facts.st_mtime_ns, facts.st_size, facts.st_ino)


def files_of(result: Result) -> tuple[str, ...]:
    """The names of all files that ``result`` speaks of."""
    names = [result.video, result.poster, result.frames, result.animation, result.latents]
    return tuple(name for name in (*names, *(tile.video for tile in result.tiles)) if name)


def in_thread(start: Callable[[], Iterator[Message]]) -> tuple[asyncio.Queue[Message | None], asyncio.Future[None]]:
    """What ``start()`` yields, out of a thread of its own, None at the end; and the thread's end."""
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message | None]()

    def work() -> None:
        try:
            for message in start():
                loop.call_soon_threadsafe(messages.put_nowait, message)
        finally:
            loop.call_soon_threadsafe(messages.put_nowait, None)

    return messages, loop.run_in_executor(None, work)
