"""What the page says of the models of this machine, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svd_ui.engine import Device, Estimate
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.text_to_image_info import DOWNLOAD_BYTES
from svd_ui.web.animate.offers import found, offers, still_offer
from svd_ui.web.context import Context
from tests.fakes import fake_checkpoint

CPU = Device(kind="cpu", name="cpu", total_bytes=16 * 2**30)
CARD = Device(kind="cuda", name="card", total_bytes=8 * 2**30)
SECONDS = {"nano": 15.0}
"""By checkpoint; of all others two days."""


class NoJobs:
    def __init__(self, device: Device | None = None) -> None:
        self.device = device

    def describe(self) -> Device | None:
        return self.device

    def estimate(self, request: GenerationRequest) -> Estimate:
        return Estimate(seconds=SECONDS.get(request.checkpoint, 2 * 86400.0))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A tree of another program: one whole folder of SVD-XT, one without its autoencoder."""
    tree = tmp_path / "ComfyUI" / "models" / "diffusers"
    fake_checkpoint(tree / "stable-video-diffusion-img2vid-xt", num_frames=25)
    broken = fake_checkpoint(tree / "svd-xt tune", num_frames=25)
    (broken / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (tree / "svd.safetensors").write_text("<html>", "utf-8")
    return Settings(data_dir=tmp_path / "data", checkpoint_dirs=str(tmp_path / "ComfyUI"))


def context(settings: Settings, device: Device | None = None) -> Context:
    return Context(NoJobs(device), settings)  # type: ignore[arg-type]


def said(context: Context, checkpoint: str) -> str:
    values: dict[str, Any] = {"checkpoint": checkpoint, "source": ""}
    estimate = context.jobs.estimate(GenerationRequest(checkpoint=checkpoint))
    return str(offers(context, values, estimate, {})["offer"])


def test_the_page_says_what_lies_where_and_what_cannot_be_used(settings: Settings, tmp_path: Path) -> None:
    shown = found(context(settings))
    assert "stable-video-diffusion-img2vid-xt" in shown and str(tmp_path / "ComfyUI" / "models") in shown
    assert "2 more not usable" in shown and "svd-xt tune/vae holds no weights" in shown and "is a web page" in shown


def test_strangers_are_told_of_no_folder(settings: Settings, tmp_path: Path) -> None:
    public = context(settings.model_copy(update={"host": "0.0.0.0"}))
    ids = [id for _, id in public.checkpoint_choices()]
    assert found(public) == "" and not any(str(tmp_path) in said(public, id) for id in ids)


def test_what_is_here_is_offered_in_the_place_of_a_download(settings: Settings) -> None:
    here = context(settings)
    assert "SVD-XT is already here as stable-video-diffusion-img2vid-xt." in said(here, "svd-xt")
    assert "Download" not in said(here, "svd-xt") and "Download" in said(here, "svd-xt-1-1")


def test_each_model_is_to_choose_once(settings: Settings) -> None:
    here, double = context(settings), "local:stable-video-diffusion-img2vid-xt"
    titles = {id: title for title, id in here.checkpoint_choices()}
    assert "svd-xt" in titles and double not in titles
    assert double in dict(map(reversed, here.checkpoint_choices(double))), "what is chosen stays"  # type: ignore[arg-type]
    assert titles["local:svd-xt tune"].endswith("not usable")


def test_what_cannot_be_used_says_why_and_offers_no_download(settings: Settings) -> None:
    text = said(context(settings), "local:svd-xt tune")
    assert "cannot be used" in text and "holds no weights" in text and "Download" not in text


def test_on_a_processor_a_big_checkpoint_says_its_time_and_what_fits_before_any_download(settings: Settings) -> None:
    here = context(settings, CPU)
    shown = said(here, "svd-xt-1-1")
    time, nano, download = (
        shown.index(text) for text in ("about 2 days a clip here", 'data-id="nano"', 'data-act="fetch"')
    )
    assert time < nano < download and "about 15 s a clip" in shown
    assert shown.index("<details>") < download, "one more click away"
    present = said(here, "svd-xt")
    assert "about 2 days a clip here" in present and 'data-id="nano"' in present and "fetch" not in present
    assert "a clip here" not in said(here, "nano")


def test_its_time_is_said_also_while_the_form_is_not_valid(settings: Settings) -> None:
    values = {"checkpoint": "svd-xt-1-1", "source": ""}
    assert "about 2 days a clip here" in offers(context(settings, CPU), values, Estimate(), {})["offer"]


def test_where_there_is_a_card_a_download_is_one_click_away(settings: Settings) -> None:
    shown = said(context(settings, CARD), "svd-xt-1-1")
    assert "fetch" in shown and "<details>" not in shown and "nano" not in shown


def test_a_card_that_pytorch_cannot_use_is_named(settings: Settings) -> None:
    unused = CPU.model_copy(update={"build_mismatch": Note.of("text", text="The card waits for another PyTorch.")})
    assert "The card waits for another PyTorch." in said(context(settings, unused), "svd-xt")


def test_while_the_device_is_not_known_a_download_is_not_the_first_thing_offered(settings: Settings) -> None:
    shown = said(context(settings), "svd-xt-1-1")
    assert shown.index("being worked out") < shown.index("<details>") < shown.index("fetch")


def test_every_checkpoint_says_what_its_clips_show(settings: Settings) -> None:
    assert "nobody walks" in said(context(settings, CPU), "nano")
    for id in ("svd", "svd-xt-1-1", "animatelcm-svd-xt"):
        assert "people too" in said(context(settings, CARD), id)


def test_the_model_that_makes_stills_says_its_size() -> None:
    usual = Settings(_env_file=None).text_to_image  # type: ignore[call-arg]
    assert DOWNLOAD_BYTES[usual] == 2_590_000_000
    assert "Download 2.6 GB" in still_offer(usual)
    assert "Download it" in still_offer("somebody/else")
