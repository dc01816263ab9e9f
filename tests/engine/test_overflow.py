"""Numbers that overflow: the stage is made again in a wider format from what is done, and no black clip is ever finished.

Real modules whose weights overflow in float16, on a GPU that is not there; its bfloat16 is that of its capability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from svd_ui.assets import Assets
from svd_ui.core import loading, offload
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.errors import NotFinite
from svd_ui.events import Denoising, Event, Finished, Result, SteppedDown
from svd_ui.media.video import read_frames
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import Settings
from tests.pretended import PretendedDevice

from .conftest import photo
from .test_loras import write_lora

TURING, AMPERE = (7, 5), (8, 6)
Spoil = Callable[[str, Any], None]
"""(component, module) => changed in place, as it comes from its files."""


class Here:
    """An engine over a checkpoint that ``spoil`` has changed, and what its clips said."""

    def __init__(self, settings: Settings, tmp_path: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self._tmp_path = settings, tmp_path
        self.image = Assets.of(settings).keep(photo())
        self.events: list[Event] = []
        read = loading.load_module

        def load_module(folder: Path, component: str, *rest: Any) -> Any:
            module = read(folder, component, *rest)
            spoil(component, module)
            return module

        monkeypatch.setattr(loading, "load_module", load_module)
        self.engine = LocalEngine(settings)

    def clip(self, **values: Any) -> tuple[Result, np.ndarray]:
        values = {"seed": 7, "num_inference_steps": 3, "num_frames": 2, "profile": "8gb", **values}
        request = GenerationRequest(image=self.image, checkpoint="local:tiny", **values)
        self.events = []
        for event in self.engine.generate(request, self._tmp_path / "out", never()):
            self.events.append(event)
        last = self.events[-1]
        assert isinstance(last, Finished)
        if last.result.video:
            self.frames = read_frames(self._tmp_path / "out" / last.result.video)
        latents = last.result.latents
        return last.result, load_file(self._tmp_path / "out" / latents)["latents"] if latents else np.zeros(1)

    @property
    def notes(self) -> list[str]:
        return [sentence(event.note) for event in self.events if isinstance(event, SteppedDown)]

    @property
    def steps(self) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Denoising)]


Make = Callable[..., Here]


pytestmark = pytest.mark.usefixtures("read_once")


@pytest.fixture
def here(settings: Settings, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(spoil: Spoil = lambda *_: None, **changed: Any) -> Here:
        changed = {"checkpoint_dirs": str(tiny), "devices": "auto", **changed}
        return Here(settings.model_copy(update=changed), tmp_path, spoil, monkeypatch)

    return make


def outgrows(dtype: torch.dtype, at_step: int = 0) -> Spoil:
    """A U-Net whose output is no number in ``dtype`` from its call ``at_step`` on, however its weights came to be so."""

    def spoil(component: str, module: Any) -> None:
        calls = [0]

        def overflow(_: Any, __: Any, out: Any) -> Any:
            calls[0] += 1
            if out[0].dtype == dtype and calls[0] > at_step:
                return (torch.full_like(out[0], torch.nan),)
            return out

        if component == "unet":
            module.register_forward_hook(overflow)

    return spoil


def test_weights_that_overflow_in_half_precision_go_on_in_a_wider_format(here: Make) -> None:
    """From the very first step; the frames are a picture, and the clip tells what was done."""
    app = here(scaled_up)
    with PretendedDevice("cuda:0", capability=TURING):
        result, latents = app.clip()
        app.engine.close()
    assert np.isfinite(latents).all()
    assert app.frames.std() > 1
    assert app.notes == ["float16 overflowed while denoising. Continuing in float32."]
    assert app.steps == [1, 2, 3]
    assert result.effective is not None
    assert result.effective.dtype == "float32"
    assert any(note.code == "wider_format" for note in result.notes)


def scaled_up(component: str, module: Any) -> None:
    """The last features, some ten thousand times as large, before the normalisation that takes it back."""
    if component == "unet":
        with torch.no_grad():
            weight = module.up_blocks[-1].attentions[-1].proj_out.weight
            weight.copy_(weight.float() * (50_000 / weight.float().abs().max()))


@pytest.mark.parametrize(("capability", "formats"), [(TURING, ["float32"]), (AMPERE, ["bfloat16"])])
def test_bfloat16_comes_first_where_the_device_has_it(
    here: Make, capability: tuple[int, int], formats: list[str]
) -> None:
    app = here(outgrows(torch.float16))
    with PretendedDevice("cuda:0", capability=capability):
        app.clip(num_inference_steps=1)
        app.engine.close()
    assert [event.note.params["format"] for event in app.events if isinstance(event, SteppedDown)] == formats


def test_steps_that_were_sound_are_kept(here: Make) -> None:
    """Two steps of two calls each in float16, then float32: the clip is the one whose last step alone was made so."""
    app = here(outgrows(torch.float16, at_step=4))
    with PretendedDevice("cuda:0", capability=TURING):
        _, latents = app.clip(max_guidance_scale=2.0)
        app.engine.close()
    assert app.steps == [1, 2, 3]
    plain = here()
    with PretendedDevice("cuda:0", capability=TURING):
        _, expected = plain.clip(max_guidance_scale=2.0)
        plain.engine.close()
    assert not np.array_equal(latents, expected)
    assert np.abs(latents - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("profile", ["24gb", "4gb"])
def test_whatever_the_profile(here: Make, profile: str) -> None:
    app = here(outgrows(torch.float16))
    with PretendedDevice("cuda:0", capability=TURING) as gpu:
        result, _ = app.clip(profile=profile, num_inference_steps=2)
        app.engine.close()
    assert app.steps == [1, 2]
    assert result.effective is not None
    assert result.effective.dtype == "float32"
    assert gpu.bytes == 0


def test_weights_that_do_not_fit_any_more_are_offloaded(here: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the size: memory runs out while they are put back on the device."""
    app, place, full = here(outgrows(torch.float16)), offload.Placement.__init__, ["16gb", "24gb"]

    def placed(self: Any, modules: Any, device: Any, profile: Any, *rest: Any) -> None:
        if profile.id in full and modules["unet"].dtype == torch.float32:
            full.remove(profile.id)
            raise torch.OutOfMemoryError("CUDA out of memory")
        place(self, modules, device, profile, *rest)

    monkeypatch.setattr(offload.Placement, "__init__", placed)
    with PretendedDevice("cuda:0", capability=TURING) as gpu:
        result, _ = app.clip(profile="24gb", num_inference_steps=1)
        app.engine.close()
    assert result.effective is not None
    assert (result.effective.profile, result.effective.dtype) == ("12gb", "float32")
    assert [note.code for note in result.notes if note.code in {"smaller_profile", "wider_format"}] == [
        "smaller_profile",
        "smaller_profile",
        "wider_format",
    ]
    assert gpu.bytes == 0


