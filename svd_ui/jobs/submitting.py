"""A request comes in: checked, given an id, and stored with what is known about its time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from ..catalog import CheckpointRow, checkpoint, checkpoints
from ..engine import Device
from ..errors import SvdUiError
from ..hub import TEXT_TO_IMAGE, Hub, choose
from ..request import GenerationRequest
from ..settings import Settings
from . import JobKind
from .checks import checked
from .kinds import key_of
from .store import Store


class Desk:
    """``describe`` tells on which device a blank checkpoint will be chosen."""

    def __init__(self, settings: Settings, store: Store, hub: Hub, describe: Callable[[], Device | None]) -> None:
        self._settings, self._store, self._hub, self._describe = settings, store, hub, describe

    def add(self, request: GenerationRequest, owner: str, kind: JobKind, **place: Any) -> str:
        """The id of the new row, 128 random bits; ``place`` as in ``Store.add``. Raises BadInput or QueueFull."""
        request = checked(self._settings, request, kind)
        key, steps = self.timing_of(request, kind)
        id = secrets.token_hex(16)
        self._store.add(id, owner, kind, request, timing_key=key, steps=steps, **place)
        return id

    def add_download(self, id: str, owner: str) -> str:
        """As ``add``, for the weights of checkpoint ``id``; the download already under way if there is one."""
        if id != TEXT_TO_IMAGE:
            checkpoint(self._settings, id)
        request = GenerationRequest.model_validate({"checkpoint": id})
        return self._store.active_download(id) or self.add(request, owner, "download")

    def timing_of(self, request: GenerationRequest, kind: JobKind) -> tuple[str, int]:
        """(timing key, denoising steps); an empty key where they cannot be known."""
        if kind == "download":
            return request.checkpoint, 0
        try:
            key, steps = key_of(request, self._row_of(request), kind)
        except SvdUiError:
            return "", 0
        return str(key), steps

    def _row_of(self, request: GenerationRequest) -> CheckpointRow:
        rows = checkpoints(self._settings)
        if request.checkpoint in rows:
            return rows[request.checkpoint]
        device = self._describe() or Device(kind="cpu", name="")
        return choose(self._settings, self._hub, device.kind, device.total_bytes)
