"""How a Space starts: with the weights that its build could not bring."""

from __future__ import annotations

import os

from ..engine import never
from ..errors import SvdUiError
from ..hub import Hub
from ..hub.selection import Checkpoints
from ..settings import Settings


def fetch(settings: Settings, hub: Hub) -> None:
    """Download the checkpoint that the settings name where it is not here. Without it the page opens with what is."""
    if settings.checkpoint == "auto":
        return
    try:
        row = Checkpoints(settings, hub).find(settings.checkpoint)
        if hub.present(row) is not None:
            return
        tenth = 0
        for event in hub.fetch(row, never()):
            done = int(10 * event.done_bytes / event.total_bytes) if event.total_bytes else 0
            if done > tenth:
                tenth = done
                print(f"Downloading {row.title}: {10 * tenth} %", flush=True)
    except SvdUiError as error:
        print(f"{error.message} Until then the page opens with the built-in model.", flush=True)
        os.environ["SVD_UI_CHECKPOINT"] = "auto"
