"""What a finished clip may become next: the same settings, longer or as a loop."""

from __future__ import annotations

from typing import Any

from ...catalog import CheckpointRow
from ...clip import ClipSpec
from ...errors import NotFound
from ...jobs import Job
from ...methods import METHODS, MethodParams
from ...request import GenerationRequest
from .directing import widget_of
from .form import FRESH

OFFERS = {"extend": "Extend", "loop": "Loop"}
"""Method => its button."""
SAID = {
    "extend": "Set to a clip of {seconds:g} s with the same settings. Press Animate.",
    "loop": "Set to a loop with the same settings. Press Animate.",
}
MORE = 4.0
"""Seconds that a longer clip is longer by."""


def offered(kind: str) -> list[tuple[str, str]]:
    """(method, what its button says) for a clip made with the method ``kind``; one that is longer may become longer still."""
    known = METHODS.classes()
    return [
        (method, title) for method, title in OFFERS.items() if method in known and (method, kind) != ("loop", "loop")
    ]


def asked(job: Job, kind: str, row: CheckpointRow) -> tuple[GenerationRequest, str]:
    """The clip of ``job`` as it would be asked for with the method ``kind``, and a sentence. Raises NotFound."""
    cls = METHODS.classes().get(kind)
    if kind not in OFFERS or cls is None or job.result is None or not job.result.video:
        raise NotFound(what="clip")
    request = job.known_request
    method = longer(request, row) if kind == "extend" else cls()
    post = tuple(step for step in request.post if f"post.{step.kind}" not in FRESH)
    update: dict[str, Any] = {"method": method, "post": post}
    if request.image and request.prompt:
        update["prompt"] = None  # the still is made already
    return request.model_copy(update=update), SAID[kind].format(seconds=getattr(method, "seconds", 0))


def longer(request: GenerationRequest, row: CheckpointRow) -> MethodParams:
    """The method that goes on with a clip's camera. (A loop's has to come back, so it is left to the loop.)"""
    wanted = round(seconds(request, row) + MORE)
    path = _path(request.method)
    given = {"seconds": min(60.0, wanted), **({"camera": path} if path else {})}
    return METHODS.classes()["extend"].model_validate(given)


def seconds(request: GenerationRequest, row: CheckpointRow) -> float:
    """How long the clip of a request is, once through."""
    own = getattr(request.method, "seconds", None)
    if isinstance(own, int | float):
        return float(own)
    shape = ClipSpec.of(request, row).shape
    return shape.num_frames / shape.fps


def _path(method: MethodParams) -> str:
    """The camera's path that a method was given."""
    for name, info in type(method).model_fields.items():
        if widget_of(info) == "camera" and getattr(method, name):
            return str(getattr(method, name))
    return ""
