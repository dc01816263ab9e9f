"""What a steered clip takes on this machine, beside what the engine says before it begins."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.report import Row
from svd_ui.assets import Assets
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

STILLS = REPOSITORY / "assets" / "examples"
RUNS = 2
EVERY = 0.02
"""Seconds between two looks at the memory in use."""
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "plain"},
    "camera": {"kind": "camera", "camera": "push in"},
    "lock": {"kind": "lock"},
    "drag": {"kind": "drag", "arrows": "0.5,0.5>0.6,0.5"},
    "brush": {"kind": "brush", "strokes": "width=0.2:0.5,0.5"},
    "end frame": {"kind": "end_frame"},
    "loop": {"kind": "loop"},
    "extend": {"kind": "extend", "seconds": 8},
}


class Peak:
    """Resident memory of this process, looked at again and again."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.bytes = self._process.memory_info().rss
        self._over = threading.Event()

    def watch(self) -> None:
        while not self._over.wait(EVERY):
            self.bytes = max(self.bytes, self._process.memory_info().rss)

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def rows() -> list[Row]:
    """Of the shipped checkpoint. Each clip has a picture of its own, so nothing kept from the last one helps."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), devices="cpu")
        engine = LocalEngine(settings)
        try:
            _clip(engine, settings, METHODS["plain"], 0)
            return [row for name, method in METHODS.items() for row in _case(engine, settings, name, method)]
        finally:
            engine.close()


def _case(engine: LocalEngine, settings: Settings, name: str, method: dict[str, Any]) -> Iterator[Row]:
    taken = [_clip(engine, settings, method, 1 + run) for run in range(RUNS)]
    seconds, peak = statistics.median(one for one, _, _ in taken), max(one for _, one, _ in taken)
    said = engine.estimate(taken[-1][2])
    if said.seconds is not None:
        note = f"{said.seconds:.2f} s said, {seconds:.2f} s taken"
        yield Row(f"cost, {name}: seconds said over taken", said.seconds / seconds, "x", at_least=0.9, at_most=1.1, note=note)  # fmt: skip
    if said.peak_bytes is not None:
        note = f"{said.peak_bytes / 2**20:.0f} MiB said, {peak / 2**20:.0f} MiB resident"
        yield Row(f"cost, {name}: memory said over taken", said.peak_bytes / peak, "x", at_least=0.9, at_most=1.1, note=note)  # fmt: skip


def _clip(
    engine: LocalEngine, settings: Settings, method: dict[str, Any], number: int
) -> tuple[float, int, GenerationRequest]:
    photo = fit(Image.open(sorted(STILLS.glob("*.jpg"))[0]), 640, 360)
    assets = Assets.of(settings)
    kept = [assets.keep(photo.crop((0, 0, photo.width - 2 * at, photo.height))) for at in (number, number + 50)]
    method = method | ({"image": kept[1]} if method["kind"] == "end_frame" else {})
    asked = GenerationRequest.model_validate(
        {"image": kept[0], "checkpoint": "nano", "seed": number, "width": 512, "height": 288, "method": method}
    )
    peak, began = Peak(), time.perf_counter()
    with peak.watching():
        for _ in engine.generate(asked, settings.data_dir / f"clip{number}", never()):
            pass
    return time.perf_counter() - began, peak.bytes, asked
