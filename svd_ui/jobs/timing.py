"""How long things take: measured while a job runs (``RunTimer``), learnt by kind of clip, and foretold from that.

Seconds are those of one step, and those around the steps.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..events import Denoising, Downloading, Event, Loading, Waited
from .database import Database, Row
from .timing_key import Costs, TimingKey, by_size

NEW_WEIGHT = 0.4
AFTER = frozenset({"decoding", "post_processing", "writing"})

RECENT = 12
"""Steps that the pace is taken from: whole rounds of any interval at which features are renewed, but 5."""


# A loading time of 0 means that nothing had to be loaded, which says nothing about loading.
LEARN = f"""
    INSERT INTO timings (key, step_seconds, before_seconds, after_seconds, loading_seconds, samples) VALUES (?, ?, ?, ?, ?, 1)
    ON CONFLICT (key) DO UPDATE SET samples = timings.samples + 1,
        step_seconds = timings.step_seconds + {NEW_WEIGHT} * (excluded.step_seconds - timings.step_seconds),
        before_seconds = timings.before_seconds + {NEW_WEIGHT} * (excluded.before_seconds - timings.before_seconds),
        after_seconds = timings.after_seconds + {NEW_WEIGHT} * (excluded.after_seconds - timings.after_seconds),
        loading_seconds = CASE
            WHEN excluded.loading_seconds = 0 THEN timings.loading_seconds
            WHEN timings.loading_seconds = 0 THEN excluded.loading_seconds
            ELSE timings.loading_seconds + {NEW_WEIGHT} * (excluded.loading_seconds - timings.loading_seconds) END
