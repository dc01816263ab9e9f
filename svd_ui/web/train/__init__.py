"""The Train tab: choose clips, see what is in them, start a run and watch it. A view over ``svd_ui.finetune``.

It writes into the data folder and starts processes, so it exists only where no stranger can reach it.
"""

from __future__ import annotations

from ...settings import Settings
from ..visitor import is_public

__all__ = ["allowed"]


def allowed(settings: Settings) -> bool:
    """Whether the tab, its handlers and its files are there: on one's own machine, or behind a password."""
    return not is_public(settings) or settings.credentials is not None
