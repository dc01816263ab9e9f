"""Weights packed into host memory are the same weights."""

from __future__ import annotations

import torch
from torch import nn

from svd_ui.core.offload.pinned_memory import (
    ALIGNMENT,
    BLOCK_BYTES,
    UNPINNED,
    PackedWeights,
    first_fit_decreasing,
    pack,
    pin,
    tensors_of,
)

CPU = torch.device("cpu")


class Odd(nn.Module):
    """Tensors that are awkward to pack: half precision, an integer buffer, channels last, no elements, one number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3).half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scalar = nn.Parameter(torch.tensor(0.25))
        self.register_buffer("positions", torch.arange(7))
        self.register_buffer("nothing", torch.empty(0))
        self.register_buffer("repeated", torch.arange(3.0).expand(4, 3))


def test_packed_weights_have_the_same_numbers_form_and_type() -> None:
    module = Odd()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    note = pack([PackedWeights(tensors_of(module.conv)), PackedWeights([module.scalar, *module.buffers()])], CPU)
    assert note is None
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: tensor.dtype for name, tensor in after.items()} == {name: t.dtype for name, t in before.items()}
    assert module.conv.weight.is_contiguous(memory_format=torch.channels_last)
    starts = {tensor.data_ptr() % ALIGNMENT for tensor in after.values() if tensor.numel()}
    assert len(starts) == 1


def test_packed_weights_lie_in_one_stretch_and_may_be_read_from_another() -> None:
    module = nn.Linear(4, 3)
    weights = PackedWeights(tensors_of(module))
    pack([weights], CPU)
    assert weights.bytes is not None
    assert weights.bytes.numel() == weights.nbytes
    weight = module.weight.clone()
    copy = weights.bytes.clone()
    weights.bind(copy)
    assert module.weight.untyped_storage().data_ptr() == copy.data_ptr()
    assert torch.equal(module.weight, weight)
    with torch.no_grad():
        module.weight.zero_()  # of the copy
    weights.restore()
    assert torch.equal(module.weight, weight)


def test_blocks_hold_everything_once_and_waste_little() -> None:
    sizes = [60, 10, 100, 45, 30, 55, 5, 250]
    blocks = first_fit_decreasing(sizes, block=100)
    assert sorted(index for block in blocks for index in block) == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in block) <= 100 or block == [7] for block in blocks)
    assert len(blocks) == 5  # 250, 100, 60 + 30 + 10, 55 + 45, 5: no block more than needed


def test_unused_parts_are_not_among_the_tensors() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert len(tensors_of(module)) == 7
    assert len(tensors_of(module, [module[1]])) == 2


def test_pages_are_locked_for_cuda_only() -> None:
    module = nn.Linear(2, 2)
    before = module.weight.data_ptr()
    assert pin(module, CPU) is None
    assert module.weight.data_ptr() == before


def test_where_pages_cannot_be_locked_the_weights_are_packed_all_the_same_and_it_is_said_once() -> None:
    asked: list[int] = []

    def short(nbytes: int, device: torch.device) -> torch.Tensor | None:
        asked.append(nbytes)
        return torch.empty(nbytes, dtype=torch.uint8) if len(asked) == 1 else None

    sizes = (BLOCK_BYTES // 4 + 1, BLOCK_BYTES // 8, BLOCK_BYTES // 4)  # float32, two to a block at most
    tensors = [torch.full((size,), float(index)) for index, size in enumerate(sizes)]
    note = pack([PackedWeights([tensor]) for tensor in tensors], torch.device("cuda:0"), short)
    assert note == UNPINNED
    assert len(asked) == 2  # after a refusal nothing is asked for any more
    assert [float(tensor[-1]) for tensor in tensors] == [0.0, 1.0, 2.0]
