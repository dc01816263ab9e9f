"""Work done in order beside the caller's own, such as encoding frames while the next ones are decoded."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Background:
    """Jobs run one after the other in one thread; ``do`` waits while ``waiting`` of them have not begun.

        with Background() as background:
            background.do(job)      # any number of times

    A job that fails is the last one: its error is raised by the next ``do``, or at the end of the block. When the
    block fails, jobs that have not begun never do. After the block no job runs.
    """

    def __init__(self, waiting: int = 2) -> None:
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="svd-ui-encoder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def do(self, job: Callable[[], object]) -> None:
        """Run ``job`` when those before it are done. Raises the error of one that failed."""
        self._raise()
        self._jobs.put(job)
        self._raise()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._dropped.set()
        self._jobs.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is not None or self._dropped.is_set():
                continue  # the caller may be waiting for room
            try:
                job()
            except BaseException as error:
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
