"""Arrows on the still: what an arrow starts on goes to where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..errors import BadInput
from ..steering import camera, cutout, layers, marks
from ..steering.choreography import Choreography
from ..steering.fields import ArrowsText, CameraText, StrokesText, camera_field, strokes_field, widget
from . import Directed, method

if TYPE_CHECKING:
    from ..steering.choreography import Picture, View
    from ..steering.marks import Arrow, Mask

SAME = 0.5
"""Of the smaller of two things, the share that lies in the other from which on they are one."""


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

    @property
    def calm(self) -> bool:
        return self.rest == "stays"

    @property
    def holds_all(self) -> bool:
        return self.rest == "stays"

    def choreography(self, view: View) -> Choreography:
        """What the arrows start on as sheets that go over the still, without them, along the arrows."""
        arrows = [tuple(view.place(point) for point in arrow) for arrow in marks.read_arrows(self.arrows)]
        if not arrows:
            raise BadInput("Draw an arrow: from what is to move to where it goes.", field="method.drag.arrows")
        things = self._things(view, arrows)
        touched = layers.touched(things)
        return Choreography(
            camera=camera.read(self.camera),
            parallax=0,  # what is near is not where it was
            hold=np.ones_like(touched) if self.rest == "stays" else None,
            scenery=layers.moved(things),
            follow=lambda share: touched,
            to_the_end=True,
            rest_stays=self.rest == "stays",
        )

    def _things(self, view: View, arrows: list[Arrow]) -> list[layers.Thing]:
        picture = np.asarray(view.still.convert("RGB"))
        painted = view.painted(marks.read_strokes(self.strokes)) if self.strokes else None
        if painted is not None and painted.max() < 0.5:
            raise BadInput("What you painted is outside the frame.", field="method.drag.strokes")
        groups: list[tuple[Mask, list[Arrow]]] = []
        for arrow in arrows:
            mask = self._thing(picture, painted, arrow)
            same = next((group for group in groups if _same(group[0], mask)), None)
            if same is None:
                groups.append((mask, [arrow]))
            else:
                same[1].append(arrow)
        return [layers.Thing(mask, tuple(ways)) for mask, ways in groups]

    def _thing(self, picture: Picture, painted: Mask | None, arrow: Arrow) -> Mask:
        """What an arrow moves, [H W]: the painted piece that it starts on or next to, else the thing it starts on."""
        if not all(0 <= share <= 1 for share in arrow[0]):
            raise BadInput(
                "An arrow starts outside the frame: begin it on what is to move.", field="method.drag.arrows"
            )
        if painted is None:
            return cutout.at_place(picture, arrow[0])
        return cutout.of_paint(picture, _piece(painted, arrow[0]))


def _piece(painted: Mask, place: tuple[float, float]) -> Mask:
    """The connected piece of ``painted`` that is nearest to a place."""
    import cv2

    height, width = painted.shape
    _, pieces = cv2.connectedComponents((painted > 0.5).astype(np.uint8))
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x + 0.5 - place[0] * width, y + 0.5 - place[1] * height)
    nearest = pieces.ravel()[np.where(pieces > 0, away, np.inf).argmin()]
    return np.where(pieces == nearest, painted, 0).astype(np.float32)


def _same(one: Mask, other: Mask) -> bool:
    both = float(np.minimum(one, other).sum())
    return both > SAME * min(float(one.sum()), float(other.sum()))
