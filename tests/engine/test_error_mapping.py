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
from svd_ui.engine.error_mapping import disk_full, forget, mapped, mapping, out_of_memory

MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.0 GB)"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    ),
    MemoryError(),
]
DISK = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space left" }'),
]


@pytest.mark.parametrize("error", MEMORY, ids=repr)
def test_memory(error: Exception) -> None:
    assert out_of_memory(error)
    ours = mapped(error, "decoding")
    assert isinstance(ours, errors.OutOfMemory)
    assert "while decoding" in ours.message
    assert "smaller" in ours.message


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
        (RuntimeError("CUDA error: device-side assert triggered\nmore"), errors.WorkerStopped),
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
