"""A run from clips to a LoRA or checkpoint that the app loads; stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from svd_ui import loras
from svd_ui.catalog import CheckpointRow, folder_row
from svd_ui.core.finetune import run
from svd_ui.core.finetune.tuner import checkpointed
from svd_ui.core.finetune.weights import prepare
from svd_ui.core.lora import Lora, fuse_loras
from svd_ui.core.runtime import Runtime
from svd_ui.errors import BadInput
from svd_ui.events import never
from svd_ui.finetune import TrainRequest
from svd_ui.finetune.runs import RunFolder
from svd_ui.media.video import read_frames
from svd_ui.request import LoraRef
from svd_ui.settings import Settings
from tests.clips.test_scan import mp4, pan
from tests.core.conftest import CPU_PLAN
from tests.stability import save_single_file
from tests.tiny import save_tiny_svd


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("base") / "tiny-svd", channels=(32, 32))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for index in range(3):
        mp4(folder / f"{index}.mp4", pan(index, 4, index + 1))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, devices="cpu")


def row_of(base: Path) -> CheckpointRow:
    return folder_row(base)


def request(data: Path, base: Path, **values: Any) -> TrainRequest:
    given = {"steps": 4, "rank": 2, "learning_rate": 0.01, "warmup_steps": 0, "sample_every": 0, "save_every": 2}
    return TrainRequest(**{"name": "mine", "data": data, **given, **values}).resolved(row_of(base))


def losses(settings: Settings, name: str = "mine") -> list[float]:
    return [line["loss"] for line in RunFolder(settings.training_dir / name).lines()]


@pytest.mark.parametrize(("targets", "layers"), [("temporal", "attention"), ("both", "all")])
def test_a_lora_appears_among_the_loras_and_does_what_was_trained(
    base: Path, data: Path, settings: Settings, targets: str, layers: str
) -> None:
    asked = request(data, base, licence="CC0-1.0", sample_every=4, targets=targets, layers=layers)
    status = run(asked, row_of(base), base, settings, never())
    assert (status.state, status.step, status.result) == ("finished", 4, "mine.safetensors")
    file = loras.find(settings, LoraRef(name="mine"))
    assert (file.rank, file.base, file.licence) == (2, row_of(base).id, "CC0-1.0")
    samples = sorted((settings.training_dir / "mine" / "samples").glob("*.mp4"))
    assert read_frames(samples[-1]).shape == (4, 64, 64, 3)
    # Merged into a fresh model it gives what the trained adapters gave.
    stock = replace(CPU_PLAN, exact=False)  # as while training: adapters are modules that only diffusers' layers call
    fresh, trained = Runtime(row_of(base), base, CPU_PLAN), Runtime(row_of(base), base, stock)
    parameters = prepare(trained.unet, asked)
    saved = load_file(file.path)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name.replace(".default.", ".")])
    before = _answer(fresh)
    with fuse_loras(fresh.unet, [Lora(file)], "tiny"):
        inside = _answer(fresh)
    torch.testing.assert_close(inside, _answer(trained), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(inside, before, atol=1e-5)
    assert torch.equal(_answer(fresh), before)


@pytest.mark.parametrize("alpha", [8.0])
def test_other_programs_read_the_strength_of_a_trained_lora(
    base: Path, data: Path, settings: Settings, alpha: float
) -> None:
    """diffusers from the file alone, peft with the configuration that is in it."""
    from diffusers.loaders.peft import PeftAdapterMixin
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    run(request(data, base, alpha=alpha, layers="all"), row_of(base), base, settings, never())
    file = loras.find(settings, LoraRef(name="mine"))
    assert (file.alpha, file.notes) == (alpha, ())
    fresh, by_diffusers, by_peft = (Runtime(row_of(base), base, replace(CPU_PLAN, exact=False)) for _ in range(3))
    with fuse_loras(fresh.unet, [Lora(file)], "tiny"):
        wanted = _answer(fresh)
    unet = by_diffusers.unet  # a class that diffusers gives adapters to, which it does not do to this one by itself
    unet.__class__ = type("Adaptable", (type(unet), PeftAdapterMixin), {})
    unet.load_lora_adapter(str(file.path), prefix=None, use_safetensors=True)
    torch.testing.assert_close(_answer(by_diffusers), wanted, atol=1e-5, rtol=1e-4)
    with safe_open(file.path, "pt") as opened:
        config = LoraConfig(**json.loads(opened.metadata()["lora_adapter_metadata"]))
    inject_adapter_in_model(config, by_peft.unet)
    set_peft_model_state_dict(by_peft.unet, load_file(file.path))
    torch.testing.assert_close(_answer(by_peft), wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(_answer(Runtime(row_of(base), base, CPU_PLAN)), wanted, atol=1e-5)


@pytest.mark.parametrize("method", ["temporal", "full"])
def test_weights_become_a_checkpoint_the_app_finds(base: Path, data: Path, settings: Settings, method: Any) -> None:
    status = run(request(data, base, method=method, ema=0.5), row_of(base), base, settings, never())
    row = folder_row(settings.models_dir / status.result)
    assert (row.title, row.width, row.num_inference_steps) == ("mine", 64, row_of(base).num_inference_steps)
    old, new = Runtime(row_of(base), base, CPU_PLAN), Runtime(row, settings.models_dir / status.result, CPU_PLAN)
    changed = {
        name
        for (name, a), b in zip(old.unet.named_parameters(), new.unet.parameters(), strict=True)
        if (a - b).abs().max() > 1e-3
    }
    assert changed
    assert all("temporal" in name or "time_" in name for name in changed) is (method == "temporal")
    assert all(torch.equal(a, b) for a, b in zip(old.vae.parameters(), new.vae.parameters(), strict=True))


def test_a_single_file_is_trained_into_a_checkpoint_folder(data: Path, settings: Settings, tmp_path: Path) -> None:
    folder = save_tiny_svd(tmp_path / "tiny", channels=(64, 64), published=True)
    base = save_single_file(folder, tmp_path / "svd.safetensors")
    row = folder_row(folder).model_copy(update={"folder": None, "file": base})
    asked = request(data, folder, method="temporal", steps=1)
    assert run(asked, row, base, settings, never()).state == "finished"
    made = settings.models_dir / "mine"
    shutil.rmtree(folder)
    base.unlink()  # nothing of the result may point there
    trained = folder_row(made)
    assert (trained.num_frames, trained.file, trained.unet) == (4, None, None)
    Runtime(trained, made, CPU_PLAN)


def test_a_stopped_run_goes_on_with_the_losses_of_an_unbroken_one(
    base: Path, data: Path, settings: Settings, tmp_path: Path
) -> None:
    whole = Settings(data_dir=tmp_path / "whole", devices="cpu")
    run(request(data, base, steps=6), row_of(base), base, whole, never())
    folder = RunFolder(settings.training_dir / "mine")

    class AfterThree:
        def is_set(self) -> bool:
            return len(list(folder.lines())) >= 3

        def check(self) -> None: ...

    status = run(request(data, base, steps=6), row_of(base), base, settings, AfterThree())
    assert (status.state, status.step) == ("stopped", 3)
    assert run(request(data, base, steps=6), row_of(base), base, settings, never()).state == "finished"
    assert losses(settings) == pytest.approx(losses(whole), rel=1e-5)
    assert len(set(losses(whole))) == 6


def test_a_stop_while_clips_are_checked_waits_for_none_of_the_others(
    base: Path, data: Path, settings: Settings
) -> None:
    folder = RunFolder(settings.training_dir / "mine")

    class WhenChecking:
        def is_set(self) -> bool:
            status = folder.status
            return status is not None and status.message == "Checking 0.mp4."

    status = run(request(data, base), row_of(base), base, settings, WhenChecking())
    assert (status.state, status.message) == ("stopped", "Stopped before training began.")
    assert not (folder.root / "scan.json").exists()


def test_a_stop_during_a_sample_keeps_what_was_trained(base: Path, data: Path, settings: Settings) -> None:
    folder = RunFolder(settings.training_dir / "mine")

    class AfterTwo:
        def is_set(self) -> bool:
            return len(list(folder.lines())) >= 2

    asked = request(data, base, sample_every=2, save_every=100)
    status = run(asked, row_of(base), base, settings, AfterTwo())
    assert (status.state, status.step) == ("stopped", 2)
    assert not list(folder.samples.glob("*"))
    assert [path.name for path in folder.states.iterdir()] == ["step-000002"]


KILLED = """
import torch, sys
from pathlib import Path
from svd_ui.events import never
from svd_ui.catalog import folder_row
from svd_ui.settings import Settings
from svd_ui.core.finetune import run
from svd_ui.finetune import TrainRequest
torch.set_num_threads(1)
request = TrainRequest.model_validate_json(sys.argv[1])
base = Path(sys.argv[2])
run(request, folder_row(base), base, Settings(data_dir=Path(sys.argv[3]), devices="cpu"), never())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_losses_of_an_unbroken_one(
    base: Path, data: Path, settings: Settings, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    whole = Settings(data_dir=tmp_path / "whole", devices="cpu")
    asked = request(data, base, steps=8)
    run(asked, row_of(base), base, whole, never())
    endless = asked.model_copy(update={"steps": 10_000})
    command = [sys.executable, "-c", KILLED, endless.model_dump_json(), str(base), str(settings.data_dir)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    folder = RunFolder(settings.training_dir / "mine")
    end = time.monotonic() + 120
    while len(list(folder.lines())) < 5 and time.monotonic() < end:
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = len(list(folder.lines()))
    status = run(asked.model_copy(update={"steps": max(8, reached + 1)}), row_of(base), base, settings, never())
    assert status.state == "finished"
    steps = [line["step"] for line in folder.lines()]
    assert steps == list(range(1, max(8, reached + 1) + 1))
    assert losses(settings)[:8] == pytest.approx(losses(whole), rel=1e-4)


def test_encoded_clips_are_shared_by_runs(base: Path, data: Path, settings: Settings) -> None:
    run(request(data, base), row_of(base), base, settings, never())
    before = {path: path.stat().st_mtime_ns for path in (settings.training_dir / "encoded").iterdir()}
    run(request(data, base, name="second"), row_of(base), base, settings, never())
    assert {path: path.stat().st_mtime_ns for path in (settings.training_dir / "encoded").iterdir()} == before


def test_another_run_under_the_same_name_is_refused(base: Path, data: Path, settings: Settings) -> None:
    run(request(data, base), row_of(base), base, settings, never())
    with pytest.raises(BadInput, match="LoRA rank") as caught:
        run(request(data, base, rank=3), row_of(base), base, settings, never())
    assert caught.value.field == "rank"


def test_a_loss_that_explodes_stops_with_the_remedy(base: Path, data: Path, settings: Settings) -> None:
    with pytest.raises(BadInput, match="lower the learning rate"):
        run(request(data, base, method="full", learning_rate=1.0, steps=200), row_of(base), base, settings, never())
    status = RunFolder(settings.training_dir / "mine").status
    assert status is not None
    assert status.state == "failed"


def test_no_clips_is_said_where_people_look(base: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="add mp4"):
        run(request(tmp_path / "empty", base), row_of(base), base, settings, never())
    data = json.loads((settings.training_dir / "mine" / "status.json").read_text())
    assert data["state"] == "failed"
    assert "add mp4" in data["message"]


def test_checkpointed_gradients_are_the_same(base: Path) -> None:
    runtime = Runtime(row_of(base), base, CPU_PLAN)
    gradients = []
    for enabled in (False, True):
        runtime.unet.requires_grad_(True)
        runtime.unet.zero_grad()
        with checkpointed(runtime.unet, enabled):
            _answer(runtime, grad=True).square().mean().backward()
        gradients.append([p.grad.clone() for p in runtime.unet.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 100
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    assert not any("forward" in vars(module) for module in runtime.unet.modules())


def _answer(runtime: Runtime, grad: bool = False) -> torch.Tensor:
    """The U-Net's output for one fixed input."""
    draw = torch.Generator().manual_seed(5)
    sample = torch.randn(1, 4, 8, 8, 8, generator=draw)
    embeds = torch.randn(1, 1, 32, generator=draw)
    ids = torch.tensor([[6.0, 127.0, 0.02]])
    with torch.set_grad_enabled(grad):
        return runtime.unet(sample, torch.tensor(0.3), embeds, ids, return_dict=False)[0]
