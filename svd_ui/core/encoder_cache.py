"""What encoders made of the last stills, so that the next clip of the same one starts without them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

STILLS = 8
PER_STILL = 2
"""The embedding and the latents."""


class EncoderCache:
    """The least recently used go first; tensors lie in host memory (about 150 KB each) and live with their model."""

    def __init__(self, max_entries: int = STILLS * PER_STILL) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get_or_encode(self, key: Hashable, encode: Callable[[], Tensor]) -> Tensor:
        """The tensor of ``key`` in host memory, a copy of its own; ``encode`` is called where it is not here."""
        if key not in self._entries:
            self._entries[key] = encode().cpu()
            if len(self) > self._max_entries:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return self._entries[key].clone()

    def clear(self) -> None:
        self._entries.clear()


def digest(tensor: Tensor) -> str:
    """The content of a tensor in host memory: equal numbers of one shape and dtype, equal digest."""
    array = tensor.contiguous().numpy()
    return hashlib.blake2b(f"{array.dtype} {array.shape}".encode() + array.tobytes(), digest_size=16).hexdigest()
