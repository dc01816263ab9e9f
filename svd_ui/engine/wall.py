"""The stages of a draft wall: all tiles are denoised, several at once where memory allows, then each is decoded."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import settings_tag
from ..catalog import PROFILES, ProfileRow
from ..catalog.costs import peak_bytes
from ..catalog.profiles import room
from ..clip import ClipSpec
from ..errors import Cancelled
from ..events import Decoding, Denoising, Event, Preview, WentOn, Writing
from ..notes import Note
from ..post import Frames
from ..request import GenerationRequest
from .error_mapping import mapping
from .fallback import recover
from .output import TileFiles
from .progress import Progress, proof_of
from .sampling import Generation, computes_all_next, condition, decode, effective, proof_of_walk
from .stages import Stages

if TYPE_CHECKING:
    from ..core.families.svd import Decoder
    from ..core.wall import Batch


def wall(
    stages: Stages, generation: Generation, asked: GenerationRequest, decoder: Decoder, still: Image.Image, out: Path
) -> Generator[Event, None, dict[str, Any]]:
    """Return the fields of ``Result`` that name the files, all written into ``out``.

    A tile's file carries the settings as they were ``asked`` for, so that opening it and choosing another speed
    gives the clip in full.
    """
    clip, request = generation.clip, generation.clip.request
    if request.speed != "exact":
        generation.notes.append(Note.of("wall_drafts"))
    if request.output_format != "mp4":
        generation.notes.append(Note.of("wall_format"))
    latents = yield from _Denoising(stages, generation, decoder, still).run()
    if not latents:
        raise Cancelled()
    same = {"image": request.image, "checkpoint": request.checkpoint}

    def tag(seed: int, motion: int) -> str:
        tile = asked.tile(seed, motion).model_copy(update=same)
        return settings_tag.tag(tile, effective(generation), stages.versions())

    with TileFiles(out, clip, tag) as files:
        yield from _decode(stages, generation, decoder, latents, files.add)
        yield Writing()
        generation.cancel.check()
        with generation.timer("writing"), mapping("writing the wall"):
            return files.finish()


UNDER_WAY = "tiles"
"""The name of what is kept of the tiles that are not finished."""
TILE_SIDE = 128
"""Pixels of a tile's longer side in the preview of a wall."""


