"""Settings that travel: inside a clip, beside it, or from another release.

A tag is JSON: ``{"svd_ui": <schema>, "request": {...}, "effective": {...}, "versions": {...}}``. Whatever a
release does not know, or no longer accepts, is dropped and named; it is never an error.
"""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel

from .errors import BadInput
from .migration import migrate, old_names
from .request import SCHEMA_VERSION, GenerationRequest

MAX_TEXT = 1_000_000
NOTHING = "There are no settings in this file: only clips made by this app carry them."
GARBLED = "The settings in this file cannot be read: they are damaged or were not written by this app."

_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:[\\/]|~[\\/]|/)(?:[^\s'\",;:\\/]+[\\/])*([^\s'\",;:\\/]+)")


@dataclass(frozen=True)
class Stored:
    """``request`` as far as this release understands it; ``dropped`` names what it does not."""

    request: GenerationRequest
    effective: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def tag(
    request: GenerationRequest,
    effective: BaseModel | Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
) -> str:
    """The JSON that goes into a file. Paths of this machine are cut down to their last name."""
    used = effective.model_dump(mode="json") if isinstance(effective, BaseModel) else dict(effective or {})
    wanted = request.model_dump(mode="json")
    data = {
        "svd_ui": SCHEMA_VERSION,
        "request": {**wanted, "checkpoint": _without_paths(wanted["checkpoint"])},
        "effective": _without_paths(used),
        "versions": _without_paths(dict(versions or {})),
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def parse(text: str) -> Stored:
    """Settings from a tag, a request's own JSON, or a status object. Raises BadInput with one sentence."""
    if len(text) > MAX_TEXT:
        raise BadInput("The settings in this file are too long to be read.")
    try:
        # NaN and Infinity are not JSON: as None they fail their field and are dropped like any bad value.
        data = json.loads(text.removeprefix("\ufeff"), parse_constant=_nothing)
    except (ValueError, RecursionError) as error:
        raise BadInput(GARBLED) from error
    request = _request_in(data)
    if request is None:
        raise BadInput(NOTHING)
    kept, dropped = migrate(GenerationRequest, request, data.get("svd_ui"))
    return Stored(
        GenerationRequest.model_validate(kept), _mapping(data.get("effective")), _mapping(data.get("versions")), dropped
    )


def open_settings(source: Path | bytes) -> Stored:
    """Settings from an mp4, gif, webp, png, zip of frames, or JSON file. Raises BadInput with one sentence."""
    head, file = _opened(source)
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if stripped[:1] == b"{":
        return parse(_text(file))
    if head[4:8] == b"ftyp":
        from .media.video import read_comment  # PyAV only where a clip is opened: the page starts without it

        text = read_comment(source)
    elif head.startswith((b"GIF8", b"\x89PNG")) or head[8:12] == b"WEBP":
        text = _picture_comment(file)
    elif head.startswith(b"PK\x03\x04"):
        text = _zip_comment(file)
    else:
        raise BadInput("Settings are read from mp4, gif, webp, png, zip and json files made by this app.")
    if not text or not text.lstrip().startswith("{"):
        raise BadInput(NOTHING)
    stored = parse(text)
    if '"svd_ui"' not in text:  # a bare request is ours where somebody wrote it down, not inside a picture
        raise BadInput(NOTHING)
    return stored


def _nothing(name: str) -> None:
    """What ``NaN`` and ``Infinity`` mean to us."""


def _request_in(data: Any) -> dict[str, Any] | None:
    """The request of what carries our mark, of a status object, or of nothing but a request's fields; None for all else.

    Other programs write a prompt into their files too: a key that we also have makes a file none of ours.
    """
    if not isinstance(data, dict):
        return None
    inner = data.get("request")
    if isinstance(inner, dict) and ("svd_ui" in data or {"id", "state"} <= data.keys()):
        return inner
    known = GenerationRequest.model_fields.keys() | old_names(GenerationRequest).keys()
    return data if data and data.keys() <= known else None


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return _PATH.sub(r"\1", value)
    if isinstance(value, Mapping):
        return {str(key): _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(inner) for inner in value]
    return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _opened(source: Path | bytes) -> tuple[bytes, io.BytesIO | Path]:
    """The first bytes, and something Pillow and zipfile can open."""
    if isinstance(source, bytes):
        return source[:64], io.BytesIO(source)
    if not isinstance(source, Path):
        raise BadInput("A path on the server is not accepted: upload the file itself.")
    try:
        with source.open("rb") as file:
            return file.read(64), source
    except OSError as error:
        raise BadInput(f"The file {source.name} cannot be opened.") from error


def _text(file: io.BytesIO | Path) -> str:
    try:
        with file.open("rb") if isinstance(file, Path) else file as content:
            return content.read(MAX_TEXT * 4 + 4).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(GARBLED) from error


def _picture_comment(file: io.BytesIO | Path) -> str | None:
    try:
        with Image.open(file, formats=["GIF", "WEBP", "PNG"]) as image:
            if image.format == "PNG":
                image.load()  # its text may come after the pixels
            xmp, comment = image.info.get("xmp"), image.info.get("comment")
    except Exception as error:  # as many kinds of failure as there are broken files
        raise BadInput(GARBLED) from error
    if xmp:
        found = re.search(r"svd_ui:settings=(\"|')(.*?)\1", _decoded(xmp), re.DOTALL)
        return html.unescape(found[2]) if found else None
    return _decoded(comment) if comment else None


def _decoded(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _zip_comment(file: io.BytesIO | Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            entry = next((info for info in archive.infolist() if info.filename == "settings.json"), None)
            if entry is None:
                return None
            with archive.open(entry) as content:
                return content.read(MAX_TEXT + 1).decode("utf-8", "replace")
    except Exception as error:  # every way of packing fails in its own
        raise BadInput(GARBLED) from error
