"""The one border where foreign exceptions become ours. Nothing heavy is imported to recognise them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    DiskFull,
    HostOutOfMemory,
    HubOffline,
    HubRefused,
    OutOfMemory,
    SvdUiError,
    Unexpected,
    UnfitBuild,
    WeightsMissing,
    WorkerStopped,
)
from ..media import FULL
from ..notes import sentence
from .device_texts import BROKEN, DEVICE_MEMORY, HOST_MEMORY, HOST_NUMBERS, UNFIT, WINDOWS_NUMBERS

log = logging.getLogger(__name__)

LESS_MEMORY = "Choose a smaller memory profile, fewer frames or a smaller size, or lower the decode chunk."
MORE_HOST_MEMORY = (
    "Close other programs, and on Windows let the system manage the size of its paging file; then try again."
)
_DISK_WORDS = ("no space left", "storagefull", "code: 28", "disk quota exceeded")
_NETWORK = ("ConnectError", "ConnectTimeout", "ReadTimeout", "ConnectionError", "OfflineModeIsEnabled")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the device, or the machine, has no memory left."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    if not _of_machines(error) or device_unfit(error):
        return False
    return type(error).__name__ == "OutOfMemoryError" or _says(error, DEVICE_MEMORY) or _host_ran_out(error)


def ran_out(error: BaseException, doing: str) -> OutOfMemory:
    """``error``, which is of memory that ran out, as ours."""
    if isinstance(error, OutOfMemory):
        return error
    if _host_ran_out(error):
        return HostOutOfMemory(doing=doing, remedy=MORE_HOST_MEMORY)
    return OutOfMemory(doing=doing, remedy=LESS_MEMORY)


def _host_ran_out(error: BaseException) -> bool:
    numbers = getattr(error, "errno", None) in HOST_NUMBERS or getattr(error, "winerror", None) in WINDOWS_NUMBERS
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and numbers) or _says(error, HOST_MEMORY)


def device_unfit(error: BaseException) -> bool:
    """Whether ``error`` says that the PyTorch installed is not for this card, or its driver."""
    return _of_machines(error) and _says(error, UNFIT)


def device_broken(error: BaseException) -> bool:
    """Whether ``error`` left the device unusable for this process: after one CUDA error every later call fails too."""
    return isinstance(error, RuntimeError) and not out_of_memory(error) and _says(error, BROKEN)


def _of_machines(error: BaseException) -> bool:
    """Whether it is of a kind in which libraries tell of the machine: words in a person's input are not."""
    kinds = (RuntimeError, OSError, MemoryError, AssertionError)
    return isinstance(error, kinds) or _from(error, "torch", "safetensors", "safetensors_rust")


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
        return ran_out(error, doing)
    if device_unfit(error):
        log.error("while %s", doing, exc_info=error)
        return UnfitBuild(remedy=_what_to_install())
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


def _what_to_install() -> str:
    """Asked of the core, which the error comes from."""
    from ..core.devices import build_mismatch

    return sentence(build_mismatch()) or "'python -m svd_ui doctor' says which one does."


def _from(error: BaseException, *packages: str) -> bool:
    return any(cls.__module__.split(".")[0] in packages for cls in type(error).__mro__)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
