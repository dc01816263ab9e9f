"""Downloads against a hub on loopback: every way they end, and that they go on where they stopped."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from svd_ui.catalog import CheckpointRow, find_checkpoint
from svd_ui.errors import Cancelled, DiskTooSmall, HubOffline, HubRefused, WeightsMissing
from svd_ui.hub import Hub
from svd_ui.settings import Settings
from tests.hub.fake_hub import AROUND_THE_UNET, COMMIT, FakeHub, repository

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
NEVER = threading.Event()


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub(repository()).serving() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_test")
    return Settings(data_dir=tmp_path / "data", text_to_image="owner/still")


@pytest.fixture
def hub(settings: Settings, server: FakeHub, tmp_path: Path) -> Hub:
    return Hub(settings, cache=tmp_path / "cache", endpoint=server.url)


@pytest.fixture
def row(settings: Settings) -> CheckpointRow:
    return find_checkpoint(settings, "svd")


def test_a_download_brings_the_half_precision_weights_and_configs_only(
    hub: Hub, row: CheckpointRow, server: FakeHub
) -> None:
    assert hub.present(row) is None
    events = list(hub.fetch(row, NEVER))
    folder = hub.present(row)
    assert folder is not None
    got = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert got == {*AROUND_THE_UNET, UNET}
    assert all((folder / name).read_bytes() == server.files[name] for name in got)
    assert events[-1].done_bytes == events[-1].total_bytes == sum(len(server.files[name]) for name in got)
    assert server.tokens[-1] == "Bearer hf_secret_of_the_test"


def test_other_programs_find_what_was_downloaded(hub: Hub, row: CheckpointRow) -> None:
    list(hub.fetch(row, NEVER))
    found = hf_hub_download(row.repo or "", UNET, cache_dir=hub.cache, local_files_only=True)
    assert Path(found).stat().st_size == 3_000_000


def test_a_second_download_fetches_no_file(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    list(hub.fetch(row, NEVER))
    server.requests.clear()
    list(hub.fetch(row, NEVER))
    assert [path for path, _ in server.requests if path.endswith(".safetensors")] == []


def test_progress_tells_bytes_and_speed(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    server.pause = 0.03
    events = list(hub.fetch(row, NEVER))
    done = [event.done_bytes for event in events]
    assert done == sorted(done)
    assert any(event.bytes_per_second for event in events)
    assert {event.checkpoint for event in events} == {"svd"}


def test_cancel_is_prompt_and_the_next_try_goes_on(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    server.pause = 0.5  # the file takes 23 seconds
    cancel = threading.Event()
    stream = hub.fetch(row, cancel)
    while next(stream).done_bytes < 200_000:
        pass
    cancel.set()
    with pytest.raises(Cancelled):
        next(stream)
    assert hub.present(row) is None

    server.pause = 0
    server.requests.clear()
    list(hub.fetch(row, NEVER))
    (asked,) = [asked for path, asked in server.requests if path.endswith(UNET)]
    assert asked is not None, "it started over"
    assert (hub.require(row) / UNET).read_bytes() == server.files[UNET]


def test_a_dropped_line_is_taken_up_again(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    server.drop_after = 1_000_000
    list(hub.fetch(row, NEVER))
    asked = [asked for path, asked in server.requests if path.endswith(UNET)]
    assert asked == [None, "bytes=1000000-"]
    assert (hub.require(row) / UNET).read_bytes() == server.files[UNET]


def test_a_damaged_file_is_thrown_away(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    server.corrupt = UNET
    with pytest.raises(WeightsMissing, match="damaged"):
        list(hub.fetch(row, NEVER))
    assert hub.present(row) is None
    server.corrupt = None
    list(hub.fetch(row, NEVER))
    assert hub.present(row)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_form_and_the_token(hub: Hub, row: CheckpointRow, server: FakeHub, status: int) -> None:
    server.refuse = status
    with pytest.raises(HubRefused) as caught:
        list(hub.fetch(row, NEVER))
    assert row.link in caught.value.message
    assert "HF_TOKEN" in caught.value.message
    assert "hf_secret" not in str(pickle.dumps(caught.value.to_dict()))


def test_a_wrong_name_is_said(hub: Hub, server: FakeHub) -> None:
    server.refuse_listing = 404
    with pytest.raises(WeightsMissing, match="check the name"):
        list(hub.fetch_text_to_image(NEVER))


def test_a_broken_hub_counts_as_offline(hub: Hub, row: CheckpointRow, server: FakeHub) -> None:
    server.refuse_listing = 503
    with pytest.raises(HubOffline):
        list(hub.fetch(row, NEVER))


def test_no_network_says_so(settings: Settings, row: CheckpointRow, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hub = Hub(settings, cache=tmp_path / "cache", endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(HubOffline) as caught:
            list(hub.fetch(row, NEVER))
    assert str(settings.models_dir) in caught.value.message


def test_too_small_a_disk_is_found_before_the_first_weight(
    settings: Settings, row: CheckpointRow, server: FakeHub, tmp_path: Path
) -> None:
    hub = Hub(settings, cache=tmp_path / "cache", endpoint=server.url, free=lambda path: 1_000_000)
    with pytest.raises(DiskTooSmall, match="259 MB.*1 MB"):
        list(hub.fetch(row, NEVER))
    assert [path for path, _ in server.requests if path.endswith(".safetensors")] == []


def test_removing_frees_the_room(hub: Hub, row: CheckpointRow) -> None:
    list(hub.fetch(row, NEVER))
    (entry,) = hub.cached()
    assert (entry.id, entry.complete) == ("svd", True)
    assert hub.remove(row) == entry.bytes > 3_000_000
    assert hub.present(row) is None
    assert hub.cached() == []


def test_a_still_maker_without_half_precision_is_taken_whole(hub: Hub, server: FakeHub) -> None:
    server.files = {
        "model_index.json": b'{"_class_name": "P", "unet": ["diffusers", "U"], "tokenizer": ["transformers", "T"]}',
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": b"full",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"a b",
    }
    assert hub.text_to_image_path() is None
    list(hub.fetch_text_to_image(NEVER))
    folder = hub.text_to_image_path()
    assert folder is not None
    assert folder.name == COMMIT
    assert (folder / "tokenizer/merges.txt").is_file()


def test_a_still_maker_in_a_folder_needs_no_hub(tmp_path: Path) -> None:
    folder = tmp_path / "turbo"
    folder.mkdir()
    hub = Hub(Settings(data_dir=tmp_path, text_to_image=str(folder)), cache=tmp_path / "cache")
    with pytest.raises(WeightsMissing, match=r"model_index\.json"):
        list(hub.fetch_text_to_image(NEVER))
    (folder / "model_index.json").write_text("{}", "utf-8")
    assert hub.text_to_image_path() == folder
    assert list(hub.fetch_text_to_image(NEVER)) == []
