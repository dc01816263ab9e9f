"""From submit to a playable clip, through queue, worker process and encoder, as the page does it.

    python -m benchmarks.click_to_clip [--checkpoint nano] [--runs 3] [--json]

The first clip is cold (process start, imports, loading); the others are warm. A clip counts as playable when
its mp4 can be decoded to its last frame. Uses a data folder of its own.
"""

from __future__ import annotations

import argparse
import json
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
from svd_ui.settings import Settings

STILL = Path(__file__).resolve().parent.parent / "assets" / "examples"


def one_clip(service: JobService, request: GenerationRequest) -> dict[str, Any]:
    """Seconds from submit to playable, and the engine's own seconds per stage."""
    began = time.perf_counter()
    job = service.wait(service.submit(request, "benchmark").id, timeout=3600)
    if job.state != "finished" or job.result is None:
        raise SystemExit(f"{job.state}: {job.message}")
    video = service.file(job, "video")
    assert video is not None
    frames = len(read_frames(video))
    seconds = time.perf_counter() - began
    effective = job.result.effective
    return {
        "seconds": round(seconds, 2),
        "frames": frames,
        "stages": {name: round(value, 2) for name, value in job.result.seconds.items()},
        "device": effective.device if effective else "",
        "dtype": effective.dtype if effective else "",
    }


def measure(checkpoint: str, runs: int, still: Path) -> dict[str, Any]:
    """The cold clip and ``runs`` warm ones, same still, new seeds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        image = Assets.of(settings).add(still).ref
        with compose(settings) as service:
            requests = [GenerationRequest(image=image, checkpoint=checkpoint, seed=seed) for seed in range(runs + 1)]
            cold, *warm = [one_clip(service, request) for request in requests]
    return {"checkpoint": checkpoint, "still": still.name, "cold": cold, "warm": warm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--runs", type=int, default=3, help="warm clips")
    parser.add_argument("--still", type=Path, default=sorted(STILL.glob("*.jpg"))[0])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.checkpoint, given.runs, given.still)
    figures["warm_median"] = round(statistics.median(run["seconds"] for run in figures["warm"]), 2)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    cold = figures["cold"]
    print(f"{given.checkpoint} on {cold['device']} in {cold['dtype']}, {cold['frames']} frames")
    for name, run in [("cold", cold), *((f"warm {n}", run) for n, run in enumerate(figures["warm"], 1))]:
        print(f"{name:8} {run['seconds']:7.2f} s   " + "  ".join(f"{k} {v:.2f}" for k, v in run["stages"].items()))
    print(f"warm median {figures['warm_median']:.2f} s")


if __name__ == "__main__":
    main()