"""
SECONDS = ("step_seconds", "before_seconds", "after_seconds", "loading_seconds")


@dataclass(frozen=True)
class Timing:
    """Seconds: of one step; before the steps, loading left out; after them; of loading the checkpoint."""

    step: float
    before: float
    after: float
    loading: float = 0.0


class Timings:
    """``costs`` tells what kinds of clips cost, to scale from one that was measured to another."""

    def __init__(self, database: Database, costs: Costs = by_size) -> None:
        self._database, self._costs = database, costs

    def learn(self, key: TimingKey, seen: Timing) -> None:
        """Blend a finished job in; recent ones count more."""
        with self._database.write(alone=False) as sql:
            sql.execute(LEARN, (str(key), seen.step, seen.before, seen.after, seen.loading))

    def known(self, warm: str | None = None) -> Known:
        """All that was learnt; ``warm`` is the checkpoint in memory now."""
        rows = self._database.read(f"SELECT key, {', '.join(SECONDS)} FROM timings")
        return Known({row["key"]: Timing(*(row[name] for name in SECONDS)) for row in rows}, warm, self._costs)


class Known:
    """What was learnt at one moment."""

    def __init__(self, timings: dict[str, Timing], warm: str | None = None, costs: Costs = by_size) -> None:
        self._timings, self._warm, self._costs = timings, warm, costs
        self._found: dict[str, Timing | None] = {}

    def whole(self, key: str, steps: int, warm: str | None = None) -> float | None:
        """Seconds of a job from its start; ``warm`` overrides which checkpoint is in memory then."""
        timing = self.find(key)
        if timing is None:
            return None
        return self._loading(key, timing, warm) + timing.before + steps * timing.step + timing.after

    def _loading(self, key: str, timing: Timing, warm: str | None = None) -> float:
        return 0.0 if checkpoint_of(key) == (warm or self._warm) else timing.loading

    def find(self, text: str) -> Timing | None:
        """Measured for this kind of clip, else scaled from the nearest of the same checkpoint, else None."""
        if text not in self._found:
            self._found[text] = self._timings.get(text) or self._nearest(text)
        return self._found[text]

    @cached_property
    def _parsed(self) -> list[tuple[TimingKey | None, Timing]]:
        return [(TimingKey.parse(text), timing) for text, timing in self._timings.items()]

    def _nearest(self, text: str) -> Timing | None:
        wanted = TimingKey.parse(text)
        if wanted is None:
            return None
        near = [
            (abs(math.log(ratio)), _scale(self._costs(wanted).around, self._costs(other).around), ratio, timing)
            for other, timing in self._parsed
            if other is not None
            and (other.checkpoint, other.kind) == (wanted.checkpoint, wanted.kind)
            and (ratio := _ratio(self._costs(wanted).step, self._costs(other).step)) is not None
        ]
        if not near:
            return None
        _, around, ratio, timing = min(near, key=lambda entry: entry[0])
        return Timing(timing.step * ratio, timing.before, timing.after * around, timing.loading)

    def remaining(self, row: Row) -> float | None:
        """Seconds until the running job of ``row`` ends; None when nothing is known."""
        key, state, now = str(row["timing_key"]), str(row["state"]), time.time()
        timing, here = self.find(key), _stage_left(row, now)
        in_phase = now - float(row["phase_started"] or now)
        if state == "denoising":
            return None if here is None else here + (timing.after if timing else 0.0)
        if timing is None:
            return here if row["kind"] == "download" else _by_progress(row, in_phase) if state in AFTER else None
        if state in AFTER:
            return max(0.0, timing.after - in_phase)
        rest: float = row["steps"] * timing.step + timing.after
        if state == "downloading":
            return (here or 0.0) + timing.loading + timing.before + rest
        loading = 0.0 if state == "conditioning" else self._loading(key, timing)
        return max(0.0, loading + timing.before - in_phase) + rest


def _scale(wanted: float, known: float) -> float:
    """Work over work; 1 where the known one is none that is counted."""
    return wanted / known if known else 1.0


def _ratio(wanted: float, other: float) -> float | None:
    return wanted / other if wanted > 0 < other else None


def checkpoint_of(key: str) -> str:
    parsed = TimingKey.parse(key)
    return parsed.checkpoint if parsed else ""


def _by_progress(row: Row, in_phase: float) -> float | None:
    done, total = row["step"], row["total"]
    return float(in_phase / done * (total - done)) if done and total else None


def _stage_left(row: Row, now: float) -> float | None:
    """Seconds left in the current stage, from its own pace."""
    if row["step_seconds"] is None or row["total"] is None or row["step"] is None:
        return None
    left = (row["total"] - row["step"]) * row["step_seconds"]
    # Between two reports time goes on, but never further than the step that is being made.
    since = min(now - (row["updated"] or now), float(row["step_seconds"]))
    return max(0.0, float(left) - max(0.0, since))


def waiting_seconds(known: Known, running: Sequence[Row], queue: Sequence[Row], slots: int) -> dict[str, float | None]:
    """Seconds until each waiting job ends, by id: the queue is played forward over the slots."""
    lanes: list[tuple[float | None, str | None]] = [
        (known.remaining(row), checkpoint_of(row["timing_key"])) for row in running
    ]
    lanes += [(0.0, None)] * max(0, slots - len(lanes))
    ends: dict[str, float | None] = {}
    for row in queue:
        lanes.sort(key=lambda lane: float("inf") if lane[0] is None else lane[0])
        free, warm = lanes[0]
        own = known.whole(row["timing_key"], row["steps"], warm)
        # Where one job's end is unknown, so is the turn of everybody behind it.
        end = None if free is None or own is None or any(lane[0] is None for lane in lanes) else free + own
        lanes[0] = (end, checkpoint_of(row["timing_key"]))
        ends[row["id"]] = end
    return ends


class RunTimer:
    """Fed with every event of a run and the time it came (seconds, any zero).

    ``even`` says that all steps cost the same, as they do unless some skip layers or guidance.
    """

    def __init__(self, now: float, even: bool = True) -> None:
        self._even = even
        self.loading = 0.0
        self._start = self._mark = now
        self._phase = "before"
        self._loads_since: float | None = now  # a worker that has to be started first is part of the loading
        self._elsewhere = self._before = 0.0
        self._ended_steps = now
        self._steps: list[float] = []

    def see(self, event: Event, now: float) -> bool:
        """Take in an event; True when something ended that the rest is not measured from any more."""
        # A step is reported at its end.
        seconds = event.seconds if isinstance(event, Denoising) else None
        began = now - (seconds or 0.0)
        changed = self._see_loading(event, began)
        if isinstance(event, Denoising):
            if self._phase == "before":
                self._phase, changed = "steps", True
                self._before = max(0.0, began - self._start - self.loading - self._elsewhere)
                self._steps += [seconds] if seconds is not None else []
            else:
                self._steps.append(seconds if seconds is not None else now - self._mark)
        elif event.stage in AFTER and self._phase == "steps":
            self._phase, self._ended_steps, changed = "after", now, True
        self._mark = now
        return changed

    def _see_loading(self, event: Event, began: float) -> bool:
        if isinstance(event, Waited):
            self._elsewhere += event.seconds
            self._loads_since = None if self._loads_since is None else self._loads_since + event.seconds
            return True
        if isinstance(event, Downloading):
            self._elsewhere += began - self._mark
            self._loads_since = None
            return True
        if isinstance(event, Loading):
            self._loads_since = self._loads_since if self._loads_since is not None else began
            return False
        since, self._loads_since = self._loads_since, None
        if since is None:
            return False
        self.loading += max(0.0, began - since)
        return True

    @property
    def step_seconds(self) -> float | None:
        """Of one step, as the last ones went."""
        return self._typical(self._steps[-RECENT:]) if self._steps else None

    def timing(self, now: float, steps: int | None = None) -> Timing | None:
        """What the whole run took; None when it had no measured steps.

        ``steps`` shares their time out over that many, where several clips took them together.
        """
        if not self._steps:
            return None
        after = now - self._ended_steps if self._phase == "after" else 0.0
        step = sum(self._steps) / steps if steps else self._typical(self._steps)
        return Timing(step, self._before, after, self.loading)

    def _typical(self, steps: list[float]) -> float:
        """A step that stood out tells nothing where all should be alike, and much where they are not."""
        return statistics.median(steps) if self._even else statistics.mean(steps)

    def still(self, now: float) -> Timing:
        """The same for a run that only makes a still."""
        return Timing(0.0, now - self._start - self.loading - self._elsewhere, 0.0, self.loading)
