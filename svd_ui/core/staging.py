"""A plan of what moves, played over a still: crude for a model to follow, or the clip itself where that is all there is.

How it fits together: the scene that a checkpoint made moves what is not held; over all of it goes the planned camera; and
what the camera looks at may change by itself (``steering/choreography.py``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..media.image import crop_box
from ..steering.camera import NAMES, CameraPath
from ..steering.choreography import Choreography
from .conditioning import digest
from .families.canvas import Box, Canvas, margin_for
from .families.scene import Scene, grid, looked_up

if TYPE_CHECKING:
    from ..clip import ClipSpec
    from .runtime import Runtime

REACH = 0.5
"""How much of a frame's width and height is kept beyond each of its sides, at most."""
MARGIN_STEP = 0.05
MARGIN_POINTS = 96
"""Along the longer side, where it is asked how far a clip looks beyond its still."""
PARTED = 1.5
"""Pixels after which what is lifted has left its place."""
ARC_UNIT = 0.8
"""A scene's arc by which the nearest and the farthest part by half of its longer side: 2 / ``scene.ARC``."""


class Stage:
    """A still at one size with what its photograph has around it, and the plan of a clip: frames are looked at in it."""

    def __init__(
        self,
        runtime: Runtime,
        still: Tensor,
        clip: ClipSpec,
        picture: Image.Image | None,
        choreography: Choreography,
        size: tuple[int, int],
    ) -> None:
        """``still`` is [1 3 H W] in [-1, 1], cut from ``picture``; ``size`` (width, height) that of the frames."""
        self.runtime, self.clip, self.choreography = runtime, clip, choreography
        self.width, self.height = size
        self.still = levels(still)[0].permute(1, 2, 0).contiguous()
        self._around: tuple[NDArray[np.uint8], Box] | None = None
        self._canvas: Canvas | None = None
        self._margin = 0.0, 0.0
        if picture is not None:
            self._around = _around(picture, self.width, self.height, (clip.focus_x, clip.focus_y))
        if self.still.shape[:2] != (self.height, self.width):
            self.still = self._enlarged()
        self.span = self._span()
        self._scenery = choreography.scenery(self.still.numpy()) if choreography.scenery else None
        self._hold = self._held()

    def _span(self) -> float:
        """How many frames of latents later the share of the clip's time is 1."""
        clip = self.clip
        if self.choreography.closed:
            return clip.shape.num_frames * clip.fps / clip.output_fps if clip.renders else clip.length
        return max(1, clip.length - 1)

    def prepare(self, scene: Scene, shares: Tensor) -> None:
        """Paint what the frames of ``scene`` look at beyond the still: once, and not as each comes."""
        self.canvas(self.directed(scene, shares))
        if self._hold is not None:
            self.canvas(self._own(scene, shares))

    def frames(self, scene: Scene, shares: Tensor) -> Tensor:
        """What is seen at ``shares`` [N] of the clip's time, ``scene`` being what the checkpoint has made for then: [N 3 H W].

        Float32 in [-1, 1].
        """
        directed = self.directed(scene, shares)
        canvas, places = self.canvas(directed), directed.places(self.height, self.width)
        if self._hold is None:
            return self._seen(canvas, places, shares)
        own = self._own(scene, shares)
        canvas = self.canvas(own)
        moved = own.places(self.height, self.width) - grid(self.height, self.width, places)
        if not self.choreography.lifted:
            return self._seen(canvas, places + looked_up(moved * (1 - self._hold), places), shares)
        return self._lifted(canvas, places, places + looked_up(moved, places), shares)

    def followed(self, shares: Tensor, height: int, width: int) -> Tensor:
        """Where a model has to follow the plan, by cells: 1 where it counts wholly, ``[1 N 1 height width]``.

        A cell that is only partly covered counts less, so that nothing is torn at an edge.
        """
        follow = self.choreography.follow
        if follow is None:
            return torch.ones(1, len(shares), 1, height, width)
        masks = torch.from_numpy(np.stack([follow(share) for share in shares.tolist()]))[:, None]
        return functional.interpolate(masks, (height, width), mode="area")[None]

    def led(self, height: int, width: int) -> Tensor | None:
        """Where besides a model follows the plan until it is let go, by cells: ``[1 1 1 height width]``."""
        mask = self.choreography.led
        if mask is None:
            return None
        return functional.interpolate(torch.from_numpy(mask)[None, None], (height, width), mode="area")[None]

    def directed(self, scene: Scene, shares: Tensor) -> Scene:
        """``scene`` with the camera that is planned in place of its own; at rest where something is held and none is."""
        plan = self.choreography
        path = plan.camera or (CameraPath() if plan.hold is not None else None)
        found = self._along(scene, path, shares)
        if plan.hold is not None:
            found = replace(found, drift=torch.zeros_like(found.drift))
        return found

    def _own(self, scene: Scene, shares: Tensor) -> Scene:
        """What moves by itself where nothing is held."""
        return self._along(scene, self.choreography.own, shares)

    def _along(self, scene: Scene, path: CameraPath | None, shares: Tensor) -> Scene:
        plan = self.choreography
        if plan.nearness is not None:
            near = torch.from_numpy(np.ascontiguousarray(plan.nearness)).to(scene.nearness)
            scene = replace(scene, nearness=near - near.mean())
        if path is None:
            return scene
        pose, dolly = self.poses(path, shares)
        return replace(scene, pose=pose, dolly=dolly, nearness=plan.parallax * scene.nearness)

    def poses(self, path: CameraPath, shares: Tensor) -> tuple[Tensor, Tensor]:
        """``path`` at ``shares`` [N] of the clip as a scene has it: pose [N 5] and dolly [N]."""
        clip = self.clip
        seconds = clip.shape.num_frames / clip.output_fps
        aspect = self.width / self.height
        found = torch.from_numpy(path.poses(shares.tolist(), seconds, clip.seed, aspect)).float().to(shares.device)
        pan, tilt, zoom, roll, dolly, arc, _ = found.unbind(dim=1)
        longer = max(self.width, self.height)
        across, down = 2 * self.width / longer, 2 * self.height / longer
        pose = [pan * across, -tilt * down, zoom, -torch.deg2rad(roll), ARC_UNIT * arc * across / 2]
        assert NAMES[:6] == ("pan", "tilt", "zoom", "roll", "dolly", "arc")
        return torch.stack(pose, dim=1), dolly

    def _seen(self, canvas: Canvas, places: Tensor, shares: Tensor) -> Tensor:
        if self._scenery is None:
            return canvas.look(places)
        frames = [self._changed(canvas, share).look(places[at : at + 1]) for at, share in enumerate(shares.tolist())]
        return torch.cat(frames)

    def _changed(self, canvas: Canvas, share: float) -> Canvas:
        """``canvas`` with the still as it is by then."""
        assert self._scenery is not None
        return self._with_still(canvas, torch.from_numpy(np.require(self._scenery(share), requirements=("C", "W"))))

    def _lifted(self, canvas: Canvas, places: Tensor, own: Tensor, shares: Tensor) -> Tensor:
        """What is not held, looked at where ``own`` says, before a background without it, looked at as the camera does.

        What it covers is not parted from what is behind until it has moved: both are the still's own pixels.
        """
        assert self._hold is not None
        plate, lifted = self._layers()
        behind = self._with_still(canvas, plate).look(places)
        cover = looked_up((1 - self._hold).expand(len(own), 1, -1, -1), own).clamp(0, 1)
        parted = behind + cover * (self._with_still(canvas, lifted).look(own) - behind)
        moved = (own - places).norm(dim=1, keepdim=True) * max(self.height, self.width) / 2
        near = (1 - moved / PARTED).clamp(0, 1)
        if not bool(near.any()):
            return parted
        around = looked_up(self._repainted(plate).expand(len(own), 1, -1, -1), places).clamp(0, 1)
        return torch.lerp(parted, self._seen(canvas, own, shares), near * torch.maximum(cover, around))

    def _repainted(self, plate: Tensor) -> Tensor:
        """Where ``plate`` is not the still or is covered, and softly a little beyond: [1 1 H W]. Elsewhere the background is held."""
        assert self._hold is not None
        changed = ((plate != self.still).any(dim=-1).to(self._hold.device) | (self._hold < 1)).float()
        return functional.avg_pool2d(functional.max_pool2d(changed, 7, 1, 3), 5, 1, 2, count_include_pad=False)

    def _with_still(self, canvas: Canvas, still: Tensor) -> Canvas:
        pixels = canvas.pixels.clone()
        inside = slice(canvas.top, canvas.top + self.height), slice(canvas.left, canvas.left + self.width)
        pixels[0, :, inside[0], inside[1]] = still.permute(2, 0, 1).float().to(pixels.device) / 127.5 - 1
        return replace(canvas, pixels=pixels)

    def _layers(self) -> tuple[Tensor, Tensor]:
        """The still without what is lifted off it, and that without the still: each uint8 [H W 3]."""
        from ..steering.inpainting import without
        from ..steering.layers import apart

        assert self._hold is not None
        cover = 1 - self._hold[0, 0].cpu()

        def paint() -> Tensor:
            still = self.still.numpy()
            plate = without(still, cover.numpy())
            return torch.from_numpy(np.stack([plate, apart(still, cover.numpy(), plate)]))

        found = self.runtime.encoder_cache.get_or_encode(("layers", digest(self.still), digest(cover)), paint)
        return found[0], found[1]

    def _held(self) -> Tensor | None:
        """[1 1 H W] on the device; None where nothing is held, or all is and so nothing moves by itself."""
        from ..steering.cutout import refined

        hold = self.choreography.hold
        if hold is None or bool((hold == 1).all()):
            return None
        hold = np.ascontiguousarray(hold, np.float32)
        if self.choreography.lifted:
            found = torch.from_numpy(1 - refined(self.still.numpy(), 1 - hold))[None, None]
        else:
            size = self.height, self.width
            found = functional.interpolate(torch.from_numpy(hold)[None, None], size, mode="bilinear")
        return found.to(self.runtime.device)

    def canvas(self, scene: Scene) -> Canvas:
        """The still with as much around it as ``scene``, the frames to be, looks at, or some more.

        Painting takes seconds, so the tiles of a wall share what was painted for those before them.
        """
        scale = MARGIN_POINTS / max(self.height, self.width)
        places = scene.places(max(2, round(self.height * scale)), max(2, round(self.width * scale)))
        needed = [share + 1 / MARGIN_POINTS for share in margin_for(places, self.height, self.width)]
        x, y = (MARGIN_STEP * math.ceil(min(REACH, share) / MARGIN_STEP) for share in needed)
        if self._canvas is None or x > self._margin[0] or y > self._margin[1]:
            self._margin = max(x, self._margin[0]), max(y, self._margin[1])
            self._canvas = self._painted(self._margin)
        return self._canvas

    def _painted(self, margin: tuple[float, float]) -> Canvas:
        """Kept with what the encoders made of the last stills: the next clip of the same one starts with it."""
        around = None if self._around is None else (digest(torch.from_numpy(self._around[0])), self._around[1])

        def paint() -> Tensor:
            return levels(Canvas.of(self.still.to(self.runtime.device), self._around, margin).pixels)

        key = "canvas", digest(self.still), around, margin
        found = self.runtime.encoder_cache.get_or_encode(key, paint).to(self.runtime.device)
        left, top = (found.shape[-1] - self.width) // 2, (found.shape[-2] - self.height) // 2
        return Canvas(found.float() / 127.5 - 1, left, top, self.height, self.width)

    def _enlarged(self) -> Tensor:
        """The still at the frames' size, from its picture where that is known."""
        if self._around is None:
            still = Image.fromarray(self.still.numpy()).resize((self.width, self.height), Image.Resampling.LANCZOS)
            return torch.from_numpy(np.array(still))
        pixels, (left, top, _, _) = self._around
        return torch.from_numpy(pixels[int(top) :, int(left) :][: self.height, : self.width].copy())


def levels(pixels: Tensor) -> Tensor:
    """[-1, 1] => uint8, on the CPU where it was."""
    return pixels.add(1).mul(127.5).round().to(torch.uint8)


def _around(picture: Image.Image, width: int, height: int, focus: tuple[float, float]) -> tuple[NDArray[np.uint8], Box]:
    """What a camera may see of ``picture``, so large that the crop is ``width`` x ``height``; and the crop's box in that."""
    left, top, right, bottom = crop_box(picture.size, width, height, *focus)
    across, down = (right - left) / width, (bottom - top) / height
    rest = left / across, top / down, (picture.width - right) / across, (picture.height - bottom) / down
    most = math.ceil(REACH * width), math.ceil(REACH * height)
    before_x, before_y, after_x, after_y = (
        min(most[at % 2], math.floor(there + 1e-6)) for at, there in enumerate(rest)
    )
    box = (
        max(0.0, left - before_x * across),
        max(0.0, top - before_y * down),
        min(float(picture.width), right + after_x * across),
        min(float(picture.height), bottom + after_y * down),
    )
    size = before_x + width + after_x, before_y + height + after_y
    pixels = np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box))
    return pixels, (before_x, before_y, before_x + width, before_y + height)
