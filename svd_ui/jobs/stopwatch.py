"""Splits a run into loading, the rest before the steps, the steps, and what follows them."""

from __future__ import annotations

import statistics

from ..events import Denoising, Downloading, Event, Loading
from .timing import AFTER, Timing

RECENT = 9


class Stopwatch:
    """Fed with every event of a run and the time it came (seconds, any zero)."""

    def __init__(self, now: float) -> None:
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
        return statistics.median(self._steps[-RECENT:]) if self._steps else None

    def timing(self, now: float) -> Timing | None:
        """What the whole run took; None when it had no measured steps."""
        if not self._steps:
            return None
        after = now - self._ended_steps if self._phase == "after" else 0.0
        return Timing(statistics.median(self._steps), self._before, after, self.loading)

    def still(self, now: float) -> Timing:
        """The same for a run that only makes a still."""
        return Timing(0.0, now - self._start - self.loading - self._elsewhere, 0.0, self.loading)
