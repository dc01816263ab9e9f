"""How the app ends when the system asks: as by Ctrl+C, whether by systemd, Docker or a terminal that was closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise KeyboardInterrupt, once: what is being closed is then closed in peace.

    A signal that is ignored, as ``nohup`` has it, stays so. Outside of the main thread nothing changes.
    """
    asked = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
