"""What a client is told where gradio itself caught an error: a sentence, never null, never a path."""

from __future__ import annotations

import errno
from typing import Any

from gradio.exceptions import Error

from ..errors import SvdUiError, without_secrets
from ..media import FULL
from .visitor import said

CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
BROKEN = "Something unexpected went wrong. The server's log has the details."


def payload(error: BaseException | None, show_error: bool) -> dict[str, bool | str | float | None]:
    """As gradio's ``error_payload``; ``show_error`` changes nothing."""
    if isinstance(error, Error):
        told: dict[str, Any] = {"duration": error.duration, "visible": error.visible, "title": error.title}
        return {"error": without_secrets(str(error.message)), **told}
    text = said(error.to_dict(), remote=True) if isinstance(error, SvdUiError) else disk_trouble(error) or BROKEN
    return {"error": text, "visible": True}


def disk_trouble(error: BaseException | None) -> str:
    """What is said where the server's disk takes nothing; blank for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL:
        return "The server's disk is full: free some space there, then try again."
    return (
        "The server's data folder cannot be written to: give the app the right to, then try again."
        if number in CLOSED
        else ""
    )
