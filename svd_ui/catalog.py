"""Checkpoints and memory profiles as rows. Adding one is adding a row; no torch here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from .errors import BadInput
from .request import Frozen
from .settings import REPOSITORY, Settings

COMMUNITY = "Stability AI Community License"


class CheckpointRow(Frozen):
    """One checkpoint and everything the app must know about it without loading it.

    ``preview`` is the linear latent -> RGB matrix (rows: latent channels; values map scaled latents to
    0..1), ``preview_bias`` its offset. ``sigma_reference`` is the sigma_max that control methods' sigma thresholds
    scale with. ``form`` tells what the U-Net diffuses: the latents, or their difference from the still.
    """

    id: str
    title: str
    folder: Path | None = None
    repo: str | None = None
    variant: str | None = None
    num_frames: int
    width: int
    height: int
    size_multiple: int = 64
    num_inference_steps: int = 25
    min_guidance_scale: float = 1.0
    max_guidance_scale: float = 3.0
    fps: int = 7
    sigma_reference: float = 700.0
    form: Literal["plain", "residual"] = "plain"
    residual_scale: float = 1.0
    preview: tuple[tuple[float, float, float], ...] = ()
    preview_bias: tuple[float, float, float] = (0.5, 0.5, 0.5)
    licence: str = ""
    licence_url: str = ""
    link: str = ""
    gated: bool = False
    download_bytes: int = 0
    by_stability: bool = False
    rank: int = 0
    note: str = ""

    model_config = {**Frozen.model_config, "ignored_types": (cached_property,)}

    def defaults(self) -> dict[str, Any]:
        """What a request's blank fields mean for this checkpoint."""
        names = ("num_frames", "width", "height", "num_inference_steps", "fps")
        guidance = ("min_guidance_scale", "max_guidance_scale")
        return {name: getattr(self, name) for name in (*names, *guidance)}

    def size_for(self, aspect: float) -> tuple[int, int]:
        """(width, height) of about the native area at width / height = ``aspect``, on ``size_multiple``.

        Clamped to 1:4 .. 4:1, so that a strip of pixels still gives a picture the model can hold.
        """
        aspect = min(max(aspect, 0.25), 4.0)
        area, unit = self.width * self.height, self.size_multiple
        candidates = []
        for h in range(unit, int((area / 0.25) ** 0.5) + 2 * unit, unit):
            w = max(unit, round(h * aspect / unit) * unit)
            share = w * h / area
            if 0.7 <= share <= 1.26:  # 1.25 admits 4:5 as 768x960, the size such clips are made at
                candidates.append((12 * abs(w / h / aspect - 1) + abs(share - 1), w, h))
        _, width, height = min(candidates)
        return width, height


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
        repo=repo,
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
        link=f"https://huggingface.co/{repo}",
        by_stability=True,
        **{"download_bytes": 4_530_000_000, **extra},
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
NANO = REPOSITORY / "assets" / "nano"


def nano_row() -> CheckpointRow:
    """The embedded preview model; its own ``svd_ui.json`` holds its numbers."""
    return folder_row(
        NANO,
        id="nano",
        title="nano (preview, embedded)",
        rank=0,
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        note="A small preview model for machines without the real weights: low resolution, camera motion only.",
    )


def folder_row(folder: Path, **overrides: Any) -> CheckpointRow:
    """A row for a diffusers folder: numbers from its ``svd_ui.json``, else from its U-Net's config.

    Raises BadInput when the folder does not hold an image-to-video pipeline of this family.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
        unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder.name} is not a diffusers checkpoint folder.", field="checkpoint") from error
    if index.get("_class_name") != "StableVideoDiffusionPipeline":
        raise BadInput(f"{folder.name} holds another kind of pipeline.", field="checkpoint")
    own = folder / "svd_ui.json"
    data = json.loads(own.read_text("utf-8")) if own.is_file() else {}
    known = {key: value for key, value in data.items() if key in CheckpointRow.model_fields}
    latent = int(unet.get("out_channels", 4))
    base = {
        "id": f"local:{folder.name}",
        "title": folder.name,
        "num_frames": int(unet.get("num_frames", 14)),
        "width": 1024,
        "height": 576,
        "preview": SD_PREVIEW if latent == 4 else (),
        "rank": 15,
    }
    return CheckpointRow.model_validate({**base, **known, **overrides, "folder": folder})


def checkpoint_dirs(settings: Settings) -> list[Path]:
    """Where checkpoint folders are looked for, in order."""
    more = [Path(part) for part in settings.checkpoint_dirs.split(os.pathsep) if part]
    return [settings.models_dir, REPOSITORY / "models", *more]


def _discovered(dirs: Iterable[Path]) -> Iterator[CheckpointRow]:
    for parent in dirs:
        folders = [parent, *sorted(parent.iterdir())] if parent.is_dir() else []
        for folder in folders:
            if (folder / "model_index.json").is_file():
                try:
                    yield folder_row(folder)
                except (BadInput, ValueError):
                    continue  # another kind of model beside ours is not an error


def checkpoints(settings: Settings) -> dict[str, CheckpointRow]:
    """All rows by id: nano, the folders found, Stability's. The first of two equal names wins."""
    rows: dict[str, CheckpointRow] = {}
    if (NANO / "model_index.json").is_file():
        rows["nano"] = nano_row()
    for row in (*_discovered(checkpoint_dirs(settings)), *STABILITY_ROWS):
        rows.setdefault(row.id, row)
    return rows


