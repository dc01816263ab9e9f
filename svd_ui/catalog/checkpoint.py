"""Checkpoints as rows: what the app must know about one without loading it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from ..errors import BadInput
from ..notes import sentence
from ..request import Frozen, Speed
from .architectures import architecture_of
from .families import CheckpointFamily, family_of

if TYPE_CHECKING:
    from ..clip import ClipSpec

COMMUNITY = "Stability AI Community License"
OLD_NAMES = {"form", "sampler"}
"""Keys of ``svd_ui.json`` that ``family`` replaced."""
LEAST_SHARE, MOST_SHARE = 0.7, 1.26
"""Of its own area, what a checkpoint is given by itself; 1.25 admits 4:5 as 768x960, the size such clips are made at."""
AS_OWN = 0.04
"""An aspect less than this share from a checkpoint's own is taken as that: a model of stills rounds to 3 %."""


Move = tuple[float, float, float, float, float, float]


def _pairs(given: object) -> object:
    """A file's object as pairs: a row is a key of what is remembered, and a dictionary is none."""
    return tuple(given.items()) if isinstance(given, dict) else given


def _web_address(value: str) -> str:
    """An address that may be a link on the page; a ``javascript:`` of somebody's folder is none."""
    return value if re.match(r"https?://[^\s\"'<>]+\Z", value, re.IGNORECASE) else ""


class CheckpointRow(Frozen):
    """One checkpoint and everything the app must know about it without loading it.

    ``family`` says what kind it is (``catalog/families``). ``preview`` is the linear latent -> RGB matrix (rows: latent
    channels; values map scaled latents to 0..1), ``preview_bias`` its offset. ``sigma_reference`` is the sigma_max that
    control methods' sigma thresholds scale with. ``train_sigma`` are mean and standard deviation of log sigma when it is
    fine-tuned, in what the U-Net diffuses. Where ``unet_file`` is given, ``repo`` holds only that file, the U-Net's
    weights, and ``base_repo`` the rest.

    What lies on this machine is a diffusers ``folder``, one ``file`` of everything, or a ``unet``, a file or a folder, that
    is joined with ``base_repo`` or what is here of it. ``same_as`` names the row of the catalogue that it is; ``sources``
    are what is here of a row of the catalogue outside the hub's cache.

    Of the family ``warp``: the last latent channels hold a scene (``core/families/warp_autoencoder.py``), and nothing but
    these is diffused, in units of what ``motion_bucket_id`` asks for: ``motion_paths`` are pairs of it and of how far the
    camera then goes in ``path_seconds``, mean over the frame, as a share of its longer side. ``moves`` are the camera's, by
    kind: pan x and y, log zoom, roll and arc, each in units of the path it makes alone, and how softly it starts and ends.
    """

    id: str
    title: str
    family: str = "svd"
    folder: Path | None = None
    file: Path | None = None
    unet: Path | None = None
    sources: tuple[Path, ...] = ()
    same_as: str = ""
    repo: str | None = None
    unet_file: str | None = None
    base_repo: str | None = None
    variant: str | None = None
    num_frames: int
    width: int
    height: int
    size_multiple: int = 64
    num_inference_steps: int = 25
    min_guidance_scale: float = 1.0
    max_guidance_scale: float = 3.0
    fps: int = 7
    decode_chunk_size: int | None = None  # None: the memory profile's
    sigma_reference: float = 700.0
    train_sigma: tuple[float, float] = (0.7, 1.6)
    preview: tuple[tuple[float, float, float], ...] = ()
    preview_bias: tuple[float, float, float] = (0.5, 0.5, 0.5)
    motion_paths: tuple[tuple[float, float], ...] = ()
    path_seconds: float = 1.0
    moves: Annotated[tuple[tuple[str, tuple[Move, ...]], ...], BeforeValidator(_pairs)] = ()
    licence: str = ""
    licence_url: Annotated[str, AfterValidator(_web_address)] = ""
    link: Annotated[str, AfterValidator(_web_address)] = ""
    gated: bool = False
    download_bytes: int = 0
    by_stability: bool = False
    rank: int = 0
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _named_as_before(cls, data: Any) -> Any:
        """Until families had names, ``form`` and ``sampler`` told them apart; folders of that time still do."""
        if not isinstance(data, dict):
            return data
        form, sampler = data.get("form"), data.get("sampler")
        family = "consistency" if sampler == "consistency" else "warp" if form == "residual" else "svd"
        return {"family": family} | {name: value for name, value in data.items() if name not in OLD_NAMES}

    @property
    def path(self) -> Path | None:
        """Where it lies outside the hub's cache."""
        return self.folder or self.file or self.unet

    @property
    def is_on_hub(self) -> bool:
        """Whether what is missing of it can be downloaded."""
        return bool(self.repo or self.base_repo)

    @property
    def facts(self) -> CheckpointFamily:
        """What is known of its kind."""
        return family_of(self)

    def defaults(self, speed: Speed = "exact") -> dict[str, Any]:
        """What a request's blank fields mean for this checkpoint at ``speed``."""
        return self.facts.defaults(self, speed)

    def check(self, clip: ClipSpec) -> None:
        """Raise BadInput where ``clip`` asks for what this checkpoint cannot do."""
        self.check_size(clip.width, clip.height)
        self.facts.check(clip)
        reason = clip.request.method.needs(self.facts)
        if reason is not None:
            raise BadInput(sentence(reason), field="method")

    def check_size(self, width: int | None, height: int | None) -> None:
        """Raise BadInput for a side that is no whole number of latent cells, as far as the architecture is known."""
        known = architecture_of(self)
        for field, side in (("width", width), ("height", height)):
            if known is not None and side is not None and side % known.patch:
                detail = f"{field.title()} must be a multiple of {known.patch} for {self.title}; {side} is not."
                raise BadInput(detail, field=field)

    def size_like(self, picture: tuple[int, int]) -> tuple[int, int]:
        """The size in the shape of a picture of that (width, height): its own where this checkpoint takes it as it is, so
        that a clip that goes on from the last frame of another has its size.
        """
        width, height = picture
        whole = width % self.size_multiple == height % self.size_multiple == 0
        if whole and 0.25 <= width / height <= 4 and self._of_its_area(width, height):
            return picture
        return self.size_for(width / height)

    def size_for(self, aspect: float) -> tuple[int, int]:
        """(width, height) of about the native area at width / height = ``aspect``, on ``size_multiple``.

        Clamped to 1:4 .. 4:1, so that a strip of pixels still gives a picture the model can hold. About its own shape
        is its own size, which it knows best.
        """
        if abs(aspect * self.height / self.width - 1) < AS_OWN:
            return self.width, self.height
        aspect = min(max(aspect, 0.25), 4.0)
        area, unit = self.width * self.height, self.size_multiple
        candidates = []
        for h in range(unit, int((area / 0.25) ** 0.5) + 2 * unit, unit):
            w = max(unit, round(h * aspect / unit) * unit)
            if self._of_its_area(w, h):
                candidates.append((12 * abs(w / h / aspect - 1) + abs(w * h / area - 1), w, h))
        _, width, height = min(candidates)
        return width, height

    def _of_its_area(self, width: int, height: int) -> bool:
        return LEAST_SHARE <= width * height / (self.width * self.height) <= MOST_SHARE


