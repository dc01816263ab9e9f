"""What a worker and its parent say to each other, as pickles.

In: ``Start`` once, then ``Work`` and ``Cancel``. Out: ``Described`` whenever the device changes, ``Said`` for each
event of a job, ``Done`` at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..settings import Settings
from . import Device, Engine

EngineFactory = Callable[[Settings, str | None], Engine]
"""Builds the engine inside the worker; must be importable there by name."""


@dataclass(frozen=True)
class Start:
    factory: EngineFactory
    settings: Settings
    device: str | None


@dataclass(frozen=True)
class Work:
    """One call of the engine. ``streams``: it takes a cancel token last and yields events.

    ``waiting`` is how many clips are queued behind it.
    """

    number: int
    method: str
    args: tuple[Any, ...]
    streams: bool
    waiting: int = 0


@dataclass(frozen=True)
class Cancel:
    number: int


@dataclass(frozen=True)
class Described:
    """``trouble`` says why there is no device to describe, such as a name in ``SVD_UI_DEVICES`` that is not here."""

    device: Device | None
    trouble: str = ""


@dataclass(frozen=True)
class Said:
    """An event of job ``number``."""

    number: int
    event: Any


@dataclass(frozen=True)
class Done:
    """Job ``number`` ended; ``error`` is an ``SvdUiError`` or None, ``answer`` what a call that yields nothing returned."""

    number: int
    error: Exception | None = None
    answer: Any = None
