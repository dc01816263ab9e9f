"""The stages of a clip that need the device's memory, each going on in a smaller way when it runs out, and their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from ..catalog import ProfileRow, smaller_profile
from ..clip import ClipSpec
from ..errors import Cancelled, OutOfMemory, SvdUiError, TookTooLong
from ..events import Decoding, Denoising, Effective, Encoding, Event, SteppedDown
from ..notes import Note
from ..post import Frames
from . import CancelToken
from .error_mapping import LESS_MEMORY, forget, mapped, mapping, out_of_memory
from .estimates import CHUNKS
from .stages import Stages

if TYPE_CHECKING:
    from ..core.devices import Plan
    from ..core.families.svd import Decoder
    from ..core.runtime import Runtime

Encoded = TypeVar("Encoded")


@dataclass
class Generation:
    """One clip, or still, on its way. The clip's request gains its image once a still is made.

    ``runtime`` is the model once it is loaded.
    """

    clip: ClipSpec
    plan: Plan
    fallback: OomFallback
    cancel: Deadline
    timer: StageTimer
    notes: list[Note]
    runtime: Runtime | None = None


def load(stages: Stages, generation: Generation, folder: Path) -> Generator[Event, None, Runtime]:
    """Return the model, loaded under the first profile that it fits in."""
    while True:
        generation.cancel.check()
        try:
            with generation.timer("loading"), mapping("loading the model", generation.clip.row.title):
                runtime = stages.load(generation.clip.row, folder, generation.plan)
            generation.cancel.check()
            generation.runtime = runtime
            return runtime
        except Exception as error:
            note = next_fallback(error, partial(generation.fallback.down, "loading"), "loading the model")
        stages.release()
        generation.plan = generation.plan.step_down(generation.fallback.profile)
        yield SteppedDown(stage="loading", note=note)


def condition(
    stages: Stages, generation: Generation, runtime: Runtime, encode: Callable[[], Encoded]
) -> Generator[Event, None, Encoded]:
    """Return what ``encode`` makes of the still, under the first profile that it fits in. It may be called again."""
    yield Encoding()
    while True:
        generation.cancel.check()
        try:
            with generation.timer("conditioning"):
                return encode()
        except Exception as error:
            note = next_fallback(error, partial(generation.fallback.down, "conditioning"), "reading the still")
        use_fallback(stages, generation, runtime)
        yield SteppedDown(stage="conditioning", note=note)


def denoise(
    stages: Stages, generation: Generation, decoder: Decoder, still: Image.Image
) -> Generator[Event, None, Any]:
    """Yield each step; return the final latents ``[1 F C h w]``. After an OOM goes on from the last step."""
    runtime = decoder.runtime
    encode = partial(stages.condition, runtime, still, generation.clip)
    cond, generator = yield from condition(stages, generation, runtime, encode)
    last: Any = None
    while True:
        try:
            with generation.timer("denoising"):
                started = time.perf_counter()
                for step in stages.sample(decoder, cond, generation.clip, generator, generation.cancel, last):
                    last = step
                    preview = stages.preview(generation.clip.row, step.denoised)
                    seconds = round(time.perf_counter() - started, 4)
                    yield Denoising(step=step.index, total=step.total, preview=preview, seconds=seconds)
                    started = time.perf_counter()
            return last.latents
        except Exception as error:
            note = next_fallback(error, partial(generation.fallback.down, "denoising"), "denoising")
        use_fallback(stages, generation, runtime)
        yield SteppedDown(stage="denoising", note=note)


def decode(
    stages: Stages,
    generation: Generation,
    decoder: Decoder,
    latents: Any,
    take: Callable[[Frames], Iterable[Event] | None],
) -> Iterator[Event]:
    """Hand frames over as they are decoded, with what ``take`` has to say; after an OOM goes on from the first missing."""
    total, done = int(latents.shape[1]), 0
    yield Decoding(done=0, total=total)
    while done < total:
        try:
            with generation.timer("decoding"):
                for frames in stages.decode(decoder, latents, generation.fallback.chunk, generation.cancel, done):
                    yield from take(frames) or ()
                    done += len(frames)
                    yield Decoding(done=done, total=total)
            return
        except Exception as error:
            note = next_fallback(error, partial(generation.fallback.down, "decoding"), "decoding")
        use_fallback(stages, generation, decoder.runtime)
        yield SteppedDown(stage="decoding", note=note)


def effective(generation: Generation) -> Effective:
    """What is really used by now, after any step-down."""
    plan = generation.plan
    return Effective(
        profile=generation.fallback.profile.id,
        decode_chunk_size=generation.fallback.chunk,
        attention=plan.attention,
        dtype=str(plan.dtype).removeprefix("torch."),
        device=plan.info.name,
        exact=plan.exact,
        compiled=generation.runtime is not None and generation.runtime.compiled,
        reasons=(*plan.notes, *(generation.runtime.notes if generation.runtime else ()), *generation.fallback.notes),
    )


def next_fallback(error: Exception, step_down: Callable[[], Note | None], doing: str) -> Note:
    """The note of a smaller way to go on. Raises ``error``, as ours, if memory is not the trouble or no way is left."""
    if not out_of_memory(error):
        raise mapped(error, doing) from error
    note = step_down()
    forget(error)
    if note is None:
        raise OutOfMemory(doing=doing, remedy=LESS_MEMORY) from None
    return note


def use_fallback(stages: Stages, generation: Generation, runtime: Runtime) -> None:
    stages.free()
    if generation.fallback.profile.id != runtime.profile.id:
        runtime.use_profile(generation.fallback.profile)


class StageTimer:
    """Seconds by stage; a stage entered twice adds up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds, with the ``total`` since the beginning."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in {**self._seconds, "total": total}.items()}


class Deadline:
    """A cancel token that time sets too."""

    def __init__(self, cancel: CancelToken, max_seconds: float) -> None:
        self._cancel, self._max_seconds = cancel, max_seconds
        self._until = time.monotonic() + max_seconds

    def is_set(self) -> bool:
        return self._cancel.is_set() or time.monotonic() > self._until

    def check(self) -> None:
        """Raises Cancelled when set."""
        if self.is_set():
            raise Cancelled()

    def reason(self) -> SvdUiError:
        """Who set it: somebody, or time."""
        return Cancelled() if self._cancel.is_set() else TookTooLong(seconds=int(self._max_seconds))


_DOING = {
    "loading": Note.of("loading_model"),
    "conditioning": Note.of("reading_still"),
    "denoising": Note.of("denoising"),
    "decoding": Note.of("decoding"),
}


class OomFallback:
    """The profile and decode chunk of one clip; they only ever get smaller. ``notes`` tell how."""

    def __init__(self, profile: ProfileRow, decode_chunk_size: int | None, num_frames: int) -> None:
        self.profile = profile
        self.chunk = min(decode_chunk_size or profile.decode_chunk_size, num_frames)
        self.notes: list[Note] = []

    def down(self, stage: str) -> Note | None:
        """Fewer frames at once where ``stage`` is decoding, else the next profile. None at the foot of the ladder."""
        fewer = next((size for size in CHUNKS if size < self.chunk), None)
        if stage == "decoding" and fewer is not None:
            self.chunk = fewer
            return self.add(Note.of("smaller_decode_chunk", count=fewer))
        below = smaller_profile(self.profile.id)
        if below is None:
            return None
        self.profile = below
        self.chunk = min(self.chunk, below.decode_chunk_size)
        return self.add(Note.of("smaller_profile", doing=_DOING[stage], profile=below.id))

    def add(self, note: Note) -> Note:
        """``note``, kept."""
        self.notes.append(note)
        return note
