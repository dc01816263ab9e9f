"""Whole clips as a person gets them, stock diffusers' beside ours: cold and warm, one thread and all, alone and not.

Each side is a process of its own over the same folder of weights: a script as diffusers' documentation has it, in
float32, and the queue, worker and encoder that are behind the page, in float32 and in the number format that this
processor is given where nobody says another. Cold is from the start of the process to the file, warm the next clip of
another picture. "Beside a busy program" means one that keeps a core busy. All threads is as many as each side takes by
itself.

    python -m benchmarks.cpu against_stock
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from ..clips import median_ratio
from ..report import Row

SIDES = ("stock", "ours")
WARM = 3
BUSY = "while True: pass"


def rows(runs: int = 2, config: str = "mid") -> list[Row]:
    from svd_ui.core.number_formats import bfloat16_units

    formats = ["float32", "auto"] if bfloat16_units() else ["float32"]
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        _run(["write", config, folder])
        for format, threads, neighbours in product(formats, (1, None), (0, 1)):
            rounds = [_round(Path(folder), config, format, threads, neighbours) for _ in range(runs)]
            words = (
                format if format == "float32" else "as chosen",
                "one thread" if threads else "all threads",
                "beside a busy program" if neighbours else "alone",
            )
            found += _compared(", ".join(words), rounds, at_least=1.0 if neighbours else 1.25)
    return found


def _compared(what: str, rounds: list[dict[str, list[float]]], at_least: float) -> list[Row]:
    """Cold and warm ratios of one situation; ``rounds``: side => seconds, the cold clip first."""
    made = []
    for name, part in (("cold", slice(0, 1)), ("warm", slice(1, None))):
        stock, ours = ([s for one in rounds for s in one[side][part]] for side in SIDES)
        note = f"stock {statistics.median(stock):.2f} s, ours {statistics.median(ours):.2f} s"
        made.append(
            Row(f"{what}, {name}: stock over ours", median_ratio(stock, ours), "x", at_least=at_least, note=note)
        )
    return made


def _round(folder: Path, config: str, format: str, threads: int | None, neighbours: int) -> dict[str, list[float]]:
    """A cold clip and warm ones of each side. They take turns: while one works, the other waits for its next order."""
    environment = dict(os.environ, PYTHONWARNINGS="ignore", SVD_UI_NUMBER_FORMAT=format)
    for ours in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # set here by our own import of torch
        environment.pop(ours, None)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with busy(neighbours), ExitStack() as stack:
        makers = {}
        for side in SIDES:
            began = time.perf_counter()
            makers[side] = stack.enter_context(_maker(side, folder, config, environment))
            _wait(makers[side])
            seconds[side].append(time.perf_counter() - began)
        for _ in range(WARM):
            for side, maker in makers.items():
                began = time.perf_counter()
                print(file=maker.stdin, flush=True)
                _wait(maker)
                seconds[side].append(time.perf_counter() - began)
    return seconds


@contextmanager
def busy(count: int) -> Iterator[None]:
    """``count`` programs that each keep a core busy."""
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@contextmanager
def _maker(side: str, folder: Path, config: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, side, config, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _wait(maker: subprocess.Popen[str]) -> None:
    assert maker.stdout is not None
    for line in maker.stdout:
        if line == "made\n":
            return
    raise SystemExit(
        "a clip was not made; run 'python -m benchmarks.cpu.against_stock stock|ours CONFIG FOLDER' to see why"
    )


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", __name__, *arguments], check=True)


# What the processes do. Stock's imports nothing of ours but the size of the clip.


def write(config: str, folder: Path) -> None:
    """The weights that both sides load, as a diffusers folder with the size of its clips."""
    import torch
    from diffusers import EulerDiscreteScheduler
    from transformers import CLIPImageProcessor

    from tests.tiny import SVD_SCHEDULER

    from ..ours import still, write_folder
    from ..stock import CONFIGS, Weights

    weights = Weights(CONFIGS[config], torch.device("cpu"), torch.float32)
    model = folder / "data" / "models" / config
    for name, module in weights.modules.items():
        module.save_pretrained(model / name)
    EulerDiscreteScheduler(**SVD_SCHEDULER).save_pretrained(model / "scheduler")
    CLIPImageProcessor().save_pretrained(model / "feature_extractor")
    write_folder(model, weights.config, weights)
    classes = {
        "unet": ("diffusers", "UNetSpatioTemporalConditionModel"),
        "vae": ("diffusers", "AutoencoderKLTemporalDecoder"),
        "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
        "scheduler": ("diffusers", "EulerDiscreteScheduler"),
        "feature_extractor": ("transformers", "CLIPImageProcessor"),
    }
    (model / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"} | classes))
    for number in range(WARM + 1):
        still(weights.config, number).save(folder / f"{number}.png")
    about = {
        "steps": weights.config.num_inference_steps,
        "width": weights.config.width,
        "height": weights.config.height,
    }
    (folder / "clip.json").write_text(json.dumps(about))


def stock(config: str, folder: Path) -> Iterator[None]:
    import torch
    from diffusers import StableVideoDiffusionPipeline
    from diffusers.utils import export_to_video, load_image

    clip = json.loads((folder / "clip.json").read_text())
    pipeline: Any = StableVideoDiffusionPipeline.from_pretrained(folder / "data" / "models" / config)
    for number in range(WARM + 1):
        frames = pipeline(
            load_image(str(folder / f"{number}.png")),
            width=clip["width"],
            height=clip["height"],
            num_inference_steps=clip["steps"],
            decode_chunk_size=8,
            generator=torch.manual_seed(number),
        ).frames[0]
        export_to_video(frames, str(folder / "stock.mp4"), fps=7)
        yield


def ours(config: str, folder: Path) -> Iterator[None]:
    from svd_ui.assets import Assets
    from svd_ui.jobs.compose import compose
    from svd_ui.request import GenerationRequest
    from svd_ui.settings import Settings

    settings = Settings(data_dir=folder / "data", devices="cpu")
    with compose(settings) as service:
        for number in range(WARM + 1):
            image = Assets.of(settings).add(folder / f"{number}.png").ref
            request = GenerationRequest(image=image, checkpoint=f"local:{config}", seed=number)
            job = service.wait(service.submit(request, "benchmark").id, timeout=3600)
            if job.state != "finished":
                raise SystemExit(f"{job.state}: {job.message}")
            yield


def main() -> None:
    side, config, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if side == "write":
        write(config, folder)
        return
    for _ in {"stock": stock, "ours": ours}[side](config, folder):
        print("made", flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