def test_the_next_clip_begins_in_the_format_that_worked(here: Make) -> None:
    """In this process and after a restart; a clip with other LoRAs tries for itself."""
    app = here(outgrows(torch.float16))
    with PretendedDevice("cuda:0", capability=TURING):
        app.clip(num_inference_steps=1)
        result, _ = app.clip(num_inference_steps=1)
        assert app.notes == []
        assert result.effective is not None
        assert result.effective.dtype == "float32"
        assert any("overflowed with this checkpoint before" in sentence(why) for why in result.effective.reasons)
        app.engine.close()
        app.engine = LocalEngine(app.settings)
        app.clip(num_inference_steps=1)
        assert app.notes == []
        write_lora(app.settings)
        app.clip(num_inference_steps=1, loras=(LoraRef(name="style", weight=0.1),))
        assert len(app.notes) == 1
        app.engine.close()


def test_a_wall_goes_on_in_a_wider_format(here: Make) -> None:
    app = here(outgrows(torch.float16, at_step=1))
    with PretendedDevice("cuda:0", capability=TURING):
        result, _ = app.clip(wall={"seeds": 1, "motion_bucket_ids": (40, 200)}, num_inference_steps=2, profile="24gb")
        app.engine.close()
    assert len(result.tiles) == 2
    assert app.notes == ["float16 overflowed while denoising. Continuing in float32."]
    assert app.steps[-1] == 4


