"""Fakes at the protocols, for tests that need work done without a model."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from svd_ui import settings_tag
from svd_ui.assets import Assets
from svd_ui.engine import CancelToken, Device, Estimate, Timed
from svd_ui.errors import Cancelled
from svd_ui.events import (
    Decoding,
    Denoising,
    Effective,
    Encoding,
    Event,
    Finished,
    Loading,
    MakingStill,
    Preview,
    Result,
    SteppedDown,
    StillMade,
    Tile,
    Writing,
)
from svd_ui.media.sheet import Sheet
from svd_ui.media.video import Mp4Writer
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

DEFAULTS = {
    "num_frames": 6,
    "width": 64,
    "height": 64,
    "num_inference_steps": 5,
    "min_guidance_scale": 1.0,
    "max_guidance_scale": 2.0,
    "fps": 7,
}
EFFECTIVE = Effective(profile="cpu", decode_chunk_size=2, attention="sdpa", dtype="float32", device="fake")
VERSIONS = {"svd_ui": "test"}


class FakeEngine:
    """An ``Engine`` that says what a real one says and writes small real files, also those of a wall.

    ``steps`` denoising steps of ``delay`` seconds each (a request's own ``num_inference_steps`` wins if given);
    ``fail`` is raised instead of the last step; ``note`` makes it step down once; ``gate`` holds every job
    before its first step until it is set. With ``settings``, pictures are kept as real assets, so that
    posters, stills and "use last frame" work; without, their names are made up. ``calls``, ``released``, ``prepared`` and
    ``closed`` tell what was asked of it.
    """

    def __init__(
        self,
        steps: int = 5,
        delay: float = 0.02,
        fail: BaseException | None = None,
        *,
        settings: Settings | None = None,
        note: Note | None = None,
        gate: threading.Event | None = None,
        device: Device | None = None,
    ) -> None:
        self.steps, self.delay, self.fail, self.settings, self.note, self.gate = (
            steps,
            delay,
            fail,
            settings,
            note,
            gate,
        )
        self.device = device or Device(kind="cpu", name="Fake device", profile="cpu", profile_reason=Note.of("no_gpu"))
        self.calls: list[GenerationRequest] = []
        self.prepared: list[str] = []
        self.released = 0
        self.expected = 0
        self.closed = False

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        asked, request = request, request.resolved({**DEFAULTS, "num_inference_steps": self.steps})
        self.calls.append(request)
        yield Loading(checkpoint=request.checkpoint, title="Fake")
        if request.image is None:
            for event in self._still(request, cancel):
                yield event
                if isinstance(event, StillMade):
                    request = request.model_copy(update={"image": event.image})
        yield Encoding()
        total = (request.num_inference_steps or self.steps) * len(_pairs(request))
        for step in range(1, total + 1):
            self._wait(cancel)
            if self.fail is not None and step == total:
                raise self.fail
            yield Denoising(step=step, total=total, preview=glimpse(request, step / total), seconds=self.delay)
        if self.note:
            yield SteppedDown(stage="decoding", note=self.note)
        frames = (request.num_frames or 6) * len(_pairs(request))
        for done in range(2, frames + 1, 2):
            yield Decoding(done=done, total=frames)
        yield Writing()
        yield Finished(result=self._write_wall(asked, request, out) if request.wall else self._write(request, out))

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        request = request.resolved(DEFAULTS)
        self.calls.append(request)
        image = request.image
        for event in self._still(request, cancel):
            yield event
            if isinstance(event, StillMade):
                image = event.image
        assert image is not None
        out.mkdir(parents=True, exist_ok=True)
        picture(0.0, request).save(out / "poster.jpg")
        done = request.model_copy(update={"image": image})
        yield Finished(result=Result(request=done, image=image, poster="poster.jpg", versions=VERSIONS))

    def describe(self) -> Device:
        return self.device

    def prepare(self, checkpoint: str) -> None:
        self.prepared.append(checkpoint)
        self.device = self.device.model_copy(update={"loaded_checkpoint": checkpoint})

    def estimate(self, request: GenerationRequest) -> Estimate:
        return Estimate(seconds=self.steps * self.delay, peak_bytes=1_000_000, fits=True)

    def expect(self, clips: int) -> None:
        self.expected = clips

    def benchmark(self) -> list[Timed]:
        return [Timed(what="attention", shape="fake", choice="sdpa", milliseconds=1.0, chosen=True)]

    def release(self) -> None:
        self.released += 1
        self.device = self.device.model_copy(update={"loaded_checkpoint": None})

    def close(self) -> None:
        self.closed = True

    def _wait(self, cancel: CancelToken) -> None:
        """One step's time, in small naps, until cancelled."""
        while self.gate is not None and not self.gate.wait(0.01) and not cancel.is_set():
            pass
        end = time.monotonic() + self.delay
        while not cancel.is_set() and time.monotonic() < end:
            time.sleep(min(0.01, max(0.0, end - time.monotonic())))
        if cancel.is_set():
            raise Cancelled()

    def _still(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[Event]:
        for step in range(3):
            self._wait(cancel)
            yield MakingStill(step=step, total=2)
        yield StillMade(image=self._keep(picture(0.0, request), request.prompt or ""))

    def _keep(self, image: Image.Image, name: str) -> str:
        if self.settings is None:
            return "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        return Assets.of(self.settings).keep(image)

    def _write(self, request: GenerationRequest, out: Path) -> Result:
        out.mkdir(parents=True, exist_ok=True)
        count = request.num_frames or 6
        pictures = [picture(i / count, request) for i in range(count)]
        _write_clip(out / "clip.mp4", pictures, request)
        pictures[0].save(out / "poster.jpg")
        return Result(
            request=request,
            effective=EFFECTIVE,
            image=request.image or self._keep(pictures[0], request.prompt or ""),
            video="clip.mp4",
            poster="poster.jpg",
            last_frame=self._keep(pictures[-1], "last"),
            seconds={"denoising": self.steps * self.delay},
            versions=VERSIONS,
        )

    def _write_wall(self, asked: GenerationRequest, request: GenerationRequest, out: Path) -> Result:
        """As ``_write``; the square of each tile starts elsewhere, so that tiles can be told apart."""
        out.mkdir(parents=True, exist_ok=True)
        pairs, count, tiles = _pairs(request), request.num_frames or 6, []
        for index, (seed, motion) in enumerate(pairs):
            phases = [(index / len(pairs) + i / count) % 1 for i in range(count)]
            tiles.append(Tile(seed=seed, motion_bucket_id=motion, video=f"tile-{index:02}.mp4"))
            tile = asked.tile(seed, motion).model_copy(update={"image": request.image})
            _write_clip(out / tiles[-1].video, [picture(phase, request) for phase in phases], tile)
        _sheet(request).write(out / "poster.jpg")
        return Result(
            request=request,
            effective=EFFECTIVE,
            image=request.image or self._keep(picture(0.0, request), request.prompt or ""),
            poster="poster.jpg",
            tiles=tuple(tiles),
            seconds={"denoising": self.steps * self.delay * len(pairs)},
            versions=VERSIONS,
            notes=(Note.of("wall_drafts"),),
        )


class After(threading.Event):
    """A token that is never set, and calls ``act`` when it is looked at for the so-manieth time: who waits for a lock
    looks ten times a second, who waits for a replica four times."""

    def __init__(self, looks: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._act = looks, act

    def is_set(self) -> bool:
        self._left -= 1
        if not self._left:
            self._act()
        return False


def _pairs(request: GenerationRequest) -> tuple[tuple[int, int], ...]:
    """(seed, motion) of everything that is made at once."""
    own = ((request.seed or 0, request.motion_bucket_id),)
    return request.wall.pairs(request.seed or 0) if request.wall else own


def _sheet(request: GenerationRequest) -> Sheet:
    """The contact sheet of a finished wall."""
    assert request.wall is not None
    pairs, columns = _pairs(request), len(request.wall.motion_bucket_ids)
    captions = [f"seed {seed}, motion {motion}" for seed, motion in pairs]
    sheet = Sheet(captions, columns, request.width or 64, request.height or 64)
    for index in range(len(pairs)):
        sheet.put(index, picture(index / len(pairs), request))
    return sheet


def _write_clip(path: Path, pictures: list[Image.Image], request: GenerationRequest) -> None:
    frames = np.stack([np.asarray(image) for image in pictures])
    height, width = frames.shape[1:3]
    comment = settings_tag.tag(request, EFFECTIVE, VERSIONS)
    with Mp4Writer(path, width, height, request.output_fps or 7, comment=comment) as writer:
        writer.add(frames)


NOTHING = b"\x02\0\0\0\0\0\0\0{}"
"""The smallest safetensors file: whole, and without a tensor."""


def fake_checkpoint(folder: Path, num_frames: int = 6) -> Path:
    """A diffusers folder that looks complete, for what never loads it."""
    for part, name in {
        "unet": "diffusion_pytorch_model",
        "vae": "diffusion_pytorch_model",
        "image_encoder": "model",
    }.items():
        (folder / part).mkdir(parents=True)
        (folder / part / f"{name}.safetensors").write_bytes(NOTHING)
    (folder / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}', "utf-8")
    config = {"num_frames": num_frames, "out_channels": 4}
    (folder / "unet" / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def picture(phase: float, request: GenerationRequest | None = None) -> Image.Image:
    """A small picture whose colours and square depend on ``phase`` (0..1)."""
    width = (request.width if request else None) or 64
    height = (request.height if request else None) or 64
    image = Image.new("RGB", (width, height), (40, 90, 200))
    side = max(8, min(width, height) // 4)
    left = int(phase * (width - side))
    image.paste((240, 200, 60), (left, height // 3, left + side, height // 3 + side))
    return image


def glimpse(request: GenerationRequest, done: float) -> Preview:
    """A preview as an engine sends it: four frames whose square moves on, or a wall whose tiles fill up."""
    side = 64
    down, across = (request.wall.seeds, len(request.wall.motion_bucket_ids)) if request.wall else (4, 1)
    sheet = Image.new("RGB", (side * across, side * down), (190, 200, 210))
    for index in range(round(done * down * across) if request.wall else down):
        shown = picture(index / (down * across)).resize((side, side))
        sheet.paste(shown, (index % across * side, index // across * side))
    data = io.BytesIO()
    sheet.save(data, "JPEG")
    return Preview(jpeg=data.getvalue(), frames=1 if request.wall else down)
