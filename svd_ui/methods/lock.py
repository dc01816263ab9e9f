"""The background is held, what stands before it moves freely."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..asset_ref import AssetRef
from ..steering.fields import CameraText, StrokesText, camera_field, picture_field, strokes_field
from . import Directed, method

if TYPE_CHECKING:
    pass


@method("lock")
class Lock(Directed):
    """The background stays, the subject moves."""

    shorthand: ClassVar[str] = "mask"
    strokes: StrokesText = strokes_field("Subject", "Paint what may move. Blank: what stands out.")
    box: str = Field(
        "", max_length=80, title="Box", description="Around the subject: left,top,right,bottom from 0 to 1."
    )
    mask: AssetRef | None = picture_field("Mask picture", "White may move, black is held.")
    camera: CameraText = camera_field(
        "How the subject moves before the background. Blank: the checkpoint’s own motion."
    )
