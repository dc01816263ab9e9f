"""The loop of a fine-tuning run: deterministic, resumable, watched through its folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import BadInput
from ...finetune import TrainRequest
from ...finetune.runs import RunFolder
from ..conditioning import encode
from ..runtime import Runtime
from .dataset import Dataset, order
from .loss import DiffusionLoss
from .weights import latest, load_numbers, load_optimizer, load_weights, prepare, save_state


class Tuner:
    """One process of a run; ``accelerator`` (accelerate's) knows the others and the number format.

    The same request on the same clips gives the same losses, also after a kill: which clips and which noise come at
    a step depends on the seed and the step alone.
    """

    def __init__(
        self, request: TrainRequest, runtime: Runtime, examples: Dataset, folder: RunFolder, accelerator: Any
    ) -> None:
        """``request`` is resolved, ``examples`` are built."""
        self.request, self.runtime, self.folder = request, runtime, folder
        self._examples, self._accelerator = examples, accelerator
        self.parameters = prepare(runtime.unet, request)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()} if request.ema else {}
        self.step = 0
        self._objective = DiffusionLoss(runtime.row)
        optimizer = _optimizer(list(self.parameters.values()), request)
        self._resume(optimizer)
        self._model, self._optimizer = accelerator.prepare(runtime.unet, optimizer)

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return bool(self._accelerator.is_main_process)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is kept in the end: the average where there is one."""
        return self.average or {name: parameter.detach() for name, parameter in self.parameters.items()}

    def run(self, stop: Callable[[], bool], after: Callable[[dict[str, float]], None]) -> None:
        """Train to the last step, or until ``stop``; ``after`` hears of every update. Saves at the end and on the way."""
        self.runtime.unet.train()
        with checkpointed(self.runtime.unet, self.request.gradient_checkpointing):
            while self.step < self.request.steps and not self._all_agree(stop()):
                began = time.perf_counter()
                loss, norm = self._update()
                self.step += 1
                line = {"step": self.step, "loss": loss, "learning_rate": self._rate(), "norm": norm}
                line["seconds"] = time.perf_counter() - began
                if not math.isfinite(loss):
                    raise BadInput(
                        f"Training broke at step {self.step} (the loss is not a number): lower the learning rate, or train in bf16.",
                        field="learning_rate",
                    )
                if self.main:
                    self.folder.log(line)
                if self.step % self.request.save_every == 0:
                    self.save()
                after(line)
        self.save()
        self.runtime.unet.eval()

    def save(self) -> None:
        """The state a later process goes on from; by the main process alone."""
        self._accelerator.wait_for_everyone()
        if self.main:
            weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
            scaler = self._accelerator.scaler
            numbers = {"scaler": scaler.state_dict() if scaler is not None else None}
            save_state(self.folder.states, self.step, weights, self.average, self._optimizer.state_dict(), numbers)

    def _resume(self, optimizer: Any) -> None:
        found = latest(self.folder.states)
        if found is None:
            return
        numbers = load_numbers(found)
        with torch.no_grad():
            for name, value in load_weights(found).items():
                self.parameters[name].copy_(value)
            for name, value in load_weights(found, "average").items():
                self.average[name].copy_(value)
        optimizer.load_state_dict(load_optimizer(found, optimizer.state_dict()))
        self.step = int(numbers["step"])
        if numbers.get("scaler") and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(numbers["scaler"])
        if self.main:
            self.folder.forget_after(self.step)

    def _update(self) -> tuple[float, float]:
        """(mean loss, gradient's norm) of one update over all accumulated passes."""
        rounds = self.request.gradient_accumulation
        total = torch.zeros((), device=self.runtime.device)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        for index in range(rounds):
            micro = self.step * rounds + index
            last = index == rounds - 1
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss = self._loss(micro)
                self._accelerator.backward(loss / rounds)
            total += loss.detach() / rounds
        norm = self._accelerator.clip_grad_norm_(list(self.parameters.values()), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._follow()
        return float(self._accelerator.reduce(total, "mean")), float(norm if norm is not None else 0.0)

    def _loss(self, micro: int) -> Tensor:
        """The loss of pass ``micro`` of the whole run."""
        request, accelerator = self.request, self._accelerator
        first = (micro * accelerator.num_processes + accelerator.process_index) * request.batch_size
        count = len(self._examples)
        indices = [order(request.seed, first + i, count) for i in range(request.batch_size)]
        clips = self._examples.batch(indices, self.runtime.device)
        generator = torch.Generator().manual_seed((request.seed * 1_000_003 + micro) * 1009 + accelerator.process_index)
        draw = self._objective.draw(clips, generator)
        with torch.no_grad():
            noisy = clips.stills + draw.strength.to(clips.stills)[:, None, None, None] * draw.still_noise.to(
                clips.stills
            )
            still = encode(self.runtime, noisy)
        cond = self._objective.conditioning(clips, draw, still)
        with accelerator.autocast():
            return self._objective.loss(self._model, clips, draw, cond, self.runtime.scaling_factor).mean()

    def _follow(self) -> None:
        """The average moves towards the weights, faster at first so that it forgets the start."""
        if self.average:
            decay = min(self.request.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    self.average[name].lerp_(parameter, 1 - decay)

    def _rate(self) -> float:
        """The learning rate of the next update: a linear rise, then constant."""
        return self.request.learning_rate * min(1.0, (self.step + 1) / max(self.request.warmup_steps, 1))

    def _all_agree(self, stop: bool) -> bool:
        """Whether any process wants to stop; all leave at the same step."""
        if self._accelerator.num_processes == 1:
            return stop
        wishes = self._accelerator.reduce(torch.tensor(float(stop), device=self.runtime.device), "sum")
        return float(wishes) > 0


def _optimizer(parameters: list[Any], request: TrainRequest) -> Any:
    settings: dict[str, Any] = {"lr": request.learning_rate, "betas": (0.9, 0.999), "weight_decay": 0.01}
    if not request.eight_bit:
        return torch.optim.AdamW(parameters, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise BadInput("8-bit AdamW needs bitsandbytes: pip install bitsandbytes.", field="eight_bit") from error
    if not torch.cuda.is_available():
        raise BadInput("8-bit AdamW needs a CUDA device: turn it off here.", field="eight_bit")
    return AdamW8bit(parameters, **settings)


@contextmanager
def checkpointed(unet: Any, enabled: bool) -> Iterator[None]:
    """Gradient checkpointing within the block: activations of every transformer and resnet are computed again.

    diffusers covers the spatial blocks of the U-Net; this adds the temporal ones.
    """
    blocks = _temporal_blocks(unet) if enabled else []
    if enabled:
        unet.enable_gradient_checkpointing()
    try:
        for block in blocks:
            block.forward = _again(block.forward)
        yield
    finally:
        for block in blocks:
            del block.forward
        if enabled:
            unet.disable_gradient_checkpointing()


def _again(forward: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


def _temporal_blocks(unet: Any) -> list[Any]:
    return [module for module in unet.modules() if type(module).__name__ == "TemporalBasicTransformerBlock"]
