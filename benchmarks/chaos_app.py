"""The app that ``benchmarks.chaos`` kills: one folder of data, a worker whose steps take some time and are all kept."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

from svd_ui.assets import Assets
from svd_ui.engine import CancelToken, Engine
from svd_ui.events import Event
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from . import forked

STEPS = 30
STEP_SECONDS = 0.1
SEEDS = 2
SIZES = {"nano": (128, 64), "local:tiny": (64, 64)}
"""Checkpoint => width and height; tiny has SVD's own classes and random weights."""


def slowed(settings: Settings, device: str | None) -> Engine:
    """What the worker runs: the real engine, each of whose steps is kept and takes some time."""
    from svd_ui.engine import progress
    from svd_ui.engine.local import LocalEngine

    progress.KEEP_SECONDS = 0.0

    class Slowed(LocalEngine):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            for event in super().generate(request, out, cancel):
                yield event
                time.sleep(STEP_SECONDS if event.stage in ("denoising", "decoding", "writing") else 0.0)

    return Slowed(settings, device)


def serve(data: Path) -> None:
    """One app, until it is killed."""
    from benchmarks import chaos_app  # by its name, as the worker finds it
    from svd_ui.engine.worker import WorkerEngine

    settings = settings_of(data)
    forked.use(data)
    service = JobService(settings, WorkerEngine(settings, "cpu", factory=chaos_app.slowed))
    service.start()
    while True:
        time.sleep(60)


def settings_of(data: Path) -> Settings:
    return Settings(_env_file=None, data_dir=data, devices="cpu", checkpoint="nano", max_queue=1000)


def prepare(data: Path) -> None:
    """A folder of data with the tiny checkpoint."""
    from tests.tiny import save_tiny_svd

    save_tiny_svd(settings_of(data).models_dir / "tiny")


def requests(settings: Settings) -> list[GenerationRequest]:
    from PIL import Image

    picture = Image.effect_mandelbrot((320, 192), (-2.2, -1.2, 0.8, 1.2), 60).convert("RGB")
    image = Assets.of(settings).keep(picture)
    more = {"image": image, "num_inference_steps": STEPS, "decode_chunk_size": 4}
    return [
        GenerationRequest(checkpoint=checkpoint, width=width, height=height, seed=seed, **more)
        for checkpoint, (width, height) in SIZES.items()
        for seed in range(SEEDS)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    serve(parser.parse_args().data)
