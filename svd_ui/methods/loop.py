"""A loop without a seam: the last frame goes over into the first as every frame does into its next."""

from __future__ import annotations

from ..steering.fields import CameraText, camera_field
from . import MethodParams, method


@method("loop")
class Loop(MethodParams):
    """The clip ends as it began, so it plays for ever."""

    camera: CameraText = camera_field("A path that ends where it begins, such as orbit. Blank: as suits the checkpoint.")