# Linear fit of Stable Diffusion's four latent channels (SVD keeps that latent space) to RGB in 0..1: half of the
# coefficients found by experiment in discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204,
# which map to -1..1.
SD_PREVIEW = (
    (0.149, 0.1035, 0.104),
    (0.0935, 0.143, 0.0865),
    (-0.079, 0.0945, 0.132),
    (-0.092, -0.1355, -0.2365),
)


def _stability(
    id: str, title: str, name: str, frames: int, steps: int, low: float, high: float, **extra: Any
) -> CheckpointRow:
    repo = f"stabilityai/{name}"
    return CheckpointRow(
        id=id,
        title=title,
        variant="fp16",
        num_frames=frames,
        width=1024,
        height=576,
        num_inference_steps=steps,
        min_guidance_scale=low,
        max_guidance_scale=high,
        preview=SD_PREVIEW,
        licence=COMMUNITY,
        licence_url="https://stability.ai/community-license-agreement",
        by_stability=True,
        **{"repo": repo, "link": f"https://huggingface.co/{repo}", "download_bytes": 4_530_000_000, **extra},
    )


STABILITY_ROWS = (
    _stability("svd", "SVD (14 frames)", "stable-video-diffusion-img2vid", 14, 25, 1.0, 2.5, rank=10),
    _stability("svd-xt", "SVD-XT (25 frames)", "stable-video-diffusion-img2vid-xt", 25, 30, 1.5, 3.0, rank=20),
    _stability(
        "svd-xt-1-1",
        "SVD-XT 1.1 (25 frames)",
        "stable-video-diffusion-img2vid-xt-1-1",
        25,
        30,
        1.5,
        3.0,
        fps=6,
        gated=True,
        rank=30,
        note="Tuned at 6 fps and motion 127.",
    ),
)

ANIMATE_LCM = _stability(
    "animatelcm-svd-xt",
    "AnimateLCM-SVD-XT (25 frames, 4 steps)",
    "stable-video-diffusion-img2vid-xt",
    25,
    4,
    1.0,
    1.0,
    repo="wangfuyun/AnimateLCM-SVD-xt",
    unet_file="AnimateLCM-SVD-xt-1.1.safetensors",
    base_repo="stabilityai/stable-video-diffusion-img2vid-xt",
    link="https://huggingface.co/wangfuyun/AnimateLCM-SVD-xt",
    family="consistency",
    download_bytes=7_580_000_000,  # 6.1 GB of U-Net in float32, the rest from SVD-XT in half precision
    rank=5,
    note="SVD-XT distilled to 1 to 8 steps (arXiv 2402.00769); guidance up to 1.5 doubles its time. Its own page "
    "states no licence; it derives from SVD-XT, whose terms hold.",
)
"""The sampler's numbers are those of github.com/G-U-N/AnimateLCM (animatelcm_svd): sigmas 0.002 to 700 on a Karras grid
of 40, every 40 // steps-th of it, unit sigma_data, no guidance in its examples and up to 1.2 in its demonstration."""
