"""The left side's upper half: pictures come in, the crop shows exactly what the model will see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from ...assets import Assets
from ...catalog import CheckpointRow
from ...errors import BadPicture, NotFound, SvdUiError
from ...media.footage import FIRST, LAST, FootageFacts, Moment
from ...media.image import crop_box
from ...notes import read_notes, sentence
from ...presets import ASPECTS
from ...settings import REPOSITORY
from ..context import uploaded
from ..formatting import frame_size, frame_url, html, still_thumb, still_url

EXAMPLES = REPOSITORY / "assets" / "examples"
SOURCE_ASPECT = "Source"
ASPECT_CHOICES = (*ASPECTS, SOURCE_ASPECT)
MAX_STILLS = 16
ACCEPT = "image/*,video/*,application/json,.json,.mp4,.mov,.m4v,.mkv,.webm,.avi,.avif,.heic,.heif,.tif,.tiff"
SETTINGS_FILES = {".json", ".zip"}
"""Endings of files that can only bring settings."""
PERHAPS_SETTINGS = {".mp4", ".gif", ".webp", ".png"}
"""Endings of clips and pictures that bring settings when this app made them."""


class Clip(TypedDict):
    """The clip a still may be a frame of: how many frames, how many a second, and which one it is; None for none yet."""

    frames: int
    fps: float
    index: int | None


class Still(TypedDict, total=False):
    """One picture of the form. ``path`` is the upload it came from, for another background colour or frame."""

    ref: str
    width: int
    height: int
    notes: list[dict[str, Any]]
    path: str
    prompt: str
    clip: Clip


class Stills(TypedDict):
    """The form's pictures; ``at`` is the one shown. Kept in the browser, so checked whenever it comes back."""

    items: list[Still]
    at: int


NO_STILLS: Stills = {"items": [], "at": 0}


def examples() -> list[Path]:
    """Bundled photographs, in order of name."""
    return sorted(p for p in EXAMPLES.glob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})


def take(assets: Assets, paths: Iterable[str], background: str) -> tuple[list[Still], list[str]]:
    """Uploads -> (stills, a sentence about each that is none). Raises BadPicture where there is no still among them."""
    paths, items, left = list(paths), list[Still](), list[str]()
    for path in paths[:MAX_STILLS]:
        try:
            items.append(add(assets, uploaded(path), background, path))
        except SvdUiError as error:
            if len(paths) == 1:
                raise
            left.append(f"{Path(path).name} was skipped: {error.message}")
    if left and not items:
        raise BadPicture(" ".join(left))
    return items, left


def add(assets: Assets, file: Path, background: str, path: str = "", moment: Moment | None = None) -> Still:
    """One file -> still; of a clip the frame at ``moment``, the first one without."""
    facts = assets.facts_of_clip(file)
    added = assets.add(file, background, moment or (FIRST if facts else None))
    notes = [note.model_dump() for note in added.notes if note.code != "clip_frame"]  # the scrubber says it
    still: Still = {"ref": added.ref, "width": added.width, "height": added.height, "notes": notes, "path": path}
    return {**still, "clip": _clip(facts, moment or FIRST)} if facts and path else still


def _clip(facts: FootageFacts, moment: Moment | None) -> Clip:
    index = None if moment is None else facts.num_frames - 1 if moment.index is None else moment.index
    return {"frames": facts.num_frames, "fps": facts.fps, "index": index}


def with_clip(assets: Assets, still: Still, path: str) -> Still:
    """A still beside the clip that was uploaded as ``path``, whose frames are offered in its place."""
    facts = assets.facts_of_clip(uploaded(path))
    return {**still, "path": path, "clip": _clip(facts, None)} if facts else still


def sought(assets: Assets, stills: Stills, index: int, background: str) -> Stills:
    """The shown still as another frame of its clip. Raises BadInput, BadPicture."""
    still = current(stills)
    if still is None or "clip" not in still:
        return stills
    path, moment = still.get("path") or "", moment_of(still["clip"], index)
    found = add(assets, uploaded(path), background, path, moment)
    if "clip" in found:
        found["clip"]["index"] = min(max(index, 0), found["clip"]["frames"] - 1)
    items = [found if item is still else item for item in stills["items"]]
    return {**stills, "items": items}


def moment_of(clip: Clip, index: int) -> Moment:
    """By time, which is found without reading the clip from its beginning; the last one whatever was counted."""
    if index <= 0:
        return FIRST
    return LAST if index >= clip["frames"] - 1 else Moment(seconds=(index + 0.25) / clip["fps"])


def example(assets: Assets, name: str) -> Stills:
    """A bundled photograph as the still. Raises NotFound."""
    path = next((path for path in examples() if path.name == name), None)
    if path is None:
        raise NotFound(what="example")
    return {"items": [add(assets, path, "#ffffff")], "at": 0}


