"""LoRAs in one line of text, ``slow pans:0.8, "a, b":1``: how forms keep them and people type them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping

_PLAIN = re.compile(r"[\w.\-/()'\[\]](?:[\w.\-/()'\[\] ]*[\w.\-/()'\[\]])?")
"""Names that need no quotes."""
_ENTRY = re.compile(r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")\s*(?:[:=]\s*(?P<of>[^,]*))?|(?P<plain>[^,]*))\s*(?:,|$)')
_WEIGHT = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)


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
    except ValueError:
        return text[1:-1]
