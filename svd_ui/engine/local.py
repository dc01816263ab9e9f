"""The engine in this process: the only place that orders the stages of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .. import settings_tag
from ..assets import Assets
from ..catalog import PROFILES, CheckpointRow, find_checkpoint
from ..errors import BadInput, Cancelled, WeightsMissing
from ..events import (
    Event,
    Finished,
    Loading,
    MakingStill,
    PostProcessing,
    Result,
    StillMade,
    Writing,
)
from ..hub import TEXT_TO_IMAGE, Hub, choose
from ..media.image import fit
from ..media.video import write_poster
from ..request import GenerationRequest
from ..settings import Settings
from . import CancelToken, Device, Estimate, Timed, never
from .advice import advice
from .clock import Deadline, Stopwatch
from .error_mapping import forget, mapping
from .estimates import estimate
from .oom_fallback import Ladder
from .output import POSTER, ClipFiles, Frames
from .post import apply
from .sampling import Work, decode, denoise, effective, load
from .stages import Stages
from .wall import wall

if TYPE_CHECKING:
    from ..core.devices import Plan
    from ..core.runtime import Runtime


class LocalEngine:
    """``Engine`` in the calling process; one call at a time. ``stages`` is the seam to the core."""

    def __init__(self, settings: Settings, device: str | None = None, stages: Stages | None = None) -> None:
        self._settings = settings
        self._stages = stages or Stages(settings, device)
        self._hub = Hub(settings)
        self._assets = Assets.of(settings)

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        limit = Deadline(cancel, self._settings.max_seconds)
        with self._border(limit):
            work = self._begin(request, limit)
            folder = self._hub.require(work.row)
            if work.request.image is None:
                yield from self._make_still(work)
            still = self._still(work)
            yield Loading(checkpoint=work.row.id, title=work.row.title)
            runtime = yield from load(self._stages, work, folder)
            if work.request.wall:
                names = yield from wall(self._stages, work, request, runtime, still, out)
                yield Finished(result=self._result(work, **names))
                return
            latents = yield from denoise(self._stages, work, runtime, still)
            yield from self._finish(work, runtime, latents, still, out)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        limit = Deadline(cancel, self._settings.max_seconds)
        with self._border(limit):
            work = self._begin(request, limit)
            yield from self._make_still(work)
            assert work.request.image is not None
            out.mkdir(parents=True, exist_ok=True)
            write_poster(out / POSTER, np.asarray(self._assets.open(work.request.image)))
            yield Finished(result=self._result(work, poster=POSTER))

    def describe(self) -> Device:
        with mapping("looking at the device"):
            plan = self._stages.plan("auto")
            info = self._stages.device(plan)
            total, free = info.memory()
            return Device(
                kind=info.kind,
                name=info.name,
                id=self._stages.device_id(plan),
                total_bytes=total,
                free_bytes=free,
                profile=plan.profile.id,
                profile_reason=plan.reasons["profile"],
                attention=plan.attention,
                attention_reason=plan.reasons["attention"],
                dtype=str(plan.dtype).removeprefix("torch."),
                loaded_checkpoint=self._stages.loaded,
                measured=info.measured,
                flops_per_second=self._stages.flops_per_second(plan),
                threads=plan.threads,
            )

    def prepare(self, checkpoint: str | None) -> None:
        with mapping("loading the model"):
            if checkpoint is None:
                self._stages.warm_up()
                return
            work = self._begin(
                GenerationRequest.model_validate({"checkpoint": checkpoint}),
                Deadline(never(), self._settings.max_seconds),
            )
            self._stages.load(work.row, self._hub.require(work.row), work.plan)

    def estimate(self, request: GenerationRequest) -> Estimate:
        return estimate(self._settings, self._hub, request, self.describe())

    def expect(self, clips: int) -> None:
        self._stages.expect(clips)

    def benchmark(self) -> list[Timed]:
        with mapping("measuring the device"):
            return self._stages.benchmark()

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

    def _begin(self, request: GenerationRequest, cancel: Deadline) -> Work:
        """Decide checkpoint, plan and every blank of ``request``."""
        row = self._choose(request.checkpoint, self._stages.plan(request.profile))
        row.check(request)
        request = request.resolved(row.defaults(request.speed)).model_copy(update={"checkpoint": row.id})
        plan = self._stages.plan(request.profile, row, request)
        ladder = Ladder(plan.profile, request.decode_chunk_size, request.num_frames or row.num_frames)
        return Work(request, row, plan, ladder, cancel, Stopwatch(), notes=[])

    def _choose(self, id: str, plan: Plan) -> CheckpointRow:
        if id != "auto":
            return find_checkpoint(self._settings, id)
        info = self._stages.device(plan)
        return choose(self._settings, self._hub, info.kind, info.memory()[0])

    def _make_still(self, work: Work) -> Iterator[Event]:
        """From the prompt; the picture becomes an asset and the request's image."""
        if not (work.request.prompt or "").strip():
            raise BadInput("Give a still to animate, or a prompt to make one from.", field="image")
        folder = self._hub.text_to_image_path()
        if folder is None:
            name = self._settings.text_to_image
            remedy = f"Download it on the page, or with 'python -m svd_ui models download {TEXT_TO_IMAGE}'."
            raise WeightsMissing(title=name, remedy=remedy, checkpoint=TEXT_TO_IMAGE)
        if not _room_for_two(work.plan):
            self._stages.release()
        yield MakingStill()
        picture: Image.Image | None = None
        with work.watch("making_still"), mapping("making the still", self._settings.text_to_image):
            for made in self._stages.still(folder, work.request, work.plan, work.cancel):
                if isinstance(made, Image.Image):
                    picture = made
                else:
                    yield MakingStill(step=made[0], total=made[1])
        assert picture is not None, "the still maker ends in a picture"
        image = self._assets.keep(picture)
        work.request = work.request.model_copy(update={"image": image})
        yield StillMade(image=image)

    def _still(self, work: Work) -> Image.Image:
        """The picture at exactly the clip's size: the one crop that the page shows too."""
        request = work.request
        assert request.image is not None
        assert request.width is not None
        assert request.height is not None
        picture = self._assets.open(request.image)
        work.notes += advice(request, work.row, picture.size)
        return fit(picture, request.width, request.height, request.focus_x, request.focus_y)

    def _finish(self, work: Work, runtime: Runtime, latents: Any, still: Image.Image, out: Path) -> Iterator[Event]:
        """Decode, post steps, files, ``Finished``."""
        request = work.request
        with ClipFiles(out, request, comment=lambda: self._tag(work)) as files:
            waiting: list[Frames] = []
            take = waiting.append if request.post else files.add
            yield from decode(self._stages, work, runtime, latents, still, take)
            if request.post:
                clip = np.concatenate(waiting)
                for done, step in enumerate(request.post):
                    work.cancel.check()
                    yield PostProcessing(step=step.kind, done=done, total=len(request.post))
                    with work.watch("post_processing"), mapping(step.kind):
                        clip = apply(clip, step)
                files.add(clip)
            yield Writing()
            work.cancel.check()
            with work.watch("writing"), mapping("writing the clip"):
                names = files.finish(latents)
                assert files.last is not None
                last = self._assets.keep(files.last)
            work.cancel.check()
        yield Finished(result=self._result(work, last_frame=last, **names))

    def _tag(self, work: Work) -> str:
        return settings_tag.tag(work.request, effective(self._stages, work), self._stages.versions())

    def _result(self, work: Work, **files: Any) -> Result:
        return Result(
            request=work.request,
            effective=effective(self._stages, work),
            image=work.request.image or "",
            seconds=work.watch.seconds(),
            versions=self._stages.versions(),
            notes=(*work.notes, *work.ladder.notes),
            **files,
        )


def _room_for_two(plan: Plan) -> bool:
    """Whether the still's model fits beside a loaded video model."""
    return plan.profile.id == "cpu" or plan.profile.order < PROFILES["12gb"].order
