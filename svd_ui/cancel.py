"""How every stage is asked to stop."""

from __future__ import annotations

import threading
from typing import Protocol


class CancelToken(Protocol):
    """Anything with ``is_set``: ``threading.Event``, a process-shared event, a database flag."""

    def is_set(self) -> bool: ...


def never() -> CancelToken:
    """A token nobody sets."""
    return threading.Event()
