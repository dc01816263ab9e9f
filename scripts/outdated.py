"""Which pins of requirements*.txt are behind the package index: `.venv/bin/python scripts/outdated.py`.

A pin that stays behind on purpose has its reason on the comment lines above it, the first of which starts with
"# held:". Asks whatever index pip is configured with, for the newest version that this Python can install. Exits with
1 where a pin is behind without a reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HELD = "held:"
AT_ONCE = 4  # each question is a pip of its own


class Pin(NamedTuple):
    """``name==version`` of a requirements file; ``reason`` is why it is held back, or nothing."""

    name: str
    version: str
    reason: str


def pins(lines: Iterable[str]) -> Iterator[Pin]:
    """The pins of a requirements file, with the comments directly above each."""
    comments: list[str] = []
    for line in lines:
        if line.startswith("#"):
            comments.append(line.removeprefix("#").strip())
            continue
        if found := re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!]+)", line):
            yield Pin(found[1], found[2], _reason(comments))
        comments = []


def _reason(comments: list[str]) -> str:
    """The comments from the one that starts with ``held:`` on, as one line."""
    for number, comment in enumerate(comments):
        if comment.startswith(HELD):
            return " ".join([comment.removeprefix(HELD).strip(), *comments[number + 1 :]])
    return ""


def newest(name: str) -> str:
    """The newest stable version of a package; empty where the index does not answer."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "index", "versions", name]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.match(rf"{re.escape(name)} \(([^)]+)\)", answer, re.IGNORECASE)
    return found[1] if found else ""


def compare(pinned: list[Pin], ask: Callable[[str], str] = newest) -> tuple[list[str], bool]:
    """Lines to print for the pins that are behind or unknown, and whether all of them have a reason."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, [pin.name for pin in pinned]))
    width = max((len(pin.name) for pin in pinned), default=0)
    lines, explained = [], True
    for pin, version in zip(pinned, answers, strict=True):
        if version == pin.version:
            continue
        explained = explained and bool(pin.reason)
        note = f"   held: {pin.reason}" if pin.reason else ""
        lines.append(f"{pin.name:{width}}  {pin.version} -> {version or '? (the index did not answer)'}{note}")
    return lines, explained


def main() -> int:
    """Print what is behind; the exit code."""
    files = sorted(ROOT.glob("requirements*.txt"))
    pinned = [pin for file in files for pin in pins(file.read_text("utf-8").splitlines())]
    lines, explained = compare(pinned)
    print("\n".join(lines) or "All pins are the newest.")
    return 0 if explained else 1


if __name__ == "__main__":
    sys.exit(main())
