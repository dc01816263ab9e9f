"""The stages of a clip that need the device, and their time. Each goes on from what is done when the device fails it: in a
smaller way where memory ran out, in a wider number format where numbers overflowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from ..clip import ClipSpec
from ..errors import Cancelled, SvdUiError, TookTooLong
from ..events import Decoding, Denoising, Effective, Encoding, Event, SteppedDown, WentOn, left_out
from ..notes import Note
from ..post import Frames
from . import CancelToken
from .error_mapping import mapping
from .fallback import OomFallback, next_fallback, recover
from .progress import Progress, proof_of_latents
from .stages import Stages

if TYPE_CHECKING:
    from ..core.devices import Plan
    from ..core.families.svd import Decoder
    from ..core.runtime import Runtime
    from ..core.sampling.samplers import Step

Encoded = TypeVar("Encoded")


@dataclass
class Generation:
    """One clip, or still, on its way. The clip's request gains its image once a still is made.

    ``runtime`` is the model once it is loaded. ``overflowed`` are number formats that did in this clip, until a wider one has
    shown that it does not. ``source`` is where its weights lie, ``progress`` is what is kept of it, for a process that has to go on after this one.
    """

    clip: ClipSpec
    plan: Plan
    fallback: OomFallback
    cancel: Deadline
    timer: StageTimer
    notes: list[Note]
    runtime: Runtime | None = None
    overflowed: list[str] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    source: Path | None = None

    @property
    def dtype(self) -> str:
        """What the model computes in by now."""
        return str(self.plan.dtype).removeprefix("torch.")


def load(stages: Stages, generation: Generation, folder: Path) -> Generator[Event, None, Runtime]:
    """Return the model, loaded under the first profile that it fits in."""
    while True:
        generation.cancel.check()
        try:
            with generation.timer("loading"), mapping("loading the model", generation.clip.row.title):
                runtime = stages.load(generation.clip.row, folder, generation.plan)
            generation.cancel.check()
            generation.runtime = runtime
            yield from _second(stages, generation, runtime, folder)
            return runtime
        except Exception as error:
            note = next_fallback(error, partial(generation.fallback.down, "loading"), "loading")
        stages.release()
        generation.plan = generation.plan.step_down(generation.fallback.profile)
        yield SteppedDown(stage="loading", note=note)


def _second(stages: Stages, generation: Generation, runtime: Runtime, folder: Path) -> Iterator[Event]:
    """The other half of guidance on the plan's second device, as far as this clip has use for it; the notes say where not."""
    plan = generation.plan
    if plan.second is None:
        return
    why = _idle(generation)
    if why is not None:
        generation.notes.append(why)
        generation.plan = replace(plan, second=None)
        return
    try:
        with generation.timer("loading"):
            stages.add_second(runtime, folder)
        generation.cancel.check()
    except Exception as error:
        note = next_fallback(error, partial(generation.fallback.alone, str(plan.second)), "loading")
        stages.free()
        generation.plan = replace(plan, second=None)
        yield SteppedDown(stage="loading", note=note)


def _idle(generation: Generation) -> Note | None:
    """Why the second device has nothing to do; None where it has."""
    plan, device = generation.plan, str(generation.plan.second)
    if not any(generation.clip.guided_steps):
        return Note.of("second_idle", device=device)
    return None if plan.splits else Note.of("second_streams", device=device)


def condition(
    stages: Stages, generation: Generation, runtime: Runtime, encode: Callable[[], Encoded]
) -> Generator[Event, None, Encoded]:
    """Return what ``encode`` makes of the still, in the first way that it can be made. It may be called again."""
    yield Encoding()
    while True:
        generation.cancel.check()
        try:
            with generation.timer("conditioning"), stages.reading(generation):
                encoded = encode()
            stages.remember_overflow(generation)
            return encoded
        except Exception as error:
            yield recover(stages, generation, runtime, error, "conditioning")


def denoise(
    stages: Stages, generation: Generation, decoder: Decoder, still: Image.Image
) -> Generator[Event, None, Any]:
    """Yield each step; return the final latents ``[1 F C h w]``. Goes on from the last step that is sound.

    Whether a step is, is asked before its preview, which waits for the device in any case.
    """
    runtime, progress = decoder.runtime, generation.progress
    last = yield from _kept_step(stages, generation, runtime)
    if last is not None and last.index == last.total:
        return last.latents
    encode = partial(stages.condition, runtime, still, generation.clip)
    cond, generator = yield from condition(stages, generation, runtime, encode)
    progress.begin()
    while True:
        try:
            proof = proof_of_walk(stages, generation)
            with generation.timer("denoising"):
                started, notes = time.perf_counter(), list[Note]()
                steps = stages.sample(decoder, cond, generation.clip, generator, generation.cancel, last, notes)
                with closing(steps):
                    for step in steps:
                        stages.check_finite(step.latents)
                        last = step
                        stages.remember_overflow(generation)
                        if progress.keeps and computes_all_next(generation.clip, step):
                            progress.keep_step(proof, step, notes)
                        preview = stages.preview(generation.clip.row, step.denoised)
                        seconds = round(time.perf_counter() - started, 4)
                        yield Denoising(step=step.index, total=step.total, preview=preview, seconds=seconds)
                        started = time.perf_counter()
            generation.notes += notes
            generation.clip = generation.clip.of_length(last.latents.shape[1])
            return last.latents
        except Exception as error:
            yield recover(stages, generation, runtime, error, "denoising")


