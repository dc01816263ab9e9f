"""The engine from request to playable files, on a real pipeline made tiny."""

from __future__ import annotations

import errno
import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from svd_ui import settings_tag
from svd_ui.assets import Assets
from svd_ui.engine import Engine, never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.errors import BadInput, Cancelled, DiskFull, NotFound, OutOfMemory, TookTooLong, Unexpected, WeightsMissing
from svd_ui.events import Denoising, Event, Finished, Preview, Result, SteppedDown, StillMade
from svd_ui.media.video import read_comment, read_frames
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings


@pytest.fixture
def here(settings: Settings, tiny: Path) -> Settings:
    return settings.model_copy(update={"checkpoint_dirs": str(tiny)})


def ask(image: str | None, **values: Any) -> GenerationRequest:
    return GenerationRequest(image=image, checkpoint="local:tiny", **{"seed": 7, **values})


def result_of(events: list[Event]) -> Result:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


class Trouble(Stages):
    """The core, with a device that runs out of memory at chosen moments.

    ``too_large``: profiles that the model does not fit in. ``denoise_at``: steps that fail once. ``decode_over``: chunks
    larger than this fail, always; ``decode_late``: the second chunk fails, once. ``condition_at``: profiles under which
    the still cannot be encoded, found out when half of it is done.
    """

    def __init__(
        self,
        settings: Settings,
        denoise_at: set[int] | None = None,
        decode_over: int | None = None,
        too_large: str = "",
        decode_late: bool = False,
        condition_at: str = "",
    ) -> None:
        super().__init__(settings, "cpu")
        self.condition_at = condition_at
        self.denoise_at, self.decode_over, self.too_large = set(denoise_at or ()), decode_over, too_large
        self.decode_late = decode_late
        self.chunks: list[int] = []

    def load(self, row: Any, folder: Path, plan: Any) -> Any:
        if plan.profile.id in self.too_large:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().load(row, folder, plan)

    def condition(self, runtime: Any, still: Any, clip: Any) -> Any:
        made = super().condition(runtime, still, clip)
        if runtime.profile.id in self.condition_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made

    def sample(self, *args: Any) -> Iterator[Any]:
        for step in super().sample(*args):
            if step.index in self.denoise_at:
                self.denoise_at.remove(step.index)
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            yield step

    def decode(self, decoder: Any, latents: Any, chunk: int, cancel: Any, start: int) -> Iterator[Any]:
        for frames in super().decode(decoder, latents, chunk, cancel, start):
            self.chunks.append(chunk)
            if self.decode_over is not None and chunk > self.decode_over:
                raise RuntimeError("CUDA error: out of memory")
            yield frames
            if self.decode_late:
                self.decode_late = False
                raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_still_becomes_a_clip_with_everything_beside_it(here: Settings, image: str, tmp_path: Path) -> None:
    engine = LocalEngine(here)
    assert isinstance(engine, Engine)
    events = list(engine.generate(ask(image, output_fps=5), tmp_path / "out", never()))
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["loading", "conditioning", "denoising", "decoding", "writing", "finished"]
    steps = [event for event in events if isinstance(event, Denoising)]
    assert [(step.step, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(step.preview and step.preview.jpeg.startswith(b"\xff\xd8") and step.seconds for step in steps)

    result = result_of(events)
    out = tmp_path / "out"
    assert result.video is not None
    assert read_frames(out / result.video).shape == (4, 64, 64, 3)
    assert Image.open(out / str(result.poster)).size == (64, 64)
    assert load_file(out / str(result.latents))["latents"].shape == (1, 4, 4, 8, 8)
    assert Assets.of(here).open(str(result.last_frame)).size == (64, 64)
    assert {path.name for path in out.iterdir()} == {"clip.mp4", "latents.safetensors", "poster.jpg", "kept"}
    assert [path.name for path in (out / "kept").iterdir()] == ["result.json"]  # until its job is recorded
    assert {"loading", "conditioning", "denoising", "decoding", "writing", "total"} <= set(result.seconds)
    assert {"svd_ui", "torch", "diffusers", "python"} <= set(result.versions)
    assert result.effective is not None
    assert (result.effective.profile, result.effective.dtype in {"float32", "bfloat16"}) == ("cpu", True)

    found = settings_tag.parse(read_comment(out / result.video) or "")
    assert found.request == result.request
    assert found.request.checkpoint == "local:tiny"
    assert found.request.num_frames == 4
    assert str(tmp_path) not in (read_comment(out / result.video) or "")


def test_the_same_request_gives_the_same_clip(here: Settings, image: str, tmp_path: Path) -> None:
    def latents(engine: LocalEngine, name: str, seed: int) -> bytes:
        result = result_of(list(engine.generate(ask(image, seed=seed), tmp_path / name, never())))
        return (tmp_path / name / str(result.latents)).read_bytes()

    engine = LocalEngine(here)
    first, again, other = latents(engine, "a", 7), latents(engine, "b", 7), latents(engine, "c", 8)
    engine.release()
    assert first == again == latents(engine, "d", 7)
    assert first != other


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [("png", "frames", "frames.zip"), ("gif", "animation", "clip.gif"), ("webp", "animation", "clip.webp")],
)
def test_other_formats_come_beside_the_mp4(
    here: Settings, image: str, tmp_path: Path, kind: str, field: str, name: str
) -> None:
    request = ask(image, output_format=kind, num_inference_steps=1)
    result = result_of(list(LocalEngine(here).generate(request, tmp_path / "out", never())))
    assert getattr(result, field) == name
    assert result.video == "clip.mp4"
    assert settings_tag.open_settings(tmp_path / "out" / name).request == result.request


def test_release_leaves_nothing_of_the_model(here: Settings, image: str, tmp_path: Path) -> None:
    engine = LocalEngine(here)
    kept: list[weakref.ref[Any]] = []

    class Watched(Stages):
        def load(self, *args: Any) -> Any:
            runtime = super().load(*args)
            kept.append(weakref.ref(runtime))
            kept.extend(weakref.ref(p) for p in runtime.unet.parameters())
            return runtime

    engine = LocalEngine(here, stages=Watched(here, "cpu"))
    list(engine.generate(ask(image, num_inference_steps=1), tmp_path / "out", never()))
    assert engine.describe().loaded_checkpoint == "local:tiny"
    engine.release()
    gc.collect()
    assert kept
    assert not [ref for ref in kept if ref() is not None]
    assert engine.describe().loaded_checkpoint is None


# What is kept between clips.


def test_a_second_request_on_a_warm_process_loads_and_moves_nothing(
    here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed, motion, size, length, speed or an explicit profile: the weights that are there serve."""
    from svd_ui.core import loading, offload

    loads: list[str] = []
    moves: list[str] = []
    load_module, place, move = loading.load_module, offload.Placement.__init__, torch.nn.Module.to

    def counted_load(folder: Path, component: str, *args: Any) -> Any:
        loads.append(component)
        return load_module(folder, component, *args)

    def counted_place(self: Any, *args: Any) -> None:
        moves.append("placement")
        place(self, *args)

    def counted_move(self: Any, *args: Any, **kwargs: Any) -> Any:
        moves.append(type(self).__name__)
        return move(self, *args, **kwargs)

    monkeypatch.setattr(loading, "load_module", counted_load)
    monkeypatch.setattr(offload.Placement, "__init__", counted_place)
    engine = LocalEngine(here, "cpu")

    def run(name: str, **values: Any) -> Result:
        values = {"num_inference_steps": 1, **values}
        return result_of(list(engine.generate(ask(image, **values), tmp_path / name, never())))

    run("first")
    assert sorted(loads) == ["image_encoder", "unet", "vae"]
    assert moves == ["placement"]
    loads.clear()
    moves.clear()
    monkeypatch.setattr(torch.nn.Module, "to", counted_move)
    weights = {id(tensor): tensor.data_ptr() for tensor in _weights(engine)}
    run("second", seed=8, motion_bucket_id=40, width=128)
    run("third", speed="draft", num_frames=6, num_inference_steps=2)
    assert run("fourth", profile="12gb").effective.profile == "12gb"  # type: ignore[union-attr]
    assert (loads, moves) == ([], [])
    assert weights == {id(tensor): tensor.data_ptr() for tensor in _weights(engine)}


def _weights(engine: LocalEngine) -> Iterator[torch.Tensor]:
    runtime = engine._stages.models._runtime
    assert runtime is not None
    for module in (runtime.unet, runtime.vae, runtime.image_encoder):
        yield from module.parameters()


def test_the_record_says_whether_it_was_exact_and_compiled(here: Settings, image: str, tmp_path: Path) -> None:
    for exact in (True, False):
        engine = LocalEngine(here.model_copy(update={"exact": exact}), "cpu")
        result = result_of(list(engine.generate(ask(image, num_inference_steps=1), tmp_path / str(exact), never())))
        assert result.effective is not None
        assert (result.effective.exact, result.effective.compiled) == (exact, False)
    assert any(sentence(reason).startswith("not compiled: ") for reason in result.effective.reasons)


def test_the_autoencoder_comes_to_the_device_once_for_all_chunks(here: Settings, image: str, tmp_path: Path) -> None:
    uses: list[str] = []

    class Watched(Stages):
        def load(self, *args: Any) -> Any:
            runtime = super().load(*args)
            use = runtime._placement.use

            @contextmanager
            def counted(name: str, dtype: Any = None) -> Iterator[Any]:
                depth.append(name)
                if depth.count(name) == 1:
                    uses.append(name)
                with use(name, dtype) as module:
                    yield module
                depth.remove(name)

            runtime._placement.use = counted
            return runtime

    depth: list[str] = []
    request = ask(image, decode_chunk_size=1, num_inference_steps=3)
    list(LocalEngine(here, stages=Watched(here, "cpu")).generate(request, tmp_path / "out", never()))
    assert sorted(uses) == ["image_encoder", "unet", "vae", "vae"]  # the autoencoder encodes, and decodes four chunks


# Running out of memory.


def test_oom_while_denoising_takes_the_next_profile_and_the_same_clip_comes_out(
    here: Settings, image: str, tmp_path: Path
) -> None:
    request = ask(image, profile="16gb")
    calm = result_of(list(LocalEngine(here, "cpu").generate(request, tmp_path / "calm", never())))
    engine = LocalEngine(here, stages=Trouble(here, denoise_at={1, 3}))
    events = list(engine.generate(request, tmp_path / "out", never()))
    result = result_of(events)
    notes = [event.note for event in events if isinstance(event, SteppedDown)]
    assert len(notes) == 2
    assert notes[0].params["profile"] == "12gb"
    assert notes[1].params["profile"] == "8gb"
    assert set(notes) <= set(result.notes)
    assert result.effective is not None
    assert result.effective.profile == "8gb"
    assert [event.step for event in events if isinstance(event, Denoising)] == [1, 2, 3, 4]  # goes on, not back
    one, two = (load_file(tmp_path / name / "latents.safetensors")["latents"] for name in ("calm", "out"))
    np.testing.assert_allclose(one, two, atol=1e-3 if result.effective.dtype == "float32" else 0.1)
    assert calm.effective is not None
    assert calm.effective.profile == "16gb"


def test_oom_while_loading_takes_the_next_profile(here: Settings, image: str, tmp_path: Path) -> None:
    engine = LocalEngine(here, stages=Trouble(here, too_large="24gb 16gb"))
    request = ask(image, profile="24gb", num_inference_steps=1)
    result = result_of(list(engine.generate(request, tmp_path / "out", never())))
    assert result.effective is not None
    assert result.effective.profile == "12gb"
    assert "loading" in sentence(result.notes[0])

    engine = LocalEngine(here, stages=Trouble(here, too_large="4gb"))
    with pytest.raises(OutOfMemory, match="while loading the model"):
        list(engine.generate(ask(image, profile="4gb"), tmp_path / "no", never()))


def test_oom_while_reading_the_still_takes_the_next_profile_and_the_same_clip_comes_out(
    here: Settings, image: str, tmp_path: Path
) -> None:
    """The noise on the still is drawn again from the beginning."""
    request = ask(image, profile="24gb")
    list(LocalEngine(here, "cpu").generate(request, tmp_path / "calm", never()))
    engine = LocalEngine(here, stages=Trouble(here, condition_at="24gb 16gb"))
    events = list(engine.generate(request, tmp_path / "out", never()))
    result = result_of(events)
    assert [event.stage for event in events if isinstance(event, SteppedDown)] == ["conditioning", "conditioning"]
    assert result.effective is not None
    assert result.effective.profile == "12gb"
    assert "reading the picture" in sentence(result.notes[0])
    one, two = (load_file(tmp_path / name / "latents.safetensors")["latents"] for name in ("calm", "out"))
    np.testing.assert_allclose(one, two, atol=1e-3 if result.effective.dtype == "float32" else 0.1)

    engine = LocalEngine(here, stages=Trouble(here, condition_at="4gb"))
    with pytest.raises(OutOfMemory, match="while reading the picture"):
        list(engine.generate(ask(image, profile="4gb"), tmp_path / "no", never()))


def test_oom_in_every_stage_of_one_clip_goes_down_the_same_ladder(here: Settings, image: str, tmp_path: Path) -> None:
    """Each rung is below the last one, and what was done is kept."""
    stages = Trouble(here, too_large="24gb", condition_at="16gb", denoise_at={2}, decode_over=1)
    request = ask(image, profile="24gb", num_frames=4)
    events = list(LocalEngine(here, stages=stages).generate(request, tmp_path / "out", never()))
    downs = [event.stage for event in events if isinstance(event, SteppedDown)]
    assert downs == ["loading", "conditioning", "denoising", "decoding", "decoding"]
    assert [event.step for event in events if isinstance(event, Denoising)] == [1, 2, 3, 4]
    result = result_of(events)
    assert result.effective is not None
    assert (result.effective.profile, result.effective.decode_chunk_size) == ("8gb", 1)
    assert [note for note in result.notes if "Out of memory" in sentence(note)] == list(result.effective.reasons[-5:])


def test_oom_while_decoding_takes_smaller_chunks(here: Settings, image: str, tmp_path: Path) -> None:
    stages = Trouble(here, decode_over=1)
    events = list(LocalEngine(here, stages=stages).generate(ask(image), tmp_path / "out", never()))
    result = result_of(events)
    assert stages.chunks == [4, 2, 1, 1, 1, 1]
    assert [event.stage for event in events if isinstance(event, SteppedDown)] == ["decoding", "decoding"]
    assert read_frames(tmp_path / "out" / str(result.video)).shape[0] == 4
    assert result.effective is not None
    assert result.effective.decode_chunk_size == 1
    inside = settings_tag.parse(read_comment(tmp_path / "out" / str(result.video)) or "")
    assert inside.effective["decode_chunk_size"] == 1


def test_oom_after_the_first_chunk_is_in_the_clip_too(here: Settings, image: str, tmp_path: Path) -> None:
    """The writing has begun by then; the tag still tells how the clip ended up being made."""
    engine = LocalEngine(here, stages=Trouble(here, decode_late=True))
    result = result_of(list(engine.generate(ask(image, decode_chunk_size=2), tmp_path / "out", never())))
    video = tmp_path / "out" / str(result.video)
    assert read_frames(video).shape[0] == 4
    assert result.effective is not None
    assert result.effective.decode_chunk_size == 1
    assert settings_tag.parse(read_comment(video) or "").effective == result.effective.model_dump(mode="json")


def test_below_the_last_rung_the_error_names_remedies(here: Settings, image: str, tmp_path: Path) -> None:
    engine = LocalEngine(here, stages=Trouble(here, decode_over=0))
    with pytest.raises(OutOfMemory, match="while decoding.*smaller"):
        list(engine.generate(ask(image), tmp_path / "out", never()))
    assert not list((tmp_path / "out").iterdir())


# Stopping.


@pytest.mark.parametrize("stage", ["loading", "conditioning", "denoising", "decoding", "writing"])
def test_cancel_is_seen_within_one_step_in_any_stage(here: Settings, image: str, tmp_path: Path, stage: str) -> None:
    cancel, seen = threading.Event(), list[Event]()

    def watch() -> None:
        for event in LocalEngine(here).generate(ask(image), tmp_path / "out", cancel):
            seen.append(event)
            if event.stage == stage:
                cancel.set()

    with pytest.raises(Cancelled):
        watch()
    if stage in {"denoising", "decoding"}:
        assert len([event for event in seen if event.stage == stage]) == 1
    else:
        assert len(seen) - [event.stage for event in seen].index(stage) <= 2
    assert not list((tmp_path / "out").glob("*"))


def test_a_cancelled_clip_leaves_no_tensors(here: Settings, image: str, tmp_path: Path) -> None:
    cancel, held = threading.Event(), list[weakref.ref[Any]]()

    class Watched(Stages):
        def sample(self, *args: Any) -> Iterator[Any]:
            for step in super().sample(*args):
                held.extend((weakref.ref(step.latents), weakref.ref(step.denoised)))
                cancel.set()
                yield step

    with pytest.raises(Cancelled):  # which keeps the exception
        list(LocalEngine(here, stages=Watched(here, "cpu")).generate(ask(image), tmp_path / "out", cancel))
    assert len(held) == 2
    assert not [ref for ref in held if ref() is not None]


def test_the_time_limit_is_told_from_a_cancel(here: Settings, image: str, tmp_path: Path) -> None:
    class Slow(Stages):
        def preview(self, *_: Any) -> Preview | None:
            time.sleep(1.1)
            return None

    engine = LocalEngine(here.model_copy(update={"max_seconds": 1}), stages=Slow(here, "cpu"))
    with pytest.raises(TookTooLong):
        list(engine.generate(ask(image), tmp_path / "out", never()))


# What goes wrong.


def test_a_full_disk_leaves_no_part_of_a_clip(
    here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(DiskFull):
        list(LocalEngine(here).generate(ask(image), tmp_path / "out", never()))
    assert not list((tmp_path / "out").iterdir())
    assert Assets.of(here).open(image).size == (96, 80)


def test_missing_things_are_named(here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    engine = LocalEngine(here)

    def run(request: GenerationRequest) -> None:
        list(engine.generate(request, tmp_path / "out", never()))

    with pytest.raises(WeightsMissing, match="SVD-XT"):
        run(GenerationRequest(image=image, checkpoint="svd-xt"))
    with pytest.raises(BadInput, match="no checkpoint"):
        run(GenerationRequest(image=image, checkpoint="other"))
    with pytest.raises(BadInput, match="picture"):
        run(ask(None))
    with pytest.raises(WeightsMissing, match="text-to-image"):
        run(ask(None, prompt="a boat"))
    with pytest.raises((NotFound, BadInput)):
        run(ask("sha256:" + "0" * 64))


def test_what_nobody_foresaw_is_still_one_of_ours(here: Settings, image: str, tmp_path: Path) -> None:
    class Broken(Stages):
        def condition(self, *_: Any) -> Any:
            raise KeyError("surprise")

    with pytest.raises(Unexpected, match="KeyError while reading the picture"):
        list(LocalEngine(here, stages=Broken(here, "cpu")).generate(ask(image), tmp_path / "out", never()))


def test_notes_say_what_may_disappoint(here: Settings, tmp_path: Path) -> None:
    from .conftest import photo

    small = Assets.of(here).keep(photo(40, 30))
    request = ask(small, num_frames=10, num_inference_steps=1)
    result = result_of(list(LocalEngine(here).generate(request, tmp_path / "out", never())))
    notes = " ".join(map(sentence, result.notes))
    assert "trained on 4 frames" in notes
    assert "40x30" in notes


# Prompt to clip.


def test_a_prompt_becomes_a_still_then_a_clip(here: Settings, tmp_path: Path) -> None:
    from tests.tiny import save_tiny_text_to_image

    model = save_tiny_text_to_image(tmp_path / "t2i")
    engine = LocalEngine(here.model_copy(update={"text_to_image": str(model)}))
    request = ask(None, prompt="a boat at dawn", num_inference_steps=1)
    events = list(engine.generate(request, tmp_path / "clip", never()))
    result = result_of(events)
    made = [event for event in events if isinstance(event, StillMade)]
    assert [event.image for event in made] == [result.image] == [result.request.image]
    assert result.request.prompt == "a boat at dawn"

    still = result_of(list(engine.make_still(request, tmp_path / "still", never())))
    assert still.image == result.image
    assert still.video is None
    assert (tmp_path / "still" / str(still.poster)).is_file()
    assert Assets.of(here).open(still.image).size == (64, 64)
