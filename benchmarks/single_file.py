"""Loading SVD-XT at full size: one file in Stability's layout against a diffusers folder, memory and seconds.

Weights are random and stored in half precision, the names and shapes are the real ones (2.25 billion numbers, 4.5 GB).
Every way loads in a process of its own that then reads every weight once, so that what is mapped counts too. "peak" is
the system's own figure for the most memory resident at any moment (VmHWM, Linux); "own" is what of it at the end belongs
to no file (RssAnon) and could not be dropped and read again.

    python -m benchmarks.single_file              # about 5 GB on the disk and 14 GB of memory for the time it runs
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import models
from benchmarks.meta import row_of
from benchmarks.report import Row, finish, parser
from svd_ui.catalog.component_configs import FILES, config_of, default_config
from svd_ui.core.devices import describe
from svd_ui.stability_keys import COMPONENTS, Tensors, TensorSource

LIMIT = 1.3
"""Of the file's size, for what is loaded as it is stored."""
NAMES = dict.fromkeys(("unet", "vae"), "diffusion_pytorch_model") | {"image_encoder": "model"}
BLOCK = 2**24
LAYOUT = {
    "unet": Tensors({}, "unet", "model.diffusion_model.", True, 2),
    "vae": Tensors({}, "vae", "first_stage_model.", True, 4, "first_stage_model."),
    "image_encoder": Tensors({}, "image_encoder", "conditioner.embedders.0.open_clip.model.visual.", True),
}


def shapes(component: str) -> dict[str, tuple[int, ...]]:
    return models.shapes_of(getattr(models, component)())


def in_stability_names(component: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the file: q, k and v in one, the projection across; no ``quant_conv`` in the first stage."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(component).items():
        source: TensorSource = LAYOUT[component].source(name)
        if source.name is not None:
            rows, *rest = reversed(shape) if source.transposed else shape
            found[source.name] = (rows * (3 if source.third is not None else 1), *rest)
    return found


def write(path: Path, tensors: models.Shapes) -> None:
    """A safetensors file of half-precision noise, written in blocks."""
    beginning, size = models.header_of(tensors)
    noise = (torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)) * 0.02).half().numpy().tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(beginning)
        for begin in range(0, size, len(noise)):
            file.write(noise[: size - begin])


def make_folder(folder: Path) -> Path:
    row = row_of("svd")
    for component in COMPONENTS:
        own = shapes(component)
        header = {name: {"dtype": "F16", "shape": list(shape)} for name, shape in own.items()}
        write(folder / component / f"{NAMES[component]}.fp16.safetensors", own)
        config = default_config(row, component, Tensors.find(header, component))
        (folder / component / "config.json").write_text(json.dumps(config))
    for name, file in FILES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(config_of(folder, name, row)))
    return folder


def make_file(folder: Path) -> Path:
    path = folder / "svd_xt.safetensors"
    write(path, {name: shape for component in COMPONENTS for name, shape in in_stability_names(component).items()})
    return path


# In a process of its own


def load(source: Path, way: str, dtype: torch.dtype) -> dict[str, float]:
    """Load every component, then read every weight once."""
    from svd_ui.core.loading import load_module, warm_up

    warm_up()
    before, began = memory(), time.perf_counter()
    row = row_of("svd")
    if way == "stock":
        modules = [_stock(source, component, dtype) for component in COMPONENTS]
    else:
        modules = [load_module(source, component, dtype, row) for component in COMPONENTS]
    loaded = time.perf_counter()
    total = sum(float(weight.flatten()[:: 2048 // weight.itemsize].float().sum()) for weight in weights(modules))
    assert math.isfinite(total)
    read = time.perf_counter()
    after = memory()
    return {
        "seconds": loaded - began,
        "seconds_read": read - began,
        "peak": after["VmHWM"],
        "own": after["RssAnon"],
        "before": before["VmRSS"],
    }


def weights(modules: list[Any]) -> Iterator[torch.Tensor]:
    for module in modules:
        yield from module.parameters()


def _stock(source: Path, component: str, dtype: torch.dtype) -> Any:
    from svd_ui.core.loading import component_class

    cls = component_class(source, component, row_of("svd"))
    return cls.from_pretrained(source / component, variant="fp16", dtype=dtype, local_files_only=True)


def memory() -> dict[str, int]:
    """Bytes by the system's names for them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmHWM", "VmRSS", "Rss"))
    }


def measured(source: Path, way: str, dtype: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.single_file", "--load", str(source), way, dtype]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(scratch: Path) -> Iterator[Row]:
    makers = {"folder": make_folder, "file": make_file}
    for what, make in makers.items():
        source = make(scratch / what)
        size = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
        yield Row(f"{what}: size", size / 1e9, "GB")
        for dtype in ("float16", "float32"):
            for way in ("ours", "stock") if what == "folder" else ("ours",):
                found = measured(source, way, dtype)
                name = f"{what}, {way}, as {dtype}"
                limit = LIMIT if (way, dtype) == ("ours", "float16") else None
                yield Row(
                    f"{name}: peak", found["peak"] / 1e9, "GB", note=f"{found['before'] / 1e9:.2f} before loading"
                )
                yield Row(f"{name}: peak over the size", found["peak"] / size, "x", at_most=limit)
                yield Row(f"{name}: own memory at the end", found["own"] / 1e9, "GB")
                yield Row(f"{name}: loaded in", found["seconds"], "s")
                yield Row(f"{name}: loaded and every weight read in", found["seconds_read"], "s")
        shutil.rmtree(scratch / what)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scratch", type=Path, help="a folder with 5 GB of room (the system's for temporary files)")
    options.add_argument("--load", nargs=3, metavar=("SOURCE", "WAY", "FORMAT"), help="what the other processes run")
    given = options.parse_args()
    if given.load:
        source, way, dtype = given.load
        print(json.dumps(load(Path(source), way, getattr(torch, dtype))))
        return
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        finish("single_file", describe("cpu").name, [*rows(Path(scratch))], given.json)


if __name__ == "__main__":
    main()
