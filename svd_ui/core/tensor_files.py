"""A module's weights from its files: mapped in memory where the number format is the one wanted, else read one by one.

What is mapped costs no memory of its own: pages belong to the file, and the system drops and reads them as it needs to.
Writing to such a tensor (a LoRA, training) changes private pages, never the file. What is converted passes through one
buffer as large as the largest tensor, so nothing freed lies about between the tensors that stay.
"""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..stability_keys import TensorSource
from ..weight_files import Weights, damaged

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

_LAYER = re.compile(r"\.(\w*blocks|resnets|attentions|layers)\.\d+\.")


class Weightless(TorchFunctionMode):
    """Within the block layers are made without memory; buffers, which layers compute, are real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)


def fill(module: nn.Module, weights: Weights, dtype: torch.dtype) -> None:
    """Give ``module`` its weights in ``dtype``. Raises WeightsDamaged before any is read where they do not fit."""
    wanted = {name: tensor for name, tensor in module.state_dict().items() if _is_weight(tensor)}
    _check(wanted, weights)
    with TensorReader(weights, dtype) as reader:
        state = {name: reader.read(weights.tensors.source(name), tensor.shape) for name, tensor in wanted.items()}
    module.load_state_dict(state, strict=False, assign=True)


def _is_weight(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _check(wanted: dict[str, Tensor], weights: Weights) -> None:
    """Everything that is wanted is there, in its shape and a format that can be read, and no layer beyond it."""
    header, places = weights.tensors.header, weights.places
    sources = {name: source for name in wanted if (source := weights.tensors.source(name)).name is not None}
    missing = [str(source.name) for source in sources.values() if source.name not in places]
    if missing:
        raise damaged(weights.files[0], "lacks_tensors", count=len(missing), name=missing[0])
    for name, source in sources.items():
        own, wants, file = source.shape(header), tuple(wanted[name].shape), places[str(source.name)]
        if own is None or not _fits(own, wants):
            raise damaged(file, "other_shape", name=name, given=own, wanted=wants)
        if (stored := header[str(source.name)]["dtype"]) not in _DTYPES:
            raise damaged(file, "quantised", formats=stored)
    children = tuple({f"{name.partition('.')[0]}." for name in wanted})
    layers = [name for name in weights.names() if name.startswith(children) and _LAYER.search(name)]
    if beyond := [name for name in layers if name not in wanted]:
        raise damaged(weights.files[0], "more_tensors", count=len(beyond), name=beyond[0])


def _fits(own: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Stability's attention in the autoencoder is convolutions of one pixel, diffusers' the same as matrices."""
    return own[: len(wanted)] == wanted and math.prod(own) == math.prod(wanted)


class TensorReader:
    """Reads the tensors of ``weights`` in ``dtype`` while its block lasts; what was read outlives it."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self._header, self._places, self._dtype = weights.tensors.header, weights.places, dtype
        self._open = ExitStack()
        self._mapped: dict[Path, Any] = {}
        self._files: dict[Path, tuple[FileIO, int]] = {}
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def read(self, source: TensorSource, shape: torch.Size) -> Tensor:
        """``source`` as a tensor of ``shape``; an identity where it is in no file."""
        if source.name is None:
            return _identity(shape, self._dtype)
        whole = self._whole(source.name)
        if source.third is not None:
            whole = whole.chunk(3)[source.third]
        if source.transposed:
            whole = whole.t()
        # A copy only where it was converted or lies across: a mapped tensor stays a view of the file.
        return whole.to(self._dtype, copy=self._is_scratch(whole)).reshape(shape).contiguous()

    def _whole(self, name: str) -> Tensor:
        entry, path = self._header[name], self._places[name]
        dtype, (begin, end) = _DTYPES[entry["dtype"]], entry["data_offsets"]
        file, data = self._opened(path)
        if dtype == self._dtype and (data + begin) % dtype.itemsize == 0:
            if path not in self._mapped:
                self._mapped[path] = self._open.enter_context(safe_open(path, "pt", device="cpu"))
            mapped: Tensor = self._mapped[path].get_tensor(name)
            return mapped
        if len(self._buffer) < end - begin:
            self._buffer = torch.empty(end - begin, dtype=torch.uint8)
        scratch = self._buffer[: end - begin]
        file.seek(data + begin)
        _read_into(file, scratch.numpy().data)
        return scratch.view(dtype).reshape(entry["shape"])

    def _opened(self, path: Path) -> tuple[FileIO, int]:
        """The file, and where its tensors begin."""
        if path not in self._files:
            file = self._open.enter_context(path.open("rb", buffering=0))
            self._files[path] = file, 8 + int.from_bytes(file.read(8), "little")
        return self._files[path]

    def _is_scratch(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() == self._buffer.untyped_storage().data_ptr()


def _read_into(file: FileIO, buffer: memoryview) -> None:
    """Systems read two gigabytes at a time at most."""
    while buffer:
        count = file.readinto(buffer)
        if not count:
            raise OSError("the file ended while it was read")
        buffer = buffer[count:]


def _identity(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """What a convolution of one pixel is that changes nothing: its weight, or its bias."""
    if len(shape) == 1:
        return torch.zeros(shape, dtype=dtype)
    return torch.eye(shape[0], dtype=dtype).reshape(shape)
