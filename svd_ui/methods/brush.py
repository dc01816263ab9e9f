"""A motion brush: what is painted moves, the rest stays to the pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..asset_ref import AssetRef
from ..steering.fields import CameraText, StrokesText, camera_field, picture_field, strokes_field
from . import Directed, method

if TYPE_CHECKING:
    pass


@method("brush")
class Brush(Directed):
    """Only what you paint moves."""

    shorthand: ClassVar[str] = "mask"
    strokes: StrokesText = strokes_field("What moves", "Paint it; each stroke may have a direction and a strength.")
    mask: AssetRef | None = picture_field("Mask picture", "White moves, black stays.")
    effect: Literal["free", "water", "leaves", "clouds", "smoke"] = Field(
        "free", title="As", description="free: as the checkpoint likes. Others flow or sway in whole cycles and loop."
    )
    angle: float | None = Field(
        None, ge=-360, le=360, title="Direction", description="Degrees: 0 right, 90 up. Blank: as suits the effect."
    )
    strength: float = Field(1.0, ge=0, le=4, title="Strength", description="How much what is painted moves.")
    camera: CameraText = camera_field("The camera meanwhile. Blank: it stands.")
