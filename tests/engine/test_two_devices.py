"""One clip on two devices, through the whole engine: here both are the processor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from svd_ui.core.runtime import Runtime
from svd_ui.core.second import Half
from svd_ui.engine import Device, never
from svd_ui.engine.estimates import estimate
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.events import Denoising, Event, Finished, Result, SteppedDown
from svd_ui.hub import Hub
from svd_ui.jobs.timing_key import SPLIT, TimingKey
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

pytestmark = pytest.mark.usefixtures("read_once")


@pytest.fixture
def settings(settings: Settings, tiny: Path) -> Settings:
    shutil.copytree(tiny, settings.models_dir / "tiny")
    return settings.model_copy(update={"devices": "cpu+cpu"})


@pytest.fixture
def asked(image: str) -> GenerationRequest:
    values = {"checkpoint": "local:tiny", "width": 64, "height": 64, "num_frames": 4, "num_inference_steps": 3}
    return GenerationRequest(image=image, seed=7, max_guidance_scale=3.0, **values)


def made(engine: LocalEngine, request: GenerationRequest, out: Path) -> tuple[Result, list[Event]]:
    events = list(engine.generate(request, out, never()))
    assert isinstance(events[-1], Finished)
    return events[-1].result, events


def latents(result: Result, out: Path) -> Any:
    assert result.latents is not None
    return load_file(out / result.latents)["latents"]


def alone(settings: Settings, request: GenerationRequest, out: Path) -> Any:
    result, _ = made(LocalEngine(settings.model_copy(update={"devices": "cpu"})), request, out)
    assert result.effective is not None
    assert result.effective.place == "cpu"
    return latents(result, out)


def words(result: Result) -> str:
    assert result.effective is not None
    return " ".join(sentence(note) for note in (*result.notes, *result.effective.reasons))


def test_the_clip_is_that_of_one_device_and_says_where_it_was_made(
    settings: Settings, asked: GenerationRequest, tmp_path: Path
) -> None:
    engine = LocalEngine(settings)
    told = engine.describe()
    assert told.second is not None
    assert (told.place, told.second.place, told.second.id) == ("cpu", "cpu", "cpu")
    result, _ = made(engine, asked, tmp_path / "two")
    assert result.effective is not None
    assert result.effective.place == "cpu+cpu"
    assert "guidance split over cpu and cpu" in words(result)
    wanted = alone(settings, asked, tmp_path / "one")
    np.testing.assert_allclose(latents(result, tmp_path / "two"), wanted, atol=1e-5, rtol=0)


def test_a_clip_without_guidance_says_that_the_second_device_is_idle(
    settings: Settings, asked: GenerationRequest, tmp_path: Path
) -> None:
    result, _ = made(LocalEngine(settings), asked.model_copy(update={"max_guidance_scale": 1.0}), tmp_path)
    assert "The second device (cpu) has nothing to do in this clip" in words(result)
    assert result.effective is not None
    assert result.effective.place == "cpu"


class NoRoom(Stages):
    """The second device is full, when it is to be loaded or at its second step."""

    def __init__(self, settings: Settings, when: str) -> None:
        super().__init__(settings)
        self._when, self._calls = when, 0

    def add_second(self, runtime: Runtime, folder: Path) -> None:
        if self._when == "loading":
            raise torch.OutOfMemoryError("CUDA out of memory")
        super().add_second(runtime, folder)
        assert isinstance(runtime.second, Half)
        runtime.second.unet.register_forward_pre_hook(self._called)

    def _called(self, *_: Any) -> None:
        self._calls += 1
        if self._calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("when", ["loading", "denoising"])
def test_a_second_device_without_room_leaves_the_clip_to_the_first(
    settings: Settings, asked: GenerationRequest, tmp_path: Path, when: str
) -> None:
    result, events = made(LocalEngine(settings, stages=NoRoom(settings, when)), asked, tmp_path / "two")
    downs = [(event.stage, event.note.code) for event in events if isinstance(event, SteppedDown)]
    assert downs == [(when, "second_ran_out")]
    assert "Continuing on the first alone" in words(result)
    assert "split" not in words(result)
    assert result.effective is not None
    assert (result.effective.place, result.effective.profile) == ("cpu", "cpu")
    assert [event.step for event in events if isinstance(event, Denoising)] == [1, 2, 3]
    wanted = alone(settings, asked, tmp_path / "one")
    np.testing.assert_allclose(latents(result, tmp_path / "two"), wanted, atol=1e-5, rtol=0)


def test_a_profile_that_streams_the_weights_says_that_it_has_no_use_for_it(
    settings: Settings, asked: GenerationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.core.devices.Plan.splits", False)
    result, _ = made(LocalEngine(settings), asked, tmp_path)
    assert "The second device (cpu) is not used: this memory profile streams the weights" in words(result)


def test_half_of_the_guided_work_is_foretold(settings: Settings) -> None:
    one = Device(kind="cpu", name="A processor", flops_per_second=1e12)
    two, hub = one.model_copy(update={"second": one}), Hub(settings)
    whole = GenerationRequest(checkpoint="svd-xt", max_guidance_scale=3.0)
    plain = whole.model_copy(update={"min_guidance_scale": 1.0, "max_guidance_scale": 1.0})
    seconds = [estimate(settings, hub, request, device).seconds for request in (whole, plain) for device in (one, two)]
    assert all(seconds)
    assert 0.5 < seconds[1] / seconds[0] < 0.6  # reading and decoding are not shared
    assert seconds[2] == seconds[3]


def test_times_measured_on_two_devices_are_not_taken_for_those_of_one() -> None:
    text = f"svd-xt|clip|1024x576|25|1|0|with={SPLIT}"
    key = TimingKey.parse(text)
    assert key is not None
    assert str(key) == text