def repainted(assets: Assets, stills: Stills, background: str) -> Stills:
    """The same uploads on another background colour; those whose upload is gone stay as they are."""
    items: list[Still] = []
    for item in stills["items"]:
        try:
            path, clip = item.get("path") or "", item.get("clip")
            if not path or (clip and clip["index"] is None):
                items.append(item)
            else:
                moment = moment_of(clip, clip["index"] or 0) if clip else None
                items.append({**item, **add(assets, uploaded(path), background, path, moment), **_kept_clip(clip)})
        except SvdUiError:
            items.append(item)
    return {**stills, "items": items}


def of_ref(assets: Assets, ref: str, prompt: str = "") -> Still:
    """A picture that is already kept -> still. Raises NotFound."""
    width, height = assets.size(ref)
    return {"ref": ref, "width": width, "height": height, "notes": [], "prompt": prompt}


def checked(assets: Assets, value: Any) -> Stills:
    """What the browser sent, with everything dropped that is not a kept picture."""
    items: list[Still] = []
    for item in (value or {}).get("items", [])[:MAX_STILLS] if isinstance(value, dict) else []:
        try:
            fresh = of_ref(assets, str(item.get("ref")), str(item.get("prompt") or ""))
        except Exception:  # swept or invented: the form simply starts without it
            continue
        notes = [note.model_dump() for note in read_notes(item.get("notes") or [])]
        items.append({**fresh, "notes": notes, "path": str(item.get("path") or ""), **_kept_clip(item.get("clip"))})
    at = value.get("at") if isinstance(value, dict) else 0
    return {"items": items, "at": at if isinstance(at, int) and 0 <= at < len(items) else 0}


def _kept_clip(value: Any) -> Still:
    """What the browser sent of a clip, where it can be one."""
    try:
        frames, fps, index = int(value["frames"]), float(value["fps"]), value["index"]
        sound = 2 <= frames <= 10_000_000 and 0 < fps <= 1000 and (index is None or 0 <= int(index) < frames)
        return {"clip": {"frames": frames, "fps": fps, "index": index}} if sound else {}
    except (TypeError, ValueError, KeyError):
        return {}


def current(stills: Stills | None) -> Still | None:
    """The still that is shown."""
    if not stills or not stills["items"]:
        return None
    return stills["items"][min(stills["at"], len(stills["items"]) - 1)]


def size_of(row: CheckpointRow, aspect: str, still: Still | None) -> tuple[int, int]:
    """(width, height) the model gets for an aspect choice."""
    if aspect == SOURCE_ASPECT:
        return row.size_for(still["width"] / still["height"]) if still else (row.width, row.height)
    ratio = ASPECTS.get(aspect, row.width / row.height)
    native = row.width / row.height
    return (row.width, row.height) if abs(ratio / native - 1) < 0.02 else row.size_for(ratio)


def aspect_of(width: int | None, height: int | None) -> str | None:
    """The aspect choice nearest to a size, or None when it is none of them."""
    if not width or not height:
        return None
    name, ratio = min(ASPECTS.items(), key=lambda item: abs(item[1] / (width / height) - 1))
    return name if abs(ratio / (width / height) - 1) < 0.06 else None


def door(max_mb: int) -> str:
    """Where pictures come in: click, drop, paste, webcam or an example."""
    named = [(path.name, path.stem.replace("_", " ").replace("-", " ")) for path in examples()]
    return html("animate/door", max_mb=max_mb, most=MAX_STILLS, accept=ACCEPT, examples=named)


def _scrub(still: Still) -> dict[str, Any] | None:
    """What the scrubber shows of a still's clip."""
    clip, path = still.get("clip"), still.get("path")
    return (
        {**clip, "last": clip["frames"] - 1, "url": frame_url(path)} if clip and path and clip["frames"] > 1 else None
    )


def finder(stills: Stills | None, width: int, height: int, x: float, y: float) -> str:
    """The crop: the whole picture with the part that is kept, and that part as the model sees it."""
    still = current(stills)
    if still is None or stills is None:
        return ""
    w, h = still["width"], still["height"]
    left, top, right, bottom = crop_box((w, h), width, height, x, y)
    return html(
        "animate/finder",
        still=still,
        width=width,
        height=height,
        x=x,
        y=y,
        box=f"left:{left / w:.4%};top:{top / h:.4%};width:{(right - left) / w:.4%};height:{(bottom - top) / h:.4%}",
        whole=still_thumb(still["ref"]),
        exact=still_url(still["ref"], width, height, x, y),
        size=frame_size(width, height),
        scrub=_scrub(still),
        thumbs=[still_thumb(item["ref"]) for item in stills["items"]],
        at=stills["at"],
        notes=[sentence(note) for note in read_notes(still.get("notes") or [])],
    )
