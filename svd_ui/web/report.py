"""What a visitor may copy: a job's settings, and an error report without secrets, paths or pictures."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..doctor import device_facts
from ..engine import Device
from ..jobs import Job
from ..request import SCHEMA_VERSION
from ..sentences import sentence

_SECRETS = re.compile(r"\b(hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|[Bb]earer\s+\S+)")
HIDDEN = "a folder of this server"
_PATHS = re.compile(r"(?:[A-Za-z]:)?[\\/](?:[\w.\- ]+[\\/])+[\w.\-]*")


_FOLDERS = re.compile(r"(?<![\w:/\\.])(?:~|[A-Za-z]:)?[\\/][\w.\-]+(?:[\\/][\w.\-]+)*[\\/]?(?<!\.)")


def said(error: Mapping[str, Any], remote: bool) -> str:
    """The sentence of an error (``SvdUiError.to_dict``) for a visitor; folders of the server only for its operator."""
    message = str(error.get("message", ""))
    if not remote:
        return message
    for value in (error.get("params") or {}).values():
        if isinstance(value, str) and _FOLDERS.match(value):
            message = message.replace(value, HIDDEN)  # whole, also where a name has spaces
    return _FOLDERS.sub(HIDDEN, message)


def settings_json(job: Job) -> str:
    """The request as JSON that the page, the command line and the API take back."""
    request = (job.result.request if job.result else job.request).model_dump(mode="json", exclude_none=True)
    effective = job.result.effective.model_dump(mode="json") if job.result and job.result.effective else {}
    versions = job.result.versions if job.result else {}
    return json.dumps({"svd_ui": SCHEMA_VERSION, "request": request, "effective": effective, "versions": versions})


def error_report(job: Job, device: Device | None) -> str:
    """Markdown for an issue. Prompts and pictures are the visitor's own and stay out."""
    request = job.request.model_dump(mode="json", exclude_none=True)
    private = ("prompt", "negative_prompt", "image")
    shown = {key: "(given)" if key in private else value for key, value in request.items()}
    parts: dict[str, Any] = {
        "error": job.error or {"code": job.state},
        "stage": {"step": job.step, "total": job.total},
        "notes": list(map(sentence, job.notes)),
        "request": shown,
        "device": device_facts(device),
        "versions": {"svd_ui": __version__, "python": sys.version.split()[0], "system": platform.platform(), **_page()},
    }
    return clean("### SVD UI error report\n\n```json\n" + json.dumps(parts, indent=2, default=str) + "\n```\n")


def clean(text: str) -> str:
    """Tokens, home folders and paths made unreadable."""
    text = _SECRETS.sub("(secret)", text).replace(str(Path.home()), "~")
    return _PATHS.sub(lambda match: "(path)/" + re.split(r"[\\/]", match[0])[-1], text)


def _page() -> dict[str, str]:
    from gradio import __version__ as gradio_version

    return {"gradio": gradio_version}