@pytest.mark.parametrize("component", ["image_encoder", "vae"])
def test_an_encoder_that_overflows_reads_the_still_again(here: Make, component: str) -> None:
    """The autoencoder encodes in float32 where the checkpoint says so; here it does not."""

    def spoil(name: str, module: Any) -> None:
        if name == "vae":
            module.register_to_config(force_upcast=False)
        if name == component:
            part = module.encoder if name == "vae" else module.visual_projection
            part.register_forward_hook(lambda _, __, out: out * torch.nan if out.dtype == torch.float16 else None)

    app = here(spoil)
    with PretendedDevice("cuda:0", capability=TURING):
        app.clip(num_inference_steps=1)
        assert app.notes == ["float16 overflowed while reading the picture. Continuing in float32."]
        app.clip(num_inference_steps=1)
        assert app.notes == []
        app.engine.close()


@pytest.mark.parametrize("left", [torch.nan, torch.inf, 0.0], ids=str)
def test_frames_that_are_none_are_decoded_in_float32_and_it_is_said(here: Make, left: float) -> None:
    """Not a number, beyond the range, or the nothing that some kernels make of it."""

    def spoil(component: str, module: Any) -> None:
        if component == "vae":
            module.decoder.register_forward_hook(
                lambda _, __, out: torch.full_like(out, left) if out.dtype == torch.float16 else None
            )

    app = here(spoil)
    with PretendedDevice("cuda:0"):
        app.clip(num_inference_steps=1, decode_chunk_size=1)
        app.engine.close()
    assert app.notes == ["float16 overflowed while decoding. The frames are decoded in float32."]
    assert app.frames.std() > 1


def damaged(component: str, value: float) -> Spoil:
    def spoil(name: str, module: Any) -> None:
        if name == component:
            part = {"unet": "conv_out", "vae": "decoder", "image_encoder": "visual_projection"}[name]
            getattr(module, part).register_forward_hook(lambda _, __, out: torch.full_like(out, value))

    return spoil


@pytest.mark.parametrize(
    ("component", "value", "doing"),
    [
        ("unet", torch.nan, "denoising"),
        ("vae", torch.nan, "decoding"),
        ("vae", -1.0, "decoding"),
        ("image_encoder", torch.nan, "reading the picture"),
    ],
)
def test_weights_that_are_damaged_end_in_a_sentence_and_not_in_a_black_clip(
    here: Make, component: str, value: float, doing: str
) -> None:
    app = here(damaged(component, value))
    with PretendedDevice("cuda:0"):
        with pytest.raises(
            NotFinite,
            match=f"while {doing}: its values overflowed, even in float32.*files of the checkpoint may be damaged",
        ):
            app.clip(num_inference_steps=1)
        app.engine.close()
    assert not list((app.settings.data_dir.parent / "out").glob("*.mp4"))
    measured = app.settings.measured_file
    assert not measured.exists() or "overflowed" not in measured.read_text(), "nothing worked: nothing is learned"


def test_what_may_be_to_blame_is_named_the_likeliest_first(here: Make) -> None:
    app = here(damaged("unet", torch.nan), devices="cpu")
    write_lora(app.settings)
    with pytest.raises(NotFinite, match=r"LoRAs \(style\).*guidance: 9 is high.*damaged"):
        app.clip(
            num_inference_steps=1, profile="auto", loras=(LoraRef(name="style", weight=2.0),), max_guidance_scale=9.0
        )
    app.engine.close()


def test_a_still_of_one_colour_may_give_a_clip_of_one_colour(here: Make) -> None:
    from PIL import Image

    app = here(damaged("vae", -1.0), devices="cpu")
    app.image = Assets.of(app.settings).keep(Image.new("RGB", (96, 80)))
    app.clip(num_inference_steps=1, profile="auto")
    assert app.frames.max() <= 2
    app.engine.close()


class Watched(Stages):
    """Counts how often a step makes the host wait for the device."""

    gpu: PretendedDevice
    waits: list[int]

    def sample(self, *args: Any) -> Iterator[Any]:  # type: ignore[override]
        for step in super().sample(*args):
            before = self.gpu.waits
            yield step
            self.waits.append(self.gpu.waits - before)


def test_a_step_is_watched_for_one_number(here: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what the preview fetches, from a device that is waited for in any case."""
    monkeypatch.setattr("svd_ui.engine.progress.KEEP_SECONDS", 600.0)  # on a busy machine one of these steps is kept
    app = here()
    app.engine = LocalEngine(app.settings, stages=(stages := Watched(app.settings)))
    stages.waits = []
    with PretendedDevice("cuda:0") as gpu:
        stages.gpu = gpu
        app.clip()
        app.engine.close()
    assert stages.waits == [2, 2, 2]
