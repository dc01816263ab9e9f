"""Does switching checkpoints leak? Resident memory over twenty switches between two random models.

The models have SVD's classes and at least 200 MB of weights each. Memory is read after each switch, while one model
is loaded; flat over the last ten means that the previous one is gone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil
import torch

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Models
from tests.tiny import save_tiny_svd

from ..report import Row

MB = 1e6
CHANNELS = (224, 448)


def rows(runs: int = 20) -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        folders = [save_tiny_svd(Path(place) / name, channels=CHANNELS, seed=i) for i, name in enumerate("ab")]
        resident, model, seconds = measure(folders, runs)
    last = resident[len(resident) // 2 :]
    growth = 100 * (last[-1] - last[0]) / last[0]
    note = f"{last[0]:.0f} MB, spread {max(last) - min(last):.1f}, models of {model:.0f} MB, {seconds:.2f} s a switch"
    return [Row(f"resident memory, last {len(last)} of {runs} switches", growth, "%", at_most=2, note=note)]


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
    return resident, size / MB, seconds
