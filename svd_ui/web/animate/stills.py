"""The left side's upper half: pictures come in, the crop shows exactly what the model will see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from ...asset_ref import REF
from ...assets import Assets
from ...catalog import CheckpointRow
from ...errors import BadPicture, NotFound, SvdUiError
from ...media.footage import FIRST, LAST, FootageFacts, Moment
from ...media.image import crop_box
from ...media.reading import LONGEST_SIDE
from ...media.subject import MIDDLE, Point
from ...notes import read_notes, sentence
from ...presets import ASPECTS
from ...request import GenerationRequest
from ...settings import REPOSITORY
from ..context import uploaded
from ..formatting import frame_size, frame_url, html, still_thumb, still_url

EXAMPLES = REPOSITORY / "assets" / "examples"
SOURCE_ASPECT = "Source"
ASPECT_CHOICES = (SOURCE_ASPECT, *ASPECTS)
MAX_STILLS = 16
ACCEPT = "image/*,video/*,application/json,.json,.mp4,.mov,.m4v,.mkv,.webm,.avi,.avif,.heic,.heif,.tif,.tiff"
SETTINGS_FILES = {".json", ".zip"}
"""Endings of files that can only bring settings."""
CUT = 0.985
"""Of a picture: a crop that keeps less may be moved."""
PERHAPS_SETTINGS = {".mp4", ".gif", ".webp", ".png"}
"""Endings of clips and pictures that bring settings when this app made them."""


class Clip(TypedDict):
    """The clip a still may be a frame of: how many frames, how many a second, and which one it is; None for none yet."""

    frames: int
    fps: float
    index: int | None


class Still(TypedDict, total=False):
    """One picture of the form. ``path`` is the upload it came from, for another background colour or frame; ``name`` is
    what it is called where it came another way; ``focus`` is where its crop was put, by hand or by the settings it came
    with, left out where it is on the subject.
    """

    ref: str
    width: int
    height: int
    notes: list[dict[str, Any]]
    path: str
    name: str
    prompt: str
    clip: Clip
    focus: Point


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
    found |= _kept_focus(still.get("focus"))
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
    return {"items": [{**add(assets, path, "#ffffff"), "name": path.stem}], "at": 0}


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
    sent = shaped(value)
    for item in sent["items"]:
        try:
            fresh = of_ref(assets, item["ref"], item.get("prompt", ""))
        except Exception:  # swept or invented: the form simply starts without it
            continue
        notes = [note.model_dump() for note in read_notes(item["notes"])]
        items.append({**item, **fresh, "notes": notes})
    return {"items": items, "at": sent["at"] if sent["at"] < len(items) else 0}


def shaped(value: Any) -> Stills:
    """What the browser sent, without what can be no still. Whether its pictures are here is for ``checked``."""
    told = value if isinstance(value, dict) else {}
    sent, at = told.get("items"), told.get("at")
    items = [_shaped(item) for item in (sent if isinstance(sent, list) else [])[:MAX_STILLS] if _is_still(item)]
    return {"items": items, "at": at if isinstance(at, int) and 0 <= at < len(items) else 0}


def _is_still(item: Any) -> bool:
    """By its picture's name and size."""
    if not isinstance(item, dict) or not REF.fullmatch(str(item.get("ref"))):
        return False
    return all(isinstance(item.get(side), int) and 0 < item[side] <= LONGEST_SIDE for side in ("width", "height"))


def _shaped(item: dict[str, Any]) -> Still:
    sent = item.get("notes")
    notes = [note for note in (sent if isinstance(sent, list) else []) if isinstance(note, dict)]
    still: Still = {"ref": item["ref"], "width": item["width"], "height": item["height"], "notes": notes}
    texts: Any = {name: str(item[name] or "") for name in ("path", "name", "prompt") if name in item}
    return {**still, **texts, **_kept_clip(item.get("clip")), **_kept_focus(item.get("focus"))}


