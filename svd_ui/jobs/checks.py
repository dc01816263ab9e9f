"""What a request must be before it becomes a job. Every refusal is one sentence on the field it belongs to."""

from __future__ import annotations

from ..assets import Assets
from ..catalog import checkpoint
from ..errors import BadInput, NotFound
from ..loras import find
from ..request import GenerationRequest, has_source
from ..settings import Settings
from . import JobKind


def checked(settings: Settings, request: GenerationRequest, kind: JobKind) -> GenerationRequest:
    """The request with blanks normalised and its seed fixed. Raises BadInput."""
    request = _normalised(request)
    if kind == "download":
        return request
    if kind == "still":
        if request.prompt is None or request.image is not None:
            raise BadInput("Describe the still to make; a picture is not needed for it.", field="prompt")
        request = request.model_copy(update={"wall": None})  # one still is the first frame of every tile
    elif not has_source(request):
        both = request.image is not None
        detail = (
            "Give a still or a prompt, not both." if both else "Give a still to animate, or a prompt to make one from."
        )
        raise BadInput(detail, field="prompt" if both else "image")
    if request.image is not None:
        _require_picture(settings, request.image)
    if request.checkpoint != "auto":
        # A name nobody knows, or what that checkpoint cannot do, is refused now, not in the queue.
        checkpoint(settings, request.checkpoint).check(request)
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


def _require_picture(settings: Settings, ref: str) -> None:
    try:
        Assets.of(settings).path(ref)
    except NotFound as error:
        raise BadInput("The picture is not here any more: add it again.", field="image") from error
