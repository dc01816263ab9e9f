"""A motion brush: what is painted moves, the rest stays to the pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..asset_ref import AssetRef
from ..errors import BadInput
from ..steering import camera, flowing, marks
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, StrokesText, camera_field, picture_field, strokes_field
from ..steering.paint import paint
from . import Directed, method

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..steering.choreography import Picture, Scenery, View
    from ..steering.marks import Mask
    from ..steering.paint import Paint


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

    @property
    def calm(self) -> bool:
        return False

    @property
    def holds_all(self) -> bool:
        return self.effect != "free"

    def choreography(self, view: View) -> Choreography:
        """Nothing moves but the paint: as the checkpoint has it, pushed where a direction is given, or as the effect does."""
        strokes = marks.read_strokes(self.strokes)
        if not strokes and self.mask is None:
            raise BadInput("Paint what is to move.", field="method.brush.strokes")
        mask = None if self.mask is None else view.mask(self.mask)
        painting = paint(view, strokes, mask, self.angle, self.strength)
        if painting.covered.max() < 0.5:
            field = "method.brush.strokes" if strokes else "method.brush.mask"
            raise BadInput("What you painted is outside the frame.", field=field)
        unpainted = 1 - painting.covered
        return Choreography(
            camera=camera.read(self.camera),
            parallax=0.5,
            hold=painting.held() if self.effect == "free" else np.ones_like(unpainted),
            scenery=self._scenery(painting, view),
            follow=lambda share: unpainted,
            led=self._led(painting),
            to_the_end=True,
            rest_stays=False,
        )

    def _led(self, painting: Paint) -> Mask | None:
        """Where a checkpoint that makes new pixels is shown which way things go."""
        if self.effect != "free":
            return painting.covered
        return painting.directed if painting.directed.max() >= 0.5 else None

    def _scenery(self, painting: Paint, view: View) -> Callable[[Picture], Scenery] | None:
        if self.effect != "free":
            region = painting.flowing(flowing.BEHAVIOURS[self.effect].angle)
            closes = view.last * view.frames / max(1, view.frames - 1)
            return flowing.flowing(region, self.effect, view.seconds, closes, view.seed)
        return flowing.pushed(painting.pushed()) if painting.directed.max() >= 0.5 else None