def _kept_clip(value: Any) -> Still:
    """What the browser sent of a clip, where it can be one."""
    try:
        frames, fps, index = int(value["frames"]), float(value["fps"]), value["index"]
        sound = 2 <= frames <= 10_000_000 and 0 < fps <= 1000 and (index is None or 0 <= int(index) < frames)
        return {"clip": {"frames": frames, "fps": fps, "index": index}} if sound else {}
    except (TypeError, ValueError, KeyError):
        return {}


def _kept_focus(value: Any) -> Still:
    """What the browser sent of a focus, where it can be one."""
    try:
        x, y = map(float, value)
        return {"focus": (x, y)} if 0 <= x <= 1 and 0 <= y <= 1 else {}
    except (TypeError, ValueError):
        return {}


def aimed(stills: Stills, focus: Any) -> Stills:
    """The shown picture with its crop put there, or back on the subject where that is no point."""
    if not stills["items"]:
        return stills
    items, at = list(stills["items"]), min(stills["at"], len(stills["items"]) - 1)
    still: Still = {**items[at]}
    still.pop("focus", None)
    items[at] = {**still, **_kept_focus(focus)}
    return {**stills, "items": items}


def framed(assets: Assets, still: Still, request: GenerationRequest) -> Still:
    """A still cropped as in ``request``, which is left to its subject where that makes no difference."""
    if request.focus_x is None or request.focus_y is None or request.width is None or request.height is None:
        return still
    picture, size = (still["width"], still["height"]), (request.width, request.height)
    by_itself = assets.subject(still["ref"]).focus(*size)
    same = crop_box(picture, *size, *request.focus) == crop_box(picture, *size, *by_itself)
    return still if same else {**still, "focus": request.focus}


def name_of(still: Still) -> str:
    """What a picture is called: by its file, without the ending."""
    return still.get("name") or Path(still.get("path") or "").stem


def current(stills: Stills | None) -> Still | None:
    """The still that is shown."""
    if not stills or not stills["items"]:
        return None
    return stills["items"][min(stills["at"], len(stills["items"]) - 1)]


def size_of(row: CheckpointRow, aspect: str, still: Still | None) -> tuple[int, int]:
    """(width, height) the model gets for an aspect choice."""
    if aspect == SOURCE_ASPECT and still:
        return row.size_like((still["width"], still["height"]))
    return row.size_for(ASPECTS.get(aspect, row.width / row.height))


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


def focus_of(assets: Assets, still: Still | None, size: tuple[int, int], typed: tuple[Any, Any]) -> tuple[Point, bool]:
    """(where the crop of ``size`` is put, whether somebody put it there).

    As ``typed`` counts most, each side for itself; then where the picture was dragged, else its subject.
    """
    given = [value if isinstance(value, int | float) and 0 <= value <= 1 else None for value in typed]
    own = still.get("focus") if still else None
    base = own or (assets.subject(still["ref"]).focus(*size) if still else MIDDLE)
    x, y = (fallback if value is None else float(value) for value, fallback in zip(given, base, strict=True))
    return (x, y), own is not None or given != [None, None]


def finder(stills: Stills | None, width: int, height: int, focus: Point, by_hand: bool) -> str:
    """The crop: the whole picture with the part that is kept, and that part as the model sees it. ``by_hand``: the crop is
    not where it would be by itself.
    """
    still = current(stills)
    if still is None or stills is None:
        return ""
    w, h = still["width"], still["height"]
    left, top, right, bottom = crop_box((w, h), width, height, *focus)
    across, down = right - left < CUT * w, bottom - top < CUT * h
    return html(
        "animate/finder",
        still=still,
        width=width,
        height=height,
        x=focus[0],
        y=focus[1],
        slides="across" if across else "down" if down else "",
        by_hand=by_hand,
        box=f"--x:{left / w:.4f};--y:{top / h:.4f};width:{(right - left) / w:.4%};height:{(bottom - top) / h:.4%}",
        whole=still_thumb(still["ref"]),
        exact=still_url(still["ref"], width, height, *focus),
        size=frame_size(width, height),
        scrub=_scrub(still),
        thumbs=[still_thumb(item["ref"]) for item in stills["items"]],
        at=stills["at"],
        notes=[sentence(note) for note in read_notes(still.get("notes") or [])],
    )
