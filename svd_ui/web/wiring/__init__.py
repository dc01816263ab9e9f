"""Which event calls which action. Handlers are quick: ``queue=False``, and no spinner over what is being read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..context import Context
from ..training import wiring as training
from . import choosing, form, jobs
from .shared import Wiring

if TYPE_CHECKING:
    from ..page import Page

__all__ = ["wire"]


def wire(page: Page, context: Context) -> None:
    """Attach every handler, one function per part of the page."""
    wiring = Wiring(page, context)
    form.opening(wiring)
    form.pictures(wiring)
    form.settings(wiring)
    choosing.remedies(wiring)
    choosing.tiles(wiring)
    choosing.loras(wiring)
    jobs.running(wiring)
    jobs.looking_back(wiring)
    if page.train is not None:
        training.wire(training.Training(page.train, context), wiring)
