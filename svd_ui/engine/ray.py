"""The engine whose device is somewhere in a Ray cluster: ``SVD_UI_CLUSTER``. One of these for each replica that may run."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..assets import Assets
from ..errors import Cancelled, ClusterUnusable, Displaced, NoReplica, SvdUiError, Unexpected, WorkerStopped, from_dict
from ..events import Event, Finished, left_out
from ..hub import Hub
from ..media import write_bytes
from ..pictures import pictures
from ..request import GenerationRequest
from ..settings import Settings
from . import CancelToken, Device, Estimate, Timed, telemetry, waited
from .cluster import Began, Ended, OnDevice, Order, Told, Unshared
from .cluster.desk import GRACE_SECONDS, VANISHED_SECONDS
from .cluster.link import Link
from .cluster.replica import MARK, PLACE, files_of
from .cluster.transport import NAME, Parcel, Storage, Unpacker, pack
from .estimates import estimate
from .progress import KEPT, Progress

log = logging.getLogger(__name__)
NEWS_SECONDS = 0.25
"""How long the desk waits for news before it says that there are none; then a cancel is looked for."""
BREATH_SECONDS, FORGOTTEN_SECONDS = 2.0, 60.0
MOST_MOVES = 8
"""So often a clip may lose its place after it began, until that counts: a clip of which the desk dies, say."""
REMEDY = "Look at 'svd-ui cluster status', and allow more replicas or wait longer (SVD_UI_CLUSTER_WAIT)."


def engines_of(settings: Settings) -> list[RayEngine]:
    """One for each replica that the cluster may run. Raises ClusterUnusable."""
    link = Link(settings)
    link.check()
    return [RayEngine(settings, link) for _ in range(link.most)]


class RayEngine:
    """``Engine`` over the desk of a cluster. What is made there arrives in the folder given, each file whole or not at all."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings, self._link = settings, link
        self._hub = Hub(settings)
        self._device: Device | None = None
        self._waiting = 0
        self._refused: tuple[float, float] | None = None
        """Since when no replica has begun what it was given, and when that was seen last."""
        self._moves: Counter[str] = Counter()

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("generate", request, out, cancel)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("make_still", request, out, cancel)

    def describe(self) -> Device | None:
        return self._device or self._link.device

    def prepare(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self._link.ask("prepare", checkpoint)(self._settings.cluster_wait)

    def estimate(self, request: GenerationRequest) -> Estimate:
        return estimate(self._settings, self._hub, request, self.describe())

    def expect(self, clips: int) -> None:
        self._waiting = clips  # sent along with the next job

    def benchmark(self) -> list[Timed]:
        rows: list[Timed] = self._link.ask("benchmark")(self._settings.cluster_wait)
        return rows

    def release(self) -> None:
        """Free the memory of replicas that worked for this page and do nothing now."""
        with suppress(ClusterUnusable):
            self._link.ask("release", mark(self._settings))

    def close(self) -> None:
        self._link.close()

    def _stream(self, method: str, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        """Once more with all files where a replica took it that does not see this page's folder."""
        asked = time.monotonic()
        self._link.ready(cancel)
        try:
            done = yield from self._session(method, request, out, cancel, asked, self._link.ships)
            if not done:
                self._link.ships = True
                done = yield from self._session(method, request, out, cancel, asked, True)
        except Displaced as error:
            if self._refused is None:  # it had begun
                self._moves[out.name] += 1
            self._breathe(error, cancel)
            if self._moves[out.name] > MOST_MOVES:
                raise WorkerStopped(**error.params) from error
            raise
        self._moves.pop(out.name, None)
        if not done:
            raise Unexpected(detail="the replica did not see what was brought")

    def _breathe(self, error: Displaced, cancel: CancelToken) -> None:
        """Where nothing is begun, nobody tries again at once. Raises NoReplica when that has gone on for too long."""
        now = time.monotonic()
        since, last = self._refused or (now, now)
        if now - last > FORGOTTEN_SECONDS:
            since = now
        self._refused = since, now
        if now - since > self._settings.cluster_wait:
            self._refused = None  # it waits as long once more
            reason = str(error.params.get("reason", ""))
            raise NoReplica(address=self._link.address, reason=reason, remedy=REMEDY) from error
        while time.monotonic() < now + BREATH_SECONDS and not cancel.is_set():
            time.sleep(NEWS_SECONDS)

    def _session(
        self, method: str, request: GenerationRequest, out: Path, cancel: CancelToken, asked: float, ships: bool
    ) -> Generator[Event, None, bool]:
        """Whether it was made; False where the replica needs files that were not brought. A replica is waited for since ``asked``."""
        id, url = secrets.token_hex(16), self._settings.cluster_storage
        storage = Storage(url, id) if url and ships else None
        order = Order(
            session=id,
            release=__version__,
            method=method,
            request=request.model_dump(mode="json"),
            page=mark(self._settings),
            place=self._place(out),
            brings=ships,
            storage=url if ships else "",
            waiting=self._waiting,
            trace=dict(telemetry.carrier_of(out.name)),
        )
        brought = [self._put(parcel) for parcel in self._parcels(request, out, storage)] if ships else []
        files = Unpacker(out, Assets.of(self._settings), storage)
        news = News(self._link, order, cancel, self._settings.cluster_wait)
        try:
            with closing(news.messages(brought)) as messages:
                return (yield from self._heard(messages, files, request, out, asked))
        finally:
            files.close()
            if storage is not None:
                storage.clear()

    def _put(self, parcel: Parcel) -> Any:
        try:
            return self._link.put(parcel)
        except Exception as error:  # whatever Ray raises where the connection is gone
            raise Displaced(reason="the cluster does not answer any more") from error

    def _heard(
        self, messages: Iterator[Any], files: Unpacker, request: GenerationRequest, out: Path, asked: float
    ) -> Generator[Event, None, bool]:
        finished, shared = False, False
        for message in messages:
            match message:
                case Unshared():
                    return False
                case Began():
                    shared, self._refused = message.shared, None
                    yield from waited(time.monotonic() - asked)
                case OnDevice():
                    self._device = Device.model_validate(message.device)
                case Told():
                    event = message.event()
                    if isinstance(event, Finished):
                        finished = True
                        self._arrived(event, files, request, out, shared)
                    yield event
                case Ended():
                    if message.error is not None and not finished:
                        raise from_dict(message.error)
                    return True
                case _:
                    files.take(message)
        return finished

    def _arrived(self, event: Finished, files: Unpacker, request: GenerationRequest, out: Path, shared: bool) -> None:
        """Everything that the result speaks of is here. Raises Unexpected."""
        for name in files_of(event.result):
            if not NAME.fullmatch(name) or not (out / name).is_file() or not (shared or name in files.received):
                raise Unexpected(detail="the replica finished, but not all of the clip arrived")
        if not shared:
            Progress(out).keep_result(request, event.result)

    def _place(self, out: Path) -> str:
        """The folder as a replica with the same data folder knows it."""
        place = f"{out.parent.name}/{out.name}" if out.parent.parent == self._settings.data_dir else ""
        return place if PLACE.fullmatch(place) else ""

    def _parcels(self, request: GenerationRequest, out: Path, storage: Storage | None) -> Iterator[Parcel]:
        assets = Assets.of(self._settings)
        for ref in dict.fromkeys(ref for _, ref in pictures(request)):
            yield from pack(assets.path(ref), ref, storage)
        for path in sorted((out / KEPT).glob("[!.]*")):
            if NAME.fullmatch(name := f"{KEPT}/{path.name}"):
                yield from pack(path, name, storage)
        still = Progress(out).any_still()
        if still is not None:
            with suppress(SvdUiError):
                yield from pack(assets.path(still), still, storage)


class News:
    """What the desk says about one order, until it has ended."""

    def __init__(self, link: Link, order: Order, cancel: CancelToken, wait: float) -> None:
        """A replica has to take the order within ``wait`` seconds."""
        self._link, self._order, self._cancel = link, order, cancel
        self._until = time.monotonic() + wait
        self._asked: float | None = None  # when it was asked to stop
        self._without = frozenset[int]()  # tiles that were cancelled, as the desk knows
        self._ended = False

    def messages(self, brought: list[Any]) -> Generator[Any]:
        """Raises Cancelled, NoReplica, Displaced or WorkerStopped; closing it early has the replica stop."""
        after = 0
        try:
            self._call("begin", self._order, brought)
            while True:
                self._look()
                found = self._call("next", self._order.session, after, NEWS_SECONDS)
                if found is None:
                    raise Displaced(reason="the desk of the cluster was restarted")
                for number, message in found:
                    after, self._until = number, float("inf")
                    self._ended = isinstance(message, Ended | Unshared)
                    yield self._judged(message)
                    if self._ended:
                        return
        finally:
            if not self._ended:
                self._stop()

    def _judged(self, message: Any) -> Any:
        """Stopped by somebody else than us: it is to be made again."""
        stopped = isinstance(message, Ended) and (message.error or {}).get("code") == Cancelled.code
        if stopped and self._asked is None:
            raise Displaced(reason="the cluster stopped it")
        return message

    def _call(self, method: str, *args: Any) -> Any:
        """The desk's answer, asked again while it does not answer, as long as it would wait for us."""
        silent = time.monotonic()
        while True:
            try:
                # In one go: Ray's client drops an answer whose first wait was too short.
                return self._link.ask(method, *args)(VANISHED_SECONDS)
            except ClusterUnusable as error:  # another engine of this page found it gone
                raise Displaced(reason=str(error.params.get("reason", ""))) from error
            except SvdUiError:
                raise
            except Exception as error:
                log.warning("the desk of the cluster does not answer: %r", error)
                if time.monotonic() - silent > VANISHED_SECONDS:
                    raise Displaced(reason="the cluster does not answer any more") from error
                time.sleep(NEWS_SECONDS)

    def _look(self) -> None:
        """Pass on that the job was cancelled; give up a replica that does not hear it, and waiting for one."""
        now = time.monotonic()
        if self._asked is None and self._cancel.is_set():
            self._asked = now
            self._link.ask("cancel", self._order.session, bool(getattr(self._cancel, "hurries", False)))
        if not self._without >= (gone := left_out(self._cancel)):
            self._without = gone
            self._link.ask("leave_out", self._order.session, sorted(gone))
        if self._asked is not None and now - self._asked > GRACE_SECONDS + NEWS_SECONDS:
            raise Cancelled()
        if now > self._until:
            reason = "no replica took the clip in time"
            raise NoReplica(address=self._link.address, reason=reason, remedy=REMEDY)

    def _stop(self) -> None:
        with suppress(Exception):  # a cluster that is gone makes nothing
            self._link.ask("cancel", self._order.session, False)


def mark(settings: Settings) -> str:
    """What tells this page's data folder from every other; made once."""
    path = settings.data_dir / MARK
    with suppress(OSError):
        return path.read_text("utf-8")
    write_bytes(path, secrets.token_hex(16).encode())
    return path.read_text("utf-8")
