"""What encoders made of the last stills, so that the next clip of the same one starts without them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

STILLS = 8
PER_STILL = 2
"""The embedding and the latents."""


class Kept:
    """The least recently used go first; tensors lie in host memory (about 150 KB each) and live with their model."""

    def __init__(self, at_most: int = STILLS * PER_STILL) -> None:
        self._at_most = at_most
        self._values: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def of(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of ``key`` in host memory, a copy of its own; ``make`` is called where it is not kept."""
        if key not in self._values:
            self._values[key] = make().cpu()
            if len(self) > self._at_most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key].clone()

    def clear(self) -> None:
        self._values.clear()


def digest(tensor: Tensor) -> str:
    """The content of a tensor in host memory: equal numbers of one shape and dtype, equal digest."""
    array = tensor.contiguous().numpy()
    return hashlib.blake2b(f"{array.dtype} {array.shape}".encode() + array.tobytes(), digest_size=16).hexdigest()
