"""Measurements that survive their process: each is written when it is done, and a rerun skips it."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from svd_ui.errors import OutOfMemory

OUT_OF_MEMORY = "out of memory"


@dataclass
class Kept:
    """``measured`` by name, in a JSON file that ``save`` writes. ``seconds`` is the guard: past it nothing new begins.

    A failure is a figure too, ``{"error": ...}``; running out of memory stays one, any other is tried again.
    """

    save: Callable[[dict[str, Any]], None]
    seconds: float
    measured: dict[str, Any] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the guard."""
        return self.seconds - (time.monotonic() - self._started)

    def once(self, name: str, measure: Callable[[], Any], needs: float = 0.0) -> Any:
        """The figure of ``name``: the kept one, or ``measure()``; None where its ``needs`` seconds do not fit."""
        known = self.measured.get(name)
        if known is not None and (not failed(known) or known["error"] == OUT_OF_MEMORY):
            return known
        if self.left < needs or self.left < 0:
            print(f"  {name}: left for another run, the guard is near", flush=True)
            return None
        print(f"  {name} ...", end="", flush=True)
        began = time.monotonic()
        figure = _attempt(measure)
        print(f" {time.monotonic() - began:.1f} s{_why(figure)}", flush=True)
        self.measured[name] = figure
        self.save(self.measured)
        return figure

    def good(self, name: str) -> Any:
        """The kept figure, or None where there is none or it failed."""
        known = self.measured.get(name)
        return None if known is None or failed(known) else known


def failed(figure: Any) -> bool:
    return isinstance(figure, dict) and "error" in figure


def why(figure: Any) -> str:
    """A note for a row without a figure."""
    return str(figure["error"]) if failed(figure) else "not measured yet: run it again"


def _attempt(measure: Callable[[], Any]) -> Any:
    try:
        return measure()
    except (torch.OutOfMemoryError, OutOfMemory):
        return {"error": OUT_OF_MEMORY}
    except Exception as error:  # the other measurements are worth having all the same
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def _why(figure: Any) -> str:
    return f" ({figure['error']})" if failed(figure) else ""


def read(path: Path, device: str, config: str) -> dict[str, Any]:
    """The measurements kept in ``path`` if they are of the same device and configuration, else none."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    same = (data.get("device"), data.get("config")) == (device, config)
    return dict(data.get("measured", {})) if same else {}
