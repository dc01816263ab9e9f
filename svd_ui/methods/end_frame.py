"""The clip ends on another still, and may pass further ones on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..asset_ref import AssetRef, TimedRefs
from ..steering.fields import picture_field, widget
from . import MethodParams, method

if TYPE_CHECKING:
    from ..steering.choreography import Choreography, View


@method("end_frame")
class EndFrame(MethodParams):
    """The clip ends on a second picture."""

    shorthand: ClassVar[str] = "image"
    image: AssetRef | None = picture_field("End frame", "The picture the clip ends on.")
    keys: TimedRefs = Field(
        "", max_length=400, title="Pictures between",
        description="Up to two more, at shares of the clip: 0.4=sha256:…; 0.7=sha256:….",
        json_schema_extra=widget("pictures"),
    )  # fmt: skip
