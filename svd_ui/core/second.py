"""Guidance on two devices: the model told about the still on one, the model without it on another, at the same time.

A second device has a copy of the U-Net of its own, read from the same files, and nothing else of the checkpoint. What wraps
guidance (tiles, anchors, intervals, caches) sees a pair of estimates on the first device and does not know of it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import loading
from .runtime import Runtime
from .sampling.denoiser import Denoiser, Pair
from .threads import use_threads


class Half(Runtime):
    """The U-Net of ``whole`` once more, from ``source``, on the second device of its plan.

    ``failure`` is what ended its last work, None where that went well: the same object that its caller got.
    """

    def __init__(self, whole: Runtime, source: Path) -> None:
        """Raises WeightsDamaged, or what the device raises where it has no room."""
        plan = whole.plan.half()
        unet = loading.load_module(source, "unet", plan.module_dtype("unet"), whole.row)
        self.failure: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, "svd-ui-second")
        modules = {"unet": unet, "vae": _Absent(whole.vae.config), "image_encoder": nn.Module()}
        self._hold(whole.row, plan, modules, whole.feature_extractor, whole.scheduler)

    def start(self, denoiser: Denoiser, x: Tensor, sigma: Tensor) -> Future[Tensor]:
        """``denoiser(x, sigma)`` in a thread of its own; ``x`` is on this device already."""
        self.failure = None
        return self._thread.submit(self._run, denoiser, x, sigma, torch.is_grad_enabled())

    def _run(self, denoiser: Denoiser, x: Tensor, sigma: Tensor, grad: bool) -> Tensor:
        """What a thread does not inherit is set anew: whether there are gradients, the current device, how many threads."""
        use_threads(self.plan.threads)
        try:
            with torch.set_grad_enabled(grad), _current(self.device):
                return denoiser(x, sigma)
        except BaseException as error:
            self.failure = error
            raise

    def close(self) -> None:
        self._thread.shutdown()
        super().close()


class _Absent(nn.Module):
    """A module that is not on this device, and whose configuration somebody asks for."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config


def _current(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def split_cfg(conditional: Denoiser, unconditional: Denoiser, half: Half) -> Pair:
    """Both estimates at the same time: ``conditional`` here, ``unconditional`` on the device of ``half``.

    Returns when both have ended, however: what is left running would use a model that somebody frees.
    """

    def denoise(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        # Before work is queued on this device: a copy would wait for it.
        other = half.start(unconditional, x.to(half.device, non_blocking=True), sigma)
        try:
            c = conditional(x, sigma)
        finally:
            other.exception()
        return c, other.result().to(c.device)

    return denoise
