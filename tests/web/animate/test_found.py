"""What the page says of the models of this machine, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svd_ui.settings import Settings
from svd_ui.web.animate.form_view import found, offers
from svd_ui.web.context import Context
from tests.fakes import fake_checkpoint


class NoJobs:
    def describe(self) -> None:
        return None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A tree of another program: one whole folder of SVD-XT, one without its autoencoder."""
    tree = tmp_path / "ComfyUI" / "models" / "diffusers"
    fake_checkpoint(tree / "stable-video-diffusion-img2vid-xt", num_frames=25)
    broken = fake_checkpoint(tree / "svd-xt tune", num_frames=25)
    (broken / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (tree / "svd.safetensors").write_text("<html>", "utf-8")
    return Settings(data_dir=tmp_path / "data", checkpoint_dirs=str(tmp_path / "ComfyUI"))


def context(settings: Settings) -> Context:
    return Context(NoJobs(), settings)  # type: ignore[arg-type]


def said(context: Context, checkpoint: str) -> str:
    values: dict[str, Any] = {"checkpoint": checkpoint, "source": ""}
    return str(offers(context, values)["offer"])


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
