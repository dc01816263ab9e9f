"""The line under Start training: what a run will take, as far as it is known."""

from __future__ import annotations

from html import escape

from ...engine import Device
from ...finetune.estimate import Cost
from .. import formatting, icons
from ..animate.prediction import NBSP


def render(cost: Cost | None, device: Device | None) -> str:
    """``About 12 min, 1.2 of 8 GB memory``, and how many numbers are trained; '' where nothing is known."""
    if cost is None or cost.parameters is None:
        return ""
    trained = f'<p class="summary"><span>{_numbers(cost.parameters)} numbers trained</span></p>'
    memory = _memory(cost, device)
    if cost.fits is False:
        text = f"This takes about {memory}. A LoRA, smaller frames, fewer of them or a smaller rank take less."
        return f'<div class="obstacle" role="status">{icons.WARNING}<b>{escape(text)}</b></div>{trained}'
    time = formatting.duration(max(1.0, cost.seconds)) if cost.seconds else ""
    known = ", ".join(part for part in (time, memory) if part)
    return (f'<p class="outlook"><span>About {escape(known)}</span></p>' if known else "") + trained


def _memory(cost: Cost, device: Device | None) -> str:
    if cost.peak_bytes is None or device is None:
        return ""
    kind = "memory" if device.kind == "cpu" else "VRAM"
    total = f" of {formatting.memory(device.total_bytes)}" if device.total_bytes else f"{NBSP}GB"
    return f"{formatting.gigabytes(cost.peak_bytes)}{total} {kind}".replace(" GB", f"{NBSP}GB")


def _numbers(count: int) -> str:
    """``0.8 million``."""
    return f"{count / 1e6:.1f} million" if count >= 50_000 else f"{count:,}"
