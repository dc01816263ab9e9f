"""Whether the same requests still give the same clips: frames and latents of twelve of them, before and after a change.

    python -m benchmarks.same_clips record FILE.json      make them and write down what came out
    python -m benchmarks.same_clips compare FILE.json     make them again; the exit status is 1 where anything differs

The embedded checkpoint through the engine as the app calls it, in a data folder of its own: sizes, speeds, guidance,
reused features, motion, LoRAs, every file format and a draft wall. What decides how a clip is computed is fixed: the
CPU, one thread, float32, SDPA, and nothing is measured, so that no race decides. ``FILE.json`` holds a SHA-256 for each
thing that was made; ``FILE.npz`` beside it the numbers themselves, so that ``compare`` can tell by how much they
differ. It may be missing.

Everything has to be the same to the bit. Other processors and versions of torch compute other last digits, other
versions of PyAV encode otherwise: record and compare on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from safetensors.numpy import load_file, save_file

from benchmarks.report import versions
from svd_ui.assets import Assets
from svd_ui.engine.local import LocalEngine
from svd_ui.events import never
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

Array = NDArray[Any]
STILL = REPOSITORY / "assets" / "examples" / "mountains.jpg"
THREADS = 1
FRAMES = {"output_format": "png"}
GUIDED = {"min_guidance_scale": 1.0, "max_guidance_scale": 2.5}
REQUESTS: dict[str, dict[str, Any]] = {
    "native, exact": {**FRAMES, "seed": 1},
    "native, fast": {"seed": 1, "speed": "fast", "output_format": "webp"},
    "native, draft": {"seed": 2, "speed": "draft", "output_format": "gif"},
    "square": {"width": 384, "height": 384, "seed": 3, "focus_x": 0.2},
    "portrait": {**FRAMES, "width": 288, "height": 512, "seed": 4, "speed": "fast", "focus_x": 0.8},
    "guided": {**FRAMES, **GUIDED, "seed": 5},
    "guided in part, decoded by fours": {
        **FRAMES,
        **GUIDED,
        "guidance_sigma_min": 0.5,
        "guidance_sigma_max": 30.0,
        "decode_chunk_size": 4,
        "seed": 5,
    },
    "features reused": {**FRAMES, "cache_interval": 2, "num_inference_steps": 12, "num_frames": 8, "seed": 6},
    "lively, much noise, other rates": {
        **FRAMES,
        "motion_bucket_id": 230,
        "noise_aug_strength": 0.2,
        "fps": 14,
        "output_fps": 24,
        "seed": 4_000_000_000,
    },
    "one LoRA, guided": {**FRAMES, **GUIDED, "loras": [{"name": "first", "weight": 0.7}], "seed": 7, "speed": "fast"},
    "two LoRAs": {
        **FRAMES,
        "loras": [{"name": "first", "weight": -0.5}, {"name": "second", "weight": 1.5}],
        "seed": 7,
        "speed": "fast",
    },
    "draft wall, after the LoRAs": {
        "wall": {"seeds": 2, "motion_bucket_ids": [40, 200]},
        "speed": "draft",
        "seed": 2**32 - 1,
    },
}
"""One request each, by what is special about it. The last one also shows that LoRAs leave the weights as they were."""

LAYERS = {
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": 64,
    "mid_block.attentions.0.temporal_transformer_blocks.0.attn1.to_v": 128,
}
"""Layers of nano's U-Net that the LoRAs change, with their width: one within a frame, one over time."""
FORMS = {"first": ("{}.lora_A.weight", "{}.lora_B.weight"), "second": ("{}.lora_down.weight", "{}.lora_up.weight")}
"""LoRA => what its program calls the two halves."""
RANK = 4


def settings_in(data_dir: Path) -> Settings:
    """An installation in ``data_dir`` in which everything is fixed that would be chosen by its time."""
    fixed = {"devices": "cpu", "profile": "cpu", "attention": "sdpa", "compile": "off", "exact": True}
    return Settings(_env_file=None, data_dir=data_dir, checkpoint="nano", **fixed)  # type: ignore[arg-type]


def fix_number_format(settings: Settings) -> None:
    """Where a CPU with bfloat16 units has raced float32 against bfloat16, let float32 have won."""
    LocalEngine(settings).describe()
    if settings.measured_file.is_file():
        measured = json.loads(settings.measured_file.read_text("utf-8"))
        races = [what for what in measured.values() if isinstance(what, dict) and "bfloat16" in what]
        for race in races:
            race |= {"float32": 1.0, "bfloat16": 2.0}
        settings.measured_file.write_text(json.dumps(measured), "utf-8")
    found = LocalEngine(settings).describe()
    if (found.dtype, found.threads or THREADS, found.attention) != ("float32", THREADS, "sdpa"):
        sys.exit(f"Not as it has to be: {found.dtype}, {found.threads} threads, {found.attention}.")


