"""The attention kernels, which of them a device can have, and the processor that runs any of them safely."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..notes import Note

Attention = Literal["auto", "sdpa", "xformers", "flash"]
"""``auto`` is the fastest kernel for each shape, as measured."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value), each ``[N tokens heads D]`` => ``[N tokens heads D]``."""

KERNELS = ("sdpa", "xformers", "flash")
PACKAGES = {"xformers": ("xformers", "xformers"), "flash": ("flash_attn", "flash-attn")}
"""Kernel => the module it needs, and what pip calls that."""
FLASH_CAPABILITY = (8, 0)
"""flash-attn 2 is built for Ampere and newer."""

MAX_BATCH_ENTRIES = 65_535
"""CUDA's limit on a grid dimension. SDPA's fused kernels and flash-attn put N there, several xformers kernels
N x heads: above it they fail or return garbage. Temporal attention at 1024x576 with guidance has N = 9216 x 2
(92,160 with its 5 heads), and a wall of four tiles more than 65,535 without them.
(github.com/pytorch/pytorch/issues/142228, github.com/facebookresearch/xformers/issues/845)"""


def available(device: torch.device) -> tuple[list[str], dict[str, Note]]:
    """(kernels that ``device`` can run, sdpa first; why not for the others)."""
    here, absent = ["sdpa"], {}
    for kernel in KERNELS[1:]:
        why = _obstacle(kernel, device)
        if why:
            absent[kernel] = why
        else:
            here.append(kernel)
    return here, absent


def choose(setting: str, device: torch.device) -> tuple[Attention, Note]:
    """What ``SVD_UI_ATTENTION`` means on ``device``, and why. Raises BadInput for an unknown name."""
    if setting not in ("auto", *KERNELS):
        raise BadInput(f"There is no attention {setting!r}. SVD_UI_ATTENTION may be auto, {', '.join(KERNELS)}.")
    here, absent = available(device)
    if setting == "auto":
        if len(here) > 1:
            return "auto", Note.of("fastest_kernel", kernels=here)
        if device.type != "cuda":
            return "sdpa", Note.of("other_kernels_need_cuda")
        return "sdpa", Note.of("kernels_absent", absent=list(absent.values()))
    if setting in absent:
        return "sdpa", absent[setting]
    chosen: Any = setting
    return chosen, Note.of("chosen")


def suited(attention: Attention, dtype: torch.dtype) -> tuple[Attention, Note | None]:
    """``attention`` as it can be in ``dtype``, and why where that is another: flash-attn knows half precision only."""
    if attention == "flash" and dtype == torch.float32:
        return "sdpa", Note.of("kernel_needs_half", package=PACKAGES["flash"][1])
    return attention, None


def _obstacle(kernel: str, device: torch.device) -> Note | None:
    """What keeps ``kernel`` from running on ``device``; None where nothing does."""
    module, package = PACKAGES[kernel]
    if device.type != "cuda":
        return Note.of("kernel_needs_cuda", package=package, device=device.type)
    if importlib.util.find_spec(module) is None:
        return Note.of("not_installed", package=package)
    if kernel == "flash" and torch.version.cuda and torch.cuda.get_device_capability(device) < FLASH_CAPABILITY:
        return Note.of("kernel_needs_ampere", package=package)
    return None


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's fused attention."""
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def split_batch(attend: Attend, limit: int = MAX_BATCH_ENTRIES, *, times_heads: bool = True) -> Attend:
    """``attend`` called on at most ``limit`` batch entries at a time; the result is the same.

    An entry is one of N, or with ``times_heads`` one of N x heads.
    """

    def attend_in_parts(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows = max(1, limit // query.shape[2]) if times_heads else limit
        if len(query) <= rows:
            return attend(query, key, value)
        stretches = [slice(first, first + rows) for first in range(0, len(query), rows)]
        return torch.cat([attend(query[part], key[part], value[part]) for part in stretches])

    return attend_in_parts


def attend_with(kernel: str) -> Attend:
    """The kernel of that name, guarded. Raises BadInput where its package is installed but does not load."""
    if kernel == "sdpa":
        return split_batch(sdpa, times_heads=False)
    _, package = PACKAGES[kernel]
    try:
        if kernel == "xformers":
            return split_batch(importlib.import_module("xformers.ops").memory_efficient_attention)
        return split_batch(importlib.import_module("flash_attn").flash_attn_func, times_heads=False)
    except (ImportError, AttributeError, OSError) as error:
        raise BadInput(f"{package} is installed but does not load: {str(error).splitlines()[0][:120]}.") from error


@dataclass
class KernelTable:
    """An attention that picks its kernel by (tokens, channels of a head), SDPA where none is set."""

    kernels: dict[tuple[int, int], Attend] = field(default_factory=dict)
    default: Attend = field(default_factory=lambda: attend_with("sdpa"))

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.kernels.get((query.shape[1], query.shape[3]), self.default)(query, key, value)


class AttentionProcessor:
    """diffusers' attention processor for this U-Net: no masks, no norms inside, tokens in, tokens out.

    Cross-attention to a single key needs no attention at all: the softmax over one key is 1, so the
    output is the projected value, the same for every token.
    """

    def __init__(self, attend: Attend) -> None:
        self.attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """``[N tokens C]`` => ``[N tokens C]``."""
        if attention_mask is not None:
            raise ValueError("this U-Net passes no attention masks")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        value = attn.to_v(context)
        if context.shape[1] == 1:
            return self._out(attn, value).expand(-1, hidden_states.shape[1], -1)
        heads = (len(hidden_states), -1, attn.heads, value.shape[-1] // attn.heads)
        query, key = attn.to_q(hidden_states).view(heads), attn.to_k(context).view(heads)
        return self._out(attn, self.attend(query, key, value.view(heads)).flatten(2))

    @staticmethod
    def _out(attn: Any, tokens: Tensor) -> Tensor:
        projected: Tensor = attn.to_out[0](tokens)
        return projected


def install(unet: Any, attention: Attention) -> None:
    """Give every attention layer of ``unet`` the processor for ``attention``.

    With ``auto`` that is one ``KernelTable`` for all of them, which ``autotune.attention.select_kernels`` fills before a clip.
    """
    unet.set_attn_processor(AttentionProcessor(KernelTable() if attention == "auto" else attend_with(attention)))


def kernel_table(unet: Any) -> KernelTable | None:
    """The ``KernelTable`` that ``install`` gave ``unet``, or None where the kernel is fixed."""
    for processor in unet.attn_processors.values():
        attend = getattr(processor, "attend", None)
        return attend if isinstance(attend, KernelTable) else None
    return None
