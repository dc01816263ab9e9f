"""Splits a run into loading, the rest before the steps, the steps, and what follows them."""

from __future__ import annotations

import statistics

from ..events import Denoising, Downloading, Event, Loading
from .timing import AFTER, Timing

RECENT = 12
"""Steps that the pace is taken from: whole rounds of any interval at which features are renewed, but 5."""


class Stopwatch:
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
