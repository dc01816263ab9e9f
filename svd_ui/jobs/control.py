"""What people do with the queue: pause and resume, another order, another request for a job that waits, skip, stop all."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import NotFound, NotWaiting
from ..request import GenerationRequest
from . import Job
from .database import Row
from .glance import Glance
from .intake import Intake
from .queue import CLIPS, Where
from .rows import read_request
from .store import Store

MAX_NAME = 120


class QueueControl:
    """``owner`` None is the operator, who may do everything; others see to their own jobs.

    ``owned`` gives a row if that owner may change it, ``wake`` tells the slots to look.
    """

    def __init__(
        self,
        store: Store,
        intake: Intake,
        glance: Glance,
        owned: Callable[[str, str | None], Row],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._intake, self._glance, self._owned, self._wake = store, intake, glance, owned, wake

    @property
    def paused(self) -> bool:
        return self._store.waitlist.paused

    def pause(self, owner: str | None = None) -> None:
        """Nothing begins; what runs stops, is kept, and goes on with ``resume``. The operator's alone. Raises NotFound."""
        self._hold(True, owner)

    def resume(self, owner: str | None = None) -> None:
        self._hold(False, owner)

    def _hold(self, paused: bool, owner: str | None) -> None:
        if owner is not None:
            raise NotFound(what="queue of yours")
        self._store.waitlist.pause(paused)
        self._wake()

    def jobs(self, owner: str | None = None) -> list[Job]:
        """What runs, then what waits, in order: ``owner``'s, or everybody's. Positions count everybody's."""
        queue, running = self._glance.queue(), self._store.running(CLIPS)
        begun = {row["id"] for row in running}
        rows = [*running, *(row for row in queue if row["id"] not in begun)]
        return self._glance.jobs(row for row in rows if owner is None or row["owner"] == owner)

    def move(self, id: str, where: Where, other: str | None = None, owner: str | None = None) -> list[Job]:
        """Put a waiting job first, last, before or after another; returns the queue. Raises NotFound or BadInput."""
        self._owned(id, owner)
        self._store.waitlist.move(id, where, other, owner)
        return self.jobs(owner)

    def edit(self, id: str, request: GenerationRequest, owner: str | None = None, *, name: str | None = None) -> Job:
        """Another request for a job that waits, checked like a new one; it keeps its place. Raises BadInput or NotFound.

        ``name`` is what the picture's file is called; None where that stays.
        """
        row = self._owned(id, owner)
        request, key, steps = self._intake.checked(request, row["kind"])
        if not self._store.replace(id, request, key, steps, row["name"] if name is None else name[:MAX_NAME]):
            raise NotWaiting()
        return self._glance.jobs([self._store.row(id)])[0]

    def skip(self, id: str, owner: str | None = None) -> Job:
        """To the end of its owner's jobs; one that runs is stopped, kept, and goes on from there. Raises NotFound."""
        self._owned(id, owner)
        self._store.waitlist.skip(id)
        self._wake()
        return self._glance.jobs([self._store.row(id)])[0]

    def leave_out(self, id: str, tile: int, owner: str | None = None) -> Job:
        """A wall that waits or runs goes on without a tile, by its number from 0; without its last one it is cancelled.

        Raises NotFound for a tile that there is not, or a job that has ended.
        """
        self._owned(id, owner)
        last = False

        def without(row: Row) -> GenerationRequest:
            nonlocal last
            request, _ = read_request(row["request"], row["schema"])
            wall = request.wall
            if wall is None or not 0 <= tile < wall.tiles:
                raise NotFound(what="tile")
            gone = tuple(sorted({*wall.without, tile}))
            last = len(gone) == wall.tiles
            return request if last else request.model_copy(update={"wall": wall.model_copy(update={"without": gone})})

        if not self._store.rewrite(id, without):
            raise NotFound(what="tile")
        if last:
            self._store.cancel(id)
        return self._glance.jobs([self._store.row(id)])[0]

    def stop_all(self, owner: str | None = None) -> None:
        """Cancel what runs and waits, downloads left out."""
        self._store.waitlist.stop_all(owner)
