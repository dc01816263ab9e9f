"""What an engine says about one job => its row and its folder. The same code for every driver."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..catalog import CheckpointRow
from ..clip import ClipSpec
from ..engine.progress import Progress
from ..errors import DiskFull, SvdUiError, WorkerStopped
from ..events import (
    Decoding,
    Denoising,
    Downloading,
    Event,
    Finished,
    Loading,
    MakingStill,
    PostProcessing,
    Result,
    SteppedDown,
    WentOn,
)
from ..notes import Note, sentence
from ..request import GenerationRequest
from .database import warn
from .following import Follower
from .store import Store
from .timing import RunTimer, Timings
from .timing_key import TimingKey, key_of

log = logging.getLogger(__name__)
PREVIEW = "preview.jpg"
REPORT_SECONDS = 0.25
GB = 1_000_000_000
MB = 1_000_000

Later = Callable[[Callable[[], object]], None]
"""Takes a write that failed, to try it again."""


class Recorder:
    """One job while it runs. ``later`` keeps a last word that could not be written, to be tried again.

    ``lost`` turns true when the row belongs to somebody else by now: the work is then to be given up. ``find`` knows
    checkpoints by their id, ``warm`` is the one that was in memory before.
    """

    def __init__(
        self,
        store: Store,
        id: str,
        process: str,
        folder: Path,
        key: TimingKey | None,
        later: Later,
        find: Callable[[str], CheckpointRow],
        warm: str | None = None,
        follower: Follower | None = None,
        since: float | None = None,
    ) -> None:
        self.follower, self.since = follower, since
        self.store, self.id, self.process, self.folder = store, id, process, folder
        self.lost = False
        self.ended = False
        self._key, self._later, self._find, self._warm = key, later, find, warm
        self._notes: list[Note] = []
        self._watch = RunTimer(time.time(), even=key is None or key.pace.even)
        self._cold = True
        self._reported = 0.0

    def record(self, event: Event) -> None:
        """Store one event; a disk that is full meanwhile loses a progress report, not the job."""
        now = time.time()
        if self.follower is not None:
            self.follower.see(event)
        values: dict[str, Any] = {"state": event.stage, "step": None, "total": None, "step_seconds": None}
        if self._watch.see(event, now):
            values["phase_started"] = now
        match event:
            case Finished():
                self.finish(event.result)
                return
            case Downloading():
                if now - self._reported < REPORT_SECONDS and event.done_bytes != event.total_bytes:
                    return
                self._reported = now
                pace = 1 / event.bytes_per_second if event.bytes_per_second else None
                values |= {"step": event.done_bytes, "total": event.total_bytes, "step_seconds": pace}
                values["message"] = bytes_message(event)
            case Loading():
                values["message"] = f"Loading {event.title or event.checkpoint}"
                self._cold = event.checkpoint != self._warm
                self._rename(event.checkpoint)
                values["timing_key"] = str(self._key or "")
            case MakingStill():
                values |= {"step": event.step, "total": event.total}
            case Denoising():
                values |= self._denoising(event)
            case Decoding() | PostProcessing():
                values |= {"step": event.done, "total": event.total}
            case SteppedDown():
                # Progress goes on from where it was: only the note is new.
                self._notes.append(event.note)
                values = {"state": event.stage, "message": sentence(event.note), "notes": self._notes_json()}
            case WentOn():
                self._notes.append(event.note)
                values |= {"step": event.step, "total": event.total}
                values |= {"message": sentence(event.note), "notes": self._notes_json()}
            case _:
                pass
        if not isinstance(event, SteppedDown | WentOn):
            values.setdefault("message", "")
        self._update(values)

    def _notes_json(self) -> str:
        return json.dumps([note.model_dump() for note in self._notes])

    def _denoising(self, event: Denoising) -> dict[str, Any]:
        values: dict[str, Any] = {"step": event.step, "total": event.total, "steps": event.total}
        values["step_seconds"] = self._watch.step_seconds
        if event.preview is not None and self._write_preview(event.preview.jpeg):
            values |= {"has_preview": 1, "preview_frames": event.preview.frames}
        return values

    def _write_preview(self, data: bytes) -> bool:
        """Whole or not at all; not flushed to the disk, since the next step replaces it."""
        temporary = self.folder / f".{PREVIEW}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, self.folder / PREVIEW)
        except OSError as error:
            log.warning("no preview: %s", error)
            return False
        return True

    def _rename(self, checkpoint: str) -> None:
        """The engine knows what ``auto`` means."""
        if self._key is not None and checkpoint != "auto":
            self._key = dataclasses.replace(self._key, checkpoint=checkpoint)

    def _update(self, values: dict[str, Any]) -> None:
        try:
            self.lost = not self.store.update(self.id, self.process, self.since, **values)
        except SvdUiError as error:
            warn(log, f"progress of {self.id} was not recorded", error)

    def finish(self, result: Result | None) -> None:
        if result is not None:
            result = self._wanted(result)
            self._learn(result.request, result.effective is not None and "+" in result.effective.place)
            self._notes += [note for note in result.notes if note not in self._notes]
        self._end(
            state="finished",
            message="",
            result=result.model_dump_json() if result else None,
            notes=self._notes_json(),
        )

    def _wanted(self, result: Result) -> Result:
        """Without the tiles that were cancelled too late for the engine, or one that knows of no such thing."""
        wall = result.request.wall
        if wall is None or not result.tiles:
            return result
        pairs, gone = wall.pairs(result.request.seed or 0), frozenset[int]()
        with contextlib.suppress(SvdUiError):  # where nobody can look, all that was made is kept
            gone = without(self.store, self.id)
        unwanted = {pairs[place] for place in gone if place < len(pairs)}
        kept = tuple(tile for tile in result.tiles if (tile.seed, tile.motion_bucket_id) not in unwanted)
        for tile in set(result.tiles) - set(kept):
            (self.folder / tile.video).unlink(missing_ok=True)
        return result.model_copy(update={"tiles": kept or result.tiles})

    def cancelled(self) -> None:
        self._end(state="cancelled", message="Stopped.")

    def put_back(self, died: SvdUiError | None = None) -> None:
        """It waits again, with what is kept of it; as ``Queue.put_back`` has it."""
        self.ended = True
        self._tidy()
        self._tell("queued", died)
        if died is not None:
            log.warning("job %s: %s", self.id, died)
        put_back = partial(self.store.waitlist.put_back, self.process, self.id, died, self.since)
        self._certainly(put_back)

    def fail(self, error: SvdUiError) -> None:
        state = "interrupted" if error.code == "interrupted" else "failed"
        if isinstance(error, WorkerStopped):
            log.warning("job %s: %s", self.id, error)
        text = json.dumps(error.to_dict(), default=str)
        self._tell(state, error)
        self._end(state=state, message=error.message, error=text, notes=self._notes_json())

    def _learn(self, request: GenerationRequest, split: bool) -> None:
        """Under the request that was really run: what ``auto`` and blanks were taken for beforehand may differ.

        ``split``: two devices made it.
        """
        if self._key is None:
            return
        now = time.time()
        checkpoint = self._key.checkpoint if request.checkpoint == "auto" else request.checkpoint
        try:
            clip = ClipSpec.of(request, self._find(checkpoint))
        except SvdUiError:  # it was deleted meanwhile
            return
        key = key_of(clip, self._key.kind, from_prompt=self._key.from_prompt, split=split)
        together = clip.num_inference_steps if clip.tiles > 1 else None
        timing = self._watch.still(now) if key.kind == "still" else self._watch.timing(now, together)
        if timing is None:
            return
        if not self._cold:  # it was loaded already: nothing was learnt about loading it
            timing = dataclasses.replace(timing, loading=0.0)
        with contextlib.suppress(SvdUiError):
            Timings(self.store.database).learn(key, timing)

    def _end(self, **values: Any) -> None:
        """The last word about a job must not be lost: use the reserve, then try again with every beat."""
        self.ended = True
        self._tidy()
        self._tell(values["state"])
        values |= {"ended": time.time(), "step_seconds": None}

        def settle() -> None:
            mine = self.store.settle(self.id, self.process, self.since, **values)
            if mine and values["state"] in ("finished", "cancelled"):
                Progress(self.folder).clear()

        self._certainly(settle)

    def _tell(self, state: str, error: SvdUiError | None = None) -> None:
        if self.follower is not None:
            self.follower.ended(state, error)

    def _certainly(self, write: Callable[[], object]) -> None:
        try:
            try:
                write()
            except DiskFull:
                self.store.database.free_reserve()
                write()
        except SvdUiError as error:
            log.error("the end of %s could not be recorded yet: %s", self.id, error)
            self._later(write)

    def _tidy(self) -> None:
        """A worker that was killed while it wrote leaves its unfinished files behind."""
        for path in self.folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                path.unlink()


def without(store: Store, id: str) -> frozenset[int]:
    """The tiles of a wall that nobody wants any more: they may be cancelled while it is made."""
    request = json.loads(store.row(id, deleted=True)["request"])
    return frozenset((request.get("wall") or {}).get("without") or ())


def bytes_message(event: Downloading) -> str:
    """'1.2 of 4.5 GB, 35 MB/s'."""
    unit, name = (GB, "GB") if max(event.total_bytes or 0, event.done_bytes) >= GB else (MB, "MB")
    done = f"{event.done_bytes / unit:.1f}"
    text = f"{done} of {event.total_bytes / unit:.1f} {name}" if event.total_bytes else f"{done} {name}"
    return f"{text}, {event.bytes_per_second / MB:.0f} MB/s" if event.bytes_per_second else text
