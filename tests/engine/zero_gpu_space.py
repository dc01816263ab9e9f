"""A ZeroGPU Space in small, as a program: the package ``spaces`` in earnest, its copies of this process too, over a fake of
the service that lends GPUs (``SPACES_ZERO_DEVICE_API_URL``). Prints what happened as JSON lines.

    python -m tests.engine.zero_gpu_space FOLDER clip|stop|quota|load

``load`` puts nano on the pretended CUDA, for which torch has to be a build for CUDA; the others do without torch.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if sys.argv[2] != "load":
    sys.modules["torch"] = None  # type: ignore[assignment]  # ``spaces`` pretends CUDA over a build for CUDA alone, and does without

import spaces
from gradio.context import LocalContext

from svd_ui.engine.zero_gpu import ZeroGpuEngine
from svd_ui.errors import SvdUiError
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine


class Headers(dict[str, str]):
    """``spaces`` looks whether there is a ``__dict__``."""


class Elsewhere(FakeEngine):
    """Tells by a note in which process it works."""

    def generate(self, request: GenerationRequest, out: Path, cancel: Any) -> Any:
        out.mkdir(parents=True, exist_ok=True)
        (out / "pid").write_text(str(os.getpid()))
        yield from super().generate(request, out, cancel)


def load(settings: Settings) -> None:
    """As a Space starts: the model on ``cuda``, then what ``spaces`` does when gradio begins to serve."""
    from spaces.zero import torch as pretended

    engine = ZeroGpuEngine(settings.model_copy(update={"checkpoint": "nano", "attention": "sdpa", "compile": "off"}))
    engine.load()
    device = engine.describe()
    assert device is not None
    print(json.dumps({"device": device.kind, "loaded": device.loaded_checkpoint, "packed": pretended.pack()}))


def main(folder: Path, what: str) -> None:
    settings = Settings(data_dir=folder)
    if what == "load":
        load(settings)
        return
    engine = ZeroGpuEngine(settings, spaces.GPU, Elsewhere(steps=90 if what == "stop" else 3, delay=0.05))
    engine.predict = lambda request: 40.0
    LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": "e30.e30.e30"})))  # type: ignore[arg-type]
    cancel, out = threading.Event(), folder / "job"
    told = list[str]()
    try:
        for event in engine.generate(GenerationRequest(image="sha256:" + "0" * 64), out, cancel):
            told.append(type(event).__name__)
            if what == "stop" and told.count("Denoising") == 2:
                cancel.set()
    except SvdUiError as error:
        print(json.dumps({"error": error.code, "message": error.message}))
    pid = (out / "pid").read_text() if (out / "pid").is_file() else ""
    print(json.dumps({"events": told, "elsewhere": pid not in {"", str(os.getpid())}}))
    sys.stdout.flush()
    for copy in multiprocessing.active_children():  # one waits for its next call, and would hold this one's output open
        copy.kill()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
