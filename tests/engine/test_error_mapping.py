"""Foreign errors become ours at one border."""

from __future__ import annotations

import errno
import gc
import weakref
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError

from svd_ui import errors
from svd_ui.core import devices
from svd_ui.engine.error_mapping import device_broken, disk_full, forget, mapped, mapping, out_of_memory
from svd_ui.notes import Note

from .device_errors import BROKEN, DEVICE_MEMORY, HOST_MEMORY, UNFIT

DISK = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space left" }'),
]


@pytest.mark.parametrize("error", DEVICE_MEMORY, ids=repr)
def test_memory_of_the_device(error: Exception) -> None:
    assert out_of_memory(error)
    assert not device_broken(error)
    ours = mapped(error, "decoding")
    assert type(ours) is errors.OutOfMemory
    assert "while decoding" in ours.message
    assert "smaller" in ours.message


@pytest.mark.parametrize("error", HOST_MEMORY, ids=repr)
def test_memory_of_the_machine(error: Exception) -> None:
    assert out_of_memory(error)
    ours = mapped(error, "loading the model")
    assert type(ours) is errors.HostOutOfMemory
    assert ours.message.startswith("The computer ran out of memory while loading the model.")
    assert "paging file" in ours.message
    assert type(mapped(ours)) is errors.HostOutOfMemory


@pytest.mark.parametrize("error", UNFIT, ids=repr)
def test_a_build_that_does_not_fit_says_what_to_install(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """No smaller profile helps there, and no new worker."""
    assert not out_of_memory(error)
    assert "doctor" in mapped(error).message
    why = Note.of(
        "driver_too_old", card="GTX 1080", driver=470, needed=580, cuda="13.0", remedy=Note.of("no_build_for_card")
    )
    monkeypatch.setattr(devices, "build_mismatch", lambda: why)
    ours = mapped(error, "denoising")
    assert type(ours) is errors.UnfitBuild
    assert "GTX 1080" in ours.message


@pytest.mark.parametrize("error", BROKEN, ids=repr)
def test_a_device_that_is_lost_wants_a_new_worker(error: Exception) -> None:
    assert not out_of_memory(error)
    assert device_broken(error)
    assert type(mapped(error)) is errors.WorkerStopped


@pytest.mark.parametrize(
    "error",
    [
        ValueError("prompt: a horse out of memory lane"),
        KeyError("out of memory"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        OSError(2, "No such file or directory", "/models/out"),
    ],
    ids=repr,
)
def test_other_errors_are_none_of_these(error: Exception) -> None:
    assert not out_of_memory(error)
    assert not device_broken(error)
    assert type(mapped(error)) is errors.Unexpected


@pytest.mark.parametrize("error", DISK, ids=repr)
def test_disk(error: Exception) -> None:
    assert disk_full(error)
    assert isinstance(mapped(error), errors.DiskFull)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SafetensorError("Error while deserializing header: HeaderTooLarge"), errors.WeightsMissing),
        (OSError("Error no file named model.safetensors found in directory x"), errors.WeightsMissing),
        (LocalEntryNotFoundError("not here"), errors.WeightsMissing),
        (OfflineModeIsEnabled("offline"), errors.HubOffline),
        (ValueError("what"), errors.Unexpected),
        (RuntimeError("shape mismatch"), errors.Unexpected),
    ],
    ids=repr,
)
def test_the_rest(error: Exception, kind: type[errors.SvdUiError]) -> None:
    assert type(mapped(error, "loading", "SVD-XT")) is kind


def test_ours_pass_through_and_nothing_leaks_into_the_message() -> None:
    ours = errors.BadInput("No.", "image")
    assert mapped(ours) is ours
    assert "/home/someone" not in mapped(ValueError("/home/someone/secret")).message


def test_what_failed_is_not_kept_alive() -> None:
    """After an OOM the local variables of the traceback are what fills the device."""

    class Large:
        pass

    def work() -> None:
        large = Large()
        refs.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    refs: list[weakref.ref[Large]] = []
    with pytest.raises(errors.OutOfMemory) as caught, mapping("testing"):
        work()
    gc.collect()
    assert caught.value.__cause__ is not None
    assert refs[0]() is None


def test_a_circle_of_causes_has_an_end() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    forget(one)


def test_nothing_heavy_is_imported_to_know_them() -> None:
    import subprocess
    import sys

    code = "import sys, svd_ui.engine.error_mapping, svd_ui.engine.local, svd_ui.engine.worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