def write_loras(settings: Settings) -> None:
    """Small add-ons with random values, in the spelling of two programs."""
    folder = settings.models_dir / "loras"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, (down, up) in FORMS.items():
        tensors: dict[str, Array] = {}
        for layer, width in LAYERS.items():
            tensors[down.format(layer)] = 0.2 * draw.standard_normal((RANK, width), np.float32)
            tensors[up.format(layer)] = 0.2 * draw.standard_normal((width, RANK), np.float32)
        save_file(tensors, folder / f"{name}.safetensors")


def make_all(data_dir: Path) -> Iterator[tuple[str, dict[str, Array]]]:
    """Each request's name with all that was made of it."""
    settings = settings_in(data_dir)
    fix_number_format(settings)
    write_loras(settings)
    assets, engine = Assets.of(settings), LocalEngine(settings)
    image = assets.add(STILL).ref
    for number, (name, values) in enumerate(REQUESTS.items()):
        request = GenerationRequest.model_validate({"image": image, "checkpoint": "nano", **values})
        out = data_dir / f"clip-{number:02}"
        *_, finished = engine.generate(request, out, never())
        made = {file.name: array for file in sorted(out.iterdir()) if (array := read(file)) is not None}
        last = finished.result.last_frame  # type: ignore[union-attr]
        if last is not None:  # the only frame of an mp4 that no codec has touched
            made["last frame"] = np.asarray(assets.open(last))
        yield name, made
    engine.close()


def read(file: Path) -> Array | None:
    """Frames ``[F H W 3]`` or latents ``[1 F C h w]`` of a file of a clip; None for one that holds neither."""
    match file.suffix:
        case ".mp4":
            with av.open(str(file)) as clip:
                return np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)])
        case ".gif" | ".webp":
            with Image.open(file) as animation:
                return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)])
        case ".zip":
            with zipfile.ZipFile(file) as frames:
                names = sorted(name for name in frames.namelist() if name.endswith(".png"))
                return np.stack([np.asarray(Image.open(frames.open(name)).convert("RGB")) for name in names])
        case ".safetensors":
            return load_file(file)["latents"]
    return None


def digest(array: Array) -> str:
    """SHA-256 of the numbers with their type and shape."""
    about = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(about + np.ascontiguousarray(array).tobytes()).hexdigest()


def record(file: Path, data_dir: Path) -> None:
    """Write ``file`` and the numbers beside it."""
    hashes: dict[str, dict[str, str]] = {}
    arrays: dict[str, Array] = {}
    for name, made in make_all(data_dir):
        hashes[name] = {part: digest(array) for part, array in made.items()}
        arrays |= {f"{name}: {part}": array for part, array in made.items()}
        print(f"{name}: {', '.join(made)}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"versions": versions(), "clips": hashes}, indent=1) + "\n", "utf-8")
    np.savez_compressed(file.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]


def compare(file: Path, data_dir: Path) -> bool:
    """Print a line for each thing made; whether all are what ``file`` says."""
    recorded = json.loads(file.read_text("utf-8"))
    if recorded["versions"] != versions():
        print(f"Recorded with {recorded['versions']}, this is {versions()}.")
    numbers = file.with_suffix(".npz")
    before: Mapping[str, Array] = np.load(numbers) if numbers.is_file() else {}
    same = True
    for name, made in make_all(data_dir):
        expected: dict[str, str] = recorded["clips"].get(name, {})
        for part in sorted({*expected, *made}):
            now, old = made.get(part), before.get(f"{name}: {part}")
            alike = now is not None and digest(now) == expected.get(part)
            same &= alike
            verdict, note = ("same", "") if alike else ("DIFFERENT", difference(old, now))
            print(f"{name:34} {part:22} {verdict}  {note}".rstrip(), flush=True)
    return same


def difference(before: Array | None, now: Array | None) -> str:
    """How far apart two arrays are, as far as it can be told."""
    if now is None:
        return "it is no longer made"
    if before is None:
        return "no numbers to compare with"
    if before.shape != now.shape:
        return f"{list(now.shape)}, was {list(before.shape)}"
    apart = np.abs(before.astype(np.float64) - now.astype(np.float64))
    return f"by at most {apart.max():.3g}, {apart.mean():.2g} in the mean, {np.count_nonzero(apart) / apart.size:.1%} of the numbers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path, metavar="FILE.json")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(THREADS)  # before torch is there: the app then leaves the number alone
    with tempfile.TemporaryDirectory() as place:
        if given.action == "record":
            record(given.file, Path(place))
        elif not compare(given.file, Path(place)):
            sys.exit(1)


if __name__ == "__main__":
    main()
