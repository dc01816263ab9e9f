"""What a LoRA is called, and LoRAs in one line of text, ``slow pans:0.8, "a, b":1``, as forms keep them and people type them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path

FOLDER_FILES = {"adapter_model", "pytorch_lora_weights"}
"""Names that say nothing: the folder's is the LoRA's."""
_PLAIN = re.compile(r"[\w.\-/()'\[\]](?:[\w.\-/()'\[\] ]*[\w.\-/()'\[\]])?")
"""Names that need no quotes."""
_ENTRY = re.compile(r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")\s*(?:[:=]\s*(?P<of>[^,]*))?|(?P<plain>[^,]*))\s*(?:,|$)')
_WEIGHT = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)


def names_of(root: Path, path: Path) -> Iterator[str]:
    """What a file may be called, best first: from ``root`` on, then with its ending, then with the folders above too."""
    place = path.relative_to(root)
    generic = place.stem in FOLDER_FILES and len(place.parts) > 1
    if generic:
        yield _text(place.parent)
    plain, full = _text(place.with_suffix("")), _text(place)
    yield full if plain.rpartition("/")[2].strip(". ") == "" else plain
    yield full
    for above in accumulate(reversed(root.parts), lambda below, part: f"{part}/{below}"):
        yield f"{_text(Path(above))}/{plain}"
    while True:
        full += "'"
        yield full


def _text(place: Path) -> str:
    return clean(place.as_posix())


def clean(name: str) -> str:
    """A name that a page and a database can hold: the same letters however a system composes them, no control characters."""
    composed = unicodedata.normalize("NFC", name)
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], composed)


def written(chosen: Mapping[str, float]) -> str:
    """Name => weight, as text that ``listed`` reads. Names with commas and the like stand in quotes, as in JSON."""
    return ", ".join(
        f"{name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)}:{weight:g}"
        for name, weight in chosen.items()
    )


def listed(text: str) -> list[tuple[str, str]]:
    """(name, weight) of each entry, weights as they stand there: what is left out is 1, and a request checks the rest."""
    found = []
    for match in _ENTRY.finditer(text):
        if match["quoted"]:
            found.append((str(_unquoted(match["quoted"])), (match["of"] or "1").strip()))
        elif entry := match["plain"].strip():
            cut = max(entry.rfind(":"), entry.rfind("="))
            found.append((entry[:cut].strip(), entry[cut + 1 :].strip()) if cut > 0 else (entry, "1"))
    return found


def named(texts: Iterable[str], known: Collection[str]) -> list[tuple[str, str]]:
    """As ``listed``, of what was typed: whatever the names of ``known`` have in them, they win over the notation."""
    found = []
    for text in texts:
        cut = max(text.rfind(":"), text.rfind("="))
        if text in known:
            found.append((text, "1"))
        elif text[:cut] in known and _WEIGHT.fullmatch(text[cut + 1 :]):
            found.append((text[:cut], text[cut + 1 :].strip()))
        else:
            found += listed(text)
    return found


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return text[1:-1]
