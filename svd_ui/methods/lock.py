"""The background is held, what stands before it moves freely."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from ..asset_ref import AssetRef
from ..errors import BadInput
from ..steering import camera, cutout, marks
from ..steering.choreography import Choreography
from ..steering.fields import BoxText, CameraText, StrokesText, camera_field, picture_field, strokes_field, widget
from . import Directed, method

if TYPE_CHECKING:
    from ..steering.choreography import View
    from ..steering.marks import Mask

ROOM = 0.04
"""Of the longer side: how far around the subject a checkpoint that makes new pixels may move it."""
LEAST, MOST = 0.0003, 0.999
"""Of the frame."""


@method("lock")
class Lock(Directed):
    """The background stays, the subject moves."""

    shorthand: ClassVar[str] = "mask"
    strokes: StrokesText = strokes_field("Subject", "Paint what may move. Blank: what stands out.")
    box: BoxText = Field(
        "", max_length=80, title="Box", description="Around the subject: left,top,right,bottom from 0 to 1.",
        json_schema_extra=widget("box"),
    )  # fmt: skip
    mask: AssetRef | None = picture_field("Mask picture", "White may move, black is held.")
    camera: CameraText = camera_field(
        "How the subject moves before the background. Blank: the checkpoint’s own motion."
    )

    @property
    def calm(self) -> bool:
        return False

    def choreography(self, view: View) -> Choreography:
        """The subject as a sheet before the painted background. What is given is taken together; else what stands out."""
        own = camera.read(self.camera)
        subject = self._subject(view)
        room = 1 - _wider(subject, ROOM * max(view.size))
        return Choreography(
            hold=1 - subject,
            lifted=True,
            own=None if own.still else own,
            parallax=0,  # a sheet moves as one
            follow=lambda share: room,
            to_the_end=True,
            rest_stays=False,
        )

    def _subject(self, view: View) -> Mask:
        """[H W]. A mask picture is taken as it is; strokes and a box are led to the edges of what they are on."""
        picture = np.asarray(view.still.convert("RGB"))
        parts = [] if self.mask is None else [view.mask(self.mask)]
        if self.strokes:
            parts.append(cutout.of_paint(picture, view.painted(marks.read_strokes(self.strokes))))
        box = marks.read_box(self.box)
        if box is not None:
            parts.append(cutout.of_box(picture, (*view.place(box[:2]), *view.place(box[2:]))))
        subject = np.maximum.reduce(parts) if parts else cutout.standing_out(picture)
        if not LEAST < subject.mean() < MOST:
            field = "method.lock.mask" if self.mask else "method.lock.box" if self.box else "method.lock.strokes"
            raise BadInput(
                "The subject is outside the frame, or fills all of it: mark something within it.", field=field
            )
        return subject


def _wider(mask: Mask, pixels: float) -> Mask:
    import cv2

    side = 2 * max(1, round(pixels)) + 1
    wider: Mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return wider
