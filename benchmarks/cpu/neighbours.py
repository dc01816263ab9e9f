"""The embedded checkpoint's warm clip with two busy programs beside it, over its time alone.

python -m benchmarks.cpu neighbours
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from svd_ui.assets import Assets
from svd_ui.jobs.compose import compose
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from ..report import Row
from .against_stock import busy
from .click_to_clip import STILL

LIMIT = 2.5
NEIGHBOURS = 2


def rows(runs: int = 5, checkpoint: str = "nano") -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), devices="cpu")
        request = GenerationRequest(image=Assets.of(settings).add(STILL).ref, checkpoint=checkpoint)
        with compose(settings) as service:
            for seed in range(2):  # the first is cold, and the worker gets ready for good after it
                _seconds(service, request, seed)
                time.sleep(3)
            alone = [_seconds(service, request, seed) for seed in range(runs)]
            with busy(NEIGHBOURS):
                _seconds(service, request, 0)
                beside = [_seconds(service, request, seed) for seed in range(runs)]
    note = f"alone {statistics.median(alone):.2f} s, beside them {statistics.median(beside):.2f} s"
    ratio = statistics.median(beside) / statistics.median(alone)
    return [
        Row(f"{checkpoint}, warm, beside {NEIGHBOURS} busy programs over alone", ratio, "x", at_most=LIMIT, note=note)
    ]


def _seconds(service: JobService, request: GenerationRequest, seed: int) -> float:
    began = time.perf_counter()
    job = service.wait(service.submit(request.model_copy(update={"seed": seed}), "benchmark").id, timeout=3600)
    if job.state != "finished":
        raise SystemExit(f"{job.state}: {job.message}")
    return time.perf_counter() - began