def proof_of_walk(stages: Stages, generation: Generation) -> str:
    """``Stages.proof``, where anything is kept at all."""
    return stages.proof(generation) if generation.progress.keeps else ""


def _kept_step(stages: Stages, generation: Generation, runtime: Runtime) -> Generator[Event, None, Any]:
    """The step that an earlier process came to with this very clip; None for a new one. The clip's notes say so."""
    found = None
    if generation.progress.keeps:
        found = generation.progress.step(stages.proof(generation), runtime.device)
    if found is None:
        return None
    step, notes = found
    said = Note.of("went_on", step=step.index, total=step.total)
    generation.notes.append(said)
    if step.index == step.total:  # its method has nothing more to say
        generation.notes += notes
        generation.clip = generation.clip.of_length(step.latents.shape[1])
    yield WentOn(stage="denoising", step=step.index, total=step.total, note=said)
    return step


def computes_all_next(clip: ClipSpec, step: Step) -> bool:
    """Whether what follows ``step`` needs no more than its latents; with features kept between steps only some do."""
    whole = clip.cache_interval == 1 or clip.request.method.in_parts or step.index % clip.cache_interval == 0
    return whole or step.index == step.total


def decode(
    stages: Stages,
    generation: Generation,
    decoder: Decoder,
    latents: Any,
    take: Callable[[Frames], Iterable[Event] | None],
) -> Iterator[Event]:
    """Hand frames over as they are decoded, with what ``take`` has to say; after an OOM goes on from the first missing."""
    total, done, told = generation.clip.shape.num_frames, 0, decoder.overflowed
    progress = generation.progress
    walk = proof_of_walk(stages, generation)
    proof = proof_of_latents(walk, latents, generation.fallback.chunk) if progress.keeps else ""
    yield Decoding(done=0, total=total)
    while done < total and (kept := progress.frames(proof, done)) is not None:
        yield from take(kept) or ()
        done += len(kept)
    if done:
        said = Note.of("went_on_frames", step=done, total=total)
        generation.notes.append(said)
        yield WentOn(stage="decoding", step=done, total=total, note=said)
    while done < total:
        try:
            with generation.timer("decoding"):
                started = time.perf_counter()
                for frames in stages.decode(decoder, latents, generation.fallback.chunk, generation.cancel, done):
                    progress.keep_frames(proof, done, frames, time.perf_counter() - started)
                    yield from take(frames) or ()
                    done += len(frames)
                    if decoder.overflowed and not told:
                        note, told = Note.of("frames_in_float32", narrow=generation.dtype), True
                        yield SteppedDown(stage="decoding", note=generation.fallback.add(note))
                    yield Decoding(done=done, total=total)
                    started = time.perf_counter()
            return
        except Exception as error:
            yield recover(stages, generation, decoder.runtime, error, "decoding")


def effective(generation: Generation) -> Effective:
    """What is really used by now, after any step-down."""
    plan = generation.plan
    return Effective(
        profile=generation.fallback.profile.id,
        decode_chunk_size=generation.fallback.chunk,
        attention=plan.attention,
        dtype=generation.dtype,
        device=plan.info.name,
        place=plan.place,
        exact=plan.exact,
        compiled=generation.runtime is not None and generation.runtime.compiled,
        reasons=(
            *plan.notes,
            *_split(plan),
            *(generation.runtime.notes if generation.runtime else ()),
            *generation.fallback.notes,
        ),
    )


def _split(plan: Plan) -> tuple[Note, ...]:
    return () if plan.second is None else (Note.of("guidance_split", first=str(plan.device), second=str(plan.second)),)


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

    def left_out(self) -> frozenset[int]:
        """The tiles of a wall that nobody wants any more, where the token tells."""
        return left_out(self._cancel)

    def check(self) -> None:
        """Raises Cancelled when set."""
        if self.is_set():
            raise Cancelled()

    def reason(self) -> SvdUiError:
        """Who set it: somebody, or time."""
        return Cancelled() if self._cancel.is_set() else TookTooLong(seconds=int(self._max_seconds))
