"""A loop without a seam: the last frame goes over into the first as every frame does into its next."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..steering import camera
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, camera_field
from . import Directed, method

if TYPE_CHECKING:
    from ..steering.choreography import View


@method("loop")
class Loop(Directed):
    """The clip ends as it began, so it plays for ever."""

    tells_all: ClassVar[bool] = True
    camera: CameraText = camera_field(
        "A path that ends where it begins. Blank: an orbit, or what the checkpoint finds."
    )

    def choreography(self, view: View) -> Choreography:
        return Choreography(camera=closed(camera.read(self.camera or "orbit")), closed=True)


def closed(path: camera.CameraPath) -> camera.CameraPath:
    """``path``, and back to rest where it would end elsewhere."""
    last = path.keys[-1][1] if path.keys else camera.REST
    ends = last == camera.REST or last == camera.Pose(orbit=last.orbit)
    if ends:
        return path
    keys = tuple((time / 2, pose) for time, pose in path.keys)
    return camera.CameraPath((*keys, (1.0, camera.REST)), path.ease, path.handheld)
