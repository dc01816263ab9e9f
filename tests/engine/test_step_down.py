"""Memory that runs out, in whatever words and at whatever stage, leads to a smaller way to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from svd_ui.catalog import PROFILES, ProfileRow
from svd_ui.core.devices import Plan
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.sampling import Deadline, Generation, OomFallback, StageTimer, decode, denoise, load
from svd_ui.engine.stages import Stages
from svd_ui.events import Finished, SteppedDown
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from .device_errors import DEVICE_MEMORY, HOST_MEMORY

STAGES = ["loading", "conditioning", "denoising", "decoding"]


class Runtime:
    """A model that only knows its profile."""

    def __init__(self, profile: ProfileRow) -> None:
        self.profile = profile
        self.compiled = False

    def use_profile(self, profile: ProfileRow) -> None:
        self.profile = profile


class FullOnce:
    """The verbs of the core without a model; the first call of the stage ``at`` raises ``error``."""

    def __init__(self, at: str, error: Exception) -> None:
        self._at, self._error = at, error

    def _maybe(self, stage: str) -> None:
        if self._at == stage:
            self._at = ""
            raise self._error

    def load(self, row: Any, folder: Path, plan: Plan) -> Runtime:
        self._maybe("loading")
        return Runtime(plan.profile)

    def condition(self, *_: Any) -> tuple[Any, Any]:
        self._maybe("conditioning")
        return None, None

    def sample(
        self, decoder: Any, cond: Any, clip: Any, generator: Any, cancel: Any, last: Any, *_: Any
    ) -> Iterator[Any]:
        for index in range(1 if last is None else last.index + 1, 4):
            if index == 2:
                self._maybe("denoising")
            latents = torch.full((1, 4, 4, 2, 2), float(index))
            yield SimpleNamespace(index=index, total=3, latents=latents, denoised=latents)

    def preview(self, *_: Any) -> None:
        return None

    def decode(self, decoder: Any, latents: Any, chunk: int, cancel: Any, start: int) -> Iterator[Any]:
        for first in range(start, 4, chunk):
            if first:
                self._maybe("decoding")
            yield np.zeros((min(chunk, 4 - first), 8, 8, 3), np.uint8)

    def release(self, *_: Any) -> None:
        pass

    free = check_finite = remember_overflow = release

    def reading(self, *_: Any) -> Any:
        return nullcontext()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [*DEVICE_MEMORY, *HOST_MEMORY], ids=repr)
def test_every_wording_at_every_stage_steps_down_and_the_clip_goes_on(error: Exception, stage: str) -> None:
    stages: Any = FullOnce(stage, error)
    plan = Plan(torch.device("cpu"), PROFILES["24gb"], torch.float32, "sdpa")
    clip: Any = SimpleNamespace(row=SimpleNamespace(title="Tiny", preview=None), shape=SimpleNamespace(num_frames=4))
    clip.of_length = lambda length: clip
    fallback = OomFallback(plan.profile, 3)
    generation = Generation(clip, plan, fallback, Deadline(never(), 60), StageTimer(), notes=[])
    events: list[Any] = []
    frames: list[Any] = []

    def whole() -> Iterator[Any]:
        runtime = yield from load(stages, generation, Path())
        decoder: Any = SimpleNamespace(runtime=runtime, overflowed=False)
        latents = yield from denoise(stages, generation, decoder, None)  # type: ignore[arg-type]
        assert float(latents.mean()) == 3.0
        yield from decode(stages, generation, decoder, latents, frames.append)  # type: ignore[arg-type]

    events += whole()
    downs = [event for event in events if isinstance(event, SteppedDown)]
    assert [down.stage for down in downs] == [stage]
    assert sum(map(len, frames)) == 4
    below = PROFILES["16gb"]
    assert (fallback.profile, fallback.chunk) == ((plan.profile, 2) if stage == "decoding" else (below, 3))


class FullOften(Stages):
    """The core on a device that is full once at every stage, each time in other words."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "cpu")
        self._errors = dict(
            zip(STAGES, [DEVICE_MEMORY[5], DEVICE_MEMORY[8], DEVICE_MEMORY[16], HOST_MEMORY[2]], strict=True)
        )

    def _maybe(self, stage: str) -> None:
        error = self._errors.pop(stage, None)
        if error is not None:
            raise error

    def load(self, *args: Any) -> Any:
        self._maybe("loading")
        return super().load(*args)

    def condition(self, *args: Any) -> Any:
        made = super().condition(*args)
        self._maybe("conditioning")
        return made

    def sample(self, *args: Any) -> Iterator[Any]:
        for step in super().sample(*args):
            if step.index == 2:
                self._maybe("denoising")
            yield step

    def decode(self, *args: Any) -> Iterator[Any]:
        for frames in super().decode(*args):
            yield frames
            self._maybe("decoding")


def test_the_real_clip_comes_out_the_same_to_the_bit(
    settings: Settings, tiny: Path, image: str, tmp_path: Path
) -> None:
    """Under profiles that order the same sums alike; guidance in one batch rounds differently."""
    here = settings.model_copy(update={"checkpoint_dirs": str(tiny)})
    request = GenerationRequest(
        image=image, checkpoint="local:tiny", seed=7, num_inference_steps=3, decode_chunk_size=2, profile="24gb"
    )
    request = request.model_copy(update={"max_guidance_scale": 1.0, "min_guidance_scale": 1.0})

    def latents(stages: Stages, name: str) -> np.ndarray:
        events = list(LocalEngine(here, stages=stages).generate(request, tmp_path / name, never()))
        assert isinstance(events[-1], Finished)
        seen.append([event.stage for event in events if isinstance(event, SteppedDown)])
        return load_file(tmp_path / name / str(events[-1].result.latents))["latents"]

    seen: list[list[str]] = []
    calm, often = latents(Stages(here, "cpu"), "calm"), latents(FullOften(here), "often")
    assert seen == [[], STAGES]
    assert np.array_equal(calm, often)
