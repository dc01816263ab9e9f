"""The left side's upper half: pictures come in, the crop shows exactly what the model will see."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, TypedDict

from ...assets import Assets
from ...catalog import CheckpointRow
from ...media.image import crop_box
from ...notes import read_notes
from ...presets import ASPECTS
from ...sentences import sentence
from ...settings import REPOSITORY
from .. import icons
from ..context import uploaded
from ..formatting import frame_size, still_thumb, still_url

EXAMPLES = REPOSITORY / "assets" / "examples"
SOURCE_ASPECT = "Source"
ASPECT_CHOICES = (*ASPECTS, SOURCE_ASPECT)
MAX_STILLS = 16
ACCEPT = "image/*,video/mp4,application/json,.json,.mp4,.heic,.avif"
SETTINGS_FILES = {".mp4", ".json", ".zip"}
"""Endings of files that can only bring settings."""
PERHAPS_SETTINGS = {".gif", ".webp", ".png"}
"""Endings of pictures that bring settings when this app made them."""

DOOR_JS = "svdui.door(element, trigger, upload)  /* 'take' 'example' */"
FINDER_JS = "svdui.finder(element, trigger, watch)  /* 'aim' 'choose' 'drop' 'clear' */"


class Still(TypedDict, total=False):
    """One picture of the form. ``path`` is the upload it came from, for another background colour."""

    ref: str
    width: int
    height: int
    notes: list[dict[str, Any]]
    path: str
    prompt: str


class Stills(TypedDict):
    """The form's pictures; ``at`` is the one shown. Kept in the browser, so checked whenever it comes back."""

    items: list[Still]
    at: int


NO_STILLS: Stills = {"items": [], "at": 0}


def examples() -> list[Path]:
    """Bundled photographs, in order of name."""
    return sorted(p for p in EXAMPLES.glob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})


def take(assets: Assets, paths: Iterable[str], background: str) -> list[Still]:
    """Uploads -> stills. Raises BadPicture for the first one that does not work."""
    return [add(assets, uploaded(path), background, path) for path in list(paths)[:MAX_STILLS]]


def add(assets: Assets, file: Path, background: str, path: str = "") -> Still:
    """One file -> still."""
    added = assets.add(file, background=background)
    notes = [note.model_dump() for note in added.notes]
    return {"ref": added.ref, "width": added.width, "height": added.height, "notes": notes, "path": path}


def of_ref(assets: Assets, ref: str, prompt: str = "") -> Still:
    """A picture that is already kept -> still. Raises NotFound."""
    from PIL import Image

    with Image.open(assets.path(ref)) as image:
        width, height = image.size
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
        items.append({**fresh, "notes": notes, "path": str(item.get("path") or "")})
    at = value.get("at") if isinstance(value, dict) else 0
    return {"items": items, "at": at if isinstance(at, int) and 0 <= at < len(items) else 0}


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
    thumbs = "".join(
        f'<button type="button" class="thumb" data-act="example" data-name="{escape(path.name)}" '
        f'aria-label="Use the example {escape(_title(path))}" title="{escape(_title(path))}">'
        f'<img loading="lazy" alt="" src="svd/example/{escape(path.name)}"></button>'
        for path in examples()
    )
    row = f'<div class="thumbs" role="group" aria-label="Examples"><span>Or try</span>{thumbs}</div>' if thumbs else ""
    return (
        f'<div class="door" data-max-mb="{max_mb}"><input type="file" multiple accept="{ACCEPT}" tabindex="-1" '
        'aria-label="Pictures, or a clip to restore its settings">'
        f'<div class="door-in">{icons.PICTURE}<p class="door-lead">Drop a picture here, or paste it</p>'
        '<div class="acts"><button type="button" class="btn strong" data-pick="1">Choose a picture</button>'
        '<button type="button" class="btn" data-webcam="1">Use the webcam</button></div>'
        '<p class="quiet">Several at once work too. A clip made here, or its JSON, brings back all its settings.</p>'
        f'</div><p class="door-busy" role="status"></p>'
        '<div class="webcam" hidden><video muted playsinline aria-label="Webcam"></video><div class="acts">'
        '<button type="button" class="btn strong" data-snap="1">Take the picture</button>'
        f'<button type="button" class="btn" data-webcam="">Close</button></div></div></div>{row}'
    )


def _title(path: Path) -> str:
    return path.stem.replace("_", " ").replace("-", " ")


def finder(stills: Stills | None, width: int, height: int, x: float, y: float) -> str:
    """The crop: the whole picture with the part that is kept, and that part as the model sees it."""
    still = current(stills)
    if still is None or stills is None:
        return ""
    w, h = still["width"], still["height"]
    left, top, right, bottom = crop_box((w, h), width, height, x, y)
    box = f"left:{left / w:.4%};top:{top / h:.4%};width:{(right - left) / w:.4%};height:{(bottom - top) / h:.4%}"
    whole = still_thumb(still["ref"])
    notes = "".join(f"<li>{escape(sentence(note))}</li>" for note in read_notes(still.get("notes") or []))
    many = _strip(stills) if len(stills["items"]) > 1 else ""
    return (
        f'<div class="finder"><div class="pane"><div class="source" tabindex="0" role="group" style="--w:{w};--h:{h}" '
        f'data-w="{w}" data-h="{h}" data-cw="{width}" data-ch="{height}" data-x="{x:.4f}" data-y="{y:.4f}" '
        'aria-label="Your picture. Click, drag or use the arrow keys to choose what the crop keeps.">'
        f'<img alt="Your picture" draggable="false" src="{whole}"><div class="crop" style="{box}"></div>'
        f'<div class="dot" style="left:{x:.4%};top:{y:.4%}"></div></div></div>'
        f'<figure class="seen"><img class="exact" style="--w:{width};--h:{height}" '
        f'alt="The picture as the model will see it" src="{still_url(still["ref"], width, height, x, y)}">'
        f"<figcaption>What the model sees<b>{frame_size(width, height)}</b></figcaption>"
        '<div class="acts"><button type="button" class="btn small" data-pick="1">Replace</button>'
        '<button type="button" class="btn small" data-act="clear">Remove</button></div></figure></div>'
        f"{many}{f'<ul class=notes>{notes}</ul>' if notes else ''}"
    )


def _strip(stills: Stills) -> str:
    cells = "".join(
        f'<div class="cell{" on" if i == stills["at"] else ""}"><button type="button" class="thumb" data-act="choose" '
        f'data-at="{i}" aria-label="Show picture {i + 1}"><img alt="" src="{still_thumb(item["ref"])}"></button>'
        f'<button type="button" class="x" data-act="drop" data-at="{i}" aria-label="Remove picture {i + 1}">×</button></div>'
        for i, item in enumerate(stills["items"])
    )
    return f'<div class="strip"><span>{len(stills["items"])} pictures, one clip each</span>{cells}</div>'
