"""What a clip takes from the picture to the mp4, through the app's own engine."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report import Row
from svd_ui.assets import Assets
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.events import Finished, Result
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

STILL = REPOSITORY / "assets" / "examples"
CASES: dict[str, tuple[float, dict[str, Any]]] = {
    "512x288, its own length": (3.0, {"width": 512, "height": 288}),
    "1920x1080, 3 s": (20.0, {"width": 512, "height": 288, "num_frames": 16, "render_height": 1080}),
}
"""What is asked of the shipped checkpoint, and within how many seconds."""


def rows(runs: int = 3) -> list[Row]:
    """Medians of ``runs`` warm clips, each with a seed and a picture of its own, so that nothing kept from the last helps."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), devices="cpu")
        engine = LocalEngine(settings)
        try:
            return [_case(engine, settings, what, limit, values, runs) for what, (limit, values) in CASES.items()]
        finally:
            engine.close()


def _case(engine: LocalEngine, settings: Settings, what: str, limit: float, values: dict[str, Any], runs: int) -> Row:
    photo = fit(Image.open(sorted(STILL.glob("*.jpg"))[0]), 1960, 1110)
    taken, result = [], None
    for seed in range(runs + 1):
        image = Assets.of(settings).keep(photo.crop((0, 0, photo.width - 2 * seed, photo.height)))
        asked = GenerationRequest(image=image, checkpoint="nano", seed=seed, **values)
        began = time.perf_counter()
        result = _result(engine, asked, settings.data_dir / "clip")
        taken.append(time.perf_counter() - began)
    assert result is not None and result.shape is not None
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.seconds.items())
    shape = result.shape
    note = f"{shape.num_frames} frames of {shape.width}x{shape.height} at {shape.fps} fps; {stages}"
    return Row(f"picture to mp4, warm, {what}", statistics.median(taken[1:]), "s", at_most=limit, note=note)


def _result(engine: LocalEngine, asked: GenerationRequest, out: Path) -> Result:
    for event in engine.generate(asked, out, never()):
        if isinstance(event, Finished):
            return event.result
    raise SystemExit("the engine ended without a clip")
