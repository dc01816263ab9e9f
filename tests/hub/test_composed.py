"""A checkpoint of two repositories: a distilled U-Net upon everything else of the model it came from."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from svd_ui.catalog import PROFILES, CheckpointRow, find_checkpoint
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.hub import Hub, layout
from svd_ui.settings import Settings
from tests.hub.fake_hub import AROUND_THE_UNET, FakeHub, repository
from tests.tiny import save_tiny_svd

NEVER = threading.Event()
LCM = b"distilled" * 200_000
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def row(settings: Settings) -> CheckpointRow:
    return find_checkpoint(settings, "animatelcm-svd-xt")


@pytest.fixture
def server(row: CheckpointRow) -> Iterator[FakeHub]:
    assert row.unet_file
    with FakeHub(
        repository() | {row.unet_file: LCM, "AnimateLCM-SVD-xt.safetensors": b"the older one"}
    ).serving() as hub:
        yield hub


@pytest.fixture
def hub(settings: Settings, server: FakeHub, tmp_path: Path) -> Hub:
    return Hub(settings, cache=tmp_path / "cache", endpoint=server.url)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_download_brings_one_unet_and_the_rest_of_the_base(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    events = list(hub.fetch(row, NEVER))
    folder = hub.present(row)
    assert folder is not None
    assert files_of(folder) == {*AROUND_THE_UNET, UNET}
    assert (folder / UNET).read_bytes() == LCM
    fetched = {path.split("/resolve/")[-1].split("/", 1)[-1] for path, _ in server.requests if "/resolve/" in path}
    assert not any(name.startswith("unet/diffusion") or name == "AnimateLCM-SVD-xt.safetensors" for name in fetched)
    assert (
        events[-1].done_bytes
        == events[-1].total_bytes
        == sum((folder / name).stat().st_size for name in files_of(folder))
    )
    progress = [event.done_bytes for event in events]
    assert progress == sorted(progress) and all(event.checkpoint == row.id for event in events)


def test_a_base_that_is_here_is_not_fetched_again(
    hub: Hub, row: CheckpointRow, settings: Settings, server: FakeHub
) -> None:
    list(hub.fetch(find_checkpoint(settings, "svd-xt"), NEVER))
    assert hub.present(row) is None
    server.requests.clear()
    *_, last = hub.fetch(row, NEVER)
    assert all(row.repo in path for path, _ in server.requests if row.repo)
    assert last.done_bytes == last.total_bytes == len(LCM)
    assert hub.present(row) is not None


def test_removing_it_leaves_the_base_and_losing_the_base_loses_it(
    hub: Hub, row: CheckpointRow, settings: Settings
) -> None:
    base = find_checkpoint(settings, "svd-xt")
    list(hub.fetch(base, NEVER))
    list(hub.fetch(row, NEVER))
    folder = hub.present(row)
    assert folder is not None
    assert hub.remove(row) == len(LCM) + 40  # and the commit's name
    assert hub.present(row) is None and hub.present(base) is not None and not folder.exists()
    list(hub.fetch(row, NEVER))
    hub.remove(base)
    assert hub.present(row) is None


@pytest.mark.parametrize("links", ["symbolic", "hard", "none"])
def test_the_folder_follows_its_sources_however_files_may_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    def forbidden(*_: object) -> None:
        raise OSError("not allowed here")

    if links != "symbolic":
        monkeypatch.setattr(os, "symlink", forbidden)
    if links == "none":
        monkeypatch.setattr(os, "link", forbidden)
    base, weights, target = tmp_path / "base", tmp_path / "unet.safetensors", tmp_path / "made"
    for name, data in repository(1000).items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(data)
    weights.write_bytes(b"first")
    layout.compose(target, base, weights, "fp16")
    before = (target / UNET).stat().st_mtime_ns
    layout.compose(target, base, weights, "fp16")
    assert (target / UNET).read_bytes() == b"first" and (target / UNET).stat().st_mtime_ns == before
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"newer")
    (base / "scheduler" / "empty.txt").unlink()
    layout.compose(target, base, other, "fp16")
    assert (target / UNET).read_bytes() == b"newer" and not (target / "scheduler" / "empty.txt").exists()
    assert all((target / part / "config.json").is_file() for part in ("vae", "image_encoder"))


def test_what_is_composed_loads_with_that_unet(tmp_path: Path, row: CheckpointRow) -> None:
    base, distilled = save_tiny_svd(tmp_path / "base"), save_tiny_svd(tmp_path / "distilled", seed=5)
    weights = tmp_path / "AnimateLCM.safetensors"
    shutil.copy(distilled / UNET, weights)
    folder = layout.compose(tmp_path / "made", base, weights, None)
    plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
    ours, theirs = Runtime(row, folder, plan), Runtime(row, distilled, plan)
    assert torch.equal(ours.unet.conv_in.weight, theirs.unet.conv_in.weight)
    assert not torch.equal(ours.vae.encoder.conv_in.weight, theirs.vae.encoder.conv_in.weight)
