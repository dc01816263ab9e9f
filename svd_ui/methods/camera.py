"""The camera's path over the still: pans, tilts, zooms, rolls, dollies and arcs, keyframed and eased."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..asset_ref import AssetRef
from ..steering import camera
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, camera_field, picture_field
from . import Directed, method

if TYPE_CHECKING:
    from ..steering.choreography import View


@method("camera")
class Camera(Directed):
    """The camera goes where you say."""

    shorthand: ClassVar[str] = "camera"
    tells_all: ClassVar[bool] = True
    camera: CameraText = camera_field(
        "push in, pan left*0.5, zoom=1.2, roll=5 … or keyframes 0.5:zoom=1.2; 1:zoom=1.", "push in"
    )
    parallax: float = Field(
        0.5, ge=0, le=1, title="Parallax", description="How much faster near things move than far ones. 0: flat."
    )
    depth: AssetRef | None = picture_field("Depth picture", "White is near, black is far. Blank: estimated.")

    def choreography(self, view: View) -> Choreography:
        nearness = None if self.depth is None else view.mask(self.depth) - 0.5
        return Choreography(camera=camera.read(self.camera), parallax=self.parallax, nearness=nearness)