def checkpoint(settings: Settings, id: str) -> CheckpointRow:
    """The row named ``id`` (not ``auto``); raises BadInput with the known names."""
    rows = checkpoints(settings)
    if id not in rows:
        raise BadInput(f"There is no checkpoint '{id}'. Known: {', '.join(rows)}.", field="checkpoint")
    return rows[id]


class ProfileRow(Frozen):
    """How a clip is fitted into memory. Figures are computed for SVD-XT at 1024x576, 25 frames (GiB)."""

    id: str
    title: str
    order: int
    offload: Literal["none", "model", "group"] = "none"
    guidance_in_turn: bool = False
    forward_chunking: bool = False
    decode_chunk_size: int = 8
    min_bytes: int = 0
    unet_gib: float | None = None
    decode_gib: float | None = None
    compile: bool = False


GB = 1_000_000_000
PROFILES: dict[str, ProfileRow] = {
    row.id: row
    for row in (
        ProfileRow(
            id="24gb",
            title="24 GB: everything resident",
            order=0,
            decode_chunk_size=14,
            min_bytes=22 * GB,
            unet_gib=11.9,
            decode_gib=20.0,
        ),
        ProfileRow(
            id="16gb",
            title="16 GB: resident, decode 8 at a time",
            order=1,
            decode_chunk_size=8,
            min_bytes=15 * GB,
            unet_gib=11.9,
            decode_gib=13.2,
        ),
        ProfileRow(
            id="12gb",
            title="12 GB: resident, chunked forward",
            order=2,
            forward_chunking=True,
            decode_chunk_size=5,
            min_bytes=11 * GB,
            unet_gib=8.6,
            decode_gib=9.8,
        ),
        ProfileRow(
            id="8gb",
            title="8 GB: model offload, guidance in turn",
            order=3,
            offload="model",
            guidance_in_turn=True,
            decode_chunk_size=4,
            min_bytes=7 * GB,
            unet_gib=6.7,
            decode_gib=4.7,
        ),
        ProfileRow(
            id="6gb",
            title="6 GB: and chunked forward",
            order=4,
            offload="model",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=2,
            min_bytes=5_500_000_000,
            unet_gib=5.1,
            decode_gib=2.4,
        ),
        ProfileRow(
            id="4gb",
            title="4 GB: streamed weights",
            order=5,
            offload="group",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=1,
            min_bytes=0,
            unet_gib=2.4,
            decode_gib=1.3,
        ),
        ProfileRow(id="cpu", title="CPU", order=6, guidance_in_turn=True, decode_chunk_size=8),
    )
}


def smaller_profile(id: str) -> ProfileRow | None:
    """The next rung down the ladder, or None at its foot."""
    ladder = [row for row in PROFILES.values() if row.id != "cpu"]
    below = [row for row in ladder if row.order > PROFILES[id].order]
    return below[0] if below else None


def profile_for(device_kind: str, total_bytes: int | None) -> tuple[ProfileRow, str]:
    """The profile ``auto`` means on a device, and why."""
    if device_kind == "cpu":
        return PROFILES["cpu"], "no GPU in use"
    if total_bytes is None:
        return PROFILES["8gb"], f"memory of {device_kind} is not known; not measured"
    for row in PROFILES.values():
        if row.id != "cpu" and total_bytes >= row.min_bytes:
            return row, f"{total_bytes / GB:.0f} GB on the device"
    return PROFILES["4gb"], "small device"
