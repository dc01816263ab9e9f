"""Feature caching: most steps run two of the U-Net's layers on features of an earlier step. Approximate.

After DeepCache (Ma et al. 2023, arXiv 2312.00858) at its outermost branch. The features that reach the U-Net's
last layer change slowly from step to step, while its skip connection carries the noise that does change. So a
whole step keeps the tensor that enters the last layer of the last up block, and the steps after it compute
only the embeddings, ``conv_in``, that last layer upon the cached tensor, and the output convolution. (The skip
connection that the last layer takes comes from ``conv_in`` itself; no layer of a down block is needed.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...catalog.families.svd import LAST_SIGMA
from .denoiser import Denoiser


class FeatureCache:
    """The features of one clip, renewed by a whole step, every ``interval``-th one.

    All conditionings are renewed at the same step. Guidance subtracts their estimates from each other, and errors
    of the same age cancel where those of different ages would be amplified. Features are dropped at the
    beginning of a whole step, so none is ever older than ``interval`` - 1 steps, and a whole step needs no room
    for it. ``first`` is the index of the first step to come, ``last`` that of a last one to compute whole besides.
    """

    def __init__(self, interval: int, first: int = 0, last: int | None = None) -> None:
        self.features: dict[int, Tensor] = {}
        self._interval, self._next, self._last = interval, first, last

    @classmethod
    def along(cls, sigmas: Tensor, interval: int, first: int = 0) -> FeatureCache:
        """For a walk down ``sigmas`` ``[N + 1]``. Its last step is whole too, if it ends far from where it begins.

        That step goes to the U-Net's own estimate, of which its output makes up sigma / sqrt(sigma^2 + 1): next to
        nothing at the 0.002 where SVD ends, all of it at the 5 where nano does (there a whole last step takes the
        error of a clip from 0.0085 to 0.0001 in latents that move by 0.4).
        """
        total = len(sigmas) - 1
        return cls(interval, first, total - 1 if sigmas[-2] > LAST_SIGMA else None)

    def count_steps(self, denoiser: Denoiser) -> Denoiser:
        """``denoiser``, of which each call is a step of the clip."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            if self._next % self._interval == 0 or self._next == self._last:
                self.features.clear()
            self._next += 1
            return denoiser(x, sigma)

        return denoise


class CachedUNet:
    """Called like the U-Net: runs whole where ``cache`` has no features for ``slot``, else its outermost layers.

    Each conditioning has a ``slot`` of its own and stores one tensor ``[B * F C h w]`` of the U-Net's first width:
    0.14 GiB of a clip of 25 frames at 1024x576 in half precision.
    """

    def __init__(self, unet: Any, cache: FeatureCache, slot: int = 0) -> None:
        self._unet, self._cache, self._slot = unet, cache, slot

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        features = self._cache.features.get(self._slot)
        with self._store_features() if features is None else outermost_layers(self._unet, features):
            return self._unet(*args, **kwargs)

    @contextmanager
    def _store_features(self) -> Iterator[None]:
        """Within the block the input of the last layer is cached as it passes."""

        def store(_: nn.Module, __: Any, output: Any) -> None:
            self._cache.features[self._slot] = output if isinstance(output, Tensor) else output[0]

        handle = _before_last(self._unet.up_blocks[-1]).register_forward_hook(store)
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def outermost_layers(unet: Any, features: Tensor) -> Iterator[None]:
    """Within the block ``unet`` skips every block but the last layer of the last, which takes ``features``.

    The forward of the U-Net itself runs as it is, so whatever is done to it, or to the layers that still run,
    holds here too.
    """
    inner: list[nn.Module] = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    last = inner.pop()
    with ExitStack() as stack:
        for block in inner:
            stack.enter_context(_forward(block, _skipped(block)))
        stack.enter_context(_forward(last, _last_layer(last, features)))
        yield


@contextmanager
def _forward(block: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """``forward`` in the place of the class's own, on this one module."""
    before = block.__dict__.get("forward")
    block.__dict__["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del block.__dict__["forward"]
        else:
            block.__dict__["forward"] = before


def _skipped(block: Any) -> Callable[..., Any]:
    """Hands on what it is given; for a down block once per skip connection too, so that the U-Net's count is right."""
    is_down = hasattr(block, "downsamplers")
    skips = len(block.resnets) + len(block.downsamplers or ()) if is_down else 0

    def forward(hidden_states: Tensor, **_: Any) -> Any:
        return (hidden_states, (hidden_states,) * skips) if is_down else hidden_states

    return forward


def _last_layer(block: Any, features: Tensor) -> Callable[..., Tensor]:
    """The last resnet, and attention where the block has one, upon ``features`` and the outermost skip connection."""

    def forward(
        hidden_states: Tensor,
        res_hidden_states_tuple: tuple[Tensor, ...],
        temb: Tensor,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        joined = torch.cat([features, res_hidden_states_tuple[0]], dim=1)
        out: Tensor = block.resnets[-1](joined, temb, image_only_indicator=image_only_indicator)
        if hasattr(block, "attentions"):
            (out,) = block.attentions[-1](
                out,
                encoder_hidden_states=encoder_hidden_states,
                image_only_indicator=image_only_indicator,
                return_dict=False,
            )
        return out

    return forward


def _before_last(block: Any) -> nn.Module:
    """The module whose output enters the last layer of an up block of at least two."""
    layers: nn.ModuleList = block.attentions if hasattr(block, "attentions") else block.resnets
    return layers[-2]
