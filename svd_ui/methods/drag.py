"""Arrows on the still: what an arrow starts on goes to where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..steering.fields import ArrowsText, CameraText, StrokesText, camera_field, strokes_field, widget
from . import Directed, method

if TYPE_CHECKING:
    pass


@method("drag")
class Drag(Directed):
    """Things go where your arrows point."""

    shorthand: ClassVar[str] = "arrows"
    arrows: ArrowsText = Field(
        "", max_length=8000, title="Arrows", description="0.2,0.3>0.4,0.3: from one place of the picture to another.",
        json_schema_extra=widget("arrows"),
    )  # fmt: skip
    strokes: StrokesText = strokes_field("What is dragged", "Paint it. Blank: what the arrow starts on.")
    rest: Literal["stays", "lives"] = Field(
        "stays", title="The rest", description="Whether everything else stays calm or moves as it likes."
    )
    camera: CameraText = camera_field("The camera meanwhile. Blank: it stands.")
