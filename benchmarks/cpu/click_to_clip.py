"""From submit to a playable clip, through queue, worker process and encoder, as the page does it.

The first clip is cold (process start, imports, loading); the others are warm. A clip counts as playable when its mp4
can be decoded to its last frame. Uses a data folder of its own. The limit is for two cores with bfloat16 units.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from svd_ui.assets import Assets
from svd_ui.jobs.compose import compose
from svd_ui.jobs.service import JobService
from svd_ui.media.video import read_frames
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

from ..report import Row

LIMIT = 12.0
STILL = sorted((REPOSITORY / "assets" / "examples").glob("*.jpg"))[0]


def rows(runs: int = 3, checkpoint: str = "nano") -> list[Row]:
    cold, *warm = measure(checkpoint, runs)
    half = cold["dtype"] == "bfloat16"
    what = f"{checkpoint}, submit to playable clip"
    note = f"{cold['frames']} frames in {cold['dtype']}"
    return [
        Row(f"{what}, cold", cold["seconds"], "s", note=_stages(cold)),
        Row(
            f"{what}, warm",
            statistics.median(run["seconds"] for run in warm),
            "s",
            at_most=LIMIT if half else None,
            note=f"{note}; {_stages(warm[-1])}",
        ),
    ]


def measure(checkpoint: str, runs: int) -> list[dict[str, Any]]:
    """The cold clip and ``runs`` warm ones, same still, new seeds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        image = Assets.of(settings).add(STILL).ref
        with compose(settings) as service:
            requests = [GenerationRequest(image=image, checkpoint=checkpoint, seed=seed) for seed in range(runs + 1)]
            return [_one_clip(service, request) for request in requests]


def _one_clip(service: JobService, request: GenerationRequest) -> dict[str, Any]:
    """Seconds from submit to playable, and the engine's own seconds per stage."""
    began = time.perf_counter()
    job = service.wait(service.submit(request, "benchmark").id, timeout=3600)
    if job.state != "finished" or job.result is None:
        raise SystemExit(f"{job.state}: {job.message}")
    video = service.file(job, "video")
    assert video is not None
    frames = len(read_frames(video))
    effective = job.result.effective
    return {
        "seconds": time.perf_counter() - began,
        "frames": frames,
        "stages": job.result.seconds,
        "dtype": effective.dtype if effective else "",
    }


def _stages(run: dict[str, Any]) -> str:
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in run["stages"].items())
