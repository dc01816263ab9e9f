"""The right side: one job, live or ended, and below it what was made before. Pure functions of the records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...engine import Device
from ...events import ENDED
from ...jobs import Files, Job, file_of
from ...notes import WORDS, Note, sentence
from ..formatting import STATES, fraction, html, left, preview_url, queue_place, still_url, title
from ..visitor import error_report, said, settings_json
from . import further

PAGE = 24
"""Jobs of the history at first, and again at every "Show older"."""
REMEDIES: dict[str, str] = WORDS["remedies of errors"]
HEADLINES: dict[str, str] = WORDS["headlines of errors"]


@dataclass(frozen=True)
class BatchPlace:
    """Clips that were asked for together, while some have not ended. ``place`` is the one that is made now, from 1 on."""

    place: int
    total: int
    making: Job
    left: int


@dataclass(frozen=True)
class Grid:
    """The tiles of a wall, ``(seed, motion)`` row by row. ``headed``: rows and columns are few enough to be named."""

    pairs: tuple[tuple[int, int], ...]

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(seed for seed, _ in self.pairs))

    @property
    def motions(self) -> list[int]:
        return list(dict.fromkeys(motion for _, motion in self.pairs))

    @property
    def columns(self) -> int:
        return max(1, len(self.motions))

    @property
    def headed(self) -> bool:
        return self.columns <= 5


@dataclass(frozen=True)
class Around:
    """What the stage must know besides its job. ``waiting`` counts the visitor's unfinished jobs that are not of its
    ``batch``, ``wall`` is the id of the wall that the job renders a tile of, ``training`` the fine-tuning run that has the
    device, ``remote`` whether the visitor may not see the server's folders. ``lost``: a job was asked for, and is not here;
    ``history`` says whether there are others, ``paused`` whether the queue is held.
    """

    device: Device | None = None
    waiting: int = 0
    batch: BatchPlace | None = None
    lost: bool = False
    history: bool = False
    wall: str | None = None
    training: str = ""
    paused: bool = False
    remote: bool = False


ALONE = Around()
PAUSED = "Paused"
LOST = "There is no clip at this address"


def stage(job: Job | None, files: Files, around: Around = ALONE) -> str:
    """The stage. ``files`` is ``JobService.file``."""
    return html("animate/stage", **view(job, files, around))


def view(job: Job | None, files: Files, around: Around) -> dict[str, Any]:
    """The facts of ``stage.html``; ``kind`` is the look, ``body`` names the template inside."""
    shown = {"title": _title(job, around), "job": job, "batch": around.batch, "say": ""}
    if job is None and around.lost:
        return {**shown, "kind": "lost", "body": "lost", "say": LOST, "history": around.history}
    if job is None:
        return {**shown, "kind": "empty", "body": "empty"}
    shown["say"] = _announcement(job, around.remote)
    if job.state not in ENDED:
        return {**shown, "kind": "running", **_running(job, files, around)}
    if job.state == "finished" and job.result is not None:
        return {**shown, "kind": "finished", **_finished(job, files, around.wall)}
    if job.state == "finished" and job.kind == "download":
        return {**shown, "kind": "downloaded", "body": "downloaded"}
    if job.state in {"finished", "cancelled"}:
        return {**shown, "kind": "stopped", "body": "stopped"}
    return {**shown, "kind": "failed", **_failed(job, around)}


def _title(job: Job | None, around: Around) -> str:
    """While clips are made together, of the one that is made now."""
    batch, state = around.batch, PAUSED if around.paused else ""
    return title(batch.making, (batch.place, batch.total), state) if batch else title(job, waits=state)


def state_of(job: Job | None) -> str:
    """What a watcher compares to know whether anything visible changed."""
    if job is None:
        return ""
    return json.dumps([job.id, job.state, job.step, job.position, job.message, job.has_preview])


def aspect(job: Job) -> str:
    """The shape of what a job makes, as CSS: a clip's, or that of all tiles of its wall."""
    request = job.known_request
    width, height = request.width or 16, request.height or 9
    if request.wall:
        width, height = width * len(request.wall.motion_bucket_ids), height * request.wall.seeds
    return f"--w:{width};--h:{height}"


def batch_of(job: Job | None, together: Sequence[Job]) -> BatchPlace | None:
    """What is said of the jobs that ``job`` is one of; None once all have ended, and for a job alone."""
    left = [one for one in together if one.state not in ENDED]
    if job is None or not left:
        return None
    making = next((one for one in left if one.state != "queued"), left[0])
    return BatchPlace(together.index(making) + 1, len(together), making, len(left))


def origin(job: Job | None, others: Iterable[Job]) -> str | None:
    """The id of the wall that ``job`` renders a tile of, if it is among ``others``."""
    if job is None or job.request.wall or not job.request.image:
        return None
    wanted = (job.request.seed, job.request.motion_bucket_id)
    for other in others:
        made = other.result
        if made and made.image == job.request.image and wanted in {(t.seed, t.motion_bucket_id) for t in made.tiles}:
            return other.id
    return None


def _announcement(job: Job, remote: bool) -> str:
    """For screen readers: once per stage, never per step."""
    return f"{STATES[job.state]}. {said(job.error, remote) if job.error else ''}".strip()


