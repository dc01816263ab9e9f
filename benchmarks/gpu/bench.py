"""What the subcommands share: weights made once, both sides around them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..accelerator import GIB, Accelerator
from ..clips import Clip
from ..ours import Ours, still
from ..stock import Config, Stock, Weights
from .kept import Kept

CPU = torch.device("cpu")
ROOM = 8 * GIB
"""A smaller card cannot hold all weights: they are made on the host, which takes a minute."""
FEW = 2
"""Steps of a clip that only warms up or is compared."""


@dataclass
class Bench:
    """One configuration on one device. ``number`` gives every clip a still of its own, ``warm`` sides made one."""

    config: Config
    accelerator: Accelerator
    kept: Kept
    number: int = 0
    warm: list[Any] = field(default_factory=list)

    @cached_property
    def weights(self) -> Weights:
        total = self.accelerator.total
        device = CPU if total is not None and total < ROOM else self.accelerator.device
        return Weights(self.config, device, self.accelerator.dtype)

    @cached_property
    def stock(self) -> Stock:
        return Stock(self.weights, self.accelerator)

    def ours(self, **settings: Any) -> Ours:
        return Ours(self.weights, self.accelerator, **settings)

    def stock_clip(self, steps: int) -> dict[str, Any]:
        """A warm one, like ``our_clip``."""
        with tempfile.TemporaryDirectory() as folder:
            self._warm(self.stock, lambda: self.stock.clip(self.picture(), FEW, Path(folder)))
            return _made(self.stock.clip(self.picture(), steps, Path(folder)), steps)

    def our_clip(self, ours: Ours, steps: int, *, cold: bool = False, **values: Any) -> dict[str, Any]:
        """What loads, compiles or is chosen at first use came before it in this process, unless it may be ``cold``."""
        self._warm(ours, None if cold else lambda: ours.clip(self.picture(), FEW, **values))
        return _made(ours.clip(self.picture(), steps, **values), steps)

    def _warm(self, side: Any, clip: Callable[[], Any] | None) -> None:
        if side not in self.warm:
            if clip is not None:
                clip()
            self.warm.append(side)

    def picture(self) -> Any:
        self.number += 1
        return still(self.config, self.number)


def _made(clip: Clip, steps: int) -> dict[str, Any]:
    return clip.to_dict() | {"made": steps}


def clip_of(figure: dict[str, Any]) -> tuple[Clip, int]:
    """A kept figure => the clip and how many steps it was made in."""
    values = dict(figure)
    made = values.pop("made")
    return Clip(**values), made
