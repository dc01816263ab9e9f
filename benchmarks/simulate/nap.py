"""What a worker of ``check`` runs: in a module of its own, by whose name its process finds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from svd_ui.engine import CancelToken, Engine
from svd_ui.events import Event
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

NAP = 0.5
"""Seconds that each step sleeps: most of a clip's time, whatever else the machine does."""


def slowed(settings: Settings, device: str | None) -> Engine:
    """The real engine, with a nap after each step."""
    from svd_ui.engine.local import LocalEngine

    class Slowed(LocalEngine):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            for event in super().generate(request, out, cancel):
                yield event
                time.sleep(NAP if event.stage == "denoising" else 0.0)

    return Slowed(settings, device)
