"""How a stage goes on when the device fails it: smaller where memory ran out, in a wider number format where numbers overflowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ..catalog import ProfileRow, smaller_profile
from ..clip import ClipSpec
from ..errors import NotFinite
from ..events import SteppedDown
from ..notes import Note, sentence
from .error_mapping import forget, mapped, out_of_memory, ran_out
from .estimates import CHUNKS
from .stages import Stages

if TYPE_CHECKING:
    from ..core.runtime import Runtime
    from .sampling import Generation

DeviceStage = Literal["loading", "conditioning", "denoising", "decoding"]


def recover(
    stages: Stages,
    generation: Generation,
    runtime: Runtime,
    error: Exception,
    stage: DeviceStage,
    step_down: Callable[[], Note | None] | None = None,
) -> SteppedDown:
    """Make ``stage`` possible after ``error``, and say how. Raises ``error``, as ours, where there is no way left."""
    if isinstance(error, NotFinite) and stage != "decoding":
        return SteppedDown(stage=stage, note=_widen(stages, generation, runtime, stage, error))
    if _failed_on_second(runtime, error):
        step_down = partial(generation.fallback.alone, str(generation.plan.second))
    note = next_fallback(error, step_down or partial(generation.fallback.down, stage), stage, generation.clip)
    if generation.plan.second is not None and note.code == "second_ran_out":
        runtime.drop_second()
        generation.plan = replace(generation.plan, second=None)
    stages.free()
    if generation.fallback.profile.id != runtime.profile.id:
        runtime.use_profile(generation.fallback.profile)
        _mind_second(generation, runtime)
    return SteppedDown(stage=stage, note=note)


def _mind_second(generation: Generation, runtime: Runtime) -> None:
    """A smaller profile may have no use for the second device: the clip says so."""
    device = generation.plan.second
    if device is not None and runtime.second is None:
        generation.fallback.add(Note.of("second_streams", device=str(device)))
        generation.plan = replace(generation.plan, second=None)


def _failed_on_second(runtime: Runtime, error: Exception) -> bool:
    """Whether ``error`` comes from the other half of guidance."""
    second = getattr(runtime, "second", None)
    return second is not None and second.failure is error


def next_fallback(
    error: Exception, step_down: Callable[[], Note | None], stage: DeviceStage, clip: ClipSpec | None = None
) -> Note:
    """The note of a smaller way to go on. Raises ``error``, as ours, if memory is not the trouble or no way is left."""
    doing = sentence(_DOING[stage])
    if isinstance(error, NotFinite) and clip is not None:
        raise _overflow(error, clip) from error
    if not out_of_memory(error):
        raise mapped(error, doing) from error
    note, ours = step_down(), ran_out(error, doing)
    forget(error)
    if note is None:
        raise ours from None
    return note


def _widen(stages: Stages, generation: Generation, runtime: Runtime, stage: DeviceStage, error: NotFinite) -> Note:
    """The model in the next wider number format, under the first profile that it fits in then."""
    plan, narrow = runtime.plan.widened(generation.clip), generation.dtype
    forget(error)
    if plan is None:
        raise _overflow(error, generation.clip) from None
    generation.fallback.take(plan.profile)
    while True:
        stages.free()
        try:
            runtime.widen(plan)
            break
        except Exception as failure:
            next_fallback(failure, partial(generation.fallback.down, stage), stage)
        plan = plan.step_down(generation.fallback.profile)
    generation.plan = plan
    _mind_second(generation, runtime)
    generation.overflowed.append(narrow)
    wide = generation.dtype
    return generation.fallback.add(Note.of("wider_format", doing=_DOING[stage], narrow=narrow, format=wide))


def _overflow(error: NotFinite, clip: ClipSpec) -> NotFinite:
    """``error`` with what is likely to have caused it, the likeliest first."""
    likely = []
    if clip.request.loras:
        names = ", ".join(one.name for one in clip.request.loras)
        likely.append(f"Lower the weight of the LoRAs ({names}) or remove them: a LoRA that is too strong does this.")
    if clip.max_guidance_scale > MUCH_GUIDANCE:
        likely.append(f"Lower the guidance: {clip.max_guidance_scale:g} is high.")
    files = "he files of the checkpoint may be damaged: remove it and download it again."
    likely.append(f"Otherwise t{files}" if likely else f"T{files}")
    return NotFinite(doing=error.params["doing"], remedy=" ".join(likely))


MUCH_GUIDANCE = 6.0


_DOING = {
    "loading": Note.of("loading_model"),
    "conditioning": Note.of("reading_still"),
    "denoising": Note.of("denoising"),
    "decoding": Note.of("decoding"),
}


class OomFallback:
    """The profile and decode chunk of one clip; they only ever get smaller. ``notes`` tell how."""

    def __init__(self, profile: ProfileRow, chunk: int) -> None:
        self.profile, self.chunk = profile, chunk
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
        self.take(below)
        return self.add(Note.of("smaller_profile", doing=_DOING[stage], profile=below.id))

    def alone(self, device: str) -> Note:
        """Go on without the second ``device``, in the same profile: it was chosen for one."""
        return self.add(Note.of("second_ran_out", device=device))

    def take(self, profile: ProfileRow) -> None:
        """``profile`` from now on, and no more frames at once than it has where it is a smaller one."""
        if profile.id != self.profile.id:
            self.chunk = min(self.chunk, profile.decode_chunk_size)
        self.profile = profile

    def add(self, note: Note) -> Note:
        """``note``, kept."""
        self.notes.append(note)
        return note
