"""The LoRAs of a clip: which of those on this machine, each with its weight.

The form keeps them as text, ``slow pans:0.8, glow:1``, so that they travel like every other value; what is seen is the
list that ``render`` draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ...catalog import CheckpointRow
from ...loras import LoraFile
from ...request import GenerationRequest, LoraRef
from ..controls import Dials

EVENTS_JS = "svdui.loras(element, trigger)  /* 'choose' 'weigh' */"
WEIGHT = Dials(LoraRef.model_fields)
FIELD = GenerationRequest.model_fields["loras"]
STEP = 0.05
MARKED = "Trained on {base}: with another checkpoint it may do nothing good."


def shown(loras: Iterable[LoraRef | Mapping[str, Any]]) -> str:
    """LoRAs of a request or a preset as the form holds them."""
    refs = (LoraRef.model_validate(lora) for lora in loras)
    return ", ".join(f"{ref.name}:{ref.weight:g}" for ref in refs)


def read(text: Any) -> list[dict[str, Any]]:
    """The form's text as fields of a request; the request checks them."""
    parts = [part.strip() for part in str(text or "").split(",")]
    pairs = [part.rpartition(":") if ":" in part else (part, "", "1") for part in parts if part]
    return [{"name": name, "weight": weight} for name, _, weight in pairs]


def weights(text: Any) -> dict[str, float]:
    """Name => weight of what is chosen; what is not a number counts as the default."""
    found = {}
    for one in read(text):
        try:
            found[one["name"]] = float(one["weight"])
        except ValueError:
            found[one["name"]] = float(WEIGHT.blank("weight"))
    return found


def toggled(text: Any, name: str) -> str:
    """``text`` with ``name`` added at the default weight, or taken out."""
    chosen = weights(text)
    if chosen.pop(name, None) is None:
        chosen[name] = float(WEIGHT.blank("weight"))
    return _text(chosen)


def weighed(text: Any, name: str, weight: float) -> str:
    """``text`` with another weight, kept within the range, of a name that is chosen."""
    chosen = weights(text)
    if name in chosen:
        low, high = WEIGHT.bounds("weight")
        chosen[name] = min(high or 0.0, max(low or 0.0, weight))
    return _text(chosen)


def _text(chosen: Mapping[str, float]) -> str:
    return ", ".join(f"{name}:{weight:g}" for name, weight in chosen.items())


def render(files: Mapping[str, LoraFile], text: Any, row: CheckpointRow, rows: Mapping[str, CheckpointRow]) -> str:
    """The list: those present, and chosen ones that are not here any more. '' where there is neither."""
    chosen = weights(text)
    gone = "".join(_row(LoraFile(name=n, path=_NOWHERE, bytes=0), chosen[n], GONE) for n in chosen if n not in files)
    known = "".join(
        _row(file, chosen.get(name), file.trouble, _meta(file, rows), _marked(file, row, rows))
        for name, file in files.items()
    )
    if not (gone or known):
        return ""
    return (
        f'<fieldset class="loras"><legend>{FIELD.title}</legend><p class="quiet">{FIELD.description}</p>'
        f'<div class="lora-list">{gone}{known}</div></fieldset>'
    )


_NOWHERE = Path()
GONE = "It is not on this machine any more."


def _row(file: LoraFile, weight: float | None, trouble: str, meta: str = "", marked: str = "") -> str:
    name, title = escape(file.name), escape(file.title or file.name)
    on = weight is not None
    can = on or not trouble  # what is chosen and useless can still be taken out
    under = f'<em class="bad">{escape(trouble)}</em>' if trouble else escape(meta)
    under += f'<em class="warn">{escape(marked)}</em>' if marked and on else ""
    tag = f'<em class="tag">{escape(marked.split(":")[0])}</em>' if marked and not on else ""
    box = (
        f'<label><input type="checkbox" data-lora="{name}"{" checked" if on else ""}{"" if can else " disabled"}>'
        f"<span><b>{title}</b><small>{under}</small></span></label>"
    )
    return (
        f'<div class="lora{" on" if on else ""}{" off" if trouble else ""}">{box}'
        f"{_slider(name, title, weight) if weight is not None else tag}</div>"
    )


def _slider(name: str, title: str, weight: float) -> str:
    low, high = WEIGHT.bounds("weight")
    return (
        f'<div class="lora-weight"><input type="range" min="{low:g}" max="{high:g}" step="{STEP}" value="{weight:g}" '
        f'data-weight="{name}" aria-label="{WEIGHT.label("weight")} of {title}"><output>{weight:.2f}</output></div>'
    )


def _meta(file: LoraFile, rows: Mapping[str, CheckpointRow]) -> str:
    base = f"for {_title(file.base, rows)}" if file.base else ""
    rank = f"rank {file.rank}" if file.rank else ""
    return " · ".join(part for part in (base, rank, file.licence, file.note) if part)


def _marked(file: LoraFile, row: CheckpointRow, rows: Mapping[str, CheckpointRow]) -> str:
    """That it belongs to another checkpoint than the chosen one; '' where it fits or does not say."""
    fits = not file.base or file.base == row.id or file.trouble
    return "" if fits else MARKED.format(base=_title(file.base, rows))


def _title(id: str, rows: Mapping[str, CheckpointRow]) -> str:
    return rows[id].title.split(" (")[0] if id in rows else id
