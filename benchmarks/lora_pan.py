"""Whether fine-tuning works: a LoRA trained on clips that all pan left makes the embedded checkpoint pan left.

    python -m benchmarks.lora_pan [--steps 150] [--json FILE]

Renders 48 clips of a camera sliding left (the picture moves right) from the bundled example photographs, trains
a LoRA on ``nano`` as ``python -m svd_ui train`` does, and animates ten other photographs with and without it, at
the same seeds. ``nano`` itself moves the camera this way or that, so every clip has to turn. Flow is OpenCV's DIS, in
pixels per frame, positive where the picture moves right.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.nano_quality.checkpoint import SEED, Photo
from benchmarks.nano_quality.tracks import grey
from benchmarks.report import Row, finish
from recipes.nano.photos import augment, find_photos, load_photo, shuffled
from recipes.nano.render import choose_view, render
from svd_ui import loras
from svd_ui.catalog import NANO, PROFILES, nano_row
from svd_ui.core.devices import Plan, describe
from svd_ui.core.families.scene import Scene
from svd_ui.core.finetune import run
from svd_ui.core.finetune.validation_sampler import ValidationSampler
from svd_ui.core.lora import Lora, use_loras
from svd_ui.core.runtime import Runtime
from svd_ui.events import never
from svd_ui.finetune import TrainRequest
from svd_ui.media.video import Mp4Writer
from svd_ui.request import LoraRef
from svd_ui.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = ROOT / "benchmarks" / "data"
EXAMPLES = ROOT / "assets" / "examples"
SIZE, FRAMES, FPS = (144, 256), 14, 7.0
NAME = "pans left"


def write_clips(folder: Path, count: int) -> None:
    """``count`` mp4 files of a camera sliding left at 0.25 to 1.25 pixels a frame."""
    rng = np.random.default_rng(SEED)
    held_out = [path.stem for path in HELD_OUT.glob("*.jpg")]
    paths = find_photos([EXAMPLES], held_out)
    for index, path in zip(range(count), shuffled(paths, rng), strict=False):
        view = choose_view(augment(load_photo(path), rng), SIZE, rng)
        frames = render(view, sliding_left(rng.uniform(0.25, 1.25)), SIZE)
        with Mp4Writer(folder / f"{index:03d}.mp4", SIZE[1], SIZE[0], FPS) as writer:
            writer.add(frames)


def sliding_left(pixels: float) -> Scene:
    """A camera that goes so many ``pixels`` to the left from each frame to the next; all is equally far."""
    cells = SIZE[0] // 16, SIZE[1] // 16
    pose = torch.zeros(FRAMES, 5)
    pose[:, 0] = -pixels * torch.arange(FRAMES) / (max(SIZE) / 2)
    return Scene(pose, torch.zeros(cells), torch.zeros(FRAMES, 2, *cells))


def sideways(clip: NDArray[np.uint8]) -> float:
    """Median horizontal flow over all pixels and pairs of frames, pixels per frame."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = [dis.calc(grey(a), grey(b), None)[..., 0] for a, b in itertools.pairwise(clip)]  # type: ignore[call-overload]
    return float(np.median(np.stack(flows)))


def measure(runtime: Runtime, chosen: list[Lora]) -> dict[str, float]:
    """Held-out photograph => its clip's sideways flow, with ``chosen`` in force."""
    found = {}
    with use_loras(runtime, chosen):
        for index, path in enumerate(sorted(HELD_OUT.glob("*.jpg"))):
            sampler = ValidationSampler.of(runtime, Photo.open(path, SIZE).still, FRAMES, SEED + index)
            found[path.stem] = sideways(sampler.frames(never()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--targets", choices=("temporal", "spatial", "both"), default="both")
    parser.add_argument("--layers", choices=("attention", "transformer", "all"), default="all")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(data_dir=Path(place), devices="cpu")
        data = Path(place) / "clips"
        data.mkdir()
        write_clips(data, given.clips)
        request = TrainRequest(
            name=NAME, data=data, checkpoint="nano", targets=given.targets, rank=given.rank, layers=given.layers, steps=given.steps,
            learning_rate=given.learning_rate, warmup_steps=20, batch_size=2, gradient_checkpointing=False, sample_every=0,
            static_below=0.0,
        ).resolved(nano_row())  # fmt: skip
        began = time.monotonic()
        run(request, nano_row(), NANO, settings, never())
        minutes = (time.monotonic() - began) / 60
        lora = Lora(loras.find(settings, LoraRef(name=NAME)), given.weight)
        plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
        runtime = Runtime(nano_row(), NANO, plan)
        base, tuned = measure(runtime, []), measure(runtime, [lora])
    finish("lora_pan", describe("cpu").name, _rows(base, tuned, minutes, given.steps), given.json)


def _rows(base: dict[str, float], tuned: dict[str, float], minutes: float, steps: int) -> list[Row]:
    """One row per photograph, then what has to hold: all but two pan left, by a quarter of a pixel a frame and more."""
    rows = [Row(f"{name}: base", base[name], "px") for name in base]
    rows += [Row(f"{name}: with the LoRA", tuned[name], "px") for name in tuned]
    before, after = statistics.median(base.values()), statistics.median(tuned.values())
    return [
        *sorted(rows, key=lambda row: row.what),
        Row("median: base", before, "px", at_most=0.15, at_least=-0.15),
        Row("median: with the LoRA", after, "px", at_least=0.25),
        Row("photographs that pan left: base", sum(value > 0.1 for value in base.values()), f"of {len(base)}"),
        Row("photographs that pan left", sum(value > 0.1 for value in tuned.values()), f"of {len(tuned)}", at_least=8),
        Row("training", minutes, "minutes", at_most=20, note=f"{steps} steps"),
    ]


if __name__ == "__main__":
    main()