class _Denoising:
    """The tiles on their way. ``limit`` is how many share a call of the U-Net; it only ever gets smaller."""

    def __init__(self, stages: Stages, generation: Generation, decoder: Decoder, still: Image.Image) -> None:
        self._stages, self._generation, self._decoder, self._still = stages, generation, decoder, still
        info = generation.plan.info
        self._limit = max_tiles_per_call(generation.clip, decoder.runtime.profile, info.kind, info.memory()[0])
        self._left: list[Batch] = []
        self._steps_done = 0
        self._glimpses = _Glimpses(generation.clip, stages, still)

    def run(self) -> Generator[Event, None, dict[int, Any]]:
        """Yield each step; return the final latents ``[1 F C h w]`` of every tile by its place, in order.

        After an OOM half as many tiles go on together from their last step, then one by one down the ladder.
        """
        stages, generation = self._stages, self._generation
        whole = partial(stages.whole_wall, self._decoder.runtime, self._still, generation.clip)
        everything = yield from condition(stages, generation, self._decoder.runtime, whole)
        first = everything.without(self._gone)
        self._left = [] if first is None else [first]
        done: dict[int, Any] = yield from self._kept()
        generation.progress.begin()
        while (batch := self._next()) is not None:
            batch = yield from self._resumed(batch)
            try:
                with generation.timer("denoising"):
                    started, proof = time.perf_counter(), self._proof(batch)
                    steps = stages.sample_batch(self._decoder, batch, generation.clip, generation.cancel)
                    with closing(steps):
                        for later in steps:
                            stages.check_finite(*later.latents())
                            batch = later
                            self._keep_step(batch, proof)
                            stages.remember_overflow(generation)
                            yield self._step(batch, started)
                            if not self._gone.isdisjoint(batch.places):
                                break
                            started = time.perf_counter()
                if not self._gone.isdisjoint(batch.places):
                    self._left.insert(0, batch)
                    continue
                done |= zip(batch.places, batch.latents(), strict=True)
                self._keep(batch)
            except Exception as error:
                self._left.insert(0, batch)
                yield recover(stages, generation, self._decoder.runtime, error, "denoising", self._smaller)
        return {place: done[place] for place in sorted(done)}

    @property
    def _gone(self) -> frozenset[int]:
        """The tiles that are not made, or not any more."""
        return self._generation.clip.without | self._generation.cancel.left_out()

    def _keep_step(self, batch: Batch, proof: str) -> None:
        """Where the tiles under way are, in one file."""
        assert batch.last is not None, "a batch has steps"
        if self._generation.progress.keeps and computes_all_next(self._generation.clip, batch.last):
            self._generation.progress.keep_step(proof, batch.last, name=UNDER_WAY)

    def _resumed(self, batch: Batch) -> Generator[Event, None, Batch]:
        """``batch`` where an earlier process came to with these very tiles together."""
        found = None
        if batch.last is None:
            found = self._generation.progress.step(self._proof(batch), self._decoder.runtime.device, UNDER_WAY)
        if found is None or found[0].index >= found[0].total:
            return batch
        batch = replace(batch, last=found[0])
        self._steps_done += batch.steps_done
        total = self._steps_done + sum(self._steps_left(one) for one in (batch, *self._left))
        note = Note.of("went_on", step=self._steps_done, total=total)
        self._generation.notes.append(note)
        self._glimpses.after(batch)
        yield WentOn(stage="denoising", step=self._steps_done, total=total, note=note)
        return batch

    def _proof(self, batch: Batch) -> str:
        return proof_of({"walk": proof_of_walk(self._stages, self._generation), "tiles": batch.places})

    def _keep(self, batch: Batch) -> None:
        """The tiles of ``batch`` are finished."""
        assert batch.last is not None, "a batch has steps"
        proof, progress = proof_of_walk(self._stages, self._generation), self._generation.progress
        for place, latents in zip(batch.places, batch.latents(), strict=True):
            progress.keep_step(proof, replace(batch.last, latents=latents), name=f"tile-{place:02}", now=True)

    def _kept(self) -> Generator[Event, None, dict[int, Any]]:
        """The finished tiles that an earlier process kept, from the first one on; what is left begins after them."""
        proof, device = proof_of_walk(self._stages, self._generation), self._decoder.runtime.device
        done: dict[int, Any] = {}
        while self._left and (found := self._generation.progress.step(proof, device, self._name_of_next())):
            first, rest = self._left[0].split(1)
            done[first.places[0]] = found[0].latents
            self._glimpses.after(replace(first, last=found[0]))
            self._left = [rest] if len(rest) else []
            self._steps_done += found[0].total
        if done:
            note = Note.of("went_on_tiles", count=len(done), total=self._generation.clip.tiles)
            self._generation.notes.append(note)
            steps = self._steps_done + sum(self._steps_left(one) for one in self._left)
            yield WentOn(stage="denoising", step=self._steps_done, total=steps, note=note)
        return done

    def _name_of_next(self) -> str:
        return f"tile-{self._left[0].places[0]:02}"

    def _next(self) -> Batch | None:
        """The next tiles, no more than the limit; None when there are none."""
        self._left = [one for batch in self._left if (one := batch.without(self._gone)) is not None]
        if not self._left:
            return None
        batch = self._left.pop(0)
        if len(batch) > self._limit:
            batch, rest = batch.split(self._limit)
            self._left.insert(0, rest)
        return batch

    def _step(self, batch: Batch, started: float) -> Denoising:
        self._steps_done += 1
        total = self._steps_done + sum(self._steps_left(one) for one in (batch, *self._left))
        preview = self._glimpses.after(batch)
        seconds = round(time.perf_counter() - started, 4)
        return Denoising(step=self._steps_done, total=total, preview=preview, seconds=seconds)

    def _steps_left(self, batch: Batch) -> int:
        """Calls that ``batch`` still needs when no more than the limit go together."""
        return -(-len(batch) // self._limit) * (self._generation.clip.num_inference_steps - batch.steps_done)

    def _smaller(self) -> Note | None:
        """Half as many at once, then the next profile. None at the foot of the ladder."""
        fallback = self._generation.fallback
        if self._limit == 1:
            return fallback.down("denoising")
        self._limit //= 2
        return fallback.add(Note.of("fewer_tiles", count=self._limit))


class _Glimpses:
    """The wall as it forms: every tile as its last step left it, the still where there was none."""

    def __init__(self, clip: ClipSpec, stages: Stages, still: Image.Image) -> None:
        self._stages, self._clip = stages, clip
        self._columns = clip.columns
        scale = TILE_SIDE / max(clip.width, clip.height)
        self._size = max(1, round(clip.width * scale)), max(1, round(clip.height * scale))
        width, height = self._size
        places = len(clip.pairs)
        self._picture = Image.new("RGB", (width * self._columns, height * (places // self._columns)))
        for place in range(places):
            self._put(place, still)

    def after(self, batch: Batch) -> Preview | None:
        """With the tiles of ``batch`` brought up to date; None for a checkpoint without previews."""
        for place, denoised in zip(batch.places, batch.denoised(), strict=True):
            picture = self._stages.preview_frame(self._clip.row, denoised)
            if picture is None:
                return None
            self._put(place, picture)
        buffer = io.BytesIO()
        self._picture.save(buffer, "JPEG", quality=80)
        return Preview(jpeg=buffer.getvalue())

    def _put(self, place: int, picture: Image.Image) -> None:
        row, column = divmod(place, self._columns)
        width, height = self._size
        self._picture.paste(picture.resize(self._size, Image.Resampling.BILINEAR), (column * width, row * height))


def _decode(
    stages: Stages,
    generation: Generation,
    decoder: Decoder,
    latents: dict[int, Any],
    take: Callable[[int, list[Frames]], None],
) -> Iterator[Event]:
    """Each tile whole; frames are counted over the wall."""
    frames = generation.clip.shape.num_frames
    alone = replace(generation, progress=Progress())  # small frames are decoded again sooner than sorted by tile
    for index, (place, one) in enumerate(latents.items()):
        if place in generation.cancel.left_out():
            continue
        chunks: list[Frames] = []
        for event in decode(stages, alone, decoder, one, chunks.append):
            if isinstance(event, Decoding):
                event = Decoding(done=index * frames + event.done, total=len(latents) * frames)
            yield event
        generation.cancel.check()
        with generation.timer("writing"), mapping("writing the wall"):
            take(place, chunks)


MOST = 8


def max_tiles_per_call(clip: ClipSpec, profile: ProfileRow, kind: str, total_bytes: int | None) -> int:
    """1 to ``MOST`` tiles of a wall on a device of ``kind`` with ``total_bytes``.

    1 on a CPU, which one keeps as busy as several (nano, four tiles of two steps on one core: 3.8, 3.8 and 3.9 s of
    its time for one, two and four at once), and where the need or the memory is not known. A profile meant
    for a smaller device than this one is held to that device's memory.
    """
    nominal = min((one.min_bytes for one in PROFILES.values() if one.order < profile.order), default=total_bytes)
    space = room(kind, None if total_bytes is None or nominal is None else min(total_bytes, nominal))
    if kind == "cpu" or space is None or clip.request.method.in_parts:
        return 1
    most = min(MOST, clip.tiles)
    return next((count for count in range(most, 1, -1) if _fits(clip, profile, count, space)), 1)


def _fits(clip: ClipSpec, profile: ProfileRow, count: int, space: int) -> bool:
    """Activations grow with the tiles as they do with the frames; the weights are there once."""
    needed = peak_bytes(replace(clip, num_frames=clip.num_frames * count), profile)
    return needed is not None and needed <= space
