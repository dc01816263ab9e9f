"""The foot of the page and the slim status line: whose work this stands on, and what it runs on."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ... import __version__
from ...catalog import CheckpointRow
from ...engine import Device
from ...sentences import sentence
from .. import formatting, icons


def footer(rows: Iterable[CheckpointRow], selected: CheckpointRow, text_to_image: str) -> str:
    """Independence, trademarks, the licence of every model in reach; the notice Stability AI's licence asks for."""
    powered = '<p class="powered">Powered by Stability AI</p>' if selected.by_stability else ""
    licences = " · ".join(_licence(row) for row in rows)
    still = f'<a href="https://huggingface.co/{escape(text_to_image)}" target="_blank" rel="noopener">{escape(text_to_image)}</a>'
    if "/" not in text_to_image or text_to_image.startswith(("/", ".", "~")):
        still = "your own folder"
    return (
        f'<footer class="foot">{powered}<p>An independent open-source project, not affiliated with or endorsed by '
        "Stability AI. “Stability AI”, “Stable Diffusion” and “Stable Video Diffusion” are trademarks of their owner, "
        "used here only to name the models.</p>"
        f"<details><summary>Licences of the models</summary><p>{licences}. Stills from prompts: {still}, under the licence "
        "on its page. Example pictures: assets/examples/LICENSES.md.</p></details>"
        f"<p>SVD UI {escape(__version__)} · Apache-2.0</p></footer>"
    )


def _licence(row: CheckpointRow) -> str:
    title = escape(row.title)
    if row.licence_url:
        return f'{title}: <a href="{escape(row.licence_url)}" target="_blank" rel="noopener">{escape(row.licence or "licence")}</a>'
    return f"{title}: {escape(row.licence or 'see its folder')}"


def header() -> str:
    return (
        f'<header class="top"><div class="brand">{icons.MARK}<h1>SVD UI</h1>'
        "<p>Turn a still into a moving clip</p></div></header>"
    )


def status(device: Device | None, profile_title: str = "") -> str:
    """One line: device, memory, loaded checkpoint, attention; the reasons in a tooltip."""
    if device is None:
        return (
            '<div class="status" role="status"><span class="lamp wait"></span><span>Starting the worker…</span></div>'
        )
    memory = formatting.memory(device.total_bytes)
    if memory and device.free_bytes is not None:
        memory = f"{device.free_bytes / 2**30:.0f} of {memory} free"
    loaded = device.loaded_checkpoint
    reasons = "; ".join(
        part
        for part in (
            f"profile {device.profile}: {sentence(device.profile_reason)}"
            if device.profile_reason
            else f"profile {device.profile}",
            f"attention {device.attention}: {sentence(device.attention_reason)}" if device.attention_reason else "",
            f"computes in {device.dtype}",
            "" if device.measured else "this kind of device was not measured",
        )
        if part
    )
    parts = [
        device.name,
        memory,
        f"profile {device.profile}",
        device.attention,
        f"{loaded} loaded" if loaded else "no model loaded",
    ]
    line = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    lamp = "on" if loaded else ""
    free = '<button type="button" class="btn small ghost" data-act="release">Free memory</button>' if loaded else ""
    return (
        f'<div class="status"><span class="lamp {lamp}"></span><div class="status-line" role="group" tabindex="0" title="{escape(reasons)}" '
        f'aria-label="Device: {escape(", ".join(p for p in parts if p))}. {escape(reasons)}">{line}</div>{free}</div>'
    )
