"""The stages of a clip that need the device's memory, each going on in a smaller way when it runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from ..catalog import CheckpointRow
from ..errors import OutOfMemory
from ..events import Decoding, Denoising, Effective, Encoding, Event, SteppedDown
from ..notes import Note
from ..request import GenerationRequest
from .clock import Deadline, Stopwatch
from .error_mapping import LESS_MEMORY, forget, mapped, mapping, out_of_memory
from .oom_fallback import Ladder
from .output import Frames
from .stages import Stages

if TYPE_CHECKING:
    import torch

    from ..core.devices import Plan
    from ..core.runtime import Runtime
    from ..core.sampling.denoiser import Conditioning

Encoded = TypeVar("Encoded")


@dataclass
class Work:
    """One clip, or still, on its way. ``request`` is resolved and gains its image once a still is made.

    ``runtime`` is the model once it is loaded.
    """

    request: GenerationRequest
    row: CheckpointRow
    plan: Plan
    ladder: Ladder
    cancel: Deadline
    watch: Stopwatch
    notes: list[Note]
    runtime: Runtime | None = None


def load(stages: Stages, work: Work, folder: Path) -> Generator[Event, None, Runtime]:
    """Return the model, loaded under the first profile that it fits in."""
    while True:
        work.cancel.check()
        try:
            with work.watch("loading"), mapping("loading the model", work.row.title):
                runtime = stages.load(work.row, folder, work.plan)
            work.cancel.check()
            work.runtime = runtime
            return runtime
        except Exception as error:
            note = next_rung(error, work.ladder.down_from_loading, "loading the model")
        stages.release()
        work.plan = stages.step_down(work.plan, work.ladder.profile)
        yield SteppedDown(stage="loading", note=note)


def condition(
    stages: Stages, work: Work, runtime: Runtime, encode: Callable[[], Encoded]
) -> Generator[Event, None, Encoded]:
    """Return what ``encode`` makes of the still, under the first profile that it fits in. It may be called again."""
    yield Encoding()
    while True:
        work.cancel.check()
        try:
            with work.watch("conditioning"):
                return encode()
        except Exception as error:
            note = next_rung(error, work.ladder.down_from_conditioning, "reading the still")
        use_rung(stages, work, runtime)
        yield SteppedDown(stage="conditioning", note=note)


def denoise(stages: Stages, work: Work, runtime: Runtime, still: Image.Image) -> Generator[Event, None, Any]:
    """Yield each step; return the final latents ``[1 F C h w]``. After an OOM goes on from the last step."""

    def encode() -> tuple[Conditioning, torch.Generator]:
        generator = stages.generator(work.request.seed or 0)
        return stages.condition(runtime, still, work.request, generator), generator

    cond, generator = yield from condition(stages, work, runtime, encode)
    last: Any = None
    while True:
        try:
            with work.watch("denoising"):
                started = time.perf_counter()
                for step in stages.sample(runtime, cond, work.request, generator, work.cancel, last):
                    last = step
                    preview = stages.preview(work.row, step.denoised)
                    seconds = round(time.perf_counter() - started, 4)
                    yield Denoising(step=step.index, total=step.total, preview=preview, seconds=seconds)
                    started = time.perf_counter()
            return last.latents
        except Exception as error:
            note = next_rung(error, work.ladder.down_from_denoising, "denoising")
        use_rung(stages, work, runtime)
        yield SteppedDown(stage="denoising", note=note)


def decode(
    stages: Stages, work: Work, runtime: Runtime, latents: Any, still: Image.Image, take: Callable[[Frames], None]
) -> Iterator[Event]:
    """Hand frames over as they are decoded; after an OOM goes on from the first one missing."""
    total, done = int(latents.shape[1]), 0
    yield Decoding(done=0, total=total)
    while done < total:
        try:
            with work.watch("decoding"):
                for frames in stages.decode(runtime, latents, still, work.ladder.chunk, work.cancel, done):
                    take(frames)
                    done += len(frames)
                    yield Decoding(done=done, total=total)
            return
        except Exception as error:
            note = next_rung(error, work.ladder.down_from_decoding, "decoding")
        use_rung(stages, work, runtime)
        yield SteppedDown(stage="decoding", note=note)


def effective(stages: Stages, work: Work) -> Effective:
    """What is really used by now, after any step-down."""
    plan = work.plan
    return Effective(
        profile=work.ladder.profile.id,
        decode_chunk_size=work.ladder.chunk,
        attention=plan.attention,
        dtype=str(plan.dtype).removeprefix("torch."),
        device=stages.device(plan).name,
        exact=plan.exact,
        compiled=work.runtime is not None and work.runtime.compiled,
        reasons=(*plan.notes, *(work.runtime.notes if work.runtime is not None else ()), *work.ladder.notes),
    )


def next_rung(error: Exception, step_down: Callable[[], Note | None], doing: str) -> Note:
    """The note of a smaller way to go on. Raises ``error``, as ours, if memory is not the trouble or no way is left."""
    if not out_of_memory(error):
        raise mapped(error, doing) from error
    note = step_down()
    forget(error)
    if note is None:
        raise OutOfMemory(doing=doing, remedy=LESS_MEMORY) from None
    return note


def use_rung(stages: Stages, work: Work, runtime: Runtime) -> None:
    stages.free()
    if work.ladder.profile.id != runtime.profile.id:
        stages.use_profile(runtime, work.ladder.profile)
