"""Does switching checkpoints leak? Resident memory over twenty switches between two random models.

    python -m benchmarks.switching [--switches 20] [--json]

The models have SVD's classes and at least 200 MB of weights each. Memory is read after each switch, while
one model is loaded; flat over the last ten means that the previous one is gone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Models
from tests.tiny import save_tiny_svd

MB = 1e6
CHANNELS = (224, 448)


def measure(folders: list[Path], switches: int) -> tuple[list[float], float, float]:
    """Resident MB after each switch, MB of one model's weights, seconds per switch."""
    models, process, resident = Models(), psutil.Process(), []
    plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
    started = time.perf_counter()
    for index in range(switches):
        folder = folders[index % len(folders)]
        runtime = models.get(folder_row(folder), folder, plan)
        modules = (runtime.unet, runtime.vae, runtime.image_encoder)
        tensors = [tensor for module in modules for tensor in module.parameters()]
        for tensor in tensors:
            tensor.sum()  # read every page, as running the model would
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        del runtime, modules, tensors, tensor
        resident.append(process.memory_info().rss / MB)
    seconds = (time.perf_counter() - started) / switches
    models.release()
    resident.append(process.memory_info().rss / MB)
    return resident, size / MB, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = [save_tiny_svd(Path(place) / name, channels=CHANNELS, seed=i) for i, name in enumerate("ab")]
        resident, model_mb, seconds = measure(folders, options.switches)
    *switched, released = resident
    last = switched[len(switched) // 2 :]
    report = {
        "model_mb": round(model_mb),
        "resident_mb": [round(value) for value in switched],
        "growth_mb": round(last[-1] - last[0], 1),
        "spread_mb": round(max(last) - min(last), 1),
        "released_mb": round(released),
        "seconds_per_switch": round(seconds, 2),
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
