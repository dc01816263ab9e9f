"""The queue as a file: what goes in comes out, elsewhere too; and nothing but pictures and requests ever comes in."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from svd_ui.assets import Assets
from svd_ui.errors import BadInput
from svd_ui.jobs import bundle
from svd_ui.jobs.service import open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import picture


@pytest.fixture
def exported(settings: Settings, request_: GenerationRequest, tmp_path: Path) -> Path:
    with open_store(settings) as store:
        store.submit(request_, "ann", name="a boat")
        store.submit(request_.model_copy(update={"image": None, "prompt": "a tree"}), "bob", "still")
        jobs = store.queue.jobs()
    bundle.write(tmp_path / "queue.zip", jobs, Assets.of(settings))
    return tmp_path / "queue.zip"


def test_jobs_and_their_pictures_arrive_elsewhere(exported: Path, request_: GenerationRequest, tmp_path: Path) -> None:
    elsewhere = Settings(data_dir=tmp_path / "elsewhere", _env_file=None)
    clip, still = bundle.read(exported, elsewhere)
    assert (clip.kind, clip.name, still.kind, still.request.prompt) == ("clip", "a boat", "still", "a tree")
    assert clip.request.seed == request_.seed
    assert Assets.of(elsewhere).size(clip.request.image or "") == (64, 64)


def test_an_empty_queue_is_no_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Nothing waits"):
        bundle.write(tmp_path / "queue.zip", [], Assets.of(settings))
    assert not (tmp_path / "queue.zip").exists()


def job(**request: object) -> str:
    return json.dumps({"svd_ui": 1, "jobs": [{"kind": "clip", "request": request}]})


def test_what_this_release_does_not_know_is_left_out_and_named(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "q.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("queue.json", job(prompt="a tree", warp_drive=9, num_frames=5000))
    (entry,) = bundle.read(path, settings)
    assert set(entry.dropped) == {"warp_drive", "num_frames"}


def with_files(**files: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, text in files.items():
                file.writestr(name.replace("__", "/"), str(text))

    return write


NO_PICTURE = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: path.write_bytes(b"no zip"), "cannot be opened as a zip"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(400)), "cannot be opened as a zip"),
        (with_files(other="x"), "it has no queue.json"),
        (with_files(**{"queue.json": job(prompt="x"), "../../evil.png": "x"}), "holds pictures and queue.json only"),
        (with_files(**{"queue.json": job(prompt="x"), "pictures__run.sh": "x"}), "holds pictures and queue.json only"),
        (with_files(**{"queue.json": "{"}), "damaged"),
        (with_files(**{"queue.json": "[]"}), "damaged"),
        (with_files(**{"queue.json": '{"jobs": []}'}), "1 to 1000 jobs"),
        (with_files(**{"queue.json": '{"jobs": [7]}'}), "Job 1 of this file is none"),
        (with_files(**{"queue.json": '{"jobs": [{"kind": "download", "request": {}}]}'}), "Job 1 of this file is none"),
        (with_files(**{"queue.json": job(image=NO_PICTURE)}), "Job 1 of this file lacks its picture"),
        (with_files(**{"queue.json": job(prompt="x"), f"pictures__{'a' * 64}.png": "no picture"}), "picture"),
        (with_files(**{"queue.json": job(prompt="x"), f"pictures__{'a' * 64}.png": "0" * 60_000_000}), "too large"),
        (with_files(**{"queue.json": " " * 20_000_000}), "too large"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(
    settings: Settings, tmp_path: Path, write: Callable[[Path], None], says: str
) -> None:
    write(tmp_path / "q.zip")
    with pytest.raises(BadInput, match=says):
        bundle.read(tmp_path / "q.zip", settings)


def test_what_a_prompt_says_is_no_picture(settings: Settings, request_: GenerationRequest, tmp_path: Path) -> None:
    """Neither one that is nowhere, which would keep everybody's queue from being exported, nor somebody else's."""
    theirs = Assets.of(settings).keep(picture(0.9))
    path = tmp_path / "queue.zip"
    with open_store(settings) as store:
        store.submit(request_, "ann")
        for prompt in ("sha256:" + "0" * 64, theirs):
            store.submit(request_.model_copy(update={"image": None, "prompt": prompt}), "bob", "still")
        bundle.write(path, store.queue.jobs(), Assets.of(settings))
    names = zipfile.ZipFile(path).namelist()
    assert names == ["queue.json", f"pictures/{str(request_.image).removeprefix('sha256:')}.png"]
    elsewhere = Settings(data_dir=tmp_path / "elsewhere", _env_file=None)
    assert [entry.request.prompt for entry in bundle.read(path, elsewhere)][1] == "sha256:" + "0" * 64


def test_a_picture_that_is_gone_names_its_job(settings: Settings, request_: GenerationRequest, tmp_path: Path) -> None:
    with open_store(settings) as store:
        id = store.submit(request_, "ann").id
        Assets.of(settings).path(str(request_.image)).unlink()
        with pytest.raises(BadInput, match=f"job {id[:8]} is not here"):
            bundle.write(tmp_path / "queue.zip", store.queue.jobs(), Assets.of(settings))
    assert not list(tmp_path.glob("*.zip*"))
