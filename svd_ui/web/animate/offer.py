"""What the page says when the weights a visitor chose are not on this machine."""

from __future__ import annotations

from html import escape

from ...catalog import CheckpointRow
from .. import formatting, icons

EVENTS_JS = "svdui.mount('offer', element, trigger, watch, props)  /* 'fetch' */"


def render(row: CheckpointRow) -> str:
    """The offer to download a checkpoint, with its licence, or '' where there is nothing to offer."""
    if row.repo is None:
        return ""
    licence = (
        f'<a href="{escape(row.licence_url)}" target="_blank" rel="noopener">{escape(row.licence)}</a>'
        if row.licence_url
        else escape(row.licence)
    )
    gate = (
        f' It is gated: accept its form on <a href="{escape(row.link)}" target="_blank" rel="noopener">its page</a> and '
        "set HF_TOKEN first."
        if row.gated
        else ""
    )
    return _card(
        f"{escape(row.title)} is not on this machine yet",
        f"{formatting.size(row.download_bytes)} from Hugging Face, under the {licence}.{gate} It resumes where it stopped.",
        f"Download {formatting.size(row.download_bytes)}",
        row.id,
    )


def render_text_to_image(name: str) -> str:
    """The same for the model that makes stills from prompts."""
    link = f'<a href="https://huggingface.co/{escape(name)}" target="_blank" rel="noopener">{escape(name)}</a>'
    return _card(
        "The model that makes stills is not on this machine yet",
        f"{link}, under the licence on its page. Or start from a picture: that needs nothing more.",
        "Download it",
        "text-to-image",
    )


def _card(title: str, text: str, button: str, what: str) -> str:
    return (
        f'<div class="offer">{icons.DOWNLOAD}<div><b>{title}</b><p>{text}</p>'
        f'<button type="button" class="btn strong" data-act="fetch" data-id="{escape(what)}">{button}</button></div></div>'
    )
