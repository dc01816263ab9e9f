"""A request comes in: checked, given an id, and stored with what is known about its time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from ..assets import Assets
from ..catalog import find_checkpoint
from ..clip import ClipSpec
from ..engine import Device
from ..engine.estimates import profile_of, splits
from ..errors import BadInput, SvdUiError
from ..hub import TEXT_TO_IMAGE, Hub
from ..hub.selection import Checkpoints
from ..loras import find
from ..pictures import require
from ..request import GenerationRequest, has_source
from ..settings import Settings
from . import JobKind
from .store import Store
from .timing_key import key_of


class Intake:
    """``describe`` tells on which device a blank checkpoint will be chosen."""

    def __init__(self, settings: Settings, store: Store, hub: Hub, describe: Callable[[], Device | None]) -> None:
        self._settings, self._store, self._describe = settings, store, describe
        self._checkpoints = Checkpoints(settings, hub)

    def add(self, request: GenerationRequest, owner: str, kind: JobKind, **place: Any) -> str:
        """The id of the new row, 128 random bits; ``place`` as in ``Store.add``. Raises BadInput or QueueFull."""
        request, key, steps = self.checked(request, kind)
        id = place.pop("id", None) or secrets.token_hex(16)
        self._store.add(id, owner, kind, request, timing_key=key, steps=steps, **place)
        return str(id)

    def checked(self, request: GenerationRequest, kind: JobKind) -> tuple[GenerationRequest, str, int]:
        """(the request as it is stored, timing key, denoising steps). Raises BadInput."""
        request = self._focused(checked(self._settings, request, kind))
        return request, *self.timing_of(request, kind)

    def add_download(self, id: str, owner: str) -> str:
        """As ``add``, for the weights of checkpoint ``id``; the download already under way if there is one."""
        if id != TEXT_TO_IMAGE:
            find_checkpoint(self._settings, id)
        request = GenerationRequest.model_validate({"checkpoint": id})
        return self._store.active_download(id) or self.add(request, owner, "download")

    def _focused(self, request: GenerationRequest) -> GenerationRequest:
        """The focus that is blank is found now, so that the job says what it was made from."""
        if request.image is None:
            return request
        try:
            clip = ClipSpec.of(request, self._checkpoints.resolve(request.checkpoint, self._describe()))
        except SvdUiError:
            return request  # said where the job fails for it
        return Assets.of(self._settings).focused(request, clip.width, clip.height)

    def timing_of(self, request: GenerationRequest, kind: JobKind) -> tuple[str, int]:
        """(timing key, denoising steps); an empty key where they cannot be known."""
        if kind == "download":
            return request.checkpoint, 0
        try:
            device = self._describe()
            row = self._checkpoints.resolve(request.checkpoint, device)
            clip = ClipSpec.of(request, row)
            split = device is not None and splits(device, profile_of(self._settings, device, clip))
        except SvdUiError:
            return "", 0
        steps = 0 if kind == "still" else clip.num_inference_steps
        return str(key_of(clip, kind, from_prompt=request.image is None, split=split)), steps


def checked(settings: Settings, request: GenerationRequest, kind: JobKind) -> GenerationRequest:
    """The request with blanks normalised and its seed fixed. Raises BadInput."""
    request = _normalised(request)
    if kind == "download":
        return request
    if kind == "still":
        if request.prompt is None or request.image is not None:
            raise BadInput("Describe the picture to make, and remove the one you added.", field="prompt")
        request = request.model_copy(update={"wall": None})  # one still is the first frame of every tile
    elif not has_source(request):
        both = request.image is not None
        detail = (
            "Give a picture or a prompt, not both." if both else "Give a picture to animate, or a prompt to make one."
        )
        raise BadInput(detail, field="prompt" if both else "image")
    require(Assets.of(settings), request)
    if request.checkpoint != "auto":
        # A name nobody knows, or what that checkpoint cannot do, is refused now, not in the queue.
        row = find_checkpoint(settings, request.checkpoint)
        row.check(ClipSpec.of(request, row))
    for lora in request.loras:
        find(settings, lora)
    return request.with_seed()


def _normalised(request: GenerationRequest) -> GenerationRequest:
    """Blank texts mean None; a negative prompt means nothing without a prompt."""
    prompt = (request.prompt or "").strip() or None
    negative = (request.negative_prompt or "").strip() or None
    name = request.checkpoint.strip() or "auto"
    return request.model_copy(
        update={"prompt": prompt, "negative_prompt": negative if prompt else None, "checkpoint": name}
    )
