"""The queue and the machines as events in time. The order is that of ``svd_ui.jobs.queue``: everybody's first job comes before
anybody's second, what an owner has running counts, and who was served longest ago comes first.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .visitors import Arrival


@dataclass(frozen=True)
class Fleet:
    """``least`` to ``most`` replicas. More are started while more than ``target`` clips, waiting or made, come to each; one is
    stopped that had nothing to do for ``idle_seconds``. ``start_seconds`` pass from the order to the first clip,
    ``load_seconds`` with each change of checkpoint. ``hours_between_failures`` is per replica; the clip it had continues
    from its last step. ``warm_first``: a clip goes to an idle replica that has its checkpoint; of several to the one that
    worked last.
    """

    least: int = 1
    most: int = 1
    target: float = 2.0
    start_seconds: float = 120.0
    idle_seconds: float = 300.0
    load_seconds: float = 20.0
    hours_between_failures: float = math.inf
    warm_first: bool = True
    look_seconds: float = 10.0


@dataclass(frozen=True)
class Limits:
    """What is refused: more than so many unfinished clips of one visitor, or in the whole queue."""

    of_visitor: float = math.inf
    in_queue: float = math.inf


@dataclass(eq=False)
class Job:
    number: int
    asked: Arrival
    left: float
    begun: float | None = None
    ended: float = math.nan


@dataclass(eq=False)
class Replica:
    """``until`` is infinite while it is idle. ``life`` changes with whatever makes an event about it void."""

    born: float
    checkpoint: str = ""
    job: Job | None = None
    since: float = 0.0
    works_from: float = 0.0
    life: int = 0


@dataclass(frozen=True)
class Outcome:
    """``waits`` are seconds from asking to the beginning, ``totals`` to the end, clip by clip."""

    waits: np.ndarray
    totals: np.ndarray
    refused: int
    replica_hours: float
    busy: float
    loading: float
    most_replicas: int
    failures: int

    def wait(self, percent: float) -> float:
        return float(np.percentile(self.waits, percent)) if len(self.waits) else 0.0

    def cost(self, price_an_hour: float) -> float:
        """Of 1,000 clips, at the price of a replica for an hour."""
        return self.replica_hours * price_an_hour * 1000 / max(1, len(self.waits))


@dataclass
class Simulation:
    """One run; ``seed`` decides when replicas fail. Replicas are paid until the last clip is made, or ``until`` seconds."""

    asked: Sequence[Arrival]
    fleet: Fleet
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    until: float = 0.0

    def run(self) -> Outcome:
        self._rng = np.random.default_rng(self.seed)
        self._now, self._count = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: dict[int, list[tuple[int, Job]]] = {}
        self._heads: list[tuple[int, float, int, int]] = []
        self._served: dict[int, float] = {}
        self._running: Counter[int] = Counter()
        self._unfinished: Counter[int] = Counter()
        self._in_queue = self._refused = self._failures = 0
        self._busy = self._loading = self._spent = 0.0
        self._replicas: list[Replica] = []
        self._idle: list[Replica] = []
        self._done: list[Job] = []
        self._most = 0
        for _ in range(self.fleet.least):
            self._start(0.0)
        self._to_come = iter(enumerate(self.asked))
        self._next_arrival()
        if self.fleet.most > self.fleet.least:
            self._at(self.fleet.look_seconds, self._look)
        while len(self._done) + self._refused < len(self.asked):
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        spent = self._spent + sum(max(self._now, self.until) - one.born for one in self._replicas)
        return Outcome(
            waits=np.array([job.begun - job.asked.at for job in self._done if job.begun is not None]),
            totals=np.array([job.ended - job.asked.at for job in self._done]),
            refused=self._refused,
            replica_hours=spent / 3600,
            busy=self._busy / spent if spent else 0.0,
            loading=self._loading / spent if spent else 0.0,
            most_replicas=self._most,
            failures=self._failures,
        )

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, happens))

    # Clips

    def _next_arrival(self) -> None:
        following = next(self._to_come, None)
        if following is not None:
            number, asked = following
            self._at(asked.at, lambda: self._arrive(number, asked))

    def _arrive(self, number: int, asked: Arrival) -> None:
        self._next_arrival()
        if self._unfinished[asked.owner] >= self.limits.of_visitor or self._in_queue >= self.limits.in_queue:
            self._refused += 1
            return
        self._unfinished[asked.owner] += 1
        self._wait(Job(number, asked, asked.seconds))
        self._assign()

    def _wait(self, job: Job) -> None:
        insort(self._waiting.setdefault(job.asked.owner, []), (job.number, job))
        self._in_queue += 1
        self._show(job.asked.owner)

    def _show(self, owner: int) -> None:
        """The owner's first job at its round; older entries are void, and are passed over when they come up."""
        if self._waiting.get(owner):
            turn, served = self._running[owner] + 1, self._served.get(owner, 0.0)
            heapq.heappush(self._heads, (turn, served, self._waiting[owner][0][0], owner))

    def _take(self) -> Job | None:
        """The next in fair order."""
        while self._heads:
            turn, served, number, owner = heapq.heappop(self._heads)
            queue, now = self._waiting.get(owner), (self._running[owner] + 1, self._served.get(owner, 0.0))
            if queue and queue[0][0] == number and (turn, served) == now:
                self._in_queue -= 1
                self._running[owner] += 1
                self._served[owner] = self._now
                job = queue.pop(0)[1]
                self._show(owner)
                return job
        return None

    def _assign(self) -> None:
        while self._idle:
            job = self._take()
            if job is None:
                return
            warm = [one for one in self._idle if one.checkpoint == job.asked.kind.checkpoint]
            # Of those that have it the one that worked last, so that the others may go; else what was not used for longest.
            replica = warm[-1] if warm and self.fleet.warm_first else self._idle[0]
            self._idle.remove(replica)
            self._work(replica, job)

    def _work(self, replica: Replica, job: Job) -> None:
        kind = job.asked.kind
        load = 0.0 if replica.checkpoint == kind.checkpoint else self.fleet.load_seconds
        job.begun = self._now if job.begun is None else job.begun
        replica.job, replica.checkpoint, replica.since = job, kind.checkpoint, self._now
        replica.works_from = self._now + load
        self._loading += load
        self._at(self._now + load + job.left, self._about(replica, self._finish))

    def _finish(self, replica: Replica) -> None:
        job = self._free(replica)
        job.ended = self._now
        self._unfinished[job.asked.owner] -= 1
        self._done.append(job)
        self._rest(replica)
        self._assign()

    def _free(self, replica: Replica) -> Job:
        job = replica.job
        assert job is not None, "it had one"
        self._busy += self._now - replica.since
        self._running[job.asked.owner] -= 1
        self._show(job.asked.owner)
        replica.job = None
        return job

    # Replicas

    def _about(self, replica: Replica, what: Callable[[Replica], None]) -> Callable[[], None]:
        """``what`` happens to it, unless something else did before."""
        life = replica.life
        return lambda: what(replica) if replica.life == life else None

    def _start(self, delay: float) -> None:
        replica = Replica(born=self._now)
        self._replicas.append(replica)
        self._most = max(self._most, len(self._replicas))
        self._at(self._now + delay, self._about(replica, self._up))

    def _up(self, replica: Replica) -> None:
        self._rest(replica)
        if math.isfinite(self.fleet.hours_between_failures):
            lives = float(self._rng.exponential(self.fleet.hours_between_failures * 3600))
            self._at(self._now + lives, self._about(replica, self._fail))
        self._assign()

    def _rest(self, replica: Replica) -> None:
        replica.since = self._now
        self._idle.append(replica)

    def _fail(self, replica: Replica) -> None:
        """It is started anew; its clip waits again in its place, with the steps that are kept."""
        self._failures += 1
        replica.life += 1
        if replica.job is not None:
            job = self._free(replica)
            step = job.asked.seconds / job.asked.kind.steps
            job.left -= math.floor(max(0.0, self._now - replica.works_from) / step) * step
            self._wait(job)
        elif replica in self._idle:
            self._idle.remove(replica)
        replica.checkpoint = ""
        self._at(self._now + self.fleet.start_seconds, self._about(replica, self._up))
        self._assign()

    def _look(self) -> None:
        """As many replicas as the clips want, within bounds."""
        fleet, made = self.fleet, sum(1 for one in self._replicas if one.job is not None)
        wanted = min(fleet.most, max(fleet.least, math.ceil((self._in_queue + made) / fleet.target)))
        for _ in range(wanted - len(self._replicas)):
            self._start(fleet.start_seconds)
        spare = [one for one in self._idle if self._now - one.since >= fleet.idle_seconds]
        for replica in spare[: max(0, len(self._replicas) - wanted)]:
            self._idle.remove(replica)
            self._replicas.remove(replica)
            replica.life += 1
            self._spent += self._now - replica.born
        self._at(self._now + fleet.look_seconds, self._look)
