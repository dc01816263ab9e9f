"""What an engine says while it works: plain data, in order, ending in ``Finished``, or in an exception.

Every event has a ``stage``; the stages are one enum for events, job states and the page.
"""

from __future__ import annotations

import threading
from typing import Literal, Protocol

from .clip import ClipShape
from .notes import Note
from .request import AssetRef, Frozen, GenerationRequest

Stage = Literal[
    "queued",
    "downloading",
    "loading",
    "making_still",
    "conditioning",
    "denoising",
    "decoding",
    "post_processing",
    "writing",
    "finished",
    "failed",
    "cancelled",
    "interrupted",
]
RUNNING: frozenset[str] = frozenset(
    {"downloading", "loading", "making_still", "conditioning", "denoising", "decoding", "post_processing", "writing"}
)
ENDED: frozenset[str] = frozenset({"finished", "failed", "cancelled", "interrupted"})


class Effective(Frozen):
    """What was really used, after ``auto`` and any step-down. ``place`` is the device as ``SVD_UI_DEVICES`` names it, or both."""

    profile: str
    decode_chunk_size: int
    attention: str
    dtype: str
    device: str
    place: str = ""
    exact: bool = True
    compiled: bool = False
    reasons: tuple[Note, ...] = ()


class Tile(Frozen):
    """One small looping clip of a draft wall, and what it was made with."""

    seed: int
    motion_bucket_id: int
    video: str


class Result(Frozen):
    """A finished clip, still or draft wall. File names are relative to the directory given to the engine.

    ``shape`` is the file's, after the post steps; ``last_frame`` is the clip's own, before them. A wall has ``tiles`` and a
    poster; its ``video`` is None.
    """

    request: GenerationRequest
    effective: Effective | None = None
    image: AssetRef
    video: str | None = None
    poster: str | None = None
    frames: str | None = None
    animation: str | None = None
    latents: str | None = None
    tiles: tuple[Tile, ...] = ()
    shape: ClipShape | None = None
    last_frame: AssetRef | None = None
    seconds: dict[str, float] = {}
    versions: dict[str, str] = {}
    notes: tuple[Note, ...] = ()


class Downloading(Frozen):
    stage: Literal["downloading"] = "downloading"
    checkpoint: str
    done_bytes: int
    total_bytes: int | None = None
    bytes_per_second: float | None = None


class Loading(Frozen):
    stage: Literal["loading"] = "loading"
    checkpoint: str
    title: str = ""


class MakingStill(Frozen):
    stage: Literal["making_still"] = "making_still"
    step: int = 0
    total: int | None = None


class StillMade(Frozen):
    """The prompt's first frame is kept; ``image`` names it."""

    stage: Literal["making_still"] = "making_still"
    kind: Literal["still_made"] = "still_made"
    image: AssetRef


class Encoding(Frozen):
    stage: Literal["conditioning"] = "conditioning"


class Preview(Frozen):
    """What forms, small: ``frames`` of a clip of one size, one below the other in one JPEG."""

    jpeg: bytes
    frames: int = 1


class Denoising(Frozen):
    """``step`` runs 1..total; ``seconds`` is the time of the step.

    A wall counts the steps of all its tiles, those made together once, and its preview is a frame of every tile as it is
    by now, row by row without gaps.
    """

    stage: Literal["denoising"] = "denoising"
    step: int
    total: int
    preview: Preview | None = None
    seconds: float | None = None


class Decoding(Frozen):
    stage: Literal["decoding"] = "decoding"
    done: int
    total: int


class PostProcessing(Frozen):
    stage: Literal["post_processing"] = "post_processing"
    step: str
    done: int
    total: int


class Writing(Frozen):
    stage: Literal["writing"] = "writing"


class SteppedDown(Frozen):
    """The device failed and the work goes on in another way: smaller, or in a wider number format. ``note`` is shown and kept."""

    kind: Literal["stepped_down"] = "stepped_down"
    stage: Literal["loading", "conditioning", "denoising", "decoding", "post_processing"]
    note: Note


class WentOn(Frozen):
    """An earlier process came this far with the same clip: ``step`` of ``total`` steps, or frames. ``note`` is shown and kept."""

    kind: Literal["went_on"] = "went_on"
    stage: Literal["denoising", "decoding"]
    step: int
    total: int
    note: Note


class Waited(Frozen):
    """The device was somebody else's for so many ``seconds`` before the clip had it: no work of the clip's, and not its loading."""

    kind: Literal["waited"] = "waited"
    stage: Literal["loading"] = "loading"
    seconds: float


class Finished(Frozen):
    stage: Literal["finished"] = "finished"
    result: Result


Event = (
    StillMade
    | SteppedDown
    | WentOn
    | Waited
    | Downloading
    | Loading
    | MakingStill
    | Encoding
    | Denoising
    | Decoding
    | PostProcessing
    | Writing
    | Finished
)


class Timed(Frozen):
    """One line of a measurement on the device: ``choice`` for ``what``, such as sdpa for attention at one shape."""

    what: str
    shape: str = ""
    choice: str
    milliseconds: float | None = None
    chosen: bool = False
    note: str = ""


class CancelToken(Protocol):
    """Anything with ``is_set``: ``threading.Event``, a process-shared event, a database flag."""

    def is_set(self) -> bool: ...


def left_out(cancel: CancelToken) -> frozenset[int]:
    """The tiles of a wall, by their places, that ``cancel`` tells to go on without; a token need not know of any."""
    told = getattr(cancel, "left_out", None)
    return frozenset(told()) if told is not None else frozenset()


def never() -> CancelToken:
    """A token nobody sets."""
    return threading.Event()
