"""Stretches of clips => latents and embeddings, computed once and kept on disk.

One safetensors file per stretch, named by everything it depends on, so a folder may gain clips, a run may be
stopped, and two runs on the same clips share the work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ... import clips
from ...clips import Stretch
from ...media import atomic
from ..conditioning import embed
from ..families import verbs_of
from ..runtime import Runtime
from .loss import ClipBatch

ENCODERS = ("vae", "image_encoder", "feature_extractor")


class Dataset:
    """The training set: ``build`` computes what is missing, ``batch`` reads."""

    def __init__(
        self, folder: Path, stretches: Sequence[Stretch], size: tuple[int, int], checkpoint: Path, scaling_factor: float
    ) -> None:
        """``size`` (width, height); ``checkpoint`` is the folder or file whose autoencoder and CLIP make the numbers."""
        self.folder, self.stretches, self._size = folder, list(stretches), size
        self._encoders, self._scaling_factor = _encoders(checkpoint), scaling_factor

    def __len__(self) -> int:
        return len(self.stretches)

    @torch.no_grad()
    def build(self, runtime: Runtime, progress: Callable[[int], object], stop: Callable[[], bool]) -> None:
        """Encode every stretch that is not on disk yet. ``progress`` hears how many are done; ``stop`` ends early."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for done, stretch in enumerate(self.stretches):
            progress(done)
            if stop():
                return
            path = self._path(stretch)
            if not path.exists():
                frames = clips.read(stretch, *self._size)
                with atomic(path) as temporary:
                    save_file(_encoded(runtime, frames), temporary)
        progress(len(self.stretches))

    def batch(self, indices: Sequence[int], device: torch.device) -> ClipBatch:
        """The clips of ``indices``, on ``device``."""
        read = [load_file(self._path(self.stretches[index])) for index in indices]
        chosen = [self.stretches[index] for index in indices]

        def stacked(name: str) -> Tensor:
            return torch.stack([one[name] for one in read]).to(device)

        return ClipBatch(
            latents=stacked("latents").float() * self._scaling_factor,
            embeds=stacked("embeds").float(),
            stills=stacked("still").float() / 127.5 - 1,
            fps=torch.tensor([float(round(one.fps)) for one in chosen], device=device),
            buckets=torch.tensor([float(one.motion_bucket_id) for one in chosen], device=device),
        )

    def still(self, index: int) -> np.ndarray:
        """The first frame of a stretch, uint8 ``[H W 3]``."""
        return load_file(self._path(self.stretches[index]))["still"].permute(1, 2, 0).numpy()

    def _path(self, stretch: Stretch) -> Path:
        stat = stretch.source.stat()
        key = [
            str(stretch.source.resolve()), stat.st_size, stat.st_mtime_ns, stretch.first, stretch.stride,
            stretch.num_frames, *self._size, self._encoders,
        ]  # fmt: skip
        return self.folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.safetensors"


def _encoders(checkpoint: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file that says what the encoders are: another generation has others."""
    parts = [checkpoint / part for part in ENCODERS if (checkpoint / part).is_dir()]
    files = [path for part in parts for path in sorted(part.iterdir()) if path.is_file()] or [checkpoint]
    return [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _encoded(runtime: Runtime, frames: np.ndarray) -> dict[str, Tensor]:
    """uint8 ``[F H W 3]`` => latents ``[F C h w]`` (unscaled, half), embeds ``[1 D]``, still ``[3 H W]`` (uint8)."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    latents = verbs_of(runtime.row).encode_clip(runtime, pixels.float() / 127.5 - 1).cpu()
    embeds = embed(runtime, pixels[:1].float() / 127.5 - 1)[0].cpu()
    return {"latents": latents.half().contiguous(), "embeds": embeds.contiguous(), "still": pixels[0].contiguous()}


def order(seed: int, position: int, count: int) -> int:
    """Which clip comes at ``position`` of an endless shuffled sequence: every clip once before any comes again.

    A function of its arguments alone, so that a resumed run goes on with the clips an unbroken one would see.
    """
    epoch, place = divmod(position, count)
    draw = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return int(torch.randperm(count, generator=draw)[place])
