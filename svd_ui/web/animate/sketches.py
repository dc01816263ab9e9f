"""The sketch of what the form plans: made at once from the still, shown where the clip will be, kept for a while."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from PIL import Image

from ...assets import Assets
from ...catalog import CheckpointRow
from ...clip import ClipSpec
from ...errors import SvdUiError
from ...media.image import fit
from ...methods import MethodParams
from ...request import GenerationRequest
from ...steering import sketch as drawing
from ...steering.choreography import Choreography, View
from ...steering.choreography import view_of as view_of_clip
from ...steering.marks import Arrow, read_arrows
from ..context import Context
from ..formatting import html
from .directing import widget_of
from .form import request_of, shown_still
from .stills import Still, Stills, focus_of

QUALITY = 80
KEPT = 24
"""Sketches of all visitors that are still served; one is looked at for seconds."""
URL = "svd/sketch/"


class Sketches:
    """The last sketches as JPEG strips, by their content."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def keep(self, data: bytes) -> str:
        """The name under which ``data`` is served."""
        name = hashlib.sha256(data).hexdigest()[:32]
        self._kept[name] = data
        self._kept.move_to_end(name)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> bytes | None:
        return self._kept.get(name)


SKETCHES = Sketches()
"""The page's; its route serves from here."""


def sketched(context: Context, values: Mapping[str, Any], stills: Stills) -> str:
    """The sketch of the form's motion, or what is wrong with it; '' where there is nothing to sketch."""
    row, still = context.row(values["checkpoint"]), shown_still(stills, values)
    if still is None:
        return ""
    try:
        request = request_of(values, row, still)
    except SvdUiError:
        return ""  # said on the field at fault
    if not plans(request.method):
        return ""
    try:
        return _shown(context, request, row, still)
    except SvdUiError as error:
        return html("animate/sketch", reel="", said=error.message)


def plans(method: MethodParams) -> bool:
    """Whether a method says beforehand what moves."""
    return type(method).choreography is not MethodParams.choreography


def _shown(context: Context, request: GenerationRequest, row: CheckpointRow, still: Still) -> str:
    view = view_of(context.assets, request, row, still)
    plan = request.method.choreography(view)
    if plan is None or nothing(plan):
        return ""
    frames = drawing.sketch(plan, view, arrows=arrows_of(request.method))
    data = io.BytesIO()
    drawing.strip(frames).save(data, "JPEG", quality=QUALITY)
    width, height = frames[0].size
    reel = URL + SKETCHES.keep(data.getvalue())
    return html("animate/sketch", reel=reel, width=width, height=height, frames=len(frames), said="")


def nothing(plan: Choreography) -> bool:
    """Whether a plan has nothing to show."""
    path = plan.camera or plan.own
    return (path is None or path.still) and plan.scenery is None and plan.hold is None and not plan.stills


def arrows_of(method: MethodParams) -> tuple[Arrow, ...]:
    """What a method's fields with arrows hold."""
    fields = type(method).model_fields
    texts = [str(getattr(method, name) or "") for name, info in fields.items() if widget_of(info) == "arrows"]
    return tuple(arrow for text in texts for arrow in read_arrows(text))


def view_of(assets: Assets, request: GenerationRequest, row: CheckpointRow, still: Still) -> View:
    """What the plan is made from, no larger than a sketch: the same crop as the clip's. Raises what ``Assets.open`` does."""
    picture = still["width"], still["height"]
    shape = ClipSpec.of(request, row)
    focus, _ = focus_of(assets, still, (shape.width, shape.height), (request.focus_x, request.focus_y))
    clip = replace(shape, focus_x=focus[0], focus_y=focus[1])
    scale = min(1.0, drawing.WIDTH / max(clip.width, clip.height))
    size = max(2, round(clip.width * scale)), max(2, round(clip.height * scale))
    return view_of_clip(clip, _small(assets, still["ref"], *size, *focus), picture, assets.open)


@lru_cache(maxsize=8)
def _small(assets: Assets, ref: str, width: int, height: int, x: float, y: float) -> Image.Image:
    """The last stills: one draws on the same again and again."""
    return fit(assets.open(ref), width, height, x, y)
