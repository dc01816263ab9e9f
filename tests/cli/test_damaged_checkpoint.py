"""Every way a checkpoint may be damaged, as whoever asks for a clip hears of it: one sentence with the file, and an exit code."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from svd_ui.cli import app
from svd_ui.engine import Engine
from svd_ui.engine.local import LocalEngine
from svd_ui.settings import Settings
from tests.tiny import save_tiny_svd

Harm = Callable[[Path], object]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def _bytes(data: bytes) -> Harm:
    return lambda path: path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8:40] = b"\xff" * 32
    path.write_bytes(data)


def _longer_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**62) + path.read_bytes()[8:])


def _changed(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Harm:
    return lambda path: save_file({name: one.contiguous() for name, one in change(load_file(path)).items()}, path)


def _turned(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices on their side."""
    return {name: one.T if one.ndim == 2 and one.shape[0] != one.shape[1] else one for name, one in tensors.items()}


def _not_numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(one, float("nan")) for name, one in tensors.items()}


def _without_one(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one for name, one in tensors.items() if name != min(tensors)}


def _renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"x_{name}": one for name, one in tensors.items()}


def _config(**values: object) -> Harm:
    def harm(path: Path) -> None:
        config = path.with_name("config.json")
        config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), **values}), "utf-8")

    return harm


def _config_text(text: str) -> Harm:
    return lambda path: path.with_name("config.json").write_text(text, "utf-8")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
DAMAGE: dict[str, tuple[Harm, int]] = {
    # 3: weights that are not there as they should be; 2: what was asked for cannot be; 1: it failed
    "cut short": (_cut, 3),
    "a header of no letters": (_header, 3),
    "a header without end": (_longer_header, 3),
    "no bytes": (_bytes(b""), 3),
    "a web page": (_bytes(b"<!DOCTYPE html><html><title>Sign in</title></html>"), 3),
    "a pointer of git": (_bytes(POINTER), 3),
    "an archive": (_bytes(b"PK\x03\x04" + bytes(400)), 3),
    "gone": (Path.unlink, 3),
    "a folder": (_folder, 3),
    "matrices on their side": (_changed(_turned), 3),
    "a tensor less": (_changed(_without_one), 3),
    "other names": (_changed(_renamed), 3),
    "a configuration that is none": (_config_text("{"), 2),
    "a configuration too deep": (_config_text("[" * 100_000), 2),
    "a configuration of other sizes": (_config(block_out_channels=[64, 128]), 3),
    "a configuration of words": (_config(block_out_channels="many"), 3),
    "no numbers": (_changed(_not_numbers), 1),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("whole") / "little", num_frames=2)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = LocalEngine(settings, "cpu")
    yield made
    made.close()


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_one_sentence(
    case: str, whole: Path, settings: Settings, engine: Engine, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "little"
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    harm, code = DAMAGE[case]
    harm(folder / WEIGHTS)
    asked = ["generate", str(photo), "--num-inference-steps", "1", "--quiet"]
    done = CliRunner().invoke(app, asked, obj=lambda _: engine)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("svd-ui: ")]
    assert done.exit_code == code, done.output
    assert line.endswith((".", ")"))
    assert "Traceback" not in done.output
    if code != 1:
        assert "unet" in line
        assert "nexpected" not in line