# A job that runs


def _running(job: Job, files: Files, around: Around) -> dict[str, Any]:
    name, count = STATES[job.state], _count(job)
    if around.training and job.state in {"queued", "loading"}:
        name, count = "Waiting for the device", f"the training run {around.training} uses it"
    if around.paused and job.state == "queued" and job.kind != "download":
        name, count = PAUSED, "continues when the queue is resumed"
    return {
        "body": "running",
        "aspect": aspect(job),
        "request": job.request,
        "wall": Grid(job.request.wall.pairs(job.request.seed or 0)) if job.request.wall else None,
        "without": job.request.wall.without if job.request.wall else (),
        **_picture(job, files),
        "stage": name,
        "line": " · ".join(part for part in (count, "" if name == PAUSED else left(job.eta_seconds)) if part),
        "done": fraction(job) if job.state != "queued" else None,
        "notes": _notes(job),
        "waiting": around.waiting,
    }


def _count(job: Job) -> str:
    """How far the current stage is, in its own unit."""
    if job.state == "queued":
        return " · ".join(filter(None, (queue_place(job.position), job.message)))
    if job.state == "downloading":
        return job.message
    unit = {"denoising": "step", "making_still": "step", "decoding": "frame"}.get(job.state)
    return f"{unit} {job.step} of {job.total}" if unit and job.total else ""


def _picture(job: Job, files: Files) -> dict[str, Any]:
    """The latest preview; before the first one, the still as the model sees it, out of focus."""
    path = files(job, "preview") if job.has_preview else None
    request, still = job.request, ""
    if request.image and request.width and request.height:
        still = still_url(request.image, request.width, request.height, *request.focus)
    return {"preview": preview_url(job) if path else "", "frames": job.preview_frames, "still": still}


# A finished job: the clip, the still or the wall; what it is, how it was made, what can be done with it


def _finished(job: Job, files: Files, origin: str | None) -> dict[str, Any]:
    """``origin`` is the id of the wall it was chosen from; ``has`` names the files there are."""
    result = job.result
    assert result is not None
    has = {name for name in ("video", "poster", "animation", "frames") if files(job, name)}
    return {
        "body": "wall" if result.tiles else "clip" if "video" in has else "still",
        "aspect": aspect(job),
        "request": result.request,
        "has": has,
        **_tiles(job, files),
        "seconds": result.seconds.get("total", sum(result.seconds.values())),
        "used": result.effective,
        "reasons": "; ".join(map(sentence, result.effective.reasons)) if result.effective else "",
        "approximate": _approximate(job),
        "notes": _notes(job),
        "settings": settings_json(job),
        "origin": origin,
        "further": further.offered(result.request.method.kind) if "video" in has else [],
    }


def _tiles(job: Job, files: Files) -> dict[str, Any]:
    """``(its number, its place on the wall, the tile)`` of each that was made."""
    result = job.result
    made = result.tiles if result else ()
    pairs = tuple((tile.seed, tile.motion_bucket_id) for tile in made)
    wall = result.request.wall if result else None
    grid = Grid(wall.pairs(result.request.seed or 0) if result and wall else pairs)
    there = [
        (at, pair, tile) for at, (pair, tile) in enumerate(zip(pairs, made, strict=True)) if files(job, file_of(at))
    ]
    return {
        "wall": grid,
        "tiles": [(at, grid.pairs.index(pair), tile) for at, pair, tile in there if pair in grid.pairs],
    }


def _approximate(job: Job) -> list[str]:
    """What was left out for speed, named where the clip is."""
    said = [Note(code="approximations", params=note.params) for note in _all_notes(job) if note.code == "approximate"]
    return list(map(sentence, said))


def _notes(job: Job) -> list[str]:
    """Everything else that was said on the way, once each."""
    return [sentence(note) for note in _all_notes(job) if note.code != "approximate"]


def _all_notes(job: Job) -> list[Note]:
    return list(dict.fromkeys((*job.notes, *(job.result.notes if job.result else ()))))


# A job that failed


def _failed(job: Job, around: Around) -> dict[str, Any]:
    """What went wrong and what to do; a remote visitor is not told where the server keeps its files."""
    error = job.error or {"code": job.state, "message": job.message or STATES[job.state]}
    code = str(error.get("code", "unexpected"))
    link = str((error.get("params") or {}).get("url") or "")
    return {
        "body": "failed",
        "headline": HEADLINES.get(code, "This clip failed"),
        "message": said(error, around.remote),
        "remedy": REMEDIES.get(code, ""),
        "link": link if link.startswith("https://") else "",
        "report": error_report(job, around.device),
        "notes": _notes(job),
    }


# Below: what was made before, with posters


def history(
    jobs: list[Job], files: Files, shown: str | None, undo: str | None, more: bool = False, kept: str = ""
) -> str:
    """``shown`` is the job on the stage; ``undo`` the one just deleted; ``more`` whether older ones exist; ``kept`` how long."""
    cards = [(job, {name for name in ("video", "poster") if files(job, name)}) for job in jobs]
    return html("animate/history", cards=cards, shown=shown, undo=undo, more=more, kept=kept)
