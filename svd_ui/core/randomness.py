"""Noise that is the same on every device: drawn on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator]
"""One CPU generator for the batch, or one per clip."""


def seeded(seed: int) -> torch.Generator:
    """The generator of a request's ``seed``."""
    return torch.Generator("cpu").manual_seed(seed)


def gaussian(shape: Sequence[int], generators: Generators) -> Tensor:
    """Unit noise of ``shape`` (batch first). With a list, clip i is what generator i alone would give."""
    if isinstance(generators, torch.Generator):
        return torch.randn(*shape, generator=generators)
    if len(generators) != shape[0]:
        raise ValueError(f"{len(generators)} generators for a batch of {shape[0]}")
    return torch.cat([torch.randn(1, *shape[1:], generator=generator) for generator in generators])
