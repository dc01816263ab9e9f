"""What a client is told where gradio itself caught an error: a sentence, never null, never a path."""

from __future__ import annotations

from typing import Any

from gradio.exceptions import Error

from ..errors import SvdUiError, without_secrets
from .visitor import said

BROKEN = "Something unexpected went wrong. The server's log has the details."


def payload(error: BaseException | None, show_error: bool) -> dict[str, bool | str | float | None]:
    """As gradio's ``error_payload``; ``show_error`` changes nothing."""
    if isinstance(error, Error):
        told: dict[str, Any] = {"duration": error.duration, "visible": error.visible, "title": error.title}
        return {"error": without_secrets(str(error.message)), **told}
    text = said(error.to_dict(), remote=True) if isinstance(error, SvdUiError) else BROKEN
    return {"error": text, "visible": True}
