"""A longer clip, made in chunks that go on from each other."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ..asset_ref import AssetRef
from ..steering.fields import CameraText, camera_field, picture_field
from . import MethodParams, method


@method("extend")
class Extend(MethodParams):
    """As many seconds as you like."""

    shorthand: ClassVar[str] = "seconds"
    seconds: float = Field(8.0, ge=1, le=60, title="Seconds", description="How long the clip is in the end.")
    camera: CameraText = camera_field("The camera’s path over all of it. Blank: the checkpoint’s own, carried on.")
    colour_lock: bool = Field(True, title="Hold colours", description="Each part keeps the colours of the picture.")
    stop_at_drift: float = Field(
        0.0, ge=0, le=50, title="Stop at drift",
        description="Ends where the picture has drifted so far from the first, in steps of colour (delta E). 0: never.",
    )  # fmt: skip
    before: AssetRef | None = picture_field("Frame before", "A frame shortly before the picture: its motion goes on.")
