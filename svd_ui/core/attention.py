"""The choice between SDPA and xformers, and the attention processor that runs either safely."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import BadInput

Attention = Literal["sdpa", "xformers"]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value), each ``[N tokens heads D]`` => ``[N tokens heads D]``."""

MAX_BATCH_ENTRIES = 65_535
"""CUDA's limit on a grid dimension. Several xformers kernels put N x heads there: above it they fail or return
garbage, and temporal attention at 1024x576 with guidance has 9216 x 2 x heads of them."""


def choose(setting: str, device: torch.device) -> tuple[Attention, str]:
    """What ``SVD_UI_ATTENTION`` means on ``device``, and why. Raises BadInput for an unknown name."""
    if setting == "auto":
        return "sdpa", "attention sdpa: the default until xformers is measured to be faster"
    if setting == "sdpa":
        return "sdpa", "attention sdpa: chosen"
    if setting != "xformers":
        raise BadInput(f"There is no attention {setting!r}. SVD_UI_ATTENTION may be auto, sdpa or xformers.")
    if device.type != "cuda":
        return "sdpa", f"attention sdpa: xformers needs a CUDA device, this is {device.type}"
    if importlib.util.find_spec("xformers") is None:
        return "sdpa", "attention sdpa: xformers is not installed"
    return "xformers", "attention xformers: chosen"


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's fused attention."""
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def split_batch(attend: Attend, limit: int = MAX_BATCH_ENTRIES) -> Attend:
    """``attend`` called on at most ``limit`` batch entries (N x heads) at a time; the result is the same."""

    def attend_in_parts(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows = max(1, limit // query.shape[2])
        if len(query) <= rows:
            return attend(query, key, value)
        stretches = [slice(first, first + rows) for first in range(0, len(query), rows)]
        return torch.cat([attend(query[part], key[part], value[part]) for part in stretches])

    return attend_in_parts


def attend_with(attention: Attention) -> Attend:
    """The kernel of that name, guarded."""
    if attention == "sdpa":
        return sdpa
    from xformers.ops import memory_efficient_attention

    return split_batch(memory_efficient_attention)


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
    """Give every attention layer of ``unet`` the processor for ``attention``."""
    unet.set_attn_processor(AttentionProcessor(attend_with(attention)))
