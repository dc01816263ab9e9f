"""The engine in this process: the only place that orders the stages of a clip."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .. import settings_tag
from ..assets import Assets
from ..catalog import PROFILES, CheckpointRow
from ..clip import ClipSpec, shape_after
from ..errors import BadInput, Cancelled, StepRanOut, SvdUiError, WeightsMissing
from ..events import (
    Event,
    Finished,
    Loading,
    MakingStill,
    Result,
    SteppedDown,
    StillMade,
    Writing,
)
from ..hub import TEXT_TO_IMAGE, Hub
from ..hub.selection import Checkpoints
from ..loras import remarks
from ..media.image import fit
from ..media.video import write_poster
from ..notes import Note
from ..post import Frames, PostParams
from ..request import GenerationRequest
from ..settings import Settings
from ..steering.choreography import Choreography, view_of
from ..steering.cutout import standing_out
from . import CancelToken, Device, Estimate, Timed, never
from .error_mapping import forget, mapping
from .estimates import advice, estimate
from .fallback import OomFallback
from .output import POSTER, ClipFiles
from .post_pipeline import PostPipeline
from .progress import Progress, proof_of
from .sampling import Deadline, Generation, StageTimer, decode, denoise, effective, load
from .stages import Stages
from .wall import wall

if TYPE_CHECKING:
    from ..core.devices import Plan
    from ..core.families.svd import Decoder


class LocalEngine:
    """``Engine`` in the calling process; one call at a time. ``stages`` is the seam to the core."""

    def __init__(self, settings: Settings, device: str | None = None, stages: Stages | None = None) -> None:
        self._settings = settings
        self._stages = stages or Stages(settings, device)
        self._hub = Hub(settings)
        self._checkpoints = Checkpoints(settings, self._hub)
        self._assets = Assets.of(settings)

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        limit = Deadline(cancel, self._settings.max_seconds)
        with self._border(limit):
            generation = self._begin(request, limit)
            row, progress = generation.clip.row, Progress(out)
            generation.notes += remarks(self._settings, generation.clip.request.loras, row.id)
            folder = self._hub.require(row)
            generation.source, generation.progress = folder, progress
            image = generation.clip.request.image or (yield from self._make_still(generation))
            still, picture = self._still(generation, image)
            yield Loading(checkpoint=row.id, title=row.title)
            runtime = yield from load(self._stages, generation, folder)
            frame = _framed(generation.clip, still, picture)
            plan = self._choreography(generation.clip, frame, picture)
            generation.notes += plan.notes if plan else ()
            decoder = self._stages.decoder(runtime, still, generation.clip, picture, plan)
            del picture  # the decoder took what it needs
            if generation.clip.request.wall:
                names = yield from wall(self._stages, generation, request, decoder, still, out)
                yield self._finished(generation, request, names)
                return
            latents = yield from denoise(self._stages, generation, decoder, still)
            yield from self._finish(generation, request, decoder, latents, frame, out)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        limit = Deadline(cancel, self._settings.max_seconds)
        with self._border(limit):
            generation = self._begin(request, limit)
            image = yield from self._make_still(generation)
            out.mkdir(parents=True, exist_ok=True)
            write_poster(out / POSTER, np.asarray(self._assets.open(image)))
            yield Finished(result=self._result(generation, poster=POSTER))

    def describe(self) -> Device:
        with mapping("looking at the device"):
            plan = self._stages.plan("auto")
            info = plan.info
            total, free = info.memory()
            return Device(
                kind=info.kind,
                name=info.name,
                id=info.id,
                total_bytes=total,
                free_bytes=free,
                profile=plan.profile.id,
                profile_reason=plan.reasons["profile"],
                attention=plan.attention,
                attention_reason=plan.reasons["attention"],
                dtype=str(plan.dtype).removeprefix("torch."),
                loaded_checkpoint=self._stages.loaded,
                measured=info.measured,
                flops_per_second=plan.flops_per_second,
                threads=plan.threads,
                build_mismatch=self._stages.build_mismatch(),
                place=str(plan.device),
                second=_second(plan),
                others=self._stages.others(),
            )

    def prepare(self, checkpoint: str | None) -> None:
        with mapping("loading the model"):
            if checkpoint is None:
                self._stages.warm_up()
                return
            generation = self._begin(
                GenerationRequest.model_validate({"checkpoint": checkpoint}),
                Deadline(never(), self._settings.max_seconds),
            )
            row = generation.clip.row
            self._stages.load(row, self._hub.require(row), generation.plan)

    def estimate(self, request: GenerationRequest) -> Estimate:
        return estimate(self._settings, self._hub, request, self.describe())

    def expect(self, clips: int) -> None:
        self._stages.waiting = clips

    def benchmark(self) -> list[Timed]:
        with mapping("measuring the device"):
            return self._stages.benchmark()

    def probe(self) -> None:
        """Compute something small. Raises what the device has to say against it, as ours; not that it is full."""
        with mapping("trying the device"):
            self._stages.probe()

    def release(self) -> None:
        self._stages.release()

    def close(self) -> None:
        self._stages.release()

    @contextmanager
    def _border(self, cancel: Deadline) -> Iterator[None]:
        """Errors leave as ours, a late one as TookTooLong, and the device's memory is given back."""
        try:
            with mapping():
                yield
        except Cancelled as error:
            forget(error)  # so that the memory is free when the caller hears of it
            raise cancel.reason() from None
        finally:
            self._stages.free()

    def _begin(self, request: GenerationRequest, cancel: Deadline) -> Generation:
        """Decide checkpoint, plan and every blank of ``request``."""
        row = self._row(request)
        clip = ClipSpec.of(request, row)
        row.check(clip)
        plan = self._stages.plan(request.profile, clip)
        fallback = OomFallback(plan.profile, clip.frames_at_once(plan.profile))
        return Generation(clip, plan, fallback, cancel, StageTimer(), notes=[])

    def _row(self, request: GenerationRequest) -> CheckpointRow:
        info = self._stages.plan(request.profile).info
        device = Device(kind=info.kind, name=info.name, total_bytes=info.memory()[0])
        return self._checkpoints.resolve(request.checkpoint, device)

    def _make_still(self, generation: Generation) -> Generator[Event, None, str]:
        """From the prompt; return the asset that the picture becomes, the request's image from here on."""
        if not (generation.clip.request.prompt or "").strip():
            raise BadInput("Give a picture to animate, or a prompt to make one.", field="image")
        folder = self._hub.text_to_image_path()
        if folder is None:
            name = self._settings.text_to_image
            remedy = f"Download it on the page, or with 'python -m svd_ui models download {TEXT_TO_IMAGE}'."
            raise WeightsMissing(title=name, remedy=remedy, checkpoint=TEXT_TO_IMAGE)
        proof = proof_of(
            {**generation.clip.request.model_dump(mode="json"), "folder": folder, "by": self._stages.versions()}
        )
        kept = self._kept_still(generation, proof)
        if kept is not None:
            yield StillMade(image=kept)
            return kept
        if not _room_for_two(generation.plan):
            self._stages.release()
        yield MakingStill()
        picture: Image.Image | None = None
        with generation.timer("making_still"), mapping("making the picture", self._settings.text_to_image):
            for made in self._stages.still(folder, generation.clip, generation.plan, generation.cancel):
                if isinstance(made, Image.Image):
                    picture = made
                else:
                    yield MakingStill(step=made[0], total=made[1])
        assert picture is not None, "the still maker ends in a picture"
        image = self._assets.keep(picture)
        generation.progress.keep_still(proof, image)
        generation.clip = generation.clip.with_image(image)
        yield StillMade(image=image)
        return image

    def _kept_still(self, generation: Generation, proof: str) -> str | None:
        """The still that an earlier process made for this clip, if it is still here."""
        image = generation.progress.still(proof)
        try:
            if image is not None:
                self._assets.path(image)
                generation.clip = generation.clip.with_image(image)
        except SvdUiError:
            return None
        return image

    def _still(self, generation: Generation, image: str) -> tuple[Image.Image, Image.Image]:
        """The picture at exactly the clip's size, the one crop that the page shows too; and the picture."""
        clip, picture = generation.clip, self._assets.open(image)
        generation.notes += advice(clip, picture.size)
        generation.clip = clip.of_picture(picture.size)
        return fit(picture, clip.width, clip.height, clip.focus_x, clip.focus_y), picture

    def _choreography(self, clip: ClipSpec, frame: Image.Image, picture: Image.Image) -> Choreography | None:
        """What the clip's method plans for ``frame``, which was cut from ``picture``."""
        plan = clip.request.method.choreography(view_of(clip, frame, picture.size, self._assets.open))
        if plan is None or plan.nearness is not None or not plan.moves_in_depth:
            return plan
        with mapping("estimating depth"):
            nearness = self._stages.nearness(frame)
        if nearness is None and not clip.row.facts.plays_plans:
            nearness = standing_out(np.asarray(frame.convert("RGB"))) - np.float32(0.5)  # two layers
        return replace(plan, nearness=nearness)

    def _finish(
        self,
        generation: Generation,
        asked: GenerationRequest,
        decoder: Decoder,
        latents: Any,
        still: Image.Image,
        out: Path,
    ) -> Iterator[Event]:
        """Decode, post steps, files, ``Finished``. A step that runs out of memory costs only itself."""
        steps = generation.clip.request.post
        while True:
            try:
                files = yield from self._write(generation, decoder, latents, still, out, steps)
                yield self._finished(generation, asked, files)
                return
            except StepRanOut as error:
                index, note = error.params["index"], Note.of("step_left_out", name=error.params["name"])
                forget(error)
            steps = (*steps[:index], *steps[index + 1 :])
            generation.notes.append(note)
            self._stages.free()
            yield SteppedDown(stage="post_processing", note=note)

    def _finished(self, generation: Generation, asked: GenerationRequest, files: dict[str, Any]) -> Finished:
        """The last event. From here on the clip is complete, also for whoever finds it after this process."""
        result = self._result(generation, **files)
        generation.progress.keep_result(asked, result)
        return Finished(result=result)

    def _write(
        self,
        generation: Generation,
        decoder: Decoder,
        latents: Any,
        still: Image.Image,
        out: Path,
        steps: tuple[PostParams, ...],
    ) -> Generator[Event, None, dict[str, Any]]:
        """Frames through ``steps`` into the files; return the fields of ``Result`` that tell of them."""
        clip, last = generation.clip, None

        def take(frames: Frames) -> Iterable[Event] | None:
            nonlocal last
            last = frames[-1]
            if pipeline is not None:
                return pipeline.put(frames)
            files.add(frames)
            return None

        fps = shape_after(clip.shape, steps).fps
        with ExitStack() as stack:
            files = stack.enter_context(ClipFiles(out, clip, lambda: self._tag(generation), fps))
            pipeline = None
            if steps:
                about: dict[str, Any] = {"still": still, "latents": latents, "device": str(generation.plan.device)}
                pipeline = stack.enter_context(PostPipeline(steps, clip.shape, files.add, generation.cancel, **about))
            yield from decode(self._stages, generation, decoder, latents, take)
            if pipeline is not None:
                with generation.timer("post_processing"):
                    yield from pipeline.finish()
            yield Writing()
            generation.cancel.check()
            with generation.timer("writing"), mapping("writing the clip"):
                names = files.finish(latents)
                assert last is not None, "a clip has frames"
                kept = self._assets.keep(Image.fromarray(last))
            generation.cancel.check()
            return {**names, "shape": files.shape, "last_frame": kept}

    def _tag(self, generation: Generation) -> str:
        return settings_tag.tag(generation.clip.request, effective(generation), self._stages.versions())

    def _result(self, generation: Generation, **files: Any) -> Result:
        return Result(
            request=generation.clip.request,
            effective=effective(generation),
            image=generation.clip.request.image or "",
            seconds=generation.timer.seconds(),
            versions=self._stages.versions(),
            notes=(*generation.notes, *generation.fallback.notes),
            **files,
        )


def _framed(clip: ClipSpec, still: Image.Image, picture: Image.Image) -> Image.Image:
    """The ``still`` at the size of the frames, for plans and for post steps that look at it."""
    size = clip.frame_size
    if size == still.size:
        return still
    return fit(picture, *size, clip.focus_x, clip.focus_y)


def _second(plan: Plan) -> Device | None:
    if plan.second is None:
        return None
    info = plan.half().info
    total, free = info.memory()
    about = {"kind": info.kind, "name": info.name, "id": info.id, "total_bytes": total, "free_bytes": free}
    return Device(**about, place=str(plan.second))


def _room_for_two(plan: Plan) -> bool:
    """Whether the still's model fits beside a loaded video model."""
    return plan.profile.id == "cpu" or plan.profile.order < PROFILES["12gb"].order
