"""The one border where foreign exceptions become ours. Nothing heavy is imported to recognise them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    DiskFull,
    HubOffline,
    HubRefused,
    OutOfMemory,
    SvdUiError,
    Unexpected,
    WeightsMissing,
    WorkerStopped,
)
from ..media import FULL

log = logging.getLogger(__name__)

LESS_MEMORY = "Choose a smaller memory profile, fewer frames or a smaller size, or lower the decode chunk."
_MEMORY_WORDS = (
    "out of memory",  # CUDA, HIP and MPS
    "can't allocate memory",  # torch's allocator on a CPU
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
_BROKEN_DEVICE = ("cuda error", "hip error", "device-side assert", "cublas_status", "cudnn_status")
_DISK_WORDS = ("no space left", "storagefull", "code: 28", "disk quota exceeded")
_NETWORK = ("ConnectError", "ConnectTimeout", "ReadTimeout", "ConnectionError", "OfflineModeIsEnabled")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the device, or the machine, has no memory left."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    if _from(error, "torch") and type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _says(error, _MEMORY_WORDS)


def device_broken(error: BaseException) -> bool:
    """Whether ``error`` left the device unusable for this process: after one CUDA error every later call fails too."""
    return isinstance(error, RuntimeError) and not out_of_memory(error) and _says(error, _BROKEN_DEVICE)


def disk_full(error: BaseException) -> bool:
    """Whether ``error`` comes from a disk, or a quota, without room."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return (isinstance(error, OSError) or _from(error, "safetensors")) and _says(error, _DISK_WORDS)


def mapped(error: BaseException, doing: str = "working", title: str = "this checkpoint") -> SvdUiError:
    """``error`` as one of ours. ``doing`` completes "while ..."; ``title`` names the model at work."""
    if isinstance(error, SvdUiError):
        return error
    if out_of_memory(error):
        return OutOfMemory(doing=doing, remedy=LESS_MEMORY)
    if disk_full(error):
        return DiskFull()
    if device_broken(error):
        log.error("while %s", doing, exc_info=error)
        return WorkerStopped(reason=str(error).splitlines()[0][:120])
    known = _of_weights(error, title)
    if known is not None:
        return known
    log.error("while %s", doing, exc_info=error)
    return Unexpected(detail=f"{type(error).__name__} while {doing}")


@contextmanager
def mapping(doing: str = "working", title: str = "this checkpoint") -> Iterator[None]:
    """Whatever fails inside leaves as an ``SvdUiError``."""
    try:
        yield
    except SvdUiError:
        raise
    except Exception as error:
        ours = mapped(error, doing, title)
        forget(error)
        raise ours from error


def forget(error: BaseException) -> None:
    """Drop the local variables that a traceback keeps alive: after an OOM they are what fills the device."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:  # causes and contexts can go in circles
        traceback.clear_frames(link.__traceback__)
        chain.append(link)
        link = link.__cause__ or link.__context__


def _of_weights(error: BaseException, title: str) -> SvdUiError | None:
    name = type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if name == "GatedRepoError" or (_from(error, "huggingface_hub") and status in (401, 403)):
        return HubRefused(title=title, url="https://huggingface.co")
    if name in _NETWORK and _from(error, "huggingface_hub", "httpx", "httpcore", "requests"):
        return HubOffline(title=title, folder="the models folder")
    if name == "LocalEntryNotFoundError":
        return WeightsMissing(title=title, remedy="Download them first.")
    if _from(error, "safetensors", "safetensors_rust"):
        return WeightsMissing(title=title, remedy="A file is damaged: remove the checkpoint and download it again.")
    if isinstance(error, OSError) and _says(error, ("no file named", "does not appear to have a file")):
        return WeightsMissing(title=title, remedy="A file is missing: download the checkpoint again.")
    return None


def _from(error: BaseException, *packages: str) -> bool:
    return any(cls.__module__.split(".")[0] in packages for cls in type(error).__mro__)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
