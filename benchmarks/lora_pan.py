"""Whether fine-tuning works: a LoRA trained on clips that all pan left makes the embedded checkpoint pan left.

    python -m benchmarks.lora_pan [--steps 300] [--json FILE]

Renders 48 clips of a camera sliding left (the picture moves right) from the bundled example photographs, trains
a LoRA on ``nano`` as ``python -m svd_ui train`` does, and animates ten other photographs with and without it, at
the same seeds. ``nano`` itself slides the other way, so the sign has to change. Flow is OpenCV's DIS, in
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

from benchmarks.nano_quality import SEED, grey, still_of
from svd_ui import loras
from svd_ui.cancel import never
from svd_ui.catalog import NANO, PROFILES, nano_row
from svd_ui.core.devices import Plan
from svd_ui.core.lora import Lora, in_force
from svd_ui.core.runtime import Runtime
from svd_ui.media.video import Mp4Writer
from svd_ui.request import LoraRef
from svd_ui.settings import Settings
from svd_ui.train.motion import FULL_FLOW, Motion, at_flow
from svd_ui.train.photos import augment, find_photos, load_photo, shuffled
from svd_ui.train.render import choose_view, render
from svd_ui.train.tune import run
from svd_ui.train.tune.samples import Sampler
from svd_ui.training import TrainRequest

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = ROOT / "benchmarks" / "data"
EXAMPLES = ROOT / "assets" / "examples"
SIZE, FRAMES, FPS = (144, 256), 14, 7.0
NAME = "pans left"


def write_clips(folder: Path, count: int) -> None:
    """``count`` mp4 files of a camera sliding left at 0.2 to 1 pixels a frame."""
    rng = np.random.default_rng(SEED)
    held_out = [path.stem for path in HELD_OUT.glob("*.jpg")]
    paths = find_photos([EXAMPLES], held_out)
    for index, path in zip(range(count), shuffled(paths, rng), strict=False):
        motion = at_flow(Motion(pan=(60.0, 0.0)), rng.uniform(0.2, 1.0) * FULL_FLOW, SIZE, FRAMES, FPS)
        frames = render(choose_view(augment(load_photo(path), rng), SIZE, rng), motion, SIZE, FRAMES, FPS)
        with Mp4Writer(folder / f"{index:03d}.mp4", SIZE[1], SIZE[0], FPS) as writer:
            writer.add(frames)


def sideways(clip: NDArray[np.uint8]) -> float:
    """Median horizontal flow over all pixels and pairs of frames, pixels per frame."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = [dis.calc(grey(a), grey(b), None)[..., 0] for a, b in itertools.pairwise(clip)]  # type: ignore[call-overload]
    return float(np.median(np.stack(flows)))


def measure(runtime: Runtime, chosen: list[Lora]) -> dict[str, float]:
    """Held-out photograph => its clip's sideways flow, with ``chosen`` in force."""
    found = {}
    with in_force(runtime, chosen):
        for index, path in enumerate(sorted(HELD_OUT.glob("*.jpg"))):
            sampler = Sampler.of(runtime, still_of(path, SIZE)[0], FRAMES, SEED + index)
            found[path.stem] = sideways(sampler.frames(never()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--targets", choices=("temporal", "spatial", "both"), default="temporal")
    parser.add_argument("--layers", choices=("attention", "transformer", "all"), default="attention")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
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
            learning_rate=given.learning_rate, batch_size=2, gradient_checkpointing=False, sample_every=0,
            static_below=0.0,
        ).resolved(nano_row())  # fmt: skip
        began = time.monotonic()
        run(request, nano_row(), NANO, settings, never())
        minutes = (time.monotonic() - began) / 60
        lora = Lora(loras.find(settings, LoraRef(name=NAME)), given.weight)
        plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
        runtime = Runtime(nano_row(), NANO, plan)
        base, tuned = measure(runtime, []), measure(runtime, [lora])
    _report(base, tuned, minutes, given.json)


def _report(base: dict[str, float], tuned: dict[str, float], minutes: float, path: Path | None) -> None:
    for name in base:
        print(f"{name:>16}  base {base[name]:+.2f}  LoRA {tuned[name]:+.2f} px per frame")
    print(
        f"median: base {statistics.median(base.values()):+.2f}, LoRA {statistics.median(tuned.values()):+.2f}; "
        f"{sum(value > 0 for value in tuned.values())} of {len(tuned)} pan left; trained in {minutes:.1f} minutes"
    )


if __name__ == "__main__":
    main()
