"""The number format that a device computes in, why, and what comes after it where its range is too small.

float16 ends at 65,504, and what goes beyond it ends as "not a number", black frames in the end. bfloat16 and float32 reach
1e38. What a device failed at is remembered by checkpoint, so that the next clip begins in the format that worked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from ..clip import ClipSpec
from ..notes import Note
from .autotune import BenchmarkStore, key, microbenchmarks
from .autotune.microbenchmarks import Timer

Capability = tuple[int, int]

WIDER: dict[torch.dtype, tuple[torch.dtype, ...]] = {
    torch.float16: (torch.bfloat16, torch.float32),
    torch.bfloat16: (torch.float32,),
}
"""Format => those of more range, the nearest in size first."""

WITHOUT_HALF = re.compile(
    r"\b(GTX 16\d\d|(QUADRO )?T(400|500|550|600|1000|1200|2000)|MX(450|550)|CMP 30HX)\b", re.IGNORECASE
)
"""Turing cards without tensor cores (TU116, TU117), whose convolutions give NaN in float16 (pytorch issue 58123). The names are
those that ComfyUI lists (model_management.py, GPL-3.0; names only)."""
SLOW_HALF_BELOW, FAST_HALF = (7, 0), (6, 0)
"""Maxwell and Pascal compute float16 no faster than float32, the P100 (6.0) does."""
ROOM_FOR_FLOAT32 = 20_000_000_000
"""Bytes of a card on which SVD's weights stay resident in float32: a P40, an M40."""


@dataclass(frozen=True)
class Traits:
    """What of a device decides its number format; ``failed`` are formats that overflowed here before."""

    kind: str
    name: str = ""
    capability: Capability | None = None
    total_bytes: int | None = None
    bfloat16: bool = False
    failed: frozenset[str] = frozenset()


def dtype_for(traits: Traits, store: BenchmarkStore | None = None, setting: str = "auto") -> tuple[torch.dtype, Note]:
    """The number format of the U-Net on a device, and why; ``setting`` is SVD_UI_NUMBER_FORMAT."""
    if setting != "auto":
        wanted: torch.dtype = getattr(torch, setting)
        if wanted == torch.bfloat16 and traits.kind != "cpu" and not traits.bfloat16:
            return torch.float32, Note.of("no_bfloat16_here", device=traits.name)
        return wanted, Note.of("number_format", format=setting, why=Note.of("chosen"))
    dtype, why = _on_a_cpu(traits, store) if traits.kind == "cpu" else _on_a_gpu(traits)
    while _name(dtype) in traits.failed and (next_ := wider(dtype, traits.bfloat16)) is not None:
        why = Note.of("format_failed_before", format=_name(next_), narrow=_name(dtype))
        dtype = next_
    return dtype, why


def wider(dtype: torch.dtype, bfloat16: bool) -> torch.dtype | None:
    """The format to go on in where ``dtype`` overflowed; None after float32. ``bfloat16`` says whether the device has it."""
    return next((each for each in WIDER.get(dtype, ()) if bfloat16 or each != torch.bfloat16), None)


def overflow_key(device_name: str, clip: ClipSpec) -> str:
    """Where it is kept which formats overflowed: by checkpoint, and by the LoRAs in force, which may be the cause."""
    loras = sorted(one.name for one in clip.request.loras)
    return key(device_name, "overflowed", " + ".join([clip.row.id, *loras]))


def failed_formats(store: BenchmarkStore, device_name: str, clip: ClipSpec | None) -> frozenset[str]:
    found = store.get(overflow_key(device_name, clip)) if clip is not None else None
    return frozenset(found) if isinstance(found, list) else frozenset()


def remember_overflow(store: BenchmarkStore, device_name: str, clip: ClipSpec, narrow: str) -> None:
    """The format ``narrow`` overflowed in ``clip`` and a wider one did not."""
    failed = failed_formats(store, device_name, clip) | {narrow}
    store.put(overflow_key(device_name, clip), sorted(failed))


def supports_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` computes in bfloat16 itself, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return bool(bfloat16_units())


def bfloat16_units() -> str:
    """What this CPU computes bfloat16 with; empty where it has no units for it."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX tiles"
    return "AVX-512 bfloat16 units" if torch.cpu._is_avx512_bf16_supported() else ""


def _on_a_gpu(traits: Traits) -> tuple[torch.dtype, Note]:
    capability = traits.capability
    if WITHOUT_HALF.search(traits.name) and capability in {None, (7, 5)}:
        return torch.float32, Note.of("half_is_broken", device=traits.name)
    if capability is not None and capability < SLOW_HALF_BELOW and capability != FAST_HALF:
        if (traits.total_bytes or 0) >= ROOM_FOR_FLOAT32:
            return torch.float32, Note.of("half_is_slow", device=traits.name)
        return torch.float16, Note.of("half_saves_memory", device=traits.name)
    return torch.float16, Note.of("float16_on_gpu")


def _on_a_cpu(traits: Traits, store: BenchmarkStore | None) -> tuple[torch.dtype, Note]:
    """A CPU with bfloat16 units tries, once, whether they win."""
    units = bfloat16_units()
    if not units:
        return torch.float32, Note.of("no_bfloat16_units")
    name = key(traits.name, "number format")
    seconds = microbenchmarks.benchmark(
        store or BenchmarkStore(), name, microbenchmarks.dtype_candidates(), Timer.of(torch.device("cpu"))
    )
    times = [f"{option} {1000 * each:.1f} ms" for option, each in seconds.items()]
    if microbenchmarks.fastest(seconds) == "bfloat16":
        return torch.bfloat16, Note.of("bfloat16_wins", units=units, times=times)
    return torch.float32, Note.of("bfloat16_loses", units=units, times=times)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
